/*
 * A text that many readers share: made once, counted by reference, never changed. An answer that a hundred clients wait for is kept once,
 * however slowly each of them takes it.
 */
#ifndef WSHEALTHD_BASE_SHARED_H
#define WSHEALTHD_BASE_SHARED_H

#include "agent/base/buf.h"

struct shared;
struct shared *shared_take(struct buf *from); /* the bytes of from, which is empty afterwards; one reference */
struct shared *shared_ref(struct shared *shared);
void shared_unref(struct shared *shared); /* NULL: nothing */
struct slice shared_slice(const struct shared *shared);
size_t shared_live_bytes(void); /* of all texts that somebody still refers to */

#endif
