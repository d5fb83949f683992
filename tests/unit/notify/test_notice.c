/* A notice as a title, a text, JSON and the holes of a template; and the rules by which an answer is a yes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/notify/receiver.h"
#include "agent/proto/match.h"
#include "tests/unit/notify/notices.h"

static void titles(const struct notice *notice, const char *want)
{
    char title[NOTICE_TITLE_MAX];

    notice_title(notice, title);
    assert_string_equal(title, want);
}

static void test_titles(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);

    (void)state;
    titles(&notice, "chat-1: not ready (server_detached_from_broker)");
    notice = notices_make(NOTICE_CHANGE);
    titles(&notice, "chat-1: not ready, was degraded (server_detached_from_broker)");
    notice.was = notice.word;
    titles(&notice, "chat-1: still not ready, now server_detached_from_broker");
    notice.changes = 14;
    titles(&notice, "chat-1: still not ready, changed 14 times (server_detached_from_broker)");
    notice = notices_make(NOTICE_REPEAT);
    titles(&notice, "chat-1: still not ready for 12m5s (server_detached_from_broker)");
    notice = notices_make(NOTICE_END);
    titles(&notice, "chat-1: ready again after 12m5s");
    notice.word = "degraded";
    titles(&notice, "chat-1: degraded, no longer not ready, after 12m5s");
    notice.word = "ready";
    notice.untold = true;
    titles(&notice, "chat-1: ready, was not ready from 10:00:00 to 10:12:05 UTC (server_detached_from_broker)");
    notice = notices_make(NOTICE_TEST);
    titles(&notice, "chat-1: a test of the notifier, nothing has happened");
}

static void test_text(void **state)
{
    struct notice notice = notices_make(NOTICE_CHANGE);
    struct buf text = BUF_INIT(8192);

    (void)state;
    notice.changes = 3;
    notice.left_out = 2;
    notice_text(&notice, &text);
    assert_string_equal(buf_str(&text),
                        "chat-1: not ready, was degraded, changed 3 times (server_detached_from_broker)\n"
                        "The server has lost its subscription: messages published on bus do not reach its clients (delivery: no "
                        "heartbeat within 500ms).\n"
                        "- Restart the server, so that it subscribes again\n"
                        "- See `wshealthd status`\n"
                        "Checks: delivery, bus\n"
                        "The state changed 3 times since the last message.\n"
                        "2 messages were left out before this one.\n"
                        "Server: ws://127.0.0.1:8080/ws\n"
                        "https://status.example.com/chat-1?a=1&b=2\n");
    buf_fini(&text);
}

static void is_json(const struct buf *text, const char *pointer, const char *value)
{
    struct buf found = BUF_INIT(4096);

    assert_int_equal(match_extract(buf_slice(text), pointer, &found), 0);
    assert_string_equal(buf_str(&found), value);
    buf_fini(&found);
}

static void test_json(void **state)
{
    struct notice notice = notices_make(NOTICE_END), hostile = notices_make_hostile(NOTICE_BEGIN);
    struct buf text = BUF_INIT(MESSAGE_BODY_MAX), small = BUF_INIT(100);

    (void)state;
    assert_int_equal(notice_json(&notice, &text), 0);
    is_json(&text, "/kind", "end");
    is_json(&text, "/duration_s", "725");
    is_json(&text, "/status/status", "fail");
    buf_reset(&text);
    notice.status_json = NULL;
    assert_int_equal(notice_json(&notice, &text), 0);
    is_json(&text, "/status", "null");
    buf_reset(&text);
    assert_int_equal(notice_json(&hostile, &text), 0);
    is_json(&text, "/kind", "begin");
    assert_int_equal(notice_json(&notice, &small), -1);
    assert_int_equal(small.len, 0);
    buf_fini(&text);
    buf_fini(&small);
}

static void test_templates(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN), hostile = notices_make_hostile(NOTICE_BEGIN);
    struct buf text = BUF_INIT(MESSAGE_BODY_MAX);
    struct err err;

    (void)state;
    assert_int_equal(notice_expand("{{kind}} {{word}} {{was}} {{key}} {{because}} {{changes}} {{severity}} {{at}} {{duration}}",
                                   &notice, false, &text, &err),
                     0);
    assert_string_equal(buf_str(&text),
                        "begin not ready ready chat-1@eu-west delivery, bus 0 critical 2026-11-22T10:00:15.000Z 15s");
    buf_reset(&text);
    assert_int_equal(
        notice_expand("{\"t\":\"{{text}} {{advice}}\",\"s\":{{status}},\"c\":{{json cause}}}", &notice, true, &text, &err), 0);
    is_json(&text, "/s/status", "fail");
    buf_reset(&text);
    assert_int_equal(notice_expand("{\"t\":\"{{text}}{{title}}{{sentence}}{{link}}\",\"e\":1}", &hostile, true, &text, &err), 0);
    is_json(&text, "/e", "1");
    buf_fini(&text);
}

static void test_judges(void **state)
{
    static const struct {
        int status;
        bool taken, again;
    } rows[] = { { 200, true, false }, { 204, true, false }, { 302, false, false }, { 400, false, false }, { 404, false, false },
                 { 408, false, true }, { 429, false, true }, { 500, false, true },  { 503, false, true } },
      programs[] = { { 0, true, false },  { 1, false, true },   { 64, false, false },
                     { 75, false, true }, { 78, false, false }, { 127, false, false } };
    struct err err;
    bool again;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(receiver_judge_http(rows[i].status, slice_str("x\r\ny"), &again, &err), rows[i].taken ? 0 : -1);
        assert_int_equal(again, rows[i].again);
    }
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        assert_int_equal(receiver_judge_program(programs[i].status, slice_str(""), &again, &err), programs[i].taken ? 0 : -1);
        assert_int_equal(again, programs[i].again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),    cmocka_unit_test(test_text),   cmocka_unit_test(test_json),
        cmocka_unit_test(test_templates), cmocka_unit_test(test_judges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
