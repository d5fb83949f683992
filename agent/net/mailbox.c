/*
 * The mailbox between the loop and a foreign thread. Owns its uv_async_t, the mutex and both queues; brokers whose library has threads use
 * it, and nothing else in the agent touches a thread but the resolver. Promises that the loop holds the mutex for the length of a list
 * operation only, and that one turn hands over so much and no more: a thread that posts without pause can't keep the loop.
 * What is in a letter is left to its owner.
 */
#include "agent/net/mailbox.h"

#include <pthread.h>

#include "agent/base/budget.h"
#include "agent/base/mem.h"

enum { LETTERS_PER_TURN = 256, BYTES_PER_TURN = 1 << 20, US_PER_TURN = 2000 };

struct queue {
    struct list letters;
    size_t count, bytes;
};

struct mailbox {
    uv_async_t wake; /* first: its close callback gives up the loop's reference */
    const struct mailbox_type *type;
    void *user;
    struct list turn; /* what this turn hands over; the loop's only */
    pthread_mutex_t lock;
    pthread_cond_t filled;
    /* guarded by the lock */
    struct queue to_loop, to_thread;
    size_t lost; /* letters to the loop, since it was told */
    unsigned refs;
    bool closed;
};

/* Called with the lock held. */
static int put(struct mailbox *box, struct queue *queue, struct letter *letter)
{
    bool full = queue->count >= box->type->max_letters || queue->bytes + letter->bytes > box->type->max_bytes;
    if (box->closed || (full && !letter->owed))
        return -1;
    list_push(&queue->letters, &letter->node);
    queue->count++;
    queue->bytes += letter->bytes;
    return 0;
}

/* Called with the lock held. */
static struct letter *get(struct queue *queue)
{
    if (list_empty(&queue->letters))
        return NULL;
    struct letter *letter = list_entry(queue->letters.next, struct letter, node);
    list_remove(&letter->node);
    queue->count--;
    queue->bytes -= letter->bytes;
    return letter;
}

static void move_all(struct queue *queue, struct list *to)
{
    for (struct letter *letter; (letter = get(queue));)
        list_push(to, &letter->node);
}

static struct letter *next_of_turn(struct mailbox *box)
{
    if (list_empty(&box->turn))
        return NULL;
    struct letter *letter = list_entry(box->turn.next, struct letter, node);
    list_remove(&letter->node);
    return letter;
}

static void discard_turn(struct mailbox *box)
{
    for (struct letter *letter; (letter = next_of_turn(box));)
        box->type->discard(letter);
}

static void on_wake(uv_async_t *wake)
{
    struct mailbox *box = (struct mailbox *)wake;
    struct budget budget = budget_of(LETTERS_PER_TURN, BYTES_PER_TURN, US_PER_TURN);
    struct letter *letter;
    /* Only when those of an earlier turn are gone: else they would no longer count against the ceiling, and more and more were waiting. */
    pthread_mutex_lock(&box->lock);
    if (list_empty(&box->turn))
        move_all(&box->to_loop, &box->turn);
    size_t lost = box->lost;
    box->lost = 0;
    pthread_mutex_unlock(&box->lock);
    if (lost && box->type->on_lost)
        box->type->on_lost(box->user, lost);
    while (budget_left(&budget) && (letter = next_of_turn(box))) { /* mailbox_close in a callback empties the turn */
        size_t bytes = letter->bytes;
        box->type->on_letter(box->user, letter);
        budget_spend(&budget, bytes);
    }
    pthread_mutex_lock(&box->lock);
    bool more = !box->closed && (!list_empty(&box->turn) || !list_empty(&box->to_loop.letters));
    pthread_mutex_unlock(&box->lock);
    if (more)
        uv_async_send(&box->wake);
}

struct mailbox *mailbox_new(struct loop *loop, const struct mailbox_type *type, void *user, struct err *err)
{
    struct mailbox *box = mem_alloc(sizeof *box);
    int status = uv_async_init(&loop->uv, &box->wake, on_wake);
    if (status != 0) {
        mem_free(box);
        err_set(err, REASON_AGENT_ERROR, -status, "cannot make a mailbox: %s", uv_strerror(status));
        return NULL;
    }
    box->type = type;
    box->user = user;
    list_init(&box->turn);
    list_init(&box->to_loop.letters);
    list_init(&box->to_thread.letters);
    pthread_mutex_init(&box->lock, NULL);
    pthread_cond_init(&box->filled, NULL);
    box->refs = 1;
    return box;
}

struct mailbox *mailbox_ref(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    box->refs++;
    pthread_mutex_unlock(&box->lock);
    return box;
}

void mailbox_unref(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    bool last = --box->refs == 0;
    pthread_mutex_unlock(&box->lock);
    if (!last)
        return;
    pthread_cond_destroy(&box->filled);
    pthread_mutex_destroy(&box->lock);
    mem_free(box);
}

int mailbox_send(struct mailbox *box, struct letter *letter)
{
    pthread_mutex_lock(&box->lock);
    int status = put(box, &box->to_thread, letter);
    if (status == 0)
        pthread_cond_signal(&box->filled);
    pthread_mutex_unlock(&box->lock);
    return status;
}

int mailbox_post(struct mailbox *box, struct letter *letter)
{
    pthread_mutex_lock(&box->lock);
    int status = put(box, &box->to_loop, letter);
    /* Under the lock, as the handle must not be closing. */
    if (status == 0)
        uv_async_send(&box->wake);
    else
        box->lost++; /* it is full, so the loop is being woken; or closed, and nobody asks */
    pthread_mutex_unlock(&box->lock);
    return status;
}

void mailbox_lost(struct mailbox *box, size_t count)
{
    pthread_mutex_lock(&box->lock);
    box->lost += count;
    if (!box->closed)
        uv_async_send(&box->wake);
    pthread_mutex_unlock(&box->lock);
}

struct letter *mailbox_take(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    while (!box->closed && list_empty(&box->to_thread.letters))
        pthread_cond_wait(&box->filled, &box->lock);
    struct letter *letter = get(&box->to_thread);
    pthread_mutex_unlock(&box->lock);
    return letter;
}

struct letter *mailbox_take_now(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    struct letter *letter = get(&box->to_thread);
    pthread_mutex_unlock(&box->lock);
    return letter;
}

bool mailbox_closed(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    bool closed = box->closed;
    pthread_mutex_unlock(&box->lock);
    return closed;
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct mailbox *box = (struct mailbox *)handle;
    box->type->on_closed(box->user);
    mailbox_unref(box);
}

void mailbox_close(struct mailbox *box)
{
    discard_turn(box);
    pthread_mutex_lock(&box->lock);
    panic_if(box->closed);
    box->closed = true;
    move_all(&box->to_loop, &box->turn);
    move_all(&box->to_thread, &box->turn);
    pthread_cond_broadcast(&box->filled);
    pthread_mutex_unlock(&box->lock);
    discard_turn(box);
    uv_close((uv_handle_t *)&box->wake, on_wake_closed);
}
