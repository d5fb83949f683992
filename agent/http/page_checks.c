/*
 * Owns the sections of checks and of brokers, and which check gets how much room: everybody a line, then articles, then articles with evidence, those
 * that fail before those that pass, until the room is used up. Called by page.c. Promises that a section fits into its room, that what is
 * left out is counted by state, and that checks keep the order of the configuration.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/http/page_row_impl.h"

enum {
    WORST_MAX = 3,  /* so many that are in trouble have articles before all others have lines, */
    WORST_PART = 3, /* in this part of the room: 1/3 */
    CHECKS_BYTES = 24 << 10,
    BROKERS_BYTES = 6 << 10,
    AROUND_BYTES = 1200, /* the headings, the table's head, what is said of those left out */
    MISFITS_MAX = 3,     /* after so many that do not fit, none that is behind them is tried */
    ROW_BYTES_MAX = 16 << 10,
    FEW = 12,
};

enum level { LEVEL_OUT, LEVEL_LINE, LEVEL_ARTICLE, LEVEL_EVIDENCE };

struct row {
    const struct check_view *check;
    enum level level;
    struct buf text; /* as it goes out */
};

struct rows {
    struct row *row;
    size_t count, room;
};

/* Those in trouble first, and then those of which nothing is known. */
static const enum state by_need[] = { STATE_FAIL, STATE_WARN, STATE_UNKNOWN, STATE_PASS };

static void write_row(const struct page *page, const struct row *row, enum level level, struct buf *out)
{
    struct page copy = *page;

    copy.out = out;
    if (level == LEVEL_LINE)
        page_row_line(&copy, row->check);
    else if (level != LEVEL_OUT)
        page_row_article(&copy, row->check, level == LEVEL_EVIDENCE);
}

/* False: there is no room for it. */
static bool fit(const struct page *page, struct rows *rows, struct row *row, enum level level, size_t reserve)
{
    struct buf text = BUF_INIT(ROW_BYTES_MAX);

    write_row(page, row, level, &text);
    if (text.len + reserve > row->text.len + rows->room) {
        buf_fini(&text);
        return false;
    }
    rows->room = rows->room + row->text.len - text.len;
    buf_fini(&row->text);
    row->text = text;
    row->level = level;
    return true;
}

/* Most agents have so few checks that there is room for all of each. */
static bool give_all(const struct page *page, struct rows *rows)
{
    bool fits = rows->count <= FEW;

    for (size_t i = 0; fits && i < rows->count; i++)
        fits = fit(page, rows, &rows->row[i], LEVEL_EVIDENCE, 0);
    for (size_t i = 0; !fits && i < rows->count; i++) {
        rows->room += rows->row[i].text.len;
        buf_fini(&rows->row[i].text);
        rows->row[i].level = LEVEL_OUT;
    }
    return fits;
}

/* Gives the level to as many as there is room for. */
static void give(const struct page *page, struct rows *rows, enum level level)
{
    unsigned misfits = 0;

    for (size_t need = 0; need < sizeof by_need / sizeof by_need[0]; need++)
        for (size_t i = 0; i < rows->count && misfits < MISFITS_MAX; i++) {
            struct row *row = &rows->row[i];

            if (row->check->health.state == by_need[need] && row->level + 1 == level)
                misfits += !fit(page, rows, row, level, 0);
        }
}

/* Where there are more checks than lines have room, somebody still wants to know what exactly is wrong. */
static void give_worst(const struct page *page, struct rows *rows)
{
    size_t reserve = rows->room - rows->room / WORST_PART;
    unsigned given = 0;

    for (size_t need = 0; by_need[need] != STATE_UNKNOWN; need++)
        for (size_t i = 0; i < rows->count && given < WORST_MAX; i++)
            if (rows->row[i].check->health.state == by_need[need]) {
                given++;
                if (!fit(page, rows, &rows->row[i], LEVEL_EVIDENCE, reserve))
                    (void)fit(page, rows, &rows->row[i], LEVEL_ARTICLE, reserve);
            }
}

