/*
 * The client of HTTP/2 against libnghttp2's server, with the bytes of both directions cut at random; then raw frames of peers that break
 * rules. What a whole connection makes of it is in tests/e2e/test_http2.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/h2.h"
#include "agent/proto/upgrade_h2.h"
#include "tests/unit/proto/h2_server.h"

/* --- a client that notes everything ------------------------------------------------------------------------------------ */

struct client {
    struct h2 *h2;
    struct h2_stream *stream;
    bool settled, ended;
    int status;
    const struct http_head *head;
    struct buf body;
    struct err end;
};

static void on_settings(void *user)
{
    struct client *client = user;

    assert_false(client->settled);
    client->settled = true;
}

static void on_head(void *user, struct h2_stream *stream, const struct http_head *head)
{
    struct client *client = user;

    assert_ptr_equal(stream, client->stream);
    assert_int_equal(client->status, 0);
    assert_int_equal(head->major, 2);
    client->status = head->status;
    client->head = head;
}

static void on_body(void *user, struct h2_stream *stream, struct slice data)
{
    struct client *client = user;

    assert_ptr_equal(stream, client->stream);
    assert_false(client->ended);
    assert_true(data.len > 0);
    buf_append_slice(&client->body, data);
}

static void on_end(void *user, struct h2_stream *stream, const struct err *err)
{
    struct client *client = user;

    assert_ptr_equal(stream, client->stream);
    assert_false(client->ended);
    client->ended = true;
    client->end = *err;
}

static const struct h2_events events = { on_settings, on_head, on_body, on_end };

static void client_init(struct client *client)
{
    struct err err;

    *client = (struct client){ .body = BUF_INIT(64 << 20) };
    client->h2 = h2_client_new(&events, client, &err);
    if (!client->h2)
        fail_msg("%s", err.text);
}

static void client_fini(struct client *client)
{
    h2_free(client->h2);
    buf_fini(&client->body);
}

static struct upgrade_offer offer_of(const char *target)
{
    return (struct upgrade_offer){ .host = "chat.example.com", .target = target };
}

static void ask(struct client *client, const struct upgrade_offer *offer)
{
    struct upgrade_h2 request;

    assert_int_equal(upgrade_h2_request(&request, offer, true), 0);
    client->stream = h2_request(client->h2, request.fields, request.count);
    upgrade_h2_wipe(&request);
}

/* --- the two of them ------------------------------------------------------------------------------------------------------ */

static size_t cut(size_t left)
{
    size_t most = rand() % 4 ? left : 1 + (size_t)rand() % 30;

    return most < left ? most : left;
}

/* Moves bytes until neither has any. */
static void talk(struct client *client, struct h2_server *server)
{
    bool moved = true;
    struct slice out;
    struct err err;

    while (moved) {
        const uint8_t *data;
        ssize_t len;

        moved = false;
        for (; h2_output(client->h2, &out); moved = true)
            for (size_t n; out.len; out = slice_skip(out, n)) {
                n = cut(out.len);
                assert_int_equal(nghttp2_session_mem_recv(server->session, out.data, n), n);
            }
        for (; (len = nghttp2_session_mem_send(server->session, &data)) > 0; moved = true)
            for (size_t at = 0, n; at < (size_t)len; at += n) {
                n = cut((size_t)len - at);
                assert_int_equal(h2_feed(client->h2, slice_make(data + at, n), &err), 0);
            }
    }
}

static void open_both(struct client *client, struct h2_server *server, const char *status, uint32_t window)
{
    struct upgrade_offer offer = offer_of("/ws");

    client_init(client);
    h2_server_init(server, status, true, window);
    talk(client, server);
    assert_true(client->settled);
    assert_true(h2_allows_connect(client->h2));
    ask(client, &offer);
    talk(client, server);
}

static void close_both(struct client *client, struct h2_server *server)
{
    client_fini(client);
    h2_server_fini(server);
}

static void test_request(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;
    const struct upgrade_header headers[] = {
        { "X-Probe", " a\nb " }, { "Connection", "close" }, { "TE", "trailers" }, { "Authorization", "Bearer t" }
    };
    struct upgrade_offer offer = offer_of("/a b?token=1");

    offer.origin = "https://chat.example.com";
    offer.deflate = true;
    offer.subprotocols[0] = "chat.v1";
    offer.subprotocols[1] = "chat.v2";
    offer.subprotocol_count = 2;
    offer.headers = headers;
    offer.header_count = 4;
    client_init(&client);
    h2_server_init(&server, "200", true, 65535);
    talk(&client, &server);
    ask(&client, &offer);
    talk(&client, &server);
    assert_string_equal(server.request, ":method: CONNECT\n:protocol: websocket\n:scheme: https\n:path: /a%20b?token=1\n"
                                        ":authority: chat.example.com\nsec-websocket-version: 13\n"
                                        "sec-websocket-protocol: chat.v1, chat.v2\n"
                                        "sec-websocket-extensions: permessage-deflate; client_max_window_bits\n"
                                        "origin: https://chat.example.com\nx-probe: a b\nauthorization: Bearer t\n");
    assert_int_equal(client.status, 200);
    assert_false(client.ended);
    close_both(&client, &server);
}

