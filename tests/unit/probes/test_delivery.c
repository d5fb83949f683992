/*
 * The delivery check against a puppet of a broker and a WebSocket server that passes on what is published, or does not
 * (tests/unit/probes/delivery_stage.h): the whole table of verdicts, what happens in the middle of rounds and between them, and what is
 * counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/probes/delivery_stage.h"

enum { LATE_MS = 60 };

#define ONE "    channel: news\n"
#define SOON "800ms"                  /* where a deadline is awaited; late by a quarter of it, the agent voids the round */
#define IN_TIME "    within: 600ms\n" /* beside SOON */
#define LONG "20s"                    /* where none is */

/* --- the table --- */

static void test_pass(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(LONG, ONE "    within: 10s\n");
    view = play(3);
    assert_judged(view, RESULT_PASS, REASON_NONE, NULL);
    assert_true(view->have_rtt);
    assert_int_equal(heard(DELIVERY_RECEIVED), 3);
    assert_int_equal(heard(DELIVERY_LOST) + heard(DELIVERY_LATE) + heard(DELIVERY_DUPLICATE) + heard(DELIVERY_REORDERED), 0);
    assert_int_equal(accepted, 1); /* the session is kept */
    assert_int_equal(puppet.subscribed, 1);
    assert_string_equal(puppet.topics[0], "news");
    assert_non_null(strstr(puppet.bodies[0], "wshb1.me-0badcafe.here.delivery.1."));
    assert_non_null(strstr(puppet.bodies[2], "wshb1.me-0badcafe.here.delivery.3."));
    end();
}

static void test_late_is_slow(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(LONG, ONE "    within: 20ms\n");
    puppet.late_ms = LATE_MS;
    view = play(1);
    assert_judged(view, RESULT_FAIL, REASON_DELIVERY_SLOW, "within is 20ms");
    assert_int_equal(view->scope, SCOPE_LOCAL);
    assert_int_equal(heard(DELIVERY_LATE), 1);
    assert_int_equal(heard(DELIVERY_RECEIVED), 0);
    end();
}

static void test_slower_than_slo_warns(void **state)
{
    (void)state;
    begin(LONG, ONE "    within: 10s\n    slo: 20ms\n");
    puppet.late_ms = LATE_MS;
    assert_judged(play(1), RESULT_WARN, REASON_DELIVERY_SLOW, "slo is 20ms");
    assert_int_equal(heard(DELIVERY_RECEIVED), 1);
    end();
}

static void test_lost(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(SOON, ONE);
    puppet.no_server = true;
    view = play(2);
    assert_judged(view, RESULT_FAIL, REASON_DELIVERY_LOST, "on channel news");
    assert_int_equal(view->scope, SCOPE_LOCAL);
    assert_int_equal(view->phase, PHASE_OPEN);
    assert_int_equal(view->health.state, STATE_FAIL);
    assert_int_equal(heard(DELIVERY_LOST), 2);
    end();
}

#define COMMAND "    publish: { command: [XADD, 'to-{{channel}}', '*', data, '*', '<{{payload}}>'] }\n"

/* What is read without pub/sub has no control: the broker's reply and the WebSocket are the whole proof. */
static void test_command_passes_without_control(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(LONG, ONE COMMAND "    within: 10s\n");
    view = play(3);
    assert_judged(view, RESULT_PASS, REASON_NONE, NULL);
    assert_string_equal(view->message, ""); /* no remark about a control that cannot be */
    assert_int_equal(puppet.subscribed, 0);
    assert_string_equal(puppet.topics[0], "to-news");
    assert_memory_equal(puppet.bodies[0], "<wshb1.", 7);
    assert_int_equal(heard(DELIVERY_RECEIVED), 3);
    end();
}

static void test_command_lost(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(SOON, ONE COMMAND);
    puppet.no_server = true;
    view = play(2);
    assert_judged(view, RESULT_FAIL, REASON_DELIVERY_LOST, "the agent cannot see whether others get it");
    assert_int_equal(view->scope, SCOPE_LOCAL);
    assert_int_equal(heard(DELIVERY_LOST), 2);
    end();
}

