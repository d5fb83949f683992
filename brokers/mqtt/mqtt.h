/*
 * What the files of the MQTT driver share: the plan that goes to a worker. mqtt.c reads options and speaks to the core on the loop;
 * mqtt_worker.c runs the thread that owns every call of libmosquitto; on it mqtt_wire.c passes bytes on
 * between the connection and the library, and mqtt_connect.c connects and says what the library's codes mean.
 * Protocol: MQTT 3.1.1 and 5.0 (OASIS standards of 2014 and 2019); section numbers in comments are those of 5.0.
 */
#ifndef WSHEALTHD_BROKERS_MQTT_MQTT_H
#define WSHEALTHD_BROKERS_MQTT_MQTT_H

#include <sys/types.h>

#include "brokers/mail.h"
#include "brokers/mqtt/mqtt_lib.h"

enum { MQTT_REQUESTS_MAX = 1024, MQTT_WORKERS_MAX = 32, MQTT_CLIENT_ID_MAX = 64 };

enum mqtt_protocol { MQTT_PROTOCOL_AUTO, MQTT_PROTOCOL_311, MQTT_PROTOCOL_5 };

/* Everything a worker needs, in copies of its own: it may outlive the broker. */
struct mqtt_plan {
    char *host, *where; /* where: for sentences, "127.0.0.1:1883" */
    int port;
    char *user, *password;
    char client_id[MQTT_CLIENT_ID_MAX];
    char *ping_topic;
    enum mqtt_protocol protocol;
    bool tls, verify, only_tls13;
    char *ca_file, *cert_file, *key_file;
    int64_t timeout_ms;
};
void mqtt_plan_free(struct mqtt_plan *plan);

/* The thread's end of a connection: a reference of the mailbox, and an eventfd that wakes the thread from poll. Counted, as either side may
 * be the last. */
struct mqtt_link;
struct mqtt_link *mqtt_link_new(struct mailbox *box, struct err *err);
void mqtt_link_wake(struct mqtt_link *link);
void mqtt_link_unref(struct mqtt_link *link);

/* Starts the thread of one connection. It takes the plan and a reference of the link, and ends when the mailbox is closed. -1: err, and the
 * plan is freed. */
int mqtt_worker_start(struct mqtt_link *link, struct mqtt_plan *plan, struct err *err);
/* Waits for late workers, but not for ever, and closes the library when there are none. */
void mqtt_worker_end(void);

/* mqtt_connect.c, on a worker's thread. last_log: the library's last error in its log, the only place where it says what is wrong with
 * TLS. */
struct mosquitto *mqtt_client_new(const struct mqtt_plan *plan, enum mqtt_protocol protocol, void *user,
                                  struct broker_fault *fault);
int mqtt_client_connect(struct mosquitto *client, const struct mqtt_plan *plan, const char *last_log, struct broker_fault *fault);
void mqtt_fault_of(const struct mqtt_plan *plan, int code, const char *last_log, struct broker_fault *fault);
void mqtt_fault_of_connack(const struct mqtt_plan *plan, enum mqtt_protocol protocol, int code, struct broker_fault *fault);
void mqtt_fault_of_puback(const struct mqtt_plan *plan, const char *topic, int code, struct broker_fault *fault);

/* mqtt_wire.c, on a worker's thread. */
enum { MQTT_PIPE_BYTES = 16 << 10 };
struct mqtt_pipe { /* one direction */
    size_t begin, end;
    unsigned char bytes[MQTT_PIPE_BYTES];
};
struct mqtt_wire {
    int fd, inner;       /* the connection, and our end of the pair whose other end the library has; -1: none */
    bool reached, heard; /* the connection is there; the broker has sent something */
    struct mqtt_pipe in, out;
    size_t unanswered; /* bytes that came since the library had something whole; the worker sets it to 0 */
};
void mqtt_wire_init(struct mqtt_wire *wire);
int mqtt_wire_take(struct mqtt_wire *wire, int theirs);      /* puts the pair into the place of the library's socket. -1: errno */
void mqtt_wire_reset_on_close(const struct mqtt_wire *wire); /* RST: what is still in the send buffer is not delivered later */
void mqtt_wire_close(struct mqtt_wire *wire);
void mqtt_wire_wait(const struct mqtt_wire *wire, int theirs, int wake, int timeout_ms); /* for anything to do */
int mqtt_wire_check(struct mqtt_wire *wire); /* sets reached. 0, or the errno of connecting */
/* To the library, and from it. A MOSQ_ERR_…: _ERRNO with errno; _OVERSIZE_PACKET: more than 2 MiB came without anything whole. An end in
 * order is passed on, as the library may still have to read what came before. */
int mqtt_wire_read(struct mqtt_wire *wire);
int mqtt_wire_write(struct mqtt_wire *wire);

#endif
