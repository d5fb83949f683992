// server.js: a chat. Everybody in a room hears everybody else in it, on whichever replica they are: Redis carries it between them.
//   PORT       where it listens (3000)
//   REDIS_URL  redis://host:port
const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const Redis = require("ioredis");

// A Redis that is down neither keeps a new replica from starting nor ends an old one: both connections come back by themselves, the
// subscriptions with them. What is said meanwhile is heard on the same replica only; it is not kept for later.
const url = process.env.REDIS_URL || "redis://127.0.0.1:6379";
const retry = (times) => Math.min(times * 100, 2000);
const publisher = new Redis(url, { retryStrategy: retry, enableOfflineQueue: false, maxRetriesPerRequest: 0 });
const subscriber = new Redis(url, { retryStrategy: retry, maxRetriesPerRequest: null });
publisher.on("error", (error) => console.error("redis:", error.message || error.code));
subscriber.on("error", () => {}); // the same, once more
process.on("unhandledRejection", (error) => console.error("not published:", error.message)); // the adapter does not look at what publish says

const io = new Server(Number(process.env.PORT || 3000), { adapter: createAdapter(publisher, subscriber), httpCompression: false });

io.on("connection", (socket) => {
  socket.on("join", (room, done) => {
    socket.join(room);
    if (typeof done === "function") done();
  });
  socket.on("say", (room, text) => io.to(room).emit("said", text));
});

// Kubernetes has waited for the clients to leave (preStop) before this comes; who is still there is told to come back.
process.on("SIGTERM", () => {
  io.close(() => process.exit(0));
  setTimeout(() => process.exit(0), 5000).unref();
});
