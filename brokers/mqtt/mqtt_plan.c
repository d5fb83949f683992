/* The end of an MQTT connection's plan (brokers/mqtt/mqtt.h): the loop makes it, the worker frees it. */
#include "brokers/mqtt/mqtt.h"

#include <string.h>

#include "agent/base/mem.h"

void mqtt_plan_free(struct mqtt_plan *plan)
{
    if (plan->password)
        explicit_bzero(plan->password, strlen(plan->password));
    char *texts[] = { plan->host,       plan->where,   plan->user,      plan->password,
                      plan->ping_topic, plan->ca_file, plan->cert_file, plan->key_file };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        mem_free(texts[i]);
    mem_free(plan);
}
