/* What link.c (the life and the topic) and link_view.c (what readers are shown) share. */
#ifndef WSHEALTHD_FLEET_LINK_IMPL_H
#define WSHEALTHD_FLEET_LINK_IMPL_H

#include "agent/fleet/announce.h"
#include "agent/fleet/findings.h"
#include "agent/fleet/link.h"
#include "agent/fleet/rollout.h"
#include "agent/fleet/together.h"
#include "agent/net/loop.h"

struct fleet_source { /* the table's members by their number in the matrix */
    uint32_t who, at;
};

struct fleet_link {
    struct fleet_link *self; /* for readers, who have it as const: they may have its members sorted */
    struct loop *loop;
    struct broker *broker;
    struct fleet_link_options options;
    char id[SUMMARY_WORD_MAX + 1], region[SUMMARY_WORD_MAX + 1], group[SUMMARY_WORD_MAX + 1], version[SUMMARY_VERSION_MAX + 1];
    char release[SUMMARY_VERSION_MAX + 1];
    uint64_t version_ms;
    struct rollout rollout;
    size_t matrix_findings; /* the first ones of the view are the matrix's */
    struct {
        const char *cause;
        char who[SUMMARY_WORD_MAX + 1];      /* "": none */
    } outside_told[FLEET_VIEW_FINDINGS_MAX]; /* those behind them, as they were logged */
    size_t outside_count;
    char *broker_name, *key_text; /* key_text: as configured; NULL: no key */
    uint32_t every_ms;
    struct buf key;
    bool keyless; /* a key is configured, and none has been read yet: nothing is sent or believed */
    struct members *members;
    struct announce announce;
    struct min_ready min_ready;
    struct together together;
    struct broker_listener listener;
    struct broker_watcher watcher;
    struct broker_request request;
    struct timer due, tick, news;
    bool left;
    uint64_t begun_ms, run_ms, seq;
    uint32_t nonce;
    uint64_t refilled_ms, allowance; /* of messages that may be read */
    uint64_t flooded;                /* that were not */
    uint64_t asked_again_ms;
    char why[160]; /* the last thing that went wrong on the way; "" */
    bool was_linked, told_lost, told_doubt;
    enum fleet_refusal doubted; /* why somebody was not believed last: for want of the key or of the time */
    uint64_t doubted_ms;        /* when; 0: never */
    /* this instance */
    struct fleet_say say;
    char cause[SUMMARY_CAUSE_MAX + 1];
    bool fault, wide_own;
    uint64_t word_since_ms, fault_since_ms, public_since_ms;
    int64_t fault_key_ms;
    /* link_matrix.c */
    uint32_t who;
    struct summary_beats beats;
    struct summary_source row[SUMMARY_ROW_MAX];
    size_t row_count, row_turn;
    struct findings_kept findings;
    uint64_t judged_ms;
    const struct fleet_heard *heard; /* during a judgement only */
    struct fleet_source *sources;
    size_t source_count;
    /* link_view.c */
    struct fleet_view view;
    int64_t wall_ms; /* of the monotonic clock's zero */
    bool view_stale, order_stale;
    uint32_t *order; /* of the table's members, by region and id */
    size_t order_count;
    char regions[LINK_REGIONS_MAX][SUMMARY_WORD_MAX + 1];
    size_t region_count;
};

/* link_outside.c: what is found of regions and roll-outs. The findings of the view are then those of the matrix and these. */
void fleet_link_look_outside(struct fleet_link *link, uint64_t now_ms);
/* Does what this agent publishes come back to it? */
bool fleet_link_is_linked(const struct fleet_link *link);
/* Do others speak on the topic, and nobody is believed? */
bool fleet_link_doubts_all(const struct fleet_link *link, uint64_t now_ms);

/* --- link_matrix.c --- */

void fleet_link_index(struct fleet_link *link); /* members have come or gone, and somebody will ask for cells */
/* The cells of one row; NULL: of this agent's. */
size_t fleet_link_cells(const struct fleet_link *link, const struct member *member, struct fleet_cell_view *out, size_t max);
bool fleet_link_has_matrix(const struct fleet_link *link);

#endif
