/*
 * A WebSocket connection in a trace (agent/client/conn_trace.h). Reads the headers of frames beside the codec, which hands out whole messages
 * and must not cost more for connections that nobody records. Owns nothing but where it is in the stream of frames.
 */
#include "agent/client/conn_trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/client/http_trace.h"

struct frames { /* where the frame of now is */
    uint8_t header[WS_HEADER_MAX];
    uint8_t have;
    bool open; /* its header is complete */
    uint64_t length, left;
};

struct conn_trace {
    struct trace *trace;
    unsigned number;
    struct frames in;
};

static struct trace *trace_of(const struct conn *conn)
{
    return conn->trace && !conn->trace->trace->closed ? conn->trace->trace : NULL;
}

unsigned conn_trace_number(const struct conn *conn)
{
    return conn->trace ? conn->trace->number : 0;
}

static void look(struct trace *trace, void *user)
{
    const struct conn *conn = user;
    struct trace_tcp tcp;

    if (!conn->stream)
        return;
    stream_tcp(conn->stream, &tcp);
    if (tcp.known)
        trace->tcp = tcp;
}

void conn_trace_begin(struct conn *conn, struct trace *trace)
{
    if (!trace)
        return;
    conn->trace = mem_alloc(sizeof *conn->trace);
    conn->trace->trace = trace;
    conn->trace->number = trace_connection(trace);
    trace->look = look;
    trace->user = conn;
}

void conn_trace_free(struct conn *conn)
{
    if (!conn->trace)
        return;
    if (conn->trace->trace->user == conn)
        conn->trace->trace->look = NULL;
    mem_free(conn->trace);
    conn->trace = NULL;
}

void conn_trace_look(struct conn *conn)
{
    if (trace_of(conn) && conn->trace->trace->user == conn)
        trace_look(conn->trace->trace);
}

void conn_trace_request(struct conn *conn, struct slice text)
{
    http_trace_request(trace_of(conn), conn_trace_number(conn), text);
}

void conn_trace_settings(struct conn *conn, bool sent, bool connects)
{
    const struct trace_by by = { .mark = sent ? TRACE_SENT : TRACE_RECEIVED, .number = conn_trace_number(conn) };

    if (trace_of(conn))
        trace_note_by(trace_of(conn), &by, "%s",
                      sent       ? "HTTP/2: preface and SETTINGS"
                      : connects ? "HTTP/2: SETTINGS, WebSocket is allowed (ENABLE_CONNECT_PROTOCOL)"
                                 : "HTTP/2: SETTINGS, WebSocket is not allowed (no ENABLE_CONNECT_PROTOCOL)");
}

void conn_trace_fields(struct conn *conn, const struct h2_header *fields, size_t count)
{
    http_trace_fields(trace_of(conn), conn_trace_number(conn), fields, count);
}

void conn_trace_answer(struct conn *conn, const struct http_head *head)
{
    http_trace_response(trace_of(conn), conn_trace_number(conn), head);
}

void conn_trace_body(struct conn *conn, struct slice body)
{
    http_trace_body(trace_of(conn), conn_trace_number(conn), body);
}

void conn_trace_bytes(struct conn *conn, struct slice data)
{
    const struct trace_by by = { .mark = TRACE_RECEIVED, .number = conn_trace_number(conn) };
    char shown[TRACE_EXCERPT_BYTES];

    if (!trace_of(conn))
        return;
    text_excerpt(data, TRACE_EXCERPT_CHARS, shown, sizeof shown);
    trace_note_by(trace_of(conn), &by, "%zu bytes: %s", data.len, shown);
}

bool conn_trace_wants_all(const struct conn *conn)
{
    return conn->trace && conn->trace->trace->head_max;
}

/* --- frames --- */

static size_t header_size(const struct frames *frames)
{
    unsigned form = frames->header[1] & 127;

    return frames->have < 2 ? 2 : 2U + (form == 127 ? 8U : form == 126 ? 2U : 0U) + (frames->header[1] & 0x80 ? 4U : 0U);
}

