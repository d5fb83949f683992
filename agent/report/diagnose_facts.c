/*
 * Owns what the rules of the diagnosis ask for: what holds of the main fault, and around it. Called by diagnose.c. Pure. Checks are compared
 * by what their types declare (agent/conf/probe_type.h) and by the reasons of their faults: no type is known here by its name.
 */
#include <string.h>

#include "agent/base/clock.h"
#include "agent/report/diagnose_impl.h"

/* A pass that is older than a fault by more than this says nothing against it. Rounds of one time start together. */
enum { EVIDENCE_SLACK_MS = 500 };
/* So many of the newest rounds say whether a check fails now and then; so often must it have come back, and failed. */
enum { MIXED_ROUNDS = 12, MIXED_TURNS = 2 };
/* One cut is chance. */
enum { CUTS_MIN = 2 };
/* A deploy or a restart is over by then. */
enum { GOODBYE_MS = 120000 };

bool check_speaks_websocket(const struct check_view *check)
{
    return check->kind == PROBE_FRESH || check->kind == PROBE_SESSION;
}

unsigned check_failed_rounds(const struct check_view *check)
{
    unsigned failed = 0;
    for (const char *mark = check->health.history; *mark; mark++)
        failed += *mark == '.';
    return failed;
}

const struct check_view *broker_check_of(const struct agent_view *view, const struct check_view *check)
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

static bool good(const struct check_view *check)
{
    bool state_good = check->health.state == STATE_PASS || check->health.state == STATE_WARN;
    return state_good && check->judged && check->status != RESULT_FAIL;
}

static int64_t began_ms(const struct check_view *main_check)
{
    return main_check->since_ms - (int64_t)(main_check->total_ns / NS_PER_MS) - EVIDENCE_SLACK_MS;
}

/* A pass is evidence against the main fault only if it came after that began: of a server that has just died, every other
 * check's last round was still a pass. */
static bool works(const struct check_view *check, const struct check_view *main_check)
{
    return check != main_check && good(check) && check->last_ms >= began_ms(main_check);
}

/* Has one of its open connections answered since the main fault began? One that sends nothing cannot know. */
static bool lives(const struct check_view *check, const struct check_view *main_check)
{
    struct check_fault fault;
    if (check->kind != PROBE_SESSION || check->last_ms < began_ms(main_check))
        return false;
    if (check->stats.delivery)
        return works(check, main_check);
    if (!check->stats.held || !check->have_rtt)
        return false;
    return works(check, main_check) ||
           (check_fault_of(check, &fault) && reason_phase(fault.reason) < PHASE_OPEN && reason_phase(fault.reason) != PHASE_NONE);
}

/* Passes and failures alternate: an outage that is over has failed once, and one that lasts has not come back. */
static bool is_mixed(const struct check_view *check)
{
    const char *history = check->health.history;
    size_t len = strlen(history), from = len > MIXED_ROUNDS ? len - MIXED_ROUNDS : 0;
    unsigned falls = 0, returns = 0;
    for (size_t i = from + 1; i < len; i++) {
        bool failed = history[i] == '.', before = history[i - 1] == '.';
        falls += failed && !before;
        returns += !failed && before;
    }
    return falls >= MIXED_TURNS && returns >= MIXED_TURNS;
}

static bool said_goodbye(const struct check_view *check, const struct check_view *main_check)
{
    struct check_fault fault;
    int code = check->close_code, lost = check->stats.lost_code;
    bool now = check_fault_of(check, &fault) && fault.reason == REASON_CLOSED_BY_SERVER && (code == 1001 || code == 1012);
    bool before = (lost == 1001 || lost == 1012) && main_check->last_ms - check->stats.lost_ms < GOODBYE_MS;
    return check->kind == PROBE_SESSION && (now || before);
}

/* The control leg of the same heartbeat, or the broker's own check. */
static bool broker_late(const struct agent_view *view, const struct check_view *main_check)
{
    const struct delivery_stats *delivery = main_check->stats.delivery;
    const struct check_view *broker = delivery ? broker_check_of(view, main_check) : NULL;
    struct check_fault fault;
    if (!delivery)
        return false;
    if (broker && check_fault_of(broker, &fault) && fault.reason == REASON_SLOW)
        return true;
    return delivery->last_ns[LEG_CONTROL] && delivery->last_ns[LEG_CONTROL] >= delivery->last_ns[LEG_WEBSOCKET] / 2;
}

/* Another check whose connections speak has not lost one for longer than the silent ones live. */
static bool outlives(const struct check_view *check, const struct check_view *main_check)
{
    const struct hold_figures *cut = &main_check->stats.lives;
    if (!check->stats.holds || check->stats.lives.idle || check->stats.lives.cut || !works(check, main_check))
        return false;
    return check->last_ms - check->since_ms > (int64_t)(cut->longest_ns / NS_PER_MS);
}

