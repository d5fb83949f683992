/*
 * `reconnect`: drops its connection on purpose, by a close frame and by an abort in turn, and comes back as a client does: its subscriptions must be
 * confirmed again, all within `within`. A session check: it keeps its connection between rounds, and each round drops it once.
 *
 * It is no storm: attempts come with exponential backoff and full jitter, and never more than max_per_second of them, of all checks of this type
 * together, however long the server refuses (conn_group.reconnect_ns). After a refusal of the probe the common back-off holds (run_may_connect).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/client/backoff.h"
#include "agent/client/dialogue.h"
#include "agent/core/broker.h"
#include "agent/core/channels.h"
#include "agent/core/run_report.h"
#include "probes/reconnect_burst.h"
#include "probes/reconnect_resume.h"
#include "probes/registry.h"

enum {
    HOW_CLOSE = 1,
    HOW_ABORT = 2,
    DELAY_FIRST_MS = 100,
    DELAY_MAX_MS = 30000,
    DOUBLINGS_MAX = 9,
    NAME_CHARS = 60,
    AWAY_MAX_MS = 30000
};

struct reconnect_opts {
    unsigned how;
    int64_t within_ms, max_per_second, burst;
    char *broker, *channel;
    struct opt_strings channels;
    struct dialect over;
    bool missed; /* of resume */
};

struct reconnect_state {
    struct dialect dialect, spoken; /* the check's, and what the present connection makes of it */
    struct dialogue *dialogue;
    struct resume *resume;     /* NULL: the session has no state to come back to */
    struct channels *channels; /* NULL: none are subscribed */
    struct burst *burst;       /* NULL: none is configured */
    struct conn_report report;
    struct timer again; /* the next attempt */
    bool begun, opening, standing /* open, and all is subscribed */, aborts /* the next drop */;
    bool held;               /* counted among the held ones */
    bool ended;              /* the server has ended a connection that stood: its session must be taken up again */
    bool due;                /* an attempt whose time came between rounds */
    bool measuring;          /* it was dropped in this round, and is coming back */
    uint64_t dropped_ns;     /* then */
    uint64_t ended_ns;       /* the server has ended it then */
    uint64_t back_ns;        /* and all was there again */
    uint64_t attempted_ns;   /* the last attempt began then */
    unsigned attempts;       /* since the last connection that stood */
    size_t count, confirmed; /* channels of the round */
    bool *answered;
    struct err last; /* why the last attempt failed; reason NONE: it has not */
};

static const struct reconnect_opts *opts_of(const struct run *run)
{
    return run->opts;
}

static const struct dialect *target_dialect(const struct run *run)
{
    static const struct dialect raw = { .name = "raw" };

    return run->target->dialect ? run->target->dialect : &raw;
}

static const char *how_name(bool abort)
{
    return abort ? "an abort" : "a close frame";
}

static void connect_later(struct run *run);

/* The check may have another connection: over the other version of HTTP. */
static void note_held(struct run *run, bool held)
{
    struct reconnect_state *state = run->state;

    if (held && !state->held)
        run->stats->held++;
    else if (!held && state->held)
        run->stats->held--;
    state->held = held;
}

/* --- the verdict --- */

static void finish_back(struct run *run)
{
    struct reconnect_state *state = run->state;
    uint64_t took_ns = state->back_ns - state->dropped_ns;
    char took[32], within[32], back[BURST_BACK_CHARS];

    state->measuring = false;
    run->report.phase = PHASE_OPEN;
    run->report.have_rtt = true;
    run->report.rtt_ns = took_ns;
    text_format_elapsed(took_ns, took, sizeof took);
    text_format_duration(opts_of(run)->within_ms, within, sizeof within);
    if (took_ns > (uint64_t)opts_of(run)->within_ms * NS_PER_MS) {
        run_finish(run, REASON_RECONNECT_SLOW, "after %s it took %s to come back (want %s)", how_name(!state->aborts), took,
                   within);
        return;
    }
    snprintf(back, sizeof back, "back %s after %s%s%s", took, how_name(!state->aborts),
             state->count ? ", with its subscriptions" : "",
             !state->resume         ? ""
             : opts_of(run)->missed ? ", and with all that it had missed"
                                    : ", and its session");
    if (!state->burst)
        run_pass(run, "%s", back);
    else if (!burst_start(state->burst, back))
        burst_pass(state->burst, back);
}

