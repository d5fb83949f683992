/*
 * The UTF-8 check of text messages and close reasons. agent/proto/ws.c feeds it fragment by fragment. It judges and changes nothing.
 *
 * The state says what may come next: how many continuation bytes are missing (low byte), and the range of the next one (second and
 * third byte), which is narrower behind a first byte that could begin an overlong form, a surrogate or a value past U+10FFFF.
 */
#include "agent/proto/utf8.h"

#include <string.h>

#define EXPECT(missing, low, high) ((uint32_t)(missing) | (uint32_t)(low) << 8 | (uint32_t)(high) << 16)

/* An empty range: no byte leads out of it. */
#define BROKEN EXPECT(1, 0xff, 0)

static uint32_t after_first(uint8_t c)
{
    if (c < 0x80)
        return 0;
    if (c < 0xc2)
        return BROKEN;
    if (c < 0xe0)
        return EXPECT(1, 0x80, 0xbf);
    if (c < 0xf0)
        return EXPECT(2, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf);
    if (c < 0xf5)
        return EXPECT(3, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf);
    return BROKEN;
}

static uint32_t after_next(uint32_t state, uint8_t c)
{
    uint32_t missing = state & 0xff;
    if (c < (state >> 8 & 0xff) || c > (state >> 16 & 0xff))
        return BROKEN;
    return missing == 1 ? 0 : EXPECT(missing - 1, 0x80, 0xbf);
}

/* Most text is ASCII: eight bytes at a time. */
static size_t ascii_prefix(struct slice s)
{
    size_t i = 0;
    for (uint64_t word; s.len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, s.data + i, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    return i;
}

bool utf8_feed(uint32_t *state, struct slice bytes)
{
    uint32_t now = *state;
    for (size_t i = 0; i < bytes.len && now != BROKEN;) {
        if (now == 0) {
            size_t ascii = ascii_prefix(slice_skip(bytes, i));
            if (ascii) {
                i += ascii;
                continue;
            }
        }
        now = now ? after_next(now, bytes.data[i]) : after_first(bytes.data[i]);
        i++;
    }
    *state = now;
    return now != BROKEN;
}

bool utf8_valid(struct slice bytes)
{
    uint32_t state = 0;
    return utf8_feed(&state, bytes) && utf8_complete(state);
}
