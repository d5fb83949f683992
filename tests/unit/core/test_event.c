/* The list of events: complete, unique, and fit for a log line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/core/event.h"

static void test_names_are_unique_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EVENT_COUNT; i++) {
        const char *name = event_name((enum event)i);
        assert_true(strlen(name) > 0);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(name, event_name((enum event)j));
    }
}

static void test_every_event_is_explained(void **state)
{
    (void)state;
    for (unsigned i = 0; i < EVENT_COUNT; i++) {
        assert_true(strlen(event_help((enum event)i)) > 8);
        assert_true(event_level((enum event)i) <= LOG_ERROR);
    }
}

/* Whoever filters the log at warn must hear of everything that takes the instance out, and of nothing that merely happens. */
static void test_levels(void **state)
{
    (void)state;
    assert_int_equal(event_level(EVENT_NOT_READY), LOG_WARN);
    assert_int_equal(event_level(EVENT_DEGRADED), LOG_WARN);
    assert_int_equal(event_level(EVENT_DEAD), LOG_ERROR);
    assert_int_equal(event_level(EVENT_RELOAD_FAILED), LOG_ERROR);
    assert_int_equal(event_level(EVENT_READY), LOG_INFO);
    assert_int_equal(event_level(EVENT_ROUND), LOG_DEBUG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_unique_words),
        cmocka_unit_test(test_every_event_is_explained),
        cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
