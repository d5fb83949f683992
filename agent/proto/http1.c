/*
 * The HTTP/1.x reader. It gathers a head into one buffer of its own, refusing at once what no HTTP sender writes, and reads the start
 * line itself: llhttp knows a closed list of methods and treats 101 and upgrades differently from version to version. llhttp splits the
 * header fields of the complete head. Where the head ends is known by our own count, so that not one byte behind a 101 is lost or eaten
 * twice.
 *
 * Where the message ends is decided in one place, http1_head.c, and carried out here and in http1_chunked.c. llhttp undid chunked bodies
 * once: its versions differ in what they take for chunked (a tab or a comma behind the word) and in what they let pass inside, so that a
 * request could be swallowed and a valid answer called malformed.
 *
 * Called by agent/client and by agent/http/httpd.c, agent/demo/demo_conn.c (servers).
 */
#include "agent/proto/http1.h"

/* llhttp has a method of that name; here it is a progress. */
#define HTTP_HEAD LLHTTP_METHOD_HEAD
#include <llhttp.h>
#undef HTTP_HEAD
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/http1_chunked.h"
#include "agent/proto/http1_head.h"

enum { EXCERPT_CHARS = 60, EXCERPT_MAX = TEXT_EXCERPT_BYTES(EXCERPT_CHARS), BLANK_LINES_MAX = 2, TEXT_KEPT_MAX = 4096 };

enum stage { STAGE_HEAD, STAGE_BODY, STAGE_DONE, STAGE_BAD };

struct span { /* in head.text, which moves while it grows */
    size_t at, len;
};

struct http_reader {
    enum http_kind kind;
    enum stage stage;
    struct http_limits limits;
    struct http_head head;
    size_t line;               /* where the line that is being read begins */
    size_t fields;             /* where the header fields begin; 0: the start line is not complete */
    size_t checked;            /* bytes of text that have been looked at */
    unsigned line_count;       /* complete lines of this head */
    unsigned blank_lines;      /* in front of a request line (RFC 9112, 2.2) */
    unsigned interim;          /* 1xx responses passed over */
    struct span line_spans[2]; /* method and target, or reason */
    bool no_body;
    bool over, in_name; /* splitting the fields: there are too many; llhttp has begun a name */
    enum http_framing framing;
    uint64_t left; /* FRAMING_LENGTH: bytes to come */
    struct buf body;
    uint64_t body_total;
    struct chunked chunked; /* FRAMING_CHUNKED */
};

/* --- llhttp ----------------------------------------------------------------------------------------------------------- */

/* One execute covers the whole head, so pieces of a name or value lie side by side: they are joined by stretching the slice. */
static void stretch(struct slice *slice, const char *at, size_t len)
{
    if (!slice->data)
        slice->data = (const uint8_t *)at;
    slice->len = (size_t)((const uint8_t *)at + len - slice->data);
}

static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    struct http_reader *reader = parser->data;
    struct http_head *head = &reader->head;
    if (!reader->in_name) {
        if (head->header_count == HTTP_HEADERS_MAX) {
            reader->over = true;
            return -1;
        }
        head->headers[head->header_count++] = (struct http_header){ 0 };
        reader->in_name = true;
    }
    stretch(&head->headers[head->header_count - 1].name, at, len);
    return 0;
}

static int on_name_complete(llhttp_t *parser)
{
    struct http_reader *reader = parser->data;
    reader->in_name = false;
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct http_reader *reader = parser->data;
    if (reader->head.header_count)
        stretch(&reader->head.headers[reader->head.header_count - 1].value, at, len);
    return 0;
}

static int on_pause(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_field_complete = on_name_complete,
    .on_header_value = on_value,
    .on_headers_complete = on_pause,
};

/* --- the body's bytes --------------------------------------------------------------------------------------------------- */

