/* Listening sockets: TCP (v4, v6, dual-stack on [::]), unix paths, and descriptors passed in (socket activation). */
#ifndef WSHEALTHD_NET_LISTEN_H
#define WSHEALTHD_NET_LISTEN_H

#include "agent/net/stream.h"
#include "agent/proto/url.h"

struct listen_options {
    int fd;        /* an activated socket, already listening; -1: bind one from address */
    int unix_mode; /* permission bits of a unix socket, 0: leave to umask. Applied before anybody can connect */
};

struct listener;
/* Accepted streams belong to the callee; it calls stream_start or closes. When the process is out of descriptors, accepting pauses for
 * 100 ms and goes on. A stale unix socket file (nobody listens) is replaced, a live one is an error. */
struct listener *listener_open(struct loop *loop, const struct listen_address *address, const struct listen_options *options,
                               void (*on_accept)(void *user, struct stream *stream), void *user, struct err *err);
void listener_close(struct listener *listener); /* unlinks the unix socket it made */
uint16_t listener_port(const struct listener *listener);

#endif
