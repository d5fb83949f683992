// socketio_recovery.js PORT REDIS_PORT: npm's socket.io with connection state recovery. The event `subscribe` joins a room; what
// is published on a channel of Redis goes to the room of that name. Sessions are in its memory.
const modules = process.env.WSHEALTHD_MODULES;
const { Server } = require(modules + "/socket.io");
const http = require("http").createServer((_request, response) => response.end("ok"));
const io = new Server(http, { connectionStateRecovery: { maxDisconnectionDuration: 60000 } });

io.on("connection", (socket) => socket.on("subscribe", (room) => socket.join(room)));
const client = require(modules + "/redis").createClient({ url: "redis://127.0.0.1:" + process.argv[3] });
client.connect().then(() => client.pSubscribe("*", (message, channel) => io.to(channel).emit("message", message)));
http.listen(Number(process.argv[2]), "127.0.0.1");
