/*
 * The thread of one NATS connection: it owns every call of the library. Started by nats.c when a broker opens, it connects once, then
 * takes requests from its mailbox and has them carried out (nats_requests.c). It ends when its mailbox is closed. Where it is stuck in a
 * call, it ends when the call returns, and what it holds lives until then.
 *
 * The library calls back from threads of its own, possibly after the connection is gone. So it gets a number, not a pointer, and the
 * number is looked up in the one list of workers that are alive. That list, and what is marked so in a worker, is guarded by one mutex.
 *
 * The library's TLS handshake has no deadline: with a server that falls silent there it reads for ever. A worker that is no longer wanted
 * is therefore interrupted by a timer whose signal does nothing else, again and again until it has ended.
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
    END_WAIT_MS = 2500,
    LIBRARY_WAIT_MS = 1000,
    ALARM_SIGNAL = SIGURG, /* unused by libuv and libnats, and ignored by default */
    ALARM_EVERY_MS = 50,
};

struct worker {
    struct list node; /* guarded by the lock, as are those up to silent */
    uintptr_t number;
    unsigned refs;  /* the thread's, and those of callbacks under way */
    bool has_alarm; /* `alarm` interrupts the thread, once it is set */
    timer_t alarm;
    bool silent;                 /* MAIL_DOWN was posted, or nobody waits for it */
    struct nats_session session; /* box and plan are for any thread, the rest for its own */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* a worker has gone */
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
    nats_cond_init(&changed);
    list_init(&workers);
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
    mailbox_unref(worker->session.box);
    nats_plan_free(worker->session.plan);
    nats_session_fini(&worker->session);
    mem_free(worker);
}

/* NULL: the worker has ended. Otherwise the caller gets a reference. */
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
    broker_mail_post(worker->session.box, mail);
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
    nats_fault_of(worker->session.plan, status == NATS_OK ? NATS_CONNECTION_CLOSED : status, text, &fault);
    say_down(worker, &fault);
    worker_unref(worker);
}

static void on_lame_duck(natsConnection *connection, void *closure)
{
    struct worker *worker = worker_of(closure);
    struct broker_fault fault = { 0 };
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
    nats_denials_add(&worker->session.denials, text ? text : "");
    worker_unref(worker);
}

static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    (void)connection;
    (void)subscription;
    int len = natsMsg_GetDataLength(message);
    struct worker *worker = len < 0 ? NULL : worker_of(closure);
    if (worker) {
        broker_mail_message(worker->session.box, natsMsg_GetSubject(message), slice_make(natsMsg_GetData(message), (size_t)len));
        worker_unref(worker);
    }
    natsMsg_Destroy(message);
}

/* --- life --- */

static int connect_once(struct worker *worker)
{
    const struct nats_hooks hooks = {
        .closure = (void *)worker->number, .on_closed = on_closed, .on_lame_duck = on_lame_duck, .on_error = on_error
    };
    struct broker_fault fault = { 0 };
    worker->session.connection = nats_connect(worker->session.plan, &hooks, &fault);
    if (!worker->session.connection) {
        say_down(worker, &fault);
        return -1;
    }
    enum nats_jetstream wanted = worker->session.plan->jetstream;
    natsStatus s = wanted == NATS_JETSTREAM_OFF
                       ? NATS_OK
                       : natsConnection_JetStream(&worker->session.jetstream, worker->session.connection, NULL);
    if (s != NATS_OK) {
        nats_fault_of(worker->session.plan, s, NULL, &fault);
        say_down(worker, &fault);
        return -1;
    }
    worker->session.queries_jetstream =
        wanted == NATS_JETSTREAM_ON || (wanted == NATS_JETSTREAM_AUTO &&
                                        nats_jetstream_there(worker->session.jetstream, worker->session.plan->timeout_ms / 4 + 1));
    return 0;
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

/* Connecting has the plan's timeout: a call that takes longer is stuck, and is interrupted. */
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
    alarm_set(worker, mailbox_closed(worker->session.box) ? ALARM_EVERY_MS : worker->session.plan->timeout_ms);
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

/* From now on only nats_worker_hurry sets it. */
static void alarm_rest(struct worker *worker)
{
    pthread_mutex_lock(&lock);
    if (!mailbox_closed(worker->session.box))
        alarm_set(worker, 0);
    pthread_mutex_unlock(&lock);
}

void nats_worker_hurry(void)
{
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    list_each (node, &workers) {
        struct worker *worker = list_entry(node, struct worker, node);
        if (mailbox_closed(worker->session.box))
            alarm_set(worker, ALARM_EVERY_MS);
    }
    pthread_mutex_unlock(&lock);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    alarm_open(worker);
    if (!mailbox_closed(worker->session.box) && connect_once(worker) == 0) {
        alarm_rest(worker);
        broker_mail_post(worker->session.box, broker_mail_news(MAIL_UP));
        for (struct mail *next; (next = mailbox_take(worker->session.box));)
            nats_run_batch(&worker->session, list_entry(next, struct broker_mail, base));
    }
    silence(worker);
    nats_session_close(&worker->session);
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
    worker->session.box = mailbox_ref(box);
    worker->session.plan = plan;
    worker->refs = 1;
    nats_session_init(&worker->session);
    worker->session.on_message = on_message;
    pthread_mutex_lock(&lock);
    bool full = worker_count >= NATS_WORKERS_MAX;
    worker->number = ++last_number;
    worker->session.closure = (void *)worker->number;
    worker_count++;
    list_push(&workers, &worker->node);
    pthread_mutex_unlock(&lock);
    int status = full ? 0 : thread_start(run_worker, worker);
    if (!full && status == 0)
        return 0;
    worker_unref(worker);
    if (full)
        return err_set(err, REASON_AGENT_ERROR, 0, "%d connections to NATS are still being closed", NATS_WORKERS_MAX);
    return err_set(err, REASON_AGENT_ERROR, status, "cannot start a thread: %s", strerror(status));
}

void nats_worker_end(void)
{
    uint64_t deadline_ns = nats_monotonic_ns() + END_WAIT_MS * NS_PER_MS;
    bool used, idle;
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
    used = last_number != 0;
    while (worker_count > 0 && nats_wait_until(&changed, &lock, deadline_ns))
        ;
    idle = worker_count == 0;
    pthread_mutex_unlock(&lock);
    /* While a worker is still inside the library it must not be closed. The process is about to end anyway. */
    if (used && idle)
        nats_CloseAndWait(LIBRARY_WAIT_MS);
}
