/*
 * A client's WebSocket connection on the transport: dial, upgrade, messages, goodbye (agent/client/conn.h).
 *
 * Called by the step runner (agent/core/talk.c) and by probes that hold connections. It judges nothing but the protocol and owns no
 * deadline: whoever opened it does. The request is built by agent/client/conn_offer.c.
 */
#include "agent/client/conn.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/client/backoff.h"
#include "agent/client/conn_farewell.h"
#include "agent/client/conn_intake.h"
#include "agent/client/conn_offer.h"
#include "agent/client/conn_parting.h"
#include "agent/client/conn_trace.h"
#include "agent/conf/dialect.h"
#include "agent/net/stream_h2.h"
#include "agent/proto/http_date.h"
#include "agent/proto/upgrade_h2.h"

enum { HEAD_BYTES_MAX = 16384, BODY_BYTES_MAX = 4096, REFUSAL_WAIT_MS = 250, REQUEST_BYTES_USUAL = 511 };
/* What frames and DEFLATE may add to a message. */
enum { FRAMING_BYTES_MAX = 16384 };

struct conn_setup {
    struct dial *dial;
    struct dial_target target;
    const struct url *url;
    struct conn_report *report;
    struct conn_offer offer;
    char key[WS_KEY_LEN + 1];
    struct http_reader *reader; /* NULL over HTTP/2, which has: */
    bool settled;               /* the server's SETTINGS have come */
    const struct http_head *head;
    struct buf body;
    uint64_t requested_ns;
    const struct target_conf *conf;
    /* A response that is no 101: why it was judged so, while its body, where servers say why, is waited for. */
    bool refused;
    struct err refusal;
    struct timer patience;
    uint8_t first[16]; /* the first bytes that came, to tell what is no HTTP/1.1 */
    size_t first_len;
};

static struct http_reader *take_reader(struct conn_group *group)
{
    static const struct http_limits limits = { HEAD_BYTES_MAX, BODY_BYTES_MAX };
    struct http_reader *reader = group->spare;

    group->spare = NULL;
    return reader ? reader : http_reader_new(HTTP_KIND_RESPONSE, &limits);
}

static void give_reader(struct conn_group *group, struct http_reader *reader)
{
    if (group->spare) {
        http_reader_free(reader);
        return;
    }
    http_reader_reset(reader);
    group->spare = reader;
}

static void setup_free(struct conn *conn)
{
    struct conn_setup *setup = conn->setup;

    if (!setup)
        return;
    if (setup->dial)
        dial_cancel(setup->dial);
    if (setup->reader)
        give_reader(conn->group, setup->reader);
    buf_fini(&setup->body);
    timer_stop(&setup->patience);
    conn_offer_fini(&setup->offer);
    mem_free(setup);
    conn->setup = NULL;
}

/* Back to idle. The stream has been handed on or closed by the caller. */
static void conn_release(struct conn *conn)
{
    setup_free(conn);
    conn_drop_rest(conn);
    parting_free(conn);
    conn_trace_free(conn);
    ws_reader_fini(&conn->reader);
    if (conn->deflater)
        deflater_free(conn->deflater);
    if (conn->group && conn->group->current == conn)
        conn->group->current = NULL;
    memset(conn, 0, sizeof *conn);
}

static void upgrade_stop_clock(struct conn_setup *setup)
{
    if (setup->report->requested && !setup->refused)
        setup->report->upgrade_ns = clock_now_ns() - setup->requested_ns;
}

/* The connection is over by the peer's doing: tells the owner, as the last thing. */
static void conn_lost(struct conn *conn, const struct err *err)
{
    const struct conn_events *events = conn->events;
    void *user = conn->user;
    struct stream *stream = conn->stream;

    if (conn->setup) {
        upgrade_stop_clock(conn->setup);
        /* Clients ask for HTTP/2 in TLS only: where that was agreed on, this answer is a fault. */
        if (!conn->setup->url->tls && stream && stream_h2_is_http1(stream))
            conn->setup->report->h2_gap = H2_GAP_NOT_SPOKEN;
    }
    conn_trace_look(conn);
    conn_release(conn);
    if (stream)
        stream_close_now(stream);
    events->on_lost(user, err);
}

