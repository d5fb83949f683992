/* What httpd.c (serving), httpd_stream.c (answers that go on), httpd_conn.c (one connection) and httpd_room.c (which connection gives way)
 * share. Nobody else includes this. */
#ifndef WSHEALTHD_HTTP_HTTPD_IMPL_H
#define WSHEALTHD_HTTP_HTTPD_IMPL_H

#include "agent/base/budget.h"
#include "agent/base/list.h"
#include "agent/http/httpd_answer.h"
#include "agent/http/httpd_seat.h"

enum httpd_state { HTTPD_IDLE, HTTPD_READING, HTTPD_WRITING, HTTPD_WAITING, HTTPD_STREAMING };

enum { HTTPD_BATCH_BYTES = 8 << 10 /* answers are written when they come to so much, and large ones in such pieces */ };

/* One client address, and how many connections it has. */
struct holder {
    struct list node;
    size_t count;
    char name[64];
};

struct httpd {
    struct loop *loop;
    struct listener *listener;
    struct httpd_options options;
    struct list conns, turns; /* all connections; those with work for the next turn */
    struct list stream_turns; /* those whose stream may go on */
    struct list holders;
    unsigned conn_count, stream_count;
    struct seat *seats;            /* scratch, one for each connection */
    struct httpd_conn **seated;    /* the connection of each seat */
    struct buf out, headers, body; /* the answers under way */
    struct httpd_date date;
    struct timer turn, room; /* room: running while accepting has stopped */
    struct timer stream_turn;
    uint64_t turn_ms; /* libuv's time of the turn that turn_until_ns belongs to */
    uint64_t turn_until_ns;
    uint64_t shed_ms; /* when on_shed was last called */
    bool waited;      /* accepting has stopped, and no connection could be closed since */
    bool full;        /* accepting has stopped */
    unsigned full_by; /* the number of connections at that time: with one fewer there is room again */
    bool serving;     /* a handler may be running: closing waits for it */
    bool closing;
};

struct httpd_conn {
    struct list node, turn_node;
    struct httpd *httpd;
    struct stream *stream;
    struct http_reader *reader;
    struct holder *holder;
    struct timer timer;
    uint64_t due_ms, armed_ms; /* the timer may fire before due_ms: it is then set again */
    uint64_t since_ms;         /* in its state; HTTPD_WRITING: since something was last taken */
    enum httpd_state state;
    bool waiting;      /* its request is put off … */
    bool passing;      /* … as httpd_reply.passing says … */
    bool again;        /* … and the handler is to be asked again */
    uint64_t first_ms; /* … since it was first handled */
    uint64_t ask_ms;   /* … and when that is, at the latest */
    bool answered;     /* since the state was last set */
    bool proven;       /* has brought a whole request */
    bool preamble;     /* a PROXY preamble may come first */
    bool ending;       /* nothing more is answered */
    bool paused;
    bool peer_local;
    struct shared *rest; /* a large answer, or a piece of a stream, on its way, from rest_at on; NULL: none */
    size_t rest_at;
    bool streaming; /* nothing but its stream is sent to it, to the end … */
    bool chunked;   /* … in chunks */
    bool told;      /* it has been given all that there is */
    struct httpd_reader stream_reader;
    struct buf unread; /* requests that wait: for the client to take its answers, or for the next turn */
};

/* agent/http/httpd_conn.c */
struct holder *httpd_hold(struct httpd *httpd, const struct stream *stream); /* counts one more connection of its address */
void httpd_conn_arm(struct httpd_conn *conn, uint64_t now_ms);               /* the timer looks at due_ms, or before */
void httpd_conn_enter(struct httpd_conn *conn, enum httpd_state state);      /* and its deadline */
void httpd_conn_wait(struct httpd_conn *conn);                               /* until its request is handled again */
void httpd_conn_close(struct httpd_conn *conn);                              /* sends what is pending first; frees conn */
void httpd_conn_drop(struct httpd_conn *conn);                               /* with RST; frees conn */
void httpd_conn_free(struct httpd_conn *conn);                               /* its stream has been closed */

/* agent/http/httpd.c */
int httpd_flush(struct httpd_conn *conn); /* what is in `out`. -1: the connection is broken */

/* agent/http/httpd_stream.c */
void httpd_stream_begin(struct httpd_conn *conn, const struct httpd_request *request, const struct httpd_reply *reply);
int httpd_stream_push(struct httpd_conn *conn, struct budget *budget); /* -1: the connection is broken */
void httpd_stream_settle(struct httpd_conn *conn);
void httpd_stream_end(struct httpd_conn *conn); /* so that the client knows that nothing is missing; frees conn */
void httpd_on_stream_turn(struct timer *timer, void *user);

/* agent/http/httpd_room.c */
bool httpd_has_room(void *user);
void httpd_on_full(void *user);
void httpd_on_room(struct timer *timer, void *user);
void httpd_shrink_pending(struct httpd *httpd);
void httpd_bound_waiting(struct httpd *httpd, const struct httpd_conn *newest); /* ends one that waits, if there are too many */
void httpd_bound_streams(struct httpd *httpd, const struct httpd_conn *newest); /* ends a stream, if there are too many */

#endif
