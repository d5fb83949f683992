/*
 * The schema of the configuration: every option but those of the check types, which bring their own rows. Read by the loader, the
 * command line, `config show|init|schema` and the manual. `checks`, `brokers` and `dialects`, and the `type` of the former, are
 * read by code in agent/conf/conf*.c, as their fields are no plain values. The options of brokers and dialects are rows of the
 * broker types and of agent/conf/dialect.c.
 */
#include "agent/conf/conf_impl.h"

#define SECONDS(n) ((n) * INT64_C(1000))
#define MINUTES(n) SECONDS((n) * 60)
#define HOURS(n) MINUTES((n) * 60)
enum { URL_TEXT_MAX = 4096, PATH_TEXT_MAX = 4096, HEADERS_MAX = 32, OFFERS_MAX = 16, TOKEN_TEXT_MAX = 16 << 10 };

static const char *const details_words[] = { "full", "reasons", "auto", NULL };
static const char *const level_words[] = { "debug", "info", "warn", "error", NULL };
static const char *const format_words[] = { "logfmt", "json", NULL };
static const char *const compression_words[] = { "auto", "off", "required", NULL };
static const char *const proxy_words[] = { "off", "v1", "v2", NULL }; /* enum proxy_version */
static const char *const version_words[] = { "1.0", "1.1", "1.2", "1.3", NULL };
static const char *const shared_words[] = { "degrade", "fail", NULL };
static const char *const gate_words[] = { "ready", "live", NULL };
static const char *const http_words[] = { "1.1", "2", "both", NULL };                 /* enum conf_http */
static const char *const check_http_words[] = { "target", "1.1", "2", "both", NULL }; /* that, plus one */
static const char *const path_words[] = { "local", "public", NULL };

#define TLS(field) offsetof(struct tls_conf, field)
const struct opt tls_rows[] = {
    { .name = "ca_file",
      .kind = OPT_STRING,
      .offset = TLS(ca_file),
      .max = PATH_TEXT_MAX,
      .help = "PEM file with the authorities to trust; by default those of the system" },
    { .name = "cert_file",
      .kind = OPT_STRING,
      .offset = TLS(cert_file),
      .max = PATH_TEXT_MAX,
      .help = "PEM file with the client certificate to present; needs key_file" },
    { .name = "key_file",
      .kind = OPT_STRING,
      .offset = TLS(key_file),
      .max = PATH_TEXT_MAX,
      .help = "PEM file with the key of the client certificate" },
    { .name = "server_name",
      .kind = OPT_STRING,
      .offset = TLS(server_name),
      .max = 253,
      .help = "name for SNI and to verify the certificate against; by default the URL's host" },
    { .name = "verify",
      .kind = OPT_BOOL,
      .offset = TLS(verify),
      .default_text = "true",
      .help = "whether the certificate's chain and name are verified" },
    { .name = "min_version",
      .kind = OPT_ENUM,
      .offset = TLS(min_version),
      .default_text = "1.2",
      .words = version_words,
      .help = "the lowest TLS version to accept" },
    { 0 },
};

