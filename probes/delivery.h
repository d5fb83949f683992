/* What the files of the delivery check share: probes/delivery.c holds the connections, probes/delivery_feeds.c the
 * subscriptions, probes/delivery_beats.c the heartbeats, probes/delivery_judge.c the verdict. */
#ifndef WSHEALTHD_PROBES_DELIVERY_H
#define WSHEALTHD_PROBES_DELIVERY_H

#include "agent/client/dialogue.h"
#include "agent/core/broker.h"
#include "agent/core/channels.h"
#include "agent/core/probe.h"
#include "agent/proto/heartbeat.h"

struct delivery_opts {
    char *broker, *channel;
    struct opt_strings channels;
    int64_t sample, within_ms;
    struct dialect over;
};

struct delivery_state;

/* A channel that has been in a sample: both its subscriptions are kept. */
struct feed {
    struct list node;
    struct delivery_state *state;
    char name[CHANNEL_NAME_MAX + 1];
    struct broker_listener listener;
    bool again;             /* the listener was refused or not answered, or nothing came on it: the next round asks again */
    bool asked, subscribed; /* on the WebSocket */
    uint64_t asked_ns;      /* when */
    uint64_t heard_ms;      /* both subscriptions have been there since; 0: they are not */
    uint64_t judged_ms;     /* when a heartbeat of ours on it was judged; 0: never */
    unsigned lost_streak;   /* so many in a row were lost */
};

/* One heartbeat of the round. */
struct beat {
    struct run *run;
    struct feed *feed;
    struct broker_request request;
    bool sent, taken;
    uint64_t sent_ns, control_ns, websocket_ns; /* 0: has not come */
};

struct delivery_state {
    struct run *run;
    struct broker *broker;
    struct broker_watcher watch;
    struct dialect dialect;
    struct dialogue *dialogue;
    struct conn_report report;
    bool opening;
    bool bare;            /* the broker is down: the round asks only whether this server takes the connection */
    uint8_t ping[8];      /* does the subscribed connection still live? */
    uint64_t pinged_ns;   /* 0: no ping on this connection yet */
    bool alive;           /* since that ping something has come: its pong, a confirmation, any message */
    unsigned lost_streak; /* rounds in a row that were lost on this connection */
    struct channels *channels;
    struct list feeds;
    uint64_t dropped_before; /* messages that the agent had dropped when the round began (broker_dropped_count) */
    struct beat *beats;      /* of this round, and of the last one until the next begins */
    size_t beat_count;
    uint64_t first_seq, next_seq;
    struct heartbeat self; /* who we are; seq and time are filled in for each */
    struct heartbeat_book book;
    bool book_has_own;
};

/* The effect of publish.command is not a pub/sub message: the agent has no subscription of its own then, and there is no leg control. */
bool delivery_has_control(const struct delivery_state *state);
/* Goes on with the round: asks for missing subscriptions, sends the heartbeats that can be sent. */
void delivery_advance(struct run *run);
struct feed *delivery_feed(struct delivery_state *state, const char *name); /* NULL: that channel was in no sample yet */
/* Gives the heartbeat its channel's feed, made where there was none. The subscription to the broker is tried again where it was refused or not
 * answered. -1: *err, the topic cannot be built. */
int delivery_feed_use(struct beat *beat, const char *name, struct err *err);
bool delivery_feed_may_send(const struct feed *feed);   /* has the broker what a heartbeat needs? */
void delivery_feeds_lost(struct delivery_state *state); /* the connection is gone, and its subscriptions with it */
/* Was a channel asked for on the WebSocket a timeout ago or more, without an answer? */
bool delivery_feeds_unanswered(struct delivery_state *state, uint64_t timeout_ns);
void delivery_feeds_free(struct delivery_state *state);
/* A message of one leg: is there a heartbeat in it? The round is judged when the last one has come. */
void delivery_take(struct run *run, struct slice payload, const struct feed *feed, enum delivery_leg leg, uint64_t received_ns);
/* Other agents' heartbeats (probes/delivery_others.c). `feed` may be NULL: it is not known on which channel it came. */
void delivery_others_take(struct delivery_state *state, const struct heartbeat *heartbeat, const struct feed *feed,
                          enum delivery_leg leg, uint64_t received_ns);
void delivery_others_changed(struct delivery_state *state); /* subscriptions have come or gone */
void delivery_others_proved(struct delivery_state *state);  /* the ping has been answered */
void delivery_others_lost(struct delivery_state *state);    /* subscriptions are gone: what has not come says nothing */
void delivery_others_judged(struct delivery_state *state);  /* the heartbeats of a round */
int delivery_topic(const struct feed *feed, struct buf *topic, struct err *err);
int delivery_beat_send(struct beat *beat, uint64_t seq, struct err *err);
/* Every heartbeat of the round has come, or the deadline has: finishes the round by what is in state->beats. With `flood`, a heartbeat that
 * the server has not delivered may lie in what could not be read: then that is the verdict. */
void delivery_judge(struct run *run, const struct err *flood);

#endif
