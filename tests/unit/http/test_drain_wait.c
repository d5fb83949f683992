/* Requests that wait for clients to leave (agent/http/drain_wait.h): one request, asked again as time passes and the view changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/http/drain_wait.h"

static struct agent_view view;
static struct buf headers, body;
static struct httpd_reply reply;
static unsigned drains;

static void drain(void *user, bool on)
{
    (void)user;
    assert_true(on);
    drains++;
    view.verdict.draining = true;
    if (!view.drain.since_ms)
        view.drain.since_ms = clock_now_ms();
}

static const char *answer_of(const struct httpd_request *request, bool prestop)
{
    buf_fini(&headers);
    buf_fini(&body);
    buf_init(&headers, 1024);
    buf_init(&body, 1024);
    reply = (struct httpd_reply){ .status = 404, .headers = &headers, .body = &body };
    if (prestop)
        drain_answer_prestop(&view, drain, NULL, request, &reply);
    else
        drain_answer_state(&view, request, &reply);
    return buf_str(&body);
}

static const char *prestop(const char *query, uint64_t waited_ms, bool again)
{
    const struct httpd_request request = {
        .method = slice_str("GET"), .query = slice_str(query), .waited_ms = waited_ms, .again = again, .peer_local = true
    };
    return answer_of(&request, true);
}

static int setup(void **state)
{
    (void)state;
    memset(&view, 0, sizeof view);
    view.nonce = "ab";
    drains = 0;
    return 0;
}

static int forget(void **state)
{
    (void)state;
    buf_fini(&headers);
    buf_fini(&body);
    return 0;
}

static void count(uint64_t remaining)
{
    view.drain.counted = true;
    view.drain.remaining = remaining;
}

static void it_drains_once_and_waits_for_the_last_client(void **state)
{
    (void)state;
    prestop("", 0, false);
    assert_int_equal(drains, 1);
    assert_int_equal(reply.wait_ms, PRESTOP_TIMEOUT_MS);
    count(3);
    prestop("", 1000, true);
    assert_int_equal(reply.wait_ms, PRESTOP_TIMEOUT_MS - 1000);
    count(0);
    assert_string_equal(prestop("", 2000, true), "drained, client connections left: 0\n");
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.wait_ms, 0);
    assert_int_equal(drains, 1);
}

static void it_answers_when_the_time_is_over(void **state)
{
    (void)state;
    prestop("timeout=2s", 0, false);
    assert_int_equal(reply.wait_ms, 2000);
    count(3);
    assert_string_equal(prestop("timeout=2s", 2000, true), "time over, client connections left: 3\n");
    assert_int_equal(reply.status, 200);
    assert_string_equal(prestop("timeout=2s&until=3", 10, true), "drained, client connections left: 3\n");
}

/* Not seen is not gone. */
static void what_cannot_be_counted_is_waited_out(void **state)
{
    (void)state;
    prestop("timeout=2s", 0, false);
    prestop("timeout=2s", 1999, true);
    assert_int_equal(reply.wait_ms, 1);
    strcpy(view.drain.why, "the server is on another host");
    assert_string_equal(prestop("timeout=2s", 2000, true),
                        "time over, client connections could not be counted: the server is on another host\n");
    assert_int_equal(reply.status, 200);
}

static void a_least_time_holds_for_an_idle_server_too(void **state)
{
    (void)state;
    count(0);
    view.drain.since_ms = clock_now_ms();
    prestop("timeout=2s&min=500s", 0, false);
    assert_int_equal(reply.wait_ms, 2000);
    prestop("timeout=2000s&min=500s", 0, true);
    assert_in_range(reply.wait_ms, 400000, 500000);
    view.drain.since_ms -= 500000;
    assert_string_equal(prestop("timeout=2s&min=500s", 1, true), "drained, client connections left: 0\n");
}

static void a_resume_is_told(void **state)
{
    (void)state;
    prestop("", 0, false);
    view.verdict.draining = false;
    view.drain = (struct drain_view){ .since_ms = 0 };
    assert_string_equal(prestop("", 10, true), "resumed: the instance takes new clients again\n");
    assert_int_equal(reply.status, 409);
    assert_int_equal(drains, 1);
}

/* A hook that is refused ends its container at once, with all its clients. */
static void a_bad_parameter_has_its_default(void **state)
{
    static const char *const queries[] = {
        "timeout=20", "timeout=", "timeout=-1s", "timeout=x&min=1&until=-1", "until=all", "timeout=99999999999999999999s"
    };
    (void)state;
    for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
        prestop(queries[i], 0, false);
        assert_int_equal(reply.wait_ms, PRESTOP_TIMEOUT_MS);
    }
    assert_int_equal(drains, sizeof queries / sizeof *queries);
    prestop("timeout=1000d", 0, true);
    assert_int_equal(reply.wait_ms, DRAIN_WAIT_MAX_MS);
}

static void head_changes_nothing(void **state)
{
    const struct httpd_request request = { .method = slice_str("HEAD") };
    (void)state;
    answer_of(&request, true);
    assert_int_equal(reply.status, 200);
    assert_int_equal(drains, 0);
}

static const char *state_of(const char *query, uint64_t waited_ms)
{
    const struct httpd_request request = {
        .method = slice_str("GET"), .query = slice_str(query), .waited_ms = waited_ms, .again = waited_ms > 0
    };
    return answer_of(&request, false);
}

static void the_state_waits_for_a_change(void **state)
{
    (void)state;
    assert_string_equal(state_of("wait=1s&seen=unknown", 0), "state not draining\nremaining unknown\nagent ab\n");
    view.verdict.draining = true;
    state_of("wait=1s&seen=unknown", 0);
    assert_int_equal(reply.wait_ms, 1000);
    count(12);
    assert_string_equal(state_of("wait=1s&seen=unknown", 5), "state draining\nremaining 12\nagent ab\n");
    state_of("wait=1s&seen=12", 5);
    assert_int_equal(reply.wait_ms, 995);
    assert_string_equal(state_of("wait=1s&seen=12", 1000), "state draining\nremaining 12\nagent ab\n");
    assert_string_equal(state_of("", 0), "state draining\nremaining 12\nagent ab\n");
    view.drain.counted = false;
    strcpy(view.drain.why, "it is dark");
    assert_string_equal(state_of("wait=1s&seen=12", 5), "state draining\nremaining unknown\nwhy it is dark\nagent ab\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_drains_once_and_waits_for_the_last_client, setup),
        cmocka_unit_test_setup(it_answers_when_the_time_is_over, setup),
        cmocka_unit_test_setup(what_cannot_be_counted_is_waited_out, setup),
        cmocka_unit_test_setup(a_least_time_holds_for_an_idle_server_too, setup),
        cmocka_unit_test_setup(a_resume_is_told, setup),
        cmocka_unit_test_setup(a_bad_parameter_has_its_default, setup),
        cmocka_unit_test_setup(head_changes_nothing, setup),
        cmocka_unit_test_setup(the_state_waits_for_a_change, setup),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
