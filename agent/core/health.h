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
    uint64_t failed_bits;           /* the last 64 rounds, newest in bit 0, 1: failed */
    uint32_t local_streak;          /* failed rounds in a row that were this instance's fault */
    uint32_t rounds;                /* judged so far, saturating */
    bool passed_once;               /* has it ever been in pass or warn? */
    bool shared_once, probe_once;   /* has a judged round ever failed for that and nothing else? */
    bool own_doing;                 /* the last round, judged or void, failed because of the agent itself, and it knows that */
    uint64_t mute_since_ms;         /* monotonic; first mute round since the last that was not; 0: none (struct health_evidence) */
    uint64_t last_mute_ms;          /* monotonic */
    bool mute_behind;               /* in the last mute round the upgrade was answered, and then nothing came */
    uint64_t answered_ms, spoke_ms; /* monotonic; of the last sign of life; 0: none yet */
    char history[HEALTH_HISTORY + 1]; /* oldest first: '#' pass, '~' warn, '.' fail; terminated */
};

/* Judges one round; true when the state changed. RESULT_VOID changes nothing. */
bool health_round(struct health *health, const struct health_policy *policy, enum result result);
/* Before health_round: is this round's local fault still to be counted as the shared one that the check is failing for? */
bool health_still_shared(struct health *health, const struct health_policy *policy, enum result result, enum scope scope,
                         enum scope fault_scope);
/* Does the last judged round contradict the state, so that the next one should come soon? */
bool health_contradicted(const struct health *health);

/* What a round, judged or void, says beside its result. */
struct health_evidence {
    enum result result;
    enum reason reason;
    enum scope scope;
    bool own_doing; /* the agent knows that the fault is its own: a token past its own exp, a file that cannot be read */
    bool answered;  /* a byte came that only the server's process can have sent */
    bool spoke;     /* … behind the upgrade */
    bool no_answer; /* not one byte of an answer came, to TLS or to the upgrade */
};
void health_note(struct health *health, const struct health_evidence *evidence, uint64_t now_ms); /* after health_round */
/* The agent was asleep until now_ms: a mute server counts as mute from that moment only (for liveness.after). */
void health_resume(struct health *health, uint64_t now_ms);

/* What a check contributes to the verdict. */
struct health_input {
    const struct health *health;
    enum scope scope; /* of the fault that it is in */
    unsigned gates;   /* GATE_READY, GATE_LIVE of agent/conf/conf.h */
    bool witness;     /* an answer in it comes from the server's own process: a WebSocket check on the local path */
    bool front; /* it goes the way of the users, through what is in front of all instances: it never says that this one must go */
};

struct verdict {
    bool ready, live, started, degraded, draining;
    bool admitted; /* latches: every ready-gated check has once passed, or has been seen to fail for what does not keep it out */
    enum result status; /* fail: not ready. warn: degraded, or anything that only reports is in warn or fail. pass */
};

struct verdict_policy {
    bool shared_faults_fail, probe_faults_fail;
    uint64_t liveness_after_ms;
    bool rounds; /* a failed check is a failed verdict even if it gates nothing: the verdict is on rounds, not on the instance */
    bool local_faults_degrade; /* the fleet keeps the instance in rotation, whatever it has: local faults degrade */
};

/* `started` and `admitted` latch: they are carried over from the verdict before. With no ready-gated check at all they are set at once. */
struct verdict verdict_of(const struct health_input *inputs, size_t count, const struct verdict_policy *policy, bool draining,
                          const struct verdict *before);
/* Is this what /startup still waits for? */
bool health_unstarted(const struct health *health);

#endif
