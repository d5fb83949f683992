/*
 * The demo's server, its broker and the agent beside them, on one loop: every fault is found by a check with the right reason, and
 * behaviour that is no fault passes. No test depends on how fast the machine is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/mem.h"
#include "agent/demo/demo.h"
#include "agent/demo/demo_bus.h"
#include "agent/demo/demo_faults.h"
#include "agent/demo/demo_server.h"
#include "agent/run/agent.h"
#include "brokers/memory.h"

enum {
    SHORT_MS = 300,
    SOON_MS = 1000,
    LONG_MS = 20000,
    PATIENT_ROUNDS = 20,
    HOLD_MS = 2000 /* a single round of hold takes all its time */
};

struct bench {
    struct loop loop;
    struct demo_server *server;
    struct agent *agent;
    enum result status;
    enum reason reason;
};

static void on_stopped(void *user)
{
    struct bench *bench = user;
    loop_stop(&bench->loop);
}

static void on_done(void *user)
{
    struct bench *bench = user;
    const struct agent_view *view = agent_current_view(bench->agent);
    bench->status = view->checks[0]->status;
    bench->reason = view->checks[0]->reason;
    agent_stop(bench->agent, on_stopped, bench);
}

static int open_bench(void **state)
{
    struct bench *bench = mem_alloc(sizeof *bench);
    struct err err;
    assert_int_equal(loop_init(&bench->loop, &err), 0);
    bench->server = demo_server_open(&bench->loop, 0, &err);
    assert_non_null(bench->server);
    *state = bench;
    return 0;
}

static int close_bench(void **state)
{
    struct bench *bench = *state;
    memory_set_fault(MEMORY_WELL);
    demo_server_close(bench->server);
    loop_fini(&bench->loop);
    mem_free(bench);
    return 0;
}

/* One round of one check. */
static void judge(struct bench *bench, const char *type, const char *target, int64_t timeout_ms, int64_t slo_ms)
{
    const struct agent_options options = { .once = true, .on_done = on_done, .user = bench };
    struct conf_errors errors;
    struct err err = { 0 };
    char url[64];

    snprintf(url, sizeof url, "ws://127.0.0.1:%u%s", demo_server_port(bench->server), target);
    conf_errors_init(&errors);
    struct conf *conf = conf_for_url(url, &agent_conf_env, &errors);
    assert_non_null(conf);
    conf_clear_checks(conf);
    struct check_conf *check = conf_add_check(conf, type, &agent_conf_env, &err);
    assert_non_null(check);
    check->timeout_ms = timeout_ms;
    check->slo_ms = slo_ms;
    assert_int_equal(conf_seal(conf, &agent_conf_env, &errors), 0);
    conf_errors_fini(&errors);
    bench->agent = agent_new(&bench->loop, conf, &options, &err);
    assert_non_null(bench->agent);
    conf_unref(conf);
    loop_run(&bench->loop);
    agent_free(bench->agent);
}

