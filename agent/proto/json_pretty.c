/*
 * JSON for a person's eyes (agent/proto/json_pretty.h). Pure. Called by the command line for what goes to a terminal. It does not judge: of a
 * text that is no JSON the tokens come out as they are.
 */
#include "agent/proto/json_pretty.h"

#include <stdint.h>

#include "agent/base/text.h"

struct pretty {
    struct buf *out;
    bool ascii, failed;
    unsigned depth;
};

static void put(struct pretty *pretty, const void *data, size_t len)
{
    pretty->failed = pretty->failed || buf_append(pretty->out, data, len) != 0;
}

static void new_line(struct pretty *pretty)
{
    put(pretty, "\n", 1);
    for (unsigned i = 0; i < pretty->depth; i++)
        put(pretty, "  ", 2);
}

/* \uXXXX, as a pair of surrogates past U+FFFF (RFC 8259, 7). */
static void put_escaped(struct pretty *pretty, const uint8_t *c, size_t len)
{
    static const uint8_t masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t code = c[0] & masks[len];
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (c[i] & 0x3f);
    int failed = code < 0x10000 ? buf_printf(pretty->out, "\\u%04x", code)
                                : buf_printf(pretty->out, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10),
                                             0xdc00 + ((code - 0x10000) & 0x3ff));
    pretty->failed = pretty->failed || failed != 0;
}

/* A string from its first quote on. Returns its length. */
static size_t put_string(struct pretty *pretty, struct slice json)
{
    size_t at = 0;
    bool closed = false;
    while (at < json.len && !closed) {
        struct slice rest = slice_skip(json, at);
        size_t len = rest.data[0] == '\\' && rest.len > 1 ? 2 : text_char_len(rest);
        len = len ? len : 1;
        if (pretty->ascii && rest.data[0] >= 0x80 && len > 1)
            put_escaped(pretty, rest.data, len);
        else
            put(pretty, rest.data, len);
        closed = at > 0 && rest.data[0] == '"';
        at += len;
    }
    return at;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* What opens: on one line with what closes it where there is nothing between. Returns the bytes taken. */
static size_t open_level(struct pretty *pretty, struct slice json)
{
    size_t next = 1;
    while (next < json.len && is_blank(json.data[next]))
        next++;
    put(pretty, json.data, 1);
    if (next < json.len && (json.data[next] == '}' || json.data[next] == ']')) {
        put(pretty, json.data + next, 1);
        return next + 1;
    }
    pretty->depth++;
    new_line(pretty);
    return next;
}

int json_pretty(struct slice json, bool ascii, struct buf *out)
{
    struct pretty pretty = { .out = out, .ascii = ascii };
    while (json.len && !pretty.failed) {
        uint8_t c = json.data[0];
        size_t taken = 1;
        if (c == '"') {
            taken = put_string(&pretty, json);
        } else if (c == '{' || c == '[') {
            taken = open_level(&pretty, json);
        } else if (c == '}' || c == ']') {
            pretty.depth -= pretty.depth > 0;
            new_line(&pretty);
            put(&pretty, &c, 1);
        } else if (!is_blank(c)) {
            put(&pretty, &c, 1);
            if (c == ',')
                new_line(&pretty);
            if (c == ':')
                put(&pretty, " ", 1);
        }
        json = slice_skip(json, taken);
    }
    put(&pretty, "\n", 1);
    return pretty.failed ? -1 : 0;
}
