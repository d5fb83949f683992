/* See probes/server_levels.h. */
#include "probes/server_levels.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"

enum {
    FEW = 10,         /* of fewer connections the memory of each says nothing */
    DROP_MIN = 20,    /* fewer lost connections are nobody's alarm: a few clients often leave together */
    GROWTH_BASE = 50, /* growth is judged from so many connections on: from 1 to 20 is 1,900 % */
    RATE_WINDOW_MS = 30000,
    RATE_MIN_MS = 3000,
    HOLD_MS = 30000,    /* a mass disconnect is a fault for so long at least, unless the clients come back */
    LEARN_MS = 300000,  /* churn is judged after so long */
    MEMORY_MS = 600000, /* what is learned fades with this time */
    AFTER_MS = 60000,   /* after a deploy or a restart clients come back at once */
    CHURN_PAIRS = 20,   /* within RATE_WINDOW_MS */
    PERCENT = 100,
    SHOWN_MAX = 32
};

/* --- tracks --- */

void server_track_clear(struct server_track *track)
{
    track->count = 0;
}

/* Keeps one point that is as old as the window, or older: the value at its beginning. */
void server_track_add(struct server_track *track, uint64_t at_ms, double value, uint64_t window_ms)
{
    uint64_t gap_ms = window_ms / (SERVER_TRACK_MAX - 8);
    unsigned old = 0;

    while (old + 1 < track->count && at_ms - track->points[old + 1].at_ms >= window_ms)
        old++;
    if (old) {
        track->count -= old;
        memmove(track->points, track->points + old, track->count * sizeof track->points[0]);
    }
    if (track->count && at_ms - track->points[track->count - 1].at_ms < gap_ms)
        return;
    if (track->count == SERVER_TRACK_MAX)
        memmove(track->points, track->points + 1, --track->count * sizeof track->points[0]);
    track->points[track->count++] = (struct server_point){ at_ms, value };
}

static double track_peak(const struct server_track *track)
{
    double peak = 0;

    for (unsigned i = 0; i < track->count; i++)
        peak = track->points[i].value > peak ? track->points[i].value : peak;
    return peak;
}

static double track_least(const struct server_track *track)
{
    double least = track->count ? track->points[0].value : 0;

    for (unsigned i = 1; i < track->count; i++)
        least = track->points[i].value < least ? track->points[i].value : least;
    return least;
}

static uint64_t track_spans_ms(const struct server_track *track, uint64_t now_ms)
{
    return track->count ? now_ms - track->points[0].at_ms : 0;
}

/* --- limits --- */

bool server_limit_over(const struct server_limit *limit, double value, bool *over)
{
    double high = (double)limit->high, low = limit->low ? (double)limit->low : high * 0.9;

    *over = limit->high && (value >= high || (*over && value > low));
    return *over;
}

bool server_policy_has_limits(const struct server_policy *policy)
{
    return policy->connections.high || policy->backlog.high || policy->memory.high || policy->memory_each.high ||
           policy->fds.high || policy->cpu.high || policy->drop.in_ms || policy->growth.in_ms || policy->churn.high;
}

/* --- what is said --- */

void server_say(struct server_said *said, enum result result, enum reason reason, const char *fmt, ...)
{
    size_t at = strlen(said->text);
    va_list args;

    if (at && at + 8 < sizeof said->text)
        at += (size_t)snprintf(said->text + at, sizeof said->text - at, "; ");
    va_start(args, fmt);
    vsnprintf(said->text + at, sizeof said->text - at, fmt, args);
    va_end(args);
    if (result <= said->result)
        return;
    said->result = result;
    said->reason = reason;
}

/* --- simple limits --- */

static void judge_backlog(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                          struct server_said *said)
{
    if (!sample->have_queue)
        levels->over[LEVEL_BACKLOG] = false;
    else if (server_limit_over(&policy->backlog, sample->queue_percent, &levels->over[LEVEL_BACKLOG]))
        server_say(said, RESULT_FAIL, REASON_SERVER_BACKLOG_HIGH,
                   "the accept queue is %.0f%% full, backlog is %lld%%: the server does not accept connections fast enough",
                   sample->queue_percent, (long long)policy->backlog.high);
}

