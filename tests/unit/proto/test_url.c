/* URLs and listen addresses: what is taken, what is refused and with which words, and that nothing secret is ever shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "agent/proto/url.h"

#define COUNT(array) (sizeof array / sizeof array[0])

static struct url parse(const char *text)
{
    struct url url;
    struct err err;
    err_clear(&err);
    if (url_parse(text, &url, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return url;
}

static void test_what_is_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text, *scheme, *host;
        int port;
        const char *target, *authority;
        bool tls, has_path;
    } rows[] = {
        { "ws://127.0.0.1:8080/ws", "ws", "127.0.0.1", 8080, "/ws", "127.0.0.1:8080", false, true },
        { "ws://h", "ws", "h", 80, "/", "h", false, false },
        { "ws://h/", "ws", "h", 80, "/", "h", false, true },
        { "ws://h:80", "ws", "h", 80, "/", "h", false, false },
        { "ws://h?a=1", "ws", "h", 80, "/?a=1", "h", false, false },
        { "ws://h/?", "ws", "h", 80, "/?", "h", false, true },
        { "wss://Chat.Example.COM/WS?v=2&x=/?@:", "wss", "chat.example.com", 443, "/WS?v=2&x=/?@:", "chat.example.com", true,
          true },
        { "WSS://h:80/%2F", "wss", "h", 80, "/%2F", "h:80", true, true },
        { "http://[::1]:9717/ready", "http", "::1", 9717, "/ready", "[::1]:9717", false, true },
        { "https://[2001:DB8::1]", "https", "2001:db8::1", 443, "/", "[2001:db8::1]", true, false },
        { "tcp://redis_1.internal:6379", "tcp", "redis_1.internal", 6379, "/", "redis_1.internal:6379", false, false },
        { "ws://h:65535/a@b", "ws", "h", 65535, "/a@b", "h:65535", false, true },
        { "ws://example.com./", "ws", "example.com.", 80, "/", "example.com.", false, true },
        { "ws://1.2.3.4.nip.io/", "ws", "1.2.3.4.nip.io", 80, "/", "1.2.3.4.nip.io", false, true },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct url url = parse(rows[i].text);
        assert_string_equal(url.scheme, rows[i].scheme);
        assert_string_equal(url.host, rows[i].host);
        assert_int_equal(url.port, rows[i].port);
        assert_string_equal(url.target, rows[i].target);
        assert_string_equal(url.authority, rows[i].authority);
        assert_int_equal(url.tls, rows[i].tls);
        assert_int_equal(url.has_path, rows[i].has_path);
        assert_false(url.is_unix);
        assert_string_equal(url.user, "");
    }
}

static void test_unix(void **state)
{
    (void)state;
    struct url url = parse("ws+unix:///run/app%3A1.sock:/ws?x=1:2");
    assert_true(url.is_unix);
    assert_false(url.tls);
    assert_string_equal(url.unix_path, "/run/app:1.sock");
    assert_string_equal(url.target, "/ws?x=1:2");
    assert_string_equal(url.host, "localhost");
    assert_string_equal(url.authority, "localhost");
    assert_true(url.has_path);
    url = parse("http+unix:///run/app.sock");
    assert_string_equal(url.unix_path, "/run/app.sock");
    assert_string_equal(url.target, "/");
    assert_false(url.has_path);
}

static void test_brokers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int port;
        const char *target;
        bool tls, is_unix;
    } rows[] = {
        { "redis://h", 6379, "/", false, false },
        { "redis://:pw@h:7000/3", 7000, "/3", false, false },
        { "rediss://user:pw@h/0", 6379, "/0", true, false },
        { "redis+unix:///run/redis.sock", 0, "/", false, true },
        { "redis+unix://user:pw@/run/redis.sock:/2", 0, "/2", false, true },
        { "nats://token@h", 4222, "/", false, false },
        { "tls://h", 4222, "/", true, false },
        { "amqp://guest:guest@h/%2Fvhost", 5672, "/%2Fvhost", false, false },
        { "amqps://h", 5671, "/", true, false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct url url = parse(rows[i].text);
        assert_int_equal(strncmp(rows[i].text, url.scheme, strlen(url.scheme)), 0);
        assert_int_equal(url.port, rows[i].port);
        assert_string_equal(url.target, rows[i].target);
        assert_int_equal(url.tls, rows[i].tls);
        assert_int_equal(url.is_unix, rows[i].is_unix);
    }
    struct url url = parse("redis+unix://us%40er:p%2Fw@/run/redis.sock:/2");
    assert_string_equal(url.user, "us@er");
    assert_string_equal(url.password, "p/w");
    assert_string_equal(url.unix_path, "/run/redis.sock");
    char shown[256];
    url_redact("redis+unix://user:hunter2@/run/redis.sock:/2", shown, sizeof shown);
    assert_string_equal(shown, "redis+unix://user:***@/run/redis.sock:/2");
}

static void test_userinfo_is_decoded(void **state)
{
    (void)state;
    struct url url = parse("wss://al%69ce:p%40ss%3A%2F:x@h:9/ws");
    assert_string_equal(url.user, "alice");
    assert_string_equal(url.password, "p@ss:/:x");
    assert_string_equal(url.host, "h");
    url = parse("ws://:secret@h");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "secret");
    url = parse("ws://user@h");
    assert_string_equal(url.user, "user");
    assert_string_equal(url.password, "");
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "", "url: empty" },
        { "127.0.0.1:8080/ws", "no scheme" },
        { "://h", "no scheme" },
        { "wss//h", "no scheme" },
        { "wsss://h", "unknown scheme 'wsss', want ws, wss, http, https, ws+unix, http+unix or tcp (did you mean 'wss'?)" },
        { "htpps://h", "did you mean 'https'?" },
        { "gopher://h", "unknown scheme 'gopher', want ws" },
        { "ws://", "no host" },
        { "ws:///path", "no host" },
        { "ws://h:99999", "url: port 99999, want 1 to 65535" },
        { "ws://h:65536", "url: port 65536, want 1 to 65535" },
        { "ws://h:0", "url: port 0, want 1 to 65535" },
        { "ws://h:", "url: port '', want 1 to 65535" },
        { "ws://h:8x", "url: port 8x, want" },
        { "ws://h:+80", "url: port +80, want" },
        { "ws://h:000000080", "port" },
        { "ws://::1:80/", "brackets" },
        { "ws://[::1", "[ without ]" },
        { "ws://[::g]/", "not an IPv6 address" },
        { "ws://[127.0.0.1]/", "not an IPv6 address" },
        { "ws://[fe80::1%25eth0]/", "not an IPv6 address" },
        { "ws://[::1]x/", "behind the address" },
        { "ws://256.1.1.1/", "neither a name nor an address" },
        { "ws://1.2.3/", "neither a name nor an address" },
        { "ws://a..b/", "neither a name nor an address" },
        { "ws://./", "neither a name nor an address" },
        { "ws://a$b/", "neither a name nor an address" },
        { "ws://h/a b", "blank or control character at offset 8" },
        { "ws://h/a\tb", "control character" },
        { "ws://h/\r\nX: y", "control character" },
        { "ws://h/\x7f", "control character" },
        { "ws://h/\xc3\xbc", "percent-encoded" },
        { "ws://h/{id}", "percent-encoded" },
        { "ws://h\\x/", "percent-encoded" },
        { "ws://h/ws#top", "fragment" },
        { "ws://h/%", "two hexadecimal digits" },
        { "ws://h/%2", "two hexadecimal digits" },
        { "ws://h/%zz", "two hexadecimal digits" },
        { "ws://u:%00@h/", "control character in the password" },
        { "ws://u%0d@h/", "control character in the user" },
        { "ws://a@b@h/", "%40" },
        { "tcp://h", "no port, want tcp://host:port" },
        { "tcp://h:1/x", "path behind the port" },
        { "tcp://h:1?x", "path behind the port" },
        { "ws+unix://run/a.sock", "no absolute path" },
        { "ws+unix://", "no absolute path" },
        { "ws+unix:///run/", "ends in a slash" },
        { "ws+unix:///run/a.sock:", "no request path" },
        { "ws+unix:///run/a.sock:ws", "no request path" },
        { "ws+unix:///run/a.sock?x=1", "query without a request path" },
        { "ws+unix:///run/%00a", "control character in the path" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct url url;
        struct err err;
        assert_int_equal(url_parse(rows[i].text, &url, &err), -1);
        if (!strstr(err.text, rows[i].says))
            fail_msg("%s: '%s' does not say '%s'", rows[i].text, err.text, rows[i].says);
        assert_int_equal(url_parse(rows[i].text, &url, NULL), -1);
    }
    struct url url;
    assert_int_equal(url_parse(NULL, &url, NULL), -1);
}

static void test_limits(void **state)
{
    (void)state;
    char text[4096];
    struct url url;
    memset(text, 'a', sizeof text);
    memcpy(text, "ws://h/", 7);
    text[6 + URL_TARGET_MAX - 1] = '\0';
    assert_int_equal(url_parse(text, &url, NULL), 0);
    assert_int_equal(strlen(url.target), URL_TARGET_MAX - 1);
    text[6 + URL_TARGET_MAX - 1] = 'a';
    text[6 + URL_TARGET_MAX] = '\0';
    assert_int_equal(url_parse(text, &url, NULL), -1);

    snprintf(text, sizeof text, "ws://%064d.com/", 0);
    assert_int_equal(url_parse(text, &url, NULL), -1); /* a label of 64 */
    snprintf(text, sizeof text, "ws://%0300d.com/", 0);
    assert_int_equal(url_parse(text, &url, NULL), -1);
    snprintf(text, sizeof text, "ws://%0200d@h/", 0);
    assert_int_equal(url_parse(text, &url, NULL), -1);
    snprintf(text, sizeof text, "ws+unix:///%0107d", 0);
    assert_int_equal(url_parse(text, &url, NULL), -1);
    snprintf(text, sizeof text, "ws+unix:///%0106d", 0);
    assert_int_equal(url_parse(text, &url, NULL), 0);
}

