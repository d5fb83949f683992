/*
 * The HTTP server against clients of every kind, on a real loop and real sockets. The test is the client: it writes, turns the loop
 * until something is there to read, and never waits for a time to pass except for the server's own (short) deadlines.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/http/httpd.h"

enum { PATIENCE_MS = 20000, LARGE_BYTES = 128 << 10, ANSWERS_MAX = 64 << 20 };

static struct loop loop;
static struct httpd *httpd;
static struct httpd_options options;
static unsigned handled, shed, ended;
static bool close_inside;
static bool answer_now; /* /wait is answered */
static unsigned asked_again;

static void handle(void *user, const struct httpd_request *request, struct httpd_reply *reply)
{
    char size[16];
    (void)user;
    handled++;
    if (slice_equal_str(request->path, "/missing"))
        return;
    asked_again += request->again;
    if (slice_equal_str(request->path, "/wait") && !answer_now && request->waited_ms < PATIENCE_MS / 2) {
        buf_append_str(reply->body, "thrown away");
        reply->passing = httpd_query(request, "passing", size, sizeof size);
        reply->wait_ms =
            httpd_query(request, "ms", size, sizeof size) && !request->again ? (uint32_t)strtoul(size, NULL, 10) : PATIENCE_MS;
        answer_now = !request->again && httpd_query(request, "once", size, sizeof size);
        return;
    }
    if (close_inside) {
        httpd_close(httpd);
        httpd = NULL;
    }
    reply->status = 200;
    buf_append_str(reply->headers, "X-Test: yes\r\n");
    buf_printf(reply->body, "[%.*s|%.*s|%.*s|%zu]\n", (int)request->method.len, (const char *)request->method.data,
               (int)request->path.len, (const char *)request->path.data, (int)request->query.len,
               request->query.len ? (const char *)request->query.data : "", request->body.len);
    if (httpd_query(request, "size", size, sizeof size))
        for (size_t n = (size_t)strtoul(size, NULL, 10); reply->body->len < n;)
            buf_append_str(reply->body, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n");
}

static void on_shed(void *user)
{
    (void)user;
    shed++;
}

static bool takes_preambles(void *user)
{
    (void)user;
    return true;
}

static void fini(void *user)
{
    (void)user;
    ended++;
}

static void open_server(void)
{
    struct listen_address address;
    struct err err;
    assert_int_equal(listen_address_parse("127.0.0.1:0", &address, &err), 0);
    httpd = httpd_open(&loop, &address, &(struct listen_options){ .fd = -1 }, &options, &err);
    assert_non_null(httpd);
}

static int setup(void **state)
{
    struct err err;
    (void)state;
    options = (struct httpd_options){ .max_connections = 16,
                                      .max_waiting = 8,
                                      .max_pending_bytes = 4 << 20,
                                      .request_timeout_ms = PATIENCE_MS,
                                      .idle_timeout_ms = PATIENCE_MS,
                                      .max_head_bytes = 2048,
                                      .max_body_bytes = 100,
                                      .handle = handle,
                                      .on_shed = on_shed,
                                      .fini = fini };
    handled = shed = ended = asked_again = 0;
    close_inside = answer_now = false;
    httpd = NULL;
    return loop_init(&loop, &err);
}

static int teardown(void **state)
{
    (void)state;
    if (httpd)
        httpd_close(httpd);
    assert_int_equal(ended, 1);
    loop_fini(&loop);
    return 0;
}

/* --- the client ---------------------------------------------------------------------------------------------------------- */

static int dial_server(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(httpd_port(httpd)) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void turn(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    poll(&wait, 1, 1);
}

/* Gives the server time to do all that it can do now. */
static void let_settle(void)
{
    for (int i = 0; i < 20; i++) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
}

static void put(int fd, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, (const char *)data + at, len - at, MSG_NOSIGNAL);
        if (n > 0)
            at += (size_t)n;
        else
            assert_true(errno == EAGAIN);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
}

static void put_text(int fd, const char *text)
{
    put(fd, text, strlen(text));
}

/* Reads until `until` has come (NULL: until the server closes) and returns everything; sets *closed when the end came. */
static char *get(int fd, const char *until, bool *closed)
{
    static struct buf got;
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;
    buf_fini(&got);
    buf_init(&got, ANSWERS_MAX);
    *closed = false;
    size_t tail = until ? strlen(until) : 0;
    while (clock_now_ms() < give_up) {
        uint8_t *room = buf_reserve(&got, 4096);
        ssize_t n = recv(fd, room, 4096, 0);
        if (n > 0) {
            got.len += (size_t)n;
            size_t from = got.len > (size_t)n + tail ? got.len - (size_t)n - tail : 0;
            if (until && slice_find(slice_make(got.data + from, got.len - from), slice_str(until)) >= 0)
                return (char *)(uintptr_t)buf_str(&got);
        } else if (n == 0 || errno == ECONNRESET) {
            *closed = true;
            return (char *)(uintptr_t)buf_str(&got);
        } else {
            turn(fd);
        }
    }
    fail_msg("nothing more came; so far: %.200s", buf_str(&got));
    return NULL;
}

static char *get_all(int fd)
{
    bool closed;
    char *text = get(fd, NULL, &closed);
    close(fd);
    return text;
}

static char *ask(const char *request)
{
    int fd = dial_server();
    put_text(fd, request);
    return get_all(fd);
}

#define assert_in(haystack, needle)                                            \
    do {                                                                       \
        if (!strstr((haystack), (needle)))                                     \
            fail_msg("\"%.300s\" does not hold \"%s\"", (haystack), (needle)); \
    } while (0)

static void assert_starts(const char *text, const char *start)
{
    if (strncmp(text, start, strlen(start)) != 0)
        fail_msg("\"%.300s\" does not start with \"%s\"", text, start);
}

static void assert_still_serving(void)
{
    assert_starts(ask("GET /still HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
}

/* --- answers --------------------------------------------------------------------------------------------------------------- */

static void a_request_is_answered(void **state)
{
    (void)state;
    open_server();
    const char *answer = ask("GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_starts(answer, "HTTP/1.1 200 OK\r\nDate: ");
    assert_in(answer, " GMT\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 15\r\nCache-Control: no-store\r\n"
                      "Connection: close\r\nX-Test: yes\r\n\r\n[GET|/a|b=c|0]");
    answer = ask("GET /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_starts(answer, "HTTP/1.1 404 Not Found\r\n");
    assert_in(answer, "\r\n\r\nNot Found\n");
    answer = ask("GET http://other.example/p?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_in(answer, "[GET|/p|q|0]");
    answer = ask("GET http://other.example HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_in(answer, "[GET|/||0]");
    answer = ask("GET http://other.example?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_in(answer, "[GET|/|q|0]");
}

static void head_has_the_length_and_no_body(void **state)
{
    (void)state;
    open_server();
    const char *answer = ask("HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_in(answer, "Content-Length: 13\r\n");
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void connections_are_kept_as_asked(void **state)
{
    (void)state;
    bool closed;
    open_server();
    int fd = dial_server();
    for (int i = 0; i < 3; i++) {
        put_text(fd, "GET /kept HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_null(strstr(get(fd, "|0]\n", &closed), "Connection:"));
        assert_false(closed);
    }
    put_text(fd, "POST /last HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    assert_in(get_all(fd), "[POST|/last||2]");

    fd = dial_server();
    put_text(fd, "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_in(get(fd, "|0]\n", &closed), "Connection: keep-alive\r\n");
    put_text(fd, "GET /old HTTP/1.0\r\n\r\n");
    assert_in(get_all(fd), "Connection: close\r\n");
}

static void a_request_may_come_byte_by_byte(void **state)
{
    (void)state;
    static const char text[] =
        "POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    open_server();
    int fd = dial_server();
    for (size_t i = 0; i < sizeof text - 1; i++) {
        put(fd, text + i, 1);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    assert_in(get_all(fd), "[POST|/slow||3]");
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct buf all = BUF_INIT(1 << 20);
    for (int i = 0; i < 100; i++)
        buf_printf(&all, "GET /%d HTTP/1.1\r\nHost: x\r\n%s\r\n", i, i == 99 ? "Connection: close\r\n" : "");
    open_server();
    int fd = dial_server();
    put(fd, all.data, all.len);
    buf_fini(&all);
    const char *at = get_all(fd);
    for (int i = 0; i < 100; i++) {
        char want[32];
        snprintf(want, sizeof want, "\r\n\r\n[GET|/%d||0]\n", i);
        at = strstr(at, want);
        assert_non_null(at);
        at += strlen(want);
    }
    assert_string_equal(at, "");
    assert_int_equal(handled, 100);
}

/* A client that pipelines and does not read gets no further answers. When it reads, it gets all of them in order. */
static void answers_wait_for_their_reader(void **state)
{
    (void)state;
    enum { REQUESTS = 300 };
    struct buf all = BUF_INIT(1 << 20);
    for (int i = 0; i < REQUESTS; i++)
        buf_printf(&all, "GET /%d?size=%d HTTP/1.1\r\nHost: x\r\n%s\r\n", i, LARGE_BYTES,
                   i == REQUESTS - 1 ? "Connection: close\r\n" : "");
    open_server();
    int fd = dial_server();
    put(fd, all.data, all.len);
    buf_fini(&all);
    let_settle();
    assert_in_range(handled, 1, REQUESTS - 1);
    const char *at = get_all(fd);
    for (int i = 0; i < REQUESTS; i++) {
        char want[32];
        snprintf(want, sizeof want, "\r\n\r\n[GET|/%d|size", i);
        at = strstr(at, want);
        assert_non_null(at);
    }
    assert_int_equal(handled, REQUESTS);
}

/* --- refusals ------------------------------------------------------------------------------------------------------------- */

static void broken_requests_are_refused_and_closed(void **state)
{
    (void)state;
    static const struct {
        const char *request, *answer;
    } cases[] = {
        { "nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET / HTTP/1.1\nHost: a\n\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET relative HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET http:///live HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET http://:80/live HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET http://u@a/live HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
        { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\n" },
        { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 Not Implemented\r\n" },
        { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n" },
        { "\x16\x03\x01\x02\x00\x01\x00", "HTTP/1.1 400 Bad Request\r\n" },
    };
    open_server();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer = ask(cases[i].request);
        assert_starts(answer, cases[i].answer);
        assert_in(answer, "Connection: close\r\n");
    }
    int fd = dial_server();
    put(fd, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 29);
    assert_starts(get_all(fd), "HTTP/1.1 400 ");
    assert_int_equal(handled, 0);
    assert_still_serving();
}

static void oversized_requests_are_refused(void **state)
{
    (void)state;
    char head[4096];
    memset(head, 'a', sizeof head);
    open_server();
    int fd = dial_server();
    put_text(fd, "GET /");
    put(fd, head, sizeof head);
    assert_starts(get_all(fd), "HTTP/1.1 431 Request Header Fields Too Large\r\n");

    fd = dial_server();
    put_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < HTTP_HEADERS_MAX; i++)
        put_text(fd, "X: y\r\n");
    put_text(fd, "\r\n");
    assert_starts(get_all(fd), "HTTP/1.1 431 ");

    /* The client is still sending a body when it is refused: the refusal must arrive all the same. */
    fd = dial_server();
    put_text(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n");
    for (int i = 0; i < 20; i++)
        (void)send(fd, head, sizeof head, MSG_NOSIGNAL);
    assert_starts(get_all(fd), "HTTP/1.1 413 ");
    assert_still_serving();
}

/* --- time ------------------------------------------------------------------------------------------------------------------ */

static void slow_requests_are_shed(void **state)
{
    (void)state;
    options.request_timeout_ms = 60;
    open_server();
    int fd = dial_server();
    put_text(fd, "GET / HTTP/1.1\r\nHos");
    assert_starts(get_all(fd), "HTTP/1.1 408 Request Timeout\r\n");

    /* A trickle does not buy time. */
    fd = dial_server();
    put_text(fd, "GET / HTTP/1.1\r\n");
    struct pollfd answer = { .fd = fd, .events = POLLIN };
    for (int i = 0; i < 10000 && poll(&answer, 1, 1) == 0; i++) {
        (void)send(fd, i % 6 == 4 ? "\r" : i % 6 == 5 ? "\n" : i % 6 == 1 ? ":" : "x", 1, MSG_NOSIGNAL);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    assert_starts(get_all(fd), "HTTP/1.1 4");

    /* A client that sends nothing gets no answer. */
    assert_string_equal(get_all(dial_server()), "");
    assert_int_equal(handled, 0);
}

static void idle_connections_are_closed(void **state)
{
    (void)state;
    bool closed;
    options.idle_timeout_ms = 60;
    open_server();
    int fd = dial_server();
    put_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    get(fd, "|0]\n", &closed);
    assert_string_equal(get_all(fd), "");
}

static void who_does_not_read_is_dropped(void **state)
{
    (void)state;
    options.request_timeout_ms = 100;
    open_server();
    int fd = dial_server(), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 200; i++)
        put_text(fd, "GET /?size=131072 HTTP/1.1\r\nHost: a\r\n\r\n");
    struct pollfd hung_up = { .fd = fd, .events = 0 };
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;
    while (!(hung_up.revents & (POLLHUP | POLLERR)) && clock_now_ms() < give_up) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        poll(&hung_up, 1, 1);
    }
    assert_true(hung_up.revents & (POLLHUP | POLLERR));
    assert_true(handled < 200);
    close(fd);
    assert_still_serving();
}

/* --- clients that leave -------------------------------------------------------------------------------------------------- */

static void half_closed_clients_get_their_answer(void **state)
{
    (void)state;
    open_server();
    int fd = dial_server();
    put_text(fd, "GET /half?size=3000000 HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\nGET /part");
    shutdown(fd, SHUT_WR);
    const char *answer = get_all(fd);
    assert_in(answer, "[GET|/half|size=3000000|0]");
    assert_in(answer + 3000000, "[GET|/next||0]\n");
    assert_int_equal(handled, 2);
}

static void resets_harm_nobody(void **state)
{
    (void)state;
    static const char *const started[] = { "", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                                           "GET /?size=9000000 HTTP/1.1\r\nHost: a\r\n\r\n" };
    const struct linger reset = { .l_onoff = 1 };
    open_server();
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < 4; i++) {
            int fd = dial_server();
            put_text(fd, started[i]);
            for (int j = 0; j < round; j++)
                uv_run(&loop.uv, UV_RUN_NOWAIT);
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(fd);
        }
    let_settle();
    assert_still_serving();
}

/* --- too many --------------------------------------------------------------------------------------------------------------- */

static void idle_connections_give_way(void **state)
{
    (void)state;
    bool closed;
    options.max_connections = 2;
    open_server();
    int first = dial_server(), second;
    put_text(first, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    get(first, "|0]\n", &closed);
    second = dial_server();
    put_text(second, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    get(second, "|0]\n", &closed);
    assert_still_serving();
    assert_string_equal(get_all(first), ""); /* the longest idle */
    put_text(second, "GET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_starts(get_all(second), "HTTP/1.1 200 ");
    assert_int_equal(shed, 0);
}

/* No client is refused, and no 503 is sent: connections with half a request are closed, the oldest first. */
static void when_all_are_busy_the_longest_gives_way(void **state)
{
    (void)state;
    options.max_connections = 2;
    open_server();
    int busy[2];
    for (int i = 0; i < 2; i++) {
        busy[i] = dial_server();
        put_text(busy[i], "GET /busy HTTP/1.1\r\n");
        let_settle();
    }
    assert_starts(ask("GET /new HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ");
    assert_string_equal(get_all(busy[0]), "");
    put_text(busy[1], "Host: a\r\nConnection: close\r\n\r\n");
    assert_in(get_all(busy[1]), "[GET|/busy||0]");
    assert_int_equal(shed, 1);
    assert_still_serving();
}

/* Half requests and silent connections come faster than their deadlines pass. Every whole request is answered all the same. */
static void a_flood_of_half_requests_starves_nobody(void **state)
{
    (void)state;
    int flood[64];
    options.max_connections = 8;
    open_server();
    for (int i = 0; i < 64; i++) {
        flood[i] = dial_server();
        if (i % 2)
            put_text(flood[i], "GET / HTTP/1.1\r\nHo");
        if (i % 16 == 15)
            assert_still_serving();
    }
    assert_int_equal(shed, 1); /* at most once in ten seconds */
    for (int i = 0; i < 64; i++)
        close(flood[i]);
    assert_still_serving();
}

/* A client that sends thousands of requests at once is answered a few in each turn; another one that asks once is answered in between. */
static void a_pipeline_does_not_keep_others_waiting(void **state)
{
    (void)state;
    struct buf all = BUF_INIT(1 << 20);
    for (int i = 0; i < 2000; i++)
        buf_append_str(&all, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    open_server();
    int fd = dial_server(), small = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    while (send(fd, all.data, all.len, MSG_NOSIGNAL) > 0)
        continue;
    buf_fini(&all);
    for (int i = 0; i < 5; i++)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    assert_in_range(handled, 1, 5 * 2 * 32);
    assert_still_serving();
    close(fd);
}

/* Many clients that do not read cost one text together, and a small piece each. */
static void a_large_answer_is_kept_once_for_all(void **state)
{
    (void)state;
    int fds[15], small = 4096;
    options.max_pending_bytes = 1 << 20;
    open_server();
    for (int i = 0; i < 15; i++) {
        fds[i] = dial_server();
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        put_text(fds[i], "GET /?size=524288 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    while (handled < 15)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    assert_still_serving(); /* nobody has had its grace yet */
    poll(NULL, 0, 300);
    assert_starts(ask("GET /?size=300000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ");
    assert_true(shared_live_bytes() <= 1 << 20);
    for (int i = 0; i < 15; i++)
        close(fds[i]);
}

static void a_proxy_preamble_is_passed_over(void **state)
{
    (void)state;
    static const char binary[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\1\x0a\0\0\2\0\1\0\2GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    options.proxy_protocol = takes_preambles;
    open_server();
    assert_in(ask("PROXY TCP4 10.0.0.1 10.0.0.2 33333 9717\r\nGET /v1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
              "[GET|/v1||0]");
    int fd = dial_server();
    for (size_t i = 0; i < sizeof binary - 1; i++) {
        put(fd, binary + i, 1);
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    assert_in(get_all(fd), "[GET|/v2||0]");
    assert_starts(ask("PROXY garbage\r\nGET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ");
    assert_still_serving(); /* without one */
}

static void who_waits_for_a_100_gets_one(void **state)
{
    (void)state;
    bool closed;
    open_server();
    int fd = dial_server();
    put_text(fd, "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n");
    assert_string_equal(get(fd, "\r\n\r\n", &closed), "HTTP/1.1 100 Continue\r\n\r\n");
    put_text(fd, "hi");
    assert_in(get_all(fd), "[POST|/b||2]");
    /* A client that has sent its body already needs no 100 Continue. */
    assert_starts(ask("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhi"),
                  "HTTP/1.1 200 ");
    assert_starts(ask("POST /b HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi"), "HTTP/1.1 200 ");
}

static void a_refused_head_has_no_body(void **state)
{
    (void)state;
    open_server();
    static const char *const cases[] = { "HEAD / HTTP/1.1\r\n\r\n", "HEAD relative HTTP/1.1\r\nHost: a\r\n\r\n",
                                         "HEAD / HTTP/1.1\r\nHost: a\r\nX y\r\n\r\n" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *answer = ask(cases[i]);
        assert_starts(answer, "HTTP/1.1 400 ");
        assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    }
}

/* All descriptors are in use, and the server has no connection to close: accepting goes on when a descriptor is free. */
static void accepting_goes_on_when_descriptors_are_free_again(void **state)
{
    struct rlimit before, none;
    (void)state;
    open_server();
    int fd = dial_server();
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3; /* fewer than the reserve */
    setrlimit(RLIMIT_NOFILE, &none);
    put_text(fd, "GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let_settle();
    assert_int_equal(handled, 0);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_starts(get_all(fd), "HTTP/1.1 200 ");
    assert_still_serving();
}

/* --- closing ------------------------------------------------------------------------------------------------------------------ */

static void closing_finishes_what_is_being_written(void **state)
{
    (void)state;
    open_server();
    int fd = dial_server(), idle = dial_server(), reading = dial_server();
    put_text(reading, "GET / HT");
    put_text(fd, "GET /?size=10000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    while (handled == 0)
        turn(fd);
    httpd_close(httpd);
    httpd = NULL;
    const char *answer = get_all(fd);
    assert_true(strlen(answer) > 10000000);
    assert_string_equal(get_all(idle), "");
    assert_string_equal(get_all(reading), "");
}

static void a_handler_may_close_its_server(void **state)
{
    (void)state;
    open_server();
    int fd = dial_server(), other = dial_server();
    close_inside = true;
    put_text(fd, "GET /last HTTP/1.1\r\nHost: a\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    const char *answer = get_all(fd);
    assert_in(answer, "Connection: close\r\n");
    assert_in(answer, "[GET|/last||0]\n");
    assert_null(strstr(answer, "never"));
    assert_string_equal(get_all(other), "");
    assert_int_equal(handled, 1);
}

/* --- requests that are put off ---------------------------------------------------------------------------------------------------- */

static int put_off(const char *target)
{
    char text[128];
    int fd = dial_server();
    unsigned before = handled;
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", target);
    put_text(fd, text);
    while (handled == before)
        turn(fd);
    return fd;
}

static bool has_come(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    let_settle();
    return poll(&wait, 1, 0) == 1;
}

static void a_request_may_be_put_off_until_the_server_is_woken(void **state)
{
    (void)state;
    open_server();
    int fds[4];
    for (size_t i = 0; i < 4; i++)
        fds[i] = put_off("/wait");
    assert_still_serving();
    httpd_wake(httpd);
    assert_false(has_come(fds[0]));
    assert_int_equal(asked_again, 4);
    answer_now = true;
    httpd_wake(httpd);
    httpd_wake(httpd);
    for (size_t i = 0; i < 4; i++)
        assert_in(get_all(fds[i]), "\r\n\r\n[GET|/wait||0]\n");
    assert_int_equal(asked_again, 8);
}

static void it_is_asked_again_when_its_time_is_over(void **state)
{
    (void)state;
    open_server();
    assert_in(get_all(put_off("/wait?ms=30&once")), "[GET|/wait|ms=30&once|0]");
    assert_int_equal(asked_again, 1);
}

static void what_comes_behind_it_waits_too(void **state)
{
    (void)state;
    open_server();
    int fd = put_off("/wait");
    put_text(fd, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    close(fd);
    bool closed;
    fd = dial_server();
    put_text(fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /behind HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_false(has_come(fd));
    put_text(fd, "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_false(has_come(fd));
    answer_now = true;
    httpd_wake(httpd);
    const char *answers = get(fd, "[GET|/last||0]\n", &closed);
    assert_true(strstr(answers, "[GET|/wait||0]") < strstr(answers, "[GET|/behind||0]"));
    close(fd);
}

static void who_goes_away_is_forgotten_and_floods_end_their_own(void **state)
{
    (void)state;
    int fds[12];
    open_server();
    for (size_t i = 0; i < 4; i++) {
        close(put_off("/wait"));
        let_settle();
    }
    httpd_wake(httpd);
    let_settle();
    assert_int_equal(asked_again, 0);
    for (size_t i = 0; i < 12; i++)
        fds[i] = put_off("/wait"); /* eight may wait */
    assert_still_serving();
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(get_all(fds[i]), ""); /* those that have waited longest */
    answer_now = true;
    httpd_wake(httpd);
    for (size_t i = 4; i < 12; i++)
        assert_in(get_all(fds[i]), "[GET|/wait||0]");
    assert_int_equal(shed, 1); /* it is told once in ten seconds */
}

/* Whose answer does not matter as much neither keeps a server that is to end, nor takes the place of the others. */
static void those_in_passing_are_ended_first(void **state)
{
    (void)state;
    int fds[9];
    open_server();
    int fd = put_off("/wait");
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) { /* eight may wait: two of them are ended */
        fds[i] = put_off("/wait?passing");
        let_settle();
        assert_int_equal(httpd_waiting(httpd), 1);
    }
    answer_now = true;
    httpd_wake(httpd);
    assert_in(get_all(fd), "[GET|/wait||0]");
    assert_string_equal(get_all(fds[0]), "");
    assert_in(get_all(fds[8]), "[GET|/wait|passing|0]");
    for (size_t i = 1; i < 8; i++)
        close(fds[i]);
}

static void closing_ends_those_that_wait(void **state)
{
    (void)state;
    open_server();
    int fd = put_off("/wait");
    httpd_wake(httpd);
    httpd_close(httpd);
    httpd = NULL;
    assert_string_equal(get_all(fd), "");
}

/* --- queries -------------------------------------------------------------------------------------------------------------------- */

static void queries_are_read(void **state)
{
    (void)state;
    struct httpd_request request = { .query = slice_str("a=1&verbose&bb=22&empty=&a=2&verbosely=x") };
    char value[4];
    assert_true(httpd_query(&request, "a", value, sizeof value));
    assert_string_equal(value, "1");
    assert_true(httpd_query(&request, "verbose", value, sizeof value));
    assert_string_equal(value, "");
    assert_true(httpd_query(&request, "empty", value, sizeof value));
    assert_string_equal(value, "");
    assert_true(httpd_query(&request, "bb", value, 2));
    assert_string_equal(value, "2");
    assert_false(httpd_query(&request, "b", value, sizeof value));
    assert_false(httpd_query(&request, "verb", value, sizeof value));
    request.query = (struct slice){ 0 };
    assert_false(httpd_query(&request, "a", value, sizeof value));
}

#define with_loop(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_loop(a_request_is_answered),
        with_loop(head_has_the_length_and_no_body),
        with_loop(connections_are_kept_as_asked),
        with_loop(a_request_may_come_byte_by_byte),
        with_loop(pipelined_requests_are_answered_in_order),
        with_loop(answers_wait_for_their_reader),
        with_loop(broken_requests_are_refused_and_closed),
        with_loop(oversized_requests_are_refused),
        with_loop(slow_requests_are_shed),
        with_loop(idle_connections_are_closed),
        with_loop(who_does_not_read_is_dropped),
        with_loop(half_closed_clients_get_their_answer),
        with_loop(resets_harm_nobody),
        with_loop(idle_connections_give_way),
        with_loop(when_all_are_busy_the_longest_gives_way),
        with_loop(a_flood_of_half_requests_starves_nobody),
        with_loop(accepting_goes_on_when_descriptors_are_free_again),
        with_loop(a_pipeline_does_not_keep_others_waiting),
        with_loop(a_large_answer_is_kept_once_for_all),
        with_loop(a_proxy_preamble_is_passed_over),
        with_loop(who_waits_for_a_100_gets_one),
        with_loop(a_refused_head_has_no_body),
        with_loop(closing_finishes_what_is_being_written),
        with_loop(a_handler_may_close_its_server),
        with_loop(a_request_may_be_put_off_until_the_server_is_woken),
        with_loop(it_is_asked_again_when_its_time_is_over),
        with_loop(what_comes_behind_it_waits_too),
        with_loop(who_goes_away_is_forgotten_and_floods_end_their_own),
        with_loop(those_in_passing_are_ended_first),
        with_loop(closing_ends_those_that_wait),
        cmocka_unit_test(queries_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
