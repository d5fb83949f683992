/* Listening sockets: TCP (v4, v6, dual-stack on [::]), unix paths, and descriptors passed in (socket activation). */
#ifndef WSHEALTHD_NET_LISTEN_H
#define WSHEALTHD_NET_LISTEN_H

#include "agent/net/stream.h"
#include "agent/proto/url.h"

struct listen_options {
    int fd;        /* an activated socket, already listening; -1: bind one from address */
    int unix_mode; /* permission bits of a unix socket, 0: leave to umask. Applied before anybody can connect */
    /* The kernel's buffers for one connection; 0: its defaults, which are megabytes. receive_bytes: not read yet; unsent_bytes:
     * written, and not sent yet. */
    int receive_bytes, unsent_bytes;
    /* Is there room for one more? Asked before each connection is taken; NULL: always. If it returns false, or if the process is
     * out of descriptors, accepting stops, waiting connections stay in the kernel's queue, and on_full is called. The owner makes
     * room and calls listener_resume later, not from inside on_full. */
    bool (*has_room)(void *user);
    void (*on_full)(void *user);
};

struct listener;
/* Accepted streams belong to the callee; it calls stream_start or closes. A few descriptors are kept in reserve, to accept
 * connections when the process is out of others. When the reserve is used up, accepting stops until listener_resume, or without
 * on_full for 100 ms. A stale unix socket file (nobody listens) is replaced, a live one is an error. */
struct listener *listener_open(struct loop *loop, const struct listen_address *address, const struct listen_options *options,
                               void (*on_accept)(void *user, struct stream *stream), void *user, struct err *err);
void listener_close(struct listener *listener);  /* unlinks the unix socket it made */
void listener_resume(struct listener *listener); /* harmless where accepting has not stopped */
size_t listener_waiting(
    const struct listener
        *listener); /* the number of connections that wait to be accepted; 1 if the kernel does not tell (unix sockets) */
/* Has the file of its unix socket been removed or replaced? Then no client can connect any more. */
bool listener_lost(const struct listener *listener);
uint16_t listener_port(const struct listener *listener);

#endif