static void test_request_too_large(void **state)
{
    (void)state;
    struct upgrade_h2 request;
    char *value = mem_alloc(40000);
    struct upgrade_header header = { "X-Probe", memset(value, 'x', 39999) };
    struct upgrade_offer offer = offer_of("/");

    offer.headers = &header;
    offer.header_count = 1;
    assert_int_equal(upgrade_h2_request(&request, &offer, false), -1);
    upgrade_h2_wipe(&request);
    mem_free(value);
}

static void test_not_allowed(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;

    client_init(&client);
    h2_server_init(&server, "200", false, 65535);
    talk(&client, &server);
    assert_true(client.settled);
    assert_false(h2_allows_connect(client.h2));
    close_both(&client, &server);
}

/* Much more than any window, both ways at once. */
static void test_large(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    struct client client;
    struct h2_server server;
    uint8_t *sent = mem_alloc(BYTES);

    for (size_t i = 0; i < BYTES; i++)
        sent[i] = (uint8_t)rand();
    open_both(&client, &server, "200", 20000);
    for (size_t at = 0, n; at < BYTES; at += n) {
        n = (size_t)rand() % 200000;
        n = n < BYTES - at ? n : BYTES - at;
        h2_write(client.stream, slice_make(sent + at, n));
        if (rand() % 3 == 0)
            talk(&client, &server);
    }
    talk(&client, &server);
    assert_int_equal(h2_pending(client.stream), 0);
    assert_int_equal(server.received, BYTES);
    assert_int_equal(client.body.len, BYTES);
    assert_memory_equal(client.body.data, sent, BYTES);
    mem_free(sent);
    close_both(&client, &server);
}

static void test_window_closed(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;

    open_both(&client, &server, "200", 0);
    h2_write(client.stream, slice_str("hello"));
    talk(&client, &server);
    assert_int_equal(h2_pending(client.stream), 5);
    assert_int_equal(server.received, 0);
    nghttp2_submit_window_update(server.session, NGHTTP2_FLAG_NONE, server.id, 3);
    talk(&client, &server); /* the server opens it again for what it has read */
    assert_int_equal(h2_pending(client.stream), 0);
    assert_int_equal(client.body.len, 5);
    close_both(&client, &server);
}

static void test_end_stream(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;

    open_both(&client, &server, "200", 65535);
    h2_write(client.stream, slice_str("bye"));
    server.ends = true;
    talk(&client, &server);
    assert_int_equal(client.body.len, 3);
    assert_true(client.ended);
    assert_int_equal(client.end.reason, REASON_NONE);
    close_both(&client, &server);
}

static void test_reset(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;

    open_both(&client, &server, "200", 65535);
    nghttp2_submit_rst_stream(server.session, NGHTTP2_FLAG_NONE, server.id, NGHTTP2_CANCEL);
    talk(&client, &server);
    assert_true(client.ended);
    assert_int_equal(client.end.reason, REASON_CONNECTION_RESET);
    assert_int_equal(client.end.code, NGHTTP2_CANCEL);
    assert_string_equal(client.end.text, "the server reset the HTTP/2 stream: CANCEL (0x8)");
    h2_write(client.stream, slice_str("too late"));
    talk(&client, &server);
    close_both(&client, &server);
}

static void test_goaway(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;
    static const uint8_t debug[] = "overload";

    open_both(&client, &server, NULL, 65535);
    nghttp2_submit_goaway(server.session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_ENHANCE_YOUR_CALM, debug, sizeof debug - 1);
    talk(&client, &server);
    assert_true(client.ended);
    assert_int_equal(client.end.reason, REASON_RATE_LIMITED);
    assert_string_equal(client.end.text, "the server does not take the request, after GOAWAY ENHANCE_YOUR_CALM (\"overload\")");
    assert_string_equal(h2_goaway_text(client.h2), "after GOAWAY ENHANCE_YOUR_CALM (\"overload\")");
    close_both(&client, &server);
}

/* A server that shuts down lets what is open go on. */
static void test_goaway_lets_live(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;

    open_both(&client, &server, "200", 65535);
    nghttp2_submit_goaway(server.session, NGHTTP2_FLAG_NONE, server.id, NGHTTP2_NO_ERROR, NULL, 0);
    talk(&client, &server);
    assert_false(client.ended);
    h2_write(client.stream, slice_str("still here"));
    talk(&client, &server);
    assert_int_equal(client.body.len, 10);
    close_both(&client, &server);
}

