/* Random views of checks, brokers and what the server is connected to: whatever a sentence of the diagnosis claims must be in the view. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/report/views.h"

enum { VIEWS = 100000 };

static struct world world;
static struct server_stats kernel;
static struct delivery_stats books;
static struct check_view *bus, *delivery, *figures;
static uint32_t seed;

/* The same on every machine: one of so many. */
static unsigned any(unsigned count)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 16) % count;
}

static void give(struct check_view *check, enum reason reason)
{
    if (reason == REASON_SLOW || reason == REASON_DELIVERY_SLOW)
        check_warn(check, reason, "late");
    else
        check_fail(check, reason, "message");
    check->total_ns = UINT64_C(500000000);
}

static const char *http_of(const struct check_view *check)
{
    return check->http ? check->http : "1.1";
}

static void add_websocket(const char *name)
{
    static const char *const types[] = { "handshake", "echo", "hold", "ping" }, *const https[] = { NULL, "2", "both" };
    static const enum reason reasons[] = { REASON_CONNECT_REFUSED,  REASON_CONNECT_TIMEOUT,      REASON_TLS_HANDSHAKE_FAILED,
                                           REASON_CONNECTION_RESET, REASON_UPGRADE_TIMEOUT,      REASON_UPGRADE_REFUSED,
                                           REASON_HTTP_MALFORMED,   REASON_UPGRADE_UNAUTHORIZED, REASON_CLOSED_ABNORMAL,
                                           REASON_SILENT_DROP,      REASON_ECHO_TIMEOUT,         REASON_SLOW,
                                           REASON_CLOSED_BY_SERVER };
    struct check_view *check = world_add(&world, name, types[any(4)], any(2) ? "public" : "local", any(4) ? GATE_READY : 0);
    check->http = https[any(3)];
    if (any(2))
        return;
    give(check, reasons[any(sizeof reasons / sizeof reasons[0])]);
    if (strcmp(http_of(check), "both") == 0 && check->health.state == STATE_FAIL)
        check->http_split = check->last_fault_split = (enum http_split)any(3);
    if (check->reason == REASON_UPGRADE_REFUSED && strcmp(http_of(check), "1.1") != 0 && any(2))
        check->h2_gap = check->last_fault_gap = (enum h2_gap)(1 + any(2));
    else if (check->reason == REASON_UPGRADE_REFUSED)
        check->http_status = any(2) ? 404 : 502;
    if (any(2))
        check->tcp = (struct trace_tcp){ .known = true, .min_rtt_ns = 100000, .retransmits = any(3), .unacked = any(2) };
}

static void add_broker(void)
{
    static const enum reason reasons[] = { REASON_BROKER_UNREACHABLE, REASON_BROKER_TIMEOUT, REASON_BROKER_AUTH_FAILED,
                                           REASON_SLOW };
    bus = world_add_broker(&world, "bus", "redis");
    bus->gates = GATE_READY;
    if (!any(2))
        give(bus, reasons[any(4)]);
    else if (!any(6))
        check_blank(bus);
    if (!any(2))
        return;
    memset(&books, 0, sizeof books);
    books.heartbeats[DELIVERY_RECEIVED] = any(2);
    delivery = world_add_delivery(&world, "delivery", "bus", &books);
    if (any(2))
        give(delivery, any(2) ? REASON_DELIVERY_LOST : REASON_DELIVERY_SLOW);
}

static void add_server(void)
{
    struct server_peer_stats *peer = &kernel.peers[0];
    figures = world_add(&world, "figures", "server", "local", any(2) ? GATE_READY : 0);
    memset(&kernel, 0, sizeof kernel);
    figures->stats.server = &kernel;
    kernel.peer_count = 1;
    strcpy(peer->name, any(3) ? "bus" : "db");
    peer->once = any(3);
    peer->state = (enum server_peer_state)any(SERVER_PEER_STATE_COUNT);
    peer->missing = peer->state == SERVER_PEER_LOST && any(2);
    if (peer->missing)
        check_warn(figures, REASON_SERVER_PEER_LOST, "message");
    if (!any(3))
        check_fail(figures, REASON_SERVER_CPU_HIGH, "message");
}

static bool passes(const struct check_view *check)
{
    return check->health.state == STATE_PASS || check->health.state == STATE_WARN;
}

