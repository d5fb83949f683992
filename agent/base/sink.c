/*
 * Writing without waiting (agent/base/sink.h). Owns what is left of a line that was taken in part. Called by agent/base/log.c and by the
 * demo, on the loop's thread.
 *
 * The ways, from the best: a socket (systemd's journal) takes MSG_DONTWAIT with each message. A pipe, a fifo or a terminal is opened anew
 * through /proc/self/fd, with O_NONBLOCK, which then holds for our description alone. Where that is refused (the pipe of a container's
 * runtime belongs to root), RWF_NOWAIT does the same on new kernels; on old ones poll(2) goes before each write, which leaves a moment
 * for another writer to take the room. A regular file never waits for a reader. A thread that writes would be without that gap, but a
 * thread that is stuck in write(2) at exit is lost with all that it has not written.
 */
#include "agent/base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/base/mem.h"

static int open_anew(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_APPEND | O_NOCTTY | O_CLOEXEC);
}

void sink_open(struct sink *sink, int fd, bool reopen)
{
    struct stat status;
    sink->fd = fd;
    sink->rest_len = 0;
    sink->lost = 0;
    sink->way = SINK_POLL;
    if (fstat(fd, &status) != 0)
        return;
    if (S_ISREG(status.st_mode)) {
        sink->way = SINK_WRITE;
    } else if (S_ISSOCK(status.st_mode)) {
        sink->way = SINK_SEND;
    } else if (reopen) {
        int own = open_anew(fd);
        if (own < 0)
            return;
        sink->fd = own;
        sink->way = SINK_WRITE;
    }
}

static bool has_room(int fd)
{
    struct pollfd wait = { .fd = fd, .events = POLLOUT };
    return poll(&wait, 1, 0) == 1 && (wait.revents & POLLOUT);
}

size_t sink_put(struct sink *sink, const char *data, size_t len)
{
    ssize_t n;
    if (len > SINK_LINE_MAX)
        len = SINK_LINE_MAX; /* poll(2) promises no more room than that */
    do {
        struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
        if (sink->way == SINK_SEND)
            n = send(sink->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (sink->way == SINK_WRITE)
            n = write(sink->fd, data, len);
        else if ((n = pwritev2(sink->fd, &part, 1, -1, RWF_NOWAIT)) < 0 && errno != EAGAIN && errno != EINTR)
            n = has_room(sink->fd) ? write(sink->fd, data, len) : 0;
    } while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

bool sink_ready(struct sink *sink)
{
    if (sink->rest_len == 0)
        return true;
    size_t taken = sink_put(sink, sink->rest, sink->rest_len);
    sink->rest_len -= taken;
    memmove(sink->rest, sink->rest + taken, sink->rest_len);
    return sink->rest_len == 0;
}

bool sink_write(struct sink *sink, const char *line, size_t len)
{
    panic_if(len > SINK_LINE_MAX);
    size_t taken = sink_ready(sink) ? sink_put(sink, line, len) : 0;
    if (taken == 0 && len > 0) {
        sink->lost++;
        return false;
    }
    sink->rest_len += len - taken;
    if (len > taken)
        memcpy(sink->rest, line + taken, len - taken);
    return true;
}

unsigned long sink_take_lost(struct sink *sink)
{
    unsigned long lost = sink->lost;
    sink->lost = 0;
    return lost;
}
