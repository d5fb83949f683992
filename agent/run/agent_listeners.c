/*
 * Owns the agent's listeners: the health listener (`listen`, HTTP for everybody), HAProxy's (`agent_check`) and the admin socket (`admin`). Called by
 * agent/run/agent.c and agent/run/agent_reload.c. Promises that a reload opens every new socket before it closes an old one. What the
 * answers say is in agent/http; where an automatic admin socket may be is in agent/run/addresses.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/event.h"
#include "agent/http/admin.h"
#include "agent/http/agent_check.h"
#include "agent/http/httpd.h"
#include "agent/http/serve.h"
#include "agent/run/agent_impl.h"
#include "agent/run/sd_notify.h"

static const struct agent_view *source_view(void *user)
{
    return agent_current_view(user);
}

static int source_details(void *user)
{
    const struct agent *agent = user;

    return agent->generation->conf->details;
}

static bool source_proxy_protocol(void *user)
{
    const struct agent *agent = user;

    return agent->generation->conf->proxy_protocol;
}

static bool source_prestop(void *user)
{
    const struct agent *agent = user;

    return agent->generation->conf->prestop;
}

static void source_drain(void *user, bool on)
{
    agent_drain(user, on);
}

/* What a command has begun stays the command's. */
static void source_hook(void *user, bool on)
{
    struct agent *agent = user;
    bool begins = on && !agent->draining;

    agent_drain(agent, on);
    if (begins)
        agent->drain.by_hook = agent->draining;
}

static int source_reload(void *user, struct conf_errors *errors)
{
    struct agent *agent = user;

    return agent->reload(agent, errors);
}

static struct httpd *open_health(struct agent *agent, const struct conf *conf, int fd, struct err *err)
{
    struct serve_source source = { source_view, source_details, source_proxy_protocol, source_prestop, source_hook, agent };
    struct httpd *health = serve_open(agent->loop, &conf->listen_address, fd, &source, err);
    char port[8];

    if (!health) {
        err_prefix(err, "listen");
        return NULL;
    }
    snprintf(port, sizeof port, "%u", httpd_port(health));
    event_log(EVENT_LISTEN, "address", fd >= 0 ? "activated socket" : conf->listen, "port",
              conf->listen_address.is_unix ? NULL : port, NULL);
    return health;
}

static unsigned source_degraded_weight(void *user)
{
    const struct agent *agent = user;

    return (unsigned)agent->generation->conf->degraded_weight;
}

/* 0 and *responder (NULL: the configuration wants none), or -1 and err. */
static int open_agent_check(struct agent *agent, const struct conf *conf, struct agent_check **responder, struct err *err)
{
    const struct agent_check_source source = { source_view, source_degraded_weight, agent };
    char port[8];

    *responder = NULL;
    if (!conf->agent_check_on)
        return 0;
    *responder = agent_check_open(agent->loop, &conf->agent_check_address, &source, err);
    if (!*responder)
        return err_prefix(err, "agent_check");
    snprintf(port, sizeof port, "%u", agent_check_port(*responder));
    event_log(EVENT_LISTEN, "agent_check", conf->agent_check, "port", conf->agent_check_address.is_unix ? NULL : port, NULL);
    return 0;
}

static struct httpd *open_admin_at(struct agent *agent, const struct listen_address *address, struct err *err)
{
    struct admin_source source = { source_view, source_drain, source_reload, agent };

    admin_make_directory(address->unix_path);
    return admin_open(agent->loop, address, &source, err);
}

/* `admin: auto` is no wish for a certain socket: the agent runs without one where none can be opened, and logs that once. If another agent
 * listens at a place (EADDRINUSE), the next place is not tried: the commands look at the first place first, and would ask that agent. */
static struct httpd *open_admin_somewhere(struct agent *agent)
{
    struct listen_address address = { .is_unix = true };
    struct httpd *admin = NULL;
    struct err err = { 0 };

    for (size_t i = 0; !admin && err.code != EADDRINUSE && admin_place(i, address.unix_path, sizeof address.unix_path); i++)
        admin = open_admin_at(agent, &address, &err);
    if (!admin)
        event_log(EVENT_ADMIN_OFF, "message", err.text, "hint",
                  "status, drain, resume and reload do not reach this agent; `admin: unix:/PATH` or --admin says where they may",
                  NULL);
    return admin;
}

