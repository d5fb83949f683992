/* What combinations of check states are taken to mean; and, over all of them, that there is always a cause, a sentence and advice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "agent/core/broker.h"
#include "agent/report/diagnose_rules.h"
#include "tests/unit/report/views.h"

#define BOTH (GATE_READY | GATE_LIVE)

static struct world world;
static struct check_view *handshake, *ping, *echo, *hold, *http;

/* Five local checks that pass. */
static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    handshake = world_add(&world, "handshake", "handshake", "local", BOTH);
    ping = world_add(&world, "ping", "ping", "local", GATE_READY);
    echo = world_add(&world, "echo", "echo", "local", GATE_READY);
    hold = world_add(&world, "hold", "hold", "local", GATE_READY);
    http = world_add(&world, "site", "http", "local", 0);
    return 0;
}

static bool seen[CAUSE_COUNT];

static void see(void)
{
    for (unsigned cause = 0; cause < CAUSE_COUNT; cause++)
        if (strcmp(cause_name((enum cause)cause), world.view.diagnosis.cause) == 0)
            seen[cause] = true;
}

static const struct diagnosis *judged(void)
{
    world_judge(&world, false, true);
    see();
    return &world.view.diagnosis;
}

#define assert_cause(cause_) assert_string_equal(judged()->cause, cause_)

static void fail_all(enum reason reason, const char *message)
{
    for (size_t i = 0; i < world.view.check_count; i++)
        check_fail(&world.checks[i], reason, message);
}

static bool says(const char *part)
{
    return strstr(world.view.diagnosis.plain, part);
}

static bool advises(const char *part)
{
    for (size_t i = 0; i < world.view.diagnosis.advice_count; i++)
        if (strstr(world.view.diagnosis.advice[i], part))
            return true;
    return false;
}

/* --- nothing is wrong ------------------------------------------------------------------------------------------------------ */

static void test_healthy(void **state)
{
    (void)state;
    assert_cause("healthy");
    assert_int_equal(world.view.diagnosis.because_count, 0);
    assert_int_equal(world.view.diagnosis.advice_count, 0);
}

static void test_healthy_but_shaky(void **state)
{
    (void)state;
    strcpy(echo->health.history, "##.##.##");
    assert_cause("healthy");
    assert_non_null(strstr(world.view.diagnosis.sentence, "echo failed 2 of its last 8 rounds"));
}

static void test_nothing_checked(void **state)
{
    (void)state;
    world.view.check_count = 0;
    assert_cause("nothing_checked");
}

static void test_starting(void **state)
{
    (void)state;
    check_blank(echo);
    check_blank(hold);
    world_judge(&world, false, false);
    assert_string_equal(world.view.diagnosis.cause, "starting");
    assert_string_equal(world.view.diagnosis.sentence, "Waiting for the first pass of echo, hold");
    assert_int_equal(world.view.diagnosis.because_count, 2);
    assert_string_equal(world.view.diagnosis.because[0], "echo");
}

/* A first failed round is not yet a fault, but whoever waits wants to know what of. */
static void test_starting_tells_what_failed(void **state)
{
    (void)state;
    check_fail(check_blank(handshake), REASON_CONNECT_REFUSED, "nothing listens on 127.0.0.1:8080");
    handshake->health.state = STATE_UNKNOWN;
    handshake->judged = true;
    world_judge(&world, false, false);
    assert_string_equal(world.view.diagnosis.cause, "starting");
    assert_non_null(strstr(world.view.diagnosis.sentence, "nothing listens on 127.0.0.1:8080"));
    assert_null(strstr(world.view.diagnosis.plain, "127.0.0.1"));
}

/* A server that has never come up is down, not starting. */
static void test_down_from_the_start(void **state)
{
    (void)state;
    fail_all(REASON_CONNECT_REFUSED, "refused");
    for (size_t i = 0; i < world.view.check_count; i++)
        world.checks[i].health.passed_once = false;
    world_judge(&world, false, false);
    assert_string_equal(world.view.diagnosis.cause, "server_down");
}

static void test_draining_explains_all(void **state)
{
    (void)state;
    fail_all(REASON_CONNECT_REFUSED, "refused");
    world_judge(&world, true, true);
    assert_string_equal(world.view.diagnosis.cause, "draining");
    assert_true(world.view.diagnosis.because_count > 0);
    assert_true(advises("wshealthd resume"));
}

static void test_draining_says_who_is_left(void **state)
{
    (void)state;
    world_judge(&world, true, true);
    world.view.drain = (struct drain_view){ .since_ms = 1, .counted = true, .remaining = 12 };
    diagnose(&world.view, &world.view.diagnosis);
    assert_string_equal(world.view.diagnosis.sentence,
                        "The instance is drained: it takes no new connections, on purpose; client connections left: 12");
    assert_null(strstr(world.view.diagnosis.plain, "12"));
    world.view.drain = (struct drain_view){ .since_ms = 1, .why = "the server is on another host" };
    diagnose(&world.view, &world.view.diagnosis);
    assert_string_equal(world.view.diagnosis.sentence, "The instance is drained: it takes no new connections, on purpose; client "
                                                       "connections cannot be counted: the server is on another host");
    assert_non_null(strstr(world.view.diagnosis.advice[0], "resume"));
    world.view.leaving = true; /* resume is refused then */
    diagnose(&world.view, &world.view.diagnosis);
    assert_non_null(strstr(world.view.diagnosis.sentence, "; the agent has been told to end"));
    assert_null(strstr(world.view.diagnosis.advice[0], "resume"));
    assert_int_equal(world.view.diagnosis.advice_count, 1);
}

static void test_agent_stalled(void **state)
{
    (void)state;
    for (size_t i = 0; i < world.view.check_count; i++) {
        check_blank(&world.checks[i]);
        world.checks[i].stats.rounds[RESULT_VOID] = 3;
        world.checks[i].stats.failures[REASON_AGENT_STALLED] = 3;
        world.checks[i].reason = REASON_AGENT_STALLED;
    }
    world_judge(&world, false, false);
    assert_string_equal(world.view.diagnosis.cause, "agent_stalled");
    assert_true(advises("CPU"));
    for (size_t i = 0; i < world.view.check_count; i++) {
        world.checks[i].stats.failures[REASON_AGENT_ERROR] = 4;
        world.checks[i].reason = REASON_AGENT_ERROR;
        strcpy(world.checks[i].message, "no descriptors left");
    }
    world_judge(&world, false, false);
    assert_string_equal(world.view.diagnosis.cause, "agent_error");
    assert_non_null(strstr(world.view.diagnosis.sentence, "handshake: no descriptors left"));
}

/* --- no connection ----------------------------------------------------------------------------------------------------------- */

static void test_server_down(void **state)
{
    (void)state;
    fail_all(REASON_CONNECT_REFUSED, "nothing listens on 127.0.0.1:8080");
    check_fail(hold, REASON_CLOSED_ABNORMAL, "1 of 2 connections ended without a close frame");
    assert_cause("server_down");
    assert_non_null(strstr(world.view.diagnosis.sentence, "handshake: nothing listens on 127.0.0.1:8080"));
    assert_string_equal(world.view.diagnosis.because[0], "handshake");
    assert_int_equal(world.view.diagnosis.because_count, 4); /* site only reports */
    assert_false(world.view.diagnosis.because_more);
}

