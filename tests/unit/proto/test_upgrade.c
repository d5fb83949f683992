/*
 * The opening handshake: the request byte for byte, every way in which a response can be wrong with its reason and sentence, and the
 * server's side. Heads come from the HTTP reader, as they do in the program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/upgrade.h"

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ=="; /* RFC 6455, 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* --- helpers --------------------------------------------------------------------------------------------------------- */

static const struct http_limits limits = { .max_head_bytes = 16384, .max_body_bytes = 16384 };

static struct http_reader *read_head(enum http_kind kind, const char *text)
{
    struct http_reader *reader = http_reader_new(kind, &limits);
    struct slice input = slice_str(text);
    struct err err = { 0 };
    enum http_progress progress = http_reader_feed(reader, &input, &err);
    if (progress != HTTP_HEAD)
        fail_msg("%d %s in %s", progress, err.text, text);
    return reader;
}

static struct upgrade_offer plain_offer(void)
{
    return (struct upgrade_offer){ .host = "server.example.com", .target = "/chat" };
}

#define GOOD "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n"

/* --- key and accept -------------------------------------------------------------------------------------------------- */

static void test_key_and_accept(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_LEN + 1], one[WS_KEY_LEN + 1], two[WS_KEY_LEN + 1];
    upgrade_accept(key, accept);
    assert_string_equal(accept, ACCEPT);
    upgrade_key(one);
    upgrade_key(two);
    assert_int_equal(strlen(one), WS_KEY_LEN);
    assert_string_equal(one + 22, "==");
    assert_string_not_equal(one, two);
}

static void test_reserved(void **state)
{
    (void)state;
    assert_false(upgrade_header_reserved("Host")); /* whoever builds the offer takes it out of the headers */
    assert_true(upgrade_header_reserved("upgrade"));
    assert_true(upgrade_header_reserved("CONNECTION"));
    assert_true(upgrade_header_reserved("content-length"));
    assert_true(upgrade_header_reserved("sec-websocket-anything"));
    assert_false(upgrade_header_reserved("Sec-WebSocket"));
    assert_false(upgrade_header_reserved("X-Host"));
    assert_false(upgrade_header_reserved("Authorization"));
    assert_false(upgrade_header_reserved(""));
}

/* --- the request ----------------------------------------------------------------------------------------------------- */

static void test_write_request(void **state)
{
    (void)state;
    static const struct upgrade_header headers[] = { { "Authorization", "Bearer abc" }, { "X-Probe", "a\r\nInjected: yes" } };
    struct upgrade_offer offer = {
        .host = "127.0.0.1:8080",
        .target = "/ws?room=1",
        .origin = "https://chat.example.com",
        .subprotocols = { "chat.v2", "chat.v1" },
        .subprotocol_count = 2,
        .headers = headers,
        .header_count = 2,
        .deflate = true,
    };
    struct buf out = BUF_INIT(4096);
    assert_int_equal(upgrade_write_request(&out, &offer, key), 0);
    assert_string_equal(buf_str(&out), "GET /ws?room=1 HTTP/1.1\r\n"
                                       "Host: 127.0.0.1:8080\r\n"
                                       "Upgrade: websocket\r\n"
                                       "Connection: Upgrade\r\n"
                                       "Sec-WebSocket-Version: 13\r\n"
                                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                       "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n"
                                       "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                                       "Origin: https://chat.example.com\r\n"
                                       "Authorization: Bearer abc\r\n"
                                       "X-Probe: a  Injected: yes\r\n"
                                       "\r\n");
    buf_reset(&out);
    offer = plain_offer();
    offer.target = "/a b\r\nc";
    assert_int_equal(upgrade_write_request(&out, &offer, key), 0);
    assert_string_equal(buf_str(&out), "GET /a%20b%0D%0Ac HTTP/1.1\r\n"
                                       "Host: server.example.com\r\n"
                                       "Upgrade: websocket\r\n"
                                       "Connection: Upgrade\r\n"
                                       "Sec-WebSocket-Version: 13\r\n"
                                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                       "\r\n");
    buf_fini(&out);
}

