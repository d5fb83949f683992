/*
 * The connections of the HTTP server: who is there, what each owes and until when, and who is turned away. Called by agent/serve.c and
 * agent/admin.c, which answer; leaves reading to http1 and the texts to httpd_answer.c.
 *
 * A connection is idle, in the middle of a request, or waiting for its client to take an answer, and each of these has a deadline that
 * no trickle of bytes moves. While an answer waits, nothing is read: what a client can make us keep is one answer and one read's worth
 * of pipelined requests. All answers of one read go out in one write, from a buffer that all connections share.
 */
#include "agent/httpd.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/list.h"
#include "agent/base/mem.h"
#include "agent/httpd_answer.h"

enum {
    HTTPD_BODY_MAX = 16 << 20,    /* of one answer; the largest is /metrics */
    HTTPD_BATCH_BYTES = 64 << 10, /* answers are written when they come to so much */
    HTTPD_OUT_MAX = HTTPD_BODY_MAX + 2 * HTTPD_BATCH_BYTES,
    HTTPD_KEPT_BYTES = 128 << 10, /* larger buffers are given back */
    HTTPD_LINGER_MS = 500,
    HTTPD_SHED_EVERY_MS = 10000,
};

enum conn_state { CONN_IDLE, CONN_READING, CONN_WRITING };

struct httpd {
    struct loop *loop;
    struct listener *listener;
    struct httpd_options options;
    struct list idle, busy; /* connections; idle ones from the longest idle to the newest */
    unsigned conn_count;
    struct buf out, headers, body; /* the answers under way */
    struct httpd_date date;
    uint64_t shed_ms; /* when on_shed was last called */
    bool serving;     /* a handler may be running: closing waits for it */
    bool closing;
};

struct conn {
    struct list node;
    struct httpd *httpd;
    struct stream *stream;
    struct http_reader *reader;
    struct timer timer;
    uint64_t due_ms, armed_ms; /* the timer may be set earlier than due: it then looks and sleeps on */
    enum conn_state state;
    bool answered; /* since the state was last set */
    bool peer_local;
    struct buf unread; /* requests that wait until the client has taken its answers */
};

/* --- the life of a connection ---------------------------------------------------------------------------------------- */

static void conn_free(struct conn *conn)
{
    list_remove(&conn->node);
    timer_stop(&conn->timer);
    http_reader_free(conn->reader);
    buf_fini(&conn->unread);
    conn->httpd->conn_count--;
    mem_free(conn);
}

static void conn_close(struct conn *conn)
{
    stream_close(conn->stream, HTTPD_LINGER_MS);
    conn_free(conn);
}

static void conn_drop(struct conn *conn)
{
    stream_abort(conn->stream);
    conn_free(conn);
}

static void arm(struct conn *conn, uint64_t now_ms)
{
    if (timer_active(&conn->timer) && conn->armed_ms <= conn->due_ms)
        return;
    conn->armed_ms = conn->due_ms;
    timer_start(&conn->timer, conn->due_ms > now_ms ? conn->due_ms - now_ms : 0);
}

/* A deadline begins with its state. It begins anew only where something was finished: an idle spell by a request, a request by the one
 * before it; never by a few more bytes. */
static void enter(struct conn *conn, enum conn_state state)
{
    const struct httpd_options *options = &conn->httpd->options;
    bool fresh = state != conn->state || (conn->answered && state != CONN_WRITING);
    if (state == CONN_IDLE && conn->state == CONN_READING && !conn->answered)
        fresh = false; /* blank lines in front of a request are no request */
    conn->answered = false;
    if (state != conn->state || fresh) {
        list_remove(&conn->node);
        list_push(state == CONN_IDLE ? &conn->httpd->idle : &conn->httpd->busy, &conn->node);
        conn->state = state;
    }
    if (!fresh)
        return;
    uint64_t now_ms = clock_now_ms();
    conn->due_ms = now_ms + (state == CONN_IDLE ? options->idle_timeout_ms : options->request_timeout_ms);
    arm(conn, now_ms);
}

/* --- answering -------------------------------------------------------------------------------------------------------- */

static void write_answer(struct conn *conn, const struct httpd_answer *answer)
{
    httpd_write_answer(&conn->httpd->out, &conn->httpd->date, answer);
    conn->answered = true;
}

static void answer_error(struct conn *conn, int status, const char *sentence)
{
    struct httpd *httpd = conn->httpd;
    buf_reset(&httpd->body);
    buf_printf(&httpd->body, "%s: %s\n", httpd_status_text(status), sentence);
    write_answer(
        conn, &(struct httpd_answer){
                  .status = status, .content_type = "text/plain; charset=utf-8", .body = buf_slice(&httpd->body), .close = true });
}

