/*
 * The engine of a check (agent/core/check.h): schedule, deadline, judgement. Called by the agent; calls probes through their type.
 *
 * A round ends in round_end, which is idempotent: the first call wins, later ones find run.active false. It promises that a probe is
 * told to let go (stop) before the next round starts, and that a round which failed while the agent itself was late is void.
 */
#include "agent/core/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/core/broker.h"
#include "agent/core/event.h"
#include "agent/core/talk_engine.h"

enum { NS_PER_MS = 1000000 };

struct check {
    struct check_host *host;
    struct generation *generation;
    struct generation *tls_from; /* whose TLS contexts are in use: the newest, over reloads */
    const struct check_conf *conf;
    struct run run;
    struct talk *talk; /* of types with steps */
    struct timer schedule, deadline;
    bool session_live; /* a session type's start has been called at least once */
    bool hurry;        /* the next round comes soon: a session has just lost something */
    bool extra;        /* the round that ends was an event of its own: the next one keeps its place */
    uint64_t next_due_ns;
    uint64_t void_since_ns; /* a gap of ours that ended later makes a failure void */
    struct check_view view;
};

/* --- the schedule --- */

static void schedule_next(struct check *check)
{
    const struct check_conf *conf = check->conf;
    uint64_t interval_ns = (uint64_t)conf->interval_ms * NS_PER_MS, now_ns = clock_now_ns(), delay_ns;
    uint32_t swing_ms = (uint32_t)(conf->interval_ms * conf->jitter_percent / 100);

    if (check->host->once)
        return;
    /* A fixed grid from the first round on, jitter around it: rounds neither drift nor bunch up after a slow one. */
    if (!check->extra)
        check->next_due_ns += interval_ns;
    check->extra = false;
    if (check->next_due_ns < now_ns)
        check->next_due_ns = now_ns;
    delay_ns = check->next_due_ns - now_ns;
    if (swing_ms) {
        uint64_t swing_ns = (uint64_t)swing_ms * NS_PER_MS, shift_ns = (uint64_t)random_below(2 * swing_ms + 1) * NS_PER_MS;

        delay_ns = delay_ns + shift_ns > swing_ns ? delay_ns + shift_ns - swing_ns : 0;
    }
    if (check->hurry && delay_ns > interval_ns / 8) {
        delay_ns = interval_ns / 16 + (uint64_t)random_below((uint32_t)(conf->interval_ms / 16 + 1)) * NS_PER_MS;
        check->next_due_ns = now_ns + delay_ns;
    }
    check->hurry = false;
    timer_start_ns(&check->schedule, delay_ns);
}

static void round_stop(struct check *check)
{
    if (check->talk)
        talk_engine_stop(check->talk);
    else if (!check->run.type->session && check->run.type->stop)
        check->run.type->stop(&check->run);
}

static void on_schedule(struct timer *timer, void *user)
{
    struct check *check = user;
    struct run *run = &check->run;

    (void)timer;
    panic_if(run->active);
    memset(&run->report, 0, sizeof(run->report));
    run->active = true;
    run->started_ns = check->void_since_ns = clock_now_ns();
    if (!run->type->session && run->state)
        memset(run->state, 0, run->type->state_size);
    timer_start(&check->deadline, (uint64_t)check->conf->timeout_ms);
    if (check->talk) {
        talk_engine_start(check->talk, &check->host->group);
    } else {
        check->session_live = true;
        run->type->start(run);
    }
}

static void on_deadline(struct timer *timer, void *user)
{
    struct check *check = user;

    (void)timer;
    if (check->talk)
        talk_engine_late(check->talk);
    else
        check->run.type->late(&check->run);
    panic_if(check->run.active);
}

/* --- the judgement --- */

struct ending {
    enum result result;
    enum reason reason;
    enum phase phase;
    char text[ERR_TEXT_MAX];
};

/* A pass that took longer than `slo` is a warning. */
static void apply_slo(const struct check *check, struct ending *ending)
{
    const struct run_report *report = &check->run.report;
    uint64_t took_ns = report->have_rtt ? report->rtt_ns : check->view.total_ns;
    char took[32], slo[32];

    if (ending->result != RESULT_PASS || !check->conf->slo_ms || took_ns <= (uint64_t)check->conf->slo_ms * NS_PER_MS)
        return;
    text_format_elapsed(took_ns, took, sizeof(took));
    text_format_duration(check->conf->slo_ms, slo, sizeof(slo));
    ending->result = RESULT_WARN;
    ending->reason = REASON_SLOW;
    ending->phase = report->have_rtt ? PHASE_OPEN : PHASE_UPGRADE;
    snprintf(ending->text, sizeof(ending->text), "%s took %s, slo is %s", report->have_rtt ? "the answer" : "the round", took, slo);
}

