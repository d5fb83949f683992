/*
 * Decides when the log and the demo tell a change of the verdict, and of checks: once, and when its cause is clear. Pure: the owner has
 * the clock and the timer. The verdict itself changes at once.
 */
#ifndef WSHEALTHD_REPORT_STORY_H
#define WSHEALTHD_REPORT_STORY_H

#include "agent/core/event.h"
#include "agent/report/view.h"

/* Checks that fail together end one after another. Until the last one has ended, the diagnosis may give a wrong cause, and there would be
 * a line for each. So a change is told when nothing more has changed for STORY_SETTLE_MS, and after STORY_MAX_MS in any case. */
enum { STORY_SETTLE_MS = 1000, STORY_MAX_MS = 3000 };

struct story_state {
    int64_t at_ms;    /* wall: when it became so; with another cause than before, when that was seen first */
    const char *word; /* the first line of /ready: "ready", "degraded", … */
    bool ready, degraded, live;
    const char *cause;
    char sentence[640];
    char plain[DIAGNOSIS_PLAIN_MAX + 64]; /* the same without addresses, URLs and texts of the server's */
};

/* A check whose state has changed, as it was then. */
struct story_check {
    char *name, *message; /* message: "" after a plain pass */
    const char *type, *path;
    enum state state;
    enum reason reason;
    enum phase phase;
    size_t place; /* in the configuration */
};

struct story_line {
    enum event event; /* of the verdict, or CHECK_FAIL, CHECK_WARN, CHECK_PASS: then /ready has not changed with them */
    const struct story_state *was, *is;
    const struct story_check *checks; /* whose change this line tells: all failed or warned, or all passed */
    size_t check_count;
    bool with_cause; /* is->cause is news, and this line tells it */
};

struct story {
    struct story_state told, next; /* next: what is not told yet */
    struct story_check *checks;    /* likewise; each check once */
    size_t check_count, check_room;
    bool begun, pending;
    uint64_t first_ms, due_ms; /* since when it waits, when it is told */
    void (*tell)(void *user, const struct story_line *line);
    void *user;
};

/* The view has changed, and with it the state of `changed` (NULL: of no check). What was waiting is told at once if the verdict or that
 * check has changed already. True: call story_due at due_ms. now_ms is monotonic. */
bool story_update(struct story *story, const struct agent_view *view, const struct check_view *changed, uint64_t now_ms,
                  int64_t wall_ms);
void story_due(struct story *story); /* tells what waits */
void story_fini(struct story *story);

/* agent/report/story_log.c: the line as the log has it. */
void story_log(const struct story_line *line);

#endif
