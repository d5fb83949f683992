/*
 * A WebSocket server on the test's own loop that says what it is told to: whole, byte by byte, or in random pieces, so that no verdict
 * depends on how bytes were cut. For tests of what talks to servers; each includes it once.
 */
#ifndef WSHEALTHD_TESTS_SCRIPT_H
#define WSHEALTHD_TESTS_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/listen.h"
#include "agent/proto/upgrade.h"
#include "agent/proto/ws.h"

enum cut { CUT_WHOLE, CUT_BYTES, CUT_RANDOM, CUT_COUNT };
static const char *const cut_names[CUT_COUNT] = { "whole", "byte by byte", "random pieces" };

struct script;
struct peer {
    struct script *script;
    struct stream *stream;
    struct http_reader *http;
    struct ws_reader reader;
    bool open, closing;
    struct buf out; /* not sent yet */
    struct timer timer;
    struct peer *next;
};

struct script {
    struct loop *loop;
    struct listener *listener;
    enum cut cut;
    unsigned seed;
    const char *subprotocol;  /* to choose; NULL: none */
    const char *raw_response; /* in the place of a 101; NULL: none */
    bool leaves_pings;        /* to on_message; else they are answered */
    bool leaves_close;        /* likewise */
    bool deflates;            /* takes the client's offer of permessage-deflate */
    uint32_t max_message;     /* 0: 1 MiB */
    bool stays;               /* a raw_response does not end the connection */
    /* What this request gets in the place of a 101; NULL: raw_response. May be NULL itself. */
    const char *(*on_request)(struct script *script, const struct http_head *head);
    void (*on_open)(struct peer *peer);
    void (*on_message)(struct peer *peer, const struct ws_message *message);
    void *user;
    unsigned accepted;
    char target[256]; /* of the last request */
    struct peer *peers;
};

static void peer_gone(struct peer *peer)
{
    if (!peer->stream)
        return;
    timer_stop(&peer->timer);
    stream_close_now(peer->stream);
    peer->stream = NULL;
}

static void peer_pump(struct timer *timer, void *user)
{
    struct peer *peer = user;
    size_t n = peer->out.len;

    if (peer->script->cut == CUT_BYTES)
        n = 1;
    else if (peer->script->cut == CUT_RANDOM)
        n = 1 + (size_t)rand_r(&peer->script->seed) % 9;
    if (n > peer->out.len)
        n = peer->out.len;
    if (stream_write(peer->stream, slice_make(peer->out.data, n)) < 0) {
        peer_gone(peer);
        return;
    }
    buf_consume(&peer->out, n);
    if (peer->out.len)
        timer_start(timer, 0);
    else if (peer->closing)
        peer_gone(peer);
}

static void peer_flush(struct peer *peer)
{
    if (peer->stream && !timer_active(&peer->timer))
        timer_start(&peer->timer, 0);
}

static void peer_say(struct peer *peer, enum ws_opcode opcode, struct slice body)
{
    assert_int_equal(ws_write_frame(&peer->out, WS_SERVER, opcode, true, false, body), 0);
    peer_flush(peer);
}

static inline void peer_close(struct peer *peer, uint16_t code, const char *text)
{
    ws_write_close(&peer->out, WS_SERVER, code, text);
    peer->closing = true;
    peer_flush(peer);
}

static void peer_upgrade(struct peer *peer)
{
    const struct http_head *head = http_reader_head(peer->http);
    char accept[WS_ACCEPT_LEN + 1], extensions[256] = "";
    struct upgrade_agreed agreed = { 0 };
    struct err err;

    const char *raw = peer->script->on_request ? peer->script->on_request(peer->script, head) : NULL;
    if (!raw)
        raw = peer->script->raw_response;
    if (raw) {
        buf_append_str(&peer->out, raw);
        peer->closing = !peer->script->stays;
        peer_flush(peer);
        return;
    }
    assert_int_equal(upgrade_validate_request(head, peer->script->deflates, accept, &agreed, extensions, sizeof extensions, &err),
                     0);
    snprintf(peer->script->target, sizeof peer->script->target, "%.*s", (int)head->target.len, (const char *)head->target.data);
    if (peer->script->subprotocol) {
        assert_true(http_header_has_token(head, "Sec-WebSocket-Protocol", peer->script->subprotocol));
        snprintf(agreed.subprotocol, sizeof agreed.subprotocol, "%s", peer->script->subprotocol);
    }
    upgrade_write_response(&peer->out, accept, &agreed, extensions);
    ws_reader_init(&peer->reader, WS_SERVER, peer->script->max_message ? peer->script->max_message : 1 << 20, &agreed.deflate);
    peer->open = true;
    if (peer->script->on_open)
        peer->script->on_open(peer);
    peer_flush(peer);
}

static void peer_take(struct peer *peer, struct slice data)
{
    struct ws_message message;
    struct err err;

    while (peer->stream && ws_reader_next(&peer->reader, &data, &message, &err) > 0) {
        if (message.opcode == WS_CLOSE && !peer->script->leaves_close)
            peer_close(peer, 1000, "");
        else if (message.opcode == WS_PING && !peer->script->leaves_pings)
            peer_say(peer, WS_PONG, message.body);
        else if (peer->script->on_message)
            peer->script->on_message(peer, &message);
    }
}

static void on_peer_data(void *user, struct slice data)
{
    struct peer *peer = user;
    struct err err;

    if (!peer->open) {
        if (http_reader_feed(peer->http, &data, &err) != HTTP_HEAD)
            return;
        peer_upgrade(peer);
    }
    if (peer->open)
        peer_take(peer, data);
}

static void on_peer_end(void *user, const struct err *err)
{
    (void)err;
    peer_gone(user);
}

static const struct stream_events peer_events = { .on_data = on_peer_data, .on_end = on_peer_end };

static void on_accept(void *user, struct stream *stream)
{
    static const struct http_limits limits = { 8192, 0 };
    struct script *script = user;
    struct peer *peer = mem_alloc(sizeof *peer);

    peer->script = script;
    peer->stream = stream;
    peer->http = http_reader_new(HTTP_KIND_REQUEST, &limits);
    buf_init(&peer->out, 8 << 20);
    timer_init(&peer->timer, script->loop, peer_pump, peer);
    peer->next = script->peers;
    script->peers = peer;
    script->accepted++;
    stream_set_max_pending(stream, 8 << 20);
    stream_start(stream, &peer_events, peer);
}

/* The fields that say what it does are set by the caller before. Gives the port. */
static unsigned script_begin(struct script *script, struct loop *loop)
{
    static const struct listen_options options = { .fd = -1 };
    struct listen_address address;
    struct err err;

    script->loop = loop;
    assert_int_equal(listen_address_parse("127.0.0.1:0", &address, &err), 0);
    script->listener = listener_open(loop, &address, &options, on_accept, script, &err);
    assert_non_null(script->listener);
    return listener_port(script->listener);
}

static void script_end(struct script *script)
{
    struct peer *peer, *next;

    for (peer = script->peers; peer; peer = next) {
        next = peer->next;
        peer_gone(peer);
        http_reader_free(peer->http);
        ws_reader_fini(&peer->reader);
        buf_fini(&peer->out);
        mem_free(peer);
    }
    listener_close(script->listener);
}

static inline unsigned script_seed(void)
{
    const char *given = getenv("WSHEALTHD_SEED");

    return given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_wall_ms();
}

#endif
