/* Errors: terminated, whole characters, no control characters, no secrets, and safe to build from themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/base/err.h"
#include "agent/base/secret.h"

static void test_set_fills_and_returns(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(err_set(&err, REASON_UPGRADE_REFUSED, 503, "status %d, want %d", 503, 101), -1);
    assert_int_equal(err.reason, REASON_UPGRADE_REFUSED);
    assert_int_equal(err.code, 503);
    assert_string_equal(err.text, "status 503, want 101");
    assert_int_equal(err_set(NULL, REASON_NONE, 0, "nobody listens"), -1);
    err_clear(&err);
    assert_int_equal(err.reason, REASON_NONE);
    assert_string_equal(err.text, "");
}

static void test_control_characters_are_replaced(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, REASON_NONE, 0, "a\nb\x1b[31mc\x7f\xc2\x9bz");
    assert_string_equal(err.text, "a b [31mc   z");
    err_set(&err, REASON_NONE, 0, "gr\xc3\xbc\xc3\x9f \xff");
    assert_string_equal(err.text, "gr\xc3\xbc\xc3\x9f \xff");
}

static void test_prefix_goes_in_front_and_keeps_the_rest(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, REASON_DNS_FAILURE, 7, "no such name");
    assert_int_equal(err_prefix(&err, "check '%s'", "echo"), -1);
    assert_string_equal(err.text, "check 'echo': no such name");
    assert_int_equal(err.reason, REASON_DNS_FAILURE);
    assert_int_equal(err.code, 7);
    assert_int_equal(err_prefix(NULL, "x"), -1);
}

static void test_an_error_may_be_built_from_itself(void **state)
{
    (void)state;
    struct err err;
    err_set(&err, REASON_NONE, 0, "inner");
    err_set(&err, REASON_NONE, 0, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
}

static void test_long_texts_are_cut_at_a_character(void **state)
{
    (void)state;
    struct err err;
    for (int shift = 0; shift < 4; shift++) {
        char text[1200] = "abc";
        size_t len = (size_t)shift;
        while (len + 4 < sizeof text) {
            memcpy(text + len, "\xe2\x82\xac", 3);
            len += 3;
        }
        text[len] = '\0';
        err_set(&err, REASON_NONE, 0, "%s", text);
        size_t kept = strlen(err.text);
        assert_in_range(kept, ERR_TEXT_MAX - 4, ERR_TEXT_MAX - 1);
        assert_int_equal((kept - (size_t)shift) % 3, 0);
        err_prefix(&err, "prefix");
        assert_memory_equal(err.text, "prefix: ", 8);
    }
}

static void test_secrets_are_masked_even_across_the_cut(void **state)
{
    (void)state;
    struct err err;
    char filler[ERR_TEXT_MAX];
    secret_add("hunter2-hunter2");
    err_set(&err, REASON_NONE, 0, "token hunter2-hunter2 refused");
    assert_string_equal(err.text, "token *** refused");
    memset(filler, 'x', sizeof filler);
    filler[sizeof filler - 6] = '\0';
    err_set(&err, REASON_NONE, 0, "%shunter2-hunter2", filler);
    assert_null(strstr(err.text, "hunt"));
    secret_forget_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_fills_and_returns),
        cmocka_unit_test(test_control_characters_are_replaced),
        cmocka_unit_test(test_prefix_goes_in_front_and_keeps_the_rest),
        cmocka_unit_test(test_an_error_may_be_built_from_itself),
        cmocka_unit_test(test_long_texts_are_cut_at_a_character),
        cmocka_unit_test(test_secrets_are_masked_even_across_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
