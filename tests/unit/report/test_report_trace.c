/* Traces and the kernel's view as they leave the agent: in each width, in ASCII, for strangers not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/base/clock.h"
#include "agent/report/report.h"
#include "tests/unit/report/views.h"

static struct world world;
static struct check_view *ping, *echo;
static struct trace well, bad;
static struct buf out;

static void record(struct trace *trace, const char *end)
{
    trace_begin(trace, clock_now_ns(), false);
    trace_note(trace, TRACE_NOTE, "connecting to 192.0.2.7:80");
    trace_note(trace, TRACE_SENT, "GET /w\xc3\xb6 HTTP/1.1");
    trace_note_by(trace, &(struct trace_by){ .mark = TRACE_SENT, .continues = true }, "X-Long: %0150d", 7);
    trace_note(trace, TRACE_RECEIVED,
               "text 5 B \"many words of the server, of which each is short, and all together are long enough\"");
    trace_note(trace, TRACE_NOTE, "%s", end);
    trace->wall_ms = 1700000000000;
}

static int set_up(void **state)
{
    (void)state;
    world_init(&world);
    ping = world_add(&world, "ping", "ping", "local", GATE_READY);
    echo = world_add(&world, "echo", "echo", "public", GATE_READY);
    record(&well, "pass");
    record(&bad, "fail echo_timeout: no echo within 2s");
    ping->passed = &well;
    ping->failed = &bad;
    echo->failed = &bad;
    ping->tcp = (struct trace_tcp){ .known = true, .rtt_ns = 32100000, .min_rtt_ns = 12100000, .retransmits = 3, .lost = 1 };
    buf_init(&out, 1 << 20);
    world_judge(&world, false, true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    trace_fini(&well);
    trace_fini(&bad);
    buf_fini(&out);
    return 0;
}

static const char *shown(const struct report_style *style)
{
    buf_reset(&out);
    report_trace(&world.view, style, &out);
    report_evidence(ping, style, &out);
    return buf_str(&out);
}

static void test_a_section_for_each(void **state)
{
    const char *text = shown(&(struct report_style){ .one_line = true });

    (void)state;
    assert_non_null(strstr(text, "\n  ping  2023-11-14 22:13:20 UTC\n"));
    assert_non_null(strstr(text, "\n  echo  2023-11-14 22:13:20 UTC\n"));
    assert_true(strstr(text, "\n  ping  passed 2023") < strstr(text, "\n  ping  failed 2023"));
    assert_non_null(strstr(text, " > GET /w\xc3\xb6 HTTP/1.1\n            > X-Long: 0000"));
    assert_null(strstr(text, "\033"));
}

static void test_every_width(void **state)
{
    (void)state;
    for (unsigned width = 40; width <= 200; width++) {
        const char *text = shown(&(struct report_style){ .width = width, .ascii = width % 2 });

        for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
            size_t len = strcspn(line, "\n"), columns = 0;

            for (size_t i = 0; i < len; i++) {
                columns += ((unsigned char)line[i] & 0xc0) != 0x80;
                assert_true(!(width % 2) || (unsigned char)line[i] < 0x80);
            }
            assert_true(columns <= width);
            assert_true(len == 0 || line[len - 1] != ' ');
        }
        assert_non_null(strstr(text, width % 2 ? "GET /w\\xc3\\xb6" : "GET /w\xc3\xb6"));
    }
}

static void test_colour_is_closed(void **state)
{
    const char *text = shown(&(struct report_style){ .colour = true, .one_line = true });

    (void)state;
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        size_t len = strcspn(line, "\n");
        int open = 0;

        for (size_t i = 0; i + 2 < len; i++)
            open += line[i] == '\033' ? (line[i + 2] == '0' ? -1 : 1) : 0;
        assert_int_equal(open, 0);
    }
}

static void test_none_is_kept(void **state)
{
    (void)state;
    buf_reset(&out);
    report_evidence(echo, &(struct report_style){ .one_line = true }, &out);
    assert_non_null(strstr(buf_str(&out), "  echo  no round passed since"));
}

static json_t *check_of(bool full, bool trace, const char *evidence, size_t at, json_t **root)
{
    buf_reset(&out);
    report_status_json_with(&world.view, &(struct report_extra){ .full = full, .trace = trace, .evidence = evidence }, &out);
    *root = json_loadb((const char *)out.data, out.len, 0, NULL);
    assert_non_null(*root);
    return json_array_get(json_object_get(*root, "checks"), at);
}

static void test_json(void **state)
{
    json_t *root, *check = check_of(true, false, "ping", 0, &root), *evidence = json_object_get(check, "evidence"), *tcp;

    (void)state;
    assert_int_equal(json_array_size(json_object_get(json_object_get(evidence, "failed"), "lines")), 5);
    assert_string_equal(json_string_value(json_object_get(json_object_get(evidence, "passed"), "at")), "2023-11-14T22:13:20.000Z");
    tcp = json_object_get(check, "tcp");
    assert_true(json_number_value(json_object_get(tcp, "min_rtt_ms")) == 12.1);
    assert_true(json_number_value(json_object_get(tcp, "rtt_ms")) == 32.1);
    assert_int_equal(json_integer_value(json_object_get(tcp, "retransmits")), 3);
    assert_null(json_object_get(json_array_get(json_object_get(root, "checks"), 1), "evidence"));
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(root, "checks"), 1), "tcp")));
    json_decref(root);
    check = check_of(true, true, NULL, 1, &root);
    assert_int_equal(json_array_size(json_object_get(check, "trace")), 5);
    assert_null(json_object_get(check, "evidence"));
    json_decref(root);
}

static void test_strangers_get_none(void **state)
{
    json_t *root, *check = check_of(false, true, "ping", 0, &root);

    (void)state;
    assert_null(json_object_get(check, "evidence"));
    assert_null(json_object_get(check, "trace"));
    assert_null(strstr(buf_str(&out), "192.0.2.7"));
    json_decref(root);
}

static const char *human(void)
{
    buf_reset(&out);
    report_human(&world.view, &(struct report_style){ .width = 80 }, &out);
    return buf_str(&out);
}

static void test_the_network_where_it_tells(void **state)
{
    (void)state;
    assert_non_null(strstr(human(), "    network   12.1ms  rtt, 3 retransmits, 1 lost\n"));
    ping->tcp = (struct trace_tcp){ .known = true, .rtt_ns = 20000000, .min_rtt_ns = 9000 };
    assert_null(strstr(human(), "network"));
    ping->tcp.retransmits = 1;
    assert_non_null(strstr(human(), "    network   0.01ms  rtt, 1 retransmit\n"));
    ping->tcp.known = false;
    assert_null(strstr(human(), "network"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_section_for_each, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_width, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_colour_is_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_none_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strangers_get_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_network_where_it_tells, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