/* The session is looked at, or the round goes on with its own drop. */
static void prime(struct run *run)
{
    struct reconnect_state *state = run->state;

    if (!state->ended || !resume_taken(state->resume)) {
        state->ended = false;
        resume_prime(state->resume);
    }
}

static void drop(struct run *run)
{
    struct reconnect_state *state = run->state;
    unsigned how = opts_of(run)->how;
    bool abort = how == HOW_ABORT || (how != HOW_CLOSE && state->aborts);

    trace_note(run->trace, TRACE_NOTE, "dropped by %s", how_name(abort));
    if (abort)
        dialogue_drop(state->dialogue);
    else
        dialogue_close(state->dialogue, WS_CODE_NORMAL);
    state->aborts = !abort;
    state->standing = false;
    state->measuring = true;
    state->dropped_ns = clock_now_ns();
    note_held(run, false);
    if (state->resume)
        resume_away(state->resume);
    else
        connect_later(run);
}

/* All is there again: the first time the round goes on with the drop, then it is over. */
static void stands(struct run *run)
{
    struct reconnect_state *state = run->state;

    state->standing = true;
    state->attempts = 0;
    err_clear(&state->last);
    note_held(run, true);
    if (!run->active) {
        state->measuring = false;
        return;
    }
    if (state->measuring)
        state->back_ns = clock_now_ns();
    if (state->resume && state->measuring)
        resume_back(state->resume);
    else if (state->resume)
        prime(run);
    else if (state->measuring)
        finish_back(run);
    else
        drop(run);
}

static void finish_failed(struct run *run, const struct err *err)
{
    struct reconnect_state *state = run->state;

    timer_stop(&state->again);
    if (state->resume)
        resume_end(state->resume);
    state->measuring = state->standing = state->due = false;
    note_held(run, false);
    if (state->opening)
        run_report_conn(run, &state->report, run->url->tls);
    state->opening = false;
    burst_cancel(state->burst);
    dialogue_drop(state->dialogue);
    run->report.phase = reason_phase(err->reason);
    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        run->report.close_code = err->code;
    run_finish_err(run, err);
}

static void on_session(struct run *run, const struct err *err)
{
    struct reconnect_state *state = run->state;
    bool ended = state->ended && !state->measuring;
    struct err why;

    state->ended = false;
    if (err) {
        why = *err;
        if (ended)
            err_prefix(&why, "the server had ended the connection between rounds");
        finish_failed(run, &why);
    } else if (ended)
        resume_prime(state->resume);
    else
        finish_back(run);
}

static const struct resume_events resume_events = { .on_primed = drop, .on_away = connect_later, .on_judged = on_session };

/* --- the connection --- */

static void on_ready(void *user)
{
    struct run *run = user;
    struct reconnect_state *state = run->state;
    struct err err;

    state->opening = false;
    run_report_conn(run, &state->report, run->url->tls);
    run->report.phase = PHASE_OPEN;
    state->confirmed = 0;
    if (state->resume && resume_ready(state->resume, &err) < 0) {
        finish_failed(run, &err);
        return;
    }
    if (!state->count) {
        stands(run);
        return;
    }
    memset(state->answered, 0, CHANNELS_SAMPLE_MAX * sizeof *state->answered);
    for (size_t i = 0; i < state->count; i++)
        if (dialogue_subscribe(state->dialogue, channels_name(state->channels, i), &err) < 0) {
            finish_failed(run, &err);
            return;
        }
}

static void on_subscribed(void *user, const char *channel, const struct err *cause)
{
    struct run *run = user;
    struct reconnect_state *state = run->state;
    size_t i = channels_find(state->channels, channel);
    struct err err;

    if (cause) {
        err = *cause;
        if (state->measuring)
            err_set(&err, REASON_RESUME_FAILED, 0, "after the reconnect, %s", cause->text);
        state->measuring = false;
        finish_failed(run, &err);
        return;
    }
    if (i == CHANNELS_NONE || state->answered[i])
        return;
    state->answered[i] = true;
    if (++state->confirmed == state->count)
        stands(run);
}

