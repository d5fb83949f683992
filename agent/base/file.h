/*
 * Reading files that somebody else names: configurations, tokens, certificates, keys. Never blocks on a fifo or a device, and reads
 * no more than its ceiling.
 */
#ifndef WSHEALTHD_BASE_FILE_H
#define WSHEALTHD_BASE_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

/* FILE_OR_STREAM also takes a pipe that is open already: /dev/stdin, /dev/fd/N, /proc/self/fd/N; waited for at most 2 s. */
enum file_kind { FILE_REGULAR, FILE_OR_STREAM };

/* 0, or -1 with a text that does not name the path: "is a fifo, want a regular file". seen (may be NULL): the file as it was. */
int file_read(const char *path, size_t max, enum file_kind kind, struct buf *out, struct stat *seen, struct err *err);
/* The same without reading, for libraries that open a file themselves. It finds mistakes only: by the time of that opening it
 * can be another file. */
int file_validate(const char *path, struct err *err);
/* The same content, as far as one can tell without reading it? */
bool file_same(const struct stat *a, const struct stat *b);

#endif
