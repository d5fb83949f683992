/* How long a reader rests between batches (agent/core/rest.h): a small group is never late, a flood never waits in a queue that is too small. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/rest.h"

/* So many messages a second, evenly, for a minute, read after each rest. The longest rest, and the largest batch of the last half. */
static void play(unsigned a_second, unsigned *longest_ms, size_t *largest)
{
    struct rest rest = { 0 };
    uint64_t begun_ms = 5000, now_ms = begun_ms, taken = 0;

    *longest_ms = 0, *largest = 0;
    while (now_ms < begun_ms + 60000) {
        uint64_t there = (now_ms - begun_ms) * a_second / 1000;
        size_t count = (size_t)(there - taken);
        unsigned ms = count ? rest_after_ms(&rest, count, now_ms) : 0;

        taken = there;
        if (now_ms > begun_ms + 30000 && count > *largest)
            *largest = count;
        if (ms > *longest_ms)
            *longest_ms = ms;
        now_ms += ms ? ms : 1;
    }
}

static void test_a_small_group_is_never_late(void **state)
{
    struct rest rest = { 0 };
    unsigned longest_ms;
    size_t largest;

    (void)state;
    play(REST_OFTEN, &longest_ms, &largest);
    assert_int_equal(longest_ms, 0);
    assert_int_equal(largest, 1);
    for (unsigned i = 0; i < REST_BURST; i++) /* all of them answer one question */
        assert_int_equal(rest_after_ms(&rest, 1, 70000), 0);
    assert_int_not_equal(rest_after_ms(&rest, 1, 70000), 0);
}

static void test_many_come_in_batches(void **state)
{
    unsigned longest_ms;
    size_t largest;

    (void)state;
    play(200, &longest_ms, &largest);
    assert_int_equal(longest_ms, BROKER_BATCH_MS);
    assert_int_equal(largest, 200 * BROKER_BATCH_MS / 1000);
}

static void test_a_flood_is_read_sooner(void **state)
{
    unsigned longest_ms;
    size_t largest;

    (void)state;
    play(100000, &longest_ms, &largest);
    assert_true(largest > REST_MANY && largest <= 4 * REST_MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_group_is_never_late),
        cmocka_unit_test(test_many_come_in_batches),
        cmocka_unit_test(test_a_flood_is_read_sooner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
