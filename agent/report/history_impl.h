/* What the files of the history share: agent/report/history*.c. For them only. */
#ifndef WSHEALTHD_REPORT_HISTORY_IMPL_H
#define WSHEALTHD_REPORT_HISTORY_IMPL_H

#include "agent/report/history.h"

/*
 * Durations are counted in bins, six to an octave, from 8 µs to 134 s: each is 12 % wide, so its middle is within 6 % of all in it. Bin 0
 * is what is below, and the last one what is above. There are counts for the buckets of the last hour; the older ones have
 * only the bins of their quantiles left.
 */
enum {
    HISTORY_OCTAVE_BINS = 6,
    HISTORY_OCTAVES = 24,
    HISTORY_BINS = HISTORY_OCTAVES * HISTORY_OCTAVE_BINS + 2,
    HISTORY_HOUR = 13, /* the present bucket, and the twelve before */
    HISTORY_QUANTILES = 3,
    HISTORY_NO_BIN = 255,
    HISTORY_NAME_BYTES = 65,
    HISTORY_TYPE_BYTES = 33,
};

struct history_check {
    char name[HISTORY_NAME_BYTES], type[HISTORY_TYPE_BYTES];
    bool is_public, begun, rtt; /* begun: newest is one; rtt: the type has round-trip times, and only they count */
    int64_t newest;             /* number of the newest bucket: the time by HISTORY_BUCKET_MS. Bucket n is at n % HISTORY_BUCKETS */
    int64_t last_ms;            /* of the view, in the last round that was noted; 0: none in this process */
    uint16_t rounds[HISTORY_BUCKETS], failures[HISTORY_BUCKETS], warnings[HISTORY_BUCKETS];
    uint8_t quantiles[HISTORY_BUCKETS]
                     [HISTORY_QUANTILES];      /* bins; HISTORY_NO_BIN: none. Of the newest as long as it has no counts */
    uint16_t bins[HISTORY_HOUR][HISTORY_BINS]; /* bucket n is at n % HISTORY_HOUR */
    uint32_t *connections;                     /* HISTORY_BUCKETS, plus one, 0: unknown. NULL: no server check */
};
_Static_assert(sizeof(struct history_check) + HISTORY_BUCKETS * sizeof(uint32_t) <= HISTORY_CHECK_BYTES,
               "a check with a day full has at most 8 KiB");

struct history {
    struct history_change changes[HISTORY_CHANGES_MAX]; /* oldest first; the texts are its own */
    size_t change_count;
    struct history_incident incidents[HISTORY_INCIDENTS_MAX]; /* likewise */
    size_t incident_count;
    bool open;       /* the newest incident lasts */
    int64_t seen_ms; /* the agent ended while it was open: when it was last known. 0: it did not, or a verdict came since */
    struct history_check **checks;
    size_t check_count;
};

/* history_buckets.c */
struct history_check *history_check_new(const char *name, const char *type, bool is_public);
void history_check_free(struct history_check *check);
int64_t history_number(int64_t now_ms); /* of the bucket */
size_t history_advance(struct history_check *check,
                       int64_t number); /* to that bucket; its place. See history.h for clocks that jump */
bool history_is_kept(const struct history_check *check, int64_t number);
void history_check_add(struct history_check *check,
                       const struct history_check *later); /* counts of the same check, from later on */
/* history.c */
void history_put_change(struct history *history, const struct history_change *change); /* copies the texts; no incident follows */
void history_put_incident(struct history *history, const struct history_incident *incident); /* likewise; the newest */
/* What was put is whole. open: the newest one lasts. Others that have no end end where they began. */
void history_settle_incidents(struct history *history, bool open);
bool history_knows(const struct history *history, const char *name, const char *type, bool is_public);
struct history_check *history_find_or_add(struct history *history, const char *name, const char *type, bool is_public);

#endif