static bool speaks(const struct check_view *check)
{
    return check->kind == PROBE_FRESH || check->kind == PROBE_SESSION;
}

/* Is there a check that passes on that path, opens connections, and uses that version of HTTP (NULL: any)? */
static bool fresh_passes(const char *path, const char *http)
{
    for (size_t i = 0; i < world.view.check_count; i++) {
        const struct check_view *check = &world.checks[i];
        if (check->kind == PROBE_FRESH && passes(check) && strcmp(check->path, path) == 0 &&
            (!http || strcmp(http_of(check), http) == 0))
            return true;
    }
    return false;
}

/* Does a check show that this version of HTTP works where the other one fails? */
static bool works_over(const char *http, enum http_split split)
{
    for (size_t i = 0; i < world.view.check_count; i++) {
        const struct check_view *check = &world.checks[i];
        if (speaks(check) && (check->last_fault_split == split || (passes(check) && strcmp(http_of(check), http) == 0)))
            return true;
    }
    return false;
}

/* What fails here passes there: a connection that does not come about, or the same kind of check. */
static bool public_shows_it(void)
{
    const struct check_view *main_check = NULL;
    for (size_t i = 0; i < world.view.check_count; i++)
        if (world.view.diagnosis.because_count && strcmp(world.checks[i].name, world.view.diagnosis.because[0]) == 0)
            main_check = &world.checks[i];
    for (size_t i = 0; main_check && i < world.view.check_count; i++)
        if (passes(&world.checks[i]) && strcmp(world.checks[i].path, "public") == 0 &&
            strcmp(world.checks[i].type, main_check->type) == 0)
            return true;
    enum phase phase = main_check ? reason_phase(main_check->reason) : PHASE_NONE;
    return fresh_passes("public", NULL) && phase > PHASE_NONE && phase < PHASE_OPEN;
}

#define CLAIMS(words, truth) claims(words, truth, #truth)

static void claims(const char *words, bool truth, const char *text)
{
    if (strstr(world.view.diagnosis.plain, words) && !truth)
        fail_msg("\"%s\" (%s), and not %s", world.view.diagnosis.plain, world.view.diagnosis.cause, text);
}

static void check_claims(void)
{
    const struct server_peer_stats *peer = &kernel.peers[0];
    bool of_bus = figures && strcmp(peer->name, "bus") == 0;
    CLAIMS("works over HTTP/1.1", works_over("1.1", HTTP_SPLIT_ONLY_2_FAILS));
    CLAIMS("works over HTTP/2", works_over("2", HTTP_SPLIT_ONLY_1_1_FAILS));
    CLAIMS("The server itself is well", fresh_passes("local", NULL));
    CLAIMS("The server is well", fresh_passes("local", NULL));
    CLAIMS("nobody gets in", !fresh_passes("public", NULL));
    CLAIMS("other instances serve", public_shows_it());
    CLAIMS("which answers the agent", bus && passes(bus));
    CLAIMS("has lost its connection to bus", of_bus && peer->missing && peer->once);
    CLAIMS("The server has no connection to bus", of_bus && peer->missing);
    CLAIMS("The server has no connection to db", figures && !of_bus && peer->missing);
    CLAIMS("whether bus is well is not known", !bus || !passes(bus));
    CLAIMS("heartbeats come through", delivery && passes(delivery));
    CLAIMS("the server has one", of_bus && (peer->state == SERVER_PEER_CONNECTED || peer->state == SERVER_PEER_UNREAD));
    CLAIMS("does not read what comes from it", of_bus && peer->state == SERVER_PEER_UNREAD);
    CLAIMS("what the server sends to", figures && peer->state == SERVER_PEER_UNREACHED);
    CLAIMS("the broker delivers", !bus || bus->health.state != STATE_FAIL);
}

static void test_what_is_claimed_is_there(void **state)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    (void)state;
    seed = 4711;
    for (unsigned n = 0; n < VIEWS; n++) {
        bus = delivery = figures = NULL;
        world_init(&world);
        for (unsigned i = 0, count = 2 + any(3); i < count; i++)
            add_websocket(names[i]);
        if (any(2))
            add_broker();
        if (any(2))
            add_server();
        world_judge(&world, false, true);
        check_claims();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_what_is_claimed_is_there) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