static void on_lost(void *user, const struct err *err)
{
    struct run *run = user;
    struct reconnect_state *state = run->state;

    if (state->standing && state->resume) {
        state->ended = true;
        state->ended_ns = clock_now_ns();
    }
    state->opening = state->standing = false;
    note_held(run, false);
    if (!run->active || burst_is_busy(state->burst)) /* the next round opens a new one */
        return;
    run_report_conn(run, &state->report, run->url->tls);
    state->last = *err;
    state->attempts++;
    if (backoff_is_refusal(err->reason, err->code))
        finish_failed(run, err);
    else
        connect_later(run);
}

static void on_unit(void *user, struct slice unit)
{
    struct reconnect_state *state = ((struct run *)user)->state;

    if (state->resume)
        resume_unit(state->resume, unit);
}

static const struct dialogue_events dialogue_events = {
    .on_ready = on_ready, .on_subscribed = on_subscribed, .on_lost = on_lost, .on_unit = on_unit
};

/* A client comes back at once. After a longer time, such as that of a long interval or of an outage, the server may have let the session
 * go by its own rule, and nothing is proven against it. */
static void forget_if_stale(struct run *run)
{
    struct reconnect_state *state = run->state;
    int64_t most_ms = opts_of(run)->within_ms > AWAY_MAX_MS ? opts_of(run)->within_ms : AWAY_MAX_MS;
    uint64_t most_ns = (uint64_t)most_ms * NS_PER_MS, now_ns = clock_now_ns();

    if (state->ended && now_ns - state->ended_ns > most_ns)
        state->ended = false;
    if (state->resume && state->measuring && state->attempts && now_ns - state->dropped_ns > most_ns) {
        state->measuring = false;
        resume_end(state->resume);
    }
}

static void connect_now(struct run *run)
{
    struct reconnect_state *state = run->state;
    struct conn_options options = run_conn_options(run);
    struct err err;

    options.share = NULL;
    state->due = false;
    if (!run_may_connect(run)) {
        run_skip(run, run_barred_until_ns(run));
        return;
    }
    forget_if_stale(run);
    if (state->measuring && !state->attempts) /* what the agent's own pace took is not the server's */
        state->dropped_ns = clock_now_ns();
    state->opening = true;
    state->attempted_ns = clock_now_ns();
    state->spoken = state->dialect;
    if ((state->resume && resume_prepare(state->resume, &state->spoken, state->measuring || state->ended, &err) < 0) ||
        dialogue_open(state->dialogue, &options, &state->spoken, run->conf->name, &state->report, &err) < 0) {
        state->opening = false;
        finish_failed(run, &err);
    }
}

/* Between rounds nothing is tried: the next one begins with it. */
static void on_again(struct timer *timer, void *user)
{
    struct run *run = user;
    struct reconnect_state *state = run->state;

    (void)timer;
    state->due = !run->active;
    if (run->active)
        connect_now(run);
}

/* Full jitter: anything up to a time that doubles. And a place among the attempts of all checks of this type. */
static void connect_later(struct run *run)
{
    struct reconnect_state *state = run->state;
    uint64_t now_ns = clock_now_ns(), most_ms = DELAY_FIRST_MS, at_ns;

    for (unsigned i = 1; i < state->attempts && i < DOUBLINGS_MAX; i++)
        most_ms *= 2;
    if (most_ms > DELAY_MAX_MS)
        most_ms = DELAY_MAX_MS;
    at_ns = now_ns + (state->attempts ? random_below((uint32_t)most_ms) * NS_PER_MS : 0);
    if (at_ns < run->group->reconnect_ns)
        at_ns = run->group->reconnect_ns;
    run->group->reconnect_ns = at_ns + 1000 * NS_PER_MS / (uint64_t)opts_of(run)->max_per_second;
    timer_start_ns(&state->again, at_ns - now_ns);
}

/* --- rounds --- */

static const struct opt resume_rows[];

static bool has_resume(const struct reconnect_opts *opts)
{
    for (const struct opt *row = resume_rows; row->name; row++)
        if (row->kind != OPT_BOOL && opt_is_set(row, &opts->over))
            return true;
    return false;
}

