/*
 * Owns the JSON of the delivery matrix: what is found in it, its rows, and the delays between regions. Called by report_fleet.c. Pure. Promises
 * readers without full details no names of agents, and no more than CELLS_MAX cells in one answer, since the loop waits for it.
 */
#include "agent/report/report_impl.h"

enum { CELLS_MAX = 4096 };

static void put_text(struct json_out *json, const char *key, const char *text)
{
    json_out_key(json, key);
    json_out_string(json, text);
}

static void put_number(struct json_out *json, const char *key, int64_t value)
{
    json_out_key(json, key);
    json_out_int(json, value);
}

void report_findings_json(struct json_out *json, const struct fleet_view *fleet, bool full)
{
    json_out_key(json, "findings");
    json_out_array(json);
    for (size_t i = 0; i < fleet->finding_count; i++) {
        const struct fleet_finding_view *finding = &fleet->findings[i];

        json_out_object(json);
        put_text(json, "cause", finding->cause);
        put_text(json, "who", full ? finding->who : NULL);
        put_text(json, "from", full ? finding->from : NULL);
        put_text(json, "sentence", full ? finding->sentence : finding->plain);
        put_text(json, "advice", finding->advice);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

static void put_cell(struct json_out *json, const struct fleet_cell_view *cell)
{
    json_out_object(json);
    put_text(json, "from", cell->from);
    put_text(json, "state", cell->state);
    put_number(json, "got", cell->got);
    put_number(json, "lost", cell->lost);
    if (cell->have_late) {
        put_number(json, "late_ms", cell->late_ms);
        put_number(json, "error_ms", cell->error_ms);
    }
    json_out_object_end(json);
}

/* The cells of one row; a row without any is left out. How many there were. */
static size_t put_row(struct json_out *json, const struct fleet_view *fleet, size_t i)
{
    struct fleet_member_view member;
    struct fleet_cell_view cells[FLEET_VIEW_CELLS_MAX];
    size_t count = fleet->cells_of(fleet->fleet, i, cells, FLEET_VIEW_CELLS_MAX);

    if (!count)
        return 0;
    fleet->member_at(fleet->fleet, i, &member);
    json_out_object(json);
    put_text(json, "to", member.id);
    json_out_key(json, "cells");
    json_out_array(json);
    for (size_t j = 0; j < count; j++)
        put_cell(json, &cells[j]);
    json_out_array_end(json);
    json_out_object_end(json);
    return count;
}

static void put_rows(struct json_out *json, const struct fleet_view *fleet)
{
    json_out_key(json, "matrix");
    json_out_array(json);
    for (size_t i = 0, cells = 0; i < fleet->member_count && i < REPORT_FLEET_MEMBERS && cells < CELLS_MAX; i++)
        cells += put_row(json, fleet, i);
    json_out_array_end(json);
}

static void put_delays(struct json_out *json, const struct fleet_view *fleet)
{
    json_out_key(json, "delays");
    json_out_array(json);
    for (size_t i = 0; i < fleet->delay_count; i++) {
        json_out_object(json);
        put_text(json, "from_region", fleet->delays[i].from_region);
        put_text(json, "to_region", fleet->delays[i].to_region);
        json_out_key(json, "seconds");
        json_out_double(json, fleet->delays[i].seconds, 4);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

void report_matrix_json(struct json_out *json, const struct fleet_view *fleet, bool full)
{
    report_findings_json(json, fleet, full);
    if (full && fleet->has_matrix && fleet->cells_of)
        put_rows(json, fleet);
    put_delays(json, fleet);
}
