/*
 * Who has to go when the HTTP server is full: a pure function over what is known of each connection, so that the policy is a table of
 * cases in its test. Called by agent/http/httpd.c.
 */
#ifndef WSHEALTHD_HTTP_HTTPD_SEAT_H
#define WSHEALTHD_HTTP_HTTPD_SEAT_H

#include <stddef.h>
#include <stdint.h>

enum {
    SEAT_GRACE_MS = 250,      /* whoever has just come, or has just been answered, may say what it wants */
    SEAT_CROWD_GRACE_MS = 50, /* the same for an address that holds more than half of all, where nobody else can go */
    SEAT_STALLED_MS = 1000,   /* an answer of which nothing was taken for so long */
    SEAT_NOBODY = -1,
};

enum seat_state {
    SEAT_OWES,   /* a request, or the rest of one */
    SEAT_IDLE,   /* between requests */
    SEAT_TAKES,  /* an answer, and has not taken all of it */
    SEAT_SERVED, /* it has brought a request that waits for its turn: never chosen */
};
struct seat {
    enum seat_state state;
    uint64_t since_ms; /* in the state; SEAT_TAKES: since it last took something */
    size_t fellows;    /* connections of the same address, this one included */
};

/* The index of the seat to be cleared, or SEAT_NOBODY: *again_ms is then how long it takes until somebody may be chosen.
 *
 * An address that holds more than half of all goes before others: a flood clears its own places. Then, those who owe a request; those who
 * let an answer lie for a second; the idle; those who take an answer slowly. A kept connection between requests owes nothing, and a client
 * that has just been answered may be about to ask again. Among equals the one that has been so longest. */
ptrdiff_t seat_choose(const struct seat *seats, size_t count, uint64_t now_ms, uint64_t *again_ms);

#endif