static void test_command_refused_or_unanswered(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(SOON, ONE COMMAND);
    puppet.why = REASON_BROKER_READ_ONLY;
    assert_judged(play(1), RESULT_FAIL, REASON_BROKER_READ_ONLY, "the puppet says so");
    puppet.why = REASON_NONE;
    puppet.publishes_unanswered = true;
    view = play(1);
    assert_judged(view, RESULT_FAIL, REASON_BROKER_TIMEOUT, "has not confirmed the heartbeat");
    assert_int_equal(view->scope, SCOPE_SHARED);
    puppet.publishes_unanswered = false;
    assert_judged(play(2), RESULT_PASS, REASON_NONE, NULL);
    end();
}

static void test_not_delivering(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(SOON, ONE);
    puppet.no_server = puppet.no_control = true;
    view = play(1);
    assert_judged(view, RESULT_FAIL, REASON_BROKER_NOT_DELIVERING, "on channel news");
    assert_int_equal(view->scope, SCOPE_SHARED);
    assert_int_equal(view->phase, PHASE_NONE);
    end();
}

/* The agent has dropped messages itself: that the heartbeat was nowhere proves nothing of the broker. */
static void test_dropped_by_the_agent(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(SOON, ONE);
    puppet.no_server = puppet.no_control = true;
    puppet.drops = 3;
    view = play(2);
    assert_int_equal(view->stats.rounds[RESULT_VOID], 2);
    assert_int_equal(view->stats.failures[REASON_AGENT_ERROR], 2);
    assert_non_null(strstr(view->message, "may be among those that it dropped"));
    assert_int_equal(broker_dropped_count(stage.broker), 6);
    puppet.drops = 0; /* what was dropped in earlier rounds excuses nothing now */
    assert_judged(play(1), RESULT_FAIL, REASON_BROKER_NOT_DELIVERING, NULL);
    end();
}

static void test_own_subscription_missing(void **state)
{
    (void)state;
    begin(SOON, ONE);
    puppet.no_control = true;
    assert_judged(play(1), RESULT_PASS, REASON_NONE, "the agent's own subscription");
    end();
}

static void test_publish_refused(void **state)
{
    static const enum reason reasons[] = { REASON_BROKER_READ_ONLY, REASON_BROKER_BLOCKED, REASON_BROKER_AUTH_FAILED };
    const struct check_view *view;

    (void)state;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        begin(LONG, ONE);
        puppet.why = reasons[i];
        view = play(1);
        assert_judged(view, RESULT_FAIL, reasons[i], "the puppet says so");
        assert_int_equal(view->scope, SCOPE_SHARED);
        assert_int_equal(view->phase, PHASE_NONE);
        end();
    }
}

static void test_broker_says_nothing(void **state)
{
    (void)state;
    begin(SOON, ONE);
    puppet.deaf = true;
    assert_judged(play(1), RESULT_FAIL, REASON_BROKER_TIMEOUT, "own subscription");
    end();
}

static void go_deaf(unsigned round)
{
    puppet.deaf = round >= 1;
}

static void test_publish_unanswered(void **state)
{
    (void)state;
    begin("1s", ONE "    within: 900ms\n");
    stage.on_round = go_deaf;
    assert_judged(play(2), RESULT_FAIL, REASON_BROKER_TIMEOUT, NULL);
    assert_int_equal(stage.results[0], RESULT_PASS);
    end();
}

static void test_broker_down_from_the_start(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(LONG, ONE);
    puppet.down = true;
    view = play(2);
    assert_judged(view, RESULT_FAIL, REASON_BROKER_UNREACHABLE, "the puppet says so");
    assert_int_equal(view->phase, PHASE_NONE);
    end();
}

/* --- events --- */

static void break_broker(unsigned round)
{
    if (round == 2)
        later(LATER_DOWN, NOTHING, NOTHING, 0, 0);
}

