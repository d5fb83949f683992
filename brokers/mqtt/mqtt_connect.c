/*
 * Connecting to an MQTT broker and the meaning of what its library says. Called on a worker's thread only, where it may block. Promises one
 * attempt: reconnecting is the core's, as the library would keep unacknowledged messages and send them again when they are stale.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/process.h"
#include "brokers/mqtt/mqtt.h"

/* The broker drops a client that is silent for 1.5 times this long (3.1.2.10); the worker pings by itself, so it may be long. */
enum { KEEPALIVE_S = 30, PORT_TEXT_MAX = 8, INFLIGHT_MAX = 1000 };

static int set_tls(struct mosquitto *client, const struct mqtt_plan *plan, struct broker_fault *fault)
{
    const char *const files[] = { plan->ca_file, plan->cert_file, plan->key_file };
    int rc = MOSQ_ERR_SUCCESS;
    if (broker_fault_of_files(files, sizeof files / sizeof files[0], fault) < 0)
        return -1;
    if (!plan->ca_file)
        rc = MQTT(int_option)(client, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
    if (rc == MOSQ_ERR_SUCCESS && (plan->ca_file || plan->cert_file))
        /* The library wants an authority beside a client certificate: a directory without certificates adds none to those of the system. */
        rc = MQTT(tls_set)(client, plan->ca_file, plan->ca_file ? NULL : "/etc/ssl/certs", plan->cert_file, plan->key_file, NULL);
    if (rc == MOSQ_ERR_SUCCESS)
        rc = MQTT(tls_opts_set)(client, plan->verify ? 1 : 0, plan->only_tls13 ? "tlsv1.3" : NULL, NULL);
    if (rc == MOSQ_ERR_SUCCESS && !plan->verify)
        rc = MQTT(tls_insecure_set)(client, true);
    if (rc == MOSQ_ERR_SUCCESS)
        return 0;
    broker_fault_set(fault, REASON_AGENT_ERROR, "tls: %s%s%s%s", MQTT(strerror)(rc), plan->ca_file ? "; ca_file " : "",
                     plan->ca_file ? plan->ca_file : "", plan->cert_file ? ", cert_file or key_file" : "");
    return -1;
}

struct mosquitto *mqtt_client_new(const struct mqtt_plan *plan, enum mqtt_protocol protocol, void *user, struct broker_fault *fault)
{
    struct mosquitto *client = MQTT(new)(plan->client_id, true, user);
    if (!client) {
        broker_fault_set(fault, REASON_AGENT_ERROR, "cannot make an MQTT client: %s", strerror(errno));
        return NULL;
    }
    int rc =
        MQTT(int_option)(client, MOSQ_OPT_PROTOCOL_VERSION, protocol == MQTT_PROTOCOL_311 ? MQTT_PROTOCOL_V311 : MQTT_PROTOCOL_V5);
    if (rc == MOSQ_ERR_SUCCESS && plan->user)
        rc = MQTT(username_pw_set)(client, plan->user, plan->password);
    /* Above its limit the library holds messages back until others are acknowledged: they would arrive stale. */
    if (rc == MOSQ_ERR_SUCCESS)
        rc = MQTT(max_inflight_messages_set)(client, INFLIGHT_MAX);
    if (rc != MOSQ_ERR_SUCCESS)
        broker_fault_set(fault, REASON_AGENT_ERROR, "cannot prepare the connection: %s", MQTT(strerror)(rc));
    if (rc == MOSQ_ERR_SUCCESS && (!plan->tls || set_tls(client, plan, fault) == 0))
        return client;
    MQTT(destroy)(client);
    return NULL;
}

/* One address, without blocking. 0, or an errno. */
static int try_address(const struct addrinfo *address, int timeout_ms)
{
    int error = 0;
    socklen_t size = sizeof error;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        struct pollfd wait = { .fd = fd, .events = POLLOUT };
        error = errno;
        if (error == EINPROGRESS)
            error = poll(&wait, 1, timeout_ms) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : ETIMEDOUT;
    }
    close(fd);
    return error;
}

static void fault_of_files(const struct mqtt_plan *plan, struct broker_fault *fault)
{
    broker_fault_set(fault, REASON_AGENT_ERROR, "no file descriptor is left for a connection to %s", plan->where);
}

static void fault_of_errno(const struct mqtt_plan *plan, int error, struct broker_fault *fault)
{
    if (error == EMFILE || error == ENFILE)
        fault_of_files(plan, fault);
    else if (error == ECONNREFUSED)
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "nothing accepts connections on %s", plan->where);
    else
        broker_fault_set(fault, error == ETIMEDOUT ? REASON_BROKER_TIMEOUT : REASON_BROKER_UNREACHABLE, "%s: %s", plan->where,
                         strerror(error));
}

/*
 * The library's asynchronous call tries only the first address of a name, its blocking one all of them but each without a deadline. So with
 * several addresses each is tried here first: the blocking call is made only when one accepts.
 */
