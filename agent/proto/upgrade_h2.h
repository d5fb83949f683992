/* The opening handshake over HTTP/2 (RFC 8441): the extended CONNECT of an offer. Its response is judged by upgrade_validate_response. */
#ifndef WSHEALTHD_PROTO_UPGRADE_H2_H
#define WSHEALTHD_PROTO_UPGRADE_H2_H

#include "agent/proto/h2.h"
#include "agent/proto/upgrade.h"

struct upgrade_h2 {
    struct h2_header fields[H2_REQUEST_HEADERS_MAX];
    size_t count;
    struct buf text; /* what they point into; holds secrets */
};

/* 0, or -1 past the ceiling. Headers that HTTP/2 forbids (RFC 9113, 8.2.2) are left out. Wipe it in either case. */
int upgrade_h2_request(struct upgrade_h2 *out, const struct upgrade_offer *offer, bool tls);
void upgrade_h2_wipe(struct upgrade_h2 *request);

#endif
