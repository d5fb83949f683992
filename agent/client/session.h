/*
 * One WebSocket connection as a probe has it: a plain conn (agent/client/conn.h), or a dialogue (agent/client/dialogue.h) where the target's
 * dialect has something to say first, or where the connection is shared. The probe need not know which: it may speak once the session is
 * open. A plain conn is smaller, which counts where thousands are held.
 *
 * Async contract: as of the two. Zero a session, then session_init it once; it can be opened again and again.
 */
#ifndef WSHEALTHD_CLIENT_SESSION_H
#define WSHEALTHD_CLIENT_SESSION_H

#include "agent/client/conn.h"
#include "agent/client/dialogue.h"

/* Static in its owner. What has the same meaning in both is the same function: on_open is on_ready, on_message, on_lost. */
struct session_events {
    struct conn_events conn;
    struct dialogue_events dialogue;
};

struct session {
    union {
        struct conn conn;
        struct dialogue *dialogue; /* made when it is first opened */
    };
    bool speaks; /* it is the dialogue */
};

/* Does a connection to that target have to be a dialogue? */
bool session_must_speak(const struct target_conf *target, const struct share *share);
void session_init(struct session *session, bool speaks);
/* `id` is for the dialect's texts (dialogue_open). A dialogue looks at the messages itself: options.ignores_messages is for plain conns.
 * 0, or -1 with agent_error: no callback comes then. */
int session_open(struct session *session, const struct conn_options *options, const char *id, const struct session_events *events,
                 void *user, struct conn_report *report, struct err *err);
bool session_is_open(const struct session *session); /* may the owner speak? */
struct conn *session_conn(struct session *session);  /* for questions. A dialogue must have been opened before */
uint64_t session_opened_ns(struct session *session); /* as dialogue_opened_ns; 0 of a plain conn, which is open from on_open on */
int session_send(struct session *session, enum ws_opcode opcode, struct slice payload);
int session_send_parts(struct session *session, enum ws_opcode opcode, struct slice payload, unsigned parts, bool compress);
void session_close(struct session *session,
                   uint16_t code); /* with a close frame where it is open; ends a shared connection for all */
void session_leave(struct session *session, uint16_t code); /* as that, but others go on with a shared connection */
void session_drop(struct session *session);                 /* at once, no close frame */
int session_timeout_err(struct session *session, uint64_t timeout_ms, struct err *err); /* before it was open: where it was */
void session_fini(struct session *session); /* frees the dialogue; the session may be opened again */

#endif
