/*
 * `server`: the server's capacity, seen from outside: connections and their churn, the accept queue, memory, descriptors, CPU, and what it must
 * be connected to itself. Each round is a look at the kernel (probes/server_look.h), beside it a fetch of the server's own metrics page, and then
 * the judgement (server_judge.c). Without a limit it only reports.
 */
#include "probes/server.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "probes/registry.h"

/* --- the configuration --- */

static int parse_peer(const char *text, struct url *url, struct err *err)
{
    char tcp[URL_HOST_MAX + 32];

    snprintf(tcp, sizeof tcp, "tcp://%s", text);
    if (strstr(text, "://") || strlen(text) + 8 > sizeof tcp || url_parse(tcp, url, NULL) < 0)
        return err_set(err, REASON_NONE, 0, "'%s', want HOST:PORT such as 10.0.0.9:6379", text);
    return 0;
}

static int validate_low(const char *name, const struct server_limit *limit, struct err *err)
{
    if (limit->low && !limit->high)
        return err_set(err, REASON_NONE, 0, "%s.low: needs high", name);
    if (limit->low > limit->high)
        return err_set(err, REASON_NONE, 0, "%s.low: more than high, want it to be at most that", name);
    return 0;
}

static int server_validate(const void *opts, struct err *err)
{
    const struct server_opts *server = opts;
    const struct server_limit churn = { server->churn.high, server->churn.low };
    struct url url;

    for (size_t i = 0; i < server->peers.count; i++)
        if (parse_peer(server->peers.items[i].value, &url, err) < 0)
            return err_prefix(err, "peers.%s", server->peers.items[i].name);
    if (server->metrics_url) {
        if (url_parse(server->metrics_url, &url, err) < 0)
            return err_prefix(err, "metrics_url");
        if (strncmp(url.scheme, "http", 4) != 0)
            return err_set(err, REASON_NONE, 0, "metrics_url: scheme %s, want http, https or http+unix", url.scheme);
    }
    if (server->pid_file && server->unit)
        return err_set(err, REASON_NONE, 0, "unit: pid_file is set too, want one of them");
    if (validate_low("max_connections", &server->max_connections, err) < 0 || validate_low("backlog", &server->backlog, err) < 0 ||
        validate_low("memory", &server->memory, err) < 0 || validate_low("memory_per_connection", &server->memory_each, err) < 0 ||
        validate_low("fds", &server->fds, err) < 0 || validate_low("cpu", &server->cpu, err) < 0 ||
        validate_low("churn", &churn, err) < 0)
        return -1;
    return server_series_validate(server, err);
}

static struct server_policy policy_of(const struct server_opts *opts)
{
    return (struct server_policy){ .connections = opts->max_connections,
                                   .backlog = opts->backlog,
                                   .memory = opts->memory,
                                   .memory_each = opts->memory_each,
                                   .fds = opts->fds,
                                   .cpu = opts->cpu,
                                   .drop = { opts->drop.high.percent, opts->drop.high.in_ms, opts->drop.low },
                                   .growth = { opts->growth.high.percent, opts->growth.high.in_ms, opts->growth.low },
                                   .churn = { opts->churn.high, opts->churn.low },
                                   .churn_normal = opts->churn.normal };
}

uint16_t server_port(const void *opts)
{
    return (uint16_t)((const struct server_opts *)opts)->port;
}

static unsigned server_gates_of(const void *opts)
{
    struct server_policy policy = policy_of(opts);

    return server_policy_has_limits(&policy) || server_series_has_limits(opts) ? GATE_READY : 0;
}

static bool server_needs_tls(const void *opts)
{
    const struct server_opts *server = opts;
    struct url url;

    return server->metrics_url && url_parse(server->metrics_url, &url, NULL) == 0 && url.tls;
}

/* --- names --- */

static void ask(struct run *run);

/* Older addresses stay behind the new ones: a connection outlives the record that it was made by. A name that does not resolve now keeps
 * those that it had. */
static void on_resolved(void *user, const struct resolve_answer *answer)
{
    struct server_name *name = user;
    struct look_addresses before = *name->addresses;

    name->lookup = NULL;
    name->answered = true;
    if (answer->count)
        name->addresses->count = 0;
    for (size_t i = 0; i < answer->count; i++)
        look_add(name->addresses, &answer->addresses[i]);
    for (unsigned i = 0; i < before.count; i++)
        look_add_end(name->addresses, &before.items[i]);
    ask(name->run);
}

