/*
 * When a change of the verdict is told (agent/report/story.h). Called by the agent with every change of its view. Promises one line
 * for each change of /ready, of degraded and of /live, however short; and none for a cause that has lasted for less than
 * STORY_SETTLE_MS.
 */
#include "agent/report/story.h"

#include <stdio.h>
#include <string.h>

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

static void tell(struct story *story, enum event event)
{
    const struct story_line line = { event, &story->told, &story->next };

    story->tell(story->user, &line);
}

void story_due(struct story *story)
{
    const struct story_state *was = &story->told, *is = &story->next;

    if (!story->pending)
        return;
    story->pending = false;
    if (is->ready != was->ready)
        tell(story, is->ready ? EVENT_READY : EVENT_NOT_READY);
    if (is->degraded && !was->degraded)
        tell(story, EVENT_DEGRADED);
    else if (is->ready && was->ready && !is->degraded && was->degraded)
        tell(story, EVENT_RESTORED);
    if (is->ready == was->ready && is->degraded == was->degraded &&
        (strcmp(is->cause, was->cause) != 0 || strcmp(is->word, was->word) != 0))
        tell(story, EVENT_CAUSE);
    if (is->live != was->live)
        tell(story, is->live ? EVENT_LIVE : EVENT_DEAD);
    story->told = story->next;
}

bool story_update(struct story *story, const struct agent_view *view, uint64_t now_ms, int64_t wall_ms)
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
    if (story->pending && !same_verdict(&story->next, &now))
        story_due(story);
    if (same(&story->told, &now)) {
        story->pending = false;
        return false;
    }
    if (!story->pending)
        story->due_ms = now_ms + STORY_SETTLE_MS;
    else
        now.at_ms = story->next.at_ms;
    story->pending = true;
    put_sentences(view, &now);
    story->next = now;
    return true;
}
