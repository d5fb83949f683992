/*
 * Policy, and the only place of it: what rounds mean for a check, what checks mean for /ready, /live and /startup. Pure: no clock, no
 * sockets, no allocation. See wshealthd(8), VERDICTS.
 */
#ifndef WSHEALTHD_CORE_HEALTH_H
#define WSHEALTHD_CORE_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/reason.h"

enum { HEALTH_HISTORY = 32, HEALTH_WINDOW_MAX = 64 };

enum state { STATE_UNKNOWN, STATE_PASS, STATE_WARN, STATE_FAIL, STATE_COUNT };
const char *state_name(enum state state);

struct health_policy {
    uint32_t rise;                /* passes (or warns) in a row that end a failure */
    uint32_t fall_count, fall_of; /* that many failures among the last so many rounds begin one */
};

struct health { /* of one check; zero it to start */
    enum state state;
    uint32_t good_streak;
    uint64_t failed_bits;             /* the last 64 rounds, newest in bit 0, 1: failed */
    uint32_t local_streak;            /* failed rounds in a row that were this instance's fault */
    uint32_t rounds;                  /* judged so far, saturating */
    bool passed_once;                 /* has it ever been in pass or warn? */
    uint64_t failing_since_ms;        /* monotonic; first failed round since the last that was not; 0: none */
    uint64_t last_failed_ms;          /* monotonic */
    char history[HEALTH_HISTORY + 1]; /* oldest first: '#' pass, '~' warn, '.' fail; terminated */
};

/* Judges one round; true when the state changed. RESULT_VOID changes nothing. now_ms is monotonic and not 0. */
bool health_round(struct health *health, const struct health_policy *policy, enum result result, uint64_t now_ms);
/* Before health_round: is this round's local fault still to be counted as the shared one that the check is failing for? */
bool health_still_shared(struct health *health, const struct health_policy *policy, enum result result, enum scope scope,
                         enum scope fault_scope, uint64_t now_ms);
/* The agent was asleep until now_ms: what was failing counts as failing from now on only (for liveness.after). */
void health_resume(struct health *health, uint64_t now_ms);

/* What a check contributes to the verdict. */
struct health_input {
    const struct health *health;
    enum scope scope; /* of the fault that it is in */
    unsigned gates;   /* GATE_READY, GATE_LIVE of agent/core/conf.h */
};

struct verdict {
    bool ready, live, started, degraded, draining;
    enum result status; /* fail: not ready. warn: degraded, or anything that only reports is in warn or fail. pass */
};

struct verdict_policy {
    bool shared_faults_fail;
    uint64_t liveness_after_ms;
};

/* `started` latches: it is carried from the previous verdict. A pass of the check after which every ready-gated check has passed once
 * sets it. With no ready-gated check at all, it is set at once. */
struct verdict verdict_of(const struct health_input *inputs, size_t count, const struct verdict_policy *policy, bool draining,
                          bool started);

#endif