/* Whatever is wrong with it: the error must not repeat the userinfo or the query. */
static void test_errors_do_not_give_secrets_away(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "ws://u:hunter2@h:99999/", "ws://u:hunter2@h h/",   "wsx://u:hunter2@h/",      "ws://u:hunter2/x@h/",
        "ws://u:1/hunter2@h:x/",   "ws://hunter2@/",        "ws://h:0/?token=hunter2", "u:hunter2@h://x",
        "ws://u:hunter2?x@h/",     "ws://hunter2/x@h:1",    "ws://u:hunter2@[::1",     "ws://u:hunter2@[::1]x",
        "ws://u:hunter2%@h",       "ws://u:hunter2@a:b:c/",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct url url;
        struct err err;
        char shown[128];
        err_clear(&err);
        if (url_parse(rows[i], &url, &err) != 0 && strstr(err.text, "hunter2"))
            fail_msg("%s: %s", rows[i], err.text);
        url_redact(rows[i], shown, sizeof shown);
        if (strstr(shown, "hunter2") && url_parse(rows[i], &url, NULL) != 0)
            fail_msg("%s is shown as %s", rows[i], shown);
    }
}

static void test_redact(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } rows[] = {
        { "ws://127.0.0.1:8080/ws", "ws://127.0.0.1:8080/ws" },
        { "wss://alice:secret@h:9/ws", "wss://alice:***@h:9/ws" },
        { "ws://token@h/ws", "ws://***@h/ws" },
        { "ws://h/ws?token=secret&v=2", "ws://h/ws?token=***&v=***" },
        { "ws://h/ws?secret", "ws://h/ws?***" },
        { "ws://h/ws?a=&b=1", "ws://h/ws?a=&b=***" },
        { "ws://h/@room?x=1", "ws://h/@room?x=***" },
        { "ws+unix:///run/a.sock:/ws?t=s", "ws+unix:///run/a.sock:/ws?t=***" },
        { "redis://:secret@127.0.0.1:6379/0", "redis://:***@127.0.0.1:6379/0" },
        { "kafka://:secret@127.0.0.1:9092,127.0.0.1:9093", "kafka://***@127.0.0.1:9092,127.0.0.1:9093" },
        { "ws://u:pa/ss@h/", "ws://***@h/" },
        { "u:secret@h:1", "***@h:1" },
        { "ws://h/#access_token=secret", "ws://h/#***" },
        { "ws://h/a b\n?c=d", "ws://h/a?b??c=***" },
        { "", "" },
    };
    char shown[256];
    for (size_t i = 0; i < COUNT(rows); i++) {
        url_redact(rows[i].text, shown, sizeof shown);
        assert_string_equal(shown, rows[i].shown);
    }
    url_redact(NULL, shown, sizeof shown);
    assert_string_equal(shown, "");
    char tiny[8] = "#######";
    url_redact("ws://host/path", tiny, 6);
    assert_string_equal(tiny, "ws://");
    assert_int_equal(tiny[6], '#');
    url_redact("ws://host/path", tiny, 0);
}

