/*
 * The health listener: one hand-made view in each of its states, every path asked in the ways that Kubernetes, HAProxy, Envoy, Consul and
 * Prometheus ask; then the admin socket over a real unix socket.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/client/fetch.h"
#include "agent/http/admin.h"
#include "agent/http/serve.h"

static struct check_view handshake, echo;
static const struct check_view *checks[] = { &handshake, &echo };
static struct agent_view view;

/* --- views --------------------------------------------------------------------------------------------------------------- */

static void make_check(struct check_view *check, const char *name)
{
    memset(check, 0, sizeof *check);
    check->name = check->type = name;
    check->path = "local";
    check->summary = "A check.";
    check->gates = GATE_READY;
    check->judged = true;
    check->status = RESULT_PASS;
    check->health.state = STATE_PASS;
    check->health.passed_once = true;
    check->total_ns = 1200000;
}

static void make_view(void)
{
    make_check(&handshake, "handshake");
    make_check(&echo, "echo");
    memset(&view, 0, sizeof view);
    view.version = "0.0";
    view.service_id = "ws://127.0.0.1:1/secret-path";
    view.config_file = "";
    view.nonce = "1f2e";
    view.verdict = (struct verdict){ .ready = true, .live = true, .started = true, .status = RESULT_PASS };
    view.diagnosis.cause = "healthy";
    strcpy(view.diagnosis.plain, "everything is fine");
    view.checks = checks;
    view.check_count = 2;
}

static void make_not_ready(void)
{
    make_view();
    view.verdict.ready = false;
    view.verdict.status = RESULT_FAIL;
    echo.health.state = STATE_FAIL;
    echo.status = RESULT_FAIL;
    echo.reason = echo.last_fault = REASON_ECHO_MISMATCH;
    echo.phase = PHASE_OPEN;
    echo.scope = echo.last_fault_scope = SCOPE_LOCAL;
    strcpy(echo.message, "the peer said secret words");
    strcpy(echo.last_fault_message, echo.message);
}

static void make_degraded(void)
{
    make_not_ready();
    view.verdict.ready = view.verdict.degraded = true;
    view.verdict.status = RESULT_WARN;
}

static void make_draining(void)
{
    make_view();
    view.verdict.ready = false;
    view.verdict.draining = true;
    view.verdict.status = RESULT_FAIL;
}

static void make_starting(void)
{
    make_view();
    view.verdict.ready = view.verdict.started = false;
    view.verdict.status = RESULT_FAIL;
    echo.health.state = STATE_UNKNOWN;
    echo.health.passed_once = echo.judged = false;
}

/* --- asking ---------------------------------------------------------------------------------------------------------------- */

struct answer {
    int status;
    char type[96], headers[1024], *body;
};
static struct buf headers, body;

static struct answer ask_as(const char *method, const char *path, const char *query, const char *fields, int details, bool local)
{
    static const struct http_limits limits = { 4096, 0 };
    struct http_reader *reader = http_reader_new(HTTP_KIND_REQUEST, &limits);
    struct buf text = BUF_INIT(4096);
    struct err err;
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, fields);
    struct slice input = buf_slice(&text);
    assert_int_equal(http_reader_feed(reader, &input, &err), HTTP_HEAD);
    buf_init(&headers, 4096);
    buf_fini(&body);
    buf_init(&body, 1 << 20);
    struct httpd_request request = { .method = http_reader_head(reader)->method,
                                     .path = slice_str(path),
                                     .query = slice_str(query),
                                     .head = http_reader_head(reader),
                                     .peer_local = local };
    struct httpd_reply reply = { .status = 404, .content_type = "none", .headers = &headers, .body = &body };
    serve_answer(&view, details, &request, &reply);
    struct answer answer = { .status = reply.status, .body = (char *)(uintptr_t)buf_str(&body) };
    snprintf(answer.type, sizeof answer.type, "%s", reply.content_type);
    snprintf(answer.headers, sizeof answer.headers, "%s", buf_str(&headers));
    http_reader_free(reader);
    buf_fini(&headers);
    buf_fini(&text);
    return answer;
}

static struct answer ask(const char *path, const char *query)
{
    return ask_as("GET", path, query, "", DETAILS_AUTO, true);
}

