/* Slices: empty ones, bytes that are no text, searching, and ASCII case without a locale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/slice.h"

static void test_making(void **state)
{
    (void)state;
    const uint8_t bytes[] = { 1, 2, 3 };
    assert_int_equal(slice_of(bytes).len, 3);
    assert_int_equal(slice_str(NULL).len, 0);
    assert_int_equal(slice_str("abc").len, 3);
}

static void test_equality(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_str(""), slice_make(NULL, 0)));
    assert_true(slice_equal(slice_make("a\0b", 3), slice_make("a\0b", 3)));
    assert_false(slice_equal(slice_make("a\0b", 3), slice_make("a\0c", 3)));
    assert_false(slice_equal_str(slice_make("ab\0", 3), "ab"));
    assert_true(slice_equal_nocase(slice_str("WebSocket"), "websocket"));
    assert_false(slice_equal_nocase(slice_str("WebSocket"), "websockets"));
    /* @ and [ surround the capitals; they are not letters. */
    assert_false(slice_equal_nocase(slice_str("@"), "`"));
    assert_false(slice_equal_nocase(slice_str("["), "{"));
}

static void test_finding(void **state)
{
    (void)state;
    assert_int_equal(slice_find(slice_str("hello"), slice_str("llo")), 2);
    assert_int_equal(slice_find(slice_str("hello"), slice_str("")), 0);
    assert_int_equal(slice_find(slice_make(NULL, 0), slice_str("")), 0);
    assert_int_equal(slice_find(slice_make(NULL, 0), slice_str("x")), -1);
    assert_int_equal(slice_find(slice_str("aab"), slice_str("ab")), 1);
    assert_int_equal(slice_find(slice_make("a\0b", 3), slice_make("\0b", 2)), 1);
    assert_int_equal(slice_find(slice_str("hello"), slice_str("hello!")), -1);
}

static void test_skipping_and_trimming(void **state)
{
    (void)state;
    assert_true(slice_equal_str(slice_skip(slice_str("abc"), 2), "c"));
    assert_int_equal(slice_skip(slice_str("abc"), 9).len, 0);
    assert_int_equal(slice_skip(slice_make(NULL, 0), 1).len, 0);
    assert_true(slice_equal_str(slice_trim(slice_str(" \t a b\t ")), "a b"));
    assert_int_equal(slice_trim(slice_str(" \t ")).len, 0);
    assert_true(slice_equal_str(slice_trim(slice_str("\na\n")), "\na\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_making),
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_finding),
        cmocka_unit_test(test_skipping_and_trimming),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
