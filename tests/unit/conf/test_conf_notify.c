/* `notify:` in the configuration, with types of the test's own: reading, errors with their places, what is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/conf/probe_type.h"
#include "agent/conf/receiver_type.h"

/* --- what the layers above would bring ---------------------------------------------------------------------------------------- */

struct horn_opts {
    char *key;
    int64_t volume;
};
static const struct opt horn_rows[] = {
    { .name = "key",
      .kind = OPT_STRING,
      .offset = offsetof(struct horn_opts, key),
      .flags = OPT_SECRET | OPT_DYNAMIC | OPT_REQUIRED,
      .help = "the key" },
    { .name = "volume",
      .kind = OPT_INT,
      .offset = offsetof(struct horn_opts, volume),
      .default_text = "3",
      .max = 9,
      .help = "how loud" },
    { 0 },
};

static int horn_validate(const struct notifier_conf *conf, struct err *err)
{
    const struct horn_opts *opts = conf->opts;
    return opts->volume > 7 ? err_set(err, REASON_NONE, 0, "volume: more than 7") : 0;
}

static const struct receiver_type horn = { .name = "horn",
                                           .summary = "A horn",
                                           .by = RECEIVER_HTTP,
                                           .default_url = "https://horn.example/v1",
                                           .opts = horn_rows,
                                           .opts_size = sizeof(struct horn_opts),
                                           .validate = horn_validate };
static const struct receiver_type hook = {
    .name = "hook", .summary = "A hook", .by = RECEIVER_HTTP, .example = "url: http://127.0.0.1:1/"
};
static const struct receiver_type bell = { .name = "bell", .summary = "A bell", .by = RECEIVER_PROGRAM };
static const struct receiver_type *const receivers[] = { &hook, &horn, &bell, NULL };
static const struct probe_type ping = { .name = "ping", .summary = "A ping", .by_default = true, .gates = GATE_READY };
static const struct probe_type *const types[] = { &ping, NULL };
static const struct dialect raw = { .name = (char[]){ "raw" } };
static const struct dialect *const dialects[] = { &raw, NULL };

static const char *fake_getenv(const char *name)
{
    return strcmp(name, "HOOK") == 0 ? "https://hooks.example/services/T0000000/B0000000/abcdefghijklmnopqrstuvwx" : NULL;
}

static const struct conf_env env = { .probes = types, .dialects = dialects, .getenv = fake_getenv, .receivers = receivers };
#include "tests/unit/conf/load.h" /* needs env */

#define TARGET "target: { url: ws://h/ }\n"

static void refuse(const char *text, const char *want)
{
    struct conf *conf = load_slice(slice_str(text));
    conf_unref(conf);
    assert_null(conf);
    assert_string_equal(buf_str(&errors.text), want);
}

static void test_defaults(void **state)
{
    (void)state;
    struct conf *conf =
        load(TARGET "notify: [{ type: hook, url: \"${HOOK}\" }, { name: pager, type: horn, key: abcd1234 }, { type: bell }]\n");
    assert_int_equal(conf->notifier_count, 3);
    const struct notifier_conf *first = &conf->notifiers[0];
    assert_string_equal(first->name, "hook");
    assert_int_equal(first->on, NOTIFY_NOT_READY | NOTIFY_DEGRADED | NOTIFY_NOT_LIVE | NOTIFY_READY);
    assert_int_equal(first->after_ms, 15000);
    assert_int_equal(first->repeat_ms, 4 * 3600000);
    assert_int_equal(first->max_per_hour, 12);
    assert_int_equal(first->timeout_ms, 10000);
    assert_true(first->tls.verify);
    assert_ptr_equal(conf_find_notifier(conf, "pager"), &conf->notifiers[1]);
    assert_string_equal(conf->notifiers[1].url, "https://horn.example/v1");
    assert_null(conf_find_notifier(conf, "nobody"));
    assert_true(conf_same_notifier(first, first));
    assert_false(conf_same_notifier(first, &conf->notifiers[1]));
    conf_unref(conf);
}

/* The path is a password: it is shown nowhere, and masked wherever it appears. */
static void test_what_is_shown(void **state)
{
    (void)state;
    struct conf *conf =
        load(TARGET "notify: [{ type: hook, url: \"${HOOK}\", headers: { Authorization: Bearer abcdefgh, X-Team: chat } },"
                    " { type: horn, key: abcd1234 }]\n");
    struct buf out = BUF_INIT(1 << 16);
    conf_show(conf, &env, &out);
    const char *text = buf_str(&out);
    assert_non_null(strstr(text, "url: \"https://hooks.example/***\""));
    assert_non_null(strstr(text, "Authorization: \"***\""));
    assert_non_null(strstr(text, "X-Team: chat"));
    assert_non_null(strstr(text, "key: \"***\""));
    assert_null(strstr(text, "abcd"));
    assert_null(strstr(text, "T0000000"));
    char said[] = "answered /services/T0000000/B0000000/abcdefghijklmnopqrstuvwx, or abcdefghijklmnopqrstuvwx, Bearer abcdefgh";
    secret_scrub(said);
    assert_string_equal(said, "answered ***, or ***, ***");
    buf_fini(&out);
    conf_unref(conf);
}

