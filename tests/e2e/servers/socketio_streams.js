// socketio_streams.js PORT REDIS_PORT [RECOVERS]: npm's socket.io with its adapter for Redis Streams, and no application at all. RECOVERS:
// sessions are kept, in Redis.
const modules = process.env.WSHEALTHD_MODULES;
const { Server } = require(modules + "/socket.io");
const { createAdapter } = require(modules + "/@socket.io/redis-streams-adapter");
const { createClient } = require(modules + "/redis");
const client = createClient({ url: "redis://127.0.0.1:" + process.argv[3] });

client.connect().then(() => {
  const recovers = process.argv[4] ? { connectionStateRecovery: { maxDisconnectionDuration: 60000 } } : {};
  new Server(Number(process.argv[2]), { adapter: createAdapter(client), httpCompression: false, ...recovers });
});
