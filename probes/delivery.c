/*
 * `delivery`: what is published on the broker reaches this server's clients. A session check: it keeps one subscribed connection; a round
 * publishes a heartbeat for each channel of its sample and awaits each twice, on the agent's own subscription to the broker (control) and
 * on the WebSocket. The comparison says whose fault it is.
 *
 *     published  control  WebSocket
 *     yes        yes      yes, late  delivery_slow          this server
 *     yes        yes      no         delivery_lost          this server: it has lost its subscription
 *     yes        no       no         broker_not_delivering  the broker
 *     yes        no       yes        pass, with a remark
 *     yes        -        yes        pass: with publish.command the agent cannot listen to the broker
 *     yes        -        no         delivery_lost, which says so
 *     no                             the broker's own reason
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/core/run_report.h"
#include "probes/delivery.h"
#include "probes/registry.h"

enum { GOING_AWAY = 1001 };

/* --- the connection --- */

static void end_opening(struct run *run)
{
    struct delivery_state *state = run->state;

    run_report_conn(run, &state->report, run->url->tls);
    state->opening = false;
}

/* Told apart at the deadline: a server that lost its subscription answers pings, a connection that died in silence does not. A ping that is
 * still owed its pong stays the one that is judged, or rounds that end early would give a dead connection more time each. */
static void ping_session(struct run *run)
{
    struct delivery_state *state = run->state;

    if (state->pinged_ns && !state->alive)
        return;
    state->alive = false;
    state->pinged_ns = clock_now_ns();
    random_bytes(state->ping, sizeof state->ping);
    dialogue_send(state->dialogue, WS_PING, slice_of(state->ping));
}

static void finish_in(struct run *run, enum phase phase, const struct err *err)
{
    run->report.phase = phase;
    run_finish_err(run, err);
}

/* Without the broker, a round can only prove that the server takes the connection, and it has. If the broker is up by now, the next
 * round comes at once. */
static void finish_bare(struct run *run)
{
    struct delivery_state *state = run->state;

    if (broker_is_up(state->broker))
        run_skip(run, clock_now_ns());
    else
        finish_in(run, PHASE_NONE, broker_why(state->broker));
}

static void on_ready(void *user)
{
    struct run *run = user;
    struct delivery_state *state = run->state;

    end_opening(run);
    run->report.phase = PHASE_OPEN;
    run->stats->held = 1;
    ping_session(run);
    if (run->active && state->bare)
        finish_bare(run);
    else
        delivery_advance(run);
}

static void on_subscribed(void *user, const char *channel, const struct err *err)
{
    struct run *run = user;
    struct delivery_state *state = run->state;
    struct feed *feed = delivery_feed(state, channel);

    state->alive = true;
    if (err) {
        if (feed)
            feed->asked = false; /* asked for again in the next round */
        run_finish_err(run, err);
        return;
    }
    if (feed)
        feed->subscribed = true;
    delivery_others_changed(state);
    delivery_advance(run);
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct run *run = user;
    struct delivery_state *state = run->state;

    (void)received_ns;
    if (message->opcode != WS_PONG) {
        state->alive = true;
    } else if (slice_equal(message->body, slice_of(state->ping))) {
        state->alive = true;
        delivery_others_proved(state);
    }
}

static void on_payload(void *user, const char *channel, struct slice payload, uint64_t received_ns)
{
    struct run *run = user;
    struct delivery_state *state = run->state;

    (void)channel;
    state->alive = true;
    delivery_take(run, payload, NULL, LEG_WEBSOCKET, received_ns);
}

/* The connection is gone, and its subscriptions with it. */
static void leave_session(struct run *run)
{
    struct delivery_state *state = run->state;

    delivery_feeds_lost(state);
    state->lost_streak = 0;
    state->pinged_ns = 0;
    state->alive = false;
    run->stats->held = 0;
}

static void on_lost(void *user, const struct err *cause)
{
    struct run *run = user;
    struct delivery_state *state = run->state;
    struct err err = *cause;

    leave_session(run);
    if (state->opening) {
        end_opening(run);
        run->report.phase = reason_phase(err.reason);
        run_finish_err(run, &err);
        return;
    }
    err_prefix(&err, "the subscribed connection was lost");
    run_event(run, &err);
}

