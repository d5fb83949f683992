/*
 * The record of one round (agent/base/trace.h). Owns its lines until they are taken or dropped. Noted by dials, connections and probes;
 * begun and read by the engine of a check. What a line says is its caller's business.
 *
 * A line is kept as a small header and its text, since its time is told from the round's start, which a session check's lines may precede.
 */
#include "agent/base/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"

enum { LINE_MAX = 1 << 10 };

struct line {
    uint64_t at_ns, bytes;
    uint16_t len;
    uint8_t mark;
    bool frame;
};

void trace_begin(struct trace *trace, uint64_t now_ns, bool goes_on)
{
    trace->started_ns = now_ns;
    memset(&trace->tcp, 0, sizeof trace->tcp);
    if (goes_on)
        return;
    trace_fini(trace);
    trace->opened = 0;
}

void trace_look(struct trace *trace)
{
    if (trace && trace->look)
        trace->look(trace, trace->user);
}

void trace_fini(struct trace *trace)
{
    buf_fini(&trace->head);
    buf_fini(&trace->tail);
    memset(&trace->dropped, 0, sizeof trace->dropped);
}

/* The first line of a buffer. */
static struct line line_at(const uint8_t *data)
{
    struct line line;

    memcpy(&line, data, sizeof line);
    return line;
}

static void drop_first(struct trace *trace)
{
    struct line line = line_at(trace->tail.data);

    trace->dropped.lines++;
    trace->dropped.frames += line.frame;
    trace->dropped.bytes += line.bytes;
    buf_consume(&trace->tail, sizeof line + line.len);
}

static void put(struct buf *out, const struct line *line, const char *text)
{
    buf_append(out, line, sizeof *line);
    buf_append(out, text, line->len);
}

/* Once the first line has not found room in the head, all go into the tail. */
static void keep(struct trace *trace, const struct line *line, const char *text)
{
    size_t need = sizeof *line + line->len;

    if (!trace->head.max)
        buf_init(&trace->head, trace->head_max ? trace->head_max : TRACE_HEAD_MAX);
    if (!trace->tail.max)
        buf_init(&trace->tail, trace->tail_max ? trace->tail_max : TRACE_TAIL_MAX);
    if (!trace->tail.len && !trace->dropped.lines && trace->head.len + need <= trace->head.max) {
        put(&trace->head, line, text);
        return;
    }
    while (trace->tail.len && trace->tail.len + need > trace->tail.max)
        drop_first(trace);
    put(&trace->tail, line, text);
}

static void note(struct trace *trace, struct line *line, const char *fmt, va_list args)
{
    char text[LINE_MAX];
    int len = vsnprintf(text, sizeof text, fmt, args);

    if (len < 0)
        return;
    secret_scrub(text);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    line->at_ns = clock_now_ns();
    line->len = (uint16_t)strlen(text);
    keep(trace, line, text);
}

void trace_note(struct trace *trace, enum trace_mark mark, const char *fmt, ...)
{
    struct line line = { .mark = (uint8_t)mark };
    va_list args;

    if (!trace)
        return;
    va_start(args, fmt);
    note(trace, &line, fmt, args);
    va_end(args);
}

void trace_frame(struct trace *trace, enum trace_mark mark, uint64_t bytes, const char *fmt, ...)
{
    struct line line = { .mark = (uint8_t)mark, .frame = true, .bytes = bytes };
    va_list args;

    if (!trace)
        return;
    va_start(args, fmt);
    note(trace, &line, fmt, args);
    va_end(args);
}

static void write_lines(const struct trace *trace, const struct buf *lines, struct buf *out)
{
    for (size_t at = 0; at < lines->len;) {
        struct line line = line_at(lines->data + at);
        double ms = ((double)line.at_ns - (double)trace->started_ns) / 1e6;

        at += sizeof line;
        buf_printf(out, "%9.3f %c %.*s\n", ms, "*><"[line.mark], (int)line.len, (const char *)lines->data + at);
        at += line.len;
    }
}

void trace_write(const struct trace *trace, struct buf *out)
{
    write_lines(trace, &trace->head, out);
    if (trace->dropped.lines)
        buf_printf(out, "          … %" PRIu64 " lines left out, of them %" PRIu64 " frames with %" PRIu64 " bytes\n",
                   trace->dropped.lines, trace->dropped.frames, trace->dropped.bytes);
    write_lines(trace, &trace->tail, out);
}
