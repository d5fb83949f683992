/*
 * Finds the cause of what the checks say: from a view to one cause, a sentence and advice. Called by agent/run/agent.c after every change of
 * the verdict or of a check. Gives a cause and a sentence for every view, also for combinations that no rule foresaw. The causes and rules
 * are data (diagnose_rules*.c). Nothing is decided here: what a failure does to /ready is the business of agent/core/health.c.
 *
 * First it chooses the main fault. A check that keeps the instance out of rotation goes before one that only reports; this server's own
 * path goes before the public one; an early phase goes before a later one, because a check that cannot connect learns nothing of what
 * comes after; a lower rank of the check's type goes before a higher one. Then the rules look at that fault's reason and at what
 * else works on the same path. The engine's and the diagnosis' knowledge of a type is what it declares (agent/conf/probe_type.h): no type is
 * known here by its name.
 *
 * Brokers come into it in three ways: a broker is the main fault; or it is the witness beside a delivery that fails; or the server and a
 * broker have both failed, and it matters which was first.
 */
#include "agent/report/diagnose.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/conf/conf.h"
#include "agent/report/diagnose_rules.h"
#include "agent/report/view.h"

/* A pass that is older than a fault by more than this says nothing against it. Rounds of one time start together. */
enum { EVIDENCE_SLACK_MS = 500 };
/* Faults that begin within this time begin together: checks do not run often enough to tell more exactly. */
enum { TOGETHER_MS = 1000 };

static bool speaks_websocket(const struct check_view *check)
{
    return check->kind == PROBE_FRESH || check->kind == PROBE_SESSION;
}

static bool is_public(const struct check_view *check)
{
    return strcmp(check->path, "public") == 0;
}

/* --- the main fault ---------------------------------------------------------------------------------------------------- */

/* How important a check's state is to the person on call. WEIGHT_NONE: nothing is wrong. */
enum weight {
    WEIGHT_NONE,
    WEIGHT_WARN,
    WEIGHT_READY_WARN,
    WEIGHT_FAIL,
    WEIGHT_LIVE_FAIL,
    WEIGHT_PROBE_FAIL,
    WEIGHT_SHARED_FAIL,
    WEIGHT_READY_FAIL
};

static enum weight weight_of(const struct check_view *check)
{
    struct check_fault fault;
    enum state state = check->health.state;
    if (state == STATE_PASS || !check_fault_of(check, &fault))
        return WEIGHT_NONE;
    bool ready = check->gates & GATE_READY, elsewhere = fault.scope == SCOPE_SHARED || fault.scope == SCOPE_PROBE;
    if (state == STATE_UNKNOWN && !(ready && elsewhere)) /* has just failed for the first time */
        return WEIGHT_NONE;
    if (state == STATE_WARN)
        return ready ? WEIGHT_READY_WARN : WEIGHT_WARN;
    if (ready)
        return fault.scope == SCOPE_SHARED  ? WEIGHT_SHARED_FAIL
               : fault.scope == SCOPE_PROBE ? WEIGHT_PROBE_FAIL
                                            : WEIGHT_READY_FAIL;
    return check->gates & GATE_LIVE ? WEIGHT_LIVE_FAIL : WEIGHT_FAIL;
}

/* Greater goes first. Equal ones stay in the configuration's order. */
static unsigned priority_of(const struct check_view *check)
{
    struct check_fault fault;
    enum weight weight = weight_of(check);
    if (weight == WEIGHT_NONE || !check_fault_of(check, &fault))
        return 0;
    unsigned priority = weight;
    priority = priority * 2 + !is_public(check);
    priority = priority * 2 + speaks_websocket(check);
    priority = priority * PHASE_COUNT + (PHASE_COUNT - 1 - reason_phase(fault.reason));
    panic_if(check->rank < -PROBE_RANK_MAX || check->rank > PROBE_RANK_MAX);
    return priority * (2 * PROBE_RANK_MAX + 1) + (unsigned)(PROBE_RANK_MAX - check->rank);
}

static const struct check_view *main_fault(const struct agent_view *view)
{
    const struct check_view *main_check = NULL;
    unsigned best = 0;
    for (size_t i = 0; i < view->check_count; i++) {
        unsigned priority = priority_of(view->checks[i]);
        if (priority > best) {
            best = priority;
            main_check = view->checks[i];
        }
    }
    return main_check;
}

