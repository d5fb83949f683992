/*
 * HTTP/2 for a small server, over libnghttp2 (agent/proto/h2_serve.h). Called by agent/http/grpc.c. Owns the session, its calls, and what
 * waits to be sent on them. What is asked and answered is not its business.
 */
#include "agent/proto/h2_serve.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/h2_lib.h"

enum { OUTBOUND_ACKS_MAX = 100, OUT_MAX = 1 << 20 };

struct h2_serve {
    nghttp2_session *session;
    const struct h2_serve_events *events;
    void *user;
    struct list calls;
    struct h2_flood flood;
};

/* --- a call's life --------------------------------------------------------------------------------------------------- */

static struct h2_call *call_of(nghttp2_session *session, int32_t id)
{
    return id ? H2(session_get_stream_user_data)(session, id) : NULL;
}

static void call_free(struct h2_call *call)
{
    list_remove(&call->node);
    buf_fini(&call->body);
    buf_fini(&call->out);
    mem_free(call);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_serve *h2 = user;

    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) /* trailers say nothing here */
        return 0;
    struct h2_call *call = mem_alloc(sizeof *call);
    call->h2 = h2;
    call->id = frame->hd.stream_id;
    call->body = BUF_INIT(H2_CALL_BODY_MAX);
    call->out = BUF_INIT(OUT_MAX);
    list_push(&h2->calls, &call->node);
    panic_if(H2(session_set_stream_user_data)(session, call->id, call) != 0);
    return 0;
}

static bool is_name(const uint8_t *name, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(name, want, len) == 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct h2_call *call = call_of(session, frame->hd.stream_id);

    (void)flags;
    (void)user;
    if (!call || call->asked)
        return 0;
    call->head_bytes += name_len + value_len + H2_FIELD_OVERHEAD;
    if (call->head_bytes > H2_CALL_HEAD_MAX)
        call->too_large = true;
    int len = value_len < H2_CALL_TEXT_MAX ? (int)value_len : H2_CALL_TEXT_MAX;
    if (is_name(name, name_len, ":method"))
        snprintf(call->method, sizeof call->method, "%.*s", len, (const char *)value);
    else if (is_name(name, name_len, ":path"))
        snprintf(call->path, sizeof call->path, "%.*s", len, (const char *)value);
    else if (is_name(name, name_len, "content-type"))
        snprintf(call->content_type, sizeof call->content_type, "%.*s", len, (const char *)value);
    return call->head_bytes > 2 * H2_CALL_HEAD_MAX ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0; /* the library resets the stream */
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct h2_call *call = call_of(session, id);

    (void)flags;
    (void)user;
    if (call && !call->asked && buf_append(&call->body, data, len) < 0)
        call->too_large = true;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_serve *h2 = user;
    struct h2_call *call = call_of(session, frame->hd.stream_id);
    bool ends = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;

    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) && h2->events->on_pong)
        h2->events->on_pong(h2->user);
    if (!call || !ends || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || call->asked)
        return 0;
    call->asked = true;
    h2->events->on_call(h2->user, call);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_serve *h2 = user;
    struct h2_call *call = call_of(session, id);

    (void)code;
    if (!call)
        return 0;
    call->over = true;
    if (call->asked)
        h2->events->on_over(h2->user, call);
    call_free(call);
    return 0;
}

/* A client that opens calls only to reset them pays with its HEADERS and RST_STREAM. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct h2_serve *h2 = user;

    (void)session;
    return h2_flood_frame(&h2->flood, hd);
}

/* --- the connection ------------------------------------------------------------------------------------------------------ */

static nghttp2_session *session_make(struct h2_serve *h2)
{
    nghttp2_session_callbacks *calls;
    nghttp2_option *option;
    nghttp2_session *session;

    panic_if(H2(session_callbacks_new)(&calls) != 0 || H2(option_new)(&option) != 0);
    H2(session_callbacks_set_on_begin_headers_callback)(calls, on_begin_headers);
    H2(session_callbacks_set_on_header_callback)(calls, on_header);
    H2(session_callbacks_set_on_frame_recv_callback)(calls, on_frame);
    H2(session_callbacks_set_on_data_chunk_recv_callback)(calls, on_chunk);
    H2(session_callbacks_set_on_begin_frame_callback)(calls, on_begin_frame);
    H2(session_callbacks_set_on_stream_close_callback)(calls, on_close);
    H2(option_set_max_outbound_ack)(option, OUTBOUND_ACKS_MAX);
    panic_if(H2(session_server_new2)(&session, calls, h2, option) != 0);
    H2(option_del)(option);
    H2(session_callbacks_del)(calls);
    return session;
}

