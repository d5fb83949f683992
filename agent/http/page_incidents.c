/*
 * Owns the sections of incidents and of the agent itself. Called by page.c. Promises that the table fits into its room: the newest incidents are
 * in it, and how many older ones there were is said.
 */
#include <string.h>

#include "agent/http/page_impl.h"

enum { TABLE_BYTES = 4500, SENTENCE_BYTES = 420, CAUSE_BYTES = 60, FILE_BYTES = 300, ROW_BYTES_MAX = 2048 };

static void put_incident(struct page *page, const struct history_incident *incident)
{
    bool bad = strcmp(incident->worst, "degraded") != 0;

    page_put(page, "<tr><td>");
    page_time(page, incident->begin_ms);
    page_put(page, "</td><td>");
    if (incident->end_ms) {
        page_time(page, incident->end_ms);
        page_put(page, incident->cut ? " <small>or later: the agent ended</small></td><td>" : "</td><td>");
        page_lasted(page, incident->end_ms - incident->begin_ms);
    } else {
        page_put(page, "<b>it lasts</b></td><td>");
    }
    page_printf(page, "</td><td class=%s>", page_state_class(bad ? STATE_FAIL : STATE_WARN));
    page_text(page, incident->worst, CAUSE_BYTES);
    page_put(page, "</td><td><bdi>");
    page_text(page, page->texts ? incident->sentence : incident->plain, SENTENCE_BYTES);
    page_put(page, "</bdi>");
    if (page->ops) {
        page_put(page, " <code>");
        page_text(page, incident->cause, CAUSE_BYTES);
        page_put(page, "</code>");
    }
    page_put(page, "</td></tr>");
}

static void put_table(struct page *page, const struct history_incident *incidents, size_t count)
{
    struct buf row = BUF_INIT(ROW_BYTES_MAX);
    struct page scratch = *page;
    size_t end = page->out->len + TABLE_BYTES, i = 0;

    scratch.out = &row;
    page_put(page, "<table class=incidents><thead><tr><th scope=col>began<th scope=col>ended<th scope=col>lasted<th "
                   "scope=col>worst<th scope=col>cause<tbody>");
    for (; i < count; i++) {
        buf_reset(&row);
        put_incident(&scratch, &incidents[i]);
        if (page->out->len + row.len > end)
            break;
        buf_append_slice(page->out, buf_slice(&row));
    }
    page_put(page, "</table>");
    if (i < count)
        page_printf(page, "<p class=meta>and %zu%s before them</p>", count - i, count == PAST_INCIDENTS_MAX ? " or more" : "");
    buf_fini(&row);
}

void page_incidents(struct page *page)
{
    struct history_incident incidents[PAST_INCIDENTS_MAX];
    size_t count = 0;

    page_put(page, "<h2>Incidents of the last day</h2>");
    if (!page_past_incidents(page, incidents, &count)) {
        page_put(page, "<p>No history is kept.</p>");
        return;
    }
    if (count)
        put_table(page, incidents, count);
    else
        page_put(page, "<p>None.</p>");
    if (page->look->now_ms - page->view->started_ms < INT64_C(86400000) && page->view->started_ms) {
        page_put(page, "<p class=meta>This agent has watched since ");
        page_time(page, page->view->started_ms);
        page_put(page, ".</p>");
    }
}

void page_about(struct page *page)
{
    page_printf(page, "<p data-build=%s id=build>", page_build());
    if (!page->ops) {
        page_put(page, "Watched by wshealthd, as clients see it.</p>");
        return;
    }
    page_put(page, "wshealthd ");
    page_text(page, page->view->version, CAUSE_BYTES);
    if (page->view->started_ms) {
        page_put(page, ", running since ");
        page_time(page, page->view->started_ms);
    }
    if (page->texts && *page->view->config_file) {
        page_put(page, ", configured by <bdi>");
        page_text(page, page->view->config_file, FILE_BYTES);
        page_put(page, "</bdi>");
    }
    page_put(page,
             "</p><nav aria-label='the same for machines'><a href='ready?verbose'>/ready?verbose</a> <a href=status>/status</a> "
             "<a href=history>/history</a> <a href=metrics>/metrics</a>");
    page_put(page, page->view->fleet ? " <a href=fleet>/fleet</a></nav>" : "</nav>");
}
