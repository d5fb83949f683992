/*
 * When the next summary is published: every `every` with a jitter of a tenth, so that agents do not march in step; at once after a change; and soon after
 * another has asked (min_ready) or come new, in small groups, so that it need not wait for a round. Pure: the link holds the timer, and calls
 * announce_sent for each summary that it has given to the broker.
 *
 * Bounds: at least ANNOUNCE_GAP_MS between two summaries, whatever happens; changes meanwhile are told together. Answers come ANNOUNCE_ANSWER_MS after the
 * question, as an earlier one would not count (MIN_READY_MARGIN_MS), one for all questions meanwhile, and only where the group has at most
 * ANNOUNCE_ANSWER_MEMBERS members: there it is at most that many messages for a question.
 */
#ifndef WSHEALTHD_FLEET_ANNOUNCE_H
#define WSHEALTHD_FLEET_ANNOUNCE_H

#include "agent/fleet/members.h"
#include "agent/fleet/min_ready.h"

enum {
    ANNOUNCE_GAP_MS = 200,
    ANNOUNCE_UNHEARD_MS = 2000,
    ANNOUNCE_ANSWER_MS = MIN_READY_MARGIN_MS + 150,
    ANNOUNCE_ANSWER_MEMBERS = 64
};

struct announce { /* zero it to start: the first is due at once */
    uint64_t sent_ms, due_ms;
};

/* The word, the stand, the fault, its cause, or min_ready's `publish`: what others must know without delay. */
void announce_change(struct announce *announce, uint64_t now_ms);
/* members_take has said `news` of that member. */
void announce_heard(struct announce *announce, enum members_news news, const struct member *member, size_t members,
                    uint64_t now_ms);
/* random: any number, for the jitter. */
void announce_sent(struct announce *announce, uint32_t every_ms, uint32_t random, uint64_t now_ms);
/* Once a second: what has not come back after ANNOUNCE_UNHEARD_MS is said again, as others may have missed it too. */
void announce_unheard(struct announce *announce, const struct members *members, uint64_t last_seq, uint64_t now_ms);
bool announce_is_due(const struct announce *announce, uint64_t now_ms);
uint64_t announce_due_ms(const struct announce *announce); /* monotonic; may be past */

#endif
