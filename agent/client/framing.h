/*
 * Cuts WebSocket messages into the units of a dialect's protocol (enum dialect_framing): what is matched, unwrapped and shown. Text
 * protocols keep their text; MQTT's packets are put into words, so that matches and sentences can be read:
 *     CONNACK code                        PUBLISH topic\npayload (3.1.1; the payload as it is)
 *     SUBACK id code…                     UNSUBACK id, PUBACK id, …: the packet's name and identifier
 *     PINGRESP                            PACKET type for everything else
 * Streams (stomp, mqtt, nats) may be cut anywhere: what is incomplete is kept, up to FRAMING_UNIT_MAX. Pure.
 */
#ifndef WSHEALTHD_CLIENT_FRAMING_H
#define WSHEALTHD_CLIENT_FRAMING_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/conf/dialect.h"
#include "agent/proto/ws.h"

enum { FRAMING_UNIT_MAX = 2 << 20, FRAMING_UNITS_MAX = 65536 /* of one message */ };

struct framing { /* of one connection */
    enum dialect_framing kind;
    struct slice input;       /* what is left of the message; not for streams */
    struct buf rest;          /* of a stream: what has come and was not taken */
    struct ws_budget *budget; /* what all connections may keep together; NULL: no limit but the buffer's */
    size_t charged;           /* of the budget, for rest */
    struct buf words;         /* the unit of MQTT that was handed out last */
    size_t at;                /* where the unit at the front begins in rest */
    size_t units;             /* that the message of now has had */
    size_t taken;             /* bytes of rest that the last unit was made of */
    size_t need;              /* the unit at the front is complete with so many bytes; 0: not known */
    size_t searched;          /* its end is not in the first so many bytes */
};

void framing_init(struct framing *framing, enum dialect_framing kind);
void framing_fini(struct framing *framing);
bool framing_is_stream(const struct framing *framing); /* a message that was skipped breaks it */
/* After a message: takes units until 0. 1: *unit, valid until the next call. -1: no peer of this protocol says that (protocol_error), or
 * a unit is larger than FRAMING_UNIT_MAX (message_too_big); the framing is of no more use then. */
void framing_feed(struct framing *framing, struct slice message);
int framing_next(struct framing *framing, struct slice *unit, struct err *err);

#endif
