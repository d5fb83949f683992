/*
 * Listening sockets. Owns the descriptor, and the file of a unix socket that it made. The health listener, the admin socket and the
 * demo use this. Accepts through a poll handle and not through uv_listen: without a free descriptor libuv accepts and closes the
 * waiting connections. Here they wait in the accept queue until there is room again.
 */
#include "agent/net/listen.h"
#include "agent/net/listen_holder.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/base/mem.h"
#include "agent/net/stream_impl.h"

/* At most ACCEPT_BURST connections in one turn, so that a flood of them does not keep the others waiting. */
enum {
    LISTEN_BACKLOG =
        4096, /* the kernel cuts it to net.core.somaxconn; a flood must not fill it before its connections can be cleared away */
    ACCEPT_BURST = 32,
    ACCEPT_PAUSE_MS = 100,
    RESERVE_MAX = 4,
    REFILL_MS = 20,
};

struct listener {
    uv_poll_t poll; /* first: its close callback frees the listener */
    int fd;
    bool is_unix;
    uint16_t port;
    bool stopped;             /* accepting has stopped until listener_resume */
    struct timer pause;       /* out of descriptors: when to try again */
    int reserve[RESERVE_MAX]; /* descriptors of /dev/null, given up when there are no others; -1: given up */
    struct timer refill;      /* while a reserve is missing */
    bool (*has_room)(void *user);
    void (*on_full)(void *user);
    void (*on_accept)(void *user, struct stream *stream);
    void *user;
    char path[URL_UNIX_MAX]; /* the socket file that we made; "": none */
    dev_t device;            /* identifies that file: another process may have replaced it, and then we must not remove it */
    ino_t inode;
};

static void describe(const struct listen_address *address, char *out, size_t size)
{
    if (address->is_unix)
        snprintf(out, size, "unix:%s", address->unix_path);
    else
        snprintf(out, size, strchr(address->host, ':') ? "[%s]:%u" : "%s:%u", address->host, (unsigned)address->port);
}

static int fail(const struct listen_address *address, int error, const char *what, struct err *err)
{
    char name[URL_HOST_MAX + 16];
    describe(address, name, sizeof name);
    return err_set(err, REASON_NONE, error, "listen %s: %s", name, what ? what : uv_strerror(-error));
}

/* --- binding -------------------------------------------------------------------------------------------------------- */

/* Accepted connections inherit these from the listening socket. TCP_NOTSENT_LOWAT and not SO_SNDBUF, which also bounds the bytes
 * that are sent and not confirmed, and so the speed over a long distance. */
static void set_buffers(int fd, const struct listen_options *options)
{
    if (options->receive_bytes)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &options->receive_bytes, sizeof options->receive_bytes);
    if (options->unsent_bytes)
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &options->unsent_bytes, sizeof options->unsent_bytes);
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || errno != EAFNOSUPPORT;
}

/* Adds to the error which process uses the port, if that can be seen, and what to do. */
static void fail_taken(const struct listen_address *address, struct err *err)
{
    char holder[80], self[24], text[240];
    listen_holder(address->port, holder, sizeof holder);
    snprintf(self, sizeof self, "(process %d)", (int)getpid());
    if (strncmp(holder, "wshealthd ", 10) == 0 &&
        strstr(holder, self)) /* a reload opens what is new before it closes what is old */
        snprintf(text, sizeof text, "this agent listens on that port already: another port, or a restart, is needed");
    else if (strncmp(holder, "wshealthd ", 10) == 0)
        snprintf(text, sizeof text,
                 "address already in use by another agent, %s: each on a host needs a `listen` and an `admin` of its own", holder);
    else
        snprintf(text, sizeof text, "address already in use%s%s: choose another address, or end what listens there",
                 *holder ? " by " : "", holder);
    fail(address, EADDRINUSE, text, err);
}

