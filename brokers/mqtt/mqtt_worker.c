/*
 * The thread of one MQTT connection: it owns every call of libmosquitto but those that open and close the library. Started by mqtt.c when a
 * broker opens, it connects once, then waits in poll for the socket and for its eventfd, carries out what is in its mailbox, and answers
 * each request when the broker has acknowledged it or the request's time is over. It ends when its mailbox is closed.
 *
 * The library's own threaded loop was not taken: it reconnects by itself and sends what was not acknowledged again. Its select-based loop
 * refuses descriptors from 1,024 on, which an agent that holds many connections has.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/thread.h"
#include "brokers/mqtt/mqtt.h"

enum {
    QOS = 1,
    TICK_MS = 50,
    END_WAIT_MS = 2500,
    TURN_MAILS = 64,
    TURN_PACKETS = 64,
};

struct mqtt_link {
    struct mailbox *box;
    int wake;
    unsigned refs; /* guarded by the lock */
};

enum life { CONNECTING, UP, OVER };

struct worker {
    struct mqtt_link *link;
    struct mqtt_plan *plan;
    struct mosquitto *client;
    enum mqtt_protocol protocol;
    enum life life;
    bool refused_version;
    uint64_t deadline_ns; /* of connecting */
    struct list pending;  /* requests that the broker has not acknowledged */
    struct mqtt_wire wire;
    char last_log[BROKER_FAULT_TEXT_MAX / 2];
    struct broker_fault fault; /* why life is OVER; REASON_NONE: not reported */
};

struct pending {
    struct list node;
    int id; /* packet identifier */
    uint64_t due_ns;
    struct broker_mail *mail;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned worker_count;
static bool used;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* --- the link --- */

struct mqtt_link *mqtt_link_new(struct mailbox *box, struct err *err)
{
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0) {
        err_set(err, REASON_AGENT_ERROR, errno, "cannot make an eventfd: %s", strerror(errno));
        return NULL;
    }
    struct mqtt_link *link = mem_alloc(sizeof *link);
    link->box = mailbox_ref(box);
    link->wake = wake;
    link->refs = 1;
    return link;
}

void mqtt_link_wake(struct mqtt_link *link)
{
    (void)!eventfd_write(link->wake, 1); /* EAGAIN: the counter is full, so the thread is awake */
}

void mqtt_link_unref(struct mqtt_link *link)
{
    pthread_mutex_lock(&lock);
    bool last = --link->refs == 0;
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    mailbox_unref(link->box);
    close(link->wake);
    mem_free(link);
}

/* --- answers --- */

static void answer_mail(struct worker *worker, struct broker_mail *mail)
{
    mail->base.owed = true;
    broker_mail_post(worker->link->box, mail);
}

static void end_with(struct worker *worker, enum reason reason, const char *what)
{
    if (worker->life == OVER)
        return;
    worker->life = OVER;
    broker_fault_set(&worker->fault, reason, "%s%s%s", what, what[0] != '\0' ? " " : "", worker->plan->where);
}

/* A broker of 3.1.1 that does not know 5 may close without a CONNACK (3.1.2.2), or send a CONNACK of 3.1.1. That one has no properties, and
 * libmosquitto 2.0.21 ends with an error of the protocol there, without calling on_connect. */
static bool knows_no_5(const struct worker *worker, int code)
{
    if (worker->protocol != MQTT_PROTOCOL_5 || worker->life != CONNECTING)
        return false;
    return code == MOSQ_ERR_MALFORMED_PACKET || code == MOSQ_ERR_PROTOCOL ||
           (code == MOSQ_ERR_CONN_LOST && !worker->plan->tls && worker->last_log[0] == '\0');
}

static void end_by_code(struct worker *worker, int code)
{
    if (worker->life == OVER)
        return;
    worker->refused_version = worker->refused_version || knows_no_5(worker, code);
    /* In TLS 1.3 the handshake is over for us before the broker has seen our certificate, and whether its alert or the end of the
     * connection is noticed first is chance. */
    bool hung_up = worker->plan->tls && worker->life == CONNECTING && worker->wire.heard && worker->last_log[0] == '\0' &&
                   (code == MOSQ_ERR_CONN_LOST || code == MOSQ_ERR_ERRNO);
    worker->life = OVER;
    if (hung_up)
        broker_fault_set(&worker->fault, REASON_BROKER_AUTH_FAILED,
                         "%s hung up right after the TLS handshake: it refuses the client certificate, or wants one",
                         worker->plan->where);
    else
        mqtt_fault_of(worker->plan, code, worker->last_log, &worker->fault);
}

