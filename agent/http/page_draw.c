/*
 * Owns the page's drawings, as SVG without styles of its own: what a colour or a width is, page_style.c says. Called by the sections. Promises that
 * a drawing's size depends on the columns of a chart and not on what was measured, and that none tells anything by its colour alone: a fault is
 * also taller, and the drawing's label says the same in words.
 */
#include <inttypes.h>
#include <string.h>

#include "agent/http/page_impl.h"

enum { SPARK_HEIGHT = 40, STRIP_HEIGHT = 12, FAULT_HEIGHT_MIN = 5, AREA_HEIGHT = 96 };

/* A height within 0..max, from the bottom; what is not nothing can be seen. */
static unsigned height_of(uint64_t value, uint64_t most, unsigned max)
{
    unsigned height = most ? (unsigned)((double)value / (double)most * max + 0.5) : 0;

    height = height > max ? max : height;
    return value && !height ? 1 : height;
}

/* --- a line of steps, and the area below one --- */

struct steps {
    bool have[PAST_COLUMNS_MAX];
    unsigned y[PAST_COLUMNS_MAX];
    unsigned count, bottom;
};

static void put_line(struct page *page, const struct steps *steps)
{
    bool drawing = false;

    for (unsigned i = 0; i < steps->count; i++) {
        if (!steps->have[i]) {
            drawing = false;
            continue;
        }
        if (!drawing)
            page_printf(page, "M%u %u", i, steps->y[i]);
        else if (steps->y[i] != steps->y[i - 1])
            page_printf(page, "V%u", steps->y[i]);
        page_put(page, "h1");
        drawing = true;
    }
}

static void put_area(struct page *page, const struct steps *steps)
{
    for (unsigned i = 0; i < steps->count;) {
        unsigned start = i;

        if (!steps->have[i]) {
            i++;
            continue;
        }
        page_printf(page, "M%u %u", start, steps->bottom);
        for (; i < steps->count && steps->have[i]; i++) {
            if (i == start || steps->y[i] != steps->y[i - 1])
                page_printf(page, "V%u", steps->y[i]);
            page_put(page, "h1");
        }
        page_printf(page, "V%uz", steps->bottom);
    }
}

/* --- the charts --- */

static void begin(struct page *page, const char *class, unsigned columns, unsigned height)
{
    page_printf(page, "<svg class=%s viewBox='0 0 %u %u' preserveAspectRatio=none role=img aria-label='", class, columns, height);
}

/* Once for all charts of a kind that stand below each other, so that the eye reads one axis. */
void page_draw_axis(struct page *page, const struct past *past)
{
    page_printf(page, "<p class=axis><span>%u h ago</span><span>now</span></p>", past->hours);
}

void page_draw_spark(struct page *page, const struct past *past)
{
    struct steps middle = { .count = past->columns, .bottom = SPARK_HEIGHT }, high = middle;
    uint64_t most = 0, least = UINT64_MAX, slow = 0;

    for (unsigned i = 0; i < past->columns; i++) {
        const struct past_column *column = &past->column[i];

        if (!column->have_rtt)
            continue;
        most = column->p95_us > most ? column->p95_us : most;
        least = column->p50_us < least ? column->p50_us : least;
        slow = column->p50_us > slow ? column->p50_us : slow;
    }
    for (unsigned i = 0; i < past->columns; i++) {
        const struct past_column *column = &past->column[i];

        middle.have[i] = high.have[i] = column->have_rtt;
        middle.y[i] = SPARK_HEIGHT - height_of(column->p50_us, most, SPARK_HEIGHT - 2);
        high.y[i] = SPARK_HEIGHT - height_of(column->p95_us, most, SPARK_HEIGHT - 2);
    }
    begin(page, "spark", past->columns, SPARK_HEIGHT);
    if (past->any_rtt) {
        page_put(page, "median from ");
        page_elapsed(page, least * 1000);
        page_put(page, " to ");
        page_elapsed(page, slow * 1000);
        page_put(page, ", 95th percentile at most ");
        page_elapsed(page, most * 1000);
        page_printf(page, ", in the last %u hours", past->hours);
    } else {
        page_put(page, "nothing measured yet");
    }
    page_put(page, "'><path class=area d='");
    put_area(page, &high);
    page_put(page, "' /><path class=line d='");
    put_line(page, &middle);
    page_put(page, "' /></svg>");
}

