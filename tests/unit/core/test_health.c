/* Policy: rise and fall, liveness by evidence, the verdict. By example, and by random sequences against naive models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/conf/conf.h"
#include "agent/core/health.h"

#define READY GATE_READY
#define LIVE GATE_LIVE

/* Plays '#' pass, '~' warn, '.' fail, 'v' void, gives the states that came: "upwf". */
static const char *play(struct health *health, struct health_policy policy, const char *rounds)
{
    static char states[256];
    size_t n = 0;
    for (; *rounds; rounds++) {
        enum result result = *rounds == '#'   ? RESULT_PASS
                             : *rounds == '~' ? RESULT_WARN
                             : *rounds == '.' ? RESULT_FAIL
                                              : RESULT_VOID;
        enum state before = health->state;
        bool changed = health_round(health, &policy, result);
        assert_int_equal(changed, before != health->state);
        states[n++] = "upwf"[health->state];
    }
    states[n] = '\0';
    return states;
}

static const char *fresh(struct health_policy policy, const char *rounds)
{
    struct health health = { 0 };
    return play(&health, policy, rounds);
}

static void test_defaults_rise_1_fall_2(void **state)
{
    (void)state;
    const struct health_policy policy = { 1, 2, 2 };
    assert_string_equal(fresh(policy, "#"), "p");
    assert_string_equal(fresh(policy, "#.#"), "ppp");
    assert_string_equal(fresh(policy, "#..#"), "ppfp");
    assert_string_equal(fresh(policy, "..."), "uff");
    assert_string_equal(fresh(policy, "#.#.#.#."), "pppppppp");
}

static void test_unknown_needs_rise(void **state)
{
    (void)state;
    assert_string_equal(fresh((struct health_policy){ 3, 3, 3 }, "###"), "uup");
    assert_string_equal(fresh((struct health_policy){ 3, 3, 3 }, "##.###"), "uuuuup");
    assert_string_equal(fresh((struct health_policy){ 3, 3, 3 }, "##...###"), "uuuufffp");
}

static void test_failure_ends_after_rise_in_a_row(void **state)
{
    (void)state;
    assert_string_equal(fresh((struct health_policy){ 3, 1, 1 }, "###.##.###"), "uupffffffp");
}

static void test_warn_counts_as_good(void **state)
{
    (void)state;
    const struct health_policy policy = { 2, 2, 2 };
    assert_string_equal(fresh(policy, "#~"), "uw");
    assert_string_equal(fresh(policy, "~#~#"), "upwp");
    assert_string_equal(fresh(policy, "##..~#"), "uppffp");
    assert_string_equal(fresh(policy, "##..#~"), "uppffw");
}

/* A failed round that fall has not made a failure of yet leaves the state alone, also a warn. */
static void test_single_failures_change_nothing(void **state)
{
    (void)state;
    assert_string_equal(fresh((struct health_policy){ 1, 3, 3 }, "~..~..#"), "wwwwwwp");
}

static void test_window(void **state)
{
    (void)state;
    const struct health_policy policy = { 1, 3, 5 };
    assert_string_equal(fresh(policy, "#.#.#."), "pppppf");
    assert_string_equal(fresh(policy, "#..###..###.."), "ppppppppppppp");
    assert_string_equal(fresh(policy, "..."), "uuf");
}

/* What ended the last good time does not count again, and flapping is still found. */
static void test_window_starts_anew_after_recovery(void **state)
{
    (void)state;
    const struct health_policy policy = { 1, 3, 5 };
    assert_string_equal(fresh(policy, "#...#.#.#"), "pppfppppp");
    assert_string_equal(fresh(policy, "#...#.#.."), "pppfppppf");
}

static void test_largest_window(void **state)
{
    (void)state;
    const struct health_policy policy = { 1, 64, 64 };
    struct health health = { 0 };
    play(&health, policy, "#");
    for (int i = 0; i < 63; i++)
        assert_string_equal(play(&health, policy, "."), "p");
    assert_string_equal(play(&health, policy, "."), "f");
}

static void test_void_is_not_judged(void **state)
{
    (void)state;
    struct health health = { 0 }, before;
    const struct health_policy policy = { 2, 2, 2 };
    play(&health, policy, "##.");
    before = health;
    assert_string_equal(play(&health, policy, "vvvv"), "pppp");
    assert_memory_equal(&before, &health, sizeof health);
    assert_string_equal(play(&health, policy, "."), "f");
}

