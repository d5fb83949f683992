/*
 * The zlib streams of permessage-deflate (RFC 7692, 7.2), one for each direction. Called by the frame reader (inflating) and by whoever
 * sends messages (deflating). They promise bounded memory and bounded output: a step never puts out more than its room. The negotiation is
 * deflate_offer.c; frames are ws.c.
 *
 * A window of 2^8 bytes is a trap when deflating: zlib refuses raw data with it and, asked in the zlib format, silently uses 2^9.
 * Run-length matches (distance one only) stay within any window.
 *
 * Inflating has another one: zlib holds a distance against its window and what the running call has put out, so that the verdict on a
 * sender that points back too far would depend on how its bytes were cut on the way. With one byte of output for each call that is the
 * window and nothing else. It costs about 40 ns a byte, and is done only where a window below the largest was negotiated: with the
 * largest, DEFLATE itself cannot point back further. A decoder of our own beside zlib was the alternative: faster, and a second one to trust.
 */
#include "agent/proto/deflate.h"

#include <string.h>
#include <zlib.h>

#include "agent/base/mem.h"

enum {
    ZLIB_BITS_MIN = 9,      /* for raw deflating */
    DEFLATE_BITS_OURS = 12, /* the window that we deflate with, where the peer allows more: 24 KiB in place of 260 */
    DEFLATE_MEM_LEVEL = 4,
    DEFLATE_STEP = 512,
    FLUSH_ROOM = 7, /* zlib repeats the flush marker when it is left with six bytes or fewer */
};

static const uint8_t message_tail[4] = { 0x00, 0x00, 0xff, 0xff }; /* what the sender has cut off (7.2.1) */

struct inflater {
    z_stream z;
    const char *peer;
    uint64_t history; /* bytes that the window may reach back to */
    uint32_t last;    /* the last four bytes of this message as sent */
    uint8_t bits;
    bool no_context;
    bool at_boundary; /* of a block, after the last inflate() */
    bool uncut;       /* the message still had its tail */
};

struct deflater {
    z_stream z;
    bool no_context;
};

static void *zlib_alloc(void *user, unsigned items, unsigned size)
{
    (void)user;
    return mem_realloc(NULL, (size_t)items * size); /* not zeroed: zlib does not need it */
}

static void zlib_free(void *user, void *p)
{
    (void)user;
    mem_free(p);
}

struct inflater *inflater_new(uint8_t bits, bool no_context_takeover, const char *peer)
{
    panic_if(bits < 8 || bits > MAX_WBITS);
    struct inflater *inflater = mem_alloc(sizeof *inflater);
    inflater->peer = peer;
    inflater->bits = bits;
    inflater->no_context = no_context_takeover;
    inflater->last = UINT32_MAX;
    inflater->z.zalloc = zlib_alloc;
    inflater->z.zfree = zlib_free;
    int rc = inflateInit2(&inflater->z, -bits);
    panic_if(rc != Z_OK);
    return inflater;
}

void inflater_free(struct inflater *inflater)
{
    if (!inflater)
        return;
    inflateEnd(&inflater->z);
    mem_free(inflater);
}

static int fail_data(struct err *err, const char *what)
{
    return err_set(err, REASON_PROTOCOL_ERROR, 1007, "compressed message is not DEFLATE data: %s (RFC 7692, 7.2.2)", what);
}

/* A distance that points back too far. zlib does not say beyond what, but only one of these is possible. */
static int fail_distance(const struct inflater *inflater, struct err *err)
{
    if (inflater->bits < MAX_WBITS && inflater->history >= 1U << inflater->bits)
        return err_set(
            err, REASON_PROTOCOL_ERROR, 1007,
            "compressed message points back beyond the window of %u bytes, %s_max_window_bits is %u (RFC 7692, 7.1.2.%d)",
            1U << inflater->bits, inflater->peer, inflater->bits, *inflater->peer == 's' ? 1 : 2);
    if (inflater->no_context)
        return err_set(
            err, REASON_PROTOCOL_ERROR, 1007,
            "compressed message points back beyond its own beginning, %s_no_context_takeover was agreed (RFC 7692, 7.1.1.%d)",
            inflater->peer, *inflater->peer == 's' ? 1 : 2);
    return fail_data(err, "it points back beyond the first byte");
}

/* What inflate() has left behind, and the end of a DEFLATE stream inside a message (BFINAL, 7.2.3.4): another one may begin, and the
 * window lives on. inflateResetKeep is the only reset that keeps it without copying it, which a peer could make us do for every two bytes. */
static void note_boundary(struct inflater *inflater, int rc)
{
    enum { UNUSED_BITS = 63, AT_BLOCK = 128 }; /* of z_stream.data_type */
    inflater->at_boundary = rc == Z_STREAM_END || (inflater->z.data_type & (AT_BLOCK | UNUSED_BITS)) == AT_BLOCK;
    if (rc == Z_STREAM_END)
        panic_if(inflateResetKeep(&inflater->z) != Z_OK);
}

