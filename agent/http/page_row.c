/*
 * Owns one check on the page: as an article with its charts, its last round and its last fault with the evidence, or as one row of a table where
 * there is no room for that. Called by page_checks.c, which chooses. Promises that the length depends on bounds of this file and not on
 * what a server has said.
 */
#include <inttypes.h>
#include <string.h>

#include "agent/base/trace.h"
#include "agent/conf/conf.h"
#include "agent/http/page_row_impl.h"
#include "agent/report/report.h"

enum {
    NAME_BYTES = 400, /* 64 characters, if each had to be escaped */
    FAULT_BYTES = 900,
    LINE_BYTES = 220,
    FIRST_LINES = 14,
    LAST_LINES = 10,
    TRACE_BYTES = 64 << 10,
    BROKER_TYPE_BYTES = 40,
};

static const char *const state_words[STATE_COUNT] = { "no verdict yet", "pass", "warn", "fail" };

void page_row_name(struct page *page, const struct check_view *check)
{
    page_text(page, check->name, NAME_BYTES);
}

/* --- who --- */

static void put_certificate(struct page *page, const struct check_view *check)
{
    if (!check->stats.cert_not_after_ms)
        return;
    page_put(page, "<p class=meta>certificate until ");
    page_time(page, check->stats.cert_not_after_ms);
    page_put(page, "</p>");
}

static void put_held(struct page *page, const struct check_view *check)
{
    if (!check->stats.holds)
        return;
    page_printf(page, "<p class=meta>%" PRIu32 " held, ", check->stats.held);
    page_count(page, check->stats.lost);
    page_put(page, " lost so far</p>");
}

static void put_heartbeats(struct page *page, const struct check_view *check)
{
    const struct delivery_stats *delivery = check->stats.delivery;

    if (!delivery)
        return;
    page_put(page, "<p class=meta>heartbeats: ");
    for (unsigned i = 0; i < DELIVERY_COUNT; i++) {
        if (i != DELIVERY_RECEIVED && !delivery->heartbeats[i])
            continue;
        page_put(page, i ? ", " : "");
        page_count(page, delivery->heartbeats[i]);
        page_printf(page, " %s", delivery_result_name((enum delivery_result)i));
    }
    page_put(page, "</p>");
}

static void put_who(struct page *page, const struct check_view *check)
{
    enum state state = check->health.state;

    page_put(page, "<div class=who>");
    page_mark(page, state);
    page_put(page, "<h3><bdi>");
    page_row_name(page, check);
    page_printf(page, "</bdi> <span class=%s>%s</span></h3><p class=meta>", page_state_class(state), state_words[state]);
    if (check_is_broker(check)) {
        page_put(page, "broker");
        if (page->ops && check->broker_type) {
            page_put(page, ", ");
            page_text(page, check->broker_type, BROKER_TYPE_BYTES);
        }
    } else if (strcmp(check->type, check->name) != 0) {
        page_text(page, check->type, BROKER_TYPE_BYTES);
    }
    page_put(page, check_is_public(check) ? " <span>public path</span>" : "");
    if (check->http && strcmp(check->http, "1.1") != 0)
        page_put(page, strcmp(check->http, "2") == 0 ? " <span>HTTP/2</span>" : " <span>HTTP/1.1 and HTTP/2</span>");
    page_put(page, check->gates || check_is_broker(check) ? "</p>" : " <span>only reports</span></p>");
    if (check->since_ms) {
        page_put(page, "<p class=meta>since ");
        page_time(page, check->since_ms);
        page_put(page, "</p>");
    }
    put_held(page, check);
    put_heartbeats(page, check);
    put_certificate(page, check);
    page_draw_rounds(page, check->health.history);
    page_put(page, "</div>");
}

/* --- the past --- */

static void put_quantile(struct page *page, const char *name, bool known, uint64_t us)
{
    page_printf(page, "<div><dt>%s</dt><dd>", name);
    if (known)
        page_elapsed(page, us * 1000);
    else
        page_put(page, "\xe2\x80\x93");
    page_put(page, "</dd></div>");
}

static void put_past(struct page *page, const struct check_view *check)
{
    struct history_quantiles hour;
    struct past past;
    bool known = page_past_hour(page, check->name, &hour);

    page_past(page, check->name, &past);
    if (!past.any) {
        page_put(page, "<div class=past><p class=meta>nothing measured yet</p></div>");
        return;
    }
    page_put(page, "<div class=past><div class=head><dl class=rtt>");
    put_quantile(page, "p50", known, known ? hour.p50_us : 0);
    put_quantile(page, "p95", known, known ? hour.p95_us : 0);
    put_quantile(page, "p99", known, known ? hour.p99_us : 0);
    page_printf(page, "</dl><p class=unit>%s, last hour</p></div>", past.rtt ? "round trip" : "whole round");
    page_draw_spark(page, &past);
    page_draw_strip(page, &past);
    page_draw_axis(page, &past);
    page_put(page, "</div>");
}

/* --- the last round --- */

