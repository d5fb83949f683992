/*
 * The reader of WebSocket frames (RFC 6455, 5): bytes in, whole messages and control frames out, each broken rule named with its
 * section. Called by whoever holds an upgraded connection, in either role. It promises a bounded memory (max_message, checked
 * against the declared length before anything is kept; a client may have what is larger skipped, which keeps nothing of it) and the
 * same outcome however the bytes are split. Sentences are made of numbers and our own words, never of the peer's bytes. The writing
 * side is ws_write.c; the caller answers pings and closes.
 */
#include "agent/proto/ws.h"

#include <inttypes.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/utf8.h"

struct ws_partial {
    struct buf message;
    uint64_t wire_total; /* payload bytes of the message as sent: bounds compressed ones that inflate to nothing */
    uint64_t size;       /* of the message, inflated, whether it is kept or not */
    uint32_t fragments;
    uint32_t utf8;
    uint8_t control_len;
    uint8_t control[WS_CONTROL_MAX];
};

static const char *opcode_name(unsigned opcode)
{
    switch (opcode) {
    case WS_CONTINUATION:
        return "continuation";
    case WS_TEXT:
        return "text";
    case WS_BINARY:
        return "binary";
    case WS_CLOSE:
        return "close";
    case WS_PING:
        return "ping";
    case WS_PONG:
        return "pong";
    default:
        return "reserved";
    }
}

static bool is_control(unsigned opcode)
{
    return (opcode & 8) != 0;
}

static const char *peer_name(const struct ws_reader *reader)
{
    return reader->role == WS_CLIENT ? "server" : "client";
}

void ws_reader_init(struct ws_reader *reader, enum ws_role role, uint32_t max_message, const struct deflate_params *deflate)
{
    memset(reader, 0, sizeof *reader);
    reader->role = role & 1;
    reader->max_message = max_message;
    if (deflate)
        reader->deflate = *deflate;
}

void ws_reader_skip(struct ws_reader *reader, struct ws_budget *budget)
{
    panic_if(reader->role != WS_CLIENT);
    reader->skips = true;
    reader->budget = budget;
}

/* Frees what is kept of the message. */
static void drop_kept(struct ws_reader *reader)
{
    if (reader->budget)
        reader->budget->used -= reader->partial->message.cap;
    buf_fini(&reader->partial->message);
}

static void drop_partial(struct ws_reader *reader)
{
    if (!reader->partial)
        return;
    drop_kept(reader);
    mem_free(reader->partial);
    reader->partial = NULL;
}

static void skip_message(struct ws_reader *reader)
{
    reader->skipping = true;
    if (reader->partial)
        drop_kept(reader);
}

static void drop_inflater(struct ws_reader *reader)
{
    if (reader->inflater)
        inflater_free(reader->inflater);
    reader->inflater = NULL;
}

void ws_reader_fini(struct ws_reader *reader)
{
    drop_partial(reader);
    drop_inflater(reader);
}

bool ws_reader_mid_message(const struct ws_reader *reader)
{
    return !reader->closed && !reader->failed && (reader->in_frame || reader->header_have || reader->message_opcode);
}

static struct ws_partial *partial_of(struct ws_reader *reader)
{
    if (!reader->partial) {
        reader->partial = mem_alloc(sizeof *reader->partial);
        buf_init(&reader->partial->message, reader->max_message);
    }
    return reader->partial;
}

