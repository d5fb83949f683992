/*
 * What an AMQP 0-9-1 client says (agent/proto/amqp.h): one function for each method, encoded by rabbitmq-c and put into a frame. Called by
 * the rabbitmq driver. Promises that a buf gets whole frames or nothing.
 */
#include "agent/proto/amqp.h"

#include <stdio.h>
#include <string.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

enum {
    FRAME_HEAD_BYTES = 7,
    FRAME_EXTRA_BYTES = FRAME_HEAD_BYTES + 1,
    PAYLOAD_MAX = AMQP_FRAME_BYTES_MIN - FRAME_EXTRA_BYTES,
    METHOD_ID_BYTES = 4,
    CONTENT_HEAD_BYTES = 12, /* class, weight, length of the body */
    PLAIN_MAX = 1024,
    TRANSIENT = 1, /* delivery mode */
};

static void write_u16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void write_u32(uint8_t *p, uint32_t value)
{
    write_u16(p, (uint16_t)(value >> 16));
    write_u16(p + 2, (uint16_t)value);
}

static void write_head(uint8_t *frame, uint8_t type, uint16_t channel, size_t payload)
{
    frame[0] = type;
    write_u16(frame + 1, channel);
    write_u32(frame + 3, (uint32_t)payload);
}

/* The library only reads from it. */
static amqp_bytes_t bytes_of(struct slice s)
{
    return (amqp_bytes_t){ .len = s.len, .bytes = (void *)(uintptr_t)s.data };
}

static amqp_bytes_t bytes_of_str(const char *text)
{
    return bytes_of(slice_str(text));
}

static bool too_long(const char *name)
{
    return strlen(name) > AMQP_NAME_MAX;
}

static int put_method(struct buf *out, uint16_t channel, amqp_method_number_t id, void *fields)
{
    uint8_t *frame = buf_reserve(out, PAYLOAD_MAX + FRAME_EXTRA_BYTES);
    if (!frame)
        return -1;
    amqp_bytes_t room = { .len = PAYLOAD_MAX - METHOD_ID_BYTES, .bytes = frame + FRAME_HEAD_BYTES + METHOD_ID_BYTES };
    int len = amqp_encode_method(id, fields, room);
    if (len < 0)
        return -1;
    size_t payload = METHOD_ID_BYTES + (size_t)len;
    write_head(frame, AMQP_FRAME_METHOD, channel, payload);
    write_u32(frame + FRAME_HEAD_BYTES, id);
    frame[FRAME_HEAD_BYTES + payload] = AMQP_FRAME_END;
    out->len += payload + FRAME_EXTRA_BYTES;
    return 0;
}

int amqp_put_greeting(struct buf *out)
{
    static const uint8_t greeting[AMQP_GREETING_BYTES] = { 'A', 'M', 'Q', 'P', 0, 0, 9, 1 };
    return buf_append(out, greeting, sizeof greeting);
}

static amqp_table_entry_t entry_text(const char *key, const char *value)
{
    return (amqp_table_entry_t){ .key = bytes_of_str(key),
                                 .value = { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of_str(value) } };
}

static amqp_table_entry_t entry_true(const char *key)
{
    return (amqp_table_entry_t){ .key = bytes_of_str(key), .value = { .kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1 } };
}

