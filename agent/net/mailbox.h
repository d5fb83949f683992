/*
 * Messages between the loop and the threads of a library that brings its own, called mail here, as brokers and WebSockets have messages of
 * their own. Two bounded queues under one mutex, a condition that wakes the thread, a uv_async_t that wakes the loop. The loop never waits
 * for the thread. A thread that comes back late finds the mailbox still there, as it holds a reference, sees that it is closed, and ends.
 *
 * A mail that was accepted (0) belongs to the mailbox until it is handed over or discarded; one that was refused (-1) is still the caller's.
 */
#ifndef WSHEALTHD_NET_MAILBOX_H
#define WSHEALTHD_NET_MAILBOX_H

#include "agent/base/list.h"
#include "agent/net/loop.h"

struct mail { /* embedded in what is sent */
    struct list node;
    size_t bytes; /* what it weighs against the ceiling */
    bool owed;    /* an answer to the loop's own request: accepted above the ceiling too, as requests have a ceiling of their own */
};

struct mailbox_type {
    void (*on_mail)(void *user, struct mail *mail); /* on the loop; the mail is the callee's */
    void (*on_closed)(void *user);                  /* on the loop, once and last */
    void (*discard)(struct mail *mail);             /* on either side: frees a mail that is not handed over */
    size_t max_mails, max_bytes;                    /* in each direction */
    /* On the loop, soon after: so many mails to it were lost since the last call, above the ceiling or as mailbox_lost says. May be NULL. */
    void (*on_lost)(void *user, size_t count);
};

struct mailbox;

/* The loop's side. mailbox_close: no on_mail any more, the thread is woken, on_closed comes later; what is under way is discarded. */
struct mailbox *mailbox_new(struct loop *loop, const struct mailbox_type *type, void *user, struct err *err);
int mailbox_send(struct mailbox *box, struct mail *mail); /* to the thread; -1: full */
void mailbox_close(struct mailbox *box);

/* Any thread's side; each holds a reference. */
struct mailbox *mailbox_ref(struct mailbox *box);
void mailbox_unref(struct mailbox *box);
int mailbox_post(struct mailbox *box, struct mail *mail); /* to the loop; -1: full or closed */
/* All of the list to the loop, in order, with one wake-up. What is refused is discarded, and counted as lost. */
void mailbox_post_all(struct mailbox *box, struct list *mails);
struct mail *mailbox_take(struct mailbox *box);     /* waits; NULL: closed */
struct mail *mailbox_take_now(struct mailbox *box); /* NULL: nothing there, or closed */
bool mailbox_closed(struct mailbox *box);
void mailbox_lost(struct mailbox *box, size_t count); /* so many were lost before they could become mails */

#endif
