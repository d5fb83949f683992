/* What a target's configuration offers in the opening handshake: host, headers, user and password of the URL, the dialect's subprotocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "agent/base/secret.h"
#include "agent/base/version.h"
#include "agent/client/conn_offer.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/conf/probe_type.h"

static const struct probe_type ping = { .name = "ping", .summary = "A ping", .gates = GATE_READY };
static const struct probe_type *const types[] = { &ping, NULL };

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
    (void)name;
    return NULL;
}

static const struct conf_env env = { .probes = types, .dialects = dialects, .getenv = fake_getenv };
#include "tests/unit/conf/load.h" /* needs env */

static const char *offered(const struct conn_offer *offer, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; i < offer->offer.header_count; i++) {
        if (strcasecmp(offer->offer.headers[i].name, name) != 0)
            continue;
        assert_null(found); /* once */
        found = offer->offer.headers[i].value;
    }
    return found;
}

/* A virtual host over loopback, who asks, and the user and password of the URL. */
static void test_host_user_and_agent(void **state)
{
    struct conf *conf = load(
        "target: { url: 'ws://CP001:se%20cret@127.0.0.1:27/x', headers: { host: 'chat.example.com:8080', user-agent: me } }\n");
    struct conn_offer offer;
    struct err err;
    char text[] = "Basic Q1AwMDE6c2UgY3JldA== se cret";
    (void)state;
    assert_int_equal(conn_offer_init(&offer, &conf->target, NULL, &conf->target.local, false, &err), 0);
    assert_string_equal(offer.offer.host, "chat.example.com:8080");
    assert_null(offered(&offer, "Host"));
    assert_string_equal(offered(&offer, "User-Agent"), "me");
    assert_string_equal(offered(&offer, "Authorization"), "Basic Q1AwMDE6c2UgY3JldA==");
    conn_offer_fini(&offer);
    secret_scrub(text);
    assert_string_equal(text, "Basic *** ***"); /* in the form that is sent, too */
    conf_unref(conf);
}

static void test_what_the_dialect_offers(void **state)
{
    struct conf *conf = load("target: { url: 'ws://h', dialect: talk, token: abcdefgh, token_in: message }\n");
    struct conn_offer offer;
    struct err err;
    (void)state;
    assert_ptr_equal(conf->target.dialect, &talk);
    assert_string_equal(conf->target.local.target, "/talk?v=1");
    assert_int_equal(conn_offer_init(&offer, &conf->target, NULL, &conf->target.local, false, &err), 0);
    assert_int_equal(offer.offer.subprotocol_count, 1);
    assert_string_equal(offer.offer.subprotocols[0], "talk.v1");
    assert_int_equal(offer.offer.header_count, 1); /* the token goes elsewhere */
    assert_string_equal(offer.offer.headers[0].name, "User-Agent");
    assert_string_equal(offer.offer.headers[0].value, "wshealthd/" WSHEALTHD_VERSION);
    assert_string_equal(offer.offer.host, "h");
    conn_offer_fini(&offer);
    /* The command line changes it again. */
    assert_int_equal(opt_set(target_rows, &conf->target, "subprotocols", "mine", &err), 0);
    assert_int_equal(opt_set(target_rows, &conf->target, "url", "ws://h/w", &err), 0);
    assert_int_equal(conf_seal(conf, &env, &errors), 0);
    assert_string_equal(conf->target.local.target, "/w");
    assert_int_equal(conn_offer_init(&offer, &conf->target, NULL, &conf->target.local, false, &err), 0);
    assert_int_equal(offer.offer.subprotocol_count, 1);
    assert_string_equal(offer.offer.subprotocols[0], "mine");
    conn_offer_fini(&offer);
    conf_unref(conf);
}

static void offer_with(struct conn_offer *offer, const struct conf *conf, const struct conn_override *override)
{
    struct err err;
    assert_int_equal(conn_offer_init(offer, &conf->target, override, &conf->target.local, false, &err), 0);
}

