/*
 * One HTTP exchange: dial, one request with `Connection: close`, one response, one deadline over all of it. Called by the http check and
 * the commands that ask a running agent. Owns the dial, the stream and the reader until on_done; leaves what the answer means to its
 * caller. It follows no redirect.
 */
#include "agent/client/fetch.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/base/version.h"
#include "agent/client/http_trace.h"

enum { FETCH_HEAD_MAX = 16 << 10, FETCH_REQUEST_MAX = 8 << 10, FETCH_LINGER_MS = 100, CODING_CHARS = 40 };

struct fetch {
    struct dial *dial;     /* NULL once the stream is open */
    struct stream *stream; /* NULL until then */
    struct http_reader *reader;
    struct dial_target target;
    struct dial_report report;
    struct timer deadline;
    struct buf request;
    uint64_t timeout_ms, started_ns, asked_ns, head_ns; /* 0: not so far yet */
    size_t max_body_bytes;                              /* 0: any */
    bool have_head;
    void (*on_done)(void *user, const struct fetch_result *result);
    void *user;
};

static void release(struct fetch *fetch, bool politely)
{
    timer_stop(&fetch->deadline);
    if (fetch->dial)
        dial_cancel(fetch->dial);
    if (fetch->stream && politely)
        stream_close(fetch->stream, FETCH_LINGER_MS);
    else if (fetch->stream)
        stream_close_now(fetch->stream);
    fetch->dial = NULL;
    fetch->stream = NULL;
}

static void fetch_free(struct fetch *fetch)
{
    tls_context_unref(fetch->target.tls);
    http_reader_free(fetch->reader);
    buf_wipe(&fetch->request);
    mem_free(fetch);
}

static enum phase phase_now(const struct fetch *fetch)
{
    if (!fetch->report.resolved)
        return PHASE_RESOLVE;
    if (!fetch->report.connected)
        return PHASE_CONNECT;
    return fetch->target.tls && !fetch->report.secured ? PHASE_TLS : PHASE_UPGRADE;
}

static void finish(struct fetch *fetch, const struct err *err)
{
    struct fetch_result result = { .dial = &fetch->report, .err = err };
    if (fetch->have_head)
        http_trace_body(fetch->target.trace, fetch->target.trace_number, http_reader_body(fetch->reader));
    if (fetch->target.trace && fetch->stream)
        stream_tcp(fetch->stream, &fetch->target.trace->tcp);
    release(fetch, !err);
    result.phase = err ? phase_now(fetch) : PHASE_OPEN;
    result.total_ns = clock_now_ns() - fetch->started_ns;
    if (fetch->asked_ns)
        result.upgrade_ns = (fetch->have_head ? fetch->head_ns : clock_now_ns()) - fetch->asked_ns;
    if (fetch->have_head) {
        result.head = http_reader_head(fetch->reader);
        result.body = http_reader_body(fetch->reader);
    }
    fetch->on_done(fetch->user, &result);
    fetch_free(fetch);
}

/* Nobody waits for the end of a body that is of no use. */
static bool is_too_long(struct fetch *fetch, struct err *err)
{
    char size[32];
    if (!fetch->max_body_bytes || http_reader_body_total(fetch->reader) <= fetch->max_body_bytes)
        return false;
    text_format_size((int64_t)fetch->max_body_bytes, size, sizeof size);
    err_set(err, REASON_HTTP_MALFORMED, 0, "response body is longer than %s", size);
    return true;
}

static void on_data(void *user, struct slice data)
{
    struct fetch *fetch = user;
    struct err err;
    enum http_progress progress;
    while ((progress = http_reader_feed(fetch->reader, &data, &err)) == HTTP_HEAD) {
        http_trace_response(fetch->target.trace, fetch->target.trace_number, http_reader_head(fetch->reader));
        fetch->have_head = true;
        fetch->head_ns = clock_now_ns();
    }
    if (progress == HTTP_BAD || progress == HTTP_TOO_LARGE || is_too_long(fetch, &err))
        finish(fetch, &err);
    else if (progress == HTTP_DONE)
        finish(fetch, NULL);
}

static void on_end(void *user, const struct err *end)
{
    struct fetch *fetch = user;
    struct err err = *end;
    trace_note_by(fetch->target.trace, &(struct trace_by){ .mark = TRACE_NOTE, .number = fetch->target.trace_number }, "%s",
                  end->text);
    if (end->reason == REASON_NONE) {
        enum http_progress progress = http_reader_eof(fetch->reader, &err);
        finish(fetch, progress == HTTP_DONE ? NULL : &err);
        return;
    }
    if (end->reason == REASON_CONNECTION_RESET && fetch->have_head)
        err_set(&err, REASON_HTTP_MALFORMED, end->code, "%s after %llu bytes of the response body", end->text,
                (unsigned long long)http_reader_body_total(fetch->reader));
    finish(fetch, &err);
}

static const struct stream_events stream_events = { .on_data = on_data, .on_end = on_end };

static void on_open(void *user, struct stream *stream)
{
    struct fetch *fetch = user;
    fetch->dial = NULL;
    fetch->stream = stream;
    fetch->asked_ns = clock_now_ns();
    http_trace_request(fetch->target.trace, fetch->target.trace_number, buf_slice(&fetch->request));
    stream_set_max_pending(stream, UINT32_MAX);
    stream_start(stream, &stream_events, fetch);
    if (stream_write(stream, buf_slice(&fetch->request)) < 0) {
        struct err err;
        err_set(&err, REASON_CONNECTION_RESET, 0, "the connection was lost before the request could be sent");
        finish(fetch, &err);
    }
}

