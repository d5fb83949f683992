/*
 * What the kernel knows of this network namespace's TCP and unix sockets: one row for each. Read by sock_diag (netlink), or where that is
 * refused (a sandbox, a seccomp profile, a missing module) from /proc/net, which knows less and costs more. Needs no capability.
 *
 * Synchronous, for a thread beside the loop: a dump walks the kernel's whole table (about 20 ms with 40,000 sockets; those that listen
 * alone 0.03 ms). Bounded in rows and in time. Called by probes/server_look.c; touches neither loop nor stream.
 */
#ifndef WSHEALTHD_NET_SOCKDIAG_H
#define WSHEALTHD_NET_SOCKDIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent/base/err.h"

/* The kernel's numbers (include/net/tcp_states.h), which both sources use. */
enum sock_state {
    SOCK_ESTABLISHED = 1,
    SOCK_SYN_SENT,
    SOCK_SYN_RECV,
    SOCK_FIN_WAIT1,
    SOCK_FIN_WAIT2,
    SOCK_TIME_WAIT,
    SOCK_CLOSE,
    SOCK_CLOSE_WAIT,
    SOCK_LAST_ACK,
    SOCK_LISTEN,
    SOCK_CLOSING,
    SOCK_NEW_SYN_RECV,
    SOCK_STATE_COUNT
};
#define SOCK_BIT(state) (1U << (state))
enum { SOCK_ALL = (1 << SOCK_STATE_COUNT) - 1 };

struct sock_end {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};

struct sock_row {
    enum sock_state state;
    struct sock_end local, remote; /* TCP */
    uint32_t inode;                /* 0: no process has it: not accepted yet, or closed already */
    uint32_t peer_inode;           /* unix: of the other end; 0: unknown */
    uint32_t uid;
    /* LISTEN: connections that wait to be accepted, and how many may (0: unknown). Others: bytes that this end has not read, and bytes
     * that the other end has not acknowledged. */
    uint32_t in, out;
    uint32_t retransmits; /* with `info`: of the whole connection */
    uint32_t stuck;       /* with `info`: of the segment that is under way now, in a row */
};

enum sock_source { SOCK_FROM_NETLINK, SOCK_FROM_PROC };

struct sockdiag_query {
    unsigned states;                  /* SOCK_BIT(…) of those wanted */
    uint16_t local_port, remote_port; /* 0: any */
    const char *unix_path;            /* unix: the socket's file, as this process sees it */
    bool info;                        /* retransmits too */
    size_t max_rows;                  /* more are not told: `cut` says so. 0: a million */
    uint64_t max_ns;                  /* likewise; 0: one second */
    /* May not ask again inside. */
    void (*on_row)(void *user, const struct sock_row *row);
    void *user;
    /* Set by the call: */
    enum sock_source source;
    bool cut;
    size_t rows;
    uint32_t file_inode, file_device; /* of unix_path, as the kernel numbers them; 0: there is no such file */
};

/* 0, or -1 and err (agent_error): neither source can be read. A query of TCP covers both address families. */
int sockdiag_tcp(struct sockdiag_query *query, struct err *err);
/* Those that are bound to `unix_path`: the one that listens, and for each connection the server's end. */
int sockdiag_unix(struct sockdiag_query *query, struct err *err);

bool sock_end_is_any(const struct sock_end *end); /* 0.0.0.0 or :: */
bool sock_end_is_loopback(const struct sock_end *end);
bool sock_end_same_address(const struct sock_end *a, const struct sock_end *b);
/* Is the address of one of them this host's, or any? 1: yes. 0: no. -1: the kernel does not tell its addresses. */
int sock_ends_are_here(const struct sock_end *ends, size_t count);
uint64_t sockdiag_now_ns(void); /* the monotonic clock itself: tests replace agent/base/clock.h's, which is the loop's */
void sock_end_from_v4(struct sock_end *end, const void *address);
/* Address and port. False: of another family. */
bool sock_end_from(struct sock_end *end, const struct sockaddr *address);

/* For tests: where /proc is, and that netlink is refused. NULL and false put that back. */
void sockdiag_set_source(const char *proc, bool refuse_netlink);

#endif
