/*
 * RESP2 by hiredis as a codec (agent/proto/resp.h). Called by the redis driver; works without sockets. A scanner walks every byte first:
 * it knows how many bytes and elements the reply has announced, refuses what is over the ceilings before anything is allocated for it, and
 * finds the reply's end, so that hiredis is given one whole reply at a time and parses each only once. What it lets through means the same
 * to every version of hiredis: some nest without end, some take RESP3, some a bare CR in a line.
 */
#include "agent/proto/resp.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

enum { HEADER_MAX = 24, SHOWN_CHARS = 100, NO_LENGTH = -1 };

enum scan_state { SCAN_TYPE, SCAN_HEADER, SCAN_LINE, SCAN_BULK };

struct resp_reader {
    redisReader *hiredis;
    size_t max_bytes, bytes; /* of the reply that is being read */
    size_t elements;         /* announced so far */
    /* How many are still to come: the reply itself, and of each array that is not over. left[0] == 0: between replies. */
    size_t left[RESP_DEPTH_MAX + 1];
    unsigned depth;
    enum scan_state scan;
    char type;
    char header[HEADER_MAX]; /* the digits behind $, * and : */
    size_t header_len, line_len;
    size_t bulk_left; /* with its line end */
    bool after_cr, broken;
    bool passes;     /* texts that are too large are passed over */
    bool passing;    /* … as the one is that is being read */
    uint64_t passed; /* how many were, since somebody asked */
    bool held;       /* the header of a text is kept from hiredis until it is known whether the text is passed over */
};

/* --- replies --- */

static const redisReply *inner(const struct resp_reply *reply)
{
    return (const void *)reply;
}

enum resp_kind resp_kind_of(const struct resp_reply *reply)
{
    switch (inner(reply)->type) {
    case REDIS_REPLY_STRING:
        return RESP_TEXT;
    case REDIS_REPLY_ARRAY:
        return RESP_ARRAY;
    case REDIS_REPLY_INTEGER:
        return RESP_INTEGER;
    case REDIS_REPLY_STATUS:
        return RESP_STATUS;
    case REDIS_REPLY_ERROR:
        return RESP_ERROR;
    default:
        return RESP_NIL;
    }
}

int64_t resp_integer(const struct resp_reply *reply)
{
    return resp_kind_of(reply) == RESP_INTEGER ? inner(reply)->integer : 0;
}

struct slice resp_text(const struct resp_reply *reply)
{
    enum resp_kind kind = resp_kind_of(reply);
    if (kind != RESP_TEXT && kind != RESP_STATUS && kind != RESP_ERROR)
        return slice_make(NULL, 0);
    return slice_make(inner(reply)->str, inner(reply)->len);
}

size_t resp_count(const struct resp_reply *reply)
{
    return resp_kind_of(reply) == RESP_ARRAY ? inner(reply)->elements : 0;
}

const struct resp_reply *resp_item(const struct resp_reply *reply, size_t i)
{
    return i < resp_count(reply) ? (const void *)inner(reply)->element[i] : NULL;
}

bool resp_is_status(const struct resp_reply *reply, const char *text)
{
    return resp_kind_of(reply) == RESP_STATUS && slice_equal_str(resp_text(reply), text);
}

bool resp_item_is(const struct resp_reply *reply, size_t i, const char *text)
{
    const struct resp_reply *item = resp_item(reply, i);
    return item && resp_kind_of(item) == RESP_TEXT && slice_equal_str(resp_text(item), text);
}

void resp_reply_free(struct resp_reply *reply)
{
    if (reply)
        freeReplyObject(reply);
}

/* --- the scanner --- */

struct resp_reader *resp_reader_new(size_t max_reply_bytes)
{
    struct resp_reader *reader = mem_alloc(sizeof *reader);
    reader->hiredis = redisReaderCreate();
    panic_if(!reader->hiredis);
    reader->max_bytes = max_reply_bytes;
    return reader;
}

void resp_reader_free(struct resp_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->hiredis);
    mem_free(reader);
}

uint64_t resp_reader_passed(struct resp_reader *reader)
{
    uint64_t passed = reader->passed;
    reader->passed = 0;
    return passed;
}

void resp_reader_pass_over(struct resp_reader *reader)
{
    reader->passes = true;
}

static int read_type(struct resp_reader *reader, char c, struct err *err)
{
    reader->type = c;
    reader->header_len = reader->line_len = 0;
    reader->after_cr = false;
    if (c == '+' || c == '-')
        reader->scan = SCAN_LINE;
    else if (c == '$' || c == '*' || c == ':')
        reader->scan = SCAN_HEADER;
    else if (c > ' ' && c < 0x7f)
        return err_set(err, REASON_NONE, 0, "no Redis: a reply begins with '%c', want + - : $ or *", c);
    else
        return err_set(err, REASON_NONE, 0, "no Redis: a reply begins with byte %u, want + - : $ or *", (unsigned)(uint8_t)c);
    return 0;
}

