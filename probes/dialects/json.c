/*
 * `json`: what many home-grown servers say, in one object for each message:
 *     -> {"op":"auth","token":"…"}            <- {"op":"authenticated"}, {"op":"error",…}      only with target.token_in: message
 *     -> {"op":"subscribe","channel":"news"}  <- {"op":"subscribed","channel":"news"}, {"op":"error","channel":"news",…}
 *                                             <- {"op":"message","channel":"news","data":…}
 *     <- {"op":"ping"}                        -> {"op":"pong"}
 * A server that uses other words is a few lines of `dialects:`, or of the check's own `subscribe:` and `message:`.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_json = {
    .name = "json",
    .summary = "JSON objects with op, channel and data, as many servers have them",
    .connect = { .send = DIALECT_TEXT("{{#token}}{\"op\":\"auth\",\"token\":\"{{token}}\"}{{/token}}"),
                 .expect = { DIALECT_JSON({ "/op", "\"authenticated\"" }) },
                 .reject = { DIALECT_JSON({ "/op", "\"error\"" }) } },
    .subscribe = { .send = DIALECT_TEXT("{\"op\":\"subscribe\",\"channel\":\"{{channel}}\"}"),
                   .expect = { DIALECT_JSON({ "/op", "\"subscribed\"" }, { "/channel", "\"{{channel}}\"" }) },
                   .reject = { DIALECT_JSON({ "/op", "\"error\"" }, { "/channel", "\"{{channel}}\"" }) } },
    .message = { .match = { DIALECT_JSON({ "/op", "\"message\"" }, { "/channel", "\"{{channel}}\"" }) }, .payload = "/data" },
    .keepalive = { .match = { .contains = "ping", DIALECT_JSON({ "/op", "\"ping\"" }) },
                   .send = DIALECT_TEXT("{\"op\":\"pong\"}") },
    .json_holes = true,
};
