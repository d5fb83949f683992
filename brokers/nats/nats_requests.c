/*
 * What one NATS connection is asked to do, on its worker's thread (nats_worker.c). Requests are taken in batches: each is carried out, one
 * round trip to the server confirms all of them, and each goes back as its own answer. Owns the connection's subscriptions, and the list of
 * violations of permissions that the library has reported.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "brokers/nats/nats.h"

enum { BATCH_MAX = 64, DENIAL_WAIT_MS = 50, PENDING_BYTES = 4 << 20 };

struct subscription {
    struct list node; /* in subscriptions or retired */
    natsSubscription *handle;
    struct nats_batches *batches; /* NULL: each message has the library call on_message */
    int64_t dropped;              /* by the library, as far as it was told */
    char topic[];
};

struct task {
    struct broker_mail *mail;
    bool confirmed_by_flush;
};

struct batch {
    struct task tasks[BATCH_MAX];
    size_t count;
    unsigned denied_before;
    bool flush, permitted_matters; /* whether something waits for the round trip; whether that could be denied */
};

/* --- waiting --- */

/* Not clock_now_ns: tests replace that one, and a condition waits for the real clock. */
uint64_t nats_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void nats_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

bool nats_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
    struct timespec at = { .tv_sec = (time_t)(deadline_ns / NS_PER_S), .tv_nsec = (long)(deadline_ns % NS_PER_S) };
    return pthread_cond_timedwait(cond, lock, &at) == 0;
}

/* --- the session --- */

void nats_session_init(struct nats_session *session)
{
    list_init(&session->subscriptions);
    list_init(&session->retired);
    pthread_mutex_init(&session->denials.lock, NULL);
    nats_cond_init(&session->denials.changed);
}

void nats_session_fini(struct nats_session *session)
{
    pthread_cond_destroy(&session->denials.changed);
    pthread_mutex_destroy(&session->denials.lock);
}

static void destroy_all(struct list *subscriptions)
{
    list_each_safe (node, subscriptions) {
        struct subscription *subscription = list_entry(node, struct subscription, node);
        list_remove(node);
        nats_batches_end(subscription->batches);
        natsSubscription_Destroy(subscription->handle);
        mem_free(subscription);
    }
}

/* The connection first: when it is closed, its reading thread is gone and nothing uses a subscription any more. */
void nats_session_close(struct nats_session *session)
{
    if (session->connection)
        natsConnection_Close(session->connection);
    destroy_all(&session->retired);
    destroy_all(&session->subscriptions);
    jsCtx_Destroy(session->jetstream);
    natsConnection_Destroy(session->connection);
    nats_ReleaseThreadMemory();
}

void nats_denials_add(struct nats_denials *denials, const char *text)
{
    pthread_mutex_lock(&denials->lock);
    snprintf(denials->texts[denials->count++ % NATS_DENIALS_MAX], sizeof denials->texts[0], "%s", text);
    pthread_cond_broadcast(&denials->changed);
    pthread_mutex_unlock(&denials->lock);
}

static unsigned denied_so_far(struct nats_denials *denials)
{
    pthread_mutex_lock(&denials->lock);
    unsigned count = denials->count;
    pthread_mutex_unlock(&denials->lock);
    return count;
}

/* --- requests --- */

/* The library does not check subjects: a blank or a line break in one would begin another command of the protocol. */
static bool subject_is_good(const char *subject, bool wildcards)
{
    size_t token = 0;
    for (const char *p = subject;; p++) {
        if (*p == '.' || *p == '\0') {
            if (token == 0)
                return false;
            token = 0;
            if (*p == '\0')
                return true;
            continue;
        }
        if ((unsigned char)*p <= ' ' || *p == 0x7f || (!wildcards && (*p == '*' || *p == '>')))
            return false;
        token++;
    }
}

/* What is left of a request's time. The core has answered it by itself once the time is over. */
static int64_t left_ms(const struct nats_session *session, const struct broker_mail *mail)
{
    int64_t gone = (int64_t)((clock_now_ns() - mail->at_ns) / NS_PER_MS);
    return session->plan->timeout_ms - gone;
}

