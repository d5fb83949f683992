/* One HTTP exchange against a scripted server on the same loop: what it asks, what it makes of every kind of answer and of none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/base/version.h"
#include "agent/client/fetch.h"
#include "agent/net/listen.h"

enum { PATIENCE_MS = 20000 };
enum ending { KEEP, CLOSE, RESET };

static struct loop loop;
static struct listener *listener;
static struct stream *peer; /* of the one connection that the server has */
static struct buf asked;
static const char *script; /* what the server answers; NULL: nothing */
static enum ending ending;

static struct {
    unsigned calls;
    struct fetch_result result;
    struct dial_report dial;
    int status;
    char body[256];
    int coding;
    struct err err;
} done;

/* --- the server ------------------------------------------------------------------------------------------------------------- */

static void end_peer(enum ending how)
{
    if (how == CLOSE)
        stream_close(peer, 500);
    else if (how == RESET)
        stream_abort(peer);
    if (how != KEEP)
        peer = NULL;
}

static void on_data(void *user, struct slice data)
{
    (void)user;
    buf_append_slice(&asked, data);
    if (slice_find(buf_slice(&asked), slice_str("\r\n\r\n")) < 0)
        return;
    if (script)
        stream_write(peer, slice_str(script));
    end_peer(ending);
}

static void on_end(void *user, const struct err *err)
{
    (void)user, (void)err;
    end_peer(CLOSE);
}

static const struct stream_events peer_events = { .on_data = on_data, .on_end = on_end };

static void on_accept(void *user, struct stream *stream)
{
    (void)user;
    if (peer) /* of a fetch that was cancelled after it had connected */
        stream_abort(peer);
    peer = stream;
    stream_start(stream, &peer_events, NULL);
}

static int setup(void **state)
{
    struct listen_address address = { .host = "127.0.0.1" };
    struct err err;
    (void)state;
    memset(&done, 0, sizeof done);
    buf_init(&asked, 1 << 16);
    script = NULL;
    ending = KEEP;
    peer = NULL;
    if (loop_init(&loop, &err) < 0)
        return -1;
    listener = listener_open(&loop, &address, &(struct listen_options){ .fd = -1 }, on_accept, NULL, &err);
    return listener ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    if (peer)
        stream_abort(peer);
    if (listener)
        listener_close(listener);
    loop_fini(&loop);
    buf_fini(&asked);
    return 0;
}

/* --- the client ---------------------------------------------------------------------------------------------------------------- */

static void on_done(void *user, const struct fetch_result *result)
{
    assert_ptr_equal(user, &done);
    done.calls++;
    done.result = *result;
    done.dial = *result->dial;
    done.status = result->head ? result->head->status : 0;
    if (result->head)
        snprintf(done.body, sizeof done.body, "%.*s", (int)result->body.len,
                 result->body.len ? (const char *)result->body.data : "");
    if (result->err)
        done.err = *result->err;
    else
        done.coding = fetch_validate_coding(result, &done.err);
    loop_stop(&loop);
}

static struct url *here(const char *userinfo, const char *target)
{
    static struct url url;
    struct err err;
    char text[256];
    snprintf(text, sizeof text, "http://%s127.0.0.1:%u%s", userinfo, listener_port(listener), target);
    assert_int_equal(url_parse(text, &url, &err), 0);
    return &url;
}

static struct fetch *start(struct fetch_request request)
{
    if (!request.url)
        request.url = here("", "/path?q=1");
    if (!request.timeout_ms)
        request.timeout_ms = PATIENCE_MS;
    struct fetch *fetch = fetch_start(&loop, &request, on_done, &done);
    assert_int_equal(done.calls, 0);
    return fetch;
}

static void fetch(struct fetch_request request)
{
    done.calls = 0;
    start(request);
    loop_run(&loop);
    assert_int_equal(done.calls, 1);
}

static void answered_with(const char *answer, enum ending then)
{
    script = answer;
    ending = then;
    fetch((struct fetch_request){ .max_body_bytes = 100 });
}

static void assert_failed(enum reason reason, enum phase phase, const char *sentence)
{
    assert_non_null(done.result.err);
    assert_string_equal(reason_name(done.err.reason), reason_name(reason));
    assert_int_equal(done.result.phase, phase);
    if (!strstr(done.err.text, sentence))
        fail_msg("\"%s\" does not hold \"%s\"", done.err.text, sentence);
}

#define assert_asked(text) assert_non_null(strstr(buf_str(&asked), (text)))
#define assert_not_asked(text) assert_null(strstr(buf_str(&asked), (text)))

