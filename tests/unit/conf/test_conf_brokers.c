/* Brokers, dialects and the agent's identity in the configuration, with types and dialects of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/conf/broker_type.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/conf/probe_type.h"
#include "agent/proto/heartbeat.h"

/* --- what the layers above would bring ---------------------------------------------------------------------------------------- */

struct hub_opts {
    char *exchange;
    int64_t prefetch;
};
static const struct opt hub_rows[] = {
    { .name = "exchange", .kind = OPT_STRING, .offset = offsetof(struct hub_opts, exchange), .help = "where to" },
    { .name = "prefetch",
      .kind = OPT_INT,
      .offset = offsetof(struct hub_opts, prefetch),
      .default_text = "1",
      .max = 9,
      .help = "many" },
    { 0 },
};

/* A driver sees the URL with its files read. */
static int hub_validate(const struct broker_conf *conf, struct err *err)
{
    const struct hub_opts *opts = conf->opts;
    if (strstr(conf->url, "bad"))
        return err_set(err, REASON_NONE, 0, "url: the host is bad");
    if (strchr(conf->url, OPT_MARK_BEGIN))
        return err_set(err, REASON_NONE, 0, "url: a marker");
    return opts->prefetch > 5 ? err_set(err, REASON_NONE, 0, "prefetch: more than 5") : 0;
}

static int no_command(struct broker *broker, const struct slice *args, size_t count, uint64_t token)
{
    (void)broker, (void)args, (void)count, (void)token;
    return -1;
}
static const char *const hub_commands[] = { "XADD", "LPUSH", NULL };
static const struct broker_type hub = { .name = "hub",
                                        .summary = "A hub",
                                        .schemes = "hub hubs hub+unix",
                                        .plain_schemes = "hub+unix",
                                        .opts = hub_rows,
                                        .opts_size = sizeof(struct hub_opts),
                                        .validate = hub_validate,
                                        .commands = hub_commands,
                                        .command = no_command };
static const struct broker_type ram = {
    .name = "ram", .summary = "RAM", .schemes = "ram", .plain_schemes = "ram", .default_url = "ram://here"
};
static const struct broker_type *const broker_types[] = { &hub, &ram, NULL };

struct broker_opts {
    char *broker;
};
static const struct opt own_rows[] = {
    { .name = "broker", .kind = OPT_STRING, .offset = offsetof(struct broker_opts, broker), .help = "the broker" },
    { 0 },
};
struct delivery_opts {
    char *broker, *channel;
    struct dialect over;
};
static const struct opt delivery_rows[] = {
    { .name = "broker", .kind = OPT_STRING, .offset = offsetof(struct delivery_opts, broker), .help = "the broker" },
    { .name = "channel", .kind = OPT_STRING, .offset = offsetof(struct delivery_opts, channel), .help = "the channel" },
    DIALECT_PARTS(offsetof(struct delivery_opts, over)),
    { 0 },
};
static const struct probe_type ping = { .name = "ping", .summary = "A ping", .by_default = true, .gates = GATE_READY };
static const struct probe_type own = {
    .name = "broker", .summary = "A broker", .kind = PROBE_BROKER, .opts = own_rows, .opts_size = sizeof(struct broker_opts)
};
static const struct probe_type delivery = { .name = "delivery",
                                            .summary = "A delivery",
                                            .gates = GATE_READY,
                                            .opts = delivery_rows,
                                            .opts_size = sizeof(struct delivery_opts) };
static const struct opt subscribe_rows[] = { DIALECT_PARTS(0), { 0 } };
static const struct probe_type subscribe = { .name = "subscribe",
                                             .summary = "A subscription",
                                             .needs_subscribe = true,
                                             .opts = subscribe_rows,
                                             .opts_size = sizeof(struct dialect) };
static const struct probe_type *const types[] = { &ping, &own, &delivery, &subscribe, NULL };

static char connect_text[] = "CONNECT {{token}}", talk_offer[] = "talk.v1";
static char *talk_offers[] = { talk_offer };
static const struct dialect raw = { .name = (char[]){ "raw" } };
static const struct dialect talk = { .name = (char[]){ "talk" },
                                     .summary = (char[]){ "A talk" },
                                     .subprotocols = { talk_offers, 1 },
                                     .path = (char[]){ "/talk?v=1" },
                                     .connect = { .send = { connect_text, sizeof connect_text - 1, false } } };
static const struct dialect *const dialects[] = { &raw, &talk, NULL };

static const char *fake_getenv(const char *name)
{
    return strcmp(name, "PASSWORD") == 0 ? "hunter2hunter2" : NULL;
}

static const struct conf_env env = { .probes = types, .brokers = broker_types, .dialects = dialects, .getenv = fake_getenv };
#include "tests/unit/conf/load.h" /* needs env */

static void refuse(const char *text, const char *want)
{
    struct conf *conf = load_slice(slice_str(text));
    conf_unref(conf);
    assert_null(conf);
    assert_string_equal(buf_str(&errors.text), want);
}

#define TARGET "target: { url: 'ws://h/' }\n"

static const char *broker_of(const struct check_conf *check)
{
    return *(char **)check->opts; /* the first option of both types */
}

/* --- brokers ------------------------------------------------------------------------------------------------------------------- */