static void judge_fds(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                      struct server_said *said)
{
    if (!sample->have_fds)
        levels->over[LEVEL_FDS] = false;
    else if (server_limit_over(&policy->fds, sample->fds_percent, &levels->over[LEVEL_FDS]))
        server_say(said, RESULT_FAIL, REASON_SERVER_FDS_HIGH,
                   "%.0f%% of the descriptors that the server may open are open, fds is %lld%%", sample->fds_percent,
                   (long long)policy->fds.high);
}

static void judge_memory(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                         struct server_said *said)
{
    bool each = sample->have_memory && sample->have_connections && sample->connections >= (double)FEW;
    char used[SHOWN_MAX], limit[SHOWN_MAX];

    levels->over[LEVEL_MEMORY] = levels->over[LEVEL_MEMORY] && sample->have_memory;
    levels->over[LEVEL_MEMORY_EACH] = levels->over[LEVEL_MEMORY_EACH] && each;
    if (sample->have_memory && server_limit_over(&policy->memory, sample->memory, &levels->over[LEVEL_MEMORY])) {
        text_format_size(policy->memory.high, limit, sizeof limit);
        snprintf(used, sizeof used, "%.1fMiB", sample->memory / (1 << 20));
        server_say(said, RESULT_FAIL, REASON_SERVER_MEMORY_HIGH, "the server uses %s of memory, memory is %s", used, limit);
    }
    if (each && server_limit_over(&policy->memory_each, sample->memory / sample->connections, &levels->over[LEVEL_MEMORY_EACH])) {
        text_format_size(policy->memory_each.high, limit, sizeof limit);
        snprintf(used, sizeof used, "%.1fKiB", sample->memory / sample->connections / (1 << 10));
        server_say(said, RESULT_FAIL, REASON_SERVER_MEMORY_HIGH,
                   "the server uses %s of memory for each of %.0f connections, memory_per_connection is %s", used,
                   sample->connections, limit);
    }
}

static void judge_cpu(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                      struct server_said *said)
{
    double percent;

    if (!sample->have_cpu || !sample->cpu_ms) {
        levels->over[LEVEL_CPU] = false;
        return;
    }
    percent = (sample->cpu_seconds[1] - sample->cpu_seconds[0]) * 1000 / (double)sample->cpu_ms * (double)PERCENT;
    if (server_limit_over(&policy->cpu, percent, &levels->over[LEVEL_CPU]))
        server_say(said, RESULT_FAIL, REASON_SERVER_CPU_HIGH, "the server used %.0f%% of a core over %.0f s, cpu is %lld%%",
                   percent, (double)sample->cpu_ms / 1000, (long long)policy->cpu.high);
}

static void judge_connections(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                              struct server_said *said)
{
    if (!sample->have_connections)
        levels->over[LEVEL_CONNECTIONS] = false;
    else if (server_limit_over(&policy->connections, sample->connections, &levels->over[LEVEL_CONNECTIONS]))
        server_say(said, RESULT_FAIL, REASON_SERVER_CONNECTIONS_HIGH, "the server holds %.0f connections, max_connections is %lld",
                   sample->connections, (long long)policy->connections.high);
}

/* --- over time --- */

/* What has ended and the count that misses its connections are not always of one round. */
static uint64_t drop_hold_ms(const struct server_policy *policy)
{
    return policy->drop.in_ms > HOLD_MS ? (uint64_t)policy->drop.in_ms : HOLD_MS;
}

static bool was_lately(uint64_t then_ms, const struct server_policy *policy, const struct server_sample *sample)
{
    return then_ms && sample->at_ms - then_ms <= drop_hold_ms(policy);
}

/* A process that is replaced takes its connections with it (a deploy, nginx that reloads): that is no fault of those that are left. */
static void note_cause(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample)
{
    levels->by_restart = levels->by_restart || was_lately(levels->restarted_ms, policy, sample);
    levels->by_process = levels->by_process || was_lately(levels->process_ended_ms, policy, sample);
}

