/*
 * A round with `http: both` (agent/core/check_both.h). Called by agent/core/check.c where a round ends. Each half has the whole `timeout` and
 * is judged by `slo` for itself, so that a version passes here when it passes alone. What is void ends the whole round. The report that
 * is shown is that of the half that the verdict is about; of the other one it keeps the signs of life.
 *
 * Rejected: the versions by turns, one in each round. `fall` counts failures in a row, and there would never be two.
 */
#include "agent/core/check_both.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"

bool both_is_second(const struct check *check)
{
    return check->both;
}

static bool is_worse(const struct ending *a, const struct ending *b)
{
    return a->result != b->result && (a->result == RESULT_FAIL || b->result == RESULT_PASS);
}

/* The sentence of two halves, of which `told` is the one that is shown. */
static void tell(char *out, size_t size, const struct ending *first, const struct ending *second, bool of_second)
{
    const struct ending *told = of_second ? second : first;
    const char *name = of_second ? "HTTP/2" : "HTTP/1.1", *other = of_second ? "HTTP/1.1" : "HTTP/2";

    if (told->result == RESULT_PASS)
        snprintf(out, size, "%s", told->text);
    else if (first->result == second->result && first->reason == second->reason)
        snprintf(out, size, "over HTTP/1.1 and over HTTP/2: %.400s", told->text);
    else if (first->result == second->result)
        snprintf(out, size, "over HTTP/1.1: %.200s; over HTTP/2: %.200s", first->text, second->text);
    else if (told->result == RESULT_FAIL)
        snprintf(out, size, "%s works, %s does not: %.400s", other, name, told->text);
    else
        snprintf(out, size, "over %s only: %.400s", name, told->text);
}

static void merge(struct check *check, struct ending *ending)
{
    const struct both *both = check->both;
    struct run_report *report = &check->run.report, other = both->report;
    bool of_second = is_worse(ending, &both->ending) || (ending->result == RESULT_PASS && both->ending.result == RESULT_PASS);
    struct ending whole = of_second ? *ending : both->ending;

    check->http_split = both->ending.result == ending->result ? HTTP_SPLIT_NONE
                        : ending->result == RESULT_FAIL       ? HTTP_SPLIT_ONLY_2_FAILS
                        : both->ending.result == RESULT_FAIL  ? HTTP_SPLIT_ONLY_1_1_FAILS
                                                              : HTTP_SPLIT_NONE;
    tell(whole.text, sizeof whole.text, &both->ending, ending, of_second);
    if (!of_second) {
        other = *report;
        *report = both->report;
        check->view.total_ns = both->total_ns;
        check->timed_out = both->timed_out;
    }
    report->answered = report->answered || other.answered || other.http_status;
    report->spoke = report->spoke || other.spoke || other.have_rtt;
    report->tls_answered = report->tls_answered || other.tls_answered;
    if (!report->cert_not_after_ms)
        report->cert_not_after_ms = other.cert_not_after_ms;
    *ending = whole;
}

bool both_end_half(struct check *check, struct ending *ending)
{
    check->http_split = HTTP_SPLIT_NONE;
    if (!check->both && check->run.http == HTTP_BOTH && !check->run.type->session && ending->result != RESULT_VOID) {
        check->both = mem_alloc(sizeof *check->both);
        *check->both = (struct both){ *ending, check->run.report, check->view.total_ns, check->timed_out };
        check->run.http2 = true;
        return true;
    }
    if (!check->both)
        return false;
    if (ending->result != RESULT_VOID)
        merge(check, ending);
    mem_free(check->both);
    check->both = NULL;
    check->run.http2 = false;
    return false;
}
