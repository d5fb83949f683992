/*
 * Owns traces for a terminal: `check --trace` and `status --evidence`. Called by the commands and the admin socket, with full details. One event
 * a line; where the width is known, what is longer goes on below its own text. Means the same without colour.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/ascii.h"
#include "agent/base/clock.h"
#include "agent/report/report.h"
#include "agent/report/report_impl.h"

enum {
    TEXT_MAX = 2 << 20,
    LINE_MAX = 8 << 10,
    INDENT = 2,
    TEXT_AT = 12, /* the text of a line, behind its time and its mark */
    MARK_AT = 10,
    WIDTH_DEFAULT = 100,
    WIDTH_MIN = 40,
    WIDTH_MAX = 200,
};

static void paint(const struct report_style *style, const char *code, struct buf *out)
{
    if (style->colour)
        buf_printf(out, "\033[%sm", code);
}

static const char *colour_of(char mark)
{
    return mark == '>' ? "36" : mark == '<' ? "32" : "2";
}

static size_t char_len(struct slice text)
{
    size_t len = 1;
    while (len < text.len && (text.data[len] & 0xc0) == 0x80)
        len++;
    return len;
}

/* Where the line is broken: behind its last blank that fits, or in the middle of a word that is longer. */
static size_t piece_of(struct slice text, unsigned room)
{
    size_t at = 0, blank = 0;
    for (unsigned column = 0; at < text.len && column < room; column++) {
        blank = text.data[at] == ' ' ? at + 1 : blank;
        at += char_len(slice_skip(text, at));
    }
    return at < text.len && blank ? blank : at;
}

/* Without blanks at its end. */
static void put_piece(struct slice text, struct buf *out)
{
    while (text.len && text.data[text.len - 1] == ' ')
        text.len--;
    buf_append(out, text.data, text.len);
}

static void put_text(const struct report_style *style, struct slice text, struct buf *out)
{
    unsigned width = style->width ? style->width : WIDTH_DEFAULT;
    width = width < WIDTH_MIN ? WIDTH_MIN : width > WIDTH_MAX ? WIDTH_MAX : width;
    size_t len = style->one_line ? text.len : piece_of(text, width - INDENT - TEXT_AT);
    put_piece(slice_make(text.data, len), out);
    for (text = slice_skip(text, len); text.len; text = slice_skip(text, len)) {
        len = piece_of(text, width - INDENT - TEXT_AT - 2);
        buf_printf(out, "\n%*s", INDENT + TEXT_AT + 2, "");
        put_piece(slice_make(text.data, len), out);
    }
}

/* "    1.204 < text ...", as trace_write writes it. */
static void put_line(const struct report_style *style, struct slice line, struct buf *out)
{
    struct buf fit = BUF_INIT(LINE_MAX);
    char mark = line.len > MARK_AT ? (char)line.data[MARK_AT] : '*';
    if (style->ascii)
        ascii_put(&fit, line);
    else
        buf_append_slice(&fit, line);
    line = buf_slice(&fit);
    size_t head = line.len < TEXT_AT ? line.len : TEXT_AT;
    buf_printf(out, "%*s", INDENT, "");
    paint(style, colour_of(mark), out);
    buf_append(out, line.data, head);
    if (mark != '*')
        paint(style, "0", out);
    put_text(style, slice_skip(line, head), out);
    if (mark == '*')
        paint(style, "0", out);
    buf_append_char(out, '\n');
    buf_fini(&fit);
}

static void put_lines(const struct report_style *style, const struct trace *trace, struct buf *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    trace_write(trace, &text);
    for (struct slice rest = buf_slice(&text); rest.len;) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.data) : rest.len;
        put_line(style, slice_make(rest.data, len), out);
        rest = slice_skip(rest, len + 1);
    }
    buf_fini(&text);
}

/* "  ping  passed 2026-11-26 19:20:00 UTC" */
static void put_title(const struct report_style *style, const struct check_view *check, const char *what, const struct trace *trace,
                      struct buf *out)
{
    char stamp[CLOCK_STAMP_MAX];
    clock_stamp(trace->wall_ms, stamp, sizeof stamp);
    buf_append_str(out, "\n  ");
    paint(style, "1", out);
    report_put(out, check->name);
    paint(style, "0", out);
    buf_printf(out, "  %s%s%.10s %.8s UTC\n", what, *what ? " " : "", stamp, stamp + 11);
}

void report_trace(const struct agent_view *view, const struct report_style *style, struct buf *out)
{
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];
        const struct trace *trace = check->passed ? check->passed : check->failed;
        if (!trace)
            continue;
        put_title(style, check, "", trace, out);
        put_lines(style, trace, out);
    }
}

static void put_kept(const struct report_style *style, const struct check_view *check, const char *what, const struct trace *trace,
                     struct buf *out)
{
    if (trace) {
        put_title(style, check, what, trace, out);
        put_lines(style, trace, out);
    } else {
        buf_append_str(out, "\n  ");
        report_put(out, check->name);
        buf_printf(out, "  no round %s since this agent began with the check\n", what);
    }
}

void report_evidence(const struct check_view *check, const struct report_style *style, struct buf *out)
{
    put_kept(style, check, "passed", check->passed, out);
    put_kept(style, check, "failed", check->failed, out);
    buf_append_char(out, '\n');
}

const struct check_view *report_find_check(const struct agent_view *view, const char *name)
{
    for (size_t i = 0; i < view->check_count; i++)
        if (strcmp(view->checks[i]->name, name) == 0)
            return view->checks[i];
    return NULL;
}