static int keep_body(struct http_reader *reader, const void *data, size_t len)
{
    size_t room = reader->limits.max_body_bytes - reader->body.len;
    reader->body_total += len;
    if (len > room && reader->kind == HTTP_KIND_REQUEST)
        return -1;
    buf_append(&reader->body, data, len < room ? len : room);
    return 0;
}

/* --- refusals ----------------------------------------------------------------------------------------------------------- */

static const char *kind_name(const struct http_reader *reader)
{
    return reader->kind == HTTP_KIND_REQUEST ? "request" : "response";
}

static enum http_progress refuse(struct http_reader *reader)
{
    reader->stage = STAGE_BAD;
    return HTTP_BAD;
}

static enum http_progress too_large(struct http_reader *reader, struct err *err, int status, const char *what, size_t limit)
{
    http_bad(err, status, "%s %s over the limit of %zu", kind_name(reader), what, limit);
    reader->stage = STAGE_BAD;
    return HTTP_TOO_LARGE;
}

/* --- the head ----------------------------------------------------------------------------------------------------------- */

static int validate_byte(const struct http_reader *reader, uint8_t byte, uint8_t before, struct err *err)
{
    unsigned line = reader->line_count + 1;
    if (before == '\r' && byte != '\n')
        return http_bad(err, 400, "%s line %u holds a CR that no LF follows", kind_name(reader), line);
    if (byte == '\n' && before != '\r')
        return http_bad(err, 400, "%s line %u ends with a bare LF, want CRLF", kind_name(reader), line);
    if ((byte < 0x20 && byte != '\t' && byte != '\r' && byte != '\n') || byte == 0x7f)
        return http_bad(err, 400, "%s line %u holds the control character 0x%02x", kind_name(reader), line, byte);
    return 0;
}

static int validate_new_bytes(struct http_reader *reader, struct err *err)
{
    const struct buf *text = &reader->head.text;
    if (reader->kind == HTTP_KIND_RESPONSE && reader->fields == 0 && http_validate_response_start(buf_slice(text), err) < 0)
        return -1;
    for (; reader->checked < text->len; reader->checked++) {
        uint8_t before = reader->checked > reader->line ? text->data[reader->checked - 1] : 0;
        if (validate_byte(reader, text->data[reader->checked], before, err) < 0)
            return -1;
    }
    return 0;
}

static struct span span_of(const struct buf *text, struct slice part)
{
    return part.len ? (struct span){ (size_t)(part.data - text->data), part.len } : (struct span){ 0, 0 };
}

static struct slice slice_of_span(const struct buf *text, struct span span)
{
    return slice_make(text->data + span.at, span.len);
}

static int end_start_line(struct http_reader *reader, size_t len, struct err *err)
{
    struct http_head *head = &reader->head;
    const struct buf *text = &head->text;
    if (len == 0 && reader->kind == HTTP_KIND_REQUEST && reader->blank_lines++ < BLANK_LINES_MAX) {
        buf_reset(&head->text);
        reader->checked = 0;
        return 0;
    }
    if (http_parse_start(reader->kind, slice_make(text->data, len), head, err) < 0)
        return -1;
    bool request = reader->kind == HTTP_KIND_REQUEST;
    reader->line_spans[0] = span_of(text, request ? head->method : head->reason);
    reader->line_spans[1] = span_of(text, head->target);
    reader->fields = text->len;
    return 0;
}

static void place_start_line(struct http_reader *reader)
{
    struct http_head *head = &reader->head;
    if (reader->kind == HTTP_KIND_RESPONSE) {
        head->reason = slice_of_span(&head->text, reader->line_spans[0]);
        return;
    }
    head->method = slice_of_span(&head->text, reader->line_spans[0]);
    head->target = slice_of_span(&head->text, reader->line_spans[1]);
}

/* The line of the head that holds position `at`, for a sentence. */
static void excerpt_line(const struct http_reader *reader, size_t at, char *out, size_t size)
{
    const uint8_t *text = reader->head.text.data;
    size_t len = reader->head.text.len, from = at < len ? at : len, to = from;
    while (from > 0 && text[from - 1] != '\n')
        from--;
    while (to < len && text[to] != '\r' && text[to] != '\n')
        to++;
    text_excerpt(slice_make(text + from, to - from), EXCERPT_CHARS, out, size);
}

