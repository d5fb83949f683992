/*
 * When a change of the verdict is told (agent/report/story.h). Called by the agent with every change of its view. Promises one line
 * for each change of /ready, of degraded and of /live, however short; none for a cause that has lasted for less than
 * STORY_SETTLE_MS; and that each change of a check is in one line, of the verdict if it fits to that. A check that has failed is not
 * told in the line of a recovery: that has a lower level, and may be filtered out.
 */
#include "agent/report/story.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/report/report.h"
#include "agent/report/report_impl.h"

static bool same_verdict(const struct story_state *a, const struct story_state *b)
{
    return a->ready == b->ready && a->degraded == b->degraded && a->live == b->live && strcmp(a->word, b->word) == 0;
}

static bool same(const struct story_state *a, const struct story_state *b)
{
    return same_verdict(a, b) && strcmp(a->cause, b->cause) == 0;
}

static void state_of(const struct agent_view *view, struct story_state *state)
{
    const struct verdict *verdict = &view->verdict;

    state->word = report_word(view, REPORT_READY);
    state->ready = verdict->ready;
    state->degraded = verdict->degraded;
    state->live = verdict->live;
    state->cause = view->diagnosis.cause;
}

/* Only for what is kept: most rounds change nothing. Where the instance is ready again, a fault that is left gates nothing: it is named as a
 * remark, not as the reason. */
static void put_sentences(const struct agent_view *view, struct story_state *state)
{
    bool well = state->ready && !state->degraded && view->verdict.status != RESULT_PASS;
    const char *before = well ? "Every check that gates readiness passes. Only reported: " : "";

    snprintf(state->sentence, sizeof state->sentence, "%s%s", before, view->diagnosis.sentence);
    snprintf(state->plain, sizeof state->plain, "%s%s", before, view->diagnosis.plain);
}

static bool is_bad(const struct story_check *check)
{
    return check->state != STATE_PASS;
}

static bool is_before(const struct story_check *a, const struct story_check *b)
{
    return a->state != b->state ? a->state > b->state : a->place < b->place;
}

/* Those that fail, then those that warn, then those that pass, each as the configuration has them. Few. */
static void sort(struct story_check *checks, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct story_check check = checks[i];
        size_t at = i;

        for (; at > 0 && is_before(&check, &checks[at - 1]); at--)
            checks[at] = checks[at - 1];
        checks[at] = check;
    }
}

/* What is left to tell of the checks while a change is told: bad ones begin the list, the others end it. */
struct telling {
    struct story *story;
    size_t bad_from, bad, good_from, good;
};

static void tell(struct telling *telling, enum event event, size_t from, size_t count, bool with_cause)
{
    struct story *story = telling->story;
    const struct story_line line = { event, &story->told, &story->next, story->checks + from, count, with_cause };

    story->tell(story->user, &line);
}

/* A change of the verdict takes the checks with it that turned the same way. */
static void tell_verdict(struct telling *telling, enum event event, bool well)
{
    tell(telling, event, well ? telling->good_from : telling->bad_from, well ? telling->good : telling->bad, true);
    if (well)
        telling->good = 0;
    else
        telling->bad = 0;
}

/* The checks that no change of the verdict has taken. True: the first line tells the cause as well. */
static bool tell_checks(struct telling *telling, bool cause)
{
    const struct story_check *checks = telling->story->checks;
    size_t from = telling->bad_from, end = from + telling->bad, fails = 0;
    bool with_cause = cause;

    while (from + fails < end && checks[from + fails].state == STATE_FAIL)
        fails++;
    if (fails) {
        tell(telling, EVENT_CHECK_FAIL, from, fails, with_cause);
        with_cause = false;
    }
    if (end > from + fails) {
        tell(telling, EVENT_CHECK_WARN, from + fails, end - from - fails, with_cause);
        with_cause = false;
    }
    if (telling->good) {
        tell(telling, EVENT_CHECK_PASS, telling->good_from, telling->good, with_cause);
        with_cause = false;
    }
    return cause && !with_cause;
}

static void forget_checks(struct story *story)
{
    for (size_t i = 0; i < story->check_count; i++) {
        mem_free(story->checks[i].name);
        mem_free(story->checks[i].message);
    }
    story->check_count = 0;
}

