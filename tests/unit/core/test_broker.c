/* The life of a broker's connection against a driver that does what the test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/log.h"
#include "agent/base/mem.h"
#include "agent/core/broker.h"

/* --- a driver on strings --- */

static struct puppet {
    bool open_fails, silent; /* open returns -1; nothing is ever answered */
    bool refuse;             /* opening ends in broker_down */
    unsigned opens, pings, publishes, subscribes, unsubscribes, closes;
    char topic[64];
    uint64_t token;
    struct broker *broker;
    struct timer timer;
    enum { DO_NOTHING, DO_UP, DO_DOWN } next;
} puppet;

static void on_puppet(struct timer *timer, void *user)
{
    struct err err;

    (void)timer;
    (void)user;
    if (puppet.next == DO_UP)
        broker_up(puppet.broker);
    err_set(&err, REASON_BROKER_AUTH_FAILED, 0, "wrong password");
    if (puppet.next == DO_DOWN)
        broker_down(puppet.broker, &err);
}

static int puppet_open(struct broker *broker, struct err *err)
{
    puppet.opens++;
    puppet.broker = broker;
    if (puppet.open_fails)
        return err_set(err, REASON_BROKER_UNREACHABLE, 0, "no way");
    puppet.next = puppet.silent ? DO_NOTHING : puppet.refuse ? DO_DOWN : DO_UP;
    timer_init(&puppet.timer, broker_loop(broker), on_puppet, NULL);
    timer_start(&puppet.timer, 0);
    return 0;
}

static int puppet_ping(struct broker *broker)
{
    (void)broker;
    puppet.pings++;
    return 0;
}

static int puppet_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    (void)broker;
    (void)topic;
    (void)body;
    puppet.publishes++;
    puppet.token = token;
    return 0;
}

static int puppet_subscribe(struct broker *broker, struct slice topic)
{
    (void)broker;
    puppet.subscribes++;
    snprintf(puppet.topic, sizeof puppet.topic, "%.*s", (int)topic.len, (const char *)topic.data);
    return 0;
}

static int puppet_unsubscribe(struct broker *broker, struct slice topic)
{
    (void)broker;
    (void)topic;
    puppet.unsubscribes++;
    return 0;
}

static void puppet_close(struct broker *broker)
{
    puppet.closes++;
    timer_stop(&puppet.timer);
    broker_closed(broker);
}

static const struct broker_type puppet_type = {
    .name = "puppet",
    .schemes = "memory",
    .open = puppet_open,
    .ping = puppet_ping,
    .publish = puppet_publish,
    .subscribe = puppet_subscribe,
    .unsubscribe = puppet_unsubscribe,
    .close = puppet_close,
};

/* --- the stage --- */

static struct loop loop;
static struct broker *broker;
static struct broker_conf conf = {
    .name = (char *)"bus", .type = &puppet_type, .url = (char *)"memory://x", .timeout_ms = 60, .retry_min_ms = 2, .retry_max_ms = 8
};
static struct timer guard;
static unsigned ups, downs, answers, messages, confirms, refusals;
static struct err answer, down;
static bool freed;

static void on_guard(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    fail_msg("nothing happened in time");
}

static void on_change(void *user, bool up, const struct err *err)
{
    (void)user;
    ups += up;
    downs += !up;
    if (err)
        down = *err;
    loop_stop(&loop);
}

static void on_answer(void *user, const struct err *err, uint64_t rtt_ns)
{
    (void)user;
    (void)rtt_ns;
    answers++;
    err_clear(&answer);
    if (err)
        answer = *err;
    loop_stop(&loop);
}

static void on_message(void *user, struct slice body, uint64_t received_ns)
{
    (void)user;
    (void)received_ns;
    assert_true(slice_equal_str(body, "hello"));
    messages++;
}

static void on_state(void *user, bool confirmed, const struct err *err)
{
    (void)user;
    confirms += confirmed;
    refusals += !!err;
}

static void on_freed(void *user)
{
    (void)user;
    freed = true;
    loop_stop(&loop);
}

static void run(void)
{
    timer_start(&guard, 5000);
    loop_run(&loop);
    timer_stop(&guard);
}

static struct broker_watcher watch;

static int setup(void **state)
{
    struct err err;

    (void)state;
    memset(&puppet, 0, sizeof puppet);
    memset(&watch, 0, sizeof watch);
    ups = downs = answers = messages = confirms = refusals = 0;
    freed = false;
    assert_int_equal(loop_init(&loop, &err), 0);
    timer_init(&guard, &loop, on_guard, NULL);
    broker = broker_new(&loop, &conf, NULL);
    watch.on_change = on_change;
    broker_watch(broker, &watch);
    return 0;
}

