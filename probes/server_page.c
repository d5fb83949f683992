/*
 * The server's own metrics page (`metrics_url`): fetched once a round beside the look at the kernel, and the configured series read from it. Called
 * by probes/server.c. A page that is missing, slow, too large or no metrics at all is a warning: it says nothing about what clients get.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/text.h"
#include "agent/proto/prom_read.h"
#include "probes/server.h"

enum { PAGE_MAX = 1 << 20, STATUS_OK = 200, PERCENT = 100, VALUE_BYTES = 64 };

/* "5000", "0.25", "512MiB", "250ms" (in seconds, as Prometheus has them). */
static bool read_limit(const char *text, double *value)
{
    char *end;
    int64_t number;

    *value = strtod(text, &end);
    if (*text && !*end && isfinite(*value) && *value > 0)
        return true;
    if (text_parse_size(text, &number) == 0)
        *value = (double)number;
    else if (text_parse_duration(text, &number) == 0)
        *value = (double)number / 1000;
    else
        return false;
    return *value > 0;
}

int server_series_validate(const struct server_opts *opts, struct err *err)
{
    static const char want[] = "want a number, a size such as 512MiB or a duration such as 250ms";
    const struct server_series_opts *series = opts->series.items;
    double max, low;

    if (opts->series.count && !opts->metrics_url)
        return err_set(err, REASON_NONE, 0, "series: they are read from metrics_url, which is not set");
    for (size_t i = 0; i < opts->series.count; i++) {
        const char *name = series[i].name_in_map;

        if (prom_read_validate(series[i].name, err) < 0)
            return err_prefix(err, "series.%s.name", name);
        if (series[i].max && !read_limit(series[i].max, &max))
            return err_set(err, REASON_NONE, 0, "series.%s.max: '%s', %s", name, series[i].max, want);
        if (series[i].low && (!series[i].max || !read_limit(series[i].low, &low) || low > max))
            return err_set(err, REASON_NONE, 0, "series.%s.low: '%s', want at most max, and max set", name, series[i].low);
    }
    return 0;
}

bool server_series_has_limits(const struct server_opts *opts)
{
    const struct server_series_opts *series = opts->series.items;

    for (size_t i = 0; i < opts->series.count; i++)
        if (series[i].max)
            return true;
    return false;
}

static void fault(struct server_state *state, const char *text)
{
    snprintf(state->page_fault, sizeof state->page_fault, "metrics_url: %.200s", text);
}

/* A counter is shown per second; a smaller one than before has begun anew. */
static void note_value(struct prom_before *before, const struct prom_wanted *wanted, double passed_s,
                       struct server_series_stats *out)
{
    out->rate = wanted->counter;
    out->known = wanted->found && (!wanted->counter || (before->known && passed_s > 0 && wanted->value >= before->value));
    if (out->known)
        out->value = wanted->counter ? (wanted->value - before->value) / passed_s : wanted->value;
    out->known = out->known && isfinite(out->value); /* the page may hold any number */
    before->known = wanted->found;
    before->value = wanted->value;
}

static void read_page(struct run *run, struct slice page)
{
    struct server_state *state = run->state;
    const struct server_opts *opts = run->opts;
    const struct server_series_opts *series = opts->series.items;
    struct server_stats *stats = run->stats->server;
    struct prom_wanted wanted[SERVER_SERIES_MAX] = { 0 };
    uint64_t now_ns = clock_now_ns();
    double passed_s = state->page_ns ? (double)(now_ns - state->page_ns) / (double)NS_PER_S : 0;
    struct err err;

    for (size_t i = 0; i < opts->series.count; i++)
        wanted[i].name = series[i].name;
    if (prom_read(page, wanted, opts->series.count, &err) < 0) {
        fault(state, err.text);
        return;
    }
    state->page_ns = now_ns;
    for (size_t i = 0; i < opts->series.count; i++) {
        note_value(&state->before[i], &wanted[i], passed_s, &stats->series[i]);
        if (!wanted[i].found && !*state->page_fault)
            snprintf(state->page_fault, sizeof state->page_fault, "metrics_url: series %s: no '%s' on the page",
                     series[i].name_in_map, series[i].name);
    }
}

