/*
 * MQTT, the loop's side: options, the plan of a connection, and mails to and from its worker. Owns one mailbox for each connection; the
 * core calls it through broker_mqtt. It calls nothing of libmosquitto, which resolves names and may connect in a blocking call. It never
 * waits for a worker. Reconnecting is the core's.
 *
 * *Up* means a round trip that proves the broker takes messages: a PUBLISH with QoS 1 on ping_topic is acknowledged (4.3.2). Nobody is
 * subscribed to that topic. A PINGREQ would prove less, and libmosquitto offers no call for one.
 */
#include "brokers/mqtt/mqtt.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/random.h"
#include "brokers/registry.h"

enum { MAILBOX_BYTES = 8 << 20, NAME_MAX_BYTES = 255 };

struct mqtt_options {
    char *client_id, *ping_topic;
    int protocol;
};

struct mqtt_state {
    struct mail_port port;
    struct mqtt_link *link;
};

static const char *const protocol_words[] = { "auto", "3.1.1", "5", NULL };

#define FIELD(field) offsetof(struct mqtt_options, field)
static const struct opt rows[] = {
    { .name = "client_id",
      .kind = OPT_STRING,
      .offset = FIELD(client_id),
      .max = MQTT_CLIENT_ID_MAX - 1,
      .help =
          "client identifier; wshealthd- and random characters unless set. A broker ends the older of two clients with one name" },
    { .name = "ping_topic",
      .kind = OPT_STRING,
      .offset = FIELD(ping_topic),
      .max = NAME_MAX_BYTES,
      .default_text = "wshealthd/ping",
      .help = "topic on which a message with QoS 1 is published to prove that the broker takes messages" },
    { .name = "protocol",
      .kind = OPT_ENUM,
      .offset = FIELD(protocol),
      .default_text = "auto",
      .words = protocol_words,
      .help = "version of MQTT; auto: 5, and 3.1.1 where the broker refuses it" },
    { 0 },
};

static int mqtt_validate(const struct broker_conf *conf, struct err *err)
{
    const struct mqtt_options *options = conf->opts;
    /* Words are "1.0", "1.1", "1.2", "1.3". */
    if (conf->tls.min_version < 2)
        return err_set(err, REASON_NONE, 0, "tls.min_version: mqtt takes nothing below 1.2");
    if (conf->tls.server_name)
        return err_set(err, REASON_NONE, 0, "tls.server_name: mqtt compares the certificate with the host of url");
    if (options->ping_topic[0] == '\0' || strpbrk(options->ping_topic, "+#"))
        return err_set(err, REASON_NONE, 0, "ping_topic: '%s', want a topic without + and #", options->ping_topic);
    return 0;
}

/* --- the plan --- */

static void name_client(struct mqtt_plan *plan, const char *wanted)
{
    unsigned char bytes[6];
    if (wanted && wanted[0] != '\0') {
        snprintf(plan->client_id, sizeof plan->client_id, "%s", wanted);
        return;
    }
    /* 3.1.1 brokers need not take more than 23 characters of letters and digits (3.1.3.1); this one has 22, and a hyphen that all known
     * ones take. */
    random_bytes(bytes, sizeof bytes);
    snprintf(plan->client_id, sizeof plan->client_id, "wshealthd-%02x%02x%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3],
             bytes[4], bytes[5]);
}

