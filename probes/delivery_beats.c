/*
 * Heartbeats of a delivery check: how they are written and published, and what is known of those that come (their source, order, time on
 * each leg). Called by probes/delivery.c, which holds the connections; judged by probes/delivery_judge.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/proto/template.h"
#include "probes/delivery.h"

static const struct delivery_opts *opts_of(const struct run *run)
{
    return run->opts;
}

static void judge_when_complete(struct run *run)
{
    struct delivery_state *state = run->state;

    if (!run->active)
        return;
    for (size_t i = 0; i < state->beat_count; i++)
        if (!state->beats[i].taken || !state->beats[i].websocket_ns || (!state->beats[i].control_ns && delivery_has_control(state)))
            return;
    state->lost_streak = 0;
    delivery_judge(run, NULL);
}

static void on_taken(void *user, const struct err *err, uint64_t rtt_ns)
{
    struct beat *beat = user;

    (void)rtt_ns;
    beat->taken = true;
    if (err) {
        run_finish_err(beat->run, err); /* the broker's own reason */
        return;
    }
    heard_published(&beat->run->stats->delivery->heard, clock_now_ms());
    judge_when_complete(beat->run);
}

/* A heartbeat of ours that has come on one of the legs. */
static void take_own(struct run *run, const struct heartbeat *heartbeat, enum delivery_leg leg, uint64_t received_ns, bool again)
{
    struct delivery_state *state = run->state;
    struct delivery_stats *stats = run->stats->delivery;
    uint64_t index = heartbeat->seq - state->first_seq, took_ns, *came_ns;
    bool late;

    if (heartbeat->seq < state->first_seq || index >= state->beat_count) { /* of a round that has been judged */
        stats->heartbeats[again ? DELIVERY_DUPLICATE : DELIVERY_LATE] += leg == LEG_WEBSOCKET;
        return;
    }
    came_ns = leg == LEG_CONTROL ? &state->beats[index].control_ns : &state->beats[index].websocket_ns;
    if (*came_ns) {
        stats->heartbeats[DELIVERY_DUPLICATE] += leg == LEG_WEBSOCKET;
        return;
    }
    *came_ns = received_ns;
    took_ns = received_ns - state->beats[index].sent_ns;
    prom_observe(&stats->legs[leg], (double)took_ns / 1e9);
    stats->last_ns[leg] = took_ns;
    late = !run->active || took_ns > (uint64_t)opts_of(run)->within_ms * NS_PER_MS;
    if (leg == LEG_WEBSOCKET)
        stats->heartbeats[late ? DELIVERY_LATE : DELIVERY_RECEIVED]++;
    judge_when_complete(run);
}

/* What is known of a heartbeat's source. Order is promised within one channel only, so with several there is none. */
static enum heartbeat_news note(struct run *run, const struct heartbeat *heartbeat, bool own, uint64_t received_ns)
{
    struct delivery_state *state = run->state;
    struct delivery_stats *stats = run->stats->delivery;
    enum heartbeat_news news = heartbeat_note(&state->book, heartbeat, received_ns / NS_PER_MS);

    stats->others += !own;
    stats->sources = state->book.count - (own || state->book_has_own);
    state->book_has_own = state->book_has_own || own;
    if (channels_count(state->channels) > 1)
        return HEARTBEAT_NEW;
    stats->heartbeats[DELIVERY_REORDERED] += own && news == HEARTBEAT_REORDERED;
    return news;
}

void delivery_take(struct run *run, struct slice payload, const struct feed *feed, enum delivery_leg leg, uint64_t received_ns)
{
    struct delivery_state *state = run->state;
    enum heartbeat_news news = HEARTBEAT_NEW;
    struct heartbeat heartbeat;
    bool own;

    if (!heartbeat_find(payload, &heartbeat))
        return;
    own = heartbeat_same_source(&heartbeat, &state->self);
    if (leg == LEG_WEBSOCKET)
        news = note(run, &heartbeat, own, received_ns);
    if (own)
        take_own(run, &heartbeat, leg, received_ns, news == HEARTBEAT_DUPLICATE);
    else
        delivery_others_take(state, &heartbeat, feed, leg, received_ns);
}

static int expand(const char *template, const char *default_text, const struct template_vars *vars, struct buf *out,
                  struct err *err)
{
    if (template_expand(slice_str(template ? template : default_text), vars, out, err) < 0) {
        err->reason = REASON_AGENT_ERROR;
        return err_prefix(err, "publish");
    }
    return 0;
}

int delivery_topic(const struct feed *feed, struct buf *topic, struct err *err)
{
    struct template_vars vars = { .channel = feed->name };

    return expand(feed->state->dialect.publish.topic, "{{channel}}", &vars, topic, err);
}

/* The words of publish.command. Holes of the key are filled as they are, as in a topic; those of the others as in a body. */
static int send_command(struct beat *beat, struct template_vars *vars, struct err *err)
{
    const struct opt_strings *command = &beat->feed->state->dialect.publish.command;
    struct slice args[BROKER_ARGS_MAX];
    size_t ends[BROKER_ARGS_MAX], start = 0;
    struct buf text = BUF_INIT(BROKER_BODY_MAX);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < command->count; i++) {
        vars->json = i > 1;
        rc = expand(command->items[i], "", vars, &text, err);
        ends[i] = text.len;
    }
    for (size_t i = 0; rc == 0 && i < command->count; start = ends[i++])
        args[i] = slice_make(buf_str(&text) + start, ends[i] - start);
    if (rc == 0)
        broker_command(beat->feed->state->broker, &beat->request, args, command->count, (uint64_t)beat->run->conf->timeout_ms);
    buf_fini(&text);
    return rc;
}

int delivery_beat_send(struct beat *beat, uint64_t seq, struct err *err)
{
    struct run *run = beat->run;
    struct delivery_state *state = run->state;
    struct buf topic = BUF_INIT(BROKER_TOPIC_MAX - 1), body = BUF_INIT(BROKER_BODY_MAX);
    struct template_vars vars = { .channel = beat->feed->name, .id = state->self.agent, .seq = seq, .json = true };
    char text[HEARTBEAT_MAX];
    int rc;

    state->self.seq = seq;
    state->self.sent_ms = vars.now_ms = clock_wall_ms();
    heartbeat_write(&state->self, text);
    vars.payload = slice_str(text);
    beat->request.on_answer = on_taken;
    beat->request.user = beat;
    beat->sent_ns = clock_now_ns();
    if (!delivery_has_control(state)) {
        beat->sent = true;
        return send_command(beat, &vars, err);
    }
    rc = delivery_topic(beat->feed, &topic, err);
    if (rc == 0)
        rc = expand(state->dialect.publish.body, "{{payload}}", &vars, &body, err);
    if (rc == 0) {
        beat->sent = true;
        broker_publish(state->broker, &beat->request, buf_slice(&topic), buf_slice(&body), (uint64_t)run->conf->timeout_ms);
    }
    buf_fini(&topic);
    buf_fini(&body);
    return rc;
}