static void test_listen_addresses(void **state)
{
    (void)state;
    struct listen_address address;
    struct err err;
    assert_int_equal(listen_address_parse("0.0.0.0:9717", &address, &err), 0);
    assert_string_equal(address.host, "0.0.0.0");
    assert_int_equal(address.port, 9717);
    assert_int_equal(listen_address_parse("[::]:9717", &address, &err), 0);
    assert_string_equal(address.host, "::");
    assert_int_equal(listen_address_parse("127.0.0.1:0", &address, &err), 0);
    assert_int_equal(address.port, 0);
    assert_false(address.is_unix);
    assert_int_equal(listen_address_parse("unix:/run/a:b.sock", &address, &err), 0);
    assert_true(address.is_unix);
    assert_string_equal(address.unix_path, "/run/a:b.sock");

    static const struct {
        const char *text, *says;
    } rows[] = {
        { "", "empty" },
        { "localhost:1", "'localhost' is not an IP" },
        { ":9717", "not an IP" },
        { "9717", "not an IP" },
        { "0.0.0.0", "no port" },
        { "0.0.0.0:", "port ''" },
        { "0.0.0.0:65536", "port '65536', want 0 to 65535" },
        { "::1:80", "not an IP" },
        { "[::1]", "no port" },
        { "[::1:80", "no port" },
        { "[127.0.0.1]:80", "not an IP" },
        { "unix:", "not absolute" },
        { "unix:run/x", "not absolute" },
        { "0.0.0.0:-1", "port '-1'" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(listen_address_parse(rows[i].text, &address, &err), -1);
        if (!strstr(err.text, rows[i].says))
            fail_msg("%s: '%s' does not say '%s'", rows[i].text, err.text, rows[i].says);
    }
    char text[256];
    snprintf(text, sizeof text, "unix:/%0107d", 0);
    assert_int_equal(listen_address_parse(text, &address, &err), -1);
}

static void test_same_server(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        { "ws://chat.example/ws", "http://CHAT.example/health", true },
        { "ws://chat.example:8080/", "tcp://chat.example:8080", true },
        { "wss://chat.example/", "http://chat.example/", false },
        { "ws://127.0.0.1:80/", "http://localhost:80/", false }, /* perhaps, but a name may be many */
        { "ws+unix:///run/a:/x", "http+unix:///run/a:/y", true },
        { "ws+unix:///run/a:/x", "http+unix:///run/b:/x", false },
        { "ws+unix:///run/a:/x", "http://localhost/x", false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct url a, b;
        assert_int_equal(url_parse(rows[i].a, &a, NULL), 0);
        assert_int_equal(url_parse(rows[i].b, &b, NULL), 0);
        if (url_same_server(&a, &b) != rows[i].same || url_same_server(&b, &a) != rows[i].same)
            fail_msg("%s and %s: want %d", rows[i].a, rows[i].b, rows[i].same);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_taken),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_brokers),
        cmocka_unit_test(test_userinfo_is_decoded),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_errors_do_not_give_secrets_away),
        cmocka_unit_test(test_redact),
        cmocka_unit_test(test_same_server),
        cmocka_unit_test(test_listen_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
