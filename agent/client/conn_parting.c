/*
 * Looks at how a server answers our close frame (agent/client/conn_parting.h): RFC 6455, 5.5.1 and 7.1.1. Called by agent/client/conn.c and
 * conn_intake.c; tells the owner one remark at most, and fails nothing. Messages that come before its close frame were under way and are
 * thrown away. Over HTTP/2 nobody says who ends the stream first: only a moment is left for what is behind the close frame. No answer
 * within the time is no remark: a server may be busy, and some answer only when their application reads.
 */
#include "agent/client/conn_parting.h"

#include <inttypes.h>
#include <stdio.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/conn_trace.h"
#include "agent/net/stream_h2.h"

enum { H2_BEHIND_MS = 20 };

struct conn_parting {
    struct timer timer;
    uint64_t wait_ms, behind; /* behind: bytes that came after its close frame */
    uint16_t sent, code;
    bool h2, closed, last; /* its close frame has come; the time is up, and one more turn is given to what lies in the kernel */
};

static void judge(const struct conn_parting *parting, bool ended, char *out, size_t size)
{
    const char *name = ws_close_code_name(parting->code);
    char waited[32];

    *out = 0;
    text_format_duration((int64_t)parting->wait_ms, waited, sizeof waited);
    if (parting->behind)
        snprintf(out, size, "the server sent %" PRIu64 " bytes behind its close frame (RFC 6455, 5.5.1)", parting->behind);
    else if (parting->code != parting->sent && parting->code != WS_CODE_NO_STATUS)
        snprintf(out, size, "the server answered close code %u with %u%s%s%s: the code is echoed (RFC 6455, 5.5.1)", parting->sent,
                 parting->code, *name ? " (" : "", name, *name ? ")" : "");
    else if (!ended && !parting->h2)
        snprintf(out, size,
                 "the server answered the close frame and left TCP open for %s: the server closes it first (RFC 6455, 7.1.1)",
                 waited);
}

static void finish(struct conn *conn, bool ended)
{
    char remark[256] = "";

    if (conn->parting->closed)
        judge(conn->parting, ended, remark, sizeof remark);
    conn_parted(conn, ended, *remark ? remark : NULL);
}

static void on_time(struct timer *timer, void *user)
{
    struct conn *conn = user;
    struct conn_parting *parting = conn->parting;

    if (!parting->closed || parting->last) {
        finish(conn, false);
        return;
    }
    parting->last = true; /* after a stall of the agent, the FIN may lie there unread */
    timer_start(timer, 1);
}

int conn_part(struct conn *conn, uint16_t code, uint64_t wait_ms)
{
    struct buf frame = BUF_INIT(WS_HEADER_MAX + WS_CONTROL_MAX);
    struct conn_parting *parting;
    const struct ws_reader *reader = &conn->reader;
    bool closes =
        reader->failed || (reader->header_have && (reader->header[0] & 15) == WS_CLOSE); /* by itself: that is no answer */
    int rc = -1;

    if (conn_is_open(conn) && !closes && !conn->rest) { /* with a rest, what it sends cannot be read in time */
        ws_write_close(&frame, WS_CLIENT, code, "");
        conn_trace_closing(conn, buf_slice(&frame), code, "");
        rc = stream_write(conn->stream, buf_slice(&frame));
    }
    buf_fini(&frame);
    if (rc < 0)
        return -1;
    parting = mem_alloc(sizeof *parting);
    parting->sent = code;
    parting->wait_ms = wait_ms;
    parting->h2 = stream_is_h2(conn->stream);
    timer_init(&parting->timer, conn->group->loop, on_time, conn);
    timer_start(&parting->timer, wait_ms);
    if (conn->deflater)
        deflater_free(conn->deflater);
    conn->parting = parting;
    conn->parts = true;
    return 0;
}

void parting_free(struct conn *conn)
{
    if (!conn->parts)
        return;
    timer_stop(&conn->parting->timer);
    mem_free(conn->parting);
    conn->parting = NULL;
    conn->parts = false;
}

bool parting_take_message(struct conn *conn, const struct ws_message *message, size_t behind)
{
    struct conn_parting *parting = conn->parting;

    if (!conn->parts)
        return false;
    if (message->opcode == WS_CLOSE) {
        parting->closed = true;
        parting->code = message->close_code;
        parting->behind = behind;
        timer_start(&parting->timer, parting->h2 ? H2_BEHIND_MS : parting->wait_ms); /* the FIN has as long again */
    }
    return true;
}

void parting_take_bytes(struct conn *conn, size_t count)
{
    if (conn->parts && conn->parting->closed)
        conn->parting->behind += count;
}

/* A close frame that breaks a rule is a part of the handshake. Other frames are looked at by other checks. */
void parting_lost(struct conn *conn, const struct err *err)
{
    bool close = err->reason == REASON_PROTOCOL_ERROR && conn->reader.failed && (conn->reader.header[0] & 15) == WS_CLOSE;
    char remark[ERR_TEXT_MAX];

    snprintf(remark, sizeof remark, "the server answered the close frame with a bad one: %.200s", err->text);
    conn_parted(conn, false, close ? remark : NULL);
}

void parting_ended(struct conn *conn, const struct err *cause)
{
    char remark[160];

    if (conn->parting->closed) {
        finish(conn, true);
        return;
    }
    snprintf(remark, sizeof remark, "the server %s %s without a close frame, in answer to the agent's (RFC 6455, 5.5.1)",
             cause->reason == REASON_NONE ? "closed" : "reset", conn->parting->h2 ? "the HTTP/2 stream" : "TCP");
    conn_parted(conn, true, remark);
}
