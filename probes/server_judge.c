/*
 * A round of the `server` check ends: what was seen becomes the figures that everybody reads (agent/core/server_stats.h), and with the limits
 * (probes/server_levels.h) the verdict. Called by probes/server.c. What cannot be seen is said and never held against the server.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "probes/server.h"

enum { PERCENT = 100, QUIET_AFTER_S = 60, WORSE_LOOKS = 2, AWAY_LOOKS = 2 };
/* A server that loses its connection is back within this time, when all is well. */
enum { AWAY_MS = 2000 };

static void note_sockets(struct server_state *state, const struct look_seen *seen, struct server_stats *stats)
{
    stats->have_listener = seen->listeners > 0;
    stats->have_queue_limit = seen->have_limit;
    stats->listeners = seen->listeners;
    stats->queue = seen->queue;
    stats->queue_limit = seen->limit;
    stats->queue_percent = seen->fullest_percent;
    stats->listen_ns = seen->listen_ns;
    stats->count_ns = seen->counted ? seen->count_ns : stats->count_ns;
    state->was_there = state->was_there || seen->listeners;
    stats->gone = state->was_there && !seen->listeners && !seen->refused && !seen->unsure && !seen->elsewhere && !seen->unresolved;
    if (!seen->listeners)
        stats->have_connections = false;
    if (!seen->counted)
        return;
    stats->have_connections = true;
    stats->cut = seen->cut;
    memcpy(stats->connections, seen->connections, sizeof stats->connections);
    stats->opens += seen->opens;
    stats->closes += seen->closes;
}

static void note_process(const struct look_seen *seen, struct server_stats *stats)
{
    bool some = seen->processes > 0;

    stats->processes = (unsigned)seen->processes;
    stats->pid = seen->pid;
    snprintf(stats->process, sizeof stats->process, "%s", seen->name);
    stats->have_resident = some && seen->have_resident;
    stats->have_fds = some && seen->have_fds;
    stats->have_max_fds = some && seen->have_max_fds && seen->max_fds;
    stats->have_threads = some && seen->have_threads;
    stats->have_cpu_seconds = some && seen->have_cpu;
    stats->have_cpu = some && seen->busiest_ms;
    stats->resident_bytes = seen->resident_bytes;
    stats->fds = seen->fds;
    stats->max_fds = seen->max_fds;
    stats->threads = seen->threads;
    /* A counter: the processes that have ended take their part with them. */
    if (seen->cpu_seconds > stats->cpu_seconds || seen->restarted)
        stats->cpu_seconds = seen->cpu_seconds;
    stats->cpu_percent =
        seen->busiest_ms ? (seen->busiest[1] - seen->busiest[0]) * 1000 * (double)PERCENT / (double)seen->busiest_ms : 0;
    stats->resident_each = stats->have_resident && stats->have_connections && stats->connections[SERVER_ESTABLISHED]
                               ? stats->resident_bytes / stats->connections[SERVER_ESTABLISHED]
                               : 0;
}

/* Neither the kernel's buffers nor a moment of work are a fault: what waits must wait in two looks, and not become less. */
static enum server_peer_state peer_state(struct server_state *state, unsigned index, const struct server_peer_stats *before,
                                         const struct look_seen *seen)
{
    const struct look_peer *peer = &seen->peers[index];
    bool worse = peer->unacknowledged && (peer->stuck || peer->unacknowledged >= before->unacknowledged);
    bool unread = peer->unread && peer->unread >= before->unread;

    state->worse[index] = worse ? state->worse[index] + 1 : 0;
    state->unread[index] = unread ? state->unread[index] + 1 : 0;
    /* Where nobody listens, the server is not there, or in a network namespace of its own with other connections. */
    if (!seen->have_peers || !state->ask.peers[index].count || !seen->listeners)
        return SERVER_PEER_UNKNOWN;
    if (!peer->connections)
        return peer->connecting ? SERVER_PEER_CONNECTING : SERVER_PEER_LOST;
    return state->worse[index] > WORSE_LOOKS    ? SERVER_PEER_UNREACHED
           : state->unread[index] > WORSE_LOOKS ? SERVER_PEER_UNREAD
                                                : SERVER_PEER_CONNECTED;
}

/* Whoever has lost a connection makes another one: only what stays away for `fall` looks, and two at least, is missing. Of the one look of
 * `wshealthd check` no second can be had. */
static bool is_missing(const struct run *run, unsigned index, enum server_peer_state now)
{
    struct server_state *state = run->state;
    uint64_t now_ns = clock_now_ns(), looks = (uint64_t)run->conf->fall.count;

    if (now != SERVER_PEER_LOST && now != SERVER_PEER_CONNECTING) {
        state->away[index] = 0;
        return false;
    }
    if (!state->away[index]++)
        state->away_since_ns[index] = now_ns;
    looks = looks < AWAY_LOOKS ? AWAY_LOOKS : looks;
    return run->once || (state->away[index] >= looks && now_ns - state->away_since_ns[index] >= AWAY_MS * NS_PER_MS);
}

