/*
 * `fleet_wide_fault`: all members, or nearly all, have the same local fault, and it began at all of them within a short time. That is no
 * fault of an instance: a bad release, a certificate, a wrong check that was rolled out. It is called shared, and takes nobody out of rotation. Pure.
 *
 * It begins where nine tenths (all, below ten) of the members that could have it share one cause, at least TOGETHER_MEMBERS_MIN of them, with begins at most
 * TOGETHER_WITHIN_MS apart, each timed by this host's clock; and where so many have said it again since it looked like that, which takes a round: word of a
 * recovery may have been lost. It lasts until fewer than seven tenths share it. Those that drain, start or watch are not
 * asked; a silent member counts as one that does not have it, until it is forgotten; an agent that is not in the fault itself never decides by it.
 */
#ifndef WSHEALTHD_FLEET_TOGETHER_H
#define WSHEALTHD_FLEET_TOGETHER_H

#include "agent/fleet/members.h"

enum { TOGETHER_MEMBERS_MIN = 3, TOGETHER_WITHIN_MS = 60000, TOGETHER_MARGIN_MS = 500 };

struct together { /* zero it to start */
    bool wide;
    char cause[SUMMARY_CAUSE_MAX + 1]; /* of the fleet-wide fault; "" where there is none */
    uint32_t members, sharing;         /* of the last judgement */
    uint64_t seen_ms;                  /* it looks fleet-wide since then, and is not called that yet */
};

struct together_own { /* this instance */
    bool settled;     /* min_ready_is_settled: a table that is still filling says nothing of all, so nothing begins */
    bool counts;      /* a server's agent, neither draining nor starting; false: a watcher only looks */
    bool fault;       /* as summary.fault: before the fleet's part in it */
    const char *cause;
    uint64_t fault_since_ms; /* monotonic */
};

/* true: the fault of this instance, if it has this cause, is shared. For those that have none, `wide` and `cause` tell of the others'. */
bool together_judge(struct together *together, const struct members *members, const struct together_own *own, uint64_t now_ms);

#endif
