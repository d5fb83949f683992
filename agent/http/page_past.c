/*
 * Owns what the page reads of the history (agent/report/history.h): five-minute buckets, put together to the columns of a chart. Called by the
 * sections. Promises that of a view without a history, as `once` has it, nothing is known.
 */
#include <string.h>

#include "agent/http/page_impl.h"
#include "agent/report/report.h"

enum { HOURS_SHORT = 3, HOURS_LONG = 24, PER_HOUR = 12, DAY_MS = 86400000, LOOKED_AT_MAX = 4 };

static const struct history_check *find(const struct page *page, const char *check)
{
    return page->view->history ? history_find(page->view->history, check) : NULL;
}

static bool goes_back(const struct history_check *check, int64_t now_ms)
{
    struct history_bucket bucket;

    for (unsigned ago = HOURS_SHORT * PER_HOUR; check && ago < HISTORY_BUCKETS; ago++)
        if (history_bucket_at(check, ago, now_ms, &bucket))
            return true;
    return false;
}

/* A day, or where there is less than three hours of anything, these: of a young agent a day's chart would be empty. All charts have the same. */
unsigned page_past_hours(const struct page *page)
{
    const struct agent_view *view = page->view;

    for (size_t i = 0; i < view->check_count && i < LOOKED_AT_MAX; i++)
        if (goes_back(find(page, view->checks[i]->name), page->look->now_ms))
            return HOURS_LONG;
    return HOURS_SHORT;
}

static void add_bucket(struct past_column *column, const struct history_bucket *bucket)
{
    uint32_t before = column->rounds;

    column->rounds += bucket->rounds;
    column->failures += bucket->failures;
    column->warnings += bucket->warnings;
    if (bucket->have_rtt) {
        /* The median of several buckets is not known: their mean, by rounds, is near it. */
        uint64_t all = (uint64_t)before + bucket->rounds;
        column->p50_us =
            column->have_rtt && all ? (column->p50_us * before + bucket->p50_us * bucket->rounds) / all : bucket->p50_us;
        column->p95_us = column->p95_us > bucket->p95_us ? column->p95_us : bucket->p95_us;
        column->have_rtt = true;
    }
    if (bucket->have_connections) {
        column->connections = column->connections > bucket->connections ? column->connections : bucket->connections;
        column->have_connections = true;
    }
}

void page_past(const struct page *page, const char *check, struct past *past)
{
    const struct history_check *history = find(page, check);
    unsigned hours = page->hours, buckets = hours * PER_HOUR, each = hours == HOURS_LONG ? 3 : 1;

    memset(past, 0, sizeof *past);
    past->hours = hours;
    past->columns = buckets / each;
    past->rtt = history && history_has_rtt(history);
    for (unsigned ago = 0; history && ago < buckets; ago++) {
        struct past_column *column = &past->column[past->columns - 1 - ago / each];
        struct history_bucket bucket;

        if (!history_bucket_at(history, ago, page->look->now_ms, &bucket))
            continue;
        add_bucket(column, &bucket);
        past->any = true;
        past->any_rtt = past->any_rtt || bucket.have_rtt;
        past->any_connections = past->any_connections || bucket.have_connections;
    }
}

bool page_past_hour(const struct page *page, const char *check, struct history_quantiles *quantiles)
{
    const struct history_check *history = find(page, check);

    return history && history_hour(history, page->look->now_ms, quantiles) && quantiles->count;
}

int64_t page_past_since(const struct page *page)
{
    const char *word = report_word(page->view, REPORT_READY);
    int64_t since_ms = 0;

    for (size_t i = 0; page->view->history && i < history_change_count(page->view->history); i++) {
        const struct history_change *change = history_change_at(page->view->history, i);

        if (strcmp(change->word, word) != 0)
            break;
        since_ms = change->at_ms;
    }
    return since_ms ? since_ms : page->view->untold_ms;
}

static struct history_incident begun_now(const struct agent_view *view, const char *word)
{
    return (struct history_incident){ .begin_ms = view->untold_ms,
                                      .worst = view->verdict.live ? word : "not live",
                                      .cause = view->diagnosis.cause,
                                      .sentence = view->diagnosis.sentence,
                                      .plain = view->diagnosis.plain };
}

/* What /ready says, the history hears when the cause is clear, up to three seconds later. Until then the page tells it itself: a page that is not
 * ready and knows of no incident would contradict itself. */
static size_t bring_up_to_date(const struct agent_view *view, struct history_incident *incidents, size_t count)
{
    const char *word = report_word(view, REPORT_READY);
    bool lasts = count && !incidents[0].end_ms, ready = strcmp(word, "ready") == 0;
    bool bad = strcmp(word, "degraded") == 0 || strcmp(word, "not ready") == 0;

    if (!view->untold_ms)
        return count;
    if (lasts && ready && view->verdict.live)
        incidents[0].end_ms = view->untold_ms;
    if (lasts || !bad)
        return count;
    if (count == PAST_INCIDENTS_MAX)
        count--;
    memmove(incidents + 1, incidents, count * sizeof *incidents);
    incidents[0] = begun_now(view, word);
    return count + 1;
}

bool page_past_incidents(const struct page *page, struct history_incident out[PAST_INCIDENTS_MAX], size_t *count)
{
    const struct agent_view *view = page->view;

    *count = 0;
    if (!view->history)
        return false;
    *count = bring_up_to_date(view, out, history_incidents(view->history, page->look->now_ms - DAY_MS, out, PAST_INCIDENTS_MAX));
    return true;
}