static void note_peers(struct run *run, const struct look_seen *seen, struct server_stats *stats)
{
    struct server_state *state = run->state;

    for (unsigned i = 0; i < stats->peer_count; i++) {
        struct server_peer_stats *peer = &stats->peers[i];
        enum server_peer_state now = peer_state(state, i, peer, seen);

        if (now != peer->state || !state->peer_since_ns[i])
            state->peer_since_ns[i] = clock_now_ns();
        peer->state = now;
        peer->since_ms = (clock_now_ns() - state->peer_since_ns[i]) / NS_PER_MS;
        peer->missing = is_missing(run, i, now);
        peer->once = peer->once || now == SERVER_PEER_CONNECTED || now == SERVER_PEER_UNREACHED || now == SERVER_PEER_UNREAD;
        peer->connections = seen->peers[i].connections;
        peer->unacknowledged = seen->peers[i].unacknowledged;
        peer->unread = seen->peers[i].unread;
        peer->retransmits = seen->peers[i].retransmits;
    }
}

/* What an operator must know when figures are missing. */
static void remark(struct run *run, const struct look_seen *seen, struct server_stats *stats)
{
    const struct server_opts *opts = run->opts;
    struct server_state *state = run->state;
    size_t size = sizeof stats->remark;

    *stats->remark = '\0';
    if (!state->have_seen || (seen->unsure && !seen->listeners))
        snprintf(stats->remark, size, "the kernel has not answered in time: no figures in this round");
    else if (seen->elsewhere)
        snprintf(stats->remark, size,
                 "the target is on another host: no figures of its kernel; put the agent beside the server, or set port");
    else if (seen->unresolved)
        snprintf(stats->remark, size, "%.100s does not resolve: no figures of the server's kernel", run->target->local.host);
    else if (seen->refused)
        snprintf(stats->remark, size, "%.200s", seen->err.text);
    else if (!seen->listeners && !state->was_there)
        snprintf(stats->remark, size,
                 run->target->local.is_unix
                     ? "nothing listens on %s: the server is in another network namespace, or does not run"
                     : "nothing listens on port %.0s%u here: the server is in another network namespace, or does not run",
                 run->target->local.unix_path, opts->port ? (unsigned)opts->port : run->target->local.port);
    else if (*seen->process_err.text)
        snprintf(stats->remark, size, "%.220s", seen->process_err.text);
    else if (!seen->processes && seen->manager)
        snprintf(stats->remark, size, "systemd holds the socket, and no service has taken it yet");
    else if (!seen->processes && seen->hidepid)
        snprintf(
            stats->remark, size,
            "/proc hides the processes of others (hidepid, or ProtectProc in the agent's unit): memory, descriptors and CPU are "
            "unknown");
    else if (!seen->processes && opts->pid_file)
        snprintf(
            stats->remark, size,
            "the process that %.100s names cannot be seen: it has ended, or is in another pid namespace: memory, descriptors and "
            "CPU are unknown",
            opts->pid_file);
    else if (!seen->processes && opts->unit)
        snprintf(stats->remark, size, "no process of the unit %.100s can be seen: memory, descriptors and CPU are unknown",
                 opts->unit);
    else if (!seen->processes &&
             seen->listeners) /* else the sentence says that its socket is gone, and with it the way to its process */
        snprintf(
            stats->remark, size,
            "the server's process cannot be seen (another user's, or in another pid namespace): memory, descriptors and CPU are "
            "unknown%s",
            seen->hidden ? "; set pid_file or unit" : "; share the pid namespace");
    else if (seen->slow_source)
        snprintf(stats->remark, size, "sock_diag is refused here, and /proc/net does not tell how long the accept queue may be");
}

static void judge_peers(const struct server_stats *stats, struct server_said *said)
{
    for (unsigned i = 0; i < stats->peer_count; i++) {
        const struct server_peer_stats *peer = &stats->peers[i];

        if (!peer->missing && (peer->state == SERVER_PEER_LOST || peer->state == SERVER_PEER_CONNECTING))
            server_say(said, RESULT_PASS, REASON_NONE, "the server has no connection to %s (%s) at the moment", peer->name,
                       peer->address);
        else if (peer->state == SERVER_PEER_LOST)
            server_say(said, RESULT_WARN, REASON_SERVER_PEER_LOST, "the server has no connection to %s (%s)", peer->name,
                       peer->address);
        else if (peer->state == SERVER_PEER_CONNECTING)
            server_say(said, RESULT_WARN, REASON_SERVER_PEER_LOST, "the server tries to connect to %s (%s), without an answer",
                       peer->name, peer->address);
        else if (peer->state == SERVER_PEER_UNREACHED)
            server_say(said, RESULT_PASS, REASON_NONE,
                       "%s does not acknowledge %llu bytes of the server's (%llu retransmits): %s or the way to it is slow",
                       peer->name, (unsigned long long)peer->unacknowledged, (unsigned long long)peer->retransmits, peer->name);
        else if (peer->state == SERVER_PEER_UNREAD)
            server_say(said, RESULT_PASS, REASON_NONE, "the server does not read %llu bytes that came from %s: the server is slow",
                       (unsigned long long)peer->unread, peer->name);
    }
}

