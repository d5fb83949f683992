/* See agent/base/proc.h. Numbers of processes and descriptors are names of directories. */
#include "agent/base/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/file.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"

enum {
    PATH_BYTES = 288,
    FILE_BYTES = 4096,
    PROCESSES_MAX = 65536,
    DESCRIPTORS_MAX = 1000000,
    PID_FILE_MAX = 64,
    FAMILY_PASSES = 8,
    STAT_USER = 12,
    STAT_SYSTEM = 13,
    STAT_THREADS = 18,
    STAT_STARTED = 20
};

static const char *_Atomic proc_root;

void proc_set_root(const char *root)
{
    proc_root = root;
}

static const char *root_of(void)
{
    const char *root = proc_root;

    return root ? root : "/proc";
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The first FILE_BYTES of /proc/PID/name. False: it cannot be read. */
static bool read_text(int pid, const char *name, char text[FILE_BYTES])
{
    char path[PATH_BYTES];
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "%s/%d/%s", root_of(), pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    got = read(fd, text, FILE_BYTES - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* --- figures --- */

/* The nth word from here, the first being 1; "" where there are fewer. */
static const char *nth_word(const char *at, unsigned n)
{
    for (;;) {
        at += strspn(at, " ");
        if (--n == 0 || !*at)
            return at;
        at += strcspn(at, " ");
    }
}

/* False: no number begins there. */
static bool read_number(const char *at, uint64_t *number)
{
    char *end;

    *number = strtoull(at, &end, 10);
    return end > at && *at != '-';
}

/* "pid (name) state ppid …" (proc(5)): the name may hold blanks and brackets, so what follows the last bracket is counted. */
static void read_stat(const char *text, struct proc_figures *figures)
{
    const char *open_bracket = strchr(text, '('), *close_bracket = strrchr(text, ')'), *rest;
    uint64_t user, system, threads, started;

    if (!open_bracket || !close_bracket || close_bracket < open_bracket)
        return;
    rest = close_bracket + 1;
    snprintf(figures->name, sizeof figures->name, "%.*s", (int)(close_bracket - open_bracket - 1), open_bracket + 1);
    if (!read_number(nth_word(rest, STAT_USER), &user) || !read_number(nth_word(rest, STAT_SYSTEM), &system) ||
        !read_number(nth_word(rest, STAT_THREADS), &threads) || !read_number(nth_word(rest, STAT_STARTED), &started))
        return;
    /* Z and X: it has ended, and nobody has asked how. */
    figures->exists = *nth_word(rest, 1) != 'Z' && *nth_word(rest, 1) != 'X';
    figures->started = started;
    figures->threads = threads;
    figures->cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    figures->have_cpu = figures->have_threads = figures->exists;
}

static void read_resident(const char *text, struct proc_figures *figures)
{
    uint64_t pages;

    if (!read_number(nth_word(text, 2), &pages))
        return;
    figures->resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    figures->have_resident = true;
}

static void read_limits(const char *text, struct proc_figures *figures)
{
    static const char row[] = "Max open files";
    const char *at = strstr(text, row);

    if (!at)
        return;
    at = nth_word(at + strlen(row), 1);
    if (strncmp(at, "unlimited", 9) == 0)
        figures->max_fds = UINT64_MAX;
    else if (!read_number(at, &figures->max_fds))
        figures->max_fds = 0;
    figures->have_max_fds = figures->max_fds > 0;
}

/* Since Linux 6.2 the directory's size is the number of descriptors, for any reader; before, it is 0, and its owner may count them. */
static void count_fds(int pid, struct proc_figures *figures)
{
    char path[PATH_BYTES];
    struct stat status;
    DIR *dir;

    snprintf(path, sizeof path, "%s/%d/fd", root_of(), pid);
    if (stat(path, &status) == 0 && status.st_size > 0 && S_ISDIR(status.st_mode)) {
        figures->fds = (uint64_t)status.st_size;
        figures->have_fds = true;
        return;
    }
    dir = opendir(path);
    if (!dir)
        return;
    while (figures->fds < DESCRIPTORS_MAX && readdir(dir))
        figures->fds++;
    closedir(dir);
    figures->fds -= figures->fds < 2 ? figures->fds : 2; /* "." and ".." */
    figures->have_fds = true;
}

void proc_read(int pid, struct proc_figures *figures)
{
    char text[FILE_BYTES];

    memset(figures, 0, sizeof *figures);
    if (read_text(pid, "stat", text))
        read_stat(text, figures);
    if (!figures->exists)
        return;
    if (read_text(pid, "statm", text))
        read_resident(text, figures);
    if (read_text(pid, "limits", text))
        read_limits(text, figures);
    count_fds(pid, figures);
}

/* --- finding --- */

static int compare_inodes(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* "socket:[inode]" */
static bool is_one_of(const char *target, const uint32_t *inodes, size_t count)
{
    static const char begin[] = "socket:[";
    uint64_t number;
    uint32_t inode;

    if (!count || strncmp(target, begin, strlen(begin)) != 0 || !read_number(target + strlen(begin), &number) ||
        number > UINT32_MAX)
        return false;
    inode = (uint32_t)number;
    return bsearch(&inode, inodes, count, sizeof *inodes, compare_inodes);
}

static int has_socket(int pid, const uint32_t *inodes, size_t count, size_t *looked)
{
    char path[PATH_BYTES], target[64];
    int found = 0;
    DIR *dir;

    snprintf(path, sizeof path, "%s/%d/fd", root_of(), pid);
    dir = opendir(path);
    if (!dir)
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    int folder = dirfd(dir);
    for (const struct dirent *entry; folder >= 0 && !found && *looked < DESCRIPTORS_MAX && (entry = readdir(dir)); ++*looked) {
        ssize_t len = readlinkat(folder, entry->d_name, target, sizeof target - 1);

        target[len > 0 ? len : 0] = '\0';
        found = is_one_of(target, inodes, count);
    }
    closedir(dir);
    return found;
}

int proc_has_socket(int pid, const uint32_t *inodes, size_t count)
{
    size_t looked = 0;

    return has_socket(pid, inodes, count, &looked);
}

/* The next number in the directory of processes; 0: no more. */
static int next_pid(DIR *dir)
{
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);

        if (*end == '\0' && pid > 0 && pid <= INT32_MAX)
            return (int)pid;
    }
    return 0;
}

struct wanted {
    const uint32_t *inodes;
    size_t count, looked;
    const char *unit;
};

/* "0::/system.slice/chat.service", or a group below it; and lines of older hierarchies. */
static bool names_unit(const char *text, const char *unit)
{
    size_t len = strlen(unit);

    for (const char *at = text; (at = strstr(at, unit)); at += len)
        if (at > text && at[-1] == '/' && (at[len] == '\n' || at[len] == '/' || at[len] == '\0'))
            return true;
    return false;
}

/* The path in the line that begins like this; NULL: none. */
static const char *group_in(const char *text, const char *head)
{
    const char *at = strstr(text, head);

    return at ? at + strlen(head) : NULL;
}

/* The first component of the path that is a unit of the system, or of the user whose manager is in it. */
static bool unit_of_group(const char *path, char *out, size_t size, bool *by_user)
{
    static const char suffix[] = ".service";
    const size_t suffix_len = sizeof suffix - 1;
    bool user = false;

    for (; path && *path == '/'; path += strcspn(path, "/\n")) {
        path++;
        size_t len = strcspn(path, "/\n");
        if (len <= suffix_len || strncmp(path + len - suffix_len, suffix, suffix_len) != 0)
            continue;
        if (strncmp(path, "user@", 5) == 0 && path[len] == '/') {
            user = true;
            continue;
        }
        /* systemd puts a _ before names that the kernel has taken: _memory.service. */
        snprintf(out, size, "%.*s", (int)(len - (*path == '_')), path + (*path == '_'));
        if (by_user)
            *by_user = user;
        return true;
    }
    return false;
}

/* systemd has its units in the unified hierarchy ("0::/system.slice/chat.service"), or in one of its own beside older ones. */
bool proc_unit(int pid, char *out, size_t size, bool *by_user)
{
    char text[FILE_BYTES + 1] = "\n";

    return read_text(pid, "cgroup", text + 1) && (unit_of_group(group_in(text, "\n0::"), out, size, by_user) ||
                                                  unit_of_group(group_in(text, ":name=systemd:"), out, size, by_user));
}

static int is_wanted(int pid, struct wanted *wanted)
{
    char text[FILE_BYTES];

    if (!wanted->unit)
        return has_socket(pid, wanted->inodes, wanted->count, &wanted->looked);
    return read_text(pid, "cgroup", text) && names_unit(text, wanted->unit);
}

static void find(struct wanted *wanted, uint64_t max_ns, struct proc_pids *pids)
{
    uint64_t began_ns = now_ns();
    DIR *dir = opendir(root_of());
    size_t seen = 0;

    memset(pids, 0, sizeof *pids);
    for (int pid; dir && (pid = next_pid(dir));) {
        int answer = is_wanted(pid, wanted);

        pids->hidden += answer < 0;
        if (answer > 0 && pids->count < PROC_PIDS_MAX)
            pids->items[pids->count++] = pid;
        if (++seen == PROCESSES_MAX || wanted->looked >= DESCRIPTORS_MAX || now_ns() - began_ns > max_ns) {
            pids->cut = true;
            break;
        }
    }
    if (dir)
        closedir(dir);
}

void proc_find_by_sockets(const uint32_t *inodes, size_t count, uint64_t max_ns, struct proc_pids *pids)
{
    find(&(struct wanted){ .inodes = inodes, .count = count }, max_ns, pids);
}

void proc_find_by_unit(const char *unit, uint64_t max_ns, struct proc_pids *pids)
{
    find(&(struct wanted){ .unit = unit }, max_ns, pids);
}

bool proc_is_hidden(void)
{
    char text[FILE_BYTES];

    return !read_text(1, "stat", text);
}

/* 0: unknown. */
static int parent_of(int pid)
{
    char text[FILE_BYTES];
    uint64_t parent = 0;
    const char *bracket;

    if (!read_text(pid, "stat", text) || !(bracket = strrchr(text, ')')) || !read_number(nth_word(bracket + 1, 2), &parent))
        return 0;
    return parent <= INT32_MAX ? (int)parent : 0;
}

static bool has_pid(const struct proc_pids *pids, int pid)
{
    for (size_t i = 0; i < pids->count; i++)
        if (pids->items[i] == pid)
            return true;
    return false;
}

/* Children mostly stand behind their parents in the directory, so that one pass finds nearly all. */
void proc_find_family(int pid, uint64_t max_ns, struct proc_pids *pids)
{
    struct {
        int pid, parent;
    } *all = mem_alloc(PROCESSES_MAX * sizeof *all);
    uint64_t began_ns = now_ns();
    DIR *dir = opendir(root_of());
    size_t count = 0, before = 0;

    memset(pids, 0, sizeof *pids);
    pids->items[pids->count++] = pid;
    for (int one; dir && count < PROCESSES_MAX && (one = next_pid(dir)) && now_ns() - began_ns <= max_ns; count++) {
        all[count].pid = one;
        all[count].parent = parent_of(one);
    }
    for (unsigned pass = 0; pass < FAMILY_PASSES && before != pids->count; pass++) {
        before = pids->count;
        for (size_t i = 0; i < count && pids->count < PROC_PIDS_MAX; i++)
            if (all[i].parent && has_pid(pids, all[i].parent) && !has_pid(pids, all[i].pid))
                pids->items[pids->count++] = all[i].pid;
    }
    if (dir)
        closedir(dir);
    mem_free(all);
}

int proc_read_pid_file(const char *path, int *pid, struct err *err)
{
    struct buf text = BUF_INIT(PID_FILE_MAX);
    int64_t number = 0;
    int rc = file_read(path, PID_FILE_MAX, FILE_REGULAR, &text, NULL, err);

    if (rc == 0) {
        char word[PID_FILE_MAX + 1];

        snprintf(word, sizeof word, "%.*s", (int)strcspn(buf_str(&text), " \t\r\n"), buf_str(&text));
        if (text_parse_int(word, &number) < 0 || number < 1 || number > INT32_MAX)
            rc = err_set(err, REASON_AGENT_ERROR, 0, "holds no process number");
    }
    buf_fini(&text);
    *pid = (int)number;
    return rc;
}
