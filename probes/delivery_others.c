/*
 * What a delivery check sees of the heartbeats of other agents: it feeds agent/core/heard.h. Called by the other files of the check. Knows when a heartbeat
 * that has not come says something: both subscriptions of its channel have been there for `within`, and the server has answered a ping since.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "probes/delivery.h"

enum { MARGIN_MS = 500, STREAK_MIN = 2, LATELY_MS = 60000 };

static struct heard *heard_of(const struct delivery_state *state)
{
    return &state->run->stats->delivery->heard;
}

static uint64_t within_of(const struct delivery_state *state)
{
    return (uint64_t)((const struct delivery_opts *)state->run->opts)->within_ms;
}

static bool is_heard(const struct feed *feed)
{
    return feed->subscribed && feed->listener.confirmed;
}

void delivery_others_take(struct delivery_state *state, const struct heartbeat *heartbeat, const struct feed *feed,
                          enum delivery_leg leg, uint64_t received_ns)
{
    uint64_t now_ns = clock_now_ns(), now_ms = received_ns / NS_PER_MS, within_ms = within_of(state);
    int64_t late_ms = clock_wall_ms() - (int64_t)((now_ns - received_ns) / NS_PER_MS) - heartbeat->sent_ms;
    bool settled = feed && is_heard(feed) && now_ms - feed->heard_ms >= within_ms;
    struct heard_beat beat = { .who = heartbeat_who_of(heartbeat->agent),
                               .key = heard_key(heartbeat->agent, heartbeat->check, heartbeat->seq),
                               .now_ms = now_ms,
                               .late_ms = late_ms > INT32_MAX    ? INT32_MAX
                                          : late_ms < -INT32_MAX ? -INT32_MAX
                                                                 : (int32_t)late_ms,
                               .wait_ms = settled || leg == LEG_WEBSOCKET ? within_ms + MARGIN_MS : 0 };

    if (beat.who == heartbeat_who_of(state->self.agent))
        return; /* of this agent: another check of it, or an earlier run */
    if (leg == LEG_CONTROL)
        heard_control(heard_of(state), &beat);
    else
        heard_websocket(heard_of(state), &beat);
}

void delivery_others_changed(struct delivery_state *state)
{
    struct heard *heard = heard_of(state);
    uint64_t now_ms = clock_now_ms();
    size_t listening = 0;

    list_each (node, &state->feeds) {
        struct feed *feed = list_entry(node, struct feed, node);

        if (!is_heard(feed))
            feed->heard_ms = 0;
        else if (!feed->heard_ms)
            feed->heard_ms = now_ms;
        listening += feed->listener.confirmed;
    }
    if (listening < channels_count(state->channels))
        heard->able_ms = 0;
    else if (!heard->able_ms)
        heard->able_ms = now_ms;
}

void delivery_others_proved(struct delivery_state *state)
{
    struct heard *heard = heard_of(state);

    heard->proved_ms = state->pinged_ns / NS_PER_MS;
    heard_sweep(heard, clock_now_ms());
}

void delivery_others_lost(struct delivery_state *state)
{
    heard_break(heard_of(state));
    delivery_others_changed(state);
}

/* A channel is lost for itself where it was lost twice, and another one has come. */
void delivery_others_judged(struct delivery_state *state)
{
    struct heard *heard = heard_of(state);
    uint64_t now_ms = clock_now_ms();
    bool delivers = false;

    for (size_t i = 0; i < state->beat_count; i++) {
        struct beat *beat = &state->beats[i];

        beat->feed->lost_streak = beat->websocket_ns ? 0 : beat->feed->lost_streak + 1;
        beat->feed->judged_ms = now_ms;
        if (!beat->control_ns && heard->able_ms)
            heard->able_ms = now_ms; /* the agent's own subscription may be gone */
    }
    heard->all = state->beat_count == channels_count(state->channels);
    heard->shard_count = 0;
    heard->channels = 0;
    list_each (node, &state->feeds) {
        const struct feed *feed = list_entry(node, struct feed, node);

        heard->channels += heard_hash(feed->listener.topic);
        delivers = delivers || (feed->judged_ms && !feed->lost_streak && now_ms - feed->judged_ms <= LATELY_MS);
        if (feed->lost_streak < STREAK_MIN || heard->shard_count == HEARD_SHARDS_MAX)
            continue;
        heard->shards[heard->shard_count].hash = heard_hash(feed->listener.topic);
        snprintf(heard->shards[heard->shard_count++].name, HEARD_NAME_MAX + 1, "%.*s", HEARD_NAME_MAX, feed->name);
    }
    if (!delivers)
        heard->shard_count = 0;
}
