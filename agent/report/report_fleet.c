/*
 * Owns the texts of the fleet: the JSON of /fleet, its part of /status, and the table of `wshealthd fleet`. Called by agent/http and report_json.c.
 * Pure: the view in, text out. Promises no name of a host, address or text of a broker for readers without full details, and no more than
 * REPORT_FLEET_MEMBERS members in one answer, since the loop waits for it: the answer says how many are left out.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "agent/report/report_impl.h"

enum { SECOND_MS = 1000, TEXT_MAX = 160, COLUMNS = 7, COLUMN_MAX = 64 };

static void put_text(struct json_out *json, const char *key, const char *text)
{
    json_out_key(json, key);
    json_out_string(json, text && *text ? text : NULL);
}

static void put_number(struct json_out *json, const char *key, uint64_t value)
{
    json_out_key(json, key);
    json_out_int(json, (int64_t)value);
}

static void put_flag(struct json_out *json, const char *key, bool value)
{
    json_out_key(json, key);
    json_out_bool(json, value);
}

/* --- JSON ---------------------------------------------------------------------------------------------------------------- */

static void put_member(struct json_out *json, const struct fleet_member_view *member, bool full)
{
    json_out_object(json);
    put_text(json, "id", full ? member->id : NULL);
    put_text(json, "region", member->region);
    put_text(json, "version", member->version);
    put_flag(json, "self", member->self);
    put_text(json, "state", member->word);
    put_number(json, "since_ms", member->since_ago_ms);
    put_text(json, "stand", member->stand);
    put_text(json, "cause", member->cause);
    put_text(json, "scope", member->scope);
    put_flag(json, "watcher", member->watcher);
    put_flag(json, "twin", member->twin);
    put_number(json, "heard_ms", member->heard_ago_ms);
    json_out_key(json, "connections");
    if (member->have_connections)
        json_out_int(json, member->connections);
    else
        json_out_null(json);
    put_number(json, "restarts", member->restarts);
    put_number(json, "lost", member->lost);
    json_out_object_end(json);
}

static size_t put_members(struct json_out *json, const struct fleet_view *fleet, bool full)
{
    size_t shown = fleet->member_count < REPORT_FLEET_MEMBERS ? fleet->member_count : REPORT_FLEET_MEMBERS;
    struct fleet_member_view member;

    json_out_key(json, "members");
    json_out_array(json);
    for (size_t i = 0; i < shown; i++) {
        fleet->member_at(fleet->fleet, i, &member);
        put_member(json, &member, full);
    }
    json_out_array_end(json);
    return fleet->member_count - shown;
}

