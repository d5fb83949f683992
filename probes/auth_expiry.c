/*
 * The session of an `auth` check that outlives its token (probes/auth.h): opened with a short-lived token, held past the token's exp, and
 * judged by whether the server then closes it, or by whether it goes on after it was renewed. Called by auth.c in each round. Owns the
 * connection, its token and what the last session came to; leaves to auth.c when that is said.
 *
 * Only what shows the server's rule for tokens is judged. A connection that could not be opened, or that ended early in a way that has nothing
 * to do with its token (a restart), is tried again. That a server is still serving is not taken from silence: it must answer a ping.
 * One ignored expiry is a warning, the second in a row a fault; `wshealthd check` has one session only, and says it at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/proto/template.h"
#include "probes/auth.h"

/* EARLY: the clocks of two machines, and whole seconds in exp. */
enum { EARLY_MS = 1500, PONG_MS = 2000, AGAIN_MS = 60000, LOOK_AGAIN_MS = 20, RENEW_MAX = 64 << 10, SPAN_BYTES = 32 };

static const struct auth_opts *opts_of(const struct auth_expiry *expiry)
{
    return auth_opts_of(expiry->run);
}

/* --- what a session comes to --- */

/* Back to idle; the next session begins soon where the last one is to be looked at again. A token that was asked for to renew this one
 * comes too late. */
static void rest(struct auth_expiry *expiry, bool soon)
{
    timer_stop(&expiry->timer);
    auth_source_cancel(&expiry->source);
    attempt_close(&expiry->attempt);
    mem_free_secret(expiry->token);
    expiry->token = NULL;
    expiry->stage = AUTH_IDLE;
    expiry->next_ns = clock_now_ns() + (soon ? 0 : AGAIN_MS * NS_PER_MS);
}

static void tell(struct auth_expiry *expiry, bool soon)
{
    expiry->judged = true;
    rest(expiry, soon);
    expiry->on_judged(expiry->user);
}

static void __attribute__((format(printf, 2, 3))) went_well(struct auth_expiry *expiry, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(expiry->words, sizeof expiry->words, fmt, args);
    va_end(args);
    expiry->fault = (struct err){ 0 };
    expiry->ignored = 0;
    tell(expiry, false);
}

