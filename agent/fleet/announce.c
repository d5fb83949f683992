/* When this agent speaks to its group (agent/fleet/announce.h). Called by the link. Pure: no clock, no timer, no randomness of its own. */
#include "agent/fleet/announce.h"

enum { JITTER_PART = 10 };

static void hasten(struct announce *announce, uint64_t due_ms)
{
    if (announce->sent_ms && due_ms < announce->sent_ms + ANNOUNCE_GAP_MS)
        due_ms = announce->sent_ms + ANNOUNCE_GAP_MS;
    if (due_ms < announce->due_ms)
        announce->due_ms = due_ms;
}

void announce_change(struct announce *announce, uint64_t now_ms)
{
    hasten(announce, now_ms);
}

void announce_heard(struct announce *announce, enum members_news news, const struct member *member, size_t members, uint64_t now_ms)
{
    bool asks = member && member->stand == FLEET_STAND_ASKS && (news == MEMBERS_HEARD || news == MEMBERS_RESTARTED);
    bool is_new = news == MEMBERS_JOINED || news == MEMBERS_RESTARTED;

    if ((asks || is_new) && members <= ANNOUNCE_ANSWER_MEMBERS)
        hasten(announce, now_ms + ANNOUNCE_ANSWER_MS);
}

void announce_sent(struct announce *announce, uint32_t every_ms, uint32_t random, uint64_t now_ms)
{
    uint32_t jitter_ms = every_ms / JITTER_PART;

    announce->sent_ms = now_ms;
    announce->due_ms = now_ms + every_ms - jitter_ms + random % (2 * jitter_ms + 1);
}

void announce_unheard(struct announce *announce, const struct members *members, uint64_t last_seq, uint64_t now_ms)
{
    if (announce->sent_ms && members_echo_seq(members) < last_seq && now_ms - announce->sent_ms >= ANNOUNCE_UNHEARD_MS)
        hasten(announce, now_ms);
}

bool announce_is_due(const struct announce *announce, uint64_t now_ms)
{
    return now_ms >= announce->due_ms;
}

uint64_t announce_due_ms(const struct announce *announce)
{
    return announce->due_ms;
}
