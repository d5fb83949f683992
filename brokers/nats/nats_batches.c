/*
 * A subscription whose messages come in batches: a thread of its own takes them from the library's queue, all that are there at once, and
 * hands them to the loop with one wake-up. Where they come often it rests between batches (agent/core/rest.h); meanwhile the library wakes nobody
 * for them. What the queue does not hold the library drops and counts, as for every subscription. Called on the worker's thread by
 * nats_requests.c, which owns the subscription. Promises that the thread waits for nothing but a message, the end of the subscription and its
 * rest.
 */
#include <pthread.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/core/rest.h"
#include "agent/net/thread.h"
#include "brokers/nats/nats.h"

enum { WAIT_MS = 60000 };

struct nats_batches {
    struct mailbox *box;
    natsSubscription *handle;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopped, ended; /* guarded by the lock */
};

static bool is_stopped(struct nats_batches *batches)
{
    pthread_mutex_lock(&batches->lock);
    bool stopped = batches->stopped;
    pthread_mutex_unlock(&batches->lock);
    return stopped;
}

/* NULL: the subscription is over. */
static natsMsg *first_message(struct nats_batches *batches)
{
    natsMsg *message = NULL;
    natsStatus s;
    do
        s = natsSubscription_NextMsg(&message, batches->handle, WAIT_MS);
    while ((s == NATS_TIMEOUT || s == NATS_SLOW_CONSUMER) && !is_stopped(batches));
    return s == NATS_OK ? message : NULL;
}

/* The library's collector frees messages on a thread of its own: those that are given back in a row wake it once. */
static size_t hand_over(const struct nats_batches *batches, natsMsg *first)
{
    natsMsg *messages[NATS_PENDING_MESSAGES];
    size_t count = 1;
    int more = 0;
    struct list mails;
    list_init(&mails);
    messages[0] = first;
    natsSubscription_GetPending(batches->handle, &more, NULL);
    for (; more > 0 && count < NATS_PENDING_MESSAGES; more--)
        if (natsSubscription_NextMsg(&messages[count], batches->handle, 0) == NATS_OK)
            count++;
    for (size_t i = 0; i < count; i++) {
        int len = natsMsg_GetDataLength(messages[i]);
        struct slice body = slice_make(natsMsg_GetData(messages[i]), len < 0 ? 0 : (size_t)len);
        list_push(&mails, &broker_mail_of_message(natsMsg_GetSubject(messages[i]), body)->base.node);
    }
    mailbox_post_all(batches->box, &mails);
    for (size_t i = 0; i < count; i++)
        natsMsg_Destroy(messages[i]);
    return count;
}

static void wait_for(struct nats_batches *batches, unsigned ms)
{
    uint64_t until_ns = nats_monotonic_ns() + ms * NS_PER_MS;
    pthread_mutex_lock(&batches->lock);
    while (!batches->stopped && nats_wait_until(&batches->changed, &batches->lock, until_ns))
        ;
    pthread_mutex_unlock(&batches->lock);
}

static void *run_batches(void *arg)
{
    struct nats_batches *batches = arg;
    struct rest rest = { 0 };
    for (natsMsg *message; (message = first_message(batches));) {
        unsigned ms = rest_after_ms(&rest, hand_over(batches, message), nats_monotonic_ns() / NS_PER_MS);
        if (ms)
            wait_for(batches, ms);
    }
    nats_ReleaseThreadMemory();
    thread_release();
    pthread_mutex_lock(&batches->lock);
    batches->ended = true;
    pthread_cond_broadcast(&batches->changed);
    pthread_mutex_unlock(&batches->lock);
    return NULL;
}

static void batches_free(struct nats_batches *batches)
{
    pthread_cond_destroy(&batches->changed);
    pthread_mutex_destroy(&batches->lock);
    mem_free(batches);
}

struct nats_batches *nats_batches_start(struct mailbox *box, natsSubscription *handle)
{
    struct nats_batches *batches = mem_alloc(sizeof *batches);
    batches->box = box;
    batches->handle = handle;
    pthread_mutex_init(&batches->lock, NULL);
    nats_cond_init(&batches->changed);
    if (thread_start(run_batches, batches) == 0)
        return batches;
    batches_free(batches);
    return NULL;
}

void nats_batches_end(struct nats_batches *batches)
{
    if (!batches)
        return;
    pthread_mutex_lock(&batches->lock);
    batches->stopped = true;
    pthread_cond_broadcast(&batches->changed);
    while (!batches->ended)
        pthread_cond_wait(&batches->changed, &batches->lock);
    pthread_mutex_unlock(&batches->lock);
    batches_free(batches);
}
