/* The metric families of the contract's section 8: named as promised, complete from the first scrape, in both formats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/conf/probe_type.h"
#include "agent/report/diagnose_rules.h"
#include "agent/report/metric.h"
#include "agent/report/metric_process.h"
#include "tests/unit/report/views.h"

static struct world world;
static struct delivery_stats delivery;
static struct buf out;

static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    check_blank(world_add(&world, "handshake", "handshake", "local", GATE_READY));
    check_blank(world_add(&world, "front", "hold", "public", 0));
    memset(&delivery, 0, sizeof delivery);
    check_blank(world_add_delivery(&world, "delivery", "bus", &delivery));
    check_blank(world_add_broker(&world, "bus", "redis"));
    buf_init(&out, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

static const char *scrape(bool openmetrics)
{
    buf_reset(&out);
    assert_int_equal(metric_write(&world.view, openmetrics, &out), 0);
    return buf_str(&out);
}

/* The line that begins with this series, from its value on. */
static const char *value_of(const char *text, const char *series)
{
    size_t len = strlen(series);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, len) == 0 && line[len] == ' ')
            return line + len + 1;
    }
    fail_msg("no series %s", series);
    return "";
}

static double number_of(const char *text, const char *series)
{
    return strtod(value_of(text, series), NULL);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)); at++)
        count++;
    return count;
}

static void test_families_of_the_contract(void **state)
{
    (void)state;
    static const char *const families[] = {
        "wshealthd_ready gauge",
        "wshealthd_live gauge",
        "wshealthd_started gauge",
        "wshealthd_degraded gauge",
        "wshealthd_draining gauge",
        "wshealthd_drain_remaining_connections gauge",
        "wshealthd_diagnosis gauge",
        "wshealthd_check_state gauge",
        "wshealthd_check_rounds_total counter",
        "wshealthd_check_failures_total counter",
        "wshealthd_check_duration_seconds histogram",
        "wshealthd_check_rtt_seconds histogram",
        "wshealthd_check_last_round_timestamp_seconds gauge",
        "wshealthd_check_interval_seconds gauge",
        "wshealthd_connection_closes_total counter",
        "wshealthd_held_connections gauge",
        "wshealthd_tls_cert_not_after_timestamp_seconds gauge",
        "wshealthd_delivery_seconds histogram",
        "wshealthd_delivery_heartbeats_total counter",
        "wshealthd_broker_state gauge",
        "wshealthd_broker_rtt_seconds histogram",
        "wshealthd_broker_messages_dropped_total counter",
        "wshealthd_server_connections gauge",
        "wshealthd_server_connection_opens_total counter",
        "wshealthd_server_connection_closes_total counter",
        "wshealthd_server_accept_queue gauge",
        "wshealthd_server_accept_queue_limit gauge",
        "wshealthd_server_resident_bytes gauge",
        "wshealthd_server_open_fds gauge",
        "wshealthd_server_max_fds gauge",
        "wshealthd_server_cpu_seconds_total counter",
        "wshealthd_server_peer gauge",
        "wshealthd_server_series gauge",
        "wshealthd_notifications_total counter",
        "wshealthd_fleet_members gauge",
        "wshealthd_fleet_linked gauge",
        "wshealthd_fleet_delivery_seconds gauge",
        "wshealthd_fleet_finding gauge",
        "wshealthd_fleet_ignored_total counter",
        "wshealthd_loop_lag_seconds histogram",
        "wshealthd_stalls_total counter",
        "wshealthd_build_info gauge",
        "process_cpu_seconds_total counter",
        "process_resident_memory_bytes gauge",
        "process_open_fds gauge",
        "process_max_fds gauge",
        "process_start_time_seconds gauge",
    };
    const char *text = scrape(false);
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        char line[128];
        snprintf(line, sizeof line, "# TYPE %s\n", families[i]);
        if (count_of(text, line) != 1)
            fail_msg("want once: %s", line);
    }
    assert_int_equal(count_of(text, "# TYPE "), sizeof families / sizeof families[0]);
    assert_int_equal(count_of(text, "# HELP "), sizeof families / sizeof families[0]);
}

