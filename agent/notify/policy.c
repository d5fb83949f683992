/*
 * The rules of agent/notify/policy.h. Called by notify.c with each settled change of the verdict, and when something is due. Promises at most
 * max_per_hour messages in any hour (refreshes aside), and room among them for the end of an incident whose begin was told: whatever else is
 * said leaves one place free.
 */
#include "agent/notify/policy.h"

#include <string.h>

#include "agent/conf/conf.h"

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* From harmless to bad. */
static const unsigned ranks[] = { NOTIFY_DRAINING, NOTIFY_WARN, NOTIFY_DEGRADED, NOTIFY_NOT_READY, NOTIFY_NOT_LIVE };
enum { RANKS = sizeof ranks / sizeof ranks[0] };

unsigned policy_worst(unsigned faults)
{
    for (unsigned i = RANKS; i > 0; i--)
        if (faults & ranks[i - 1])
            return ranks[i - 1];
    return 0;
}

static unsigned rank_of(unsigned fault)
{
    for (unsigned i = 0; i < RANKS; i++)
        if (ranks[i] == fault)
            return i + 1;
    return 0;
}

void policy_init(struct policy *policy, const struct policy_rules *rules, int64_t now_ms)
{
    *policy = (struct policy){ .rules = *rules, .unknown = true, .cause = "", .told_cause = "", .now_ms = now_ms };
}

/* --- the state ------------------------------------------------------------------------------------------------------------------- */

static void forget(struct policy *policy)
{
    policy->left_out += policy->wanted;
    policy->limited += policy->wanted;
    policy->open = policy->told = policy->wanted = false;
    policy->changes = policy->flips = 0;
}

static void open_incident(struct policy *policy, int64_t now_ms)
{
    bool relapse = policy->ended && now_ms - policy->ended_ms < POLICY_RELAPSE_MS;

    policy->open = true;
    policy->relapses = relapse ? policy->relapses + 1 : 0;
    policy->begun_ms = now_ms;
    policy->bad_sum_ms = 0;
    policy->changes = policy->flips = 0;
    policy->incident++;
}

/* Well or bad, it has been so since now_ms; until then the time counts for what it was before. */
static void turn(struct policy *policy, unsigned fault, int64_t now_ms)
{
    if (policy->fault)
        policy->bad_sum_ms += now_ms - policy->since_ms;
    if (!policy->fault && fault && policy->open) {
        policy->relapses++;
        policy->flips++;
    } else if (fault && !policy->open) {
        open_incident(policy, now_ms);
        policy->changes = 0;
        policy->since_ms = now_ms;
        return;
    }
    policy->since_ms = now_ms;
    policy->changes++;
}

/* What was unknown begins anew, and no time has passed. */
static void know_again(struct policy *policy, int64_t now_ms)
{
    policy->unknown = false;
    policy->since_ms = policy->fault_since_ms = now_ms;
}

void policy_update(struct policy *policy, const struct policy_state *state, int64_t now_ms)
{
    unsigned fault = policy_worst(state->faults & policy->rules.on);

    policy->now_ms = now_ms;
    if (state->unknown) {
        if (!policy->unknown && policy->fault)
            policy->bad_sum_ms += now_ms - policy->since_ms;
        policy->unknown = true;
        return;
    }
    if (policy->unknown)
        know_again(policy, now_ms);
    if (!fault != !policy->fault)
        turn(policy, fault, now_ms);
    else if (fault && (fault != policy->fault || strcmp(policy->cause, state->cause) != 0))
        policy->changes++;
    if (fault != policy->fault)
        policy->fault_since_ms = now_ms;
    policy->fault = fault;
    if (fault)
        policy->cause = state->cause;
}

/* --- the ceiling ------------------------------------------------------------------------------------------------------------------- */

static void drop_old(struct policy *policy, int64_t now_ms)
{
    unsigned old = 0;

    while (old < policy->time_count && now_ms - policy->times[old] >= POLICY_HOUR_MS)
        old++;
    policy->time_count -= old;
    memmove(policy->times, policy->times + old, policy->time_count * sizeof policy->times[0]);
}

static bool has_room(const struct policy *policy)
{
    return policy->time_count + 1 < policy->rules.max_per_hour;
}

/* When there is room again for what is no end. */
static int64_t room_ms(const struct policy *policy)
{
    if (has_room(policy))
        return policy->now_ms;
    return policy->times[policy->time_count + 1 - policy->rules.max_per_hour] + POLICY_HOUR_MS;
}

static void count(struct policy *policy, int64_t now_ms)
{
    if (policy->time_count < POLICY_PER_HOUR_MAX)
        policy->times[policy->time_count++] = now_ms;
}

/* --- what is due --------------------------------------------------------------------------------------------------------------------- */

static int64_t hold_ms(const struct policy *policy)
{
    int64_t hold = min_of(policy->rules.after_ms, POLICY_HOLD_MS), longer = POLICY_RELAPSE_HOLD_MS;

    if (!policy->relapses)
        return hold;
    for (unsigned i = 1; i < policy->relapses && longer < POLICY_HOLD_MAX_MS; i++)
        longer *= 2;
    return max_of(hold, min_of(longer, POLICY_HOLD_MAX_MS));
}

static bool is_worse(const struct policy *policy)
{
    return rank_of(policy->fault) > rank_of(policy->worst);
}

