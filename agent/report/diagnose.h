/*
 * From the states of all checks to one sentence for the person on call: whose fault it is, and what to do. Pure, and a table:
 * rules in order, the first that fits wins. Causes are a closed set (cause_list, in the manual).
 */
#ifndef WSHEALTHD_REPORT_DIAGNOSE_H
#define WSHEALTHD_REPORT_DIAGNOSE_H

#include <stdbool.h>
#include <stddef.h>

enum { DIAGNOSIS_ADVICE_MAX = 4, DIAGNOSIS_BECAUSE_MAX = 8, DIAGNOSIS_PLAIN_MAX = 384 };

struct diagnosis {
    const char *cause;               /* "healthy", "server_down", …: never NULL */
    const char *own_cause;           /* the same, before the fleet's part in it */
    char sentence[512];              /* may quote addresses and the peer: for full details only */
    char plain[DIAGNOSIS_PLAIN_MAX]; /* the same without any of that */
    const char *advice[DIAGNOSIS_ADVICE_MAX];
    size_t advice_count;
    const char *because[DIAGNOSIS_BECAUSE_MAX]; /* names of checks */
    size_t because_count;
    bool because_more; /* others say so too, for whom there was no room */
};

struct agent_view;
void diagnose(const struct agent_view *view, struct diagnosis *out);

#endif
