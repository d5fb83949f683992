/*
 * How long a reader may rest between two batches of messages, so that many that come one by one cost one wake-up and not one each. Pure: no
 * clock, no sockets. Up to REST_OFTEN messages a second, and REST_BURST at once, it never rests: in a small group nothing is late. Above, it
 * rests BROKER_BATCH_MS at most, and so long only while little comes in that time: a flood is to meet the ceilings that it meets without rests.
 */
#ifndef WSHEALTHD_CORE_REST_H
#define WSHEALTHD_CORE_REST_H

#include <stddef.h>
#include <stdint.h>

#include "agent/core/broker.h"

enum { REST_OFTEN = 40, REST_BURST = 64, REST_MANY = 256 };

struct rest { /* zeroed at first */
    uint64_t seen_ms;
    uint64_t credit; /* thousandths of messages that may still come at once */
    unsigned ms;     /* the last */
};

/* So many have just been taken: the rest before the next are, 0: none. */
unsigned rest_after_ms(struct rest *rest, size_t count, uint64_t now_ms);

#endif
