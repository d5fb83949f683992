/* Is a fault the whole fleet's (agent/fleet/together.h)? Called before min_ready_decide. Walks the table, and keeps nothing of it. */
#include "agent/fleet/together.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"

enum { TENTHS = 10, BEGINS = 9, LASTS = 7 };

/* Those that could have the fault. */
static bool is_asked(const struct member *member)
{
    return member_counts(member) && member->word != FLEET_DRAINING && member->word != FLEET_STARTING;
}

static bool has_fault(const struct members *members, const struct member *member, uint64_t now_ms)
{
    return member->fault && member->cause[0] && member_is_fresh(members, member, now_ms);
}

/* The only cause that most of them can have (majority by pairing off); "" where nobody has a fault. */
static const char *candidate(const struct members *members, const struct together_own *own, uint64_t now_ms)
{
    const char *cause = own->counts && own->fault ? own->cause : "";
    size_t votes = *cause != 0;

    for (size_t i = 0; i < members_count(members); i++) {
        const struct member *member = members_at(members, i);
        const char *theirs = has_fault(members, member, now_ms) ? member->cause : "";

        if (!is_asked(member))
            continue;
        if (votes == 0)
            cause = theirs, votes = 1;
        else if (strcmp(cause, theirs) == 0)
            votes++;
        else
            votes--;
    }
    return cause;
}

static int by_time(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

/* How many of the begins lie within the short time, at best. */
static size_t most_together(uint64_t *begins, size_t count)
{
    size_t most = 0;

    qsort(begins, count, sizeof *begins, by_time);
    for (size_t first = 0, last = 0; last < count; last++) {
        while (begins[last] - begins[first] > TOGETHER_WITHIN_MS)
            first++;
        if (last - first + 1 > most)
            most = last - first + 1;
    }
    return most;
}

struct tally {
    size_t asked, sharing, again; /* again: they share the cause, and have said so since it looked like all */
    uint64_t *begins;             /* of those that share the cause */
};

static void tally_add(struct tally *tally, bool shares, uint64_t since_ms, bool again)
{
    tally->asked++;
    if (!shares)
        return;
    tally->begins[tally->sharing++] = since_ms;
    tally->again += again;
}

static struct tally tally_of(const struct members *members, const struct together_own *own, const char *cause, uint64_t seen_ms,
                             uint64_t now_ms)
{
    struct tally tally = { .begins = mem_alloc((members_count(members) + 1) * sizeof(uint64_t)) };

    for (size_t i = 0; i < members_count(members); i++) {
        const struct member *member = members_at(members, i);

        if (is_asked(member))
            tally_add(&tally, *cause && has_fault(members, member, now_ms) && strcmp(member->cause, cause) == 0,
                      member->fault_since_ms, seen_ms && member->heard_ms >= seen_ms + TOGETHER_MARGIN_MS);
    }
    if (own->counts)
        tally_add(&tally, *cause && own->fault && strcmp(own->cause, cause) == 0, own->fault_since_ms, seen_ms);
    return tally;
}

/* It looks like all; and once it has, so many must have said it again. */
static bool begins(struct together *together, struct tally *tally, uint64_t now_ms)
{
    bool looks = tally->sharing * TENTHS >= tally->asked * BEGINS &&
                 most_together(tally->begins, tally->sharing) * TENTHS >= tally->asked * BEGINS;

    if (!looks)
        together->seen_ms = 0;
    else if (!together->seen_ms)
        together->seen_ms = now_ms;
    return looks && tally->again * TENTHS >= tally->asked * BEGINS;
}

bool together_judge(struct together *together, const struct members *members, const struct together_own *own, uint64_t now_ms)
{
    const char *cause = together->wide ? together->cause : candidate(members, own, now_ms);
    struct tally tally = tally_of(members, own, cause, together->seen_ms, now_ms);
    bool wide = tally.asked >= TOGETHER_MEMBERS_MIN && (together->wide || own->settled);

    if (together->wide)
        wide = wide && tally.sharing * TENTHS >= tally.asked * LASTS;
    else
        wide = begins(together, &tally, now_ms) && wide;
    if (wide && !together->wide)
        snprintf(together->cause, sizeof together->cause, "%s", cause);
    else if (!wide)
        together->cause[0] = 0;
    if (wide != together->wide)
        together->seen_ms = 0;
    together->wide = wide;
    together->members = (uint32_t)tally.asked;
    together->sharing = (uint32_t)tally.sharing;
    mem_free(tally.begins);
    return wide && own->fault && strcmp(own->cause, together->cause) == 0;
}
