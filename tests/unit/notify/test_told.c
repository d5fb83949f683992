/* What a notification says: titles, lengths, facts, and texts from outside that stay one harmless line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/secret.h"
#include "agent/notify/told.h"
#include "agent/proto/utf8.h"
#include "tests/unit/notify/notices.h"

static void says(const struct notice *notice, const char *want)
{
    char title[TOLD_TITLE_BYTES];

    told_title(notice, title);
    assert_string_equal(title, want);
}

static void test_titles(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);

    (void)state;
    says(&notice, "chat-1 is not ready: the server has lost its subscription");
    notice.sentence = "HTTP checks are green, the WebSocket side is dead";
    says(&notice, "chat-1 is not ready: HTTP checks are green, the WebSocket side is dead");
    notice.sentence = "A proxy answers, and does not reach the server behind it";
    says(&notice, "chat-1 is not ready: a proxy answers, and does not reach the server behind it");
    notice.sentence = "No connection to bus at 127.0.0.1:6379 (bus: connection refused)";
    says(&notice, "chat-1 is not ready: no connection to bus at 127.0.0.1:6379");
    notice.sentence = NULL;
    says(&notice, "chat-1 is not ready");
    notice.word = "warning";
    says(&notice, "chat-1 is ready, with a warning");
    notice.word = "draining";
    notice.sentence = "The instance is drained: it takes no new connections, on purpose";
    says(&notice, "chat-1 is draining");
    notice = notices_make(NOTICE_TEST);
    says(&notice, "Test message of wshealthd on chat-1");
    notice.agent_id = "";
    says(&notice, "Test message of wshealthd on node7.example.com");
}

static void test_titles_of_what_goes_on(void **state)
{
    struct notice notice = notices_make(NOTICE_CHANGE);

    (void)state;
    says(&notice, "chat-1 is now not ready: the server has lost its subscription");
    notice.changes = 3;
    says(&notice, "chat-1 is now not ready, changed 3 times: the server has lost its subscription");
    notice.changes = 1;
    notice.was = notice.word;
    says(&notice, "chat-1 is still not ready, for another reason: the server has lost its subscription");
    notice.changes = 14;
    says(&notice, "chat-1 is still not ready, changed 14 times: the server has lost its subscription");
    notice = notices_make(NOTICE_REPEAT);
    says(&notice, "chat-1 is still not ready after 12 minutes 5 seconds: the server has lost its subscription");
    notice = notices_make(NOTICE_END);
    says(&notice, "chat-1 is ready again after 12 minutes 5 seconds");
    notice.word = "degraded";
    says(&notice, "chat-1 is degraded, after 12 minutes 5 seconds of not ready");
    notice.word = "ready";
    notice.was = "warning";
    says(&notice, "chat-1 is without a warning again after 12 minutes 5 seconds");
    notice.was = "not ready";
    notice.untold = true;
    says(&notice, "chat-1 was not ready for 12 minutes 5 seconds, and is ready again: the server has lost its subscription");
}

static void test_lengths(void **state)
{
    static const struct {
        int64_t ms;
        const char *want;
    } rows[] = {
        { 0, "less than a second" },
        { -5, "less than a second" },
        { 999, "less than a second" },
        { 1000, "1 second" },
        { 59999, "59 seconds" },
        { 60000, "1 minute" },
        { 61000, "1 minute 1 second" },
        { 3600000, "1 hour" },
        { 3659000, "1 hour" },
        { 14700000, "4 hours 5 minutes" },
        { 86400000, "1 day" },
        { 266400000, "3 days 2 hours" },
        { INT64_MAX, "106751991167 days 7 hours" },
    };
    char text[TOLD_LENGTH_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        told_length(rows[i].ms, text);
        assert_string_equal(text, rows[i].want);
    }
}

static void test_sentences(void **state)
{
    struct notice notice = notices_make(NOTICE_END);
    char text[TOLD_SENTENCE_BYTES];

    (void)state;
    notice.sentence = "The server is down";
    told_sentence(&notice, text);
    assert_string_equal(text, "It was: The server is down.");
    notice = notices_make(NOTICE_TEST);
    told_sentence(&notice, text);
    assert_non_null(strstr(text, "Nothing has happened"));
    notice = notices_make(NOTICE_BEGIN);
    notice.sentence = "";
    told_sentence(&notice, text);
    assert_string_equal(text, "");
}

static const char *value_of(const struct notice *notice, const char *name)
{
    static struct told_fact facts[TOLD_FACTS_MAX];
    size_t count = told_facts(notice, facts);

    assert_true(count <= TOLD_FACTS_MAX);
    for (size_t i = 0; i < count; i++)
        if (strcmp(facts[i].name, name) == 0)
            return facts[i].value;
    return "(none)";
}

static void test_facts(void **state)
{
    struct notice notice = notices_make(NOTICE_REPEAT);

    (void)state;
    assert_string_equal(value_of(&notice, "Since"), "2026-11-22 10:00:00 UTC (12 minutes 5 seconds)");
    assert_string_equal(value_of(&notice, "Cause"), "server_detached_from_broker");
    assert_string_equal(value_of(&notice, "Checks"), "delivery, bus");
    assert_string_equal(value_of(&notice, "Instance"), "chat-1 in eu-west, on node7.example.com");
    assert_string_equal(value_of(&notice, "Server"), "ws://127.0.0.1:8080/ws");
    assert_string_equal(value_of(&notice, "Before this"), "(none)");
    notice.because_more = true;
    assert_string_equal(value_of(&notice, "Checks"), "delivery, bus and others");
    notice.because_more = false;
    notice.changes = 14;
    notice.left_out = 1;
    assert_string_equal(value_of(&notice, "Before this"), "changed 14 times, 1 message left out");
    notice.region = "default"; /* nobody has set it */
    notice.host = "chat-1";
    notice.because_count = 1;
    notice.service = " \t";
    assert_string_equal(value_of(&notice, "Instance"), "chat-1");
    assert_string_equal(value_of(&notice, "Check"), "delivery");
    assert_string_equal(value_of(&notice, "Server"), "(none)");
}