static void fail_of(const struct nats_session *session, natsStatus status, struct broker_mail *mail)
{
    nats_fault_of(session->plan, status, NULL, &mail->fault);
}

static void carry_publish(struct nats_session *session, struct task *task)
{
    struct broker_mail *mail = task->mail;
    int64_t left = left_ms(session, mail);
    if (!subject_is_good(mail->topic, false)) {
        broker_fault_set(&mail->fault, REASON_AGENT_ERROR, "'%s' is not a subject of NATS", mail->topic);
    } else if (left <= 0) { /* a heartbeat that is late already is not sent */
        fail_of(session, NATS_TIMEOUT, mail);
    } else if (session->plan->stream) {
        nats_jetstream_publish(session->plan, session->jetstream, mail, left * 3 / 4 + 1, &mail->fault);
    } else {
        natsStatus s = natsConnection_Publish(session->connection, mail->topic, mail->body.data, (int)mail->body.len);
        task->confirmed_by_flush = s == NATS_OK;
        if (s != NATS_OK)
            fail_of(session, s, mail);
    }
}

static void carry_subscribe(struct nats_session *session, struct task *task)
{
    struct broker_mail *mail = task->mail;
    size_t len = strlen(mail->topic);
    natsSubscription *handle = NULL;
    if (!subject_is_good(mail->topic, true)) {
        broker_fault_set(&mail->fault, REASON_AGENT_ERROR, "'%s' is not a subject of NATS", mail->topic);
        return;
    }
    bool in_batches = mail->token != 0;
    natsStatus s = in_batches
                       ? natsConnection_SubscribeSync(&handle, session->connection, mail->topic)
                       : natsConnection_Subscribe(&handle, session->connection, mail->topic, session->on_message, session->closure);
    if (s != NATS_OK) {
        fail_of(session, s, mail);
        return;
    }
    natsSubscription_SetPendingLimits(handle, NATS_PENDING_MESSAGES, PENDING_BYTES);
    struct subscription *subscription = mem_alloc(sizeof *subscription + len + 1);
    subscription->handle = handle;
    memcpy(subscription->topic, mail->topic, len);
    list_push(&session->subscriptions, &subscription->node);
    subscription->batches = in_batches ? nats_batches_start(session->box, handle) : NULL;
    if (in_batches && !subscription->batches)
        broker_fault_set(&mail->fault, REASON_AGENT_ERROR, "cannot start a thread");
    else
        task->confirmed_by_flush = true;
}

static void carry_unsubscribe(struct nats_session *session, const char *topic)
{
    list_each_safe (node, &session->subscriptions) {
        struct subscription *subscription = list_entry(node, struct subscription, node);
        if (strcmp(subscription->topic, topic) != 0)
            continue;
        natsSubscription_Unsubscribe(subscription->handle);
        list_remove(node);
        list_push(&session->retired, node);
    }
}

static void carry(struct nats_session *session, struct batch *batch, struct broker_mail *mail)
{
    struct task *task = &batch->tasks[batch->count];
    if (mail->kind == MAIL_UNSUBSCRIBE) {
        carry_unsubscribe(session, mail->topic);
        broker_mail_discard(&mail->base);
        batch->flush = true;
        return;
    }
    batch->count++;
    *task = (struct task){ .mail = mail };
    if (mail->kind == MAIL_PING)
        task->confirmed_by_flush = true;
    else if (mail->kind == MAIL_PUBLISH)
        carry_publish(session, task);
    else
        carry_subscribe(session, task);
    batch->flush = batch->flush || task->confirmed_by_flush;
    batch->permitted_matters = batch->permitted_matters || (mail->kind != MAIL_PING && task->confirmed_by_flush);
}

/* The violation that names the mail's subject, among those since the batch began. Called with the lock held. */
static const char *denial_of(const struct nats_denials *denials, const struct batch *batch, const struct broker_mail *mail)
{
    char quoted[BROKER_FAULT_TEXT_MAX * 2];
    unsigned first =
        denials->count - batch->denied_before > NATS_DENIALS_MAX ? denials->count - NATS_DENIALS_MAX : batch->denied_before;
    const char *verb = mail->kind == MAIL_PUBLISH ? "ublish" : "ubscri";
    snprintf(quoted, sizeof quoted, "\"%s\"", mail->topic);
    for (unsigned i = first; i != denials->count; i++)
        if (strstr(denials->texts[i % NATS_DENIALS_MAX], quoted) && strstr(denials->texts[i % NATS_DENIALS_MAX], verb))
            return denials->texts[i % NATS_DENIALS_MAX];
    return NULL;
}

