/* What a round over several addresses comes to: who is named, who is blamed, and what is left out. */
#include <arpa/inet.h>
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

/* --- the round --- */

static struct check_host host;
static struct check check;
static struct each each;
static const struct probe_type type = { .name = "handshake", .kind = PROBE_FRESH };
static const struct check_conf conf = { .path = PATH_PUBLIC };

static void begin(size_t addresses)
{
    memset(&check, 0, sizeof check);
    memset(&host, 0, sizeof host);
    memset(&each, 0, sizeof each);
    check.host = &host;
    check.conf = &conf;
    check.run = &check.first;
    check.first.type = &type;
    check.first.check = &check;
    check.each = &each;
    each.dial.count = addresses;
}

/* The dial has looked the name up, and the part has ended. True: another address comes. */
static bool end_part(size_t addresses, enum result result, enum reason reason)
{
    each.dial.count = addresses;
    for (size_t i = 0; i < addresses; i++) {
        struct sockaddr_in *address = (struct sockaddr_in *)&each.dial.addresses[i];
        address->sin_family = AF_INET;
        address->sin_addr.s_addr = htonl(0xc0000200 + (uint32_t)i);
    }
    check.timed_out = reason == REASON_CONNECT_TIMEOUT;
    ending = (struct ending){ .result = result, .reason = reason, .text = "so" };
    return each_end_part(&check, &ending);
}

static void test_a_round(void **state)
{
    (void)state;
    begin(3);
    assert_false(each_goes_on(&check));
    assert_true(end_part(3, RESULT_PASS, REASON_NONE));
    assert_true(each_goes_on(&check));
    assert_int_equal(each.dial.index, 1);
    check.first.report.spoke = true;
    assert_true(end_part(3, RESULT_FAIL, REASON_UPGRADE_REFUSED));
    check.first.report.spoke = false;
    assert_false(end_part(3, RESULT_PASS, REASON_NONE));
    assert_false(each_goes_on(&check));
    assert_int_equal(each.dial.count, 0); /* the next round looks the name up */
    assert_int_equal(each.dial.index, 0);
    assert_string_equal(ending.text, "1 of 3 addresses fails: 192.0.2.1: so");
    assert_true(check.addresses.bad == 1 && check.addresses.of == 3);
    assert_true(check.first.report.spoke);
}

/* One address, a lookup that failed, and a round that is void change nothing. */
static void test_a_round_as_without(void **state)
{
    (void)state;
    begin(1);
    assert_false(end_part(1, RESULT_FAIL, REASON_CONNECT_REFUSED));
    assert_string_equal(ending.text, "so");
    assert_false(end_part(0, RESULT_FAIL, REASON_DNS_FAILURE));
    assert_string_equal(ending.text, "so");
    assert_true(end_part(2, RESULT_FAIL, REASON_CONNECT_REFUSED));
    assert_false(end_part(2, RESULT_VOID, REASON_AGENT_STALLED));
    assert_string_equal(ending.text, "so");
    assert_int_equal(ending.result, RESULT_VOID);
    assert_int_equal(check.addresses.bad, 0);
    assert_false(each_goes_on(&check));
}

/* A round waits for four dead addresses at most, and the next one begins with the others, also where there are fewer of them then. */
static void test_dead_addresses(void **state)
{
    (void)state;
    begin(6);
    for (unsigned i = 0; i < 3; i++)
        assert_true(end_part(6, RESULT_FAIL, REASON_CONNECT_TIMEOUT));
    assert_false(end_part(6, RESULT_FAIL, REASON_CONNECT_TIMEOUT));
    assert_int_equal(ending.result, RESULT_FAIL);
    assert_string_equal(ending.text, "all 4 addresses fail: so; 2 more were not tried");
    assert_int_equal(each.dial.index, 4);
    assert_true(end_part(2, RESULT_PASS, REASON_NONE));
    assert_false(end_part(2, RESULT_PASS, REASON_NONE));
    assert_int_equal(ending.result, RESULT_PASS);
}

static void test_a_target_that_refuses(void **state)
{
    (void)state;
    begin(3);
    assert_true(end_part(3, RESULT_FAIL, REASON_RATE_LIMITED)); /* the first time, all are asked */
    assert_true(end_part(3, RESULT_FAIL, REASON_RATE_LIMITED));
    assert_false(end_part(3, RESULT_FAIL, REASON_RATE_LIMITED));
    host.backoff[1].level = 1;
    assert_false(end_part(3, RESULT_FAIL, REASON_RATE_LIMITED));
    assert_string_equal(ending.text, "192.0.2.0 fails: so; 2 more were not tried");
    assert_int_equal(each.dial.index, 1);
    assert_true(end_part(3, RESULT_PASS, REASON_NONE));
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
        cmocka_unit_test(test_a_round),
        cmocka_unit_test(test_a_round_as_without),
        cmocka_unit_test(test_dead_addresses),
        cmocka_unit_test(test_a_target_that_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
