// graphql_ws.js PORT: npm's graphql-ws over npm's ws, with one subscription field. WSHEALTHD_TOKEN: wanted in connection_init.
const modules = process.env.WSHEALTHD_MODULES;
const load = require("module").createRequire(modules + "/");
const { buildSchema } = load("graphql");
const { useServer } = load("graphql-ws/use/ws");
const { WebSocketServer } = load("ws");
const schema = buildSchema("type Query { hello: String } type Subscription { greetings(name: String): String }");
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const roots = {
  subscription: {
    greetings: async function* ({ name }) {
      for (;;) {
        yield { greetings: "hello " + name };
        await pause(50);
      }
    },
  },
};
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), path: "/graphql" });
useServer({
  schema,
  roots,
  onConnect: (context) => !process.env.WSHEALTHD_TOKEN || context.connectionParams?.token === process.env.WSHEALTHD_TOKEN,
}, server);
