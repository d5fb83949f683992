/*
 * From an address to an open stream. Owns the lookup, the attempts to connect and the TLS handshake until one of them is handed
 * over. The engine, the HTTP client and the tests dial.
 *
 * Each attempt is a stream and a connect request of its own. libuv calls back for every request, the cancelled ones too: an attempt
 * whose dial has ended frees itself then.
 */
#include "agent/net/dial.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/dial_impl.h"
#include "agent/net/own_sockets.h"
#include "agent/net/resolve.h"
#include "agent/net/stream_impl.h"

struct attempt {
    uv_connect_t req;  /* first: requests are attempts */
    struct dial *dial; /* NULL: the dial has ended */
    struct stream *stream;
    struct attempt *next;
    char address[128];
};

struct dial {
    struct loop *loop;
    struct dial_target target;
    const struct dial_events *events;
    void *user;
    struct dial_report *report;
    struct lookup *lookup;    /* while it runs */
    struct attempt *attempts; /* in flight */
    struct stream *securing;  /* connected, in the TLS handshake */
    struct timer timer;       /* the next attempt, or the failure that dial_start met */
    uint64_t phase_start_ns;
    struct sockaddr_storage addresses[DIAL_ADDRESSES_MAX];
    unsigned address_count, address_next;
    struct err failure; /* the error to report so far: see reason_weight() */
};

/* Writes the time that the current phase has taken into the report. */
static void clock_phase(const struct dial *dial)
{
    uint64_t spent = clock_now_ns() - dial->phase_start_ns;
    if (!dial->report->resolved)
        dial->report->resolve_ns = spent;
    else if (!dial->report->connected)
        dial->report->connect_ns = spent;
    else if (!dial->report->secured)
        dial->report->tls_ns = spent;
}

static void drop_attempts(struct dial *dial)
{
    for (struct attempt *attempt = dial->attempts, *next; attempt; attempt = next) {
        next = attempt->next;
        attempt->dial = NULL;
        stream_kill(attempt->stream);
    }
    dial->attempts = NULL;
}

static void dial_free(struct dial *dial)
{
    timer_stop(&dial->timer);
    if (dial->lookup) {
        dial->report->resolve_queued = resolve_is_queued(dial->lookup);
        dial->report->lookup = NULL;
        resolve_cancel(dial->lookup);
    }
    drop_attempts(dial);
    if (dial->securing)
        stream_close_now(dial->securing); /* our TLS alert, if there is one, has been written */
    tls_context_unref(dial->target.tls);
    mem_free(dial);
}

static void succeed(struct dial *dial, struct stream *stream)
{
    const struct dial_events *events = dial->events;
    void *user = dial->user;
    dial->securing = NULL;
    dial_free(dial);
    events->on_open(user, stream);
    if (!stream->started && !stream->closing) /* its memory lasts for this turn, whatever on_open did */
        stream_read_off(stream);
}

static void fail(struct dial *dial, const struct err *err)
{
    const struct dial_events *events = dial->events;
    void *user = dial->user;
    struct err copy = *err;
    clock_phase(dial);
    dial_free(dial);
    events->on_fail(user, &copy);
}

void dial_cancel(struct dial *dial)
{
    clock_phase(dial);
    if (dial->securing) {
        stream_tls_info(dial->securing, &dial->report->tls);
        dial->report->tls_answered = stream_tls_answered(dial->securing);
    }
    dial_free(dial);
}

/* --- TLS ------------------------------------------------------------------------------------------------------------ */

static void on_secured(void *user, const struct err *err)
{
    struct dial *dial = user;
    stream_tls_info(dial->securing, &dial->report->tls);
    dial->report->tls_answered = stream_tls_answered(dial->securing);
    clock_phase(dial);
    dial_trace_tls(&dial->target, dial->securing, err);
    if (!err) {
        dial->report->secured = true;
        succeed(dial, dial->securing);
        return;
    }
    struct err full = *err;
    err_prefix(&full, "TLS with %s", dial->report->address);
    fail(dial, &full);
}

