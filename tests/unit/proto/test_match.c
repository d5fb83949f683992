/* Matches: each part, their conjunction, the sentences they give, and hostile messages that must not cost much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/proto/match.h"

/* One attempt with a match made for it; the sentence is left in `why`. */
static struct err why;

static bool try_spec(const struct match_spec *spec, struct slice message)
{
    struct err err;
    err_clear(&err);
    err_clear(&why);
    struct match *match = match_new(spec, &err);
    if (!match)
        fail_msg("%s", err.text);
    bool ok = match_try(match, message, &why);
    assert_int_equal(match_try(match, message, NULL), ok);
    match_free(match);
    return ok;
}

static bool try_json(const char *pointer, const char *value, const char *message)
{
    struct match_spec spec = { .json = { { (char *)(uintptr_t)pointer, (char *)(uintptr_t)value } }, .json_count = 1 };
    return try_spec(&spec, slice_str(message));
}

static bool try_regex(const char *regex, struct slice message)
{
    struct match_spec spec = { .regex = (char *)(uintptr_t)regex };
    return try_spec(&spec, message);
}

static void test_an_empty_spec_takes_everything(void **state)
{
    (void)state;
    struct match_spec spec = { 0 };
    assert_true(match_spec_empty(&spec));
    assert_true(try_spec(&spec, slice_str("anything")));
    assert_true(try_spec(&spec, slice_make(NULL, 0)));
}

static void test_equals_and_contains(void **state)
{
    (void)state;
    char pong[] = "pong", empty[] = "";
    struct match_spec equals = { .equals = pong }, contains = { .contains = pong }, nothing = { .equals = empty };
    assert_true(try_spec(&equals, slice_str("pong")));
    assert_false(try_spec(&equals, slice_str("pong\n")));
    assert_string_equal(why.text, "text is \"pong\\x0a\", want \"pong\"");
    assert_false(try_spec(&equals, slice_make("pong\0", 5)));
    assert_true(try_spec(&contains, slice_make("\0\xffpong!", 7)));
    assert_false(try_spec(&contains, slice_str("PONG")));
    assert_string_equal(why.text, "text is \"PONG\", want \"pong\" in it");
    assert_true(try_spec(&nothing, slice_make(NULL, 0)));
    assert_false(try_spec(&nothing, slice_str(" ")));
}

static void test_what_came_is_cut(void **state)
{
    (void)state;
    static uint8_t large[100000];
    char pong[] = "pong";
    struct match_spec equals = { .equals = pong };
    memset(large, 'x', sizeof large);
    assert_false(try_spec(&equals, slice_of(large)));
    assert_true(strlen(why.text) < 150);
    assert_non_null(strstr(why.text, "xxx…\", want \"pong\""));
}

static void test_regex(void **state)
{
    (void)state;
    assert_true(try_regex("^po+ng$", slice_str("pooong")));
    assert_false(try_regex("^po+ng$", slice_str("png")));
    assert_string_equal(why.text, "text is \"png\", want a match of /^po+ng$/");
    assert_true(try_regex("^.$", slice_str("\xc3\xbc")));
    assert_true(try_regex("^$", slice_make(NULL, 0)));
    /* A message that is no UTF-8 is matched byte by byte. */
    assert_true(try_regex("pong", slice_make("\xff pong", 6)));
    assert_true(try_regex("^\\xff\\x00.$", slice_make("\xff\0\xfe", 3)));
    assert_false(try_regex("^pong", slice_make("\xff pong", 6)));
    assert_non_null(strstr(why.text, "want a match of /^pong/"));
    assert_false(try_regex("\\x{100}", slice_make("\xff", 1)));
    assert_non_null(strstr(why.text, "cannot be tried on it: UTF-8 error"));
}

static void test_hostile_texts_against_greedy_regexes(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    uint8_t *text = mem_alloc(LEN);
    static const char *const patterns[] = { "(a+)+$",     "(a|aa)+$",      "(a*)*b",    "[a-z]+\\d",
                                            "[a-z]++\\d", "(?s).*b.*c.*d", "(\\w|a)+!", "(?:a?){20}a{20}!" };
    for (int runs = 0; runs < 2; runs++) {
        memset(text, 'a', LEN);
        for (size_t i = 15; runs && i < LEN; i += 16)
            text[i] = '-';
        text[LEN - 1] = '-';
        for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++)
            assert_false(try_regex(patterns[i], slice_make(text, LEN)));
    }
    memset(text, 'a', LEN);
    text[LEN - 1] = '-';
    assert_false(try_regex("(a+)+$", slice_make(text, LEN)));
    assert_non_null(strstr(why.text, "too many steps"));
    mem_free(text);
}

