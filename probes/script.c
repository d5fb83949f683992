/*
 * `script`: a conversation in steps over one fresh connection, for servers that no dialect fits. A step sends, then awaits a message, then
 * takes values from it for the steps after it. Its options and their rules are probes/script_conf.c.
 *
 * Promises that a refusal is told at once and by the step's name, that what is captured has a ceiling, and that nothing derived from the
 * token is shown. The connection, the dialect's connect and the deadline of the round are the step runner's (agent/core/talk.c).
 */
#include "probes/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/client/holes.h"
#include "agent/core/talk.h"
#include "probes/registry.h"

enum { EXCERPT_CHARS = 80, REFUSAL_CHARS = 160, WANT_BYTES = 160, STEP_BYTES = 96 };

struct script_state {
    size_t index; /* of the step */
    bool begun;   /* it has sent, and waits */
    bool asked;   /* a message was sent whose answer has not come yet: for the RTT */
    bool perhaps; /* a message that was too large to be kept may have been the one */
    struct match *expect, *reject, *reject_any;
    struct template_name names[SCRIPT_NAMES_MAX];
    char *values[SCRIPT_NAMES_MAX];
    size_t name_count, captured; /* bytes */
    char uuid[TEMPLATE_UUID_BYTES];
    struct secret_loan secrets;
    uint64_t seq;
};

static struct holes holes_of(struct talk *talk)
{
    struct script_state *state = talk_state(talk);
    const struct script_opts *opts = talk_opts(talk);
    const struct run *run = talk_run(talk);

    return (struct holes){ .target = run->target,
                           .id = run->conf->name,
                           .uuid = state->uuid,
                           .seq = state->seq,
                           .json = opts->json_holes,
                           .names = state->names,
                           .name_count = state->name_count,
                           .secrets = &state->secrets };
}

static const char *step_name(struct talk *talk, size_t index, char out[STEP_BYTES])
{
    script_name_step(talk_opts(talk), index, out, STEP_BYTES);
    return out;
}

/* Something of ours cannot be done: a file of the token that cannot be read, or a text that does not fit. */
static enum turn fail_step(struct talk *talk, const struct err *err)
{
    const struct script_state *state = talk_state(talk);
    char name[STEP_BYTES];

    return talk_fail(talk, err->reason != REASON_NONE ? err->reason : REASON_AGENT_ERROR, "%s: %s",
                     step_name(talk, state->index, name), err->text);
}

/* --- captures --- */

/* Takes the value's memory. */
static void keep_value(struct script_state *state, const char *name, struct buf *value)
{
    size_t i = 0;
    bool secret = opt_name_is_secret(name);

    while (i < state->name_count && strcmp(state->names[i].name, name) != 0)
        i++;
    if (i == state->name_count)
        state->name_count++;
    state->captured -= state->names[i].value.len;
    mem_free_secret(state->values[i]);
    state->values[i] = mem_strndup(value->len ? (const void *)value->data : "", value->len);
    state->captured += value->len;
    state->names[i] = (struct template_name){ .name = name, .value = slice_make(state->values[i], value->len), .secret = secret };
    if (secret)
        secret_lend(&state->secrets, state->values[i]);
}

/* 0, or -1 and the round is over. */
static int capture_one(struct talk *talk, size_t index, const struct script_capture *capture, struct slice message)
{
    struct script_state *state = talk_state(talk);
    struct buf value = BUF_INIT(SCRIPT_VALUE_MAX);
    char name[STEP_BYTES], excerpt[TEXT_EXCERPT_BYTES(EXCERPT_CHARS)];
    struct err err;
    bool found = capture->pointer ? match_extract(message, capture->pointer, &value) == 0
                                  : match_group(capture->regex, message, &value, &err) == 1;
    int rc = 0;

    text_excerpt(message, EXCERPT_CHARS, excerpt, sizeof excerpt);
    if (!found) {
        talk_fail(talk, REASON_SCRIPT_MISMATCH, "%s: nothing to capture for %s at %s%s%s in \"%s\" (at most %d KiB)",
                  step_name(talk, index, name), capture->name, capture->pointer ? capture->pointer : "/",
                  capture->pointer ? "" : capture->regex, capture->pointer ? "" : "/", excerpt, SCRIPT_VALUE_MAX >> 10);
        rc = -1;
    } else if (state->captured + value.len > SCRIPT_CAPTURED_MAX) {
        talk_fail(talk, REASON_SCRIPT_MISMATCH, "%s: what was captured adds up to more than %d KiB", step_name(talk, index, name),
                  SCRIPT_CAPTURED_MAX >> 10);
        rc = -1;
    } else {
        keep_value(state, capture->name, &value);
    }
    buf_wipe(&value);
    return rc;
}

