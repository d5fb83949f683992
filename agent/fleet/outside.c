/* Which regions fail on the public path (agent/fleet/outside.h). Called by link_outside.c. Walks the table, once more for each region that fails. */
#include "agent/fleet/outside.h"

#include <string.h>

/* One that looks, whoever it is. */
struct looker {
    const char *region;
    enum fleet_public path;
    uint64_t since_ms, at_ms, every_ms;
    bool again;
};

/* The i-th of the table, and behind it this agent. false: it does not look. */
static bool look(const struct outside_own *own, const struct members *members, size_t i, uint64_t now_ms, struct looker *out)
{
    const struct member *member;

    if (i == members_count(members)) {
        *out = (struct looker){ own->region, own->path, own->since_ms, own->at_ms, own->every_ms, true };
        return own->path != FLEET_PUBLIC_UNSEEN;
    }
    member = members_at(members, i);
    const uint64_t at_ms = member->heard_ms > member->public_age_ms ? member->heard_ms - member->public_age_ms : 0;
    *out = (struct looker){ member->region, member->public_path, member->public_since_ms,
                            at_ms,          member->every_ms,    member->heard_ms > member->public_since_ms };
    return member->public_path != FLEET_PUBLIC_UNSEEN && member->word != FLEET_LEFT && member_is_fresh(members, member, now_ms) &&
           !member_is_twin(members, member, now_ms);
}

static struct outside_region *region_of(struct outside *out, const char *name)
{
    for (size_t i = 0; i < out->count; i++)
        if (strcmp(out->regions[i].name, name) == 0)
            return &out->regions[i];
    if (out->count == OUTSIDE_REGIONS_MAX)
        return NULL;
    out->regions[out->count] = (struct outside_region){ .name = name, .said_again = true };
    return &out->regions[out->count++];
}

static void count(struct outside_region *region, const struct looker *looker)
{
    region->looking++;
    if (looker->path != FLEET_PUBLIC_FAIL)
        return;
    if (!region->failing++ || looker->since_ms < region->first_ms)
        region->first_ms = looker->since_ms;
    if (looker->every_ms > region->every_ms)
        region->every_ms = looker->every_ms;
    region->said_again = region->said_again && looker->again;
}

static bool fails(const struct outside_region *region, uint64_t now_ms)
{
    return region->looking && region->failing == region->looking && region->said_again &&
           now_ms >= region->first_ms + region->every_ms;
}

void outside_judge(const struct outside_own *own, const struct members *members, uint64_t now_ms, struct outside *out)
{
    struct outside_region all = { .said_again = true };
    struct looker looker;
    size_t last = members_count(members);

    *out = (struct outside){ 0 };
    for (size_t i = 0; i <= last; i++)
        if (look(own, members, i, now_ms, &looker)) {
            struct outside_region *region = region_of(out, looker.region);

            count(&all, &looker);
            if (region)
                count(region, &looker);
        }
    out->looking = all.looking;
    out->failing = all.failing;
    out->down = all.looking >= 2 && fails(&all, now_ms);
    for (size_t k = 0; k < out->count; k++) {
        struct outside_region *region = &out->regions[k];

        for (size_t i = 0; fails(region, now_ms) && i <= last; i++)
            region->getting_in += look(own, members, i, now_ms, &looker) && looker.path == FLEET_PUBLIC_PASS &&
                                  looker.at_ms > region->first_ms && strcmp(looker.region, region->name) != 0;
        region->alone = region->getting_in >= OUTSIDE_OTHERS_MIN;
    }
}
