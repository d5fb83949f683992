/*
 * Tests whether Redis is up, writable and delivering (brokers/redis/redis.h). Sends ROLE, CLUSTER INFO and a write of a key that expires,
 * and PING on every connection that subscribes, all at once; judges when all have answered. PING alone proves nothing: a replica, a
 * cluster with lost slots and a server that cannot save all say PONG. While the driver opens, a good verdict brings it up.
 */
#include "brokers/redis/redis.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"

#define PROBE_EXPIRY_MS "60000"
enum { SHOWN_CHARS = 60 };

static void conclude(struct redis *redis);

static void part_done(struct redis *redis)
{
    if (--redis->probe.waiting == 0)
        conclude(redis);
}

/* --- the role --- */

static void copy_text(char *out, size_t size, struct slice text)
{
    snprintf(out, size, "%.*s", (int)text.len, text.len ? (const char *)text.data : "");
}

/* ["slave", "10.0.0.1", 6379, "connected", 42] */
static void read_replica(struct redis_probe *probe, const struct resp_reply *reply)
{
    const struct resp_reply *host = resp_item(reply, 1), *port = resp_item(reply, 2);
    char shown[TEXT_EXCERPT_BYTES(SHOWN_CHARS)];
    probe->role = REDIS_ROLE_REPLICA;
    probe->linked = resp_item_is(reply, 3, "connected");
    text_excerpt(host ? resp_text(host) : slice_str("?"), SHOWN_CHARS, shown, sizeof shown);
    snprintf(probe->master, sizeof probe->master, "%s:%lld", shown, port ? (long long)resp_integer(port) : 0);
}

static void on_role(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct redis *redis = link->redis;
    (void)request;
    if (resp_item_is(reply, 0, "master"))
        redis->probe.role = REDIS_ROLE_MASTER;
    else if (resp_item_is(reply, 0, "slave"))
        read_replica(&redis->probe, reply);
    else if (resp_item_is(reply, 0, "sentinel"))
        redis->probe.role = REDIS_ROLE_SENTINEL;
    else if (redis_error_is(reply, "NOPERM") || redis_error_is(reply, "ERR"))
        redis->no_role = true; /* asking again would only fill its ACL log */
    part_done(redis);
}

/* --- the cluster --- */

/* The value of "name:value\r\n", cut; "" where there is no such line. */
static void info_value(struct slice info, const char *name, char *out, size_t size)
{
    ptrdiff_t at = slice_find(info, slice_str(name));
    out[0] = '\0';
    if (at < 0)
        return;
    info = slice_skip(info, (size_t)at + strlen(name));
    ptrdiff_t end = slice_find(info, slice_str("\r"));
    if (end >= 0)
        copy_text(out, size, slice_make(info.data, (size_t)end));
}

static void judge_cluster(struct redis_link *link, struct slice info)
{
    struct redis_probe *probe = &link->redis->probe;
    char state[16], served[16];
    int64_t slots = 0;
    info_value(info, "cluster_state:", state, sizeof state);
    info_value(info, "cluster_slots_ok:", served, sizeof served);
    if (text_parse_int(served, &slots))
        slots = 0;
    if (strcmp(state, "ok") != 0)
        err_set(&probe->cluster, REASON_BROKER_UNREACHABLE, 0, "%s says that its cluster is down: %lld of %d slots are served",
                link->name, (long long)slots, RESP_SLOTS);
    else if (slots < RESP_SLOTS)
        err_set(&probe->cluster, REASON_BROKER_UNREACHABLE, 0, "%s says that only %lld of %d slots of its cluster are served",
                link->name, (long long)slots, RESP_SLOTS);
}

static void on_cluster_info(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct redis *redis = link->redis;
    char shown[TEXT_EXCERPT_BYTES(SHOWN_CHARS)];
    (void)request;
    if (resp_kind_of(reply) == RESP_TEXT) {
        redis->cluster = true;
        judge_cluster(link, resp_text(reply));
    } else if (redis_error_is(reply, "NOPERM")) {
        redis->no_cluster_info = true;
    } else if (redis_error_is(reply, "ERR")) {
        redis->no_cluster_info = redis->mode != REDIS_CLUSTER;
        text_excerpt(resp_text(reply), SHOWN_CHARS, shown, sizeof shown);
        if (redis->mode == REDIS_CLUSTER)
            err_set(&redis->probe.cluster, REASON_BROKER_UNREACHABLE, 0, "%s is not a node of a cluster: %s", link->name, shown);
    }
    part_done(redis);
}

/* --- writing and subscribing --- */

static void on_write(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct redis *redis = link->redis;
    (void)request;
    if (!resp_is_status(reply, "OK"))
        redis_judge(link, REDIS_DO_WRITE, reply, &redis->probe.write);
    part_done(redis);
}

/* +PONG; on a connection that has subscribed ["pong", ""]. */
static bool is_pong(const struct resp_reply *reply)
{
    return resp_is_status(reply, "PONG") || resp_item_is(reply, 0, "pong");
}

