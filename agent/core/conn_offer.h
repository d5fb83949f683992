/* The upgrade request of a target: host, path, headers, origin, subprotocols and the token in its place, ${file:…} read anew. */
#ifndef WSHEALTHD_CORE_CONN_OFFER_H
#define WSHEALTHD_CORE_CONN_OFFER_H

#include "agent/core/conf.h"
#include "agent/proto/upgrade.h"

enum { CONN_HEADERS_MAX = 32, CONN_REQUEST_MAX = 32768 };

struct conn_offer {
    struct upgrade_offer offer;
    struct upgrade_header headers[CONN_HEADERS_MAX];
    char *owned[CONN_HEADERS_MAX + 4]; /* strings made for this request */
    size_t owned_count;
};

int conn_offer_init(struct conn_offer *out, const struct target_conf *target, const struct url *url, bool deflate, struct err *err);
void conn_offer_fini(struct conn_offer *out);

#endif
