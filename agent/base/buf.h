/*
 * A growing byte buffer with a ceiling that is set when it is made. Appending past the ceiling fails and changes nothing; running
 * out of memory ends the program (agent/base/mem.h). An empty buf owns no memory.
 */
#ifndef WSHEALTHD_BASE_BUF_H
#define WSHEALTHD_BASE_BUF_H

#include <stdarg.h>

#include "agent/base/slice.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* ceiling in bytes */
};

#define BUF_INIT(max_bytes) ((struct buf){ NULL, 0, 0, (max_bytes) })

void buf_init(struct buf *buf, size_t max_bytes);
void buf_fini(struct buf *buf);                                /* frees; the buf is empty and usable afterwards */
void buf_wipe(struct buf *buf);                                /* as buf_fini, and overwrites what was a secret */
void buf_reset(struct buf *buf);                               /* len = 0, keeps the memory */
void buf_consume(struct buf *buf, size_t n);                   /* drops n bytes at the front; n <= len */
int buf_append(struct buf *buf, const void *data, size_t len); /* 0, or -1 past the ceiling */
int buf_append_slice(struct buf *buf, struct slice s);
int buf_append_str(struct buf *buf, const char *text);
int buf_append_char(struct buf *buf, char c);
int buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *buf, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
/* Room for n more bytes at data + len, or NULL past the ceiling; the caller adds to len what it wrote. */
uint8_t *buf_reserve(struct buf *buf, size_t n);
/* A terminator behind the bytes (counted neither in len nor in max), and the bytes as a string. Never NULL. */
const char *buf_str(struct buf *buf);
struct slice buf_slice(const struct buf *buf);

#endif
