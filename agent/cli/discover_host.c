/*
 * What this host tells of the server (agent/cli/discover.h): the processes that have the socket open that listens, and which of their
 * connections go to the usual port of a broker. Called by `config init URL`, after the tries. Reads the kernel's tables and /proc, and
 * touches nothing.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/proc.h"
#include "agent/cli/discover.h"
#include "agent/net/sockdiag.h"

enum { LISTENERS_MAX = 64, CANDIDATES_MAX = 4096, LISTEN_MS = 200, CONNECTIONS_MS = 400, PROCESSES_MS = 400 };

/* The ports that the brokers' documents give; the type is that of `brokers:`. */
static const struct broker_port {
    uint16_t port;
    const char *type, *scheme;
} ports[] = { { 6379, "redis", "redis" }, { 4222, "nats", "nats" }, { 5672, "rabbitmq", "amqp" }, { 5671, "rabbitmq", "amqps" },
              { 9092, "kafka", "kafka" }, { 1883, "mqtt", "mqtt" }, { 8883, "mqtt", "mqtts" } };

static const struct broker_port *broker_of(uint16_t port)
{
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++)
        if (ports[i].port == port)
            return &ports[i];
    return NULL;
}

struct finder {
    bool is_unix, known;
    struct sock_end server;
    struct sock_row listeners[LISTENERS_MAX];
    size_t listener_count;
    struct sock_row *candidates; /* connections to such ports */
    size_t candidate_count;
};

/* "127.0.0.1:8080", "[::1]:8080" */
static bool read_address(const char *text, struct sock_end *end)
{
    const char *colon = strrchr(text, ':');
    size_t from = *text == '[', len = colon ? (size_t)(colon - text) : 0;
    char host[INET6_ADDRSTRLEN + 1];
    struct in_addr four;

    if (!colon || len < from * 2 || len - from * 2 >= sizeof host)
        return false;
    len -= from * 2;
    memcpy(host, text + from, len);
    host[len] = 0;
    end->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    if (inet_pton(AF_INET6, host, end->address) == 1)
        return true;
    if (inet_pton(AF_INET, host, &four) != 1)
        return false;
    sock_end_from_v4(end, &four);
    return true;
}

static void on_listener(void *user, const struct sock_row *row)
{
    struct finder *finder = user;

    if (finder->listener_count < LISTENERS_MAX && row->inode &&
        (finder->is_unix || sock_end_is_any(&row->local) || sock_end_same_address(&row->local, &finder->server)))
        finder->listeners[finder->listener_count++] = *row;
}

static void on_connection(void *user, const struct sock_row *row)
{
    struct finder *finder = user;

    if (finder->candidate_count < CANDIDATES_MAX && row->inode && broker_of(row->remote.port))
        finder->candidates[finder->candidate_count++] = *row;
}

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void find_processes(struct finder *finder, struct discover_host *host, struct proc_pids *pids)
{
    uint32_t inodes[LISTENERS_MAX] = { 0 };
    struct proc_figures figures;
    size_t kept = 0;

    for (size_t i = 0; i < finder->listener_count; i++)
        inodes[i] = finder->listeners[i].inode;
    qsort(inodes, finder->listener_count, sizeof *inodes, compare);
    proc_find_by_sockets(inodes, finder->listener_count, PROCESSES_MS * NS_PER_MS, pids);
    host->listeners = (unsigned)finder->listener_count;
    host->hidden = pids->hidden > 0;
    for (size_t i = 0; i < pids->count; i++) {
        proc_read(pids->items[i], &figures);
        /* systemd keeps a socket open that it activates a service by. It is not the server. */
        if (!figures.exists || strcmp(figures.name, "systemd") == 0)
            continue;
        if (!kept) {
            host->pid = pids->items[i];
            snprintf(host->name, sizeof host->name, "%s", figures.name);
            if (!proc_unit(host->pid, host->unit, sizeof host->unit, NULL))
                host->unit[0] = 0;
        }
        pids->items[kept++] = pids->items[i];
    }
    pids->count = kept;
    host->processes = (unsigned)kept;
}

static bool has(const struct proc_pids *pids, uint32_t inode)
{
    for (size_t i = 0; i < pids->count; i++)
        if (proc_has_socket(pids->items[i], &inode, 1) == 1)
            return true;
    return false;
}

static void add_peer(struct discover_host *host, const struct sock_end *end)
{
    char text[INET6_ADDRSTRLEN], address[sizeof host->peers[0].address];
    bool four = memcmp(end->address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0;

    inet_ntop(four ? AF_INET : AF_INET6, end->address + (four ? 12 : 0), text, sizeof text);
    snprintf(address, sizeof address, four ? "%s:%u" : "[%s]:%u", text, end->port);
    for (unsigned i = 0; i < host->peer_count; i++)
        if (strcmp(host->peers[i].address, address) == 0) {
            host->peers[i].connections++;
            return;
        }
    if (host->peer_count == DISCOVER_PEERS_MAX)
        return;
    struct discover_peer *peer = &host->peers[host->peer_count++];
    *peer = (struct discover_peer){
        .port = end->port, .connections = 1, .type = broker_of(end->port)->type, .scheme = broker_of(end->port)->scheme
    };
    memcpy(peer->address, address, sizeof address);
}

void discover_look(const char *address, struct discover_host *host)
{
    struct finder finder = { .is_unix = strncmp(address, "unix:", 5) == 0 };
    struct proc_pids *pids;
    struct err err;

    memset(host, 0, sizeof *host);
    if (!finder.is_unix && !read_address(address, &finder.server))
        return;
    host->looked = true;
    host->local = finder.is_unix || sock_ends_are_here(&finder.server, 1) == 1;
    if (!host->local)
        return;
    struct sockdiag_query listeners = { .states = SOCK_BIT(SOCK_LISTEN),
                                        .local_port = finder.server.port,
                                        .unix_path = finder.is_unix ? address + 5 : NULL,
                                        .max_ns = LISTEN_MS * NS_PER_MS,
                                        .on_row = on_listener,
                                        .user = &finder };
    if ((finder.is_unix ? sockdiag_unix(&listeners, &err) : sockdiag_tcp(&listeners, &err)) < 0 || !finder.listener_count)
        return;
    pids = mem_alloc(sizeof *pids);
    finder.candidates = mem_alloc(CANDIDATES_MAX * sizeof *finder.candidates);
    find_processes(&finder, host, pids);
    struct sockdiag_query connections = {
        .states = SOCK_BIT(SOCK_ESTABLISHED), .max_ns = CONNECTIONS_MS * NS_PER_MS, .on_row = on_connection, .user = &finder
    };
    if (host->processes && sockdiag_tcp(&connections, &err) == 0) {
        uint64_t until_ns = sockdiag_now_ns() + PROCESSES_MS * NS_PER_MS;
        for (size_t i = 0; i < finder.candidate_count && sockdiag_now_ns() < until_ns; i++)
            if (has(pids, finder.candidates[i].inode))
                add_peer(host, &finder.candidates[i].remote);
    }
    mem_free(finder.candidates);
    mem_free(pids);
}
