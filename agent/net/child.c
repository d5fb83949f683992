/*
 * Runs a program (agent/net/child.h), by libuv. Called by agent/notify. Owns the process, its pipes and the deadline until on_done; what the exit
 * code means is the caller's. A program that floods its output, never reads its input or starts others in the background costs what the
 * ceilings say, and its time.
 */
#include "agent/net/child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"

/* What the program has written just before its end is read for so long; somebody in the background may hold the pipe for ever. */
enum { DRAIN_MS = 100, UNKILLABLE_MS = 1000, STDIO = 3, READ_BYTES = 4096, SIGNAL_BASE = 128 };

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

struct child {
    struct list orphan; /* among the cancelled ones */
    struct loop *loop;
    uv_process_t process;
    uv_pipe_t pipes[STDIO];
    uv_write_t write;
    struct timer deadline, drain, failed;
    struct buf input, output;
    char read[READ_BYTES];
    size_t read_total;
    unsigned open; /* handles that are not closed yet */
    unsigned ends; /* outputs that have ended */
    bool has_process, piped[STDIO], exited, killed, cancelled, closing;
    int status;
    uint64_t timeout_ms;
    struct err err;
    void (*on_done)(void *user, const struct child_result *result);
    void *user;
};

static struct list orphans = LIST_INIT(orphans);

static void child_free(struct child *child)
{
    buf_wipe(&child->input);
    buf_fini(&child->output);
    mem_free(child);
}

static void on_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;

    if (--child->open == 0)
        child_free(child);
}

static void close_pipe(struct child *child, int i)
{
    if (child->piped[i])
        uv_close((uv_handle_t *)&child->pipes[i], on_closed);
    child->piped[i] = false;
}

/* The memory goes with the last handle. */
static void close_all(struct child *child)
{
    timer_stop(&child->deadline);
    timer_stop(&child->drain);
    for (int i = 0; i < STDIO; i++)
        close_pipe(child, i);
    if (child->has_process)
        uv_close((uv_handle_t *)&child->process, on_closed);
    child->has_process = false;
}

static void finish(struct child *child)
{
    struct child_result result = { .status = child->status, .killed = child->killed, .output = buf_slice(&child->output) };
    char within[32];

    if (child->closing)
        return;
    child->closing = true;
    if (child->killed) {
        text_format_duration((int64_t)child->timeout_ms, within, sizeof within);
        err_set(&child->err, REASON_AGENT_ERROR, 0, "the program did not end within %s, and was killed", within);
        result.err = &child->err;
    }
    if (!child->cancelled)
        child->on_done(child->user, &result);
    else
        list_remove(&child->orphan);
    close_all(child);
}

static void kill_group(const struct child *child)
{
    if (child->has_process && !child->exited && child->process.pid > 0)
        kill(-child->process.pid, SIGKILL);
}

static void on_exit(uv_process_t *process, int64_t status, int number)
{
    struct child *child = process->data;

    loop_woke(child->loop);
    child->exited = true;
    child->status = number ? SIGNAL_BASE + number : (int)status;
    timer_stop(&child->deadline);
    if (child->ends == 2 || child->killed || child->cancelled)
        finish(child);
    else
        timer_start(&child->drain, DRAIN_MS);
}

static void on_drained(struct timer *timer, void *user)
{
    (void)timer;
    finish(user);
}

static void on_deadline(struct timer *timer, void *user)
{
    struct child *child = user;

    (void)timer;
    child->killed = true;
    kill_group(child);
    timer_start(&child->drain, UNKILLABLE_MS); /* one that hangs in the kernel is left to init */
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
    struct child *child = handle->data;

    (void)size;
    *out = uv_buf_init(child->read, sizeof child->read);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *from)
{
    struct child *child = stream->data;
    size_t room = CHILD_OUTPUT_MAX - child->output.len;

    loop_woke(child->loop);
    if (n == 0)
        return;
    if (n > 0) {
        child->read_total += (size_t)n;
        buf_append(&child->output, from->base, (size_t)n < room ? (size_t)n : room);
        if (child->read_total < CHILD_OUTPUT_READ_MAX)
            return;
    }
    child->ends++;
    close_pipe(child, stream == (uv_stream_t *)&child->pipes[1] ? 1 : 2);
    if (child->ends == 2 && child->exited)
        finish(child);
}

