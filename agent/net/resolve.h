/*
 * Names to addresses, off the loop. A lookup runs getaddrinfo on a thread of its own, at most RESOLVE_THREADS_MAX at once, further ones
 * wait. There is no pool: the threads end with the queue. Not libuv's pool, because that is joined when the process exits, and so a
 * resolver that does not answer would hold up the shutdown; and because two stuck names would block all others.
 *
 * Async contract: resolve_start never calls back inside itself and calls on_done exactly once, unless cancelled first.
 */
#ifndef WSHEALTHD_NET_RESOLVE_H
#define WSHEALTHD_NET_RESOLVE_H

#include <sys/socket.h>

#include "agent/net/loop.h"

enum { RESOLVE_THREADS_MAX = 8, RESOLVE_ADDRESSES_MAX = 16 };

struct resolve_answer {
    int error;     /* EAI_*; 0: at least one address */
    int sys_errno; /* with EAI_SYSTEM */
    size_t count;
    struct sockaddr_storage addresses[RESOLVE_ADDRESSES_MAX]; /* in getaddrinfo's order, without ports */
};

struct lookup;
struct lookup *resolve_start(struct loop *loop, const char *host, void (*on_done)(void *user, const struct resolve_answer *answer),
                             void *user);
/* No callback comes any more. A lookup that has begun goes on in its thread, touches nothing of the loop's, and frees itself. */
void resolve_cancel(struct lookup *lookup);
/* For loop_fini: abandons every lookup. Returns at once, whatever the resolver does. */
void resolver_close(struct loop *loop);

/* For tests: runs on the lookup's thread in place of getaddrinfo. NULL puts that back. */
void resolve_set_source(void (*source)(const char *host, struct resolve_answer *answer));

#endif
