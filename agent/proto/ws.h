/*
 * WebSocket frames (RFC 6455), both roles, strict: every violation names the rule's section. No sockets, no clock.
 * The reader is small (a held connection costs little): buffers and the inflater exist only while something needs them, and a frame
 * that lies whole in the input is handed out without a copy (client role).
 */
#ifndef WSHEALTHD_PROTO_WS_H
#define WSHEALTHD_PROTO_WS_H

#include <stdbool.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/proto/deflate.h"

enum ws_role { WS_CLIENT, WS_SERVER }; /* which side we are: a client masks and refuses masked frames (5.1) */
enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum { WS_CONTROL_MAX = 125, WS_CLOSE_REASON_MAX = 123, WS_HEADER_MAX = 14 };
enum {
    WS_CODE_NONE = 0,
    WS_CODE_NORMAL = 1000,
    WS_CODE_NO_STATUS = 1005,
    WS_CODE_ABNORMAL = 1006,
    WS_CODE_EXTENSION_WANTED = 1010
};

struct ws_message {
    enum ws_opcode opcode; /* WS_TEXT, WS_BINARY (whole messages), WS_CLOSE, WS_PING, WS_PONG */
    struct slice body;     /* valid until the next call on the reader; for WS_CLOSE the text behind the code */
    uint64_t size;         /* of the body, also of one that was not kept */
    uint16_t close_code;   /* WS_CLOSE: the code sent, or WS_CODE_NO_STATUS */
    uint32_t fragments;    /* frames that it came in */
    bool compressed;
    bool skipped; /* it was judged and not kept (ws_reader_skip): the body is empty */
};

/* What several readers may keep of unfinished messages together. */
struct ws_budget {
    size_t used, max; /* bytes */
};

struct ws_partial; /* a message or control frame that is not complete yet */

struct ws_reader {
    struct ws_partial *partial; /* exists while something is incomplete, and until the next call after it was completed */
    struct inflater *inflater;  /* from the first compressed message on; with no context takeover, during one only */
    struct ws_budget *budget;   /* shared with others; NULL: none */
    uint64_t frame_left;        /* payload bytes of the open frame that are still to come */
    uint32_t max_message;       /* bytes, after inflating */
    uint8_t header[WS_HEADER_MAX];
    uint8_t header_have;        /* bytes in header[]; the masking key is the last four of a complete one */
    uint8_t message_opcode : 4; /* of the open fragmented message, 0: none */
    uint8_t frame_opcode : 4;
    uint8_t mask_at : 2; /* position in the masking key of the next payload byte */
    uint8_t role : 1;
    bool frame_fin : 1, message_compressed : 1, in_frame : 1, closed : 1, failed : 1;
    bool skips : 1, skipping : 1; /* large messages are not refused; the open message is not kept */
    struct deflate_params deflate;
};

void ws_reader_init(struct ws_reader *reader, enum ws_role role, uint32_t max_message,
                    const struct deflate_params *deflate /* NULL: none */);
/* For clients: a message that is larger than max_message (0: than nothing), or for which the budget has no room, is judged like any
 * other, however large, and told as skipped. Without this call it is message_too_big. budget may be NULL, and must outlive the reader. */
void ws_reader_skip(struct ws_reader *reader, struct ws_budget *budget);
void ws_reader_fini(struct ws_reader *reader);
/* Eats from *input and advances it. 1: *message is filled; 0: everything is eaten, feed more; -1: the peer broke a rule, *err has reason
 * REASON_PROTOCOL_ERROR or REASON_MESSAGE_TOO_BIG, code is the close code to answer with (1002, 1007, 1009), the text names the rule:
 * "masked frame from the server (RFC 6455, 5.1)". After -1, and after a close frame, everything further is eaten and ignored (0). */
int ws_reader_next(struct ws_reader *reader, struct slice *input, struct ws_message *message, struct err *err);
bool ws_reader_mid_message(const struct ws_reader *reader); /* is a frame or a fragmented message open? */

/* Appends one frame. The caller keeps control frames within WS_CONTROL_MAX. -1 past the buffer's ceiling. */
int ws_write_frame(struct buf *out, enum ws_role role, enum ws_opcode opcode, bool fin, bool rsv1, struct slice payload);
int ws_write_close(struct buf *out, enum ws_role role, uint16_t code /* WS_CODE_NO_STATUS: empty */,
                   const char *text /* cut at a character to WS_CLOSE_REASON_MAX */);
/* Masks or unmasks in place, eight bytes at a time; offset is the position in the payload of the first byte. */
void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], size_t offset);
bool ws_close_code_valid(uint16_t code);       /* may it appear on the wire (7.4; 1012, 1013, 1014 by the IANA registry)? */
const char *ws_close_code_name(uint16_t code); /* "going away", …; "" where there is none */

#endif
