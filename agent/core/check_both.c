/*
 * A round with `http: both` (agent/core/check_both.h). Called by agent/core/check.c where a round ends. Each half has a run of its own, the
 * whole `timeout`, and is judged by `slo` for itself, so that a version passes here when it passes alone. What is void ends the whole
 * round. The report that is shown is that of the half that the verdict is about; of the other one it keeps the signs of life.
 *
 * What a session loses between its rounds is judged at once and for its half alone; while the other half is under way, it is kept for the
 * round's end.
 *
 * Rejected: the versions by turns, one in each round. `fall` counts failures in a row, and there would never be two.
 */
#include "agent/core/check_both.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"

enum { FIRST, SECOND };

static struct both *both_of(struct check *check)
{
    if (!check->both)
        check->both = mem_alloc(sizeof *check->both);
    return check->both;
}

static void forget(struct check *check)
{
    mem_free(check->both);
    check->both = NULL;
}

bool both_is_second(const struct check *check)
{
    return check->both && check->both->second;
}

static bool is_worse(const struct ending *a, const struct ending *b)
{
    return a->result != b->result && (a->result == RESULT_FAIL || b->result == RESULT_PASS);
}

/* The sentence of two halves, of which one is shown. trial: to be let in is no proof that a version works. */
static void tell(char *out, size_t size, const struct ending *first, const struct ending *second, bool of_second, bool trial)
{
    const struct ending *told = of_second ? second : first;
    const char *name = of_second ? "HTTP/2" : "HTTP/1.1", *other = of_second ? "HTTP/1.1" : "HTTP/2";

    bool same = strcmp(first->text, second->text) == 0;

    if (told->result == RESULT_PASS && *told->text && same)
        snprintf(out, size, "over HTTP/1.1 and over HTTP/2: %.460s", told->text);
    else if (told->result == RESULT_PASS && *told->text)
        snprintf(out, size, "over HTTP/1.1: %.230s; over HTTP/2: %.230s", first->text, second->text);
    else if (told->result == RESULT_PASS)
        snprintf(out, size, "over HTTP/1.1 and over HTTP/2; the times are those of %s", name);
    else if (first->result == second->result && first->reason == second->reason)
        snprintf(out, size, "over HTTP/1.1 and over HTTP/2: %.400s", told->text);
    else if (first->result == second->result)
        snprintf(out, size, "over HTTP/1.1: %.200s; over HTTP/2: %.200s", first->text, second->text);
    else if (told->result == RESULT_FAIL && !trial)
        snprintf(out, size, "%s works, %s does not: %.400s", other, name, told->text);
    else
        snprintf(out, size, "over %s only: %.400s", name, told->text);
}

/* One half spoke, and the other had nothing to say. */
static void name_half(const struct check *check, struct ending *ending)
{
    char text[ERR_TEXT_MAX];

    if (ending->result == RESULT_PASS || ending->result == RESULT_VOID)
        return;
    memcpy(text, ending->text, sizeof text);
    snprintf(ending->text, sizeof ending->text, "over HTTP/%s: %.460s", check->run == check->second ? "2" : "1.1", text);
}

/* Takes the half into the check: it is what the round came to. */
static void show(struct check *check, const struct half *half)
{
    check->run->report = half->report;
    check->view.total_ns = half->total_ns;
    check->timed_out = half->timed_out;
}

/* A server that says that it has no WebSocket over HTTP/2 turns nobody away: clients take HTTP/1.1 (RFC 8441, 3; RFC 7301). A fault would
 * take out an instance that serves everybody. */
static bool excuse(const struct half *first, struct half *second)
{
    char text[ERR_TEXT_MAX];

    if (second->ending.result != RESULT_FAIL || second->report.h2_gap == H2_GAP_NONE || first->ending.result == RESULT_FAIL)
        return false;
    memcpy(text, second->ending.text, sizeof text);
    snprintf(second->ending.text, sizeof second->ending.text, "HTTP/1.1 works, and clients use that: %.440s", text);
    second->ending.result = RESULT_WARN;
    return true;
}

