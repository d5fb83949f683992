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

/* What a half came to. */
struct half {
    bool known;
    struct ending ending;
    struct run_report report;
    uint64_t total_ns;
    bool timed_out;
};

/* Of the round under way. */
struct both {
    bool second;           /* the half over HTTP/2 is to begin, or has begun */
    struct half halves[2]; /* that over HTTP/1.1 first */
    uint64_t skipped_ns;   /* the first half was skipped until then */
};

enum both_skip { BOTH_SKIP, BOTH_SECOND, BOTH_JUDGE };

bool both_is_second(const struct check *check); /* the half over HTTP/2 is to begin, or has begun */
/* A half has ended. True: it was the first, and the second must be begun by the schedule's timer; nothing is judged before. False: *ending,
 * the report and the view's total_ns are the round's, of both halves. */
bool both_end_half(struct check *check, struct ending *ending);
/* A half proves nothing before *until_ns. BOTH_SECOND: as true above. BOTH_JUDGE: the other half has an ending, which is the round's.
 * BOTH_SKIP: the round is skipped, until *until_ns. */
enum both_skip both_skip_half(struct check *check, uint64_t *until_ns, struct ending *ending);
/* Something failed between the rounds of a half, and the other half is under way: true, it is kept for the round's end. */
bool both_take_event(struct run *run, enum result result, const struct err *err);

#endif
