/*
 * NATS, the loop's side: options, the plan of a connection, and mails to and from its worker. Owns one mailbox for each connection; the
 * core calls it through broker_nats. It calls nothing of nats.c: connecting blocks there, publishing does while a server is frozen. It
 * never waits for a worker: closing closes the mailbox, and a worker that is stuck in a call ends after it. Reconnecting is the core's.
 */
#include "brokers/nats/nats.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/broker.h"
#include "agent/net/nkey.h"
#include "brokers/registry.h"

enum { MAILBOX_BYTES = 8 << 20, STREAM_NAME_MAX = 255, PATH_TEXT_MAX = 4095, TOKEN_MAX = 4096 };

struct nats_options {
    struct opt_strings servers;
    char *token, *nkey_file, *credentials_file, *stream;
    int jetstream;
};

struct nats_state {
    struct mail_port port;
};

static const char *const jetstream_words[] = { "false", "true", "auto", NULL };

#define FIELD(field) offsetof(struct nats_options, field)
static const struct opt rows[] = {
    { .name = "servers",
      .kind = OPT_STRINGS,
      .offset = FIELD(servers),
      .max = 512,
      .help = "more servers of the cluster, tried in turn after url: nats://host:port" },
    { .name = "token",
      .kind = OPT_STRING,
      .offset = FIELD(token),
      .max = TOKEN_MAX,
      .flags = OPT_SECRET | OPT_DYNAMIC,
      .help = "authorization token" },
    { .name = "nkey_file",
      .kind = OPT_STRING,
      .offset = FIELD(nkey_file),
      .max = PATH_TEXT_MAX,
      .help = "file with the NKey seed of a user" },
    { .name = "credentials_file",
      .kind = OPT_STRING,
      .offset = FIELD(credentials_file),
      .max = PATH_TEXT_MAX,
      .help = "file with a user's JWT and seed (.creds)" },
    { .name = "jetstream",
      .kind = OPT_ENUM,
      .offset = FIELD(jetstream),
      .default_text = "false",
      .words = jetstream_words,
      .help = "whether the broker is up only while JetStream answers; auto: where the account has it" },
    { .name = "stream",
      .kind = OPT_STRING,
      .offset = FIELD(stream),
      .max = STREAM_NAME_MAX,
      .help = "JetStream stream that must have a leader and acknowledge what is published" },
    { 0 },
};

/* --- rules --- */

static int parse_server(const char *text, struct url *url, struct err *err)
{
    if (url_parse(text, url, err))
        return -1;
    if (strcmp(url->scheme, "nats") != 0 && strcmp(url->scheme, "tls") != 0)
        return err_set(err, REASON_NONE, 0, "scheme '%s', want nats or tls", url->scheme);
    if (url->user[0] != '\0' || url->password[0] != '\0')
        return err_set(err, REASON_NONE, 0, "credentials belong into url: they are sent to every server");
    return 0;
}

static int nats_validate(const struct broker_conf *conf, struct err *err)
{
    const struct nats_options *options = conf->opts;
    int ways = !!options->token + !!options->nkey_file + !!options->credentials_file;
    struct url url;
    if (ways > 1)
        return err_set(err, REASON_NONE, 0, "token, nkey_file and credentials_file exclude each other");
    if (options->servers.count > NATS_SERVERS_MAX - 1)
        return err_set(err, REASON_NONE, 0, "servers: %zu servers, want at most %d", options->servers.count, NATS_SERVERS_MAX - 1);
    for (size_t i = 0; i < options->servers.count; i++)
        if (parse_server(options->servers.items[i], &url, err))
            return err_prefix(err, "servers[%zu]", i);
    if (options->stream && (options->stream[0] == '\0' || strpbrk(options->stream, ".*>/\\ \t\r\n")))
        return err_set(err, REASON_NONE, 0, "stream: '%s', want a name without blanks, dots, slashes and wildcards",
                       options->stream);
    /* Words are "1.0", "1.1", "1.2", "1.3". */
    if (conf->tls.min_version < 2)
        return err_set(err, REASON_NONE, 0, "tls.min_version: nats takes nothing below 1.2");
    return 0;
}

/* --- the plan --- */

static char *host_port(const struct url *url)
{
    bool v6 = strchr(url->host, ':');
    return mem_printf("%s%s%s:%u", v6 ? "[" : "", url->host, v6 ? "]" : "", url->port);
}

static void add_server(struct nats_plan *plan, const struct url *url)
{
    char *where = host_port(url);
    plan->servers[plan->server_count++] = mem_printf("nats://%s", where);
    plan->secure = plan->secure || url->tls || strcmp(url->scheme, "tls") == 0;
    if (!plan->where)
        plan->where = where;
    else
        mem_free(where);
}

static int plan_servers(struct nats_plan *plan, const struct broker *broker, struct err *err)
{
    const struct nats_options *options = broker_get_opts(broker);
    struct url url;
    if (broker_url(broker, &url, err))
        return -1;
    add_server(plan, &url);
    plan->user = url.user[0] == '\0' ? NULL : mem_strdup(url.user);
    plan->password = url.password[0] == '\0' ? NULL : mem_strdup(url.password);
    explicit_bzero(url.password, sizeof url.password);
    for (size_t i = 0; i < options->servers.count; i++) {
        if (parse_server(options->servers.items[i], &url, err)) {
            err->reason = REASON_AGENT_ERROR;
            return err_prefix(err, "servers[%zu]", i);
        }
        add_server(plan, &url);
    }
    if (plan->server_count > 1) {
        char *first = plan->where;
        plan->where = mem_printf("%s and %d more", first, plan->server_count - 1);
        mem_free(first);
    }
    return 0;
}

