/* The closing handshake, looked at: how a server answers the close frame of agent/client/conn.h. */
#ifndef WSHEALTHD_CLIENT_CONN_PARTING_H
#define WSHEALTHD_CLIENT_CONN_PARTING_H

#include "agent/client/conn.h"

bool parting_take_message(struct conn *conn, const struct ws_message *message, size_t behind); /* false: not parting */
void parting_take_bytes(struct conn *conn, size_t count);       /* they have come: behind its close frame, or still before it */
void parting_lost(struct conn *conn, const struct err *err);    /* by a broken rule, or by a flood */
void parting_ended(struct conn *conn, const struct err *cause); /* of on_end */
void parting_free(struct conn *conn);
void conn_parted(struct conn *conn, bool ended, const char *remark); /* in agent/client/conn.c: lets go, and tells the owner */

#endif
