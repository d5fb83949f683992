/* `fleet:` and `readiness.min_ready`: what turns it on, the brokers that may carry it, errors with their places, what is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/conf/broker_type.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/conf/probe_type.h"

static const struct probe_type ping = { .name = "ping", .summary = "A ping", .by_default = true, .gates = GATE_READY };
static const struct probe_type server = { .name = "server", .summary = "The process", .watches_server = true };
static const struct probe_type *const types[] = { &ping, &server, NULL };
static const struct broker_type bus = { .name = "bus", .schemes = "bus", .default_url = "bus://x", .carries_fleet = true };
static const struct broker_type queue = { .name = "queue", .schemes = "queue", .default_url = "queue://x" };
static const struct broker_type *const brokers[] = { &bus, &queue, NULL };
static const struct dialect raw = { .name = (char[]){ "raw" } };
static const struct dialect *const dialects[] = { &raw, NULL };
static const char *no_variable(const char *name)
{
    (void)name;
    return NULL;
}
static const struct conf_env env = { .probes = types, .brokers = brokers, .dialects = dialects, .getenv = no_variable };

#include "tests/unit/conf/load.h"

#define BASE "target: { url: \"ws://h/\" }\n"
#define BUS "brokers: [ { type: bus } ]\n"

static void refuse(const char *text, const char *want)
{
    struct conf *conf = load_slice(slice_str(text));

    assert_null(conf);
    if (!strstr(buf_str(&errors.text), want))
        fail_msg("%s", buf_str(&errors.text));
}

static void it_is_off_unless_set(void **state)
{
    struct conf *conf = load(BASE BUS);

    (void)state;
    assert_false(conf->fleet_on);
    assert_int_equal(conf->min_ready_count, 0);
    conf_unref(conf);
}

static void a_group_is_enough_where_one_broker_fits(void **state)
{
    struct conf *conf =
        load(BASE "brokers: [ { type: queue }, { type: bus } ]\nfleet: { group: chat }\nreadiness: { min_ready: 50% }\n");

    (void)state;
    assert_true(conf->fleet_on);
    assert_string_equal(conf->fleet.broker, "bus");
    assert_int_equal(conf->fleet.every_ms, 5000);
    assert_int_equal(conf->fleet.expire_ms, 20000);
    assert_int_equal(conf->min_ready_count, 50);
    assert_true(conf->min_ready_percent);
    conf_unref(conf);
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
    (void)state;
    refuse(BASE BUS "readiness: { min_ready: 2 }\n", "w.yaml:3:25: readiness.min_ready: has no effect without `fleet`");
    refuse(BASE BUS "fleet: { group: chat }\nreadiness: { min_ready: 101% }\n", "readiness.min_ready: '101%', want a number");
    refuse(BASE BUS "fleet: { group: chat }\nreadiness: { min_ready: two }\n", "readiness.min_ready: 'two', want a number");
    refuse(BASE BUS "fleet: { broker: bus }\n", "fleet.group: required");
    refuse(BASE BUS "fleet: { group: 'a b' }\n", "fleet.group: 'a b', want 1 to 48 letters");
    refuse(BASE BUS "fleet: { broker: nix, group: chat }\n", "fleet.broker: no broker 'nix' in `brokers` (there are: bus)");
    refuse(BASE "fleet: { group: chat }\n", "fleet.broker: required");
    refuse(BASE "brokers: [ { type: queue } ]\nfleet: { broker: queue, group: chat }\n",
           "'queue' is of type queue, want redis or nats");
    refuse(BASE BUS "fleet: { group: chat, every: 10s }\n", "fleet.expire: 20s, want at least three times fleet.every (10s)");
    refuse(BASE BUS "fleet: { every: 2s }\n", "fleet.group: required");
    refuse(BASE BUS "fleet: bus\n", "w.yaml:3:8: fleet: a text, want a mapping");
    assert_null(strstr(buf_str(&errors.text), "required"));
}

/* Nothing is beside it: either URL is the public one, and all its checks go there. */
static void a_watcher_checks_the_public_path(void **state)
{
    static const char *const targets[] = { "target: { url: \"ws://h/\" }\n", "target: { public_url: \"ws://h/\" }\n",
                                           "target: { url: \"ws://h/\", public_url: \"ws://h/\" }\n" };
    char warning[256];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char text[256];
        struct conf *conf;

        snprintf(text, sizeof text, "%s%s", targets[i], BUS "fleet: { group: chat, role: watcher }\n");
        conf = load(text);
        assert_true(conf_is_watcher(conf));
        assert_int_equal(conf->check_count, 1);
        assert_int_equal(conf->checks[0].path, PATH_PUBLIC);
        assert_int_equal(conf->checks[0].gates, GATE_READY);
        assert_string_equal(conf->target.url, "ws://h/");
        assert_string_equal(conf->target.public.host, "h");
        assert_false(conf_warns(conf, warning, sizeof warning));
        conf_unref(conf);
    }
}

static void a_watcher_has_no_server(void **state)
{
#define WATCHER BASE BUS "fleet: { group: chat, role: watcher }\n"
    (void)state;
    refuse(WATCHER "readiness: { min_ready: 2 }\n", "w.yaml:4:25: readiness.min_ready: has no effect with fleet.role: watcher");
    refuse(WATCHER "readiness: { shared_faults: fail }\n", "readiness.shared_faults: has no effect with fleet.role: watcher");
    refuse(WATCHER "readiness: { probe_faults: fail }\n", "readiness.probe_faults: has no effect with fleet.role: watcher");
    refuse(WATCHER "checks: [ { type: server } ]\n", "checks[0].type: 'server' looks at the server's process on this host");
    refuse("target: { url: \"ws://h/\", public_url: \"ws://p/\" }\n" BUS "fleet: { group: chat, role: watcher }\n",
           "target.url: with fleet.role: watcher no server is beside the agent");
    refuse(BASE BUS "fleet: { role: watcher }\n", "fleet.group: required");
    refuse(BASE BUS "fleet: { group: chat, role: guest }\n", "fleet.role: 'guest', want server or watcher");
}

/* The server's version, which a reload may change without another beginning of the checks. */
static void the_server_has_a_version(void **state)
{
    struct conf *old = load(BASE "identity: { version: 1.4+b2~rc_1-x }\n"), *new = load(BASE "identity: { version: '1.5' }\n");

    (void)state;
    assert_string_equal(old->server_version, "1.4+b2~rc_1-x");
    assert_true(conf_same_target(old, new));
    conf_unref(old);
    conf_unref(new);
    refuse(BASE "identity: { version: 'v 1' }\n", "identity.version: want 1 to 31 letters, digits");
    refuse(BASE "identity: { version: '12345678901234567890123456789012' }\n", "identity.version: ");
    refuse(BASE "identity: { version: '' }\n", "identity.version: ");
}

static void the_key_is_not_shown(void **state)
{
    struct conf *conf = load(BASE BUS "fleet: { group: chat, key: open-sesame }\n");
    struct buf out = BUF_INIT(1 << 20);

    (void)state;
    conf_show(conf, &env, &out);
    assert_null(strstr(buf_str(&out), "open-sesame"));
    assert_non_null(strstr(buf_str(&out), "group: chat"));
    buf_fini(&out);
    conf_unref(conf);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_off_unless_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_is_enough_where_one_broker_fits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said_with_its_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_watcher_checks_the_public_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_watcher_has_no_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_server_has_a_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_key_is_not_shown, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