static void test_history(void **state)
{
    (void)state;
    struct health health = { 0 };
    const struct health_policy policy = { 1, 2, 2 };
    play(&health, policy, "#~.v#");
    assert_string_equal(health.history, "#~.#");
    for (int i = 0; i < HEALTH_HISTORY; i++)
        play(&health, policy, i % 2 ? "#" : ".");
    assert_int_equal(strlen(health.history), HEALTH_HISTORY);
    assert_string_equal(health.history, ".#.#.#.#.#.#.#.#.#.#.#.#.#.#.#.#");
    assert_int_equal(health.rounds, 4 + HEALTH_HISTORY);
}

/* The last round speaks against the state: the next one comes soon. */
static void test_contradicted(void **state)
{
    (void)state;
    static const struct {
        const char *rounds;
        bool contradicted;
    } rows[] = { { "", false },     { "#", true },       { "##", false },     { "##.", true }, { "##.#", false }, { "##..", false },
                 { "##..#", true }, { "##..##", false }, { "##..#.", false }, { ".", true },   { "##.v", true } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct health health = { 0 };
        play(&health, (struct health_policy){ 2, 2, 2 }, rows[i].rounds);
        assert_int_equal(health_contradicted(&health), rows[i].contradicted);
    }
}

/* --- rounds against a naive model --------------------------------------------------------------------------------------- */

/* The same rules over a list of everything that has happened since the state last became good. */
struct model {
    enum state state;
    enum result all[400];
    size_t count, window_from;
};

static void model_round(struct model *model, const struct health_policy *policy, enum result result)
{
    if (result == RESULT_VOID)
        return;
    model->all[model->count++] = result;
    size_t fails = 0, goods = 0;
    for (size_t i = model->count; i-- > model->window_from && model->count - i <= policy->fall_of;)
        fails += model->all[i] == RESULT_FAIL;
    for (size_t i = model->count; i-- > 0 && model->all[i] != RESULT_FAIL;)
        goods++;
    bool good_state = model->state == STATE_PASS || model->state == STATE_WARN;
    if (result == RESULT_FAIL && fails >= policy->fall_count) {
        model->state = STATE_FAIL;
    } else if (result != RESULT_FAIL && (good_state || goods >= policy->rise)) {
        if (!good_state)
            model->window_from = model->count;
        model->state = result == RESULT_WARN ? STATE_WARN : STATE_PASS;
    }
}

static enum result random_result(int fail_percent)
{
    int roll = rand() % 100;
    return roll < fail_percent ? RESULT_FAIL : roll % 10 == 0 ? RESULT_VOID : roll % 4 == 0 ? RESULT_WARN : RESULT_PASS;
}

static void test_random_rounds(void **state)
{
    (void)state;
    unsigned seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : 7;
    printf("seed %u\n", seed);
    srand(seed);
    for (int game = 0; game < 2000; game++) {
        uint32_t of = 1 + (uint32_t)rand() % 8;
        struct health_policy policy = { 1 + (uint32_t)rand() % 4, 1 + (uint32_t)rand() % of, of };
        struct health health = { 0 };
        struct model model = { 0 };
        int fail_percent = rand() % 100;
        for (int round = 0; round < 100; round++) {
            enum result result = random_result(fail_percent);
            bool once = health.passed_once;
            health_round(&health, &policy, result);
            model_round(&model, &policy, result);
            assert_int_equal(health.state, model.state);
            assert_int_equal(health.passed_once, once || model.state == STATE_PASS || model.state == STATE_WARN);
            assert_int_equal(health.rounds, model.count);
        }
    }
}

/* --- the verdict --------------------------------------------------------------------------------------------------------- */

static const struct verdict_policy degrade = { .liveness_after_ms = 30000 }, strict = { true, true, 30000, false, false },
                                   of_rounds = { true, true, 30000, true, false };
static const struct verdict fresh_verdict, used_verdict = { .started = true, .admitted = true };

static struct health in_state(enum state wanted)
{
    struct health health = { .state = wanted, .passed_once = wanted != STATE_UNKNOWN };
    health.failed_bits = wanted == STATE_FAIL;
    return health;
}

