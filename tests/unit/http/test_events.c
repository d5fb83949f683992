/* /events over a view that the test changes: what each reader is given, and what is never made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <poll.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/shared.h"
#include "agent/http/events.h"

enum { PATIENCE_MS = 20000 };

static struct check_view ping, echo, other;
static const struct check_view *checks[] = { &ping, &echo }, *others[] = { &ping, &other };
static struct agent_view view;
static struct loop loop;
static struct events *events;
static unsigned told, reading;

static const struct agent_view *source_view(void *user)
{
    (void)user;
    return &view;
}

static void on_news(void *user)
{
    (void)user;
    told++;
}

static unsigned readers(void *user)
{
    (void)user;
    return reading;
}

static void make_check(struct check_view *check, const char *name)
{
    memset(check, 0, sizeof *check);
    check->name = check->type = name;
    check->path = "local";
    check->judged = true;
    check->status = RESULT_PASS;
    check->health.state = STATE_PASS;
    check->total_ns = 1200000;
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    make_check(&ping, "ping");
    make_check(&echo, "echo");
    make_check(&other, "other");
    memset(&view, 0, sizeof view);
    view.version = "0.0";
    view.config_file = "";
    view.service_id = "ws://127.0.0.1:1/secret-path";
    view.nonce = "1f2e";
    view.verdict = (struct verdict){ .ready = true, .live = true, .started = true, .status = RESULT_PASS };
    view.diagnosis.cause = "healthy";
    strcpy(view.diagnosis.plain, "everything is fine");
    strcpy(view.diagnosis.sentence, "10.0.0.1 is fine");
    view.checks = checks;
    view.check_count = 2;
    told = 0;
    reading = 1;
    assert_int_equal(loop_init(&loop, &err), 0);
    events = events_new(&loop, &(struct events_source){ source_view, on_news, readers, NULL });
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    events_free(events);
    loop_fini(&loop);
    assert_int_equal(shared_live_bytes(), 0);
    return 0;
}

/* "": nothing. */
static const char *next(enum events_look look, struct httpd_reader *reader)
{
    static struct buf text;
    struct shared *event = events_next(events, look, reader);
    buf_fini(&text);
    buf_init(&text, 1 << 20);
    if (event)
        buf_append_slice(&text, shared_slice(event));
    shared_unref(event);
    return buf_str(&text);
}

