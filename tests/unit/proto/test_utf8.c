/* UTF-8: every code point, everything that is none, and the same verdict however the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/proto/utf8.h"

static size_t encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(lead[len] | c);
    return len;
}

static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x120000; c++) {
        uint8_t bytes[4];
        size_t len = encode(c, bytes);
        bool valid = c < 0xd800 || (c > 0xdfff && c <= 0x10ffff);
        if (utf8_valid(slice_make(bytes, len)) != valid)
            fail_msg("U+%04X is %s", c, valid ? "refused" : "taken");
        uint32_t at = 0;
        if (valid && len > 1) {
            assert_true(utf8_feed(&at, slice_make(bytes, len - 1)));
            assert_false(utf8_complete(at));
        }
    }
}

/* RFC 3629, 4: overlong forms, surrogates, bytes that occur nowhere. The number says at which byte the error shows. */
static void test_errors_show_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t at;
    } rows[] = {
        { "\x80", 0 },
        { "\xbf", 0 },
        { "\xc0\x80", 0 },
        { "\xc1\xbf", 0 },
        { "\xf5\x80", 0 },
        { "\xff", 0 },
        { "\xe0\x9f\xbf", 1 },
        { "\xed\xa0\x80", 1 },
        { "\xf0\x8f\xbf", 1 },
        { "\xf4\x90\x80", 1 },
        { "\xc3(", 1 },
        { "\xe2\x82(", 2 },
        { "\xf0\x9f\x98(", 3 },
        { "a\xc3\xc3", 2 },
        { "12345678\xff", 8 },
        { "\xc3\xbc\x80", 2 },
        { "\xf0\x9f\x98\xc0", 3 },
        { "12345678901\xe0\x80", 12 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t at = 0;
        for (size_t j = 0; j < strlen(rows[i].bytes); j++) {
            bool ok = utf8_feed(&at, slice_make(rows[i].bytes + j, 1));
            assert_int_equal(ok, j < rows[i].at);
        }
        assert_false(utf8_complete(at));
        assert_false(utf8_feed(&at, slice_str("a"))); /* an error stays */
        assert_false(utf8_valid(slice_str(rows[i].bytes)));
    }
}

static void test_every_cut_gives_the_same(void **state)
{
    (void)state;
    static const char text[] = "plain ascii, gr\xc3\xbc\xc3\x9f, \xe2\x82\xac, \xf0\x9f\x98\x80 and a long ascii tail";
    const size_t len = sizeof text - 1;
    for (size_t a = 0; a <= len; a++)
        for (size_t b = a; b <= len; b++) {
            uint32_t at = 0;
            assert_true(utf8_feed(&at, slice_make(text, a)));
            assert_true(utf8_feed(&at, slice_make(text + a, b - a)));
            assert_true(utf8_feed(&at, slice_make(text + b, len - b)));
            assert_true(utf8_complete(at));
        }
    assert_true(utf8_valid(slice_make(NULL, 0)));
    assert_false(utf8_valid(slice_str("cut \xe2\x82")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_errors_show_at_once),
        cmocka_unit_test(test_every_cut_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