static void test_facts_of_the_end_and_of_a_test(void **state)
{
    struct notice notice = notices_make(NOTICE_END);

    (void)state;
    assert_string_equal(value_of(&notice, "From"), "2026-11-22 10:00:00 UTC to 2026-11-22 10:12:05 UTC (12 minutes 5 seconds)");
    assert_string_equal(value_of(&notice, "Since"), "(none)");
    assert_int_equal(told_advice_count(&notice), 0);
    notice.untold = true;
    assert_string_equal(value_of(&notice, "Before this"), "no message about it could be sent");
    notice = notices_make(NOTICE_TEST);
    assert_string_equal(value_of(&notice, "Since"), "(none)");
    assert_string_equal(value_of(&notice, "Cause"), "(none)");
    assert_int_equal(told_advice_count(&notice), 0);
}

static void test_the_whole_text(void **state)
{
    struct notice notice = notices_make(NOTICE_CHANGE);
    struct buf text = BUF_INIT(8192);

    (void)state;
    notice.changes = 3;
    notice.left_out = 2;
    told_text(&notice, &text);
    assert_string_equal(buf_str(&text), "chat-1 is now not ready, changed 3 times: the server has lost its subscription\n"
                                        "The server has lost its subscription: messages published on bus do not reach its clients "
                                        "(delivery: no heartbeat within 500ms).\n"
                                        "- Restart the server, so that it subscribes again\n"
                                        "- See `wshealthd status`\n"
                                        "Since: 2026-11-22 10:00:00 UTC (12 minutes 5 seconds)\n"
                                        "Cause: server_detached_from_broker\n"
                                        "Checks: delivery, bus\n"
                                        "Before this: changed 3 times, 2 messages left out\n"
                                        "Instance: chat-1 in eu-west, on node7.example.com\n"
                                        "Server: ws://127.0.0.1:8080/ws\n"
                                        "https://status.example.com/chat-1?a=1&b=2");
    buf_reset(&text);
    notice = notices_make(NOTICE_BEGIN);
    notice.sentence = notice.service = notice.link = NULL;
    notice.advice_count = notice.because_count = 0;
    told_text(&notice, &text);
    assert_string_equal(buf_str(&text), "chat-1 is not ready\n"
                                        "Since: 2026-11-22 10:00:00 UTC (15 seconds)\n"
                                        "Cause: server_detached_from_broker\n"
                                        "Instance: chat-1 in eu-west, on node7.example.com");
    buf_fini(&text);
}

