/*
 * The thread of a kafka connection for every call that may wait: making the handles (which reads certificates), metadata, assigning
 * partitions, and destroying. Started by brokers/kafka/kafka.c; it takes mails from its mailbox until that is closed, then releases the
 * client. Promises that the loop never waits for it, at the end of the process aside, and there not for ever.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/base/mem.h"
#include "agent/net/thread.h"
#include "brokers/kafka/kafka.h"

enum { END_WAIT_S = 1, DESTROY_NOW = RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE };

/* How many threads have not ended yet. */
static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t count_changed = PTHREAD_COND_INITIALIZER;
static unsigned count;

static void count_add(int n)
{
    pthread_mutex_lock(&count_lock);
    count += (unsigned)n;
    pthread_cond_broadcast(&count_changed);
    pthread_mutex_unlock(&count_lock);
}

void kafka_worker_end(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_WAIT_S;
    pthread_mutex_lock(&count_lock);
    while (count && pthread_cond_timedwait(&count_changed, &count_lock, &until) == 0)
        ;
    pthread_mutex_unlock(&count_lock);
}

struct kafka_mail *kafka_mail_new(enum kafka_kind kind, struct slice topic)
{
    struct kafka_mail *mail = mem_alloc(sizeof *mail);
    panic_if(topic.len > KAFKA_TOPIC_MAX);
    mail->kind = kind;
    mail->base.owed = true; /* as many as there are requests */
    if (topic.len)
        memcpy(mail->topic, topic.data, topic.len);
    return mail;
}

void kafka_mail_discard(struct mail *mail)
{
    struct kafka_mail *kafka = list_entry(mail, struct kafka_mail, base);
    if (kafka->kind != KAFKA_NEWS_EVENTS) /* the client's own */
        mem_free(kafka);
}

/* On a thread of the library's, when a queue is not empty any more. */
static void on_events(rd_kafka_t *rk, void *opaque)
{
    struct kafka_client *client = opaque;
    (void)rk;
    if (!atomic_exchange(&client->nudged, true))
        mailbox_post(client->box, &client->nudge.base);
}

static rd_kafka_t *make(struct kafka_client *client, rd_kafka_type_t type, rd_kafka_conf_t **conf, struct broker_fault *fault)
{
    char why[BROKER_FAULT_TEXT_MAX / 2];
    rd_kafka_t *rk = client->lib->new(type, *conf, why, sizeof why);
    if (rk)
        *conf = NULL;
    else
        broker_fault_set(fault, REASON_AGENT_ERROR, "librdkafka: %s", why);
    return rk;
}

/* --- metadata --- */

