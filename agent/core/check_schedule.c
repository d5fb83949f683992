/*
 * Owns when a check's rounds come (agent/core/check_impl.h): the grid, what comes sooner, and the turns that checks of a target take while it
 * refuses them. Called by agent/core/check.c, by the agent, and by probes through struct run. The arithmetic is pure and elsewhere
 * (pace.c, backoff.c).
 */
#include "agent/base/random.h"
#include "agent/core/check_impl.h"

enum { BARRED_SPREAD_MS = 250, OTHERS_WAIT_MS = 2000, TALKING_MS = 10 };

/* --- the schedule --- */

void check_schedule_in(struct check *check, uint64_t delay_ns)
{
    check->due_ns = clock_now_ns() + delay_ns;
    timer_start_ns(&check->schedule, delay_ns);
}

struct pace_options check_pace_options(const struct check *check)
{
    const struct check_conf *conf = check->conf;

    return (struct pace_options){ (uint64_t)conf->interval_ms * NS_PER_MS, (uint64_t)conf->fast_ms * NS_PER_MS,
                                  (uint32_t)conf->rise + (uint32_t)conf->fall.count };
}

void check_schedule_next(struct check *check)
{
    const struct check_conf *conf = check->conf;
    struct pace_options options = check_pace_options(check);
    uint32_t swing_ms = (uint32_t)(conf->interval_ms * conf->jitter_percent / 100);
    int64_t shift_ns = swing_ms ? ((int64_t)random_below(2 * swing_ms + 1) - swing_ms) * (int64_t)NS_PER_MS : 0;
    uint64_t delay_ns;

    if (check->host->once)
        return;
    delay_ns = pace_next_ns(&check->pace, &options, check->run->started_ns, clock_now_ns(),
                            health_contradicted(&check->view.health), shift_ns);
    if (check->hurry && delay_ns > options.interval_ns / 8) {
        delay_ns = options.interval_ns / 16 + (uint64_t)random_below((uint32_t)(conf->interval_ms / 16 + 1)) * NS_PER_MS;
        check->pace.extra = true;
    }
    check->hurry = false;
    check_schedule_in(check, delay_ns);
}

void check_hurry(struct check *check, bool failed, uint64_t delay_ms)
{
    bool agrees = failed == (check->view.health.state == STATE_FAIL);
    uint64_t now_ns = clock_now_ns(), fast_ns = (uint64_t)check->conf->fast_ms * NS_PER_MS;

    if (check->run->active || agrees || !timer_active(&check->schedule) || now_ns - check->run->started_ns < fast_ns ||
        check->due_ns <= now_ns + delay_ms * NS_PER_MS)
        return;
    check->pace.extra = true;
    check_schedule_in(check, delay_ms * NS_PER_MS);
}

bool check_is_witness(const struct check *check)
{
    return probe_speaks_websocket(check->run->type);
}

/* --- the back-off of its target --- */

static struct backoff *target_backoff(const struct check *check)
{
    return &check->host->backoff[check->conf->path == PATH_PUBLIC];
}

/*
 * A refusal of a health page or of a TLS handshake says nothing about the WebSocket, and one of a token that is meant to be bad even less:
 * they must not slow down the checks that watch it. Such a check has a back-off of its own.
 */
static struct backoff *backoff_of(struct check *check)
{
    return check_is_witness(check) ? target_backoff(check) : &check->own;
}

/* Can a server refuse it? Brokers have a back-off of their own (agent/core/broker.c). */
static bool dials(const struct check *check)
{
    return check_is_witness(check) || check->run->type->series & SERIES_DIAL;
}

/*
 * While the target refuses the WebSocket checks, a check that only dials it, or that means to be refused, runs once a minute, and not before
 * the time that the server named (Retry-After): a server that counts connections counts this one too. It takes no turn from the checks whose
 * pass would end the back-off.
 */
static uint64_t rare_wait_ms(const struct check *check)
{
    const struct probe_type *type = check->run->type;

    if (check_is_witness(check) || (type->elsewhere && type->elsewhere(check->conf->opts, check->run->url)))
        return 0;
    return backoff_rare_wait_ms(target_backoff(check), check->run->started_ns / NS_PER_MS, clock_now_ms());
}

/*
 * The time that a check compares with the back-off. A check that was refused goes before the others; else each of them would be refused
 * once in turn, and none would reach its `fall` for minutes.
 */
static uint64_t turn_ms(const struct check *check)
{
    uint64_t now_ms = clock_now_ms();

    return check->refused || now_ms < OTHERS_WAIT_MS ? now_ms : now_ms - OTHERS_WAIT_MS;
}

bool run_backs_off(const struct run *run)
{
    return backoff_of(run->check)->level > 0;
}

uint64_t run_barred_until_ns(const struct run *run)
{
    return clock_now_ns() + backoff_wait_ms(backoff_of(run->check), clock_now_ms()) * NS_PER_MS;
}

bool run_may_connect(struct run *run)
{
    struct check *check = run->check;

    if (!check->claimed)
        check->claimed = check->host->once || backoff_claim(backoff_of(check), turn_ms(check));
    return check->claimed;
}

/* A round that must connect waits for its turn, and keeps its state meanwhile; over connections that are held, rounds go on. It asks
 * again each interval, since a pass of another check ends the waiting. */
bool check_wait_for_turn(struct check *check)
{
    uint64_t wait_ms;

    check->claimed = false;
    if (!dials(check) || check->host->once || check->view.stats.held || (check->run->share && share_is_open(check->run->share)))
        return false;
    wait_ms = rare_wait_ms(check);
    if (!wait_ms && run_may_connect(check->run))
        return false;
    share_yield(check->run->share, &check->turn);
    if (!wait_ms)
        wait_ms = backoff_wait_ms(backoff_of(check), turn_ms(check));
    if (wait_ms > (uint64_t)check->conf->interval_ms)
        wait_ms = (uint64_t)check->conf->interval_ms;
    check_schedule_in(check, (wait_ms + random_below(BARRED_SPREAD_MS)) * NS_PER_MS);
    return true;
}

/*
 * On a shared connection, conversations take turns where one could take the other's answer for its own; a pong cannot be mistaken. No round
 * begins while the old connection is ending and the next one must not be opened yet.
 */
bool check_wait_for_share(struct check *check)
{
    const struct probe_type *type = check->run->type;
    struct share *share = check->run->share;
    bool talks = type->steps && !type->ignores_messages;

    if (!share || (!share_is_between(share) && (!talks || share_claim(share, &check->turn, check->pace.extra))))
        return false;
    check_schedule_in(check, (uint64_t)TALKING_MS * NS_PER_MS);
    return true;
}

void check_tell_backoff(struct check *check, enum result result, enum reason reason)
{
    struct backoff *backoff = backoff_of(check);
    const struct run_report *report = &check->run->report;
    bool upgraded = report->http_status == (report->http2 ? 200 : 101); /* over a connection of this round */
    bool page = reason == REASON_HTTP_STATUS && backoff_is_refusing_status(report->http_status);

    if (!dials(check) || check->host->once)
        return;
    if (result != RESULT_FAIL) {
        if (check->refused || (!backoff->behind && upgraded))
            backoff_passed(backoff);
        check->refused = false;
    } else if (page || backoff_is_refusal(reason, report->close_code)) {
        check->refused = true;
        backoff->behind = upgraded;
        backoff_refused(backoff, check->run->started_ns / NS_PER_MS, clock_now_ms(), report->retry_after_ms);
    } else if (reason_scope(reason) == SCOPE_LOCAL) {
        backoff_other(backoff);
    }
}
