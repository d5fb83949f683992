/*
 * What a round of `auth` says (probes/auth.h): the worst of what is known of the valid token, of the bad ones and of the last session that
 * outlived its token. Called by auth.c at the end of a round. Keeps nothing.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "probes/auth.h"

const char *const auth_bad_words[AUTH_BAD_COUNT + 1] = {
    "absent", "garbage", "expired", "wrong_signature", "wrong_audience", NULL
};

enum { WANT_BYTES = 160, NOTES_BYTES = 400 };

bool auth_refused_as_wanted(const struct auth_opts *opts, const struct attempt_outcome *outcome)
{
    if (outcome->end == ATTEMPT_MESSAGE)
        return true;
    return (outcome->end == ATTEMPT_STATUS || outcome->end == ATTEMPT_CLOSED || outcome->end == ATTEMPT_CUT) &&
           opt_in_ranges(&opts->refuse_with.codes, outcome->code);
}

static bool is_asked(const struct run *run, enum auth_bad bad)
{
    return auth_opts_of(run)->reject & 1U << bad;
}

enum auth_bad auth_worst(const struct run *run)
{
    const struct auth_state *state = run->state;
    enum auth_bad worst = AUTH_BAD_COUNT;

    for (int bad = 0; bad < AUTH_BAD_COUNT; bad++) {
        if (!is_asked(run, (enum auth_bad)bad))
            continue;
        if (state->trials[bad].found == AUTH_TAKEN)
            return (enum auth_bad)bad;
        if ((state->trials[bad].found == AUTH_OTHERWISE || state->trials[bad].found == AUTH_SILENT) && worst == AUTH_BAD_COUNT)
            worst = (enum auth_bad)bad;
    }
    return worst;
}

/* "401, 403, 1008, 4000-4999" */
static void describe_codes(const struct opt_ranges *codes, char *out, size_t size)
{
    size_t at = 0;

    *out = '\0';
    for (size_t i = 0; i < codes->count && at < size; i++) {
        const struct opt_range *range = &codes->items[i];

        at += (size_t)snprintf(out + at, size - at, "%s%lld", i ? ", " : "", (long long)range->low);
        if (range->high != range->low && at < size)
            at += (size_t)snprintf(out + at, size - at, "-%lld", (long long)range->high);
    }
}

static void finish_bad(struct run *run, enum auth_bad bad)
{
    static const char *const who[] = { [AUTH_ABSENT] = "a client without a token",
                                       [AUTH_GARBAGE] = "a client with garbage in the place of a token",
                                       [AUTH_EXPIRED] = "a token that expired an hour ago",
                                       [AUTH_WRONG_SIGNATURE] = "a token that another key has signed",
                                       [AUTH_WRONG_AUDIENCE] = "a token for another audience" };
    const struct auth_state *state = run->state;
    const struct auth_trial *trial = &state->trials[bad];
    char want[WANT_BYTES], waited[32];
    struct err err;

    describe_codes(&auth_opts_of(run)->refuse_with.codes, want, sizeof want);
    text_format_duration((int64_t)trial->waited_ms, waited, sizeof waited);
    if (trial->found == AUTH_TAKEN) {
        err_set(&err, REASON_AUTH_NOT_ENFORCED, 0, "the server takes %s (%s), want it refused with %s%s%s%s%s%s%s", who[bad],
                auth_bad_words[bad], want, trial->waited_ms ? " within " : "", trial->waited_ms ? waited : "",
                trial->waited_ms ? " (refuse_within)" : "", *trial->said ? "; it says \"" : "", trial->said,
                *trial->said ? "\": if that refuses, set refuse_with.match" : "");
        run->report.phase = PHASE_OPEN;
        if (trial->sure)
            run_finish_err(run, &err);
        else
            run_warn(run, err.reason, "%s; it is given more time once before this is a fault", err.text);
        return;
    }
    if (trial->found == AUTH_SILENT) {
        run->report.phase = PHASE_OPEN;
        run_warn(run, REASON_AUTH_NOT_ENFORCED,
                 "the server neither serves nor refuses %s (%s) within %s: it greets who has a valid token, and says nothing here; "
                 "if it refuses later, set refuse_within",
                 who[bad], auth_bad_words[bad], waited);
        return;
    }
    run->report.phase = reason_phase(trial->err.reason);
    run_warn(run, trial->err.reason, "the server refuses %s (%s) with %s, want one of refuse_with (%s): %s", who[bad],
             auth_bad_words[bad], trial->words, want, trial->err.text);
}

