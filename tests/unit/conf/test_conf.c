/* The configuration as an operator writes it, with check types of the test's own: every error at its place, what it means, what is shown. */
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
#include "agent/conf/conf.h"
#include "agent/conf/probe_type.h"

struct echo_opts {
    char *send, *url;
    struct opt_match expect;
    int64_t size;
};
struct need_opts {
    char *what;
    int64_t low, high;
};

static const struct opt echo_rows[] = {
    { .name = "send", .kind = OPT_STRING, .offset = offsetof(struct echo_opts, send), .help = "what is sent" },
    { .name = "url", .kind = OPT_STRING, .offset = offsetof(struct echo_opts, url), .help = "a URL" },
    { .name = "expect", .kind = OPT_MATCH, .offset = offsetof(struct echo_opts, expect), .help = "what comes back" },
    { .name = "size", .kind = OPT_SIZE, .offset = offsetof(struct echo_opts, size), .default_text = "1KiB", .help = "how much" },
    { 0 },
};
static const struct opt need_rows[] = {
    { .name = "what", .kind = OPT_STRING, .offset = offsetof(struct need_opts, what), .flags = OPT_REQUIRED, .help = "a thing" },
    { .name = "low", .kind = OPT_INT, .offset = offsetof(struct need_opts, low), .default_text = "1", .help = "the lower bound" },
    { .name = "high", .kind = OPT_INT, .offset = offsetof(struct need_opts, high), .default_text = "2", .help = "the upper bound" },
    { 0 },
};

static int need_validate(const void *opts, struct err *err)
{
    const struct need_opts *need = opts;
    return need->low > need->high ? err_set(err, REASON_NONE, 0, "low: more than high") : 0;
}

static const struct probe_type handshake = {
    .name = "handshake", .summary = "A handshake", .by_default = true, .gates = GATE_READY | GATE_LIVE, .series = SERIES_DIAL
};
static const struct probe_type ping = { .name = "ping", .summary = "A ping", .by_default = true, .gates = GATE_READY };
static const struct probe_type hold = { .name = "hold", .summary = "A hold", .by_default = true, .gates = GATE_READY };
static const struct probe_type echo = {
    .name = "echo", .summary = "An echo", .gates = GATE_READY, .opts = echo_rows, .opts_size = sizeof(struct echo_opts)
};
static const struct probe_type need = {
    .name = "need", .summary = "A need", .opts = need_rows, .opts_size = sizeof(struct need_opts), .validate = need_validate
};
static const struct probe_type cert = { .name = "cert", .summary = "A certificate", .wants_wss = true };
static bool always(const void *opts)
{
    (void)opts;
    return true;
}
static const struct probe_type secure = { .name = "secure", .summary = "Speaks TLS with somebody", .needs_tls = always };
static const struct probe_type *const types[] = { &handshake, &ping, &hold, &echo, &need, &cert, &secure, NULL };

static const char *fake_getenv(const char *name)
{
    static const char *const values[][2] = {
        { "PORT", "8080" },
        { "EMPTY", "" },
        { "SECONDS", "3s" },
        { "PASSWORD", "hunter2hunter2" },
        { "TRICK", "a, b: [c]\nd: ${file:/etc/passwd}" },
        { "MARK", "\x01/etc/passwd\x02" },
        { "BYTES", "\xff\xfe" },
        { "LINES", "a\r\nX: b" },
        { "CREDENTIALS_DIRECTORY", "/tmp/test_conf.credentials" },
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (strcmp(values[i][0], name) == 0)
            return values[i][1];
    return NULL;
}

static const struct conf_env env = { .probes = types, .getenv = fake_getenv };
#include "tests/unit/conf/load.h" /* needs env */

/* All errors, without the file's name. */
static void refuse_slice(struct slice text, const char *want)
{
    struct conf *conf = load_slice(text);
    char *got = mem_strdup(buf_str(&errors.text)), *out = got;
    conf_unref(conf);
    assert_null(conf);
    for (const char *line = buf_str(&errors.text); *line;) {
        size_t len = strcspn(line, "\n") + 1;
        assert_memory_equal(line, "w.yaml:", 7);
        memcpy(out, line + 7, len - 7);
        out += len - 7;
        line += len;
    }
    *out = 0;
    assert_string_equal(got, want);
    mem_free(got);
}

static void refuse(const char *text, const char *want)
{
    refuse_slice(slice_str(text), want);
}

#define TARGET "target: { url: 'ws://h/' }\n"
#define CHECK(text) TARGET "checks:\n- { type: echo, " text " }\n"

/* --- what is taken -------------------------------------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    struct conf *conf = load(TARGET);
    (void)state;
    assert_string_equal(conf->listen, "[::]:9717");
    assert_true(conf->listen_on && conf->admin_on);
    assert_int_equal(conf->listen_address.port, 9717);
    assert_true(conf->admin_auto);
    assert_int_equal(conf->details, DETAILS_AUTO);
    assert_int_equal(conf->log_level, LOG_INFO);
    assert_int_equal(conf->log_format, LOG_LOGFMT);
    assert_false(conf->shared_faults_fail);
    assert_int_equal(conf->liveness_after_ms, 30000);
    assert_int_equal(conf->target.tls.min_version, 2);
    assert_true(conf->target.tls.verify);
    assert_int_equal(conf->target.compression, COMPRESSION_AUTO);
    assert_int_equal(conf->target.token_place, TOKEN_HEADER);
    assert_string_equal(conf->target.local.host, "h");
    assert_int_equal(conf->target.public.scheme[0], 0);
    assert_int_equal(conf->check_count, 3);
    assert_string_equal(conf->checks[0].name, "handshake");
    assert_int_equal(conf->checks[0].gates, GATE_READY | GATE_LIVE);
    assert_int_equal(conf->checks[0].interval_ms, 5000);
    assert_int_equal(conf->checks[0].timeout_ms, 2000);
    assert_int_equal(conf->checks[0].rise, 1);
    assert_int_equal(conf->checks[0].fall.count, 2);
    assert_int_equal(conf->checks[0].fall.of, 2);
    assert_int_equal(conf->checks[0].jitter_percent, 10);
    assert_int_equal(conf->checks[0].slo_ms, 0);
    assert_true(conf->checks[0].enabled);
    assert_ptr_equal(conf->checks[2].type, &hold);
    conf_unref(conf_ref(conf));
    conf_unref(conf);
}

static void test_everything_set(void **state)
{
    struct conf *conf =
        load("listen: off\n"
             "admin: off\n"
             "details: full\n"
             "prestop: false\nbrokers: []\ndialects: {}\nagent_check: off\ngrpc:\n"
             "log: { level: debug, format: json }\n"
             "target:\n"
             "  url: wss://127.0.0.1:${PORT}/ws?v=2\n"
             "  public_url: wss://chat.example.com/ws\n"
             "  headers: { X-Probe: wshealthd, X-Two: two words }\n"
             "  origin: https://chat.example.com\n"
             "  subprotocols: [chat.v1, chat.v2]\n"
             "  token: abc\n"
             "  token_in: query:access_token\n"
             "  tls: { ca_file: , verify: false, min_version: 1.3, server_name: chat.example.com }\n"
             "  compression: required\n"
             "readiness: { shared_faults: fail, degraded_weight: 100% }\n"
             "liveness: { after: 1m }\n"
             "defaults: { interval: 10s, timeout: '${SECONDS}', rise: 2, fall: 3/5, jitter: 0% }\n"
             "checks:\n"
             "- { type: handshake, gates: [], path: public }\n"
             "- { name: e.1, type: echo, fall: 1, slo: 200ms, enabled: false, gates: [live], size: 2MiB, send: '' }\n"
             "- { type: cert }\n");
    (void)state;
    assert_false(conf->listen_on || conf->admin_on);
    assert_true(conf->shared_faults_fail);
    assert_int_equal(conf->log_level, LOG_DEBUG);
    assert_int_equal(conf->target.local.port, 8080);
    assert_string_equal(conf->target.public.host, "chat.example.com");
    assert_string_equal(conf->target.headers.items[1].value, "two words");
    assert_int_equal(conf->target.subprotocols.count, 2);
    assert_int_equal(conf->target.token_place, TOKEN_QUERY);
    assert_string_equal(conf->target.token_name, "access_token");
    assert_null(conf->target.tls.ca_file);
    assert_int_equal(conf->target.tls.min_version, 3);
    assert_int_equal(conf->checks[0].gates, 0);
    assert_int_equal(conf->checks[0].path, PATH_PUBLIC);
    assert_int_equal(conf->checks[0].timeout_ms, 3000);
    assert_int_equal(conf->checks[0].fall.of, 5);
    assert_int_equal(conf->checks[1].fall.of, 1);
    assert_int_equal(conf->checks[1].interval_ms, 10000);
    assert_int_equal(conf->checks[1].gates, GATE_LIVE);
    assert_false(conf->checks[1].enabled);
    const struct echo_opts *opts = conf->checks[1].opts;
    assert_int_equal(opts->size, 2 << 20);
    assert_string_equal(opts->send, ""); /* an empty text is one */
    conf_unref(conf);
}