static void sample_of(struct server_state *state, const struct server_stats *stats, bool quiet, struct server_sample *sample)
{
    const struct look_seen *seen = &state->seen;

    *sample = (struct server_sample){ .at_ms = clock_now_ms(),
                                      .counted = seen->counted,
                                      .have_connections = stats->have_connections,
                                      .have_queue = stats->have_queue_limit,
                                      .have_memory = stats->have_resident,
                                      .have_fds = stats->have_fds && stats->have_max_fds && stats->max_fds != UINT64_MAX,
                                      .have_cpu = stats->have_cpu,
                                      .connections = (double)stats->connections[SERVER_ESTABLISHED],
                                      .opens = (double)stats->opens,
                                      .closes = (double)stats->closes,
                                      .queue_percent = stats->queue_percent,
                                      .memory = (double)stats->resident_bytes,
                                      .cpu_seconds = { seen->busiest[0], seen->busiest[1] },
                                      .cpu_ms = seen->busiest_ms,
                                      .quiet = quiet,
                                      .restarted = seen->restarted,
                                      .process_ended = seen->process_ended,
                                      .by_server = seen->by_server,
                                      .ended = seen->ended };
    if (sample->have_fds)
        sample->fds_percent = (double)stats->fds * (double)PERCENT / (double)stats->max_fds;
    /* Where the kernel does not tell, the server's own series of that name stands in. */
    for (unsigned i = 0; i < stats->series_count && !stats->have_connections; i++)
        if (stats->series[i].known && strcmp(stats->series[i].name, "connections") == 0) {
            sample->have_connections = sample->counted = true;
            sample->connections = stats->series[i].value;
        }
}

static void note_levels(const struct server_levels *levels, const struct server_policy *policy, struct server_stats *stats)
{
    stats->have_churn = levels->have_rates;
    stats->opens_per_s = levels->opens_per_s;
    stats->closes_per_s = levels->closes_per_s;
    stats->churn_normal = policy->churn_normal ? (double)policy->churn_normal : levels->normal;
    stats->growth_percent = levels->growth_percent;
    stats->growth_ms = policy->growth.in_ms;
    if (levels->over[LEVEL_DROP]) {
        stats->dropped = (uint64_t)(levels->peak - levels->left);
        stats->dropped_of = (uint64_t)levels->peak;
        stats->dropped_by_server = levels->by_server;
    }
}

static bool is_quiet(const struct run *run)
{
    uint64_t since_ns;
    bool draining = run_draining(run, &since_ns);

    return draining || (since_ns && clock_now_ns() - since_ns < QUIET_AFTER_S * NS_PER_S);
}

void server_judge(struct run *run)
{
    struct server_state *state = run->state;
    struct server_stats *stats = run->stats->server;
    struct server_said said = { .result = RESULT_PASS };
    struct server_sample sample;

    stats->draining = is_quiet(run);
    if (state->have_seen) {
        note_sockets(state, &state->seen, stats);
        note_process(&state->seen, stats);
        note_peers(run, &state->seen, stats);
        if (state->seen.restarted)
            state->restarted_ns = clock_now_ns();
        stats->restarted = state->restarted_ns && clock_now_ns() - state->restarted_ns < QUIET_AFTER_S * NS_PER_S;
        sample_of(state, stats, stats->draining, &sample);
        server_levels_judge(&state->levels, &state->policy, &sample, &said);
        note_levels(&state->levels, &state->policy, stats);
        judge_peers(stats, &said);
    }
    remark(run, &state->seen, stats);
    if (stats->gone)
        server_say(&said, RESULT_WARN, REASON_SERVER_GONE, "nothing listens there any more: the server's socket is gone");
    server_page_judge(run, &said);
    if (*stats->remark)
        server_say(&said, RESULT_PASS, REASON_NONE, "%s", stats->remark);
    if (said.result == RESULT_FAIL)
        run_finish(run, said.reason, "%s", said.text);
    else if (said.result == RESULT_WARN)
        run_warn(run, said.reason, "%s", said.text);
    else
        run_pass(run, *said.text ? "%s" : NULL, said.text);
}
