/* The JSON writer: its output is read back by a parser and compared; escaping, nesting, numbers and the ceiling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "agent/proto/json_out.h"

static void test_a_document(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(4096);
    struct json_out json;
    json_out_begin(&json, &buf);
    json_out_object(&json);
    json_out_key(&json, "status");
    json_out_string(&json, "fail");
    json_out_key(&json, "code");
    json_out_null(&json);
    json_out_key(&json, "none");
    json_out_string(&json, NULL);
    json_out_key(&json, "list");
    json_out_array(&json);
    json_out_int(&json, INT64_MIN);
    json_out_int(&json, INT64_MAX);
    json_out_bool(&json, true);
    json_out_bool(&json, false);
    json_out_array(&json);
    json_out_array_end(&json);
    json_out_object(&json);
    json_out_object_end(&json);
    json_out_double(&json, 0.05, 3);
    json_out_double(&json, -1.5, 0);
    json_out_double(&json, NAN, 3);
    json_out_double(&json, INFINITY, 3);
    json_out_array_end(&json);
    json_out_key(&json, "last");
    json_out_int(&json, 0);
    json_out_object_end(&json);
    assert_int_equal(json_out_finish(&json), 0);
    assert_string_equal(buf_str(&buf),
                        "{\"status\":\"fail\",\"code\":null,\"none\":null,\"list\":[-9223372036854775808,9223372036854775807,"
                        "true,false,[],{},0.050,-2,null,null],\"last\":0}");
    buf_fini(&buf);
}

/* Every pair of bytes gives a document that a strict parser takes. */
static void test_any_bytes_give_valid_json(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(256);
    for (unsigned i = 0; i < 65536; i++) {
        const uint8_t bytes[] = { 'a', (uint8_t)(i >> 8), (uint8_t)i, 'z' };
        struct json_out json;
        buf_reset(&buf);
        json_out_begin(&json, &buf);
        json_out_array(&json);
        json_out_slice(&json, slice_of(bytes));
        json_out_array_end(&json);
        assert_int_equal(json_out_finish(&json), 0);
        json_t *root = json_loadb((const char *)buf.data, buf.len, JSON_ALLOW_NUL, NULL);
        assert_non_null(root);
        const json_t *text = json_array_get(root, 0);
        size_t len = json_string_length(text);
        assert_int_equal(json_string_value(text)[0], 'a');
        assert_int_equal(json_string_value(text)[len - 1], 'z');
        if (bytes[1] < 0x80 && bytes[2] < 0x80) {
            assert_int_equal(len, 4);
            assert_memory_equal(json_string_value(text), bytes, 4);
        }
        json_decref(root);
    }
    buf_fini(&buf);
}

static void test_escapes(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(256);
    struct json_out json;
    json_out_begin(&json, &buf);
    json_out_string(&json, "\"\\/\n\r\t\x01\x7fgr\xc3\xbc\xf0\x9f\x98\x80\xff\xed\xa0\x80");
    assert_int_equal(json_out_finish(&json), 0);
    assert_string_equal(buf_str(&buf), "\"\\\"\\\\/\\n\\r\\t\\u0001\\u007fgr\xc3\xbc\xf0\x9f\x98\x80"
                                       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    buf_fini(&buf);
}

static void test_the_ceiling_is_reported(void **state)
{
    (void)state;
    for (size_t max = 0; max < 40; max++) {
        struct buf buf = BUF_INIT(max);
        struct json_out json;
        json_out_begin(&json, &buf);
        json_out_object(&json);
        json_out_key(&json, "a");
        json_out_string(&json, "0123456789");
        json_out_key(&json, "b");
        json_out_int(&json, 12345);
        json_out_key(&json, "c");
        json_out_double(&json, 1, 2);
        json_out_object_end(&json);
        const size_t whole = strlen("{\"a\":\"0123456789\",\"b\":12345,\"c\":1.00}");
        assert_int_equal(json_out_finish(&json), max < whole ? -1 : 0);
        assert_true(buf.len <= max);
        buf_fini(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_document),
        cmocka_unit_test(test_any_bytes_give_valid_json),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_the_ceiling_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
