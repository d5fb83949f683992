/* The sentences of a dial that failed, and what a dial notes in a trace: agent/net/dial_err.c and dial_trace.c for agent/net/dial.c. */
#ifndef WSHEALTHD_NET_DIAL_IMPL_H
#define WSHEALTHD_NET_DIAL_IMPL_H

#include <sys/socket.h>

#include "agent/net/dial.h"

/* "127.0.0.1:8080", "[::1]:8080"; for NULL "unix:/path". */
void dial_address_text(const struct dial_target *target, const struct sockaddr_storage *address, char *out, size_t size);
/* status: libuv's. count: of how many addresses this was one. */
void dial_connect_err(const struct dial_target *target, const char *address, unsigned count, int status, struct err *err);
void dial_resolve_err(const struct dial_target *target, int eai_error, int sys_errno, struct err *err);

/* Each notes nothing where nobody records. */
void dial_trace_begin(const struct dial_target *target); /* the lookup of a name */
void dial_trace_addresses(const struct dial_target *target, const struct sockaddr_storage *addresses, unsigned count);
void dial_trace_attempt(const struct dial_target *target, const char *address);
void dial_trace_failed(const struct dial_target *target, const char *address, int status);
/* own: the agent's end; NULL: a unix socket, or it is not known. */
void dial_trace_connected(const struct dial_target *target, const struct sockaddr_storage *own, const char *address);
void dial_trace_tls(const struct dial_target *target, const struct stream *stream,
                    const struct err *err); /* err: NULL where it succeeded */

#endif
