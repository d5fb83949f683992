/*
 * The redis driver: the contract of agent/core/broker.h over Redis, Valkey and what speaks RESP2 like them. Opening tries one place after
 * the other (the URL's host and `hosts`, or the Sentinels), each with its share of the time, until a probe (redis_probe.c) finds one up,
 * writable and ready to subscribe. Commands and subscriptions have a connection each, as RESP2 wants it. Reconnecting and the deadlines of
 * requests are the core's. A lost connection takes the driver down: the core is told at once and opens it anew.
 */
#include "brokers/redis/redis.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "brokers/registry.h"

enum { SENTINEL_PORT = 26379, REDIS_PORT = 6379, DATABASE_MAX = 1 << 20 };

/* --- places --- */

int redis_host_parse(const char *text, uint16_t port, struct url *url, struct err *err)
{
    char full[URL_HOST_MAX + 32];
    const char *behind = strrchr(text, ']');
    bool with_port = strchr(behind ? behind : text, ':');
    int len = with_port || port == 0 ? snprintf(full, sizeof full, "tcp://%s", text)
                                     : snprintf(full, sizeof full, "tcp://%s:%u", text, port);
    if (len < 0 || (size_t)len >= sizeof full || strpbrk(text, "/?@"))
        return err_set(err, REASON_NONE, 0, "'%.*s' is no host:port", 60, text);
    return url_parse(full, url, err);
}

static const struct opt_strings *host_list(const struct redis *redis)
{
    return redis->mode == REDIS_SENTINEL ? &redis->opts->sentinel.hosts : &redis->opts->hosts;
}

/* Sentinels replace the URL's host; further nodes of a cluster are tried after it. */
static void place_url(const struct redis *redis, struct url *url)
{
    const struct opt_strings *list = host_list(redis);
    bool sentinel = redis->mode == REDIS_SENTINEL;
    if (sentinel ? list->count == 0 : redis->place == 0) {
        *url = redis->url;
        return;
    }
    redis_host_parse(list->items[redis->place - (sentinel ? 0 : 1)], sentinel ? SENTINEL_PORT : REDIS_PORT, url, NULL);
    url->tls = redis->url.tls; /* redis_validate has seen the host */
}

/* --- opening --- */

void redis_home_open(struct redis *redis, const struct url *url)
{
    redis_node_add(redis, url);
    redis_probe_begin(redis);
}

/* Each place has an equal part of what is left: one that is silent leaves time for the others. */
static void begin_place(struct redis *redis)
{
    uint64_t now_ns = clock_now_ns(), left_ns = redis->give_up_ns > now_ns ? redis->give_up_ns - now_ns : 0;
    struct url url;
    place_url(redis, &url);
    redis->tried_ns = now_ns;
    if (redis->mode == REDIS_SENTINEL)
        redis_sentinel_query(redis, &url);
    else
        redis_home_open(redis, &url);
    timer_start_ns(&redis->deadline, left_ns / (redis->places - redis->place));
}

static void release(struct redis *redis)
{
    timer_stop(&redis->deadline);
    redis_links_close(redis);
    redis_nodes_free(redis);
    redis->probe.active = false;
}

void redis_fail(struct redis *redis, const struct err *err)
{
    struct err copy = *err; /* a copy: err may belong to what release frees */
    if (redis->stage == REDIS_DOWN || redis->stage == REDIS_CLOSING)
        return;
    release(redis);
    timer_stop(&redis->later);
    if (redis->stage == REDIS_OPENING && redis->place + 1 < redis->places) {
        redis->place++;
        begin_place(redis);
        return;
    }
    redis->stage = REDIS_DOWN;
    broker_down(redis->broker, &copy);
}

void redis_fail_later(struct redis *redis, const struct err *err)
{
    if (redis->stage == REDIS_DOWN || redis->stage == REDIS_CLOSING || timer_active(&redis->later))
        return;
    redis->later_err = *err;
    timer_start(&redis->later, 0);
}

static void on_later(struct timer *timer, void *user)
{
    struct redis *redis = user;
    (void)timer;
    if (redis->stage != REDIS_CLOSING) {
        redis_fail(redis, &redis->later_err);
        redis_flush(redis);
        return;
    }
    redis_links_free(redis);
    broker_closed(redis->broker); /* frees redis */
}

