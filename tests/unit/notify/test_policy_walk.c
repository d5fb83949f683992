/*
 * Random walks through agent/notify/policy.h: whatever the verdict does, the conversation is honest. Each walk has rules, states, times and reloads of
 * its own, from a seed that a failure prints. The oracle below knows the manual's promises, and not how they are kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/conf/conf.h"
#include "agent/notify/policy.h"

#define S(n) ((n) * INT64_C(1000))
#define M(n) S((n) * 60)
#define H(n) M((n) * 60)
enum { WALKS = 1000, /* POLICY_WALKS in the environment asks for more */ STEPS = 40, TIMES_MAX = 4096, SPIN_MAX = 4, LATE_MS = 50 };

struct walk {
    uint64_t seed, random;
    struct policy policy;
    struct policy_rules rules;
    struct policy_state state;
    int64_t now_ms;
    int64_t bad_since_ms;  /* a fault that `on` names, without a break; -1: none */
    int64_t well_since_ms; /* -1: not well, or unknown */
    bool told;             /* begun, and not ended */
    unsigned told_fault;   /* and the state that was told last */
    const char *told_cause;
    unsigned incident;
    int64_t times[TIMES_MAX]; /* of messages; refreshes aside */
    unsigned count, ceiling;  /* the highest max_per_hour in the last hour: a reload may lower it */
    bool reloads;
};

static uint64_t random_of(struct walk *walk, uint64_t below)
{
    walk->random ^= walk->random << 13;
    walk->random ^= walk->random >> 7;
    walk->random ^= walk->random << 17;
    return walk->random % below;
}

