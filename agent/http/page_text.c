/*
 * Owns how anything gets into the page: escaped text, times, amounts, and the marks of states. Called by the other page_*.c files, which put literals
 * only by other ways. Promises that no byte of a peer's ends an element or an attribute, reorders or hides the text around it, or makes
 * the page longer than the caller allows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/http/page_impl.h"
#include "agent/report/report.h"

#define REPLACEMENT "\xef\xbf\xbd"
#define ELLIPSIS "\xe2\x80\xa6"
#define NARROW_BLANK "\xe2\x80\xaf"

enum { PIECE_MAX = 8, COMBINING_MAX = 2, UNIT_AT = 16, GROUP = 3 };

void page_put(struct page *page, const char *html)
{
    buf_append_str(page->out, html);
}

void page_printf(struct page *page, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)buf_vprintf(page->out, fmt, args);
    va_end(args);
}

/* --- text of others --- */

static uint32_t code_point(const uint8_t *at, size_t len)
{
    static const uint8_t first[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t code = at[0] & first[len];

    for (size_t i = 1; i < len; i++)
        code = code << 6 | (at[i] & 0x3fu);
    return code;
}

/* Reorders or hides what stands beside it, or is no character of a text: C1, marks and overrides of direction, joiners and blanks without width,
 * separators of lines, tags, private use, and what is none at all. */
static bool is_deceitful(uint32_t code)
{
    static const struct {
        uint32_t from, to;
    } ranges[] = {
        { 0x80, 0x9f },     { 0xad, 0xad },     { 0x34f, 0x34f },   { 0x61c, 0x61c },     { 0x115f, 0x1160 },    { 0x180b, 0x180f },
        { 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0x3164, 0x3164 },   { 0xe000, 0xf8ff },    { 0xfe00, 0xfe0f },
        { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff0, 0xfffb }, { 0x1d173, 0x1d17a }, { 0xe0000, 0x10ffff },
    };

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (code >= ranges[i].from && code <= ranges[i].to)
            return true;
    return (code & 0xfffe) == 0xfffe;
}

/* Piles of these grow over the lines above and below. */
static bool is_combining(uint32_t code)
{
    return (code >= 0x300 && code <= 0x36f) || (code >= 0x483 && code <= 0x489) || (code >= 0x1ab0 && code <= 0x1aff) ||
           (code >= 0x1dc0 && code <= 0x1dff) || (code >= 0x20d0 && code <= 0x20ff) || (code >= 0xfe20 && code <= 0xfe2f);
}

static const char *entity_of(uint8_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return c < 0x20 || c == 0x7f ? " " : NULL;
    }
}

/* What stands for the first character of text. *used: its bytes. "": nothing. */
static struct slice piece_of(struct slice text, size_t *used, unsigned *combining)
{
    size_t len = text_char_len(text);
    const char *entity = entity_of(text.data[0]);

    *used = len ? len : 1;
    if (len == 1) {
        *combining = 0;
        return entity ? slice_str(entity) : slice_make(text.data, 1);
    }
    if (!len || is_deceitful(code_point(text.data, len)))
        return slice_str(REPLACEMENT);
    *combining = is_combining(code_point(text.data, len)) ? *combining + 1 : 0;
    return *combining > COMBINING_MAX ? slice_str("") : slice_make(text.data, len);
}

void page_text_slice(struct page *page, struct slice text, size_t max_bytes)
{
    size_t end = page->out->len + max_bytes, used = 0;
    unsigned combining = 0;

    while (text.len) {
        struct slice piece = piece_of(text, &used, &combining);
        bool last = used == text.len;

        if (page->out->len + piece.len + (last ? 0 : sizeof ELLIPSIS - 1) > end) {
            page_put(page, ELLIPSIS);
            return;
        }
        buf_append_slice(page->out, piece);
        text = slice_skip(text, used);
    }
}

void page_text(struct page *page, const char *text, size_t max_bytes)
{
    page_text_slice(page, slice_str(text), max_bytes);
}

/* --- times and amounts --- */

