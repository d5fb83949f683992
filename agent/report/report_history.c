/*
 * Owns the JSON of /history: the changes of the verdict, the incidents, and the buckets of the checks. Called by the health listener and the
 * admin socket. Pure: the view in, text out. Promises no address, URL or text of the server for readers without full details, and no
 * more than REPORT_HISTORY_BUCKETS buckets in one answer, since the loop waits for it: of many checks the older ones are left out, and the
 * answer says so.
 */
#include "agent/base/clock.h"
#include "agent/core/view.h"
#include "agent/report/report_impl.h"

enum { MS_DECIMALS = 3 };

static void put_time(struct json_out *json, const char *key, int64_t wall_ms)
{
    char stamp[CLOCK_STAMP_MAX];

    json_out_key(json, key);
    if (wall_ms)
        clock_stamp(wall_ms, stamp, sizeof stamp);
    json_out_string(json, wall_ms ? stamp : NULL);
}

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

static void put_flag(struct json_out *json, const char *key, bool value)
{
    json_out_key(json, key);
    json_out_bool(json, value);
}

static void put_ms(struct json_out *json, const char *key, bool known, uint64_t us)
{
    json_out_key(json, key);
    if (known)
        json_out_double(json, (double)us / 1e3, MS_DECIMALS);
    else
        json_out_null(json);
}

static void put_sentence(struct json_out *json, const char *sentence, const char *plain, bool full)
{
    put_text(json, "sentence", full && *sentence ? sentence : plain);
}

static void put_changes(struct json_out *json, const struct history *history, const struct report_history_ask *ask)
{
    json_out_key(json, "changes");
    json_out_array(json);
    for (size_t i = 0; i < history_change_count(history); i++) {
        const struct history_change *change = history_change_at(history, i);

        if (ask->since_ms && change->at_ms < ask->since_ms)
            continue;
        json_out_object(json);
        put_time(json, "at", change->at_ms);
        put_text(json, "word", change->word);
        put_flag(json, "live", change->live);
        put_text(json, "cause", change->cause);
        put_sentence(json, change->sentence, change->plain, ask->full);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

static void put_incidents(struct json_out *json, const struct history *history, const struct report_history_ask *ask)
{
    struct history_incident incidents[HISTORY_INCIDENTS_MAX];
    size_t count = history_incidents(history, ask->since_ms, incidents, HISTORY_INCIDENTS_MAX);

    json_out_key(json, "incidents");
    json_out_array(json);
    for (size_t i = 0; i < count; i++) {
        json_out_object(json);
        put_time(json, "begin", incidents[i].begin_ms);
        put_time(json, "end", incidents[i].end_ms);
        put_text(json, "worst", incidents[i].worst);
        put_text(json, "cause", incidents[i].cause);
        put_sentence(json, incidents[i].sentence, incidents[i].plain, ask->full);
        put_number(json, "changes", incidents[i].changes);
        put_flag(json, "cut", incidents[i].cut);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

static void put_bucket(struct json_out *json, const struct history_bucket *bucket, bool counts_connections)
{
    json_out_object(json);
    put_time(json, "start", bucket->start_ms);
    put_number(json, "rounds", bucket->rounds);
    put_number(json, "failures", bucket->failures);
    put_number(json, "warnings", bucket->warnings);
    put_ms(json, "p50_ms", bucket->have_rtt, bucket->p50_us);
    put_ms(json, "p95_ms", bucket->have_rtt, bucket->p95_us);
    put_ms(json, "p99_ms", bucket->have_rtt, bucket->p99_us);
    if (counts_connections) {
        json_out_key(json, "connections");
        if (bucket->have_connections)
            json_out_int(json, bucket->connections);
        else
            json_out_null(json);
    }
    json_out_object_end(json);
}

static void put_hour(struct json_out *json, const struct history_check *check, int64_t now_ms)
{
    struct history_quantiles hour;

    json_out_key(json, "hour");
    if (!check || !history_hour(check, now_ms, &hour)) {
        json_out_null(json);
        return;
    }
    json_out_object(json);
    put_number(json, "count", (int64_t)hour.count);
    put_ms(json, "p50_ms", true, hour.p50_us);
    put_ms(json, "p95_ms", true, hour.p95_us);
    put_ms(json, "p99_ms", true, hour.p99_us);
    json_out_object_end(json);
}

/* Oldest first: as a chart is drawn. */
static void put_check(struct json_out *json, const struct history *history, const struct check_view *view, unsigned buckets,
                      int64_t now_ms)
{
    const struct history_check *check = history_find(history, view->name);
    struct history_bucket bucket;

    json_out_object(json);
    put_text(json, "name", view->name);
    put_text(json, "type", view->type);
    put_text(json, "path", view->path);
    put_text(json, "measure", check && history_has_rtt(check) ? "rtt" : "total");
    put_hour(json, check, now_ms);
    json_out_key(json, "buckets");
    json_out_array(json);
    for (unsigned ago = buckets; check && ago-- > 0;)
        if (history_bucket_at(check, ago, now_ms, &bucket))
            put_bucket(json, &bucket, view->stats.server);
    json_out_array_end(json);
    json_out_object_end(json);
}

/* How many buckets back the answer goes, for each check. */
static unsigned reach(const struct report_history_ask *ask, size_t checks)
{
    int64_t asked = ask->since_ms ? ask->now_ms / HISTORY_BUCKET_MS - ask->since_ms / HISTORY_BUCKET_MS + 1 : HISTORY_BUCKETS;
    int64_t most = checks ? REPORT_HISTORY_BUCKETS / (int64_t)checks : HISTORY_BUCKETS;

    if (asked < 1)
        asked = 1;
    if (asked > HISTORY_BUCKETS)
        asked = HISTORY_BUCKETS;
    return (unsigned)(asked < most ? asked : most);
}

void report_history_json(const struct agent_view *view, const struct report_history_ask *ask, struct buf *out)
{
    const struct check_view *one = ask->check ? report_find_check(view, ask->check) : NULL;
    unsigned buckets = reach(ask, ask->check ? 1 : view->check_count);
    int64_t first_ms = (ask->now_ms / HISTORY_BUCKET_MS - (int64_t)buckets + 1) * HISTORY_BUCKET_MS;
    struct json_out json;

    json_out_begin(&json, out);
    json_out_object(&json);
    put_time(&json, "now", ask->now_ms);
    put_time(&json, "started", view->started_ms);
    put_number(&json, "bucket_s", HISTORY_BUCKET_MS / 1000);
    put_number(&json, "error_percent", HISTORY_ERROR_PERCENT);
    put_time(&json, "buckets_from", first_ms);
    put_flag(&json, "whole", buckets == reach(ask, 1));
    put_changes(&json, view->history, ask);
    put_incidents(&json, view->history, ask);
    json_out_key(&json, "checks");
    json_out_array(&json);
    for (size_t i = 0; i < view->check_count; i++)
        if (!ask->check || view->checks[i] == one)
            put_check(&json, view->history, view->checks[i], buckets, ask->now_ms);
    json_out_array_end(&json);
    json_out_object_end(&json);
    (void)json_out_finish(&json);
    buf_append_char(out, '\n');
}
