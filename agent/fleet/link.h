/*
 * The link to the fleet: the topic `wshealthd.fleet.GROUP` of one broker, what this agent says on it, and what is made of the others. Owns the
 * table of members (members.h) and the timers; all rules are pure and elsewhere (announce.h, min_ready.h, together.h, witness.h). Owned by the
 * agent (agent/run/agent_fleet.c), which asks for the judgement, applies it to the verdict, and tells the result.
 *
 * It never decides alone. Without the broker, the subscription, the key or its own summaries coming back, fleet_link_judge says so at once
 * (MIN_READY_UNLINKED), and the agent acts by its own verdict. Nothing is waited for, and no answer of the agent depends on a message.
 *
 * It takes messages in batches (struct broker_listener): in a group of more than about forty messages a second each may be read BROKER_BATCH_MS late.
 * They keep their order, so the own question's echo and what comes behind it are late together; min_ready.h says what that takes of its margin.
 *
 * Bounds. One request is under way at the broker. Of what comes, LINK_BURST messages are read at once and LINK_PER_MS a millisecond; the others
 * are dropped unread, and counted. The owner is called back (on_news) at most every LINK_NEWS_MS, in a group of more than LINK_MANY members every
 * LINK_NEWS_MANY_MS. A summary that arrives costs one look-up; the table is walked once for each of these calls.
 */
#ifndef WSHEALTHD_FLEET_LINK_H
#define WSHEALTHD_FLEET_LINK_H

#include "agent/conf/conf.h"
#include "agent/core/broker.h"
#include "agent/fleet/min_ready.h"
#include "agent/fleet/row.h"
#include "agent/fleet/witness.h"
#include "agent/report/fleet_view.h"

enum {
    LINK_BURST = 512,
    LINK_PER_MS = 8,
    LINK_NEWS_MS = 20,
    LINK_NEWS_MANY_MS = 250,
    LINK_MANY = 256,
    LINK_GOODBYE_MS = 300,
    LINK_REGIONS_MAX = 16 /* with a row of their own in view and metrics: this agent's, and those that were heard first */
};

struct fleet_link;

struct fleet_link_options { /* texts and conf are copied; the broker outlives the link */
    struct loop *loop;
    struct broker *broker;
    const struct fleet_conf *conf;
    const char *id, *region, *version; /* version: of the agent */
    const char *release;               /* of the server; NULL: not said */
    struct fleet_min min;
    bool watcher;                /* no server is beside the agent */
    void (*on_news)(void *user); /* the judgement may be another: ask for it. From the loop, never inside a call */
    void *user;
};
struct fleet_link *fleet_link_new(const struct fleet_link_options *options);
/* A reload: other times, key or min_ready. false: it is another fleet, broker or name, so that another link is needed; nothing has changed. */
bool fleet_link_change(struct fleet_link *link, const struct fleet_link_options *options);
/* Says goodbye, once; after that it is silent and deaf. Then it may be freed, best when it is no longer busy (LINK_GOODBYE_MS at most). */
void fleet_link_leave(struct fleet_link *link);
bool fleet_link_busy(const struct fleet_link *link);
void fleet_link_free(struct fleet_link *link);

/* This instance by its own verdict, before the fleet's part in it. */
struct fleet_own {
    bool counts;       /* it has been in rotation, and is not drained */
    bool fault;        /* a local fault, and nothing else, would take it out of rotation */
    const char *cause; /* of that */
};
struct fleet_judgement {
    enum fleet_stand stand; /* ASKS, HELD: it stays in rotation, degraded */
    bool wide;              /* its fault is that of all instances: it stays in rotation, degraded */
};
void fleet_link_judge(struct fleet_link *link, const struct fleet_own *own, struct fleet_judgement *out);
/* Is a refusal that only this instance gives a local fault? kinds: fleet_kind_bit; since_ms: as for witness_judge. */
bool fleet_link_witness(const struct fleet_link *link, struct witness *witness, unsigned kinds, bool failing, uint64_t since_ms);

/* What the others are told. Where anything of it has changed but `connections` and times, they are told at once. */
struct fleet_say {
    enum fleet_word word;
    const char *cause; /* own; "" where there is none */
    enum scope scope;
    bool have_connections;
    uint32_t connections;
    uint16_t taken, refused; /* bits of enum fleet_kind */
    enum fleet_public public_path;
    uint64_t public_at_ms; /* monotonic, of the round that says so */
};
void fleet_link_tell(struct fleet_link *link, const struct fleet_say *say);

/* What the delivery checks heard of others: this agent's row of the delivery matrix; with it, the matrix is judged. Once a second. */
void fleet_link_hear(struct fleet_link *link, const struct fleet_heard *heard);

/* The view; what it costs (a walk through the table) is paid only after something has changed. It is current until the next call. */
const struct fleet_view *fleet_link_view(struct fleet_link *link);

#endif
