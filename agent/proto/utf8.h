/* Incremental UTF-8 check (RFC 3629), for text messages in fragments (RFC 6455, 8.1). State 0 is the start and means "at a boundary". */
#ifndef WSHEALTHD_PROTO_UTF8_H
#define WSHEALTHD_PROTO_UTF8_H

#include <stdbool.h>

#include "agent/base/slice.h"

/* Feeds bytes; false at the first byte that no valid text can have there (checked byte by byte, so an error shows at once). */
bool utf8_feed(uint32_t *state, struct slice bytes);
static inline bool utf8_complete(uint32_t state)
{
    return state == 0;
}
bool utf8_valid(struct slice bytes); /* whole text */

#endif
