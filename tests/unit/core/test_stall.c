/* The stall guard's measurements, on clocks that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/core/stall.h"

enum { MS = 1000000 };

static struct clock_fake fake;
static uint64_t ticked_late_ms;

static void on_tick(void *user, uint64_t late_ms)
{
    (void)user;
    ticked_late_ms = late_ms;
}

static void pass_ms(uint64_t running, uint64_t suspended)
{
    fake.mono_ns += running * MS;
    fake.boot_ns += (running + suspended) * MS;
    clock_set_fake(&fake);
}

/* As the loop would, when it gets to run. */
static void tick(struct stall *stall)
{
    stall->timer.fn(&stall->timer, stall->timer.user);
}

static int setup(void **state)
{
    static struct loop loop;
    static struct stall stall;
    struct err err;

    fake = (struct clock_fake){ 1000ull * MS, 5000ull * MS, 0 };
    clock_set_fake(&fake);
    assert_int_equal(loop_init(&loop, &err), 0);
    stall_init(&stall, &loop, on_tick, NULL);
    *state = &stall;
    return 0;
}

static int teardown(void **state)
{
    struct stall *stall = *state;
    struct loop *loop = stall->timer.loop;

    stall_fini(stall);
    clock_set_fake(NULL);
    loop_fini(loop);
    return 0;
}

static void test_on_time(void **state)
{
    struct stall *stall = *state;

    for (int i = 0; i < 100; i++) {
        pass_ms(STALL_TICK_MS + 3, 0);
        tick(stall);
    }
    assert_int_equal(stall->stalls, 0);
    assert_in_range(stall_late_ms(stall, 0), 0, 10);
}

/* Late at this very moment, before any tick could say so: events are handled first after a SIGCONT. */
static void test_late_now(void **state)
{
    struct stall *stall = *state;

    pass_ms(10000, 0);
    assert_int_equal(stall_late_ms(stall, fake.mono_ns - 1), 10000 - STALL_TICK_MS);
}

static void test_gap_is_remembered_for_rounds_that_span_it(void **state)
{
    struct stall *stall = *state;
    uint64_t before_ns = fake.mono_ns, after_ns;

    pass_ms(10000, 0);
    tick(stall);
    assert_int_equal(ticked_late_ms, 10000 - STALL_TICK_MS);
    assert_int_equal(stall->stalls, 1);
    after_ns = fake.mono_ns;
    pass_ms(STALL_TICK_MS, 0);
    tick(stall);
    assert_int_equal(stall_late_ms(stall, before_ns), 10000 - STALL_TICK_MS);
    assert_int_equal(stall_late_ms(stall, after_ns), 0);
}

/* A suspended host: the monotonic clock stood still, the boot clock did not. */
static void test_suspended_host(void **state)
{
    struct stall *stall = *state;

    pass_ms(STALL_TICK_MS, 3600000);
    tick(stall);
    assert_int_equal(ticked_late_ms, 3600000);
    assert_int_equal(stall->stalls, 1);
}

static void test_old_gaps_are_forgotten(void **state)
{
    struct stall *stall = *state;

    pass_ms(2000, 0);
    tick(stall);
    for (int i = 0; i < STALL_GAPS; i++) {
        pass_ms(STALL_TICK_MS + STALL_GAP_MIN_MS + 10, 0);
        tick(stall);
    }
    assert_int_equal(stall_late_ms(stall, 0), STALL_GAP_MIN_MS + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_on_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_now, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gap_is_remembered_for_rounds_that_span_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_suspended_host, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_gaps_are_forgotten, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
