/* A stream in HTTP/2 against libnghttp2's server on a plain socket: windows that close, pauses, ends, and owners that come, write and go in
 * their callbacks. */
#include "tests/unit/net/support.h"

#include <fcntl.h>

#include "agent/net/stream_h2.h"
#include "tests/unit/proto/h2_server.h"

static struct loop loop;
static int listen_fd, port;

static int setup(void **state)
{
    (void)state;
    listen_fd = listen_plain(&port, 16);
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    close(listen_fd);
    return 0;
}

/* Both ends, and what the one that began it was told. */
struct both_ends {
    struct heard heard;
    struct stream *stream;
    struct h2_server server;
    int fd, readies, status;
    bool connects, close_when_ready, close_when_answered, server_reads;
};

static void on_ready(void *user, bool connects)
{
    static const struct h2_header headers[] = {
        { ":method", "CONNECT" }, { ":protocol", "websocket" }, { ":scheme", "http" }, { ":path", "/ws" }, { ":authority", "a" }
    };
    struct both_ends *ends = user;

    ends->readies++;
    ends->connects = connects;
    if (ends->close_when_ready)
        stream_close_now(ends->stream);
    else
        stream_h2_request(ends->stream, headers, 5);
}

static void on_response(void *user, const struct http_head *head)
{
    struct both_ends *ends = user;

    assert_int_equal(ends->status, 0);
    ends->status = head->status;
    if (ends->close_when_answered)
        stream_close_now(ends->stream);
    else
        stream_h2_drop_head(ends->stream);
}

static const struct stream_h2_events h2_events = { on_ready, on_response };

static void serve(struct both_ends *ends)
{
    uint8_t in[16384];
    const uint8_t *out;
    ssize_t n;

    while (ends->server_reads && (n = read(ends->fd, in, sizeof in)) > 0)
        assert_int_equal(nghttp2_session_mem_recv(ends->server.session, in, (size_t)n), n);
    while ((n = nghttp2_session_mem_send(ends->server.session, &out)) > 0)
        for (ssize_t at = 0, put; at < n; at += put) {
            put = write(ends->fd, out + at, (size_t)(n - at));
            if (put < 0 && errno != EAGAIN)
                return;
            put = put < 0 ? 0 : put;
            if (put == 0)
                run_for(&loop, 1);
        }
}

/* Some turns of the loop and of the server. */
static void turn_around(struct both_ends *ends, int times)
{
    for (int i = 0; i < times; i++) {
        serve(ends);
        run_for(&loop, 1);
    }
}

/* Until that is not 0, or for a long time. */
static void turn_until(struct both_ends *ends, const int *what)
{
    for (int i = 0; i < 20000 && !*what; i++)
        turn_around(ends, 1);
    assert_int_not_equal(*what, 0);
}

static void begin(struct both_ends *ends, uint32_t window)
{
    struct dialled dialled;
    struct err err;

    memset(&ends->heard, 0, sizeof ends->heard);
    buf_init(&ends->heard.data, 1 << 24);
    dial_whole(&loop, &dialled, "127.0.0.1", port, NULL);
    ends->stream = dialled.stream;
    ends->fd = accept(listen_fd, NULL, NULL);
    fcntl(ends->fd, F_SETFL, O_NONBLOCK);
    ends->server_reads = true;
    h2_server_init(&ends->server, "200", true, window);
    stream_start(ends->stream, &heard_events, &ends->heard);
    assert_int_equal(stream_h2_begin(ends->stream, &h2_events, ends, &err), 0);
    assert_true(stream_is_h2(ends->stream));
}

static void end(struct both_ends *ends)
{
    close(ends->fd);
    h2_server_fini(&ends->server);
    buf_fini(&ends->heard.data);
    run_for(&loop, 1);
}

static void open_ends(struct both_ends *ends, uint32_t window)
{
    begin(ends, window);
    turn_until(ends, &ends->status);
    assert_int_equal(ends->readies, 1);
    assert_true(ends->connects);
    assert_int_equal(ends->status, 200);
    assert_int_equal(ends->heard.ends, 0);
}

