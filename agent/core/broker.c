/*
 * The life of a broker's connection (agent/core/broker.h): opening with a deadline, requests with theirs, subscriptions that come back after a
 * reconnect, backoff with full jitter. Called by drivers from below and by probes from above; it judges nothing. Every callback to a probe
 * runs from the loop: what can be answered at once is answered in the next turn.
 */
#include "agent/core/broker_impl.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/core/event.h"

enum { CLOSE_MAX_MS = 2000, BACKOFF_STEPS_MAX = 16, SAME_MOMENT_NS = 5 * NS_PER_MS, DROPS_QUIET_MS = 60000 };

/* --- what drivers read --- */

const struct broker_conf *broker_get_conf(const struct broker *broker)
{
    return broker->conf;
}

const void *broker_get_opts(const struct broker *broker)
{
    return broker->conf->opts;
}

void *broker_state(struct broker *broker)
{
    return broker->state;
}

struct loop *broker_loop(struct broker *broker)
{
    return broker->loop;
}

struct tls_context *broker_tls(struct broker *broker)
{
    return broker->tls;
}

int broker_url(const struct broker *broker, struct url *url, struct err *err)
{
    struct buf text = BUF_INIT(URL_TARGET_MAX);
    int rc = opt_expand(broker->conf->url, &text, err);

    if (rc == 0)
        rc = url_parse(buf_str(&text), url, err);
    if (rc < 0 && err) {
        err_prefix(err, "brokers.%s.url", broker->conf->name);
        err->reason = REASON_AGENT_ERROR;
    }
    buf_wipe(&text); /* the password in it */
    return rc;
}

void broker_err_of_dial(const struct err *dial, struct err *out)
{
    enum reason reason = dial->reason == REASON_AGENT_ERROR ? REASON_AGENT_ERROR : REASON_BROKER_UNREACHABLE;

    bool untrusted = dial->reason == REASON_TLS_CERT_UNTRUSTED || dial->reason == REASON_TLS_CERT_EXPIRED ||
                     dial->reason == REASON_TLS_CERT_NOT_YET_VALID || dial->reason == REASON_TLS_HOSTNAME_MISMATCH;

    if (dial->reason == REASON_TLS_CLIENT_CERT_REJECTED)
        reason = REASON_BROKER_AUTH_FAILED;
    err_set(out, reason, untrusted ? BROKER_HINT_UNTRUSTED : dial->code, "%s", dial->text);
}

/* --- requests --- */

static void asks_schedule(struct broker *broker)
{
    uint64_t now_ns = clock_now_ns(), due_ns = UINT64_MAX;

    list_each (node, &broker->requests) {
        const struct broker_request *request = list_entry(node, struct broker_request, node);

        if (request->due_ns < due_ns)
            due_ns = request->due_ns;
    }
    if (due_ns == UINT64_MAX)
        timer_stop(&broker->requests_due);
    else
        timer_start_ns(&broker->requests_due, due_ns > now_ns ? due_ns - now_ns : 0);
}

static void request_answer(struct broker_request *request, const struct err *err)
{
    uint64_t rtt_ns = clock_now_ns() - request->started_ns;

    list_remove(&request->node);
    request->broker = NULL;
    request->on_answer(request->user, err, rtt_ns);
}

/* All of them, those for one token, or (token 0) the probes. Requests made meanwhile are not touched. */
static void asks_answer(struct broker *broker, bool all, uint64_t token, const struct err *err)
{
    struct list answered;

    list_init(&answered);
    list_each_safe (node, &broker->requests) {
        const struct broker_request *request = list_entry(node, struct broker_request, node);

        if (all || request->token == token) {
            list_remove(node);
            list_push(&answered, node);
        }
    }
    while (!list_empty(&answered))
        request_answer(list_entry(answered.next, struct broker_request, node), err);
    asks_schedule(broker);
}

static void broker_fail(struct broker *broker, const struct err *err);

static struct broker_request *first_due(struct broker *broker, uint64_t now_ns)
{
    list_each (node, &broker->requests) {
        struct broker_request *request = list_entry(node, struct broker_request, node);

        if (request->due_ns <= now_ns)
            return request;
    }
    return NULL;
}

