/* See agent/proto/sse.h. */
#include "agent/proto/sse.h"

#include <stdio.h>
#include <string.h>

/* The length of the first line, and in *next where the second begins. A line ends with \n, \r or both. */
static size_t line_of(struct slice text, size_t *next)
{
    size_t len = 0;

    while (len < text.len && text.data[len] != '\n' && text.data[len] != '\r')
        len++;
    *next = len < text.len ? len + 1 : len;
    if (*next < text.len && text.data[len] == '\r' && text.data[*next] == '\n')
        ++*next;
    return len;
}

void sse_write(struct buf *out, const char *name, const char *id, struct slice data)
{
    buf_printf(out, "event: %s\n", name);
    if (id)
        buf_printf(out, "id: %s\n", id);
    do {
        size_t next, len = line_of(data, &next);

        buf_append_str(out, "data: ");
        if (len)
            buf_append(out, data.data, len);
        buf_append_char(out, '\n');
        data = slice_skip(data, next);
    } while (data.len);
    buf_append_char(out, '\n');
}

void sse_write_retry(struct buf *out, unsigned ms)
{
    buf_printf(out, "retry: %u\n", ms);
}

void sse_reader_init(struct sse_reader *reader, size_t max_bytes, void (*on_event)(void *user, const char *name, struct slice data),
                     void *user)
{
    *reader = (struct sse_reader){ .on_event = on_event, .user = user };
    buf_init(&reader->line, max_bytes);
    buf_init(&reader->data, max_bytes);
}

static void end_event(struct sse_reader *reader)
{
    if (reader->any)
        reader->on_event(reader->user, *reader->name ? reader->name : "message", buf_slice(&reader->data));
    buf_reset(&reader->data);
    *reader->name = 0;
    reader->any = false;
}

static void take_field(struct sse_reader *reader, struct slice line)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);
    size_t len = colon ? (size_t)(colon - line.data) : line.len;
    struct slice name = slice_make(line.data, len), value = slice_skip(line, colon ? len + 1 : len);

    if (value.len && value.data[0] == ' ')
        value = slice_skip(value, 1);
    if (slice_equal_str(name, "event")) {
        snprintf(reader->name, sizeof reader->name, "%.*s", (int)value.len, value.len ? (const char *)value.data : "");
    } else if (slice_equal_str(name, "data")) {
        if (reader->any)
            buf_append_char(&reader->data, '\n');
        buf_append_slice(&reader->data, value);
        reader->any = true;
    }
}

static void end_line(struct sse_reader *reader)
{
    if (reader->too_long)
        reader->any = true;
    else if (reader->line.len == 0)
        end_event(reader);
    else
        take_field(reader, buf_slice(&reader->line));
    buf_reset(&reader->line);
    reader->too_long = false;
}

void sse_reader_feed(struct sse_reader *reader, struct slice bytes)
{
    if (reader->after_cr && bytes.len && bytes.data[0] == '\n')
        bytes = slice_skip(bytes, 1);
    reader->after_cr = reader->after_cr && !bytes.len;
    while (bytes.len) {
        size_t next, len = line_of(bytes, &next);

        if (len && buf_append(&reader->line, bytes.data, len) < 0)
            reader->too_long = true;
        if (len == bytes.len)
            return;
        end_line(reader);
        reader->after_cr = bytes.data[len] == '\r' && next == bytes.len && next == len + 1;
        bytes = slice_skip(bytes, next);
    }
}

void sse_reader_fini(struct sse_reader *reader)
{
    buf_fini(&reader->line);
    buf_fini(&reader->data);
}
