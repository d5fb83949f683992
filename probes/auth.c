/*
 * `auth`: a valid token is taken, bad ones are refused, and a session does not outlive its token (RFC 6750; RFC 7519, 4.1.4). Each round asks
 * with a valid token: the target's own, one made with a key (`mint`), or one from an endpoint (`refresh`). Bad ones take turns at a slow
 * pace of their own (`pace`): servers count failed logins, and lock out who has too many. What was found of each is remembered.
 *
 * A valid token that is refused is the server's fault (auth_rejected, local), but for what the agent knows better: a token past its own exp, a
 * key file that cannot be read, an endpoint that gives none, a clock that is off. A refusal is judged only where it says that it is one: the
 * statuses and codes of refuse_with; what says nothing about tokens comes with its own reason.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/client/backoff.h"
#include "agent/proto/words.h"
#include "probes/auth.h"
#include "probes/registry.h"

static void keep_token(struct auth_state *state, char *token)
{
    mem_free_secret(state->token);
    state->token = token;
}

/*
 * How long a refusal may take. Servers ask others about a token, and some are slow at it: what was taken once is given most of what is
 * left of the round before it is a fault, and what was refused late once is given as much again.
 */
static uint64_t settle_of(const struct run *run)
{
    const struct auth_state *state = run->state;
    const struct auth_opts *opts = auth_opts_of(run);
    uint64_t settle_ms = attempt_settle_ms(run), passed_ms = (clock_now_ns() - run->started_ns) / NS_PER_MS;
    uint64_t left_ms = (uint64_t)run->conf->timeout_ms > passed_ms ? (uint64_t)run->conf->timeout_ms - passed_ms : 0;

    if (opts->refuse_within_ms)
        return (uint64_t)opts->refuse_within_ms;
    if (state->asking == AUTH_ASK_VALID)
        return settle_ms;
    if (settle_ms < state->late_ms)
        settle_ms = state->late_ms;
    if (!run->once && state->trials[state->trying].found == AUTH_TAKEN && settle_ms < left_ms / 4 * 3)
        settle_ms = left_ms / 4 * 3;
    return settle_ms;
}

static void ask(struct run *run, enum auth_asking asking, bool sets)
{
    struct auth_state *state = run->state;
    struct attempt_options options = { .what = run->conf->name, .override = { .sets_token = sets, .token = state->token } };
    struct err err;

    options.refusal = &auth_opts_of(run)->refuse_with.match;
    state->asking = asking;
    options.settle_ms = settle_of(run);
    trace_note(run->trace, TRACE_NOTE, "%s", asking == AUTH_ASK_VALID ? "a valid token" : auth_bad_words[state->trying]);
    if (attempt_start(&state->attempt, &options, &err) < 0)
        attempt_finish(&state->attempt, &err);
}

/* --- expiry --- */

/* The only round of `check` waits for the session's end, where there is time for it. */
static bool waits_for_expiry(struct run *run)
{
    struct auth_state *state = run->state;
    const struct auth_opts *opts = auth_opts_of(run);
    bool minted = opts->mint.key_file;
    int64_t needs_ms = opts->expiry.within_ms + ATTEMPT_SETTLE_MAX_MS + (minted ? opts->expiry.ttl_ms : 0);

    if (!run->once || !auth_expiry_wanted(opts) || state->expiry.judged)
        return false;
    state->short_of_time = state->over || run->conf->timeout_ms < needs_ms;
    return !state->short_of_time;
}

static void finish(struct run *run)
{
    struct auth_state *state = run->state;

    if (auth_worst(run) == AUTH_BAD_COUNT && (!run->once || waits_for_expiry(run)))
        auth_expiry_go_on(&state->expiry);
    if (run->active && !(auth_worst(run) == AUTH_BAD_COUNT && waits_for_expiry(run)))
        auth_conclude(run);
}

static void on_expiry_judged(void *user)
{
    struct run *run = user;
    const struct auth_state *state = run->state;
    const struct auth_expiry *expiry = &state->expiry;

    if (run->active) {
        if (run->once && !attempt_busy(&state->attempt))
            auth_conclude(run);
        return; /* the end of the round says it */
    }
    if (expiry->fault.reason == REASON_NONE)
        return;
    if (expiry->mild)
        run_event_warn(run, &expiry->fault);
    else
        run_event(run, &expiry->fault);
}