/* The first byte (5.2): reserved bits, opcode, and whether that frame may come now (5.4, 5.5). */
static int validate_first_byte(const struct ws_reader *reader, struct err *err)
{
    unsigned first = reader->header[0], opcode = first & 15;
    bool fin = first & 0x80, rsv1 = first & 0x40;

    if (first & 0x30)
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "RSV%d set though no extension uses it (RFC 6455, 5.2)",
                       first & 0x20 ? 2 : 3);
    if (rsv1 && !reader->deflate.on)
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "RSV1 set though no extension was negotiated (RFC 6455, 5.2)");
    if ((opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG)
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "reserved opcode %u (RFC 6455, 5.2)", opcode);
    if (rsv1 && (is_control(opcode) || opcode == WS_CONTINUATION))
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "RSV1 set on a %s frame (RFC 7692, 6.1)", opcode_name(opcode));
    if (is_control(opcode))
        return fin ? 0 : err_set(err, REASON_PROTOCOL_ERROR, 1002, "fragmented %s (RFC 6455, 5.5)", opcode_name(opcode));
    if (opcode == WS_CONTINUATION && !reader->message_opcode)
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "continuation without a message (RFC 6455, 5.4)");
    if (opcode != WS_CONTINUATION && reader->message_opcode)
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "%s inside a fragmented message (RFC 6455, 5.4)", opcode_name(opcode));
    return 0;
}

static int validate_mask_bit(const struct ws_reader *reader, struct err *err)
{
    bool masked = reader->header[1] & 0x80;
    if (masked == (reader->role == WS_SERVER))
        return 0;
    return err_set(err, REASON_PROTOCOL_ERROR, 1002, "%s frame from the %s (RFC 6455, 5.1)", masked ? "masked" : "unmasked",
                   peer_name(reader));
}

/* How many header bytes this frame has, as far as the first two tell. */
static unsigned header_size(const struct ws_reader *reader)
{
    unsigned length = reader->header[1] & 127;
    return 2U + (length == 127 ? 8U : length == 126 ? 2U : 0U) + (reader->header[1] & 0x80 ? 4U : 0U);
}

/* Also a message that compresses badly must pass, yet one of endless empty blocks must not. */
static uint64_t wire_ceiling(const struct ws_reader *reader, bool compressed)
{
    uint64_t max = reader->max_message;
    if (compressed)
        max += max / 2 + 1024;
    return max < UINT32_MAX ? max : UINT32_MAX;
}

/* Is the open message with this frame larger than what may be kept? */
static bool is_too_long(const struct ws_reader *reader, uint64_t length, bool compressed)
{
    uint64_t ceiling = wire_ceiling(reader, compressed);
    uint64_t before = reader->message_opcode && reader->partial ? reader->partial->wire_total : 0;

    return before > ceiling || length > ceiling - before;
}

static int validate_length(const struct ws_reader *reader, uint64_t length, bool compressed, struct err *err)
{
    unsigned form = reader->header[1] & 127, opcode = reader->header[0] & 15;
    uint64_t before = reader->message_opcode && reader->partial ? reader->partial->wire_total : 0;

    if (form == 127 && length >> 63)
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "64-bit length with the top bit set (RFC 6455, 5.2)");
    if ((form == 126 && length < 126) || (form == 127 && length <= UINT16_MAX))
        return err_set(err, REASON_PROTOCOL_ERROR, 1002, "length %u sent in %d bits (RFC 6455, 5.2: minimal)", (unsigned)length,
                       form == 126 ? 16 : 64);
    if (is_control(opcode)) {
        if (length > WS_CONTROL_MAX)
            return err_set(err, REASON_PROTOCOL_ERROR, 1002, "%s with %" PRIu64 " bytes, at most %d (RFC 6455, 5.5)",
                           opcode_name(opcode), length, WS_CONTROL_MAX);
        if (opcode == WS_CLOSE && length == 1)
            return err_set(err, REASON_PROTOCOL_ERROR, 1002, "close with 1 byte (RFC 6455, 5.5.1)");
        return 0;
    }
    if (!is_too_long(reader, length, compressed))
        return 0;
    if (!reader->skips)
        return err_set(err, REASON_MESSAGE_TOO_BIG, 1009, "%smessage of %s%" PRIu64 " bytes, at most %u are taken",
                       compressed ? "compressed " : "", reader->header[0] & 0x80 ? "" : "at least ", before + length,
                       (unsigned)reader->max_message);
    return 0;
}