/* As conn_lost, but the peer is still owed an answer: our close frame, and time to read it. */
void conn_lost_politely(struct conn *conn, uint16_t code, const struct err *err)
{
    const struct conn_events *events = conn->events;
    void *user = conn->user;

    if (conn->parts) {
        parting_lost(conn, err);
        return;
    }
    conn_trace_look(conn);
    conn_close(conn, code, "");
    events->on_lost(user, err);
}

void conn_parted(struct conn *conn, bool ended, const char *remark)
{
    const struct conn_events *events = conn->events;
    void *user = conn->user;
    struct stream *stream = conn->stream;
    struct conn_group *group = conn->group;
    bool shared = conn->shared;

    conn_trace_look(conn);
    conn_release(conn);
    if (ended)
        stream_close_now(stream);
    else
        farewell_begin(group, stream, shared);
    events->on_parted(user, remark);
}

static void lost_by_close(struct conn *conn, const struct ws_message *message, size_t behind)
{
    struct err err;
    char text[TEXT_EXCERPT_BYTES(WS_CLOSE_REASON_MAX)] = "";
    const char *name = ws_close_code_name(message->close_code);

    if (message->body.len)
        text_excerpt(message->body, WS_CLOSE_REASON_MAX, text, sizeof text);
    if (message->close_code == WS_CODE_NO_STATUS)
        err_set(&err, REASON_CLOSED_BY_SERVER, WS_CODE_NO_STATUS, "the server closed the connection without a code (1005)");
    else
        err_set(&err, REASON_CLOSED_BY_SERVER, message->close_code, "the server closed the connection with code %u%s%s%s%s%s%s",
                message->close_code, *name ? " (" : "", name, *name ? ")" : "", *text ? ": \"" : "", text, *text ? "\"" : "");
    if (behind) {
        size_t len = strlen(err.text);
        snprintf(err.text + len, sizeof err.text - len, ", and sent %zu bytes behind its close frame (RFC 6455, 5.5.1)", behind);
    }
    conn_lost_politely(conn, message->close_code, &err);
}

bool conn_take_message(struct conn *conn, const struct ws_message *message, size_t behind, uint64_t received_ns)
{
    struct conn_group *group = conn->group;

    if (parting_take_message(conn, message, behind))
        return true;
    if (message->opcode == WS_CLOSE) {
        lost_by_close(conn, message, behind);
        return false;
    }
    group->current = conn;
    conn->events->on_message(conn->user, message, received_ns);
    if (group->current != conn)
        return false;
    group->current = NULL;
    return true;
}

static const struct http_head *response_head(const struct conn_setup *setup)
{
    return setup->reader ? http_reader_head(setup->reader) : setup->head;
}

static bool response_started(const struct conn_setup *setup)
{
    bool head = setup->head;

    return setup->reader ? http_reader_started(setup->reader) : head;
}

static struct slice response_body(const struct conn_setup *setup)
{
    return setup->reader ? http_reader_body(setup->reader) : buf_slice(&setup->body);
}

/* The sentence of a refusal, with what has come of its body. */
static void explain_refusal(const struct conn_setup *setup, struct err *err)
{
    *err = setup->refusal;
    upgrade_explain(response_head(setup), response_body(setup), &setup->offer.offer,
                    setup->conf->dialect && setup->conf->dialect->hides_origin, err);
}

static void refuse(struct conn *conn)
{
    struct err err;

    explain_refusal(conn->setup, &err);
    conn_trace_body(conn, response_body(conn->setup));
    conn_lost(conn, &err);
}

static void on_patience(struct timer *timer, void *user)
{
    (void)timer;
    refuse(user);
}

/* More of the body of a refusal. It ends with the response, at the ceiling, or at the timer. */
static void take_refusal(struct conn *conn, struct slice data)
{
    struct conn_setup *setup = conn->setup;
    struct err err;

    if (!setup->reader) {
        size_t room = BODY_BYTES_MAX - setup->body.len;

        buf_append(&setup->body, data.data, data.len < room ? data.len : room);
        if (data.len >= room)
            refuse(conn);
        return;
    }
    if (http_reader_feed(conn->setup->reader, &data, &err) != HTTP_MORE ||
        http_reader_body_total(conn->setup->reader) >= BODY_BYTES_MAX)
        refuse(conn);
}

