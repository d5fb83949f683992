/*
 * `memory`: an in-process broker for the demo and for tests. Every broker of this type with the same name (memory://NAME) sits on one hub;
 * a message goes to all of them that have subscribed to its topic, in the next turn of the loop. It can be broken (brokers/memory.h).
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "brokers/memory.h"
#include "brokers/registry.h"

enum { QUEUE_MAX = 1024 };

struct memory_topic {
    struct list node;
    char name[BROKER_TOPIC_MAX];
};

enum memory_kind { MEMORY_UP, MEMORY_PONG, MEMORY_PUBLISHED, MEMORY_SUBSCRIBED, MEMORY_MESSAGE };

struct memory_news { /* what a broker is to be told */
    struct list node;
    enum memory_kind kind;
    uint64_t token;
    char *topic;
    char *body;
    size_t body_len;
};

struct memory_state {
    struct list seat; /* on the hub: all open brokers of this type in the process */
    struct broker *broker;
    char hub[URL_HOST_MAX];
    struct list topics, news;
    unsigned waiting;
    bool gone; /* has said that it is down */
    struct timer timer;
};

static struct list seats = LIST_INIT(seats);
static enum memory_fault fault_of_all;

static void news_free(struct memory_news *news)
{
    list_remove(&news->node);
    mem_free(news->topic);
    mem_free(news->body);
    mem_free(news);
}

/* -1: the queue is full. */
static int tell(struct memory_state *state, enum memory_kind kind, uint64_t token, struct slice topic, struct slice body)
{
    struct memory_news *news;

    if (state->waiting >= QUEUE_MAX)
        return -1;
    news = mem_alloc(sizeof *news);
    news->kind = kind;
    news->token = token;
    news->topic = mem_strndup(topic.data ? (const void *)topic.data : "", topic.len);
    news->body = mem_strndup(body.data ? (const void *)body.data : "", body.len);
    news->body_len = body.len;
    list_push(&state->news, &news->node);
    state->waiting++;
    if (!timer_active(&state->timer))
        timer_start(&state->timer, 0);
    return 0;
}

static void tell_one(struct broker *broker, const struct memory_news *news)
{
    struct err read_only;

    err_set(&read_only, REASON_BROKER_READ_ONLY, 0, "the broker takes no messages: it was told to be read-only");
    switch (news->kind) {
    case MEMORY_UP:
        broker_up(broker);
        return;
    case MEMORY_PONG:
        broker_pong(broker, fault_of_all == MEMORY_READ_ONLY ? &read_only : NULL);
        return;
    case MEMORY_PUBLISHED:
        broker_published(broker, news->token, fault_of_all == MEMORY_READ_ONLY ? &read_only : NULL);
        return;
    case MEMORY_SUBSCRIBED:
        broker_subscribed(broker, slice_str(news->topic), NULL);
        return;
    case MEMORY_MESSAGE:
        broker_message(broker, slice_str(news->topic), slice_make(news->body, news->body_len), clock_now_ns());
        return;
    }
}

static void on_timer(struct timer *timer, void *user)
{
    struct memory_state *state = user;
    struct memory_news *news;
    struct err err;

    (void)timer;
    if (fault_of_all == MEMORY_DOWN) {
        state->gone = true; /* before the call: nothing may be reported behind it */
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "the broker was told to be down");
        broker_down(state->broker, &err);
    }
    while (!state->gone && !list_empty(&state->news)) {
        news = list_entry(state->news.next, struct memory_news, node);
        list_remove(&news->node);
        state->waiting--;
        tell_one(state->broker, news);
        news_free(news);
    }
}

static int memory_open(struct broker *broker, struct err *err)
{
    struct memory_state *state = broker_state(broker);
    const char *name = strstr(broker_get_conf(broker)->url, "://"); /* no URL of a network, so not url_parse's business */

    (void)err;
    if (name)
        snprintf(state->hub, sizeof state->hub, "%s", name + 3);
    state->broker = broker;
    list_init(&state->topics);
    list_init(&state->news);
    list_push(&seats, &state->seat);
    timer_init(&state->timer, broker_loop(broker), on_timer, state);
    return tell(state, MEMORY_UP, 0, slice_str(""), slice_str(""));
}

static int memory_ping(struct broker *broker)
{
    return tell(broker_state(broker), MEMORY_PONG, 0, slice_str(""), slice_str(""));
}

static bool has_topic(const struct memory_state *state, struct slice topic)
{
    list_each (node, &state->topics)
        if (slice_equal_str(topic, list_entry(node, struct memory_topic, node)->name))
            return true;
    return false;
}

static int memory_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    struct memory_state *state = broker_state(broker);

    list_each (node, &seats) {
        if (fault_of_all != MEMORY_WELL)
            break;
        struct memory_state *other = list_entry(node, struct memory_state, seat);

        if (strcmp(other->hub, state->hub) == 0 && has_topic(other, topic))
            tell(other, MEMORY_MESSAGE, 0, topic, body); /* a subscriber whose queue is full misses it, as on any broker */
    }
    return tell(state, MEMORY_PUBLISHED, token, topic, slice_str(""));
}

static int memory_subscribe(struct broker *broker, struct slice topic)
{
    struct memory_state *state = broker_state(broker);
    struct memory_topic *entry;

    if (topic.len >= BROKER_TOPIC_MAX)
        return -1;
    if (!has_topic(state, topic)) {
        entry = mem_alloc(sizeof *entry);
        memcpy(entry->name, topic.data, topic.len);
        list_push(&state->topics, &entry->node);
    }
    return tell(state, MEMORY_SUBSCRIBED, 0, topic, slice_str(""));
}

static int memory_unsubscribe(struct broker *broker, struct slice topic)
{
    struct memory_state *state = broker_state(broker);

    list_each_safe (node, &state->topics) {
        struct memory_topic *entry = list_entry(node, struct memory_topic, node);

        if (slice_equal_str(topic, entry->name)) {
            list_remove(node);
            mem_free(entry);
        }
    }
    return 0;
}

static void memory_close(struct broker *broker)
{
    struct memory_state *state = broker_state(broker);

    timer_stop(&state->timer);
    list_remove(&state->seat);
    list_each_safe (node, &state->topics)
        mem_free(list_entry(node, struct memory_topic, node));
    list_each_safe (news, &state->news)
        news_free(list_entry(news, struct memory_news, node));
    broker_closed(broker);
}

void memory_set_fault(enum memory_fault fault)
{
    fault_of_all = fault;
    list_each (node, &seats)
        timer_start(&list_entry(node, struct memory_state, seat)->timer, 0);
}

const struct broker_type broker_memory = {
    .name = "memory",
    .summary = "In-process, for the demo and tests",
    .schemes = "memory",
    .plain_schemes = "memory",
    .carries_fleet = true,
    .default_url = "memory://local",
    .state_size = sizeof(struct memory_state),
    .open = memory_open,
    .ping = memory_ping,
    .publish = memory_publish,
    .subscribe = memory_subscribe,
    .unsubscribe = memory_unsubscribe,
    .close = memory_close,
};
