/* A round with `http: both`: the same once over HTTP/1.1 and once over HTTP/2, and one verdict. Between check.c and check_both.c. */
#ifndef WSHEALTHD_CORE_CHECK_BOTH_H
#define WSHEALTHD_CORE_CHECK_BOTH_H

#include "agent/core/check_impl.h"

/* How a round ends, or one half of it. */
struct ending {
    enum result result;
    enum reason reason;
    enum phase phase;
    char text[ERR_TEXT_MAX];
};

/* What the first half came to; kept for the second. */
struct both {
    struct ending ending;
    struct run_report report;
    uint64_t total_ns;
    bool timed_out;
};

bool both_is_second(const struct check *check); /* the half over HTTP/2 is to begin, or has begun */
/* A half has ended. True: it was the first, and the second must be begun by the schedule's timer; nothing is judged before. False: *ending,
 * the report and the view's total_ns are the round's, of both halves. */
bool both_end_half(struct check *check, struct ending *ending);

#endif
