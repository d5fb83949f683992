/*
 * Answers of the HTTP server that go on, against readers of every kind, on a real loop and real sockets. The pieces are numbers: each reader
 * has to get all of them, in order, or be dropped. The test is the client, and turns the loop itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/http/httpd.h"

enum { PATIENCE_MS = 20000, LARGE_BYTES = 100 << 10, STREAMS = 4, CONNECTIONS = 16 };

static struct loop loop;
static struct httpd *httpd;
static struct httpd_options options;
static uint64_t last;     /* the number of the last piece */
static size_t piece_size; /* of each, filled up with dots */
static unsigned shed;

static void handle(void *user, const struct httpd_request *request, struct httpd_reply *reply)
{
    (void)user;
    reply->status = 200;
    reply->content_type = "text/x-numbers";
    buf_append_str(reply->headers, "X-Test: yes\r\n");
    reply->stream = slice_equal_str(request->path, "/numbers");
    reply->topic = 7;
    buf_append_str(reply->body, "answered\n");
}

static struct shared *next(void *user, struct httpd_reader *reader)
{
    struct buf text = BUF_INIT(1 << 20);
    (void)user;
    assert_int_equal(reader->topic, 7);
    assert_true(reader->peer_local);
    if (reader->at == last)
        return NULL;
    buf_printf(&text, "%d", (int)++reader->at);
    while (text.len < piece_size)
        buf_append_char(&text, '.');
    buf_append_char(&text, '\n');
    return shared_take(&text);
}

static void on_shed(void *user)
{
    (void)user;
    shed++;
}

static int setup(void **state)
{
    struct listen_address address;
    struct err err;
    (void)state;
    options = (struct httpd_options){ .max_connections = CONNECTIONS,
                                      .max_waiting = 2,
                                      .max_streams = STREAMS,
                                      .next = next,
                                      .max_pending_bytes = 4 << 20,
                                      .request_timeout_ms = 200,
                                      .idle_timeout_ms = PATIENCE_MS,
                                      .max_head_bytes = 2048,
                                      .max_body_bytes = 100,
                                      .handle = handle,
                                      .on_shed = on_shed };
    last = 2;
    piece_size = shed = 0;
    assert_int_equal(loop_init(&loop, &err), 0);
    assert_int_equal(listen_address_parse("127.0.0.1:0", &address, &err), 0);
    httpd = httpd_open(&loop, &address, &(struct listen_options){ .fd = -1 }, &options, &err);
    assert_non_null(httpd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (httpd)
        httpd_close(httpd);
    httpd = NULL;
    loop_fini(&loop);
    assert_int_equal(shared_live_bytes(), 0);
    return 0;
}

/* --- the client ---------------------------------------------------------------------------------------------------------- */

static int ask(const char *request)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(httpd_port(httpd)) };
    int small = 4096, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    return fd;
}

static int subscribe(void)
{
    return ask("GET /numbers HTTP/1.1\r\nHost: x\r\n\r\n");
}

static void turn(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    poll(&wait, 1, 1);
}

static void turn_until(bool (*holds)(void))
{
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;
    while (!holds()) {
        assert_true(clock_now_ms() < give_up);
        turn(-1);
    }
}

/* Reads until `until` has come (NULL: until the server closes). */
static const char *get(int fd, const char *until)
{
    static struct buf got;
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;
    buf_fini(&got);
    buf_init(&got, 64 << 20);
    while (clock_now_ms() < give_up) {
        uint8_t *room = buf_reserve(&got, 4096);
        ssize_t n = recv(fd, room, 4096, 0);
        if (n > 0)
            got.len += (size_t)n;
        if (until ? slice_find(buf_slice(&got), slice_str(until)) >= 0 : n == 0 || (n < 0 && errno == ECONNRESET))
            return buf_str(&got);
        if (n == 0)
            fail_msg("closed; so far: %.300s", buf_str(&got));
        if (n < 0)
            turn(fd);
    }
    fail_msg("nothing more came; so far: %.300s", buf_str(&got));
    return NULL;
}

static void news(void)
{
    last++;
    httpd_news(httpd);
}

static bool all_read(void)
{
    return httpd_streams(httpd) == STREAMS;
}

static bool nobody_reads(void)
{
    return httpd_streams(httpd) == 0;
}

/* --- tests ------------------------------------------------------------------------------------------------------------------- */

