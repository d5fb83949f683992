/*
 * Owns the agent's view (agent/report/view.h): when it is made from the checks, judged by agent/core/health.h, diagnosed and
 * logged. Called by agent/run/agent.c after each judged round, by agent/run/agent_checks.c when the checks change, and by the
 * readers of the view. The diagnosis is made only when it is read. agent/report/story.h decides when the log tells a change.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/version.h"
#include "agent/core/event.h"
#include "agent/report/report.h"
#include "agent/run/agent_impl.h"
#include "agent/run/sd_notify.h"

enum { STATUS_MAX = 256, STATUS_FRESH_MS = 30000 };

static void diagnose_if_stale(struct agent *agent)
{
    if (!agent->stale)
        return;
    uint64_t now_ns = clock_now_ns(), window_ns = AGENT_LATE_MS * NS_PER_MS;
    agent->view.late_ms = stall_late_ms(&agent->host.stall, now_ns > window_ns ? now_ns - window_ns : 0);
    agent->stale = false;
    diagnose(&agent->view, &agent->view.diagnosis);
}

static void note_change(struct agent *agent, const struct story_state *is)
{
    const struct history_change change = { is->at_ms, is->word, is->live, is->cause, is->sentence, is->plain };

    history_note_change(agent->history, &change);
    if (agent->notifiers)
        notifiers_tell(agent->notifiers, is);
}

void agent_verdict_note_round(struct agent *agent, const struct check_view *check)
{
    if (agent->history)
        history_note_round(agent->history, check, clock_wall_ms());
}

static void on_story(void *user, const struct story_line *line)
{
    struct agent *agent = user;

    story_log(line);
    if (line->event == EVENT_CHECK_FAIL || line->event == EVENT_CHECK_WARN || line->event == EVENT_CHECK_PASS)
        return;
    note_change(agent, line->is);
    if (agent->options.serve)
        agent_status_tell(agent);
    if (agent->options.on_told)
        agent->options.on_told(agent->options.user, line);
}

static void on_settle_timer(struct timer *timer, void *user)
{
    struct agent *agent = user;

    (void)timer;
    story_due(&agent->story);
}

/* /ready changes at once. The log waits until the cause is clear. */
static void tell(struct agent *agent, const struct check_view *changed)
{
    uint64_t now_ms = clock_now_ms();
    bool first = !agent->story.begun;

    diagnose_if_stale(agent);
    if (!story_update(&agent->story, &agent->view, changed, now_ms, clock_wall_ms()))
        timer_stop(&agent->settling);
    else
        timer_start(&agent->settling, agent->story.due_ms > now_ms ? agent->story.due_ms - now_ms : 0);
    if (first)
        note_change(agent, &agent->story.told);
}

static bool verdict_equal(const struct verdict *a, const struct verdict *b)
{
    return a->ready == b->ready && a->live == b->live && a->started == b->started && a->degraded == b->degraded &&
           a->draining == b->draining && a->status == b->status;
}

void agent_verdict_init(struct agent *agent)
{
    struct agent_view *view = &agent->view;

    view->version = WSHEALTHD_VERSION;
    view->config_file = agent->config_file ? agent->config_file : "";
    view->started_ms = clock_wall_ms();
    view->verdict.live = true;
    view->once = agent->options.once;
    view->nonce = agent->host.nonce;
    agent->history = agent->options.serve ? history_new() : NULL;
    view->history = agent->history;
    agent->story.tell = on_story;
    agent->story.user = agent;
    timer_init(&agent->settling, agent->loop, on_settle_timer, agent);
}

void agent_verdict_set_checks(struct agent *agent)
{
    size_t count = agent->check_count;

    mem_free(agent->views);
    mem_free(agent->inputs);
    agent->views = mem_alloc((count + 1) * sizeof *agent->views);
    agent->inputs = mem_alloc((count + 1) * sizeof *agent->inputs);
    for (size_t i = 0; i < count; i++)
        agent->views[i] = check_get_view(agent->checks[i]);
    agent->view.checks = agent->views;
    agent->view.check_count = count;
    agent_fleet_forget_checks(agent);
    if (agent->history)
        history_keep_checks(agent->history, agent->views, count);
    url_redact(agent->shown_url ? agent->shown_url : agent->generation->conf->target.url, agent->service_id,
               sizeof agent->service_id);
    agent->view.service_id = agent->service_id;
    agent->view.region = agent->generation->conf->region;
}

static const struct agent_view *view_for_notifiers(void *user)
{
    return agent_current_view(user);
}

