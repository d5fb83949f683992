/* See agent/client/session.h: the one place that tells a plain connection from a dialogue. Called by agent/core/talk.c and by probes. */
#include "agent/client/session.h"

bool session_must_speak(const struct target_conf *target, const struct share *share)
{
    return share || dialogue_needed(target);
}

void session_init(struct session *session, bool speaks)
{
    session->speaks = speaks;
}

int session_open(struct session *session, const struct conn_options *options, const char *id, const struct session_events *events,
                 void *user, struct conn_report *report, struct err *err)
{
    struct conn_options own = *options;

    if (!session->speaks)
        return conn_open(&session->conn, options, &events->conn, user, report, err);
    own.ignores_messages = false;
    if (!session->dialogue)
        session->dialogue = dialogue_new(user, &events->dialogue);
    return dialogue_open(session->dialogue, &own, options->target->dialect, id, report, err);
}

bool session_is_open(const struct session *session)
{
    if (session->speaks)
        return session->dialogue && dialogue_is_ready(session->dialogue);
    return conn_is_open(&session->conn);
}

struct conn *session_conn(struct session *session)
{
    return session->speaks ? dialogue_conn(session->dialogue) : &session->conn;
}

uint64_t session_opened_ns(struct session *session)
{
    return session->speaks ? dialogue_opened_ns(session->dialogue) : 0;
}

int session_send(struct session *session, enum ws_opcode opcode, struct slice payload)
{
    return session->speaks ? dialogue_send(session->dialogue, opcode, payload) : conn_send(&session->conn, opcode, payload);
}

int session_send_parts(struct session *session, enum ws_opcode opcode, struct slice payload, unsigned parts, bool compress)
{
    return session->speaks ? dialogue_send_parts(session->dialogue, opcode, payload, parts, compress)
                           : conn_send_parts(&session->conn, opcode, payload, parts, compress);
}

void session_close(struct session *session, uint16_t code)
{
    if (session->speaks) {
        if (session->dialogue)
            dialogue_close(session->dialogue, code);
    } else if (conn_is_open(&session->conn)) {
        conn_close(&session->conn, code, "");
    } else {
        conn_drop(&session->conn);
    }
}

void session_leave(struct session *session, uint16_t code)
{
    if (!session->speaks)
        session_close(session, code);
    else if (session->dialogue)
        dialogue_leave(session->dialogue);
}

void session_drop(struct session *session)
{
    if (!session->speaks)
        conn_drop(&session->conn);
    else if (session->dialogue)
        dialogue_drop(session->dialogue);
}

int session_timeout_err(struct session *session, uint64_t timeout_ms, struct err *err)
{
    return session->speaks ? dialogue_timeout_err(session->dialogue, timeout_ms, err)
                           : conn_timeout_err(&session->conn, timeout_ms, err);
}

void session_fini(struct session *session)
{
    if (!session->speaks) {
        conn_drop(&session->conn);
        return;
    }
    if (session->dialogue)
        dialogue_free(session->dialogue);
    session->dialogue = NULL;
}
