// socketio_adapter.js PORT REDIS_PORT: npm's socket.io with its Redis adapter, and no application at all.
const modules = process.env.WSHEALTHD_MODULES;
const { Server } = require(modules + "/socket.io");
const { createAdapter } = require(modules + "/@socket.io/redis-adapter");
const { createClient } = require(modules + "/redis");
const publisher = createClient({ url: "redis://127.0.0.1:" + process.argv[3] });
const subscriber = publisher.duplicate();

Promise.all([publisher.connect(), subscriber.connect()]).then(() => {
  new Server(Number(process.argv[2]), { adapter: createAdapter(publisher, subscriber), httpCompression: false });
});
