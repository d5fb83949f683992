/*
 * Looks at the server from outside, on a thread of its own: sockets by agent/net/sockdiag.h, processes by agent/base/proc.h. Called by
 * probes/server.c, and by agent/run/agent_drain.c, which only counts. Promises that the loop never waits for the kernel: a look is a
 * request and its answer, through a mailbox, one at a time. A thread that is stuck (a hidden mount, a process in the kernel's hands) ends
 * after its owner.
 *
 * Counts, and judges nothing: probes/server_levels.h does.
 */
#ifndef WSHEALTHD_PROBES_SERVER_LOOK_H
#define WSHEALTHD_PROBES_SERVER_LOOK_H

#include "agent/base/proc.h"
#include "agent/core/server_stats.h"
#include "agent/net/mailbox.h"
#include "agent/net/sockdiag.h"

enum { LOOK_ADDRESSES_MAX = 16, LOOK_LISTENERS_MAX = 64, LOOK_CONNECTIONS_MAX = 65536 };

/* What does not change while the check lives. The texts are copied. */
struct look_plan {
    const char *unix_path; /* NULL: TCP */
    uint16_t port;
    const char *pid_file, *unit; /* NULL: the process that listens */
    /* Only the connections are wanted, in each look, and also when the socket that listened is gone: a server that drains closes it. */
    bool count_only;
};

struct look_addresses {
    struct sock_end items[LOOK_ADDRESSES_MAX];
    unsigned count;
};
/* Each address once; what has no room is left out. */
void look_add(struct look_addresses *addresses, const struct sockaddr_storage *address);
void look_add_end(struct look_addresses *addresses, const struct sock_end *end);

/* What is wanted now. */
struct look_ask {
    struct look_addresses target; /* whose listeners are the server's; none: any on the port */
    bool unresolved;              /* the target has a name, and no address is known: nothing can be told of it */
    struct look_addresses peers[SERVER_PEERS_MAX];
    uint16_t peer_ports[SERVER_PEERS_MAX];
    unsigned peer_count;
};

struct look_peer {
    uint32_t connections, connecting, stuck; /* stuck: the most retransmits in a row of one of them */
    uint64_t unacknowledged, unread, retransmits;
};

/* What was seen. */
struct look_seen {
    uint64_t at_ns, listen_ns, count_ns; /* what it took; count_ns is 0 in a look that did not count */
    uint64_t cpu_ns;                     /* of the thread: on a busy machine a look takes longer, and costs the same */
    bool refused;                        /* the kernel tells nothing of its sockets: err says why */
    struct err err;
    bool unsure;      /* the kernel did not tell all of its sockets in time: there may be more that listen */
    bool slow_source; /* it was /proc/net */
    bool never;       /* nothing listens there, and nothing has in an earlier look */
    bool elsewhere;   /* the target's address is none of this host's */
    bool unresolved;  /* as asked */
    unsigned listeners;
    bool have_limit;
    uint64_t queue, limit;
    unsigned fullest_percent;
    bool restarted;     /* other sockets, or other processes, than in the look before */
    bool process_ended; /* one of the processes of the look before is gone */

    bool counted; /* the connections were counted in this look: expensive counts are rarer than looks */
    bool cut;     /* more than LOOK_CONNECTIONS_MAX: opens and closes are by their number only */
    uint64_t connections[SERVER_CONN_COUNT];
    uint64_t waiting;          /* to be accepted, the agent's own aside */
    uint64_t opens, closes;    /* since the count before */
    uint64_t ended, by_server; /* of those that were there in the count before: gone now; ended by the server's side first */

    size_t processes;
    bool hidden;  /* processes that may be the server's cannot be seen into */
    bool hidepid; /* none was found, and /proc hides those of others */
    bool manager; /* systemd holds the socket, and no service has it (socket activation) */
    struct err process_err;
    int pid;
    char name[32];
    bool have_resident, have_fds, have_max_fds, have_cpu, have_threads;
    uint64_t resident_bytes, threads;
    uint64_t fds, max_fds; /* of the process nearest to its limit */
    double cpu_seconds;    /* of all */
    double busiest[2];     /* seconds of CPU of the busiest one: at the beginning and the end of */
    uint64_t busiest_ms;   /* so long a time; 0: not known yet */
    struct look_peer peers[SERVER_PEERS_MAX];
    bool have_peers;
};

/* server.c: the port that a `server` check names, by its options; 0: none, the target's. */
uint16_t server_port(const void *opts);

struct look;
/* on_seen comes once for each look_ask that returned 0, on the loop, not inside the call. NULL and err: no thread can be had. */
struct look *look_new(struct loop *loop, const struct look_plan *plan, void (*on_seen)(void *user, const struct look_seen *seen),
                      void *user, struct err *err);
int look_ask(struct look *look, const struct look_ask *ask); /* -1: it still looks */
void look_free(struct look *look);                           /* on_seen does not come any more */

/* server_count.c, on the thread: the connections, and what has changed since the count before. */
struct look_count {
    uint64_t *open, *closing, *own, *left; /* sorted keys of the count before */
    size_t open_count, closing_count, own_count, left_count;
    uint64_t established;
    bool known, cut;
    uint64_t counted_ns, cost_ns;
};
void look_count(struct look_count *count, const struct look_plan *plan, const struct sock_row *listeners, size_t listener_count,
                struct look_seen *seen);
void look_count_fini(struct look_count *count);

/* server_find.c, on the thread: the server's processes and their figures. */
struct look_process {
    int pid;
    uint64_t started;
    bool former; /* it was found before, is not any more, and lives: with its end go the connections that it still has */
    double base_cpu, next_cpu;
    uint64_t base_ns, next_ns;
};
struct look_find {
    struct look_process items[PROC_PIDS_MAX];
    size_t count;
    uint64_t found_ns;
    uint32_t inodes[LOOK_LISTENERS_MAX]; /* sorted, for which they were found */
    size_t inode_count;
    bool hidden, manager;
    bool vacant;    /* there were some, and all of them have ended */
    int file_pid;   /* what pid_file has said */
    struct err err; /* of the last search */
};
/* True: none of the processes that were known is there any more, and others are. */
bool look_find(struct look_find *find, const struct look_plan *plan, const uint32_t *inodes, size_t inode_count,
               struct look_seen *seen);

int look_compare_keys(const void *a, const void *b);   /* uint64_t */
int look_compare_inodes(const void *a, const void *b); /* uint32_t */

#endif
