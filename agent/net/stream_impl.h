/*
 * Inside of the net layer: what streams, dials, listeners and TLS know of each other. Nobody above includes this. stream.c,
 * stream_out.c, stream_tls.c and stream_h2.c are one module in four files, and call each other: reading, writing and TLS of one connection end
 * together.
 *
 * A held connection may cost 512 bytes in all, so a stream holds only what every connection needs. The rest is behind pointers that
 * are usually NULL: the outbox (the kernel did not take everything, or the stream is closing), TLS and HTTP/2.
 */
#ifndef WSHEALTHD_NET_STREAM_IMPL_H
#define WSHEALTHD_NET_STREAM_IMPL_H

#include <stddef.h>

#include "agent/base/trace.h"
#include "agent/net/stream.h"

/* Bytes that the kernel has not taken. `flight` is lent to libuv and must not move; later bytes are gathered in `next`. */
struct outbox {
    uv_write_t req;
    uint8_t *flight;
    size_t flight_len; /* 0: nothing is in flight */
    uint8_t *next;
    size_t next_len, next_cap;
    struct timer linger; /* running while the stream is closing */
};

struct tls_link;
struct h2_link;

struct stream {
    const struct stream_events *events; /* their user is uv.handle.data */
    struct outbox *outbox;
    struct tls_link *tls;
    struct h2_link *h2;
    uint32_t max_pending;
    uint8_t broken; /* the errno that writing met first */
    uint8_t seen;   /* the turn of the loop in which it was read last, or the round where it takes turns: the lowest bits */
    uint8_t read_kib;
    bool is_open : 1; /* connected or accepted */
    bool started : 1; /* stream_start was called */
    bool paused : 1;
    bool ended : 1;   /* the peer has ended, and on_end was called if the stream had been started */
    bool closing : 1; /* its owner has closed it */
    bool lingers : 1; /* counted in loop->lingering */
    bool takes_turns : 1;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv; /* last: a TCP stream has no memory for what only pipes have more */
};

enum { STREAM_TCP_BYTES = offsetof(struct stream, uv) + sizeof(uv_tcp_t) };

/* agent/net/stream_pool.c: memory of a TCP stream, zeroed. */
void *stream_place_take(struct loop *loop);
void stream_place_give(struct loop *loop, void *place);

static inline struct stream *stream_of(void *handle)
{
    return (struct stream *)(void *)((char *)handle - offsetof(struct stream, uv));
}

static inline void *stream_user(const struct stream *stream)
{
    return stream->uv.handle.data;
}

/* Not connected yet. For the dial's connect requests, with a socket of that family, and for accepted descriptors (AF_UNSPEC, AF_UNIX), which
 * it then owns; 0 or libuv's error. */
struct stream *stream_new(struct loop *loop, int family);
/* Off: the kernel does not acknowledge by itself at once, but with what is written soon. */
void stream_quick_ack(struct stream *stream, bool on);
int stream_adopt(struct stream *stream, int fd);
void stream_opened(struct stream *stream);

void stream_read_on(struct stream *stream);
void stream_read_off(struct stream *stream);
/* Call on_data with bytes of the peer, and on_end. */
void stream_deliver(struct stream *stream, struct slice data);
void stream_end(struct stream *stream, enum reason reason, int code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void stream_kill(struct stream *stream); /* closes the handle; the memory goes with its callback */
void stream_fin(struct stream *stream);  /* closing, and everything is with the kernel */
int stream_send_record(struct stream *stream, const void *data, size_t len); /* of TLS, whose overhead does not count */
struct outbox *stream_outbox(struct stream *stream);
bool stream_flushed(const struct stream *stream);
size_t stream_wire_pending(const struct stream *stream);         /* without what waits for HTTP/2 */
int stream_wire_write(struct stream *stream, struct slice data); /* beneath HTTP/2, over TLS where there is TLS */
bool stream_wants_data(const struct stream *stream);             /* may bytes be delivered now? */

/* agent/net/stream_tls.c. The handshake over a connected stream; name is for SNI and verification, alpn is what is offered (RFC 7301, 3.1;
 * NULL: nothing). on_done comes at most once, with NULL
 * when it is done, and not inside this call. -1: it could not even begin. */
int stream_tls_begin(struct stream *stream, struct tls_context *context, const char *name, const char *alpn,
                     void (*on_done)(void *user, const struct err *err), void *user, struct err *err);
/* agent/net/tls_trace.c: version, cipher, certificates. */
void stream_tls_trace(const struct stream *stream, struct trace *trace, const struct trace_by *by);
bool stream_tls_answered(const struct stream *stream); /* has the peer sent anything that looks like TLS? */
void stream_tls_feed(struct stream *stream, const uint8_t *data, size_t len);
void stream_tls_eof(struct stream *stream, int status); /* libuv's error, UV_EOF for a FIN */
int stream_tls_write(struct stream *stream, struct slice data);
/* Bytes that came while the stream was paused are waiting; they are delivered in the next turn, and reading goes on after them. */
bool stream_tls_resume(struct stream *stream);
void stream_tls_pause(struct stream *stream);
void stream_tls_bye(struct stream *stream); /* close_notify */
void stream_tls_free(struct stream *stream);
size_t stream_tls_unread(const struct stream *stream); /* of what came while it was paused */

/* agent/net/stream_h2.c. What the peer has sent; what goes out; a peer that has ended, and why (err is changed); the outbox is empty. */
void stream_h2_feed(struct stream *stream, struct slice data);
int stream_h2_write(struct stream *stream, struct slice data);
void stream_h2_explain(const struct stream *stream, struct err *err);
void stream_h2_drained(struct stream *stream);
bool stream_h2_resume(struct stream *stream); /* as stream_tls_resume */
size_t stream_h2_pending(const struct stream *stream);
size_t stream_h2_unread(const struct stream *stream);
void stream_h2_bye(struct stream *stream);  /* GOAWAY */
void stream_h2_stop(struct stream *stream); /* no callback comes any more */
void stream_h2_free(struct stream *stream);

#endif
