/*
 * How many lines of one kind the log takes. Called by agent/base/log.c alone. A kind is an event and whom it is about (a check, a broker).
 * Promises that the first line of a kind, and the first with a new reason, are always written, and that what is left out is counted.
 */
#ifndef WSHEALTHD_BASE_LOG_RATE_H
#define WSHEALTHD_BASE_LOG_RATE_H

#include <stdbool.h>
#include <stdint.h>

enum { LOG_RATE_KINDS = 512, LOG_RATE_SUBJECT_MAX = 64 };

/* Of each kind: so many at once, and one more for each refill. Verdicts have a wider bound, as they are what the log is read for. */
enum { LOG_RATE_BURST = 10, LOG_RATE_REFILL_MS = 10000, LOG_RATE_VERDICT_BURST = 60, LOG_RATE_VERDICT_REFILL_MS = 1000 };

struct log_kind {
    uint64_t hash; /* 0: unused */
    uint64_t last_ms, refill_ms;
    uint64_t reasons;   /* a bit for each reason that was seen, by its hash */
    unsigned left;      /* lines that may be written now */
    unsigned long more; /* lines left out since the last log_more */
    bool verdict;
    const char *event; /* a literal */
    char subject[LOG_RATE_SUBJECT_MAX];
};

/* May this line be written? event is a literal; subject and reason may be NULL. */
bool log_rate_take(const char *event, const char *subject, const char *reason, bool verdict, uint64_t now_ms);
/* A kind that has left out lines, and may now say so; NULL: none. Its count is the caller's to set to 0. Call until NULL. */
struct log_kind *log_rate_owing(uint64_t now_ms);
void log_rate_forget(void); /* forgets all kinds and what they left out */

#endif
