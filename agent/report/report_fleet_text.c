/*
 * Owns the texts of the fleet for people: the table of `wshealthd fleet`, the delivery matrix as a picture of characters, and one line of all that.
 * Called by agent/http/admin.c. Pure: the view in, text out. Promises to fit the width that it is given, from 60 columns: columns of the table
 * that have no room are left out, and so are places of the matrix, which are counted.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "agent/report/report_impl.h"
#include "agent/report/screen.h"

enum {
    SECOND_MS = 1000,
    COLUMNS = 7,
    COLUMN_MAX = 64,
    CAUSE_COLUMN = 6,
    CAUSE_LEAST = 12,
    PROSE_MAX = 4096,
    PLACES = 32,
    MATRIX_NAME = 24,
    NAMED = 4
};

static const char red[] = "\033[31m", green[] = "\033[32m", yellow[] = "\033[33m", plain[] = "\033[0m";

/* 0: no line is broken. */
static unsigned width_of(const struct report_style *style)
{
    return style->one_line ? 0 : style->width;
}

/* --- the table ------------------------------------------------------------------------------------------------------------ */

struct row {
    char cells[COLUMNS][COLUMN_MAX];
};
static const struct row titles = { { "REGION", "AGENT", "STATE", "SINCE", "VERSION", "CLIENTS", "CAUSE" } };

const char *report_fleet_word(const struct fleet_member_view *member)
{
    return member->watcher ? "watcher" : strcmp(member->word, "not_ready") == 0 ? "not ready" : member->word;
}

static void make_row(const struct fleet_member_view *member, struct row *row)
{
    char since[32];

    text_format_duration((int64_t)(member->since_ago_ms / SECOND_MS * SECOND_MS), since, sizeof since);
    snprintf(row->cells[0], COLUMN_MAX, "%s", member->region);
    snprintf(row->cells[1], COLUMN_MAX, "%s%s", member->id, member->self ? " (here)" : member->twin ? " (twice!)" : "");
    snprintf(row->cells[2], COLUMN_MAX, "%s", report_fleet_word(member));
    snprintf(row->cells[3], COLUMN_MAX, "%s", since);
    snprintf(row->cells[4], COLUMN_MAX, "%s", member->version);
    snprintf(row->cells[5], COLUMN_MAX, "-");
    if (member->have_connections)
        snprintf(row->cells[5], COLUMN_MAX, "%u", (unsigned)member->connections);
    snprintf(row->cells[CAUSE_COLUMN], COLUMN_MAX, "%s%s", member->cause,
             strcmp(member->stand, "held") == 0 ? ", held in rotation" : "");
}

static void widen(const struct row *row, size_t widths[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++)
        if (strlen(row->cells[i]) > widths[i])
            widths[i] = strlen(row->cells[i]);
}

/* Leaves out columns until the rest fits, 0 being left out: the causes need CAUSE_LEAST of their own, and are cut at the edge. */
static void narrow(size_t widths[COLUMNS], unsigned width)
{
    static const size_t least[] = { 4, 5, 3, 0 };

    for (size_t i = 0; width; i++) {
        size_t wide = 0;

        for (size_t column = 0; column < CAUSE_COLUMN; column++)
            wide += widths[column] ? 2 + widths[column] : 0;
        widths[CAUSE_COLUMN] = width > wide + 2 ? width - wide - 2 : 1;
        if (widths[CAUSE_COLUMN] >= CAUSE_LEAST || i == sizeof least / sizeof least[0])
            return;
        widths[least[i]] = 0;
    }
}

static const char *ink_of(const struct fleet_member_view *member)
{
    if (strcmp(member->word, "ready") == 0)
        return green;
    return strcmp(member->word, "not_ready") == 0 || strcmp(member->word, "silent") == 0 ? red : yellow;
}

static void put_row(struct buf *out, const struct row *row, const size_t widths[COLUMNS], const char *ink)
{
    char cell[COLUMN_MAX];

    for (size_t i = 0; i < COLUMNS; i++) {
        bool last = i == CAUSE_COLUMN, inked = ink && i == 2;
        int wide = (int)widths[i];

        if (!wide || (last && !row->cells[i][0]))
            continue;
        snprintf(cell, sizeof cell, "%.*s", wide, row->cells[i]);
        buf_append_str(out, "  ");
        buf_append_str(out, inked ? ink : "");
        report_put(out, cell);
        buf_append_str(out, inked ? plain : "");
        if (!last && (i + 1 < CAUSE_COLUMN || row->cells[CAUSE_COLUMN][0]))
            buf_printf(out, "%*s", wide - (int)strlen(cell), "");
    }
    buf_append_char(out, '\n');
}

