/*
 * Owns the list of metric families: names, types, labels, help, and how each is read from the view. Called by the health listener
 * for /metrics and by the manual's table. Promises that every series that can occur exists from the first scrape, and no other:
 * label values come from the closed sets of agent/base/reason.h and agent/core/stats.h, as far as the check's type can have them.
 * With more than METRIC_WHOLE_CHECKS checks some series appear with their first count only (is_brief). agent/core counts;
 * agent/proto/prom.c writes the syntax.
 */
#include "agent/report/metric.h"

#include <math.h>
#include <string.h>

#include "agent/conf/probe_type.h"
#include "agent/report/diagnose_rules.h"
#include "agent/report/metric_process.h"
#include "agent/report/view.h"

/* --- what the families read ------------------------------------------------------------------------------------------ */

struct scrape {
    struct prom prom;
    const struct agent_view *view;
    struct process_stats process;
};

/* Are there so many checks that all series would be megabytes of zeros? Then rounds_total counts from the start, and its parts
 * appear when they count. */
static bool is_brief(const struct scrape *scrape)
{
    return scrape->view->check_count > METRIC_WHOLE_CHECKS;
}

/* The series that exist from the first scrape even then, as alerts often use them. */
static bool is_common_reason(enum reason reason)
{
    return reason == REASON_CONNECT_REFUSED || reason == REASON_DELIVERY_LOST || reason == REASON_BROKER_UNREACHABLE;
}

static bool is_common_close(enum close_label label)
{
    return label == CLOSE_1001 || label == CLOSE_1006 || label == CLOSE_1011;
}

/* PHASE_NONE stands for the whole round. */
static const char *phase_label(enum phase phase)
{
    return phase == PHASE_NONE ? "total" : phase_name(phase);
}

static bool begins_with(const char *text, const char *part)
{
    return strncmp(text, part, strlen(part)) == 0;
}

/* Reasons that only some types give: these name them. */
static bool is_special(enum reason reason)
{
    switch (reason) {
    case REASON_TLS_CERT_EXPIRING:
    case REASON_SILENT_DROP:
    case REASON_ECHO_TIMEOUT:
    case REASON_ECHO_MISMATCH:
    case REASON_SCRIPT_TIMEOUT:
    case REASON_SCRIPT_MISMATCH:
    case REASON_SCRIPT_REJECTED:
    case REASON_SUBSCRIBE_TIMEOUT:
    case REASON_SUBSCRIBE_REJECTED:
    case REASON_RECONNECT_SLOW:
    case REASON_RESUME_FAILED:
    case REASON_PAYLOAD_LIMIT:
    case REASON_HTTP_STATUS:
    case REASON_HTTP_BODY:
    case REASON_AUTH_REJECTED:
    case REASON_AUTH_NOT_ENFORCED:
    case REASON_AUTH_EXPIRY_IGNORED:
    case REASON_AUTH_REFRESH_FAILED:
    case REASON_ORIGIN_REJECTED:
    case REASON_ORIGIN_NOT_ENFORCED:
        return true;
    default:
        return false;
    }
}

static bool is_own(const struct series *series, enum reason reason)
{
    for (const enum reason *own = series->reasons; own && *own != REASON_NONE; own++)
        if (*own == reason)
            return true;
    return false;
}

/* Can the way to the target and the target's answers give this reason? A new reason is listed by itself, by its phase. */
static bool phase_gives(const struct check_view *check, enum reason reason)
{
    const struct series *series = &check->series;
    if (!series->known || is_own(series, reason))
        return true;
    if (is_special(reason))
        return false;
    switch (reason_phase(reason)) {
    case PHASE_RESOLVE:
        return series->name;
    case PHASE_TLS:
        return series->tls;
    case PHASE_UPGRADE:
        return series->parts & SERIES_REFUSALS;
    case PHASE_OPEN:
        return reason == REASON_SLOW ? check->slo_ms > 0 : series->parts & SERIES_FRAMES;
    default:
        return true;
    }
}

