/*
 * The PROXY protocol's header (haproxy.org, proxy-protocol.txt, 2) as a client of a server behind a load balancer has to send it before
 * anything else. Reading it is agent/proto/proxy_read.h.
 */
#ifndef WSHEALTHD_PROTO_PROXY_WRITE_H
#define WSHEALTHD_PROTO_PROXY_WRITE_H

#include <sys/socket.h>

#include "agent/base/buf.h"

enum proxy_version { PROXY_OFF, PROXY_V1, PROXY_V2 };
enum { PROXY_HEADER_MAX = 128 };

/* Appends the header of a TCP connection between these two. NULL, as for unix sockets, or families that differ: "UNKNOWN", or LOCAL in
 * version 2, which let the server take the connection's own addresses. */
int proxy_write(struct buf *out, enum proxy_version version, const struct sockaddr *from, const struct sockaddr *to);

#endif
