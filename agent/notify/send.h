/*
 * One try to send one message: by HTTP over our own client and TLS, or by a program. Called by notify.c and by `wshealthd notify test`. It
 * decides nothing about retries; the receiver's type says whether the answer is a yes.
 *
 * Async contract: a start that returns NULL never calls back; one that does not calls on_done exactly once, and never inside the call, unless
 * it is cancelled.
 */
#ifndef WSHEALTHD_NOTIFY_SEND_H
#define WSHEALTHD_NOTIFY_SEND_H

#include "agent/net/loop.h"
#include "agent/notify/receiver.h"

struct tls_context;

struct sending_result {
    bool taken;
    bool again;              /* not taken: it is worth another try */
    uint64_t retry_after_ms; /* what the receiver asks for; 0: nothing */
    int status;              /* of HTTP, or the program's exit code; -1: there is none */
    struct slice answer;     /* its beginning; valid during on_done */
    const struct err *err;   /* NULL: taken */
};

struct sending_request {
    const struct notifier_conf *conf; /* used during the call only, its type aside */
    struct tls_context *tls;          /* NULL: plain */
    const struct notice *notice;
    uint64_t timeout_ms;
};

struct sending;
struct sending *sending_start(struct loop *loop, const struct sending_request *request,
                              void (*on_done)(void *user, const struct sending_result *result), void *user, struct err *err);
void sending_cancel(struct sending *sending);

#endif
