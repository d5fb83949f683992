/*
 * Policy of the `server` check: what figures that were seen from outside mean. Called by probes/server.c once a round, with a sample and its
 * time. Pure: no clock, no socket, no allocation, so its test is a table of cases.
 *
 * Every limit has two edges, so that a figure beside one of them does not switch the verdict to and fro. Without a limit nothing fails. A
 * figure that is not known is not judged, and a limit that it has passed before is taken back.
 */
#ifndef WSHEALTHD_PROBES_SERVER_LEVELS_H
#define WSHEALTHD_PROBES_SERVER_LEVELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/reason.h"

struct server_limit {
    int64_t high, low; /* over from high on, until low is reached again. high 0: not set; low 0: nine tenths of high */
};
struct server_swing {       /* "50% in 10s" */
    int64_t percent, in_ms; /* in_ms 0: not set */
    int64_t low;            /* ends at this percentage; 0: half of it */
};
struct server_policy {
    struct server_limit connections, backlog, memory, memory_each, fds, cpu; /* backlog, fds, cpu in percent */
    struct server_swing drop, growth;
    struct server_limit churn; /* hundredths: 300 is three times as much as is normal */
    int64_t churn_normal;      /* connections that come and go in a second; 0: learned */
};
bool server_policy_has_limits(const struct server_policy *policy);

/* What a round has seen. */
struct server_sample {
    uint64_t at_ms;
    bool counted; /* connections, opens and closes are new in this round */
    bool have_connections, have_queue, have_memory, have_fds, have_cpu;
    double connections, opens, closes; /* opens and closes: ever */
    double queue_percent, memory, fds_percent;
    double cpu_seconds[2];     /* of the busiest process: at the beginning and the end of … */
    uint64_t cpu_ms;           /* … so long a time; 0: not known yet */
    bool quiet;                /* a deploy is announced: drops and churn are expected */
    bool restarted;            /* the process or the socket is another one than before */
    bool process_ended;        /* one of its processes is there no more */
    uint64_t by_server, ended; /* of the connections that have ended since the last count: by the server's side first; all */
};

/* Values over time, for one window; old ones are forgotten. */
enum { SERVER_TRACK_MAX = 64 };
struct server_track {
    struct server_point {
        uint64_t at_ms;
        double value;
    } points[SERVER_TRACK_MAX];
    unsigned count;
};

enum server_level {
    LEVEL_BACKLOG,
    LEVEL_FDS,
    LEVEL_MEMORY,
    LEVEL_MEMORY_EACH,
    LEVEL_CPU,
    LEVEL_CONNECTIONS,
    LEVEL_DROP,
    LEVEL_GROWTH,
    LEVEL_CHURN,
    LEVEL_COUNT
};

struct server_levels { /* zero it to start */
    bool over[LEVEL_COUNT];
    struct server_track fallen, grown, opens, closes;
    double opens_per_s, closes_per_s; /* over the last half minute, as far as known */
    bool have_rates;
    /* drop */
    double peak, left;
    uint64_t dropped_ms, by_server, ended;
    bool by_restart, by_process;
    uint64_t restarted_ms, process_ended_ms; /* the last time; 0: never */
    int64_t growth_percent;
    /* churn */
    double normal; /* learned; per second */
    uint64_t learned_ms, last_ms, quiet_ms;
};

struct server_said {
    enum result result;
    enum reason reason;
    char text[384];
};
/* Adds a sentence behind the others; the graver result wins with its reason, the earlier of equals. PASS with a text: a remark. */
void server_say(struct server_said *said, enum result result, enum reason reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The round's result: the gravest of the limits that are passed, the others named behind it. PASS with a text: a remark. */
void server_levels_judge(struct server_levels *levels, const struct server_policy *policy, const struct server_sample *sample,
                         struct server_said *said);

/* Is the value over? `over` is what it was before; it is set anew. */
bool server_limit_over(const struct server_limit *limit, double value, bool *over);

/* For the window of a policy. */
void server_track_add(struct server_track *track, uint64_t at_ms, double value, uint64_t window_ms);
void server_track_clear(struct server_track *track);

#endif
