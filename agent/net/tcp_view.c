/*
 * What the kernel knows of a TCP connection (agent/net/tcp_view.h). A file of its own, because linux/tcp.h, which has the smallest round
 * trip, and netinet/tcp.h, which libuv includes, declare the same names.
 */
#include "agent/net/tcp_view.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

enum { NS_PER_US = 1000 };

bool tcp_view_read(int fd, struct trace_tcp *out)
{
    struct tcp_info info;
    socklen_t size = sizeof info;

    memset(out, 0, sizeof *out);
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(__u32))
        return false;
    if (info.tcpi_min_rtt == UINT32_MAX) /* nothing was acknowledged yet */
        return false;
    out->known = true;
    out->rtt_ns = (uint64_t)info.tcpi_rtt * NS_PER_US;
    out->min_rtt_ns = (uint64_t)info.tcpi_min_rtt * NS_PER_US;
    out->retransmits = info.tcpi_total_retrans;
    out->lost = info.tcpi_lost;
    out->unacked = info.tcpi_unacked;
    return true;
}
