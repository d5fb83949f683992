/*
 * How long the connections of a hold check live, and what that says of an idle timeout. Pure: no clock, no sockets, no allocation. With `idle`
 * one connection is pinged as the control: what cuts the silent ones and leaves it alone is an idle timeout, what cuts it as well is a
 * maximum age. What losses do to the verdict is decided in probes/hold_ages.h.
 */
#ifndef WSHEALTHD_PROBES_HOLD_LIVES_H
#define WSHEALTHD_PROBES_HOLD_LIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/core/stats.h"

enum { HOLD_LIVES_MAX = 16, HOLD_GAPS_MAX = 8, SENTENCE_MAX = 320 };

struct hold_lives { /* zero it to start */
    struct hold_life {
        uint64_t ended_ns, length_ns; /* monotonic, and how long it lived; with `idle`, how long it was silent at its end */
        bool cut;                     /* by somebody else; false: it was recycled after a full life */
    } lives[HOLD_LIVES_MAX];          /* the newest is the last */
    size_t count;
    uint64_t control_ns;                        /* the longest life of the control so far */
    uint64_t control_cut_ns, control_cut_at_ns; /* the age at which it was cut though it spoke, and when; 0: never */
    uint64_t gaps_ns[HOLD_GAPS_MAX];            /* between the server's own pings on one connection, the newest ones */
    size_t gap_count;
};

/* A connection that counts has ended. */
void hold_lives_ended(struct hold_lives *lives, uint64_t now_ns, uint64_t length_ns, bool cut);
/* The control is so old. */
void hold_lives_control(struct hold_lives *lives, uint64_t age_ns);
/* The control was cut at that age, after so long a silence: it says something only if it had spoken lately. */
void hold_lives_control_cut(struct hold_lives *lives, uint64_t now_ns, uint64_t age_ns, uint64_t silence_ns);
/* The server has sent a ping, so long after the one before, or after the connection was opened. */
void hold_lives_pinged(struct hold_lives *lives, uint64_t gap_ns);
/* Fills all but `idle`. */
void hold_lives_read(const struct hold_lives *lives, uint64_t now_ns, struct hold_figures *figures);
/* Does the server ping so seldom that the silence in between comes near the one after which connections were cut? */
bool hold_lives_too_close(const struct hold_figures *figures);
/* "idle connections are cut after 30.0s of silence (3 of 3, 29.8s to 30.1s); the pinged one lives: an idle timeout on the way, not a
 * maximum age". public_path: between the agent and the server there is something. */
void hold_lives_say(const struct hold_figures *figures, bool public_path, char *out, size_t size);
/* For the margin alone, while nothing is lost. */
void hold_lives_say_margin(const struct hold_figures *figures, char *out, size_t size);

#endif