static struct verdict judge_one(enum state wanted, enum scope scope, unsigned gates, const struct verdict_policy *policy)
{
    struct health health = in_state(wanted);
    struct health_input input = { &health, scope, gates, true, false };
    return verdict_of(&input, 1, policy, false, &fresh_verdict);
}

static void test_verdict_of_one_check(void **state)
{
    (void)state;
    struct verdict v = judge_one(STATE_PASS, SCOPE_NONE, READY, &degrade);
    assert_true(v.ready && v.live && v.started && !v.degraded && v.status == RESULT_PASS);
    v = judge_one(STATE_WARN, SCOPE_LOCAL, READY, &degrade);
    assert_true(v.ready && v.degraded && v.status == RESULT_WARN);
    v = judge_one(STATE_FAIL, SCOPE_LOCAL, READY, &degrade);
    assert_true(!v.ready && !v.degraded && v.live && v.status == RESULT_FAIL);
    v = judge_one(STATE_FAIL, SCOPE_SHARED, READY, &degrade);
    assert_true(v.ready && v.degraded && v.status == RESULT_WARN);
    const struct verdict_policy held = { .liveness_after_ms = 30000, .local_faults_degrade = true }; /* the fleet keeps it in */
    v = judge_one(STATE_FAIL, SCOPE_LOCAL, READY, &held);
    assert_true(v.ready && v.degraded && v.live && v.status == RESULT_WARN);
    v = judge_one(STATE_FAIL, SCOPE_SHARED, READY, &strict);
    assert_true(!v.ready && !v.degraded && v.status == RESULT_FAIL);
    v = judge_one(STATE_FAIL, SCOPE_PROBE, READY, &degrade);
    assert_true(v.ready && v.degraded && v.live && v.status == RESULT_WARN);
    v = judge_one(STATE_FAIL, SCOPE_PROBE, READY, &strict);
    assert_true(!v.ready && !v.degraded && v.status == RESULT_FAIL);
    v = judge_one(STATE_UNKNOWN, SCOPE_NONE, READY, &degrade);
    assert_true(!v.ready && !v.started && v.live && v.status == RESULT_FAIL);
}

static void test_what_only_reports_never_gates(void **state)
{
    (void)state;
    struct verdict v = judge_one(STATE_FAIL, SCOPE_LOCAL, 0, &degrade);
    assert_true(v.ready && v.started && v.live && !v.degraded && v.status == RESULT_WARN);
    v = judge_one(STATE_WARN, SCOPE_LOCAL, 0, &degrade);
    assert_true(v.ready && !v.degraded && v.status == RESULT_WARN);
    v = judge_one(STATE_UNKNOWN, SCOPE_NONE, 0, &degrade);
    assert_true(v.ready && v.status == RESULT_PASS);
}

/* `check` reports rounds: exit code 2 for a failed one, also of a check that only reports beside a server. */
static void test_where_rounds_are_judged_a_failure_is_one(void **state)
{
    (void)state;
    struct verdict v = judge_one(STATE_FAIL, SCOPE_LOCAL, 0, &of_rounds);
    assert_true(v.ready && v.status == RESULT_FAIL);
    v = judge_one(STATE_WARN, SCOPE_LOCAL, 0, &of_rounds);
    assert_true(v.ready && v.status == RESULT_WARN);
    v = judge_one(STATE_PASS, SCOPE_NONE, 0, &of_rounds);
    assert_true(v.ready && v.status == RESULT_PASS);
}

static void test_no_checks(void **state)
{
    (void)state;
    struct verdict v = verdict_of(NULL, 0, &degrade, false, &fresh_verdict);
    assert_true(v.ready && v.live && v.started && v.status == RESULT_PASS);
}

static void test_draining(void **state)
{
    (void)state;
    struct health health = in_state(STATE_WARN);
    struct health_input input = { &health, SCOPE_LOCAL, READY, true, false };
    struct verdict v = verdict_of(&input, 1, &degrade, true, &used_verdict);
    assert_true(!v.ready && v.draining && !v.degraded && v.live && v.started && v.status == RESULT_FAIL);
}

