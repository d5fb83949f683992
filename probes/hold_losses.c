/*
 * Owns what becomes of a held connection that ends, and what a round says of it. Called by probes/hold.c. What losses mean is decided in
 * probes/hold_ages.c, what lifetimes say in probes/hold_lives.c; both are pure, and this file gives them the clock and the connections.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/core/run_report.h"
#include "probes/hold_impl.h"

enum { KICK_MS = 300, RESTARTS = 1012 };

void held_gone(struct held *held)
{
    struct hold_state *state = held_run(held)->state;

    held_run(held)->stats->held--;
    if (held->awaits_pong)
        state->awaited--;
    held->awaits_pong = false;
}

void hold_note_outage(struct run *run, const struct err *err)
{
    struct hold_state *state = run->state;

    if (reason_scope(err->reason) == SCOPE_LOCAL)
        hold_ages_outage(&state->ages);
}

enum hold_level hold_judge_losses(const struct run *run, struct err *err)
{
    const struct hold_state *state = run->state;
    struct hold_figures *figures = &run->stats->lives;
    struct hold_policy policy = { (uint64_t)hold_opts_of(run)->connections, hold_opts_of(run)->idle, NULL };
    char pattern[SENTENCE_MAX];

    figures->idle = policy.idle;
    hold_lives_read(&state->lives, clock_now_ns(), figures);
    hold_lives_say(figures, run->conf->path == PATH_PUBLIC, pattern, sizeof pattern);
    if (policy.idle && figures->cut >= 2)
        policy.pattern = pattern;
    return hold_ages_judge(&state->ages, clock_now_ns(), &policy, err);
}

/* Nothing is lost now. Has it been, and is the server's own ping too close to that? */
static void finish_well(struct run *run)
{
    const struct hold_state *state = run->state;
    char margin[SENTENCE_MAX];

    if (!hold_lives_too_close(&run->stats->lives)) {
        run_pass(run, NULL);
        return;
    }
    run->report.phase = PHASE_OPEN;
    hold_lives_say_margin(&run->stats->lives, margin, sizeof margin);
    run_warn(run, state->ages.reason, "%s", margin);
}

void hold_finish_by_losses(struct run *run)
{
    struct err err;
    enum hold_level level = hold_judge_losses(run, &err);

    if (level == HOLD_WELL) {
        finish_well(run);
        return;
    }
    run->report.phase = PHASE_OPEN;
    run->report.close_code = err.code;
    run->report.close_counted = true;
    if (level == HOLD_FAIL)
        run_finish_err(run, &err);
    else
        run_warn(run, err.reason, "%s", err.text);
}

/* The server's own pings on this connection, since they were last looked at. */
static void note_pings(struct held *held)
{
    struct hold_state *state = held_run(held)->state;
    const struct conn_pings *pings = state->pings ? &state->pings[held->index] : NULL;

    if (!pings)
        return;
    if (pings->count != state->noted[held->index])
        hold_lives_pinged(&state->lives, pings->gap_ns);
    state->noted[held->index] = pings->count;
}

void hold_note_lives(struct run *run)
{
    struct hold_state *state = run->state;
    uint64_t now_ns = clock_now_ns();

    for (size_t i = 0; (state->ages.count || state->pings) && i < (size_t)hold_opts_of(run)->connections; i++) {
        struct held *held = &state->held[i];

        if (!session_is_open(&held->session) || held->opening)
            continue;
        note_pings(held);
        if (held_is_control(held)) /* it speaks, so it proves nothing about silence */
            hold_lives_control(&state->lives, now_ns - held->opened_ns);
        else
            hold_ages_lived(&state->ages, now_ns, held->opened_ns, false);
    }
}

/* A server that allows one session for a user closes the older one when the agent opens another: such a close frame comes just after an upgrade. */
static bool is_kicked(const struct held *held, const struct err *cause)
{
    uint64_t newest_ns = held_run(held)->group->requested_ns;
    return cause->reason == REASON_CLOSED_BY_SERVER && newest_ns > held->opened_ns &&
           clock_now_ns() - newest_ns < (uint64_t)KICK_MS * NS_PER_MS;
}

/* Only a few connections have their own lines in the trace; of the others it has the losses. */
static void trace_loss(const struct held *held, const struct err *cause, uint64_t age_ns)
{
    const struct hold_state *state = held_run(held)->state;
    char age[32];

    text_format_elapsed(age_ns, age, sizeof age);
    trace_note(held_run(held)->trace, TRACE_NOTE, "held connection %zu of %" PRId64 " is lost after %s: %s",
               (size_t)(held - state->held) + 1, hold_opts_of(held_run(held))->connections, age, cause->text);
}

void held_note_full_life(struct held *held)
{
    struct hold_state *state = held_run(held)->state;
    uint64_t now_ns = clock_now_ns(), age_ns = now_ns - held->opened_ns;

    note_pings(held);
    if (held_is_control(held)) {
        hold_lives_control(&state->lives, age_ns);
        return;
    }
    hold_lives_ended(&state->lives, now_ns, age_ns, false);
    hold_ages_lived(&state->ages, now_ns, held->opened_ns, true);
}

/* How long it lived, or was silent; restarts say nothing about that. */
static void note_cut(struct held *held, uint64_t now_ns, uint64_t age_ns, const struct err *cause)
{
    struct hold_state *state = held_run(held)->state;
    uint64_t heard_ns = state->pings ? state->pings[held->index].heard_ns : 0;
    uint64_t silence_ns = heard_ns && now_ns > heard_ns ? now_ns - heard_ns : 0;

    note_pings(held);
    if (cause->reason == REASON_CLOSED_BY_SERVER && (cause->code == HOLD_GOING_AWAY || cause->code == RESTARTS))
        return;
    if (state->pings && !held_is_control(held) && silence_ns < age_ns / 2)
        return; /* the server had been talking: no silence was cut */
    if (held_is_control(held))
        hold_lives_control_cut(&state->lives, now_ns, age_ns, silence_ns);
    else
        hold_lives_ended(&state->lives, now_ns, state->pings ? silence_ns : age_ns, true);
}

bool held_note_loss(struct held *held, const struct err *cause)
{
    struct run *run = held_run(held);
    struct hold_state *state = run->state;
    uint64_t now_ns = clock_now_ns(), age_ns = now_ns - held->opened_ns, max_age_ms = (uint64_t)hold_opts_of(run)->max_age_ms;

    held_gone(held);
    if (max_age_ms && age_ns >= max_age_ms * NS_PER_MS) {
        held_note_full_life(held); /* by the server's rules */
        return false;
    }
    run->stats->lost++;
    run->stats->lost_age_ns = age_ns;
    run->stats->lost_code = cause->code;
    run->stats->lost_ms = clock_wall_ms();
    trace_loss(held, cause, age_ns);
    note_cut(held, now_ns, age_ns, cause);
    hold_ages_lost(&state->ages, now_ns, held->opened_ns, is_kicked(held, cause), cause);
    return true;
}