/* A connection that does not answer a ping is given up: a new one may work. */
static void ping_unanswered(struct broker *broker)
{
    struct err err;
    char limit[32];

    text_format_duration(broker->conf->timeout_ms, limit, sizeof limit);
    err_set(&err, REASON_BROKER_TIMEOUT, 0, "no answer from the broker within %s", limit);
    broker_fail(broker, &err);
}

static void on_ping_due(struct timer *timer, void *user)
{
    (void)timer;
    ping_unanswered(user);
}

/* Deadlines that pass together are handled as one, so that nobody judges the same fault twice. */
static bool ping_is_overdue(const struct broker *broker)
{
    return broker->pinging && clock_now_ns() + SAME_MOMENT_NS >= broker->ping_due_ns;
}

static void on_requests_due(struct timer *timer, void *user)
{
    struct broker *broker = user;
    uint64_t now_ns = clock_now_ns();
    struct broker_request *request;
    struct err err;
    char limit[32];

    (void)timer;
    while ((request = first_due(broker, now_ns))) { /* an answer may change the list: looked at from the start each time */
        if (broker->phase != BROKER_UP) {
            request_answer(request, &broker->why);
            continue;
        }
        if (request->unsent) {
            err_set(&err, REASON_BROKER_UNREACHABLE, 0, "the message could not be handed to the broker");
            request_answer(request, &err);
            continue;
        }
        if (request->token == 0 && ping_is_overdue(broker)) {
            ping_unanswered(broker);
            return;
        }
        text_format_duration((int64_t)((request->due_ns - request->started_ns) / NS_PER_MS), limit, sizeof limit);
        err_set(&err, REASON_BROKER_TIMEOUT, 0, "no answer from the broker within %s", limit);
        request_answer(request, &err);
    }
    asks_schedule(broker);
}

static void request_begin(struct broker *broker, struct broker_request *request, uint64_t token, uint64_t timeout_ms)
{
    panic_if(request->broker);
    request->broker = broker;
    request->token = token;
    request->unsent = false;
    request->started_ns = clock_now_ns();
    request->due_ns = request->started_ns + timeout_ms * NS_PER_MS;
    list_push(&broker->requests, &request->node);
}

static void ping_for_asks(struct broker *broker)
{
    bool asked = false;

    list_each (node, &broker->requests)
        asked = asked || list_entry(node, struct broker_request, node)->token == 0;
    if (!asked || broker->pinging || broker->conf->type->ping(broker) < 0)
        return;
    broker->pinging = true;
    broker->ping_due_ns = clock_now_ns() + (uint64_t)broker->conf->timeout_ms * NS_PER_MS;
    timer_start(&broker->ping_due, (uint64_t)broker->conf->timeout_ms);
}

void broker_probe(struct broker *broker, struct broker_request *request, uint64_t timeout_ms)
{
    request_begin(broker, request, 0, timeout_ms);
    if (broker->phase == BROKER_UP)
        ping_for_asks(broker);
    else if (broker->phase != BROKER_OPENING) /* while it opens, the request waits; else its owner is told why in the next turn */
        request->due_ns = request->started_ns;
    asks_schedule(broker);
}

void broker_publish(struct broker *broker, struct broker_request *request, struct slice topic, struct slice body,
                    uint64_t timeout_ms)
{
    request_begin(broker, request, ++broker->next_token, timeout_ms);
    request->unsent = broker->phase != BROKER_UP || broker->conf->type->publish(broker, topic, body, request->token) < 0;
    if (request->unsent)
        request->due_ns = request->started_ns;
    asks_schedule(broker);
}

void broker_command(struct broker *broker, struct broker_request *request, const struct slice *args, size_t count,
                    uint64_t timeout_ms)
{
    panic_if(!broker->conf->type->command || count == 0 || count > BROKER_ARGS_MAX);
    request_begin(broker, request, ++broker->next_token, timeout_ms);
    request->unsent = broker->phase != BROKER_UP || broker->conf->type->command(broker, args, count, request->token) < 0;
    if (request->unsent)
        request->due_ns = request->started_ns;
    asks_schedule(broker);
}

void broker_request_cancel(struct broker_request *request)
{
    struct broker *broker = request->broker;

    if (!broker)
        return;
    list_remove(&request->node);
    request->broker = NULL;
    asks_schedule(broker);
}

