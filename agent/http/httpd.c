/*
 * The HTTP server: accepts, reads requests, writes answers, closes. Called by agent/http/serve.c and agent/http/admin.c, which give the
 * answers. Reading is done by http1, the texts by httpd_answer.c; httpd_stream.c sends answers that go on, httpd_conn.c ends connections,
 * httpd_room.c makes room for new ones.
 *
 * A connection is idle, in the middle of a request, or waiting until its client takes an answer. Each of these states has a deadline, which
 * partial bytes do not move. While an answer waits, nothing is read: so one client can make us keep a small piece of an answer and one read
 * of pipelined requests, and no more. A large answer is kept once for all clients that wait for it, and is sent in pieces.
 *
 * No client gets a 503 for "too busy": a load balancer would take it for the verdict. When there is no room, accepting stops. In the next turn
 * of the loop, when everything that has come is read and answered, one connection is closed for the new one.
 *
 * One client's requests have a budget for each turn of the loop, and so have those of all clients together. The rest waits for the next turn.
 */
#include "agent/http/httpd.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/budget.h"
#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/http/httpd_impl.h"
#include "agent/proto/proxy_read.h"

enum {
    HTTPD_BODY_MAX = 16 << 20,     /* of one answer; the largest is /metrics */
    HTTPD_READ_BYTES = 8 << 10,    /* of one read: what a client that does not take its answers can have waiting */
    HTTPD_SOCKET_BYTES = 32 << 10, /* in the kernel, each way */
    HTTPD_OUT_MAX = HTTPD_BODY_MAX + 2 * HTTPD_BATCH_BYTES,
    HTTPD_KEPT_BYTES = 128 << 10, /* larger buffers are given back */
    HTTPD_CLOSE_BYTES = 16 << 20, /* of unfinished answers that are still sent when the server closes */
    TURN_REQUESTS = 32,           /* of one client in one turn of the loop */
    TURN_BYTES = 256 << 10,
    TURN_CLIENT_US = 500,
    TURN_ALL_US = 2000, /* of all clients; beyond it each still gets one request */
};

/* --- answering -------------------------------------------------------------------------------------------------------- */

static void write_answer(struct httpd_conn *conn, const struct httpd_answer *answer)
{
    httpd_write_answer(&conn->httpd->out, &conn->httpd->date, answer);
    conn->answered = true;
}

static void answer_error(struct httpd_conn *conn, int status, const char *sentence)
{
    struct httpd *httpd = conn->httpd;
    buf_reset(&httpd->body);
    buf_printf(&httpd->body, "%s: %s\n", httpd_status_text(status), sentence);
    write_answer(conn, &(struct httpd_answer){ .status = status,
                                               .content_type = "text/plain; charset=utf-8",
                                               .body = buf_slice(&httpd->body),
                                               .head_only = http_reader_is_head(conn->reader),
                                               .close = true });
}

/* Writes the handler's reply. A large body is kept apart, and sent in pieces after the headers. */
static void write_reply(struct httpd_conn *conn, struct httpd_reply *reply, bool go_on)
{
    struct httpd *httpd = conn->httpd;
    const struct http_head *head = http_reader_head(conn->reader);
    bool head_only = slice_equal_str(head->method, "HEAD");
    if (!reply->shared && httpd->body.len > HTTPD_BATCH_BYTES)
        reply->shared = shared_take(&httpd->body);
    struct slice body = reply->shared ? shared_slice(reply->shared) : buf_slice(&httpd->body);
    write_answer(conn, &(struct httpd_answer){ .status = reply->status,
                                               .content_type = reply->content_type,
                                               .headers = buf_slice(&httpd->headers),
                                               .body = body,
                                               .head_only = head_only || reply->shared,
                                               .close = !go_on,
                                               .old = head->minor == 0,
                                               .stream = reply->stream });
    if (reply->shared && !head_only && body.len) {
        conn->rest = reply->shared;
        conn->rest_at = 0;
    } else {
        shared_unref(reply->shared);
    }
}

