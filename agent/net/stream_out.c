/*
 * The writing half of a stream. What the kernel takes at once costs one system call and no memory; the rest is copied into an
 * outbox, which goes away again when it has been sent. One block of bytes is lent to libuv at a time; later bytes are gathered for
 * the next block.
 */
#include <errno.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/net/stream_impl.h"

/* What TLS may add to a write of plain bytes that fits: 22 bytes for 16 KiB of them, and alerts and key updates of its own. */
enum { TLS_OVERHEAD_BYTES = 64 * 1024, TLS_OVERHEAD_DIVISOR = 256 };
/* Beyond this the lengths would not fit libuv's buffers. */
enum { PENDING_MAX_BYTES = 1 << 30 };

struct outbox *stream_outbox(struct stream *stream)
{
    if (!stream->outbox)
        stream->outbox = mem_alloc(sizeof *stream->outbox);
    return stream->outbox;
}

size_t stream_wire_pending(const struct stream *stream)
{
    return stream->outbox ? stream->outbox->flight_len + stream->outbox->next_len : 0;
}

size_t stream_pending(const struct stream *stream)
{
    return stream_wire_pending(stream) + stream_h2_pending(stream);
}

bool stream_flushed(const struct stream *stream)
{
    return stream_wire_pending(stream) == 0;
}

void stream_set_max_pending(struct stream *stream, uint32_t bytes)
{
    stream->max_pending = bytes < PENDING_MAX_BYTES ? bytes : PENDING_MAX_BYTES;
}

static void note_broken(struct stream *stream, int status)
{
    if (stream->broken == 0)
        stream->broken = (uint8_t)(-status <= UINT8_MAX ? -status : EIO);
}

/* What the kernel takes now, or -1. */
static ssize_t try_write(struct stream *stream, const void *data, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int status = uv_try_write(&stream->uv.stream, &buf, 1);
    if (status >= 0)
        return status;
    if (status == UV_EAGAIN)
        return 0;
    note_broken(stream, status);
    return -1;
}

static void on_written(uv_write_t *req, int status);

/* Lends `next` to libuv. */
static void launch(struct stream *stream)
{
    struct outbox *outbox = stream->outbox;
    outbox->flight = outbox->next;
    outbox->flight_len = outbox->next_len;
    outbox->next = NULL;
    outbox->next_len = outbox->next_cap = 0;
    uv_buf_t buf = uv_buf_init((char *)outbox->flight, (unsigned)outbox->flight_len);
    int status = uv_write(&outbox->req, &stream->uv.stream, &buf, 1, on_written);
    if (status == 0)
        return;
    note_broken(stream, status);
    mem_free(outbox->flight);
    outbox->flight = NULL;
    outbox->flight_len = 0;
}

static void drop_outbox(struct stream *stream)
{
    struct outbox *outbox = stream->outbox;
    mem_free(outbox->next);
    outbox->next = NULL;
    outbox->next_len = outbox->next_cap = 0;
    if (timer_active(&outbox->linger))
        return;
    stream->outbox = NULL;
    mem_free(outbox);
}

static void on_written(uv_write_t *req, int status)
{
    struct stream *stream = stream_of(req->handle);
    struct outbox *outbox = stream->outbox;
    loop_woke(stream_loop(stream));
    mem_free(outbox->flight);
    outbox->flight = NULL;
    outbox->flight_len = 0;
    if (uv_is_closing(&stream->uv.handle))
        return;
    if (status == 0 && outbox->next_len > 0) {
        launch(stream);
        return;
    }
    if (status < 0)
        note_broken(stream, status);
    drop_outbox(stream);
    if (stream->closing && stream->broken != 0)
        stream_kill(stream);
    else if (stream->closing)
        stream_fin(stream);
    else if (stream->h2)
        stream_h2_drained(stream);
    else if (stream->broken == 0 && !stream->ended && stream->started && stream->events->on_drain)
        stream->events->on_drain(stream_user(stream));
}

static void keep(struct stream *stream, const uint8_t *data, size_t len)
{
    struct outbox *outbox = stream_outbox(stream);
    if (outbox->next_cap - outbox->next_len < len) {
        size_t cap = outbox->next_cap == 0 ? len : outbox->next_cap * 2;
        outbox->next_cap = cap < outbox->next_len + len ? outbox->next_len + len : cap;
        outbox->next = mem_realloc(outbox->next, outbox->next_cap);
    }
    memcpy(outbox->next + outbox->next_len, data, len);
    outbox->next_len += len;
    if (outbox->flight_len == 0)
        launch(stream);
}

/* Wire bytes: to the kernel, or kept up to max_bytes. 0 or -1 as stream_write. */
static int send_bytes(struct stream *stream, const void *data, size_t len, size_t max_bytes)
{
    if (stream->broken != 0)
        return -1;
    size_t pending = stream_wire_pending(stream);
    if (len > max_bytes || pending > max_bytes - len)
        return -1;
    ssize_t sent = 0;
    if (pending == 0 && (sent = try_write(stream, data, len)) < 0)
        return -1;
    if ((size_t)sent < len)
        keep(stream, (const uint8_t *)data + sent, len - (size_t)sent);
    return 0;
}

int stream_wire_write(struct stream *stream, struct slice data)
{
    if (!stream->tls)
        return send_bytes(stream, data.data, data.len, stream->max_pending);
    if (data.len > stream->max_pending || stream_wire_pending(stream) > stream->max_pending - data.len)
        return -1;
    return stream_tls_write(stream, data);
}

int stream_write(struct stream *stream, struct slice data)
{
    panic_if(stream->closing || !stream->is_open);
    if (data.len == 0)
        return stream->broken == 0 ? 0 : -1;
    return stream->h2 ? stream_h2_write(stream, data) : stream_wire_write(stream, data);
}

int stream_send_record(struct stream *stream, const void *data, size_t len)
{
    return send_bytes(stream, data, len, stream->max_pending + stream->max_pending / TLS_OVERHEAD_DIVISOR + TLS_OVERHEAD_BYTES);
}
