/*
 * What lost connections of a hold check mean. Pure policy: no clock, no sockets, no allocation. One loss is a warning: a restart, a deploy
 * and a network's hiccup look like that, and taking the instance out for as long as the lost connection had lived would make them outages.
 * What happens again to the replacement is a fault, and stays one until a replacement has outlived the lost ones.
 */
#ifndef WSHEALTHD_PROBES_HOLD_AGES_H
#define WSHEALTHD_PROBES_HOLD_AGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/err.h"

enum { HOLD_LOSSES_MAX = 64, HOLD_WHY_MAX = 320 };

enum hold_level { HOLD_WELL, HOLD_WARN, HOLD_FAIL };

/* Connections that were lost at one moment: one fault of the server's, however many they are. */
struct hold_loss {
    uint64_t first_ns, last_ns;   /* monotonic */
    uint64_t opened_ns;           /* of the youngest of them */
    uint64_t age_ns, shortest_ns; /* of the oldest, of the youngest */
    uint32_t count;
    bool polite;   /* closed with 1000, 1001 or 1012: the server took its leave */
    bool kicked;   /* by a close code, just after the agent itself had opened another connection */
    bool outage;   /* nothing could take its place: the server was down, and the round said so */
    bool outlived; /* a connection that was opened later has lived longer */
};

struct hold_ages {                            /* zero it to start */
    struct hold_loss losses[HOLD_LOSSES_MAX]; /* the newest is the last */
    size_t count;
    uint64_t lost;      /* connections, ever */
    enum reason reason; /* of the newest */
    int code;
    char why[HOLD_WHY_MAX];
};

struct hold_policy {
    uint64_t connections;
    bool idle;           /* for the sentence */
    const char *pattern; /* what says more of cuts at similar ages than this file can (probes/hold_lives.h); NULL: nothing */
};

/* A connection that was opened then has been lost now. `kicked`: see struct hold_loss. */
void hold_ages_lost(struct hold_ages *ages, uint64_t now_ns, uint64_t opened_ns, bool kicked, const struct err *err);
/* A new connection could not be opened: what was lost just now was lost with the whole server. */
void hold_ages_outage(struct hold_ages *ages);
/* A connection that was opened then is well. `to_the_end`: it was recycled after a full life, so nothing is left to be proven. */
void hold_ages_lived(struct hold_ages *ages, uint64_t now_ns, uint64_t opened_ns, bool to_the_end);
/* What that comes to. Fills err (reason, close code, sentence) unless all is well. */
enum hold_level hold_ages_judge(const struct hold_ages *ages, uint64_t now_ns, const struct hold_policy *policy, struct err *err);

#endif
