/* The rests between batches of messages (agent/core/rest.h). Called by drivers that read a topic whose listeners take batches. */
#include "agent/core/rest.h"

unsigned rest_after_ms(struct rest *rest, size_t count, uint64_t now_ms)
{
    uint64_t most = REST_BURST * 1000, cost = (uint64_t)count * 1000;
    uint64_t gone_ms = rest->seen_ms ? now_ms - rest->seen_ms : most;

    rest->credit += gone_ms < most ? gone_ms * REST_OFTEN : most;
    if (rest->credit > most)
        rest->credit = most;
    rest->seen_ms = now_ms;
    if (cost <= rest->credit) {
        rest->credit -= cost;
        rest->ms = 0;
        return 0;
    }
    rest->credit = 0;
    rest->ms = count > REST_MANY ? rest->ms / 2 : rest->ms * 2 + 1;
    if (rest->ms > BROKER_BATCH_MS)
        rest->ms = BROKER_BATCH_MS;
    return rest->ms;
}