#define HOLDS(walk, fact)                                                                                          \
    do {                                                                                                           \
        if (!(fact))                                                                                               \
            fail_msg("walk %llu at %lld ms: " #fact, (unsigned long long)(walk)->seed, (long long)(walk)->now_ms); \
    } while (0)

/* --- the oracle ---------------------------------------------------------------------------------------------------------------------- */

static void check_order(struct walk *walk, const struct policy_say *say)
{
    walk->told_fault = say->is;
    walk->told_cause = say->cause;
    if (say->kind == NOTICE_BEGIN) {
        HOLDS(walk, !walk->told || !(walk->rules.on & NOTIFY_READY) || walk->reloads);
        HOLDS(walk, say->incident > walk->incident);
        HOLDS(walk, say->is && !say->was);
        walk->told = true;
        walk->incident = say->incident;
        return;
    }
    HOLDS(walk, walk->told && say->incident == walk->incident);
    HOLDS(walk, say->kind == NOTICE_END ? !say->is : say->is != 0);
    HOLDS(walk, say->begun_ms <= say->at_ms && say->at_ms <= walk->now_ms);
    if (say->kind == NOTICE_END)
        walk->told = false;
}

static void check_ceiling(struct walk *walk)
{
    unsigned in_hour = 0;

    HOLDS(walk, walk->count < TIMES_MAX);
    walk->times[walk->count++] = walk->now_ms;
    for (unsigned i = walk->count; i > 0 && walk->now_ms - walk->times[i - 1] < H(1); i--)
        in_hour++;
    HOLDS(walk, in_hour <= walk->ceiling);
}

/* A fault that lasts is told after `after`, or as soon as the ceiling lets it: within an hour. The end within the longest hold. */
static void check_told(struct walk *walk)
{
    unsigned in_hour = 0;

    for (unsigned i = walk->count; i > 0 && walk->now_ms - walk->times[i - 1] < H(1); i--)
        in_hour++;
    bool room = in_hour + 1 < walk->rules.max_per_hour;
    if (walk->bad_since_ms >= 0 && room && !walk->told)
        HOLDS(walk, walk->now_ms - walk->bad_since_ms <= walk->rules.after_ms + LATE_MS);
    if (walk->well_since_ms >= 0 && walk->told && walk->rules.on & NOTIFY_READY)
        HOLDS(walk, walk->now_ms - walk->well_since_ms <= POLICY_HOLD_MAX_MS + LATE_MS);
}

/* --- the walk ------------------------------------------------------------------------------------------------------------------------- */

static bool hear(struct walk *walk)
{
    struct policy_say say;
    unsigned heard = 0;

    while (policy_next(&walk->policy, walk->now_ms, &say)) {
        HOLDS(walk, ++heard <= SPIN_MAX);
        check_order(walk, &say);
        if (!say.refresh)
            check_ceiling(walk);
    }
    return heard > 0;
}

/* What is due is told then, or a moment late. */
static void pass(struct walk *walk, int64_t until_ms)
{
    for (int64_t due; (due = policy_due(&walk->policy)) <= until_ms;) {
        walk->now_ms = due > walk->now_ms ? due : walk->now_ms;
        walk->now_ms += random_of(walk, 8) ? 0 : (int64_t)random_of(walk, LATE_MS);
        bool heard = hear(walk);
        HOLDS(walk, heard || policy_due(&walk->policy) > walk->now_ms);
        check_told(walk);
    }
    if (walk->now_ms < until_ms)
        walk->now_ms = until_ms;
    check_told(walk);
}

static void become(struct walk *walk, const struct policy_state *state)
{
    bool bad = !state->unknown && (state->faults & walk->rules.on);

    walk->state = *state;
    walk->bad_since_ms = !bad ? -1 : walk->bad_since_ms < 0 ? walk->now_ms : walk->bad_since_ms;
    walk->well_since_ms = bad || state->unknown ? -1 : walk->well_since_ms < 0 ? walk->now_ms : walk->well_since_ms;
    policy_update(&walk->policy, state, walk->now_ms);
    hear(walk);
}

static void make_rules(struct walk *walk)
{
    static const int64_t afters[] = { 0, S(1), S(15), S(40), M(2), M(10), H(2) }, repeats[] = { 0, S(1), M(5), H(4) };
    static const unsigned ceilings[] = { 2, 3, 4, 12, 120 };
    static const unsigned faults[] = { NOTIFY_NOT_READY, NOTIFY_DEGRADED, NOTIFY_NOT_LIVE, NOTIFY_WARN, NOTIFY_DRAINING };

    walk->rules = (struct policy_rules){ .on = random_of(walk, 6) ? NOTIFY_READY : 0,
                                         .after_ms = afters[random_of(walk, 7)],
                                         .repeat_ms = repeats[random_of(walk, 4)],
                                         .refresh_ms = random_of(walk, 3) ? 0 : M(1),
                                         .max_per_hour = ceilings[random_of(walk, 5)] };
    walk->rules.on |= faults[random_of(walk, 5)];
    for (int i = 0; i < 5; i++)
        walk->rules.on |= random_of(walk, 2) ? faults[i] : 0;
    walk->ceiling = walk->rules.max_per_hour > walk->ceiling ? walk->rules.max_per_hour : walk->ceiling;
}

static void reload(struct walk *walk)
{
    if (!(walk->rules.on & NOTIFY_READY)) /* its end is not told: there is none to wait for */
        walk->told = walk->policy.told;
    make_rules(walk);
    walk->policy.rules = walk->rules;
    if (walk->policy.fault && !random_of(walk, 3)) { /* nobody had heard of it */
        policy_untell(&walk->policy);
        walk->told = false;
        walk->incident = 0;
    }
    walk->bad_since_ms = walk->well_since_ms = -1;
    become(walk,
           &(struct policy_state){ .faults = walk->state.faults, .unknown = walk->state.unknown, .cause = walk->state.cause });
}

static void step(struct walk *walk)
{
    static const int64_t scales[] = { 10, S(1), S(20), M(2), M(20), H(5) };
    static const char *const causes[] = { "healthy", "refused", "slow", "bus_down" };
    unsigned faults = 0;

    if (random_of(walk, 2))
        for (int i = 0; i < 6; i++)
            faults |= random_of(walk, 3) ? 0 : 1U << i;
    faults &= ~(unsigned)NOTIFY_READY;
    if (walk->reloads && !random_of(walk, 10))
        reload(walk);
    become(walk, &(struct policy_state){ .faults = faults, .unknown = !random_of(walk, 8), .cause = causes[random_of(walk, 4)] });
    if (!random_of(walk, 50))
        policy_lost(&walk->policy, 1);
    pass(walk, walk->now_ms + (int64_t)random_of(walk, (uint64_t)scales[random_of(walk, 6)] + 1));
}

static void take(struct walk *walk, uint64_t seed, bool reloads)
{
    memset(walk, 0, sizeof *walk);
    walk->seed = seed;
    walk->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    walk->bad_since_ms = walk->well_since_ms = -1;
    walk->now_ms = (int64_t)random_of(walk, 1000);
    make_rules(walk);
    walk->reloads = reloads;
    policy_init(&walk->policy, &walk->rules, walk->now_ms);
    for (int i = 0; i < STEPS; i++)
        step(walk);
    become(walk, &(struct policy_state){ .faults = walk->rules.on & ~(unsigned)NOTIFY_READY, .cause = "lasting" });
    pass(walk, walk->now_ms + H(5));
    HOLDS(walk, walk->told && walk->told_fault == policy_worst(walk->rules.on & ~(unsigned)NOTIFY_READY));
    HOLDS(walk, strcmp(walk->told_cause, "lasting") == 0);
    become(walk, &(struct policy_state){ .faults = 0, .cause = "healthy" });
    pass(walk, walk->now_ms + H(3));
    HOLDS(walk, !walk->told || !(walk->rules.on & NOTIFY_READY));
    HOLDS(walk, policy_due(&walk->policy) == INT64_MAX);
}

static void test_walks(void **state)
{
    static struct walk walk;
    const char *asked = getenv("POLICY_WALKS");
    uint64_t walks = asked ? strtoull(asked, NULL, 10) : WALKS;

    (void)state;
    for (uint64_t seed = 1; seed <= walks; seed++)
        take(&walk, seed, seed % 4 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_walks) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