/* RFC 9112, 5: nothing stands between the name and the colon. */
static int validate_field(struct http_reader *reader, struct http_header *field, struct err *err)
{
    const struct buf *text = &reader->head.text;
    size_t end = field->name.len ? (size_t)(field->name.data + field->name.len - text->data) : reader->fields;
    if (!http_is_token(field->name) || text->data[end] != ':') {
        char line[EXCERPT_MAX];
        excerpt_line(reader, end, line, sizeof line);
        return http_bad(err, 400, "%s header is not \"name: value\": \"%s\"", kind_name(reader), line);
    }
    field->value = slice_trim(field->value);
    return 0;
}

/*
 * The head is complete, and its text moves no more. llhttp sees a start line of ours in front of the peer's fields: what it makes of
 * methods, versions and statuses is then the same in every version, and its leave to combine Content-Length and Transfer-Encoding keeps
 * that decision in http1_head.c.
 */
static enum http_progress split_fields(struct http_reader *reader, struct err *err)
{
    static const char neutral[] = "POST / HTTP/1.1\r\n";
    struct http_head *head = &reader->head;
    const char *fields = (const char *)head->text.data + reader->fields;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = reader;
    llhttp_set_lenient_chunked_length(&parser, 1);
    llhttp_set_lenient_transfer_encoding(&parser, 1);
    llhttp_errno_t start = llhttp_execute(&parser, neutral, sizeof neutral - 1);
    panic_if(start != HPE_OK);
    llhttp_errno_t end = llhttp_execute(&parser, fields, head->text.len - reader->fields);
    if (reader->over)
        return too_large(reader, err, 431, "header fields are", HTTP_HEADERS_MAX);
    if (end != HPE_PAUSED) {
        const char *at = llhttp_get_error_pos(&parser);
        char line[EXCERPT_MAX];
        excerpt_line(reader, at ? (size_t)(at - (const char *)head->text.data) : reader->fields, line, sizeof line);
        http_bad(err, 400, "%s header is not \"name: value\": \"%s\"", kind_name(reader), line);
        return refuse(reader);
    }
    for (size_t i = 0; i < head->header_count; i++)
        if (validate_field(reader, &head->headers[i], err) < 0)
            return refuse(reader);
    return HTTP_MORE;
}

static void begin_head(struct http_reader *reader)
{
    struct http_head *head = &reader->head;
    buf_reset(&head->text);
    head->major = head->minor = head->status = 0;
    head->reason = head->method = head->target = (struct slice){ 0 };
    head->header_count = 0;
    reader->stage = STAGE_HEAD;
    reader->line = reader->fields = reader->checked = 0;
    reader->line_count = 0;
    reader->over = reader->in_name = false;
}

static enum http_progress end_head(struct http_reader *reader, struct err *err)
{
    struct http_head *head = &reader->head;
    place_start_line(reader);
    enum http_progress split = split_fields(reader, err);
    if (split != HTTP_MORE)
        return split;
    if (http_judge_fields(reader->kind, head, reader->no_body, &reader->framing, &reader->left, err) < 0)
        return refuse(reader);
    if (reader->kind == HTTP_KIND_REQUEST && reader->left > reader->limits.max_body_bytes)
        return too_large(reader, err, 413, "body bytes are", reader->limits.max_body_bytes);
    if (reader->kind == HTTP_KIND_RESPONSE && head->status < 200 && head->status != 101) {
        if (++reader->interim > HTTP_INTERIM_MAX) {
            http_bad(err, 0, "more than %d interim responses, the last with status %d", HTTP_INTERIM_MAX, head->status);
            return refuse(reader);
        }
        begin_head(reader);
        return HTTP_MORE;
    }
    if (reader->framing == FRAMING_CHUNKED)
        chunked_init(&reader->chunked, reader->limits.max_head_bytes);
    reader->stage = STAGE_BODY;
    return HTTP_HEAD;
}

