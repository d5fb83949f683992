/* permessage-deflate (RFC 7692): the negotiation's parameters, and zlib streams with bounded output. */
#ifndef WSHEALTHD_PROTO_DEFLATE_H
#define WSHEALTHD_PROTO_DEFLATE_H

#include <stdbool.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

struct deflate_params { /* RFC 7692, 7.1 */
    bool on : 1;        /* negotiated at all */
    bool server_no_context_takeover : 1, client_no_context_takeover : 1;
    uint8_t server_bits : 4, client_bits : 4; /* of each side's sending window: 8 to 15, 15 where not negotiated */
};

struct inflater; /* one direction; about 40 KiB with the largest window */
/* bits: the window that was negotiated for the peer who deflates (8 to 15). peer, "server" or "client", is for the sentences. */
struct inflater *inflater_new(uint8_t bits, bool no_context_takeover, const char *peer);
void inflater_free(struct inflater *inflater);
/* Inflates from *in, which is advanced, to at most room bytes (one at least); *made says how many came out, also with -1. 1: room is
 * full and there may be more; 0: *in is eaten; -1: err->code 1007, the sentence names the rule, and only inflater_free is left. What comes
 * out, and which rule was broken, does not depend on how the bytes were cut. */
int inflater_step(struct inflater *inflater, struct slice *in, uint8_t *out, size_t room, size_t *made, struct err *err);
/* The four bytes that the sender has cut off a message (RFC 7692, 7.2.1): to be given to inflater_step as the message's last
 * input, before inflater_end. */
struct slice inflater_tail(struct inflater *inflater);
int inflater_end(struct inflater *inflater, struct err *err); /* the message is over: 0, or -1 as above */

/* One direction; about 30 KiB. bits: the window that was negotiated; what is used is the same or less, and right for 8 too (deflate.c). */
struct deflater;
struct deflater *deflater_new(uint8_t bits, bool no_context_takeover);
void deflater_free(struct deflater *deflater);
/* Appends the whole message without the 00 00 ff ff tail (7.2.1), for one frame with RSV1. -1 past out's ceiling: out is as before, and
 * the deflater goes on with an empty window. */
int deflater_message(struct deflater *deflater, struct slice in, struct buf *out);

/* Writes the client's offer: "permessage-deflate; client_max_window_bits". */
void deflate_offer(char *out, size_t size);
/* Client: reads the server's Sec-WebSocket-Extensions value(s) against that offer. REASON_UPGRADE_BAD_EXTENSION where it does not fit. */
int deflate_accept_response(struct slice value, struct deflate_params *params, struct err *err);
/* Server: reads a client's offers, picks the first that it can serve; params->on stays false where there is none. Writes the answer's
 * value ("" without one; size is at least DEFLATE_ANSWER_MAX). -1 where the value is no list of extensions at all (RFC 6455, 9.1). */
enum { DEFLATE_ANSWER_MAX = 160 };
int deflate_answer_offer(struct slice value, struct deflate_params *params, char *answer, size_t size);

#endif
