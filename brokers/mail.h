/*
 * Mail between a broker's driver on the loop and the worker, the thread that owns the calls of its library (agent/net/mailbox.h). A request
 * goes to the worker and comes back as its own answer; news come from the worker. The drivers of NATS and MQTT use it. That of Kafka has
 * a form of its own, as its library queues messages and results by itself.
 */
#ifndef WSHEALTHD_BROKERS_MAIL_H
#define WSHEALTHD_BROKERS_MAIL_H

#include "agent/base/slice.h"
#include "agent/core/broker.h"
#include "agent/net/mailbox.h"
#include "brokers/fault.h"

enum mail_kind {
    MAIL_PING, /* requests: */
    MAIL_PUBLISH,
    MAIL_SUBSCRIBE,
    MAIL_UNSUBSCRIBE, /* not answered */
    MAIL_UP,          /* news: */
    MAIL_DOWN,
    MAIL_MESSAGE,
    MAIL_OVERSIZED, /* a message that is larger than a heartbeat can be, without its body */
};

struct broker_mail {
    struct mail base;
    enum mail_kind kind;
    uint64_t token; /* of a subscription: whether its messages may come in batches */
    uint64_t at_ns; /* when it was requested, or came from the broker */
    struct broker_fault fault;
    char *topic; /* terminated; into data */
    struct slice body;
    char data[];
};

/* Copies topic and body. */
struct broker_mail *broker_mail_new(enum mail_kind kind, struct slice topic, struct slice body);
struct broker_mail *broker_mail_news(enum mail_kind kind); /* without topic and body */
void broker_mail_discard(struct mail *mail);
/* On the worker: posts to the loop, or discards what the mailbox does not take. */
void broker_mail_post(struct mailbox *box, struct broker_mail *mail);

/* A message of the broker's; of one that is too large, that it came. */
struct broker_mail *broker_mail_of_message(const char *topic, struct slice body);
/* On the worker, or a thread of its library: posts one. Past the mailbox's ceiling it is dropped and counted. */
void broker_mail_message(struct mailbox *box, const char *topic, struct slice body);

/* The loop's end of one connection. The driver's state embeds it; zeroed until it is opened. */
struct mail_port {
    struct broker *broker;
    struct mailbox *box;
    unsigned requests, max_requests; /* requests that the worker has not answered */
    bool over;                       /* broker_down was reported, or the core has closed */
};
/* The callbacks of a mailbox_type whose user is the port. on_mail reports to the core, which may close the connection meanwhile. */
void mail_port_on_mail(void *port, struct mail *mail);
void mail_port_on_closed(void *port);
void mail_port_on_lost(void *port, size_t count);
#define MAIL_PORT_TYPE \
    .on_mail = mail_port_on_mail, .on_closed = mail_port_on_closed, .on_lost = mail_port_on_lost, .discard = broker_mail_discard

/* type has at least the callbacks of MAIL_PORT_TYPE; as many requests are open at once as it takes mails. -1: err. */
int mail_port_open(struct mail_port *port, struct broker *broker, const struct mailbox_type *type, struct err *err);
/* For what fails when the port is open: reported as the first news, as open must not return an error any more. */
void mail_port_fail(struct mail_port *port, const struct err *err);
/* -1: refused, as too many are open, topic or body are too large, or the connection is over. */
int mail_port_request(struct mail_port *port, enum mail_kind kind, struct slice topic, struct slice body, uint64_t token);
void mail_port_close(struct mail_port *port);

#endif