/* Each message that costs all steps halves what the next one may cost; many that cost little give it back. */
static void test_a_flood_of_hostile_texts(void **state)
{
    (void)state;
    char regex[] = "(a+)+$|-ok";
    static const char hostile[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-", dear[] = "aaaaaaaaaaaaaa-ok";
    struct match *match = match_new(&(struct match_spec){ .regex = regex }, &why);
    assert_non_null(match);
    assert_true(match_try(match, slice_str(dear), NULL));
    assert_false(match_try(match, slice_str(hostile), NULL));
    assert_true(match_try(match, slice_str(dear), NULL));
    for (int i = 0; i < 10; i++)
        assert_false(match_try(match, slice_str(hostile), NULL));
    assert_false(match_try(match, slice_str(dear), &why));
    assert_non_null(strstr(why.text, "too many steps"));
    for (int i = 0; i < 200; i++)
        assert_true(match_try(match, slice_str("-ok"), NULL));
    assert_true(match_try(match, slice_str(dear), NULL));
    match_free(match);
}

static void test_large_texts_are_searched(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    uint8_t *text = mem_alloc(LEN);
    memset(text, 'a', LEN);
    memcpy(text + LEN - 5, "pong!", 5);
    assert_true(try_regex("pong!$", slice_make(text, LEN)));
    assert_true(try_regex("^a+p", slice_make(text, LEN)));
    assert_true(try_regex(".*pong", slice_make(text, LEN)));
    mem_free(text);
}

static void test_json_values(void **state)
{
    (void)state;
    assert_true(try_json("/op", "\"pong\"", "{\"op\":\"pong\",\"x\":1}"));
    assert_true(try_json("/n", "1", "{\"n\":1.0}"));
    assert_true(try_json("/n", "1.0", "{\"n\":1}"));
    assert_true(try_json("/n", "{\"a\":[1,2.0]}", "{\"n\":{\"a\":[1.0,2]}}"));
    assert_false(try_json("/n", "{\"a\":1}", "{\"n\":{\"a\":1,\"b\":2}}"));
    assert_false(try_json("/n", "[1]", "{\"n\":[1,2]}"));
    assert_false(try_json("/n", "1", "{\"n\":\"1\"}"));
    assert_false(try_json("/n", "1", "{\"n\":true}"));
    assert_true(try_json("/n", "null", "{\"n\":null}"));
    assert_false(try_json("/n", "null", "{}"));
    assert_true(try_json("", "\"x\"", " \"x\" "));
    assert_true(try_json("/n", "9007199254740993", "{\"n\":9007199254740993}"));
    assert_false(try_json("/n", "9007199254740993", "{\"n\":9007199254740992}"));
    assert_true(try_json("/op", "1", "{\"op\":1,\"id\":18446744073709551615}"));
    assert_true(try_json("/s", "\"a\\u0000b\"", "{\"s\":\"a\\u0000b\"}"));
    assert_false(try_json("/s", "\"a\\u0000b\"", "{\"s\":\"a\\u0000c\"}"));
}

static void test_json_pointers(void **state)
{
    (void)state;
    static const char doc[] = "{\"a/b\":1,\"m~n\":2,\"\":3,\"l\":[10,{\"id\":11}],\"0\":4,\"~1\":5}";
    assert_true(try_json("/a~1b", "1", doc));
    assert_true(try_json("/m~0n", "2", doc));
    assert_true(try_json("/", "3", doc));
    assert_true(try_json("/l/0", "10", doc));
    assert_true(try_json("/l/1/id", "11", doc));
    assert_true(try_json("/0", "4", doc));
    assert_true(try_json("/~01", "5", doc));
    static const char *const missing[] = { "/l/2", "/l/-",   "/l/01", "/l/-1", "/l/+1", "/l/", "/l/99999999999999999999",
                                           "/a",   "/l/0/x", "/x/y" };
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        assert_false(try_json(missing[i], "1", doc));
        assert_non_null(strstr(why.text, "is missing, want 1"));
    }
}