static void test_brokers(void **state)
{
    struct conf *conf = load(TARGET "brokers:\n"
                                    "- { name: bus, type: hub, url: 'hub://u:${PASSWORD}@h:1/v', exchange: x, timeout: 5s,\n"
                                    "    tls: { ca_file: /ca, verify: false }, retry: { min: 1s, max: 2s } }\n"
                                    "- { url: 'HUBS://h' }\n"
                                    "- { type: ram }\n"
                                    "defaults: { interval: 7s, timeout: 3s }\n");
    (void)state;
    assert_int_equal(conf->broker_count, 3);
    const struct broker_conf *bus = &conf->brokers[0];
    assert_ptr_equal(bus->type, &hub);
    assert_string_equal(bus->name, "bus");
    assert_string_equal(bus->url, "hub://u:hunter2hunter2@h:1/v");
    assert_string_equal(((struct hub_opts *)bus->opts)->exchange, "x");
    assert_int_equal(((struct hub_opts *)bus->opts)->prefetch, 1);
    assert_string_equal(bus->tls.ca_file, "/ca");
    assert_false(bus->tls.verify);
    assert_int_equal(bus->timeout_ms, 5000);
    assert_int_equal(bus->retry_min_ms, 1000);
    assert_int_equal(bus->retry_max_ms, 2000);
    /* the scheme tells the type, the type the name and the URL */
    assert_ptr_equal(conf->brokers[1].type, &hub);
    assert_string_equal(conf->brokers[1].name, "hub");
    assert_true(conf->brokers[1].tls.verify);
    assert_int_equal(conf->brokers[1].timeout_ms, 2000);
    assert_int_equal(conf->brokers[1].retry_min_ms, 100);
    assert_int_equal(conf->brokers[1].retry_max_ms, 10000);
    assert_string_equal(conf->brokers[2].url, "ram://here");
    assert_ptr_equal(conf_find_broker(conf, "ram"), &conf->brokers[2]);
    assert_null(conf_find_broker(conf, "rum"));
    /* each has a check of its own, behind the others */
    assert_int_equal(conf->check_count, 4);
    for (size_t i = 0; i < 3; i++) {
        const struct check_conf *check = &conf->checks[1 + i];
        assert_ptr_equal(check->type, &own);
        assert_string_equal(check->name, conf->brokers[i].name);
        assert_string_equal(broker_of(check), conf->brokers[i].name);
        assert_int_equal(check->gates, 0);
        assert_true(check->enabled);
        assert_int_equal(check->interval_ms, 7000);
        assert_int_equal(check->timeout_ms, 3000);
    }
    conf_unref(conf);
}

static void test_no_brokers(void **state)
{
    static const char *const texts[] = { TARGET "brokers:\ndialects:\n", TARGET "brokers: []\ndialects: {}\n" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct conf *conf = load(texts[i]);
        assert_int_equal(conf->broker_count + conf->dialect_count, 0);
        assert_int_equal(conf->check_count, 1);
        conf_unref(conf);
    }
}

static void test_checks_of_brokers(void **state)
{
    (void)state;
    /* one broker needs no name */
    struct conf *conf = load(TARGET "brokers: [{ type: ram, name: bus }]\nchecks: [{ type: delivery, channel: c }]\n");
    assert_int_equal(conf->check_count, 2);
    assert_string_equal(broker_of(&conf->checks[0]), "bus");
    assert_string_equal(conf->checks[1].name, "bus");
    conf_unref(conf);
    /* a check of type broker that the file has is the broker's own */
    conf = load(TARGET "brokers: [{ type: ram, name: bus }]\nchecks: [{ type: broker, gates: [ready], enabled: false }]\n");
    assert_int_equal(conf->check_count, 1);
    assert_string_equal(conf->checks[0].name, "bus");
    assert_string_equal(broker_of(&conf->checks[0]), "bus");
    assert_int_equal(conf->checks[0].gates, GATE_READY);
    conf_unref(conf);
    conf = load(TARGET "brokers: [{ type: ram, name: a }, { type: ram, name: b }]\n"
                       "checks: [{ type: broker, broker: b, name: other }]\n");
    assert_int_equal(conf->check_count, 2);
    assert_string_equal(conf->checks[1].name, "a");
    /* as the command line does */
    struct err err;
    struct check_conf *check = conf_add_check(conf, "delivery", &env, &err);
    assert_int_equal(opt_set(check->type->opts, check->opts, "broker", "c", &err), 0);
    assert_int_equal(conf_seal(conf, &env, &errors), -1);
    assert_string_equal(buf_str(&errors.text), "checks[2].broker: 'c', want one of a, b\n");
    conf_unref(conf);
    refuse(TARGET "checks: [{ type: delivery }, { type: broker, broker: bus }]\n",
           "w.yaml:2:10: checks[0].broker: 'delivery' needs a broker, and `brokers` has none\n"
           "w.yaml:2:54: checks[1].broker: 'broker' needs a broker, and `brokers` has none\n");
    refuse(TARGET "brokers: [{ type: ram, name: queue }, { type: ram, name: b }]\n"
                  "checks: [{ type: delivery }, { type: delivery, name: d, broker: queu }]\n",
           "w.yaml:3:10: checks[0].broker: required, as there are 2 brokers\n"
           "w.yaml:3:65: checks[1].broker: 'queu', no such broker (did you mean 'queue'?)\n");
    refuse(TARGET "brokers: [{ type: ram, name: bus }, { type: ram, name: ping }]\n"
                  "checks: [{ type: ping }, { type: delivery, name: bus, broker: bus }]\n",
           "w.yaml:2:30: brokers[0].name: 'bus' is the name of checks[1], but the broker gets a check of that name by itself\n"
           "w.yaml:2:56: brokers[1].name: 'ping' is the name of checks[0], but the broker gets a check of that name by itself\n");
}

