/*
 * Server-sent events (WHATWG HTML, 9.2), both ways. Whatever a text holds, it stays one event: each of its lines goes out with a field name of
 * its own. Used by agent/http/events.c, which writes, and agent/cli/cli_watch.c, which reads.
 */
#ifndef WSHEALTHD_PROTO_SSE_H
#define WSHEALTHD_PROTO_SSE_H

#include <stdbool.h>

#include "agent/base/buf.h"

/* Appends one event. name and id are ours, one line each; id NULL: none. */
void sse_write(struct buf *out, const char *name, const char *id, struct slice data);
void sse_write_retry(struct buf *out, unsigned ms); /* how long the reader waits before it comes back */

enum { SSE_NAME_MAX = 64 };
/* Reads events out of bytes as they come. An event whose data is larger than the ceiling is given without data. */
struct sse_reader {
    void (*on_event)(void *user, const char *name, struct slice data); /* name: "message" where the event has none */
    void *user;
    struct buf line, data;
    char name[SSE_NAME_MAX];
    bool after_cr, any, too_long;
};
void sse_reader_init(struct sse_reader *reader, size_t max_bytes, void (*on_event)(void *user, const char *name, struct slice data),
                     void *user);
void sse_reader_feed(struct sse_reader *reader, struct slice bytes);
void sse_reader_fini(struct sse_reader *reader);

#endif
