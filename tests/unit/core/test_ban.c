/* When a refusal is the agent's own doing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/core/ban.h"

#define MS UINT64_C(1000000)
#define DAY (BAN_MAX_MS * MS)

static void test_nobody_is_banned_who_tried_nothing(void **state)
{
    struct ban ban = { 0 };

    (void)state;
    assert_false(ban_note_refused(&ban, 1 * MS)); /* from the start */
    ban_note_tried(&ban);
    assert_false(ban_note_refused(&ban, 2 * MS));
    ban = (struct ban){ 0 };
    assert_int_equal(ban_note_taken(&ban), 0);
    assert_false(ban_note_refused(&ban, 1 * MS)); /* the bad ones were tried before it was taken, or not at all */
    ban_note_tried(&ban);
    assert_int_equal(ban_note_taken(&ban), 0);
    assert_false(ban_note_refused(&ban, 1 * MS));
}

static void test_a_ban_ends_and_comes_again(void **state)
{
    struct ban ban = { 0 };

    (void)state;
    for (uint64_t pause_ms = BAN_PAUSE_MS; pause_ms < BAN_MAX_MS; pause_ms *= 2) {
        ban_note_taken(&ban);
        ban_note_tried(&ban);
        assert_true(ban_note_refused(&ban, 5 * MS));
        assert_true(ban_note_refused(&ban, 6 * MS));
        assert_int_equal(ban_pause_ms(&ban), pause_ms);
        assert_int_equal(ban_note_taken(&ban), pause_ms);
        assert_int_equal(ban_note_taken(&ban), 0);
    }
    for (int i = 0; i < 100; i++) {
        ban_note_tried(&ban);
        assert_true(ban_note_refused(&ban, 5 * MS));
        assert_int_equal(ban_note_taken(&ban), BAN_MAX_MS);
    }
}

/* Nobody is locked out for ever: then it is a fault after all. */
static void test_a_refusal_that_stays(void **state)
{
    struct ban ban = { 0 };

    (void)state;
    ban_note_taken(&ban);
    ban_note_tried(&ban);
    assert_true(ban_note_refused(&ban, 0));
    assert_true(ban_note_refused(&ban, DAY));
    assert_false(ban_note_refused(&ban, DAY + 2));
    ban_note_taken(&ban);
    assert_false(ban_note_refused(&ban, DAY + 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_banned_who_tried_nothing),
        cmocka_unit_test(test_a_ban_ends_and_comes_again),
        cmocka_unit_test(test_a_refusal_that_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