/* Can this check give this reason? Decided by the prefix of the reason's name, and by the properties of the check's type. */
static bool reason_listed(const struct check_view *check, enum reason reason)
{
    const char *name = reason_name(reason);
    if (reason == REASON_NONE)
        return false;
    if (begins_with(name, "server_"))
        return check->stats.server && is_own(&check->series, reason);
    if (check_is_broker(check))
        return begins_with(name, "broker_") || begins_with(name, "agent_") || reason == REASON_SLOW;
    if (begins_with(name, "broker_") || begins_with(name, "delivery_"))
        return check->stats.delivery;
    return phase_gives(check, reason);
}

/* The durations that a check can measure. */
static bool phase_listed(const struct check_view *check, enum phase phase)
{
    const struct series *series = &check->series;
    if (!series->known || phase == PHASE_NONE)
        return true;
    switch (phase) {
    case PHASE_RESOLVE:
        return series->parts & SERIES_DIAL && series->name;
    case PHASE_CONNECT:
        return series->parts & SERIES_DIAL;
    case PHASE_TLS:
        return series->parts & SERIES_DIAL && series->tls;
    case PHASE_UPGRADE:
        return series->parts & SERIES_UPGRADE;
    default:
        return series->parts & SERIES_OPEN;
    }
}

static bool part_listed(const struct check_view *check, unsigned part)
{
    return !check->series.known || check->series.parts & part;
}

static double state_value(enum state state)
{
    static const double values[STATE_COUNT] = { [STATE_UNKNOWN] = NAN, [STATE_PASS] = 1, [STATE_WARN] = 0.5, [STATE_FAIL] = 0 };
    return values[state];
}

/* A time that has not come yet is NaN: 0 would be 1970, and alerts on an age would fire. */
static double timestamp_value(int64_t wall_ms)
{
    return wall_ms ? (double)wall_ms / 1e3 : NAN;
}

static void write_build(struct scrape *scrape)
{
    prom_sample(&scrape->prom, 1, "version", scrape->view->version, "region", scrape->view->region ? scrape->view->region : "",
                NULL);
}

static void write_ready(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->view->verdict.ready, NULL);
}

static void write_live(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->view->verdict.live, NULL);
}

static void write_started(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->view->verdict.started, NULL);
}

static void write_degraded(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->view->verdict.degraded, NULL);
}

static void write_draining(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->view->verdict.draining, NULL);
}

/* 0 while it is not drained, too. */
static void write_remaining(struct scrape *scrape)
{
    const struct drain_view *drain = &scrape->view->drain;

    prom_sample(&scrape->prom, drain->since_ms && !drain->counted ? NAN : (double)drain->remaining, NULL);
}

static void write_diagnosis(struct scrape *scrape)
{
    const char *present = scrape->view->diagnosis.cause;
    for (int cause = 0; cause < CAUSE_COUNT; cause++) {
        const char *name = cause_name((enum cause)cause);
        prom_sample(&scrape->prom, present && strcmp(present, name) == 0, "cause", name, NULL);
    }
}

static void write_loop_lag(struct scrape *scrape)
{
    prom_sample_histogram(&scrape->prom, &scrape->view->loop_lag, NULL);
}

const char *notified_name(enum notified result)
{
#define NOTIFIED_NAME(id, name) [NOTIFIED_##id] = name,
    static const char *const names[NOTIFIED_COUNT] = { NOTIFIED_LIST(NOTIFIED_NAME) };
#undef NOTIFIED_NAME
    return names[result];
}

static void write_notifications(struct scrape *scrape)
{
    for (size_t i = 0; i < scrape->view->notifier_count; i++)
        for (unsigned result = 0; result < NOTIFIED_COUNT; result++)
            prom_sample(&scrape->prom, (double)scrape->view->notifiers[i]->results[result], "notifier",
                        scrape->view->notifiers[i]->name, "result", notified_name((enum notified)result), NULL);
}

