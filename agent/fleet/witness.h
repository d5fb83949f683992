/*
 * A better witness for probe faults. An agent alone cannot tell whether a server that refuses it has broken, or whether its own credentials have. Where
 * the others of the group present theirs to the same kind of check and are taken, a refusal that only this instance gives is *local*. Pure.
 *
 * It asks for much, as a local fault may take the instance out: the reason must be a refusal of the server's (witness_asks_for), the agent must not
 * know the fault for its own doing, at least WITNESS_MEMBERS_MIN others must have been heard since the fault began, a margin later; more than half of those
 * that run this kind of check must be taken, and at most a tenth be refused. Once said, it stays for as long as more than half are taken and the fault lasts.
 */
#ifndef WSHEALTHD_FLEET_WITNESS_H
#define WSHEALTHD_FLEET_WITNESS_H

#include "agent/fleet/members.h"

enum { WITNESS_MEMBERS_MIN = 2, WITNESS_MARGIN_MS = 2000 };

struct witness { /* of one check; zero it to start */
    bool local;
    uint32_t taken, refused; /* others, at the last look */
};

/* Is this a refusal that the server gives, so that others' luck says something about it? The agent's own pace (rate_limited) and names are none. */
bool witness_asks_for(enum reason reason);
/* kinds: fleet_kind_bit of the check's type. since_ms: monotonic, of the fault. true: the refusal is local. Call it with failing = false when the check has
 * no such fault, and while the table is not settled (min_ready_is_settled). */
bool witness_judge(struct witness *witness, const struct members *members, unsigned kind, bool failing, uint64_t since_ms,
                   uint64_t now_ms);

#endif