static void secure(struct dial *dial, struct stream *stream)
{
    struct err err;
    const char *name = dial->target.server_name ? dial->target.server_name : dial->target.url->host;
    dial->phase_start_ns = clock_now_ns();
    dial->securing = stream;
    if (stream_tls_begin(stream, dial->target.tls, name, dial->target.http2 ? "\x02h2" : NULL, on_secured, dial, &err) != 0)
        on_secured(dial, &err);
}

/* --- the PROXY protocol's header ------------------------------------------------------------------------------------ */

/* The send buffer is empty, so this cannot be partial. An error is found by the next read or write. */
static void introduce(const struct dial *dial, struct stream *stream)
{
    struct buf header = BUF_INIT(PROXY_HEADER_MAX);
    struct sockaddr_storage from, to;
    int from_len = sizeof from, to_len = sizeof to;
    bool known = !dial->target.url->is_unix && uv_tcp_getsockname(&stream->uv.tcp, (struct sockaddr *)&from, &from_len) == 0 &&
                 uv_tcp_getpeername(&stream->uv.tcp, (struct sockaddr *)&to, &to_len) == 0;
    proxy_write(&header, dial->target.proxy, known ? (const struct sockaddr *)&from : NULL,
                known ? (const struct sockaddr *)&to : NULL);
    stream_write(stream, buf_slice(&header));
    buf_fini(&header);
}

/* --- connecting ----------------------------------------------------------------------------------------------------- */

static void connect_next(struct dial *dial);

/* Which of several failures is reported: refused before timed out before unreachable. */
static int reason_weight(enum reason reason)
{
    return reason == REASON_CONNECT_REFUSED ? 3 : reason == REASON_CONNECT_TIMEOUT ? 2 : 1;
}

static void attempt_failed(struct dial *dial, const char *address, int status)
{
    struct err err;
    dial_trace_failed(&dial->target, address, status);
    dial_connect_err(&dial->target, address, dial->address_count, status, &err);
    if (reason_weight(err.reason) >= reason_weight(dial->failure.reason))
        dial->failure = err;
    if (err.reason == REASON_AGENT_ERROR) { /* the next attempt would fail in the same way */
        dial->failure = err;
        dial->address_next = dial->address_count;
    }
}

/* The agent's own end is shown in the trace, and the server's kernel figures are without it. */
static void note_connected(const struct dial *dial, const struct stream *stream, const char *address)
{
    struct sockaddr_storage own;
    int len = sizeof own;
    bool known = !dial->target.url->is_unix && uv_tcp_getsockname(&stream->uv.tcp, (struct sockaddr *)&own, &len) == 0;

    if (known)
        own_sockets_dialled(&own);
    dial_trace_connected(&dial->target, known ? &own : NULL, address);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct attempt *attempt = (struct attempt *)req;
    loop_woke(req->handle->loop->data);
    struct dial *dial = attempt->dial;
    struct stream *stream = attempt->stream;
    if (!dial) {
        mem_free(attempt);
        return;
    }
    for (struct attempt **link = &dial->attempts; *link; link = &(*link)->next)
        if (*link == attempt) {
            *link = attempt->next;
            break;
        }
    snprintf(dial->report->address, sizeof dial->report->address, "%s", attempt->address);
    if (status == 0) {
        stream_opened(stream);
        clock_phase(dial);
        dial->report->connected = true;
        timer_stop(&dial->timer);
        drop_attempts(dial);
        note_connected(dial, stream, attempt->address);
        mem_free(attempt);
        if (dial->target.proxy != PROXY_OFF)
            introduce(dial, stream);
        if (dial->target.tls)
            secure(dial, stream);
        else
            succeed(dial, stream);
        if (!stream->closing) /* its memory lasts for this turn. From here on a peer that waits for its ACK gets it at once */
            stream_quick_ack(stream, true);
        return;
    }
    stream_kill(stream);
    attempt_failed(dial, attempt->address, status);
    mem_free(attempt);
    if (dial->address_next < dial->address_count)
        connect_next(dial);
    else if (!dial->attempts)
        fail(dial, &dial->failure);
}

