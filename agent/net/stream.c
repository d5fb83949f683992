/*
 * The life of a stream: reading, ending, closing. Owns the libuv handle; agent/net/stream_out.c writes, agent/net/stream_tls.c puts TLS
 * over it. Dials and listeners make streams, everything above uses them.
 *
 * Promises that no callback runs inside a call, that none comes after a close, and that the last close callback frees the memory.
 */
#include "agent/net/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/base/mem.h"
#include "agent/net/stream_impl.h"
#include "agent/net/tcp_view.h"

struct stream *stream_new(struct loop *loop, int family)
{
    struct stream *stream = family == AF_UNIX ? mem_alloc(sizeof *stream) : stream_place_take(loop);
    if (family == AF_UNIX) {
        uv_pipe_init(&loop->uv, &stream->uv.pipe, 0);
    } else {
        if (family == AF_UNSPEC || uv_tcp_init_ex(&loop->uv, &stream->uv.tcp, (unsigned)family) != 0)
            uv_tcp_init(&loop->uv, &stream->uv.tcp); /* connecting makes the socket, or says why it cannot */
        uv_tcp_nodelay(&stream->uv.tcp, 1);          /* set when the socket is made */
    }
    stream->max_pending = STREAM_PENDING_DEFAULT;
    stream->read_kib = LOOP_SLAB_BYTES >> 10;
    return stream;
}

int stream_adopt(struct stream *stream, int fd)
{
    int status = stream->uv.handle.type == UV_TCP ? uv_tcp_open(&stream->uv.tcp, fd) : uv_pipe_open(&stream->uv.pipe, fd);
    if (status == 0)
        stream_opened(stream);
    return status;
}

void stream_opened(struct stream *stream)
{
    stream->is_open = true;
}