static void on_fail(void *user, const struct err *err)
{
    struct fetch *fetch = user;
    fetch->dial = NULL;
    finish(fetch, err);
}

static const struct dial_events dial_events = { .on_open = on_open, .on_fail = on_fail };

void fetch_expire(struct fetch *fetch)
{
    struct err err;
    char within[32];
    text_format_duration((int64_t)fetch->timeout_ms, within, sizeof within);
    if (fetch->dial) {
        dial_cancel(fetch->dial);
        fetch->dial = NULL;
        dial_timeout_err(&fetch->target, &fetch->report, fetch->timeout_ms, &err);
    } else if (fetch->have_head)
        err_set(&err, REASON_UPGRADE_TIMEOUT, 0, "response body not complete within %s, %llu bytes came", within,
                (unsigned long long)http_reader_body_total(fetch->reader));
    else
        err_set(&err, REASON_UPGRADE_TIMEOUT, 0, "no response within %s%s", within,
                http_reader_started(fetch->reader) ? " (its head began, and did not end)" : "");
    finish(fetch, &err);
}

static void on_deadline(struct timer *timer, void *user)
{
    (void)timer;
    fetch_expire(user);
}

/* Is there a line of that name among lines that each end with \r\n? */
static bool has_header(const char *headers, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = headers; *line; line += strcspn(line, "\n") + 1) {
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return true;
        if (!strchr(line, '\n'))
            break;
    }
    return false;
}

static void write_credentials(struct buf *out, const struct url *url)
{
    char value[URL_BASIC_MAX];
    url_basic(url, value);
    buf_printf(out, "Authorization: %s\r\n", value);
}

static void write_request(struct buf *out, const struct fetch_request *request, const char *method)
{
    const struct url *url = request->url;
    const char *headers = request->headers ? request->headers : "";
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, url->target,
               request->host ? request->host : url->authority);
    if ((url->user[0] || url->password[0]) && !has_header(headers, "Authorization"))
        write_credentials(out, url);
    if (!has_header(headers, "User-Agent"))
        buf_append_str(out, "User-Agent: wshealthd/" WSHEALTHD_VERSION "\r\n");
    if (!has_header(headers, "Accept-Encoding")) /* without it a server may choose any (RFC 9110, 12.5.3) */
        buf_append_str(out, "Accept-Encoding: identity\r\n");
    buf_append_str(out, headers);
    if (request->body.len || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0))
        buf_printf(out, "Content-Length: %zu\r\n", request->body.len);
    buf_append_str(out, "\r\n");
    buf_append_slice(out, request->body);
}

struct fetch *fetch_start(struct loop *loop, const struct fetch_request *request,
                          void (*on_done)(void *user, const struct fetch_result *result), void *user)
{
    struct fetch *fetch = mem_alloc(sizeof *fetch);
    const char *method = request->method ? request->method : "GET";
    const struct http_limits limits = { .max_head_bytes = FETCH_HEAD_MAX, .max_body_bytes = request->max_body_bytes };
    fetch->on_done = on_done;
    fetch->user = user;
    fetch->timeout_ms = request->timeout_ms;
    fetch->max_body_bytes = request->whole ? request->max_body_bytes : 0;
    fetch->started_ns = clock_now_ns();
    fetch->reader = http_reader_new(HTTP_KIND_RESPONSE, &limits);
    if (strcmp(method, "HEAD") == 0)
        http_reader_no_body(fetch->reader);
    /* What is ours to say fits FETCH_REQUEST_MAX (agent/proto/url.h bounds its parts); the caller's comes on top. */
    buf_init(&fetch->request, FETCH_REQUEST_MAX + strlen(method) + (request->host ? strlen(request->host) : 0) +
                                  (request->headers ? strlen(request->headers) : 0) + request->body.len);
    write_request(&fetch->request, request, method);
    fetch->target = (struct dial_target){ .url = request->url,
                                          .tls = request->tls ? tls_context_ref(request->tls) : NULL,
                                          .server_name = request->server_name,
                                          .proxy = request->proxy,
                                          .each = request->each,
                                          .trace = request->trace,
                                          .trace_number = trace_connection(request->trace) };
    timer_init(&fetch->deadline, loop, on_deadline, fetch);
    timer_start(&fetch->deadline, fetch->timeout_ms);
    fetch->dial = dial_start(loop, &fetch->target, &dial_events, fetch, &fetch->report);
    return fetch;
}

int fetch_validate_coding(const struct fetch_result *result, struct err *err)
{
    const struct slice *coding = http_header_get(result->head, "Content-Encoding");
    char shown[TEXT_EXCERPT_BYTES(CODING_CHARS)];
    if (!coding || slice_equal_nocase(*coding, "identity"))
        return 0;
    text_excerpt(*coding, CODING_CHARS, shown, sizeof shown);
    return err_set(err, REASON_HTTP_MALFORMED, 0, "the answer has Content-Encoding %s, want identity, as was asked for", shown);
}

void fetch_cancel(struct fetch *fetch)
{
    release(fetch, false);
    fetch_free(fetch);
}