static struct answer ask_accepting(const char *path, const char *accept)
{
    char fields[256];
    snprintf(fields, sizeof fields, "Accept: %s\r\n", accept);
    return ask_as("GET", path, "", fields, DETAILS_AUTO, true);
}

static void assert_first_line(struct answer answer, const char *line)
{
    size_t len = strlen(line);
    if (strncmp(answer.body, line, len) != 0 || answer.body[len] != '\n')
        fail_msg("\"%s\" does not begin with the line \"%s\"", answer.body, line);
}

#define assert_in(haystack, needle) assert_non_null(strstr((haystack), (needle)))
#define assert_not_in(haystack, needle) assert_null(strstr((haystack), (needle)))

/* --- the three questions ------------------------------------------------------------------------------------------------------ */

static void ready_says_the_verdict(void **state)
{
    (void)state;
    static const struct {
        void (*make)(void);
        int status;
        const char *line, *headers;
    } cases[] = {
        { make_view, 200, "ready", "" },
        { make_not_ready, 503, "not ready", "" },
        { make_degraded, 200, "degraded", "x-envoy-degraded: true\r\n" },
        { make_draining, 503, "draining", "x-envoy-immediate-health-check-fail: true\r\n" },
        { make_starting, 503, "starting", "" },
    };
    static const char *const paths[] = { "/ready", "/readyz" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t j = 0; j < 2; j++) {
            cases[i].make();
            struct answer answer = ask(paths[j], "");
            assert_int_equal(answer.status, cases[i].status);
            assert_string_equal(answer.headers, cases[i].headers);
            assert_string_equal(answer.type, "text/plain; charset=utf-8");
            assert_first_line(answer, cases[i].line);
        }
}

static void ready_names_its_causes(void **state)
{
    (void)state;
    make_not_ready();
    assert_in(ask("/ready", "").body, "echo_mismatch");
    assert_not_in(ask("/ready", "").body, "handshake");
    struct answer verbose = ask("/ready", "verbose");
    assert_in(verbose.body, "[+]handshake pass 1.20ms\n");
    assert_in(verbose.body, "[-]echo fail echo_mismatch");
}

static void live_and_startup_have_answers_of_their_own(void **state)
{
    (void)state;
    make_not_ready();
    assert_int_equal(ask("/live", "").status, 200);
    assert_int_equal(ask("/livez", "").status, 200);
    assert_first_line(ask("/live", ""), "live");
    assert_int_equal(ask("/startup", "").status, 200);
    assert_first_line(ask("/startupz", "verbose"), "started");
    make_starting();
    assert_int_equal(ask("/startup", "").status, 503);
    assert_int_equal(ask("/startupz", "").status, 503);
    assert_first_line(ask("/startup", ""), "starting");
    make_view();
    view.verdict.live = false;
    assert_int_equal(ask("/live", "").status, 503);
    assert_first_line(ask("/livez", ""), "dead");
}

static void balancers_get_the_status_they_ask_for(void **state)
{
    (void)state;
    make_draining();
    assert_int_equal(ask("/ready", "drain=404").status, 404);
    assert_first_line(ask("/ready", "drain=404"), "draining");
    assert_int_equal(ask("/ready", "drain=500").status, 503);
    assert_int_equal(ask("/ready", "warn=429").status, 503);
    assert_int_equal(ask("/ready", "unknown=1&drain=404").status, 404);
    make_degraded();
    assert_int_equal(ask("/ready", "warn=429").status, 429);
    assert_string_equal(ask("/ready", "warn=429").headers, "x-envoy-degraded: true\r\n");
    assert_int_equal(ask("/ready", "drain=404").status, 200);
    make_not_ready();
    assert_int_equal(ask("/ready", "warn=429&drain=404").status, 503);
    /* Full, and nothing else: no new clients, as while draining. */
    echo.reason = echo.last_fault = REASON_SERVER_CONNECTIONS_HIGH;
    assert_int_equal(ask("/ready", "drain=404").status, 404);
    assert_first_line(ask("/ready", "drain=404"), "not ready");
    assert_int_equal(ask("/ready", "").status, 503);
    handshake.health.state = STATE_FAIL;
    handshake.last_fault = REASON_BROKER_UNREACHABLE;
    handshake.last_fault_scope = SCOPE_SHARED;
    assert_int_equal(ask("/ready", "drain=404").status, 404);
    handshake.last_fault = REASON_CONNECT_REFUSED;
    handshake.last_fault_scope = SCOPE_LOCAL;
    assert_int_equal(ask("/ready", "drain=404").status, 503);
    make_view();
    assert_int_equal(ask("/ready", "warn=429&drain=404").status, 200);
}