static void write_fleet_members(struct scrape *scrape)
{
    const struct fleet_view *fleet = scrape->view->fleet;

    for (size_t i = 0; fleet && i < fleet->region_count; i++) {
        const struct fleet_region_view *region = &fleet->regions[i];
        const struct {
            const char *state;
            uint32_t count;
        } rows[] = { { "ready", region->ready },       { "degraded", region->degraded }, { "not_ready", region->not_ready },
                     { "draining", region->draining }, { "starting", region->starting }, { "silent", region->silent },
                     { "watcher", region->watchers } };

        for (size_t j = 0; j < sizeof rows / sizeof rows[0]; j++)
            prom_sample(&scrape->prom, rows[j].count, "state", rows[j].state, "region", region->region, NULL);
    }
}

static void write_fleet_linked(struct scrape *scrape)
{
    if (scrape->view->fleet)
        prom_sample(&scrape->prom, scrape->view->fleet->linked, NULL);
}

static void write_fleet_delays(struct scrape *scrape)
{
    const struct fleet_view *fleet = scrape->view->fleet;

    for (size_t i = 0; fleet && i < fleet->delay_count; i++)
        prom_sample(&scrape->prom, fleet->delays[i].seconds, "from_region", fleet->delays[i].from_region, "to_region",
                    fleet->delays[i].to_region, NULL);
}

static void write_fleet_ignored(struct scrape *scrape)
{
    const struct fleet_view *fleet = scrape->view->fleet;

    for (size_t i = 0; fleet && i < fleet->refusal_count; i++)
        prom_sample(&scrape->prom, (double)fleet->refusals[i].count, "reason", fleet->refusals[i].name, NULL);
}

static void write_fleet_findings(struct scrape *scrape)
{
    const struct fleet_view *fleet = scrape->view->fleet;

    for (int cause = CAUSE_INSTANCE_RECEIVES_NOTHING; fleet && cause <= CAUSE_PUBLIC_PATH_DOWN; cause++) {
        const char *name = cause_name((enum cause)cause);
        bool found = false;

        for (size_t i = 0; i < fleet->finding_count; i++)
            found = found || strcmp(fleet->findings[i].cause, name) == 0;
        prom_sample(&scrape->prom, found, "cause", name, NULL);
    }
}

static void write_stalls(struct scrape *scrape)
{
    prom_sample(&scrape->prom, (double)scrape->view->stalls, NULL);
}

static void write_cpu(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->process.cpu_seconds, NULL);
}

static void write_resident(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->process.resident_bytes, NULL);
}

static void write_open_fds(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->process.open_fds, NULL);
}

static void write_max_fds(struct scrape *scrape)
{
    prom_sample(&scrape->prom, scrape->process.max_fds, NULL);
}

static void write_start_time(struct scrape *scrape)
{
    prom_sample(&scrape->prom, timestamp_value(scrape->view->started_ms), NULL);
}

#define CHECK_LABELS(c) "check", (c)->name, "type", (c)->type, "path", (c)->path

static void write_state(struct scrape *scrape, const struct check_view *check)
{
    prom_sample(&scrape->prom, state_value(check->health.state), CHECK_LABELS(check), NULL);
}

static void write_rounds(struct scrape *scrape, const struct check_view *check)
{
    for (unsigned i = 0; i < RESULT_COUNT; i++)
        prom_sample(&scrape->prom, (double)check->stats.rounds[i], CHECK_LABELS(check), "result", result_name((enum result)i),
                    NULL);
}

static void write_failures(struct scrape *scrape, const struct check_view *check)
{
    for (unsigned i = 0; i < REASON_COUNT; i++)
        if (check->stats.failures[i] ||
            (reason_listed(check, (enum reason)i) && (!is_brief(scrape) || is_common_reason((enum reason)i))))
            prom_sample(&scrape->prom, (double)check->stats.failures[i], CHECK_LABELS(check), "reason", reason_name((enum reason)i),
                        NULL);
}

