/*
 * Room in the HTTP server: which address holds how many connections, who gives way where there is none for the next, and the ceiling of
 * all answers that wait for their readers. Called by httpd.c and, through it, by the listener. The choice itself is httpd_seat.c's.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/http/httpd_impl.h"

enum { HTTPD_SHED_EVERY_MS = 10000, GIVE_WAY_MAX = 32 /* in one turn: the listener accepts as many */ };

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

void httpd_release(struct holder *holder)
{
    if (--holder->count)
        return;
    list_remove(&holder->node);
    mem_free(holder);
}

/* --- room ------------------------------------------------------------------------------------------------------------- */

static void note_shed(struct httpd *httpd)
{
    uint64_t now_ms = clock_now_ms();
    if (!httpd->options.on_shed || (httpd->shed_ms != 0 && now_ms - httpd->shed_ms < HTTPD_SHED_EVERY_MS))
        return;
    httpd->shed_ms = now_ms;
    httpd->options.on_shed(httpd->options.user);
}

static struct seat seat_of(const struct conn *conn)
{
    enum seat_state state = SEAT_OWES;
    if (conn->state == CONN_WRITING)
        state = SEAT_TAKES;
    else if (!list_empty(&conn->turn_node))
        state = SEAT_SERVED;
    else if (conn->state == CONN_IDLE && conn->proven)
        state = SEAT_IDLE;
    return (struct seat){ state, conn->since_ms, conn->holder->count };
}

/* The one that gives way, or NULL and the time until somebody may. */
static struct conn *find_victim(struct httpd *httpd, bool writers_only, uint64_t *again_ms)
{
    size_t count = 0;
    list_each (node, &httpd->conns) {
        struct conn *conn = list_entry(node, struct conn, node);
        if (writers_only && conn->state != CONN_WRITING)
            continue;
        httpd->seated[count] = conn;
        httpd->seats[count++] = seat_of(conn);
    }
    ptrdiff_t chosen = seat_choose(httpd->seats, count, clock_now_ms(), again_ms);
    return chosen == SEAT_NOBODY ? NULL : httpd->seated[chosen];
}

/* At once: what is wanted is its place, and its descriptor. */
static void give_way(struct conn *conn)
{
    bool idle = conn->state == CONN_IDLE && conn->proven;
    struct httpd *httpd = conn->httpd;
    stream_close_now(conn->stream);
    httpd_conn_free(conn);
    if (!idle)
        note_shed(httpd);
}

bool httpd_has_room(void *user)
{
    const struct httpd *httpd = user;
    return httpd->conn_count < httpd->options.max_connections;
}

void httpd_on_full(void *user)
{
    struct httpd *httpd = user;
    httpd->full = true;
    httpd->full_by = httpd->conn_count;
    timer_start(&httpd->room, 0);
}

/* In the turn behind the one that found no room, when everything that had come by then has been read; and again, until there is some. A
 * connection that ended meanwhile has made room as well. Where descriptors are short and nobody can go, somebody else holds them: whether
 * one is free again is only known by trying. */
void httpd_on_room(struct timer *timer, void *user)
{
    struct httpd *httpd = user;
    bool crowded = !httpd_has_room(httpd);
    uint64_t again_ms;
    if (httpd->conn_count >= httpd->full_by || crowded) {
        struct conn *victim = find_victim(httpd, false, &again_ms);
        size_t waiting = listener_waiting(httpd->listener);
        if (!victim && (crowded || !httpd->waited)) {
            httpd->waited = true;
            timer_start(timer, again_ms);
            return;
        }
        /* As many as wait: one in a turn would be too slow for whoever stands behind hundreds of others. */
        for (size_t gone = 1; victim; gone++) {
            give_way(victim);
            victim = gone < waiting && gone < GIVE_WAY_MAX ? find_victim(httpd, false, &again_ms) : NULL;
        }
        timer_stop(timer);
    }
    httpd->full = httpd->waited = false;
    listener_resume(httpd->listener);
}

static size_t pending_bytes(const struct httpd *httpd)
{
    size_t sum = shared_live_bytes();
    list_each (node, &httpd->conns) {
        const struct conn *conn = list_entry(node, struct conn, node);
        sum += stream_pending(conn->stream) + conn->unread.cap;
    }
    return sum;
}

/* All answers that wait for their readers have one ceiling together. Who has just asked is never dropped for it. */
void httpd_shrink_pending(struct httpd *httpd)
{
    uint64_t again_ms;
    struct conn *victim;
    while (pending_bytes(httpd) > httpd->options.max_pending_bytes && (victim = find_victim(httpd, true, &again_ms)))
        give_way(victim);
}
