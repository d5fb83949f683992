/* Plain streams against sockets that behave, that do not read, that reset, and that send too much. */
#include "tests/unit/net/support.h"

#include <fcntl.h>

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

/* A stream that is connected, and the other end of it. */
static struct stream *pair(struct heard *heard, int *peer)
{
    struct dialled dialled;
    memset(heard, 0, sizeof *heard);
    buf_init(&heard->data, 1 << 24);
    dial_whole(&loop, &dialled, "127.0.0.1", port, NULL);
    assert_int_equal(dialled.opens, 1);
    *peer = accept(listen_fd, NULL, NULL);
    assert_true(*peer >= 0);
    return dialled.stream;
}

static size_t read_all(int fd)
{
    static char sink[65536];
    size_t total = 0;
    for (ssize_t n; (n = read(fd, sink, sizeof sink)) > 0;)
        total += (size_t)n;
    return total;
}

static void test_bytes_both_ways(void **state)
{
    (void)state;
    struct heard heard;
    char text[64];
    int peer;
    struct stream *stream = pair(&heard, &peer);
    assert_false(stream_is_tls(stream));
    assert_true(stream_peer_local(stream));
    stream_peer(stream, text, sizeof text);
    assert_string_equal(text, "127.0.0.1");
    stream_start(stream, &heard_events, &heard);
    assert_int_equal(stream_write(stream, slice_str("hello")), 0);
    assert_int_equal(stream_pending(stream), 0);
    assert_int_equal(read(peer, text, sizeof text), 5);
    assert_int_equal(write(peer, "world", 5), 5);
    run_until(&loop, &heard.total);
    assert_string_equal(buf_str(&heard.data), "world");
    assert_int_equal(heard.drains, 0); /* nothing had to be kept */
    stream_close_now(stream);
    run_for(&loop, 1);
    assert_int_equal(read(peer, text, sizeof text), 0); /* a FIN, no reset */
    close(peer);
    buf_fini(&heard.data);
}

static void test_not_read_before_start(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    assert_int_equal(write(peer, "early", 5), 5);
    run_for(&loop, 20);
    stream_start(stream, &heard_events, &heard);
    assert_int_equal(heard.total, 0); /* never inside the call */
    run_until(&loop, &heard.total);
    assert_string_equal(buf_str(&heard.data), "early");
    stream_abort(stream);
    close(peer);
    buf_fini(&heard.data);
}

static void test_pause_and_resume(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    stream_start(stream, &heard_events, &heard);
    stream_pause(stream);
    assert_int_equal(write(peer, "x", 1), 1);
    close(peer);
    run_for(&loop, 20);
    assert_int_equal(heard.total + heard.ends, 0);
    stream_resume(stream);
    run_until(&loop, &heard.ends);
    assert_int_equal(heard.total, 1);
    stream_close_now(stream);
    buf_fini(&heard.data);
}

/* It hears of nothing by itself, and all is there when it is asked. */
static void test_set_aside(void **state)
{
    (void)state;
    struct heard heard;
    size_t bytes = 0;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    stream_start(stream, &heard_events, &heard);
    run_for(&loop, 20);
    assert_true(stream_set_aside(stream));
    assert_false(stream_has_ended(stream, &bytes));
    assert_int_equal(write(peer, "abc", 3), 3);
    run_for(&loop, 20);
    assert_int_equal(heard.total + heard.ends, 0);
    assert_false(stream_has_ended(stream, &bytes));
    assert_int_equal(bytes, 3);
    stream_start(stream, &heard_events, &heard); /* back to callbacks */
    assert_int_equal(write(peer, "de", 2), 2);
    run_until(&loop, &heard.total);
    assert_int_equal(heard.total, 2);
    assert_true(stream_set_aside(stream));
    assert_int_equal(write(peer, "f", 1), 1);
    shutdown(peer, SHUT_WR);
    run_for(&loop, 20);
    assert_int_equal(heard.total + heard.ends, 2);
    assert_true(stream_has_ended(stream, &bytes));
    assert_int_equal(bytes, 4);
    stream_close_now(stream);
    run_for(&loop, 1);
    assert_int_equal(read_all(peer), 0);
    close(peer);
    buf_fini(&heard.data);
}

