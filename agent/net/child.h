/*
 * A program that is run beside the loop: bytes to its standard input, and what it writes, up to a ceiling. It gets a process group of its own, no
 * descriptor but the three, the root as its directory and no environment but what it is given. At the deadline the whole group is killed.
 *
 * Async contract: a start that returns NULL never calls back; one that does not calls on_done exactly once, and never inside the call, unless
 * it is cancelled.
 */
#ifndef WSHEALTHD_NET_CHILD_H
#define WSHEALTHD_NET_CHILD_H

#include "agent/base/err.h"
#include "agent/base/slice.h"
#include "agent/net/loop.h"

enum {
    CHILD_OUTPUT_MAX = 4096,        /* what is kept, of both outputs together */
    CHILD_OUTPUT_READ_MAX = 1 << 20 /* what is read at all: after it the pipes are closed */
};

struct child_request {
    char *const *args; /* ends with NULL; the first is a path with a slash, or found on the PATH of `env` */
    char *const *env;  /* "NAME=value", ends with NULL */
    struct slice input;
    uint64_t timeout_ms;
};
struct child_result {
    int status;            /* its exit code; 128 + N where signal N ended it */
    bool killed;           /* by the deadline; err says so */
    struct slice output;   /* valid during on_done */
    const struct err *err; /* NULL: it ended by itself, with `status` */
};
struct child;
struct child *child_start(struct loop *loop, const struct child_request *request,
                          void (*on_done)(void *user, const struct child_result *result), void *user, struct err *err);
void child_cancel(
    struct child *child);    /* kills it and all that it has started. It is reaped later, unless child_forget_all comes first */
bool child_any(void);        /* is one of those that were cancelled not reaped yet? */
void child_forget_all(void); /* before loop_fini: closes what is left of those that were cancelled */

#endif
