/*
 * Owns how the figures of a `server` check (agent/core/server_stats.h) read: in JSON, and as one line for people. Called by report_json.c and
 * report_human.c. Promises null, or nothing, for what is not known, and no address for readers without full details.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/report/report_impl.h"

enum { NUMBER_MAX = 32, RATE_DECIMALS = 2, VALUE_DECIMALS = 3, PERCENT_DECIMALS = 1, GROUP = 3 };

/* --- JSON --- */

static void put_number(struct json_out *json, const char *key, bool have, uint64_t value)
{
    json_out_key(json, key);
    if (have)
        json_out_int(json, value > INT64_MAX ? INT64_MAX : (int64_t)value);
    else
        json_out_null(json);
}

static void put_double(struct json_out *json, const char *key, bool have, double value, int decimals)
{
    json_out_key(json, key);
    json_out_double(json, have ? value : NAN, decimals);
}

static void put_string(struct json_out *json, const char *key, const char *value)
{
    json_out_key(json, key);
    json_out_string(json, value);
}

static void put_flag(struct json_out *json, const char *key, bool value)
{
    json_out_key(json, key);
    json_out_bool(json, value);
}

static void put_connections(struct json_out *json, const struct server_stats *server)
{
    json_out_key(json, "connections");
    json_out_object(json);
    for (unsigned i = 0; i < SERVER_CONN_COUNT; i++)
        put_number(json, server_conn_name((enum server_conn)i), server->have_connections, server->connections[i]);
    json_out_object_end(json);
    put_number(json, "max_connections", server->max_connections != 0, server->max_connections);
    put_number(json, "opens", true, server->opens);
    put_number(json, "closes", true, server->closes);
    put_double(json, "opens_per_s", server->have_churn, server->opens_per_s, RATE_DECIMALS);
    put_double(json, "closes_per_s", server->have_churn, server->closes_per_s, RATE_DECIMALS);
}