static void test_brokers_that_are_wrong(void **state)
{
    (void)state;
    refuse(TARGET "brokers: [{ type: huub }, { type: rabbit }, {}, bus, { type: [] }, { type: kafka }]\n",
           "w.yaml:2:19: brokers[0].type: 'huub', no such broker type (did you mean 'hub'?)\n"
           "w.yaml:2:35: brokers[1].type: 'rabbit', want one of hub, ram\n"
           "w.yaml:2:45: brokers[2].type: required, but not set\n"
           "w.yaml:2:49: brokers[3]: a text, want a mapping such as { url: redis://127.0.0.1:6379/0 }\n"
           "w.yaml:2:62: brokers[4].type: a list, want the name of a broker type\n"
           "w.yaml:2:76: brokers[5].type: 'kafka' is not in this build\n");
    refuse(TARGET "brokers: [{ url: 'hib://h' }, { url: 'gopher://h' }, { url: h }, { url: 'kafka://h' }]\n",
           "w.yaml:2:18: brokers[0].url: no type of broker has the scheme hib:// (did you mean 'hub://'?)\n"
           "w.yaml:2:38: brokers[1].url: no type of broker has the scheme gopher://, want the URL of hub, ram\n"
           "w.yaml:2:61: brokers[2].url: no scheme, want a URL such as redis://127.0.0.1:6379/0\n"
           "w.yaml:2:73: brokers[3].url: 'kafka' is not in this build\n");
    refuse(TARGET "brokers:\n- { type: hub, name: a }\n- { type: hub, name: b, url: 'ram://h' }\n- { type: ram, url: 'x://h' }\n"
                  "- { type: hub, name: c, url: nothing }\n",
           "w.yaml:3:3: brokers[0].url: required, but not set: want hub://, hubs:// or hub+unix://\n"
           "w.yaml:4:30: brokers[1].url: scheme ram://, want hub://, hubs:// or hub+unix://; it is one of type ram\n"
           "w.yaml:5:21: brokers[2].url: scheme x://, want ram://\n"
           "w.yaml:6:30: brokers[3].url: no scheme, want hub://, hubs:// or hub+unix://\n");
    refuse(TARGET "brokers:\n- { type: ram, name: a b }\n- { type: ram, name: c }\n- { type: ram, name: c }\n"
                  "- { type: ram, timout: 1s, exchange: x }\n",
           "w.yaml:3:22: brokers[0].name: 'a b', want 1 to 64 letters, digits, _ . or -\n"
           "w.yaml:5:22: brokers[2].name: 'c' is taken by brokers[1]\n"
           "w.yaml:6:16: brokers[3].timout: unknown key (did you mean 'timeout'?)\n"
           "w.yaml:6:28: brokers[3].exchange: unknown key\n");
    refuse(TARGET "brokers:\n- { url: 'hub://bad', name: a }\n- { url: 'hub://h', prefetch: 7, tls: { key_file: k }, name: b }\n"
                  "- { url: 'hub://h', prefetch: 7, retry: { min: 9s, max: 1s }, name: c }\n- { url: 'hub://h', prefetch: 7 }\n",
           "w.yaml:3:10: brokers[0].url: the host is bad\n"
           "w.yaml:4:51: brokers[1].tls.key_file: needs cert_file\n"
           "w.yaml:5:48: brokers[2].retry.min: more than retry.max\n"
           "w.yaml:6:31: brokers[3].prefetch: more than 5\n");
    refuse(TARGET "brokers: { a: b }\n", "w.yaml:2:10: brokers: a mapping, want a list of brokers such as [{ url: "
                                         "redis://127.0.0.1:6379/0 }]\n");
    /* a password is in no error */
    refuse(TARGET "brokers: [{ type: ram, url: 'hub://u:hunter2hunter2@h' }, { type: ram, name: hunter2hunter2, x: 1 }]\n",
           "w.yaml:2:29: brokers[0].url: scheme hub://, want ram://; it is one of type hub\n"
           "w.yaml:2:94: brokers[1].x: unknown key\n");
}

/* Without TLS nothing would come of them. What is only the default, written out, is nothing that could be missed. */
static void test_tls_in_vain(void **state)
{
    (void)state;
    refuse(TARGET "brokers:\n- { name: a, url: 'HUB+unix:///s', tls: { ca_file: /ca, verify: false } }\n"
                  "- { name: b, url: 'hub+unix:///s', tls: { cert_file: /c, key_file: /k } }\n"
                  "- { name: c, url: 'ram://', tls: { server_name: x } }\n- { name: d, type: ram, tls: { min_version: 1.3 } }\n",
           "w.yaml:3:65: brokers[0].tls.verify: the URL is HUB+unix://, without TLS (hub:// has it)\n"
           "w.yaml:4:54: brokers[1].tls.cert_file: the URL is hub+unix://, without TLS (hub:// has it)\n"
           "w.yaml:5:49: brokers[2].tls.server_name: the URL is ram://, without TLS\n"
           "w.yaml:6:45: brokers[3].tls.min_version: the URL is ram://, without TLS\n");
    conf_unref(load(TARGET
                    "brokers:\n- { name: a, type: ram, tls: { ca_file: , server_name: '', verify: true, min_version: 1.2 } }\n"
                    "- { name: b, url: 'hubs://h', tls: { ca_file: /ca, verify: false } }\n"));
}

static void test_too_many(void **state)
{
    struct buf text = BUF_INIT(1 << 20);
    (void)state;
    buf_append_str(&text, TARGET "brokers:\n");
    for (int i = 0; i <= CONF_BROKERS_MAX; i++)
        buf_printf(&text, "- { type: ram, name: b%d }\n", i);
    refuse(buf_str(&text), "w.yaml:3:1: brokers: 33 brokers, want at most 32\n");
    buf_reset(&text);
    buf_append_str(&text, TARGET "brokers: [{ type: ram }]\nchecks:\n");
    for (int i = 0; i < CONF_CHECKS_MAX; i++)
        buf_printf(&text, "- { type: ping, name: p%d }\n", i);
    refuse(buf_str(&text), "w.yaml:2:11: brokers[0].name: more than 256 checks, with one for each broker\n");
    buf_fini(&text);
}

