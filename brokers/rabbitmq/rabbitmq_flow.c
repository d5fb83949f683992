/*
 * What flows over an open connection to RabbitMQ: publishes with the broker's confirmation, pings, bindings and the messages that come
 * back. Called by the core through brokers/rabbitmq/rabbitmq.c's table, and by that file for every event that is not the connection's own.
 *
 * A ping is a tiny message through the default exchange to the agent's own queue: it passes when the broker has confirmed it and has
 * delivered it, and nobody else sees it. An alarm (memory, disk) answers it with connection.blocked; from then until
 * connection.unblocked nothing is published, because RabbitMQ would not read it and would deliver it stale afterwards.
 *
 * Channels are used without waiting for their open-ok: the broker takes a channel's methods in order. When it closes one, the
 * driver confirms that and opens the channel again at once; the request at fault gets the broker's reason.
 */
#include "brokers/rabbitmq/rabbitmq.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"

enum { PUBLISHES_MAX = 4096, BINDS_MAX = 16384, PING_BYTES = 8 };

struct publish {
    struct list node;
    uint64_t tag;   /* the broker's number for it; 0: refused by this file */
    uint64_t token; /* the core's */
    uint64_t ping;  /* not 0: a ping, and its number */
    bool acked, back;
    bool too_long;
};

struct bind {
    struct list node;
    bool unbind, sent, too_long;
    struct slice topic; /* its bytes follow the struct */
};

static void publish_free(struct rabbitmq *rabbit, struct publish *publish)
{
    list_remove(&publish->node);
    rabbit->publish_count--;
    mem_free(publish);
}

static void bind_free(struct rabbitmq *rabbit, struct bind *bind)
{
    list_remove(&bind->node);
    rabbit->bind_count--;
    mem_free(bind);
}

/* --- reports: the record is gone before the core hears, as it may come back with the next wish --- */

static void report_publish(struct rabbitmq *rabbit, struct publish *publish, const struct err *err)
{
    uint64_t token = publish->token;
    bool ping = publish->ping != 0;
    publish_free(rabbit, publish);
    if (ping)
        broker_pong(rabbit->broker, err);
    else
        broker_published(rabbit->broker, token, err);
}

static void report_bind(struct rabbitmq *rabbit, struct bind *bind, const struct err *err)
{
    list_remove(&bind->node);
    rabbit->bind_count--;
    if (!bind->unbind)
        broker_subscribed(rabbit->broker, bind->topic, err);
    mem_free(bind);
}

static struct publish *first_publish(const struct rabbitmq *rabbit, bool (*is)(const struct publish *publish, uint64_t number),
                                     uint64_t number)
{
    list_each (node, &rabbit->publishes) {
        struct publish *publish = list_entry(node, struct publish, node);
        if (is(publish, number))
            return publish;
    }
    return NULL;
}

/* --- what is refused at once --- */

static bool is_refused(const struct publish *publish, uint64_t number)
{
    (void)number;
    return publish->tag == 0;
}

static void too_long_err(struct err *err)
{
    err_set(err, REASON_AGENT_ERROR, 0, "the topic is longer than the %d bytes of an AMQP routing key", AMQP_NAME_MAX);
}

static void on_later(struct timer *timer, void *user)
{
    struct rabbitmq *rabbit = user;
    struct publish *publish;
    struct err too_long;
    (void)timer;
    too_long_err(&too_long);
    while (rabbit->stage == STAGE_UP && (publish = first_publish(rabbit, is_refused, 0)))
        report_publish(rabbit, publish, publish->too_long ? &too_long : &rabbit->why_not);
    while (rabbit->stage == STAGE_UP) {
        struct bind *bind = NULL;
        list_each (node, &rabbit->binds)
            if (!bind && list_entry(node, struct bind, node)->too_long)
                bind = list_entry(node, struct bind, node);
        if (!bind)
            return;
        report_bind(rabbit, bind, &too_long);
    }
}

static struct publish *publish_new(struct rabbitmq *rabbit)
{
    struct publish *publish = mem_alloc(sizeof *publish);
    list_push(&rabbit->publishes, &publish->node);
    rabbit->publish_count++;
    return publish;
}

/* --- publishing --- */

static bool can_take(const struct rabbitmq *rabbit)
{
    return rabbit->stage == STAGE_UP && rabbit->publish_count < PUBLISHES_MAX;
}

