/*
 * Counts the connections to the server (probes/server_look.h): all of them by state, without the agent's own, and by comparing with the count
 * before, how many were opened and have ended. Runs on the look's thread.
 *
 * A connection is known by a hash of its ends. Short ones that come and go between two counts are seen too, by the TIME_WAIT that they
 * leave on the side that ended them first: the server's, which RFC 6455 (7.1.1) asks for, or that of a client on this host (a proxy
 * beside the server). Those that a client elsewhere ended first leave nothing here.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/own_sockets.h"
#include "probes/server_look.h"

enum { FIRST_KEYS = 256, COST_FACTOR = 250, PAUSE_MAX_S = 5 };

struct keys {
    uint64_t *items;
    size_t count, room;
    bool cut;
};

struct counting {
    const struct look_plan *plan;
    const struct sock_row *listeners; /* none of them at any address: connections to these addresses only; NULL: all */
    size_t listener_count;
    const struct look_count *before;
    struct keys open, closing, own, left; /* left: ended by a client of this host first */
    struct look_seen *seen;
};

static void keys_add(struct keys *keys, uint64_t key)
{
    if (keys->count == LOOK_CONNECTIONS_MAX) {
        keys->cut = true;
        return;
    }
    if (keys->count == keys->room) {
        keys->room = keys->room ? keys->room * 2 : FIRST_KEYS;
        keys->items = mem_realloc(keys->items, keys->room * sizeof *keys->items);
    }
    keys->items[keys->count++] = key;
}

