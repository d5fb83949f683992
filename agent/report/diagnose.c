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
 * Two faults at once: a rule may ask for a second fault beside the main one, which it explains or is explained by. A second fault that stands by
 * itself (a certificate, a token that is not asked for) is named behind the main one.
 *
 * Brokers come into it in three ways: a broker is the main fault; or it is the witness beside a delivery that fails; or the server and a
 * broker have both failed, and it matters which was first.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/conf/conf.h"
#include "agent/report/diagnose_impl.h"

/* A broker that has failed so much later than a delivery cannot be its cause: rounds and deadlines differ by less. */
enum { BROKER_LATER_MS = 10000 };

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
    priority = priority * 2 + !check_is_public(check);
    priority = priority * 2 + check_speaks_websocket(check);
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

/* Nothing is delivered where the broker is down: the broker is the fault, whatever the delivery check says of the server. */
static const struct check_view *explained_by_broker(const struct agent_view *view, const struct check_view *main_check)
{
    struct check_fault fault;
    const struct check_view *broker;
    if (!main_check || !check_fault_of(main_check, &fault) ||
        (fault.reason != REASON_DELIVERY_LOST && fault.reason != REASON_DELIVERY_SLOW))
        return main_check;
    broker = broker_check_of(view, main_check);
    if (!broker || broker->health.state != STATE_FAIL || broker->since_ms > main_check->since_ms + BROKER_LATER_MS)
        return main_check;
    return broker;
}

/* --- the rule ----------------------------------------------------------------------------------------------------------- */

static bool reason_fits(const struct rule *rule, enum reason reason)
{
    if (rule->reasons[0] == REASON_NONE)
        return true;
    for (size_t i = 0; i < RULE_REASONS && rule->reasons[i] != REASON_NONE; i++)
        if (rule->reasons[i] == reason)
            return true;
    return false;
}

static bool rule_fits(const struct rule *rule, uint64_t facts, enum reason reason, int code)
{
    return (facts & rule->need) == rule->need && !(facts & rule->without) && reason_fits(rule, reason) &&
           (!rule->low || (code >= rule->low && code <= rule->high));
}

/* *beside: the other check that the rule asks for; NULL: none. */
static const struct rule *find_rule(const struct agent_view *view, uint64_t facts, const struct check_view *main_check,
                                    const struct check_fault *fault, const struct check_view **beside)
{
    enum reason reason = fault->reason;
    int code = fault->hint                                                            ? fault->hint
               : reason == REASON_CLOSED_BY_SERVER || reason == REASON_LOGIN_REJECTED ? main_check->close_code
                                                                                      : main_check->http_status;
    for (const struct rule_set *set = diagnose_rule_sets; set->rules; set++)
        for (size_t i = 0; i < *set->count; i++) {
            const struct rule *rule = &set->rules[i];
            *beside = check_beside(view, main_check, rule->beside);
            if (rule_fits(rule, facts, reason, code) && (*beside || rule->beside[0] == REASON_NONE))
                return rule;
        }
    return NULL;
}

/* --- brokers ----------------------------------------------------------------------------------------------------------------- */

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

/* The agent does not get in: whether others do is another matter. */
static bool about_access(enum reason reason)
{
    return reason == REASON_BROKER_UNREACHABLE || reason == REASON_BROKER_AUTH_FAILED;
}

/* --- writing it down ------------------------------------------------------------------------------------------------------- */

/* Is it a fault of this instance that keeps it out of rotation? */
static bool fails_by_itself(const struct agent_view *view)
{
    for (size_t i = 0; i < view->check_count; i++)
        if (weight_of(view->checks[i]) == WEIGHT_READY_FAIL)
            return true;
    return false;
}

/* A shared fault hits every instance: do not advise restarting this one. only_here: the server itself is connected to the broker, so that
 * is not known. */
