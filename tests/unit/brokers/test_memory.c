/* The in-process broker: hubs, topics, what it says when it is broken, and what is under way when it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "brokers/memory.h"
#include "brokers/registry.h"

enum { CLIENTS = 3, PATIENCE_MS = 20000 };

struct client {
    struct broker_conf conf;
    struct broker *broker;
    struct broker_watcher watch;
    struct broker_listener listener;
    unsigned messages;
    char last[64];
    bool freed;
};

static struct loop loop;
static struct timer guard;
static struct client clients[CLIENTS];
static unsigned answers, unreachable;
static struct err answer;

static void on_guard(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    fail_msg("nothing happened in time");
}

static void on_change(void *user, bool up, const struct err *err)
{
    (void)user;
    (void)up;
    (void)err;
    loop_stop(&loop);
}

static void on_state(void *user, bool confirmed, const struct err *err)
{
    (void)user;
    (void)confirmed;
    (void)err;
    loop_stop(&loop);
}

static void on_message(void *user, struct slice body, uint64_t received_ns)
{
    struct client *client = user;

    assert_true(received_ns != 0);
    client->messages++;
    snprintf(client->last, sizeof client->last, "%.*s", (int)body.len, (const char *)body.data);
    loop_stop(&loop);
}

static void on_answer(void *user, const struct err *err, uint64_t rtt_ns)
{
    (void)user;
    (void)rtt_ns;
    answers++;
    unreachable += err && err->reason == REASON_BROKER_UNREACHABLE;
    err_clear(&answer);
    if (err)
        answer = *err;
    loop_stop(&loop);
}

static void on_freed(void *user)
{
    struct client *client = user;

    client->freed = true;
    loop_stop(&loop);
}

static void turn(void)
{
    timer_start(&guard, PATIENCE_MS);
    loop_run(&loop);
    timer_stop(&guard);
}

/* Two on one hub, the third on another. */
static int setup(void **state)
{
    struct err err;

    (void)state;
    answers = unreachable = 0;
    memory_set_fault(MEMORY_WELL);
    memset(clients, 0, sizeof clients);
    assert_int_equal(loop_init(&loop, &err), 0);
    timer_init(&guard, &loop, on_guard, NULL);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *client = &clients[i];

        client->conf = (struct broker_conf){ .name = (char *)"bus",
                                             .type = &broker_memory,
                                             .url = (char *)(i < 2 ? "memory://one" : "memory://two"),
                                             .timeout_ms = 5000,
                                             .retry_min_ms = 1,
                                             .retry_max_ms = 4 };
        client->watch = (struct broker_watcher){ .on_change = on_change, .user = client };
        client->listener = (struct broker_listener){ .on_state = on_state, .on_message = on_message, .user = client };
        client->broker = broker_new(&loop, &client->conf, NULL);
        broker_watch(client->broker, &client->watch);
        broker_start(client->broker);
        while (!broker_is_up(client->broker))
            turn();
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    memory_set_fault(MEMORY_WELL);
    for (unsigned i = 0; i < CLIENTS; i++) {
        broker_unlisten(&clients[i].listener);
        broker_unwatch(&clients[i].watch);
        broker_free(clients[i].broker, on_freed, &clients[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        while (!clients[i].freed)
            turn();
    loop_fini(&loop);
    return 0;
}

static void hear(struct client *client, const char *topic)
{
    broker_listen(client->broker, &client->listener, topic);
    while (!client->listener.confirmed)
        turn();
}

/* Returns when the publisher has its answer; messages are told before or in the same turn. */
static void publish(struct client *client, const char *topic, const char *body)
{
    struct broker_request request = { .on_answer = on_answer };
    unsigned before = answers;

    broker_publish(client->broker, &request, slice_str(topic), slice_str(body), 5000);
    assert_int_equal(answers, before); /* never inside the call */
    while (answers == before)
        turn();
}

static void probe(struct client *client)
{
    struct broker_request request = { .on_answer = on_answer };
    unsigned before = answers;

    broker_probe(client->broker, &request, 5000);
    while (answers == before)
        turn();
}

static void test_hubs_and_topics(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CLIENTS; i++)
        hear(&clients[i], "news");
    publish(&clients[0], "news", "hello");
    assert_int_equal(answer.reason, REASON_NONE);
    publish(&clients[0], "olds", "nobody hears this");
    assert_int_equal(clients[0].messages, 1); /* the publisher is a subscriber, too */
    assert_int_equal(clients[1].messages, 1);
    assert_int_equal(clients[2].messages, 0);
    assert_string_equal(clients[1].last, "hello");
    publish(&clients[2], "news", "elsewhere");
    while (!clients[2].messages)
        turn();
    assert_int_equal(clients[0].messages, 1);
}

static void test_unlisten(void **state)
{
    (void)state;
    hear(&clients[0], "news");
    hear(&clients[1], "news");
    broker_unlisten(&clients[1].listener);
    publish(&clients[0], "news", "hello");
    probe(&clients[1]);
    assert_int_equal(clients[1].messages, 0);
    assert_int_equal(clients[0].messages, 1);
    hear(&clients[1], "news");
    publish(&clients[0], "news", "again");
    probe(&clients[1]);
    assert_int_equal(clients[1].messages, 1);
}

static void test_down_and_back(void **state)
{
    (void)state;
    hear(&clients[0], "news");
    memory_set_fault(MEMORY_DOWN);
    while (broker_is_up(clients[0].broker) || broker_is_up(clients[2].broker))
        turn();
    assert_false(clients[0].listener.confirmed);
    publish(&clients[0], "news", "lost");
    assert_int_equal(answer.reason, REASON_BROKER_UNREACHABLE);
    probe(&clients[1]);
    assert_int_equal(answer.reason, REASON_BROKER_UNREACHABLE);
    memory_set_fault(MEMORY_WELL);
    while (!broker_is_up(clients[0].broker) || !clients[0].listener.confirmed)
        turn();
    publish(&clients[0], "news", "hello");
    assert_int_equal(answer.reason, REASON_NONE);
    assert_int_equal(clients[0].messages, 1); /* and nothing stale before it */
    assert_string_equal(clients[0].last, "hello");
}

static void test_read_only(void **state)
{
    (void)state;
    hear(&clients[1], "news");
    memory_set_fault(MEMORY_READ_ONLY);
    publish(&clients[0], "news", "hello");
    assert_int_equal(answer.reason, REASON_BROKER_READ_ONLY);
    probe(&clients[0]);
    assert_int_equal(answer.reason, REASON_BROKER_READ_ONLY);
    assert_true(broker_is_up(clients[0].broker));
    memory_set_fault(MEMORY_WELL);
    probe(&clients[0]);
    assert_int_equal(answer.reason, REASON_NONE);
    probe(&clients[1]);
    assert_int_equal(clients[1].messages, 0);
}

static void test_mute(void **state)
{
    (void)state;
    hear(&clients[1], "news");
    memory_set_fault(MEMORY_MUTE);
    publish(&clients[0], "news", "hello");
    assert_int_equal(answer.reason, REASON_NONE);
    probe(&clients[1]);
    assert_int_equal(answer.reason, REASON_NONE);
    assert_int_equal(clients[1].messages, 0);
}

/* More than the queue of a subscriber holds is lost for it, and said to a publisher. */
static void test_queues_are_bounded(void **state)
{
    struct broker_request request = { .on_answer = on_answer };
    struct broker_request *requests = mem_alloc(3000 * sizeof *requests);

    (void)state;
    hear(&clients[1], "news");
    for (unsigned i = 0; i < 3000; i++) {
        requests[i] = request;
        broker_publish(clients[0].broker, &requests[i], slice_str("news"), slice_str("x"), 5000);
    }
    while (answers < 3000)
        turn();
    assert_in_range(unreachable, 3000 - 1024, 2999);
    probe(&clients[1]);
    assert_in_range(clients[1].messages, 1, 1024);
    mem_free(requests);
}

/* Messages, answers and subscriptions under way when the connection ends are let go. */
static void test_end_with_things_under_way(void **state)
{
    static struct broker_request request, other; /* answered behind the test's end */

    (void)state;
    hear(&clients[0], "news");
    hear(&clients[1], "news");
    request.on_answer = other.on_answer = on_answer;
    broker_publish(clients[0].broker, &request, slice_str("news"), slice_str("x"), 5000);
    broker_probe(clients[1].broker, &other, 5000);
    broker_request_cancel(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hubs_and_topics, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unlisten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_down_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mute, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queues_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_with_things_under_way, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