static void test_urls_from_files(void **state)
{
    char path[] = "/tmp/test_conf_brokers.XXXXXX", text[512], want[512];
    int fd = mkstemp(path);
    struct buf out = BUF_INIT(1 << 20), url = BUF_INIT(1000);
    (void)state;
    assert_int_equal(write(fd, "topsecret\n", 10), 10);
    close(fd);
    snprintf(text, sizeof text,
             TARGET "brokers: [{ name: a, url: 'hub://u:${file:%s}@h' }, { name: b, url: 'hub://${file:%s}:letmein2@h' },\n"
                    "  { name: c, url: 'hub://u:letmein2@h/x' }, { name: d, url: 'hub://:ab${file:%s}@h' }]\n",
             path, path, path);
    struct conf *conf = load(text);
    conf_show(conf, &env, &out);
    assert_null(strstr(buf_str(&out), "topsecret"));
    assert_null(strstr(buf_str(&out), "letmein2"));
    snprintf(want, sizeof want, "    url: \"hub://u:${file:%s}@h\"\n", path);
    assert_non_null(strstr(buf_str(&out), want));
    assert_non_null(strstr(buf_str(&out), "    name: b\n    url: \"***\"\n"));
    assert_non_null(strstr(buf_str(&out), "    url: \"hub://***@h/x\"\n"));
    assert_non_null(strstr(buf_str(&out), "    name: d\n    url: \"***\"\n"));
    assert_int_equal(opt_expand(conf->brokers[0].url, &url, NULL), 0);
    assert_string_equal(buf_str(&url), "hub://u:topsecret@h");
    conf_unref(conf);
    unlink(path);
    conf = load_slice(slice_str(text));
    assert_null(conf);
    assert_non_null(strstr(buf_str(&errors.text), "No such file or directory"));
    buf_fini(&url);
    buf_fini(&out);
}

static void test_sameness(void **state)
{
    struct conf *a = load(TARGET "brokers: [{ type: hub, url: 'hub://h', exchange: x }, { type: ram }]\n");
    struct conf *b = load(TARGET "brokers: [{ type: ram }, { type: hub, url: 'hub://h', exchange: x },\n"
                                 "  { type: hub, name: y, url: 'hub://h', exchange: y }]\n");
    (void)state;
    assert_true(conf_same_broker(&a->brokers[0], &b->brokers[1]));
    assert_true(conf_same_broker(&a->brokers[1], &b->brokers[0]));
    assert_false(conf_same_broker(&a->brokers[0], &b->brokers[0]));
    assert_false(conf_same_broker(&a->brokers[0], &b->brokers[2]));
    conf_unref(a);
    conf_unref(b);
}

/* --- dialects ------------------------------------------------------------------------------------------------------------------ */

static const char chat[] =
    "target: { url: 'ws://h?u=1', public_url: 'ws://h/x', dialect: chat, token: abcdefgh, token_in: message }\n"
    "dialects:\n"
    "  chat:\n"
    "    subprotocols: [chat.v1]\n"
    "    path: /ws?v=2\n"
    "    greeting: { expect: { contains: hi } }\n"
    "    connect: { send: '{\"op\":\"hello\",\"token\":\"{{token}}\"}', expect: { json: { /op: welcome } }, reject: { json: { /op: "
    "error } } }\n"
    "    subscribe: { send: { base64: 'AP97e2NoYW5uZWx9fQ==' }, expect: { json: { /op: subscribed, /ch: '{{channel}}' } } }\n"
    "    message: { match: { regex: '^{{channel}} \\d+$' }, prefix: '42', payload: /data/0 }\n"
    "    keepalive: { match: { equals: '2' }, send: '3', beat: '', every: 25s }\n"
    "    goodbye: { send: \"{\\\"op\\\":\\\"bye\\\"}\\n\" }\n"
    "    publish: { topic: 'chat:{{channel}}', body: '{\"ch\":\"{{channel}}\",\"data\":{{payload_json}}}' }\n"
    "  bare:\n"
    "  plain: { json_holes: false }\n";

static void test_dialects(void **state)
{
    struct conf *conf = load(chat);
    const struct dialect *dialect = conf->target.dialect;
    (void)state;
    assert_int_equal(conf->dialect_count, 3);
    assert_ptr_equal(dialect, &conf->dialects[0]);
    assert_string_equal(dialect->name, "chat");
    assert_string_equal(dialect->greeting.expect.contains, "hi");
    assert_string_equal(dialect->connect.send.data, "{\"op\":\"hello\",\"token\":\"{{token}}\"}");
    assert_false(dialect->connect.send.binary);
    assert_string_equal(dialect->connect.reject.json[0].value, "\"error\"");
    assert_true(dialect->subscribe.send.binary);
    assert_int_equal(dialect->subscribe.send.len, 13);
    assert_memory_equal(dialect->subscribe.send.data, "\0\xff{{channel}}", 13);
    assert_string_equal(dialect->message.payload, "/data/0");
    assert_string_equal(dialect->message.prefix, "42");
    assert_string_equal(dialect->keepalive.send.data, "3");
    assert_non_null(dialect->keepalive.ping.data); /* an empty message is one */
    assert_int_equal(dialect->keepalive.ping.len, 0);
    assert_int_equal(dialect->keepalive.every_ms, 25000);
    assert_string_equal(dialect->publish.topic, "chat:{{channel}}");
    assert_true(dialect->json_holes);
    assert_false(conf->dialects[2].json_holes);
    assert_null(conf->dialects[1].subscribe.send.data);
    assert_int_equal(conf->target.token_place, TOKEN_MESSAGE);
    /* the path is for a URL that has none */
    assert_string_equal(conf->target.local.target, "/ws?v=2&u=1");
    assert_string_equal(conf->target.public.target, "/x");
    conf_unref(conf);
}

