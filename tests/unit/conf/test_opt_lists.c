/* Options that are lists and mappings of structs, values of any kind, rates, factors and ranges: as an operator writes them, as the
 * command line sets them, what is refused and where, what is shown, and what the schema and the manual say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/conf/conf.h"
#include "agent/conf/probe_type.h"

struct limit {
    struct opt_rate high, low;
};
struct source {
    char *name, *pointer, *regex;
};
struct stage {
    char *send;
    int64_t within_ms;
    struct match_spec expect;
    struct opt_list capture; /* struct source */
    struct opt_ranges close;
};
struct play_opts {
    struct opt_list stages; /* struct stage */
    struct opt_list peers;  /* struct source */
    char *claims, *body;
    struct limit drop;
    int64_t churn;
    struct opt_ranges codes;
};

static const struct opt limit_rows[] = {
    { .name = "high",
      .kind = OPT_RATE,
      .offset = offsetof(struct limit, high),
      .max = 1000,
      .flags = OPT_SHORT,
      .help = "from here" },
    { .name = "low", .kind = OPT_RATE, .offset = offsetof(struct limit, low), .help = "to here" },
    { 0 },
};
static const struct opt source_rows[] = {
    { .name = "pointer",
      .kind = OPT_STRING,
      .offset = offsetof(struct source, pointer),
      .max = 64,
      .flags = OPT_POINTER | OPT_SHORT,
      .help = "where it is" },
    { .name = "regex", .kind = OPT_STRING, .offset = offsetof(struct source, regex), .help = "how it looks" },
    { 0 },
};
static const struct opt stage_rows[] = {
    { .name = "send",
      .kind = OPT_STRING,
      .offset = offsetof(struct stage, send),
      .flags = OPT_REQUIRED | OPT_SHORT,
      .help = "says" },
    { .name = "within",
      .kind = OPT_DURATION,
      .offset = offsetof(struct stage, within_ms),
      .default_text = "2s",
      .min = 1,
      .help = "in time" },
    { .name = "expect", .kind = OPT_SPEC, .offset = offsetof(struct stage, expect), .help = "hears" },
    { .name = "capture",
      .kind = OPT_MAP,
      .offset = offsetof(struct stage, capture),
      .max = 2,
      .rows = source_rows,
      .size = sizeof(struct source),
      .help = "keeps" },
    { .name = "close", .kind = OPT_RANGES, .offset = offsetof(struct stage, close), .min = 1000, .max = 4999, .help = "ends" },
    { 0 },
};
static const struct opt play_rows[] = {
    { .name = "stages",
      .kind = OPT_LIST,
      .offset = offsetof(struct play_opts, stages),
      .max = 3,
      .rows = stage_rows,
      .size = sizeof(struct stage),
      .help = "what is played" },
    { .name = "peers",
      .kind = OPT_MAP,
      .offset = offsetof(struct play_opts, peers),
      .rows = source_rows,
      .size = sizeof(struct source),
      .help = "who is there" },
    { .name = "claims", .kind = OPT_JSON, .offset = offsetof(struct play_opts, claims), .flags = OPT_TEMPLATE, .help = "anything" },
    { .name = "body", .kind = OPT_JSON, .offset = offsetof(struct play_opts, body), .flags = OPT_SECRET, .help = "a secret" },
    { .name = "drop", .kind = OPT_SECTION, .offset = offsetof(struct play_opts, drop), .rows = limit_rows, .help = "a fall" },
    { .name = "churn",
      .kind = OPT_FACTOR,
      .offset = offsetof(struct play_opts, churn),
      .min = 110,
      .max = 10000,
      .help = "a factor" },
    { .name = "codes",
      .kind = OPT_RANGES,
      .offset = offsetof(struct play_opts, codes),
      .default_text = "401, 4000-4999",
      .max = 4999,
      .help = "what refuses" },
    { 0 },
};
static int play_validate(const void *opts, struct err *err)
{
    const struct play_opts *play = opts;
    const struct stage *stages = play->stages.items;
    for (size_t i = 0; i < play->stages.count; i++)
        if (strcmp(stages[i].send, "forbidden") == 0)
            return err_set(err, REASON_NONE, 0, "stages[%zu].send: is forbidden", i);
    return 0;
}
static const struct probe_type play = {
    .name = "play", .summary = "A play", .opts = play_rows, .opts_size = sizeof(struct play_opts), .validate = play_validate
};
static const struct probe_type *const types[] = { &play, NULL };
static const char *fake_getenv(const char *name)
{
    return strcmp(name, "RATE") == 0 ? "70% in 2s" : strcmp(name, "CODE") == 0 ? "1008" : NULL;
}
static const struct conf_env env = { .probes = types, .getenv = fake_getenv };
#include "tests/unit/conf/load.h" /* needs env */

