/*
 * The demo's WebSocket connections after the upgrade: echoes, pongs, closes, and the faults in them. Called by
 * agent/demo/demo_server.c with the bytes of a client. The bytes that wait for a slow client are bounded by the stream and by
 * `waiting`.
 */
#include "agent/demo/demo_conn.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/utf8.h"

enum {
    MESSAGE_MAX = 1 << 20,
    FRAME_MAX = MESSAGE_MAX + MESSAGE_MAX / 8 + 64, /* what deflating may add to noise, and the header */
    WAITING_MAX = 4 << 20,
    LINGER_MS = 500,
    CLOSE_WAIT_MS = 1000,
    DROP_MS = 200,
    DELAY_MS = 500,
    PUSH_MS = 1000,
    CHAT_MS = 200,
};

/* --- ends ------------------------------------------------------------------------------------------------------------- */

static void conn_free(struct demo_conn *conn)
{
    list_remove(&conn->node);
    --*conn->count;
    timer_stop(&conn->deadline);
    timer_stop(&conn->chat);
    timer_stop(&conn->delay);
    http_reader_free(conn->http);
    ws_reader_fini(&conn->ws);
    deflater_free(conn->deflater);
    buf_fini(&conn->waiting);
    mem_free(conn);
}

void demo_conn_drop(struct demo_conn *conn)
{
    stream_close_now(conn->stream);
    conn_free(conn);
}

void demo_conn_leave(struct demo_conn *conn)
{
    stream_close(conn->stream, LINGER_MS);
    conn_free(conn);
}

static void abort_conn(struct demo_conn *conn)
{
    stream_abort(conn->stream);
    conn_free(conn);
}

static void on_drop(struct timer *timer, void *user)
{
    (void)timer;
    demo_conn_drop(user);
}

/* --- saying something -------------------------------------------------------------------------------------------------- */

bool demo_conn_send(struct demo_conn *conn, struct slice bytes)
{
    if (stream_write(conn->stream, bytes) == 0)
        return true;
    abort_conn(conn); /* the client does not read its answers */
    return false;
}

static enum ws_role frame_role(const struct demo_conn *conn)
{
    return demo_conn_has(conn, DEMO_BAD_FRAME) ? WS_CLIENT : WS_SERVER;
}

static bool send_frame(struct demo_conn *conn, enum ws_opcode opcode, struct slice payload)
{
    struct buf frame = BUF_INIT(FRAME_MAX);
    panic_if(ws_write_frame(&frame, frame_role(conn), opcode, true, false, payload) < 0);
    bool alive = demo_conn_send(conn, buf_slice(&frame));
    buf_fini(&frame);
    return alive;
}

/* The connection ends with the peer's close frame, or after CLOSE_WAIT_MS without one. */
static bool send_close(struct demo_conn *conn, uint16_t code, const char *text)
{
    struct buf frame = BUF_INIT(WS_HEADER_MAX + WS_CONTROL_MAX);
    panic_if(ws_write_close(&frame, frame_role(conn), code, text) < 0);
    conn->closing = true;
    timer_stop(&conn->chat);
    timer_stop(&conn->delay);
    timer_start(&conn->deadline, CLOSE_WAIT_MS);
    bool alive = demo_conn_send(conn, buf_slice(&frame));
    buf_fini(&frame);
    return alive;
}

static void on_chat(struct timer *timer, void *user)
{
    struct demo_conn *conn = user;
    char text[96];
    uint32_t said = conn->said++;

    timer_start(timer, demo_conn_has(conn, DEMO_CHATTY) ? CHAT_MS : PUSH_MS);
    if (said == 0 && demo_conn_has(conn, DEMO_CHATTY)) {
        send_frame(conn, WS_TEXT, slice_str("welcome, whoever you are"));
        return;
    }
    if (said % 5 == 1 && demo_conn_has(conn, DEMO_CHATTY) && !send_frame(conn, WS_PING, slice_str("still there?")))
        return;
    unsigned cents = 10000 + said * 7919 % 1000;
    snprintf(text, sizeof text, "{\"type\":\"price\",\"symbol\":\"DEMO\",\"price\":%u.%02u,\"seq\":%u}", cents / 100, cents % 100,
             (unsigned)said);
    send_frame(conn, WS_TEXT, slice_str(text));
}

static void on_delay(struct timer *timer, void *user)
{
    struct demo_conn *conn = user;
    (void)timer;
    if (demo_conn_send(conn, buf_slice(&conn->waiting)))
        buf_fini(&conn->waiting);
}

bool demo_conn_say(struct demo_conn *conn, struct slice body)
{
    bool mute = demo_conn_has(conn, DEMO_MUTE) || conn->deaf || conn->closing || !conn->upgraded;

    if (mute || body.len > MESSAGE_MAX)
        return true;
    return send_frame(conn, utf8_valid(body) ? WS_TEXT : WS_BINARY, body);
}

/* --- answering ---------------------------------------------------------------------------------------------------------- */

static int write_echo(struct demo_conn *conn, const struct ws_message *message, struct buf *frame)
{
    const struct deflate_params *params = &conn->ws.deflate;
    struct buf packed = BUF_INIT(FRAME_MAX);
    if (!message->compressed)
        return ws_write_frame(frame, frame_role(conn), message->opcode, true, false, message->body);
    if (!conn->deflater)
        conn->deflater = deflater_new(params->server_bits, params->server_no_context_takeover);
    int rc = deflater_message(conn->deflater, message->body, &packed);
    if (rc == 0)
        rc = ws_write_frame(frame, frame_role(conn), message->opcode, true, true, buf_slice(&packed));
    buf_fini(&packed);
    return rc;
}

