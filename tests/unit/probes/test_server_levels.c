/* What the figures of a server mean (probes/server_levels.h), over hours of a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "probes/server_levels.h"

static struct server_levels levels;
static struct server_policy policy;
static struct server_sample sample;
static struct server_said said;

static int setup(void **state)
{
    (void)state;
    memset(&levels, 0, sizeof levels);
    memset(&policy, 0, sizeof policy);
    sample = (struct server_sample){ .at_ms = 1000000, .counted = true, .have_connections = true };
    return 0;
}

static enum result judge(void)
{
    server_levels_judge(&levels, &policy, &sample, &said);
    return said.result;
}

/* A round later. */
static enum result later(uint64_t ms, double connections)
{
    sample.at_ms += ms;
    sample.connections = connections;
    return judge();
}

#define assert_said(reason_, words)                                                         \
    do {                                                                                    \
        if (said.reason != (reason_) || !strstr(said.text, words))                          \
            fail_msg("%s \"%s\", want \"%s\"", reason_name(said.reason), said.text, words); \
    } while (0)

static void test_no_limit_no_fault(void **state)
{
    (void)state;
    assert_false(server_policy_has_limits(&policy));
    sample = (struct server_sample){ .at_ms = 1,
                                     .counted = true,
                                     .have_connections = true,
                                     .have_queue = true,
                                     .have_memory = true,
                                     .have_fds = true,
                                     .have_cpu = true,
                                     .connections = 1e6,
                                     .queue_percent = 100,
                                     .memory = 1e12,
                                     .fds_percent = 100,
                                     .cpu_seconds = { 0, 100 },
                                     .cpu_ms = 10000 };
    assert_int_equal(judge(), RESULT_PASS);
    assert_string_equal(said.text, "");
    assert_int_equal(later(5000, 0), RESULT_PASS);
}

static void test_two_edges(void **state)
{
    struct server_limit limit = { 100, 80 }, plain = { 100, 0 };
    bool over = false;

    (void)state;
    assert_false(server_limit_over(&limit, 99.9, &over));
    assert_true(server_limit_over(&limit, 100, &over));
    assert_true(server_limit_over(&limit, 81, &over));
    assert_false(server_limit_over(&limit, 80, &over));
    assert_false(server_limit_over(&limit, 99, &over));
    assert_true(server_limit_over(&plain, 100, &over));
    assert_true(server_limit_over(&plain, 91, &over));
    assert_false(server_limit_over(&plain, 90, &over));
}

struct simple {
    const char *words;
    enum reason reason;
    struct server_policy policy;
    struct server_sample over, under;
};

