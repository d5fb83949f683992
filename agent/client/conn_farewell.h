/* The rest of the closing handshake of connections (agent/client/conn.h) that their owner has closed. */
#ifndef WSHEALTHD_CLIENT_CONN_FAREWELL_H
#define WSHEALTHD_CLIENT_CONN_FAREWELL_H

#include "agent/client/conn.h"

/* The close frame has been written: takes the stream, and gives the peer CONN_LINGER_MS to answer and to close. */
/* `shared`: see struct conn_group. */
void farewell_begin(struct conn_group *group, struct stream *stream, bool shared);

#endif
