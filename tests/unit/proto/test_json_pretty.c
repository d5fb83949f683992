/* JSON laid out for people means what it meant, and no number or string is written otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agent/proto/json_pretty.h"

static struct buf out;

static const char *pretty(const char *json, bool ascii)
{
    buf_fini(&out);
    out = BUF_INIT(4096);
    assert_int_equal(json_pretty(slice_str(json), ascii, &out), 0);
    return buf_str(&out);
}

static void test_levels(void **state)
{
    (void)state;
    assert_string_equal(pretty("{\"a\":1,\"b\":[true,null,{\"c\":\"d\"}],\"e\":{},\"f\":[]}\n", false), "{\n"
                                                                                                        "  \"a\": 1,\n"
                                                                                                        "  \"b\": [\n"
                                                                                                        "    true,\n"
                                                                                                        "    null,\n"
                                                                                                        "    {\n"
                                                                                                        "      \"c\": \"d\"\n"
                                                                                                        "    }\n"
                                                                                                        "  ],\n"
                                                                                                        "  \"e\": {},\n"
                                                                                                        "  \"f\": []\n"
                                                                                                        "}\n");
    assert_string_equal(pretty("17", false), "17\n");
    assert_string_equal(pretty("[ \n ]", false), "[]\n");
    assert_string_equal(pretty("{ \"a\" : [ 1 , 2 ] }", false), "{\n  \"a\": [\n    1,\n    2\n  ]\n}\n");
}

static void test_tokens_stay_as_they_are(void **state)
{
    (void)state;
    static const char *const tokens[] = { "0.001900",    "-1.50E+10",     "\"a,b:{c}[d]  e\"", "\"say \\\"hi\\\"\\\\\"",
                                          "\"\\u00fc\"", "\"gr\xc3\xbc\"" };
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        assert_memory_equal(pretty(tokens[i], false), tokens[i], strlen(tokens[i]));
        assert_int_equal(out.len, strlen(tokens[i]) + 1);
    }
}

static void test_ascii(void **state)
{
    (void)state;
    assert_string_equal(pretty("\"gr\xc3\xbc…\xf0\x9f\x98\x80\"", true), "\"gr\\u00fc\\u2026\\ud83d\\ude00\"\n");
    assert_string_equal(pretty("{\"\xc3\xbc\":1}", true), "{\n  \"\\u00fc\": 1\n}\n");
}

/* No JSON, or cut in the middle: nothing is read beyond the end. */
static void test_odd_texts(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "\"", "\"\\", "\"abc\\", "{", "[[", "}}]", "\"\xc3", "{\"a\":" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        pretty(texts[i], false);
        pretty(texts[i], true);
    }
}

static void test_what_does_not_fit(void **state)
{
    (void)state;
    struct buf small = BUF_INIT(8);
    assert_int_equal(json_pretty(slice_str("[1,2,3,4,5]"), false, &small), -1);
    buf_fini(&small);
}

static int forget(void **state)
{
    (void)state;
    buf_fini(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),    cmocka_unit_test(test_tokens_stay_as_they_are), cmocka_unit_test(test_ascii),
        cmocka_unit_test(test_odd_texts), cmocka_unit_test(test_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, forget);
}