/* What this step takes from the message, and what the steps behind it do that only take. */
static int capture_all(struct talk *talk, struct slice message)
{
    struct script_state *state = talk_state(talk);
    const struct script_opts *opts = talk_opts(talk);
    size_t index = state->index;

    do {
        const struct script_step *step = script_step_at(opts, index);
        const struct script_capture *captures = step->capture.items;

        for (size_t i = 0; i < step->capture.count; i++)
            if (capture_one(talk, index, &captures[i], message) < 0)
                return -1;
        index++;
    } while (index < opts->steps.count && script_only_captures(script_step_at(opts, index)));
    state->index = index - 1;
    return 0;
}

/* --- a step begins --- */

static enum turn say(struct talk *talk, const struct script_step *step)
{
    struct script_state *state = talk_state(talk);
    const struct holes holes = holes_of(talk);
    struct buf text = BUF_INIT(SCRIPT_SEND_MAX);
    struct err err = { 0 };
    enum turn turn;

    state->asked = true;
    if (holes_text(&holes, slice_make(step->send.data, step->send.len), &text, &err) < 0)
        turn = fail_step(talk, &err);
    else
        turn = talk_send(talk, step->send.binary ? WS_BINARY : WS_TEXT, buf_slice(&text));
    buf_wipe(&text);
    return turn;
}

static void forget_matches(struct script_state *state)
{
    match_free(state->expect);
    match_free(state->reject);
    state->expect = state->reject = NULL;
}

static int compile(struct talk *talk, const struct script_step *step, struct err *err)
{
    struct script_state *state = talk_state(talk);
    const struct script_opts *opts = talk_opts(talk);
    const struct holes holes = holes_of(talk);

    if (!state->reject_any && holes_match(&holes, &opts->reject, &state->reject_any, err) < 0)
        return -1;
    return holes_match(&holes, &step->expect, &state->expect, err) < 0 ||
                   holes_match(&holes, &step->reject, &state->reject, err) < 0
               ? -1
               : 0;
}

/* What a deadline says as long as nothing has come. */
static void explain_silence(struct talk *talk, const struct script_step *step)
{
    const struct script_state *state = talk_state(talk);
    const struct holes holes = holes_of(talk);
    char name[STEP_BYTES], want[WANT_BYTES];

    step_name(talk, state->index, name);
    if (step->closed.count) {
        talk_explain_timeout(talk, REASON_SCRIPT_TIMEOUT, "%s: the server did not close", name);
        return;
    }
    holes_describe(&holes, &step->expect, want, sizeof want);
    talk_explain_timeout(talk, REASON_SCRIPT_TIMEOUT, "%s: no message came (want %s)", name, want);
}

static enum turn begin_step(struct talk *talk, const struct script_step *step)
{
    struct script_state *state = talk_state(talk);
    const struct script_opts *opts = talk_opts(talk);
    char name[STEP_BYTES];
    struct err err = { 0 };

    state->begun = true;
    state->perhaps = false;
    state->seq++;
    trace_note(talk_run(talk)->trace, TRACE_NOTE, "%s of %zu", step_name(talk, state->index, name), opts->steps.count);
    forget_matches(state);
    if (compile(talk, step, &err) < 0)
        return fail_step(talk, &err);
    explain_silence(talk, step);
    talk_within(talk, step->within_ms);
    return step->send.data ? say(talk, step) : TURN_NEXT;
}

/* --- messages --- */

static enum turn refused(struct talk *talk, const struct ws_message *message)
{
    const struct script_state *state = talk_state(talk);
    char name[STEP_BYTES], excerpt[TEXT_EXCERPT_BYTES(REFUSAL_CHARS)];

    text_excerpt(message->body, REFUSAL_CHARS, excerpt, sizeof excerpt);
    return talk_fail(talk, REASON_SCRIPT_REJECTED, "%s: the server refuses with \"%s\"", step_name(talk, state->index, name),
                     excerpt);
}

/* What a deadline says now that messages have come. */
static void explain_mismatch(struct talk *talk, const struct ws_message *message, const struct err *why)
{
    struct script_state *state = talk_state(talk);
    char name[STEP_BYTES], excerpt[TEXT_EXCERPT_BYTES(EXCERPT_CHARS)];

    step_name(talk, state->index, name);
    if (message->skipped) {
        state->perhaps = true;
        talk_explain_timeout(talk, REASON_MESSAGE_TOO_BIG,
                             "%s: a message of %" PRIu64
                             " bytes came, which is more than is kept: it may have been the one, and no "
                             "other matched",
                             name, message->size);
    } else if (!state->perhaps && match_shows_message(why)) {
        talk_explain_timeout(talk, REASON_SCRIPT_MISMATCH, "%s: messages came, none matched; the last: %s: no match", name,
                             why->text);
    } else if (!state->perhaps) {
        text_excerpt(message->body, EXCERPT_CHARS, excerpt, sizeof excerpt);
        talk_explain_timeout(talk, REASON_SCRIPT_MISMATCH, "%s: messages came, none matched; the last, \"%s\": %s: no match", name,
                             excerpt, why->text);
    }
}

/* TURN_NEXT: it was the message. */
static enum turn look_at(struct talk *talk, const struct ws_message *message)
{
    struct script_state *state = talk_state(talk);
    struct err why = { 0 };

