/*
 * The agent inside the server's own systemd unit (`wshealthd run --watchdog-for PID`), and its guard. The guard is a process of its own
 * between systemd and the agent. It starts the agent again when that ends or hangs, as systemd does for wshealthd.service, and it alone
 * may ask systemd to restart the server: WATCHDOG=trigger, sd_notify(3). Nothing is fed, so that a dead guard, a dead agent, or one that
 * is not sure leaves the server alone.
 */
#ifndef WSHEALTHD_RUN_GUARD_H
#define WSHEALTHD_RUN_GUARD_H

#include <stdbool.h>

#include "agent/base/err.h"

enum guarded {
    GUARD_FAILED,  /* err says why; nothing runs */
    GUARD_STARTED, /* the caller's work is done: the guard runs, in a process of its own */
    GUARD_AGENT    /* the caller is the agent */
};
/* pid: the server's main process, in the same unit. Called before there is a loop or a thread. Returns at once, and once more in each
 * agent that the guard starts. The guard itself ends with the server, and never returns. */
enum guarded guard_start(int pid, struct err *err);

/* For the agent: its loop turns, to be said every GUARD_EVERY_MS. hung: the sentence why the server must be restarted; NULL: it need not
 * be. Never waits; does nothing where there is no guard. */
enum { GUARD_EVERY_MS = 1000, GUARD_SENTENCE_MAX = 400 };
void guard_tell(const char *hung);
bool guard_is_there(void);

#endif