/* --- formats --------------------------------------------------------------------------------------------------------------------- */

static void json_is_served_to_who_accepts_it(void **state)
{
    (void)state;
    static const char *const accepting[] = { "application/health+json", "text/html, Application/Health+JSON;q=0.5 , */*" };
    static const char *const other[] = { "*/*", "application/json", "application/health+jsonx",
                                         "text/plain;a=application/health+json" };
    make_not_ready();
    struct answer answer = ask("/ready", "format=json");
    assert_int_equal(answer.status, 503);
    assert_string_equal(answer.type, "application/health+json");
    assert_in(answer.body, "\"status\":\"fail\"");
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(ask_accepting("/ready", accepting[i]).type, "application/health+json");
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(ask_accepting("/ready", other[i]).type, "text/plain; charset=utf-8");
    assert_string_equal(ask("/ready", "format=text").type, "text/plain; charset=utf-8");
}

static void health_has_the_status_of_ready(void **state)
{
    (void)state;
    void (*const makes[])(void) = { make_view, make_not_ready, make_degraded, make_draining, make_starting };
    for (size_t i = 0; i < 5; i++) {
        makes[i]();
        struct answer health = ask("/health", "");
        assert_string_equal(health.type, "application/health+json");
        assert_int_equal(health.status, ask("/ready", "").status);
        assert_string_equal(ask("/health", "").headers, ask("/ready", "").headers);
    }
}

static void status_and_healthz_are_200_whatever_the_verdict(void **state)
{
    (void)state;
    make_not_ready();
    struct answer answer = ask("/status", "");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.type, "application/json");
    assert_in(answer.body, "\"ready\":false");
    answer = ask("/healthz", "");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "ok\n");
}

