/*
 * The view as text, in every format that the outside reads. Pure. `full` is false for readers that may not see addresses, URLs or
 * texts of the server (details: reasons): they get reason_help and diagnosis.plain instead.
 */
#ifndef WSHEALTHD_REPORT_REPORT_H
#define WSHEALTHD_REPORT_REPORT_H

#include <stdbool.h>

#include "agent/base/buf.h"
#include "agent/report/view.h"

/* /ready, /live, /startup in plain text. First line: ready | degraded | not ready | draining | starting (live: live | dead; startup: started
 * | starting), then a line for each cause. verbose: a line for each check, "[+]echo pass 0.21ms", and a last line with the verdict. */
enum report_question { REPORT_READY, REPORT_LIVE, REPORT_STARTUP };
void report_plain(const struct agent_view *view, enum report_question question, bool verbose, bool full, struct buf *out);
/* The first line of the answer: "ready", "degraded", "not ready", "draining", "starting"; "live", "dead"; "started", "starting". */
const char *report_word(const struct agent_view *view, enum report_question question);
/* What a check measures, in one figure: its round-trip time where it has one, else the whole round. */
uint64_t report_headline_ns(const struct check_view *check);
/* The fault's sentence: the check's own, or for readers who may not see it, the reason's. */
const char *report_fault_text(const struct check_fault *fault, bool full);
const char *report_sentence(const struct agent_view *view, bool full);
void report_status_json(const struct agent_view *view, bool full, struct buf *out); /* section 7, /status and check --json */
/* As report_status_json; with the traces of that check (NULL: none), or with those of all checks' last rounds. */
struct report_change {
    bool state, verdict, diagnosis; /* state: of a check, or the verdict's or the cause: not a figure alone */
    bool fleet;                     /* what /status has of it, or how many of its members are in which state */
    const bool *checks;             /* one for each */
};
struct report_extra {
    bool full, trace;
    const char *evidence;
    int64_t at_ms;  /* wall: says when this was so, as `at`; 0: does not */
    bool for_users; /* no more than the page tells with page.public; full is false then */
    const struct report_change
        *change; /* what has changed is said as `changed`, and only these checks and brokers are there; NULL: all */
};
void report_status_json_with(const struct agent_view *view, const struct report_extra *extra, struct buf *out);
void report_check_json(const struct check_view *check, const struct report_extra *extra, struct buf *out); /* its row alone */
void report_health_json(const struct agent_view *view, bool full, struct buf *out); /* section 7, application/health+json */
/* /history. The view's history is not NULL. */
enum { REPORT_HISTORY_BUCKETS = 1152 }; /* in one answer: four checks with a day each, or the last twenty minutes of 256 */
struct report_history_ask {
    bool full;
    const char *check; /* that one alone; NULL: all */
    int64_t since_ms;  /* wall; 0: a day of buckets, and all changes and incidents that are kept */
    int64_t now_ms;    /* wall */
};
void report_history_json(const struct agent_view *view, const struct report_history_ask *ask, struct buf *out);
/* /fleet, and the same for people. The view's fleet is not NULL. */
enum { REPORT_FLEET_MEMBERS = 1000 };
void report_fleet_json(const struct agent_view *view, bool full, struct buf *out);
enum result report_fleet_result(
    const struct fleet_view *fleet); /* warn: some are not well, or this agent is alone; fail: none is in */
/* What the table and the page say alike: "1 silent, 5 ready", those in trouble first; the sum of all regions, without its name; a member's state. */
void report_fleet_counts(const struct fleet_region_view *region, struct buf *out);
struct fleet_region_view report_fleet_sum(const struct fleet_view *fleet);
const char *report_fleet_word(const struct fleet_member_view *member);
/* For a terminal: each check with its phases as a waterfall, the verdict, the diagnosis and the advice. */
struct report_style {
    bool colour;
    unsigned width;      /* columns, from 40 to 200; 0: 100 */
    bool one_shot;       /* `check`: no since, no history */
    bool one_line;       /* of traces: lines are not broken, so that they can be searched */
    bool verdict_first;  /* above the checks, for a screen that may be too small for all */
    bool ascii;          /* marks and bars are ASCII; other bytes in texts of others are shown as \xNN */
    const char *program; /* how the user calls `wshealthd`, for the advice; NULL: wshealthd */
};
void report_human(const struct agent_view *view, const struct report_style *style, struct buf *out);
/* The fleet for full details: its head, the members by region, what is found, the delivery matrix. Of the style colour, ascii and the width count; with
 * one_line no line is broken, and no column left out. report_fleet_line says the same in one line, without what changes by itself, such as ages. */
void report_fleet_human(const struct agent_view *view, const struct report_style *style, struct buf *out);
void report_fleet_line(const struct fleet_view *fleet, struct buf *out);
/* What was said in the last round of each check, for a terminal: a section for each. */
void report_trace(const struct agent_view *view, const struct report_style *style, struct buf *out);
/* Of one check, what is kept: the last round that failed, and the last that passed. */
void report_evidence(const struct check_view *check, const struct report_style *style, struct buf *out);
const struct check_view *report_find_check(const struct agent_view *view, const char *name); /* NULL: there is none */
/* One plugin line with performance data: "WSHEALTHD OK - …|total=0.001900s;;2;0 …". */
void report_nagios(const struct agent_view *view, struct buf *out);
/* Is it not ready because a `server` check sees max_connections reached, and for nothing else that is this instance's? Then those that are
 * connected are well, and only new clients are too many. */
bool report_is_full(const struct agent_view *view);
int report_exit_code(const struct agent_view *view); /* 0 pass, 1 warn, 2 fail, 3 unknown */
/* sd_notify's STATUS=, one line. */
void report_line(const struct agent_view *view, char *out, size_t size);

#endif
