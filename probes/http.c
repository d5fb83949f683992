/* `http`: the server's own health URL, to compare with: status and body. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/backoff.h"
#include "agent/client/conn_offer.h"
#include "agent/client/fetch.h"
#include "agent/core/probe.h"
#include "agent/core/run_report.h"
#include "agent/proto/words.h"
#include "probes/registry.h"

enum { HTTP_BODY_MAX = 65536, HTTP_HEADERS_COUNT_MAX = 32, HTTP_HEADERS_BYTES_MAX = 64 << 10, HTTP_STATUS_RANGES = 8 };

struct http_opts {
    char *url;
    int method;
    struct opt_pairs headers;
    struct opt_strings status;
    struct opt_match expect;
};

struct http_state {
    struct url url;
    struct fetch *fetch;
};

static bool header_is_ours(const char *name)
{
    static const char *const ours[] = { "Connection", "Content-Length", "Transfer-Encoding", "Upgrade" };

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(name, ours[i]) == 0)
            return true;
    return false;
}

static int parse_range(const char *text, int *low, int *high)
{
    char *end;
    long first = strtol(text, &end, 10), last = first;

    if (*end == '-')
        last = strtol(end + 1, &end, 10);
    if (*end || first < 100 || last > 599 || first > last)
        return -1;
    *low = (int)first;
    *high = (int)last;
    return 0;
}

static int http_validate(const void *opts, struct err *err)
{
    const struct http_opts *http = opts;
    struct url url;
    int low, high;

    for (size_t i = 0; i < http->status.count; i++)
        if (parse_range(http->status.items[i], &low, &high) < 0)
            return err_set(err, REASON_NONE, 0, "status: '%s', want a status such as 200 or a range such as 200-399",
                           http->status.items[i]);
    for (size_t i = 0; i < http->headers.count; i++)
        if (!conf_is_header_name(http->headers.items[i].name))
            return err_set(err, REASON_NONE, 0, "headers: '%s' is not a header name", http->headers.items[i].name);
        else if (header_is_ours(http->headers.items[i].name))
            return err_set(err, REASON_NONE, 0, "headers: %s is set by the check itself", http->headers.items[i].name);
    if (!http->url)
        return 0;
    if (url_parse(http->url, &url, err) < 0)
        return -1; /* "url: …", as the option is called */
    if (strncmp(url.scheme, "http", 4) != 0)
        return err_set(err, REASON_NONE, 0, "url: scheme %s, want http, https or http+unix", url.scheme);
    return 0;
}

static bool http_needs_tls(const void *opts)
{
    const struct http_opts *http = opts;
    struct url url;

    return http->url && url_parse(http->url, &url, NULL) == 0 && url.tls;
}

static bool http_elsewhere(const void *opts, const struct url *target)
{
    const struct http_opts *http = opts;
    struct url url;

    return http->url && url_parse(http->url, &url, NULL) == 0 && !url_same_server(&url, target);
}

static bool status_wanted(const struct http_opts *opts, int status)
{
    int low, high;

    for (size_t i = 0; i < opts->status.count; i++)
        if (parse_range(opts->status.items[i], &low, &high) == 0 && status >= low && status <= high)
            return true;
    return opts->status.count == 0 && status >= 200 && status <= 299;
}

