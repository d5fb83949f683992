/*
 * The channels of a delivery check: one feed for each channel that has been in a sample, with its two subscriptions, on the broker and on the
 * WebSocket. Called by probes/delivery.c, which holds the connections. A round goes on here (delivery_advance) whenever one of them has been
 * confirmed: it asks for what is missing, and sends the heartbeats whose feed is ready.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "probes/delivery.h"

static void on_control(void *user, struct slice body, uint64_t received_ns)
{
    const struct feed *feed = user;

    delivery_take(feed->state->run, body, feed, LEG_CONTROL, received_ns);
}

struct feed *delivery_feed(struct delivery_state *state, const char *name)
{
    list_each (node, &state->feeds)
        if (strcmp(list_entry(node, struct feed, node)->name, name) == 0)
            return list_entry(node, struct feed, node);
    return NULL;
}

static void on_control_state(void *user, bool confirmed, const struct err *err)
{
    struct feed *feed = user;

    feed->again = err && broker_is_up(feed->state->broker); /* else it is gone, and comes back with the connection */
    if (confirmed)
        delivery_others_changed(feed->state);
    else
        delivery_others_lost(feed->state);
    if (err)
        run_finish_err(feed->state->run, err);
    else if (confirmed)
        delivery_advance(feed->state->run);
}

bool delivery_has_control(const struct delivery_state *state)
{
    return state->dialect.publish.command.count == 0;
}

/* Has the broker what a heartbeat needs? */
bool delivery_feed_may_send(const struct feed *feed)
{
    return delivery_has_control(feed->state) ? feed->listener.confirmed : broker_is_up(feed->state->broker);
}

static struct feed *feed_new(struct delivery_state *state, const char *name, struct err *err)
{
    struct feed *feed = mem_alloc(sizeof *feed);
    struct buf topic = BUF_INIT(BROKER_TOPIC_MAX - 1);

    feed->state = state;
    snprintf(feed->name, sizeof feed->name, "%s", name);
    if (!delivery_has_control(state)) {
        list_push(&state->feeds, &feed->node);
        return feed;
    }
    if (delivery_topic(feed, &topic, err) < 0) {
        buf_fini(&topic);
        mem_free(feed);
        return NULL;
    }
    feed->listener.on_message = on_control;
    feed->listener.on_state = on_control_state;
    feed->listener.user = feed;
    list_push(&state->feeds, &feed->node);
    broker_listen(state->broker, &feed->listener, buf_str(&topic));
    buf_fini(&topic);
    return feed;
}

/* What the broker has refused may be allowed, or exist, by now; what it has not answered may have been lost. */
static void feed_ask_again(struct feed *feed)
{
    if (!feed->again || !feed->listener.broker || !broker_is_up(feed->state->broker))
        return;
    feed->again = false;
    broker_listen_again(&feed->listener);
}

static int beat_advance(struct beat *beat, uint64_t seq, struct err *err)
{
    struct delivery_state *state = beat->run->state;
    struct feed *feed = beat->feed;

    if (dialogue_is_ready(state->dialogue) && !feed->asked) {
        feed->asked = true;
        feed->asked_ns = clock_now_ns();
        if (dialogue_subscribe(state->dialogue, feed->name, err) < 0)
            return -1;
    }
    if (!beat->sent && feed->subscribed && delivery_feed_may_send(feed))
        return delivery_beat_send(beat, seq, err);
    return 0;
}

void delivery_advance(struct run *run)
{
    struct delivery_state *state = run->state;
    struct err err;

    for (size_t i = 0; run->active && i < state->beat_count; i++)
        if (beat_advance(&state->beats[i], state->first_seq + i, &err) < 0)
            run_finish_err(run, &err);
}

int delivery_feed_use(struct beat *beat, const char *name, struct err *err)
{
    struct delivery_state *state = beat->run->state;

    beat->feed = delivery_feed(state, name);
    if (!beat->feed && !(beat->feed = feed_new(state, name, err)))
        return -1;
    feed_ask_again(beat->feed);
    return 0;
}

void delivery_feeds_lost(struct delivery_state *state)
{
    list_each (node, &state->feeds) {
        struct feed *feed = list_entry(node, struct feed, node);

        feed->asked = feed->subscribed = false;
    }
    delivery_others_lost(state);
}

bool delivery_feeds_unanswered(struct delivery_state *state, uint64_t timeout_ns)
{
    uint64_t now_ns = clock_now_ns();

    list_each (node, &state->feeds) {
        const struct feed *feed = list_entry(node, struct feed, node);

        if (feed->asked && !feed->subscribed && now_ns - feed->asked_ns >= timeout_ns)
            return true;
    }
    return false;
}

void delivery_feeds_free(struct delivery_state *state)
{
    list_each_safe (node, &state->feeds) {
        struct feed *feed = list_entry(node, struct feed, node);

        broker_unlisten(&feed->listener);
        mem_free(feed);
    }
}
