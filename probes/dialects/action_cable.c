/*
 * `action-cable`: Rails' Action Cable, subprotocol actioncable-v1-json. An identifier is JSON in a string, and comes back as it was sent.
 *     <- {"type":"welcome"}
 *     -> {"command":"subscribe","identifier":"{\"channel\":\"NewsChannel\"}"}
 *     <- {"identifier":"…","type":"confirm_subscription"}, {"identifier":"…","type":"reject_subscription"}
 *     <- {"identifier":"…","message":…}     <- {"type":"ping","message":1700000000}, which wants no answer
 * The channel is the class's name. A channel with parameters is three lines of the check, e.g. for {"channel":"ChatChannel","room":"1"}:
 *     subscribe: { send: '{"command":"subscribe","identifier":"{\"channel\":\"ChatChannel\",\"room\":\"{{channel}}\"}"}', … }
 * Rails compares Origin with its allowed hosts: set target.origin. Broadcasts are JSON on the broker, on the name that stream_from has;
 * where that is not the channel's, say so in `publish: { topic: … }`.
 */
#include "probes/dialects/registry.h"

#define IDENTIFIER "\"{\\\"channel\\\":\\\"{{channel}}\\\"}\""

const struct dialect dialect_action_cable = {
    .name = "action-cable",
    .summary = "Rails' Action Cable, subprotocol actioncable-v1-json",
    .subprotocols = DIALECT_OFFERS("actioncable-v1-json", "actioncable-unsupported"),
    .path = "/cable",
    .greeting = { .expect = { DIALECT_JSON({ "/type", "\"welcome\"" }) },
                  .reject = { DIALECT_JSON({ "/type", "\"disconnect\"" }) } },
    .subscribe = { .send = DIALECT_TEXT("{\"command\":\"subscribe\",\"identifier\":" IDENTIFIER "}"),
                   .expect = { DIALECT_JSON({ "/type", "\"confirm_subscription\"" }, { "/identifier", IDENTIFIER }) },
                   .reject = { DIALECT_JSON({ "/type", "\"reject_subscription\"" }, { "/identifier", IDENTIFIER }) } },
    .message = { .match = { DIALECT_JSON({ "/identifier", IDENTIFIER }) }, .payload = "/message" },
    .keepalive = { .match = { .contains = "\"ping\"", DIALECT_JSON({ "/type", "\"ping\"" }) } },
    .publish = { .body = "{{payload_json}}" },
    .hides_origin = true,
    .json_holes = true,
};
