/*
 * What an AMQP 0-9-1 broker says (agent/proto/amqp.h): frames cut from bytes, methods decoded by rabbitmq-c, messages put together from
 * their header and body frames. Called by the rabbitmq driver. Promises that nothing is decoded before its frame is whole, of a known
 * kind, on a channel of ours and within its ceiling, and that a message never takes more than was agreed; leaves what an event means, and
 * whether it was due, to the driver. What a client says is in agent/proto/amqp_put.c.
 */
#include "agent/proto/amqp.h"

#include <string.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

#include "agent/base/mem.h"
#include "agent/base/text.h"

enum {
    SHOWN_CHARS = 40,     /* of a foreign greeting */
    FRAME_HEAD_BYTES = 7, /* type, channel, length */
    CONTENT_HEAD_BYTES = 14,
    METHOD_ID_BYTES = 4,
    POOL_PAGE_BYTES = 4096,
    POOL_PAGES_KEPT = 4,
};

/* NONE: a method may come. HEAD: a delivery was announced. BODY: `due` bytes of it are missing. */
enum content { CONTENT_NONE, CONTENT_HEAD, CONTENT_BODY };

struct amqp_reader {
    struct buf held; /* the beginning of a frame that is not whole yet */
    bool held_used;  /* held is a frame that was handed out: to be dropped first */
    bool begun;      /* the first frame was whole */
    amqp_pool_t pool;
    enum content content;
    uint16_t channel; /* of the content */
    uint64_t due;
    bool skipping;   /* larger than max_body_bytes */
    uint64_t passed; /* how many were, since somebody asked */
    struct buf exchange, key, body;
};

struct amqp_reader *amqp_reader_new(uint32_t max_body_bytes)
{
    struct amqp_reader *reader = mem_alloc(sizeof *reader);
    buf_init(&reader->held, AMQP_FRAME_BYTES_MAX);
    buf_init(&reader->exchange, AMQP_NAME_MAX);
    buf_init(&reader->key, AMQP_NAME_MAX);
    buf_init(&reader->body, max_body_bytes);
    init_amqp_pool(&reader->pool, POOL_PAGE_BYTES);
    return reader;
}

