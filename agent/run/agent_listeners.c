/*
 * Owns the agent's listeners: the health listener (`listen`, HTTP for everybody), HAProxy's (`agent_check`), gRPC's (`grpc`) and the
 * admin socket (`admin`). Called by agent/run/agent.c and agent/run/agent_reload.c. Promises that a reload opens every new socket before
 * it closes an old one. What the answers say is in agent/http; where an automatic admin socket may be is in agent/run/addresses.c.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/core/event.h"
#include "agent/http/admin.h"
#include "agent/http/agent_check.h"
#include "agent/http/events.h"
#include "agent/http/grpc.h"
#include "agent/http/httpd.h"
#include "agent/http/serve.h"
#include "agent/run/agent_impl.h"
#include "agent/run/sd_notify.h"

/* What the log calls the address of a socket that systemd has opened. */
#define ACTIVATED "activated socket"

/* Those sockets, which are used whatever the configuration says; -1: none. */
struct activated {
    int health, agent_check, grpc;
};
static const struct activated none_activated = { -1, -1, -1 };

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

static bool source_page_public(void *user)
{
    const struct agent *agent = user;

    return agent->generation->conf->page_public;
}

/* What a command has begun, or joined, is the command's. */
static void source_drain(void *user, bool on)
{
    struct agent *agent = user;

    agent_drain(agent, on);
    agent->drain.by_hook = false;
}

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

/* `name` of the event's field: where it listens, and on which port where that is no unix socket. */
static void log_listen(const char *name, const char *where, const struct listen_address *address, unsigned port)
{
    char text[8];

    snprintf(text, sizeof text, "%u", port);
    event_log(EVENT_LISTEN, name, where, "port", address->is_unix ? NULL : text, NULL);
}

static struct httpd *open_health(struct agent *agent, const struct conf *conf, int fd, struct err *err)
{
    struct serve_source source = { .view = source_view,
                                   .details = source_details,
                                   .proxy_protocol = source_proxy_protocol,
                                   .prestop = source_prestop,
                                   .drain = source_hook,
                                   .page_public = source_page_public,
                                   .user = agent,
                                   .events = agent->events };
    struct httpd *health = serve_open(agent->loop, &conf->listen_address, fd, &source, err);

    if (!health) {
        err_prefix(err, "listen");
        return NULL;
    }
    log_listen("address", fd >= 0 ? ACTIVATED : conf->listen, &conf->listen_address, httpd_port(health));
    return health;
}

static unsigned source_degraded_weight(void *user)
{
    const struct agent *agent = user;

    return (unsigned)agent->generation->conf->degraded_weight;
}

/* 0 and *responder (NULL: the configuration wants none), or -1 and err. */
static int open_agent_check(struct agent *agent, const struct conf *conf, int fd, struct agent_check **responder, struct err *err)
{
    const struct agent_check_source source = { source_view, source_degraded_weight, agent };

    *responder = NULL;
    if (!conf->agent_check_on && fd < 0)
        return 0;
    *responder = agent_check_open(agent->loop, &conf->agent_check_address, fd, &source, err);
    if (!*responder)
        return err_prefix(err, "agent_check");
    log_listen("agent_check", fd >= 0 ? ACTIVATED : conf->agent_check, &conf->agent_check_address, agent_check_port(*responder));
    return 0;
}

