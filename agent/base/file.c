/*
 * Reading files (agent/base/file.h). Opens with O_NONBLOCK, since opening a fifo without a writer would wait for ever, and looks at what it
 * has opened before it reads.
 */
#include "agent/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"

enum { READ_CHUNK = 16 << 10, PIPE_WAIT_MS = 2000 };

static const char *kind_name(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a fifo"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
                            : "no file";
}

/* Such a path names a descriptor that is open already. */
static bool is_descriptor(const char *path)
{
    static const char *const starts[] = { "/dev/stdin", "/dev/fd/", "/proc/self/fd/" };
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (strncmp(path, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

static int refuse(const struct stat *status, struct err *err)
{
    return err_set(err, REASON_NONE, EINVAL, "is %s, want a regular file", kind_name(status->st_mode));
}

static bool is_stream(const struct stat *status)
{
    return S_ISFIFO(status->st_mode) || S_ISSOCK(status->st_mode) || S_ISCHR(status->st_mode);
}

/* More of the file, waiting for a pipe's writer until the deadline. Bytes read, 0 at the end, -1 with errno. */
static ssize_t read_some(int fd, void *out, size_t size, uint64_t deadline_ms)
{
    for (;;) {
        ssize_t n = read(fd, out, size);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            return n;
        uint64_t now_ms = clock_now_ms();
        if (now_ms >= deadline_ms) {
            errno = ETIMEDOUT;
            return -1;
        }
        struct pollfd wait = { .fd = fd, .events = POLLIN };
        (void)poll(&wait, 1, (int)(deadline_ms - now_ms));
    }
}

static int read_all(int fd, size_t max, struct buf *out, struct err *err)
{
    size_t start = out->len;
    uint64_t deadline_ms = clock_now_ms() + PIPE_WAIT_MS;
    char chunk[READ_CHUNK];
    int rc = 1;
    while (rc == 1) {
        ssize_t n = read_some(fd, chunk, sizeof chunk, deadline_ms);
        if (n < 0)
            rc = err_set(err, REASON_NONE, errno, "%s", strerror(errno));
        else if (n == 0)
            rc = 0;
        else if (out->len - start + (size_t)n > max || buf_append(out, chunk, (size_t)n))
            rc = err_set(err, REASON_NONE, EFBIG, "larger than %zu KiB", max >> 10);
    }
    explicit_bzero(chunk, sizeof chunk); /* it may have been a key */
    return rc;
}

int file_read(const char *path, size_t max, enum file_kind kind, struct buf *out, struct stat *seen, struct err *err)
{
    struct stat status;
    size_t start = out->len;
    int rc = -1, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_set(err, REASON_NONE, errno, "%s", strerror(errno));
    if (fstat(fd, &status))
        err_set(err, REASON_NONE, errno, "%s", strerror(errno));
    else if (!S_ISREG(status.st_mode) && !(kind == FILE_OR_STREAM && is_descriptor(path) && is_stream(&status)))
        refuse(&status, err);
    else {
        /* Reserves all the room at once: a buffer that grows leaves copies behind, and this may be a key. */
        if (S_ISREG(status.st_mode) && status.st_size > 0 && (uint64_t)status.st_size <= max)
            (void)buf_reserve(out, (size_t)status.st_size);
        rc = read_all(fd, max, out, err);
    }
    if (rc)
        out->len = start;
    else if (seen)
        *seen = status;
    close(fd);
    return rc;
}

int file_validate(const char *path, struct err *err)
{
    struct stat status;
    if (stat(path, &status))
        return err_set(err, REASON_NONE, errno, "%s", strerror(errno));
    return S_ISREG(status.st_mode) ? 0 : refuse(&status, err);
}

bool file_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}
