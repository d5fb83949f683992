/*
 * Counts the clients that are left while the instance is drained, and wakes the requests that wait for them (agent/http/httpd.h). Owned
 * by the agent, called by agent/run/agent_verdict.c and by a reload. Counts as the `server` check does (probes/server_look.h), on a
 * thread of its own, whether there is such a check or not. Who decides that enough clients have left is not this file: it only fills in
 * view.drain.
 *
 * The pace follows the cost: a count of some hundred connections takes less than 1 ms and comes every 20 ms; one that takes 20 ms comes
 * five times a second. What cannot be counted is never zero.
 *
 * A kubelet that restarts a server (its livenessProbe has failed) calls preStop too. So a drain that /prestop has begun ends when another
 * socket listens in the place of the one that did, or where none did: the server was restarted, and its pod does not end. Else it would
 * never be ready again.
 */
#include <stdio.h>
#include <string.h>

#include <netinet/in.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/core/event.h"
#include "agent/http/events.h"
#include "agent/http/httpd.h"
#include "agent/net/resolve.h"
#include "agent/run/agent_impl.h"
#include "probes/server_look.h"

enum { PAUSE_MIN_MS = 20, PAUSE_MAX_MS = 1000, COST_FACTOR = 10, RESOLVE_AGAIN_MS = 5000, FAILED_MAX = 3 };

static void wake(const struct agent *agent)
{
    if (agent->open.health)
        httpd_wake(agent->open.health);
    if (agent->open.admin)
        httpd_wake(agent->open.admin);
    if (agent->events)
        events_note(agent->events);
}

/* --- what was seen --- */

static void put_counted(struct agent *agent, uint64_t remaining)
{
    struct drain_view *view = &agent->view.drain;

    agent->drain.failed = 0;
    if (view->counted && view->remaining == remaining)
        return;
    view->counted = true;
    view->remaining = remaining;
    view->why[0] = 0;
    agent->view.generation++;
    agent->stale = true;
    wake(agent);
}

/* A single count may fail where the kernel is busy. What was counted before holds until it is clear that no more can be counted. */
static void put_uncounted(struct agent *agent, const char *why)
{
    struct drain_view *view = &agent->view.drain;

    if (view->counted && ++agent->drain.failed < FAILED_MAX)
        return;
    if (!view->counted && strncmp(view->why, why, sizeof view->why - 1) == 0)
        return;
    view->counted = false;
    view->remaining = 0;
    snprintf(view->why, sizeof view->why, "%s", why);
    agent->view.generation++;
    agent->stale = true;
    wake(agent);
}

static void note(struct agent *agent, const struct look_seen *seen)
{
    char why[sizeof agent->view.drain.why];

    if (seen->unresolved)
        snprintf(why, sizeof why, "the name %.80s does not resolve", agent->drain.host);
    else if (seen->elsewhere)
        snprintf(why, sizeof why, "the server is on another host");
    else if (seen->refused)
        snprintf(why, sizeof why, "%.150s", seen->err.text);
    else if (seen->never)
        snprintf(why, sizeof why, "nothing listens at %.100s in the agent's network namespace", agent->drain.place);
    else if (!seen->counted)
        snprintf(why, sizeof why, "the kernel's table of sockets is too large to be read in time");
    else {
        put_counted(agent, seen->connections[SERVER_ESTABLISHED] + seen->waiting);
        return;
    }
    put_uncounted(agent, why);
}

/* A server whose livenessProbe has failed because it does not listen has no socket that another could take the place of. */
static bool has_restarted(struct agent_drain *drain, const struct look_seen *seen)
{
    bool listens_now = drain->vacant && seen->listeners;

    if (seen->listeners)
        drain->vacant = false;
    else if (seen->never && !seen->refused && !seen->unsure)
        drain->vacant = true;
    return seen->restarted || listens_now;
}

static void on_seen(void *user, const struct look_seen *seen)
{
    struct agent *agent = user;
    uint64_t pause_ms = seen->cpu_ns * COST_FACTOR / NS_PER_MS;

    note(agent, seen);
    if (has_restarted(&agent->drain, seen) && agent->drain.by_hook && !agent->view.leaving) {
        event_log(EVENT_PRESTOP_OVER, NULL);
        agent_drain(agent, false);
        return;
    }
    pause_ms = pause_ms < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms;
    timer_start(&agent->drain.pause, pause_ms);
}

/* --- where the server is --- */

