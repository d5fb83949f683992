/*
 * Is a roll-out under way in the group? From drains, goodbyes, runs that have just begun, and versions. Pure. The link notes each summary that it takes
 * (the table forgets who has gone, and this must not), and asks once for each view.
 *
 * *Under way*: within ROLLOUT_LATELY_MS an instance was drained, has left or has begun, or fresh members have more than one version. *Announced*: one of them
 * said so: a drain, a goodbye, or a version that was not there before. A crash without a word announces nothing. Watchers are no instances.
 * A version is the server's where it is said (identity.version), otherwise the agent's.
 *
 * Bounds: ROLLOUT_GONE_MAX instances and ROLLOUT_VERSIONS_MAX versions; the oldest make room.
 */
#ifndef WSHEALTHD_FLEET_ROLLOUT_H
#define WSHEALTHD_FLEET_ROLLOUT_H

#include "agent/fleet/members.h"

enum { ROLLOUT_LATELY_MS = 600000, ROLLOUT_GONE_MAX = 64, ROLLOUT_VERSIONS_MAX = 16 };

struct rollout { /* zero it to start */
    struct rollout_gone {
        uint32_t who;
        uint64_t at_ms;
    } gone[ROLLOUT_GONE_MAX]; /* drained or left; one row for an instance */
    struct rollout_version {
        uint32_t what;               /* fleet_hash; 0: a free row */
        uint64_t first_ms, heard_ms; /* of the first run that had it; of the last summary */
    } versions[ROLLOUT_VERSIONS_MAX];
};

struct rollout_own {          /* this agent */
    const char *id, *version; /* version NULL: a watcher */
    bool draining;
    uint64_t draining_ms, begun_ms, version_ms; /* monotonic */
};

struct rollout_found {
    bool under_way, announced;
    uint32_t changed, of;  /* instances drained, gone or begun lately, of so many */
    uint32_t versions;     /* how many fresh members have */
    const char *from, *to; /* with more than one: that of most others, and the newest. They live until the table changes */
    uint64_t since_ms;     /* monotonic, the first of it; 0: nothing is under way */
};

void rollout_note(struct rollout *rollout, const struct member *member, uint64_t now_ms);
void rollout_judge(struct rollout *rollout, const struct members *members, const struct rollout_own *own, uint64_t now_ms,
                   struct rollout_found *out);
/* "a roll-out is under way: 2 of 6 instances drained or restarted in the last 10 minutes, 1.4 → 1.5", or "" */
void rollout_say(const struct rollout_found *found, char *out, size_t size);

#endif
