/* See agent/cli/watch_page.h. */
#include "agent/cli/watch_page.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"

enum { BELOW_MAX = 64 };

static const char dim[] = "\033[2m", bad[] = "\033[1;31m", plain[] = "\033[0m";

/* The length of "\033[1;31m" at the beginning of the text; 0: something else is there. */
static size_t colour_len(const char *text, size_t len)
{
    size_t at = 2;

    if (len < 3 || text[0] != '\033' || text[1] != '[')
        return 0;
    while (at < len && at < 12 && ((text[at] >= '0' && text[at] <= '9') || text[at] == ';'))
        at++;
    return at < len && text[at] == 'm' ? at + 1 : 0;
}

/* No character of a text: a control character, also C1, or what is no UTF-8, which a terminal may take for C1. */
static bool is_odd(const char *text, size_t char_len)
{
    unsigned char first = (unsigned char)text[0];

    if (char_len < 2)
        return !char_len || first < 0x20 || first == 0x7f;
    return first == 0xc2 && (unsigned char)text[1] <= 0x9f;
}

/* One row, cut at the last column. *ink is the colour that it begins with, and then the one that it ends with: a broken line goes on in its own. */
static void put_row(const struct watch_page *page, const char *line, size_t len, struct slice *ink, struct buf *out)
{
    unsigned column = 0;
    bool full = false;

    if (page->colour && ink->len)
        buf_append_slice(out, *ink);

    for (size_t at = 0; at < len;) {
        size_t colour = colour_len(line + at, len - at);
        size_t char_len = text_char_len(slice_make(line + at, len - at)), used = char_len ? char_len : 1;

        if (colour) {
            bool ends = colour == strlen(plain) && memcmp(line + at, plain, colour) == 0;
            *ink = slice_make(line + at, ends ? 0 : colour);
            if (page->colour && !full)
                buf_append(out, line + at, colour);
            at += colour;
            continue;
        }
        full = full || column == page->columns;
        column += !full;
        if (!full && is_odd(line + at, char_len))
            buf_append_char(out, '?');
        else if (!full)
            buf_append(out, line + at, used);
        at += used;
    }
    if (page->colour)
        buf_append_str(out, plain);
    if (column < page->columns) /* in the last column it would erase what stands there */
        buf_append_str(out, "\033[K");
}

static size_t count_lines(const char *text)
{
    size_t count = 0;

    for (const char *at = text; at && *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n'))
        count++;
    return count;
}

static const char *skip_lines(const char *text, size_t count)
{
    while (count-- && *text)
        text += strcspn(text, "\n") + (text[strcspn(text, "\n")] == '\n');
    return text;
}

/* Up to `count` rows; the caller has begun the first. */
static size_t put_rows(const struct watch_page *page, const char *text, size_t count, const char *colour, struct buf *out)
{
    struct slice ink = slice_str(colour);
    size_t done = 0;

    for (; done < count && *text; done++) {
        size_t len = strcspn(text, "\n");

        put_row(page, text, len, &ink, out);
        buf_append_str(out, "\r\n");
        text += len + (text[len] == '\n');
    }
    return done;
}

static size_t lost_rows(const struct watch_page *page)
{
    size_t lines = count_lines(page->lost), most = page->rows > 2 ? page->rows - 2 : 0;

    return lines < most ? lines : most;
}

size_t watch_page_room(const struct watch_page *page)
{
    return page->rows > 1 + lost_rows(page) ? page->rows - 1 - lost_rows(page) : 0;
}

static unsigned columns_of(const char *text)
{
    unsigned count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* "12 lines below", or above, or both, at the right end, and the footer where there is room beside it. */
static void put_footer(const struct watch_page *page, size_t above, size_t below, struct buf *out)
{
    char more[BELOW_MAX] = "", row[512];
    const char *left = page->footer;
    struct slice ink = slice_str(dim);

    if (above && below)
        snprintf(more, sizeof more, "%s%zu above, %s%zu below", page->ascii ? "" : "↑ ", above, page->ascii ? "" : "↓ ", below);
    else if (below)
        snprintf(more, sizeof more, "%s%zu %s below", page->ascii ? "" : "↓ ", below, below == 1 ? "line" : "lines");
    else if (above)
        snprintf(more, sizeof more, "%s%zu %s above", page->ascii ? "" : "↑ ", above, above == 1 ? "line" : "lines");
    if (columns_of(left) + columns_of(more) + 5 > page->columns)
        left = page->no_keys;
    if (columns_of(left) + columns_of(more) + 5 > page->columns)
        left = "";
    unsigned used = columns_of(left) + columns_of(more) + (*left ? 4 : 2);
    int gap = page->columns > used ? (int)(page->columns - used) : 0;
    snprintf(row, sizeof row, "%s%s%*s%s", *left ? "  " : "", left, *more ? gap : 0, "", more);
    put_row(page, row, strlen(row), &ink, out);
}

size_t watch_page_draw(const struct watch_page *page, struct buf *out)
{
    size_t lines = count_lines(page->text), room = watch_page_room(page), last = lines > room ? lines - room : 0;
    size_t first = page->first < last ? page->first : last;
    size_t done = 0;

    buf_append_str(out, "\033[H");
    if (page->lost)
        done = put_rows(page, page->lost, lost_rows(page), bad, out);
    done += put_rows(page, skip_lines(page->text, first), room, NULL, out);
    while (done++ + 1 < page->rows)
        buf_append_str(out, "\033[K\r\n");
    put_footer(page, first, lines > first + room ? lines - first - room : 0, out);
    return last;
}
