/* The closed sets that a check's counters are labelled with: their words, and which close code counts as what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/stats.h"

static void test_close_labels(void **state)
{
    (void)state;
    assert_int_equal(close_label_of(1000), CLOSE_1000);
    assert_int_equal(close_label_of(1006), CLOSE_1006);
    assert_int_equal(close_label_of(1014), CLOSE_1014);
    assert_int_equal(close_label_of(3000), CLOSE_3XXX);
    assert_int_equal(close_label_of(3999), CLOSE_3XXX);
    assert_int_equal(close_label_of(4000), CLOSE_4XXX);
    assert_int_equal(close_label_of(4999), CLOSE_4XXX);
    const int others[] = { -1, 0, 999, 1004, 1015, 2999, 5000, 65535 };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_int_equal(close_label_of(others[i]), CLOSE_OTHER);
    assert_string_equal(close_label_name(CLOSE_1001), "1001");
    assert_string_equal(close_label_name(CLOSE_4XXX), "4xxx");
}

static void test_delivery_names(void **state)
{
    (void)state;
    static const char *const results[] = { "received", "late", "lost", "duplicate", "reordered" };
    assert_string_equal(delivery_leg_name(LEG_CONTROL), "control");
    assert_string_equal(delivery_leg_name(LEG_WEBSOCKET), "websocket");
    for (unsigned i = 0; i < DELIVERY_COUNT; i++)
        assert_string_equal(delivery_result_name((enum delivery_result)i), results[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_labels),
        cmocka_unit_test(test_delivery_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
