/* Rounds of a reconnect check: both ways to drop, subscriptions that do not come back, slowness, and attempts that never become a storm. */
#include "probes/registry.h"
#include "tests/unit/client/script.h"
#include "tests/unit/probes/host.h"

enum { CHECKS_MAX = 4 };
static const char refusal[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
static const char forbidden[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

static struct stage {
    struct loop loop;
    struct script script;
    struct check_host host;
    struct check *checks[CHECKS_MAX];
    size_t count;
    struct timer end;
    unsigned rounds, stop_after;
    /* The server. */
    unsigned confirms; /* so many subscriptions; 0: all */
    bool refuses;      /* the others; else it says nothing to them */
    unsigned subscribed, closes;
    unsigned takes;        /* so many upgrades; 0: all */
    const char *to_others; /* its answer */
    unsigned asked;
} stage;

static const struct conf_env env = { .probes = probe_registry, .getenv = no_env };

static void answer(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_CLOSE) {
        stage.closes++;
        peer_close(peer, 1000, "");
    } else if (message->opcode == WS_TEXT) {
        stage.subscribed++;
        if (!stage.confirms || stage.subscribed <= stage.confirms)
            peer_say(peer, WS_TEXT, slice_str("yes"));
        else if (stage.refuses)
            peer_say(peer, WS_TEXT, slice_str("no"));
    }
}

static const char *on_request(struct script *script, const struct http_head *head)
{
    (void)script;
    (void)head;
    return ++stage.asked > stage.takes && stage.takes ? stage.to_others : NULL;
}

static void on_judged(void *user, struct check *check, bool changed)
{
    (void)user;
    (void)check;
    (void)changed;
    if (++stage.rounds == stage.stop_after)
        loop_stop(&stage.loop);
}

static void on_end(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    loop_stop(&stage.loop);
}

static void begin(const char *options, size_t count)
{
    struct buf text = BUF_INIT(4096);
    struct conf *conf;
    struct err err;

    assert_int_equal(loop_init(&stage.loop, &err), 0);
    stage.script.on_message = answer;
    stage.script.leaves_close = true;
    stage.script.on_request = on_request;
    stage.count = count;
    buf_printf(&text, "target: { url: \"ws://127.0.0.1:%u/ws\" }\nchecks:\n", script_begin(&stage.script, &stage.loop));
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "  - { name: c%zu, type: reconnect, interval: 100ms, %s }\n", i, options);
    stage.host.on_judged = on_judged;
    host_begin(&stage.host, &stage.loop);
    timer_init(&stage.end, &stage.loop, on_end, NULL);
    conf = host_conf(&text, &env);
    buf_fini(&text);
    host_checks(&stage.host, conf, stage.checks, count);
    conf_unref(conf);
    for (size_t i = 0; i < count; i++)
        check_start(stage.checks[i], 0, i, count);
}

static const struct check_view *play(unsigned rounds)
{
    stage.stop_after = stage.rounds + rounds;
    loop_run(&stage.loop);
    return check_get_view(stage.checks[0]);
}

static void end(void)
{
    for (size_t i = 0; i < stage.count; i++)
        check_free(stage.checks[i]);
    timer_stop(&stage.end);
    host_end(&stage.host);
    script_end(&stage.script);
    loop_fini(&stage.loop);
    memset(&stage, 0, sizeof stage);
}

#define FAST "timeout: 20s, max_per_second: 100"
#define CHANNEL ", channel: news, subscribe: { send: '{{channel}}', expect: { equals: yes }, reject: { equals: no } }"

static void test_it_drops_in_both_ways_in_turn(void **state)
{
    (void)state;
    begin(FAST, 1);
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "after a close frame", "first");
    assert_int_equal(stage.closes, 1);
    assert_int_equal(stage.script.accepted, 2);
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "after an abort", "second");
    assert_int_equal(stage.closes, 1);
    assert_int_equal(stage.script.accepted, 3); /* the connection is kept between rounds */
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "after a close frame", "third");
    end();
}

