/*
 * HAProxy's agent-check (agent/http/agent_check.h): the line for each state of the view, and the responder on a real socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/conf/conf.h"
#include "agent/http/agent_check.h"

enum { PATIENCE_MS = 20000 };

static struct check_view echo, server, bus;
static const struct check_view *checks[] = { &bus, &echo, &server };
static struct agent_view view;
static struct server_stats stats;

static void make_check(struct check_view *check, const char *name)
{
    memset(check, 0, sizeof *check);
    check->name = check->type = name;
    check->gates = GATE_READY;
    check->judged = true;
    check->status = RESULT_PASS;
    check->health.state = STATE_PASS;
}

static int ready(void **state)
{
    (void)state;
    make_check(&echo, "echo");
    make_check(&server, "server");
    make_check(&bus, "bus");
    memset(&stats, 0, sizeof stats);
    server.stats.server = &stats;
    stats.have_connections = true;
    memset(&view, 0, sizeof view);
    view.verdict = (struct verdict){ .ready = true, .live = true, .started = true, .admitted = true, .status = RESULT_PASS };
    view.checks = checks;
    view.check_count = 3;
    return 0;
}

static void fail_check(struct check_view *check, enum reason reason, enum scope scope)
{
    check->health.state = STATE_FAIL;
    check->status = RESULT_FAIL;
    check->reason = check->last_fault = reason;
    check->scope = check->last_fault_scope = scope;
}

static void assert_line_of(unsigned degraded_weight, const char *line)
{
    char out[AGENT_CHECK_LINE_MAX];
    agent_check_line(&view, degraded_weight, out);
    assert_string_equal(out, line);
}

static void every_state_has_its_line(void **state)
{
    (void)state;
    assert_line_of(100, "up ready 100%");
    assert_line_of(30, "up ready 100%");
    view.verdict.degraded = true;
    assert_line_of(100, "up ready 100%");
    assert_line_of(30, "up ready 30%");
    view.verdict.ready = false;
    fail_check(&bus, REASON_BROKER_UNREACHABLE, SCOPE_SHARED);
    fail_check(&echo, REASON_ECHO_TIMEOUT, SCOPE_LOCAL);
    assert_line_of(30, "down #echo_timeout"); /* that of this instance, and not the first */
    echo.health.state = STATE_PASS;
    assert_line_of(30, "down #broker_unreachable"); /* readiness.shared_faults: fail */
    view.verdict.draining = true;
    assert_line_of(30, "up drain");
    ready(NULL);
    view.verdict.ready = view.verdict.started = false;
    echo.health.state = STATE_UNKNOWN;
    assert_line_of(100, "down #starting");
}

