/*
 * The thread of one NATS connection: it owns every call of the library. Started by nats.c when a broker opens, it connects once, then takes
 * requests in batches: each is carried out, one round trip to the server confirms all of them, and each goes back as its own answer. It ends
 * when its mailbox is closed; stuck in a call, it ends when that returns, and whatever it holds lives that long and no longer.
 *
 * The library calls back from threads of its own, possibly after the connection is gone. So it gets a number, not a pointer, and the number
 * is looked up in the one list of workers that are alive. That list, and what is marked so in a worker, is guarded by one mutex.
 *
 * The library's TLS handshake has no deadline: with a server that falls silent there it reads for ever. A worker that is no longer wanted is
 * therefore interrupted by a timer whose signal does nothing else, again and again until it has let go.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/net/thread.h"
#include "brokers/nats/nats.h"

enum {
    BATCH_MAX = 64,
    DENIALS_MAX = 32,
    DENIAL_WAIT_MS = 50,
    END_WAIT_MS = 2500,
    LIBRARY_WAIT_MS = 1000,
    PENDING_MESSAGES = 1024,
    PENDING_BYTES = 4 << 20,
    ALARM_SIGNAL = SIGURG, /* nobody else uses it, and it is ignored where nobody does */
    ALARM_EVERY_MS = 50,
};

struct subscription {
    struct list node; /* in subscriptions or retired */
    natsSubscription *handle;
    int64_t dropped; /* by the library, as far as it was told */
    char topic[];
};

