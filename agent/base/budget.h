/*
 * What one peer may cost in one turn of the loop: so many items, so many bytes, so much time, whichever is over first. A loop over what a
 * peer has sent asks it before each item; what is left then waits for the next turn, so that everybody else is served in between.
 *
 *     struct budget budget = budget_of(32, 64 << 10, 1000);
 *     while (have_input && budget_left(&budget)) { bytes = handle_one(); budget_spend(&budget, bytes); }
 *
 * The first item is always allowed: a budget slows a peer down, and never stops it.
 */
#ifndef WSHEALTHD_BASE_BUDGET_H
#define WSHEALTHD_BASE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/clock.h"

struct budget {
    uint64_t until_ns;
    size_t items, bytes; /* left */
};

static inline struct budget budget_of(size_t items, size_t bytes, uint32_t us)
{
    return (struct budget){ clock_now_ns() + (uint64_t)us * 1000, items, bytes };
}

/* One item has been done, and cost so many bytes. */
static inline void budget_spend(struct budget *budget, size_t bytes)
{
    budget->items -= budget->items > 0;
    budget->bytes -= bytes < budget->bytes ? bytes : budget->bytes;
    if (clock_now_ns() >= budget->until_ns)
        budget->items = 0;
}

static inline bool budget_left(const struct budget *budget)
{
    return budget->items > 0 && budget->bytes > 0;
}

#endif
