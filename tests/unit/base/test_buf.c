/* Buffers: the ceiling holds for every way of appending, and a refused append changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/base/buf.h"
#include "agent/base/mem.h"

static void test_empty_owns_nothing(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(10);
    assert_null(buf.data);
    assert_string_equal(buf_str(&buf), "");
    assert_int_equal(buf_slice(&buf).len, 0);
    assert_int_equal(buf_append(&buf, NULL, 0), 0);
    assert_null(buf.data);
    buf_fini(&buf);
}

static void test_appending(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    assert_int_equal(buf_append_str(&buf, "ab"), 0);
    assert_int_equal(buf_append_char(&buf, 'c'), 0);
    assert_int_equal(buf_append_slice(&buf, slice_make("\0d", 2)), 0);
    assert_int_equal(buf_printf(&buf, "%d%s", 42, "!"), 0);
    assert_memory_equal(buf.data, "abc\0d42!", 8);
    assert_int_equal(buf.len, 8);
    buf_fini(&buf);
    assert_int_equal(buf.max, 1000);
    assert_int_equal(buf_append_str(&buf, "again"), 0);
    assert_string_equal(buf_str(&buf), "again");
    buf_fini(&buf);
}

static void test_the_ceiling_holds(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(5);
    assert_int_equal(buf_append_str(&buf, "abc"), 0);
    assert_int_equal(buf_append_str(&buf, "def"), -1);
    assert_int_equal(buf_printf(&buf, "%d", 123), -1);
    assert_null(buf_reserve(&buf, 3));
    assert_null(buf_reserve(&buf, SIZE_MAX));
    assert_string_equal(buf_str(&buf), "abc");
    assert_int_equal(buf_printf(&buf, "%d", 12), 0);
    assert_int_equal(buf_append_char(&buf, 'x'), -1);
    assert_string_equal(buf_str(&buf), "abc12");
    assert_int_equal(buf.len, 5);
    buf_fini(&buf);

    struct buf none = BUF_INIT(0);
    assert_int_equal(buf_append_char(&none, 'x'), -1);
    assert_string_equal(buf_str(&none), "");
    buf_fini(&none);
}

static void test_growing_through_every_size(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(10000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_append_char(&buf, (char)('a' + i % 26)), 0);
    assert_int_equal(buf_append_char(&buf, 'x'), -1);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf.data[i], 'a' + i % 26);
    assert_int_equal(strlen(buf_str(&buf)), 10000);
    buf_fini(&buf);
}

static void test_printf_through_every_size(void **state)
{
    (void)state;
    for (int len = 0; len < 300; len++) {
        struct buf buf = BUF_INIT(300);
        assert_int_equal(buf_append_str(&buf, "x"), 0);
        assert_int_equal(buf_printf(&buf, "%*s", len, ""), 0);
        assert_int_equal(buf.len, 1 + len);
        assert_int_equal(strlen(buf_str(&buf)), 1 + len);
        buf_fini(&buf);
    }
}

static void test_reserve_and_consume(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(100);
    uint8_t *at = buf_reserve(&buf, 100);
    assert_non_null(at);
    memcpy(at, "hello", 5);
    buf.len += 5;
    buf_consume(&buf, 2);
    assert_string_equal(buf_str(&buf), "llo");
    buf_consume(&buf, 0);
    buf_consume(&buf, 3);
    assert_int_equal(buf.len, 0);
    assert_non_null(buf_reserve(&buf, 0));
    size_t cap = buf.cap;
    buf_reset(&buf);
    assert_int_equal(buf.cap, cap);
    buf_fini(&buf);
}

static void test_wiping(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(100);
    buf_wipe(&buf); /* nothing in it */
    buf_append_str(&buf, "secret");
    buf_wipe(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf_append_str(&buf, "again"), 0);
    buf_wipe(&buf);
    mem_free_secret(NULL);
    mem_free_secret(mem_strdup("secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wiping),
        cmocka_unit_test(test_empty_owns_nothing),
        cmocka_unit_test(test_appending),
        cmocka_unit_test(test_the_ceiling_holds),
        cmocka_unit_test(test_growing_through_every_size),
        cmocka_unit_test(test_printf_through_every_size),
        cmocka_unit_test(test_reserve_and_consume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