/* The head is here: judge it, and on success become an open connection. */
static void take_head(struct conn *conn, struct slice rest, uint64_t now_ns)
{
    struct conn_setup *setup = conn->setup;
    const struct http_head *head = response_head(setup);
    struct upgrade_agreed agreed = { 0 };
    struct conn_group *group = conn->group;
    struct err err;

    conn_trace_answer(conn, head);
    setup->report->http_status = head->status;
    if (http_header_get(head, "Date") && http_date_s(*http_header_get(head, "Date")) > 0)
        setup->report->date_s = http_date_s(*http_header_get(head, "Date"));
    if (head->status != 101 && head->status != 200 && http_header_get(head, "Retry-After"))
        setup->report->retry_after_ms = backoff_retry_after_ms(*http_header_get(head, "Retry-After"), clock_wall_ms());
    if (upgrade_validate_response(head, &setup->offer.offer, setup->key, &agreed, &err) < 0) {
        if (head->status == (setup->reader ? 101 : 200) || err.reason == REASON_UPGRADE_REDIRECT) {
            conn_lost(conn, &err);
            return;
        }
        upgrade_stop_clock(setup);
        setup->refused = true;
        setup->refusal = err;
        timer_start(&setup->patience, REFUSAL_WAIT_MS);
        take_refusal(conn, rest);
        return;
    }
    setup->report->upgrade_ns = now_ns - setup->requested_ns;
    memcpy(setup->report->subprotocol, agreed.subprotocol, sizeof agreed.subprotocol);
    setup->report->deflate = agreed.deflate.on;
    setup->report->remark = agreed.remark;
    setup_free(conn);
    stream_h2_drop_head(conn->stream);
    ws_reader_init(&conn->reader, WS_CLIENT, conn->ignores_messages && !conn_trace_wants_all(conn) ? 0 : CONN_MESSAGE_MAX,
                   &agreed.deflate);
    ws_reader_skip(&conn->reader, &conn->group->budget);
    conn->asked_ns = now_ns;
    if (conn->pings)
        *conn->pings = (struct conn_pings){ .last_ns = now_ns, .heard_ns = now_ns };
    group->current = conn;
    conn->events->on_open(conn->user);
    if (group->current != conn)
        return;
    group->current = NULL;
    if (rest.len)
        conn_take_frames(conn, rest, now_ns);
}

static void note_first(struct conn_setup *setup, struct slice data)
{
    size_t room = sizeof setup->first - setup->first_len, len = data.len < room ? data.len : room;

    if (len)
        memcpy(setup->first + setup->first_len, data.data, len);
    setup->first_len += len;
}

static void on_data(void *user, struct slice data)
{
    struct conn *conn = user;
    uint64_t now_ns = clock_now_ns();
    struct err err;

    if (!conn->setup) {
        conn_take_frames(conn, data, now_ns);
        return;
    }
    conn->setup->report->answered = true;
    if (conn->setup->refused) {
        take_refusal(conn, data);
        return;
    }
    if (!conn->setup->reader)
        return;
    note_first(conn->setup, data);
    switch (http_reader_feed(conn->setup->reader, &data, &err)) {
    case HTTP_HEAD:
        take_head(conn, data, now_ns);
        return;
    case HTTP_BAD:
    case HTTP_TOO_LARGE:
        conn_trace_bytes(conn, slice_make(conn->setup->first, conn->setup->first_len));
        err.reason = REASON_HTTP_MALFORMED;
        if (upgrade_is_http2(slice_make(conn->setup->first, conn->setup->first_len)))
            err_set(&err, REASON_HTTP_MALFORMED, 0,
                    "the server answers in HTTP/2 only: let it take HTTP/1.1 as well, or set target.http: 2 if it speaks RFC 8441");
        conn_lost(conn, &err);
        return;
    case HTTP_MORE:
    case HTTP_DONE:
        return;
    }
}

