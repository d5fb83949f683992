/*
 * `hold`: connections that stay open, as users' do. A session check: each round pings them all and opens what is missing; a loss is judged
 * when it happens (run_event).
 *
 * With `idle` nothing is sent, so that idle timeouts are found. One of several connections is pinged all the same: what cuts the others and leaves
 * it alone is an idle timeout, what cuts it as well is a maximum age.
 *
 * What losses mean is decided in probes/hold_ages.c: a connection that replaces a lost one proves nothing before it has lived longer than that one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/client/session.h"
#include "agent/client/share.h"
#include "agent/core/probe.h"
#include "agent/core/run_report.h"
#include "probes/hold_impl.h"
#include "probes/registry.h"

enum {
    PACED_MIN = 8,
    PACED_TURNS_MAX = 250,
    OPENING_MAX = 16,
    MASS = 10,
    MANY = 500,
    TRACED = 3 /* connections */
};

struct run *held_run(const struct held *held)
{
    const char *first = (const char *)(held - held->index);

    return ((const struct holding *)(const void *)(first - offsetof(struct holding, held)))->run;
}

const struct hold_opts *hold_opts_of(const struct run *run)
{
    return run->opts;
}

bool held_is_control(const struct held *held)
{
    const struct hold_opts *opts = hold_opts_of(held_run(held));

    return opts->idle && opts->connections > 1 && held->index == opts->connections - 1;
}

bool held_is_pinged(const struct held *held)
{
    return !hold_opts_of(held_run(held))->idle || held_is_control(held);
}

/* With `http: both` the connections take turns, beginning with HTTP/1.1. */
static bool over_http2(const struct held *held)
{
    const struct hold_state *state = held_run(held)->state;

    return held_run(held)->http == HTTP_BOTH ? !held->without_h2 && (held - state->held) % 2 : held_run(held)->http2;
}

/* Names the version where there are two. */
static struct err with_version(const struct held *held, const struct err *err)
{
    struct err told = *err;

    if (held_run(held)->http == HTTP_BOTH)
        err_prefix(&told, "over HTTP/%s", over_http2(held) ? "2" : "1.1");
    return told;
}

/* The opening is over, well or not: what it measured goes into the round's report. */
static void held_end_opening(struct held *held)
{
    run_report_conn(held_run(held), held->report, held_run(held)->url->tls);
    mem_free(held->report);
    held->report = NULL;
    held->opening = false;
    ((struct hold_state *)held_run(held)->state)->opened++;
    ((struct hold_state *)held_run(held)->state)->opening--;
}

static void opening_failed(struct held *held, const struct err *err)
{
    held_end_opening(held);
    hold_note_outage(held_run(held), err);
}

static void finish_failed(struct run *run, enum phase phase, const struct err *err)
{
    run->report.phase = phase;
    run_finish_err(run, err);
}

/* Ends the round once every connection has been looked at and every ping has its pong. */
static void round_settle(struct run *run)
{
    struct hold_state *state = run->state;

    if (!run->active || state->opening || state->awaited || state->next < (size_t)hold_opts_of(run)->connections)
        return;
    if (state->opened >= MANY) { /* what they needed to open lies between them */
        state->opened = 0;
        mem_trim();
    }
    if (run->once)
        return; /* the only round lasts until its deadline, to see early closes (hold_on_deadline) */
    hold_note_lives(run);
    if (state->barred) /* the held ones are well; the state stays as it is until the missing ones may be opened */
        run_skip(run, run_barred_until_ns(run));
    else
        hold_finish_by_losses(run);
}

/* How many connections one turn of the loop may look at: a thousand pings and pongs at once would delay every other check. */
static size_t turn_size(const struct run *run)
{
    int64_t turns = run->conf->timeout_ms / 8 < PACED_TURNS_MAX ? run->conf->timeout_ms / 8 : PACED_TURNS_MAX;
    size_t share = (size_t)(hold_opts_of(run)->connections / (turns > 0 ? turns : 1)) + 1;

    return share > PACED_MIN ? share : PACED_MIN;
}

