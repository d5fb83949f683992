/* The figures of a server check (agent/report/report_server.c): as one line, in JSON, and as series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/buf.h"
#include "agent/report/metric.h"
#include "agent/report/report_impl.h"
#include "tests/unit/report/views.h"

static struct server_stats known(void)
{
    struct server_stats server = { .have_listener = true,
                                   .have_queue_limit = true,
                                   .have_connections = true,
                                   .have_churn = true,
                                   .have_resident = true,
                                   .have_fds = true,
                                   .have_max_fds = true,
                                   .have_cpu = true,
                                   .connections = { [SERVER_ESTABLISHED] = 1204 },
                                   .opens_per_s = 12,
                                   .closes_per_s = 11.2,
                                   .queue_limit = 511,
                                   .resident_bytes = 212000000,
                                   .fds = 1260,
                                   .max_fds = 65536,
                                   .cpu_percent = 34.2,
                                   .processes = 1,
                                   .pid = 7 };

    return server;
}

static void test_line(void **state)
{
    struct server_stats server = known(), nothing = { 0 };
    char line[512], tiny[12];

    (void)state;
    report_server_line(&server, line, sizeof line);
    assert_string_equal(line, "1,204 connections, +12/s -11/s, accept queue 0 of 511, 212 MB, fds 1,260 of 65,536, CPU 34 %");
    report_server_line(&nothing, line, sizeof line);
    assert_string_equal(line, "");
    server.have_queue_limit = server.have_churn = server.have_max_fds = false;
    server.connections[SERVER_ESTABLISHED] = 1;
    server.processes = 4;
    server.peer_count = server.series_count = 1;
    strcpy(server.peers[0].name, "bus");
    server.peers[0].state = SERVER_PEER_LOST;
    strcpy(server.series[0].name, "rate");
    server.series[0].known = server.series[0].rate = true;
    server.series[0].value = 12.5;
    report_server_line(&server, line, sizeof line);
    assert_string_equal(line, "1 connection, accept queue 0, 4 processes, 212 MB, fds 1,260, CPU 34 %, bus lost, rate 12.5/s");
    report_server_line(&server, tiny, sizeof tiny);
    assert_string_equal(tiny, "1 connectio");
}

static void test_json(void **state)
{
    struct server_stats server = known();
    struct buf out = BUF_INIT(65536);
    struct json_out json;

    (void)state;
    server.peer_count = 1;
    strcpy(server.peers[0].name, "bus");
    strcpy(server.peers[0].address, "10.0.0.9:6379");
    strcpy(server.remark, "of 10.0.0.9");
    for (int full = 0; full < 2; full++) {
        buf_reset(&out);
        json_out_begin(&json, &out);
        json_out_object(&json);
        report_server_json(&json, &server, full);
        json_out_object_end(&json);
        assert_int_equal(json_out_finish(&json), 0);
        assert_int_equal(!strstr(buf_str(&out), "10.0.0.9"), !full);
        assert_non_null(strstr(buf_str(&out), "\"connections\":{\"established\":1204,"));
        assert_non_null(strstr(buf_str(&out), "\"accept_queue_limit\":511"));
        assert_non_null(strstr(buf_str(&out), "\"max_connections\":null"));
        assert_non_null(strstr(buf_str(&out), "\"cpu_seconds\":null"));
    }
    buf_fini(&out);
}

static const char *scrape(const struct world *world, struct buf *out)
{
    buf_reset(out);
    assert_int_equal(metric_write(&world->view, false, out), 0);
    return buf_str(out);
}

/* NaN, and not 0, for what the kernel does not tell; no series of a check that is of another type. */
static void test_series(void **state)
{
    struct world world;
    struct server_stats server = { 0 };
    struct buf out = BUF_INIT(1 << 20);

    (void)state;
    world_init(&world);
    struct check_view *check = world_add(&world, "server", "server", "local", 0);
    assert_null(strstr(scrape(&world, &out), "wshealthd_server_connections{"));
    check->stats.server = &server;
    assert_non_null(strstr(scrape(&world, &out), "wshealthd_server_connections{check=\"server\",state=\"established\"} NaN\n"));
    assert_non_null(strstr(buf_str(&out), "wshealthd_server_connection_opens_total{check=\"server\"} 0\n"));
    assert_non_null(strstr(buf_str(&out), "wshealthd_server_open_fds{check=\"server\"} NaN\n"));
    server = known();
    assert_non_null(strstr(scrape(&world, &out), "wshealthd_server_connections{check=\"server\",state=\"established\"} 1204\n"));
    assert_non_null(strstr(buf_str(&out), "wshealthd_server_accept_queue_limit{check=\"server\"} 511\n"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_series),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
