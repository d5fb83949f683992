/* The built-in dialects (probes/dialects/registry.h). */
#include "probes/dialects/registry.h"

const struct dialect *const dialect_registry[] = {
    &dialect_raw,
    &dialect_json,
    &dialect_socket_io,
    &dialect_pusher,
    &dialect_centrifugo,
    &dialect_phoenix,
    &dialect_graphql_transport_ws,
    &dialect_action_cable,
    &dialect_stomp,
    &dialect_mqtt,
    &dialect_nats,
    &dialect_signalr,
    NULL,
};
