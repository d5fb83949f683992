/* What a round over several addresses comes to: who is named, who is blamed, and what is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "agent/core/check_each.h"

static struct each_part parts[RESOLVE_ADDRESSES_MAX];
static size_t count, told;
static struct ending ending;
static struct address_split split;

static struct each_part *add(const char *address, enum result result, enum reason reason, const char *text)
{
    struct each_part *part = &parts[count++];

    memset(part, 0, sizeof *part);
    strcpy(part->address, address);
    part->family = strchr(address, ':') ? AF_INET6 : AF_INET;
    part->half.ending = (struct ending){ .result = result, .reason = reason };
    strcpy(part->half.ending.text, text);
    return part;
}

static struct each_part *pass(const char *address)
{
    return add(address, RESULT_PASS, REASON_NONE, "");
}

static struct each_part *fails(const char *address, enum reason reason, const char *text)
{
    return add(address, RESULT_FAIL, reason, text);
}

static void merge(size_t total)
{
    each_merge(parts, count, total, &ending, &told, &split);
    count = 0;
}

static void test_all_pass(void **state)
{
    (void)state;
    pass("192.0.2.1")->half.total_ns = 5;
    pass("192.0.2.2")->half.total_ns = 9;
    merge(2);
    assert_int_equal(ending.result, RESULT_PASS);
    assert_int_equal(told, 1);
    assert_int_equal(split.bad, 0);
    assert_string_equal(ending.text, "all 2 addresses pass; the times are those of 192.0.2.2, the slowest");
    add("192.0.2.1", RESULT_PASS, REASON_NONE, "the certificate expires in 3 days")->half.report.cert_not_after_ms = 3;
    add("2001:db8::1", RESULT_PASS, REASON_NONE, "the certificate expires in 9 days")->half.report.cert_not_after_ms = 9;
    merge(5);
    assert_string_equal(ending.text, "all 2 addresses pass; 192.0.2.1: the certificate expires in 3 days; 3 more were not tried");
}

static void test_some_fail(void **state)
{
    (void)state;
    pass("192.0.2.1");
    fails("192.0.2.2", REASON_UPGRADE_REFUSED, "status 404");
    add("192.0.2.3", RESULT_WARN, REASON_SLOW, "late");
    merge(3);
    assert_int_equal(ending.result, RESULT_WARN);
    assert_int_equal(ending.reason, REASON_UPGRADE_REFUSED);
    assert_int_equal(told, 1);
    assert_true(split.bad == 1 && split.of == 3);
    assert_string_equal(ending.text, "1 of 3 addresses fails: 192.0.2.2: status 404");
    fails("192.0.2.1", REASON_UPGRADE_REFUSED, "status 404");
    fails("192.0.2.2", REASON_CONNECT_REFUSED, "refused");
    pass("192.0.2.3");
    merge(3);
    assert_string_equal(ending.text, "2 of 3 addresses fail: 192.0.2.1 (status 404), 192.0.2.2 (refused)");
    for (unsigned i = 0; i < 5; i++)
        fails("192.0.2.1", REASON_CONNECT_REFUSED, "refused");
    pass("192.0.2.3");
    merge(7);
    assert_string_equal(ending.text,
                        "5 of 6 addresses fail: 192.0.2.1, 192.0.2.1, 192.0.2.1 and 2 more: refused; 1 more was not tried");
}

static void test_all_fail(void **state)
{
    (void)state;
    fails("192.0.2.1", REASON_CONNECT_REFUSED, "refused");
    fails("192.0.2.2", REASON_CONNECT_REFUSED, "refused, too");
    merge(2);
    assert_int_equal(ending.result, RESULT_FAIL);
    assert_int_equal(split.bad, 0);
    assert_string_equal(ending.text, "all 2 addresses fail: refused");
    fails("192.0.2.1", REASON_CONNECT_REFUSED, "refused");
    fails("192.0.2.2", REASON_UPGRADE_REFUSED, "status 404");
    merge(2);
    assert_string_equal(ending.text, "all 2 addresses fail: 192.0.2.1 (refused), 192.0.2.2 (status 404)");
}

static void test_some_warn(void **state)
{
    (void)state;
    pass("192.0.2.1");
    add("192.0.2.2", RESULT_WARN, REASON_TLS_CERT_EXPIRING, "in 3 days");
    merge(2);
    assert_int_equal(ending.result, RESULT_WARN);
    assert_true(split.bad == 1 && split.of == 2);
    assert_string_equal(ending.text, "1 of 2 addresses warns: 192.0.2.2: in 3 days");
    pass("192.0.2.1");
    add("192.0.2.2", RESULT_WARN, REASON_SLOW, "took 300ms");
    merge(2);
    assert_int_equal(ending.result, RESULT_WARN);
    assert_int_equal(split.bad, 0); /* one is farther away: that is nobody's fault */
}

/* A host without IPv6 is no fault of the service; where no address can be reached, that is said. */
static void test_a_family_without_a_way(void **state)
{
    (void)state;
    pass("192.0.2.1");
    pass("192.0.2.2");
    fails("2001:db8::1", REASON_CONNECT_UNREACHABLE, "network is unreachable");
    merge(3);
    assert_int_equal(ending.result, RESULT_PASS);
    assert_non_null(strstr(ending.text, "all 2 addresses pass; "));
    assert_non_null(strstr(ending.text, "; this host has no way to 1 more, of another address family"));
    pass("192.0.2.1");
    fails("192.0.2.2", REASON_CONNECT_UNREACHABLE, "no route to host");
    merge(2);
    assert_int_equal(ending.result, RESULT_WARN);
    fails("192.0.2.1", REASON_CONNECT_REFUSED, "refused");
    fails("2001:db8::1", REASON_CONNECT_UNREACHABLE, "network is unreachable");
    merge(2);
    assert_int_equal(ending.result, RESULT_FAIL);
    assert_int_equal(ending.reason, REASON_CONNECT_REFUSED);
    fails("192.0.2.1", REASON_CONNECT_UNREACHABLE, "no way");
    fails("2001:db8::1", REASON_CONNECT_UNREACHABLE, "no way");
    merge(2);
    assert_int_equal(ending.result, RESULT_FAIL);
    assert_string_equal(ending.text, "all 2 addresses fail: no way");
}

/* The longest texts that there can be. */
static void test_the_sentence_is_bounded(void **state)
{
    char text[ERR_TEXT_MAX];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    for (unsigned alike = 0; alike < 2; alike++) {
        for (unsigned i = 0; i < RESOLVE_ADDRESSES_MAX - 1; i++)
            fails("2001:db8:1111:2222:3333:4444:5555:6666", i && !alike ? REASON_CONNECT_REFUSED : REASON_UPGRADE_REFUSED, text);
        pass("192.0.2.1");
        merge(1000);
        assert_true(strlen(ending.text) < sizeof ending.text);
        assert_non_null(strstr(ending.text, "15 of 16 addresses fail: 2001:"));
        assert_non_null(strstr(ending.text, "; 984 more were not tried"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_pass),
        cmocka_unit_test(test_some_fail),
        cmocka_unit_test(test_all_fail),
        cmocka_unit_test(test_some_warn),
        cmocka_unit_test(test_a_family_without_a_way),
        cmocka_unit_test(test_the_sentence_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
