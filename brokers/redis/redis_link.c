/*
 * One connection to a Redis server (brokers/redis/redis.h): dial, greeting (AUTH, SELECT, CLIENT SETNAME), commands in one write for each
 * turn of the loop, and replies to their requests in order. Called by the other files of the driver. Commands that come before the
 * connection is open wait for it. Owns no deadline. A lost connection fails the driver; its memory stays until the driver has closed.
 */
#include "brokers/redis/redis.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"

enum { ARGS_MAX = 8, OUT_KEPT_MAX = 4096 };

/* --- requests --- */

struct redis_request *redis_request_new(redis_reply_fn *on_reply)
{
    struct redis_request *request = mem_alloc(sizeof *request);
    list_init(&request->node);
    request->on_reply = on_reply;
    buf_init(&request->command, REDIS_OUT_MAX);
    return request;
}

void redis_request_free(struct redis_request *request)
{
    list_remove(&request->node);
    mem_free(request->topic);
    buf_fini(&request->command);
    mem_free(request);
}

void redis_ignore(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    (void)link;
    (void)request;
    (void)reply;
}

/* A request is not to wait for the messages before its reply. */
static void rest_end(struct redis_link *link)
{
    if (!link->resting)
        return;
    link->resting = false;
    timer_stop(&link->rested);
    stream_resume(link->stream);
}

/* The server reads no more, or the connection has ended and on_end has not been called yet. */
static void cannot_write(struct redis_link *link)
{
    struct err err;
    err_set(&err, REASON_BROKER_TIMEOUT, 0, "%s does not take what is sent: %u commands wait for an answer", link->name,
            link->waiting);
    redis_fail_later(link->redis, &err);
}

void redis_repush(struct redis_link *link, struct redis_request *request)
{
    list_remove(&request->node);
    list_push(&link->requests, &request->node);
    rest_end(link);
    if (++link->waiting > REDIS_REQUESTS_MAX || buf_append_slice(&link->out, buf_slice(&request->command)))
        cannot_write(link);
    if (!request->routed)
        buf_fini(&request->command);
}

void redis_push(struct redis_link *link, struct redis_request *request, const struct slice *args, size_t count)
{
    if (resp_command(&request->command, args, count))
        cannot_write(link);
    redis_repush(link, request);
}

void redis_say(struct redis_link *link, redis_reply_fn *on_reply, const char *const *args)
{
    struct slice slices[ARGS_MAX];
    size_t count = 0;
    for (; args[count]; count++) {
        panic_if(count == ARGS_MAX);
        slices[count] = slice_str(args[count]);
    }
    redis_push(link, redis_request_new(on_reply), slices, count);
}

static void link_flush(struct redis_link *link)
{
    if (!link->stream || link->out.len == 0)
        return;
    if (stream_write(link->stream, buf_slice(&link->out)))
        cannot_write(link);
    if (link->out.cap > OUT_KEPT_MAX)
        buf_fini(&link->out);
    else
        buf_reset(&link->out);
}

void redis_flush(struct redis *redis)
{
    list_each (node, &redis->links)
        link_flush(list_entry(node, struct redis_link, node));
}

/* --- greeting --- */

static void on_auth(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct err err;
    (void)request;
    if (resp_is_status(reply, "OK"))
        return;
    redis_judge(link, REDIS_DO_AUTH, reply, &err);
    redis_fail(link->redis, &err);
}

static void on_select(struct redis_link *link, struct redis_request *request, const struct resp_reply *reply)
{
    struct err err;
    (void)request;
    if (resp_is_status(reply, "OK") ||
        redis_error_is(reply, "NOAUTH")) /* NOAUTH: the commands that follow fail with a better sentence */
        return;
    redis_judge(link, REDIS_DO_SELECT, reply, &err);
    redis_fail(link->redis, &err);
}

static void greet(struct redis_link *link)
{
    const struct redis *redis = link->redis;
    const char *user = redis->url.user, *password = redis->url.password;
    char database[24];
    if (link->use == REDIS_ASK_SENTINEL) {
        user = redis->opts->sentinel.user ? redis->opts->sentinel.user : "";
        password = redis->sentinel_password;
    }
    if (*user)
        redis_say(link, on_auth, (const char *const[]){ "AUTH", user, password, NULL });
    else if (*password)
        redis_say(link, on_auth, (const char *const[]){ "AUTH", password, NULL });
    redis_say(link, redis_ignore, (const char *const[]){ "CLIENT", "SETNAME", "wshealthd", NULL });
    if (link->use != REDIS_COMMANDS || redis->database == 0)
        return;
    snprintf(database, sizeof database, "%ld", redis->database);
    redis_say(link, on_select, (const char *const[]){ "SELECT", database, NULL });
}

