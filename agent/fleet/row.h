/*
 * This agent's row of the delivery matrix, as its next summary has it: from what its delivery checks heard, and from the table of members. Pure; called by
 * link_matrix.c.
 *
 * A member gets a cell for what was heard of it, and for the gap of its summaries (from which the clocks' difference comes). Who publishes to nobody is heard
 * by nobody: where a member says that it has published on the same channels as this agent, and nothing of it came all that time, on the WebSocket or
 * on the agent's own subscriptions, what it published is lost. That is said only where this agent has heard it before, or it is of this agent's region and no
 * other member hears it: regions whose brokers are not meant to be connected are no fault, and nor is a region with one member.
 */
#ifndef WSHEALTHD_FLEET_ROW_H
#define WSHEALTHD_FLEET_ROW_H

#include "agent/fleet/members.h"

enum { ROW_HEARD_MAX = 64, ROW_MANY_MAX = 8, ROW_MANY = 256, ROW_SLACK_MS = 3000, ROW_WINDOW_MS = 10000 };

struct fleet_heard {
    struct {
        uint32_t who, got, lost;
        int32_t late_ms;   /* SUMMARY_UNKNOWN */
        uint64_t quiet_ms; /* since its last heartbeat on either leg */
    } cells[ROW_HEARD_MAX];
    size_t count;
    bool whole;                 /* whoever was heard lately is among the cells */
    uint64_t able_ms;           /* so long its own subscriptions have been whole; 0: they are not */
    struct summary_beats beats; /* its own */
    const char *shard_names[SUMMARY_SHARDS_MAX];
    const char *region; /* this agent's */
};

/* At most SUMMARY_ROW_MAX cells, in groups of more than ROW_MANY members ROW_MANY_MAX of them; from row to row others, where there is no room for all.
 * *turn is the caller's, 0 at first. How many. */
size_t row_make(const struct fleet_heard *heard, const struct members *members, uint64_t now_ms, size_t *turn,
                struct summary_source out[SUMMARY_ROW_MAX]);
/* The smallest gap of a member's summaries: this host's wall clock at hearing - sent. SUMMARY_UNKNOWN. */
int32_t row_gap(const struct member *member);

#endif