#define TARGET(field) offsetof(struct target_conf, field)
const struct opt target_rows[] = {
    { .name = "url",
      .kind = OPT_STRING,
      .offset = TARGET(url),
      .min = 1,
      .max = URL_TEXT_MAX,
      .flags = OPT_REQUIRED,
      .help = "the server: ws://, wss:// or ws+unix:///path:/request-path. A user and password in it are sent as Authorization: "
              "Basic" },
    { .name = "public_url",
      .kind = OPT_STRING,
      .offset = TARGET(public_url),
      .min = 1,
      .max = URL_TEXT_MAX,
      .help = "the URL that users connect to, for checks with path: public" },
    { .name = "headers",
      .kind = OPT_PAIRS,
      .offset = TARGET(headers),
      .max = HEADERS_MAX,
      .flags = OPT_DYNAMIC,
      .help =
          "further headers of the upgrade request; Host takes the place of the URL's host and port, for virtual hosts behind an "
          "address, and User-Agent that of wshealthd/VERSION" },
    { .name = "origin",
      .kind = OPT_STRING,
      .offset = TARGET(origin),
      .min = 1,
      .max = 1024,
      .help = "the Origin header; by default none is sent" },
    { .name = "subprotocols",
      .kind = OPT_STRINGS,
      .offset = TARGET(subprotocols),
      .max = OFFERS_MAX,
      .help = "subprotocols to offer; the server must then choose one of them" },
    { .name = "token",
      .kind = OPT_STRING,
      .offset = TARGET(token),
      .min = 1,
      .max = TOKEN_TEXT_MAX,
      .flags = OPT_SECRET | OPT_DYNAMIC,
      .help = "the token to send, best as ${file:/path}, which is read again for every connection" },
    { .name = "token_in",
      .kind = OPT_STRING,
      .offset = TARGET(token_in),
      .default_text = "header",
      .min = 1,
      .max = 128,
      .help = "where the token goes: header (Authorization: Bearer), query:NAME, cookie:NAME, subprotocol, or message, where the "
              "dialect's connect or a check's text has {{token}}" },
    { .name = "tls", .kind = OPT_SECTION, .offset = TARGET(tls), .rows = tls_rows, .help = "TLS towards the server" },
    { .name = "compression",
      .kind = OPT_ENUM,
      .offset = TARGET(compression),
      .default_text = "auto",
      .words = compression_words,
      .help = "permessage-deflate: auto offers it, required fails without it" },
    { .name = "proxy_protocol",
      .kind = OPT_ENUM,
      .offset = TARGET(proxy_protocol),
      .default_text = "off",
      .words = proxy_words,
      .help = "the PROXY header that is sent before anything else, TLS included, to a server that takes connections from a load "
              "balancer only" },
    { .name = "http",
      .kind = OPT_ENUM,
      .offset = TARGET(http),
      .default_text = "1.1",
      .words = http_words,
      .help =
          "the version of HTTP that a WebSocket begins with: 1.1, 2 (RFC 8441: as browsers do where a proxy offers it; needs "
          "libnghttp2), or both, one after the other in each round, each with the whole timeout; the sentence then says which of "
          "the two fails. A server that says that it has no WebSocket over HTTP/2 is a warning then, as clients take 1.1. For "
          "both, hold takes turns with its connections, auth and origin try what is bad half as often over each, and delivery "
          "uses 1.1: how a message gets from the broker to a client is the same behind either" },
    { .name = "dialect",
      .kind = OPT_STRING,
      .offset = TARGET(dialect_name),
      .default_text = "raw",
      .min = 1,
      .max = 64,
      .help = "how the server speaks: a built-in dialect, or one of `dialects`" },
    { 0 },
};

#define BROKER(field) offsetof(struct broker_conf, field)
static const struct opt retry_rows[] = {
    { .name = "min",
      .kind = OPT_DURATION,
      .offset = BROKER(retry_min_ms),
      .default_text = "100ms",
      .min = 10,
      .max = MINUTES(10),
      .help = "before the first attempt to connect again; then it doubles" },
    { .name = "max",
      .kind = OPT_DURATION,
      .offset = BROKER(retry_max_ms),
      .default_text = "10s",
      .min = 10,
      .max = MINUTES(10),
      .help = "the longest time between attempts" },
    { 0 },
};
const struct opt broker_rows[] = {
    { .name = "name",
      .kind = OPT_STRING,
      .offset = BROKER(name),
      .min = 1,
      .max = 64,
      .help = "its name in checks, logs, metrics and answers: letters, digits, _ . and -; by default the type" },
    { .name = "url",
      .kind = OPT_STRING,
      .offset = BROKER(url),
      .min = 1,
      .max = URL_TEXT_MAX,
      .flags = OPT_DYNAMIC,
      .help = "where it is, with user and password; ${file:/path} in it is read again for every connection" },
    { .name = "tls", .kind = OPT_SECTION, .offset = BROKER(tls), .rows = tls_rows, .help = "TLS towards the broker" },
    { .name = "timeout",
      .kind = OPT_DURATION,
      .offset = BROKER(timeout_ms),
      .default_text = "2s",
      .min = 10,
      .max = MINUTES(10),
      .help = "for connecting, and for each answer" },
    { .name = "retry", .kind = OPT_SECTION, .rows = retry_rows, .help = "pauses before connecting again" },
    { 0 },
};

