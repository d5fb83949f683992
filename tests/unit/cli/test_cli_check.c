/* What the flags of `check` make of a configuration. Nothing is connected to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli/cli.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/core/probe.h"

#define FLAG(name) { name, "X", "x", 0, true }
static const struct cli_flag flags[] = { FLAG("config"),
                                         FLAG("type"),
                                         FLAG("timeout"),
                                         FLAG("slo"),
                                         FLAG("header"),
                                         FLAG("origin"),
                                         FLAG("subprotocol"),
                                         FLAG("token-file"),
                                         FLAG("send"),
                                         FLAG("expect"),
                                         FLAG("ca"),
                                         FLAG("dialect"),
                                         FLAG("channel"),
                                         { "insecure", NULL, "x", 0, false },
                                         { 0 } };
static const struct cli_command commands[] = { { "check", "[URL]", "checks", NULL, 1, flags, NULL, NULL }, { 0 } };

/* Words up to a NULL behind `wshealthd check`. */
static struct conf *conf_of(const char *first, ...)
{
    static char words[32][256];
    char *argv[32];
    struct cli cli;
    struct err err;
    int argc = 0;
    va_list args;
    argv[argc++] = strcpy(words[0], "wshealthd");
    argv[argc++] = strcpy(words[1], "check");
    va_start(args, first);
    for (const char *word = first; word; word = va_arg(args, const char *)) {
        snprintf(words[argc], sizeof words[argc], "%s", word);
        argv[argc] = words[argc];
        argc++;
    }
    va_end(args);
    assert_int_equal(cli_parse(&cli, commands, argc, argv, &err), 0);
    return cli_check_conf(&cli);
}
#define conf_of(...) conf_of(__VA_ARGS__, NULL)

/* The types of the enabled checks, in order: "handshake ping". */
static const char *types(const struct conf *conf)
{
    static char text[256];
    text[0] = '\0';
    assert_non_null(conf);
    for (size_t i = 0; i < conf->check_count; i++) {
        size_t len = strlen(text);
        if (conf->checks[i].enabled)
            snprintf(text + len, sizeof text - len, "%s%s", len ? " " : "", conf->checks[i].type->name);
    }
    return text;
}

static void expect_types(struct conf *conf, const char *want)
{
    assert_string_equal(types(conf), want);
    conf_unref(conf);
}

static char file[64];
static int write_file(void **state)
{
    static const char text[] = "target: { url: 'ws://127.0.0.1:1/a', headers: { X-One: file, X-Two: file }, subprotocols: [a] }\n"
                               "checks:\n"
                               "  - { name: first, type: handshake, timeout: 1s }\n"
                               "  - { name: talk, type: echo, fall: 3/5, rise: 2, interval: 2s, timeout: 2s }\n"
                               "  - { name: off, type: ping, enabled: false }\n";
    (void)state;
    strcpy(file, "/tmp/test_cli_check.XXXXXX");
    int fd = mkstemp(file);
    ssize_t written = write(fd, text, sizeof text - 1);
    close(fd);
    return written == (ssize_t)sizeof text - 1 ? 0 : -1;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(file);
}

static void a_url_brings_its_checks(void **state)
{
    (void)state;
    expect_types(conf_of("ws://127.0.0.1:1/"), "handshake ping");
    expect_types(conf_of("wss://127.0.0.1:1/"), "handshake ping");
    expect_types(conf_of("ws+unix:///run/x:/ws"), "handshake ping");
    expect_types(conf_of("http://127.0.0.1:1/health"), "http");
    expect_types(conf_of("https://127.0.0.1:1/health"), "http");
    expect_types(conf_of("tcp://127.0.0.1:1"), "tcp");
    expect_types(conf_of("ws://127.0.0.1:1/", "--type", "hold", "--type", "ping"), "hold ping");
    expect_types(conf_of("ws://127.0.0.1:1/", "--type", "ping", "--type", "ping"), "ping");
    expect_types(conf_of("ws://127.0.0.1:1/", "--send", "x"), "handshake ping echo");
    expect_types(conf_of("ws://127.0.0.1:1/", "--expect", "x"), "handshake ping echo");
    expect_types(conf_of("http://127.0.0.1:1/", "--expect", "x"), "http");
}

