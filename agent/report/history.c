/*
 * Owns the history's changes and incidents, and its list of checks. Called by the agent, which notes, and by whoever reads the view.
 * Promises that nothing grows beyond the bounds of agent/report/history.h. The buckets of a check are in history_buckets.c, the file is
 * history_file.c's business.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/core/view.h"
#include "agent/report/history_impl.h"

/* --- texts -------------------------------------------------------------------------------------------------------------- */

/* Cut between characters. */
static char *copy_text(const char *text)
{
    size_t len = text ? strlen(text) : 0;
    char *copy;

    if (len >= HISTORY_TEXT_MAX)
        for (len = HISTORY_TEXT_MAX - 1; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80;)
            len--;
    copy = mem_strndup(len ? text : "", len);
    secret_scrub(copy);
    return copy;
}

static void free_texts(const char *sentence, const char *plain)
{
    mem_free((void *)sentence);
    mem_free((void *)plain);
}

/* --- incidents ---------------------------------------------------------------------------------------------------------- */

static int severity(const char *word)
{
    static const char *const words[] = { "degraded", "not ready", "not live" };

    for (int i = 0; i < 3; i++)
        if (strcmp(word, words[i]) == 0)
            return i + 1;
    return 0;
}

static void set_worst(struct history_incident *incident, const char *worst, const struct history_change *change)
{
    free_texts(incident->sentence, incident->plain);
    incident->worst = worst;
    incident->cause = change->cause;
    incident->sentence = copy_text(change->sentence);
    incident->plain = copy_text(change->plain);
}

static struct history_incident *new_incident(struct history *history)
{
    if (history->incident_count == HISTORY_INCIDENTS_MAX) {
        free_texts(history->incidents[0].sentence, history->incidents[0].plain);
        memmove(history->incidents, history->incidents + 1, (HISTORY_INCIDENTS_MAX - 1) * sizeof *history->incidents);
        history->incident_count--;
    }
    return memset(&history->incidents[history->incident_count++], 0, sizeof *history->incidents);
}

static struct history_incident *begin_incident(struct history *history, int64_t begin_ms)
{
    struct history_incident *incident = new_incident(history);

    incident->begin_ms = begin_ms;
    history->open = true;
    return incident;
}

void history_put_incident(struct history *history, const struct history_incident *incident)
{
    struct history_incident *kept = new_incident(history);

    *kept = *incident;
    kept->sentence = copy_text(incident->sentence);
    kept->plain = copy_text(incident->plain);
}

void history_settle_incidents(struct history *history, bool open)
{
    for (size_t i = 0; i < history->incident_count; i++) {
        struct history_incident *incident = &history->incidents[i];
        bool lasts = open && i + 1 == history->incident_count;

        if (lasts)
            incident->end_ms = 0;
        else if (!incident->end_ms)
            incident->end_ms = incident->begin_ms;
    }
    history->open = open && history->incident_count;
    if (!history->open)
        history->seen_ms = 0;
}

static void end_incident(struct history *history, int64_t at_ms)
{
    struct history_incident *incident = &history->incidents[history->incident_count - 1];

    incident->cut = history->seen_ms != 0;
    incident->end_ms = incident->cut ? history->seen_ms : at_ms;
    if (incident->end_ms < incident->begin_ms) /* the clock was set back meanwhile */
        incident->end_ms = incident->begin_ms;
    history->open = false;
    history->seen_ms = 0;
}

static void follow_incident(struct history *history, const struct history_change *change)
{
    const char *word = change->live ? change->word : "not live";
    struct history_incident *incident;

    if (strcmp(word, "ready") == 0 && history->open)
        end_incident(history, change->at_ms);
    if (!severity(word)) {
        if (history->open)
            history->incidents[history->incident_count - 1].changes++;
        return;
    }
    incident = history->open ? &history->incidents[history->incident_count - 1] : begin_incident(history, change->at_ms);
    history->seen_ms = 0;
    incident->changes++;
    if (!incident->worst || severity(word) > severity(incident->worst))
        set_worst(incident, word, change);
}

size_t history_incidents(const struct history *history, int64_t since_ms, struct history_incident *out, size_t max)
{
    size_t count = 0;

    for (size_t i = history->incident_count; i-- > 0 && count < max;)
        if (!history->incidents[i].end_ms || history->incidents[i].end_ms >= since_ms)
            out[count++] = history->incidents[i];
    return count;
}