static void test_started_latches(void **state)
{
    (void)state;
    struct health a = in_state(STATE_PASS), b = in_state(STATE_UNKNOWN);
    struct health_input inputs[] = { { &a, SCOPE_NONE, READY, true, false }, { &b, SCOPE_NONE, READY, true, false } };
    assert_false(verdict_of(inputs, 2, &degrade, false, &fresh_verdict).started);
    /* a new check after a reload does not take the instance out */
    struct verdict v = verdict_of(inputs, 2, &degrade, false, &used_verdict);
    assert_true(v.started && v.ready);
    /* passed once, failing now: started, not ready */
    b = in_state(STATE_FAIL);
    v = verdict_of(inputs, 2, &degrade, false, &fresh_verdict);
    assert_false(v.started && v.ready);
}

/* --- from the start: what has never passed ---------------------------------------------------------------------------- */

/* A check that has failed so often for that, and never passed. */
static struct health never_passed(enum reason reason, bool own, unsigned rounds)
{
    struct health health = { 0 };
    const struct health_policy policy = { 1, 2, 2 };
    struct health_evidence evidence = { RESULT_FAIL, reason, reason_scope(reason), own, true, false, false };
    for (unsigned i = 0; i < rounds; i++) {
        health_round(&health, &policy, RESULT_FAIL);
        health_note(&health, &evidence, 1000 + i);
    }
    return health;
}

static struct verdict at_start(enum reason reason, bool own, unsigned rounds, const struct verdict_policy *policy)
{
    struct health good = in_state(STATE_PASS), other = never_passed(reason, own, rounds);
    struct health_input inputs[] = { { &good, SCOPE_NONE, READY, true, false },
                                     { &other, reason_scope(reason), READY, true, false } };
    return verdict_of(inputs, 2, policy, false, &fresh_verdict);
}

/* An outage of the broker must not eat one restarted instance after the other. */
static void test_broker_down_from_the_start(void **state)
{
    (void)state;
    for (unsigned rounds = 1; rounds < 4; rounds++) {
        struct verdict v = at_start(REASON_BROKER_UNREACHABLE, false, rounds, &degrade);
        assert_true(v.ready && v.degraded && v.started && v.live && v.status == RESULT_WARN);
        v = at_start(REASON_BROKER_UNREACHABLE, false, rounds, &strict);
        assert_true(!v.ready && v.started);
        v = at_start(REASON_SUBSCRIBE_TIMEOUT, false, rounds, &degrade); /* what is local still counts */
        assert_true(!v.ready && !v.started);
    }
}

/* A roll-out whose new version refuses everybody stops; what is the agent's own doing does not stop it, and neither restarts the server. */
static void test_refused_from_the_start(void **state)
{
    (void)state;
    for (unsigned rounds = 1; rounds < 4; rounds++) {
        struct verdict v = at_start(REASON_UPGRADE_UNAUTHORIZED, false, rounds, &degrade);
        assert_true(!v.ready && v.started && v.live);
        v = at_start(REASON_UPGRADE_UNAUTHORIZED, true, rounds, &degrade);
        assert_true(v.ready && v.degraded && v.started);
        v = at_start(REASON_UPGRADE_UNAUTHORIZED, true, rounds, &strict);
        assert_true(!v.ready && v.started);
    }
    /* the file of the token cannot be read: nothing could be judged at all */
    struct health good = in_state(STATE_PASS), blind = { 0 };
    struct health_evidence evidence = { RESULT_VOID, REASON_AGENT_ERROR, SCOPE_NONE, true, false, false, false };
    struct health_input inputs[] = { { &good, SCOPE_NONE, READY, true, false }, { &blind, SCOPE_NONE, READY, true, false } };
    health_note(&blind, &evidence, 1000);
    struct verdict v = verdict_of(inputs, 2, &degrade, false, &fresh_verdict);
    assert_true(v.ready && v.degraded && v.started);
}

/* A reload brings a check that is refused from its first round on, on all instances at once. */
static void test_refused_check_after_a_reload(void **state)
{
    (void)state;
    struct health good = in_state(STATE_PASS), refused = never_passed(REASON_LOGIN_REJECTED, false, 3);
    struct health_input inputs[] = { { &good, SCOPE_NONE, READY, true, false }, { &refused, SCOPE_PROBE, READY, true, false } };
    struct verdict v = verdict_of(inputs, 2, &degrade, false, &used_verdict);
    assert_true(v.ready && v.degraded);
}

/* --- the public path -------------------------------------------------------------------------------------------------- */

/* What the load balancer does takes no instance out, from the start and later, whether a local check gates beside it or not: only a local one
 * that fails does. The engine gives what is local on that path the scope shared. */
