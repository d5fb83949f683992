/*
 * The nodes of a cluster (brokers/redis/redis.h). The map of slots is learnt from redirections: MOVED names the node that has a slot, and
 * is remembered; ASK holds for one command. CLUSTER SLOTS would cost a large answer, and this way a standalone server is a cluster of one
 * node. The number of nodes and of hops is bounded: a server that redirects in circles is an error.
 */
#include "brokers/redis/redis.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

struct redis_link *redis_node_link(struct redis *redis, size_t index, enum redis_use use)
{
    struct redis_node *node = redis->nodes[index];
    struct redis_link **link = use == REDIS_PUBSUB ? &node->pubsub : &node->commands;
    if (!*link)
        *link = redis_link_open(redis, &node->url, use);
    return *link;
}

struct redis_link *redis_link_for(struct redis *redis, struct slice key, enum redis_use use)
{
    return redis_node_link(redis, redis->slots ? redis->slots[resp_slot(key)] : 0, use);
}

size_t redis_node_add(struct redis *redis, const struct url *url)
{
    for (size_t i = 0; i < redis->node_count; i++)
        if (strcmp(redis->nodes[i]->url.host, url->host) == 0 && redis->nodes[i]->url.port == url->port)
            return i;
    if (redis->node_count == REDIS_NODES_MAX)
        return REDIS_NODES_MAX;
    struct redis_node *node = mem_alloc(sizeof *node);
    node->url = *url;
    redis->nodes[redis->node_count] = node;
    return redis->node_count++;
}

void redis_nodes_free(struct redis *redis)
{
    for (size_t i = 0; i < redis->node_count; i++)
        mem_free(redis->nodes[i]);
    redis->node_count = 0;
    mem_free(redis->slots);
    redis->slots = NULL;
}

/* "3999 10.0.0.2:6381"; the host may be an IPv6 address without brackets, or empty or ? for the one that we talk to. */
static int read_redirection(const struct redis_link *link, struct slice text, unsigned *slot, struct url *url)
{
    char copy[URL_HOST_MAX + 32], host[URL_HOST_MAX + 32], address[sizeof host + 16];
    int64_t number;
    if (text.len >= sizeof copy)
        return -1;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *blank = strchr(copy, ' '), *colon = strrchr(copy, ':');
    if (!blank || !colon || colon < blank)
        return -1;
    *blank = *colon = '\0';
    if (text_parse_int(copy, &number) || number < 0 || number >= RESP_SLOTS)
        return -1;
    *slot = (unsigned)number;
    bool same = !blank[1] || strcmp(blank + 1, "?") == 0;
    snprintf(host, sizeof host, "%s", same ? link->url.host : blank + 1);
    bool v6 = strchr(host, ':');
    snprintf(address, sizeof address, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", colon + 1);
    if (redis_host_parse(address, link->url.port, url, NULL))
        return -1;
    url->tls = link->url.tls;
    return 0;
}

static void learn(struct redis *redis, unsigned slot, size_t node)
{
    if (!redis->slots)
        redis->slots = mem_alloc(RESP_SLOTS);
    redis->slots[slot] = (uint8_t)node;
}

bool redis_redirect(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct redis *redis = link->redis;
    bool moved = redis_error_is(reply, "MOVED"), ask = redis_error_is(reply, "ASK");
    struct url url;
    struct err err;
    unsigned slot;
    size_t node;
    if ((!moved && !ask) || redis->mode == REDIS_STANDALONE)
        return false;
    if (read_redirection(link, slice_skip(resp_text(reply), moved ? 6 : 4), &slot, &url)) {
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s redirects to an address that is not valid", link->name);
    } else if (++request->hops > REDIS_HOPS_MAX) {
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s redirects, and it was the redirection number %d of one command", link->name,
                REDIS_HOPS_MAX + 1);
    } else if ((node = redis_node_add(redis, &url)) == REDIS_NODES_MAX) {
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s redirects to more than %d nodes", link->name, REDIS_NODES_MAX);
    } else {
        struct redis_link *to = redis_node_link(redis, node, link->use);
        redis->cluster = true;
        if (moved)
            learn(redis, slot, node);
        else
            redis_say(to, redis_ignore, (const char *const[]){ "ASKING", NULL });
        redis_repush(to, request);
        return true;
    }
    redis_request_free(request);
    redis_fail(redis, &err);
    return true;
}
