/*
 * What the files of the NATS driver share: the plan that goes to a worker, and the worker's functions. nats.c reads options and speaks to
 * the core on the loop; nats_worker.c runs the thread that owns every call of the library; on it nats_requests.c carries out requests,
 * nats_batches.c has messages taken in batches, and nats_connect.c connects and says what the library's errors mean.
 */
#ifndef WSHEALTHD_BROKERS_NATS_NATS_H
#define WSHEALTHD_BROKERS_NATS_NATS_H

#include <pthread.h>

#include "brokers/mail.h"
#include "brokers/nats/nats_lib.h"

enum { NATS_SERVERS_MAX = 16, NATS_REQUESTS_MAX = 8192, NATS_WORKERS_MAX = 64, NATS_PENDING_MESSAGES = 1024 };

enum nats_jetstream { NATS_JETSTREAM_OFF, NATS_JETSTREAM_ON, NATS_JETSTREAM_AUTO };

/* Everything a worker needs, in copies of its own: it may outlive the broker. */
struct nats_plan {
    char *servers[NATS_SERVERS_MAX]; /* nats://host:port */
    int server_count;
    char *where; /* for sentences: "127.0.0.1:4222", "a:4222 and 2 more" */
    char *user, *password, *token, *nkey_file, *nkey_public, *credentials_file;
    bool secure; /* TLS even where the server does not ask for it */
    bool verify, only_tls13;
    char *ca_file, *cert_file, *key_file, *server_name;
    int64_t timeout_ms;
    enum nats_jetstream jetstream;
    char *stream; /* publishes are acknowledged by this one; NULL: core NATS */
};
void nats_plan_free(struct nats_plan *plan);

/* nats_worker.c. Starts the thread of one connection; it takes the plan, keeps a reference of the box, and ends when the box is closed.
 * -1: err, and the plan is freed. nats_worker_hurry interrupts what workers whose box is closed are stuck in. nats_worker_end lets the
 * library go; it waits for late workers, but not for ever. */
int nats_worker_start(struct mailbox *box, struct nats_plan *plan, struct err *err);
void nats_worker_hurry(void);
void nats_worker_end(void);

/* nats_requests.c, on a worker's thread; nats_denials_add on any. */
enum { NATS_DENIALS_MAX = 32 };
struct nats_denials { /* violations of permissions: how many so far, and the last of them; guarded by the lock */
    /* First: gcc 14 takes the address of the struct for that of its first member, and a text then for a read beyond a lock. */
    char texts[NATS_DENIALS_MAX][BROKER_FAULT_TEXT_MAX / 2];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
};
struct nats_session { /* one connection. Zeroed but for what init says */
    struct mailbox *box;
    struct nats_plan *plan;
    void *closure; /* goes with on_message */
    natsMsgHandler on_message;
    natsConnection *connection;
    jsCtx *jetstream;
    bool queries_jetstream; /* a ping has JetStream answer, too */
    struct list subscriptions;
    struct list
        retired; /* unsubscribed, destroyed after the next round trip: the library may still be reading a message for them */
    struct nats_denials denials;
};
void nats_session_init(struct nats_session *session);  /* the lists and the denials */
void nats_session_close(struct nats_session *session); /* what belongs to the library */
void nats_session_fini(struct nats_session *session);
/* Takes further mails from the mailbox, as many as a batch may have. */
void nats_run_batch(struct nats_session *session, struct broker_mail *first);
void nats_denials_add(struct nats_denials *denials, const char *text);
/* Conditions wait for the monotonic clock. false: the time is over. */
uint64_t nats_monotonic_ns(void);
void nats_cond_init(pthread_cond_t *cond);
bool nats_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);

/* nats_batches.c, on a worker's thread: a thread that hands the messages of a synchronous subscription to the loop in batches. NULL: there is no
 * thread for it. It is ended when the subscription or its connection has been closed, and before the subscription is destroyed; NULL is fine. */
struct nats_batches *nats_batches_start(struct mailbox *box, natsSubscription *handle);
void nats_batches_end(struct nats_batches *batches);

/* nats_connect.c, on a worker's thread. */
struct nats_hooks { /* from threads of the library's own; closure goes with each */
    void *closure;
    natsConnectionHandler on_closed, on_lame_duck;
    natsErrHandler on_error;
};
/* NULL: fault. */
natsConnection *nats_connect(const struct nats_plan *plan, const struct nats_hooks *hooks, struct broker_fault *fault);
/* What a failed call, or the end of a connection, means. text may be NULL. */
void nats_fault_of(const struct nats_plan *plan, natsStatus status, const char *text, struct broker_fault *fault);
/* Whether JetStream answers, and the stream has a leader. */
void nats_jetstream_query(const struct nats_plan *plan, jsCtx *js, int64_t wait_ms, struct broker_fault *fault);
void nats_jetstream_publish(const struct nats_plan *plan, jsCtx *js, const struct broker_mail *mail, int64_t wait_ms,
                            struct broker_fault *fault);
/* For `auto`: does this account have JetStream? */
bool nats_jetstream_there(jsCtx *js, int64_t wait_ms);

#endif
