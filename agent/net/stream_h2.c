/*
 * HTTP/2 between a stream and its owner. Owns the session (agent/proto/h2.h) and what it has told and the owner has not heard yet. Streams
 * call it for what they read and write; agent/client/conn_h2.c begins it.
 *
 * The session's callbacks only note what has come. It is delivered after the session has eaten everything, so that the owner may pause, close or
 * write in its callbacks. What a paused stream has not heard is told in a turn of its own. The session is asked for bytes only
 * while the outbox is short: a peer that does not read lets the session's own limits take hold.
 */
#include "agent/net/stream_h2.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/net/stream_impl.h"

enum { WIRE_PENDING_MAX = 65536, BODY_MAX = 2 * LOOP_SLAB_BYTES, FIRST_BYTES = 32 };

struct h2_link {
    struct stream *stream;
    struct h2 *h2;
    struct h2_stream *exchange; /* NULL until it was requested */
    const struct stream_h2_events *events;
    void *user;
    struct timer later;
    /* what is to be told, in this order */
    bool ready, ended;
    const struct http_head *head;
    struct buf body;
    struct err end;
    bool told;  /* on_end has been called */
    bool kept;  /* stream_write had to keep something */
    bool heard; /* the peer has sent its SETTINGS, so it speaks HTTP/2 */
    uint8_t first[FIRST_BYTES];
    size_t first_len;
};

/* --- what the session tells -------------------------------------------------------------------------------------------- */

static void on_settings(void *user)
{
    struct h2_link *link = user;

    link->ready = link->heard = true;
}

static void on_head(void *user, struct h2_stream *exchange, const struct http_head *head)
{
    struct h2_link *link = user;

    (void)exchange;
    link->head = head;
}

static void on_body(void *user, struct h2_stream *exchange, struct slice data)
{
    struct h2_link *link = user;

    (void)exchange;
    panic_if(buf_append_slice(&link->body, data) < 0); /* no more than was fed */
}

static void note_end(struct h2_link *link, const struct err *err)
{
    if (link->ended)
        return;
    link->ended = true;
    link->end = *err;
}

static void on_end(void *user, struct h2_stream *exchange, const struct err *err)
{
    (void)exchange;
    note_end(user, err);
}

static const struct h2_events session_events = { on_settings, on_head, on_body, on_end };

/* --- between the session and the wire ---------------------------------------------------------------------------------- */

static void pump(struct h2_link *link)
{
    struct stream *stream = link->stream;
    struct slice out;

    while (stream->broken == 0 && stream_wire_pending(stream) < WIRE_PENDING_MAX && h2_output(link->h2, &out))
        stream_wire_write(stream, out); /* a failure comes back as an end of the stream */
}

static void note_first(struct h2_link *link, struct slice data)
{
    size_t room = FIRST_BYTES - link->first_len, len = data.len < room ? data.len : room;

    if (link->heard || !len)
        return;
    memcpy(link->first + link->first_len, data.data, len);
    link->first_len += len;
}

/* A server of HTTP/1.1 answers the preface with a response, which the session takes for a frame that is too long. What speaks HTTP/2 begins
 * with SETTINGS (RFC 9113, 3.4). */
static void explain_first(const struct h2_link *link, struct err *err)
{
    enum { TYPE_AT = 3, SETTINGS = 4 };
    char begin[TEXT_EXCERPT_BYTES(FIRST_BYTES)];
    size_t len = link->first_len;

    if (link->heard || len <= TYPE_AT || link->first[TYPE_AT] == SETTINGS)
        return;
    const uint8_t *line_end = memchr(link->first, '\r', len);
    text_excerpt(slice_make(link->first, line_end ? (size_t)(line_end - link->first) : len), FIRST_BYTES, begin, sizeof begin);
    err_set(err, REASON_HTTP_MALFORMED, 0, "the server speaks no HTTP/2 here, it answers \"%s\"", begin);
}

static bool has_news(const struct h2_link *link)
{
    return link->ready || link->head || link->body.len || (link->ended && !link->told);
}

static void deliver_body(struct h2_link *link)
{
    struct buf body = link->body;

    link->body = BUF_INIT(BODY_MAX);
    link->stream->events->on_data(stream_user(link->stream), buf_slice(&body));
    buf_fini(&body);
}

/* Each callback may pause or close the stream. */
static void deliver(struct h2_link *link)
{
    struct stream *stream = link->stream;

    if (link->ready && stream_wants_data(stream)) {
        link->ready = false;
        link->events->on_ready(link->user, h2_allows_connect(link->h2));
    }
    if (link->head && stream_wants_data(stream)) {
        const struct http_head *head = link->head;
        link->head = NULL;
        link->events->on_response(link->user, head);
    }
    if (link->body.len && stream_wants_data(stream))
        deliver_body(link);
    if (link->ended && !link->told && stream_wants_data(stream)) {
        link->told = true;
        stream_end(stream, link->end.reason, link->end.code, "%s", link->end.text);
    }
}