static void test_dropped_messages_are_counted_and_told_once(void **state)
{
    FILE *log = tmpfile();
    char text[512] = "";

    (void)state;
    log_set_fd(fileno(log));
    assert_int_equal(broker_dropped_count(broker), 0);
    broker_dropped(broker, 3);
    broker_dropped(broker, 4);
    assert_int_equal(broker_dropped_count(broker), 7);
    broker_oversized(broker, 2); /* counted, but no heartbeat is among them */
    assert_int_equal(broker_dropped_count(broker), 7);
    assert_int_equal(broker_unread_count(broker), 9);
    log_set_fd(-1);
    rewind(log);
    assert_true(fread(text, 1, sizeof text - 1, log) > 0);
    fclose(log);
    assert_non_null(strstr(text, "event=broker_drops"));
    assert_null(strstr(strstr(text, "event=broker_drops") + 1, "event=broker_drops"));
}

static int teardown(void **state)
{
    (void)state;
    broker_unwatch(&watch);
    broker_free(broker, on_freed, NULL);
    while (!freed)
        run();
    loop_fini(&loop);
    return 0;
}

static struct broker_request request_of_mine(void)
{
    return (struct broker_request){ .on_answer = on_answer };
}

static void test_up_ping_publish(void **state)
{
    struct broker_request request = request_of_mine();

    (void)state;
    broker_start(broker);
    run();
    assert_int_equal(ups, 1);
    assert_true(broker_is_up(broker));
    broker_probe(broker, &request, 60);
    assert_int_equal(puppet.pings, 1);
    broker_pong(broker, NULL);
    assert_int_equal(answers, 1);
    assert_int_equal(answer.reason, REASON_NONE);
    broker_publish(broker, &request, slice_str("t"), slice_str("b"), 60);
    broker_published(broker, puppet.token + 1, NULL); /* somebody else's */
    assert_int_equal(answers, 1);
    broker_published(broker, puppet.token, NULL);
    assert_int_equal(answers, 2);
    broker_published(broker, puppet.token, NULL); /* twice */
    assert_int_equal(answers, 2);
}

/* A request made while the connection opens is not refused: it waits for it. */
static void test_probe_waits_for_the_first_connection(void **state)
{
    struct broker_request request = request_of_mine();

    (void)state;
    broker_start(broker);
    broker_probe(broker, &request, 60);
    run();
    assert_int_equal(ups, 1);
    assert_int_equal(puppet.pings, 1);
    broker_pong(broker, NULL);
    assert_int_equal(answers, 1);
}

static void test_asks_without_a_connection_say_why(void **state)
{
    struct broker_request request = request_of_mine(), other = request_of_mine();

    (void)state;
    puppet.refuse = true;
    broker_start(broker);
    broker_probe(broker, &request, 1000);
    run();
    assert_int_equal(answer.reason, REASON_BROKER_AUTH_FAILED);
    broker_publish(broker, &other, slice_str("t"), slice_str("b"), 1000);
    assert_int_equal(answers, 1); /* never inside the call */
    run();
    assert_int_equal(answers, 2);
    assert_string_equal(answer.text, "wrong password");
    assert_int_equal(downs, 0); /* it has never been up */
}

static void test_silence_is_a_timeout_and_a_new_connection(void **state)
{
    struct broker_request request = request_of_mine();

    (void)state;
    broker_start(broker);
    run();
    broker_probe(broker, &request, 1000);
    run();
    assert_int_equal(downs, 1);
    assert_int_equal(down.reason, REASON_BROKER_TIMEOUT);
    while (!answers)
        run();
    assert_int_equal(answer.reason, REASON_BROKER_TIMEOUT);
    while (ups < 2)
        run();
    assert_int_equal(puppet.closes, 1);
    assert_int_equal(puppet.opens, 2);
}

/* Who asked has less patience than the broker is allowed: the connection stays, until the broker's own time has passed. */
static void test_silence_until_the_owners_deadline(void **state)
{
    struct broker_request early = request_of_mine(), request = request_of_mine();

    (void)state;
    assert_false(broker_probe_late(&early)); /* not under way */
    broker_start(broker);
    broker_probe(broker, &early, 60000);
    assert_false(broker_probe_late(&early)); /* still opening */
    broker_request_cancel(&early);
    run();
    assert_int_equal(ups, 1);
    broker_probe(broker, &request, 20);
    assert_false(broker_probe_late(&request));
    while (!answers)
        run();
    assert_int_equal(answer.reason, REASON_BROKER_TIMEOUT);
    assert_non_null(strstr(answer.text, "20ms"));
    assert_int_equal(downs, 0);
    while (!downs)
        run();
    assert_int_equal(down.reason, REASON_BROKER_TIMEOUT);
    assert_int_equal(answers, 1);
    while (ups < 2)
        run();
    assert_int_equal(puppet.opens, 2);
}

