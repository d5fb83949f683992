/* The PROXY protocol's header, byte by byte, as proxy-protocol.txt has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "agent/proto/proxy_write.h"

static const struct sockaddr *v4(const char *text, uint16_t port, struct sockaddr_in *out)
{
    *out = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
    assert_int_equal(inet_pton(AF_INET, text, &out->sin_addr), 1);
    return (const struct sockaddr *)out;
}

static const struct sockaddr *v6(const char *text, uint16_t port, struct sockaddr_in6 *out)
{
    *out = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
    assert_int_equal(inet_pton(AF_INET6, text, &out->sin6_addr), 1);
    return (const struct sockaddr *)out;
}

static void writes(enum proxy_version version, const struct sockaddr *from, const struct sockaddr *to, const void *want, size_t len)
{
    struct buf out = BUF_INIT(PROXY_HEADER_MAX);
    assert_int_equal(proxy_write(&out, version, from, to), 0);
    assert_int_equal(out.len, len);
    if (len)
        assert_memory_equal(out.data, want, len);
    buf_fini(&out);
}
#define WRITES(version, from, to, text) writes(version, from, to, text, sizeof text - 1)
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

static void test_text(void **state)
{
    struct sockaddr_in a4, b4;
    struct sockaddr_in6 a6, b6;
    (void)state;
    v4("192.0.2.1", 56324, &a4);
    v4("198.51.100.9", 443, &b4);
    v6("2001:db8::1", 1, &a6);
    v6("ffff:f:f:f:f:f:f:f", 65535, &b6);
    WRITES(PROXY_V1, (const struct sockaddr *)&a4, (const struct sockaddr *)&b4, "PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n");
    WRITES(PROXY_V1, (const struct sockaddr *)&a6, (const struct sockaddr *)&b6,
           "PROXY TCP6 2001:db8::1 ffff:f:f:f:f:f:f:f 1 65535\r\n");
    WRITES(PROXY_V1, NULL, NULL, "PROXY UNKNOWN\r\n");
    WRITES(PROXY_V1, (const struct sockaddr *)&a4, (const struct sockaddr *)&b6, "PROXY UNKNOWN\r\n");
    WRITES(PROXY_OFF, (const struct sockaddr *)&a4, (const struct sockaddr *)&b4, "");
}

static void test_binary(void **state)
{
    struct sockaddr_in a4, b4;
    struct sockaddr_in6 a6, b6;
    (void)state;
    v4("192.0.2.1", 0x1234, &a4);
    v4("198.51.100.9", 443, &b4);
    v6("2001:db8::1", 1, &a6);
    v6("::1", 0xfffe, &b6);
    WRITES(PROXY_V2, (const struct sockaddr *)&a4, (const struct sockaddr *)&b4,
           SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x09\x12\x34\x01\xbb");
    WRITES(PROXY_V2, (const struct sockaddr *)&a6, (const struct sockaddr *)&b6,
           SIGNATURE "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\xff\xfe");
    WRITES(PROXY_V2, NULL, NULL, SIGNATURE "\x20\0\0\0");
}

static void test_the_ceiling(void **state)
{
    struct buf out = BUF_INIT(10);
    (void)state;
    assert_int_equal(proxy_write(&out, PROXY_V1, NULL, NULL), -1);
    assert_int_equal(proxy_write(&out, PROXY_V2, NULL, NULL), -1);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_text), cmocka_unit_test(test_binary),
                                        cmocka_unit_test(test_the_ceiling) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
