/*
 * The event loop, its timers and its signals. Owns the uv_loop_t, the one uv_timer_t behind all timers, and the slabs that sockets
 * read into. Used by everything that waits. Promises that a stopped timer may be freed at once, and that loop_fini frees
 * everything.
 *
 * Timers are a binary heap of pointers; each timer knows its slot, so that starting and stopping cost O(log n). libuv counts in
 * milliseconds since an epoch of CLOCK_MONOTONIC: due times are rounded up to it, and so no timer is early.
 */
#include "agent/net/loop.h"

#include <signal.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/resolve.h"

static void heap_put(struct loop *loop, size_t slot, struct timer *timer)
{
    loop->heap[slot] = timer;
    timer->slot = (uint32_t)slot + 1;
}

static void heap_up(struct loop *loop, size_t slot)
{
    struct timer *timer = loop->heap[slot];
    while (slot > 0 && timer->due_ns < loop->heap[(slot - 1) / 2]->due_ns) {
        heap_put(loop, slot, loop->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    heap_put(loop, slot, timer);
}

static void heap_down(struct loop *loop, size_t slot)
{
    struct timer *timer = loop->heap[slot];
    for (size_t child; (child = 2 * slot + 1) < loop->heap_len; slot = child) {
        if (child + 1 < loop->heap_len && loop->heap[child + 1]->due_ns < loop->heap[child]->due_ns)
            child++;
        if (loop->heap[child]->due_ns >= timer->due_ns)
            break;
        heap_put(loop, slot, loop->heap[child]);
    }
    heap_put(loop, slot, timer);
}

static void heap_remove(struct loop *loop, struct timer *timer)
{
    size_t slot = timer->slot - 1;
    struct timer *last = loop->heap[--loop->heap_len];
    timer->slot = 0;
    if (last == timer)
        return;
    heap_put(loop, slot, last);
    heap_up(loop, slot);
    heap_down(loop, last->slot - 1);
}

static void on_clock(uv_timer_t *clock);

/* Sets the clock to the earliest timer, where that has changed. */
static void rearm(struct loop *loop)
{
    if (loop->heap_len == 0) {
        if (loop->armed_ms != 0)
            uv_timer_stop(&loop->clock);
        loop->armed_ms = 0;
        return;
    }
    uint64_t due_ms = (loop->heap[0]->due_ns + NS_PER_MS - 1) / NS_PER_MS;
    if (due_ms == loop->armed_ms)
        return;
    uint64_t now_ms = uv_now(&loop->uv);
    loop->armed_ms = due_ms;
    uv_timer_start(&loop->clock, on_clock, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

static void on_clock(uv_timer_t *clock)
{
    struct loop *loop = clock->data;
    uint64_t now = uv_hrtime();
    loop->armed_ms = 0;
    /* Timers that are started meanwhile are due after now, even with 0 ms: they wait for the next turn. */
    while (loop->heap_len > 0 && loop->heap[0]->due_ns <= now) {
        struct timer *timer = loop->heap[0];
        heap_remove(loop, timer);
        timer->fn(timer, timer->user);
    }
    rearm(loop);
}

void timer_init(struct timer *timer, struct loop *loop, void (*fn)(struct timer *timer, void *user), void *user)
{
    panic_if(timer->slot != 0);
    *timer = (struct timer){ .loop = loop, .fn = fn, .user = user };
}

void timer_start_ns(struct timer *timer, uint64_t ns)
{
    struct loop *loop = timer->loop;
    uint64_t now = uv_hrtime();
    /* A timer that is started anew keeps its slot, and moves from there. */
    uint64_t due = ns > UINT64_MAX / 2 ? UINT64_MAX / 2 : now + ns + (ns == 0);
    timer->due_ns = due;
    if (timer->slot == 0) {
        if (loop->heap_len == loop->heap_cap) {
            loop->heap_cap = loop->heap_cap == 0 ? 16 : loop->heap_cap * 2;
            panic_if(loop->heap_cap > UINT32_MAX / 2);
            loop->heap = mem_realloc(loop->heap, loop->heap_cap * sizeof *loop->heap);
        }
        heap_put(loop, loop->heap_len++, timer);
    }
    heap_up(loop, timer->slot - 1);
    heap_down(loop, timer->slot - 1);
    rearm(loop);
}

void timer_start(struct timer *timer, uint64_t ms)
{
    timer_start_ns(timer, ms > UINT64_MAX / 2 / NS_PER_MS ? UINT64_MAX / 2 : ms * NS_PER_MS);
}

void timer_stop(struct timer *timer)
{
    if (timer->slot == 0)
        return;
    heap_remove(timer->loop, timer);
    rearm(timer->loop);
}

bool timer_active(const struct timer *timer)
{
    return timer->slot != 0;
}

/* How long this turn has worked: its time without the wait in the kernel. A request that comes during a turn waits for its end, so a long
 * turn is a slow answer. libuv can count its waiting itself (UV_METRICS_IDLE_TIME), and then asks the kernel twice in each turn. */
static uint64_t turn_work_ns(const struct loop *loop, uint64_t now_ns)
{
    if (!loop->polls_ns)
        return now_ns - loop->turn_ns;
    return loop->polls_ns - loop->turn_ns + (loop->woke_ns ? now_ns - loop->woke_ns : 0);
}

static void on_turned(uv_check_t *check)
{
    struct loop *loop = check->data;
    uint64_t now_ns = uv_hrtime(), work_ns = turn_work_ns(loop, now_ns);
    loop->turn_ns = now_ns;
    loop->polls_ns = loop->woke_ns = 0;
    if (work_ns > loop->longest_ns)
        loop->longest_ns = work_ns;
    prom_observe(&loop->turns, (double)work_ns / 1e9);
}

uint64_t loop_take_longest(struct loop *loop)
{
    uint64_t work_ns = turn_work_ns(loop, uv_hrtime());
    uint64_t longest_ns = work_ns > loop->longest_ns ? work_ns : loop->longest_ns;
    loop->longest_ns = 0;
    return longest_ns;
}

/* No stream was put off, so all have been read: a new round begins. */
static void on_turn(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    loop->turn++;
    if (!loop->refused)
        loop->round++;
    loop->refused = false;
    loop->read_ns = loop->work_ns = 0;
    loop->woke_ns = 0;
    loop->polls_ns = uv_hrtime();
}

bool loop_work(const struct loop *loop, uint64_t *began_ns)
{
    *began_ns = uv_hrtime();
    return loop->work_ns < (uint64_t)LOOP_TURN_US * 1000;
}

void loop_work_done(struct loop *loop, uint64_t began_ns)
{
    loop->work_ns += uv_hrtime() - began_ns;
}

int loop_init(struct loop *loop, struct err *err)
{
    memset(loop, 0, sizeof *loop);
    int status = uv_loop_init(&loop->uv);
    if (status != 0)
        return err_set(err, REASON_AGENT_ERROR, -status, "cannot make an event loop: %s", uv_strerror(status));
    signal(SIGPIPE, SIG_IGN);
    loop->uv.data = loop;
    uv_timer_init(&loop->uv, &loop->clock);
    loop->clock.data = loop;
    uv_check_init(&loop->uv, &loop->turned);
    loop->turned.data = loop;
    loop->turn_ns = uv_hrtime();
    uv_check_start(&loop->turned, on_turned);
    uv_unref((uv_handle_t *)&loop->turned);
    uv_prepare_init(&loop->uv, &loop->opens_turn);
    loop->opens_turn.data = loop;
    uv_prepare_start(&loop->opens_turn, on_turn);
    uv_unref((uv_handle_t *)&loop->opens_turn);
    loop->turn = loop->round = 1;
    list_init(&loop->pages);
    loop->slab = mem_map(LOOP_SLAB_BYTES);
    return 0;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

struct unclosed {
    const struct loop *loop;
    size_t count;
};

/* Counts the handles that their owners forgot to close. */
static void count_unclosed(uv_handle_t *handle, void *user)
{
    struct unclosed *unclosed = user;
    const struct loop *loop = unclosed->loop;
    bool ours = handle == (const uv_handle_t *)&loop->clock || handle == (const uv_handle_t *)&loop->turned ||
                handle == (const uv_handle_t *)&loop->opens_turn;
    unclosed->count += !ours && !uv_is_closing(handle);
}

static void drop_timers(struct loop *loop)
{
    size_t seen = loop->heap_len;
    loop->heap_len = 0;
    for (size_t i = 0; i < seen; i++) {
        struct timer *timer = loop->heap[i];
        timer->slot = 0;
        if (!timer->internal)
            continue;
        heap_put(loop, loop->heap_len++, timer);
        heap_up(loop, timer->slot - 1);
    }
    rearm(loop);
}

/* With more than LINGERING_FEW, clients that do not close their side get less time; with four times as many, none. */
uint32_t loop_linger_ms(const struct loop *loop)
{
    enum { LONG_MS = 500, SHORT_MS = 50, LINGERING_FEW = 64 };

    return loop->lingering < LINGERING_FEW ? LONG_MS : loop->lingering < 4 * LINGERING_FEW ? SHORT_MS : 1;
}

void loop_fini(struct loop *loop)
{
    drop_timers(loop);
    resolver_close(loop);
    struct unclosed unclosed = { .loop = loop };
    uv_walk(&loop->uv, count_unclosed, &unclosed);
    /* Lingering streams end by themselves. Any other open handle would make this wait for ever. */
    panic_if(unclosed.count != loop->lingering);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&loop->clock, NULL);
    uv_close((uv_handle_t *)&loop->turned, NULL);
    uv_close((uv_handle_t *)&loop->opens_turn, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int status = uv_loop_close(&loop->uv);
    panic_if(status != 0);
    stream_places_free(loop);
    mem_free(loop->heap);
    mem_unmap(loop->slab, LOOP_SLAB_BYTES);
    mem_unmap(loop->plain_slab, LOOP_SLAB_BYTES);
    memset(loop, 0, sizeof *loop);
}

static void on_signal(uv_signal_t *uv, int number)
{
    struct loop_signal *sig = uv->data;
    loop_woke(uv->loop->data);
    sig->fn(sig->user, number);
}

int loop_signal_open(struct loop_signal *sig, struct loop *loop, int number, void (*fn)(void *user, int number), void *user)
{
    sig->fn = fn;
    sig->user = user;
    int status = uv_signal_init(&loop->uv, &sig->uv);
    if (status != 0)
        return status;
    sig->uv.data = sig;
    status = uv_signal_start(&sig->uv, on_signal, number);
    if (status != 0)
        uv_close((uv_handle_t *)&sig->uv, NULL);
    uv_unref((uv_handle_t *)&sig->uv);
    return status;
}

void loop_signal_close(struct loop_signal *sig)
{
    uv_close((uv_handle_t *)&sig->uv, NULL);
}
