/*
 * A connection that may be refused (agent/core/attempt.h). Called by auth and origin. Owns the connection and when it counts as taken; leaves the
 * verdict and the deadline of the round to the check.
 *
 * Many servers take the upgrade first and look at the token afterwards. So a connection counts as taken only when it is still open, and no
 * message has refused it, for a while after it was ready: as long as the check says, or attempt_settle_ms. Where the dialect's connect
 * carries the token and the server confirms it, that is the answer, and nothing more is waited for.
 */
#include "agent/core/attempt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/core/run_report.h"

enum { DATE_SLACK_S = 2, LOOK_AGAIN_MS = 20 };

static void release(struct attempt *attempt)
{
    timer_stop(&attempt->settle);
    mem_free_secret(attempt->token);
    mem_free(attempt->origin);
    attempt->token = attempt->origin = NULL;
    attempt->taken = false;
}

/* As soon as the answer is here: a Date is old a moment later. */
static void note_clock(struct attempt *attempt)
{
    attempt->skew_s = attempt->report.date_s ? attempt->report.date_s - clock_wall_ms() / 1000 : 0;
}

static void end_with(struct attempt *attempt, enum attempt_end end, int code, const struct err *err)
{
    struct attempt_outcome outcome = { end, code, err };

    release(attempt);
    attempt->on_end(attempt->user, &outcome);
}

static void on_settled(struct timer *timer, void *user)
{
    struct attempt *attempt = user;
    struct attempt_outcome outcome = { ATTEMPT_TAKEN, 0, NULL };

    (void)timer;
    /* The agent may have been stopped meanwhile: a refusal that waits in the socket is read before anything is said. */
    if (!attempt->looked_again) {
        attempt->looked_again = true;
        timer_start(&attempt->settle, LOOK_AGAIN_MS);
        return;
    }
    if (attempt->keeps) {
        attempt->taken = true;
        attempt->on_end(attempt->user, &outcome);
        return;
    }
    dialogue_close(attempt->dialogue, WS_CODE_NORMAL);
    end_with(attempt, ATTEMPT_TAKEN, 0, NULL);
}

/* Has the server already said yes to the token? */
static bool is_confirmed(const struct attempt *attempt)
{
    return attempt->run->target->token_place == TOKEN_MESSAGE && !match_spec_empty(&attempt->dialect.connect.expect);
}

static void on_ready(void *user)
{
    struct attempt *attempt = user;

    attempt->opened_ns = dialogue_opened_ns(attempt->dialogue);
    attempt->ready_ns = clock_now_ns();
    note_clock(attempt);
    attempt->looked_again = is_confirmed(attempt);
    if (is_confirmed(attempt))
        attempt->settle_ms = 0;
    timer_start(&attempt->settle, attempt->settle_ms);
}

static void on_unit(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct attempt *attempt = user;
    bool text = message->opcode == WS_TEXT || message->opcode == WS_BINARY;
    char shown[WORDS_BYTES];
    struct err err;

    (void)received_ns;
    if (text && !message->skipped && !*attempt->said)
        words_of(message->body, attempt->said);
    if (text && !message->skipped && attempt->refusal && attempt->refusal->match &&
        match_try(attempt->refusal->match, message->body, NULL)) {
        words_of(message->body, shown);
        err_set(&err, REASON_LOGIN_REJECTED, 0, "the server refused the client: \"%s\"", shown);
        dialogue_close(attempt->dialogue, WS_CODE_NORMAL);
        end_with(attempt, ATTEMPT_MESSAGE, 0, &err);
    } else if (attempt->taken && attempt->on_message) {
        attempt->on_message(attempt->user, message);
    }
}

static enum attempt_end end_of(const struct attempt *attempt, const struct err *err)
{
    if (attempt->report.http_status && attempt->report.http_status != (attempt->report.http2 ? 200 : 101))
        return ATTEMPT_STATUS;
    switch (err->reason) {
    case REASON_LOGIN_REJECTED:
        return ATTEMPT_MESSAGE;
    case REASON_CLOSED_BY_SERVER:
        return ATTEMPT_CLOSED;
    case REASON_CLOSED_ABNORMAL:
    case REASON_CONNECTION_RESET:
        return ATTEMPT_CUT;
    default:
        return ATTEMPT_FAILED;
    }
}

static void on_lost(void *user, const struct err *err)
{
    struct attempt *attempt = user;
    enum attempt_end end = end_of(attempt, err);
    int code = end == ATTEMPT_STATUS   ? attempt->report.http_status
               : end == ATTEMPT_CLOSED ? err->code
               : end == ATTEMPT_CUT    ? WS_CODE_ABNORMAL
                                       : 0;

    if (!attempt->ready_ns)
        note_clock(attempt);
    if (!attempt->opened_ns)
        attempt->opened_ns = dialogue_opened_ns(attempt->dialogue);
    end_with(attempt, end, code, err);
}

