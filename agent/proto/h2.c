/*
 * HTTP/2 for a client, over libnghttp2 (agent/proto/h2.h). Called by agent/net/stream_h2.c. Owns the session, its streams, and what waits
 * to be sent on them. Judges what the library leaves to its user: the size of a head, and floods. What a response means is not its
 * business.
 */
#include "agent/proto/h2.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/list.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/h2_lib.h"

enum {
    OUTBOUND_ACKS_MAX = 1000, /* answers to PING and SETTINGS that the peer does not read: then it is cut off */
    DEBUG_CHARS = 80,
    FAULT_CHARS = 120,
    OUT_MAX = 1 << 30,
};

struct h2 {
    nghttp2_session *session;
    const struct h2_events *events;
    void *user;
    struct list streams;
    bool settled; /* the peer's SETTINGS have come */
    struct h2_flood flood;
    size_t content;                              /* of the bytes that are fed now */
    char fault[TEXT_EXCERPT_BYTES(FAULT_CHARS)]; /* the library's words for what the peer did wrong last */
    char goaway[TEXT_EXCERPT_BYTES(DEBUG_CHARS) + 64];
    uint32_t goaway_code;
};

struct h2_stream {
    struct list node;
    struct h2 *h2;
    int32_t id;
    struct buf out; /* from out_at on */
    size_t out_at;
    bool deferred, ended, answered;
    struct http_head *head; /* while it comes */
    size_t head_bytes;
    struct err fault; /* why it ended; REASON_NONE: not known */
};

int h2_available(struct err *err)
{
    return h2_lib_open(err);
}

/* --- a stream's life ------------------------------------------------------------------------------------------------- */

static void head_free(struct h2_stream *stream)
{
    if (!stream->head)
        return;
    buf_fini(&stream->head->text);
    mem_free(stream->head);
    stream->head = NULL;
}

static void stream_over(struct h2_stream *stream, const struct err *err)
{
    struct h2 *h2 = stream->h2;

    if (stream->ended)
        return;
    stream->ended = true;
    if (!stream->answered)
        head_free(stream);
    h2->events->on_end(h2->user, stream, err);
}

static void stream_over_cleanly(struct h2_stream *stream)
{
    struct err none;

    err_set(&none, REASON_NONE, 0, "the server ended the HTTP/2 stream");
    stream_over(stream, &none);
}

static struct h2_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return id ? H2(session_get_stream_user_data)(session, id) : NULL;
}

/* ENHANCE_YOUR_CALM: the peer's load is the client's doing (RFC 9113, 7), so it is about the probe. */
static enum reason reason_of(uint32_t code)
{
    return code == NGHTTP2_HTTP_1_1_REQUIRED   ? REASON_UPGRADE_REFUSED
           : code == NGHTTP2_ENHANCE_YOUR_CALM ? REASON_RATE_LIMITED
                                               : REASON_CONNECTION_RESET;
}

static void explain_reset(uint32_t code, struct err *err)
{
    if (code == NGHTTP2_HTTP_1_1_REQUIRED)
        err_set(err, reason_of(code), (int)code, "the server wants HTTP/1.1 for this (HTTP/2 error HTTP_1_1_REQUIRED)");
    else
        err_set(err, reason_of(code), (int)code, "the server reset the HTTP/2 stream: %s (0x%x)", H2(http2_strerror)(code), code);
}

/* --- what comes -------------------------------------------------------------------------------------------------------- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_stream *stream = stream_of(session, frame->hd.stream_id);

    (void)user;
    if (!stream || stream->answered || stream->ended) /* trailers are of no use here */
        return 0;
    head_free(stream);
    stream->head = mem_alloc(sizeof *stream->head);
    stream->head->major = 2;
    stream->head->text = BUF_INIT(H2_HEAD_BYTES_MAX);
    buf_reserve(&stream->head->text, H2_HEAD_BYTES_MAX); /* at once, as slices point into it */
    stream->head_bytes = 0;
    return 0;
}

static struct slice keep_text(struct buf *text, const uint8_t *data, size_t len)
{
    const uint8_t *at = text->data + text->len;

    buf_append(text, data, len);
    return slice_make(at, len);
}

static void take_status(struct http_head *head, const uint8_t *value, size_t len)
{
    for (size_t i = 0; i < len && i < 3; i++) /* three digits, as the library promises */
        head->status = head->status * 10 + (value[i] - '0');
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct h2_stream *stream = stream_of(session, frame->hd.stream_id);
    struct http_head *head = stream ? stream->head : NULL;

    (void)flags;
    (void)user;
    if (!head || stream->answered)
        return 0;
    stream->head_bytes += name_len + value_len + H2_FIELD_OVERHEAD;
    if (stream->head_bytes > H2_HEAD_BYTES_MAX || head->header_count >= HTTP_HEADERS_MAX) {
        err_set(&stream->fault, REASON_HTTP_MALFORMED, 0, "the response's headers are more than %d bytes or %d fields",
                H2_HEAD_BYTES_MAX, HTTP_HEADERS_MAX);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the library resets the stream */
    }
    if (name_len && name[0] == ':') {
        if (name_len == strlen(":status") && memcmp(name, ":status", name_len) == 0)
            take_status(head, value, value_len);
        return 0;
    }
    struct http_header *header = &head->headers[head->header_count++];
    header->name = keep_text(&head->text, name, name_len);
    header->value = slice_trim(keep_text(&head->text, value, value_len));
    return 0;
}

