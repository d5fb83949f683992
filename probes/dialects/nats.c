/*
 * `nats`: the NATS client protocol over nats-server's WebSocket listener. The stream of lines may be cut anywhere (agent/client/framing.c).
 *     <- INFO {…}   -> CONNECT {"verbose":true,…}  <- +OK   -> SUB news 2  <- +OK, -ERR '…'   <- MSG news 2 5 …   <- PING  -> PONG
 * Verbose, because then every SUB is answered, in order. The channel is the subject, and may hold wildcards: messages are known by their
 * subscription's id. A token in a message is auth_token; for users and passwords, set `connect:`.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_nats = {
    .name = "nats",
    .summary = "the NATS client protocol over nats-server's WebSocket listener",
    .framing = FRAMING_NATS,
    .greeting = { .expect = { .regex = "^INFO " } },
    .connect = { .send = DIALECT_BINARY("CONNECT {\"verbose\":true,\"pedantic\":false,\"name\":\"wshealthd\",\"lang\":\"c\","
                                        "\"version\":\"1\",\"protocol\":1,\"headers\":true"
                                        "{{#token}},\"auth_token\":\"{{token}}\"{{/token}}}\r\n"),
                 .expect = { .equals = "+OK" },
                 .reject = { .regex = "^-ERR" } },
    .subscribe = { .send = DIALECT_BINARY("SUB {{channel}} {{seq}}\r\n"),
                   .expect = { .equals = "+OK" },
                   .reject = { .regex = "^-ERR" } },
    .message = { .match = { .regex = "^H?MSG \\S+ {{seq}} " }, .body_after = "\r\n" },
    .keepalive = { .match = { .equals = "PING" }, .send = DIALECT_BINARY("PONG\r\n") },
    .json_holes = true,
};
