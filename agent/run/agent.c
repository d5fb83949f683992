/*
 * The composition root (agent/run/agent.h). Owns the agent's life: what is made first, what is closed last, and its timers and signals.
 * Called by the commands. Its parts have a file each: the checks (agent_checks.c), the verdict over them (agent_verdict.c), the brokers
 * (agent_brokers.c), the sockets (agent_listeners.c) and the reload (agent_reload.c).
 */
#include "agent/run/agent.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/process.h"
#include "agent/base/random.h"
#include "agent/base/text.h"
#include "agent/base/version.h"
#include "agent/core/event.h"
#include "agent/http/httpd.h"
#include "agent/run/agent_impl.h"
#include "agent/run/guard.h"
#include "agent/run/sd_notify.h"
#include "brokers/registry.h"

enum {
    STOP_POLL_MS = 10,
    STOP_MAX_MS = 1000,
    STOP_SAVE_MS = 4000, /* so much longer for the history that the disk has not taken yet: it is a whole minute of it */
    TIDY_MS = 1000,
    LEAVE_MORE_MS = 10000,
    LEAVE_POLL_MS = 20,
    LEAVE_PRESTOP_MS = 2000
};

static void on_done_timer(struct timer *timer, void *user)
{
    struct agent *agent = user;

    (void)timer;
    agent->options.on_done(agent->options.user);
}

