/*
 * The topics that a kafka connection consumes. Called by kafka.c and by the core, on the loop. Owns two lists: a *wish* is a topic that
 * the core has subscribed, a *feed* is a topic of Kafka's; with `topic` set, many wishes share one feed. A wish is confirmed when the end
 * of each partition of its feed was found. The worker assigns the partitions (kafka_worker.c).
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "brokers/kafka/kafka.h"

enum { WISHES_MAX = 16384 };

/* A topic of Kafka's that is consumed. */
struct kafka_feed {
    struct list node;
    uint64_t id;
    unsigned partitions, ends; /* 0: not known yet; how many ends were found */
    uint8_t found[KAFKA_PARTITIONS_MAX / 8];
    char name[KAFKA_TOPIC_MAX + 1];
};

/* A topic of the core's. */
struct kafka_wish {
    struct list node;
    struct kafka_feed *feed; /* NULL: refused, to be told in the next turn */
    bool told;
    struct slice topic; /* its bytes follow the struct */
};

void kafka_topics_init(struct kafka *kafka)
{
    list_init(&kafka->feeds);
    list_init(&kafka->wishes);
}

void kafka_topics_drop(struct kafka *kafka)
{
    list_each_safe (node, &kafka->feeds)
        mem_free(list_entry(node, struct kafka_feed, node));
    list_each_safe (node, &kafka->wishes)
        mem_free(list_entry(node, struct kafka_wish, node));
    kafka_topics_init(kafka);
}

/* --- what the core is told --- */

static void tell_wish(struct kafka *kafka, struct kafka_wish *wish, const struct err *err)
{
    wish->told = true;
    broker_subscribed(kafka->broker, wish->topic, err);
}

/* The next wish of that feed that has not been answered. */
static struct kafka_wish *next_untold(const struct kafka *kafka, const struct kafka_feed *feed)
{
    list_each (node, &kafka->wishes) {
        struct kafka_wish *wish = list_entry(node, struct kafka_wish, node);
        if (!wish->told && wish->feed == feed)
            return wish;
    }
    return NULL;
}

static bool is_ready(const struct kafka_feed *feed)
{
    return feed->partitions && feed->ends == feed->partitions;
}

static struct kafka_wish *next_ready(const struct kafka *kafka)
{
    list_each (node, &kafka->wishes) {
        struct kafka_wish *wish = list_entry(node, struct kafka_wish, node);
        if (!wish->told && wish->feed && is_ready(wish->feed))
            return wish;
    }
    return NULL;
}

/* A callback may free the feed: compare the pointer only, never dereference it. */
static void tell_feed(struct kafka *kafka, const struct kafka_feed *feed, const struct err *err)
{
    struct kafka_wish *wish;
    while (!kafka->gone && (wish = next_untold(kafka, feed)))
        tell_wish(kafka, wish, err);
}

void kafka_topics_report(struct kafka *kafka)
{
    struct kafka_wish *wish;
    struct err err;
    err_set(&err, REASON_AGENT_ERROR, 0, "the topic is longer than the %d bytes of a Kafka topic's name", KAFKA_TOPIC_MAX);
    tell_feed(kafka, NULL, &err);
    while (!kafka->gone && (wish = next_ready(kafka)))
        tell_wish(kafka, wish, NULL);
}

/* --- subscribing --- */

static struct kafka_feed *find_feed(const struct kafka *kafka, const char *name)
{
    list_each (node, &kafka->feeds)
        if (strcmp(list_entry(node, struct kafka_feed, node)->name, name) == 0)
            return list_entry(node, struct kafka_feed, node);
    return NULL;
}

static struct kafka_feed *feed_of(const struct kafka *kafka, uint64_t id)
{
    list_each (node, &kafka->feeds)
        if (list_entry(node, struct kafka_feed, node)->id == id)
            return list_entry(node, struct kafka_feed, node);
    return NULL;
}

/* NULL: the worker's mailbox is full. */
static struct kafka_feed *feed_start(struct kafka *kafka, const char *name)
{
    struct kafka_mail *mail = kafka_mail_new(KAFKA_REQUEST_FOLLOW, slice_str(name));
    mail->id = ++kafka->last_id;
    if (mailbox_send(kafka->client->box, &mail->base) < 0) {
        kafka_mail_discard(&mail->base);
        return NULL;
    }
    struct kafka_feed *feed = mem_alloc(sizeof *feed);
    feed->id = kafka->last_id;
    snprintf(feed->name, sizeof feed->name, "%s", name);
    list_push(&kafka->feeds, &feed->node);
    return feed;
}

