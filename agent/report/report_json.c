/*
 * Owns the JSON formats: /status and `check --json`, and application/health+json. Called by the health listener, the admin socket
 * and the commands. Promises the documented names, null for absent values, and no address, URL or text of the server for readers
 * without full details. agent/proto/json_out.c writes the syntax.
 */
#include "agent/report/report.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/conf/conf.h"
#include "agent/proto/json_out.h"
#include "agent/report/report_impl.h"

enum { MS_DECIMALS = 3, TRACE_TEXT_MAX = 1 << 20 };

static void put_time(struct json_out *json, int64_t wall_ms)
{
    char stamp[CLOCK_STAMP_MAX];
    if (wall_ms)
        clock_stamp(wall_ms, stamp, sizeof stamp);
    json_out_string(json, wall_ms ? stamp : NULL);
}

static void put_ms(struct json_out *json, bool known, uint64_t ns)
{
    if (known)
        json_out_double(json, (double)ns / 1e6, MS_DECIMALS);
    else
        json_out_null(json);
}

static void put_code(struct json_out *json, const char *key, int code)
{
    json_out_key(json, key);
    if (code)
        json_out_int(json, code);
    else
        json_out_null(json);
}

static void put_text(struct json_out *json, const char *key, const char *text)
{
    json_out_key(json, key);
    json_out_string(json, text);
}

static void put_flag(struct json_out *json, const char *key, bool value)
{
    json_out_key(json, key);
    json_out_bool(json, value);
}

/* --- /status ----------------------------------------------------------------------------------------------------------- */

static void put_diagnosis(struct json_out *json, const struct agent_view *view, const struct report_extra *extra)
{
    const struct diagnosis *diagnosis = &view->diagnosis;
    json_out_key(json, "diagnosis");
    json_out_object(json);
    put_text(json, "cause", diagnosis->cause);
    put_text(json, "sentence", report_sentence(view, extra->full));
    if (extra->for_users) {
        json_out_object_end(json);
        return;
    }
    json_out_key(json, "advice");
    json_out_array(json);
    for (size_t i = 0; i < diagnosis->advice_count; i++)
        json_out_string(json, diagnosis->advice[i]);
    json_out_array_end(json);
    json_out_key(json, "because");
    json_out_array(json);
    for (size_t i = 0; i < diagnosis->because_count; i++)
        json_out_string(json, diagnosis->because[i]);
    json_out_array_end(json);
    json_out_object_end(json);
}

static void put_gates(struct json_out *json, unsigned gates)
{
    json_out_key(json, "gates");
    json_out_array(json);
    if (gates & GATE_READY)
        json_out_string(json, "ready");
    if (gates & GATE_LIVE)
        json_out_string(json, "live");
    json_out_array_end(json);
}

static void put_timings(struct json_out *json, const struct check_view *check)
{
    json_out_key(json, "timings_ms");
    json_out_object(json);
    for (unsigned phase = PHASE_NONE + 1; phase < PHASE_COUNT; phase++) {
        json_out_key(json, phase_name((enum phase)phase));
        put_ms(json, check->judged && check->have_phase[phase], check->phase_ns[phase]);
    }
    json_out_key(json, "total");
    put_ms(json, check->judged, check->total_ns);
    json_out_object_end(json);
}

/* reason, phase, scope and message are of the last judged round; all are null if it passed. If all rounds were void, message says
 * why. */
static void put_round(struct json_out *json, const struct check_view *check, bool full)
{
    struct check_fault last = { .reason = check->reason, .message = check->message };
    bool wrong = check->reason != REASON_NONE;
    put_text(json, "status", check->judged ? result_name(check->status) : NULL);
    put_text(json, "reason", wrong ? reason_name(check->reason) : NULL);
    put_text(json, "phase", wrong && check->phase != PHASE_NONE ? phase_name(check->phase) : NULL);
    put_text(json, "scope", wrong && check->scope != SCOPE_NONE ? scope_name(check->scope) : NULL);
    put_text(json, "message", wrong ? report_fault_text(&last, full) : full && *check->message ? check->message : NULL);
    put_code(json, "close_code", check->close_code);
    put_code(json, "http_status", check->http_status);
}

