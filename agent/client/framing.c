/*
 * Units of protocols that ride on WebSocket messages (agent/client/framing.h). Called by agent/client/dialogue.c for every message of a server
 * that is not trusted: every length is checked against FRAMING_UNIT_MAX before anything waits for it, and no byte is searched twice, so that
 * a stream in pieces of one byte costs no more than one in a piece. What a unit means is the dialect's business.
 */
#include "agent/client/framing.h"

#include <string.h>

#include "agent/base/text.h"

enum { LINE_BYTES_MAX = 64 << 10, NUMBER_DIGITS_MAX = 10 };

void framing_init(struct framing *framing, enum dialect_framing kind)
{
    memset(framing, 0, sizeof *framing);
    framing->kind = kind;
    buf_init(&framing->rest, FRAMING_UNIT_MAX + (4 << 20)); /* a message behind a unit that is nearly complete */
    buf_init(&framing->words, FRAMING_UNIT_MAX + 64);
}

static void charge(struct framing *framing)
{
    if (!framing->budget)
        return;
    framing->budget->used += framing->rest.cap - framing->charged;
    framing->charged = framing->rest.cap;
}

void framing_fini(struct framing *framing)
{
    buf_fini(&framing->rest);
    charge(framing);
    buf_fini(&framing->words);
}

bool framing_is_stream(const struct framing *framing)
{
    return framing->kind == FRAMING_STOMP || framing->kind == FRAMING_MQTT || framing->kind == FRAMING_NATS;
}

static bool is_over_budget(const struct framing *framing, size_t more)
{
    const struct ws_budget *budget = framing->budget;

    return budget && more > framing->rest.cap - framing->rest.len && budget->used + more > budget->max;
}

/* FRAMING_MESSAGE hands out empty messages, too: data that is not NULL says that there is one. */
void framing_feed(struct framing *framing, struct slice message)
{
    framing->input = message;
    framing->units = 0;
    if (!framing->input.data)
        framing->input.data = (const uint8_t *)"";
    if (!framing_is_stream(framing))
        return;
    if (is_over_budget(framing, message.len) || buf_append_slice(&framing->rest, message) < 0)
        framing->need = FRAMING_UNIT_MAX + 1; /* told by framing_next */
    charge(framing);
}

static int too_big(struct err *err)
{
    return err_set(err, REASON_MESSAGE_TOO_BIG, 1009, "a message of the dialect is larger than %d bytes", FRAMING_UNIT_MAX);
}

static int broken(struct err *err, const char *what)
{
    return err_set(err, REASON_PROTOCOL_ERROR, 1002, "%s", what);
}

/* Decimal and short; anything else is -1. */
static int read_number(struct slice text, size_t *value)
{
    char digits[NUMBER_DIGITS_MAX + 1];
    int64_t number;

    if (!text.len || text.len > NUMBER_DIGITS_MAX || text.data[0] < '0' || text.data[0] > '9')
        return -1;
    memcpy(digits, text.data, text.len);
    digits[text.len] = 0;
    if (text_parse_int(digits, &number) < 0)
        return -1;
    *value = (size_t)number;
    return 0;
}

/* Of a stream: the unit at the front, and what is behind it. */
static struct slice front(const struct framing *framing)
{
    return slice_skip(buf_slice(&framing->rest), framing->at);
}

/* Where `end` begins in the rest, looking only at what is new; -1: not there yet. */
static ptrdiff_t find_end(struct framing *framing, struct slice end)
{
    struct slice rest = front(framing);
    ptrdiff_t at = slice_find(slice_skip(rest, framing->searched), end);

    if (at >= 0)
        return (ptrdiff_t)framing->searched + at;
    framing->searched = rest.len >= end.len ? rest.len - end.len + 1 : 0;
    return -1;
}

/* --- several in a message --- */

static int next_part(struct framing *framing, uint8_t separator, struct slice *unit)
{
    while (framing->input.len) {
        const uint8_t *end = memchr(framing->input.data, separator, framing->input.len);
        size_t len = end ? (size_t)(end - framing->input.data) : framing->input.len;

        *unit = slice_make(framing->input.data, len);
        framing->input = slice_skip(framing->input, len + (end ? 1 : 0));
        if (separator == '\n' && unit->len && unit->data[unit->len - 1] == '\r')
            unit->len--;
        if (unit->len)
            return 1;
    }
    return 0;
}

/* --- STOMP 1.2: COMMAND, headers, a blank line, a body, NUL; line breaks between frames are heart-beats --- */