/* --- bad tokens --- */

/* The next of the configured ones, from `bad` on. AUTH_BAD_COUNT: none is configured. */
static enum auth_bad next_from(const struct auth_opts *opts, enum auth_bad bad)
{
    for (int i = 0; i < AUTH_BAD_COUNT; i++) {
        enum auth_bad candidate = (enum auth_bad)(((int)bad + i) % AUTH_BAD_COUNT);

        if (opts->reject & 1U << candidate)
            return candidate;
    }
    return AUTH_BAD_COUNT;
}

static size_t count_bad(const struct auth_opts *opts)
{
    return (size_t)__builtin_popcount(opts->reject);
}

/*
 * Which one is due now, or AUTH_BAD_COUNT. One in each `pace`, in turn; and between two turns one that was taken last time, which no server
 * counts as a failed login. In the only round of `check` all of them, until one is taken.
 */
static enum auth_bad due(const struct run *run)
{
    const struct auth_state *state = run->state;
    const struct auth_opts *opts = auth_opts_of(run);
    enum auth_bad worst = auth_worst(run);
    bool taken = worst < AUTH_BAD_COUNT && state->trials[worst].found == AUTH_TAKEN;

    if (run->once)
        return state->asked < count_bad(opts) && !taken ? next_from(opts, state->next) : AUTH_BAD_COUNT;
    if (state->asked)
        return AUTH_BAD_COUNT;
    if (clock_now_ns() >= state->next_ns)
        return next_from(opts, state->next);
    return taken ? worst : AUTH_BAD_COUNT;
}

/* NULL of AUTH_ABSENT, and with *err where none could be made. */
static char *make_bad(struct run *run, enum auth_bad bad, struct err *err)
{
    struct auth_state *state = run->state;

    err->reason = REASON_NONE;
    if (bad == AUTH_ABSENT)
        return NULL;
    if (bad == AUTH_GARBAGE)
        return mem_printf("wshealthd-garbage-%08x", (unsigned)random_below(UINT32_MAX));
    return auth_mint_bad(auth_opts_of(run), bad, &state->loan, err);
}

static void go_on(struct run *run)
{
    struct auth_state *state = run->state;
    enum auth_bad bad = due(run);
    struct err err;

    if (state->over || bad == AUTH_BAD_COUNT) {
        finish(run);
        return;
    }
    state->trying = bad;
    state->asked++;
    if (run->once || clock_now_ns() >= state->next_ns) {
        state->next_ns = clock_now_ns() + (uint64_t)auth_opts_of(run)->pace_ms * run_versions(run) * NS_PER_MS;
        state->next = (enum auth_bad)((bad + 1) % AUTH_BAD_COUNT);
    }
    keep_token(state, make_bad(run, bad, &err));
    if (err.reason != REASON_NONE)
        attempt_finish(&state->attempt, &err);
    else
        ask(run, AUTH_ASK_BAD, true);
}

/* The server counts: no more of this for a while. */
static void pause_bad(struct run *run)
{
    struct auth_state *state = run->state;
    uint64_t pause_ms = attempt_pause_ms(&state->attempt);
    char text[32];

    state->next_ns = clock_now_ns() + pause_ms * NS_PER_MS;
    text_format_duration((int64_t)pause_ms, text, sizeof text);
    run->report.phase = PHASE_UPGRADE;
    run_warn(run, REASON_RATE_LIMITED, "status 429 for a bad token (%s): none is tried for %s", auth_bad_words[state->trying],
             text);
}

/* An expired token may be a good one to a server whose clock is behind. */
static bool clock_excuses(struct run *run)
{
    struct auth_state *state = run->state;
    struct jwt_times times;
    int64_t skew_s = attempt_skew_s(&state->attempt);
    char far[32];

    if (state->trying != AUTH_EXPIRED || !skew_s || !state->token || !jwt_times_of(slice_str(state->token), &times) ||
        times.exp_s <= clock_wall_ms() / 1000 + skew_s)
        return false;
    text_format_duration(-skew_s * 1000, far, sizeof far);
    run->report.phase = PHASE_OPEN;
    run_warn(run, REASON_AUTH_NOT_ENFORCED,
             "the server takes a token that expired an hour ago: its clock is %s behind the agent's by its Date, and for it the "
             "token is valid",
             far);
    return true;
}