static void first_round(struct run *run)
{
    struct reconnect_state *state = run->state;
    const struct reconnect_opts *opts = opts_of(run);

    state->begun = true;
    dialect_overlay(&state->dialect, target_dialect(run), &opts->over);
    if (opts->channel || opts->channels.count) {
        state->channels = channels_new(opts->channel, &opts->channels, CHANNELS_SAMPLE_MAX);
        state->count = channels_round(state->channels);
        state->answered = mem_alloc(CHANNELS_SAMPLE_MAX * sizeof *state->answered);
    }
    state->dialogue = dialogue_new(run, &dialogue_events);
    timer_init(&state->again, run->loop, on_again, run);
    if (opts->burst)
        state->burst = burst_new(run, (size_t)opts->burst, opts->within_ms);
    if (opts->missed || has_resume(opts)) {
        const struct resume_wishes wishes = { opts->broker, state->channels ? channels_name(state->channels, 0) : NULL,
                                              (uint64_t)opts->within_ms, opts->missed };

        state->resume = resume_new(run, state->dialogue, &state->dialect, &wishes, &resume_events);
    }
}

static void reconnect_start(struct run *run)
{
    struct reconnect_state *state = run->state;

    if (!state->begun)
        first_round(run);
    run->report.phase = PHASE_RESOLVE;
    err_clear(&state->last);
    burst_cancel(state->burst); /* of a round that was void */
    if (state->standing && state->resume)
        prime(run);
    else if (state->standing)
        drop(run);
    else if (state->due)
        connect_now(run);
    else if (!dialogue_busy(state->dialogue) &&
             !timer_active(&state->again)) /* else it is an attempt that a former round has put off */
        connect_later(run);
}

static void describe_missing(struct run *run, struct err *err)
{
    struct reconnect_state *state = run->state;
    char name[TEXT_EXCERPT_BYTES(NAME_CHARS)] = "", limit[32];

    for (size_t i = 0; i < state->count && !name[0]; i++)
        if (!state->answered[i])
            text_excerpt(slice_str(channels_name(state->channels, i)), NAME_CHARS, name, sizeof name);
    text_format_duration(run->conf->timeout_ms, limit, sizeof limit);
    err_set(err, state->measuring ? REASON_RESUME_FAILED : REASON_SUBSCRIBE_TIMEOUT, 0,
            "%sthe subscription to \"%s\" was not confirmed within %s (%zu of %zu channels)",
            state->measuring ? "after the reconnect, " : "", name, limit, state->confirmed, state->count);
}

/* An attempt that has had the time of a whole round, and came to nothing; a younger one goes on. */
static bool has_timed_out(const struct run *run)
{
    const struct reconnect_state *state = run->state;

    return dialogue_busy(state->dialogue) &&
           clock_now_ns() - state->attempted_ns >= (uint64_t)run->conf->timeout_ms * NS_PER_MS * 9 / 10;
}

/* The session's state was waited for. Nothing is proven against the server before the drop, nor where the round has no room for `within`. */
static bool finish_session(struct run *run)
{
    struct reconnect_state *state = run->state;
    struct err err;

    if (!state->resume || !resume_timeout(state->resume, &err))
        return false;
    if (err.reason == REASON_NONE) /* judged already */
        return true;
    run->report.phase = reason_phase(err.reason);
    if (reason_scope(err.reason) == SCOPE_SHARED) {
        finish_failed(run, &err);
        return true;
    }
    state->measuring = false;
    if (err.code >= BROKER_HINT_ABSENT)
        run->report.broker_hint = err.code;
    run_warn(run, err.reason, "%s", err.text);
    return true;
}

static void reconnect_on_deadline(struct run *run)
{
    struct reconnect_state *state = run->state;
    bool measuring = state->measuring, late = has_timed_out(run);
    struct err err;

    if (burst_is_busy(state->burst)) {
        burst_expire(state->burst);
        return;
    }
    if (finish_session(run))
        return;
    if (late && dialogue_is_ready(state->dialogue)) {
        describe_missing(run, &err);
        finish_failed(run, &err);
        return;
    }
    if (late) {
        dialogue_timeout_err(state->dialogue, (uint64_t)run->conf->timeout_ms, &err);
        state->attempts++;
    } else if (state->last.reason != REASON_NONE) { /* the next round goes on with what is under way */
        err = state->last;
    } else {
        run_skip(run, clock_now_ns()); /* nothing is known yet: other checks of the type had their attempts first */
        return;
    }
    if (measuring)
        err_prefix(&err, "it did not come back after %s", how_name(!state->aborts));
    run->report.phase = reason_phase(err.reason);
    if (late)
        finish_failed(run, &err);
    else
        run_finish_err(run, &err);
}