static void test_every_fault_is_found(void **state)
{
    struct bench *bench = *state;
    static const struct {
        const char *fault, *check;
        enum reason reason;
        bool waits; /* found by a deadline: then it may be short */
    } table[] = {
        { "refuse", "handshake", REASON_CONNECT_REFUSED, false },
        { "reset", "handshake", REASON_CONNECTION_RESET, false },
        { "hang", "handshake", REASON_UPGRADE_TIMEOUT, true },
        { "reject-upgrade", "handshake", REASON_UPGRADE_REFUSED, false },
        { "unauthorized", "handshake", REASON_UPGRADE_UNAUTHORIZED, false },
        { "redirect", "handshake", REASON_UPGRADE_REDIRECT, false },
        { "plain-http", "handshake", REASON_UPGRADE_REFUSED, false },
        { "bad-accept", "handshake", REASON_UPGRADE_BAD_ACCEPT, false },
        { "bad-upgrade", "handshake", REASON_UPGRADE_INVALID, false },
        { "bad-extension", "handshake", REASON_UPGRADE_BAD_EXTENSION, false },
        { "silent-drop", "ping", REASON_SILENT_DROP, true },
        { "silent-drop", "echo", REASON_ECHO_TIMEOUT, true },
        { "no-pong", "ping", REASON_SILENT_DROP, true },
        { "mute", "echo", REASON_ECHO_TIMEOUT, true },
        { "wrong-echo", "echo", REASON_ECHO_MISMATCH, true },
        { "close-1011", "ping", REASON_CLOSED_BY_SERVER, false },
        { "bad-frame", "ping", REASON_PROTOCOL_ERROR, false },
        { "bad-utf8", "echo", REASON_PROTOCOL_ERROR, false },
        { "half-frame", "echo", REASON_ECHO_TIMEOUT, true },
        { "huge-frame", "echo", REASON_MESSAGE_TOO_BIG, true },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct err err;
        int fault = demo_fault_find(table[i].fault, &err);
        assert_true(fault >= 0);
        demo_server_set_faults(bench->server, DEMO_FAULT_BIT(fault));
        for (int round = 0; round < PATIENT_ROUNDS;
             round++) { /* a round that finds the agent itself late is void, and says nothing */
            judge(bench, table[i].check, "/ws", table[i].waits ? SOON_MS : LONG_MS, 0);
            if (bench->status != RESULT_VOID)
                break;
        }
        if (bench->status != RESULT_FAIL || bench->reason != table[i].reason)
            fail_msg("%s: %s says %s (%s), want %s", table[i].fault, table[i].check, result_name(bench->status),
                     reason_name(bench->reason), reason_name(table[i].reason));
    }
}

static void test_slow_echo_is_slow(void **state)
{
    struct bench *bench = *state;
    demo_server_set_faults(bench->server, DEMO_FAULT_BIT(DEMO_SLOW_ECHO));
    judge(bench, "echo", "/ws", LONG_MS, 200);
    assert_int_equal(bench->status, RESULT_WARN);
    assert_int_equal(bench->reason, REASON_SLOW);
}

static void assert_passes(struct bench *bench, const char *target)
{
    static const char *const types[] = { "handshake", "ping", "echo" };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        judge(bench, types[i], target, LONG_MS, 0);
        if (bench->status != RESULT_PASS)
            fail_msg("%s on %s: %s", types[i], target, reason_name(bench->reason));
    }
}

/* Greetings, prices and pings without a request disturb no check; and each fault ends when it is switched off. */
static void test_what_is_no_fault(void **state)
{
    struct bench *bench = *state;
    demo_server_set_faults(bench->server, 0);
    assert_passes(bench, "/ws");
    assert_passes(bench, "/push");
    assert_passes(bench, "/ws?push=1");
    demo_server_set_faults(bench->server, DEMO_FAULT_BIT(DEMO_CHATTY));
    assert_passes(bench, "/ws");
    judge(bench, "hold", "/ws", HOLD_MS, 0);
    assert_int_equal(bench->status, RESULT_PASS);
    demo_server_set_faults(bench->server, DEMO_FAULT_BIT(DEMO_REFUSE));
    judge(bench, "handshake", "/ws", LONG_MS, 0);
    assert_int_equal(bench->reason, REASON_CONNECT_REFUSED);
    demo_server_set_faults(bench->server, 0);
    do /* it listens again in a moment, on the same port */
        judge(bench, "handshake", "/ws", LONG_MS, 0);
    while (bench->status != RESULT_PASS);
}

/* --- held connections ------------------------------------------------------------------------------------------------------ */

struct held {
    struct bench *bench;
    demo_fault_set fault;
    enum reason reason;
    bool passed;
    struct timer stop; /* the agent cannot be stopped from inside a round */
};

static void on_stop_timer(struct timer *timer, void *user)
{
    struct held *held = user;
    (void)timer;
    agent_stop(held->bench->agent, on_stopped, held->bench);
}

