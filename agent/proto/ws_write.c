/*
 * The writing side of RFC 6455: frames, masking, close codes. Called by whoever holds an upgraded connection, and by the reader
 * (ws.c) for masking and close codes. Our own reader takes every frame that it writes. The caller decides what to send and when.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/proto/ws.h"

void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], size_t offset)
{
    uint8_t turned[8]; /* the key as it lies over data, twice */
    uint64_t wide;

    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = key[(offset + i) & 3];
    memcpy(&wide, turned, sizeof wide);
    while (len >= sizeof wide) { /* memcpy: any alignment, and the compiler makes one load and one store of it */
        uint64_t word;
        memcpy(&word, data, sizeof word);
        word ^= wide;
        memcpy(data, &word, sizeof word);
        data += sizeof word;
        len -= sizeof word;
    }
    for (size_t i = 0; i < len; i++)
        data[i] ^= turned[i];
}

static size_t write_header(uint8_t *at, enum ws_role role, unsigned first, size_t len)
{
    unsigned masked = role == WS_CLIENT ? 0x80 : 0;
    uint8_t *start = at;

    *at++ = (uint8_t)first;
    if (len < 126) {
        *at++ = (uint8_t)(masked | len);
    } else if (len <= UINT16_MAX) {
        *at++ = (uint8_t)(masked | 126);
        *at++ = (uint8_t)(len >> 8);
        *at++ = (uint8_t)len;
    } else {
        *at++ = (uint8_t)(masked | 127);
        for (int shift = 56; shift >= 0; shift -= 8)
            *at++ = (uint8_t)((uint64_t)len >> shift);
    }
    return (size_t)(at - start);
}

int ws_write_frame(struct buf *out, enum ws_role role, enum ws_opcode opcode, bool fin, bool rsv1, struct slice payload)
{
    panic_if(opcode >= WS_CLOSE && (payload.len > WS_CONTROL_MAX || !fin));
    uint8_t header[WS_HEADER_MAX];
    size_t size = write_header(header, role, (fin ? 0x80U : 0U) | (rsv1 ? 0x40U : 0U) | (unsigned)opcode, payload.len);
    if (role == WS_CLIENT) {
        random_bytes(header + size, 4);
        size += 4;
    }
    if (payload.len > SIZE_MAX - size)
        return -1;
    uint8_t *at = buf_reserve(out, size + payload.len);
    if (!at)
        return -1;
    memcpy(at, header, size);
    if (payload.len)
        memcpy(at + size, payload.data, payload.len);
    if (role == WS_CLIENT)
        ws_mask(at + size, payload.len, header + size - 4, 0);
    out->len += size + payload.len;
    return 0;
}

int ws_write_close(struct buf *out, enum ws_role role, uint16_t code, const char *text)
{
    uint8_t body[WS_CONTROL_MAX] = { 0 };
    struct slice reason = slice_str(text);

    if (code == WS_CODE_NO_STATUS)
        return ws_write_frame(out, role, WS_CLOSE, true, false, slice_make(body, 0));
    if (reason.len > WS_CLOSE_REASON_MAX) {
        reason.len = WS_CLOSE_REASON_MAX;
        while (reason.len && (reason.data[reason.len] & 0xc0) == 0x80)
            reason.len--; /* the first byte that is left out must begin a character */
    }
    body[0] = (uint8_t)(code >> 8);
    body[1] = (uint8_t)code;
    if (reason.len)
        memcpy(body + 2, reason.data, reason.len);
    return ws_write_frame(out, role, WS_CLOSE, true, false, slice_make(body, 2 + reason.len));
}

bool ws_close_code_valid(uint16_t code)
{
    if (code >= 3000 && code <= 4999)
        return true;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

const char *ws_close_code_name(uint16_t code)
{
    static const char *const names[] = {
        "normal closure",
        "going away",
        "protocol error",
        "unsupported data",
        "",
        "no status",
        "abnormal",
        "invalid payload",
        "policy violation",
        "message too big",
        "extension wanted",
        "internal error",
        "service restart",
        "try again later",
        "bad gateway",
        "TLS handshake failed",
    };
    return code >= 1000 && code < 1000 + sizeof names / sizeof *names ? names[code - 1000] : "";
}
