/* Templates: every hole, lengths before what they measure, what is refused and where, ceilings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/template.h"

static const struct template_vars plain = {
    .channel = "news \"1\"", .token = "t\\k", .id = "7\n", .seq = UINT64_MAX, .now_ms = -5
};

static void expands(const char *text, const struct template_vars *vars, const void *want, size_t len)
{
    struct buf out = BUF_INIT(1 << 20);
    struct err err;
    assert_int_equal(template_validate(slice_str(text), &err), 0);
    buf_append_str(&out, "before");
    if (template_expand(slice_str(text), vars, &out, &err))
        fail_msg("%s: %s", text, err.text);
    assert_int_equal(out.len, len + 6);
    assert_memory_equal(out.data, "before", 6);
    if (len)
        assert_memory_equal(out.data + 6, want, len);
    buf_fini(&out);
}

static void expands_to(const char *text, const struct template_vars *vars, const char *want)
{
    expands(text, vars, want, strlen(want));
}

static void refuses(const char *text, const char *want)
{
    struct buf out = BUF_INIT(1 << 20);
    struct err err = { 0 };
    buf_append_str(&out, "before");
    assert_int_equal(template_validate(slice_str(text), &err), -1);
    assert_string_equal(err.text, want);
    err_clear(&err);
    assert_int_equal(template_expand(slice_str(text), &plain, &out, &err), -1);
    assert_string_equal(err.text, want);
    assert_string_equal(buf_str(&out), "before");
    buf_fini(&out);
}

static void test_holes(void **state)
{
    (void)state;
    struct template_vars vars = plain;
    vars.payload = slice_str("a\"b");
    expands_to("", &vars, "");
    expands_to("no holes } { }}", &vars, "no holes } { }}");
    expands_to("{{channel}}", &vars, "news \"1\"");
    expands_to("a{{channel}}b{{token}}c{{id}}d", &vars, "anews \"1\"bt\\kc7\nd");
    expands_to("{{seq}} {{now}}", &vars, "18446744073709551615 -5");
    expands_to("{{payload}}|{{payload_json}}", &vars, "a\"b|\"a\\\"b\"");
    expands_to("{\"data\":{{payload_json}}}", &vars, "{\"data\":\"a\\\"b\"}");
    /* What is put in is never looked at again. */
    vars.channel = "{{token}}";
    expands_to("{{channel}}", &vars, "{{token}}");
}

static void test_nothing_to_put_in(void **state)
{
    (void)state;
    const struct template_vars none = { .channel = NULL };
    const struct template_vars json = { .json = true };
    expands_to("<{{channel}}{{token}}{{id}}{{payload}}>", &none, "<>");
    expands_to("<{{channel}}{{token}}{{id}}{{payload}}>", &json, "<>");
    expands_to("{{payload_json}} {{seq}}", &none, "\"\" 0");
}

static void test_holes_inside_json(void **state)
{
    (void)state;
    struct template_vars vars = plain;
    vars.json = true;
    vars.payload = slice_make("\"\xff", 2);
    expands_to("{\"ch\":\"{{channel}}\",\"t\":\"{{token}}\",\"i\":\"{{id}}\"}", &vars,
               "{\"ch\":\"news \\\"1\\\"\",\"t\":\"t\\\\k\",\"i\":\"7\\n\"}");
    expands_to("{{payload}}", &vars, "\"\xff"); /* as it is: it may be JSON itself */
    expands_to("{{payload_json}}", &vars, "\"\\\"\xef\xbf\xbd\"");
}

