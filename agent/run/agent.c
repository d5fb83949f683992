/*
 * The composition root (agent/run/agent.h): checks, the verdict over them, and the faces that show it. Called by the commands. Every judged
 * round comes here (on_judged); everything that is read from outside comes out of one struct agent_view. Reloading and opening the
 * sockets live in agent/run/agent_reload.c.
 */
#include "agent/run/agent.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/process.h"
#include "agent/base/random.h"
#include "agent/base/version.h"
#include "agent/core/event.h"
#include "agent/http/httpd.h"
#include "agent/report/report.h"
#include "agent/run/agent_impl.h"
#include "agent/run/sd_notify.h"
#include "brokers/registry.h"
#include "probes/dialects/registry.h"
#include "probes/registry.h"

enum { STOP_POLL_MS = 10, STOP_MAX_MS = 1000, FIRST_SPREAD_MS = 2, FIRST_SPREAD_MAX_MS = 20, NEWS_SPREAD_MS = 20 };

static const char *process_env(const char *name)
{
    return getenv(name);
}

const struct conf_env agent_conf_env = { probe_registry, broker_registry, dialect_registry, process_env };

/* --- the verdict --- */

static void diagnose_if_stale(struct agent *agent)
{
    if (!agent->stale)
        return;
    agent->stale = false;
    diagnose(&agent->view, &agent->view.diagnosis);
}

static void on_story(void *user, const struct story_line *line)
{
    struct agent *agent = user;
    bool other = strcmp(line->was->cause, line->is->cause) != 0;

    event_log(line->event, "cause", line->is->cause, "was", other ? line->was->cause : NULL, "message", line->is->sentence, NULL);
    if (agent->options.on_told)
        agent->options.on_told(agent->options.user, line);
}

static void on_settled(struct timer *timer, void *user)
{
    struct agent *agent = user;

    (void)timer;
    story_due(&agent->story);
}

/* /ready has changed already; what is told of it waits until the cause is clear. */
static void tell(struct agent *agent)
{
    uint64_t now_ms = clock_now_ms();

    diagnose_if_stale(agent);
    if (!story_update(&agent->story, &agent->view, now_ms))
        timer_stop(&agent->settling);
    else
        timer_start(&agent->settling, agent->story.due_ms > now_ms ? agent->story.due_ms - now_ms : 0);
}

static bool verdict_equal(const struct verdict *a, const struct verdict *b)
{
    return a->ready == b->ready && a->live == b->live && a->started == b->started && a->degraded == b->degraded &&
           a->draining == b->draining && a->status == b->status;
}

void agent_update(struct agent *agent)
{
    struct verdict old = agent->view.verdict, *now = &agent->view.verdict;
    const struct conf *conf = agent->generation->conf;
    bool strict = agent->options.once; /* `check` reports rounds, whatever their scope */
    struct verdict_policy policy = { strict || conf->shared_faults_fail, strict || conf->probe_faults_fail,
                                     (uint64_t)conf->liveness_after_ms };
    char line[256];

    for (size_t i = 0; i < agent->check_count; i++) {
        const struct check_view *view = agent->views[i];

        bool witness = check_is_witness(agent->checks[i]) && check_conf(agent->checks[i])->path == PATH_LOCAL;

        agent->inputs[i] = (struct health_input){ &view->health, view->last_fault_scope, view->gates, witness };
    }
    *now = verdict_of(agent->inputs, agent->check_count, &policy, agent->draining, &old);
    agent->view.generation++;
    agent->stale = true;
    if (agent->options.serve)
        tell(agent);
    if (agent->options.serve && !verdict_equal(&old, now)) {
        report_line(&agent->view, line, sizeof line);
        notify_send("STATUS=%s", line);
    }
    if (agent->options.on_change && !agent->on_stopped)
        agent->options.on_change(agent->options.user, agent_view(agent));
}

static void on_done_timer(struct timer *timer, void *user)
{
    struct agent *agent = user;

    (void)timer;
    agent->options.on_done(agent->options.user);
}

static void on_judged(void *user, struct check *check, bool changed)
{
    struct agent *agent = user;

    (void)check;
    (void)changed;
    if (agent->on_stopped)
        return;
    agent_update(agent);
    if (agent->options.once && ++agent->judged == agent->check_count && agent->options.on_done)
        timer_start(&agent->done, 0); /* later: the check is still inside its round */
}

