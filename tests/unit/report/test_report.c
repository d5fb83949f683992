/* The formats that leave the agent, against the contract: sections 1, 6 and 7. JSON is read back by a parser that is not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>

#include "agent/report/report.h"
#include "tests/unit/report/views.h"

#define BOTH (GATE_READY | GATE_LIVE)

static struct world world;
static struct delivery_stats books;
static struct check_view *handshake, *echo, *tls;
static struct buf out;

static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    handshake = world_add(&world, "handshake", "handshake", "local", BOTH);
    echo = world_add(&world, "echo", "echo", "local", GATE_READY);
    tls = world_add(&world, "cert", "tls", "public", 0);
    handshake->http_status = 101;
    const enum phase phases[] = { PHASE_RESOLVE, PHASE_CONNECT, PHASE_UPGRADE };
    const uint64_t took_ns[] = { 0, 50000, 400000 };
    for (size_t i = 0; i < 3; i++) {
        handshake->have_phase[phases[i]] = true;
        handshake->phase_ns[phases[i]] = took_ns[i];
    }
    echo->have_rtt = true;
    echo->rtt_ns = 210000;
    echo->slo_ms = 200;
    buf_init(&out, 1 << 20);
    world_judge(&world, false, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

static const char *plain(enum report_question question, bool verbose, bool full)
{
    buf_reset(&out);
    report_plain(&world.view, question, verbose, full, &out);
    return buf_str(&out);
}

static void break_echo(void)
{
    check_fail(echo, REASON_ECHO_MISMATCH, "no match within 2s, last message from 192.0.2.7: \"so sorry\"");
    echo->phase = PHASE_OPEN;
    world_judge(&world, false, true);
}

static bool strange(const char *text) /* does it hold what readers without full details may not see? */
{
    return strstr(text, "192.0.2.7") || strstr(text, "so sorry") || strstr(text, "secret-path") || strstr(text, "ws://");
}

/* --- plain text ---------------------------------------------------------------------------------------------------------------- */

static void test_ready(void **state)
{
    (void)state;
    assert_string_equal(plain(REPORT_READY, false, true), "ready\n");
    assert_string_equal(plain(REPORT_LIVE, false, true), "live\n");
    assert_string_equal(plain(REPORT_STARTUP, false, true), "started\n");
}

static void test_verbose(void **state)
{
    (void)state;
    check_warn(tls, REASON_TLS_CERT_EXPIRING, "5 days left");
    check_blank(handshake);
    world_judge(&world, false, true);
    assert_string_equal(plain(REPORT_READY, true, true),
                        "ready\n"
                        "[?]handshake unknown\n"
                        "[+]echo pass 0.21ms\n"
                        "[!]cert warn tls_cert_expiring 5 days left\n"
                        "ready: The certificate of the public address expires soon (cert: 5 days left)\n");
}

static void test_not_ready_names_the_causes(void **state)
{
    (void)state;
    break_echo();
    assert_string_equal(plain(REPORT_READY, false, true),
                        "not ready\n[-]echo fail echo_mismatch no match within 2s, last message from 192.0.2.7: \"so sorry\"\n");
    assert_string_equal(plain(REPORT_READY, false, false),
                        "not ready\n[-]echo fail echo_mismatch messages came, but none matched\n");
    assert_false(strange(plain(REPORT_READY, true, false)));
    assert_string_equal(plain(REPORT_LIVE, false, true), "live\n");
}

static void test_degraded(void **state)
{
    (void)state;
    check_warn(echo, REASON_SLOW, "answered after 512ms, slo 200ms");
    world_judge(&world, false, true);
    assert_string_equal(plain(REPORT_READY, false, true), "degraded\n[!]echo warn slow answered after 512ms, slo 200ms\n");
}

static void test_draining(void **state)
{
    (void)state;
    world_judge(&world, true, true);
    assert_string_equal(plain(REPORT_READY, false, true), "draining\n");
    assert_string_equal(plain(REPORT_STARTUP, false, true), "started\n");
}

