/*
 * `rabbitmq`: AMQP 0-9-1 over the common transport. This file owns the connection: dialling, login, virtual host, channels, the agent's
 * queue, heartbeats both ways, and closing; brokers/rabbitmq/rabbitmq_flow.c has publishing, bindings and messages. Called by the core
 * (agent/core/broker.h).
 *
 * The queue is exclusive, auto-delete and transient: it goes with the connection, and nothing is left behind. Topics are routing keys of
 * one exchange, which must exist.
 */
#include "brokers/rabbitmq/rabbitmq.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "brokers/registry.h"

enum {
    OUT_BYTES_MAX = BROKER_BODY_MAX + (64 << 10),
    FAREWELL_MS = 500,
    SILENT_PULSES_MAX = 4, /* two heartbeats */
    QUEUE_PREFIX_MAX = 200,
    MECHANISMS_CHARS = 80,
};

static const char *const mechanisms[] = { "plain", "external", NULL };
static const char *const mechanism_names[] = { "PLAIN", "EXTERNAL" };

int rabbitmq_send(struct rabbitmq *rabbit)
{
    int rc = rabbit->stream ? stream_write(rabbit->stream, buf_slice(&rabbit->out)) : -1;
    buf_reset(&rabbit->out);
    return rc;
}

/* --- the end --- */

static void release(struct rabbitmq *rabbit)
{
    rabbitmq_flow_drop(rabbit);
    timer_stop(&rabbit->pulse);
    if (rabbit->dial)
        dial_cancel(rabbit->dial);
    intake_stop(&rabbit->intake);
    if (rabbit->stream)
        stream_close_now(rabbit->stream);
    amqp_reader_free(rabbit->reader);
    buf_fini(&rabbit->out);
    rabbit->dial = NULL;
    rabbit->stream = NULL;
    rabbit->reader = NULL;
    rabbit->stage = STAGE_GONE;
}

/* Closes with RST, so that data still in the send buffer is not delivered after the network recovers. */
static void cut_off(struct rabbitmq *rabbit)
{
    intake_stop(&rabbit->intake);
    if (rabbit->stream)
        stream_abort(rabbit->stream);
    rabbit->stream = NULL;
}

void rabbitmq_down(struct rabbitmq *rabbit, const struct err *err)
{
    bool closing = rabbit->stage == STAGE_CLOSING;
    if (rabbit->stage == STAGE_GONE)
        return;
    release(rabbit);
    if (closing)
        timer_start(&rabbit->farewell, 0);
    else
        broker_down(rabbit->broker, err);
}

static void on_farewell(struct timer *timer, void *user)
{
    struct rabbitmq *rabbit = user;
    (void)timer;
    cut_off(rabbit);
    release(rabbit);
    broker_closed(rabbit->broker);
}

/* A broker that blocks publishers does not read, so it would not answer connection.close: no waiting for it. */
static void rabbitmq_close(struct broker *broker)
{
    struct rabbitmq *rabbit = broker_state(broker);
    bool open = rabbit->stage == STAGE_UP || rabbit->stage == STAGE_PREPARING;
    rabbitmq_flow_drop(rabbit);
    timer_stop(&rabbit->pulse);
    if (open && amqp_put_close(&rabbit->out, "bye") == 0 && rabbitmq_send(rabbit) == 0 && !rabbit->blocked) {
        rabbit->stage = STAGE_CLOSING;
        timer_start(&rabbit->farewell, FAREWELL_MS);
        return;
    }
    cut_off(rabbit);
    release(rabbit);
    timer_start(&rabbit->farewell, 0);
}

/* --- what the broker refuses --- */

static void on_refused(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    struct err err;
    rabbitmq_refusal(rabbit, event, &err);
    amqp_put_close_ok(&rabbit->out);
    rabbitmq_send(rabbit);
    rabbitmq_down(rabbit, &err);
}

/* --- the beginning: start, tune, open, then everything that a channel needs in one go --- */

/* Is the word in the list "PLAIN AMQPLAIN"? */
static bool offers(struct slice list, const char *word)
{
    while (list.len) {
        ptrdiff_t blank = slice_find(list, slice_str(" "));
        size_t len = blank < 0 ? list.len : (size_t)blank;
        if (slice_equal_str(slice_make(list.data, len), word))
            return true;
        list = slice_skip(list, len + 1);
    }
    return false;
}

