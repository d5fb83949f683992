/*
 * What the agent knows of its fleet, as plain data: for /fleet, the page, the metrics, `wshealthd fleet`, the reports. Filled by the link of the fleet
 * (agent/fleet), which is above this layer; readers know this header and nothing of agent/fleet. `struct agent_view` has a pointer to it, NULL where no
 * `fleet` is configured. Readers keep no pointer past their call. Words are from closed lists: agent/fleet/summary.h and matrix.h.
 */
#ifndef WSHEALTHD_REPORT_FLEET_VIEW_H
#define WSHEALTHD_REPORT_FLEET_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FLEET_VIEW_REGIONS_MAX = 32,
    FLEET_VIEW_FINDINGS_MAX = 16,
    FLEET_VIEW_REFUSALS_MAX = 16,
    FLEET_VIEW_CELLS_MAX = 32,
    FLEET_VIEW_DELAYS_MAX = 64
};

struct fleet_member_view {
    const char *id, *region;
    const char *version, *agent_version; /* version: of the server where that is said (identity.version), otherwise of the agent */
    const char *
        word; /* "ready", "degraded", "not_ready", "draining", "starting", "left"; "silent": not heard for three fifths of expire */
    const char *stand;                   /* what min_ready makes of its fault: "own", "asks", "held", "out" */
    const char *cause, *scope;           /* its own; "" when it is healthy */
    bool self, watcher, fault, twin;     /* twin: another agent uses the same id */
    uint64_t heard_ago_ms, since_ago_ms; /* since_ago_ms: of the word; by this host's clock */
    int64_t since_at_ms;                 /* since_ago_ms as wall time: the same number as long as nothing changes */
    uint64_t fault_for_ms;               /* 0 without a fault */
    bool have_connections, have_clock;
    uint32_t connections, restarts, lost; /* lost: summaries that did not arrive */
    int32_t clock_ahead_ms, clock_error_ms;
};

struct fleet_region_view { /* counts of the metric wshealthd_fleet_members{state,region}; watchers apart */
    const char *region;    /* those that have no room here are counted in the last one, "other" */
    uint32_t ready, degraded, not_ready, draining, starting, silent, watchers;
};

struct fleet_refusal_view { /* summaries that were not believed */
    const char *name, *help;
    uint64_t count;
};

struct fleet_finding_view { /* of the delivery matrix, and of the public path */
    const char *
        cause; /* "instance_receives_nothing", "instance_publishes_nothing", "regions_cut", "shard_lost"; "one_region_fails", "public_path_down" */
    const char *who,
        *from; /* ids of agents; of a cut: the region that receives nothing, and the other; the region that fails. NULL: there is none */
    char sentence[256]; /* who is at fault, by name */
    const char *plain;  /* the same for readers who get no names of agents */
    const char *advice; /* without names and addresses */
};

struct fleet_cell_view { /* what a member had lately, through its server, of another one's heartbeats */
    const char *from;    /* id */
    const char *state;   /* "lit": all came; "partial"; "dark": some were expected and none came */
    uint32_t got, lost;
    bool have_late;
    int32_t late_ms, error_ms; /* on their way, the clocks' difference taken off, and how far that may be wrong */
};

struct fleet_delay_view { /* on their way from publishing to a WebSocket: the median over the pairs of two regions */
    const char *from_region, *to_region;
    double seconds;
};

struct fleet_rollout_view { /* agent/fleet/rollout.h */
    bool under_way, announced;
    uint32_t changed, of, versions;
    const char *from, *to; /* NULL: one version */
    uint64_t since_ago_ms;
    char sentence[224]; /* ""; without names and addresses */
};

struct fleet_view {
    const char *group, *broker;
    bool watcher;  /* no server is beside this agent */
    bool linked;   /* what this agent publishes comes back to it */
    char why[160]; /* not linked: why. "" */
    uint64_t every_ms, expire_ms;
    char min_ready[16];                /* as configured: "2", "50%"; "" where it is off */
    const char *mode;                  /* "off", "alone", "unlinked", "rules": whether min_ready acts for this instance */
    uint32_t members, needed, counted; /* of the last decision of min_ready; 0 without one */
    bool held;                         /* a local fault would take this instance out, and min_ready keeps it in */
    char sentence[256];                /* what min_ready does to this instance and why; "" */
    bool wide;                         /* fleet_wide_fault */
    bool wide_own;                     /* this instance has it, and stays in rotation for that */
    const char *wide_cause;            /* which cause nearly all share; "" */
    uint32_t wide_sharing, wide_of;
    bool own_twin; /* another agent uses this agent's id */
    struct fleet_region_view regions[FLEET_VIEW_REGIONS_MAX];
    size_t region_count;
    struct fleet_refusal_view refusals[FLEET_VIEW_REFUSALS_MAX];
    size_t refusal_count;
    struct fleet_finding_view findings[FLEET_VIEW_FINDINGS_MAX];
    size_t finding_count;
    char outside[160];  /* the public path fails here: where else it does and does not, to follow a sentence; "" */
    bool outside_alone; /* this region fails alone */
    struct fleet_rollout_view rollout;
    struct fleet_delay_view delays[FLEET_VIEW_DELAYS_MAX];
    size_t delay_count;
    /* The members, this agent first, then by region and id. */
    size_t member_count;
    void (*member_at)(const void *fleet, size_t i, struct fleet_member_view *out);
    /* The row of member i in the matrix: at most `max` of its cells, and how many were written. Of whom nothing is known there is no cell. */
    size_t (*cells_of)(const void *fleet, size_t i, struct fleet_cell_view *out, size_t max);
    bool has_matrix; /* there is any cell */
    const void *fleet;
};

#endif