int mqtt_client_connect(struct mosquitto *client, const struct mqtt_plan *plan, const char *last_log, struct broker_fault *fault)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *addresses = NULL;
    char port[PORT_TEXT_MAX];
    int count = 0, error = ETIMEDOUT;
    snprintf(port, sizeof port, "%d", plan->port);
    int rc = getaddrinfo(plan->host, port, &hints, &addresses);
    if (rc != 0 && process_files_short()) { /* its files, and its socket, may be what could not be opened */
        fault_of_files(plan, fault);
        return -1;
    }
    if (rc != 0) {
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "cannot resolve %s: %s", plan->host, gai_strerror(rc));
        return -1;
    }
    for (const struct addrinfo *a = addresses; a; a = a->ai_next)
        count++;
    if (count > 1)
        for (const struct addrinfo *a = addresses; a && error != 0; a = a->ai_next)
            error = try_address(a, (int)(plan->timeout_ms / 2 / count) + 1);
    freeaddrinfo(addresses);
    if (count > 1 && error != 0) {
        fault_of_errno(plan, error, fault);
        return -1;
    }
    rc = (count > 1 ? MQTT(connect) : MQTT(connect_async))(client, plan->host, plan->port, KEEPALIVE_S);
    error = errno;
    if (rc == MOSQ_ERR_SUCCESS)
        return 0;
    errno = error;
    if (process_files_short())
        fault_of_files(plan, fault);
    else
        mqtt_fault_of(plan, rc, last_log, fault);
    return -1;
}

/* --- meanings --- */

/* "OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed": the last part is for people. */
static const char *last_part(const char *log)
{
    const char *colon = strrchr(log, ':');
    return !colon || colon[1] == '\0' ? log : colon + 1;
}

void mqtt_fault_of(const struct mqtt_plan *plan, int code, const char *last_log, struct broker_fault *fault)
{
    int error = errno;
    if (plan->tls && broker_refuses_certificate(last_log))
        broker_fault_set(fault, REASON_BROKER_AUTH_FAILED, "%s refused the client certificate, or wants one: %s", plan->where,
                         last_part(last_log));
    else if (plan->tls && last_log[0] != '\0')
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "TLS with %s failed: %s", plan->where, last_part(last_log));
    else if (plan->tls && code == MOSQ_ERR_ERRNO && error == EPROTO)
        /* The library's word for a TLS alert that it has no words for: in TLS 1.3 the handshake is over for us before the broker has seen
         * our certificate, so that the alert meets the first write or read. */
        broker_fault_set(fault, REASON_BROKER_AUTH_FAILED,
                         "%s hung up right after the TLS handshake: it refuses the client certificate, or wants one", plan->where);
    else if (code == MOSQ_ERR_CONN_LOST || code == MOSQ_ERR_NO_CONN ||
             (code == MOSQ_ERR_ERRNO && (error == EPIPE || error == ECONNRESET)))
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "%s has closed the connection", plan->where);
    else if (code == MOSQ_ERR_ERRNO && error != 0)
        fault_of_errno(plan, error, fault);
    else if (code == MOSQ_ERR_KEEPALIVE)
        broker_fault_set(fault, REASON_BROKER_TIMEOUT, "%s does not answer pings", plan->where);
    else if (code == MOSQ_ERR_PROTOCOL || code == MOSQ_ERR_NOMEM || code == MOSQ_ERR_MALFORMED_PACKET ||
             code == MOSQ_ERR_MALFORMED_UTF8)
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "what %s says is not MQTT", plan->where);
    else
        broker_fault_set(fault, REASON_BROKER_UNREACHABLE, "%s: %s", plan->where,
                         code >= 128 ? MQTT(reason_string)(code) : MQTT(strerror)(code));
}

/* 3.2.2.2 of 5.0, 3.2.2.3 of 3.1.1. */
void mqtt_fault_of_connack(const struct mqtt_plan *plan, enum mqtt_protocol protocol, int code, struct broker_fault *fault)
{
    bool five = protocol == MQTT_PROTOCOL_5 && code >= 128;
    const char *text = five ? MQTT(reason_string)(code) : MQTT(connack_string)(code);
    bool credentials = five
                           ? code == MQTT_RC_NOT_AUTHORIZED || code == MQTT_RC_BAD_USERNAME_OR_PASSWORD || code == MQTT_RC_BANNED ||
                                 code == MQTT_RC_BAD_AUTHENTICATION_METHOD || code == MQTT_RC_CLIENTID_NOT_VALID
                           : code == CONNACK_REFUSED_BAD_USERNAME_PASSWORD || code == CONNACK_REFUSED_NOT_AUTHORIZED ||
                                 code == CONNACK_REFUSED_IDENTIFIER_REJECTED;
    bool blocked = five && (code == MQTT_RC_QUOTA_EXCEEDED || code == MQTT_RC_CONNECTION_RATE_EXCEEDED);
    enum reason reason = credentials ? REASON_BROKER_AUTH_FAILED : blocked ? REASON_BROKER_BLOCKED : REASON_BROKER_UNREACHABLE;
    broker_fault_set(fault, reason, "%s refused the client: %s", plan->where, text);
}

/* 3.4.2.1: 16 means that nobody is subscribed, which is fine. */
void mqtt_fault_of_puback(const struct mqtt_plan *plan, const char *topic, int code, struct broker_fault *fault)
{
    enum reason reason = code == MQTT_RC_NOT_AUTHORIZED   ? REASON_BROKER_AUTH_FAILED
                         : code == MQTT_RC_QUOTA_EXCEEDED ? REASON_BROKER_BLOCKED
                                                          : REASON_BROKER_NOT_DELIVERING;
    if (code >= 128)
        broker_fault_set(fault, reason, "%s refused the message on '%s': %s", plan->where, topic, MQTT(reason_string)(code));
}
