/* base64: the vectors of RFC 4648, every byte there and back, and one spelling for each value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/proto/base64.h"

static void test_vectors(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[BASE64_LEN(6) + 1];
        struct buf buf = BUF_INIT(6);
        base64_encode(slice_str(rows[i][0]), out);
        assert_string_equal(out, rows[i][1]);
        assert_int_equal(base64_decode(slice_str(out), &buf), 0);
        assert_string_equal(buf_str(&buf), rows[i][0]);
        buf_fini(&buf);
    }
}

static void test_there_and_back(void **state)
{
    (void)state;
    uint8_t bytes[256];
    char out[BASE64_LEN(sizeof bytes) + 1];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        struct buf buf = BUF_INIT(sizeof bytes);
        base64_encode(slice_make(bytes, len), out);
        assert_int_equal(strlen(out), BASE64_LEN(len));
        assert_int_equal(base64_decode(slice_str(out), &buf), 0);
        assert_true(slice_equal(buf_slice(&buf), slice_make(bytes, len)));
        buf_fini(&buf);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = { "Z",    "Zg",   "Zg=",  "Zg===", "Zh==",     "Zm9=",     "Zm9v\n", " Zm9v",  "Zm 9",
                                        "Zm-_", "=Zm9", "====", "Z===",  "Zg==Zg==", "Zm9v====", "Z=g=",   "Zm9\xff" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf buf = BUF_INIT(100);
        buf_append_str(&buf, "kept");
        assert_int_equal(base64_decode(slice_str(rows[i]), &buf), -1);
        assert_string_equal(buf_str(&buf), "kept");
        buf_fini(&buf);
    }
}

static void test_the_ceiling(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(5);
    assert_int_equal(base64_decode(slice_str("Zm9vYmFy"), &buf), -1);
    assert_int_equal(buf.len, 0);
    assert_int_equal(base64_decode(slice_str("Zm9vYmE="), &buf), 0);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_the_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