static int bind_tcp(const struct listen_address *given, struct err *err)
{
    /* On a host without IPv6, [::] means all IPv4 addresses. */
    struct listen_address any = { .host = "0.0.0.0" };
    const struct listen_address *address = given;
    if (strcmp(given->host, "::") == 0 && !has_ipv6()) {
        any.port = given->port;
        address = &any;
    }
    struct sockaddr_storage storage = { 0 };
    struct sockaddr *name = (struct sockaddr *)&storage;
    socklen_t len = sizeof(struct sockaddr_in);
    if (uv_ip4_addr(address->host, address->port, (struct sockaddr_in *)&storage) != 0) {
        if (uv_ip6_addr(address->host, address->port, (struct sockaddr_in6 *)&storage) != 0)
            return fail(address, EINVAL, "not an IP address", err);
        len = sizeof(struct sockaddr_in6);
    }
    int fd = socket(name->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(address, errno, NULL, err);
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (name->sa_family == AF_INET6) /* [::] takes IPv4 too, whatever the host's default */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, name, len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        if (errno == EADDRINUSE)
            fail_taken(address, err);
        else
            fail(address, errno, NULL, err);
        close(fd);
        return -1;
    }
    return fd;
}

/* Does a process listen on the path? EAGAIN (a full accept queue) means yes. */
static bool is_stale(const struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused = connect(fd, (const struct sockaddr *)name, sizeof *name) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* The kernel makes the file with 0777 less the umask. So the mode holds from the first moment; and the other threads of this process only
 * look up names, and make no files. */
static int bind_with_mode(int fd, const struct sockaddr_un *name, int mode)
{
    if (mode == 0)
        return bind(fd, (const struct sockaddr *)name, sizeof *name);
    mode_t before = umask((mode_t)(~mode & 0777));
    int status = bind(fd, (const struct sockaddr *)name, sizeof *name);
    int error = errno;
    umask(before);
    errno = error;
    return status;
}

static int bind_unix(struct listener *listener, const struct listen_address *address, int mode, struct err *err)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    struct stat file;
    if (strlen(address->unix_path) >= sizeof name.sun_path)
        return fail(address, ENAMETOOLONG, "the path is too long for a socket", err);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", address->unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(address, errno, NULL, err);
    int status = bind_with_mode(fd, &name, mode);
    if (status != 0 && errno == EADDRINUSE) {
        if (lstat(name.sun_path, &file) == 0 && !S_ISSOCK(file.st_mode)) {
            fail(address, EEXIST, "the path exists and is not a socket", err);
            goto out;
        }
        if (!is_stale(&name)) {
            fail(address, EADDRINUSE,
                 "another process listens there (another agent? Each on a host needs a `listen` and an `admin` of its own)", err);
            goto out;
        }
        unlink(name.sun_path);
        status = bind_with_mode(fd, &name, mode);
    }
    if (status != 0) {
        fail(address, errno, NULL, err);
        goto out;
    }
    if (lstat(name.sun_path, &file) == 0) {
        snprintf(listener->path, sizeof listener->path, "%s", name.sun_path);
        listener->device = file.st_dev;
        listener->inode = file.st_ino;
    }
    if (listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    fail(address, errno, NULL, err);
out:
    close(fd);
    return -1;
}

static int take_fd(int fd, struct err *err)
{
    int listening = 0;
    socklen_t len = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening)
        return err_set(err, REASON_NONE, ENOTSOCK, "listen: descriptor %d is not a listening socket", fd);
    return fd;
}

/* --- accepting ------------------------------------------------------------------------------------------------------ */

static void on_readable(uv_poll_t *poll, int status, int events);