/* Nothing has happened yet, and every series is there already. */
static void test_complete_from_the_first_scrape(void **state)
{
    (void)state;
    const char *text = scrape(false);
    char series[256];
    for (unsigned i = 0; i < RESULT_COUNT; i++) {
        snprintf(series, sizeof series, "wshealthd_check_rounds_total{check=\"front\",type=\"hold\",path=\"public\",result=\"%s\"}",
                 result_name((enum result)i));
        assert_true(number_of(text, series) == 0);
    }
    for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        const char *name = reason_name((enum reason)i);
        snprintf(series, sizeof series, "check=\"handshake\",type=\"handshake\",path=\"local\",reason=\"%s\"} 0\n", name);
        bool foreign = strncmp(name, "broker_", 7) == 0 || strncmp(name, "delivery_", 9) == 0 || strncmp(name, "server_", 7) == 0;
        assert_int_equal(count_of(text, series), !foreign);
    }
    for (unsigned i = 0; i < LEG_COUNT; i++) {
        snprintf(series, sizeof series, "wshealthd_delivery_seconds_count{check=\"delivery\",leg=\"%s\"}",
                 delivery_leg_name((enum delivery_leg)i));
        assert_true(number_of(text, series) == 0);
    }
    for (unsigned i = 0; i < DELIVERY_COUNT; i++) {
        snprintf(series, sizeof series, "wshealthd_delivery_heartbeats_total{check=\"delivery\",result=\"%s\"}",
                 delivery_result_name((enum delivery_result)i));
        assert_true(number_of(text, series) == 0);
    }
    assert_true(number_of(text, "wshealthd_broker_rtt_seconds_count{broker=\"bus\",type=\"redis\"}") == 0);
    static const char *const phases[] = { "resolve", "connect", "tls", "upgrade", "open", "total" };
    for (size_t i = 0; i < 6; i++) {
        snprintf(series, sizeof series,
                 "wshealthd_check_duration_seconds_count{check=\"handshake\",type=\"handshake\",path=\"local\",phase=\"%s\"}",
                 phases[i]);
        assert_true(number_of(text, series) == 0);
    }
    for (unsigned i = 0; i < CLOSE_LABEL_COUNT; i++) {
        snprintf(series, sizeof series, "wshealthd_connection_closes_total{check=\"front\",code=\"%s\"}",
                 close_label_name((enum close_label)i));
        assert_true(number_of(text, series) == 0);
    }
}

/* A check has series for the reasons that it can give: a broker's check its own, a delivery check those of both sides, other checks
 * none of a broker. */
static void test_reasons_by_type(void **state)
{
    (void)state;
    static const struct {
        const char *reason;
        bool handshake, delivery, bus;
    } rows[] = {
        { "connect_refused", true, true, false },       { "subscribe_timeout", true, true, false },
        { "subscribe_rejected", true, true, false },    { "slow", true, true, true },
        { "agent_stalled", true, true, true },          { "delivery_lost", false, true, false },
        { "delivery_slow", false, true, false },        { "broker_unreachable", false, true, true },
        { "broker_auth_failed", false, true, true },    { "broker_timeout", false, true, true },
        { "broker_read_only", false, true, true },      { "broker_blocked", false, true, true },
        { "broker_not_delivering", false, true, true }, { "server_gone", false, false, false },
    };
    const char *text = scrape(false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static const char *const checks[] = { "handshake\",type=\"handshake", "delivery\",type=\"delivery", "bus\",type=\"broker" };
        const bool wanted[] = { rows[i].handshake, rows[i].delivery, rows[i].bus };
        for (size_t j = 0; j < 3; j++) {
            char series[256];
            snprintf(series, sizeof series, "wshealthd_check_failures_total{check=\"%s\",path=\"local\",reason=\"%s\"} 0\n",
                     checks[j], rows[i].reason);
            if (count_of(text, series) != wanted[j])
                fail_msg("%s: want %d of it", series, wanted[j]);
        }
    }
}

