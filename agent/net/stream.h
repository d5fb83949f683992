/*
 * One transport: TCP, unix sockets and TLS over both look alike. A stream is made by a dial (agent/net/dial.h) or a listener
 * (agent/net/listen.h) and belongs to the receiver of its on_open or on_accept callback, until stream_close or stream_abort. After
 * these no callback comes, the owner must not use the pointer, and libuv's last close callback frees the memory.
 *
 * Async contract: callbacks never run inside a call into this module. on_end comes at most once; after it only closing is left.
 */
#ifndef WSHEALTHD_NET_STREAM_H
#define WSHEALTHD_NET_STREAM_H

#include "agent/base/err.h"
#include "agent/base/slice.h"
#include "agent/net/loop.h"
#include "agent/net/tls.h"

struct stream;
struct trace_tcp;

struct stream_events {
    /* Bytes from the peer, valid during the call only (they lie in the loop's slab). The callback may close the stream. */
    void (*on_data)(void *user, struct slice data);
    /* The peer is done: err->reason is REASON_NONE for a clean end (FIN, close_notify), REASON_CONNECTION_RESET for a reset,
     * REASON_TLS_HANDSHAKE_FAILED for broken TLS records, REASON_TLS_CLIENT_CERT_REJECTED where a TLS 1.3 server says so only now; err->text
     * says it. A TLS peer that closes without close_notify counts as a clean end, and the text tells. What was written and is still
     * pending may be lost or not. The stream is still to be closed by its owner. */
    void (*on_end)(void *user, const struct err *err);
    /* Everything written has gone to the kernel, after stream_write had to keep some. May be NULL. */
    void (*on_drain)(void *user);
};

/* Sets the callbacks and starts reading. A stream that was just handed over is not read before this. A later owner calls it again
 * and gets all further bytes, even if the old owner had paused the stream. */
void stream_start(struct stream *stream, const struct stream_events *events, void *user);
/* Any stream is read at most once in a turn of the loop, so that a peer that never stops sending cannot keep the others waiting.
 * For a target's stream that is not enough, as its bytes are costly (they are inflated and matched). Streams that take turns get
 * LOOP_TURN_BYTES at a time and LOOP_TURN_US together, and each is read once before any is read again. */
void stream_take_turns(struct stream *stream);
size_t stream_unread(const struct stream *stream); /* bytes that have come and were not handed out, as far as is known */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);
/* Writes at once what the kernel takes and keeps the rest (copied). 0, or -1 and nothing of data is taken: when what is pending and data
 * together are more than max_pending bytes (whatever the kernel would take now), or when the stream is broken (then on_end is coming or
 * has come; a paused stream hears of it when it is resumed). */
enum { STREAM_PENDING_DEFAULT = 1 << 20 };
int stream_write(struct stream *stream, struct slice data);
void stream_set_max_pending(struct stream *stream, uint32_t bytes); /* at most 1 GiB */
void stream_set_read_max(struct stream *stream,
                         uint32_t bytes);   /* the most that one on_data brings; by default LOOP_SLAB_BYTES. Not for TLS */
void stream_unbound(struct stream *stream); /* removes the listener's bound on unsent bytes in the kernel (unsent_bytes) */
void stream_set_unacked_ms(struct stream *stream,
                           uint32_t ms); /* a peer that confirms nothing of what was sent for so long is gone. TCP only */
size_t stream_pending(const struct stream *stream);
/* Sends what is pending, close_notify and FIN, then closes when the peer has closed too; a peer that has not within linger_ms is dropped.
 * What it still sends meanwhile is thrown away. With linger_ms 0 the handle closes at once, and what the kernel has not taken is lost. */
void stream_close(struct stream *stream, uint32_t linger_ms);
void stream_abort(struct stream *stream);     /* at once, with RST where the kernel knows one (SO_LINGER 0) */
void stream_close_now(struct stream *stream); /* at once and without close_notify; without RST where nothing is unread */

/* For a stream whose peer has nothing to say any more but its end: the loop is not woken for it, which costs more than the rest of a short
 * connection's end. stream_has_ended then asks the kernel, and stream_start goes back to callbacks. False: not for this one, which has TLS,
 * HTTP/2 or something unsent. */
bool stream_set_aside(struct stream *stream);
/* Reads and throws away what has come, LOOP_SLAB_BYTES at most, whose length is added to *bytes. Has the peer ended, or the connection
 * broken? */
bool stream_has_ended(struct stream *stream, size_t *bytes);

bool stream_is_tls(const struct stream *stream);
void stream_tls_info(const struct stream *stream, struct tls_info *info); /* zeroed for plain ones */
/* The peer's address as text ("127.0.0.1", "::1", "unix"); whether it is loopback or a unix socket. */
void stream_peer(const struct stream *stream, char *out, size_t size);
/* What the kernel knows of the connection; all zero where it is none of TCP. */
void stream_tcp(const struct stream *stream, struct trace_tcp *out);
bool stream_peer_local(const struct stream *stream);
struct loop *stream_loop(const struct stream *stream);

#endif
