/* The broker's side of AMQP for tests: its methods by rabbitmq-c's encoder, and frames made by hand, good ones and others. */
#ifndef WSHEALTHD_TESTS_AMQP_SERVER_H
#define WSHEALTHD_TESTS_AMQP_SERVER_H

#include <stdint.h>
#include <string.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#endif

#include "agent/base/buf.h"
#include "agent/base/mem.h"

enum { SERVER_METHOD_MAX = 8192 };

static inline amqp_bytes_t server_text(const char *text)
{
    return (amqp_bytes_t){ .len = strlen(text), .bytes = (void *)(uintptr_t)text };
}

static inline void server_frame(struct buf *out, uint8_t type, uint16_t channel, const void *payload, size_t len)
{
    const uint8_t head[7] = {
        type,        (uint8_t)(channel >> 8), (uint8_t)channel, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
        (uint8_t)len
    };
    buf_append(out, head, sizeof head);
    buf_append(out, payload, len);
    buf_append_char(out, (char)AMQP_FRAME_END);
}

static inline void server_method(struct buf *out, uint16_t channel, amqp_method_number_t id, void *fields)
{
    uint8_t payload[SERVER_METHOD_MAX] = { (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id };
    int len = amqp_encode_method(id, fields, (amqp_bytes_t){ .len = sizeof payload - 4, .bytes = payload + 4 });
    panic_if(len < 0);
    server_frame(out, AMQP_FRAME_METHOD, channel, payload, (size_t)len + 4);
}

static inline void server_start(struct buf *out, const char *mechanisms)
{
    amqp_table_entry_t about[] = { { .key = server_text("product"),
                                     .value = { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = server_text("test") } } };
    amqp_connection_start_t start = { .version_minor = 9,
                                      .server_properties = { .num_entries = 1, .entries = about },
                                      .mechanisms = server_text(mechanisms),
                                      .locales = server_text("en_US") };
    server_method(out, 0, AMQP_CONNECTION_START_METHOD, &start);
}

static inline void server_tune(struct buf *out, uint32_t frame_max, uint16_t heartbeat)
{
    amqp_connection_tune_t tune = { .channel_max = 2047, .frame_max = frame_max, .heartbeat = heartbeat };
    server_method(out, 0, AMQP_CONNECTION_TUNE_METHOD, &tune);
}

static inline void server_close(struct buf *out, uint16_t code, const char *text)
{
    amqp_connection_close_t close = { .reply_code = code, .reply_text = server_text(text) };
    server_method(out, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
}

static inline void server_channel_close(struct buf *out, uint16_t channel, uint16_t code, const char *text)
{
    amqp_channel_close_t close = { .reply_code = code, .reply_text = server_text(text) };
    server_method(out, channel, AMQP_CHANNEL_CLOSE_METHOD, &close);
}

static inline void server_ack(struct buf *out, uint16_t channel, uint64_t tag, bool multiple)
{
    amqp_basic_ack_t ack = { .delivery_tag = tag, .multiple = multiple };
    server_method(out, channel, AMQP_BASIC_ACK_METHOD, &ack);
}

static inline void server_deliver(struct buf *out, uint16_t channel, const char *exchange, const char *key)
{
    amqp_basic_deliver_t deliver = {
        .consumer_tag = server_text("tag"), .delivery_tag = 1, .exchange = server_text(exchange), .routing_key = server_text(key)
    };
    server_method(out, channel, AMQP_BASIC_DELIVER_METHOD, &deliver);
}

static inline void server_head(struct buf *out, uint16_t channel, uint64_t len)
{
    uint8_t payload[14] = { 0, AMQP_BASIC_CLASS };
    for (int i = 0; i < 8; i++)
        payload[4 + i] = (uint8_t)(len >> (56 - 8 * i));
    server_frame(out, AMQP_FRAME_HEADER, channel, payload, sizeof payload);
}

static inline void server_message(struct buf *out, uint16_t channel, const char *exchange, const char *key, struct slice body)
{
    server_deliver(out, channel, exchange, key);
    server_head(out, channel, body.len);
    if (body.len)
        server_frame(out, AMQP_FRAME_BODY, channel, body.data, body.len);
}

#endif