static void held_ping(struct held *held)
{
    struct hold_state *state = held_run(held)->state;

    if (held->awaits_pong || session_send(&held->session, WS_PING, slice_of(state->ping)) < 0)
        return; /* a connection that breaks says so itself */
    conn_asked(session_conn(&held->session));
    held->awaits_pong = true;
    held->since_ns = clock_now_ns();
    state->awaited++;
}

static void open_more(struct run *run);
static bool held_open(struct held *held);

static void on_open(void *user)
{
    struct held *held = user;
    struct run *run = held_run(held);
    struct hold_state *state = run->state;
    int64_t for_ms = hold_opts_of(run)->for_ms;

    held_end_opening(held);
    run->report.phase = PHASE_OPEN;
    run->stats->held++;
    held->opened_ns = clock_now_ns();
    /* Up to a tenth longer, so that many connections are not recycled at one moment. */
    held->life_ms = (uint32_t)(for_ms + random_below((uint32_t)(for_ms / 10)));
    if (state->noted)
        state->noted[held->index] = 0;
    if (held_is_pinged(held))
        held_ping(held);
    open_more(run);
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct held *held = user;
    struct run *run = held_run(held);
    struct hold_state *state = run->state;
    uint64_t rtt_ns;

    if (message->opcode != WS_PONG || !held->awaits_pong)
        return;
    if (!slice_equal(message->body, slice_of(state->ping))) {
        state->foreign = true;
        return;
    }
    held->awaits_pong = false;
    state->awaited--;
    rtt_ns = received_ns > held->since_ns ? received_ns - held->since_ns : 0;
    if (!run->report.have_rtt || rtt_ns > run->report.rtt_ns) /* of the slowest connection */
        run->report.rtt_ns = rtt_ns;
    run->report.have_rtt = true;
    if (!held->life_ms) /* it has survived its silence to the end */
        hold_ages_lived(&state->ages, clock_now_ns(), held->opened_ns, true);
    round_settle(run);
}

static void on_lost(void *user, const struct err *cause)
{
    struct held *held = user;
    struct run *run = held_run(held);
    struct hold_state *state = run->state;
    enum hold_level level = HOLD_WELL;
    struct err err, told = with_version(held, cause);

    if (held->opening && held->report->h2_gap != H2_GAP_NONE &&
        run->http == HTTP_BOTH) { /* as clients do, which are turned away by nothing */
        held_end_opening(held);
        held->without_h2 = true;
        trace_note(run->trace, TRACE_NOTE, "over HTTP/1.1 instead");
        if (held_open(held))
            round_settle(run);
        return;
    }
    if (held->opening) {
        opening_failed(held, cause);
        finish_failed(run, reason_phase(cause->reason), &told);
        return;
    }
    if (held_note_loss(held, &told))
        level = hold_judge_losses(run, &err);
    if (run->once && level == HOLD_WARN)
        level = HOLD_FAIL;      /* `wshealthd check` has one round: a single loss is all that it can show */
    if (level <= state->told) { /* no fault, or the same once more: counted, not judged */
        if (cause->code)
            run->stats->closes[close_label_of(cause->code)]++;
        round_settle(run);
        return;
    }
    state->told = level;
    if (level == HOLD_FAIL)
        run_event(run, &err);
    else
        run_event_warn(run, &err);
}

/* Between rounds: another check has ended the shared connection, which is no loss. The next round opens it again. */
static void on_ended(void *user)
{
    struct held *held = user;

    if (held->opening)
        held_end_opening(held);
    else
        held_gone(held);
}

static const struct session_events events = {
    .conn = { .on_open = on_open, .on_message = on_message, .on_lost = on_lost },
    .dialogue = { .on_ready = on_open, .on_message = on_message, .on_lost = on_lost, .on_ended = on_ended },
};