/* Sections whose fields live in struct conf itself have offset 0. */
#define CONF(field) offsetof(struct conf, field)
static const struct opt log_rows[] = {
    { .name = "level",
      .kind = OPT_ENUM,
      .offset = CONF(log_level),
      .default_text = "info",
      .words = level_words,
      .help = "the least important events that are logged" },
    { .name = "format",
      .kind = OPT_ENUM,
      .offset = CONF(log_format),
      .default_text = "logfmt",
      .words = format_words,
      .help = "how a line of the log is written" },
    { 0 },
};
static const struct opt readiness_rows[] = {
    { .name = "shared_faults",
      .kind = OPT_ENUM,
      .offset = CONF(shared_faults),
      .default_text = "degrade",
      .words = shared_words,
      .help = "what the fault of something that all instances share does to /ready: degrade leaves it at 200" },
    { .name = "probe_faults",
      .kind = OPT_ENUM,
      .offset = CONF(probe_faults),
      .default_text = "degrade",
      .words = shared_words,
      .help = "what a fault of the agent's own side (its token, the authorities it trusts, its pace) does to /ready once the check "
              "has passed: degrade leaves it at 200" },
    { .name = "min_ready",
      .kind = OPT_STRING,
      .offset = CONF(min_ready),
      .default_text = "0",
      .min = 1,
      .max = 16,
      .help = "how many instances of the fleet must remain in rotation, N or N%, when a local fault would take this one out: it "
              "stays in, degraded, until so many others are well. Needs `fleet`; 0 is off" },
    { .name = "degraded_weight",
      .kind = OPT_PERCENT,
      .offset = CONF(degraded_weight),
      .default_text = "100%",
      .min = 1,
      .max = 100,
      .help =
          "the weight that agent_check reports while degraded; a fault that all instances share degrades all of them, so a small "
          "one is no protection. HAProxy's own `weight` of the server must be large enough to take a share of it, such as 100" },
    { 0 },
};
static const struct opt liveness_rows[] = {
    { .name = "after",
      .kind = OPT_DURATION,
      .offset = CONF(liveness_after_ms),
      .default_text = "30s",
      .max = HOURS(24),
      .help = "how long a live-gated check must have got no answer before /live is 503" },
    { 0 },
};

static const struct opt page_rows[] = {
    { .name = "public",
      .kind = OPT_BOOL,
      .offset = CONF(page_public),
      .default_text = "false",
      .help = "whether the page is for users of the service, whoever asks for it: without addresses, URLs, texts of the server's, "
              "advice, figures of its process, and kinds of brokers. /status and the others follow `details` as before" },
    { .name = "url",
      .kind = OPT_STRING,
      .offset = CONF(page_url),
      .min = 1,
      .max = 1024,
      .help = "where people reach the page, http:// or https://, for links in notifications" },
    { 0 },
};

static const struct opt shutdown_rows[] = {
    { .name = "grace",
      .kind = OPT_DURATION,
      .offset = CONF(grace_ms),
      .default_text = "0s",
      .max = HOURS(1),
      .help =
          "how long the agent goes on answering after SIGTERM, draining, so that load balancers see it; a second signal ends it "
          "at once. Requests to /prestop are answered before it ends; with `prestop` it waits for one for 2s at least" },
    { 0 },
};

static const struct opt history_rows[] = {
    { .name = "file",
      .kind = OPT_STRING,
      .offset = CONF(history_file),
      .min = 1,
      .max = PATH_TEXT_MAX,
      .help = "where the history is kept over restarts, as an absolute path: written once a minute and at the end. Each agent "
              "needs a file "
              "of its own. By default the history is kept in memory" },
    { 0 },
};

const struct opt identity_rows[] = {
    { .name = "id",
      .kind = OPT_STRING,
      .offset = CONF(agent_id),
      .min = 1,
      .max = 255,
      .help = "the agent's name, different for each; by default the host's. All but letters, digits, _ and - become _" },
    { .name = "region",
      .kind = OPT_STRING,
      .offset = CONF(region),
      .default_text = "default",
      .min = 1,
      .max = 255,
      .help = "where it is: agents of several places may share a channel" },
    { .name = "version",
      .kind = OPT_STRING,
      .offset = CONF(server_version),
      .min = 1,
      .max = 31,
      .help = "the version of the server, as a deploy names it, for the fleet: letters, digits, _ - . + and ~. By default the "
              "fleet is shown the agent's version" },
    { 0 },
};

