/* Causes from the rows of all members (agent/fleet/matrix.h). Called once a round. Its memory is for the call only, and in step with the table. */
#include "agent/fleet/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"

enum { REGION_NONE = MATRIX_REGIONS_MAX };

struct node { /* one agent */
    const char *id, *region;
    const struct summary_source *row;
    size_t row_count;
    uint32_t who;
    unsigned region_at;
    uint32_t row_lit, row_dark;       /* cells of its row */
    uint32_t row_missed;              /* dark ones whose source others receive */
    uint32_t column_lit, column_dark; /* cells of its column, in rows that are not dark */
    bool dark_row, dark_column;
};

struct grid {
    struct node *nodes; /* sorted by who */
    size_t count;
    const char *regions[MATRIX_REGIONS_MAX];
    unsigned region_count;
    struct {
        uint32_t lit, dark;
    } blocks[MATRIX_REGIONS_MAX][MATRIX_REGIONS_MAX]; /* [receiver][source] */
};

struct findings {
    struct matrix_finding *out;
    size_t max, count;
};

const char *matrix_cause_name(enum matrix_cause cause)
{
    static const char *const names[] = { "instance_receives_nothing", "instance_publishes_nothing", "regions_cut" };

    panic_if((unsigned)cause >= sizeof names / sizeof names[0]);
    return names[cause];
}

static bool is_read(const struct members *members, const struct member *member, uint64_t now_ms)
{
    return member_counts(member) && member->word != FLEET_DRAINING && member->word != FLEET_STARTING &&
           member_is_fresh(members, member, now_ms);
}

static unsigned region_of(struct grid *grid, const char *region)
{
    for (unsigned i = 0; i < grid->region_count; i++)
        if (strcmp(grid->regions[i], region) == 0)
            return i;
    if (grid->region_count == MATRIX_REGIONS_MAX)
        return REGION_NONE;
    grid->regions[grid->region_count] = region;
    return grid->region_count++;
}

static void add(struct grid *grid, const char *id, const char *region, const struct summary_source *row, size_t row_count)
{
    grid->nodes[grid->count++] = (struct node){
        .id = id, .region = region, .row = row, .row_count = row_count, .who = fleet_hash(id), .region_at = region_of(grid, region)
    };
}

static int by_who(const void *a, const void *b)
{
    const struct node *left = a, *right = b;

    return left->who < right->who ? -1 : left->who > right->who;
}

/* NULL: nobody that is read; or this node itself, whose own delivery check says more. */
static struct node *source_of(const struct grid *grid, const struct node *node, const struct summary_source *cell)
{
    const struct node wanted = { .who = cell->who };
    struct node *source = bsearch(&wanted, grid->nodes, grid->count, sizeof *grid->nodes, by_who);

    return source == node ? NULL : source;
}

static bool is_lit(const struct summary_source *cell)
{
    return cell->got > 0;
}

static bool is_dark(const struct summary_source *cell)
{
    return cell->got == 0 && cell->lost > 0;
}

static void each_cell(struct grid *grid,
                      void (*look)(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell))
{
    for (size_t i = 0; i < grid->count; i++)
        for (size_t j = 0; j < grid->nodes[i].row_count; j++) {
            struct node *source = source_of(grid, &grid->nodes[i], &grid->nodes[i].row[j]);

            if (source)
                look(grid, &grid->nodes[i], source, &grid->nodes[i].row[j]);
        }
}

static void count_lit(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    (void)grid;
    to->row_lit += is_lit(cell);
    to->row_dark += is_dark(cell);
    from->column_lit += is_lit(cell);
}

static void count_missed(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    (void)grid;
    to->row_missed += is_dark(cell) && from->column_lit > 0;
}

static void count_column(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    (void)grid;
    from->column_dark += is_dark(cell) && to->row_lit > 0;
}

static void count_block(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    if (to->row_lit == 0 || from->dark_column || to->region_at == REGION_NONE || from->region_at == REGION_NONE)
        return;
    grid->blocks[to->region_at][from->region_at].lit += is_lit(cell);
    grid->blocks[to->region_at][from->region_at].dark += is_dark(cell);
}

static void tell(struct findings *findings, enum matrix_cause cause, const char *who, const char *from, uint32_t dark)
{
    if (findings->count < findings->max)
        findings->out[findings->count] = (struct matrix_finding){ .cause = cause, .who = who, .from = from, .dark = dark };
    findings->count++;
}

static void find_rows(struct grid *grid, struct findings *findings)
{
    each_cell(grid, count_lit);
    each_cell(grid, count_missed);
    for (size_t i = 0; i < grid->count; i++) {
        struct node *node = &grid->nodes[i];

        node->dark_row = node->row_lit == 0 && node->row_missed > 0;
        if (node->dark_row)
            tell(findings, MATRIX_RECEIVES_NOTHING, node->id, NULL, node->row_dark);
    }
}

static void find_columns(struct grid *grid, struct findings *findings)
{
    each_cell(grid, count_column);
    for (size_t i = 0; i < grid->count; i++) {
        struct node *node = &grid->nodes[i];

        node->dark_column = node->column_lit == 0 && node->column_dark >= MATRIX_WITNESSES_MIN;
        if (node->dark_column)
            tell(findings, MATRIX_PUBLISHES_NOTHING, node->id, NULL, node->column_dark);
    }
}

static void find_blocks(struct grid *grid, struct findings *findings)
{
    each_cell(grid, count_block);
    for (unsigned to = 0; to < grid->region_count; to++)
        for (unsigned from = 0; from < grid->region_count; from++)
            if (to != from && grid->blocks[to][from].lit == 0 && grid->blocks[to][from].dark >= MATRIX_WITNESSES_MIN)
                tell(findings, MATRIX_REGIONS_CUT, grid->regions[to], grid->regions[from], grid->blocks[to][from].dark);
}

size_t matrix_judge(const struct matrix_own *own, const struct members *members, uint64_t now_ms, struct matrix_finding *out,
                    size_t max)
{
    struct grid *grid = mem_alloc(sizeof *grid);
    struct findings findings = { .out = out, .max = max };

    grid->nodes = mem_alloc((members_count(members) + 1) * sizeof *grid->nodes);
    if (own->counts)
        add(grid, own->id, own->region, own->row, own->row_count);
    for (size_t i = 0; i < members_count(members); i++) {
        const struct member *member = members_at(members, i);

        if (is_read(members, member, now_ms))
            add(grid, member->id, member->region, member->row, member->row_count);
    }
    qsort(grid->nodes, grid->count, sizeof *grid->nodes, by_who);
    find_rows(grid, &findings);
    find_columns(grid, &findings);
    find_blocks(grid, &findings);
    mem_free(grid->nodes);
    mem_free(grid);
    return findings.count;
}
