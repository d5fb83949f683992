/*
 * The history as bytes, for the file that keeps it over restarts (agent/run/agent_history.c). Pure. The format: a line that names it and its
 * version, a SHA-256 of the rest, and the rest, little-endian, with lengths before what varies.
 */
#ifndef WSHEALTHD_REPORT_HISTORY_FILE_H
#define WSHEALTHD_REPORT_HISTORY_FILE_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/report/history.h"

/* More than a history of all the checks that a configuration may have ever takes. */
enum { HISTORY_FILE_MAX = 4 << 20 };

/* Appends; out has room for HISTORY_FILE_MAX. saved_ms: wall, now. */
void history_encode(const struct history *history, int64_t saved_ms, struct buf *out);
/* NULL and err ("is cut short or was changed: …"), or a history of its own, and when it was saved. Whatever the bytes are, what comes out is within the
 * bounds of history.h. Causes that this version does not know are left out. */
struct history *history_decode(struct slice bytes, int64_t *saved_ms, struct err *err);

#endif
