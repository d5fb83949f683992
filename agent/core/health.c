/*
 * Owns the policy: rise and fall, and what the states of all checks mean for /ready, /live and /startup. Called by the engine after each
 * round and by whoever composes the view. Promises to be pure: no clock, no sockets, no allocation, no log. Leaves to others what a
 * round's result is (the probes), whether it is void (the engine's stall guard) and who hears of a change (the agent).
 *
 * Flapping. A window ("3/5") starts empty each time a check comes back to pass or warn: the failures that ended the last good time have
 * had their effect and do not count twice, so a single failure right after a recovery never throws the check out again. A check that
 * goes on flapping still fails, as soon as the window has filled with failures anew: with 3/5, by the fifth round at the latest when
 * every other round fails. Whoever wants an unsteady server kept out for longer asks for a higher `rise`.
 */
#include "agent/core/health.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/conf.h"

const char *state_name(enum state state)
{
    static const char *const names[STATE_COUNT] = { "unknown", "pass", "warn", "fail" };
    panic_if((unsigned)state >= STATE_COUNT);
    return names[state];
}

static void remember(struct health *health, enum result result)
{
    static const char marks[] = { [RESULT_PASS] = '#', [RESULT_WARN] = '~', [RESULT_FAIL] = '.' };
    size_t len = strlen(health->history);
    if (len == HEALTH_HISTORY)
        memmove(health->history, health->history + 1, --len);
    health->history[len] = marks[result];
    health->history[len + 1] = '\0';
    if (health->rounds != UINT32_MAX)
        health->rounds++;
}

static unsigned failures_in_window(const struct health *health, uint32_t of)
{
    uint64_t window = of >= HEALTH_WINDOW_MAX ? UINT64_MAX : (UINT64_C(1) << of) - 1;
    return (unsigned)__builtin_popcountll(health->failed_bits & window);
}

static void judge_good(struct health *health, const struct health_policy *policy, enum result result)
{
    health->failed_bits <<= 1;
    health->failing_since_ms = 0;
    if (health->good_streak != UINT32_MAX)
        health->good_streak++;
    bool was_good = health->state == STATE_PASS || health->state == STATE_WARN;
    if (!was_good && health->good_streak < policy->rise)
        return;
    if (!was_good)
        health->failed_bits = 0;
    health->state = result == RESULT_WARN ? STATE_WARN : STATE_PASS;
    health->passed_once = true;
}

static void judge_failed(struct health *health, const struct health_policy *policy, uint64_t now_ms)
{
    health->failed_bits = health->failed_bits << 1 | 1;
    health->good_streak = 0;
    if (!health->failing_since_ms)
        health->failing_since_ms = now_ms;
    health->last_failed_ms = now_ms;
    if (failures_in_window(health, policy->fall_of) >= policy->fall_count)
        health->state = STATE_FAIL;
}

bool health_round(struct health *health, const struct health_policy *policy, enum result result, uint64_t now_ms)
{
    panic_if((unsigned)result >= RESULT_COUNT || now_ms == 0);
    if (result == RESULT_VOID)
        return false;
    enum state before = health->state;
    remember(health, result);
    if (result == RESULT_FAIL)
        judge_failed(health, policy, now_ms);
    else
        judge_good(health, policy, result);
    return health->state != before;
}

/*
 * A shared fault turns into a local one only after `fall` rounds of that. When a broker comes back, servers may be a moment later than their
 * agents to subscribe again, on all instances at once: that must not take them all out. And what the broker did is no evidence against
 * the server: for liveness, its failing begins with the turn.
 */
bool health_still_shared(struct health *health, const struct health_policy *policy, enum result result, enum scope scope,
                         enum scope fault_scope, uint64_t now_ms)
{
    bool was_failing = health->state == STATE_FAIL || health->failed_bits & 1;

    if (result == RESULT_VOID)
        return false;
    if (result != RESULT_FAIL || scope != SCOPE_LOCAL) {
        health->local_streak = 0;
        return false;
    }
    health->local_streak++;
    if (!was_failing || fault_scope != SCOPE_SHARED)
        return false;
    if (health->local_streak < policy->fall_count)
        return true;
    health_resume(health, now_ms);
    return false;
}

/* last_failed_ms stays: it is now older than failing_since_ms, and so no evidence until a further round fails. */
void health_resume(struct health *health, uint64_t now_ms)
{
    panic_if(now_ms == 0);
    if (health->failing_since_ms)
        health->failing_since_ms = now_ms;
}

/* Evidence, not elapsed time: two failed rounds, that far apart, with none between them that was good. An agent that has not been able
 * to look is unsure, and who is unsure does not have a server killed. */
static bool dead(const struct health_input *input, uint64_t after_ms)
{
    const struct health *health = input->health;
    return (input->gates & GATE_LIVE) && health->state == STATE_FAIL && input->scope == SCOPE_LOCAL && health->failing_since_ms &&
           health->last_failed_ms >= health->failing_since_ms && health->last_failed_ms - health->failing_since_ms >= after_ms;
}

struct verdict verdict_of(const struct health_input *inputs, size_t count, const struct verdict_policy *policy, bool draining,
                          bool started)
{
    bool all_passed_once = true, blocked = false, blemished = false, reported = false, live = true;
    for (size_t i = 0; i < count; i++) {
        const struct health_input *input = &inputs[i];
        enum state state = input->health->state;
        bool excused = input->scope == SCOPE_SHARED && !policy->shared_faults_fail;
        live = live && !dead(input, policy->liveness_after_ms);
        if (!(input->gates & GATE_READY)) {
            reported = reported || state == STATE_WARN || state == STATE_FAIL;
            continue;
        }
        all_passed_once = all_passed_once && input->health->passed_once;
        blocked = blocked || (state == STATE_FAIL && !excused);
        blemished = blemished || state == STATE_WARN || (state == STATE_FAIL && excused);
    }
    struct verdict verdict = { .live = live, .started = started || all_passed_once, .draining = draining };
    verdict.ready = verdict.started && !draining && !blocked;
    verdict.degraded = verdict.ready && blemished;
    verdict.status = !verdict.ready ? RESULT_FAIL : verdict.degraded || reported ? RESULT_WARN : RESULT_PASS;
    return verdict;
}