void amqp_reader_free(struct amqp_reader *reader)
{
    if (!reader)
        return;
    buf_fini(&reader->held);
    buf_fini(&reader->exchange);
    buf_fini(&reader->key);
    buf_fini(&reader->body);
    empty_amqp_pool(&reader->pool);
    mem_free(reader);
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static struct slice slice_from(amqp_bytes_t bytes)
{
    return slice_make(bytes.bytes, bytes.len);
}

static int broken(struct err *err, const char *what)
{
    return err_set(err, REASON_BROKER_UNREACHABLE, 0, "the broker broke the AMQP protocol: %s", what);
}

/* --- frames --- */

static bool is_type(uint8_t type)
{
    return type == AMQP_FRAME_METHOD || type == AMQP_FRAME_HEADER || type == AMQP_FRAME_BODY || type == AMQP_FRAME_HEARTBEAT;
}

/* A peer that does not speak AMQP 0-9-1 shows it with its first byte; one that speaks another AMQP names its version. */
static int validate_first(const struct amqp_reader *reader, struct slice seen, struct err *err)
{
    char shown[TEXT_EXCERPT_BYTES(SHOWN_CHARS)];
    if (reader->begun || seen.len == 0 || is_type(seen.data[0]))
        return 0;
    if (seen.len >= AMQP_GREETING_BYTES && memcmp(seen.data, "AMQP", 4) == 0)
        return err_set(err, REASON_BROKER_UNREACHABLE, 0, "the peer speaks AMQP %u-%u-%u (protocol id %u), want 0-9-1",
                       seen.data[5], seen.data[6], seen.data[7], seen.data[4]);
    text_excerpt(seen, SHOWN_CHARS, shown, sizeof shown);
    return err_set(err, REASON_BROKER_UNREACHABLE, 0, "the peer does not speak AMQP: its answer begins with '%s'", shown);
}

/* The length of the frame that begins here, 0 where that is not known yet; -1: not acceptable. */
static int frame_length(struct slice seen, size_t *len, struct err *err)
{
    *len = 0;
    if (seen.len < FRAME_HEAD_BYTES)
        return 0;
    uint32_t payload = read_u32(seen.data + 3);
    if (!is_type(seen.data[0]))
        return broken(err, "a frame of an unknown type");
    if (read_u16(seen.data + 1) > AMQP_CHANNELS_MAX)
        return broken(err, "a frame on a channel that was never opened");
    if (payload > AMQP_FRAME_BYTES_MAX - FRAME_HEAD_BYTES - 1)
        return err_set(err, REASON_BROKER_UNREACHABLE, 0, "a frame of %u bytes from the broker, want at most %d", payload,
                       AMQP_FRAME_BYTES_MAX - FRAME_HEAD_BYTES - 1);
    *len = FRAME_HEAD_BYTES + (size_t)payload + 1;
    return 0;
}

/* Takes bytes of input until held is `want` bytes long, or input is empty. */
static void hold(struct amqp_reader *reader, struct slice *input, size_t want)
{
    size_t n = want > reader->held.len ? want - reader->held.len : 0;
    if (n > input->len)
        n = input->len;
    buf_append(&reader->held, input->data, n);
    *input = slice_skip(*input, n);
}

/* 1: a whole frame, which lies in input's bytes or in held. 0: more is needed. -1: err. */
static int take_frame(struct amqp_reader *reader, struct slice *input, struct slice *frame, struct err *err)
{
    size_t len = 0;
    if (reader->held_used) {
        buf_reset(&reader->held);
        reader->held_used = false;
    }
    if (reader->held.len == 0) {
        if (validate_first(reader, *input, err) < 0 || frame_length(*input, &len, err) < 0)
            return -1;
        if (len && input->len >= len) {
            *frame = slice_make(input->data, len);
            *input = slice_skip(*input, len);
            return 1;
        }
    }
    hold(reader, input, FRAME_HEAD_BYTES);
    if (validate_first(reader, buf_slice(&reader->held), err) < 0 || frame_length(buf_slice(&reader->held), &len, err) < 0)
        return -1;
    if (len == 0)
        return 0;
    hold(reader, input, len);
    if (reader->held.len < len)
        return 0;
    *frame = buf_slice(&reader->held);
    reader->held_used = true;
    return 1;
}

/* --- methods --- */

static void got_close(struct amqp_event *event, enum amqp_got got, uint16_t code, amqp_bytes_t text)
{
    event->got = got;
    event->code = code;
    event->text = slice_from(text);
}

static void got_confirm(struct amqp_event *event, enum amqp_got got, uint64_t tag, amqp_boolean_t multiple)
{
    event->got = got;
    event->tag = tag;
    event->multiple = multiple != 0;
}

static void got_start(struct amqp_event *event, const amqp_connection_start_t *start)
{
    event->got = AMQP_GOT_START;
    event->mechanisms = slice_from(start->mechanisms);
}

static void got_tune(struct amqp_event *event, const amqp_connection_tune_t *tune)
{
    event->got = AMQP_GOT_TUNE;
    event->channel_max = tune->channel_max;
    event->frame_max = tune->frame_max;
    event->heartbeat_s = tune->heartbeat;
}

static void announce(struct amqp_reader *reader, uint16_t channel, const amqp_basic_deliver_t *deliver)
{
    reader->content = CONTENT_HEAD;
    reader->channel = channel;
    buf_reset(&reader->exchange);
    buf_reset(&reader->key);
    buf_reset(&reader->body);
    /* Both are short strings: their length is one byte on the wire. */
    buf_append(&reader->exchange, deliver->exchange.bytes, deliver->exchange.len);
    buf_append(&reader->key, deliver->routing_key.bytes, deliver->routing_key.len);
}

/* Methods that carry something, but for those of the connection's beginning. false: not one of them. */
static bool got_plain(struct amqp_event *event, amqp_method_number_t id, const void *decoded)
{
    switch (id) {
    case AMQP_CONNECTION_OPEN_OK_METHOD:
        event->got = AMQP_GOT_OPEN_OK;
        return true;
    case AMQP_CONNECTION_CLOSE_OK_METHOD:
        event->got = AMQP_GOT_CLOSE_OK;
        return true;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        event->got = AMQP_GOT_UNBLOCKED;
        return true;
    case AMQP_QUEUE_BIND_OK_METHOD:
        event->got = AMQP_GOT_BIND_OK;
        return true;
    case AMQP_QUEUE_UNBIND_OK_METHOD:
        event->got = AMQP_GOT_UNBIND_OK;
        return true;
    case AMQP_BASIC_CONSUME_OK_METHOD:
        event->got = AMQP_GOT_CONSUME_OK;
        return true;
    case AMQP_BASIC_CANCEL_METHOD:
        event->got = AMQP_GOT_CANCEL;
        return true;
    case AMQP_CHANNEL_OPEN_OK_METHOD:
    case AMQP_CONFIRM_SELECT_OK_METHOD:
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
        event->got = AMQP_GOT_OTHER;
        return true;
    case AMQP_CONNECTION_BLOCKED_METHOD:
        event->got = AMQP_GOT_BLOCKED;
        event->text = slice_from(((const amqp_connection_blocked_t *)decoded)->reason);
        return true;
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        event->got = AMQP_GOT_QUEUE;
        event->key = slice_from(((const amqp_queue_declare_ok_t *)decoded)->queue);
        return true;
    default:
        return false;
    }
}

/* 1: an event. 0: a delivery was announced. -1: err. */
static int got_method(struct amqp_reader *reader, struct amqp_event *event, amqp_method_number_t id, const void *decoded,
                      struct err *err)
{
    const amqp_connection_close_t *close = decoded;
    const amqp_channel_close_t *channel_close = decoded;
    const amqp_basic_ack_t *ack = decoded;
    const amqp_basic_nack_t *nack = decoded;
    if (got_plain(event, id, decoded))
        return 1;
    switch (id) {
    case AMQP_CONNECTION_START_METHOD:
        got_start(event, decoded);
        return 1;
    case AMQP_CONNECTION_TUNE_METHOD:
        got_tune(event, decoded);
        return 1;
    case AMQP_CONNECTION_CLOSE_METHOD:
        got_close(event, AMQP_GOT_CLOSE, close->reply_code, close->reply_text);
        return 1;
    case AMQP_CHANNEL_CLOSE_METHOD:
        got_close(event, AMQP_GOT_CHANNEL_CLOSE, channel_close->reply_code, channel_close->reply_text);
        return 1;
    case AMQP_BASIC_ACK_METHOD:
        got_confirm(event, AMQP_GOT_ACK, ack->delivery_tag, ack->multiple);
        return 1;
    case AMQP_BASIC_NACK_METHOD:
        got_confirm(event, AMQP_GOT_NACK, nack->delivery_tag, nack->multiple);
        return 1;
    case AMQP_BASIC_DELIVER_METHOD:
        announce(reader, event->channel, decoded);
        return 0;
    default:
        return err_set(err, REASON_BROKER_UNREACHABLE, 0, "the broker sent %s, which nobody asked for", amqp_method_name(id));
    }
}

static int read_method(struct amqp_reader *reader, struct slice payload, struct amqp_event *event, struct err *err)
{
    void *decoded = NULL;
    if (payload.len < METHOD_ID_BYTES)
        return broken(err, "a method frame that ends too soon");
    if (reader->content != CONTENT_NONE && event->channel == reader->channel)
        return broken(err, "a method in the middle of a message");
    amqp_method_number_t id = read_u32(payload.data);
    struct slice fields = slice_skip(payload, METHOD_ID_BYTES);
    /* The library only reads from it. */
    amqp_bytes_t encoded = { .len = fields.len, .bytes = (void *)(uintptr_t)fields.data };
    if (amqp_decode_method(id, &reader->pool, encoded, &decoded) != AMQP_STATUS_OK)
        return broken(err, "a method that cannot be decoded");
    return got_method(reader, event, id, decoded, err);
}

/* --- messages --- */

static int got_message(struct amqp_reader *reader, struct amqp_event *event)
{
    reader->content = CONTENT_NONE;
    reader->passed += reader->skipping;
    if (reader->skipping)
        return 0;
    event->got = AMQP_GOT_MESSAGE;
    event->exchange = buf_slice(&reader->exchange);
    event->key = buf_slice(&reader->key);
    event->body = buf_slice(&reader->body);
    return 1;
}

static int read_head(struct amqp_reader *reader, struct slice payload, struct amqp_event *event, struct err *err)
{
    if (reader->content != CONTENT_HEAD || event->channel != reader->channel)
        return broken(err, "the head of a message that was not announced");
    if (payload.len < CONTENT_HEAD_BYTES || read_u16(payload.data) != AMQP_BASIC_CLASS)
        return broken(err, "the head of a message that ends too soon");
    reader->due = (uint64_t)read_u32(payload.data + 4) << 32 | read_u32(payload.data + 8);
    reader->skipping = reader->due > reader->body.max;
    reader->content = CONTENT_BODY;
    return reader->due == 0 ? got_message(reader, event) : 0;
}

static int read_body(struct amqp_reader *reader, struct slice payload, struct amqp_event *event, struct err *err)
{
    if (reader->content != CONTENT_BODY || event->channel != reader->channel)
        return broken(err, "the body of a message that was not announced");
    if (payload.len > reader->due)
        return broken(err, "a message that is longer than it said");
    reader->due -= payload.len;
    if (!reader->skipping)
        buf_append_slice(&reader->body, payload);
    return reader->due == 0 ? got_message(reader, event) : 0;
}

/* --- the reader --- */

uint64_t amqp_reader_passed(struct amqp_reader *reader)
{
    uint64_t passed = reader->passed;
    reader->passed = 0;
    return passed;
}

static int read_frame(struct amqp_reader *reader, struct slice frame, struct amqp_event *event, struct err *err)
{
    struct slice payload = slice_make(frame.data + FRAME_HEAD_BYTES, frame.len - FRAME_HEAD_BYTES - 1);
    if (frame.data[frame.len - 1] != AMQP_FRAME_END)
        return broken(err, "a frame without its end mark");
    memset(event, 0, sizeof *event);
    event->channel = read_u16(frame.data + 1);
    reader->begun = true;
    switch (frame.data[0]) {
    case AMQP_FRAME_METHOD:
        return read_method(reader, payload, event, err);
    case AMQP_FRAME_HEADER:
        return read_head(reader, payload, event, err);
    case AMQP_FRAME_BODY:
        return read_body(reader, payload, event, err);
    default:
        event->got = AMQP_GOT_HEARTBEAT;
        return 1;
    }
}

/* What the last method was decoded into. Tables may have taken a lot of it: not kept. */
static void clear_pool(struct amqp_reader *reader)
{
    bool large = reader->pool.pages.num_blocks > POOL_PAGES_KEPT;
    if (!large) {
        recycle_amqp_pool(&reader->pool);
        return;
    }
    empty_amqp_pool(&reader->pool);
    init_amqp_pool(&reader->pool, POOL_PAGE_BYTES);
}

enum amqp_progress amqp_reader_feed(struct amqp_reader *reader, struct slice *input, struct amqp_event *event, struct err *err)
{
    while (input->len) {
        struct slice frame;
        clear_pool(reader);
        int rc = take_frame(reader, input, &frame, err);
        if (rc > 0)
            rc = read_frame(reader, frame, event, err);
        if (rc != 0)
            return rc > 0 ? AMQP_EVENT : AMQP_BAD;
    }
    return AMQP_MORE;
}