/* What one check of a target sees, the others on its path should see soon: it makes the diagnosis whole, and a recovery too. */
static void on_news(void *user, struct check *check, bool failed)
{
    struct agent *agent = user;
    uint64_t delay_ms = 0;

    for (size_t i = 0; i < agent->check_count; i++) {
        struct check *other = agent->checks[i];

        if (other && other != check && check_is_witness(other) && check_conf(other)->path == check_conf(check)->path)
            check_hurry(other, failed, delay_ms += NEWS_SPREAD_MS);
    }
}

/* A stall is over: what failed before it is no evidence for /live. */
static void on_tick(void *user, uint64_t late_ms)
{
    struct agent *agent = user;
    char text[24];

    log_tick();
    if (late_ms < STALL_REPORT_MS)
        return;
    snprintf(text, sizeof text, "%llums", (unsigned long long)late_ms);
    event_log(EVENT_STALL, "late", text, NULL);
    for (size_t i = 0; i < agent->check_count; i++)
        check_resume(agent->checks[i]);
}

static void on_watchdog(struct timer *timer, void *user)
{
    (void)user;
    notify_send("WATCHDOG=1");
    timer_start(timer, notify_watchdog_ms());
}

static void on_hangup(void *user, int number)
{
    struct agent *agent = user;
    struct conf_errors errors;

    (void)number;
    conf_errors_init(&errors);
    agent_reload(agent, &errors); /* logs what it thinks of the file */
    conf_errors_fini(&errors);
}

/* --- life --- */

/* The first rounds start a little apart, so that one server is not hit by all checks in one moment; later ones have their own places. */
void agent_start_check(struct agent *agent, struct check *check, size_t index)
{
    uint64_t delay_ms = index * FIRST_SPREAD_MS;
    size_t place = 0, places = 0;

    for (size_t i = 0; i < agent->check_count; i++)
        if (check_is_witness(agent->checks[i]) == check_is_witness(check)) {
            place += i < index;
            places++;
        }
    if (delay_ms >= FIRST_SPREAD_MAX_MS)
        delay_ms = FIRST_SPREAD_MAX_MS + random_below(FIRST_SPREAD_MAX_MS);
    check_start(check, delay_ms, place, places);
}

static void view_init(struct agent *agent)
{
    struct agent_view *view = &agent->view;

    view->version = WSHEALTHD_VERSION;
    view->config_file = agent->config_file ? agent->config_file : "";
    view->started_ms = clock_wall_ms();
    view->verdict.live = true;
}

void agent_set_checks(struct agent *agent, struct check **checks, size_t count)
{
    mem_free(agent->checks);
    mem_free(agent->views);
    mem_free(agent->inputs);
    agent->checks = checks;
    agent->check_count = count;
    agent->views = mem_alloc((count + 1) * sizeof *agent->views);
    agent->inputs = mem_alloc((count + 1) * sizeof *agent->inputs);
    for (size_t i = 0; i < count; i++)
        agent->views[i] = check_view(checks[i]);
    agent->view.checks = agent->views;
    agent->view.check_count = count;
    url_redact(agent->shown_url ? agent->shown_url : agent->generation->conf->target.url, agent->service_id,
               sizeof agent->service_id);
    agent->view.service_id = agent->service_id;
}

static void agent_start(struct agent *agent)
{
    struct check **checks = mem_alloc((agent->generation->conf->check_count + 1) * sizeof(struct check *));
    const struct conf *conf = agent->generation->conf;
    size_t count = 0;

    agent_open_brokers(agent, agent->generation);
    for (size_t i = 0; i < conf->check_count; i++)
        if (conf->checks[i].enabled)
            checks[count++] = check_new(&agent->host, agent->generation, &conf->checks[i]);
    agent_set_checks(agent, checks, count);
    for (size_t i = 0; i < count; i++)
        agent_start_check(agent, checks[i], i);
    if (count == 0 && agent->options.once && agent->options.on_done)
        timer_start(&agent->done, 0);
}

static void agent_start_serving(struct agent *agent)
{
    event_log(EVENT_START, "version", WSHEALTHD_VERSION, "target", agent->service_id, "config", agent->config_file, NULL);
    if (geteuid() == 0 && !process_in_container())
        event_log(EVENT_RUN_AS_ROOT, "hint", "a user of its own is enough: the agent needs no privilege", NULL);
    loop_signal_open(&agent->hangup, agent->loop, SIGHUP, on_hangup, agent);
    agent->hangup_open = true;
    if (notify_watchdog_ms())
        timer_start(&agent->watchdog, 0);
    notify_send("READY=1\nSTATUS=starting");
}

struct agent *agent_new(struct loop *loop, struct conf *conf, const struct agent_options *options, struct err *err)
{
    struct generation *generation = generation_new(conf, err);
    struct agent *agent;
    uint32_t nonce;

