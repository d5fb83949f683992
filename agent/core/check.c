/*
 * The engine of a check (agent/core/check.h): schedule, deadline, judgement. Called by the agent; calls probes through their type.
 *
 * A round ends in round_end, which is idempotent: the first call wins, later ones find run.active false. A probe's stop is called before
 * the next round starts, and a round that failed while the agent itself was late is void.
 */
#include "agent/core/check_each.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/client/backoff.h"
#include "agent/client/conn_offer.h"
#include "agent/core/broker.h"
#include "agent/core/event.h"
#include "agent/proto/jwt.h"

/* --- a round --- */

static void round_stop(struct check *check, bool failed)
{
    share_yield(check->run->share, &check->turn);
    check->run->failed = failed;
    if (!check->run->type->session && check->run->type->stop)
        check->run->type->stop(check->run);
}

static void on_schedule(struct timer *timer, void *user)
{
    struct check *check = user;
    bool second = both_is_second(check), goes_on = second || each_goes_on(check);
    struct run *run = second ? check->second : &check->first;

    (void)timer;
    panic_if(check->run->active);
    check->run = run;
    check->apart = false;
    if (!goes_on && (check_wait_for_share(check) || check_wait_for_turn(check)))
        return;
    memset(&run->report, 0, sizeof run->report);
    run->active = true;
    check->timed_out = false;
    run->started_ns = check->void_since_ns = clock_now_ns();
    if (!goes_on)
        trace_begin(&check->trace, run->started_ns, run->type->session);
    if (check->second)
        trace_note(&check->trace, TRACE_NOTE, second ? "once more, over HTTP/2:" : "over HTTP/1.1:");
    if (!run->type->session && run->state)
        memset(run->state, 0, run->type->state_size);
    timer_start(&check->deadline, (uint64_t)check->conf->timeout_ms);
    run->type->start(run);
}

static void on_deadline(struct timer *timer, void *user)
{
    struct check *check = user;

    (void)timer;
    check->timed_out = true;
    check->run->type->on_deadline(check->run);
    panic_if(check->run->active);
}

/* --- the judgement --- */

/* A pass that took longer than `slo` is a warning. */
static void apply_slo(const struct check *check, struct ending *ending)
{
    const struct run_report *report = &check->run->report;
    uint64_t took_ns = report->have_rtt ? report->rtt_ns : check->view.total_ns;
    char took[32], slo[32];

    if (ending->result != RESULT_PASS || !check->conf->slo_ms || took_ns <= (uint64_t)check->conf->slo_ms * NS_PER_MS)
        return;
    text_format_elapsed(took_ns, took, sizeof took);
    text_format_duration(check->conf->slo_ms, slo, sizeof slo);
    ending->result = RESULT_WARN;
    ending->reason = REASON_SLOW;
    ending->phase = report->have_rtt ? PHASE_OPEN : PHASE_UPGRADE;
    snprintf(ending->text, sizeof ending->text, "%s took %s, slo is %s", report->have_rtt ? "the answer" : "the round", took, slo);
}

/* A failure proves nothing if the agent did not run for a part of the round, or if the agent itself is the reason. */
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
    snprintf(ending->text, sizeof ending->text, "the agent itself was late by %llu ms: the round does not count",
             (unsigned long long)late_ms);
}

static void count_round(struct check *check, const struct ending *ending)
{
    struct check_stats *stats = &check->view.stats;
    const struct run_report *report = &check->run->report;

    stats->rounds[ending->result]++;
    stats->last_round_ms = clock_wall_ms();
    if (ending->result == RESULT_FAIL || ending->result == RESULT_VOID)
        stats->failures[ending->reason]++;
    if (report->close_code && !report->close_counted)
        stats->closes[close_label_of(report->close_code)]++;
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
    text_format_elapsed(check->view.total_ns, took, sizeof took);
    event_log(EVENT_ROUND, "check", check->conf->name, "result", result_name(ending->result), "reason",
              ending->reason ? reason_name(ending->reason) : NULL, "took", took, "message", ending->text[0] ? ending->text : NULL,
              NULL);
}

