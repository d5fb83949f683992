/*
 * From an address to an open stream: resolve, connect, TLS. The caller owns the deadline: it cancels, and the report says
 * where the time went. Names are resolved off the loop (agent/net/resolve.h; IP literals need no lookup). Both address families are tried:
 * RFC 8305 simplified - addresses interleaved by family in getaddrinfo's order, the next attempt DIAL_STAGGER_MS after the last or as
 * soon as that failed, at most DIAL_ADDRESSES_MAX, the first that connects wins and the others are aborted.
 *
 * Async contract: dial_start never calls back inside itself and later calls exactly one of on_open and on_fail, unless cancelled first.
 */
#ifndef WSHEALTHD_NET_DIAL_H
#define WSHEALTHD_NET_DIAL_H

#include "agent/base/trace.h"
#include "agent/net/resolve.h"
#include "agent/net/stream.h"
#include "agent/proto/proxy_write.h"
#include "agent/proto/url.h"

enum { DIAL_STAGGER_MS = 100, DIAL_ADDRESSES_MAX = 8 };

/* For whoever tries every address of a name, one dial after another: zeroed first, the first dial looks the name up and fills it in; it and
 * those that follow try one address only. Owned by the caller; must outlive the dials. */
struct dial_each {
    size_t index;    /* which address the next dial takes; counted round and round */
    size_t count;    /* 0: not looked up yet */
    size_t left_out; /* the name has more of them than are kept */
    struct sockaddr_storage
        addresses[RESOLVE_ADDRESSES_MAX]; /* without ports, each once, in an order that the resolver's does not change */
};

struct dial_target {
    const struct url *url;    /* host and port, or unix_path; must live until the dial ends */
    struct tls_context *tls;  /* NULL: plain. The dial takes a reference of its own */
    const char *server_name;  /* for SNI and verification; NULL: the host. Must live as long as the url */
    enum proxy_version proxy; /* the header that goes out before anything else, TLS included */
    bool http2;               /* with TLS: offers h2, and nothing else, with ALPN. What was chosen is dial_report.tls.alpn */
    struct dial_each *each;   /* one address of these; NULL: the first that answers, of all. Not for unix sockets */
    struct trace *trace;      /* who records it; must outlive the dial. NULL: nobody */
    unsigned trace_number;    /* of the connection in it */
};

/* Filled while the dial goes on, so that it tells the truth at any moment. Owned by the caller; must outlive the dial. */
struct dial_report {
    bool resolved, connected, secured;       /* which phases are over */
    uint64_t resolve_ns, connect_ns, tls_ns; /* how long each took, or has taken until it failed */
    char address[128];                       /* the one connected to, or tried last: "127.0.0.1:8080", "unix:/path" */
    struct tls_info tls;                     /* also after a failed verification */
    bool tls_answered;                       /* the peer has sent something that looks like TLS */
    const struct lookup *lookup;             /* while it runs */
    bool resolve_queued;                     /* cancelled while the lookup waited for a thread of the agent's */
};

struct dial_events {
    void (*on_open)(void *user, struct stream *stream); /* the stream now belongs to the callee */
    /* reason: dns_failure, connect_refused, connect_timeout (the kernel's), connect_unreachable, tls_*; agent_error when the agent has
     * no descriptors or memory left. With several addresses the sentence counts them; reason and address are those of the most telling failure:
     * refused before timed out before unreachable, the later of equals. */
    void (*on_fail)(void *user, const struct err *err);
};

struct dial;
struct dial *dial_start(struct loop *loop, const struct dial_target *target, const struct dial_events *events, void *user,
                        struct dial_report *report);
void dial_cancel(struct dial *dial); /* no callback comes any more; report is final when it returns */
/* The error for a deadline that passed in this phase: "no answer from the resolver for example.test within 2s", reason by phase;
 * agent_error if the lookup had not begun, because the agent looks up too many other names. PHASE_TLS adds a hint that the port may
 * be a plain one. Needs only report and target, so it works before and after dial_cancel. */
int dial_timeout_err(const struct dial_target *target, const struct dial_report *report, uint64_t timeout_ms, struct err *err);

#endif
