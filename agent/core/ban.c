/* Who was locked out for its own bad tries (agent/core/ban.h). Called by auth and origin. Pure: no clock, no allocation. */
#include "agent/core/ban.h"

#include "agent/base/clock.h"

enum { DOUBLED_MAX = 9 };

uint64_t ban_pause_ms(const struct ban *ban)
{
    unsigned doubled = ban->count > DOUBLED_MAX ? DOUBLED_MAX : ban->count;
    uint64_t pause_ms = (uint64_t)BAN_PAUSE_MS << (doubled ? doubled - 1 : 0);

    return pause_ms < BAN_MAX_MS ? pause_ms : BAN_MAX_MS;
}

uint64_t ban_note_taken(struct ban *ban)
{
    uint64_t pause_ms = ban->since_ns ? ban_pause_ms(ban) : 0;

    ban->was_taken = true;
    ban->tried = false;
    ban->since_ns = 0;
    return pause_ms;
}

void ban_note_tried(struct ban *ban)
{
    ban->tried = true;
}

bool ban_note_refused(struct ban *ban, uint64_t now_ns)
{
    if (!ban->was_taken || !ban->tried)
        return false;
    if (!ban->since_ns) {
        ban->since_ns = now_ns ? now_ns : 1;
        ban->count++;
    }
    return now_ns - ban->since_ns <= BAN_MAX_MS * (uint64_t)NS_PER_MS || now_ns < ban->since_ns;
}