static const struct dialogue_events dialogue_events = { .on_ready = on_ready, .on_message = on_unit, .on_lost = on_lost };

void attempt_init(struct attempt *attempt, struct run *run, void (*on_end)(void *user, const struct attempt_outcome *outcome),
                  void *user)
{
    memset(attempt, 0, sizeof *attempt);
    attempt->run = run;
    attempt->on_end = on_end;
    attempt->user = user;
    timer_init(&attempt->settle, run->loop, on_settled, attempt);
}

int attempt_start(struct attempt *attempt, const struct attempt_options *options, struct err *err)
{
    static const struct dialect raw = { .name = "raw" };
    struct conn_options conn = run_conn_options(attempt->run);

    panic_if(attempt_busy(attempt));
    attempt->dialect = attempt->run->target->dialect ? *attempt->run->target->dialect : raw;
    if (options->refusal && !match_spec_empty(&options->refusal->spec) && !match_spec_empty(&attempt->dialect.connect.expect))
        attempt->dialect.connect.reject = options->refusal->spec;
    attempt->refusal = options->refusal;
    attempt->keeps = options->keeps;
    attempt->settle_ms = options->settle_ms ? options->settle_ms : attempt_settle_ms(attempt->run);
    attempt->opened_ns = attempt->ready_ns = 0;
    *attempt->said = '\0';
    attempt->override = options->override;
    attempt->origin = options->override.origin ? mem_strdup(options->override.origin) : NULL;
    attempt->token = options->override.token ? mem_strdup(options->override.token) : NULL;
    attempt->override.origin = attempt->origin;
    attempt->override.token = attempt->token;
    if (!attempt->dialogue)
        attempt->dialogue = dialogue_new(attempt, &dialogue_events);
    conn.override = &attempt->override;
    conn.share = NULL;
    if (dialogue_open(attempt->dialogue, &conn, &attempt->dialect, options->what, &attempt->report, err) == 0)
        return 0;
    release(attempt);
    return -1;
}

uint64_t attempt_settle_ms(const struct run *run)
{
    uint64_t settle_ms = (uint64_t)run->conf->timeout_ms / ATTEMPT_SETTLE_SHARE;

    return settle_ms < ATTEMPT_SETTLE_MAX_MS ? settle_ms : ATTEMPT_SETTLE_MAX_MS;
}

bool attempt_busy(const struct attempt *attempt)
{
    return attempt->dialogue && dialogue_busy(attempt->dialogue);
}

void attempt_expire(struct attempt *attempt, uint64_t timeout_ms)
{
    struct err err;

    if (dialogue_is_ready(attempt->dialogue)) {
        dialogue_close(attempt->dialogue, WS_CODE_NORMAL);
        end_with(attempt, ATTEMPT_OPEN, 0, NULL);
        return;
    }
    dialogue_timeout_err(attempt->dialogue, timeout_ms, &err);
    dialogue_drop(attempt->dialogue);
    on_lost(attempt, &err);
}

void attempt_close(struct attempt *attempt)
{
    if (attempt->dialogue)
        dialogue_close(attempt->dialogue, WS_CODE_NORMAL);
    release(attempt);
}

void attempt_fini(struct attempt *attempt)
{
    attempt_close(attempt);
    dialogue_free(attempt->dialogue);
    attempt->dialogue = NULL;
}

void attempt_words(const struct attempt_outcome *outcome, char *out, size_t size)
{
    static const char *const words[] = { [ATTEMPT_TAKEN] = "taken",
                                         [ATTEMPT_OPEN] = "taken",
                                         [ATTEMPT_MESSAGE] = "a message",
                                         [ATTEMPT_CUT] = "a cut connection",
                                         [ATTEMPT_FAILED] = "no answer" };

    if (outcome->end == ATTEMPT_STATUS)
        snprintf(out, size, "status %d", outcome->code);
    else if (outcome->end == ATTEMPT_CLOSED)
        snprintf(out, size, "close code %d", outcome->code);
    else
        snprintf(out, size, "%s", words[outcome->end]);
}

int64_t attempt_skew_s(const struct attempt *attempt)
{
    return llabs(attempt->skew_s) > DATE_SLACK_S ? attempt->skew_s : 0;
}

void attempt_report(const struct attempt *attempt)
{
    struct run *run = attempt->run;

    run_report_conn(run, &attempt->report, run->url->tls);
    run->report.settled_ns = attempt->ready_ns;
}

void attempt_finish(const struct attempt *attempt, const struct err *err)
{
    struct run *run = attempt->run;

    run->report.phase = reason_phase(err->reason);
    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        run->report.close_code = err->code;
    run_finish_err(run, err);
}

uint64_t attempt_pause_ms(const struct attempt *attempt)
{
    return attempt->report.retry_after_ms > ATTEMPT_PAUSE_MS ? attempt->report.retry_after_ms : ATTEMPT_PAUSE_MS;
}