bool broker_probe_late(struct broker_request *request)
{
    struct broker *broker = request->broker;

    if (!broker || broker->phase != BROKER_UP || !ping_is_overdue(broker))
        return false;
    panic_if(request->token);
    ping_unanswered(broker);
    return true;
}

/* Whatever a driver reports while it is closing is ignored. */
void broker_pong(struct broker *broker, const struct err *err)
{
    if (broker->phase != BROKER_UP)
        return;
    broker->pinging = false;
    timer_stop(&broker->ping_due);
    asks_answer(broker, false, 0, err);
}

void broker_published(struct broker *broker, uint64_t token, const struct err *err)
{
    asks_answer(broker, false, token, err);
}

/* --- messages that were dropped --- */

void broker_dropped(struct broker *broker, uint64_t count)
{
    uint64_t now_ns = clock_now_ns();
    bool news = !broker->dropped_ns || now_ns - broker->dropped_ns >= (uint64_t)DROPS_QUIET_MS * NS_PER_MS;

    broker->dropped += count;
    broker->dropped_ns = now_ns;
    if (news)
        event_log(EVENT_BROKER_DROPS, "broker", broker->conf->name, "message",
                  "more messages come from the broker than the agent takes: some are dropped unread", NULL);
}

uint64_t broker_dropped_count(const struct broker *broker)
{
    return broker->dropped;
}

/* Counted beside the others: no heartbeat is among these, so a delivery that has not arrived is lost in spite of them. They are not logged
 * either: what others publish on a topic is no fault. */
void broker_oversized(struct broker *broker, uint64_t count)
{
    broker->oversized += count;
}

uint64_t broker_unread_count(const struct broker *broker)
{
    return broker->dropped + broker->oversized;
}

/* --- watching --- */

void broker_watch(struct broker *broker, struct broker_watcher *watch)
{
    list_push(&broker->watches, &watch->node);
}

void broker_unwatch(struct broker_watcher *watch)
{
    if (watch->node.next)
        list_remove(&watch->node);
}

static void tell_watches(struct broker *broker, bool up, const struct err *err)
{
    list_each_safe (node, &broker->watches) {
        struct broker_watcher *watch = list_entry(node, struct broker_watcher, node);

        watch->on_change(watch->user, up, err);
    }
}

bool broker_is_up(const struct broker *broker)
{
    return broker->phase == BROKER_UP;
}

bool broker_is_waiting(const struct broker *broker)
{
    return broker->phase == BROKER_WAITING || broker->phase == BROKER_CLOSING;
}

const struct err *broker_why(const struct broker *broker)
{
    return &broker->why;
}

/* --- the connection's life --- */

/* Exponential, with full jitter: agents that lost one broker together do not come back together. */
static void wait_then_open(struct broker *broker)
{
    const struct broker_conf *conf = broker->conf;
    unsigned steps = broker->failures < BACKOFF_STEPS_MAX ? broker->failures : BACKOFF_STEPS_MAX;
    int64_t ceiling_ms = conf->retry_min_ms << steps;

    if (ceiling_ms > conf->retry_max_ms)
        ceiling_ms = conf->retry_max_ms;
    broker->phase = BROKER_WAITING;
    timer_start(&broker->timer, 1 + random_below((uint32_t)ceiling_ms));
}

static void broker_open(struct broker *broker)
{
    const struct broker_type *type = broker->conf->type;

    if (type->state_size)
        memset(broker->state, 0, type->state_size);
    broker->pinging = false;
    if (type->open(broker, &broker->why) < 0) {
        broker->failures++;
        wait_then_open(broker);
        return;
    }
    broker->phase = BROKER_OPENING;
    timer_start(&broker->timer, (uint64_t)broker->conf->timeout_ms);
}

