/* What a dial notes in a trace (agent/base/trace.h): names and addresses, each attempt of the race, TLS. Called by agent/net/dial.c. */
#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <stddef.h>
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
    char list[RESOLVE_ADDRESSES_MAX * (INET6_ADDRSTRLEN + 2)] = "";
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

static void make_attempt(struct trace *trace, const struct trace_by *by, struct slice address)
{
    trace_note_by(trace, by, "connecting to %.*s", (int)address.len, (const char *)address.data);
}

void dial_trace_attempt(const struct dial_target *target, const char *address)
{
    const struct trace_by mine = by(target);

    trace_later(target->trace, &mine, make_attempt, slice_str(address));
}

void dial_trace_failed(const struct dial_target *target, const char *address, int status)
{
    const struct trace_by mine = by(target);

    trace_note_by(target->trace, &mine, "%s: %s", address, uv_strerror(status));
}

/* Both ends of a connection, until the line is made. */
struct ends {
    struct sockaddr_in6 own; /* its family says what it is; AF_UNSPEC: not known */
    char address[128];
};

static void make_connected(struct trace *trace, const struct trace_by *by, struct slice bytes)
{
    struct ends ends = { 0 };
    char host[INET6_ADDRSTRLEN + 1] = "";
    bool v6;

    memcpy(&ends, bytes.data, bytes.len);
    v6 = ends.own.sin6_family == AF_INET6;
    if (ends.own.sin6_family == AF_UNSPEC) {
        trace_note_by(trace, by, "connected to %s", ends.address);
        return;
    }
    uv_ip_name((const struct sockaddr *)&ends.own, host, sizeof host);
    trace_note_by(trace, by, "connected to %s from %s%s%s:%u", ends.address, v6 ? "[" : "", host, v6 ? "]" : "",
                  ntohs(ends.own.sin6_port)); /* at the same place in both families */
}

void dial_trace_connected(const struct dial_target *target, const struct sockaddr_storage *own, const char *address)
{
    const struct trace_by mine = by(target);
    struct ends ends;
    size_t len = strnlen(address, sizeof ends.address - 1);

    static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "a port has one place");
    if (!target->trace)
        return;
    memset(&ends.own, 0, sizeof ends.own);
    if (own)
        memcpy(&ends.own, own, sizeof ends.own);
    memcpy(ends.address, address, len);
    trace_later(target->trace, &mine, make_connected, slice_make(&ends, offsetof(struct ends, address) + len));
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
