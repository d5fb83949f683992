/* Which connection is closed when the HTTP server is full, as a table of cases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/http/httpd_seat.h"

enum { NOW = 100000 };

static ptrdiff_t choose(const struct seat *seats, size_t count)
{
    uint64_t again_ms;
    return seat_choose(seats, count, NOW, &again_ms);
}
#define choose_of(...) \
    choose((const struct seat[]){ __VA_ARGS__ }, sizeof((const struct seat[]){ __VA_ARGS__ }) / sizeof(struct seat))

static void nobody_goes_within_its_grace(void **state)
{
    (void)state;
    uint64_t again_ms;
    const struct seat young[] = { { SEAT_OWES, NOW - 200, 1 }, { SEAT_IDLE, NOW - 240, 1 }, { SEAT_TAKES, NOW, 1 } };
    assert_int_equal(seat_choose(young, 3, NOW, &again_ms), SEAT_NOBODY);
    assert_int_equal(again_ms, 10);
    assert_int_equal(seat_choose(young, 3, NOW + again_ms, &again_ms), 1);
    assert_int_equal(seat_choose(NULL, 0, NOW, &again_ms), SEAT_NOBODY);
}

static void who_has_brought_a_request_never_goes(void **state)
{
    (void)state;
    assert_int_equal(choose_of({ SEAT_SERVED, 0, 9 }, { SEAT_SERVED, 0, 1 }), SEAT_NOBODY);
    assert_int_equal(choose_of({ SEAT_SERVED, 0, 9 }, { SEAT_OWES, NOW - 250, 1 }), 1);
}

static void who_owes_a_request_goes_before_the_idle(void **state)
{
    (void)state;
    assert_int_equal(choose_of({ SEAT_IDLE, 0, 1 }, { SEAT_OWES, NOW - 300, 1 }, { SEAT_TAKES, NOW - 900, 1 }), 1);
    assert_int_equal(choose_of({ SEAT_OWES, NOW - 300, 1 }, { SEAT_OWES, NOW - 301, 1 }, { SEAT_OWES, NOW - 299, 1 }), 1);
}

static void a_stalled_reader_goes_before_the_idle_and_a_slow_one_after(void **state)
{
    (void)state;
    assert_int_equal(choose_of({ SEAT_IDLE, 0, 1 }, { SEAT_TAKES, NOW - 1000, 1 }), 1);
    assert_int_equal(choose_of({ SEAT_TAKES, NOW - 999, 1 }, { SEAT_IDLE, NOW - 300, 1 }), 1);
    assert_int_equal(choose_of({ SEAT_TAKES, NOW - 999, 1 }, { SEAT_SERVED, 0, 1 }), 0);
}

static void a_stream_goes_last_and_who_waits_never(void **state)
{
    (void)state;
    assert_int_equal(choose_of({ SEAT_STREAM, 0, 1 }, { SEAT_TAKES, NOW - 300, 1 }, { SEAT_IDLE, NOW - 300, 1 }), 2);
    assert_int_equal(choose_of({ SEAT_STREAM, 0, 1 }, { SEAT_TAKES, NOW - 300, 1 }, { SEAT_SERVED, 0, 1 }), 1);
    assert_int_equal(choose_of({ SEAT_STREAM, 10, 1 }, { SEAT_STREAM, 9, 1 }, { SEAT_SERVED, 0, 1 }), 1);
    assert_int_equal(
        choose_of({ SEAT_OWES, 0, 1 }, { SEAT_STREAM, NOW - 300, 3 }, { SEAT_STREAM, NOW - 299, 3 }, { SEAT_STREAM, NOW - 298, 3 }),
        1);
}

static void the_address_with_more_than_half_goes_first(void **state)
{
    (void)state;
    assert_int_equal(choose_of({ SEAT_OWES, 0, 1 }, { SEAT_IDLE, NOW - 300, 2 }, { SEAT_IDLE, NOW - 400, 2 }), 2);
    assert_int_equal(choose_of({ SEAT_OWES, 0, 2 }, { SEAT_OWES, 1, 2 }, { SEAT_IDLE, NOW - 300, 2 }, { SEAT_IDLE, NOW - 400, 2 }),
                     0);
}

/* Thousands of connections in a second: the server is full before any grace is over. */
static void a_crowd_has_less_grace_where_nobody_else_can_go(void **state)
{
    (void)state;
    assert_int_equal(choose_of({ SEAT_OWES, NOW - 60, 2 }, { SEAT_OWES, NOW - 70, 2 }, { SEAT_OWES, NOW - 200, 1 }), 1);
    assert_int_equal(choose_of({ SEAT_OWES, NOW - 60, 2 }, { SEAT_OWES, NOW - 70, 2 }, { SEAT_OWES, NOW - 250, 1 }), 2);
    assert_int_equal(choose_of({ SEAT_OWES, NOW - 10, 2 }, { SEAT_OWES, NOW - 49, 2 }, { SEAT_OWES, NOW - 200, 1 }), SEAT_NOBODY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_goes_within_its_grace),
        cmocka_unit_test(who_has_brought_a_request_never_goes),
        cmocka_unit_test(who_owes_a_request_goes_before_the_idle),
        cmocka_unit_test(a_stalled_reader_goes_before_the_idle_and_a_slow_one_after),
        cmocka_unit_test(a_stream_goes_last_and_who_waits_never),
        cmocka_unit_test(the_address_with_more_than_half_goes_first),
        cmocka_unit_test(a_crowd_has_less_grace_where_nobody_else_can_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
