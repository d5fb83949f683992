/*
 * What the matrix says, told with patience: a finding begins when it was there in all judgements of FINDINGS_SETTLE_MS, two at least, and ends when it was in
 * none for as long. Pure; owned by link_matrix.c.
 */
#ifndef WSHEALTHD_FLEET_FINDINGS_H
#define WSHEALTHD_FLEET_FINDINGS_H

#include "agent/fleet/matrix.h"

enum { FINDINGS_MAX = 16, FINDINGS_SETTLE_MS = 3000 };

struct finding {
    enum matrix_cause cause;
    char who[SUMMARY_WORD_MAX + 1], from[SUMMARY_WORD_MAX + 1]; /* "": none */
    uint32_t dark, shard;
    uint64_t first_ms, seen_ms;
    bool told;
};
struct findings_kept {
    struct finding rows[FINDINGS_MAX];
    size_t count;
};

/* One judgement. `change` is called for what begins, and for what ends; it may be NULL. */
void findings_note(struct findings_kept *kept, const struct matrix_finding *found, size_t count, uint64_t now_ms,
                   void (*change)(void *user, const struct finding *finding, bool begins), void *user);

#endif