#define FILE_OF(text) "target: { url: 'ws://h/' }\nchecks:\n- type: play\n" text

static const struct play_opts *opts_of(const struct conf *conf)
{
    return conf->checks[0].opts;
}

static void refuse(const char *text, const char *want)
{
    struct conf *conf = load_slice(slice_str(text));
    assert_null(conf);
    assert_string_equal(buf_str(&errors.text), want);
}

static const char full[] = FILE_OF("  stages:\n"
                                   "  - send: hello\n"
                                   "    expect: { json: { /op: 1 } }\n"
                                   "    capture: { id: /id, word: { regex: '(.*)' } }\n"
                                   "  - bye\n"
                                   "  - { send: '{', within: 250ms, close: [1000, 4000-4100, '${CODE}'] }\n"
                                   "  peers: { db: /db, empty: , other: {} }\n"
                                   "  claims: { a: [1, -2.5e3, \"1\", true, ~, { b: '$${x}' }], who: '{{id}}', Key: verysecret }\n"
                                   "  body: [confidential]\n"
                                   "  drop: ${RATE}\n"
                                   "  churn: 1.5x\n"
                                   "  codes: 403\n");

static void test_everything_set(void **state)
{
    struct conf *conf = load(full);
    const struct play_opts *opts = opts_of(conf);
    const struct stage *stages = opts->stages.items;
    const struct source *sources = stages[0].capture.items, *peers = opts->peers.items;
    (void)state;
    assert_int_equal(opts->stages.count, 3);
    assert_string_equal(stages[0].send, "hello");
    assert_int_equal(stages[0].within_ms, 2000);
    assert_int_equal(stages[0].capture.count, 2);
    assert_string_equal(sources[0].name, "id");
    assert_string_equal(sources[0].pointer, "/id");
    assert_string_equal(sources[1].name, "word");
    assert_string_equal(sources[1].regex, "(.*)");
    assert_string_equal(stages[1].send, "bye");
    assert_int_equal(stages[2].within_ms, 250);
    assert_int_equal(stages[2].close.count, 3);
    assert_int_equal(stages[2].close.items[1].low, 4000);
    assert_int_equal(stages[2].close.items[1].high, 4100);
    assert_true(opt_in_ranges(&stages[2].close, 1008) && opt_in_ranges(&stages[2].close, 4100));
    assert_false(opt_in_ranges(&stages[2].close, 4101) || opt_in_ranges(&stages[2].close, 1001));
    assert_int_equal(opts->peers.count, 2); /* one without a value is not there */
    assert_string_equal(peers[1].name, "other");
    assert_null(peers[1].pointer);
    assert_string_equal(opts->claims,
                        "{\"a\":[1,-2.5e3,\"1\",true,null,{\"b\":\"${x}\"}],\"who\":\"{{id}}\",\"Key\":\"verysecret\"}");
    assert_string_equal(opts->body, "[\"confidential\"]");
    assert_int_equal(opts->drop.high.percent, 70);
    assert_int_equal(opts->drop.high.in_ms, 2000);
    assert_int_equal(opts->drop.low.in_ms, 0);
    assert_int_equal(opts->churn, 150);
    assert_int_equal(opts->codes.count, 1);
    conf_unref(conf);
}

static void test_defaults(void **state)
{
    struct conf *conf = load(FILE_OF("  drop: { low: 5% in 1m }\n"));
    const struct play_opts *opts = opts_of(conf);
    (void)state;
    assert_int_equal(opts->codes.count, 2);
    assert_int_equal(opts->codes.items[1].high, 4999);
    assert_int_equal(opts->drop.low.percent, 5);
    assert_int_equal(opts->drop.low.in_ms, 60000);
    for (const struct opt *row = play_rows; row->name; row++)
        assert_int_equal(opt_is_set(row, opts), strcmp(row->name, "codes") == 0 || strcmp(row->name, "drop") == 0);
    conf_unref(conf);
}

