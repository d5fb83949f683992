/*
 * What a driver takes from a stream, with a budget for each turn of the loop: so many messages, bytes and microseconds, then the
 * stream is paused and the rest waits for the next turn. So a flood slows down its own connection only. It is for protocols with
 * tiny messages: 64 KiB of them are thousands of callbacks.
 */
#ifndef WSHEALTHD_NET_INTAKE_H
#define WSHEALTHD_NET_INTAKE_H

#include "agent/base/budget.h"
#include "agent/base/buf.h"
#include "agent/net/stream.h"

struct intake { /* embedded; zeroed first. Its memory must stay until the turn that stops it is over */
    struct stream *stream;
    bool (*take)(void *user,
                 struct slice *data); /* one message off the front. false: data is not a whole one, and all of it was taken */
    void *user;
    struct budget budget;
    uint64_t turn_ms; /* when the budget was given */
    struct buf rest;  /* of this turn's bytes; at most one read */
    struct timer more;
};

/* Any number of messages may come through `take`; it may call intake_stop. */
void intake_start(struct intake *intake, struct stream *stream, bool (*take)(void *user, struct slice *data), void *user);
void intake_data(struct intake *intake, struct slice data); /* from on_data */
void intake_stop(struct intake *intake);                    /* before the stream is closed; harmless when it was not started */

#endif