static struct mqtt_plan *plan_new(const struct broker *broker, struct err *err)
{
    const struct broker_conf *conf = broker_get_conf(broker);
    const struct mqtt_options *options = broker_get_opts(broker);
    struct url url;
    if (broker_url(broker, &url, err))
        return NULL;
    struct mqtt_plan *plan = mem_alloc(sizeof *plan);
    bool v6 = strchr(url.host, ':');
    plan->host = mem_strdup(url.host);
    plan->port = url.port;
    plan->where = mem_printf("%s%s%s:%u", v6 ? "[" : "", url.host, v6 ? "]" : "", url.port);
    plan->user = url.user[0] == '\0' ? NULL : mem_strdup(url.user);
    plan->password = url.password[0] == '\0' ? NULL : mem_strdup(url.password);
    explicit_bzero(url.password, sizeof url.password);
    name_client(plan, options->client_id);
    plan->ping_topic = mem_strdup(options->ping_topic);
    plan->protocol = (enum mqtt_protocol)options->protocol;
    plan->tls = url.tls || strcmp(url.scheme, "mqtts") == 0;
    plan->verify = conf->tls.verify;
    plan->only_tls13 = conf->tls.min_version == 3;
    plan->ca_file = mem_strdup(conf->tls.ca_file);
    plan->cert_file = mem_strdup(conf->tls.cert_file);
    plan->key_file = mem_strdup(conf->tls.key_file);
    plan->timeout_ms = conf->timeout_ms;
    return plan;
}

static const struct mailbox_type mailbox_type = { MAIL_PORT_TYPE, .max_mails = MQTT_REQUESTS_MAX, .max_bytes = MAILBOX_BYTES };

/* --- what the core calls --- */

static int mqtt_open(struct broker *broker, struct err *err)
{
    struct mqtt_state *state = broker_state(broker);
    if (mqtt_lib_open(err))
        return -1;
    struct mqtt_plan *plan = plan_new(broker, err);
    if (!plan)
        return -1;
    if (mail_port_open(&state->port, broker, &mailbox_type, err) < 0) {
        mqtt_plan_free(plan);
        return -1;
    }
    state->link = mqtt_link_new(state->port.box, err);
    if (!state->link)
        mqtt_plan_free(plan);
    /* The mailbox is open: from here on whatever is wrong is reported, not returned. */
    if (!state->link || mqtt_worker_start(state->link, plan, err) < 0)
        mail_port_fail(&state->port, err);
    return 0;
}

static int request(struct broker *broker, enum mail_kind kind, struct slice topic, struct slice body, uint64_t token)
{
    struct mqtt_state *state = broker_state(broker);
    if (mail_port_request(&state->port, kind, topic, body, token) < 0)
        return -1;
    mqtt_link_wake(state->link);
    return 0;
}

static int mqtt_ping(struct broker *broker)
{
    return request(broker, MAIL_PING, slice_str(NULL), slice_str(NULL), 0);
}

static int mqtt_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    return request(broker, MAIL_PUBLISH, topic, body, token);
}

static int mqtt_subscribe(struct broker *broker, struct slice topic)
{
    return request(broker, MAIL_SUBSCRIBE, topic, slice_str(NULL), 0);
}

static int mqtt_unsubscribe(struct broker *broker, struct slice topic)
{
    return request(broker, MAIL_UNSUBSCRIBE, topic, slice_str(NULL), 0);
}

static void mqtt_close(struct broker *broker)
{
    struct mqtt_state *state = broker_state(broker);
    mail_port_close(&state->port);
    if (state->link) {
        mqtt_link_wake(state->link);
        mqtt_link_unref(state->link);
        state->link = NULL;
    }
}

const struct broker_type broker_mqtt = {
    .name = "mqtt",
    .summary = "MQTT 3.1.1 and 5: Mosquitto, EMQX, HiveMQ, VerneMQ",
    .schemes = "mqtt mqtts",
    .plain_schemes = "mqtt",
    .default_url = "mqtt://127.0.0.1:1883",
    .opts = rows,
    .opts_size = sizeof(struct mqtt_options),
    .state_size = sizeof(struct mqtt_state),
    .validate = mqtt_validate,
    .open = mqtt_open,
    .ping = mqtt_ping,
    .publish = mqtt_publish,
    .subscribe = mqtt_subscribe,
    .unsubscribe = mqtt_unsubscribe,
    .close = mqtt_close,
    .end = mqtt_worker_end,
};