static void test_the_public_path(void **state)
{
    (void)state;
    static const struct {
        enum state local; /* STATE_COUNT: there is no local check */
        enum state front;
        enum scope scope;
        bool passed_once, admitted;
        bool ready, degraded, strict_ready;
    } rows[] = {
        { STATE_PASS, STATE_PASS, SCOPE_NONE, true, true, true, false, true },
        { STATE_PASS, STATE_WARN, SCOPE_SHARED, true, true, true, true, true },
        { STATE_PASS, STATE_FAIL, SCOPE_SHARED, true, true, true, true, false },
        { STATE_PASS, STATE_FAIL, SCOPE_SHARED, false, false, true, true, false },
        { STATE_PASS, STATE_FAIL, SCOPE_PROBE, true, true, true, true, false },
        { STATE_PASS, STATE_FAIL, SCOPE_PROBE, false, false, true, true, false },
        { STATE_FAIL, STATE_FAIL, SCOPE_SHARED, true, true, false, false, false },
        { STATE_FAIL, STATE_PASS, SCOPE_NONE, true, true, false, false, false },
        { STATE_UNKNOWN, STATE_FAIL, SCOPE_SHARED, false, false, false, false, false },
        { STATE_COUNT, STATE_FAIL, SCOPE_SHARED, true, true, true, true, false },
        { STATE_COUNT, STATE_FAIL, SCOPE_SHARED, false, false, true, true, false },
        { STATE_COUNT, STATE_FAIL, SCOPE_PROBE, false, false, true, true, false },
        { STATE_COUNT, STATE_UNKNOWN, SCOPE_NONE, false, false, false, false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool alone = rows[i].local == STATE_COUNT;
        struct health local = in_state(alone ? STATE_PASS : rows[i].local), front = in_state(rows[i].front);
        front.passed_once = front.passed_once && rows[i].passed_once;
        front.shared_once = rows[i].scope == SCOPE_SHARED;
        front.probe_once = rows[i].scope == SCOPE_PROBE;
        struct health_input inputs[] = { { &front, rows[i].scope, READY | LIVE, false, true },
                                         { &local, SCOPE_LOCAL, READY | LIVE, true, false } };
        struct verdict before = { .started = rows[i].admitted, .admitted = rows[i].admitted };
        struct verdict v = verdict_of(inputs, alone ? 1 : 2, &degrade, false, &before);
        print_message("row %zu\n", i);
        assert_int_equal(v.ready, rows[i].ready);
        assert_int_equal(v.degraded, rows[i].degraded);
        assert_true(v.live);
        assert_int_equal(verdict_of(inputs, alone ? 1 : 2, &strict, false, &before).ready, rows[i].strict_ready);
    }
}

/* --- /live ---------------------------------------------------------------------------------------------------------- */

static void note(struct health *health, enum reason reason, bool answered, bool spoke, uint64_t now_ms)
{
    const struct health_policy policy = { 1, 2, 2 };
    struct health_evidence evidence = {
        reason ? RESULT_FAIL : RESULT_PASS, reason, reason_scope(reason), false, answered, spoke, !answered
    };
    health_round(health, &policy, evidence.result);
    health_note(health, &evidence, now_ms);
}

static bool live_by(const struct health *health, const struct health *other, unsigned gates, bool witness)
{
    struct health_input inputs[] = { { health, SCOPE_LOCAL, gates, true, false }, { other, SCOPE_LOCAL, 0, witness, false } };
    return verdict_of(inputs, other ? 2 : 1, &degrade, false, &used_verdict).live;
}

static bool live_after(enum reason reason, bool answered, bool spoke, unsigned gates, uint64_t last_ms)
{
    struct health health = { 0 };
    note(&health, reason, answered, spoke, 1000);
    note(&health, reason, answered, spoke, last_ms);
    return live_by(&health, NULL, gates, true);
}

/* Whatever a restart cannot mend, and whoever answers: /live stays. */
static void test_live_needs_silence(void **state)
{
    (void)state;
    for (int i = 1; i < REASON_COUNT; i++) {
        enum reason reason = (enum reason)i;
        bool mendable = reason == REASON_CONNECT_REFUSED || reason == REASON_CONNECT_TIMEOUT || reason == REASON_UPGRADE_TIMEOUT ||
                        reason == REASON_TLS_HANDSHAKE_FAILED || reason == REASON_SILENT_DROP;
        assert_int_equal(live_after(reason, false, false, LIVE, 31000), !mendable);
        assert_true(live_after(reason, false, false, LIVE, 30999));
        assert_true(live_after(reason, false, false, READY, 91000));
        assert_int_equal(live_after(reason, true, false, LIVE, 91000), reason != REASON_SILENT_DROP); /* the 101 came */
        assert_true(live_after(reason, true, true, LIVE, 91000));
    }
}

/* A proxy that is down, or says nothing, gets no server restarted, whatever the configuration says of gates. */
static void test_live_and_the_public_path(void **state)
{
    (void)state;
    for (int i = 1; i < REASON_COUNT; i++) {
        struct health front = { 0 };
        note(&front, (enum reason)i, false, false, 1000);
        note(&front, (enum reason)i, false, false, 91000);
        struct health_input input = { &front, SCOPE_SHARED, READY | LIVE, false, true };
        assert_true(verdict_of(&input, 1, &strict, false, &used_verdict).live);
    }
}

static void test_live_counts_without_interruption(void **state)
{
    (void)state;
    struct health health = { 0 };
    for (uint64_t s = 1; s < 100; s++) { /* every tenth round is answered with a 503 */
        note(&health, s % 10 ? REASON_UPGRADE_TIMEOUT : REASON_UPGRADE_REFUSED, s % 10 == 0, false, s * 5000);
        assert_true(live_by(&health, NULL, LIVE, true) || s % 10 > 6);
    }
}

/* Another check's connection is alive, so the process runs. One that goes another way says nothing. */
static void test_live_and_other_witnesses(void **state)
{
    (void)state;
    struct health mute = { 0 }, other = { 0 };
    note(&mute, REASON_UPGRADE_TIMEOUT, false, false, 1000);
    note(&other, REASON_NONE, true, true, 20000);
    note(&mute, REASON_UPGRADE_TIMEOUT, false, false, 49000);
    assert_true(live_by(&mute, &other, LIVE, true));
    assert_false(live_by(&mute, &other, LIVE, false));
    note(&mute, REASON_UPGRADE_TIMEOUT, false, false, 50000); /* and 30 s after the last sign of life it is dead */
    assert_false(live_by(&mute, &other, LIVE, true));
    /* behind the upgrade: that upgrades go on says nothing, a pong does */
    struct health silent = { 0 }, upgrades = { 0 };
    note(&silent, REASON_SILENT_DROP, true, false, 1000);
    note(&silent, REASON_SILENT_DROP, true, false, 40000);
    note(&upgrades, REASON_NONE, true, false, 39000);
    assert_false(live_by(&silent, &upgrades, LIVE, true));
    note(&upgrades, REASON_NONE, true, true, 39000);
    assert_true(live_by(&silent, &upgrades, LIVE, true));
}

/* 10 s of silence, a night of sleep, one more silent round: that is no 30 s. */
static void test_sleep_is_no_evidence(void **state)
{
    (void)state;
    struct health health = { 0 };
    note(&health, REASON_CONNECT_REFUSED, false, false, 1000);
    note(&health, REASON_CONNECT_REFUSED, false, false, 11000);
    health_resume(&health, 9000000);
    assert_true(live_by(&health, NULL, LIVE, true));
    note(&health, REASON_CONNECT_REFUSED, false, false, 9001000);
    assert_true(live_by(&health, NULL, LIVE, true));
    note(&health, REASON_CONNECT_REFUSED, false, false, 9029999);
    assert_true(live_by(&health, NULL, LIVE, true));
    note(&health, REASON_CONNECT_REFUSED, false, false, 9030000);
    assert_false(live_by(&health, NULL, LIVE, true));
}

static void test_resume_of_the_healthy(void **state)
{
    (void)state;
    struct health health = { 0 }, before;
    const struct health_policy policy = { 1, 2, 2 };
    health_round(&health, &policy, RESULT_PASS);
    before = health;
    health_resume(&health, 500000);
    assert_memory_equal(&before, &health, sizeof health);
}

/* The sentences of the contract, one by one, over random worlds. */
static void test_random_verdicts(void **state)
{
    (void)state;
    static const enum scope scopes[] = { SCOPE_LOCAL, SCOPE_SHARED, SCOPE_PROBE };
    srand(11);
    for (int game = 0; game < 20000; game++) {
        struct health health[4];
        struct health_input inputs[4];
        size_t count = (size_t)(rand() % 5);
        bool draining = rand() % 8 == 0, shared_fails = rand() % 2, probe_fails = rand() % 2;
        struct verdict before = { .started = rand() % 2 };
        before.admitted = before.started && rand() % 2;
        struct verdict_policy policy = { shared_fails, probe_fails, 30000, false, false };
        bool keeps_out = false, degrades = false, all_judged = true, all_admitted = true, reports = false;
        for (size_t i = 0; i < count; i++) {
            enum state s = (enum state)(rand() % STATE_COUNT);
            enum scope scope = scopes[rand() % 3];
            bool failed = s == STATE_FAIL;
            health[i] = in_state(s);
            health[i].passed_once = (s != STATE_UNKNOWN && s != STATE_FAIL) || (s == STATE_FAIL && rand() % 2);
            health[i].shared_once = failed && scope == SCOPE_SHARED;
            health[i].probe_once = failed && scope == SCOPE_PROBE;
            health[i].own_doing = failed && scope == SCOPE_PROBE && rand() % 2;
            inputs[i] = (struct health_input){ &health[i], scope, (unsigned)rand() % 4, true, false };
            bool ready = inputs[i].gates & READY, once = health[i].passed_once, own = health[i].own_doing;
            bool excused = scope == SCOPE_SHARED  ? !shared_fails
                           : scope == SCOPE_PROBE ? !probe_fails && (once || own || before.admitted)
                                                  : false;
            keeps_out |= ready && failed && !excused;
            degrades |= ready && (s == STATE_WARN || (failed && excused));
            reports |= !ready && (failed || s == STATE_WARN);
            all_judged &= !ready || once || (failed && scope != SCOPE_LOCAL);
            all_admitted &= !ready || once || (failed && (scope == SCOPE_SHARED || own));
        }
        struct verdict v = verdict_of(inputs, count, &policy, draining, &before);
        assert_int_equal(v.started, before.started || all_judged);
        assert_true(v.live);
        assert_int_equal(v.draining, draining);
        assert_int_equal(v.ready, (before.admitted || all_admitted) && !draining && !keeps_out);
        assert_int_equal(v.degraded, v.ready && degrades);
        assert_int_equal(v.status, !v.ready ? RESULT_FAIL : v.degraded || reports ? RESULT_WARN : RESULT_PASS);
    }
}

static void test_state_names(void **state)
{
    (void)state;
    assert_string_equal(state_name(STATE_UNKNOWN), "unknown");
    assert_string_equal(state_name(STATE_PASS), "pass");
    assert_string_equal(state_name(STATE_WARN), "warn");
    assert_string_equal(state_name(STATE_FAIL), "fail");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_rise_1_fall_2),
        cmocka_unit_test(test_unknown_needs_rise),
        cmocka_unit_test(test_failure_ends_after_rise_in_a_row),
        cmocka_unit_test(test_warn_counts_as_good),
        cmocka_unit_test(test_single_failures_change_nothing),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_window_starts_anew_after_recovery),
        cmocka_unit_test(test_largest_window),
        cmocka_unit_test(test_void_is_not_judged),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_contradicted),
        cmocka_unit_test(test_random_rounds),
        cmocka_unit_test(test_verdict_of_one_check),
        cmocka_unit_test(test_what_only_reports_never_gates),
        cmocka_unit_test(test_where_rounds_are_judged_a_failure_is_one),
        cmocka_unit_test(test_no_checks),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_started_latches),
        cmocka_unit_test(test_broker_down_from_the_start),
        cmocka_unit_test(test_refused_from_the_start),
        cmocka_unit_test(test_refused_check_after_a_reload),
        cmocka_unit_test(test_the_public_path),
        cmocka_unit_test(test_live_needs_silence),
        cmocka_unit_test(test_live_and_the_public_path),
        cmocka_unit_test(test_live_counts_without_interruption),
        cmocka_unit_test(test_live_and_other_witnesses),
        cmocka_unit_test(test_sleep_is_no_evidence),
        cmocka_unit_test(test_resume_of_the_healthy),
        cmocka_unit_test(test_random_verdicts),
        cmocka_unit_test(test_state_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
