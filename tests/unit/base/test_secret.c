/* Secrets: every occurrence goes, overlaps leave no rest, short values mask nothing, the oldest is forgotten first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/secret.h"

static void assert_scrubbed(const char *text, const char *want)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", text);
    secret_scrub(copy);
    assert_string_equal(copy, want);
}

static int forget(void **state)
{
    (void)state;
    secret_forget_all();
    return 0;
}

static void test_every_occurrence(void **state)
{
    (void)state;
    assert_scrubbed("nothing registered", "nothing registered");
    secret_add("s3cret");
    secret_add("s3cret");
    assert_scrubbed("s3cret and s3crets3cret, s3cre", "*** and ******, s3cre");
    assert_scrubbed("", "");
    assert_scrubbed("xs3cret", "x***");
    secret_forget_all();
    assert_scrubbed("s3cret", "s3cret");
}

static void test_overlaps_leave_no_rest(void **state)
{
    (void)state;
    secret_add("abcdef");
    secret_add("defghi");
    secret_add("abcdefgh");
    secret_add("cdef");
    assert_scrubbed("1 abcdefghi 2", "1 *** 2");
    assert_scrubbed("abcdefXdefghi", "***X***");
}

static void test_spans(void **state)
{
    (void)state;
    secret_add("abcdef");
    secret_add("defghi");
    assert_int_equal(secret_span(slice_str("abcdefghi!")), 9);
    assert_int_equal(secret_span(slice_str("xabcdef")), 0);
    assert_int_equal(secret_span(slice_make("abcdef", 5)), 0);
    assert_int_equal(secret_span(slice_make(NULL, 0)), 0);
}

static void test_short_values_are_not_taken(void **state)
{
    (void)state;
    secret_add(NULL);
    secret_add("");
    secret_add("abc");
    assert_scrubbed("abc", "abc");
    secret_add("abcd");
    assert_scrubbed("abcd abc", "*** abc");
}

static void test_the_oldest_is_forgotten(void **state)
{
    (void)state;
    char value[32];
    for (int i = 0; i <= SECRET_COUNT_MAX; i++) {
        snprintf(value, sizeof value, "token-%04d", i);
        secret_add(value);
    }
    assert_scrubbed("token-0000 token-0001 token-0256", "token-0000 *** ***");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_occurrence, forget),
        cmocka_unit_test_teardown(test_overlaps_leave_no_rest, forget),
        cmocka_unit_test_teardown(test_spans, forget),
        cmocka_unit_test_teardown(test_short_values_are_not_taken, forget),
        cmocka_unit_test_teardown(test_the_oldest_is_forgotten, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
