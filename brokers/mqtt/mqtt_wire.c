/*
 * Between an MQTT connection and libmosquitto, on a worker's thread (brokers/mqtt/mqtt_worker.c).
 *
 * The library reads for as long as bytes come, and takes packets of up to 256 MiB. So it does not hold the connection: once it has opened
 * one, its descriptor is replaced by one end of a socket pair, and the worker passes bytes on between the other end and the connection, a
 * bounded piece a call. That bounds each call of the library, and what one packet may take. What could not be written stays in the pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "brokers/mqtt/mqtt.h"

enum { UNANSWERED_BYTES_MAX = 2 << 20 };

void mqtt_wire_init(struct mqtt_wire *wire)
{
    wire->fd = wire->inner = -1;
    wire->reached = wire->heard = false;
    wire->in.begin = wire->in.end = wire->out.begin = wire->out.end = wire->unanswered = 0;
}

int mqtt_wire_take(struct mqtt_wire *wire, int theirs)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    wire->inner = pair[1];
    wire->fd = fcntl(theirs, F_DUPFD_CLOEXEC, 0);
    int rc = wire->fd < 0 || dup3(pair[0], theirs, O_CLOEXEC) < 0 ? -1 : 0;
    close(pair[0]);
    return rc;
}

void mqtt_wire_reset_on_close(const struct mqtt_wire *wire)
{
    if (wire->fd >= 0)
        setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
}

void mqtt_wire_close(struct mqtt_wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    if (wire->inner >= 0)
        close(wire->inner);
    wire->fd = wire->inner = -1;
}

void mqtt_wire_wait(const struct mqtt_wire *wire, int theirs, int wake, int timeout_ms)
{
    struct pollfd fds[] = {
        { .fd = wire->fd, .events = wire->reached ? 0 : POLLOUT },
        { .fd = wire->inner, .events = wire->out.begin == wire->out.end ? POLLIN : 0 },
        { .fd = wake, .events = POLLIN },
        { .fd = theirs, .events = POLLIN },
    };
    if (wire->reached && wire->in.begin == wire->in.end)
        fds[0].events |= POLLIN;
    if (wire->out.begin != wire->out.end)
        fds[0].events |= POLLOUT;
    poll(fds, sizeof fds / sizeof fds[0], timeout_ms);
}

int mqtt_wire_check(struct mqtt_wire *wire)
{
    struct pollfd ready = { .fd = wire->fd, .events = POLLOUT };
    int error = 0;
    socklen_t size = sizeof error;
    if (wire->reached || poll(&ready, 1, 0) != 1)
        return 0;
    if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0)
        return error;
    wire->reached = true;
    return 0;
}

/* Passes on what fits into one buffer. The count that was read; 0: nothing there; -1: the end, with errno 0, or an error. */
static ssize_t pump(struct mqtt_pipe *pipe, int from, int to)
{
    ssize_t got = 0;
    if (pipe->begin == pipe->end) {
        got = recv(from, pipe->bytes, sizeof pipe->bytes, 0);
        if (got == 0)
            errno = 0;
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
        pipe->begin = 0;
        pipe->end = (size_t)got;
    }
    ssize_t put = send(to, pipe->bytes + pipe->begin, pipe->end - pipe->begin, MSG_NOSIGNAL);
    if (put > 0)
        pipe->begin += (size_t)put;
    return put < 0 && errno != EAGAIN && errno != EINTR ? -1 : got;
}

int mqtt_wire_read(struct mqtt_wire *wire)
{
    ssize_t got = pump(&wire->in, wire->fd, wire->inner);
    if (got < 0 && errno != 0)
        return errno == ECONNRESET || errno == EPIPE ? MOSQ_ERR_CONN_LOST : MOSQ_ERR_ERRNO;
    if (got < 0)
        shutdown(wire->inner, SHUT_WR);
    wire->heard = wire->heard || got > 0;
    wire->unanswered += got > 0 ? (size_t)got : 0;
    return wire->unanswered > UNANSWERED_BYTES_MAX ? MOSQ_ERR_OVERSIZE_PACKET : MOSQ_ERR_SUCCESS;
}

int mqtt_wire_write(struct mqtt_wire *wire)
{
    return pump(&wire->out, wire->inner, wire->fd) < 0 && errno != 0 ? MOSQ_ERR_CONN_LOST : MOSQ_ERR_SUCCESS;
}
