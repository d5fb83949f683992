/*
 * `signalr`: ASP.NET Core SignalR's hub protocol in JSON, version 1, WebSocket transport without negotiation. Records end with 0x1e, several
 * may come in a message. The hub's path is the application's; a token goes into the URL (target.token_in: query:access_token).
 *     -> {"protocol":"json","version":1}  <- {}
 *     -> {"type":1,"invocationId":"2","target":"Subscribe","arguments":["news"]}   <- {"type":3,"invocationId":"2"}, with "error" if refused
 *     <- {"type":1,"target":"…","arguments":["…"]}      <- {"type":6} and -> {"type":6}: both sides show that they are there
 * The hub's method is the application's: one named Subscribe is the default.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_signalr = {
    .name = "signalr",
    .summary = "ASP.NET Core SignalR, JSON hub protocol 1",
    .framing = FRAMING_RECORDS,
    .connect = { .send = DIALECT_TEXT("{\"protocol\":\"json\",\"version\":1}\x1e"),
                 .expect = { .equals = "{}" },
                 .reject = { .contains = "\"error\"" } },
    .subscribe = { .send = DIALECT_TEXT("{\"type\":1,\"invocationId\":\"{{seq}}\",\"target\":\"Subscribe\","
                                        "\"arguments\":[\"{{channel}}\"]}\x1e"),
                   .expect = { DIALECT_JSON({ "/type", "3" }, { "/invocationId", "\"{{seq}}\"" }) },
                   .reject = { .contains = "\"error\"", DIALECT_JSON({ "/type", "3" }, { "/invocationId", "\"{{seq}}\"" }) } },
    .message = { .match = { DIALECT_JSON({ "/type", "1" }) }, .payload = "/arguments/0" },
    .keepalive = { .match = { .contains = "\"type\":6", DIALECT_JSON({ "/type", "6" }) },
                   .ping = DIALECT_TEXT("{\"type\":6}\x1e"),
                   .every_ms = 10000 },
    .goodbye = { .send = DIALECT_TEXT("{\"type\":7}\x1e") },
    .json_holes = true,
};
