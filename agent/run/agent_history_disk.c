/* The history's file on a disk (agent/run/agent_history_disk.h). Owns nothing between calls; leaves no path.new behind when it fails. */
#include "agent/run/agent_history_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/file.h"
#include "agent/base/mem.h"

enum { FILE_MODE = 0600 };

static int fail(struct err *err, const char *what)
{
    int code = errno;

    return err_set(err, REASON_NONE, code, "%s: %s", what, strerror(code));
}

int history_disk_read(const char *path, size_t max, struct buf *out, bool *missing, struct err *err)
{
    struct stat status;

    *missing = lstat(path, &status) < 0 && errno == ENOENT;
    return *missing ? 0 : file_read(path, max, FILE_REGULAR, out, NULL, err);
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

static int write_all(int fd, struct slice bytes, struct err *err)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.data, bytes.len);

        if (n < 0 && errno != EINTR)
            return fail(err, "cannot be written");
        if (n > 0)
            bytes = slice_skip(bytes, (size_t)n);
    }
    return 0;
}

/* Locked before it is emptied, as another agent may be writing it. */
static int fill(int fd, struct slice bytes, struct err *err)
{
    struct stat status;

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return err_set(err, REASON_NONE, EINVAL, "is no regular file");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(err, REASON_NONE, errno, "another agent is writing it: each needs a file of its own");
    if (ftruncate(fd, 0) < 0 || fchmod(fd, FILE_MODE) < 0)
        return fail(err, "cannot be written");
    if (write_all(fd, bytes, err) < 0)
        return -1;
    return fsync(fd) < 0 ? fail(err, "cannot be written") : 0;
}

/* The new name is on the disk as well. A file system that cannot do that has done what it can. */
static void sync_folder(const char *path)
{
    char *copy = mem_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    mem_free(copy);
}

static int replace(const char *new, const char *path, struct err *err)
{
    struct stat status;

    if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return err_set(err, REASON_NONE, EINVAL, "is no regular file, and is not replaced");
    return rename(new, path) < 0 ? fail(err, "cannot be replaced") : 0;
}

int history_disk_write(const char *path, struct slice bytes, struct err *err)
{
    char *new = mem_printf("%s.new", path);
    int fd = open(new, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, FILE_MODE);
    int rc = fd < 0 ? fail(err, "its new version cannot be created beside it") : fill(fd, bytes, err);

    if (rc == 0)
        rc = replace(new, path, err);
    if (rc == 0)
        sync_folder(path);
    else if (fd >= 0 && err->code != EWOULDBLOCK)
        (void)unlink(new);
    if (fd >= 0)
        close(fd);
    mem_free(new);
    return rc;
}

/* --- setting aside ------------------------------------------------------------------------------------------------------ */

int history_disk_set_aside(const char *path, const char *spared, struct err *err)
{
    struct stat status, other;
    char *aside;
    int rc;

    if (lstat(path, &status) < 0)
        return fail(err, "cannot be looked at");
    if (!S_ISREG(status.st_mode))
        return err_set(err, REASON_NONE, EINVAL, "is no regular file");
    if (status.st_uid != geteuid())
        return err_set(err, REASON_NONE, EPERM, "is another user's");
    if (spared && stat(spared, &other) == 0 && other.st_dev == status.st_dev && other.st_ino == status.st_ino)
        return err_set(err, REASON_NONE, EINVAL, "is the configuration");
    aside = mem_printf("%s.damaged", path);
    rc = rename(path, aside) < 0 ? fail(err, "cannot be renamed") : 0;
    mem_free(aside);
    return rc;
}
