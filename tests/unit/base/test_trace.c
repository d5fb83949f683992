/* The record of a round: order, times from the round's start, the first and the last lines of many, and no secret in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/secret.h"
#include "agent/base/trace.h"

static int reset(void **state)
{
    (void)state;
    secret_forget_all();
    return 0;
}

/* What the trace says, without times. */
static const char *said(const struct trace *trace)
{
    static char text[TRACE_HEAD_MAX + TRACE_TAIL_MAX];
    struct buf out = BUF_INIT(64 << 10);
    char *line = text, *rest = NULL;

    trace_write(trace, &out);
    *text = 0;
    (void)buf_str(&out);
    for (char *one = strtok_r((char *)out.data, "\n", &rest); one; one = strtok_r(NULL, "\n", &rest))
        line += snprintf(line, sizeof text - (size_t)(line - text), "%s\n", one + 10);
    buf_fini(&out);
    return text;
}

static void test_nobody_records(void **state)
{
    (void)state;
    trace_note(NULL, TRACE_NOTE, "a note of nobody's");
    trace_note_by(NULL, &(struct trace_by){ .mark = TRACE_SENT }, "a frame of nobody's");
    assert_int_equal(trace_connection(NULL), 0);
    trace_look(NULL);
}

static void test_lines_in_order(void **state)
{
    struct trace trace = { 0 };

    (void)state;
    trace_begin(&trace, clock_now_ns(), false);
    assert_null(trace.head.data);
    trace_note(&trace, TRACE_NOTE, "resolved %s", "example.test");
    trace_note(&trace, TRACE_SENT, "GET /\r\nHost:\x1b[2J");
    trace_note_by(&trace, &(struct trace_by){ .mark = TRACE_RECEIVED, .is_frame = true, .bytes = 5, .number = 2 }, "text");
    assert_string_equal(said(&trace), "* resolved example.test\n> GET /  Host: [2J\n< [2] text\n");
    trace_begin(&trace, clock_now_ns(), false);
    assert_null(trace.head.data);
    trace_fini(&trace);
}

static void test_lines_before_the_round(void **state)
{
    struct trace trace = { 0 };
    struct buf out = BUF_INIT(1 << 10);
    uint64_t now = clock_now_ns();

    (void)state;
    trace_begin(&trace, now, true);
    trace_note(&trace, TRACE_NOTE, "between rounds");
    trace_begin(&trace, now + 3600 * NS_PER_S, true);
    trace_write(&trace, &out);
    assert_true(strncmp(buf_str(&out), "-3599", 5) == 0 || strncmp(buf_str(&out), "-3600", 5) == 0);
    buf_fini(&out);
    trace_fini(&trace);
}

static void test_the_middle_is_counted(void **state)
{
    struct trace trace = { 0 };
    const struct trace_by frame = { .mark = TRACE_RECEIVED, .is_frame = true, .bytes = 1000 };
    char last[64];

    (void)state;
    trace_begin(&trace, clock_now_ns(), false);
    for (int i = 0; i < 10000; i++)
        trace_note_by(&trace, &frame, "frame number %d of many", i);
    assert_true(trace.head.len <= TRACE_HEAD_MAX && trace.tail.len <= TRACE_TAIL_MAX);
    const char *text = said(&trace);
    assert_true(strncmp(text, "< frame number 0 of many\n< frame number 1 of many\n", 50) == 0);
    snprintf(last, sizeof last, "\n< frame number 9998 of many\n< frame number 9999 of many\n");
    assert_string_equal(text + strlen(text) - strlen(last), last);
    assert_int_equal(trace.dropped.bytes, trace.dropped.frames * 1000);
    assert_int_equal(trace.dropped.frames, trace.dropped.lines);
    assert_non_null(strstr(text, " lines are left out, of 9,"));
    trace_fini(&trace);
}

static void test_no_secret(void **state)
{
    struct trace trace = { 0 };

    (void)state;
    secret_add("hunter2hunter2");
    trace_begin(&trace, clock_now_ns(), false);
    trace_note(&trace, TRACE_SENT, "Authorization: Bearer hunter2hunter2");
    assert_string_equal(said(&trace), "> Authorization: Bearer ***\n");
    trace_fini(&trace);
}

/* What is taken stays as it is, while the next round is recorded. */
static void test_taken(void **state)
{
    struct trace trace = { 0 }, *taken;

    (void)state;
    trace_begin(&trace, clock_now_ns(), false);
    assert_null(trace_take(&trace, 1, false));
    trace_begin(&trace, clock_now_ns(), false);
    trace_note(&trace, TRACE_NOTE, "the first round");
    taken = trace_take(&trace, 1234, false);
    trace_note(&trace, TRACE_NOTE, "between rounds, of nobody's interest");
    assert_null(trace.head.data);
    trace_begin(&trace, clock_now_ns(), false);
    trace_note(&trace, TRACE_NOTE, "the second round");
    assert_string_equal(said(taken), "* the first round\n");
    assert_int_equal(taken->wall_ms, 1234);
    assert_int_equal(taken->head.cap, taken->head.len);
    assert_string_equal(said(&trace), "* the second round\n");
    trace_free(taken);
    trace_free(NULL);
    taken = trace_take(&trace, 1, true);
    trace_note(&trace, TRACE_NOTE, "a session goes on");
    assert_string_equal(said(&trace), "* a session goes on\n");
    trace_free(taken);
    trace_fini(&trace);
}