int amqp_put_start_ok(struct buf *out, const struct amqp_login *login)
{
    amqp_table_entry_t able[] = { entry_true("authentication_failure_close"), entry_true("basic.nack"),
                                  entry_true("connection.blocked"), entry_true("consumer_cancel_notify"),
                                  entry_true("publisher_confirms") };
    amqp_table_entry_t about[] = {
        entry_text("product", "wshealthd"),
        entry_text("connection_name", login->name),
        { .key = bytes_of_str("capabilities"),
          .value = { .kind = AMQP_FIELD_KIND_TABLE,
                     .value.table = { .num_entries = sizeof able / sizeof *able, .entries = able } } },
    };
    char plain[PLAIN_MAX];
    int len = 0;
    if (strcmp(login->mechanism, "PLAIN") == 0) { /* RFC 4616: no identity, user, password, with a NUL before each of the latter */
        len = snprintf(plain, sizeof plain, "%c%s%c%s", 0, login->user, 0, login->password);
        if (len < 0 || (size_t)len >= sizeof plain)
            return -1;
    }
    amqp_connection_start_ok_t fields = { .client_properties = { .num_entries = sizeof about / sizeof *about, .entries = about },
                                          .mechanism = bytes_of_str(login->mechanism),
                                          .response = bytes_of(slice_make(plain, (size_t)len)),
                                          .locale = bytes_of_str("en_US") };
    return put_method(out, 0, AMQP_CONNECTION_START_OK_METHOD, &fields);
}

int amqp_put_tune_ok(struct buf *out, uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat_s)
{
    amqp_connection_tune_ok_t fields = { .channel_max = channel_max, .frame_max = frame_max, .heartbeat = heartbeat_s };
    return put_method(out, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &fields);
}

int amqp_put_open(struct buf *out, const char *vhost)
{
    amqp_connection_open_t fields = { .virtual_host = bytes_of_str(vhost) };
    return too_long(vhost) ? -1 : put_method(out, 0, AMQP_CONNECTION_OPEN_METHOD, &fields);
}

int amqp_put_close(struct buf *out, const char *text)
{
    amqp_connection_close_t fields = { .reply_code = AMQP_REPLY_SUCCESS, .reply_text = bytes_of_str(text) };
    return too_long(text) ? -1 : put_method(out, 0, AMQP_CONNECTION_CLOSE_METHOD, &fields);
}

int amqp_put_close_ok(struct buf *out)
{
    amqp_connection_close_ok_t fields = { 0 };
    return put_method(out, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &fields);
}

int amqp_put_heartbeat(struct buf *out)
{
    uint8_t frame[FRAME_EXTRA_BYTES];
    write_head(frame, AMQP_FRAME_HEARTBEAT, 0, 0);
    frame[FRAME_HEAD_BYTES] = AMQP_FRAME_END;
    return buf_append(out, frame, sizeof frame);
}

int amqp_put_channel_open(struct buf *out, uint16_t channel)
{
    amqp_channel_open_t fields = { .out_of_band = { 0 } };
    return put_method(out, channel, AMQP_CHANNEL_OPEN_METHOD, &fields);
}

int amqp_put_channel_close_ok(struct buf *out, uint16_t channel)
{
    amqp_channel_close_ok_t fields = { 0 };
    return put_method(out, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &fields);
}

int amqp_put_confirm_select(struct buf *out, uint16_t channel)
{
    amqp_confirm_select_t fields = { .nowait = 0 };
    return put_method(out, channel, AMQP_CONFIRM_SELECT_METHOD, &fields);
}

int amqp_put_exchange_exists(struct buf *out, uint16_t channel, const char *exchange)
{
    amqp_exchange_declare_t fields = { .exchange = bytes_of_str(exchange), .type = bytes_of_str("direct"), .passive = 1 };
    return too_long(exchange) ? -1 : put_method(out, channel, AMQP_EXCHANGE_DECLARE_METHOD, &fields);
}

int amqp_put_queue_declare(struct buf *out, uint16_t channel, const char *name)
{
    amqp_queue_declare_t fields = { .queue = bytes_of_str(name), .exclusive = 1, .auto_delete = 1 };
    return too_long(name) ? -1 : put_method(out, channel, AMQP_QUEUE_DECLARE_METHOD, &fields);
}

int amqp_put_consume(struct buf *out, uint16_t channel)
{
    amqp_basic_consume_t fields = { .no_ack = 1 };
    return put_method(out, channel, AMQP_BASIC_CONSUME_METHOD, &fields);
}