static void test_lengths(void **state)
{
    (void)state;
    const struct template_vars vars = { .channel = "room", .payload = slice_str("hi") };
    char *long_text = mem_alloc(301);
    memset(long_text, 'x', 300);
    const struct template_vars large = { .payload = slice_make(long_text, 300) };
    expands("{{#u16}}{{/u16}}", &vars, "\0\0", 2);
    expands("{{#varint}}{{/varint}}", &vars, "\0", 1);
    expands("x{{#u16}}{{channel}}{{/u16}}y", &vars, "x\0\4roomy", 8);
    expands("{{#varint}}{{#u16}}{{channel}}{{/u16}}{{payload}}{{/varint}}", &vars, "\x08\0\4roomhi", 9);
    char want[304 + 2];
    want[0] = (char)0xac; /* 300 is 0x2c and 2 times 128 */
    want[1] = 2;
    memcpy(want + 2, long_text, 300);
    expands("{{#varint}}{{payload}}{{/varint}}", &large, want, 302);
    want[0] = 1;
    want[1] = 0x2c;
    expands("{{#u16}}{{payload}}{{/u16}}", &large, want, 302);
    expands("{{#u8}}{{/u8}}{{#u8}}{{channel}}{{/u8}}", &vars, "\0\4room", 6);
    expands("{{#u32}}{{/u32}}", &vars, "\0\0\0\0", 4);
    expands("{{#u32}}{{#u8}}{{payload}}{{/u8}}{{/u32}}", &vars, "\0\0\0\3\2hi", 7);
    memmove(want + 4, want + 2, 300);
    memcpy(want, "\0\0\1\x2c", 4);
    expands("{{#u32}}{{payload}}{{/u32}}", &large, want, 304);
    mem_free(long_text);
}

/* What no text can say. */
static void test_bytes(void **state)
{
    (void)state;
    const struct template_vars vars = { .channel = "room", .payload = slice_str("hi") };
    expands("{{0x00}}", &vars, "\0", 1);
    expands("{{0x9Aa3ff}}msg{{0xdb}}{{#u32}}{{payload}}{{/u32}}{{0xd900}}", &vars, "\x9a\xa3\xffmsg\xdb\0\0\0\2hi\xd9\0", 15);
    refuses("ab{{0x}}", "{{0x...}} at offset 2 wants two hexadecimal digits for each byte");
    refuses("{{0x9}}", "{{0x...}} at offset 0 wants two hexadecimal digits for each byte");
    refuses("{{0x9g}}", "{{0x...}} at offset 0 wants two hexadecimal digits for each byte");
    refuses("{{0x 9}}", "{{0x...}} at offset 0 wants two hexadecimal digits for each byte");
    struct buf out = BUF_INIT(2);
    struct err err = { 0 };
    assert_int_equal(template_expand(slice_str("{{0x010203}}"), &vars, &out, &err), -1);
    assert_string_equal(err.text, "longer than 2 bytes");
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    refuses("a{{chanel}}", "unknown hole {{chanel}} at offset 1 (did you mean '{{channel}}'?)");
    refuses("{{ token }}", "unknown hole {{ token }} at offset 0 (did you mean '{{token}}'?)");
    refuses("{{}}", "unknown hole {{}} at offset 0, want {{channel}}, {{token}}, {{id}}, {{seq}}, {{now}}, {{payload}} or "
                    "{{payload_json}}");
    refuses("ab{{#u61}}", "unknown hole {{#u61}} at offset 2 (did you mean '{{#u16}}'?)");
    refuses("ab{{channel", "'{{' without '}}' at offset 2");
    refuses("{{channel}", "'{{' without '}}' at offset 0");
    refuses("{{#u16}}a", "{{#u16}} at offset 0 is not closed");
    refuses("{{/u16}}a", "{{/u16}} at offset 0 closes nothing");
    refuses("{{#u16}}{{#varint}}{{/u16}}{{/varint}}", "{{/u16}} at offset 19 closes nothing");
    char deep[9 * 17 + 1] = "";
    for (int i = 0; i < 9; i++)
        strcat(deep, "{{#u16}}");
    for (int i = 0; i < 9; i++)
        strcat(deep, "{{/u16}}");
    refuses(deep, "{{#u16}} at offset 64 is nested too deep");
    struct err err;
    assert_int_equal(template_validate(slice_make("\0{{\0}}", 6), &err), -1);
    assert_int_equal(template_validate(slice_make(NULL, 0), &err), 0);
}