/* Names the connection that has not answered. The core's own deadline could only say that the time is over. */
static void on_deadline(struct timer *timer, void *user)
{
    struct redis *redis = user;
    uint64_t spent_ms = (clock_now_ns() - redis->tried_ns) / NS_PER_MS;
    const struct redis_link *stuck = NULL;
    struct err dial, err;
    char limit[32];
    (void)timer;
    list_each (node, &redis->links) {
        const struct redis_link *link = list_entry(node, struct redis_link, node);
        if (!link->dead && link->waiting)
            stuck = link;
    }
    text_format_duration((int64_t)spent_ms, limit, sizeof limit);
    if (stuck && stuck->dial) {
        dial_timeout_err(&stuck->target, &stuck->report, spent_ms, &dial);
        broker_err_of_dial(&dial, &err);
        err_prefix(&err, "%s", stuck->use == REDIS_ASK_SENTINEL ? "Sentinel" : "Redis");
    } else {
        err_set(&err, REASON_BROKER_TIMEOUT, 0, "%s takes connections, but has not answered within %s",
                stuck ? stuck->name : "Redis", limit);
    }
    redis_fail(redis, &err);
    redis_flush(redis);
}

/* "/3"; "/" and nothing are database 0. */
static int read_database(const struct url *url, long *database, struct err *err)
{
    int64_t number = 0;
    if (url->target[1] && (text_parse_int(url->target + 1, &number) || number < 0 || number > DATABASE_MAX))
        return err_set(err, REASON_NONE, 0, "url: path '%.60s', want the number of a database as in redis://host:6379/0",
                       url->target);
    *database = (long)number;
    return 0;
}

static void set_write_key(struct redis *redis)
{
    char host[64] = "";
    if (redis->opts->write_key) {
        snprintf(redis->write_key, sizeof redis->write_key, "%s", redis->opts->write_key);
        return;
    }
    if (gethostname(host, sizeof host - 1) || !*host)
        snprintf(host, sizeof host, "agent");
    snprintf(redis->write_key, sizeof redis->write_key, "wshealthd:probe:%s", host);
}

static int read_secrets(struct redis *redis, struct err *err)
{
    struct buf password = BUF_INIT(sizeof redis->sentinel_password - 1);
    int rc = redis->opts->sentinel.password ? opt_expand(redis->opts->sentinel.password, &password, err) : 0;
    if (rc)
        err_prefix(err, "brokers.%s.sentinel.password", broker_get_conf(redis->broker)->name);
    else
        snprintf(redis->sentinel_password, sizeof redis->sentinel_password, "%s", buf_str(&password));
    buf_fini(&password);
    return rc;
}

static int redis_open(struct broker *broker, struct err *err)
{
    struct redis *redis = broker_state(broker);
    uint64_t timeout_ms = (uint64_t)broker_get_conf(broker)->timeout_ms;
    redis->broker = broker;
    redis->opts = broker_get_opts(broker);
    redis->mode = redis->opts->sentinel.master ? REDIS_SENTINEL : (enum redis_mode)redis->opts->mode;
    redis->loop = broker_loop(broker);
    list_init(&redis->links);
    if (broker_url(broker, &redis->url, err))
        return -1;
    if (redis->url.tls && !broker_tls(broker)) /* an error: it must not connect without TLS instead */
        return err_set(err, REASON_AGENT_ERROR, 0,
                       "brokers.%s.url: TLS is not set up, want rediss:// written out in the configuration",
                       broker_get_conf(broker)->name);
    if (read_database(&redis->url, &redis->database, err) || read_secrets(redis, err)) {
        err->reason = REASON_AGENT_ERROR;
        return -1;
    }
    set_write_key(redis);
    redis->places = host_list(redis)->count + (redis->mode == REDIS_SENTINEL ? 0 : 1);
    if (redis->places == 0)
        redis->places = 1;
    redis->give_up_ns = clock_now_ns() + timeout_ms * NS_PER_MS / 20 * 19;
    timer_init(&redis->deadline, redis->loop, on_deadline, redis);
    timer_init(&redis->later, redis->loop, on_later, redis);
    begin_place(redis);
    return 0;
}

static void redis_close(struct broker *broker)
{
    struct redis *redis = broker_state(broker);
    release(redis);
    redis->stage = REDIS_CLOSING;
    timer_start(&redis->later, 0);
}

/* --- requests --- */

static int redis_ping(struct broker *broker)
{
    struct redis *redis = broker_state(broker);
    if (redis->stage != REDIS_UP || redis->probe.active)
        return -1;
    redis_probe_begin(redis);
    redis_flush(redis);
    return 0;
}

static void on_published(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct err err;
    int rc = resp_kind_of(reply) == RESP_INTEGER ? 0 : redis_judge(link, REDIS_DO_PUBLISH, reply, &err);
    broker_published(link->redis->broker, request->token, rc ? &err : NULL);
}

