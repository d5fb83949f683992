/*
 * `payload`: echoes of growing size. A message of 1 KiB and one of `max` must come back in each form: text and binary, whole and in fragments,
 * compressed and not. Where one does not, the size at which it breaks is looked for to the byte. In one round of `every`, the limit beyond `max` is
 * looked for as well, up to `probe_to`: that is information, and never a failure.
 *
 * Polite: the first rounds try all forms, later ones one of them, in turn. A round sends and breaks only so much, and what it has no time
 * for, the next ones go on with: a session type for what is known, which lives from round to round. The connections do not, as a message
 * that is too large mostly costs one. What breaks is tried twice, so that a server that restarts just then is not taken for one with a
 * limit.
 */
#include "probes/payload_round.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/client/backoff.h"
#include "agent/client/session.h"
#include "agent/core/run_report.h"
#include "probes/registry.h"

enum {
    REFUSED_ROUNDS = 100, /* the limit beyond max is left alone for so long after a server that has had enough */
    SHOWN_CHARS = PAYLOAD_SHOWN_CHARS,
    BEYOND_MAX = 400,
    ESCAPED_MAX = 6, /* bytes of a JSON escape */
    WRAPPED_MAX = 4096,
};
/* --- the round's end --- */

static void end_round(struct run *run)
{
    struct payload_state *state = run->state;

    timer_stop(&state->patience);
    state->trying = false;
    if (state->opened_ns)
        run_report_phase(run, PHASE_OPEN, true, clock_now_ns() - state->opened_ns);
    session_close(&state->session, WS_CODE_NORMAL);
}

static void finish_failed(struct run *run, const struct err *err)
{
    end_round(run);
    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        run->report.close_code = err->code;
    run_finish_err(run, err);
}

/* A form has a limit that max is beyond. */
static void finish_limit(struct run *run, unsigned form)
{
    struct payload_state *state = run->state;
    char text[ERR_TEXT_MAX], max[40];

    payload_limit_text(form, &state->limits[form], payload_least(run), text, sizeof text);
    payload_bytes_text(payload_max(run), max, sizeof max);
    end_round(run);
    run_finish(run, REASON_PAYLOAD_LIMIT, "%s (want %s)", text, max);
}

/* What is known beyond max, of the form with the lowest limit; "" where nothing is. */
static void describe_beyond(struct run *run, char *out, size_t size)
{
    struct payload_state *state = run->state;
    char text[BEYOND_MAX];
    int lowest = -1;
    size_t most = 0;

    out[0] = '\0';
    for (int form = 0; form < FORM_COUNT; form++) {
        const struct payload_limit *limit = &state->limits[form];

        if (limit->breaks && limit->confirmed && (lowest < 0 || limit->breaks < state->limits[lowest].breaks))
            lowest = form;
        if (limit->passes > most)
            most = limit->passes;
    }
    if (lowest >= 0) {
        payload_limit_text((unsigned)lowest, &state->limits[lowest], payload_least(run), text, sizeof text);
        snprintf(out, size, "; beyond that, %s", text);
    } else if (most > payload_max(run)) {
        payload_bytes_text(most, text, sizeof text);
        snprintf(out, size, "; %s pass too", text);
    }
}

static void finish_passed(struct run *run)
{
    struct payload_state *state = run->state;
    char passed[200], beyond[BEYOND_MAX + 20];

    end_round(run);
    payload_passed_text(state->passed, payload_max(run), passed, sizeof passed);
    describe_beyond(run, beyond, sizeof beyond);
    run_pass(run, "%s%s", passed, beyond);
}

/* There is no room for another message. */
static void finish_short(struct run *run)
{
    struct payload_state *state = run->state;
    char small[40];

    for (unsigned form = 0; form < FORM_COUNT; form++)
        if (state->limits[form].breaks && state->limits[form].breaks <= payload_max(run)) {
            finish_limit(run, form);
            return;
        }
    if (state->passed) {
        finish_passed(run);
        return;
    }
    payload_bytes_text(payload_small(run), small, sizeof small);
    end_round(run);
    run_pass(run, "%s pass; there was no time for more within timeout: the next rounds go on", small);
}

/* --- the conversation --- */

static bool open_session(struct run *run);