/* The handler has no answer yet. False: the server is closing, and so is the connection. */
static bool put_off(struct httpd_conn *conn, const struct httpd_reply *reply, uint64_t first_ms)
{
    shared_unref(reply->shared);
    if (conn->httpd->closing)
        return false;
    conn->waiting = true;
    conn->passing = reply->passing;
    conn->ask_ms = clock_now_ms() + reply->wait_ms;
    conn->first_ms = first_ms;
    return true;
}

/* True when the connection goes on. */
static bool answer_request(struct httpd_conn *conn)
{
    struct httpd *httpd = conn->httpd;
    const struct http_head *head = http_reader_head(conn->reader);
    uint64_t now_ms = clock_now_ms(), first_ms = conn->waiting ? conn->first_ms : now_ms;
    struct httpd_request request = { .method = head->method,
                                     .head = head,
                                     .body = http_reader_body(conn->reader),
                                     .peer_local = conn->peer_local,
                                     .again = conn->waiting,
                                     .waited_ms = now_ms - first_ms };
    conn->proven = true;
    conn->waiting = conn->again = false;
    if (httpd_split_target(&request, head->target) < 0) {
        answer_error(conn, 400, "the request target must be a path, or a URL with a valid host");
        return false;
    }
    buf_reset(&httpd->headers);
    buf_reset(&httpd->body);
    struct httpd_reply reply = {
        .status = 404, .content_type = "text/plain; charset=utf-8", .headers = &httpd->headers, .body = &httpd->body
    };
    httpd->options.handle(httpd->options.user, &request, &reply);
    if (reply.wait_ms)
        return put_off(conn, &reply, first_ms);
    if (reply.stream && !slice_equal_str(head->method, "HEAD")) {
        httpd_stream_begin(conn, &request, &reply);
        return !httpd->closing;
    }
    if (!reply.shared && !reply.stream && httpd->body.len == 0 && reply.status != 200)
        buf_printf(&httpd->body, "%s\n", httpd_status_text(reply.status));
    bool go_on = http_reader_keep_alive(conn->reader) && !httpd->closing;
    write_reply(conn, &reply, go_on);
    return go_on;
}

/* Reads at most one request and answers it. True when the connection goes on. */
static bool serve_one(struct httpd_conn *conn, struct slice *input)
{
    struct err err;
    enum http_progress progress = HTTP_DONE;
    while (!conn->waiting && (progress = http_reader_feed(conn->reader, input, &err)) == HTTP_HEAD)
        if (input->len == 0 && http_reader_wants_continue(conn->reader))
            buf_append_str(&conn->httpd->out, "HTTP/1.1 100 Continue\r\n\r\n");
    if (progress == HTTP_MORE)
        return true;
    if (progress != HTTP_DONE) {
        answer_error(conn, err.code, err.text);
        return false;
    }
    bool go_on = answer_request(conn);
    if (!conn->waiting)
        http_reader_reset(conn->reader);
    return go_on;
}

int httpd_flush(struct httpd_conn *conn)
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

/* Sends pieces of the large answer, until the kernel takes no more or the budget is used up. */
static int push_rest(struct httpd_conn *conn, struct budget *budget)
{
    while (conn->rest && stream_pending(conn->stream) == 0 && budget_left(budget)) {
        struct slice left = slice_skip(shared_slice(conn->rest), conn->rest_at);
        size_t len = left.len < HTTPD_BATCH_BYTES ? left.len : HTTPD_BATCH_BYTES;
        if (stream_write(conn->stream, slice_make(left.data, len)) < 0)
            return -1;
        conn->rest_at += len;
        conn->since_ms = clock_now_ms();
        budget_spend(budget, len);
        if (len < left.len)
            continue;
        shared_unref(conn->rest);
        conn->rest = NULL;
    }
    return 0;
}

/* All clients of one turn share its time. When it is used up, each further client gets one request answered, and the rest in a later turn. So
 * a client with one request, as a probe has, never waits for clients with a thousand. */
static struct budget begin_budget(struct httpd *httpd)
{
    uint64_t turn_ms = uv_now(&httpd->loop->uv), now_ns = clock_now_ns();
    if (turn_ms != httpd->turn_ms) {
        httpd->turn_ms = turn_ms;
        httpd->turn_until_ns = now_ns + (uint64_t)TURN_ALL_US * 1000;
    }
    bool over = now_ns >= httpd->turn_until_ns;
    return budget_of(over ? 1 : TURN_REQUESTS, TURN_BYTES, over ? 0 : TURN_CLIENT_US);
}