static void test_one_way_only(void **state)
{
    (void)state;
    begin(FAST ", how: [abort]", 1);
    for (unsigned i = 0; i < 3; i++)
        assert_verdict(play(1), RESULT_PASS, REASON_NONE, "after an abort", "abort");
    assert_int_equal(stage.closes, 0);
    end();
}

static void test_subscriptions_come_back(void **state)
{
    (void)state;
    begin(FAST CHANNEL, 1);
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "with its subscriptions", "first");
    assert_int_equal(stage.subscribed, 2);
    end();
}

static void test_a_subscription_that_is_not_confirmed_again(void **state)
{
    (void)state;
    stage.confirms = 1;
    begin("timeout: 1s, max_per_second: 100" CHANNEL, 1);
    assert_verdict(play(1), RESULT_FAIL, REASON_RESUME_FAILED,
                   "after the reconnect, the subscription to \"news\" was not confirmed", "silent");
    end();
    stage.confirms = 1;
    stage.refuses = true;
    begin(FAST CHANNEL, 1);
    assert_verdict(play(1), RESULT_FAIL, REASON_RESUME_FAILED, "after the reconnect, the server refused channel \"news\"",
                   "refused");
    end();
}

/* One that was never confirmed is no matter of reconnecting. */
static void test_a_subscription_that_never_was(void **state)
{
    (void)state;
    stage.confirms = 1;
    stage.subscribed = 1;
    begin("timeout: 500ms, max_per_second: 100" CHANNEL, 1);
    assert_verdict(play(1), RESULT_FAIL, REASON_SUBSCRIBE_TIMEOUT, "news", "never");
    end();
}

static void test_slowness(void **state)
{
    (void)state;
    begin(FAST ", within: 1ms" CHANNEL, 1);
    stage.script.cut = CUT_BYTES; /* an answer of some hundred bytes takes as many turns of the loop */
    assert_verdict(play(1), RESULT_FAIL, REASON_RECONNECT_SLOW, "to come back (want 1ms)", "slow");
    end();
}

/* Several checks, and a server that is down: no more attempts than max_per_second, of all together. */
static void test_it_is_no_storm(void **state)
{
    enum { SECONDS = 3, PER_SECOND = 4 };

    (void)state;
    stage.script.raw_response = refusal;
    begin("timeout: 1s, max_per_second: 4", CHECKS_MAX);
    timer_start(&stage.end, SECONDS * 1000);
    play(1000);
    assert_in_range(stage.script.accepted, 2, SECONDS * PER_SECOND + 1);
    assert_verdict(check_get_view(stage.checks[0]), RESULT_FAIL, REASON_UPGRADE_REFUSED, "503", "down");
    end();
}

/* The probe itself is refused: the common back-off holds. */
static void test_a_refusal_ends_the_attempts(void **state)
{
    (void)state;
    stage.script.raw_response = forbidden;
    begin("timeout: 5s, max_per_second: 100", 1);
    timer_start(&stage.end, 2000);
    play(1000);
    assert_int_equal(stage.script.accepted, 1);
    assert_verdict(check_get_view(stage.checks[0]), RESULT_FAIL, REASON_UPGRADE_UNAUTHORIZED, "403", "refused");
    end();
}

static void test_it_comes_back_when_the_server_does(void **state)
{
    (void)state;
    begin("timeout: 1s, max_per_second: 50", 1);
    play(1);
    stage.script.raw_response = refusal;
    assert_verdict(play(1), RESULT_FAIL, REASON_UPGRADE_REFUSED, "it did not come back after an abort: ", "gone");
    stage.script.raw_response = NULL;
    for (unsigned i = 0; i < 5 && check_get_view(stage.checks[0])->status != RESULT_PASS; i++)
        if (play(1)->status == RESULT_FAIL)
            assert_int_equal(check_get_view(stage.checks[0])->reason, REASON_RECONNECT_SLOW);
    end();
}

/* --- burst --- */

enum { ALWAYS = 3 /* connections before the crowd: the check's, that once more, the bystander's */ };
#define CROWD "timeout: 30s, within: 10s, max_per_second: 100, burst: 20"