static void put_regions(struct json_out *json, const struct fleet_view *fleet)
{
    json_out_key(json, "regions");
    json_out_array(json);
    for (size_t i = 0; i < fleet->region_count; i++) {
        const struct fleet_region_view *region = &fleet->regions[i];

        json_out_object(json);
        put_text(json, "region", region->region);
        put_number(json, "ready", region->ready);
        put_number(json, "degraded", region->degraded);
        put_number(json, "not_ready", region->not_ready);
        put_number(json, "draining", region->draining);
        put_number(json, "starting", region->starting);
        put_number(json, "silent", region->silent);
        put_number(json, "watchers", region->watchers);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

struct fleet_region_view report_fleet_sum(const struct fleet_view *fleet)
{
    struct fleet_region_view all = { 0 };

    for (size_t i = 0; i < fleet->region_count; i++) {
        all.ready += fleet->regions[i].ready;
        all.degraded += fleet->regions[i].degraded;
        all.not_ready += fleet->regions[i].not_ready;
        all.draining += fleet->regions[i].draining;
        all.starting += fleet->regions[i].starting;
        all.silent += fleet->regions[i].silent;
        all.watchers += fleet->regions[i].watchers;
    }
    return all;
}

/* Fail: none is in rotation. Warn: this agent stands alone, or some are not well, or only watchers are known. Those that are drained are meant to
 * be. */
static enum result status_of(const struct fleet_view *fleet)
{
    const struct fleet_region_view all = report_fleet_sum(fleet);

    if (!all.ready && !all.degraded)
        return all.not_ready || all.draining || all.starting || all.silent ? RESULT_FAIL : RESULT_WARN;
    return !fleet->linked || all.degraded || all.not_ready || all.starting || all.silent ? RESULT_WARN : RESULT_PASS;
}

static void put_head(struct json_out *json, const struct fleet_view *fleet, bool full)
{
    put_text(json, "group", fleet->group);
    put_text(json, "broker", fleet->broker);
    put_text(json, "role", fleet->watcher ? "watcher" : "server");
    put_flag(json, "linked", fleet->linked);
    put_text(json, "message", full ? fleet->why : NULL);
    put_text(json, "min_ready", fleet->min_ready);
    put_text(json, "mode", fleet->mode);
    put_flag(json, "held", fleet->held);
    put_flag(json, "fleet_wide_fault", fleet->wide);
    put_text(json, "sentence", fleet->sentence);
    put_number(json, "member_count", fleet->member_count);
}

void report_fleet_status(struct json_out *json, const struct fleet_view *fleet, bool full)
{
    json_out_key(json, "fleet");
    json_out_object(json);
    put_head(json, fleet, full);
    report_findings_json(json, fleet, full);
    json_out_object_end(json);
}

void report_fleet_json(const struct agent_view *view, bool full, struct buf *out)
{
    const struct fleet_view *fleet = view->fleet;
    struct json_out json;
    size_t left_out;

    json_out_begin(&json, out);
    json_out_object(&json);
    put_text(&json, "status", result_name(status_of(fleet)));
    put_head(&json, fleet, full);
    put_number(&json, "every_ms", fleet->every_ms);
    put_number(&json, "expire_ms", fleet->expire_ms);
    put_text(&json, "wide_cause", fleet->wide_cause);
    put_regions(&json, fleet);
    left_out = put_members(&json, fleet, full);
    put_number(&json, "left_out", left_out);
    report_matrix_json(&json, fleet, full);
    json_out_key(&json, "ignored");
    json_out_object(&json);
    for (size_t i = 0; i < fleet->refusal_count; i++)
        put_number(&json, fleet->refusals[i].name, fleet->refusals[i].count);
    json_out_object_end(&json);
    json_out_object_end(&json);
    (void)json_out_finish(&json);
    buf_append_char(out, '\n');
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
    snprintf(row->cells[6], COLUMN_MAX, "%s%s", member->cause, strcmp(member->stand, "held") == 0 ? ", held in rotation" : "");
}

static void widen(const struct row *row, size_t widths[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++)
        if (strlen(row->cells[i]) > widths[i])
            widths[i] = strlen(row->cells[i]);
}

static const char *ink_of(const struct fleet_member_view *member)
{
    if (strcmp(member->word, "ready") == 0)
        return "\033[32m";
    if (strcmp(member->word, "not_ready") == 0 || strcmp(member->word, "silent") == 0)
        return "\033[31m";
    return "\033[33m";
}

static void put_row(struct buf *out, const struct row *row, const size_t widths[COLUMNS], const char *ink)
{
    for (size_t i = 0; i < COLUMNS; i++) {
        bool inked = ink && i == 2;

        buf_append_str(out, i + 1 < COLUMNS || row->cells[i][0] ? "  " : "");
        buf_append_str(out, inked ? ink : "");
        report_put(out, row->cells[i]);
        buf_append_str(out, inked ? "\033[0m" : "");
        if (i + 1 < COLUMNS && (i + 2 < COLUMNS || row->cells[i + 1][0]))
            buf_printf(out, "%*s", (int)(widths[i] - strlen(row->cells[i])), "");
    }
    buf_append_char(out, '\n');
}

static void put_table(const struct fleet_view *fleet, bool colour, struct buf *out)
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
    put_row(out, &titles, widths, NULL);
    for (size_t i = 0; i < shown; i++) {
        fleet->member_at(fleet->fleet, i, &member);
        make_row(&member, &row);
        put_row(out, &row, widths, colour ? ink_of(&member) : NULL);
    }
    if (shown < fleet->member_count)
        buf_printf(out, "  and %zu more\n", fleet->member_count - shown);
}

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

static void put_ignored(const struct fleet_view *fleet, struct buf *out)
{
    for (size_t i = 0; i < fleet->refusal_count; i++)
        if (fleet->refusals[i].count)
            buf_printf(out, "  ignored: %llu (%s: %s)\n", (unsigned long long)fleet->refusals[i].count, fleet->refusals[i].name,
                       fleet->refusals[i].help);
}

void report_fleet_human(const struct agent_view *view, bool colour, struct buf *out)
{
    const struct fleet_view *fleet = view->fleet;
    const struct fleet_region_view all = report_fleet_sum(fleet);

    buf_printf(out, "\n  %s by %s: ", fleet->group, fleet->broker);
    report_fleet_counts(&all, out);
    buf_printf(out, "; min_ready %s\n", *fleet->min_ready ? fleet->min_ready : "off");
    if (!fleet->linked) {
        buf_append_str(out, "  not linked, so that this agent acts by its own verdict: ");
        report_put(out, fleet->why);
        buf_append_char(out, '\n');
    }
    if (*fleet->sentence)
        buf_printf(out, "  here: %s\n", fleet->sentence);
    if (fleet->wide)
        buf_printf(out, "  fleet_wide_fault: %u of %u have %s at once\n", (unsigned)fleet->wide_sharing, (unsigned)fleet->wide_of,
                   fleet->wide_cause);
    for (size_t i = 0; i < fleet->finding_count; i++)
        buf_printf(out, "  %s: %s\n", fleet->findings[i].cause, fleet->findings[i].sentence);
    buf_append_char(out, '\n');
    put_table(fleet, colour, out);
    put_ignored(fleet, out);
    buf_append_char(out, '\n');
}