static int held_connect(struct held *held, struct err *err)
{
    struct run *run = held_run(held);
    bool mass = hold_opts_of(run)->connections >= MASS;
    struct hold_state *state = run->state;
    struct conn_options options = run_conn_options(run);

    options.tls = mass ? run->tls_resume : run->tls;
    options.offer_deflate = run->target->compression == COMPRESSION_REQUIRED;
    options.ignores_messages = true;
    options.http2 = over_http2(held);
    options.pings = state->pings ? &state->pings[held->index] : NULL;
    if (held->index >= TRACED)
        options.trace = NULL;
    return session_open(&held->session, &options, run->conf->name, &events, held, held->report, err);
}

/* False when the round is over because the connection could not even be tried. */
static bool held_open(struct held *held)
{
    struct run *run = held_run(held);
    struct hold_state *state = run->state;
    struct err err;

    if (!(run->share && share_is_open(run->share)) && !run_may_connect(run)) {
        state->barred = true;
        return true;
    }
    held->report = mem_alloc(sizeof *held->report);
    held->opening = true;
    held->since_ns = clock_now_ns();
    state->opening++;
    if (held_connect(held, &err) < 0) {
        held_end_opening(held);
        run_finish_err(run, &err);
        return false;
    }
    return true;
}

/* While the server may refuse all of them, only one is tried at a time: servers count refusals, and block an address that has too many. */
static size_t opening_max(const struct run *run)
{
    return run->stats->held == 0 || run_backs_off(run) ? 1 : OPENING_MAX;
}

/* Goes on with the round: opens missing connections, a few at a time, recycles old ones, pings the rest. */
static void open_more(struct run *run)
{
    struct hold_state *state = run->state;
    const struct hold_opts *opts = hold_opts_of(run);
    size_t left = turn_size(run);

    if (timer_active(&state->pace))
        return;
    while (run->active && state->next < (size_t)opts->connections && state->opening < opening_max(run)) {
        struct held *held = &state->held[state->next++];
        bool old;

        if (left-- == 0) {
            state->next--;
            timer_start(&state->pace, 1);
            return;
        }
        old = session_is_open(&held->session) && clock_now_ns() - held->opened_ns >= (uint64_t)held->life_ms * NS_PER_MS;

        if (old && !held_is_pinged(held) &&
            held->life_ms) { /* did it survive its silence? Asked once, and recycled in the next round */
            held->life_ms = 0;
            held_ping(held);
            continue;
        }
        if (old) {
            held_note_full_life(held);
            session_close(&held->session, WS_CODE_NORMAL);
            run->stats->held--;
        }
        if (!held->opening && !session_is_open(&held->session)) {
            held->without_h2 = false;
            if (!held_open(held))
                return;
        }
        if (session_is_open(&held->session) && held_is_pinged(held))
            held_ping(held);
    }
    round_settle(run);
}

static void on_pace(struct timer *timer, void *user)
{
    (void)timer;
    open_more(user);
}

/* Drops a connection whose pong has not come. */
static void drop_silent(struct held *held)
{
    struct err err;

    if (!conn_flooded(session_conn(&held->session), &err))
        err_set(&err, REASON_SILENT_DROP, 0, "it gave no pong");
    err = with_version(held, &err);
    held_note_loss(held, &err);
    session_drop(&held->session);
}

/* How many connections have owed a pong for so long? */
static size_t count_silent(const struct run *run, uint64_t wait_ms, size_t *well, struct err *flood)
{
    struct hold_state *state = run->state;
    uint64_t now_ns = clock_now_ns();
    size_t silent = 0;

    *well = 0;
    err_clear(flood);
    for (size_t i = 0; i < (size_t)hold_opts_of(run)->connections; i++) {
        struct held *held = &state->held[i];

        if (held->awaits_pong && now_ns - held->since_ns >= wait_ms * NS_PER_MS)
            silent++;
        if (held->awaits_pong && flood->reason == REASON_NONE && !conn_flooded(session_conn(&held->session), flood))
            err_clear(flood);
        if (!held->awaits_pong && !held->opening && session_is_open(&held->session))
            ++*well;
    }
    return silent;
}