static void test_errors_have_their_place(void **state)
{
    (void)state;
    refuse(FILE_OF("  stages:\n"
                   "  - { send: a, withn: 1s }\n"
                   "  - { within: 3s }\n"
                   "  - { send: a, capture: { id: id, 'a b': /x, c: /c, d: /d } }\n"
                   "  - ~\n"
                   "  - { send: a }\n"),
           "w.yaml:5:16: checks[0].stages[0].withn: unknown key (did you mean 'within'?)\n"
           "w.yaml:6:5: checks[0].stages[1].send: required, but not set\n"
           "w.yaml:7:31: checks[0].stages[2].capture.id: pointer 'id' does not begin with a slash\n"
           "w.yaml:7:35: checks[0].stages[2].capture.a b: not a name, want 1 to 64 letters, digits, _ . or -\n"
           "w.yaml:7:53: checks[0].stages[2].capture.d: more than 2 entries\n"
           "w.yaml:8:5: checks[0].stages[3]: nothing, want a mapping\n"
           "w.yaml:9:5: checks[0].stages[4]: more than 3 entries\n");
    refuse(FILE_OF("  stages: { send: a }\n"
                   "  peers: [a]\n"
                   "  claims: { a: '{{idd}}' }\n"
                   "  drop: [70% in 2s]\n"
                   "  churn: 3\n"
                   "  codes: { a: 1 }\n"),
           "w.yaml:4:11: checks[0].stages: a mapping, want a list of mappings such as [{ send: ... }]\n"
           "w.yaml:5:10: checks[0].peers: a list, want a mapping of names such as { NAME: value }\n"
           "w.yaml:6:11: checks[0].claims: unknown hole {{idd}} at offset 6 (did you mean '{{id}}'?)\n"
           "w.yaml:7:9: checks[0].drop: a list, want a change within a time, such as 50% in 10s, or a mapping\n"
           "w.yaml:8:10: checks[0].churn: '3' has no unit, want a factor such as 3x\n"
           "w.yaml:9:10: checks[0].codes: a mapping, want a list of whole numbers and ranges such as [1008, 4000-4999]\n");
    refuse(FILE_OF("  stages: [{ send: a, close: [999, 4999-4000, 4000-, [1]] }]\n"
                   "  drop: { high: 2000% in 1s, low: 0% in 1s, hgh: 1 }\n"
                   "  churn: 1x\n"
                   "  codes: [1-5000]\n"),
           "w.yaml:4:31: checks[0].stages[0].close[0]: 999, want 1000 to 4999\n"
           "w.yaml:4:36: checks[0].stages[0].close[1]: 4999-4000 ends before it begins, want such as 4000-4999\n"
           "w.yaml:4:47: checks[0].stages[0].close[2]: '4000-', want a list of whole numbers and ranges such as [1008, 4000-4999]\n"
           "w.yaml:4:54: checks[0].stages[0].close[3]: a list, want a whole number, or a range such as 4000-4999\n"
           "w.yaml:5:17: checks[0].drop.high: 2000% in 1s, want 0% to 1000%\n"
           "w.yaml:5:35: checks[0].drop.low: '0% in 1s', want a change within a time, such as 50% in 10s\n"
           "w.yaml:5:45: checks[0].drop.hgh: unknown key (did you mean 'high'?)\n"
           "w.yaml:6:10: checks[0].churn: 1x, want 1.1x to 100x\n"
           "w.yaml:7:11: checks[0].codes[0]: 1-5000, want 0 to 4999\n");
    refuse(FILE_OF("  stages:\n  - hello\n  - within: 1s\n    send: forbidden\n"),
           "w.yaml:7:11: checks[0].stages[1].send: is forbidden\n");
    refuse(FILE_OF("  drop: seventy\n  churn: 1.234x\n"),
           "w.yaml:4:9: checks[0].drop: 'seventy', want a change within a time, such as 50% in 10s\n"
           "w.yaml:5:10: checks[0].churn: '1.234x', want a factor such as 3x or 1.5x\n");
}

