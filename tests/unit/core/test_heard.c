/* What a delivery check had lately of others: what counts as lost, and what says nothing. Time is an argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/heard.h"
#include "agent/proto/heartbeat.h"

enum { WAIT_MS = 1000 };

static struct heard heard;

static int begin(void **state)
{
    (void)state;
    memset(&heard, 0, sizeof heard);
    return 0;
}

static struct heard_beat beat(uint32_t who, uint64_t seq, uint64_t now_ms)
{
    return (struct heard_beat){ .who = who, .key = seq, .now_ms = now_ms, .late_ms = (int32_t)seq, .wait_ms = WAIT_MS };
}

static void control(uint32_t who, uint64_t seq, uint64_t now_ms)
{
    const struct heard_beat one = beat(who, seq, now_ms);

    heard_control(&heard, &one);
}

static void websocket(uint32_t who, uint64_t seq, uint64_t now_ms)
{
    const struct heard_beat one = beat(who, seq, now_ms);

    heard_websocket(&heard, &one);
}

static struct heard_sum sum_at(unsigned i, uint64_t now_ms)
{
    return heard_sum(&heard.sources[i], now_ms);
}

static void test_what_comes_on_both_is_got(void **state)
{
    (void)state;
    control(1, 5, 1000);
    websocket(1, 5, 1010);
    websocket(1, 5, 1020); /* twice */
    websocket(1, 6, 2000); /* the WebSocket was first */
    control(1, 6, 2010);
    heard.proved_ms = 9000;
    heard_sweep(&heard, 4000);
    heard_sweep(&heard, 9000);
    assert_int_equal(heard.count, 1);
    assert_int_equal(sum_at(0, 9000).got, 2);
    assert_int_equal(sum_at(0, 9000).lost, 0);
    assert_int_equal(sum_at(0, 9000).late_ms, 5);
    assert_int_equal(heard.pending_count, 0);
}

static void test_lost_needs_time_and_a_living_connection(void **state)
{
    (void)state;
    control(1, 5, 1000);
    heard.proved_ms = 1500;
    heard_sweep(&heard, 1900); /* not due */
    heard_sweep(&heard, 2100); /* due since the last sweep only: it may lie unread */
    assert_int_equal(sum_at(0, 2100).lost, 0);
    heard_sweep(&heard, 2400);
    assert_int_equal(sum_at(0, 2400).lost, 1);
    control(1, 6, 3000); /* no answer to a ping since */
    heard_sweep(&heard, 5000);
    heard_sweep(&heard, 6000);
    assert_int_equal(sum_at(0, 6000).lost, 1);
    heard_break(&heard); /* the subscription was gone: nothing follows */
    heard.proved_ms = 6500;
    heard_sweep(&heard, 7000);
    heard_sweep(&heard, 8000);
    assert_int_equal(sum_at(0, 8000).lost, 1);
}

static void test_a_new_subscription_expects_nothing(void **state)
{
    struct heard_beat one = beat(1, 5, 1000);

    (void)state;
    one.wait_ms = 0;
    heard_control(&heard, &one);
    assert_int_equal(heard.pending_count, 0);
    assert_int_equal(heard.sources[0].last_ms, 1000);
}

static void test_the_window_follows_the_pace(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20; i++) /* every half second: a window of 10 s */
        websocket(1, i, 1000 + 500 * i);
    assert_int_equal(sum_at(0, 10500).got, 20);
    assert_int_equal(sum_at(0, 24000).got, 0);
    for (uint64_t i = 0; i < 6; i++) /* every ten seconds: of about 40 */
        websocket(2, 100 + i, 30000 + 10000 * i);
    assert_int_equal(sum_at(1, 89000).got, 5);
    assert_int_equal(sum_at(1, 80000 + 61000).got, 0);
}

/* A restart or an outage of the broker is one long silence: what came before it is forgotten as soon as ever. */
static void test_one_silence_makes_the_window_no_longer(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 30; i++)
        websocket(1, i, 1000 + 1000 * i);
    for (uint64_t i = 0; i < 8; i++)
        control(1, 100 + i, 50000 + 1000 * i); /* 20 s later, and the server passes nothing on */
    heard.proved_ms = 90000;
    heard_sweep(&heard, 58500);
    heard_sweep(&heard, 59000);
    assert_int_equal(sum_at(0, 59000).got, 0);
    assert_int_equal(sum_at(0, 59000).lost, 8);
}

/* Four intervals of a minute: what is lost for good is seen as that. */
static void test_the_window_of_a_slow_pace(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 12; i++)
        websocket(1, i, 1000 + 60000 * i);
    assert_in_range(sum_at(0, 661000 + 59000).got, 4, 5);
    assert_int_equal(sum_at(0, 661000 + 301000).got, 0);
}

static void test_who_was_silent_longest_makes_room(void **state)
{
    (void)state;
    for (uint32_t who = 1; who <= HEARD_SOURCES_MAX; who++)
        websocket(who, who, 1000 + who);
    websocket(500, 500, 2000); /* all of them speak: no room yet */
    assert_int_equal(heard.count, HEARD_SOURCES_MAX);
    assert_false(heard_is_whole(&heard, 2000));
    for (uint32_t who = 2; who <= HEARD_SOURCES_MAX; who++)
        websocket(who, 1000 + who, 70000);
    websocket(501, 501, 70001);
    assert_int_equal(heard.sources[0].who, 501);
    assert_true(heard_is_whole(&heard, 2000 + 120000));
    for (uint64_t now_ms = 70000; now_ms <= 190000; now_ms += 30000) {
        websocket(501, now_ms + 501, now_ms + 100);
        for (uint32_t who = 2; who <= HEARD_SOURCES_MAX; who++)
            websocket(who, now_ms + who, now_ms + 100);
    }
    websocket(502, 502, 190200); /* somebody has had a turn of two minutes */
    assert_int_equal(heard.sources[1].who, 502);
}

static void test_it_is_bounded(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 10000; i++) {
        control((uint32_t)(i % 200), i, 1000);
        websocket((uint32_t)(i % 200), 20000 + i, 1000);
    }
    assert_int_equal(heard.count, HEARD_SOURCES_MAX);
    assert_int_equal(heard.pending_count, HEARD_PENDING_MAX);
}

static void test_a_long_id_keeps_its_number(void **state)
{
    static const char *const ids[] = { "chat-1", "a-deployment-with-a-long-name-7d9f8c6b5-x2x4z",
                                       "a-deployment-with-a-long-name-7d9f8c6b5-aaaaa" };
    char agent[HEARTBEAT_WORD_MAX + 1];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        heartbeat_agent(ids[i], "0123abcd", agent);
        assert_true(strlen(agent) <= HEARTBEAT_WORD_MAX);
        assert_int_equal(heartbeat_who_of(agent), heartbeat_who(ids[i]));
    }
    assert_int_not_equal(heartbeat_who(ids[1]), heartbeat_who(ids[2]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_comes_on_both_is_got, begin),
        cmocka_unit_test_setup(test_lost_needs_time_and_a_living_connection, begin),
        cmocka_unit_test_setup(test_a_new_subscription_expects_nothing, begin),
        cmocka_unit_test_setup(test_the_window_follows_the_pace, begin),
        cmocka_unit_test_setup(test_one_silence_makes_the_window_no_longer, begin),
        cmocka_unit_test_setup(test_the_window_of_a_slow_pace, begin),
        cmocka_unit_test_setup(test_who_was_silent_longest_makes_room, begin),
        cmocka_unit_test_setup(test_it_is_bounded, begin),
        cmocka_unit_test(test_a_long_id_keeps_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