/* Past the ceiling nothing is left behind, wherever it is reached. */
static void test_ceilings(void **state)
{
    (void)state;
    static const char text[] = "ab{{channel}}{{#varint}}{{payload_json}}{{/varint}}{{seq}}";
    const struct template_vars vars = { .channel = "room", .payload = slice_str("hello"), .json = true };
    enum { NEED = 2 + 4 + 1 + 7 + 1 };
    for (size_t max = 0; max <= NEED; max++) {
        struct buf out = BUF_INIT(max);
        struct err err = { 0 };
        char want[64];
        snprintf(want, sizeof want, "longer than %zu bytes", max);
        int rc = template_expand(slice_str(text), &vars, &out, &err);
        assert_int_equal(rc, max < NEED ? -1 : 0);
        assert_int_equal(out.len, max < NEED ? 0 : NEED);
        if (rc)
            assert_string_equal(err.text, want);
        buf_fini(&out);
    }
    struct buf out = BUF_INIT(1 << 20);
    struct err err = { 0 };
    char *huge = mem_alloc(70000);
    const struct template_vars large = { .payload = slice_make(huge, 65536) };
    assert_int_equal(template_expand(slice_str("{{#u16}}{{payload}}{{/u16}}"), &large, &out, &err), -1);
    assert_string_equal(err.text, "65536 bytes are too long for {{#u16}}");
    err_clear(&err);
    const struct template_vars larger = { .payload = slice_make(huge, 256) };
    assert_int_equal(template_expand(slice_str("{{#u8}}{{payload}}{{/u8}}"), &larger, &out, &err), -1);
    assert_string_equal(err.text, "256 bytes are too long for {{#u8}}");
    assert_int_equal(out.len, 0);
    mem_free(huge);
    buf_fini(&out);
}

static void test_blocks_of_the_token(void **state)
{
    (void)state;
    struct template_vars with = plain, without = plain;
    with.token_here = true;
    expands_to("40{{#token}}{\"token\":\"{{token}}\"}{{/token}}", &with, "40{\"token\":\"t\\k\"}");
    expands_to("40{{#token}}{\"token\":\"{{token}}\"}{{/token}}", &without, "40");
    expands_to("{{#token}}\xc2{{/token}}{{^token}}\x02{{/token}}", &with, "\xc2");
    expands_to("{{#token}}\xc2{{/token}}{{^token}}\x02{{/token}}", &without, "\x02");
    expands("{{#u16}}{{#token}}{{token}}{{/token}}{{/u16}}", &without, "\0\0", 2);
    expands("{{#u16}}{{#token}}{{#u16}}{{token}}{{/u16}}{{/token}}{{/u16}}", &with, "\0\5\0\3t\\k", 7);
    refuses("{{#token}}", "{{#token}} at offset 0 is not closed");
    refuses("{{^token}}x{{/u16}}", "{{/u16}} at offset 11 closes nothing");
    refuses("{{^u16}}x{{/u16}}", "unknown hole {{^u16}} at offset 0 (did you mean '{{#u16}}'?)");
}

/* Packet identifiers: two bytes, never 0. */
static void test_seq_u16(void **state)
{
    (void)state;
    struct template_vars vars = plain;
    static const struct {
        uint64_t seq;
        uint8_t want[2];
    } rows[] = { { 0, { 0, 1 } }, { 1, { 0, 1 } }, { 258, { 1, 2 } }, { 65535, { 255, 255 } }, { 65536, { 0, 1 } } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        vars.seq = rows[i].seq;
        expands("{{seq_u16}}", &vars, rows[i].want, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_of_the_token),
        cmocka_unit_test(test_seq_u16),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_nothing_to_put_in),
        cmocka_unit_test(test_holes_inside_json),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_ceilings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
