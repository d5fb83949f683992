/* Log lines: one write each, quoted so that they read back, scrubbed, within their ceiling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/secret.h"

static int fds[2];

static int open_pipe(void **state)
{
    (void)state;
    static const struct clock_fake fake = { 0, 0, INT64_C(1795341600000) };
    clock_set_fake(&fake);
    if (pipe(fds) != 0)
        return -1;
    log_set_fd(fds[1]);
    return 0;
}

static int close_pipe(void **state)
{
    (void)state;
    log_set_fd(STDERR_FILENO);
    log_configure(LOG_INFO, LOG_LOGFMT);
    clock_set_fake(NULL);
    secret_forget_all();
    close(fds[0]);
    close(fds[1]);
    return 0;
}

static const char *line(void)
{
    static char text[8192];
    ssize_t n = read(fds[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    return text;
}

#define STAMP "2026-11-22T10:00:00.000Z"

static void test_logfmt(void **state)
{
    (void)state;
    log_event(LOG_WARN, "check_fail", "check", "echo", "close_code", (char *)NULL, "reason", "echo_timeout", NULL);
    assert_string_equal(line(), "time=" STAMP " level=warn event=check_fail check=echo reason=echo_timeout\n");
    log_event(LOG_INFO, "x", "a", "two words", "b", "", "c", "k=v", "d", "say \"hi\"\\", "e", "1\n2\t\x01", "f", "gr\xc3\xbc",
              NULL);
    assert_string_equal(line(), "time=" STAMP " level=info event=x a=\"two words\" b=\"\" c=\"k=v\" d=\"say \\\"hi\\\"\\\\\" "
                                "e=\"1\\n2\\t\\u0001\" f=\"gr\xc3\xbc\"\n");
}

static void test_json(void **state)
{
    (void)state;
    log_configure(LOG_DEBUG, LOG_JSON);
    log_event(LOG_ERROR, "x", "a", "say \"hi\"\n", "b", "bad \xff\xc2\x9b", NULL);
    assert_string_equal(line(), "{\"time\":\"" STAMP "\",\"level\":\"error\",\"event\":\"x\",\"a\":\"say \\\"hi\\\"\\n\","
                                "\"b\":\"bad \xef\xbf\xbd\\u009b\"}\n");
}

static void test_levels(void **state)
{
    (void)state;
    log_configure(LOG_WARN, LOG_LOGFMT);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    log_event(LOG_INFO, "unseen", NULL);
    log_event(LOG_ERROR, "seen", NULL);
    assert_string_equal(line(), "time=" STAMP " level=error event=seen\n");
}

static void test_secrets_do_not_come_out(void **state)
{
    (void)state;
    secret_add("pa\"ss word");
    log_event(LOG_INFO, "x", "text", "token=pa\"ss word!", NULL);
    assert_string_equal(line(), "time=" STAMP " level=info event=x text=\"token=***!\"\n");
}

/* A value that does not fit is cut with an ellipsis, and the line is still whole. */
static void test_the_ceiling(void **state)
{
    (void)state;
    static char value[5000];
    static const struct {
        enum log_format format;
        const char *end;
    } rows[] = { { LOG_LOGFMT, "…\"\n" }, { LOG_JSON, "…\"}\n" } };
    for (size_t i = 0; i < 2; i++) {
        log_configure(LOG_INFO, rows[i].format);
        for (size_t len = 3900; len < sizeof value; len++) {
            memset(value, 'x', len);
            value[len] = '\0';
            log_event(LOG_INFO, "big", "text", value, "after", "this", NULL);
            const char *got = line();
            size_t got_len = strlen(got);
            assert_in_range(got_len, 3900, 4096);
            assert_int_equal(got[got_len - 1], '\n');
            if (len > 4096)
                assert_string_equal(got + got_len - strlen(rows[i].end), rows[i].end);
            if (rows[i].format == LOG_JSON)
                assert_int_equal(got[got_len - 2], '}');
        }
    }
}

static void test_many_pairs_end_at_a_pair(void **state)
{
    (void)state;
    static char value[1021];
    log_configure(LOG_INFO, LOG_JSON);
    for (size_t len = 1000; len < 1020; len++) {
        memset(value, 'y', len);
        value[len] = '\0';
        log_event(LOG_INFO, "big", "a", value, "b", value, "c", value, "d", value, "e", value, NULL);
        const char *got = line();
        assert_true(strlen(got) <= 4096);
        assert_string_equal(got + strlen(got) - 3, "\"}\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logfmt, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_json, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_levels, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_secrets_do_not_come_out, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_the_ceiling, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_many_pairs_end_at_a_pair, open_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