/* A new owner of a paused stream must hear of its end. */
static void test_a_new_owner_is_not_paused(void **state)
{
    (void)state;
    struct heard heard, heir = { 0 };
    int peer;
    struct stream *stream = pair(&heard, &peer);
    buf_init(&heir.data, 1 << 10);
    stream_start(stream, &heard_events, &heard);
    stream_pause(stream);
    assert_int_equal(write(peer, "x", 1), 1);
    close(peer);
    stream_start(stream, &heard_events, &heir);
    run_until(&loop, &heir.ends);
    assert_int_equal(heir.total, 1);
    assert_int_equal(heard.total + heard.ends, 0);
    stream_close_now(stream);
    buf_fini(&heir.data);
    buf_fini(&heard.data);
}

static void test_end_is_clean_once_and_quiet(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    stream_start(stream, &heard_events, &heard);
    shutdown(peer, SHUT_WR);
    run_until(&loop, &heard.ends);
    assert_int_equal(heard.end.reason, REASON_NONE);
    assert_string_equal(heard.end.text, "the peer closed the connection");
    assert_int_equal(stream_write(stream, slice_str("still")), 0); /* our half is open */
    stream_pause(stream);
    stream_resume(stream);
    run_for(&loop, 20);
    assert_int_equal(heard.ends, 1);
    stream_close(stream, 1000);
    run_for(&loop, 1);
    assert_int_equal(read_all(peer), 5);
    close(peer);
    buf_fini(&heard.data);
}

static void test_reset_is_told_as_one(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    stream_start(stream, &heard_events, &heard);
    close_reset(peer);
    run_until(&loop, &heard.ends);
    assert_int_equal(heard.end.reason, REASON_CONNECTION_RESET);
    assert_int_equal(heard.end.code, ECONNRESET);
    stream_close(stream, 1000);
    buf_fini(&heard.data);
}

/* The write gets the socket's ECONNRESET. on_end must still give a reset, and only once. */
static void test_reset_that_a_write_meets(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    stream_start(stream, &heard_events, &heard);
    close_reset(peer);
    assert_int_equal(stream_write(stream, slice_str("into the void")), -1);
    assert_int_equal(stream_write(stream, slice_str("again")), -1);
    assert_int_equal(heard.ends, 0);
    run_until(&loop, &heard.ends);
    assert_int_equal(heard.end.reason, REASON_CONNECTION_RESET);
    run_for(&loop, 10);
    assert_int_equal(heard.ends, 1);
    stream_close_now(stream);
    buf_fini(&heard.data);
}