/* Judged at once, once, and over as soon as it is back; the subscription is made anew by itself. */
static void test_broker_breaks_between_rounds(void **state)
{
    (void)state;
    begin(LONG, ONE "    within: 10s\n");
    stage.on_round = break_broker;
    play(5);
    assert_int_equal(stage.results[1], RESULT_PASS);
    assert_int_equal(stage.reasons[2], REASON_BROKER_UNREACHABLE);
    assert_int_equal(stage.results[4], RESULT_PASS);
    assert_int_equal(puppet.opened, 2);
    assert_int_equal(puppet.subscribed, 2);
    assert_int_equal(accepted, 1); /* the WebSocket has not suffered */
    assert_int_equal(heard(DELIVERY_LOST), 0);
    assert_int_equal(heard(DELIVERY_DUPLICATE), 0);
    end();
}

static void break_in_round(struct timer *timer, void *user)
{
    struct err err;

    (void)timer;
    (void)user;
    err_set(&err, REASON_BROKER_UNREACHABLE, 0, "it hung up");
    broker_down(puppet.broker, &err);
}

static void test_broker_breaks_in_a_round(void **state)
{
    struct timer timer = { 0 };

    (void)state;
    begin(LONG, ONE);
    puppet.no_server = true; /* the round waits for the WebSocket */
    timer_init(&timer, &loop, break_in_round, NULL);
    timer_start(&timer, 100);
    assert_judged(play(1), RESULT_FAIL, REASON_BROKER_UNREACHABLE, "it hung up");
    puppet.no_server = false;
    assert_int_equal(stage.rounds, 1);
    while (check_get_view(stage.check)->status != RESULT_PASS)
        play(1);
    end();
}

static void drop_after_first(unsigned round)
{
    if (round == 1)
        drop_peers();
}

/* The server restarts: an event, a new connection, a new subscription. */
static void test_websocket_comes_back(void **state)
{
    (void)state;
    begin(LONG, ONE "    within: 10s\n    subscribe: { send: 'sub {{channel}}' }\n");
    stage.on_round = drop_after_first;
    play(3);
    assert_int_equal(stage.results[0], RESULT_PASS);
    assert_int_equal(stage.reasons[1], REASON_CLOSED_ABNORMAL);
    assert_int_equal(stage.results[2], RESULT_PASS);
    assert_int_equal(accepted, 2);
    assert_int_equal(asked_count, 2);
    assert_string_equal(asked_for[0], "sub news");
    assert_string_equal(asked_for[1], "sub news");
    end();
}

static void test_server_is_gone(void **state)
{
    (void)state;
    begin(LONG, ONE);
    listener_close(listener);
    assert_judged(play(1), RESULT_FAIL, REASON_CONNECT_REFUSED, NULL);
    assert_int_equal(puppet.published, 0);
    listener = listener_open(&loop, &(struct listen_address){ .host = "127.0.0.1" }, &(struct listen_options){ .fd = -1 },
                             on_accept, NULL, &(struct err){ 0 });
    end();
}

static void lose_one_round(unsigned round)
{
    puppet.no_server = round >= 1 && round < 3;
}

/* Two failed rounds make it fail; it takes `rise` good ones to end that. */
static void test_recovery_by_rise(void **state)
{
    (void)state;
    begin(SOON, ONE IN_TIME "    rise: 3\n");
    stage.on_round = lose_one_round;
    play(3);
    assert_int_equal(stage.reasons[2], REASON_DELIVERY_LOST);
    while (check_get_view(stage.check)->status != RESULT_PASS)
        play(1);
    play(1);
    if (stage.results[stage.rounds - 1] == RESULT_PASS && stage.results[stage.rounds - 2] == RESULT_PASS)
        assert_int_equal(check_get_view(stage.check)->health.state, STATE_FAIL);
    play(1);
    if (stage.results[stage.rounds - 1] == RESULT_PASS)
        assert_int_equal(check_get_view(stage.check)->health.state, STATE_PASS);
    end();
}

static void then_lose(unsigned round)
{
    puppet.why = round < 3 ? REASON_BROKER_READ_ONLY : REASON_NONE;
    puppet.no_server = round < 5;
}