/* Has the server's own process said anything at all? */
static bool heard(const struct run_report *report, enum reason reason)
{
    bool certificate = reason_phase(reason) == PHASE_TLS && reason != REASON_TLS_HANDSHAKE_FAILED;

    return report->http_status || report->answered || certificate;
}

static bool heard_behind(const struct run_report *report)
{
    return report->spoke || report->have_rtt || (report->close_code && report->close_code != WS_CODE_ABNORMAL);
}

/* A token whose own `exp` has passed is refused rightly: the fault is the agent's. */
static bool token_is_over(const struct check *check, char *ago, size_t size)
{
    struct buf token = BUF_INIT(CONN_REQUEST_MAX);
    int64_t exp_s, now_s = clock_wall_ms() / 1000;
    bool over = check->run->target->token && opt_expand(check->run->target->token, &token, NULL) == 0 &&
                jwt_exp(buf_slice(&token), &exp_s) && exp_s <= now_s;

    if (over)
        text_format_duration((now_s - exp_s) * 1000, ago, size);
    buf_fini(&token);
    return over;
}

/* Is the agent itself known to be the reason? Then the sentence says so. */
static bool own_doing(const struct check *check, struct ending *ending)
{
    char ago[32];
    size_t len = strlen(ending->text);

    if (ending->result == RESULT_VOID)
        return ending->reason == REASON_AGENT_ERROR;
    if (ending->result != RESULT_FAIL || !backoff_is_refusal(ending->reason, check->run->report.close_code) ||
        ending->reason == REASON_RATE_LIMITED || ending->reason == REASON_TLS_CLIENT_CERT_REJECTED ||
        !token_is_over(check, ago, sizeof ago))
        return false;
    snprintf(ending->text + len, sizeof ending->text - len, "; the agent's token expired %s ago, by its own exp", ago);
    return true;
}

/*
 * A broker's fault hits every instance. So does a fault of what is in front of them, and through the public URL any of them may have
 * answered: what fails there is not this instance's fault. A check of the local path is asked about that. It makes no difference whether
 * there is one, or what it says: where all instances are out because of the load balancer, no answer comes through it any more that would
 * bring one back.
 */
static enum scope scope_of(const struct check *check, enum reason reason)
{
    enum scope scope = reason_scope(reason);
    bool shared = check_is_broker(&check->view) ? scope != SCOPE_NONE : check_is_public(&check->view) && scope == SCOPE_LOCAL;

    return shared ? SCOPE_SHARED : scope;
}

static void note_evidence(struct check *check, const struct ending *ending, bool own)
{
    const struct run_report *report = &check->run->report;
    bool behind = heard_behind(report), answered = behind || heard(report, ending->reason);
    struct health_evidence evidence = { ending->result, ending->reason, scope_of(check, ending->reason), own,
                                        answered,       behind,         check->timed_out && !answered };

    if (ending->reason == REASON_TLS_HANDSHAKE_FAILED)
        evidence.no_answer = evidence.no_answer && !report->tls_answered;
    health_note(&check->view.health, &evidence, clock_now_ms());
}

/* A close frame may be a refusal of the probe: then the server is well. */
static void apply_refusal(const struct check *check, struct ending *ending)
{
    const char *said = strstr(ending->text, ": \"");

    if (ending->reason == REASON_CLOSED_BY_SERVER)
        ending->reason = backoff_close_reason(check->run->report.close_code, slice_str(said ? said : ""));
}