/* 0 and *admin (NULL: the configuration wants none, or `auto` found no place), or -1 and err. */
static int open_admin(struct agent *agent, const struct conf *conf, struct httpd **admin, struct err *err)
{
    *admin = NULL;
    if (!conf->admin_on)
        return 0;
    if (conf->admin_auto) {
        *admin = open_admin_somewhere(agent);
        return 0;
    }
    *admin = open_admin_at(agent, &conf->admin_address, err);
    return *admin ? 0 : err_prefix(err, "admin");
}

int agent_listeners_open(struct agent *agent, const struct conf *conf, struct err *err)
{
    int fd = notify_listen_fd("http");

    if (conf->listen_on || fd >= 0) {
        agent->health = open_health(agent, conf, fd, err);
        if (!agent->health)
            return -1;
    }
    if (open_agent_check(agent, conf, &agent->agent_check, err) == 0 && open_admin(agent, conf, &agent->admin, err) == 0)
        return 0;
    agent_listeners_close(agent);
    return -1;
}

void agent_listeners_close(struct agent *agent)
{
    if (agent->health)
        httpd_close(agent->health);
    if (agent->admin)
        httpd_close(agent->admin);
    if (agent->agent_check)
        agent_check_close(agent->agent_check);
    agent->health = agent->admin = NULL;
    agent->agent_check = NULL;
}

void agent_listeners_wake(struct agent *agent)
{
    if (agent->agent_check)
        agent_check_wake(agent->agent_check);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int agent_listeners_move(struct agent *agent, const struct conf *new, struct err *err)
{
    const struct conf *old = agent->generation->conf;
    bool health_moved = old->listen_on != new->listen_on || !same_text(old->listen, new->listen);
    bool check_moved = old->agent_check_on != new->agent_check_on || !same_text(old->agent_check, new->agent_check);
    bool admin_moved = old->admin_on != new->admin_on || !same_text(old->admin, new->admin);
    struct httpd *health = NULL, *admin = NULL;
    struct agent_check *responder = NULL;

    if (health_moved && new->listen_on) {
        health = open_health(agent, new, -1, err);
        if (!health)
            return -1;
    }
    if ((check_moved && open_agent_check(agent, new, &responder, err) < 0) ||
        (admin_moved && open_admin(agent, new, &admin, err) < 0)) {
        if (responder)
            agent_check_close(responder);
        if (health)
            httpd_close(health);
        return -1;
    }
    if (check_moved) {
        if (agent->agent_check)
            agent_check_close(agent->agent_check);
        agent->agent_check = responder;
    }
    if (health_moved) {
        if (agent->health)
            httpd_close(agent->health);
        agent->health = health;
    }
    if (admin_moved) {
        if (agent->admin)
            httpd_close(agent->admin);
        agent->admin = admin;
    }
    return 0;
}

void agent_listeners_reopen(struct agent *agent)
{
    const struct conf *conf = agent->generation->conf;
    struct agent_check *responder;
    struct httpd *again;
    struct err err;

    if (agent->agent_check && agent_check_lost(agent->agent_check)) {
        int failed = open_agent_check(agent, conf, &responder, &err);
        if (responder) {
            agent_check_close(agent->agent_check);
            agent->agent_check = responder;
        } else if (failed)
            event_log(EVENT_AGENT_ERROR, "message", err.text, NULL);
    }
    if (agent->health && httpd_lost(agent->health)) {
        again = open_health(agent, conf, -1, &err);
        if (again) {
            httpd_close(agent->health);
            agent->health = again;
        } else
            event_log(EVENT_AGENT_ERROR, "message", err.text, NULL);
    }
    if (agent->admin && httpd_lost(agent->admin)) {
        int failed = open_admin(agent, conf, &again, &err);
        if (again) {
            httpd_close(agent->admin);
            agent->admin = again;
        } else if (failed)
            event_log(EVENT_AGENT_ERROR, "message", err.text, NULL);
    }
}