static void test_what_the_target_gets(void **state)
{
    struct conf *conf = load("target: { url: 'ws://h', dialect: talk, token: abcdefgh, token_in: message }\n");
    struct err err;
    (void)state;
    assert_ptr_equal(conf->target.dialect, &talk);
    assert_string_equal(conf->target.local.target, "/talk?v=1");
    assert_int_equal(conf->target.subprotocols.count, 0);
    /* The command line changes it again. */
    assert_int_equal(opt_set(target_rows, &conf->target, "subprotocols", "mine", &err), 0);
    assert_int_equal(opt_set(target_rows, &conf->target, "url", "ws://h/w", &err), 0);
    assert_int_equal(conf_seal(conf, &env, &errors), 0);
    assert_string_equal(conf->target.local.target, "/w");
    assert_int_equal(opt_set(target_rows, &conf->target, "url", "ws://h/?u=2", &err), 0); /* a slash alone is no path */
    assert_int_equal(conf_seal(conf, &env, &errors), 0);
    assert_string_equal(conf->target.local.target, "/talk?v=1&u=2");
    assert_int_equal(opt_set(target_rows, &conf->target, "dialect", "tlak", &err), 0);
    assert_int_equal(conf_seal(conf, &env, &errors), -1);
    assert_string_equal(buf_str(&errors.text), "target.dialect: 'tlak', no such dialect (did you mean 'talk'?)\n");
    conf_unref(conf);
    conf = load("target: { url: 'ws+unix:///run/s', dialect: talk }\n");
    assert_string_equal(conf->target.local.target, "/talk?v=1");
    conf_unref(conf);
    conf = load(TARGET);
    assert_ptr_equal(conf->target.dialect, &raw);
    assert_int_equal(conf->target.offers->count, 0);
    conf_unref(conf);
}

#define HUB TARGET "brokers: [ { name: bus, url: hub://h } ]\n"

static void test_publish_by_command(void **state)
{
    struct conf *conf =
        load(HUB "dialects: { own: { publish: { command: [XADD, k, '*', a, '1', b, '1'] } } }\n"
                 "checks: [ { type: delivery, channel: c, publish: { command: [lpush, 'k:{{channel}}', '{{payload}}'] } } ]\n");
    const struct dialect *over = &((const struct delivery_opts *)conf->checks[0].opts)->over;
    struct dialect both;
    struct buf out = BUF_INIT(1 << 16);
    (void)state;
    assert_int_equal(conf->dialects[0].publish.command.count, 7); /* a word may be there twice */
    assert_string_equal(over->publish.command.items[1], "k:{{channel}}");
    /* One way to publish takes the other's place. */
    dialect_overlay(&both, &(struct dialect){ .publish = { .topic = (char[]){ "t" }, .body = (char[]){ "b" } } }, over);
    assert_int_equal(both.publish.command.count, 3);
    assert_null(both.publish.topic);
    assert_null(both.publish.body);
    dialect_overlay(&both, &conf->dialects[0], &(struct dialect){ .publish = { .topic = (char[]){ "t" } } });
    assert_int_equal(both.publish.command.count, 0);
    assert_string_equal(both.publish.topic, "t");
    conf_show(conf, &env, &out);
    struct conf *again = load(buf_str(&out));
    assert_true(opt_equal(dialect_rows, &conf->dialects[0], &again->dialects[0]));
    conf_unref(again);
    buf_fini(&out);
    conf_unref(conf);
}

static void test_publish_by_command_that_is_wrong(void **state)
{
    (void)state;
    refuse(HUB "checks:\n- { type: delivery, name: a, publish: { topic: t, command: [XADD, k] } }\n"
               "- { type: delivery, name: b, publish: { command: [XAD, k] } }\n"
               "- { type: delivery, name: c, publish: { command: [EVAL, k] } }\n"
               "- { type: delivery, name: d, publish: { command: [XADD] } }\n"
               "- { type: delivery, name: e, publish: { command: [XADD, '{{nothing_like_it}}'] } }\n",
           "w.yaml:4:60: checks[0].publish.command: is set together with publish.topic, want one of the two\n"
           "w.yaml:5:50: checks[1].publish.command: 'XAD', no such command (did you mean 'XADD'?)\n"
           "w.yaml:6:50: checks[2].publish.command: 'EVAL', want one of XADD, LPUSH\n"
           "w.yaml:7:50: checks[3].publish.command: 1 entries, want at least 2\n"
           "w.yaml:8:57: checks[4].publish.command[1]: unknown hole {{nothing_like_it}} at offset 0, "
           "want {{channel}}, {{payload}}, {{payload_json}}, {{id}}, {{seq}}, {{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n");
    refuse(TARGET "brokers: [ { name: bus, type: ram } ]\nchecks: [ { type: delivery, publish: { command: [XADD, k] } } ]\n",
           "w.yaml:3:49: checks[0].publish.command: publish.command is of brokers of type hub, and bus is of type ram\n");
    refuse("target: { url: 'ws://h/', dialect: own }\nbrokers: [ { name: bus, type: ram } ]\n"
           "dialects: { own: { publish: { command: [XADD, k] } } }\nchecks: [ { type: delivery, broker: bus } ]\n",
           "w.yaml:4:37: checks[0].broker: publish.command of the dialect is of brokers of type hub, and bus is of type ram\n");
    refuse(TARGET "dialects: { own: { publish: { command: [EVAL, k], body: b } } }\n",
           "w.yaml:2:40: dialects.own.publish.command: is set together with publish.body, want one of the two\n");
}