static uint64_t header_length(const struct frames *frames)
{
    unsigned form = frames->header[1] & 127, bytes = form == 127 ? 8 : form == 126 ? 2 : 0;
    uint64_t length = 0;

    for (unsigned i = 0; i < bytes; i++)
        length = length << 8 | frames->header[2 + i];
    return bytes ? length : form;
}

/* Reads on. True: a frame is complete; its header is still there until the next call. */
static bool next_frame(struct frames *frames, struct slice *data)
{
    uint64_t taken;

    if (frames->open && !frames->left) {
        frames->open = false;
        frames->have = 0;
    }
    while (!frames->open && data->len) {
        frames->header[frames->have++] = data->data[0];
        *data = slice_skip(*data, 1);
        if (frames->have < header_size(frames))
            continue;
        frames->open = true;
        frames->length = frames->left = header_length(frames);
    }
    if (!frames->open)
        return false;
    taken = frames->left < data->len ? frames->left : data->len;
    frames->left -= taken;
    *data = slice_skip(*data, (size_t)taken);
    return !frames->left;
}

static const char *opcode_name(unsigned opcode)
{
    static const char *const names[16] = { "cont", "text", "binary", [WS_CLOSE] = "close", "ping", "pong" };

    return names[opcode & 15] ? names[opcode & 15] : "opcode?";
}

static void note_frame(struct trace *trace, const struct trace_by *who, const struct frames *frames, const char *said)
{
    const struct trace_by by = { .mark = who->mark, .number = who->number, .is_frame = true, .bytes = frames->length };
    unsigned first = frames->header[0];

    trace_note_by(trace, &by, "%-6s %7" PRIu64 " B  %-3s %-7s%s%s", opcode_name(first), frames->length, first & 0x80 ? "FIN" : "",
                  first & 0x40 ? "deflate" : "", *said ? "  " : "", said);
}

enum { SAID_BYTES = TRACE_EXCERPT_BYTES + 100 };

/* As text_excerpt, for bytes that are no text: not ASCII is \xNN, whatever it may be by chance. */
static void excerpt_binary(struct slice bytes, char *out, size_t size)
{
    size_t len = 0;

    while (bytes.len && len + sizeof "…" + 4 <= size) {
        size_t span = secret_span(bytes);
        bool plain = bytes.data[0] >= 0x20 && bytes.data[0] < 0x7f;

        len += (size_t)snprintf(out + len, size - len, span ? "***" : plain ? "%c" : "\\x%02x", bytes.data[0]);
        bytes = slice_skip(bytes, span ? span : 1);
    }
    snprintf(out + len, size - len, "%s", bytes.len ? "…" : "");
}

static void quote(enum ws_opcode opcode, struct slice text, bool cut, char *out, size_t size)
{
    char shown[TRACE_EXCERPT_BYTES];

    if (opcode == WS_TEXT || opcode == WS_CLOSE)
        text_excerpt(text, TRACE_EXCERPT_CHARS, shown, sizeof shown);
    else
        excerpt_binary(text, shown, sizeof shown);
    snprintf(out, size, "\"%s%s\"", cut ? "***" : "", shown);
}

/* What a message says. A secret may have begun in the message before it. */
static void quote_message(struct trace *trace, const struct trace_by *by, enum ws_opcode opcode, struct slice text, char *out,
                          size_t size)
{
    size_t rest;

    if (!text.len)
        return;
    rest = opcode & 8 ? 0 : trace_secret_rest(trace, by, text); /* a control frame stands between messages */
    quote(opcode, slice_skip(text, rest), rest, out, size);
}

static void say_close(uint16_t code, struct slice text, char *out, size_t size)
{
    const char *name = ws_close_code_name(code);
    char quoted[TRACE_EXCERPT_BYTES + 4] = "";

    if (text.len)
        quote(WS_CLOSE, text, false, quoted, sizeof quoted);
    if (code == WS_CODE_NO_STATUS)
        snprintf(out, size, "no code");
    else
        snprintf(out, size, "%u%s%s%s%s%s", code, *name ? " (" : "", name, *name ? ")" : "", *quoted ? " " : "", quoted);
}

