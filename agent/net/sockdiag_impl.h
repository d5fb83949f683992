/* What the two sources of agent/net/sockdiag.h share. */
#ifndef WSHEALTHD_NET_SOCKDIAG_IMPL_H
#define WSHEALTHD_NET_SOCKDIAG_IMPL_H

#include "agent/net/sockdiag.h"

/* False: enough, the rest is cut. */
bool sockdiag_tell(struct sockdiag_query *query, const struct sock_row *row);
bool sockdiag_in_time(struct sockdiag_query *query, uint64_t began_ns);

/* sockdiag_proc.c: 0, or an errno. */
int sockdiag_proc_tcp(struct sockdiag_query *query, const char *proc);
int sockdiag_proc_unix(struct sockdiag_query *query, const char *proc);

#endif