/* --- what holds around it ------------------------------------------------------------------------------------------------ */

static bool good(const struct check_view *check)
{
    bool state_good = check->health.state == STATE_PASS || check->health.state == STATE_WARN;
    return state_good && check->judged && check->status != RESULT_FAIL;
}

/* A pass is evidence against the main fault only if it came after that began: of a server that has just died, every other
 * check's last round was still a pass. */
static bool works(const struct check_view *check, const struct check_view *main_check)
{
    int64_t began_ms = main_check->since_ms - (int64_t)(main_check->total_ns / NS_PER_MS) - EVIDENCE_SLACK_MS;
    return check != main_check && good(check) && check->last_ms >= began_ms;
}

static unsigned facts_of_main(const struct check_view *main_check, const struct check_fault *fault)
{
    unsigned facts = 0;
    facts |= speaks_websocket(main_check) || main_check->kind == PROBE_TRIAL ? ON_WEBSOCKET : 0;
    facts |= main_check->kind == PROBE_SESSION ? ON_SESSION : 0;
    facts |= main_check->proves & PROVES_PONG ? ON_PING : 0;
    facts |= main_check->proves & PROVES_HTTP ? ON_HTTP : 0;
    facts |= main_check->proves & PROVES_PORT ? ON_TCP : 0;
    facts |= check_is_broker(main_check) ? ON_BROKER : 0;
    facts |= fault->scope == SCOPE_SHARED ? IS_SHARED : 0;
    facts |= main_check->health.state == STATE_WARN ? IS_WARNING : 0;
    facts |= main_check->stats.delivery && delivery_never_arrived(main_check->stats.delivery) ? NEVER_ARRIVED : 0;
    return facts;
}

static unsigned facts_around(const struct agent_view *view, const struct check_view *main_check)
{
    unsigned facts = 0;
    bool local_works = false, local_fails = false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (is_public(check) != is_public(main_check)) {
            bool fresh = check->kind == PROBE_FRESH;
            local_works = local_works || (fresh && works(check, main_check));
            local_fails = local_fails || (speaks_websocket(check) && check->health.state == STATE_FAIL);
        } else if (works(check, main_check)) {
            facts |= check->kind == PROBE_FRESH ? FRESH_WORKS : 0;
            facts |= check->proves & PROVES_PONG ? PING_WORKS : 0;
            facts |= check->proves & PROVES_ANSWER ? ECHO_WORKS : 0;
            facts |= check->proves & PROVES_SUBSCRIPTION ? SUBSCRIBE_WORKS : 0;
            facts |= check->proves & PROVES_HTTP ? HTTP_WORKS : 0;
        }
    }
    return is_public(main_check) && local_works && !local_fails ? facts | LOCAL_WORKS : facts;
}

static bool reason_fits(const struct rule *rule, enum reason reason)
{
    if (rule->reasons[0] == REASON_NONE)
        return true;
    for (size_t i = 0; i < RULE_REASONS && rule->reasons[i] != REASON_NONE; i++)
        if (rule->reasons[i] == reason)
            return true;
    return false;
}

static bool rule_fits(const struct rule *rule, unsigned facts, enum reason reason, int code)
{
    return (facts & rule->need) == rule->need && !(facts & rule->without) && reason_fits(rule, reason) &&
           (!rule->low || (code >= rule->low && code <= rule->high));
}

static const struct rule *find_rule(unsigned facts, const struct check_view *main_check, const struct check_fault *fault)
{
    enum reason reason = fault->reason;
    int code = fault->hint                                                            ? fault->hint
               : reason == REASON_CLOSED_BY_SERVER || reason == REASON_LOGIN_REJECTED ? main_check->close_code
                                                                                      : main_check->http_status;
    for (const struct rule_set *set = diagnose_rule_sets; set->rules; set++)
        for (size_t i = 0; i < *set->count; i++)
            if (rule_fits(&set->rules[i], facts, reason, code))
                return &set->rules[i];
    return NULL;
}

/* --- brokers ----------------------------------------------------------------------------------------------------------------- */