static void test_dialects_that_are_wrong(void **state)
{
    (void)state;
    refuse(TARGET "dialects: [chat]\n", "w.yaml:2:11: dialects: a list, want a mapping such as { NAME: { connect: ... } }\n");
    refuse(TARGET "dialects: { talk: {}, a b: {}, c: [], d: { conect: {} } }\n",
           "w.yaml:2:19: dialects.talk: is the name of a built-in dialect\n"
           "w.yaml:2:23: dialects.a b: 'a b', want 1 to 64 letters, digits, _ . or -\n"
           "w.yaml:2:35: dialects.c: a list, want a mapping\n"
           "w.yaml:2:44: dialects.d.conect: unknown key (did you mean 'connect'?)\n");
    refuse(
        TARGET "dialects:\n  c:\n    connect: { send: 'x {{tokn}}', expect: { regex: '{{id}}(' } }\n"
               "    subscribe: { send: { base64: 'a?' }, expect: { json: { /a: '{{chan}}' } }, reject: [] }\n"
               "    message: { payload: data, match: { contains: '{{#u16}}' }, prefix: '{{' }\n"
               "    publish: { topic: '{{topic}}' }\n    goodbye: { send: { base64: YQ==, text: a } }\n",
        "w.yaml:4:22: dialects.c.connect.send: unknown hole {{tokn}} at offset 2 (did you mean '{{token}}'?)\n"
        "w.yaml:4:53: dialects.c.connect.expect: regex: missing closing parenthesis at offset 2\n"
        "w.yaml:5:34: dialects.c.subscribe.send.base64: not base64 (RFC 4648, 4: with padding, without blanks)\n"
        "w.yaml:5:58: dialects.c.subscribe.expect: json: unknown hole {{chan}} at offset 1, "
        "want {{channel}}, {{token}}, {{id}}, {{seq}}, {{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
        "w.yaml:5:88: dialects.c.subscribe.reject: a list, want a mapping such as { equals: text }, { contains: text }, { regex: "
        "pattern } or { json: { /key: value } }\n"
        "w.yaml:6:25: dialects.c.message.payload: pointer 'data' does not begin with a slash\n"
        "w.yaml:6:50: dialects.c.message.match: contains: {{#u16}} at offset 0 is not closed\n"
        "w.yaml:6:72: dialects.c.message.prefix: '{{' without '}}' at offset 0\n"
        "w.yaml:7:23: dialects.c.publish.topic: unknown hole {{topic}} at offset 0, want {{channel}}\n"
        "w.yaml:8:22: dialects.c.goodbye.send: a mapping, want a text, or { base64: ... } for a binary message\n");
    refuse(TARGET "dialects:\n  a: { path: ws, subprotocols: [a b], keepalive: { send: '3' } }\n  b: { path: '/a b#' }\n"
                  "  c: { keepalive: { match: { equals: a }, beat: b } }\n  d: { keepalive: { every: 1s } }\n",
           "w.yaml:3:14: dialects.a.path: does not begin with a slash\n"
           "w.yaml:3:33: dialects.a.subprotocols[0]: 'a b' is not a token (RFC 6455, 4.1: letters, digits and !#$%&'*+-.^_`|~)\n"
           "w.yaml:3:58: dialects.a.keepalive.send: needs match, the message that it answers\n"
           "w.yaml:4:14: dialects.b.path: holds a blank, a # or a control character\n"
           /* a match without send: what comes is the keep-alive, and wants no answer */
           "w.yaml:5:49: dialects.c.keepalive.beat: needs every\n"
           "w.yaml:6:28: dialects.d.keepalive.every: needs beat\n");
    refuse("target: { url: 'ws://h/', dialect: chat, token_in: message }\ndialects: { chat: }\n",
           "w.yaml:1:52: target.token_in: 'message' needs {{token}} in the dialect's connect.send, and chat has none there, or in "
           "a check's text with holes, such as a step of a script\n");
    refuse("target: { url: 'ws://h/', dialect: caht, token_in: message }\ndialects: { chat: }\n",
           "w.yaml:1:36: target.dialect: 'caht', no such dialect (did you mean 'chat'?)\n");
}

/* A hole that is always empty where it stands is as wrong as one that nobody knows. */
static void test_holes_without_a_value(void **state)
{
    (void)state;
    refuse(
        TARGET "dialects:\n  c:\n    connect: { send: '{{channel}}' }\n    subscribe: { send: '{{hex payload}}' }\n"
               "    publish: { topic: '{{channel}}{{id}}', body: '{{token}}' }\n"
               "    resume: { token: /t, connect: '{{resum}}', subscribe: '{{resume}}{{offset}}', send: '{{channel}}' }\n"
               "  d:\n    resume: { start: /s, expect: { contains: '{{resume}}' }, send: '{{offset}}' }\n",
        "w.yaml:4:22: dialects.c.connect.send: {{channel}} at offset 0 has no value here, want {{token}}, {{id}}, {{seq}}, "
        "{{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
        "w.yaml:5:24: dialects.c.subscribe.send: {{payload}} at offset 0 has no value here, want {{channel}}, {{token}}, {{id}}, "
        "{{seq}}, {{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
        "w.yaml:6:23: dialects.c.publish.topic: {{id}} at offset 11 has no value here, want {{channel}}\n"
        "w.yaml:6:50: dialects.c.publish.body: {{token}} at offset 0 has no value here, want {{channel}}, {{payload}}, "
        "{{payload_json}}, {{id}}, {{seq}}, {{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
        "w.yaml:7:35: dialects.c.resume.connect: unknown hole {{resum}} at offset 0 (did you mean '{{resume}}'?)\n"
        "w.yaml:7:59: dialects.c.resume.subscribe: {{offset}} has no value without resume.offset, the JSON pointer to it\n"
        "w.yaml:7:89: dialects.c.resume.send: {{channel}} at offset 0 has no value here, want {{resume}}, {{offset}}, {{token}}, "
        "{{id}}, {{seq}}, {{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
        "w.yaml:9:34: dialects.d.resume.expect: {{resume}} has no value without resume.token, the JSON pointer to it\n");
}

