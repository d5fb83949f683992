/* The built-in dialects, one table for each, in the order of the manual. */
#ifndef WSHEALTHD_PROBES_DIALECTS_REGISTRY_H
#define WSHEALTHD_PROBES_DIALECTS_REGISTRY_H

#include "agent/core/dialect.h"

extern const struct dialect dialect_raw, dialect_json, dialect_socket_io, dialect_pusher, dialect_centrifugo, dialect_phoenix,
    dialect_graphql_transport_ws, dialect_action_cable, dialect_stomp, dialect_mqtt, dialect_nats, dialect_signalr;
extern const struct dialect *const dialect_registry[]; /* ends with NULL */

#endif
