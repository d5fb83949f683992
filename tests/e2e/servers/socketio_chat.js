// socketio_chat.js HOST PORT REDIS_HOST REDIS_PORT: a chat on npm's socket.io, with its adapter for Redis Streams and connection state recovery. What one
// says on any instance is heard by all. SIGTERM closes the connections in the way that keeps their sessions, and ends when Redis has them.
const modules = process.env.WSHEALTHD_MODULES;
const { Server } = require(modules + "/socket.io");
const { createAdapter } = require(modules + "/@socket.io/redis-streams-adapter");
const { createClient } = require(modules + "/redis");
const [host, port, redisHost, redisPort] = process.argv.slice(2);
const client = createClient({ url: `redis://${redisHost}:${redisPort}` });

client.on("error", () => {});
client.connect().then(() => {
  const http = require("http").createServer();
  const io = new Server(http, { adapter: createAdapter(client), connectionStateRecovery: { maxDisconnectionDuration: 60000 } });

  io.on("connection", (socket) => socket.on("say", (id, done) => (io.emit("said", id), done())));
  http.listen(Number(port), host);
  process.on("SIGTERM", () => io.close(() => setTimeout(() => process.exit(0), 500)));
});
