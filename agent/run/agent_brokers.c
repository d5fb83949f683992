/*
 * Owns the agent's brokers over the generations of its configuration. Called by agent/run/agent.c and agent/run/agent_checks.c. A broker whose
 * configuration has not changed keeps its connection over a reload. A removed broker is closed only when no check uses it any more.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/core/broker.h"
#include "agent/core/event.h"
#include "agent/run/agent_impl.h"

struct agent_broker {
    struct agent *agent;
    struct generation *generation; /* whose configuration it reads */
    const struct broker_conf *conf;
    struct broker *broker;
};

static struct agent_broker *broker_begin(struct agent *agent, struct generation *generation, size_t index)
{
    struct agent_broker *broker = mem_alloc(sizeof *broker);
    char text[ERR_TEXT_MAX];

    broker->agent = agent;
    broker->generation = generation_ref(generation);
    broker->conf = &generation->conf->brokers[index];
    broker->broker = broker_new(agent->loop, broker->conf, generation->broker_tls[index]);
    if (broker->conf->type->warns && broker->conf->type->warns(broker->conf, text, sizeof text))
        event_log(EVENT_BROKER_WARNING, "broker", broker->conf->name, "message", text, NULL);
    broker_start(broker->broker);
    return broker;
}

static void on_freed(void *user)
{
    struct agent_broker *broker = user;

    broker->agent->brokers_closing--;
    generation_unref(broker->generation);
    mem_free(broker);
}

static void broker_end(struct agent_broker *broker)
{
    broker->agent->brokers_closing++;
    broker_free(broker->broker, on_freed, broker);
}

static struct agent_broker *take_same(struct agent *agent, const struct broker_conf *conf)
{
    for (size_t i = 0; i < agent->broker_count; i++) {
        struct agent_broker *broker = agent->brokers[i];

        if (broker && strcmp(broker->conf->name, conf->name) == 0 && conf_same_broker(broker->conf, conf)) {
            agent->brokers[i] = NULL;
            return broker;
        }
    }
    return NULL;
}

void agent_brokers_open(struct agent *agent, struct generation *generation)
{
    size_t count = generation->conf->broker_count;
    struct agent_broker **brokers = mem_alloc((count + 1) * sizeof(struct agent_broker *));

    agent->brokers_same = count == agent->broker_count;
    for (size_t i = 0; i < count; i++) {
        brokers[i] = take_same(agent, &generation->conf->brokers[i]);
        if (!brokers[i]) {
            agent->brokers_same = false;
            brokers[i] = broker_begin(agent, generation, i);
        }
    }
    agent->old_brokers = agent->brokers;
    agent->old_broker_count = agent->broker_count;
    agent->brokers = brokers;
    agent->broker_count = count;
}

void agent_brokers_drop_old(struct agent *agent)
{
    for (size_t i = 0; i < agent->old_broker_count; i++)
        if (agent->old_brokers[i])
            broker_end(agent->old_brokers[i]);
    mem_free(agent->old_brokers);
    agent->old_brokers = NULL;
    agent->old_broker_count = 0;
}

void agent_brokers_close(struct agent *agent)
{
    agent_brokers_drop_old(agent);
    for (size_t i = 0; i < agent->broker_count; i++)
        broker_end(agent->brokers[i]);
    mem_free(agent->brokers);
    agent->brokers = NULL;
    agent->broker_count = 0;
}

struct broker *agent_brokers_find(void *user, const char *name)
{
    const struct agent *agent = user;

    for (size_t i = 0; name && i < agent->broker_count; i++)
        if (strcmp(agent->brokers[i]->conf->name, name) == 0)
            return agent->brokers[i]->broker;
    return NULL;
}
