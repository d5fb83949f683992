/*
 * `kafka`: librdkafka behind the broker contract (agent/core/broker.h). This file is the loop's side: it produces, reads the events of the
 * library's queues when a mail says that there are some, and speaks to the core. kafka_topics.c has the subscriptions. Calls that may wait
 * are made on the worker's thread (kafka_worker.c).
 *
 * A publish is taken when all replicas in sync have it. A topic is subscribed when the end of each of its partitions was found: what is
 * produced from then on comes. Partitions are assigned by hand, without a group's coordination, and nothing is committed.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/budget.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "brokers/kafka/kafka.h"
#include "brokers/registry.h"

enum { EVENTS_PER_TURN = 256, US_PER_TURN = 2000, MAILS_MAX = 4096 };
enum { MAIL_BYTES_MAX = 1 << 20, REFUSALS_MAX = 4096 };

/* A publish or ping that was refused at once, to be told in the next turn. */
struct refusal {
    struct list node;
    uint64_t token; /* 0: a ping */
    struct err err;
};

/* --- the end --- */

static void drop_all(struct kafka *kafka)
{
    timer_stop(&kafka->later);
    timer_stop(&kafka->more);
    list_each_safe (node, &kafka->refusals)
        mem_free(list_entry(node, struct refusal, node));
    list_init(&kafka->refusals);
    kafka_topics_drop(kafka);
}

static void down(struct kafka *kafka, const struct err *cause)
{
    struct err err = *cause; /* a copy: cause may belong to what drop_all frees */
    if (kafka->gone)
        return;
    kafka->gone = true;
    drop_all(kafka);
    broker_down(kafka->broker, &err);
}

static void on_closed(void *user)
{
    struct kafka *kafka = user;
    kafka_client_unref(kafka->client);
    broker_closed(kafka->broker);
}

static void kafka_close(struct broker *broker)
{
    struct kafka *kafka = broker_state(broker);
    kafka->gone = true;
    drop_all(kafka);
    mailbox_close(kafka->client->box);
}

/* --- what is refused at once --- */

static void refuse(struct kafka *kafka, uint64_t token, enum reason reason, const char *text)
{
    struct refusal *refusal = mem_alloc(sizeof *refusal);
    refusal->token = token;
    err_set(&refusal->err, reason, 0, "%s", text);
    list_push(&kafka->refusals, &refusal->node);
    kafka->refusal_count++;
    timer_start(&kafka->later, 0);
}

static void report(struct kafka *kafka, uint64_t token, const struct err *err)
{
    if (token == 0)
        broker_pong(kafka->broker, err);
    else
        broker_published(kafka->broker, token, err);
}

static void on_later(struct timer *timer, void *user)
{
    struct kafka *kafka = user;
    (void)timer;
    while (!kafka->gone && !list_empty(&kafka->refusals)) {
        struct refusal *refusal = list_entry(kafka->refusals.next, struct refusal, node);
        list_remove(&refusal->node);
        kafka->refusal_count--;
        report(kafka, refusal->token, &refusal->err);
        mem_free(refusal);
    }
    kafka_topics_report(kafka);
}

/* --- publishing --- */

/* The opaque value of a message is its token; that of a ping is 0, as the core's begin with 1. */
static void produce(struct kafka *kafka, const char *topic, struct slice key, struct slice body, uint64_t token)
{
    const struct kafka_lib *lib = kafka_lib_of(kafka);
    const rd_kafka_vu_t parts[] = {
        { .vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic },
        { .vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = { (void *)(uintptr_t)body.data, body.len } },
        { .vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY },
        { .vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)token },
        { .vtype = RD_KAFKA_VTYPE_KEY, .u.mem = { (void *)(uintptr_t)key.data, key.len } },
    };
    rd_kafka_error_t *error = lib->produceva(kafka->client->producer, parts, key.len ? 5 : 4);
    if (!error)
        return;
    refuse(kafka, token, kafka_reason(lib->error_code(error)), lib->err2str(lib->error_code(error)));
    lib->error_destroy(error);
}

static int kafka_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    struct kafka *kafka = broker_state(broker);
    const struct kafka_opts *opts = broker_get_opts(broker);
    char name[KAFKA_TOPIC_MAX + 1];
    if (!kafka->up || kafka->gone || kafka->refusal_count >= REFUSALS_MAX)
        return -1;
    if (opts->topic) {
        produce(kafka, opts->topic, topic, body, token);
    } else if (topic.len > KAFKA_TOPIC_MAX) {
        refuse(kafka, token, REASON_AGENT_ERROR, "the topic is longer than a Kafka topic's name may be");
    } else {
        snprintf(name, sizeof name, "%.*s", (int)topic.len, topic.len ? (const char *)topic.data : "");
        produce(kafka, name, slice_make(NULL, 0), body, token);
    }
    return 0;
}