static void test_token_places(void **state)
{
    struct conf *conf = load("target: { url: 'ws://h/', token: x, token_in: 'cookie:sid' }");
    (void)state;
    assert_int_equal(conf->target.token_place, TOKEN_COOKIE);
    assert_string_equal(conf->target.token_name, "sid");
    conf_unref(conf);
    conf = load("target: { url: 'ws://h/', token: x, token_in: subprotocol }");
    assert_int_equal(conf->target.token_place, TOKEN_SUBPROTOCOL);
    conf_unref(conf);
}

static const struct match_spec *match_of(const struct conf *conf)
{
    return &((const struct echo_opts *)conf->checks[0].opts)->expect.spec;
}

static void test_json_values(void **state)
{
    struct conf *conf = load(TARGET "checks:\n"
                                    "- type: echo\n"
                                    "  expect:\n"
                                    "    json:\n"
                                    "      /a: pong\n"
                                    "      /b: -2.5e3\n"
                                    "      /c: \"7\"\n"
                                    "      /d: true\n"
                                    "      /e: 'true'\n"
                                    "      /f: ~\n"
                                    "      /g: [1, {x: \"q\\\"\", y: [ ]}, {}]\n"
                                    "      /h: 010\n"
                                    "      /i: ${PORT}\n"
                                    "      /j: '${PORT}'\n"
                                    "      /k:\n"
                                    "      \"\": 1.\n");
    static const char *const want[] = {
        "\"pong\"", "-2.5e3", "\"7\"",    "true", "\"true\"", "null", "[1,{\"x\":\"q\\\"\",\"y\":[]},{}]",
        "\"010\"",  "8080",   "\"8080\"", "null", "\"1.\""
    };
    const struct match_spec *spec = match_of(conf);
    (void)state;
    assert_int_equal(spec->json_count, sizeof want / sizeof want[0]);
    for (size_t i = 0; i < spec->json_count; i++)
        assert_string_equal(spec->json[i].value, want[i]);
    conf_unref(conf);
}

static void test_variables(void **state)
{
    struct conf *conf =
        load(CHECK("send: 'p=${PORT} d=${NOPE:-a b} e=${EMPTY}|${EMPTY:-x} l=$${PORT} $PORT $$', size: '${EMPTY}'"));
    const struct echo_opts *opts = conf->checks[0].opts;
    (void)state;
    assert_string_equal(opts->send, "p=8080 d=a b e=|x l=${PORT} $PORT $$");
    assert_int_equal(opts->size, 1024); /* a variable that is empty: not set */
    conf_unref(conf);
    /* what a variable holds is text, whatever it looks like */
    conf = load(CHECK("send: '${TRICK}'"));
    opts = conf->checks[0].opts;
    assert_string_equal(opts->send, "a, b: [c]\nd: ${file:/etc/passwd}");
    conf_unref(conf);
}