/* The check of the broker that this check works with, or of the only one there is. */
static const struct check_view *broker_check_of(const struct agent_view *view, const struct check_view *check)
{
    const struct check_view *only = NULL;
    size_t count = 0;
    if (check_is_broker(check))
        return check;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *other = view->checks[i];
        if (!check_is_broker(other))
            continue;
        if (check->broker && strcmp(check->broker, other->name) == 0)
            return other;
        only = other;
        count++;
    }
    return count == 1 && !check->broker ? only : NULL;
}

/* What rules call {broker}. */
static const char *broker_name_of(const struct agent_view *view, const struct check_view *check)
{
    const struct check_view *broker = broker_check_of(view, check);
    return check->broker ? check->broker : broker ? broker->name : "the broker";
}

/* The broker that failed first; NULL: none has failed. */
static const struct check_view *broken_broker(const struct agent_view *view)
{
    const struct check_view *first = NULL;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (check_is_broker(check) && check->health.state == STATE_FAIL && (!first || check->since_ms < first->since_ms))
            first = check;
    }
    return first;
}

static bool about_delivery(enum reason reason)
{
    return reason == REASON_DELIVERY_LOST || reason == REASON_DELIVERY_SLOW || reason_scope(reason) == SCOPE_SHARED;
}

/* --- writing it down ------------------------------------------------------------------------------------------------------- */

/* Adds to a text of that size. Where it is full, it ends between characters and shows it by "…"; what would follow is lost. */
static void add(char *to, size_t size, const char *text)
{
    size_t len = strlen(to), room = size - 1 - len, more = strlen(text);
    bool cut = room < sizeof "…" && len >= strlen("…") && strcmp(to + len - strlen("…"), "…") == 0;
    if (cut)
        return;
    memcpy(to + len, text, more < room ? more : room);
    to[len + (more < room ? more : room)] = '\0';
    if (more <= room)
        return;
    size_t at = size - sizeof "…";
    while (at > 0 && ((unsigned char)to[at] & 0xc0) == 0x80)
        at--;
    memcpy(to + at, "…", sizeof "…");
}

static void say(struct diagnosis *out, const char *text)
{
    add(out->sentence, sizeof out->sentence, text);
}

/* For both readers. */
static void say_plain(struct diagnosis *out, const char *text)
{
    add(out->plain, sizeof out->plain, text);
    say(out, text);
}

/* A rule's text, with the broker's name in its hole. */
static void say_rule(struct diagnosis *out, const char *text, const char *broker)
{
    static const char hole[] = "{broker}";
    const char *at = strstr(text, hole);
    char before[DIAGNOSIS_PLAIN_MAX];
    if (!at) {
        say_plain(out, text);
        return;
    }
    snprintf(before, sizeof before, "%.*s", (int)(at - text), text);
    say_plain(out, before);
    say_plain(out, broker);
    say_plain(out, at + strlen(hole));
}

/* " (echo: no message within 2s)" */
static void say_fault(struct diagnosis *out, const struct check_view *check, const struct check_fault *fault)
{
    say(out, " (");
    say(out, check->name);
    say(out, ": ");
    say(out, *fault->message ? fault->message : reason_name(fault->reason));
    say(out, ")");
}

static void advise(struct diagnosis *out, const char *advice)
{
    if (advice && out->advice_count < DIAGNOSIS_ADVICE_MAX)
        out->advice[out->advice_count++] = advice;
}

static void blame(struct diagnosis *out, const struct check_view *check)
{
    for (size_t i = 0; i < out->because_count; i++)
        if (out->because[i] == check->name)
            return;
    if (out->because_count < DIAGNOSIS_BECAUSE_MAX)
        out->because[out->because_count++] = check->name;
}

/* A shared fault hits every instance: do not advise restarting this one. */
static void tell_shared(const struct agent_view *view, struct diagnosis *out)
{
    const struct verdict *verdict = &view->verdict;
    say_plain(out, "; all instances are hit, and this one ");
    if (verdict->ready)
        say_plain(out, verdict->degraded ? "stays in rotation, degraded" : "stays in rotation");
    else if (verdict->started)
        say_plain(out, "is out of rotation, as readiness.shared_faults says");
    else
        say_plain(out, "has not been in rotation yet");
}

