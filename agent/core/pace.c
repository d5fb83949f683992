/*
 * The arithmetic of rounds (agent/core/pace.h). Called by agent/core/check.c when a round has ended.
 *
 * A hung server at the defaults (interval 5 s, timeout 2 s, fall 2): a fast round comes fast_interval after the beginning of the one before
 * it, and so at once after one that has used up its timeout. The time to the verdict is that to the next round of any check, plus two timeouts.
 */
#include "agent/core/pace.h"

/* The grid's next place that is not over. */
static void step_on(struct pace *pace, const struct pace_options *options, uint64_t now_ns)
{
    if (!pace->extra)
        pace->due_ns += options->interval_ns;
    pace->extra = false;
    if (pace->due_ns < now_ns)
        pace->due_ns += (now_ns - pace->due_ns + options->interval_ns - 1) / options->interval_ns * options->interval_ns;
}

uint64_t pace_next_ns(struct pace *pace, const struct pace_options *options, uint64_t started_ns, uint64_t now_ns,
                      bool contradicted, int64_t shift_ns)
{
    uint64_t soon_ns = started_ns + options->fast_ns, delay_ns;
    int64_t wanted_ns;

    step_on(pace, options, now_ns);
    wanted_ns = (int64_t)(pace->due_ns - now_ns) + shift_ns;
    delay_ns = wanted_ns > 0 ? (uint64_t)wanted_ns : 0;
    soon_ns = soon_ns > now_ns ? soon_ns - now_ns : 0;
    if (!contradicted) {
        pace->fast = 0;
    } else if (pace->fast < options->fast_max) {
        pace->fast++;
        if (soon_ns < delay_ns) {
            pace->extra = true;
            delay_ns = soon_ns;
        }
    }
    return delay_ns;
}

uint64_t pace_skip_ns(struct pace *pace, const struct pace_options *options, uint64_t now_ns, uint64_t until_ns)
{
    step_on(pace, options, now_ns);
    pace->extra = true;
    return until_ns > now_ns ? until_ns - now_ns : 0;
}