/* At every ceiling that is too low, nothing is left behind. */
static void test_write_ceilings(void **state)
{
    (void)state;
    struct upgrade_offer offer = plain_offer();
    offer.deflate = true;
    offer.origin = "null";
    struct upgrade_agreed agreed = { .subprotocol = "chat", .deflate = { .on = true } };
    for (size_t max = 4; max < 400; max++) {
        struct buf out = BUF_INIT(max);
        buf_append_str(&out, "kept");
        if (upgrade_write_request(&out, &offer, key) < 0)
            assert_int_equal(out.len, 4);
        else
            assert_int_equal(out.data[out.len - 1], '\n');
        out.len = 4;
        if (upgrade_write_response(&out, ACCEPT, &agreed, "permessage-deflate") < 0)
            assert_int_equal(out.len, 4);
        else
            assert_int_equal(out.data[out.len - 1], '\n');
        buf_fini(&out);
    }
}

/* --- the client's judgement ------------------------------------------------------------------------------------------ */

struct verdict {
    const char *response;
    enum reason reason;
    const char *sentence; /* "" where it passes */
};

static void assert_verdict(const struct upgrade_offer *offer, const struct verdict *verdict)
{
    struct http_reader *reader = read_head(HTTP_KIND_RESPONSE, verdict->response);
    const struct http_head *head = http_reader_head(reader);
    struct upgrade_agreed agreed;
    struct err err = { 0 };
    int rc = upgrade_validate_response(head, offer, key, &agreed, &err);
    assert_string_equal(err.text, verdict->sentence);
    assert_int_equal(err.reason, verdict->reason);
    assert_int_equal(rc, verdict->reason == REASON_NONE ? 0 : -1);
    if (rc < 0)
        assert_int_equal(err.code, head->status);
    http_reader_free(reader);
}

static void assert_verdicts(const struct upgrade_offer *offer, const struct verdict *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_verdict(offer, &all[i]);
}
#define assert_all(offer, table) assert_verdicts(offer, table, sizeof table / sizeof *(table))

static void test_good_responses(void **state)
{
    (void)state;
    struct upgrade_offer offer = plain_offer();
    static const struct verdict table[] = {
        { "HTTP/1.1 101 Switching Protocols\r\n" GOOD "\r\n", REASON_NONE, "" },
        { "HTTP/1.1 101\r\n" GOOD "\r\n", REASON_NONE, "" },
        { "HTTP/1.1 101 Ok\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, UPGRADE\r\nSEC-WEBSOCKET-ACCEPT:   " ACCEPT
          "  \r\n\r\n",
          REASON_NONE, "" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Content-Length: 10\r\n\r\n", REASON_NONE, "" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Server: x\r\nSet-Cookie: a=b\r\n\r\n", REASON_NONE, "" },
    };
    assert_all(&offer, table);
}

static void test_statuses(void **state)
{
    (void)state;
    struct upgrade_offer offer = plain_offer();
    static const struct verdict table[] = {
        { "HTTP/1.1 503 Service Unavailable\r\n\r\n", REASON_UPGRADE_REFUSED, "status 503 Service Unavailable, want 101" },
        { "HTTP/1.0 503 Service Unavailable\r\n\r\n", REASON_UPGRADE_REFUSED, "status 503 Service Unavailable, want 101" },
        { "HTTP/1.1 500\r\n\r\n", REASON_UPGRADE_REFUSED, "status 500, want 101" },
        { "HTTP/1.1 404 Not Found\r\n\r\n", REASON_UPGRADE_REFUSED, "status 404 Not Found, want 101: is the path right?" },
        { "HTTP/1.1 426 Upgrade Required\r\n\r\n", REASON_UPGRADE_REFUSED,
          "status 426 Upgrade Required, want 101: does a proxy in between drop the Upgrade header?" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", REASON_UPGRADE_REFUSED,
          "status 200 OK, want 101: something answers plain HTTP here; is the path right, and does a proxy in between pass the "
          "Upgrade header on?" },
        { "HTTP/1.1 401 Unauthorized\r\n\r\n", REASON_UPGRADE_UNAUTHORIZED, "status 401 Unauthorized, want 101" },
        { "HTTP/1.1 403 Forbidden\r\n\r\n", REASON_UPGRADE_UNAUTHORIZED, "status 403 Forbidden, want 101" },
        { "HTTP/1.1 429 Too Many Requests\r\n\r\n", REASON_RATE_LIMITED, "status 429 Too Many Requests, want 101" },
        { "HTTP/1.1 301 Moved Permanently\r\nLocation: https://other.example:8443/ws?token=secret\r\n\r\n", REASON_UPGRADE_REDIRECT,
          "status 301 Moved Permanently to https://other.example:8443, want 101" },
        { "HTTP/1.1 302 Found\r\nLocation: http://user:secret@other.example/login\r\n\r\n", REASON_UPGRADE_REDIRECT,
          "status 302 Found to other.example, want 101" },
        { "HTTP/1.1 307 Temporary Redirect\r\nLocation: /login?next=secret\r\n\r\n", REASON_UPGRADE_REDIRECT,
          "status 307 Temporary Redirect to another path, want 101" },
        { "HTTP/1.1 304 Not Modified\r\n\r\n", REASON_UPGRADE_REDIRECT, "status 304 Not Modified, want 101" },
    };
    assert_all(&offer, table);
}