static void tell_shared(const struct agent_view *view, const struct check_view *main_check, bool only_here, struct diagnosis *out)
{
    const struct verdict *verdict = &view->verdict;
    if (view->once || (view->fleet && view->fleet->watcher)) {
        diagnosis_say_plain(out, check_is_public(main_check) ? "; all instances share this way in"
                                 : only_here                 ? ""
                                                             : "; all instances are hit");
        return;
    }
    diagnosis_say_plain(out, check_is_public(main_check) ? "; all instances share this way in, and this one "
                             : only_here                 ? "; this instance "
                                                         : "; all instances are hit, and this one ");
    if (verdict->ready)
        diagnosis_say_plain(out, verdict->degraded ? "stays in rotation, degraded" : "stays in rotation");
    else if (fails_by_itself(view))
        diagnosis_say_plain(out, "is out of rotation, as it fails by itself too");
    else if (verdict->started)
        diagnosis_say_plain(out, "is out of rotation, as readiness.shared_faults says");
    else
        diagnosis_say_plain(out, "has not been in rotation yet");
}

/* A refused probe says nothing of users, who have tokens of their own: do not advise restarting the server. A certificate's dates are the
 * same for everybody who is shown it; others may come in through a proxy that has one of its own. */
static void tell_probe(const struct agent_view *view, enum reason reason, struct diagnosis *out)
{
    const struct verdict *verdict = &view->verdict;
    if (reason == REASON_TLS_CERT_EXPIRED || reason == REASON_TLS_CERT_NOT_YET_VALID)
        diagnosis_say_plain(out, "; clients that are shown it are hit as the probe is");
    else if (reason == REASON_TLS_CERT_EXPIRING)
        diagnosis_say_plain(out, "; clients that are shown it are not hit before that");
    else
        diagnosis_say_plain(out, "; it is the probe that is hit, which says nothing of clients");
    if (view->once || (view->fleet && view->fleet->watcher))
        return;
    diagnosis_say_plain(out, ", and the instance ");
    if (verdict->ready)
        diagnosis_say_plain(out, "stays in rotation, degraded");
    else if (verdict->admitted)
        diagnosis_say_plain(out, "is out of rotation");
    else
        diagnosis_say_plain(out, "is kept out until the check has passed once");
}

/* The server and a broker have both failed: says which was first. */
static void tell_both(const struct check_view *main_check, const struct check_view *broker, struct diagnosis *out)
{
    int64_t later_ms = main_check->since_ms - broker->since_ms; /* the server, after the broker */
    int64_t apart_ms = later_ms < 0 ? -later_ms : later_ms;
    char apart[32];
    text_format_duration(apart_ms / 1000 * 1000, apart, sizeof apart);
    diagnosis_say_plain(out, "; ");
    diagnosis_say_plain(out, broker->name);
    if (apart_ms < TOGETHER_MS) {
        diagnosis_say_plain(out, " failed at the same time");
        diagnosis_advise(out,
                         "The server and a broker failed together: look first for what they share (host, network, name service)");
    } else if (later_ms > 0) {
        diagnosis_say_plain(out, " had failed ");
        diagnosis_say_plain(out, apart);
        diagnosis_say_plain(out, " before");
        diagnosis_advise(out, "The broker failed first: mend that first, and see whether the server comes back by itself");
    } else {
        diagnosis_say_plain(out, " failed ");
        diagnosis_say_plain(out, apart);
        diagnosis_say_plain(out, " later");
        diagnosis_advise(out, "The server failed first: begin with it; the broker needs looking at as well");
    }
}

static void tell_broker(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault,
                        uint64_t facts, struct diagnosis *out)
{
    const struct check_view *broken = broken_broker(view);
    if (main_check->health.state == STATE_WARN)
        return;
    if (fault->scope == SCOPE_SHARED && (!check_is_public(main_check) || main_check->gates & GATE_READY))
        tell_shared(view, main_check, (facts & PEER_HOLDS) && about_access(fault->reason), out);
    else if (fault->scope == SCOPE_PROBE && (main_check->gates & GATE_READY) && !(facts & (HTTP2_ONLY | HTTP1_ONLY)))
        tell_probe(view, fault->reason, out);
    else if (broken && broken != main_check && check_speaks_websocket(main_check))
        tell_both(main_check, broken, out);
}