static void test_links(void **state)
{
    static const char *const bad[] = { "javascript:alert(1)", "ftp://x/", "https://x/ y",       "https://x/\"",       "https://x/>",
                                       "https://x/|y",        "//x",      "https://x/\xc3\xa9", "https://x/\r\nA: b", "" };
    struct notice notice = notices_make(NOTICE_BEGIN);

    (void)state;
    assert_string_equal(told_link(&notice), notice.link);
    notice.link = NULL;
    assert_null(told_link(&notice));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        notice.link = bad[i];
        assert_null(told_link(&notice));
    }
}

/* One line, valid, within its size. */
static void assert_clean(const char *text, size_t max_bytes)
{
    assert_true(strlen(text) < max_bytes);
    assert_true(utf8_valid(slice_str(text)));
    for (const char *c = text; *c; c++)
        assert_true((unsigned char)*c >= ' ' && *c != 0x7f);
}

static void test_hostile_texts(void **state)
{
    struct told_fact facts[TOLD_FACTS_MAX];
    char title[TOLD_TITLE_BYTES], sentence[TOLD_SENTENCE_BYTES], advice[TOLD_ADVICE_BYTES];

    (void)state;
    for (enum notice_kind kind = NOTICE_BEGIN; kind <= NOTICE_TEST; kind++) {
        struct notice notice = notices_make_hostile(kind);

        told_title(&notice, title);
        assert_clean(title, sizeof title);
        told_sentence(&notice, sentence);
        assert_clean(sentence, sizeof sentence);
        for (size_t i = 0; i < told_advice_count(&notice); i++) {
            told_advice(&notice, i, advice);
            assert_clean(advice, sizeof advice);
        }
        for (size_t i = told_facts(&notice, facts); i > 0; i--)
            assert_clean(facts[i - 1].value, sizeof facts->value);
        assert_null(told_link(&notice));
    }
}

static void test_secrets(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);
    char text[TOLD_SENTENCE_BYTES];

    (void)state;
    secret_add("hunter2-hunter2");
    notice.sentence = "The server refuses hunter2-hunter2: its users are turned away";
    says(&notice, "chat-1 is not ready: the server refuses ***");
    told_sentence(&notice, text);
    assert_null(strstr(text, "hunter2"));
    secret_forget_all();
}

static size_t twice(struct slice rest, size_t len, char out[TOLD_ESCAPE_MAX])
{
    (void)len;
    if (rest.data[0] != 'x')
        return 0;
    memcpy(out, "<x>", 3);
    return 3;
}

static void put_is(const char *plain, size_t max, const char *want)
{
    struct buf out = BUF_INIT(256);

    assert_int_equal(told_put(&out, plain, max, twice), 0);
    assert_string_equal(buf_str(&out), want);
    buf_fini(&out);
}

static void test_cuts(void **state)
{
    (void)state;
    put_is("", 1, "");
    put_is("abc", 3, "abc");
    put_is("abcd", 3, "ab…");
    put_is("axb", 5, "a<x>b");
    put_is("axbc", 5, "a<x>…");
    put_is("axx", 5, "a<x>…"); /* no part of an escape is left */
    put_is("xxx", 3, "…");
    put_is("\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80"); /* two units each */
    put_is("\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 3, "\xf0\x9f\x98\x80…");
}

static void test_severities(void **state)
{
    (void)state;
    assert_int_equal(told_severity("ready"), NOTICE_OK);
    assert_int_equal(told_severity("degraded"), NOTICE_WARNING);
    assert_int_equal(told_severity("not ready"), NOTICE_CRITICAL);
    assert_int_equal(told_severity("not live"), NOTICE_CRITICAL);
    assert_int_equal(told_severity("draining"), NOTICE_INFO);
    assert_int_equal(told_severity("something new"), NOTICE_INFO);
    assert_int_equal(told_severity(NULL), NOTICE_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_titles),        cmocka_unit_test(test_titles_of_what_goes_on),
        cmocka_unit_test(test_lengths),       cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_facts),         cmocka_unit_test(test_facts_of_the_end_and_of_a_test),
        cmocka_unit_test(test_links),         cmocka_unit_test(test_the_whole_text),
        cmocka_unit_test(test_hostile_texts), cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_cuts),          cmocka_unit_test(test_severities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
