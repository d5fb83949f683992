/*
 * Texts with holes: {{channel}} {{token}} {{id}} {{seq}} {{now}} {{payload}} {{payload_json}}. And lengths for binary protocols:
 * {{#u16}}…{{/u16}} puts two bytes, big-endian, before what is inside (MQTT strings), {{#u8}} one and {{#u32}} four (MessagePack),
 * {{#varint}}…{{/varint}} a length of seven bits a byte (MQTT, 2.2.3). {{0x9aa3}} is those bytes. {{seq_u16}} is seq as two bytes, never 0 (packet identifiers). {{#token}}…{{/token}} is there only where the message has
 * to carry the token (target.token_in: message), {{^token}}…{{/token}} only where not. Blocks may nest. Anything else in {{ }} is an error
 * that names it and its position.
 */
#ifndef WSHEALTHD_PROTO_TEMPLATE_H
#define WSHEALTHD_PROTO_TEMPLATE_H

#include "agent/base/buf.h"
#include "agent/base/err.h"

struct template_vars {
    const char *channel, *token, *id; /* NULL: "" */
    uint64_t seq;
    int64_t now_ms; /* wall */
    struct slice payload;
    bool token_here; /* {{#token}} holds */
    bool json;       /* {{channel}}, {{token}} and {{id}} are escaped as the inside of a JSON string */
};

/* Appends. -1: an unknown hole, or past out's ceiling. */
int template_expand(struct slice text, const struct template_vars *vars, struct buf *out, struct err *err);
int template_validate(struct slice text, struct err *err); /* for the configuration: is it well formed? */

#endif
