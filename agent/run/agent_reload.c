/*
 * The agent's sockets and the change of a configuration generation (agent/run/agent.h). Called by agent/run/agent.c. A reload either happens
 * whole or not at all: everything that can fail is tried before anything is changed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/event.h"
#include "agent/http/admin.h"
#include "agent/http/httpd.h"
#include "agent/http/serve.h"
#include "agent/run/agent_impl.h"
#include "agent/run/sd_notify.h"

static const struct agent_view *source_view(void *user)
{
    return agent_view(user);
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

static void source_drain(void *user, bool on)
{
    agent_drain(user, on);
}

static int source_reload(void *user, struct conf_errors *errors)
{
    return agent_reload(user, errors);
}

static struct httpd *open_face(struct agent *agent, const struct conf *conf, int fd, struct err *err)
{
    struct serve_source source = { source_view, source_details, source_proxy_protocol, agent };
    struct httpd *face = serve_open(agent->loop, &conf->listen_address, fd, &source, err);
    char port[8];

    if (!face) {
        err_prefix(err, "listen");
        return NULL;
    }
    snprintf(port, sizeof port, "%u", httpd_port(face));
    event_log(EVENT_LISTEN, "address", fd >= 0 ? "activated socket" : conf->listen, "port",
              conf->listen_address.is_unix ? NULL : port, NULL);
    return face;
}

static struct httpd *open_admin_at(struct agent *agent, const struct listen_address *address, struct err *err)
{
    struct admin_source source = { source_view, source_drain, source_reload, agent };

    admin_make_directory(address->unix_path);
    return admin_open(agent->loop, address, &source, err);
}

/* Nobody asked for this socket: where it cannot be, the agent does without, and says so once. Where another agent has it, no other place is
 * tried, as the commands would go on asking that one. */
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

/* 0 and *admin, which is NULL where there is none to be, or -1 and err. */
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

int agent_open_faces(struct agent *agent, const struct conf *conf, struct err *err)
{
    int fd = notify_listen_fd("http");

    if (conf->listen_on || fd >= 0) {
        agent->face = open_face(agent, conf, fd, err);
        if (!agent->face)
            return -1;
    }
    if (open_admin(agent, conf, &agent->admin, err) == 0)
        return 0;
    agent_close_faces(agent);
    return -1;
}

void agent_close_faces(struct agent *agent)
{
    if (agent->face)
        httpd_close(agent->face);
    if (agent->admin)
        httpd_close(agent->admin);
    agent->face = agent->admin = NULL;
}

/* --- reload --- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Opens what has moved, before anything old is closed. */
static int move_faces(struct agent *agent, const struct conf *old, const struct conf *new, struct err *err)
{
    bool face_moved = old->listen_on != new->listen_on || !same_text(old->listen, new->listen);
    bool admin_moved = old->admin_on != new->admin_on || !same_text(old->admin, new->admin);
    struct httpd *face = NULL, *admin = NULL;

    if (face_moved && new->listen_on) {
        face = open_face(agent, new, -1, err);
        if (!face)
            return -1;
    }
    if (admin_moved && open_admin(agent, new, &admin, err) < 0) {
        if (face)
            httpd_close(face);
        return -1;
    }
    if (face_moved) {
        if (agent->face)
            httpd_close(agent->face);
        agent->face = face;
    }
    if (admin_moved) {
        if (agent->admin)
            httpd_close(agent->admin);
        agent->admin = admin;
    }
    return 0;
}