static void add_name(struct run *run, const char *host, struct look_addresses *addresses)
{
    struct server_state *state = run->state;
    struct server_name *name = &state->names[state->name_count++];

    name->run = run;
    name->addresses = addresses;
    snprintf(name->host, sizeof name->host, "%s", host);
}

static void look_up(struct run *run)
{
    struct server_state *state = run->state;

    for (unsigned i = 0; i < state->name_count; i++) {
        struct server_name *name = &state->names[i];

        if (!name->lookup)
            name->lookup = resolve_start(run->loop, name->host, on_resolved, name);
        name->answered = name->answered || !name->lookup;
    }
}

/* --- a round --- */

static void end_if_done(struct run *run)
{
    struct server_state *state = run->state;

    if (run->active && !state->waiting_look && !state->waiting_page)
        server_judge(run);
}

static void on_seen(void *user, const struct look_seen *seen)
{
    struct run *run = user;
    struct server_state *state = run->state;

    if (!run->active || !state->waiting_look)
        return;
    state->seen = *seen;
    state->have_seen = true;
    state->waiting_look = false;
    end_if_done(run);
}

void server_page_done(struct run *run)
{
    struct server_state *state = run->state;

    state->waiting_page = false;
    end_if_done(run);
}

/* Once every name has been answered; later ones are looked up beside the rounds. A look that is still under way is this round's too. */
static void ask(struct run *run)
{
    struct server_state *state = run->state;

    if (!run->active || !state->waiting_look || state->asked)
        return;
    for (unsigned i = 0; i < state->name_count; i++)
        if (!state->names[i].answered)
            return;
    state->asked = true;
    state->ask.unresolved = state->by_name && !state->ask.target.count;
    (void)look_ask(state->look, &state->ask);
}

static void begin_peers(struct run *run)
{
    struct server_state *state = run->state;
    const struct server_opts *opts = run->opts;
    struct server_stats *stats = run->stats->server;
    struct url url = { 0 };

    for (size_t i = 0; i < opts->peers.count && i < SERVER_PEERS_MAX; i++) {
        struct server_peer_stats *peer = &stats->peers[stats->peer_count++];

        parse_peer(opts->peers.items[i].value, &url, NULL); /* server_validate has seen it */
        snprintf(peer->name, sizeof peer->name, "%.63s", opts->peers.items[i].name);
        snprintf(peer->address, sizeof peer->address, "%.159s", opts->peers.items[i].value);
        state->ask.peer_ports[state->ask.peer_count] = url.port;
        add_name(run, url.host, &state->ask.peers[state->ask.peer_count++]);
    }
}

static void begin_series(struct run *run)
{
    const struct server_opts *opts = run->opts;
    const struct server_series_opts *series = opts->series.items;
    struct server_state *state = run->state;
    struct server_stats *stats = run->stats->server;

    for (size_t i = 0; i < opts->series.count && i < SERVER_SERIES_MAX; i++)
        snprintf(stats->series[stats->series_count++].name, SERVER_NAME_MAX, "%.63s", series[i].name_in_map);
    if (opts->metrics_url)
        url_parse(opts->metrics_url, &state->page_url, NULL);
}

/* 0, or -1: the round is over. */
static int begin(struct run *run)
{
    struct server_state *state = run->state;
    const struct server_opts *opts = run->opts;
    const struct url *url = &run->target->local;
    bool by_port = !opts->port && !opts->pid_file && !opts->unit, is_unix = url->is_unix && !opts->port;
    struct look_plan plan = { is_unix ? url->unix_path : NULL,
                              is_unix      ? 0
                              : opts->port ? (uint16_t)opts->port
                                           : url->port,
                              opts->pid_file, opts->unit, false };
    struct err err;

    if (state->begun)
        return 0;
    state->look = look_new(run->loop, &plan, on_seen, run, &err);
    if (!state->look) {
        run_finish(run, REASON_AGENT_ERROR, "%s", err.text);
        return -1;
    }
    state->begun = true;
    state->policy = policy_of(opts);
    run->stats->server->max_connections = (uint64_t)opts->max_connections.high;
    begin_peers(run);
    begin_series(run);
    state->by_name = by_port && !is_unix;
    if (state->by_name)
        add_name(run, url->host, &state->ask.target);
    return 0;
}

static void server_start(struct run *run)
{
    struct server_state *state = run->state;

    if (begin(run) < 0)
        return;
    state->waiting_look = true;
    state->asked = state->have_seen = false;
    state->waiting_page = ((const struct server_opts *)run->opts)->metrics_url;
    if (state->waiting_page)
        server_page_start(run);
    look_up(run);
    ask(run);
}

