/* Texts fitted to the screen: its width, and where lines are broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "agent/report/screen.h"

static void colour_is_for_terminals_that_want_it(void **state)
{
    (void)state;
    assert_true(screen_wants_colour(true, NULL, "xterm-256color"));
    assert_true(screen_wants_colour(true, "", "xterm"));
    assert_false(screen_wants_colour(true, "1", "xterm"));
    assert_false(screen_wants_colour(true, "0", "xterm"));
    assert_false(screen_wants_colour(false, NULL, "xterm"));
    assert_false(screen_wants_colour(true, NULL, "dumb"));
    assert_false(screen_wants_colour(true, NULL, ""));
    assert_false(screen_wants_colour(true, NULL, NULL));
}

static void widths_have_bounds(void **state)
{
    (void)state;
    static const struct {
        unsigned columns;
        const char *variable;
        unsigned width;
    } rows[] = {
        { 80, NULL, 80 },     { 80, "120", 80 },
        { 1, NULL, 40 },      { 65535, NULL, 200 },
        { 0, "120", 120 },    { 0, "5", 40 },
        { 0, "999999", 200 }, { 0, NULL, 0 },
        { 0, "", 0 },         { 0, "0", 0 },
        { 0, "-80", 0 },      { 0, "wide", 0 },
        { 0, "80 ", 0 },      { 0, "99999999999999999999", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(screen_width(rows[i].columns, rows[i].variable), rows[i].width);
}

static void wraps(const char *text, unsigned width, const char *want)
{
    struct buf out = BUF_INIT(4096);
    screen_wrap(text, width, &out);
    assert_string_equal(buf_str(&out), want);
    buf_fini(&out);
}

static void lines_are_broken_between_words(void **state)
{
    (void)state;
    wraps("", 10, "");
    wraps("short\n\n  and so on\n", 11, "short\n\n  and so on\n");
    wraps("one two three four\nfive", 9, "one two\nthree\nfour\nfive");
    wraps("  one two three\n", 9, "  one two\n  three\n");
    wraps("a http://127.0.0.1:9717/ready b", 10, "a\nhttp://127.0.0.1:9717/ready\nb"); /* whole, to be copied */
    wraps("\xc3\xbc\xc3\xbc\xc3\xbc \xc3\xbc\xc3\xbc\xc3\xbc", 7, "\xc3\xbc\xc3\xbc\xc3\xbc \xc3\xbc\xc3\xbc\xc3\xbc");
}

/* What stands in a second column stays in it, unless that is too far to the right. */
static void columns_are_kept(void **state)
{
    (void)state;
    wraps("  name   does one thing and another\n", 24, "  name   does one thing\n         and another\n");
    wraps("10:00:00  ready: all is well\n", 20, "10:00:00  ready: all\n          is well\n");
    wraps("  a-very-long-name  says it\n", 22, "  a-very-long-name\n  says it\n");
}

static void commands_are_left_whole(void **state)
{
    (void)state;
    static const char *const lines[] = { "  wshealthd check ws://127.0.0.1:8080/ws --type echo\n",
                                         "  curl -i 'http://127.0.0.1:9717/ready?verbose'\n" };
    for (size_t i = 0; i < 2; i++)
        wraps(lines[i], 20, lines[i]);
    wraps("wshealthd is a program\n", 12, "wshealthd is\na program\n"); /* no command: a sentence */
}

static void only_ascii_where_there_is_no_more(void **state)
{
    (void)state;
    const struct screen screen = { .ascii = true, .fixed = true, .width = 10 };
    struct buf text = BUF_INIT(12); /* what is made of it is longer */
    buf_append_str(&text, "a \xc3\xbc b c…");
    screen_fit(&screen, &text);
    assert_string_equal(buf_str(&text), "a \\xc3\\xbc\nb c...");
    buf_fini(&text);
}

static void a_pipe_has_a_width_of_its_own(void **state)
{
    (void)state;
    unsetenv("COLUMNS");
    struct screen screen = screen_look();
    if (screen.terminal)
        skip(); /* somebody looks on */
    assert_int_equal(screen.width, 100);
    assert_false(screen.fixed || screen.colour);
    assert_int_equal(setenv("COLUMNS", "70", 1), 0);
    screen = screen_look();
    assert_int_equal(screen.width, 70);
    assert_true(screen.fixed);
    unsetenv("COLUMNS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colour_is_for_terminals_that_want_it),
        cmocka_unit_test(widths_have_bounds),
        cmocka_unit_test(lines_are_broken_between_words),
        cmocka_unit_test(columns_are_kept),
        cmocka_unit_test(commands_are_left_whole),
        cmocka_unit_test(only_ascii_where_there_is_no_more),
        cmocka_unit_test(a_pipe_has_a_width_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
