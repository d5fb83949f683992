/* A budget ends by items, by bytes or by time, and always allows the first item. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/budget.h"

static struct clock_fake fake;

static unsigned count(struct budget budget, size_t bytes, uint64_t ns)
{
    unsigned done = 0;
    while (done < 1000 && budget_left(&budget)) {
        fake.mono_ns += ns;
        clock_set_fake(&fake);
        budget_spend(&budget, bytes);
        done++;
    }
    return done;
}

static void it_ends_by_whatever_is_over_first(void **state)
{
    (void)state;
    clock_set_fake(&fake);
    assert_int_equal(count(budget_of(7, 1000, 1000), 1, 1), 7);
    assert_int_equal(count(budget_of(100, 1000, 1000), 100, 1), 10);
    assert_int_equal(count(budget_of(100, 1000, 1000), 1, 100000), 10);
    clock_set_fake(NULL);
}

static void the_first_item_is_always_allowed(void **state)
{
    (void)state;
    clock_set_fake(&fake);
    assert_int_equal(count(budget_of(1, 1, 0), 1 << 20, 1000000), 1);
    clock_set_fake(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_ends_by_whatever_is_over_first),
        cmocka_unit_test(the_first_item_is_always_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