static void write_duration(struct scrape *scrape, const struct check_view *check)
{
    for (unsigned i = 1; i <= PHASE_COUNT; i++) { /* the whole round last */
        enum phase phase = (enum phase)(i % PHASE_COUNT);
        if (!phase_listed(check, phase))
            continue;
        prom_buckets(&scrape->prom, phase == PHASE_NONE ? PROM_USUAL : is_brief(scrape) ? PROM_ONE : PROM_COARSE);
        prom_sample_histogram(&scrape->prom, &check->stats.phase[phase], CHECK_LABELS(check), "phase", phase_label(phase), NULL);
    }
}

static void write_rtt(struct scrape *scrape, const struct check_view *check)
{
    if (part_listed(check, SERIES_RTT))
        prom_sample_histogram(&scrape->prom, &check->stats.rtt, CHECK_LABELS(check), NULL);
}

static void write_last_round(struct scrape *scrape, const struct check_view *check)
{
    prom_sample(&scrape->prom, timestamp_value(check->stats.last_round_ms), CHECK_LABELS(check), NULL);
}

static void write_interval(struct scrape *scrape, const struct check_view *check)
{
    prom_sample(&scrape->prom, (double)check->interval_ms / 1000.0, CHECK_LABELS(check), NULL);
}

static void write_closes(struct scrape *scrape, const struct check_view *check)
{
    for (unsigned i = 0; i < CLOSE_LABEL_COUNT && part_listed(check, SERIES_FRAMES); i++)
        if (check->stats.closes[i] || !is_brief(scrape) || is_common_close((enum close_label)i))
            prom_sample(&scrape->prom, (double)check->stats.closes[i], "check", check->name, "code",
                        close_label_name((enum close_label)i), NULL);
}

static void write_held(struct scrape *scrape, const struct check_view *check)
{
    if (part_listed(check, SERIES_HELD))
        prom_sample(&scrape->prom, (double)check->stats.held, "check", check->name, NULL);
}

static void write_cert(struct scrape *scrape, const struct check_view *check)
{
    if (!check->series.known || check->series.tls)
        prom_sample(&scrape->prom, timestamp_value(check->stats.cert_not_after_ms), "check", check->name, NULL);
}

#define BROKER_LABELS(c) "broker", (c)->name, "type", (c)->broker_type ? (c)->broker_type : ""

static void write_broker_state(struct scrape *scrape, const struct check_view *check)
{
    if (check_is_broker(check))
        prom_sample(&scrape->prom, state_value(check->health.state), BROKER_LABELS(check), NULL);
}

static void write_broker_rtt(struct scrape *scrape, const struct check_view *check)
{
    if (check_is_broker(check))
        prom_sample_histogram(&scrape->prom, &check->stats.rtt, BROKER_LABELS(check), NULL);
}

static void write_dropped(struct scrape *scrape, const struct check_view *check)
{
    if (check_is_broker(check))
        prom_sample(&scrape->prom, (double)check->stats.dropped, BROKER_LABELS(check), NULL);
}

static void write_legs(struct scrape *scrape, const struct check_view *check)
{
    const struct delivery_stats *delivery = check->stats.delivery;
    for (unsigned i = 0; delivery && i < LEG_COUNT; i++)
        prom_sample_histogram(&scrape->prom, &delivery->legs[i], "check", check->name, "leg",
                              delivery_leg_name((enum delivery_leg)i), NULL);
}

static void write_heartbeats(struct scrape *scrape, const struct check_view *check)
{
    const struct delivery_stats *delivery = check->stats.delivery;
    for (unsigned i = 0; delivery && i < DELIVERY_COUNT; i++)
        prom_sample(&scrape->prom, (double)delivery->heartbeats[i], "check", check->name, "result",
                    delivery_result_name((enum delivery_result)i), NULL);
}

#define SERVER_FIGURE(id, have, value)                                                                          \
    static void write_server_##id(struct scrape *scrape, const struct check_view *check)                        \
    {                                                                                                           \
        const struct server_stats *server = check->stats.server;                                                \
        if (server)                                                                                             \
            prom_sample(&scrape->prom, server->have ? (double)server->value : NAN, "check", check->name, NULL); \
    }
