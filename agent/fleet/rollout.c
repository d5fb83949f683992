/* Whether a roll-out is under way (agent/fleet/rollout.h). Called by link.c for each summary, and by link_outside.c. Owns nothing but what it is given. */
#include "agent/fleet/rollout.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 8, LATELY_MINUTES = ROLLOUT_LATELY_MS / 60000 };

static bool is_lately(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms && (at_ms > now_ms || now_ms - at_ms < ROLLOUT_LATELY_MS);
}

static void note_gone(struct rollout *rollout, uint32_t who, uint64_t at_ms)
{
    struct rollout_gone *row = &rollout->gone[0];

    for (size_t i = 0; i < ROLLOUT_GONE_MAX; i++) {
        struct rollout_gone *other = &rollout->gone[i];

        if (other->at_ms && other->who == who) {
            row = other;
            break;
        }
        if (other->at_ms < row->at_ms)
            row = other;
    }
    if (row->who == who && row->at_ms >= at_ms)
        return;
    *row = (struct rollout_gone){ who, at_ms };
}

/* The row of the version, which is as old as the first run that had it. */
static struct rollout_version *note_version(struct rollout *rollout, const char *version, uint64_t begun_ms, uint64_t now_ms)
{
    uint32_t what = fleet_hash(version) | 1;
    struct rollout_version *row = &rollout->versions[0];

    for (size_t i = 0; i < ROLLOUT_VERSIONS_MAX; i++) {
        if (rollout->versions[i].what == what) {
            row = &rollout->versions[i];
            break;
        }
        if (rollout->versions[i].heard_ms < row->heard_ms)
            row = &rollout->versions[i];
    }
    if (row->what != what)
        *row = (struct rollout_version){ .what = what, .first_ms = begun_ms };
    if (begun_ms < row->first_ms)
        row->first_ms = begun_ms;
    row->heard_ms = now_ms;
    return row;
}

void rollout_note(struct rollout *rollout, const struct member *member, uint64_t now_ms)
{
    if (member->watcher)
        return;
    if (member->word == FLEET_DRAINING || member->word == FLEET_LEFT)
        note_gone(rollout, member->who, member->since_ms);
    note_version(rollout, member_version(member), member->version_ms, now_ms);
}

struct shown_version {
    const char *text;
    uint64_t first_ms;
    uint32_t count;
};
struct tally {
    struct shown_version versions[SHOWN_MAX];
    size_t version_count;
    uint32_t of, begun;
    uint64_t since_ms;
};

static void begin_at(struct tally *tally, uint64_t at_ms)
{
    if (!tally->since_ms || at_ms < tally->since_ms)
        tally->since_ms = at_ms;
}

static void tally_one(struct tally *tally, struct rollout *rollout, const char *version, uint64_t version_ms, uint64_t begun_ms,
                      uint64_t now_ms)
{
    size_t i = 0;

    tally->of++;
    if (is_lately(begun_ms, now_ms)) {
        tally->begun++;
        begin_at(tally, begun_ms);
    }
    while (i < tally->version_count && strcmp(tally->versions[i].text, version) != 0)
        i++;
    if (i == SHOWN_MAX)
        return;
    if (i == tally->version_count)
        tally->versions[tally->version_count++] =
            (struct shown_version){ .text = version, .first_ms = note_version(rollout, version, version_ms, now_ms)->first_ms };
    tally->versions[i].count++;
}

static void name_versions(const struct tally *tally, struct rollout_found *out, uint64_t *newest_ms)
{
    const struct shown_version *to = &tally->versions[0], *from = NULL;

    out->versions = (uint32_t)tally->version_count;
    *newest_ms = 0;
    if (tally->version_count < 2)
        return;
    for (size_t i = 1; i < tally->version_count; i++)
        if (tally->versions[i].first_ms > to->first_ms)
            to = &tally->versions[i];
    for (size_t i = 0; i < tally->version_count; i++)
        if (&tally->versions[i] != to && (!from || tally->versions[i].count > from->count))
            from = &tally->versions[i];
    out->to = to->text;
    out->from = from->text;
    *newest_ms = to->first_ms;
}

void rollout_judge(struct rollout *rollout, const struct members *members, const struct rollout_own *own, uint64_t now_ms,
                   struct rollout_found *out)
{
    struct tally tally = { 0 };
    uint32_t gone = 0;
    uint64_t newest_ms;
    bool new_version;

    *out = (struct rollout_found){ 0 };
    if (own->version) {
        if (own->draining)
            note_gone(rollout, fleet_hash(own->id), own->draining_ms);
        tally_one(&tally, rollout, own->version, own->version_ms, own->begun_ms, now_ms);
    }
    for (size_t i = 0; i < members_count(members); i++) {
        const struct member *member = members_at(members, i);

        if (member_counts(member) && member_is_fresh(members, member, now_ms))
            tally_one(&tally, rollout, member_version(member), member->version_ms, member->begun_ms, now_ms);
    }
    for (size_t i = 0; i < ROLLOUT_GONE_MAX; i++)
        if (is_lately(rollout->gone[i].at_ms, now_ms)) {
            gone++;
            begin_at(&tally, rollout->gone[i].at_ms);
        }
    name_versions(&tally, out, &newest_ms);
    new_version = is_lately(newest_ms, now_ms);
    out->changed = gone > tally.begun ? gone : tally.begun;
    out->of = tally.of > out->changed ? tally.of : out->changed;
    out->announced = gone || new_version;
    out->under_way = out->changed || out->versions > 1;
    out->since_ms = tally.since_ms ? tally.since_ms : newest_ms;
}

void rollout_say(const struct rollout_found *found, char *out, size_t size)
{
    char counts[96] = "", versions[96] = "";

    *out = 0;
    if (!found->announced && found->versions < 2)
        return;
    if (found->announced && found->changed)
        snprintf(counts, sizeof counts, "%" PRIu32 " of %" PRIu32 " instances drained or restarted in the last %d minutes",
                 found->changed, found->of, LATELY_MINUTES);
    if (found->versions > 1)
        snprintf(versions, sizeof versions, "%s%s → %s%s", *counts ? ", " : "", found->from, found->to,
                 found->versions > 2 ? " and others" : "");
    snprintf(out, size, "%s: %s%s", found->announced ? "a roll-out is under way" : "the instances differ in their versions", counts,
             versions);
}
