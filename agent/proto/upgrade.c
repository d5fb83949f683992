/*
 * The opening handshake of RFC 6455, 4, as text: the client's request and its judgement of the response, the server's judgement and its
 * response. Called by the engine's connections and by the demo's server. It promises to judge every header that the RFC has a rule for,
 * in a fixed order, with the rule's section in the sentence. Reading HTTP is http1.c, extensions are deflate_offer.c.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* why: see sha1() */
#include "agent/proto/upgrade.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/proto/base64.h"
#include "agent/proto/words.h"

enum { KEY_BYTES = 16, SHOWN_CHARS = 60, SHOWN_MAX = TEXT_EXCERPT_BYTES(SHOWN_CHARS) };

/* The plain SHA-1 of OpenSSL and not EVP or SHA1(): these load the configuration and the providers first, 1 ms and 2 MiB at first use. */
static void sha1(struct slice first, const char *second, uint8_t digest[SHA_DIGEST_LENGTH])
{
    SHA_CTX sha;
    SHA1_Init(&sha);
    SHA1_Update(&sha, first.data, first.len);
    SHA1_Update(&sha, second, strlen(second));
    SHA1_Final(digest, &sha);
}

void upgrade_key(char key[WS_KEY_LEN + 1])
{
    uint8_t bytes[KEY_BYTES];
    random_bytes(bytes, sizeof bytes);
    base64_encode(slice_of(bytes), key);
}

static void accept_of(struct slice key, char accept[WS_ACCEPT_LEN + 1])
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    sha1(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", digest);
    base64_encode(slice_of(digest), accept);
}

void upgrade_accept(const char *key, char accept[WS_ACCEPT_LEN + 1])
{
    accept_of(slice_str(key), accept);
}

bool upgrade_header_reserved(const char *name)
{
    static const char *const reserved[] = { "Upgrade", "Connection", "Content-Length", "Transfer-Encoding" };
    static const char prefix[] = "Sec-WebSocket-";
    struct slice given = slice_str(name);

    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (slice_equal_nocase(given, reserved[i]))
            return true;
    if (given.len < sizeof prefix - 1)
        return false;
    given.len = sizeof prefix - 1;
    return slice_equal_nocase(given, prefix);
}

/* --- writing --------------------------------------------------------------------------------------------------------- */

/* A value from a configuration or a token file; what could end the line becomes a blank (RFC 9110, 5.5). */
static int append_value(struct buf *out, const char *value)
{
    size_t start = out->len;
    if (buf_append_str(out, value) < 0)
        return -1;
    for (size_t i = start; i < out->len; i++)
        if (out->data[i] < ' ' && out->data[i] != '\t')
            out->data[i] = ' ';
    return 0;
}

static int append_header(struct buf *out, const char *name, const char *value)
{
    return buf_append_str(out, name) < 0 || buf_append_str(out, ": ") < 0 || append_value(out, value) < 0 ||
                   buf_append_str(out, "\r\n") < 0
               ? -1
               : 0;
}

/* Appends the target. A blank or a control character would end it, and is percent-encoded. */
int upgrade_write_target(struct buf *out, const char *target)
{
    for (const char *at = target; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if ((c <= ' ' || c == 0x7f ? buf_printf(out, "%%%02X", c) : buf_append_char(out, *at)) < 0)
            return -1;
    }
    return 0;
}

static int append_subprotocols(struct buf *out, const struct upgrade_offer *offer)
{
    for (size_t i = 0; i < offer->subprotocol_count; i++)
        if (buf_append_str(out, i ? ", " : "Sec-WebSocket-Protocol: ") < 0 || append_value(out, offer->subprotocols[i]) < 0)
            return -1;
    return offer->subprotocol_count ? buf_append_str(out, "\r\n") : 0;
}

