/* Heads of HTTP messages in a trace (agent/client/http_trace.h). Called by connections and fetches. Pure but for the notes. */
#include "agent/client/http_trace.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/conf/opt.h"

enum { LINE_BYTES = 600, NAME_BYTES = 80 };

/* Appends text as people may see it, cut at the buffer's end. */
static void put(struct buf *out, struct slice text)
{
    char shown[LINE_BYTES];

    text_excerpt(text, LINE_BYTES / 4, shown, sizeof shown);
    buf_append_str(out, shown);
}

static bool is_secret(struct slice name)
{
    char text[NAME_BYTES];

    snprintf(text, sizeof text, "%.*s", (int)(name.len < sizeof text ? name.len : sizeof text - 1), (const char *)name.data);
    return opt_name_is_secret(text);
}

/* The part up to the mark, which is skipped; all of it where there is none. */
static struct slice cut(struct slice *rest, char mark)
{
    const uint8_t *at = rest->len ? memchr(rest->data, mark, rest->len) : NULL;
    struct slice part = slice_make(rest->data, at ? (size_t)(at - rest->data) : rest->len);

    *rest = slice_skip(*rest, part.len + (at ? 1 : 0));
    return part;
}

/* "/ws?EIO=4&token=***": of a query, the values that have the name of a secret. */
static void put_target(struct buf *out, struct slice target)
{
    struct slice query = target, path = cut(&query, '?');
    char mark = '?';

    put(out, path);
    while (query.len) {
        struct slice value = cut(&query, '&'), all = value, name = cut(&value, '=');

        buf_append_char(out, mark);
        put(out, is_secret(name) ? name : all);
        if (is_secret(name))
            buf_append_str(out, "=***");
        mark = '&';
    }
}

/* "session=***; theme=***"; of Set-Cookie the attributes too. */
static void put_cookie(struct buf *out, struct slice value, bool sets)
{
    for (bool first = true; value.len; first = false) {
        struct slice pair = slice_trim(cut(&value, ';')), rest = pair, name = cut(&rest, '=');
        bool hidden = (first || !sets) && name.len < pair.len;

        buf_append_str(out, first ? "" : "; ");
        put(out, hidden ? name : first || !sets ? slice_str("***") : pair);
        buf_append_str(out, hidden ? "=***" : "");
    }
}

/* "Bearer ***" */
static void put_credentials(struct buf *out, struct slice value)
{
    struct slice rest = value, scheme = cut(&rest, ' ');

    if (scheme.len < value.len) {
        put(out, scheme);
        buf_append_char(out, ' ');
    }
    buf_append_str(out, "***");
}

static void put_header(struct buf *out, struct slice name, struct slice value)
{
    bool sets = slice_equal_nocase(name, "Set-Cookie");

    put(out, name);
    buf_append_str(out, ": ");
    if (slice_equal_nocase(name, "Authorization") || slice_equal_nocase(name, "Proxy-Authorization"))
        put_credentials(out, value);
    else if (sets || slice_equal_nocase(name, "Cookie"))
        put_cookie(out, value, sets);
    else if (slice_equal_nocase(name, "Location") || slice_equal_nocase(name, ":path"))
        put_target(out, value);
    else if (is_secret(name) && name.data[0] != ':' && !slice_equal_nocase(name, "Sec-WebSocket-Key")) /* :authority is a host */
        buf_append_str(out, "***");
    else
        put(out, value);
}

static void note(struct trace *trace, const struct trace_by *by, struct buf *line)
{
    trace_note_by(trace, by, "%s", buf_str(line));
    buf_reset(line);
}

/* "GET /ws?token=… HTTP/1.1" */
static void put_request_line(struct buf *out, struct slice line)
{
    struct slice method = cut(&line, ' '), target = cut(&line, ' ');

    put(out, method);
    buf_append_char(out, ' ');
    put_target(out, target);
    buf_append_char(out, ' ');
    put(out, line);
}

static struct slice take_line(struct slice *text)
{
    struct slice line = cut(text, '\n');

    if (line.len && line.data[line.len - 1] == '\r')
        line.len--;
    return line;
}

