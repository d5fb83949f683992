/* What the log tells of the verdict: each change once, with its final cause; no causes that come and go; no fault as the reason of
 * a recovery. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "agent/report/story.h"
#include "tests/unit/report/views.h"

static struct world world;
static struct check_view *handshake, *ping, *bus, *certificate;
static struct story story;
static bool logs;
static struct buf told;
static uint64_t now_ms, timer_ms; /* 0: none */

static void on_line(void *user, const struct story_line *line)
{
    (void)user;
    buf_printf(&told, "%s(%s", event_name(line->event), line->is->cause);
    for (size_t i = 0; i < line->check_count; i++)
        buf_printf(&told, " %s", line->checks[i].name);
    buf_append_str(&told, ") ");
    if (logs)
        story_log(line);
}

static void judge(void)
{
    world_judge(&world, false, true);
    timer_ms = story_update(&story, &world.view, NULL, now_ms, WORLD_MS + (int64_t)now_ms) ? story.due_ms : 0;
}

/* The same, and this check's state has changed. */
static void judge_change(const struct check_view *check)
{
    world_judge(&world, false, true);
    timer_ms = story_update(&story, &world.view, check, now_ms, WORLD_MS + (int64_t)now_ms) ? story.due_ms : 0;
}

static void pass_time(uint64_t ms)
{
    now_ms += ms;
    if (timer_ms && timer_ms <= now_ms) {
        timer_ms = 0;
        story_due(&story);
    }
}

/* What has been told since the last call. */
static void assert_told(const char *want)
{
    assert_string_equal(buf_str(&told), want);
    buf_reset(&told);
}

static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    handshake = world_add(&world, "handshake", "handshake", "local", GATE_READY | GATE_LIVE);
    ping = world_add(&world, "ping", "ping", "local", GATE_READY);
    bus = world_add(&world, "bus", "broker", "local", GATE_READY);
    certificate = world_add(&world, "certificate", "tls", "local", 0);
    story = (struct story){ .tell = on_line };
    buf_init(&told, 4096);
    now_ms = 1000;
    judge();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    story_fini(&story);
    buf_fini(&told);
    logs = false;
    return 0;
}

static void mend(struct check_view *check)
{
    check->health.state = STATE_PASS;
    check->status = RESULT_PASS;
    check->reason = REASON_NONE;
}

/* Checks end one after another; the first cause is not yet the right one. */
static void test_the_settled_cause(void **state)
{
    (void)state;
    check_fail(ping, REASON_CLOSED_ABNORMAL, "cut");
    judge();
    assert_false(world.view.verdict.ready);
    assert_told(""); /* /ready has changed, the log waits */
    pass_time(400);
    check_fail(handshake, REASON_CONNECT_REFUSED, "refused");
    judge();
    pass_time(700);
    assert_told("");
    pass_time(400);
    assert_told("not_ready(server_down) ");
    pass_time(100000);
    assert_told("");
}

/* However short it was, a change is told. */
static void test_no_change_is_lost(void **state)
{
    (void)state;
    check_fail(handshake, REASON_CONNECT_REFUSED, "refused");
    check_fail(ping, REASON_CONNECT_REFUSED, "refused");
    judge();
    pass_time(300);
    mend(handshake);
    mend(ping);
    judge();
    assert_told("not_ready(server_down) ");
    assert_int_equal(story.told.at_ms, WORLD_MS + 1000);
    pass_time(1000);
    assert_told("ready(healthy) ");
    assert_int_equal(story.told.at_ms, WORLD_MS + 1300);
}

static void test_degraded_and_its_end(void **state)
{
    (void)state;
    check_fail(bus, REASON_BROKER_UNREACHABLE, "No connection to bus");
    judge();
    pass_time(1000);
    assert_told("degraded(broker_down) ");
    check_fail(bus, REASON_BROKER_READ_ONLY, "READONLY");
    judge();
    pass_time(1000);
    assert_told("cause(broker_read_only) ");
    mend(bus);
    judge();
    pass_time(1000);
    assert_told("restored(healthy) ");
    assert_string_equal(story.told.sentence, world.view.diagnosis.sentence);
    assert_null(strstr(story.told.sentence, "bus:"));
}

