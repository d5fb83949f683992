/*
 * Builds what the opening handshake asks for, out of the target's configuration. Called by agent/client/conn.c for each connection, so
 * that a rotated token is used from the next connection on. Owns the strings it makes.
 */
#include "agent/client/conn_offer.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/version.h"

enum { VALUE_MAX = 16384 };

static char *offer_own(struct conn_offer *out, char *text)
{
    panic_if(out->owned_count >= sizeof out->owned / sizeof out->owned[0]);
    out->owned[out->owned_count++] = text;
    return text;
}

char *conn_header_value(const char *what, const char *value, struct err *err)
{
    struct buf text = BUF_INIT(VALUE_MAX);
    char *copy = NULL;

    if (opt_expand(value, &text, err) == 0) {
        if (memchr(text.data ? (const void *)text.data : "", '\n', text.len) || (text.len && strlen(buf_str(&text)) != text.len) ||
            strchr(buf_str(&text), '\r'))
            err_set(err, REASON_AGENT_ERROR, 0, "holds a line break or a NUL byte");
        else
            copy = mem_strdup(buf_str(&text));
    }
    if (!copy) {
        err_prefix(err, "%s", what);
        err->reason = REASON_AGENT_ERROR;
    }
    buf_wipe(&text);
    return copy;
}

static char *offer_value(struct conn_offer *out, const char *what, const char *value, struct err *err)
{
    char *copy = conn_header_value(what, value, err);

    return copy ? offer_own(out, copy) : NULL;
}

static int offer_add_header(struct conn_offer *out, const char *name, const char *value, struct err *err)
{
    if (out->offer.header_count >= CONN_HEADERS_MAX)
        return err_set(err, REASON_AGENT_ERROR, 0, "target.headers: more than %d", CONN_HEADERS_MAX);
    out->headers[out->offer.header_count++] = (struct upgrade_header){ name, value };
    return 0;
}

/* Percent-encodes for a query component: everything but RFC 3986's unreserved characters. */
static char *query_encode(const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *encoded = mem_alloc(strlen(text) * 3 + 1), *at = encoded;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    return encoded;
}

/* Takes the parameters of that name out of the path's query: the URL may have a token of its own. */
static const char *without_parameter(struct conn_offer *out, const char *target, const char *name)
{
    size_t len = strlen(name), kept = 0;
    const char *at = strchr(target, '?');
    char *text;

    if (!at)
        return target;
    text = offer_own(out, mem_strdup(target));
    kept = (size_t)(at - target);
    for (char mark = '?'; at; at = strchr(at, '&')) {
        size_t part = strcspn(++at, "&");

        if (strncmp(at, name, len) == 0 && (at[len] == '=' || len == part))
            continue;
        text[kept++] = mark;
        memcpy(text + kept, at, part);
        kept += part;
        mark = '&';
    }
    text[kept] = 0;
    return text;
}

static int put_token(struct conn_offer *out, const struct target_conf *target, char *token, struct err *err)
{
    char *encoded;

    switch (target->token_place) {
    case TOKEN_HEADER:
        return offer_add_header(out, "Authorization", offer_own(out, mem_printf("Bearer %s", token)), err);
    case TOKEN_COOKIE:
        return offer_add_header(out, "Cookie", offer_own(out, mem_printf("%s=%s", target->token_name, token)), err);
    case TOKEN_QUERY:
        encoded = query_encode(token);
        out->offer.target = offer_own(out, mem_printf("%s%c%s=%s", out->offer.target, strchr(out->offer.target, '?') ? '&' : '?',
                                                      target->token_name, encoded));
        mem_free_secret(encoded);
        return 0;
    case TOKEN_SUBPROTOCOL:
        if (out->offer.subprotocol_count >= WS_OFFERS_MAX)
            return err_set(err, REASON_AGENT_ERROR, 0, "target.subprotocols: more than %d with the token", WS_OFFERS_MAX);
        out->offer.subprotocols[out->offer.subprotocol_count++] = token;
        return 0;
    case TOKEN_MESSAGE: /* the dialect's connect carries it */
        return 0;
    }
    return 0;
}