/* --- what it asks -------------------------------------------------------------------------------------------------------------- */

static void a_get_is_plain(void **state)
{
    (void)state;
    char host[64];
    answered_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", KEEP);
    assert_null(done.result.err);
    assert_int_equal(done.status, 200);
    assert_string_equal(done.body, "hi");
    assert_int_equal(done.result.phase, PHASE_OPEN);
    assert_true(done.result.upgrade_ns > 0 && done.result.total_ns >= done.result.upgrade_ns);
    assert_true(done.dial.resolved && done.dial.connected);
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", listener_port(listener));
    assert_int_equal(strncmp(buf_str(&asked), "GET /path?q=1 HTTP/1.1\r\n", 24), 0);
    assert_asked(host);
    assert_asked("\r\nConnection: close\r\n");
    assert_not_asked("Content-Length");
    assert_not_asked("Authorization");
    assert_asked("\r\nUser-Agent: wshealthd/" WSHEALTHD_VERSION "\r\n");
    assert_asked("\r\nAccept-Encoding: identity\r\n");
    assert_int_equal(done.coding, 0);
}

/* Whoever wants all of a body does not wait for the end of one that is too long; who is content with its beginning gets that. */
static void a_body_that_is_too_long(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n0123456789";
    fetch((struct fetch_request){ .url = here("", "/"), .max_body_bytes = 9, .whole = true });
    assert_failed(REASON_HTTP_MALFORMED, PHASE_UPGRADE, "response body is longer than 9B");
    script = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    fetch((struct fetch_request){ .url = here("", "/"), .max_body_bytes = 10, .whole = true });
    assert_null(done.result.err);
    assert_string_equal(done.body, "0123456789");
    fetch((struct fetch_request){ .url = here("", "/"), .max_body_bytes = 9 });
    assert_null(done.result.err);
    assert_string_equal(done.body, "012345678");
}

static void a_coding_that_was_not_asked_for(void **state)
{
    (void)state;
    answered_with("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", KEEP);
    assert_int_equal(done.coding, -1);
    answered_with("HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\nContent-Length: 2\r\n\r\nhi", KEEP);
    assert_int_equal(done.coding, 0);
}

static void methods_headers_bodies_and_credentials_go_out(void **state)
{
    (void)state;
    script = "HTTP/1.1 204 No Content\r\n\r\n";
    fetch((struct fetch_request){
        .method = "POST", .headers = "X-A: b\r\n", .body = slice_str("data"), .url = here("me:pass@", "/") });
    assert_int_equal(done.status, 204);
    assert_int_equal(strncmp(buf_str(&asked), "POST / HTTP/1.1\r\n", 17), 0);
    assert_asked("\r\nX-A: b\r\n");
    assert_asked("\r\nContent-Length: 4\r\n");
    assert_asked("\r\n\r\ndata");
    assert_asked("\r\nAuthorization: Basic bWU6cGFzcw==\r\n");
}

static void what_the_caller_says_takes_the_place_of_the_url_and_the_program(void **state)
{
    (void)state;
    script = "HTTP/1.1 204 No Content\r\n\r\n";
    fetch((struct fetch_request){
        .host = "chat.example.com", .headers = "user-agent: me\r\nauthorization: Bearer x\r\n", .url = here("me:pass@", "/") });
    assert_asked("\r\nHost: chat.example.com\r\n");
    assert_not_asked("127.0.0.1");
    assert_asked("\r\nuser-agent: me\r\n");
    assert_not_asked("User-Agent");
    assert_not_asked("Basic");
}

static void a_post_without_body_says_so(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    fetch((struct fetch_request){ .method = "POST" });
    assert_asked("\r\nContent-Length: 0\r\n");
}

static void the_answer_to_a_head_has_no_body(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    fetch((struct fetch_request){ .method = "HEAD" });
    assert_null(done.result.err);
    assert_int_equal(done.status, 200);
}

/* --- what it makes of answers ---------------------------------------------------------------------------------------------------- */

static void bodies_may_end_with_the_connection(void **state)
{
    (void)state;
    answered_with("HTTP/1.0 503 Busy\r\n\r\nuntil the end", CLOSE);
    assert_null(done.result.err);
    assert_int_equal(done.status, 503);
    assert_string_equal(done.body, "until the end");
}

static void long_bodies_are_cut(void **state)
{
    (void)state;
    char text[400];
    int head = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n");
    memset(text + head, 'x', 300);
    text[head + 300] = 0;
    answered_with(text, KEEP);
    assert_null(done.result.err);
    assert_int_equal(strlen(done.body), 100);
}