/* A cause that ends before it is told is not told at all. */
static void test_a_cause_that_comes_and_goes(void **state)
{
    (void)state;
    check_fail(certificate, REASON_TLS_CERT_UNTRUSTED, "not trusted");
    judge();
    pass_time(500);
    mend(certificate);
    judge();
    pass_time(5000);
    assert_told("");
}

/* A check that gates nothing is not the reason of a recovery. */
static void test_back_with_a_report(void **state)
{
    (void)state;
    check_fail(handshake, REASON_CONNECT_REFUSED, "refused");
    judge();
    pass_time(1000);
    buf_reset(&told);
    check_fail(certificate, REASON_TLS_CERT_UNTRUSTED, "not trusted");
    mend(handshake);
    judge();
    pass_time(1000);
    assert_told("ready(certificate_untrusted) ");
    assert_non_null(strstr(story.told.sentence, "Every check that gates readiness passes. Only reported: "));
}

/* Thirty checks fail within two seconds for one cause, and pass again: a line for each of the two changes. */
static void test_thirty_checks(void **state)
{
    static char names[27][8];
    struct check_view *checks[30] = { handshake, ping };
    (void)state;
    for (size_t i = 0; i < 27; i++) {
        snprintf(names[i], sizeof names[i], "c%zu", i);
        checks[i + 2] = world_add(&world, names[i], "echo", "local", GATE_READY);
    }
    checks[29] = certificate;
    judge();
    for (size_t i = 30; i-- > 0;) {
        check_fail(checks[i], REASON_CONNECT_REFUSED, "refused");
        judge_change(checks[i]);
        pass_time(70);
    }
    pass_time(1000);
    assert_told(
        "not_ready(server_down handshake ping certificate c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 c13 c14 c15 c16 c17 c18 "
        "c19 c20 c21 c22 c23 c24 c25 c26) ");
    for (size_t i = 0; i < 30; i++) {
        mend(checks[i]);
        judge_change(checks[i]);
        pass_time(70);
    }
    pass_time(1000);
    assert_told(
        "ready(healthy handshake ping certificate c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 c13 c14 c15 c16 c17 c18 c19 c20 "
        "c21 c22 c23 c24 c25 c26) ");
}

/* Where something changes all the time, the line does not wait for the end of it. */
static void test_it_waits_no_longer_than_it_says(void **state)
{
    static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g" };
    struct check_view *checks[7];
    (void)state;
    for (size_t i = 0; i < 7; i++)
        checks[i] = world_add(&world, names[i], "echo", "local", GATE_READY);
    judge();
    for (size_t i = 0; i < 7; i++) {
        check_fail(checks[i], REASON_ECHO_TIMEOUT, "no message");
        judge_change(checks[i]);
        if (i == 5)
            assert_told("");
        pass_time(500);
    }
    assert_true(strncmp(buf_str(&told), "not_ready(", 10) == 0 && strstr(buf_str(&told), " a b c d e f) "));
    buf_reset(&told);
    pass_time(1000);
    assert_true(strncmp(buf_str(&told), "check_fail(", 11) == 0 && strstr(buf_str(&told), " g) "));
}

/* What changes no verdict has its own line, and a check that changes twice two of them. */
static void test_single_checks(void **state)
{
    (void)state;
    check_fail(certificate, REASON_TLS_CERT_UNTRUSTED, "not trusted");
    judge_change(certificate);
    pass_time(300);
    mend(certificate);
    judge_change(certificate);
    assert_told("check_fail(certificate_untrusted certificate) cause(certificate_untrusted) ");
    pass_time(1000);
    assert_told("check_pass(healthy certificate) cause(healthy) ");
    check_fail(handshake, REASON_CONNECT_REFUSED, "refused");
    judge_change(handshake);
    pass_time(1000);
    assert_told("not_ready(connections_unreliable handshake) ");
    check_fail(ping, REASON_CONNECT_REFUSED, "refused");
    judge_change(ping);
    pass_time(1000);
    assert_told("check_fail(server_down ping) cause(server_down) ");
    check_fail(certificate, REASON_CONNECT_REFUSED, "refused");
    judge_change(certificate);
    pass_time(1000);
    assert_told("check_fail(server_down certificate) ");
    check_warn(bus, REASON_SLOW, "late");
    judge_change(bus);
    mend(certificate);
    judge_change(certificate);
    pass_time(1000);
    assert_told("check_warn(server_down bus) check_pass(server_down certificate) ");
}