/* 0: under way, or to be refused in the next turn. -1: not taken. */
static int publish_start(struct rabbitmq *rabbit, const struct amqp_message *message, uint64_t token, uint64_t ping)
{
    bool too_long = message->key.len > AMQP_NAME_MAX;
    struct publish *publish;
    if (!rabbit->blocked && !too_long) {
        buf_reset(&rabbit->out);
        if (amqp_put_publish(&rabbit->out, CHANNEL_PUBLISH, message) < 0 || rabbitmq_send(rabbit) < 0)
            return -1;
    }
    publish = publish_new(rabbit);
    publish->token = token;
    publish->ping = ping;
    publish->too_long = too_long;
    if (rabbit->blocked || too_long)
        timer_start(&rabbit->later, 0);
    else
        publish->tag = ++rabbit->last_tag;
    return 0;
}

int rabbitmq_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    struct rabbitmq *rabbit = broker_state(broker);
    const struct rabbitmq_opts *opts = broker_get_opts(broker);
    struct amqp_message message = { opts->exchange, topic, body, opts->expires_ms, rabbit->frame_bytes };
    return can_take(rabbit) ? publish_start(rabbit, &message, token, 0) : -1;
}

int rabbitmq_ping(struct broker *broker)
{
    struct rabbitmq *rabbit = broker_state(broker);
    const struct rabbitmq_opts *opts = broker_get_opts(broker);
    uint8_t number[PING_BYTES];
    if (!can_take(rabbit))
        return -1;
    rabbit->last_ping++;
    memcpy(number, &rabbit->last_ping, sizeof number);
    struct amqp_message message = { "", slice_str(rabbit->queue), slice_of(number), opts->expires_ms, rabbit->frame_bytes };
    return publish_start(rabbit, &message, 0, rabbit->last_ping);
}

static void settle(struct rabbitmq *rabbit, struct publish *publish)
{
    if (!publish->ping || (publish->acked && publish->back))
        report_publish(rabbit, publish, NULL);
}

static bool awaits_confirm(const struct publish *publish, uint64_t tag)
{
    return publish->tag != 0 && publish->tag <= tag && !publish->acked;
}

static bool is_tag(const struct publish *publish, uint64_t tag)
{
    return publish->tag == tag && !publish->acked;
}

static void on_confirm(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    struct publish *publish;
    struct err err;
    if (event->tag == 0 && !event->multiple)
        return;
    uint64_t tag = event->tag == 0 ? UINT64_MAX : event->tag; /* 0: all so far */
    err_set(&err, REASON_BROKER_BLOCKED, 0, "the broker did not take the message (basic.nack): a queue is full, or lost its node");
    while (rabbit->stage == STAGE_UP && (publish = first_publish(rabbit, event->multiple ? awaits_confirm : is_tag, tag))) {
        publish->acked = true;
        if (event->got == AMQP_GOT_NACK)
            report_publish(rabbit, publish, &err);
        else
            settle(rabbit, publish);
    }
}

static bool is_sent(const struct publish *publish, uint64_t number)
{
    (void)number;
    return publish->tag != 0;
}

/* Fails all that are open now. Requests that callbacks add meanwhile are not touched. */
static void fail_publishes(struct rabbitmq *rabbit, const struct err *err)
{
    struct list doomed = LIST_INIT(doomed);
    struct publish *publish;
    while ((publish = first_publish(rabbit, is_sent, 0))) {
        list_remove(&publish->node);
        list_push(&doomed, &publish->node);
    }
    while (!list_empty(&doomed)) {
        publish = list_entry(doomed.next, struct publish, node);
        if (rabbit->stage == STAGE_UP)
            report_publish(rabbit, publish, err);
        else
            publish_free(rabbit, publish);
    }
}

static void on_blocked(struct rabbitmq *rabbit, struct slice text)
{
    char why[ERR_TEXT_MAX / 2];
    text_excerpt(text.len ? text : slice_str("no reason given"), 120, why, sizeof why);
    rabbit->blocked = true;
    err_set(&rabbit->why_not, REASON_BROKER_BLOCKED, 0, "the broker blocks publishers (connection.blocked): %s", why);
    fail_publishes(rabbit, &rabbit->why_not);
}

/* --- bindings --- */

static void bind_send(struct rabbitmq *rabbit, struct bind *bind)
{
    const struct rabbitmq_opts *opts = broker_get_opts(rabbit->broker);
    struct amqp_binding binding = { rabbit->queue, opts->exchange, bind->topic };
    buf_reset(&rabbit->out);
    if (bind->unbind)
        amqp_put_unbind(&rabbit->out, CHANNEL_BIND, &binding);
    else
        amqp_put_bind(&rabbit->out, CHANNEL_BIND, &binding);
    bind->sent = true;
    rabbitmq_send(rabbit); /* a failure here comes back as the end of the stream */
}

