/*
 * The event loop and its timers. One loop, one thread. A timer is a plain member of its owner's struct. When it is stopped, its
 * memory may be freed at once (a heap over one uv_timer_t); libuv's own timers need a close callback.
 */
#ifndef WSHEALTHD_NET_LOOP_H
#define WSHEALTHD_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/base/err.h"
#include "agent/base/list.h"
#include "agent/proto/prom.h"

enum {
    LOOP_SLAB_BYTES = 65536,
    LOOP_TURN_BYTES = 16384, /* of a stream that takes turns (agent/net/stream.h), in one turn of the loop */
    LOOP_TURN_US = 4000,     /* of all these streams together, in one turn; and as much again for what was put off (loop_work) */
};

struct timer;
struct resolver;
struct loop {
    uv_loop_t uv;
    uv_timer_t clock;            /* fires for the earliest timer of the heap */
    uv_check_t turned;           /* after each turn */
    uint64_t turn_ns;            /* when the last turn ended */
    uint64_t polls_ns;           /* when this turn asked the kernel what has come; 0: not yet */
    uint64_t woke_ns;            /* and when the first callback for that ran; 0: none has */
    uint64_t longest_ns;         /* the longest turn since loop_take_longest */
    struct prom_histogram turns; /* how long each turn worked; a request that comes in a turn may wait so long */
    uint64_t armed_ms;           /* what the clock is set to, on libuv's time; 0: not running */
    struct timer **heap;         /* by due_ns */
    uv_prepare_t opens_turn;     /* begins a turn, before sockets are looked at */
    size_t heap_len, heap_cap;
    struct list pages;         /* of streams, with room (agent/net/stream_pool.c) */
    uint8_t *slab;             /* what sockets read into; valid during one on_data only */
    uint8_t *plain_slab;       /* what TLS decrypts into, likewise; NULL until the first TLS stream */
    size_t lingering;          /* streams that are closed and wait for their peer's FIN */
    uint16_t turn;             /* the number of this one */
    uint16_t round;            /* of turns in which each stream that takes turns is read once */
    bool refused;              /* one of them was not read in this turn: its round is not over */
    uint64_t read_ns, work_ns; /* what this turn has spent on reading them, and on what was put off */
    struct resolver *resolver; /* agent/net/resolve.c; NULL until the first name is looked up */
};

/* A deadline or a repetition. Zero it, then timer_init. Real time, to the millisecond, never early. */
struct timer {
    struct loop *loop;
    void (*fn)(struct timer *timer, void *user);
    void *user;
    uint64_t due_ns;
    uint32_t slot; /* in the heap, plus one; 0: not running */
    bool internal; /* of a stream that is closing: goes on in loop_fini, where all others are dropped */
};

/* Also ignores SIGPIPE in the whole process, so that a write to a closed socket is an error and does not end the process. */
int loop_init(struct loop *loop, struct err *err);
void loop_run(struct loop *loop); /* until loop_stop, or nothing is left to wait for */
void loop_stop(struct loop *loop);
/* The kernel has answered: called first by each callback of libuv's for a descriptor, so that the loop knows how long it slept. */
static inline void loop_woke(struct loop *loop)
{
    if (!loop->woke_ns)
        loop->woke_ns = uv_hrtime();
}
uint64_t loop_take_longest(struct loop *loop); /* the longest turn since the last call, in ns, up to this moment */
/* Waits for the lingering streams, at most for the longest linger_ms, then frees. Their owners have closed every stream, listener,
 * signal and dial before (anything else is a leak, and panics). Timers need not be stopped, but their memory must still be there. A
 * name that is still being looked up is abandoned. */
void loop_fini(struct loop *loop);
/* For stream_close of a client's connection: how long it may wait for the client's FIN. It holds a descriptor meanwhile, so the more of
 * them there are, the shorter it is. Not 0. */
uint32_t loop_linger_ms(const struct loop *loop);
void stream_places_free(struct loop *loop); /* agent/net/stream_pool.c, for loop_fini */

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(struct timer *timer, void *user), void *user);
void timer_start(struct timer *timer, uint64_t ms); /* once; starts anew when it runs; 0: in the next turn */
void timer_start_ns(struct timer *timer, uint64_t ns);
void timer_stop(struct timer *timer);
bool timer_active(const struct timer *timer);

/* Work whose cost a peer decides is cut into pieces, each started by a timer of 0 ms. May one more piece be done in this turn? If
 * so, call loop_work_done after it, with the time since loop_work. False: try again in the next turn. */
bool loop_work(const struct loop *loop, uint64_t *began_ns);
void loop_work_done(struct loop *loop, uint64_t began_ns);

/* Signals, on the loop; they do not keep it running. fn gets the number. At most LOOP_SIGNALS_MAX in the process. */
enum { LOOP_SIGNALS_MAX = 8 };
struct loop_signal {
    uv_signal_t uv;
    void (*fn)(void *user, int number);
    void *user;
};
int loop_signal_open(struct loop_signal *sig, struct loop *loop, int number, void (*fn)(void *user, int number), void *user);
void loop_signal_close(struct loop_signal *sig); /* its memory must outlive loop_fini */

#endif
