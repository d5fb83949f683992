/* Log lines: one write each, quoted so that they read back, scrubbed, within their ceiling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/secret.h"

static int fds[2];

static void at_ms(uint64_t ms)
{
    struct clock_fake fake = { ms * 1000000, ms * 1000000, INT64_C(1795341600000) };
    clock_set_fake(&fake);
}

static int open_pipe(void **state)
{
    (void)state;
    at_ms(1000);
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

/* On a terminal without UTF-8; it reads back as the same. */
static void test_ascii_only(void **state)
{
    (void)state;
    log_ascii(true);
    log_event(LOG_WARN, "x", "a", "gr\xc3\xbc…", "b", "\xf0\x9f\x98\x80\xff", NULL);
    log_ascii(false);
    assert_string_equal(line(), "time=" STAMP " level=warn event=x a=\"gr\\u00fc\\u2026\" b=\"\\ud83d\\ude00\\ufffd\"\n");
}

/* JOURNAL_STREAM as systemd sets it: device and inode of stderr, when that is the journal's. */
static void test_in_the_journal(void **state)
{
    struct stat status;
    char stream[64];
    (void)state;
    assert_int_equal(fstat(fds[1], &status), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_set_fd(fds[1]);
    assert_true(log_in_journal());
    log_configure(LOG_DEBUG, LOG_LOGFMT);
    log_event(LOG_ERROR, "x", "a", "b", NULL);
    log_event(LOG_WARN, "x", NULL);
    log_event(LOG_INFO, "x", NULL);
    log_event(LOG_DEBUG, "x", NULL);
    assert_string_equal(line(),
                        "<3>level=error event=x a=b\n<4>level=warn event=x\n<6>level=info event=x\n<7>level=debug event=x\n");
    log_configure(LOG_INFO, LOG_JSON);
    log_event(LOG_WARN, "x", "a", "b", NULL);
    assert_string_equal(line(), "<4>{\"level\":\"warn\",\"event\":\"x\",\"a\":\"b\"}\n");
    /* Sent elsewhere behind systemd's back: the variable is still that of the journal. */
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino + 1);
    setenv("JOURNAL_STREAM", stream, 1);
    log_set_fd(fds[1]);
    assert_false(log_in_journal());
    log_configure(LOG_INFO, LOG_LOGFMT);
    log_event(LOG_WARN, "x", NULL);
    assert_string_equal(line(), "time=" STAMP " level=warn event=x\n");
    unsetenv("JOURNAL_STREAM");
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
        log_configure(LOG_DEBUG, rows[i].format); /* no limit on lines of one kind */
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
    log_configure(LOG_DEBUG, LOG_JSON);
    for (size_t len = 1000; len < 1020; len++) {
        memset(value, 'y', len);
        value[len] = '\0';
        log_event(LOG_INFO, "big", "a", value, "b", value, "c", value, "d", value, "e", value, NULL);
        const char *got = line();
        assert_true(strlen(got) <= 4096);
        assert_string_equal(got + strlen(got) - 3, "\"}\n");
    }
}

/* All lines that have come; "" when none has. */
static const char *lines(void)
{
    static char text[65536];
    size_t len = 0;
    for (ssize_t n; (n = read(fds[0], text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    return text;
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (; (text = strstr(text, what)); text++)
        count++;
    return count;
}

/* Nobody reads: no call waits, and what was lost is said as soon as somebody does. */
static void test_a_reader_that_stands_still(void **state)
{
    (void)state;
    static char value[3000];
    memset(value, 'x', sizeof value - 1);
    log_configure(LOG_DEBUG, LOG_LOGFMT);
    for (int i = 0; i < 1000; i++)
        log_event(LOG_INFO, "big", "text", value, NULL);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    unsigned long lost = log_lost(), told;
    const char *got = lines(), *at = strstr(got, "event=log_lost lines=");
    assert_in_range(lost, 900, 999);
    assert_int_equal(count_of(got, "event=big"), 1000 - lost);
    assert_int_equal(count_of(got, "event=log_lost"), 1); /* short as it is, it still found room */
    told = strtoul(strchr(at + 6, '=') + 1, NULL, 10);
    char want[64];
    snprintf(want, sizeof want, "level=warn event=log_lost lines=%lu ", lost - told);
    at_ms(3000);
    log_event(LOG_INFO, "next", NULL);
    got = lines();
    assert_non_null(strstr(got, want));
    assert_true(strstr(got, want) < strstr(got, "event=next"));
    assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0); /* others write there too */
}

static void test_a_reader_that_is_gone(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    close(fds[0]);
    log_event(LOG_INFO, "x", NULL);
    assert_int_equal(log_lost(), 1);
    fds[0] = open("/dev/null", O_RDONLY);
}

/* One kind has its rate; others, and the first of each reason, are written. */
static void test_what_repeats_itself_is_counted(void **state)
{
    (void)state;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 500; i++)
        log_event(LOG_WARN, "check_fail", "check", "a", "reason", i == 499 ? "rare" : "usual", NULL);
    log_event(LOG_WARN, "check_fail", "check", "b", "reason", "usual", NULL);
    log_event(LOG_WARN, "check_warn", "check", "a", "reason", "usual", NULL);
    const char *got = lines();
    assert_int_equal(count_of(got, "event=check_fail check=a"), 11);
    assert_int_equal(count_of(got, "reason=rare"), 1);
    assert_int_equal(count_of(got, "event=check_fail check=b"), 1);
    assert_int_equal(count_of(got, "event=check_warn check=a"), 1);
    assert_int_equal(log_lost(), 0); /* it was not lost: it was left out */
    log_tick();
    assert_string_equal(lines(), "");
    at_ms(12000);
    log_tick();
    assert_non_null(strstr(lines(), "level=info event=log_more of=check_fail subject=a lines=489 "));
    log_tick();
    assert_string_equal(lines(), "");
}

static void test_a_minute_of_flapping(void **state)
{
    (void)state;
    size_t bytes = 0, verdicts = 0;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    for (uint64_t ms = 1000; ms < 61000; ms += 50) {
        at_ms(ms);
        log_event(LOG_WARN, "check_fail", "check", "a", "reason", "usual", NULL);
        log_event(LOG_INFO, "check_pass", "check", "a", NULL);
        if (ms % 1000 == 0)
            log_event((int)LOG_WARN | LOG_KEEP, "not_ready", "cause", "c", NULL);
        const char *got = lines();
        bytes += strlen(got);
        verdicts += count_of(got, "event=not_ready");
    }
    assert_int_equal(verdicts, 60); /* a change of the verdict each second for a minute: all of them */
    assert_in_range(bytes, 1000, 20000);
}

static void test_verdicts_have_a_bound_too(void **state)
{
    (void)state;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 500; i++)
        log_event((int)LOG_WARN | LOG_KEEP, "not_ready", "cause", "c", NULL);
    assert_int_equal(count_of(lines(), "event=not_ready"), 60);
}

static void test_more_kinds_than_places(void **state)
{
    (void)state;
    char name[16];
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "n%u", i);
        at_ms(1000 + i);
        log_event(LOG_WARN, "check_fail", "check", name, NULL);
        assert_non_null(strstr(lines(), name)); /* the first of each is written */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logfmt, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_json, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_in_the_journal, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_ascii_only, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_levels, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_secrets_do_not_come_out, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_the_ceiling, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_many_pairs_end_at_a_pair, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_a_reader_that_stands_still, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_a_reader_that_is_gone, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_what_repeats_itself_is_counted, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_a_minute_of_flapping, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_verdicts_have_a_bound_too, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_more_kinds_than_places, open_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
