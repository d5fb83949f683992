/* How long heartbeats take from publishing to another server's WebSocket: lateness, with the difference of the two clocks taken off. Pure. */
#ifndef WSHEALTHD_FLEET_DELAYS_H
#define WSHEALTHD_FLEET_DELAYS_H

#include "agent/fleet/matrix.h"
#include "agent/report/fleet_view.h"

enum { DELAYS_READ_MAX = 4096, DELAYS_CELLS_MAX = 2 * DELAYS_READ_MAX, DELAYS_ERROR_MS = 10 };

/* `cell` is what `to` had of an agent whose row is `back`: each has the gap of the other's summaries, and so the difference of their clocks is known, to within
 * the error. false: one side is missing, or the error is larger than DELAYS_ERROR_MS and the delay. */
bool delay_of(const struct summary_source *cell, uint32_t to, const struct summary_source *back, size_t back_count,
              int32_t *late_ms, int32_t *error_ms);
/* The median for each two of `regions`, of at most DELAYS_READ_MAX cells out of DELAYS_CELLS_MAX. How many are in out. */
size_t delays_by_region(const struct matrix_own *own, const struct members *members, const char *const *regions,
                        size_t region_count, struct fleet_delay_view out[FLEET_VIEW_DELAYS_MAX]);

#endif