/* "06:54:31 UTC" on the day of `now`, else "26 Nov, 06:54 UTC". */
void page_time(struct page *page, int64_t wall_ms)
{
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    char stamp[CLOCK_STAMP_MAX], today[CLOCK_STAMP_MAX];

    clock_stamp(wall_ms, stamp, sizeof stamp);
    clock_stamp(page->look->now_ms, today, sizeof today);
    page_printf(page, "<time datetime=%.19sZ>", stamp);
    if (strncmp(stamp, today, 10) == 0) {
        page_printf(page, "%.8s UTC</time>", stamp + 11);
        return;
    }
    unsigned month = (unsigned)(stamp[5] - '0') * 10 + (unsigned)(stamp[6] - '0');
    const char *day = stamp[8] == '0' ? stamp + 9 : stamp + 8;
    page_printf(page, "%.*s %s", stamp[8] == '0' ? 1 : 2, day, months[(month + 11) % 12]);
    if (strncmp(stamp, today, 4) != 0)
        page_printf(page, " %.4s", stamp);
    page_printf(page, ", %.5s UTC</time>", stamp + 11);
}

/* A number, and its unit behind a narrow blank that does not break. */
static void put_with_unit(struct page *page, const char *text)
{
    size_t number = strspn(text, "0123456789.");

    page_printf(page, "%.*s" NARROW_BLANK "%s", (int)number, text, text + number);
}

void page_elapsed(struct page *page, uint64_t ns)
{
    char text[32];

    text_format_elapsed(ns, text, sizeof text);
    put_with_unit(page, text);
}

void page_lasted(struct page *page, int64_t ms)
{
    static const struct {
        int64_t s;
        const char *name;
    } units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" }, { 1, "s" } };
    int64_t left = ms < 0 ? 0 : ms / 1000;
    unsigned said = 0;

    if (!left) {
        page_put(page, "less than 1" NARROW_BLANK "s");
        return;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0] && said < 2; i++) {
        int64_t count = left / units[i].s;

        if (!count && !said)
            continue;
        if (count)
            page_printf(page, "%s%" PRId64 NARROW_BLANK "%s", said ? " " : "", count, units[i].name);
        left -= count * units[i].s;
        said++;
    }
}

void page_count(struct page *page, uint64_t value)
{
    char digits[24];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, value);

    for (size_t i = 0; i < len; i++)
        page_printf(page, "%s%c", i && (len - i) % GROUP == 0 ? "," : "", digits[i]);
}

void page_bytes(struct page *page, uint64_t bytes)
{
    static const char *const units[] = { "B", "KB", "MB", "GB", "TB", "PB", "EB" };
    double value = (double)bytes;
    size_t unit = 0;

    for (; value >= 1000 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        value /= 1000;
    page_printf(page, value < 10 && unit ? "%.1f" NARROW_BLANK "%s" : "%.0f" NARROW_BLANK "%s", value, units[unit]);
}

/* --- states --- */

const char *page_state_class(enum state state)
{
    static const char *const names[STATE_COUNT] = { "none", "good", "warn", "bad" };

    return names[state];
}

void page_mark(struct page *page, enum state state)
{
    static const char *const paths[STATE_COUNT] = {
        /* A dashed ring, a disc with a tick, a triangle with a line and a point, an octagon with a cross. */
        "<circle cx=12 cy=12 r=9.5 class=l stroke-dasharray='4 3.5'/>",
        "<circle cx=12 cy=12 r=11 /><path d='M6.8 12.4l3.5 3.5 7-7.4' class=c />",
        "<path d='M12 1.5L23.3 21.5H.7z'/><path d='M12 8.5v6M12 17.6v.6' class=c />",
        "<path d='M7.4 1h9.2L23 7.4v9.2L16.6 23H7.4L1 16.6V7.4z'/><path d='M8 8l8 8M16 8l-8 8' class=c />",
    };

    page_printf(page, "<svg class='mark %s' viewBox='0 0 24 24' aria-hidden=true>%s</svg>", page_state_class(state), paths[state]);
}

const char *page_quality(const struct agent_view *view)
{
    const char *word = report_word(view, REPORT_READY);

    if (strcmp(word, "draining") == 0 || strcmp(word, "starting") == 0)
        return page_state_class(STATE_UNKNOWN);
    if (!view->verdict.live || !view->verdict.ready)
        return page_state_class(STATE_FAIL);
    return page_state_class(view->verdict.status == RESULT_PASS ? STATE_PASS : STATE_WARN);
}

const char *page_verdict_name(const struct agent_view *view)
{
    static const struct {
        const char *word, *name;
    } names[] = { { "ready", "Ready" },
                  { "degraded", "Degraded" },
                  { "not ready", "Not ready" },
                  { "draining", "Draining" },
                  { "starting", "Starting" } };
    const char *word = report_word(view, REPORT_READY);

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(word, names[i].word) == 0)
            return names[i].name;
    return "Failed";
}
