/* The counters of one check, and the closed sets that they are counted by. The engine and the probes count; the reports read. */
#ifndef WSHEALTHD_CORE_STATS_H
#define WSHEALTHD_CORE_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/reason.h"
#include "agent/core/heard.h"
#include "agent/core/server_stats.h"
#include "agent/proto/prom.h"

/* Label values of `code`: the registered codes that can be on the wire or stand for their absence, and two ranges. */
#define CLOSE_LABEL_LIST(X) \
    X(1000) X(1001) X(1002) X(1003) X(1005) X(1006) X(1007) X(1008) X(1009) X(1010) X(1011) X(1012) X(1013) X(1014)
enum close_label {
#define CLOSE_LABEL_ENUM(code) CLOSE_##code,
    CLOSE_LABEL_LIST(CLOSE_LABEL_ENUM)
#undef CLOSE_LABEL_ENUM
        CLOSE_3XXX,
    CLOSE_4XXX,
    CLOSE_OTHER,
    CLOSE_LABEL_COUNT
};
enum close_label close_label_of(int code);
const char *close_label_name(enum close_label label); /* "1000", "3xxx", "4xxx", "other" */

enum delivery_leg { LEG_CONTROL, LEG_WEBSOCKET, LEG_COUNT };
#define DELIVERY_LIST(X)      \
    X(RECEIVED, "received")   \
    X(LATE, "late")           \
    X(LOST, "lost")           \
    X(DUPLICATE, "duplicate") \
    X(REORDERED, "reordered")
#define DELIVERY_ENUM(id, name) DELIVERY_##id,
enum delivery_result { DELIVERY_LIST(DELIVERY_ENUM) DELIVERY_COUNT };
const char *delivery_leg_name(enum delivery_leg leg);
const char *delivery_result_name(enum delivery_result result);
struct delivery_stats {
    struct prom_histogram legs[LEG_COUNT]; /* from publishing to arrival */
    uint64_t last_ns[LEG_COUNT];           /* the same of the newest on each; 0: none yet */
    uint64_t heartbeats[DELIVERY_COUNT];   /* our own */
    uint64_t others;                       /* those of other sources, on the WebSocket */
    unsigned sources;                      /* how many others there are, as far as they are remembered */
    struct heard heard;                    /* the same, for the fleet's delivery matrix */
};
/* Has no heartbeat of ours come through the server yet, in time or not? */
static inline bool delivery_never_arrived(const struct delivery_stats *stats)
{
    return !stats->heartbeats[DELIVERY_RECEIVED] && !stats->heartbeats[DELIVERY_LATE] && !stats->heartbeats[DELIVERY_DUPLICATE];
}

/* How long held connections lived that somebody else has cut (probes/hold_lives.h). */
enum hold_control { HOLD_CONTROL_UNKNOWN, HOLD_CONTROL_LIVES, HOLD_CONTROL_CUT };
struct hold_figures {
    bool idle;                        /* of connections that said nothing: the silence before the cut; else the age */
    uint32_t cut, of;                 /* at similar lengths, and of how many that have ended; 0: none */
    uint64_t shortest_ns, longest_ns; /* of those that were cut */
    enum hold_control control;        /* idle: the connection that is pinged for comparison lives on, or is cut at that age too */
    uint64_t ping_ns;                 /* the longest time between the server's own pings that was seen; 0: it sent none */
};

/* Which series there are for one check. What cannot occur is not listed: it would be most of the text. */
struct series {
    bool known;                 /* false: everything is listed */
    bool name, tls;             /* it looks up a name; it speaks TLS */
    unsigned parts;             /* SERIES_* */
    const enum reason *reasons; /* of its type; ends with REASON_NONE; NULL: none */
};

struct check_stats {
    uint64_t rounds[RESULT_COUNT];
    uint64_t failures[REASON_COUNT];
    uint64_t closes[CLOSE_LABEL_COUNT];
    struct prom_histogram phase[PHASE_COUNT]; /* PHASE_NONE holds the whole round, label "total" */
    struct prom_histogram rtt;
    int64_t last_round_ms;           /* wall */
    int64_t cert_not_after_ms;       /* wall, 0: none seen */
    uint64_t dropped;                /* of brokers' own checks: messages that were not taken */
    struct delivery_stats *delivery; /* of delivery checks; NULL for others */
    struct server_stats *server;     /* of server checks; NULL for others */
    bool holds;                      /* it keeps connections, and counts what becomes of them */
    uint32_t held;                   /* connections held open now */
    uint64_t lost, lost_age_ns;      /* held connections that were lost, ever; the age of the last one */
    int lost_code;                   /* its close code; 0: none */
    int64_t lost_ms;                 /* wall, when; 0: never */
    struct hold_figures lives;
};

#endif
