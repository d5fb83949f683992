/*
 * Room in the HTTP server: ends a connection when there is no place for the next one, and keeps the ceiling of all answers that wait for
 * their readers. Called by httpd.c and, through it, by the listener. Which connection is ended is the choice of httpd_seat.c.
 */
#include "agent/base/clock.h"
#include "agent/http/httpd_impl.h"

enum { HTTPD_SHED_EVERY_MS = 10000, GIVE_WAY_MAX = 32 /* in one turn: the listener accepts as many */ };

static void note_shed(struct httpd *httpd)
{
    uint64_t now_ms = clock_now_ms();
    if (!httpd->options.on_shed || (httpd->shed_ms != 0 && now_ms - httpd->shed_ms < HTTPD_SHED_EVERY_MS))
        return;
    httpd->shed_ms = now_ms;
    httpd->options.on_shed(httpd->options.user);
}

static struct seat seat_of(const struct httpd_conn *conn)
{
    enum seat_state state = SEAT_OWES;
    if (conn->state == HTTPD_WRITING)
        state = SEAT_TAKES;
    else if (conn->streaming)
        state = SEAT_STREAM;
    else if (conn->waiting || !list_empty(&conn->turn_node))
        state = SEAT_SERVED;
    else if (conn->state == HTTPD_IDLE && conn->proven)
        state = SEAT_IDLE;
    return (struct seat){ state, state == SEAT_STREAM ? conn->first_ms : conn->since_ms, conn->holder->count };
}

/* The connection to end, or NULL and the time until one may be ended. */
static struct httpd_conn *find_victim(struct httpd *httpd, bool writers_only, uint64_t *again_ms)
{
    size_t count = 0;
    list_each (node, &httpd->conns) {
        struct httpd_conn *conn = list_entry(node, struct httpd_conn, node);
        if (writers_only && conn->state != HTTPD_WRITING)
            continue;
        httpd->seated[count] = conn;
        httpd->seats[count++] = seat_of(conn);
    }
    ptrdiff_t chosen = seat_choose(httpd->seats, count, clock_now_ms(), again_ms);
    return chosen == SEAT_NOBODY ? NULL : httpd->seated[chosen];
}

/* Closes at once, without lingering: the descriptor is needed now. */
static void give_way(struct httpd_conn *conn)
{
    bool idle = conn->state == HTTPD_IDLE && conn->proven;
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

/* Runs in the turn after the one that found no room, when everything that had come is read, and again until there is room. A connection that
 * ended meanwhile has made room as well. If descriptors are short and no connection may be ended, another process or the agent's own checks
 * hold them: accepting is the only way to learn that one is free again. */
void httpd_on_room(struct timer *timer, void *user)
{
    struct httpd *httpd = user;
    bool crowded = !httpd_has_room(httpd);
    uint64_t again_ms;
    if (httpd->conn_count >= httpd->full_by || crowded) {
        struct httpd_conn *victim = find_victim(httpd, false, &again_ms);
        size_t waiting = listener_waiting(httpd->listener);
        if (!victim && (crowded || !httpd->waited)) {
            httpd->waited = true;
            timer_start(timer, again_ms);
            return;
        }
        /* One connection for each waiting client: one in a turn would be too slow for a client behind hundreds of others. */
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
        const struct httpd_conn *conn = list_entry(node, struct httpd_conn, node);
        sum += stream_pending(conn->stream) + conn->unread.cap;
    }
    return sum;
}

/* All answers that wait for their readers have one ceiling together. A client that has just asked is never dropped for it. */
void httpd_shrink_pending(struct httpd *httpd)
{
    uint64_t again_ms;
    struct httpd_conn *victim;
    while (pending_bytes(httpd) > httpd->options.max_pending_bytes && (victim = find_victim(httpd, true, &again_ms)))
        give_way(victim);
}

static size_t count_waiting(const struct httpd *httpd)
{
    size_t count = 0;
    list_each (node, &httpd->conns)
        count += list_entry(node, struct httpd_conn, node)->waiting;
    return count;
}

static bool gives_way_before(const struct httpd_conn *conn, const struct httpd_conn *other, bool streams)
{
    if (!streams && conn->passing != other->passing)
        return conn->passing;
    if (conn->holder->count != other->holder->count)
        return conn->holder->count > other->holder->count;
    return conn->first_ms < other->first_ms;
}

/* Not by httpd_seat.c: those that wait, and those that read a stream, have all brought a whole request. A flood from one address ends its own. */
static struct httpd_conn *longest_of_most(struct httpd *httpd, bool streams, const struct httpd_conn *newest)
{
    struct httpd_conn *victim = NULL;
    list_each (node, &httpd->conns) {
        struct httpd_conn *conn = list_entry(node, struct httpd_conn, node);
        if (conn == newest || !(streams ? conn->streaming : conn->waiting))
            continue;
        if (!victim || gives_way_before(conn, victim, streams))
            victim = conn;
    }
    return victim;
}

void httpd_bound_waiting(struct httpd *httpd, const struct httpd_conn *newest)
{
    struct httpd_conn *victim = count_waiting(httpd) > httpd->options.max_waiting ? longest_of_most(httpd, false, newest) : NULL;
    if (!victim)
        return;
    httpd_conn_close(victim);
    note_shed(httpd);
}

void httpd_bound_streams(struct httpd *httpd, const struct httpd_conn *newest)
{
    struct httpd_conn *victim = httpd->stream_count > httpd->options.max_streams ? longest_of_most(httpd, true, newest) : NULL;
    if (!victim)
        return;
    httpd_stream_end(victim);
    note_shed(httpd);
}