/* What there is by now is judged: a page that does not answer hides no figure of the kernel's. */
static void server_on_deadline(struct run *run)
{
    struct server_state *state = run->state;

    server_page_stop(run);
    state->waiting_look = state->waiting_page = false;
    server_judge(run);
}

static void server_stop(struct run *run)
{
    struct server_state *state = run->state;

    server_page_stop(run);
    for (unsigned i = 0; i < state->name_count; i++)
        if (state->names[i].lookup)
            resolve_cancel(state->names[i].lookup);
    look_free(state->look);
    memset(state, 0, sizeof *state);
}

/* --- rows --- */

#define LIMIT_ROWS(id, kind_, max_, what)                                        \
    static const struct opt id##_rows[] = {                                      \
        { .name = "high",                                                        \
          .kind = kind_,                                                         \
          .offset = offsetof(struct server_limit, high),                         \
          .max = max_,                                                           \
          .flags = OPT_SHORT,                                                    \
          .help = "it fails from " what " on" },                                 \
        { .name = "low",                                                         \
          .kind = kind_,                                                         \
          .offset = offsetof(struct server_limit, low),                          \
          .max = max_,                                                           \
          .help = "until it is down to this; without it, nine tenths of high" }, \
        { 0 },                                                                   \
    };
LIMIT_ROWS(connections, OPT_INT, 10000000, "so many connections")
LIMIT_ROWS(backlog, OPT_PERCENT, 100, "this share of the accept queue")
LIMIT_ROWS(memory, OPT_SIZE, INT64_C(1) << 50, "so much memory")
LIMIT_ROWS(memory_each, OPT_SIZE, INT64_C(1) << 40, "so much memory for each connection")
LIMIT_ROWS(fds, OPT_PERCENT, 100, "this share of the descriptors")
LIMIT_ROWS(cpu, OPT_PERCENT, 100000, "this share of one core")

#define SWING_ROWS(id, max_, what)                                     \
    static const struct opt id##_rows[] = {                            \
        { .name = "high",                                              \
          .kind = OPT_RATE,                                            \
          .offset = offsetof(struct server_swing_opts, high),          \
          .max = max_,                                                 \
          .flags = OPT_SHORT,                                          \
          .help = what },                                              \
        { .name = "low",                                               \
          .kind = OPT_PERCENT,                                         \
          .offset = offsetof(struct server_swing_opts, low),           \
          .max = max_,                                                 \
          .help = "it ends at this percentage; without it, at half" }, \
        { 0 },                                                         \
    };
SWING_ROWS(drop, 100, "it fails when so many of the connections are lost within this time")
SWING_ROWS(growth, 100000, "it fails when the connections grow by so much within this time")

static const struct opt churn_rows[] = {
    { .name = "high",
      .kind = OPT_FACTOR,
      .offset = offsetof(struct server_churn_opts, high),
      .min = 101,
      .max = 100000,
      .flags = OPT_SHORT,
      .help = "it fails when so many times as many connections come and go as is normal" },
    { .name = "low",
      .kind = OPT_FACTOR,
      .offset = offsetof(struct server_churn_opts, low),
      .max = 100000,
      .help = "until it is down to this; without it, nine tenths of high" },
    { .name = "normal",
      .kind = OPT_INT,
      .offset = offsetof(struct server_churn_opts, normal),
      .max = 1000000,
      .help =
          "connections that come and go in a second when all is well; without it, that is learned over the first five minutes" },
    { 0 },
};

static const struct opt series_rows[] = {
    { .name = "name",
      .kind = OPT_STRING,
      .offset = offsetof(struct server_series_opts, name),
      .max = 256,
      .flags = OPT_REQUIRED | OPT_SHORT,
      .help = "the series on the page, with labels or without; all that fit are added up, and counters are read per second" },
    { .name = "max",
      .kind = OPT_STRING,
      .offset = offsetof(struct server_series_opts, max),
      .max = 32,
      .help = "it fails above this: a number, a size such as 512MiB, or a duration such as 250ms" },
    { .name = "low",
      .kind = OPT_STRING,
      .offset = offsetof(struct server_series_opts, low),
      .max = 32,
      .help = "until it is down to this; without it, nine tenths of max" },
    { 0 },
};