static void test_empty_documents_want_a_target(void **state)
{
    static const char *const texts[] = { "", "\n\n", "# nothing\n", "---\n...\n", "~\n", "\xef\xbb\xbf" };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        refuse(texts[i], "1:1: target.url: required, but not set\n");
    refuse("target:\n", "1:8: target.url: required, but not set\n");
    refuse("target: { url: }\n", "1:16: target.url: required, but not set\n");
    refuse("[a]", "1:1: a list, want a mapping\n");
    refuse("a", "1:1: a text, want a mapping\n");
}

/* --- what is refused ------------------------------------------------------------------------------------------------------------ */

static void test_all_errors_at_once_in_order(void **state)
{
    (void)state;
    refuse("checks:\n"
           "- type: echo\n"
           "  timout: 3s\n"
           "  interval: 5\n"
           "- { type: pings }\n"
           "- { type: ech0 }\n"
           "- { type: echo, slo: 2s }\n"
           "target:\n"
           "  url: http://x/\n"
           "  headers: { Upgrade: a }\n"
           "listn: off\n"
           "prestop: 1s\n",
           "3:3: checks[0].timout: unknown key (did you mean 'timeout'?)\n"
           "4:13: checks[0].interval: '5' has no unit, want a duration such as 5s\n"
           "5:11: checks[1].type: 'pings', no such check type (did you mean 'ping'?)\n"
           "6:11: checks[2].type: 'ech0', no such check type (did you mean 'echo'?)\n"
           "7:3: checks[3].name: required, as 'echo' is taken by checks[0]\n"
           "7:22: checks[3].slo: 2s, want less than timeout (2s)\n"
           "9:8: target.url: scheme http://, want ws://, wss:// or ws+unix://\n"
           "10:23: target.headers.Upgrade: the handshake sets this header itself\n"
           "11:1: listn: unknown key (did you mean 'listen'?)\n"
           "12:10: prestop: '1s', want true or false\n");
}

static void test_wrong_kinds(void **state)
{
    (void)state;
    refuse(CHECK("timeout: [1]"), "3:26: checks[0].timeout: a list, want a duration such as 250ms or 1m30s\n");
    refuse(CHECK("timeout: { a: 1 }"), "3:26: checks[0].timeout: a mapping, want a duration such as 250ms or 1m30s\n");
    refuse(CHECK("gates: ready"), "3:24: checks[0].gates: 'ready', want a list of words such as [ready]\n");
    refuse(CHECK("gates: [reddy]"), "3:25: checks[0].gates[0]: 'reddy', want ready or live (did you mean 'ready'?)\n");
    refuse(CHECK("gates: [[]]"), "3:25: checks[0].gates[0]: a list, want a word\n");
    refuse(CHECK("enabled: yes"), "3:26: checks[0].enabled: 'yes', want true or false\n");
    refuse(CHECK("interval: 10ms"), "3:27: checks[0].interval: 10ms, want 100ms to 1d\n");
    refuse(CHECK("timeout: 11m"), "3:26: checks[0].timeout: 11m, want 10ms to 10m\n");
    refuse(CHECK("fall: 3 of 5"), "3:23: checks[0].fall: '3 of 5', want a count such as 3, or 3/5 for three of the last five\n");
    refuse(CHECK("path: public"), "3:23: checks[0].path: 'public' needs target.public_url\n");
    refuse(CHECK("each_address: true"), "3:31: checks[0].each_address: not for echo, whose round is not one connection: want "
                                        "handshake, ping, echo, script, tls, http or tcp\n");
    refuse("target: { url: 'ws+unix:///s:/' }\nchecks: [{ type: handshake, each_address: true }]\n",
           "2:43: checks[0].each_address: target.url is a unix socket, and has no addresses\n");
    conf_unref(load(TARGET "checks: [{ type: handshake, each_address: true }]\n"));
    refuse(CHECK("name: a b"), "3:23: checks[0].name: 'a b', want 1 to 64 letters, digits, _ . or -\n");
    refuse(TARGET "checks: []\n", "2:9: checks: an empty list, want at least one check; leave the key out for the default\n");
    refuse(TARGET "checks: { a: b }\n", "2:9: checks: a mapping, want a list of checks such as [{ type: ping }]\n");
    refuse(TARGET "checks: [ping, { name: x }, { type: [] }]\n", "2:10: checks[0]: a text, want a mapping such as { type: ping }\n"
                                                                 "2:16: checks[1].type: required, but not set\n"
                                                                 "2:37: checks[2].type: a list, want the name of a check type\n");
    refuse(TARGET "checks: [{ type: ping, name: a }, { type: echo, name: a }]\n",
           "2:55: checks[1].name: 'a' is taken by checks[0]\n");
    refuse(TARGET "checks: [{ type: cert }]\n", "2:18: checks[0].type: 'cert' needs target.url to begin with wss://\n");
    refuse(TARGET "log: { level: warning }\n", "2:15: log.level: 'warning', want debug, info, warn or error\n");
    refuse(TARGET "log: debug\n", "2:6: log: a text, want a mapping\n");
    refuse(TARGET "defaults: { timeout: 1, gates: [] }\n", "2:22: defaults.timeout: '1' has no unit, want a duration such as 5s\n"
                                                           "2:25: defaults.gates: unknown key\n");
    refuse(TARGET "readiness: { degraded_weight: 0% }\n", "2:31: readiness.degraded_weight: 0%, want 1% to 100%\n");
    refuse(TARGET "agent_check: 9718x\n", "2:14: agent_check: address: '9718x' is not an IP address, want one like 127.0.0.1:9717, "
                                          "[::1]:9717 or unix:/run/wshealthd/http.sock\n");
    refuse(TARGET "listen: 127.0.0.1:9717\nagent_check: 127.0.0.1:9717\n", "3:14: agent_check: the same address as listen\n");
    refuse(TARGET "brokers: [{ name: bus }]\n", "2:10: brokers: not in this build\n");
    refuse(TARGET "agent_check: 127.0.0.1:1\ngrpc: 127.0.0.1:1\n", "3:7: grpc: the same address as agent_check\n");
    refuse(TARGET "admin: 127.0.0.1:1\n", "2:8: admin: want unix:/path, auto or off\n");
    static const char *const no_links[] = { "status.example.org",
                                            "ftp://status.example.org/",
                                            "https://",
                                            "https:///x",
                                            "https://me:word@x/",
                                            "'https://x/ y'",
                                            "'https://x/\"'",
                                            "'https://x/<'",
                                            "'https://x/\xc3\xa9'" };
    for (size_t i = 0; i < sizeof no_links / sizeof no_links[0]; i++) {
        char text[128];

        snprintf(text, sizeof text, TARGET "page: { url: %s }\n", no_links[i]);
        refuse(text, "2:14: page.url: want http://HOST/ or https://HOST/, percent-encoded and without a password\n");
    }
}