static enum http_progress end_line(struct http_reader *reader, struct err *err)
{
    const struct buf *text = &reader->head.text;
    size_t len = text->len - reader->line - 2;
    if (reader->fields == 0) {
        if (end_start_line(reader, len, err) < 0)
            return refuse(reader);
    } else if (len == 0) {
        return end_head(reader, err);
    } else if (text->data[reader->line] == ' ' || text->data[reader->line] == '\t') {
        http_bad(err, 400, "%s line %u begins with a blank: folded headers are not taken", kind_name(reader),
                 reader->line_count + 1);
        return refuse(reader);
    }
    reader->line = text->len;
    reader->line_count++;
    return HTTP_MORE;
}

static enum http_progress feed_head(struct http_reader *reader, struct slice *input, struct err *err)
{
    struct buf *text = &reader->head.text;
    while (input->len) {
        const uint8_t *lf = memchr(input->data, '\n', input->len);
        size_t len = lf ? (size_t)(lf - input->data) + 1 : input->len;
        size_t room = reader->limits.max_head_bytes - text->len;
        bool over = len > room;
        if (over)
            len = room;
        buf_append(text, input->data, len);
        *input = slice_skip(*input, len);
        if (validate_new_bytes(reader, err) < 0)
            return refuse(reader);
        if (over)
            return too_large(reader, err, 431, "head bytes are", reader->limits.max_head_bytes);
        if (!lf)
            break;
        enum http_progress progress = end_line(reader, err);
        if (progress != HTTP_MORE)
            return progress;
    }
    return HTTP_MORE;
}

/* --- the body ----------------------------------------------------------------------------------------------------------- */

static enum http_progress feed_plain(struct http_reader *reader, struct slice *input)
{
    bool counted = reader->framing == FRAMING_LENGTH;
    size_t len = counted && reader->left < input->len ? (size_t)reader->left : input->len;
    keep_body(reader, input->data, len); /* a request's length has been held against the limit already */
    *input = slice_skip(*input, len);
    if (!counted)
        return HTTP_MORE;
    reader->left -= len;
    return reader->left ? HTTP_MORE : HTTP_DONE;
}

static enum http_progress feed_chunked(struct http_reader *reader, struct slice *input, struct err *err)
{
    struct slice data;
    const char *why;
    for (;;) {
        switch (chunked_feed(&reader->chunked, input, &data, &why)) {
        case CHUNKED_DATA:
            if (keep_body(reader, data.data, data.len) < 0)
                return too_large(reader, err, 413, "body bytes are", reader->limits.max_body_bytes);
            break;
        case CHUNKED_MORE:
            return HTTP_MORE;
        case CHUNKED_DONE:
            return HTTP_DONE;
        case CHUNKED_LARGE:
            return too_large(reader, err, 431, "chunk extensions and trailers are", reader->limits.max_head_bytes);
        case CHUNKED_BAD:
            http_bad(err, 400, "chunked %s body is malformed after %llu bytes: %s", kind_name(reader),
                     (unsigned long long)reader->body_total, why);
            return refuse(reader);
        }
    }
}

static enum http_progress feed_body(struct http_reader *reader, struct slice *input, struct err *err)
{
    enum http_progress progress = HTTP_DONE;
    if (reader->framing == FRAMING_CHUNKED)
        progress = feed_chunked(reader, input, err);
    else if (reader->framing != FRAMING_NONE)
        progress = feed_plain(reader, input);
    if (progress == HTTP_DONE)
        reader->stage = STAGE_DONE;
    return progress;
}

/* --- for callers -------------------------------------------------------------------------------------------------------- */