static void on_end(void *user, const struct err *cause)
{
    struct conn *conn = user;
    /* By itself, by the network, or by the agent, as the peer broke HTTP/2. */
    const char *how = cause->reason == REASON_NONE ? "closed" : cause->reason == REASON_HTTP_MALFORMED ? "ended" : "reset";
    const char *goaway = cause->reason == REASON_NONE && conn->stream ? stream_h2_goaway(conn->stream) : "";
    struct err err;

    conn_trace_ended(conn, cause);
    if (conn->parts) {
        parting_ended(conn, cause);
        return;
    }
    if (conn->setup && conn->setup->refused) {
        refuse(conn);
        return;
    }
    if (conn->setup && (cause->reason == REASON_TLS_HANDSHAKE_FAILED || cause->reason == REASON_TLS_CLIENT_CERT_REJECTED))
        err = *cause; /* TLS 1.3: a refused client certificate shows only now */
    else if (conn->setup && !conn->setup->reader && cause->reason != REASON_NONE)
        err = *cause; /* which says what HTTP/2 says */
    else if (conn->setup && response_started(conn->setup))
        err_set(&err, REASON_CONNECTION_RESET, 0, "the server %s the connection in the middle of its response", how);
    else if (conn->setup)
        err_set(&err, REASON_CONNECTION_RESET, 0, "the server %s the connection without a response to the upgrade", how);
    else if (cause->reason == REASON_FLOOD)
        err = *cause;
    else
        err_set(&err, REASON_CLOSED_ABNORMAL, WS_CODE_ABNORMAL, "the connection was %s without a close frame (1006)%s%s%s%s%s", how,
                *goaway ? ", " : "", goaway, cause->reason != REASON_NONE ? ": " : "",
                cause->reason != REASON_NONE ? cause->text : "",
                ws_reader_mid_message(&conn->reader) ? ", in the middle of a message" : "");
    conn_lost(conn, &err);
}

static const struct stream_events stream_events = { .on_data = on_data, .on_end = on_end };

static void lost_by_size(struct conn *conn)
{
    struct err err;

    err_set(&err, REASON_AGENT_ERROR, 0, "the upgrade request is larger than %d bytes: shorten target.headers or the token",
            CONN_REQUEST_MAX);
    conn_lost(conn, &err);
}

/* --- over HTTP/2 ---------------------------------------------------------------------------------------------------- */

static void on_h2_ready(void *user, bool connects)
{
    struct conn *conn = user;
    struct conn_setup *setup = conn->setup;
    struct upgrade_h2 request;
    struct err err;

    setup->report->answered = setup->settled = true;
    conn_trace_settings(conn, false, connects);
    if (!connects) {
        setup->report->h2_gap = H2_GAP_NOT_ALLOWED;
        err_set(&err, REASON_UPGRADE_REFUSED, 0,
                "the server speaks HTTP/2 and does not allow WebSocket over it (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441)");
        conn_lost(conn, &err);
        return;
    }
    int rc = upgrade_h2_request(&request, &setup->offer.offer, setup->url->tls);
    if (rc == 0)
        conn_trace_fields(conn, request.fields, request.count);
    if (rc == 0)
        stream_h2_request(conn->stream, request.fields, request.count);
    upgrade_h2_wipe(&request);
    if (rc < 0)
        lost_by_size(conn);
}

static void on_h2_response(void *user, const struct http_head *head)
{
    struct conn *conn = user;

    conn->setup->head = head;
    take_head(conn, slice_make(NULL, 0), clock_now_ns());
}

static void begin_h2(struct conn *conn)
{
    static const struct stream_h2_events events = { on_h2_ready, on_h2_response };
    const struct conn_setup *setup = conn->setup;
    const char *chosen = setup->report->dial.tls.alpn;
    struct err err;

    if (setup->url->tls && strcmp(chosen, "h2") != 0) {
        setup->report->h2_gap = H2_GAP_NOT_SPOKEN;
        err_set(&err, REASON_UPGRADE_REFUSED, 0, "the server does not speak HTTP/2: of ALPN's h2 it chose %s",
                *chosen ? chosen : "nothing");
        conn_lost(conn, &err);
    } else if (stream_h2_begin(conn->stream, &events, conn, &err) < 0) {
        conn_lost(conn, &err);
    } else {
        conn_trace_settings(conn, true, false);
    }
}

