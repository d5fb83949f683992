/*
 * The server of HTTP/2 against the client of this program (agent/proto/h2.h), with the bytes of both directions cut at random; then raw
 * frames of clients that break rules. The gRPC service on it is in tests/e2e/test_grpc.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/h2_serve.h"

/* --- both ends --------------------------------------------------------------------------------------------------------------- */

static struct {
    struct h2 *h2;
    int status;
    struct buf body;
    bool ended;
    struct err end;
} client;

static struct {
    struct h2_serve *h2;
    struct h2_call *call; /* the last one */
    unsigned calls, over, pongs;
} server;

static void on_settings(void *user)
{
    (void)user;
}

static void on_head(void *user, struct h2_stream *stream, const struct http_head *head)
{
    (void)user;
    client.status = head->status;
    h2_drop_head(stream);
}

static void on_body(void *user, struct h2_stream *stream, struct slice data)
{
    (void)user;
    (void)stream;
    buf_append_slice(&client.body, data);
}

static void on_end(void *user, struct h2_stream *stream, const struct err *err)
{
    (void)user;
    (void)stream;
    client.ended = true;
    client.end = *err;
}

static void on_call(void *user, struct h2_call *call)
{
    (void)user;
    server.calls++;
    server.call = call;
}

static void on_over(void *user, struct h2_call *call)
{
    (void)user;
    assert_ptr_equal(call, server.call);
    server.over++;
}

static void on_pong(void *user)
{
    (void)user;
    server.pongs++;
}

static const struct h2_events client_events = { on_settings, on_head, on_body, on_end };
static const struct h2_serve_events server_events = { on_call, on_over, on_pong };

static int set_up(void **state)
{
    struct err err;

    (void)state;
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    client.body = BUF_INIT(1 << 20);
    client.h2 = h2_client_new(&client_events, NULL, &err);
    server.h2 = h2_serve_new(&server_events, NULL, &err);
    assert_non_null(client.h2);
    assert_non_null(server.h2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    h2_free(client.h2);
    h2_serve_free(server.h2);
    buf_fini(&client.body);
    return 0;
}

static int feed(bool to_server, struct slice data, struct err *err)
{
    return to_server ? h2_serve_feed(server.h2, data, err) : h2_feed(client.h2, data, err);
}

/* Carries bytes in both directions until there are none, in pieces. */
static void carry(void)
{
    struct slice out;
    struct err err;
    bool moved = true;

    while (moved) {
        moved = false;
        for (int to_server = 0; to_server < 2; to_server++) {
            while (to_server ? h2_output(client.h2, &out) : h2_serve_output(server.h2, &out)) {
                struct buf copy = BUF_INIT(1 << 20);
                moved = true;
                buf_append_slice(&copy, out);
                for (size_t at = 0, n; at < copy.len; at += n) {
                    n = 1 + (size_t)rand() % 50;
                    n = n < copy.len - at ? n : copy.len - at;
                    assert_int_equal(feed(to_server, slice_make(copy.data + at, n), &err), 0);
                }
                buf_fini(&copy);
            }
        }
    }
}

static struct h2_stream *ask(const char *path)
{
    const struct h2_header headers[] = {
        { ":method", "POST" },
        { ":scheme", "http" },
        { ":path", path },
        { ":authority", "localhost" },
        { "content-type", "application/grpc" },
        { "te", "trailers" },
    };
    return h2_request(client.h2, headers, sizeof headers / sizeof *headers);
}

static const struct h2_header head[] = { { ":status", "200" }, { "content-type", "application/grpc" } };
static const struct h2_header trailers[] = { { "grpc-status", "0" } };

/* --- calls -------------------------------------------------------------------------------------------------------------------- */

/* The client of this program leaves a request's body open: the server answers whole requests only. */
static void test_a_request_without_an_end_is_none(void **state)
{
    (void)state;
    struct h2_stream *stream = ask("/x");
    h2_write(stream, slice_str("body"));
    carry();
    assert_int_equal(server.calls, 0);
    assert_false(list_empty(h2_serve_calls(server.h2)));
}

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* A raw frame. */
static int send_frame(uint8_t type, uint8_t flags, uint32_t id, struct slice payload, struct err *err)
{
    struct buf frame = BUF_INIT(1 << 20);
    const uint8_t hd[9] = { (uint8_t)(payload.len >> 16), (uint8_t)(payload.len >> 8), (uint8_t)payload.len, type,       flags,
                            (uint8_t)(id >> 24),          (uint8_t)(id >> 16),         (uint8_t)(id >> 8),   (uint8_t)id };
    buf_append(&frame, hd, sizeof hd);
    buf_append_slice(&frame, payload);
    int got = h2_serve_feed(server.h2, buf_slice(&frame), err);
    buf_fini(&frame);
    return got;
}

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, END_STREAM = 1, END_HEADERS = 4, ACK = 1 };

static void begin_raw(void)
{
    struct err err;

    assert_int_equal(h2_serve_feed(server.h2, slice_str(preface), &err), 0);
    assert_int_equal(send_frame(SETTINGS, 0, 0, slice_str(""), &err), 0);
}

/* POST http / of the static table (RFC 7541, appendix A), then :authority and content-type as literals. */
static int raw_request(uint32_t id, uint8_t flags, struct err *err)
{
    static const char block[] = "\x83\x86\x84\x01\x01x\x0f\x10\x10"
                                "application/grpc";
    return send_frame(HEADERS, (uint8_t)(END_HEADERS | flags), id, slice_make(block, sizeof block - 1), err);
}