/* Bars of rows that are equal are one. `of`: which of a column's rounds; NULL: all, at full height. */
static void put_bars(struct page *page, const struct past *past, uint32_t (*of)(const struct past_column *column))
{
    for (unsigned i = 0; i < past->columns;) {
        const struct past_column *column = &past->column[i];
        uint32_t count = of(column);
        unsigned height = height_of(count, column->rounds, STRIP_HEIGHT), width = 1;

        if (count && height < FAULT_HEIGHT_MIN)
            height = FAULT_HEIGHT_MIN;
        while (i + width < past->columns && height == STRIP_HEIGHT && past->column[i + width].rounds &&
               of(&past->column[i + width]) == past->column[i + width].rounds)
            width++;
        if (height)
            page_printf(page, "M%u %uh%uv%uh-%uz", i, STRIP_HEIGHT - height, width, height, width);
        i += width;
    }
}

static uint32_t all_of(const struct past_column *column)
{
    return column->rounds;
}

static uint32_t failures_of(const struct past_column *column)
{
    return column->failures;
}

static uint32_t troubles_of(const struct past_column *column)
{
    return column->warnings ? column->failures + column->warnings : 0;
}

void page_draw_strip(struct page *page, const struct past *past)
{
    uint64_t rounds = 0, failures = 0, warnings = 0;

    for (unsigned i = 0; i < past->columns; i++) {
        rounds += past->column[i].rounds;
        failures += past->column[i].failures;
        warnings += past->column[i].warnings;
    }
    begin(page, "strip", past->columns, STRIP_HEIGHT);
    page_printf(page, "%" PRIu64 " rounds in the last %u hours, %" PRIu64 " failed, %" PRIu64 " warned", rounds, past->hours,
                failures, warnings);
    page_put(page, "'><path class=all d='");
    put_bars(page, past, all_of);
    page_put(page, "' /><path class=warn d='");
    put_bars(page, past, troubles_of);
    page_put(page, "' /><path class=bad d='");
    put_bars(page, past, failures_of);
    page_put(page, "' /></svg>");
}

void page_draw_connections(struct page *page, const struct past *past)
{
    struct steps steps = { .count = past->columns, .bottom = AREA_HEIGHT };
    uint32_t most = 0, least = UINT32_MAX;

    for (unsigned i = 0; i < past->columns; i++) {
        const struct past_column *column = &past->column[i];

        if (!column->have_connections)
            continue;
        most = column->connections > most ? column->connections : most;
        least = column->connections < least ? column->connections : least;
    }
    for (unsigned i = 0; i < past->columns; i++) {
        steps.have[i] = past->column[i].have_connections;
        steps.y[i] = AREA_HEIGHT - height_of(past->column[i].connections, most, AREA_HEIGHT - 2);
    }
    page_put(page, "<p class=most><span>");
    page_count(page, most);
    page_put(page, " at most</span></p>");
    begin(page, "tall", past->columns, AREA_HEIGHT);
    page_printf(page, "between %u and %u connections in the last %u hours", least, most, past->hours);
    page_put(page, "'><path class=area d='");
    put_area(page, &steps);
    page_put(page, "' /><path class=line d='");
    put_line(page, &steps);
    page_put(page, "' /></svg>");
}

/* One mark for each round, the newest on the right; those that failed are the tallest. */
void page_draw_rounds(struct page *page, const char *history)
{
    static const struct {
        char mark;
        const char *class;
        unsigned height;
    } kinds[] = { { '#', "all", 5 }, { '~', "warn", 8 }, { '.', "bad", STRIP_HEIGHT } };
    size_t len = strnlen(history, HEALTH_HISTORY), failed = 0;

    for (size_t i = 0; i < len; i++)
        failed += history[i] == '.';
    if (!len)
        return;
    begin(page, "rounds", 2 * HEALTH_HISTORY, STRIP_HEIGHT);
    page_printf(page, "of the last %zu rounds %zu failed'>", len, failed);
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        if (!memchr(history, kinds[kind].mark, len))
            continue;
        page_printf(page, "<path class=%s d='", kinds[kind].class);
        for (size_t i = 0; i < len; i++)
            if (history[i] == kinds[kind].mark)
                page_printf(page, "M%zu %uh1v%uh-1z", 2 * i, STRIP_HEIGHT - kinds[kind].height, kinds[kind].height);
        page_put(page, "' />");
    }
    page_put(page, "</svg>");
}

void page_draw_bar(struct page *page, double from, double length)
{
    enum { WHOLE = 1000, LEAST = 6 };
    unsigned x = (unsigned)(from * WHOLE), width = (unsigned)(length * WHOLE + 0.5);

    width = width < LEAST ? LEAST : width > WHOLE ? WHOLE : width;
    x = x + width > WHOLE ? WHOLE - width : x;
    page_printf(page, "<svg viewBox='0 0 %d 8' preserveAspectRatio=none aria-hidden=true><rect x=%u width=%u height=8 /></svg>",
                WHOLE, x, width);
}