static void reconnect_stop(struct run *run)
{
    struct reconnect_state *state = run->state;

    if (!state->begun)
        return;
    timer_stop(&state->again);
    if (state->burst)
        burst_free(state->burst);
    resume_free(state->resume);
    dialogue_close(state->dialogue, WS_CODE_NORMAL);
    dialogue_free(state->dialogue);
    if (state->channels)
        channels_free(state->channels);
    mem_free(state->answered);
    note_held(run, false);
    memset(state, 0, sizeof *state);
}

static bool needs_broker(const void *opts)
{
    return ((const struct reconnect_opts *)opts)->missed;
}

static int reconnect_validate(const void *opts, struct err *err)
{
    const struct reconnect_opts *reconnect = opts;

    if (!reconnect->how)
        return err_set(err, REASON_NONE, 0, "how: it is empty, want close, abort or both");
    if (!reconnect->channel && !reconnect->channels.count)
        return reconnect->missed ? err_set(err, REASON_NONE, 0, "resume.missed: needs channel, where heartbeats are published") : 0;
    return channels_check(reconnect->channel, &reconnect->channels, err);
}

static const char *const how_words[] = { "close", "abort", NULL };

#define OPTION(key, member, its_kind, text) \
    .name = key, .kind = its_kind, .offset = offsetof(struct reconnect_opts, member), .help = text
/* Relative to `over`, as the parts of a dialect are. */
static const struct opt resume_rows[] = {
    DIALECT_RESUME_ROWS,
    { .name = "missed",
      .kind = OPT_BOOL,
      .offset = offsetof(struct reconnect_opts, missed) - offsetof(struct reconnect_opts, over),
      .default_text = "false",
      .help = "heartbeats that are published on the broker while the connection is away must arrive after it, each once" },
    { 0 },
};

static const struct opt reconnect_rows[] = {
    { OPTION("how", how, OPT_SET, "how the connection is dropped, in turn: by a close frame, by an abort"),
      .default_text = "close,abort", .words = how_words },
    { OPTION("within", within_ms, OPT_DURATION, "it must be back, with its subscriptions, this long after its first attempt"),
      .default_text = "2s", .min = 1, .max = 3600000 },
    { OPTION("max_per_second", max_per_second, OPT_INT,
             "no more attempts in a second than this, of all checks of this type together"),
      .default_text = "1", .min = 1, .max = 100 },
    { OPTION("broker", broker, OPT_STRING,
             "where heartbeats of resume.missed are published; may be left out where there is only one") },
    { OPTION("channel", channel, OPT_STRING, "a channel that is subscribed, and must be again"), .min = 1,
      .max = CHANNEL_NAME_MAX },
    { OPTION("channels", channels, OPT_STRINGS, "several channels, as a list and with patterns such as room-{1..50}"),
      .max = 1000 },
    { OPTION("burst", burst, OPT_INT,
             "so many connections at once after a drop, at most once a minute; 0: none. They, and a bystander's ping, are judged"),
      .default_text = "0", .max = BURST_MAX },
    DIALECT_PARTS(offsetof(struct reconnect_opts, over)),
    DIALECT_PART("resume", offsetof(struct reconnect_opts, over), resume_rows,
                 "the session's state, which must be there again; what it does not say is the dialect's"),
    { 0 },
};

const struct probe_type probe_reconnect = {
    .name = "reconnect",
    .summary = "Drops its connection on purpose, comes back in time, and gets its subscriptions back",
    .kind = PROBE_SESSION,
    .rank = 13,
    .opts = reconnect_rows,
    .opts_size = sizeof(struct reconnect_opts),
    .state_size = sizeof(struct reconnect_state),
    .session = true,
    .keeps = offsetof(struct reconnect_opts, burst) + 1,
    .uses_brokers = true,
    .needs_broker = needs_broker,
    .series = SERIES_REFUSALS | SERIES_FRAMES | SERIES_RTT | SERIES_HELD,
    .reasons = (const enum reason[]){ REASON_SUBSCRIBE_TIMEOUT, REASON_SUBSCRIBE_REJECTED, REASON_RECONNECT_SLOW,
                                      REASON_RESUME_FAILED, REASON_NONE },
    .timeout_reason = REASON_RECONNECT_SLOW,
    .validate = reconnect_validate,
    .start = reconnect_start,
    .on_deadline = reconnect_on_deadline,
    .stop = reconnect_stop,
};
