/*
 * What the files of the hold check share: probes/hold.c has the connections and the rounds, probes/hold_losses.c what becomes of a
 * connection that ends. The policies are pure: probes/hold_ages.c what losses mean, probes/hold_lives.c what lifetimes say.
 */
#ifndef WSHEALTHD_PROBES_HOLD_IMPL_H
#define WSHEALTHD_PROBES_HOLD_IMPL_H

#include "agent/client/session.h"
#include "agent/core/probe.h"
#include "probes/hold_ages.h"
#include "probes/hold_lives.h"

enum { HOLD_GOING_AWAY = 1001 };

struct hold_opts {
    int64_t connections, for_ms, max_age_ms;
    bool idle;
};

struct held { /* small: there may be thousands */
    struct session session;
    union {
        struct conn_report *report; /* while it opens */
        uint64_t opened_ns;         /* from then on */
    };
    uint64_t since_ns; /* when it began to open, or was pinged */
    uint32_t life_ms;  /* recycled after this */
    uint16_t index;    /* among all */
    bool opening, awaits_pong;
    bool without_h2; /* with `http: both`: it is HTTP/2's turn, and the server has no WebSocket over it */
};

/* All of a check's connections. */
struct holding {
    struct run *run;
    struct held held[];
};

struct hold_state {
    struct held *held;        /* opts->connections of them, made by the first round */
    size_t opening, awaited;  /* how many open, how many owe a pong */
    size_t next;              /* of the round: the next to look at */
    size_t opened;            /* since the heap was trimmed */
    uint8_t ping[8];          /* payload of this round's pings */
    struct timer pace;        /* the round goes on in the next turn of the loop, so that not all pings are sent at once */
    bool barred;              /* of the round: the target refuses the probe, and a connection that is missing was not opened */
    bool foreign;             /* likewise: a pong with other data has come */
    struct hold_ages ages;    /* of what was lost */
    struct hold_lives lives;  /* of all that have ended */
    struct conn_pings *pings; /* with `idle`, of each connection: what the server sends by itself */
    uint32_t *noted;          /* with `idle`, of each: how many of its pings have been noted */
    enum hold_level told;     /* losses have been judged as that since the last round began: one fault, one verdict */
};

struct run *held_run(const struct held *held);
const struct hold_opts *hold_opts_of(const struct run *run);
/* Is this the one that is pinged though the others say nothing? */
bool held_is_control(const struct held *held);
bool held_is_pinged(const struct held *held);

/* --- probes/hold_losses.c ------------------------------------------------------------------------------------------- */

void held_gone(struct held *held); /* it is not open any more, and its pong is not awaited */
/* The one place that learns that the server as a whole does not answer: the losses of this moment then say nothing of the connections' age. */
void hold_note_outage(struct run *run, const struct err *err);
/* An open connection has been lost. True: that is a fault. */
bool held_note_loss(struct held *held, const struct err *cause);
void held_note_full_life(struct held *held); /* it has lived to the end that `for` or max_age sets */
void hold_note_lives(struct run *run);       /* of those that are open now */
enum hold_level hold_judge_losses(const struct run *run, struct err *err);
/* Ends the round by what the losses come to. Their close codes were counted when they came. */
void hold_finish_by_losses(struct run *run);

#endif
