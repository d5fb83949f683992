/*
 * `stomp`: STOMP 1.2 over WebSocket (RabbitMQ Web-STOMP, ActiveMQ, Artemis). Frames end with a zero byte; a line break is a heart-beat.
 *     -> CONNECT  <- CONNECTED   -> SUBSCRIBE with a receipt  <- RECEIPT   <- MESSAGE   <- ERROR, and the connection is closed
 * The channel is the destination: /topic/news, /exchange/amq.topic/news. Messages are known by their subscription's id, as destinations may
 * come back escaped. Spring's simple broker sends no receipts: silence is a yes until the first receipt was seen. The virtual
 * host is the default one; a token in a message is the passcode, and a bearer header for Spring.
 * On RabbitMQ /topic/news is the routing key news of amq.topic: say so in `publish: { topic: … }`.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_stomp = {
    .name = "stomp",
    .summary = "STOMP 1.2 over WebSocket: RabbitMQ Web-STOMP, ActiveMQ",
    .subprotocols = DIALECT_OFFERS("v12.stomp"),
    .path = "/ws",
    .framing = FRAMING_STOMP,
    .may_confirm = true,
    .connect = { .send = DIALECT_TEXT("CONNECT\naccept-version:1.2\nhost:/\nheart-beat:10000,0\n"
                                      "{{#token}}login:wshealthd\npasscode:{{token}}\nAuthorization:Bearer {{token}}\n{{/token}}"
                                      "\n\0"),
                 .expect = { .regex = "^CONNECTED\\r?\\n" },
                 .reject = { .regex = "^ERROR\\r?\\n" } },
    .subscribe = { .send = DIALECT_TEXT("SUBSCRIBE\nid:{{seq}}\ndestination:{{channel}}\nack:auto\nreceipt:{{seq}}\n\n\0"),
                   .expect = { .regex = "^RECEIPT(?s:.*)\\nreceipt-id:{{seq}}\\r?\\n" },
                   .reject = { .regex = "^ERROR\\r?\\n" } },
    .message = { .match = { .regex = "^MESSAGE(?s:.*?)\\nsubscription:{{seq}}\\r?\\n" }, .body_after = "\n\n" },
    .keepalive = { .ping = DIALECT_TEXT("\n"), .every_ms = 8000 },
    .goodbye = { .send = DIALECT_TEXT("DISCONNECT\n\n\0") },
};