/* The fault begins when the connections are open; the first result after that ends the test. The first loss is a warning. */
static void on_held_change(void *user, const struct agent_view *view)
{
    struct held *held = user;
    const struct check_view *check = view->checks[0];
    if (check->judged && check->status == RESULT_PASS && !held->passed) {
        held->passed = true;
        demo_server_set_faults(held->bench->server, held->fault);
    } else if (check->judged && check->status != RESULT_PASS && held->reason == REASON_NONE) {
        held->reason = check->reason;
        timer_start(&held->stop, 0);
    }
}

static enum reason judge_held(struct bench *bench, enum demo_fault fault)
{
    struct held held = { .bench = bench, .fault = DEMO_FAULT_BIT(fault) };
    const struct agent_options options = { .on_change = on_held_change, .user = &held };
    struct conf_errors errors;
    struct err err = { 0 };
    char url[64];

    timer_init(&held.stop, &bench->loop, on_stop_timer, &held);
    demo_server_set_faults(bench->server, 0);
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/ws", demo_server_port(bench->server));
    conf_errors_init(&errors);
    struct conf *conf = conf_for_url(url, &agent_conf_env, &errors);
    assert_non_null(conf);
    conf_clear_checks(conf);
    struct check_conf *check = conf_add_check(conf, "hold", &agent_conf_env, &err);
    assert_non_null(check);
    check->interval_ms = 2 * SHORT_MS;
    check->timeout_ms = SHORT_MS;
    assert_int_equal(conf_seal(conf, &agent_conf_env, &errors), 0);
    conf_errors_fini(&errors);
    bench->agent = agent_new(&bench->loop, conf, &options, &err);
    assert_non_null(bench->agent);
    conf_unref(conf);
    loop_run(&bench->loop);
    agent_free(bench->agent);
    assert_true(held.passed);
    return held.reason;
}

static void test_held_connections(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(judge_held(bench, DEMO_DROP_200MS), REASON_CLOSED_ABNORMAL);
    assert_int_equal(judge_held(bench, DEMO_CLOSE_1011), REASON_CLOSED_BY_SERVER);
    assert_int_equal(judge_held(bench, DEMO_SILENT_DROP), REASON_SILENT_DROP);
    assert_int_equal(judge_held(bench, DEMO_RESET), REASON_CLOSED_ABNORMAL);
}

/* --- the broker ------------------------------------------------------------------------------------------------------------ */

static struct conf *bus_conf(struct bench *bench, int64_t timeout_ms)
{
    struct buf text = BUF_INIT(4096);
    struct conf_errors errors;
    buf_printf(&text,
               "target: { url: 'ws://127.0.0.1:%u/ws' }\n"
               "brokers: [ { name: bus, url: 'memory://test', retry: { min: 10ms, max: 10ms } } ]\n"
               "checks: [ { type: delivery, channel: " DEMO_CHANNEL ", timeout: %lldms, within: %lldms } ]\n",
               demo_server_port(bench->server), (long long)timeout_ms, (long long)timeout_ms);
    conf_errors_init(&errors);
    struct conf *conf = conf_load_text("test", buf_slice(&text), &agent_conf_env, &errors);
    if (!conf)
        fail_msg("%s", buf_str(&errors.text));
    conf_errors_fini(&errors);
    buf_fini(&text);
    return conf;
}

static void on_published(void *user, struct slice body)
{
    struct bench *bench = user;
    demo_server_say(bench->server, body);
}

/* One round of delivery, and one of the broker's own check; again where the agent itself was late. */
static void judge_delivery_once(struct bench *bench, int64_t timeout_ms)
{
    const struct agent_options options = { .once = true, .on_done = on_done, .user = bench };
    struct conf *conf = bus_conf(bench, timeout_ms);
    struct err err = { 0 };
    bench->agent = agent_new(&bench->loop, conf, &options, &err);
    assert_non_null(bench->agent);
    conf_unref(conf);
    loop_run(&bench->loop);
    agent_free(bench->agent);
}

