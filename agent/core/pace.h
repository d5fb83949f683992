/*
 * When a check's next round comes. Pure: the caller owns the clock, the timer and the dice.
 *
 * Rounds lie on a fixed grid from the first one on, with jitter around it, so that they neither drift nor bunch up. What comes between
 * (fast rounds, events, rounds brought forward) is extra and leaves the grid where it is.
 */
#ifndef WSHEALTHD_CORE_PACE_H
#define WSHEALTHD_CORE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    uint64_t due_ns; /* the grid's place of the round under way, or of the next one */
    uint32_t fast;   /* fast rounds in a row */
    bool extra;      /* the round under way, or the next one, has no place on the grid */
};

struct pace_options {
    uint64_t interval_ns, fast_ns;
    uint32_t fast_max; /* in a row */
};

/* A round that began then has ended: how long until the next. `contradicted`: it speaks against the check's state. shift_ns: jitter. */
uint64_t pace_next_ns(struct pace *pace, const struct pace_options *options, uint64_t started_ns, uint64_t now_ns,
                      bool contradicted, int64_t shift_ns);
/* The next round comes at that moment, whatever the grid says. */
uint64_t pace_skip_ns(struct pace *pace, const struct pace_options *options, uint64_t now_ns, uint64_t until_ns);

#endif