static void test_each_limit(void **state)
{
    static const struct simple cases[] = {
        { "the server holds 500 connections, max_connections is 500",
          REASON_SERVER_CONNECTIONS_HIGH,
          { .connections = { 500, 400 } },
          { .have_connections = true, .connections = 500 },
          { .have_connections = true, .connections = 400 } },
        { "the accept queue is 85% full",
          REASON_SERVER_BACKLOG_HIGH,
          { .backlog = { 80, 20 } },
          { .have_queue = true, .queue_percent = 85 },
          { .have_queue = true, .queue_percent = 10 } },
        { "90% of the descriptors",
          REASON_SERVER_FDS_HIGH,
          { .fds = { 90, 0 } },
          { .have_fds = true, .fds_percent = 90 },
          { .have_fds = true, .fds_percent = 20 } },
        { "uses 512.0MiB of memory, memory is 512MiB",
          REASON_SERVER_MEMORY_HIGH,
          { .memory = { 512 << 20, 0 } },
          { .have_memory = true, .memory = 512 << 20 },
          { .have_memory = true, .memory = 1 << 20 } },
        { "uses 128.0KiB of memory for each of 10 connections",
          REASON_SERVER_MEMORY_HIGH,
          { .memory_each = { 100 << 10, 0 } },
          { .have_memory = true, .memory = 1280 << 10, .have_connections = true, .connections = 10 },
          { .have_memory = true, .memory = 1280 << 10, .have_connections = true, .connections = 100 } },
        { "used 98% of a core over 10 s, cpu is 90%",
          REASON_SERVER_CPU_HIGH,
          { .cpu = { 90, 50 } },
          { .have_cpu = true, .cpu_seconds = { 5, 14.8 }, .cpu_ms = 10000 },
          { .have_cpu = true, .cpu_seconds = { 5, 6 }, .cpu_ms = 10000 } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setup(NULL);
        policy = cases[i].policy;
        assert_true(server_policy_has_limits(&policy));
        sample = cases[i].over;
        assert_int_equal(judge(), RESULT_FAIL);
        assert_said(cases[i].reason, cases[i].words);
        sample = (struct server_sample){ .at_ms = 1 }; /* not known: not held against it */
        assert_int_equal(judge(), RESULT_PASS);
        sample = cases[i].under;
        assert_int_equal(judge(), RESULT_PASS);
    }
}

/* memory_per_connection with a handful of connections would be the server's own size. */
static void test_few_connections_have_no_share(void **state)
{
    (void)state;
    policy.memory_each = (struct server_limit){ 1 << 10, 0 };
    sample.have_memory = true;
    sample.memory = 100 << 20;
    sample.connections = 3;
    assert_int_equal(judge(), RESULT_PASS);
}

static void test_several_at_once(void **state)
{
    (void)state;
    policy.connections.high = 10;
    policy.backlog.high = 80;
    sample.connections = 20;
    sample.have_queue = true;
    sample.queue_percent = 100;
    assert_int_equal(judge(), RESULT_FAIL);
    assert_said(REASON_SERVER_BACKLOG_HIGH, "; the server holds 20 connections");
}

static void test_mass_disconnect(void **state)
{
    (void)state;
    policy.drop = (struct server_swing){ 50, 10000, 0 };
    assert_int_equal(later(5000, 1000), RESULT_PASS);
    assert_int_equal(later(5000, 990), RESULT_PASS);
    sample.ended = 600;
    sample.by_server = 590;
    assert_int_equal(later(5000, 400), RESULT_FAIL);
    assert_said(REASON_SERVER_CONNECTIONS_DROPPED,
                "lost 600 of 1000 connections within 10s; the server's side ended 590 of them first");
    sample.ended = sample.by_server = 0;
    assert_int_equal(later(500, 400), RESULT_FAIL); /* the round that confirms it */
    assert_int_equal(later(20000, 400), RESULT_FAIL);
    assert_int_equal(later(10000, 400), RESULT_PASS); /* nobody new comes into an instance that is out */
    assert_int_equal(later(5000, 400), RESULT_PASS);
}

static void test_clients_that_come_back(void **state)
{
    (void)state;
    policy.drop = (struct server_swing){ 50, 10000, 20 };
    later(5000, 1000);
    assert_int_equal(later(5000, 100), RESULT_FAIL);
    assert_int_equal(later(2000, 700), RESULT_FAIL);
    assert_int_equal(later(2000, 800), RESULT_PASS);
}

static void test_no_mass_disconnect(void **state)
{
    (void)state;
    policy.drop = (struct server_swing){ 50, 10000, 0 };
    later(5000, 19); /* a few clients, who leave together */
    assert_int_equal(later(5000, 0), RESULT_PASS);
    for (double connections = 1000; connections > 100; connections *= 0.9) /* an evening */
        assert_int_equal(later(5000, connections), RESULT_PASS);
    later(5000, 1000);
    sample.quiet = true; /* drained */
    assert_int_equal(later(5000, 10), RESULT_PASS);
    sample.quiet = false;
    assert_int_equal(later(5000, 10), RESULT_PASS);
    later(5000, 1000);
    sample.restarted = true;
    assert_int_equal(later(5000, 0), RESULT_WARN);
    assert_said(REASON_SERVER_CONNECTIONS_DROPPED, "the server has restarted: of 1000 connections 0 were left");
}

/* The end of a process is often seen a round before the connections that it had are missed, or after that. */
static void test_a_drop_by_a_process_that_ended(void **state)
{
    (void)state;
    policy.drop = (struct server_swing){ 50, 10000, 0 };
    later(5000, 1000);
    sample.process_ended = true;
    sample.counted = false;
    assert_int_equal(later(1000, 1000), RESULT_PASS);
    sample.process_ended = false;
    sample.counted = true;
    assert_int_equal(later(1000, 300), RESULT_WARN);
    assert_said(REASON_SERVER_CONNECTIONS_DROPPED, "a process of the server's has ended: of 1000 connections 300 were left");
    setup(NULL);
    policy.drop = (struct server_swing){ 50, 10000, 0 };
    later(5000, 1000);
    sample.restarted = true;
    sample.counted = false;
    later(1000, 1000);
    sample.restarted = false;
    sample.counted = true;
    assert_int_equal(later(1000, 0), RESULT_WARN);
    assert_said(REASON_SERVER_CONNECTIONS_DROPPED, "the server has restarted: of 1000 connections 0 were left");
    assert_int_equal(later(300000, 1000), RESULT_PASS);
    assert_int_equal(later(5000, 300), RESULT_FAIL); /* long after it: nobody's restart */
}

static void test_growth(void **state)
{
    (void)state;
    policy.growth = (struct server_swing){ 100, 60000, 0 };
    for (int i = 0; i < 20; i++)
        assert_int_equal(later(5000, 500), RESULT_PASS);
    assert_int_equal(later(5000, 900), RESULT_PASS);
    assert_int_equal(later(5000, 1000), RESULT_FAIL);
    assert_said(REASON_SERVER_CONNECTIONS_HIGH, "connections grew from 500 to 1000 within 1m");
    assert_int_equal(later(5000, 800), RESULT_FAIL); /* 60 % */
    assert_int_equal(later(5000, 740), RESULT_PASS);
    setup(NULL);
    policy.growth = (struct server_swing){ 100, 60000, 0 };
    for (int i = 0; i < 30; i++) /* a new instance fills up */
        assert_int_equal(later(5000, i < 2 ? 0 : 400), RESULT_PASS);
    sample.restarted = true;
    later(5000, 60);
    sample.restarted = false;
    for (int i = 0; i < 10; i++)
        assert_int_equal(later(5000, 60 + 100 * i), RESULT_PASS);
}

/* So many come and go in a second. */
static enum result churn(double per_s, unsigned seconds)
{
    enum result result = RESULT_PASS;

    for (unsigned i = 0; i < seconds / 5; i++) {
        sample.opens += per_s * 5;
        sample.closes += per_s * 5;
        result = later(5000, 500);
    }
    return result;
}

static void test_churn_is_learned(void **state)
{
    (void)state;
    policy.churn = (struct server_limit){ 300, 0 };
    assert_int_equal(churn(20, 60), RESULT_PASS); /* nothing is learned yet */
    assert_int_equal(churn(4, 600), RESULT_PASS);
    assert_true(levels.normal > 3.5 && levels.normal < 7);
    assert_int_equal(churn(6, 120), RESULT_PASS);
    assert_int_equal(churn(40, 60), RESULT_FAIL);
    assert_said(REASON_SERVER_CHURN_HIGH, "connections come and go at 40.0 a second");
    assert_int_equal(churn(40, 7200), RESULT_FAIL); /* a fault is not learned */
    assert_int_equal(churn(4, 60), RESULT_PASS);
}

static void test_churn_of_nobody(void **state)
{
    (void)state;
    policy.churn = (struct server_limit){ 300, 0 };
    assert_int_equal(churn(0, 1200), RESULT_PASS);
    assert_int_equal(churn(0.5, 600), RESULT_PASS); /* infinitely more than usual, and nothing */
    policy.churn_normal = 10;
    assert_int_equal(churn(25, 60), RESULT_PASS);
    assert_int_equal(churn(35, 60), RESULT_FAIL);
    sample.quiet = true; /* a deploy was announced */
    assert_int_equal(churn(35, 60), RESULT_PASS);
    sample.quiet = false;
    assert_int_equal(churn(35, 50), RESULT_PASS);
    assert_int_equal(churn(35, 60), RESULT_FAIL);
    /* Only coming is no churn, nor only going. */
    setup(NULL);
    policy.churn = (struct server_limit){ 300, 0 };
    policy.churn_normal = 1;
    for (int i = 0; i < 20; i++) {
        sample.opens += 500;
        assert_int_equal(later(5000, 500 * i), RESULT_PASS);
    }
}

static void test_tracks(void **state)
{
    struct server_track track = { .count = 0 };

    (void)state;
    for (uint64_t at = 0; at < 100000; at += 100) {
        server_track_add(&track, at, (double)at, 10000);
        assert_true(track.count <= SERVER_TRACK_MAX);
        if (at > 11000)
            assert_true(at - track.points[0].at_ms >= 9000 && at - track.points[0].at_ms <= 11000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_limit_no_fault, setup),
        cmocka_unit_test_setup(test_two_edges, setup),
        cmocka_unit_test_setup(test_each_limit, setup),
        cmocka_unit_test_setup(test_few_connections_have_no_share, setup),
        cmocka_unit_test_setup(test_several_at_once, setup),
        cmocka_unit_test_setup(test_mass_disconnect, setup),
        cmocka_unit_test_setup(test_clients_that_come_back, setup),
        cmocka_unit_test_setup(test_no_mass_disconnect, setup),
        cmocka_unit_test_setup(test_a_drop_by_a_process_that_ended, setup),
        cmocka_unit_test_setup(test_growth, setup),
        cmocka_unit_test_setup(test_churn_is_learned, setup),
        cmocka_unit_test_setup(test_churn_of_nobody, setup),
        cmocka_unit_test_setup(test_tracks, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