/* When the broker is well again, the server may need a moment: its fault counts when it has lasted for `fall` rounds. */
static void test_shared_turns_local_slowly(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(SOON, ONE IN_TIME "    fall: 2\n");
    stage.on_round = then_lose;
    then_lose(0);
    view = play(3);
    assert_int_equal(view->health.state, STATE_FAIL);
    assert_int_equal(view->last_fault_scope, SCOPE_SHARED);
    view = play(1);
    assert_int_equal(view->reason, REASON_DELIVERY_LOST);
    assert_int_equal(view->last_fault, REASON_BROKER_READ_ONLY);
    assert_int_equal(view->last_fault_scope, SCOPE_SHARED);
    view = play(1);
    assert_int_equal(view->last_fault, REASON_DELIVERY_LOST);
    assert_int_equal(view->last_fault_scope, SCOPE_LOCAL);
    assert_int_equal(view->health.mute_since_ms, 0); /* no evidence for /live */
    while (check_get_view(stage.check)->status != RESULT_PASS)
        play(1);
    end();
}

/* --- counting --- */

static void test_duplicates(void **state)
{
    (void)state;
    begin(LONG, ONE "    within: 10s\n");
    puppet.twice = true;
    assert_judged(play(4), RESULT_PASS, REASON_NONE, NULL);
    assert_int_equal(heard(DELIVERY_RECEIVED), 4);
    assert_in_range(heard(DELIVERY_DUPLICATE), 3, 4); /* the last may still be under way */
    assert_int_equal(heard(DELIVERY_LATE), 0);
    end();
}

/* Every message comes once more behind its successor: a duplicate, not news, though its round is long over. */
static void test_stale_duplicates(void **state)
{
    (void)state;
    begin(LONG, ONE "    within: 10s\n");
    puppet.hold_back = true;
    assert_judged(play(4), RESULT_PASS, REASON_NONE, NULL);
    assert_int_equal(heard(DELIVERY_RECEIVED), 4);
    assert_in_range(heard(DELIVERY_DUPLICATE), 2, 3);
    assert_int_equal(heard(DELIVERY_LATE), 0);
    assert_int_equal(heard(DELIVERY_REORDERED), 0);
    end();
}

static void foreign_say(struct timer *timer, void *user)
{
    static uint64_t seq = 100;
    struct heartbeat foreign = { .agent = "you-0badcafe", .region = "here", .check = "delivery", .seq = seq++, .sent_ms = 1 };
    char text[HEARTBEAT_MAX];

    (void)user;
    heartbeat_write(&foreign, text);
    server_say(slice_str(text));
    if (puppet.published) { /* and one with our next number */
        foreign.seq = puppet.published;
        heartbeat_write(&foreign, text);
        server_say(slice_str(text));
        if (puppet.broker && broker_is_up(puppet.broker))
            broker_message(puppet.broker, slice_str("news"), slice_str(text), clock_now_ns());
    }
    timer_start(timer, 10);
}

/* Another agent's heartbeats, with our numbers in them, are never taken for ours. */
static void test_foreign_heartbeats(void **state)
{
    struct timer timer = { 0 };

    (void)state;
    begin(SOON, ONE);
    timer_init(&timer, &loop, foreign_say, NULL);
    timer_start(&timer, 10);
    puppet.no_server = true;
    assert_judged(play(2), RESULT_FAIL, REASON_DELIVERY_LOST, NULL);
    assert_int_equal(heard(DELIVERY_RECEIVED), 0);
    puppet.no_control = true;
    assert_judged(play(1), RESULT_FAIL, REASON_BROKER_NOT_DELIVERING, NULL);
    assert_int_equal(heard(DELIVERY_RECEIVED) + heard(DELIVERY_DUPLICATE) + heard(DELIVERY_LATE), 0);
    assert_true(check_get_view(stage.check)->stats.delivery->others > 0);
    timer_stop(&timer);
    end();
}

/* --- forms --- */