static void test_errors(void **state)
{
    (void)state;
    refuse(TARGET "notify:\n  - { type: hok, url: http://h/ }\n",
           "w.yaml:3:13: notify[0].type: 'hok', no such type of notifier (did you mean 'hook'?)\n");
    refuse(TARGET "notify:\n  - { url: http://h/ }\n", "w.yaml:3:5: notify[0].type: required, but not set\n");
    refuse(
        TARGET "notify: { type: hook }\n",
        "w.yaml:2:9: notify: a mapping, want a list of notifiers such as [{ type: webhook, url: http://127.0.0.1:8000/alerts }]\n");
    refuse(
        TARGET "notify: [hook]\n",
        "w.yaml:2:10: notify[0]: a text, want a mapping such as { name: ops, type: webhook, url: http://127.0.0.1:8000/alerts }\n");
    refuse(TARGET "notify:\n  - { type: hook }\n", "w.yaml:3:5: notify[0].url: required, but not set: want http:// or https://\n");
    refuse(TARGET "notify:\n  - { type: hook, url: ws://h/secret-secret-secret }\n",
           "w.yaml:3:24: notify[0].url: scheme ws://, want http:// or https://\n");
    refuse(TARGET "notify:\n  - { type: hook, url: h/secret-secret-secret }\n",
           "w.yaml:3:24: notify[0].url: want http:// or https:// at its beginning\n");
    refuse(TARGET "notify:\n  - { type: hook, url: ftp://h/secret-secret-secret }\n",
           "w.yaml:3:24: notify[0].url: want http:// or https:// at its beginning\n");
    refuse(TARGET "notify:\n  - { type: hook, url: http://h/, tls: { ca_file: /x } }\n",
           "w.yaml:3:24: notify[0].url: http:// has no TLS, but `tls` is set: want https://\n");
    refuse(TARGET "notify:\n  - { type: bell, url: http://h/ }\n",
           "w.yaml:3:24: notify[0].url: 'bell' runs a program, and has no use for it\n");
    refuse(TARGET "notify:\n  - { type: horn }\n", "w.yaml:3:5: notify[0].key: required, but not set\n");
    refuse(TARGET "notify:\n  - { type: horn, key: abcd, volume: 8 }\n", "w.yaml:3:38: notify[0].volume: more than 7\n");
    refuse(TARGET "notify:\n  - { type: bell, on: [ready] }\n",
           "w.yaml:3:23: notify[0].on: no fault is named, want at least one of not_ready, degraded, not_live, warn and draining\n");
    refuse(TARGET "notify:\n  - { type: bell, on: [not_redy] }\n",
           "w.yaml:3:24: notify[0].on[0]: 'not_redy', want not_ready, degraded, ready, not_live, draining or warn (did "
           "you mean "
           "'not_ready'?)\n");
    refuse(TARGET "notify:\n  - { type: bell, body: \"{{titel}}\" }\n",
           "w.yaml:3:25: notify[0].body: unknown hole {{titel}} at offset 0 (did you mean '{{title}}'?)\n");
    refuse(TARGET "notify:\n  - { type: bell }\n  - { type: bell }\n",
           "w.yaml:4:5: notify[1].name: 'bell' is taken by notify[0]\n");
    refuse(TARGET "notify:\n  - { type: bell, name: a b }\n",
           "w.yaml:3:25: notify[0].name: 'a b', want 1 to 64 letters, digits, _ . or -\n");
    refuse(TARGET "notify:\n  - { type: bell, max_per_hour: 1 }\n", "w.yaml:3:33: notify[0].max_per_hour: 1, want 2 to 120\n");
    refuse(TARGET "notify:\n  - { type: hook, url: http://h/, headers: { Host: a } }\n",
           "w.yaml:3:52: notify[0].headers.Host: is set by the agent\n");
}

static void test_too_many(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 14);
    buf_append_str(&text, TARGET "notify:\n");
    for (int i = 0; i < CONF_NOTIFIERS_MAX + 1; i++)
        buf_printf(&text, "  - { type: bell, name: n%d }\n", i);
    refuse(buf_str(&text), "w.yaml:3:3: notify: 17 notifiers, want at most 16\n");
    buf_fini(&text);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = { T(test_defaults), T(test_what_is_shown), T(test_errors), T(test_too_many) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
