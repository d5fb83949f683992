/* A notice as JSON and the holes of a template; and the rules by which an answer is a yes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/notify/receiver.h"
#include "agent/proto/match.h"
#include "tests/unit/notify/notices.h"

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
                                   &notice, false, NULL, &text, &err),
                     0);
    assert_string_equal(buf_str(&text),
                        "begin not ready ready chat-1@eu-west delivery, bus 0 critical 2026-11-22T10:00:15.000Z 15s");
    buf_reset(&text);
    assert_int_equal(
        notice_expand("{\"t\":\"{{text}} {{advice}}\",\"s\":{{status}},\"c\":{{json cause}}}", &notice, true, NULL, &text, &err),
        0);
    is_json(&text, "/s/status", "fail");
    buf_reset(&text);
    assert_int_equal(notice_expand("{\"t\":\"{{text}}{{title}}{{sentence}}{{link}}\",\"e\":1}", &hostile, true, NULL, &text, &err),
                     0);
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
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_judges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