static void begin_drop(struct server_levels *levels, const struct server_sample *sample, double peak)
{
    levels->over[LEVEL_DROP] = true;
    levels->by_restart = levels->by_process = false;
    levels->peak = peak;
    levels->left = sample->connections;
    levels->dropped_ms = sample->at_ms;
    levels->by_server = sample->by_server;
    levels->ended = sample->ended;
}

/* Over when the clients are back, or when the moment has passed: an instance that is out of rotation gets no new ones. */
static bool drop_is_over(const struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample)
{
    int64_t low = policy->drop.low ? policy->drop.low : policy->drop.percent / 2;

    return sample->at_ms - levels->dropped_ms >= drop_hold_ms(policy) ||
           sample->connections >= levels->peak * (double)(PERCENT - low) / (double)PERCENT;
}

static void say_drop(const struct server_levels *levels, const struct server_policy *policy, struct server_said *said)
{
    char within[SHOWN_MAX], who[96] = "";

    text_format_duration(policy->drop.in_ms, within, sizeof within);
    if (levels->by_restart || levels->by_process) {
        server_say(said, RESULT_WARN, REASON_SERVER_CONNECTIONS_DROPPED, "%s: of %.0f connections %.0f were left",
                   levels->by_restart ? "the server has restarted" : "a process of the server's has ended", levels->peak,
                   levels->left);
        return;
    }
    if (levels->by_server * 2 > levels->ended)
        snprintf(who, sizeof who, "; the server's side ended %llu of them first", (unsigned long long)levels->by_server);
    server_say(said, RESULT_FAIL, REASON_SERVER_CONNECTIONS_DROPPED,
               "the server lost %.0f of %.0f connections within %s%s (drop: %lld%% in %s)", levels->peak - levels->left,
               levels->peak, within, who, (long long)policy->drop.percent, within);
}

static void judge_drop(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                       struct server_said *said)
{
    double peak, fell;

    if (!policy->drop.in_ms || !sample->have_connections || sample->quiet) {
        levels->over[LEVEL_DROP] = false;
        server_track_clear(&levels->fallen);
        return;
    }
    if (levels->over[LEVEL_DROP] && drop_is_over(levels, policy, sample)) {
        levels->over[LEVEL_DROP] = false;
        server_track_clear(&levels->fallen);
    }
    server_track_add(&levels->fallen, sample->at_ms, sample->connections, (uint64_t)policy->drop.in_ms);
    peak = track_peak(&levels->fallen);
    fell = peak - sample->connections;
    if (levels->over[LEVEL_DROP]) { /* it may go on falling */
        levels->left = sample->connections < levels->left ? sample->connections : levels->left;
    } else if (sample->counted && fell >= (double)DROP_MIN && fell * (double)PERCENT >= (double)policy->drop.percent * peak) {
        begin_drop(levels, sample, peak);
    }
    if (!levels->over[LEVEL_DROP])
        return;
    note_cause(levels, policy, sample);
    say_drop(levels, policy, said);
}

static void judge_growth(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                         bool settling, struct server_said *said)
{
    int64_t low = policy->growth.low ? policy->growth.low : policy->growth.percent / 2;
    double least, percent;
    char within[SHOWN_MAX];

    levels->growth_percent = 0;
    if (!policy->growth.in_ms || !sample->have_connections || sample->quiet || settling || sample->restarted) {
        levels->over[LEVEL_GROWTH] = false;
        server_track_clear(&levels->grown);
        return;
    }
    server_track_add(&levels->grown, sample->at_ms, sample->connections, (uint64_t)policy->growth.in_ms);
    least = track_least(&levels->grown);
    if (least < (double)GROWTH_BASE) { /* an instance that has just come into rotation fills up */
        levels->over[LEVEL_GROWTH] = false;
        return;
    }
    percent = (sample->connections - least) * (double)PERCENT / least;
    levels->growth_percent = (int64_t)percent;
    if (!server_limit_over(&(struct server_limit){ policy->growth.percent, low }, percent, &levels->over[LEVEL_GROWTH]))
        return;
    text_format_duration(policy->growth.in_ms, within, sizeof within);
    server_say(said, RESULT_FAIL, REASON_SERVER_CONNECTIONS_HIGH,
               "connections grew from %.0f to %.0f within %s (growth: %lld%% in %s)", least, sample->connections, within,
               (long long)policy->growth.percent, within);
}