/* What the message's line says of it. `last`: the payload of its last frame, as far as it is at hand. */
static void say(struct trace *trace, const struct trace_by *by, const struct ws_message *message, struct slice last, bool whole,
                char *out, size_t size)
{
    struct slice body = message->body;
    char about[96] = "";
    size_t len;

    if (message->opcode == WS_CLOSE) {
        say_close(message->close_code, message->body, out, size);
        return;
    }
    if (message->skipped && whole)
        body = last;
    if (message->fragments > 1 || message->compressed)
        snprintf(about, sizeof about, "%s%" PRIu64 " bytes%s: ", message->fragments > 1 ? "all of it, " : "", message->size,
                 message->compressed ? " inflated" : "");
    snprintf(out, size, "%s", about);
    len = strlen(out);
    if (message->skipped && !whole) {
        trace_secret_rest(trace, by, slice_str(""));
        snprintf(out + len, size - len, "(not kept)");
    } else
        quote_message(trace, by, message->opcode, body, out + len, size - len);
}

/* A frame that was received, while it waits: this, and what is at hand of its message. */
struct kept_frame {
    struct frames frame;
    struct ws_message message; /* its body is what follows */
    bool ends, whole;
};

static void make_frame(struct trace *trace, const struct trace_by *by, struct slice bytes)
{
    struct kept_frame kept;
    char said[SAID_BYTES] = "";

    memcpy(&kept, bytes.data, sizeof kept);
    kept.message.body = slice_skip(bytes, sizeof kept);
    if (kept.ends)
        say(trace, by, &kept.message, kept.message.body, kept.whole, said, sizeof said);
    note_frame(trace, by, &kept.frame, said);
}

/* `message` is the one that ends with this frame, or NULL. One that was not kept is still there, where its only frame has just been eaten whole. */
static void note_eaten(struct conn_trace *own, const struct ws_message *message, struct slice eaten)
{
    const struct trace_by by = { .mark = TRACE_RECEIVED, .number = own->number };
    uint64_t length = own->in.length;
    struct kept_frame kept;
    struct slice body = slice_str("");
    uint8_t bytes[TRACE_LATER_MAX];

    memset(&kept, 0, sizeof kept);
    kept.frame = own->in;
    if (message) {
        kept.ends = true;
        kept.message = *message;
        kept.whole = length <= eaten.len && !message->compressed && message->fragments < 2;
        if (!message->skipped || message->opcode == WS_CLOSE)
            body = message->body;
        else if (kept.whole)
            body = slice_skip(eaten, eaten.len - (size_t)length);
    }
    if (sizeof kept + body.len <= sizeof bytes) {
        memcpy(bytes, &kept, sizeof kept);
        if (body.len)
            memcpy(bytes + sizeof kept, body.data, body.len);
        trace_later(own->trace, &by, make_frame, slice_make(bytes, sizeof kept + body.len));
    } else {
        char said[SAID_BYTES] = "";

        kept.message.body = body;
        trace_flush(own->trace);
        say(own->trace, &by, &kept.message, body, kept.whole, said, sizeof said);
        note_frame(own->trace, &by, &own->in, said);
    }
}

void conn_trace_eaten(struct conn *conn, struct slice eaten, const struct ws_message *message)
{
    struct conn_trace *own = conn->trace;
    struct slice rest = eaten;

    if (!trace_of(conn))
        return;
    while (next_frame(&own->in, &rest)) {
        bool ends = message && !rest.len; /* a message is told as soon as its last frame is eaten */

        if (!(own->in.header[0] & 8) && trace_only_counts(own->trace, own->in.length)) {
            if (ends)
                return;
            continue;
        }
        note_eaten(own, ends ? message : NULL, eaten);
        if (ends)
            return;
    }
}