static void pieces_come_as_chunks_when_there_is_news(void **state)
{
    (void)state;
    int fd = subscribe();
    const char *text = get(fd, "2\r\n2\n\r\n");
    assert_non_null(strstr(text, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(text, "Transfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(text, "Content-Type: text/x-numbers\r\n"));
    assert_non_null(strstr(text, "Cache-Control: no-store\r\n"));
    assert_null(strstr(text, "Content-Length"));
    assert_null(strstr(text, "answered"));
    assert_non_null(strstr(text, "\r\n\r\n2\r\n1\n\r\n2\r\n2\n\r\n"));
    news();
    assert_string_equal(get(fd, "3\n\r\n"), "2\r\n3\n\r\n");
    httpd_close(httpd);
    httpd = NULL;
    assert_string_equal(get(fd, NULL), "0\r\n\r\n");
    close(fd);
}

static void an_old_client_reads_up_to_the_end(void **state)
{
    (void)state;
    int fd = ask("GET /numbers HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const char *text = get(fd, "\r\n\r\n1\n2\n");
    assert_null(strstr(text, "chunked"));
    assert_non_null(strstr(text, "Connection: close\r\n"));
    httpd_close(httpd);
    httpd = NULL;
    assert_string_equal(get(fd, NULL), "");
    close(fd);
}

static void head_has_no_stream_and_the_connection_goes_on(void **state)
{
    (void)state;
    int fd = ask("HEAD /numbers HTTP/1.1\r\nHost: x\r\n\r\nGET /other HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *text = get(fd, "answered\n");
    assert_non_null(
        strstr(text, "Transfer-Encoding: chunked\r\nCache-Control: no-store\r\nX-Test: yes\r\n\r\nHTTP/1.1 200 OK\r\n"));
    assert_int_equal(httpd_streams(httpd), 0);
    close(fd);
}

static void a_large_piece_comes_whole(void **state)
{
    (void)state;
    piece_size = LARGE_BYTES;
    last = 1;
    int fd = ask("GET /numbers HTTP/1.0\r\n\r\n");
    const char *body = strstr(get(fd, ".\n"), "\r\n\r\n") + 4;
    assert_int_equal(strlen(body), LARGE_BYTES + 1);
    close(fd);
}

/* It costs one piece, however much news there is, and goes when it has taken nothing for as long as an answer may take. */
static void who_does_not_read_is_dropped_and_holds_one_piece(void **state)
{
    (void)state;
    piece_size = LARGE_BYTES;
    int idle = subscribe(), reading = subscribe();
    for (int i = 0; i < 20; i++) {
        char until[16];
        snprintf(until, sizeof until, "%d...", (int)last);
        (void)get(reading, until);
        (void)get(reading, ".\n\r\n");
        assert_true(shared_live_bytes() <= 2 * (LARGE_BYTES + 64));
        news();
    }
    close(reading);
    turn_until(nobody_reads);
    close(idle);
}

static void what_a_reader_sends_is_not_read_and_its_end_is_seen(void **state)
{
    (void)state;
    int fd = ask("GET /numbers HTTP/1.1\r\nHost: x\r\n\r\n");
    (void)get(fd, "2\n\r\n");
    close(fd);
    turn_until(nobody_reads);

    fd = ask("GET /numbers HTTP/1.1\r\nHost: x\r\n\r\nGET /other HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_null(strstr(get(fd, "2\n\r\n"), "answered"));
    news();
    assert_string_equal(get(fd, "3\n\r\n"), "2\r\n3\n\r\n");
    close(fd);
    news(); /* what it has sent is unread, so the kernel resets the connection */
    turn(-1);
    news();
    turn_until(nobody_reads);
}

/* The newest is answered; the one that goes is told so, and may come back. */
static void with_too_many_readers_the_longest_ends(void **state)
{
    (void)state;
    int fds[STREAMS + 1];
    for (int i = 0; i < STREAMS; i++) {
        fds[i] = subscribe();
        (void)get(fds[i], "2\n\r\n");
        poll(NULL, 0, 2);
    }
    turn_until(all_read);
    fds[STREAMS] = subscribe();
    (void)get(fds[STREAMS], "2\n\r\n");
    assert_string_equal(get(fds[0], NULL), "0\r\n\r\n");
    assert_int_equal(httpd_streams(httpd), STREAMS);
    assert_int_equal(shed, 1);
    news();
    for (int i = 1; i <= STREAMS; i++)
        assert_string_equal(get(fds[i], "3\n\r\n"), "2\r\n3\n\r\n");
    for (int i = 0; i <= STREAMS; i++)
        close(fds[i]);
}

static void requests_are_answered_while_connections_are_short(void **state)
{
    (void)state;
    int fds[CONNECTIONS], asked;
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = i < STREAMS ? subscribe() : ask("GET /slow");
    turn_until(all_read);
    for (int i = 0; i < 8; i++) {
        asked = ask("GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_non_null(strstr(get(asked, NULL), "answered\n"));
        close(asked);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
}

static void a_stream_may_begin_while_the_server_closes(void **state)
{
    (void)state;
    int fd = subscribe();
    turn(-1);
    httpd_close(httpd);
    httpd = NULL;
    (void)get(fd, NULL);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(pieces_come_as_chunks_when_there_is_news),         TEST(an_old_client_reads_up_to_the_end),
        TEST(head_has_no_stream_and_the_connection_goes_on),    TEST(a_large_piece_comes_whole),
        TEST(who_does_not_read_is_dropped_and_holds_one_piece), TEST(what_a_reader_sends_is_not_read_and_its_end_is_seen),
        TEST(with_too_many_readers_the_longest_ends),           TEST(requests_are_answered_while_connections_are_short),
        TEST(a_stream_may_begin_while_the_server_closes),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