static void test_goodbye(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;

    open_both(&client, &server, "200", 65535);
    h2_write(client.stream, slice_str("last words"));
    talk(&client, &server);
    h2_end(client.h2);
    talk(&client, &server);
    assert_int_equal(server.received, 10);
    assert_int_equal(nghttp2_session_get_last_proc_stream_id(server.session), server.id);
    close_both(&client, &server);
}

static void test_pings_are_answered(void **state)
{
    (void)state;
    struct client client;
    struct h2_server server;

    open_both(&client, &server, "200", 65535);
    for (int i = 0; i < 50; i++)
        nghttp2_submit_ping(server.session, NGHTTP2_FLAG_NONE, (const uint8_t *)"12345678");
    talk(&client, &server);
    assert_false(client.ended);
    assert_int_equal(nghttp2_session_get_outbound_queue_size(server.session), 0);
    close_both(&client, &server);
}

/* --- raw frames ------------------------------------------------------------------------------------------------------------ */

enum { DATA = 0, HEADERS = 1, SETTINGS = 4, PING = 6, CONTINUATION = 9, END_HEADERS = 4 };

static void put_frame(struct buf *out, uint8_t type, uint8_t flags, uint32_t stream, struct slice payload)
{
    const uint8_t head[9] = {
        (uint8_t)(payload.len >> 16), (uint8_t)(payload.len >> 8), (uint8_t)payload.len, type, flags, 0, 0, 0, (uint8_t)stream
    };

    buf_append(out, head, sizeof head);
    buf_append_slice(out, payload);
}

/* Plays these bytes to a client that has asked, in random pieces. -1: h2_feed has failed; 1: the connection is over; 0: it goes on. */
static int play(struct client *client, const struct buf *bytes, struct err *err)
{
    static const uint8_t allows[] = { 0, 8, 0, 0, 0, 1 };
    struct buf settings = BUF_INIT(64);
    struct upgrade_offer offer = offer_of("/");
    struct slice left = buf_slice(bytes), out;
    int rc = 0;

    client_init(client);
    put_frame(&settings, SETTINGS, 0, 0, slice_of(allows));
    assert_int_equal(h2_feed(client->h2, buf_slice(&settings), err), 0);
    buf_fini(&settings);
    ask(client, &offer);
    while (h2_output(client->h2, &out))
        ;
    for (size_t n; rc == 0 && left.len; left = slice_skip(left, n)) {
        n = cut(left.len);
        rc = h2_feed(client->h2, slice_make(left.data, n), err);
        while (h2_output(client->h2, &out))
            ;
        if (rc == 0 && h2_over(client->h2, err))
            rc = 1;
    }
    return rc;
}

static void test_floods(void **state)
{
    (void)state;
    static const uint8_t ping[8] = "12345678";
    const struct {
        uint8_t type;
        struct slice payload;
    } floods[] = { { SETTINGS, slice_make(NULL, 0) }, { PING, slice_of(ping) } };

    for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
        struct buf bytes = BUF_INIT(4 << 20);
        struct client client;
        struct err err;

        /* Twice as many: the count may begin anew with a second of the clock. */
        for (int n = 0; n < 2 * H2_EMPTY_FRAMES_MAX + 10; n++)
            put_frame(&bytes, floods[i].type, 0, 0, floods[i].payload);
        assert_int_equal(play(&client, &bytes, &err), -1);
        assert_int_equal(err.reason, REASON_FLOOD);
        client_fini(&client);
        buf_fini(&bytes);
    }
}

static void test_unread_answers(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT(1 << 20);
    struct client client;
    struct err err;

    for (int n = 0; n < 3000; n++)
        put_frame(&bytes, SETTINGS, 0, 0, slice_make(NULL, 0));
    client_init(&client);
    assert_int_equal(h2_feed(client.h2, buf_slice(&bytes), &err), -1); /* no h2_output in between */
    assert_int_equal(err.reason, REASON_FLOOD);
    client_fini(&client);
    buf_fini(&bytes);
}

static void put_field(struct buf *block, const char *name, size_t value_len)
{
    buf_append_char(block, 0);
    buf_append_char(block, (char)strlen(name));
    buf_append_str(block, name);
    buf_append_char(block, (char)value_len);
    for (size_t i = 0; i < value_len; i++)
        buf_append_char(block, 'v');
}