static void drop_all_silent(struct run *run, uint64_t wait_ms)
{
    struct hold_state *state = run->state;
    uint64_t now_ns = clock_now_ns();

    for (size_t i = 0; i < (size_t)hold_opts_of(run)->connections; i++)
        if (state->held[i].awaits_pong && now_ns - state->held[i].since_ns >= wait_ms * NS_PER_MS)
            drop_silent(&state->held[i]);
}

/* Drops the connections that did not open in time; the next round opens them again. *err says where the last of them was. */
static void drop_opening(struct run *run, uint64_t wait_ms, struct err *err)
{
    struct hold_state *state = run->state;
    uint64_t now_ns = clock_now_ns();

    for (size_t i = 0; i < (size_t)hold_opts_of(run)->connections; i++) {
        struct held *held = &state->held[i];

        if (!held->opening || now_ns - held->since_ns < wait_ms * NS_PER_MS)
            continue;
        session_timeout_err(&held->session, (uint64_t)run->conf->timeout_ms, err);
        *err = with_version(held, err);
        session_drop(&held->session);
        opening_failed(held, err);
    }
}

static void hold_start(struct run *run)
{
    struct hold_state *state = run->state;
    size_t count = (size_t)hold_opts_of(run)->connections;
    uint64_t timeout_ms = (uint64_t)run->conf->timeout_ms;
    struct err err;

    if (!state->held) {
        struct holding *holding = mem_alloc(sizeof *holding + count * sizeof *state->held);
        holding->run = run;
        state->held = holding->held;
        for (size_t i = 0; i < count; i++) {
            state->held[i].index = (uint16_t)i;
            session_init(&state->held[i].session, session_must_speak(run->target, run->share));
        }
        if (hold_opts_of(run)->idle) {
            state->pings = mem_alloc((size_t)hold_opts_of(run)->connections * sizeof *state->pings);
            state->noted = mem_alloc((size_t)hold_opts_of(run)->connections * sizeof *state->noted);
        }
        timer_init(&state->pace, run->loop, on_pace, run);
        run->stats->holds = true;
    }
    timer_stop(&state->pace); /* of a round that ended early */
    state->next = 0;
    state->barred = state->foreign = false;
    state->told = HOLD_WELL;
    run->report.phase = PHASE_RESOLVE;
    /* A loss ends its round early. What that round was still waiting for is dropped when the timeout is over; else a connection that died
     * silently would be kept for as long as another one is cut again and again. */
    drop_all_silent(run, timeout_ms);
    drop_opening(run, timeout_ms, &err);
    if (!state->awaited) /* pongs that an early end left behind still fit */
        random_bytes(state->ping, sizeof state->ping);
    open_more(run);
}

/* If no connection answers, the server hangs, and the ages of the connections do not matter: true, the round has failed. With `idle`, only
 * the connections that were pinged could answer. Where others do answer, one that was pinged late still has half a timeout. */
static bool finish_silent(struct run *run, const char *limit)
{
    struct hold_state *state = run->state;
    int64_t count = hold_opts_of(run)->connections;
    struct err flood, err;
    size_t well, silent = count_silent(run, 0, &well, &flood);
    bool some = hold_opts_of(run)->idle || (!run->once && well);

    drop_all_silent(run, some ? (uint64_t)run->conf->timeout_ms / 2 : 0);
    if (!silent || some)
        return false;
    if (flood.reason != REASON_NONE)
        err = flood;
    else
        err_set(&err, state->foreign ? REASON_PROTOCOL_ERROR : REASON_SILENT_DROP, 0,
                "%zu of %" PRId64 " held connections gave no pong%s within %s%s", silent, count,
                state->foreign ? " with the ping's data" : "", limit, state->foreign ? ", but others (RFC 6455, 5.5.3)" : "");
    hold_note_outage(run, &err);
    finish_failed(run, PHASE_OPEN, &err);
    return true;
}

