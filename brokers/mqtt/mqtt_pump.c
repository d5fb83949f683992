/*
 * Bytes between an MQTT connection and libmosquitto's end of a socket pair, a bounded piece a call (brokers/mqtt/mqtt_worker.c says why). Promises
 * that nothing is lost between the calls: what could not be written stays in the pipe.
 */
#include <errno.h>
#include <sys/socket.h>

#include "brokers/mqtt/mqtt.h"

ssize_t mqtt_pump(struct mqtt_pipe *pipe, int from, int to)
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