static void test_large_heads(void **state)
{
    (void)state;
    for (int few = 0; few < 2; few++) {
        struct buf bytes = BUF_INIT(1 << 20), block = BUF_INIT(65536);
        struct client client;
        struct err err;

        buf_append_char(&block, (char)0x88);
        for (int n = 0; n < (few ? 60 : 70); n++)
            put_field(&block, "x-field", few ? 126 : 1);
        for (int n = 0; n < (few ? 60 : 0); n++)
            put_field(&block, "x-field", 126);
        put_frame(&bytes, HEADERS, END_HEADERS, 1, buf_slice(&block));
        assert_int_equal(play(&client, &bytes, &err), 0);
        assert_true(client.ended);
        assert_int_equal(client.end.reason, REASON_HTTP_MALFORMED);
        assert_non_null(strstr(client.end.text, "16384 bytes or 64 fields"));
        assert_int_equal(client.status, 0);
        client_fini(&client);
        buf_fini(&bytes);
        buf_fini(&block);
    }
}

/* Interim responses are passed over, trailers too, and the head that counts is kept until it is dropped. */
static void test_interim_and_trailers(void **state)
{
    (void)state;
    static const uint8_t early[] = "\x08\x03"
                                   "103",
                         trailer[] = "\x00\x01"
                                     "t"
                                     "\x01"
                                     "v";
    static const uint8_t ok[] = { 0x88, 0x00, 1, 'S' + 32, 1, 'x' };
    struct buf bytes = BUF_INIT(4096);
    struct client client;
    struct err err;

    put_frame(&bytes, HEADERS, END_HEADERS, 1, slice_make(early, 5));
    put_frame(&bytes, HEADERS, END_HEADERS, 1, slice_of(ok));
    put_frame(&bytes, DATA, 0, 1, slice_str("body"));
    put_frame(&bytes, HEADERS, END_HEADERS | 1, 1, slice_make(trailer, 5));
    assert_int_equal(play(&client, &bytes, &err), 0);
    assert_int_equal(client.status, 200);
    assert_int_equal(client.head->header_count, 1);
    assert_true(slice_equal_str(*http_header_get(client.head, "S"), "x"));
    h2_drop_head(client.stream);
    assert_int_equal(client.body.len, 4);
    assert_true(client.ended);
    assert_int_equal(client.end.reason, REASON_NONE);
    client_fini(&client);
    buf_fini(&bytes);
}

static void test_broken(void **state)
{
    (void)state;
    static const uint8_t lone[] = { 0x88 };
    const struct {
        uint8_t type, flags, stream;
        struct slice payload;
        int rc; /* 1: the connection is over; 0: the stream */
    } cases[] = {
        { HEADERS, END_HEADERS, 1, slice_str("\xff\xff\xff\xff\xff"), 1 },
        { HEADERS, END_HEADERS, 2, slice_of(lone), 1 },
        { CONTINUATION, END_HEADERS, 1, slice_of(lone), 1 },
        { DATA, 0, 0, slice_str("x"), 1 },
        { PING, 0, 0, slice_str("short"), 1 },
        { SETTINGS, 0, 1, slice_make(NULL, 0), 1 },
        { HEADERS, END_HEADERS, 1,
          slice_str("\x08\x03"
                    "101"),
          0 },
        { HEADERS, END_HEADERS, 1,
          slice_str("\x08\x03"
                    "2xx"),
          0 },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf bytes = BUF_INIT(4096);
        struct client client;
        struct err err = { 0 };

        put_frame(&bytes, cases[i].type, cases[i].flags, cases[i].stream, cases[i].payload);
        int rc = play(&client, &bytes, &err);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %d %s", i, rc, err.text);
        assert_int_equal(rc ? err.reason : client.end.reason, REASON_HTTP_MALFORMED);
        assert_int_equal(client.status, 0);
        client_fini(&client);
        buf_fini(&bytes);
    }
}

static void test_not_http2(void **state)
{
    (void)state;
    struct client client;
    struct slice out;
    struct err err = { 0 };

    client_init(&client);
    while (h2_output(client.h2, &out))
        ;
    assert_int_equal(h2_feed(client.h2, slice_str("HTTP/1.1 400 Bad Request\r\n\r\n"), &err), 0);
    while (h2_output(client.h2, &out))
        ;
    assert_true(h2_over(client.h2, &err));
    assert_int_equal(err.reason, REASON_HTTP_MALFORMED);
    client_fini(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_request_too_large),
        cmocka_unit_test(test_not_allowed),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_window_closed),
        cmocka_unit_test(test_end_stream),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_goaway),
        cmocka_unit_test(test_goaway_lets_live),
        cmocka_unit_test(test_goodbye),
        cmocka_unit_test(test_pings_are_answered),
        cmocka_unit_test(test_floods),
        cmocka_unit_test(test_unread_answers),
        cmocka_unit_test(test_large_heads),
        cmocka_unit_test(test_interim_and_trailers),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_not_http2),
    };

    srand(8441);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