static void a_file_brings_its_own(void **state)
{
    (void)state;
    expect_types(conf_of("--config", file), "handshake echo");
    expect_types(conf_of("--config", file, "--type", "echo"), "echo");
    expect_types(conf_of("--config", file, "--type", "ping"), "ping"); /* asked for by name, it is done */
    expect_types(conf_of("--config", file, "--type", "tcp"), "tcp");
    struct conf *conf = conf_of("--config", file, "ws://127.0.0.1:2/b");
    assert_string_equal(conf->target.url, "ws://127.0.0.1:2/b");
    assert_int_equal(conf->target.local.port, 2);
    conf_unref(conf);
}

static void one_round_decides(void **state)
{
    (void)state;
    struct conf *conf = conf_of("--config", file);
    for (size_t i = 0; i < conf->check_count; i++) {
        assert_int_equal(conf->checks[i].rise, 1);
        assert_int_equal(conf->checks[i].fall.count, 1);
        assert_int_equal(conf->checks[i].fall.of, 1);
    }
    conf_unref(conf);
}

static void times_go_to_every_check(void **state)
{
    (void)state;
    struct conf *conf = conf_of("--config", file, "--timeout", "20s", "--slo", "150ms");
    for (size_t i = 0; i < conf->check_count; i++) {
        assert_int_equal(conf->checks[i].timeout_ms, 20000);
        assert_int_equal(conf->checks[i].slo_ms, 150);
    }
    conf_unref(conf);
    assert_null(conf_of("ws://127.0.0.1:1/", "--timeout", "2"));
    assert_null(conf_of("ws://127.0.0.1:1/", "--slo", "fast"));
    assert_null(conf_of("ws://127.0.0.1:1/", "--timeout", "1s", "--slo", "1s"));
}

static const char *header(const struct conf *conf, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < conf->target.headers.count; i++)
        if (strcmp(conf->target.headers.items[i].name, name) == 0)
            value = conf->target.headers.items[i].value;
    return value ? value : "";
}

static void flags_change_the_target(void **state)
{
    (void)state;
    struct conf *conf = conf_of("--config", file, "--header", "x-two: flag", "--header", "X-Three: a: b", "--origin",
                                "https://o.test", "--subprotocol", "b", "--insecure");
    assert_int_equal(conf->target.headers.count, 3);
    assert_string_equal(header(conf, "X-One"), "file");
    assert_string_equal(header(conf, "x-two"), "flag");
    assert_string_equal(header(conf, "X-Three"), "a: b");
    assert_string_equal(conf->target.origin, "https://o.test");
    assert_int_equal(conf->target.subprotocols.count, 2);
    assert_string_equal(conf->target.subprotocols.items[1], "b");
    assert_false(conf->target.tls.verify);
    conf_unref(conf);
    assert_null(conf_of("ws://127.0.0.1:1/", "--header", "nocolon"));
    assert_null(conf_of("ws://127.0.0.1:1/", "--header", "X: a\r\nY: b"));
}

static void a_token_is_read_from_its_file(void **state)
{
    (void)state;
    char token_file[] = "/tmp/test_cli_check.XXXXXX";
    struct buf token = BUF_INIT(4096);
    struct err err;
    int fd = mkstemp(token_file);
    assert_int_equal(write(fd, "open sesame\n", 12), 12);
    close(fd);
    struct conf *conf = conf_of("ws://127.0.0.1:1/", "--token-file", token_file);
    assert_true(opt_is_dynamic(conf->target.token));
    assert_null(strstr(conf->target.token, "sesame"));
    assert_int_equal(opt_expand(conf->target.token, &token, &err), 0);
    assert_string_equal(buf_str(&token), "open sesame");
    buf_fini(&token);
    conf_unref(conf);
    unlink(token_file);
    assert_null(conf_of("ws://127.0.0.1:1/", "--token-file", token_file));
}

/* An option of a check of that type, as text or as the first of a list. */
static const char *option(const struct conf *conf, const char *type, const char *name)
{
    for (size_t i = 0; i < conf->check_count; i++) {
        const struct check_conf *check = &conf->checks[i];
        const struct opt *row = strcmp(check->type->name, type) == 0 ? opt_find(check->type->opts, name) : NULL;
        if (row && row->kind == OPT_STRING)
            return *(char **)opt_field(row, check->opts);
        if (row && row->kind == OPT_STRINGS && ((struct opt_strings *)opt_field(row, check->opts))->count == 1)
            return ((struct opt_strings *)opt_field(row, check->opts))->items[0];
    }
    return NULL;
}

