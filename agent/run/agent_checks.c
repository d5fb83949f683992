/*
 * Owns the checks of the configuration in force: starts them, changes them with a reload, frees them. Called by agent/run/agent.c and
 * agent/run/agent_reload.c. A check whose target, options and brokers are the same keeps its history and its connections over a reload.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "agent/run/agent_impl.h"

enum { FIRST_SPREAD_MS = 2, FIRST_SPREAD_MAX_MS = 20, NEWS_SPREAD_MS = 20 };

/* The other checks on the same path look soon: the diagnosis needs them, and so does the recovery. */
void agent_checks_hurry(void *user, struct check *check, bool failed)
{
    struct agent *agent = user;
    uint64_t delay_ms = 0;

    for (size_t i = 0; i < agent->check_count; i++) {
        struct check *other = agent->checks[i];

        if (other && other != check && check_is_witness(other) && check_get_conf(other)->path == check_get_conf(check)->path)
            check_hurry(other, failed, delay_ms += NEWS_SPREAD_MS);
    }
}

/* The first rounds start a little apart, so that one server is not hit by all checks in one moment; later ones have their own places. */
static void start_check(struct agent *agent, struct check *check, size_t index)
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

static void set_checks(struct agent *agent, struct check **checks, size_t count)
{
    mem_free(agent->checks);
    agent->checks = checks;
    agent->check_count = count;
    agent_verdict_set_checks(agent);
}

void agent_checks_start(struct agent *agent)
{
    const struct conf *conf = agent->generation->conf;
    struct check **checks = mem_alloc((conf->check_count + 1) * sizeof(struct check *));
    size_t count = 0;

    agent_brokers_open(agent, agent->generation);
    agent_fleet_configure(agent, conf);
    for (size_t i = 0; i < conf->check_count; i++)
        if (conf->checks[i].enabled)
            checks[count++] = check_new(&agent->host, agent->generation, &conf->checks[i]);
    set_checks(agent, checks, count);
    for (size_t i = 0; i < count; i++)
        start_check(agent, checks[i], i);
}

void agent_forget_refusals(struct agent *agent)
{
    memset(agent->host.backoff, 0, sizeof agent->host.backoff);
}

/* The running check that is the same as this one, or -1. */
static ptrdiff_t find_same(const struct agent *agent, const struct conf *new, const struct check_conf *conf)
{
    for (size_t i = 0; i < agent->check_count; i++)
        if (agent->checks[i] && strcmp(check_get_conf(agent->checks[i])->name, conf->name) == 0)
            return (agent->brokers_same || !conf->type->uses_brokers) &&
                           conf_same_target(check_generation(agent->checks[i])->conf, new) &&
                           conf_same_check(check_get_conf(agent->checks[i]), conf)
                       ? (ptrdiff_t)i
                       : -1;
    return -1;
}

size_t agent_checks_change(struct agent *agent, struct generation *generation)
{
    const struct conf *conf = generation->conf;
    struct check **checks = mem_alloc((conf->check_count + 1) * sizeof(struct check *));
    bool *fresh = mem_alloc(conf->check_count + 1);
    size_t count = 0, kept = 0;

    agent_brokers_open(agent, generation);
    agent_fleet_configure(agent, conf);
    for (size_t i = 0; i < conf->check_count; i++) {
        ptrdiff_t same = conf->checks[i].enabled ? find_same(agent, conf, &conf->checks[i]) : -1;

        if (!conf->checks[i].enabled)
            continue;
        if (same >= 0) {
            checks[count] = agent->checks[same];
            agent->checks[same] = NULL;
            check_use_tls(checks[count], generation);
            kept++;
        } else {
            checks[count] = check_new(&agent->host, generation, &conf->checks[i]);
            fresh[count] = true;
        }
        count++;
    }
    for (size_t i = 0; i < agent->check_count; i++)
        check_free(agent->checks[i]);
    agent_brokers_drop_old(agent);
    set_checks(agent, checks, count);
    agent_forget_refusals(agent); /* a reload may bring the token that was missing */
    for (size_t i = 0; i < count; i++)
        if (fresh[i])
            start_check(agent, checks[i], i);
    mem_free(fresh);
    return kept;
}

void agent_checks_stop(struct agent *agent)
{
    for (size_t i = 0; i < agent->check_count; i++)
        check_free(agent->checks[i]);
    agent->check_count = agent->view.check_count = 0;
}