/* What the conclusion rests on: the main check, the broker beside it, and what has failed as badly. */
static void blame_all(const struct agent_view *view, const struct check_view *main_check, enum reason reason, struct diagnosis *out)
{
    const struct check_view *broker = about_delivery(reason) ? broker_check_of(view, main_check) : NULL,
                            *broken = broken_broker(view);
    diagnosis_blame(out, main_check);
    if (broker && broker->judged)
        diagnosis_blame(out, broker);
    for (size_t i = 0; i < view->check_count; i++)
        if (weight_of(view->checks[i]) == weight_of(main_check))
            diagnosis_blame(out, view->checks[i]);
    if (broken && main_check->health.state == STATE_FAIL && check_speaks_websocket(main_check))
        diagnosis_blame(out, broken);
}

/* What a check finds out by itself: no other fault of the server looks like it. */
static bool stands_alone(enum reason reason)
{
    static const enum reason alone[] = { REASON_TLS_CERT_EXPIRED,
                                         REASON_TLS_CERT_NOT_YET_VALID,
                                         REASON_TLS_CERT_UNTRUSTED,
                                         REASON_TLS_HOSTNAME_MISMATCH,
                                         REASON_AUTH_REJECTED,
                                         REASON_AUTH_NOT_ENFORCED,
                                         REASON_AUTH_EXPIRY_IGNORED,
                                         REASON_AUTH_REFRESH_FAILED,
                                         REASON_ORIGIN_REJECTED,
                                         REASON_ORIGIN_NOT_ENFORCED,
                                         REASON_PAYLOAD_LIMIT,
                                         REASON_RESUME_FAILED,
                                         REASON_HTTP_STATUS,
                                         REASON_HTTP_BODY,
                                         REASON_SUBSCRIBE_REJECTED,
                                         REASON_SERVER_FDS_HIGH,
                                         REASON_SERVER_MEMORY_HIGH,
                                         REASON_SERVER_CPU_HIGH,
                                         REASON_SERVER_BACKLOG_HIGH,
                                         REASON_SERVER_CHURN_HIGH,
                                         REASON_SERVER_CONNECTIONS_HIGH };
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++)
        if (alone[i] == reason)
            return true;
    return false;
}

/* A fault that neither the main one nor the rule explains. fallback: no rule knows the main fault either, so any other one is named. */
static const struct check_view *another_fault(const struct agent_view *view, const struct check_view *main_check,
                                              const struct check_view *beside, bool fallback, bool of_version)
{
    struct check_fault main_reason, fault;
    if (!check_fault_of(main_check, &main_reason))
        return NULL;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (check == main_check || check == beside || (check_is_broker(check) && check_speaks_websocket(main_check)) ||
            check->health.state != STATE_FAIL || !check_fault_of(check, &fault))
            continue;
        if (explained_by_broker(view, check) != check)
            continue;
        bool same_version = strcmp(check_http_of(check), check_http_of(main_check)) == 0;
        if (of_version && same_version)
            continue;
        if (fault.reason != main_reason.reason && (fallback || stands_alone(fault.reason)))
            return check;
    }
    return NULL;
}

/* "; besides, certificate fails: a certificate of the chain has expired" */
static void tell_another(const struct check_view *another, struct diagnosis *out)
{
    struct check_fault fault;
    if (!another || !check_fault_of(another, &fault))
        return;
    diagnosis_say_plain(out, "; besides, ");
    diagnosis_say_plain(out, another->name);
    diagnosis_say_plain(out, " fails: ");
    diagnosis_say_plain(out, reason_help(fault.reason));
}

