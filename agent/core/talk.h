/*
 * The step runner: what a conversation may say. One fresh connection, opened and upgraded by the engine; then the probe's steps in
 * order. A step is run when the one before says TURN_NEXT and again for every whole message or control frame that comes. Pings are
 * answered and a close ends the round (closed_by_server) without the probe's help. A talk is made by a check's first round and used for
 * all that follow.
 */
#ifndef WSHEALTHD_CORE_TALK_H
#define WSHEALTHD_CORE_TALK_H

#include "agent/core/probe.h"
#include "agent/proto/ws.h"

/* For the row of a type: TALK_STEPS({ "ping", send_ping }, { "pong", await_pong }, { 0 }). A step's name is what it waits for, in the sentence
 * of a deadline. */
#define TALK_STEPS(...)                                                                                                     \
    .steps = (const struct step[]){ __VA_ARGS__ }, .start = talk_start, .on_deadline = talk_on_deadline, .stop = talk_stop, \
    .clean = talk_clean
void talk_start(struct run *run);
void talk_on_deadline(struct run *run);
void talk_stop(struct run *run);
void talk_clean(struct run *run);

void *talk_state(struct talk *talk);
const void *talk_opts(const struct talk *talk);
/* Sends one frame or message, compressed where that was negotiated. TURN_NEXT, or TURN_FAIL with the reason already told. The RTT clock
 * starts here. */
enum turn talk_send(struct talk *talk, enum ws_opcode opcode, struct slice payload);
/* The next message that no step has taken yet; its body is valid until the step returns. Pings never show up, pongs do. */
bool talk_receive(struct talk *talk, struct ws_message *message);
/* The answer to the last talk_send is the message just received: stops the RTT clock at its arrival. */
void talk_answered(struct talk *talk);
enum turn talk_fail(struct talk *talk, enum reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* What the sentence says if the deadline passes; without it: "no NAME within 2s". The reason may differ from the type's timeout_reason. */
void talk_explain_timeout(struct talk *talk, enum reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* For conversations that are longer than a table of steps. The step that waits now has so long; 0: until the round's deadline. */
void talk_within(struct talk *talk, int64_t ms);
/* Whoever waits is asked when the connection is lost. TURN_DONE: that was awaited. TURN_WAIT: *err says why it was lost, and may have been
 * changed for the sentence. */
void talk_on_lost(struct talk *talk, enum turn (*lost)(struct talk *talk, struct err *err));
/* Ends the conversation with this close code, and the round once the server's close frame has come, or did not within wait_ms (0: a while).
 * What is wrong with it is a warning. Behind a dialect it is not looked at. */
enum turn talk_part(struct talk *talk, uint16_t code, int64_t wait_ms);
const struct run *talk_run(const struct talk *talk);

#endif