SERVER_FIGURE(queue, have_listener, queue)
SERVER_FIGURE(queue_limit, have_queue_limit, queue_limit)
SERVER_FIGURE(resident, have_resident, resident_bytes)
SERVER_FIGURE(fds, have_fds, fds)
SERVER_FIGURE(max_fds, have_max_fds, max_fds)
SERVER_FIGURE(cpu, have_cpu_seconds, cpu_seconds)

static void write_server_connections(struct scrape *scrape, const struct check_view *check)
{
    const struct server_stats *server = check->stats.server;
    for (unsigned i = 0; server && i < SERVER_CONN_COUNT; i++)
        prom_sample(&scrape->prom, server->have_connections ? (double)server->connections[i] : NAN, "check", check->name, "state",
                    server_conn_name((enum server_conn)i), NULL);
}

static void write_server_opens(struct scrape *scrape, const struct check_view *check)
{
    if (check->stats.server)
        prom_sample(&scrape->prom, (double)check->stats.server->opens, "check", check->name, NULL);
}

static void write_server_closes(struct scrape *scrape, const struct check_view *check)
{
    if (check->stats.server)
        prom_sample(&scrape->prom, (double)check->stats.server->closes, "check", check->name, NULL);
}

/* 1 in the state that it is in. */
static void write_server_peers(struct scrape *scrape, const struct check_view *check)
{
    const struct server_stats *server = check->stats.server;
    for (unsigned i = 0; server && i < server->peer_count; i++)
        for (unsigned state = 0; state < SERVER_PEER_STATE_COUNT; state++)
            prom_sample(&scrape->prom, server->peers[i].state == state, "check", check->name, "peer", server->peers[i].name,
                        "state", server_peer_name((enum server_peer_state)state), NULL);
}

static void write_server_series(struct scrape *scrape, const struct check_view *check)
{
    const struct server_stats *server = check->stats.server;
    for (unsigned i = 0; server && i < server->series_count; i++)
        prom_sample(&scrape->prom, server->series[i].known ? server->series[i].value : NAN, "check", check->name, "series",
                    server->series[i].name, NULL);
}

/* --- the list -------------------------------------------------------------------------------------------------------- */

struct family {
    enum prom_type type;
    const char *name, *labels, *help;
    void (*of_agent)(struct scrape *scrape);                                 /* either: once … */
    void (*of_check)(struct scrape *scrape, const struct check_view *check); /* … or for each check */
};

