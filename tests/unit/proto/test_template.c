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
    refuses("{{}}",
            "unknown hole {{}} at offset 0, want {{channel}}, {{token}}, {{id}}, {{seq}}, {{now}}, {{uuid}}, {{payload}} or "
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

static void test_times_and_uuids(void **state)
{
    (void)state;
    struct template_vars vars = { .now_ms = 1764183563123, .uuid = "u-1" };
    expands_to("{{now}} {{now_s}} {{uuid}}", &vars, "1764183563123 1764183563 u-1");
    char a[TEMPLATE_UUID_BYTES], b[TEMPLATE_UUID_BYTES];
    template_make_uuid(a);
    template_make_uuid(b);
    assert_string_not_equal(a, b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
}

/* What callers add, and what is told of secrets. */
static char told[256];
static void on_secret(void *user, struct slice value)
{
    assert_ptr_equal(user, told);
    snprintf(told + strlen(told), sizeof told - strlen(told), "[%.*s]", (int)value.len, (const char *)value.data);
}

static const struct template_name names[] = {
    { "salt", { (const uint8_t *)"s\"1", 3 }, false, false },
    { "challenge", { (const uint8_t *)"c", 1 }, false, false },
    { "session", { (const uint8_t *)"hidden", 6 }, true, false },
};
static struct template_vars with_names(void)
{
    told[0] = 0;
    return (struct template_vars){ .token = "key",
                                   .now_ms = 5000,
                                   .names = names,
                                   .name_count = sizeof names / sizeof names[0],
                                   .on_secret = on_secret,
                                   .user = told };
}

static void expands_named(const char *text, const struct template_vars *vars, const char *want)
{
    struct buf out = BUF_INIT(4096);
    struct err err;
    if (template_validate_names(slice_str(text), vars, &err) || template_expand(slice_str(text), vars, &out, &err))
        fail_msg("%s: %s", text, err.text);
    assert_string_equal(buf_str(&out), want);
    buf_fini(&out);
}

static void test_functions(void **state)
{
    (void)state;
    struct template_vars vars = with_names();
    expands_named("<{{hex 'ab' \"c\"}}>", &vars, "<616263>");
    expands_named("{{base64 'abcd'}} {{base64url 'abcd'}} {{base64url '?>?'}}", &vars, "YWJjZA== YWJjZA Pz4_");
    expands_named("{{hex (unbase64 'YWJjZA==')}}", &vars, "61626364");
    expands_named("{{hex (sha256 'abc')}}", &vars, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expands_named("{{ hex  ( sha256 'a' 'b' 'c' ) }}", &vars, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expands_named("{{upper (hex (hmac_sha256 'key' 'The quick brown fox jumps over the lazy dog'))}}", &vars,
                  "F7BC83F430538424B13298E6AA6FB143EF4D59A14946175997479DBC2D1A3CD8");
    assert_string_equal(told, "");
    expands_named("{{hex (hmac_sha256 token 'The quick brown fox jumps over the lazy dog')}}", &vars,
                  "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
    assert_string_equal(told, "[f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8]");
    expands_named("{{concat salt '/' now_s (upper 'x')}} {{lower 'ABz'}} {{json salt}} {{salt}}", &vars,
                  "s\"1/5X abz \"s\\\"1\" s\"1");
    expands_named("{{concat '}}' '{{' \"it's\"}}", &vars, "}}{{it's");
    vars = with_names();
    expands_named("{{hex session}} {{session}}", &vars, "68696464656e hidden");
    assert_string_equal(told, "[68696464656e]");
    /* OBS WebSocket 5: base64(sha256(base64(sha256(password + salt)) + challenge)), from its protocol.md */
    const struct template_name obs[] = { { "salt", slice_str("lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI="), false, false },
                                         { "challenge", slice_str("+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY="), false, false } };
    struct template_vars login = { .token = "supersecretpassword", .names = obs, .name_count = 2 };
    expands_named("{{base64 (sha256 (base64 (sha256 token salt)) challenge)}}", &login,
                  "1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4=");
}

static void test_values_inside_json_and_regex(void **state)
{
    (void)state;
    struct template_vars vars = with_names();
    vars.json = true;
    expands_named("\"{{salt}}\" \"{{concat salt}}\" {{json salt}}", &vars, "\"s\\\"1\" \"s\\\"1\" \"s\\\"1\"");
    vars.regex = true;
    expands_named("^{{salt}}$", &vars, "^s\\\\\\\"1$");
    vars.json = false;
    expands_named("^{{salt}}{{concat '(.)'}}$", &vars, "^s\\\"1\\(\\.\\)$");
}

static void refuses_named(const char *text, const char *want)
{
    struct template_vars vars = with_names();
    struct buf out = BUF_INIT(64);
    struct err err = { 0 };
    assert_int_equal(template_validate_names(slice_str(text), &vars, &err), -1);
    assert_string_equal(err.text, want);
    assert_int_equal(template_expand(slice_str(text), &vars, &out, &err), -1);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void test_functions_that_are_refused(void **state)
{
    (void)state;
    refuses_named("x{{sha265 token}}", "unknown function 'sha265' in {{...}} at offset 1 (did you mean 'sha256'?)");
    refuses_named("{{hex}}", "{{hex}} at offset 0 wants an argument");
    refuses_named("{{hex (sha256)}}", "{{hex (sha256)}} at offset 0 wants an argument");
    refuses_named("{{hex (hmac_sha256 token)}}", "{{hex (hmac_sha256 token)}} at offset 0 wants a key and a text");
    refuses_named("{{sha256 token}}",
                  "{{sha256 token}} at offset 0 gives bytes, want hex, base64 or, in a binary message, bytes around it: "
                  "{{hex (...)}}");
    refuses_named("{{concat 'a' (sha256 token)}}",
                  "{{concat 'a' (sha256 token)}} at offset 0 gives bytes, want hex, base64 or, in a binary "
                  "message, bytes around it: {{hex (...)}}");
    refuses_named("{{hex slat}}", "unknown hole {{slat}} at offset 0 (did you mean '{{salt}}'?)");
    refuses_named(
        "{{hex sha256 token}}",
        "{{hex sha256 token}} at offset 0 has a function as an argument, which wants ( ) around it and its own arguments");
    refuses_named("{{hex (sha256 token}}", "{{hex (sha256 token}} at offset 0 has a '(' that is not closed");
    refuses_named("{{hex token)}}", "{{hex token)}} at offset 0 has a ')' too many");
    refuses_named("{{hex 'a}}", "{{hex 'a}} at offset 0 has a quote that is not closed");
    refuses_named("{{hex a+b}}", "unknown hole {{a}} at offset 0, want {{channel}}, {{token}}, {{id}}, {{seq}}, {{now}}, {{uuid}}, "
                                 "{{payload}} or {{payload_json}}");
    refuses_named("{{hex (hex (hex (hex (hex (hex (hex (hex (hex 'a'))))))))}}",
                  "{{hex (hex (hex (hex (hex (hex (h\xe2\x80\xa6}} at offset 0 is nested too deep");
    refuses_named("{{hex (token)}}",
                  "unknown function 'token' in {{...}} at offset 0, want hex, base64, sha256, hmac_sha256, concat or "
                  "another of the manual");
    /* only what a value turns out to be tells */
    struct template_vars vars = with_names();
    struct buf out = BUF_INIT(64);
    struct err err = { 0 };
    assert_int_equal(template_validate_names(slice_str("{{hex (unbase64 salt)}}"), &vars, &err), 0);
    assert_int_equal(template_expand(slice_str("a{{hex (unbase64 salt)}}"), &vars, &out, &err), -1);
    assert_string_equal(err.text, "{{hex (unbase64 salt)}} at offset 1 has unbase64 of what is not base64");
    assert_int_equal(template_expand(slice_str("{{hex (hex (hex 'aaaaaaaaaaaa'))}}"), &vars, &out, &err), -1);
    assert_string_equal(err.text, "longer than 64 bytes");
    buf_fini(&out);
}

static void test_mentions(void **state)
{
    (void)state;
    struct err err;
    const struct template_vars any = { .any_name = true };
    assert_true(template_mentions(slice_str("a {{#token}}{{token}}{{/token}}"), "token"));
    assert_true(template_mentions(slice_str("{{hex 'x' (sha256 id token)}}"), "token"));
    assert_false(template_mentions(slice_str("{{hex 'x token' (sha256 id)}} token {{^token}}{{/token}}"), "token"));
    assert_int_equal(template_validate_names(slice_str("{{later}} {{hex later}}"), &any, &err), 0);
    assert_int_equal(template_validate_names(slice_str("{{not a name}}"), &any, &err), -1);
    assert_true(template_is_reserved("uuid") && template_is_reserved("base64"));
    assert_false(template_is_reserved("salt"));
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
        cmocka_unit_test(test_times_and_uuids),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_values_inside_json_and_regex),
        cmocka_unit_test(test_functions_that_are_refused),
        cmocka_unit_test(test_mentions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