void agent_notify_configure(struct agent *agent)
{
    if (!agent->options.serve)
        return;
    if (!agent->notifiers)
        agent->notifiers = notifiers_new(agent->loop, view_for_notifiers, agent);
    notifiers_configure(agent->notifiers, agent->generation);
    agent->view.notifiers = notifiers_views(agent->notifiers, &agent->view.notifier_count);
}

/* What `systemctl status` shows. Texts of a peer must not become assignments of their own: report_line gives one line. */
void agent_status_tell(struct agent *agent)
{
    char line[STATUS_MAX];

    diagnose_if_stale(agent);
    report_line(&agent->view, line, sizeof line);
    agent->status_ms = clock_now_ms();
    notify_send("STATUS=%s%s%s", line, agent->refused[0] ? " | " : "", agent->refused);
}

/* The times in it grow old. */
void agent_status_refresh(struct agent *agent)
{
    if (clock_now_ms() - agent->status_ms >= STATUS_FRESH_MS)
        agent_status_tell(agent);
}

void agent_verdict_update(struct agent *agent, const struct check_view *changed)
{
    struct verdict old = agent->view.verdict, *now = &agent->view.verdict;
    const struct conf *conf = agent->generation->conf;
    bool strict = agent->options.once; /* `check` reports rounds, whatever their scope */
    struct verdict_policy policy = { strict || conf->shared_faults_fail, strict || conf->probe_faults_fail,
                                     (uint64_t)conf->liveness_after_ms, strict, false };
    agent_fleet_witness(agent);
    for (size_t i = 0; i < agent->check_count; i++) {
        const struct check_view *view = agent->views[i];
        bool front = check_is_public(view), witness = check_is_witness(agent->checks[i]) && !front;

        agent->inputs[i] = (struct health_input){ &view->health, view->last_fault_scope, view->gates, witness, front };
    }
    *now = verdict_of(agent->inputs, agent->check_count, &policy, agent->draining, &old);
    agent->stale = true;
    agent_fleet_judge(agent, &policy, &old, now);
    agent->view.generation++;
    if (agent->options.serve) {
        tell(agent, changed);
        agent_fleet_tell(agent);
        agent_listeners_wake(agent);
    }
    if (agent->options.serve && !verdict_equal(&old, now))
        agent_status_tell(agent);
    if (agent->options.on_change && !agent->on_stopped)
        agent->options.on_change(agent->options.user, agent_current_view(agent));
}

/*
 * /live is 503, and nothing speaks against a restart. Without a kubelet's startup probe before it, a server that has not answered since
 * the agent began may still be starting, or may have been given another address. While it drains, somebody is at work on it. While a
 * broker is down, its servers may hang for that reason, all of them, and a restart mends none.
 */
bool agent_server_hangs(struct agent *agent, char *why, size_t size)
{
    bool answered = false, shared = false;

    if (agent->view.verdict.live || agent->draining || agent->on_stopped)
        return false;
    for (size_t i = 0; i < agent->check_count; i++) {
        const struct check_view *view = agent->views[i];

        answered = answered || ((view->gates & GATE_LIVE) && view->health.state == STATE_FAIL && view->health.passed_once);
        shared = shared || (view->health.state == STATE_FAIL && view->last_fault_scope == SCOPE_SHARED) ||
                 (check_is_broker(view) && view->health.state == STATE_FAIL);
    }
    if (!answered || shared)
        return false;
    snprintf(why, size, "%s", agent_current_view(agent)->diagnosis.sentence);
    return true;
}

void agent_drain(struct agent *agent, bool on)
{
    if (agent->draining == on || (agent->view.leaving && !on))
        return;
    agent->draining = agent->host.draining = on;
    agent->host.drained_ns = clock_now_ns();
    event_log(on ? EVENT_DRAIN : EVENT_RESUME, NULL);
    agent_verdict_update(agent, NULL);
    if (!agent->options.serve)
        return;
    if (on)
        agent_drain_start(agent);
    else
        agent_drain_stop(agent);
}

const struct agent_view *agent_current_view(struct agent *agent)
{
    diagnose_if_stale(agent);
    agent->view.loop_lag = agent->loop->turns;
    prom_merge(&agent->view.loop_lag, &agent->host.stall.lag);
    agent->view.stalls = agent->host.stall.stalls;
    agent->view.untold_ms = agent->story.pending ? agent->story.next.at_ms : 0;
    return &agent->view;
}

void agent_verdict_stop(struct agent *agent)
{
    timer_stop(&agent->settling);
    story_due(&agent->story);
}

void agent_verdict_fini(struct agent *agent)
{
    story_fini(&agent->story);
    history_free(agent->history);
    mem_free(agent->views);
    mem_free(agent->inputs);
}
