/*
 * Which sockets are this process's own, so that the agent does not count its probes as clients of the server, nor its connection to a broker
 * as the server's. /proc/self/fd is root's once process_hide was called, so the descriptors are asked one by one.
 */
#ifndef WSHEALTHD_NET_OWN_SOCKETS_H
#define WSHEALTHD_NET_OWN_SOCKETS_H

#include <sys/socket.h>

#include "agent/net/sockdiag.h"

/* Those that are open now, of libraries' threads too. On any thread; about 0.1 us for each descriptor that the table has room for. TCP: both
 * ends; others have ports of 0. */
void own_sockets_each(void (*on_socket)(void *user, uint32_t inode, const struct sock_end *local, const struct sock_end *remote),
                      void *user);

/* The agent's own end of a TCP connection that has just been dialled: for short ones, which are over when somebody asks. Called by the
 * loop. */
void own_sockets_dialled(const struct sockaddr_storage *own);
/* Has a connection been dialled from that port within the last two minutes? (A closed one stays in TIME_WAIT for one.) On any thread. */
bool own_sockets_dialled_from(uint16_t port);

#endif
