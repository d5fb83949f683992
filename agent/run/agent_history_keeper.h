/*
 * A thread that does what waits for the disk: one history file, one thing at a time. The loop never waits for it, and a disk that hangs holds
 * nobody but this thread. Called by agent/run/agent_history.c.
 */
#ifndef WSHEALTHD_RUN_AGENT_HISTORY_KEEPER_H
#define WSHEALTHD_RUN_AGENT_HISTORY_KEEPER_H

#include "agent/net/loop.h"
#include "agent/run/agent_history_disk.h"

enum keeper_job { KEEPER_READ, KEEPER_SET_ASIDE, KEEPER_WRITE };
struct keeper_answer {
    enum keeper_job job;
    bool failed, missing; /* failed: see err. missing: of reading, there is no file */
    struct err err;
    struct buf bytes; /* of reading; the keeper's, valid during the call */
};
struct keeper;
/* on_done: on the loop, once for each keeper_ask, in their order; not after keeper_free. NULL and err: no thread could be started. Copies path and spared
 * (see history_disk_set_aside). */
struct keeper *keeper_new(struct loop *loop, const char *path, const char *spared,
                          void (*on_done)(void *user, const struct keeper_answer *answer), void *user, struct err *err);
void keeper_ask(struct keeper *keeper, enum keeper_job job, struct buf *bytes); /* of writing: takes the bytes over; NULL: none */
unsigned keeper_busy(const struct keeper *keeper);                              /* what was asked and is not done */
void keeper_free(struct keeper *keeper);                                        /* NULL: nothing. What is under way is finished */

#endif
