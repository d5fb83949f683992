/*
 * A change as a line of the log (agent/report/story.h). Called by the agent for every line that the story tells. Promises that the line
 * names the checks of the change, each under its reason, as far as NAMES_MAX goes; the others are counted, and /status has them all.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/buf.h"
#include "agent/report/story.h"

enum { NAMES_MAX = 1200, MORE_MAX = 32 };

static bool is_first_of_reason(const struct story_check *checks, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (checks[i].reason == checks[at].reason)
            return false;
    return true;
}

/* "connect_refused: handshake, ping; slow: echo", or "handshake, ping" of those that pass. Returns how many had no room. */
static size_t put_reason(struct buf *text, const struct story_check *checks, size_t count, size_t first, bool named)
{
    const char *before = "";
    size_t left_out = 0;

    if (named)
        buf_printf(text, "%s%s: ", text->len ? "; " : "", reason_name(checks[first].reason));
    for (size_t i = first; i < count; i++) {
        if (named && checks[i].reason != checks[first].reason)
            continue;
        if (text->len + strlen(checks[i].name) + MORE_MAX > NAMES_MAX) {
            left_out++;
            continue;
        }
        buf_printf(text, "%s%s", before, checks[i].name);
        before = ", ";
    }
    return left_out;
}

static void put_names(struct buf *text, const struct story_check *checks, size_t count, bool named)
{
    size_t left_out = 0;

    for (size_t i = 0; i < count; i++)
        if (named ? is_first_of_reason(checks, i) : i == 0)
            left_out += put_reason(text, checks, count, i, named);
    if (left_out)
        buf_printf(text, " and %zu more", left_out);
}

static bool is_of_checks(enum event event)
{
    return event == EVENT_CHECK_FAIL || event == EVENT_CHECK_WARN || event == EVENT_CHECK_PASS;
}

static void log_one(const struct story_line *line, const char *cause, const char *was)
{
    const struct story_check *check = line->checks;
    bool bad = check->state != STATE_PASS;
    const char *message = is_of_checks(line->event) ? (bad ? check->message : NULL) : line->is->sentence;

    event_log(line->event, "check", check->name, "type", check->type, "path", check->path, "reason",
              bad ? reason_name(check->reason) : NULL, "phase", bad ? phase_name(check->phase) : NULL, "cause", cause, "was", was,
              "message", message, NULL);
}

static void log_many(const struct story_line *line, const char *cause, const char *was)
{
    const struct story_check *checks = line->checks;
    bool bad = checks[0].state != STATE_PASS, own = is_of_checks(line->event) && !line->with_cause;
    struct buf names = BUF_INIT(NAMES_MAX + 1), warned = BUF_INIT(NAMES_MAX + 1), message = BUF_INIT(1024);
    size_t fails = 0;
    char count[24];

    while (fails < line->check_count && checks[fails].state == STATE_FAIL)
        fails++;
    put_names(&names, checks, bad ? fails : line->check_count, bad);
    if (bad)
        put_names(&warned, checks + fails, line->check_count - fails, true);
    if (own && bad) /* one of them speaks for all */
        buf_printf(&message, "%s: %s", checks[0].name, checks[0].message);
    else if (!own)
        buf_append_str(&message, line->is->sentence);
    snprintf(count, sizeof count, "%zu", line->check_count);
    event_log(line->event, "cause", cause, "was", was, "checks", count, bad ? "failed" : "passed",
              names.len ? buf_str(&names) : NULL, "warned", warned.len ? buf_str(&warned) : NULL, "message",
              message.len ? buf_str(&message) : NULL, NULL);
    buf_fini(&names);
    buf_fini(&warned);
    buf_fini(&message);
}

void story_log(const struct story_line *line)
{
    const char *cause = line->with_cause ? line->is->cause : NULL;
    const char *was = cause && strcmp(line->was->cause, line->is->cause) != 0 ? line->was->cause : NULL;

    if (line->event == EVENT_CAUSE && !line->with_cause)
        return; /* the line of the checks has told it */
    if (line->check_count == 0)
        event_log(line->event, "cause", cause, "was", was, "message", line->is->sentence, NULL);
    else if (line->check_count == 1)
        log_one(line, cause, was);
    else
        log_many(line, cause, was);
}
