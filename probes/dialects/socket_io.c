/*
 * `socket.io`: Socket.IO protocol 5 over Engine.IO 4, WebSocket transport only (socket.io servers 3 and 4). Engine.IO's packet type is the
 * first character, Socket.IO's the second: 0 open, 2 ping, 3 pong, 40 CONNECT, 41 DISCONNECT, 42 EVENT, 44 CONNECT_ERROR.
 *     <- 0{"sid":…}  -> 40  <- 40{"sid":…}  -> 42["subscribe","news"]  <- 42["message","…"]  <- 2  -> 3
 * Socket.IO knows rooms on the server's side only: what joins one, and whether that is confirmed, is the application's. The default is an
 * event `subscribe` that nothing confirms. An application that acknowledges it is asked with an acknowledgement id:
 *     subscribe: { send: '42{{seq}}["join","{{channel}}"]', expect: { regex: '^43{{seq}}\[' } }
 * Its Redis adapter packs events with msgpack: let delivery publish what the application itself listens to (`publish:`), or a test channel
 * of the application's that hands the heartbeat on.
 */
#include "probes/dialects/registry.h"

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
    .goodbye = { .send = DIALECT_TEXT("41") },
    .json_holes = true,
};
