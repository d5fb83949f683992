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

/* What waits: this, and its bytes. */
struct waiting {
    uint64_t at_ns;
    struct trace_by by;
    trace_maker *make;
    size_t len;
};

struct line {
    uint64_t at_ns, bytes;
    uint16_t len;
    uint8_t mark, number;
    bool is_frame, continues;
};

void trace_begin(struct trace *trace, uint64_t now_ns, bool goes_on)
{
    trace->started_ns = now_ns;
    trace->closed = false;
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

static void forget_waiting(struct trace *trace)
{
    if (trace->later.data)
        explicit_bzero(trace->later.data, trace->later.len);
    buf_fini(&trace->later);
}

void trace_fini(struct trace *trace)
{
    forget_waiting(trace);
    trace->eager = false;
    for (int mark = TRACE_NOTE; mark <= TRACE_RECEIVED; mark++)
        buf_wipe(&trace->said[mark].end);
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
    trace->dropped.frames += line.is_frame;
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

__attribute__((format(printf, 3, 0))) static void note(struct trace *trace, const struct trace_by *by, const char *fmt,
                                                       va_list args)
{
    char text[LINE_MAX];
    struct line line = { trace->at_ns ? trace->at_ns : clock_now_ns(),
                         by->bytes,
                         0,
                         (uint8_t)by->mark,
                         (uint8_t)by->number,
                         by->is_frame,
                         by->continues };

    if (vsnprintf(text, sizeof text, fmt, args) < 0)
        return;
    secret_scrub(text);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    line.len = (uint16_t)strlen(text);
    keep(trace, &line, text);
}

static void make_note(struct trace *trace, const struct trace_by *by, struct slice text)
{
    trace_note_by(trace, by, "%.*s", (int)text.len, (const char *)text.data);
}

/* A line among what waits has its place there too. */
static void note_in_turn(struct trace *trace, const struct trace_by *by, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
static void note_in_turn(struct trace *trace, const struct trace_by *by, const char *fmt, va_list args)
{
    char text[LINE_MAX];

    if (!trace->lazy || trace->eager || trace->at_ns) {
        note(trace, by, fmt, args);
        return;
    }
    if (vsnprintf(text, sizeof text, fmt, args) >= 0)
        trace_later(trace, by, make_note, slice_str(text));
}

static bool may_wait(const struct trace *trace, size_t bytes)
{
    return trace->lazy && !trace->eager && bytes <= TRACE_LATER_MAX && !secret_scrub_is_urgent() &&
           trace->later.len + sizeof(struct waiting) + bytes <= TRACE_LATER_ALL;
}

void trace_later(struct trace *trace, const struct trace_by *by, trace_maker *make, struct slice bytes)
{
    struct waiting waiting = { clock_now_ns(), *by, make, bytes.len };

    if (!trace || trace->closed)
        return;
    if (!may_wait(trace, bytes.len)) {
        trace_flush(trace);
        make(trace, by, bytes);
        return;
    }
    if (!trace->later.max) { /* all of it at once: what grows leaves copies behind, which nobody wipes */
        buf_init(&trace->later, TRACE_LATER_ALL);
        buf_reserve(&trace->later, TRACE_LATER_ALL);
        trace->later_forgotten = secret_forgotten();
    }
    buf_append(&trace->later, &waiting, sizeof waiting);
    buf_append(&trace->later, bytes.data, bytes.len);
}

void trace_flush(struct trace *trace)
{
    struct slice rest = buf_slice(&trace->later);
    struct waiting waiting;

    trace->eager = true;
    if (rest.len && trace->later_forgotten != secret_forgotten()) {
        trace_note(trace, TRACE_NOTE, "what was said before secrets were forgotten, as by a reload, is not shown");
        rest = slice_str("");
    }
    while (rest.len) {
        memcpy(&waiting, rest.data, sizeof waiting);
        rest = slice_skip(rest, sizeof waiting);
        trace->at_ns = waiting.at_ns;
        waiting.make(trace, &waiting.by, slice_make(rest.data, waiting.len));
        rest = slice_skip(rest, waiting.len);
    }
    trace->at_ns = 0;
    forget_waiting(trace);
}

static void mask(struct buf *lines)
{
    struct buf old = *lines;
    char text[LINE_MAX];

    if (!old.len)
        return;
    buf_init(lines, old.max);
    for (size_t at = 0; at < old.len;) {
        struct line line = line_at(old.data + at);
        size_t len = line.len;

        memcpy(text, old.data + at + sizeof line, len);
        text[len] = '\0';
        at += sizeof line + len;
        secret_scrub(text);
        line.len = (uint16_t)strlen(text);
        put(lines, &line, text);
    }
    buf_wipe(&old);
}

void trace_mask(struct trace *trace)
{
    if (!trace)
        return;
    mask(&trace->head);
    mask(&trace->tail);
}

void trace_note(struct trace *trace, enum trace_mark mark, const char *fmt, ...)
{
    const struct trace_by by = { .mark = mark };
    va_list args;

    if (!trace || trace->closed)
        return;
    va_start(args, fmt);
    note_in_turn(trace, &by, fmt, args);
    va_end(args);
}

void trace_note_by(struct trace *trace, const struct trace_by *by, const char *fmt, ...)
{
    va_list args;

    if (!trace || trace->closed)
        return;
    va_start(args, fmt);
    note_in_turn(trace, by, fmt, args);
    va_end(args);
}

bool trace_only_counts(struct trace *trace, uint64_t bytes)
{
    uint64_t now_ns;

    if (!trace || trace->closed || trace->head_max) /* with head_max, all of it is asked for */
        return false;
    now_ns = clock_now_ns();
    if (now_ns - trace->burst.since_ns >= TRACE_BURST_MS * NS_PER_MS) {
        trace->burst.since_ns = now_ns;
        trace->burst.count = 0;
    }
    if (trace->burst.count++ < TRACE_BURST)
        return false;
    if (!trace->eager)
        trace_flush(trace);
    trace->dropped.lines++;
    trace->dropped.frames++;
    trace->dropped.bytes += bytes;
    return true;
}

size_t trace_secret_rest(struct trace *trace, const struct trace_by *by, struct slice message)
{
    struct buf *end = &trace->said[by->mark].end;
    size_t rest = 0, over = message.len > SECRET_LOOK_MAX ? message.len - SECRET_LOOK_MAX : 0;

    if (trace->said[by->mark].number == by->number)
        rest = secret_rest(buf_slice(end), message);
    trace->said[by->mark].number = by->number;
    /* In the middle of a long secret all of a short message is the secret's: what came before it stays. */
    if (!rest || rest < message.len || end->len + message.len > SECRET_LOOK_MAX)
        buf_wipe(end);
    if (!end->cap) { /* all of it at once: what grows leaves copies behind, which nobody wipes */
        buf_init(end, SECRET_LOOK_MAX);
        buf_reserve(end, SECRET_LOOK_MAX);
    }
    buf_append_slice(end, slice_skip(message, over));
    return rest;
}

unsigned trace_connection(struct trace *trace)
{
    return trace ? ++trace->opened : 0;
}

static void shrink(struct buf *buf)
{
    if (buf->len)
        buf->data = mem_realloc(buf->data, buf->len);
    buf->cap = buf->len;
}

struct trace *trace_take(struct trace *trace, int64_t wall_ms, bool goes_on)
{
    struct trace *taken = NULL;

    trace_flush(trace);
    trace->eager = false;
    trace->closed = !goes_on;
    if (trace->head.len || trace->tail.len) {
        taken = mem_alloc(sizeof *taken);
        *taken = *trace;
        taken->wall_ms = wall_ms;
        taken->look = NULL;
        memset(taken->said, 0, sizeof taken->said); /* they stay here */
        shrink(&taken->head);
        shrink(&taken->tail);
        trace->head = trace->tail = (struct buf){ 0 };
        memset(&trace->dropped, 0, sizeof trace->dropped);
    }
    return taken;
}

void trace_drop(struct trace *trace, bool goes_on)
{
    trace_fini(trace);
    trace->closed = !goes_on;
}

void trace_free(struct trace *taken)
{
    if (taken)
        trace_fini(taken);
    mem_free(taken);
}

static void write_line(const struct trace *trace, const struct line *line, const char *text, struct buf *out)
{
    if (line->continues)
        buf_append_str(out, "         ");
    else
        buf_printf(out, "%9.3f", ((double)line->at_ns - (double)trace->started_ns) / 1e6);
    buf_printf(out, " %c ", "*><"[line->mark]);
    if (line->number > 1)
        buf_printf(out, "[%u] ", line->number);
    buf_append(out, text, line->len);
    buf_append_char(out, '\n');
}

static void write_lines(const struct trace *trace, const struct buf *lines, struct buf *out)
{
    for (size_t at = 0; at < lines->len;) {
        struct line line = line_at(lines->data + at);

        at += sizeof line;
        write_line(trace, &line, (const char *)lines->data + at, out);
        at += line.len;
    }
}

/* "1,204" */
static void grouped(uint64_t value, char *out, size_t size)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, value);
    size_t at = 0;

    for (int i = 0; i < len && at + 2 < size; i++) {
        out[at++] = digits[i];
        if ((len - i) % 3 == 1 && i + 1 < len)
            out[at++] = ',';
    }
    out[at] = 0;
}

static void write_dropped(const struct trace *trace, struct buf *out)
{
    char lines[32], frames[32], bytes[32];

    grouped(trace->dropped.lines, lines, sizeof lines);
    grouped(trace->dropped.frames, frames, sizeof frames);
    grouped(trace->dropped.bytes, bytes, sizeof bytes);
    buf_printf(out, "          … %s lines are left out, of %s frames with %s bytes\n", lines, frames, bytes);
}

void trace_write(const struct trace *trace, struct buf *out)
{
    write_lines(trace, &trace->head, out);
    if (trace->dropped.lines)
        write_dropped(trace, out);
    write_lines(trace, &trace->tail, out);
}