static void test_rules_of_types(void **state)
{
    (void)state;
    refuse(TARGET "checks: [{ type: need }]\n", "2:10: checks[0].what: required, but not set\n");
    refuse(TARGET "checks: [{ type: need, what: x, low: 3 }]\n", "2:38: checks[0].low: more than high\n");
    refuse(TARGET "checks: [{ type: need, what: x, high: 0 }]\n", "2:10: checks[0].low: more than high\n");
    /* a value that is wrong by itself is not judged again */
    refuse(TARGET "checks: [{ type: need, what: x, low: 3, high: y }]\n", "2:47: checks[0].high: 'y', want a whole number\n");
    refuse(TARGET "checks: [{ type: need, what: '${NOPE}' }]\n",
           "2:30: checks[0].what: variable NOPE is not set and has no default\n");
}

static void test_target_rules(void **state)
{
    (void)state;
    refuse("target: { url: 'ws://h/', token_in: message }\n",
           "1:37: target.token_in: 'message' needs {{token}} in the dialect's "
           "connect.send, and raw has none there, or in a check's text with holes, such as a step of a script\n");
    refuse("target: { url: 'ws://h/', token_in: cookie }\n",
           "1:37: target.token_in: 'cookie' has no name, want header, query:NAME, cookie:NAME, subprotocol or message\n");
    refuse(
        "target: { url: 'ws://h/', token_in: 'query:a b' }\n",
        "1:37: target.token_in: 'query:a b', the name is not one: want header, query:NAME, cookie:NAME, subprotocol or message\n");
    refuse("target: { url: 'ws://h/', token_in: head }\n",
           "1:37: target.token_in: 'head', want header, query:NAME, cookie:NAME, subprotocol or message\n");
    refuse("target: { url: 'ws://h/', dialect: stomp }\n", "1:36: target.dialect: 'stomp', want one of raw\n");
    refuse("target: { url: 'ws://h/', dialect: rwa }\n", "1:36: target.dialect: 'rwa', no such dialect (did you mean 'raw'?)\n");
    refuse("target: { url: 'ws://h/', subprotocols: [a b, c] }\n",
           "1:42: target.subprotocols[0]: 'a b' is not a token (RFC 6455, 4.1: letters, digits and !#$%&'*+-.^_`|~)\n");
    refuse("target: { url: 'ws://h/', subprotocols: [c, c] }\n", "1:45: target.subprotocols[1]: 'c' is there twice\n");
    refuse("target: { url: 'ws://h/', tls: { cert_file: a } }\n", "1:45: target.tls.cert_file: needs key_file\n");
    refuse("target: { url: 'ws://h/', tls: { key_file: a } }\n", "1:44: target.tls.key_file: needs cert_file\n");
    refuse("target: { url: 'ws://h/', token: a, headers: { authorization: b } }\n",
           "1:63: target.headers.authorization: is also set by target.token\n");
    refuse("target: { url: 'ws://h/', origin: 'http://a', headers: { Origin: b, 'a b': c, X-A: [], x-b: 1, X-B: 2 } }\n",
           "1:66: target.headers.Origin: is also set by target.origin\n"
           "1:76: target.headers.a b: not a header name\n"
           "1:84: target.headers.X-A: a list, want a text\n"
           "1:96: target.headers.X-B: is there twice\n");
    refuse("target: { url: 'ws://h/', headers: { Host: 'a b', Sec-WebSocket-Key: x } }\n",
           "1:44: target.headers.Host: want a host or host:port\n"
           "1:70: target.headers.Sec-WebSocket-Key: the handshake sets this header itself\n");
    refuse("target: { url: 'ws://u:hunter2hunter2@h/', token: abcdefgh }\n",
           "1:51: target.token: goes into the same header as the user in target.url (see target.token_in)\n");
    refuse("target: { url: 'ws://h/', public_url: 'ws://u@h/', headers: { Authorization: x } }\n",
           "1:78: target.headers.Authorization: is also set by the user in target.public_url\n");
    refuse("target: { url: 'ws://h/', headers: { A: \"a\\r\\nB: c\", C: '${LINES}', D: '${MARK}' } }\n",
           "1:41: target.headers.A: holds a line break or another control character\n"
           "1:57: target.headers.C: holds a line break or another control character\n"
           "1:72: target.headers.D: holds a line break or another control character\n");
    refuse("target: { url: 'ws://h/', origin: \"a\\nb\" }\n",
           "1:35: target.origin: holds a line break or another control character\n");
}

/* The options hold for whatever speaks TLS: the target, the way of the users, a check's own URL. Without any of them they are in vain. */
static void test_tls_in_vain(void **state)
{
    (void)state;
    refuse("target: { url: 'ws://h/', tls: { ca_file: /ca } }\n",
           "1:43: target.tls.ca_file: the URL is ws://, without TLS (wss:// has it)\n");
    refuse("target: { url: 'ws+unix:///s:/', tls: { verify: false, cert_file: /c, key_file: /k } }\n",
           "1:67: target.tls.cert_file: the URL is ws+unix://, without TLS (wss:// has it)\n");
    refuse("target: { url: 'ws://h/', public_url: 'ws://h/', tls: { server_name: x } }\n",
           "1:70: target.tls.server_name: the URL is ws://, without TLS (wss:// has it)\n");
    conf_unref(load("target: { url: 'wss://h/', tls: { ca_file: /ca } }\n"));
    conf_unref(load("target: { url: 'ws://h/', public_url: 'wss://h/', tls: { ca_file: /ca, min_version: 1.3 } }\n"));
    conf_unref(load("target: { url: 'ws://h/', tls: { ca_file: , verify: true, min_version: 1.2 } }\n"));
    conf_unref(load("target: { url: 'ws://h/', tls: { ca_file: '', server_name: '' } }\n")); /* of variables that are not set */
    conf_unref(load("target: { url: 'ws://h/', tls: { verify: false } }\n"));
    conf_unref(load("target: { url: 'ws://h/', tls: { ca_file: /ca } }\nchecks: [{ type: secure }]\n"));
}