/*
 * The server has answered the round trip, so the library has read any violation before. But another thread of the library reports it, and
 * may be late. The connection remembers only that there has ever been one: so this waits a moment, and where none comes it was an older
 * one.
 */
static void settle_denials(struct nats_session *session, struct batch *batch)
{
    const char *ignored;
    bool ever = natsConnection_GetLastError(session->connection, &ignored) == NATS_NOT_PERMITTED;
    struct nats_denials *denials = &session->denials;
    uint64_t deadline_ns = nats_monotonic_ns() + DENIAL_WAIT_MS * NS_PER_MS;
    pthread_mutex_lock(&denials->lock);
    while (ever && denials->count == batch->denied_before && nats_wait_until(&denials->changed, &denials->lock, deadline_ns))
        ;
    for (size_t i = 0; i < batch->count; i++) {
        struct broker_mail *mail = batch->tasks[i].mail;
        const char *denial = mail->kind == MAIL_PING ? NULL : denial_of(denials, batch, mail);
        if (denial)
            broker_fault_set(&mail->fault, REASON_BROKER_AUTH_FAILED, "%s: %s", session->plan->where, denial);
    }
    pthread_mutex_unlock(&denials->lock);
}

static void confirm(struct nats_session *session, struct batch *batch)
{
    natsStatus s = natsConnection_FlushTimeout(session->connection, session->plan->timeout_ms);
    if (s == NATS_OK)
        destroy_all(&session->retired);
    for (size_t i = 0; s != NATS_OK && i < batch->count; i++)
        if (batch->tasks[i].confirmed_by_flush)
            fail_of(session, s, batch->tasks[i].mail);
}

/* Pings of one batch share one question to JetStream. */
static void query_jetstream(struct nats_session *session, struct batch *batch)
{
    struct broker_fault fault = { 0 };
    bool asked = false;
    for (size_t i = 0; i < batch->count; i++) {
        struct broker_mail *mail = batch->tasks[i].mail;
        int64_t left = left_ms(session, mail);
        if (mail->kind != MAIL_PING || mail->fault.reason != REASON_NONE)
            continue;
        if (!asked && left > 0)
            nats_jetstream_query(session->plan, session->jetstream, left * 3 / 4 + 1, &fault);
        asked = true;
        mail->fault = fault;
    }
}

/* What the library has dropped in its own queues, as the mailbox does above its ceiling. */
static void tell_dropped(struct nats_session *session)
{
    size_t news = 0;
    list_each (node, &session->subscriptions) {
        struct subscription *subscription = list_entry(node, struct subscription, node);
        int64_t dropped = 0;
        if (natsSubscription_GetDropped(subscription->handle, &dropped) != NATS_OK || dropped <= subscription->dropped)
            continue;
        news += (size_t)(dropped - subscription->dropped);
        subscription->dropped = dropped;
    }
    if (news > 0)
        mailbox_lost(session->box, news);
}

void nats_run_batch(struct nats_session *session, struct broker_mail *first)
{
    struct batch batch = { 0 };
    batch.denied_before = denied_so_far(&session->denials);
    carry(session, &batch, first);
    while (batch.count < BATCH_MAX && !mailbox_closed(session->box)) {
        struct mail *next = mailbox_take_now(session->box);
        if (!next)
            break;
        carry(session, &batch, list_entry(next, struct broker_mail, base));
    }
    if (batch.flush && !mailbox_closed(session->box))
        confirm(session, &batch);
    if (batch.permitted_matters || session->plan->stream)
        settle_denials(session, &batch);
    if (session->queries_jetstream && !mailbox_closed(session->box))
        query_jetstream(session, &batch);
    tell_dropped(session);
    for (size_t i = 0; i < batch.count; i++) {
        batch.tasks[i].mail->base.owed = true;
        broker_mail_post(session->box, batch.tasks[i].mail);
    }
}
