/*
 * `mqtt`: MQTT 3.1.1 over WebSocket, binary (Mosquitto, EMQX, HiveMQ, RabbitMQ Web-MQTT; some of them at /ws or /). Packets that come are put
 * into words by agent/client/framing.c, so the matches below can be read; those that are sent are written by the rules of 2.2.3 and 1.5.3.
 *     -> CONNECT  <- CONNACK 0   -> SUBSCRIBE  <- SUBACK 2 0 (0x80 refuses)   <- PUBLISH topic   -> PINGREQ  <- PINGRESP   -> DISCONNECT
 * Clean session, QoS 0, keep-alive 30 s, and an empty client id (3.1.3.1: the server makes one), so that connections never take over each
 * other's session. The channel is the topic; with a wildcard in it, set `message: { match: … }`. A token in a message is the password, for a
 * user named wshealthd.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_mqtt = {
    .name = "mqtt",
    .summary = "MQTT 3.1.1 over WebSocket: Mosquitto, EMQX, RabbitMQ Web-MQTT",
    .subprotocols = DIALECT_OFFERS("mqtt"),
    .path = "/mqtt",
    .framing = FRAMING_MQTT,
    .connect = { .send = DIALECT_BINARY(
                     "\x10{{#varint}}\x00\x04MQTT\x04{{#token}}\xc2{{/token}}{{^token}}\x02{{/token}}\x00\x1e\x00\x00"
                     "{{#token}}{{#u16}}wshealthd{{/u16}}{{#u16}}{{token}}{{/u16}}{{/token}}{{/varint}}"),
                 .expect = { .equals = "CONNACK 0" },
                 .reject = { .regex = "^CONNACK [1-9]" } },
    .subscribe = { .send = DIALECT_BINARY("\x82{{#varint}}{{seq_u16}}{{#u16}}{{channel}}{{/u16}}\x00{{/varint}}"),
                   .expect = { .regex = "^SUBACK {{seq}} [012]$" },
                   .reject = { .equals = "SUBACK {{seq}} 128" } },
    .message = { .match = { .regex = "^PUBLISH {{channel}}\\n" }, .body_after = "\n" },
    .keepalive = { .match = { .equals = "PINGRESP" }, .ping = DIALECT_BINARY("\xc0\x00"), .every_ms = 20000 },
    .goodbye = { .send = DIALECT_BINARY("\xe0\x00") },
};
