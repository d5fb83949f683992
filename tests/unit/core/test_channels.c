/* Lists and patterns of channels, and the rotation: every channel in time, each once a round, what failed again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/core/channels.h"

static struct opt_strings list_of(char **items, size_t count)
{
    return (struct opt_strings){ items, count };
}

static int check_one(const char *entry, struct err *err)
{
    char *items[] = { mem_strdup(entry) };
    struct opt_strings list = list_of(items, 1);
    int rc = channels_check(NULL, &list, err);

    mem_free(items[0]);
    return rc;
}

static size_t count_one(const char *entry)
{
    char *items[] = { mem_strdup(entry) };
    struct opt_strings list = list_of(items, 1);
    struct channels *channels = channels_new(NULL, &list, 1);
    size_t count = channels_count(channels);

    channels_free(channels);
    mem_free(items[0]);
    return count;
}

static void test_patterns(void **state)
{
    static const struct {
        const char *entry;
        size_t count;
    } good[] = { { "room", 1 },         { "room-{1..5000}", 5000 },     { "{a,b,c}", 3 },
                 { "{1..3}-{x,y}", 6 }, { "r{007..010}", 4 },           { "{5..5}", 1 },
                 { "{,dark-}mode", 2 }, { "{1..100}-{1..100}", 10000 }, { "{a,a,b}", 2 } };
    static const struct {
        const char *entry, *words;
    } bad[] = { { "room-{1..", "brace" },
                { "room-1}", "brace" },
                { "}{", "brace" },
                { "{{a,b}}", "inside" },
                { "{}", "neither" },
                { "{a}", "neither" },
                { "{1..x}", "two numbers" },
                { "{..5}", "two numbers" },
                { "{9..1}", "backwards" },
                { "{1..10001}", "10000" },
                { "{1..101}{1..100}", "10000" },
                { "{0..9999999999}", "10000" },
                { "{-3..4}", "two numbers" },
                { "{,a}", "empty" },
                { "{1,2}{1,2}{1,2}{1,2}{1,2}", "pairs" } };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (check_one(good[i].entry, &err) < 0)
            fail_msg("%s: %s", good[i].entry, err.text);
        assert_int_equal(count_one(good[i].entry), good[i].count);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(check_one(bad[i].entry, &err), -1);
        if (!strstr(err.text, bad[i].words))
            fail_msg("%s: %s", bad[i].entry, err.text);
    }
}

static void test_limits(void **state)
{
    char long_name[CHANNEL_NAME_MAX + 2];
    char *items[] = { mem_strdup("a-{1..9000}"), mem_strdup("b-{1..1000}") };
    struct opt_strings none = { 0 }, list = list_of(items, 2);
    struct err err;

    (void)state;
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_int_equal(check_one(long_name, &err), -1);
    assert_int_equal(check_one(long_name + 1, &err), 0);
    assert_int_equal(channels_check(long_name, &none, &err), -1);
    assert_int_equal(channels_check("", &none, &err), -1);
    assert_int_equal(channels_check(NULL, &none, &err), -1);
    assert_non_null(strstr(err.text, "no channel"));
    assert_int_equal(channels_check("one", &none, &err), 0);
    assert_int_equal(channels_check(NULL, &list, &err), 0);
    assert_int_equal(channels_check("one", &list, &err), -1);
    mem_free(items[0]);
    mem_free(items[1]);
}

static void test_names(void **state)
{
    char *items[] = { mem_strdup("r{08..11}-{x,y}"), mem_strdup("r08-x") };
    struct opt_strings list = list_of(items, 2);
    struct channels *channels = channels_new("solo", &list, 0);

    (void)state;
    assert_int_equal(channels_count(channels), 9);
    assert_int_equal(channels_round(channels), 9);
    assert_int_not_equal(channels_find(channels, "solo"), CHANNELS_NONE);
    assert_int_not_equal(channels_find(channels, "r08-x"), CHANNELS_NONE);
    assert_int_not_equal(channels_find(channels, "r11-y"), CHANNELS_NONE);
    assert_int_equal(channels_find(channels, "r8-x"), CHANNELS_NONE);
    assert_int_equal(channels_find(channels, "r12-x"), CHANNELS_NONE);
    channels_free(channels);
    mem_free(items[0]);
    mem_free(items[1]);
}

/* For many shapes: count / sample rounds, rounded up, try all; a round has no double. */
static void test_all_in_time(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 60; count++)
        for (size_t sample = 1; sample <= count; sample += 1 + sample / 3) {
            char *items[] = { mem_printf("{1..%zu}", count) };
            struct opt_strings list = list_of(items, 1);
            struct channels *channels = channels_new(NULL, &list, (int64_t)sample);
            bool seen[61] = { false };
            size_t all = 0;

            for (size_t round = 0; round < (count + sample - 1) / sample; round++) {
                bool now[61] = { false };

                assert_int_equal(channels_round(channels), sample);
                for (size_t i = 0; i < sample; i++) {
                    int n = atoi(channels_name(channels, i));

                    assert_false(now[n]);
                    now[n] = true;
                    all += !seen[n];
                    seen[n] = true;
                }
            }
            assert_int_equal(all, count);
            channels_free(channels);
            mem_free(items[0]);
        }
}

static void test_failed_come_again(void **state)
{
    char *items[] = { mem_strdup("c{1..100}") };
    struct opt_strings list = list_of(items, 1);
    struct channels *channels = channels_new(NULL, &list, 3);
    char name[CHANNEL_NAME_MAX + 1];

    (void)state;
    channels_round(channels);
    snprintf(name, sizeof name, "%s", channels_name(channels, 1));
    channels_failed(channels, 1);
    channels_failed(channels, 1);
    for (int round = 0; round < 5; round++) {
        assert_int_equal(channels_round(channels), 3);
        assert_int_equal(channels_find(channels, name), 0);
        channels_failed(channels, 0);
    }
    assert_int_equal(channels_round(channels), 3);
    for (int round = 0; round < 10; round++) /* it has passed: others have their turn */
        channels_round(channels);
    assert_int_equal(channels_find(channels, name), CHANNELS_NONE);
    for (size_t i = 0; i < 3; i++)
        channels_failed(channels, i);
    assert_int_equal(channels_round(channels), 3);
    channels_free(channels);
    mem_free(items[0]);
}

static void test_one(void **state)
{
    struct opt_strings none = { 0 };
    struct channels *channels = channels_new("news", &none, 10);

    (void)state;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(channels_round(channels), 1);
        assert_string_equal(channels_name(channels, 0), "news");
        channels_failed(channels, 0);
    }
    channels_free(channels);
    channels_free(NULL);
}

static void test_large_sample_is_cut(void **state)
{
    char *items[] = { mem_strdup("c{1..5000}") };
    struct opt_strings list = list_of(items, 1);
    struct channels *channels = channels_new(NULL, &list, 0);

    (void)state;
    assert_int_equal(channels_round(channels), CHANNELS_SAMPLE_MAX);
    channels_free(channels);
    mem_free(items[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_all_in_time),
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_failed_come_again),
        cmocka_unit_test(test_large_sample_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