static int offer_token(struct conn_offer *out, const struct target_conf *target, const struct conn_override *override,
                       struct err *err)
{
    bool sets = override && override->sets_token;
    char *token;

    if (sets && target->token_place == TOKEN_QUERY)
        out->offer.target = without_parameter(out, out->offer.target, target->token_name);
    if (!(sets ? override->token : target->token) || target->token_place == TOKEN_MESSAGE)
        return 0;
    token = sets ? offer_own(out, mem_strdup(override->token)) : offer_value(out, "target.token", target->token, err);
    return token ? put_token(out, target, token, err) : -1;
}

/* What is sent unless the configuration has it: who asks, and the user and password of the URL as curl and browsers send them. */
static int offer_own_headers(struct conn_offer *out, const struct target_conf *target, const struct url *url, bool basic_too,
                             struct err *err)
{
    char basic[URL_BASIC_MAX];

    if (!opt_pairs_get(&target->headers, "User-Agent") &&
        offer_add_header(out, "User-Agent", "wshealthd/" WSHEALTHD_VERSION, err) < 0)
        return -1;
    if (!basic_too || !url_basic(url, basic))
        return 0;
    const char *value = offer_own(out, mem_strdup(basic));
    explicit_bzero(basic, sizeof basic);
    return offer_add_header(out, "Authorization", value, err);
}

/* Does the override take the place of what is configured there? */
static bool gives_way(const char *name, const struct target_conf *target, const struct conn_override *override)
{
    if (override->sets_origin && strcasecmp(name, "Origin") == 0)
        return true;
    if (!override->sets_token)
        return false;
    return strcasecmp(name, "Authorization") == 0 && target->token_place == TOKEN_HEADER;
}

static int offer_headers(struct conn_offer *out, const struct target_conf *target, const struct conn_override *override,
                         struct err *err)
{
    for (size_t i = 0; i < target->headers.count; i++) {
        const struct opt_pair *pair = &target->headers.items[i];
        const char *value;

        if (override && gives_way(pair->name, target, override))
            continue;
        value = opt_is_dynamic(pair->value) ? offer_value(out, "target.headers", pair->value, err) : pair->value;
        if (!value)
            return -1;
        if (strcasecmp(pair->name, "Host") == 0)
            out->offer.host = value;
        else if (offer_add_header(out, pair->name, value, err) < 0)
            return -1;
    }
    return 0;
}

int conn_offer_init(struct conn_offer *out, const struct target_conf *target, const struct conn_override *override,
                    const struct url *url, bool deflate, struct err *err)
{
    struct upgrade_offer *offer = &out->offer;
    bool basic_too = !(override && override->sets_token && target->token_place == TOKEN_HEADER);

    memset(out, 0, sizeof *out);
    offer->host = url->authority;
    offer->target = url->target;
    offer->origin = override && override->sets_origin ? override->origin : target->origin;
    offer->deflate = deflate && target->compression != COMPRESSION_OFF;
    offer->deflate_required = target->compression == COMPRESSION_REQUIRED;
    offer->headers = out->headers;
    const struct opt_strings *offers = target->offers ? target->offers : &target->subprotocols;
    for (size_t i = 0; i < offers->count && i < WS_OFFERS_MAX; i++)
        offer->subprotocols[offer->subprotocol_count++] = offers->items[i];
    if (offer_headers(out, target, override, err) == 0 && offer_own_headers(out, target, url, basic_too, err) == 0 &&
        offer_token(out, target, override, err) == 0)
        return 0;
    conn_offer_fini(out);
    return -1;
}

void conn_offer_fini(struct conn_offer *out)
{
    for (size_t i = 0; i < out->owned_count; i++)
        mem_free_secret(out->owned[i]);
    out->owned_count = 0;
}