/* Of a check that holds silent connections: what cuts them? */
static unsigned facts_of_silence(const struct agent_view *view, const struct check_view *main_check)
{
    const struct hold_figures *lives = &main_check->stats.lives;
    if (!lives->idle || lives->cut < CUTS_MIN)
        return 0;
    if (lives->control != HOLD_CONTROL_UNKNOWN)
        return lives->control == HOLD_CONTROL_LIVES ? IDLE_CUT : AGE_CUT;
    for (size_t i = 0; i < view->check_count; i++)
        if (check_is_public(view->checks[i]) == check_is_public(main_check) && outlives(view->checks[i], main_check))
            return IDLE_CUT;
    return 0;
}

static unsigned facts_of_main(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault)
{
    unsigned facts = 0;
    facts |= check_speaks_websocket(main_check) || main_check->kind == PROBE_TRIAL ? ON_WEBSOCKET : 0;
    facts |= main_check->kind == PROBE_SESSION ? ON_SESSION : 0;
    facts |= main_check->kind == PROBE_TRIAL ? ON_TRIAL : 0;
    facts |= main_check->proves & PROVES_PONG ? ON_PING : 0;
    facts |= main_check->proves & PROVES_HTTP ? ON_HTTP : 0;
    facts |= main_check->proves & PROVES_PORT ? ON_TCP : 0;
    facts |= check_is_broker(main_check) ? ON_BROKER : 0;
    facts |= fault->scope == SCOPE_SHARED ? IS_SHARED : 0;
    facts |= main_check->health.state == STATE_WARN ? IS_WARNING : 0;
    facts |= main_check->stats.delivery && delivery_never_arrived(main_check->stats.delivery) ? NEVER_ARRIVED : 0;
    facts |= check_is_public(main_check) && is_mixed(main_check) ? PUBLIC_MIXED : 0;
    facts |= main_check->health.own_doing ? TOKEN_OVER : 0;
    facts |= facts_of_silence(view, main_check);
    facts |= broker_late(view, main_check) ? BROKER_LATE : 0;
    facts |= view->late_ms && view->late_ms * 2 >= main_check->total_ns / NS_PER_MS ? AGENT_LATE : 0;
    return facts;
}

static unsigned facts_of_path(const struct check_view *check, const struct check_view *main_check)
{
    unsigned facts = lives(check, main_check) ? HELD_LIVES : 0;
    if (!works(check, main_check))
        return facts;
    facts |= check->kind == PROBE_FRESH ? FRESH_WORKS : 0;
    facts |= check->proves & PROVES_PONG ? PING_WORKS : 0;
    facts |= check->proves & PROVES_ANSWER ? ECHO_WORKS : 0;
    facts |= check->proves & PROVES_SUBSCRIPTION ? SUBSCRIBE_WORKS : 0;
    facts |= check->proves & PROVES_HTTP ? HTTP_WORKS : 0;
    return facts;
}

unsigned facts_of(const struct agent_view *view, const struct check_view *main_check, const struct check_fault *fault)
{
    unsigned facts = facts_of_main(view, main_check, fault);
    bool local_works = false, local_fails = false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (check_is_public(check) == check_is_public(main_check)) {
            facts |= facts_of_path(check, main_check);
            facts |= said_goodbye(check, main_check) ? SAID_GOODBYE : 0;
        } else {
            local_works = local_works || (check->kind == PROBE_FRESH && works(check, main_check));
            local_fails = local_fails || (check_speaks_websocket(check) && check->health.state == STATE_FAIL);
            if (check_is_public(check) && check->kind == PROBE_FRESH && works(check, main_check))
                facts |= PUBLIC_WORKS;
            if (!check_is_public(check) && strcmp(check->type, main_check->type) == 0 && works(check, main_check))
                facts |= LOCAL_SAME_WORKS;
        }
    }
    return check_is_public(main_check) && local_works && !local_fails ? facts | LOCAL_WORKS : facts;
}

const struct check_view *check_beside(const struct agent_view *view, const struct check_view *main_check,
                                      const enum reason *reasons)
{
    struct check_fault fault;
    for (size_t i = 0; i < view->check_count; i++)
        for (size_t j = 0; j < RULE_BESIDE && reasons[j] != REASON_NONE; j++)
            if (view->checks[i] != main_check && check_fault_of(view->checks[i], &fault) && fault.reason == reasons[j])
                return view->checks[i];
    return NULL;
}

const struct check_view *mixed_public_check(const struct agent_view *view)
{
    const struct check_view *mixed = NULL;
    bool local_works = false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        if (!check_speaks_websocket(check))
            continue;
        if (!check_is_public(check) && (!good(check) || check_failed_rounds(check)))
            return NULL;
        local_works = local_works || (!check_is_public(check) && check->kind == PROBE_FRESH);
        if (!mixed && check_is_public(check) && is_mixed(check))
            mixed = check;
    }
    return local_works ? mixed : NULL;
}
