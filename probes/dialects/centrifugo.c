/*
 * `centrifugo`: Centrifugo's client protocol in JSON (servers from 4 on, /connection/websocket). Commands have ids, replies repeat them;
 * several replies may come in a message, one on each line; an empty object is a ping and its own pong.
 *     -> {"id":1,"connect":{}}                      <- {"id":1,"connect":{"client":…,"ping":25,"pong":true}}
 *     -> {"id":2,"subscribe":{"channel":"news"}}    <- {"id":2,"subscribe":{}}, {"id":2,"error":{"code":103,…}}
 *     <- {"push":{"channel":"news","pub":{"data":…}}}     <- {} -> {}
 *     -> {"id":2,"subscribe":{"channel":"news","recover":true,"epoch":"YsCLayRF","offset":1}}
 *     <- {"id":2,"subscribe":{"epoch":"YsCLayRF","publications":[{"data":…,"offset":2}],"recovered":true,"was_recovering":true,"offset":1}}
 * Its engines have formats of their own on Redis and NATS; a test channel that the application publishes to is `publish:`.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_centrifugo = {
    .name = "centrifugo",
    .summary = "Centrifugo's bidirectional client protocol, JSON",
    .path = "/connection/websocket",
    .framing = FRAMING_LINES,
    .connect = { .send = DIALECT_TEXT("{\"id\":{{seq}},\"connect\":{ {{#token}}\"token\":\"{{token}}\"{{/token}}}}"),
                 .expect = { .contains = "\"connect\"", DIALECT_JSON({ "/id", "{{seq}}" }) },
                 .reject = { .contains = "\"error\"", DIALECT_JSON({ "/id", "{{seq}}" }) } },
    .subscribe = { .send = DIALECT_TEXT("{\"id\":{{seq}},\"subscribe\":{\"channel\":\"{{channel}}\"}}"),
                   .expect = { .contains = "\"subscribe\"", DIALECT_JSON({ "/id", "{{seq}}" }) },
                   .reject = { .contains = "\"error\"", DIALECT_JSON({ "/id", "{{seq}}" }) } },
    .message = { .match = { DIALECT_JSON({ "/push/channel", "\"{{channel}}\"" }) }, .payload = "/push/pub/data" },
    .keepalive = { .match = { .equals = "{}" }, .send = DIALECT_TEXT("{}") },
    /* Recovery, of channels that keep a history (force_recovery): what was missed comes with the answer to subscribe. An epoch and an offset
     * are of one channel. An offset of 0 is left out. */
    .resume = { .token = (char *)"/subscribe/epoch",
                .offset = (char *)"/push/pub/offset",
                .start = (char *)"/subscribe/offset",
                .expect = { DIALECT_JSON({ "/subscribe/recovered", "true" }) },
                .reject = { .regex = "^(?!.*\"recovered\":true)", DIALECT_JSON({ "/subscribe/was_recovering", "true" }) },
                .subscribe = DIALECT_TEXT("{\"id\":{{seq}},\"subscribe\":{\"channel\":\"{{channel}}\",\"recover\":true,"
                                          "\"epoch\":\"{{resume}}\",\"offset\":{{offset}}}}") },
    .json_holes = true,
};
