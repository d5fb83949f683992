/*
 * Message brokers: what a driver reads and reports (what it declares is agent/conf/broker_type.h), and what probes may ask of a broker.
 * The core owns reconnecting (exponential backoff with full jitter), deadlines and subscriptions that survive a reconnect; drivers only
 * report; nobody here judges. A probe never talks to a driver, a driver never to a probe.
 */
#ifndef WSHEALTHD_CORE_BROKER_H
#define WSHEALTHD_CORE_BROKER_H

#include "agent/base/list.h"
#include "agent/conf/broker_type.h"
#include "agent/conf/conf.h"
#include "agent/net/dial.h"

struct broker;

/* What drivers read. */
const struct broker_conf *broker_get_conf(const struct broker *broker);
const void *broker_get_opts(const struct broker *broker);
/* Whether all that listen to the topic (no data: to any) take messages in batches (struct broker_listener): asked when it is subscribed to. */
bool broker_topic_in_batches(const struct broker *broker, struct slice topic);
void *broker_state(struct broker *broker);
struct loop *broker_loop(struct broker *broker);
struct tls_context *broker_tls(struct broker *broker); /* made with the configuration's generation; NULL where tls_needed said no */
/* url with ${file:…} read anew: user, password, host, port. -1: agent_error. */
int broker_url(const struct broker *broker, struct url *url, struct err *err);

/*
 * In err->code: what the reason does not tell, so that the diagnosis does not say "down" of a broker that runs. The numbers are far above
 * every errno and reply code, which drivers put there too.
 */
enum broker_hint {
    BROKER_HINT_ABSENT = 100001, /* what the configuration names is not there: a virtual host, exchange, topic, stream */
    BROKER_HINT_FULL,            /* it takes no more connections */
    BROKER_HINT_UNTRUSTED,       /* its certificate is not trusted: the authority, the name or the dates */
    BROKER_HINT_UNHEARD,         /* of delivery_lost: it has taken the message, and cannot be listened to */
    BROKER_HINT_NEVER_CAME,      /* of delivery_lost: none has come through the server yet, so that a wrong topic looks the same */
    BROKER_HINT_OLD_CLIENT,      /* good credentials may be refused, as the client library here is too old */
};

/* What drivers report. err->reason is one of broker_unreachable, broker_auth_failed, broker_timeout, broker_read_only, broker_blocked,
 * broker_not_delivering, agent_error. dial's reasons are turned into broker_unreachable (broker_auth_failed for a refused certificate) with
 * broker_err_of_dial. */
void broker_up(struct broker *broker);
void broker_down(struct broker *broker, const struct err *err);
void broker_pong(struct broker *broker, const struct err *err /* NULL: fine */);
void broker_published(struct broker *broker, uint64_t token, const struct err *err /* NULL: taken */);
void broker_subscribed(struct broker *broker, struct slice topic, const struct err *err /* NULL: confirmed */);
void broker_message(struct broker *broker, struct slice topic, struct slice body, uint64_t received_ns);
void broker_closed(struct broker *broker);
void broker_dropped(struct broker *broker, uint64_t count);   /* so many messages could not be kept: more came than are taken */
void broker_oversized(struct broker *broker, uint64_t count); /* so many were larger than a heartbeat can be, and are not kept */
void broker_err_of_dial(const struct err *dial, struct err *out);

/*
 * The probes' side. All callbacks come from the loop, never inside the call; those of one request come exactly once, also when the broker goes
 * down or its deadline passes (broker_timeout), unless the request is cancelled first.
 */
struct broker_request { /* one question under way; embedded by its owner. Zero it first */
    struct list node;
    struct broker *broker;
    uint64_t token, started_ns, due_ns;
    bool unsent; /* the driver did not take it */
    void (*on_answer)(void *user, const struct err *err /* NULL: yes */, uint64_t rtt_ns);
    void *user;
};
void broker_probe(struct broker *broker, struct broker_request *request, uint64_t timeout_ms); /* up, writable, delivering? */
void broker_publish(struct broker *broker, struct broker_request *request, struct slice topic, struct slice body,
                    uint64_t timeout_ms);
/* The type's own command; it must have some. At most BROKER_ARGS_MAX arguments. */
void broker_command(struct broker *broker, struct broker_request *request, const struct slice *args, size_t count,
                    uint64_t timeout_ms);
void broker_request_cancel(struct broker_request *request); /* harmless when it is not under way */
/* The deadline of the owner of a broker_probe has passed. True: the broker's has passed too, the connection is given up, and the watches
 * have been told. False: the broker may still answer others, and the caller must cancel the request. */
bool broker_probe_late(struct broker_request *request);

enum { BROKER_BATCH_MS = 50 }; /* so long at most is a message kept back */

struct broker_listener { /* a wish for a topic; kept over reconnects. Embedded; zero it first */
    struct list node;
    struct broker *broker;
    char topic[BROKER_TOPIC_MAX];
    bool in_batches;   /* where messages come often, the driver may keep each back to hand over several at once */
    bool confirmed;    /* the broker has confirmed the subscription on the present connection */
    uint64_t asked_ns; /* the topic was asked for then, and no answer has come; 0: none is owed */
    void (*on_state)(void *user, bool confirmed, const struct err *err); /* changed; err says why not. May be NULL */
    void (*on_message)(void *user, struct slice body, uint64_t received_ns);
    void *user;
};
void broker_listen(struct broker *broker, struct broker_listener *listener, const char *topic);
/* Asks for the topic again: it was refused, the answer got lost, or nothing comes on it. Does nothing where the last answer may still come
 * (the broker's timeout has not passed), and where the broker is not up, as all topics are asked for when it comes up. */
void broker_listen_again(struct broker_listener *listener);
void broker_unlisten(struct broker_listener *listener);

struct broker_watcher { /* hears at once when the broker goes down or comes up; embedded by its owner. Zero it first */
    struct list node;
    void (*on_change)(void *user, bool up, const struct err *err);
    void *user;
};
void broker_watch(struct broker *broker, struct broker_watcher *watch);
void broker_unwatch(struct broker_watcher *watch);
bool broker_is_up(const struct broker *broker);
bool broker_is_waiting(const struct broker *broker);        /* neither up nor opening: the last attempt failed, see broker_why */
uint64_t broker_dropped_count(const struct broker *broker); /* all of them, over reconnects: heartbeats may be among them */
uint64_t broker_unread_count(const struct broker *broker);  /* the same, and those that were too large for a heartbeat */
const struct err *broker_why(const struct broker *broker);  /* why it is not up; text "connecting" at first */

/* The agent's side. */
struct broker *broker_new(struct loop *loop, const struct broker_conf *conf, struct tls_context *tls);
void broker_start(struct broker *broker);
void broker_free(struct broker *broker, void (*on_freed)(void *user),
                 void *user); /* closes, then frees; pending requests are answered first */

#endif