static void put_tcp(struct json_out *json, const struct check_view *check)
{
    const struct trace_tcp *tcp = &check->tcp;
    json_out_key(json, "tcp");
    if (!check->judged || !tcp->known) {
        json_out_null(json);
        return;
    }
    json_out_object(json);
    json_out_key(json, "rtt_ms");
    put_ms(json, true, tcp->rtt_ns);
    json_out_key(json, "min_rtt_ms");
    put_ms(json, true, tcp->min_rtt_ns);
    json_out_key(json, "retransmits");
    json_out_int(json, tcp->retransmits);
    json_out_key(json, "lost");
    json_out_int(json, tcp->lost);
    json_out_key(json, "unacked");
    json_out_int(json, tcp->unacked);
    json_out_object_end(json);
}

/* Each line of the trace as a string. */
static void put_lines(struct json_out *json, const char *key, const struct trace *trace)
{
    struct buf text = BUF_INIT(TRACE_TEXT_MAX);
    json_out_key(json, key);
    json_out_array(json);
    if (trace)
        trace_write(trace, &text);
    for (const char *line = buf_str(&text); *line; line += strcspn(line, "\n") + 1)
        json_out_slice(json, slice_make(line, strcspn(line, "\n")));
    json_out_array_end(json);
    buf_fini(&text);
}

static void put_kept(struct json_out *json, const char *key, const struct trace *trace)
{
    json_out_key(json, key);
    if (!trace) {
        json_out_null(json);
        return;
    }
    json_out_object(json);
    json_out_key(json, "at");
    put_time(json, trace->wall_ms);
    put_lines(json, "lines", trace);
    json_out_object_end(json);
}

static void put_traces(struct json_out *json, const struct check_view *check, const struct report_extra *extra)
{
    if (extra->trace)
        put_lines(json, "trace", check->passed ? check->passed : check->failed);
    if (!extra->evidence || strcmp(extra->evidence, check->name) != 0)
        return;
    json_out_key(json, "evidence");
    json_out_object(json);
    put_kept(json, "failed", check->failed);
    put_kept(json, "passed", check->passed);
    json_out_object_end(json);
}

/* How long the connections lived that were cut; with `idle`, how long they had been silent. */
static void put_lives(struct json_out *json, const struct hold_figures *lives)
{
    static const char *const controls[] = {
        [HOLD_CONTROL_UNKNOWN] = NULL, [HOLD_CONTROL_LIVES] = "lives", [HOLD_CONTROL_CUT] = "cut"
    };
    json_out_key(json, "lives");
    json_out_object(json);
    put_text(json, "of", lives->idle ? "silence" : "age");
    json_out_key(json, "cut");
    json_out_int(json, lives->cut);
    json_out_key(json, "ended");
    json_out_int(json, lives->of);
    json_out_key(json, "shortest_ms");
    put_ms(json, lives->cut, lives->shortest_ns);
    json_out_key(json, "longest_ms");
    put_ms(json, lives->cut, lives->longest_ns);
    json_out_key(json, "control");
    controls[lives->control] ? json_out_string(json, controls[lives->control]) : json_out_null(json);
    json_out_key(json, "server_ping_ms");
    put_ms(json, lives->ping_ns != 0, lives->ping_ns);
    json_out_object_end(json);
}

static void put_check(struct json_out *json, const struct check_view *check, const struct report_extra *extra)
{
    bool full = extra->full;
    json_out_object(json);
    put_text(json, "name", check->name);
    put_text(json, "type", check->type);
    put_text(json, "path", check->path);
    if (check->http)
        put_text(json, "http", check->http);
    put_gates(json, check->gates);
    put_text(json, "state", state_name(check->health.state));
    put_round(json, check, full);
    json_out_key(json, "since");
    put_time(json, check->since_ms);
    json_out_key(json, "last");
    put_time(json, check->last_ms);
    put_text(json, "history", check->health.history);
    put_timings(json, check);
    json_out_key(json, "rtt_ms");
    put_ms(json, check->judged && check->have_rtt, check->rtt_ns);
    put_tcp(json, check);
    if (check->stats.holds) {
        json_out_key(json, "held");
        json_out_int(json, check->stats.held);
        json_out_key(json, "losses");
        json_out_int(json, (int64_t)check->stats.lost);
        json_out_key(json, "last_loss_age_ms");
        put_ms(json, check->stats.lost != 0, check->stats.lost_age_ns);
        put_lives(json, &check->stats.lives);
    }
    if (check->stats.server)
        report_server_json(json, check->stats.server, full);
    if (full)
        put_traces(json, check, extra);
    json_out_object_end(json);
}

