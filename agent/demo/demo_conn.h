/* One connection of the demo's server. Between agent/demo/demo_server.c (accepting, the upgrade) and agent/demo/demo_conn.c (messages) only. */
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
    struct timer chat;         /* the next message that nobody asked for */
    struct timer late;         /* when what lies in `waiting` goes out */
    struct buf waiting;
    uint32_t said; /* messages that nobody asked for */
    bool upgraded, pushes, closing;
    bool deaf; /* reads nothing more, says nothing more */
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

void demo_conn_drop(struct demo_conn *conn);  /* closes TCP, with no word */
void demo_conn_leave(struct demo_conn *conn); /* likewise, behind what is still to be sent */

#endif