static void on_judged(void *user, struct check *check, bool changed)
{
    struct agent *agent = user;

    if (agent->on_stopped)
        return;
    agent_verdict_note_round(agent, check_get_view(check));
    agent_verdict_update(agent, changed ? check_get_view(check) : NULL);
    if (agent->options.once && ++agent->judged == agent->check_count && agent->options.on_done)
        timer_start(&agent->done, 0); /* later: the check is still inside its round */
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

/* The loop turns: systemd hears it, or the guard does. */
static void on_watchdog(struct timer *timer, void *user)
{
    struct agent *agent = user;
    char why[GUARD_SENTENCE_MAX];

    notify_send("WATCHDOG=1");
    agent_status_refresh(agent);
    if (guard_is_there())
        guard_tell(agent_server_hangs(agent, why, sizeof why) ? why : NULL);
    timer_start(timer, guard_is_there() ? GUARD_EVERY_MS : notify_watchdog_ms());
}

static void on_tidy(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    mem_trim();
}

void agent_tidy_soon(struct agent *agent)
{
    timer_start(&agent->tidying, TIDY_MS);
}

static void on_hangup(void *user, int number)
{
    struct agent *agent = user;
    struct conf_errors errors;

    (void)number;
    conf_errors_init(&errors);
    agent_reload(agent, &errors); /* logs the errors of the file */
    conf_errors_fini(&errors);
}

/* --- life --- */

void agent_warn_of_config(const struct agent *agent)
{
    char text[256];

    if (conf_warns(agent->generation->conf, text, sizeof text))
        event_log(EVENT_CONFIG_WARNING, "config", agent->config_file, "message", text, NULL);
}

static void agent_start_serving(struct agent *agent)
{
    event_log(EVENT_START, "version", WSHEALTHD_VERSION, "target", agent->service_id, "config", agent->config_file, NULL);
    if (geteuid() == 0 && !process_in_container())
        event_log(EVENT_RUN_AS_ROOT, "hint", "a user of its own is enough: the agent needs no privilege", NULL);
    agent_warn_of_config(agent);
    loop_signal_open(&agent->hangup, agent->loop, SIGHUP, on_hangup, agent);
    agent->hangup_open = true;
    if (notify_watchdog_ms() || guard_is_there())
        timer_start(&agent->watchdog, 0);
    agent_history_start(agent);
    notify_send("STATUS=starting");
    notify_ready();
    agent_tidy_soon(agent);
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
    agent->reload = agent_reload;
    agent->host.loop = loop;
    agent->host.once = options->once;
    agent->host.trace_bytes = options->traces ? TRACE_ALL_BYTES : 0;
    agent->host.on_judged = on_judged;
    agent->host.on_news = agent_checks_hurry;
    agent->host.user = agent;
    agent->host.find_broker = agent_brokers_find;
    random_bytes(&nonce, sizeof nonce);
    snprintf(agent->host.nonce, sizeof agent->host.nonce, "%08x", nonce);
    conn_group_init(&agent->host.group, loop);
    agent->host.group.unhurried = options->serve;
    timer_init(&agent->done, loop, on_done_timer, agent);
    timer_init(&agent->stopping, loop, NULL, NULL);
    timer_init(&agent->watchdog, loop, on_watchdog, agent);
    timer_init(&agent->tidying, loop, on_tidy, agent);
    agent_verdict_init(agent);
    agent_drain_init(agent);
    if (options->serve) /* before the first line is written */
        log_configure((enum log_level)conf->log_level, (enum log_format)conf->log_format);
    if (options->serve && agent_listeners_open(agent, conf, err) < 0) {
        generation_unref(generation);
        agent_verdict_fini(agent);
        mem_free(agent->config_file);
        mem_free(agent);
        return NULL;
    }
    stall_init(&agent->host.stall, loop, on_tick, agent);
    agent_notify_configure(agent);
    agent_checks_start(agent);
    if (agent->check_count == 0 && options->once && options->on_done)
        timer_start(&agent->done, 0);
    if (options->serve)
        agent_start_serving(agent);
    agent_verdict_update(agent, NULL);
    return agent;
}

static void on_goodbye_timer(struct timer *timer, void *user)
{
    struct agent *agent = user;

    /* A broker's close is bounded by its driver; its memory is needed until then. */
    uint64_t now_ms = clock_now_ms();
    bool telling = agent->notifiers && notifiers_busy(agent->notifiers);
    bool parting = (!conn_group_idle(&agent->host.group) || telling) && now_ms < agent->stop_by_ms;
    bool saving = agent_history_busy(agent) && now_ms < agent->stop_by_ms + STOP_SAVE_MS;

    if (agent->brokers_closing || parting || saving) {
        timer_start(timer, STOP_POLL_MS);
        return;
    }
    agent_history_fini(agent);
    conn_group_fini(&agent->host.group);
    notifiers_free(agent->notifiers);
    agent->notifiers = NULL;
    agent->view.notifiers = NULL;
    agent->view.notifier_count = 0;
    agent->on_stopped(agent->stopped_user);
}

static void on_stop_timer(struct timer *timer, void *user)
{
    struct agent *agent = user;

    if (agent_fleet_busy(agent) && clock_now_ms() < agent->stop_by_ms) { /* its goodbye is under way */
        timer_start(timer, STOP_POLL_MS);
        return;
    }
    agent->host.group.unhurried = false;
    agent_fleet_fini(agent);
    agent_checks_stop(agent);
    agent_brokers_close(agent);
    timer_init(timer, agent->loop, on_goodbye_timer, agent);
    on_goodbye_timer(timer, agent);
}

/* Where a pod's containers are all told to end at once, the agent would go before the server's /prestop is answered: the hook would fail,
 * and the server would end with all its clients. Each of these requests has a time of its own, and so has the pod. */
static void on_grace_over(struct timer *timer, void *user)
{
    struct agent *agent = user;

    if (agent->open.health && httpd_waiting(agent->open.health))
        timer_start(timer, LEAVE_POLL_MS);
    else
        agent_stop(agent, agent->on_left, agent->left_user);
}

/* The hook of the server's container may come a moment after the agent's SIGTERM. */
static int64_t grace_of(const struct agent *agent)
{
    const struct conf *conf = agent->generation->conf;
    bool hook_may_come = conf->prestop && !agent->draining;

    return hook_may_come && conf->grace_ms < LEAVE_PRESTOP_MS ? LEAVE_PRESTOP_MS : conf->grace_ms;
}

/* Load balancers look once in a while: an agent that is simply gone is a fault to some of them, and no news to others. */
void agent_leave(struct agent *agent, void (*on_stopped)(void *user), void *user)
{
    int64_t grace_ms = grace_of(agent);
    char grace[32];

    if (!agent->options.serve || (!grace_ms && !(agent->open.health && httpd_waiting(agent->open.health)))) {
        agent_stop(agent, on_stopped, user);
        return;
    }
    panic_if(agent->view.leaving);
    agent->view.leaving = true;
    notifiers_leave(agent->notifiers);
    agent->on_left = on_stopped;
    agent->left_user = user;
    text_format_duration(grace_ms, grace, sizeof grace);
    event_log(EVENT_LEAVE, "grace", grace, NULL);
    agent_drain(agent, true);
    notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld", (long long)(grace_ms + LEAVE_MORE_MS) * 1000);
    timer_init(&agent->leaving, agent->loop, on_grace_over, agent);
    timer_start(&agent->leaving, (uint64_t)grace_ms);
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
    timer_stop(&agent->tidying);
    if (agent->notifiers)
        notifiers_leave(agent->notifiers);
    agent_verdict_stop(agent);
    agent_fleet_leave(agent);
    agent_history_stop(agent);
    if (agent->view.drain.since_ms)
        agent_drain_stop(agent);
    stall_fini(&agent->host.stall);
    if (agent->options.serve) {
        notify_send("STOPPING=1");
        event_log(EVENT_STOP, NULL);
        agent_listeners_close(agent);
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
    agent_verdict_fini(agent);
    mem_free(agent->config_file);
    mem_free(agent);
    for (size_t i = 0; broker_registry[i]; i++)
        if (broker_registry[i]->end)
            broker_registry[i]->end();
}
