// h2_ws.js PORT [CERT KEY]: WebSocket over HTTP/2 (RFC 8441) by Node's http2 and npm's ws, echoing; without a certificate in cleartext.
// /drop resets the stream with the first message, /private wants a token. WSHEALTHD_MODULES is the directory of node_modules.
const fs = require("fs");
const http2 = require("http2");
const { WebSocket } = require(process.env.WSHEALTHD_MODULES + "/ws");
const [port, cert, key] = process.argv.slice(2);
const settings = { enableConnectProtocol: true };
const server = cert ? http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key), settings }) : http2.createServer({ settings });

server.on("session", (session) => session.on("error", () => {}));
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  if (headers[":method"] !== "CONNECT" || headers[":protocol"] !== "websocket") {
    stream.respond({ ":status": 404 });
    stream.end("nothing but WebSocket here");
    return;
  }
  if (headers[":path"] === "/private" && headers.authorization !== "Bearer open-sesame-42") {
    stream.respond({ ":status": 401 });
    stream.end("this token is not known");
    return;
  }
  const subprotocol = headers["sec-websocket-protocol"];
  stream.respond(subprotocol ? { ":status": 200, "sec-websocket-protocol": subprotocol.split(",")[0] } : { ":status": 200 });
  stream.setNoDelay = () => {};
  const socket = new WebSocket(null, undefined, { autoPong: true });
  socket.setSocket(stream, Buffer.alloc(0), { allowSynchronousEvents: true, maxPayload: 64 << 20, skipUTF8Validation: false });
  socket.on("error", () => {});
  socket.on("message", (data, binary) => {
    if (headers[":path"] === "/drop") stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    else socket.send(data, { binary });
  });
});
server.listen(Number(port), "127.0.0.1");