/* --- replies --- */

/* Once Sentinel has named the master, its connection is not needed: another Sentinel is asked at the next failover. */
static void link_lost(struct redis_link *link, const struct err *err)
{
    if (link->use == REDIS_ASK_SENTINEL && *link->redis->master)
        redis_link_close(link);
    else
        redis_fail(link->redis, err);
}

static void take_message(struct redis_link *link, const struct resp_reply *reply, uint64_t received_ns)
{
    const struct resp_reply *topic = resp_item(reply, 1), *body = resp_item(reply, 2);
    if (!topic || !body)
        return;
    if (link->use == REDIS_ASK_SENTINEL)
        redis_sentinel_message(link, reply);
    else
        broker_message(link->redis->broker, resp_text(topic), resp_text(body), received_ns);
}

/* A cluster ends a subscription when its slot has moved to another node. A new subscription finds that node. */
static bool taken_back(struct redis_link *link, const struct resp_reply *reply)
{
    const struct redis_request *next =
        list_empty(&link->requests) ? NULL : list_entry(link->requests.next, struct redis_request, node);
    struct err err;
    if (!resp_item_is(reply, 0, "sunsubscribe") || !resp_item(reply, 1))
        return false;
    if (next && next->unsubscribes && resp_item_is(reply, 1, next->topic))
        return false;
    err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s no longer has the channel: its slot has moved to another node", link->name);
    link_lost(link, &err);
    return true;
}

static void take_reply(struct redis_link *link, const struct resp_reply *reply, uint64_t received_ns)
{
    struct redis_request *request;
    struct err err;
    link->answered = true;
    link->taken++;
    if (resp_item_is(reply, 0, "message") || resp_item_is(reply, 0, "smessage")) {
        take_message(link, reply, received_ns);
        return;
    }
    if (taken_back(link, reply))
        return;
    if (redis_error_is(reply, "ERR max number of clients") || redis_error_is(reply, "DENIED")) {
        redis_judge(link, REDIS_DO_PING, reply, &err);
        link_lost(link, &err);
        return;
    }
    if (list_empty(&link->requests)) {
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s sends a reply without a request", link->name);
        link_lost(link, &err);
        return;
    }
    request = list_entry(link->requests.next, struct redis_request, node);
    list_remove(&request->node);
    link->waiting--;
    if (request->routed && redis_redirect(link, request, reply))
        return;
    request->on_reply(link, request, reply);
    redis_request_free(request);
}

/* Handles one reply, and sends at once what the driver says in answer: further replies may wait for the next turn. */
static bool take(void *user, struct slice *data)
{
    struct redis_link *link = user;
    struct resp_reply *reply;
    struct err err;
    int got = resp_reader_next(link->reader, data, &reply, &err);
    broker_oversized(link->redis->broker, resp_reader_passed(link->reader));
    if (got == 1) {
        take_reply(link, reply, clock_now_ns());
        resp_reply_free(reply);
    } else if (got < 0) {
        err_prefix(&err, "%s", link->name);
        err.reason = REASON_BROKER_UNREACHABLE;
        link_lost(link, &err);
    }
    redis_flush(link->redis);
    return got == 1;
}

/* The turn that has brought messages is over, and all that was there has been read; or so is the rest. Nothing rests while a reply is awaited,
 * or the budget of a turn has left something over. */
static void on_rested(struct timer *timer, void *user)
{
    struct redis_link *link = user;
    size_t taken = link->taken;
    unsigned ms;
    if (link->resting) {
        rest_end(link);
        return;
    }
    link->taken = 0;
    if (link->waiting || link->intake.rest.len || !broker_topic_in_batches(link->redis->broker, slice_str(NULL)))
        return;
    ms = rest_after_ms(&link->rest, taken, clock_now_ms());
    if (!ms)
        return;
    link->resting = true;
    stream_pause(link->stream);
    timer_start(timer, ms);
}

static void on_data(void *user, struct slice data)
{
    struct redis_link *link = user;
    intake_data(&link->intake, data);
    if (link->use == REDIS_PUBSUB && link->taken && link->stream && !timer_active(&link->rested))
        timer_start(&link->rested, 0);
}