/* What a type cannot measure or give is not listed; what it can is there from the first scrape. */
static void test_series_by_type(void **state)
{
    (void)state;
    static const enum reason silent[] = { REASON_SILENT_DROP, REASON_NONE };
    static const struct {
        struct series series;
        const char *there, *absent; /* blanks between; "P:" phases, "R:" reasons, others families */
    } rows[] = {
        { { true, false, false, SERIES_DIAL, NULL },
          "P:connect P:total R:connect_refused R:agent_stalled",
          "P:resolve P:tls P:upgrade P:open R:dns_failure R:tls_cert_expired R:upgrade_refused R:protocol_error R:echo_timeout "
          "R:slow rtt closes held cert" },
        { { true, true, true, SERIES_TALK, silent },
          "P:resolve P:connect P:tls P:upgrade P:open P:total R:dns_failure R:tls_cert_expired R:upgrade_refused R:protocol_error "
          "R:silent_drop R:rate_limited R:login_rejected rtt closes cert",
          "R:tls_cert_expiring R:echo_timeout R:http_status R:subscribe_timeout R:origin_rejected R:payload_limit held" },
        { { true, false, false, SERIES_REFUSALS | SERIES_FRAMES | SERIES_RTT | SERIES_HELD, silent },
          "P:total R:upgrade_refused R:closed_abnormal rtt closes held",
          "P:connect P:open R:tls_cert_expired R:echo_mismatch cert" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world.checks[0].series = rows[i].series;
        const char *text = scrape(false);
        for (int wanted = 0; wanted < 2; wanted++) {
            char words[512], series[256];
            snprintf(words, sizeof words, "%s", wanted ? rows[i].there : rows[i].absent);
            for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
                if (word[1] == ':')
                    snprintf(series, sizeof series, "{check=\"handshake\",type=\"handshake\",path=\"local\",%s=\"%s\"} 0\n",
                             *word == 'P' ? "phase" : "reason", word + 2);
                else
                    snprintf(series, sizeof series, "%s{check=\"handshake\"%s",
                             strcmp(word, "rtt") == 0      ? "wshealthd_check_rtt_seconds_count"
                             : strcmp(word, "closes") == 0 ? "wshealthd_connection_closes_total"
                             : strcmp(word, "held") == 0   ? "wshealthd_held_connections"
                                                           : "wshealthd_tls_cert_not_after_timestamp_seconds",
                             strcmp(word, "closes") == 0 ? ",code=\"1006\"" : "");
                size_t count = count_of(text, series);
                if (*word == 'P')
                    count /= 2; /* _sum and _count */
                if (count != (size_t)wanted)
                    fail_msg("row %zu: %s comes %zu times, want %d", i, word, count, wanted);
            }
        }
    }
}

/* Checks of other types have no series of brokers and deliveries. */
static void test_brokers_and_deliveries_only(void **state)
{
    (void)state;
    const char *text = scrape(false);
    assert_int_equal(count_of(text, "wshealthd_broker_state{"), 1);
    assert_int_equal(count_of(text, "wshealthd_broker_rtt_seconds_count{"), 1);
    assert_int_equal(count_of(text, "wshealthd_delivery_seconds_count{"), LEG_COUNT);
    assert_int_equal(count_of(text, "wshealthd_delivery_heartbeats_total{"), DELIVERY_COUNT);
}

/* The number of lines does not depend on what happens later. */
static void test_no_series_appears_later(void **state)
{
    (void)state;
    size_t before = count_of(scrape(false), "\n");
    struct check_view *check = &world.checks[1];
    for (unsigned i = 0; i < RESULT_COUNT; i++)
        check->stats.rounds[i] = 5;
    check->stats.failures[REASON_SILENT_DROP] = 3;
    check->stats.closes[CLOSE_1006] = 2;
    check->stats.held = 2;
    prom_observe(&check->stats.rtt, 0.0002);
    prom_observe(&check->stats.phase[PHASE_TLS], 0.02);
    prom_observe(&delivery.legs[LEG_WEBSOCKET], 0.003);
    delivery.heartbeats[DELIVERY_RECEIVED] = 4;
    world.checks[2].stats.failures[REASON_DELIVERY_LOST] = 1;
    world.checks[3].stats.failures[REASON_BROKER_TIMEOUT] = 1;
    assert_int_equal(count_of(scrape(false), "\n"), before);
}

