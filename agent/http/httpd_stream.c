/*
 * Answers that go on: a stream's head, its pieces, its end. Called by httpd.c. What the pieces are is the handler's (httpd_options.next).
 *
 * A reader is given the next piece when it has taken the last one, so nothing is queued for it: a piece is kept once for all, and whoever
 * does not read holds one of them until it is dropped. News for many readers is written a few readers at a time, in turns of the loop of its
 * own, so that requests are answered in between.
 */
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/http/httpd_impl.h"

enum {
    TURN_US = 300,         /* of all readers in one turn of the loop */
    TURN_BYTES = 64 << 10, /* of one reader in one turn */
    TURN_PIECES = 16,      /* likewise */
    UNACKED_MS = 20000,    /* a reader whose host has gone without a word is found out after this */
};

void httpd_stream_begin(struct httpd_conn *conn, const struct httpd_request *request, const struct httpd_reply *reply)
{
    struct httpd *httpd = conn->httpd;
    bool old = request->head->minor == 0;
    httpd_write_answer(&httpd->out, &httpd->date,
                       &(struct httpd_answer){ .status = reply->status,
                                               .content_type = reply->content_type,
                                               .headers = buf_slice(reply->headers),
                                               .close = old,
                                               .old = old,
                                               .stream = true });
    conn->answered = true;
    conn->streaming = true;
    conn->chunked = !old;
    conn->first_ms = clock_now_ms();
    conn->stream_reader = (struct httpd_reader){ .topic = reply->topic, .peer_local = request->peer_local };
    httpd->stream_count++;
    shared_unref(reply->shared);
    stream_set_unacked_ms(conn->stream, UNACKED_MS);
}

/* As much of the piece as one write takes; each is a chunk of its own. */
static int write_part(struct httpd_conn *conn, struct budget *budget)
{
    struct buf *out = &conn->httpd->out;
    struct slice left = slice_skip(shared_slice(conn->rest), conn->rest_at);
    size_t len = left.len < HTTPD_BATCH_BYTES ? left.len : HTTPD_BATCH_BYTES;
    if (conn->chunked)
        buf_printf(out, "%zx\r\n", len);
    buf_append(out, left.data, len);
    if (conn->chunked)
        buf_append_str(out, "\r\n");
    conn->rest_at += len;
    budget_spend(budget, len);
    if (len == left.len) {
        shared_unref(conn->rest);
        conn->rest = NULL;
    }
    return httpd_flush(conn);
}

int httpd_stream_push(struct httpd_conn *conn, struct budget *budget)
{
    const struct httpd_options *options = &conn->httpd->options;
    conn->told = false;
    while (!conn->ending && stream_pending(conn->stream) == 0 && budget_left(budget)) {
        if (!conn->rest) {
            httpd_conn_enter(conn, HTTPD_STREAMING); /* the time for a piece begins anew with the next one */
            conn->rest = options->next(options->user, &conn->stream_reader);
            conn->rest_at = 0;
        }
        if (!conn->rest) {
            conn->told = true;
            return 0;
        }
        if (shared_slice(conn->rest).len == 0) { /* no chunk: an empty one would be the end */
            shared_unref(conn->rest);
            conn->rest = NULL;
            continue;
        }
        if (write_part(conn, budget) < 0)
            return -1;
    }
    return 0;
}

static void queue(struct httpd_conn *conn)
{
    struct httpd *httpd = conn->httpd;
    if (!list_empty(&conn->turn_node))
        return;
    list_push(&httpd->stream_turns, &conn->turn_node);
    if (!timer_active(&httpd->stream_turn))
        timer_start(&httpd->stream_turn, 0);
}

/* Where nothing is pending and not all is told, the budget was used up: it goes on in the next turn. */
void httpd_stream_settle(struct httpd_conn *conn)
{
    bool writing = stream_pending(conn->stream) > 0;
    if (writing || conn->rest)
        httpd_conn_enter(conn, HTTPD_WRITING);
    else
        httpd_conn_enter(conn, HTTPD_STREAMING);
    if (!writing && !conn->told)
        queue(conn);
}

void httpd_stream_end(struct httpd_conn *conn)
{
    if (conn->chunked && stream_write(conn->stream, slice_str("0\r\n\r\n")) < 0)
        httpd_conn_drop(conn);
    else
        httpd_conn_close(conn);
}

void httpd_on_stream_turn(struct timer *timer, void *user)
{
    struct httpd *httpd = user;
    uint64_t until_ns = clock_now_ns() + (uint64_t)TURN_US * 1000;
    do {
        if (list_empty(&httpd->stream_turns))
            return;
        struct httpd_conn *conn = list_entry(httpd->stream_turns.next, struct httpd_conn, turn_node);
        struct budget budget = budget_of(TURN_PIECES, TURN_BYTES, TURN_US);
        list_remove(&conn->turn_node);
        if (httpd_stream_push(conn, &budget) < 0) {
            httpd_conn_drop(conn);
            continue;
        }
        httpd_stream_settle(conn);
        if (conn->state == HTTPD_WRITING)
            httpd_shrink_pending(httpd);
    } while (clock_now_ns() < until_ns);
    timer_start(timer, 0);
}

void httpd_news(struct httpd *httpd)
{
    list_each (node, &httpd->conns) {
        struct httpd_conn *conn = list_entry(node, struct httpd_conn, node);
        if (conn->streaming && conn->state == HTTPD_STREAMING) /* one that is still taking its last piece asks by itself */
            queue(conn);
    }
}

unsigned httpd_streams(const struct httpd *httpd)
{
    return httpd->stream_count;
}