static void fault_of_topic(const struct kafka_lib *lib, const struct rd_kafka_metadata_topic *topic, struct broker_fault *fault)
{
    fault->hint = topic->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? BROKER_HINT_ABSENT : 0;
    if (topic->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        broker_fault_set(fault, REASON_BROKER_NOT_DELIVERING, "there is no topic %.249s", topic->topic);
    else if (topic->err)
        broker_fault_set(fault, kafka_reason(topic->err), "topic %.249s: %s", topic->topic, lib->err2str(topic->err));
    for (int i = 0; i < topic->partition_cnt && !fault->reason; i++)
        if (topic->partitions[i].leader < 0)
            broker_fault_set(fault, REASON_BROKER_BLOCKED, "partition %d of topic %.249s has no leader",
                             (int)topic->partitions[i].id, topic->topic);
}

/* Of the cluster, or of a topic. partitions may be NULL. */
static void request_metadata(struct kafka_client *client, rd_kafka_t *rk, const char *name, unsigned *partitions,
                             struct broker_fault *fault)
{
    const struct kafka_lib *lib = client->lib;
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = *name ? lib->topic_new(rk, name, NULL) : NULL;
    if (*name && !topic) {
        broker_fault_set(fault, REASON_BROKER_NOT_DELIVERING, "'%.249s' is not the name of a topic", name);
        return;
    }
    rd_kafka_resp_err_t code = lib->metadata(rk, 0, topic, &metadata, client->timeout_ms);
    if (code == RD_KAFKA_RESP_ERR__TRANSPORT) /* no broker was up for as long as it waited */
        code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (code)
        broker_fault_set(fault, kafka_reason(code), "no metadata from the brokers: %s", lib->err2str(code));
    else if (topic && metadata->topic_cnt == 1)
        fault_of_topic(lib, &metadata->topics[0], fault);
    if (!code && partitions && metadata->topic_cnt == 1)
        *partitions = (unsigned)metadata->topics[0].partition_cnt;
    if (metadata)
        lib->metadata_destroy(metadata);
    if (topic)
        lib->topic_destroy(topic);
}

/* --- following topics --- */

static void make_consumer(struct kafka_client *client, struct broker_fault *fault)
{
    if (client->consumer)
        return;
    client->consumer = make(client, RD_KAFKA_CONSUMER, &client->confs.consumer, fault);
    if (!client->consumer)
        return;
    client->lib->poll_set_consumer(client->consumer);
    client->consumer_events = client->lib->queue_get_consumer(client->consumer);
    client->lib->queue_cb_event_enable(client->consumer_events, on_events, client);
}

static void follow(struct kafka_client *client, struct kafka_mail *mail)
{
    const struct kafka_lib *lib = client->lib;
    struct broker_fault *fault = &mail->fault;
    make_consumer(client, fault);
    if (fault->reason == REASON_NONE)
        request_metadata(client, client->consumer, mail->topic, &mail->partitions, fault);
    if (fault->reason == REASON_NONE && (mail->partitions == 0 || mail->partitions > KAFKA_PARTITIONS_MAX))
        broker_fault_set(fault, REASON_AGENT_ERROR, "topic %s has %u partitions, want 1 to %d", mail->topic, mail->partitions,
                         KAFKA_PARTITIONS_MAX);
    if (fault->reason != REASON_NONE)
        return;
    rd_kafka_topic_partition_list_t *list = lib->topic_partition_list_new((int)mail->partitions);
    for (unsigned i = 0; i < mail->partitions; i++)
        lib->topic_partition_list_add(list, mail->topic, (int32_t)i)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_error_t *error = lib->incremental_assign(client->consumer, list);
    if (error) {
        rd_kafka_resp_err_t code = lib->error_code(error);
        broker_fault_set(fault, kafka_reason(code), "topic %s cannot be consumed: %s", mail->topic, lib->err2str(code));
        lib->error_destroy(error);
    }
    lib->topic_partition_list_destroy(list);
}

static void unfollow(const struct kafka_client *client, const char *topic)
{
    const struct kafka_lib *lib = client->lib;
    rd_kafka_topic_partition_list_t *all = NULL, *list;
    if (!client->consumer || lib->assignment(client->consumer, &all) || !all)
        return;
    list = lib->topic_partition_list_new(all->cnt);
    for (int i = 0; i < all->cnt; i++)
        if (strcmp(all->elems[i].topic, topic) == 0)
            lib->topic_partition_list_add(list, topic, all->elems[i].partition);
    if (list->cnt) {
        rd_kafka_error_t *error = lib->incremental_unassign(client->consumer, list);
        if (error)
            lib->error_destroy(error);
    }
    lib->topic_partition_list_destroy(list);
    lib->topic_partition_list_destroy(all);
}

/* --- the thread --- */

static void post(const struct kafka_client *client, struct kafka_mail *mail)
{
    if (mailbox_post(client->box, &mail->base) < 0)
        kafka_mail_discard(&mail->base);
}

static void answer_mail(struct kafka_client *client, struct kafka_mail *mail)
{
    switch (mail->kind) {
    case KAFKA_REQUEST_PING:
        request_metadata(client, client->producer, mail->topic, NULL, &mail->fault);
        break;
    case KAFKA_REQUEST_FOLLOW:
        follow(client, mail);
        break;
    case KAFKA_REQUEST_UNFOLLOW:
        unfollow(client, mail->topic);
        kafka_mail_discard(&mail->base);
        return;
    default:
        break;
    }
    post(client, mail);
}

static void greet(struct kafka_client *client)
{
    struct kafka_mail *mail = kafka_mail_new(KAFKA_NEWS_UP, slice_make(NULL, 0));
    client->producer = make(client, RD_KAFKA_PRODUCER, &client->confs.producer, &mail->fault);
    if (client->producer) {
        client->producer_events = client->lib->queue_get_main(client->producer);
        client->lib->queue_cb_event_enable(client->producer_events, on_events, client);
        request_metadata(client, client->producer, "", NULL, &mail->fault);
    }
    post(client, mail);
}

static void close_handle(const struct kafka_lib *lib, rd_kafka_t *rk, rd_kafka_queue_t *events)
{
    if (events) {
        lib->queue_cb_event_enable(events, NULL, NULL);
        lib->queue_destroy(events);
    }
    if (rk)
        lib->destroy_flags(rk, DESTROY_NOW);
}

void kafka_client_unref(struct kafka_client *client)
{
    if (atomic_fetch_sub(&client->refs, 1) == 1)
        mem_free(client);
}

/* Afterwards no thread of the library's uses the client. */
static void release(struct kafka_client *client)
{
    const struct kafka_lib *lib = client->lib;
    close_handle(lib, client->consumer, client->consumer_events);
    close_handle(lib, client->producer, client->producer_events);
    kafka_confs_free(lib, &client->confs);
    mailbox_unref(client->box);
    kafka_client_unref(client);
}

static void *run_worker(void *arg)
{
    struct kafka_client *client = arg;
    struct mail *mail;
    greet(client);
    while ((mail = mailbox_take(client->box)))
        answer_mail(client, list_entry(mail, struct kafka_mail, base));
    release(client);
    thread_release();
    count_add(-1);
    return NULL;
}

int kafka_worker_start(struct kafka_client *client, struct err *err)
{
    client->nudge.kind = KAFKA_NEWS_EVENTS;
    client->nudge.base.owed = true;
    atomic_store(&client->refs, 2);
    mailbox_ref(client->box);
    count_add(1);
    int status = thread_start(run_worker, client);
    if (status == 0)
        return 0;
    count_add(-1);
    release(client);
    return err_set(err, REASON_AGENT_ERROR, status, "cannot start a thread for the brokers: %s", strerror(status));
}
