/*
 * Texts with holes. The names: {{channel}} {{token}} {{id}} {{seq}} {{payload}} {{payload_json}}; {{now}} and {{now_s}}, the time in
 * milliseconds and in seconds since 1970, the same through one text; {{uuid}}, at random; and those that the caller adds, such as what a
 * script has captured.
 *
 * Functions, for protocols with a challenge and a response: {{FUNCTION ARGUMENT…}}. An argument is a name, a 'text' in quotes of either
 * kind, or a function with its arguments in parentheses. Arguments that follow each other are one text:
 *   {{base64 (sha256 (base64 (sha256 token salt)) challenge)}}     {{hex (hmac_sha256 token 'GET/ws' now_s)}}
 *   sha256 sha384 sha512 TEXT…       the digest, in bytes           hmac_sha256 hmac_sha384 hmac_sha512 KEY TEXT…   likewise
 *   hex base64 base64url TEXT…       of bytes                       unbase64 TEXT…    bytes of base64
 *   concat TEXT…                     one after the other            upper lower TEXT…    ASCII letters
 *   json TEXT…                       a JSON string, with quotes     bytes TEXT…    bytes in a binary message
 * What gives bytes cannot stand in a text as it is, and is refused: hex, base64 or bytes is wanted around it.
 *
 * Lengths for binary protocols: {{#u16}}…{{/u16}} puts two bytes, big-endian, before what is inside (MQTT strings), {{#u8}} one and {{#u32}}
 * four (MessagePack), {{#varint}}…{{/varint}} a length of seven bits a byte (MQTT, 2.2.3). {{0x9aa3}} is those bytes. {{seq_u16}} is seq as
 * two bytes, never 0 (packet identifiers). {{#token}}…{{/token}} is there only where the message has to carry the token (target.token_in:
 * message), {{^token}}…{{/token}} only where not. Blocks may nest. Anything else in {{ }} is an error that names it and its position.
 */
#ifndef WSHEALTHD_PROTO_TEMPLATE_H
#define WSHEALTHD_PROTO_TEMPLATE_H

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum { TEMPLATE_UUID_BYTES = 37 };

struct template_name { /* a hole that the caller adds */
    const char *name;
    struct slice value;
    bool secret; /* what is derived from it is told to on_secret, as of {{token}} */
    bool raw;    /* JSON already: goes in as it is, also with `json` or `regex` */
};

struct template_vars {
    const char *channel, *token, *id; /* NULL: "" */
    const char *uuid;                 /* NULL: another one in each text */
    uint64_t seq;
    int64_t now_ms; /* wall */
    struct slice payload;
    const struct template_name *names;
    size_t name_count;
    /* For what is validated: the only names that have a value in this text; ends with NULL. NULL: those above, and `names` */
    const char *const *only;
    bool any_name;   /* for what is validated before all names are known: one that nobody has stands for "1" */
    bool token_here; /* {{#token}} holds */
    /* Names and the texts of functions are escaped as the inside of a JSON string; then, as a regular expression that matches them. Of the
     * holes above, {{channel}}, {{token}} and {{id}} are. */
    bool json, regex;
    /* Told what a function has made of a secret, as it goes into the text. NULL: nobody */
    void (*on_secret)(void *user, struct slice value);
    void *user;
};

/* Appends. -1: an unknown hole, base64 that is none, or past out's ceiling. */
int template_expand(struct slice text, const struct template_vars *vars, struct buf *out, struct err *err);
int template_validate(struct slice text, struct err *err); /* for the configuration: is it well formed? */
/* The same, with the names of vars, or any. */
int template_validate_names(struct slice text, const struct template_vars *vars, struct err *err);
/* Is the name a hole of it, or an argument in one? Of a well-formed text. */
bool template_mentions(struct slice text, const char *name);
/* May no capture have this name? Those above, and the functions. */
bool template_is_reserved(const char *name);
void template_make_uuid(char out[TEMPLATE_UUID_BYTES]); /* RFC 9562, version 4 */

#endif