static void test_wrapped_and_unwrapped(void **state)
{
    (void)state;
    begin(LONG, ONE "    within: 10s\n"
                    "    publish: { topic: 'chat:{{channel}}', body: '{\"ch\":\"{{channel}}\",\"data\":{{payload_json}}}' }\n"
                    "    message: { match: { json: { /op: msg, /ch: '{{channel}}' } }, payload: /data }\n");
    puppet.before = "{\"op\":\"msg\",\"ch\":\"news\",\"data\":"; /* the published form, as it is */
    puppet.after = "}";
    assert_judged(play(1), RESULT_PASS, REASON_NONE, NULL);
    assert_string_equal(puppet.topics[0], "chat:news");
    assert_int_equal(strncmp(puppet.bodies[0], "{\"ch\":\"news\",\"data\":\"wshb1.", 27), 0);
    end();
}

static void test_message_of_another_channel_is_none(void **state)
{
    (void)state;
    begin(SOON, ONE "    message: { match: { json: { /ch: '{{channel}}' } }, payload: /data }\n");
    puppet.before = "{\"ch\":\"olds\",\"data\":\"";
    puppet.after = "\"}";
    assert_judged(play(1), RESULT_FAIL, REASON_DELIVERY_LOST, NULL);
    end();
}

/* --- answers that never come: each of them is over with the next round --- */

#define CONFIRMED "    subscribe: { send: 'sub {{channel}}', expect: { equals: ok } }\n"

/* A new connection asks once: the old one may have the subscription, and only its confirmation was lost. */
static void test_lost_confirmation(void **state)
{
    (void)state;
    begin(SOON, ONE IN_TIME CONFIRMED);
    confirms = true;
    unconfirmed = 1;
    assert_judged(play(1), RESULT_FAIL, REASON_SUBSCRIBE_TIMEOUT, "news was not confirmed within 800ms");
    assert_judged(play(1), RESULT_PASS, REASON_NONE, NULL);
    assert_int_equal(asked_count, 2);
    assert_int_equal(accepted, 2);
    end();
}

/* A server that confirms nothing is asked once a round, however long. */
static void test_unconfirmed_for_long(void **state)
{
    (void)state;
    begin(SOON, ONE CONFIRMED);
    assert_judged(play(5), RESULT_FAIL, REASON_SUBSCRIBE_TIMEOUT, NULL);
    assert_int_equal(asked_count, 5);
    assert_int_equal(accepted, 5);
    end();
}

/* --- floods: what was awaited may be somewhere in them ------------------------------------------------------------------ */

#define FOR_A_FLOOD "2s" /* in which a mebibyte and more arrives on any machine */

static void test_flood_instead_of_a_heartbeat(void **state)
{
    const struct check_view *view;

    (void)state;
    begin(FOR_A_FLOOD, ONE "    within: 1s\n    fall: 3\n");
    assert_judged(play(1), RESULT_PASS, REASON_NONE, NULL);
    floods_on = WS_PING;
    view = play(1);
    assert_judged(view, RESULT_FAIL, REASON_FLOOD, "has not ended the last one");
    assert_int_equal(view->scope, SCOPE_LOCAL);
    assert_int_equal(view->phase, PHASE_OPEN);
    assert_int_equal(heard(DELIVERY_LOST), 1);
    /* The rest of the flood is left behind with its connection. */
    assert_judged(play(1), RESULT_PASS, REASON_NONE, NULL);
    assert_int_equal(accepted, 2);
    end();
}

/* The first ping of a connection is answered, what is asked next is not. */
static void test_flood_instead_of_a_confirmation(void **state)
{
    (void)state;
    begin(FOR_A_FLOOD, ONE "    within: 1s\n" CONFIRMED);
    confirms = true;
    floods_on = WS_TEXT;
    assert_judged(play(1), RESULT_FAIL, REASON_FLOOD, "has not ended the last one");
    assert_judged(play(1), RESULT_PASS, REASON_NONE, NULL);
    assert_int_equal(accepted, 2);
    end();
}

#define GREETED "    connect: { send: hello, expect: { equals: welcome } }\n"