/* From opening or up: tells everybody, then closes the driver. The driver is called in the next turn, because it may be the caller. */
static void broker_fail(struct broker *broker, const struct err *err)
{
    bool was_up = broker->phase == BROKER_UP;

    if (broker->phase != BROKER_OPENING && !was_up)
        return;
    broker->why = *err;
    broker->phase = BROKER_CLOSING;
    broker->failures++;
    timer_stop(&broker->ping_due);
    timer_start(&broker->timer, 0);
    if (was_up) { /* the watches first: after an answer to a request they would judge the same fault a second time */
        tell_watches(broker, false, &broker->why);
        broker_topic_state(broker, (struct slice){ NULL, 0 }, false, &broker->why);
    }
    asks_answer(broker, true, 0, &broker->why);
}

void broker_up(struct broker *broker)
{
    if (broker->phase != BROKER_OPENING)
        return;
    broker->phase = BROKER_UP;
    broker->failures = 0;
    timer_stop(&broker->timer);
    broker_subscribe_all(broker);
    ping_for_asks(broker);
    tell_watches(broker, true, NULL);
}

void broker_down(struct broker *broker, const struct err *err)
{
    broker_fail(broker, err);
}

static void on_close_late(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    mem_panic(__FILE__, __LINE__, "a broker driver did not close"); /* the driver has not closed, so its state cannot be freed */
}

static void on_timer(struct timer *timer, void *user)
{
    struct broker *broker = user;
    struct err err;
    char limit[32];

    switch (broker->phase) {
    case BROKER_WAITING:
        broker_open(broker);
        return;
    case BROKER_OPENING:
        text_format_duration(broker->conf->timeout_ms, limit, sizeof limit);
        err_set(&err, REASON_BROKER_TIMEOUT, 0, "no connection to the broker within %s", limit);
        broker_fail(broker, &err);
        return;
    case BROKER_CLOSING:
        timer_init(timer, broker->loop, on_close_late, broker);
        timer_start(timer, CLOSE_MAX_MS);
        broker->conf->type->close(broker);
        return;
    case BROKER_UP:
        return;
    }
}

static void broker_gone(struct broker *broker)
{
    void (*on_freed)(void *user) = broker->on_freed;
    void *user = broker->freed_user;

    timer_stop(&broker->timer);
    timer_stop(&broker->requests_due);
    timer_stop(&broker->ping_due);
    tls_context_unref(broker->tls);
    mem_free(broker->state);
    mem_free(broker);
    if (on_freed)
        on_freed(user);
}

void broker_closed(struct broker *broker)
{
    panic_if(broker->phase != BROKER_CLOSING);
    timer_stop(&broker->timer);
    timer_init(&broker->timer, broker->loop, on_timer, broker);
    if (broker->ending)
        broker_gone(broker);
    else
        wait_then_open(broker);
}

struct broker *broker_new(struct loop *loop, const struct broker_conf *conf, struct tls_context *tls)
{
    struct broker *broker = mem_alloc(sizeof *broker);

    broker->loop = loop;
    broker->conf = conf;
    broker->tls = tls ? tls_context_ref(tls) : NULL;
    broker->state = conf->type->state_size ? mem_alloc(conf->type->state_size) : NULL;
    list_init(&broker->requests);
    list_init(&broker->listeners);
    list_init(&broker->watches);
    timer_init(&broker->timer, loop, on_timer, broker);
    timer_init(&broker->requests_due, loop, on_requests_due, broker);
    timer_init(&broker->ping_due, loop, on_ping_due, broker);
    err_set(&broker->why, REASON_BROKER_UNREACHABLE, 0, "still connecting to the broker");
    return broker;
}

void broker_start(struct broker *broker)
{
    broker_open(broker);
}

static void on_free_timer(struct timer *timer, void *user)
{
    (void)timer;
    broker_gone(user);
}

void broker_free(struct broker *broker, void (*on_freed)(void *user), void *user)
{
    struct err err;

    broker->ending = true;
    broker->on_freed = on_freed;
    broker->freed_user = user;
    err_set(&err, REASON_AGENT_ERROR, 0, "the agent has let go of the broker");
    if (broker->phase == BROKER_WAITING) {
        asks_answer(broker, true, 0, &err);
        timer_stop(&broker->timer);
        timer_init(&broker->timer, broker->loop, on_free_timer, broker);
        timer_start(&broker->timer, 0);
    } else if (broker->phase != BROKER_CLOSING) {
        broker_fail(broker, &err);
    }
    panic_if(!list_empty(&broker->listeners) || !list_empty(&broker->watches));
}
