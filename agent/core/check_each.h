/*
 * A round with `each_address`: the same for every address of the target's name, one after another, and one verdict. Between check.c and
 * check_each.c.
 */
#ifndef WSHEALTHD_CORE_CHECK_EACH_H
#define WSHEALTHD_CORE_CHECK_EACH_H

#include "agent/core/check_both.h"

/* After so many addresses that answer nothing within `timeout`, the round ends, and the next one begins with the others. */
enum { EACH_TIMEOUTS_MAX = 4 };

/* What the round was over one address. */
struct each_part {
    struct half half;
    int family;       /* AF_INET, AF_INET6 */
    char address[64]; /* "192.0.2.7", "2001:db8::7" */
};

struct each {
    struct dial_each dial;
    size_t start; /* the round under way began with this one; counted round and round */
    size_t tried;
    unsigned timeouts;
    struct each_part parts[RESOLVE_ADDRESSES_MAX];
};

struct each *each_new(const struct check_conf *conf); /* NULL: without `each_address` */
bool each_goes_on(const struct check *check);         /* a round is under way, and another address is to begin */
/* A part has ended. True: another address must be begun by the schedule's timer; nothing is judged before. False: *ending, the report and
 * the view's total_ns are the round's, of all addresses. A name with one address changes nothing. */
bool each_end_part(struct check *check, struct ending *ending);
/* For the test: the verdict of these parts. *told is the one whose report is shown. total: how many addresses the name has. Pure. */
void each_merge(const struct each_part *parts, size_t count, size_t total, struct ending *out, size_t *told,
                struct address_split *split);

#endif
