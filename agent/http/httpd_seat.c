/* The choice of the connection to close (agent/http/httpd_seat.h). Owns nothing, and takes the time as an argument. */
#include "agent/http/httpd_seat.h"

#include <stdbool.h>

static bool is_crowd(const struct seat *seat, size_t count)
{
    return seat->fellows > count / 2;
}

static uint64_t age_ms(const struct seat *seat, uint64_t now_ms)
{
    return now_ms > seat->since_ms ? now_ms - seat->since_ms : 0;
}

/* The connection with the lowest rank is closed first. */
static unsigned rank(const struct seat *seat, size_t count, uint64_t now_ms)
{
    static const unsigned by_state[] = { [SEAT_OWES] = 0, [SEAT_IDLE] = 2, [SEAT_TAKES] = 3, [SEAT_STREAM] = 4 };
    enum { RANKS = 5 };
    unsigned order = by_state[seat->state];
    if (seat->state == SEAT_TAKES && age_ms(seat, now_ms) >= SEAT_STALLED_MS)
        order = 1;
    return is_crowd(seat, count) ? order : order + RANKS;
}

static ptrdiff_t choose(const struct seat *seats, size_t count, uint64_t now_ms, bool pressed, uint64_t *again_ms)
{
    ptrdiff_t chosen = SEAT_NOBODY;
    unsigned lowest = 0;
    for (size_t i = 0; i < count; i++) {
        const struct seat *seat = &seats[i];
        uint64_t grace_ms = pressed && is_crowd(seat, count) ? SEAT_CROWD_GRACE_MS : SEAT_GRACE_MS, age = age_ms(seat, now_ms);
        if (seat->state == SEAT_SERVED)
            continue;
        if (age < grace_ms) {
            if (grace_ms - age < *again_ms)
                *again_ms = grace_ms - age;
            continue;
        }
        unsigned order = rank(seat, count, now_ms);
        if (chosen == SEAT_NOBODY || order < lowest || (order == lowest && seat->since_ms < seats[chosen].since_ms)) {
            chosen = (ptrdiff_t)i;
            lowest = order;
        }
    }
    return chosen;
}

ptrdiff_t seat_choose(const struct seat *seats, size_t count, uint64_t now_ms, uint64_t *again_ms)
{
    *again_ms = SEAT_GRACE_MS;
    ptrdiff_t chosen = choose(seats, count, now_ms, false, again_ms);
    return chosen != SEAT_NOBODY ? chosen : choose(seats, count, now_ms, true, again_ms);
}