static void test_invalid_switches(void **state)
{
    (void)state;
    struct upgrade_offer offer = plain_offer();
    static const struct verdict table[] = {
        { "HTTP/1.0 101 Switching Protocols\r\n" GOOD "\r\n", REASON_HTTP_MALFORMED,
          "101 in HTTP/1.0, want HTTP/1.1 (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nConnection: Upgrade\r\n\r\n", REASON_UPGRADE_INVALID,
          "101 without an Upgrade header, want websocket (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", REASON_UPGRADE_INVALID,
          "Upgrade is \"h2c\", want websocket (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", REASON_UPGRADE_INVALID,
          "Upgrade is \"websocket\" and more, want websocket (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\n\r\n", REASON_UPGRADE_INVALID,
          "101 without a Connection header, want Upgrade (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: keep-alive\r\n\r\n", REASON_UPGRADE_INVALID,
          "Connection is \"keep-alive\", want Upgrade (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgraded\r\n\r\n", REASON_UPGRADE_INVALID,
          "Connection is \"Upgraded\", want Upgrade (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", REASON_UPGRADE_BAD_ACCEPT,
          "101 without Sec-WebSocket-Accept (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: nonsense\r\n\r\n",
          REASON_UPGRADE_BAD_ACCEPT, "Sec-WebSocket-Accept is \"nonsense\", want \"" ACCEPT "\" (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
          "S3PplmbItXAq9KygZZHzrBk+XoO=\r\n\r\n",
          REASON_UPGRADE_BAD_ACCEPT,
          "Sec-WebSocket-Accept is \"S3PplmbItXAq9KygZZHzrBk+XoO=\", want \"" ACCEPT "\" (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n", REASON_UPGRADE_BAD_ACCEPT,
          "Sec-WebSocket-Accept came more than once (RFC 6455, 11.3.3)" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", REASON_UPGRADE_BAD_EXTENSION,
          "the server chose extension \"permessage-deflate\", none was offered (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Protocol: chat.v1\r\n\r\n", REASON_UPGRADE_BAD_SUBPROTOCOL,
          "server chose subprotocol \"chat.v1\", offered: none (RFC 6455, 4.1)" },
    };
    assert_all(&offer, table);
}

static void test_subprotocols(void **state)
{
    (void)state;
    struct upgrade_offer offer = plain_offer();
    offer.subprotocols[0] = "chat.v2";
    offer.subprotocols[1] = "chat.v1";
    offer.subprotocol_count = 2;
    static const struct verdict table[] = {
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Protocol: chat.v1\r\n\r\n", REASON_NONE, "" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "\r\n", REASON_UPGRADE_BAD_SUBPROTOCOL, "server chose none of chat.v2, chat.v1" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Protocol: Chat.v1\r\n\r\n", REASON_UPGRADE_BAD_SUBPROTOCOL,
          "server chose subprotocol \"Chat.v1\", offered: chat.v2, chat.v1 (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n\r\n", REASON_UPGRADE_BAD_SUBPROTOCOL,
          "server chose subprotocol \"chat.v2, chat.v1\", offered: chat.v2, chat.v1 (RFC 6455, 4.1)" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Protocol: chat.v1\r\nSec-WebSocket-Protocol: chat.v1\r\n\r\n",
          REASON_UPGRADE_BAD_SUBPROTOCOL, "Sec-WebSocket-Protocol came more than once (RFC 6455, 11.3.4)" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Protocol:\r\n\r\n", REASON_UPGRADE_BAD_SUBPROTOCOL,
          "server chose subprotocol \"\", offered: chat.v2, chat.v1 (RFC 6455, 4.1)" },
    };
    assert_all(&offer, table);

    struct http_reader *reader = read_head(HTTP_KIND_RESPONSE, table[0].response);
    struct upgrade_agreed agreed;
    struct err err;
    assert_int_equal(upgrade_validate_response(http_reader_head(reader), &offer, key, &agreed, &err), 0);
    assert_string_equal(agreed.subprotocol, "chat.v1");
    http_reader_free(reader);
}