/* A failure across a gap in which the agent did not run proves nothing; nor does one that is the agent's own. */
static void apply_void(const struct check *check, struct ending *ending)
{
    uint64_t late_ms, limit_ms = (uint64_t)check->conf->timeout_ms / 4;

    if (ending->result != RESULT_FAIL && ending->reason != REASON_SLOW)
        return;
    if (ending->reason == REASON_AGENT_ERROR || ending->reason == REASON_AGENT_STALLED) {
        ending->result = RESULT_VOID;
        return;
    }
    late_ms = stall_late_ms(&check->host->stall, check->void_since_ns);
    if (late_ms < STALL_GAP_MIN_MS || late_ms < limit_ms)
        return;
    ending->result = RESULT_VOID;
    ending->reason = REASON_AGENT_STALLED;
    ending->phase = PHASE_NONE;
    snprintf(ending->text, sizeof(ending->text), "the agent itself was late by %llu ms: the round does not count",
             (unsigned long long)late_ms);
}

static void count_round(struct check *check, const struct ending *ending)
{
    struct check_stats *stats = &check->view.stats;
    const struct run_report *report = &check->run.report;

    stats->rounds[ending->result]++;
    stats->last_round_ms = clock_wall_ms();
    if (ending->result == RESULT_FAIL || ending->result == RESULT_VOID)
        stats->failures[ending->reason]++;
    if (report->close_code)
        stats->closes[close_label(report->close_code)]++;
    if (report->cert_not_after_ms)
        stats->cert_not_after_ms = report->cert_not_after_ms;
    if (ending->result == RESULT_VOID)
        return;
    for (int phase = PHASE_RESOLVE; phase < PHASE_COUNT; phase++)
        if (report->have_phase[phase])
            prom_observe(&stats->phase[phase], (double)report->phase_ns[phase] / 1e9);
    prom_observe(&stats->phase[PHASE_NONE], (double)check->view.total_ns / 1e9);
    if (report->have_rtt)
        prom_observe(&stats->rtt, (double)report->rtt_ns / 1e9);
}

static void log_round(const struct check *check, const struct ending *ending)
{
    char took[32];

    if (!log_enabled(LOG_DEBUG))
        return;
    text_format_elapsed(check->view.total_ns, took, sizeof(took));
    event_log(EVENT_ROUND, "check", check->conf->name, "result", result_name(ending->result), "reason",
              ending->reason ? reason_name(ending->reason) : NULL, "took", took, "message", ending->text[0] ? ending->text : NULL,
              NULL);
}

static void log_state(const struct check *check)
{
    const struct check_view *view = &check->view;
    enum event event = view->health.state == STATE_FAIL   ? EVENT_CHECK_FAIL
                       : view->health.state == STATE_WARN ? EVENT_CHECK_WARN
                                                          : EVENT_CHECK_PASS;
    bool bad = view->health.state != STATE_PASS;

    event_log(event, "check", view->name, "type", view->type, "path", view->path, "reason", bad ? reason_name(view->reason) : NULL,
              "phase", bad ? phase_name(view->phase) : NULL, "message", bad ? view->message : NULL, NULL);
}