/* PUBLISH answers with the number of receivers on that node, which says nothing: the server under test may use another node. */
static int redis_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    struct redis *redis = broker_state(broker);
    bool sharded = redis->opts->sharded;
    struct slice args[] = { slice_str(sharded ? "SPUBLISH" : "PUBLISH"), topic, body };
    struct redis_request *request;
    if (redis->stage != REDIS_UP)
        return -1;
    request = redis_request_new(on_published);
    request->token = token;
    request->routed = sharded;
    redis_push(sharded ? redis_link_for(redis, topic, REDIS_COMMANDS) : redis_node_link(redis, 0, REDIS_COMMANDS), request, args,
               3);
    redis_flush(redis);
    return 0;
}

/* A nil reply means that the condition of a command (SET NX, XADD NOMKSTREAM) did not hold: nothing was written. */
static void on_commanded(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct err err;
    int rc = 0;
    if (resp_kind_of(reply) == RESP_ERROR)
        rc = redis_judge(link, REDIS_DO_COMMAND, reply, &err);
    else if (resp_kind_of(reply) == RESP_NIL)
        rc = err_set(&err, REASON_BROKER_NOT_DELIVERING, 0, "%s has not done publish.command: its condition did not hold",
                     link->name);
    broker_published(link->redis->broker, request->token, rc ? &err : NULL);
}

/* The key is the second argument of all these commands, and its slot decides the node of a cluster. PUBLISH may go to any node. */
static int redis_command(struct broker *broker, const struct slice *args, size_t count, uint64_t token)
{
    struct redis *redis = broker_state(broker);
    bool routed = count > 1 && !slice_equal_nocase(args[0], "PUBLISH");
    struct redis_request *request;
    if (redis->stage != REDIS_UP)
        return -1;
    request = redis_request_new(on_commanded);
    request->token = token;
    request->routed = routed;
    redis_push(routed ? redis_link_for(redis, args[1], REDIS_COMMANDS) : redis_node_link(redis, 0, REDIS_COMMANDS), request, args,
               count);
    redis_flush(redis);
    return 0;
}

static void on_subscribed(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct err err;
    int rc = resp_count(reply) == 3 ? 0 : redis_judge(link, REDIS_DO_SUBSCRIBE, reply, &err);
    broker_subscribed(link->redis->broker, slice_str(request->topic), rc ? &err : NULL);
}

static int say_topic(struct redis *redis, const char *verb, struct slice topic, bool unsubscribes, redis_reply_fn *on_reply)
{
    bool sharded = redis->opts->sharded;
    char name[16] = "";
    struct slice args[] = { slice_make(name, (size_t)snprintf(name, sizeof name, "%s%s", sharded ? "S" : "", verb)), topic };
    struct redis_request *request;
    if (redis->stage != REDIS_UP)
        return -1;
    request = redis_request_new(on_reply);
    request->topic = mem_strndup(topic.data, topic.len);
    request->routed = sharded;
    request->unsubscribes = unsubscribes;
    redis_push(sharded ? redis_link_for(redis, topic, REDIS_PUBSUB) : redis_node_link(redis, 0, REDIS_PUBSUB), request, args, 2);
    redis_flush(redis);
    return 0;
}

static int redis_subscribe(struct broker *broker, struct slice topic)
{
    return say_topic(broker_state(broker), "SUBSCRIBE", topic, false, on_subscribed);
}

static int redis_unsubscribe(struct broker *broker, struct slice topic)
{
    return say_topic(broker_state(broker), "UNSUBSCRIBE", topic, true, redis_ignore);
}

/* --- options --- */

static int validate_hosts(const char *name, const struct opt_strings *list, struct err *err)
{
    struct url url;
    if (list->count > REDIS_HOSTS_MAX)
        return err_set(err, REASON_NONE, 0, "%s: more than %d", name, REDIS_HOSTS_MAX);
    for (size_t i = 0; i < list->count; i++)
        if (redis_host_parse(list->items[i], REDIS_PORT, &url, err))
            return err_prefix(err, "%s", name);
    return 0;
}

static int redis_validate(const struct broker_conf *conf, struct err *err)
{
    const struct redis_opts *opts = conf->opts;
    struct url url;
    long database;
    if (opts->mode == REDIS_SENTINEL && !opts->sentinel.master)
        return err_set(err, REASON_NONE, 0, "mode: sentinel wants sentinel.master");
    if (opts->mode != REDIS_SENTINEL && opts->mode != REDIS_AUTO && opts->sentinel.master)
        return err_set(err, REASON_NONE, 0, "mode: with sentinel.master set, want auto or sentinel");
    if (!opts->sentinel.master && (opts->sentinel.hosts.count || opts->sentinel.password || opts->sentinel.user))
        return err_set(err, REASON_NONE, 0, "sentinel: master is not set");
    if (opts->hosts.count && (opts->sentinel.master || opts->mode == REDIS_STANDALONE))
        return err_set(err, REASON_NONE, 0, "hosts: only a cluster has further nodes");
    if (validate_hosts("hosts", &opts->hosts, err) || validate_hosts("sentinel", &opts->sentinel.hosts, err))
        return -1;
    if (url_parse(conf->url, &url, err)) /* values from files are filled in already */
        return -1;
    return read_database(&url, &database, err);
}

