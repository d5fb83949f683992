/*
 * The growing byte buffer. Used by every layer for everything whose size is not known beforehand. It promises that a failed append
 * changes nothing, and that no more than the ceiling is ever held; what to do at the ceiling is left to the caller.
 * The memory is always one byte larger than cap, so that buf_str finds room for its terminator.
 */
#include "agent/base/buf.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"

enum { FIRST_CAP = 63 };

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = BUF_INIT(max_bytes);
}

void buf_fini(struct buf *buf)
{
    mem_free(buf->data);
    buf_init(buf, buf->max);
}

void buf_wipe(struct buf *buf)
{
    if (buf->cap)
        explicit_bzero(buf->data, buf->cap);
    buf_fini(buf);
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
}

void buf_consume(struct buf *buf, size_t n)
{
    panic_if(n > buf->len);
    buf->len -= n;
    if (n && buf->len)
        memmove(buf->data, buf->data + n, buf->len);
}

/* Doubling keeps appending linear; the ceiling cuts the last step short. */
static void grow(struct buf *buf, size_t need)
{
    size_t cap = buf->cap < FIRST_CAP ? FIRST_CAP : buf->cap;
    while (cap < need)
        cap = cap > SIZE_MAX / 4 ? need : cap * 2 + 1;
    if (cap > buf->max)
        cap = buf->max;
    buf->data = mem_realloc(buf->data, cap + 1);
    buf->cap = cap;
}

uint8_t *buf_reserve(struct buf *buf, size_t n)
{
    if (n > buf->max - buf->len)
        return NULL;
    if (!buf->data || n > buf->cap - buf->len)
        grow(buf, buf->len + n);
    return buf->data + buf->len;
}

int buf_append(struct buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    uint8_t *at = buf_reserve(buf, len);
    if (!at)
        return -1;
    memcpy(at, data, len);
    buf->len += len;
    return 0;
}

int buf_append_slice(struct buf *buf, struct slice s)
{
    return buf_append(buf, s.data, s.len);
}

int buf_append_str(struct buf *buf, const char *text)
{
    return buf_append_slice(buf, slice_str(text));
}

int buf_append_char(struct buf *buf, char c)
{
    return buf_append(buf, &c, 1);
}

int buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    size_t room = buf->data ? buf->cap - buf->len + 1 : 0; /* with the terminator's byte */
    int n = vsnprintf(room ? (char *)buf->data + buf->len : NULL, room, fmt, args);
    int rc = -1;
    if (n >= 0 && (size_t)n < room) {
        rc = 0;
    } else if (n >= 0 && buf_reserve(buf, (size_t)n)) {
        vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, fmt, again);
        rc = 0;
    }
    va_end(again);
    if (rc == 0)
        buf->len += (size_t)n;
    return rc;
}

int buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int rc = buf_vprintf(buf, fmt, args);
    va_end(args);
    return rc;
}

const char *buf_str(struct buf *buf)
{
    if (!buf->data)
        return "";
    buf->data[buf->len] = '\0';
    return (const char *)buf->data;
}

struct slice buf_slice(const struct buf *buf)
{
    return slice_make(buf->data, buf->len);
}
