/* Randomness: every size is filled, the pool does not repeat itself, and random_below stays in its range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/base/random.h"

static void test_every_size_is_filled(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 1024; len += 31) {
        uint8_t bytes[1024 + 4], seen[1024] = { 0 };
        /* Over eight rounds a byte that is never written stays zero; one that is written does not (but for 1 in 2^64). */
        for (int round = 0; round < 8; round++) {
            memset(bytes, 0, sizeof bytes);
            random_bytes(bytes, len);
            for (size_t i = 0; i < len; i++)
                seen[i] |= bytes[i];
            for (size_t i = len; i < len + 4; i++)
                assert_int_equal(bytes[i], 0);
        }
        for (size_t i = 0; i < len; i++)
            assert_int_not_equal(seen[i], 0);
    }
    random_bytes(NULL, 0);
}

static void test_no_repetition_across_refills(void **state)
{
    (void)state;
    uint64_t values[256];
    for (size_t i = 0; i < 256; i++) {
        random_bytes(&values[i], sizeof values[i]);
        for (size_t j = 0; j < i; j++)
            assert_true(values[i] != values[j]);
    }
}

static void test_below(void **state)
{
    (void)state;
    unsigned counts[6] = { 0 };
    assert_int_equal(random_below(0), 0);
    assert_int_equal(random_below(1), 0);
    for (int i = 0; i < 6000; i++) {
        uint32_t value = random_below(6);
        assert_true(value < 6);
        counts[value]++;
    }
    for (int i = 0; i < 6; i++)
        assert_in_range(counts[i], 700, 1300); /* ten standard deviations */
    for (int i = 0; i < 100; i++)
        assert_true(random_below(UINT32_MAX) < UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size_is_filled),
        cmocka_unit_test(test_no_repetition_across_refills),
        cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