static void send_message(struct run *run)
{
    struct payload_state *state = run->state;
    struct buf message = BUF_INIT(CONN_MESSAGE_MAX);
    char what[PAYLOAD_FORM_MAX];
    struct err err;
    int rc = payload_build(run, state->form, state->size, &message, &err);

    if (rc == 0) {
        state->size = message.len;
        state->sent += message.len;
        state->sent_ns = clock_now_ns();
        state->trying = true;
        state->last[0] = '\0';
        timer_start(&state->patience, payload_patience_ms(run));
        conn_asked(session_conn(&state->session));
        payload_form_text(state->form, state->size, what, sizeof what);
        trace_note(run->trace, TRACE_NOTE, "%s", what);
        /* A connection that breaks says so itself. */
        session_send_parts(&state->session, state->form & FORM_BINARY ? WS_BINARY : WS_TEXT, buf_slice(&message),
                           state->form & FORM_PARTS ? PAYLOAD_PARTS : 1, state->form & FORM_PACKED);
    }
    buf_fini(&message);
    if (rc < 0)
        finish_failed(run, &err);
}

static void advance(struct run *run)
{
    struct payload_state *state = run->state;

    state->trying = false;
    timer_stop(&state->patience);
    if (!payload_next_due(run)) {
        if (state->due) {
            finish_limit(run, state->form);
            return;
        }
        if (!payload_next_beyond(run)) {
            finish_passed(run);
            return;
        }
    }
    if (!payload_has_room(run))
        finish_short(run);
    else if (session_is_open(&state->session))
        send_message(run);
    else if (!open_session(run))
        finish_short(run);
}

static void note_passed(struct run *run)
{
    struct payload_state *state = run->state;

    payload_passed(&state->limits[state->form], state->size);
    state->echoes = state->any_passed = true;
    state->look_again = state->look_again && state->due;
    if (!state->due)
        return;
    state->small_passed = true;
    state->large_passed = state->large_passed || state->size >= payload_max(run);
}

/* Without anything that ever came back, it is no limit: it is no server that echoes, or does so no more. */
static bool echoes_nothing(const struct run *run)
{
    const struct payload_state *state = run->state;
    bool first = state->form == payload_first_form(payload_forms(run)) && state->size <= payload_small(run);

    return !state->any_passed && (first || !state->echoes);
}

/* Is that how a server says that a message was too large, or of a kind that it does not take? */
static bool blames_message(const struct err *err)
{
    return err->reason == REASON_CLOSED_BY_SERVER && (err->code == 1009 || err->code == 1003 || err->code == 1007);
}

static bool is_refusal(const struct err *err)
{
    const char *said = strstr(err->text, ": \"");

    return err->reason == REASON_CLOSED_BY_SERVER &&
           backoff_close_reason(err->code, slice_str(said ? said : "")) != REASON_CLOSED_BY_SERVER;
}

/* The message did not come back. Notes it; true: the round is over. */
static bool note_broken(struct run *run, const struct err *err)
{
    struct payload_state *state = run->state;

    state->trying = false;
    timer_stop(&state->patience);
    trace_note(run->trace, TRACE_NOTE, "%s", err->text);
    if (state->due)
        state->passed &= ~(1U << state->form); /* tried again in the next round */
    if (is_refusal(err) || (echoes_nothing(run) && !blames_message(err))) {
        state->looking = false;
        state->rounds_to_look = REFUSED_ROUNDS;
        finish_failed(run, err);
        return true;
    }
    state->breaks++;
    state->look_again = state->look_again && state->due;
    payload_broke(&state->limits[state->form], state->size, err);
    return false;
}

/* It has not come, or not as it was sent. */
static void describe_silence(struct run *run, struct err *err)
{
    struct payload_state *state = run->state;
    bool middle = ws_reader_mid_message(&session_conn(&state->session)->reader);
    char waited[32], h2[CONN_H2_WORDS];

    conn_say_h2(session_conn(&state->session), h2, sizeof h2);
    text_format_duration((int64_t)((clock_now_ns() - state->sent_ns) / NS_PER_MS), waited, sizeof waited);
    if (echoes_nothing(run) && state->last[0])
        err_set(err, REASON_ECHO_MISMATCH, 0,
                "messages came, none was the one sent; the last: \"%s\" (want the same back) within %s", state->last, waited);
    else if (echoes_nothing(run))
        err_set(err, REASON_ECHO_TIMEOUT, 0, "no message came within %s%s", waited, h2);
    else if (middle)
        err_set(err, REASON_ECHO_TIMEOUT, 0, "its echo was not complete within %s%s", waited, h2);
    else
        err_set(err, REASON_ECHO_TIMEOUT, 0, "no echo within %s%s%s%s%s", waited, state->last[0] ? ", the last message was \"" : "",
                state->last, state->last[0] ? "\"" : "", h2);
}

/* Nothing more is to be hoped for from this connection. True: the round is over. */
static bool give_up(struct run *run)
{
    struct payload_state *state = run->state;
    struct err err;

    if (!conn_flooded(session_conn(&state->session), &err))
        describe_silence(run, &err);
    if (err.reason == REASON_FLOOD || err.reason == REASON_MESSAGE_TOO_BIG) {
        finish_failed(run, &err);
        return true;
    }
    session_drop(&state->session);
    return note_broken(run, &err);
}