static void the_weight_falls_from_half_of_the_limit_on(void **state)
{
    static const struct {
        uint64_t now, max;
        const char *line;
    } cases[] = {
        { 1000000, 0, "up ready 100%" },  { 0, 100, "up ready 100%" },
        { 50, 100, "up ready 100%" },     { 51, 100, "up ready 98%" },
        { 75, 100, "up ready 50%" },      { 99, 100, "up ready 2%" },
        { 100, 100, "up ready 1%" },      { 101, 100, "up ready 1%" },
        { 0, 1, "up ready 100%" },        { 1, 1, "up ready 100%" },
        { 2, 1, "up ready 1%" },          { 2, 3, "up ready 100%" },
        { 16300, 20000, "up ready 37%" }, { UINT64_MAX / 200, UINT64_MAX / 100, "up ready 100%" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stats.connections[SERVER_ESTABLISHED] = cases[i].now;
        stats.max_connections = cases[i].max;
        assert_line_of(100, cases[i].line);
    }
    stats.connections[SERVER_ESTABLISHED] = 75;
    stats.max_connections = 100;
    view.verdict.degraded = true;
    assert_line_of(60, "up ready 50%");
    assert_line_of(40, "up ready 40%");
    stats.have_connections = false; /* not seen is not full */
    assert_line_of(100, "up ready 100%");
    stats.have_connections = true;
    server.gates = 0; /* only reports */
    assert_line_of(100, "up ready 100%");
}

static void a_full_instance_is_not_down(void **state)
{
    (void)state;
    view.verdict.ready = false;
    fail_check(&server, REASON_SERVER_CONNECTIONS_HIGH, SCOPE_LOCAL);
    assert_line_of(100, "up ready 0%");
    fail_check(&bus, REASON_BROKER_UNREACHABLE, SCOPE_SHARED); /* degrades, and no more */
    assert_line_of(100, "up ready 0%");
    fail_check(&echo, REASON_ECHO_TIMEOUT, SCOPE_LOCAL);
    assert_line_of(100, "down #echo_timeout");
}

/* --- the responder ----------------------------------------------------------------------------------------------------------- */

static struct loop loop;
static struct agent_check *responder;

static const struct agent_view *source_view(void *user)
{
    (void)user;
    return &view;
}

static unsigned source_weight(void *user)
{
    (void)user;
    return 100;
}

static int open_responder(void **state)
{
    const struct agent_check_source source = { source_view, source_weight, NULL };
    struct listen_address address;
    struct err err;
    ready(state);
    assert_int_equal(loop_init(&loop, &err), 0);
    assert_int_equal(listen_address_parse("127.0.0.1:0", &address, &err), 0);
    responder = agent_check_open(&loop, &address, -1, &source, &err);
    assert_non_null(responder);
    return 0;
}

static int close_responder(void **state)
{
    (void)state;
    agent_check_close(responder);
    loop_fini(&loop);
    return 0;
}

static int dial_responder(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(agent_check_port(responder)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* All up to the end. An RST fails. */
static const char *read_line(int fd)
{
    static char got[256];
    size_t len = 0;
    uint64_t give_up = clock_now_ms() + PATIENCE_MS;
    while (clock_now_ms() < give_up) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        if (poll(&wait, 1, 1) == 0)
            continue;
        ssize_t n = recv(fd, got + len, sizeof got - 1 - len, 0);
        assert_true(n >= 0);
        len += (size_t)n;
        got[len] = 0;
        if (n == 0) {
            close(fd);
            return got;
        }
    }
    fail_msg("no end came; so far: %s", got);
    return NULL;
}

static bool silent(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    for (int i = 0; i < 20; i++) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
    return poll(&wait, 1, 0) == 0;
}

static void a_connection_gets_its_line_and_the_end(void **state)
{
    static const char words[] = "what HAProxy sends by agent-send\n";
    (void)state;
    assert_string_equal(read_line(dial_responder()), "up ready 100%\n");
    for (int i = 0; i < 20; i++) {
        int fd = dial_responder();
        assert_true(send(fd, words, sizeof words - 1, MSG_NOSIGNAL) > 0);
        assert_string_equal(read_line(fd), "up ready 100%\n");
    }
}

static void it_waits_until_it_knows_something(void **state)
{
    (void)state;
    view.verdict.ready = view.verdict.started = false;
    echo.health.state = STATE_UNKNOWN;
    int fds[3];
    for (size_t i = 0; i < 3; i++)
        fds[i] = dial_responder();
    assert_true(silent(fds[0]));
    agent_check_wake(responder);
    assert_true(silent(fds[0]));
    view.verdict.ready = true;
    agent_check_wake(responder);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(read_line(fds[i]), "up ready 100%\n");
}

static void but_not_for_ever(void **state)
{
    (void)state;
    view.verdict.ready = view.verdict.started = false;
    echo.health.state = STATE_UNKNOWN;
    assert_string_equal(read_line(dial_responder()), "down #starting\n");
    assert_string_equal(read_line(dial_responder()), "down #starting\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_state_has_its_line, ready),
        cmocka_unit_test_setup(the_weight_falls_from_half_of_the_limit_on, ready),
        cmocka_unit_test_setup(a_full_instance_is_not_down, ready),
        cmocka_unit_test_setup_teardown(a_connection_gets_its_line_and_the_end, open_responder, close_responder),
        cmocka_unit_test_setup_teardown(it_waits_until_it_knows_something, open_responder, close_responder),
        cmocka_unit_test_setup_teardown(but_not_for_ever, open_responder, close_responder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
