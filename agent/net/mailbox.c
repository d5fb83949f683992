/*
 * The mailbox between the loop and a foreign thread. Owns its uv_async_t, the mutex and both queues; used by brokers whose library
 * has threads. Only this and the resolver touch threads. Promises that the loop holds the mutex for a list operation only, and that
 * one turn hands over a bounded number of mails, so that a thread that posts without pause cannot hold up the loop. The owners
 * define what a mail contains.
 */
#include "agent/net/mailbox.h"

#include <pthread.h>

#include "agent/base/budget.h"
#include "agent/base/mem.h"

enum { MAILS_PER_TURN = 256, BYTES_PER_TURN = 1 << 20, US_PER_TURN = 2000 };

struct queue {
    struct list mails;
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
    size_t lost; /* mails to the loop, since it was told */
    unsigned refs;
    bool closed;
};

/* Called with the lock held. */
static int put(struct mailbox *box, struct queue *queue, struct mail *mail)
{
    bool full = queue->count >= box->type->max_mails || queue->bytes + mail->bytes > box->type->max_bytes;
    if (box->closed || (full && !mail->owed))
        return -1;
    list_push(&queue->mails, &mail->node);
    queue->count++;
    queue->bytes += mail->bytes;
    return 0;
}

/* Called with the lock held. */
static struct mail *get(struct queue *queue)
{
    if (list_empty(&queue->mails))
        return NULL;
    struct mail *mail = list_entry(queue->mails.next, struct mail, node);
    list_remove(&mail->node);
    queue->count--;
    queue->bytes -= mail->bytes;
    return mail;
}

static void move_all(struct queue *queue, struct list *to)
{
    for (struct mail *mail; (mail = get(queue));)
        list_push(to, &mail->node);
}

static struct mail *next_of_turn(struct mailbox *box)
{
    if (list_empty(&box->turn))
        return NULL;
    struct mail *mail = list_entry(box->turn.next, struct mail, node);
    list_remove(&mail->node);
    return mail;
}

static void discard_turn(struct mailbox *box)
{
    for (struct mail *mail; (mail = next_of_turn(box));)
        box->type->discard(mail);
}

static void on_wake(uv_async_t *wake)
{
    struct mailbox *box = (struct mailbox *)wake;
    loop_woke(wake->loop->data);
    struct budget budget = budget_of(MAILS_PER_TURN, BYTES_PER_TURN, US_PER_TURN);
    struct mail *mail;
    /* Only when all mails of an earlier turn are handed over. Mails in `turn` do not count against the ceiling, so taking more
     * would let them grow without bound. */
    pthread_mutex_lock(&box->lock);
    if (list_empty(&box->turn))
        move_all(&box->to_loop, &box->turn);
    size_t lost = box->lost;
    box->lost = 0;
    pthread_mutex_unlock(&box->lock);
    if (lost && box->type->on_lost)
        box->type->on_lost(box->user, lost);
    while (budget_left(&budget) && (mail = next_of_turn(box))) { /* mailbox_close in a callback empties the turn */
        size_t bytes = mail->bytes;
        box->type->on_mail(box->user, mail);
        budget_spend(&budget, bytes);
    }
    pthread_mutex_lock(&box->lock);
    bool more = !box->closed && (!list_empty(&box->turn) || !list_empty(&box->to_loop.mails));
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
    list_init(&box->to_loop.mails);
    list_init(&box->to_thread.mails);
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

int mailbox_send(struct mailbox *box, struct mail *mail)
{
    pthread_mutex_lock(&box->lock);
    int status = put(box, &box->to_thread, mail);
    if (status == 0)
        pthread_cond_signal(&box->filled);
    pthread_mutex_unlock(&box->lock);
    return status;
}

int mailbox_post(struct mailbox *box, struct mail *mail)
{
    pthread_mutex_lock(&box->lock);
    int status = put(box, &box->to_loop, mail);
    /* Under the lock, as the handle must not be closing. */
    if (status == 0)
        uv_async_send(&box->wake);
    else
        box->lost++; /* it is full, and the loop is being woken already; or it is closed, and the count is not read */
    pthread_mutex_unlock(&box->lock);
    return status;
}

void mailbox_post_all(struct mailbox *box, struct list *mails)
{
    struct list refused;

    list_init(&refused);
    pthread_mutex_lock(&box->lock);
    while (!list_empty(mails)) {
        struct mail *mail = list_entry(mails->next, struct mail, node);
        list_remove(&mail->node);
        if (put(box, &box->to_loop, mail) < 0) {
            list_push(&refused, &mail->node);
            box->lost++;
        }
    }
    if (!box->closed)
        uv_async_send(&box->wake);
    pthread_mutex_unlock(&box->lock);
    while (!list_empty(&refused)) {
        struct mail *mail = list_entry(refused.next, struct mail, node);
        list_remove(&mail->node);
        box->type->discard(mail);
    }
}

void mailbox_lost(struct mailbox *box, size_t count)
{
    pthread_mutex_lock(&box->lock);
    box->lost += count;
    if (!box->closed)
        uv_async_send(&box->wake);
    pthread_mutex_unlock(&box->lock);
}

struct mail *mailbox_take(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    while (!box->closed && list_empty(&box->to_thread.mails))
        pthread_cond_wait(&box->filled, &box->lock);
    struct mail *mail = get(&box->to_thread);
    pthread_mutex_unlock(&box->lock);
    return mail;
}

struct mail *mailbox_take_now(struct mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    struct mail *mail = get(&box->to_thread);
    pthread_mutex_unlock(&box->lock);
    return mail;
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
