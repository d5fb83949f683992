/* The sentences of a dial that failed: agent/net/dial_err.c for agent/net/dial.c. */
#ifndef WSHEALTHD_NET_DIAL_IMPL_H
#define WSHEALTHD_NET_DIAL_IMPL_H

#include <sys/socket.h>

#include "agent/net/dial.h"

/* "127.0.0.1:8080", "[::1]:8080"; for NULL "unix:/path". */
void dial_address_text(const struct dial_target *target, const struct sockaddr_storage *address, char *out, size_t size);
/* status: libuv's. count: of how many addresses this was one. */
void dial_connect_err(const struct dial_target *target, const char *address, unsigned count, int status, struct err *err);
void dial_resolve_err(const struct dial_target *target, int eai_error, int sys_errno, struct err *err);

#endif