static const struct family families[] = {
    { PROM_GAUGE, "wshealthd_ready", "", "1 while /ready says 200.", write_ready, NULL },
    { PROM_GAUGE, "wshealthd_live", "", "1 while /live says 200.", write_live, NULL },
    { PROM_GAUGE, "wshealthd_started", "", "1 once every check that gates readiness has passed.", write_started, NULL },
    { PROM_GAUGE, "wshealthd_degraded", "", "1 while ready, but with a warning or a shared fault.", write_degraded, NULL },
    { PROM_GAUGE, "wshealthd_draining", "", "1 while the instance is being drained.", write_draining, NULL },
    { PROM_GAUGE, "wshealthd_drain_remaining_connections", "",
      "Client connections that are left while the instance is drained, the agent's own aside; NaN: they cannot be counted.",
      write_remaining, NULL },
    { PROM_GAUGE, "wshealthd_diagnosis", "cause", "1 for the present cause of the diagnosis, 0 for all others.", write_diagnosis,
      NULL },
    { PROM_GAUGE, "wshealthd_check_state", "check,type,path", "State of the check: 1 pass, 0.5 warn, 0 fail, NaN unknown.", NULL,
      write_state },
    { PROM_COUNTER, "wshealthd_check_rounds", "check,type,path,result", "Rounds that ended, by result; void ones were not judged.",
      NULL, write_rounds },
    { PROM_COUNTER, "wshealthd_check_failures", "check,type,path,reason", "Rounds that failed or were void, by reason.", NULL,
      write_failures },
    { PROM_HISTOGRAM, "wshealthd_check_duration_seconds", "check,type,path,phase",
      "Time spent in each phase of a round; phase total is the whole round.", NULL, write_duration },
    { PROM_HISTOGRAM, "wshealthd_check_rtt_seconds", "check,type,path", "Round-trip time of a message or ping.", NULL, write_rtt },
    { PROM_GAUGE, "wshealthd_check_last_round_timestamp_seconds", "check,type,path",
      "When the last round ended, as Unix time; NaN before the first.", NULL, write_last_round },
    { PROM_GAUGE, "wshealthd_check_interval_seconds", "check,type,path",
      "From one round to the next, as configured; a target that refuses the probe is asked less often.", NULL, write_interval },
    { PROM_COUNTER, "wshealthd_connection_closes", "check,code",
      "Connections that the server ended, by close code (RFC 6455, 7.4).", NULL, write_closes },
    { PROM_GAUGE, "wshealthd_held_connections", "check", "Connections that the check holds open.", NULL, write_held },
    { PROM_GAUGE, "wshealthd_tls_cert_not_after_timestamp_seconds", "check",
      "When the first certificate of the chain expires, as Unix time; NaN where none was seen.", NULL, write_cert },
    { PROM_HISTOGRAM, "wshealthd_delivery_seconds", "check,leg",
      "From publishing a heartbeat to its arrival: at the agent's own subscription (control), and over the WebSocket.", NULL,
      write_legs },
    { PROM_COUNTER, "wshealthd_delivery_heartbeats", "check,result", "Heartbeats of this check, by their result on the WebSocket.",
      NULL, write_heartbeats },
    { PROM_GAUGE, "wshealthd_broker_state", "broker,type", "State of the broker: 1 pass, 0.5 warn, 0 fail, NaN unknown.", NULL,
      write_broker_state },
    { PROM_HISTOGRAM, "wshealthd_broker_rtt_seconds", "broker,type", "Round-trip time of a question to the broker.", NULL,
      write_broker_rtt },
    { PROM_COUNTER, "wshealthd_broker_messages_dropped", "broker,type",
      "Messages of the broker that were dropped unread, as more came than the agent takes, or as they were too large for a "
      "heartbeat.",
      NULL, write_dropped },
    { PROM_GAUGE, "wshealthd_server_connections", "check,state",
      "Connections to the server by their TCP state, the agent's own aside; NaN where the kernel does not tell.", NULL,
      write_server_connections },
    { PROM_COUNTER, "wshealthd_server_connection_opens", "check", "Connections to the server that were opened, as far as seen.",
      NULL, write_server_opens },
    { PROM_COUNTER, "wshealthd_server_connection_closes", "check", "Connections to the server that ended, as far as seen.", NULL,
      write_server_closes },
    { PROM_GAUGE, "wshealthd_server_accept_queue", "check", "Connections that wait until the server accepts them.", NULL,
      write_server_queue },
    { PROM_GAUGE, "wshealthd_server_accept_queue_limit", "check", "How many may wait: more are dropped.", NULL,
      write_server_queue_limit },
    { PROM_GAUGE, "wshealthd_server_resident_bytes", "check", "Resident memory of the server's processes.", NULL,
      write_server_resident },
    { PROM_GAUGE, "wshealthd_server_open_fds", "check", "Open descriptors of the server's process that is nearest to its limit.",
      NULL, write_server_fds },
    { PROM_GAUGE, "wshealthd_server_max_fds", "check", "Limit of open descriptors of that process.", NULL, write_server_max_fds },
    { PROM_COUNTER, "wshealthd_server_cpu_seconds", "check", "User and system CPU time of the server's processes.", NULL,
      write_server_cpu },
    { PROM_GAUGE, "wshealthd_server_peer", "check,peer,state", "What the server must be connected to: 1 for its present state.",
      NULL, write_server_peers },
    { PROM_GAUGE, "wshealthd_server_series", "check,series",
      "Figures of the server's own metrics page, counters per second; NaN where it has none.", NULL, write_server_series },
    { PROM_COUNTER, "wshealthd_notifications", "notifier,result",
      "Messages to a receiver of notify: sent, tries that are repeated (retried), given up (failed), overtaken by a newer one "
      "(merged), left out "
      "(dropped, limited).",
      write_notifications, NULL },
    { PROM_GAUGE, "wshealthd_fleet_members", "state,region",
      "Members of the fleet, this agent included, by what they say of themselves; silent: not heard for three fifths of expire. At "
      "most 16 regions have a row of their own; the others are counted as other.",
      write_fleet_members, NULL },
    { PROM_GAUGE, "wshealthd_fleet_linked", "",
      "1: what this agent tells its fleet comes back to it; 0: it acts by its own verdict.", write_fleet_linked, NULL },
    { PROM_GAUGE, "wshealthd_fleet_delivery_seconds", "from_region,to_region",
      "From publishing in one region to a WebSocket in another: the median of the heartbeats, the clocks' difference taken off.",
      write_fleet_delays, NULL },
    { PROM_GAUGE, "wshealthd_fleet_finding", "cause",
      "1: found in the fleet, in its delivery matrix or on its public path; 0: not found.", write_fleet_findings, NULL },
    { PROM_COUNTER, "wshealthd_fleet_ignored", "reason", "Summaries on the fleet's topic that were not believed.",
      write_fleet_ignored, NULL },
    { PROM_HISTOGRAM, "wshealthd_loop_lag_seconds", "",
      "How long the event loop worked in one turn, or was stopped: a request may have waited so long.", write_loop_lag, NULL },
    { PROM_COUNTER, "wshealthd_stalls", "", "Times the agent itself was late, so that failed rounds were void.", write_stalls,
      NULL },
    { PROM_INFO, "wshealthd_build", "version,region", "The version that runs, and identity.region.", write_build, NULL },
    { PROM_COUNTER, "process_cpu_seconds", "", "User and system CPU time of the agent, in seconds.", write_cpu, NULL },
    { PROM_GAUGE, "process_resident_memory_bytes", "", "Resident memory of the agent, in bytes.", write_resident, NULL },
    { PROM_GAUGE, "process_open_fds", "", "Open file descriptors of the agent.", write_open_fds, NULL },
    { PROM_GAUGE, "process_max_fds", "", "Limit of open file descriptors of the agent.", write_max_fds, NULL },
    { PROM_GAUGE, "process_start_time_seconds", "", "When the agent started, as Unix time in seconds.", write_start_time, NULL },
};
enum { FAMILIES = sizeof families / sizeof families[0] };