/* A server that greets who has a valid token, and says nothing to this one, may still be looking it up. */
static enum auth_found taken_or_silent(const struct auth_state *state)
{
    return state->greets && !*state->attempt.said && state->attempt.settle_ms ? AUTH_SILENT : AUTH_TAKEN;
}

/* A refusal that took most of the time that is usual: the next ones are given twice as long. */
static void note_late(struct run *run)
{
    struct auth_state *state = run->state;
    uint64_t took_ms = state->attempt.ready_ns ? (clock_now_ns() - state->attempt.ready_ns) / NS_PER_MS : 0;

    if (took_ms * 2 > attempt_settle_ms(run) && took_ms * 2 > state->late_ms)
        state->late_ms = took_ms * 2;
}

static void note_bad(struct run *run, const struct attempt_outcome *outcome)
{
    struct auth_state *state = run->state;
    struct auth_trial *trial = &state->trials[state->trying];

    state->short_of_wait = outcome->end == ATTEMPT_OPEN;
    if (outcome->end == ATTEMPT_OPEN) /* no time to see: what was known stays */
        return;
    if (outcome->end != ATTEMPT_TAKEN) {
        ban_note_tried(&state->ban);
        note_late(run);
    }
    trial->waited_ms = state->attempt.settle_ms;
    trial->sure = run->once || trial->found == AUTH_TAKEN || !trial->waited_ms;
    trial->found = outcome->end == ATTEMPT_TAKEN                        ? taken_or_silent(state)
                   : auth_refused_as_wanted(auth_opts_of(run), outcome) ? AUTH_REFUSED
                                                                        : AUTH_OTHERWISE;
    trial->err = outcome->err ? *outcome->err : (struct err){ 0 };
    attempt_words(outcome, trial->words, sizeof trial->words);
    memcpy(trial->said, state->attempt.said, sizeof trial->said);
}

static void take_bad(struct run *run, const struct attempt_outcome *outcome)
{
    struct auth_state *state = run->state;

    if (!state->taken)
        attempt_report(&state->attempt);
    if (outcome->end == ATTEMPT_STATUS && outcome->code == ATTEMPT_TOO_MANY) {
        pause_bad(run);
    } else if (outcome->end == ATTEMPT_FAILED && !state->taken) {
        attempt_finish(&state->attempt, outcome->err);
    } else if (outcome->end == ATTEMPT_FAILED) { /* no fault that clients see: the valid token was taken a moment ago */
        run->report.phase = reason_phase(outcome->err->reason);
        run_warn(run, outcome->err->reason, "a bad token (%s) is neither taken nor refused: %s", auth_bad_words[state->trying],
                 outcome->err->text);
    } else if (outcome->end != ATTEMPT_TAKEN || !clock_excuses(run)) {
        note_bad(run, outcome);
        go_on(run);
    }
}

/* --- the valid token --- */

/* The text of the valid token, for what it says of itself. To be freed; NULL: it is not known. */
static char *valid_token(const struct run *run)
{
    const struct auth_state *state = run->state;
    struct buf text = BUF_INIT(OPT_FILE_MAX);
    char *token = NULL;

    if (state->from != AUTH_FROM_TARGET)
        return state->token ? mem_strdup(state->token) : NULL;
    if (run->target->token && opt_expand(run->target->token, &text, NULL) == 0)
        token = mem_strdup(buf_str(&text));
    buf_wipe(&text);
    return token;
}

/* Is the refusal about the token? 401 and 403 are, whatever refuse_with says, unless the server's words are about the Origin. */
static bool is_about_token(const struct run *run, const struct attempt_outcome *outcome)
{
    if (outcome->end == ATTEMPT_STATUS && outcome->code == 403 && words_mention(slice_str(outcome->err->text), "\"origin"))
        return false;
    if (outcome->end == ATTEMPT_STATUS && (outcome->code == 401 || outcome->code == 403))
        return true;
    if (outcome->end == ATTEMPT_CLOSED && backoff_close_reason(outcome->code, slice_str(outcome->err->text)) == REASON_RATE_LIMITED)
        return false;
    return outcome->end != ATTEMPT_CUT && auth_refused_as_wanted(auth_opts_of(run), outcome);
}

