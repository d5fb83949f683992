// socketio_rooms.js PORT [REDIS_PORT]: npm's socket.io as applications run it. The event `subscribe` joins a room and is acknowledged where
// that is asked for; what is published on a channel of Redis goes to the room of that name. WSHEALTHD_TOKEN: wanted in the auth payload.
const modules = process.env.WSHEALTHD_MODULES;
const { Server } = require(modules + "/socket.io");
const http = require("http").createServer((_request, response) => response.end("ok"));
const io = new Server(http, { pingInterval: 300, pingTimeout: 2000 });

io.use((socket, next) => {
  const token = process.env.WSHEALTHD_TOKEN;
  next(token && socket.handshake.auth.token !== token ? new Error("bad token") : undefined);
});
io.on("connection", (socket) => {
  socket.on("subscribe", (room, acknowledge) => {
    if (room !== "secret") socket.join(room);
    if (acknowledge) acknowledge(room === "secret" ? { error: "no" } : { ok: room });
  });
});
if (process.argv[3]) {
  const client = require(modules + "/redis").createClient({ url: "redis://127.0.0.1:" + process.argv[3] });
  client.connect().then(() => client.pSubscribe("*", (message, channel) => io.to(channel).emit("message", message)));
}
http.listen(Number(process.argv[2]), "127.0.0.1");
