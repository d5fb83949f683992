/* What a dial notes in a trace (agent/base/trace.h): names and addresses, each attempt of the race, TLS. Called by agent/net/dial.c. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "agent/net/dial_impl.h"
#include "agent/net/stream_impl.h"

static struct trace_by by(const struct dial_target *target)
{
    return (struct trace_by){ .mark = TRACE_NOTE, .number = target->trace_number };
}

void dial_trace_begin(const struct dial_target *target)
{
    const struct trace_by mine = by(target);

    if (!target->url->is_unix)
        trace_note_by(target->trace, &mine, "looking up %s", target->url->host);
}

static bool is_name(const char *host)
{
    struct in6_addr address;

    return inet_pton(AF_INET, host, &address) != 1 && inet_pton(AF_INET6, host, &address) != 1;
}

void dial_trace_addresses(const struct dial_target *target, const struct sockaddr_storage *addresses, unsigned count)
{
    const struct trace_by mine = by(target);
    char list[DIAL_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 2)] = "";
    size_t len = 0;

    if (!target->trace || !is_name(target->url->host))
        return;
    for (unsigned i = 0; i < count && len < sizeof list; i++) {
        char host[INET6_ADDRSTRLEN + 1] = "";

        uv_ip_name((const struct sockaddr *)&addresses[i], host, sizeof host);
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", host);
    }
    trace_note_by(target->trace, &mine, "%s is %s", target->url->host, list);
}

void dial_trace_attempt(const struct dial_target *target, const char *address)
{
    const struct trace_by mine = by(target);

    trace_note_by(target->trace, &mine, "connecting to %s", address);
}

void dial_trace_failed(const struct dial_target *target, const char *address, int status)
{
    const struct trace_by mine = by(target);

    trace_note_by(target->trace, &mine, "%s: %s", address, uv_strerror(status));
}

void dial_trace_connected(const struct dial_target *target, const struct stream *stream, const char *address)
{
    const struct trace_by mine = by(target);
    struct sockaddr_storage own;
    int len = sizeof own;
    char host[INET6_ADDRSTRLEN + 1] = "";

    if (!target->trace)
        return;
    if (target->url->is_unix || uv_tcp_getsockname(&stream->uv.tcp, (struct sockaddr *)&own, &len) != 0) {
        trace_note_by(target->trace, &mine, "connected to %s", address);
    } else {
        bool v6 = own.ss_family == AF_INET6;
        unsigned port = ntohs(v6 ? ((struct sockaddr_in6 *)&own)->sin6_port : ((struct sockaddr_in *)&own)->sin_port);

        uv_ip_name((const struct sockaddr *)&own, host, sizeof host);
        trace_note_by(target->trace, &mine, "connected to %s from %s%s%s:%u", address, v6 ? "[" : "", host, v6 ? "]" : "", port);
    }
    if (target->proxy != PROXY_OFF) {
        const struct trace_by sent = { .mark = TRACE_SENT, .number = target->trace_number };
        trace_note_by(target->trace, &sent, "PROXY header, version %d", target->proxy == PROXY_V1 ? 1 : 2);
    }
}

void dial_trace_tls(const struct dial_target *target, const struct stream *stream, const struct err *err)
{
    const struct trace_by mine = by(target);

    if (!target->trace)
        return;
    stream_tls_trace(stream, target->trace, &mine);
    if (err)
        trace_note_by(target->trace, &mine, "TLS: %s", err->text);
}
