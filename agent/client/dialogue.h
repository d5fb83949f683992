/*
 * A connection that speaks a dialect: greeting, connect, subscriptions, keep-alive, unwrapped messages, goodbye; on agent/client/conn.h. For
 * probes that need more than frames (subscribe, delivery), and for every check of a target whose dialect is not raw (echo, ping, hold,
 * which then begin behind connect and stay alive by its keep-alive).
 *
 * Async contract as of struct conn: dialogue_open never calls back inside itself; then on_ready at most once, on_lost exactly once unless the
 * owner closes first; after it the dialogue is idle and may be freed or used anew, also inside a callback. With conn_options.share it is a guest
 * of a connection that others may use at the same time (agent/client/share.h).
 */
#ifndef WSHEALTHD_CLIENT_DIALOGUE_H
#define WSHEALTHD_CLIENT_DIALOGUE_H

#include "agent/client/conn.h"
#include "agent/conf/dialect.h"
#include "agent/proto/template.h"

enum {
    DIALOGUE_SETTLE_MS = 200,
    DIALOGUE_MAYBE_MS = 500,            /* the same, where a confirmation may come and need not (struct dialect, may_confirm) */
    DIALOGUE_SUBSCRIPTIONS_MAX = 10000, /* of one connection */
    DIALOGUE_SEND_MAX = 1 << 20,
};

struct dialogue;
struct dialogue_events {
    void (*on_ready)(void *user); /* open, and `connect` is confirmed */
    /* The subscription is confirmed (err NULL), or refused (subscribe_rejected, the sentence shows the answer). Confirmations of dialects that
     * have none come in the next turn; where there is only a refusal, DIALOGUE_SETTLE_MS without it confirms. */
    void (*on_subscribed)(void *user, const char *channel, const struct err *err);
    /* A message that matched for `channel`, unwrapped. Where the dialect's match does not tell channels apart (raw: every data message),
     * channel is "". */
    void (*on_payload)(void *user, const char *channel, struct slice payload, uint64_t received_ns);
    /* From on_ready on: every pong, and every unit of the dialect (agent/client/framing.h; for most a text or binary message) that is not its
     * keep-alive or a confirmation. After on_payload. */
    void (*on_message)(void *user, const struct ws_message *message, uint64_t received_ns); /* may be NULL */
    /* As of conn; and login_rejected when `connect` was answered by its reject. */
    void (*on_lost)(void *user, const struct err *err);
    /* Instead of on_lost, of a shared connection: another check was done with it, or got no answer on it. No fault. Never while a round
     * of the asker (conn_options) is under way, and may be NULL where that is always so. */
    void (*on_ended)(void *user);
    /* Every unit, before anything else is made of it, also before on_ready. It must leave the dialogue alone. Not told of a shared connection;
     * may be NULL. */
    void (*on_unit)(void *user, struct slice unit);
};

struct dialogue *dialogue_new(void *user, const struct dialogue_events *events);
void dialogue_free(struct dialogue *dialogue);
int dialogue_open(struct dialogue *dialogue, const struct conn_options *options, const struct dialect *dialect, const char *id,
                  struct conn_report *report, struct err *err);
bool dialogue_is_ready(const struct dialogue *dialogue);
bool dialogue_busy(const struct dialogue *dialogue);   /* opened and not lost or closed: the opposite of idle */
struct conn *dialogue_conn(struct dialogue *dialogue); /* for questions; what is sent goes through dialogue_send */
/* Pings and messages of the owner's own; as conn_send and conn_send_parts. */
int dialogue_send(struct dialogue *dialogue, enum ws_opcode opcode, struct slice payload);
int dialogue_send_parts(struct dialogue *dialogue, enum ws_opcode opcode, struct slice payload, unsigned parts, bool compress);
/* A text with holes; where it comes out empty, nothing is sent. */
int dialogue_send_text(struct dialogue *dialogue, const struct opt_bytes *text, struct err *err);
/* Holes of the owner's own in the dialect's texts, for all connections from now on. Borrowed. */
void dialogue_set_names(struct dialogue *dialogue, const struct template_name *names, size_t count);
uint64_t dialogue_opened_ns(const struct dialogue *dialogue); /* when the upgrade was done; 0: not yet. Kept when it is lost */
/* Has the server ever confirmed a subscription by a word, on this connection or an earlier one of this dialogue? */
bool dialogue_confirms(const struct dialogue *dialogue);
/* on_subscribed follows. A channel that is confirmed already is not asked for again. -1: agent_error, or the connection is breaking. */
int dialogue_subscribe(struct dialogue *dialogue, const char *channel, struct err *err);
/* The last message that nothing took while something was awaited, cut; "" where none came. For a deadline's sentence. */
const char *dialogue_last(const struct dialogue *dialogue);
/* What would confirm a channel that was asked for, with its holes filled: "JSON with /id = \"1\""; "" where nothing is awaited. */
void dialogue_awaits(const struct dialogue *dialogue, const char *channel, char *out, size_t size);
void dialogue_close(struct dialogue *dialogue, uint16_t code); /* goodbye, close frame; ends a shared connection for all */
void dialogue_leave(struct dialogue *dialogue); /* a shared connection goes on while others use it; else as dialogue_close */
void dialogue_drop(struct dialogue *dialogue);
/* For a deadline: where it is. The handshake's reason before it was open; behind it echo_timeout or echo_mismatch, as connect is an answer that
 * did not come or did not match. */
int dialogue_timeout_err(const struct dialogue *dialogue, uint64_t timeout_ms, struct err *err);

/* Does the target speak a dialect that has something to say besides subscriptions? If not, a plain conn is the same and smaller. */
bool dialogue_needed(const struct target_conf *target);

#endif