/* A length as $ and * have it: digits, or -1 for nil. */
static int read_length(const struct resp_reader *reader, int64_t *length)
{
    return text_parse_int(reader->header, length) || *length < NO_LENGTH ? -1 : 0;
}

/* With the last element of an array, the array is done too. */
static void element_done(struct resp_reader *reader)
{
    reader->scan = SCAN_TYPE;
    while (--reader->left[reader->depth] == 0 && reader->depth > 0)
        reader->depth--;
}

static int begin_bulk(struct resp_reader *reader, int64_t length, struct err *err)
{
    if (length == NO_LENGTH) {
        element_done(reader);
        return 0;
    }
    reader->passing =
        reader->passes && length > 0 && (uint64_t)length > reader->max_bytes - reader->bytes && length <= RESP_PASSED_MAX;
    if ((uint64_t)length > reader->max_bytes - reader->bytes && !reader->passing)
        return err_set(err, REASON_NONE, 0, "a reply with a text of %lld bytes, at most %zu are taken", (long long)length,
                       reader->max_bytes);
    reader->bulk_left = (size_t)length + 2;
    reader->scan = SCAN_BULK;
    return 0;
}

static int begin_array(struct resp_reader *reader, int64_t length, struct err *err)
{
    if (length > 0 && (uint64_t)length > RESP_ELEMENTS_MAX - reader->elements)
        return err_set(err, REASON_NONE, 0, "a reply of %lld elements, at most %d are taken", (long long)length, RESP_ELEMENTS_MAX);
    if (length > 0 && reader->depth == RESP_DEPTH_MAX)
        return err_set(err, REASON_NONE, 0, "a reply of arrays within arrays, at most %d deep", RESP_DEPTH_MAX);
    if (length <= 0) {
        element_done(reader);
        return 0;
    }
    reader->elements += (size_t)length;
    reader->left[++reader->depth] = (size_t)length;
    reader->scan = SCAN_TYPE;
    return 0;
}

static int end_header(struct resp_reader *reader, struct err *err)
{
    int64_t value = 0;
    reader->header[reader->header_len] = '\0';
    if (reader->type == ':' ? text_parse_int(reader->header, &value) : read_length(reader, &value)) {
        char shown[TEXT_EXCERPT_BYTES(HEADER_MAX)];
        text_excerpt(slice_str(reader->header), HEADER_MAX, shown, sizeof shown);
        return err_set(err, REASON_NONE, 0, "no Redis: '%s' behind %c, want a number", shown, reader->type);
    }
    if (reader->type == '$')
        return begin_bulk(reader, value, err);
    if (reader->type == '*')
        return begin_array(reader, value, err);
    element_done(reader);
    return 0;
}

/* The digits behind $ * and :, up to the line's end. */
static int read_header(struct resp_reader *reader, char c, struct err *err)
{
    if (reader->after_cr && c == '\n')
        return end_header(reader, err);
    if (reader->after_cr || c == '\n')
        return err_set(err, REASON_NONE, 0, "no Redis: a broken line end behind %c", reader->type);
    if (c == '\r') {
        reader->after_cr = true;
        return 0;
    }
    if (reader->header_len == HEADER_MAX - 1)
        return err_set(err, REASON_NONE, 0, "no Redis: more than %d digits behind %c", HEADER_MAX - 1, reader->type);
    reader->header[reader->header_len++] = c ? c : '?';
    return 0;
}

static int read_line(struct resp_reader *reader, char c, struct err *err)
{
    if (reader->after_cr && c == '\n') {
        element_done(reader);
        return 0;
    }
    if (reader->after_cr || c == '\n')
        return err_set(err, REASON_NONE, 0, "no Redis: a broken line end behind %c", reader->type);
    reader->after_cr = c == '\r';
    if (++reader->line_len > RESP_LINE_MAX)
        return err_set(err, REASON_NONE, 0, "a line of more than %d bytes", RESP_LINE_MAX);
    return 0;
}

static int feed_bytes(struct resp_reader *reader, const void *bytes, size_t len, struct err *err)
{
    if (len && redisReaderFeed(reader->hiredis, bytes, len) != REDIS_OK)
        return err_set(err, REASON_NONE, 0, "no memory for a reply");
    return 0;
}

