/*
 * The threads behind name resolution. Owns every thread of the net layer. The resolver is shared by the loop and its threads and counted
 * by reference, so that a thread that comes back late finds it still there, sees that nobody awaits the answer, and leaves quietly.
 *
 * Everything in struct resolver is guarded by its mutex, but for `outstanding`, which only the loop's thread touches.
 */
#include "agent/net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/list.h"
#include "agent/base/mem.h"
#include "agent/net/thread.h"

struct resolver {
    uv_async_t wake; /* first: its close callback gives up the loop's reference */
    pthread_mutex_t lock;
    struct list queued, done;
    unsigned refs, threads;
    unsigned outstanding; /* lookups that somebody awaits; they keep the loop running */
};

enum lookup_state { LOOKUP_QUEUED, LOOKUP_RUNNING, LOOKUP_DONE };
struct lookup {
    struct list node; /* in queued or done */
    struct resolver *resolver;
    enum lookup_state state;
    bool abandoned; /* nobody awaits it: its thread frees it */
    void (*on_done)(void *user, const struct resolve_answer *answer);
    void *user;
    char *host;
    struct resolve_answer answer;
};

static void ask_system(const char *host, struct resolve_answer *answer)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found = NULL;
    answer->error = getaddrinfo(host, NULL, &hints, &found);
    answer->sys_errno = answer->error == EAI_SYSTEM ? errno : 0;
    if (answer->error != 0)
        return;
    for (const struct addrinfo *ai = found; ai != NULL && answer->count < RESOLVE_ADDRESSES_MAX; ai = ai->ai_next)
        if (ai->ai_family == AF_INET || ai->ai_family == AF_INET6)
            memcpy(&answer->addresses[answer->count++], ai->ai_addr, ai->ai_addrlen);
    freeaddrinfo(found);
    if (answer->count == 0)
        answer->error = EAI_NONAME;
}

static void (*source)(const char *host, struct resolve_answer *answer) = ask_system;

void resolve_set_source(void (*replacement)(const char *host, struct resolve_answer *answer))
{
    source = replacement == NULL ? ask_system : replacement;
}

static void lookup_free(struct lookup *lookup)
{
    mem_free(lookup->host);
    mem_free(lookup);
}

/* Called with the lock held; releases it. */
static void resolver_unref_unlock(struct resolver *resolver)
{
    bool last = --resolver->refs == 0;
    pthread_mutex_unlock(&resolver->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&resolver->lock);
    mem_free(resolver);
}

static void *run_thread(void *arg)
{
    struct resolver *resolver = arg;
    pthread_mutex_lock(&resolver->lock);
    while (!list_empty(&resolver->queued)) {
        struct lookup *lookup = list_entry(resolver->queued.next, struct lookup, node);
        list_remove(&lookup->node);
        lookup->state = LOOKUP_RUNNING;
        pthread_mutex_unlock(&resolver->lock);
        source(lookup->host, &lookup->answer);
        pthread_mutex_lock(&resolver->lock);
        if (lookup->abandoned) {
            lookup_free(lookup);
            continue;
        }
        lookup->state = LOOKUP_DONE;
        list_push(&resolver->done, &lookup->node);
        uv_async_send(&resolver->wake);
    }
    resolver->threads--;
    resolver_unref_unlock(resolver);
    return NULL;
}

static void settle(struct resolver *resolver)
{
    if (--resolver->outstanding == 0)
        uv_unref((uv_handle_t *)&resolver->wake);
}

static struct lookup *take_done(struct resolver *resolver)
{
    struct lookup *lookup = NULL;
    pthread_mutex_lock(&resolver->lock);
    if (!list_empty(&resolver->done)) {
        lookup = list_entry(resolver->done.next, struct lookup, node);
        list_remove(&lookup->node);
    }
    pthread_mutex_unlock(&resolver->lock);
    return lookup;
}

static void on_wake(uv_async_t *wake)
{
    struct resolver *resolver = (struct resolver *)wake;
    /* One at a time: a callback may cancel another lookup that is done. */
    for (struct lookup *lookup; (lookup = take_done(resolver)) != NULL;) {
        settle(resolver);
        lookup->on_done(lookup->user, &lookup->answer);
        lookup_free(lookup);
    }
}

static struct resolver *resolver_get(struct loop *loop)
{
    if (loop->resolver != NULL)
        return loop->resolver;
    struct resolver *resolver = mem_alloc(sizeof *resolver);
    if (uv_async_init(&loop->uv, &resolver->wake, on_wake) != 0) {
        mem_free(resolver);
        return NULL;
    }
    uv_unref((uv_handle_t *)&resolver->wake);
    pthread_mutex_init(&resolver->lock, NULL);
    list_init(&resolver->queued);
    list_init(&resolver->done);
    resolver->refs = 1;
    return loop->resolver = resolver;
}

/* Called with the lock held. */
static int start_thread(struct resolver *resolver)
{
    int status = thread_start(run_thread, resolver);

    if (status == 0) {
        resolver->threads++;
        resolver->refs++;
    }
    return status;
}

struct lookup *resolve_start(struct loop *loop, const char *host, void (*on_done)(void *user, const struct resolve_answer *answer),
                             void *user)
{
    struct resolver *resolver = resolver_get(loop);
    if (resolver == NULL)
        return NULL;
    struct lookup *lookup = mem_alloc(sizeof *lookup);
    lookup->resolver = resolver;
    lookup->on_done = on_done;
    lookup->user = user;
    lookup->host = mem_strdup(host);
    if (resolver->outstanding++ == 0)
        uv_ref((uv_handle_t *)&resolver->wake);
    pthread_mutex_lock(&resolver->lock);
    list_push(&resolver->queued, &lookup->node);
    int status = resolver->threads < RESOLVE_THREADS_MAX ? start_thread(resolver) : 0;
    if (status != 0 && resolver->threads == 0) { /* nobody will ever take it from the queue */
        list_remove(&lookup->node);
        lookup->state = LOOKUP_DONE;
        lookup->answer.error = EAI_SYSTEM;
        lookup->answer.sys_errno = status;
        list_push(&resolver->done, &lookup->node);
        uv_async_send(&resolver->wake);
    }
    pthread_mutex_unlock(&resolver->lock);
    return lookup;
}

void resolve_cancel(struct lookup *lookup)
{
    struct resolver *resolver = lookup->resolver;
    pthread_mutex_lock(&resolver->lock);
    bool running = lookup->state == LOOKUP_RUNNING;
    if (running)
        lookup->abandoned = true;
    else
        list_remove(&lookup->node);
    pthread_mutex_unlock(&resolver->lock);
    if (!running)
        lookup_free(lookup);
    settle(resolver);
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct resolver *resolver = (struct resolver *)handle;
    pthread_mutex_lock(&resolver->lock);
    resolver_unref_unlock(resolver);
}

void resolver_close(struct loop *loop)
{
    struct resolver *resolver = loop->resolver;
    if (resolver == NULL)
        return;
    /* With every lookup cancelled no thread touches wake any more. What is outstanding is a dial that was not cancelled. */
    panic_if(resolver->outstanding != 0);
    loop->resolver = NULL;
    uv_close((uv_handle_t *)&resolver->wake, on_wake_closed);
}
