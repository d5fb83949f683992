/*
 * What the files of the kafka driver share. kafka.c and kafka_topics.c speak to the core on the loop; kafka_conf.c reads options and the
 * URL; kafka_fault.c says what an error means; kafka_worker.c has the thread for every call of librdkafka that may wait; kafka_lib.c opens
 * the library.
 */
#ifndef WSHEALTHD_BROKERS_KAFKA_KAFKA_H
#define WSHEALTHD_BROKERS_KAFKA_KAFKA_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "agent/core/broker.h"
#include "agent/net/mailbox.h"
#include "brokers/fault.h"

enum { KAFKA_TOPIC_MAX = 249, KAFKA_PARTITIONS_MAX = 1024, KAFKA_SERVERS_MAX = 64 };

/* librdkafka is opened when the first kafka broker is, so that other users do not pay for its megabyte and its own libraries. */
#define KAFKA_CALLS(X)              \
    X(conf_new)                     \
    X(conf_dup)                     \
    X(conf_destroy)                 \
    X(conf_set)                     \
    X(conf_set_events)              \
    X(conf_set_log_cb)              \
    X(new)                          \
    X(destroy_flags)                \
    X(err2str)                      \
    X(queue_get_main)               \
    X(queue_get_consumer)           \
    X(queue_destroy)                \
    X(queue_cb_event_enable)        \
    X(queue_poll)                   \
    X(poll_set_consumer)            \
    X(event_type)                   \
    X(event_destroy)                \
    X(event_error)                  \
    X(event_error_string)           \
    X(event_message_next)           \
    X(event_topic_partition)        \
    X(topic_partition_destroy)      \
    X(topic_new)                    \
    X(topic_destroy)                \
    X(topic_name)                   \
    X(metadata)                     \
    X(metadata_destroy)             \
    X(topic_partition_list_new)     \
    X(topic_partition_list_add)     \
    X(topic_partition_list_destroy) \
    X(assignment)                   \
    X(incremental_assign)           \
    X(incremental_unassign)         \
    X(produceva)                    \
    X(version)                      \
    X(version_str)                  \
    X(error_code)                   \
    X(error_destroy)
struct kafka_lib {
#define KAFKA_MEMBER(call) __typeof__(&rd_kafka_##call) call;
    KAFKA_CALLS(KAFKA_MEMBER)
#undef KAFKA_MEMBER
};
const struct kafka_lib *kafka_get_lib(
    struct err *err); /* NULL: err, where there is one, says what is missing. Loop only; the result may be used on any thread */

struct kafka_opts {
    char *topic, *ping_topic;
    int security, mechanism;
    struct opt_pairs properties;
};

/* kafka_fault.c */
enum reason kafka_reason(rd_kafka_resp_err_t code);
/* An error of a connection's, said may be NULL. */
void kafka_explain(const struct kafka_lib *lib, const struct kafka_opts *opts, rd_kafka_resp_err_t code, const char *said,
                   struct err *err);

/* kafka_conf.c */
bool kafka_scram_fails(const struct kafka_lib *lib, const struct kafka_opts *opts); /* at Kafka 4, whatever the credentials */
bool kafka_warns(const struct broker_conf *conf, char *text, size_t size);
extern const struct opt kafka_rows[];
int kafka_validate(const struct broker_conf *conf, struct err *err);
struct kafka_confs { /* each belongs to rd_kafka_new once that has succeeded */
    rd_kafka_conf_t *producer, *consumer;
};
int kafka_confs_new(const struct kafka_lib *lib, const struct broker_conf *conf, const char *url, struct kafka_confs *confs,
                    struct err *err);
void kafka_confs_free(const struct kafka_lib *lib, struct kafka_confs *confs); /* what has not become a handle */

/*
 * One connection's handles, shared by the loop, the worker's thread and those of the library. The worker makes them and destroys them; the
 * loop may use them from KAFKA_NEWS_UP on, until it closes the mailbox.
 */
enum kafka_kind {
    KAFKA_REQUEST_PING,     /* metadata of the cluster, or of a topic and its leaders. Comes back */
    KAFKA_REQUEST_FOLLOW,   /* consume a topic from its end. Comes back with the number of partitions */
    KAFKA_REQUEST_UNFOLLOW, /* nothing comes back */
    KAFKA_NEWS_UP,          /* the cluster has answered, or fault says why not */
    KAFKA_NEWS_EVENTS,      /* a queue has events */
};
struct kafka_mail {
    struct mail base;
    enum kafka_kind kind;
    uint64_t id; /* of the follow */
    unsigned partitions;
    struct broker_fault fault;
    char topic[KAFKA_TOPIC_MAX + 1];
};
struct kafka_client {
    atomic_uint refs; /* the loop's, until the mailbox has closed, and the worker's */
    const struct kafka_lib *lib;
    struct mailbox *box;
    struct kafka_confs confs;
    int timeout_ms;
    rd_kafka_t *producer, *consumer; /* the consumer is made for the first topic that is followed */
    rd_kafka_queue_t *producer_events, *consumer_events;
    struct kafka_mail nudge; /* the one mail that says that there are events; nudged while it is on its way */
    atomic_bool nudged;
};
struct kafka_mail *kafka_mail_new(enum kafka_kind kind, struct slice topic); /* topic is at most KAFKA_TOPIC_MAX long */
void kafka_mail_discard(struct mail *mail);

/* kafka_worker.c. The client is zeroed but for lib, box, confs (which it takes) and timeout_ms. The thread ends when the box is closed. */
int kafka_worker_start(struct kafka_client *client, struct err *err);
void kafka_client_unref(struct kafka_client *client);
void kafka_worker_end(void); /* waits for threads that are ending, but not for ever */

/* One connection, on the loop. */
struct kafka {
    struct broker *broker;
    struct kafka_client *client;
    bool up, gone; /* gone: broker_down was reported, or close was called */
    uint64_t last_id;
    struct list feeds, wishes, refusals; /* the first two are kafka_topics.c's */
    unsigned wish_count, refusal_count;
    struct timer later, more; /* later: what is to be reported in the next turn */
    struct err why;           /* what the library has said of connections since something went well; REASON_NONE: nothing */
};
static inline const struct kafka_lib *kafka_lib_of(const struct kafka *kafka)
{
    return kafka->client->lib;
}

/* kafka_topics.c, on the loop */
void kafka_topics_init(struct kafka *kafka);
void kafka_topics_drop(struct kafka *kafka);   /* forgets all, and tells nobody */
void kafka_topics_report(struct kafka *kafka); /* from `later`, as a driver must not report inside the core's call */
void kafka_topics_on_followed(struct kafka *kafka, const struct kafka_mail *mail);
void kafka_topics_on_end(struct kafka *kafka, const rd_kafka_topic_partition_t *place); /* the end of a partition was found */
int kafka_subscribe(struct broker *broker, struct slice topic);
int kafka_unsubscribe(struct broker *broker, struct slice topic);

#endif