static void make_request(struct trace *trace, const struct trace_by *first, struct slice text)
{
    struct trace_by by = *first;
    struct buf line = BUF_INIT(4 * LINE_BYTES);
    struct slice header;

    put_request_line(&line, take_line(&text));
    note(trace, &by, &line);
    by.continues = true;
    while ((header = take_line(&text)).len) {
        struct slice value = header, name = cut(&value, ':');

        put_header(&line, name, slice_trim(value));
        note(trace, &by, &line);
    }
    buf_fini(&line);
}

void http_trace_request(struct trace *trace, unsigned number, struct slice text)
{
    trace_later(trace, &(struct trace_by){ .mark = TRACE_SENT, .number = number }, make_request, text);
}

void http_trace_fields(struct trace *trace, unsigned number, const struct h2_header *fields, size_t count)
{
    struct trace_by by = { .mark = TRACE_SENT, .number = number };
    struct buf line = BUF_INIT(4 * LINE_BYTES);

    if (!trace || trace->closed)
        return;
    for (size_t i = 0; i < count; i++) {
        put_header(&line, slice_str(fields[i].name), slice_str(fields[i].value));
        note(trace, &by, &line);
        by.continues = true;
    }
    buf_fini(&line);
}

/* A response while it waits: this, the reason, and of each header two lengths, its name and its value. */
struct kept_response {
    int major, minor, status;
    size_t reason_len;
};

struct kept_header {
    size_t name_len, value_len;
};

static struct slice take(struct slice *bytes, size_t len)
{
    struct slice part = slice_make(bytes->data, len);

    *bytes = slice_skip(*bytes, len);
    return part;
}

static void make_response(struct trace *trace, const struct trace_by *first, struct slice bytes)
{
    struct trace_by by = *first;
    struct buf line = BUF_INIT(4 * LINE_BYTES);
    struct kept_response head;
    struct kept_header header;

    memcpy(&head, take(&bytes, sizeof head).data, sizeof head);
    if (head.major == 2)
        buf_printf(&line, "HTTP/2 %d", head.status);
    else
        buf_printf(&line, "HTTP/%d.%d %d ", head.major, head.minor, head.status);
    put(&line, take(&bytes, head.reason_len));
    note(trace, &by, &line);
    by.continues = true;
    while (bytes.len) {
        struct slice name;

        memcpy(&header, take(&bytes, sizeof header).data, sizeof header);
        name = take(&bytes, header.name_len);
        put_header(&line, name, take(&bytes, header.value_len));
        note(trace, &by, &line);
    }
    buf_fini(&line);
}

void http_trace_response(struct trace *trace, unsigned number, const struct http_head *head)
{
    const struct kept_response kept = { head->major, head->minor, head->status, head->reason.len };
    struct buf bytes = BUF_INIT(SIZE_MAX / 2);

    if (!trace || trace->closed)
        return;
    buf_reserve(&bytes, TRACE_LATER_MAX);
    buf_append(&bytes, &kept, sizeof kept);
    buf_append(&bytes, head->reason.data, head->reason.len);
    for (size_t i = 0; i < head->header_count; i++) {
        const struct slice name = head->headers[i].name, value = head->headers[i].value;

        buf_append(&bytes, &(struct kept_header){ name.len, value.len }, sizeof(struct kept_header));
        buf_append(&bytes, name.data, name.len);
        buf_append(&bytes, value.data, value.len);
    }
    trace_later(trace, &(struct trace_by){ .mark = TRACE_RECEIVED, .number = number }, make_response, buf_slice(&bytes));
    explicit_bzero(bytes.data, bytes.len);
    buf_fini(&bytes);
}

void http_trace_body(struct trace *trace, unsigned number, struct slice body)
{
    const struct trace_by by = { .mark = TRACE_RECEIVED, .number = number };
    char shown[TRACE_EXCERPT_BYTES];

    if (!trace || trace->closed || !body.len)
        return;
    text_excerpt(body, TRACE_EXCERPT_CHARS, shown, sizeof shown);
    trace_note_by(trace, &by, "body, %zu bytes: %s", body.len, shown);
}