static void on_ping(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct redis *redis = link->redis;
    struct err *err = link->use == REDIS_PUBSUB ? &redis->probe.pubsub : &redis->probe.write;
    (void)request;
    if (!is_pong(reply))
        redis_judge(link, REDIS_DO_PING, reply, err);
    part_done(redis);
}

static void request(struct redis_link *link, redis_reply_fn *on_reply, const char *const *args)
{
    link->redis->probe.waiting++;
    redis_say(link, on_reply, args);
}

static void request_write(struct redis *redis)
{
    struct slice key = slice_str(redis->write_key);
    struct slice args[] = { slice_str("SET"), key, slice_str("wshealthd"), slice_str("PX"), slice_str(PROBE_EXPIRY_MS) };
    struct redis_request *request = redis_request_new(on_write);
    request->routed = true;
    redis->probe.waiting++;
    redis_push(redis_link_for(redis, key, REDIS_COMMANDS), request, args, sizeof args / sizeof *args);
}

void redis_probe_begin(struct redis *redis)
{
    struct redis_link *home = redis_node_link(redis, 0, REDIS_COMMANDS);
    memset(&redis->probe, 0, sizeof redis->probe);
    redis->probe.active = true;
    redis->probe.waiting = 1; /* keeps the probe open until all requests are sent */
    if (!redis->no_role)
        request(home, on_role, (const char *const[]){ "ROLE", NULL });
    if (redis->mode != REDIS_STANDALONE && redis->mode != REDIS_SENTINEL && !redis->no_cluster_info)
        request(home, on_cluster_info, (const char *const[]){ "CLUSTER", "INFO", NULL });
    if (redis->opts->write_test)
        request_write(redis);
    else
        request(home, on_ping, (const char *const[]){ "PING", NULL });
    for (size_t i = 0; i < redis->node_count; i++)
        if (redis->nodes[i]->pubsub)
            request(redis->nodes[i]->pubsub, on_ping, (const char *const[]){ "PING", NULL });
    part_done(redis);
}

/* --- the verdict --- */

static int judge_replica(const struct redis *redis, struct err *err)
{
    const struct redis_probe *probe = &redis->probe;
    const char *name = redis->nodes[0]->commands->name;
    if (!probe->linked)
        return err_set(err, redis->opts->write_test ? REASON_BROKER_READ_ONLY : REASON_BROKER_NOT_DELIVERING, 0,
                       "%s is a read-only replica, and has lost its master %s: what is published there does not arrive", name,
                       probe->master);
    if (redis->mode == REDIS_SENTINEL)
        return err_set(err, REASON_BROKER_READ_ONLY, 0,
                       "%s is said to be master %s, but is a replica of %s: a failover is under way", name,
                       redis->opts->sentinel.master, probe->master);
    if (probe->write.reason)
        return err_set(err, REASON_BROKER_READ_ONLY, 0, "%s takes no writes: it is a read-only replica of %s", name, probe->master);
    return 0;
}

/* The fault that explains most comes first: the cluster's state before the one slot that failed, a replica's role before its READONLY. */
static int judge_answers(const struct redis *redis, struct err *err)
{
    const struct redis_probe *probe = &redis->probe;
    *err = probe->write;
    if (probe->role == REDIS_ROLE_SENTINEL)
        return err_set(err, REASON_BROKER_UNREACHABLE, 0, "%s is a Sentinel: name its master in sentinel.master",
                       redis->nodes[0]->commands->name);
    if (probe->write.reason == REASON_BROKER_AUTH_FAILED)
        return -1;
    if (probe->cluster.reason)
        *err = probe->cluster;
    if (err->reason && err->reason != REASON_BROKER_READ_ONLY)
        return -1;
    if (probe->role == REDIS_ROLE_REPLICA && !redis->cluster && judge_replica(redis, err))
        return -1;
    if (!err->reason)
        *err = probe->pubsub;
    return err->reason ? -1 : 0;
}

/* Subscribing comes last while opening: a server that refuses the first connection gets no second one. */
static bool subscribe_next(struct redis *redis)
{
    if (redis->stage != REDIS_OPENING || redis->nodes[0]->pubsub)
        return false;
    redis->probe.waiting = 0;
    request(redis_node_link(redis, 0, REDIS_PUBSUB), on_ping, (const char *const[]){ "PING", NULL });
    return true;
}

static void conclude(struct redis *redis)
{
    struct err err;
    int rc = judge_answers(redis, &err);
    if (rc == 0 && subscribe_next(redis))
        return;
    redis->probe.active = false;
    if (redis->stage == REDIS_OPENING && rc == 0) {
        redis->stage = REDIS_UP;
        timer_stop(&redis->deadline);
        broker_up(redis->broker);
    } else if (redis->stage == REDIS_OPENING || (rc && redis->mode == REDIS_SENTINEL && err.reason == REASON_BROKER_READ_ONLY)) {
        redis_fail(redis, &err); /* with Sentinel another server is the master by now: opening asks for it anew */
    } else {
        broker_pong(redis->broker, rc ? &err : NULL);
    }
}
