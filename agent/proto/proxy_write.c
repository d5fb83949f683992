/*
 * Writes the PROXY protocol's header. Called by the dial, right behind the connect. The addresses are the connection's own and not made up:
 * the server then does for the probe what it does for a client of the load balancer. LOCAL, which the specification has for health checks,
 * would go another way through the server than the clients' connections do.
 */
#include "agent/proto/proxy_write.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { V2_PROXY = 0x21, V2_LOCAL = 0x20, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };

static bool is_tcp(const struct sockaddr *from, const struct sockaddr *to)
{
    return from && to && from->sa_family == to->sa_family && (from->sa_family == AF_INET || from->sa_family == AF_INET6);
}

static const void *address_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr
                                          : (const void *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
}

/* In the network's order. */
static in_port_t port_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)address)->sin6_port
                                          : ((const struct sockaddr_in *)(const void *)address)->sin_port;
}

static int write_v1(struct buf *out, const struct sockaddr *from, const struct sockaddr *to)
{
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];

    if (!is_tcp(from, to))
        return buf_append_str(out, "PROXY UNKNOWN\r\n");
    inet_ntop(from->sa_family, address_of(from), source, sizeof source);
    inet_ntop(to->sa_family, address_of(to), destination, sizeof destination);
    return buf_printf(out, "PROXY %s %s %s %u %u\r\n", from->sa_family == AF_INET6 ? "TCP6" : "TCP4", source, destination,
                      (unsigned)ntohs(port_of(from)), (unsigned)ntohs(port_of(to)));
}

static int write_v2(struct buf *out, const struct sockaddr *from, const struct sockaddr *to)
{
    static const uint8_t signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };
    const bool tcp = is_tcp(from, to), v6 = tcp && from->sa_family == AF_INET6;
    const size_t address_len = v6 ? 16 : 4, len = tcp ? 2 * address_len + 4 : 0;
    const uint8_t head[4] = { tcp ? V2_PROXY : V2_LOCAL, !tcp ? 0 : v6 ? V2_TCP6 : V2_TCP4, 0, (uint8_t)len };
    in_port_t ports[2];

    if (buf_append(out, signature, sizeof signature) < 0 || buf_append(out, head, sizeof head) < 0)
        return -1;
    if (!tcp)
        return 0;
    ports[0] = port_of(from);
    ports[1] = port_of(to);
    return buf_append(out, address_of(from), address_len) < 0 || buf_append(out, address_of(to), address_len) < 0
               ? -1
               : buf_append(out, ports, sizeof ports);
}

int proxy_write(struct buf *out, enum proxy_version version, const struct sockaddr *from, const struct sockaddr *to)
{
    if (version == PROXY_OFF)
        return 0;
    return version == PROXY_V1 ? write_v1(out, from, to) : write_v2(out, from, to);
}
