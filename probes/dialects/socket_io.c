/*
 * `socket.io`: Socket.IO protocol 5 over Engine.IO 4, WebSocket transport only (socket.io servers 3 and 4). Engine.IO's packet type is the
 * first character, Socket.IO's the second: 0 open, 2 ping, 3 pong, 40 CONNECT, 41 DISCONNECT, 42 EVENT, 44 CONNECT_ERROR.
 *     <- 0{"sid":…}  -> 40  <- 40{"sid":…}  -> 42["subscribe","news"]  <- 42["message","…"]  <- 2  -> 3
 * Socket.IO knows rooms on the server's side only: what joins one, and whether that is confirmed, is the application's. The default is an
 * event `subscribe` that nothing confirms. An application that acknowledges it is asked with an acknowledgement id:
 *     subscribe: { send: '42{{seq}}["join","{{channel}}"]', expect: { regex: '^43{{seq}}\[' } }
 *
 * The broker's side is that of its Redis adapter (@socket.io/redis-adapter, unsharded): one topic for the namespace, msgpack of
 * [sender, packet, options]. Published this way, an event named like the channel goes to every client of the namespace, with no line of the
 * application's: choose a name that nobody listens to. An application that bridges topics of its own says so with `publish:`.
 */
#include "probes/dialects/registry.h"

/* ["wshealthd", {type: 2 (EVENT), data: [channel, payload], nsp: "/"}, {rooms: [], except: [], flags: {}}] */
#define ADAPTER_EVENT                                                                    \
    "\x93\xa9wshealthd\x83\xa4type\x02\xa4"                                              \
    "data\x92\xda{{#u16}}{{channel}}{{/u16}}\xda{{#u16}}{{payload}}{{/u16}}\xa3nsp\xa1/" \
    "\x83\xa5rooms\x90\xa6"                                                              \
    "except\x90\xa5"                                                                     \
    "flags\x80"

const struct dialect dialect_socket_io = {
    .name = "socket.io",
    .summary = "Socket.IO protocol 5 over Engine.IO 4, WebSocket transport",
    .path = "/socket.io/?EIO=4&transport=websocket",
    .greeting = { .expect = { .regex = "^0\\{" } },
    .connect = { .send = DIALECT_TEXT("40{{#token}}{\"token\":\"{{token}}\"}{{/token}}"),
                 .expect = { .regex = "^40" },
                 .reject = { .regex = "^44" } },
    .subscribe = { .send = DIALECT_TEXT("42[\"subscribe\",\"{{channel}}\"]") },
    .message = { .prefix = "42", .payload = "/1" },
    .keepalive = { .match = { .equals = "2" }, .send = DIALECT_TEXT("3") },
    .publish = { .topic = (char *)"socket.io#/#", .body = (char *)ADAPTER_EVENT },
    .goodbye = { .send = DIALECT_TEXT("41") },
    /* Connection state recovery: the pid of the connect answer, and the last word of every event that a room got. Who is not known any more
     * gets another pid. */
    .resume = { .token = (char *)"/pid",
                .offset = (char *)"/-",
                .connect = DIALECT_TEXT("40{ {{#token}}\"token\":\"{{token}}\",{{/token}}"
                                        "\"pid\":\"{{resume}}\",\"offset\":\"{{offset}}\"}"),
                .expect = { .regex = "^40\\{.*\"pid\":\"{{resume}}\"" },
                .reject = { .regex = "^40(?!.*\"pid\":\"{{resume}}\")" } },
    .json_holes = true,
};
