/*
 * The PROXY protocol, versions 1 and 2, as its receiver: what a balancer writes in front of a connection to say who is behind it. Bytes in,
 * an address out. Used by the health listener with proxy_protocol: true.
 */
#ifndef WSHEALTHD_PROTO_PROXY_READ_H
#define WSHEALTHD_PROTO_PROXY_READ_H

#include <stdbool.h>

#include "agent/base/err.h"
#include "agent/base/slice.h"

enum { PROXY_READ_MAX = 16 + 4096 }; /* bytes of the longest preamble that is taken; version 2 would allow 64 KiB of extensions */

struct proxy_source {
    bool known;    /* false: the balancer speaks for itself (LOCAL, UNKNOWN), or the address is of no known family */
    bool loopback; /* the client is on the balancer's host */
};

enum proxy_found { PROXY_ABSENT, PROXY_FOUND, PROXY_PART, PROXY_BAD };
/* Looks at the first bytes of a connection. PROXY_FOUND: *len bytes are the preamble. PROXY_PART: more is needed to tell. PROXY_ABSENT: it
 * begins in another way; no request of HTTP begins like a preamble. PROXY_BAD: it begins like one and is none; *err says why. */
enum proxy_found proxy_read(struct slice bytes, struct proxy_source *source, size_t *len, struct err *err);

#endif
