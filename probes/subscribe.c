/*
 * `subscribe`: the dialect's subscription is confirmed, on a fresh connection, as a new client would ask for it. Of many channels a sample
 * is tried in each round, so that all of them are tried in time; one that failed is tried again in the next round, so that `fall` can count.
 *
 * A session type only for the rotation, which lives from round to round: the connection does not.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/dialogue.h"
#include "agent/core/channels.h"
#include "agent/core/run_report.h"
#include "probes/registry.h"

enum { NAME_CHARS = 60, NAME_BYTES = TEXT_EXCERPT_BYTES(NAME_CHARS), WANT_BYTES = 160 };

struct subscribe_opts {
    char *channel;
    struct opt_strings channels;
    int64_t sample, within_ms;
    struct dialect over; /* the dialect's parts that are set in place */
};

struct subscribe_state {
    struct dialect dialect;
    struct channels *channels;
    struct dialogue *dialogue;
    struct conn_report report;
    struct timer within;
    size_t count, confirmed; /* of the round */
    bool *answered;          /* of the round's channels; CHANNELS_SAMPLE_MAX at most */
    uint64_t asked_ns;
};

static const struct subscribe_opts *opts_of(const struct run *run)
{
    return run->opts;
}

static const struct dialect *target_dialect(const struct run *run)
{
    static const struct dialect raw = { .name = "raw" };

    return run->target->dialect ? run->target->dialect : &raw;
}

/* Closes the connection, which lives for one round only. The caller finishes the round. */
static void end_round(struct run *run)
{
    struct subscribe_state *state = run->state;
    uint64_t opened_ns = dialogue_opened_ns(state->dialogue);

    timer_stop(&state->within);
    run_report_conn(run, &state->report, run->url->tls);
    if (opened_ns) {
        run->report.have_phase[PHASE_OPEN] = true;
        run->report.phase_ns[PHASE_OPEN] = clock_now_ns() - opened_ns;
    }
    dialogue_close(state->dialogue, WS_CODE_NORMAL);
}

static void note_failed(struct subscribe_state *state)
{
    for (size_t i = 0; i < state->count; i++)
        if (!state->answered[i])
            channels_failed(state->channels, i);
}

static void finish_failed(struct run *run, const struct err *err)
{
    struct subscribe_state *state = run->state;

    note_failed(state);
    end_round(run);
    run->report.phase = reason_phase(err->reason);
    run_finish_err(run, err);
}

/* "channel "news"" or "3 of 10 channels, the first of them "room-17",": what is not confirmed. */
static void name_missing(const struct subscribe_state *state, char *out, size_t size, char want[WANT_BYTES])
{
    char name[NAME_BYTES] = "";
    size_t missing = state->count - state->confirmed;

    for (size_t i = 0; i < state->count && !name[0]; i++)
        if (!state->answered[i]) {
            text_excerpt(slice_str(channels_name(state->channels, i)), NAME_CHARS, name, sizeof name);
            dialogue_awaits(state->dialogue, channels_name(state->channels, i), want, WANT_BYTES);
        }
    if (state->count == 1)
        snprintf(out, size, "channel \"%s\" was not confirmed", name);
    else
        snprintf(out, size, "%zu of %zu channels were not confirmed, \"%s\" among them,", missing, state->count, name);
}

static void finish_late(struct run *run, int64_t limit_ms)
{
    struct subscribe_state *state = run->state;
    char limit[32], what[NAME_BYTES + 80], want[WANT_BYTES] = "";
    const char *last = dialogue_last(state->dialogue);
    struct err err;

    text_format_duration(limit_ms, limit, sizeof limit);
    if (conn_flooded(dialogue_conn(state->dialogue), &err)) {
        finish_failed(run, &err); /* the confirmation may be somewhere in it */
        return;
    }
    if (!dialogue_is_ready(state->dialogue)) {
        dialogue_timeout_err(state->dialogue, (uint64_t)limit_ms, &err);
        if (dialogue_opened_ns(state->dialogue)) /* connect is a part of subscribing */
            err.reason = REASON_SUBSCRIBE_TIMEOUT;
    } else {
        name_missing(state, what, sizeof what, want);
        err_set(&err, REASON_SUBSCRIBE_TIMEOUT, 0, "%s within %s%s%s%s%s%s%s", what, limit, *want ? " (want " : "", want,
                *want ? ")" : "", *last ? "; the last message was \"" : ", and nothing else came", last, *last ? "\"" : "");
    }
    finish_failed(run, &err);
}

static void on_within(struct timer *timer, void *user)
{
    struct run *run = user;

    (void)timer;
    finish_late(run, opts_of(run)->within_ms);
}

static void on_ready(void *user)
{
    struct run *run = user;
    struct subscribe_state *state = run->state;
    struct err err;

    run->report.phase = PHASE_OPEN;
    state->asked_ns = clock_now_ns();
    if (opts_of(run)->within_ms)
        timer_start(&state->within, (uint64_t)opts_of(run)->within_ms);
    for (size_t i = 0; i < state->count; i++)
        if (dialogue_subscribe(state->dialogue, channels_name(state->channels, i), &err) < 0) {
            finish_failed(run, &err);
            return;
        }
}

