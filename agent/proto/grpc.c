/* See agent/proto/grpc.h. Called by agent/http/grpc.c. The few fields that are needed of protobuf's encoding: varints and lengths. */
#include "agent/proto/grpc.h"

#include <string.h>

enum { FRAME_BYTES = 5, WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5, VARINT_BYTES = 10 };

static bool take_varint(struct slice *in, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < in->len && i < VARINT_BYTES; i++) {
        *value |= (uint64_t)(in->data[i] & 0x7f) << (7 * i);
        if (!(in->data[i] & 0x80)) {
            *in = slice_make(in->data + i + 1, in->len - i - 1);
            return true;
        }
    }
    return false;
}

static bool take_bytes(struct slice *in, uint64_t len, struct slice *bytes)
{
    if (len > in->len)
        return false;
    *bytes = slice_make(in->data, (size_t)len);
    *in = slice_make(in->data + len, in->len - (size_t)len);
    return true;
}

/* One field: its number, and its bytes where it has a length. */
static bool take_field(struct slice *in, uint64_t *number, struct slice *bytes)
{
    uint64_t key, value;

    *bytes = slice_make(NULL, 0);
    if (!take_varint(in, &key))
        return false;
    *number = key >> 3;
    if (*number == 0)
        return false;
    switch (key & 7) {
    case WIRE_VARINT:
        return take_varint(in, &value);
    case WIRE_64:
        return take_bytes(in, 8, bytes);
    case WIRE_LENGTH:
        return take_varint(in, &value) && take_bytes(in, value, bytes);
    case WIRE_32:
        return take_bytes(in, 4, bytes);
    default:
        return false;
    }
}

enum grpc_status grpc_read_request(struct slice body, struct slice *service)
{
    *service = slice_make(NULL, 0);
    if (body.len < FRAME_BYTES)
        return GRPC_INVALID_ARGUMENT;
    if (body.data[0] != 0) /* compressed: nobody has said that this is understood */
        return GRPC_UNIMPLEMENTED;
    uint32_t len = (uint32_t)body.data[1] << 24 | (uint32_t)body.data[2] << 16 | (uint32_t)body.data[3] << 8 | body.data[4];
    struct slice message = slice_make(body.data + FRAME_BYTES, body.len - FRAME_BYTES);
    if (len != message.len)
        return GRPC_INVALID_ARGUMENT;
    while (message.len) {
        uint64_t number;
        struct slice bytes;
        bool is_text = (message.data[0] & 7) == WIRE_LENGTH;
        if (!take_field(&message, &number, &bytes))
            return GRPC_INVALID_ARGUMENT;
        if (number == 1 && is_text)
            *service = bytes;
    }
    return GRPC_OK;
}

static void put_frame(struct buf *out, size_t len)
{
    const uint8_t frame[FRAME_BYTES] = { 0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len };

    buf_append(out, frame, sizeof frame);
}

static void put_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_append_char(out, (char)(value | 0x80));
    buf_append_char(out, (char)value);
}

/* Of HealthCheckResponse: field 1, a varint. The default value is not written, but understood. */
static size_t health_bytes(enum grpc_health health)
{
    return health == GRPC_UNKNOWN ? 0 : 2;
}

static void put_health(struct buf *out, enum grpc_health health)
{
    if (health == GRPC_UNKNOWN)
        return;
    put_varint(out, 1 << 3 | WIRE_VARINT);
    put_varint(out, health);
}

void grpc_put_health(struct buf *out, enum grpc_health health)
{
    put_frame(out, health_bytes(health));
    put_health(out, health);
}

size_t grpc_list_begin(struct buf *out)
{
    size_t at = out->len;

    put_frame(out, 0);
    return at;
}

static size_t varint_bytes(uint64_t value)
{
    size_t len = 1;

    for (; value >= 0x80; value >>= 7)
        len++;
    return len;
}

/* An entry of map<string, HealthCheckResponse> statuses = 1: the key is field 1, the value field 2. */
void grpc_list_put(struct buf *out, const char *service, enum grpc_health health)
{
    size_t name = strlen(service), value = health_bytes(health);

    put_varint(out, 1 << 3 | WIRE_LENGTH);
    put_varint(out, 1 + varint_bytes(name) + name + 2 + value);
    put_varint(out, 1 << 3 | WIRE_LENGTH);
    put_varint(out, name);
    buf_append_str(out, service);
    put_varint(out, 2 << 3 | WIRE_LENGTH);
    put_varint(out, value);
    put_health(out, health);
}

void grpc_list_end(struct buf *out, size_t at)
{
    size_t len = out->len - at - FRAME_BYTES;

    for (size_t i = 0; i < 4; i++)
        out->data[at + 1 + i] = (uint8_t)(len >> (24 - 8 * i));
}