/* Copies the round into the view; true when the check's state has changed. */
static bool judge(struct check *check, const struct ending *ending)
{
    struct check_view *view = &check->view;
    const struct run_report *report = &check->run->report;
    const struct check_conf *conf = check->conf;
    struct health_policy policy = { (uint32_t)conf->rise, (uint32_t)conf->fall.count, (uint32_t)conf->fall.of };
    enum scope scope = scope_of(check, ending->reason);
    bool still_shared = health_still_shared(&view->health, &policy, ending->result, scope, view->last_fault_scope);
    bool changed = health_round(&view->health, &policy, ending->result);

    view->judged = true;
    view->status = ending->result;
    view->reason = ending->reason;
    view->phase = ending->phase;
    view->scope = scope;
    memcpy(view->message, ending->text, sizeof view->message);
    view->http_status = report->http_status;
    view->http2 = report->http2;
    view->http_split = check->http_split;
    view->addresses = check->addresses;
    view->h2_gap = report->h2_gap;
    view->close_code = report->close_code;
    view->broker_hint = report->broker_hint;
    view->last_ms = clock_wall_ms();
    memcpy(view->have_phase, report->have_phase, sizeof view->have_phase);
    memcpy(view->phase_ns, report->phase_ns, sizeof view->phase_ns);
    view->have_rtt = report->have_rtt;
    view->rtt_ns = report->rtt_ns;
    /* A warning while the check is still failing does not replace the fault that it fails for. */
    bool is_news = ending->result == RESULT_FAIL || (ending->result == RESULT_WARN && view->health.state != STATE_FAIL);
    if (!still_shared && is_news) {
        view->last_fault = ending->reason;
        view->last_fault_scope = view->scope;
        view->last_fault_hint = report->broker_hint;
        view->last_fault_split = check->http_split;
        view->last_fault_addresses = check->addresses;
        view->last_fault_gap = report->h2_gap;
        memcpy(view->last_fault_message, ending->text, sizeof view->last_fault_message);
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
    memcpy(view->message, ending->text, sizeof view->message);
    if (ending->reason == REASON_AGENT_ERROR && view->stats.rounds[RESULT_VOID] == 1)
        event_log(EVENT_AGENT_ERROR, "check", view->name, "message", ending->text, NULL);
}

/* The round has an ending: judges it, tells of it, and the next one is scheduled. */
static void round_close(struct check *check, struct ending *ending)
{
    bool changed = false, own;

    apply_refusal(check, ending);
    own = own_doing(check, ending);
    count_round(check, ending);
    log_round(check, ending);
    check_trace_verdict(check, ending->result, ending->reason, ending->text);
    if (ending->result == RESULT_VOID)
        note_void(check, ending);
    else
        changed = judge(check, ending);
    note_evidence(check, ending, own);
    if (ending->result != RESULT_VOID)
        check_tell_backoff(check, ending->result, ending->reason);
    round_stop(check, ending->result == RESULT_FAIL || ending->result == RESULT_VOID);
    check_keep_trace(check, ending->result, ending->reason);
    check_schedule_next(check);
    if (check->host->on_news && check_is_witness(check) && (changed || check->pace.fast == 1))
        check->host->on_news(check->host->user, check, check->view.health.failed_bits & 1);
    check->host->on_judged(check->host->user, check, changed);
}

static void round_end(struct run *run, struct ending *ending)
{
    struct check *check = run->check;

    if (!run->active)
        return;
    run->active = false;
    timer_stop(&check->deadline);
    check->view.total_ns = (run->report.settled_ns ? run->report.settled_ns : clock_now_ns()) - run->started_ns;
    secret_scrub(ending->text);
    apply_slo(check, ending);
    apply_void(check, ending);
    if (!both_end_half(check, ending) && !each_end_part(check, ending)) {
        round_close(check, ending);
        return;
    }
    check_trace_half(check, ending->result, ending->reason, ending->text);
    round_stop(check, ending->result == RESULT_FAIL);
    timer_start(&check->schedule, 0);
}

static void end_with(struct run *run, enum result result, enum reason reason, const char *text)
{
    struct ending ending = { result, reason, PHASE_NONE, "" };

    /* A shared fault lies in no phase of this connection. */
    if (reason != REASON_NONE && reason_scope(reason) != SCOPE_SHARED)
        ending.phase = run->report.phase != PHASE_NONE ? run->report.phase : reason_phase(reason);
    snprintf(ending.text, sizeof ending.text, "%s", text);
    round_end(run, &ending);
}

void run_pass(struct run *run, const char *fmt, ...)
{
    struct err err = { 0 };
    va_list args;

    if (fmt) {
        va_start(args, fmt);
        err_vset(&err, REASON_NONE, 0, fmt, args);
        va_end(args);
    }
    end_with(run, RESULT_PASS, REASON_NONE, err.text);
}

void run_finish(struct run *run, enum reason reason, const char *fmt, ...)
{
    struct err err;
    va_list args;

    panic_if(reason == REASON_NONE);
    va_start(args, fmt);
    err_vset(&err, reason, 0, fmt, args);
    va_end(args);
    end_with(run, RESULT_FAIL, reason, err.text);
}

void run_warn(struct run *run, enum reason reason, const char *fmt, ...)
{
    struct err err;
    va_list args;

    va_start(args, fmt);
    err_vset(&err, reason, 0, fmt, args);
    va_end(args);
    end_with(run, RESULT_WARN, reason, err.text);
}

void run_finish_err(struct run *run, const struct err *err)
{
    if (run->active && err->code >= BROKER_HINT_ABSENT)
        run->report.broker_hint = err->code;
    if (run->active && err->reason == REASON_LOGIN_REJECTED && err->code >= 4000) /* said before the close frame is sent */
        run->report.close_code = err->code;
    end_with(run, RESULT_FAIL, err->reason, err->text);
}

static void event_begin(struct run *run, const struct err *err)
{
    struct check *check = run->check;

    if (!run->active) { /* a round of its own, begun and ended now */
        timer_stop(&check->schedule);
        check->run = run;
        check->apart = !both_is_second(check);
        memset(&run->report, 0, sizeof run->report);
        run->report.phase = PHASE_OPEN;
        run->active = true;
        run->started_ns = clock_now_ns();
        check->pace.extra = true;
        check->timed_out = false;
        /* The loss may come from a sleep of the agent that ended less than a timeout ago. */
        check->void_since_ns = run->started_ns - (uint64_t)check->conf->timeout_ms * NS_PER_MS;
    }
    if (err->reason == REASON_CLOSED_BY_SERVER || err->reason == REASON_CLOSED_ABNORMAL)
        run->report.close_code = err->code;
    check->hurry = check->view.health.state != STATE_FAIL;
}

void run_event(struct run *run, const struct err *err)
{
    panic_if(!run->type->session);
    if (both_take_event(run, RESULT_FAIL, err))
        return;
    event_begin(run, err);
    run_finish_err(run, err);
}

void run_event_warn(struct run *run, const struct err *err)
{
    panic_if(!run->type->session);
    if (both_take_event(run, RESULT_WARN, err))
        return;
    event_begin(run, err);
    run_warn(run, err->reason, "%s", err->text);
}

void run_skip(struct run *run, uint64_t until_ns)
{
    struct check *check = run->check;
    struct pace_options options = check_pace_options(check);
    struct ending ending;

    panic_if(!run->type->session);
    if (!run->active)
        return;
    run->active = false;
    timer_stop(&check->deadline);
    switch (both_skip_half(check, &until_ns, &ending)) {
    case BOTH_SECOND:
        timer_start(&check->schedule, 0);
        return;
    case BOTH_JUDGE:
        round_close(check, &ending);
        return;
    case BOTH_SKIP:
        check_schedule_in(check, pace_skip_ns(&check->pace, &options, clock_now_ns(), until_ns));
        return;
    }
}

struct broker *run_broker(const struct run *run, const char *name)
{
    struct check_host *host = run->check->host;

    return host->find_broker ? host->find_broker(host->user, name) : NULL;
}

struct conn_options run_conn_options(const struct run *run)
{
    return (struct conn_options){ .group = run->group,
                                  .target = run->target,
                                  .url = run->url,
                                  .tls = run->tls,
                                  .offer_deflate = true,
                                  .share = run->share,
                                  .asker = &run->asker,
                                  .http2 = run->http2,
                                  .each = run->each,
                                  .trace = run->trace };
}

unsigned run_versions(const struct run *run)
{
    return run->check->second ? 2 : 1;
}

bool run_draining(const struct run *run, uint64_t *since_ns)
{
    const struct check_host *host = run->check->host;

    *since_ns = host->drained_ns;
    return host->draining;
}

/* --- life --- */

/* The option that names a broker, of types that have one. */
static const char *broker_option(const struct check_conf *conf)
{
    const struct opt *row = conf->type->uses_brokers ? opt_find(conf->type->opts, "broker") : NULL;

    return row ? *(char *const *)opt_field(row, conf->opts) : NULL;
}

/* An address of the check's own is not known here; it may be a name, so the phase resolve may occur. */
static struct series series_of(const struct check *check)
{
    const struct probe_type *type = check->run->type;
    const struct url *url = check->run->url;
    bool plain = type->series & SERIES_REFUSALS; /* it dials the target and nothing else */
    struct in6_addr address;
    bool number = url->is_unix || inet_pton(AF_INET, url->host, &address) == 1 || inet_pton(AF_INET6, url->host, &address) == 1;

    return (struct series){
        .known = true,
        .name = !plain || !number,
        .tls = url->tls || type->wants_wss || (type->needs_tls && type->needs_tls(check->conf->opts)),
        .parts = type->series,
        .reasons = type->reasons,
    };
}

static void view_init(struct check *check)
{
    static const char *const http_names[] = { [HTTP_1_1] = "1.1", [HTTP_2] = "2", [HTTP_BOTH] = "both" };
    struct check_view *view = &check->view;
    const struct check_conf *conf = check->conf;
    const struct broker_conf *broker;

    view->name = conf->name;
    view->type = conf->type->name;
    view->kind = probe_kind_of(conf->type);
    view->rank = conf->type->rank;
    view->proves = conf->type->proves;
    if (probe_opens_websocket(conf->type) && (check->run->http != HTTP_1_1 || check->run->target->http != HTTP_1_1))
        view->http = http_names[check->run->http];
    view->path = conf->path == PATH_PUBLIC ? "public" : "local";
    view->series = series_of(check);
    view->summary = conf->type->summary;
    view->gates = conf->gates;
    view->broker = broker_option(conf);
    broker = view->broker ? conf_find_broker(check->generation->conf, view->broker) : NULL;
    view->broker_type = broker && check_is_broker(view) ? broker->type->name : NULL;
    view->timeout_ms = (uint64_t)conf->timeout_ms;
    view->slo_ms = (uint64_t)conf->slo_ms;
    view->interval_ms = (uint64_t)conf->interval_ms;
}

static void cut_round(void *user)
{
    run_finish(user, REASON_AGENT_ERROR, "another check got no answer on the shared connection: asked again on a new one");
}

/* Over HTTP/1.1 or 2; of `both`, each half has one. */
static void run_init(struct run *run, struct check *check, bool http2)
{
    struct check_host *host = check->host;
    struct generation *generation = check->generation;
    const struct check_conf *conf = check->conf;

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
    run->once = host->once;
    run->http = conf_http_of(run->target, conf);
    run->http2 = http2;
    run->asker = (struct asker){
        &run->active, &run->started_ns, (uint64_t)conf->timeout_ms, conf->gates, host->once ? NULL : cut_round, run
    };
    run->check = check;
    run->trace = &check->trace;
    run->each = check->each ? &check->each->dial : NULL;
}

static void run_fini(struct run *run)
{
    run->failed = false;
    if (run->type->stop && run->started_ns) /* start has been called */
        run->type->stop(run);
    run->active = false;
    if (run->type->clean)
        run->type->clean(run);
    mem_free(run->state);
}

struct check *check_new(struct check_host *host, struct generation *generation, const struct check_conf *conf)
{
    struct check *check = mem_alloc(sizeof *check);
    struct run *run = &check->first;
    enum conf_http http = conf_http_of(&generation->conf->target, conf);

    panic_if(!conf->type->start || !conf->type->on_deadline); /* a type with steps has talk's */
    check->host = host;
    check->generation = generation_ref(generation);
    check->tls_from = generation_ref(generation);
    check->conf = conf;
    check->run = run;
    check->each = each_new(conf);
    run_init(run, check, http == HTTP_2);
    if (http == HTTP_BOTH && conf->type->both == BOTH_HALVES) {
        check->second = mem_alloc(sizeof *check->second);
        run_init(check->second, check, true);
    }
    if (run->type->delivers)
        run->stats->delivery = mem_alloc(sizeof *run->stats->delivery);
    if (run->type->watches_server)
        run->stats->server = mem_alloc(sizeof *run->stats->server);
    list_init(&check->turn.node);
    if (conf->shares)
        run->share = share_ref(&host->shares, &host->group, generation, conf->path, run->http2, run->type->session);
    check->trace.head_max = host->trace_bytes;
    check->trace.lazy = !host->once;
    timer_init(&check->schedule, host->loop, on_schedule, check);
    timer_init(&check->deadline, host->loop, on_deadline, check);
    view_init(check);
    return check;
}

void check_start(struct check *check, uint64_t delay_ms, size_t place, size_t places)
{
    uint64_t interval_ns = (uint64_t)check->conf->interval_ms * NS_PER_MS;

    check_schedule_in(check, delay_ms * NS_PER_MS);
    /* All first rounds come at once. From the second one on every check has its own place in the interval. */
    check->pace.due_ns = check->due_ns;
    if (place + 1 < places)
        check->pace.due_ns -= interval_ns / places * (places - 1 - place);
}

void check_free(struct check *check)
{
    if (!check)
        return;
    timer_stop(&check->schedule);
    timer_stop(&check->deadline);
    share_yield(check->first.share, &check->turn);
    run_fini(&check->first);
    if (check->second)
        run_fini(check->second);
    check_free_traces(check);
    mem_free(check->view.stats.delivery);
    mem_free(check->view.stats.server);
    mem_free(check->second);
    mem_free(check->both);
    mem_free(check->each);
    share_unref(check->first.share, check->first.type->session);
    generation_unref(check->generation);
    generation_unref(check->tls_from);
    mem_free(check);
}

const struct check_view *check_get_view(const struct check *check)
{
    return &check->view;
}

const struct check_conf *check_get_conf(const struct check *check)
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
    check->first.tls = generation->tls;
    check->first.tls_resume = generation->tls_resume;
    if (check->second) {
        check->second->tls = generation->tls;
        check->second->tls_resume = generation->tls_resume;
    }
    if (check->first.share)
        share_use_tls(check->first.share, generation);
    generation_unref(old);
}

void check_set_witnessed(struct check *check, bool local)
{
    struct check_view *view = &check->view;
    bool refusal = view->last_fault_scope == SCOPE_PROBE || view->last_fault_scope == SCOPE_LOCAL;

    if (reason_scope(view->last_fault) != SCOPE_PROBE || !refusal)
        return;
    view->last_fault_scope = local ? SCOPE_LOCAL : SCOPE_PROBE;
    if (view->reason == view->last_fault)
        view->scope = view->last_fault_scope;
}

void check_resume(struct check *check)
{
    health_resume(&check->view.health, clock_now_ms());
}