/* True when the connection goes on. */
static bool answer_request(struct conn *conn)
{
    struct httpd *httpd = conn->httpd;
    const struct http_head *head = http_reader_head(conn->reader);
    struct httpd_request request = {
        .method = head->method, .head = head, .body = http_reader_body(conn->reader), .peer_local = conn->peer_local
    };
    if (httpd_split_target(&request, head->target) < 0) {
        answer_error(conn, 400, "the request target must be a path");
        return false;
    }
    buf_reset(&httpd->headers);
    buf_reset(&httpd->body);
    struct httpd_reply reply = {
        .status = 404, .content_type = "text/plain; charset=utf-8", .headers = &httpd->headers, .body = &httpd->body
    };
    httpd->options.handle(httpd->options.user, &request, &reply);
    if (httpd->body.len == 0 && reply.status != 200)
        buf_printf(&httpd->body, "%s\n", httpd_status_text(reply.status));
    bool go_on = http_reader_keep_alive(conn->reader) && !httpd->closing;
    write_answer(conn, &(struct httpd_answer){ .status = reply.status,
                                               .content_type = reply.content_type,
                                               .headers = buf_slice(&httpd->headers),
                                               .body = buf_slice(&httpd->body),
                                               .head_only = slice_equal_str(head->method, "HEAD"),
                                               .close = !go_on,
                                               .old = head->minor == 0 });
    return go_on;
}

/* Reads at most one request and answers it. True when the connection goes on. */
static bool serve_one(struct conn *conn, struct slice *input)
{
    struct err err;
    enum http_progress progress;
    do
        progress = http_reader_feed(conn->reader, input, &err);
    while (progress == HTTP_HEAD);
    if (progress == HTTP_MORE)
        return true;
    if (progress != HTTP_DONE) {
        answer_error(conn, err.code, err.text);
        return false;
    }
    bool go_on = answer_request(conn);
    http_reader_reset(conn->reader);
    return go_on;
}

static int flush(struct conn *conn)
{
    struct httpd *httpd = conn->httpd;
    int status = httpd->out.len ? stream_write(conn->stream, buf_slice(&httpd->out)) : 0;
    buf_reset(&httpd->out);
    if (httpd->out.cap > HTTPD_KEPT_BYTES)
        buf_fini(&httpd->out);
    if (httpd->body.cap > HTTPD_KEPT_BYTES)
        buf_fini(&httpd->body);
    return status;
}

/* Answers what is in input, until the client has to take its answers first. True while the connection lives. */
static bool serve_input(struct conn *conn, struct slice *input)
{
    struct httpd *httpd = conn->httpd;
    bool go_on = true;
    while (input->len && go_on && stream_pending(conn->stream) == 0) {
        go_on = serve_one(conn, input);
        if (httpd->out.len >= HTTPD_BATCH_BYTES && flush(conn) < 0) {
            conn_drop(conn);
            return false;
        }
    }
    if (flush(conn) < 0) {
        conn_drop(conn);
        return false;
    }
    if (!go_on) {
        conn_close(conn);
        return false;
    }
    return true;
}

static void settle(struct conn *conn)
{
    if (stream_pending(conn->stream))
        enter(conn, CONN_WRITING);
    else
        enter(conn, http_reader_started(conn->reader) ? CONN_READING : CONN_IDLE);
}

static void finish_close(struct httpd *httpd);

/* Everything that may run a handler goes through here: a handler may close the server that it runs in. */
static void serve(struct conn *conn, struct slice input)
{
    struct httpd *httpd = conn->httpd;
    bool again = conn->unread.data == input.data && input.len; /* input is what was left over */
    httpd->serving = true;
    if (serve_input(conn, &input)) {
        if (again)
            buf_consume(&conn->unread, conn->unread.len - input.len);
        else
            buf_append_slice(&conn->unread, input);
        settle(conn);
        if (conn->state == CONN_WRITING)
            stream_pause(conn->stream);
        else if (again)
            stream_resume(conn->stream);
    }
    httpd->serving = false;
    if (httpd->closing)
        finish_close(httpd);
}

static void on_data(void *user, struct slice data)
{
    serve(user, data);
}

static void on_drain(void *user)
{
    struct conn *conn = user;
    if (conn->unread.len) {
        serve(conn, buf_slice(&conn->unread));
        return;
    }
    settle(conn);
    stream_resume(conn->stream);
}

static void on_end(void *user, const struct err *err)
{
    if (err->reason == REASON_NONE)
        conn_close(user);
    else
        conn_drop(user);
}

