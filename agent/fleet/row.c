/* This agent's row of the matrix (agent/fleet/row.h). Called for each summary and each judgement. Owns nothing. */
#include "agent/fleet/row.h"

#include <string.h>

int32_t row_gap(const struct member *member)
{
    bool before = member->gap_ms[1] != SUMMARY_UNKNOWN && member->gap_ms[1] < member->gap_ms[0];

    return member->gap_ms[before];
}

static uint16_t narrow(uint32_t count)
{
    return count > UINT16_MAX ? UINT16_MAX : (uint16_t)count;
}

/* Its place among the cells, or count. */
static size_t place_of(const struct fleet_heard *heard, uint32_t who)
{
    size_t i = 0;

    while (i < heard->count && heard->cells[i].who != who)
        i++;
    return i;
}

static bool others_hear(const struct members *members, uint32_t who)
{
    for (size_t i = 0; i < members_count(members); i++)
        for (size_t j = 0; j < members_at(members, i)->row_count; j++)
            if (members_at(members, i)->row[j].who == who && members_at(members, i)->row[j].got)
                return true;
    return false;
}

/* What it has published, and nothing of it has come here. */
static uint32_t unheard(const struct fleet_heard *heard, const struct members *members, const struct member *member, size_t place,
                        uint64_t now_ms)
{
    const struct summary_beats *beats = &member->beats;
    uint64_t age_ms = now_ms > member->heard_ms ? now_ms - member->heard_ms : 0; /* the window ended when it said so */
    uint64_t window_ms = beats->window_ms > ROW_WINDOW_MS ? beats->window_ms : ROW_WINDOW_MS,
             span_ms = window_ms + age_ms + ROW_SLACK_MS;
    bool known = place < heard->count;

    if (!beats->count || !heard->whole || !heard->beats.window_ms || beats->channels != heard->beats.channels ||
        heard->able_ms < span_ms || !member_is_fresh(members, member, now_ms) || (known && heard->cells[place].quiet_ms < span_ms))
        return 0;
    return known || (strcmp(member->region, heard->region) == 0 && !others_hear(members, member->who)) ? beats->count : 0;
}

static struct summary_source cell_of(const struct fleet_heard *heard, const struct members *members, const struct member *member,
                                     uint64_t now_ms)
{
    size_t place = place_of(heard, member->who);
    struct summary_source cell = { .who = member->who, .late_ms = SUMMARY_UNKNOWN, .gap_ms = row_gap(member) };

    if (place < heard->count) {
        cell.got = narrow(heard->cells[place].got);
        cell.lost = narrow(heard->cells[place].lost);
        cell.late_ms = heard->cells[place].late_ms;
    }
    if (cell.got || cell.lost)
        return cell;
    cell.lost = narrow(unheard(heard, members, member, place, now_ms));
    if (cell.lost)
        cell.late_ms = SUMMARY_NOR_CONTROL;
    return cell;
}

/* First those who publish or were heard, then the others; from where the last row ended. */
size_t row_make(const struct fleet_heard *heard, const struct members *members, uint64_t now_ms, size_t *turn,
                struct summary_source out[SUMMARY_ROW_MAX])
{
    size_t all = members_count(members), max = all > ROW_MANY ? ROW_MANY_MAX : SUMMARY_ROW_MAX, count = 0, next = *turn;

    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < all && count < max; i++) {
            size_t at = (*turn + i) % all;
            const struct member *member = members_at(members, at);
            bool speaks = member->beats.count || place_of(heard, member->who) < heard->count;

            if (!member_counts(member) || speaks != (pass == 0))
                continue;
            out[count++] = cell_of(heard, members, member, now_ms);
            next = at + 1;
        }
    *turn = all > max ? next % all : 0;
    return count;
}
