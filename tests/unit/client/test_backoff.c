/* The back-off after a refusal: how few attempts are left, who waits, what ends it; which closes are refusals; Retry-After. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/client/backoff.h"

/* Three checks want to go every 5 s for that long, and are always refused, 10 ms later. How many attempts are made? */
static unsigned attempts_in(struct backoff *backoff, uint64_t from_ms, uint64_t for_ms)
{
    unsigned attempts = 0;
    for (uint64_t now = from_ms; now < from_ms + for_ms; now += 5000)
        for (unsigned check = 0; check < 3; check++)
            if (backoff_claim(backoff, now + check)) {
                attempts++;
                backoff_refused(backoff, now + check, now + check + 1, 0);
            }
    return attempts;
}

static void test_at_most_one_a_minute_in_the_end(void **state)
{
    struct backoff backoff = { 0 };
    (void)state;
    assert_in_range(attempts_in(&backoff, 1000, 60000), 3, 5);
    assert_in_range(attempts_in(&backoff, 601000, 600000), 9, 11);
}

/* Rounds that were under way together are one refusal. */
static void test_a_refusal_counts_once(void **state)
{
    struct backoff backoff = { 0 };
    (void)state;
    backoff_refused(&backoff, 1000, 1010, 0);
    backoff_refused(&backoff, 1001, 1020, 0);
    backoff_refused(&backoff, 1002, 3000, 0);
    assert_int_equal(backoff.level, 1);
    assert_int_equal(backoff_wait_ms(&backoff, 1010), BACKOFF_FIRST_MS);
}

static void test_a_claim_is_one_attempt(void **state)
{
    struct backoff backoff = { 0 };
    (void)state;
    assert_true(backoff_claim(&backoff, 1) && backoff_claim(&backoff, 1)); /* nobody is refused */
    backoff_refused(&backoff, 1000, 1000, 0);
    assert_false(backoff_claim(&backoff, 1000 + BACKOFF_FIRST_MS - 1));
    assert_true(backoff_claim(&backoff, 1000 + BACKOFF_FIRST_MS));
    assert_false(backoff_claim(&backoff, 1000 + BACKOFF_FIRST_MS));
    assert_true(backoff_claim(&backoff, 1000 + 2 * BACKOFF_FIRST_MS)); /* also where the attempt has said nothing */
}

static void test_what_ends_it(void **state)
{
    struct backoff backoff = { 0 };
    (void)state;
    attempts_in(&backoff, 1000, 300000);
    backoff_other(&backoff); /* the server went down: it is looked at in the usual pace … */
    assert_true(backoff_claim(&backoff, 400000) && backoff_claim(&backoff, 400001));
    backoff_refused(&backoff, 400000, 400002, 0); /* … and is back, and has not forgotten */
    assert_int_equal(backoff_wait_ms(&backoff, 400002), BACKOFF_MAX_MS);
    backoff_passed(&backoff);
    assert_int_equal(backoff_wait_ms(&backoff, 400003), 0);
    backoff_refused(&backoff, 500000, 500000, 0);
    assert_int_equal(backoff_wait_ms(&backoff, 500000), BACKOFF_FIRST_MS);
}

static void test_retry_after_is_obeyed_and_bounded(void **state)
{
    struct backoff backoff = { 0 };
    (void)state;
    backoff_refused(&backoff, 1000, 1000, 120000);
    assert_int_equal(backoff_wait_ms(&backoff, 1000), 120000);
    backoff_refused(&backoff, 900, 1001, 1); /* a later one does not shorten it */
    assert_int_equal(backoff_wait_ms(&backoff, 1000), 120000);
    backoff_refused(&backoff, 1000, 1000, UINT64_MAX);
    assert_int_equal(backoff_wait_ms(&backoff, 1000), BACKOFF_RETRY_AFTER_MAX_MS);
}