static void put_table(const struct fleet_view *fleet, const struct report_style *style, struct buf *out)
{
    size_t widths[COLUMNS] = { 0 };
    size_t shown = fleet->member_count < REPORT_FLEET_MEMBERS ? fleet->member_count : REPORT_FLEET_MEMBERS;
    struct fleet_member_view member;
    struct row row;

    widen(&titles, widths);
    for (size_t i = 0; i < shown; i++) {
        fleet->member_at(fleet->fleet, i, &member);
        make_row(&member, &row);
        widen(&row, widths);
    }
    narrow(widths, width_of(style));
    put_row(out, &titles, widths, NULL);
    for (size_t i = 0; i < shown; i++) {
        fleet->member_at(fleet->fleet, i, &member);
        make_row(&member, &row);
        put_row(out, &row, widths, style->colour ? ink_of(&member) : NULL);
    }
    if (shown < fleet->member_count)
        buf_printf(out, "  and %zu more\n", fleet->member_count - shown);
}

/* --- the matrix ----------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *state, *mark, *ascii, *ink;
} marks[] = { { "lit", "●", "#", green }, { "partial", "◐", "+", yellow }, { "dark", "○", "-", red }, { "", "·", ".", "" } };

static void put_mark(const char *state, unsigned wide, const struct report_style *style, struct buf *out)
{
    size_t i = 0;

    while (*marks[i].state && strcmp(marks[i].state, state) != 0)
        i++;
    buf_printf(out, "%*s%s%s%s", (int)wide - 1, "", style->colour ? marks[i].ink : "",
               style->ascii ? marks[i].ascii : marks[i].mark, style->colour && *marks[i].ink ? plain : "");
}

struct place {
    size_t at; /* of the member */
    const char *id;
};

/* Those that may send or receive: at most PLACES of them, *count being all. The longest name's length. */
static size_t take_places(const struct fleet_view *fleet, struct place places[PLACES], size_t *count)
{
    size_t longest = 0;

    *count = 0;
    for (size_t i = 0; i < fleet->member_count && i < REPORT_FLEET_MEMBERS; i++) {
        struct fleet_member_view member;

        fleet->member_at(fleet->fleet, i, &member);
        if (member.watcher || strcmp(member.word, "left") == 0)
            continue;
        if (*count < PLACES)
            places[*count] = (struct place){ i, member.id };
        if (*count < PLACES && strlen(member.id) > longest)
            longest = strlen(member.id);
        ++*count;
    }
    return longest < MATRIX_NAME ? longest : MATRIX_NAME;
}

static void put_cells(const struct fleet_view *fleet, const struct place *places, size_t row, size_t shown, unsigned wide,
                      const struct report_style *style, struct buf *out)
{
    struct fleet_cell_view cells[FLEET_VIEW_CELLS_MAX];
    size_t count = fleet->cells_of(fleet->fleet, places[row].at, cells, FLEET_VIEW_CELLS_MAX);

    for (size_t i = 0; i < shown; i++) {
        const char *state = "";

        for (size_t j = 0; j < count; j++)
            if (strcmp(cells[j].from, places[i].id) == 0)
                state = cells[j].state;
        put_mark(state, wide, style, out);
    }
}

static void put_matrix(const struct fleet_view *fleet, const struct report_style *style, struct buf *out)
{
    struct place places[PLACES];
    size_t count, name = take_places(fleet, places, &count), shown = count < PLACES ? count : PLACES;
    unsigned wide = shown > 9 ? 3 : 2, left = (unsigned)name + 6, width = width_of(style);
    size_t fit = width > left + wide ? (width - left) / wide : 1;

    if (width && fit < shown)
        shown = fit;
    buf_append_str(out, "\n  Delivery: a row receives, a column sends.\n ");
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        static const char *const says[] = { "all", "some", "none", "not known" };

        put_mark(marks[i].state, 2, style, out);
        buf_printf(out, " %s%s", says[i], i + 1 < sizeof marks / sizeof marks[0] ? " " : "\n");
    }
    buf_printf(out, "%*s", (int)left, "");
    for (size_t i = 0; i < shown; i++)
        buf_printf(out, "%*zu", (int)wide, i + 1);
    for (size_t i = 0; i < shown; i++) {
        buf_printf(out, "\n  %2zu %-*.*s ", i + 1, (int)name, (int)name, places[i].id);
        put_cells(fleet, places, i, shown, wide, style, out);
    }
    buf_append_char(out, '\n');
    if (shown < count)
        buf_printf(out, "  and %zu more\n", count - shown);
}

/* --- the head ------------------------------------------------------------------------------------------------------------- */

void report_fleet_counts(const struct fleet_region_view *region, struct buf *out)
{
    const struct {
        uint32_t count;
        const char *word;
    } counts[] = { { region->not_ready, "not ready" }, { region->silent, "silent" },     { region->degraded, "degraded" },
                   { region->starting, "starting" },   { region->draining, "draining" }, { region->ready, "ready" },
                   { region->watchers, "watching" } };
    const char *before = "";

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        if (counts[i].count) {
            buf_printf(out, "%s%u %s", before, (unsigned)counts[i].count, counts[i].word);
            before = ", ";
        }
}