/* Sends the beginning of a frame, and nothing after it. */
static bool send_torso(struct demo_conn *conn, const void *bytes, size_t len)
{
    conn->deaf = true;
    timer_stop(&conn->chat);
    return demo_conn_send(conn, slice_make(bytes, len));
}

static bool echo_delayed(struct demo_conn *conn, const struct buf *frame)
{
    if (buf_append_slice(&conn->waiting, buf_slice(frame)) < 0) {
        abort_conn(conn);
        return false;
    }
    if (!timer_active(&conn->delay))
        timer_start(&conn->delay, DELAY_MS);
    return true;
}

static bool echo(struct demo_conn *conn, const struct ws_message *message)
{
    if (demo_conn_has(conn, DEMO_MUTE))
        return true;
    if (demo_conn_has(conn, DEMO_WRONG_ECHO))
        return send_frame(conn, WS_TEXT, slice_str("I would rather talk about something else"));
    if (demo_conn_has(conn, DEMO_BAD_UTF8))
        return send_frame(conn, WS_TEXT, slice_str("caf\xe9 au lait"));
    if (demo_conn_has(conn, DEMO_HALF_FRAME))
        return send_torso(conn, "\x81\x28 only a par", 13);
    if (demo_conn_has(conn, DEMO_HUGE_FRAME))
        return send_torso(conn, "\x82\x7f\0\0\1\0\0\0\0\0", 10);

    struct buf frame = BUF_INIT(FRAME_MAX);
    bool alive;
    panic_if(write_echo(conn, message, &frame) < 0);
    alive = demo_conn_has(conn, DEMO_SLOW_ECHO) || timer_active(&conn->delay) ? echo_delayed(conn, &frame)
                                                                              : demo_conn_send(conn, buf_slice(&frame));
    buf_fini(&frame);
    return alive;
}

static bool answer_close(struct demo_conn *conn, const struct ws_message *message)
{
    if (conn->closing || send_close(conn, message->close_code, NULL))
        demo_conn_leave(conn);
    return false;
}

static bool answer_message(struct demo_conn *conn, const struct ws_message *message)
{
    if (message->opcode == WS_CLOSE)
        return answer_close(conn, message);
    if (conn->closing || message->opcode == WS_PONG)
        return true;
    if (message->opcode == WS_PING)
        return demo_conn_has(conn, DEMO_NO_PONG) || send_frame(conn, WS_PONG, message->body);
    return echo(conn, message);
}

/* The client has broken a rule. The server sends a close frame and closes TCP at once; it reads nothing more (RFC 6455, 7.1.1 and
 * 7.1.7). */
static void fail(struct demo_conn *conn, const struct err *err)
{
    if (conn->closing || send_close(conn, (uint16_t)err->code, err->text))
        demo_conn_leave(conn);
}

bool demo_conn_data(struct demo_conn *conn, struct slice data)
{
    struct ws_message message;
    struct err err;
    int got = 0;

    while (!conn->deaf && (got = ws_reader_next(&conn->ws, &data, &message, &err)) > 0)
        if (!answer_message(conn, &message))
            return false;
    if (got == 0 || conn->deaf)
        return true;
    fail(conn, &err);
    return false;
}

/* --- faults ------------------------------------------------------------------------------------------------------------- */

bool demo_conn_apply(struct demo_conn *conn)
{
    if (demo_conn_has(conn, DEMO_REFUSE) || demo_conn_has(conn, DEMO_RESET)) {
        abort_conn(conn);
        return false;
    }
    if (!conn->upgraded || conn->closing)
        return true;
    if (demo_conn_has(conn, DEMO_SILENT_DROP)) {
        conn->deaf = true;
        timer_stop(&conn->chat);
        timer_stop(&conn->delay);
        buf_fini(&conn->waiting);
    }
    if (conn->deaf)
        return true;
    if (demo_conn_has(conn, DEMO_CLOSE_1011))
        return send_close(conn, 1011, "the demo was told to");
    if (demo_conn_has(conn, DEMO_DROP_200MS) && !timer_active(&conn->deadline))
        timer_start(&conn->deadline, DROP_MS);
    if (demo_conn_has(conn, DEMO_CHATTY) && conn->said == 0)
        timer_start(&conn->chat, 0);
    else if (conn->pushes && !timer_active(&conn->chat))
        timer_start(&conn->chat, PUSH_MS);
    if (!conn->pushes && !demo_conn_has(conn, DEMO_CHATTY))
        timer_stop(&conn->chat);
    return true;
}

bool demo_conn_upgraded(struct demo_conn *conn, const struct deflate_params *deflate)
{
    struct loop *loop = stream_loop(conn->stream);

    conn->upgraded = true;
    ws_reader_init(&conn->ws, WS_SERVER, MESSAGE_MAX, deflate);
    buf_init(&conn->waiting, WAITING_MAX);
    timer_stop(&conn->deadline);
    timer_init(&conn->deadline, loop, on_drop, conn);
    timer_init(&conn->chat, loop, on_chat, conn);
    timer_init(&conn->delay, loop, on_delay, conn);
    stream_set_max_pending(conn->stream, WAITING_MAX);
    return demo_conn_apply(conn);
}
