/* Which findings of the matrix stand (agent/fleet/findings.h). Called once a judgement. Owns nothing. */
#include "agent/fleet/findings.h"

#include <stdio.h>
#include <string.h>

static bool is_same(const struct finding *finding, const struct matrix_finding *found)
{
    return finding->cause == found->cause && strcmp(finding->who, found->who ? found->who : "") == 0 &&
           strcmp(finding->from, found->from ? found->from : "") == 0;
}

static struct finding *row_of(struct findings_kept *kept, const struct matrix_finding *found, uint64_t now_ms)
{
    struct finding *row;

    for (size_t i = 0; i < kept->count; i++)
        if (is_same(&kept->rows[i], found))
            return &kept->rows[i];
    if (kept->count == FINDINGS_MAX)
        return NULL;
    row = &kept->rows[kept->count++];
    *row = (struct finding){ .cause = found->cause, .first_ms = now_ms };
    snprintf(row->who, sizeof row->who, "%s", found->who ? found->who : "");
    snprintf(row->from, sizeof row->from, "%s", found->from ? found->from : "");
    return row;
}

/* Is it over? What has not been told yet must be there every time. */
static bool is_over(const struct finding *row, uint64_t now_ms)
{
    return row->seen_ms != now_ms && (!row->told || now_ms - row->seen_ms >= FINDINGS_SETTLE_MS);
}

void findings_note(struct findings_kept *kept, const struct matrix_finding *found, size_t count, uint64_t now_ms,
                   void (*change)(void *user, const struct finding *finding, bool begins), void *user)
{
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        struct finding *row = row_of(kept, &found[i], now_ms);

        if (!row)
            continue;
        row->seen_ms = now_ms;
        row->dark = found[i].dark;
        row->shard = found[i].shard;
        if (row->told || now_ms - row->first_ms < FINDINGS_SETTLE_MS)
            continue;
        row->told = true;
        if (change)
            change(user, row, true);
    }
    for (size_t i = 0; i < kept->count; i++) {
        struct finding *row = &kept->rows[i];

        if (!is_over(row, now_ms)) {
            if (left++ != i)
                kept->rows[left - 1] = *row;
        } else if (row->told && change) {
            change(user, row, false);
        }
    }
    kept->count = left;
}
