/*
 * A descriptor that others may share, written to without ever waiting: the log's stderr, the demo's stdout. Its reader may stop for
 * as long as it likes; lines are then dropped and counted. Never sets O_NONBLOCK on a description that other processes use too: a
 * shell, or the server in the same container, would get EAGAIN where it expects to wait.
 */
#ifndef WSHEALTHD_BASE_SINK_H
#define WSHEALTHD_BASE_SINK_H

#include <stdbool.h>
#include <stddef.h>

enum { SINK_LINE_MAX = 4096 }; /* PIPE_BUF: what a pipe takes whole or not at all */

enum sink_way { SINK_WRITE, SINK_SEND, SINK_POLL };
struct sink {
    int fd;
    enum sink_way way;
    unsigned long lost; /* lines dropped since sink_take_lost was called last */
    size_t rest_len;    /* the end of a line that was taken in part: it goes before anything else */
    char rest[SINK_LINE_MAX];
};

/* With `reopen`, gets a description of its own where the system allows that (pipes, fifos, terminals); before the process becomes
 * undumpable, since /proc/self is another's then. The descriptor stays open either way. */
void sink_open(struct sink *sink, int fd, bool reopen);
/* One line of at most SINK_LINE_MAX bytes, whole or not at all. False: it is lost, and counted. */
bool sink_write(struct sink *sink, const char *line, size_t len);
/* For callers that keep what is left: the bytes taken, at most SINK_LINE_MAX of them; 0 when there is no room now, or nobody to
 * read. Not to be mixed with sink_write. */
size_t sink_put(struct sink *sink, const char *data, size_t len);
/* Room for a line now? Also sends what is left of the last one. */
bool sink_ready(struct sink *sink);
unsigned long sink_take_lost(struct sink *sink);

#endif
