/*
 * What was: the changes of the verdict, the incidents that they make, and for each check five-minute buckets of a day. Owned by the agent
 * (agent/run), which notes; read by the reports. Pure: no clock, no sockets; times are wall time in milliseconds since 1970, as the
 * caller has them.
 *
 * Bounded, whatever happens: the last HISTORY_CHANGES_MAX changes, the last HISTORY_INCIDENTS_MAX incidents, and HISTORY_CHECK_BYTES for
 * each check. Texts are cut to HISTORY_TEXT_MAX, and secrets in them are masked as they are noted.
 *
 * The wall clock may jump. One that goes back by a bucket at most goes on counting where it belongs; one that is set back further drops
 * what lies ahead of it; one that is set forward leaves a gap.
 */
#ifndef WSHEALTHD_REPORT_HISTORY_H
#define WSHEALTHD_REPORT_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HISTORY_CHANGES_MAX = 200,
    HISTORY_INCIDENTS_MAX = 100,
    HISTORY_TEXT_MAX = 640, /* of a sentence, its end included */
    HISTORY_BUCKET_MS = 300000,
    HISTORY_BUCKETS = 288,
    HISTORY_CHECK_BYTES = 8192,
    HISTORY_ERROR_PERCENT = 6, /* how far a quantile may be from the true one, at most; below 10 µs half a µs more */
};

struct history_change {
    int64_t at_ms;
    const char *word; /* the first line of /ready: "ready", "degraded", "not ready", "draining", "starting" */
    bool live;
    const char *cause;            /* of the closed set (agent/report/diagnose.h) */
    const char *sentence, *plain; /* plain: without addresses, URLs and texts of the server's. "" where there is none */
};

/* Begins when the word becomes "degraded" or "not ready", or /live goes; ends when the word is "ready" and /live is there. Draining and starting
 * neither begin nor end one. */
struct history_incident {
    int64_t begin_ms, end_ms;             /* end 0: it lasts */
    const char *worst;                    /* "degraded", "not ready", "not live" */
    const char *cause, *sentence, *plain; /* of the change that first made it so bad */
    unsigned changes;                     /* of the verdict or its cause in it, the first included */
    bool cut; /* the agent ended in it, and found the server ready when it came back: end_ms is when it was last seen */
};

struct history_bucket {
    int64_t start_ms;
    uint32_t rounds, failures, warnings; /* judged; void rounds are none */
    bool have_rtt;
    uint64_t p50_us, p95_us, p99_us;
    bool have_connections; /* of a server check: clients' connections, the most that a round saw */
    uint32_t connections;
};

struct history_quantiles {
    uint64_t count, p50_us, p95_us, p99_us;
};

struct check_view;
struct history;
struct history_check;
struct history *history_new(void);
void history_free(struct history *history); /* NULL: nothing */

/* A change that says the same as the one before is none. word and cause are kept as they are: they outlive the history. */
void history_note_change(struct history *history, const struct history_change *change);
/* After every round. A void one, which leaves last_ms of the view as it was, changes nothing. */
void history_note_round(struct history *history, const struct check_view *check, int64_t now_ms);
/* Only these checks are left. One that has the name, and another type or path, begins anew. */
void history_keep_checks(struct history *history, const struct check_view *const *checks, size_t count);
/* What an agent before this one has left, last known at seen_ms: puts it before what `history` has, and frees it. */
void history_prepend(struct history *history, struct history *old, int64_t seen_ms);

/* Pointers of what these give are valid until the history changes. */
size_t history_change_count(const struct history *history);
const struct history_change *history_change_at(const struct history *history, size_t newest_first); /* NULL: there is none */
size_t history_incidents(const struct history *history, int64_t since_ms, struct history_incident *out,
                         size_t max); /* those that lasted then or began later; newest first */

const struct history_check *history_find(const struct history *history, const char *check_name); /* NULL: no round yet */
/* The bucket of now_ms (ago 0), or one of those before. False: nothing was seen in it. */
bool history_bucket_at(const struct history_check *check, unsigned ago, int64_t now_ms, struct history_bucket *out);
/* Of the last hour, to an hour and five minutes: as far as whole buckets reach. False: no figures. */
bool history_hour(const struct history_check *check, int64_t now_ms, struct history_quantiles *out);
/* What the quantiles are of: true: round-trip times; false: the type has none, whole rounds that did not fail. */
bool history_has_rtt(const struct history_check *check);

#endif
