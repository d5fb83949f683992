/* `wshealthd explain` and the manual's table: every word has a row, and the row says what the rules of the diagnosis do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/report/diagnose_rules.h"
#include "agent/report/explain.h"

enum { TEXT_MAX = 1 << 20 };
static struct buf out;

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, TEXT_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

static const char *explained(const char *word)
{
    buf_reset(&out);
    assert_true(explain_write(word, &out));
    return buf_str(&out);
}

static void test_every_cause_says_what_to_do(void **state)
{
    (void)state;
    for (int cause = 0; cause < CAUSE_COUNT; cause++) {
        const char *text = explained(cause_name((enum cause)cause));
        assert_non_null(strstr(text, cause_help((enum cause)cause)));
        assert_non_null(strstr(text, "\n  Seen:   "));
        assert_non_null(strstr(text, "\n  Means:  "));
        assert_non_null(strstr(text, "\n  Do:     - "));
        assert_null(strstr(text, "{broker}"));
        if (strstr(text, "no check is in fault"))
            assert_true(cause == CAUSE_HEALTHY || cause == CAUSE_STARTING || cause == CAUSE_DRAINING ||
                        cause == CAUSE_NOTHING_CHECKED);
        for (int other = 0; other < cause; other++)
            assert_string_not_equal(cause_name((enum cause)cause), cause_name((enum cause)other));
    }
}

static void test_every_reason_says_its_scope(void **state)
{
    (void)state;
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
        const char *text = explained(reason_name((enum reason)reason));
        assert_non_null(strstr(text, reason_help((enum reason)reason)));
        assert_non_null(strstr(text, "\n  Scope:  "));
        /* Whoever looks a reason up wants to know what to do about it. */
        if (!strstr(text, "\n  Do:     - "))
            fail_msg("no rule of the diagnosis names %s", reason_name((enum reason)reason));
    }
}

static void test_a_row(void **state)
{
    (void)state;
    assert_string_equal(explained("websocket_dead"),
                        "websocket_dead (a cause): plain HTTP works, the WebSocket side does not\n"
                        "\n"
                        "  Seen:   connect_refused, connect_timeout, connection_reset, upgrade_timeout or silent_drop, while an "
                        "http check passes, and "
                        "the check speaks WebSocket\n"
                        "  Means:  HTTP checks are green, the WebSocket side is dead.\n"
                        "  Do:     - Do not trust the HTTP health URL: it does not see this fault\n"
                        "          - Look at the part of the server that handles WebSocket: its listener, workers or event loop\n"
                        "          - If its log says nothing, take a stack dump, then restart it\n");
}

static void test_reasons_lead_to_causes(void **state)
{
    (void)state;
    const char *text = explained("echo_timeout");
    assert_non_null(strstr(text, "\nIt may mean messages_stuck: "));
    assert_non_null(strstr(text, "  Phase:  open\n  Scope:  local: "));
    assert_non_null(strstr(explained("wrong_path"), "upgrade_refused (status 404)\n"));
    assert_non_null(strstr(explained("broker_full"), "broker_unreachable (the broker says that it is full)"));
    assert_non_null(strstr(explained("broker_down"), "No connection to the broker: "));
    assert_non_null(strstr(explained("check_failing"), "Seen:   a check fails, and no other cause fits\n"));
    assert_null(strstr(explained("check_failing"), "no check is in fault"));
    assert_non_null(strstr(explained("messages_refused"), "closed_by_server (close code 1002 to 1003)"));
}

/* A word that is a cause and a reason is told as both, and its row once. */
static void test_both(void **state)
{
    (void)state;
    const char *text = explained("flood"), *row = strstr(text, "  Seen:   flood\n");
    assert_non_null(strstr(text, "flood (a cause)"));
    assert_non_null(strstr(text, "\n\nflood (a reason)"));
    assert_non_null(row);
    assert_null(strstr(row + 1, "  Seen:   flood\n"));
}

static void test_unknown_words(void **state)
{
    (void)state;
    assert_false(explain_write("", &out));
    assert_false(explain_write("Flood", &out));
    assert_false(explain_write("healthy ", &out));
    assert_int_equal(out.len, 0);
}

static void test_lists(void **state)
{
    (void)state;
    const char *words[(int)CAUSE_COUNT + (int)REASON_COUNT + 1];
    size_t count = explain_words(words, sizeof words / sizeof words[0]);
    assert_int_equal(count, (int)CAUSE_COUNT + (int)REASON_COUNT - 1);
    assert_int_equal(explain_words(words, 3), 3);
    explain_write_list(&out);
    for (size_t i = 0; i < count; i++)
        assert_non_null(strstr(buf_str(&out), words[i]));
}

static void test_the_manual(void **state)
{
    (void)state;
    explain_write_roff(&out);
    const char *text = buf_str(&out);
    assert_true(strncmp(text, ".TP\n.B healthy\n", 15) == 0 && text[out.len - 1] == '\n');
    for (int cause = 0; cause < CAUSE_COUNT; cause++)
        assert_non_null(strstr(text, cause_name((enum cause)cause)));
    assert_non_null(strstr(text, "\\fISeen:\\fR echo_timeout, while a ping check passes.\n.br\n\\fIMeans:\\fR Pings are answered"));
    assert_null(strstr(text, "\n'"));
    buf_reset(&out);
    explain_write_causes(&out);
    assert_non_null(strstr(buf_str(&out), ".TP\n.B flood\nthe server sends more"));
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_every_cause_says_what_to_do),
        T(test_every_reason_says_its_scope),
        T(test_a_row),
        T(test_reasons_lead_to_causes),
        T(test_both),
        T(test_unknown_words),
        T(test_lists),
        T(test_the_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