static void test_flood_instead_of_a_greeting(void **state)
{
    (void)state;
    begin(FOR_A_FLOOD, ONE "    within: 1s\n" GREETED);
    floods_on = WS_TEXT;
    assert_judged(play(1), RESULT_FAIL, REASON_FLOOD, "has not ended the last one");
    end();
}

/* Who gets nothing from the broker cannot pass it on: that a flood came as well is not what is wrong. */
static void test_flood_beside_a_broker_that_delivers_nothing(void **state)
{
    (void)state;
    begin(FOR_A_FLOOD, ONE "    within: 1s\n");
    puppet.no_control = puppet.no_server = true;
    floods_on = WS_PING;
    assert_judged(play(1), RESULT_FAIL, REASON_BROKER_NOT_DELIVERING, NULL);
    end();
}

static void confirm_late(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    server_say(slice_str("ok"));
}

/* Late is better than never: until the next round begins, the confirmation is still welcome. */
static void test_late_confirmation(void **state)
{
    struct timer timer = { 0 };

    (void)state;
    begin_every("2s", SOON, ONE IN_TIME "    fast_interval: 2s\n" CONFIRMED); /* the next round begins long after it */
    assert_judged(play(1), RESULT_FAIL, REASON_SUBSCRIBE_TIMEOUT, NULL);
    timer_init(&timer, &loop, confirm_late, NULL);
    timer_start(&timer, 1);
    play(1);
    assert_int_equal(accepted, 1);
    assert_int_equal(asked_count, 1);
    end();
}

/* The agent's own subscription: the broker has lost its answer. It is asked again when the broker's own timeout (1 s) has passed. */
static void test_lost_control_confirmation(void **state)
{
    (void)state;
    begin(SOON, ONE IN_TIME);
    puppet.forgetful = true;
    assert_judged(play(1), RESULT_FAIL, REASON_BROKER_TIMEOUT, "the agent's own subscription");
    puppet.forgetful = false;
    while (check_get_view(stage.check)->status != RESULT_PASS && stage.rounds < 20)
        play(1);
    assert_judged(check_get_view(stage.check), RESULT_PASS, REASON_NONE, NULL);
    assert_int_equal(puppet.subscribed, 2);
    end();
}

static void hear_again(unsigned round)
{
    (void)round;
    puppet.no_control = false;
}

/* The broker has dropped the agent's subscription without a word. */
static void test_control_is_asked_again(void **state)
{
    (void)state;
    begin(SOON, ONE IN_TIME);
    puppet.no_control = true;
    stage.on_round = hear_again;
    assert_judged(play(1), RESULT_PASS, REASON_NONE, "the agent's own subscription");
    play(1);
    assert_int_equal(puppet.subscribed, 2);
    assert_int_equal(puppet.published, 2);
    end();
}

static void die_then_lose_the_broker(unsigned round)
{
    if (round == 2) {
        kill_peers();
        puppet.down = true;
        later(LATER_DOWN, NOTHING, NOTHING, 0, 0);
    }
    if (round == 7)
        puppet.down = false;
}

/* The connection dies in silence while the broker is down: rounds that end with the broker's fault still find that. */
static void test_dead_connection_beside_a_broker_that_is_down(void **state)
{
    (void)state;
    begin("80ms", ONE "    within: 70ms\n");
    stage.on_round = die_then_lose_the_broker;
    play(7);
    while (check_get_view(stage.check)->status != RESULT_PASS && stage.rounds < SEEN_MAX)
        play(1);
    assert_int_equal(accepted, 2);
    for (unsigned i = 2; i < stage.rounds; i++)
        assert_int_not_equal(stage.reasons[i], REASON_SILENT_DROP);
    end();
}

static void die_with_unanswered_publishes(unsigned round)
{
    if (round == 1)
        kill_peers();
    puppet.publishes_unanswered = round < 3;
}

static void test_dead_connection_beside_a_broker_that_does_not_answer(void **state)
{
    (void)state;
    begin(SOON, ONE IN_TIME);
    stage.on_round = die_with_unanswered_publishes;
    play(2);
    assert_int_equal(stage.reasons[1], REASON_SILENT_DROP);
    while (check_get_view(stage.check)->status != RESULT_PASS && stage.rounds < 20)
        play(1);
    assert_judged(check_get_view(stage.check), RESULT_PASS, REASON_NONE, NULL);
    assert_int_equal(accepted, 2);
    end();
}

