/* Reads as much of RFC 7519 as it takes to see that the agent's own token is too old. Nothing is verified. */
#ifndef WSHEALTHD_PROTO_JWT_H
#define WSHEALTHD_PROTO_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/slice.h"

/* Is it a JWT with an `exp`? Then *exp_s is that, in seconds since 1970. */
bool jwt_exp(struct slice token, int64_t *exp_s);

#endif
