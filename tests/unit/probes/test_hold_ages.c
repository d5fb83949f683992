/* What lost connections mean (probes/hold_ages.h), over hours of a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "probes/hold_ages.h"

static struct hold_ages ages;
static uint64_t now_ms;
static struct err said;
static struct hold_policy policy;

static uint64_t ns(uint64_t ms)
{
    return ms * NS_PER_MS;
}

static int setup(void **state)
{
    (void)state;
    memset(&ages, 0, sizeof ages);
    policy = (struct hold_policy){ 2, false, NULL };
    now_ms = 1000;
    return 0;
}

static void lose(uint64_t opened_ms, int code)
{
    struct err err;

    if (code == 1006)
        err_set(&err, REASON_CLOSED_ABNORMAL, 1006, "no close frame");
    else
        err_set(&err, REASON_CLOSED_BY_SERVER, code, "closed with code %d", code);
    hold_ages_lost(&ages, ns(now_ms), ns(opened_ms), false, &err);
}

static enum hold_level judge(void)
{
    err_clear(&said);
    return hold_ages_judge(&ages, ns(now_ms), &policy, &said);
}

/* Rounds every second, with `count` connections that are cut at an age, until a time; the worst level and the last one. */
struct outcome {
    enum hold_level worst, last;
    unsigned failed, rounds;
};

static struct outcome play(uint64_t age_ms, int code, uint64_t until_ms)
{
    uint64_t opened_ms = now_ms;
    struct outcome outcome = { 0 };

    for (; now_ms < until_ms; now_ms += 100) {
        if (now_ms >= opened_ms + age_ms) {
            lose(opened_ms, code);
            lose(opened_ms, code);
            opened_ms = now_ms + 300; /* the next round replaces it */
        }
        if (now_ms >= opened_ms)
            hold_ages_lived(&ages, ns(now_ms), ns(opened_ms), false);
        outcome.last = judge();
        outcome.worst = outcome.last > outcome.worst ? outcome.last : outcome.worst;
        outcome.rounds++;
        outcome.failed += outcome.last == HOLD_FAIL;
    }
    return outcome;
}

#define assert_said(words)                             \
    do {                                               \
        if (!strstr(said.text, words))                 \
            fail_msg("%s, want %s", said.text, words); \
    } while (0)

static void test_nothing_lost(void **state)
{
    (void)state;
    assert_int_equal(judge(), HOLD_WELL);
    hold_ages_lived(&ages, ns(5000), ns(1000), false);
    assert_int_equal(judge(), HOLD_WELL);
}

/* The case of the report: 1011 after 12 s, watched for 95 s. */
static void test_cut_after_12_seconds(void **state)
{
    struct outcome outcome;

    (void)state;
    outcome = play(12000, 1011, 25000);
    assert_int_equal(outcome.worst, HOLD_WARN); /* one loss */
    setup(NULL);
    outcome = play(12000, 1011, 95000);
    assert_int_equal(outcome.last, HOLD_FAIL);
    assert_int_equal(said.reason, REASON_CLOSED_BY_SERVER);
    assert_int_equal(said.code, 1011);
    assert_said("cut after 12.0s, 7 times: closed with code 1011");
    now_ms += 12500; /* mended: a replacement outlives it */
    hold_ages_lived(&ages, ns(now_ms), ns(now_ms - 12000), false);
    assert_int_equal(judge(), HOLD_FAIL); /* but not yet by enough to be sure */
    now_ms += 1000;
    hold_ages_lived(&ages, ns(now_ms), ns(now_ms - 13000), false);
    assert_int_equal(judge(), HOLD_WELL);
}

static void test_cut_at_once(void **state)
{
    struct outcome outcome;

    (void)state;
    outcome = play(200, 1006, 5000);
    assert_int_equal(outcome.last, HOLD_FAIL);
    assert_true(outcome.failed * 5 > outcome.rounds * 4);
    assert_said("cut after 200ms");
}

static void test_idle_timeout(void **state)
{
    (void)state;
    policy.idle = true;
    assert_int_equal(play(7000, 1006, 40000).last, HOLD_FAIL);
    assert_said("cut after 7.00s of silence, ");
    policy.pattern = "silent ones are cut";
    judge();
    assert_said("silent ones are cut; no close frame");
}

/* Every way of restarting a server that ends all its connections once. */
static void test_a_restart_is_a_warning(void **state)
{
    static const int codes[] = { 1001, 1012, 1006, 1011 };

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        setup(NULL);
        now_ms = 41000;
        lose(1000, codes[i]);
        lose(1000, codes[i]);
        assert_int_equal(judge(), HOLD_WARN);
        assert_said("2 held connections were lost after 40.0s: ");
        now_ms += 5000;
        assert_int_equal(judge(), HOLD_WARN);
        now_ms += 40000;
        hold_ages_lived(&ages, ns(now_ms), ns(41100), false);
        assert_int_equal(judge(), HOLD_WELL);
    }
}

