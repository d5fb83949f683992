/* The schema on a struct of its own: defaults, text to field, errors, equality, and values that live in files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/conf/opt.h"

struct inner {
    char *file;
    int64_t retries;
};
struct sample {
    bool on;
    int64_t count, wait_ms, bytes, share;
    char *text, *secret, *dynamic;
    int colour;
    unsigned set;
    struct opt_window fall;
    struct opt_strings list;
    struct opt_pairs pairs;
    struct opt_match expect;
    struct inner inner;
    struct match_spec answer;
    struct opt_bytes message;
    char *topic, *pointer;
};

#define AT(field) offsetof(struct sample, field)
static const char *const colours[] = { "red", "green", "blue", NULL };
static const char *const bits[] = { "ready", "live", NULL };
static const struct opt inner_rows[] = {
    { .name = "file", .kind = OPT_STRING, .offset = offsetof(struct inner, file) },
    { .name = "retries", .kind = OPT_INT, .offset = offsetof(struct inner, retries), .default_text = "3", .max = 9 },
    { 0 },
};
static const struct opt rows[] = {
    { .name = "on", .kind = OPT_BOOL, .offset = AT(on), .default_text = "true" },
    { .name = "count", .kind = OPT_INT, .offset = AT(count), .default_text = "7" },
    { .name = "wait", .kind = OPT_DURATION, .offset = AT(wait_ms), .default_text = "1m30s", .min = 100, .max = 3600000 },
    { .name = "bytes", .kind = OPT_SIZE, .offset = AT(bytes), .default_text = "64KiB", .min = 1024 },
    { .name = "share", .kind = OPT_PERCENT, .offset = AT(share), .default_text = "10%" },
    { .name = "text", .kind = OPT_STRING, .offset = AT(text), .min = 1, .max = 10 },
    { .name = "secret", .kind = OPT_STRING, .offset = AT(secret), .max = 40, .flags = OPT_SECRET },
    { .name = "dynamic", .kind = OPT_STRING, .offset = AT(dynamic), .flags = OPT_DYNAMIC },
    { .name = "colour", .kind = OPT_ENUM, .offset = AT(colour), .default_text = "green", .words = colours },
    { .name = "set", .kind = OPT_SET, .offset = AT(set), .default_text = "ready, live", .words = bits },
    { .name = "fall", .kind = OPT_WINDOW, .offset = AT(fall), .default_text = "3/5", .min = 1, .max = 64 },
    { .name = "list", .kind = OPT_STRINGS, .offset = AT(list), .default_text = "a, b", .max = 4 },
    { .name = "pairs", .kind = OPT_PAIRS, .offset = AT(pairs), .max = 2 },
    { .name = "expect", .kind = OPT_MATCH, .offset = AT(expect) },
    { .name = "inner", .kind = OPT_SECTION, .offset = AT(inner), .rows = inner_rows },
    { .name = "answer", .kind = OPT_SPEC, .offset = AT(answer) },
    { .name = "message", .kind = OPT_BYTES, .offset = AT(message), .max = 20 },
    { .name = "topic", .kind = OPT_STRING, .offset = AT(topic), .flags = OPT_TEMPLATE },
    { .name = "pointer", .kind = OPT_STRING, .offset = AT(pointer), .flags = OPT_POINTER },
    { 0 },
};

static int set_up(void **state)
{
    struct sample *sample = mem_alloc(sizeof *sample);
    opt_defaults(rows, sample);
    *state = sample;
    return 0;
}

static int tear_down(void **state)
{
    opt_fini(rows, *state);
    mem_free(*state);
    secret_forget_all();
    return 0;
}

static void refuse(struct sample *sample, const char *name, const char *text, const char *want)
{
    struct err err;
    assert_int_equal(opt_set(rows, sample, name, text, &err), -1);
    assert_string_equal(err.text, want);
}

static void take(struct sample *sample, const char *name, const char *text)
{
    struct err err = { 0 };
    if (opt_set(rows, sample, name, text, &err))
        fail_msg("%s", err.text);
}

static void test_defaults(void **state)
{
    struct sample *sample = *state;
    assert_true(sample->on);
    assert_int_equal(sample->count, 7);
    assert_int_equal(sample->wait_ms, 90000);
    assert_int_equal(sample->bytes, 65536);
    assert_int_equal(sample->share, 10);
    assert_null(sample->text);
    assert_int_equal(sample->colour, 1);
    assert_int_equal(sample->set, 3);
    assert_int_equal(sample->fall.count, 3);
    assert_int_equal(sample->fall.of, 5);
    assert_int_equal(sample->list.count, 2);
    assert_string_equal(sample->list.items[1], "b");
    assert_null(sample->expect.match);
    assert_int_equal(sample->inner.retries, 3);
}

static void test_set_takes(void **state)
{
    struct sample *sample = *state;
    take(sample, "on", "false");
    take(sample, "count", "0");
    take(sample, "wait", "250ms");
    take(sample, "bytes", "1MiB");
    take(sample, "share", "100%");
    take(sample, "text", "x");
    take(sample, "text", "longer");
    take(sample, "colour", "blue");
    take(sample, "set", "live");
    take(sample, "fall", "4");
    take(sample, "inner.file", "/a");
    take(sample, "list", "c");
    take(sample, "pairs", "A :  b:c ");
    take(sample, "pairs", "a: d");
    take(sample, "expect.contains", "pong");
    assert_false(sample->on);
    assert_int_equal(sample->count, 0);
    assert_int_equal(sample->wait_ms, 250);
    assert_int_equal(sample->bytes, 1 << 20);
    assert_int_equal(sample->share, 100);
    assert_string_equal(sample->text, "longer");
    assert_int_equal(sample->colour, 2);
    assert_int_equal(sample->set, 2);
    assert_int_equal(sample->fall.count, 4);
    assert_int_equal(sample->fall.of, 4);
    assert_string_equal(sample->inner.file, "/a");
    assert_int_equal(sample->list.count, 3);
    assert_int_equal(sample->pairs.count, 1); /* the last of a name stays */
    assert_string_equal(sample->pairs.items[0].value, "d");
    assert_true(match_try(sample->expect.match, slice_str("a pong."), NULL));
    assert_false(match_try(sample->expect.match, slice_str("ping"), NULL));
}