const struct opt conf_rows[] = {
    { .name = "listen",
      .kind = OPT_STRING,
      .offset = CONF(listen),
      .default_text = "[::]:9717",
      .min = 1,
      .max = 255,
      .help = "where the health endpoints are served: address:port, [::]:port (IPv6 and IPv4), unix:/path or off" },
    { .name = "proxy_protocol",
      .kind = OPT_BOOL,
      .offset = CONF(proxy_protocol),
      .default_text = "false",
      .help = "whether connections to `listen` may begin with a PROXY preamble, version 1 or 2, as some balancers send it" },
    { .name = "admin",
      .kind = OPT_STRING,
      .offset = CONF(admin),
      .default_text = "auto",
      .min = 1,
      .max = 255,
      .help = "the socket for status, drain, resume and reload: unix:/path, off, or auto, which is admin.sock in "
              "$RUNTIME_DIRECTORY, else in "
              "/run/wshealthd, else in $XDG_RUNTIME_DIR/wshealthd, else off" },
    { .name = "agent_check",
      .kind = OPT_STRING,
      .offset = CONF(agent_check),
      .default_text = "off",
      .min = 1,
      .max = 255,
      .help = "where HAProxy's agent-check is answered: address:port, unix:/path or off. One line for each connection: up ready "
              "100%, up ready 37% (from half of a server check's max_connections on the weight falls), up ready 0% (full), up "
              "drain, or down #reason" },
    { .name = "grpc",
      .kind = OPT_STRING,
      .offset = CONF(grpc),
      .default_text = "off",
      .min = 1,
      .max = 255,
      .help =
          "where the gRPC health service grpc.health.v1.Health is answered, over HTTP/2 without TLS: address:port, unix:/path or "
          "off. Services: ready (also the empty name), live, startup, and the name of each check" },
    { .name = "prestop",
      .kind = OPT_BOOL,
      .offset = CONF(prestop),
      .default_text = "false",
      .help = "whether `listen` serves /prestop, by which anybody who reaches it may drain the instance: for a Kubernetes "
              "preStop.httpGet" },
    { .name = "details",
      .kind = OPT_ENUM,
      .offset = CONF(details),
      .default_text = "auto",
      .words = details_words,
      .help = "what readers see: full; reasons (no addresses, URLs or texts of the server's); auto: full on loopback, reasons to "
              "others" },
    { .name = "page", .kind = OPT_SECTION, .rows = page_rows, .help = "the page for people, at / of `listen`" },
    { .name = "log", .kind = OPT_SECTION, .rows = log_rows, .help = "the log, on stderr" },
    { .name = "target", .kind = OPT_SECTION, .offset = CONF(target), .rows = target_rows, .help = "the server that is watched" },
    { .name = "readiness", .kind = OPT_SECTION, .rows = readiness_rows, .help = "what makes /ready" },
    { .name = "liveness", .kind = OPT_SECTION, .rows = liveness_rows, .help = "what makes /live" },
    { .name = "shutdown", .kind = OPT_SECTION, .rows = shutdown_rows, .help = "how the agent ends" },
    { .name = "history",
      .kind = OPT_SECTION,
      .rows = history_rows,
      .help = "the changes of the verdict and a day of rounds: /history, the status page" },
    { .name = "identity",
      .kind = OPT_SECTION,
      .rows = identity_rows,
      .help = "the name of this agent in its heartbeats and in its fleet" },
    { .name = "fleet",
      .kind = OPT_SECTION,
      .offset = CONF(fleet),
      .rows = fleet_rows,
      .help = "the agents of the other instances, by a broker of `brokers`. Off unless set" },
    { 0 },
};

#define CHECK(field) offsetof(struct check_conf, field)
#define INTERVAL_ROW                \
    { .name = "interval",           \
      .kind = OPT_DURATION,         \
      .offset = CHECK(interval_ms), \
      .default_text = "5s",         \
      .min = 100,                   \
      .max = HOURS(24),             \
      .help = "from the beginning of one round to that of the next; a round that takes longer delays it" }
