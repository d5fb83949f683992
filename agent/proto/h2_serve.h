/*
 * HTTP/2 (RFC 9113) for a small server: bytes in, bytes out, callbacks; no sockets. The framing is libnghttp2's, which is opened at run time.
 * One struct h2_serve is one connection that begins with the client's preface (prior knowledge, no upgrade from HTTP/1.1); a struct
 * h2_call is one request on it, and lives until on_over or the connection's end.
 *
 * What a client can claim has a bound: H2_CALLS_MAX requests at a time, a head of H2_CALL_HEAD_MAX bytes, a body of H2_CALL_BODY_MAX, and
 * frames without content as for the client (agent/proto/h2.h). Callbacks come inside h2_serve_feed and h2_serve_output only, and none may
 * free the h2_serve.
 */
#ifndef WSHEALTHD_PROTO_H2_SERVE_H
#define WSHEALTHD_PROTO_H2_SERVE_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/list.h"
#include "agent/proto/h2.h"

enum { H2_CALLS_MAX = 32, H2_CALL_HEAD_MAX = 8192, H2_CALL_BODY_MAX = 4096, H2_CALL_TEXT_MAX = 256, H2_ANSWER_HEADERS_MAX = 8 };

struct h2_serve;
struct h2_call {
    struct list node; /* of h2_serve_calls */
    struct h2_serve *h2;
    int32_t id;
    /* What was asked; longer texts are cut. */
    char method[16], path[H2_CALL_TEXT_MAX], content_type[64];
    struct buf body;
    bool too_large; /* the head or the body was: what is above is not whole */
    void *user;     /* the owner's */
    /* --- inner --- */
    struct buf out;
    size_t head_bytes;
    bool asked, deferred, finished, over;
    struct h2_header trailers[H2_ANSWER_HEADERS_MAX];
    size_t trailer_count;
};

struct h2_serve_events {
    void (*on_call)(void *user, struct h2_call *call); /* the whole request is here: answer now or later */
    void (*on_over)(void *user, struct h2_call *call); /* answered, or the client gave up; the call is freed behind it */
    void (*on_pong)(void *user);                       /* the answer to h2_serve_ping; may be NULL */
};

struct h2_serve *h2_serve_new(const struct h2_serve_events *events, void *user, struct err *err); /* NULL: as h2_available */
void h2_serve_free(struct h2_serve *h2);                                                          /* without on_over */
/* Bytes of the client. -1: the connection is over; err is http_malformed or flood. */
int h2_serve_feed(struct h2_serve *h2, struct slice data, struct err *err);
bool h2_serve_output(struct h2_serve *h2, struct slice *out); /* the next bytes to send, valid until the next call */
bool h2_serve_is_over(const struct h2_serve *h2); /* nothing more will come or go: ask when h2_serve_output has no more */
struct list *h2_serve_calls(struct h2_serve *h2); /* the open ones, by h2_call.node */
void h2_serve_ping(struct h2_serve *h2);
void h2_serve_end(struct h2_serve *h2); /* GOAWAY with NO_ERROR: new calls are refused, open ones are cut */

/* The head of an answer, ":status" first. Then h2_call_write, and h2_call_finish with the trailers. Names and values must last until the
 * call is over: literals. */
void h2_call_respond(struct h2_call *call, const struct h2_header *headers, size_t count);
void h2_call_write(struct h2_call *call, struct slice data);
size_t h2_call_pending(const struct h2_call *call); /* bytes that wait for the client */
void h2_call_finish(struct h2_call *call, const struct h2_header *trailers, size_t count);
/* A whole answer that is a head only. */
void h2_call_refuse(struct h2_call *call, const struct h2_header *headers, size_t count);

#endif
