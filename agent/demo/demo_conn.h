/* One connection of the demo's server. Shared by demo_server.c (accepting, the upgrade) and demo_conn.c (messages); nobody else
 * includes this. */
#ifndef WSHEALTHD_DEMO_DEMO_CONN_H
#define WSHEALTHD_DEMO_DEMO_CONN_H

#include "agent/base/list.h"
#include "agent/demo/demo_faults.h"
#include "agent/net/stream.h"
#include "agent/proto/http1.h"
#include "agent/proto/ws.h"

struct demo_conn {
    struct list node;
    const demo_fault_set *faults; /* the server's */
    unsigned *count;              /* of the server's connections */
    struct stream *stream;
    struct http_reader *http; /* NULL once upgraded */
    struct ws_reader ws;
    struct deflater *deflater; /* from the first compressed echo on */
    struct timer deadline;     /* for the request, for drop-200ms, for the peer's close frame */
    struct timer chat;         /* the next message without a request */
    struct timer delay;        /* sends what lies in `waiting` */
    struct buf waiting;
    uint32_t said; /* messages sent without a request */
    bool upgraded, pushes, closing;
    bool deaf; /* reads nothing more and sends nothing more */
};

static inline bool demo_conn_has(const struct demo_conn *conn, enum demo_fault fault)
{
    return (*conn->faults & DEMO_FAULT_BIT(fault)) != 0;
}

/* These return false when the connection is gone, and its memory with it. */
bool demo_conn_send(struct demo_conn *conn, struct slice bytes);
bool demo_conn_upgraded(struct demo_conn *conn, const struct deflate_params *deflate); /* from here on it is a WebSocket */
bool demo_conn_data(struct demo_conn *conn, struct slice data);
bool demo_conn_say(struct demo_conn *conn, struct slice body); /* a message from the broker */
bool demo_conn_apply(struct demo_conn *conn);                  /* the faults have changed */

void demo_conn_drop(struct demo_conn *conn);  /* closes TCP without a close frame */
void demo_conn_leave(struct demo_conn *conn); /* sends what is pending, then closes TCP */

#endif