static void metrics_come_in_two_formats(void **state)
{
    (void)state;
    static const char openmetrics[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    make_view();
    struct answer answer = ask("/metrics", "");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.type, "text/plain; version=0.0.4; charset=utf-8");
    assert_in(answer.body, "wshealthd_ready 1\n");
    assert_not_in(answer.body, "# EOF");
    answer = ask_accepting("/metrics", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1");
    assert_string_equal(answer.type, openmetrics);
    assert_in(answer.body, "\n# EOF\n");
    assert_string_equal(ask_accepting("/metrics", "application/openmetrics-text").type, openmetrics);
    assert_string_equal(ask_accepting("/metrics", "application/openmetrics-text; version=0.0.1").type,
                        "text/plain; version=0.0.4; charset=utf-8");
}

/* --- who may see what, and how ------------------------------------------------------------------------------------------------ */

static void strangers_see_reasons_only(void **state)
{
    (void)state;
    static const char *const paths[] = { "/ready", "/health", "/status", "/live", "/startup" };
    make_not_ready();
    for (size_t i = 0; i < 5; i++) {
        assert_not_in(ask_as("GET", paths[i], "verbose", "", DETAILS_AUTO, false).body, "secret");
        assert_not_in(ask_as("GET", paths[i], "verbose", "", DETAILS_REASONS, true).body, "secret");
    }
    assert_in(ask_as("GET", "/ready", "", "", DETAILS_AUTO, true).body, "secret words");
    assert_in(ask_as("GET", "/ready", "", "", DETAILS_FULL, false).body, "secret words");
    assert_not_in(ask_as("GET", "/metrics", "", "", DETAILS_FULL, true).body, "secret");
}

static void people_get_a_page(void **state)
{
    (void)state;
    make_not_ready();
    struct answer answer = ask("/", "");
    assert_int_equal(answer.status, 200); /* the page is there, whatever it says */
    assert_string_equal(answer.type, "text/html; charset=utf-8");
    assert_in(answer.headers, "Content-Security-Policy: default-src 'none'; ");
    assert_in(answer.headers, "Referrer-Policy: no-referrer\r\n");
    assert_in(answer.body, "<h1>Not ready</h1>");
    assert_in(answer.body, "secret words");
    answer = ask_as("GET", "/", "", "", DETAILS_AUTO, false);
    assert_in(answer.body, "<h1>Not ready</h1>");
    assert_not_in(answer.body, "secret");
    assert_int_equal(ask_as("HEAD", "/", "", "", DETAILS_AUTO, true).status, 200);
    assert_int_equal(ask_as("POST", "/", "", "", DETAILS_AUTO, true).status, 405);
}

/* ?check= and ?since= choose; who may not see addresses gets the plain sentence. */
static void history_is_told_as_asked(void **state)
{
    (void)state;
    const struct history_change change = { 1795687200000, "not ready", true, "server_down", "192.0.2.7 refuses", "it refuses" };
    struct answer answer;
    make_view();
    assert_int_equal(ask("/history", "").status, 404); /* a view without one */
    struct history *history = history_new();
    view.history = history;
    history_note_change(history, &change);
    echo.last_ms = 1;
    history_note_round(history, &echo, clock_wall_ms());
    answer = ask("/history", "");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.type, "application/json");
    assert_in(answer.body, "192.0.2.7 refuses");
    assert_in(answer.body, "\"measure\":\"total\",\"hour\":{\"count\":1,");
    assert_in(answer.body, "\"name\":\"handshake\"");
    answer = ask_as("GET", "/history", "", "", DETAILS_REASONS, true);
    assert_not_in(answer.body, "192.0.2.7");
    assert_in(answer.body, "\"sentence\":\"it refuses\"");
    answer = ask("/history", "check=echo&since=10m");
    assert_not_in(answer.body, "\"name\":\"handshake\"");
    assert_int_equal(ask("/history", "since=ever").status, 400);
    answer = ask("/history", "check=nobody");
    assert_int_equal(answer.status, 404);
    assert_in(answer.body, "no check 'nobody'");
    history_free(history);
    view.history = NULL;
}

static void other_paths_are_404_and_other_methods_405(void **state)
{
    (void)state;
    static const char *const absent[] = {
        "//", "/events", "/prestop", "/ready/", "/READY", "/readyzz", "/ready%20", "/drain", "*"
    };
    static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW", "get" };
    make_view();
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_int_equal(ask(absent[i], "").status, 404);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct answer answer = ask_as(methods[i], "/ready", "", "", DETAILS_AUTO, true);
        assert_int_equal(answer.status, 405);
        assert_string_equal(answer.headers, "Allow: GET, HEAD\r\n");
    }
    assert_int_equal(ask_as("HEAD", "/ready", "", "", DETAILS_AUTO, true).status, 200);
}

/* --- the admin socket ----------------------------------------------------------------------------------------------------------- */

static struct loop loop;
static char socket_path[96];
static int drained;
static bool reload_works;
static struct buf fetched;
static int fetched_status;
static char fetched_type[64];

static const struct agent_view *source_view(void *user)
{
    (void)user;
    return &view;
}

static void source_drain(void *user, bool on)
{
    (void)user;
    drained = on;
}

static int source_reload(void *user, struct conf_errors *errors)
{
    (void)user;
    if (reload_works)
        return 0;
    buf_append_str(&errors->text, "f.yaml:1:1: first\nf.yaml:2:1: second\n");
    errors->count = 2;
    return -1;
}

static void on_fetched(void *user, const struct fetch_result *result)
{
    (void)user;
    assert_null(result->err);
    fetched_status = result->head->status;
    const struct slice *type = http_header_get(result->head, "Content-Type");
    snprintf(fetched_type, sizeof fetched_type, "%.*s", (int)type->len, (const char *)type->data);
    buf_reset(&fetched);
    buf_append_slice(&fetched, result->body);
    loop_stop(&loop);
}

static const char *admin_ask(const char *method, const char *target)
{
    struct url url;
    struct err err;
    char text[256];
    snprintf(text, sizeof text, "http+unix://%s:%s", socket_path, target);
    assert_int_equal(url_parse(text, &url, &err), 0);
    const struct fetch_request request = { .url = &url, .method = method, .max_body_bytes = 1 << 20, .timeout_ms = 20000 };
    fetch_start(&loop, &request, on_fetched, NULL);
    loop_run(&loop);
    return buf_str(&fetched);
}

