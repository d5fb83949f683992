/*
 * A WebSocket connection in a trace (agent/base/trace.h): heads, each frame in both directions, how it ended. For the files of
 * agent/client/conn.h; every function does nothing for a connection that nobody records.
 *
 * A message is shown once it is whole, on the line of its last frame: what is secret may be cut anywhere by frames.
 */
#ifndef WSHEALTHD_CLIENT_CONN_TRACE_H
#define WSHEALTHD_CLIENT_CONN_TRACE_H

#include "agent/client/conn.h"

struct h2_header;
struct http_head;

void conn_trace_begin(struct conn *conn, struct trace *trace); /* NULL: nobody records */
unsigned conn_trace_number(const struct conn *conn);
bool conn_trace_wants_all(const struct conn *conn); /* also messages that nobody else looks at */
void conn_trace_free(struct conn *conn);
void conn_trace_request(struct conn *conn, struct slice text);
void conn_trace_settings(struct conn *conn, bool sent,
                         bool connects); /* of HTTP/2: ours, and whether the server's allow RFC 8441 */
void conn_trace_fields(struct conn *conn, const struct h2_header *fields, size_t count); /* the same of HTTP/2 */
void conn_trace_answer(struct conn *conn, const struct http_head *head);
void conn_trace_body(struct conn *conn, struct slice body);
void conn_trace_bytes(struct conn *conn, struct slice data); /* of an answer that is not whole, or is none of HTTP */
/* What the reader has eaten: the frames that end there; message: the one that the last of them completes, or NULL. */
void conn_trace_eaten(struct conn *conn, struct slice eaten, const struct ws_message *message);
void conn_trace_broken(struct conn *conn, const struct err *err); /* the frame that begins behind these breaks a rule */
void conn_trace_sent(struct conn *conn, struct slice frames, struct slice message); /* whole frames, and what they say together */
void conn_trace_closing(struct conn *conn, struct slice frame, uint16_t code, const char *text);
/* A message of a connection that several checks share, in the trace of one of them. */
void conn_trace_shared(struct trace *trace, enum trace_mark mark, enum ws_opcode opcode, struct slice message);
void conn_trace_ended(struct conn *conn, const struct err *cause); /* of on_end */
void conn_trace_look(struct conn *conn);                           /* the last figures of the kernel's, before the stream goes */

#endif