static void on_start(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    const struct rabbitmq_opts *opts = broker_get_opts(rabbit->broker);
    char name[128], offered[TEXT_EXCERPT_BYTES(MECHANISMS_CHARS)];
    struct err err;
    bool named = *rabbit->url.user != 0;
    struct amqp_login login = { .mechanism = mechanism_names[opts->mechanism],
                                .user = named ? rabbit->url.user : "guest", /* as amqp URLs say */
                                .password = named ? rabbit->url.password : "guest",
                                .name = name };
    snprintf(name, sizeof name, "wshealthd %.100s", broker_get_conf(rabbit->broker)->name);
    if (!offers(event->mechanisms, login.mechanism)) {
        text_excerpt(event->mechanisms, MECHANISMS_CHARS, offered, sizeof offered);
        err_set(&err, REASON_BROKER_AUTH_FAILED, 0, "the broker offers the login mechanisms %s, want %s", offered, login.mechanism);
        rabbitmq_down(rabbit, &err);
        return;
    }
    rabbit->greeted = true;
    amqp_put_start_ok(&rabbit->out, &login); /* fits: the URL's user and password have their ceilings */
    rabbitmq_send(rabbit);
}

static void on_tune(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    const struct rabbitmq_opts *opts = broker_get_opts(rabbit->broker);
    uint16_t beat_s = (uint16_t)((opts->heartbeat_ms + 999) / 1000);
    if (beat_s > event->heartbeat_s)
        beat_s = event->heartbeat_s; /* 0: the broker wants none */
    rabbit->heartbeat_ms = (uint64_t)beat_s * 1000;
    rabbit->frame_bytes = AMQP_FRAME_BYTES_MAX;
    if (event->frame_max && event->frame_max < rabbit->frame_bytes)
        rabbit->frame_bytes = event->frame_max < AMQP_FRAME_BYTES_MIN ? AMQP_FRAME_BYTES_MIN : event->frame_max;
    rabbit->stage = STAGE_OPENING;
    amqp_put_tune_ok(&rabbit->out, CHANNELS - 1, rabbit->frame_bytes, beat_s);
    amqp_put_open(&rabbit->out, rabbit->vhost);
    rabbitmq_send(rabbit);
    if (rabbit->heartbeat_ms)
        timer_start(&rabbit->pulse, rabbit->heartbeat_ms / 2);
}

static void on_opened(struct rabbitmq *rabbit)
{
    const struct rabbitmq_opts *opts = broker_get_opts(rabbit->broker);
    char name[AMQP_NAME_MAX + 1] = "";
    uint64_t number;
    random_bytes(&number, sizeof number);
    if (opts->queue_prefix)
        snprintf(name, sizeof name, "%s%016llx", opts->queue_prefix, (unsigned long long)number);
    rabbit->stage = STAGE_PREPARING;
    amqp_put_channel_open(&rabbit->out, CHANNEL_PUBLISH);
    amqp_put_confirm_select(&rabbit->out, CHANNEL_PUBLISH);
    amqp_put_channel_open(&rabbit->out, CHANNEL_BIND);
    amqp_put_channel_open(&rabbit->out, CHANNEL_CONSUME);
    amqp_put_exchange_exists(&rabbit->out, CHANNEL_CONSUME, opts->exchange);
    amqp_put_queue_declare(&rabbit->out, CHANNEL_CONSUME, name);
    amqp_put_consume(&rabbit->out, CHANNEL_CONSUME);
    rabbitmq_send(rabbit);
}

static void on_queue(struct rabbitmq *rabbit, struct slice name)
{
    /* A short string: at most AMQP_NAME_MAX bytes. */
    snprintf(rabbit->queue, sizeof rabbit->queue, "%.*s", (int)name.len, name.len ? (const char *)name.data : "");
}

static void on_cancelled(struct rabbitmq *rabbit)
{
    struct err err;
    err_set(&err, REASON_BROKER_NOT_DELIVERING, 0, "the broker cancelled the agent's consumer: its queue was deleted or has moved");
    rabbitmq_down(rabbit, &err);
}

