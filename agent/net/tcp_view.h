/*
 * The kernel's view of one TCP connection (TCP_INFO). The smoothed round trip holds the server's time too, where its acknowledgement rides on
 * its answer: the smallest one is the network's.
 */
#ifndef WSHEALTHD_NET_TCP_VIEW_H
#define WSHEALTHD_NET_TCP_VIEW_H

#include "agent/base/trace.h"

bool tcp_view_read(int fd,
                   struct trace_tcp *out); /* false, and out->known is: not TCP, an old kernel, or nothing acknowledged yet */

#endif