static struct pending *find_pending(struct worker *worker, int id, bool subscription)
{
    list_each (node, &worker->pending) {
        struct pending *pending = list_entry(node, struct pending, node);
        if (pending->id == id && (pending->mail->kind == MAIL_SUBSCRIBE) == subscription)
            return pending;
    }
    return NULL;
}

static void settle(struct worker *worker, struct pending *pending)
{
    list_remove(&pending->node);
    answer_mail(worker, pending->mail);
    mem_free(pending);
}

static void expire(struct worker *worker)
{
    uint64_t now = now_ns();
    list_each_safe (node, &worker->pending) {
        struct pending *pending = list_entry(node, struct pending, node);
        if (pending->due_ns > now)
            continue;
        broker_fault_set(&pending->mail->fault, REASON_BROKER_TIMEOUT, "%s has not acknowledged in time", worker->plan->where);
        settle(worker, pending);
    }
}

/* --- callbacks of the library, on this thread --- */

/* A whole packet has come. */
static void note_progress(struct worker *worker)
{
    worker->wire.unanswered = 0;
}

static void on_connect(struct mosquitto *client, void *user, int code)
{
    struct worker *worker = user;
    (void)client;
    note_progress(worker);
    if (code == 0 && worker->life == CONNECTING) {
        worker->life = UP;
        worker->last_log[0] = '\0';
        broker_mail_post(worker->link->box, broker_mail_news(MAIL_UP));
    } else if (code != 0 && worker->life != OVER) {
        worker->life = OVER;
        worker->refused_version = worker->protocol == MQTT_PROTOCOL_5 &&
                                  (code == CONNACK_REFUSED_PROTOCOL_VERSION || code == MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION);
        mqtt_fault_of_connack(worker->plan, worker->protocol, code, &worker->fault);
    }
}

static void on_disconnect(struct mosquitto *client, void *user, int code)
{
    struct worker *worker = user;
    (void)client;
    end_by_code(worker, code);
}

static void on_publish(struct mosquitto *client, void *user, int id, int code, const mosquitto_property *properties)
{
    struct worker *worker = user;
    struct pending *pending = find_pending(worker, id, false);
    (void)client;
    (void)properties;
    note_progress(worker);
    if (!pending)
        return;
    /* A ping tests whether the broker takes messages at all. "Not authorized" for this topic is an answer, so it passes. */
    if (pending->mail->kind == MAIL_PUBLISH || code != MQTT_RC_NOT_AUTHORIZED)
        mqtt_fault_of_puback(worker->plan, pending->mail->kind == MAIL_PING ? worker->plan->ping_topic : pending->mail->topic, code,
                             &pending->mail->fault);
    settle(worker, pending);
}

static void on_subscribe(struct mosquitto *client, void *user, int id, int count, const int *granted)
{
    struct worker *worker = user;
    struct pending *pending = find_pending(worker, id, true);
    (void)client;
    note_progress(worker);
    if (!pending)
        return;
    if (count < 1 || granted[0] >= 128)
        broker_fault_set(&pending->mail->fault, REASON_BROKER_AUTH_FAILED, "%s refused the subscription to '%s'",
                         worker->plan->where, pending->mail->topic);
    settle(worker, pending);
}

static void on_message(struct mosquitto *client, void *user, const struct mosquitto_message *message)
{
    struct worker *worker = user;
    (void)client;
    note_progress(worker);
    if (message->payloadlen >= 0)
        broker_mail_message(worker->link->box, message->topic, slice_make(message->payload, (size_t)message->payloadlen));
}

static void on_log(struct mosquitto *client, void *user, int level, const char *text)
{
    struct worker *worker = user;
    (void)client;
    if (level == MOSQ_LOG_ERR)
        snprintf(worker->last_log, sizeof worker->last_log, "%s", text);
}

/* --- requests --- */

static int carry_out(struct worker *worker, struct broker_mail *mail, int *id)
{
    switch (mail->kind) {
    case MAIL_PING:
        return MQTT(publish)(worker->client, id, worker->plan->ping_topic, 0, "", QOS, false);
    case MAIL_PUBLISH:
        if (MQTT(pub_topic_check)(mail->topic) != MOSQ_ERR_SUCCESS)
            return MOSQ_ERR_INVAL;
        return MQTT(publish)(worker->client, id, mail->topic, (int)mail->body.len, mail->body.data, QOS, false);
    case MAIL_SUBSCRIBE:
        if (MQTT(sub_topic_check)(mail->topic) != MOSQ_ERR_SUCCESS)
            return MOSQ_ERR_INVAL;
        return MQTT(subscribe)(worker->client, id, mail->topic, QOS);
    default:
        return MQTT(unsubscribe)(worker->client, id, mail->topic);
    }
}

