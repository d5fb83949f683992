/*
 * Owns the picture of the delivery matrix: a row for each instance that receives, and in it a mark for each that sends, in the order of the rows; in a group
 * of more than GRID_MAX by region. Called by page_fleet.c. Promises that marks differ by their shape, and that each row says the same in words.
 */
#include <string.h>

#include "agent/http/page_impl.h"

enum { GRID_MAX = 24, NAMES_MAX = 3 };

enum mark { MARK_UNKNOWN, MARK_LIT, MARK_PARTIAL, MARK_DARK, MARK_SELF };
enum { MARKS = MARK_SELF }; /* that are drawn */

struct grid {
    size_t count;
    bool regions;
    const char *names[GRID_MAX];
    size_t places[GRID_MAX];           /* of instances, among the members */
    uint8_t marks[GRID_MAX][GRID_MAX]; /* of the row's instance, from the column's */
};

static size_t find(const struct grid *grid, const char *name)
{
    size_t i = 0;

    while (i < grid->count && strcmp(grid->names[i], name) != 0)
        i++;
    return i;
}

static enum mark mark_of(const char *state)
{
    return *state == 'l' ? MARK_LIT : *state == 'p' ? MARK_PARTIAL : MARK_DARK;
}

static void look_at_members(const struct fleet_view *fleet, struct grid *grid)
{
    struct fleet_cell_view cells[FLEET_VIEW_CELLS_MAX];
    struct fleet_member_view member;

    for (size_t i = 0; i < fleet->member_count; i++) {
        fleet->member_at(fleet->fleet, i, &member);
        if (member.watcher || strcmp(member.word, "left") == 0)
            continue;
        grid->names[grid->count] = member.id;
        grid->places[grid->count] = i;
        grid->marks[grid->count][grid->count] = MARK_SELF;
        grid->count++;
    }
    for (size_t i = 0; i < grid->count; i++)
        for (size_t j = fleet->cells_of(fleet->fleet, grid->places[i], cells, FLEET_VIEW_CELLS_MAX); j-- > 0;) {
            size_t from = find(grid, cells[j].from);

            if (from < grid->count && from != i)
                grid->marks[i][from] = (uint8_t)mark_of(cells[j].state);
        }
}

static void set_region(struct grid *grid, const char *to, const char *from, enum mark mark)
{
    size_t row = find(grid, to), column = find(grid, from);

    if (row < grid->count && column < grid->count)
        grid->marks[row][column] = (uint8_t)mark;
}

/* Between two regions something arrives where its delay is known. */
static void look_at_regions(const struct fleet_view *fleet, struct grid *grid)
{
    grid->regions = true;
    for (; grid->count < fleet->region_count && grid->count < GRID_MAX; grid->count++)
        grid->names[grid->count] = fleet->regions[grid->count].region;
    for (size_t i = 0; i < fleet->delay_count; i++)
        set_region(grid, fleet->delays[i].to_region, fleet->delays[i].from_region, MARK_LIT);
    for (size_t i = 0; i < fleet->finding_count; i++)
        if (strcmp(fleet->findings[i].cause, "regions_cut") == 0)
            set_region(grid, fleet->findings[i].who, fleet->findings[i].from, MARK_DARK);
}

static void put_name(struct page *page, const struct grid *grid, size_t i)
{
    if (grid->regions)
        page_text(page, grid->names[i], PAGE_NAME_BYTES);
    else
        page_member_name(page, grid->names[i], grid->places[i]);
}

/* Marks that are alike and stand together are one line, which the style breaks into marks. */
static void draw(struct page *page, const uint8_t *marks, size_t count)
{
    static const char *const classes[MARKS] = { "none", "all", "warn", "bad" };

    page_printf(page, "<svg class=cells viewBox='0 0 %zu 10' aria-hidden=true>", 10 * count);
    for (unsigned mark = 0; mark < MARKS; mark++) {
        bool any = false;

        for (size_t i = 0; i < count; i++) {
            size_t run = i;

            while (i < count && marks[i] == mark)
                i++;
            if (i == run)
                continue;
            if (!any)
                page_printf(page, "<path class=%s d='", classes[mark]);
            any = true;
            page_printf(page, "M%zu 5h%zu.1", 10 * run + 5, 10 * (i - run - 1));
        }
        page_put(page, any ? "'/>" : "");
    }
    page_put(page, "</svg>");
}

static void put_those(struct page *page, const struct grid *grid, size_t row, enum mark mark, size_t count, const char *what)
{
    size_t said = 0;

    for (size_t i = 0; i < grid->count && count && said < NAMES_MAX; i++)
        if (grid->marks[row][i] == mark) {
            page_put(page, said++ ? ", " : what);
            put_name(page, grid, i);
        }
    if (count > said)
        page_printf(page, " and %zu more", count - said);
}

static void put_row(struct page *page, const struct grid *grid, size_t row)
{
    size_t counts[MARKS + 1] = { 0 };

    for (size_t i = 0; i < grid->count; i++)
        counts[grid->marks[row][i]]++;
    const size_t heard = counts[MARK_LIT] + counts[MARK_PARTIAL], known = heard + counts[MARK_DARK];
    page_put(page, "<tr><th scope=row><bdi>");
    put_name(page, grid, row);
    page_put(page, "</bdi><td>");
    draw(page, grid->marks[row], grid->count);
    if (known)
        page_printf(page, "<td>from %zu of %zu", heard, known);
    else
        page_put(page, "<td>not known yet");
    put_those(page, grid, row, MARK_DARK, counts[MARK_DARK], "; nothing from ");
    put_those(page, grid, row, MARK_PARTIAL, counts[MARK_PARTIAL], "; not all from ");
}

void page_matrix(struct page *page)
{
    const struct fleet_view *fleet = page->view->fleet;
    struct grid grid = { 0 };

    if (!fleet->has_matrix || !fleet->cells_of)
        return;
    if (fleet->member_count <= GRID_MAX)
        look_at_members(fleet, &grid);
    else
        look_at_regions(fleet, &grid);
    page_printf(
        page,
        "<p class=meta>Heartbeats that came through the server of each %s, with a mark for each that sends, in the same order. "
        "Square: all; small square: some; disc: none; point: not known.</p><div class=scroll tabindex=0 role=group "
        "aria-label=Delivery><table class=lines><thead><tr><th scope=col>receives<th scope=col>from<th scope=col>in words<tbody>",
        grid.regions ? "region" : "instance");
    for (size_t i = 0; i < grid.count; i++)
        put_row(page, &grid, i);
    page_put(page, "</table></div>");
}