static void test_json_sentences(void **state)
{
    (void)state;
    assert_false(try_json("/op", "\"pong\"", "{\"op\":\"nack\"}"));
    assert_string_equal(why.text, "json /op is \"nack\", want \"pong\"");
    assert_false(try_json("/op", "\"pong\"", "{}"));
    assert_string_equal(why.text, "json /op is missing, want \"pong\"");
    assert_false(try_json("/op", "\"pong\"", "{\"op\":{\"a\":[1,0.1]}}"));
    assert_string_equal(why.text, "json /op is {\"a\": [1, 0.1]}, want \"pong\"");
    assert_false(try_json("/op", "\"pong\"", "hello"));
    assert_memory_equal(why.text, "text is \"hello\", want JSON (", 28);
}

static void test_no_part_of_a_secret_is_shown(void **state)
{
    (void)state;
    static const char token[] =
        "hunter2 \xc3\xbc \"quoted\" and so long that it would be cut somewhere in the middle, which must not leave a part of it";
    static const char *const prefixes[] = { "", "\"", "{\"op\":[\"", "{\"op\" ", "x " };
    char message[512], op[] = "/op", pong[] = "\"pong\"";
    struct match_spec spec = { .json = { { op, pong } }, .json_count = 1 };
    secret_add(token);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        snprintf(message, sizeof message, "%s%s", prefixes[i], token);
        assert_false(try_spec(&spec, slice_str(message)));
        assert_null(strstr(why.text, "hunter"));
        assert_null(strstr(why.text, "quoted"));
    }
    assert_false(
        try_json("/op", "\"pong\"",
                 "{\"op\":\"hunter2 \\u00fc \\\"quoted\\\" and so long that it would be cut somewhere in the middle, which must "
                 "not leave a part of it\"}"));
    assert_string_equal(why.text, "json /op is \"***\", want \"pong\"");
    secret_forget_all();
}

static void any_type(const char *value, bool hole, const char *message, bool matches)
{
    char pointer[] = "/id", *text = mem_strdup(value);
    struct match_spec spec = { .json = { { pointer, text } }, .json_count = 1, .any_type = hole };
    assert_int_equal(try_spec(&spec, slice_str(message)), matches);
    mem_free(text);
}

/* YAML cannot say whether the text in place of a hole is a number. */
static void test_a_hole_is_text_or_number(void **state)
{
    (void)state;
    any_type("\"7\"", true, "{\"id\":7}", true);
    any_type("\"7\"", true, "{\"id\":7.0}", true);
    any_type("\"7\"", true, "{\"id\":\"7\"}", true);
    any_type("\"7\"", true, "{\"id\":8}", false);
    any_type("\"7\"", true, "{\"id\":true}", false);
    any_type("\"7\"", false, "{\"id\":7}", false);
    any_type("\"room 7\"", true, "{\"id\":\"room 7\"}", true);
    any_type("\"true\"", true, "{\"id\":true}", false);
    any_type("7", true, "{\"id\":\"7\"}", false);
    assert_true(match_value_is_hole("\"{{seq}}\""));
    assert_false(match_value_is_hole("\"a{{seq}}\""));
    assert_false(match_value_is_hole("\"{{seq}}{{id}}\""));
    assert_false(match_value_is_hole("\"{{#token}}a{{/token}}\""));
    assert_false(match_value_is_hole("\"{{}}\""));
    assert_false(match_value_is_hole("7"));
    assert_false(match_value_is_hole("\"\""));
}

static void test_what_is_not_json(void **state)
{
    (void)state;
    static const char *const rows[] = { "",         " ",       "{",     "{}x", "{\"a\":1,\"a\":1}", "[1,]", "01",
                                        "\"\xff\"", "{'a':1}", "1e999", "nul", "\"\\ud800\"" };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_false(try_json("", "1", rows[i]));
        assert_non_null(strstr(why.text, "want JSON ("));
    }
}