/* --- hundreds of checks ------------------------------------------------------------------------------------------------- */

enum { MANY = 200, MANY_BYTES = 1000000 };

/* A check over wss:// whose rounds have measured all that it can, with sums of many digits. */
static void fill_one_of_many(struct check_view *check, const char *name, const char *type, unsigned parts)
{
    static const enum reason own[] = { REASON_SILENT_DROP, REASON_ECHO_TIMEOUT, REASON_ECHO_MISMATCH, REASON_NONE };
    memset(check, 0, sizeof *check);
    check->name = name;
    check_set_type(check, type);
    check->path = "local";
    check->summary = "";
    check->series = (struct series){ true, true, true, parts, own };
    check->stats.rounds[RESULT_PASS] = 1234567;
    check->stats.last_round_ms = WORLD_MS + 123;
    check->stats.cert_not_after_ms = WORLD_MS;
    for (unsigned i = 0; i < PHASE_COUNT; i++)
        for (unsigned j = 0; j < 99; j++)
            prom_observe(&check->stats.phase[i], 0.00123456789 * (j + 1));
    prom_observe(&check->stats.rtt, 0.000123456789);
}

static const char *scrape_many(struct check_view *checks, size_t count, const char *type, unsigned parts)
{
    static char names[MANY][32];
    static const struct check_view *list[MANY];
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%s-%zu", type, i);
        fill_one_of_many(&checks[i], names[i], type, parts);
        list[i] = &checks[i];
    }
    world.view.checks = list;
    world.view.check_count = count;
    buf_fini(&out);
    buf_init(&out, 16 << 20);
    return scrape(false);
}

static void test_hundreds_of_checks_stay_small(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        unsigned parts;
    } rows[] = {
        { "tcp", SERIES_DIAL },
        { "http", SERIES_DIAL | SERIES_UPGRADE },
        { "ping", SERIES_TALK },
        { "hold", SERIES_REFUSALS | SERIES_FRAMES | SERIES_RTT | SERIES_HELD },
        { "subscribe", SERIES_OPEN | SERIES_REFUSALS | SERIES_FRAMES | SERIES_RTT },
    };
    struct check_view *checks = calloc(MANY, sizeof *checks);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scrape_many(checks, MANY, rows[i].type, rows[i].parts);
        if (out.len > MANY_BYTES)
            fail_msg("%d checks of type %s: %zu bytes, want at most %d", MANY, rows[i].type, out.len, MANY_BYTES);
        /* Up to the limit all series are listed, and the page is no larger either. */
        scrape_many(checks, METRIC_WHOLE_CHECKS, rows[i].type, rows[i].parts);
        if (out.len > MANY_BYTES)
            fail_msg("%d checks of type %s: %zu bytes, want at most %d", METRIC_WHOLE_CHECKS, rows[i].type, out.len, MANY_BYTES);
    }
    free(checks);
}

/* Series that have counted stay; those that alerts use are there from the first scrape; the others wait for their first count. */
static void test_hundreds_of_checks_list_what_came(void **state)
{
    (void)state;
    struct check_view *checks = calloc(MANY, sizeof *checks);
    const char *text = scrape_many(checks, METRIC_WHOLE_CHECKS, "ping", SERIES_TALK);
    assert_int_equal(count_of(text, "reason=\"silent_drop\"} 0\n"), METRIC_WHOLE_CHECKS);
    assert_int_equal(count_of(text, "code=\"1012\"} 0\n"), METRIC_WHOLE_CHECKS);

    text = scrape_many(checks, METRIC_WHOLE_CHECKS + 1, "ping", SERIES_TALK);
    assert_int_equal(count_of(text, "reason=\"silent_drop\""), 0);
    assert_int_equal(count_of(text, "code=\"1012\""), 0);
    assert_int_equal(count_of(text, "reason=\"connect_refused\"} 0\n"), METRIC_WHOLE_CHECKS + 1);
    assert_int_equal(count_of(text, "code=\"1006\"} 0\n"), METRIC_WHOLE_CHECKS + 1);
    for (unsigned i = 0; i < RESULT_COUNT; i++) {
        char series[128];
        snprintf(series, sizeof series, "type=\"ping\",path=\"local\",result=\"%s\"} ", result_name((enum result)i));
        assert_int_equal(count_of(text, series), METRIC_WHOLE_CHECKS + 1);
    }
    checks[7].stats.failures[REASON_SILENT_DROP] = 3;
    checks[9].stats.closes[CLOSE_1012] = 4;
    text = scrape(false);
    assert_int_equal(count_of(text, "reason=\"silent_drop\""), 1);
    assert_true(
        number_of(text, "wshealthd_check_failures_total{check=\"ping-7\",type=\"ping\",path=\"local\",reason=\"silent_drop\"}") ==
        3);
    assert_true(number_of(text, "wshealthd_connection_closes_total{check=\"ping-9\",code=\"1012\"}") == 4);
    free(checks);
}