static void test_show_loads_again(void **state)
{
    struct buf first = BUF_INIT(1 << 20), second = BUF_INIT(1 << 20);
    struct conf *a = load(full);
    (void)state;
    conf_show(a, &env, &first);
    assert_null(strstr(buf_str(&first), "verysecret"));
    assert_null(strstr(buf_str(&first), "confidential"));
    struct conf *b = load(buf_str(&first));
    conf_show(b, &env, &second);
    assert_string_equal(buf_str(&first), buf_str(&second));
    struct play_opts *x = a->checks[0].opts, *y = b->checks[0].opts;
    assert_true(opt_list_equal(&play_rows[0], &x->stages, &y->stages));
    assert_true(opt_list_equal(&play_rows[1], &x->peers, &y->peers));
    assert_true(opt_equal(play_rows + 4, x, y));
    assert_non_null(strstr(y->claims, "[1,-2.5e3,\"1\",true,null,{\"b\":\"${x}\"}]"));
    conf_unref(a);
    conf_unref(b);
    buf_fini(&first);
    buf_fini(&second);
}

static void test_equal_sees_every_part(void **state)
{
    static const char *const others[] = {
        FILE_OF("  stages: [a]\n"),
        FILE_OF("  stages: [a, b]\n"),
        FILE_OF("  stages: [{ send: a, within: 1s }]\n"),
        FILE_OF("  stages: [{ send: a, capture: { x: /a } }]\n"),
        FILE_OF("  stages: [{ send: a, capture: { y: /a } }]\n"),
        FILE_OF("  claims: 1\n"),
        FILE_OF("  claims: '1'\n"),
        FILE_OF("  drop: 1% in 1s\n"),
        FILE_OF("  drop: 1% in 2s\n"),
        FILE_OF("  drop: 2% in 1s\n"),
        FILE_OF("  churn: 2x\n"),
        FILE_OF("  codes: [401]\n"),
        FILE_OF("  codes: [401, 4000-4998]\n"),
        FILE_OF("  codes: []\n"),
    };
    enum { COUNT = sizeof others / sizeof others[0] };
    struct conf *a[COUNT], *again;
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        a[i] = load(others[i]);
        again = load(others[i]);
        assert_true(conf_same_check(&a[i]->checks[0], &again->checks[0]));
        conf_unref(again);
        for (size_t j = 0; j < i; j++)
            assert_false(conf_same_check(&a[i]->checks[0], &a[j]->checks[0]));
    }
    for (size_t i = 0; i < COUNT; i++)
        conf_unref(a[i]);
}

static void take(struct play_opts *opts, const char *name, const char *text)
{
    struct err err = { 0 };
    if (opt_set(play_rows, opts, name, text, &err))
        fail_msg("%s", err.text);
}

static void refuse_set(struct play_opts *opts, const char *name, const char *text, const char *want)
{
    struct err err = { 0 };
    assert_int_equal(opt_set(play_rows, opts, name, text, &err), -1);
    assert_string_equal(err.text, want);
}

static void test_command_line(void **state)
{
    struct play_opts opts = { 0 };
    (void)state;
    opt_defaults(play_rows, &opts);
    take(&opts, "stages", "one");
    take(&opts, "stages", "two");
    take(&opts, "peers.db", "/a");
    take(&opts, "peers.db.regex", "x");
    take(&opts, "drop", "5% in 3s");
    take(&opts, "drop.low", "4% in 3s");
    take(&opts, "churn", "2.25x");
    take(&opts, "codes", "1, 3-4,5");
    take(&opts, "claims", "{\"a\": \"{{id}}\"}");
    assert_int_equal(opts.stages.count, 2);
    assert_string_equal(((struct stage *)opts.stages.items)[1].send, "two");
    assert_int_equal(opts.peers.count, 1);
    assert_string_equal(((struct source *)opts.peers.items)[0].pointer, "/a");
    assert_string_equal(((struct source *)opts.peers.items)[0].regex, "x");
    assert_int_equal(opts.drop.high.percent, 5);
    assert_int_equal(opts.drop.low.percent, 4);
    assert_int_equal(opts.churn, 225);
    assert_int_equal(opts.codes.count, 3);
    refuse_set(&opts, "peers.x", "nothing", "peers.x: pointer 'nothing' does not begin with a slash");
    refuse_set(&opts, "peers.x y", "/a", "peers.x y: not a name, want 1 to 64 letters, digits, _ . or -");
    refuse_set(&opts, "peers.db.port", "1", "peers.db.port: unknown option");
    refuse_set(&opts, "peers", "a", "peers: 'a', want a mapping of names such as { NAME: value }");
    refuse_set(&opts, "stages.send", "a", "stages.send: unknown option");
    refuse_set(&opts, "codes", "1,x", "codes: 'x', want a list of whole numbers and ranges such as [1008, 4000-4999]");
    refuse_set(&opts, "claims", "{a}", "claims: not JSON (a text needs its quotes)");
    refuse_set(&opts, "claims", "\"{{seqq}}\"", "claims: unknown hole {{seqq}} at offset 1 (did you mean '{{seq}}'?)");
    assert_int_equal(opts.peers.count, 1); /* what was refused has changed nothing */
    assert_int_equal(opts.codes.count, 3);
    take(&opts, "stages", "three");
    refuse_set(&opts, "stages", "four", "stages: more than 3 entries");
    opt_fini(play_rows, &opts);
}