void listener_resume(struct listener *listener)
{
    listener->stopped = false;
    timer_stop(&listener->pause);
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

static void on_pause_over(struct timer *timer, void *user)
{
    (void)timer;
    listener_resume(user);
}

static void stop_accepting(struct listener *listener)
{
    listener->stopped = true;
    uv_poll_stop(&listener->poll);
    if (listener->on_full)
        listener->on_full(listener->user);
    else
        timer_start(&listener->pause, ACCEPT_PAUSE_MS);
}

/* Closes one reserve descriptor, so that the next connection can be accepted. */
static bool spend_reserve(struct listener *listener)
{
    for (int i = 0; i < RESERVE_MAX; i++) {
        if (listener->reserve[i] < 0)
            continue;
        close(listener->reserve[i]);
        listener->reserve[i] = -1;
        if (!timer_active(&listener->refill))
            timer_start(&listener->refill, REFILL_MS);
        return true;
    }
    return false;
}

static bool fill_reserve(struct listener *listener)
{
    for (int i = 0; i < RESERVE_MAX; i++)
        if (listener->reserve[i] < 0 && (listener->reserve[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
            return false;
    return true;
}

static void on_refill(struct timer *timer, void *user)
{
    if (!fill_reserve(user))
        timer_start(timer, REFILL_MS);
}

static void hand_over(struct listener *listener, int fd)
{
    struct stream *stream = stream_new(listener->poll.loop->data, listener->is_unix ? AF_UNIX : AF_UNSPEC);
    if (stream_adopt(stream, fd) == 0) {
        listener->on_accept(listener->user, stream);
        return;
    }
    close(fd);
    stream_kill(stream);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = (struct listener *)poll;
    (void)status;
    (void)events;
    loop_woke(poll->loop->data);
    for (int i = 0; i < ACCEPT_BURST && !uv_is_closing((uv_handle_t *)poll); i++) {
        if (listener->has_room && !listener->has_room(listener->user)) {
            if (i == 0) /* else it is not known whether a connection waits: the next event tells */
                stop_accepting(listener);
            return;
        }
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && spend_reserve(listener))
            fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(listener, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            stop_accepting(listener);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return; /* EAGAIN, or an error of the network that was waiting on the new socket: the next event tells more */
        }
    }
}

/* --- opening and closing -------------------------------------------------------------------------------------------- */

static bool file_is_ours(const struct listener *listener)
{
    struct stat file;
    return listener->path[0] != '\0' && lstat(listener->path, &file) == 0 && file.st_dev == listener->device &&
           file.st_ino == listener->inode;
}

static void remove_file(const struct listener *listener)
{
    if (file_is_ours(listener))
        unlink(listener->path);
}

bool listener_lost(const struct listener *listener)
{
    return listener->path[0] != '\0' && !file_is_ours(listener);
}

static void inspect(struct listener *listener)
{
    struct sockaddr_storage name = { 0 };
    socklen_t len = sizeof name;
    getsockname(listener->fd, (struct sockaddr *)&name, &len);
    listener->is_unix = name.ss_family == AF_UNIX;
    if (name.ss_family == AF_INET)
        listener->port = ntohs(((struct sockaddr_in *)&name)->sin_port);
    else if (name.ss_family == AF_INET6)
        listener->port = ntohs(((struct sockaddr_in6 *)&name)->sin6_port);
}

struct listener *listener_open(struct loop *loop, const struct listen_address *address, const struct listen_options *options,
                               void (*on_accept)(void *user, struct stream *stream), void *user, struct err *err)
{
    struct listener *listener = mem_alloc(sizeof *listener);
    listener->on_accept = on_accept;
    listener->user = user;
    listener->has_room = options->has_room;
    listener->on_full = options->on_full;
    memset(listener->reserve, -1, sizeof listener->reserve);
    bool activated = options->fd >= 0;
    if (activated)
        listener->fd = take_fd(options->fd, err);
    else if (address->is_unix)
        listener->fd = bind_unix(listener, address, options->unix_mode, err);
    else
        listener->fd = bind_tcp(address, err);
    if (listener->fd < 0)
        goto out;
    inspect(listener);
    if (!listener->is_unix)
        set_buffers(listener->fd, options);
    int status = uv_poll_init(&loop->uv, &listener->poll, listener->fd); /* makes it non-blocking too */
    if (status != 0) {
        err_set(err, REASON_NONE, -status, "listen: cannot poll the socket: %s", uv_strerror(status));
        goto out;
    }
    timer_init(&listener->pause, loop, on_pause_over, listener);
    timer_init(&listener->refill, loop, on_refill, listener);
    if (!fill_reserve(listener))
        timer_start(&listener->refill, REFILL_MS);
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    return listener;
out:
    remove_file(listener);
    if (listener->fd >= 0 && !activated)
        close(listener->fd);
    mem_free(listener);
    return NULL;
}

static void on_poll_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

void listener_close(struct listener *listener)
{
    timer_stop(&listener->pause);
    timer_stop(&listener->refill);
    for (int i = 0; i < RESERVE_MAX; i++)
        if (listener->reserve[i] >= 0)
            close(listener->reserve[i]);
    remove_file(listener);
    uv_close((uv_handle_t *)&listener->poll, on_poll_closed);
    close(listener->fd);
}

/* Of a listening socket the kernel reports the length of its accept queue in the place of the unacknowledged segments. */
size_t listener_waiting(const struct listener *listener)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    if (listener->is_unix || getsockopt(listener->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 1;
    return info.tcpi_unacked;
}

uint16_t listener_port(const struct listener *listener)
{
    return listener->port;
}