    if (message->skipped) {
        explain_mismatch(talk, message, &why);
        return TURN_WAIT;
    }
    if ((state->reject && match_try(state->reject, message->body, NULL)) ||
        (state->reject_any && match_try(state->reject_any, message->body, NULL)))
        return refused(talk, message);
    if (!match_try(state->expect, message->body, &why)) {
        explain_mismatch(talk, message, &why);
        return TURN_WAIT;
    }
    if (state->asked)
        talk_answered(talk);
    state->asked = false;
    return capture_all(talk, message->body) < 0 ? TURN_FAIL : TURN_NEXT;
}

static enum turn await_message(struct talk *talk)
{
    struct ws_message message;

    while (talk_receive(talk, &message)) {
        enum turn turn = message.opcode == WS_TEXT || message.opcode == WS_BINARY ? look_at(talk, &message) : TURN_WAIT;

        if (turn != TURN_WAIT)
            return turn;
    }
    return TURN_WAIT;
}

/* A step that waits for the end still sees a message that refuses. */
static enum turn await_close(struct talk *talk)
{
    const struct script_state *state = talk_state(talk);
    struct ws_message message;

    while (talk_receive(talk, &message))
        if ((message.opcode == WS_TEXT || message.opcode == WS_BINARY) && !message.skipped && state->reject_any &&
            match_try(state->reject_any, message.body, NULL))
            return refused(talk, &message);
    return TURN_WAIT;
}

/* The connection is gone: as the last step wants it, as a refusal, or in the middle of a step, whose name is added. */
static enum turn on_lost(struct talk *talk, struct err *err)
{
    const struct script_state *state = talk_state(talk);
    const struct script_opts *opts = talk_opts(talk);
    const struct script_step *step = state->index < opts->steps.count ? script_step_at(opts, state->index) : NULL;
    char name[STEP_BYTES] = "";
    bool closed = err->reason == REASON_CLOSED_BY_SERVER;

    if (step)
        step_name(talk, state->index, name);
    if (closed && step && step->closed.count && opt_in_ranges(&step->closed, err->code))
        return TURN_DONE;
    if (closed && opt_in_ranges(&opts->reject_codes, err->code))
        err->reason = REASON_SCRIPT_REJECTED;
    if (closed && step && step->closed.count && err->reason == REASON_CLOSED_BY_SERVER) {
        struct err told = *err;
        char want[WANT_BYTES];

        opt_format_ranges(&step->closed, want, sizeof want);
        err_set(err, REASON_SCRIPT_MISMATCH, told.code, "%s, want %s", told.text, want);
    }
    if (step)
        err_prefix(err, "%s", name);
    return TURN_WAIT;
}

/* --- the course --- */

static enum turn run_step(struct talk *talk, const struct script_step *step)
{
    struct script_state *state = talk_state(talk);
    enum turn turn = state->begun ? TURN_NEXT : begin_step(talk, step);

    if (turn != TURN_NEXT)
        return turn;
    if (state->expect && (turn = await_message(talk)) != TURN_NEXT)
        return turn;
    step = script_step_at(talk_opts(talk), state->index); /* captures may have gone on */
    if (step->closed.count)
        return await_close(talk);
    return step->close ? talk_part(talk, (uint16_t)step->close, step->within_ms) : TURN_NEXT;
}

static enum turn converse(struct talk *talk)
{
    struct script_state *state = talk_state(talk);
    const struct script_opts *opts = talk_opts(talk);

    if (!*state->uuid) {
        template_make_uuid(state->uuid);
        talk_on_lost(talk, on_lost);
    }
    while (state->index < opts->steps.count) {
        enum turn turn = run_step(talk, script_step_at(opts, state->index));

        if (turn != TURN_NEXT)
            return turn;
        state->index++;
        state->begun = false;
        talk_within(talk, 0);
    }
    return TURN_DONE;
}

static void script_stop(struct run *run)
{
    struct script_state *state = run->state;

    talk_stop(run);
    forget_matches(state);
    match_free(state->reject_any);
    for (size_t i = 0; i < state->name_count; i++)
        mem_free_secret(state->values[i]);
    secret_return(&state->secrets);
    memset(state, 0, sizeof *state);
}

const struct probe_type probe_script = {
    .name = "script",
    .summary = "A conversation in steps, for servers that no dialect fits: send, expect, capture, close",
    .rank = 12,
    .proves = PROVES_ANSWER,
    .opts = script_rows,
    .opts_size = sizeof(struct script_opts),
    .state_size = sizeof(struct script_state),
    .gates = GATE_READY,
    .series = SERIES_TALK,
    .reasons = (const enum reason[]){ REASON_SCRIPT_TIMEOUT, REASON_SCRIPT_MISMATCH, REASON_SCRIPT_REJECTED, REASON_NONE },
    .timeout_reason = REASON_SCRIPT_TIMEOUT,
    .validate_all = script_validate,
    .steps = (const struct step[]){ { "conversation", converse }, { 0 } },
    .start = talk_start,
    .on_deadline = talk_on_deadline,
    .stop = script_stop,
    .clean = talk_clean,
};
