/*
 * The stall guard's measurements (agent/core/stall.h). Called by the engine (agent/core/check.c), which decides what a late agent means
 * for a round. It decides nothing itself.
 */
#include "agent/core/stall.h"

#include <string.h>

#include "agent/base/clock.h"

/* CLOCK_BOOTTIME goes on while the host is suspended, CLOCK_MONOTONIC does not: both kinds of gap count. */
static uint64_t lateness_ns(const struct stall *stall, uint64_t now_ns, uint64_t boot_ns)
{
    uint64_t tick_ns = (uint64_t)STALL_TICK_MS * NS_PER_MS;
    uint64_t ran_ns = now_ns - stall->last_tick_ns, slept_ns = boot_ns - stall->last_boot_ns;
    uint64_t passed_ns = slept_ns > ran_ns ? slept_ns : ran_ns;

    return passed_ns > tick_ns ? passed_ns - tick_ns : 0;
}

static void on_timer(struct timer *timer, void *user)
{
    struct stall *stall = user;
    uint64_t now_ns = clock_now_ns(), boot_ns = clock_boot_ns();
    uint64_t late_ns = lateness_ns(stall, now_ns, boot_ns), late_ms = late_ns / NS_PER_MS,
             longest_ns = loop_take_longest(timer->loop);

    /* Long turns are counted by the loop itself. What they do not explain is a process or host that was stopped. */
    if (late_ms >= STALL_GAP_MIN_MS && late_ns > 2 * longest_ns)
        prom_observe(&stall->lag, (double)late_ns / 1e9);
    if (late_ms >= STALL_GAP_MIN_MS) {
        stall->gaps[stall->next_gap++ % STALL_GAPS] = (struct stall_gap){ now_ns, late_ns };
        stall->stalls += late_ms >= STALL_REPORT_MS;
    }
    stall->last_tick_ns = now_ns;
    stall->last_boot_ns = boot_ns;
    timer_start(timer, STALL_TICK_MS);
    stall->on_tick(stall->user, late_ms);
}

void stall_init(struct stall *stall, struct loop *loop, void (*on_tick)(void *user, uint64_t late_ms), void *user)
{
    memset(stall, 0, sizeof *stall);
    stall->on_tick = on_tick;
    stall->user = user;
    stall->last_tick_ns = clock_now_ns();
    stall->last_boot_ns = clock_boot_ns();
    timer_init(&stall->timer, loop, on_timer, stall);
    timer_start(&stall->timer, STALL_TICK_MS);
}

void stall_fini(struct stall *stall)
{
    timer_stop(&stall->timer);
}

uint64_t stall_late_ms(const struct stall *stall, uint64_t since_ns)
{
    uint64_t worst_ns = lateness_ns(stall, clock_now_ns(), clock_boot_ns());

    for (unsigned i = 0; i < STALL_GAPS; i++)
        if (stall->gaps[i].end_ns > since_ns && stall->gaps[i].late_ns > worst_ns)
            worst_ns = stall->gaps[i].late_ns;
    return worst_ns / NS_PER_MS;
}
