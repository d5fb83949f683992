/*
 * The functions of templates: {{base64 (sha256 token salt)}}. Called by agent/proto/template.c for each hole that is one. An expression is
 * read and evaluated in one pass, by recursion of bounded depth; every part of it has the ceiling of the text. What was made of a secret is
 * wiped, and told to whoever registers it.
 */
#include <ctype.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/base64.h"
#include "agent/proto/digest.h"
#include "agent/proto/json_out.h"
#include "agent/proto/template_impl.h"

enum { DEPTH_MAX = 8 };

enum function {
    FUNCTION_SHA256,
    FUNCTION_SHA384,
    FUNCTION_SHA512,
    FUNCTION_HMAC_SHA256,
    FUNCTION_HMAC_SHA384,
    FUNCTION_HMAC_SHA512,
    FUNCTION_UNBASE64,
    FUNCTION_BYTES,
    FUNCTION_HEX,
    FUNCTION_BASE64,
    FUNCTION_BASE64URL,
    FUNCTION_CONCAT,
    FUNCTION_UPPER,
    FUNCTION_LOWER,
    FUNCTION_JSON,
    FUNCTIONS
};
static const char *const function_names[FUNCTIONS] = { "sha256",      "sha384",   "sha512", "hmac_sha256", "hmac_sha384",
                                                       "hmac_sha512", "unbase64", "bytes",  "hex",         "base64",
                                                       "base64url",   "concat",   "upper",  "lower",       "json" };

/* What a value may be put into. */
enum kind { KIND_TEXT, KIND_BYTES, KIND_RAW /* bytes that somebody wants as they are, or JSON */ };

struct call {
    struct slice text;
    size_t pos, at; /* in the text; of the hole, for errors */
    int depth;
    bool evaluates, secret;
    const struct template_vars *vars;
    struct err *err;
};

static int function_index(struct slice name)
{
    for (int i = 0; i < FUNCTIONS; i++)
        if (slice_equal_str(name, function_names[i]))
            return i;
    return -1;
}

bool template_is_function(struct slice name)
{
    return function_index(name) >= 0;
}

static bool is_name_char(uint8_t c)
{
    return isalnum(c) || c == '_' || c == '-' || c == '.';
}

bool template_is_call(struct slice text)
{
    text = slice_trim(text);
    for (size_t i = 0; i < text.len; i++)
        if (strchr(" ('\"", text.data[i]) && text.data[i])
            return true;
    return template_is_function(text);
}

ptrdiff_t template_find_end(struct slice text)
{
    uint8_t quote = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '\'' || c == '"')
            quote = c;
        else if (c == '}' && i + 1 < text.len && text.data[i + 1] == '}')
            return (ptrdiff_t)i;
    }
    return slice_find(text, slice_str("}}")); /* a quote that does not end: the error is about that */
}

/* --- the words of an expression --- */

static void skip_blanks(struct call *call)
{
    while (call->pos < call->text.len && call->text.data[call->pos] == ' ')
        call->pos++;
}

static uint8_t next_char(const struct call *call)
{
    return call->pos < call->text.len ? call->text.data[call->pos] : 0;
}

static struct slice read_name(struct call *call)
{
    struct slice name = slice_skip(call->text, call->pos);
    size_t len = 0;
    while (len < name.len && is_name_char(name.data[len]))
        len++;
    call->pos += len;
    return slice_make(name.data, len);
}

static int refuse(const struct call *call, const char *what)
{
    char shown[TEXT_EXCERPT_BYTES(TEMPLATE_NAME_CHARS)];
    text_excerpt(call->text, TEMPLATE_NAME_CHARS, shown, sizeof shown);
    return err_set(call->err, REASON_NONE, 0, "{{%s}} at offset %zu %s", shown, call->at, what);
}

static int too_long(const struct call *call, const struct buf *out)
{
    return err_set(call->err, REASON_NONE, 0, "longer than %zu bytes", out->max);
}

static int unknown_function(const struct call *call, struct slice name)
{
    char shown[TEXT_EXCERPT_BYTES(TEMPLATE_NAME_CHARS)],
        *word = mem_strndup(name.data, name.len < TEMPLATE_NAME_CHARS ? name.len : TEMPLATE_NAME_CHARS);
    const char *near = text_nearest(word, function_names, FUNCTIONS);
    mem_free(word);
    text_excerpt(name, TEMPLATE_NAME_CHARS, shown, sizeof shown);
    if (near)
        return err_set(call->err, REASON_NONE, 0, "unknown function '%s' in {{...}} at offset %zu (did you mean '%s'?)", shown,
                       call->at, near);
    return err_set(
        call->err, REASON_NONE, 0,
        "unknown function '%s' in {{...}} at offset %zu, want hex, base64, sha256, hmac_sha256, concat or another of the manual",
        shown, call->at);
}

