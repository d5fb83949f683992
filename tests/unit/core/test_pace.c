/* When rounds come: the grid, fast rounds while the state is contradicted, what is extra. And the arithmetic of a hung server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/health.h"
#include "agent/core/pace.h"

#define MS UINT64_C(1000000)

static const struct pace_options defaults = { 5000 * MS, 500 * MS, 3 };

static void test_the_grid(void **state)
{
    struct pace pace = { .due_ns = 1000 * MS };
    (void)state;
    assert_int_equal(pace_next_ns(&pace, &defaults, 1000 * MS, 1002 * MS, false, 0), 4998 * MS);
    assert_int_equal(pace_next_ns(&pace, &defaults, 6000 * MS, 7500 * MS, false, 0), 3500 * MS); /* a slow one does not shift it */
    assert_int_equal(pace_next_ns(&pace, &defaults, 11000 * MS, 11001 * MS, false, -200 * (int64_t)MS), 4799 * MS);
    assert_int_equal(pace_next_ns(&pace, &defaults, 16000 * MS, 16000 * MS, false, -6000 * (int64_t)MS), 0);
    /* one that took longer than the interval: the next place that is not over */
    assert_int_equal(pace_next_ns(&pace, &defaults, 21000 * MS, 37000 * MS, false, 0), 4000 * MS);
    assert_int_equal(pace.due_ns, 41000 * MS);
}

/* After the beginning of the last one; at once where that took longer; so often in a row at most. */
static void test_fast_rounds(void **state)
{
    struct pace pace = { .due_ns = 1000 * MS };
    (void)state;
    assert_int_equal(pace_next_ns(&pace, &defaults, 1000 * MS, 1001 * MS, true, 0), 499 * MS);
    assert_int_equal(pace_next_ns(&pace, &defaults, 1500 * MS, 3500 * MS, true, 0), 0);
    assert_int_equal(pace_next_ns(&pace, &defaults, 3500 * MS, 3600 * MS, true, 0), 400 * MS);
    assert_int_equal(pace_next_ns(&pace, &defaults, 4000 * MS, 4001 * MS, true, 0), 1999 * MS); /* the fourth waits for its place */
    assert_int_equal(pace_next_ns(&pace, &defaults, 6000 * MS, 6001 * MS, false, 0), 4999 * MS);
    assert_int_equal(pace_next_ns(&pace, &defaults, 11000 * MS, 11001 * MS, true, 0), 499 * MS); /* settled meanwhile: anew */
}

/* A fast_interval longer than the interval never delays anything. */
static void test_fast_is_never_slow(void **state)
{
    struct pace pace = { .due_ns = 1000 * MS };
    const struct pace_options options = { 100 * MS, 500 * MS, 3 };
    (void)state;
    assert_int_equal(pace_next_ns(&pace, &options, 1000 * MS, 1001 * MS, true, 0), 99 * MS);
}

static void test_extra_rounds_leave_the_grid(void **state)
{
    struct pace pace = { .due_ns = 6000 * MS, .extra = true };
    (void)state;
    assert_int_equal(pace_next_ns(&pace, &defaults, 3000 * MS, 3001 * MS, false, 0), 2999 * MS);
    assert_int_equal(pace_skip_ns(&pace, &defaults, 6500 * MS, 7000 * MS), 500 * MS);
    assert_int_equal(pace_next_ns(&pace, &defaults, 7000 * MS, 7001 * MS, false, 0), 3999 * MS);
}

/*
 * Three checks at the defaults, evenly spread; the server hangs at any moment, and each round takes its whole timeout from then on. When is the
 * first check in state fail? Also with the worst of jitter between two checks.
 */
static uint64_t hang_to_fail_ms(uint64_t hang_ms, int64_t jitter_ms)
{
    uint64_t best = UINT64_MAX;
    for (uint64_t check = 0; check < 3; check++) {
        struct pace pace = { .due_ns = (100000 + check * 5000 / 3) * MS };
        struct health health = { .state = STATE_PASS, .passed_once = true };
        const struct health_policy policy = { 1, 2, 2 };
        uint64_t now = pace.due_ns;
        while (health.state != STATE_FAIL) {
            uint64_t started = now;
            bool hung = started >= hang_ms * MS;
            now += hung ? 2000 * MS : MS;
            health_round(&health, &policy, hung ? RESULT_FAIL : RESULT_PASS);
            if (health.state != STATE_FAIL)
                now +=
                    pace_next_ns(&pace, &defaults, started, now, health_contradicted(&health), check ? jitter_ms * (int64_t)MS : 0);
        }
        if (now / MS - hang_ms < best)
            best = now / MS - hang_ms;
    }
    return best;
}

static void test_a_hung_server_is_out_within_six_seconds(void **state)
{
    uint64_t worst = 0, sum = 0, count = 0;
    (void)state;
    for (uint64_t hang = 110000; hang < 115000; hang += 10, count++) {
        uint64_t took = hang_to_fail_ms(hang, 0);
        worst = took > worst ? took : worst;
        sum += took;
    }
    print_message("state fail after %u ms on average, %u ms at worst\n", (unsigned)(sum / count), (unsigned)worst);
    assert_in_range(worst, 4000, 6000);
    assert_in_range(sum / count, 4000, 5000);
}

/* A server that is busy for less than two timeouts loses no round twice. */
static void test_a_short_pause_is_no_failure(void **state)
{
    (void)state;
    for (uint64_t from = 100000; from < 105000; from += 50) {
        struct pace pace = { .due_ns = 100000 * MS };
        struct health health = { .state = STATE_PASS, .passed_once = true };
        const struct health_policy policy = { 1, 2, 2 };
        uint64_t now = pace.due_ns, until = from + 3900;
        for (int round = 0; round < 8; round++) {
            uint64_t started = now, answered = started >= from * MS && started < until * MS ? until * MS : started + MS;
            bool failed = answered - started > 2000 * MS;
            now = failed ? started + 2000 * MS : answered;
            health_round(&health, &policy, failed ? RESULT_FAIL : RESULT_PASS);
            assert_int_equal(health.state, STATE_PASS);
            now += pace_next_ns(&pace, &defaults, started, now, health_contradicted(&health), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_grid),
        cmocka_unit_test(test_fast_rounds),
        cmocka_unit_test(test_fast_is_never_slow),
        cmocka_unit_test(test_extra_rounds_leave_the_grid),
        cmocka_unit_test(test_a_hung_server_is_out_within_six_seconds),
        cmocka_unit_test(test_a_short_pause_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