static size_t drain(void)
{
    struct slice out;
    size_t total = 0;

    while (h2_serve_output(server.h2, &out))
        total += out.len;
    return total;
}

static void test_a_call(void **state)
{
    struct err err;

    (void)state;
    begin_raw();
    assert_int_equal(raw_request(1, 0, &err), 0);
    assert_int_equal(server.calls, 0);
    assert_int_equal(send_frame(DATA, END_STREAM, 1, slice_str("hello"), &err), 0);
    assert_int_equal(server.calls, 1);
    assert_string_equal(server.call->method, "POST");
    assert_string_equal(server.call->path, "/");
    assert_string_equal(server.call->content_type, "application/grpc");
    assert_true(slice_equal_str(buf_slice(&server.call->body), "hello"));
    assert_false(server.call->too_large);
    h2_call_respond(server.call, head, 2);
    drain();
    assert_int_equal(server.over, 0);
    h2_call_write(server.call, slice_str("answer"));
    assert_int_equal(h2_call_pending(server.call), 6);
    drain();
    assert_int_equal(h2_call_pending(server.call), 0);
    h2_call_finish(server.call, trailers, 1);
    drain();
    assert_int_equal(server.over, 1);
    assert_true(list_empty(h2_serve_calls(server.h2)));
}

static void test_a_head_only(void **state)
{
    struct err err;

    (void)state;
    begin_raw();
    assert_int_equal(raw_request(1, END_STREAM, &err), 0);
    h2_call_refuse(server.call, head, 2);
    drain();
    assert_int_equal(server.over, 1);
}

static void test_a_client_that_gives_up(void **state)
{
    struct err err;

    (void)state;
    begin_raw();
    assert_int_equal(raw_request(1, END_STREAM, &err), 0);
    h2_call_respond(server.call, head, 2);
    h2_call_write(server.call, slice_str("news"));
    assert_int_equal(send_frame(RST_STREAM, 0, 1, slice_make("\0\0\0\x08", 4), &err), 0);
    assert_int_equal(server.over, 1);
    assert_true(list_empty(h2_serve_calls(server.h2)));
    drain();
}

static void test_ping(void **state)
{
    struct err err;

    (void)state;
    begin_raw();
    drain();
    h2_serve_ping(server.h2);
    assert_true(drain() > 0);
    assert_int_equal(send_frame(PING, ACK, 0, slice_make("\0\0\0\0\0\0\0\0", 8), &err), 0);
    assert_int_equal(server.pongs, 1);
}

static void test_the_end(void **state)
{
    (void)state;
    begin_raw();
    drain();
    h2_serve_end(server.h2);
    assert_true(drain() > 0);
    assert_true(h2_serve_is_over(server.h2));
}

/* --- clients that claim too much ------------------------------------------------------------------------------------------------ */

static void test_a_body_that_is_too_large(void **state)
{
    static uint8_t much[H2_CALL_BODY_MAX + 1];
    struct err err;

    (void)state;
    begin_raw();
    assert_int_equal(raw_request(1, 0, &err), 0);
    assert_int_equal(send_frame(DATA, END_STREAM, 1, slice_make(much, sizeof much), &err), 0);
    assert_int_equal(server.calls, 1);
    assert_true(server.call->too_large);
    assert_true(server.call->body.len <= H2_CALL_BODY_MAX);
}

static void test_calls_have_a_ceiling(void **state)
{
    struct err err;
    size_t open = 0;

    (void)state;
    begin_raw();
    assert_int_equal(send_frame(SETTINGS, ACK, 0, slice_str(""), &err), 0); /* from now on the ceiling holds */
    drain();
    for (uint32_t i = 0; i < 3 * H2_CALLS_MAX; i++)
        if (raw_request(1 + 2 * i, 0, &err) < 0)
            break;
    list_each (node, h2_serve_calls(server.h2))
        open++;
    assert_true(open <= H2_CALLS_MAX);
}

static void test_what_is_not_http2(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(h2_serve_feed(server.h2, slice_str("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), &err), -1);
    assert_int_equal(err.reason, REASON_HTTP_MALFORMED);
}

/* Answers to PING that nobody reads, and calls that are only reset, end the connection. */
static void test_floods(void **state)
{
    struct err err;
    int got = 0;

    (void)state;
    begin_raw();
    for (unsigned i = 0; i < 100000 && got == 0; i++)
        got = send_frame(PING, 0, 0, slice_make("\0\0\0\0\0\0\0\0", 8), &err);
    assert_int_equal(got, -1);
    assert_int_equal(err.reason, REASON_FLOOD);
}

static void test_calls_that_are_only_reset(void **state)
{
    struct err err;
    int got = 0;

    (void)state;
    begin_raw();
    for (uint32_t i = 0; i < 100000 && got == 0; i++) {
        got = raw_request(1 + 2 * i, END_STREAM, &err);
        if (got == 0)
            got = send_frame(RST_STREAM, 0, 1 + 2 * i, slice_make("\0\0\0\x08", 4), &err);
        drain();
    }
    assert_true(got == -1 || h2_serve_is_over(server.h2));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_without_an_end_is_none),
        TEST(test_a_call),
        TEST(test_a_head_only),
        TEST(test_a_client_that_gives_up),
        TEST(test_ping),
        TEST(test_the_end),
        TEST(test_a_body_that_is_too_large),
        TEST(test_calls_have_a_ceiling),
        TEST(test_what_is_not_http2),
        TEST(test_floods),
        TEST(test_calls_that_are_only_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