/* A name that does not resolve now keeps the addresses that it had. */
static void on_resolved(void *user, const struct resolve_answer *answer)
{
    struct agent *agent = user;
    struct agent_drain *drain = &agent->drain;

    drain->lookup = NULL;
    if (answer->count)
        drain->ask->target.count = 0;
    for (size_t i = 0; i < answer->count; i++)
        look_add(&drain->ask->target, &answer->addresses[i]);
    drain->ask->unresolved = !drain->ask->target.count;
    if (!drain->resolved_ms) { /* the first answer: nothing could be counted before */
        drain->resolved_ms = clock_now_ms();
        timer_start(&drain->pause, 0);
    }
    drain->resolved_ms = clock_now_ms();
}

static void look_up(struct agent *agent)
{
    struct agent_drain *drain = &agent->drain;
    bool due = !drain->resolved_ms || clock_now_ms() - drain->resolved_ms >= RESOLVE_AGAIN_MS;

    if (drain->by_name && !drain->lookup && due)
        drain->lookup = resolve_start(agent->loop, drain->host, on_resolved, agent);
}

static void on_pause(struct timer *timer, void *user)
{
    struct agent *agent = user;

    (void)timer;
    look_up(agent);
    if (agent->drain.by_name && !agent->drain.resolved_ms)
        return;                                          /* on_resolved goes on */
    (void)look_ask(agent->drain.look, agent->drain.ask); /* refused: it still looks, and on_seen comes */
}

/* The port that a `server` check names is the server's, whatever stands in front of it. */
static uint16_t named_port(const struct conf *conf)
{
    for (size_t i = 0; i < conf->check_count; i++)
        if (conf->checks[i].enabled && conf->checks[i].type->watches_server && server_port(conf->checks[i].opts))
            return server_port(conf->checks[i].opts);
    return 0;
}

static struct look_plan plan_of(struct agent *agent)
{
    const struct conf *conf = agent->generation->conf;
    const struct url *url = &conf->target.local;
    struct agent_drain *drain = &agent->drain;
    uint16_t named = named_port(conf);
    struct look_plan plan = { .count_only = true };

    if (url->is_unix && !named)
        plan.unix_path = url->unix_path;
    else
        plan.port = named ? named : url->port;
    drain->by_name = !plan.unix_path && !named;
    snprintf(drain->host, sizeof drain->host, "%s", url->host);
    if (plan.unix_path)
        snprintf(drain->place, sizeof drain->place, "%s", plan.unix_path);
    else
        snprintf(drain->place, sizeof drain->place, "port %u", plan.port);
    return plan;
}

/* --- its life --- */

void agent_drain_init(struct agent *agent)
{
    timer_init(&agent->drain.pause, agent->loop, on_pause, agent);
}

static void begin(struct agent *agent)
{
    struct agent_drain *drain = &agent->drain;
    const struct look_plan plan = plan_of(agent);
    struct err err;

    drain->look = look_new(agent->loop, &plan, on_seen, agent, &err);
    if (!drain->look) {
        put_uncounted(agent, err.text);
        return;
    }
    drain->ask = mem_alloc(sizeof *drain->ask);
    drain->resolved_ms = 0;
    timer_start(&drain->pause, 0);
}

static void end(struct agent *agent)
{
    struct agent_drain *drain = &agent->drain;

    timer_stop(&drain->pause);
    if (drain->lookup)
        resolve_cancel(drain->lookup);
    drain->lookup = NULL;
    if (drain->look)
        look_free(drain->look);
    drain->look = NULL;
    mem_free(drain->ask);
    drain->ask = NULL;
    drain->failed = 0;
    drain->vacant = false;
}

void agent_drain_start(struct agent *agent)
{
    end(agent);
    agent->drain.by_hook = false;
    agent->view.drain = (struct drain_view){ .since_ms = clock_now_ms() };
    begin(agent);
}

void agent_drain_stop(struct agent *agent)
{
    end(agent);
    agent->view.drain = (struct drain_view){ .since_ms = 0 };
    agent->view.generation++;
    wake(agent);
}

/* What is known of the same server stays: it may have closed its listener already, and where its clients are is known from then. */
void agent_drain_again(struct agent *agent)
{
    const struct agent_drain before = agent->drain;

    if (!before.look && !agent->view.drain.since_ms)
        return;
    (void)plan_of(agent);
    if (before.look && before.by_name == agent->drain.by_name && strcmp(before.host, agent->drain.host) == 0 &&
        strcmp(before.place, agent->drain.place) == 0)
        return;
    agent->view.drain.counted = false; /* that was another server */
    agent->view.drain.why[0] = 0;
    end(agent);
    begin(agent);
}
