/*
 * Owns the policy: rise and fall, and what the states of all checks mean for /ready, /live and /startup. Called by the engine after each
 * round and by whoever composes the view. Promises to be pure: no clock, no sockets, no allocation, no log. Leaves to others what a
 * round's result is (the probes), whether it is void (the engine's stall guard) and who hears of a change (the agent).
 *
 * Flapping. A window ("3/5") starts empty each time a check comes back to pass or warn: the failures that ended the last good time have had
 * their effect and do not count twice, so a single failure right after a recovery never throws the check out again. A check that goes on
 * flapping still fails, as soon as the window has filled with failures anew: with 3/5, by the fifth round at the latest when every other
 * round fails. A higher `rise` keeps an unsteady server out for longer.
 */
#include "agent/core/health.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/conf/conf.h"

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

static void judge_failed(struct health *health, const struct health_policy *policy)
{
    health->failed_bits = health->failed_bits << 1 | 1;
    health->good_streak = 0;
    if (failures_in_window(health, policy->fall_of) >= policy->fall_count)
        health->state = STATE_FAIL;
}

bool health_round(struct health *health, const struct health_policy *policy, enum result result)
{
    panic_if((unsigned)result >= RESULT_COUNT);
    if (result == RESULT_VOID)
        return false;
    enum state before = health->state;
    remember(health, result);
    if (result == RESULT_FAIL)
        judge_failed(health, policy);
    else
        judge_good(health, policy, result);
    return health->state != before;
}

/*
 * A shared fault turns into a local one only after `fall` local failures. When a broker comes back, the servers may subscribe a moment
 * later than their agents, on all instances at once; that moment must not take all of them out.
 */
bool health_still_shared(struct health *health, const struct health_policy *policy, enum result result, enum scope scope,
                         enum scope fault_scope)
{
    bool was_failing = health->state == STATE_FAIL || health->failed_bits & 1;

    if (result == RESULT_VOID)
        return false;
    if (result != RESULT_FAIL || scope != SCOPE_LOCAL) {
        health->local_streak = 0;
        return false;
    }
    health->local_streak++;
    return was_failing && fault_scope == SCOPE_SHARED && health->local_streak < policy->fall_count;
}

bool health_contradicted(const struct health *health)
{
    bool failed = health->failed_bits & 1;

    if (health->state == STATE_UNKNOWN)
        return health->rounds > 0;
    return failed != (health->state == STATE_FAIL);
}

/*
 * A restart helps a server that does not listen, does not accept connections, or says nothing. It does not help with a token, a certificate
 * or a route, and a server that answers anything is running. A reset proves neither of the two: it is not counted.
 */
static bool is_mute(const struct health_evidence *evidence)
{
    if (evidence->result != RESULT_FAIL)
        return false;
    switch (evidence->reason) {
    case REASON_CONNECT_REFUSED:
    case REASON_CONNECT_TIMEOUT:
        return !evidence->answered;
    case REASON_TLS_HANDSHAKE_FAILED:
    case REASON_UPGRADE_TIMEOUT:
        return evidence->no_answer;
    case REASON_SILENT_DROP:
        return !evidence->spoke;
    default:
        return false;
    }
}

static void note_mute(struct health *health, bool behind, uint64_t now_ms)
{
    if (!health->mute_since_ms)
        health->mute_since_ms = now_ms;
    health->last_mute_ms = now_ms;
    health->mute_behind = behind;
}

void health_note(struct health *health, const struct health_evidence *evidence, uint64_t now_ms)
{
    bool failed = evidence->result == RESULT_FAIL;

    panic_if(now_ms == 0);
    health->own_doing = evidence->own_doing;
    if (evidence->result == RESULT_VOID)
        return;
    health->shared_once = health->shared_once || (failed && evidence->scope == SCOPE_SHARED);
    health->probe_once = health->probe_once || (failed && evidence->scope == SCOPE_PROBE);
    if (evidence->answered)
        health->answered_ms = now_ms;
    if (evidence->spoke)
        health->spoke_ms = now_ms;
    if (is_mute(evidence))
        note_mute(health, evidence->reason == REASON_SILENT_DROP, now_ms);
    else
        health->mute_since_ms = 0;
}

/* last_mute_ms stays as it is: older than mute_since_ms, it is no evidence until another round is mute. */
void health_resume(struct health *health, uint64_t now_ms)
{
    panic_if(now_ms == 0);
    if (health->mute_since_ms)
        health->mute_since_ms = now_ms;
}

/* When any check last saw that the server's process is alive. Where a proxy may have answered the upgrade, only what came after the
 * upgrade counts. */
