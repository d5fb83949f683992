/* Figures from somebody else's metrics page (agent/proto/prom_read.h): as clients write them, and as no one should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/prom_read.h"

static const char page[] =
    "# HELP ws_connections Open.\n# TYPE ws_connections gauge\nws_connections{room=\"a\"} 3\n"
    "ws_connections{room=\"b\",zone=\"x\"} 4 1700000000000\n"
    "# TYPE ws_messages counter\nws_messages_total{dir=\"in\",} 1e3\r\nws_messages_total{dir=\"o\\\"ut}\"} 5\n"
    "lag_seconds 0.25\nbroken{a=\"b\nnan_one NaN\n  spaced   7\nws_connections_more 100\n# EOF";

static struct prom_wanted ask(const char *name)
{
    struct prom_wanted wanted = { .name = name };
    struct err err;

    assert_int_equal(prom_read(slice_str(page), &wanted, 1, &err), 0);
    return wanted;
}

static void assert_value(const char *name, double value, bool counter)
{
    struct prom_wanted wanted = ask(name);

    if (!wanted.found || wanted.value != value || wanted.counter != counter)
        fail_msg("%s: found %d, %g, counter %d", name, wanted.found, wanted.value, wanted.counter);
}

static void test_values(void **state)
{
    (void)state;
    assert_value("ws_connections", 7, false);
    assert_value("ws_connections{room=\"b\"}", 4, false);
    assert_value("ws_connections{zone=\"x\", room=\"b\"}", 4, false);
    assert_value("ws_messages_total", 1005, true);
    assert_value("ws_messages_total{dir=\"o\\\"ut}\"}", 5, true);
    assert_value("lag_seconds", 0.25, false);
    assert_value("spaced", 7, false);
    assert_false(ask("ws_connections{room=\"c\"}").found);
    assert_false(ask("lag_seconds{a=\"b\"}").found);
    assert_false(ask("nan_one").found);
    assert_false(ask("broken").found);
    assert_false(ask("ws").found);
}

static void assert_page(const char *text, const char *name, bool found, double value)
{
    struct prom_wanted wanted = { .name = name };
    struct err err;

    assert_int_equal(prom_read(slice_str(text), &wanted, 1, &err), 0);
    if (wanted.found != found || wanted.value != value)
        fail_msg("%s: found %d, %g", text, wanted.found, wanted.value);
}

/* Two exporters behind one page: what is there twice counts once, and the first of two values. */
static void test_the_same_twice(void **state)
{
    char many[20000] = "";

    (void)state;
    assert_page("a 5\na 5\na 7\n", "a", true, 5);
    assert_page("a{b=\"1\"} 5\na{b=\"2\"} 6\na{b=\"1\"} 5\na 1\n", "a", true, 12);
    for (int i = 0; i < 1000; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "a{b=\"%d\"} 1\n", i % 500);
    assert_page(many, "a", true, 500);
}

static void test_no_number(void **state)
{
    (void)state;
    assert_page("a{b=\"1\"} 1e308\na{b=\"2\"} 1e308\n", "a", false, 0);
    assert_page("a{b=\"1\"} -1.7e308\na{b=\"2\"} -1.7e308\n", "a", false, 0);
    assert_page("a 1e999\nb 1\n", "a", false, 0);
    assert_page("a -0\n", "a", true, 0);
}

static void test_no_page(void **state)
{
    static const char *const pages[] = { "",      "<html><body>404</body></html>", "{\"a\": 1}", "# only\n# comments\n", "\n\n\n",
                                         "a\nb\n" };
    struct prom_wanted wanted = { .name = "a" };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        assert_int_equal(prom_read(slice_str(pages[i]), &wanted, 1, &err), -1);
}

/* Every cut of a page, in a buffer of that size: the sanitizer sees what is read past it. */
static void test_cut_anywhere(void **state)
{
    struct prom_wanted wanted = { .name = "ws_messages_total{dir=\"in\"}" };
    struct err err;

    (void)state;
    for (size_t len = 0; len < sizeof page; len++) {
        char *copy = malloc(len + 1);

        memcpy(copy, page, len);
        copy = realloc(copy, len ? len : 1);
        (void)prom_read(slice_make(copy, len), &wanted, 1, &err);
        free(copy);
    }
}

static void test_names(void **state)
{
    static const char *const good[] = { "a", "a_b:c", "a{}", "a{b=\"c\"}", "a {b=\"c\", d=\"e\"} " };
    static const char *const bad[] = { "", "1a", "a b", "a{", "a{b}", "a{b=c}", "a{b=\"c\"} x", "{b=\"c\"}" };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(prom_read_validate(good[i], &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (prom_read_validate(bad[i], &err) == 0)
            fail_msg("'%s' was taken", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_the_same_twice), cmocka_unit_test(test_no_number),
        cmocka_unit_test(test_no_page), cmocka_unit_test(test_cut_anywhere),   cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