static void on_event(struct rabbitmq *rabbit, const struct amqp_event *event)
{
    bool open = rabbit->stage == STAGE_PREPARING || rabbit->stage == STAGE_UP;
    if (event->got == AMQP_GOT_CLOSE)
        on_refused(rabbit, event);
    else if (event->got == AMQP_GOT_CLOSE_OK && rabbit->stage == STAGE_CLOSING)
        timer_start(&rabbit->farewell, 0);
    else if (event->got == AMQP_GOT_START && rabbit->stage == STAGE_LOGIN)
        on_start(rabbit, event);
    else if (event->got == AMQP_GOT_TUNE && rabbit->stage == STAGE_LOGIN)
        on_tune(rabbit, event);
    else if (event->got == AMQP_GOT_OPEN_OK && rabbit->stage == STAGE_OPENING)
        on_opened(rabbit);
    else if (event->got == AMQP_GOT_QUEUE && rabbit->stage == STAGE_PREPARING)
        on_queue(rabbit, event->key);
    else if (event->got == AMQP_GOT_CONSUME_OK && rabbit->stage == STAGE_PREPARING) {
        rabbit->stage = STAGE_UP;
        broker_up(rabbit->broker);
    } else if (event->got == AMQP_GOT_CANCEL && open)
        on_cancelled(rabbit);
    else if (open)
        rabbitmq_flow_event(rabbit, event);
}

/* --- the transport --- */

static bool take(void *user, struct slice *data)
{
    struct rabbitmq *rabbit = user;
    struct amqp_event event;
    struct err err;
    enum amqp_progress progress = amqp_reader_feed(rabbit->reader, data, &event, &err);
    broker_oversized(rabbit->broker, amqp_reader_passed(rabbit->reader));
    if (progress == AMQP_EVENT)
        on_event(rabbit, &event);
    else if (progress == AMQP_BAD)
        rabbitmq_down(rabbit, &err);
    return progress == AMQP_EVENT;
}

static void on_data(void *user, struct slice data)
{
    struct rabbitmq *rabbit = user;
    rabbit->silent = 0;
    intake_data(&rabbit->intake, data);
}

static void on_end(void *user, const struct err *end)
{
    struct rabbitmq *rabbit = user;
    const char *why = end->reason == REASON_NONE && !*end->text ? "" : ": ";
    struct err err;
    if (rabbit->stage == STAGE_LOGIN && rabbit->greeted && end->reason == REASON_NONE)
        err_set(&err, REASON_BROKER_AUTH_FAILED, 0, "the broker closed the connection after it had received the credentials");
    else
        err_set(&err, REASON_BROKER_UNREACHABLE, end->code, "the broker closed the connection%s%s", why, end->text);
    rabbitmq_down(rabbit, &err);
}

static const struct stream_events stream_events = { .on_data = on_data, .on_end = on_end };

static void on_dialled(void *user, struct stream *stream)
{
    struct rabbitmq *rabbit = user;
    rabbit->dial = NULL;
    rabbit->stream = stream;
    rabbit->reader = amqp_reader_new(BROKER_BODY_MAX);
    rabbit->stage = STAGE_LOGIN;
    intake_start(&rabbit->intake, stream, take, rabbit);
    stream_start(stream, &stream_events, rabbit);
    amqp_put_greeting(&rabbit->out);
    rabbitmq_send(rabbit);
}

static void on_dial_fail(void *user, const struct err *dial)
{
    struct rabbitmq *rabbit = user;
    struct err err;
    rabbit->dial = NULL;
    broker_err_of_dial(dial, &err);
    rabbitmq_down(rabbit, &err);
}

static const struct dial_events dial_events = { .on_open = on_dialled, .on_fail = on_dial_fail };

/* Twice in each interval: sends a heartbeat, and counts how long the broker has been silent. It counts pulses instead of comparing times:
 * after a suspension of the agent there is one late pulse, and the broker's bytes that came meanwhile are read before the next. */
static void on_pulse(struct timer *timer, void *user)
{
    struct rabbitmq *rabbit = user;
    struct err err;
    char silence[32];
    timer_start(timer, rabbit->heartbeat_ms / 2);
    if (++rabbit->silent > SILENT_PULSES_MAX) {
        text_format_duration((int64_t)rabbit->heartbeat_ms * 2, silence, sizeof silence);
        err_set(&err, REASON_BROKER_TIMEOUT, 0, "nothing from the broker for %s, not even a heartbeat", silence);
        cut_off(rabbit);
        rabbitmq_down(rabbit, &err);
        return;
    }
    amqp_put_heartbeat(&rabbit->out);
    rabbitmq_send(rabbit);
}

/* --- opening --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path of the URL without its first slash, percent-decoded; "/" where there is none. */
static int read_vhost(const struct url *url, char *out, struct err *err)
{
    const char *p = url->target[0] == '/' ? url->target + 1 : url->target;
    size_t len = 0;
    for (; *p && *p != '?'; p++) {
        int high = *p == '%' ? hex_digit(p[1]) : -1, low = high >= 0 ? hex_digit(p[2]) : -1;
        char c = (char)(low >= 0 ? high << 4 | low : *p);
        if (len == AMQP_NAME_MAX || c == 0)
            return err_set(err, REASON_AGENT_ERROR, 0,
                           "url: the virtual host in the path, want at most %d bytes and none of them NUL", AMQP_NAME_MAX);
        out[len++] = c;
        p += low >= 0 ? 2 : 0;
    }
    out[len] = 0;
    if (len == 0)
        memcpy(out, "/", 2);
    return 0;
}