struct worker {
    struct list node; /* guarded, as are those up to denials */
    uintptr_t number;
    unsigned refs;  /* the thread's, and those of callbacks under way */
    bool has_alarm; /* `alarm` interrupts the thread, once it is set */
    timer_t alarm;
    bool silent;     /* MAIL_DOWN was said, or nobody wants to hear it */
    unsigned denied; /* violations of permissions so far; the last of them: */
    char denials[DENIALS_MAX][BROKER_FAULT_TEXT_MAX / 2];
    struct mailbox *box;
    struct nats_plan *plan;
    natsConnection *connection; /* from here on the thread's only */
    jsCtx *jetstream;
    bool queries_jetstream;
    struct list subscriptions;
    struct list
        retired; /* unsubscribed, destroyed after the next round trip: the library may still be reading a message for them */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* a denial, or a worker that has gone; on the monotonic clock */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct list workers;
static unsigned worker_count;
static uintptr_t last_number;

static void on_alarm(int number)
{
    (void)number;
}

static void set_up(void)
{
    struct sigaction action = { .sa_handler = on_alarm }; /* no SA_RESTART: what it interrupts is to end */
    sigemptyset(&action.sa_mask);
    sigaction(ALARM_SIGNAL, &action, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&workers);
}

/* Waits for `changed` with the lock held. false: the time is over. */
static bool wait_until(uint64_t deadline_ns)
{
    struct timespec at = { .tv_sec = (time_t)(deadline_ns / NS_PER_S), .tv_nsec = (long)(deadline_ns % NS_PER_S) };
    return pthread_cond_timedwait(&changed, &lock, &at) == 0;
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void worker_unref(struct worker *worker)
{
    pthread_mutex_lock(&lock);
    bool last = --worker->refs == 0;
    if (last) {
        list_remove(&worker->node);
        worker_count--;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    mailbox_unref(worker->box);
    nats_plan_free(worker->plan);
    mem_free(worker);
}

/* NULL: it has gone. Otherwise with a reference. */
static struct worker *worker_of(void *closure)
{
    struct worker *found = NULL;
    pthread_mutex_lock(&lock);
    list_each (node, &workers) {
        struct worker *worker = list_entry(node, struct worker, node);
        if (worker->number == (uintptr_t)closure)
            found = worker;
    }
    if (found)
        found->refs++;
    pthread_mutex_unlock(&lock);
    return found;
}

static void silence(struct worker *worker)
{
    pthread_mutex_lock(&lock);
    worker->silent = true;
    pthread_mutex_unlock(&lock);
}

static void say_down(struct worker *worker, const struct broker_fault *fault)
{
    pthread_mutex_lock(&lock);
    bool silent = worker->silent;
    worker->silent = true;
    pthread_mutex_unlock(&lock);
    if (silent)
        return;
    struct broker_mail *mail = broker_mail_news(MAIL_DOWN);
    mail->fault = *fault;
    broker_mail_post(worker->box, mail);
}

/* --- callbacks, from the library's threads --- */

static void on_closed(natsConnection *connection, void *closure)
{
    struct worker *worker = worker_of(closure);
    struct broker_fault fault = { 0 };
    const char *text = NULL;
    if (!worker)
        return;
    natsStatus status = natsConnection_GetLastError(connection, &text);
    nats_fault_of(worker->plan, status == NATS_OK ? NATS_CONNECTION_CLOSED : status, text, &fault);
    say_down(worker, &fault);
    worker_unref(worker);
}

static void on_lame_duck(natsConnection *connection, void *closure)
{
    struct worker *worker = worker_of(closure);
    struct broker_fault fault;
    char url[BROKER_FAULT_TEXT_MAX / 2] = "";
    if (!worker)
        return;
    if (natsConnection_GetConnectedUrl(connection, url, sizeof url) != NATS_OK)
        url[0] = '\0';
    broker_fault_set(&fault, REASON_BROKER_UNREACHABLE, "the server %s is shutting down (lame duck)", url);
    say_down(worker, &fault);
    worker_unref(worker);
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status, void *closure)
{
    (void)subscription;
    struct worker *worker = status == NATS_NOT_PERMITTED ? worker_of(closure) : NULL;
    const char *text = NULL;
    if (!worker)
        return;
    natsConnection_GetLastError(connection, &text);
    pthread_mutex_lock(&lock);
    char *denial = worker->denials[worker->denied++ % DENIALS_MAX];
    snprintf(denial, sizeof worker->denials[0], "%s", text ? text : "");
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    worker_unref(worker);
}

/* Past the mailbox's ceiling a message is dropped, as is one that is larger than any heartbeat can be. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    (void)connection;
    (void)subscription;
    int len = natsMsg_GetDataLength(message);
    struct worker *worker = len < 0 || len > BROKER_BODY_MAX ? NULL : worker_of(closure);
    if (worker) {
        broker_mail_post(worker->box, broker_mail_new(MAIL_MESSAGE, slice_str(natsMsg_GetSubject(message)),
                                                      slice_make(natsMsg_GetData(message), (size_t)len)));
        worker_unref(worker);
    }
    natsMsg_Destroy(message);
}

/* --- requests --- */

struct task {
    struct broker_mail *mail;
    bool confirmed_by_flush;
};

struct batch {
    struct task tasks[BATCH_MAX];
    size_t count;
    unsigned denied_before;
    bool flush, permitted_matters; /* whether something waits for the round trip; whether that could be denied */
};

/* The library does not look: a blank or a line break in a subject would be another command. */
static bool subject_is_good(const char *subject, bool wildcards)
{
    size_t token = 0;
    for (const char *p = subject;; p++) {
        if (*p == '.' || *p == '\0') {
            if (token == 0)
                return false;
            token = 0;
            if (*p == '\0')
                return true;
            continue;
        }
        if ((unsigned char)*p <= ' ' || *p == 0x7f || (!wildcards && (*p == '*' || *p == '>')))
            return false;
        token++;
    }
}

/* What is left of a request's time. The core has answered it by itself once the time is over. */
static int64_t left_ms(const struct worker *worker, const struct broker_mail *mail)
{
    int64_t gone = (int64_t)((clock_now_ns() - mail->at_ns) / NS_PER_MS);
    return worker->plan->timeout_ms - gone;
}

static void fail_of(const struct worker *worker, natsStatus status, struct broker_mail *mail)
{
    nats_fault_of(worker->plan, status, NULL, &mail->fault);
}

static void carry_publish(struct worker *worker, struct task *task)
{
    struct broker_mail *mail = task->mail;
    int64_t left = left_ms(worker, mail);
    if (!subject_is_good(mail->topic, false)) {
        broker_fault_set(&mail->fault, REASON_AGENT_ERROR, "'%s' is not a subject of NATS", mail->topic);
    } else if (left <= 0) { /* a heartbeat that is late already is better not sent */
        fail_of(worker, NATS_TIMEOUT, mail);
    } else if (worker->plan->stream) {
        nats_jetstream_publish(worker->plan, worker->jetstream, mail, left * 3 / 4 + 1, &mail->fault);
    } else {
        natsStatus s = natsConnection_Publish(worker->connection, mail->topic, mail->body.data, (int)mail->body.len);
        task->confirmed_by_flush = s == NATS_OK;
        if (s != NATS_OK)
            fail_of(worker, s, mail);
    }
}

static void carry_subscribe(struct worker *worker, struct task *task)
{
    struct broker_mail *mail = task->mail;
    size_t len = strlen(mail->topic);
    natsSubscription *handle = NULL;
    if (!subject_is_good(mail->topic, true)) {
        broker_fault_set(&mail->fault, REASON_AGENT_ERROR, "'%s' is not a subject of NATS", mail->topic);
        return;
    }
    natsStatus s = natsConnection_Subscribe(&handle, worker->connection, mail->topic, on_message, (void *)worker->number);
    if (s != NATS_OK) {
        fail_of(worker, s, mail);
        return;
    }
    natsSubscription_SetPendingLimits(handle, PENDING_MESSAGES, PENDING_BYTES);
    struct subscription *subscription = mem_alloc(sizeof *subscription + len + 1);
    subscription->handle = handle;
    memcpy(subscription->topic, mail->topic, len);
    list_push(&worker->subscriptions, &subscription->node);
    task->confirmed_by_flush = true;
}

static void carry_unsubscribe(struct worker *worker, const char *topic)
{
    list_each_safe (node, &worker->subscriptions) {
        struct subscription *subscription = list_entry(node, struct subscription, node);
        if (strcmp(subscription->topic, topic) != 0)
            continue;
        natsSubscription_Unsubscribe(subscription->handle);
        list_remove(node);
        list_push(&worker->retired, node);
    }
}

static void destroy_all(struct list *subscriptions)
{
    list_each_safe (node, subscriptions) {
        struct subscription *subscription = list_entry(node, struct subscription, node);
        list_remove(node);
        natsSubscription_Destroy(subscription->handle);
        mem_free(subscription);
    }
}

static void carry(struct worker *worker, struct batch *batch, struct broker_mail *mail)
{
    struct task *task = &batch->tasks[batch->count];
    if (mail->kind == MAIL_UNSUBSCRIBE) {
        carry_unsubscribe(worker, mail->topic);
        broker_mail_discard(&mail->base);
        batch->flush = true;
        return;
    }
    batch->count++;
    *task = (struct task){ .mail = mail };
    if (mail->kind == MAIL_PING)
        task->confirmed_by_flush = true;
    else if (mail->kind == MAIL_PUBLISH)
        carry_publish(worker, task);
    else
        carry_subscribe(worker, task);
    batch->flush = batch->flush || task->confirmed_by_flush;
    batch->permitted_matters = batch->permitted_matters || (mail->kind != MAIL_PING && task->confirmed_by_flush);
}

/* Called with the lock held: the violation that names the mail's subject, among those since the batch began. */
static const char *denial_of(const struct worker *worker, const struct batch *batch, const struct broker_mail *mail)
{
    char quoted[BROKER_FAULT_TEXT_MAX * 2];
    unsigned first = worker->denied - batch->denied_before > DENIALS_MAX ? worker->denied - DENIALS_MAX : batch->denied_before;
    const char *verb = mail->kind == MAIL_PUBLISH ? "ublish" : "ubscri";
    snprintf(quoted, sizeof quoted, "\"%s\"", mail->topic);
    for (unsigned i = first; i != worker->denied; i++) {
        const char *denial = worker->denials[i % DENIALS_MAX];
        if (strstr(denial, quoted) && strstr(denial, verb))
            return denial;
    }
    return NULL;
}

/*
 * The server has answered the round trip, so that any violation has been read; but it is told by another thread, which may be late. The
 * connection remembers only that there was one, ever: it is waited for, and when none comes it was an older one.
 */
static void settle_denials(struct worker *worker, struct batch *batch)
{
    const char *ignored;
    bool ever = natsConnection_GetLastError(worker->connection, &ignored) == NATS_NOT_PERMITTED;
    uint64_t deadline_ns = monotonic_ns() + DENIAL_WAIT_MS * NS_PER_MS;
    pthread_mutex_lock(&lock);
    while (ever && worker->denied == batch->denied_before && wait_until(deadline_ns))
        ;
    for (size_t i = 0; i < batch->count; i++) {
        struct broker_mail *mail = batch->tasks[i].mail;
        const char *denial = mail->kind == MAIL_PING ? NULL : denial_of(worker, batch, mail);
        if (denial)
            broker_fault_set(&mail->fault, REASON_BROKER_AUTH_FAILED, "%s: %s", worker->plan->where, denial);
    }
    pthread_mutex_unlock(&lock);
}

static void confirm(struct worker *worker, struct batch *batch)
{
    natsStatus s = natsConnection_FlushTimeout(worker->connection, worker->plan->timeout_ms);
    if (s == NATS_OK)
        destroy_all(&worker->retired);
    for (size_t i = 0; s != NATS_OK && i < batch->count; i++)
        if (batch->tasks[i].confirmed_by_flush)
            fail_of(worker, s, batch->tasks[i].mail);
}

/* Pings of one batch share one question to JetStream. */
static void query_jetstream(struct worker *worker, struct batch *batch)
{
    struct broker_fault fault = { 0 };
    bool asked = false;
    for (size_t i = 0; i < batch->count; i++) {
        struct broker_mail *mail = batch->tasks[i].mail;
        int64_t left = left_ms(worker, mail);
        if (mail->kind != MAIL_PING || mail->fault.reason != REASON_NONE)
            continue;
        if (!asked && left > 0)
            nats_jetstream_query(worker->plan, worker->jetstream, left * 3 / 4 + 1, &fault);
        asked = true;
        mail->fault = fault;
    }
}

/* What the library has dropped in its own queues, as the mailbox does above its ceiling. */
static void tell_dropped(struct worker *worker)
{
    size_t news = 0;
    list_each (node, &worker->subscriptions) {
        struct subscription *subscription = list_entry(node, struct subscription, node);
        int64_t dropped = 0;
        if (natsSubscription_GetDropped(subscription->handle, &dropped) != NATS_OK || dropped <= subscription->dropped)
            continue;
        news += (size_t)(dropped - subscription->dropped);
        subscription->dropped = dropped;
    }
    if (news > 0)
        mailbox_lost(worker->box, news);
}

static void run_batch(struct worker *worker, struct broker_mail *first)
{
    struct batch batch = { 0 };
    pthread_mutex_lock(&lock);
    batch.denied_before = worker->denied;
    pthread_mutex_unlock(&lock);
    carry(worker, &batch, first);
    while (batch.count < BATCH_MAX && !mailbox_closed(worker->box)) {
        struct mail *next = mailbox_take_now(worker->box);
        if (!next)
            break;
        carry(worker, &batch, list_entry(next, struct broker_mail, base));
    }
    if (batch.flush && !mailbox_closed(worker->box))
        confirm(worker, &batch);
    if (batch.permitted_matters || worker->plan->stream)
        settle_denials(worker, &batch);
    if (worker->queries_jetstream && !mailbox_closed(worker->box))
        query_jetstream(worker, &batch);
    tell_dropped(worker);
    for (size_t i = 0; i < batch.count; i++) {
        batch.tasks[i].mail->base.owed = true;
        broker_mail_post(worker->box, batch.tasks[i].mail);
    }
}

/* --- life --- */

static int connect_once(struct worker *worker)
{
    const struct nats_hooks hooks = {
        .closure = (void *)worker->number, .on_closed = on_closed, .on_lame_duck = on_lame_duck, .on_error = on_error
    };
    struct broker_fault fault = { 0 };
    worker->connection = nats_connect(worker->plan, &hooks, &fault);
    if (!worker->connection) {
        say_down(worker, &fault);
        return -1;
    }
    enum nats_jetstream wanted = worker->plan->jetstream;
    natsStatus s = wanted == NATS_JETSTREAM_OFF ? NATS_OK : natsConnection_JetStream(&worker->jetstream, worker->connection, NULL);
    if (s != NATS_OK) {
        nats_fault_of(worker->plan, s, NULL, &fault);
        say_down(worker, &fault);
        return -1;
    }
    worker->queries_jetstream =
        wanted == NATS_JETSTREAM_ON ||
        (wanted == NATS_JETSTREAM_AUTO && nats_jetstream_there(worker->jetstream, worker->plan->timeout_ms / 4 + 1));
    return 0;
}

/* The connection first: when it is closed, its reading thread is gone and nothing uses a subscription any more. */
static void release(struct worker *worker)
{
    silence(worker);
    if (worker->connection)
        natsConnection_Close(worker->connection);
    destroy_all(&worker->retired);
    destroy_all(&worker->subscriptions);
    jsCtx_Destroy(worker->jetstream);
    natsConnection_Destroy(worker->connection);
    nats_ReleaseThreadMemory();
}

/* Interrupts the thread after that time and then every ALARM_EVERY_MS; 0: no more. Called with the lock held. */
static void alarm_set(struct worker *worker, int64_t ms)
{
    struct itimerspec when = { .it_value = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * (long)NS_PER_MS } };
    if (ms > 0)
        when.it_interval.tv_nsec = ALARM_EVERY_MS * (long)NS_PER_MS;
    if (worker->has_alarm)
        timer_settime(worker->alarm, 0, &when, NULL);
}

/* Connecting has its time; what takes longer is stuck. */
static void alarm_open(struct worker *worker)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = ALARM_SIGNAL };
    sigset_t only;
    event._sigev_un._tid = gettid();
    sigemptyset(&only);
    sigaddset(&only, ALARM_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    pthread_mutex_lock(&lock);
    worker->has_alarm = timer_create(CLOCK_MONOTONIC, &event, &worker->alarm) == 0;
    alarm_set(worker, mailbox_closed(worker->box) ? ALARM_EVERY_MS : worker->plan->timeout_ms);
    pthread_mutex_unlock(&lock);
}

static void alarm_close(struct worker *worker)
{
    pthread_mutex_lock(&lock);
    if (worker->has_alarm)
        timer_delete(worker->alarm);
    worker->has_alarm = false;
    pthread_mutex_unlock(&lock);
}

/* From now on only who closes the mailbox sets it. */
static void alarm_rest(struct worker *worker)
{
    pthread_mutex_lock(&lock);
    if (!mailbox_closed(worker->box))
        alarm_set(worker, 0);
    pthread_mutex_unlock(&lock);
}

void nats_worker_hurry(void)
{
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    list_each (node, &workers) {
        struct worker *worker = list_entry(node, struct worker, node);
        if (mailbox_closed(worker->box))
            alarm_set(worker, ALARM_EVERY_MS);
    }
    pthread_mutex_unlock(&lock);
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    alarm_open(worker);
    if (!mailbox_closed(worker->box) && connect_once(worker) == 0) {
        alarm_rest(worker);
        broker_mail_post(worker->box, broker_mail_news(MAIL_UP));
        for (struct mail *next; (next = mailbox_take(worker->box));)
            run_batch(worker, list_entry(next, struct broker_mail, base));
    }
    release(worker);
    alarm_close(worker);
    thread_release();
    worker_unref(worker);
    return NULL;
}

int nats_worker_start(struct mailbox *box, struct nats_plan *plan, struct err *err)
{
    pthread_once(&once, set_up);
    if (nats_lib_open(err) < 0) {
        nats_plan_free(plan);
        return -1;
    }
    struct worker *worker = mem_alloc(sizeof *worker);
    worker->box = mailbox_ref(box);
    worker->plan = plan;
    worker->refs = 1;
    list_init(&worker->subscriptions);
    list_init(&worker->retired);
    pthread_mutex_lock(&lock);
    bool full = worker_count >= NATS_WORKERS_MAX;
    worker->number = ++last_number;
    worker_count++;
    list_push(&workers, &worker->node);
    pthread_mutex_unlock(&lock);
    int status = full ? 0 : thread_start(run, worker);
    if (!full && status == 0)
        return 0;
    worker_unref(worker);
    if (full)
        return err_set(err, REASON_AGENT_ERROR, 0, "%d connections to NATS are still being closed", NATS_WORKERS_MAX);
    return err_set(err, REASON_AGENT_ERROR, status, "cannot start a thread: %s", strerror(status));
}

void nats_worker_end(void)
{
    uint64_t deadline_ns = monotonic_ns() + END_WAIT_MS * NS_PER_MS;
    bool used, idle;
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    used = last_number != 0;
    while (worker_count > 0 && wait_until(deadline_ns))
        ;
    idle = worker_count == 0;
    pthread_mutex_unlock(&lock);
    /* With a worker still inside the library it is left alone: the process is about to end. */
    if (used && idle)
        nats_CloseAndWait(LIBRARY_WAIT_MS);
}