static void judge_delivery(struct bench *bench, int64_t timeout_ms)
{
    for (int round = 0; round < PATIENT_ROUNDS; round++) {
        judge_delivery_once(bench, timeout_ms);
        if (bench->status != RESULT_VOID)
            return;
    }
}

static void test_faults_of_the_broker(void **state)
{
    struct bench *bench = *state;
    struct conf *conf = bus_conf(bench, LONG_MS);
    struct demo_bus *bus = demo_bus_open(&bench->loop, &conf->brokers[0], NULL, on_published, bench);
    static const struct {
        enum demo_fault fault;
        enum reason reason;
        bool waits;
    } table[] = {
        { DEMO_DETACH_BROKER, REASON_DELIVERY_LOST, true },
        { DEMO_BROKER_DOWN, REASON_BROKER_UNREACHABLE, false },
        { DEMO_BROKER_READ_ONLY, REASON_BROKER_READ_ONLY, false },
        { DEMO_BROKER_MUTE, REASON_BROKER_NOT_DELIVERING, true },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        demo_bus_set_faults(bus, 0);
        do /* it comes back in a moment */
            judge_delivery(bench, SOON_MS);
        while (bench->status != RESULT_PASS);
        demo_bus_set_faults(bus, DEMO_FAULT_BIT(table[i].fault));
        judge_delivery(bench, table[i].waits ? SOON_MS : LONG_MS);
        if (bench->status != RESULT_FAIL || bench->reason != table[i].reason)
            fail_msg("%s: %s, want %s", demo_fault_name(table[i].fault), reason_name(bench->reason), reason_name(table[i].reason));
    }
    demo_bus_set_faults(bus, 0);
    demo_server_set_faults(bench->server, DEMO_FAULT_BIT(DEMO_MUTE));
    judge_delivery(bench, SOON_MS);
    assert_int_equal(bench->reason, REASON_DELIVERY_LOST);
    demo_bus_close(bus, on_stopped, bench);
    loop_run(&bench->loop);
    conf_unref(conf);
}

static void on_moment(struct timer *timer, void *user)
{
    struct bench *bench = user;
    (void)timer;
    loop_stop(&bench->loop);
}

static void run_for_a_moment(struct bench *bench)
{
    struct timer timer = { 0 };
    timer_init(&timer, &bench->loop, on_moment, bench);
    timer_start(&timer, 10);
    loop_run(&bench->loop);
}

/* Bytes that have come; -1: the connection is gone. */
static ssize_t take(struct bench *bench, int fd, uint8_t *out, size_t size)
{
    ssize_t got;
    do
        run_for_a_moment(bench);
    while ((got = read(fd, out, size)) < 0 && errno == EAGAIN);
    return got > 0 ? got : -1;
}

/* A client that has sent its request, and the head of the answer. */
static int client(struct bench *bench, const char *request, char *head, size_t size)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(demo_server_port(bench->server)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t got;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    got = take(bench, fd, (uint8_t *)head, size - 1);
    assert_true(got > 12);
    head[got] = 0;
    return fd;
}

static int upgraded_client(struct bench *bench)
{
    char head[1024];
    int fd = client(bench,
                    "GET /ws HTTP/1.1\r\nHost: demo\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n",
                    head, sizeof head);
    assert_memory_equal(head, "HTTP/1.1 101", 12);
    return fd;
}