struct http_reader *http_reader_new(enum http_kind kind, const struct http_limits *limits)
{
    struct http_reader *reader = mem_alloc(sizeof *reader);
    reader->kind = kind;
    reader->limits = *limits;
    buf_init(&reader->head.text, limits->max_head_bytes);
    buf_init(&reader->body, limits->max_body_bytes);
    begin_head(reader);
    return reader;
}

void http_reader_free(struct http_reader *reader)
{
    if (!reader)
        return;
    buf_fini(&reader->head.text);
    buf_fini(&reader->body);
    mem_free(reader);
}

void http_reader_reset(struct http_reader *reader)
{
    /* One large message must not cost a kept connection its memory for ever. */
    if (reader->head.text.cap > TEXT_KEPT_MAX)
        buf_fini(&reader->head.text);
    if (reader->body.cap > TEXT_KEPT_MAX)
        buf_fini(&reader->body);
    buf_reset(&reader->body);
    begin_head(reader);
    reader->body_total = reader->left = 0;
    reader->blank_lines = reader->interim = 0;
    reader->no_body = false;
}

enum http_progress http_reader_feed(struct http_reader *reader, struct slice *input, struct err *err)
{
    switch (reader->stage) {
    case STAGE_HEAD:
        return feed_head(reader, input, err);
    case STAGE_BODY:
        return feed_body(reader, input, err);
    case STAGE_DONE:
        return HTTP_DONE;
    case STAGE_BAD:
        break;
    }
    http_bad(err, 400, "%s was refused before", kind_name(reader));
    return HTTP_BAD;
}

enum http_progress http_reader_eof(struct http_reader *reader, struct err *err)
{
    enum stage stage = reader->stage;
    if (stage == STAGE_DONE || (stage == STAGE_BODY && (reader->framing == FRAMING_EOF || reader->framing == FRAMING_NONE))) {
        reader->stage = STAGE_DONE;
        return HTTP_DONE;
    }
    unsigned long long total = (unsigned long long)reader->body_total;
    if (stage == STAGE_HEAD && !http_reader_started(reader))
        err_set(err, REASON_CONNECTION_RESET, 0, "closed before a %s", kind_name(reader));
    else if (stage == STAGE_HEAD)
        err_set(err, REASON_CONNECTION_RESET, 0, "closed after %zu bytes of the %s head", reader->head.text.len, kind_name(reader));
    else if (stage == STAGE_BODY && reader->framing == FRAMING_LENGTH)
        http_bad(err, 400, "closed after %llu of %llu bytes of the %s body", total, total + (unsigned long long)reader->left,
                 kind_name(reader));
    else
        http_bad(err, 400, "closed in the middle of a chunked %s body, after %llu bytes", kind_name(reader), total);
    return refuse(reader);
}

void http_reader_no_body(struct http_reader *reader)
{
    reader->no_body = true;
}

const struct http_head *http_reader_head(const struct http_reader *reader)
{
    return &reader->head;
}

struct slice http_reader_body(const struct http_reader *reader)
{
    return buf_slice(&reader->body);
}

uint64_t http_reader_body_total(const struct http_reader *reader)
{
    return reader->body_total;
}

bool http_reader_keep_alive(const struct http_reader *reader)
{
    const struct http_head *head = &reader->head;
    if (http_header_has_token(head, "Connection", "close"))
        return false;
    return head->minor >= 1 || http_header_has_token(head, "Connection", "keep-alive");
}

bool http_reader_is_head(const struct http_reader *reader)
{
    return reader->kind == HTTP_KIND_REQUEST && reader->fields > 0 &&
           slice_equal_str(slice_of_span(&reader->head.text, reader->line_spans[0]), "HEAD");
}

bool http_reader_wants_continue(const struct http_reader *reader)
{
    return reader->stage == STAGE_BODY && reader->framing != FRAMING_NONE && reader->head.minor >= 1 &&
           http_header_has_token(&reader->head, "Expect", "100-continue");
}

bool http_reader_started(const struct http_reader *reader)
{
    return reader->stage != STAGE_HEAD || reader->head.text.len > 0;
}