static void test_set_refuses(void **state)
{
    struct sample *sample = *state;
    refuse(sample, "on", "yes", "on: 'yes', want true or false");
    refuse(sample, "count", "x", "count: 'x', want a whole number");
    refuse(sample, "count", "-1", "count: -1, want at least 0");
    refuse(sample, "count", "99999999999999999999", "count: '99999999999999999999', want a whole number");
    refuse(sample, "wait", "2", "wait: '2' has no unit, want a duration such as 5s");
    refuse(sample, "wait", "2s x", "wait: '2s x', want a duration such as 250ms or 1m30s");
    refuse(sample, "wait", "10ms", "wait: 10ms, want 100ms to 1h");
    refuse(sample, "bytes", "64", "bytes: '64' has no unit, want a size such as 64KiB");
    refuse(sample, "bytes", "64KB", "bytes: '64KB', want a size such as 64KiB or 1MiB");
    refuse(sample, "bytes", "1B", "bytes: 1B, want at least 1KiB");
    refuse(sample, "share", "10", "share: '10' has no unit, want a percentage such as 10%");
    refuse(sample, "share", "101%", "share: '101%', want a percentage from 0% to 100%");
    refuse(sample, "share", "%", "share: '%', want a percentage from 0% to 100%");
    refuse(sample, "text", "", "text: empty, want a text");
    refuse(sample, "text", "0123456789a", "text: 11 bytes, want at most 10");
    refuse(sample, "colour", "gren", "colour: 'gren', want red, green or blue (did you mean 'green'?)");
    refuse(sample, "colour", "x", "colour: 'x', want red, green or blue");
    refuse(sample, "set", "ready, dead", "set: 'dead', want ready or live");
    refuse(sample, "fall", "5/3", "fall: '5/3' asks for more failures than rounds, want such as 3/5");
    refuse(sample, "fall", "0", "fall: 0, want 1 to 64");
    refuse(sample, "fall", "3/65", "fall: 3/65, want 1 to 64");
    refuse(sample, "fall", "3/", "fall: '3/', want a count such as 3, or 3/5 for three of the last five");
    refuse(sample, "list", "a", "list: 'a' is there twice");
    refuse(sample, "pairs", "no colon", "pairs: no colon, want Name: value");
    refuse(sample, "pairs", ": x", "pairs: no name, want Name: value");
    refuse(sample, "dynamic", "a\r\nb", "dynamic: holds a line break or another control character");
    refuse(sample, "inner.retries", "10", "inner.retries: 10, want 0 to 9");
    refuse(sample, "inner.x", "10", "inner.x: unknown option");
    refuse(sample, "inner", "10", "inner: '10', want a mapping");
    refuse(sample, "nothing", "10", "nothing: unknown option");
    refuse(sample, "text.x", "10", "text.x: unknown option");
    /* what was refused has changed nothing */
    struct sample fresh = { 0 };
    opt_defaults(rows, &fresh);
    assert_true(opt_equal(rows, sample, &fresh));
    opt_fini(rows, &fresh);
}

