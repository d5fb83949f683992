/*
 * Owns the plain formats: the text of /ready, /live and /startup, the plugin line, sd_notify's status line and the exit code. Called by
 * the health listener, the commands and the notifier. Pure: the view in, text out. JSON is in report_json.c, the terminal in report_human.c.
 */
#include "agent/report/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "agent/conf/conf.h"
#include "agent/report/report_impl.h"

enum { LINE_MAX_BYTES = 2048 };

/* --- parts ----------------------------------------------------------------------------------------------------------- */

static bool gates_ready(const struct check_view *check)
{
    return check->gates & GATE_READY;
}

static bool any_gate_failed(const struct agent_view *view)
{
    for (size_t i = 0; i < view->check_count; i++)
        if (gates_ready(view->checks[i]) && view->checks[i]->health.state == STATE_FAIL)
            return true;
    return false;
}

static const char *ready_word(const struct agent_view *view)
{
    const struct verdict *verdict = &view->verdict;
    if (verdict->draining)
        return "draining";
    if (verdict->ready)
        return verdict->status == RESULT_FAIL ? "fail" : verdict->degraded ? "degraded" : "ready"; /* fail: of `check` alone */
    /* A check that is in fail makes the instance "not ready" and no longer "starting", even if it has never been ready. */
    return verdict->started || any_gate_failed(view) ? "not ready" : "starting";
}

const char *report_word(const struct agent_view *view, enum report_question question)
{
    switch (question) {
    case REPORT_LIVE:
        return view->verdict.live ? "live" : "dead";
    case REPORT_STARTUP:
        return view->verdict.started ? "started" : "starting";
    default:
        return ready_word(view);
    }
}

uint64_t report_headline_ns(const struct check_view *check)
{
    return check->have_rtt ? check->rtt_ns : check->total_ns;
}

static void headline(const struct check_view *check, char out[REPORT_ELAPSED_MAX])
{
    text_format_elapsed(report_headline_ns(check), out, REPORT_ELAPSED_MAX);
}

const char *report_fault_text(const struct check_fault *fault, bool full)
{
    return full && *fault->message ? fault->message : reason_help(fault->reason);
}

const char *report_sentence(const struct agent_view *view, bool full)
{
    return full && *view->diagnosis.sentence ? view->diagnosis.sentence : view->diagnosis.plain;
}

void report_put(struct buf *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f;
        bool control = *at < 0x20 || *at == 0x7f || c1;
        buf_append_char(out, control ? ' ' : (char)*at);
        at += c1;
    }
}

/* --- /ready, /live, /startup -------------------------------------------------------------------------------------------- */

static void put_reason(const char *before, const struct check_fault *fault, bool full, struct buf *out)
{
    buf_printf(out, "%s%s ", before, reason_name(fault->reason));
    report_put(out, report_fault_text(fault, full));
}

/* "[+]handshake pass 1.20ms", "[-]echo fail echo_timeout no message within 2s" */
static void put_check(const struct check_view *check, bool full, struct buf *out)
{
    static const char marks[STATE_COUNT] = { [STATE_UNKNOWN] = '?', [STATE_PASS] = '+', [STATE_WARN] = '!', [STATE_FAIL] = '-' };
    enum state state = check->health.state;
    struct check_fault last = { .reason = check->reason, .message = check->message }, fault;
    char took[REPORT_ELAPSED_MAX];
    buf_printf(out, "[%c]%s %s", marks[state], check->name, state_name(state));
    if (check_fault_of(check, &fault)) {
        put_reason(" ", &fault, full, out);
        if (fault.recovering)
            buf_append_str(out, " (recovering: the last round passed)");
    } else if (check->judged && check->status == RESULT_FAIL) {
        put_reason(" (last round: ", &last, full, out);
        buf_append_char(out, ')');
    } else if (check->judged) {
        headline(check, took);
        buf_printf(out, " %s", took);
    } else if (check->reason != REASON_NONE) { /* all rounds were void so far: shows why */
        put_reason(" ", &last, full, out);
    }
    buf_append_char(out, '\n');
}

/* Does this check gate the endpoint? */
static bool is_cause(const struct agent_view *view, const struct check_view *check, enum report_question question)
{
    enum state state = check->health.state;
    bool waited_for = gates_ready(check) && health_unstarted(&check->health) && !view->verdict.started;
    struct check_fault fault;
    switch (question) {
    case REPORT_LIVE:
        return !view->verdict.live && (check->gates & GATE_LIVE) && state == STATE_FAIL && check_fault_of(check, &fault) &&
               fault.scope == SCOPE_LOCAL;
    case REPORT_STARTUP:
        return waited_for;
    default:
        return waited_for || (gates_ready(check) && (state == STATE_WARN || state == STATE_FAIL));
    }
}

/* What the delivery matrix says; and what keeps an instance in rotation that its checks would take out. */
static void put_fleet(const struct agent_view *view, bool full, struct buf *out)
{
    const struct fleet_view *fleet = view->fleet;
    for (size_t i = 0; fleet && i < fleet->finding_count; i++)
        buf_printf(out, "[!]fleet %s %s\n", fleet->findings[i].cause,
                   full ? fleet->findings[i].sentence : fleet->findings[i].plain);
    if (!fleet || !view->verdict.ready)
        return;
    if (fleet->wide_own)
        buf_printf(out, "[!]fleet fleet_wide_fault %u of %u instances have the same fault at once\n", (unsigned)fleet->wide_sharing,
                   (unsigned)fleet->wide_of);
    else if (fleet->held)
        buf_printf(out, "[!]fleet held_in_rotation %s\n", fleet->sentence);
}

