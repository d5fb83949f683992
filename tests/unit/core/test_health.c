/* Policy: rise and fall, liveness by evidence, the verdict. By example, and by random sequences against naive models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/conf.h"
#include "agent/core/health.h"

#define READY GATE_READY
#define LIVE GATE_LIVE

/* Plays '#' pass, '~' warn, '.' fail, 'v' void, a second apart; gives the states that came: "upwf". */
static const char *play(struct health *health, struct health_policy policy, const char *rounds)
{
    static char states[256];
    static uint64_t now_ms = 1000;
    size_t n = 0;
    for (; *rounds; rounds++) {
        enum result result = *rounds == '#'   ? RESULT_PASS
                             : *rounds == '~' ? RESULT_WARN
                             : *rounds == '.' ? RESULT_FAIL
                                              : RESULT_VOID;
        enum state before = health->state;
        bool changed = health_round(health, &policy, result, now_ms += 1000);
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

static void test_failing_since(void **state)
{
    (void)state;
    struct health health = { 0 };
    const struct health_policy policy = { 2, 2, 2 };
    health_round(&health, &policy, RESULT_PASS, 1);
    assert_int_equal(health.failing_since_ms, 0);
    health_round(&health, &policy, RESULT_FAIL, 10);
    health_round(&health, &policy, RESULT_FAIL, 20);
    assert_int_equal(health.failing_since_ms, 10);
    assert_int_equal(health.last_failed_ms, 20);
    health_round(&health, &policy, RESULT_WARN, 30); /* one good round, not yet a recovery */
    assert_int_equal(health.state, STATE_FAIL);
    assert_int_equal(health.failing_since_ms, 0);
    health_round(&health, &policy, RESULT_FAIL, 40);
    assert_int_equal(health.failing_since_ms, 40);
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
            health_round(&health, &policy, result, (uint64_t)round + 1);
            model_round(&model, &policy, result);
            assert_int_equal(health.state, model.state);
            assert_int_equal(health.passed_once, once || model.state == STATE_PASS || model.state == STATE_WARN);
            assert_int_equal(health.rounds, model.count);
            if (result == RESULT_PASS || result == RESULT_WARN)
                assert_int_equal(health.failing_since_ms, 0);
        }
    }
}

/* --- the verdict --------------------------------------------------------------------------------------------------------- */

static const struct verdict_policy degrade = { false, 30000 }, strict = { true, 30000 };

static struct health in_state(enum state wanted)
{
    struct health health = { .state = wanted, .passed_once = wanted != STATE_UNKNOWN };
    if (wanted == STATE_FAIL) {
        health.failing_since_ms = 1000;
        health.last_failed_ms = 2000;
    }
    return health;
}

