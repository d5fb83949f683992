/* Rings: order, removal in the middle of a walk, and the harmless second removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/list.h"

struct item {
    struct list node;
    int value;
};

static void test_order_and_removal(void **state)
{
    (void)state;
    struct list head = LIST_INIT(head);
    struct item items[4];
    assert_true(list_empty(&head));
    for (int i = 0; i < 4; i++) {
        items[i].value = i;
        list_push(&head, &items[i].node);
    }
    list_remove(&items[2].node);
    list_remove(&items[2].node);
    int want[] = { 0, 1, 3 }, at = 0;
    list_each (pos, &head)
        assert_int_equal(list_entry(pos, struct item, node)->value, want[at++]);
    assert_int_equal(at, 3);
    list_each_safe (pos, &head)
        list_remove(pos);
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_order_and_removal) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
