/*
 * The engine of one check: starts its rounds, bounds them, judges them with agent/core/health.h and keeps what is known of it
 * (struct check_view). The agent owns checks and hears of every judged round; probes see only struct run (agent/core/probe.h).
 */
#ifndef WSHEALTHD_CORE_CHECK_H
#define WSHEALTHD_CORE_CHECK_H

#include "agent/client/backoff.h"
#include "agent/client/conn.h"
#include "agent/client/generation.h"
#include "agent/core/probe.h"
#include "agent/core/stall.h"
#include "agent/core/view.h"

struct check;
/* What all checks of an agent share. */
struct check_host {
    struct loop *loop;
    struct conn_group group;
    struct stall stall;
    struct share *shares;      /* connections that several checks use (agent/client/share.h) */
    struct backoff backoff[2]; /* by path: one for all checks together */
    bool once;                 /* one round each, no schedule */
    size_t trace_bytes;        /* of a round's first lines; 0: TRACE_HEAD_MAX */
    void (*on_judged)(void *user, struct check *check, bool changed); /* after every round, also void ones */
    /* Rounds of this check contradict its state: the others should look soon. May be NULL. */
    void (*on_news)(void *user, struct check *check, bool failed);
    struct broker *(*find_broker)(void *user, const char *name);
    char nonce[9];       /* of this process: two agents with one name do not take each other's heartbeats */
    bool draining;       /* the instance is being taken out of rotation on purpose; set by the agent */
    uint64_t drained_ns; /* when that began, or when it ended; monotonic. 0: never */
    void *user;
};

struct check *check_new(struct check_host *host, struct generation *generation, const struct check_conf *conf);
/* The first round; later ones by interval and jitter. `place` of `places` is where in the interval it stands: those of one target spread evenly. */
void check_start(struct check *check, uint64_t delay_ms, size_t place, size_t places);
/* Brings the next round forward, if the check's state does not agree with the news of its target (`failed`: a round of another check
 * failed). */
void check_hurry(struct check *check, bool failed, uint64_t delay_ms);
bool check_is_witness(const struct check *check); /* does it speak WebSocket with the target? */
/* Ends everything of it and frees it; also in the middle of a round, but not from inside its own callbacks. */
void check_free(struct check *check);
const struct check_view *check_get_view(const struct check *check);
const struct check_conf *check_get_conf(const struct check *check);
/* The fleet is a witness: the refusal that the check is in is this instance's alone (true), or it is not known (false). Has an effect only where the
 * reason's own scope is `probe`, and until the next failed round. */
void check_set_witnessed(struct check *check, bool local);
struct generation *check_generation(const struct check *check);
/* A kept check over a reload: new connections use the newly read certificates. */
void check_use_tls(struct check *check, struct generation *generation);
void check_resume(struct check *check); /* the agent was asleep: failures count for liveness from now on */

#endif
