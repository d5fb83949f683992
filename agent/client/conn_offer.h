/* The upgrade request of a target: host (the URL's, or target.headers.Host), path, headers, origin, subprotocols and the token in its
 * place, ${file:…} read anew. */
#ifndef WSHEALTHD_CLIENT_CONN_OFFER_H
#define WSHEALTHD_CLIENT_CONN_OFFER_H

#include "agent/conf/conf.h"
#include "agent/proto/upgrade.h"

enum { CONN_HEADERS_MAX = 32 + 3, CONN_REQUEST_MAX = 32768 };

/*
 * For one connection: another Origin or token than the target's, for checks of what the server refuses. What it does not set stays the target's.
 * target.headers' Origin, and Authorization where the token goes there, give way to it; so do the URL's user there, and a query parameter of
 * the token's name in the URL.
 */
struct conn_override {
    bool sets_origin, sets_token;
    const char *origin; /* NULL: none */
    const char *token;  /* as it is sent, with nothing left to expand; NULL: none */
};

struct conn_offer {
    struct upgrade_offer offer;
    struct upgrade_header headers[CONN_HEADERS_MAX];
    char *owned[CONN_HEADERS_MAX + 4]; /* strings made for this request */
    size_t owned_count;
};

/* A configured value with its files read, to be freed. NULL and agent_error where a file cannot be read, or what it holds would break out
 * of its header line. `what` names the option. */
char *conn_header_value(const char *what, const char *value, struct err *err);
/* override may be NULL. */
int conn_offer_init(struct conn_offer *out, const struct target_conf *target, const struct conn_override *override,
                    const struct url *url, bool deflate, struct err *err);
void conn_offer_fini(struct conn_offer *out);

#endif
