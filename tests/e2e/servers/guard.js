// guard.js PORT KIND ORIGIN TOKEN: npm's servers that let in one Origin and one token, as their documentation has it.
// KIND: ws (verifyClient: 401), destroy (ws behind an upgrade handler that hangs up), socket.io (allowRequest, and a middleware for the token).
const [port, kind, origin, token] = process.argv.slice(2);
const modules = process.env.WSHEALTHD_MODULES;
const good = (request) =>
  request.headers.origin === origin && (!token || request.headers.authorization === `Bearer ${token}`);

if (kind === "socket.io") {
  const { Server } = require(modules + "/socket.io");
  const http = require("http").createServer();
  const io = new Server(http, {
    allowRequest: (request, callback) => callback(null, request.headers.origin === origin), cors: { origin },
  });
  if (token)
    io.use((socket, next) => next(socket.handshake.auth.token === token ? undefined : new Error("not authorized")));
  http.listen(Number(port), "127.0.0.1");
} else if (kind === "destroy") {
  const { WebSocketServer } = require(modules + "/ws");
  const server = new WebSocketServer({ noServer: true });
  const http = require("http").createServer();
  http.on("upgrade", (request, socket, head) =>
    good(request) ? server.handleUpgrade(request, socket, head, () => {}) : socket.destroy());
  http.listen(Number(port), "127.0.0.1");
} else {
  const { WebSocketServer } = require(modules + "/ws");
  new WebSocketServer({ host: "127.0.0.1", port: Number(port), verifyClient: (info) => good(info.req) });
}