static int open_frame(struct ws_reader *reader, struct err *err)
{
    const uint8_t *at = reader->header + 2;
    unsigned form = reader->header[1] & 127, opcode = reader->header[0] & 15;
    uint64_t length = form;

    if (form >= 126) {
        length = 0;
        for (unsigned bytes = form == 126 ? 2 : 8; bytes; bytes--)
            length = length << 8 | *at++;
    }
    bool compressed = opcode == WS_CONTINUATION ? reader->message_compressed : (reader->header[0] & 0x40) != 0;
    if (validate_length(reader, length, compressed, err) < 0)
        return -1;
    reader->frame_fin = reader->header[0] & 0x80;
    reader->frame_opcode = opcode & 15;
    reader->frame_left = length;
    reader->mask_at = 0;
    reader->in_frame = true;
    if (is_control(opcode)) {
        if (reader->partial)
            reader->partial->control_len = 0;
    } else if (opcode != WS_CONTINUATION) {
        reader->message_opcode = opcode & 15;
        reader->message_compressed = compressed;
        reader->skipping = false;
    }
    if (!is_control(opcode) && !reader->skipping && is_too_long(reader, length, compressed))
        skip_message(reader); /* without the right to skip, validate_length has refused it */
    return 0;
}

/* 1: a frame is open, 0: more input is needed, -1: a rule is broken. Checks run as soon as their byte is there. */
static int read_header(struct ws_reader *reader, struct slice *input, struct err *err)
{
    while (reader->header_have < 2 || reader->header_have < header_size(reader)) {
        if (!input->len)
            return 0;
        reader->header[reader->header_have++] = input->data[0];
        *input = slice_skip(*input, 1);
        if (reader->header_have == 1 && validate_first_byte(reader, err) < 0)
            return -1;
        if (reader->header_have == 2 && validate_mask_bit(reader, err) < 0)
            return -1;
    }
    return open_frame(reader, err) < 0 ? -1 : 1;
}

static int fail_utf8(struct err *err, const char *what)
{
    return err_set(err, REASON_PROTOCOL_ERROR, 1007, "%s (RFC 6455, 8.1)", what);
}

/* The next bytes of the message, inflated and unmasked: checked as they come, and kept unless it is being skipped. */
static int take_bytes(struct ws_reader *reader, struct slice bytes, struct err *err)
{
    struct ws_partial *partial = reader->partial;
    struct ws_budget *budget = reader->budget;
    struct buf *kept = &partial->message;
    size_t room = reader->max_message - kept->len, before = kept->cap, all = bytes.len;
    bool too_long = !reader->skipping && all > room;

    partial->size += all;
    if (too_long && !reader->skips)
        bytes.len = room; /* their text is judged first: else the verdict would depend on how the bytes were cut */
    if (!reader->skipping && reader->skips &&
        (too_long || (budget && all > kept->cap - kept->len && budget->used + all > budget->max)))
        skip_message(reader);
    if (!reader->skipping) {
        panic_if(buf_append_slice(kept, bytes) < 0);
        if (budget)
            budget->used += kept->cap - before;
    }
    if (reader->message_opcode == WS_TEXT && !utf8_feed(&partial->utf8, bytes))
        return fail_utf8(err, "text is not UTF-8");
    if (all > bytes.len)
        return err_set(err, REASON_MESSAGE_TOO_BIG, 1009, "message inflates past %u bytes, at most so many are taken",
                       (unsigned)reader->max_message);
    return 0;
}

static int inflate_all(struct ws_reader *reader, struct slice in, struct err *err)
{
    uint8_t room[4096];
    int more;

    do {
        struct err why;
        size_t made;
        more = inflater_step(reader->inflater, &in, room, sizeof room, &made, &why);
        /* What came out before a failure is judged first, again because of the cuts. */
        if (take_bytes(reader, slice_make(room, made), err) < 0)
            return -1;
        if (more < 0)
            *err = why;
    } while (more > 0);
    return more;
}