static const struct stream_events conn_events = { .on_data = on_data, .on_end = on_end, .on_drain = on_drain };

static void on_timer(struct timer *timer, void *user)
{
    struct conn *conn = user;
    (void)timer;
    uint64_t now_ms = clock_now_ms();
    if (now_ms < conn->due_ms) {
        arm(conn, now_ms);
        return;
    }
    if (conn->state == CONN_WRITING) {
        conn_drop(conn);
        return;
    }
    if (conn->state == CONN_READING) {
        answer_error(conn, 408, "the request was not complete in time");
        if (flush(conn) < 0) {
            conn_drop(conn);
            return;
        }
    }
    conn_close(conn);
}

/* --- accepting --------------------------------------------------------------------------------------------------------- */

static void turn_away(struct httpd *httpd, struct stream *stream)
{
    static const char body[] = "Service Unavailable: too many connections\n";
    httpd_write_answer(
        &httpd->out, &httpd->date,
        &(struct httpd_answer){
            .status = 503, .content_type = "text/plain; charset=utf-8", .body = slice_make(body, sizeof body - 1), .close = true });
    stream_write(stream, buf_slice(&httpd->out)); /* whether it takes the news or not */
    buf_reset(&httpd->out);
    stream_close(stream, HTTPD_LINGER_MS);
    uint64_t now_ms = clock_now_ms();
    if (httpd->options.on_shed && (httpd->shed_ms == 0 || now_ms - httpd->shed_ms >= HTTPD_SHED_EVERY_MS)) {
        httpd->shed_ms = now_ms;
        httpd->options.on_shed(httpd->options.user);
    }
}

static void on_accept(void *user, struct stream *stream)
{
    struct httpd *httpd = user;
    if (httpd->conn_count >= httpd->options.max_connections) {
        if (list_empty(&httpd->idle)) {
            turn_away(httpd, stream);
            return;
        }
        conn_close(list_entry(httpd->idle.next, struct conn, node));
    }
    const struct httpd_options *options = &httpd->options;
    struct conn *conn = mem_alloc(sizeof *conn);
    conn->httpd = httpd;
    conn->stream = stream;
    conn->peer_local = stream_peer_local(stream);
    conn->reader = http_reader_new(HTTP_KIND_REQUEST, &(struct http_limits){ options->max_head_bytes, options->max_body_bytes });
    buf_init(&conn->unread, LOOP_SLAB_BYTES);
    timer_init(&conn->timer, httpd->loop, on_timer, conn);
    list_init(&conn->node);
    list_push(&httpd->idle, &conn->node);
    httpd->conn_count++;
    uint64_t now_ms = clock_now_ms();
    conn->due_ms = now_ms + options->request_timeout_ms; /* who connects should have something to ask */
    arm(conn, now_ms);
    stream_set_max_pending(stream, HTTPD_OUT_MAX);
    stream_start(stream, &conn_events, conn);
}

/* --- the server -------------------------------------------------------------------------------------------------------- */

struct httpd *httpd_open(struct loop *loop, const struct listen_address *address, const struct listen_options *listen,
                         const struct httpd_options *options, struct err *err)
{
    struct httpd *httpd = mem_alloc(sizeof *httpd);
    httpd->loop = loop;
    httpd->options = *options;
    list_init(&httpd->idle);
    list_init(&httpd->busy);
    buf_init(&httpd->out, HTTPD_OUT_MAX);
    buf_init(&httpd->headers, HTTPD_BATCH_BYTES);
    buf_init(&httpd->body, HTTPD_BODY_MAX);
    httpd->listener = listener_open(loop, address, listen, on_accept, httpd, err);
    if (httpd->listener)
        return httpd;
    mem_free(httpd);
    return NULL;
}

static void close_all(struct list *conns)
{
    while (!list_empty(conns))
        conn_close(list_entry(conns->next, struct conn, node));
}

static void finish_close(struct httpd *httpd)
{
    close_all(&httpd->idle);
    close_all(&httpd->busy);
    buf_fini(&httpd->out);
    buf_fini(&httpd->headers);
    buf_fini(&httpd->body);
    if (httpd->options.fini)
        httpd->options.fini(httpd->options.user);
    mem_free(httpd);
}

void httpd_close(struct httpd *httpd)
{
    panic_if(httpd->closing);
    httpd->closing = true;
    listener_close(httpd->listener);
    if (!httpd->serving)
        finish_close(httpd);
}

uint16_t httpd_port(const struct httpd *httpd)
{
    return listener_port(httpd->listener);
}