static void describe_wanted(const struct http_opts *opts, char *out, size_t size)
{
    size_t at = 0;

    snprintf(out, size, "200-299");
    for (size_t i = 0; i < opts->status.count && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", opts->status.items[i]);
}

static void fill(struct run *run, const struct fetch_result *result)
{
    const struct http_state *state = run->state;

    run_report_dial(run, result->dial, state->url.tls);
    run_report_phase(run, PHASE_UPGRADE, result->upgrade_ns != 0, result->upgrade_ns);
    run->report.http_status = result->head ? result->head->status : 0;
    if (result->head && http_header_get(result->head, "Retry-After"))
        run->report.retry_after_ms = backoff_retry_after_ms(*http_header_get(result->head, "Retry-After"), clock_wall_ms());
    run->report.phase = result->phase;
}

static void on_done(void *user, const struct fetch_result *result)
{
    struct run *run = user;
    struct http_state *state = run->state;
    const struct http_opts *opts = run->opts;
    char wanted[96], excerpt[WORDS_BYTES], words[WORDS_BYTES];
    struct err why;

    state->fetch = NULL;
    fill(run, result);
    if (result->err) {
        run_finish_err(run, result->err);
        return;
    }
    run->report.phase = PHASE_OPEN;
    if (!status_wanted(opts, result->head->status)) {
        describe_wanted(opts, wanted, sizeof wanted);
        words_of_response(result->head, result->body, words);
        run_finish(run, REASON_HTTP_STATUS, "status %d, want %s%s%s%s%s", result->head->status, wanted, *words ? ": \"" : "", words,
                   *words ? "\"" : "",
                   result->head->status == 426 ? "; a WebSocket is served here: ask it with ws:// or wss://" : "");
    } else if (opts->expect.match && !match_try(opts->expect.match, result->body, &why)) {
        text_excerpt(result->body, WORDS_CHARS, excerpt, sizeof excerpt);
        run_finish(run, REASON_HTTP_BODY, "the body, \"%s\", does not match: %s", excerpt, why.text);
    } else {
        run_pass(run, NULL);
    }
}

/* The check's own headers as lines, with their files read. Host goes where it belongs. -1: the round is finished. */
static int write_headers(struct run *run, struct buf *lines, char **host)
{
    const struct opt_pairs *headers = &((const struct http_opts *)run->opts)->headers;
    struct err err;

    for (size_t i = 0; i < headers->count; i++) {
        char *value = conn_header_value("headers", headers->items[i].value, &err);

        if (!value) {
            run_finish_err(run, &err);
            return -1;
        }
        if (strcasecmp(headers->items[i].name, "Host") == 0) {
            mem_free(*host);
            *host = value;
            continue;
        }
        int rc = buf_printf(lines, "%s: %s\r\n", headers->items[i].name, value);
        mem_free(value);
        if (rc < 0) {
            run_finish(run, REASON_AGENT_ERROR, "headers: together longer than %d bytes", HTTP_HEADERS_BYTES_MAX);
            return -1;
        }
    }
    return 0;
}

/* target.headers.Host holds for the target's address; a URL of the check's own has its own host. */
static char *target_host(const struct run *run, struct err *err, bool *failed)
{
    const char *value = opt_pairs_get(&run->target->headers, "Host");
    char *host = value ? conn_header_value("target.headers", value, err) : NULL;

    *failed = value && !host;
    return host;
}

static void http_start(struct run *run)
{
    struct http_state *state = run->state;
    const struct http_opts *opts = run->opts;
    struct buf lines = BUF_INIT(HTTP_HEADERS_BYTES_MAX);
    char *host = NULL;
    struct err err;
    bool failed = false;
    struct fetch_request request = { .url = &state->url,
                                     .max_body_bytes = HTTP_BODY_MAX,
                                     .method = opts->method ? "HEAD" : "GET",
                                     .each = run->each,
                                     .trace = run->trace };

    state->url = *run->url;
    if (opts->url)
        url_parse(opts->url, &state->url, NULL); /* http_validate has seen it */
    else
        request.server_name = run->target->tls.server_name;
    if (!opts->url)
        request.proxy = (enum proxy_version)run->target->proxy_protocol;
    run->report.phase = PHASE_RESOLVE;
    if (!opts->url)
        host = target_host(run, &err, &failed);
    if (failed)
        run_finish_err(run, &err);
    if (failed || write_headers(run, &lines, &host) < 0)
        goto out;
    request.host = host;
    request.headers = buf_str(&lines);
    request.tls = state->url.tls ? run->tls : NULL;
    request.timeout_ms = (uint64_t)run->conf->timeout_ms;
    state->fetch = fetch_start(run->loop, &request, on_done, run);
out:
    mem_free(host);
    buf_fini(&lines);
}

/* fetch has the same deadline. Whichever timer fires first, the sentence comes from fetch. */
static void http_on_deadline(struct run *run)
{
    struct http_state *state = run->state;

    fetch_expire(state->fetch);
}

static void http_stop(struct run *run)
{
    struct http_state *state = run->state;

    if (state->fetch)
        fetch_cancel(state->fetch);
    state->fetch = NULL;
}

static const char *const http_methods[] = { "GET", "HEAD", NULL };

static const struct opt http_rows[] = {
    { .name = "url",
      .kind = OPT_STRING,
      .offset = offsetof(struct http_opts, url),
      .max = URL_TARGET_MAX,
      .help = "http://, https:// or http+unix:// URL of the server's own health page; without it, the target's address and path" },
    { .name = "method",
      .kind = OPT_ENUM,
      .offset = offsetof(struct http_opts, method),
      .words = http_methods,
      .default_text = "GET",
      .help = "the request's method" },
    { .name = "headers",
      .kind = OPT_PAIRS,
      .offset = offsetof(struct http_opts, headers),
      .max = HTTP_HEADERS_COUNT_MAX,
      .flags = OPT_DYNAMIC,
      .help = "further headers of the request, Host and User-Agent too; without `url`, target.headers' Host holds here as well" },
    { .name = "status",
      .kind = OPT_STRINGS,
      .offset = offsetof(struct http_opts, status),
      .max = HTTP_STATUS_RANGES,
      .help = "the statuses that pass, such as [200, 300-399]; without it, 200-299" },
    { .name = "expect", .kind = OPT_MATCH, .offset = offsetof(struct http_opts, expect), .help = "what the body must look like" },
    { 0 },
};

const struct probe_type probe_http = {
    .name = "http",
    .summary = "The server's own health URL answers with the wanted status and body (RFC 9110)",
    .rank = 6,
    .proves = PROVES_HTTP,
    .opts = http_rows,
    .opts_size = sizeof(struct http_opts),
    .state_size = sizeof(struct http_state),
    .validate = http_validate,
    .needs_tls = http_needs_tls,
    .elsewhere = http_elsewhere,
    .series = SERIES_DIAL | SERIES_UPGRADE,
    .reasons = (const enum reason[]){ REASON_CONNECTION_RESET, REASON_UPGRADE_TIMEOUT, REASON_HTTP_MALFORMED, REASON_HTTP_STATUS,
                                      REASON_HTTP_BODY, REASON_NONE },
    .timeout_reason = REASON_UPGRADE_TIMEOUT,
    .start = http_start,
    .on_deadline = http_on_deadline,
    .stop = http_stop,
};