static int kafka_ping(struct broker *broker)
{
    struct kafka *kafka = broker_state(broker);
    const struct kafka_opts *opts = broker_get_opts(broker);
    if (!kafka->up || kafka->gone || kafka->refusal_count >= REFUSALS_MAX)
        return -1;
    if (opts->ping_topic) {
        produce(kafka, opts->ping_topic, slice_make(NULL, 0), slice_str("wshealthd ping"), 0);
        return 0;
    }
    struct kafka_mail *mail = kafka_mail_new(KAFKA_REQUEST_PING, slice_str(opts->topic ? opts->topic : ""));
    if (mailbox_send(kafka->client->box, &mail->base) == 0)
        return 0;
    kafka_mail_discard(&mail->base);
    return -1;
}

/* --- events --- */

static void on_delivered(struct kafka *kafka, const rd_kafka_message_t *message)
{
    const struct kafka_lib *lib = kafka_lib_of(kafka);
    uint64_t token = (uint64_t)(uintptr_t)message->_private;
    struct err err;
    if (message->err)
        err_set(&err, kafka_reason(message->err), message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? BROKER_HINT_ABSENT : 0,
                "the message was not taken: %s%s%s", lib->err2str(message->err), kafka->why.reason ? "; before that: " : "",
                kafka->why.reason ? kafka->why.text : "");
    else
        kafka->why.reason = REASON_NONE;
    report(kafka, token, message->err ? &err : NULL);
}

static void on_consumed(struct kafka *kafka, const rd_kafka_message_t *message)
{
    const struct kafka_opts *opts = broker_get_opts(kafka->broker);
    struct slice topic;
    if (message->err)
        return;
    if (message->len > BROKER_BODY_MAX) {
        broker_oversized(kafka->broker, 1);
        return;
    }
    topic = opts->topic ? slice_make(message->key, message->key_len) : slice_str(kafka_lib_of(kafka)->topic_name(message->rkt));
    broker_message(kafka->broker, topic, slice_make(message->payload, message->len), clock_now_ns());
}

static void on_messages(struct kafka *kafka, rd_kafka_event_t *event,
                        void (*on)(struct kafka *kafka, const rd_kafka_message_t *message))
{
    const rd_kafka_message_t *message;
    while (!kafka->gone && (message = kafka_lib_of(kafka)->event_message_next(event)))
        on(kafka, message);
}

/*
 * One broker of several may come and go. When all are gone, or the credentials are refused, this connection ends. The library looks up the
 * consumer group although the agent assigns partitions by hand and uses none: a refusal of the group is no fault.
 */
static void on_error(struct kafka *kafka, rd_kafka_event_t *event)
{
    const struct kafka_lib *lib = kafka_lib_of(kafka);
    rd_kafka_resp_err_t code = lib->event_error(event);
    rd_kafka_topic_partition_t *place = lib->event_topic_partition(event);
    struct err err;
    kafka_explain(lib, broker_get_opts(kafka->broker), code, lib->event_error_string(event), &err);
    if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF && place)
        kafka_topics_on_end(kafka, place);
    else if (!place && code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        down(kafka, kafka->why.reason ? &kafka->why : &err);
    else if (!place && code != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED) {
        kafka->why = err;
        if (err.reason == REASON_BROKER_AUTH_FAILED)
            down(kafka, &err);
    }
    if (place)
        lib->topic_partition_destroy(place);
}

static void on_event(struct kafka *kafka, rd_kafka_event_t *event)
{
    switch (kafka_lib_of(kafka)->event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        on_messages(kafka, event, on_delivered);
        return;
    case RD_KAFKA_EVENT_FETCH:
        on_messages(kafka, event, on_consumed);
        return;
    case RD_KAFKA_EVENT_ERROR:
        on_error(kafka, event);
        return;
    default:
        return;
    }
}

/* false: the queue is empty. */
static bool take_event(struct kafka *kafka, rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = queue && !kafka->gone ? kafka_lib_of(kafka)->queue_poll(queue, 0) : NULL;
    if (!event)
        return false;
    on_event(kafka, event);
    kafka_lib_of(kafka)->event_destroy(event);
    return true;
}

/* The library posts a mail only when an empty queue gets an event. So both are read until they are empty, but no longer than a turn may
 * take. */
static void take_events(struct kafka *kafka)
{
    struct budget budget = budget_of(EVENTS_PER_TURN, SIZE_MAX, US_PER_TURN);
    atomic_store(&kafka->client->nudged, false);
    for (; budget_left(&budget); budget_spend(&budget, 0)) {
        bool produced = take_event(kafka, kafka->client->producer_events);
        bool consumed = take_event(kafka, kafka->client->consumer_events);
        if (!produced && !consumed)
            return;
    }
    if (!kafka->gone)
        timer_start(&kafka->more, 0);
}