static void put_peers(struct json_out *json, const struct server_stats *server, bool full)
{
    json_out_key(json, "peers");
    json_out_array(json);
    for (unsigned i = 0; i < server->peer_count; i++) {
        const struct server_peer_stats *peer = &server->peers[i];

        json_out_object(json);
        put_string(json, "name", peer->name);
        put_string(json, "address", full ? peer->address : NULL);
        put_string(json, "state", server_peer_name(peer->state));
        put_number(json, "connections", true, peer->connections);
        put_number(json, "unacknowledged_bytes", true, peer->unacknowledged);
        put_number(json, "unread_bytes", true, peer->unread);
        put_number(json, "retransmits", true, peer->retransmits);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

static void put_series(struct json_out *json, const struct server_stats *server)
{
    json_out_key(json, "series");
    json_out_array(json);
    for (unsigned i = 0; i < server->series_count; i++) {
        const struct server_series_stats *series = &server->series[i];

        json_out_object(json);
        put_string(json, "name", series->name);
        put_double(json, "value", series->known, series->value, VALUE_DECIMALS);
        put_flag(json, "per_second", series->rate);
        put_double(json, "max", series->max != 0, series->max, VALUE_DECIMALS);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

void report_server_json(struct json_out *json, const struct server_stats *server, bool full)
{
    json_out_key(json, "server");
    json_out_object(json);
    put_connections(json, server);
    put_number(json, "listeners", server->have_listener, server->listeners);
    put_number(json, "accept_queue", server->have_listener, server->queue);
    put_number(json, "accept_queue_limit", server->have_queue_limit, server->queue_limit);
    put_string(json, "process", full && *server->process ? server->process : NULL);
    put_number(json, "pid", server->pid != 0, (uint64_t)server->pid);
    put_number(json, "processes", server->pid != 0, server->processes);
    put_number(json, "resident_bytes", server->have_resident, server->resident_bytes);
    put_number(json, "resident_bytes_per_connection", server->have_resident && server->resident_each, server->resident_each);
    put_number(json, "open_fds", server->have_fds, server->fds);
    put_number(json, "max_fds", server->have_max_fds, server->max_fds);
    put_number(json, "threads", server->have_threads, server->threads);
    put_double(json, "cpu_percent", server->have_cpu, server->cpu_percent, PERCENT_DECIMALS);
    put_double(json, "cpu_seconds", server->have_cpu_seconds, server->cpu_seconds, RATE_DECIMALS);
    put_flag(json, "gone", server->gone);
    put_flag(json, "restarted", server->restarted);
    put_double(json, "listen_ms", server->listen_ns != 0, (double)server->listen_ns / 1e6, VALUE_DECIMALS);
    put_double(json, "count_ms", server->count_ns != 0, (double)server->count_ns / 1e6, VALUE_DECIMALS);
    put_peers(json, server, full);
    put_series(json, server);
    put_string(json, "remark", full && *server->remark ? server->remark : NULL);
    json_out_object_end(json);
}

/* --- one line --- */

/* "1,204" */
static const char *grouped(uint64_t value, char out[NUMBER_MAX])
{
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, value), at = 0;

    for (size_t i = 0; i < len; i++) {
        if (i && (len - i) % GROUP == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* "212 MB": what an operator compares with `top`. */
static const char *megabytes(uint64_t bytes, char out[NUMBER_MAX])
{
    static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
    double value = (double)bytes;
    size_t unit = 0;

    for (; value >= 1000 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1000;
    snprintf(out, NUMBER_MAX, value < 10 && unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

static const char *rate(double value, char out[NUMBER_MAX])
{
    snprintf(out, NUMBER_MAX, value < 10 && value > 0 ? "%.1f" : "%.0f", value);
    return out;
}

struct line {
    char *out;
    size_t size, at;
};

static void put(struct line *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct line *line, const char *fmt, ...)
{
    va_list args;
    int len;

    if (line->at + 1 >= line->size)
        return;
    if (line->at)
        line->at += (size_t)snprintf(line->out + line->at, line->size - line->at, ", ");
    if (line->at + 1 >= line->size)
        return;
    va_start(args, fmt);
    len = vsnprintf(line->out + line->at, line->size - line->at, fmt, args);
    va_end(args);
    line->at += len > 0 ? (size_t)len : 0;
    if (line->at >= line->size)
        line->at = line->size - 1;
}

static void put_sockets(struct line *line, const struct server_stats *server)
{
    uint64_t count = server->connections[SERVER_ESTABLISHED];
    char first[NUMBER_MAX], second[NUMBER_MAX];

    if (server->have_connections)
        put(line, "%s connection%s", grouped(count, first), count == 1 ? "" : "s");
    if (server->have_churn)
        put(line, "+%s/s -%s/s", rate(server->opens_per_s, first), rate(server->closes_per_s, second));
    if (server->have_queue_limit)
        put(line, "accept queue %s of %s", grouped(server->queue, first), grouped(server->queue_limit, second));
    else if (server->have_listener)
        put(line, "accept queue %s", grouped(server->queue, first));
}

static void put_process(struct line *line, const struct server_stats *server)
{
    char first[NUMBER_MAX], second[NUMBER_MAX];

    if (server->processes > 1)
        put(line, "%u processes", server->processes);
    if (server->have_resident)
        put(line, "%s", megabytes(server->resident_bytes, first));
    if (server->have_fds && server->have_max_fds && server->max_fds != UINT64_MAX)
        put(line, "fds %s of %s", grouped(server->fds, first), grouped(server->max_fds, second));
    else if (server->have_fds)
        put(line, "fds %s", grouped(server->fds, first));
    if (server->have_cpu)
        put(line, "CPU %.0f %%", server->cpu_percent);
}

void report_server_line(const struct server_stats *server, char *out, size_t size)
{
    struct line line = { out, size, 0 };

    *out = '\0';
    put_sockets(&line, server);
    put_process(&line, server);
    for (unsigned i = 0; i < server->peer_count; i++)
        if (server->peers[i].state != SERVER_PEER_CONNECTED)
            put(&line, "%s %s", server->peers[i].name, server_peer_name(server->peers[i].state));
    for (unsigned i = 0; i < server->series_count; i++)
        if (server->series[i].known)
            put(&line, fabs(server->series[i].value) < 1e6 ? "%s %.6g%s" : "%s %.0f%s", server->series[i].name,
                server->series[i].value, server->series[i].rate ? "/s" : "");
}