void story_due(struct story *story)
{
    const struct story_state *was = &story->told, *is = &story->next;
    struct telling telling = { .story = story };
    bool cause;

    if (!story->pending)
        return;
    story->pending = false;
    sort(story->checks, story->check_count);
    while (telling.bad < story->check_count && is_bad(&story->checks[telling.bad]))
        telling.bad++;
    telling.good_from = telling.bad;
    telling.good = story->check_count - telling.bad;
    if (is->ready != was->ready)
        tell_verdict(&telling, is->ready ? EVENT_READY : EVENT_NOT_READY, is->ready);
    if (is->degraded && !was->degraded)
        tell_verdict(&telling, EVENT_DEGRADED, false);
    else if (is->ready && was->ready && !is->degraded && was->degraded)
        tell_verdict(&telling, EVENT_RESTORED, true);
    if (is->live != was->live)
        tell_verdict(&telling, is->live ? EVENT_LIVE : EVENT_DEAD, is->live);
    cause = is->ready == was->ready && is->degraded == was->degraded &&
            (strcmp(is->cause, was->cause) != 0 || strcmp(is->word, was->word) != 0);
    bool said = tell_checks(&telling, cause);
    if (cause)
        tell(&telling, EVENT_CAUSE, 0, 0, !said);
    story->told = story->next;
    forget_checks(story);
}

static bool waits(const struct story *story, const struct check_view *check)
{
    for (size_t i = 0; i < story->check_count; i++)
        if (strcmp(story->checks[i].name, check->name) == 0 && strcmp(story->checks[i].path, check->path) == 0)
            return true;
    return false;
}

static void keep(struct story *story, const struct agent_view *view, const struct check_view *check)
{
    size_t place = 0;

    while (place < view->check_count && view->checks[place] != check)
        place++;
    if (story->check_count == story->check_room) {
        story->check_room = story->check_room * 2 + 4;
        story->checks = mem_realloc(story->checks, story->check_room * sizeof *story->checks);
    }
    story->checks[story->check_count++] = (struct story_check){ .name = mem_strdup(check->name),
                                                                .message = mem_strdup(check->message),
                                                                .type = check->type,
                                                                .path = check->path,
                                                                .state = check->health.state,
                                                                .reason = check->reason,
                                                                .phase = check->phase,
                                                                .place = place };
}

/* Must what waits be told before this? Otherwise a change would be lost. */
static bool comes_after(const struct story *story, const struct story_state *now, const struct check_view *changed)
{
    bool turned = !same_verdict(&story->told, &story->next) && !same_verdict(&story->next, now);

    return story->pending && (turned || (changed && waits(story, changed)));
}

static void wait_for_more(struct story *story, uint64_t now_ms)
{
    uint64_t last_ms = story->first_ms + STORY_MAX_MS;

    if (!story->pending) {
        story->first_ms = now_ms;
        last_ms = now_ms + STORY_MAX_MS;
    }
    story->pending = true;
    story->due_ms = now_ms + STORY_SETTLE_MS < last_ms ? now_ms + STORY_SETTLE_MS : last_ms;
}

/* Since when it is so: what waits may have begun with a check, or with another cause only. */
static int64_t since_of(const struct story *story, const struct story_state *now, int64_t wall_ms)
{
    if (same(&story->told, now))
        return story->told.at_ms;
    return story->pending && same_verdict(&story->next, now) && !same(&story->told, &story->next) ? story->next.at_ms : wall_ms;
}

bool story_update(struct story *story, const struct agent_view *view, const struct check_view *changed, uint64_t now_ms,
                  int64_t wall_ms)
{
    struct story_state now;

    state_of(view, &now);
    now.at_ms = wall_ms;
    if (!story->begun) {
        story->begun = true;
        put_sentences(view, &now);
        story->told = now;
        return false;
    }
    if (comes_after(story, &now, changed))
        story_due(story);
    if (changed)
        keep(story, view, changed);
    if (same(&story->told, &now) && story->check_count == 0) {
        story->pending = false;
        return false;
    }
    now.at_ms = since_of(story, &now, wall_ms);
    if (!story->pending || changed || !same(&story->next, &now))
        wait_for_more(story, now_ms);
    put_sentences(view, &now);
    story->next = now;
    return true;
}

void story_fini(struct story *story)
{
    forget_checks(story);
    mem_free(story->checks);
    story->checks = NULL;
    story->check_room = 0;
}