int metric_write(const struct agent_view *view, bool openmetrics, struct buf *out)
{
    struct scrape scrape = { .view = view };
    process_read(&scrape.process);
    prom_begin(&scrape.prom, out, openmetrics);
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct family *family = &families[i];
        prom_family(&scrape.prom, family->type, family->name, family->help);
        prom_buckets(&scrape.prom, family->of_agent ? PROM_ALL : PROM_USUAL);
        if (family->of_agent)
            family->of_agent(&scrape);
        for (size_t j = 0; family->of_check && j < view->check_count; j++)
            family->of_check(&scrape, view->checks[j]);
    }
    return prom_finish(&scrape.prom);
}

static const char *family_suffix(enum prom_type type)
{
    return type == PROM_COUNTER ? "_total" : type == PROM_INFO ? "_info" : "";
}

void metric_write_roff(struct buf *out)
{
    static const char *const types[] = {
        [PROM_GAUGE] = "gauge", [PROM_COUNTER] = "counter", [PROM_HISTOGRAM] = "histogram", [PROM_INFO] = "info"
    };
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct family *family = &families[i];
        buf_printf(out, ".TP\n.BR %s%s", family->name, family_suffix(family->type));
        if (*family->labels)
            buf_printf(out, " {%s}", family->labels);
        buf_printf(out, " \" (%s)\"\n%s\n", types[family->type], family->help);
    }
}