static void test_pending_then_drain(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    uint8_t *bulk = mem_alloc(SIZE);
    for (int i = 0; i < SIZE; i++)
        bulk[i] = (uint8_t)(i * 7 + i / 251);
    stream_set_max_pending(stream, SIZE + 100);
    stream_start(stream, &heard_events, &heard);
    assert_int_equal(stream_write(stream, slice_make(bulk, SIZE - 10)), 0);
    assert_true(stream_pending(stream) > 0);
    for (int i = SIZE - 10; i < SIZE; i++) /* gathered behind what is in flight, in order */
        assert_int_equal(stream_write(stream, slice_make(bulk + i, 1)), 0);
    size_t got = 0;
    fcntl(peer, F_SETFL, O_NONBLOCK);
    while (got < SIZE) {
        uint8_t chunk[65536];
        ssize_t n = read(peer, chunk, sizeof chunk);
        if (n > 0)
            assert_int_equal(memcmp(chunk, bulk + got, (size_t)n), 0);
        if (n > 0)
            got += (size_t)n;
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    run_until(&loop, &heard.drains);
    assert_int_equal(heard.drains, 1);
    assert_int_equal(stream_pending(stream), 0);
    assert_int_equal(stream_write(stream, slice_str("later")), 0);
    stream_abort(stream);
    close(peer);
    mem_free(bulk);
    buf_fini(&heard.data);
}

static void test_ceiling_of_what_is_kept(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    uint8_t *bulk = mem_alloc(1 << 20);
    stream_set_max_pending(stream, 1000);
    stream_start(stream, &heard_events, &heard);
    assert_int_equal(stream_write(stream, slice_make(bulk, 1001)), -1);
    assert_int_equal(stream_write(stream, slice_make(bulk, 1000)), 0);
    stream_set_max_pending(stream, 1 << 20);
    while (stream_pending(stream) == 0)
        assert_int_equal(stream_write(stream, slice_make(bulk, 1 << 20)), 0);
    size_t kept = stream_pending(stream);
    assert_int_equal(stream_write(stream, slice_make(bulk, (1 << 20) - kept + 1)), -1);
    assert_int_equal(stream_pending(stream), kept); /* nothing of it was taken */
    assert_int_equal(stream_write(stream, slice_make(bulk, (1 << 20) - kept)), 0);
    assert_int_equal(stream_pending(stream), 1 << 20);
    assert_int_equal(heard.ends, 0);
    stream_close_now(stream);
    close(peer);
    mem_free(bulk);
    buf_fini(&heard.data);
}

static void test_close_sends_what_is_pending(void **state)
{
    (void)state;
    enum { SIZE = 6 << 20 };
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    uint8_t *bulk = mem_alloc(SIZE);
    stream_set_max_pending(stream, SIZE);
    stream_start(stream, &heard_events, &heard);
    assert_int_equal(write(peer, "unread", 6), 6);
    assert_int_equal(stream_write(stream, slice_make(bulk, SIZE)), 0);
    stream_close(stream, WATCHDOG_MS);
    size_t got = 0;
    fcntl(peer, F_SETFL, O_NONBLOCK);
    for (ssize_t n = 1; n != 0;) { /* up to the FIN */
        uint8_t chunk[65536];
        n = read(peer, chunk, sizeof chunk);
        assert_true(n >= 0 || errno == EAGAIN);
        got += n > 0 ? (size_t)n : 0;
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(got, SIZE);
    assert_int_equal(heard.total + heard.ends + heard.drains, 0);
    close(peer);
    mem_free(bulk);
    buf_fini(&heard.data);
}

/* loop_fini (in teardown) waits for the linger, and not for ever. */
static void test_close_drops_who_does_not_read(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    struct heard heard;
    int peer;
    struct stream *stream = pair(&heard, &peer);
    uint8_t *bulk = mem_alloc(SIZE);
    stream_set_max_pending(stream, SIZE);
    stream_start(stream, &heard_events, &heard);
    assert_int_equal(stream_write(stream, slice_make(bulk, SIZE)), 0);
    stream_close(stream, 30);
    mem_free(bulk);
    loop_fini(&loop);
    assert_true(read_all(peer) < SIZE);
    close(peer);
    buf_fini(&heard.data);
    assert_int_equal(loop_init(&loop, NULL), 0);
}

/* Bytes that the peer still sends must not cause a RST that destroys our last bytes. */
static void test_close_survives_a_peer_in_full_flow(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    char text[16];
    struct stream *stream = pair(&heard, &peer);
    uint8_t *bulk = mem_alloc(1 << 20);
    fcntl(peer, F_SETFL, O_NONBLOCK);
    assert_true(write(peer, bulk, 1 << 20) > 0);
    stream_start(stream, &heard_events, &heard);
    assert_int_equal(stream_write(stream, slice_str("last words")), 0);
    stream_close(stream, WATCHDOG_MS);
    for (int i = 0; i < 20; i++) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        ssize_t n = write(peer, bulk, 65536);
        assert_true(n > 0 || errno == EAGAIN);
    }
    assert_int_equal(read(peer, text, sizeof text), 10);
    assert_int_equal(read(peer, text, sizeof text), 0);
    close(peer);
    mem_free(bulk);
    buf_fini(&heard.data);
}

static void test_abort_resets(void **state)
{
    (void)state;
    struct heard heard;
    int peer;
    char text[16];
    struct stream *stream = pair(&heard, &peer);
    stream_start(stream, &heard_events, &heard);
    stream_abort(stream);
    run_for(&loop, 5);
    assert_int_equal(read(peer, text, sizeof text), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(heard.ends, 0);
    close(peer);
    buf_fini(&heard.data);
}

static int closer_calls;

static void close_on_data(void *user, struct slice data)
{
    (void)data;
    closer_calls++;
    stream_close(user, 0);
}

static void abort_on_end(void *user, const struct err *err)
{
    (void)err;
    closer_calls++;
    stream_abort(user);
}

static void test_callbacks_may_close(void **state)
{
    (void)state;
    static const struct stream_events closing = { close_on_data, abort_on_end, NULL };
    struct heard heard;
    int peer;
    closer_calls = 0;
    struct stream *stream = pair(&heard, &peer);
    stream_start(stream, &closing, stream);
    assert_int_equal(write(peer, "x", 1), 1);
    close(peer);
    run_until(&loop, &closer_calls);
    run_for(&loop, 10);
    assert_int_equal(closer_calls, 1);
    stream = pair(&heard, &peer);
    stream_start(stream, &closing, stream);
    close(peer);
    closer_calls = 0;
    run_until(&loop, &closer_calls);
    buf_fini(&heard.data);
}

/* --- flood: nothing between two streams on one loop is mixed up ------------------------------------------------------- */

static int echoed_bytes, echo_ends;

static void echo_data(void *user, struct slice data)
{
    echoed_bytes += (int)data.len;
    assert_int_equal(stream_write(user, data), 0);
}

static void echo_end(void *user, const struct err *err)
{
    assert_int_equal(err->reason, REASON_NONE);
    echo_ends++;
    stream_close(user, 100);
}

static const struct stream_events echo_events = { echo_data, echo_end, NULL };

static void echo_accept(void *user, struct stream *stream)
{
    (void)user;
    stream_start(stream, &echo_events, stream);
}

static void test_two_on_one_loop(void **state)
{
    (void)state;
    struct listen_address address = { .host = "127.0.0.1" };
    struct listen_options options = { .fd = -1 };
    struct dialled dialled[2];
    struct heard heard[2];
    char block[2][1000];
    echoed_bytes = echo_ends = 0;
    struct listener *listener = listener_open(&loop, &address, &options, echo_accept, NULL, NULL);
    assert_non_null(listener);
    for (int i = 0; i < 2; i++) {
        memset(&heard[i], 0, sizeof heard[i]);
        buf_init(&heard[i].data, 1 << 20);
        memset(block[i], 'a' + i, sizeof block[i]);
        dial_whole(&loop, &dialled[i], "127.0.0.1", listener_port(listener), NULL);
        stream_start(dialled[i].stream, &heard_events, &heard[i]);
    }
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 2; i++)
            assert_int_equal(stream_write(dialled[i].stream, slice_of(block[i])), 0);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    while (heard[0].total < 100000 || heard[1].total < 100000)
        uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < 2; i++) {
        for (size_t at = 0; at < heard[i].data.len; at++)
            assert_int_equal(heard[i].data.data[at], 'a' + i);
        stream_close(dialled[i].stream, 1000);
        buf_fini(&heard[i].data);
    }
    while (echo_ends < 2)
        uv_run(&loop.uv, UV_RUN_ONCE);
    listener_close(listener);
    assert_int_equal(echoed_bytes, 200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_read_before_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pause_and_resume, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_owner_is_not_paused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_is_clean_once_and_quiet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_is_told_as_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_that_a_write_meets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pending_then_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceiling_of_what_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_sends_what_is_pending, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_drops_who_does_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_survives_a_peer_in_full_flow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abort_resets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_callbacks_may_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_on_one_loop, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