/* Copies the round into the view; true when the check's state has changed. */
static bool judge(struct check *check, const struct ending *ending)
{
    struct check_view *view = &check->view;
    const struct run_report *report = &check->run.report;
    const struct check_conf *conf = check->conf;
    struct health_policy policy = { (uint32_t)conf->rise, (uint32_t)conf->fall.count, (uint32_t)conf->fall.of };
    bool still_shared = health_still_shared(&view->health, &policy, ending->result, reason_scope(ending->reason),
                                            view->last_fault_scope, clock_now_ms());
    bool changed = health_round(&view->health, &policy, ending->result, clock_now_ms());

    view->judged = true;
    view->status = ending->result;
    view->reason = ending->reason;
    view->phase = ending->phase;
    view->scope = reason_scope(ending->reason);
    memcpy(view->message, ending->text, sizeof(view->message));
    view->http_status = report->http_status;
    view->close_code = report->close_code;
    view->broker_hint = report->broker_hint;
    view->last_ms = clock_wall_ms();
    memcpy(view->have_phase, report->have_phase, sizeof(view->have_phase));
    memcpy(view->phase_ns, report->phase_ns, sizeof(view->phase_ns));
    view->have_rtt = report->have_rtt;
    view->rtt_ns = report->rtt_ns;
    /* A warning while the check is still down is no news of what took it down. */
    bool is_news = ending->result == RESULT_FAIL || (ending->result == RESULT_WARN && view->health.state != STATE_FAIL);
    if (!still_shared && is_news) {
        view->last_fault = ending->reason;
        view->last_fault_scope = view->scope;
        view->last_fault_hint = report->broker_hint;
        memcpy(view->last_fault_message, ending->text, sizeof(view->last_fault_message));
    }
    if (changed)
        view->since_ms = view->last_ms;
    return changed;
}

/* A round that is void while nothing has been judged yet still says why there is no verdict. */
static void note_void(struct check *check, const struct ending *ending)
{
    struct check_view *view = &check->view;

    if (view->judged)
        return;
    view->reason = ending->reason;
    view->scope = SCOPE_NONE;
    memcpy(view->message, ending->text, sizeof(view->message));
    if (ending->reason == REASON_AGENT_ERROR && view->stats.rounds[RESULT_VOID] == 1)
        event_log(EVENT_AGENT_ERROR, "check", view->name, "message", ending->text, NULL);
}

static void round_end(struct run *run, struct ending *ending)
{
    struct check *check = run->check;
    bool changed = false;

    if (!run->active)
        return;
    run->active = false;
    timer_stop(&check->deadline);
    check->view.total_ns = clock_now_ns() - run->started_ns;
    secret_scrub(ending->text);
    apply_slo(check, ending);
    apply_void(check, ending);
    count_round(check, ending);
    log_round(check, ending);
    if (ending->result == RESULT_VOID)
        note_void(check, ending);
    else
        changed = judge(check, ending);
    if (changed)
        log_state(check);
    round_stop(check);
    schedule_next(check);
    check->host->on_judged(check->host->user, check, changed);
}

static void end_with(struct run *run, enum result result, enum reason reason, const char *text)
{
    struct ending ending = { result, reason, PHASE_NONE, "" };

    /* A shared fault lies in no phase of this connection. */
    if (reason != REASON_NONE && reason_scope(reason) != SCOPE_SHARED)
        ending.phase = run->report.phase != PHASE_NONE ? run->report.phase : reason_phase(reason);
    snprintf(ending.text, sizeof(ending.text), "%s", text);
    round_end(run, &ending);
}

void run_finish(struct run *run, enum reason reason, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX] = "";
    va_list args;

    if (fmt) {
        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
    }
    end_with(run, reason == REASON_NONE ? RESULT_PASS : RESULT_FAIL, reason, text);
}

void run_warn(struct run *run, enum reason reason, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    end_with(run, RESULT_WARN, reason, text);
}

void run_finish_err(struct run *run, const struct err *err)
{
    if (run->active && err->code >= BROKER_HINT_ABSENT)
        run->report.broker_hint = err->code;
    end_with(run, RESULT_FAIL, err->reason, err->text);
}

void run_event(struct run *run, const struct err *err)
{
    struct check *check = run->check;

    panic_if(!run->type->session);
    if (!run->active) { /* a round of its own, begun and ended now */
        timer_stop(&check->schedule);
        memset(&run->report, 0, sizeof(run->report));
        run->report.phase = PHASE_OPEN;
        run->active = true;
        run->started_ns = clock_now_ns();
        check->extra = true;
        /* It may be the late answer to a sleep of ours that ended less than a timeout ago. */
        check->void_since_ns = run->started_ns - (uint64_t)check->conf->timeout_ms * NS_PER_MS;
    }
    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        run->report.close_code = err->code;
    check->hurry = check->view.health.state != STATE_FAIL;
    run_finish_err(run, err);
}

void run_skip(struct run *run, uint64_t until_ns)
{
    struct check *check = run->check;
    uint64_t now_ns = clock_now_ns();

    panic_if(!run->type->session);
    if (!run->active)
        return;
    run->active = false;
    timer_stop(&check->deadline);
    check->next_due_ns = until_ns > now_ns ? until_ns : now_ns;
    timer_start_ns(&check->schedule, check->next_due_ns - now_ns);
}

