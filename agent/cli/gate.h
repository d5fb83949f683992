/*
 * The books of `wshealthd fleet gate`: from one answer of /fleet after the other, whether a group has been well for long enough. Pure: answers and
 * clocks are given. Called by agent/cli/cli_gate.c, which asks. The answers may be anybody's: what is no answer of /fleet is an error with a sentence,
 * and nothing of it is kept.
 *
 * Well: the agent is linked, no fault is fleet-wide, and at least `min` instances are `ready`. Instances are all members but watchers and those that
 * have said that they leave. Who has been seen by name and is in the list no more without a word counts, as not ready, until it is back. Where an answer
 * does not name all (readers without full details, more members than an answer has), the counts of the regions are taken, and what is missing from
 * the most that there were is such. Who became ready between two answers was not ready all that time. Well for long enough: for `for_ms`,
 * and for one and a half times the agent's `every`, in which each member speaks: an agent that has just started knows nobody yet.
 */
#ifndef WSHEALTHD_CLI_GATE_H
#define WSHEALTHD_CLI_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

enum { GATE_NAMED_MAX = 32, GATE_SEEN_MAX = 4096, GATE_MEMBERS_MAX = 10000, GATE_WORD_MAX = 208, GATE_WHY_MAX = 720 };

/* Why one does not count, the worst first. */
enum gate_lack {
    GATE_NOT_READY,
    GATE_VANISHED,
    GATE_TWIN,
    GATE_SILENT,
    GATE_DEGRADED,
    GATE_STARTING,
    GATE_DRAINING,
    GATE_ODD,
    GATE_LACKS
};

struct gate_member {
    char id[GATE_WORD_MAX], region[GATE_WORD_MAX], cause[GATE_WORD_MAX]; /* fit for a line; "": not known */
    enum gate_lack lack;
    uint64_t for_ms; /* 0: not known */
};

struct gate {
    const char *group; /* as asked for */
    uint64_t for_ms;
    uint32_t min;
    bool percent;
    /* the last answer */
    char why[GATE_WHY_MAX]; /* what is wrong with the whole: no answer, not linked, a fault of all; "" */
    char wide_cause[GATE_WORD_MAX];
    bool answered;
    uint32_t ready, of, needed;
    struct gate_member named[GATE_NAMED_MAX]; /* of those that are not ready, so many */
    size_t named_count;
    /* the books */
    uint64_t well_since_ms, last_ms, need_ms; /* well_since_ms: 0: it is not */
    uint32_t left;                            /* of the last answer */
    struct gate_seen *seen;
    size_t seen_count, seen_at;
};

enum gate_turn { GATE_WAITS, GATE_PASSES, GATE_WRONG /* *err: no waiting mends it */ };

/* "2", "50%". 0, or -1. */
int gate_parse_min(const char *text, struct gate *gate);
enum gate_turn gate_take(struct gate *gate, struct slice json, uint64_t now_ms, struct err *err);
void gate_miss(struct gate *gate, const char *why); /* there was no answer */
/* What is so, and what is missing and whose it is: one line. With `ages` also for how long. */
void gate_say(const struct gate *gate, bool ages, uint64_t now_ms, struct buf *out);
const char *gate_advice(const struct gate *gate); /* what to do about the worst; NULL: not known */
void gate_json(const struct gate *gate, bool passed, uint64_t waited_ms, uint64_t now_ms, struct buf *out);
void gate_fini(struct gate *gate);

#endif
