// aedes_ws.js PORT: npm's aedes, an MQTT broker, over npm's ws. The topic `secret` is refused; WSHEALTHD_TOKEN: wanted as the password.
const modules = process.env.WSHEALTHD_MODULES;
const aedes = require(modules + "/aedes")();
const { WebSocketServer, createWebSocketStream } = require(modules + "/ws");

aedes.authenticate = (_client, _user, password, done) => {
  const token = process.env.WSHEALTHD_TOKEN;
  if (!token || String(password) === token) return done(null, true);
  const error = new Error("bad password");
  error.returnCode = 4;
  done(error, false);
};
aedes.authorizeSubscribe = (_client, subscription, done) => done(null, subscription.topic === "secret" ? null : subscription);
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), path: "/mqtt" });
server.on("connection", (socket, request) => aedes.handle(createWebSocketStream(socket), request));
