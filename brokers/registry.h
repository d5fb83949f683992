/* All broker types, in the order of the manual. */
#ifndef WSHEALTHD_BROKERS_REGISTRY_H
#define WSHEALTHD_BROKERS_REGISTRY_H

#include "agent/core/broker.h"

extern const struct broker_type broker_redis, broker_nats, broker_rabbitmq, broker_memory;
#ifdef WSHEALTHD_MQTT
extern const struct broker_type broker_mqtt;
#endif
#ifdef WSHEALTHD_KAFKA
extern const struct broker_type broker_kafka;
#endif
extern const struct broker_type *const broker_registry[]; /* ends with NULL */

#endif
