/*
 * How the agent reads its configurations: with which check types, brokers, dialects and environment. Owns nothing. Called by
 * agent/run/agent_reload.c, agent/run/addresses.c and the commands.
 */
#include <stdlib.h>

#include "agent/notify/registry.h"
#include "agent/run/agent.h"
#include "brokers/registry.h"
#include "probes/dialects/registry.h"
#include "probes/registry.h"

static const char *process_env(const char *name)
{
    return getenv(name);
}

const struct conf_env agent_conf_env = { probe_registry, broker_registry, dialect_registry, process_env, receiver_registry };

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