static void test_matches(void **state)
{
    (void)state;
    refuse(CHECK("expect: pong"), "3:25: checks[0].expect: 'pong', want a mapping such as { equals: text }, { contains: text }, "
                                  "{ regex: pattern } or { json: { /key: value } }\n");
    refuse(CHECK("expect: {}"), "3:25: checks[0].expect: a mapping, want a mapping such as { equals: text }, { contains: text }, "
                                "{ regex: pattern } or { json: { /key: value } }\n");
    refuse(CHECK("expect: { equal: a, json: [], contains: [] }"),
           "3:27: checks[0].expect.equal: unknown key (did you mean 'equals'?)\n"
           "3:43: checks[0].expect.json: a list, want a mapping such as { /key: value }\n"
           "3:57: checks[0].expect.contains: a list, want a text\n");
    refuse(CHECK("expect: { json: { op: pong } }"), "3:35: checks[0].expect.json.op: want a JSON pointer such as /op\n");
    struct conf *conf = load_slice(slice_str(CHECK("expect: { contains: a, regex: '(' }")));
    assert_null(conf);
    assert_memory_equal(buf_str(&errors.text), "w.yaml:3:47: checks[0].expect: regex: ", 38);
}

static void test_variables_that_fail(void **state)
{
    (void)state;
    refuse(CHECK("send: '${NOPE}'"), "3:23: checks[0].send: variable NOPE is not set and has no default\n");
    refuse(CHECK("send: '${file:/nonexistent/x}'"), "3:23: checks[0].send: file /nonexistent/x: No such file or directory\n");
    refuse(CHECK("send: '${file:/dev/zero}'"),
           "3:23: checks[0].send: file /dev/zero: is a character device, want a regular file\n");
    refuse(CHECK("send: '${file:}'"), "3:23: checks[0].send: ${file:} names no file\n");
    refuse(
        CHECK("send: '${a b}'"),
        "3:23: checks[0].send: '${a b}' names no variable, want ${NAME}, ${NAME:-default} or ${file:/path} ($${ for a plain ${)\n");
    refuse(CHECK("send: '${PORT'"), "3:23: checks[0].send: '${' without '}' ($${ for a plain ${)\n");
    refuse(CHECK("send: '${A:-${PORT}}'"), "3:23: checks[0].send: a variable inside a variable is not supported\n");
    refuse(CHECK("send: '${file:${NOPE}/x}'"), "3:23: checks[0].send: variable NOPE is not set and has no default\n");
    refuse(CHECK("send: '${file:${PORT/x}'"), "3:23: checks[0].send: '${' without '}' ($${ for a plain ${)\n");
    refuse(CHECK("send: '${file:${file:/x}}'"), "3:23: checks[0].send: '${file:/x}' names no variable, want ${NAME}, "
                                                "${NAME:-default} or ${file:/path} ($${ for a plain ${)\n");
    refuse(CHECK("send: '${file:/nonexistent/${PORT}}'"),
           "3:23: checks[0].send: file /nonexistent/8080: No such file or directory\n");
    refuse(CHECK("send: '${BYTES}'"), "3:23: checks[0].send: variable BYTES is not UTF-8 text\n");
    refuse("target: { url: 'ws://h/', token: '${file:/nonexistent/x}' }\n",
           "1:34: target.token: /nonexistent/x: No such file or directory\n");
}

static void test_errors_do_not_quote_what_is_secret(void **state)
{
    (void)state;
    refuse(CHECK("timeout: '${PASSWORD}'"), "3:26: checks[0].timeout: '${PASSWORD}', want a duration such as 250ms or 1m30s\n");
    refuse("target: { url: 'ws://h/', token: [hunter2] }\n", "1:34: target.token: a list, want a text\n");
    refuse("target: { url: 'wx://u:hunter2hunter2@h/?token=abcdefgh' }\n",
           "1:16: target.url: scheme wx://, want ws://, wss:// or ws+unix://\n");
}

static void test_yaml_that_is_none(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        { "a: 'b", "1:6: a quote that was opened is not closed (what it belongs to begins at 1:4)\n" },
        { "a:\n\tb: c\n", "2:1: a tab, want blanks for indentation\n" },
        { "a: [1, 2\nb: 3\n", NULL },
        { "a: &x b\nc: *x\n", "2:4: aliases are not supported, want the value itself\n" },
        { "&a [*a]", "1:5: aliases are not supported, want the value itself\n" },
        { "<<: { a: b }\n", NULL },
        { "a: !!int 5\n", "1:4: tags are not supported\n" },
        { "a: !x {}\n", "1:4: tags are not supported\n" },
        { "a: b\n---\nc: d\n", "2:1: a second document, want one in a file\n" },
        { "? [a]\n: b\n", "1:3: a key must be a plain word\n" },
        { "a: \"\\0\"\n", "1:4: holds a NUL byte: write {{0x00}} where a text has holes, or { base64: ... }\n" },
        { "a: b\n\xc3\x28", "2:2: not UTF-8 text\n" },
        { "\xc3\xa4: \x02", NULL },
        { "a: b\n  c: d\n",
          "2:4: a key and its value in the wrong place: a line that is indented further than the one above it, or a "
          "second ': ' on a line, which needs quotes around the value\n" },
        { "a:\n    b: c\n  d: e\n",
          "3:3: this line's indentation fits no key above it: keys that belong together begin in the same column "
          "(what it belongs to begins at 1:1)\n" },
        { "a:\n  - b\n c: d\n", NULL },
        { "a:\n  - b\n  c\n", NULL },
        { "a: - b\n", "1:4: a list cannot begin here: put its first '- ' on a line of its own, below its key\n" },
        { "a: @b\n", "1:4: a value cannot begin with this character: put quotes around it\n" },
        { "a: \"\\d\"\n", NULL },
        { "a: { b: ${C}, d: e }\n", "1:10: want , or } here (what it belongs to begins at 1:4); inside { } and [ ], "
                                    "${…} needs quotes around it\n" },
        { "%YAML 9.9\n---\na: b\n", NULL },
        { "[[[[[[[[[[[[[[[[[[[[[[", "1:17: nested too deep\n" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].want)
            refuse(cases[i].text, cases[i].want);
        struct conf *conf = load_slice(slice_str(cases[i].text));
        assert_null(conf);
        assert_true(errors.count > 0);
    }
    refuse_slice(slice_make("a: b\nc\0d", 8), "2:2: holds a NUL byte, want UTF-8 text\n");
}