static void test_extensions(void **state)
{
    (void)state;
    struct upgrade_offer offer = plain_offer();
    offer.deflate = offer.deflate_required = true;
    static const struct verdict table[] = {
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n\r\n", REASON_NONE,
          "" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "\r\n", REASON_UPGRADE_BAD_EXTENSION,
          "the server did not take permessage-deflate, which is required here" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: x\r\n\r\n",
          REASON_UPGRADE_BAD_EXTENSION, "Sec-WebSocket-Extensions came more than once (RFC 6455, 11.3.2)" },
        { "HTTP/1.1 101 Ok\r\n" GOOD "Sec-WebSocket-Extensions: permessage-deflate; turbo=9\r\n\r\n", REASON_UPGRADE_BAD_EXTENSION,
          "permessage-deflate: unknown parameter turbo (RFC 7692, 7.1)" },
    };
    assert_all(&offer, table);
    offer.deflate_required = false;
    static const struct verdict taken_or_not[] = {
        { "HTTP/1.1 101 Ok\r\n" GOOD "\r\n", REASON_NONE, "" },
    };
    assert_all(&offer, taken_or_not);
}

/* --- the server ------------------------------------------------------------------------------------------------------ */

#define ASK "GET /ws HTTP/1.1\r\nHost: a\r\n"
#define UP "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"

static void test_requests(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status; /* 0: taken */
    } table[] = {
        { ASK UP KEY V13 "\r\n", 0 },
        { ASK "upgrade: foo, WebSocket\r\nconnection: upgrade\r\n" KEY V13 "\r\n", 0 },
        { "POST /ws HTTP/1.1\r\nHost: a\r\n" UP KEY V13 "\r\n", 405 },
        { "GET /ws HTTP/1.0\r\nHost: a\r\n" UP KEY V13 "\r\n", 400 },
        { ASK KEY V13 "\r\n", 426 },
        { ASK "Upgrade: websocket\r\n" KEY V13 "\r\n", 426 },
        { ASK UP KEY "\r\n", 426 },
        { ASK UP KEY "Sec-WebSocket-Version: 8\r\n\r\n", 426 },
        { ASK UP V13 "\r\n", 400 },
        { ASK UP KEY KEY V13 "\r\n", 400 },
        { ASK UP "Sec-WebSocket-Key: short==\r\n" V13 "\r\n", 400 },
        { ASK UP "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ--\r\n" V13 "\r\n", 400 },
        { ASK UP KEY V13 "Sec-WebSocket-Extensions: permessage-deflate; =\r\n\r\n", 400 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct http_reader *reader = read_head(HTTP_KIND_REQUEST, table[i].request);
        char accept[WS_ACCEPT_LEN + 1], extensions[DEFLATE_ANSWER_MAX];
        struct upgrade_agreed agreed;
        struct err err = { 0 };
        int rc = upgrade_validate_request(http_reader_head(reader), true, accept, &agreed, extensions, sizeof extensions, &err);
        assert_int_equal(err.code, table[i].status);
        assert_int_equal(rc, table[i].status ? -1 : 0);
        if (rc == 0)
            assert_string_equal(accept, ACCEPT);
        http_reader_free(reader);
    }
}