/* --- many channels --- */

static unsigned tried(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < puppet.published && i < SEEN_MAX; i++) {
        bool first = true;

        for (unsigned j = 0; j < i; j++)
            first = first && strcmp(puppet.topics[i], puppet.topics[j]) != 0;
        count += first;
    }
    return count;
}

static void test_samples_rotate(void **state)
{
    (void)state;
    begin(LONG, "    channels: [ 'room-{1..10}', lobby ]\n    sample: 3\n    within: 10s\n");
    assert_judged(play(4), RESULT_PASS, REASON_NONE, "3 channels delivered");
    assert_int_equal(puppet.published, 12);
    assert_int_equal(tried(), 11);
    assert_int_equal(puppet.subscribed, 11); /* each once, and kept */
    assert_int_equal(accepted, 1);
    end();
}

static void test_one_channel_of_many_is_lost(void **state)
{
    (void)state;
    begin(SOON, "    channels: [ a, b, c ]\n");
    puppet.no_server = true;
    assert_judged(play(1), RESULT_FAIL, REASON_DELIVERY_LOST, "on 3 of 3 channels");
    assert_int_equal(heard(DELIVERY_LOST), 3);
    end();
}

/* Freed in the middle of a round, with everything under way. */
static void on_stop(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    loop_stop(&loop);
}

static void test_end_in_a_round(void **state)
{
    struct timer timer = { 0 };

    (void)state;
    begin(LONG, ONE);
    puppet.deaf = true;
    timer_init(&timer, &loop, on_stop, NULL);
    timer_start(&timer, 50);
    play(1);
    assert_int_equal(stage.rounds, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass),
        cmocka_unit_test(test_late_is_slow),
        cmocka_unit_test(test_slower_than_slo_warns),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_command_passes_without_control),
        cmocka_unit_test(test_command_lost),
        cmocka_unit_test(test_command_refused_or_unanswered),
        cmocka_unit_test(test_not_delivering),
        cmocka_unit_test(test_dropped_by_the_agent),
        cmocka_unit_test(test_own_subscription_missing),
        cmocka_unit_test(test_publish_refused),
        cmocka_unit_test(test_broker_says_nothing),
        cmocka_unit_test(test_publish_unanswered),
        cmocka_unit_test(test_broker_down_from_the_start),
        cmocka_unit_test(test_broker_breaks_between_rounds),
        cmocka_unit_test(test_broker_breaks_in_a_round),
        cmocka_unit_test(test_websocket_comes_back),
        cmocka_unit_test(test_server_is_gone),
        cmocka_unit_test(test_recovery_by_rise),
        cmocka_unit_test(test_shared_turns_local_slowly),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_stale_duplicates),
        cmocka_unit_test(test_foreign_heartbeats),
        cmocka_unit_test(test_wrapped_and_unwrapped),
        cmocka_unit_test(test_message_of_another_channel_is_none),
        cmocka_unit_test(test_lost_confirmation),
        cmocka_unit_test(test_unconfirmed_for_long),
        cmocka_unit_test(test_late_confirmation),
        cmocka_unit_test(test_flood_instead_of_a_heartbeat),
        cmocka_unit_test(test_flood_instead_of_a_confirmation),
        cmocka_unit_test(test_flood_instead_of_a_greeting),
        cmocka_unit_test(test_flood_beside_a_broker_that_delivers_nothing),
        cmocka_unit_test(test_lost_control_confirmation),
        cmocka_unit_test(test_control_is_asked_again),
        cmocka_unit_test(test_dead_connection_beside_a_broker_that_is_down),
        cmocka_unit_test(test_dead_connection_beside_a_broker_that_does_not_answer),
        cmocka_unit_test(test_samples_rotate),
        cmocka_unit_test(test_one_channel_of_many_is_lost),
        cmocka_unit_test(test_end_in_a_round),
    };

    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
