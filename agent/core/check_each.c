/*
 * A round with `each_address` (agent/core/check_each.h). Called by agent/core/check.c where a round ends. The first part looks the name up,
 * and each part dials one of its addresses (struct dial_each): the name stays that of the URL in SNI, certificate and Host. Each part has the
 * whole `timeout` and is judged by `slo` for itself. What is void ends the whole round.
 *
 * Where all addresses fail, so does the round. Where some do, it warns: others serve the users, and a failure would take this instance out
 * where readiness.shared_faults says so, and each other instance with it. Addresses of a family that this host has no way to (IPv6, mostly)
 * are named and not blamed: clients that have none use the other family.
 *
 * Rejected: all addresses at once. A name may be many entries of one proxy, which would see a burst of handshakes in each round.
 */
#include "agent/core/check_each.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"

enum { TOLD_MAX = 3 };

struct each *each_new(const struct check_conf *conf)
{
    return conf->each_address ? mem_alloc(sizeof(struct each)) : NULL;
}

bool each_goes_on(const struct check *check)
{
    return check->each && check->each->tried;
}

/* --- the verdict --- */

struct counts {
    size_t of[RESULT_COUNT], unreached, judged;
};

static bool is_unreachable(const struct each_part *part)
{
    return part->half.ending.result == RESULT_FAIL && part->half.ending.reason == REASON_CONNECT_UNREACHABLE;
}

/* Is there no way from this host to any address of its family, and one to the other family? */
static bool has_no_way(const struct each_part *parts, size_t count, const struct each_part *part)
{
    bool other_works = false;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].family == part->family && !is_unreachable(&parts[i]))
            return false;
        other_works = other_works || (parts[i].family != part->family && !is_unreachable(&parts[i]));
    }
    return other_works;
}

static struct counts count_parts(const struct each_part *parts, size_t count)
{
    struct counts counts = { .judged = 0 };

    for (size_t i = 0; i < count; i++) {
        if (has_no_way(parts, count, &parts[i])) {
            counts.unreached++;
            continue;
        }
        counts.judged++;
        counts.of[parts[i].half.ending.result]++;
    }
    return counts;
}

/* Of two that pass: is it that whose certificate ends sooner, or else the slower one? */
static bool is_weaker(const struct half *a, const struct half *b)
{
    if (a->report.cert_not_after_ms != b->report.cert_not_after_ms)
        return a->report.cert_not_after_ms < b->report.cert_not_after_ms;
    return a->total_ns > b->total_ns;
}

static size_t pick(const struct each_part *parts, size_t count, enum result result)
{
    size_t told = count;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].half.ending.result != result || has_no_way(parts, count, &parts[i]))
            continue;
        if (told == count || (result == RESULT_PASS && is_weaker(&parts[i].half, &parts[told].half)))
            told = i;
    }
    panic_if(told == count);
    return told;
}

static void say(struct ending *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct ending *out, const char *fmt, ...)
{
    size_t len = strlen(out->text);
    va_list args;

    va_start(args, fmt);
    vsnprintf(out->text + len, sizeof out->text - len, fmt, args);
    va_end(args);
}

static bool are_alike(const struct each_part *parts, size_t count, const struct ending *told)
{
    for (size_t i = 0; i < count; i++)
        if (parts[i].half.ending.result == told->result && parts[i].half.ending.reason != told->reason &&
            !has_no_way(parts, count, &parts[i]))
            return false;
    return true;
}

/* ": 192.0.2.7, 192.0.2.9 and 2 more: status 404", or each with a sentence of its own. */
static void say_parts(struct ending *out, const struct each_part *parts, size_t count, const struct ending *told, size_t bad)
{
    bool alike = are_alike(parts, count, told);
    size_t named = 0;

    for (size_t i = 0; i < count && named < TOLD_MAX; i++) {
        if (parts[i].half.ending.result != told->result || has_no_way(parts, count, &parts[i]))
            continue;
        say(out, "%s%s", named++ ? ", " : ": ", parts[i].address);
        if (!alike)
            say(out, " (%.90s)", parts[i].half.ending.text);
    }
    if (bad > named)
        say(out, " and %zu more", bad - named);
    if (alike && *told->text)
        say(out, ": %.250s", told->text);
}

static void tell_bad(struct ending *out, const struct each_part *parts, size_t count, const struct each_part *shown, size_t bad,
                     size_t judged)
{
    const struct ending *told = &shown->half.ending;
    const char *verb = told->result == RESULT_FAIL ? "fail" : "warn";

    if (bad < judged) {
        say(out, "%zu of %zu addresses %s%s", bad, judged, verb, bad == 1 ? "s" : "");
        say_parts(out, parts, count, told, bad);
        return;
    }
    if (judged == 1) {
        say(out, "%s %ss: %.300s", shown->address, verb, told->text);
        return;
    }
    say(out, "all %zu addresses %s", judged, verb);
    if (are_alike(parts, count, told))
        say(out, ": %.380s", told->text);
    else
        say_parts(out, parts, count, told, bad);
}

