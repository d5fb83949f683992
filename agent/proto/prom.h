/*
 * Prometheus exposition text 0.0.4 and OpenMetrics 1.0 from the same calls. A family is declared once and its samples follow at
 * once. Counters are declared by their name without _total in OpenMetrics and with it in 0.0.4, as each format wants.
 */
#ifndef WSHEALTHD_PROTO_PROM_H
#define WSHEALTHD_PROTO_PROM_H

#include <stdbool.h>

#include "agent/base/buf.h"

enum prom_type { PROM_GAUGE, PROM_COUNTER, PROM_HISTOGRAM, PROM_INFO };

struct prom {
    struct buf *out;
    bool openmetrics, failed;
    const char *name; /* of the open family */
    enum prom_type type;
    unsigned buckets; /* of the histograms that follow */
};

/* Buckets shared by every duration in this program, in seconds; the last, +Inf, is implied. */
enum { PROM_BUCKETS = 14 };
extern const double prom_bounds[PROM_BUCKETS];

/* Which of them are written; all are counted. Each costs a line for each series, so a family that is seldom looked at in detail
 * has few. */
enum {
    PROM_ALL = (1 << PROM_BUCKETS) - 1,
    PROM_USUAL = 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 9, /* 1, 5, 25, 100, 500 ms */
    PROM_COARSE = 1 << 6 | 1 << 9,                           /* 50, 500 ms */
    PROM_ONE = 1 << 7,                                       /* 100 ms */
};

struct prom_histogram {
    uint64_t counts[PROM_BUCKETS + 1]; /* not cumulative; the last is +Inf */
    double sum;
};
void prom_observe(struct prom_histogram *histogram, double seconds);
void prom_merge(struct prom_histogram *histogram, const struct prom_histogram *other); /* adds what the other one has counted */

void prom_begin(struct prom *prom, struct buf *out, bool openmetrics);
int prom_finish(struct prom *prom); /* writes "# EOF" in OpenMetrics; -1 when the ceiling cut it */
/* name without _total, _bucket, … ; for PROM_COUNTER and PROM_INFO the suffix is added as the format wants. */
void prom_family(struct prom *prom, enum prom_type type, const char *name, const char *help);
void prom_buckets(struct prom *prom, unsigned buckets); /* PROM_ALL at first */
/* labels: "check", "echo", "type", "echo", NULL - values are escaped. */
void prom_sample(struct prom *prom, double value, ...) __attribute__((sentinel));
void prom_sample_histogram(struct prom *prom, const struct prom_histogram *histogram, ...) __attribute__((sentinel));

#endif
