/* The closed sets: every row has its name and help, names are unique, and phases and scopes are those of the contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/base/reason.h"

static void test_every_reason_is_complete(void **state)
{
    (void)state;
    for (int i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        enum reason reason = (enum reason)i;
        assert_true(strlen(reason_name(reason)) > 0);
        assert_true(strlen(reason_help(reason)) > 0);
        assert_int_equal(strspn(reason_name(reason), "abcdefghijklmnopqrstuvwxyz_"), strlen(reason_name(reason)));
        for (int j = i + 1; j < REASON_COUNT; j++)
            assert_string_not_equal(reason_name(reason), reason_name((enum reason)j));
    }
}

static void test_none_has_no_name(void **state)
{
    (void)state;
    assert_string_equal(reason_name(REASON_NONE), "");
    assert_int_equal(reason_scope(REASON_NONE), SCOPE_NONE);
    assert_int_equal(reason_phase(REASON_NONE), PHASE_NONE);
}

static void test_scopes_and_phases(void **state)
{
    (void)state;
    assert_int_equal(reason_scope(REASON_ECHO_TIMEOUT), SCOPE_LOCAL);
    assert_int_equal(reason_phase(REASON_ECHO_TIMEOUT), PHASE_OPEN);
    assert_int_equal(reason_phase(REASON_CONNECTION_RESET), PHASE_UPGRADE);
    assert_int_equal(reason_phase(REASON_TLS_CERT_EXPIRED), PHASE_TLS);
    assert_int_equal(reason_scope(REASON_AGENT_STALLED), SCOPE_NONE);
    /* What is wrong with the probe's own means says nothing about what clients get. */
    static const enum reason probes[] = {
        REASON_DNS_FAILURE,           REASON_TLS_CERT_EXPIRED,  REASON_TLS_CERT_NOT_YET_VALID, REASON_TLS_CERT_UNTRUSTED,
        REASON_TLS_HOSTNAME_MISMATCH, REASON_TLS_CERT_EXPIRING, REASON_UPGRADE_UNAUTHORIZED,   REASON_TLS_CLIENT_CERT_REJECTED,
        REASON_RATE_LIMITED,          REASON_LOGIN_REJECTED,    REASON_AUTH_REFRESH_FAILED
    };
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        assert_int_equal(reason_scope(probes[i]), SCOPE_PROBE);
    assert_int_equal(reason_scope(REASON_UPGRADE_REFUSED), SCOPE_LOCAL);
    assert_int_equal(reason_scope(REASON_AUTH_REJECTED), SCOPE_LOCAL);
    assert_string_equal(scope_name(SCOPE_PROBE), "probe");
    for (int i = 1; i < REASON_COUNT; i++)
        if (strncmp(reason_name((enum reason)i), "broker_", 7) == 0)
            assert_int_equal(reason_scope((enum reason)i), SCOPE_SHARED);
}

static void test_names_of_the_small_sets(void **state)
{
    (void)state;
    assert_string_equal(phase_name(PHASE_UPGRADE), "upgrade");
    assert_string_equal(scope_name(SCOPE_SHARED), "shared");
    assert_string_equal(result_name(RESULT_VOID), "void");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_reason_is_complete),
        cmocka_unit_test(test_none_has_no_name),
        cmocka_unit_test(test_scopes_and_phases),
        cmocka_unit_test(test_names_of_the_small_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