/* --- the dial --------------------------------------------------------------------------------------------------------- */

static void on_dial_open(void *user, struct stream *stream)
{
    struct conn *conn = user;
    struct conn_setup *setup = conn->setup;
    struct buf request = BUF_INIT(CONN_REQUEST_MAX);

    setup->dial = NULL;
    conn->stream = stream;
    stream_take_turns(stream);
    setup->requested_ns = conn->group->requested_ns = clock_now_ns();
    setup->report->requested = true;
    stream_start(stream, &stream_events, conn);
    if (setup->report->http2) {
        begin_h2(conn);
        return;
    }
    setup->reader = take_reader(conn->group);
    upgrade_key(setup->key);
    buf_reserve(&request, REQUEST_BYTES_USUAL);
    int rc = upgrade_write_request(&request, &setup->offer.offer, setup->key);
    if (rc == 0) {
        conn_trace_request(conn, buf_slice(&request));
        stream_write(stream, buf_slice(&request)); /* a failure here comes back as on_end */
    }
    buf_wipe(&request);
    if (rc < 0)
        lost_by_size(conn);
}

static void on_dial_fail(void *user, const struct err *err)
{
    struct conn *conn = user;

    conn->setup->dial = NULL;
    conn_lost(conn, err);
}

static const struct dial_events dial_events = { on_dial_open, on_dial_fail };

int conn_open(struct conn *conn, const struct conn_options *options, const struct conn_events *events, void *user,
              struct conn_report *report, struct err *err)
{
    struct conn_setup *setup;

    panic_if(conn->setup || conn->stream);
    memset(conn, 0, sizeof *conn);
    memset(report, 0, sizeof *report);
    setup = mem_alloc(sizeof *setup);
    if (conn_offer_init(&setup->offer, options->target, options->override, options->url, options->offer_deflate, err) < 0) {
        mem_free(setup);
        return -1;
    }
    setup->url = options->url;
    setup->report = report;
    setup->conf = options->target;
    timer_init(&setup->patience, options->group->loop, on_patience, conn);
    setup->target.url = options->url;
    setup->target.tls = options->url->tls ? options->tls : NULL;
    setup->target.server_name = options->target->tls.server_name;
    setup->target.proxy = (enum proxy_version)options->target->proxy_protocol;
    setup->target.http2 = report->http2 = options->http2;
    setup->body = BUF_INIT(BODY_BYTES_MAX);
    conn_trace_begin(conn, options->trace);
    setup->target.each = options->each;
    setup->target.trace = options->trace;
    setup->target.trace_number = conn_trace_number(conn);
    conn->setup = setup;
    conn->events = events;
    conn->user = user;
    conn->group = options->group;
    conn->ignores_messages = options->ignores_messages;
    conn->pings = options->pings;
    conn->shared = options->shared;
    setup->dial = dial_start(options->group->loop, &setup->target, &dial_events, conn, &report->dial);
    return 0;
}

bool conn_is_open(const struct conn *conn)
{
    return conn->stream && !conn->setup;
}

static int deflate_message(struct conn *conn, struct slice payload, struct buf *packed)
{
    const struct deflate_params *params = &conn->reader.deflate;

    if (!conn->deflater)
        conn->deflater = deflater_new(params->client_bits, params->client_no_context_takeover);
    return deflater_message(conn->deflater, payload, packed);
}

/* One message in frames of nearly equal length; only the first has its opcode and RSV1 (RFC 6455, 5.4; RFC 7692, 6.1). */
static int write_parts(struct buf *out, enum ws_opcode opcode, bool packed, struct slice payload, unsigned parts)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < parts; i++) {
        struct slice part = slice_make(payload.data, payload.len / (parts - i));

        payload = slice_skip(payload, part.len);
        rc = ws_write_frame(out, WS_CLIENT, i ? WS_CONTINUATION : opcode, i + 1 == parts, packed && i == 0, part);
    }
    return rc;
}