static void test_duplicate_keys(void **state)
{
    (void)state;
    refuse("target: { url: 'ws://h/' }\nlog: { level: info, level: debug }\ntarget: { }\n",
           "2:21: log.level: duplicate key, the first is at 2:8\n"
           "3:1: target: duplicate key, the first is at 1:1\n");
    refuse(CHECK("expect: { json: { /a: 1, /a: 2 } }"), "3:42: checks[0].expect.json./a: duplicate key, the first is at 3:35\n");
    refuse("target: { url: 'ws://h/', headers: { A: 1, A: 2 } }\n",
           "1:44: target.headers.A: duplicate key, the first is at 1:38\n");
}

static void test_limits(void **state)
{
    struct buf text = BUF_INIT(4 << 20);
    (void)state;
    buf_append_str(&text, TARGET "checks:\n");
    for (int i = 0; i <= CONF_CHECKS_MAX; i++)
        buf_printf(&text, "- { type: ping, name: p%d }\n", i);
    refuse_slice(buf_slice(&text), "3:1: checks: 257 checks, want at most 256\n");
    buf_reset(&text);
    buf_append_str(&text, TARGET);
    for (int i = 0; i < 500; i++)
        buf_printf(&text, "k%d: x\n", i);
    struct conf *conf = load_slice(buf_slice(&text));
    assert_null(conf);
    assert_int_equal(errors.count, CONF_ERRORS_MAX);
    assert_non_null(strstr(buf_str(&errors.text), "w.yaml: more than 100 errors, the others are left out\n"));
    buf_reset(&text);
    for (int i = 0; i < 2000; i++)
        buf_printf(&text, "k%d: x\n", i);
    refuse_slice(buf_slice(&text), "1025:8: too many keys in one mapping\n");
    buf_reset(&text);
    for (int i = 0; i < 70000; i++)
        buf_append_str(&text, "- x\n");
    refuse_slice(buf_slice(&text), "65536:3: too many values in one file\n");
    buf_reset(&text);
    for (int i = 0; i <= CONF_FILE_MAX; i++)
        buf_append_char(&text, '#');
    refuse_slice(buf_slice(&text), "1:1: larger than 1 MiB\n");
    buf_reset(&text);
    for (int i = 0; i < 20; i++)
        buf_printf(&text, "%%TAG !a%d! b\n", i);
    refuse_slice(buf_slice(&text), "1:1: too many directives (lines that begin with %)\n");
    buf_reset(&text);
    buf_append_str(&text, TARGET);
    for (int i = 0; i < 3000; i++) /* a key that goes on and on */
        buf_append_str(&text, "\xc3\xa4");
    buf_append_str(&text, ": x\n");
    conf = load_slice(buf_slice(&text));
    assert_null(conf);
    assert_true(errors.text.len < 1000);
    buf_fini(&text);
}

/* --- files, URLs, the command line ------------------------------------------------------------------------------------------------ */

static void test_files(void **state)
{
    char path[] = "/tmp/test_conf.XXXXXX", text[256];
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "ws://h:81/\n", 11), 11);
    close(fd);
    snprintf(text, sizeof text, "target: { url: '${file:%s}' }\n", path);
    struct conf *conf = load(text);
    assert_int_equal(conf->target.local.port, 81);
    conf_unref(conf);
    conf_errors_fini(&errors);
    conf = conf_load_file(path, &env, &errors);
    assert_null(conf);
    snprintf(text, sizeof text, "%s:1:1: a text, want a mapping\n", path);
    assert_string_equal(buf_str(&errors.text), text);
    unlink(path);
    conf_errors_fini(&errors);
    assert_null(conf_load_file(path, &env, &errors));
    snprintf(text, sizeof text, "%s: No such file or directory\n", path);
    assert_string_equal(buf_str(&errors.text), text);
    conf_errors_fini(&errors);
    assert_null(conf_load_file("/tmp", &env, &errors));
    assert_string_equal(buf_str(&errors.text), "/tmp: is a directory, want a regular file\n");
}

static void test_bare_url_and_command_line(void **state)
{
    struct err err;
    (void)state;
    struct conf *conf = conf_for_url("ws://h:1/x", &env, &errors);
    assert_non_null(conf);
    assert_int_equal(conf->check_count, 3);
    assert_string_equal(conf->target.local.target, "/x");
    conf_clear_checks(conf);
    assert_non_null(conf_add_check(conf, "echo", &env, &err));
    assert_string_equal(conf_add_check(conf, "echo", &env, &err)->name, "echo-2");
    assert_null(conf_add_check(conf, "eco", &env, &err));
    assert_string_equal(err.text, "'eco', no such check type (did you mean 'echo'?)");
    assert_null(conf_add_check(conf, "xyzzy", &env, &err));
    assert_string_equal(err.text, "'xyzzy', want one of handshake, ping, hold, echo, need, cert, secure");
    assert_int_equal(opt_set(target_rows, &conf->target, "url", "wss://other:2/", &err), 0);
    assert_int_equal(opt_set(target_rows, &conf->target, "headers", "X-A: b", &err), 0);
    assert_int_equal(conf_seal(conf, &env, &errors), 0);
    assert_string_equal(conf->target.local.host, "other");
    assert_int_equal(opt_set(check_rows, &conf->checks[1], "slo", "9s", &err), 0);
    assert_int_equal(conf_seal(conf, &env, &errors), -1);
    assert_string_equal(buf_str(&errors.text), "checks[1].slo: 9s, want less than timeout (2s)\n");
    conf_unref(conf);
    conf_errors_fini(&errors);
    conf_errors_init(&errors);
    assert_null(conf_for_url("http://h/", &env, &errors));
    assert_string_equal(buf_str(&errors.text), "target.url: scheme http://, want ws://, wss:// or ws+unix://\n");
}

