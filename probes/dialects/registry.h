/* The built-in dialects, one table for each, in the order of the manual. */
#ifndef WSHEALTHD_PROBES_DIALECTS_REGISTRY_H
#define WSHEALTHD_PROBES_DIALECTS_REGISTRY_H

#include "agent/conf/dialect.h"

/* For the tables: a text message, a binary one (both may hold zero bytes), pointers of a match with what must be there. */
#define DIALECT_TEXT(text) { .data = (text), .len = sizeof text - 1 }
#define DIALECT_BINARY(text) { .data = (text), .len = sizeof text - 1, .binary = true }
#define DIALECT_JSON(...) \
    .json = { __VA_ARGS__ }, .json_count = sizeof((struct match_pointer[]){ __VA_ARGS__ }) / sizeof(struct match_pointer)
#define DIALECT_OFFERS(...) { .items = (char *[]){ __VA_ARGS__ }, .count = sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) }

extern const struct dialect dialect_raw, dialect_json, dialect_socket_io, dialect_pusher, dialect_centrifugo, dialect_phoenix,
    dialect_graphql_transport_ws, dialect_action_cable, dialect_stomp, dialect_mqtt, dialect_nats, dialect_signalr;
extern const struct dialect *const dialect_registry[]; /* ends with NULL */

#endif