static int begin(struct dial *dial, struct attempt *attempt, const struct sockaddr_storage *address)
{
    if (!address) {
        uv_pipe_connect(&attempt->req, &attempt->stream->uv.pipe, dial->target.url->unix_path, on_connected);
        return 0;
    }
    return uv_tcp_connect(&attempt->req, &attempt->stream->uv.tcp, (const struct sockaddr *)address, on_connected);
}

/* One attempt, to an address or, with NULL, to the unix socket. False: it failed at once. */
static bool attempt_start(struct dial *dial, const struct sockaddr_storage *address)
{
    struct attempt *attempt = mem_alloc(sizeof *attempt);
    attempt->dial = dial;
    attempt->stream = stream_new(dial->loop, address ? address->ss_family : AF_UNIX);
    stream_quick_ack(attempt->stream, false); /* we speak first: the last packet of TCP's handshake goes with that */
    dial_address_text(&dial->target, address, attempt->address, sizeof attempt->address);
    snprintf(dial->report->address, sizeof dial->report->address, "%s", attempt->address);
    dial_trace_attempt(&dial->target, attempt->address);
    int status = begin(dial, attempt, address);
    if (status != 0) {
        stream_kill(attempt->stream);
        attempt_failed(dial, attempt->address, status);
        mem_free(attempt);
        return false;
    }
    /* Asking for both directions at once saves libuv two calls of epoll_ctl when the connection is there: reading stays on. */
    stream_read_on(attempt->stream);
    attempt->next = dial->attempts;
    dial->attempts = attempt;
    return true;
}

/* Starts the next attempt that does not fail at once. With none left the timer brings the failure: this may run inside dial_start. */
static void connect_next(struct dial *dial)
{
    timer_stop(&dial->timer);
    while (dial->address_next < dial->address_count) {
        if (!attempt_start(dial, &dial->addresses[dial->address_next++]))
            continue;
        if (dial->address_next < dial->address_count)
            timer_start(&dial->timer, DIAL_STAGGER_MS);
        return;
    }
    if (!dial->attempts)
        timer_start(&dial->timer, 0);
}

static void on_timer(struct timer *timer, void *user)
{
    (void)timer;
    struct dial *dial = user;
    if (dial->address_next < dial->address_count)
        connect_next(dial);
    else
        fail(dial, &dial->failure);
}

static void start_connecting(struct dial *dial)
{
    clock_phase(dial);
    dial->report->resolved = true;
    dial->phase_start_ns = clock_now_ns();
    if (dial->target.url->is_unix)
        attempt_start(dial, NULL);
    else
        connect_next(dial);
}

/* --- resolving ------------------------------------------------------------------------------------------------------ */

static void add_address(struct dial *dial, const struct sockaddr_storage *address)
{
    struct sockaddr_storage *slot = &dial->addresses[dial->address_count++];
    *slot = *address;
    if (slot->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)slot)->sin6_port = htons(dial->target.url->port);
    else
        ((struct sockaddr_in *)slot)->sin_port = htons(dial->target.url->port);
}

/* Takes the families in turn, beginning with the one that the resolver put first. */
static void interleave(struct dial *dial, const struct resolve_answer *answer)
{
    bool taken[RESOLVE_ADDRESSES_MAX] = { false };
    int family = answer->addresses[0].ss_family;
    for (size_t left = answer->count; left > 0 && dial->address_count < DIAL_ADDRESSES_MAX; left--) {
        size_t pick = answer->count, other = answer->count;
        for (size_t i = answer->count; i > 0; i--) {
            if (taken[i - 1])
                continue;
            other = i - 1;
            if (answer->addresses[i - 1].ss_family == family)
                pick = i - 1;
        }
        pick = pick == answer->count ? other : pick;
        taken[pick] = true;
        add_address(dial, &answer->addresses[pick]);
        family = answer->addresses[pick].ss_family == AF_INET6 ? AF_INET : AF_INET6;
    }
}

