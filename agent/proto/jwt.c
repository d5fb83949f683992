/*
 * Reads a token's own `exp` (agent/proto/jwt.h). Called by the engine when a token is refused: one past its exp is the agent's own fault.
 */
#include "agent/proto/jwt.h"

#include <jansson.h>

#include "agent/base/buf.h"
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

bool jwt_exp(struct slice token, int64_t *exp_s)
{
    struct buf text = BUF_INIT(PAYLOAD_MAX + 8), json = BUF_INIT(PAYLOAD_MAX + 8);
    struct slice payload;
    json_t *root = NULL, *exp = NULL;
    bool found = false;

    if (payload_of(token, &payload) && unurl(payload, &text) && base64_decode(buf_slice(&text), &json) == 0) {
        root = json_loadb((const char *)buf_slice(&json).data, json.len, 0, NULL);
        exp = root ? json_object_get(root, "exp") : NULL;
    }
    if (exp && json_is_number(exp) && json_number_value(exp) > 0 && json_number_value(exp) < 1e15) {
        *exp_s = (int64_t)json_number_value(exp);
        found = true;
    }
    json_decref(root);
    buf_fini(&text);
    buf_fini(&json);
    return found;
}