void report_plain(const struct agent_view *view, enum report_question question, bool verbose, bool full, struct buf *out)
{
    const char *word = report_word(view, question);
    buf_printf(out, "%s\n", word);
    for (size_t i = 0; i < view->check_count; i++)
        if (verbose || is_cause(view, view->checks[i], question))
            put_check(view->checks[i], full, out);
    if (question == REPORT_READY)
        put_fleet(view, full, out);
    if (!verbose)
        return;
    buf_printf(out, "%s: ", word);
    report_put(out, report_sentence(view, full));
    buf_append_char(out, '\n');
}

/* --- one line ------------------------------------------------------------------------------------------------------------- */

/* "ready: handshake 1.20ms, ping 0.10ms", or what is wrong. */
static void put_line(const struct agent_view *view, struct buf *out)
{
    const char *separator = ": ";
    buf_append_str(out, report_word(view, REPORT_READY));
    if (view->verdict.status != RESULT_PASS) {
        buf_append_str(out, ": ");
        report_put(out, report_sentence(view, true));
        return;
    }
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        char took[REPORT_ELAPSED_MAX];
        if (!check->judged)
            continue;
        headline(check, took);
        buf_printf(out, "%s%s %s", separator, check->name, took);
        separator = ", ";
    }
}

void report_line(const struct agent_view *view, char *out, size_t size)
{
    struct buf line = BUF_INIT(LINE_MAX_BYTES);
    put_line(view, &line);
    const char *text = buf_str(&line);
    size_t len = strlen(text);
    if (len >= size) /* cut between characters */
        for (len = size - 1; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
            len--;
    memcpy(out, text, len);
    out[len] = '\0';
    buf_fini(&line);
}

/* Unknown: no check has failed, but some could not be judged. */
static bool undecided(const struct agent_view *view)
{
    bool judged = false, missing = view->check_count == 0, failed = false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        judged = judged || check->judged;
        missing = missing || !check->judged;
        failed = failed || check->health.state == STATE_FAIL || (check->judged && check->status == RESULT_FAIL);
    }
    return !view->verdict.draining && !failed && missing && (!judged || view->verdict.status == RESULT_FAIL);
}

bool report_is_full(const struct agent_view *view)
{
    bool full = false;

    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        struct check_fault fault;

        if (!gates_ready(check) || check->health.state != STATE_FAIL || !check_fault_of(check, &fault) ||
            fault.scope != SCOPE_LOCAL)
            continue;
        if (fault.reason != REASON_SERVER_CONNECTIONS_HIGH)
            return false;
        full = true;
    }
    return full && !view->verdict.ready && !view->verdict.draining;
}

int report_exit_code(const struct agent_view *view)
{
    if (undecided(view))
        return 3;
    return view->verdict.status == RESULT_FAIL ? 2 : view->verdict.status == RESULT_WARN ? 1 : 0;
}

/* --- the plugin line -------------------------------------------------------------------------------------------------------- */

/* 'label'=value;warn;crit;min with quotes where the label needs them; never in scientific notation. */
static void put_perf(const char *name, const char *suffix, uint64_t ns, uint64_t warn_ms, uint64_t crit_ms, struct buf *out)
{
    bool quote = strpbrk(name, " ='\"");
    if (quote)
        buf_append_char(out, '\'');
    for (const char *at = name; *at; at++) {
        if (*at == '\'')
            buf_append_char(out, '\'');
        buf_append_char(out, *at);
    }
    buf_printf(out, "%s%s=%.6fs;", suffix, quote ? "'" : "", (double)ns / 1e9);
    if (warn_ms)
        buf_printf(out, "%.3f", (double)warn_ms / 1e3);
    buf_append_char(out, ';');
    if (crit_ms)
        buf_printf(out, "%.3f", (double)crit_ms / 1e3);
    buf_append_str(out, ";0");
}

static void put_performance(const struct agent_view *view, struct buf *out)
{
    const char *separator = "|";
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (!check->judged)
            continue;
        buf_append_str(out, separator);
        put_perf(check->name, "", check->total_ns, check->have_rtt ? 0 : check->slo_ms, check->timeout_ms, out);
        separator = " ";
        if (check->have_rtt) {
            buf_append_char(out, ' ');
            put_perf(check->name, "_rtt", check->rtt_ns, check->slo_ms, 0, out);
        }
    }
}

void report_nagios(const struct agent_view *view, struct buf *out)
{
    static const char *const words[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };
    char line[LINE_MAX_BYTES];
    report_line(view, line, sizeof line);
    for (char *at = line; *at; at++)
        if (*at == '|') /* '|' begins the performance data */
            *at = '/';
    buf_printf(out, "WSHEALTHD %s - %s", words[report_exit_code(view)], line);
    put_performance(view, out);
    buf_append_char(out, '\n');
}