/* A recovery does not take a check with it that fails: its line is for another level. */
static void test_back_while_another_fails(void **state)
{
    (void)state;
    check_fail(handshake, REASON_CONNECT_REFUSED, "refused");
    judge_change(handshake);
    pass_time(1000);
    buf_reset(&told);
    check_fail(certificate, REASON_TLS_CERT_UNTRUSTED, "not trusted");
    judge_change(certificate);
    mend(handshake);
    judge_change(handshake);
    pass_time(1000);
    assert_told("ready(certificate_untrusted handshake) check_fail(certificate_untrusted certificate) ");
    check_fail(bus, REASON_BROKER_UNREACHABLE, "No connection to bus");
    judge_change(bus);
    pass_time(1000);
    assert_told("degraded(broker_down bus) ");
}

static const char *logged(int fd)
{
    static char text[8192];
    ssize_t n = read(fd, text, sizeof text - 1);

    assert_true(n > 0);
    text[n] = 0;
    return text;
}

/* The line itself: which checks, each under its reason. */
static void test_the_line(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    logs = true;
    check_fail(handshake, REASON_CONNECT_REFUSED, "refused");
    judge_change(handshake);
    check_fail(ping, REASON_CLOSED_ABNORMAL, "cut");
    judge_change(ping);
    check_fail(certificate, REASON_CONNECT_REFUSED, "refused");
    judge_change(certificate);
    pass_time(1000);
    assert_non_null(strstr(logged(fds[0]), " level=warn event=not_ready cause=server_down was=healthy checks=3 "
                                           "failed=\"connect_refused: handshake, certificate; closed_abnormal: ping\" message=\""));
    check_warn(bus, REASON_SLOW, "late");
    judge_change(bus);
    pass_time(1000);
    assert_non_null(strstr(logged(fds[0]),
                           " level=warn event=check_warn check=bus type=broker path=local reason=slow phase=open message=late\n"));
    mend(bus);
    judge_change(bus);
    mend(handshake);
    judge_change(handshake);
    mend(ping);
    judge_change(ping);
    pass_time(1000);
    assert_non_null(strstr(logged(fds[0]), " checks=3 passed=\"handshake, ping, bus\" message=\""));
    mend(certificate);
    judge_change(certificate);
    pass_time(1000);
    assert_non_null(strstr(logged(fds[0]), " event=check_pass check=certificate type=tls path=local cause=healthy was="));
    log_set_fd(STDERR_FILENO);
    close(fds[0]);
    close(fds[1]);
}

/* More names than a line has room for are counted. */
static void test_more_than_a_line_holds(void **state)
{
    enum { MANY = 60 };
    static char names[MANY][64];
    struct story_check checks[MANY];
    const struct story_line line = { EVENT_NOT_READY, &story.told, &story.told, checks, MANY, true };
    char message[] = "refused", more[32];
    const char *text, *at;
    size_t shown = 0;
    int fds[2];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "a-check-with-a-rather-long-name-%02zu", i);
        checks[i] =
            (struct story_check){ .name = names[i], .message = message, .state = STATE_FAIL, .reason = REASON_CONNECT_REFUSED };
    }
    assert_int_equal(pipe(fds), 0);
    log_set_fd(fds[1]);
    story_log(&line);
    text = logged(fds[0]);
    log_set_fd(STDERR_FILENO);
    for (at = text; (at = strstr(at, "a-check-with")); at++)
        shown++;
    assert_in_range(shown, 20, MANY - 1);
    snprintf(more, sizeof more, " and %zu more\" message=", MANY - shown);
    assert_non_null(strstr(text, more));
    assert_non_null(strstr(text, "checks=60 failed=\"connect_refused: a-check-with"));
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_settled_cause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_change_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_degraded_and_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cause_that_comes_and_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_back_with_a_report, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_thirty_checks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_waits_no_longer_than_it_says, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_single_checks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_back_while_another_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_than_a_line_holds, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
