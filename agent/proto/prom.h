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
};

/* Buckets shared by every duration in this program, in seconds; the last, +Inf, is implied. */
enum { PROM_BUCKETS = 14 };
extern const double prom_bounds[PROM_BUCKETS];

struct prom_histogram {
    uint64_t counts[PROM_BUCKETS + 1]; /* not cumulative; the last is +Inf */
    double sum;
};
void prom_observe(struct prom_histogram *histogram, double seconds);

void prom_begin(struct prom *prom, struct buf *out, bool openmetrics);
int prom_finish(struct prom *prom); /* writes "# EOF" in OpenMetrics; -1 when the ceiling cut it */
/* name without _total, _bucket, … ; for PROM_COUNTER and PROM_INFO the suffix is added as the format wants. */
void prom_family(struct prom *prom, enum prom_type type, const char *name, const char *help);
/* labels: "check", "echo", "type", "echo", NULL - values are escaped. */
void prom_sample(struct prom *prom, double value, ...) __attribute__((sentinel));
void prom_sample_histogram(struct prom *prom, const struct prom_histogram *histogram, ...) __attribute__((sentinel));

#endif