int conn_send_parts(struct conn *conn, enum ws_opcode opcode, struct slice payload, unsigned parts, bool compress)
{
    struct buf frames = BUF_INIT(CONN_MESSAGE_MAX + FRAMING_BYTES_MAX), packed = BUF_INIT(CONN_MESSAGE_MAX + FRAMING_BYTES_MAX);
    struct slice message = payload;
    bool data = opcode == WS_TEXT || opcode == WS_BINARY;
    int rc = 0;

    panic_if(parts < 1 || parts > CONN_PARTS_MAX || (parts > 1 && !data));
    if (!conn_is_open(conn) || conn->parts)
        return -1;
    compress = compress && data && conn->reader.deflate.on;
    if (compress) {
        rc = deflate_message(conn, payload, &packed);
        payload = buf_slice(&packed);
    }
    if (rc == 0)
        rc = write_parts(&frames, opcode, compress, payload, parts);
    if (frames.len > STREAM_PENDING_DEFAULT / 2) /* it may all have to wait for the peer */
        stream_set_max_pending(conn->stream, (uint32_t)frames.len + STREAM_PENDING_DEFAULT);
    if (rc == 0)
        rc = stream_write(conn->stream, buf_slice(&frames));
    if (rc == 0)
        conn_trace_sent(conn, buf_slice(&frames), message);
    buf_fini(&frames);
    buf_fini(&packed);
    return rc;
}

int conn_send(struct conn *conn, enum ws_opcode opcode, struct slice payload)
{
    return conn_send_parts(conn, opcode, payload, 1, true);
}

void conn_close(struct conn *conn, uint16_t code, const char *text)
{
    struct buf frame = BUF_INIT(WS_HEADER_MAX + WS_CONTROL_MAX);
    struct conn_group *group = conn->group;
    struct stream *stream = conn->stream;
    bool shared = conn->shared;

    if (!conn_is_open(conn)) {
        conn_drop(conn);
        return;
    }
    if (conn->parts) { /* it is sent */
        conn_release(conn);
        farewell_begin(group, stream, shared);
        return;
    }
    ws_write_close(&frame, WS_CLIENT, code, text);
    conn_trace_closing(conn, buf_slice(&frame), code, text);
    conn_release(conn);
    if (stream_write(stream, buf_slice(&frame)) < 0)
        stream_close_now(stream);
    else
        farewell_begin(group, stream, shared);
    buf_fini(&frame);
}

void conn_drop(struct conn *conn)
{
    struct stream *stream = conn->stream;

    conn_release(conn);
    if (stream)
        stream_close_now(stream);
}

void conn_say_h2(const struct conn *conn, char *out, size_t size)
{
    const char *goaway = conn->stream ? stream_h2_goaway(conn->stream) : "";
    bool withheld = conn->stream && stream_is_h2(conn->stream) && stream_h2_withheld(conn->stream);

    snprintf(out, size, "%s%s%s", withheld ? "; the server's HTTP/2 window is closed, so the question was not sent whole" : "",
             *goaway ? ", " : "", goaway);
}

int conn_timeout_err(const struct conn *conn, uint64_t timeout_ms, struct err *err)
{
    const struct conn_setup *setup = conn->setup;
    char limit[32];

    panic_if(!setup);
    if (!setup->report->requested)
        return dial_timeout_err(&setup->target, &setup->report->dial, timeout_ms, err);
    if (setup->refused) {
        explain_refusal(setup, err);
        return -1;
    }
    upgrade_stop_clock(conn->setup);
    text_format_duration((int64_t)timeout_ms, limit, sizeof limit);
    if (!setup->reader && !setup->settled)
        return err_set(err, REASON_UPGRADE_TIMEOUT, 0, "no SETTINGS of HTTP/2 came within %s: does the server speak it here?",
                       limit);
    if (response_started(setup))
        return err_set(err, REASON_UPGRADE_TIMEOUT, 0, "the response to the upgrade did not end within %s", limit);
    return err_set(err, REASON_UPGRADE_TIMEOUT, 0, "no response to the upgrade within %s", limit);
}