/* The body's length where the frame says it. `head` ends before the blank line. */
static int stomp_length(struct slice head, bool *have, size_t *len)
{
    static const char name[] = "\ncontent-length:";
    ptrdiff_t at = slice_find(head, slice_str(name));
    struct slice value;

    *have = at >= 0;
    if (!*have)
        return 0;
    value = slice_skip(head, (size_t)at + sizeof name - 1);
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] == '\r' || value.data[i] == '\n')
            value.len = i;
    return read_number(slice_trim(value), len);
}

static int stomp_need(struct framing *framing, struct err *err)
{
    ptrdiff_t nul = find_end(framing, slice_make("", 1));
    struct slice frame;
    ptrdiff_t head, cr;
    size_t len = 0;
    bool have;

    if (nul < 0)
        return 0;
    framing->need = (size_t)nul + 1;
    frame = slice_make(front(framing).data, (size_t)nul);
    head = slice_find(frame, slice_str("\n\n"));
    cr = slice_find(frame, slice_str("\n\r\n"));
    if (head < 0 && cr < 0)
        return 0;
    bool with_cr = head < 0 || (cr >= 0 && cr < head);
    if (with_cr)
        head = cr;
    if (stomp_length(slice_make(frame.data, (size_t)head), &have, &len) < 0)
        return broken(err, "a content-length that is no number (STOMP 1.2)");
    if (have)
        framing->need = (size_t)head + (with_cr ? 3 : 2) + len + 1;
    return 0;
}

static int next_stomp(struct framing *framing, struct slice *unit, struct err *err)
{
    struct slice rest = front(framing);

    if (!framing->need && !framing->searched) {
        while (rest.len && (rest.data[0] == '\n' || rest.data[0] == '\r'))
            rest = slice_make(rest.data + 1, rest.len - 1);
        framing->at = framing->rest.len - rest.len;
    }
    if (!framing->need && stomp_need(framing, err) < 0)
        return -1;
    if (framing->need > FRAMING_UNIT_MAX)
        return too_big(err);
    if (!framing->need || rest.len < framing->need)
        return 0;
    if (rest.data[framing->need - 1] != 0)
        return broken(err, "a frame's body does not end where content-length says (STOMP 1.2)");
    *unit = slice_make(rest.data, framing->need - 1);
    framing->taken = framing->need;
    return 1;
}

/* --- MQTT 3.1.1 --- */

/* The fixed header (2.2): how many bytes it has, 0 while it is not whole. */
static int mqtt_need(struct framing *framing, size_t *head, struct err *err)
{
    struct slice rest = front(framing);
    size_t len = 0;

    for (size_t i = 1; i < rest.len; i++) {
        if (i > 4)
            return broken(err, "a remaining length of more than four bytes (MQTT 3.1.1, 2.2.3)");
        len |= (size_t)(rest.data[i] & 0x7f) << (7 * (i - 1));
        if (rest.data[i] & 0x80)
            continue;
        *head = i + 1;
        framing->need = i + 1 + len;
        return framing->need > FRAMING_UNIT_MAX ? too_big(err) : 0;
    }
    return 0;
}

static unsigned u16_at(struct slice body, size_t at)
{
    return (unsigned)body.data[at] << 8 | body.data[at + 1];
}

static int mqtt_publish(struct buf *words, unsigned flags, struct slice body, struct err *err)
{
    bool has_id = (flags & 6) != 0;
    size_t topic_len = body.len >= 2 ? u16_at(body, 0) : 0;
    struct slice topic;

    if (body.len < 2 + topic_len + (has_id ? 2 : 0))
        return broken(err, "a PUBLISH that is shorter than its topic (MQTT 3.1.1, 3.3)");
    topic = slice_make(body.data + 2, topic_len);
    body = slice_skip(body, 2 + topic_len + (has_id ? 2 : 0));
    buf_append_str(words, "PUBLISH ");
    buf_append_slice(words, topic);
    buf_append_char(words, '\n');
    buf_append_slice(words, body);
    return 0;
}

