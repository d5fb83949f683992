/*
 * Owns what the page reads of the history (agent/report/history.h): five-minute buckets, put together to the columns of a chart. Called by the
 * sections. Promises that a view without a history, as of `once`, is one of which nothing is known.
 */
#include <string.h>

#include "agent/http/page_impl.h"

unsigned page_past_hours(const struct agent_view *view, int64_t now_ms)
{
    enum { SHORT_MS = 3 * 3600 * 1000 };

    return view->started_ms && now_ms - view->started_ms < SHORT_MS ? 3 : 24;
}

void page_past(const struct page *page, const char *check, struct past *past)
{
    memset(past, 0, sizeof *past);
    past->hours = page_past_hours(page->view, page->look->now_ms);
    past->columns = past->hours == 3 ? 36 : PAST_COLUMNS_MAX;
    (void)check;
}

bool page_past_hour(const struct page *page, const char *check, struct past_quantiles *quantiles)
{
    (void)page;
    (void)check;
    (void)quantiles;
    return false;
}

int64_t page_past_since(const struct page *page)
{
    (void)page;
    return 0;
}

bool page_past_incidents(const struct page *page, struct past_incident out[PAST_INCIDENTS_MAX], size_t *count)
{
    (void)page;
    (void)out;
    *count = 0;
    return false;
}
