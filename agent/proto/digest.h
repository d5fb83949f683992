/*
 * SHA-2 and HMAC (FIPS 180-4, RFC 2104) over bytes in memory, for the texts of protocols: a challenge and its response. What concerns TLS
 * and keys in files is agent/net.
 */
#ifndef WSHEALTHD_PROTO_DIGEST_H
#define WSHEALTHD_PROTO_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "agent/base/slice.h"

enum digest { DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512 };
enum { DIGEST_MAX = 64 };

/* Both return the length of what they have written to out. */
size_t digest_hash(enum digest digest, struct slice text, uint8_t out[DIGEST_MAX]);
size_t digest_hmac(enum digest digest, struct slice key, struct slice text, uint8_t out[DIGEST_MAX]);

#endif