static void closing_instead_of_answering_is_connection_reset(void **state)
{
    (void)state;
    answered_with(NULL, CLOSE);
    assert_failed(REASON_CONNECTION_RESET, PHASE_UPGRADE, "closed before a response");
    assert_null(done.result.head);
}

static void a_reset_instead_of_an_answer_is_connection_reset(void **state)
{
    (void)state;
    answered_with(NULL, RESET);
    assert_failed(REASON_CONNECTION_RESET, PHASE_UPGRADE, "reset");
}

static void half_a_head_is_connection_reset(void **state)
{
    (void)state;
    answered_with("HTTP/1.1 200 O", CLOSE);
    assert_failed(REASON_CONNECTION_RESET, PHASE_UPGRADE, "after 14 bytes of the response head");
}

static void other_protocols_are_http_malformed(void **state)
{
    (void)state;
    answered_with("220 mail.example ESMTP\r\n", KEEP);
    assert_failed(REASON_HTTP_MALFORMED, PHASE_UPGRADE, "does not start with HTTP/1.x but with \"220 mail.example ESMTP\"");
}

static void a_body_cut_short_is_http_malformed(void **state)
{
    (void)state;
    answered_with("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", CLOSE);
    assert_failed(REASON_HTTP_MALFORMED, PHASE_UPGRADE, "closed after 4 of 9 bytes");
    assert_int_equal(done.status, 200);
}

static void silence_is_upgrade_timeout(void **state)
{
    (void)state;
    fetch((struct fetch_request){ .timeout_ms = 50 });
    assert_failed(REASON_UPGRADE_TIMEOUT, PHASE_UPGRADE, "no response within 50ms");
}

static void a_body_that_never_ends_is_upgrade_timeout(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    fetch((struct fetch_request){ .timeout_ms = 50, .max_body_bytes = 100 });
    assert_failed(REASON_UPGRADE_TIMEOUT, PHASE_UPGRADE, "response body not complete within 50ms, 4 bytes came");
    assert_int_equal(done.status, 200);
}

static void endless_interim_responses_are_http_malformed(void **state)
{
    (void)state;
    static char many[1024];
    for (int i = 0; i < 20; i++)
        strcat(many, "HTTP/1.1 100 Continue\r\n\r\n");
    answered_with(many, KEEP);
    assert_failed(REASON_HTTP_MALFORMED, PHASE_UPGRADE, "interim responses");
}

static void nobody_there_is_connect_refused(void **state)
{
    (void)state;
    struct url *url = here("", "/");
    listener_close(listener);
    listener = NULL;
    fetch((struct fetch_request){ .url = url });
    assert_failed(REASON_CONNECT_REFUSED, PHASE_CONNECT, "127.0.0.1");
}

/* --- ending it from outside -------------------------------------------------------------------------------------------------------- */

static void a_cancelled_fetch_says_nothing(void **state)
{
    (void)state;
    fetch_cancel(start((struct fetch_request){ 0 }));
    struct fetch *later = start((struct fetch_request){ 0 });
    while (asked.len == 0)
        uv_run(&loop.uv, UV_RUN_ONCE);
    fetch_cancel(later);
    for (int i = 0; i < 10; i++)
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(done.calls, 0);
}

static void an_expired_fetch_is_done_at_once(void **state)
{
    (void)state;
    fetch_expire(start((struct fetch_request){ .timeout_ms = 3000 }));
    assert_int_equal(done.calls, 1);
    assert_non_null(done.result.err);
    assert_non_null(strstr(done.err.text, "within 3s"));
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_server(a_get_is_plain),
        with_server(a_body_that_is_too_long),
        with_server(a_coding_that_was_not_asked_for),
        with_server(methods_headers_bodies_and_credentials_go_out),
        with_server(what_the_caller_says_takes_the_place_of_the_url_and_the_program),
        with_server(a_post_without_body_says_so),
        with_server(the_answer_to_a_head_has_no_body),
        with_server(bodies_may_end_with_the_connection),
        with_server(long_bodies_are_cut),
        with_server(closing_instead_of_answering_is_connection_reset),
        with_server(a_reset_instead_of_an_answer_is_connection_reset),
        with_server(half_a_head_is_connection_reset),
        with_server(other_protocols_are_http_malformed),
        with_server(a_body_cut_short_is_http_malformed),
        with_server(silence_is_upgrade_timeout),
        with_server(a_body_that_never_ends_is_upgrade_timeout),
        with_server(endless_interim_responses_are_http_malformed),
        with_server(nobody_there_is_connect_refused),
        with_server(a_cancelled_fetch_says_nothing),
        with_server(an_expired_fetch_is_done_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
