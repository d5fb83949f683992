/*
 * The JSON writer. Status, health, check --json and events are written with it, straight into the buffer that is sent. It promises
 * valid JSON in valid UTF-8 as long as the calls are nested rightly, and no more than the buffer's ceiling. agent/proto/match.c
 * reads JSON.
 */
#include "agent/proto/json_out.h"

#include <inttypes.h>
#include <math.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

void json_out_begin(struct json_out *json, struct buf *out)
{
    *json = (struct json_out){ .out = out };
}

int json_out_finish(struct json_out *json)
{
    panic_if(json->depth != 0);
    return json->failed ? -1 : 0;
}

/* After the first cut nothing follows, or the rest would look like something else. */
static void put(struct json_out *json, const void *data, size_t len)
{
    if (!json->failed && buf_append(json->out, data, len))
        json->failed = true;
}

static void put_str(struct json_out *json, const char *text)
{
    struct slice s = slice_str(text);
    put(json, s.data, s.len);
}

static void begin_value(struct json_out *json)
{
    if (json->comma)
        put(json, ",", 1);
    json->comma = true;
}

static void open_nest(struct json_out *json, const char *bracket)
{
    begin_value(json);
    put(json, bracket, 1);
    json->comma = false;
    json->depth++;
}

static void close_nest(struct json_out *json, const char *bracket)
{
    panic_if(json->depth == 0);
    put(json, bracket, 1);
    json->comma = true;
    json->depth--;
}

void json_out_object(struct json_out *json)
{
    open_nest(json, "{");
}

void json_out_object_end(struct json_out *json)
{
    close_nest(json, "}");
}

void json_out_array(struct json_out *json)
{
    open_nest(json, "[");
}

void json_out_array_end(struct json_out *json)
{
    close_nest(json, "]");
}

/* What stands for one byte that cannot stand for itself. */
static void put_escaped(struct json_out *json, uint8_t c)
{
    static const char digits[] = "0123456789abcdef";
    switch (c) {
    case '"':
        put(json, "\\\"", 2);
        break;
    case '\\':
        put(json, "\\\\", 2);
        break;
    case '\n':
        put(json, "\\n", 2);
        break;
    case '\r':
        put(json, "\\r", 2);
        break;
    case '\t':
        put(json, "\\t", 2);
        break;
    default:
        if (c >= 0x80) {
            put_str(json, "\xef\xbf\xbd");
        } else {
            char code[] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] };
            put(json, code, sizeof code);
        }
    }
}

/* Runs of bytes that stand for themselves are copied at once. */
static void put_quoted(struct json_out *json, struct slice value)
{
    put(json, "\"", 1);
    while (value.len && !json->failed) {
        size_t plain = 0;
        while (plain < value.len) {
            uint8_t c = value.data[plain];
            size_t len = c < 0x80 ? 1 : text_char_len(slice_skip(value, plain));
            if (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || len == 0)
                break;
            plain += len;
        }
        put(json, value.data, plain);
        value = slice_skip(value, plain);
        if (value.len) {
            put_escaped(json, value.data[0]);
            value = slice_skip(value, 1);
        }
    }
    put(json, "\"", 1);
}

void json_out_key(struct json_out *json, const char *key)
{
    begin_value(json);
    put_quoted(json, slice_str(key));
    put(json, ":", 1);
    json->comma = false;
}

void json_out_slice(struct json_out *json, struct slice value)
{
    begin_value(json);
    put_quoted(json, value);
}

void json_out_string(struct json_out *json, const char *value)
{
    if (value)
        json_out_slice(json, slice_str(value));
    else
        json_out_null(json);
}

void json_out_int(struct json_out *json, int64_t value)
{
    begin_value(json);
    if (!json->failed && buf_printf(json->out, "%" PRId64, value))
        json->failed = true;
}

void json_out_double(struct json_out *json, double value, int decimals)
{
    if (!isfinite(value)) {
        json_out_null(json);
        return;
    }
    begin_value(json);
    if (!json->failed && buf_printf(json->out, "%.*f", decimals, value))
        json->failed = true;
}

void json_out_bool(struct json_out *json, bool value)
{
    begin_value(json);
    put_str(json, value ? "true" : "false");
}

void json_out_null(struct json_out *json)
{
    begin_value(json);
    put_str(json, "null");
}