/* Moves *in to where zlib has got, and remembers the last bytes on the way. */
static void note_eaten(struct inflater *inflater, struct slice *in)
{
    size_t eaten = in->len - inflater->z.avail_in;
    for (size_t i = eaten > 4 ? eaten - 4 : 0; i < eaten; i++)
        inflater->last = inflater->last << 8 | in->data[i];
    *in = slice_skip(*in, eaten);
}

int inflater_step(struct inflater *inflater, struct slice *in, uint8_t *out, size_t room, size_t *made, struct err *err)
{
    z_stream *z = &inflater->z;
    bool exact = inflater->bits < MAX_WBITS;

    panic_if(in->len > UINT32_MAX || !room || room > UINT32_MAX);
    z->next_in = (uint8_t *)(uintptr_t)in->data; /* zlib only reads there */
    z->avail_in = (unsigned)in->len;
    *made = 0;
    for (;;) {
        unsigned step = exact ? 1 : (unsigned)(room - *made);
        z->next_out = out + *made;
        z->avail_out = step;
        int rc = inflate(z, Z_SYNC_FLUSH);
        unsigned got = step - z->avail_out;
        *made += got;
        inflater->history += got;
        if (rc != Z_OK && rc != Z_BUF_ERROR && rc != Z_STREAM_END) {
            note_eaten(inflater, in);
            if (z->msg && strcmp(z->msg, "invalid distance too far back") == 0)
                return fail_distance(inflater, err);
            return fail_data(err, z->msg ? z->msg : "broken");
        }
        note_boundary(inflater, rc);
        if (!z->avail_in && (z->avail_out || rc == Z_STREAM_END)) {
            note_eaten(inflater, in);
            return 0;
        }
        if (*made == room) {
            note_eaten(inflater, in);
            return 1;
        }
    }
}

struct slice inflater_tail(struct inflater *inflater)
{
    inflater->uncut = inflater->at_boundary && inflater->last == 0x0000ffff;
    return slice_of(message_tail);
}

int inflater_end(struct inflater *inflater, struct err *err)
{
    if (!inflater->at_boundary && inflater->uncut)
        return err_set(err, REASON_PROTOCOL_ERROR, 1007, "compressed message still has its tail 00 00 ff ff (RFC 7692, 7.2.1)");
    if (!inflater->at_boundary)
        return fail_data(err, "it ends inside a block");
    inflater->last = UINT32_MAX;
    if (inflater->no_context) {
        panic_if(inflateReset(&inflater->z) != Z_OK);
        inflater->history = 0;
    }
    return 0;
}

struct deflater *deflater_new(uint8_t bits, bool no_context_takeover)
{
    panic_if(bits < 8 || bits > MAX_WBITS);
    struct deflater *deflater = mem_alloc(sizeof *deflater);
    int ours = bits < ZLIB_BITS_MIN ? ZLIB_BITS_MIN : bits > DEFLATE_BITS_OURS ? DEFLATE_BITS_OURS : bits;
    deflater->no_context = no_context_takeover;
    deflater->z.zalloc = zlib_alloc;
    deflater->z.zfree = zlib_free;
    int rc = deflateInit2(&deflater->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -ours, DEFLATE_MEM_LEVEL,
                          bits < ZLIB_BITS_MIN ? Z_RLE : Z_DEFAULT_STRATEGY);
    panic_if(rc != Z_OK);
    return deflater;
}

void deflater_free(struct deflater *deflater)
{
    if (!deflater)
        return;
    deflateEnd(&deflater->z);
    mem_free(deflater);
}

/* Everything up to and with the flush marker; -1 past out's ceiling. */
static int deflate_all(z_stream *z, struct buf *out)
{
    do {
        size_t room = out->max - out->len < DEFLATE_STEP ? out->max - out->len : DEFLATE_STEP;
        uint8_t *at = room >= FLUSH_ROOM ? buf_reserve(out, room) : NULL;
        if (!at)
            return -1;
        z->next_out = at;
        z->avail_out = (unsigned)room;
        int rc = deflate(z, Z_SYNC_FLUSH);
        panic_if(rc != Z_OK && rc != Z_BUF_ERROR);
        out->len += room - z->avail_out;
    } while (!z->avail_out);
    return 0;
}

int deflater_message(struct deflater *deflater, struct slice in, struct buf *out)
{
    z_stream *z = &deflater->z;
    size_t before = out->len;

    panic_if(in.len > UINT32_MAX);
    if (!in.len) /* zlib writes nothing for nothing: an empty stored block, whose length is in the tail (7.2.3.6) */
        return buf_append_char(out, 0);
    z->next_in = (uint8_t *)(uintptr_t)in.data;
    z->avail_in = (unsigned)in.len;
    int rc = deflate_all(z, out);
    if (rc < 0)
        out->len = before;
    else
        out->len -= sizeof message_tail;
    if (rc < 0 || deflater->no_context)
        panic_if(deflateReset(z) != Z_OK);
    return rc;
}