static void test_starting(void **state)
{
    (void)state;
    check_blank(echo);
    world_judge(&world, false, false);
    assert_string_equal(plain(REPORT_READY, false, true), "starting\n[?]echo unknown\n");
    assert_string_equal(plain(REPORT_STARTUP, false, true), "starting\n[?]echo unknown\n");
    check_fail(echo, REASON_CONNECT_REFUSED, "refused");
    echo->judged = true;
    world_judge(&world, false, false); /* a check in fail: no longer "starting" */
    assert_string_equal(plain(REPORT_READY, false, true), "not ready\n[-]echo fail connect_refused refused\n");
    assert_string_equal(plain(REPORT_STARTUP, false, true), "starting\n[-]echo fail connect_refused refused\n");
}

static void test_dead(void **state)
{
    (void)state;
    check_fail(handshake, REASON_UPGRADE_TIMEOUT, "no answer within 2s");
    handshake->health.mute_since_ms = 1000;
    handshake->health.last_mute_ms = 99000;
    check_fail(echo, REASON_UPGRADE_TIMEOUT, "no answer within 2s");
    world_judge(&world, false, true);
    assert_string_equal(plain(REPORT_LIVE, false, true), "dead\n[-]handshake fail upgrade_timeout no answer within 2s\n");
}

static void test_between_states(void **state)
{
    (void)state;
    break_echo();
    echo->status = RESULT_PASS; /* one pass, rise not reached */
    echo->reason = REASON_NONE;
    echo->message[0] = '\0';
    assert_non_null(
        strstr(plain(REPORT_READY, false, false), "[-]echo fail echo_mismatch messages came, but none matched (recovering"));
    check_fail(handshake, REASON_UPGRADE_TIMEOUT, "no answer within 2s");
    handshake->health.state = STATE_PASS; /* one failure, fall not reached */
    assert_non_null(
        strstr(plain(REPORT_READY, true, true), "[+]handshake pass (last round: upgrade_timeout no answer within 2s)\n"));
}

/* One line for each check, whatever a peer managed to get into a message. */
static void test_lines_stay_lines(void **state)
{
    (void)state;
    check_fail(echo, REASON_ECHO_MISMATCH,
               "got \"a\nready\r\x1b[2J\xc2\x9b"
               "1m\"");
    world_judge(&world, false, true);
    assert_string_equal(plain(REPORT_READY, false, true), "not ready\n[-]echo fail echo_mismatch got \"a ready  [2J 1m\"\n");
}

/* --- JSON ------------------------------------------------------------------------------------------------------------------------- */