/* For users of the service, who are shown states and times, and no reasons. */
static void put_check_for_users(struct json_out *json, const struct check_view *check)
{
    json_out_object(json);
    put_text(json, "name", check->name);
    put_text(json, "type", check->type);
    put_text(json, "state", state_name(check->health.state));
    json_out_key(json, "since");
    put_time(json, check->since_ms);
    json_out_key(json, "last");
    put_time(json, check->last_ms);
    put_text(json, "history", check->health.history);
    json_out_key(json, "rtt_ms");
    put_ms(json, check->judged && check->have_rtt, check->rtt_ns);
    json_out_object_end(json);
}

static void put_row(struct json_out *json, const struct check_view *check, const struct report_extra *extra)
{
    if (extra->for_users)
        put_check_for_users(json, check);
    else
        put_check(json, check, extra);
}

void report_check_json(const struct check_view *check, const struct report_extra *extra, struct buf *out)
{
    struct json_out json;
    json_out_begin(&json, out);
    put_row(&json, check, extra);
    (void)json_out_finish(&json);
}

/* A summary of each broker; all details are in `checks`, under the same name. `reason` is that of the state, not of the last round. */
static void put_broker(struct json_out *json, const struct check_view *check, bool full)
{
    struct check_fault fault;
    bool wrong = check_fault_of(check, &fault);
    json_out_object(json);
    put_text(json, "name", check->name);
    put_text(json, "type", check->broker_type);
    put_text(json, "state", state_name(check->health.state));
    json_out_key(json, "rtt_ms");
    put_ms(json, check->judged && check->have_rtt, check->rtt_ns);
    put_text(json, "reason", wrong ? reason_name(fault.reason) : NULL);
    put_text(json, "message", wrong ? report_fault_text(&fault, full) : NULL);
    json_out_object_end(json);
}

/* Only while the instance is drained. */
static void put_drain(struct json_out *json, const struct drain_view *drain, bool full)
{
    json_out_key(json, "drain");
    json_out_object(json);
    json_out_key(json, "remaining_connections");
    if (drain->counted)
        json_out_int(json, (int64_t)drain->remaining);
    else
        json_out_null(json);
    put_text(json, "uncounted_because", full && !drain->counted && *drain->why ? drain->why : NULL);
    json_out_object_end(json);
}

static bool is_wanted(const struct report_extra *extra, size_t check)
{
    return !extra->change || extra->change->checks[check];
}

static void put_changed(struct json_out *json, const struct report_change *change, size_t check_count)
{
    json_out_key(json, "changed");
    json_out_array(json);
    if (change->state)
        json_out_string(json, "state");
    if (change->verdict)
        json_out_string(json, "verdict");
    if (change->diagnosis)
        json_out_string(json, "diagnosis");
    if (change->fleet)
        json_out_string(json, "fleet");
    for (size_t i = 0; i < check_count; i++)
        if (change->checks[i]) {
            json_out_string(json, "checks");
            break;
        }
    json_out_array_end(json);
}

static void put_verdict(struct json_out *json, const struct verdict *verdict)
{
    put_text(json, "status", result_name(verdict->status));
    put_flag(json, "ready", verdict->ready);
    put_flag(json, "live", verdict->live);
    put_flag(json, "started", verdict->started);
    put_flag(json, "draining", verdict->draining);
    put_flag(json, "degraded", verdict->degraded);
}

static void put_brokers(struct json_out *json, const struct agent_view *view, const struct report_extra *extra)
{
    json_out_key(json, "brokers");
    json_out_array(json);
    for (size_t i = 0; i < view->check_count; i++)
        if (is_wanted(extra, i) && check_is_broker(view->checks[i]))
            put_broker(json, view->checks[i], extra->full);
    json_out_array_end(json);
}

/* Where a message goes is nobody's business: neither URL nor address. Errors may name hosts. */
static void put_notifier(struct json_out *json, const struct notifier_view *notifier, bool full)
{
    json_out_object(json);
    put_text(json, "name", notifier->name);
    put_text(json, "type", notifier->type);
    put_text(json, "state", notifier->failing ? "fail" : "pass");
    put_flag(json, "incident", notifier->told);
    json_out_key(json, "waiting");
    json_out_int(json, notifier->waiting);
    json_out_key(json, "last_sent");
    put_time(json, notifier->sent_ms);
    put_text(json, "message", full && *notifier->error ? notifier->error : NULL);
    json_out_object_end(json);
}

