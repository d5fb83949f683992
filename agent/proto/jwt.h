/* As much of JSON Web Tokens (RFC 7519) as a client needs: the times that a token says of itself, and the text of a new one. Nothing is
 * verified here, and nothing signed (agent/net/jwt_sign.h). */
#ifndef WSHEALTHD_PROTO_JWT_H
#define WSHEALTHD_PROTO_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/base/slice.h"

enum { JWT_MAX = 12288 }; /* of a token that is made: some headers and servers take no more */

/* In seconds since 1970; 0: the token does not say. */
struct jwt_times {
    int64_t exp_s, nbf_s, iat_s;
};
bool jwt_times_of(struct slice token, struct jwt_times *times); /* false: it is no JWT */
/* Is it a JWT with an `exp`? Then *exp_s is that, in seconds since 1970. */
bool jwt_exp(struct slice token, int64_t *exp_s);

struct jwt_claims {
    const char *json;      /* an object; NULL: {}. Its exp gives way, its iat stays */
    const char *alg, *kid; /* of the header; kid may be NULL */
    const char *audience;  /* instead of the object's aud; NULL: that */
    int64_t iat_s, exp_s;
};
/* Appends what is to be signed: the header and the claims in base64url, with a dot between them. -1: *err. */
int jwt_compose(const struct jwt_claims *claims, struct buf *out, struct err *err);
/* RFC 4648, 5, without padding. -1 past out's ceiling. */
int jwt_base64url(struct slice in, struct buf *out);

#endif