static void hold_on_deadline(struct run *run)
{
    struct hold_state *state = run->state;
    int64_t count = hold_opts_of(run)->connections;
    bool complete = state->next >= (size_t)count;
    char limit[32];
    struct err err;

    timer_stop(&state->pace);
    err_clear(&err);
    text_format_duration(run->conf->timeout_ms, limit, sizeof limit);
    drop_opening(run, 0, &err);
    if (finish_silent(run, limit))
        return;
    if (err.reason != REASON_NONE) {
        finish_failed(run, reason_phase(err.reason), &err);
    } else if (!complete) {
        run_finish(run, REASON_UPGRADE_TIMEOUT, "%u of %" PRId64 " connections were open after %s", run->stats->held, count, limit);
    } else if (run->once) {
        run_pass(run, "%" PRId64 " connections held for %s", count, limit);
    } else {
        hold_note_lives(run);
        if (state->barred)
            run_skip(run, run_barred_until_ns(run));
        else
            hold_finish_by_losses(run);
    }
}

static void hold_stop(struct run *run)
{
    struct hold_state *state = run->state;

    for (size_t i = 0; state->held && i < (size_t)hold_opts_of(run)->connections; i++) {
        struct held *held = &state->held[i];

        if (run->share) /* checks that are not stopped may still use it */
            session_leave(&held->session, HOLD_GOING_AWAY);
        else
            session_close(&held->session, HOLD_GOING_AWAY);
        if (held->opening)
            held_end_opening(held);
        session_fini(&held->session);
    }
    mem_free(state->pings);
    mem_free(state->noted);
    if (state->held)
        timer_stop(&state->pace);
    if (state->held)
        mem_free((char *)state->held - offsetof(struct holding, held));
    memset(state, 0, sizeof *state);
    run->stats->held = 0;
}

static int hold_validate_share(const void *opts, struct err *err)
{
    const struct hold_opts *hold = opts;

    if (hold->connections != 1)
        return err_set(err, REASON_NONE, 0, "connections: share_connection is about one: set connections: 1");
    if (hold->idle)
        return err_set(err, REASON_NONE, 0,
                       "idle: over a shared connection other checks speak: leave idle or share_connection out");
    return 0;
}

static const struct opt hold_rows[] = {
    { .name = "connections",
      .kind = OPT_INT,
      .offset = offsetof(struct hold_opts, connections),
      .default_text = "2",
      .min = 1,
      .max = 20000,
      .help = "how many connections are kept open" },
    { .name = "for",
      .kind = OPT_DURATION,
      .offset = offsetof(struct hold_opts, for_ms),
      .default_text = "60s",
      .min = 100,
      .max = 7 * (int64_t)86400000,
      .help = "each is closed and replaced after this long" },
    { .name = "idle",
      .kind = OPT_BOOL,
      .offset = offsetof(struct hold_opts, idle),
      .default_text = "false",
      .help = "send nothing until `for` is over, to find what cuts idle connections; one of several is pinged all the same, for "
              "comparison" },
    { .name = "max_age",
      .kind = OPT_DURATION,
      .offset = offsetof(struct hold_opts, max_age_ms),
      .min = 1,
      .max = 7 * (int64_t)86400000,
      .help = "a connection that is cut at this age or later has had a full life: for servers that recycle their clients" },
    { 0 },
};

const struct probe_type probe_hold = {
    .name = "hold",
    .summary = "Connections kept open and pinged: early close, abnormal close, silent drop are seen when they happen",
    .kind = PROBE_SESSION,
    .rank = 2,
    .opts = hold_rows,
    .opts_size = sizeof(struct hold_opts),
    .state_size = sizeof(struct hold_state),
    .gates = GATE_READY,
    .by_default = true,
    .session = true,
    .shares = true,
    .validate_share = hold_validate_share,
    .series = SERIES_REFUSALS | SERIES_FRAMES | SERIES_RTT | SERIES_HELD,
    .reasons = (const enum reason[]){ REASON_SILENT_DROP, REASON_NONE },
    .both = BOTH_TURNS,
    .keeps = offsetof(struct hold_opts, connections) + 1,
    .timeout_reason = REASON_SILENT_DROP,
    .start = hold_start,
    .on_deadline = hold_on_deadline,
    .stop = hold_stop,
};
