/* Delays between regions (agent/fleet/delays.h). Called by link_matrix.c, at most once a second. Its memory is for the call only. */
#include "agent/fleet/delays.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"

enum { MS_A_SECOND = 1000 };

struct line { /* one agent's row */
    uint32_t who;
    unsigned region;
    const struct summary_source *row;
    size_t count;
};

struct sample {
    unsigned pair;
    int32_t late_ms;
};

/* There: way + (to's clock - from's). Back: way + (from's - to's). Lateness: delay + (to's - from's). */
bool delay_of(const struct summary_source *cell, uint32_t to, const struct summary_source *back, size_t back_count,
              int32_t *late_ms, int32_t *error_ms)
{
    int64_t round_ms, delay_ms;

    if (cell->late_ms == SUMMARY_UNKNOWN || cell->gap_ms == SUMMARY_UNKNOWN || !cell->got)
        return false;
    for (size_t i = 0; i < back_count; i++) {
        if (back[i].who != to || back[i].gap_ms == SUMMARY_UNKNOWN)
            continue;
        round_ms = (int64_t)cell->gap_ms + back[i].gap_ms;
        delay_ms = cell->late_ms + ((int64_t)back[i].gap_ms - cell->gap_ms) / 2;
        if (round_ms < 0 || round_ms / 2 >= INT32_MAX || delay_ms > INT32_MAX)
            return false;
        *error_ms = (int32_t)((round_ms + 1) / 2);
        if (delay_ms + *error_ms < 0 || (*error_ms > DELAYS_ERROR_MS && *error_ms > delay_ms))
            return false;
        *late_ms = delay_ms < 0 ? 0 : (int32_t)delay_ms;
        return true;
    }
    return false;
}

static int by_who(const void *a, const void *b)
{
    const struct line *left = a, *right = b;

    return left->who < right->who ? -1 : left->who > right->who;
}

static int by_pair(const void *a, const void *b)
{
    const struct sample *left = a, *right = b;

    if (left->pair != right->pair)
        return left->pair < right->pair ? -1 : 1;
    return left->late_ms < right->late_ms ? -1 : left->late_ms > right->late_ms;
}

static unsigned region_of(const char *const *regions, size_t count, const char *region)
{
    unsigned i = 0;

    while (i < count && strcmp(regions[i], region) != 0)
        i++;
    return i;
}

static size_t read_lines(const struct line *lines, size_t count, size_t region_count, struct sample *samples)
{
    size_t found = 0, read = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < lines[i].count && found < DELAYS_READ_MAX && read < DELAYS_CELLS_MAX; j++, read++) {
            const struct line wanted = { .who = lines[i].row[j].who };
            const struct line *from = bsearch(&wanted, lines, count, sizeof *lines, by_who);
            int32_t error_ms;

            if (!from || from == &lines[i] || lines[i].region == region_count || from->region == region_count ||
                !delay_of(&lines[i].row[j], lines[i].who, from->row, from->count, &samples[found].late_ms, &error_ms))
                continue;
            samples[found++].pair = from->region * (unsigned)region_count + lines[i].region;
        }
    return found;
}

size_t delays_by_region(const struct matrix_own *own, const struct members *members, const char *const *regions,
                        size_t region_count, struct fleet_delay_view out[FLEET_VIEW_DELAYS_MAX])
{
    size_t all = members_count(members), count = 0, found, same;
    struct line *lines = mem_alloc((all + 1) * sizeof *lines);
    struct sample *samples = mem_alloc(DELAYS_READ_MAX * sizeof *samples);

    lines[0] = (struct line){ fleet_hash(own->id), region_of(regions, region_count, own->region), own->row, own->row_count };
    for (size_t i = 0; i < all; i++) {
        const struct member *member = members_at(members, i);

        lines[i + 1] =
            (struct line){ member->who, region_of(regions, region_count, member->region), member->row, member->row_count };
    }
    qsort(lines, all + 1, sizeof *lines, by_who);
    found = read_lines(lines, all + 1, region_count, samples);
    qsort(samples, found, sizeof *samples, by_pair);
    for (size_t i = 0; i < found && count < FLEET_VIEW_DELAYS_MAX; i += same) {
        for (same = 1; i + same < found && samples[i + same].pair == samples[i].pair;)
            same++;
        const struct sample *median = &samples[i + same / 2];
        out[count++] = (struct fleet_delay_view){ regions[median->pair / region_count], regions[median->pair % region_count],
                                                  (double)median->late_ms / MS_A_SECOND };
    }
    mem_free(samples);
    mem_free(lines);
    return count;
}
