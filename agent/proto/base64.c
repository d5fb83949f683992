/*
 * base64 with the standard alphabet: WebSocket keys, basic authentication, binary texts of the configuration. Reading is strict, as
 * the handshake needs it: no blanks, full padding, and no stray bits behind the last byte, so that a value has one spelling.
 */
#include "agent/proto/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct slice in, char *out)
{
    while (in.len) {
        uint32_t bits = (uint32_t)in.data[0] << 16;
        if (in.len > 1)
            bits |= (uint32_t)in.data[1] << 8;
        if (in.len > 2)
            bits |= in.data[2];
        *out++ = alphabet[bits >> 18];
        *out++ = alphabet[bits >> 12 & 63];
        *out++ = in.len > 1 ? alphabet[bits >> 6 & 63] : '=';
        *out++ = in.len > 2 ? alphabet[bits & 63] : '=';
        in = slice_skip(in, 3);
    }
    *out = '\0';
}

static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, the last `padding` of which are '='. */
static int decode_group(const uint8_t *in, size_t padding, uint8_t out[3])
{
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        int value = i >= 4 - padding ? 0 : value_of(in[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (uint32_t)value;
    }
    if (bits & ((1U << 8 * padding) - 1))
        return -1;
    out[0] = (uint8_t)(bits >> 16);
    out[1] = (uint8_t)(bits >> 8);
    out[2] = (uint8_t)bits;
    return 0;
}

int base64_decode(struct slice in, struct buf *out)
{
    size_t before = out->len;
    if (in.len % 4 != 0)
        return -1;
    while (in.len) {
        uint8_t bytes[3];
        size_t padding = 0;
        if (in.len == 4 && in.data[3] == '=')
            padding = in.data[2] == '=' ? 2 : 1;
        if (decode_group(in.data, padding, bytes) || buf_append(out, bytes, 3 - padding)) {
            out->len = before;
            return -1;
        }
        in = slice_skip(in, 4);
    }
    return 0;
}