static void on_more(struct timer *timer, void *user)
{
    (void)timer;
    take_events(user);
}

/* --- mails --- */

static void on_greeted(struct kafka *kafka, const struct broker_fault *fault)
{
    struct err err;
    take_events(kafka); /* an error event of the library's explains more than the fault */
    if (fault->reason == REASON_NONE) {
        kafka->up = !kafka->gone;
        kafka->why.reason = REASON_NONE;
        if (kafka->up)
            broker_up(kafka->broker);
        return;
    }
    broker_fault_err(fault, &err);
    down(kafka, kafka->why.reason ? &kafka->why : &err);
}

static void on_pong(struct kafka *kafka, const struct broker_fault *fault)
{
    struct err err;
    if (fault->reason == REASON_NONE)
        kafka->why.reason = REASON_NONE;
    broker_pong(kafka->broker, broker_fault_err(fault, &err));
}

static void on_mail(void *user, struct mail *base)
{
    struct kafka *kafka = user;
    struct kafka_mail *mail = list_entry(base, struct kafka_mail, base);
    if (!kafka->gone) {
        switch (mail->kind) {
        case KAFKA_NEWS_EVENTS:
            take_events(kafka);
            break;
        case KAFKA_NEWS_UP:
            on_greeted(kafka, &mail->fault);
            break;
        case KAFKA_REQUEST_PING:
            on_pong(kafka, &mail->fault);
            break;
        case KAFKA_REQUEST_FOLLOW:
            kafka_topics_on_followed(kafka, mail);
            break;
        case KAFKA_REQUEST_UNFOLLOW:
            break;
        }
    }
    kafka_mail_discard(base);
}

static const struct mailbox_type mailbox_type = {
    .on_mail = on_mail,
    .on_closed = on_closed,
    .discard = kafka_mail_discard,
    .max_mails = MAILS_MAX,
    .max_bytes = MAIL_BYTES_MAX,
};

/* --- opening --- */

static int kafka_open(struct broker *broker, struct err *err)
{
    struct kafka *kafka = broker_state(broker);
    const struct broker_conf *conf = broker_get_conf(broker);
    const struct kafka_lib *lib = kafka_get_lib(err);
    struct buf url = BUF_INIT(OPT_FILE_MAX);
    struct kafka_confs confs;
    int rc = lib ? opt_expand(conf->url, &url, err) : -1;
    if (rc == 0)
        rc = kafka_confs_new(lib, conf, buf_str(&url), &confs, err);
    buf_fini(&url);
    if (rc < 0)
        return -1;
    struct mailbox *box = mailbox_new(broker_loop(broker), &mailbox_type, kafka, err);
    if (!box) {
        kafka_confs_free(lib, &confs);
        return -1;
    }
    kafka->broker = broker;
    kafka->client = mem_alloc(sizeof *kafka->client);
    kafka->client->lib = lib;
    kafka->client->box = box;
    kafka->client->confs = confs;
    kafka->client->timeout_ms = (int)(conf->timeout_ms * 9 / 10); /* ends before the core's deadline, so that the reason is known */
    list_init(&kafka->refusals);
    kafka_topics_init(kafka);
    timer_init(&kafka->later, broker_loop(broker), on_later, kafka);
    timer_init(&kafka->more, broker_loop(broker), on_more, kafka);
    /* The mailbox is open: from here on whatever is wrong is reported. */
    if (kafka_worker_start(kafka->client, err) < 0) {
        struct kafka_mail *mail = kafka_mail_new(KAFKA_NEWS_UP, slice_make(NULL, 0));
        broker_fault_set(&mail->fault, err->reason, "%.*s", BROKER_FAULT_TEXT_MAX - 1, err->text);
        mailbox_post(box, &mail->base); /* the first one: there is room */
    }
    return 0;
}

const struct broker_type broker_kafka = {
    .name = "kafka",
    .summary = "Kafka, by librdkafka; the URL lists hosts: kafka://a:9092,b:9092",
    .schemes = "kafka",
    .opts = kafka_rows,
    .opts_size = sizeof(struct kafka_opts),
    .state_size = sizeof(struct kafka),
    .validate = kafka_validate,
    .warns = kafka_warns,
    .open = kafka_open,
    .ping = kafka_ping,
    .publish = kafka_publish,
    .subscribe = kafka_subscribe,
    .unsubscribe = kafka_unsubscribe,
    .close = kafka_close,
    .end = kafka_worker_end,
};
