/* What the files of the rabbitmq driver share. */
#ifndef WSHEALTHD_BROKERS_RABBITMQ_RABBITMQ_H
#define WSHEALTHD_BROKERS_RABBITMQ_RABBITMQ_H

#include "agent/core/broker.h"
#include "agent/net/intake.h"
#include "agent/proto/amqp.h"

/*
 * Three channels, because an AMQP error ends the channel that it comes on: what may not be published does not end the consumer, and a
 * topic that may not be bound does not end the others.
 */
enum { CHANNEL_CONSUME = 1, CHANNEL_PUBLISH, CHANNEL_BIND, CHANNELS };

/* GONE: broker_down was reported, or close was called. CLOSING: connection.close was sent. */
enum rabbitmq_stage { STAGE_DIALING, STAGE_LOGIN, STAGE_OPENING, STAGE_PREPARING, STAGE_UP, STAGE_CLOSING, STAGE_GONE };

struct rabbitmq_opts {
    char *exchange, *queue_prefix;
    int mechanism;
    int64_t heartbeat_ms, expires_ms;
};
enum { MECHANISM_PLAIN, MECHANISM_EXTERNAL };

struct rabbitmq {
    struct broker *broker;
    enum rabbitmq_stage stage;
    struct url url;
    struct dial_target target;
    struct dial_report report;
    struct dial *dial;
    struct stream *stream;
    struct amqp_reader *reader;
    struct intake intake;
    struct buf out;
    char vhost[AMQP_NAME_MAX + 1], queue[AMQP_NAME_MAX + 1];
    uint32_t frame_bytes;
    uint64_t heartbeat_ms;
    unsigned silent;    /* pulses since the last byte came */
    bool greeted;       /* the credentials were sent */
    bool blocked;       /* connection.blocked */
    struct err why_not; /* the error of a publish while blocked */
    uint64_t last_tag;  /* of the publishing channel; starts anew with it */
    uint64_t last_ping;
    struct list publishes, binds; /* in the order in which they were asked for */
    unsigned publish_count, bind_count;
    struct timer later; /* what is refused at once is told in the next turn */
    struct timer pulse; /* heartbeats, both ways */
    struct timer farewell;
};

/* rabbitmq.c */
int rabbitmq_send(struct rabbitmq *rabbit); /* what is in out. -1: the stream is broken, and on_end is coming */
void rabbitmq_down(struct rabbitmq *rabbit, const struct err *err);

/* rabbitmq_fault.c: what a refusal means. */
void rabbitmq_refusal(const struct rabbitmq *rabbit, const struct amqp_event *event, struct err *err);

/* rabbitmq_flow.c: publishing, pings and bindings on an open connection. */
int rabbitmq_ping(struct broker *broker);
int rabbitmq_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token);
int rabbitmq_subscribe(struct broker *broker, struct slice topic);
int rabbitmq_unsubscribe(struct broker *broker, struct slice topic);
void rabbitmq_flow_init(struct rabbitmq *rabbit);
void rabbitmq_flow_drop(struct rabbitmq *rabbit); /* forgets everything that is under way */
/* Something that belongs to publishing or binding came. */
void rabbitmq_flow_event(struct rabbitmq *rabbit, const struct amqp_event *event);

#endif