static void carry(struct worker *worker, struct broker_mail *mail)
{
    int id = 0;
    uint64_t due_ns = mail->at_ns + (uint64_t)worker->plan->timeout_ms * NS_PER_MS;
    /* A heartbeat that is late already is not sent: it would be counted as late a second time. */
    int rc = due_ns <= now_ns() ? MOSQ_ERR_KEEPALIVE : carry_out(worker, mail, &id);
    if (mail->kind == MAIL_UNSUBSCRIBE) {
        broker_mail_discard(&mail->base);
        return;
    }
    if (rc == MOSQ_ERR_SUCCESS) {
        struct pending *pending = mem_alloc(sizeof *pending);
        pending->id = id;
        pending->due_ns = due_ns;
        pending->mail = mail;
        list_push(&worker->pending, &pending->node);
        return;
    }
    if (rc == MOSQ_ERR_INVAL || rc == MOSQ_ERR_MALFORMED_UTF8)
        broker_fault_set(&mail->fault, REASON_AGENT_ERROR, "'%s' is not a topic of MQTT", mail->topic);
    else if (rc == MOSQ_ERR_KEEPALIVE)
        broker_fault_set(&mail->fault, REASON_BROKER_TIMEOUT, "%s has not acknowledged in time", worker->plan->where);
    else
        mqtt_fault_of(worker->plan, rc, "", &mail->fault);
    answer_mail(worker, mail);
}

static void carry_all(struct worker *worker)
{
    eventfd_t count;
    (void)!eventfd_read(worker->link->wake, &count);
    for (int i = 0; worker->life == UP; i++) {
        struct mail *next = i < TURN_MAILS ? mailbox_take_now(worker->link->box) : NULL;
        if (!next) {
            if (i == TURN_MAILS) /* the broker's answers have their turn first */
                mqtt_link_wake(worker->link);
            return;
        }
        carry(worker, list_entry(next, struct broker_mail, base));
    }
}

/* --- the loop of this thread --- */

static void pump_both(struct worker *worker)
{
    int rc = mqtt_wire_read(&worker->wire);
    if (rc == MOSQ_ERR_OVERSIZE_PACKET)
        end_with(worker, REASON_BROKER_UNREACHABLE, "more than 2 MiB without one whole answer or message came from");
    else if (rc != MOSQ_ERR_SUCCESS)
        end_by_code(worker, rc);
    rc = mqtt_wire_write(&worker->wire);
    if (rc != MOSQ_ERR_SUCCESS)
        end_by_code(worker, rc);
}

static bool readable(int fd)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    return fd >= 0 && poll(&ready, 1, 0) == 1;
}

/* What has arrived for the library, packet by packet; TLS goes on by reading, too. */
static int let_it_read(struct worker *worker)
{
    int rc = MOSQ_ERR_SUCCESS;
    bool handshake = worker->plan->tls && worker->life == CONNECTING;
    for (int i = 0; rc == MOSQ_ERR_SUCCESS && worker->life != OVER && i < TURN_PACKETS; i++) {
        if (!readable(MQTT(socket)(worker->client)) && !(handshake && i == 0))
            break;
        rc = MQTT(loop_read)(worker->client, 1);
    }
    return rc;
}

static void wait_for_work(const struct worker *worker)
{
    bool idle = worker->life == UP && list_empty(&worker->pending);
    mqtt_wire_wait(&worker->wire, MQTT(socket)(worker->client), worker->link->wake, idle ? TICK_MS * 20 : TICK_MS);
}

static void take_turn(struct worker *worker)
{
    wait_for_work(worker);
    int error = mqtt_wire_check(&worker->wire);
    if (error != 0) {
        errno = error;
        end_by_code(worker, MOSQ_ERR_ERRNO);
    }
    if (!worker->wire.reached || worker->life == OVER)
        return;
    pump_both(worker);
    if (worker->life == OVER)
        return;
    int rc = let_it_read(worker);
    if (rc == MOSQ_ERR_SUCCESS && worker->life != OVER)
        rc = MQTT(loop_write)(worker->client, 1);
    if (rc == MOSQ_ERR_SUCCESS && worker->life == UP)
        rc = MQTT(loop_misc)(worker->client);
    if (rc != MOSQ_ERR_SUCCESS)
        end_by_code(worker, rc);
    else if (worker->life != OVER && MQTT(socket)(worker->client) < 0)
        end_by_code(worker, MOSQ_ERR_CONN_LOST);
    mqtt_wire_write(&worker->wire);
}

static void converse(struct worker *worker)
{
    if (mqtt_wire_take(&worker->wire, MQTT(socket)(worker->client)) < 0) {
        worker->life = OVER;
        broker_fault_set(&worker->fault, REASON_AGENT_ERROR, "cannot make a socket pair: %s", strerror(errno));
        return;
    }
    while (worker->life != OVER && !mailbox_closed(worker->link->box)) {
        take_turn(worker);
        carry_all(worker);
        expire(worker);
        if (worker->life == CONNECTING && now_ns() > worker->deadline_ns)
            end_with(worker, REASON_BROKER_TIMEOUT,
                     worker->wire.reached ? "connected, but no answer to CONNECT came from"
                                          : "no answer to the connection attempt from");
    }
}