static void test_sameness(void **state)
{
    struct conf *a = load(TARGET "checks: [{ type: echo, expect: { contains: x } }, { type: ping }]\n");
    struct conf *b = load(TARGET "listen: off\nchecks: [{ type: ping, fall: 3 }, { type: echo, expect: { contains: x } }]\n");
    struct conf *c = load("target: { url: 'ws://h/', origin: x }\nchecks: [{ type: echo, expect: { contains: y } }]\n");
    (void)state;
    assert_true(conf_same_target(a, b));
    assert_false(conf_same_target(a, c));
    assert_true(conf_same_check(&a->checks[0], &b->checks[1]));
    assert_false(conf_same_check(&a->checks[1], &b->checks[0]));
    assert_false(conf_same_check(&a->checks[0], &b->checks[0]));
    assert_false(conf_same_check(&a->checks[0], &c->checks[0]));
    conf_unref(a);
    conf_unref(b);
    conf_unref(c);
}

/* --- what is written ------------------------------------------------------------------------------------------------------------- */

static const char full[] =
    "listen: '[::]:9717'\n"
    "target:\n"
    "  url: ws://u:hunter2hunter2@h/ws?access_token=abcdefghijkl\n"
    "  headers: { X-Probe: 'a $${b} \"c\" \\d', X-Api-Key: abcdefghijkl, Cookie: 'sid=abcdefghijkl' }\n"
    "  token: mnopqrstuvwx\n"
    "  token_in: query:t\n" /* the user in the URL has the Authorization header */
    "  subprotocols: ['1.0', a]\n"
    "checks:\n"
    "- { type: echo, fall: 3/5, slo: 1s, gates: [], send: \"a\\n\\t\\x7f\\u0085\\u2028\\ufeff\xc3\xa4 $${x} # 'q'\", size: 3KiB,\n"
    "    expect: { equals: ' x ', contains: '', regex: 'a\\.b$', json: { /a: [1, \"\\\"\\u2028$${\"], '': { b: null } } },\n"
    "    url: 'http://u:hunter3hunter3@h/' }\n"
    "- { type: ping, enabled: false }\n";

static void test_show_hides_and_loads_again(void **state)
{
    struct buf first = BUF_INIT(1 << 20), second = BUF_INIT(1 << 20);
    (void)state;
    struct conf *a = load(full);
    conf_show(a, &env, &first);
    assert_null(strstr(buf_str(&first), "hunter"));
    assert_null(strstr(buf_str(&first), "abcdefghijkl"));
    assert_null(strstr(buf_str(&first), "mnopqrstuvwx"));
    assert_non_null(strstr(buf_str(&first), "X-Api-Key: \"***\"\n"));
    struct conf *b = load(buf_str(&first));
    conf_show(b, &env, &second);
    assert_string_equal(buf_str(&first), buf_str(&second));
    /* nothing but what is hidden has changed */
    const struct echo_opts *x = a->checks[0].opts, *y = b->checks[0].opts;
    assert_string_equal(x->send, "a\n\t\x7f\xc2\x85\xe2\x80\xa8\xef\xbb\xbf\xc3\xa4 ${x} # 'q'");
    assert_string_equal(x->send, y->send);
    assert_string_equal(a->target.headers.items[0].value, "a ${b} \"c\" \\d");
    assert_string_equal(a->target.headers.items[0].value, b->target.headers.items[0].value);
    assert_true(opt_equal(echo_rows + 2, x, y));
    assert_true(opt_equal(check_rows, &a->checks[0], &b->checks[0]));
    assert_true(opt_equal(check_rows, &a->checks[1], &b->checks[1]));
    conf_unref(a);
    conf_unref(b);
    buf_fini(&first);
    buf_fini(&second);
}

static void test_show_names_files(void **state)
{
    struct buf out = BUF_INIT(1 << 20);
    char path[] = "/tmp/test_conf.XXXXXX", text[256];
    int fd = mkstemp(path);
    (void)state;
    assert_int_equal(write(fd, "topsecrettoken\n", 15), 15);
    close(fd);
    snprintf(text, sizeof text, "target: { url: 'ws://h/', token: '${file:%s}', headers: { X-Who: 'I am ${file:%s}' } }\n", path,
             path);
    struct conf *a = load(text);
    conf_show(a, &env, &out);
    assert_null(strstr(buf_str(&out), "topsecret"));
    struct conf *b = load(buf_str(&out));
    assert_true(conf_same_target(a, b));
    struct buf header = BUF_INIT(1000);
    assert_int_equal(opt_expand(b->target.headers.items[0].value, &header, NULL), 0);
    assert_string_equal(buf_str(&header), "I am topsecrettoken");
    unlink(path);
    conf_unref(a);
    conf_unref(b);
    buf_fini(&header);
    buf_fini(&out);
}

/* Secrets that systemd hands over (LoadCredential=). */
static void test_a_variable_in_a_file_s_path(void **state)
{
    struct buf token = BUF_INIT(1000);
    (void)state;
    (void)mkdir("/tmp/test_conf.credentials", 0700);
    FILE *file = fopen("/tmp/test_conf.credentials/token8080", "w");
    assert_non_null(file);
    fputs("topsecrettoken\n", file);
    fclose(file);
    struct conf *conf = load("target: { url: 'ws://h/', token: 'a${file:${CREDENTIALS_DIRECTORY}/token${NOPE:-8080}}}b' }\n");
    assert_int_equal(opt_expand(conf->target.token, &token, NULL), 0);
    assert_string_equal(buf_str(&token), "atopsecrettoken}b");
    unlink("/tmp/test_conf.credentials/token8080");
    rmdir("/tmp/test_conf.credentials");
    conf_unref(conf);
    buf_fini(&token);
}

