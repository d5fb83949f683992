/* The history's thread (agent/run/agent_history_keeper.h), behind a mailbox. Owns the thread, its mails and the path. */
#include "agent/run/agent_history_keeper.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/net/mailbox.h"
#include "agent/net/thread.h"
#include "agent/report/history_file.h"

enum { MAILS_MAX = 4, MAIL_BYTES_MAX = 3 * HISTORY_FILE_MAX };

struct job {
    struct mail base;
    struct keeper_answer answer;
};

struct keeper {
    struct mailbox *box;
    unsigned busy;
    void (*on_done)(void *user, const struct keeper_answer *answer);
    void *user;
};

/* The thread's own. */
struct worker {
    struct mailbox *box;
    char *path, *spared;
};

static void discard(struct mail *mail)
{
    struct job *job = (struct job *)mail;

    buf_fini(&job->answer.bytes);
    mem_free(job);
}

/* --- the thread's side --- */

static int work(const struct worker *worker, struct keeper_answer *todo)
{
    switch (todo->job) {
    case KEEPER_READ:
        buf_init(&todo->bytes, HISTORY_FILE_MAX);
        return history_disk_read(worker->path, HISTORY_FILE_MAX, &todo->bytes, &todo->missing, &todo->err);
    case KEEPER_SET_ASIDE:
        return history_disk_set_aside(worker->path, worker->spared, &todo->err);
    default:
        return history_disk_write(worker->path, buf_slice(&todo->bytes), &todo->err);
    }
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    struct mail *mail;

    while ((mail = mailbox_take(worker->box))) {
        struct job *job = (struct job *)mail;

        job->answer.failed = work(worker, &job->answer) < 0;
        if (job->answer.job == KEEPER_WRITE)
            buf_fini(&job->answer.bytes);
        mail->owed = true;
        if (mailbox_post(worker->box, mail) < 0)
            discard(mail);
    }
    mailbox_unref(worker->box);
    mem_free(worker->path);
    mem_free(worker->spared);
    mem_free(worker);
    return NULL;
}

/* --- the loop's side --- */

static void on_mail(void *user, struct mail *mail)
{
    struct keeper *keeper = user;
    struct job *job = (struct job *)mail;

    keeper->busy--;
    keeper->on_done(keeper->user, &job->answer);
    discard(mail);
}

static void on_closed(void *user)
{
    mem_free(user);
}

struct keeper *keeper_new(struct loop *loop, const char *path, const char *spared,
                          void (*on_done)(void *user, const struct keeper_answer *answer), void *user, struct err *err)
{
    static const struct mailbox_type type = {
        .on_mail = on_mail, .on_closed = on_closed, .discard = discard, .max_mails = MAILS_MAX, .max_bytes = MAIL_BYTES_MAX
    };
    struct keeper *keeper = mem_alloc(sizeof *keeper);
    struct worker *worker;
    int status;

    keeper->on_done = on_done;
    keeper->user = user;
    keeper->box = mailbox_new(loop, &type, keeper, err);
    if (!keeper->box) {
        mem_free(keeper);
        return NULL;
    }
    worker = mem_alloc(sizeof *worker);
    *worker = (struct worker){ mailbox_ref(keeper->box), mem_strdup(path), mem_strdup(spared) };
    status = thread_start(run_worker, worker);
    if (status == 0)
        return keeper;
    err_set(err, REASON_AGENT_ERROR, status, "cannot start a thread: %s", strerror(status));
    mailbox_unref(worker->box);
    mem_free(worker->path);
    mem_free(worker->spared);
    mem_free(worker);
    mailbox_close(keeper->box);
    return NULL;
}

void keeper_ask(struct keeper *keeper, enum keeper_job todo, struct buf *bytes)
{
    struct job *job = mem_alloc(sizeof *job);

    job->answer.job = todo;
    if (bytes) {
        job->answer.bytes = *bytes;
        *bytes = BUF_INIT(0);
    }
    job->base.bytes = sizeof *job + job->answer.bytes.cap;
    if (mailbox_send(keeper->box, &job->base) < 0)
        discard(&job->base); /* the disk hangs: so much is waiting already */
    else
        keeper->busy++;
}

unsigned keeper_busy(const struct keeper *keeper)
{
    return keeper->busy;
}

void keeper_free(struct keeper *keeper)
{
    if (keeper)
        mailbox_close(keeper->box);
}
