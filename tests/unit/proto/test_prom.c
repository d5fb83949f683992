/* Metrics in both formats, to the byte: suffixes, escapes, buckets, numbers and the ceiling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "agent/proto/prom.h"

static void write_all(struct prom *prom)
{
    struct prom_histogram histogram = { .sum = 0 };
    prom_family(prom, PROM_GAUGE, "x_ready", "May it \"take\" \\ new\nconnections?");
    prom_sample(prom, 1, NULL);
    prom_family(prom, PROM_COUNTER, "x_rounds", "Rounds.");
    prom_sample(prom, 12345678901, "check", "a\"b\\c\nd", "type", "echo", NULL);
    prom_sample(prom, 0.5, "check", (char *)NULL, NULL);
    prom_family(prom, PROM_INFO, "x_build", "Build.");
    prom_sample(prom, 1, "version", "1\xff", NULL);
    prom_family(prom, PROM_HISTOGRAM, "x_seconds", "Time.");
    prom_observe(&histogram, 0.00048828125);
    prom_observe(&histogram, 0.0009765625);
    prom_observe(&histogram, 1);
    prom_observe(&histogram, 11);
    prom_sample_histogram(prom, &histogram, "check", "echo", NULL);
    prom_sample_histogram(prom, &histogram, NULL);
}

static void test_text_format(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(65536);
    struct prom prom;
    prom_begin(&prom, &buf, false);
    write_all(&prom);
    assert_int_equal(prom_finish(&prom), 0);
    const char *text = buf_str(&buf);
    static const char start[] = "# HELP x_ready May it \"take\" \\\\ new\\nconnections?\n"
                                "# TYPE x_ready gauge\n"
                                "x_ready 1\n"
                                "# HELP x_rounds_total Rounds.\n"
                                "# TYPE x_rounds_total counter\n"
                                "x_rounds_total{check=\"a\\\"b\\\\c\\nd\",type=\"echo\"} 12345678901\n"
                                "x_rounds_total{check=\"\"} 0.5\n"
                                "# HELP x_build_info Build.\n"
                                "# TYPE x_build_info gauge\n"
                                "x_build_info{version=\"1\xef\xbf\xbd\"} 1\n"
                                "# HELP x_seconds Time.\n"
                                "# TYPE x_seconds histogram\n"
                                "x_seconds_bucket{check=\"echo\",le=\"0.0005\"} 1\n"
                                "x_seconds_bucket{check=\"echo\",le=\"0.001\"} 2\n";
    assert_memory_equal(text, start, sizeof start - 1);
    assert_non_null(strstr(text, "x_seconds_bucket{check=\"echo\",le=\"0.5\"} 2\n"
                                 "x_seconds_bucket{check=\"echo\",le=\"1\"} 3\n"));
    assert_non_null(strstr(text, "x_seconds_bucket{check=\"echo\",le=\"10\"} 3\n"
                                 "x_seconds_bucket{check=\"echo\",le=\"+Inf\"} 4\n"
                                 "x_seconds_sum{check=\"echo\"} 12.00146484375\n"
                                 "x_seconds_count{check=\"echo\"} 4\n"
                                 "x_seconds_bucket{le=\"0.0005\"} 1\n"));
    assert_non_null(strstr(text, "x_seconds_sum 12.00146484375\nx_seconds_count 4\n"));
    buf_fini(&buf);
}

static void test_openmetrics(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(65536);
    struct prom prom;
    prom_begin(&prom, &buf, true);
    write_all(&prom);
    assert_int_equal(prom_finish(&prom), 0);
    const char *text = buf_str(&buf);
    assert_non_null(strstr(text, "# HELP x_ready May it \\\"take\\\" \\\\ new\\nconnections?\n"));
    assert_non_null(strstr(text, "# TYPE x_rounds counter\nx_rounds_total{"));
    assert_non_null(strstr(text, "# TYPE x_build info\nx_build_info{version="));
    assert_non_null(strstr(text, "le=\"1.0\"} 3\n"));
    assert_non_null(strstr(text, "le=\"10.0\"} 3\n"));
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    buf_fini(&buf);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        { 0, "x 0\n" },
        { 0.1, "x 0.1\n" },
        { 1.0 / 3, "x 0.3333333333333333\n" },
        { 1795341600.123, "x 1795341600.123\n" },
        { -2.5, "x -2.5\n" },
        { NAN, "x NaN\n" },
        { INFINITY, "x +Inf\n" },
        { -INFINITY, "x -Inf\n" },
        { 9007199254740993.0, "x 9007199254740992\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf buf = BUF_INIT(256);
        struct prom prom;
        prom_begin(&prom, &buf, false);
        prom_family(&prom, PROM_GAUGE, "x", "X.");
        buf_reset(&buf);
        prom_sample(&prom, rows[i].value, NULL);
        assert_string_equal(buf_str(&buf), rows[i].text);
        buf_fini(&buf);
    }
}

static void test_observing(void **state)
{
    (void)state;
    struct prom_histogram histogram = { .sum = 0 };
    prom_observe(&histogram, -1);
    prom_observe(&histogram, 0.0005);
    prom_observe(&histogram, NAN);
    prom_observe(&histogram, 10);
    prom_observe(&histogram, INFINITY);
    assert_int_equal(histogram.counts[0], 2);
    assert_int_equal(histogram.counts[PROM_BUCKETS - 1], 1);
    assert_int_equal(histogram.counts[PROM_BUCKETS], 1);
    for (int i = 1; i < PROM_BUCKETS; i++)
        assert_true(prom_bounds[i] > prom_bounds[i - 1]);
}

static void test_the_ceiling_is_reported(void **state)
{
    (void)state;
    struct buf whole = BUF_INIT(65536);
    struct prom prom;
    prom_begin(&prom, &whole, false);
    write_all(&prom);
    assert_int_equal(prom_finish(&prom), 0);
    for (size_t max = 0; max < whole.len; max++) {
        struct buf buf = BUF_INIT(max);
        prom_begin(&prom, &buf, false);
        write_all(&prom);
        assert_int_equal(prom_finish(&prom), -1);
        assert_true(buf.len <= max);
        if (buf.len)
            assert_memory_equal(buf.data, whole.data, buf.len);
        buf_fini(&buf);
    }
    buf_fini(&whole);
}

/* Fewer buckets are written than counted; each holds what is below it all the same. */
static void buckets_may_be_fewer(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(4096);
    struct prom prom;
    struct prom_histogram histogram = { 0 };
    prom_observe(&histogram, 0.0001);
    prom_observe(&histogram, 0.04);
    prom_observe(&histogram, 0.3);
    prom_observe(&histogram, 60);
    prom_begin(&prom, &out, false);
    prom_family(&prom, PROM_HISTOGRAM, "x_seconds", "X.");
    prom_buckets(&prom, PROM_COARSE);
    prom_sample_histogram(&prom, &histogram, "check", "a", NULL);
    assert_int_equal(prom_finish(&prom), 0);
    assert_non_null(strstr(buf_str(&out), "x_seconds_bucket{check=\"a\",le=\"0.05\"} 2\n"
                                          "x_seconds_bucket{check=\"a\",le=\"0.5\"} 3\n"
                                          "x_seconds_bucket{check=\"a\",le=\"+Inf\"} 4\n"
                                          "x_seconds_sum{check=\"a\"} 60.3401\n"
                                          "x_seconds_count{check=\"a\"} 4\n"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_may_be_fewer), cmocka_unit_test(test_text_format), cmocka_unit_test(test_openmetrics),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_observing),   cmocka_unit_test(test_the_ceiling_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
