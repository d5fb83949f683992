/* PROXY preambles: whole, in pieces, broken, absent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/proxy_read.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define bytes_of(text) slice_make(text, sizeof text - 1)

static void preambles_are_found_however_they_are_cut(void **state)
{
    static const struct {
        struct slice bytes;
        size_t len;
        bool known, loopback;
    } cases[] = {
        { { (const uint8_t *)"PROXY TCP4 10.0.0.1 10.0.0.2 33333 9717\r\nGET", 44 }, 41, true, false },
        { { (const uint8_t *)"PROXY TCP4 127.9.9.9 10.0.0.2 0 65535\r\n", 39 }, 39, true, true },
        { { (const uint8_t *)"PROXY TCP6 ::1 fd00::1 1 2\r\n", 28 }, 28, true, true },
        { { (const uint8_t *)"PROXY TCP6 ::ffff:127.0.0.1 fd00::1 1 2\r\n", 41 }, 41, true, true },
        { { (const uint8_t *)"PROXY TCP6 fd00::2 fd00::1 1 2\r\n", 32 }, 32, true, false },
        { { (const uint8_t *)"PROXY UNKNOWN\r\n", 15 }, 15, false, false },
        { { (const uint8_t *)"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", 33 }, 33, false, false },
        { { (const uint8_t *)SIGNATURE "\x21\x11\x00\x0c\x7f\x00\x00\x01\x0a\x00\x00\x01\x00\x01\x00\x02GET", 31 },
          28,
          true,
          true },
        { { (const uint8_t *)SIGNATURE "\x21\x11\x00\x0f\x0a\x00\x00\x01\x0a\x00\x00\x01\x00\x01\x00\x02\x04\x00\x00", 31 },
          31,
          true,
          false },
        { { (const uint8_t *)SIGNATURE "\x20\x00\x00\x00", 16 }, 16, false, false },
        { { (const uint8_t *)SIGNATURE "\x21\x00\x00\x02xy", 18 }, 18, false, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct proxy_source source;
        struct err err;
        size_t len;
        for (size_t part = 0; part < cases[i].len; part++)
            assert_int_equal(proxy_read(slice_make(cases[i].bytes.data, part), &source, &len, &err), PROXY_PART);
        assert_int_equal(proxy_read(cases[i].bytes, &source, &len, &err), PROXY_FOUND);
        assert_int_equal(len, cases[i].len);
        assert_int_equal(source.known, cases[i].known);
        assert_int_equal(source.loopback, cases[i].loopback);
    }
}

static void broken_ones_are_refused(void **state)
{
    static const struct slice cases[] = {
        { (const uint8_t *)"PROXY TCP4 10.0.0.1 10.0.0.2 33333\r\n", 36 },
        { (const uint8_t *)"PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n", 36 },
        { (const uint8_t *)"PROXY TCP4 10.0.0.256 10.0.0.2 1 2\r\n", 36 },
        { (const uint8_t *)"PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n", 38 },
        { (const uint8_t *)"PROXY TCP4 ::1 ::1 1 2\r\n", 24 },
        { (const uint8_t *)"PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n", 35 },
        { (const uint8_t *)"PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n", 34 },
        { (const uint8_t *)"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n", 33 },
        { (const uint8_t *)"PROXY \r\n", 8 },
        { (const uint8_t *)SIGNATURE "\x31\x11\x00\x0c", 16 },
        { (const uint8_t *)SIGNATURE "\x22\x11\x00\x0c", 16 },
        { (const uint8_t *)SIGNATURE "\x21\x41\x00\x0c", 16 },
        { (const uint8_t *)SIGNATURE "\x21\x11\x00\x0b", 16 },
        { (const uint8_t *)SIGNATURE "\x21\x21\x00\x0c", 16 },
        { (const uint8_t *)SIGNATURE "\x21\x11\xff\xff", 16 },
    };
    struct proxy_source source;
    struct err err;
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(proxy_read(cases[i], &source, &len, &err), PROXY_BAD);
        assert_int_equal(err.code, 400);
    }
    char endless[200];
    memset(endless, 'x', sizeof endless);
    memcpy(endless, "PROXY TCP4 ", 11);
    assert_int_equal(proxy_read(slice_make(endless, sizeof endless), &source, &len, &err), PROXY_BAD);
}

static void requests_are_no_preambles(void **state)
{
    static const char *const cases[] = { "GET / HTTP/1.1\r\n", "PROXY\t", "PROPFIND / HTTP/1.1\r\n", "\r\nGET /", "\r\n\r\nGET /",
                                         "\x16\x03\x01",       "X" };
    struct proxy_source source;
    struct err err;
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(proxy_read(slice_str(cases[i]), &source, &len, &err), PROXY_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preambles_are_found_however_they_are_cut),
        cmocka_unit_test(broken_ones_are_refused),
        cmocka_unit_test(requests_are_no_preambles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