static void test_a_crowd_comes_back(void **state)
{
    (void)state;
    begin(CROWD, 1);
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "after a close frame; 20 of 20 came back within ", "crowd");
    assert_non_null(strstr(check_get_view(stage.checks[0])->message, "; a bystander's ping took "));
    assert_int_equal(stage.script.accepted, ALWAYS + 20);
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "after an abort", "a minute is not over");
    assert_int_equal(stage.script.accepted, ALWAYS + 20 + 1);
    end();
}

/* Two checks have one pace. */
static void test_bursts_are_rare_for_all(void **state)
{
    (void)state;
    begin(CROWD, 2);
    play(6);
    assert_in_range(stage.script.accepted, 20, 40);
    end();
}

static void test_a_crowd_that_is_too_large(void **state)
{
    (void)state;
    stage.takes = ALWAYS + 12;
    stage.to_others = refusal;
    begin(CROWD, 1);
    assert_verdict(play(1), RESULT_WARN, REASON_RECONNECT_SLOW,
                   "12 of 20 connections came back within 10s; the first failure: ", "first");
    assert_non_null(strstr(check_get_view(stage.checks[0])->message, "503"));
    stage.takes = 0;
    assert_verdict(play(1), RESULT_WARN, REASON_RECONNECT_SLOW, "; of the last burst: 12 of 20 ", "it is remembered");
    stage.takes = stage.asked + ALWAYS - 1 + 12;
    stage.host.group.burst_ns = 0;
    assert_verdict(play(1), RESULT_FAIL, REASON_RECONNECT_SLOW, "12 of 20 ", "two in a row");
    stage.takes = 0;
    stage.host.group.burst_ns = 0;
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "20 of 20 ", "well again");
    end();
}

static void test_a_crowd_that_is_left_without_answer(void **state)
{
    (void)state;
    stage.takes = ALWAYS + 12;
    stage.to_others = "HTTP/1.1 101 Swit";
    begin("timeout: 30s, within: 500ms, max_per_second: 100, burst: 20", 1);
    stage.script.stays = true;
    assert_verdict(play(1), RESULT_WARN, REASON_RECONNECT_SLOW, "12 of 20 connections came back within 500ms; the others", "mute");
    end();
}

static void test_a_refusal_stops_the_burst(void **state)
{
    (void)state;
    stage.takes = ALWAYS + 1;
    stage.to_others = forbidden;
    begin("timeout: 30s, within: 10s, max_per_second: 100, burst: 500", 1);
    assert_verdict(play(1), RESULT_WARN, REASON_RATE_LIMITED, " of a burst of 500, and the burst was stopped: ", "refused");
    assert_true(stage.script.accepted < 250);
    assert_true(stage.host.group.burst_ns > clock_now_ns() + 500 * NS_PER_S);
    end();
}

/* It ends in the middle of one: nothing leaks, and nothing comes later. */
static void test_it_ends_in_a_burst(void **state)
{
    (void)state;
    stage.takes = ALWAYS;
    stage.to_others = "HTTP/1.1 101 Swit";
    begin(CROWD, 1);
    stage.script.stays = true;
    timer_start(&stage.end, 500);
    play(1);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_drops_in_both_ways_in_turn),
        cmocka_unit_test(test_one_way_only),
        cmocka_unit_test(test_subscriptions_come_back),
        cmocka_unit_test(test_a_subscription_that_is_not_confirmed_again),
        cmocka_unit_test(test_a_subscription_that_never_was),
        cmocka_unit_test(test_slowness),
        cmocka_unit_test(test_it_is_no_storm),
        cmocka_unit_test(test_a_refusal_ends_the_attempts),
        cmocka_unit_test(test_it_comes_back_when_the_server_does),
        cmocka_unit_test(test_a_crowd_comes_back),
        cmocka_unit_test(test_bursts_are_rare_for_all),
        cmocka_unit_test(test_a_crowd_that_is_too_large),
        cmocka_unit_test(test_a_crowd_that_is_left_without_answer),
        cmocka_unit_test(test_a_refusal_stops_the_burst),
        cmocka_unit_test(test_it_ends_in_a_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