static void test_a_burst_is_counted(void **state)
{
    struct trace trace = { 0 };
    unsigned lines = 0;
    uint64_t begun_ns = clock_now_ns();

    (void)state;
    assert_false(trace_only_counts(NULL, 1));
    trace_begin(&trace, begun_ns, false);
    trace_note(&trace, TRACE_NOTE, "before");
    for (int i = 0; i < 100000; i++)
        lines += !trace_only_counts(&trace, 10);
    uint64_t windows = (clock_now_ns() - begun_ns) / (TRACE_BURST_MS * NS_PER_MS) + 1;
    assert_true(lines >= TRACE_BURST && lines <= TRACE_BURST * windows);
    trace_note(&trace, TRACE_NOTE, "behind");
    assert_int_equal(trace.dropped.frames, 100000 - lines);
    assert_int_equal(trace.dropped.bytes, 10 * trace.dropped.frames);
    assert_non_null(strstr(said(&trace), "* before\n"));
    assert_true(strstr(said(&trace), "lines are left out") < strstr(said(&trace), "* behind\n"));
    trace_fini(&trace);
    trace.head_max = 1 << 10;
    for (int i = 0; i < 1000; i++)
        assert_false(trace_only_counts(&trace, 10));
}

static void make_two(struct trace *trace, const struct trace_by *by, struct slice bytes)
{
    trace_note_by(trace, by, "got %.*s", (int)bytes.len, (const char *)bytes.data);
    trace_note_by(trace, by, "and that was it");
}

/* A lazy trace says what another says, in the same order, however much there is; and what it held is masked. */
static void test_lazy_says_the_same(void **state)
{
    const struct trace_by by = { .mark = TRACE_RECEIVED };
    static char first[TRACE_HEAD_MAX + TRACE_TAIL_MAX];

    (void)state;
    secret_add("hunter2hunter2");
    for (int lines = 1; lines <= 1000; lines *= 10) {
        for (int lazy = 0; lazy < 2; lazy++) {
            struct trace trace = { .lazy = lazy };

            trace_begin(&trace, clock_now_ns(), false);
            for (int i = 0; i < lines; i++) {
                trace_note(&trace, TRACE_NOTE, "number %d hunter2hunter2", i);
                trace_later(&trace, &by, make_two, slice_str("hunter2hunter2, it says"));
            }
            assert_true(!lazy || lines > 10 || !trace.head.len);
            trace_flush(&trace);
            trace_note(&trace, TRACE_NOTE, "the verdict");
            assert_null(strstr(said(&trace), "hunter2"));
            if (!lazy)
                snprintf(first, sizeof first, "%s", said(&trace));
            assert_string_equal(said(&trace), first);
            trace_fini(&trace);
        }
    }
}

/* What can no longer be masked later is masked now, or not shown. */
static void test_lazy_and_secrets_that_go(void **state)
{
    const struct trace_by by = { .mark = TRACE_RECEIVED };
    struct secret_loan loan = { 0 };
    struct trace trace = { .lazy = true };

    (void)state;
    trace_begin(&trace, clock_now_ns(), false);
    secret_lend(&loan, "lent-for-a-while");
    trace_later(&trace, &by, make_two, slice_str("lent-for-a-while"));
    secret_return(&loan);
    trace_flush(&trace);
    assert_string_equal(said(&trace), "< got ***\n< and that was it\n");
    trace_begin(&trace, clock_now_ns(), false);
    secret_add("of-the-old-file");
    trace_later(&trace, &by, make_two, slice_str("of-the-old-file"));
    secret_forget_all();
    trace_flush(&trace);
    assert_null(strstr(said(&trace), "of-the-old-file"));
    assert_non_null(strstr(said(&trace), "is not shown"));
    trace_begin(&trace, clock_now_ns(), false);
    trace_later(&trace, &by, make_two, slice_str("nobody reads it"));
    trace_drop(&trace, false);
    assert_null(trace.later.data);
    assert_null(trace_take(&trace, 1, false));
    trace_fini(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_nobody_records, reset),
        cmocka_unit_test_teardown(test_lines_in_order, reset),
        cmocka_unit_test_teardown(test_lines_before_the_round, reset),
        cmocka_unit_test_teardown(test_the_middle_is_counted, reset),
        cmocka_unit_test_teardown(test_no_secret, reset),
        cmocka_unit_test_teardown(test_taken, reset),
        cmocka_unit_test_teardown(test_a_burst_is_counted, reset),
        cmocka_unit_test(test_lazy_says_the_same),
        cmocka_unit_test(test_lazy_and_secrets_that_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