static void tell_good(struct ending *out, const struct each_part *told, size_t judged)
{
    if (judged > 1)
        say(out, "all %zu addresses pass; ", judged);
    if (*told->half.ending.text)
        say(out, "%s: %.300s", told->address, told->half.ending.text);
    else if (judged == 1)
        say(out, "%s passes", told->address);
    else
        say(out, "the times are those of %s, the slowest", told->address);
}

static void tell_rest(struct ending *out, const struct counts *counts, size_t count, size_t total)
{
    if (counts->unreached)
        say(out, "; this host has no way to %zu more, of another address family", counts->unreached);
    if (total > count)
        say(out, "; %zu more %s not tried", total - count, total - count == 1 ? "was" : "were");
}

void each_merge(const struct each_part *parts, size_t count, size_t total, struct ending *out, size_t *told,
                struct address_split *split)
{
    const struct counts counts = count_parts(parts, count);
    enum result result = counts.of[RESULT_FAIL] ? RESULT_FAIL : counts.of[RESULT_WARN] ? RESULT_WARN : RESULT_PASS;
    size_t bad = result == RESULT_PASS ? 0 : counts.of[result];
    const struct each_part *shown = &parts[ *told = pick(parts, count, result)];

    *out = shown->half.ending;
    *split = (struct address_split){ 0 };
    out->text[0] = 0;
    if (bad)
        tell_bad(out, parts, count, shown, bad, counts.judged);
    else
        tell_good(out, shown, counts.judged);
    tell_rest(out, &counts, count, total);
    if (bad == counts.judged || !bad)
        return;
    out->result = RESULT_WARN;
    if (out->reason != REASON_SLOW) /* some are farther away than others */
        *split = (struct address_split){ (unsigned)bad, (unsigned)counts.judged };
}

/* --- the round --- */

static void note_part(struct check *check, const struct ending *ending)
{
    const struct each *each = check->each;
    const struct sockaddr_storage *address = &each->dial.addresses[each->dial.index % each->dial.count];
    struct each_part *part = &check->each->parts[each->tried];

    *part = (struct each_part){ .half = { true, *ending, check->run->report, check->view.total_ns, check->timed_out },
                                .family = address->ss_family };
    if (address->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, part->address, sizeof part->address);
    else
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, part->address, sizeof part->address);
    check->each->tried++;
    check->each->timeouts += check->timed_out;
}

/* The next round looks the name up anew. It begins with the address that this one would have tried next. */
static void begin_anew(struct each *each)
{
    each->start = each->dial.count ? (each->start + each->tried) % each->dial.count : 0;
    each->dial = (struct dial_each){ .index = each->start };
    each->tried = 0;
    each->timeouts = 0;
}

/* Takes the part into the check: it is what the round came to. Signs of life are those of all. */
static void show(struct check *check, const struct each *each, size_t told)
{
    struct run_report *report = &check->run->report;

    *report = each->parts[told].half.report;
    check->view.total_ns = each->parts[told].half.total_ns;
    check->timed_out = each->parts[told].half.timed_out;
    for (size_t i = 0; i < each->tried; i++) {
        const struct run_report *other = &each->parts[i].half.report;

        report->answered = report->answered || other->answered || other->http_status;
        report->spoke = report->spoke || other->spoke || other->have_rtt;
        report->tls_answered = report->tls_answered || other->tls_answered;
        if (!report->cert_not_after_ms || (other->cert_not_after_ms && other->cert_not_after_ms < report->cert_not_after_ms))
            report->cert_not_after_ms = other->cert_not_after_ms;
    }
}

/* A target that refuses all that it is asked is asked little: by one connection in a round, to another address each time. */
static bool is_left_alone(struct check *check, const struct ending *ending)
{
    return ending->result == RESULT_FAIL && backoff_is_refusal(ending->reason, check->run->report.close_code) &&
           run_backs_off(check->run);
}

bool each_end_part(struct check *check, struct ending *ending)
{
    struct each *each = check->each;
    size_t told, total;

    check->addresses = (struct address_split){ 0 };
    if (!each)
        return false;
    total = each->dial.count + each->dial.left_out;
    if (total < 2 || ending->result == RESULT_VOID) {
        begin_anew(each);
        return false;
    }
    note_part(check, ending);
    if (each->tried < each->dial.count && each->timeouts < EACH_TIMEOUTS_MAX && !is_left_alone(check, ending)) {
        each->dial.index++;
        return true;
    }
    each_merge(each->parts, each->tried, total, ending, &told, &check->addresses);
    show(check, each, told);
    begin_anew(each);
    return false;
}