#define FAST_ROW                                                                                                                   \
    { .name = "fast_interval",                                                                                                     \
      .kind = OPT_DURATION,                                                                                                        \
      .offset = CHECK(fast_ms),                                                                                                    \
      .default_text = "500ms",                                                                                                     \
      .min = 50,                                                                                                                   \
      .max = HOURS(24),                                                                                                            \
      .help = "the interval while rounds contradict the check's state, so that it is soon settled; at most rise + fall rounds in " \
              "a row" }
#define TIMEOUT_ROW                \
    { .name = "timeout",           \
      .kind = OPT_DURATION,        \
      .offset = CHECK(timeout_ms), \
      .default_text = "2s",        \
      .min = 10,                   \
      .max = MINUTES(10),          \
      .help = "a hard deadline on the whole round, every phase included" }
#define RISE_ROW             \
    { .name = "rise",        \
      .kind = OPT_INT,       \
      .offset = CHECK(rise), \
      .default_text = "1",   \
      .min = 1,              \
      .max = 1000,           \
      .help = "how many rounds in a row without a failure end the failed state" }
#define FALL_ROW             \
    { .name = "fall",        \
      .kind = OPT_WINDOW,    \
      .offset = CHECK(fall), \
      .default_text = "2",   \
      .min = 1,              \
      .max = 64,             \
      .help = "how many failed rounds in a row begin the failed state; 3/5: three among the last five" }
#define JITTER_ROW                     \
    { .name = "jitter",                \
      .kind = OPT_PERCENT,             \
      .offset = CHECK(jitter_percent), \
      .default_text = "10%",           \
      .help = "each interval is shortened or lengthened at random by up to this much" }

const struct opt default_rows[] = { INTERVAL_ROW, FAST_ROW, TIMEOUT_ROW, RISE_ROW, FALL_ROW, JITTER_ROW, { 0 } };

const struct opt check_rows[] = {
    { .name = "name",
      .kind = OPT_STRING,
      .offset = CHECK(name),
      .min = 1,
      .max = 64,
      .help = "its name in logs, metrics and answers: letters, digits, _ . and -; by default the type" },
    INTERVAL_ROW,
    FAST_ROW,
    TIMEOUT_ROW,
    RISE_ROW,
    FALL_ROW,
    JITTER_ROW,
    { .name = "gates",
      .kind = OPT_SET,
      .offset = CHECK(gates),
      .words = gate_words,
      .help = "what its failure turns to 503: any of ready and live, or [] for nothing. The default is the type's. With path: "
              "public live is left out" },
    { .name = "path",
      .kind = OPT_ENUM,
      .offset = CHECK(path),
      .default_text = "local",
      .words = path_words,
      .help =
          "which URL it connects to: local is target.url, public is target.public_url, whose faults are shared by all instances: "
          "they degrade (readiness.shared_faults)" },
    { .name = "http",
      .kind = OPT_ENUM,
      .offset = CHECK(http),
      .default_text = "target",
      .words = check_http_words,
      .help =
          "the version of HTTP that its WebSockets begin with: 1.1, 2 or both, or target: as target.http says. delivery takes no "
          "both: write one check for each" },
    { .name = "each_address",
      .kind = OPT_BOOL,
      .offset = CHECK(each_address),
      .default_text = "false",
      .help =
          "whether each round tries every address that the name of the URL resolves to (16 at most), one after another, each with "
          "the whole timeout. Where some fail, the check warns and names them; for handshake, ping, echo, script, tls, http, tcp" },
    { .name = "slo",
      .kind = OPT_DURATION,
      .offset = CHECK(slo_ms),
      .max = MINUTES(10),
      .help = "a round slower than this is a warning; it must be shorter than timeout, and 0s means none" },
    { .name = "share_connection",
      .kind = OPT_BOOL,
      .offset = CHECK(shares),
      .default_text = "false",
      .help = "whether it uses one connection together with the other checks that say so, for servers that allow one session for a "
              "token; for ping, echo, delivery, and hold with one connection" },
    { .name = "enabled", .kind = OPT_BOOL, .offset = CHECK(enabled), .default_text = "true", .help = "whether the check runs" },
    { 0 },
};