static void on_fetched(void *user, const struct fetch_result *result)
{
    struct run *run = user;
    struct server_state *state = run->state;
    char text[64];
    struct err err;

    state->fetch = NULL;
    if (result->err) {
        fault(state, result->err->text);
    } else if (result->head->status != STATUS_OK) {
        snprintf(text, sizeof text, "status %d, want 200", result->head->status);
        fault(state, text);
    } else if (fetch_validate_coding(result, &err) < 0) {
        fault(state, err.text);
    } else {
        read_page(run, result->body);
    }
    server_page_done(run);
}

void server_page_start(struct run *run)
{
    struct server_state *state = run->state;
    const struct server_opts *opts = run->opts;
    struct fetch_request request = { .url = &state->page_url,
                                     .tls = state->page_url.tls ? run->tls : NULL,
                                     .max_body_bytes = PAGE_MAX,
                                     .whole = true,
                                     .trace = run->trace,
                                     .timeout_ms = (uint64_t)run->conf->timeout_ms };

    *state->page_fault = '\0';
    for (size_t i = 0; i < opts->series.count; i++)
        run->stats->server->series[i].known = false;
    state->fetch = fetch_start(run->loop, &request, on_fetched, run);
}

void server_page_stop(struct run *run)
{
    struct server_state *state = run->state;
    char took[32], text[96];

    if (!state->fetch)
        return;
    fetch_cancel(state->fetch);
    state->fetch = NULL;
    text_format_duration(run->conf->timeout_ms, took, sizeof took);
    snprintf(text, sizeof text, "no answer within %s", took);
    fault(state, text);
}

static bool is_over(const struct server_series_opts *opts, struct prom_before *before, struct server_series_stats *stats)
{
    double max = 0, low = 0;

    if (!opts->max || !stats->known || !read_limit(opts->max, &max)) {
        before->over = false;
    } else {
        if (!opts->low || !read_limit(opts->low, &low))
            low = max * 0.9;
        before->over = stats->value > max || (before->over && stats->value > low);
    }
    return stats->over = before->over;
}

/* In the unit of its max, so that the two can be compared at a glance: "668MiB", "0.312s"; never in scientific notation. */
static void value_in_words(double value, const char *max, char *out, size_t size)
{
    const char *unit = max + strspn(max, "0123456789");
    char one[16];
    int64_t factor, ms;

    snprintf(one, sizeof one, "1%.8s", unit);
    if (text_parse_size(max, &factor) == 0 && text_parse_size(one, &factor) == 0)
        snprintf(out, size, "%.1f%s", value / (double)factor, unit);
    else
        snprintf(out, size, fabs(value) < 1e6 ? "%.6g%s" : "%.0f%s", value, text_parse_duration(max, &ms) == 0 ? "s" : "");
}

void server_page_judge(struct run *run, struct server_said *said)
{
    struct server_state *state = run->state;
    const struct server_opts *opts = run->opts;
    const struct server_series_opts *series = opts->series.items;

    for (size_t i = 0; i < opts->series.count; i++) {
        struct server_series_stats *stats = &run->stats->server->series[i];

        if (!is_over(&series[i], &state->before[i], stats))
            continue;
        char value[VALUE_BYTES];
        value_in_words(stats->value, series[i].max, value, sizeof value);
        server_say(said, RESULT_FAIL, REASON_SERVER_SERIES_HIGH, "%s is %s%s, max is %s", series[i].name_in_map, value,
                   stats->rate ? " a second" : "", series[i].max);
    }
    if (*state->page_fault)
        server_say(said, RESULT_WARN, REASON_SERVER_METRICS_MISSING, "%s", state->page_fault);
}
