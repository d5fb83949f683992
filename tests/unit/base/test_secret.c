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

/* What comes back from a server that quotes the request, in the encodings that servers and their loggers use. */
static void test_every_form(void **state)
{
    (void)state;
    secret_add("ab+c/d=e \"f\\&g");
    assert_scrubbed("[ab+c/d=e \"f\\&g]", "[***]");
    assert_scrubbed("?t=ab%2Bc%2Fd%3De%20%22f%5C%26g&x=1", "?t=***&x=1");
    assert_scrubbed("?t=ab%2bc%2fd%3de%20%22f%5c%26g&x=1", "?t=***&x=1");
    assert_scrubbed("?t=ab%2Bc/d=e+%22f%5C%26g HTTP/1.1", "?t=*** HTTP/1.1"); /* a proxy that encodes less */
    assert_scrubbed("{\"t\":\"ab+c\\/d=e \\\"f\\\\&g\"}", "{\"t\":\"***\"}");
    assert_scrubbed("{\"t\":\"ab\\u002bc/d\\u003de \\u0022f\\u005c\\u0026g\"}", "{\"t\":\"***\"}");
    assert_scrubbed("<p>ab+c/d=e &quot;f\\&amp;g</p>", "<p>***</p>");
    secret_add("%41%42x+y");
    assert_scrubbed("plain %41%42x+y", "plain ***");
    assert_scrubbed("sent %2541%2542x%2By", "sent ***");
    assert_scrubbed("100% of \\ and & and +", "100% of \\ and & and +");
}

static void test_a_secret_that_was_cut(void **state)
{
    (void)state;
    secret_add("abcdefgh+ijklmnopqrstuvwxyz");
    assert_scrubbed("bad token abcdefgh", "bad token ***");
    assert_scrubbed("bad token abcdefgh%2Bij", "bad token ***");
    assert_scrubbed("bad token abcdefgh%2", "bad token ***");
    assert_scrubbed("bad token abcdefgh%", "bad token ***");
    assert_scrubbed("bad token abcdefghi\\u00", "bad token abcdefghi\\u00"); /* not its beginning: i is not + */
    assert_scrubbed("bad token abcdefgh\\u00", "bad token ***");
    assert_scrubbed("bad token abcdefgh+i\xe2\x80\xa6 and more", "bad token ***\xe2\x80\xa6 and more");
    assert_scrubbed("bad token abcdefgh+i... and more", "bad token ***... and more");
    secret_add("sentinel-password");
    assert_scrubbed("mode: sentinel wants sentinel.master", "mode: sentinel wants sentinel.master");
    assert_scrubbed("'abcdefgh' is a word", "'abcdefgh' is a word");
    assert_scrubbed("bad token abcdefg", "bad token abcdefg");
    assert_int_equal(secret_span(slice_str("abcdefgh")), 8);
}

/* What is lent is masked until it is returned, by all who have lent it; what is there for good stays. */
static void test_loans(void **state)
{
    struct secret_loan a = { 0 }, b = { 0 };
    char text[256];
    (void)state;
    secret_add("forever-secret");
    secret_lend(&a, "derived-one");
    secret_lend(&b, "derived-one");
    secret_lend(&a, "forever-secret");
    secret_lend(&a, "abc");
    secret_return(&a);
    snprintf(text, sizeof text, "derived-one forever-secret abc");
    secret_scrub(text);
    assert_string_equal(text, "*** *** abc");
    secret_return(&b);
    snprintf(text, sizeof text, "derived-one forever-secret");
    secret_scrub(text);
    assert_string_equal(text, "derived-one ***");
    /* a loan has a ceiling, and never pushes out what is there for good */
    for (int i = 0; i < SECRET_COUNT_MAX + 10; i++) {
        snprintf(text, sizeof text, "response-%04d", i);
        secret_lend(&a, text);
    }
    assert_int_equal(a.count, SECRET_LOAN_MAX);
    snprintf(text, sizeof text, "forever-secret response-0001 response-%04d", SECRET_COUNT_MAX + 9);
    secret_scrub(text);
    assert_string_equal(text, "*** response-0001 ***");
    secret_lend(&b, "becomes-known");
    secret_add("becomes-known");
    secret_return(&b);
    secret_return(&a);
    snprintf(text, sizeof text, "becomes-known");
    secret_scrub(text);
    assert_string_equal(text, "***");
    secret_forget_all();
}

