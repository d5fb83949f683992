/* What the page_*.c files share. For them only. */
#ifndef WSHEALTHD_HTTP_PAGE_IMPL_H
#define WSHEALTHD_HTTP_PAGE_IMPL_H

#include "agent/http/page.h"

struct page {
    struct buf *out;
    const struct agent_view *view;
    const struct page_look *look;
    bool texts;     /* addresses, URLs and texts of the server's may be shown */
    bool ops;       /* what tells of the infrastructure may be shown: for operators */
    unsigned hours; /* of the charts */
};

/* page_text.c: what is put where. None of them ends a line or an element. */
void page_put(struct page *page, const char *html);                                              /* as it is: literals only */
void page_printf(struct page *page, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* numbers and literals only */
/* Text of anybody's as text or as the value of a quoted attribute, with at most so many bytes of HTML; what is longer is cut with "…". */
void page_text(struct page *page, const char *text, size_t max_bytes);
void page_text_slice(struct page *page, struct slice text, size_t max_bytes);
void page_time(struct page *page, int64_t wall_ms);           /* <time>, in UTC; the script puts it into the reader's zone */
void page_elapsed(struct page *page, uint64_t ns);            /* "0.21 ms" */
void page_lasted(struct page *page, int64_t ms);              /* "4 min 12 s" */
void page_count(struct page *page, uint64_t value);           /* "1,204" */
void page_bytes(struct page *page, uint64_t bytes);           /* "212 MB" */
const char *page_state_class(enum state state);               /* of CSS: "good", "warn", "bad", "none" */
void page_mark(struct page *page, enum state state);          /* an icon of its own shape for each, hidden from screen readers */
const char *page_quality(const struct agent_view *view);      /* the same classes, of the verdict */
const char *page_verdict_name(const struct agent_view *view); /* "Ready", "Not ready", … */

/* page_past.c: what the history knows of a check, as the columns of a chart, oldest first. */
enum { PAST_COLUMNS_MAX = 96 };
struct past_column {
    uint32_t rounds, failures, warnings;
    bool have_rtt;
    uint64_t p50_us, p95_us;
    bool have_connections;
    uint32_t connections; /* the most */
};
struct past {
    unsigned hours, columns;
    bool rtt; /* the durations are round trips; else whole rounds */
    bool any, any_rtt, any_connections;
    struct past_column column[PAST_COLUMNS_MAX];
};
unsigned page_past_hours(const struct page *page);
void page_past(const struct page *page, const char *check, struct past *past);
bool page_past_hour(const struct page *page, const char *check, struct history_quantiles *quantiles);
int64_t page_past_since(const struct page *page); /* wall, of the last change of the verdict; 0: none is known */
/* Of the last day, newest first; false: no history is kept. */
enum { PAST_INCIDENTS_MAX = 64 };
bool page_past_incidents(const struct page *page, struct history_incident out[PAST_INCIDENTS_MAX], size_t *count);

/* page_draw.c: SVG. */
void page_draw_spark(struct page *page, const struct past *past);
void page_draw_strip(struct page *page, const struct past *past);
void page_draw_connections(struct page *page, const struct past *past);
void page_draw_bar(struct page *page, double from, double length); /* both of 1 */
void page_draw_rounds(struct page *page, const char *history);     /* the last rounds, as health.h writes them */
void page_draw_axis(struct page *page, const struct past *past);

/* The sections. That of the fleet has most of its room from that of the checks. */
enum { PAGE_FLEET_BYTES = 9 << 10, PAGE_FLEET_OF_CHECKS = 13 << 9, PAGE_NAME_BYTES = 96 };
void page_verdict(struct page *page);
void page_checks(struct page *page);
void page_brokers(struct page *page);
void page_fleet(struct page *page);
void page_matrix(struct page *page);                                    /* a part of it; empty where there is no matrix */
void page_member_name(struct page *page, const char *id, size_t place); /* for readers without full details "number 3" */
void page_server(struct page *page);
void page_incidents(struct page *page);
void page_about(struct page *page);

extern const char page_style[], page_script[];
const char *page_build(void); /* changes with the style and the script */

#endif
