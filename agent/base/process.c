/*
 * The process and its surroundings (agent/base/process.h). Owns the signals' dispositions but for those that the loop handles (SIGTERM,
 * SIGINT, SIGQUIT, SIGHUP), the limits, and the descriptors 0 to 2.
 */
#include "agent/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The agent never needs more, and libraries allocate tables of this size. */
enum { FILES_MAX = 1 << 20 };

/* The inode of the initial PID namespace, a constant of the kernel's interface (PROC_PID_INIT_INO). */
static const ino_t INITIAL_PID_NS = 0xEFFFFFFC;

/* A descriptor that was closed at the start would be given to the next thing that is opened: libuv's pipes, a connection. Whoever then
 * writes a message to descriptor 2 writes into that. */
static void fill_standard(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = open("/", O_PATH | O_DIRECTORY); /* takes the place; writing fails */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

void process_init(void)
{
    sigset_t none;
    fill_standard();
    sigemptyset(&none); /* a parent that blocked SIGTERM would leave us without an end */
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void process_stay(void)
{
    /* SIGUSR1 and SIGUSR2: log rotation may send them to the wrong process. The timers' signals: a timer of the parent outlives
     * exec. SIGXFSZ: write says EFBIG. SIGTTOU: a terminal with `tostop` would stop the agent at its next line of log. SIGHUP:
     * until the loop handles it. */
    static const int ignored[] = { SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGXFSZ, SIGTTIN, SIGTTOU };
    struct rlimit limit;
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = process_files_possible();
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

uint64_t process_files_max(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_MAX ? limit.rlim_cur : FILES_MAX;
}

uint64_t process_files_possible(void)
{
    struct rlimit limit;
    uint64_t now = process_files_max();
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return now;
    uint64_t hard = limit.rlim_max < FILES_MAX ? limit.rlim_max : FILES_MAX;
    return hard > now ? hard : now;
}

bool process_files_short(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE;
    close(fd);
    return false;
}

void process_hide(void)
{
    const struct rlimit none = { 0, 0 };
    const char *wanted = getenv("WSHEALTHD_COREDUMP");
    if (wanted && *wanted && strcmp(wanted, "0") != 0)
        return;
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

bool process_in_container(void)
{
    struct stat status;
    const char *container = getenv("container"); /* systemd-nspawn, podman, LXC */
    return (container && *container) || getenv("KUBERNETES_SERVICE_HOST") || access("/.dockerenv", F_OK) == 0 ||
           access("/run/.containerenv", F_OK) == 0 || (stat("/proc/self/ns/pid", &status) == 0 && status.st_ino != INITIAL_PID_NS);
}
