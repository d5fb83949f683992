/*
 * `graphql-transport-ws`: the GraphQL over WebSocket protocol of graphql-ws (not the older graphql-ws subprotocol of subscriptions-transport-ws).
 *     -> {"type":"connection_init"}   <- {"type":"connection_ack"}
 *     -> {"id":"2","type":"subscribe","payload":{"query":"subscription { greetings }"}}
 *     <- {"id":"2","type":"next","payload":{"data":{"greetings":…}}}    <- {"id":"2","type":"error","payload":[…]}
 *     <- {"type":"ping"} -> {"type":"pong"}
 * The channel is the subscription's field, with arguments and selection where it has them: `messages(room: "lobby") { text }`. The protocol
 * confirms nothing: a subscription that is neither refused nor completed at once counts as taken.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_graphql_transport_ws = {
    .name = "graphql-transport-ws",
    .summary = "GraphQL over WebSocket, subprotocol graphql-transport-ws",
    .subprotocols = DIALECT_OFFERS("graphql-transport-ws"),
    .path = "/graphql",
    .connect = { .send = DIALECT_TEXT("{\"type\":\"connection_init\"{{#token}},\"payload\":{\"token\":\"{{token}}\"}{{/token}}}"),
                 .expect = { DIALECT_JSON({ "/type", "\"connection_ack\"" }) } },
    .subscribe = { .send = DIALECT_TEXT("{\"id\":\"{{seq}}\",\"type\":\"subscribe\","
                                        "\"payload\":{\"query\":\"subscription { {{channel}} }\"}}"),
                   .reject = { .regex = "\"type\"\\s*:\\s*\"(error|complete)\"", DIALECT_JSON({ "/id", "\"{{seq}}\"" }) } },
    .message = { .match = { DIALECT_JSON({ "/type", "\"next\"" }, { "/id", "\"{{seq}}\"" }) }, .payload = "/payload/data" },
    .keepalive = { .match = { .contains = "ping", DIALECT_JSON({ "/type", "\"ping\"" }) },
                   .send = DIALECT_TEXT("{\"type\":\"pong\"}") },
    .json_holes = true,
};