static const char *channel_of(const struct conf *conf, const char *type)
{
    const char *channel = option(conf, type, "channel");
    return channel ? channel : option(conf, type, "channels");
}

static void a_dialect_and_a_channel_need_no_file(void **state)
{
    (void)state;
    struct conf *conf = conf_of("ws://127.0.0.1:1", "--dialect", "socket.io", "--channel", "news");
    assert_string_equal(types(conf), "handshake ping subscribe");
    assert_string_equal(conf->target.dialect->name, "socket.io");
    assert_string_equal(channel_of(conf, "subscribe"), "news");
    assert_memory_equal(conf->target.local.target, "/socket.io/", 11);
    assert_true(conf->checks[2].gates & GATE_READY);
    conf_unref(conf);
    conf = conf_of("ws://127.0.0.1:1", "--dialect", "socket.io", "--channel", "news", "--type", "subscribe");
    assert_string_equal(types(conf), "subscribe");
    assert_string_equal(channel_of(conf, "subscribe"), "news");
    conf_unref(conf);
    conf = conf_of("ws://127.0.0.1:1/", "--dialect", "stomp", "--token-file", file);
    assert_int_equal(conf->target.token_place, TOKEN_MESSAGE);
    conf_unref(conf);
    conf = conf_of("ws://127.0.0.1:1/", "--dialect", "raw", "--token-file", file);
    assert_int_equal(conf->target.token_place, TOKEN_HEADER);
    conf_unref(conf);
    assert_null(conf_of("ws://127.0.0.1:1/", "--dialect", "socketio"));
    assert_null(conf_of("ws://127.0.0.1:1/", "--channel", "news"));                       /* raw cannot */
    assert_null(conf_of("ws://127.0.0.1:1/", "--type", "delivery", "--channel", "news")); /* no broker */
}

static void a_channel_takes_the_place_of_the_files(void **state)
{
    static const char text[] = "target: { url: 'ws://127.0.0.1:1/a', dialect: own }\n"
                               "dialects: { own: { subscribe: { send: 'SUB {{channel}}' } } }\n"
                               "brokers: [{ name: bus, type: memory }]\n"
                               "checks: [{ type: delivery, channel: heartbeat }, { type: ping }]\n";
    char path[] = "/tmp/test_cli_check.XXXXXX";
    int fd = mkstemp(path);
    (void)state;
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    struct conf *conf = conf_of("--config", path);
    assert_string_equal(types(conf), "delivery ping broker");
    conf_unref(conf);
    conf = conf_of("--config", path, "--type", "delivery", "--channel", "news");
    assert_string_equal(types(conf), "delivery");
    assert_string_equal(channel_of(conf, "delivery"), "news");
    conf_unref(conf);
    conf = conf_of("--config", path, "--type", "ping", "--channel", "news");
    assert_string_equal(types(conf), "ping subscribe");
    assert_string_equal(channel_of(conf, "subscribe"), "news");
    conf_unref(conf);
    conf = conf_of("--config", path, "--dialect", "raw", "--type", "broker");
    assert_string_equal(types(conf), "broker");
    assert_string_equal(conf->target.dialect->name, "raw");
    conf_unref(conf);
    unlink(path);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    assert_null(conf_of("ws://127.0.0.1:1/", "--type", "ehco"));
    assert_null(conf_of("ws://127.0.0.1:1/", "--type", "ping", "--send", "x"));
    assert_null(conf_of("tcp://127.0.0.1:1", "--type", "tcp", "--expect", "x"));
    assert_null(conf_of("ftp://127.0.0.1/"));
    assert_null(conf_of("ws://127.0.0.1:99999/"));
    assert_null(conf_of("127.0.0.1:80"));
    assert_null(conf_of("--config", "/nowhere/at/all"));
    assert_null(conf_of("--config", file, "ftp://127.0.0.1/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_brings_its_checks),
        cmocka_unit_test(a_file_brings_its_own),
        cmocka_unit_test(one_round_decides),
        cmocka_unit_test(times_go_to_every_check),
        cmocka_unit_test(flags_change_the_target),
        cmocka_unit_test(a_token_is_read_from_its_file),
        cmocka_unit_test(a_dialect_and_a_channel_need_no_file),
        cmocka_unit_test(a_channel_takes_the_place_of_the_files),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, write_file, remove_file);
}
