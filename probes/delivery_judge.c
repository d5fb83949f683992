/*
 * The verdict of a delivery round: which heartbeats came on which leg, and whose fault it is (the table is in probes/delivery.c). Called
 * when all have come, or at the deadline. Counts what was lost; knows nothing of connections.
 */
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "probes/delivery.h"

static const struct delivery_opts *opts_of(const struct run *run)
{
    return run->opts;
}

struct tally {
    size_t lost, undelivered, uncontrolled, late;
    const char *lost_on, *undelivered_on, *late_on;
    uint64_t slowest_ns;
};

static void weigh_beat(struct delivery_state *state, size_t i, struct tally *tally)
{
    const struct beat *beat = &state->beats[i];
    uint64_t took_ns = beat->websocket_ns - beat->sent_ns;

    beat->feed->again |= !beat->control_ns; /* the agent's own subscription may be gone, and the broker does not say so */
    if (!beat->websocket_ns) {
        channels_failed(state->channels, i);
        state->run->stats->delivery->heartbeats[DELIVERY_LOST]++;
        if (beat->control_ns || !delivery_has_control(state)) {
            tally->lost++;
            tally->lost_on = beat->feed->name;
        } else {
            tally->undelivered++;
            tally->undelivered_on = beat->feed->name;
        }
        return;
    }
    tally->uncontrolled += !beat->control_ns && delivery_has_control(state);
    if (took_ns > (uint64_t)opts_of(state->run)->within_ms * NS_PER_MS) {
        channels_failed(state->channels, i);
        tally->late++;
        tally->late_on = beat->feed->name;
    }
    if (took_ns > tally->slowest_ns)
        tally->slowest_ns = took_ns;
}

/* " on 3 of 100 channels (news, …)", or " on news" */
static void name_channels(size_t bad, size_t all, const char *example, char *out, size_t size)
{
    if (all == 1)
        snprintf(out, size, "on channel %.100s", example);
    else
        snprintf(out, size, "on %zu of %zu channels (%.100s%s)", bad, all, example, bad > 1 ? ", …" : "");
}

static void judge_slowness(struct run *run, const struct tally *tally, size_t all)
{
    int64_t within_ms = opts_of(run)->within_ms, slo_ms = run->conf->slo_ms;
    char took[32], limit[32], where[160];

    text_format_elapsed(tally->slowest_ns, took, sizeof took);
    if (tally->late) {
        name_channels(tally->late, all, tally->late_on, where, sizeof where);
        text_format_duration(within_ms, limit, sizeof limit);
        run_finish(run, REASON_DELIVERY_SLOW, "the heartbeat took %s from the broker to the WebSocket %s, within is %s", took,
                   where, limit);
    } else if (slo_ms && tally->slowest_ns > (uint64_t)slo_ms * NS_PER_MS) {
        text_format_duration(slo_ms, limit, sizeof limit);
        run_warn(run, REASON_DELIVERY_SLOW, "the heartbeat took %s from the broker to the WebSocket, slo is %s", took, limit);
    } else if (tally->uncontrolled) {
        run_pass(run, "delivered; but the agent's own subscription to the broker missed %zu of %zu heartbeats", tally->uncontrolled,
                 all);
    } else if (all > 1) {
        run_pass(run, "%zu channels delivered", all);
    } else {
        run_pass(run, NULL);
    }
}

/* With publish.command the agent cannot see whether the broker delivers. */
static void finish_lost_unheard(struct run *run, const char *where)
{
    struct err err;

    if (delivery_never_arrived(run->stats->delivery))
        err_set(&err, REASON_DELIVERY_LOST, BROKER_HINT_UNHEARD,
                "no heartbeat has ever arrived through this server %s, though the broker takes them (the agent cannot see whether "
                "others get it): compare key and form (publish.command, message) with what the server itself uses",
                where);
    else
        err_set(
            &err, REASON_DELIVERY_LOST, BROKER_HINT_UNHEARD,
            "taken by the broker, but not delivered by this server to its client %s (the agent cannot see whether others get it)",
            where);
    run_finish_err(run, &err);
}

void delivery_judge(struct run *run, const struct err *flood)
{
    struct delivery_state *state = run->state;
    struct tally tally = { 0 };
    char where[160];

    run->report.phase = PHASE_OPEN;
    for (size_t i = 0; i < state->beat_count; i++)
        weigh_beat(state, i, &tally);
    delivery_others_judged(state);
    run->report.have_rtt = tally.slowest_ns != 0;
    run->report.rtt_ns = tally.slowest_ns;
    if (tally.lost && flood) {
        run_finish_err(run, flood);
    } else if (tally.lost && !delivery_has_control(state)) {
        name_channels(tally.lost, state->beat_count, tally.lost_on, where, sizeof where);
        finish_lost_unheard(run, where);
    } else if (tally.lost &&
               delivery_never_arrived(run->stats->delivery)) { /* a check that has never passed is probably wrongly configured */
        name_channels(tally.lost, state->beat_count, tally.lost_on, where, sizeof where);
        run_finish(
            run, REASON_DELIVERY_LOST,
            "no heartbeat has ever arrived through this server %s, though the broker delivers them to the agent: compare topic and "
            "form (publish, message) with what the server itself uses",
            where);
    } else if (tally.lost) {
        name_channels(tally.lost, state->beat_count, tally.lost_on, where, sizeof where);
        run_finish(run, REASON_DELIVERY_LOST,
                   "published, and delivered by the broker to the agent, but not by this server to its client %s", where);
    } else if (tally.undelivered && broker_dropped_count(state->broker) != state->dropped_before) {
        name_channels(tally.undelivered, state->beat_count, tally.undelivered_on, where, sizeof where);
        run_finish(run, REASON_AGENT_ERROR,
                   "more messages came from the broker than the agent takes: the heartbeat %s may be among those that it dropped",
                   where);
    } else if (tally.undelivered) {
        name_channels(tally.undelivered, state->beat_count, tally.undelivered_on, where, sizeof where);
        run_finish(run, REASON_BROKER_NOT_DELIVERING, "the broker took the heartbeat and delivered it to nobody %s", where);
    } else {
        judge_slowness(run, &tally, state->beat_count);
    }
}
