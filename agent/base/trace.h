/*
 * The record of one round: what was said with the target, in order of time, for people. Each layer that opens connections notes what it does; nobody
 * has to ask whether somebody records, as a NULL trace takes notes and drops them.
 *
 * Bounded: the first lines are kept, and the last ones; the middle is counted. Secrets are masked as a line is noted. A trace owns no
 * memory before its first line.
 */
#ifndef WSHEALTHD_BASE_TRACE_H
#define WSHEALTHD_BASE_TRACE_H

#include "agent/base/buf.h"

enum {
    TRACE_HEAD_MAX = 5 << 10, /* bytes of the first lines */
    TRACE_TAIL_MAX = 3 << 10, /* of the last ones */
    TRACE_EXCERPT_CHARS = 160,
};

enum trace_mark { TRACE_NOTE, TRACE_SENT, TRACE_RECEIVED };

/* What the kernel knows of a TCP connection. */
struct trace_tcp {
    bool known; /* of a unix socket nothing is */
    uint64_t rtt_ns, min_rtt_ns;
    unsigned retransmits; /* segments that were sent again */
    unsigned lost, unacked;
};

struct trace {
    uint64_t started_ns;
    size_t head_max, tail_max; /* 0: as above */
    struct buf head, tail;
    struct {
        uint64_t lines, frames, bytes;
    } dropped;       /* between the two */
    unsigned opened; /* connections so far: each has its number */
    struct trace_tcp tcp;
    /* Of the connection that was opened last, while it is there: brings `tcp` up to date. */
    void (*look)(struct trace *trace, void *user);
    void *user;
};

/* A round begins: what is still there of the last one is dropped, unless it `goes_on`, as that of a session check, whose connections say something
 * between rounds too. */
void trace_begin(struct trace *trace, uint64_t now_ns, bool goes_on);
void trace_look(struct trace *trace); /* the round ends: asks the connection for its last figures */
void trace_fini(struct trace *trace);

/* One line; what is too long for one is cut. */
void trace_note(struct trace *trace, enum trace_mark mark, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same for a frame, whose bytes are counted where the line itself is dropped. */
void trace_frame(struct trace *trace, enum trace_mark mark, uint64_t bytes, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The lines, each ended by \n: "    1.204 < text 5 bytes "hello"", the time in milliseconds since the round's start. */
void trace_write(const struct trace *trace, struct buf *out);

#endif
