/*
 * Reads single figures from a page in Prometheus' text format (0.0.4, OpenMetrics 1.0 likewise), as somebody else's server writes it. A line at
 * a time: a page of a megabyte costs about a millisecond, and keeps a hash of each sample that is wanted. What is no sample is skipped and
 * counted.
 */
#ifndef WSHEALTHD_PROTO_PROM_READ_H
#define WSHEALTHD_PROTO_PROM_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/err.h"
#include "agent/base/slice.h"

struct prom_wanted {
    const char *name; /* "ws_connections", or with labels that must all be there: "ws_messages_total{direction=\"in\"}" */
    bool found;
    bool counter; /* the page says so, or its name ends with _total */
    /* The sum of all samples that fit. NaN and infinite ones are left out, and the second one with the same labels; where the sum is
     * infinite, nothing was found. */
    double value;
};
/* 0, or -1 and err: no sample at all, so this is no such page. */
int prom_read(struct slice page, struct prom_wanted *wanted, size_t count, struct err *err);
/* Is that a name, with labels or without? For configurations. */
int prom_read_validate(const char *name, struct err *err);

#endif