/* Answers the requests in input, until the client does not take its answers or its budget is used up. -1: the connection is broken. */
static int serve_input(struct httpd_conn *conn, struct slice *input)
{
    struct httpd *httpd = conn->httpd;
    struct budget budget = begin_budget(httpd);
    while (!conn->ending && !conn->streaming && !conn->rest && (conn->waiting ? conn->again : input->len > 0) &&
           stream_pending(conn->stream) == 0 && budget_left(&budget)) {
        size_t before = httpd->out.len;
        conn->ending = !serve_one(conn, input);
        budget_spend(&budget, httpd->out.len - before);
        if ((httpd->out.len >= HTTPD_BATCH_BYTES || conn->rest) && (httpd_flush(conn) < 0 || push_rest(conn, &budget) < 0))
            return -1;
    }
    if (httpd_flush(conn) < 0)
        return -1;
    return conn->streaming ? httpd_stream_push(conn, &budget) : push_rest(conn, &budget);
}

static void hold_reading(struct httpd_conn *conn, bool hold)
{
    if (hold == conn->paused)
        return;
    conn->paused = hold;
    if (hold)
        stream_pause(conn->stream);
    else
        stream_resume(conn->stream);
}

static void settle(struct httpd_conn *conn)
{
    bool writing = stream_pending(conn->stream) > 0, more = conn->waiting ? conn->again : conn->rest || conn->unread.len;
    if (conn->streaming) {
        httpd_stream_settle(conn);
        hold_reading(conn, conn->unread.len); /* as one that waits: what it sends is not read, and its end is noticed */
        return;
    }
    if (writing || conn->rest)
        httpd_conn_enter(conn, HTTPD_WRITING);
    else if (conn->waiting)
        httpd_conn_wait(conn);
    else
        httpd_conn_enter(conn, http_reader_started(conn->reader) ? HTTPD_READING : HTTPD_IDLE);
    if (more && !writing && list_empty(&conn->turn_node)) {
        list_push(&conn->httpd->turns, &conn->turn_node);
        if (!timer_active(&conn->httpd->turn))
            timer_start(&conn->httpd->turn, 0);
    }
    hold_reading(conn, writing || more || conn->unread.len); /* one that waits is read, so that its end is noticed */
}

static void finish_close(struct httpd *httpd);

/* Every handler runs below this function, because a handler may close its own server (POST /reload). False: the server is freed. */
static bool serve(struct httpd_conn *conn, struct slice input)
{
    struct httpd *httpd = conn->httpd;
    bool again = conn->unread.data == input.data && input.len; /* input is what was left over */
    httpd->serving = true;
    if (serve_input(conn, &input) < 0) {
        httpd_conn_drop(conn);
    } else if (conn->ending && conn->streaming) {
        httpd_stream_end(conn);
    } else if (conn->ending && !conn->rest) {
        httpd_conn_close(conn);
    } else {
        if (again)
            buf_consume(&conn->unread, conn->unread.len - input.len);
        else
            buf_append_slice(&conn->unread, input);
        if (conn->unread.len == 0)
            buf_fini(&conn->unread);
        settle(conn);
        if (conn->state == HTTPD_WRITING)
            httpd_shrink_pending(httpd);
        if (conn->waiting)
            httpd_bound_waiting(httpd, conn);
        if (conn->streaming)
            httpd_bound_streams(httpd, conn);
    }
    httpd->serving = false;
    if (!httpd->closing)
        return true;
    finish_close(httpd);
    return false;
}

/* Takes a PROXY preamble out of what has been read. False while more bytes are needed to tell, or when a bad preamble has closed the
 * connection. */