static void put_counts(const struct fleet_view *fleet, struct buf *out)
{
    const struct fleet_region_view all = report_fleet_sum(fleet);

    buf_printf(out, "%s by %s: ", fleet->group, fleet->broker);
    report_fleet_counts(&all, out);
}

static void put_way(const struct fleet_view *fleet, struct buf *out)
{
    buf_append_str(out, "not linked, so that this agent acts by its own verdict: ");
    report_put(out, fleet->why);
}

static void put_wide(const struct fleet_view *fleet, struct buf *out)
{
    buf_printf(out, "fleet_wide_fault: %u of %u have %s at once", (unsigned)fleet->wide_sharing, (unsigned)fleet->wide_of,
               fleet->wide_cause);
}

static void put_head(const struct fleet_view *fleet, struct buf *out)
{
    buf_append_str(out, "\n  ");
    put_counts(fleet, out);
    if (fleet->watcher)
        buf_append_str(out, "; this agent only watches\n");
    else
        buf_printf(out, "; min_ready %s\n", *fleet->min_ready ? fleet->min_ready : "off");
    if (!fleet->linked) {
        buf_append_str(out, "  ");
        put_way(fleet, out);
        buf_append_char(out, '\n');
    }
    if (*fleet->sentence)
        buf_printf(out, "  here: %s\n", fleet->sentence);
    if (fleet->wide) {
        buf_append_str(out, "  ");
        put_wide(fleet, out);
        buf_append_char(out, '\n');
    }
    for (size_t i = 0; i < fleet->finding_count; i++) {
        buf_printf(out, "  %s: ", fleet->findings[i].cause);
        report_put(out, fleet->findings[i].sentence);
        buf_printf(out, "\n    %s\n", fleet->findings[i].advice);
    }
    if (*fleet->rollout.sentence)
        buf_printf(out, "  %s\n", fleet->rollout.sentence);
}

static void put_ignored(const struct fleet_view *fleet, struct buf *out)
{
    for (size_t i = 0; i < fleet->refusal_count; i++)
        if (fleet->refusals[i].count)
            buf_printf(out, "  ignored: %llu (%s: %s)\n", (unsigned long long)fleet->refusals[i].count, fleet->refusals[i].name,
                       fleet->refusals[i].help);
}

static void put_prose(const struct fleet_view *fleet, void (*put)(const struct fleet_view *fleet, struct buf *out),
                      const struct report_style *style, struct buf *out)
{
    struct buf prose = BUF_INIT(PROSE_MAX);

    put(fleet, &prose);
    if (width_of(style))
        screen_wrap(buf_str(&prose), style->width, out);
    else
        buf_append_slice(out, buf_slice(&prose));
    buf_fini(&prose);
}

void report_fleet_human(const struct agent_view *view, const struct report_style *style, struct buf *out)
{
    const struct fleet_view *fleet = view->fleet;

    put_prose(fleet, put_head, style, out);
    buf_append_char(out, '\n');
    put_table(fleet, style, out);
    if (fleet->has_matrix && fleet->cells_of)
        put_matrix(fleet, style, out);
    put_prose(fleet, put_ignored, style, out);
    buf_append_char(out, '\n');
}

/* --- one line ------------------------------------------------------------------------------------------------------------- */

/* The first of those that are not well, and how many more there are. */
static void put_unwell(const struct fleet_view *fleet, struct buf *out)
{
    size_t unwell = 0;

    for (size_t i = 0; i < fleet->member_count && i < REPORT_FLEET_MEMBERS; i++) {
        struct fleet_member_view member;

        fleet->member_at(fleet->fleet, i, &member);
        if (member.watcher || strcmp(member.word, "ready") == 0 || strcmp(member.word, "left") == 0 || ++unwell > NAMED)
            continue;
        buf_printf(out, "; %s (%s) is %s%s%s", member.id, member.region, report_fleet_word(&member), *member.cause ? ": " : "",
                   member.cause);
    }
    if (unwell > NAMED)
        buf_printf(out, " and %zu more", unwell - NAMED);
}

void report_fleet_line(const struct fleet_view *fleet, struct buf *out)
{
    put_counts(fleet, out);
    put_unwell(fleet, out);
    if (!fleet->linked) {
        buf_append_str(out, "; ");
        put_way(fleet, out);
    }
    if (fleet->wide) {
        buf_append_str(out, "; ");
        put_wide(fleet, out);
    }
    for (size_t i = 0; i < fleet->finding_count; i++)
        buf_printf(out, "; %s%s%s", fleet->findings[i].cause, fleet->findings[i].who ? ": " : "",
                   fleet->findings[i].who ? fleet->findings[i].who : "");
    buf_append_char(out, '\n');
}
