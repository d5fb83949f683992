/*
 * `phoenix`: Phoenix Channels, serializer V2: [join_ref, ref, topic, event, payload]. The server closes who sends no heartbeat for 60 s.
 *     -> ["1","1","room:lobby","phx_join",{}]   <- ["1","1","room:lobby","phx_reply",{"status":"ok","response":{}}]
 *     <- ["1",null,"room:lobby","new_msg",{…}]
 *     -> [null,"1","phoenix","heartbeat",{}]    <- [null,"1","phoenix","phx_reply",{"status":"ok",…}]
 * The socket's own parameters are in the URL (target.token_in: query:token); a token in a message goes with the join. Phoenix.PubSub's
 * adapters carry Erlang terms: let the application broadcast what `publish:` says.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_phoenix = {
    .name = "phoenix",
    .summary = "Phoenix Channels, serializer V2",
    .path = "/socket/websocket?vsn=2.0.0",
    .subscribe = { .send = DIALECT_TEXT("[\"{{seq}}\",\"{{seq}}\",\"{{channel}}\",\"phx_join\","
                                        "{ {{#token}}\"token\":\"{{token}}\"{{/token}}}]"),
                   .expect = { DIALECT_JSON({ "/1", "\"{{seq}}\"" }, { "/3", "\"phx_reply\"" }, { "/4/status", "\"ok\"" }) },
                   .reject = { DIALECT_JSON({ "/1", "\"{{seq}}\"" }, { "/3", "\"phx_reply\"" }, { "/4/status", "\"error\"" }) } },
    .message = { .match = { DIALECT_JSON({ "/2", "\"{{channel}}\"" }) }, .payload = "/4" },
    .keepalive = { .match = { .contains = "\"phoenix\"", DIALECT_JSON({ "/2", "\"phoenix\"" }) },
                   .ping = DIALECT_TEXT("[null,\"{{seq}}\",\"phoenix\",\"heartbeat\",{}]"),
                   .every_ms = 25000 },
    .json_holes = true,
};
