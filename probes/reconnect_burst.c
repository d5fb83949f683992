/*
 * `reconnect` with `burst: N`: N connections are opened at once, each is upgraded and pinged once. Judged is how many have their pong in time,
 * and told is what the ping of a bystander takes meanwhile, which was open before. See reconnect_burst.h for who calls it.
 *
 * It must not do what it warns of. A burst comes once a minute at most, of all checks of the agent together (conn_group.burst_ns), never while
 * the instance drains or refuses the probe; it stops at the first refusal, and the next one comes ten minutes later. One burst that fails is a
 * warning, two in a row are a fault. What the last one came to holds until the next. The loop opens and closes a few connections in each turn.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/client/backoff.h"
#include "probes/reconnect_burst.h"

enum {
    EVERY_MS = 60000,
    REFUSED_MS = 600000,
    TURN = 8,         /* connections that one turn of the loop opens or closes */
    PINGS_BEFORE = 3, /* of the bystander; the fastest counts, as the first one may be slow */
    PING_EVERY_MS = 20,
    TRACED = 3,
    TRY_AGAIN_LATER = 1013,
};

enum stage { IDLE, BEFORE, CROWD, CLOSING };

struct member {
    struct conn conn;
    struct conn_report report;
    struct burst *burst;
    bool used; /* it opens or is open */
    bool back; /* its pong has come */
};

struct bystander {
    struct conn conn;
    struct conn_report report;
    bool used, awaits_pong;
    unsigned pongs;
    uint64_t sent_ns, before_ns, worst_ns;
    struct timer again;
};

struct verdict {
    enum result result;
    struct err err; /* unless it is a pass */
    char text[192]; /* of a pass */
};

struct burst {
    struct run *run;
    size_t count;
    int64_t within_ms;
    enum stage stage;
    struct timer turn, end;
    struct member *members; /* while it is busy */
    struct bystander bystander;
    size_t next, back, failed;
    uint64_t began_ns, last_ns; /* the last pong */
    struct err first;           /* failure */
    char told[BURST_BACK_CHARS];
    struct verdict verdict; /* of this burst, then of the last one; a pass before the first */
    unsigned in_a_row;      /* bursts that were too slow */
};

static const uint8_t ping_body[4] = "wsh";

/* --- the end --- */

static void release(struct burst *burst)
{
    timer_stop(&burst->turn);
    timer_stop(&burst->end);
    timer_stop(&burst->bystander.again);
    if (burst->bystander.used)
        conn_close(&burst->bystander.conn, WS_CODE_NORMAL, "");
    burst->bystander.used = false;
    for (size_t i = 0; burst->members && i < burst->count; i++)
        if (burst->members[i].used)
            conn_close(&burst->members[i].conn, WS_CODE_NORMAL, "");
    mem_free(burst->members);
    burst->members = NULL;
    burst->stage = IDLE;
}

void burst_pass(const struct burst *burst, const char *back)
{
    const struct verdict *verdict = &burst->verdict;

    if (verdict->result == RESULT_PASS)
        run_pass(burst->run, "%s%s", back, burst->run->once ? "; there was no time left for the burst (timeout, within)" : "");
    else if (verdict->result == RESULT_WARN)
        run_warn(burst->run, verdict->err.reason, "%s; of the last burst: %s", back, verdict->err.text);
    else
        run_finish(burst->run, verdict->err.reason, "%s; of the last burst: %s", back, verdict->err.text);
}

static void deliver(struct burst *burst)
{
    const struct verdict *verdict = &burst->verdict;
    struct run *run = burst->run;

    release(burst);
    run->report.phase = PHASE_OPEN;
    if (verdict->result == RESULT_PASS)
        run_pass(run, "%s; %s", burst->told, verdict->text);
    else if (verdict->result == RESULT_WARN)
        run_warn(run, verdict->err.reason, "%s", verdict->err.text);
    else
        run_finish_err(run, &verdict->err);
}

static void close_some(struct burst *burst)
{
    size_t left = TURN;

    for (; left && burst->next < burst->count; burst->next++)
        if (burst->members[burst->next].used) {
            burst->members[burst->next].used = false;
            conn_close(&burst->members[burst->next].conn, WS_CODE_NORMAL, "");
            left--;
        }
    if (burst->next < burst->count)
        timer_start(&burst->turn, 1);
    else
        deliver(burst);
}

/* The verdict is known; the connections are closed first. */
static void end_crowd(struct burst *burst)
{
    timer_stop(&burst->end);
    timer_stop(&burst->bystander.again);
    burst->stage = CLOSING;
    burst->next = 0;
    timer_start(&burst->turn, 0);
}

/* What says something about the probe, and nothing about the server, is a warning. */
static void end_warned(struct burst *burst, const struct err *err)
{
    burst->verdict.result = RESULT_WARN;
    burst->verdict.err = *err;
    end_crowd(burst);
}