/* Workers that restart one after the other: each connection is lost once. */
static void test_a_rolling_restart_is_a_warning(void **state)
{
    (void)state;
    policy.connections = 100;
    now_ms = 60000;
    for (int worker = 0; worker < 8; worker++, now_ms += 10000) {
        for (int i = 0; i < 12; i++)
            lose(1000, 1006);
        assert_int_equal(judge(), HOLD_WARN);
    }
}

/* Deploys all day, each outlived before the next. */
static void test_many_restarts_in_hours(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        uint64_t opened_ms = now_ms;

        now_ms += 30000;
        lose(opened_ms, i % 2 ? 1001 : 1006);
        assert_int_equal(judge(), HOLD_WARN);
        now_ms += 300000;
        hold_ages_lived(&ages, ns(now_ms), ns(now_ms - 66000), false);
        assert_int_equal(judge(), HOLD_WELL);
    }
    assert_int_equal(ages.lost, 50);
}

/* One loss an hour, for whatever reason, and connections that live for a day: never more than a warning, which ends. */
static void test_one_loss_an_hour(void **state)
{
    (void)state;
    for (int i = 0; i < 24; i++) {
        uint64_t opened_ms = now_ms;

        now_ms += 3600000;
        lose(opened_ms, 1006);
        assert_int_equal(judge(), HOLD_WARN);
        now_ms += 301000;
        assert_int_equal(judge(), HOLD_WELL);
    }
}

/* A server or proxy that recycles its clients politely, or any of them after long: all replicas do, and none may go out for it. */
static void test_recycling_is_a_warning(void **state)
{
    (void)state;
    assert_int_equal(play(90000, 1001, 1000000).worst, HOLD_WARN);
    assert_said("cut after 90.0s, ");
    assert_said("set max_age");
    setup(NULL);
    assert_int_equal(play(900000, 1006, 7000000).worst, HOLD_WARN);
    assert_said("cut after 900s, ");
    setup(NULL);
    assert_int_equal(play(350000, 1006, 2000000).last, HOLD_FAIL); /* a load balancer's idle timeout */
    setup(NULL);
    assert_int_equal(play(12000, 1001, 60000).last, HOLD_FAIL); /* politeness does not make 12 s enough */
}

/* Ages of every size, so that some replacements outlive the last loss: it is still not well. */
static void test_cuts_at_any_age(void **state)
{
    static const uint64_t lives_ms[] = { 9000, 2000, 5000, 1000, 8000, 3000, 7000, 1500, 6000 };
    unsigned failed = 0;

    (void)state;
    for (size_t i = 0; i < sizeof lives_ms / sizeof lives_ms[0]; i++) {
        uint64_t opened_ms = now_ms;

        now_ms += lives_ms[i];
        hold_ages_lived(&ages, ns(now_ms), ns(opened_ms), false);
        lose(opened_ms, 1006);
        failed += judge() == HOLD_FAIL;
        now_ms += 500;
    }
    assert_true(failed >= 5);
    assert_said("cut after ");
}

/* A server that goes down and comes back is judged while it is down: its return is not held against it. */
static void test_outages(void **state)
{
    static const uint64_t lives_ms[] = { 19000, 2000, 5000, 1000, 8000, 3000, 12000, 1500, 6500 };

    (void)state;
    for (size_t i = 0; i < sizeof lives_ms / sizeof lives_ms[0]; i++) {
        uint64_t opened_ms = now_ms;

        now_ms += lives_ms[i];
        hold_ages_lived(&ages, ns(now_ms), ns(opened_ms), false);
        lose(opened_ms, 1006);
        hold_ages_outage(&ages);
        now_ms += 500;
        assert_int_equal(judge(), HOLD_WARN);
    }
    setup(NULL);
    for (int i = 0; i < 8; i++) { /* ... nor what was wrong before it went down */
        now_ms += lives_ms[i];
        lose(now_ms - lives_ms[i], 1006);
    }
    assert_int_equal(judge(), HOLD_FAIL);
    now_ms += 20500;
    lose(now_ms - 20000, 1006);
    hold_ages_outage(&ages);
    assert_int_equal(judge(), HOLD_WARN);
    setup(NULL);
    for (int i = 0; i < 7; i++) { /* a minute without a loss is enough */
        now_ms += lives_ms[i];
        lose(now_ms - lives_ms[i], 1006);
    }
    assert_int_equal(judge(), HOLD_FAIL);
    now_ms += 61000;
    assert_int_equal(judge(), HOLD_WARN);
    setup(NULL);
    for (int i = 1; i <= 6; i++) { /* one that crashes at an age is another matter */
        now_ms += 30000;
        lose(now_ms - 30000, 1006);
        hold_ages_outage(&ages);
        assert_int_equal(judge(), i < 5 ? HOLD_WARN : HOLD_FAIL);
        now_ms += 1000;
    }
    assert_said("cut after 30.0s, 6 times: ");
    setup(NULL);
    now_ms += 19000; /* an outage, and a cut that happens to come at the same age */
    lose(now_ms - 19000, 1006);
    hold_ages_outage(&ages);
    now_ms += 20500;
    lose(now_ms - 20000, 1006);
    assert_int_equal(judge(), HOLD_WARN);
    now_ms += 20500;
    lose(now_ms - 20000, 1006);
    assert_int_equal(judge(), HOLD_FAIL);
}

