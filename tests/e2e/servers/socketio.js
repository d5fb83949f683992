// socketio.js PORT: npm's socket.io, as its applications run it. Its raw transport is a WebSocket that greets first.
const { Server } = require(process.env.WSHEALTHD_MODULES + "/socket.io");
const http = require("http").createServer((_request, response) => response.end("ok"));
new Server(http, { pingInterval: 300, pingTimeout: 5000 });
http.listen(Number(process.argv[2]), "127.0.0.1");