static void test_values(void **state)
{
    (void)state;
    struct check_view *check = &world.checks[1];
    world.view.verdict.ready = true;
    world.view.stalls = 4;
    check->health.state = STATE_WARN;
    check->stats.failures[REASON_SILENT_DROP] = 3;
    check->stats.closes[CLOSE_1006] = 2;
    check->stats.held = 7;
    check->interval_ms = 2500;
    check->stats.last_round_ms = WORLD_MS + 500;
    check->stats.cert_not_after_ms = WORLD_MS;
    prom_observe(&check->stats.phase[PHASE_NONE], 0.25);
    prom_observe(&delivery.legs[LEG_WEBSOCKET], 0.125);
    delivery.heartbeats[DELIVERY_LOST] = 3;
    check_fail(&world.checks[3], REASON_BROKER_UNREACHABLE, "");
    prom_observe(&world.checks[3].stats.rtt, 0.5);
    world.checks[3].stats.dropped = 6;
    const char *text = scrape(false);
    assert_true(number_of(text, "wshealthd_ready") == 1);
    assert_true(number_of(text, "wshealthd_draining") == 0);
    assert_true(number_of(text, "wshealthd_drain_remaining_connections") == 0);
    assert_true(number_of(text, "wshealthd_stalls_total") == 4);
    assert_true(number_of(text, "wshealthd_check_state{check=\"front\",type=\"hold\",path=\"public\"}") == 0.5);
    assert_true(number_of(text, "wshealthd_connection_closes_total{check=\"front\",code=\"1006\"}") == 2);
    assert_true(number_of(text, "wshealthd_check_interval_seconds{check=\"front\",type=\"hold\",path=\"public\"}") == 2.5);
    assert_true(number_of(text, "wshealthd_held_connections{check=\"front\"}") == 7);
    assert_true(number_of(text, "wshealthd_tls_cert_not_after_timestamp_seconds{check=\"front\"}") == 1795687200);
    assert_true(number_of(text, "wshealthd_check_last_round_timestamp_seconds{check=\"front\",type=\"hold\",path=\"public\"}") ==
                1795687200.5);
    assert_true(
        number_of(text, "wshealthd_check_duration_seconds_sum{check=\"front\",type=\"hold\",path=\"public\",phase=\"total\"}") ==
        0.25);
    assert_true(number_of(text, "wshealthd_delivery_seconds_sum{check=\"delivery\",leg=\"websocket\"}") == 0.125);
    assert_true(number_of(text, "wshealthd_delivery_heartbeats_total{check=\"delivery\",result=\"lost\"}") == 3);
    assert_true(number_of(text, "wshealthd_broker_state{broker=\"bus\",type=\"redis\"}") == 0);
    assert_true(number_of(text, "wshealthd_broker_rtt_seconds_sum{broker=\"bus\",type=\"redis\"}") == 0.5);
    assert_true(number_of(text, "wshealthd_broker_messages_dropped_total{broker=\"bus\",type=\"redis\"}") == 6);
    assert_true(number_of(text, "wshealthd_build_info{version=\"9.8.7\",region=\"north\"}") == 1);
    assert_true(number_of(text, "process_start_time_seconds") == 1795687200);
}

