/* What the log tells of the verdict: each change once, with its final cause; no causes that come and go; no fault as the reason of
 * a recovery. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/buf.h"
#include "agent/report/story.h"
#include "tests/unit/report/views.h"

static struct world world;
static struct check_view *handshake, *ping, *bus, *certificate;
static struct story story;
static struct buf told;
static uint64_t now_ms, timer_ms; /* 0: none */

static void on_line(void *user, const struct story_line *line)
{
    (void)user;
    buf_printf(&told, "%s(%s) ", event_name(line->event), line->is->cause);
}

static void judge(void)
{
    world_judge(&world, false, true);
    timer_ms = story_update(&story, &world.view, now_ms, WORLD_MS + (int64_t)now_ms) ? story.due_ms : 0;
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
    buf_fini(&told);
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
    pass_time(1000);
    assert_told("ready(healthy) ");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_settled_cause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_change_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_degraded_and_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cause_that_comes_and_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_back_with_a_report, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
