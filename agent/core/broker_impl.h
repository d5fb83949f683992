/* Inside a broker: what its files share. agent/core/broker.c is the connection's life and the requests, broker_topics.c the subscriptions. */
#ifndef WSHEALTHD_CORE_BROKER_IMPL_H
#define WSHEALTHD_CORE_BROKER_IMPL_H

#include "agent/core/broker.h"

/* WAITING: for the next attempt. CLOSING: the driver releases what it holds; then WAITING, or freed. */
enum phase_of { BROKER_WAITING, BROKER_OPENING, BROKER_UP, BROKER_CLOSING };

struct broker {
    struct loop *loop;
    const struct broker_conf *conf;
    struct tls_context *tls;
    void *state;
    enum phase_of phase;
    unsigned failures;         /* attempts in a row that did not come up */
    struct timer timer;        /* the next attempt, the deadline of opening or closing */
    struct timer requests_due; /* the earliest deadline of a request; 0 when one is to be answered now */
    struct list requests, listeners, watches;
    struct timer ping_due; /* no answer by then: the connection is given up, whatever the deadlines of those who asked */
    uint64_t ping_due_ns;
    bool pinging; /* a ping of the driver's is under way: it answers every probe */
    uint64_t next_token;
    uint64_t dropped, dropped_ns; /* messages; when the last of them were (0: none yet) */
    uint64_t oversized;           /* messages that were larger than a heartbeat can be */
    struct err why;               /* why it is not up */
    bool ending;
    void (*on_freed)(void *user);
    void *freed_user;
};

/* Tells all listeners of the topic (no data: of all topics). */
void broker_topic_state(struct broker *broker, struct slice topic, bool confirmed, const struct err *err);
void broker_subscribe_all(struct broker *broker); /* it has come up */

#endif
