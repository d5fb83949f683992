/*
 * What one notifier tells, and when: `on`, `after`, `repeat`, folding, `max_per_hour`. Pure: the time is given, monotonic, in milliseconds.
 *
 * An incident begins with a fault that `on` names, and is told once its faults have lasted for `after` in sum; a pause of POLICY_PAUSE_MS or
 * `after`, whichever is longer, ends one that was not told. It is over when all has been well for `after`, at most a minute. Who relapses must
 * be well for longer each time, up to POLICY_HOLD_MAX_MS: so a server that flaps has one incident, and not one for each flap.
 */
#ifndef WSHEALTHD_NOTIFY_POLICY_H
#define WSHEALTHD_NOTIFY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/notify/notice.h"

enum {
    POLICY_PAUSE_MS = 30000,        /* so long without a fault, and one that was not told is forgotten */
    POLICY_HOLD_MS = 60000,         /* the longest that a recovery has to last, without a relapse */
    POLICY_RELAPSE_HOLD_MS = 30000, /* after the first relapse; then it doubles */
    POLICY_HOLD_MAX_MS = 300000,
    POLICY_RELAPSE_MS = 600000, /* a fault so soon after the end of the last one is a relapse */
    POLICY_WORSE_MS = 10000,    /* a worse state is told when it has lasted so long, or for `after` if that is shorter */
    POLICY_CHANGE_MS = 60000,   /* other changes are told so long after the last message at the earliest; then it doubles */
    POLICY_CHANGE_MAX_MS = 3600000,
    POLICY_HOUR_MS = 3600000,
    POLICY_PER_HOUR_MAX = 120,
};

struct policy_rules {
    unsigned on; /* NOTIFY_* of agent/conf/conf.h */
    int64_t after_ms, repeat_ms, refresh_ms;
    unsigned max_per_hour;
};

struct policy_state {
    unsigned faults; /* NOTIFY_* of the faults there are; 0: well */
    bool unknown; /* neither: the agent starts or ends, or the instance is drained and `on` does not name that. Time stands still */
    const char *cause; /* of a closed set: kept as a pointer */
};

struct policy_say {
    enum notice_kind kind;
    unsigned incident; /* from 1 */
    unsigned was, is;  /* the worst fault, NOTIFY_*; 0: well. `was` is what was told last, 0 with NOTICE_BEGIN */
    const char *cause;
    int64_t begun_ms, at_ms;
    unsigned changes, left_out; /* changes of NOTICE_END: 0 where no fault came back, as every recovery has its steps */
    bool refresh;               /* a repetition for the receiver's memory, and not for people */
};

struct policy {
    struct policy_rules rules;
    bool unknown;
    bool open, told; /* there is an incident; it has been told */
    bool wanted;     /* it should have been told, and max_per_hour had no room */
    unsigned incident, relapses, changes, left_out;
    unsigned flips;                    /* how often a fault came back since the last message */
    unsigned limited;                  /* messages that max_per_hour left out, ever */
    unsigned fault, told_fault, worst; /* NOTIFY_*: now, as told last, the worst that was told; 0: well */
    const char *cause, *told_cause;
    int64_t now_ms, begun_ms, since_ms, fault_since_ms, bad_sum_ms, ended_ms, said_ms, sent_ms, pause_ms;
    bool ended; /* ended_ms is that of an incident */
    int64_t times[POLICY_PER_HOUR_MAX];
    unsigned time_count; /* oldest first */
};

void policy_init(struct policy *policy, const struct policy_rules *rules, int64_t now_ms);
/* The state is another one, or the same. Call policy_next after it until that returns false. */
void policy_update(struct policy *policy, const struct policy_state *state, int64_t now_ms);
/* What is to be told now: call it again until it returns false. */
bool policy_next(struct policy *policy, int64_t now_ms, struct policy_say *say);
/* When policy_next has to be called again; INT64_MAX: not before the next change. */
int64_t policy_due(const struct policy *policy);
/* Nobody has heard of the open incident: while the fault is there, it is told again, as soon as there is room. */
void policy_untell(struct policy *policy);
void policy_lost(struct policy *policy, unsigned messages); /* they did not arrive: the next message says so */
/* The worst of these faults (a NOTIFY_* alone), or 0. */
unsigned policy_worst(unsigned faults);

#endif