/* --- changes ------------------------------------------------------------------------------------------------------------ */

static bool says_the_same(const struct history_change *a, const struct history_change *b)
{
    return a->live == b->live && strcmp(a->word, b->word) == 0 && strcmp(a->cause, b->cause) == 0;
}

static void drop_oldest_change(struct history *history)
{
    free_texts(history->changes[0].sentence, history->changes[0].plain);
    memmove(history->changes, history->changes + 1, (HISTORY_CHANGES_MAX - 1) * sizeof *history->changes);
    history->change_count--;
}

void history_put_change(struct history *history, const struct history_change *change)
{
    struct history_change *kept;

    if (history->change_count == HISTORY_CHANGES_MAX)
        drop_oldest_change(history);
    kept = &history->changes[history->change_count++];
    *kept = *change;
    kept->sentence = copy_text(change->sentence);
    kept->plain = copy_text(change->plain);
}

void history_note_change(struct history *history, const struct history_change *change)
{
    const struct history_change *before = history_change_at(history, 0);

    if (before && says_the_same(before, change))
        return;
    history_put_change(history, change);
    follow_incident(history, change);
}

size_t history_change_count(const struct history *history)
{
    return history->change_count;
}

const struct history_change *history_change_at(const struct history *history, size_t newest_first)
{
    return newest_first < history->change_count ? &history->changes[history->change_count - 1 - newest_first] : NULL;
}

/* --- checks ------------------------------------------------------------------------------------------------------------- */

const struct history_check *history_find(const struct history *history, const char *check_name)
{
    for (size_t i = 0; i < history->check_count; i++)
        if (strcmp(history->checks[i]->name, check_name) == 0)
            return history->checks[i];
    return NULL;
}

static bool is_of(const struct history_check *kept, const char *name, const char *type, bool is_public)
{
    return strcmp(kept->name, name) == 0 && strcmp(kept->type, type) == 0 && kept->is_public == is_public;
}

bool history_knows(const struct history *history, const char *name, const char *type, bool is_public)
{
    for (size_t i = 0; i < history->check_count; i++)
        if (is_of(history->checks[i], name, type, is_public))
            return true;
    return false;
}

struct history_check *history_find_or_add(struct history *history, const char *name, const char *type, bool is_public)
{
    for (size_t i = 0; i < history->check_count; i++)
        if (is_of(history->checks[i], name, type, is_public))
            return history->checks[i];
    history->checks = mem_realloc(history->checks, (history->check_count + 1) * sizeof *history->checks);
    return history->checks[history->check_count++] = history_check_new(name, type, is_public);
}

void history_keep_checks(struct history *history, const struct check_view *const *checks, size_t count)
{
    size_t left = 0;

    for (size_t i = 0; i < history->check_count; i++) {
        struct history_check *kept = history->checks[i];
        bool found = false;

        for (size_t j = 0; j < count && !found; j++)
            found = is_of(kept, checks[j]->name, checks[j]->type, check_is_public(checks[j]));
        if (found)
            history->checks[left++] = kept;
        else
            history_check_free(kept);
    }
    history->check_count = left;
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

struct history *history_new(void)
{
    return mem_alloc(sizeof(struct history));
}

static void clear(struct history *history)
{
    for (size_t i = 0; i < history->change_count; i++)
        free_texts(history->changes[i].sentence, history->changes[i].plain);
    for (size_t i = 0; i < history->incident_count; i++)
        free_texts(history->incidents[i].sentence, history->incidents[i].plain);
    for (size_t i = 0; i < history->check_count; i++)
        history_check_free(history->checks[i]);
    mem_free(history->checks);
}

void history_free(struct history *history)
{
    if (history)
        clear(history);
    mem_free(history);
}

void history_prepend(struct history *history, struct history *old, int64_t seen_ms)
{
    struct history now = *history;

    if (old->open && !old->seen_ms)
        old->seen_ms = seen_ms;
    for (size_t i = 0; i < now.change_count; i++)
        history_note_change(old, &now.changes[i]);
    for (size_t i = 0; i < now.check_count; i++) {
        const struct history_check *check = now.checks[i];

        history_check_add(history_find_or_add(old, check->name, check->type, check->is_public), check);
    }
    *history = *old;
    clear(&now);
    mem_free(old);
}
