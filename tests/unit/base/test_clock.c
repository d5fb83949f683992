/* Clocks: the real ones move, the fake ones stand, and stamps are right before and after 1970. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/clock.h"

static void test_the_real_clocks(void **state)
{
    (void)state;
    uint64_t before = clock_now_ns();
    assert_true(clock_now_ns() >= before);
    assert_true(clock_boot_ns() > 0);
    assert_true(clock_wall_ms() > INT64_C(1600000000000));
    assert_true(clock_now_ms() >= before / 1000000);
}

static void test_the_fake_clock(void **state)
{
    (void)state;
    struct clock_fake fake = { 5000000, 7000000, 42 };
    clock_set_fake(&fake);
    assert_int_equal(clock_now_ns(), 5000000);
    assert_int_equal(clock_now_ms(), 5);
    assert_int_equal(clock_boot_ns(), 7000000);
    assert_int_equal(clock_wall_ms(), 42);
    clock_set_fake(NULL);
    assert_true(clock_wall_ms() > 42);
}

static void test_stamps(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        { 0, "1970-01-01T00:00:00.000Z" },
        { INT64_C(1795341600000), "2026-11-22T10:00:00.000Z" },
        { INT64_C(1709164799999), "2024-02-28T23:59:59.999Z" },
        { INT64_C(1709164800000), "2024-02-29T00:00:00.000Z" },
        { -1, "1969-12-31T23:59:59.999Z" },
        { -1000, "1969-12-31T23:59:59.000Z" },
        { INT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[CLOCK_STAMP_MAX];
        clock_stamp(rows[i].ms, out, sizeof out);
        assert_string_equal(out, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_real_clocks),
        cmocka_unit_test(test_the_fake_clock),
        cmocka_unit_test(test_stamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
