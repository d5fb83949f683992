/*
 * A broker's subscriptions (agent/core/broker.h): who listens to what, over reconnects. Called by probes, by drivers, and by
 * agent/core/broker.c when the connection comes and goes. Promises that a topic is subscribed to once, however many listen to it.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/core/broker_impl.h"

static bool topic_wanted(const struct broker *broker, const char *topic)
{
    list_each (node, &broker->listeners)
        if (strcmp(list_entry(node, struct broker_listener, node)->topic, topic) == 0)
            return true;
    return false;
}

bool broker_topic_in_batches(const struct broker *broker, struct slice topic)
{
    list_each (node, &broker->listeners) {
        const struct broker_listener *listener = list_entry(node, struct broker_listener, node);

        if (!listener->in_batches && (!topic.data || slice_equal_str(topic, listener->topic)))
            return false;
    }
    return true;
}

void broker_topic_state(struct broker *broker, struct slice topic, bool confirmed, const struct err *err)
{
    list_each_safe (node, &broker->listeners) {
        struct broker_listener *listener = list_entry(node, struct broker_listener, node);
        bool changed = listener->confirmed != confirmed || err;

        if (topic.data && !slice_equal_str(topic, listener->topic))
            continue;
        listener->confirmed = confirmed;
        listener->asked_ns = 0;
        if (changed && listener->on_state)
            listener->on_state(listener->user, confirmed, err);
    }
}

static void topic_subscribe(struct broker *broker, const char *topic)
{
    struct err err;

    list_each (node, &broker->listeners) {
        struct broker_listener *listener = list_entry(node, struct broker_listener, node);

        if (strcmp(listener->topic, topic) == 0)
            listener->asked_ns = clock_now_ns();
    }
    if (broker->conf->type->subscribe(broker, slice_str(topic)) < 0) {
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "the subscription to %s could not be sent", topic);
        broker_topic_state(broker, slice_str(topic), false, &err);
    }
}

/* Each topic once, however many listen to it. */
void broker_subscribe_all(struct broker *broker)
{
    list_each (node, &broker->listeners) {
        const struct broker_listener *listener = list_entry(node, struct broker_listener, node);
        bool first = true;

        for (struct list *before = broker->listeners.next; first && before != node; before = before->next)
            first = strcmp(list_entry(before, struct broker_listener, node)->topic, listener->topic) != 0;
        if (first)
            topic_subscribe(broker, listener->topic);
    }
}

void broker_listen(struct broker *broker, struct broker_listener *listener, const char *topic)
{
    bool known = topic_wanted(broker, topic);

    panic_if(strlen(topic) >= BROKER_TOPIC_MAX);
    snprintf(listener->topic, sizeof listener->topic, "%s", topic);
    listener->broker = broker;
    listener->confirmed = false;
    listener->asked_ns = 0;
    list_each (node, &broker->listeners) {
        const struct broker_listener *other = list_entry(node, struct broker_listener, node);

        if (strcmp(other->topic, topic) == 0) {
            listener->confirmed = other->confirmed;
            listener->asked_ns = other->asked_ns;
        }
    }
    list_push(&broker->listeners, &listener->node);
    if (!known && broker->phase == BROKER_UP)
        topic_subscribe(broker, topic);
}

/* The old subscription goes first, also where it was never confirmed: the broker may have it, and messages must not come twice. */
void broker_listen_again(struct broker_listener *listener)
{
    struct broker *broker = listener->broker;
    uint64_t owed_ns = listener->asked_ns ? clock_now_ns() - listener->asked_ns : UINT64_MAX;
    char topic[BROKER_TOPIC_MAX];

    if (!broker || broker->phase != BROKER_UP || owed_ns < (uint64_t)broker->conf->timeout_ms * NS_PER_MS)
        return;
    memcpy(topic, listener->topic, sizeof topic); /* its owner may remove it in the callback */
    broker_topic_state(broker, slice_str(topic), false, NULL);
    broker->conf->type->unsubscribe(broker, slice_str(topic));
    topic_subscribe(broker, topic);
}

void broker_unlisten(struct broker_listener *listener)
{
    struct broker *broker = listener->broker;

    if (!broker)
        return;
    list_remove(&listener->node);
    listener->broker = NULL;
    if (broker->phase == BROKER_UP && !topic_wanted(broker, listener->topic))
        broker->conf->type->unsubscribe(broker, slice_str(listener->topic));
}

void broker_subscribed(struct broker *broker, struct slice topic, const struct err *err)
{
    if (broker->phase != BROKER_UP)
        return;
    broker_topic_state(broker, topic, !err, err);
}

void broker_message(struct broker *broker, struct slice topic, struct slice body, uint64_t received_ns)
{
    if (broker->phase != BROKER_UP)
        return;
    list_each_safe (node, &broker->listeners) {
        struct broker_listener *listener = list_entry(node, struct broker_listener, node);

        if (slice_equal_str(topic, listener->topic))
            listener->on_message(listener->user, body, received_ns);
    }
}