/* --- what the functions do --- */

static int put_digest(enum digest digest, const struct slice *key, struct slice text, struct buf *out)
{
    uint8_t bytes[DIGEST_MAX];
    size_t len = key ? digest_hmac(digest, *key, text, bytes) : digest_hash(digest, text, bytes);
    int rc = buf_append(out, bytes, len);
    explicit_bzero(bytes, sizeof bytes);
    return rc;
}

static int put_hex(struct slice text, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *at = buf_reserve(out, text.len * 2);
    if (!at)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        at[2 * i] = (uint8_t)digits[text.data[i] >> 4];
        at[2 * i + 1] = (uint8_t)digits[text.data[i] & 0xf];
    }
    out->len += text.len * 2;
    return 0;
}

static int put_base64(struct slice text, bool url, struct buf *out)
{
    size_t len = BASE64_LEN(text.len);
    char *at = (char *)buf_reserve(out, len + 1);
    if (!at)
        return -1;
    base64_encode(text, at);
    for (size_t i = 0; url && i < len; i++)
        at[i] = at[i] == '+' ? '-' : at[i] == '/' ? '_' : at[i];
    while (url && len && at[len - 1] == '=') /* RFC 7515: without padding */
        len--;
    out->len += len;
    return 0;
}

static int put_case(struct slice text, bool upper, struct buf *out)
{
    uint8_t *at = buf_reserve(out, text.len);
    if (!at)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        at[i] = upper && c >= 'a' && c <= 'z'    ? (uint8_t)(c - 'a' + 'A')
                : !upper && c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a')
                                                 : c;
    }
    out->len += text.len;
    return 0;
}

static int apply(struct call *call, enum function function, const struct slice *key, struct slice text, struct buf *out)
{
    int rc = -1;
    switch (function) {
    case FUNCTION_SHA256:
    case FUNCTION_HMAC_SHA256:
        rc = put_digest(DIGEST_SHA256, key, text, out);
        break;
    case FUNCTION_SHA384:
    case FUNCTION_HMAC_SHA384:
        rc = put_digest(DIGEST_SHA384, key, text, out);
        break;
    case FUNCTION_SHA512:
    case FUNCTION_HMAC_SHA512:
        rc = put_digest(DIGEST_SHA512, key, text, out);
        break;
    case FUNCTION_UNBASE64:
        if (out->max - out->len >= text.len && base64_decode(text, out) < 0)
            return refuse(call, "has unbase64 of what is not base64");
        rc = out->max - out->len >= text.len ? 0 : -1;
        break;
    case FUNCTION_HEX:
        rc = put_hex(text, out);
        break;
    case FUNCTION_BASE64:
    case FUNCTION_BASE64URL:
        rc = put_base64(text, function == FUNCTION_BASE64URL, out);
        break;
    case FUNCTION_UPPER:
    case FUNCTION_LOWER:
        rc = put_case(text, function == FUNCTION_UPPER, out);
        break;
    case FUNCTION_JSON:
        rc = template_put_json(out, text, true);
        break;
    case FUNCTION_CONCAT:
    case FUNCTION_BYTES:
        rc = buf_append_slice(out, text);
        break;
    case FUNCTIONS:
        break;
    }
    return rc < 0 ? too_long(call, out) : 0;
}

static enum kind kind_of(enum function function, bool bytes)
{
    if (function <= FUNCTION_UNBASE64)
        return KIND_BYTES;
    if (function == FUNCTION_BYTES || function == FUNCTION_JSON)
        return KIND_RAW;
    return bytes && (function == FUNCTION_CONCAT || function == FUNCTION_UPPER || function == FUNCTION_LOWER) ? KIND_BYTES
                                                                                                              : KIND_TEXT;
}

static bool is_hmac(int function)
{
    return function >= FUNCTION_HMAC_SHA256 && function <= FUNCTION_HMAC_SHA512;
}

/* --- evaluation --- */

static int evaluate(struct call *call, struct buf *out, enum kind *kind);

static int put_literal(struct call *call, struct buf *out)
{
    uint8_t quote = next_char(call);
    struct slice rest = slice_skip(call->text, call->pos + 1);
    const uint8_t *end = rest.len ? memchr(rest.data, quote, rest.len) : NULL;
    if (!end)
        return refuse(call, "has a quote that is not closed");
    call->pos += (size_t)(end - rest.data) + 2;
    return buf_append(out, rest.data, (size_t)(end - rest.data)) < 0 ? too_long(call, out) : 0;
}