/* What our client asks our server grants, and our client takes the answer. */
static void meet(struct upgrade_offer *offer, bool server_deflates, bool want_deflate, const char *want_subprotocol)
{
    struct buf wire = BUF_INIT(4096);
    char nonce[WS_KEY_LEN + 1], accept[WS_ACCEPT_LEN + 1], extensions[DEFLATE_ANSWER_MAX];
    struct upgrade_agreed server, client;
    struct err err = { 0 };
    upgrade_key(nonce);
    assert_int_equal(upgrade_write_request(&wire, offer, nonce), 0);
    struct http_reader *reader = read_head(HTTP_KIND_REQUEST, buf_str(&wire));
    assert_int_equal(
        upgrade_validate_request(http_reader_head(reader), server_deflates, accept, &server, extensions, sizeof extensions, &err),
        0);
    http_reader_free(reader);
    buf_reset(&wire);
    assert_int_equal(upgrade_write_response(&wire, accept, &server, extensions), 0);
    reader = read_head(HTTP_KIND_RESPONSE, buf_str(&wire));
    upgrade_validate_response(http_reader_head(reader), offer, nonce, &client, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(client.deflate.on, want_deflate);
    assert_memory_equal(&client.deflate, &server.deflate, sizeof client.deflate);
    assert_string_equal(client.subprotocol, want_subprotocol);
    http_reader_free(reader);
    buf_fini(&wire);
}

static void test_client_meets_server(void **state)
{
    (void)state;
    struct upgrade_offer offer = plain_offer();
    meet(&offer, true, false, "");
    offer.deflate = true;
    meet(&offer, false, false, "");
    meet(&offer, true, true, "");
    offer.subprotocols[0] = "chat.v2";
    offer.subprotocols[1] = "chat.v1";
    offer.subprotocol_count = 2;
    meet(&offer, true, true, "chat.v2");
}

/* Over HTTP/2 it is a 200, and there is no key (RFC 8441, 5); everything else is judged as over HTTP/1.1. */
static void test_http2_responses(void **state)
{
    (void)state;
    const struct {
        int status;
        struct http_header header;
        enum reason reason;
        const char *text;
    } cases[] = {
        { 200, { { 0 }, { 0 } }, REASON_NONE, "" },
        { 200, { slice_str("sec-websocket-protocol"), slice_str("chat.v1") }, REASON_NONE, "" },
        { 200, { slice_str("sec-websocket-protocol"), slice_str("other") }, REASON_UPGRADE_BAD_SUBPROTOCOL, "chose subprotocol" },
        { 200, { slice_str("sec-websocket-extensions"), slice_str("x-own") }, REASON_UPGRADE_BAD_EXTENSION, "x-own" },
        { 101, { { 0 }, { 0 } }, REASON_UPGRADE_REFUSED, "status 101, want 200" },
        { 204, { { 0 }, { 0 } }, REASON_UPGRADE_REFUSED, "status 204, want 200" },
        { 404, { { 0 }, { 0 } }, REASON_UPGRADE_REFUSED, "status 404, want 200: is the path right?" },
        { 401, { { 0 }, { 0 } }, REASON_UPGRADE_UNAUTHORIZED, "status 401, want 200" },
        { 429, { { 0 }, { 0 } }, REASON_RATE_LIMITED, "status 429, want 200" },
        { 302,
          { slice_str("location"), slice_str("/login?t=1") },
          REASON_UPGRADE_REDIRECT,
          "status 302 to another path, want 200" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_head head = { .major = 2, .status = cases[i].status, .header_count = cases[i].header.name.len > 0 };
        struct upgrade_offer offer = plain_offer();
        struct upgrade_agreed agreed;
        struct err err = { 0 };

        head.headers[0] = cases[i].header;
        offer.subprotocols[0] = "chat.v1";
        offer.subprotocol_count = cases[i].header.name.len == strlen("sec-websocket-protocol");
        int rc = upgrade_validate_response(&head, &offer, NULL, &agreed, &err);
        assert_int_equal(rc, cases[i].reason == REASON_NONE ? 0 : -1);
        if (rc == 0)
            continue;
        assert_int_equal(err.reason, cases[i].reason);
        assert_int_equal(err.code, cases[i].status);
        if (!strstr(err.text, cases[i].text))
            fail_msg("case %zu: %s", i, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_and_accept),      cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_write_request),       cmocka_unit_test(test_write_ceilings),
        cmocka_unit_test(test_good_responses),      cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_invalid_switches),    cmocka_unit_test(test_subprotocols),
        cmocka_unit_test(test_extensions),          cmocka_unit_test(test_requests),
        cmocka_unit_test(test_client_meets_server), cmocka_unit_test(test_http2_responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