static void test_more_checks_than_it_names(void **state)
{
    static const char *const names[] = { "a", "b", "c", "d", "e" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        world_add(&world, names[i], "ping", "local", GATE_READY);
    fail_all(REASON_CONNECT_REFUSED, "nothing listens on 127.0.0.1:8080");
    for (size_t i = 0; i < world.view.check_count; i++)
        check_fail(&world.checks[i], REASON_CONNECT_REFUSED, "nothing listens on 127.0.0.1:8080");
    assert_cause("server_down");
    assert_int_equal(world.view.diagnosis.because_count, DIAGNOSIS_BECAUSE_MAX);
    assert_true(world.view.diagnosis.because_more);
}

/* The held connection tells first; the others' last rounds are older than that and prove nothing. */
static void test_a_server_that_has_just_died(void **state)
{
    (void)state;
    check_fail(hold, REASON_CONNECT_REFUSED, "refused");
    hold->since_ms = hold->last_ms = handshake->last_ms + 3000;
    assert_cause("server_down");
    handshake->last_ms = hold->since_ms + 1000; /* now one has passed since */
    assert_cause("connections_unreliable");
}

/* One-shot rounds begin together and end when they end. */
static void test_evidence_of_rounds_that_began_together(void **state)
{
    (void)state;
    check_fail(echo, REASON_ECHO_TIMEOUT, "no message within 2s");
    echo->total_ns = UINT64_C(2000000000);
    echo->since_ms = echo->last_ms = ping->last_ms + 1999;
    assert_cause("messages_stuck");
    assert_non_null(strstr(world.view.diagnosis.plain, "Pings are answered"));
}

static void test_connect(void **state)
{
    (void)state;
    fail_all(REASON_CONNECT_TIMEOUT, "");
    assert_cause("server_not_accepting");
    fail_all(REASON_CONNECT_UNREACHABLE, "");
    assert_cause("server_unreachable");
    fail_all(REASON_UPGRADE_TIMEOUT, "");
    assert_cause("server_hung");
    fail_all(REASON_CONNECTION_RESET, "");
    assert_cause("server_drops_connections");
    fail_all(REASON_DNS_FAILURE, "");
    assert_cause("name_unresolved");
}

static void test_green_http_over_a_dead_websocket(void **state)
{
    (void)state;
    struct check_view *ws[] = { handshake, ping, echo, hold };
    for (size_t i = 0; i < 4; i++)
        check_fail(ws[i], REASON_UPGRADE_TIMEOUT, "no answer to the upgrade within 2s");
    assert_cause("websocket_dead");
    assert_true(advises("HTTP health URL"));
    http->health.state = STATE_UNKNOWN;
    http->judged = false;
    assert_cause("server_hung");
}

static void test_some_connections(void **state)
{
    (void)state;
    check_fail(echo, REASON_CONNECT_TIMEOUT, "");
    assert_cause("connections_unreliable");
}

/* --- an answer, but not the right one ------------------------------------------------------------------------------------------- */

static void assert_status(int status, const char *cause)
{
    fail_all(REASON_UPGRADE_REFUSED, "");
    for (size_t i = 0; i < world.view.check_count; i++)
        world.checks[i].http_status = status;
    assert_cause(cause);
}

static void test_statuses(void **state)
{
    (void)state;
    assert_status(200, "upgrade_not_passed");
    assert_status(400, "upgrade_not_passed");
    assert_status(404, "wrong_path");
    assert_status(426, "upgrade_not_passed");
    assert_status(500, "server_error");
    assert_status(502, "upstream_down");
    assert_status(503, "server_overloaded");
    assert_status(504, "upstream_down");
    assert_status(999, "upgrade_refused");
    /* Pusher's codes: a quota is no matter of the token */
    static const struct {
        int code;
        const char *cause;
    } logins[] = {
        { 0, "login_refused" }, { 4001, "login_refused" }, { 4004, "server_overloaded" }, { 4100, "server_overloaded" }
    };
    for (size_t i = 0; i < sizeof logins / sizeof logins[0]; i++) {
        fail_all(REASON_LOGIN_REJECTED, "");
        for (size_t k = 0; k < world.view.check_count; k++)
            world.checks[k].close_code = logins[i].code;
        assert_cause(logins[i].cause);
    }
    fail_all(REASON_RATE_LIMITED, "status 429 Too Many Requests, want 101");
    assert_cause("rate_limited");
    fail_all(REASON_FLOOD, "");
    assert_cause("flood");
    fail_all(REASON_TLS_CLIENT_CERT_REJECTED, "");
    assert_cause("client_certificate_refused");
    fail_all(REASON_UPGRADE_UNAUTHORIZED, "");
    assert_cause("token_refused");
    fail_all(REASON_UPGRADE_REDIRECT, "");
    assert_cause("redirected");
    fail_all(REASON_UPGRADE_BAD_ACCEPT, "");
    assert_cause("not_a_websocket");
    fail_all(REASON_UPGRADE_BAD_SUBPROTOCOL, "");
    assert_cause("negotiation_failed");
}

/* --- the connection is open ---------------------------------------------------------------------------------------------------- */

static void test_frozen_behind_the_upgrade(void **state)
{
    (void)state;
    check_fail(ping, REASON_SILENT_DROP, "no pong within 2s");
    check_fail(echo, REASON_ECHO_TIMEOUT, "no message within 2s");
    check_fail(hold, REASON_SILENT_DROP, "no pong within 2s");
    assert_cause("application_frozen");
    assert_string_equal(world.view.diagnosis.because[0], "ping");
    assert_true(advises("plain HTTP check passes"));
}

static void test_messages_stuck(void **state)
{
    (void)state;
    check_fail(echo, REASON_ECHO_TIMEOUT, "no message within 2s");
    assert_cause("messages_stuck");
    check_fail(echo, REASON_ECHO_MISMATCH, "got {\"error\":\"unknown op\"}");
    assert_cause("answer_unexpected");
    assert_non_null(strstr(world.view.diagnosis.sentence, "unknown op"));
    assert_null(strstr(world.view.diagnosis.plain, "unknown op"));
}

static void test_pings_swallowed(void **state)
{
    (void)state;
    check_fail(ping, REASON_SILENT_DROP, "no pong within 2s");
    assert_cause("pings_unanswered");
}

static void test_held_connections(void **state)
{
    (void)state;
    check_fail(hold, REASON_CLOSED_ABNORMAL, "");
    assert_cause("connections_cut");
    assert_true(advises("idle"));
    check_fail(hold, REASON_SILENT_DROP, "");
    assert_cause("connections_go_dead");
}

static void assert_close(struct check_view *check, int code, const char *cause)
{
    check_fail(check, REASON_CLOSED_BY_SERVER, "closed");
    check->close_code = code;
    assert_cause(cause);
}

static void test_close_codes(void **state)
{
    (void)state;
    assert_close(hold, 1000, "server_ends_sessions");
    assert_close(hold, 1001, "server_restarting");
    assert_close(hold, 1012, "server_restarting");
    assert_close(hold, 1008, "session_refused");
    assert_close(hold, 4401, "session_refused");
    assert_close(hold, 3000, "session_refused");
    assert_close(hold, 1011, "server_error");
    assert_close(hold, 1013, "server_overloaded");
    assert_close(hold, 1014, "upstream_down");
    assert_close(hold, 1005, "server_ends_sessions");
    assert_close(echo, 1003, "messages_refused");
    assert_close(echo, 1007, "messages_refused");
    assert_close(echo, 1009, "messages_refused");
    assert_close(echo, 1011, "server_error");
}

static void test_certificates(void **state)
{
    (void)state;
    fail_all(REASON_TLS_CERT_EXPIRED, "");
    assert_cause("certificate_expired");
    fail_all(REASON_TLS_CERT_NOT_YET_VALID, "");
    assert_cause("certificate_not_yet_valid");
    fail_all(REASON_TLS_CERT_UNTRUSTED, "");
    assert_cause("certificate_untrusted");
    assert_true(advises("target.tls.ca_file"));
    fail_all(REASON_TLS_HOSTNAME_MISMATCH, "");
    assert_cause("certificate_wrong_name");
    fail_all(REASON_TLS_HANDSHAKE_FAILED, "");
    assert_cause("tls_broken");
}

/* --- two paths ------------------------------------------------------------------------------------------------------------------- */

static void test_front_broken(void **state)
{
    (void)state;
    struct check_view *public = world_add(&world, "front", "handshake", "public", GATE_READY);
    enum reason reasons[] = { REASON_CONNECT_REFUSED, REASON_UPGRADE_TIMEOUT, REASON_UPGRADE_REFUSED,
                              REASON_SILENT_DROP,     REASON_UPGRADE_INVALID, REASON_CLOSED_ABNORMAL };
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        check_fail(public, reasons[i], "");
        assert_cause("front_broken");
        assert_string_equal(world.view.diagnosis.because[0], "front");
    }
    check_fail(public, REASON_TLS_CERT_EXPIRED, ""); /* the advice is the same wherever it is */
    assert_cause("certificate_expired");
    check_warn(public, REASON_SLOW, "");
    assert_cause("server_slow");
    assert_non_null(strstr(world.view.diagnosis.plain, "in front"));
}

static void test_both_paths_fail_alike(void **state)
{
    (void)state;
    world_add(&world, "front", "handshake", "public", GATE_READY);
    fail_all(REASON_UPGRADE_TIMEOUT, "");
    assert_cause("server_hung");
    assert_string_equal(world.view.diagnosis.because[0], "handshake");
    /* the proxy puts it in its own words */
    check_fail(&world.checks[5], REASON_UPGRADE_REFUSED, "status 502, want 101");
    assert_cause("server_hung");
}

static void test_public_alone(void **state)
{
    (void)state;
    world_init(&world);
    check_fail(world_add(&world, "front", "handshake", "public", GATE_READY), REASON_CONNECT_REFUSED, "");
    assert_cause("server_down");
}

/* --- what weighs more -------------------------------------------------------------------------------------------------------------- */

static void test_shared_fault(void **state)
{
    (void)state;
    check_fail(echo, REASON_BROKER_UNREACHABLE, "redis at 192.0.2.9:6379 refused");
    assert_cause("broker_down");
    assert_true(world.view.verdict.degraded);
    assert_non_null(strstr(world.view.diagnosis.plain, "No connection to the broker"));
    check_fail(handshake, REASON_UPGRADE_TIMEOUT, ""); /* this instance's own fault goes first */
    assert_cause("connections_unreliable");
    assert_int_equal(world.view.diagnosis.because_count, 1);
}

static void test_gates_go_before_reports(void **state)
{
    (void)state;
    check_fail(http, REASON_CONNECT_REFUSED, "");
    check_fail(echo, REASON_ECHO_TIMEOUT, "");
    assert_cause("messages_stuck");
}

static void test_only_a_report_fails(void **state)
{
    (void)state;
    check_fail(http, REASON_HTTP_STATUS, "status 500, want 200");
    assert_cause("health_url_fails");
    assert_true(advises("only reports"));
    check_fail(http, REASON_CONNECT_REFUSED, "");
    assert_cause("health_url_fails");
    check_set_type(http, "tcp");
    assert_cause("port_closed");
    check_set_type(http, "tls");
    check_warn(http, REASON_TLS_CERT_EXPIRING, "5 days left");
    assert_cause("certificate_expiring");
    check_set_type(http, "payload");
    check_fail(http, REASON_PAYLOAD_LIMIT, "64KiB do not pass");
    assert_cause("frame_limit");
    assert_non_null(strstr(world.view.diagnosis.sentence, "64KiB do not pass"));
}

static void test_slow(void **state)
{
    (void)state;
    check_warn(echo, REASON_SLOW, "answered after 512ms, slo 200ms");
    assert_cause("server_slow");
    assert_true(world.view.verdict.degraded);
}

/* While rise is not reached, the fault that the check is in still counts, whatever the last round said. */
static void test_recovering(void **state)
{
    (void)state;
    check_fail(handshake, REASON_UPGRADE_TIMEOUT, "no answer");
    handshake->status = RESULT_PASS;
    handshake->reason = REASON_NONE;
    handshake->message[0] = '\0';
    check_fail(ping, REASON_UPGRADE_TIMEOUT, "no answer");
    check_fail(echo, REASON_UPGRADE_TIMEOUT, "no answer");
    check_fail(hold, REASON_UPGRADE_TIMEOUT, "no answer");
    check_blank(http);
    assert_cause("server_hung");
}

static void test_dead(void **state)
{
    (void)state;
    fail_all(REASON_UPGRADE_TIMEOUT, "");
    handshake->health.mute_since_ms = 1000;
    handshake->health.last_mute_ms = 61000;
    judged();
    assert_false(world.view.verdict.live);
    assert_true(advises("/live says 503"));
}

/* --- brokers and delivery ------------------------------------------------------------------------------------------------------------ */

static struct check_view *bus, *delivery;

static int set_up_bus(void **state)
{
    set_up(state);
    delivery = world_add_delivery(&world, "delivery", "bus", NULL);
    bus = world_add_broker(&world, "bus", "redis");
    return 0;
}