static void test_hostile_json(void **state)
{
    (void)state;
    enum { LEN = MATCH_JSON_MAX + 1 };
    char one[] = "1", root[] = "";
    struct match_spec spec = { .json = { { root, one } }, .json_count = 1 };
    uint8_t *text = mem_alloc(LEN);
    memset(text, '[', LEN);
    assert_false(try_spec(&spec, slice_make(text, LEN)));
    assert_non_null(strstr(why.text, "too long"));
    assert_false(try_spec(&spec, slice_make(text, LEN - 1)));
    assert_non_null(strstr(why.text, "want JSON ("));
    /* A large document, valid but wrong, is shown cut. */
    memset(text, ' ', LEN);
    text[0] = '[';
    for (size_t i = 1; i + 2 < LEN - 1; i += 2) {
        text[i] = '1';
        text[i + 1] = ',';
    }
    text[LEN - 4] = '1';
    text[LEN - 3] = ']';
    text[LEN - 2] = ' ';
    assert_false(try_spec(&spec, slice_make(text, LEN - 1)));
    assert_true(strlen(why.text) < 400);
    mem_free(text);
}

static void test_all_parts_must_hold(void **state)
{
    (void)state;
    char contains[] = "pong", regex[] = "\\d", pointer[] = "/op", value[] = "\"pong\"", second[] = "/id", seven[] = "7";
    struct match_spec spec = {
        .contains = contains, .regex = regex, .json = { { pointer, value }, { second, seven } }, .json_count = 2
    };
    assert_true(try_spec(&spec, slice_str("{\"op\":\"pong\",\"id\":7}")));
    assert_false(try_spec(&spec, slice_str("{\"op\":\"pong\",\"id\":8}")));
    assert_string_equal(why.text, "json /id is 8, want 7");
    assert_false(try_spec(&spec, slice_str("{\"op\":\"pong\"}")));
    assert_non_null(strstr(why.text, "want a match of"));
}