/* The phases of a held connection are older than its round and may be longer: then they set the scale. */
static uint64_t whole_round(const struct check_view *check)
{
    uint64_t sum = 0;

    for (unsigned phase = PHASE_NONE + 1; phase < PHASE_COUNT; phase++)
        sum += check->have_phase[phase] ? check->phase_ns[phase] : 0;
    return sum > check->total_ns ? sum : check->total_ns ? check->total_ns : 1;
}

static const char *bar_class(const struct check_view *check, unsigned phase)
{
    if (check->status == RESULT_PASS || phase != check->phase)
        return "bar";
    return check->status == RESULT_WARN ? "'bar warn'" : "'bar bad'";
}

static void put_round(struct page *page, const struct check_view *check)
{
    uint64_t start = 0, whole = whole_round(check);

    if (!check->judged) {
        return;
    }
    page_put(page, "<table class=fall><caption>last round ");
    page_elapsed(page, check->total_ns);
    if (check->have_rtt && !check_is_broker(check)) {
        page_put(page, ", round trip ");
        page_elapsed(page, check->rtt_ns);
    }
    page_put(page, "</caption><tbody>");
    for (unsigned i = PHASE_NONE + 1; i < PHASE_COUNT; i++) {
        if (!check->have_phase[i])
            continue;
        page_printf(page, "<tr><th scope=row>%s</th><td>", phase_name((enum phase)i));
        page_elapsed(page, check->phase_ns[i]);
        page_printf(page, "</td><td class=%s>", bar_class(check, i));
        page_draw_bar(page, (double)start / (double)whole, (double)check->phase_ns[i] / (double)whole);
        page_put(page, "</td></tr>");
        start += check->phase_ns[i];
    }
    page_put(page, "</tbody></table>");
}

/* --- what is wrong --- */

static void put_fault(struct page *page, const char *before, const struct check_fault *fault)
{
    page_put(page, "<p class=fault>");
    page_put(page, before);
    page_printf(page, "<code>%s</code> <bdi>", reason_name(fault->reason));
    page_text(page, report_fault_text(fault, page->texts), FAULT_BYTES);
    page_put(page, "</bdi>");
    if (fault->recovering)
        page_put(page, " <em>Recovering: the last round passed.</em>");
    page_put(page, "</p>");
}

static void put_what_is_wrong(struct page *page, const struct check_view *check)
{
    struct check_fault last = { .reason = check->reason, .message = check->message }, fault;

    if (check_fault_of(check, &fault)) {
        put_fault(page, "", &fault);
    } else if (check->reason != REASON_NONE) {
        put_fault(page, check->judged ? "Last round: " : "", &last);
    } else if (page->texts && *check->message) {
        page_put(page, "<p class=remark><bdi>");
        page_text(page, check->message, FAULT_BYTES);
        page_put(page, "</bdi></p>");
    }
}

/* The first lines and the last ones; the middle is counted. */
static void put_lines(struct page *page, struct slice text)
{
    unsigned lines = 0, nth = 0;

    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    while (text.len) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end ? (size_t)(end - text.data) : text.len;

        if (nth < FIRST_LINES || nth + LAST_LINES >= lines) {
            page_text_slice(page, slice_make(text.data, len), LINE_BYTES);
            page_put(page, "\n");
        } else if (nth == FIRST_LINES) {
            page_printf(page, "             \xe2\x80\xa6 %u lines are left out here\n", lines - FIRST_LINES - LAST_LINES);
        }
        text = slice_skip(text, len + 1);
        nth++;
    }
}

static void put_evidence(struct page *page, const struct check_view *check)
{
    struct buf text = BUF_INIT(TRACE_BYTES);

    if (!page->texts || !check->failed)
        return;
    trace_write(check->failed, &text);
    page_put(page, "<details><summary>What was said in the last round that failed, ");
    page_time(page, check->failed->wall_ms);
    page_put(page, "</summary><pre tabindex=0>");
    put_lines(page, buf_slice(&text));
    page_put(page, "</pre></details>");
    buf_fini(&text);
}

void page_row_article(struct page *page, const struct check_view *check, bool evidence)
{
    page_put(page, "<article id='c-");
    page_row_name(page, check);
    page_printf(page, "' class=%s>", page_state_class(check->health.state));
    put_who(page, check);
    put_past(page, check);
    page_put(page, "<div class=last>");
    put_round(page, check);
    page_put(page, "</div><div class=wrong>");
    put_what_is_wrong(page, check);
    if (evidence)
        put_evidence(page, check);
    page_put(page, "</div></article>");
}

/* --- one line --- */

void page_row_line(struct page *page, const struct check_view *check)
{
    enum state state = check->health.state;
    struct history_quantiles hour;
    struct check_fault fault;

    page_printf(page, "<tr><td class=%s>%s<th scope=row>", page_state_class(state), state_words[state]);
    page_row_name(page, check);
    if (page_past_hour(page, check->name, &hour)) {
        page_put(page, "<td>");
        page_elapsed(page, hour.p50_us * 1000);
        page_put(page, "<td>");
        page_elapsed(page, hour.p99_us * 1000);
    } else {
        page_put(page, "<td>\xe2\x80\x93<td>\xe2\x80\x93");
    }
    page_put(page, "<td>");
    if (check_fault_of(check, &fault))
        page_put(page, reason_name(fault.reason));
}