static int put_argument(struct call *call, struct buf *out, enum kind *kind)
{
    uint8_t c = next_char(call);
    *kind = KIND_TEXT;
    if (c == '\'' || c == '"')
        return put_literal(call, out);
    if (c == '(') {
        call->pos++;
        if (evaluate(call, out, kind) < 0)
            return -1;
        if (next_char(call) != ')')
            return refuse(call, "has a '(' that is not closed");
        call->pos++;
        return 0;
    }
    struct slice name = read_name(call);
    if (!name.len)
        return refuse(call, "wants functions, names, 'texts' and ( ) only");
    if (template_is_function(name))
        return refuse(call, "has a function as an argument, which wants ( ) around it and its own arguments");
    if (!template_knows(name, call->vars))
        return template_unknown(name, call->at, call->vars, call->err);
    if (call->evaluates && template_put_name(name, call->vars, out, &call->secret) < 0)
        return too_long(call, out);
    return 0;
}

/* The arguments up to the end of the expression: the first one goes to `key` where there is one, all others to `text`. */
static int read_arguments(struct call *call, struct buf *key, struct buf *text, size_t *count, bool *bytes)
{
    for (skip_blanks(call); call->pos < call->text.len && next_char(call) != ')'; skip_blanks(call)) {
        enum kind kind;
        if (put_argument(call, key && *count == 0 ? key : text, &kind) < 0)
            return -1;
        *bytes = *bytes || kind == KIND_BYTES;
        (*count)++;
    }
    return 0;
}

/* FUNCTION ARGUMENT…, up to a closing parenthesis or the end. */
static int evaluate(struct call *call, struct buf *out, enum kind *kind)
{
    struct buf key = BUF_INIT(out->max), text = BUF_INIT(out->max);
    size_t count = 0;
    bool bytes = false;
    skip_blanks(call);
    struct slice name = read_name(call);
    int function = function_index(name), rc;
    if (function < 0)
        return name.len ? unknown_function(call, name) : refuse(call, "wants the name of a function first");
    if (call->depth >= DEPTH_MAX)
        return refuse(call, "is nested too deep");
    call->depth++;
    rc = read_arguments(call, is_hmac(function) ? &key : NULL, &text, &count, &bytes);
    call->depth--;
    if (rc == 0 && count < (is_hmac(function) ? 2 : 1))
        rc = refuse(call, is_hmac(function) ? "wants a key and a text" : "wants an argument");
    struct slice secret = buf_slice(&key);
    if (rc == 0 && call->evaluates)
        rc = apply(call, (enum function)function, is_hmac(function) ? &secret : NULL, buf_slice(&text), out);
    *kind = kind_of((enum function)function, bytes);
    buf_wipe(&key);
    buf_wipe(&text);
    return rc;
}

int template_call(struct slice text, size_t at, const struct template_vars *vars, struct buf *out, struct err *err)
{
    struct buf result = BUF_INIT(out ? out->max : text.len);
    struct call call = { .text = text, .at = at, .evaluates = out, .vars = vars, .err = err };
    enum kind kind = KIND_TEXT;
    int rc = evaluate(&call, &result, &kind);
    if (rc == 0 && call.pos < text.len)
        rc = refuse(&call, "has a ')' too many");
    if (rc == 0 && kind == KIND_BYTES)
        rc = refuse(&call, "gives bytes, want hex, base64 or, in a binary message, bytes around it: {{hex (...)}}");
    if (rc == 0 && out) {
        size_t start = out->len;
        rc = kind == KIND_RAW ? buf_append_slice(out, buf_slice(&result)) : template_put_text(out, buf_slice(&result), vars);
        if (rc < 0)
            too_long(&call, out);
        else if (call.secret && vars->on_secret)
            vars->on_secret(vars->user, slice_make(out->data + start, out->len - start));
    }
    buf_wipe(&result);
    return rc;
}

bool template_call_mentions(struct slice text, const char *name)
{
    struct call call = { .text = text };
    while (call.pos < text.len) {
        uint8_t c = next_char(&call);
        const uint8_t *end = c == '\'' || c == '"' ? memchr(text.data + call.pos + 1, c, text.len - call.pos - 1) : NULL;
        struct slice word = read_name(&call);
        if (slice_equal_str(word, name))
            return true;
        if (end)
            call.pos = (size_t)(end - text.data) + 1;
        else if (!word.len)
            call.pos++;
    }
    return false;
}