/* A response with Upgrade names it in Connection (RFC 9110, 7.8). */
static void test_client_that_wants_no_upgrade(void **state)
{
    char head[1024];
    int fd = client(*state, "GET /ws HTTP/1.1\r\nHost: demo\r\n\r\n", head, sizeof head);
    assert_memory_equal(head, "HTTP/1.1 426", 12);
    assert_non_null(strstr(head, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"));
    close(fd);
}

/* A broker's message that is not UTF-8 is sent as a binary message. */
static void test_messages_of_the_broker(void **state)
{
    struct bench *bench = *state;
    int fd = upgraded_client(bench);
    uint8_t bytes[64];
    demo_server_say(bench->server, slice_str("hello"));
    assert_int_equal(take(bench, fd, bytes, sizeof bytes), 7);
    assert_memory_equal(bytes, "\x81\x05hello", 7);
    demo_server_say(bench->server, slice_str("\xff\xfe"));
    assert_int_equal(take(bench, fd, bytes, sizeof bytes), 4);
    assert_memory_equal(bytes, "\x82\x02\xff\xfe", 4);
    demo_server_say(bench->server, slice_str(""));
    assert_int_equal(take(bench, fd, bytes, sizeof bytes), 2);
    close(fd);
    run_for_a_moment(bench);
    demo_server_say(bench->server, slice_str("nobody is there"));
}

/* A client that does not read is dropped; what waits for it is bounded. */
static void test_client_that_does_not_read(void **state)
{
    enum { PIECE = 64 << 10, PIECES = 400 };
    struct bench *bench = *state;
    int fd = upgraded_client(bench);
    uint8_t *piece = mem_alloc(PIECE);
    size_t total = 0;
    ssize_t got;
    memset(piece, 'x', PIECE);
    for (unsigned i = 0; i < PIECES; i++)
        demo_server_say(bench->server, slice_make(piece, PIECE));
    while ((got = take(bench, fd, piece, PIECE)) > 0)
        total += (size_t)got;
    assert_true(total < (size_t)PIECES * PIECE);
    mem_free(piece);
    close(fd);
}

/* RFC 6455, 7.1.7 and 7.1.1: the close frame, and TCP closed behind it at once; what the client says to that is not waited for. */
static void test_client_that_breaks_a_rule(void **state)
{
    static const char close_1002[] = "\x03\xeaunmasked frame from the client (RFC 6455, 5.1)";
    struct bench *bench = *state;
    int fd = upgraded_client(bench);
    uint8_t bytes[128];
    assert_int_equal(write(fd, "\x81\x01x", 3), 3);
    assert_int_equal(take(bench, fd, bytes, sizeof bytes), 2 + sizeof close_1002 - 1);
    assert_int_equal(bytes[0], 0x88);
    assert_memory_equal(bytes + 2, close_1002, sizeof close_1002 - 1);
    run_for_a_moment(bench); /* for the FIN, which goes out in the loop's next turn */
    assert_int_equal(read(fd, bytes, sizeof bytes), 0);
    close(fd);
}

/* --- names ------------------------------------------------------------------------------------------------------------------ */

static void test_names(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 16);
    struct err err;
    for (int i = 0; i < DEMO_FAULT_COUNT; i++)
        assert_int_equal(demo_fault_find(demo_fault_name((enum demo_fault)i), &err), i);
    assert_int_equal(demo_fault_find("silent-drpo", &err), -1);
    assert_non_null(strstr(err.text, "did you mean 'silent-drop'?"));
    assert_int_equal(demo_fault_find("", &err), -1);
    demo_write_fault_list(DEMO_FAULT_BIT(DEMO_MUTE), &text);
    assert_non_null(strstr(buf_str(&text), "\n* mute "));
    assert_non_null(strstr(buf_str(&text), "\n  no-pong "));
    buf_reset(&text);
    demo_write_fault_list(0, &text);
    assert_null(strstr(buf_str(&text), "*"));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_fault_is_found, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_slow_echo_is_slow, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_what_is_no_fault, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_held_connections, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_faults_of_the_broker, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_messages_of_the_broker, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_client_that_does_not_read, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_client_that_breaks_a_rule, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(test_client_that_wants_no_upgrade, open_bench, close_bench),
        cmocka_unit_test(test_names),
    };
    log_configure(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