static int bind_start(struct broker *broker, struct slice topic, bool unbind)
{
    struct rabbitmq *rabbit = broker_state(broker);
    if (rabbit->stage != STAGE_UP || rabbit->bind_count >= BINDS_MAX)
        return -1;
    struct bind *bind = mem_alloc(sizeof *bind + topic.len);
    if (topic.len)
        memcpy(bind + 1, topic.data, topic.len);
    bind->topic = slice_make(bind + 1, topic.len);
    bind->unbind = unbind;
    bind->too_long = topic.len > AMQP_NAME_MAX;
    list_push(&rabbit->binds, &bind->node);
    rabbit->bind_count++;
    if (bind->too_long)
        timer_start(&rabbit->later, 0);
    else
        bind_send(rabbit, bind);
    return 0;
}

int rabbitmq_subscribe(struct broker *broker, struct slice topic)
{
    return bind_start(broker, topic, false);
}

int rabbitmq_unsubscribe(struct broker *broker, struct slice topic)
{
    return bind_start(broker, topic, true);
}

static struct bind *first_bind(const struct rabbitmq *rabbit)
{
    list_each (node, &rabbit->binds)
        if (list_entry(node, struct bind, node)->sent)
            return list_entry(node, struct bind, node);
    return NULL;
}

/* --- events --- */

static void on_message(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    uint64_t received_ns = clock_now_ns(), number;
    if (event->exchange.len || !slice_equal_str(event->key, rabbit->queue)) {
        broker_message(rabbit->broker, event->key, event->body, received_ns);
        return;
    }
    if (event->body.len != sizeof number)
        return;
    memcpy(&number, event->body.data, sizeof number);
    list_each (node, &rabbit->publishes) {
        struct publish *publish = list_entry(node, struct publish, node);
        if (publish->ping && publish->ping == number) {
            publish->back = true;
            settle(rabbit, publish);
            return;
        }
    }
}

/* The broker has discarded what came after the refused method: all publishes have failed, and the bindings after the first are sent
 * again. */
static void on_channel_close(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    struct bind *bind;
    struct err err;
    rabbitmq_refusal(rabbit, event, &err);
    if (event->channel == CHANNEL_CONSUME) {
        rabbitmq_down(rabbit, &err);
        return;
    }
    buf_reset(&rabbit->out);
    amqp_put_channel_close_ok(&rabbit->out, event->channel);
    amqp_put_channel_open(&rabbit->out, event->channel);
    if (event->channel == CHANNEL_PUBLISH)
        amqp_put_confirm_select(&rabbit->out, event->channel);
    rabbitmq_send(rabbit);
    if (event->channel == CHANNEL_PUBLISH) {
        rabbit->last_tag = 0;
        fail_publishes(rabbit, &err);
        return;
    }
    bind = first_bind(rabbit);
    if (!bind)
        return;
    list_each (node, &rabbit->binds) {
        struct bind *next = list_entry(node, struct bind, node);
        if (next != bind && !next->too_long)
            bind_send(rabbit, next);
    }
    report_bind(rabbit, bind, &err);
}

void rabbitmq_flow_event(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    struct bind *bind;
    switch (event->got) {
    case AMQP_GOT_MESSAGE:
        on_message(rabbit, event);
        return;
    case AMQP_GOT_ACK:
    case AMQP_GOT_NACK:
        on_confirm(rabbit, event);
        return;
    case AMQP_GOT_BIND_OK:
    case AMQP_GOT_UNBIND_OK:
        bind = first_bind(rabbit);
        if (bind)
            report_bind(rabbit, bind, NULL);
        return;
    case AMQP_GOT_BLOCKED:
        on_blocked(rabbit, event->text);
        return;
    case AMQP_GOT_UNBLOCKED:
        rabbit->blocked = false;
        return;
    case AMQP_GOT_CHANNEL_CLOSE:
        on_channel_close(rabbit, event);
        return;
    default:
        return;
    }
}

void rabbitmq_flow_init(struct rabbitmq *rabbit)
{
    list_init(&rabbit->publishes);
    list_init(&rabbit->binds);
    timer_init(&rabbit->later, broker_loop(rabbit->broker), on_later, rabbit);
}

void rabbitmq_flow_drop(struct rabbitmq *rabbit)
{
    timer_stop(&rabbit->later);
    while (!list_empty(&rabbit->publishes))
        publish_free(rabbit, list_entry(rabbit->publishes.next, struct publish, node));
    while (!list_empty(&rabbit->binds))
        bind_free(rabbit, list_entry(rabbit->binds.next, struct bind, node));
}