static void test_opening_has_a_deadline(void **state)
{
    struct broker_request request = request_of_mine();

    (void)state;
    puppet.silent = true;
    broker_start(broker);
    broker_probe(broker, &request, 1000);
    run();
    assert_int_equal(answer.reason, REASON_BROKER_TIMEOUT);
    assert_non_null(strstr(answer.text, "60ms"));
    puppet.silent = false;
    run();
    assert_int_equal(ups, 1);
}

static void test_open_that_fails_is_tried_again(void **state)
{
    (void)state;
    puppet.open_fails = true;
    broker_start(broker);
    assert_string_equal(broker_why(broker)->text, "no way");
    puppet.open_fails = false;
    run();
    assert_int_equal(ups, 1);
    assert_true(puppet.opens >= 2);
}

static void test_subscriptions_come_back(void **state)
{
    struct broker_listener one = { .on_message = on_message, .on_state = on_state }, two = one;
    struct err err;

    (void)state;
    broker_listen(broker, &one, "news");
    broker_listen(broker, &two, "news");
    broker_start(broker);
    run();
    assert_int_equal(puppet.subscribes, 1); /* a topic is subscribed to once */
    assert_string_equal(puppet.topic, "news");
    broker_subscribed(broker, slice_str("news"), NULL);
    assert_true(one.confirmed && two.confirmed);
    broker_message(broker, slice_str("news"), slice_str("hello"), 1);
    broker_message(broker, slice_str("olds"), slice_str("hello"), 1);
    assert_int_equal(messages, 2);
    err_set(&err, REASON_BROKER_UNREACHABLE, 0, "gone");
    broker_down(broker, &err);
    assert_false(one.confirmed || two.confirmed);
    assert_int_equal(downs, 1);
    while (ups < 2)
        run();
    assert_int_equal(puppet.subscribes, 2);
    broker_unlisten(&one);
    assert_int_equal(puppet.unsubscribes, 0);
    broker_unlisten(&two);
    assert_int_equal(puppet.unsubscribes, 1);
}

/* One who wants each message at once is enough. */
static void test_a_topic_in_batches(void **state)
{
    struct broker_listener one = { .on_message = on_message, .in_batches = true }, two = { .on_message = on_message };

    (void)state;
    broker_listen(broker, &one, "news");
    broker_listen(broker, &two, "olds");
    assert_true(broker_topic_in_batches(broker, slice_str("news")));
    assert_false(broker_topic_in_batches(broker, slice_str("olds")));
    assert_false(broker_topic_in_batches(broker, (struct slice){ NULL, 0 }));
    broker_unlisten(&two);
    assert_true(broker_topic_in_batches(broker, (struct slice){ NULL, 0 }));
    broker_listen(broker, &two, "news");
    assert_false(broker_topic_in_batches(broker, slice_str("news")));
    broker_unlisten(&one);
    broker_unlisten(&two);
    broker_start(broker);
    run();
}

/* A topic is asked for again where its answer got lost or was no, but not while the answer may still come, and once for all who listen. */
static void test_a_topic_is_asked_for_again(void **state)
{
    struct broker_listener one = { .on_message = on_message, .on_state = on_state }, two = one;
    struct err err;

    (void)state;
    broker_listen(broker, &one, "news");
    broker_listen_again(&one); /* not up: asked for when it is */
    assert_int_equal(puppet.subscribes, 0);
    broker_start(broker);
    run();
    broker_listen(broker, &two, "news");
    broker_listen_again(&one);
    broker_listen_again(&two);
    assert_int_equal(puppet.subscribes, 1);
    err_set(&err, REASON_BROKER_AUTH_FAILED, 0, "no permission");
    broker_subscribed(broker, slice_str("news"), &err);
    broker_listen_again(&two);
    broker_listen_again(&one);
    assert_int_equal(puppet.unsubscribes, 1);
    assert_int_equal(puppet.subscribes, 2);
    broker_subscribed(broker, slice_str("news"), NULL);
    assert_true(one.confirmed && two.confirmed);
    broker_listen_again(&one); /* nothing comes on it, though it was confirmed */
    assert_false(one.confirmed || two.confirmed);
    assert_int_equal(puppet.subscribes, 3);
    broker_unlisten(&one);
    broker_unlisten(&two);
}

static void test_cancelled_asks_are_not_answered(void **state)
{
    struct broker_request request = request_of_mine();

    (void)state;
    broker_start(broker);
    run();
    broker_publish(broker, &request, slice_str("t"), slice_str("b"), 1);
    broker_request_cancel(&request);
    broker_request_cancel(&request);
    broker_published(broker, puppet.token, NULL);
    assert_int_equal(answers, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_up_ping_publish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_probe_waits_for_the_first_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asks_without_a_connection_say_why, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence_is_a_timeout_and_a_new_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence_until_the_owners_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opening_has_a_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_that_fails_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_subscriptions_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_topic_in_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_topic_is_asked_for_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_asks_are_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dropped_messages_are_counted_and_told_once, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
