/*
 * What an open connection (agent/client/conn.h) makes of the bytes that come: agent/client/conn_intake.c cuts them into slices of time and
 * answers pings, agent/client/conn.c knows what a message means for the connection.
 */
#ifndef WSHEALTHD_CLIENT_CONN_INTAKE_H
#define WSHEALTHD_CLIENT_CONN_INTAKE_H

#include "agent/client/conn.h"

/* Bytes of the open connection: messages come of them, now and in later turns of the loop. */
void conn_take_frames(struct conn *conn, struct slice data, uint64_t received_ns);
void conn_drop_rest(struct conn *conn); /* what was put off */

/* conn.c: any message but a ping, and how many bytes came behind it at once. False: the connection is gone. */
bool conn_take_message(struct conn *conn, const struct ws_message *message, size_t behind, uint64_t received_ns);
/* conn.c: over by the peer's doing, but it is owed our close frame, and time to read it. */
void conn_lost_politely(struct conn *conn, uint16_t code, const struct err *err);

#endif