static void on_patience(struct timer *timer, void *user)
{
    struct run *run = user;
    struct payload_state *state = run->state;

    /* A large echo on a slow path is still coming: that is no limit. */
    if (!state->due && ws_reader_mid_message(&session_conn(&state->session)->reader)) {
        timer_start(timer, payload_patience_ms(run));
        return;
    }
    if (!give_up(run))
        advance(run);
}

static void on_open(void *user)
{
    struct run *run = user;
    struct payload_state *state = run->state;
    bool first = !state->opened;

    state->opening = false;
    run->report.phase = PHASE_OPEN;
    if (first) {
        run_report_conn(run, &state->report, run->url->tls);
        state->opened_ns = clock_now_ns();
        state->opened = true;
        payload_choose(run);
        payload_next_due(run);
        send_message(run);
        return;
    }
    advance(run);
}

/* The beginning of the message came back, and not the rest. */
static bool is_damaged(struct run *run, struct slice body, struct err *err)
{
    struct payload_state *state = run->state;
    ptrdiff_t at = slice_find(body, slice_str(state->id));
    struct slice rest;
    char cut[40], whole[40];
    size_t same = 0;

    if (at < 0)
        return false;
    rest = slice_skip(body, (size_t)at);
    while (same < rest.len && same < state->payload.len && rest.data[same] == state->payload.data[same])
        same++;
    payload_bytes_text(same, cut, sizeof cut);
    payload_bytes_text(state->payload.len, whole, sizeof whole);
    if (same == rest.len)
        err_set(err, REASON_ECHO_MISMATCH, 0, "it came back cut to %s", cut);
    else
        err_set(err, REASON_ECHO_MISMATCH, 0, "it came back changed: %s of %s as they were sent, and then something else", cut,
                whole);
    return true;
}

/* What was not kept, as other connections have messages under way, is this one by its size: as long as the payload, or longer by what a
 * server wraps around it and escapes. A bomb is not. */
static bool may_be_answer(const struct payload_state *state, uint64_t size)
{
    return size >= state->size && size <= (uint64_t)state->size * ESCAPED_MAX + WRAPPED_MAX;
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct run *run = user;
    struct payload_state *state = run->state;
    struct err err;

    if (!state->trying || (message->opcode != WS_TEXT && message->opcode != WS_BINARY))
        return;
    run->report.spoke = true;
    if (message->skipped ? may_be_answer(state, message->size) : slice_find(message->body, buf_slice(&state->payload)) >= 0) {
        if (!run->report.have_rtt) {
            run->report.have_rtt = true;
            run->report.rtt_ns = received_ns - state->sent_ns;
        }
        note_passed(run);
        advance(run);
        return;
    }
    if (message->skipped) {
        snprintf(state->last, sizeof state->last, "(%" PRIu64 " bytes, more than is kept)", message->size);
        return;
    }
    if (is_damaged(run, message->body, &err)) {
        session_close(&state->session, WS_CODE_NORMAL); /* more of it may come, and must not be taken for the next answer */
        if (!note_broken(run, &err))
            advance(run);
        return;
    }
    text_excerpt(message->body, SHOWN_CHARS, state->last, sizeof state->last);
}

static void on_lost(void *user, const struct err *cause)
{
    struct run *run = user;
    struct payload_state *state = run->state;
    struct err err = *cause;

    if (state->opening) {
        state->opening = false;
        if (!state->opened) {
            run_report_conn(run, &state->report, run->url->tls);
        } else {
            err_prefix(&err, "after a message that broke the connection before");
            state->looking = false;
            state->rounds_to_look = REFUSED_ROUNDS;
        }
        run->report.phase = reason_phase(err.reason);
        finish_failed(run, &err);
        return;
    }
    if (!note_broken(run, &err))
        advance(run);
}

static const struct session_events events = {
    .conn = { .on_open = on_open, .on_message = on_message, .on_lost = on_lost },
    .dialogue = { .on_ready = on_open, .on_message = on_message, .on_lost = on_lost },
};

/* False: it may not be opened now. */
static bool open_session(struct run *run)
{
    struct payload_state *state = run->state;
    struct conn_options options = run_conn_options(run);
    struct err err;

    if (state->opened && !run_may_connect(run))
        return false;
    state->opening = true;
    if (session_open(&state->session, &options, run->conf->name, &events, run, &state->report, &err) < 0) {
        state->opening = false;
        finish_failed(run, &err);
    }
    return true;
}