static void valid_refused(struct run *run, const struct attempt_outcome *outcome)
{
    static const char *const from[] = {
        [AUTH_FROM_TARGET] = "target.token", [AUTH_FROM_MINT] = "made with mint.key_file", [AUTH_FROM_REFRESH] = "from refresh.url"
    };
    struct auth_state *state = run->state;
    char clock[160], *token = valid_token(run);

    auth_explain_clock(token, attempt_skew_s(&state->attempt), clock, sizeof clock);
    mem_free_secret(token);
    if (state->from == AUTH_FROM_REFRESH)
        auth_source_forget(&state->source);
    run->report.phase = reason_phase(outcome->err->reason);
    if (outcome->end == ATTEMPT_CLOSED)
        run->report.close_code = outcome->code;
    if (*clock)
        run_warn(run, REASON_AUTH_REJECTED, "the server refuses a valid token (%s): %s; %s", from[state->from], outcome->err->text,
                 clock);
    else
        run_finish(run, REASON_AUTH_REJECTED, "the server refuses a valid token (%s): %s", from[state->from], outcome->err->text);
}

/* Before it was taken, and since then bad ones were refused: the server, or what stands before it, may have locked the agent out. */
static bool is_banned(struct run *run, const struct attempt_outcome *outcome)
{
    struct auth_state *state = run->state;
    bool refused = is_about_token(run, outcome) ||
                   (outcome->end == ATTEMPT_STATUS && outcome->code >= 400 && outcome->code < 500 && outcome->code != 426);
    char span[32];

    if (!refused || !ban_note_refused(&state->ban, clock_now_ns()))
        return false;
    text_format_duration((int64_t)ban_pause_ms(&state->ban), span, sizeof span);
    run->report.phase = PHASE_UPGRADE;
    run_warn(
        run, REASON_RATE_LIMITED,
        "the server took a valid token until the agent tried bad ones, and refuses it since (%s): it may lock out who fails too "
        "often, and then this is the probe's own doing; once the token is taken again, no bad one is tried for %s",
        outcome->err->text, span);
    return true;
}

static void valid_taken(struct run *run)
{
    struct auth_state *state = run->state;
    uint64_t pause_ms = ban_note_taken(&state->ban);

    if (pause_ms)
        state->next_ns = clock_now_ns() + pause_ms * NS_PER_MS;
    state->greets = *state->attempt.said;
    go_on(run);
}

static void take_valid(struct run *run, const struct attempt_outcome *outcome)
{
    struct auth_state *state = run->state;

    attempt_report(&state->attempt);
    state->taken = outcome->end == ATTEMPT_TAKEN || outcome->end == ATTEMPT_OPEN;
    if (state->taken)
        valid_taken(run);
    else if (is_banned(run, outcome))
        return;
    else if (is_about_token(run, outcome))
        valid_refused(run, outcome);
    else
        attempt_finish(&state->attempt, outcome->err);
}

static void on_end(void *user, const struct attempt_outcome *outcome)
{
    struct run *run = user;
    const struct auth_state *state = run->state;

    if (state->asking == AUTH_ASK_VALID)
        take_valid(run, outcome);
    else
        take_bad(run, outcome);
}

/* The target's own token says itself that it is over: nobody has to be asked. */
static bool is_over(struct run *run)
{
    char *token = valid_token(run), ago[32];
    int64_t exp_s = 0, now_s = clock_wall_ms() / 1000;
    bool over = token && jwt_exp(slice_str(token), &exp_s) && exp_s <= now_s;

    mem_free_secret(token);
    text_format_duration((now_s - exp_s) * 1000, ago, sizeof ago);
    if (over) {
        run->report.phase = PHASE_OPEN;
        run_finish(run, REASON_AUTH_REFRESH_FAILED, "target.token expired %s ago, by its own exp: put a fresh one there", ago);
    }
    return over;
}

static void on_token(void *user, const struct err *err)
{
    struct run *run = user;
    struct auth_state *state = run->state;

    if (err) {
        attempt_finish(&state->attempt, err);
        return;
    }
    keep_token(state, mem_strdup(state->source.token));
    ask(run, AUTH_ASK_VALID, true);
}

