/* `echo`: an application message is answered as expected. Without `send` it is a unique text that must come back as it is. */
#include <inttypes.h>
#include <stdio.h>

#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/core/talk.h"
#include "probes/registry.h"

enum { EXCERPT_CHARS = 60 };

struct echo_opts {
    struct opt_bytes send;
    struct opt_match expect;
};

struct echo_state {
    char unique[40];
    struct slice sent;
    bool perhaps; /* a message that was too large to be kept may have been the answer */
};

static enum turn send_message(struct talk *talk)
{
    struct echo_state *state = talk_state(talk);
    const struct echo_opts *opts = talk_opts(talk);
    uint64_t id;

    random_bytes(&id, sizeof id);
    snprintf(state->unique, sizeof state->unique, "wshealthd-%016" PRIx64, id);
    state->sent = opts->send.data ? slice_make(opts->send.data, opts->send.len) : slice_str(state->unique);
    talk_explain_timeout(talk, REASON_ECHO_TIMEOUT, "no message came");
    return talk_send(talk, opts->send.binary ? WS_BINARY : WS_TEXT, state->sent);
}

static bool is_answer(const struct echo_opts *opts, const struct echo_state *state, const struct ws_message *message,
                      struct err *why)
{
    if (opts->expect.match)
        return match_try(opts->expect.match, message->body, why);
    if (slice_equal(message->body, state->sent))
        return true;
    err_set(why, REASON_ECHO_MISMATCH, 0, "it is not what was sent");
    return false;
}

/* Without `expect` the answer is what was sent, which is never so large. */
static void note_skipped(struct talk *talk, const struct ws_message *message)
{
    struct echo_state *state = talk_state(talk);
    const struct echo_opts *opts = talk_opts(talk);

    state->perhaps = opts->expect.match;
    talk_explain_timeout(talk, state->perhaps ? REASON_MESSAGE_TOO_BIG : REASON_ECHO_MISMATCH,
                         "a message of %" PRIu64 " bytes came, which is more than is kept%s, and none matched", message->size,
                         state->perhaps ? ": the answer may have been that one" : "");
}

static enum turn await_answer(struct talk *talk)
{
    const struct echo_state *state = talk_state(talk);
    const struct echo_opts *opts = talk_opts(talk);
    struct ws_message message;
    struct err why;
    char excerpt[TEXT_EXCERPT_BYTES(EXCERPT_CHARS)];

    while (talk_receive(talk, &message)) {
        if (message.opcode != WS_TEXT && message.opcode != WS_BINARY)
            continue;
        if (message.skipped) {
            note_skipped(talk, &message);
            continue;
        }
        if (is_answer(opts, state, &message, &why)) {
            talk_answered(talk);
            return TURN_DONE;
        }
        if (state->perhaps)
            continue;
        text_excerpt(message.body, EXCERPT_CHARS, excerpt, sizeof excerpt);
        if (match_shows_message(&why))
            talk_explain_timeout(talk, REASON_ECHO_MISMATCH, "messages came, none matched; the last: %s: no match", why.text);
        else
            talk_explain_timeout(talk, REASON_ECHO_MISMATCH, "messages came, none matched; the last, \"%s\": %s: no match", excerpt,
                                 why.text);
    }
    return TURN_WAIT;
}

static const struct opt echo_rows[] = {
    { .name = "send",
      .kind = OPT_BYTES,
      .offset = offsetof(struct echo_opts, send),
      .max = 65536,
      .flags = OPT_LITERAL,
      .help = "the message to send, a text or { base64: ... } for a binary one; without it a unique text" },
    { .name = "expect",
      .kind = OPT_MATCH,
      .offset = offsetof(struct echo_opts, expect),
      .help = "what the answer must look like (equals, contains, regex, json); without it, what was sent" },
    { 0 },
};

const struct probe_type probe_echo = {
    .name = "echo",
    .summary = "An application message is answered as expected; round trip against slo",
    .proves = PROVES_ANSWER,
    .opts = echo_rows,
    .opts_size = sizeof(struct echo_opts),
    .state_size = sizeof(struct echo_state),
    .gates = GATE_READY,
    .shares = true,
    .series = SERIES_TALK,
    .reasons = (const enum reason[]){ REASON_ECHO_TIMEOUT, REASON_ECHO_MISMATCH, REASON_NONE },
    .timeout_reason = REASON_ECHO_TIMEOUT,
    TALK_STEPS({ "message", send_message }, { "answer", await_answer }, { 0 }),
};