static void on_ended(void *user);
static const struct dialogue_events dialogue_events = { .on_ready = on_ready,
                                                        .on_subscribed = on_subscribed,
                                                        .on_payload = on_payload,
                                                        .on_message = on_message,
                                                        .on_lost = on_lost,
                                                        .on_ended = on_ended };

static int connect_dialogue(struct run *run, struct err *err)
{
    struct delivery_state *state = run->state;
    struct conn_options options = run_conn_options(run);

    if (dialogue_open(state->dialogue, &options, &state->dialect, state->self.agent, &state->report, err) < 0)
        return -1;
    state->opening = true;
    return 0;
}

/* Between rounds: another check has ended the shared connection. The next round opens it again. */
static void on_ended(void *user)
{
    struct run *run = user;
    struct delivery_state *state = run->state;

    leave_session(run);
    if (state->opening)
        end_opening(run);
}

/* --- the round's beginning and end --- */

static void on_broker_change(void *user, bool up, const struct err *err)
{
    if (!up)
        run_event(user, err);
    else
        delivery_advance(user);
}

static void session_begin(struct run *run)
{
    struct delivery_state *state = run->state;
    const struct delivery_opts *opts = run->opts;

    state->run = run;
    state->broker = run_broker(run, opts->broker);
    state->channels = channels_new(opts->channel, &opts->channels, opts->sample);
    dialect_overlay(&state->dialect, run->target->dialect, &opts->over);
    list_init(&state->feeds);
    heartbeat_agent(run->agent_id, run->nonce, state->self.agent);
    heartbeat_word(run->region, state->self.region);
    heartbeat_word(run->conf->name, state->self.check);
    state->next_seq = 1;
    state->dialogue = dialogue_new(run, &dialogue_events);
    state->watch.on_change = on_broker_change;
    state->watch.user = run;
    broker_watch(state->broker, &state->watch);
}

static void beats_end(struct delivery_state *state)
{
    for (size_t i = 0; i < state->beat_count; i++)
        broker_request_cancel(&state->beats[i].request);
    mem_free(state->beats);
    state->beats = NULL;
    state->beat_count = 0;
}

static int beats_begin(struct run *run, struct err *err)
{
    struct delivery_state *state = run->state;

    beats_end(state);
    state->beat_count = channels_round(state->channels);
    state->beats = mem_alloc(state->beat_count * sizeof *state->beats);
    state->dropped_before = broker_dropped_count(state->broker);
    state->first_seq = state->next_seq;
    state->next_seq += state->beat_count;
    for (size_t i = 0; i < state->beat_count; i++) {
        state->beats[i].run = run;
        if (delivery_feed_use(&state->beats[i], channels_name(state->channels, i), err) < 0)
            return -1;
    }
    return 0;
}

/* Has nothing come since a ping that is so old? */
static bool is_dead(const struct run *run, uint64_t age_ms)
{
    const struct delivery_state *state = run->state;

    return dialogue_is_ready(state->dialogue) && state->pinged_ns && !state->alive &&
           clock_now_ns() - state->pinged_ns >= age_ms * NS_PER_MS;
}

/*
 * What earlier rounds have left behind, whatever ended them. Where a confirmation never came, a new connection asks for all channels anew.
 * Asking again over the old one would be refused by servers that have the subscription and whose confirmation was lost ("already
 * subscribed"), and would have others deliver twice. Until this round began, a late confirmation was still welcome.
 */
static void leave_stale_session(struct run *run)
{
    struct delivery_state *state = run->state;

    if (is_dead(run, (uint64_t)run->conf->timeout_ms)) {
        dialogue_drop(state->dialogue);
        leave_session(run);
    } else if (dialogue_is_ready(state->dialogue) &&
               delivery_feeds_unanswered(state, (uint64_t)run->conf->timeout_ms * NS_PER_MS)) {
        dialogue_close(state->dialogue, GOING_AWAY);
        leave_session(run);
    }
}

static void delivery_start(struct run *run)
{
    struct delivery_state *state = run->state;
    struct err err;

    if (!state->broker)
        session_begin(run);
    run->report.phase = PHASE_OPEN;
    leave_stale_session(run);
    if (dialogue_is_ready(
            state->dialogue)) { /* also while the broker is down, so that the connection is there when the broker comes back */
        conn_asked(dialogue_conn(state->dialogue));
        ping_session(run);
    }
    state->bare = broker_is_waiting(state->broker);
    if (state->bare) {
        beats_end(state);
        if (dialogue_is_ready(state->dialogue))
            finish_bare(run);
        else if (!dialogue_busy(state->dialogue) && connect_dialogue(run, &err) < 0)
            run_finish_err(run, &err);
    } else if (beats_begin(run, &err) < 0 || (!dialogue_busy(state->dialogue) && connect_dialogue(run, &err) < 0)) {
        run_finish_err(run, &err);
    } else {
        delivery_advance(run);
    }
}

