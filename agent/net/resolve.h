/*
 * Names to addresses, off the loop. A lookup runs getaddrinfo, so that nsswitch.conf holds (files, DNS, mDNS, systemd-resolved),
 * which an asynchronous DNS library (c-ares) does not know. Each name has one query in flight, on a thread of its own, which all
 * lookups of that name share. So a name whose resolver does not answer costs one thread, and does not delay other names. There is
 * no pool: the threads end with their queries. Not libuv's pool, because that is joined when the process exits, and so a resolver
 * that does not answer would hold up the shutdown.
 *
 * Addresses in text, `localhost` and names below .localhost (RFC 6761, 6.3) are answered without any resolver.
 *
 * A query goes on when its lookups have been cancelled. Its answer, if it has addresses, is used by the next lookup, which also
 * begins a new query at once. So with a resolver that takes 4 s the addresses are one round old.
 *
 * Async contract: resolve_start never calls back inside itself and calls on_done exactly once, unless cancelled first.
 */
#ifndef WSHEALTHD_NET_RESOLVE_H
#define WSHEALTHD_NET_RESOLVE_H

#include <sys/socket.h>

#include "agent/net/loop.h"

/* More names at once than threads: the rest wait for a thread. A configuration seldom has a tenth of it. */
enum { RESOLVE_THREADS_MAX = 64, RESOLVE_ADDRESSES_MAX = 16, RESOLVE_KEPT_MS = 60000, RESOLVE_KEPT_MAX = 64 };

struct resolve_answer {
    int error;                                                /* EAI_*; 0: at least one address */
    int sys_errno;                                            /* with EAI_SYSTEM */
    size_t count, more;                                       /* more: found, and not kept */
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX]; /* in getaddrinfo's order, without ports */
};

struct lookup;
struct lookup *resolve_start(struct loop *loop, const char *host, void (*on_done)(void *user, const struct resolve_answer *answer),
                             void *user);
/* No callback comes any more. A query that has begun goes on in its thread and touches nothing of the caller's. */
void resolve_cancel(struct lookup *lookup);
/* Does the query still wait for a thread, because of too many other queries? Then the agent is late, not the resolver. */
bool resolve_is_queued(const struct lookup *lookup);
/* For loop_fini: abandons every query. Returns at once, whatever the resolver does. */
void resolver_close(struct loop *loop);

/* Addresses in text, and what /etc/hosts (or else RFC 6761) says of localhost; false: a name for a resolver. */
bool resolve_without(const char *host, struct resolve_answer *answer);

/* For tests: runs on the query's thread in place of getaddrinfo. NULL puts that back. */
void resolve_set_source(void (*source)(const char *host, struct resolve_answer *answer));
/* For tests: another file than /etc/hosts. */
void resolve_set_hosts(const char *path);

#endif