static bool has_news(const struct policy *policy)
{
    return policy->fault != policy->told_fault || policy->changes > 1 || strcmp(policy->cause, policy->told_cause) != 0;
}

static int64_t change_due(const struct policy *policy)
{
    if (is_worse(policy))
        return policy->fault_since_ms + min_of(policy->rules.after_ms, POLICY_WORSE_MS);
    return has_news(policy) ? policy->said_ms + policy->pause_ms : INT64_MAX;
}

static int64_t repeat_due(const struct policy *policy)
{
    return policy->rules.repeat_ms ? policy->said_ms + policy->rules.repeat_ms : INT64_MAX;
}

static int64_t refresh_due(const struct policy *policy)
{
    return policy->rules.refresh_ms && policy->told ? policy->sent_ms + policy->rules.refresh_ms : INT64_MAX;
}

static int64_t begin_due(const struct policy *policy)
{
    return policy->since_ms + max_of(policy->rules.after_ms - policy->bad_sum_ms, 0);
}

static int64_t end_due(const struct policy *policy)
{
    return policy->since_ms + (policy->told ? hold_ms(policy) : max_of(policy->rules.after_ms, POLICY_PAUSE_MS));
}

int64_t policy_due(const struct policy *policy)
{
    if (policy->unknown || !policy->open)
        return INT64_MAX;
    if (!policy->fault)
        return min_of(end_due(policy), refresh_due(policy));
    if (!policy->told)
        return policy->wanted ? max_of(room_ms(policy), begin_due(policy))
                              : begin_due(policy); /* a reload may have changed `after` */
    return min_of(change_due(policy), min_of(repeat_due(policy), refresh_due(policy)));
}

/* --- telling ------------------------------------------------------------------------------------------------------------------------- */

static bool tell(struct policy *policy, enum notice_kind kind, struct policy_say *say)
{
    *say = (struct policy_say){ .kind = kind,
                                .incident = policy->incident,
                                .was = kind == NOTICE_BEGIN ? 0 : policy->told_fault,
                                .is = policy->fault,
                                .cause = policy->cause,
                                .begun_ms = policy->begun_ms,
                                .at_ms = policy->now_ms,
                                .changes = kind == NOTICE_END && !policy->flips ? 0 : policy->changes,
                                .left_out = policy->left_out };
    policy->told_fault = policy->fault;
    policy->told_cause = policy->cause;
    policy->changes = policy->flips = policy->left_out = 0;
    policy->said_ms = policy->sent_ms = policy->now_ms;
    if (rank_of(policy->fault) > rank_of(policy->worst))
        policy->worst = policy->fault;
    count(policy, policy->now_ms);
    return true;
}

static bool tell_begin(struct policy *policy, struct policy_say *say)
{
    if (policy->now_ms < begin_due(policy))
        return false;
    policy->wanted = !has_room(policy);
    if (policy->wanted)
        return false;
    policy->told = true;
    policy->worst = 0;
    policy->pause_ms = POLICY_CHANGE_MS;
    return tell(policy, NOTICE_BEGIN, say);
}

static bool tell_end(struct policy *policy, struct policy_say *say)
{
    bool told = policy->told, wanted = policy->rules.on & NOTIFY_READY;

    if (policy->now_ms < end_due(policy))
        return false;
    if (told) {
        policy->ended = true;
        policy->ended_ms = policy->now_ms;
    }
    if (told && wanted)
        tell(policy, NOTICE_END, say);
    forget(policy);
    return told && wanted;
}

static bool tell_refresh(struct policy *policy, struct policy_say *say)
{
    if (policy->now_ms < refresh_due(policy))
        return false;
    *say = (struct policy_say){ .kind = NOTICE_REPEAT,
                                .incident = policy->incident,
                                .was = policy->told_fault,
                                .is = policy->told_fault,
                                .cause = policy->told_cause,
                                .begun_ms = policy->begun_ms,
                                .at_ms = policy->now_ms,
                                .refresh = true };
    policy->sent_ms = policy->now_ms;
    return true;
}

/* A change or a repetition for which there is no room is left out, and its turn comes again later. */
static bool tell_more(struct policy *policy, struct policy_say *say)
{
    bool change = policy->now_ms >= change_due(policy);

    if (!change && policy->now_ms < repeat_due(policy))
        return tell_refresh(policy, say);
    if (!has_room(policy)) {
        policy->left_out++;
        policy->limited++;
        policy->said_ms = policy->now_ms;
        policy->pause_ms = POLICY_CHANGE_MAX_MS;
        policy->worst = is_worse(policy) ? policy->fault : policy->worst;
        return tell_refresh(policy, say);
    }
    if (change && !is_worse(policy))
        policy->pause_ms = min_of(policy->pause_ms * 2, POLICY_CHANGE_MAX_MS);
    return tell(policy, change ? NOTICE_CHANGE : NOTICE_REPEAT, say);
}

bool policy_next(struct policy *policy, int64_t now_ms, struct policy_say *say)
{
    policy->now_ms = now_ms;
    drop_old(policy, now_ms);
    if (policy->unknown || !policy->open)
        return false;
    if (!policy->fault)
        return tell_end(policy, say) || (policy->open && policy->told && tell_refresh(policy, say));
    return policy->told ? tell_more(policy, say) : tell_begin(policy, say);
}

void policy_lost(struct policy *policy, unsigned messages)
{
    policy->left_out += messages;
}

void policy_untell(struct policy *policy)
{
    if (policy->fault)
        policy->told = false;
}