static int mqtt_words(struct buf *words, uint8_t first, struct slice body, struct err *err)
{
    static const char *const names[16] = {
        [4] = "PUBACK", [5] = "PUBREC", [6] = "PUBREL", [7] = "PUBCOMP", [9] = "SUBACK", [11] = "UNSUBACK", [13] = "PINGRESP"
    };
    unsigned type = first >> 4;

    buf_reset(words);
    if (type == 3)
        return mqtt_publish(words, first & 15, body, err);
    if (type == 2) {
        if (body.len < 2)
            return broken(err, "a CONNACK without a return code (MQTT 3.1.1, 3.2)");
        buf_printf(words, "CONNACK %u", body.data[1]);
        return 0;
    }
    if (!names[type]) {
        buf_printf(words, "PACKET %u", type);
        return 0;
    }
    buf_append_str(words, names[type]);
    if (type != 13) {
        if (body.len < 2)
            return broken(err, "an acknowledgement without a packet identifier (MQTT 3.1.1, 2.3.1)");
        buf_printf(words, " %u", u16_at(body, 0));
    }
    for (size_t i = 2; type == 9 && i < body.len && i < 2 + 16; i++)
        buf_printf(words, " %u", body.data[i]);
    return 0;
}

static int next_mqtt(struct framing *framing, struct slice *unit, struct err *err)
{
    struct slice rest = front(framing);
    size_t head = 0;

    if (mqtt_need(framing, &head, err) < 0)
        return -1;
    if (!head || rest.len < framing->need)
        return 0;
    if (mqtt_words(&framing->words, rest.data[0], slice_make(rest.data + head, framing->need - head), err) < 0)
        return -1;
    *unit = buf_slice(&framing->words);
    framing->taken = framing->need;
    return 1;
}

/* --- NATS --- */

/* MSG subject sid [reply-to] bytes, HMSG …: the last word of the line is the length of what follows. */
static int nats_need(struct framing *framing, struct err *err)
{
    ptrdiff_t end = find_end(framing, slice_str("\r\n"));
    struct slice line, last;
    size_t len;

    if (end < 0)
        return framing->searched > LINE_BYTES_MAX ? too_big(err) : 0;
    line = slice_make(front(framing).data, (size_t)end);
    framing->need = line.len + 2;
    if (slice_find(line, slice_str("MSG ")) != 0 && slice_find(line, slice_str("HMSG ")) != 0)
        return 0;
    last = slice_trim(line);
    for (size_t i = last.len; i-- > 0;)
        if (last.data[i] == ' ' || last.data[i] == '\t') {
            last = slice_skip(last, i + 1);
            break;
        }
    if (read_number(last, &len) < 0)
        return broken(err, "a MSG without a length (NATS client protocol)");
    framing->need += len + 2;
    return 0;
}

static int next_nats(struct framing *framing, struct slice *unit, struct err *err)
{
    struct slice rest = front(framing);

    if (!framing->need && nats_need(framing, err) < 0)
        return -1;
    if (framing->need > FRAMING_UNIT_MAX)
        return too_big(err);
    if (!framing->need || rest.len < framing->need)
        return 0;
    if (memcmp(rest.data + framing->need - 2, "\r\n", 2) != 0)
        return broken(err, "a message that does not end where its length says (NATS client protocol)");
    *unit = slice_make(rest.data, framing->need - 2);
    framing->taken = framing->need;
    return 1;
}

/* --- all of them --- */

static int next_unit(struct framing *framing, struct slice *unit, struct err *err)
{
    switch (framing->kind) {
    case FRAMING_MESSAGE:
        *unit = framing->input;
        framing->input.data = NULL;
        return unit->data ? 1 : 0;
    case FRAMING_LINES:
        return next_part(framing, '\n', unit);
    case FRAMING_RECORDS:
        return next_part(framing, 0x1e, unit);
    case FRAMING_STOMP:
        return next_stomp(framing, unit, err);
    case FRAMING_MQTT:
        return next_mqtt(framing, unit, err);
    case FRAMING_NATS:
        return next_nats(framing, unit, err);
    }
    return 0;
}

int framing_next(struct framing *framing, struct slice *unit, struct err *err)
{
    int rc;

    if (framing->taken) {
        framing->at += framing->taken;
        framing->taken = framing->need = framing->searched = 0;
    }
    if (framing->need > FRAMING_UNIT_MAX)
        return too_big(err);
    rc = next_unit(framing, unit, err);
    if (rc > 0 && ++framing->units > FRAMING_UNITS_MAX)
        return err_set(err, REASON_MESSAGE_TOO_BIG, 1009, "more than %d messages of the dialect in one", FRAMING_UNITS_MAX);
    if (rc == 0 && framing->at) { /* once for each message: moving the rest for each unit would cost the square */
        buf_consume(&framing->rest, framing->at);
        framing->at = 0;
        if (!framing->rest.len)
            buf_fini(&framing->rest); /* a connection that is quiet costs nothing */
        charge(framing);
    }
    return rc;
}