static void judge_slow(struct burst *burst)
{
    char within[32];

    text_format_duration(burst->within_ms, within, sizeof within);
    burst->in_a_row++;
    burst->verdict.result = burst->in_a_row > 1 || burst->run->once ? RESULT_FAIL : RESULT_WARN;
    if (burst->failed)
        err_set(&burst->verdict.err, REASON_RECONNECT_SLOW, 0, "%zu of %zu connections came back within %s; the first failure: %s",
                burst->back, burst->count, within, burst->first.text);
    else
        err_set(&burst->verdict.err, REASON_RECONNECT_SLOW, 0,
                "%zu of %zu connections came back within %s; the others had no answer yet", burst->back, burst->count, within);
}

static void judge(struct burst *burst)
{
    struct bystander *bystander = &burst->bystander;
    uint64_t now_ns = clock_now_ns();
    char took[32], before[32], worst[32];

    if (burst->back < burst->count) {
        judge_slow(burst);
        end_crowd(burst);
        return;
    }
    if (bystander->awaits_pong && now_ns - bystander->sent_ns > bystander->worst_ns)
        bystander->worst_ns = now_ns - bystander->sent_ns;
    text_format_elapsed(burst->last_ns - burst->began_ns, took, sizeof took);
    text_format_elapsed(bystander->before_ns, before, sizeof before);
    text_format_elapsed(bystander->worst_ns, worst, sizeof worst);
    burst->in_a_row = 0;
    burst->verdict.result = RESULT_PASS;
    snprintf(burst->verdict.text, sizeof burst->verdict.text,
             "%zu of %zu came back within %s; a bystander's ping took %s before, %s meanwhile", burst->back, burst->count, took,
             before, worst);
    end_crowd(burst);
}

/* --- the crowd --- */

static bool is_policy(const struct err *err)
{
    return backoff_is_refusal(err->reason, err->code) || (err->reason == REASON_CLOSED_BY_SERVER && err->code == TRY_AGAIN_LATER);
}

/* True: the burst has been stopped. */
static bool stop_if_refused(struct burst *burst, const struct err *err)
{
    struct err told;

    if (!is_policy(err) && reason_scope(err->reason) != SCOPE_PROBE)
        return false;
    if (is_policy(err)) {
        err_set(&told, REASON_RATE_LIMITED, 0,
                "the server refused connection %zu of a burst of %zu, and the burst was stopped: %s; the next one comes in 10m",
                burst->back + burst->failed + 1, burst->count, err->text);
        burst->run->group->burst_ns = clock_now_ns() + REFUSED_MS * NS_PER_MS;
    } else {
        told = *err;
    }
    end_warned(burst, &told);
    return true;
}

static void note_failed(struct burst *burst, const struct err *err)
{
    if (!burst->failed++)
        burst->first = *err;
    if (burst->back + burst->failed == burst->count)
        judge(burst);
}

static void member_open(void *user)
{
    struct member *member = user;

    if (member->burst->stage == CROWD) /* one that breaks says so itself */
        (void)conn_send(&member->conn, WS_PING, slice_of(ping_body));
}

static void member_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct member *member = user;
    struct burst *burst = member->burst;

    if (burst->stage != CROWD || member->back || message->opcode != WS_PONG || !slice_equal(message->body, slice_of(ping_body)))
        return;
    member->back = true;
    burst->last_ns = received_ns > burst->began_ns ? received_ns : burst->began_ns;
    if (++burst->back + burst->failed == burst->count)
        judge(burst);
}

static void member_lost(void *user, const struct err *err)
{
    struct member *member = user;
    struct burst *burst = member->burst;

    member->used = false;
    if (burst->stage != CROWD)
        return;
    if (burst->failed < TRACED)
        trace_note(burst->run->trace, TRACE_NOTE, "burst: a connection is lost: %s", err->text);
    if (!stop_if_refused(burst, err) && !member->back)
        note_failed(burst, err);
}

static const struct conn_events member_events = { .on_open = member_open, .on_message = member_message, .on_lost = member_lost };

static struct conn_options options_of(const struct burst *burst)
{
    struct conn_options options = run_conn_options(burst->run);

    options.share = NULL;
    options.tls = burst->run->tls_resume; /* as clients that come back do */
    options.ignores_messages = true;
    return options;
}

static void open_some(struct burst *burst)
{
    struct conn_options options = options_of(burst);
    struct err err;

    for (size_t left = TURN; left && burst->next < burst->count; left--) {
        struct member *member = &burst->members[burst->next++];

        if (burst->next > TRACED)
            options.trace = NULL;
        member->burst = burst;
        member->used = true;
        if (conn_open(&member->conn, &options, &member_events, member, &member->report, &err) < 0) {
            member->used = false;
            end_warned(burst, &err);
            return;
        }
    }
    if (burst->next < burst->count)
        timer_start(&burst->turn, 1);
}

static void on_turn(struct timer *timer, void *user)
{
    struct burst *burst = user;

    (void)timer;
    if (burst->stage == CROWD)
        open_some(burst);
    else
        close_some(burst);
}

static void on_end(struct timer *timer, void *user)
{
    (void)timer;
    judge(user);
}

/* --- the bystander --- */

static void bystander_ping(struct burst *burst)
{
    struct bystander *bystander = &burst->bystander;

    if (conn_send(&bystander->conn, WS_PING, slice_of(ping_body)) < 0)
        return;
    bystander->sent_ns = clock_now_ns();
    bystander->awaits_pong = true;
}