static void on_subscribed(void *user, const char *channel, const struct err *err)
{
    struct run *run = user;
    struct subscribe_state *state = run->state;
    size_t i = channels_find(state->channels, channel);

    if (err) {
        channels_failed(state->channels, i);
        for (size_t j = 0; j < state->count; j++) /* the others are not known to be bad */
            state->answered[j] = true;
        finish_failed(run, err);
        return;
    }
    if (i == CHANNELS_NONE || state->answered[i])
        return;
    state->answered[i] = true;
    if (++state->confirmed < state->count)
        return;
    if (dialogue_confirms(state->dialogue)) {
        run->report.have_rtt = true; /* of the slowest channel */
        run->report.rtt_ns = clock_now_ns() - state->asked_ns;
    }
    end_round(run);
    run_pass(run, NULL);
}

static void on_lost(void *user, const struct err *err)
{
    struct run *run = user;

    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        run->report.close_code = err->code;
    finish_failed(run, err);
}

static const struct dialogue_events dialogue_events = { .on_ready = on_ready, .on_subscribed = on_subscribed, .on_lost = on_lost };

static void first_round(struct run *run)
{
    struct subscribe_state *state = run->state;
    const struct subscribe_opts *opts = opts_of(run);

    dialect_overlay(&state->dialect, target_dialect(run), &opts->over);
    state->channels = channels_new(opts->channel, &opts->channels, opts->sample);
    state->answered = mem_alloc(CHANNELS_SAMPLE_MAX * sizeof *state->answered);
    state->dialogue = dialogue_new(run, &dialogue_events);
    timer_init(&state->within, run->loop, on_within, run);
}

static void subscribe_start(struct run *run)
{
    struct subscribe_state *state = run->state;
    struct conn_options options = run_conn_options(run);
    struct err err;

    if (!state->channels)
        first_round(run);
    state->count = channels_round(state->channels);
    state->confirmed = 0;
    memset(state->answered, 0, CHANNELS_SAMPLE_MAX * sizeof *state->answered);
    run->report.phase = PHASE_RESOLVE;
    if (dialogue_open(state->dialogue, &options, &state->dialect, run->conf->name, &state->report, &err) < 0)
        run_finish_err(run, &err);
}

static void subscribe_on_deadline(struct run *run)
{
    finish_late(run, run->conf->timeout_ms);
}

static void subscribe_stop(struct run *run)
{
    struct subscribe_state *state = run->state;

    if (!state->channels)
        return;
    timer_stop(&state->within);
    dialogue_close(state->dialogue, WS_CODE_NORMAL);
    dialogue_free(state->dialogue);
    channels_free(state->channels);
    mem_free(state->answered);
    memset(state, 0, sizeof *state);
}

static int subscribe_validate(const void *opts, struct err *err)
{
    const struct subscribe_opts *subscribe = opts;

    return channels_check(subscribe->channel, &subscribe->channels, err);
}

static const struct opt subscribe_rows[] = {
    { .name = "channel",
      .kind = OPT_STRING,
      .offset = offsetof(struct subscribe_opts, channel),
      .min = 1,
      .max = CHANNEL_NAME_MAX,
      .help = "the channel to subscribe to" },
    { .name = "channels",
      .kind = OPT_STRINGS,
      .offset = offsetof(struct subscribe_opts, channels),
      .max = 1000,
      .help = "many channels, or patterns such as room-{1..5000}; at most 10000" },
    { .name = "sample",
      .kind = OPT_INT,
      .offset = offsetof(struct subscribe_opts, sample),
      .default_text = "10",
      .min = 1,
      .max = CHANNELS_SAMPLE_MAX,
      .help = "how many of them are tried in a round; the rounds go through all of them" },
    { .name = "within",
      .kind = OPT_DURATION,
      .offset = offsetof(struct subscribe_opts, within_ms),
      .min = 1,
      .max = 3600000,
      .help = "all confirmations must have come so long after they were asked for; without it, timeout alone counts" },
    DIALECT_PARTS(offsetof(struct subscribe_opts, over)),
    { 0 },
};

const struct probe_type probe_subscribe = {
    .name = "subscribe",
    .summary = "The dialect's subscription is confirmed; of many channels a sample in each round",
    .kind = PROBE_FRESH,
    .rank = 1,
    .proves = PROVES_SUBSCRIPTION,
    .needs_subscribe = true,
    .opts = subscribe_rows,
    .opts_size = sizeof(struct subscribe_opts),
    .state_size = sizeof(struct subscribe_state),
    .gates = GATE_READY,
    .session = true,
    .series = SERIES_OPEN | SERIES_REFUSALS | SERIES_FRAMES | SERIES_RTT,
    .reasons = (const enum reason[]){ REASON_SILENT_DROP, REASON_SUBSCRIBE_TIMEOUT, REASON_SUBSCRIBE_REJECTED, REASON_NONE },
    .timeout_reason = REASON_SUBSCRIBE_TIMEOUT,
    .validate = subscribe_validate,
    .start = subscribe_start,
    .on_deadline = subscribe_on_deadline,
    .stop = subscribe_stop,
};