static void test_starter_loads(void **state)
{
    struct buf out = BUF_INIT(1 << 20);
    (void)state;
    conf_write_starter(&env, &out);
    struct conf *conf = load(buf_str(&out));
    struct conf *plain = load("target: { url: 'ws://127.0.0.1:8080/ws' }\n");
    assert_true(conf_same_target(conf, plain));
    assert_int_equal(conf->check_count, plain->check_count);
    for (size_t i = 0; i < conf->check_count; i++)
        assert_true(conf_same_check(&conf->checks[i], &plain->checks[i]));
    conf_unref(conf);
    conf_unref(plain);
    buf_fini(&out);
}

/* Settings are commented out as `#name`, prose as `# Text`: without that `#`, everything must still load. */
static void test_starter_loads_with_everything_uncommented(void **state)
{
    struct buf out = BUF_INIT(1 << 20), bare = BUF_INIT(1 << 20);
    (void)state;
    conf_write_starter(&env, &out);
    for (const char *line = buf_str(&out); *line;) {
        size_t len = strcspn(line, "\n") + 1, blanks = strspn(line, " ");
        const char *hash = line + blanks;
        bool prose = hash[0] == '#' && hash[1] == ' ' && hash[2] != ' ';
        if (*hash == '#' && !prose) {
            buf_append(&bare, line, blanks);
            buf_append(&bare, hash + 1, len - blanks - 1);
        } else {
            buf_append(&bare, line, len);
        }
        line += len;
    }
    struct conf *conf = load_slice(buf_slice(&bare));
    assert_null(conf); /* two types cannot be had for nothing */
    assert_int_equal(errors.count, 2);
    assert_non_null(strstr(buf_str(&errors.text), "what: required, but not set"));
    assert_non_null(strstr(buf_str(&errors.text), "'cert' needs target.url"));
    buf_fini(&out);
    buf_fini(&bare);
}

static void test_schema_is_json(void **state)
{
    struct buf out = BUF_INIT(1 << 20);
    struct match_spec spec = { .json_count = 4 };
    struct err err;
    (void)state;
    conf_write_schema(&env, &out);
    spec.json[0] = (struct match_pointer){ mem_strdup("/$schema"), mem_strdup("\"https://json-schema.org/draft/2020-12/schema\"") };
    spec.json[1] = (struct match_pointer){ mem_strdup("/additionalProperties"), mem_strdup("false") };
    spec.json[2] =
        (struct match_pointer){ mem_strdup("/properties/checks/items/oneOf/3/properties/type/const"), mem_strdup("\"echo\"") };
    spec.json[3] =
        (struct match_pointer){ mem_strdup("/properties/checks/items/oneOf/4/required"), mem_strdup("[\"type\",\"what\"]") };
    struct match *match = match_new(&spec, &err);
    assert_non_null(match);
    if (!match_try(match, buf_slice(&out), &err))
        fail_msg("%s", err.text);
    match_free(match);
    match_spec_fini(&spec);
    buf_fini(&out);
}

static void test_roff_has_every_option(void **state)
{
    static const char *const names[] = { ".B listen",   ".B shared_faults", ".B url", ".B ca_file",
                                         ".B interval", ".B enabled",       ".B what" };
    struct buf out = BUF_INIT(1 << 20);
    (void)state;
    conf_write_roff(&env, &out);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_non_null(strstr(buf_str(&out), names[i]));
    assert_null(strstr(buf_str(&out), ".B brokers"));
    assert_null(strstr(buf_str(&out), "\n'"));
    buf_fini(&out);
}

/* --- what the keys say of themselves -------------------------------------------------------------------------------------------- */

enum { ROWS_MAX = 256 };
static const struct opt *seen[ROWS_MAX];
static size_t seen_count;

static void see_rows(const struct opt *list)
{
    for (; list->name; list++) {
        assert_true(seen_count < ROWS_MAX);
        assert_non_null(list->help);
        seen[seen_count++] = list;
        if (list->rows)
            see_rows(list->rows);
    }
}

/* A text that begins with all that another key says has been put to the wrong key. */
static void test_no_key_says_what_another_is_for(void **state)
{
    (void)state;
    see_rows(conf_rows);
    assert_in_range(seen_count, 30, ROWS_MAX);
    for (size_t i = 0; i < seen_count; i++)
        for (size_t j = 0; j < seen_count; j++)
            if (strcmp(seen[i]->name, seen[j]->name) != 0 && strncmp(seen[i]->help, seen[j]->help, strlen(seen[j]->help)) == 0)
                fail_msg("%s says what %s says: %s", seen[i]->name, seen[j]->name, seen[j]->help);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_key_says_what_another_is_for),
        TEST(test_defaults),
        TEST(test_everything_set),
        TEST(test_token_places),
        TEST(test_json_values),
        TEST(test_variables),
        TEST(test_empty_documents_want_a_target),
        TEST(test_all_errors_at_once_in_order),
        TEST(test_wrong_kinds),
        TEST(test_rules_of_types),
        TEST(test_target_rules),
        TEST(test_tls_in_vain),
        TEST(test_matches),
        TEST(test_variables_that_fail),
        TEST(test_errors_do_not_quote_what_is_secret),
        TEST(test_yaml_that_is_none),
        TEST(test_duplicate_keys),
        TEST(test_limits),
        TEST(test_files),
        TEST(test_bare_url_and_command_line),
        TEST(test_sameness),
        TEST(test_show_hides_and_loads_again),
        TEST(test_show_names_files),
        TEST(test_a_variable_in_a_file_s_path),
        TEST(test_starter_loads),
        TEST(test_starter_loads_with_everything_uncommented),
        TEST(test_schema_is_json),
        TEST(test_roff_has_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