/* A socket whose file was deleted comes back with the next reload. That it cannot is no reason to refuse the configuration. */
static void reopen_lost(struct agent *agent)
{
    const struct conf *conf = agent->generation->conf;
    struct httpd *again;
    struct err err;

    if (agent->face && httpd_lost(agent->face)) {
        again = open_face(agent, conf, -1, &err);
        if (again) {
            httpd_close(agent->face);
            agent->face = again;
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

/* The running check that is the same as this one, or -1. */
static ptrdiff_t find_same(const struct agent *agent, const struct conf *new, const struct check_conf *conf)
{
    for (size_t i = 0; i < agent->check_count; i++)
        if (agent->checks[i] && strcmp(check_conf(agent->checks[i])->name, conf->name) == 0)
            return (agent->brokers_same || !conf->type->uses_brokers) &&
                           conf_same_target(check_generation(agent->checks[i])->conf, new) &&
                           conf_same_check(check_conf(agent->checks[i]), conf)
                       ? (ptrdiff_t)i
                       : -1;
    return -1;
}

static void change_checks(struct agent *agent, struct generation *generation, size_t *kept)
{
    const struct conf *conf = generation->conf;
    struct check **checks = mem_alloc((conf->check_count + 1) * sizeof(struct check *));
    bool *fresh = mem_alloc(conf->check_count + 1);
    size_t count = 0;

    *kept = 0;
    agent_open_brokers(agent, generation);
    for (size_t i = 0; i < conf->check_count; i++) {
        ptrdiff_t same = conf->checks[i].enabled ? find_same(agent, conf, &conf->checks[i]) : -1;

        if (!conf->checks[i].enabled)
            continue;
        if (same >= 0) {
            checks[count] = agent->checks[same];
            agent->checks[same] = NULL;
            check_use_tls(checks[count], generation);
            ++*kept;
        } else {
            checks[count] = check_new(&agent->host, generation, &conf->checks[i]);
            fresh[count] = true;
        }
        count++;
    }
    for (size_t i = 0; i < agent->check_count; i++)
        check_free(agent->checks[i]);
    agent_drop_old_brokers(agent);
    agent_set_checks(agent, checks, count);
    agent_forget_refusals(agent); /* whoever reloads may have mended what was refused */
    for (size_t i = 0; i < count; i++)
        if (fresh[i])
            agent_start_check(agent, checks[i], i);
    mem_free(fresh);
}

struct conf *agent_load(const char *file, const char *url, struct conf_errors *errors)
{
    struct conf *conf = conf_load_file(file, &agent_conf_env, errors);
    struct err err;

    if (!conf || !url)
        return conf;
    if (opt_set(target_rows, &conf->target, "url", url, &err) < 0) {
        errors->count++;
        buf_printf(&errors->text, "%s\n", err.text);
    } else if (conf_seal(conf, &agent_conf_env, errors) == 0)
        return conf;
    conf_unref(conf);
    return NULL;
}

static struct generation *load(struct agent *agent, struct conf_errors *errors)
{
    struct generation *generation;
    struct conf *conf;
    struct err err;

    if (!agent->config_file) {
        errors->count++;
        buf_append_str(&errors->text, "no configuration file to reload: the agent was started with a URL\n");
        return NULL;
    }
    conf = agent_load(agent->config_file, agent->options.url, errors);
    if (!conf)
        return NULL;
    if (addresses_override(conf, &agent->options.addresses, errors) < 0) {
        conf_unref(conf);
        return NULL;
    }
    generation = generation_new(conf, &err);
    if (!generation || (agent->options.serve && move_faces(agent, agent->generation->conf, conf, &err) < 0)) {
        errors->count++;
        buf_printf(&errors->text, "%s: %s\n", agent->config_file, err.text);
        generation_unref(generation);
        generation = NULL;
    }
    conf_unref(conf);
    return generation;
}

static void log_refused(const struct agent *agent, struct conf_errors *errors)
{
    char *text = mem_strdup(buf_str(&errors->text)), *line = text, *end;

    for (; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        event_log(EVENT_RELOAD_FAILED, "config", agent->config_file, "message", line, NULL);
    }
    mem_free(text);
}

int agent_reload(struct agent *agent, struct conf_errors *errors)
{
    struct generation *generation, *old = agent->generation;
    size_t kept;
    char kept_text[24], count_text[24];

    notify_reloading();
    generation = load(agent, errors);
    if (!generation) {
        log_refused(agent, errors);
        notify_send("READY=1");
        return -1;
    }
    agent->generation = generation;
    if (agent->options.serve)
        reopen_lost(agent);
    change_checks(agent, generation, &kept);
    generation_unref(old);
    log_configure((enum log_level)generation->conf->log_level, (enum log_format)generation->conf->log_format);
    snprintf(kept_text, sizeof kept_text, "%zu", kept);
    snprintf(count_text, sizeof count_text, "%zu", agent->check_count);
    event_log(EVENT_RELOAD, "config", agent->config_file, "checks", count_text, "kept", kept_text, NULL);
    agent_update(agent);
    notify_send("READY=1");
    return 0;
}