static void test_what_cannot_be_compiled(void **state)
{
    (void)state;
    static const struct {
        struct match_spec spec;
        const char *says;
    } rows[] = {
        { { .regex = (char *)(uintptr_t)"a(b" }, "regex: missing closing parenthesis at offset 3" },
        { { .regex = (char *)(uintptr_t)"\\C" }, "regex: " },
        { { .regex = (char *)(uintptr_t)"\xff" }, "regex: UTF-8 error" },
        { { .json = { { (char *)(uintptr_t)"op", (char *)(uintptr_t)"1" } }, .json_count = 1 },
          "pointer 'op' does not begin with a slash" },
        { { .json = { { (char *)(uintptr_t)"/a~2", (char *)(uintptr_t)"1" } }, .json_count = 1 }, "neither ~0 nor ~1" },
        { { .json = { { (char *)(uintptr_t)"/a~", (char *)(uintptr_t)"1" } }, .json_count = 1 }, "neither ~0 nor ~1" },
        { { .json = { { (char *)(uintptr_t)"/a", (char *)(uintptr_t)"pong" } }, .json_count = 1 }, "json /a: value is not JSON" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err;
        assert_null(match_new(&rows[i].spec, &err));
        if (!strstr(err.text, rows[i].says))
            fail_msg("'%s' does not say '%s'", err.text, rows[i].says);
        assert_null(match_new(&rows[i].spec, NULL));
    }
    match_free(NULL);
}

static void test_describing_and_freeing(void **state)
{
    (void)state;
    struct match_spec spec = { 0 };
    char out[256];
    match_describe(&spec, out, sizeof out);
    assert_string_equal(out, "any message");
    spec.equals = mem_strdup("pong");
    match_describe(&spec, out, sizeof out);
    assert_string_equal(out, "equal to \"pong\"");
    spec.contains = mem_strdup("po");
    spec.regex = mem_strdup("^p");
    for (spec.json_count = 0; spec.json_count < 2; spec.json_count++) {
        spec.json[spec.json_count].pointer = mem_printf("/op%zu", spec.json_count);
        spec.json[spec.json_count].value = mem_strdup("\"pong\"");
    }
    match_describe(&spec, out, sizeof out);
    assert_string_equal(
        out, "equal to \"pong\" and containing \"po\" and matching /^p/ and JSON with /op0 = \"pong\" and /op1 = \"pong\"");
    match_describe(&spec, out, 20);
    assert_string_equal(out, "equal to \"pong\" …");
    assert_false(match_spec_empty(&spec));
    match_spec_fini(&spec);
    assert_true(match_spec_empty(&spec));
}

static void extracts(const char *message, const char *pointer, const char *want)
{
    struct buf out = BUF_INIT(64);
    buf_append_str(&out, ">");
    int rc = match_extract(slice_str(message), pointer, &out);
    assert_int_equal(rc, want ? 0 : -1);
    assert_string_equal(buf_str(&out) + 1, want ? want : "");
    buf_fini(&out);
}

static void test_extract(void **state)
{
    (void)state;
    extracts("{\"data\":\"a\\n\\u00e9\"}", "/data", "a\n\xc3\xa9");
    extracts("[\"message\",\"hi\"]", "/1", "hi");
    extracts("{\"a\":{\"b\":[1,2.5,null,true]}}", "/a/b", "[1,2.5,null,true]");
    extracts("{\"a\":{\"b\":1}}", "", "{\"a\":{\"b\":1}}");
    extracts("\"whole\"", "", "whole");
    extracts("{\"a/b\":{\"~\":7}}", "/a~1b/~0", "7");
    extracts("{\"a\":\"\"}", "/a", "");
    extracts("{\"a\":1}", "/b", NULL);
    extracts("{\"a\":1}", "/a/b", NULL);
    extracts("[1]", "/01", NULL);
    extracts("[1,2]", "/-", "2");
    extracts("[]", "/-", NULL);
    extracts("[1]", "1", NULL);
    extracts("{\"a\":1}", "/~2", NULL);
    extracts("", "", NULL);
    extracts("42[\"a\"]", "/0", NULL);
    extracts("{\"a\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}", "/a", NULL); /* the ceiling */
}

/* What the first group takes: of a text, of bytes, of nothing; and within the ceiling. */
static void test_groups(void **state)
{
    struct buf out = BUF_INIT(8);
    struct err err = { 0 };
    (void)state;
    assert_int_equal(match_group("id=(\\w+);(.)?", slice_str("x id=abc; y"), &out, &err), 1);
    assert_string_equal(buf_str(&out), "abc");
    buf_reset(&out);
    assert_int_equal(match_group("(a)|b", slice_str("b"), &out, &err), 0);
    assert_int_equal(match_group("id=(\\d+)", slice_str("id=abc"), &out, &err), 0);
    assert_int_equal(match_group("(.*)", slice_str("123456789"), &out, &err), 0); /* longer than the ceiling */
    assert_int_equal(match_group("()", slice_str(""), &out, &err), 1);
    assert_int_equal(out.len, 0);
    assert_int_equal(match_group("\\xff(.)", slice_make("\xff\x80", 2), &out, &err), 1);
    assert_int_equal(out.len, 1);
    assert_int_equal(match_group("a", slice_str("a"), &out, &err), -1);
    assert_string_equal(err.text, "regex: no group in it, want such as id=(\\d+)");
    assert_int_equal(match_group("(", slice_str("a"), &out, &err), -1);
    assert_int_equal(match_group("(a+)+$", slice_make("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 44), &out, &err), 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_an_empty_spec_takes_everything),
        cmocka_unit_test(test_equals_and_contains),
        cmocka_unit_test(test_what_came_is_cut),
        cmocka_unit_test(test_regex),
        cmocka_unit_test(test_hostile_texts_against_greedy_regexes),
        cmocka_unit_test(test_a_flood_of_hostile_texts),
        cmocka_unit_test(test_large_texts_are_searched),
        cmocka_unit_test(test_json_values),
        cmocka_unit_test(test_json_pointers),
        cmocka_unit_test(test_json_sentences),
        cmocka_unit_test(test_no_part_of_a_secret_is_shown),
        cmocka_unit_test(test_a_hole_is_text_or_number),
        cmocka_unit_test(test_what_is_not_json),
        cmocka_unit_test(test_hostile_json),
        cmocka_unit_test(test_all_parts_must_hold),
        cmocka_unit_test(test_what_cannot_be_compiled),
        cmocka_unit_test(test_extract),
        cmocka_unit_test(test_describing_and_freeing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