static int compare_addresses(const void *one, const void *other)
{
    const struct sockaddr_storage *a = one, *b = other;
    const struct sockaddr_in6 *a6 = one, *b6 = other;
    if (a->ss_family != b->ss_family)
        return a->ss_family < b->ss_family ? -1 : 1;
    if (a->ss_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)one)->sin_addr, &((const struct sockaddr_in *)other)->sin_addr,
                      sizeof(struct in_addr));
    int by_address = memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof a6->sin6_addr);
    return by_address ? by_address : (a6->sin6_scope_id > b6->sin6_scope_id) - (a6->sin6_scope_id < b6->sin6_scope_id);
}

static void fill_each(struct dial_each *each, const struct resolve_answer *answer)
{
    struct sockaddr_storage sorted[RESOLVE_ADDRESSES_MAX];
    memcpy(sorted, answer->addresses, sizeof sorted);
    qsort(sorted, answer->count, sizeof *sorted, compare_addresses);
    for (size_t i = 0; i < answer->count; i++)
        if (i == 0 || compare_addresses(&sorted[i - 1], &sorted[i]) != 0)
            each->addresses[each->count++] = sorted[i];
    each->left_out = answer->more;
}

static void take_addresses(struct dial *dial, const struct resolve_answer *answer)
{
    struct dial_each *each = dial->target.each;
    if (each && each->count == 0 && answer->count > 0) {
        fill_each(each, answer);
        dial_trace_addresses(&dial->target, each->addresses, (unsigned)each->count);
    } else if (!each && answer->count > 0) {
        interleave(dial, answer);
        dial_trace_addresses(&dial->target, dial->addresses, dial->address_count);
    }
    if (each && each->count > 0)
        add_address(dial, &each->addresses[each->index % each->count]);
}

static void on_resolved(void *user, const struct resolve_answer *answer)
{
    struct dial *dial = user;
    struct err err;
    dial->lookup = NULL;
    dial->report->lookup = NULL;
    if (answer->error != 0) {
        dial_resolve_err(&dial->target, answer->error, answer->sys_errno, &err);
        fail(dial, &err);
        return;
    }
    take_addresses(dial, answer);
    start_connecting(dial);
}

struct dial *dial_start(struct loop *loop, const struct dial_target *target, const struct dial_events *events, void *user,
                        struct dial_report *report)
{
    struct dial *dial = mem_alloc(sizeof *dial);
    struct resolve_answer known = { 0 };
    memset(report, 0, sizeof *report);
    dial->loop = loop;
    dial->target = *target;
    dial->target.tls = target->tls ? tls_context_ref(target->tls) : NULL;
    dial->events = events;
    dial->user = user;
    dial->report = report;
    timer_init(&dial->timer, loop, on_timer, dial);
    dial->phase_start_ns = clock_now_ns();
    bool is_known = target->each && target->each->count > 0;
    if (target->url->is_unix || is_known || resolve_without(target->url->host, &known)) {
        take_addresses(dial, &known);
        start_connecting(dial);
        report->resolve_ns = 0;
        return dial;
    }
    dial_trace_begin(&dial->target);
    dial->lookup = resolve_start(loop, target->url->host, on_resolved, dial);
    report->lookup = dial->lookup;
    if (!dial->lookup) {
        dial_resolve_err(&dial->target, EAI_SYSTEM, EMFILE, &dial->failure);
        timer_start(&dial->timer, 0);
    }
    return dial;
}
