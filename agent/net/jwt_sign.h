/* Signs JSON Web Tokens (RFC 7518): HS256 with a shared secret, RS256, ES256 and EdDSA with a private key in PEM. */
#ifndef WSHEALTHD_NET_JWT_SIGN_H
#define WSHEALTHD_NET_JWT_SIGN_H

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum jwt_alg { JWT_HS256, JWT_RS256, JWT_ES256, JWT_EDDSA, JWT_ALG_COUNT };
extern const char *const jwt_alg_names[JWT_ALG_COUNT + 1]; /* as in a token's header; ends with NULL */

/* By whom: the key of the file, or a key of the same kind that nobody knows, so that the signature cannot be right. */
enum jwt_signer { JWT_OURS, JWT_STRANGER };

/* `token` holds header.claims (jwt_compose): appends a dot and the signature. `file` is what the key's file holds; of a shared secret, one
 * line break at its end does not count. -1: *err says what was wanted, and names no file. */
int jwt_sign(enum jwt_alg alg, struct slice file, enum jwt_signer signer, struct buf *token, struct err *err);

#endif
