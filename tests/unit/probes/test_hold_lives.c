/* What lifetimes say of an idle timeout (probes/hold_lives.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "probes/hold_lives.h"

static struct hold_lives lives;
static struct hold_figures figures;
static uint64_t now_ns;
static char said[SENTENCE_MAX];

static int set_up(void **state)
{
    (void)state;
    memset(&lives, 0, sizeof lives);
    figures = (struct hold_figures){ .idle = true };
    now_ns = 100 * NS_PER_S;
    return 0;
}

static void cut_after(uint64_t ms)
{
    now_ns += ms * NS_PER_MS;
    hold_lives_ended(&lives, now_ns, ms * NS_PER_MS, true);
}

static const char *say(bool public_path)
{
    hold_lives_read(&lives, now_ns, &figures);
    hold_lives_say(&figures, public_path, said, sizeof said);
    return said;
}

static void test_nothing_has_ended(void **state)
{
    (void)state;
    hold_lives_read(&lives, now_ns, &figures);
    assert_int_equal(figures.cut, 0);
    assert_int_equal(figures.of, 0);
    assert_true(figures.idle);
    assert_false(hold_lives_too_close(&figures));
}

/* The sentence of the report. */
static void test_an_idle_timeout_on_the_way(void **state)
{
    (void)state;
    cut_after(29800);
    cut_after(30100);
    cut_after(30000);
    hold_lives_control(&lives, 61 * NS_PER_S);
    hold_lives_pinged(&lives, 20 * NS_PER_S);
    assert_string_equal(say(true),
                        "idle connections are cut after 30.1s of silence (3 of 3, 29.8s to 30.1s); the pinged one lives: an idle "
                        "timeout on the way, not a maximum age");
    assert_int_equal(figures.control, HOLD_CONTROL_LIVES);
    assert_non_null(strstr(say(false), "an idle timeout, not a maximum age"));
}

static void test_a_maximum_age(void **state)
{
    (void)state;
    cut_after(30000);
    cut_after(30000);
    hold_lives_control(&lives, 30 * NS_PER_S);
    assert_int_equal((say(true), figures.control), HOLD_CONTROL_UNKNOWN); /* no older than they: it proves nothing */
    hold_lives_control_cut(&lives, now_ns, 30 * NS_PER_S, 1 * NS_PER_S);
    assert_non_null(strstr(say(true), "; the pinged one is cut at that age too: a maximum age on the way, not an idle timeout"));
}

/* Pings that come more seldom than the cut say nothing: the control was as silent as the others. */
static void test_a_control_that_is_pinged_too_seldom(void **state)
{
    (void)state;
    cut_after(2000);
    cut_after(2000);
    hold_lives_control_cut(&lives, now_ns, 2 * NS_PER_S, 2 * NS_PER_S);
    say(true);
    assert_int_equal(figures.control, HOLD_CONTROL_UNKNOWN);
    assert_null(strstr(said, "pinged"));
}

static void test_pings_of_the_server(void **state)
{
    (void)state;
    cut_after(30000);
    cut_after(30000);
    hold_lives_control(&lives, 61 * NS_PER_S);
    assert_non_null(strstr(say(true), "; the server sends no pings of its own"));
    hold_lives_pinged(&lives, 24 * NS_PER_S);
    say(true);
    assert_false(hold_lives_too_close(&figures)); /* 80 % */
    assert_null(strstr(said, "the server"));
    hold_lives_pinged(&lives, 25 * NS_PER_S);
    assert_non_null(strstr(say(true), "; the server pings every 25.0s, want less than 24.0s"));
    assert_true(hold_lives_too_close(&figures));
    hold_lives_say_margin(&figures, said, sizeof said);
    assert_string_equal(
        said, "the server pings every 25.0s, want less than 24.0s: idle connections were cut after 30.0s of silence, 2 of 2");
    for (int i = 0; i < HOLD_GAPS_MAX; i++)
        hold_lives_pinged(&lives, 10 * NS_PER_S);
    hold_lives_read(&lives, now_ns, &figures);
    assert_false(hold_lives_too_close(&figures));
}

/* Chance, or a restart: nothing is concluded of it. */
static void test_cuts_that_are_not_alike(void **state)
{
    (void)state;
    cut_after(3000);
    cut_after(50000);
    hold_lives_pinged(&lives, 45 * NS_PER_S);
    hold_lives_read(&lives, now_ns, &figures);
    assert_int_equal(figures.cut, 1);
    assert_int_equal(figures.of, 2);
    assert_false(hold_lives_too_close(&figures));
}

static void test_it_is_over(void **state)
{
    (void)state;
    cut_after(30000);
    cut_after(30000);
    for (int i = 0; i < 3; i++) {
        hold_lives_read(&lives, now_ns, &figures);
        assert_int_equal(figures.cut, 2);
        now_ns += 60 * NS_PER_S;
        hold_lives_ended(&lives, now_ns, 60 * NS_PER_S, false);
    }
    hold_lives_read(&lives, now_ns, &figures);
    assert_int_equal(figures.cut, 0);
    set_up(NULL);
    cut_after(30000);
    cut_after(30000);
    now_ns += 3601 * NS_PER_S;
    hold_lives_read(&lives, now_ns, &figures);
    assert_int_equal(figures.cut, 0);
}

static void test_the_ring(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * HOLD_LIVES_MAX; i++)
        cut_after(1000);
    hold_lives_read(&lives, now_ns, &figures);
    assert_int_equal(figures.cut, HOLD_LIVES_MAX);
}

#define T(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_nothing_has_ended),   T(test_an_idle_timeout_on_the_way),
        T(test_a_maximum_age),       T(test_a_control_that_is_pinged_too_seldom),
        T(test_pings_of_the_server), T(test_cuts_that_are_not_alike),
        T(test_it_is_over),          T(test_the_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
