/* The history's thread: answers in the order of the questions, on the loop; freed with work under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>

#include "agent/run/agent_history_keeper.h"

static struct loop loop;
static char folder[64], path[128];
static struct keeper *keeper;
static char seen[400];
static unsigned left;

static void on_done(void *user, const struct keeper_answer *answer)
{
    static const char *const names[] = { "read", "aside", "write" };
    struct buf copy = BUF_INIT(100);

    (void)user;
    buf_append_slice(&copy, buf_slice(&answer->bytes));
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s%s%s(%s) ", names[answer->job], answer->failed ? "!" : "",
             answer->missing ? "?" : "", buf_str(&copy));
    buf_fini(&copy);
    if (--left == 0)
        loop_stop(&loop);
}

static void ask(enum keeper_job job, const char *text)
{
    struct buf bytes = BUF_INIT(100);

    left++;
    if (text)
        buf_append_str(&bytes, text);
    keeper_ask(keeper, job, text ? &bytes : NULL);
    assert_int_equal(bytes.len, 0);
}

static int set_up(void **state)
{
    struct err err;

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/history-keeper-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/history", folder);
    assert_int_equal(loop_init(&loop, &err), 0);
    keeper = keeper_new(&loop, path, NULL, on_done, NULL, &err);
    assert_non_null(keeper);
    seen[0] = 0;
    left = 0;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const suffixes[] = { "", ".new", ".damaged" };
    char name[160];

    (void)state;
    loop_fini(&loop);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        (void)unlink(name);
    }
    (void)rmdir(folder);
    return 0;
}

static void test_in_order(void **state)
{
    (void)state;
    ask(KEEPER_READ, NULL);
    ask(KEEPER_WRITE, "one");
    ask(KEEPER_READ, NULL);
    ask(KEEPER_SET_ASIDE, NULL);
    assert_int_equal(keeper_busy(keeper), 4);
    loop_run(&loop);
    assert_string_equal(seen, "read?() write() read(one) aside() ");
    seen[0] = 0;
    ask(KEEPER_SET_ASIDE, NULL);
    loop_run(&loop);
    assert_string_equal(seen, "aside!() ");
    assert_int_equal(keeper_busy(keeper), 0);
    keeper_free(keeper);
}

/* As when a disk hangs: what is asked above the bound is dropped, and nobody waits for the rest. */
static void test_freed_while_busy(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        ask(KEEPER_WRITE, "text");
    keeper_free(keeper);
    loop_run(&loop);
    assert_string_equal(seen, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_freed_while_busy, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