static json_t *status_json(bool full)
{
    json_error_t error;
    buf_reset(&out);
    report_status_json(&world.view, full, &out);
    json_t *root = json_loadb((const char *)out.data, out.len, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        fail_msg("%s at %d: %s", error.text, error.position, buf_str(&out));
    return root;
}

static json_t *check_at(json_t *root, size_t at)
{
    return json_array_get(json_object_get(root, "checks"), at);
}

#define assert_text(object, key, want) assert_string_equal(json_string_value(json_object_get(object, key)), want)
#define assert_null_at(object, key) assert_true(json_is_null(json_object_get(object, key)))
#define assert_bool(object, key, want) assert_true(json_object_get(object, key) == ((want) ? json_true() : json_false()))
#define assert_number(object, key, want) assert_true(json_number_value(json_object_get(object, key)) == (want))

static void test_status_of_a_pass(void **state)
{
    (void)state;
    json_t *root = status_json(true), *check = check_at(root, 0), *timings = json_object_get(check, "timings_ms");
    assert_text(root, "status", "pass");
    assert_bool(root, "ready", true);
    assert_bool(root, "live", true);
    assert_bool(root, "started", true);
    assert_bool(root, "draining", false);
    assert_bool(root, "degraded", false);
    assert_text(json_object_get(root, "diagnosis"), "cause", "healthy");
    assert_true(json_is_array(json_object_get(root, "brokers")) && json_array_size(json_object_get(root, "brokers")) == 0);
    assert_text(check, "name", "handshake");
    assert_text(check, "type", "handshake");
    assert_text(check, "path", "local");
    assert_text(check, "state", "pass");
    assert_text(check, "status", "pass");
    const char *const nulls[] = { "reason", "phase", "scope", "message", "close_code", "rtt_ms" };
    for (size_t i = 0; i < 6; i++)
        assert_null_at(check, nulls[i]);
    assert_number(check, "http_status", 101);
    assert_text(check, "since", "2026-11-26T10:00:00.000Z");
    assert_text(check, "last", "2026-11-26T10:00:05.000Z");
    assert_text(check, "history", "####");
    assert_number(timings, "resolve", 0.0);
    assert_number(timings, "connect", 0.05);
    assert_null_at(timings, "tls");
    assert_number(timings, "upgrade", 0.4);
    assert_null_at(timings, "open");
    assert_number(timings, "total", 1.2);
    assert_number(check_at(root, 1), "rtt_ms", 0.21);
    json_decref(root);
}

static void test_status_of_a_failure(void **state)
{
    (void)state;
    break_echo();
    json_t *root = status_json(true), *check = check_at(root, 1), *diagnosis = json_object_get(root, "diagnosis");
    assert_text(root, "status", "fail");
    assert_text(check, "reason", "echo_mismatch");
    assert_text(check, "phase", "open");
    assert_text(check, "scope", "local");
    assert_text(check, "message", "no match within 2s, last message from 192.0.2.7: \"so sorry\"");
    assert_text(diagnosis, "cause", "answer_unexpected");
    assert_string_equal(json_string_value(json_array_get(json_object_get(diagnosis, "because"), 0)), "echo");
    assert_true(json_array_size(json_object_get(diagnosis, "advice")) > 0);
    json_decref(root);
}

static void test_status_for_strangers(void **state)
{
    (void)state;
    break_echo();
    json_t *root = status_json(false), *check = check_at(root, 1);
    assert_false(strange(buf_str(&out)));
    assert_text(check, "reason", "echo_mismatch");
    assert_text(check, "message", "messages came, but none matched");
    json_decref(root);
}

static void test_status_before_the_first_round(void **state)
{
    (void)state;
    check_blank(echo);
    world_judge(&world, false, false);
    json_t *root = status_json(true), *check = check_at(root, 1);
    assert_bool(root, "started", false);
    assert_text(check, "state", "unknown");
    assert_text(check, "history", "");
    const char *const nulls[] = { "status", "reason", "since", "last", "http_status", "rtt_ms" };
    for (size_t i = 0; i < 6; i++)
        assert_null_at(check, nulls[i]);
    assert_null_at(json_object_get(check, "timings_ms"), "total");
    json_decref(root);
}

/* status is the last round's, state the one after rise and fall. */
static void test_status_is_not_state(void **state)
{
    (void)state;
    break_echo();
    echo->status = RESULT_PASS;
    echo->reason = REASON_NONE;
    echo->message[0] = '\0';
    json_t *root = status_json(true);
    assert_text(check_at(root, 1), "state", "fail");
    assert_text(check_at(root, 1), "status", "pass");
    assert_null_at(check_at(root, 1), "reason");
    json_decref(root);
}

static struct check_view *with_bus(void)
{
    memset(&books, 0, sizeof books);
    world_add_delivery(&world, "delivery", "bus", &books);
    struct check_view *bus = world_add_broker(&world, "bus", "redis");
    bus->total_ns = 200000;
    world_judge(&world, false, true);
    return bus;
}

/* In the short list and, like every check, in the long one. */
static void test_status_of_brokers(void **state)
{
    (void)state;
    struct check_view *bus = with_bus();
    check_blank(world_add_broker(&world, "jobs", "nats"));
    json_t *root = status_json(true), *brokers = json_object_get(root, "brokers"), *one = json_array_get(brokers, 0);
    assert_int_equal(json_array_size(brokers), 2);
    assert_text(one, "name", "bus");
    assert_text(one, "type", "redis");
    assert_text(one, "state", "pass");
    assert_number(one, "rtt_ms", 0.2);
    assert_null_at(one, "reason");
    assert_null_at(one, "message");
    one = json_array_get(brokers, 1);
    assert_text(one, "type", "nats");
    assert_text(one, "state", "unknown");
    assert_null_at(one, "rtt_ms");
    assert_text(check_at(root, 4), "name", "bus");
    assert_text(check_at(root, 4), "type", "broker");
    json_decref(root);

    check_fail(bus, REASON_BROKER_UNREACHABLE, "nothing listens on 192.0.2.7:6379");
    bus->have_rtt = false;
    world_judge(&world, false, true);
    root = status_json(true);
    one = json_array_get(json_object_get(root, "brokers"), 0);
    assert_text(one, "state", "fail");
    assert_null_at(one, "rtt_ms");
    assert_text(one, "reason", "broker_unreachable");
    assert_text(one, "message", "nothing listens on 192.0.2.7:6379");
    assert_text(json_object_get(root, "diagnosis"), "cause", "broker_down");
    json_decref(root);
    root = status_json(false);
    assert_false(strange(buf_str(&out)));
    one = json_array_get(json_object_get(root, "brokers"), 0);
    assert_text(one, "reason", "broker_unreachable");
    assert_text(one, "message", reason_help(REASON_BROKER_UNREACHABLE));
    json_decref(root);
}

/* The documented example, word for word. */
static void test_status_of_a_detached_server(void **state)
{
    (void)state;
    with_bus();
    check_fail(&world.checks[3], REASON_DELIVERY_LOST, "heartbeat 17 did not come");
    world_judge(&world, false, true);
    json_t *root = status_json(false), *diagnosis = json_object_get(root, "diagnosis");
    json_t *because = json_object_get(diagnosis, "because");
    assert_text(root, "status", "fail");
    assert_bool(root, "degraded", false);
    assert_text(diagnosis, "cause", "server_detached_from_broker");
    assert_int_equal(json_array_size(because), 2);
    assert_string_equal(json_string_value(json_array_get(because, 0)), "delivery");
    assert_string_equal(json_string_value(json_array_get(because, 1)), "bus");
    json_decref(root);
}

static json_t *health_json(bool full)
{
    buf_reset(&out);
    report_health_json(&world.view, full, &out);
    json_t *root = json_loadb((const char *)out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    return root;
}

static void test_health_json(void **state)
{
    (void)state;
    check_warn(tls, REASON_TLS_CERT_EXPIRING, "5 days left, CN=192.0.2.7");
    world_judge(&world, false, true);
    json_t *root = health_json(true), *checks = json_object_get(root, "checks");
    json_t *one = json_array_get(json_object_get(checks, "echo:responseTime"), 0);
    assert_text(root, "status", "warn");
    assert_text(root, "version", "9.8.7");
    assert_text(root, "serviceId", "ws://192.0.2.7:8080/secret-path");
    assert_true(json_is_string(json_object_get(root, "releaseId")) && json_is_string(json_object_get(root, "description")));
    assert_true(json_array_size(json_object_get(root, "notes")) > 0);
    assert_int_equal(json_object_size(checks), 3);
    assert_text(one, "componentId", "echo");
    assert_text(one, "componentType", "component");
    assert_number(one, "observedValue", 0.21);
    assert_text(one, "observedUnit", "ms");
    assert_text(one, "status", "pass");
    assert_text(one, "time", "2026-11-26T10:00:05.000Z");
    assert_null(json_object_get(one, "output")); /* the draft: omitted for a pass */
    assert_text(json_array_get(json_object_get(checks, "cert:responseTime"), 0), "output", "5 days left, CN=192.0.2.7");
    json_decref(root);
    root = health_json(false);
    assert_false(strange(buf_str(&out)));
    json_decref(root);
}

static void test_health_json_of_brokers(void **state)
{
    (void)state;
    struct check_view *bus = with_bus();
    check_fail(bus, REASON_BROKER_READ_ONLY, "READONLY from 192.0.2.7");
    world_judge(&world, false, true);
    json_t *root = health_json(false), *checks = json_object_get(root, "checks");
    json_t *one = json_array_get(json_object_get(checks, "bus:responseTime"), 0);
    assert_text(one, "componentType", "datastore");
    assert_number(one, "observedValue", 0.2);
    assert_text(one, "status", "fail");
    assert_text(one, "output", reason_help(REASON_BROKER_READ_ONLY));
    assert_text(json_array_get(json_object_get(checks, "delivery:responseTime"), 0), "componentType", "component");
    assert_false(strange(buf_str(&out)));
    json_decref(root);
}

/* The format has no word for unknown. */
static void test_health_json_knows_three_words(void **state)
{
    (void)state;
    check_blank(echo);
    world_judge(&world, false, false);
    json_t *root = health_json(true);
    json_t *one = json_array_get(json_object_get(json_object_get(root, "checks"), "echo:responseTime"), 0);
    assert_text(root, "status", "fail");
    assert_text(one, "status", "warn");
    assert_null(json_object_get(one, "observedValue"));
    json_decref(root);
}

/* --- exit codes, one line, the plugin ------------------------------------------------------------------------------------------------ */

static void test_exit_codes(void **state)
{
    (void)state;
    assert_int_equal(report_exit_code(&world.view), 0);
    check_warn(echo, REASON_SLOW, "");
    world_judge(&world, false, true);
    assert_int_equal(report_exit_code(&world.view), 1);
    break_echo();
    assert_int_equal(report_exit_code(&world.view), 2);
    world_judge(&world, true, true);
    assert_int_equal(report_exit_code(&world.view), 2);
}

static void test_exit_code_unknown(void **state)
{
    (void)state;
    for (size_t i = 0; i < world.view.check_count; i++)
        check_blank(&world.checks[i]);
    world_judge(&world, false, false);
    assert_int_equal(report_exit_code(&world.view), 3);
    check_fail(echo, REASON_ECHO_TIMEOUT, ""); /* a failure is known, though others are not */
    echo->judged = true;
    world_judge(&world, false, false);
    assert_int_equal(report_exit_code(&world.view), 2);
    world.view.check_count = 0;
    assert_int_equal(report_exit_code(&world.view), 3);
}

static const char *nagios(void)
{
    buf_reset(&out);
    report_nagios(&world.view, &out);
    const char *text = buf_str(&out);
    assert_ptr_equal(strchr(text, '\n'), text + out.len - 1); /* one line */
    return text;
}

static void test_nagios_ok(void **state)
{
    (void)state;
    assert_string_equal(nagios(), "WSHEALTHD OK - ready: handshake 1.20ms, echo 0.21ms, cert 1.20ms|"
                                  "handshake=0.001200s;;2.000;0 echo=0.001200s;;2.000;0 echo_rtt=0.000210s;0.200;;0 "
                                  "cert=0.001200s;;2.000;0\n");
}

static void test_nagios_fault(void **state)
{
    (void)state;
    check_fail(echo, REASON_ECHO_MISMATCH, "got \"a|b\nc\"");
    echo->name = "it's mine";
    echo->total_ns = 100;
    world_judge(&world, false, true);
    const char *text = nagios();
    assert_memory_equal(text, "WSHEALTHD CRITICAL - not ready: ", 32);
    const char *bar = strchr(text, '|');
    assert_non_null(strstr(text, "got \"a/b c\""));
    assert_non_null(strstr(bar, " 'it''s mine'=0.000000s;;2.000;0"));
    assert_null(strchr(bar + 1, '|'));
}

static void test_nagios_unknown(void **state)
{
    (void)state;
    for (size_t i = 0; i < world.view.check_count; i++)
        check_blank(&world.checks[i]);
    world_judge(&world, false, false);
    assert_memory_equal(nagios(), "WSHEALTHD UNKNOWN - starting: ", 30);
    assert_null(strchr(nagios(), '|'));
}

static void test_status_line(void **state)
{
    (void)state;
    char line[64];
    report_line(&world.view, line, sizeof line);
    assert_string_equal(line, "ready: handshake 1.20ms, echo 0.21ms, cert 1.20ms");
    report_line(&world.view, line, 8);
    assert_string_equal(line, "ready: ");
    break_echo();
    report_line(&world.view, line, sizeof line);
    assert_memory_equal(line, "not ready: The server answers", 29);
}

static void test_status_line_is_cut_between_characters(void **state)
{
    (void)state;
    char line[64];
    check_fail(handshake, REASON_UPGRADE_TIMEOUT, "ééééééééééééééééééééé");
    world_judge(&world, false, true);
    snprintf(world.view.diagnosis.sentence, sizeof world.view.diagnosis.sentence, "éééééééééééé");
    for (size_t size = 1; size < 36; size++) {
        report_line(&world.view, line, size);
        size_t len = strlen(line);
        assert_true(len < size);
        assert_true(len <= 11 || (len - 11) % 2 == 0); /* "not ready: " and whole characters */
    }
}

/* --- the terminal ------------------------------------------------------------------------------------------------------------------------ */

static const char *human(bool colour, unsigned width, bool one_shot)
{
    struct report_style style = { .colour = colour, .width = width, .one_shot = one_shot };
    buf_reset(&out);
    report_human(&world.view, &style, &out);
    return buf_str(&out);
}

static size_t widest(const char *text)
{
    size_t most = 0, at = 0;
    for (; *text; text++) {
        at = *text == '\n' ? 0 : at + (((unsigned char)*text & 0xc0) != 0x80);
        most = at > most ? at : most;
    }
    return most;
}

static void long_story(void)
{
    check_fail(
        echo, REASON_ECHO_MISMATCH,
        "no match within 2s, the last of 5 messages was {\"op\":\"error\",\"code\":\"unknown_operation\",\"detail\":\"ping\"} "
        "and before it came a greeting that nobody had asked for");
    echo->have_phase[PHASE_CONNECT] = echo->have_phase[PHASE_UPGRADE] = echo->have_phase[PHASE_OPEN] = true;
    echo->phase_ns[PHASE_CONNECT] = 50000;
    echo->phase_ns[PHASE_UPGRADE] = 400000000;
    echo->phase_ns[PHASE_OPEN] = 1600000000;
    echo->total_ns = 2000000000;
    world_judge(&world, false, true);
}

static void test_human_keeps_within_the_width(void **state)
{
    (void)state;
    long_story();
    assert_in_range(widest(human(false, 0, false)), 60, 100);
    assert_in_range(widest(human(false, 60, false)), 40, 60);
    assert_in_range(widest(human(false, 1, true)), 30, 40);
    assert_in_range(widest(human(false, 150, true)), 110, 150); /* sentences; what is drawn ends before */
    assert_in_range(widest(human(false, 1000, true)), 110, 200);
    for (const char *line = human(false, 200, true); line; line = strchr(line + 1, '\n'))
        if (strstr(line, "total ") && strstr(line, "total ") < line + strcspn(line + 1, "\n"))
            assert_in_range(strcspn(line + 1, "\n"), 90, 100 + 2); /* the mark is of three bytes */
}

/* Everything that a page can have, at every width: nothing is wider, nothing is lost. */
static void test_human_at_every_width(void **state)
{
    (void)state;
    struct check_view *bus = with_bus();
    long_story();
    check_fail(bus, REASON_BROKER_NOT_DELIVERING, "what was published did not come back within 1s");
    handshake->name = "a-name-that-is-much-too-long-for-any-terminal-that-is-narrow";
    world.view.service_id = "wss://a-host-of-a-long-name.example.com/and/a/long/path/behind/it";
    prom_observe(&books.legs[LEG_CONTROL], 0.001);
    prom_observe(&books.legs[LEG_WEBSOCKET], 0.004);
    books.heartbeats[DELIVERY_RECEIVED] = 1234567;
    books.heartbeats[DELIVERY_LOST] = 1234567;
    books.others = 1234567;
    books.sources = 7;
    memset(echo->health.history, '#', HEALTH_HISTORY);
    echo->health.history[HEALTH_HISTORY] = '\0';
    world_judge(&world, false, true);
    for (unsigned width = 40; width <= 200; width++)
        for (int ascii = 0; ascii < 2; ascii++)
            for (int one_shot = 0; one_shot < 2; one_shot++) {
                struct report_style style = { .width = width, .one_shot = one_shot, .ascii = ascii };
                buf_reset(&out);
                report_human(&world.view, &style, &out);
                const char *text = buf_str(&out);
                if (widest(text) > width)
                    fail_msg("%zu columns of %u:\n%s", widest(text), width, text);
                assert_non_null(strstr(text, "total 2.00s"));
                assert_non_null(strstr(text, "websocket"));
                assert_true(one_shot || strstr(text, "################################\n"));
            }
    world.view.service_id = NULL;
}

/* Marks, bars and arrows are ASCII; other bytes in texts of the server are \\xNN. */
static void test_human_in_ascii(void **state)
{
    (void)state;
    struct report_style style = { .width = 80, .one_shot = true, .ascii = true };
    long_story();
    echo->name = "gr\xc3\xbc\xc3\x9f"
                 "e";
    check_fail(echo, REASON_ECHO_MISMATCH, "got \"\xe2\x9c\x93 n\xc3\xb6…\"");
    world_judge(&world, false, true);
    buf_reset(&out);
    report_human(&world.view, &style, &out);
    const char *text = buf_str(&out);
    for (const char *at = text; *at; at++)
        assert_in_range((unsigned char)*at, '\n', '~');
    assert_non_null(strstr(text, "\n  + pass    handshake "));
    assert_non_null(strstr(text, "\n  - fail    gr\\xc3\\xbc\\xc3\\x9fe "));
    assert_non_null(strstr(text, "got \"\\xe2\\x9c\\x93 n\\xc3\\xb6...\""));
    assert_non_null(strstr(text, "\n  - not ready"));
    assert_non_null(strstr(text, "\n    > "));
    assert_non_null(strstr(text, "    connect   0.05ms  #\n"));
    assert_non_null(strstr(text, "s  ############\n")); /* a fifth of 58 columns, rounded */
    assert_true(widest(text) <= 80);
    style.one_shot = false;
    buf_reset(&out);
    report_human(&world.view, &style, &out);
    assert_non_null(strstr(buf_str(&out), "  - not ready  |  "));
}

/* Advice names the command as its reader has to type it. */
static void test_human_names_the_program(void **state)
{
    (void)state;
    struct report_style style = { .width = 60, .program = "/opt/bin/wshealthd" };
    world_judge(&world, true, true);
    assert_non_null(strstr(human(false, 60, false), "→ `wshealthd resume` puts it back"));
    buf_reset(&out);
    report_human(&world.view, &style, &out);
    assert_non_null(strstr(buf_str(&out), "→ `/opt/bin/wshealthd resume` puts it back"));
}

static void test_human_says_everything(void **state)
{
    (void)state;
    long_story();
    const char *text = human(false, 80, true);
    const char *const parts[] = {
        "handshake", "echo_mismatch", "connect", "upgrade", "open", "not ready", "answer_unexpected", "→ "
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_non_null(strstr(text, parts[i]));
    assert_null(strstr(text, "since"));
    assert_null(strstr(text, "##.."));
    text = human(false, 80, false);
    assert_non_null(strstr(text, "since 2026-11-26 10:00:00 UTC"));
    assert_non_null(strstr(text, "##.."));
}

static void test_human_colour_only_when_asked(void **state)
{
    (void)state;
    long_story();
    assert_null(strchr(human(false, 80, true), '\033'));
    char *bare = strdup(buf_str(&out)), *coloured, *to;
    assert_non_null(strchr(human(true, 80, true), '\033'));
    coloured = to = strdup(buf_str(&out));
    for (char *from = coloured; *from;) { /* without its escapes the coloured one is the same page */
        if (*from == '\033')
            from = strchr(from, 'm') + 1;
        else
            *to++ = *from++;
    }
    *to = '\0';
    assert_string_equal(bare, coloured);
    free(bare);
    free(coloured);
}

static const char *bar_of(const char *text, const char *phase, size_t *blanks, size_t *full)
{
    const char *line = strstr(text, phase);
    assert_non_null(line);
    line = strstr(line, "s  ") + 3;
    for (*blanks = 0; *line == ' '; line++)
        ++*blanks;
    for (*full = 0; strncmp(line, "█", 3) == 0; line += 3)
        ++*full;
    return line;
}

/* Bars begin where the phase before ends, and their length is their share of the round. */
static void test_waterfall(void **state)
{
    (void)state;
    size_t blanks, full;
    long_story();
    const char *text = strstr(human(false, 80, true), "echo_mismatch");
    text = strstr(buf_str(&out), "fail");
    size_t room = 80 - 4 - 9 - 7 - 2;
    bar_of(text, "connect  ", &blanks, &full);
    assert_true(blanks == 0 && full == 0); /* shorter than a column, and drawn all the same */
    assert_memory_equal(bar_of(text, "connect  ", &blanks, &full), "▏", 3);
    bar_of(text, "upgrade  ", &blanks, &full);
    assert_true(blanks == 0 && full == room / 5);
    bar_of(text, "open  ", &blanks, &full);
    assert_true(blanks == room / 5 && full + blanks >= room - 1 && full + blanks <= room);
}

/* A broker's line has its type and round-trip time, and no waterfall. */
static void test_human_of_a_broker(void **state)
{
    (void)state;
    struct check_view *bus = with_bus();
    const char *text = human(false, 60, true);
    assert_non_null(strstr(text, "\n\n  ✓ pass    bus                           redis   rtt 0.20ms\n\n"));
    check_fail(bus, REASON_BROKER_UNREACHABLE, "nothing listens on 192.0.2.7:6379");
    bus->have_rtt = false;
    world_judge(&world, false, true);
    text = human(false, 60, true);
    assert_non_null(strstr(text, "✗ fail    bus                                        redis\n"));
    assert_non_null(strstr(text, "    broker_unreachable  nothing listens on 192.0.2.7:6379\n"));
}

/* Both legs begin at the time of publishing; below are the counts of all heartbeats. */
static void test_human_of_a_delivery(void **state)
{
    (void)state;
    with_bus();
    assert_null(strstr(human(false, 60, false), "control"));
    prom_observe(&books.legs[LEG_CONTROL], 0.001);
    prom_observe(&books.legs[LEG_WEBSOCKET], 0.004);
    books.heartbeats[DELIVERY_RECEIVED] = 1;
    const char *text = human(false, 60, true);
    assert_non_null(strstr(text, "\n    control    1.00ms  █████████▎\n"
                                 "    websocket  4.00ms  █████████████████████████████████████\n"));
    assert_null(strstr(text, "heartbeats"));
    strcpy(world.checks[3].message, "delivered; but the agent's own subscription to the broker missed 1 of 1 heartbeats");
    assert_non_null(
        strstr(human(false, 60, true), "\n    delivered; but the agent's own subscription to the\n    broker missed 1"));
    prom_observe(&books.legs[LEG_WEBSOCKET], 0.012);
    books.heartbeats[DELIVERY_RECEIVED] = 2;
    books.heartbeats[DELIVERY_LOST] = 1;
    text = human(false, 60, false);
    assert_non_null(strstr(text, "    websocket  8.00ms"));
    assert_non_null(strstr(text, "    heartbeats: 2 received, 1 lost (times are means)\n"));
    assert_in_range(widest(text), 40, 60);
}

static void test_human_of_odd_rounds(void **state)
{
    (void)state;
    handshake->total_ns = 0; /* shorter than its phases */
    for (unsigned i = 0; i < PHASE_COUNT; i++) {
        echo->have_phase[i] = true; /* nothing took any time */
        tls->have_phase[i] = true;
        tls->phase_ns[i] = UINT64_C(3600000000000);
    }
    echo->total_ns = 0;
    assert_in_range(widest(human(false, 80, false)), 40, 80);
    world.view.service_id = NULL;
    world.view.check_count = 0;
    world_judge(&world, false, false);
    assert_non_null(strstr(human(false, 80, true), "unknown"));
}

/* --- broken texts -------------------------------------------------------------------------------------------------------------------------- */

static void test_no_format_trips_over_bad_bytes(void **state)
{
    (void)state;
    check_fail(echo, REASON_CLOSED_BY_SERVER, "text \xff\xfe\xc2 \"quoted\" %s %n \x01");
    world_judge(&world, false, true);
    json_decref(status_json(true));
    json_decref(health_json(true));
    (void)nagios();
    (void)human(true, 80, false);
    (void)plain(REPORT_READY, true, true);
}

static void test_ceilings_hold(void **state)
{
    (void)state;
    for (size_t max = 0; max < 2000; max += 37) {
        struct buf small = BUF_INIT(max);
        report_status_json(&world.view, true, &small);
        report_human(&world.view, &(struct report_style){ .colour = true, .width = 80 }, &small);
        report_plain(&world.view, REPORT_READY, true, true, &small);
        report_nagios(&world.view, &small);
        assert_true(small.len <= max);
        buf_fini(&small);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_ready),
        T(test_verbose),
        T(test_not_ready_names_the_causes),
        T(test_degraded),
        T(test_draining),
        T(test_starting),
        T(test_dead),
        T(test_between_states),
        T(test_lines_stay_lines),
        T(test_status_of_a_pass),
        T(test_status_of_a_failure),
        T(test_status_for_strangers),
        T(test_status_before_the_first_round),
        T(test_status_is_not_state),
        T(test_status_of_brokers),
        T(test_status_of_a_detached_server),
        T(test_health_json),
        T(test_health_json_of_brokers),
        T(test_health_json_knows_three_words),
        T(test_exit_codes),
        T(test_exit_code_unknown),
        T(test_nagios_ok),
        T(test_nagios_fault),
        T(test_nagios_unknown),
        T(test_status_line),
        T(test_status_line_is_cut_between_characters),
        T(test_human_keeps_within_the_width),
        T(test_human_at_every_width),
        T(test_human_in_ascii),
        T(test_human_names_the_program),
        T(test_human_says_everything),
        T(test_human_colour_only_when_asked),
        T(test_waterfall),
        T(test_human_of_a_broker),
        T(test_human_of_a_delivery),
        T(test_human_of_odd_rounds),
        T(test_no_format_trips_over_bad_bytes),
        T(test_ceilings_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