    if (!generation)
        return NULL;
    agent = mem_alloc(sizeof *agent);
    agent->loop = loop;
    agent->generation = generation;
    agent->options = *options;
    agent->config_file = mem_strdup(options->config_file);
    agent->shown_url = options->shown_url;
    agent->host.loop = loop;
    agent->host.once = options->once;
    agent->host.on_judged = on_judged;
    agent->host.on_news = on_news;
    agent->host.user = agent;
    agent->host.find_broker = agent_find_broker;
    random_bytes(&nonce, sizeof nonce);
    snprintf(agent->host.nonce, sizeof agent->host.nonce, "%08x", nonce);
    conn_group_init(&agent->host.group, loop);
    timer_init(&agent->done, loop, on_done_timer, agent);
    timer_init(&agent->stopping, loop, NULL, NULL);
    timer_init(&agent->settling, loop, on_settled, agent);
    agent->story.tell = on_story;
    agent->story.user = agent;
    timer_init(&agent->watchdog, loop, on_watchdog, agent);
    view_init(agent);
    if (options->serve) /* before the first line is written */
        log_configure((enum log_level)conf->log_level, (enum log_format)conf->log_format);
    if (options->serve && agent_open_faces(agent, conf, err) < 0) {
        generation_unref(generation);
        mem_free(agent->config_file);
        mem_free(agent);
        return NULL;
    }
    stall_init(&agent->host.stall, loop, on_tick, agent);
    agent_start(agent);
    if (options->serve)
        agent_start_serving(agent);
    agent_update(agent);
    return agent;
}

static void on_goodbye_timer(struct timer *timer, void *user)
{
    struct agent *agent = user;

    /* A broker's close is bounded by its driver; its memory is needed until then. */
    if (agent->brokers_closing || (!conn_group_idle(&agent->host.group) && clock_now_ms() < agent->stop_by_ms)) {
        timer_start(timer, STOP_POLL_MS);
        return;
    }
    conn_group_fini(&agent->host.group);
    agent->on_stopped(agent->stopped_user);
}

static void on_stop_timer(struct timer *timer, void *user)
{
    struct agent *agent = user;

    for (size_t i = 0; i < agent->check_count; i++)
        check_free(agent->checks[i]);
    agent->check_count = agent->view.check_count = 0;
    agent_close_brokers(agent);
    timer_init(timer, agent->loop, on_goodbye_timer, agent);
    on_goodbye_timer(timer, agent);
}

/* The checks go in the next turn of the loop: this may be called from inside one of their rounds. */
void agent_stop(struct agent *agent, void (*on_stopped)(void *user), void *user)
{
    panic_if(agent->on_stopped);
    agent->on_stopped = on_stopped;
    agent->stopped_user = user;
    agent->stop_by_ms = clock_now_ms() + STOP_MAX_MS;
    timer_stop(&agent->done);
    timer_stop(&agent->watchdog);
    timer_stop(&agent->settling);
    story_due(&agent->story);
    stall_fini(&agent->host.stall);
    if (agent->options.serve) {
        notify_send("STOPPING=1");
        event_log(EVENT_STOP, NULL);
        agent_close_faces(agent);
    }
    if (agent->hangup_open)
        loop_signal_close(&agent->hangup);
    agent->hangup_open = false;
    timer_init(&agent->stopping, agent->loop, on_stop_timer, agent);
    timer_start(&agent->stopping, 0);
}

void agent_free(struct agent *agent)
{
    if (!agent)
        return;
    panic_if(!agent->on_stopped);
    generation_unref(agent->generation);
    mem_free(agent->checks);
    mem_free(agent->views);
    mem_free(agent->inputs);
    mem_free(agent->config_file);
    mem_free(agent);
    for (size_t i = 0; broker_registry[i]; i++)
        if (broker_registry[i]->end)
            broker_registry[i]->end();
}

const struct agent_view *agent_view(struct agent *agent)
{
    diagnose_if_stale(agent);
    agent->view.loop_lag = agent->loop->turns;
    prom_merge(&agent->view.loop_lag, &agent->host.stall.lag);
    agent->view.stalls = agent->host.stall.stalls;
    return &agent->view;
}

void agent_forget_refusals(struct agent *agent)
{
    memset(agent->host.backoff, 0, sizeof agent->host.backoff);
}

void agent_drain(struct agent *agent, bool on)
{
    if (agent->draining == on)
        return;
    agent->draining = on;
    event_log(on ? EVENT_DRAIN : EVENT_RESUME, NULL);
    agent_update(agent);
}
