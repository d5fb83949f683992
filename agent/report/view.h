/*
 * What the agent knows, as plain data. HTTP, the admin socket, the commands, sd_notify and the metrics read this and nothing else.
 * Owned by the agent (agent/run/agent.h) and always current. Readers keep no pointer past their call.
 */
#ifndef WSHEALTHD_REPORT_VIEW_H
#define WSHEALTHD_REPORT_VIEW_H

#include <stddef.h>
#include <stdint.h>

#include "agent/core/health.h"
#include "agent/core/view.h"
#include "agent/proto/prom.h"
#include "agent/report/diagnose.h"
#include "agent/report/fleet_view.h"
#include "agent/report/history.h"

enum { AGENT_LATE_MS = 10000 };

/* While the instance is drained: how many clients are left (agent/run/agent_drain.c). */
struct drain_view {
    bool counted;
    uint64_t remaining; /* connections of clients to the server, the agent's own aside; those too that wait to be accepted */
    char why[160];      /* it is not counted; "": not yet */
    uint64_t since_ms;  /* monotonic; 0: not drained */
};

/* The closed set of results of `wshealthd_notifications_total`. */
#define NOTIFIED_LIST(X)                                                           \
    X(SENT, "sent")       /* the receiver took it */                               \
    X(RETRIED, "retried") /* a try failed, and there is another one */             \
    X(FAILED, "failed")   /* given up: the receiver refused it, or for too long */ \
    X(MERGED, "merged")   /* overtaken by a newer message of the same incident */  \
    X(DROPPED, "dropped") /* too many incidents waited */                          \
    X(LIMITED, "limited") /* max_per_hour */
#define NOTIFIED_ENUM(id, name) NOTIFIED_##id,
enum notified { NOTIFIED_LIST(NOTIFIED_ENUM) NOTIFIED_COUNT };
const char *notified_name(enum notified result);

struct notifier_view {
    const char *name, *type;
    uint64_t results[NOTIFIED_COUNT];
    bool told;                         /* there is an incident, and it has been told */
    bool failing;                      /* the last try failed */
    int64_t failing_since_ms, sent_ms; /* wall; 0: never */
    unsigned waiting;                  /* messages that are under way or wait */
    char error[256];                   /* why the last try failed; "": it did not. Without secrets */
};

struct agent_view {
    const char *version;
    const char *service_id;  /* the target's URL without secrets; not for readers without full details */
    const char *region;      /* a word; NULL: none */
    const char *config_file; /* "" where there is none */
    int64_t started_ms;      /* wall */
    uint64_t generation;     /* grows with every change of what /ready, /live, /startup or /health would say */
    struct verdict verdict;
    struct diagnosis diagnosis;
    const struct check_view *const *checks;
    size_t check_count;
    struct prom_histogram loop_lag;
    uint64_t stalls;
    struct drain_view drain;
    const struct notifier_view *const *notifiers;
    size_t notifier_count;
    bool once;                      /* a command's one round: there is no agent, so nothing is in rotation or out of it */
    bool leaving;                   /* the agent has been asked to end (SIGTERM): it is draining until then */
    const char *nonce;              /* of this run of the agent: another one means that it was restarted */
    const struct history *history;  /* NULL: none is kept (once) */
    const struct fleet_view *fleet; /* NULL: none is configured */
    int64_t
        untold_ms; /* since when the word is another than the history's newest: that waits until the cause is clear; 0: no change waits */
    uint64_t late_ms; /* how late the agent itself was at most, in the last AGENT_LATE_MS before the diagnosis */
};

#endif
