// ws_echo.js PORT [deflate]: npm's ws, echoing messages of at most MAX_BYTES (by default 100 MiB). WSHEALTHD_MODULES is the directory of node_modules.
const { WebSocketServer } = require(process.env.WSHEALTHD_MODULES + "/ws");
const server = new WebSocketServer({
  maxPayload: Number(process.env.MAX_BYTES || 100 << 20),
  host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: process.argv[3] === "deflate" ? { threshold: 0 } : false,
});
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
