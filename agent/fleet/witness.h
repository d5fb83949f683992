/*
 * A better witness for probe faults. An agent alone cannot tell whether a server that refuses it has broken, or whether its own credentials have. Where
 * the others of the group present theirs to the same kind of check and are taken, a refusal that only this instance gives is *local*. Pure.
 *
 * It asks for much, as a local fault may take the instance out: the reason must be a refusal of the server's (witness_asks_for), the agent must not
 * know the fault for its own doing, at least WITNESS_MEMBERS_MIN others must have been heard since the fault began, and a round and a margin later, and
 * be taken; of those that run this kind of check at most a tenth may be refused. Once said, it stays for as long as more than half are taken and the fault
 * lasts.
 *
 * What the others say must be of now: where all servers refuse at once, none may take another's last good round for its witness. So an agent whose
 * last round of any check was refused says that nothing is taken (its other checks wait until the server is tried again: agent/client/backoff.h), and that
 * all of its kinds are refused; and a witness is heard only after it has had the time for a round of its own, at the pace that all share.
 */
#ifndef WSHEALTHD_FLEET_WITNESS_H
#define WSHEALTHD_FLEET_WITNESS_H

#include "agent/fleet/members.h"

enum { WITNESS_MEMBERS_MIN = 2, WITNESS_MARGIN_MS = 2000 };

struct witness { /* of one check; zero it to start */
    bool local;
    uint32_t taken, refused; /* others, at the last look */
};

/* What this agent says of its own checks, as a witness for the others. Zero it to start, witness_note each check of the local path, then read it. */
struct witness_own {
    unsigned kinds, taken; /* fleet_kind_bit */
    bool refused, unsure;
};
/* well: its state. refused: its last round or the fault that it is in is a refusal (witness_asks_for) that is not known to be the agent's own doing.
 * left_alone: its last round makes all checks of the target wait. */
void witness_note(struct witness_own *own, unsigned kind, bool well, bool refused, bool left_alone);
unsigned witness_taken(const struct witness_own *own);
unsigned witness_refused(const struct witness_own *own);

/* Is this a refusal that the server gives, so that others' luck says something about it? The agent's own pace (rate_limited) and names are none. */
bool witness_asks_for(enum reason reason);
/* kind: fleet_kind_bit of the check's type. since_ms: monotonic; by then the others had time for a round since the first refusal. true: the refusal is
 * local. Call it with failing = false when the check has no such fault, and while the table is not settled (min_ready_is_settled). */
bool witness_judge(struct witness *witness, const struct members *members, unsigned kind, bool failing, uint64_t since_ms,
                   uint64_t now_ms);

#endif
