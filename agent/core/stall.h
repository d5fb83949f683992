/*
 * Was the agent itself late? A tick every STALL_TICK_MS shows when the loop (stopped by a signal, starved of CPU) or the whole host
 * (suspended) did not run. A round that failed across such a gap is void: the fault may be ours.
 */
#ifndef WSHEALTHD_CORE_STALL_H
#define WSHEALTHD_CORE_STALL_H

#include "agent/net/loop.h"
#include "agent/proto/prom.h"

enum { STALL_TICK_MS = 250, STALL_GAPS = 8, STALL_GAP_MIN_MS = 50, STALL_REPORT_MS = 1000 };

struct stall {
    struct timer timer;
    uint64_t last_tick_ns, last_boot_ns;
    struct stall_gap {
        uint64_t end_ns, late_ns;
    } gaps[STALL_GAPS]; /* the latest gaps worth remembering, a ring */
    unsigned next_gap;
    uint64_t stalls;                               /* gaps of STALL_REPORT_MS and more */
    struct prom_histogram lag;                     /* of the gaps that a long turn of the loop does not explain */
    void (*on_tick)(void *user, uint64_t late_ms); /* after each tick */
    void *user;
};

void stall_init(struct stall *stall, struct loop *loop, void (*on_tick)(void *user, uint64_t late_ms), void *user);
void stall_fini(struct stall *stall);
/* The longest time in milliseconds that the agent has been late since then, up to this very moment. */
uint64_t stall_late_ms(const struct stall *stall, uint64_t since_ns);

#endif