static void test_large_both_ways(void **state)
{
    (void)state;
    enum { BYTES = 700000 };
    struct both_ends ends = { 0 };
    uint8_t *sent = mem_alloc(BYTES);

    for (int i = 0; i < BYTES; i++)
        sent[i] = (uint8_t)(i * 7 + i / 256);
    open_ends(&ends, 20000);
    assert_int_equal(stream_write(ends.stream, slice_make(sent, BYTES)), 0);
    assert_true(stream_pending(ends.stream) > 0);
    assert_true(stream_h2_withheld(ends.stream) > 0);
    assert_int_equal(ends.heard.drains, 0);
    for (int i = 0; i < 20000 && ends.heard.total < BYTES; i++)
        turn_around(&ends, 1);
    assert_int_equal(ends.heard.total, BYTES);
    assert_memory_equal(ends.heard.data.data, sent, BYTES);
    assert_int_equal(stream_pending(ends.stream), 0);
    assert_int_equal(ends.heard.drains, 1);
    stream_close_now(ends.stream);
    mem_free(sent);
    end(&ends);
}

/* What waits for the window counts as pending, and has the same ceiling. */
static void test_ceiling(void **state)
{
    (void)state;
    struct both_ends ends = { 0 };
    char *text = mem_alloc(60001);

    memset(text, 'x', 60000);
    open_ends(&ends, 0);
    stream_set_max_pending(ends.stream, 100000);
    assert_int_equal(stream_write(ends.stream, slice_str(text)), 0);
    assert_int_equal(stream_write(ends.stream, slice_str(text)), -1);
    assert_int_equal(stream_pending(ends.stream), 60000);
    turn_around(&ends, 5);
    assert_int_equal(ends.server.received, 0);
    assert_int_equal(ends.heard.ends, 0);
    stream_close_now(ends.stream);
    mem_free(text);
    end(&ends);
}

static void test_pause(void **state)
{
    (void)state;
    struct both_ends ends = { 0 };

    open_ends(&ends, 65535);
    stream_pause(ends.stream);
    assert_int_equal(stream_write(ends.stream, slice_str("hello")), 0);
    ends.server.ends = true;
    for (int i = 0; i < 20000 && ends.server.received < 5; i++)
        turn_around(&ends, 1);
    turn_around(&ends, 20);
    assert_int_equal(ends.heard.total, 0);
    assert_int_equal(ends.heard.ends, 0);
    stream_resume(ends.stream);
    assert_int_equal(ends.heard.total, 0); /* not inside the call */
    turn_until(&ends, &ends.heard.ends);
    assert_int_equal(ends.heard.total, 5);
    assert_int_equal(ends.heard.ends, 1);
    assert_int_equal(ends.heard.end.reason, REASON_NONE);
    stream_close_now(ends.stream);
    end(&ends);
}

struct pausing {
    struct both_ends *ends;
    int data_calls, ended;
};

static void pause_on_data(void *user, struct slice data)
{
    struct pausing *pausing = user;

    (void)data;
    pausing->data_calls++;
    stream_pause(pausing->ends->stream);
}

static void note_end(void *user, const struct err *err)
{
    (void)err;
    ((struct pausing *)user)->ended++;
}

/* The body and the end come at once; whoever pauses with the first hears of the second later. */
static void test_pause_before_the_end(void **state)
{
    (void)state;
    static const struct stream_events events = { .on_data = pause_on_data, .on_end = note_end };
    struct both_ends ends = { 0 };
    struct pausing pausing = { &ends, 0, 0 };

    open_ends(&ends, 65535);
    stream_start(ends.stream, &events, &pausing);
    assert_int_equal(stream_write(ends.stream, slice_str("hello")), 0);
    ends.server.ends = true;
    turn_until(&ends, &pausing.data_calls);
    turn_around(&ends, 20);
    assert_int_equal(pausing.ended, 0);
    stream_resume(ends.stream);
    assert_int_equal(pausing.ended, 0);
    turn_until(&ends, &pausing.ended);
    assert_int_equal(pausing.ended, 1);
    assert_int_equal(pausing.data_calls, 1);
    stream_close_now(ends.stream);
    end(&ends);
}

