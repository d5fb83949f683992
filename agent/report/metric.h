/* The names of all metric families: one list for /metrics and the manual. What they show is counted in agent/core/stats.h. */
#ifndef WSHEALTHD_REPORT_METRIC_H
#define WSHEALTHD_REPORT_METRIC_H

#include <stdbool.h>

#include "agent/base/buf.h"

struct agent_view;
/*
 * With more checks than this, failures by reason and closes by code are written from their first count on, the most common aside, and phases
 * have fewer buckets: about 5 KB for each check. How many checks there are changes with the configuration only.
 */
enum { METRIC_WHOLE_CHECKS = 64 };
/* /metrics; complete from the first scrape. -1 when the buffer's ceiling cut it (about 16 KiB for each check is enough). */
int metric_write(const struct agent_view *view, bool openmetrics, struct buf *out);
void metric_write_roff(struct buf *out); /* the manual's table */

#endif