static int inflate_piece(struct ws_reader *reader, struct slice piece, bool end, struct err *err)
{
    bool client = reader->role == WS_CLIENT;
    const struct deflate_params *params = &reader->deflate;
    bool no_context = client ? params->server_no_context_takeover : params->client_no_context_takeover;

    if (!reader->inflater)
        reader->inflater = inflater_new(client ? params->server_bits : params->client_bits, no_context, peer_name(reader));
    if (piece.len && inflate_all(reader, piece, err) < 0)
        return -1;
    if (!end)
        return 0;
    if (inflate_all(reader, inflater_tail(reader->inflater), err) < 0 || inflater_end(reader->inflater, err) < 0)
        return -1;
    if (no_context)
        drop_inflater(reader);
    return 0;
}

/* A piece of a data frame, in the role's masking, into the message that is being put together. */
static int keep_data(struct ws_reader *reader, struct slice piece, struct err *err)
{
    partial_of(reader)->wire_total += piece.len;
    if (reader->role == WS_CLIENT)
        return reader->message_compressed ? inflate_piece(reader, piece, false, err) : take_bytes(reader, piece, err);

    for (size_t at = 0, n; at < piece.len; at += n) { /* masked: by way of the stack */
        uint8_t plain[1024];
        n = piece.len - at < sizeof plain ? piece.len - at : sizeof plain;
        memcpy(plain, piece.data + at, n);
        ws_mask(plain, n, reader->header + reader->header_have - 4, reader->mask_at + at);
        struct slice bytes = slice_make(plain, n);
        if ((reader->message_compressed ? inflate_piece(reader, bytes, false, err) : take_bytes(reader, bytes, err)) < 0)
            return -1;
    }
    return 0;
}

static void keep_control(struct ws_reader *reader, struct slice piece)
{
    struct ws_partial *partial = partial_of(reader);
    uint8_t *at = partial->control + partial->control_len;
    memcpy(at, piece.data, piece.len);
    if (reader->role == WS_SERVER)
        ws_mask(at, piece.len, reader->header + reader->header_have - 4, reader->mask_at);
    partial->control_len = (uint8_t)(partial->control_len + piece.len);
}

static int finish_close(struct ws_reader *reader, struct slice body, struct ws_message *message, struct err *err)
{
    message->close_code = WS_CODE_NO_STATUS;
    if (body.len) { /* never 1: validate_length */
        message->close_code = (uint16_t)(body.data[0] << 8 | body.data[1]);
        message->body = slice_skip(body, 2);
        if (!ws_close_code_valid(message->close_code))
            return err_set(err, REASON_PROTOCOL_ERROR, 1002, "close code %u (RFC 6455, %s)", message->close_code,
                           message->close_code >= 1000 && message->close_code <= 1015 ? "7.4.1" : "7.4.2");
        if (message->close_code == WS_CODE_EXTENSION_WANTED && reader->role == WS_CLIENT)
            return err_set(err, REASON_PROTOCOL_ERROR, 1002,
                           "close code 1010 from the server, which is the client's (RFC 6455, 7.4.1)");
        if (!utf8_valid(message->body))
            return err_set(err, REASON_PROTOCOL_ERROR, 1007, "close reason is not UTF-8 (RFC 6455, 5.5.1 and 8.1)");
    }
    reader->closed = true;
    return 1;
}

static int finish_control(struct ws_reader *reader, struct slice body, struct ws_message *message, struct err *err)
{
    *message =
        (struct ws_message){ .opcode = (enum ws_opcode)reader->frame_opcode, .body = body, .size = body.len, .fragments = 1 };
    return reader->frame_opcode == WS_CLOSE ? finish_close(reader, body, message, err) : 1;
}

