/* The reason and the sentence of a failed dial, from the error numbers of libuv and the resolver. Pure. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/net/dial_impl.h"
#include "agent/net/resolve.h"

static char *put_decimal(char *at, unsigned value)
{
    char digits[12];
    size_t count = 0;

    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        *at++ = digits[--count];
    return at;
}

/* Done for each connection, so without printf, which takes ten times as long. */
static void put_v4(const struct sockaddr_in *address, unsigned port, char *out, size_t size)
{
    uint32_t number = ntohl(address->sin_addr.s_addr);
    char text[INET_ADDRSTRLEN + sizeof ":65535"], *at = text;

    for (int shift = 24; shift >= 0; shift -= 8) {
        at = put_decimal(at, number >> shift & 255);
        *at++ = shift ? '.' : ':';
    }
    at = put_decimal(at, port);
    *at = '\0';
    panic_if((size_t)(at - text) >= size);
    memcpy(out, text, (size_t)(at - text) + 1);
}

void dial_address_text(const struct dial_target *target, const struct sockaddr_storage *address, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN + 1] = "";
    if (!address) {
        snprintf(out, size, "unix:%s", target->url->unix_path);
    } else if (address->ss_family == AF_INET6) {
        uv_ip6_name((const struct sockaddr_in6 *)address, host, sizeof host);
        snprintf(out, size, "[%s]:%u", host, (unsigned)target->url->port);
    } else {
        put_v4((const struct sockaddr_in *)address, target->url->port, out, size);
    }
}

/* Errors that mean unreachable: no route, a firewall rule, an address family that is not there, a unix socket without permission. */
static bool is_unreachable(int error)
{
    return error == EHOSTUNREACH || error == ENETUNREACH || error == ENETDOWN || error == EHOSTDOWN || error == EAFNOSUPPORT ||
           error == EACCES || error == EPERM || error == EINVAL || error == ENONET || error == EPROTONOSUPPORT;
}

static bool is_exhausted(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

struct finding {
    enum reason reason;
    const char *text; /* NULL: libuv's */
};

static struct finding judge(bool is_unix, bool is_v6, int error)
{
    if (error == EMFILE || error == ENFILE)
        return (struct finding){ REASON_AGENT_ERROR, "out of descriptors" };
    if (is_exhausted(error))
        return (struct finding){ REASON_AGENT_ERROR, "out of memory for sockets" };
    /* EADDRNOTAVAIL: for IPv6 the host has no such address; for IPv4 all local ports are in use. */
    if (error == EADDRNOTAVAIL && is_v6)
        return (struct finding){ REASON_CONNECT_UNREACHABLE, "this host has no address to reach it from" };
    if (error == EADDRNOTAVAIL)
        return (struct finding){ REASON_AGENT_ERROR, "no local port is free" };
    if (error == ETIMEDOUT)
        return (struct finding){ REASON_CONNECT_TIMEOUT, NULL };
    if (is_unreachable(error))
        return (struct finding){ REASON_CONNECT_UNREACHABLE, NULL };
    if (error == ECONNRESET) /* accepted, and reset before we looked: a refused SYN is ECONNREFUSED */
        return (struct finding){ REASON_CONNECTION_RESET, "accepted and reset at once" };
    if (is_unix && error == ENOENT)
        return (struct finding){ REASON_CONNECT_REFUSED, "no such socket (has the server been started?)" };
    if (is_unix && error == ECONNREFUSED)
        return (struct finding){ REASON_CONNECT_REFUSED, "connection refused (the file is there, nobody listens)" };
    if (is_unix && error == EAGAIN)
        return (struct finding){ REASON_CONNECT_REFUSED, "the server's accept queue is full" };
    return (struct finding){ REASON_CONNECT_REFUSED, NULL };
}

void dial_connect_err(const struct dial_target *target, const char *address, unsigned count, int status, struct err *err)
{
    struct finding finding = judge(target->url->is_unix, address[0] == '[', -status);
    const char *text = finding.text ? finding.text : uv_strerror(status);
    const char *host = target->url->host;
    bool is_name = !target->url->is_unix && strncmp(address + (address[0] == '['), host, strlen(host)) != 0;
    if (count > 1)
        err_set(err, finding.reason, -status, "connect to %s: all of %u addresses failed; %s: %s", host, count, address, text);
    else if (is_name)
        err_set(err, finding.reason, -status, "connect to %s (%s): %s", host, address, text);
    else
        err_set(err, finding.reason, -status, "connect to %s: %s", address, text);
}

void dial_resolve_err(const struct dial_target *target, int eai_error, int sys_errno, struct err *err)
{
    const char *host = target->url->host;
    if (eai_error == EAI_MEMORY || (eai_error == EAI_SYSTEM && (is_exhausted(sys_errno) || sys_errno == EAGAIN)))
        err_set(err, REASON_AGENT_ERROR, sys_errno, "resolve %s: out of descriptors, threads or memory", host);
    else if (eai_error == EAI_SYSTEM)
        err_set(err, REASON_DNS_FAILURE, sys_errno, "resolve %s: %s", host, uv_strerror(-sys_errno));
    else if (eai_error == EAI_AGAIN)
        err_set(err, REASON_DNS_FAILURE, eai_error, "resolve %s: no usable answer from the resolver (temporary failure)", host);
    else if (eai_error == EAI_NONAME)
        err_set(err, REASON_DNS_FAILURE, eai_error, "resolve %s: no such name", host);
    else
        err_set(err, REASON_DNS_FAILURE, eai_error, "resolve %s: %s", host, gai_strerror(eai_error));
}

int dial_timeout_err(const struct dial_target *target, const struct dial_report *report, uint64_t timeout_ms, struct err *err)
{
    char within[32];
    text_format_duration((int64_t)timeout_ms, within, sizeof within);
    if (!report->resolved && (report->resolve_queued || (report->lookup && resolve_is_queued(report->lookup))))
        return err_set(err, REASON_AGENT_ERROR, EAGAIN,
                       "resolve %s: %d other names are being looked up, and no thread was free within %s", target->url->host,
                       RESOLVE_THREADS_MAX, within);
    if (!report->resolved)
        return err_set(err, REASON_DNS_FAILURE, ETIMEDOUT, "no answer from the resolver for %s within %s", target->url->host,
                       within);
    if (!report->connected)
        return err_set(err, REASON_CONNECT_TIMEOUT, ETIMEDOUT, "connect to %s: no answer within %s", report->address, within);
    if (target->tls && !report->secured && report->tls_answered)
        return err_set(err, REASON_TLS_HANDSHAKE_FAILED, ETIMEDOUT, "TLS with %s: the handshake was not finished within %s",
                       report->address, within);
    if (target->tls && !report->secured)
        return err_set(err, REASON_TLS_HANDSHAKE_FAILED, ETIMEDOUT, "TLS with %s: no answer within %s; is this the plain port?",
                       report->address, within);
    return err_set(err, REASON_UPGRADE_TIMEOUT, ETIMEDOUT, "no answer from %s within %s", report->address, within);
}
