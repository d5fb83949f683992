/* Text for a terminal without more than ASCII: no byte above 0x7f comes out, whatever goes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/base/ascii.h"

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } rows[] = {
        { "", "" },
        { "plain ~ text\n", "plain ~ text\n" },
        { "gr\xc3\xbc\xc3\x9f", "gr\\xc3\\xbc\\xc3\\x9f" },
        { "cut…", "cut..." },
        { "\xe2\x80", "\\xe2\\x80" }, /* the beginning of an ellipsis, or of something else */
        { "\xff\xf0\x9f\x98\x80", "\\xff\\xf0\\x9f\\x98\\x80" },
        { "✓", "\\xe2\\x9c\\x93" }, /* somebody else's: not taken for a mark of ours */
    };
    struct buf out = BUF_INIT(1024);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_reset(&out);
        assert_int_equal(ascii_put(&out, slice_str(rows[i].text)), 0);
        assert_string_equal(buf_str(&out), rows[i].shown);
    }
    buf_fini(&out);
}

static void test_what_does_not_fit(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(6);
    assert_int_equal(ascii_put(&out, slice_str("abc\xc3\xbc")), -1);
    assert_string_equal(buf_str(&out), "abc");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_what_does_not_fit) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