/* The header of a text has ended: hiredis gets it now, or that of an empty text in its place. */
static int feed_held(struct resp_reader *reader, struct err *err)
{
    char text[HEADER_MAX + 8];
    int len = reader->passing ? snprintf(text, sizeof text, "$0\r\n\r\n") : snprintf(text, sizeof text, "$%s\r\n", reader->header);
    reader->held = false;
    return feed_bytes(reader, text, (size_t)len, err);
}

/* Walks up to the reply's end and feeds hiredis; *used is how far it came. */
static int scan(struct resp_reader *reader, struct slice data, size_t *used, struct err *err)
{
    size_t at = 0, fed = 0; /* what is before `fed` is done with */
    while (at < data.len && reader->left[0]) {
        size_t step = 1;
        char c = (char)data.data[at];
        int rc = 0;
        if (reader->scan == SCAN_BULK) {
            step = data.len - at < reader->bulk_left ? data.len - at : reader->bulk_left;
            reader->bulk_left -= step;
            if (reader->passing) {
                fed = at + step;
                reader->bytes -= step;
            }
            if (reader->bulk_left == 0) {
                reader->passed += reader->passing;
                reader->passing = false;
                element_done(reader);
            }
        } else if (reader->scan == SCAN_TYPE) {
            rc = read_type(reader, c, err);
            reader->held = rc == 0 && c == '$';
            if (reader->held)
                rc = feed_bytes(reader, data.data + fed, at - fed, err);
        } else if (reader->scan == SCAN_HEADER) {
            rc = read_header(reader, c, err);
            if (rc == 0 && reader->held && c == '\n')
                rc = feed_held(reader, err);
            if (reader->type == '$')
                fed = at + step;
        } else {
            rc = read_line(reader, c, err);
        }
        if (rc)
            return -1;
        at += step;
        reader->bytes += step;
        if (reader->bytes > reader->max_bytes)
            return err_set(err, REASON_NONE, 0, "a reply of more than %zu bytes", reader->max_bytes);
    }
    *used = at;
    return reader->held ? 0 : feed_bytes(reader, data.data + fed, at - fed, err);
}

static int take_reply(struct resp_reader *reader, struct resp_reply **reply, struct err *err)
{
    void *object = NULL;
    if (redisReaderGetReply(reader->hiredis, &object) != REDIS_OK) {
        char shown[TEXT_EXCERPT_BYTES(SHOWN_CHARS)];
        text_excerpt(slice_str(reader->hiredis->errstr), SHOWN_CHARS, shown, sizeof shown);
        return err_set(err, REASON_NONE, 0, "no Redis: %s", shown);
    }
    if (!object) /* the scanner has seen the end, so hiredis has too */
        return err_set(err, REASON_NONE, 0, "no Redis: a reply that cannot be read");
    *reply = object;
    reader->bytes = reader->elements = 0;
    return 1;
}

int resp_reader_next(struct resp_reader *reader, struct slice *data, struct resp_reply **reply, struct err *err)
{
    size_t used = 0;
    int rc;
    if (reader->broken)
        return err_set(err, REASON_NONE, 0, "no Redis: the stream of replies is broken");
    if (data->len == 0)
        return 0;
    if (reader->left[0] == 0) {
        reader->left[0] = 1;
        reader->scan = SCAN_TYPE;
    }
    rc = scan(reader, *data, &used, err);
    if (rc == 0) {
        *data = slice_skip(*data, used);
        rc = reader->left[0] ? 0 : take_reply(reader, reply, err);
    }
    reader->broken = rc < 0;
    return rc;
}

/* --- commands --- */

int resp_command(struct buf *out, const struct slice *args, size_t count)
{
    const char *texts[RESP_ARGS_MAX];
    size_t lens[RESP_ARGS_MAX];
    char *text = NULL;
    panic_if(count == 0 || count > RESP_ARGS_MAX);
    for (size_t i = 0; i < count; i++) {
        texts[i] = args[i].data ? (const char *)args[i].data : "";
        lens[i] = args[i].len;
    }
    long long len = redisFormatCommandArgv(&text, (int)count, texts, lens);
    panic_if(len < 0);
    int rc = buf_append(out, text, (size_t)len);
    redisFreeCommand(text);
    return rc;
}

/* --- slots --- */

uint16_t resp_slot(struct slice key)
{
    ptrdiff_t open = slice_find(key, slice_str("{"));
    if (open >= 0) {
        struct slice tag = slice_skip(key, (size_t)open + 1);
        ptrdiff_t close = slice_find(tag, slice_str("}"));
        if (close > 0)
            key = slice_make(tag.data, (size_t)close);
    }
    unsigned crc = 0;
    for (size_t i = 0; i < key.len; i++) {
        crc ^= (unsigned)key.data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
    }
    return (uint16_t)(crc % RESP_SLOTS);
}