/* Files are read here, so that a missing one is named with its option. */
static int plan_nkey(struct nats_plan *plan, const char *file, struct err *err)
{
    char public[NKEY_PUBLIC_CHARS + 1];
    struct buf seed = BUF_INIT(OPT_FILE_MAX);
    int rc = opt_read_file(file, OPT_FILE_MAX, true, &seed, err);
    if (rc == 0)
        rc = nkey_public_of(buf_slice(&seed), public, err);
    buf_wipe(&seed);
    if (rc != 0)
        return err_prefix(err, "nkey_file: %s", file);
    plan->nkey_public = mem_strdup(public);
    plan->nkey_file = mem_strdup(file);
    return 0;
}

static int plan_credentials(struct nats_plan *plan, const struct nats_options *options, struct err *err)
{
    struct buf text = BUF_INIT(OPT_FILE_MAX);
    int rc = 0;
    if (options->token) {
        rc = opt_expand(options->token, &text, err);
        if (rc == 0)
            plan->token = mem_strdup(buf_str(&text));
        else
            err_prefix(err, "token");
    } else if (options->nkey_file) {
        rc = plan_nkey(plan, options->nkey_file, err);
    } else if (options->credentials_file) {
        rc = opt_read_file(options->credentials_file, OPT_FILE_MAX, true, &text, err);
        if (rc == 0)
            plan->credentials_file = mem_strdup(options->credentials_file);
        else
            err_prefix(err, "credentials_file: %s", options->credentials_file);
    }
    buf_wipe(&text);
    if (rc != 0)
        err->reason = REASON_AGENT_ERROR;
    return rc;
}

static struct nats_plan *plan_new(const struct broker *broker, struct err *err)
{
    const struct broker_conf *conf = broker_get_conf(broker);
    const struct nats_options *options = broker_get_opts(broker);
    struct nats_plan *plan = mem_alloc(sizeof *plan);
    plan->timeout_ms = conf->timeout_ms;
    plan->verify = conf->tls.verify;
    plan->only_tls13 = conf->tls.min_version == 3;
    plan->ca_file = mem_strdup(conf->tls.ca_file);
    plan->cert_file = mem_strdup(conf->tls.cert_file);
    plan->key_file = mem_strdup(conf->tls.key_file);
    plan->server_name = mem_strdup(conf->tls.server_name);
    plan->stream = mem_strdup(options->stream);
    plan->jetstream = plan->stream ? NATS_JETSTREAM_ON : (enum nats_jetstream)options->jetstream;
    if (plan_servers(plan, broker, err) || plan_credentials(plan, options, err)) {
        nats_plan_free(plan);
        return NULL;
    }
    return plan;
}

static const struct mailbox_type mailbox_type = { MAIL_PORT_TYPE, .max_mails = NATS_REQUESTS_MAX, .max_bytes = MAILBOX_BYTES };

/* --- what the core calls --- */

static int nats_open(struct broker *broker, struct err *err)
{
    struct nats_state *state = broker_state(broker);
    struct nats_plan *plan = plan_new(broker, err);
    if (!plan)
        return -1;
    if (mail_port_open(&state->port, broker, &mailbox_type, err) < 0) {
        nats_plan_free(plan);
        return -1;
    }
    /* The mailbox is open: from here on whatever is wrong is reported, not returned. */
    if (nats_worker_start(state->port.box, plan, err) < 0)
        mail_port_fail(&state->port, err);
    return 0;
}

static int request(struct broker *broker, enum mail_kind kind, struct slice topic, struct slice body, uint64_t token)
{
    struct nats_state *state = broker_state(broker);
    return mail_port_request(&state->port, kind, topic, body, token);
}

static int nats_ping(struct broker *broker)
{
    return request(broker, MAIL_PING, slice_str(NULL), slice_str(NULL), 0);
}

static int nats_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    return request(broker, MAIL_PUBLISH, topic, body, token);
}

static int nats_subscribe(struct broker *broker, struct slice topic)
{
    return request(broker, MAIL_SUBSCRIBE, topic, slice_str(NULL), broker_topic_in_batches(broker, topic));
}

static int nats_unsubscribe(struct broker *broker, struct slice topic)
{
    return request(broker, MAIL_UNSUBSCRIBE, topic, slice_str(NULL), 0);
}

static void nats_close(struct broker *broker)
{
    struct nats_state *state = broker_state(broker);
    mail_port_close(&state->port);
    nats_worker_hurry();
}

const struct broker_type broker_nats = {
    .name = "nats",
    .summary = "NATS: core and JetStream",
    .schemes = "nats tls",
    .carries_fleet = true,
    .default_url = "nats://127.0.0.1:4222",
    .opts = rows,
    .opts_size = sizeof(struct nats_options),
    .state_size = sizeof(struct nats_state),
    .validate = nats_validate,
    .open = nats_open,
    .ping = nats_ping,
    .publish = nats_publish,
    .subscribe = nats_subscribe,
    .unsubscribe = nats_unsubscribe,
    .close = nats_close,
    .end = nats_worker_end,
};
