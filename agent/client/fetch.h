/* One HTTP exchange over the common transport: for the http check, the admin client and `wait --url`. */
#ifndef WSHEALTHD_CLIENT_FETCH_H
#define WSHEALTHD_CLIENT_FETCH_H

#include "agent/net/dial.h"
#include "agent/proto/http1.h"

struct fetch_request {
    const struct url *url;
    struct tls_context *tls;
    const char *server_name; /* NULL: the url's host */
    enum proxy_version proxy;
    const char *method;  /* NULL: GET */
    const char *host;    /* the Host header; NULL: the url's authority */
    const char *headers; /* further lines, each ended by \r\n; NULL: none. A User-Agent is added where they have none */
    struct slice body;
    size_t max_body_bytes;  /* of a longer body the rest is counted and dropped */
    bool whole;             /* a longer body is an error, as soon as it is known to be longer */
    struct dial_each *each; /* one of the addresses of the name; NULL: any */
    struct trace *trace;    /* who records it; must outlive the fetch. NULL: nobody */
    uint64_t timeout_ms;    /* named in the error of a passed deadline; fetch keeps it itself */
};
struct fetch_result {
    const struct http_head *head; /* NULL when it failed before one came; valid during on_done */
    struct slice body;
    const struct dial_report *dial;
    uint64_t upgrade_ns; /* from the request to the head */
    uint64_t total_ns;
    enum phase phase;      /* where it ended */
    const struct err *err; /* NULL: complete */
};
/* -1 and *err: the body has a coding (gzip), though none was asked for. For whoever reads it. */
int fetch_validate_coding(const struct fetch_result *result, struct err *err);
struct fetch;
/* Never calls back inside itself; calls on_done exactly once unless cancelled. Everything in request is copied or referenced until then:
 * url must live as long. */
struct fetch *fetch_start(struct loop *loop, const struct fetch_request *request,
                          void (*on_done)(void *user, const struct fetch_result *result), void *user);
void fetch_cancel(struct fetch *fetch);
/* The caller's own deadline has passed: on_done comes inside this call, with the error of a timeout in this phase. */
void fetch_expire(struct fetch *fetch);

#endif
