/*
 * The session's state of a reconnect check: what the server has given out to come back with (the dialect's `resume`), and heartbeats that
 * are published on the broker while the client is away, of which each must come exactly once. Owned by probes/reconnect.c, which holds the
 * connection and tells how a round goes: prime, then away, then back. Nothing is called back from inside a call.
 */
#ifndef WSHEALTHD_PROBES_RECONNECT_RESUME_H
#define WSHEALTHD_PROBES_RECONNECT_RESUME_H

#include "agent/client/dialogue.h"
#include "agent/core/probe.h"

enum { RESUME_BEATS = 3 };

struct resume_wishes {
    const char *broker, *channel;
    uint64_t within_ms;
    bool missed; /* heartbeats are published while the client is away */
};

struct resume_events {
    void (*on_primed)(struct run *run); /* the connection may be dropped */
    void (*on_away)(struct run *run);   /* the client has been away long enough */
    /* The session was restored (err NULL), or not, or the broker failed. */
    void (*on_judged)(struct run *run, const struct err *err);
};

struct resume;
/* `dialect` is the check's, whose connections say what resume_prepare makes of it. All are borrowed, but for wishes. */
struct resume *resume_new(struct run *run, struct dialogue *dialogue, const struct dialect *dialect,
                          const struct resume_wishes *wishes, const struct resume_events *events);
void resume_free(struct resume *resume);                    /* NULL is fine */
void resume_unit(struct resume *resume, struct slice unit); /* all that comes */
void resume_prime(struct resume *resume);                   /* the connection stands */
void resume_away(struct resume *resume);                    /* it was dropped */
/* Before each connection: what it says. *out borrows from the check's dialect. -1: agent_error. */
int resume_prepare(struct resume *resume, struct dialect *out, bool back, struct err *err);
int resume_ready(struct resume *resume, struct err *err); /* it is open again */
void resume_back(struct resume *resume);                  /* it stands again */
/* It stands again, after the server has ended it: on_judged tells whether the server went on with the session. False: it does not say so. */
bool resume_taken(struct resume *resume);
void resume_end(struct resume *resume); /* the round is over */
/* The round's deadline. False: it is not waiting for anything of this. An err without a reason: on_judged has been called. */
bool resume_timeout(struct resume *resume, struct err *err);

#endif
