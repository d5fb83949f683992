/*
 * The record of one round: what was said with the target, in order of time, for people. Each layer that opens connections notes what it does; nobody
 * has to ask whether somebody records, as a NULL trace takes notes and drops them.
 *
 * Bounded: the first lines are kept, and the last ones; the middle is counted. Secrets are masked as a line is made. A trace owns no
 * memory before its first line.
 *
 * To make lines costs more than the round itself, and most rounds pass and are never looked at. A `lazy` trace therefore keeps what is noted
 * with trace_later as bytes, and makes lines of them only once the round is to be kept (trace_flush). Until then it may hold secrets; it wipes them.
 */
#ifndef WSHEALTHD_BASE_TRACE_H
#define WSHEALTHD_BASE_TRACE_H

#include "agent/base/buf.h"

enum {
    TRACE_HEAD_MAX = 5 << 10,    /* bytes of the first lines */
    TRACE_ALL_BYTES = 256 << 10, /* the same for a command that shows all of it */
    TRACE_TAIL_MAX = 3 << 10,    /* of the last ones */
    TRACE_BURST = 32,
    TRACE_BURST_MS = 100,
    TRACE_EXCERPT_CHARS = 120, /* of a message or a body */
    TRACE_EXCERPT_BYTES = 200,
    TRACE_LATER_MAX = 1 << 10, /* bytes of one note that waits for its lines */
    TRACE_LATER_ALL = 5 << 9,  /* and of all of them */
};

enum trace_mark { TRACE_NOTE, TRACE_SENT, TRACE_RECEIVED };

/* Who notes: of several connections in one round each has a number, which its lines begin with; 0 and 1 are not shown. */
struct trace_by {
    enum trace_mark mark;
    unsigned number;
    bool continues; /* the line belongs to the one before: its time is not shown */
    bool is_frame;  /* counted as one where the line itself is dropped, with its bytes */
    uint64_t bytes;
};

/* What the kernel knows of a TCP connection. */
struct trace_tcp {
    bool known; /* of a unix socket nothing is */
    uint64_t rtt_ns, min_rtt_ns;
    unsigned retransmits; /* segments that were sent again */
    unsigned lost, unacked;
};

struct trace {
    uint64_t started_ns;
    int64_t wall_ms;           /* of a taken one: when the round ended */
    bool closed;               /* no round is under way */
    size_t head_max, tail_max; /* 0: as above */
    struct buf head, tail;
    bool lazy;                /* of the owner */
    bool eager;               /* what waited is lines now, and all that follows in this round becomes lines at once */
    uint64_t at_ns;           /* the time of the notes that are made; 0: now */
    struct buf later;         /* what waits to become lines */
    unsigned later_forgotten; /* secret_forgotten() as it began to wait */
    struct {
        uint64_t lines, frames, bytes;
    } dropped; /* between the two */
    struct {
        uint64_t since_ns;
        unsigned count;
    } burst; /* of trace_frame_counts */
    struct {
        unsigned number; /* of the connection */
        struct buf end;  /* of the last message each way, as it was: a secret may go on in the next */
    } said[TRACE_RECEIVED + 1];
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
void trace_note_by(struct trace *trace, const struct trace_by *by, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Before a line is made for a frame of data: of a peer that sends thousands in a second, only TRACE_BURST in TRACE_BURST_MS have lines of their
 * own, and the others are counted, since a line costs more than to read the frame. True: it is counted, and that was all. */
bool trace_only_counts(struct trace *trace, uint64_t bytes);
/* A secret became known that lines before may show: masks them anew. */
void trace_mask(struct trace *trace);
/* How much of the front of a message belongs to a secret that began in the message before it on its connection; and keeps its own end for the
 * next. A message whose bytes are not at hand is an empty one. */
size_t trace_secret_rest(struct trace *trace, const struct trace_by *by, struct slice message);
unsigned trace_connection(struct trace *trace); /* one more is opened: its number. 0 where nobody records */

/* Makes the lines of a note from the bytes of trace_later, with trace_note_by. */
typedef void trace_maker(struct trace *trace, const struct trace_by *by, struct slice bytes);
/* As if `make` were called now. A lazy trace copies the bytes and calls it with them later, or never; where they are too many, or a secret is
 * lent, which will not be known later, it calls it now. */
void trace_later(struct trace *trace, const struct trace_by *by, trace_maker *make, struct slice bytes);
void trace_flush(struct trace *trace);              /* makes lines of what waits */
void trace_drop(struct trace *trace, bool goes_on); /* as trace_take, of a round that nobody is to read */

/* The round is over, and no note is taken before the next one begins. Its lines as a trace of their own, to be read; NULL: there are none. */
struct trace *trace_take(struct trace *trace, int64_t wall_ms, bool goes_on);
void trace_free(struct trace *taken); /* NULL is fine */

/* The lines, each ended by \n: "    1.204 < text ... "hello"", the time in milliseconds since the round's start. */
void trace_write(const struct trace *trace, struct buf *out);

#endif
