/*
 * See agent/http/agent_check.h. A connection is over in the call that accepts it: its line is smaller than any socket's buffer, so
 * nothing waits for a reader. What is left is the half-closed socket, which is read until the client closes, so that a client that still
 * sends gets no RST before it has read the line. The more of them there are, the shorter each may take.
 */
#include "agent/http/agent_check.h"

#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/conf/conf.h"
#include "agent/report/report.h"

enum {
    SHORT_MS = 100, /* out of descriptors: when to try again */
    SOCKET_BYTES = 4 << 10,
    PERCENT = 100
};

struct agent_check {
    struct loop *loop;
    struct listener *listener;
    struct agent_check_source source;
    struct timer hold;
    uint64_t hold_until_ms;
    bool held; /* accepting has stopped */
};

/* --- the line --- */

static bool gates_ready(const struct check_view *check)
{
    return check->gates & GATE_READY;
}

/* Full at max_connections, and half of that is far enough from it. */
static unsigned weight_of(const struct server_stats *stats)
{
    uint64_t max = stats->max_connections, half = max / 2, now = stats->connections[SERVER_ESTABLISHED];

    if (!max || !stats->have_connections || now <= max - half)
        return PERCENT;
    unsigned weight = now < max ? (unsigned)((max - now) * PERCENT / half) : 0;
    return weight ? weight : 1; /* 0 is for those that are not ready */
}

static unsigned least_weight(const struct agent_view *view)
{
    unsigned least = PERCENT;

    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        unsigned weight = gates_ready(check) && check->stats.server ? weight_of(check->stats.server) : PERCENT;

        least = weight < least ? weight : least;
    }
    return least;
}

/* The reason of the first fault that is this instance's, or else of the first; NULL: no check that gates is in fail. */
static const char *first_fault(const struct agent_view *view)
{
    const char *any = NULL;

    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        struct check_fault fault;

        if (!gates_ready(check) || check->health.state != STATE_FAIL || !check_fault_of(check, &fault))
            continue;
        if (fault.scope == SCOPE_LOCAL)
            return reason_name(fault.reason);
        any = any ? any : reason_name(fault.reason);
    }
    return any;
}

void agent_check_line(const struct agent_view *view, unsigned degraded_weight, char out[AGENT_CHECK_LINE_MAX])
{
    const struct verdict *verdict = &view->verdict;
    const char *fault;

    if (verdict->draining) {
        snprintf(out, AGENT_CHECK_LINE_MAX, "up drain");
        return;
    }
    if (verdict->ready) {
        unsigned weight = least_weight(view);

        if (verdict->degraded && degraded_weight < weight)
            weight = degraded_weight;
        snprintf(out, AGENT_CHECK_LINE_MAX, "up ready %u%%", weight);
        return;
    }
    fault = first_fault(view);
    if (report_is_full(view))
        snprintf(out, AGENT_CHECK_LINE_MAX, "up ready 0%%");
    else
        snprintf(out, AGENT_CHECK_LINE_MAX, "down #%s", fault ? fault : "starting");
}

/* --- connections --- */

static void on_data(void *user, struct slice data)
{
    (void)user;
    (void)data;
}

static void on_end(void *user, const struct err *err)
{
    (void)user;
    (void)err;
}

static const struct stream_events stream_events = { .on_data = on_data, .on_end = on_end };

static void on_accept(void *user, struct stream *stream)
{
    struct agent_check *responder = user;
    const struct agent_check_source *source = &responder->source;
    char words[AGENT_CHECK_LINE_MAX], line[AGENT_CHECK_LINE_MAX + 1];

    agent_check_line(source->view(source->user), source->degraded_weight(source->user), words);
    snprintf(line, sizeof line, "%s\n", words);
    stream_start(stream, &stream_events, NULL);
    if (stream_write(stream, slice_str(line)) < 0)
        stream_abort(stream);
    else
        stream_close(stream, loop_linger_ms(responder->loop));
}

/* --- the first second --- */

static bool knows(const struct agent_check *responder)
{
    const struct agent_view *view = responder->source.view(responder->source.user);

    return view->verdict.ready || view->verdict.draining || first_fault(view) || clock_now_ms() >= responder->hold_until_ms;
}

static bool has_room(void *user)
{
    return knows(user);
}

/* There is nothing to say yet, or there are no descriptors. */
static void on_full(void *user)
{
    struct agent_check *responder = user;
    uint64_t now_ms = clock_now_ms();

    responder->held = true;
    timer_start(&responder->hold, knows(responder) ? SHORT_MS : responder->hold_until_ms - now_ms);
}

void agent_check_wake(struct agent_check *responder)
{
    if (!responder->held || !knows(responder))
        return;
    responder->held = false;
    timer_stop(&responder->hold);
    listener_resume(responder->listener);
}

static void on_hold_over(struct timer *timer, void *user)
{
    (void)timer;
    if (knows(user))
        agent_check_wake(user);
    else
        on_full(user);
}

/* --- its life --- */

struct agent_check *agent_check_open(struct loop *loop, const struct listen_address *address, int fd,
                                     const struct agent_check_source *source, struct err *err)
{
    const struct listen_options options = {
        .fd = fd, .receive_bytes = SOCKET_BYTES, .unsent_bytes = SOCKET_BYTES, .has_room = has_room, .on_full = on_full
    };
    struct agent_check *responder = mem_alloc(sizeof *responder);

    responder->loop = loop;
    responder->source = *source;
    responder->hold_until_ms = clock_now_ms() + AGENT_CHECK_HOLD_MS;
    timer_init(&responder->hold, loop, on_hold_over, responder);
    responder->listener = listener_open(loop, address, &options, on_accept, responder, err);
    if (responder->listener)
        return responder;
    mem_free(responder);
    return NULL;
}

void agent_check_close(struct agent_check *responder)
{
    timer_stop(&responder->hold);
    listener_close(responder->listener);
    mem_free(responder);
}

bool agent_check_lost(const struct agent_check *responder)
{
    return listener_lost(responder->listener);
}

uint16_t agent_check_port(const struct agent_check *responder)
{
    return listener_port(responder->listener);
}
