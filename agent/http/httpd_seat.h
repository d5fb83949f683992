/*
 * Which connection the HTTP server closes when it is full. A pure function over the state of each connection, so that its test is a
 * table of cases. Called by agent/http/httpd_room.c.
 */
#ifndef WSHEALTHD_HTTP_HTTPD_SEAT_H
#define WSHEALTHD_HTTP_HTTPD_SEAT_H

#include <stddef.h>
#include <stdint.h>

enum {
    SEAT_GRACE_MS = 250, /* a client that has just connected, or has just been answered, has so long to send a request */
    SEAT_CROWD_GRACE_MS =
        50, /* the same for an address with more than half of all connections, when no other connection may be closed */
    SEAT_STALLED_MS = 1000, /* an answer is stalled when the client has read nothing of it for so long */
    SEAT_NOBODY = -1,
};

enum seat_state {
    SEAT_OWES,   /* the client owes a request, or the rest of one */
    SEAT_IDLE,   /* between requests */
    SEAT_TAKES,  /* the client has not read all of its answer */
    SEAT_STREAM, /* it reads a stream, and has read all of it so far */
    SEAT_SERVED, /* a whole request waits for its turn: never chosen */
};
struct seat {
    enum seat_state state;
    uint64_t since_ms; /* since when in this state; SEAT_TAKES: since the client last read something */
    size_t fellows;    /* connections of the same address, this one included */
};

/*
 * The index of the connection to close, or SEAT_NOBODY: *again_ms is then how long it takes until one may be closed.
 *
 * The connections of an address with more than half of all are closed before others, so that a flood pays for itself. Among them, and then
 * among the others, the order is: clients that owe a request; clients that have read nothing of an answer for a second; idle ones; clients
 * that read an answer slowly; those that read a stream. Among equals the one that has been so for longest. Idle clients come after those that owe a request: a kept
 * connection owes nothing, and a client that has just been answered may be about to ask again.
 */
ptrdiff_t seat_choose(const struct seat *seats, size_t count, uint64_t now_ms, uint64_t *again_ms);

#endif