static void put_table(struct page *page, const struct rows *rows, bool beside)
{
    bool begun = false;

    for (size_t i = 0; i < rows->count; i++) {
        if (rows->row[i].level != LEVEL_LINE)
            continue;
        if (!begun)
            page_printf(page,
                        "<div class=scroll tabindex=0 role=group aria-label='%s checks'><table class=lines><caption>%s checks, in "
                        "brief</caption><thead><tr><th scope=col>state<th scope=col>check<th scope=col>p50<th scope=col>p99<th "
                        "scope=col>fault<tbody>",
                        beside ? "More" : "All", beside ? "More" : "All");
        begun = true;
        buf_append_slice(page->out, buf_slice(&rows->row[i].text));
    }
    page_put(page, begun ? "</table></div>" : "");
}

static void put_left_out(struct page *page, const struct rows *rows)
{
    size_t out[STATE_COUNT] = { 0 }, all = 0;
    const char *separator = ": ";

    for (size_t i = 0; i < rows->count; i++)
        if (rows->row[i].level == LEVEL_OUT) {
            out[rows->row[i].check->health.state]++;
            all++;
        }
    if (!all)
        return;
    page_printf(page, "<p class=meta>%zu more have no room here", all);
    for (size_t need = 0; need < sizeof by_need / sizeof by_need[0]; need++)
        if (out[by_need[need]]) {
            page_printf(page, "%s%zu in %s", separator, out[by_need[need]], state_name(by_need[need]));
            separator = ", ";
        }
    page_put(page, page->ops ? ". <a href=status>/status</a> lists every check.</p>" : ".</p>");
}

static void put_rows(struct page *page, struct rows *rows)
{
    bool articles = false;

    if (!give_all(page, rows)) {
        give_worst(page, rows);
        for (enum level level = LEVEL_LINE; level <= LEVEL_EVIDENCE; level++)
            give(page, rows, level);
    }
    for (size_t i = 0; i < rows->count; i++)
        if (rows->row[i].level >= LEVEL_ARTICLE) {
            buf_append_slice(page->out, buf_slice(&rows->row[i].text));
            articles = true;
        }
    put_table(page, rows, articles);
    put_left_out(page, rows);
}

static struct rows collect(const struct agent_view *view, bool brokers, size_t bytes)
{
    struct rows rows = { .row = mem_alloc((view->check_count + 1) * sizeof *rows.row), .room = bytes - AROUND_BYTES };

    for (size_t i = 0; i < view->check_count; i++)
        if (check_is_broker(view->checks[i]) == brokers)
            rows.row[rows.count++] = (struct row){ .check = view->checks[i] };
    return rows;
}

static void free_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        buf_fini(&rows->row[i].text);
    mem_free(rows->row);
}

/* "5 checks: 4 pass, 1 fails" is what the eye wants before the rows. */
static void put_tally(struct page *page, const struct rows *rows)
{
    static const char *const words[STATE_COUNT] = { "not known yet", "pass", "warn", "fail" };
    size_t of[STATE_COUNT] = { 0 };
    const char *separator = "";

    for (size_t i = 0; i < rows->count; i++)
        of[rows->row[i].check->health.state]++;
    page_put(page, "<p class=tally>");
    for (size_t need = 0; need < sizeof by_need / sizeof by_need[0]; need++)
        if (of[by_need[need]]) {
            page_printf(page, "%s%zu %s", separator, of[by_need[need]], words[by_need[need]]);
            separator = ", ";
        }
    page_put(page, "</p>");
}

void page_checks(struct page *page)
{
    struct rows rows = collect(page->view, false, CHECKS_BYTES - (page->view->fleet && page->ops ? PAGE_FLEET_OF_CHECKS : 0));

    page_put(page, "<h2>Checks</h2>");
    if (rows.count) {
        put_tally(page, &rows);
        put_rows(page, &rows);
        page_put(page,
                 "<p class=legend><span class=k1>median</span><span class=k2>95th percentile</span><span class=k3>rounds that "
                 "passed</span><span class=k4>warned</span><span class=k5>failed</span></p>");
    } else {
        page_put(page, "<p>No check is enabled.</p>");
    }
    free_rows(&rows);
}

void page_brokers(struct page *page)
{
    struct rows rows = collect(page->view, true, BROKERS_BYTES);

    if (rows.count) {
        page_put(page, "<h2>Brokers</h2>");
        put_rows(page, &rows);
    }
    free_rows(&rows);
}