static void advise_all(const struct agent_view *view, const struct check_view *main_check, uint64_t facts, const struct rule *rule,
                       struct diagnosis *out)
{
    bool of_broker = (facts & IS_SHARED) && !check_is_public(main_check);
    for (size_t i = 0; i < RULE_ADVICE; i++)
        diagnosis_advise(out, rule->advice[i]);
    if (!view->verdict.live)
        diagnosis_advise(out, "/live says 503: where it is the livenessProbe, Kubernetes restarts the server by itself");
    if (!(main_check->gates & (GATE_READY | GATE_LIVE)) && !of_broker)
        diagnosis_advise(out, "This check only reports: /ready does not follow it");
    if ((facts & ON_WEBSOCKET) && (facts & HTTP_WORKS) && !of_broker && rule->cause != CAUSE_WEBSOCKET_DEAD)
        diagnosis_advise(out, "A plain HTTP check passes all the while: it does not see this fault");
}

/* " (1 of 3 addresses)". The check's message says it with the addresses. */
static void tell_addresses(const struct check_fault *fault, struct diagnosis *out)
{
    char text[48];
    if (!fault->addresses.bad)
        return;
    snprintf(text, sizeof text, " (%u of %u addresses)", fault->addresses.bad, fault->addresses.of);
    diagnosis_say_hidden(out, text);
}

static void tell_fault(const struct agent_view *view, const struct check_view *main_check, struct diagnosis *out)
{
    struct check_fault fault = { .message = "" };
    const struct check_view *beside, *another;
    check_fault_of(main_check, &fault);
    uint64_t facts = facts_of(view, main_check, &fault);
    const struct rule *rule = find_rule(view, facts, main_check, &fault, &beside);
    panic_if(!rule);
    char length[32];
    text_format_elapsed(main_check->stats.lives.longest_ns, length, sizeof length);
    const struct check_view *seen_by = NULL;
    const struct server_peer_stats *peer = bad_peer_of(view, main_check, &seen_by);
    const struct rule_holes holes = { broker_name_of(view, main_check),
                                      check_is_public(main_check) ? "of the public address" : "of the server", length,
                                      peer ? peer->name : "another service" };
    bool of_version = rule->cause == CAUSE_HTTP2_BROKEN || rule->cause == CAUSE_HTTP1_BROKEN;
    another = another_fault(view, main_check, beside, rule->cause == CAUSE_CHECK_FAILING || of_version, of_version);
    out->cause = cause_name(rule->cause);
    if (another && rule->cause == CAUSE_CHECK_FAILING)
        diagnosis_say_plain(out, "No rule explains these faults together: ");
    diagnosis_say_rule(out, rule->plain ? rule->plain : reason_help(fault.reason), &holes);
    tell_addresses(&fault, out);
    tell_broker(view, main_check, &fault, facts, out);
    if ((facts & PUBLIC_WORKS) && !(facts & (FRESH_WORKS | IS_SHARED | HTTP2_ONLY | HTTP1_ONLY | H2_NOT_ALLOWED | H2_NOT_SPOKEN)) &&
        main_check->health.state == STATE_FAIL)
        diagnosis_say_plain(out, "; the public address answers: other instances serve the users");
    tell_another(another, out);
    diagnosis_say_faults(out, main_check, &fault, beside);
    advise_all(view, main_check, facts, rule, out);
    blame_all(view, main_check, fault.reason, out);
    if (beside)
        diagnosis_blame(out, beside);
    if (seen_by && rule->need & (PEER_LOST | PEER_ELSEWHERE | PEER_UNREACHED | PEER_UNREAD))
        diagnosis_blame(out, seen_by);
    if (another)
        diagnosis_blame(out, another);
}

/* A cause that no fault of a check leads to. */
static void tell_own(struct diagnosis *out, enum cause cause)
{
    const struct rule *rule = cause_own_rule(cause);
    panic_if(!rule);
    out->cause = cause_name(cause);
    diagnosis_say_plain(out, rule->plain);
    for (size_t i = 0; i < RULE_ADVICE; i++)
        diagnosis_advise(out, rule->advice[i]);
}

