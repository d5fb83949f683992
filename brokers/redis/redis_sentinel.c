/*
 * Finds the master that Sentinel watches (brokers/redis/redis.h): asks one Sentinel after the other, and keeps the connection to the
 * first that knows it, to be told of a failover at once. Where the named server is still a replica (the failover is not over), the probe
 * finds out and the next Sentinel is asked. Called by brokers/redis/redis.c and redis_link.c.
 */
#include "brokers/redis/redis.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"

enum { SHOWN_CHARS = 100 };

static const char *master_name(const struct redis *redis)
{
    return redis->opts->sentinel.master;
}

static void on_watching(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    (void)request;
    if (resp_kind_of(reply) == RESP_ERROR) /* then a failover is noticed by the lost connection */
        redis_link_close(link);
}

static int read_master(const struct resp_reply *reply, char *out, size_t size)
{
    const struct resp_reply *host = resp_item(reply, 0), *port = resp_item(reply, 1);
    if (resp_count(reply) != 2 || resp_kind_of(host) != RESP_TEXT || resp_kind_of(port) != RESP_TEXT)
        return -1;
    bool v6 = slice_find(resp_text(host), slice_str(":")) >= 0;
    int len = snprintf(out, size, "%s%.*s%s:%.*s", v6 ? "[" : "", (int)resp_text(host).len, (const char *)resp_text(host).data,
                       v6 ? "]" : "", (int)resp_text(port).len, (const char *)resp_text(port).data);
    return len < 0 || (size_t)len >= size ? -1 : 0;
}

static void on_master(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct redis *redis = link->redis;
    struct url url;
    struct err err;
    (void)request;
    if (resp_kind_of(reply) == RESP_NIL)
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s knows no master named %s", link->name, master_name(redis));
    else if (redis_error_is(reply, "ERR unknown command"))
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s is no Sentinel", link->name);
    else if (resp_kind_of(reply) == RESP_ERROR)
        redis_judge(link, REDIS_DO_SENTINEL, reply, &err);
    else if (read_master(reply, redis->master, sizeof redis->master) || redis_host_parse(redis->master, 0, &url, NULL))
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s names an address for master %s that is not valid", link->name,
                master_name(redis));
    else
        err.reason = REASON_NONE;
    if (err.reason) {
        redis->master[0] = '\0';
        redis_fail(redis, &err);
        return;
    }
    redis_say(link, on_watching, (const char *const[]){ "SUBSCRIBE", "+switch-master", NULL });
    url.tls = redis->url.tls;
    redis_home_open(redis, &url);
}

/* "NAME OLD-HOST OLD-PORT NEW-HOST NEW-PORT" on +switch-master. */
void redis_sentinel_message(struct redis_link *link, const struct resp_reply *reply)
{
    struct redis *redis = link->redis;
    struct slice text = resp_text(resp_item(reply, 2));
    size_t len = strlen(master_name(redis));
    char shown[TEXT_EXCERPT_BYTES(SHOWN_CHARS)];
    struct err err;
    if (text.len <= len || memcmp(text.data, master_name(redis), len) != 0 || text.data[len] != ' ')
        return;
    text_excerpt(slice_skip(text, len + 1), SHOWN_CHARS, shown, sizeof shown);
    err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s has moved master %s (%s)", link->name, master_name(redis), shown);
    redis_fail(redis, &err);
}

void redis_sentinel_query(struct redis *redis, const struct url *sentinel)
{
    struct redis_link *link = redis_link_open(redis, sentinel, REDIS_ASK_SENTINEL);
    redis->master[0] = '\0';
    redis_say(link, on_master, (const char *const[]){ "SENTINEL", "get-master-addr-by-name", master_name(redis), NULL });
}