static void assert_because(const char *first, const char *second)
{
    const struct diagnosis *d = &world.view.diagnosis;
    assert_int_equal(d->because_count, second ? 2 : 1);
    assert_string_equal(d->because[0], first);
    if (second)
        assert_string_equal(d->because[1], second);
}

/* The failure that nothing else sees: server up, broker up, and nothing between them. */
static void test_server_detached(void **state)
{
    (void)state;
    check_fail(delivery, REASON_DELIVERY_LOST, "heartbeat 17 came to the agent after 1ms, and to the WebSocket not within 500ms");
    assert_cause("server_detached_from_broker");
    assert_because("delivery", "bus");
    assert_false(world.view.verdict.ready);
    assert_string_equal(world.view.diagnosis.plain,
                        "The server has lost its subscription: messages published on bus do not reach its "
                        "clients, though the broker delivers to the agent");
    assert_non_null(strstr(world.view.diagnosis.sentence, "(delivery: heartbeat 17 came"));
    assert_true(advises("this instance only"));
    assert_true(advises("restart the server"));
    assert_true(advises("plain HTTP check passes"));
}

/* Each fault of the broker's has its cause, and none of them is this server's. */
static void test_faults_of_the_broker(void **state)
{
    (void)state;
    static const struct {
        enum reason reason;
        const char *cause;
    } rows[] = {
        { REASON_BROKER_UNREACHABLE, "broker_down" },    { REASON_BROKER_AUTH_FAILED, "broker_auth" },
        { REASON_BROKER_READ_ONLY, "broker_read_only" }, { REASON_BROKER_BLOCKED, "broker_blocked" },
        { REASON_BROKER_TIMEOUT, "broker_frozen" },      { REASON_BROKER_NOT_DELIVERING, "broker_not_delivering" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_fail(bus, rows[i].reason, "peer at 192.0.2.9:6379");
        check_fail(delivery, rows[i].reason, "peer at 192.0.2.9:6379");
        assert_cause(rows[i].cause);
        assert_because("delivery", "bus");
        assert_non_null(strstr(world.view.diagnosis.plain, " bus"));
        assert_non_null(strstr(world.view.diagnosis.plain, "; all instances are hit, and this one stays in rotation, degraded"));
        assert_null(strstr(world.view.diagnosis.plain, "192.0.2.9"));
        assert_true(world.view.verdict.ready && world.view.verdict.live);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i].cause, rows[j].cause);
    }
}

/* Whoever reads that the probe is refused must not restart the server. */
static void test_probe_faults_and_rotation(void **state)
{
    (void)state;
    fail_all(REASON_UPGRADE_UNAUTHORIZED, "status 401 Unauthorized, want 101");
    assert_cause("token_refused");
    assert_true(world.view.verdict.ready && world.view.verdict.degraded && world.view.verdict.live);
    assert_non_null(strstr(world.view.diagnosis.plain, "says nothing of clients, and the instance stays in rotation, degraded"));
    for (size_t i = 0; i < world.view.check_count; i++)
        world.checks[i].health.passed_once = false;
    world_judge(&world, false, false);
    assert_false(world.view.verdict.ready);
    assert_non_null(strstr(world.view.diagnosis.plain, "is kept out until the check has passed once"));
    fail_all(REASON_TLS_CERT_EXPIRED, "it has expired"); /* which everybody sees who is shown it */
    assert_cause("certificate_expired");
    assert_true(says("clients that are shown it are hit as the probe is, and the instance ") && !says("nothing of clients"));
}

/* "All checks pass" is said only where they do. */
static void test_healthy_does_not_contradict_itself(void **state)
{
    (void)state;
    struct check_view *tls = check_blank(world_add(&world, "certificate", "tls", "local", 0));
    judged();
    assert_string_equal(world.view.diagnosis.sentence, "All checks that have been judged pass");
    check_set_fault(tls, STATE_UNKNOWN, REASON_TLS_CERT_UNTRUSTED, "not trusted");
    tls->judged = true;
    tls->health.rounds = 1;
    strcpy(tls->health.history, ".");
    judged();
    assert_string_equal(world.view.diagnosis.sentence, "No check has failed for good; the first round of certificate failed");
}

/* Restarting a server mends no wrong topic: that it lost its subscription is said only of one that had it. */
static void test_a_subscription_that_may_never_have_been(void **state)
{
    (void)state;
    struct check_view *back = check_warn(world_add(&world, "back", "reconnect", "local", 0), REASON_DELIVERY_LOST, "no heartbeat");
    assert_cause("server_detached_from_broker");
    assert_true(says("has lost its subscription"));
    back->broker_hint = back->last_fault_hint = BROKER_HINT_NEVER_CAME;
    assert_cause("server_detached_from_broker");
    assert_true(says("has never reached this server's clients") && !says("has lost"));
    assert_true(advises("Compare the topic and form"));
}

/* Where a command asks once, no agent runs: the sentence says nothing of a rotation. */
static void test_one_round_knows_no_rotation(void **state)
{
    (void)state;
    world.view.once = true;
    check_fail(delivery, REASON_BROKER_UNREACHABLE, "refused");
    world_judge(&world, false, false);
    assert_true(says("; all instances are hit") && !says("rotation") && !says("readiness"));
    set_up(NULL);
    world.view.once = true;
    fail_all(REASON_UPGRADE_UNAUTHORIZED, "status 401 Unauthorized, want 101");
    world_judge(&world, false, false);
    assert_true(says("says nothing of clients") && !says("rotation") && !says("instance"));
}

/* The sentence follows the verdict, not a wish. */
static void test_shared_faults_and_rotation(void **state)
{
    (void)state;
    check_fail(delivery, REASON_BROKER_UNREACHABLE, "refused");
    world_judge_by(&world, true, false, true);
    assert_false(world.view.verdict.ready);
    assert_non_null(strstr(world.view.diagnosis.plain, "this one is out of rotation, as readiness.shared_faults says"));
    delivery->health.passed_once = false;
    world_judge(&world, false, false);
    assert_non_null(strstr(world.view.diagnosis.plain, "this one has not been in rotation yet"));
    /* nothing but the broker's own check, which gates nothing */
    set_up_bus(NULL);
    check_fail(bus, REASON_BROKER_UNREACHABLE, "refused");
    assert_cause("broker_down");
    assert_because("bus", NULL);
    assert_non_null(strstr(world.view.diagnosis.plain, "this one stays in rotation"));
    assert_null(strstr(world.view.diagnosis.plain, "degraded"));
}

static void test_delivery_slow(void **state)
{
    (void)state;
    check_warn(delivery, REASON_DELIVERY_SLOW, "612ms over the WebSocket, 2ms to the agent itself");
    assert_cause("delivery_slow");
    assert_because("delivery", "bus");
    assert_true(advises("legs"));
    assert_null(strstr(world.view.diagnosis.plain, "all instances"));
    check_fail(delivery, REASON_DELIVERY_SLOW, "612ms over the WebSocket, 2ms to the agent itself");
    assert_cause("delivery_slow");
    assert_false(world.view.verdict.ready);
}

static void test_broker_slow(void **state)
{
    (void)state;
    check_warn(bus, REASON_SLOW, "answered after 80ms, slo 20ms");
    assert_cause("broker_slow");
    assert_non_null(strstr(world.view.diagnosis.plain, "from bus"));
}

/* Server and broker are dead: the server's fault is the cause, and the broker's time says where to begin. */
static void test_server_and_broker_dead(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++)
        check_fail(&world.checks[i], REASON_CONNECT_REFUSED, "refused");
    check_fail(delivery, REASON_CONNECT_REFUSED, "refused");
    check_fail(bus, REASON_BROKER_UNREACHABLE, "refused");
    bus->since_ms = handshake->since_ms - 12345;
    assert_cause("server_down");
    assert_non_null(strstr(world.view.diagnosis.plain, "; bus had failed 12s before"));
    assert_non_null(strstr(world.view.diagnosis.advice[0], "The broker failed first"));
    assert_string_equal(world.view.diagnosis.because[0], "handshake");
    assert_string_equal(world.view.diagnosis.because[world.view.diagnosis.because_count - 1], "bus");
    bus->since_ms = handshake->since_ms + 61000;
    assert_cause("server_down");
    assert_non_null(strstr(world.view.diagnosis.plain, "; bus failed 1m1s later"));
    assert_non_null(strstr(world.view.diagnosis.advice[0], "The server failed first"));
    bus->since_ms = handshake->since_ms + 400;
    assert_cause("server_down");
    assert_non_null(strstr(world.view.diagnosis.plain, "; bus failed at the same time"));
    assert_non_null(strstr(world.view.diagnosis.advice[0], "what they share"));
}

/* Of two brokers the one that the check works with is named. */
static void test_two_brokers(void **state)
{
    (void)state;
    struct check_view *other = world_add_broker(&world, "jobs", "nats");
    check_fail(other, REASON_BROKER_UNREACHABLE, "refused");
    check_fail(delivery, REASON_BROKER_READ_ONLY, "READONLY");
    assert_cause("broker_read_only");
    assert_non_null(strstr(world.view.diagnosis.plain, "Writes to bus"));
    check_fail(delivery, REASON_DELIVERY_LOST, "nothing");
    bus->name = "renamed"; /* nobody vouches for it then, and its name is still right */
    assert_cause("server_detached_from_broker");
    assert_non_null(strstr(world.view.diagnosis.plain, "published on bus"));
    delivery->broker = NULL; /* which of the two is not known */
    assert_cause("server_detached_from_broker");
    assert_non_null(strstr(world.view.diagnosis.plain, "published on the broker"));
}

static void test_what_dialects_say(void **state)
{
    (void)state;
    struct check_view *sub = world_add(&world, "room", "subscribe", "local", GATE_READY);
    check_fail(sub, REASON_LOGIN_REJECTED, "connect was answered with {\"op\":\"error\"}");
    assert_cause("login_refused");
    check_fail(sub, REASON_SUBSCRIBE_REJECTED, "room-7 was answered with {\"op\":\"denied\"}");
    assert_cause("subscription_refused");
    assert_null(strstr(world.view.diagnosis.plain, "denied"));
    check_fail(sub, REASON_SUBSCRIBE_TIMEOUT, "no confirmation within 2s");
    assert_cause("subscription_unconfirmed");
    assert_non_null(strstr(world.view.diagnosis.plain, "The connection is open"));
    check_fail(delivery, REASON_SUBSCRIBE_TIMEOUT, "no confirmation within 2s");
    sub->health.state = STATE_PASS;
    sub->status = RESULT_PASS;
    assert_cause("subscription_unconfirmed");
    assert_non_null(strstr(world.view.diagnosis.plain, "some subscriptions"));
}

