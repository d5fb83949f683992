/*
 * The intake of an open connection (agent/client/conn_intake.h). A server may send faster than it can be looked at, or what is dear to look at:
 * a kilobyte may inflate to a mebibyte. So each connection gets a slice of each turn of the loop, and what is left waits for the next turn,
 * while reading stops and the kernel slows the server down. Promises that no server keeps the others, the timers and the health endpoints
 * waiting for much longer than a slice, that a row of pings is answered by one pong, and that what is put off comes out of the group's budget.
 */
#include "agent/client/conn_intake.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/conn_parting.h"
#include "agent/client/conn_trace.h"

enum {
    SLICE_US = 2000,            /* what one connection may cost in one turn of the loop */
    SLICE_DEFLATE_BYTES = 1024, /* looked at between two looks at the clock: a mebibyte when inflated */
    SLICE_WINDOW_BYTES = 64,    /* likewise with a window below the largest, where inflating is slow (agent/proto/deflate.c) */
    PONGS_PENDING_MAX = 4096,   /* bytes; a peer that has not read so many gets no further pongs until it has */
    /* A deadline that passes while so much is unread, or in the middle of a message of which so much has come, is the flood's. */
    FLOOD_WAITING_BYTES = 65536,
    FLOOD_MESSAGE_BYTES = 1 << 20,
};

/* What has come and was not looked at, because this turn's share was used up. */
struct conn_rest {
    struct timer timer;
    struct conn *conn;
    uint64_t received_ns;
    size_t at, len;
    uint8_t data[];
};

static void rest_free(struct conn *conn, struct conn_rest *rest)
{
    timer_stop(&rest->timer);
    conn->group->budget.used -= rest->len;
    mem_free(rest);
}

void conn_drop_rest(struct conn *conn)
{
    if (conn->rest)
        rest_free(conn, conn->rest);
    conn->rest = NULL;
}

/* The newest ping that has come. Older ones need no answer (RFC 6455, 5.5.3), and a peer that sends thousands gets one pong for each turn. */
struct pong_due {
    bool due;
    uint8_t len;
    uint8_t data[WS_CONTROL_MAX];
};

/* For whoever counts the server's own pings. */
static void note_heard(struct conn *conn, enum ws_opcode opcode, uint64_t received_ns)
{
    struct conn_pings *pings = conn->pings;

    if (!pings)
        return;
    pings->heard_ns = received_ns;
    if (opcode != WS_PING)
        return;
    pings->gap_ns = received_ns > pings->last_ns ? received_ns - pings->last_ns : 0;
    pings->last_ns = received_ns;
    pings->count++;
}

static void note_ping(struct pong_due *pong, struct slice body)
{
    pong->due = true;
    pong->len = (uint8_t)body.len;
    if (body.len)
        memcpy(pong->data, body.data, body.len);
}

static void send_pong(struct conn *conn, const struct pong_due *pong)
{
    if (pong->due && !conn->parts && stream_pending(conn->stream) < PONGS_PENDING_MAX)
        conn_send(conn, WS_PONG, slice_make(pong->data, pong->len));
}

/* The next piece that is small enough not to cost more than a slice by itself. */
static struct slice next_piece(const struct conn *conn, struct slice data)
{
    const struct deflate_params *deflate = &conn->reader.deflate;
    size_t most = !deflate->on ? data.len : deflate->server_bits < 15 ? SLICE_WINDOW_BYTES : SLICE_DEFLATE_BYTES;

    return slice_make(data.data, data.len < most ? data.len : most);
}

static void count(uint32_t *sum, uint64_t more)
{
    *sum = more > UINT32_MAX - *sum ? UINT32_MAX : *sum + (uint32_t)more;
}

/* Looks at what has come, until that or the slice of time is used up; *data is what is left then. False: the connection is gone. */
static bool take_slice(struct conn *conn, struct slice *data, uint64_t received_ns)
{
    uint64_t until_ns = clock_now_ns() + (uint64_t)SLICE_US * 1000;
    struct pong_due pong = { false, 0, { 0 } };
    struct ws_message message;
    struct err err;

    while (data->len) {
        struct slice piece = next_piece(conn, *data);
        size_t offered = piece.len;
        int got = ws_reader_next(&conn->reader, &piece, &message, &err);

        if (conn->trace)
            conn_trace_eaten(conn, slice_make(data->data, offered - piece.len), got > 0 ? &message : NULL);
        *data = slice_skip(*data, offered - piece.len);
        count(&conn->intake.bytes, offered - piece.len);
        if (got < 0) {
            conn_trace_broken(conn, &err);
            conn_lost_politely(conn, (uint16_t)err.code, &err);
            return false;
        }
        if (got > 0) {
            count(&conn->intake.messages, 1);
            count(&conn->intake.inflated, message.size);
            note_heard(conn, message.opcode, received_ns);
        }
        if (got > 0 && message.opcode == WS_PING)
            note_ping(&pong, message.body);
        else if (got > 0 && !conn_take_message(conn, &message, data->len, received_ns))
            return false;
        if (clock_now_ns() >= until_ns)
            break;
    }
    send_pong(conn, &pong);
    if (!conn->events->on_taken)
        return true;
    struct conn_group *group = conn->group;
    group->current = conn;
    conn->events->on_taken(conn->user);
    if (group->current != conn)
        return false;
    group->current = NULL;
    return true;
}