static void tell_drained(struct h2_link *link)
{
    struct stream *stream = link->stream;

    if (!link->kept || stream_pending(stream) || stream->broken != 0 || stream->closing || stream->ended)
        return;
    link->kept = false;
    if (stream->events->on_drain)
        stream->events->on_drain(stream_user(stream));
}

void stream_h2_feed(struct stream *stream, struct slice data)
{
    struct h2_link *link = stream->h2;
    struct err err;

    if (link->ended)
        return;
    note_first(link, data);
    bool failed = h2_feed(link->h2, data, &err) < 0;
    pump(link);
    if (failed || h2_over(link->h2, &err)) {
        explain_first(link, &err);
        note_end(link, &err);
    }
    deliver(link);
    tell_drained(link);
}

/* --- what streams ask for ---------------------------------------------------------------------------------------------- */

void stream_h2_explain(const struct stream *stream, struct err *err)
{
    const struct h2_link *link = stream->h2;
    const char *goaway = h2_goaway_text(link->h2);

    if (!link->told && *goaway && err->reason == REASON_NONE)
        err_set(err, REASON_NONE, err->code, "the peer closed the connection %s", goaway);
}

void stream_h2_drained(struct stream *stream)
{
    pump(stream->h2);
    tell_drained(stream->h2);
}

static void on_later(struct timer *timer, void *user)
{
    struct h2_link *link = user;

    (void)timer;
    deliver(link);
    if (stream_wants_data(link->stream))
        stream_resume(link->stream); /* nothing is left to be told: goes on reading */
}

bool stream_h2_resume(struct stream *stream)
{
    if (!has_news(stream->h2))
        return false;
    timer_start(&stream->h2->later, 0);
    return true;
}

int stream_h2_write(struct stream *stream, struct slice data)
{
    struct h2_link *link = stream->h2;
    size_t pending = stream_pending(stream);

    if (stream->broken != 0 || !link->exchange || data.len > stream->max_pending || pending > stream->max_pending - data.len)
        return -1;
    if (link->ended) /* as TCP does it: on_end is coming, and says more than a write that fails */
        return 0;
    h2_write(link->exchange, data);
    pump(link);
    link->kept = link->kept || stream_pending(stream) > 0;
    return stream->broken == 0 ? 0 : -1;
}

size_t stream_h2_pending(const struct stream *stream)
{
    return stream->h2 && stream->h2->exchange ? h2_pending(stream->h2->exchange) : 0;
}

bool stream_is_h2(const struct stream *stream)
{
    return stream->h2;
}

bool stream_h2_is_http1(const struct stream *stream)
{
    static const char begin[] = "HTTP/1";
    const struct h2_link *link = stream->h2;

    return link && !link->heard && link->first_len >= sizeof begin - 1 && memcmp(link->first, begin, sizeof begin - 1) == 0;
}

const char *stream_h2_goaway(const struct stream *stream)
{
    return stream->h2 ? h2_goaway_text(stream->h2->h2) : "";
}

size_t stream_h2_withheld(const struct stream *stream)
{
    return stream_wire_pending(stream) < WIRE_PENDING_MAX ? stream_h2_pending(stream) : 0;
}

size_t stream_h2_unread(const struct stream *stream)
{
    return stream->h2 ? stream->h2->body.len : 0;
}

void stream_h2_bye(struct stream *stream)
{
    struct h2_link *link = stream->h2;

    if (stream->broken != 0 || (link->told && link->end.reason != REASON_NONE))
        return;
    h2_end(link->h2);
    pump(link);
}

void stream_h2_stop(struct stream *stream)
{
    timer_stop(&stream->h2->later);
}

void stream_h2_free(struct stream *stream)
{
    struct h2_link *link = stream->h2;

    h2_free(link->h2);
    buf_fini(&link->body);
    mem_free(link);
    stream->h2 = NULL;
}

/* --- for the one who begins it ------------------------------------------------------------------------------------------ */

int stream_h2_begin(struct stream *stream, const struct stream_h2_events *events, void *user, struct err *err)
{
    struct h2_link *link = mem_alloc(sizeof *link);

    panic_if(!stream->started || stream->closing || stream->h2);
    link->h2 = h2_client_new(&session_events, link, err);
    if (!link->h2) {
        mem_free(link);
        return -1;
    }
    link->stream = stream;
    link->events = events;
    link->user = user;
    link->body = BUF_INIT(BODY_MAX);
    timer_init(&link->later, stream_loop(stream), on_later, link);
    stream->h2 = link;
    pump(link);
    return 0;
}

void stream_h2_request(struct stream *stream, const struct h2_header *headers, size_t count)
{
    struct h2_link *link = stream->h2;

    panic_if(link->exchange);
    link->exchange = h2_request(link->h2, headers, count);
    pump(link);
}

void stream_h2_drop_head(struct stream *stream)
{
    if (stream->h2 && stream->h2->exchange)
        h2_drop_head(stream->h2->exchange);
}