int look_compare_keys(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Each once: the kernel may tell a socket twice while others come and go. */
static void keys_sort(struct keys *keys)
{
    size_t kept = 0;

    if (keys->count)
        qsort(keys->items, keys->count, sizeof *keys->items, look_compare_keys);
    for (size_t i = 0; i < keys->count; i++)
        if (!kept || keys->items[kept - 1] != keys->items[i])
            keys->items[kept++] = keys->items[i];
    keys->count = kept;
}

static bool has(const uint64_t *items, size_t count, uint64_t key)
{
    return count && bsearch(&key, items, count, sizeof *items, look_compare_keys);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 29;
}

/* Of the server's end and the client's. */
static uint64_t key_of(const struct sock_end *server, const struct sock_end *client)
{
    uint64_t words[4], hash = UINT64_C(0x243F6A8885A308D3);

    memcpy(words, server->address, 16);
    memcpy(words + 2, client->address, 16);
    for (size_t i = 0; i < 4; i++)
        hash = mix(hash, words[i]);
    return mix(hash, (uint64_t)server->port << 16 | client->port);
}

static void on_own(void *user, uint32_t inode, const struct sock_end *local, const struct sock_end *remote)
{
    struct counting *counting = user;

    if (counting->plan->unix_path)
        keys_add(&counting->own, inode);
    else if (remote->port == counting->plan->port)
        keys_add(&counting->own, key_of(remote, local));
}

static bool to_a_listener(const struct counting *counting, const struct sock_row *row)
{
    for (size_t i = 0; counting->listeners && i < counting->listener_count; i++)
        if (sock_end_same_address(&counting->listeners[i].local, &row->local))
            return true;
    return !counting->listeners;
}

/* One that is over may have been the agent's: short ones are remembered by their port. */
static bool was_own(const struct counting *counting, const struct sock_row *row, uint64_t key)
{
    bool near = sock_end_is_loopback(&row->remote) || sock_end_same_address(&row->remote, &row->local);

    return (near && own_sockets_dialled_from(row->remote.port)) || has(counting->before->own, counting->before->own_count, key);
}

static void on_tcp(void *user, const struct sock_row *row)
{
    static const enum server_conn conns[SOCK_STATE_COUNT] = {
        [SOCK_ESTABLISHED] = SERVER_ESTABLISHED, [SOCK_SYN_RECV] = SERVER_SYN_RECV,     [SOCK_NEW_SYN_RECV] = SERVER_SYN_RECV,
        [SOCK_FIN_WAIT1] = SERVER_FIN_WAIT,      [SOCK_FIN_WAIT2] = SERVER_FIN_WAIT,    [SOCK_CLOSING] = SERVER_FIN_WAIT,
        [SOCK_TIME_WAIT] = SERVER_TIME_WAIT,     [SOCK_CLOSE_WAIT] = SERVER_CLOSE_WAIT, [SOCK_LAST_ACK] = SERVER_CLOSE_WAIT,
    };
    struct counting *counting = user;
    enum server_conn conn = conns[row->state];
    uint64_t key = key_of(&row->local, &row->remote);

    if (!to_a_listener(counting, row) || has(counting->own.items, counting->own.count, key))
        return;
    if (row->state == SOCK_ESTABLISHED && !row->inode) { /* not accepted yet: it is in the queue */
        counting->seen->waiting++;
        return;
    }
    if (conn != SERVER_ESTABLISHED && was_own(counting, row, key))
        return;
    counting->seen->connections[conn]++;
    if (conn == SERVER_ESTABLISHED)
        keys_add(&counting->open, key);
    else if (conn == SERVER_FIN_WAIT || conn == SERVER_TIME_WAIT)
        keys_add(&counting->closing, key);
}

/* The client's end of a connection that it has ended. Within a host both ends have the same address; others go to that port elsewhere. */
static void on_left(void *user, const struct sock_row *row)
{
    struct counting *counting = user;
    const struct sock_row turned = { .state = row->state, .local = row->remote, .remote = row->local };
    uint64_t key = key_of(&turned.local, &turned.remote);

    bool here = sock_end_is_loopback(&row->remote) || sock_end_same_address(&row->remote, &row->local);

    if (here && to_a_listener(counting, &turned) && !was_own(counting, &turned, key))
        keys_add(&counting->left, key);
}

static void on_unix(void *user, const struct sock_row *row)
{
    struct counting *counting = user;

    if (has(counting->own.items, counting->own.count, row->peer_inode))
        return;
    if (!row->inode) {
        counting->seen->waiting++;
        return;
    }
    counting->seen->connections[SERVER_ESTABLISHED]++;
    keys_add(&counting->open, row->inode);
}

/* It is over. Was it there before, or seen to end? */
static void note_short(const struct look_count *before, const struct counting *now, uint64_t key, struct look_seen *seen)
{
    bool known = has(before->open, before->open_count, key) || has(before->closing, before->closing_count, key) ||
                 has(before->left, before->left_count, key) || has(now->open.items, now->open.count, key);

    seen->opens += !known;
    seen->closes += !known;
}

/* What the two counts say of each connection. Both are sorted. */
static void compare(const struct look_count *before, const struct counting *now, struct look_seen *seen)
{
    size_t old = 0, new = 0;

    while (old < before->open_count || new < now->open.count) {
        bool only_old = new == now->open.count || (old < before->open_count && before->open[old] < now->open.items[new]);
        bool only_new = !only_old && (old == before->open_count || now->open.items[new] < before->open[old]);

        if (only_old) {
            seen->closes++;
            seen->ended++;
            seen->by_server += has(now->closing.items, now->closing.count, before->open[old]);
        }
        seen->opens += only_new;
        old += !only_new;
        new += !only_old;
    }
    for (size_t i = 0; i < now->closing.count; i++)
        note_short(before, now, now->closing.items[i], seen);
    for (size_t i = 0; i < now->left.count; i++)
        if (!has(now->closing.items, now->closing.count, now->left.items[i])) /* both sides at once */
            note_short(before, now, now->left.items[i], seen);
}

static void compare_numbers(const struct look_count *before, uint64_t established, struct look_seen *seen)
{
    seen->opens = established > before->established ? established - before->established : 0;
    seen->closes = seen->ended = established < before->established ? before->established - established : 0;
}

void look_count_fini(struct look_count *count)
{
    mem_free(count->open);
    mem_free(count->closing);
    mem_free(count->own);
    mem_free(count->left);
    memset(count, 0, sizeof *count);
}

static void keep(struct look_count *count, struct counting *now, const struct look_seen *seen)
{
    look_count_fini(count);
    *count = (struct look_count){ .open = now->open.items,
                                  .open_count = now->open.count,
                                  .closing = now->closing.items,
                                  .closing_count = now->closing.count,
                                  .own = now->own.items,
                                  .own_count = now->own.count,
                                  .left = now->left.items,
                                  .left_count = now->left.count,
                                  .established = seen->connections[SERVER_ESTABLISHED],
                                  .known = true,
                                  .cut = now->open.cut || now->closing.cut || now->left.cut,
                                  .counted_ns = seen->at_ns,
                                  .cost_ns = seen->count_ns };
}

/* A count that costs 20 ms comes every 5 s at most, a cheap one with each look. */
static bool is_time(const struct look_count *count, uint64_t now_ns)
{
    uint64_t pause_ns = count->cost_ns * COST_FACTOR;

    if (pause_ns > PAUSE_MAX_S * NS_PER_S)
        pause_ns = PAUSE_MAX_S * NS_PER_S;
    return !count->known || now_ns - count->counted_ns >= pause_ns - pause_ns / 10;
}

void look_count(struct look_count *count, const struct look_plan *plan, const struct sock_row *listeners, size_t listener_count,
                struct look_seen *seen)
{
    struct counting now = { .plan = plan, .listeners = listeners, .listener_count = listener_count, .before = count, .seen = seen };
    unsigned connected = SOCK_BIT(SOCK_ESTABLISHED), all = SOCK_ALL & ~SOCK_BIT(SOCK_LISTEN) & ~SOCK_BIT(SOCK_CLOSE);
    struct sockdiag_query query = { .states = plan->count_only && !plan->unix_path ? connected : all,
                                    .local_port = plan->port,
                                    .unix_path = plan->unix_path,
                                    .on_row = plan->unix_path ? on_unix : on_tcp,
                                    .user = &now };
    struct sockdiag_query gone = { .states = SOCK_BIT(SOCK_TIME_WAIT), .remote_port = plan->port, .on_row = on_left, .user = &now };
    struct err err;
    int rc;

    if (!plan->count_only && !is_time(count, seen->at_ns))
        return;
    uint64_t began_ns = sockdiag_now_ns();
    own_sockets_each(on_own, &now);
    keys_sort(&now.own);
    rc = plan->unix_path ? sockdiag_unix(&query, &err) : sockdiag_tcp(&query, &err);
    if (rc == 0 && !plan->unix_path && !plan->count_only)
        rc = sockdiag_tcp(&gone, &err);
    if (rc < 0 || query.cut || gone.cut) { /* a part of them is no count */
        mem_free(now.left.items);
        mem_free(now.open.items);
        mem_free(now.closing.items);
        mem_free(now.own.items);
        memset(seen->connections, 0, sizeof seen->connections);
        seen->waiting = 0;
        return;
    }
    keys_sort(&now.open);
    keys_sort(&now.closing);
    keys_sort(&now.left);
    seen->counted = true;
    seen->cut = now.open.cut || now.closing.cut || now.left.cut;
    if (count->known && (count->cut || seen->cut))
        compare_numbers(count, seen->connections[SERVER_ESTABLISHED], seen);
    else if (count->known)
        compare(count, &now, seen);
    seen->count_ns = sockdiag_now_ns() - began_ns;
    keep(count, &now, seen);
}
