/*
 * The threads behind name resolution (agent/net/resolve.h). The resolver is shared by the loop and its threads and counted by
 * reference, so that a thread that ends after the loop finds it still there, sees that the loop has gone, and frees its query.
 *
 * A query belongs to the loop's thread but for its answer, which its thread writes until the query is in `done`. What both touch is
 * guarded by the mutex: `done`, `queued`, `threads`, `refs`, `closed`.
 */
#include "agent/net/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/base/clock.h"
#include "agent/base/list.h"
#include "agent/base/mem.h"
#include "agent/net/thread.h"

struct resolver {
    uv_async_t wake; /* first: its close callback gives up the loop's reference */
    pthread_mutex_t lock;
    struct list queued, done; /* of queries, by node */
    unsigned refs, threads;
    bool closed; /* the loop has gone: a thread frees its query itself */
    /* The loop's alone: */
    struct list flying; /* of queries, by flying: those that are not answered yet */
    struct list kept;   /* answers that came after their lookups had been cancelled */
    unsigned kept_count;
    unsigned outstanding; /* lookups that have not called back; they keep the loop running */
};

/* One name in flight. */
struct query {
    struct list node;   /* in queued or done; in neither while its thread runs */
    struct list flying; /* in the resolver's */
    struct list lookups;
    bool started; /* guarded by the lock */
    bool known;   /* no thread has asked: the answer was there */
    char *host;
    struct resolve_answer answer;
};

/* One caller that waits for a query. */
struct lookup {
    struct list node; /* in the query's lookups */
    struct resolver *resolver;
    struct query *query;
    void (*on_done)(void *user, const struct resolve_answer *answer);
    void *user;
};

struct kept {
    struct list node;
    char *host;
    uint64_t until_ms;
    struct resolve_answer answer;
};

static void ask_system(const char *host, struct resolve_answer *answer)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found = NULL;
    answer->error = getaddrinfo(host, NULL, &hints, &found);
    answer->sys_errno = answer->error == EAI_SYSTEM ? errno : 0;
    if (answer->error != 0)
        return;
    for (const struct addrinfo *ai = found; ai; ai = ai->ai_next)
        if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
            continue;
        else if (answer->count < RESOLVE_ADDRESSES_MAX)
            memcpy(&answer->addresses[answer->count++], ai->ai_addr, ai->ai_addrlen);
        else
            answer->more++;
    freeaddrinfo(found);
    if (answer->count == 0)
        answer->error = EAI_NONAME;
}

static void (*source)(const char *host, struct resolve_answer *answer) = ask_system;

void resolve_set_source(void (*replacement)(const char *host, struct resolve_answer *answer))
{
    source = replacement ? replacement : ask_system;
}

/* --- the threads ---------------------------------------------------------------------------------------------------- */

static void query_free(struct query *query)
{
    mem_free(query->host);
    mem_free(query);
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
        struct query *query = list_entry(resolver->queued.next, struct query, node);
        list_remove(&query->node);
        query->started = true;
        pthread_mutex_unlock(&resolver->lock);
        source(query->host, &query->answer);
        pthread_mutex_lock(&resolver->lock);
        if (resolver->closed) {
            query_free(query);
            continue;
        }
        list_push(&resolver->done, &query->node);
        uv_async_send(&resolver->wake);
    }
    resolver->threads--;
    resolver_unref_unlock(resolver);
    return NULL;
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

/* --- answers that came late ----------------------------------------------------------------------------------------- */

static void kept_drop(struct resolver *resolver, struct kept *kept)
{
    list_remove(&kept->node);
    resolver->kept_count--;
    mem_free(kept->host);
    mem_free(kept);
}

static struct kept *kept_find(struct resolver *resolver, const char *host)
{
    uint64_t now_ms = clock_now_ms();
    struct kept *found = NULL;
    list_each_safe (node, &resolver->kept) {
        struct kept *kept = list_entry(node, struct kept, node);
        if (kept->until_ms < now_ms)
            kept_drop(resolver, kept);
        else if (strcasecmp(kept->host, host) == 0)
            found = kept;
    }
    return found;
}

/* Keeps the newest answer for a name, for the next lookup. A failure, or an answer that came in time, drops the kept one. */
static void keep(struct resolver *resolver, const struct query *query, bool late)
{
    struct kept *kept = kept_find(resolver, query->host);
    if (kept)
        kept_drop(resolver, kept);
    if (!late || query->answer.error != 0)
        return;
    if (resolver->kept_count == RESOLVE_KEPT_MAX)
        kept_drop(resolver, list_entry(resolver->kept.next, struct kept, node));
    kept = mem_alloc(sizeof *kept);
    kept->host = mem_strdup(query->host);
    kept->until_ms = clock_now_ms() + RESOLVE_KEPT_MS;
    kept->answer = query->answer;
    list_push(&resolver->kept, &kept->node);
    resolver->kept_count++;
}

/* --- the loop's side ------------------------------------------------------------------------------------------------ */

static void settle(struct resolver *resolver)
{
    if (--resolver->outstanding == 0)
        uv_unref((uv_handle_t *)&resolver->wake);
}

static struct query *take_done(struct resolver *resolver)
{
    struct query *query = NULL;
    pthread_mutex_lock(&resolver->lock);
    if (!list_empty(&resolver->done)) {
        query = list_entry(resolver->done.next, struct query, node);
        list_remove(&query->node);
    }
    pthread_mutex_unlock(&resolver->lock);
    return query;
}