static struct httpd *open_admin_at(struct agent *agent, const struct listen_address *address, struct err *err)
{
    struct admin_source source = { source_view, source_drain, source_reload, agent, agent->events };

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

static int open_grpc(struct agent *agent, const struct conf *conf, int fd, struct grpc **grpc, struct err *err)
{
    const struct grpc_source source = { source_view, agent };

    *grpc = NULL;
    if (!conf->grpc_on && fd < 0)
        return 0;
    *grpc = grpc_open(agent->loop, &conf->grpc_address, fd, &source, err);
    if (!*grpc)
        return err_prefix(err, "grpc");
    log_listen("grpc", fd >= 0 ? ACTIVATED : conf->grpc, &conf->grpc_address, grpc_port(*grpc));
    return 0;
}

/* Which of them: a reload has the old ones and the new ones side by side. */
enum { HEALTH = 1, CHECK = 2, GRPC = 4, ADMIN = 8, ALL = HEALTH | CHECK | GRPC | ADMIN };

static void close_listeners(struct listeners *open)
{
    if (open->health)
        httpd_close(open->health);
    if (open->agent_check)
        agent_check_close(open->agent_check);
    if (open->grpc)
        grpc_close(open->grpc);
    if (open->admin)
        httpd_close(open->admin);
    *open = (struct listeners){ 0 };
}

/* Those of `with`; the others are left NULL. 0, or -1 and err, and none is open. */
static int open_listeners(struct agent *agent, const struct conf *conf, const struct activated *fds, unsigned with,
                          struct listeners *open, struct err *err)
{
    *open = (struct listeners){ 0 };
    if ((with & HEALTH) && (conf->listen_on || fds->health >= 0)) {
        open->health = open_health(agent, conf, fds->health, err);
        if (!open->health)
            return -1;
    }
    if ((!(with & CHECK) || open_agent_check(agent, conf, fds->agent_check, &open->agent_check, err) == 0) &&
        (!(with & GRPC) || open_grpc(agent, conf, fds->grpc, &open->grpc, err) == 0) &&
        (!(with & ADMIN) || open_admin(agent, conf, &open->admin, err) == 0))
        return 0;
    close_listeners(open);
    return -1;
}

/* The new ones take the place of the old ones, which are closed. */
static void replace(struct listeners *now, const struct listeners *new, unsigned which)
{
    struct listeners old = { 0 };

#define REPLACE(bit, member)       \
    if (which & (bit)) {           \
        old.member = now->member;  \
        now->member = new->member; \
    }
    REPLACE(HEALTH, health)
    REPLACE(CHECK, agent_check)
    REPLACE(GRPC, grpc)
    REPLACE(ADMIN, admin)
#undef REPLACE
    close_listeners(&old);
}

/* Who connects to a socket that systemd has opened and that nobody takes waits for ever. */
static void warn_of_unused(void)
{
    char text[128];

    for (const char *name; (name = notify_unused_fd());) {
        snprintf(text, sizeof text, "a socket unit opens a socket%s%.64s that nothing here serves", *name ? " named " : "", name);
        event_log(EVENT_CONFIG_WARNING, "message", text, "hint",
                  "FileDescriptorName= is http, agent-check or grpc, one socket each", NULL);
    }
}

static void tell_readers(void *user)
{
    const struct agent *agent = user;

    if (agent->open.health)
        httpd_news(agent->open.health);
    if (agent->open.admin)
        httpd_news(agent->open.admin);
}

static unsigned count_readers(void *user)
{
    const struct agent *agent = user;

    return (agent->open.health ? httpd_streams(agent->open.health) : 0) +
           (agent->open.admin ? httpd_streams(agent->open.admin) : 0);
}

int agent_listeners_open(struct agent *agent, const struct conf *conf, struct err *err)
{
    const struct activated fds = { notify_listen_fd("http", true), notify_listen_fd("agent-check", false),
                                   notify_listen_fd("grpc", false) };

    agent->events = events_new(agent->loop, &(struct events_source){ source_view, tell_readers, count_readers, agent });
    agent->activated = (fds.health >= 0 ? HEALTH : 0) | (fds.agent_check >= 0 ? CHECK : 0) | (fds.grpc >= 0 ? GRPC : 0);
    warn_of_unused();
    if (open_listeners(agent, conf, &fds, ALL, &agent->open, err) == 0)
        return 0;
    agent_listeners_close(agent);
    return -1;
}

void agent_listeners_close(struct agent *agent)
{
    close_listeners(&agent->open);
    events_free(agent->events);
    agent->events = NULL;
}

void agent_listeners_wake(struct agent *agent)
{
    if (agent->open.agent_check)
        agent_check_wake(agent->open.agent_check);
    if (agent->open.grpc)
        grpc_wake(agent->open.grpc);
    if (agent->events)
        events_note(agent->events);
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int agent_listeners_move(struct agent *agent, const struct conf *new, struct err *err)
{
    const struct conf *old = agent->generation->conf;
    struct listeners open;
    unsigned moved = 0;

    if (old->listen_on != new->listen_on || !same_text(old->listen, new->listen))
        moved |= HEALTH;
    if (old->agent_check_on != new->agent_check_on || !same_text(old->agent_check, new->agent_check))
        moved |= CHECK;
    if (old->grpc_on != new->grpc_on || !same_text(old->grpc, new->grpc))
        moved |= GRPC;
    if (old->admin_on != new->admin_on || !same_text(old->admin, new->admin))
        moved |= ADMIN;
    moved &= ~agent->activated;
    if (open_listeners(agent, new, &none_activated, moved, &open, err) < 0)
        return -1;
    replace(&agent->open, &open, moved);
    return 0;
}

void agent_listeners_reopen(struct agent *agent)
{
    static const unsigned bits[] = { HEALTH, CHECK, GRPC, ADMIN };
    const struct listeners *now = &agent->open;
    struct listeners again;
    struct err err;
    unsigned lost = 0;

    if (now->health && httpd_lost(now->health))
        lost |= HEALTH;
    if (now->agent_check && agent_check_lost(now->agent_check))
        lost |= CHECK;
    if (now->grpc && grpc_lost(now->grpc))
        lost |= GRPC;
    if (now->admin && httpd_lost(now->admin))
        lost |= ADMIN;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        if (!(lost & bits[i]))
            continue;
        if (open_listeners(agent, agent->generation->conf, &none_activated, bits[i], &again, &err) < 0)
            event_log(EVENT_AGENT_ERROR, "message", err.text, NULL);
        else if (again.health || again.agent_check || again.grpc || again.admin) /* `admin: auto` may have found no place */
            replace(&agent->open, &again, bits[i]);
    }
}
