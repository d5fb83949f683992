/* What agent/core/check.c, check_schedule.c and check_evidence.c share. */
#ifndef WSHEALTHD_CORE_CHECK_IMPL_H
#define WSHEALTHD_CORE_CHECK_IMPL_H

#include "agent/base/clock.h"
#include "agent/client/backoff.h"
#include "agent/client/share.h"
#include "agent/core/check.h"
#include "agent/core/pace.h"

struct check {
    struct check_host *host;
    struct generation *generation;
    struct generation *tls_from; /* whose TLS contexts are in use: the newest, over reloads */
    const struct check_conf *conf;
    struct run first, *second; /* second: over HTTP/2, with `http: both`; NULL: not done twice */
    struct run *run;           /* of these, that whose round or half is under way, or was last */
    struct timer schedule, deadline;
    bool hurry;         /* the next round comes soon: a session has just lost something */
    bool claimed;       /* the round under way may open a connection, though the target has refused some */
    bool refused;       /* its last judged round was refused */
    bool timed_out;     /* the round under way has reached its deadline */
    struct backoff own; /* of a check that only dials: a refusal of it does not slow the other checks down */
    struct pace pace;
    struct share_turn turn; /* with share_connection: to talk */
    uint64_t due_ns;        /* when the schedule's timer fires */
    uint64_t void_since_ns; /* a gap of the agent that ended after this makes a failure void */
    struct trace trace;     /* of the round */
    struct both *both;      /* with `http: both`: a half of the round is over (agent/core/check_both.c) */
    bool apart;             /* the round is what one half has lost between its rounds */
    struct each *each;      /* with `each_address` (agent/core/check_each.c); NULL: without */
    enum http_split http_split;
    struct address_split addresses;
    enum reason warned; /* of the last judged round; REASON_NONE: it was no warning */
    struct check_view view;
};

void check_schedule_in(struct check *check, uint64_t delay_ns);
void check_schedule_next(struct check *check); /* a round has been judged */
struct pace_options check_pace_options(const struct check *check);
bool check_wait_for_turn(struct check *check);  /* true: the round comes later */
bool check_wait_for_share(struct check *check); /* likewise */
void check_tell_backoff(struct check *check, enum result result, enum reason reason);

/* agent/core/check_evidence.c */
void check_trace_half(struct check *check, enum result result, enum reason reason, const char *text);
void check_trace_verdict(struct check *check, enum result result, enum reason reason, const char *text);
void check_keep_trace(struct check *check, enum result result,
                      enum reason reason); /* the round is over: keeps its trace, or drops it */
void check_free_traces(struct check *check);

#endif