static void take_head(struct h2_stream *stream)
{
    struct h2 *h2 = stream->h2;
    struct http_head *head = stream->head;

    if (!head || stream->answered)
        return;
    if (head->status >= 100 && head->status < 200) {
        head_free(stream);
        return;
    }
    stream->answered = true;
    h2->events->on_head(h2->user, stream, head);
}

static void take_goaway(struct h2 *h2, const nghttp2_goaway *goaway)
{
    char debug[TEXT_EXCERPT_BYTES(DEBUG_CHARS)] = "";

    h2->goaway_code = goaway->error_code;
    if (goaway->opaque_data_len)
        text_excerpt(slice_make(goaway->opaque_data, goaway->opaque_data_len), DEBUG_CHARS, debug, sizeof debug);
    snprintf(h2->goaway, sizeof h2->goaway, "after GOAWAY %s%s%s%s", H2(http2_strerror)(goaway->error_code), *debug ? " (\"" : "",
             debug, *debug ? "\")" : "");
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = stream_of(session, frame->hd.stream_id);

    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK) && !h2->settled) {
        h2->settled = true;
        h2->events->on_settings(h2->user);
    }
    if (frame->hd.type == NGHTTP2_GOAWAY)
        take_goaway(h2, &frame->goaway);
    if (!stream)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        take_head(stream);
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        explain_reset(frame->rst_stream.error_code, &stream->fault);
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        stream_over_cleanly(stream);
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = stream_of(session, id);

    (void)flags;
    h2->content += len;
    if (stream && !stream->ended && len)
        h2->events->on_body(h2->user, stream, slice_make(data, len));
    return 0;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct h2 *h2 = user;

    (void)session;
    return h2_flood_frame(&h2->flood, hd);
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = stream_of(session, id);
    struct err err;

    if (!stream)
        return 0;
    if (stream->fault.reason != REASON_NONE)
        err = stream->fault;
    else if (code == NGHTTP2_REFUSED_STREAM && h2->goaway[0])
        err_set(&err, reason_of(h2->goaway_code), (int)code, "the server does not take the request, %s", h2->goaway);
    else
        err_set(&err, REASON_HTTP_MALFORMED, (int)code, "the response breaks HTTP/2%s%s (%s)", h2->fault[0] ? ": " : "", h2->fault,
                H2(http2_strerror)(code));
    stream_over(stream, &err);
    return 0;
}

static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    struct h2 *h2 = user;
    struct h2_stream *stream = frame->hd.type == NGHTTP2_HEADERS ? stream_of(session, frame->hd.stream_id) : NULL;
    struct err err;

    if (!stream)
        return 0;
    err_set(&err, REASON_CONNECTION_RESET, 0, "the request could not be sent%s%s: %s", h2->goaway[0] ? ", " : "", h2->goaway,
            H2(strerror)(code));
    stream_over(stream, &err);
    return 0;
}

/* The library's sentence: "Invalid HTTP header field was received: frame type: 1, stream: 1, name: [x], …". */
static int on_fault_text(nghttp2_session *session, int code, const char *text, size_t len, void *user)
{
    static const char numbers[] = "frame type: 1, stream: 1, ";
    struct h2 *h2 = user;
    char shown[TEXT_EXCERPT_BYTES(FAULT_CHARS)], *at;

    (void)session;
    (void)code;
    text_excerpt(slice_make(text, len), FAULT_CHARS, shown, sizeof shown);
    at = strstr(shown, numbers);
    if (at)
        memmove(at, at + strlen(numbers), strlen(at + strlen(numbers)) + 1);
    memcpy(h2->fault, shown, sizeof shown);
    return 0;
}

/* The library ends the connection for what the peer did, and says so to the peer: "DATA: stream in idle". */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h2 = user;

    (void)session;
    if (frame->hd.type != NGHTTP2_GOAWAY || frame->goaway.error_code == NGHTTP2_NO_ERROR || h2->fault[0])
        return 0;
    if (frame->goaway.opaque_data_len)
        text_excerpt(slice_make(frame->goaway.opaque_data, frame->goaway.opaque_data_len), FAULT_CHARS, h2->fault,
                     sizeof h2->fault);
    else
        snprintf(h2->fault, sizeof h2->fault, "%s", H2(http2_strerror)(frame->goaway.error_code));
    return 0;
}

static int on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    struct h2 *h2 = user;

    (void)session;
    (void)frame;
    if (!h2->fault[0])
        snprintf(h2->fault, sizeof h2->fault, "%s", H2(strerror)(code));
    return 0;
}

/* --- the connection ------------------------------------------------------------------------------------------------------ */

