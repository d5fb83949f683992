/*
 * What a check keeps of its rounds' traces: that of the last round which failed, and of the last which passed. Called by
 * agent/core/check.c at the end of each round; readers find them in the view. A check of which nothing is kept owns no memory for it.
 */
#include "agent/core/check_impl.h"

#include <inttypes.h>
#include <stdio.h>

/* "0.042", without the C library's floating point, which costs memory where nothing else uses it. */
static const char *ms(uint64_t ns, char *out, size_t size)
{
    snprintf(out, size, "%" PRIu64 ".%03" PRIu64, ns / NS_PER_MS, ns % NS_PER_MS / 1000);
    return out;
}

/* A round that passes is kept at most so often: to make its lines costs more than the round. */
enum { PASSED_EVERY_MS = 10000 };

static bool is_of_interest(const struct check *check, enum result result)
{
    const struct trace *last = check->view.passed;

    return result != RESULT_PASS || check->host->once || !last ||
           check->run->started_ns - last->started_ns >= PASSED_EVERY_MS * NS_PER_MS;
}

void check_trace_half(struct check *check, enum result result, enum reason reason, const char *text)
{
    trace_note(&check->trace, TRACE_NOTE, "%s%s%s%s%s%s", check->second ? "over HTTP/1.1: " : "", result_name(result),
               reason ? " " : "", reason ? reason_name(reason) : "", *text ? ": " : "", text);
}

/* The verdict, as the last line but those of the goodbye. */
void check_trace_verdict(struct check *check, enum result result, enum reason reason, const char *text)
{
    const struct trace_tcp *tcp = &check->trace.tcp;
    char rtt[32], smoothed[32];

    trace_look(&check->trace);
    if (!is_of_interest(check, result)) {
        check->view.tcp = *tcp;
        trace_drop(&check->trace, check->run->type->session);
        return;
    }
    trace_flush(&check->trace);
    if (tcp->known)
        trace_note(&check->trace, TRACE_NOTE, "TCP: rtt %s ms (smoothed %s), %u resent, %u lost, %u unacked",
                   ms(tcp->min_rtt_ns, rtt, sizeof rtt), ms(tcp->rtt_ns, smoothed, sizeof smoothed), tcp->retransmits, tcp->lost,
                   tcp->unacked);
    trace_note(&check->trace, TRACE_NOTE, "%s%s%s%s%s", result_name(result), reason ? " " : "", reason ? reason_name(reason) : "",
               *text ? ": " : "", text);
}

static void replace(const struct trace **kept, struct trace *by)
{
    trace_free((struct trace *)(uintptr_t)*kept); /* the view's readers may not change it, its owner may free it */
    *kept = by;
}

/* A round that failed or warned goes to the failed ones: both say that something is wrong. A warning does not replace the fault that the check
 * is in, nor does one that only repeats itself: the first has seen it happen. A void round says nothing of the server, and is kept only where
 * there is no other. */
void check_keep_trace(struct check *check, enum result result, enum reason reason)
{
    struct check_view *view = &check->view;
    bool repeats = check->warned == reason;
    struct trace *taken;

    view->tcp = check->trace.tcp;
    if (!is_of_interest(check, result)) {
        check->warned = REASON_NONE;
        trace_drop(&check->trace, check->run->type->session);
        return;
    }
    taken = trace_take(&check->trace, clock_wall_ms(), check->run->type->session);
    if (result == RESULT_PASS)
        replace(&view->passed, taken);
    else if (result == RESULT_FAIL || (result == RESULT_WARN && view->health.state != STATE_FAIL && !repeats) || check->host->once)
        replace(&view->failed, taken);
    else
        trace_free(taken);
    if (result != RESULT_VOID)
        check->warned = result == RESULT_WARN ? reason : REASON_NONE;
}

void check_free_traces(struct check *check)
{
    replace(&check->view.failed, NULL);
    replace(&check->view.passed, NULL);
    trace_fini(&check->trace);
}