/* What `Authorization: Basic` and SASL make of it: three ways to lie between other bytes, two alphabets, with and without padding. */
static void test_base64(void **state)
{
    (void)state;
    secret_add("s3cr?t>~key");
    assert_scrubbed("czNjcj90Pn5rZXk=", "***");                              /* alone */
    assert_scrubbed("Basic YTpzM2NyP3Q-fmtleQ", "Basic YT***");              /* a:… */
    assert_scrubbed("Basic YWI6czNjcj90Pn5rZXk6eg==", "Basic YWI6***6eg=="); /* ab:…:z */
    assert_scrubbed("Basic YWJjOnMzY3I/dD5+a2V5", "Basic YWJjO***");
    assert_scrubbed("t=YWJjOnMzY3I%2FdD5%2Ba2V5&x=1", "t=YWJjO***&x=1");
    assert_scrubbed("{\"t\":\"YTpzM2NyP3Q\\u002bfmtleQ\"}", "{\"t\":\"YT***\"}");
    assert_scrubbed("{\"t\":\"YWJjOnMzY3I\\/dD5+a2V5\"}", "{\"t\":\"YWJjO***\"}");
    assert_scrubbed("cut: YWJjOnMzY3I/dD5\xe2\x80\xa6", "cut: YWJjO***\xe2\x80\xa6");
    assert_scrubbed("YWJjOnMzY3IvdD5", "YWJjOnMzY3IvdD5");
}

/* Every byte before and behind it, at every length: nothing of its inside is left. */
static void test_base64_between_all_bytes(void **state)
{
    static const char secret[] = "Zq9-_w+/7Kxv", digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    (void)state;
    secret_add(secret);
    for (size_t before = 0; before < 7; before++)
        for (size_t behind = 0; behind < 7; behind++) {
            uint8_t bytes[64] = { 0 };
            char text[96] = "", *at = text;
            size_t len = before + sizeof secret - 1 + behind;
            memset(bytes, (int)('a' + before), before);
            memcpy(bytes + before, secret, sizeof secret - 1);
            memset(bytes + before + sizeof secret - 1, (int)('p' + behind), behind);
            for (size_t bit = 0; bit < len * 8; bit += 6)
                *at++ = digits[((unsigned)bytes[bit / 8] << 8 | bytes[bit / 8 + 1]) >> (10 - bit % 8) & 63];
            secret_scrub(text);
            assert_non_null(strstr(text, "***"));
            assert_true(strlen(text) <= (before * 8 + 5) / 6 + 3 + (behind * 8 + 5) / 6);
        }
}

static void test_one_that_is_used_stays(void **state)
{
    char value[32];

    (void)state;
    for (int i = 0; i < 10 * SECRET_COUNT_MAX; i++) {
        secret_add("configured");
        snprintf(value, sizeof value, "minted-%05d", i);
        secret_add(value);
    }
    assert_scrubbed("configured minted-00000 minted-02559", "*** minted-00000 ***");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loans),
        cmocka_unit_test_teardown(test_every_occurrence, forget),
        cmocka_unit_test_teardown(test_overlaps_leave_no_rest, forget),
        cmocka_unit_test_teardown(test_spans, forget),
        cmocka_unit_test_teardown(test_short_values_are_not_taken, forget),
        cmocka_unit_test_teardown(test_every_form, forget),
        cmocka_unit_test_teardown(test_a_secret_that_was_cut, forget),
        cmocka_unit_test_teardown(test_base64, forget),
        cmocka_unit_test_teardown(test_base64_between_all_bytes, forget),
        cmocka_unit_test_teardown(test_one_that_is_used_stays, forget),
        cmocka_unit_test_teardown(test_the_oldest_is_forgotten, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