/* The deadline has passed before the connection was ready: it is dropped, whatever the verdict will be. */
static bool leave_unready(struct run *run, struct err *err)
{
    struct delivery_state *state = run->state;

    if (dialogue_is_ready(state->dialogue))
        return false;
    if (dialogue_busy(state->dialogue))
        dialogue_timeout_err(state->dialogue, (uint64_t)run->conf->timeout_ms, err);
    else
        err_set(err, REASON_UPGRADE_TIMEOUT, 0, "there is no connection");
    if (state->opening)
        end_opening(run);
    dialogue_drop(state->dialogue);
    leave_session(run);
    return true;
}

/* Notes every channel that is not subscribed, so that it is among the next round's; names one. NULL: all are. */
static const struct feed *note_unsubscribed(struct delivery_state *state)
{
    const struct feed *found = NULL;

    for (size_t i = 0; i < state->beat_count; i++)
        if (!state->beats[i].feed->subscribed) {
            channels_failed(state->channels, i);
            found = found ? found : state->beats[i].feed;
        }
    return found;
}

/* Which of the things that must be there before a heartbeat can be sent is missing? */
static bool finish_unprepared(struct run *run, const char *limit, const struct err *flood)
{
    struct delivery_state *state = run->state;
    const struct feed *unsubscribed;
    bool control;

    unsubscribed = note_unsubscribed(state);
    if (unsubscribed && flood) {
        run_finish_err(run, flood); /* the confirmation may be somewhere in it */
        return true;
    }
    if (unsubscribed) {
        run_finish(run, REASON_SUBSCRIBE_TIMEOUT, "the subscription to %.100s was not confirmed within %s", unsubscribed->name,
                   limit);
        return true;
    }
    for (size_t i = 0; i < state->beat_count; i++)
        state->beats[i].feed->again |= !state->beats[i].feed->listener.confirmed;
    for (size_t i = 0; i < state->beat_count; i++) {
        control = delivery_feed_may_send(state->beats[i].feed);
        if (control && state->beats[i].taken)
            continue;
        run->report.phase = PHASE_NONE;
        run_finish(run, REASON_BROKER_TIMEOUT, "the broker has not confirmed %s within %s",
                   control ? "the heartbeat" : "the agent's own subscription", limit);
        return true;
    }
    return false;
}

/*
 * The same connection is judged until the check is in fail; then a new one is opened, as a client would do in the end: the server may serve
 * new subscribers again. After a flood the next round opens a new connection too, because what is still unread is of no use to it.
 */
static void reconnect_if_lost(struct run *run, bool flooded)
{
    struct delivery_state *state = run->state;
    bool lost = false;

    for (size_t i = 0; i < state->beat_count; i++)
        lost = lost || (!state->beats[i].websocket_ns && (state->beats[i].control_ns || !delivery_has_control(state)));
    state->lost_streak = lost ? state->lost_streak + 1 : 0;
    if (state->lost_streak < (unsigned)run->conf->fall.count && !(lost && flooded))
        return;
    dialogue_close(state->dialogue, GOING_AWAY);
    leave_session(run);
}

