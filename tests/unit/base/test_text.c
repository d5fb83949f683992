/* Durations, sizes, numbers, near names and excerpts, with the spellings that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/secret.h"
#include "agent/base/text.h"

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        { "250ms", 250 },      { "2s", 2000 },   { "1m30s", 90000 },   { "24h", 86400000 },
        { "14d", 1209600000 }, { "0s", 0 },      { "0ms", 0 },         { "1d2h3m4s5ms", 93784005 },
        { "007s", 7000 },      { "90s", 90000 }, { "1h1ms", 3600001 },
    };
    static const char *const bad[] = { "",
                                       "0",
                                       "5",
                                       "s",
                                       "5 s",
                                       " 5s",
                                       "5s ",
                                       "-5s",
                                       "+5s",
                                       "1.5s",
                                       "5S",
                                       "5sec",
                                       "1s1m",
                                       "1s1s",
                                       "1m30",
                                       "5ms1s",
                                       "99999999999999999999s",
                                       "9223372036854775807d",
                                       "5s\n" };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ms = -1;
        assert_int_equal(text_parse_duration(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = -1;
        assert_int_equal(text_parse_duration(bad[i], &ms), -1);
        assert_int_equal(ms, -1);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    int64_t n = -1;
    assert_int_equal(text_parse_size("64KiB", &n), 0);
    assert_int_equal(n, 65536);
    assert_int_equal(text_parse_size("1MiB", &n), 0);
    assert_int_equal(n, 1 << 20);
    assert_int_equal(text_parse_size("0B", &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(text_parse_size("2GiB", &n), 0);
    assert_int_equal(n, INT64_C(2) << 30);
    static const char *const bad[] = {
        "", "64", "64K", "64kib", "64KB", "1MiB1B", "MiB", "-1B", "1 B", "9999999999999999999B", "9223372036854775807KiB"
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(text_parse_size(bad[i], &n), -1);
}

static void test_integers(void **state)
{
    (void)state;
    int64_t n;
    assert_int_equal(text_parse_int("-42", &n), 0);
    assert_int_equal(n, -42);
    assert_int_equal(text_parse_int("9223372036854775807", &n), 0);
    assert_true(n == INT64_MAX);
    static const char *const bad[] = { "", "-", "+1", "1 ", " 1", "0x10", "1e3", "9223372036854775808", "--1", "1.0" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(text_parse_int(bad[i], &n), -1);
}

static void test_formats_read_back(void **state)
{
    (void)state;
    static const int64_t values[] = { 0, 1, 999, 1000, 1500, 9999, 10000, 10001, 90000, 3600000, 86400000, 93784005, INT64_MAX };
    char out[32];
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        int64_t back = -1;
        text_format_duration(values[i], out, sizeof out);
        assert_int_equal(text_parse_duration(out, &back), 0);
        assert_true(back == values[i]);
        text_format_size(values[i], out, sizeof out);
        assert_int_equal(text_parse_size(out, &back), 0);
        assert_true(back == values[i]);
    }
    text_format_duration(90000, out, sizeof out);
    assert_string_equal(out, "1m30s");
    text_format_duration(1500, out, sizeof out);
    assert_string_equal(out, "1500ms");
    text_format_duration(-2000, out, sizeof out);
    assert_string_equal(out, "-2s");
    text_format_duration(INT64_MIN, out, sizeof out);
    assert_int_equal(out[0], '-');
    text_format_size(65536, out, sizeof out);
    assert_string_equal(out, "64KiB");
    text_format_size(1000, out, sizeof out);
    assert_string_equal(out, "1000B");
}

static void test_elapsed(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {
        { 0, "0.00ms" },        { 50000, "0.05ms" },     { 1230000, "1.23ms" },    { 9994000, "9.99ms" },
        { 9996000, "10.0ms" },  { 45600000, "45.6ms" },  { 99960000, "100ms" },    { 999400000, "999ms" },
        { 999600000, "1.00s" }, { 2000000000, "2.00s" }, { 12340000000, "12.3s" }, { UINT64_C(123400000000), "123s" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[32];
        text_format_elapsed(rows[i].ns, out, sizeof out);
        assert_string_equal(out, rows[i].text);
    }
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const keys[] = { "timeout", "interval", "type", "tls", "url" };
    const size_t n = sizeof keys / sizeof keys[0];
    assert_string_equal(text_nearest("timout", keys, n), "timeout");
    assert_string_equal(text_nearest("tiemout", keys, n), "timeout");
    assert_string_equal(text_nearest("timeouts", keys, n), "timeout");
    assert_string_equal(text_nearest("itnerval", keys, n), "interval");
    assert_string_equal(text_nearest("tpye", keys, n), "type");
    assert_string_equal(text_nearest("tls", keys, n), "tls");
    assert_null(text_nearest("x", keys, n));
    assert_null(text_nearest("", keys, n));
    assert_null(text_nearest("headers", keys, n));
    assert_null(text_nearest("ul", keys, n)); /* one edit is half of it */
    assert_null(text_nearest("timeout", NULL, 0));
    char longer[200];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_null(text_nearest(longer, keys, n));
}