static void test_dialects_make_a_difference(void **state)
{
    static const char one[] = "target: { url: 'ws://h/', dialect: c }\ndialects: { c: { connect: { send: a } } }\n";
    static const char two[] = "target: { url: 'ws://h/', dialect: c }\ndialects: { d: , c: { connect: { send: a } } }\n";
    static const char other[] =
        "target: { url: 'ws://h/', dialect: c }\ndialects: { c: { connect: { send: { base64: YQ== } } } }\n";
    static const char third[] = "target: { url: 'ws://h/', dialect: c }\ndialects: { c: { connect: { expect: { equals: a } } } }\n";
    struct conf *a = load(one), *b = load(two), *c = load(other), *d = load(third);
    (void)state;
    assert_true(conf_same_target(a, b));
    assert_false(conf_same_target(a, c));
    assert_false(conf_same_target(a, d));
    conf_unref(a);
    conf_unref(b);
    conf_unref(c);
    conf_unref(d);
}

static void test_parts_in_checks(void **state)
{
    struct conf *conf = load("target: { url: 'ws://h', dialect: talk }\nbrokers: [{ type: ram }]\n"
                             "checks:\n- type: delivery\n  channel: news\n  subscribe: { send: 'SUB {{channel}}' }\n"
                             "  publish: { topic: t }\n  keepalive: { every: 3s }\n");
    const struct delivery_opts *opts = conf->checks[0].opts;
    struct dialect dialect;
    (void)state;
    dialect_overlay(&dialect, conf->target.dialect, &opts->over);
    assert_string_equal(dialect.name, "talk");
    assert_ptr_equal(dialect.connect.send.data, connect_text);
    assert_string_equal(dialect.subscribe.send.data, "SUB {{channel}}");
    assert_string_equal(dialect.publish.topic, "t");
    assert_null(dialect.publish.body);
    assert_int_equal(dialect.keepalive.every_ms, 3000);
    assert_string_equal(dialect.path, "/talk?v=1");
    conf_unref(conf);
    refuse("target: { url: 'ws://h', dialect: talk }\nbrokers: [{ type: ram }]\n"
           "checks: [{ type: delivery, publish: { body: '{{x}}' }, greeting: {} }]\n",
           "w.yaml:3:45: checks[0].publish.body: unknown hole {{x}} at offset 0, "
           "want {{channel}}, {{payload}}, {{payload_json}}, {{id}}, {{seq}}, {{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
           "w.yaml:3:56: checks[0].greeting: unknown key\n");
}

/* null takes away what the dialect awaits; a part that is left out stays as it is. */
static void test_parts_are_dropped(void **state)
{
    struct conf *conf = load("target: { url: 'ws://h', dialect: c }\nbrokers: [{ type: ram }]\n"
                             "dialects: { c: { subscribe: { send: s, expect: { equals: ok }, reject: { equals: no } } } }\n"
                             "checks:\n- { name: one, type: delivery, channel: news, subscribe: { expect: null } }\n"
                             "- { name: two, type: delivery, channel: news, subscribe: { send: t } }\n");
    const struct delivery_opts *one = conf->checks[0].opts, *two = conf->checks[1].opts;
    struct dialect dialect;
    (void)state;
    dialect_overlay(&dialect, conf->target.dialect, &one->over);
    assert_true(match_spec_empty(&dialect.subscribe.expect));
    assert_string_equal(dialect.subscribe.reject.equals, "no");
    assert_string_equal(dialect.subscribe.send.data, "s");
    dialect_overlay(&dialect, conf->target.dialect, &two->over);
    assert_string_equal(dialect.subscribe.expect.equals, "ok");
    conf_unref(conf);
    refuse("target: { url: 'ws://h' }\nchecks: [{ type: echo, send: \"a\\0\" }]\n",
           "w.yaml:2:30: holds a NUL byte: write {{0x00}} where a text has holes, or { base64: ... }\n");
}

static void test_subscribing_needs_a_dialect(void **state)
{
    (void)state;
    refuse(TARGET "checks: [{ type: subscribe, publish: { topic: a } }]\n",
           "w.yaml:2:18: checks[0].type: 'subscribe' needs a dialect that says how to subscribe, and raw does not (see "
           "target.dialect)\n");
    conf_unref(load(TARGET "checks: [{ type: subscribe, subscribe: { send: 'SUB {{channel}}' } }]\n"));
    conf_unref(load("target: { url: 'ws://h/', dialect: c }\ndialects: { c: { subscribe: { expect: { equals: hello } } } }\n"
                    "checks: [{ type: subscribe }]\n"));
}

/* --- who the agent is ------------------------------------------------------------------------------------------------------------ */

static void test_identity(void **state)
{
    char word[HEARTBEAT_WORD_MAX + 1], host[256] = "";
    struct conf *conf = load(TARGET);
    (void)state;
    gethostname(host, sizeof host - 1);
    heartbeat_word(host, word);
    assert_string_equal(conf->agent_id, word);
    assert_string_equal(conf->region, "default");
    conf_unref(conf);
    struct conf *other = load(TARGET "identity: { region: default }\n");
    conf = load(TARGET);
    assert_true(conf_same_target(conf, other)); /* heartbeats would be the same */
    conf_unref(conf);
    conf = load(TARGET "identity: { id: 'pod 7.a', region: eu-west_1 }\n");
    assert_false(conf_same_target(conf, other));
    conf_unref(other);
    assert_string_equal(conf->agent_id, "pod_7_a");
    assert_string_equal(conf->region, "eu-west_1");
    conf_unref(conf);
    conf = conf_for_url("ws://h/", &env, &errors);
    assert_string_equal(conf->agent_id, word);
    conf_unref(conf);
}

