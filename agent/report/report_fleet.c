/*
 * Owns the JSON of the fleet: /fleet, and its part of /status. Called by agent/http, report_json.c and report_fleet_text.c, which has the texts.
 * Pure: the view in, text out. Promises no name of a host, address or text of a broker for readers without full details, and no more than
 * REPORT_FLEET_MEMBERS members in one answer, since the loop waits for it: the answer says how many are left out.
 */
#include "agent/report/report_impl.h"

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
    put_text(json, "agent_version", member->agent_version);
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
enum result report_fleet_result(const struct fleet_view *fleet)
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

static void put_rollout(struct json_out *json, const struct fleet_rollout_view *rollout)
{
    json_out_key(json, "rollout");
    json_out_object(json);
    put_flag(json, "under_way", rollout->under_way);
    put_flag(json, "announced", rollout->announced);
    put_number(json, "changed", rollout->changed);
    put_number(json, "of", rollout->of);
    put_number(json, "versions", rollout->versions);
    put_text(json, "from", rollout->from);
    put_text(json, "to", rollout->to);
    put_number(json, "since_ms", rollout->since_ago_ms);
    put_text(json, "sentence", rollout->sentence);
    json_out_object_end(json);
}

void report_fleet_json(const struct agent_view *view, bool full, struct buf *out)
{
    const struct fleet_view *fleet = view->fleet;
    struct json_out json;
    size_t left_out;

    json_out_begin(&json, out);
    json_out_object(&json);
    put_text(&json, "status", result_name(report_fleet_result(fleet)));
    put_head(&json, fleet, full);
    put_number(&json, "every_ms", fleet->every_ms);
    put_number(&json, "expire_ms", fleet->expire_ms);
    put_text(&json, "wide_cause", fleet->wide_cause);
    put_regions(&json, fleet);
    left_out = put_members(&json, fleet, full);
    put_number(&json, "left_out", left_out);
    report_matrix_json(&json, fleet, full);
    put_rollout(&json, &fleet->rollout);
    json_out_key(&json, "ignored");
    json_out_object(&json);
    for (size_t i = 0; i < fleet->refusal_count; i++)
        put_number(&json, fleet->refusals[i].name, fleet->refusals[i].count);
    json_out_object_end(&json);
    json_out_object_end(&json);
    (void)json_out_finish(&json);
    buf_append_char(out, '\n');
}