static bool pass_preamble(struct httpd_conn *conn)
{
    struct proxy_source source;
    struct err err;
    size_t len;
    enum proxy_found found = proxy_read(buf_slice(&conn->unread), &source, &len, &err);
    if (found == PROXY_PART) {
        httpd_conn_enter(conn, HTTPD_READING);
        return false;
    }
    conn->preamble = false;
    if (found == PROXY_BAD) {
        answer_error(conn, err.code, err.text);
        if (httpd_flush(conn) < 0)
            httpd_conn_drop(conn);
        else
            httpd_conn_close(conn);
        return false;
    }
    if (found == PROXY_FOUND) {
        buf_consume(&conn->unread, len);
        /* Any client can write any address here, so the address may take the rights of a local peer away and never give them. */
        conn->peer_local = conn->peer_local && (!source.known || source.loopback);
    }
    return conn->unread.len > 0;
}

static void on_data(void *user, struct slice data)
{
    struct httpd_conn *conn = user;
    if (!conn->preamble) {
        serve(conn, data);
        return;
    }
    buf_append_slice(&conn->unread, data);
    if (pass_preamble(conn))
        serve(conn, buf_slice(&conn->unread));
}

static void on_drain(void *user)
{
    struct httpd_conn *conn = user;
    conn->since_ms = clock_now_ms();
    serve(conn, buf_slice(&conn->unread));
}

static void on_end(void *user, const struct err *err)
{
    if (err->reason == REASON_NONE)
        httpd_conn_close(user);
    else
        httpd_conn_drop(user);
}

static const struct stream_events conn_events = { .on_data = on_data, .on_end = on_end, .on_drain = on_drain };

/* Serves the connections whose budget was used up, each once, until the time of all clients is used up too. */
static void on_turn(struct timer *timer, void *user)
{
    struct httpd *httpd = user;
    size_t waiting = 0;
    list_each (node, &httpd->turns)
        waiting++;
    (void)begin_budget(httpd);
    while (waiting-- && !list_empty(&httpd->turns) && clock_now_ns() < httpd->turn_until_ns) {
        struct httpd_conn *conn = list_entry(httpd->turns.next, struct httpd_conn, turn_node);
        list_remove(&conn->turn_node);
        if (!serve(conn, buf_slice(&conn->unread)))
            return;
    }
    if (!list_empty(&httpd->turns))
        timer_start(timer, 0);
}

static void on_timer(struct timer *timer, void *user)
{
    struct httpd_conn *conn = user;
    (void)timer;
    uint64_t now_ms = clock_now_ms();
    if (conn->state == HTTPD_STREAMING)
        return;
    if (now_ms < conn->due_ms) {
        httpd_conn_arm(conn, now_ms);
        return;
    }
    if (conn->state == HTTPD_WRITING) {
        httpd_conn_drop(conn);
        return;
    }
    if (conn->state == HTTPD_WAITING) {
        conn->again = true;
        serve(conn, buf_slice(&conn->unread));
        return;
    }
    if (conn->state == HTTPD_READING) {
        answer_error(conn, 408, "the request was not complete in time");
        if (httpd_flush(conn) < 0) {
            httpd_conn_drop(conn);
            return;
        }
    }
    httpd_conn_close(conn);
}

void httpd_wake(struct httpd *httpd)
{
    bool any = false;
    list_each (node, &httpd->conns) {
        struct httpd_conn *conn = list_entry(node, struct httpd_conn, node);
        if (!conn->waiting)
            continue;
        any = conn->again = true;
        if (list_empty(&conn->turn_node))
            list_push(&httpd->turns, &conn->turn_node);
    }
    if (any && !timer_active(&httpd->turn))
        timer_start(&httpd->turn, 0);
}

unsigned httpd_waiting(const struct httpd *httpd)
{
    unsigned count = 0;
    list_each (node, &httpd->conns) {
        const struct httpd_conn *conn = list_entry(node, struct httpd_conn, node);
        count += conn->waiting && !conn->passing;
    }
    return count;
}

/* --- accepting --------------------------------------------------------------------------------------------------------- */