/* A dead or half-open connection is dropped first, then the verdict comes: a broker's fault must not keep a dead connection. */
static void delivery_on_deadline(struct run *run)
{
    struct delivery_state *state = run->state;
    bool unready, refused, dead = is_dead(run, (uint64_t)run->conf->timeout_ms / 2);
    char limit[32];
    struct err err, flood;
    bool flooded = conn_flooded(dialogue_conn(state->dialogue), &flood);

    text_format_duration(run->conf->timeout_ms, limit, sizeof limit);
    /* A server that takes no connection is at fault whatever the broker does. After the upgrade, a server may be waiting for the broker. */
    refused = !dialogue_is_ready(state->dialogue) && !dialogue_opened_ns(state->dialogue);
    unready = leave_unready(run, &err);
    if (dead) {
        dialogue_drop(state->dialogue);
        leave_session(run);
    }
    if (!broker_is_up(state->broker) && !(state->bare && refused)) {
        finish_in(run, PHASE_NONE, broker_why(state->broker));
    } else if (flooded && (unready || dead)) {
        finish_in(run, PHASE_OPEN, &flood);
    } else if (unready) {
        finish_in(run, reason_phase(err.reason), &err);
    } else if (dead) {
        run_finish(run, REASON_SILENT_DROP, "nothing came on the subscribed connection within %s, not even a pong", limit);
    } else if (state->bare) {
        finish_bare(run);
    } else if (!finish_unprepared(run, limit, flooded ? &flood : NULL)) {
        delivery_judge(run, flooded ? &flood : NULL);
        reconnect_if_lost(run, flooded);
    }
}

static void delivery_stop(struct run *run)
{
    struct delivery_state *state = run->state;

    if (!state->broker)
        return;
    beats_end(state);
    delivery_feeds_free(state);
    broker_unwatch(&state->watch);
    dialogue_close(state->dialogue, GOING_AWAY);
    dialogue_free(state->dialogue);
    channels_free(state->channels);
    memset(state, 0, sizeof *state);
    run->stats->held = 0;
}

static int delivery_validate(const void *opts, struct err *err)
{
    const struct delivery_opts *delivery = opts;

    return channels_check(delivery->channel, &delivery->channels, err);
}

/* Options that open and keep a connection must be the same for all checks that share it. */
static int delivery_validate_share(const void *opts, struct err *err)
{
    const struct dialect *over = &((const struct delivery_opts *)opts)->over;
    bool connect = over->connect.send.data || !match_spec_empty(&over->connect.expect) || !match_spec_empty(&over->connect.reject);
    bool keepalive = over->keepalive.send.data || over->keepalive.ping.data || !match_spec_empty(&over->keepalive.match);

    if (!connect && !keepalive)
        return 0;
    return err_set(err, REASON_NONE, 0, "%s: with share_connection it belongs to all checks: set it in a dialect, under dialects",
                   connect ? "connect" : "keepalive");
}

#define OPTION(key, member, its_kind, text) \
    .name = key, .kind = its_kind, .offset = offsetof(struct delivery_opts, member), .help = text
static const struct opt delivery_rows[] = {
    { OPTION("broker", broker, OPT_STRING, "the broker to publish on; may be left out where there is only one") },
    { OPTION("channel", channel, OPT_STRING, "the channel for heartbeats: one that users do not see"), .max = CHANNEL_NAME_MAX },
    { OPTION("channels", channels, OPT_STRINGS, "several channels, as a list and with patterns such as room-{1..5000}") },
    { OPTION("sample", sample, OPT_INT, "how many of the channels a round tries, in turn; 0: all"), .default_text = "0",
      .max = CHANNELS_SAMPLE_MAX },
    { OPTION("within", within_ms, OPT_DURATION, "a heartbeat must be on the WebSocket this long after it was published"),
      .default_text = "500ms", .min = 1, .max = 600000 },
    DIALECT_PARTS(offsetof(struct delivery_opts, over)),
    { 0 },
};

const struct probe_type probe_delivery = {
    .name = "delivery",
    .summary = "A heartbeat published on the broker arrives on this server's WebSocket, and on the agent's own subscription",
    .kind = PROBE_SESSION,
    .both = BOTH_NOT, /* how a message gets from the broker to a client is the same behind either upgrade */
    .rank = 3,
    .opts = delivery_rows,
    .opts_size = sizeof(struct delivery_opts),
    .state_size = sizeof(struct delivery_state),
    .gates = GATE_READY,
    .session = true,
    .uses_brokers = true,
    .delivers = true,
    .shares = true,
    .validate_share = delivery_validate_share,
    .validate = delivery_validate,
    .series = SERIES_REFUSALS | SERIES_FRAMES | SERIES_RTT,
    .reasons = (const enum reason[]){ REASON_SILENT_DROP, REASON_SUBSCRIBE_TIMEOUT, REASON_SUBSCRIBE_REJECTED, REASON_NONE },
    .timeout_reason = REASON_DELIVERY_LOST,
    .start = delivery_start,
    .on_deadline = delivery_on_deadline,
    .stop = delivery_stop,
};