/* A broker's name may be as long as it likes. */
static void test_long_names(void **state)
{
    (void)state;
    char name[600];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    bus->name = delivery->broker = name;
    check_fail(delivery, REASON_DELIVERY_LOST, "nothing");
    assert_cause("server_detached_from_broker");
    assert_true(strlen(world.view.diagnosis.plain) < sizeof world.view.diagnosis.plain);
    assert_string_equal(world.view.diagnosis.plain + strlen(world.view.diagnosis.plain) - strlen("…"), "…");
}

static void check_diagnosis(void)
{
    const struct diagnosis *d = judged();
    assert_true(*d->sentence);
    assert_true(*d->plain);
    assert_null(strstr(d->plain, "peer"));
    assert_true(d->plain[strlen(d->plain) - 1] != '.');
    if (strcmp(d->cause, "healthy") == 0)
        return;
    assert_true(d->advice_count > 0 && d->advice_count <= DIAGNOSIS_ADVICE_MAX);
    for (size_t i = 0; i < d->advice_count; i++)
        assert_true(strlen(d->advice[i]) > 10);
    assert_true(d->because_count > 0 && d->because_count <= DIAGNOSIS_BECAUSE_MAX);
    assert_non_null(strstr(d->sentence, d->because[0]));
}

/* --- two faults at once -------------------------------------------------------------------------------------------------------- */

static struct check_view *server;

static int set_up_server(void **state)
{
    set_up(state);
    server = world_add(&world, "server", "server", "local", GATE_READY);
    return 0;
}

