/*
 * sd_notify(3) and socket activation, spoken directly: datagrams to $NOTIFY_SOCKET and descriptors from 3 on. Owns the socket, and
 * the descriptors that systemd handed over until notify_listen_fd gives them away. Called by agent/run/agent*.c on the agent's
 * loop. Promises never to block and never to fail: without systemd every call does nothing.
 */
#include "agent/run/sd_notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"

enum { FIRST_FD = 3, FDS_MAX = 16, FD_NAME_MAX = 64, MESSAGE_MAX = 1024 };

struct handed_fd {
    int fd; /* -1: given away */
    char name[FD_NAME_MAX];
};

static struct {
    int socket; /* plus one; 0: none, so that zeroed memory is a good start */
    struct sockaddr_un address;
    socklen_t address_len;
    uint64_t watchdog_ms;
    bool ready_owed; /* READY=1 found the manager's queue full */
    bool fds_read;
    struct handed_fd fds[FDS_MAX];
    size_t fd_count;
} notify;

/* "/run/systemd/notify", or "@name" in the abstract namespace, whose length counts and which has no terminator. */
static bool address_of(const char *text)
{
    size_t len = strlen(text);
    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof notify.address.sun_path)
        return false;
    memset(&notify.address, 0, sizeof notify.address);
    notify.address.sun_family = AF_UNIX;
    memcpy(notify.address.sun_path, text, len);
    if (text[0] == '@')
        notify.address.sun_path[0] = '\0';
    notify.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (text[0] == '/'));
    return true;
}

/* Does the variable hold our process id? Systemd sets it for one process, and children inherit it. */
static bool ours(const char *variable)
{
    const char *text = getenv(variable);
    int64_t pid;
    return text && text_parse_int(text, &pid) == 0 && pid == getpid();
}

static void read_watchdog(void)
{
    const char *text = getenv("WATCHDOG_USEC");
    int64_t usec;
    if (text && text_parse_int(text, &usec) == 0 && usec > 0 && (!getenv("WATCHDOG_PID") || ours("WATCHDOG_PID")))
        notify.watchdog_ms = usec >= 2000 ? (uint64_t)usec / 2000 : 1;
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_init(void)
{
    const char *text = getenv("NOTIFY_SOCKET");
    notify_fini();
    if (text && address_of(text))
        notify.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) + 1;
    unsetenv("NOTIFY_SOCKET");
    read_watchdog();
}

/* MSG_DONTWAIT: if the manager does not read, the message is lost, and the agent does not wait. */
static bool send_message(const char *message, size_t size)
{
    return notify.socket > 0 && sendto(notify.socket - 1, message, size, MSG_NOSIGNAL | MSG_DONTWAIT,
                                       (const struct sockaddr *)&notify.address, notify.address_len) >= 0;
}

void notify_send(const char *fmt, ...)
{
    if (!notify.socket)
        return;
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (notify.ready_owed)
        notify_ready();
    if (len > 0)
        (void)send_message(message, (size_t)len < sizeof message ? (size_t)len : sizeof message - 1);
}

void notify_ready(void)
{
    static const char ready[] = "READY=1";

    if (notify.socket)
        notify.ready_owed = !send_message(ready, sizeof ready - 1) && (errno == EAGAIN || errno == ENOBUFS);
}

void notify_reloading(void)
{
    notify_send("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(clock_now_ns() / 1000));
}

uint64_t notify_watchdog_ms(void)
{
    return notify.watchdog_ms;
}

void notify_fini(void)
{
    if (notify.socket)
        close(notify.socket - 1);
    notify.socket = 0;
    notify.watchdog_ms = 0;
    notify.ready_owed = false;
}

/* Has the descriptor a name of its own (FileDescriptorName=)? By default systemd calls it "unknown" or by its socket unit. */
static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len && strcmp(name, "unknown") != 0 && !(len > 7 && strcmp(name + len - 7, ".socket") == 0);
}

/* The next name of "a:b:c" into out. A longer one is cut; it then equals none of our names. */
static const char *next_name(const char *names, char *out, size_t size)
{
    size_t len = strcspn(names, ":");
    snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), names);
    return names[len] ? names + len + 1 : names + len;
}

static void read_fds(void)
{
    const char *count_text = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
    int64_t count;
    notify.fd_count = 0;
    if (ours("LISTEN_PID") && count_text && text_parse_int(count_text, &count) == 0 && count > 0)
        while (notify.fd_count < FDS_MAX && (int64_t)notify.fd_count < count) {
            struct handed_fd *handed = &notify.fds[notify.fd_count];
            handed->fd = FIRST_FD + (int)notify.fd_count++;
            handed->name[0] = '\0';
            if (names)
                names = next_name(names, handed->name, sizeof handed->name);
            (void)fcntl(handed->fd, F_SETFD, FD_CLOEXEC);
        }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* The first one that has this name; NULL as the name: that has none of its own. */
static struct handed_fd *find_fd(const char *name)
{
    for (size_t i = 0; i < notify.fd_count; i++) {
        struct handed_fd *handed = &notify.fds[i];
        if (handed->fd >= 0 && (name ? strcmp(handed->name, name) == 0 : !is_name(handed->name)))
            return handed;
    }
    return NULL;
}

static int give_away(struct handed_fd *handed)
{
    int fd = handed ? handed->fd : -1;

    if (handed)
        handed->fd = -1; /* the next call gives another descriptor, or none */
    return fd;
}

int notify_listen_fd(const char *name, bool also_nameless)
{
    if (!notify.fds_read || getenv("LISTEN_FDS"))
        read_fds();
    notify.fds_read = true;
    struct handed_fd *named = find_fd(name);
    return give_away(named || !also_nameless ? named : find_fd(NULL));
}

const char *notify_unused_fd(void)
{
    for (size_t i = 0; i < notify.fd_count; i++)
        if (notify.fds[i].fd >= 0) {
            close(give_away(&notify.fds[i]));
            return notify.fds[i].name;
        }
    return NULL;
}