static void test_bad_match_keeps_the_old(void **state)
{
    struct sample *sample = *state;
    struct err err;
    take(sample, "expect.contains", "pong");
    assert_int_equal(opt_set(rows, sample, "expect.regex", "(", &err), -1);
    assert_non_null(strstr(err.text, "expect.regex: "));
    assert_null(strstr(err.text, "regex: regex"));
    assert_true(match_try(sample->expect.match, slice_str("pong"), NULL));
}

static void test_secrets_are_not_quoted(void **state)
{
    struct err err;
    char text[] = "it was hunter2hunter2, and abcdefghij";
    assert_int_equal(opt_set(rows, *state, "secret", "0123456789012345678901234567890123456789x", &err), -1);
    assert_null(strstr(err.text, "0123"));
    take(*state, "secret", "hunter2hunter2");
    take(*state, "pairs", "Authorization: Bearer abcdefghij");
    secret_scrub(text);
    assert_string_equal(text, "it was ***, and ***");
}

static void test_long_values_are_cut_and_printable(void **state)
{
    struct err err;
    char text[4000];
    memset(text, 'x', sizeof text);
    text[5] = '\n';
    text[sizeof text - 1] = 0;
    assert_int_equal(opt_set(rows, *state, "wait", text, &err), -1);
    assert_true(strlen(err.text) < 400);
    assert_null(strchr(err.text, '\n'));
}

static void test_equal_sees_every_kind(void **state)
{
    static const char *const changes[][2] = {
        { "on", "false" },        { "count", "8" },           { "wait", "1s" },
        { "bytes", "2KiB" },      { "share", "11%" },         { "text", "x" },
        { "secret", "abc" },      { "dynamic", "x" },         { "colour", "red" },
        { "set", "ready" },       { "fall", "3/6" },          { "list", "c" },
        { "pairs", "a: b" },      { "expect.contains", "x" }, { "inner.file", "x" },
        { "inner.retries", "4" }, { "fall", "2/5" },          { "expect.equals", "yes" },
        { "expect.regex", "y" },
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct sample a = { 0 }, b = { 0 };
        opt_defaults(rows, &a);
        opt_defaults(rows, &b);
        assert_true(opt_equal(rows, &a, &b));
        take(&b, changes[i][0], changes[i][1]);
        assert_false(opt_equal(rows, &a, &b));
        take(&a, changes[i][0], changes[i][1]);
        assert_true(opt_equal(rows, &a, &b));
        opt_fini(rows, &a);
        opt_fini(rows, &b);
    }
    (void)state;
    assert_true(opt_equal(NULL, NULL, NULL));
}

/* --- files -------------------------------------------------------------------------------------------------------------------- */

static char dir[64], path[128];

static void write_file(const char *content, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, len, file), len);
    fclose(file);
}

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/test_opt.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/token", dir);
    return set_up(state);
}

static int drop_dir(void **state)
{
    unlink(path);
    rmdir(dir);
    return tear_down(state);
}

static void test_file_is_read_at_every_use(void **state)
{
    struct sample *sample = *state;
    struct buf out = BUF_INIT(1 << 20);
    struct err err;
    char text[200], leak[] = "server said second-token, no";
    snprintf(text, sizeof text, "${file:%s}", path);
    take(sample, "dynamic", text);
    assert_true(opt_is_dynamic(sample->dynamic));
    assert_int_equal(opt_expand(sample->dynamic, &out, &err), -1);
    assert_non_null(strstr(err.text, "token: No such file"));
    write_file("first-token\n", 12);
    assert_int_equal(opt_expand(sample->dynamic, &out, &err), 0);
    assert_string_equal(buf_str(&out), "first-token");
    buf_reset(&out);
    write_file("second-token", 12);
    buf_append_str(&out, "kept ");
    assert_int_equal(opt_expand(sample->dynamic, &out, &err), 0);
    assert_string_equal(buf_str(&out), "kept second-token");
    secret_scrub(leak);
    assert_string_equal(leak, "server said ***, no");
    buf_fini(&out);
}

