/* Causes from the rows of all members (agent/fleet/matrix.h). Called once a round. Its memory is for the call only, and in step with the table. */
#include "agent/fleet/matrix.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"

enum { REGION_NONE = MATRIX_REGIONS_MAX, SHARDS_READ_MAX = 512, CHANNEL_SETS_MAX = 16 };

struct node { /* one agent */
    const char *id, *region;
    const struct summary_source *row;
    const struct summary_beats *beats;
    size_t row_count;
    size_t first_cell; /* in grid->sources */
    uint32_t who;
    unsigned region_at;
    uint32_t row_lit, row_dark;       /* cells of its row */
    uint32_t row_missed;              /* dark ones whose source others receive, and its own agent does at the broker */
    uint32_t row_open;                /* those that say nothing, and should: of its region and channels, and others receive them */
    uint32_t column_lit, column_dark; /* cells of its column, in rows that are not dark */
    bool dark_row, dark_column;
    uint32_t shards_lost, shard; /* its own channels */
    const struct node *read_by;  /* whose row had a cell of it last */
};

struct grid {
    struct node *nodes; /* sorted by who */
    size_t count, cells, row_max;
    struct node **sources; /* of all cells, row by row */
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
    static const char *const names[] = { "instance_receives_nothing", "instance_publishes_nothing", "regions_cut", "shard_lost" };

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

static void add(struct grid *grid, const struct matrix_own *one)
{
    grid->nodes[grid->count++] = (struct node){ .id = one->id,
                                                .region = one->region,
                                                .row = one->row,
                                                .row_count = one->row_count < grid->row_max ? one->row_count : grid->row_max,
                                                .beats = one->beats,
                                                .who = fleet_hash(one->id),
                                                .region_at = region_of(grid, one->region) };
    grid->cells += grid->nodes[grid->count - 1].row_count;
}

static int by_who(const void *a, const void *b)
{
    const struct node *left = a, *right = b;

    return left->who < right->who ? -1 : left->who > right->who;
}

/* NULL: nobody that is read; or this node itself, whose own delivery check says more; or a second cell of one source. */
static struct node *source_of(const struct grid *grid, const struct node *node, const struct summary_source *cell)
{
    const struct node wanted = { .who = cell->who };
    struct node *source = bsearch(&wanted, grid->nodes, grid->count, sizeof *grid->nodes, by_who);

