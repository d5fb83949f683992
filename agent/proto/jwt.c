/*
 * Reads a token's own times and writes new tokens (agent/proto/jwt.h). Called by the engine when a token is refused: one past its exp is the
 * agent's own fault; and by the auth check, which makes tokens. Keeps nothing.
 */
#include "agent/proto/jwt.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/base64.h"

enum { PAYLOAD_MAX = 8192 };

/* From the alphabet of URLs to the usual one, with its padding. */
static bool unurl(struct slice in, struct buf *out)
{
    for (size_t i = 0; i < in.len; i++) {
        char c = (char)in.data[i];

        buf_append_char(out, c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (out->len % 4)
        buf_append_char(out, '=');
    return in.len % 4 != 1;
}

static bool payload_of(struct slice token, struct slice *payload)
{
    size_t first = 0, second;

    while (first < token.len && token.data[first] != '.')
        first++;
    second = first + 1;
    while (second < token.len && token.data[second] != '.')
        second++;
    if (second >= token.len || second - first - 1 > PAYLOAD_MAX)
        return false;
    *payload = slice_make(token.data + first + 1, second - first - 1);
    return true;
}

static int64_t seconds(const json_t *root, const char *name)
{
    const json_t *value = json_object_get(root, name);
    double number = json_is_number(value) ? json_number_value(value) : 0;

    return number > 0 && number < 1e15 ? (int64_t)number : 0;
}

bool jwt_times_of(struct slice token, struct jwt_times *times)
{
    struct buf text = BUF_INIT(PAYLOAD_MAX + 8), json = BUF_INIT(PAYLOAD_MAX + 8);
    struct slice payload;
    json_t *root = NULL;
    bool found;

    if (payload_of(token, &payload) && unurl(payload, &text) && base64_decode(buf_slice(&text), &json) == 0)
        root = json_loadb((const char *)buf_slice(&json).data, json.len, 0, NULL);
    found = json_is_object(root);
    *times = (struct jwt_times){ 0 };
    if (found)
        *times = (struct jwt_times){ seconds(root, "exp"), seconds(root, "nbf"), seconds(root, "iat") };
    json_decref(root);
    buf_fini(&text);
    buf_fini(&json);
    return found;
}

bool jwt_exp(struct slice token, int64_t *exp_s)
{
    struct jwt_times times;

    if (!jwt_times_of(token, &times) || !times.exp_s)
        return false;
    *exp_s = times.exp_s;
    return true;
}

/* --- a new one --- */

int jwt_base64url(struct slice in, struct buf *out)
{
    char *text = mem_alloc(BASE64_LEN(in.len) + 1);
    int rc;

    base64_encode(in, text);
    text[strcspn(text, "=")] = 0;
    for (char *at = text; *at; at++)
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
    rc = buf_append_str(out, text);
    mem_free_secret(text);
    return rc;
}

static int append_json(const json_t *value, struct buf *out)
{
    char *text = json_dumps(value, JSON_COMPACT);
    int rc = text ? jwt_base64url(slice_str(text), out) : -1;

    free(text);
    return rc;
}

static json_t *header_of(const struct jwt_claims *claims)
{
    json_t *header = json_pack("{s:s, s:s}", "alg", claims->alg, "typ", "JWT");

    if (claims->kid)
        json_object_set_new(header, "kid", json_string(claims->kid));
    return header;
}

/* NULL: it is no object. */
static json_t *payload_from(const struct jwt_claims *claims)
{
    json_t *payload = json_loads(claims->json ? claims->json : "{}", 0, NULL);

    if (!json_is_object(payload)) {
        json_decref(payload);
        return NULL;
    }
    if (!json_object_get(payload, "iat"))
        json_object_set_new(payload, "iat", json_integer(claims->iat_s));
    json_object_set_new(payload, "exp", json_integer(claims->exp_s));
    if (claims->audience)
        json_object_set_new(payload, "aud", json_string(claims->audience));
    return payload;
}

int jwt_compose(const struct jwt_claims *claims, struct buf *out, struct err *err)
{
    json_t *header = header_of(claims), *payload = payload_from(claims);
    int rc;

    if (!payload)
        rc = err_set(err, REASON_AGENT_ERROR, 0, "claims: want a mapping of claims, such as { sub: probe }");
    else if (append_json(header, out) < 0 || buf_append_char(out, '.') < 0 || append_json(payload, out) < 0)
        rc = err_set(err, REASON_AGENT_ERROR, 0, "claims: the token is longer than %zu bytes", out->max);
    else
        rc = 0;
    json_decref(header);
    json_decref(payload);
    return rc;
}