static nghttp2_session *session_make(struct h2 *h2)
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
    H2(session_callbacks_set_on_frame_not_send_callback)(calls, on_not_sent);
    H2(session_callbacks_set_on_frame_send_callback)(calls, on_sent);
    H2(session_callbacks_set_on_invalid_frame_recv_callback)(calls, on_invalid);
    H2(session_callbacks_set_error_callback2)(calls, on_fault_text);
    H2(option_set_max_outbound_ack)(option, OUTBOUND_ACKS_MAX);
    H2(option_set_max_deflate_dynamic_table_size)(option, 0); /* no token is kept in the table */
    panic_if(H2(session_client_new2)(&session, calls, h2, option) != 0);
    H2(option_del)(option);
    H2(session_callbacks_del)(calls);
    return session;
}

struct h2 *h2_client_new(const struct h2_events *events, void *user, struct err *err)
{
    static const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0 },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEAD_BYTES_MAX },
    };

    if (h2_lib_open(err) < 0)
        return NULL;
    struct h2 *h2 = mem_alloc(sizeof *h2);
    h2->events = events;
    h2->user = user;
    list_init(&h2->streams);
    h2->session = session_make(h2);
    panic_if(H2(submit_settings)(h2->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) != 0);
    return h2;
}

void h2_free(struct h2 *h2)
{
    H2(session_del)(h2->session);
    list_each_safe (node, &h2->streams) {
        struct h2_stream *stream = list_entry(node, struct h2_stream, node);

        head_free(stream);
        buf_wipe(&stream->out);
        mem_free(stream);
    }
    mem_free(h2);
}

int h2_feed(struct h2 *h2, struct slice data, struct err *err)
{
    h2->content = 0;
    ssize_t got = H2(session_mem_recv)(h2->session, data.data, data.len);

    h2_flood_waste(&h2->flood, data.len - h2->content); /* padding, frames of unknown kinds */
    if (h2->flood.over || got == NGHTTP2_ERR_FLOODED)
        return err_set(err, REASON_FLOOD, 0, "the server floods the HTTP/2 connection with frames that carry nothing");
    if (got < 0)
        return err_set(err, REASON_HTTP_MALFORMED, 0, "the answer is not HTTP/2: %s", H2(strerror)((int)got));
    return 0;
}

bool h2_over(const struct h2 *h2, struct err *err)
{
    if (H2(session_want_read)(h2->session))
        return false;
    if (h2->goaway[0] && !h2->fault[0])
        err_set(err, reason_of(h2->goaway_code), 0, "the server ended the HTTP/2 connection %s", h2->goaway);
    else
        err_set(err, REASON_HTTP_MALFORMED, 0, "the server breaks HTTP/2%s%s", h2->fault[0] ? ": " : "", h2->fault);
    return true;
}

bool h2_output(struct h2 *h2, struct slice *out)
{
    return h2_session_output(h2->session, out);
}

bool h2_allows_connect(const struct h2 *h2)
{
    return H2(session_get_remote_settings)(h2->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

/* --- what goes out -------------------------------------------------------------------------------------------------------- */

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    struct h2_stream *stream = source->ptr;
    size_t len = h2_pending(stream) < size ? h2_pending(stream) : size;

    (void)session;
    (void)id;
    (void)flags;
    (void)user;
    if (!len) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    memcpy(out, stream->out.data + stream->out_at, len);
    stream->out_at += len;
    if (stream->out_at == stream->out.len) {
        buf_fini(&stream->out);
        stream->out_at = 0;
    }
    return (ssize_t)len;
}

struct h2_stream *h2_request(struct h2 *h2, const struct h2_header *headers, size_t count)
{
    nghttp2_nv fields[H2_REQUEST_HEADERS_MAX];
    struct h2_stream *stream = mem_alloc(sizeof *stream);
    nghttp2_data_provider body = { { .ptr = stream }, on_read };

    h2_fields(fields, H2_REQUEST_HEADERS_MAX, headers, count, NGHTTP2_NV_FLAG_NO_INDEX);
    stream->h2 = h2;
    stream->out = BUF_INIT(OUT_MAX);
    list_push(&h2->streams, &stream->node);
    stream->id = H2(submit_request)(h2->session, NULL, fields, count, &body, stream);
    panic_if(stream->id < 0); /* out of memory, or a request on a server's session */
    return stream;
}

void h2_drop_head(struct h2_stream *stream)
{
    head_free(stream);
}

void h2_write(struct h2_stream *stream, struct slice data)
{
    if (stream->out_at > stream->out.len / 2) {
        buf_consume(&stream->out, stream->out_at);
        stream->out_at = 0;
    }
    panic_if(buf_append_slice(&stream->out, data) < 0);
    if (!stream->deferred)
        return;
    stream->deferred = false;
    H2(session_resume_data)(stream->h2->session, stream->id); /* fails where the stream is over: on_end says so */
}

size_t h2_pending(const struct h2_stream *stream)
{
    return stream->out.len - stream->out_at;
}

void h2_end(struct h2 *h2)
{
    H2(session_terminate_session)(h2->session, NGHTTP2_NO_ERROR);
}

const char *h2_goaway_text(const struct h2 *h2)
{
    return h2->goaway;
}