static void test_file_content_that_cannot_be(void **state)
{
    static const char *const bad[] = { "a\n\n", "a\r\n", "a\nb", "a\x01" };
    struct sample *sample = *state;
    struct buf out = BUF_INIT(1 << 20);
    struct err err;
    char text[200];
    snprintf(text, sizeof text, "${file:%s}", path);
    take(sample, "dynamic", text);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(bad[i], strlen(bad[i]));
        assert_int_equal(opt_expand(sample->dynamic, &out, &err), -1);
        assert_non_null(strstr(err.text, "holds a line break or another control character"));
        assert_int_equal(out.len, 0);
    }
    write_file("a\0b", 3);
    assert_int_equal(opt_expand(sample->dynamic, &out, &err), -1);
    char *large = mem_alloc(OPT_FILE_MAX + 1);
    memset(large, 'x', OPT_FILE_MAX + 1);
    write_file(large, OPT_FILE_MAX);
    assert_int_equal(opt_expand(sample->dynamic, &out, &err), 0);
    assert_int_equal(out.len, OPT_FILE_MAX);
    write_file(large, OPT_FILE_MAX + 1);
    buf_reset(&out);
    assert_int_equal(opt_expand(sample->dynamic, &out, &err), -1);
    assert_non_null(strstr(err.text, "larger than 64 KiB"));
    mem_free(large);
    buf_fini(&out);
}