static void test_reading_retry_after(void **state)
{
    static const int64_t wall_ms = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
    static const struct {
        const char *value;
        uint64_t ms;
    } rows[] = { { "0", 0 },
                 { "7", 7000 },
                 { "120", 120000 },
                 { "599", 599000 },
                 { "600", BACKOFF_RETRY_AFTER_MAX_MS },
                 { "99999999999999999999999", BACKOFF_RETRY_AFTER_MAX_MS },
                 { "Sun, 06 Nov 1994 08:50:37 GMT", 60000 },
                 { "Sun, 06 Nov 1994 08:49:37 GMT", 0 },
                 { "Sun, 06 Nov 1994 08:49:36 GMT", 0 },
                 { "Mon, 29 Feb 2096 00:00:00 GMT", BACKOFF_RETRY_AFTER_MAX_MS },
                 { "Sun, 06 Xyz 1994 08:50:37 GMT", 0 },
                 { "Sun, 06 Nov 1994 08:50:37 GMT and more", 0 },
                 { "Sun, 99 Nov 1994 08:50:37 GMT", 0 },
                 { "soon", 0 },
                 { "-5", 0 },
                 { "7s", 0 },
                 { "", 0 } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(backoff_retry_after_ms(slice_str(rows[i].value), wall_ms), rows[i].ms);
}

static void test_which_closes_are_refusals(void **state)
{
    static const struct {
        int code;
        const char *text;
        enum reason reason;
        bool refusal;
    } rows[] = { { 1000, "bye", REASON_CLOSED_BY_SERVER, false },
                 { 1001, "token", REASON_CLOSED_BY_SERVER, false },
                 { 1011, "authentication backend is down", REASON_CLOSED_BY_SERVER, false },
                 { 1008, "", REASON_CLOSED_BY_SERVER, true },
                 { 1008, "Invalid Token", REASON_LOGIN_REJECTED, true },
                 { 1008, "Rate limit exceeded", REASON_RATE_LIMITED, true },
                 { 1013, "too many requests", REASON_RATE_LIMITED, true },
                 { 1013, "try again later", REASON_CLOSED_BY_SERVER, false },
                 { 3000, "", REASON_LOGIN_REJECTED, true },
                 { 4401, "", REASON_LOGIN_REJECTED, true },
                 { 4429, "", REASON_RATE_LIMITED, true },
                 { 4001, "unauthorized", REASON_LOGIN_REJECTED, true },
                 { 4001, "room is gone", REASON_CLOSED_BY_SERVER, false } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum reason reason = backoff_close_reason(rows[i].code, slice_str(rows[i].text));
        assert_int_equal(reason, rows[i].reason);
        assert_int_equal(backoff_is_refusal(reason, rows[i].code), rows[i].refusal);
    }
    assert_true(backoff_is_refusal(REASON_UPGRADE_UNAUTHORIZED, 0));
    assert_false(backoff_is_refusal(REASON_UPGRADE_REFUSED, 0));
}

static void test_which_answers_are_refusals(void **state)
{
    (void)state;
    for (int status = 100; status < 600; status++)
        assert_int_equal(backoff_is_refusing_status(status), status == 401 || status == 403 || status == 429);
    assert_true(backoff_is_refusal(REASON_TLS_CLIENT_CERT_REJECTED, 0)); /* a login that failed, too */
    assert_false(backoff_is_refusal(REASON_TLS_HANDSHAKE_FAILED, 0));
    assert_false(backoff_is_refusal(REASON_CONNECT_REFUSED, 0));
}

/* A check that is not refused itself goes once a minute meanwhile, its first time at once, and never before the server's own word is over. */
static void test_others_go_rarely(void **state)
{
    struct backoff backoff = { 0 };
    (void)state;
    assert_int_equal(backoff_rare_wait_ms(&backoff, 5000, 5001), 0);
    backoff_refused(&backoff, 1000, 1000, 0);
    assert_int_equal(backoff_rare_wait_ms(&backoff, 0, 2000), 0);
    assert_int_equal(backoff_rare_wait_ms(&backoff, 2000, 2000), BACKOFF_MAX_MS);
    assert_int_equal(backoff_rare_wait_ms(&backoff, 2000, 2000 + BACKOFF_MAX_MS), 0);
    backoff_refused(&backoff, 3000, 3000, 300000);
    assert_int_equal(backoff_rare_wait_ms(&backoff, 0, 3000), 300000);
    assert_int_equal(backoff_rare_wait_ms(&backoff, 2000, 303000), 0);
    backoff_passed(&backoff);
    assert_int_equal(backoff_rare_wait_ms(&backoff, 2000, 3000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_most_one_a_minute_in_the_end),
        cmocka_unit_test(test_a_refusal_counts_once),
        cmocka_unit_test(test_a_claim_is_one_attempt),
        cmocka_unit_test(test_what_ends_it),
        cmocka_unit_test(test_retry_after_is_obeyed_and_bounded),
        cmocka_unit_test(test_reading_retry_after),
        cmocka_unit_test(test_which_closes_are_refusals),
        cmocka_unit_test(test_which_answers_are_refusals),
        cmocka_unit_test(test_others_go_rarely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
