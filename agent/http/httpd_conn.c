/*
 * One connection of the HTTP server: its deadline, how it ends, and the address that holds it. Owns nothing else. Called by httpd.c, which
 * serves it, and httpd_room.c, which ends it to make room. A connection is freed in one place (httpd_conn_free), in the call that ends it.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/http/httpd_impl.h"

/* --- addresses --------------------------------------------------------------------------------------------------------- */

struct holder *httpd_hold(struct httpd *httpd, const struct stream *stream)
{
    char name[sizeof((struct holder *)0)->name];
    stream_peer(stream, name, sizeof name);
    list_each (node, &httpd->holders) {
        struct holder *holder = list_entry(node, struct holder, node);
        if (strcmp(holder->name, name) == 0) {
            holder->count++;
            return holder;
        }
    }
    struct holder *holder = mem_alloc(sizeof *holder);
    snprintf(holder->name, sizeof holder->name, "%s", name);
    holder->count = 1;
    list_init(&holder->node);
    list_push(&httpd->holders, &holder->node);
    return holder;
}

static void release(struct holder *holder)
{
    if (--holder->count)
        return;
    list_remove(&holder->node);
    mem_free(holder);
}

/* --- the life of a connection ---------------------------------------------------------------------------------------- */

void httpd_conn_free(struct httpd_conn *conn)
{
    struct httpd *httpd = conn->httpd;
    list_remove(&conn->node);
    list_remove(&conn->turn_node);
    timer_stop(&conn->timer);
    http_reader_free(conn->reader);
    buf_fini(&conn->unread);
    shared_unref(conn->rest);
    release(conn->holder);
    httpd->conn_count--;
    httpd->stream_count -= conn->streaming;
    mem_free(conn);
    if (httpd->full && !httpd->closing)
        timer_start(&httpd->room, 0);
}

void httpd_conn_close(struct httpd_conn *conn)
{
    stream_close(conn->stream, loop_linger_ms(conn->httpd->loop));
    httpd_conn_free(conn);
}

void httpd_conn_drop(struct httpd_conn *conn)
{
    stream_abort(conn->stream);
    httpd_conn_free(conn);
}

void httpd_conn_arm(struct httpd_conn *conn, uint64_t now_ms)
{
    if (timer_active(&conn->timer) && conn->armed_ms <= conn->due_ms)
        return;
    conn->armed_ms = conn->due_ms;
    timer_start(&conn->timer, conn->due_ms > now_ms ? conn->due_ms - now_ms : 0);
}

/* Each state has one deadline. Only a finished request restarts it; partial bytes do not (slowloris). */
void httpd_conn_enter(struct httpd_conn *conn, enum httpd_state state)
{
    const struct httpd_options *options = &conn->httpd->options;
    bool fresh = state != conn->state || (conn->answered && state != HTTPD_WRITING);
    if (state == HTTPD_IDLE && conn->state == HTTPD_READING && !conn->answered)
        fresh = false; /* blank lines in front of a request are no request */
    conn->answered = false;
    conn->state = state;
    if (!fresh)
        return;
    uint64_t now_ms = clock_now_ms();
    conn->since_ms = now_ms;
    if (state == HTTPD_STREAMING) /* no deadline: nothing is owed until there is news */
        return;
    conn->due_ms = now_ms + (state == HTTPD_IDLE ? options->idle_timeout_ms : options->request_timeout_ms);
    httpd_conn_arm(conn, now_ms);
}

void httpd_conn_wait(struct httpd_conn *conn)
{
    conn->answered = false;
    conn->state = HTTPD_WAITING;
    conn->since_ms = conn->first_ms;
    conn->due_ms = conn->ask_ms;
    httpd_conn_arm(conn, clock_now_ms());
}