/* A refused probe says nothing of users, who have tokens of their own: do not advise restarting the server. */
static void tell_probe(const struct agent_view *view, struct diagnosis *out)
{
    const struct verdict *verdict = &view->verdict;
    say_plain(out, "; it is the probe that is hit, which says nothing of clients, and the instance ");
    if (verdict->ready)
        say_plain(out, "stays in rotation, degraded");
    else if (verdict->admitted)
        say_plain(out, "is out of rotation");
    else
        say_plain(out, "is kept out until the check has passed once");
}

/* The server and a broker have both failed: says which was first. */
static void tell_both(const struct check_view *main_check, const struct check_view *broker, struct diagnosis *out)
{
    int64_t later_ms = main_check->since_ms - broker->since_ms; /* the server, after the broker */
    int64_t apart_ms = later_ms < 0 ? -later_ms : later_ms;
    char apart[32];
    text_format_duration(apart_ms / 1000 * 1000, apart, sizeof apart);
    say_plain(out, "; ");
    say_plain(out, broker->name);
    if (apart_ms < TOGETHER_MS) {
        say_plain(out, " failed at the same time");
        advise(out, "The server and a broker failed together: look first for what they share (host, network, name service)");
    } else if (later_ms > 0) {
        say_plain(out, " had failed ");
        say_plain(out, apart);
        say_plain(out, " before");
        advise(out, "The broker failed first: mend that first, and see whether the server comes back by itself");
    } else {
        say_plain(out, " failed ");
        say_plain(out, apart);
        say_plain(out, " later");
        advise(out, "The server failed first: begin with it; the broker needs looking at as well");
    }
}

static void tell_broker(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault,
                        struct diagnosis *out)
{
    const struct check_view *broken = broken_broker(view);
    if (main_check->health.state == STATE_WARN)
        return;
    if (fault->scope == SCOPE_SHARED)
        tell_shared(view, out);
    else if (fault->scope == SCOPE_PROBE && (main_check->gates & GATE_READY))
        tell_probe(view, out);
    else if (broken && broken != main_check && speaks_websocket(main_check))
        tell_both(main_check, broken, out);
}

/* What the conclusion rests on: the main check, the broker beside it, and what has failed as badly. */
static void blame_all(const struct agent_view *view, const struct check_view *main_check, enum reason reason, struct diagnosis *out)
{
    const struct check_view *broker = about_delivery(reason) ? broker_check_of(view, main_check) : NULL,
                            *broken = broken_broker(view);
    blame(out, main_check);
    if (broker && broker->judged)
        blame(out, broker);
    for (size_t i = 0; i < view->check_count; i++)
        if (weight_of(view->checks[i]) == weight_of(main_check))
            blame(out, view->checks[i]);
    if (broken && main_check->health.state == STATE_FAIL && speaks_websocket(main_check))
        blame(out, broken);
}

static void tell_fault(const struct agent_view *view, const struct check_view *main_check, struct diagnosis *out)
{
    struct check_fault fault = { .message = "" };
    check_fault_of(main_check, &fault);
    unsigned facts = facts_of_main(main_check, &fault) | facts_around(view, main_check);
    const struct rule *rule = find_rule(facts, main_check, &fault);
    panic_if(!rule);
    out->cause = cause_name(rule->cause);
    say_rule(out, rule->plain ? rule->plain : reason_help(fault.reason), broker_name_of(view, main_check));
    tell_broker(view, main_check, &fault, out);
    say_fault(out, main_check, &fault);
    for (size_t i = 0; i < RULE_ADVICE; i++)
        advise(out, rule->advice[i]);
    if (!view->verdict.live)
        advise(out, "/live says 503: where it is the livenessProbe, Kubernetes restarts the server by itself");
    if (!(main_check->gates & (GATE_READY | GATE_LIVE)) && !(facts & IS_SHARED))
        advise(out, "This check only reports: /ready does not follow it");
    if ((facts & ON_WEBSOCKET) && (facts & HTTP_WORKS) && !(facts & IS_SHARED) && rule->cause != CAUSE_WEBSOCKET_DEAD)
        advise(out, "A plain HTTP check passes all the while: it does not see this fault");
    blame_all(view, main_check, fault.reason, out);
}