static struct verdict judge_one(enum state wanted, enum scope scope, unsigned gates, const struct verdict_policy *policy)
{
    struct health health = in_state(wanted);
    struct health_input input = { &health, scope, gates };
    return verdict_of(&input, 1, policy, false, false);
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
    v = judge_one(STATE_FAIL, SCOPE_SHARED, READY, &strict);
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

static void test_no_checks(void **state)
{
    (void)state;
    struct verdict v = verdict_of(NULL, 0, &degrade, false, false);
    assert_true(v.ready && v.live && v.started && v.status == RESULT_PASS);
}

static void test_draining(void **state)
{
    (void)state;
    struct health health = in_state(STATE_WARN);
    struct health_input input = { &health, SCOPE_LOCAL, READY };
    struct verdict v = verdict_of(&input, 1, &degrade, true, true);
    assert_true(!v.ready && v.draining && !v.degraded && v.live && v.started && v.status == RESULT_FAIL);
}

static void test_started_latches(void **state)
{
    (void)state;
    struct health a = in_state(STATE_PASS), b = in_state(STATE_UNKNOWN);
    struct health_input inputs[] = { { &a, SCOPE_NONE, READY }, { &b, SCOPE_NONE, READY } };
    assert_false(verdict_of(inputs, 2, &degrade, false, false).started);
    /* a new check after a reload does not take the instance out */
    struct verdict v = verdict_of(inputs, 2, &degrade, false, true);
    assert_true(v.started && v.ready);
    /* passed once, failing now: started, not ready */
    b = in_state(STATE_FAIL);
    v = verdict_of(inputs, 2, &degrade, false, false);
    assert_false(v.started && v.ready);
}

static bool live_after(enum scope scope, unsigned gates, uint64_t since_ms, uint64_t last_ms)
{
    struct health health = in_state(STATE_FAIL);
    health.failing_since_ms = since_ms;
    health.last_failed_ms = last_ms;
    struct health_input input = { &health, scope, gates };
    return verdict_of(&input, 1, &degrade, false, true).live;
}

static void test_live_needs_evidence(void **state)
{
    (void)state;
    assert_true(live_after(SCOPE_LOCAL, LIVE, 1000, 30999));
    assert_false(live_after(SCOPE_LOCAL, LIVE, 1000, 31000));
    assert_true(live_after(SCOPE_LOCAL, READY, 1000, 91000));
    assert_true(live_after(SCOPE_SHARED, READY | LIVE, 1000, 91000));
    assert_true(live_after(SCOPE_LOCAL, LIVE, 0, 91000)); /* the last round was good */
}

/* 10 s of failures, a night of sleep, one more failure: that is no 30 s of failing. */
static void test_sleep_is_no_evidence(void **state)
{
    (void)state;
    struct health health = { 0 };
    const struct health_policy policy = { 1, 2, 2 };
    struct health_input input = { &health, SCOPE_LOCAL, LIVE };
    health_round(&health, &policy, RESULT_FAIL, 1000);
    health_round(&health, &policy, RESULT_FAIL, 11000);
    health_resume(&health, 9000000);
    assert_true(verdict_of(&input, 1, &degrade, false, true).live);
    health_round(&health, &policy, RESULT_FAIL, 9001000);
    assert_true(verdict_of(&input, 1, &degrade, false, true).live);
    health_round(&health, &policy, RESULT_FAIL, 9029999);
    assert_true(verdict_of(&input, 1, &degrade, false, true).live);
    health_round(&health, &policy, RESULT_FAIL, 9030000);
    assert_false(verdict_of(&input, 1, &degrade, false, true).live);
}

static void test_resume_of_the_healthy(void **state)
{
    (void)state;
    struct health health = { 0 }, before;
    const struct health_policy policy = { 1, 2, 2 };
    health_round(&health, &policy, RESULT_PASS, 1000);
    before = health;
    health_resume(&health, 500000);
    assert_memory_equal(&before, &health, sizeof health);
}

/* The sentences of the contract, one by one, over random worlds. */
static void test_random_verdicts(void **state)
{
    (void)state;
    srand(11);
    for (int game = 0; game < 20000; game++) {
        struct health health[4];
        struct health_input inputs[4];
        size_t count = (size_t)(rand() % 5);
        bool draining = rand() % 8 == 0, started = rand() % 2, fails = rand() % 2;
        struct verdict_policy policy = { fails, 30000 };
        bool local_fault = false, shared_fault = false, warned = false, all_once = true, reports = false, dead = false;
        for (size_t i = 0; i < count; i++) {
            enum state s = (enum state)(rand() % STATE_COUNT);
            health[i] = in_state(s);
            health[i].passed_once = (s != STATE_UNKNOWN && s != STATE_FAIL) || rand() % 2;
            health[i].last_failed_ms = rand() % 2 ? 5000 : 50000;
            inputs[i] = (struct health_input){ &health[i], rand() % 2 ? SCOPE_LOCAL : SCOPE_SHARED, (unsigned)rand() % 4 };
            bool ready = inputs[i].gates & READY, failed = s == STATE_FAIL, local = inputs[i].scope == SCOPE_LOCAL;
            local_fault |= ready && failed && local;
            shared_fault |= ready && failed && !local;
            warned |= ready && s == STATE_WARN;
            reports |= !ready && (failed || s == STATE_WARN);
            all_once &= !ready || health[i].passed_once;
            dead |= (inputs[i].gates & LIVE) && failed && local && health[i].last_failed_ms - 1000 >= 30000;
        }
        struct verdict v = verdict_of(inputs, count, &policy, draining, started);
        assert_int_equal(v.started, started || all_once);
        assert_int_equal(v.live, !dead);
        assert_int_equal(v.draining, draining);
        assert_int_equal(v.ready, v.started && !draining && !local_fault && !(fails && shared_fault));
        assert_int_equal(v.degraded, v.ready && (warned || shared_fault));
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
        cmocka_unit_test(test_failing_since),
        cmocka_unit_test(test_random_rounds),
        cmocka_unit_test(test_verdict_of_one_check),
        cmocka_unit_test(test_what_only_reports_never_gates),
        cmocka_unit_test(test_no_checks),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_started_latches),
        cmocka_unit_test(test_live_needs_evidence),
        cmocka_unit_test(test_sleep_is_no_evidence),
        cmocka_unit_test(test_resume_of_the_healthy),
        cmocka_unit_test(test_random_verdicts),
        cmocka_unit_test(test_state_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
