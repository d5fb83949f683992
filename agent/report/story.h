/*
 * Decides when the log and the demo tell a change of the verdict: once, and when its cause is clear. Pure: the owner has the clock
 * and the timer. The verdict itself changes at once.
 */
#ifndef WSHEALTHD_REPORT_STORY_H
#define WSHEALTHD_REPORT_STORY_H

#include "agent/core/event.h"
#include "agent/report/view.h"

/* Checks that fail together end one after another. Until the last one has ended, the diagnosis may give a wrong cause. */
enum { STORY_SETTLE_MS = 1000 };

struct story_state {
    int64_t at_ms;    /* wall: when it became so; with another cause than before, when that was seen first */
    const char *word; /* the first line of /ready: "ready", "degraded", … */
    bool ready, degraded, live;
    const char *cause;
    char sentence[640];
    char plain[DIAGNOSIS_PLAIN_MAX + 64]; /* the same without addresses, URLs and texts of the server's */
};

struct story_line {
    enum event event;
    const struct story_state *was, *is;
};

struct story {
    struct story_state told, next; /* next: what is not told yet */
    bool begun, pending;
    uint64_t due_ms; /* when it is told */
    void (*tell)(void *user, const struct story_line *line);
    void *user;
};

/* The view has changed. The verdict that was waiting is told at once if there is already another one. True: call story_due at due_ms.
 * now_ms is monotonic. */
bool story_update(struct story *story, const struct agent_view *view, uint64_t now_ms, int64_t wall_ms);
void story_due(struct story *story); /* tells what waits */

#endif