struct h2_serve *h2_serve_new(const struct h2_serve_events *events, void *user, struct err *err)
{
    static const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_CALLS_MAX },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_CALL_HEAD_MAX },
    };

    if (h2_lib_open(err) < 0)
        return NULL;
    struct h2_serve *h2 = mem_alloc(sizeof *h2);
    h2->events = events;
    h2->user = user;
    list_init(&h2->calls);
    h2->session = session_make(h2);
    panic_if(H2(submit_settings)(h2->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) != 0);
    return h2;
}

void h2_serve_free(struct h2_serve *h2)
{
    H2(session_del)(h2->session);
    list_each_safe (node, &h2->calls)
        call_free(list_entry(node, struct h2_call, node));
    mem_free(h2);
}

int h2_serve_feed(struct h2_serve *h2, struct slice data, struct err *err)
{
    ssize_t got = H2(session_mem_recv)(h2->session, data.data, data.len);

    if (h2->flood.over || got == NGHTTP2_ERR_FLOODED)
        return err_set(err, REASON_FLOOD, 0, "the client floods the HTTP/2 connection with frames that carry nothing");
    if (got < 0)
        return err_set(err, REASON_HTTP_MALFORMED, 0, "what the client sends is not HTTP/2: %s", H2(strerror)((int)got));
    return 0;
}

bool h2_serve_output(struct h2_serve *h2, struct slice *out)
{
    return h2_session_output(h2->session, out);
}

bool h2_serve_is_over(const struct h2_serve *h2)
{
    return !H2(session_want_read)(h2->session) && !H2(session_want_write)(h2->session);
}

struct list *h2_serve_calls(struct h2_serve *h2)
{
    return &h2->calls;
}

void h2_serve_ping(struct h2_serve *h2)
{
    H2(submit_ping)(h2->session, NGHTTP2_FLAG_NONE, NULL);
}

void h2_serve_end(struct h2_serve *h2)
{
    H2(session_terminate_session)(h2->session, NGHTTP2_NO_ERROR);
}

/* --- answers ---------------------------------------------------------------------------------------------------------------- */

static void make_fields(nghttp2_nv *fields, const struct h2_header *headers, size_t count)
{
    h2_fields(fields, H2_ANSWER_HEADERS_MAX, headers, count, NGHTTP2_NV_FLAG_NONE);
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    struct h2_call *call = source->ptr;
    nghttp2_nv fields[H2_ANSWER_HEADERS_MAX];
    size_t len = call->out.len < size ? call->out.len : size;

    (void)user;
    if (!len && !call->finished) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    memcpy(out, call->out.data, len);
    buf_consume(&call->out, len);
    if (call->out.len || !call->finished)
        return (ssize_t)len;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (call->trailer_count) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        make_fields(fields, call->trailers, call->trailer_count);
        panic_if(H2(submit_trailer)(session, id, fields, call->trailer_count) == NGHTTP2_ERR_NOMEM);
    }
    return (ssize_t)len;
}

static void wake(struct h2_call *call)
{
    if (!call->deferred)
        return;
    call->deferred = false;
    H2(session_resume_data)(call->h2->session, call->id); /* fails where the stream is over: on_over says so */
}

void h2_call_respond(struct h2_call *call, const struct h2_header *headers, size_t count)
{
    nghttp2_data_provider body = { { .ptr = call }, on_read };
    nghttp2_nv fields[H2_ANSWER_HEADERS_MAX];

    make_fields(fields, headers, count);
    panic_if(H2(submit_response)(call->h2->session, call->id, fields, count, &body) == NGHTTP2_ERR_NOMEM);
}

void h2_call_write(struct h2_call *call, struct slice data)
{
    panic_if(buf_append_slice(&call->out, data) < 0);
    wake(call);
}

size_t h2_call_pending(const struct h2_call *call)
{
    return call->out.len;
}

void h2_call_finish(struct h2_call *call, const struct h2_header *trailers, size_t count)
{
    panic_if(count > H2_ANSWER_HEADERS_MAX);
    memcpy(call->trailers, trailers, count * sizeof *trailers);
    call->trailer_count = count;
    call->finished = true;
    wake(call);
}

void h2_call_refuse(struct h2_call *call, const struct h2_header *headers, size_t count)
{
    nghttp2_nv fields[H2_ANSWER_HEADERS_MAX];

    make_fields(fields, headers, count);
    panic_if(H2(submit_response)(call->h2->session, call->id, fields, count, NULL) == NGHTTP2_ERR_NOMEM);
    call->finished = true;
}
