/*
 * Owns the writing of a diagnosis: sentences that end in good order where there is no more room, holes of rules, advice, checks to blame.
 * Called by diagnose.c, which decides what is said.
 */
#include <stdio.h>
#include <string.h>

#include "agent/report/diagnose_impl.h"

/* Adds to a text of that size. Where it is full, it ends between characters and shows it by "…"; what would follow is lost. */
static void add(char *to, size_t size, const char *text)
{
    size_t len = strlen(to), room = size - 1 - len, more = strlen(text);
    bool cut = room < sizeof "…" && len >= strlen("…") && strcmp(to + len - strlen("…"), "…") == 0;
    if (cut)
        return;
    memcpy(to + len, text, more < room ? more : room);
    to[len + (more < room ? more : room)] = '\0';
    if (more <= room)
        return;
    size_t at = size - sizeof "…";
    while (at > 0 && ((unsigned char)to[at] & 0xc0) == 0x80)
        at--;
    memcpy(to + at, "…", sizeof "…");
}

void diagnosis_say(struct diagnosis *out, const char *text)
{
    add(out->sentence, sizeof out->sentence, text);
}

/* For the one who sees no messages of checks, and so no addresses. */
void diagnosis_say_hidden(struct diagnosis *out, const char *text)
{
    add(out->plain, sizeof out->plain, text);
}

/* For both readers. */
void diagnosis_say_plain(struct diagnosis *out, const char *text)
{
    add(out->plain, sizeof out->plain, text);
    diagnosis_say(out, text);
}

/* The text behind the hole that begins here, and what goes into it; NULL: none does. Anything else in braces is the text's own. */
static const char *hole_at(const char *text, const struct rule_holes *holes, const char **value)
{
    const struct {
        const char *name, *value;
    } known[] = {
        { "{broker}", holes->broker }, { "{where}", holes->where }, { "{length}", holes->length }, { "{peer}", holes->peer }
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(text, known[i].name, strlen(known[i].name)) == 0) {
            *value = known[i].value;
            return text + strlen(known[i].name);
        }
    return NULL;
}

void diagnosis_say_rule(struct diagnosis *out, const char *text, const struct rule_holes *holes)
{
    char part[DIAGNOSIS_PLAIN_MAX];
    while (*text) {
        const char *value, *behind = hole_at(text, holes, &value);
        size_t len = behind ? 0 : 1 + strcspn(text + 1, "{");
        snprintf(part, sizeof part, "%.*s", (int)len, text);
        diagnosis_say_plain(out, behind ? value : part);
        text = behind ? behind : text + len;
    }
}

/* " (echo: no message within 2s)" */
static void say_message(struct diagnosis *out, const struct check_view *check, const struct check_fault *fault)
{
    diagnosis_say(out, check->name);
    diagnosis_say(out, ": ");
    diagnosis_say(out, *fault->message ? fault->message : reason_name(fault->reason));
}

void diagnosis_say_fault(struct diagnosis *out, const struct check_view *check, const struct check_fault *fault)
{
    diagnosis_say_faults(out, check, fault, NULL);
}

void diagnosis_say_faults(struct diagnosis *out, const struct check_view *check, const struct check_fault *fault,
                          const struct check_view *beside)
{
    struct check_fault other;
    diagnosis_say(out, " (");
    say_message(out, check, fault);
    if (beside && check_fault_of(beside, &other)) {
        diagnosis_say(out, "; ");
        say_message(out, beside, &other);
    }
    diagnosis_say(out, ")");
}

void diagnosis_advise(struct diagnosis *out, const char *advice)
{
    if (advice && out->advice_count < DIAGNOSIS_ADVICE_MAX)
        out->advice[out->advice_count++] = advice;
}

void diagnosis_blame(struct diagnosis *out, const struct check_view *check)
{
    for (size_t i = 0; i < out->because_count; i++)
        if (out->because[i] == check->name)
            return;
    if (out->because_count < DIAGNOSIS_BECAUSE_MAX)
        out->because[out->because_count++] = check->name;
    else
        out->because_more = true;
}