/* NaN and not 0: an alert would take 0 for a failure, for 1970, or for an expired certificate. */
static void test_unknown_is_not_a_number(void **state)
{
    (void)state;
    const char *text = scrape(false);
    assert_memory_equal(value_of(text, "wshealthd_check_state{check=\"front\",type=\"hold\",path=\"public\"}"), "NaN\n", 4);
    assert_memory_equal(value_of(text, "wshealthd_broker_state{broker=\"bus\",type=\"redis\"}"), "NaN\n", 4);
    assert_memory_equal(value_of(text, "wshealthd_tls_cert_not_after_timestamp_seconds{check=\"front\"}"), "NaN\n", 4);
    assert_memory_equal(
        value_of(text, "wshealthd_check_last_round_timestamp_seconds{check=\"front\",type=\"hold\",path=\"public\"}"), "NaN\n", 4);
}

/* One series for each cause, of which one is 1. */
static void test_the_present_cause(void **state)
{
    (void)state;
    world_judge(&world, false, false);
    const char *text = scrape(false);
    assert_true(number_of(text, "wshealthd_diagnosis{cause=\"starting\"}") == 1);
    assert_true(number_of(text, "wshealthd_diagnosis{cause=\"server_down\"}") == 0);
    assert_int_equal(count_of(text, "\nwshealthd_diagnosis{"), CAUSE_COUNT);
    check_fail(&world.checks[0], REASON_CONNECT_REFUSED, "refused");
    world_judge(&world, false, false);
    text = scrape(false);
    assert_true(number_of(text, "wshealthd_diagnosis{cause=\"starting\"}") == 0);
    assert_true(number_of(text, "wshealthd_diagnosis{cause=\"server_down\"}") == 1);
}

static void test_openmetrics(void **state)
{
    (void)state;
    const char *text = scrape(true);
    assert_int_equal(count_of(text, "# TYPE wshealthd_check_rounds counter\n"), 1);
    assert_int_equal(count_of(text, "# TYPE wshealthd_build info\n"), 1);
    assert_string_equal(text + out.len - 6, "# EOF\n");
    assert_true(number_of(text, "wshealthd_build_info{version=\"9.8.7\",region=\"north\"}") == 1);
    assert_int_equal(count_of(scrape(false), "# EOF"), 0);
}

static void test_ceiling(void **state)
{
    (void)state;
    struct buf small = BUF_INIT(1000);
    assert_int_equal(metric_write(&world.view, false, &small), -1);
    assert_true(small.len <= 1000);
    buf_fini(&small);
    (void)scrape(true);
    assert_true(out.len < 24 * 1024 * (world.view.check_count + 1)); /* as the header promises */
}

static void test_process(void **state)
{
    (void)state;
    struct process_stats before, after;
    process_read(&before);
    assert_true(before.resident_bytes > 100000 && before.resident_bytes < 1e12);
    assert_true(before.cpu_seconds >= 0 && before.cpu_seconds < 1e6);
    assert_true(before.open_fds >= 3 && before.max_fds >= before.open_fds);
    int fd = dup(0);
    process_read(&after);
    close(fd);
    assert_true(after.open_fds == before.open_fds + 1);
}

static void test_table_of_the_manual(void **state)
{
    (void)state;
    metric_write_roff(&out);
    const char *text = buf_str(&out);
    assert_int_equal(count_of(text, ".TP\n"), 47);
    assert_int_equal(count_of(text, "wshealthd_check_failures_total"), 1);
    assert_int_equal(count_of(text, "wshealthd_build_info"), 1);
    assert_int_equal(count_of(text, "check,type,path,reason"), 1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_families_of_the_contract),
        T(test_complete_from_the_first_scrape),
        T(test_reasons_by_type),
        T(test_series_by_type),
        T(test_brokers_and_deliveries_only),
        T(test_no_series_appears_later),
        T(test_hundreds_of_checks_stay_small),
        T(test_hundreds_of_checks_list_what_came),
        T(test_values),
        T(test_unknown_is_not_a_number),
        T(test_the_present_cause),
        T(test_openmetrics),
        T(test_ceiling),
        T(test_process),
        T(test_table_of_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