/* --- what is written ------------------------------------------------------------------------------------------------------------- */

static void test_show_loads_again(void **state)
{
    struct buf first = BUF_INIT(1 << 20), second = BUF_INIT(1 << 20), text = BUF_INIT(1 << 20);
    (void)state;
    buf_append_str(&text, chat);
    buf_append_str(&text,
                   "identity: { id: a, region: b }\n"
                   "brokers: [{ name: bus, url: 'hub://h/v', exchange: x, retry: { min: 1s } }, { type: ram, timeout: 9s }]\n"
                   "checks: [{ type: delivery, broker: bus, message: { match: { json: { /a: '{{channel}}' } } } }]\n");
    struct conf *a = load(buf_str(&text));
    conf_show(a, &env, &first);
    assert_null(strstr(buf_str(&first), "abcdefgh"));
    struct conf *b = load(buf_str(&first));
    conf_show(b, &env, &second);
    assert_string_equal(buf_str(&first), buf_str(&second));
    assert_int_equal(a->check_count, 3);
    assert_int_equal(b->check_count, 3);
    assert_true(opt_equal(dialect_rows, a->target.dialect, b->target.dialect));
    for (size_t i = 0; i < 2; i++)
        assert_true(conf_same_broker(&a->brokers[i], &b->brokers[i]));
    for (size_t i = 0; i < 3; i++)
        assert_true(conf_same_check(&a->checks[i], &b->checks[i]));
    conf_unref(a);
    conf_unref(b);
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&text);
}

/* As it is, and with everything in it made active. */
static void test_starter(void **state)
{
    struct buf out = BUF_INIT(1 << 20), bare = BUF_INIT(1 << 20);
    (void)state;
    conf_write_starter(&env, &out);
    struct conf *conf = load(buf_str(&out));
    assert_int_equal(conf->broker_count + conf->dialect_count, 0);
    conf_unref(conf);
    for (const char *line = buf_str(&out); *line;) {
        size_t len = strcspn(line, "\n") + 1, blanks = strspn(line, " ");
        const char *hash = line + blanks;
        bool prose = hash[0] == '#' && hash[1] == ' ' && hash[2] != ' ';
        buf_append(&bare, line, *hash == '#' && !prose ? blanks : len);
        if (*hash == '#' && !prose)
            buf_append(&bare, hash + 1, len - blanks - 1);
        line += len;
    }
    conf = load_slice(slice_str(buf_str(&bare)));
    conf_unref(conf);
    assert_null(conf);
    assert_int_equal(errors.count, 3); /* there are two brokers, two checks that do not say which, and one without a dialect */
    assert_non_null(strstr(buf_str(&errors.text), "checks[3].type: 'subscribe' needs a dialect"));
    assert_non_null(strstr(buf_str(&errors.text), "checks[1].broker: required, as there are 2 brokers\n"));
    assert_non_null(strstr(buf_str(&errors.text), "checks[2].broker: required, as there are 2 brokers\n"));
    buf_fini(&out);
    buf_fini(&bare);
}

static void test_schema_and_manual(void **state)
{
    static const char *const names[] = { ".SS brokers: type hub", ".B exchange",   ".B subprotocols", ".SS dialects.message",
                                         ".SS brokers.retry",     ".B json_holes", ".SS identity" };
    static const char *const values[][2] = {
        { "/properties/brokers/items/anyOf/0/properties/type/const", "\"hub\"" },
        { "/properties/brokers/items/anyOf/0/properties/url", "{\"$ref\":\"#/$defs/broker/properties/url\"}" },
        { "/properties/brokers/items/anyOf/1/required", "[]" },
        { "/properties/dialects/additionalProperties/anyOf/0/$ref", "\"#/$defs/dialect\"" },
        { "/$defs/dialect/properties/connect/anyOf/0/properties/send/anyOf/1/$ref", "\"#/$defs/bytes\"" },
        { "/$defs/bytes/required", "[\"base64\"]" },
    };
    struct buf out = BUF_INIT(1 << 20);
    struct match_spec spec = { 0 };
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        spec.json[spec.json_count++] = (struct match_pointer){ mem_strdup(values[i][0]), mem_strdup(values[i][1]) };
    conf_write_schema(&env, &out);
    struct match *match = match_new(&spec, &err);
    assert_non_null(match);
    if (!match_try(match, buf_slice(&out), &err))
        fail_msg("%s", err.text);
    match_free(match);
    match_spec_fini(&spec);
    buf_reset(&out);
    conf_write_roff(&env, &out);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strstr(buf_str(&out), names[i]))
            fail_msg("%s", names[i]);
    assert_null(strstr(buf_str(&out), "type delivery.message")); /* described once */
    buf_fini(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_brokers),
        TEST(test_no_brokers),
        TEST(test_checks_of_brokers),
        TEST(test_brokers_that_are_wrong),
        TEST(test_tls_in_vain),
        TEST(test_too_many),
        TEST(test_urls_from_files),
        TEST(test_sameness),
        TEST(test_dialects),
        TEST(test_what_the_target_gets),
        TEST(test_publish_by_command),
        TEST(test_publish_by_command_that_is_wrong),
        TEST(test_dialects_that_are_wrong),
        TEST(test_holes_without_a_value),
        TEST(test_dialects_make_a_difference),
        TEST(test_parts_in_checks),
        TEST(test_subscribing_needs_a_dialect),
        TEST(test_parts_are_dropped),
        TEST(test_identity),
        TEST(test_show_loads_again),
        TEST(test_starter),
        TEST(test_schema_and_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