static void on_wake(uv_async_t *wake)
{
    struct resolver *resolver = (struct resolver *)wake;
    loop_woke(wake->loop->data);
    for (struct query *query; (query = take_done(resolver));) {
        list_remove(&query->flying); /* a later lookup of this name begins a new query */
        if (!query->known)
            keep(resolver, query, list_empty(&query->lookups));
        /* One at a time: a callback may cancel others. */
        while (!list_empty(&query->lookups)) {
            struct lookup *lookup = list_entry(query->lookups.next, struct lookup, node);
            list_remove(&lookup->node);
            settle(resolver);
            lookup->on_done(lookup->user, &query->answer);
            mem_free(lookup);
        }
        query_free(query);
    }
}

static struct resolver *resolver_get(struct loop *loop)
{
    if (loop->resolver)
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
    list_init(&resolver->flying);
    list_init(&resolver->kept);
    resolver->refs = 1;
    return loop->resolver = resolver;
}

static struct query *query_new(struct resolver *resolver, const char *host)
{
    struct query *query = mem_alloc(sizeof *query);
    list_init(&query->node);
    list_init(&query->lookups);
    query->host = mem_strdup(host);
    list_push(&resolver->flying, &query->flying);
    return query;
}

/* The answer is there: it comes with the next turn of the loop. */
static void query_done(struct resolver *resolver, struct query *query)
{
    pthread_mutex_lock(&resolver->lock);
    list_remove(&query->node);
    list_push(&resolver->done, &query->node);
    pthread_mutex_unlock(&resolver->lock);
    uv_async_send(&resolver->wake);
}

static void query_begin(struct resolver *resolver, struct query *query)
{
    int status = 0;
    bool stuck; /* no thread runs that would take it from the queue */
    pthread_mutex_lock(&resolver->lock);
    list_push(&resolver->queued, &query->node);
    if (resolver->threads < RESOLVE_THREADS_MAX)
        status = start_thread(resolver);
    stuck = status != 0 && resolver->threads == 0;
    pthread_mutex_unlock(&resolver->lock);
    if (!stuck)
        return;
    query->answer.error = EAI_SYSTEM;
    query->answer.sys_errno = status;
    query_done(resolver, query);
}

static struct query *query_find(struct resolver *resolver, const char *host)
{
    list_each (node, &resolver->flying) {
        struct query *query = list_entry(node, struct query, flying);
        if (strcasecmp(query->host, host) == 0)
            return query;
    }
    return NULL;
}

/* The query that will answer: one with the answer in it, the one in flight, or a new one. */
static struct query *query_for(struct resolver *resolver, const char *host)
{
    struct resolve_answer known;
    const struct kept *kept;
    bool have = resolve_without(host, &known);
    struct query *query = have ? NULL : query_find(resolver, host);
    if (!have && (kept = kept_find(resolver, host))) {
        known = kept->answer;
        have = true;
        if (!query)
            query_begin(resolver, query_new(resolver, host)); /* the answer for the next round */
    }
    if (!have && query)
        return query;
    query = query_new(resolver, host);
    if (have) {
        list_remove(&query->flying); /* no other lookup may share it */
        query->started = query->known = true;
        query->answer = known;
        query_done(resolver, query);
    } else {
        query_begin(resolver, query);
    }
    return query;
}

struct lookup *resolve_start(struct loop *loop, const char *host, void (*on_done)(void *user, const struct resolve_answer *answer),
                             void *user)
{
    struct resolver *resolver = resolver_get(loop);
    if (!resolver)
        return NULL;
    struct lookup *lookup = mem_alloc(sizeof *lookup);
    lookup->resolver = resolver;
    lookup->on_done = on_done;
    lookup->user = user;
    lookup->query = query_for(resolver, host);
    list_push(&lookup->query->lookups, &lookup->node);
    if (resolver->outstanding++ == 0)
        uv_ref((uv_handle_t *)&resolver->wake);
    return lookup;
}

bool resolve_is_queued(const struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->resolver->lock);
    bool queued = !lookup->query->started;
    pthread_mutex_unlock(&lookup->resolver->lock);
    return queued;
}

void resolve_cancel(struct lookup *lookup)
{
    struct resolver *resolver = lookup->resolver;
    struct query *query = lookup->query;
    list_remove(&lookup->node);
    mem_free(lookup);
    settle(resolver);
    if (!list_empty(&query->lookups))
        return;
    /* Not begun, and no lookup waits for it: frees its place for other queries. */
    pthread_mutex_lock(&resolver->lock);
    bool idle = !query->started && !list_empty(&query->node);
    if (idle)
        list_remove(&query->node);
    pthread_mutex_unlock(&resolver->lock);
    if (!idle)
        return;
    list_remove(&query->flying);
    query_free(query);
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
    if (!resolver)
        return;
    /* What is outstanding is a dial that was not cancelled. */
    panic_if(resolver->outstanding != 0);
    loop->resolver = NULL;
    list_each_safe (node, &resolver->kept)
        kept_drop(resolver, list_entry(node, struct kept, node));
    pthread_mutex_lock(&resolver->lock);
    resolver->closed = true; /* no thread touches wake any more */
    list_each_safe (node, &resolver->done)
        query_free(list_entry(node, struct query, node));
    list_each_safe (node, &resolver->queued)
        query_free(list_entry(node, struct query, node));
    list_init(&resolver->done);
    list_init(&resolver->queued);
    pthread_mutex_unlock(&resolver->lock);
    uv_close((uv_handle_t *)&resolver->wake, on_wake_closed);
}