static void test_what_is_no_file(void **state)
{
    struct buf out = BUF_INIT(1 << 20);
    struct err err;
    (void)state;
    assert_int_equal(opt_read_file(dir, 100, true, &out, &err), -1);
    assert_string_equal(err.text, "is a directory, want a regular file");
    assert_int_equal(opt_read_file("/dev/zero", 100, true, &out, &err), -1);
    assert_string_equal(err.text, "is a character device, want a regular file");
    assert_int_equal(opt_read_file("/dev/zero", 100, false, &out, &err), -1); /* endless, and bounded */
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(opt_read_file(path, 100, true, &out, &err), -1); /* nobody writes: must not block */
    assert_string_equal(err.text, "is a fifo, want a regular file");
    assert_int_equal(opt_read_file(path, 100, false, &out, &err), -1); /* nor where a pipe is taken that is open already */
    assert_string_equal(err.text, "is a fifo, want a regular file");
    assert_int_equal(opt_read_file("", 100, true, &out, &err), -1);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void test_plain_text_is_copied(void **state)
{
    struct buf out = BUF_INIT(8);
    struct err err;
    (void)state;
    assert_false(opt_is_dynamic(NULL));
    assert_false(opt_is_dynamic("${file:/x}"));
    assert_int_equal(opt_expand("${file:", &out, &err), 0);
    assert_string_equal(buf_str(&out), "${file:");
    assert_int_equal(opt_expand("long", &out, &err), -1);
    assert_int_equal(out.len, 7);
    buf_fini(&out);
}

static void test_values_with_holes(void **state)
{
    struct sample *sample = *state;
    take(sample, "answer.regex", "^{{channel}}\\d+$");
    take(sample, "answer.contains", "{{id}}");
    take(sample, "message", "sub {{channel}}");
    take(sample, "topic", "t:{{channel}}");
    take(sample, "pointer", "/a~1b/0");
    take(sample, "pointer", "");
    assert_string_equal(sample->answer.regex, "^{{channel}}\\d+$");
    assert_string_equal(sample->answer.contains, "{{id}}");
    assert_string_equal(sample->message.data, "sub {{channel}}");
    assert_int_equal(sample->message.len, 15);
    assert_false(sample->message.binary);
    refuse(sample, "answer.regex", "{{channel}}(", "answer.regex: missing closing parenthesis at offset 2");
    take(sample, "answer.regex", "x");
    refuse(sample, "answer.equals", "{{", "answer.equals: '{{' without '}}' at offset 0");
    refuse(sample, "answer", "x",
           "answer: 'x', want a mapping such as { equals: text }, { contains: text }, { regex: pattern } or { json: { /key: value "
           "} }");
    refuse(sample, "answer.like", "x", "answer.like: unknown option");
    refuse(sample, "message", "{{chanel}}", "message: unknown hole {{chanel}} at offset 0 (did you mean '{{channel}}'?)");
    refuse(sample, "message", "012345678901234567890", "message: 21 bytes, want at most 20");
    refuse(sample, "topic", "{{/u16}}", "topic: {{/u16}} at offset 0 closes nothing");
    refuse(sample, "pointer", "a", "pointer: pointer 'a' does not begin with a slash");
    refuse(sample, "pointer", "/~2", "pointer: pointer '/~2' has a tilde that is neither ~0 nor ~1");
    assert_string_equal(sample->message.data, "sub {{channel}}"); /* what was refused has changed nothing */
    assert_string_equal(sample->topic, "t:{{channel}}");
}

static void test_binary_messages(void **state)
{
    struct sample *sample = *state, *other = mem_alloc(sizeof *other);
    const struct opt *row = opt_find(rows, "message");
    struct err err;
    assert_false(opt_is_set(row, sample));
    assert_int_equal(opt_parse_base64(row, &sample->message, "AP97e2lkfX0=", &err), 0);
    assert_true(opt_is_set(row, sample));
    assert_true(sample->message.binary);
    assert_int_equal(sample->message.len, 8);
    assert_memory_equal(sample->message.data, "\0\xff{{id}}", 8);
    assert_int_equal(opt_parse_base64(row, &sample->message, "AP8", &err), -1);
    assert_string_equal(err.text, "not base64 (RFC 4648, 4: with padding, without blanks)");
    assert_int_equal(opt_parse_base64(row, &sample->message, "e3t4fX0=", &err), -1);
    assert_memory_equal(err.text, "unknown hole {{x}} at offset 0", 30);
    assert_int_equal(sample->message.len, 8);
    assert_int_equal(opt_parse_base64(row, &sample->message, "", &err), 0); /* an empty message is one */
    assert_true(opt_is_set(row, sample));
    assert_int_equal(sample->message.len, 0);
    /* the same bytes as a text are another message, and none is not an empty one */
    opt_defaults(rows, other);
    assert_false(opt_equal(rows, sample, other));
    assert_int_equal(opt_set(rows, other, "message", "", &err), 0);
    assert_false(opt_equal(rows, sample, other));
    assert_int_equal(opt_parse_base64(row, &other->message, "", &err), 0);
    assert_true(opt_equal(rows, sample, other));
    take(other, "answer.equals", "a");
    assert_false(opt_equal(rows, sample, other));
    take(sample, "answer.equals", "a");
    assert_true(opt_equal(rows, sample, other));
    opt_fini(rows, other);
    mem_free(other);
}

/* Values of JSON are tried with their holes filled. */
static void test_specs_are_tried(void **state)
{
    char pointer[] = "/a", text[] = "\"{{channel}}\"", bare[] = "{{channel}}", unknown[] = "\"{{x}}\"", own[] = "\"{{sid}}\"";
    struct match_spec spec = { .json = { { pointer, text } }, .json_count = 1 };
    static const char *const holes[] = { "id", "sid", NULL };
    struct opt row = { .kind = OPT_SPEC };
    struct err err;
    (void)state;
    assert_int_equal(opt_spec_validate(&row, &spec, &err), 0);
    spec.json[0].value = bare;
    assert_int_equal(opt_spec_validate(&row, &spec, &err), -1);
    assert_memory_equal(err.text, "json /a: value is not JSON", 26);
    spec.json[0].value = unknown;
    assert_int_equal(opt_spec_validate(&row, &spec, &err), -1);
    assert_memory_equal(err.text, "json: unknown hole {{x}} at offset 1", 36);
    row.holes = holes;
    spec.json[0].value = text;
    assert_int_equal(opt_spec_validate(&row, &spec, &err), -1);
    assert_string_equal(err.text, "json: {{channel}} at offset 1 has no value here, want {{id}} or {{sid}}");
    spec.json[0].value = own;
    assert_int_equal(opt_spec_validate(&row, &spec, &err), 0);
}

static void test_names_of_secrets(void **state)
{
    (void)state;
    assert_true(opt_name_is_secret("authorization"));
    assert_true(opt_name_is_secret("Proxy-Authorization"));
    assert_true(opt_name_is_secret("X-API-KEY"));
    assert_true(opt_name_is_secret("Cookie"));
    assert_true(opt_name_is_secret("x-Token"));
    assert_false(opt_name_is_secret("X-Probe"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_set_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_set_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_match_keeps_the_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_secrets_are_not_quoted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut_and_printable, set_up, tear_down),
        cmocka_unit_test(test_equal_sees_every_kind),
        cmocka_unit_test_setup_teardown(test_file_is_read_at_every_use, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_file_content_that_cannot_be, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_what_is_no_file, make_dir, drop_dir),
        cmocka_unit_test(test_plain_text_is_copied),
        cmocka_unit_test_setup_teardown(test_values_with_holes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_binary_messages, set_up, tear_down),
        cmocka_unit_test(test_specs_are_tried),
        cmocka_unit_test(test_names_of_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