static void on_accept(void *user, struct stream *stream)
{
    struct httpd *httpd = user;
    const struct httpd_options *options = &httpd->options;
    struct httpd_conn *conn = mem_alloc(sizeof *conn);
    conn->httpd = httpd;
    conn->stream = stream;
    conn->holder = httpd_hold(httpd, stream);
    conn->peer_local = stream_peer_local(stream);
    conn->preamble = options->proxy_protocol && options->proxy_protocol(options->user);
    conn->reader = http_reader_new(HTTP_KIND_REQUEST, &(struct http_limits){ options->max_head_bytes, options->max_body_bytes });
    buf_init(&conn->unread, PROXY_READ_MAX + HTTPD_READ_BYTES);
    timer_init(&conn->timer, httpd->loop, on_timer, conn);
    list_init(&conn->node);
    list_init(&conn->turn_node);
    list_push(&httpd->conns, &conn->node);
    httpd->conn_count++;
    conn->since_ms = clock_now_ms();
    conn->due_ms = conn->since_ms + options->request_timeout_ms; /* a new connection must bring a request: no idle time yet */
    httpd_conn_arm(conn, conn->since_ms);
    stream_set_max_pending(stream, HTTPD_OUT_MAX);
    stream_set_read_max(stream, HTTPD_READ_BYTES);
    stream_start(stream, &conn_events, conn);
}

/* --- the server -------------------------------------------------------------------------------------------------------- */

struct httpd *httpd_open(struct loop *loop, const struct listen_address *address, const struct listen_options *listen,
                         const struct httpd_options *options, struct err *err)
{
    struct httpd *httpd = mem_alloc(sizeof *httpd);
    struct listen_options with_room = *listen;
    httpd->loop = loop;
    httpd->options = *options;
    list_init(&httpd->conns);
    list_init(&httpd->turns);
    list_init(&httpd->stream_turns);
    list_init(&httpd->holders);
    timer_init(&httpd->turn, loop, on_turn, httpd);
    timer_init(&httpd->stream_turn, loop, httpd_on_stream_turn, httpd);
    timer_init(&httpd->room, loop, httpd_on_room, httpd);
    buf_init(&httpd->out, HTTPD_OUT_MAX);
    buf_init(&httpd->headers, HTTPD_BATCH_BYTES);
    buf_init(&httpd->body, HTTPD_BODY_MAX);
    with_room.receive_bytes = with_room.unsent_bytes = HTTPD_SOCKET_BYTES;
    with_room.has_room = httpd_has_room;
    with_room.on_full = httpd_on_full;
    httpd->listener = listener_open(loop, address, &with_room, on_accept, httpd, err);
    if (!httpd->listener) {
        mem_free(httpd);
        return NULL;
    }
    httpd->seats = mem_alloc(options->max_connections * sizeof *httpd->seats);
    httpd->seated = mem_alloc(options->max_connections * sizeof(struct httpd_conn *));
    return httpd;
}

/* The server closes: the rest of a large answer is handed to the kernel, if the client has been reading it, and up to HTTPD_CLOSE_BYTES. */
static void end_conn(struct httpd_conn *conn, size_t *bytes, uint64_t now_ms)
{
    struct slice left = conn->rest ? slice_skip(shared_slice(conn->rest), conn->rest_at) : (struct slice){ 0 };
    bool stalled = conn->state == HTTPD_WRITING && now_ms - conn->since_ms >= SEAT_GRACE_MS;
    if (!stalled && conn->state == HTTPD_WRITING)
        stream_unbound(conn->stream);
    if (!stalled && conn->streaming) {
        httpd_stream_end(conn);
        return;
    }
    if (stalled || left.len > *bytes || (left.len && stream_write(conn->stream, left) < 0)) {
        httpd_conn_drop(conn);
        return;
    }
    *bytes -= left.len;
    httpd_conn_close(conn);
}

static void finish_close(struct httpd *httpd)
{
    size_t bytes = HTTPD_CLOSE_BYTES;
    uint64_t now_ms = clock_now_ms();
    while (!list_empty(&httpd->conns))
        end_conn(list_entry(httpd->conns.next, struct httpd_conn, node), &bytes, now_ms);
    timer_stop(&httpd->turn);
    timer_stop(&httpd->stream_turn);
    timer_stop(&httpd->room);
    buf_fini(&httpd->out);
    buf_fini(&httpd->headers);
    buf_fini(&httpd->body);
    mem_free(httpd->seats);
    mem_free(httpd->seated);
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

bool httpd_lost(const struct httpd *httpd)
{
    return listener_lost(httpd->listener);
}