/* Opens and closes of the last half minute. */
static void note_rates(struct server_levels *levels, const struct server_sample *sample)
{
    uint64_t spans_ms;

    if (sample->restarted || !sample->have_connections) {
        server_track_clear(&levels->opens);
        server_track_clear(&levels->closes);
        levels->have_rates = false;
    }
    if (!sample->have_connections || !sample->counted)
        return;
    server_track_add(&levels->opens, sample->at_ms, sample->opens, RATE_WINDOW_MS);
    server_track_add(&levels->closes, sample->at_ms, sample->closes, RATE_WINDOW_MS);
    spans_ms = track_spans_ms(&levels->opens, sample->at_ms);
    levels->have_rates = spans_ms >= RATE_MIN_MS;
    if (!levels->have_rates)
        return;
    levels->opens_per_s = (sample->opens - levels->opens.points[0].value) * 1000 / (double)spans_ms;
    levels->closes_per_s = (sample->closes - levels->closes.points[0].value) * 1000 / (double)spans_ms;
}

/* What is usual, learned slowly, and only from times that are not a fault. */
static void learn(struct server_levels *levels, double churn, uint64_t passed_ms)
{
    uint64_t known_ms = levels->learned_ms + passed_ms;
    double share = (double)passed_ms / (double)(known_ms < MEMORY_MS ? known_ms : MEMORY_MS);

    levels->normal += (churn - levels->normal) * (share > 1 ? 1 : share);
    levels->learned_ms = known_ms;
}

/* Connections that come and go: what only comes is growth, and what only goes is a drop. */
static void judge_churn(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                        bool settling, struct server_said *said)
{
    double churn = levels->opens_per_s < levels->closes_per_s ? levels->opens_per_s : levels->closes_per_s, normal, times;
    uint64_t passed_ms = levels->last_ms ? sample->at_ms - levels->last_ms : 0;
    bool enough = churn * (double)RATE_WINDOW_MS / 1000 >= (double)CHURN_PAIRS, known;

    if (!levels->have_rates || sample->quiet || settling) {
        levels->over[LEVEL_CHURN] = false;
        levels->last_ms = 0;
        return;
    }
    if (sample->counted)
        levels->last_ms = sample->at_ms;
    known = policy->churn_normal || levels->learned_ms >= LEARN_MS;
    normal = policy->churn_normal ? (double)policy->churn_normal : levels->normal < 1 ? 1 : levels->normal;
    times = churn / normal;
    if (!known || !(enough || levels->over[LEVEL_CHURN]) ||
        !server_limit_over(&policy->churn, times * (double)PERCENT, &levels->over[LEVEL_CHURN])) {
        if (sample->counted && passed_ms)
            learn(levels, churn, passed_ms);
        return;
    }
    server_say(said, RESULT_FAIL, REASON_SERVER_CHURN_HIGH,
               "connections come and go at %.1f a second, %.1f times the %s %.1f (churn: %.3gx)", churn, times,
               policy->churn_normal ? "normal" : "usual", normal, (double)policy->churn.high / (double)PERCENT);
}

void server_levels_judge(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                         struct server_said *said)
{
    bool settling;

    *said = (struct server_said){ .result = RESULT_PASS, .reason = REASON_NONE };
    if (sample->restarted)
        levels->restarted_ms = sample->at_ms;
    if (sample->process_ended)
        levels->process_ended_ms = sample->at_ms;
    if (sample->quiet || sample->restarted)
        levels->quiet_ms = sample->at_ms;
    settling = levels->quiet_ms && sample->at_ms - levels->quiet_ms < AFTER_MS;
    note_rates(levels, sample);
    judge_backlog(levels, policy, sample, said);
    judge_fds(levels, policy, sample, said);
    judge_memory(levels, policy, sample, said);
    judge_cpu(levels, policy, sample, said);
    judge_connections(levels, policy, sample, said);
    judge_drop(levels, policy, sample, said);
    judge_growth(levels, policy, sample, settling, said);
    judge_churn(levels, policy, sample, settling, said);
}