static void assert_excerpt(struct slice bytes, size_t max_chars, const char *want)
{
    char out[64];
    text_excerpt(bytes, max_chars, out, sizeof out);
    assert_string_equal(out, want);
}

static void test_excerpts(void **state)
{
    (void)state;
    assert_excerpt(slice_str("hello"), 80, "hello");
    assert_excerpt(slice_str("hello"), 5, "hello");
    assert_excerpt(slice_str("hello"), 4, "hel…");
    assert_excerpt(slice_make(NULL, 0), 4, "");
    assert_excerpt(slice_str("a\nb\x1b"), 80, "a\\x0ab\\x1b");
    assert_excerpt(slice_make("\0\xff", 2), 80, "\\x00\\xff");
    assert_excerpt(slice_str("gr\xc3\xbc\xc3\x9f"), 4, "gr\xc3\xbc\xc3\x9f");
    assert_excerpt(slice_str("gr\xc3\xbc\xc3\x9f"
                             "e"),
                   4, "gr\xc3\xbc…");
    assert_excerpt(slice_str("\xc2\x9b"), 80, "\\xc2\\x9b");          /* C1: a terminal may obey it */
    assert_excerpt(slice_str("\xe2\x80\xae"), 80, "\\xe2\\x80\\xae"); /* turns the direction of writing */
    assert_excerpt(slice_str("\xed\xa0\x80"), 80, "\\xed\\xa0\\x80"); /* a surrogate */
    assert_excerpt(slice_str("\xc0\xaf"), 80, "\\xc0\\xaf");          /* overlong */
    assert_excerpt(slice_str("\xf4\x90\x80\x80"), 80, "\\xf4\\x90\\x80\\x80");
    assert_excerpt(slice_str("\xf0\x9f\x98\x80"), 80, "\xf0\x9f\x98\x80");
    assert_excerpt(slice_str("ab"), 0, "…");
}

/* A secret at the cut would otherwise leave its beginning. */
static void test_excerpts_hold_no_part_of_a_secret(void **state)
{
    (void)state;
    char out[64];
    secret_add("hunter2-hunter2");
    for (size_t max = 1; max < 30; max++) {
        text_excerpt(slice_str("token hunter2-hunter2!"), max, out, sizeof out);
        assert_null(strstr(out, "h"));
    }
    assert_string_equal(out, "token ***!");
    text_excerpt(slice_make("\0hunter2-hunter2", 16), 30, out, sizeof out);
    assert_string_equal(out, "\\x00***");
    secret_forget_all();
}

static void test_excerpts_fit_their_room(void **state)
{
    (void)state;
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    for (size_t size = 16; size < 200; size++) {
        char out[256];
        memset(out, '#', sizeof out);
        text_excerpt(slice_of(bytes), 1000, out, size);
        assert_true(strlen(out) < size);
        for (size_t i = size; i < sizeof out; i++)
            assert_int_equal(out[i], '#');
        assert_string_equal(out + strlen(out) - 3, "…");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_formats_read_back),
        cmocka_unit_test(test_elapsed),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_excerpts),
        cmocka_unit_test(test_excerpts_hold_no_part_of_a_secret),
        cmocka_unit_test(test_excerpts_fit_their_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