int amqp_put_bind(struct buf *out, uint16_t channel, const struct amqp_binding *binding)
{
    amqp_queue_bind_t fields = { .queue = bytes_of_str(binding->queue),
                                 .exchange = bytes_of_str(binding->exchange),
                                 .routing_key = bytes_of(binding->key) };
    if (too_long(binding->queue) || too_long(binding->exchange) || binding->key.len > AMQP_NAME_MAX)
        return -1;
    return put_method(out, channel, AMQP_QUEUE_BIND_METHOD, &fields);
}

int amqp_put_unbind(struct buf *out, uint16_t channel, const struct amqp_binding *binding)
{
    amqp_queue_unbind_t fields = { .queue = bytes_of_str(binding->queue),
                                   .exchange = bytes_of_str(binding->exchange),
                                   .routing_key = bytes_of(binding->key) };
    if (too_long(binding->queue) || too_long(binding->exchange) || binding->key.len > AMQP_NAME_MAX)
        return -1;
    return put_method(out, channel, AMQP_QUEUE_UNBIND_METHOD, &fields);
}

static int put_content_head(struct buf *out, uint16_t channel, const struct amqp_message *message)
{
    char expires[32];
    amqp_basic_properties_t fields = { ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_APP_ID_FLAG,
                                       .delivery_mode = TRANSIENT,
                                       .app_id = bytes_of_str("wshealthd") };
    uint8_t *frame = buf_reserve(out, PAYLOAD_MAX + FRAME_EXTRA_BYTES);
    if (!frame)
        return -1;
    if (message->expires_ms > 0) {
        snprintf(expires, sizeof expires, "%lld", (long long)message->expires_ms);
        fields._flags |= AMQP_BASIC_EXPIRATION_FLAG;
        fields.expiration = bytes_of_str(expires);
    }
    uint8_t *payload = frame + FRAME_HEAD_BYTES;
    amqp_bytes_t room = { .len = PAYLOAD_MAX - CONTENT_HEAD_BYTES, .bytes = payload + CONTENT_HEAD_BYTES };
    int len = amqp_encode_properties(AMQP_BASIC_CLASS, &fields, room);
    if (len < 0)
        return -1;
    write_head(frame, AMQP_FRAME_HEADER, channel, CONTENT_HEAD_BYTES + (size_t)len);
    write_u16(payload, AMQP_BASIC_CLASS);
    write_u16(payload + 2, 0);
    write_u32(payload + 4, 0);
    write_u32(payload + 8, (uint32_t)message->body.len);
    payload[CONTENT_HEAD_BYTES + len] = AMQP_FRAME_END;
    out->len += CONTENT_HEAD_BYTES + (size_t)len + FRAME_EXTRA_BYTES;
    return 0;
}

static int put_body(struct buf *out, uint16_t channel, struct slice body, uint32_t frame_bytes)
{
    while (body.len) {
        size_t n = body.len < frame_bytes - FRAME_EXTRA_BYTES ? body.len : frame_bytes - FRAME_EXTRA_BYTES;
        uint8_t *frame = buf_reserve(out, n + FRAME_EXTRA_BYTES);
        if (!frame)
            return -1;
        write_head(frame, AMQP_FRAME_BODY, channel, n);
        memcpy(frame + FRAME_HEAD_BYTES, body.data, n);
        frame[FRAME_HEAD_BYTES + n] = AMQP_FRAME_END;
        out->len += n + FRAME_EXTRA_BYTES;
        body = slice_skip(body, n);
    }
    return 0;
}

int amqp_put_publish(struct buf *out, uint16_t channel, const struct amqp_message *message)
{
    size_t before = out->len;
    amqp_basic_publish_t fields = { .exchange = bytes_of_str(message->exchange), .routing_key = bytes_of(message->key) };
    if (too_long(message->exchange) || message->key.len > AMQP_NAME_MAX || message->body.len > UINT32_MAX)
        return -1;
    if (put_method(out, channel, AMQP_BASIC_PUBLISH_METHOD, &fields) == 0 && put_content_head(out, channel, message) == 0 &&
        put_body(out, channel, message->body, message->frame_bytes) == 0)
        return 0;
    out->len = before;
    return -1;
}