static void on_end(void *user, const struct err *cause)
{
    struct redis_link *link = user;
    const char *how = cause->reason == REASON_NONE ? "closed" : "reset";
    struct err err;
    if (cause->reason == REASON_TLS_HANDSHAKE_FAILED ||
        cause->reason == REASON_TLS_CLIENT_CERT_REJECTED) /* with TLS 1.3 a client certificate is refused only now */
        err_set(&err, link->answered ? REASON_BROKER_UNREACHABLE : REASON_BROKER_AUTH_FAILED, 0, "%s: %s", link->name, cause->text);
    else if (!link->answered)
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s %s the connection without an answer%s", link->name, how,
                link->url.tls ? "" : "; if its port is for TLS, want rediss://");
    else
        err_set(&err, REASON_BROKER_UNREACHABLE, 0, "%s has %s the connection", link->name, how);
    link_lost(link, &err);
    redis_flush(link->redis);
}

/* --- the connection --- */

static void on_dial_open(void *user, struct stream *stream)
{
    static const struct stream_events events = { .on_data = on_data, .on_end = on_end };
    struct redis_link *link = user;
    link->dial = NULL;
    link->stream = stream;
    stream_set_max_pending(stream, REDIS_OUT_MAX);
    intake_start(&link->intake, stream, take, link);
    timer_init(&link->rested, link->redis->loop, on_rested, link);
    stream_start(stream, &events, link);
    link_flush(link);
}

static void on_dial_fail(void *user, const struct err *cause)
{
    struct redis_link *link = user;
    struct err err;
    link->dial = NULL;
    broker_err_of_dial(cause, &err);
    err_prefix(&err, "%s", link->use == REDIS_ASK_SENTINEL ? "Sentinel" : "Redis");
    link_lost(link, &err);
    redis_flush(link->redis);
}

static void set_name(struct redis_link *link)
{
    const char *what = link->use == REDIS_ASK_SENTINEL ? "Sentinel" : "Redis";
    bool v6 = strchr(link->url.host, ':');
    if (link->url.is_unix)
        snprintf(link->name, sizeof link->name, "%s at %s", what, link->url.unix_path);
    else
        snprintf(link->name, sizeof link->name, "%s at %s%s%s:%u", what, v6 ? "[" : "", link->url.host, v6 ? "]" : "",
                 link->url.port);
}

struct redis_link *redis_link_open(struct redis *redis, const struct url *url, enum redis_use use)
{
    static const struct dial_events events = { on_dial_open, on_dial_fail };
    struct redis_link *link = mem_alloc(sizeof *link);
    link->redis = redis;
    link->use = use;
    link->url = *url;
    set_name(link);
    list_init(&link->requests);
    buf_init(&link->out, REDIS_OUT_MAX);
    link->reader = resp_reader_new(BROKER_REPLY_MAX);
    if (use == REDIS_PUBSUB)
        resp_reader_pass_over(link->reader);
    link->target.url = &link->url;
    link->target.tls = url->tls ? broker_tls(redis->broker) : NULL;
    link->target.server_name = broker_get_conf(redis->broker)->tls.server_name;
    list_push(&redis->links, &link->node);
    greet(link);
    link->dial = dial_start(redis->loop, &link->target, &events, link, &link->report);
    return link;
}

/* With requests unanswered it closes with RST, so that data still in the send buffer is not delivered after the network recovers. */
void redis_link_close(struct redis_link *link)
{
    if (link->dial)
        dial_cancel(link->dial);
    intake_stop(&link->intake);
    timer_stop(&link->rested);
    link->resting = false;
    if (link->stream && list_empty(&link->requests))
        stream_close_now(link->stream);
    else if (link->stream)
        stream_abort(link->stream);
    link->dial = NULL;
    link->stream = NULL;
    link->dead = true;
}

void redis_links_close(struct redis *redis)
{
    list_each (node, &redis->links)
        redis_link_close(list_entry(node, struct redis_link, node));
}

void redis_links_free(struct redis *redis)
{
    list_each_safe (node, &redis->links) {
        struct redis_link *link = list_entry(node, struct redis_link, node);
        redis_link_close(link);
        list_each_safe (waiting, &link->requests)
            redis_request_free(list_entry(waiting, struct redis_request, node));
        resp_reader_free(link->reader);
        buf_fini(&link->out);
        list_remove(&link->node);
        mem_free(link);
    }
}