struct broker *run_broker(const struct run *run, const char *name)
{
    struct check_host *host = run->check->host;

    return host->find_broker ? host->find_broker(host->user, name) : NULL;
}

uint64_t run_deadline_ns(const struct run *run)
{
    return run->started_ns + (uint64_t)run->conf->timeout_ms * NS_PER_MS;
}

/* --- life --- */

/* The option that names a broker, of types that have one. */
static const char *broker_option(const struct check_conf *conf)
{
    const struct opt *row = conf->type->uses_brokers ? opt_find(conf->type->opts, "broker") : NULL;

    return row ? *(char *const *)opt_field(row, conf->opts) : NULL;
}

static void view_init(struct check *check)
{
    struct check_view *view = &check->view;
    const struct check_conf *conf = check->conf;
    const struct broker_conf *broker;

    view->name = conf->name;
    view->type = conf->type->name;
    view->path = conf->path == PATH_PUBLIC ? "public" : "local";
    view->summary = conf->type->summary;
    view->gates = conf->gates;
    view->broker = broker_option(conf);
    broker = view->broker ? conf_find_broker(check->generation->conf, view->broker) : NULL;
    view->broker_type = broker && strcmp(conf->type->name, "broker") == 0 ? broker->type->name : NULL;
    view->timeout_ms = (uint64_t)conf->timeout_ms;
    view->slo_ms = (uint64_t)conf->slo_ms;
}

struct check *check_new(struct check_host *host, struct generation *generation, const struct check_conf *conf)
{
    struct check *check = mem_alloc(sizeof(*check));
    struct run *run = &check->run;

    check->host = host;
    check->generation = generation_ref(generation);
    check->tls_from = generation_ref(generation);
    check->conf = conf;
    run->type = conf->type;
    run->conf = conf;
    run->target = &generation->conf->target;
    run->url = conf->path == PATH_PUBLIC ? &run->target->public : &run->target->local;
    run->agent_id = generation->conf->agent_id;
    run->region = generation->conf->region;
    run->nonce = host->nonce;
    run->loop = host->loop;
    run->group = &host->group;
    run->tls = generation->tls;
    run->tls_resume = generation->tls_resume;
    run->opts = conf->opts;
    run->state = run->type->state_size ? mem_alloc(run->type->state_size) : NULL;
    run->stats = &check->view.stats;
    if (run->type->delivers)
        run->stats->delivery = mem_alloc(sizeof(*run->stats->delivery));
    run->once = host->once;
    run->check = check;
    if (run->type->steps)
        check->talk = talk_engine_new(run);
    timer_init(&check->schedule, host->loop, on_schedule, check);
    timer_init(&check->deadline, host->loop, on_deadline, check);
    view_init(check);
    return check;
}

void check_start(struct check *check, uint64_t delay_ms)
{
    check->next_due_ns = clock_now_ns() + delay_ms * NS_PER_MS;
    timer_start(&check->schedule, delay_ms);
    /* From the second round on every check has its own place in the interval. */
    if (delay_ms < (uint64_t)check->conf->interval_ms)
        check->next_due_ns -= (uint64_t)random_below((uint32_t)(check->conf->interval_ms / 2)) * NS_PER_MS;
}

void check_free(struct check *check)
{
    if (!check)
        return;
    timer_stop(&check->schedule);
    timer_stop(&check->deadline);
    if (check->talk)
        talk_engine_stop(check->talk);
    else if (check->run.type->stop && (check->run.active || check->session_live))
        check->run.type->stop(&check->run);
    check->run.active = false;
    talk_engine_free(check->talk);
    mem_free(check->view.stats.delivery);
    mem_free(check->run.state);
    generation_unref(check->generation);
    generation_unref(check->tls_from);
    mem_free(check);
}

const struct check_view *check_view(const struct check *check)
{
    return &check->view;
}

const struct check_conf *check_conf(const struct check *check)
{
    return check->conf;
}

struct generation *check_generation(const struct check *check)
{
    return check->generation;
}

void check_use_tls(struct check *check, struct generation *generation)
{
    struct generation *old = check->tls_from;

    check->tls_from = generation_ref(generation);
    check->run.tls = generation->tls;
    check->run.tls_resume = generation->tls_resume;
    generation_unref(old);
}

void check_resume(struct check *check)
{
    health_resume(&check->view.health, clock_now_ms());
}