void conn_trace_broken(struct conn *conn, const struct err *err)
{
    const struct conn_trace *own = conn->trace;
    const struct trace_by by = { .mark = TRACE_RECEIVED, .number = conn_trace_number(conn) };
    char header[3 * WS_HEADER_MAX + 1] = "";

    if (!trace_of(conn))
        return;
    for (size_t i = 0; i < conn->reader.header_have; i++)
        snprintf(header + 3 * i, sizeof header - 3 * i, " %02x", conn->reader.header[i]);
    trace_note_by(own->trace, &by, "a frame with the header%s: %s", header, err->text);
}

/* A frame as it was written. The close codes of sent frames are told by conn_trace_closing. */
static void note_sent(struct trace *trace, unsigned number, struct slice frames, const char *said)
{
    const struct trace_by by = { .mark = TRACE_SENT, .number = number };
    struct frames out = { .have = 0 };

    while (next_frame(&out, &frames))
        note_frame(trace, &by, &out, frames.len ? "" : said);
}

static void say_sent(struct trace *trace, unsigned number, struct slice frames, struct slice message)
{
    char said[SAID_BYTES] = "";
    int len = 0;

    if (frames.len && frames.data[0] & 0x40)
        len = snprintf(said, sizeof said, "%zu bytes inflated: ", message.len);
    quote_message(trace, &(struct trace_by){ .mark = TRACE_SENT, .number = number }, (enum ws_opcode)(frames.data[0] & 15), message,
                  said + len, sizeof said - (size_t)len);
    note_sent(trace, number, frames, said);
}

/* The length of the frames, the frames, the message. */
static void make_sent(struct trace *trace, const struct trace_by *by, struct slice bytes)
{
    size_t len;

    memcpy(&len, bytes.data, sizeof len);
    bytes = slice_skip(bytes, sizeof len);
    say_sent(trace, by->number, slice_make(bytes.data, len), slice_skip(bytes, len));
}

void conn_trace_sent(struct conn *conn, struct slice frames, struct slice message)
{
    const struct trace_by by = { .mark = TRACE_SENT, .number = conn_trace_number(conn) };
    struct trace *trace = trace_of(conn);
    uint8_t bytes[TRACE_LATER_MAX];
    size_t at = sizeof frames.len;

    if (!trace)
        return;
    if (frames.len > sizeof bytes || message.len > sizeof bytes || at + frames.len + message.len > sizeof bytes) {
        trace_flush(trace);
        say_sent(trace, by.number, frames, message);
        return;
    }
    memcpy(bytes, &frames.len, at);
    memcpy(bytes + at, frames.data, frames.len);
    if (message.len)
        memcpy(bytes + at + frames.len, message.data, message.len);
    trace_later(trace, &by, make_sent, slice_make(bytes, at + frames.len + message.len));
}

void conn_trace_closing(struct conn *conn, struct slice frame, uint16_t code, const char *text)
{
    char said[SAID_BYTES];

    if (!trace_of(conn))
        return;
    say_close(code, slice_str(text), said, sizeof said);
    note_sent(trace_of(conn), conn_trace_number(conn), frame, said);
}

void conn_trace_ended(struct conn *conn, const struct err *cause)
{
    const struct trace_by by = { .mark = TRACE_NOTE, .number = conn_trace_number(conn) };
    const struct frames *in = conn->trace ? &conn->trace->in : NULL;

    if (!trace_of(conn))
        return;
    if (in->open && in->left)
        trace_note_by(conn->trace->trace, &by, "%" PRIu64 " of the %" PRIu64 " bytes of a frame have come", in->length - in->left,
                      in->length);
    trace_note_by(conn->trace->trace, &by, "%s", cause->text);
}

void conn_trace_shared(struct trace *trace, enum trace_mark mark, enum ws_opcode opcode, struct slice message)
{
    const struct trace_by by = { .mark = mark, .is_frame = true, .bytes = message.len };
    char said[SAID_BYTES] = "";

    if (!trace || trace->closed)
        return;
    quote_message(trace, &by, opcode, message, said, sizeof said);
    trace_note_by(trace, &by, "%-6s %7zu B  shared       %s", opcode_name(opcode), message.len, said);
}