static uint64_t last_sign_ms(const struct health_input *inputs, size_t count, bool behind)
{
    uint64_t last_ms = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t sign_ms = behind ? inputs[i].health->spoke_ms : inputs[i].health->answered_ms;

        if (inputs[i].witness && sign_ms > last_ms)
            last_ms = sign_ms;
    }
    return last_ms;
}

/* Evidence, not elapsed time: two mute rounds, that far apart, with nothing between them that was not, and no sign of life seen by
 * another check. Without two failed rounds there is no evidence, and /live must not get the server restarted. Silence of the public path is
 * no evidence either: a restart of this server does not mend what is in front of it. */
static bool dead(const struct health_input *inputs, size_t count, const struct health_input *input, uint64_t after_ms)
{
    const struct health *health = input->health;
    uint64_t since_ms = health->mute_since_ms, sign_ms;

    if (!(input->gates & GATE_LIVE) || input->front || health->state != STATE_FAIL || !since_ms)
        return false;
    sign_ms = last_sign_ms(inputs, count, health->mute_behind);
    if (sign_ms > since_ms)
        since_ms = sign_ms;
    return health->last_mute_ms >= since_ms && health->last_mute_ms - since_ms >= after_ms;
}

bool health_unstarted(const struct health *health)
{
    return !health->passed_once && !health->shared_once && !health->probe_once && !health->own_doing;
}

/*
 * Has the check passed once, or does it fail only for reasons that must not stop a roll-out? A refusal on the public path does not stop
 * it: it may have come from any instance, or from what is in front of them, and then each instance that restarts would stay out.
 */
static bool is_admitted(const struct health_input *input)
{
    const struct health *health = input->health;

    return health->passed_once || health->shared_once || health->own_doing || (input->front && health->probe_once);
}

/* What a ready-gated check does to /ready. */
enum effect { EFFECT_NONE, EFFECT_DEGRADES, EFFECT_KEEPS_OUT };

static enum effect effect_of(const struct health_input *input, const struct verdict_policy *policy, bool admitted)
{
    const struct health *health = input->health;
    bool first_failures = health->state == STATE_UNKNOWN && (health->failed_bits & 1);

    if (health->state == STATE_WARN)
        return EFFECT_DEGRADES;
    if (health->state == STATE_UNKNOWN && health->own_doing)
        return policy->probe_faults_fail ? EFFECT_KEEPS_OUT : EFFECT_DEGRADES;
    if (health->state != STATE_FAIL && !first_failures)
        return EFFECT_NONE;
    switch (input->scope) {
    case SCOPE_SHARED:
        return policy->shared_faults_fail ? EFFECT_KEEPS_OUT : EFFECT_DEGRADES;
    case SCOPE_PROBE:
        /* An instance that has been in rotation stays there also when a reload brings a check that is refused from the start. What is
         * refused on the public path was perhaps refused by another instance. */
        if (policy->probe_faults_fail || !(health->passed_once || health->own_doing || input->front || admitted))
            return EFFECT_KEEPS_OUT;
        return EFFECT_DEGRADES;
    default:
        if (first_failures)
            return EFFECT_NONE; /* /startup waits for it, or it has just come by a reload */
        return policy->local_faults_degrade ? EFFECT_DEGRADES : EFFECT_KEEPS_OUT;
    }
}

struct verdict verdict_of(const struct health_input *inputs, size_t count, const struct verdict_policy *policy, bool draining,
                          const struct verdict *before)
{
    bool started = true, admitted = true, blocked = false, blemished = false, reported = false, failed = false, live = true;
    for (size_t i = 0; i < count; i++) {
        const struct health_input *input = &inputs[i];
        enum state state = input->health->state;
        live = live && !dead(inputs, count, input, policy->liveness_after_ms);
        if (!(input->gates & GATE_READY)) {
            reported = reported || state == STATE_WARN || state == STATE_FAIL;
            failed = failed || (policy->rounds && state == STATE_FAIL);
            continue;
        }
        started = started && !health_unstarted(input->health);
        admitted = admitted && is_admitted(input);
        enum effect effect = effect_of(input, policy, before->admitted);
        blocked = blocked || effect == EFFECT_KEEPS_OUT;
        blemished = blemished || effect == EFFECT_DEGRADES;
    }
    struct verdict verdict = { .live = live, .draining = draining };
    verdict.started = before->started || started;
    verdict.admitted = before->admitted || admitted;
    verdict.ready = verdict.admitted && !draining && !blocked;
    verdict.degraded = verdict.ready && blemished;
    verdict.status = !verdict.ready || failed ? RESULT_FAIL : verdict.degraded || reported ? RESULT_WARN : RESULT_PASS;
    return verdict;
}