static void finish_expiry(struct run *run, const struct auth_expiry *expiry)
{
    run->report.phase = reason_phase(expiry->fault.reason);
    if (expiry->mild)
        run_warn(run, expiry->fault.reason, "%s", expiry->fault.text);
    else
        run_finish_err(run, &expiry->fault);
}

static void __attribute__((format(printf, 2, 3))) note(char notes[NOTES_BYTES], const char *fmt, ...)
{
    size_t at = strlen(notes);
    va_list args;

    va_start(args, fmt);
    if (at && at + 3 < NOTES_BYTES) {
        memcpy(notes + at, "; ", 3);
        at += 2;
    }
    vsnprintf(notes + at, NOTES_BYTES - at, fmt, args);
    va_end(args);
}

/* "refused: absent (status 401), garbage (status 401)" */
static void note_refused(const struct run *run, char notes[NOTES_BYTES])
{
    const struct auth_state *state = run->state;
    const char *before = "refused: ";
    char list[NOTES_BYTES / 2] = "";
    size_t at = 0, untried = 0;

    for (int bad = 0; bad < AUTH_BAD_COUNT; bad++) {
        const struct auth_trial *trial = &state->trials[bad];

        if (!is_asked(run, (enum auth_bad)bad))
            continue;
        if (trial->found != AUTH_REFUSED) {
            untried++;
            continue;
        }
        if (at < sizeof list)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s (%s)", before, auth_bad_words[bad], trial->words);
        before = ", ";
    }
    if (*list)
        note(notes, "%s", list);
    if (untried)
        note(notes, "%zu more to try", untried);
}

static void finish_well(struct run *run)
{
    static const char *const from[] = {
        [AUTH_FROM_TARGET] = "target.token", [AUTH_FROM_MINT] = "mint", [AUTH_FROM_REFRESH] = "refresh.url"
    };
    const struct auth_state *state = run->state;
    const struct auth_opts *opts = auth_opts_of(run);
    char notes[NOTES_BYTES] = "", needs[32];

    if (state->taken)
        note(notes, "a valid token (%s) is taken", from[state->from]);
    else if (opts->accept && state->from == AUTH_FROM_NOWHERE)
        note(notes, "no token is configured (target.token, mint or refresh), so only bad ones are tried");
    note_refused(run, notes);
    if (state->expiry.judged)
        note(notes, "%s", state->expiry.words);
    if (state->short_of_wait)
        note(notes, "no refusal came before the round was over: give it a timeout that is longer than refuse_within");
    text_format_duration(opts->expiry.ttl_ms + opts->expiry.within_ms + 2 * (int64_t)ATTEMPT_SETTLE_MAX_MS, needs, sizeof needs);
    if (state->short_of_time)
        note(notes, "expiry was not tried, as the timeout is too short for one round: give --timeout %s", needs);
    run_pass(run, "%s", notes);
}

void auth_conclude(struct run *run)
{
    const struct auth_state *state = run->state;
    const struct auth_expiry *expiry = &state->expiry;
    enum auth_bad worst = auth_worst(run);

    if (worst < AUTH_BAD_COUNT && state->trials[worst].found == AUTH_TAKEN)
        finish_bad(run, worst);
    else if (expiry->fault.reason != REASON_NONE && !expiry->mild)
        finish_expiry(run, expiry);
    else if (worst < AUTH_BAD_COUNT)
        finish_bad(run, worst);
    else if (expiry->fault.reason != REASON_NONE)
        finish_expiry(run, expiry);
    else
        finish_well(run);
}