static void ask_valid(struct run *run)
{
    struct auth_state *state = run->state;
    const struct auth_opts *opts = auth_opts_of(run);
    struct err err = { 0 };

    if (state->from == AUTH_FROM_TARGET) {
        keep_token(state, NULL);
        if (!is_over(run))
            ask(run, AUTH_ASK_VALID, false);
    } else if (state->from == AUTH_FROM_MINT) {
        keep_token(state, auth_mint(opts, opts->mint.ttl_ms, &state->loan, &err));
        if (state->token)
            ask(run, AUTH_ASK_VALID, true);
        else
            attempt_finish(&state->attempt, &err);
    } else if (auth_source_fresh(&state->source)) {
        on_token(run, NULL);
    } else if (auth_source_ask(&state->source, on_token, run, &err) < 0) {
        attempt_finish(&state->attempt, &err);
    } else {
        trace_note(run->trace, TRACE_NOTE, "asking refresh.url for a token");
    }
}

/* --- the round --- */

static enum auth_origin find_origin(const struct run *run)
{
    const struct auth_opts *opts = auth_opts_of(run);
    const struct target_conf *target = run->target;
    bool header = target->token_place == TOKEN_HEADER &&
                  (opt_pairs_get(&target->headers, "Authorization") || run->url->user[0] || run->url->password[0]);

    if (opts->mint.key_file)
        return AUTH_FROM_MINT;
    if (opts->refresh.url)
        return AUTH_FROM_REFRESH;
    return target->token || header ? AUTH_FROM_TARGET : AUTH_FROM_NOWHERE;
}

static void first_round(struct run *run)
{
    struct auth_state *state = run->state;

    attempt_init(&state->attempt, run, on_end, run);
    auth_expiry_init(&state->expiry, run, on_expiry_judged, run);
    state->source.run = run;
    state->source.loan = &state->loan;
    state->from = find_origin(run);
    state->begun = true;
}

static void auth_start(struct run *run)
{
    struct auth_state *state = run->state;

    if (!state->begun)
        first_round(run);
    state->over = state->taken = false;
    state->asked = 0;
    run->report.phase = PHASE_RESOLVE;
    if (auth_opts_of(run)->accept && state->from != AUTH_FROM_NOWHERE)
        ask_valid(run);
    else if (!run->once && due(run) == AUTH_BAD_COUNT && auth_worst(run) == AUTH_BAD_COUNT &&
             !auth_expiry_wanted(auth_opts_of(run)) && clock_now_ns() < state->next_ns)
        run_skip(run, state->next_ns);
    else
        go_on(run);
}

static void auth_on_deadline(struct run *run)
{
    struct auth_state *state = run->state;

    state->over = true;
    if (state->source.fetch)
        auth_source_expire(&state->source);
    else if (attempt_busy(&state->attempt))
        attempt_expire(&state->attempt, (uint64_t)run->conf->timeout_ms);
    else
        finish(run); /* it was waiting for the end of expiry's session */
}

static void auth_stop(struct run *run)
{
    struct auth_state *state = run->state;

    if (!state->begun)
        return;
    attempt_fini(&state->attempt);
    auth_expiry_fini(&state->expiry);
    auth_source_fini(&state->source);
    keep_token(state, NULL);
    secret_return(&state->loan);
    memset(state, 0, sizeof *state);
}

/* --- the type --- */

const struct probe_type probe_auth = {
    .name = "auth",
    .summary = "A valid token is taken, bad ones are refused, and no session outlives its token (RFC 6750, RFC 7519)",
    .kind = PROBE_TRIAL,
    .rank = 9,
    .opts = auth_rows,
    .opts_size = sizeof(struct auth_opts),
    .state_size = sizeof(struct auth_state),
    .session = true,
    .needs_tls = auth_needs_tls,
    .series = SERIES_HANDSHAKE | SERIES_FRAMES,
    .reasons = (const enum reason[]){ REASON_AUTH_REJECTED, REASON_AUTH_NOT_ENFORCED, REASON_AUTH_EXPIRY_IGNORED,
                                      REASON_AUTH_REFRESH_FAILED, REASON_ECHO_TIMEOUT, REASON_ECHO_MISMATCH, REASON_NONE },
    .timeout_reason = REASON_UPGRADE_TIMEOUT,
    .validate = auth_validate,
    .validate_all = auth_validate_time,
    .start = auth_start,
    .on_deadline = auth_on_deadline,
    .stop = auth_stop,
};
