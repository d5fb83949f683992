/*
 * Servers, and what stands before them, count bad logins, and lock out the address of who has too many. So a good token (or Origin) that is
 * refused after bad ones of the agent's own were refused, and was taken before them, is the agent's own doing: it says nothing about what
 * clients get. Pure: for checks that ask what a server refuses.
 */
#ifndef WSHEALTHD_CORE_BAN_H
#define WSHEALTHD_CORE_BAN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BAN_PAUSE_MS = 600000, /* without bad tries, once the good one is taken again; twice as long after each further ban */
    BAN_MAX_MS = 86400000, /* such a pause at most; and who is refused for longer than that is not banned */
};

struct ban {           /* zeroed first */
    bool was_taken;    /* the good one, at least once */
    bool tried;        /* a bad one was refused, since the good one was taken */
    uint64_t since_ns; /* the good one is refused for that since then; 0: it is not */
    unsigned count;
};

/* The good one was taken. How long to try no bad ones: 0 where no ban has just ended. */
uint64_t ban_note_taken(struct ban *ban);
void ban_note_tried(struct ban *ban); /* a bad one was refused */
/* The good one was refused. Is that for the bad ones? */
bool ban_note_refused(struct ban *ban, uint64_t now_ns);
uint64_t ban_pause_ms(const struct ban *ban);

#endif