static void test_factors(void **state)
{
    static const struct {
        const char *text, *shown;
        int64_t value;
    } cases[] = { { "3x", "3x", 300 },
                  { "1.5x", "1.5x", 150 },
                  { "1.50x", "1.5x", 150 },
                  { "1.05x", "1.05x", 105 },
                  { "12.34x", "12.34x", 1234 } };
    static const char *const bad[] = {
        "", "x", "3", "1.x", ".5x", "-1x", "1.5", "1.5xx", "1 x", "99999999999999999999x", "92233720368547758x"
    };
    const struct opt row = { .name = "f", .kind = OPT_FACTOR };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char shown[64];
        int64_t value = 0;
        assert_int_equal(opt_parse_factor(cases[i].text, &value), 0);
        assert_int_equal(value, cases[i].value);
        opt_format_number(&row, value, shown, sizeof shown);
        assert_string_equal(shown, cases[i].shown);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0] - 1; i++) {
        int64_t value = 0;
        assert_int_equal(opt_parse_factor(bad[i], &value), -1);
    }
}

static void test_rates_that_are_none(void **state)
{
    static const char *const bad[] = { "",
                                       "50%",
                                       "50% in",
                                       "50% in ",
                                       "50 in 10s",
                                       "50% in 10",
                                       "50%in 10s",
                                       "% in 1s",
                                       "50% in 0s",
                                       "-5% in 1s",
                                       "99999999999999999999% in 1s" };
    const struct opt row = { .name = "r", .kind = OPT_RATE };
    struct opt_rate rate = { 7, 7 };
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(opt_parse_rate(&row, &rate, bad[i], bad[i], &err), -1);
    assert_int_equal(rate.percent, 7);
    assert_int_equal(opt_parse_rate(&row, &rate, "50% in  1m30s", NULL, &err), 0);
    assert_int_equal(rate.in_ms, 90000);
}

static void test_texts_about_it(void **state)
{
    static const char *const manual[] = { ".SS checks: type play.stages[]\n",
                                          ".SS checks: type play.stages[].capture.NAME\n",
                                          ".B claims\n",
                                          "(any value)",
                                          ".SS checks: type play.drop\n",
                                          "may stand for the whole mapping" };
    struct buf out = BUF_INIT(1 << 20);
    char root[] = "/properties/checks/items/oneOf/0/properties/stages/anyOf/0/type", array[] = "\"array\"";
    struct match_spec spec = { .json = { { root, array } }, .json_count = 1 };
    struct err err;
    (void)state;
    conf_write_roff(&env, &out);
    for (size_t i = 0; i < sizeof manual / sizeof manual[0]; i++)
        if (!strstr(buf_str(&out), manual[i]))
            fail_msg("%s is not in %s", manual[i], buf_str(&out));
    buf_fini(&out);
    conf_write_starter(&env, &out);
    assert_non_null(strstr(buf_str(&out), "#  stages: []\n"));
    assert_non_null(strstr(buf_str(&out), "#  # - within: in time\n"));
    assert_non_null(strstr(buf_str(&out), "#  codes: [401, 4000-4999]\n"));
    buf_fini(&out);
    conf_write_schema(&env, &out);
    struct match *match = match_new(&spec, &err);
    if (!match_try(match, buf_slice(&out), &err))
        fail_msg("%s", err.text);
    match_free(match);
    buf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_everything_set),
        TEST(test_defaults),
        TEST(test_errors_have_their_place),
        TEST(test_show_loads_again),
        TEST(test_equal_sees_every_part),
        TEST(test_command_line),
        TEST(test_factors),
        TEST(test_rates_that_are_none),
        TEST(test_texts_about_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