static void test_owners_that_go(void **state)
{
    (void)state;
    for (int when = 0; when < 2; when++) {
        struct both_ends ends = { .close_when_ready = when == 0, .close_when_answered = when == 1 };

        begin(&ends, 65535);
        turn_until(&ends, when ? &ends.status : &ends.readies);
        turn_around(&ends, 10);
        assert_int_equal(ends.readies, 1);
        assert_int_equal(ends.status, when == 0 ? 0 : 200);
        assert_int_equal(ends.heard.ends + ends.heard.data_calls, 0);
        end(&ends);
    }
}

static void test_reset(void **state)
{
    (void)state;
    struct both_ends ends = { 0 };

    open_ends(&ends, 65535);
    nghttp2_submit_rst_stream(ends.server.session, NGHTTP2_FLAG_NONE, ends.server.id, NGHTTP2_INTERNAL_ERROR);
    turn_until(&ends, &ends.heard.ends);
    assert_int_equal(ends.heard.ends, 1);
    assert_int_equal(ends.heard.end.reason, REASON_CONNECTION_RESET);
    assert_string_equal(ends.heard.end.text, "the server reset the HTTP/2 stream: INTERNAL_ERROR (0x2)");
    assert_int_equal(stream_write(ends.stream, slice_str("too late")), 0);
    stream_close_now(ends.stream);
    end(&ends);
}

/* TCP ends under the stream; a GOAWAY before it says why. */
static void test_lost(void **state)
{
    (void)state;
    for (int goaway = 0; goaway < 2; goaway++) {
        struct both_ends ends = { 0 };

        open_ends(&ends, 65535);
        if (goaway)
            nghttp2_submit_goaway(ends.server.session, NGHTTP2_FLAG_NONE, ends.server.id, NGHTTP2_NO_ERROR,
                                  (const uint8_t *)"deploy", 6);
        turn_around(&ends, 5);
        assert_int_equal(ends.heard.ends, 0);
        shutdown(ends.fd, SHUT_WR);
        run_until(&loop, &ends.heard.ends);
        assert_int_equal(ends.heard.end.reason, REASON_NONE);
        assert_string_equal(ends.heard.end.text, goaway ? "the peer closed the connection after GOAWAY NO_ERROR (\"deploy\")"
                                                        : "the peer closed the connection");
        stream_close_now(ends.stream);
        end(&ends);
    }
}

static void test_goodbye(void **state)
{
    (void)state;
    struct both_ends ends = { 0 };
    uint8_t bytes[4096];
    ssize_t n;

    open_ends(&ends, 65535);
    turn_around(&ends, 5);
    stream_close_now(ends.stream);
    run_for(&loop, 5);
    fcntl(ends.fd, F_SETFL, 0);
    n = read(ends.fd, bytes, sizeof bytes); /* waits */
    assert_true(n >= 17);
    assert_int_equal(bytes[n - 17 + 3], NGHTTP2_GOAWAY);
    end(&ends);
}

/* A peer that asks much and reads nothing is cut off, and the outbox stays short meanwhile. */
static void test_peer_that_does_not_read(void **state)
{
    (void)state;
    struct both_ends ends = { 0 };
    static const uint8_t ping[] = { 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8 };
    int small = 4096;

    open_ends(&ends, 65535);
    turn_around(&ends, 5);
    ends.server_reads = false;
    setsockopt(ends.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 4000000 && !ends.heard.ends; i++) {
        if (write(ends.fd, ping, sizeof ping) != (ssize_t)sizeof ping || i % 500 == 0)
            run_for(&loop, 1);
        assert_true(stream_pending(ends.stream) < 200000);
    }
    assert_int_equal(ends.heard.ends, 1);
    assert_int_equal(ends.heard.end.reason, REASON_FLOOD);
    stream_close_now(ends.stream);
    end(&ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_large_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_before_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_owners_that_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goodbye, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_does_not_read, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