static void merge(struct check *check, struct ending *out)
{
    struct half *first = &check->both->halves[FIRST], *second = &check->both->halves[SECOND];
    bool excused = excuse(first, second);
    bool well = first->ending.result == RESULT_PASS && second->ending.result == RESULT_PASS;
    bool of_second = is_worse(&second->ending, &first->ending) || well;
    const struct half *told = of_second ? second : first, *other = of_second ? first : second;
    struct run_report *report = &check->run->report;

    check->http_split = first->ending.result == second->ending.result ? HTTP_SPLIT_NONE
                        : second->ending.result == RESULT_FAIL        ? HTTP_SPLIT_ONLY_2_FAILS
                        : first->ending.result == RESULT_FAIL         ? HTTP_SPLIT_ONLY_1_1_FAILS
                                                                      : HTTP_SPLIT_NONE;
    if (excused)
        check->http_split = HTTP_SPLIT_ONLY_2_FAILS;
    *out = told->ending;
    if (!excused || !of_second)
        tell(out->text, sizeof out->text, &first->ending, &second->ending, of_second, check->first.type->kind == PROBE_TRIAL);
    show(check, told);
    report->answered = report->answered || other->report.answered || other->report.http_status;
    report->spoke = report->spoke || other->report.spoke || other->report.have_rtt;
    report->tls_answered = report->tls_answered || other->report.tls_answered;
    if (!report->cert_not_after_ms)
        report->cert_not_after_ms = other->report.cert_not_after_ms;
}

bool both_end_half(struct check *check, struct ending *ending)
{
    bool of_second = check->run == check->second;
    struct both *both;

    check->http_split = HTTP_SPLIT_NONE;
    if (!check->second)
        return false;
    if (check->apart || ending->result == RESULT_VOID) {
        name_half(check, ending);
        forget(check);
        return false;
    }
    both = both_of(check);
    both->halves[of_second] = (struct half){ true, *ending, check->run->report, check->view.total_ns, check->timed_out };
    if (!of_second && !both->halves[SECOND].known) {
        both->second = true;
        return true;
    }
    if (both->halves[FIRST].known)
        merge(check, ending);
    else
        name_half(check, ending);
    forget(check);
    return false;
}

enum both_skip both_skip_half(struct check *check, uint64_t *until_ns, struct ending *ending)
{
    struct both *both;
    const struct half *known;

    if (!check->second)
        return BOTH_SKIP;
    both = both_of(check);
    known = &both->halves[check->run == check->second ? FIRST : SECOND];
    if (known->known) {
        *ending = known->ending;
        check->run = known == &both->halves[FIRST] ? &check->first : check->second;
        show(check, known);
        name_half(check, ending);
        forget(check);
        return BOTH_JUDGE;
    }
    if (check->run == &check->first) {
        both->second = true;
        both->skipped_ns = *until_ns;
        return BOTH_SECOND;
    }
    *until_ns = both->skipped_ns < *until_ns ? both->skipped_ns : *until_ns;
    forget(check);
    return BOTH_SKIP;
}

bool both_take_event(struct run *run, enum result result, const struct err *err)
{
    struct check *check = run->check;
    bool of_second = run == check->second;
    struct half half = { .known = true, .ending = { result, err->reason, PHASE_OPEN, "" } }, *kept;

    if (!check->second || run->active || !(of_second ? check->first.active : both_is_second(check)))
        return false;
    kept = &both_of(check)->halves[of_second];
    snprintf(half.ending.text, sizeof half.ending.text, "%s", err->text);
    secret_scrub(half.ending.text);
    half.report.phase = PHASE_OPEN;
    half.report.http2 = of_second;
    half.report.answered = half.report.spoke = true; /* it was a session */
    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        half.report.close_code = err->code;
    if (!kept->known || is_worse(&half.ending, &kept->ending))
        *kept = half;
    return true;
}