static void test_another_origin(void **state)
{
    struct conf *conf = load("target: { url: 'ws://h', headers: { origin: 'https://h.test' }, token: abcdefgh }\n");
    struct conn_offer offer;
    (void)state;
    offer_with(&offer, conf, &(struct conn_override){ .sets_origin = true, .origin = "null" });
    assert_string_equal(offer.offer.origin, "null");
    assert_null(offered(&offer, "Origin")); /* not a second one */
    assert_string_equal(offered(&offer, "Authorization"), "Bearer abcdefgh");
    conn_offer_fini(&offer);
    offer_with(&offer, conf, &(struct conn_override){ .sets_origin = true });
    assert_null(offer.offer.origin);
    assert_null(offered(&offer, "Origin"));
    conn_offer_fini(&offer);
    conf_unref(conf);
}

static void test_another_token(void **state)
{
    const struct conn_override other = { .sets_token = true, .token = "o&her" }, none = { .sets_token = true };
    const struct {
        const char *target, *header, *with;
    } rows[] = {
        { "token: abcdefgh", "Authorization", "Bearer o&her" },
        { "headers: { authorization: Bearer abcdefgh }", "Authorization", "Bearer o&her" },
        { "token: abcdefgh, token_in: 'cookie:t'", "Cookie", "t=o&her" },
    };
    struct conn_offer offer;
    char text[200];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "target: { url: 'ws://h', origin: 'https://h.test', %s }\n", rows[i].target);
        struct conf *conf = load(text);
        offer_with(&offer, conf, &other);
        assert_string_equal(offered(&offer, rows[i].header), rows[i].with);
        assert_string_equal(offer.offer.origin, "https://h.test");
        conn_offer_fini(&offer);
        offer_with(&offer, conf, &none);
        assert_null(offered(&offer, rows[i].header));
        conn_offer_fini(&offer);
        conf_unref(conf);
    }
}

static void test_another_token_in_the_path(void **state)
{
    const struct conn_override other = { .sets_token = true, .token = "o&her" }, none = { .sets_token = true };
    const struct {
        const char *path, *with, *without;
    } rows[] = {
        { "/", "/?t=o%26her", "/" },
        { "/ws?t=old", "/ws?t=o%26her", "/ws" },
        { "/ws?a=1&t=old&tt=2&t&x", "/ws?a=1&tt=2&x&t=o%26her", "/ws?a=1&tt=2&x" },
    };
    struct conn_offer offer;
    char text[200];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "target: { url: 'ws://h%s', token_in: 'query:t' }\n", rows[i].path);
        struct conf *conf = load(text);
        offer_with(&offer, conf, &other);
        assert_string_equal(offer.offer.target, rows[i].with);
        conn_offer_fini(&offer);
        offer_with(&offer, conf, &none);
        assert_string_equal(offer.offer.target, rows[i].without);
        conn_offer_fini(&offer);
        conf_unref(conf);
    }
}

static void test_another_token_as_subprotocol(void **state)
{
    struct conf *conf = load("target: { url: 'ws://h', subprotocols: [chat], token: abcdefgh, token_in: subprotocol }\n");
    struct conn_offer offer;
    (void)state;
    offer_with(&offer, conf, &(struct conn_override){ .sets_token = true, .token = "other" });
    assert_int_equal(offer.offer.subprotocol_count, 2);
    assert_string_equal(offer.offer.subprotocols[1], "other");
    conn_offer_fini(&offer);
    offer_with(&offer, conf, &(struct conn_override){ .sets_token = true });
    assert_int_equal(offer.offer.subprotocol_count, 1);
    conn_offer_fini(&offer);
    conf_unref(conf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_the_dialect_offers), TEST(test_host_user_and_agent),       TEST(test_another_origin),
        TEST(test_another_token),           TEST(test_another_token_in_the_path), TEST(test_another_token_as_subprotocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