/* Commands that write one message and return at once. None waits, runs a script, deletes or administers, so a mistake costs one key. */
static const char *const commands[] = { "PUBLISH", "SPUBLISH", "XADD",  "LPUSH",  "RPUSH", "ZADD",
                                        "SADD",    "SET",      "SETEX", "EXPIRE", NULL };
_Static_assert((int)BROKER_ARGS_MAX <= (int)RESP_ARGS_MAX, "a command must fit");

static const char *const modes[] = { "auto", "standalone", "sentinel", "cluster", NULL };

static const struct opt sentinel_rows[] = {
    { .name = "master",
      .kind = OPT_STRING,
      .offset = offsetof(struct redis_opts, sentinel.master) - offsetof(struct redis_opts, sentinel),
      .max = 128,
      .help = "the name under which the Sentinels watch the master" },
    { .name = "hosts",
      .kind = OPT_STRINGS,
      .offset = offsetof(struct redis_opts, sentinel.hosts) - offsetof(struct redis_opts, sentinel),
      .max = REDIS_HOSTS_MAX,
      .help = "the Sentinels, host or host:port; without any, the host and port of url is one" },
    { .name = "user",
      .kind = OPT_STRING,
      .offset = offsetof(struct redis_opts, sentinel.user) - offsetof(struct redis_opts, sentinel),
      .max = 128,
      .help = "ACL user at the Sentinels" },
    { .name = "password",
      .kind = OPT_STRING,
      .offset = offsetof(struct redis_opts, sentinel.password) - offsetof(struct redis_opts, sentinel),
      .max = 255,
      .flags = OPT_SECRET | OPT_DYNAMIC,
      .help = "password at the Sentinels; the URL's is the master's" },
    { 0 },
};

static const struct opt redis_rows[] = {
    { .name = "mode",
      .kind = OPT_ENUM,
      .offset = offsetof(struct redis_opts, mode),
      .default_text = "auto",
      .words = modes,
      .help = "auto: Sentinel where sentinel.master is set, else what the server says of itself" },
    { .name = "hosts",
      .kind = OPT_STRINGS,
      .offset = offsetof(struct redis_opts, hosts),
      .max = REDIS_HOSTS_MAX,
      .help = "further nodes of a cluster, host or host:port, for when the one of url does not answer" },
    { .name = "sentinel",
      .kind = OPT_SECTION,
      .offset = offsetof(struct redis_opts, sentinel),
      .rows = sentinel_rows,
      .help = "follow the master that Sentinels watch" },
    { .name = "sharded",
      .kind = OPT_BOOL,
      .offset = offsetof(struct redis_opts, sharded),
      .default_text = "false",
      .help = "SPUBLISH and SSUBSCRIBE (Redis 7); must be as the server under test does it" },
    { .name = "write_test",
      .kind = OPT_BOOL,
      .offset = offsetof(struct redis_opts, write_test),
      .default_text = "true",
      .help = "each ping writes a key that expires; false where the user may not write, or a replica will do" },
    { .name = "write_key",
      .kind = OPT_STRING,
      .offset = offsetof(struct redis_opts, write_key),
      .max = 255,
      .help = "the key that is written; without it, wshealthd:probe: and the host's name" },
    { 0 },
};

const struct broker_type broker_redis = {
    .name = "redis",
    .summary = "Redis, Valkey: standalone, Sentinel, Cluster; pub/sub",
    .schemes = "redis rediss redis+unix",
    .tls_schemes = "rediss",
    .plain_schemes = "redis redis+unix",
    .carries_fleet = true,
    .default_url = "redis://127.0.0.1:6379",
    .opts = redis_rows,
    .opts_size = sizeof(struct redis_opts),
    .state_size = sizeof(struct redis),
    .validate = redis_validate,
    .open = redis_open,
    .ping = redis_ping,
    .publish = redis_publish,
    .commands = commands,
    .command = redis_command,
    .subscribe = redis_subscribe,
    .unsubscribe = redis_unsubscribe,
    .close = redis_close,
};
