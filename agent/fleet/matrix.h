/*
 * The delivery matrix: who receives whose heartbeats through its server. Each agent says in its summaries what it had of others in the last minute (a row,
 * at most SUMMARY_ROW_MAX cells, in a large group a sample); from all rows every agent finds the same. Pure.
 *
 * A cell is *lit* where anything came, *dark* where nothing came and MATRIX_LOST_MIN were missing; else it says nothing. What is found, in this order, each
 * explaining away the cells that it is made of:
 *   a dark row      nothing from anybody, while others have what it misses, and its agent has it from the broker      instance_receives_nothing: its
 *                   server has lost its subscription. Most of what it should have must be known to be missing
 *   a dark column   at least two others, who do receive, have nothing from it, and it says that it publishes      instance_publishes_nothing
 *   a dark block    one region has nothing of another, by at least two cells      regions_cut; who receives nothing at all is no witness
 *   lost channels   several lose the same ones while they deliver others; or one does, and others deliver them          shard_lost
 * At most MATRIX_CELLS_READ_MAX cells are read at once, of each row as many. Rows of members that are silent, begin, drain, watch or have left are not read, and nor are their columns. Two agents alone cannot tell a
 * dark row from a dark column: nothing is said.
 */
#ifndef WSHEALTHD_FLEET_MATRIX_H
#define WSHEALTHD_FLEET_MATRIX_H

#include "agent/fleet/members.h"

enum { MATRIX_REGIONS_MAX = 16, MATRIX_WITNESSES_MIN = 2, MATRIX_LOST_MIN = 2, MATRIX_CELLS_READ_MAX = 32768 };

enum matrix_cause { MATRIX_RECEIVES_NOTHING, MATRIX_PUBLISHES_NOTHING, MATRIX_REGIONS_CUT, MATRIX_SHARD_LOST, MATRIX_CAUSE_COUNT };
/* As in the list of causes: "instance_receives_nothing", "instance_publishes_nothing", "regions_cut", "shard_lost". */
const char *matrix_cause_name(enum matrix_cause cause);

struct matrix_finding {
    enum matrix_cause cause;
    /* The id of the instance; of a cut, the region that receives nothing, and the other; NULL of channels that several lose. They live until the table
     * changes. */
    const char *who, *from;
    uint32_t dark;  /* cells that say so; of lost channels, how many channels */
    uint32_t shard; /* one of the lost channels */
};

struct matrix_own { /* this agent, as its next summary has it */
    const char *id, *region;
    bool counts; /* a server's agent in rotation or not, that neither begins nor drains */
    const struct summary_source *row;
    size_t row_count;
    const struct summary_beats *beats; /* NULL: it publishes none */
};
bool matrix_is_lit(const struct summary_source *cell);
bool matrix_is_dark(const struct summary_source *cell);

/* How many were found; the first `max` of them are in out, sorted by cause and then as the table has them. */
size_t matrix_judge(const struct matrix_own *own, const struct members *members, uint64_t now_ms, struct matrix_finding *out,
                    size_t max);

#endif