static void on_written(uv_write_t *write, int status)
{
    struct child *child = write->data;

    (void)status; /* a program need not read all of it */
    if (status != UV_ECANCELED)
        close_pipe(child, 0);
}

static void write_input(struct child *child)
{
    uv_buf_t part = uv_buf_init((char *)child->input.data, (unsigned)child->input.len);

    child->write.data = child;
    if (!child->input.len || uv_write(&child->write, (uv_stream_t *)&child->pipes[0], &part, 1, on_written) != 0)
        close_pipe(child, 0);
}

static int open_pipes(struct child *child, uv_stdio_container_t stdio[STDIO])
{
    for (int i = 0; i < STDIO; i++) {
        int status = uv_pipe_init(&child->loop->uv, &child->pipes[i], 0);
        if (status != 0)
            return status;
        child->pipes[i].data = child;
        child->piped[i] = true;
        child->open++;
        stdio[i].flags = UV_CREATE_PIPE | (i == 0 ? UV_READABLE_PIPE : UV_WRITABLE_PIPE);
        stdio[i].data.stream = (uv_stream_t *)&child->pipes[i];
    }
    return 0;
}

static int spawn(struct child *child, const struct child_request *request)
{
    uv_stdio_container_t stdio[STDIO];
    uv_process_options_t options = { .file = request->args[0],
                                     .args = (char **)request->args,
                                     .env = (char **)request->env,
                                     .cwd = "/",
                                     .flags = UV_PROCESS_DETACHED,
                                     .stdio_count = STDIO,
                                     .stdio = stdio,
                                     .exit_cb = on_exit };
    int status = open_pipes(child, stdio);

    if (status != 0)
        return status;
    /* Libraries of brokers open descriptors of their own. Older kernels refuse this; libuv's and ours are closed anyway. */
    (void)close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    status = uv_spawn(&child->loop->uv, &child->process, &options);
    child->process.data = child;
    child->has_process = true; /* the handle is open also where it failed */
    child->open++;
    return status;
}

struct child *child_start(struct loop *loop, const struct child_request *request,
                          void (*on_done)(void *user, const struct child_result *result), void *user, struct err *err)
{
    struct child *child = mem_alloc(sizeof *child);
    int status;

    child->loop = loop;
    child->on_done = on_done;
    child->user = user;
    child->timeout_ms = request->timeout_ms;
    buf_init(&child->output, CHILD_OUTPUT_MAX);
    buf_init(&child->input, request->input.len + 1);
    buf_append_slice(&child->input, request->input);
    timer_init(&child->deadline, loop, on_deadline, child);
    timer_init(&child->drain, loop, on_drained, child);
    status = spawn(child, request);
    if (status != 0) {
        err_set(err, REASON_AGENT_ERROR, -status, "cannot run %s: %s", request->args[0], uv_strerror(status));
        child->closing = true;
        if (child->open)
            close_all(child);
        else
            child_free(child);
        return NULL;
    }
    timer_start(&child->deadline, request->timeout_ms);
    write_input(child);
    for (int i = 1; i < STDIO; i++)
        uv_read_start((uv_stream_t *)&child->pipes[i], on_alloc, on_read);
    return child;
}

void child_cancel(struct child *child)
{
    child->cancelled = true;
    kill_group(child);
    list_push(&orphans, &child->orphan);
    if (child->exited)
        finish(child);
}

bool child_any(void)
{
    return !list_empty(&orphans);
}

void child_forget_all(void)
{
    while (!list_empty(&orphans)) {
        struct child *child = list_entry(orphans.next, struct child, orphan);

        waitpid(child->process.pid, NULL, WNOHANG);
        finish(child);
    }
}