static void on_again(struct timer *timer, void *user)
{
    (void)timer;
    bystander_ping(user);
}

static void bystander_open(void *user)
{
    bystander_ping(user);
}

static void begin_crowd(struct burst *burst)
{
    burst->stage = CROWD;
    burst->next = burst->back = burst->failed = 0;
    err_clear(&burst->first);
    burst->members = mem_alloc(burst->count * sizeof *burst->members);
    burst->began_ns = burst->last_ns = clock_now_ns();
    trace_note(burst->run->trace, TRACE_NOTE, "burst: %zu connections at once", burst->count);
    timer_start(&burst->end, (uint64_t)burst->within_ms);
    timer_start(&burst->turn, 0);
}

static void bystander_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    struct burst *burst = user;
    struct bystander *bystander = &burst->bystander;
    uint64_t took_ns = received_ns > bystander->sent_ns ? received_ns - bystander->sent_ns : 0;

    if (!bystander->awaits_pong || message->opcode != WS_PONG || !slice_equal(message->body, slice_of(ping_body)))
        return;
    bystander->awaits_pong = false;
    if (burst->stage == CROWD) {
        if (took_ns > bystander->worst_ns)
            bystander->worst_ns = took_ns;
        timer_start(&bystander->again, PING_EVERY_MS);
        return;
    }
    if (burst->stage != BEFORE)
        return;
    if (!bystander->pongs || took_ns < bystander->before_ns)
        bystander->before_ns = took_ns;
    if (++bystander->pongs == PINGS_BEFORE)
        begin_crowd(burst);
    bystander_ping(burst);
}

static void bystander_lost(void *user, const struct err *err)
{
    struct burst *burst = user;
    struct err told = *err;

    burst->bystander.used = burst->bystander.awaits_pong = false;
    timer_stop(&burst->bystander.again);
    if (burst->stage == CLOSING || stop_if_refused(burst, err))
        return;
    err_prefix(&told, "%s",
               burst->stage == CROWD ? "a bystander lost its connection during a burst"
                                     : "before a burst, the connection of a bystander failed");
    end_warned(burst, &told);
}

static const struct conn_events bystander_events = { .on_open = bystander_open,
                                                     .on_message = bystander_message,
                                                     .on_lost = bystander_lost };

/* --- for the check --- */

struct burst *burst_new(struct run *run, size_t count, int64_t within_ms)
{
    struct burst *burst = mem_alloc(sizeof *burst);

    burst->run = run;
    burst->count = count;
    burst->within_ms = within_ms;
    burst->verdict.result = RESULT_PASS;
    timer_init(&burst->turn, run->loop, on_turn, burst);
    timer_init(&burst->end, run->loop, on_end, burst);
    timer_init(&burst->bystander.again, run->loop, on_again, burst);
    return burst;
}

static bool is_due(const struct burst *burst, uint64_t now_ns)
{
    const struct run *run = burst->run;
    uint64_t since_ns, until_ns = run->started_ns + (uint64_t)run->conf->timeout_ms * NS_PER_MS;

    return now_ns >= run->group->burst_ns && !run_backs_off(run) && !run_draining(run, &since_ns) &&
           now_ns + (uint64_t)burst->within_ms * NS_PER_MS < until_ns; /* a crowd that has less time proves nothing */
}

bool burst_start(struct burst *burst, const char *back)
{
    struct conn_options options = options_of(burst);
    uint64_t now_ns = clock_now_ns();
    struct bystander *bystander = &burst->bystander;
    struct err err;

    if (!is_due(burst, now_ns))
        return false;
    burst->run->group->burst_ns = now_ns + EVERY_MS * NS_PER_MS;
    snprintf(burst->told, sizeof burst->told, "%s", back);
    burst->stage = BEFORE;
    bystander->pongs = 0;
    bystander->before_ns = bystander->worst_ns = 0;
    bystander->awaits_pong = false;
    bystander->used = true;
    if (conn_open(&bystander->conn, &options, &bystander_events, burst, &bystander->report, &err) < 0) {
        bystander->used = false;
        end_warned(burst, &err);
    }
    return true;
}

bool burst_is_busy(const struct burst *burst)
{
    return burst && burst->stage != IDLE;
}

void burst_expire(struct burst *burst)
{
    struct err err;

    if (burst->stage == CROWD) { /* `within` ends before the deadline, unless the bystander was slow: then too little is known */
        err_set(&err, REASON_RECONNECT_SLOW, 0, "%zu of %zu connections of a burst came back before the timeout of the check",
                burst->back, burst->count);
        end_warned(burst, &err);
    } else if (burst->stage == BEFORE) {
        err_set(&err, REASON_RECONNECT_SLOW, 0, "before a burst, the connection of a bystander had no pong in time");
        end_warned(burst, &err);
    }
    deliver(burst);
}

void burst_cancel(struct burst *burst)
{
    if (burst)
        release(burst);
}

void burst_free(struct burst *burst)
{
    burst_cancel(burst);
    mem_free(burst);
}