#define SERVER(field) offsetof(struct server_opts, field)
static const struct opt server_rows[] = {
    { .name = "port",
      .kind = OPT_INT,
      .offset = SERVER(port),
      .max = 65535,
      .help = "the port that the server listens on; without it, the target's" },
    { .name = "pid_file",
      .kind = OPT_STRING,
      .offset = SERVER(pid_file),
      .max = 1024,
      .help = "a file with the server's process number; without it, the process that listens is looked for, which needs its user's "
              "rights" },
    { .name = "unit",
      .kind = OPT_STRING,
      .offset = SERVER(unit),
      .max = 256,
      .help = "the systemd unit whose processes are the server, such as chat.service" },
    { .name = "max_connections",
      .kind = OPT_SECTION,
      .offset = SERVER(max_connections),
      .rows = connections_rows,
      .help = "how many connections the server may hold" },
    { .name = "drop",
      .kind = OPT_SECTION,
      .offset = SERVER(drop),
      .rows = drop_rows,
      .help = "mass disconnect, such as 50% in 10s" },
    { .name = "growth",
      .kind = OPT_SECTION,
      .offset = SERVER(growth),
      .rows = growth_rows,
      .help = "runaway growth, such as 100% in 1m" },
    { .name = "churn",
      .kind = OPT_SECTION,
      .offset = SERVER(churn),
      .rows = churn_rows,
      .help = "connections that come and go, such as 3x; quiet while the instance is drained, and a minute after" },
    { .name = "backlog",
      .kind = OPT_SECTION,
      .offset = SERVER(backlog),
      .rows = backlog_rows,
      .help = "the accept queue, the fullest of several" },
    { .name = "memory",
      .kind = OPT_SECTION,
      .offset = SERVER(memory),
      .rows = memory_rows,
      .help = "resident memory of the server's processes" },
    { .name = "memory_per_connection",
      .kind = OPT_SECTION,
      .offset = SERVER(memory_each),
      .rows = memory_each_rows,
      .help = "that, for each connection" },
    { .name = "fds", .kind = OPT_SECTION, .offset = SERVER(fds), .rows = fds_rows, .help = "open descriptors against the limit" },
    { .name = "cpu",
      .kind = OPT_SECTION,
      .offset = SERVER(cpu),
      .rows = cpu_rows,
      .help =
          "CPU of the server's busiest process over ten seconds, in percent of one core: several threads may use more than 100%" },
    { .name = "peers",
      .kind = OPT_PAIRS,
      .offset = SERVER(peers),
      .max = SERVER_PEERS_MAX,
      .help = "what the server itself must be connected to, as NAME: HOST:PORT; one that is missing is a warning" },
    { .name = "metrics_url",
      .kind = OPT_STRING,
      .offset = SERVER(metrics_url),
      .max = URL_TARGET_MAX,
      .help = "http://, https:// or http+unix:// URL of the server's own Prometheus page" },
    { .name = "series",
      .kind = OPT_MAP,
      .offset = SERVER(series),
      .max = SERVER_SERIES_MAX,
      .rows = series_rows,
      .size = sizeof(struct server_series_opts),
      .help =
          "figures on that page, by names of your own; one that is called connections stands in where the kernel does not tell" },
    { 0 },
};

const struct probe_type probe_server = {
    .name = "server",
    .summary = "Capacity seen from outside: connections, accept queue, memory, descriptors, CPU, peers (sock_diag(7), proc(5))",
    .kind = PROBE_PLAIN,
    .rank = 10,
    .opts = server_rows,
    .opts_size = sizeof(struct server_opts),
    .state_size = sizeof(struct server_state),
    .gates = GATE_READY,
    .gates_of = server_gates_of,
    .session = true,
    .watches_server = true,
    .validate = server_validate,
    .needs_tls = server_needs_tls,
    .reasons = (const enum reason[]){ REASON_SERVER_CONNECTIONS_HIGH, REASON_SERVER_CONNECTIONS_DROPPED, REASON_SERVER_CHURN_HIGH,
                                      REASON_SERVER_BACKLOG_HIGH, REASON_SERVER_MEMORY_HIGH, REASON_SERVER_FDS_HIGH,
                                      REASON_SERVER_CPU_HIGH, REASON_SERVER_GONE, REASON_SERVER_SERIES_HIGH,
                                      REASON_SERVER_METRICS_MISSING, REASON_SERVER_PEER_LOST, REASON_NONE },
    .start = server_start,
    .on_deadline = server_on_deadline,
    .stop = server_stop,
};