/* Two bad seconds, a minute of calm, and a single loss: that is one loss. */
static void test_a_burst_is_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        now_ms += 150;
        lose(now_ms - 1, 1011);
    }
    assert_int_equal(judge(), HOLD_FAIL); /* at once, and again to the replacement */
    hold_ages_lived(&ages, ns(now_ms + 500), ns(now_ms + 1), false);
    assert_int_equal(judge(), HOLD_WELL);
    now_ms += 70000;
    lose(now_ms - 60000, 1006);
    assert_int_equal(judge(), HOLD_WARN);
}

static void test_few_of_many(void **state)
{
    (void)state;
    now_ms = 100000;
    policy.connections = 1000; /* one of a thousand every ten seconds: a network */
    for (int i = 0; i < 60; i++) {
        now_ms += 10000;
        lose(now_ms - 9000 - (uint64_t)i * 97 % 6000, 1006);
        hold_ages_lived(&ages, ns(now_ms), ns(now_ms - 60000), true);
        assert_int_equal(judge() == HOLD_WELL, 0);
    }
}

/* Two connections of one age on two workers, lost one after the other: nothing was lost again. */
static void test_the_same_age_is_not_a_replacement(void **state)
{
    (void)state;
    now_ms = 21000;
    lose(1000, 1012);
    now_ms = 23000;
    lose(1000, 1012);
    assert_int_equal(judge(), HOLD_WARN);
}

static void test_recycled_to_the_end(void **state)
{
    (void)state;
    play(61000, 1006, 130000);
    assert_int_equal(judge(), HOLD_FAIL);
    now_ms += 60000;
    hold_ages_lived(&ages, ns(now_ms), ns(now_ms - 60000), true); /* `for` is over: no connection gets older */
    assert_int_equal(judge(), HOLD_WELL);
}

/* The server allows one session for a token: the agent must not take it out for what the agent does itself. */
static void test_self_kick(void **state)
{
    struct err err;

    (void)state;
    err_set(&err, REASON_CLOSED_BY_SERVER, 4001, "closed with 4001 \"logged in elsewhere\"");
    for (int i = 0; i < 6; i++) {
        now_ms += 1500;
        hold_ages_lost(&ages, ns(now_ms), ns(now_ms - 1400), true, &err);
        assert_int_equal(judge(), HOLD_WARN);
    }
    assert_said("each new connection of the agent's own ends an older one, 6 times");
    assert_said("one session for the same token: set connections: 1 here");
    for (int i = 0; i < 6; i++) { /* others that come when nothing of ours began */
        now_ms += 1500;
        hold_ages_lost(&ages, ns(now_ms), ns(now_ms - 1400), false, &err);
    }
    assert_int_equal(judge(), HOLD_FAIL);
}

static void test_more_losses_than_are_kept(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        now_ms += 2000;
        lose(now_ms - 1500, 1011);
    }
    assert_int_equal(judge(), HOLD_FAIL);
    assert_int_equal(ages.count, HOLD_LOSSES_MAX);
    assert_int_equal(ages.lost, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_lost, setup),
        cmocka_unit_test_setup(test_cut_after_12_seconds, setup),
        cmocka_unit_test_setup(test_cut_at_once, setup),
        cmocka_unit_test_setup(test_idle_timeout, setup),
        cmocka_unit_test_setup(test_a_restart_is_a_warning, setup),
        cmocka_unit_test_setup(test_a_rolling_restart_is_a_warning, setup),
        cmocka_unit_test_setup(test_many_restarts_in_hours, setup),
        cmocka_unit_test_setup(test_one_loss_an_hour, setup),
        cmocka_unit_test_setup(test_recycling_is_a_warning, setup),
        cmocka_unit_test_setup(test_cuts_at_any_age, setup),
        cmocka_unit_test_setup(test_outages, setup),
        cmocka_unit_test_setup(test_a_burst_is_forgotten, setup),
        cmocka_unit_test_setup(test_few_of_many, setup),
        cmocka_unit_test_setup(test_the_same_age_is_not_a_replacement, setup),
        cmocka_unit_test_setup(test_recycled_to_the_end, setup),
        cmocka_unit_test_setup(test_self_kick, setup),
        cmocka_unit_test_setup(test_more_losses_than_are_kept, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