/* Only where some are configured. */
static void put_notifiers(struct json_out *json, const struct agent_view *view, bool full)
{
    if (!view->notifier_count)
        return;
    json_out_key(json, "notifiers");
    json_out_array(json);
    for (size_t i = 0; i < view->notifier_count; i++)
        put_notifier(json, view->notifiers[i], full);
    json_out_array_end(json);
}

void report_status_json_with(const struct agent_view *view, const struct report_extra *extra, struct buf *out)
{
    struct json_out json;
    json_out_begin(&json, out);
    json_out_object(&json);
    if (extra->at_ms) {
        json_out_key(&json, "at");
        put_time(&json, extra->at_ms);
    }
    if (extra->change)
        put_changed(&json, extra->change, view->check_count);
    put_verdict(&json, &view->verdict);
    if (view->drain.since_ms && !extra->for_users)
        put_drain(&json, &view->drain, extra->full);
    if (!extra->for_users) {
        put_text(&json, "version", view->version);
        put_text(&json, "target", extra->full ? view->service_id : NULL);
    }
    put_diagnosis(&json, view, extra);
    json_out_key(&json, "checks");
    json_out_array(&json);
    for (size_t i = 0; i < view->check_count; i++)
        if (is_wanted(extra, i))
            put_row(&json, view->checks[i], extra);
    json_out_array_end(&json);
    if (!extra->for_users)
        put_brokers(&json, view, extra);
    if (!extra->for_users && !extra->change)
        put_notifiers(&json, view, extra->full);
    if (!extra->for_users && (!extra->change || extra->change->fleet) && view->fleet)
        report_fleet_status(&json, view->fleet, extra->full);
    json_out_object_end(&json);
    (void)json_out_finish(&json);
    buf_append_char(out, '\n');
}

void report_status_json(const struct agent_view *view, bool full, struct buf *out)
{
    report_status_json_with(view, &(struct report_extra){ .full = full }, out);
}

/* --- application/health+json --------------------------------------------------------------------------------------------- */

/* The format knows pass, warn and fail only. */
static const char *health_word(enum state state)
{
    return state == STATE_UNKNOWN ? state_name(STATE_WARN) : state_name(state);
}

static void put_output(struct json_out *json, const struct check_view *check, bool full)
{
    struct check_fault fault;
    if (check_fault_of(check, &fault))
        put_text(json, "output", report_fault_text(&fault, full));
    else if (check->health.state == STATE_UNKNOWN)
        put_text(json, "output", "no verdict yet");
}

static void put_measurement(struct json_out *json, const struct check_view *check, bool full)
{
    char key[160];
    snprintf(key, sizeof key, "%s:responseTime", check->name);
    json_out_key(json, key);
    json_out_array(json);
    json_out_object(json);
    put_text(json, "componentId", check->name);
    put_text(json, "componentType", check_is_broker(check) ? "datastore" : "component");
    if (check->judged) {
        json_out_key(json, "observedValue");
        json_out_double(json, (double)report_headline_ns(check) / 1e6, MS_DECIMALS);
        put_text(json, "observedUnit", "ms");
    }
    put_text(json, "status", health_word(check->health.state));
    if (check->last_ms) {
        json_out_key(json, "time");
        put_time(json, check->last_ms);
    }
    put_output(json, check, full);
    json_out_object_end(json);
    json_out_array_end(json);
}

void report_health_json(const struct agent_view *view, bool full, struct buf *out)
{
    struct json_out json;
    json_out_begin(&json, out);
    json_out_object(&json);
    put_text(&json, "status", result_name(view->verdict.status));
    put_text(&json, "version", view->version);
    put_text(&json, "releaseId", view->version);
    if (full && view->service_id && *view->service_id)
        put_text(&json, "serviceId", view->service_id);
    put_text(&json, "description", "health of a WebSocket server, as its clients see it");
    json_out_key(&json, "notes");
    json_out_array(&json);
    json_out_string(&json, report_sentence(view, full));
    for (size_t i = 0; i < view->diagnosis.advice_count; i++)
        json_out_string(&json, view->diagnosis.advice[i]);
    json_out_array_end(&json);
    json_out_key(&json, "checks");
    json_out_object(&json);
    for (size_t i = 0; i < view->check_count; i++)
        put_measurement(&json, view->checks[i], full);
    json_out_object_end(&json);
    json_out_object_end(&json);
    (void)json_out_finish(&json);
    buf_append_char(out, '\n');
}