/* What is not acknowledged must not reach the broker later, when the way is free again: the connection is then reset. */
static void close_client(struct worker *worker)
{
    if (worker->life == UP && list_empty(&worker->pending)) {
        MQTT(disconnect)(worker->client);
        MQTT(loop_write)(worker->client, 1);
        mqtt_wire_write(&worker->wire);
    } else {
        mqtt_wire_reset_on_close(&worker->wire);
    }
    worker->life = OVER;
    MQTT(destroy)(worker->client);
    worker->client = NULL;
    mqtt_wire_close(&worker->wire);
}

static void connect_once(struct worker *worker, enum mqtt_protocol protocol)
{
    worker->protocol = protocol;
    worker->life = CONNECTING;
    worker->refused_version = false;
    mqtt_wire_init(&worker->wire);
    worker->last_log[0] = '\0';
    worker->client = mqtt_client_new(worker->plan, protocol, worker, &worker->fault);
    if (!worker->client)
        return;
    MQTT(connect_callback_set)(worker->client, on_connect);
    MQTT(disconnect_callback_set)(worker->client, on_disconnect);
    MQTT(publish_v5_callback_set)(worker->client, on_publish);
    MQTT(subscribe_callback_set)(worker->client, on_subscribe);
    MQTT(message_callback_set)(worker->client, on_message);
    MQTT(log_callback_set)(worker->client, on_log);
    if (mqtt_client_connect(worker->client, worker->plan, worker->last_log, &worker->fault) == 0)
        converse(worker);
    close_client(worker);
}

static void say_down(struct worker *worker)
{
    struct broker_mail *mail = broker_mail_news(MAIL_DOWN);
    mail->fault = worker->fault;
    broker_mail_post(worker->link->box, mail);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    enum mqtt_protocol wanted = worker->plan->protocol;
    worker->deadline_ns = now_ns() + (uint64_t)worker->plan->timeout_ms * NS_PER_MS;
    connect_once(worker, wanted == MQTT_PROTOCOL_AUTO ? MQTT_PROTOCOL_5 : wanted);
    if (worker->refused_version && wanted == MQTT_PROTOCOL_AUTO && !mailbox_closed(worker->link->box)) {
        worker->fault = (struct broker_fault){ 0 };
        connect_once(worker, MQTT_PROTOCOL_311);
    }
    say_down(worker); /* a closed mailbox discards it */
    list_each_safe (node, &worker->pending) {
        struct pending *pending = list_entry(node, struct pending, node);
        list_remove(node);
        broker_mail_discard(&pending->mail->base);
        mem_free(pending);
    }
    thread_release();
    mqtt_link_unref(worker->link);
    mqtt_plan_free(worker->plan);
    mem_free(worker);
    pthread_mutex_lock(&lock);
    worker_count--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

int mqtt_worker_start(struct mqtt_link *link, struct mqtt_plan *plan, struct err *err)
{
    struct worker *worker = mem_alloc(sizeof *worker);
    worker->link = link;
    worker->plan = plan;
    list_init(&worker->pending);
    pthread_mutex_lock(&lock);
    bool full = worker_count >= MQTT_WORKERS_MAX;
    used = true;
    worker_count += !full;
    link->refs += !full;
    pthread_mutex_unlock(&lock);
    int status = full ? 0 : thread_start(run_worker, worker);
    if (!full && status == 0)
        return 0;
    if (!full) {
        pthread_mutex_lock(&lock);
        worker_count--;
        link->refs--; /* the caller has its own */
        pthread_mutex_unlock(&lock);
    }
    mqtt_plan_free(plan);
    mem_free(worker);
    if (full)
        return err_set(err, REASON_AGENT_ERROR, 0, "%d connections to MQTT are still being closed", MQTT_WORKERS_MAX);
    return err_set(err, REASON_AGENT_ERROR, status, "cannot start a thread: %s", strerror(status));
}

void mqtt_worker_end(void)
{
    bool idle = false;
    for (uint64_t deadline_ns = now_ns() + END_WAIT_MS * NS_PER_MS; !idle && now_ns() < deadline_ns;) {
        pthread_mutex_lock(&lock);
        idle = worker_count == 0;
        pthread_mutex_unlock(&lock);
        if (!idle)
            poll(NULL, 0, 5);
    }
    /* While a worker is still inside the library it must not be closed. The process is about to end anyway. */
    if (used && idle)
        mqtt_lib_end();
}