static int rabbitmq_open(struct broker *broker, struct err *err)
{
    struct rabbitmq *rabbit = broker_state(broker);
    struct loop *loop = broker_loop(broker);
    rabbit->broker = broker;
    if (broker_url(broker, &rabbit->url, err) < 0 || read_vhost(&rabbit->url, rabbit->vhost, err) < 0)
        return -1;
    buf_init(&rabbit->out, OUT_BYTES_MAX);
    rabbitmq_flow_init(rabbit);
    timer_init(&rabbit->pulse, loop, on_pulse, rabbit);
    timer_init(&rabbit->farewell, loop, on_farewell, rabbit);
    rabbit->target = (struct dial_target){ .url = &rabbit->url,
                                           .tls = rabbit->url.tls ? broker_tls(broker) : NULL,
                                           .server_name = broker_get_conf(broker)->tls.server_name };
    rabbit->stage = STAGE_DIALING;
    rabbit->dial = dial_start(loop, &rabbit->target, &dial_events, rabbit, &rabbit->report);
    return 0;
}

static int rabbitmq_validate(const struct broker_conf *conf, struct err *err)
{
    const struct rabbitmq_opts *opts = conf->opts;
    char vhost[AMQP_NAME_MAX + 1];
    struct url url;
    if (url_parse(conf->url, &url, err) < 0 || read_vhost(&url, vhost, err) < 0)
        return -1;
    if (!opts->exchange || !*opts->exchange)
        return err_set(err, REASON_NONE, 0,
                       "exchange: empty, want the name of an exchange: a message through the default one reaches a single queue");
    if (opts->mechanism == MECHANISM_EXTERNAL && !conf->tls.cert_file)
        return err_set(err, REASON_NONE, 0, "mechanism: external, want tls.cert_file, whose subject is the user");
    return 0;
}

static const struct opt rows[] = {
    { .name = "exchange",
      .kind = OPT_STRING,
      .offset = offsetof(struct rabbitmq_opts, exchange),
      .default_text = "amq.topic",
      .max = AMQP_NAME_MAX,
      .help = "the exchange that messages are published on, with the topic as routing key; it must exist" },
    { .name = "queue_prefix",
      .kind = OPT_STRING,
      .offset = offsetof(struct rabbitmq_opts, queue_prefix),
      .max = QUEUE_PREFIX_MAX,
      .help = "what the name of the agent's own exclusive queue begins with, where permissions ask for it; without it the broker "
              "names it" },
    { .name = "mechanism",
      .kind = OPT_ENUM,
      .offset = offsetof(struct rabbitmq_opts, mechanism),
      .default_text = "plain",
      .words = mechanisms,
      .help = "how to log in: with user and password of the URL, or with the client certificate" },
    { .name = "heartbeat",
      .kind = OPT_DURATION,
      .offset = offsetof(struct rabbitmq_opts, heartbeat_ms),
      .default_text = "10s",
      .max = 600000,
      .help = "interval of AMQP heartbeats, in whole seconds; the broker may shorten it, 0s turns them off" },
    { .name = "expires",
      .kind = OPT_DURATION,
      .offset = offsetof(struct rabbitmq_opts, expires_ms),
      .default_text = "60s",
      .min = 1,
      .max = 86400000,
      .help = "how long a heartbeat may wait in a queue that nobody reads before the broker drops it" },
    { 0 },
};

const struct broker_type broker_rabbitmq = {
    .name = "rabbitmq",
    .summary = "RabbitMQ, by AMQP 0-9-1; the URL's path is the virtual host",
    .schemes = "amqp amqps",
    .tls_schemes = "amqps",
    .plain_schemes = "amqp",
    .opts = rows,
    .opts_size = sizeof(struct rabbitmq_opts),
    .state_size = sizeof(struct rabbitmq),
    .validate = rabbitmq_validate,
    .open = rabbitmq_open,
    .ping = rabbitmq_ping,
    .publish = rabbitmq_publish,
    .subscribe = rabbitmq_subscribe,
    .unsubscribe = rabbitmq_unsubscribe,
    .close = rabbitmq_close,
};