static void feed_free(struct kafka_feed *feed)
{
    list_remove(&feed->node);
    mem_free(feed);
}

int kafka_subscribe(struct broker *broker, struct slice topic)
{
    struct kafka *kafka = broker_state(broker);
    const struct kafka_opts *opts = broker_get_opts(broker);
    char name[KAFKA_TOPIC_MAX + 1] = "";
    bool too_long = !opts->topic && topic.len > KAFKA_TOPIC_MAX;
    struct kafka_feed *feed = NULL;
    if (!kafka->up || kafka->gone || kafka->wish_count >= WISHES_MAX)
        return -1;
    if (opts->topic)
        snprintf(name, sizeof name, "%s", opts->topic);
    else if (!too_long)
        snprintf(name, sizeof name, "%.*s", (int)topic.len, topic.len ? (const char *)topic.data : "");
    if (!too_long) {
        feed = find_feed(kafka, name);
        if (!feed)
            feed = feed_start(kafka, name);
        if (!feed)
            return -1;
    }
    struct kafka_wish *wish = mem_alloc(sizeof *wish + topic.len);
    if (topic.len)
        memcpy(wish + 1, topic.data, topic.len);
    wish->topic = slice_make(wish + 1, topic.len);
    wish->feed = feed;
    list_push(&kafka->wishes, &wish->node);
    kafka->wish_count++;
    if (too_long || is_ready(feed))
        timer_start(&kafka->later, 0);
    return 0;
}

static void feed_stop(struct kafka *kafka, struct kafka_feed *feed)
{
    struct kafka_mail *mail = kafka_mail_new(KAFKA_REQUEST_UNFOLLOW, slice_str(feed->name));
    if (mailbox_send(kafka->client->box, &mail->base) < 0)
        kafka_mail_discard(&mail->base);
    feed_free(feed);
}

int kafka_unsubscribe(struct broker *broker, struct slice topic)
{
    struct kafka *kafka = broker_state(broker);
    struct kafka_wish *found = NULL;
    struct kafka_feed *feed;
    bool wanted = false;
    list_each (node, &kafka->wishes) {
        struct kafka_wish *wish = list_entry(node, struct kafka_wish, node);
        if (slice_equal(wish->topic, topic))
            found = wish;
    }
    if (!found)
        return 0;
    feed = found->feed;
    list_remove(&found->node);
    kafka->wish_count--;
    mem_free(found);
    list_each (node, &kafka->wishes)
        wanted = wanted || list_entry(node, struct kafka_wish, node)->feed == feed;
    if (feed && !wanted)
        feed_stop(kafka, feed);
    return 0;
}

/* The worker has assigned the partitions, or has failed to. Wishes of a failed feed end with it: a reconnect subscribes again. */
void kafka_topics_on_followed(struct kafka *kafka, const struct kafka_mail *mail)
{
    struct kafka_feed *feed = feed_of(kafka, mail->id);
    struct kafka_wish *wish;
    struct err err;
    if (!feed)
        return;
    feed->partitions = mail->partitions;
    if (mail->fault.reason == REASON_NONE) {
        if (is_ready(feed))
            tell_feed(kafka, feed, NULL);
        return;
    }
    broker_fault_err(&mail->fault, &err);
    while (!kafka->gone && (wish = next_untold(kafka, feed))) {
        list_remove(&wish->node);
        kafka->wish_count--;
        broker_subscribed(kafka->broker, wish->topic, &err);
        mem_free(wish);
    }
    if (!kafka->gone && feed_of(kafka, mail->id)) /* a callback may have removed it */
        feed_free(feed);
}

void kafka_topics_on_end(struct kafka *kafka, const rd_kafka_topic_partition_t *place)
{
    struct kafka_feed *feed = find_feed(kafka, place->topic);
    unsigned number = (unsigned)place->partition;
    if (!feed || number >= KAFKA_PARTITIONS_MAX || feed->found[number / 8] & 1U << number % 8)
        return;
    feed->found[number / 8] = (uint8_t)(feed->found[number / 8] | 1U << number % 8);
    feed->ends++;
    if (is_ready(feed))
        tell_feed(kafka, feed, NULL);
}
