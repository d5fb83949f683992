/*
 * libmosquitto by dlopen: it is opened when the first MQTT broker is, so that nobody else pays for it. Only the header is needed to build.
 */
#ifndef WSHEALTHD_BROKERS_MQTT_MQTT_LIB_H
#define WSHEALTHD_BROKERS_MQTT_MQTT_LIB_H

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include "agent/base/err.h"

#define MQTT_CALLS(X)                      \
    X(mosquitto_connack_string)            \
    X(mosquitto_connect)                   \
    X(mosquitto_connect_async)             \
    X(mosquitto_connect_callback_set)      \
    X(mosquitto_destroy)                   \
    X(mosquitto_disconnect)                \
    X(mosquitto_disconnect_callback_set)   \
    X(mosquitto_int_option)                \
    X(mosquitto_lib_cleanup)               \
    X(mosquitto_lib_init)                  \
    X(mosquitto_log_callback_set)          \
    X(mosquitto_loop_misc)                 \
    X(mosquitto_loop_read)                 \
    X(mosquitto_loop_write)                \
    X(mosquitto_max_inflight_messages_set) \
    X(mosquitto_message_callback_set)      \
    X(mosquitto_new)                       \
    X(mosquitto_pub_topic_check)           \
    X(mosquitto_publish)                   \
    X(mosquitto_publish_v5_callback_set)   \
    X(mosquitto_reason_string)             \
    X(mosquitto_socket)                    \
    X(mosquitto_strerror)                  \
    X(mosquitto_sub_topic_check)           \
    X(mosquitto_subscribe)                 \
    X(mosquitto_subscribe_callback_set)    \
    X(mosquitto_tls_insecure_set)          \
    X(mosquitto_tls_opts_set)              \
    X(mosquitto_tls_set)                   \
    X(mosquitto_unsubscribe)               \
    X(mosquitto_username_pw_set)           \
    X(mosquitto_want_write)

struct mqtt_lib {
#define MQTT_MEMBER(call) __typeof__(&call) p_##call;
    MQTT_CALLS(MQTT_MEMBER)
#undef MQTT_MEMBER
};
extern struct mqtt_lib mqtt_lib;
#define MQTT(call) (mqtt_lib.p_mosquitto_##call)

/* On the loop, before the first worker: opens and initialises the library. 0, or -1: err says what is missing. */
int mqtt_lib_open(struct err *err);
/* On the loop, when no worker is left. */
void mqtt_lib_end(void);

#endif