/* What a second check says decides what the first one means: whichever of the two weighs more. */
static void test_pairs(void **state)
{
    (void)state;
    static const struct {
        enum reason main, beside;
        const char *cause;
    } rows[] = {
        { REASON_CONNECT_TIMEOUT, REASON_SERVER_FDS_HIGH, "descriptors_exhausted" },
        { REASON_UPGRADE_TIMEOUT, REASON_SERVER_FDS_HIGH, "descriptors_exhausted" },
        { REASON_CONNECTION_RESET, REASON_SERVER_FDS_HIGH, "descriptors_exhausted" },
        { REASON_CONNECT_TIMEOUT, REASON_SERVER_BACKLOG_HIGH, "accept_queue_full" },
        { REASON_CONNECTION_RESET, REASON_SERVER_CONNECTIONS_HIGH, "connection_limit" },
        { REASON_UPGRADE_REFUSED, REASON_SERVER_CONNECTIONS_HIGH, "connection_limit" },
        { REASON_UPGRADE_REFUSED, REASON_SERVER_CHURN_HIGH, "reconnect_storm" },
        { REASON_ECHO_TIMEOUT, REASON_SERVER_CHURN_HIGH, "reconnect_storm" },
        { REASON_ECHO_TIMEOUT, REASON_SERVER_CPU_HIGH, "server_overloaded" },
        { REASON_UPGRADE_TIMEOUT, REASON_SERVER_CPU_HIGH, "server_overloaded" },
        { REASON_SLOW, REASON_SERVER_CPU_HIGH, "server_overloaded" },
        { REASON_SLOW, REASON_SERVER_BACKLOG_HIGH, "server_overloaded" },
        { REASON_SLOW, REASON_SERVER_MEMORY_HIGH, "memory_growth" },
        { REASON_CONNECT_REFUSED, REASON_SERVER_MEMORY_HIGH, "memory_growth" },
        { REASON_CONNECT_REFUSED, REASON_SERVER_GONE, "server_down" },
        { REASON_SILENT_DROP, REASON_SERVER_CONNECTIONS_DROPPED, "mass_disconnect" },
        { REASON_TLS_CERT_NOT_YET_VALID, REASON_UPGRADE_UNAUTHORIZED, "clock_skew" },
        { REASON_UPGRADE_UNAUTHORIZED, REASON_TLS_CERT_NOT_YET_VALID, "clock_skew" },
        { REASON_UPGRADE_UNAUTHORIZED, REASON_AUTH_REFRESH_FAILED, "token_expired" },
        { REASON_UPGRADE_UNAUTHORIZED, REASON_ORIGIN_REJECTED, "origin_too_strict" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int warn = 0; warn < 2; warn++) {
            set_up_server(NULL);
            struct check_view *ws[] = { handshake, ping, echo, hold };
            for (size_t j = 0; j < 4; j++)
                check_set_fault(ws[j], rows[i].main == REASON_SLOW ? STATE_WARN : STATE_FAIL, rows[i].main, "first");
            check_set_fault(server, warn ? STATE_WARN : STATE_FAIL, rows[i].beside, "second");
            judged();
            if (strcmp(world.view.diagnosis.cause, rows[i].cause) != 0)
                fail_msg("%s and %s are %s, want %s", reason_name(rows[i].main), reason_name(rows[i].beside),
                         world.view.diagnosis.cause, rows[i].cause);
            bool named = false;
            for (size_t j = 0; j < world.view.diagnosis.because_count; j++)
                named = named || strcmp(world.view.diagnosis.because[j], "server") == 0;
            assert_true(named);
            assert_non_null(strstr(world.view.diagnosis.sentence, "second"));
        }
}

/* Each of these needs no other. */
static void test_what_the_server_measures(void **state)
{
    (void)state;
    static const struct {
        enum reason reason;
        const char *cause;
    } rows[] = {
        { REASON_SERVER_FDS_HIGH, "descriptors_exhausted" },
        { REASON_SERVER_CONNECTIONS_HIGH, "connection_limit" },
        { REASON_SERVER_CONNECTIONS_DROPPED, "mass_disconnect" },
        { REASON_SERVER_CHURN_HIGH, "reconnect_storm" },
        { REASON_SERVER_BACKLOG_HIGH, "accept_queue_full" },
        { REASON_SERVER_MEMORY_HIGH, "memory_growth" },
        { REASON_SERVER_CPU_HIGH, "server_overloaded" },
        { REASON_SERVER_GONE, "server_down" },
        { REASON_AUTH_REJECTED, "token_refused" },
        { REASON_AUTH_NOT_ENFORCED, "auth_not_enforced" },
        { REASON_AUTH_EXPIRY_IGNORED, "auth_expiry_ignored" },
        { REASON_AUTH_REFRESH_FAILED, "token_expired" },
        { REASON_ORIGIN_REJECTED, "origin_too_strict" },
        { REASON_ORIGIN_NOT_ENFORCED, "origin_not_enforced" },
        { REASON_PAYLOAD_LIMIT, "frame_limit" },
        { REASON_RECONNECT_SLOW, "reconnect_slow" },
        { REASON_RESUME_FAILED, "state_not_restored" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_fail(server, rows[i].reason, "figures");
        assert_cause(rows[i].cause);
        check_warn(server, rows[i].reason, "figures");
        assert_cause(rows[i].cause);
    }
}

/* A warning of a check that means to be refused says how a bad token was refused: nothing of what other checks mean by that reason. */
static void test_warnings_of_trials(void **state)
{
    (void)state;
    static const struct {
        enum reason reason;
        const char *warns, *fails;
    } rows[] = {
        { REASON_AUTH_REJECTED, "clock_skew", "token_refused" },
        { REASON_AUTH_NOT_ENFORCED, "clock_skew", "auth_not_enforced" },
        { REASON_ORIGIN_NOT_ENFORCED, "origin_not_enforced", "origin_not_enforced" },
        { REASON_UPGRADE_REFUSED, "check_warning", "upgrade_refused" },
        { REASON_CONNECTION_RESET, "check_warning", "connections_unreliable" },
        { REASON_CLOSED_BY_SERVER, "check_warning", "server_ends_sessions" },
        { REASON_RATE_LIMITED, "rate_limited", "rate_limited" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_up_server(NULL);
        check_set_type(server, "auth");
        check_warn(server, rows[i].reason, "refused");
        assert_cause(rows[i].warns);
        check_fail(server, rows[i].reason, "refused");
        assert_cause(rows[i].fails);
    }
}

static void fail_websocket(enum reason reason)
{
    check_fail(handshake, reason, "peer");
    check_fail(ping, reason, "peer");
    check_fail(hold, reason, "peer");
    check_fail(echo, reason, "peer");
}

/* Is it what this fault alone would be, on that check or on the others? */
static bool is_single(const char *cause, enum reason reason, const char *type)
{
    set_up_server(NULL);
    check_set_type(server, type);
    check_fail(server, reason, "peer");
    if (strcmp(judged()->cause, cause) == 0)
        return true;
    fail_websocket(reason);
    return strcmp(judged()->cause, cause) == 0;
}

/*
 * Every two reasons together, one on the handshake and what is behind it, one on another check. The cause is that of one of them, or a rule
 * knows the two together; it is never a third thing.
 */
static void test_every_pair(void **state)
{
    (void)state;
    static const char *const types[] = { "server", "echo", "delivery", "tls", "payload" };
    static const char *const together[] = { "descriptors_exhausted",  "connection_limit",  "reconnect_storm",
                                            "memory_growth",          "accept_queue_full", "server_overloaded",
                                            "mass_disconnect",        "clock_skew",        "origin_too_strict",
                                            "connections_unreliable", "websocket_dead",    "token_expired",
                                            "deploy_in_progress",     "server_down",       "pings_unanswered" };
    for (unsigned a = REASON_NONE + 1; a < REASON_AGENT_STALLED; a++)
        for (unsigned b = REASON_NONE + 1; b < REASON_AGENT_STALLED; b++)
            for (size_t type = 0; type < sizeof types / sizeof types[0]; type++) {
                char cause[64];
                bool known = false;
                set_up_server(NULL);
                check_set_type(server, types[type]);
                fail_websocket((enum reason)a);
                check_fail(server, (enum reason)b, "peer");
                check_diagnosis();
                snprintf(cause, sizeof cause, "%s", world.view.diagnosis.cause);
                for (size_t i = 0; i < sizeof together / sizeof together[0]; i++)
                    known = known || strcmp(together[i], cause) == 0;
                if (known)
                    continue;
                set_up_server(NULL);
                fail_websocket((enum reason)a);
                if (strcmp(judged()->cause, cause) != 0 && !is_single(cause, (enum reason)b, types[type]))
                    fail_msg("%s with %s on %s is %s", reason_name((enum reason)a), reason_name((enum reason)b), types[type],
                             cause);
            }
}

/* A fault that has nothing to do with the main one is named behind it. */
static void test_a_second_fault_is_named(void **state)
{
    (void)state;
    struct check_view *tls = world_add(&world, "certificate", "tls", "local", 0);
    check_fail(echo, REASON_ECHO_TIMEOUT, "no answer");
    check_fail(tls, REASON_TLS_CERT_EXPIRED, "3 days ago");
    assert_cause("messages_stuck");
    assert_non_null(strstr(world.view.diagnosis.plain, "; besides, certificate fails: a certificate of the chain has expired"));
    assert_string_equal(world.view.diagnosis.because[1], "certificate");
    check_fail(tls, REASON_ECHO_TIMEOUT, "no answer"); /* the same once more is not */
    judged();
    assert_null(strstr(world.view.diagnosis.plain, "besides"));
}

/* --- the limits of the server, deploys, several instances ------------------------------------------------------------------------- */

static void hold_lives(void)
{
    hold->stats.holds = true;
    hold->stats.held = 2;
    hold->have_rtt = true;
}

static void test_old_connections_live(void **state)
{
    (void)state;
    struct check_view *fresh[] = { handshake, ping, echo };
    hold_lives();
    check_blank(http);
    for (size_t i = 0; i < 3; i++)
        check_fail(fresh[i], REASON_UPGRADE_TIMEOUT, "");
    assert_cause("new_connections_refused");
    assert_true(advises("ulimit -n") && advises("somaxconn"));
    for (size_t i = 0; i < 3; i++)
        check_fail(fresh[i], REASON_CONNECT_REFUSED, "");
    assert_cause("new_connections_refused");
    assert_non_null(strstr(world.view.diagnosis.plain, "lost its listener"));
    check_fail(hold, REASON_CONNECT_REFUSED, ""); /* it misses one of its own, and the others answer */
    assert_cause("new_connections_refused");
    hold->have_rtt = false; /* idle: its silence proves nothing */
    assert_cause("server_down");
    hold->have_rtt = true;
    hold->stats.held = 0;
    assert_cause("server_down");
}

static void test_deploy(void **state)
{
    (void)state;
    struct check_view *all[] = { handshake, ping, echo, hold };
    check_blank(http);
    for (size_t i = 0; i < 4; i++)
        check_fail(all[i], REASON_CONNECT_REFUSED, "");
    hold->stats.lost_code = 1001;
    hold->stats.lost_ms = handshake->last_ms - 1000;
    assert_cause("deploy_in_progress");
    hold->stats.lost_ms = handshake->last_ms - 180000; /* so long ago that it is no excuse any more */
    assert_cause("server_down");
    hold->stats.lost_code = 1006;
    hold->stats.lost_ms = handshake->last_ms - 1000;
    assert_cause("server_down");
    check_fail(hold, REASON_CLOSED_BY_SERVER, "closed with 1012");
    hold->close_code = 1012;
    assert_cause("deploy_in_progress");
}

static void test_upgrade_lost_on_the_way(void **state)
{
    (void)state;
    struct check_view *front = world_add(&world, "front", "handshake", "public", GATE_READY);
    static const int statuses[] = { 200, 400, 426 };
    for (size_t i = 0; i < 3; i++) {
        check_fail(front, REASON_UPGRADE_REFUSED, "status");
        front->http_status = statuses[i];
        assert_cause("upgrade_not_passed");
        assert_true(advises("proxy_set_header Upgrade $http_upgrade") && advises("upgrade_configs") && advises("ALB"));
    }
    front->http_status = 502;
    assert_cause("front_broken");
    front->http_status = 404;
    assert_cause("front_broken");
}

static void test_the_certificate_of_the_public_address(void **state)
{
    (void)state;
    struct check_view *front = world_add(&world, "front", "handshake", "public", GATE_READY);
    check_fail(front, REASON_TLS_CERT_EXPIRED, "");
    assert_cause("certificate_expired");
    assert_non_null(strstr(world.view.diagnosis.plain, "The certificate of the public address has expired"));
    fail_all(REASON_TLS_CERT_EXPIRED, "");
    assert_cause("certificate_expired");
    assert_non_null(strstr(world.view.diagnosis.plain, "The certificate of the server has expired"));
}

/* Whatever fails at some addresses of a name does not at the others: it is told so on both paths, and before what the reason would say. */
static void test_some_addresses_fail(void **state)
{
    (void)state;
    static const enum reason reasons[] = { REASON_CONNECT_REFUSED, REASON_TLS_CERT_EXPIRED, REASON_UPGRADE_REFUSED,
                                           REASON_CLOSED_BY_SERVER };
    struct check_view *front = world_add(&world, "front", "handshake", "public", GATE_READY);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        check_warn(front, reasons[i], "1 of 3 addresses fails: 192.0.2.7: so");
        front->addresses = front->last_fault_addresses = (struct address_split){ 1, 3 };
        assert_cause("one_instance_stale");
        assert_string_equal(world.view.diagnosis.because[0], "front");
        assert_non_null(strstr(world.view.diagnosis.sentence, "192.0.2.7"));
        assert_null(strstr(world.view.diagnosis.sentence, "(1 of 3 addresses)")); /* said once */
        assert_non_null(strstr(world.view.diagnosis.plain, "The server is well, and not all addresses"));
        assert_non_null(strstr(world.view.diagnosis.plain, "(1 of 3 addresses)"));
        assert_null(strstr(world.view.diagnosis.plain, "192.0.2.7"));
    }
    front->path = "local";
    assert_cause("one_instance_stale");
    assert_true(advises("127.0.0.1 and ::1"));
    front->path = "public";
    check_fail(front, REASON_CONNECT_REFUSED, "all 3 addresses fail");
    front->addresses = front->last_fault_addresses = (struct address_split){ 0 };
    assert_cause("front_broken");
}

/* What the fleet knows of the public path; the verdict and the own cause stay as they are. */
static void test_only_this_region_fails(void **state)
{
    (void)state;
    struct fleet_view fleet = { .outside = "; only from region us does it fail, and 2 elsewhere get in", .outside_alone = true };
    struct check_view *front = world_add(&world, "front", "echo", "public", GATE_READY);
    world.view.fleet = &fleet;
    assert_cause("healthy");
    check_fail(front, REASON_CONNECT_REFUSED, "refused");
    assert_cause("one_region_fails");
    assert_string_equal(world.view.diagnosis.own_cause, "front_broken");
    assert_true(says("only from region us") && advises("DNS answer"));
    assert_true(world.view.verdict.ready);
    fleet.outside_alone = false;
    assert_cause("public_path_down");
    assert_true(advises("what all regions share"));
    fail_all(REASON_CONNECT_REFUSED, "refused"); /* this server has a fault of its own */
    assert_cause("server_down");
    assert_false(says("only from region us"));
}

/* An announced roll-out explains connections that end, and changes neither cause nor verdict. */
static void test_a_rollout_is_under_way(void **state)
{
    (void)state;
    static const char words[] = "a roll-out is under way: 2 of 6 instances";
    struct fleet_view fleet = { .rollout = { .under_way = true, .announced = true } };
    snprintf(fleet.rollout.sentence, sizeof fleet.rollout.sentence, "%s", words);
    world.view.fleet = &fleet;
    check_fail(hold, REASON_CLOSED_ABNORMAL, "");
    assert_cause("connections_cut");
    assert_true(says(words) && advises("Wait until the roll-out is over") && advises("drain --wait"));
    bool ready = world.view.verdict.ready;
    fleet.rollout.announced = false;
    assert_cause("connections_cut");
    assert_false(says(words) || advises("Wait until"));
    assert_int_equal(world.view.verdict.ready, ready);
    fleet.rollout.announced = true;
    assert_close(hold, 1012, "server_restarting");
    assert_true(says(words));
    check_fail(hold, REASON_SILENT_DROP, "");
    assert_cause("connections_go_dead");
    assert_false(says(words));
}

/* What the fleet makes of a local fault (agent/report/diagnose_fleet.c); the cause that the others are told stays the own one. */
static void test_the_fleet_keeps_an_instance(void **state)
{
    (void)state;
    struct fleet_view fleet = { .held = true, .sentence = "held in rotation: without it 1 would remain, and min_ready wants 2" };
    fail_all(REASON_CONNECT_REFUSED, "connection refused");
    assert_cause("server_down");
    world.view.fleet = &fleet;
    world.view.verdict.ready = world.view.verdict.degraded = world.view.verdict.admitted = true;
    diagnose(&world.view, &world.view.diagnosis);
    see();
    assert_string_equal(world.view.diagnosis.cause, "held_in_rotation");
    assert_string_equal(world.view.diagnosis.own_cause, "server_down");
    assert_true(says("Nothing listens") && says("without it 1 would remain"));
    assert_true(advises("wshealthd fleet"));
    fleet = (struct fleet_view){ .wide_own = true, .wide_sharing = 9, .wide_of = 10 };
    diagnose(&world.view, &world.view.diagnosis);
    see();
    assert_string_equal(world.view.diagnosis.cause, "fleet_wide_fault");
    assert_true(says("9 of 10 instances"));
    fleet = (struct fleet_view){ .sentence = "the fleet cannot be asked: the agent acts by its own verdict" };
    world.view.verdict.ready = world.view.verdict.degraded = false;
    diagnose(&world.view, &world.view.diagnosis);
    assert_string_equal(world.view.diagnosis.cause, "server_down");
    assert_true(says("the fleet cannot be asked"));
}

/* A refusal that only this instance gives is its own (agent/fleet/witness.h), and the sentence says who knows that. */
static void test_the_fleet_is_a_witness(void **state)
{
    (void)state;
    struct fleet_view fleet = { 0 };
    static const char words[] = "the fleet's other instances pass this check";
    fail_all(REASON_UPGRADE_UNAUTHORIZED, "status 401, want 101");
    world.view.fleet = &fleet;
    world.view.verdict.admitted = true;
    assert_cause("token_refused");
    see();
    assert_false(says(words));
    for (size_t i = 0; i < world.view.check_count; i++)
        world.checks[i].last_fault_scope = SCOPE_LOCAL;
    assert_cause("token_refused");
    see();
    assert_true(says(words));
}

static void show_chat_1(const void *fleet, size_t i, struct fleet_member_view *out)
{
    (void)fleet;
    assert_int_equal(i, 0);
    *out = (struct fleet_member_view){ .id = "chat-1" };
}

/* The matrix explains a lost delivery of this instance's, and of no other. */
static void test_the_matrix_names_this_instance(void **state)
{
    (void)state;
    struct fleet_view fleet = { .member_at = show_chat_1,
                                .finding_count = 1,
                                .findings = { { .cause = "instance_receives_nothing", .who = "chat-1" } } };
    world.view.fleet = &fleet;
    assert_cause("healthy");
    check_fail(world_add(&world, "delivery", "delivery", "local", BOTH), REASON_DELIVERY_LOST, "lost");
    assert_cause("instance_receives_nothing");
    assert_string_equal(world.view.diagnosis.own_cause, "server_detached_from_broker");
    assert_true(says("other instances of the fleet receive"));
    fleet.findings[0].who = "chat-2";
    assert_cause("server_detached_from_broker");
}

static void test_one_instance_is_stale(void **state)
{
    (void)state;
    struct check_view *front = world_add(&world, "front", "echo", "public", GATE_READY);
    strcpy(front->health.history, "#.#.#.#.#.#");
    assert_cause("one_instance_stale"); /* though no check is in fault: `fall` is never reached */
    assert_string_equal(world.view.diagnosis.because[0], "front");
    assert_non_null(strstr(world.view.diagnosis.sentence, "front failed 5 of its last 11 rounds"));
    assert_true(advises("fall: 3/5"));
    check_fail(front, REASON_ECHO_MISMATCH, "");
    strcpy(front->health.history, "#.#.##..#.");
    assert_cause("one_instance_stale");
    strcpy(front->health.history, "######....");
    assert_cause("front_broken");
    check_fail(echo, REASON_ECHO_MISMATCH, ""); /* this instance is bad itself */
    strcpy(front->health.history, "#.#.##..#.");
    assert_cause("answer_unexpected");
    set_up(NULL);
    front = world_add(&world, "front", "echo", "public", GATE_READY);
    strcpy(front->health.history, "###.#######"); /* one bad round is chance */
    assert_cause("healthy");
    strcpy(front->health.history, "#.#.#.#.#.#");
    strcpy(echo->health.history, "###.#######"); /* the local path is not well either */
    assert_cause("healthy");
}

/* Silent connections are cut: what becomes of one that is pinged says by what. */
static void test_idle_timeout(void **state)
{
    (void)state;
    struct check_view *quiet = world_add(&world, "quiet", "hold", "public", 0);
    world_add(&world, "front", "handshake", "public", 0);
    check_fail(quiet, REASON_CLOSED_ABNORMAL, "idle connections are cut");
    quiet->stats.lives = (struct hold_figures){ .idle = true, .cut = 3, .of = 3, .longest_ns = UINT64_C(30000000000) };
    assert_cause("front_broken"); /* nothing to compare with */
    quiet->stats.lives.control = HOLD_CONTROL_LIVES;
    assert_cause("idle_timeout");
    assert_non_null(
        strstr(world.view.diagnosis.plain, "On the way to the server connections that say nothing are cut after 30.0s"));
    assert_true(advises("timeout tunnel") && advises("proxy_read_timeout") && advises("idle_timeout.timeout_seconds"));
    quiet->stats.lives.cut = 1;
    assert_cause("front_broken");
    quiet->stats.lives.cut = 3;
    quiet->stats.lives.control = HOLD_CONTROL_CUT;
    assert_cause("connection_max_age");
    quiet->stats.lives.control = HOLD_CONTROL_UNKNOWN;
    struct check_view *spoken = world_add(&world, "spoken", "hold", "public", 0); /* a second check is as good */
    spoken->stats.holds = true;
    assert_cause("front_broken"); /* it is younger than the silence */
    spoken->since_ms -= 40000;
    assert_cause("idle_timeout");
    quiet->path = spoken->path = "local";
    assert_cause("idle_timeout");
    assert_non_null(strstr(world.view.diagnosis.plain, "of the server, or of what is in front of it"));
}

static void test_other_instances_serve(void **state)
{
    (void)state;
    world_add(&world, "front", "handshake", "public", 0);
    check_blank(http);
    for (size_t i = 0; i < 4; i++)
        check_fail(&world.checks[i], REASON_UPGRADE_TIMEOUT, "");
    assert_cause("server_hung");
    assert_non_null(strstr(world.view.diagnosis.plain, "; the public address answers: other instances serve the users"));
    for (size_t i = 0; i < 4; i++)
        check_fail(&world.checks[i], REASON_ECHO_TIMEOUT, ""); /* a handshake there may lead to this instance */
    for (size_t i = 0; i < 4; i++)
        check_set_type(&world.checks[i], "echo");
    judged();
    assert_null(strstr(world.view.diagnosis.plain, "other instances"));
}

static void test_limits_of_frames(void **state)
{
    (void)state;
    struct check_view *near = world_add(&world, "near", "payload", "local", 0),
                      *far = world_add(&world, "far", "payload", "public", 0);
    check_fail(far, REASON_PAYLOAD_LIMIT, "32769 bytes do not pass");
    assert_cause("frame_limit");
    assert_non_null(strstr(world.view.diagnosis.plain, "in front of it does not"));
    check_fail(near, REASON_PAYLOAD_LIMIT, "32769 bytes do not pass");
    assert_cause("frame_limit");
    assert_null(strstr(world.view.diagnosis.plain, "in front"));
}

static void test_own_token_expired(void **state)
{
    (void)state;
    fail_all(REASON_UPGRADE_UNAUTHORIZED, "status 401");
    assert_cause("token_refused");
    handshake->health.own_doing = true;
    assert_cause("token_expired");
}

/* A slow answer, while the agent itself did not run for as long. */
static void test_slow_agent(void **state)
{
    (void)state;
    check_warn(echo, REASON_SLOW, "answered after 512ms, slo 200ms");
    echo->total_ns = UINT64_C(512000000);
    world.view.late_ms = 400;
    assert_cause("agent_stalled");
    world.view.late_ms = 60;
    assert_cause("server_slow");
}

static void test_unknown_together(void **state)
{
    (void)state;
    check_fail(echo, REASON_AGENT_ERROR, "");
    check_fail(hold, REASON_AGENT_STALLED, "");
    assert_cause("check_failing");
    assert_non_null(strstr(world.view.diagnosis.plain, "No rule explains these faults together: "));
    assert_non_null(strstr(world.view.diagnosis.plain, "; besides, hold fails: "));
}

/* The control leg tells a slow broker from a slow server. */
static void test_which_leg_is_slow(void **state)
{
    (void)state;
    static struct delivery_stats legs;
    memset(&legs, 0, sizeof legs);
    delivery->stats.delivery = &legs;
    legs.heartbeats[DELIVERY_RECEIVED] = 1;
    legs.last_ns[LEG_CONTROL] = 2000000;
    legs.last_ns[LEG_WEBSOCKET] = 612000000;
    check_warn(delivery, REASON_DELIVERY_SLOW, "");
    assert_cause("delivery_slow");
    assert_non_null(strstr(world.view.diagnosis.plain, "though the broker is in time"));
    legs.last_ns[LEG_CONTROL] = 600000000;
    assert_cause("broker_slow");
    legs.last_ns[LEG_CONTROL] = 2000000;
    check_warn(bus, REASON_SLOW, "answered after 80ms, slo 20ms");
    assert_cause("broker_slow");
}

static void test_the_broker_explains_the_delivery(void **state)
{
    (void)state;
    check_fail(delivery, REASON_DELIVERY_LOST, "");
    check_fail(bus, REASON_BROKER_UNREACHABLE, "refused");
    assert_cause("broker_down");
    assert_non_null(strstr(world.view.diagnosis.plain, "out of rotation, as it fails by itself too"));
    bus->since_ms = delivery->since_ms + 60000; /* the delivery was lost long before */
    assert_cause("server_detached_from_broker");
}

/* --- versions of HTTP -------------------------------------------------------------------------------------------------------------- */

static void check_split(struct check_view *check, enum reason reason, enum http_split split)
{
    check_fail(check, reason, "peer");
    check->http = "both";
    check->http_split = check->last_fault_split = split;
}

/* One check that tries both. */
static void test_only_one_version_fails(void **state)
{
    (void)state;
    static const struct {
        enum reason reason;
        const char *words;
    } rows[] = {
        { REASON_UPGRADE_REFUSED, "extended CONNECT, RFC 8441) is refused" },
        { REASON_UPGRADE_UNAUTHORIZED, "is refused" },
        { REASON_CONNECTION_RESET, "reset or cut before it is answered" },
        { REASON_UPGRADE_TIMEOUT, "is not answered" },
        { REASON_HTTP_MALFORMED, "breaks its rules" },
        { REASON_TLS_HANDSHAKE_FAILED, "does not speak it there" },
        { REASON_CLOSED_ABNORMAL, "over HTTP/2 the same fails" },
        { REASON_ECHO_TIMEOUT, "over HTTP/2 the same fails" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int public = 0; public < 2; public ++) {
            struct check_view *front;
            world_init(&world);
            world_add(&world, "near", "handshake", "local", BOTH);
            front = world_add(&world, "x", "echo", public ? "public" : "local", GATE_READY);
            if (!public)
                world.view.check_count = 2;
            check_split(front, rows[i].reason, HTTP_SPLIT_ONLY_2_FAILS);
            assert_cause("http2_broken");
            assert_true(says("works over HTTP/1.1") && says(rows[i].words));
            check_split(front, rows[i].reason, HTTP_SPLIT_ONLY_1_1_FAILS);
            world.checks[0].http = "2"; /* over HTTP/1.1 it would be a witness against that */
            assert_cause("http1_broken");
            check_split(front, rows[i].reason, HTTP_SPLIT_NONE);
            judged();
            assert_false(says("HTTP/2"));
        }
}

/* What both versions share is not the fault of one of them. */
static void test_not_of_a_version(void **state)
{
    (void)state;
    check_split(echo, REASON_CONNECT_REFUSED, HTTP_SPLIT_ONLY_2_FAILS);
    assert_cause("connections_unreliable");
    check_split(echo, REASON_TLS_CERT_EXPIRED, HTTP_SPLIT_ONLY_2_FAILS);
    assert_cause("certificate_expired");
    check_split(echo, REASON_CONNECTION_RESET, HTTP_SPLIT_ONLY_2_FAILS);
    assert_cause("http2_broken");
    strcpy(echo->health.history, "#.#.##..#."); /* it comes and goes: chance, not the version */
    assert_cause("connections_unreliable");
    check_split(echo, REASON_CONNECTION_RESET, HTTP_SPLIT_ONLY_2_FAILS);
    check_fail(ping, REASON_CONNECTION_RESET, "peer"); /* over HTTP/1.1 */
    assert_cause("connections_unreliable");
    check_fail(ping, REASON_SILENT_DROP, "peer"); /* something else, later than that: it is named too */
    assert_cause("http2_broken");
    assert_true(says("; besides, ping fails: "));
}

/* Two checks of which each tries one. */
static void test_one_check_for_each_version(void **state)
{
    (void)state;
    struct check_view *front = world_add(&world, "front", "handshake", "public", GATE_READY),
                      *old = world_add(&world, "old", "handshake", "public", GATE_READY);
    check_fail(front, REASON_CONNECTION_RESET, "the server reset the stream");
    front->http = "2";
    assert_cause("http2_broken");
    old->http = "2"; /* another check comes through over HTTP/2 */
    judged();
    assert_string_not_equal(world.view.diagnosis.cause, "http2_broken");
    old->http = "1.1";
    old->path = "local"; /* works, but elsewhere */
    assert_cause("front_broken");
    old->path = "public";
    check_set_type(front, "echo"); /* that a handshake works says nothing of what is behind it */
    check_fail(front, REASON_ECHO_TIMEOUT, "no answer");
    assert_cause("front_broken");
    check_set_type(old, "echo");
    assert_cause("http2_broken");
    front->http = "1.1";
    old->http = "2";
    assert_cause("http1_broken");
    check_warn(front, REASON_SLOW, "late"); /* late is not broken */
    assert_cause("server_slow");
}

/* The server says itself that there is no WebSocket over HTTP/2: no second check is needed for that. */
static void test_gaps_of_http2(void **state)
{
    (void)state;
    world_add(&world, "near", "handshake", "local", BOTH);
    struct check_view *front = world_add(&world, "front", "handshake", "public", GATE_READY);
    check_fail(front, REASON_UPGRADE_REFUSED, "peer");
    front->http = "2";
    front->h2_gap = front->last_fault_gap = H2_GAP_NOT_ALLOWED;
    assert_cause("http2_broken");
    assert_true(says("What answers speaks HTTP/2, but no WebSocket over it"));
    assert_true(advises("Browsers are not hit") && advises("nginx does not do RFC 8441") && advises("allow_connect: true"));
    front->http_split = front->last_fault_split = HTTP_SPLIT_ONLY_2_FAILS;
    assert_cause("http2_broken");
    assert_true(says("works over HTTP/1.1"));
    front->h2_gap = front->last_fault_gap = H2_GAP_NOT_SPOKEN;
    assert_cause("http2_broken");
    assert_true(says("which what answers does not speak") && advises("alpn h2,http/1.1"));
    front->http_split = front->last_fault_split = HTTP_SPLIT_NONE;
    assert_cause("http2_broken");
    assert_true(says("The check wants HTTP/2"));
    world_add(&world, "other", "handshake", "public", GATE_READY)->http = "2"; /* another server behind that address does */
    judged();
    assert_false(says("HTTP/2"));
}

/* `both` on every check: what falls back to HTTP/1.1 shows no other server that speaks HTTP/2. */
static void test_gaps_of_http2_everywhere(void **state)
{
    (void)state;
    static const char *const types[] = { "handshake", "ping" };
    for (size_t i = 0; i < 2; i++) {
        struct check_view *check = world_add(&world, types[i], types[i], "public", GATE_READY);
        check_warn(check, REASON_UPGRADE_REFUSED, "HTTP/1.1 works, and clients use that");
        check->http = "both";
        check->http_split = check->last_fault_split = HTTP_SPLIT_ONLY_2_FAILS;
        check->h2_gap = check->last_fault_gap = H2_GAP_NOT_SPOKEN;
    }
    world_add(&world, "kept", "hold", "public", GATE_READY)->http = "both";
    assert_cause("http2_broken");
    assert_true(says("works over HTTP/1.1 and not over HTTP/2"));
}

/* --- the network -------------------------------------------------------------------------------------------------------------------- */

static void test_a_lossy_network(void **state)
{
    (void)state;
    struct check_view *front = world_add(&world, "front", "handshake", "public", GATE_READY);
    check_warn(front, REASON_SLOW, "612ms, slo 200ms");
    front->tcp = (struct trace_tcp){ .known = true, .rtt_ns = 1000000, .min_rtt_ns = 1000000 };
    front->total_ns = UINT64_C(612000000);
    assert_cause("server_slow"); /* nothing was lost: the time is lost in the proxy */
    front->tcp.retransmits = 1;
    assert_cause("network_loss");
    assert_true(says("The server is well, and through the public address"));
    front->status = RESULT_PASS; /* the figures are not of the round that was late */
    assert_cause("server_slow");
    check_fail(front, REASON_ECHO_TIMEOUT, "no answer");
    assert_cause("front_broken"); /* all that was sent has arrived */
    front->tcp.unacked = 2;
    assert_cause("network_loss");
    assert_true(says("not even acknowledged"));
    front->tcp.retransmits = 0; /* under way */
    assert_cause("front_broken");
    check_warn(echo, REASON_SLOW, "612ms, slo 200ms"); /* the server's own path */
    front->health.state = STATE_PASS;
    front->status = RESULT_PASS;
    echo->total_ns = UINT64_C(612000000);
    assert_cause("server_slow");
    echo->tcp = (struct trace_tcp){ .known = true, .min_rtt_ns = 20000, .retransmits = 2 };
    assert_cause("network_loss");
    assert_true(says("or in front of a full accept queue"));
}

/* A held connection has a past: what was lost an hour ago is no loss now. */
static void test_a_held_connection_and_the_network(void **state)
{
    (void)state;
    check_fail(hold, REASON_SILENT_DROP, "no pong");
    hold->tcp = (struct trace_tcp){ .known = true, .retransmits = 3 };
    assert_cause("connections_go_dead");
    hold->tcp.unacked = 1;
    assert_cause("connections_go_dead"); /* new ones work: something has forgotten this one */
    handshake->last_ms = ping->last_ms = echo->last_ms = http->last_ms = hold->last_ms - 9000;
    assert_cause("network_loss");
    handshake->last_ms = ping->last_ms = echo->last_ms = hold->last_ms;
    check_warn(hold, REASON_SLOW, "late");
    hold->tcp.unacked = 0;
    assert_cause("server_slow");
}

static void test_a_slow_network(void **state)
{
    (void)state;
    struct check_view *front = world_add(&world, "front", "handshake", "public", GATE_READY);
    check_warn(front, REASON_SLOW, "212ms, slo 200ms");
    front->total_ns = UINT64_C(212000000);
    front->have_phase[PHASE_CONNECT] = front->have_phase[PHASE_UPGRADE] = true;
    front->tcp = (struct trace_tcp){ .known = true, .min_rtt_ns = UINT64_C(100000000) };
    assert_cause("network_slow");
    assert_true(says("the way to the public address is slow"));
    front->tcp.min_rtt_ns = UINT64_C(20000000);
    assert_cause("server_slow");
    front->path = "local";
    front->tcp.min_rtt_ns = UINT64_C(100000000);
    assert_cause("network_slow");
    assert_true(says("the server itself answers at once"));
}

/* --- what the server is connected to --------------------------------------------------------------------------------------------------- */

static struct check_view *figures;
static struct server_stats kernel;

/* A server check that has missed the server's connection to the broker. */
static int set_up_peer(void **state)
{
    set_up_bus(state);
    figures = world_add(&world, "figures", "server", "local", 0);
    memset(&kernel, 0, sizeof kernel);
    kernel.peer_count = 1;
    kernel.peers[0] = (struct server_peer_stats){
        .name = "bus", .address = "192.0.2.9:6379", .state = SERVER_PEER_LOST, .once = true, .missing = true
    };
    figures->stats.server = &kernel;
    check_blank(delivery);
    delivery->health.state = STATE_UNKNOWN;
    check_warn(figures, REASON_SERVER_PEER_LOST, "the server has no connection to bus (192.0.2.9:6379)");
    return 0;
}

static void test_the_kernel_knows_that_the_server_is_detached(void **state)
{
    (void)state;
    assert_cause("server_detached_from_broker");
    assert_true(says("The server has lost its connection to bus, which answers the agent"));
    assert_null(strstr(world.view.diagnosis.plain, "192.0.2.9"));
    assert_because("figures", NULL);
    assert_true(world.view.verdict.ready);
    kernel.peers[0].once = false;
    assert_cause("server_detached_from_broker");
    assert_true(says("has had none since the agent began") && advises("Compare the address in peers"));
}

/* The broker's own fault is nobody else's. */
static void test_a_broker_that_is_down_detaches_nobody(void **state)
{
    (void)state;
    check_fail(bus, REASON_BROKER_UNREACHABLE, "refused");
    assert_cause("broker_down");
    assert_true(says("all instances are hit"));
    check_warn(bus, REASON_SLOW, "late");
    bus->gates = GATE_READY;
    assert_cause("broker_slow"); /* it answers, and the server has none */
    check_blank(bus);
    assert_cause("server_without_peer");
    assert_true(says("whether bus is well is not known here"));
}

static void test_other_peers(void **state)
{
    (void)state;
    strcpy(kernel.peers[0].name, "db");
    assert_cause("server_without_peer");
    assert_true(says("no connection to db"));
    strcpy(kernel.peers[0].name, "bus");
    set_up_peer(NULL);
    static struct delivery_stats books;
    delivery->stats.delivery = &books;
    books.heartbeats[DELIVERY_RECEIVED] = 1;
    delivery->judged = true;
    delivery->status = RESULT_PASS;
    delivery->health.state = STATE_PASS;
    delivery->health.passed_once = true;
    assert_cause("check_warning"); /* what comes through it contradicts the table */
    assert_true(says("heartbeats come through it"));
}

static void test_peers_beside_a_delivery(void **state)
{
    (void)state;
    check_fail(delivery, REASON_DELIVERY_LOST, "nothing came");
    delivery->judged = true;
    assert_cause("server_detached_from_broker");
    assert_true(says("lost its connection to bus") && says("does not reach its clients"));
    assert_string_equal(world.view.diagnosis.because[0], "delivery");
    assert_string_equal(world.view.diagnosis.because[2], "figures");
    kernel.peers[0].missing = false;
    kernel.peers[0].state = SERVER_PEER_UNREAD;
    check_warn(figures, REASON_NONE, "");
    figures->health.state = STATE_PASS;
    figures->status = RESULT_PASS;
    assert_cause("server_detached_from_broker");
    assert_true(says("does not read what comes from it"));
    check_warn(delivery, REASON_DELIVERY_SLOW, "late");
    assert_cause("delivery_slow");
    assert_true(says("does not read fast enough what comes from bus"));
    kernel.peers[0].state = SERVER_PEER_UNREACHED;
    assert_cause("delivery_slow");
    assert_true(says("what it sends to bus is not acknowledged"));
    kernel.peers[0].state = SERVER_PEER_CONNECTED;
    check_fail(delivery, REASON_DELIVERY_LOST, "nothing came");
    assert_cause("server_detached_from_broker");
    assert_true(says("lost its subscription")); /* connected, and deaf */
    strcpy(kernel.peers[0].name, "db");
    kernel.peers[0].missing = true; /* another one, which has nothing to do with it */
    assert_cause("server_detached_from_broker");
    assert_true(says("lost its subscription"));
}

static void test_messages_wait_for_a_peer(void **state)
{
    (void)state;
    check_fail(echo, REASON_ECHO_TIMEOUT, "no message within 2s");
    assert_cause("server_detached_from_broker");
    assert_true(says("what the check asks may wait for it"));
    kernel.peers[0].missing = false;
    kernel.peers[0].state = SERVER_PEER_UNREACHED;
    assert_cause("messages_stuck");
    assert_true(says("what the server sends to bus is not taken"));
}

/* The agent does not get in, and the server is in: not everybody is hit. */
static void test_only_the_agent_has_no_broker(void **state)
{
    (void)state;
    kernel.peers[0].missing = false;
    kernel.peers[0].state = SERVER_PEER_CONNECTED;
    figures->health.state = STATE_PASS;
    figures->status = RESULT_PASS;
    check_fail(bus, REASON_BROKER_UNREACHABLE, "refused");
    assert_cause("broker_down");
    assert_true(says("and the server has one") && !says("all instances") && says("this instance stays in rotation"));
    figures->last_ms = bus->since_ms - 1; /* seen before that */
    assert_cause("broker_down");
    assert_true(says("all instances are hit") && !says("the server has one"));
}

/* --- over everything ----------------------------------------------------------------------------------------------------------------- */

static void test_long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    char message[512];
    for (size_t i = 0; i + 2 < sizeof message; i += 2)
        memcpy(message + i, "é", 3);
    for (size_t shift = 0; shift < 2; shift++) {
        check_fail(handshake, REASON_UPGRADE_TIMEOUT, message + 2 * shift);
        handshake->name = shift ? "handshake" : "handshakes";
        judged();
        const char *sentence = world.view.diagnosis.sentence;
        size_t len = strlen(sentence);
        assert_true(len < sizeof world.view.diagnosis.sentence);
        assert_string_equal(sentence + len - strlen("…"), "…");
        assert_memory_equal(sentence + len - strlen("é…"), "é", 2);
    }
}

/* Every reason on every type, path, gate and state, with the neighbours passing, failing alike, or unknown. */
static void test_every_combination(void **state)
{
    (void)state;
    static const char *const types[] = { "handshake", "ping",     "echo",   "hold",   "http",    "tcp",       "tls",
                                         "subscribe", "delivery", "broker", "server", "payload", "unheard-of" };
    static const int codes[] = { 0,
                                 101,
                                 200,
                                 404,
                                 426,
                                 429,
                                 500,
                                 502,
                                 503,
                                 504,
                                 1000,
                                 1001,
                                 1003,
                                 1005,
                                 1008,
                                 1009,
                                 1011,
                                 1012,
                                 1013,
                                 4400,
                                 BROKER_HINT_ABSENT,
                                 BROKER_HINT_FULL,
                                 BROKER_HINT_UNTRUSTED,
                                 BROKER_HINT_OLD_CLIENT };
    for (unsigned n = REASON_NONE + 1; n < REASON_AGENT_STALLED; n++)
        for (size_t type = 0; type < sizeof types / sizeof types[0]; type++)
            for (unsigned bits = 0; bits < 24; bits++)
                for (size_t code = 0; code < sizeof codes / sizeof codes[0]; code++) {
                    bool public = bits & 1, warn = bits & 2, gates = bits & 4;
                    set_up(NULL);
                    if (bits >= 16)
                        fail_all((enum reason)n, "alike");
                    else if (bits >= 8)
                        for (size_t i = 0; i < world.view.check_count; i++)
                            check_blank(&world.checks[i]);
                    struct check_view *check = world_add(&world, "x", types[type], public ? "public" : "local", gates ? BOTH : 0);
                    check_set_fault(check, warn ? STATE_WARN : STATE_FAIL, (enum reason)n, "peer");
                    if (codes[code] >= BROKER_HINT_ABSENT)
                        check->broker_hint = check->last_fault_hint = codes[code];
                    else
                        check->close_code = check->http_status = codes[code];
                    check_diagnosis();
                }
}

/* A cause that no view leads to would be a rule that something before it hides. */
static void test_no_cause_is_dead(void **state)
{
    (void)state;
    static const enum cause elsewhere[] = { CAUSE_STARTING,      CAUSE_DRAINING,    CAUSE_NOTHING_CHECKED,
                                            CAUSE_AGENT_STALLED, CAUSE_AGENT_ERROR, CAUSE_HEALTHY };
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        seen[elsewhere[i]] = true; /* by the tests above */
    for (unsigned cause = CAUSE_INSTANCE_PUBLISHES_NOTHING; cause <= CAUSE_SHARD_LOST; cause++)
        seen[cause] = true; /* the fleet's only, of no instance's verdict */
    for (unsigned cause = 0; cause < CAUSE_COUNT; cause++)
        if (!seen[cause])
            fail_msg("nothing leads to %s", cause_name((enum cause)cause));
}

#define T(test) cmocka_unit_test_setup(test, set_up)
#define B(test) cmocka_unit_test_setup(test, set_up_bus)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_healthy),
        T(test_healthy_but_shaky),
        T(test_nothing_checked),
        T(test_starting),
        T(test_starting_tells_what_failed),
        T(test_down_from_the_start),
        T(test_draining_explains_all),
        T(test_draining_says_who_is_left),
        T(test_agent_stalled),
        T(test_server_down),
        T(test_more_checks_than_it_names),
        T(test_a_server_that_has_just_died),
        T(test_evidence_of_rounds_that_began_together),
        T(test_connect),
        T(test_green_http_over_a_dead_websocket),
        T(test_some_connections),
        T(test_statuses),
        T(test_frozen_behind_the_upgrade),
        T(test_messages_stuck),
        T(test_pings_swallowed),
        T(test_held_connections),
        T(test_close_codes),
        T(test_certificates),
        T(test_front_broken),
        T(test_both_paths_fail_alike),
        T(test_public_alone),
        T(test_shared_fault),
        T(test_gates_go_before_reports),
        T(test_only_a_report_fails),
        T(test_slow),
        T(test_recovering),
        T(test_dead),
        B(test_server_detached),
        B(test_faults_of_the_broker),
        cmocka_unit_test_setup(test_probe_faults_and_rotation, set_up),
        cmocka_unit_test_setup(test_healthy_does_not_contradict_itself, set_up),
        B(test_one_round_knows_no_rotation),
        B(test_a_subscription_that_may_never_have_been),
        B(test_shared_faults_and_rotation),
        B(test_delivery_slow),
        B(test_broker_slow),
        B(test_server_and_broker_dead),
        B(test_two_brokers),
        B(test_what_dialects_say),
        B(test_long_names),
#define S(test) cmocka_unit_test_setup(test, set_up_server)
        S(test_pairs),
        S(test_what_the_server_measures),
        S(test_warnings_of_trials),
        S(test_every_pair),
        T(test_a_second_fault_is_named),
        T(test_old_connections_live),
        T(test_deploy),
        T(test_upgrade_lost_on_the_way),
        T(test_the_certificate_of_the_public_address),
        T(test_only_this_region_fails),
        T(test_a_rollout_is_under_way),
        T(test_the_fleet_keeps_an_instance),
        T(test_the_fleet_is_a_witness),
        T(test_the_matrix_names_this_instance),
        T(test_one_instance_is_stale),
        T(test_some_addresses_fail),
        T(test_idle_timeout),
        T(test_other_instances_serve),
        T(test_limits_of_frames),
        T(test_own_token_expired),
        T(test_slow_agent),
        T(test_unknown_together),
        B(test_which_leg_is_slow),
        B(test_the_broker_explains_the_delivery),
        T(test_only_one_version_fails),
        T(test_not_of_a_version),
        T(test_one_check_for_each_version),
        T(test_gaps_of_http2),
        T(test_gaps_of_http2_everywhere),
        T(test_a_lossy_network),
        T(test_a_held_connection_and_the_network),
        T(test_a_slow_network),
#define P(test) cmocka_unit_test_setup(test, set_up_peer)
        P(test_the_kernel_knows_that_the_server_is_detached),
        P(test_a_broker_that_is_down_detaches_nobody),
        P(test_other_peers),
        P(test_peers_beside_a_delivery),
        P(test_messages_wait_for_a_peer),
        P(test_only_the_agent_has_no_broker),
        T(test_long_texts_are_cut_between_characters),
        T(test_every_combination),
        T(test_no_cause_is_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