static void found(struct auth_expiry *expiry, bool mild, enum reason reason, int code, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
static void found(struct auth_expiry *expiry, bool mild, enum reason reason, int code, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    err_vset(&expiry->fault, reason, code, fmt, args);
    va_end(args);
    expiry->mild = mild;
    tell(expiry, true);
}

/* It says nothing about tokens. */
static void inconclusive(struct auth_expiry *expiry)
{
    rest(expiry, false);
    if (expiry->run->once) {
        expiry->judged = true;
        snprintf(expiry->words, sizeof expiry->words, "the session for expiry could not be held to its end");
        expiry->on_judged(expiry->user);
    }
}

/* How long ago the token's exp was, in words; negative: how long it still is. */
static int64_t since_exp(const struct auth_expiry *expiry, char span[SPAN_BYTES])
{
    int64_t since_ms = clock_wall_ms() - expiry->exp_ms;

    text_format_elapsed((uint64_t)llabs(since_ms) * NS_PER_MS, span, SPAN_BYTES);
    return since_ms;
}

/* By the server's clock, which is behind, there is time left. */
static bool clock_excuses(struct auth_expiry *expiry, int64_t since_ms, const char *span)
{
    int64_t skew_s = attempt_skew_s(&expiry->attempt);
    char far[SPAN_BYTES];

    if (skew_s >= 0 || since_ms + skew_s * 1000 >= opts_of(expiry)->expiry.within_ms + EARLY_MS)
        return false;
    text_format_duration(-skew_s * 1000, far, sizeof far);
    found(
        expiry, true, REASON_AUTH_EXPIRY_IGNORED, 0,
        "the server goes on serving a session %s after its token's exp: its clock is %s behind the agent's by its Date, and for it "
        "the time is not up",
        span, far);
    return true;
}

static void outlived(struct auth_expiry *expiry)
{
    char span[SPAN_BYTES], within[SPAN_BYTES];
    int64_t since_ms = since_exp(expiry, span);
    bool mild;

    if (clock_excuses(expiry, since_ms, span))
        return;
    mild = expiry->ignored++ == 0 && !expiry->run->once;
    text_format_duration(opts_of(expiry)->expiry.within_ms, within, sizeof within);
    found(expiry, mild, REASON_AUTH_EXPIRY_IGNORED, 0,
          "the server goes on serving a session %s after its token's exp, want it closed within %s%s", span, within,
          mild ? "; the next session is looked at before this is a fault" : "");
}

/* The server has ended the session before it was looked at for the last time. */
static void ended_early(struct auth_expiry *expiry, const struct attempt_outcome *outcome, const char *how, const char *span)
{
    char clock[160];

    auth_explain_clock(expiry->token, attempt_skew_s(&expiry->attempt) + EARLY_MS / 1000, clock, sizeof clock);
    if (attempt_skew_s(&expiry->attempt) == 0)
        *clock = '\0';
    if (outcome->end == ATTEMPT_CLOSED && opt_in_ranges(&opts_of(expiry)->expiry.code, outcome->code))
        found(expiry, true, REASON_CLOSED_BY_SERVER, outcome->code,
              "the server ended a session with %s %s before its token's exp%s%s", how, span, *clock ? ": " : "", clock);
    else
        inconclusive(expiry);
}

/* A server that restarts ends its sessions too. */
static bool is_about_token(const struct auth_expiry *expiry, const struct attempt_outcome *outcome)
{
    const struct auth_opts *opts = opts_of(expiry);

    return outcome->end == ATTEMPT_MESSAGE ||
           (outcome->end == ATTEMPT_CLOSED &&
            (opt_in_ranges(&opts->expiry.code, outcome->code) || opt_in_ranges(&opts->refuse_with.codes, outcome->code)));
}

static void ended_at_exp(struct auth_expiry *expiry, const struct attempt_outcome *outcome, const char *how, const char *span)
{
    const struct auth_opts *opts = opts_of(expiry);
    bool renews = opts->expiry.expect == AUTH_EXPECT_RENEW;

    if (renews && expiry->stage == AUTH_HELD) /* the agent, or its endpoint of tokens, was too late to renew it */
        inconclusive(expiry);
    else if (renews)
        found(expiry, !is_about_token(expiry, outcome), REASON_AUTH_REJECTED, outcome->code,
              "the server ended a session with %s when its first token expired, though a renewal had been sent before", how);
    else if (outcome->end == ATTEMPT_MESSAGE ||
             (outcome->end == ATTEMPT_CLOSED && opt_in_ranges(&opts->expiry.code, outcome->code)))
        went_well(expiry, "a session ends with %s %s after its token's exp", how, span);
    else
        found(expiry, true, outcome->err->reason, outcome->code,
              "the server ends a session after its token's exp with %s, want a close code of expiry.code", how);
}

static void take_end(struct auth_expiry *expiry, const struct attempt_outcome *outcome)
{
    char how[40], span[SPAN_BYTES];
    int64_t since_ms = since_exp(expiry, span);

    bool renewing = expiry->stage == AUTH_RENEWING && is_about_token(expiry, outcome);

    attempt_words(outcome, how, sizeof how);
    if (renewing && since_ms < -EARLY_MS)
        found(expiry, false, REASON_AUTH_REJECTED, outcome->code, "the server answers the renewal of a token with %s", how);
    else if (since_ms < -EARLY_MS)
        ended_early(expiry, outcome, how, span);
    else
        ended_at_exp(expiry, outcome, how, span);
}

/* --- opening --- */

static int64_t left_ms(const struct auth_expiry *expiry)
{
    int64_t left = expiry->exp_ms - clock_wall_ms();

    return left > 0 ? left : 0;
}

static void begin_holding(struct auth_expiry *expiry)
{
    const struct auth_opts *opts = opts_of(expiry);
    bool renews = opts->expiry.expect == AUTH_EXPECT_RENEW;

    expiry->stage = AUTH_HELD;
    timer_start(&expiry->timer, (uint64_t)(renews ? left_ms(expiry) / 2 : left_ms(expiry) + opts->expiry.within_ms));
}

/* A valid token that does not live long. */
static void refused_at_once(struct auth_expiry *expiry, const struct attempt_outcome *outcome)
{
    const struct auth_state *state = expiry->run->state;
    char clock[160], how[40];

    attempt_words(outcome, how, sizeof how);
    auth_explain_clock(expiry->token, attempt_skew_s(&expiry->attempt), clock, sizeof clock);
    if (!*clock && state->ban.was_taken && state->ban.tried)
        snprintf(clock, sizeof clock, "the agent had just tried a bad one, and may be locked out for that");
    if (auth_refused_as_wanted(opts_of(expiry), outcome))
        found(expiry, *clock, REASON_AUTH_REJECTED, outcome->code,
              "the server refuses a token that is valid for a moment only, with %s%s%s", how, *clock ? ": " : "", clock);
    else
        inconclusive(expiry);
}

static void on_end(void *user, const struct attempt_outcome *outcome)
{
    struct auth_expiry *expiry = user;

    if (outcome->end == ATTEMPT_TAKEN)
        begin_holding(expiry);
    else if (expiry->stage == AUTH_OPENING)
        refused_at_once(expiry, outcome);
    else
        take_end(expiry, outcome);
}

static void open_session(struct auth_expiry *expiry)
{
    struct attempt_options options = { .what = expiry->run->conf->name, .keeps = true };
    struct err err;

    options.override = (struct conn_override){ .sets_token = true, .token = expiry->token };
    options.refusal = &opts_of(expiry)->refuse_with.match;
    expiry->stage = AUTH_OPENING;
    trace_note(expiry->run->trace, TRACE_NOTE, "a session that is to outlive its token");
    if (attempt_start(&expiry->attempt, &options, &err) < 0)
        inconclusive(expiry);
    else
        timer_start(&expiry->timer, (uint64_t)expiry->run->conf->timeout_ms);
}

/* --- tokens --- */

static void failed(struct auth_expiry *expiry, const struct err *err)
{
    found(expiry, err->reason == REASON_AGENT_ERROR, err->reason, 0, "expiry: %s", err->text);
}

/* The token of now; the one before is not needed any more. */
static void use_token(struct auth_expiry *expiry, char *token)
{
    int64_t exp_s = 0;

    mem_free_secret(expiry->token);
    expiry->token = token;
    if (jwt_exp(slice_str(token), &exp_s))
        expiry->exp_ms = exp_s * 1000;
    else
        expiry->exp_ms = expiry->source.exp_s * 1000;
}

static void on_token(void *user, const struct err *err)
{
    struct auth_expiry *expiry = user;
    struct err none;

    if (err) {
        failed(expiry, err);
        return;
    }
    use_token(expiry, mem_strdup(expiry->source.token));
    if (!expiry->exp_ms) {
        err_set(&none, REASON_AUTH_REFRESH_FAILED, 0,
                "the token of refresh.url does not say when it expires: want a JWT with exp, or /expires_in");
        failed(expiry, &none);
        return;
    }
    open_session(expiry);
}

static void begin(struct auth_expiry *expiry)
{
    const struct auth_opts *opts = opts_of(expiry);
    struct err err;
    char *token;

    if (!opts->mint.key_file) {
        expiry->stage = AUTH_FETCHING;
        if (auth_source_ask(&expiry->source, on_token, expiry, &err) < 0)
            failed(expiry, &err);
        return;
    }
    token = auth_mint(opts, opts->expiry.ttl_ms, &expiry->loan, &err);
    if (token) {
        use_token(expiry, token);
        open_session(expiry);
    } else {
        failed(expiry, &err);
    }
}

/* --- renewal --- */

/* When a renewed session is looked at: past the first token's exp, and well before the second one's. */
static void plan_look(struct auth_expiry *expiry, const char *token)
{
    int64_t exp_s = 0, gain_ms;

    if (!jwt_exp(slice_str(token), &exp_s))
        exp_s = expiry->source.exp_s;
    gain_ms = exp_s * 1000 - expiry->exp_ms;
    expiry->look_ms = expiry->exp_ms + opts_of(expiry)->expiry.within_ms;
    if (exp_s && gain_ms / 2 < opts_of(expiry)->expiry.within_ms)
        expiry->look_ms = expiry->exp_ms + gain_ms / 2;
}

static void wait_for_look(struct auth_expiry *expiry)
{
    int64_t left = expiry->look_ms - clock_wall_ms();

    expiry->stage = AUTH_RENEWED;
    timer_start(&expiry->timer, left > 0 ? (uint64_t)left : 0);
}

static void say_renewal(struct auth_expiry *expiry, const char *token)
{
    const struct opt_bytes *send = &opts_of(expiry)->expiry.renew.send;
    struct template_vars vars = { .token = token, .id = expiry->run->conf->name, .now_ms = clock_wall_ms(), .token_here = true };
    struct buf text = BUF_INIT(RENEW_MAX);
    struct err err;

    if (template_expand(slice_make(send->data, send->len), &vars, &text, &err) == 0 &&
        dialogue_send(expiry->attempt.dialogue, send->binary ? WS_BINARY : WS_TEXT, buf_slice(&text)) == 0) {
        plan_look(expiry, token);
        if (opts_of(expiry)->expiry.renew.expect.match) {
            expiry->stage = AUTH_RENEWING;
            expiry->looked_again = false;
            timer_start(&expiry->timer, (uint64_t)opts_of(expiry)->expiry.within_ms);
        } else {
            wait_for_look(expiry);
        }
    } else {
        inconclusive(expiry);
    }
    buf_wipe(&text);
}

static void on_fresh(void *user, const struct err *err)
{
    struct auth_expiry *expiry = user;

    if (err)
        failed(expiry, err);
    else if (attempt_busy(&expiry->attempt))
        say_renewal(expiry, expiry->source.token);
}

static void renew(struct auth_expiry *expiry)
{
    const struct auth_opts *opts = opts_of(expiry);
    struct err err;
    char *token;

    if (!opts->mint.key_file) {
        if (auth_source_ask(&expiry->source, on_fresh, expiry, &err) < 0)
            failed(expiry, &err);
        return;
    }
    token = auth_mint(opts, left_ms(expiry) + 2 * (opts->expiry.ttl_ms + opts->expiry.within_ms), &expiry->loan, &err);
    if (token)
        say_renewal(expiry, token);
    else
        failed(expiry, &err);
    mem_free_secret(token);
}

static void take_pong(struct auth_expiry *expiry)
{
    char span[SPAN_BYTES];

    since_exp(expiry, span);
    if (opts_of(expiry)->expiry.expect == AUTH_EXPECT_RENEW)
        went_well(expiry, "a renewed session goes on %s after its first token's exp", span);
    else
        outlived(expiry);
}

static void on_message(void *user, const struct ws_message *message)
{
    struct auth_expiry *expiry = user;
    const struct auth_opts *opts = opts_of(expiry);

    if (expiry->stage == AUTH_OVERDUE && message->opcode == WS_PONG) {
        take_pong(expiry);
    } else if (expiry->stage == AUTH_RENEWING && message->opcode != WS_PONG && !message->skipped &&
               match_try(opts->expiry.renew.expect.match, message->body, NULL)) {
        wait_for_look(expiry);
    }
}

static void not_confirmed(struct auth_expiry *expiry)
{
    const struct auth_opts *opts = opts_of(expiry);
    char within[SPAN_BYTES], want[120];

    text_format_duration(opts->expiry.within_ms, within, sizeof within);
    match_describe(&opts->expiry.renew.expect.spec, want, sizeof want);
    found(expiry, false, REASON_AUTH_REJECTED, 0, "the renewal of a token was not confirmed within %s (want %s)", within, want);
}

/* Past exp and within: does it serve? */
static void look(struct auth_expiry *expiry)
{
    expiry->stage = AUTH_OVERDUE;
    timer_start(&expiry->timer, PONG_MS);
    dialogue_send(expiry->attempt.dialogue, WS_PING, slice_str("expiry")); /* a connection that breaks says so itself */
}

static void on_timer(struct timer *timer, void *user)
{
    struct auth_expiry *expiry = user;

    (void)timer;
    switch (expiry->stage) {
    case AUTH_OPENING:
        attempt_expire(&expiry->attempt, (uint64_t)expiry->run->conf->timeout_ms);
        return;
    case AUTH_HELD:
        if (opts_of(expiry)->expiry.expect == AUTH_EXPECT_RENEW)
            renew(expiry);
        else
            look(expiry);
        return;
    case AUTH_RENEWING:
        if (expiry->looked_again) {
            not_confirmed(expiry);
        } else {
            expiry->looked_again = true;
            timer_start(&expiry->timer, LOOK_AGAIN_MS);
        }
        return;
    case AUTH_RENEWED:
        look(expiry);
        return;
    case AUTH_IDLE:
    case AUTH_FETCHING:
    case AUTH_OVERDUE: /* neither closed nor serving: another check's business */
        inconclusive(expiry);
        return;
    }
}

/* --- life --- */

void auth_expiry_init(struct auth_expiry *expiry, struct run *run, void (*on_judged)(void *user), void *user)
{
    expiry->run = run;
    expiry->on_judged = on_judged;
    expiry->user = user;
    expiry->source.run = run;
    expiry->source.loan = &expiry->loan;
    attempt_init(&expiry->attempt, run, on_end, expiry);
    expiry->attempt.on_message = on_message;
    timer_init(&expiry->timer, run->loop, on_timer, expiry);
}

bool auth_expiry_wanted(const struct auth_opts *opts)
{
    return opts->expiry.ttl_ms > 0;
}

bool auth_expiry_busy(const struct auth_expiry *expiry)
{
    return expiry->stage != AUTH_IDLE;
}

void auth_expiry_go_on(struct auth_expiry *expiry)
{
    if (auth_expiry_wanted(opts_of(expiry)) && !auth_expiry_busy(expiry) && clock_now_ns() >= expiry->next_ns)
        begin(expiry);
}

void auth_expiry_fini(struct auth_expiry *expiry)
{
    rest(expiry, false);
    attempt_fini(&expiry->attempt);
    auth_source_fini(&expiry->source);
    secret_return(&expiry->loan);
}
