/*
 * The change of a configuration generation (agent/run/agent.h). Called by agent/run/agent.c. A reload either happens whole or not at all:
 * everything that can fail is tried before anything is changed.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/event.h"
#include "agent/run/agent_impl.h"
#include "agent/run/sd_notify.h"

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
    if (!generation || (agent->options.serve && agent_listeners_move(agent, conf, &err) < 0)) {
        errors->count++;
        buf_printf(&errors->text, "%s: %s\n", agent->config_file, err.text);
        generation_unref(generation);
        generation = NULL;
    }
    conf_unref(conf);
    return generation;
}

/* The first error, for STATUS=, until a reload succeeds. */
static void remember_refused(struct agent *agent, const struct conf_errors *errors, const char *first)
{
    char more[32] = "";

    if (errors->count > 1)
        snprintf(more, sizeof more, " (and %zu more)", (size_t)errors->count - 1);
    snprintf(agent->refused, sizeof agent->refused, "reload refused, the old configuration goes on: %.*s%s",
             (int)strcspn(first, "\n"), first, more);
}

static void log_refused(struct agent *agent, struct conf_errors *errors)
{
    char *text = mem_strdup(buf_str(&errors->text)), *line = text, *end;

    remember_refused(agent, errors, text);
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
        agent_status_tell(agent);
        notify_ready();
        return -1;
    }
    agent->generation = generation;
    if (agent->options.serve)
        agent_listeners_reopen(agent);
    kept = agent_checks_change(agent, generation);
    agent_drain_again(agent);
    if (agent->options.serve)
        agent_history_reload(agent);
    agent_notify_configure(agent);
    generation_unref(old);
    log_configure((enum log_level)generation->conf->log_level, (enum log_format)generation->conf->log_format);
    snprintf(kept_text, sizeof kept_text, "%zu", kept);
    snprintf(count_text, sizeof count_text, "%zu", agent->check_count);
    event_log(EVENT_RELOAD, "config", agent->config_file, "checks", count_text, "kept", kept_text, NULL);
    agent_warn_of_config(agent);
    agent->refused[0] = 0;
    agent_verdict_update(agent, NULL);
    agent_status_tell(agent);
    agent_tidy_soon(agent);
    notify_ready();
    return 0;
}