void stream_quick_ack(struct stream *stream, bool on)
{
    uv_os_fd_t fd;
    int value = on;
    if (stream->uv.handle.type == UV_TCP && uv_fileno(&stream->uv.handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &value, sizeof value);
}

void stream_set_read_max(struct stream *stream, uint32_t bytes)
{
    panic_if(bytes == 0 || bytes > LOOP_SLAB_BYTES || bytes % 1024);
    stream->read_kib = (uint8_t)(bytes >> 10);
}

void stream_unbound(struct stream *stream)
{
    uv_os_fd_t fd;
    int all = INT_MAX;
    if (stream->is_open && stream->uv.handle.type == UV_TCP && uv_fileno(&stream->uv.handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &all, sizeof all);
}

void stream_set_unacked_ms(struct stream *stream, uint32_t ms)
{
    uv_os_fd_t fd;
    unsigned timeout_ms = ms;
    if (stream->is_open && stream->uv.handle.type == UV_TCP && uv_fileno(&stream->uv.handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

/* May the stream be read in this turn? If not, the kernel keeps the bytes, and epoll reports them again in the next turn. */
static bool claim_turn(struct stream *stream, struct loop *loop)
{
    uint8_t now = (uint8_t)(stream->takes_turns ? loop->round : loop->turn);
    if (stream->seen ==
        now) /* or it was read so many turns ago that the number is the same: then it waits for the next turn once */
        return false;
    if (stream->takes_turns && loop->read_ns >= (uint64_t)LOOP_TURN_US * 1000) {
        loop->refused = true;
        return false;
    }
    stream->seen = now;
    return true;
}

/* Without a buffer libuv reads nothing and calls on_read with UV_ENOBUFS. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct loop *loop = handle->loop->data;
    struct stream *stream = stream_of(handle);
    loop_woke(loop);
    bool may = claim_turn(stream, loop);
    *buf = uv_buf_init(may ? (char *)loop->slab : NULL, may ? (unsigned)stream->read_kib << 10 : 0);
}

void stream_take_turns(struct stream *stream)
{
    stream->takes_turns = true;
    stream_set_read_max(stream, LOOP_TURN_BYTES);
}

size_t stream_unread(const struct stream *stream)
{
    uv_os_fd_t fd;
    int waiting = 0;
    if (uv_fileno(&stream->uv.handle, &fd) != 0 || ioctl(fd, FIONREAD, &waiting) != 0 || waiting < 0)
        waiting = 0;
    return (size_t)waiting + stream_tls_unread(stream) + stream_h2_unread(stream);
}

void stream_deliver(struct stream *stream, struct slice data)
{
    if (stream->h2)
        stream_h2_feed(stream, data);
    else
        stream->events->on_data(stream_user(stream), data);
}

bool stream_wants_data(const struct stream *stream)
{
    return stream->started && !stream->paused && !stream->ended && !stream->closing;
}

void stream_end(struct stream *stream, enum reason reason, int code, const char *fmt, ...)
{
    struct err err;
    va_list args;
    va_start(args, fmt);
    err_vset(&err, reason, code, fmt, args);
    va_end(args);
    if (stream->h2)
        stream_h2_explain(stream, &err);
    stream->ended = true;
    stream_read_off(stream);
    if (!stream->closing && stream->started)
        stream->events->on_end(stream_user(stream), &err);
}

static void end_plain(struct stream *stream, int status)
{
    /* A write has got the ECONNRESET already, so reading gives an end of file. */
    if (status == UV_EOF && stream->broken == ECONNRESET)
        status = UV_ECONNRESET;
    if (status == UV_EOF)
        stream_end(stream, REASON_NONE, 0, "the peer closed the connection");
    else if (status == UV_ECONNRESET)
        stream_end(stream, REASON_CONNECTION_RESET, ECONNRESET, "the peer reset the connection");
    else
        stream_end(stream, REASON_CONNECTION_RESET, -status, "the connection was lost: %s", uv_strerror(status));
}

/* Reads and drops the bytes of a closing stream. If they stayed unread, closing would send a RST, and the peer could lose our last
 * bytes. */
static void read_lingering(struct stream *stream, ssize_t got)
{
    if (got > 0)
        return;
    if (got == UV_EOF && !stream_flushed(stream)) {
        stream->ended = true;
        stream_read_off(stream);
        return;
    }
    stream_kill(stream);
}

static void take_read(struct stream *stream, ssize_t got, const uv_buf_t *buf)
{
    if (stream->closing)
        read_lingering(stream, got);
    else if (got < 0 && stream->tls)
        stream_tls_eof(stream, (int)got);
    else if (got < 0)
        end_plain(stream, (int)got);
    else if (stream->tls)
        stream_tls_feed(stream, (const uint8_t *)buf->base, (size_t)got);
    else
        stream_deliver(stream, slice_make(buf->base, (size_t)got));
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buf)
{
    struct stream *stream = stream_of(handle);
    struct loop *loop = handle->loop->data;
    if (got == 0 || (got == UV_ENOBUFS && !buf->base))
        return;
    uint64_t began_ns = uv_hrtime();
    bool takes_turns = stream->takes_turns;
    take_read(stream, got, buf);
    if (takes_turns)
        loop->read_ns += uv_hrtime() - began_ns;
}

void stream_read_on(struct stream *stream)
{
    uv_read_start(&stream->uv.stream, on_alloc, on_read);
}

void stream_read_off(struct stream *stream)
{
    uv_read_stop(&stream->uv.stream);
}

void stream_start(struct stream *stream, const struct stream_events *events, void *user)
{
    panic_if(stream->closing || !stream->is_open);
    bool reads = stream->started && !stream->paused;
    stream->events = events;
    stream->uv.handle.data = user;
    stream->started = true;
    if (!reads)
        stream_resume(stream);
}

void stream_pause(struct stream *stream)
{
    panic_if(stream->closing);
    stream->paused = true;
    stream_read_off(stream);
    if (stream->tls)
        stream_tls_pause(stream);
}

void stream_resume(struct stream *stream)
{
    panic_if(stream->closing || !stream->started);
    stream->paused = false;
    if (stream->ended || (stream->h2 && stream_h2_resume(stream)) || (stream->tls && stream_tls_resume(stream)))
        return;
    stream_read_on(stream);
}

/* libuv would take a descriptor out of the kernel's set only when something has come for it, and the set would wake the loop for that. */
bool stream_set_aside(struct stream *stream)
{
    uv_os_fd_t fd;
    struct epoll_event ignored = { 0 };
    panic_if(stream->closing || !stream->is_open);
    if (stream->tls || stream->h2 || stream->ended || stream->broken || !stream_flushed(stream) ||
        uv_fileno(&stream->uv.handle, &fd) != 0)
        return false;
    stream->paused = stream->started = true;
    stream_read_off(stream);
    epoll_ctl(uv_backend_fd(stream->uv.handle.loop), EPOLL_CTL_DEL, fd, &ignored); /* where it fails, it was not in there */
    return true;
}

bool stream_has_ended(struct stream *stream, size_t *bytes)
{
    uv_os_fd_t fd;
    ssize_t got = 0;
    if (uv_fileno(&stream->uv.handle, &fd) != 0)
        return true;
    for (size_t most = LOOP_SLAB_BYTES; most > 0; most -= (size_t)got) {
        got = recv(fd, stream_loop(stream)->slab, most, MSG_DONTWAIT);
        if (got <= 0)
            return got == 0 || (errno != EAGAIN && errno != EINTR);
        *bytes += (size_t)got;
    }
    return false;
}

/* --- closing -------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = stream_of(handle);
    if (stream->outbox) {
        mem_free(stream->outbox->flight);
        mem_free(stream->outbox->next);
        mem_free(stream->outbox);
    }
    if (stream->h2)
        stream_h2_free(stream);
    if (stream->tls)
        stream_tls_free(stream);
    if (handle->type == UV_TCP)
        stream_place_give(handle->loop->data, stream);
    else
        mem_free(stream);
}

void stream_kill(struct stream *stream)
{
    stream->closing = true;
    if (stream->h2)
        stream_h2_stop(stream);
    stream_loop(stream)->lingering -= stream->lingers;
    if (stream->outbox)
        timer_stop(&stream->outbox->linger);
    uv_close(&stream->uv.handle, on_closed);
}

static void on_linger_over(struct timer *timer, void *user)
{
    (void)timer;
    stream_kill(user);
}

/* Sends FIN and waits for the peer's. If the socket were closed at once, bytes that still arrive would be answered with RST, and a
 * RST may destroy what the peer has not read yet. */
void stream_fin(struct stream *stream)
{
    uv_os_fd_t fd;
    if (stream->ended || uv_fileno(&stream->uv.handle, &fd) != 0 || shutdown(fd, SHUT_WR) != 0)
        stream_kill(stream);
}

void stream_close(struct stream *stream, uint32_t linger_ms)
{
    panic_if(stream->closing);
    if (stream->h2)
        stream_h2_bye(stream);
    if (stream->tls && stream->broken == 0)
        stream_tls_bye(stream);
    stream->closing = true;
    if (!stream->is_open || stream->broken != 0 || linger_ms == 0 || (stream->ended && stream_flushed(stream))) {
        stream_kill(stream);
        return;
    }
    struct outbox *outbox = stream_outbox(stream);
    timer_init(&outbox->linger, stream_loop(stream), on_linger_over, stream);
    outbox->linger.internal = true;
    stream->lingers = true;
    stream_loop(stream)->lingering++;
    timer_start(&outbox->linger, linger_ms);
    if (!stream->ended)
        stream_read_on(stream);
    if (stream_flushed(stream))
        stream_fin(stream);
}

void stream_close_now(struct stream *stream)
{
    panic_if(stream->closing);
    if (stream->h2)
        stream_h2_bye(stream);
    stream_kill(stream);
}

void stream_abort(struct stream *stream)
{
    panic_if(stream->closing);
    uv_os_fd_t fd;
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    if (stream->is_open && stream->uv.handle.type == UV_TCP && uv_fileno(&stream->uv.handle, &fd) == 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none); /* where it fails there is no connection left to reset */
    stream_kill(stream);
}

/* --- asking --------------------------------------------------------------------------------------------------------- */

bool stream_is_tls(const struct stream *stream)
{
    return stream->tls;
}

struct loop *stream_loop(const struct stream *stream)
{
    return stream->uv.handle.loop->data;
}

void stream_tcp(const struct stream *stream, struct trace_tcp *out)
{
    uv_os_fd_t fd;
    *out = (struct trace_tcp){ 0 };
    if (stream->is_open && stream->uv.handle.type == UV_TCP && uv_fileno(&stream->uv.handle, &fd) == 0)
        tcp_view_read(fd, out);
}

static bool peer_address(const struct stream *stream, struct sockaddr_storage *address)
{
    int len = sizeof *address;
    return stream->uv.handle.type == UV_TCP && uv_tcp_getpeername(&stream->uv.tcp, (struct sockaddr *)address, &len) == 0;
}

void stream_peer(const struct stream *stream, char *out, size_t size)
{
    struct sockaddr_storage address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
    if (stream->uv.handle.type != UV_TCP)
        snprintf(out, size, "unix");
    else if (!peer_address(stream, &address))
        snprintf(out, size, "unknown"); /* it is gone already */
    else if (address.ss_family == AF_INET)
        uv_ip4_name((const struct sockaddr_in *)&address, out, size);
    else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out, (socklen_t)size);
    else
        uv_ip6_name(v6, out, size);
}

bool stream_peer_local(const struct stream *stream)
{
    struct sockaddr_storage address;
    if (stream->uv.handle.type != UV_TCP)
        return true;
    if (!peer_address(stream, &address))
        return false;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&address)->sin6_addr;
    if (address.ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)&address)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}