static void await_news(void)
{
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;
    told = 0;
    events_note(events);
    while (!told) {
        assert_true(clock_now_ms() < give_up);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
}

static void fail_echo(void)
{
    echo.health.state = STATE_FAIL;
    echo.status = RESULT_FAIL;
    echo.reason = echo.last_fault = REASON_ECHO_MISMATCH;
    echo.scope = echo.last_fault_scope = SCOPE_LOCAL;
    strcpy(echo.message, "secret words\n\ndata: forged\033[2J");
    strcpy(echo.last_fault_message, echo.message);
    view.verdict.ready = false;
    view.verdict.status = RESULT_FAIL;
}

#define assert_in(text, part) assert_non_null(strstr((text), (part)))
#define assert_not_in(text, part) assert_null(strstr((text), (part)))

static void a_snapshot_and_then_what_changes(void **state)
{
    struct httpd_reader reader = { 0 };
    (void)state;
    const char *text = next(EVENTS_FULL, &reader);
    assert_int_equal(strncmp(text, "retry: 1000\nevent: snapshot\nid: 1f2e-", 37), 0);
    assert_in(text, "\"name\":\"ping\"");
    assert_in(text, "\"name\":\"echo\"");
    assert_not_in(text, "\"changed\"");
    assert_string_equal(next(EVENTS_FULL, &reader), "");

    fail_echo();
    await_news();
    text = next(EVENTS_FULL, &reader);
    assert_int_equal(strncmp(text, "event: change\nid: 1f2e-", 23), 0);
    assert_in(text, "\"changed\":[\"state\",\"verdict\",\"checks\"],\"status\":\"fail\"");
    assert_in(text, "\"name\":\"echo\"");
    assert_not_in(text, "\"name\":\"ping\"");
    assert_not_in(text, "\ndata: forged");
    assert_not_in(text, "\033");
    assert_string_equal(next(EVENTS_FULL, &reader), "");

    ping.total_ns++; /* a mere round */
    ping.rtt_ns = 5000000;
    ping.have_rtt = true;
    await_news();
    text = next(EVENTS_FULL, &reader);
    assert_in(text, "\"changed\":[\"checks\"]");
    assert_not_in(text, "\"name\":\"echo\"");
}

static void a_change_of_the_fleet_is_one(void **state)
{
    struct fleet_view fleet = { .group = "chat", .linked = true, .regions = { { .region = "eu", .ready = 2 } }, .region_count = 1 };
    struct httpd_reader full = { 0 }, users = { 0 };
    (void)state;
    view.fleet = &fleet;
    assert_in(next(EVENTS_FULL, &full), "\"fleet\":{\"group\":\"chat\"");
    assert_not_in(next(EVENTS_USERS, &users), "fleet");
    fleet.regions[0] = (struct fleet_region_view){ .region = "eu", .ready = 1, .silent = 1 };
    await_news();
    assert_in(next(EVENTS_FULL, &full), "\"changed\":[\"fleet\"]");
    assert_string_equal(next(EVENTS_USERS, &users), "");
    await_news();
    assert_string_equal(next(EVENTS_FULL, &full), "");
    view.fleet = NULL;
}

static void news_that_is_none_to_a_reader_is_not_sent(void **state)
{
    struct httpd_reader full = { 0 }, reasons = { 0 };
    (void)state;
    (void)next(EVENTS_FULL, &full);
    (void)next(EVENTS_REASONS, &reasons);
    strcpy(view.diagnosis.sentence, "10.0.0.2 is fine");
    await_news();
    assert_in(next(EVENTS_FULL, &full), "\"changed\":[\"diagnosis\"]");
    assert_string_equal(next(EVENTS_REASONS, &reasons), "");
}

static void who_was_too_slow_or_sees_more_now_begins_again(void **state)
{
    struct httpd_reader slow = { 0 }, quick = { 0 };
    (void)state;
    (void)next(EVENTS_FULL, &slow);
    (void)next(EVENTS_FULL, &quick);
    for (int i = 0; i < 2; i++) {
        view.verdict.degraded = !view.verdict.degraded;
        await_news();
        assert_in(next(EVENTS_FULL, &quick), "event: change\n");
    }
    assert_in(next(EVENTS_FULL, &slow), "event: snapshot\n");
    assert_string_equal(next(EVENTS_FULL, &slow), "");
    assert_in(next(EVENTS_REASONS, &quick), "event: snapshot\n");
}

static void other_checks_are_a_snapshot(void **state)
{
    struct httpd_reader reader = { 0 };
    (void)state;
    (void)next(EVENTS_FULL, &reader);
    view.checks = others;
    await_news();
    const char *text = next(EVENTS_FULL, &reader);
    assert_in(text, "event: snapshot\n");
    assert_in(text, "\"name\":\"other\"");
    assert_string_equal(next(EVENTS_FULL, &reader), "");
}

static void nobody_is_told_more_than_they_may_see(void **state)
{
    struct httpd_reader full = { 0 }, reasons = { 0 }, users = { 0 };
    (void)state;
    fail_echo();
    const char *text = next(EVENTS_FULL, &full);
    assert_in(text, "secret words");
    assert_in(text, "secret-path");
    assert_in(text, "10.0.0.1");
    text = next(EVENTS_REASONS, &reasons);
    assert_not_in(text, "secret");
    assert_not_in(text, "10.0.0.1");
    assert_in(text, "echo_mismatch");
    text = next(EVENTS_USERS, &users);
    assert_not_in(text, "secret");
    assert_not_in(text, "10.0.0.1");
    assert_not_in(text, "echo_mismatch");
    assert_in(text, "\"state\":\"fail\"");
    assert_in(text, "everything is fine");
}

static void the_page_comes_in_sections_that_have_changed(void **state)
{
    struct httpd_request request = { .query = slice_str("page") };
    struct buf headers = BUF_INIT(1000);
    struct httpd_reply reply = { .headers = &headers };
    size_t sections = 0;
    (void)state;
    events_begin(&request, &reply);
    assert_true(reply.stream);
    struct httpd_reader reader = { .topic = reply.topic }, users = { .topic = reply.topic };
    const char *text = next(EVENTS_FULL, &reader);
    assert_int_equal(strncmp(text, "retry: 1000\nevent: section\nid: 1f2e-", 36), 0);
    for (const char *at = text; (at = strstr(at, "data: {\"id\":\"")); at++)
        sections++;
    assert_true(sections > 1);
    assert_in(text, "\"html\":\"");
    assert_string_equal(next(EVENTS_FULL, &reader), "");
    fail_echo();
    (void)next(EVENTS_USERS, &users);
    await_news();
    text = next(EVENTS_FULL, &reader);
    assert_in(text, "event: section\n");
    assert_in(text, "secret words");
    assert_not_in(text, "\ndata: forged");
    assert_not_in(next(EVENTS_USERS, &users), "secret");
    assert_string_equal(next(EVENTS_FULL, &reader), "");
    buf_fini(&headers);
}

static void a_quiet_agent_ticks_and_rests_without_readers(void **state)
{
    struct httpd_reader reader = { 0 };
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;
    const char *text;
    (void)state;
    events_note(events); /* nobody has read yet: nothing is timed */
    assert_false(uv_run(&loop.uv, UV_RUN_NOWAIT) && told);
    (void)next(EVENTS_FULL, &reader);
    do {
        assert_true(clock_now_ms() < give_up);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        poll(NULL, 0, 5);
        text = next(EVENTS_FULL, &reader);
    } while (!*text);
    assert_int_equal(strncmp(text, "event: tick\ndata: {\"at\":\"", 25), 0);
    assert_string_equal(next(EVENTS_FULL, &reader), "");
    reading = 0;
    while (shared_live_bytes()) { /* what was kept for readers goes with the last of them */
        assert_true(clock_now_ms() < give_up);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        poll(NULL, 0, 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_snapshot_and_then_what_changes),
        TEST(a_change_of_the_fleet_is_one),
        TEST(news_that_is_none_to_a_reader_is_not_sent),
        TEST(who_was_too_slow_or_sees_more_now_begins_again),
        TEST(other_checks_are_a_snapshot),
        TEST(nobody_is_told_more_than_they_may_see),
        TEST(the_page_comes_in_sections_that_have_changed),
        TEST(a_quiet_agent_ticks_and_rests_without_readers),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
