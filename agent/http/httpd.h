/*
 * A small HTTP/1.1 server for answers from memory. A handler may put a request off, until what it asks about changes, or begin a stream: an
 * answer that goes on for as long as there is news. The health listener (agent/http/serve.c) and the admin socket (agent/http/admin.c) are
 * handlers on it. Clients may be hostile: connections, header bytes, request time and idle time have limits.
 */
#ifndef WSHEALTHD_HTTP_HTTPD_H
#define WSHEALTHD_HTTP_HTTPD_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/shared.h"
#include "agent/net/listen.h"
#include "agent/proto/http1.h"

struct httpd_request {
    struct slice method, path, query; /* path without the query, percent-encoding left as it is */
    const struct http_head *head;
    struct slice body;
    bool peer_local;    /* the client is on loopback or a unix socket; with a PROXY preamble, the client that it names too */
    bool again;         /* the handler has put this request off before (wait_ms) */
    uint64_t waited_ms; /* since it was first handled; 0 then */
};
struct httpd_reply {
    int status;
    const char *content_type;
    struct buf *headers; /* further header lines, each ended by \r\n */
    struct buf *body;
    struct shared *shared; /* instead of body: a text that several answers share. The server takes over this one reference */
    /* Not 0: there is no answer yet. The handler is asked again after this time, or at httpd_wake. What it has written into headers and
     * body is thrown away. A client that closes its side meanwhile is closed. Needs max_waiting. */
    uint32_t wait_ms;
    bool
        passing; /* with wait_ms: nobody has to be answered before the server closes, and the first to be ended where too many wait */
    /* The answer is a stream (httpd_options.next): status, content_type and headers are sent, and body is thrown away. A HEAD gets the same
     * headers and no stream. Needs max_streams. */
    bool stream;
    unsigned topic;
};
/* Who reads a stream, and how far. */
struct httpd_reader {
    unsigned topic;  /* as the handler has set it */
    bool peer_local; /* as in the request */
    unsigned look;   /* these three are for `next`, and 0 at first */
    uint64_t at, tick;
};
/* The handler sets status, content_type and body. An empty body becomes the status in words, unless the status is 200. Answers go
 * out with Date, Content-Length and Cache-Control: no-store; HEAD is answered like GET, without the body.
 *
 * The value of a query parameter ("?timeout=2s&x"), copied and cut to size; false where it is absent. A parameter without = is "". */
bool httpd_query(const struct httpd_request *request, const char *name, char *out, size_t size);

struct httpd_options {
    /* With more clients, one connection is closed for the next (agent/http/httpd_seat.h). New clients are not refused: they wait in
     * the kernel until there is room. */
    unsigned max_connections;
    /* Of all answers that wait for their readers. With more, the client that has stalled longest is dropped. */
    size_t max_pending_bytes;
    /* Clients whose request is put off. With more, the one that has waited longest is closed, of the address with the most connections. */
    unsigned max_waiting;
    /* Clients that read streams. With more, the one that has read for longest is ended, of the address with the most connections: a new reader
     * is answered, and who is ended comes back if it wants to. */
    unsigned max_streams;
    /* The next piece of this reader's stream, of which one reference is given away, or NULL: there is none until httpd_news. Asked only when
     * the reader has taken the last piece, so that nothing is kept for one that does not read: who has missed something is given what makes
     * up for it. A reader that takes nothing for request_timeout_ms is dropped. */
    struct shared *(*next)(void *user, struct httpd_reader *reader);
    /* For a whole request (408 when it is over), for reading an answer (dropped), for the first byte of a new client (closed). */
    uint32_t request_timeout_ms;
    uint32_t idle_timeout_ms; /* between requests on a kept connection */
    size_t max_head_bytes;    /* 431 */
    size_t max_body_bytes;    /* 413 */
    /* May a connection begin with a PROXY preamble, version 1 or 2? Connections without one are served too. NULL: no */
    bool (*proxy_protocol)(void *user);
    void (*handle)(void *user, const struct httpd_request *request, struct httpd_reply *reply); /* reply starts as 404 */
    void (*on_shed)(void *user); /* a connection was closed to make room; called at most once in ten seconds; may be NULL */
    void (*fini)(void *user);    /* the server is freed and user may be freed; may be NULL. Not called when httpd_open fails */
    void *user;
};
struct httpd;
struct httpd *httpd_open(struct loop *loop, const struct listen_address *address, const struct listen_options *listen,
                         const struct httpd_options *options, struct err *err);
void httpd_close(struct httpd *httpd); /* finishes what is being written, bounded by 500 ms; frees itself. Handlers may call it */
void httpd_wake(
    struct httpd *httpd); /* the handler is asked again for each request that was put off, in the next turn of the loop */
unsigned httpd_waiting(
    const struct httpd *httpd);       /* requests that are put off and have to be answered: not those that are `passing` */
void httpd_news(struct httpd *httpd); /* `next` is asked for each reader, in the next turns of the loop */
unsigned httpd_streams(const struct httpd *httpd); /* clients that read streams */
uint16_t httpd_port(const struct httpd *httpd);
bool httpd_lost(const struct httpd *httpd); /* the file of its unix socket is no longer there */

#endif
