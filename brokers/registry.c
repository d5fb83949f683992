/* The broker types of this build (brokers/registry.h). */
#include "brokers/registry.h"

const struct broker_type *const broker_registry[] = {
    &broker_redis,  &broker_nats, &broker_rabbitmq,
#ifdef WSHEALTHD_MQTT
    &broker_mqtt,
#endif
#ifdef WSHEALTHD_KAFKA
    &broker_kafka,
#endif
    &broker_memory, NULL,
};
