/*
 * How the public path is seen from each region: from what all members that have checks with `path: public` say in their summaries, watchers and servers
 * alike, every agent finds the same. Pure, and without a memory of its own: the link asks once for each view.
 *
 * Only those that look are asked: who is silent, has left, shares its id with another, or has no such check says nothing. A region *fails alone* where all
 * who look from there fail, while at least OUTSIDE_OTHERS_MIN who look from other regions get in. For that a round must have gone by since the first said
 * so, each must have said it twice, and only rounds that passed after the first said so count as getting in: of a fault of all regions, some hear later.
 * The path is *down* where all who look fail, two at least, on the same terms.
 */
#ifndef WSHEALTHD_FLEET_OUTSIDE_H
#define WSHEALTHD_FLEET_OUTSIDE_H

#include "agent/fleet/members.h"

enum { OUTSIDE_REGIONS_MAX = 16, OUTSIDE_OTHERS_MIN = 2 };

struct outside_own { /* this agent, as its next summary has it */
    const char *region;
    enum fleet_public path;
    uint64_t since_ms, at_ms; /* monotonic, as those of struct member */
    uint32_t every_ms;
};

struct outside_region {
    const char *name;          /* lives until the table changes */
    uint32_t looking, failing; /* from there */
    uint32_t getting_in;       /* in other regions, since this one fails; 0 while not all fail here */
    bool alone;                /* it fails alone */
    uint64_t first_ms, every_ms;
    bool said_again;
};

struct outside {
    struct outside_region
        regions[OUTSIDE_REGIONS_MAX]; /* those of whoever was counted first; others are in none, and count as looking */
    size_t count;
    uint32_t looking, failing;
    bool down;
};

void outside_judge(const struct outside_own *own, const struct members *members, uint64_t now_ms, struct outside *out);

#endif