static void tell_draining(const struct agent_view *view, struct diagnosis *out)
{
    const struct drain_view *drain = &view->drain;
    char text[sizeof drain->why + 64] = "";

    tell_own(out, CAUSE_DRAINING);
    if (drain->counted)
        snprintf(text, sizeof text, "; client connections left: %llu", (unsigned long long)drain->remaining);
    else if (*drain->why)
        snprintf(text, sizeof text, "; client connections cannot be counted: %s", drain->why);
    diagnosis_say(out, text);
    if (view->leaving) { /* resume is refused then */
        out->advice_count = 0;
        diagnosis_say(out, "; the agent has been told to end");
        diagnosis_advise(out, "Nothing is to be done: an agent that starts again judges the instance anew");
    }
    for (size_t i = 0; i < view->check_count; i++)
        if (view->checks[i]->health.state == STATE_FAIL)
            diagnosis_blame(out, view->checks[i]);
    if (out->because_count)
        diagnosis_say(out, "; besides, checks fail, which is normal while the server stops");
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
            diagnosis_blame(out, view->checks[i]);
        }
    if (!first)
        return false;
    tell_own(out, first->reason == REASON_AGENT_ERROR ? CAUSE_AGENT_ERROR : CAUSE_AGENT_STALLED);
    diagnosis_say_fault(out, first, &(struct check_fault){ .reason = first->reason, .message = first->message });
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
        diagnosis_say(out, out->because_count ? ", " : "");
        diagnosis_say(out, check->name);
        diagnosis_blame(out, check);
        if (!failed && check_fault_of(check, &fault)) {
            failed = check;
            first = fault;
        }
    }
    if (failed)
        diagnosis_say_fault(out, failed, &first);
}

/* No check is in fault, as rounds on the public path pass again before `fall` is reached. */
static void tell_mixed(const struct check_view *check, struct diagnosis *out)
{
    char tail[160];
    tell_own(out, CAUSE_ONE_INSTANCE_STALE);
    snprintf(tail, sizeof tail, " (%s failed %u of its last %zu rounds)", check->name, check_failed_rounds(check),
             strlen(check->health.history));
    diagnosis_say(out, tail);
    diagnosis_blame(out, check);
}

static void tell_healthy(const struct agent_view *view, struct diagnosis *out)
{
    const struct check_view *shaky = NULL, *failing = NULL;
    bool all_judged = true;
    out->cause = cause_name(CAUSE_HEALTHY);
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (check_failed_rounds(check) > (shaky ? check_failed_rounds(shaky) : 0))
            shaky = check;
        if (check->judged && check->status == RESULT_FAIL)
            failing = failing ? failing : check;
        all_judged = all_judged && check->judged;
    }
    diagnosis_say_plain(out, failing      ? "No check has failed for good"
                             : all_judged ? "All checks pass"
                                          : "All checks that have been judged pass");
    char tail[160] = "";
    if (failing && failing->health.rounds == 1)
        snprintf(tail, sizeof tail, "; the first round of %s failed", failing->name);
    else if (failing)
        snprintf(tail, sizeof tail, "; the last round of %s failed, as %u of its last %zu did", failing->name,
                 check_failed_rounds(failing), strlen(failing->health.history));
    else if (shaky)
        snprintf(tail, sizeof tail, "; %s failed %u of its last %zu rounds", shaky->name, check_failed_rounds(shaky),
                 strlen(shaky->health.history));
    diagnosis_say(out, tail);
}

static void find_cause(const struct agent_view *view, struct diagnosis *out)
{
    const struct check_view *main_check = explained_by_broker(view, main_fault(view));
    const struct check_view *mixed = mixed_public_check(view);
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
    else if (mixed)
        tell_mixed(mixed, out);
    else if (!tell_void(view, out))
        tell_healthy(view, out);
}

void diagnose(const struct agent_view *view, struct diagnosis *out)
{
    memset(out, 0, sizeof *out);
    find_cause(view, out);
    diagnose_fleet(view, out);
}