static void on_rest(struct timer *timer, void *user)
{
    struct conn_rest *rest = user;
    struct conn *conn = rest->conn;
    struct conn_group *group = conn->group;
    struct loop *loop = group->loop;
    struct slice data = slice_make(rest->data + rest->at, rest->len - rest->at);
    uint64_t began_ns;

    if (!loop_work(loop, &began_ns)) {
        timer_start(timer, 0);
        return;
    }
    conn->rest = NULL; /* a callback may close the connection while this buffer is being read */
    if (!take_slice(conn, &data, rest->received_ns)) {
        group->budget.used -= rest->len;
        mem_free(rest);
    } else if (data.len) {
        conn->rest = rest;
        rest->at = rest->len - data.len;
        timer_start(timer, 0);
    } else {
        rest_free(conn, rest);
        stream_resume(conn->stream);
    }
    loop_work_done(loop, began_ns);
}

/* Keeps what this turn has no time for. Reading stops meanwhile, so that there is one of these at most. */
static void put_off(struct conn *conn, struct slice data, uint64_t received_ns)
{
    struct ws_budget *budget = &conn->group->budget;
    struct conn_rest *rest;
    struct err err;

    if (budget->used + data.len > budget->max) {
        err_set(&err, REASON_FLOOD, 1008, "the server sends more than can be read, on many connections");
        conn_lost_politely(conn, 1008, &err);
        return;
    }
    budget->used += data.len;
    rest = mem_alloc(sizeof *rest + data.len);
    rest->conn = conn;
    rest->received_ns = received_ns;
    rest->len = data.len;
    memcpy(rest->data, data.data, data.len);
    timer_init(&rest->timer, conn->group->loop, on_rest, rest);
    timer_start(&rest->timer, 0);
    conn->rest = rest;
    stream_pause(conn->stream);
}

void conn_take_frames(struct conn *conn, struct slice data, uint64_t received_ns)
{
    parting_take_bytes(conn, data.len);
    if (take_slice(conn, &data, received_ns) && data.len)
        put_off(conn, data, received_ns);
}

void conn_asked(struct conn *conn)
{
    conn->intake = (struct conn_intake){ 0 };
    conn->asked_ns = clock_now_ns();
}

static void about(uint64_t bytes, char *out, size_t size)
{
    if (bytes < 10000)
        snprintf(out, size, "%" PRIu64 " bytes", bytes);
    else if (bytes < 10 << 20)
        snprintf(out, size, "%" PRIu64 " KiB", bytes >> 10);
    else
        snprintf(out, size, "%" PRIu64 " MiB", bytes >> 20);
}

bool conn_flooded(const struct conn *conn, struct err *err)
{
    const struct conn_intake *intake = &conn->intake;
    char bytes[32], inflated[64] = "", size[32], passed[32];
    bool waiting;

    if (!conn_is_open(conn))
        return false;
    waiting = conn->rest || stream_unread(conn->stream) >= FLOOD_WAITING_BYTES;
    if (!waiting && conn->reader.skipping && conn->reader.message_opcode && !conn->ignores_messages &&
        intake->bytes < FLOOD_MESSAGE_BYTES) {
        err_set(err, REASON_MESSAGE_TOO_BIG, 0, "the server is in the middle of a message of more than %d bytes, which is not kept",
                CONN_MESSAGE_MAX);
        return true;
    }
    if (!waiting && !(ws_reader_mid_message(&conn->reader) && intake->bytes >= FLOOD_MESSAGE_BYTES))
        return false;
    text_format_elapsed(clock_now_ns() - conn->asked_ns, passed, sizeof passed);
    about(intake->bytes, bytes, sizeof bytes);
    if (intake->inflated / 2 > intake->bytes) {
        about(intake->inflated, size, sizeof size);
        snprintf(inflated, sizeof inflated, " (%s inflated)", size);
    }
    err_set(err, REASON_FLOOD, 0,
            "the server sent %s%s in %" PRIu32 " messages and control frames within %s, and %s: no answer was among it", bytes,
            inflated, intake->messages, passed, waiting ? "more than could be read" : "has not ended the last one");
    return true;
}
