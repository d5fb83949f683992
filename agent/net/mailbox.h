/*
 * Letters between the loop and the threads of a library that brings its own: two bounded queues under one mutex, a condition that wakes
 * the thread, a uv_async_t that wakes the loop. The loop never waits for the thread, and a thread that comes back late finds the mailbox
 * still there, sees that it is closed, and leaves: it is counted by reference.
 *
 * A letter that was taken (0) belongs to the mailbox until it is handed over or discarded; one that was not (-1) is still the caller's.
 */
#ifndef WSHEALTHD_NET_MAILBOX_H
#define WSHEALTHD_NET_MAILBOX_H

#include "agent/base/list.h"
#include "agent/net/loop.h"

struct letter { /* embedded in what is sent */
    struct list node;
    size_t bytes; /* what it weighs against the ceiling */
    bool owed;    /* an answer to the loop's own question: taken above the ceiling too, as questions have one of their own */
};

struct mailbox_type {
    void (*on_letter)(void *user, struct letter *letter); /* on the loop; the letter is the callee's */
    void (*on_closed)(void *user);                        /* on the loop, once and last */
    void (*discard)(struct letter *letter);               /* on either side: frees one that nobody will take */
    size_t max_letters, max_bytes;                        /* in each direction */
    /* On the loop, soon after: so many letters to it were lost since the last call, above the ceiling or as mailbox_lost says. May be NULL. */
    void (*on_lost)(void *user, size_t count);
};

struct mailbox;

/* The loop's side. mailbox_close: no on_letter any more, the thread is woken, on_closed comes later; what is under way is discarded. */
struct mailbox *mailbox_new(struct loop *loop, const struct mailbox_type *type, void *user, struct err *err);
int mailbox_send(struct mailbox *box, struct letter *letter); /* to the thread; -1: full */
void mailbox_close(struct mailbox *box);

/* Any thread's side; each holds a reference. */
struct mailbox *mailbox_ref(struct mailbox *box);
void mailbox_unref(struct mailbox *box);
int mailbox_post(struct mailbox *box, struct letter *letter); /* to the loop; -1: full or closed */
struct letter *mailbox_take(struct mailbox *box);             /* waits; NULL: closed */
struct letter *mailbox_take_now(struct mailbox *box);         /* NULL: nothing there, or closed */
bool mailbox_closed(struct mailbox *box);
void mailbox_lost(struct mailbox *box, size_t count); /* so many were lost before they could become letters */

#endif