    if (!source || source == node || source->read_by == node)
        return NULL;
    source->read_by = node;
    return source;
}

bool matrix_is_lit(const struct summary_source *cell)
{
    return cell->got > 0;
}

bool matrix_is_dark(const struct summary_source *cell)
{
    return cell->got == 0 && cell->lost >= MATRIX_LOST_MIN;
}

static void find_sources(struct grid *grid)
{
    size_t at = 0;

    grid->sources = mem_alloc((grid->cells + 1) * sizeof(struct node *));
    for (size_t i = 0; i < grid->count; i++) {
        grid->nodes[i].first_cell = at;
        for (size_t j = 0; j < grid->nodes[i].row_count; j++) {
            grid->sources[at++] = source_of(grid, &grid->nodes[i], &grid->nodes[i].row[j]);
            /* of whatever other one: its server passes on */
            grid->nodes[i].row_lit += matrix_is_lit(&grid->nodes[i].row[j]) && grid->nodes[i].row[j].who != grid->nodes[i].who;
        }
    }
}

static void each_cell(struct grid *grid,
                      void (*look)(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell))
{
    for (size_t i = 0; i < grid->count; i++)
        for (size_t j = 0; j < grid->nodes[i].row_count; j++) {
            struct node *source = grid->sources[grid->nodes[i].first_cell + j];

            if (source)
                look(grid, &grid->nodes[i], source, &grid->nodes[i].row[j]);
        }
}

static void count_lit(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    (void)grid;
    to->row_dark += matrix_is_dark(cell);
    from->column_lit += matrix_is_lit(cell);
}

static void count_missed(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    (void)grid;
    if (from->column_lit == 0)
        return;
    to->row_missed += matrix_is_dark(cell) && cell->late_ms == SUMMARY_UNKNOWN;
    to->row_open += !matrix_is_dark(cell) && !matrix_is_lit(cell) && to->region_at == from->region_at && to->beats && from->beats &&
                    from->beats->count && to->beats->channels == from->beats->channels;
}

static void count_column(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    (void)grid;
    from->column_dark += matrix_is_dark(cell) && to->row_lit > 0;
}

static void count_block(struct grid *grid, struct node *to, struct node *from, const struct summary_source *cell)
{
    if (to->row_lit == 0 || from->dark_column || to->region_at == REGION_NONE || from->region_at == REGION_NONE)
        return;
    grid->blocks[to->region_at][from->region_at].lit += matrix_is_lit(cell);
    grid->blocks[to->region_at][from->region_at].dark += matrix_is_dark(cell);
}

static void tell(struct findings *findings, const struct matrix_finding *finding)
{
    if (findings->count < findings->max)
        findings->out[findings->count] = *finding;
    findings->count++;
}

static void find_instances(struct grid *grid, struct findings *findings)
{
    each_cell(grid, count_lit);
    each_cell(grid, count_missed);
    for (size_t i = 0; i < grid->count; i++) {
        struct node *node = &grid->nodes[i];

        node->dark_row = node->row_lit == 0 && node->row_missed > node->row_open;
    }
    each_cell(grid, count_column);
    for (size_t i = 0; i < grid->count; i++) {
        struct node *node = &grid->nodes[i];

        node->dark_column = node->column_lit == 0 && node->column_dark >= MATRIX_WITNESSES_MIN && node->beats && node->beats->count;
        if (node->dark_row)
            tell(findings, &(struct matrix_finding){ MATRIX_RECEIVES_NOTHING, node->id, NULL, node->row_dark, 0 });
    }
    for (size_t i = 0; i < grid->count; i++)
        if (grid->nodes[i].dark_column)
            tell(findings,
                 &(struct matrix_finding){ MATRIX_PUBLISHES_NOTHING, grid->nodes[i].id, NULL, grid->nodes[i].column_dark, 0 });
}

static void find_blocks(struct grid *grid, struct findings *findings)
{
    each_cell(grid, count_block);
    for (unsigned to = 0; to < grid->region_count; to++)
        for (unsigned from = 0; from < grid->region_count; from++)
            if (to != from && grid->blocks[to][from].lit == 0 && grid->blocks[to][from].dark >= MATRIX_WITNESSES_MIN)
                tell(findings, &(struct matrix_finding){ MATRIX_REGIONS_CUT, grid->regions[to], grid->regions[from],
                                                         grid->blocks[to][from].dark, 0 });
}

/* --- channels --- */

struct shard { /* one channel that one agent loses */
    uint32_t channels, hash;
    struct node *node;
};

static int by_shard(const void *a, const void *b)
{
    const struct shard *left = a, *right = b;

    if (left->channels != right->channels)
        return left->channels < right->channels ? -1 : 1;
    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

/* It would say so if it lost one more of these channels. */
static bool would_say(const struct node *node, uint32_t channels)
{
    return node->beats && node->beats->channels == channels && node->beats->all && node->row_lit &&
           node->beats->shard_count < SUMMARY_SHARDS_MAX;
}

static size_t count_sayers(const struct grid *grid, uint32_t channels)
{
    size_t count = 0;

    for (size_t i = 0; i < grid->count; i++)
        count += would_say(&grid->nodes[i], channels);
    return count;
}

/* One channel, and all who lose it. Where others deliver it (of so many who would say so), it is theirs; where nobody does, and they are several, it is
 * everybody's. */
static void weigh_shard(const struct shard *shards, size_t losers, size_t deliver, struct matrix_finding *common)
{
    for (size_t i = 0; i < losers; i++)
        deliver -= would_say(shards[i].node, shards->channels);
    if (deliver) {
        for (size_t i = 0; i < losers; i++) {
            shards[i].node->shards_lost++;
            shards[i].node->shard = shards->hash;
        }
    } else if (losers >= MATRIX_WITNESSES_MIN) {
        common->dark++;
        common->shard = shards->hash;
    }
}

static void find_shards(struct grid *grid, struct findings *findings)
{
    struct shard *shards = mem_alloc(SHARDS_READ_MAX * sizeof *shards);
    struct matrix_finding common = { .cause = MATRIX_SHARD_LOST };
    size_t count = 0, losers, sayers = 0, sets = 0;

    for (size_t i = 0; i < grid->count; i++)
        for (size_t j = 0; grid->nodes[i].beats && j < grid->nodes[i].beats->shard_count && count < SHARDS_READ_MAX; j++)
            shards[count++] = (struct shard){ grid->nodes[i].beats->channels, grid->nodes[i].beats->shards[j], &grid->nodes[i] };
    qsort(shards, count, sizeof *shards, by_shard);
    for (size_t i = 0; i < count; i += losers) {
        for (losers = 1; i + losers < count && by_shard(&shards[i], &shards[i + losers]) == 0;)
            losers++;
        if (i == 0 || shards[i].channels != shards[i - 1].channels) {
            if (++sets > CHANNEL_SETS_MAX) /* those of a group are few: the loop waits for this */
                break;
            sayers = count_sayers(grid, shards[i].channels);
        }
        weigh_shard(&shards[i], losers, sayers, &common);
    }
    if (common.dark)
        tell(findings, &common);
    for (size_t i = 0; i < grid->count; i++)
        if (grid->nodes[i].shards_lost && !grid->nodes[i].dark_row)
            tell(findings, &(struct matrix_finding){ MATRIX_SHARD_LOST, grid->nodes[i].id, NULL, grid->nodes[i].shards_lost,
                                                     grid->nodes[i].shard });
    mem_free(shards);
}

/* Mostly all is well. */
static bool is_fine(const struct grid *grid)
{
    for (size_t i = 0; i < grid->count; i++) {
        if (grid->nodes[i].beats && grid->nodes[i].beats->shard_count)
            return false;
        for (size_t j = 0; j < grid->nodes[i].row_count; j++)
            if (matrix_is_dark(&grid->nodes[i].row[j]))
                return false;
    }
    return true;
}

size_t matrix_judge(const struct matrix_own *own, const struct members *members, uint64_t now_ms, struct matrix_finding *out,
                    size_t max)
{
    struct grid *grid = mem_alloc(sizeof *grid);
    struct findings findings = { .out = out, .max = max };

    grid->nodes = mem_alloc((members_count(members) + 1) * sizeof *grid->nodes);
    grid->row_max = 1 + MATRIX_CELLS_READ_MAX / (members_count(members) + 1);
    if (own->counts)
        add(grid, own);
    for (size_t i = 0; i < members_count(members); i++) {
        const struct member *member = members_at(members, i);

        if (is_read(members, member, now_ms))
            add(grid, &(struct matrix_own){ member->id, member->region, true, member->row, member->row_count, &member->beats });
    }
    if (!is_fine(grid)) {
        qsort(grid->nodes, grid->count, sizeof *grid->nodes, by_who);
        find_sources(grid);
        find_instances(grid, &findings);
        find_blocks(grid, &findings);
        find_shards(grid, &findings);
        mem_free(grid->sources);
    }
    mem_free(grid->nodes);
    mem_free(grid);
    return findings.count;
}