static void payload_start(struct run *run)
{
    struct payload_state *state = run->state;

    if (!state->begun) {
        state->begun = true;
        session_init(&state->session, session_must_speak(run->target, run->share));
        timer_init(&state->patience, run->loop, on_patience, run);
        buf_init(&state->payload, PAYLOAD_SIZE_MAX);
        state->turn = state->look_form = FORM_COUNT - 1;
    }
    state->opening = state->opened = state->trying = false;
    state->small_passed = state->large_passed = state->any_passed = false;
    state->due = state->breaks = 0;
    state->sent = 0;
    state->opened_ns = 0;
    run->report.phase = PHASE_RESOLVE;
    open_session(run);
}

static void payload_on_deadline(struct run *run)
{
    struct payload_state *state = run->state;
    struct err err;

    if (state->opening) {
        if (!conn_flooded(session_conn(&state->session), &err))
            session_timeout_err(&state->session, (uint64_t)run->conf->timeout_ms, &err);
        if (!state->opened)
            run_report_conn(run, &state->report, run->url->tls);
        run->report.phase = reason_phase(err.reason);
        session_drop(&state->session);
        finish_failed(run, &err);
    } else if (!state->due || !give_up(run)) { /* beyond max, a slow echo proves nothing */
        finish_short(run);
    }
}

static void payload_stop(struct run *run)
{
    struct payload_state *state = run->state;

    if (!state->begun)
        return;
    timer_stop(&state->patience);
    session_close(&state->session, WS_CODE_NORMAL);
    session_fini(&state->session);
    buf_fini(&state->payload);
    memset(state, 0, sizeof *state);
}

static int payload_validate(const void *opts, struct err *err)
{
    const struct payload_opts *payload = opts;
    const char *wrap = payload->wrap ? payload->wrap : "", *hole = strstr(wrap, "{{payload");

    if (payload->wrap && (!hole || strstr(hole + 1, "{{payload")))
        return err_set(err, REASON_NONE, 0, "wrap: want {{payload}} or {{payload_json}} in it, once");
    if (strstr(wrap, "token}}") || strstr(wrap, "{{channel}}"))
        return err_set(err, REASON_NONE, 0, "wrap: want no {{token}} and no {{channel}}: it is a message that the server echoes");
    if (payload->wrap && strlen(wrap) + PAYLOAD_ID_LEN + PAYLOAD_SIZE_MIN > (size_t)payload->max)
        return err_set(err, REASON_NONE, 0, "wrap: its %zu bytes leave no room for a payload within max", strlen(wrap));
    return 0;
}

static const char *const kind_words[] = { "text", "binary", NULL };

#define OPTION(key, member, its_kind, text) \
    .name = key, .kind = its_kind, .offset = offsetof(struct payload_opts, member), .help = text
static const struct opt payload_rows[] = {
    { OPTION("max", max, OPT_SIZE, "messages of this size must come back"), .default_text = "64KiB", .min = PAYLOAD_SIZE_MIN,
      .max = PAYLOAD_SIZE_MAX },
    { OPTION("kinds", kinds, OPT_SET, "text, binary or both; by default both, and text alone with wrap"), .words = kind_words },
    { OPTION("fragments", fragments, OPT_BOOL, "each message is tried in three fragments too"), .default_text = "true" },
    { OPTION("probe_to", probe_to, OPT_SIZE, "how far beyond max the limit is looked for; not more than max: not at all"),
      .default_text = "1MiB", .min = PAYLOAD_SIZE_MIN, .max = PAYLOAD_SIZE_MAX },
    { OPTION("every", every, OPT_INT, "it is looked for in one of so many rounds"), .default_text = "10", .min = 1, .max = 100000 },
    { OPTION("wrap", wrap, OPT_STRING,
             "the message around {{payload}} or {{payload_json}}, for servers that echo messages of a form only; the answer must "
             "contain the payload"),
      .flags = OPT_TEMPLATE, .min = 1, .max = 4096 },
    { 0 },
};

const struct probe_type probe_payload = {
    .name = "payload",
    .summary = "Echoes of growing size, text and binary, whole and in fragments, compressed or not; names the size that breaks",
    .kind = PROBE_FRESH,
    .rank = 11,
    .proves = PROVES_ANSWER,
    .opts = payload_rows,
    .opts_size = sizeof(struct payload_opts),
    .state_size = sizeof(struct payload_state),
    .session = true,
    .series = SERIES_TALK,
    .reasons = (const enum reason[]){ REASON_ECHO_TIMEOUT, REASON_ECHO_MISMATCH, REASON_PAYLOAD_LIMIT, REASON_NONE },
    .timeout_reason = REASON_ECHO_TIMEOUT,
    .validate = payload_validate,
    .start = payload_start,
    .on_deadline = payload_on_deadline,
    .stop = payload_stop,
};