/* A cause that no fault of a check leads to. */
static void tell_own(struct diagnosis *out, enum cause cause)
{
    const struct rule *rule = cause_own_rule(cause);
    panic_if(!rule);
    out->cause = cause_name(cause);
    say_plain(out, rule->plain);
    for (size_t i = 0; i < RULE_ADVICE; i++)
        advise(out, rule->advice[i]);
}

static void tell_draining(const struct agent_view *view, struct diagnosis *out)
{
    tell_own(out, CAUSE_DRAINING);
    for (size_t i = 0; i < view->check_count; i++)
        if (view->checks[i]->health.state == STATE_FAIL)
            blame(out, view->checks[i]);
    if (out->because_count)
        say(out, "; besides, checks fail, which is normal while the server stops");
}

/* Has the agent never been able to judge this check? */
static bool only_void(const struct check_view *check)
{
    return !check->judged && check->stats.rounds[RESULT_VOID] > 0;
}

static bool tell_void(const struct agent_view *view, struct diagnosis *out)
{
    const struct check_view *first = NULL;
    for (size_t i = 0; i < view->check_count; i++)
        if (only_void(view->checks[i])) {
            first = first ? first : view->checks[i];
            blame(out, view->checks[i]);
        }
    if (!first)
        return false;
    tell_own(out, first->reason == REASON_AGENT_ERROR ? CAUSE_AGENT_ERROR : CAUSE_AGENT_STALLED);
    say_fault(out, first, &(struct check_fault){ .reason = first->reason, .message = first->message });
    return true;
}

static void tell_starting(const struct agent_view *view, struct diagnosis *out)
{
    const struct check_view *failed = NULL;
    struct check_fault fault, first = { .message = "" };
    tell_own(out, CAUSE_STARTING);
    snprintf(out->sentence, sizeof out->sentence, "Waiting for the first pass of ");
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (!(check->gates & GATE_READY) || check->health.passed_once)
            continue;
        say(out, out->because_count ? ", " : "");
        say(out, check->name);
        blame(out, check);
        if (!failed && check_fault_of(check, &fault)) {
            failed = check;
            first = fault;
        }
    }
    if (failed)
        say_fault(out, failed, &first);
}

static unsigned failed_rounds(const struct check_view *check)
{
    unsigned failed = 0;
    for (const char *mark = check->health.history; *mark; mark++)
        failed += *mark == '.';
    return failed;
}

static void tell_healthy(const struct agent_view *view, struct diagnosis *out)
{
    const struct check_view *shaky = NULL, *failing = NULL;
    bool all_judged = true;
    out->cause = cause_name(CAUSE_HEALTHY);
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (failed_rounds(check) > (shaky ? failed_rounds(shaky) : 0))
            shaky = check;
        if (check->judged && check->status == RESULT_FAIL)
            failing = failing ? failing : check;
        all_judged = all_judged && check->judged;
    }
    say_plain(out, failing      ? "No check has failed for good"
                   : all_judged ? "All checks pass"
                                : "All checks that have been judged pass");
    char tail[160] = "";
    if (failing && failing->health.rounds == 1)
        snprintf(tail, sizeof tail, "; the first round of %s failed", failing->name);
    else if (failing)
        snprintf(tail, sizeof tail, "; the last round of %s failed, as %u of its last %zu did", failing->name,
                 failed_rounds(failing), strlen(failing->health.history));
    else if (shaky)
        snprintf(tail, sizeof tail, "; %s failed %u of its last %zu rounds", shaky->name, failed_rounds(shaky),
                 strlen(shaky->health.history));
    say(out, tail);
}

void diagnose(const struct agent_view *view, struct diagnosis *out)
{
    memset(out, 0, sizeof *out);
    const struct check_view *main_check = main_fault(view);
    bool blocked = main_check && weight_of(main_check) >= WEIGHT_PROBE_FAIL;
    if (view->verdict.draining)
        tell_draining(view, out);
    else if (view->check_count == 0)
        tell_own(out, CAUSE_NOTHING_CHECKED);
    else if (blocked)
        tell_fault(view, main_check, out);
    else if (!view->verdict.started && tell_void(view, out))
        return;
    else if (!view->verdict.started)
        tell_starting(view, out);
    else if (main_check)
        tell_fault(view, main_check, out);
    else if (!tell_void(view, out))
        tell_healthy(view, out);
}