static int append_request(struct buf *out, const struct upgrade_offer *offer, const char *key)
{
    char extensions[64];
    if (buf_append_str(out, "GET ") < 0 || upgrade_write_target(out, offer->target) < 0 ||
        buf_append_str(out, " HTTP/1.1\r\n") < 0 || append_header(out, "Host", offer->host) < 0 ||
        buf_append_str(out, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n") < 0 ||
        append_header(out, "Sec-WebSocket-Key", key) < 0 || append_subprotocols(out, offer) < 0)
        return -1;
    deflate_offer(extensions, sizeof extensions);
    if (offer->deflate && append_header(out, "Sec-WebSocket-Extensions", extensions) < 0)
        return -1;
    if (offer->origin && append_header(out, "Origin", offer->origin) < 0)
        return -1;
    for (size_t i = 0; i < offer->header_count; i++)
        if (append_header(out, offer->headers[i].name, offer->headers[i].value) < 0)
            return -1;
    return buf_append_str(out, "\r\n");
}

int upgrade_write_request(struct buf *out, const struct upgrade_offer *offer, const char *key)
{
    size_t before = out->len;
    int rc = append_request(out, offer, key);
    if (rc < 0)
        out->len = before;
    return rc;
}

static int append_response(struct buf *out, const char *accept, const struct upgrade_agreed *agreed, const char *extensions)
{
    if (buf_append_str(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n") < 0 ||
        append_header(out, "Sec-WebSocket-Accept", accept) < 0)
        return -1;
    if (*agreed->subprotocol && append_header(out, "Sec-WebSocket-Protocol", agreed->subprotocol) < 0)
        return -1;
    if (agreed->deflate.on && append_header(out, "Sec-WebSocket-Extensions", extensions) < 0)
        return -1;
    return buf_append_str(out, "\r\n");
}

int upgrade_write_response(struct buf *out, const char *accept, const struct upgrade_agreed *agreed, const char *extensions)
{
    size_t before = out->len;
    int rc = append_response(out, accept, agreed, extensions);
    if (rc < 0)
        out->len = before;
    return rc;
}

/* --- the client's judgement ------------------------------------------------------------------------------------------ */

static const char *show_value(struct slice value, char out[SHOWN_MAX])
{
    text_excerpt(value, SHOWN_CHARS, out, SHOWN_MAX);
    return out;
}

/* Scheme and host of a Location: where to is worth knowing, what its path and query hold may be a secret. */
static struct slice location_host(struct slice location)
{
    ptrdiff_t authority = slice_find(location, slice_make("://", 3));
    size_t end = authority < 0 ? 0 : (size_t)authority + 3, user = end;
    if (authority < 0)
        return slice_make(NULL, 0);
    for (; end < location.len && !strchr("/?#", location.data[end]); end++)
        if (location.data[end] == '@')
            user = end + 1;
    if (user != (size_t)authority + 3)
        return slice_make(location.data + user, end - user);
    return slice_make(location.data, end);
}

/* Over HTTP/2 there is no Upgrade header, and a 200 is what is wanted (RFC 8441, 5). */
static int status_wanted(const struct http_head *head)
{
    return head->major == 2 ? 200 : 101;
}

static const char *status_hint(const struct http_head *head)
{
    if (head->major == 2)
        return head->status == 400 || head->status == 404 ? ": is the path right?" : "";
    switch (head->status) {
    case 200:
        return ": something answers plain HTTP here; is the path right, and does a proxy in between pass the Upgrade header on?";
    case 400:
        return ": is the path right, and does a proxy in between pass the Upgrade header on?";
    case 426:
        return ": does a proxy in between drop the Upgrade header?";
    case 404:
        return ": is the path right?";
    default:
        return "";
    }
}

static int judge_status(const struct http_head *head, struct err *err)
{
    char reason[SHOWN_MAX], where[SHOWN_MAX] = "";
    const struct slice *location = http_header_get(head, "Location");
    int status = head->status, want = status_wanted(head);
    const char *gap = head->reason.len ? " " : "";

    if (status == want)
        return 0;
    show_value(head->reason, reason);
    if (status >= 300 && status <= 399) {
        struct slice host = location ? location_host(*location) : slice_make(NULL, 0);
        const char *to = host.len ? " to " : location ? " to another path" : "";
        return err_set(err, REASON_UPGRADE_REDIRECT, status, "status %d%s%s%s%s, want %d", status, gap, reason, to,
                       show_value(host, where), want);
    }
    if (status == 401 || status == 403)
        return err_set(err, REASON_UPGRADE_UNAUTHORIZED, status, "status %d%s%s, want %d", status, gap, reason, want);
    if (status == 429)
        return err_set(err, REASON_RATE_LIMITED, status, "status %d%s%s, want %d", status, gap, reason, want);
    return err_set(err, REASON_UPGRADE_REFUSED, status, "status %d%s%s, want %d%s", status, gap, reason, want, status_hint(head));
}

/* The option that mends it, where the status or the words tell which. NULL: they do not. */
static const char *refusal_advice(const struct http_head *head, struct slice body, const struct upgrade_offer *offer,
                                  bool hides_origin)
{
    const int status = head->status;

    if (head->major == 1 &&
        (status == 505 || status == 464 || words_mention(body, "HTTP/2") || words_mention(body, "ALPN protocol")))
        return "the server takes HTTP/2 only: let it take HTTP/1.1 as well, or set target.http: 2 if it speaks RFC 8441";
    if ((status == 403 || status == 400) && words_mention(body, "origin"))
        return "set target.origin to one that it allows";
    if (hides_origin && status == 404)
        return "a missing or foreign Origin gets this answer as well: set target.origin to one that it allows";
    if (offer->deflate && status < 500 &&
        (words_mention(body, "permessage-deflate") || words_mention(body, "max_window_bits") || words_mention(body, "extension")))
        return "it refuses the offer of permessage-deflate: set target.compression: off";
    return NULL;
}

void upgrade_explain(const struct http_head *head, struct slice body, const struct upgrade_offer *offer, bool hides_origin,
                     struct err *err)
{
    char words[WORDS_BYTES], reason[SHOWN_MAX];
    const char *advice = refusal_advice(head, body, offer, hides_origin);

    words_of_response(head, body, words);
    if (!*words && !advice)
        return;
    show_value(head->reason, reason);
    err_set(err, err->reason, err->code, "status %d%s%s, want %d%s%s%s%s%s", head->status, *reason ? " " : "", reason,
            status_wanted(head), *words ? ": \"" : "", words, *words ? "\"" : "",
            advice               ? "; "
            : head->status < 300 ? status_hint(head)
                                 : "",
            advice ? advice : "");
}

bool upgrade_is_http2(struct slice bytes)
{
    enum { HEADER = 9, SETTINGS = 4, GOAWAY = 7 };

    /* Length, type, flags and stream 0. A settings frame is a row of six bytes each. */
    if (bytes.len < HEADER || bytes.data[0] || bytes.data[5] || bytes.data[6] || bytes.data[7] || bytes.data[8])
        return false;
    return (bytes.data[3] == SETTINGS && (bytes.data[1] << 8 | bytes.data[2]) % 6 == 0) || bytes.data[3] == GOAWAY;
}

static int judge_switch(const struct http_head *head, struct err *err)
{
    char text[SHOWN_MAX];
    const struct slice *upgrade = http_header_get(head, "Upgrade"), *connection = http_header_get(head, "Connection");

    if (head->major != 1 || head->minor < 1)
        return err_set(err, REASON_HTTP_MALFORMED, 101, "101 in HTTP/%d.%d, want HTTP/1.1 (RFC 6455, 4.1)", head->major,
                       head->minor);
    if (!upgrade)
        return err_set(err, REASON_UPGRADE_INVALID, 101, "101 without an Upgrade header, want websocket (RFC 6455, 4.1)");
    if (!slice_equal_nocase(*upgrade, "websocket") || http_header_nth(head, "Upgrade", 1))
        return err_set(err, REASON_UPGRADE_INVALID, 101, "Upgrade is \"%s\"%s, want websocket (RFC 6455, 4.1)",
                       show_value(*upgrade, text), http_header_nth(head, "Upgrade", 1) ? " and more" : "");
    if (!connection)
        return err_set(err, REASON_UPGRADE_INVALID, 101, "101 without a Connection header, want Upgrade (RFC 6455, 4.1)");
    if (!http_header_has_token(head, "Connection", "Upgrade"))
        return err_set(err, REASON_UPGRADE_INVALID, 101, "Connection is \"%s\", want Upgrade (RFC 6455, 4.1)",
                       show_value(*connection, text));
    return 0;
}

static int judge_accept(const struct http_head *head, const char *key, struct err *err)
{
    char want[WS_ACCEPT_LEN + 1], text[SHOWN_MAX];
    const struct slice *accept = http_header_get(head, "Sec-WebSocket-Accept");

    if (!accept)
        return err_set(err, REASON_UPGRADE_BAD_ACCEPT, 101, "101 without Sec-WebSocket-Accept (RFC 6455, 4.1)");
    if (http_header_nth(head, "Sec-WebSocket-Accept", 1))
        return err_set(err, REASON_UPGRADE_BAD_ACCEPT, 101, "Sec-WebSocket-Accept came more than once (RFC 6455, 11.3.3)");
    upgrade_accept(key, want);
    if (!slice_equal_str(*accept, want))
        return err_set(err, REASON_UPGRADE_BAD_ACCEPT, 101, "Sec-WebSocket-Accept is \"%s\", want \"%s\" (RFC 6455, 4.1)",
                       show_value(*accept, text), want);
    return 0;
}

static int judge_extensions(const struct http_head *head, const struct upgrade_offer *offer, struct deflate_params *params,
                            struct err *err)
{
    char text[SHOWN_MAX];
    const struct slice *value = http_header_get(head, "Sec-WebSocket-Extensions");
    int rc = 0;

    if (!value && offer->deflate_required)
        return err_set(err, REASON_UPGRADE_BAD_EXTENSION, head->status,
                       "the server did not take permessage-deflate, which is required here");
    if (!value)
        return 0;
    if (http_header_nth(head, "Sec-WebSocket-Extensions", 1))
        return err_set(err, REASON_UPGRADE_BAD_EXTENSION, head->status,
                       "Sec-WebSocket-Extensions came more than once (RFC 6455, 11.3.2)");
    if (!offer->deflate)
        return err_set(err, REASON_UPGRADE_BAD_EXTENSION, head->status,
                       "the server chose extension \"%s\", none was offered (RFC 6455, 4.1)", show_value(*value, text));
    rc = deflate_accept_response(*value, params, err);
    if (rc < 0 && err)
        err->code = head->status;
    return rc;
}

static void list_subprotocols(const struct upgrade_offer *offer, char *out, size_t size)
{
    size_t len = 0;
    *out = '\0';
    for (size_t i = 0; i < offer->subprotocol_count && len < size; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "", offer->subprotocols[i]);
}

/* RFC 6455 lets a server choose none; here that is a fault: what was configured is what the real clients need. */
static int judge_subprotocol(const struct http_head *head, const struct upgrade_offer *offer, char chosen[WS_SUBPROTOCOL_MAX],
                             struct err *err)
{
    char text[SHOWN_MAX], offered[200];
    const struct slice *value = http_header_get(head, "Sec-WebSocket-Protocol");

    list_subprotocols(offer, offered, sizeof offered);
    if (!value && offer->subprotocol_count)
        return err_set(err, REASON_UPGRADE_BAD_SUBPROTOCOL, head->status, "server chose none of %s", offered);
    if (!value)
        return 0;
    if (http_header_nth(head, "Sec-WebSocket-Protocol", 1))
        return err_set(err, REASON_UPGRADE_BAD_SUBPROTOCOL, head->status,
                       "Sec-WebSocket-Protocol came more than once (RFC 6455, 11.3.4)");
    for (size_t i = 0; i < offer->subprotocol_count; i++) {
        if (!slice_equal_str(*value, offer->subprotocols[i]))
            continue;
        snprintf(chosen, WS_SUBPROTOCOL_MAX, "%s", offer->subprotocols[i]);
        return 0;
    }
    return err_set(err, REASON_UPGRADE_BAD_SUBPROTOCOL, head->status,
                   "server chose subprotocol \"%s\", offered: %s (RFC 6455, 4.1)", show_value(*value, text),
                   *offered ? offered : "none");
}

/* Not an error: browsers and proxies ignore these headers, so refusing the response would take a server away from users that are
 * well. */
static const char *remark_on(const struct http_head *head)
{
    if (http_header_get(head, "Content-Length"))
        return "a 101 with Content-Length, which no 1xx response may have (RFC 9110, 8.6)";
    if (http_header_get(head, "Transfer-Encoding"))
        return "a 101 with Transfer-Encoding, which no 1xx response may have (RFC 9112, 6.1)";
    return NULL;
}

int upgrade_validate_response(const struct http_head *head, const struct upgrade_offer *offer, const char *key,
                              struct upgrade_agreed *agreed, struct err *err)
{
    bool http2 = head->major == 2;

    memset(agreed, 0, sizeof *agreed);
    if (judge_status(head, err) < 0 || (!http2 && (judge_switch(head, err) < 0 || judge_accept(head, key, err) < 0)) ||
        judge_extensions(head, offer, &agreed->deflate, err) < 0)
        return -1;
    agreed->remark = http2 ? NULL : remark_on(head);
    return judge_subprotocol(head, offer, agreed->subprotocol, err);
}

/* --- the server's judgement ------------------------------------------------------------------------------------------ */

static int judge_request(const struct http_head *head, struct err *err)
{
    const struct slice *version = http_header_get(head, "Sec-WebSocket-Version");

    if (!slice_equal_str(head->method, "GET"))
        return err_set(err, REASON_NONE, 405, "method is not GET (RFC 6455, 4.1)");
    if (head->major != 1 || head->minor < 1)
        return err_set(err, REASON_NONE, 400, "HTTP/%d.%d, want HTTP/1.1 (RFC 6455, 4.1)", head->major, head->minor);
    if (!http_header_get(head, "Host") || http_header_nth(head, "Host", 1))
        return err_set(err, REASON_NONE, 400, "want one Host header (RFC 6455, 4.1)");
    if (!http_header_has_token(head, "Upgrade", "websocket") || !http_header_has_token(head, "Connection", "Upgrade"))
        return err_set(err, REASON_NONE, 426, "want Upgrade: websocket and Connection: Upgrade (RFC 6455, 4.1)");
    if (!version || !slice_equal_str(*version, "13") || http_header_nth(head, "Sec-WebSocket-Version", 1))
        return err_set(err, REASON_NONE, 426, "want Sec-WebSocket-Version: 13 (RFC 6455, 4.1)");
    return 0;
}

static int judge_key(const struct http_head *head, char accept[WS_ACCEPT_LEN + 1], struct err *err)
{
    struct buf decoded = BUF_INIT(WS_KEY_LEN);
    const struct slice *key = http_header_get(head, "Sec-WebSocket-Key");
    bool right = key && key->len == WS_KEY_LEN && !http_header_nth(head, "Sec-WebSocket-Key", 1) &&
                 base64_decode(*key, &decoded) == 0 && decoded.len == KEY_BYTES;

    buf_fini(&decoded);
    if (!right)
        return err_set(err, REASON_NONE, 400, "want one Sec-WebSocket-Key of 16 bytes in base64 (RFC 6455, 4.1)");
    accept_of(*key, accept);
    return 0;
}

/* Takes the first subprotocol that the client names: our servers (the demo, tests) accept any. */
static void choose_subprotocol(const struct http_head *head, char chosen[WS_SUBPROTOCOL_MAX])
{
    const struct slice *value = http_header_get(head, "Sec-WebSocket-Protocol");
    struct slice first = value ? *value : slice_make(NULL, 0);
    const uint8_t *comma = first.len ? memchr(first.data, ',', first.len) : NULL;

    if (comma)
        first.len = (size_t)(comma - first.data);
    first = slice_trim(first);
    if (first.len && first.len < WS_SUBPROTOCOL_MAX)
        memcpy(chosen, first.data, first.len);
}

int upgrade_validate_request(const struct http_head *head, bool offer_deflate, char accept[WS_ACCEPT_LEN + 1],
                             struct upgrade_agreed *agreed, char *extensions, size_t extensions_size, struct err *err)
{
    const struct slice *value;

    memset(agreed, 0, sizeof *agreed);
    *extensions = '\0';
    if (judge_request(head, err) < 0 || judge_key(head, accept, err) < 0)
        return -1;
    for (size_t i = 0; offer_deflate && !agreed->deflate.on; i++) {
        if (!(value = http_header_nth(head, "Sec-WebSocket-Extensions", i)))
            break;
        if (deflate_answer_offer(*value, &agreed->deflate, extensions, extensions_size) < 0)
            return err_set(err, REASON_NONE, 400, "Sec-WebSocket-Extensions is not a list of extensions (RFC 6455, 9.1)");
    }
    choose_subprotocol(head, agreed->subprotocol);
    return 0;
}
