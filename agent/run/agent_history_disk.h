/*
 * The file of the history on a disk: read whole, written whole, set aside. Each call waits for the disk, so that only a thread beside the loop may
 * call it (agent/run/agent_history_keeper.c). No global state.
 */
#ifndef WSHEALTHD_RUN_AGENT_HISTORY_DISK_H
#define WSHEALTHD_RUN_AGENT_HISTORY_DISK_H

#include <stdbool.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

/* 0, or -1 and err. *missing: there is no file; then it is 0, and nothing was read. */
int history_disk_read(const char *path, size_t max, struct buf *out, bool *missing, struct err *err);
/* Writes path.new, mode 0600, and puts it in path's place: path is the old file or the new one at any moment. Refuses to replace what is no
 * regular file. Another agent that writes the same file is an error. */
int history_disk_write(const char *path, struct slice bytes, struct err *err);
/* Renames it to path.damaged, over the one before. Only a regular file of this user's, and never `spared`, by whatever name (NULL: none). */
int history_disk_set_aside(const char *path, const char *spared, struct err *err);

#endif