static void the_admin_socket_changes_things(void **state)
{
    (void)state;
    struct listen_address address = { .is_unix = true };
    struct stat about;
    struct err err;
    make_not_ready();
    assert_int_equal(loop_init(&loop, &err), 0);
    buf_init(&fetched, 1 << 20);
    snprintf(socket_path, sizeof socket_path, "/tmp/wshealthd-test-%d.sock", (int)getpid());
    strcpy(address.unix_path, socket_path);
    struct admin_source source = { .view = source_view, .drain = source_drain, .reload = source_reload };
    struct httpd *admin = admin_open(&loop, &address, &source, &err);
    assert_non_null(admin);
    memset(&source, 0, sizeof source); /* it has been copied */
    assert_int_equal(stat(socket_path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0660);

    assert_in(admin_ask("GET", "/status"), "secret words");
    assert_int_equal(fetched_status, 200);
    assert_string_equal(fetched_type, "application/json");
    assert_in(admin_ask("GET", "/status?format=text&width=80"), "echo");
    assert_string_equal(fetched_type, "text/plain; charset=utf-8");
    assert_in(admin_ask("GET", "/ready?verbose"), "not ready\n");
    assert_int_equal(fetched_status, 503);

    drained = -1;
    assert_string_equal(admin_ask("POST", "/drain"), "draining\n");
    assert_int_equal(drained, 1);
    assert_string_equal(admin_ask("POST", "/resume"), "resumed\n");
    assert_int_equal(drained, 0);
    reload_works = true;
    assert_string_equal(admin_ask("POST", "/reload"), "reloaded\n");
    assert_int_equal(fetched_status, 200);
    reload_works = false;
    assert_string_equal(admin_ask("POST", "/reload"), "f.yaml:1:1: first\nf.yaml:2:1: second\n");
    assert_int_equal(fetched_status, 422);

    assert_string_equal(admin_ask("GET", "/drain"), "state not draining\nremaining unknown\nagent 1f2e\n");
    make_draining();
    view.nonce = "1f2e";
    view.drain = (struct drain_view){ .since_ms = 1, .counted = true, .remaining = 7 };
    assert_string_equal(admin_ask("GET", "/drain?wait=20s&seen=8"), "state draining\nremaining 7\nagent 1f2e\n");
    view.drain.counted = false;
    strcpy(view.drain.why, "no sight");
    assert_string_equal(admin_ask("GET", "/drain?wait=20ms&seen=unknown"),
                        "state draining\nremaining unknown\nwhy no sight\nagent 1f2e\n");
    admin_ask("PUT", "/drain");
    assert_int_equal(fetched_status, 405);
    admin_ask("GET", "/resume");
    assert_int_equal(fetched_status, 405);
    admin_ask("POST", "/status");
    assert_int_equal(fetched_status, 405);
    admin_ask("GET", "/metrics");
    assert_int_equal(fetched_status, 404);
    assert_int_equal(drained, 0);

    httpd_close(admin);
    loop_fini(&loop);
    buf_fini(&fetched);
    assert_int_equal(stat(socket_path, &about), -1);
}

static int forget(void **state)
{
    (void)state;
    buf_fini(&body);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_says_the_verdict),
        cmocka_unit_test(ready_names_its_causes),
        cmocka_unit_test(live_and_startup_have_answers_of_their_own),
        cmocka_unit_test(balancers_get_the_status_they_ask_for),
        cmocka_unit_test(json_is_served_to_who_accepts_it),
        cmocka_unit_test(health_has_the_status_of_ready),
        cmocka_unit_test(status_and_healthz_are_200_whatever_the_verdict),
        cmocka_unit_test(metrics_come_in_two_formats),
        cmocka_unit_test(strangers_see_reasons_only),
        cmocka_unit_test(people_get_a_page),
        cmocka_unit_test(history_is_told_as_asked),
        cmocka_unit_test(other_paths_are_404_and_other_methods_405),
        cmocka_unit_test(the_admin_socket_changes_things),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