/* The last frame of a message that was put together in the partial. */
static int finish_message(struct ws_reader *reader, struct ws_message *message, struct err *err)
{
    struct ws_partial *partial = partial_of(reader);
    if (reader->message_compressed && inflate_piece(reader, slice_make(NULL, 0), true, err) < 0)
        return -1;
    if (reader->message_opcode == WS_TEXT && !utf8_complete(partial->utf8))
        return fail_utf8(err, "text ends inside a character: not UTF-8");
    *message = (struct ws_message){
        .opcode = (enum ws_opcode)reader->message_opcode,
        .body = buf_slice(&partial->message),
        .size = partial->size,
        .fragments = partial->fragments,
        .compressed = reader->message_compressed,
        .skipped = reader->skipping,
    };
    reader->message_opcode = 0;
    return 1;
}

/* A frame that lies whole in the input and needs neither unmasking nor inflating nor joining. */
static int finish_in_place(struct ws_reader *reader, struct slice body, struct ws_message *message, struct err *err)
{
    if (is_control(reader->frame_opcode))
        return finish_control(reader, body, message, err);
    if (reader->message_opcode == WS_TEXT) {
        uint32_t utf8 = 0;
        if (!utf8_feed(&utf8, body))
            return fail_utf8(err, "text is not UTF-8");
        if (!utf8_complete(utf8))
            return fail_utf8(err, "text ends inside a character: not UTF-8");
    }
    *message = (struct ws_message){ .opcode = (enum ws_opcode)reader->message_opcode, .size = body.len, .fragments = 1 };
    message->skipped = reader->skipping;
    if (!reader->skipping)
        message->body = body;
    reader->message_opcode = 0;
    return 1;
}

static bool fits_in_place(const struct ws_reader *reader, struct slice input)
{
    if (reader->role != WS_CLIENT || input.len < reader->frame_left)
        return false;
    if (is_control(reader->frame_opcode))
        return !reader->partial || !reader->partial->control_len;
    return reader->frame_fin && !reader->message_compressed && !reader->partial;
}

/* The open frame's payload: 1 a message, 0 the frame is over or the input is, -1 a rule is broken. */
static int read_payload(struct ws_reader *reader, struct slice *input, struct ws_message *message, struct err *err)
{
    struct slice piece = *input;
    if (piece.len > reader->frame_left)
        piece.len = (size_t)reader->frame_left;
    bool whole = fits_in_place(reader, *input), control = is_control(reader->frame_opcode);

    *input = slice_skip(*input, piece.len);
    reader->frame_left -= piece.len;
    if (!whole && piece.len) {
        if (control)
            keep_control(reader, piece);
        else if (keep_data(reader, piece, err) < 0)
            return -1;
        reader->mask_at = (reader->mask_at + piece.len) & 3;
    }
    if (reader->frame_left)
        return 0;

    reader->in_frame = false;
    reader->header_have = 0;
    if (whole)
        return finish_in_place(reader, piece, message, err);
    if (control) {
        struct ws_partial *partial = partial_of(reader);
        return finish_control(reader, slice_make(partial->control, partial->control_len), message, err);
    }
    struct ws_partial *partial = partial_of(reader);
    if (partial->fragments < UINT32_MAX)
        partial->fragments++;
    return reader->frame_fin ? finish_message(reader, message, err) : 0;
}

static int next_message(struct ws_reader *reader, struct slice *input, struct ws_message *message, struct err *err)
{
    for (;;) {
        if (!reader->in_frame) {
            int progress = read_header(reader, input, err);
            if (progress <= 0)
                return progress;
        }
        int progress = read_payload(reader, input, message, err);
        if (progress != 0 || reader->in_frame)
            return progress;
    }
}

int ws_reader_next(struct ws_reader *reader, struct slice *input, struct ws_message *message, struct err *err)
{
    int progress = 0;
    if (!reader->in_frame && !reader->message_opcode)
        drop_partial(reader); /* what the last message lay in */
    if (!reader->closed && !reader->failed)
        progress = next_message(reader, input, message, err);
    if (progress < 0) {
        reader->failed = true;
        ws_reader_fini(reader);
    }
    if (progress <= 0)
        *input = slice_skip(*input, input->len);
    return progress;
}
