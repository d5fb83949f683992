/*
 * `origin`: the configured Origin is taken, and others are refused, so that no foreign page can use a visitor's login (cross-site WebSocket
 * hijacking; RFC 6455, 10.2). Each round asks with the configured Origin. The others, its look-alikes among them, take turns at a slow pace of
 * their own (`pace`): what refuses them may count refusals. What was found of each is remembered, and the verdict is the worst of it.
 *
 * A refusal of the configured Origin may have other reasons, a token above all. So it is asked once more without any Origin: only where that
 * is taken, or the server's words are about the Origin, the reason is origin_rejected.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/base/trace.h"
#include "agent/client/backoff.h"
#include "agent/core/attempt.h"
#include "agent/core/ban.h"
#include "agent/proto/url.h"
#include "agent/proto/words.h"
#include "probes/registry.h"

enum { TRIALS_MAX = 40, REFUSE_MAX = 16, ORIGIN_MAX = 512, WORDS_MAX = 40 };
enum wish { WISH_REFUSE, WISH_ACCEPT, WISH_IGNORE };

struct origin_opts {
    char *accept;
    struct opt_strings refuse;
    bool lookalikes;
    int null, absent; /* enum wish */
    int64_t pace_ms;
};

enum found { FOUND_NOTHING, FOUND_TAKEN, FOUND_REFUSED };

/* One Origin beside the configured one. */
struct trial {
    char *origin; /* NULL: none */
    bool wanted;  /* it is to be taken */
    bool mild;    /* a server may have a reason to take it: a warning */
    const char *what;
    enum found found;
    char words[WORDS_MAX]; /* how it was refused */
};

enum stage { STAGE_OWN, STAGE_CONTROL, STAGE_TRIAL };

struct origin_state {
    struct attempt attempt;
    struct trial trials[TRIALS_MAX];
    size_t count, next, trying; /* of trials: next in turn, and under way */
    size_t asked;               /* of the round */
    enum stage stage;
    bool begun, over, taken; /* of the round: its deadline has passed; the configured Origin was taken */
    uint64_t next_ns;        /* no trial before that */
    struct err refusal;
    struct ban ban;
};

static const struct origin_opts *opts_of(const struct run *run)
{
    return run->opts;
}

/* The Origin that is to be taken, or NULL. That of target.headers may hold ${file:…}: then it is not known here. */
static const char *own_origin(const struct run *run)
{
    const char *header = opt_pairs_get(&run->target->headers, "Origin");

    if (opts_of(run)->accept)
        return opts_of(run)->accept;
    return run->target->origin ? run->target->origin : header && !opt_is_dynamic(header) ? header : NULL;
}

/* --- what is tried --- */

/* `origin` is taken over; NULL: none. */
static struct trial *add_trial(struct origin_state *state, char *origin, const char *what)
{
    struct trial *trial = &state->trials[state->count++];

    panic_if(state->count > TRIALS_MAX);
    *trial = (struct trial){ .origin = origin, .what = what };
    return trial;
}

/* A name that belongs to nobody (RFC 2606, RFC 6761), so that one with something before it belongs to nobody either. */
static bool is_nobodys(const char *host)
{
    static const char *const ends[] = { ".test", ".invalid", ".example", ".localhost" };

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t len = strlen(host), end = strlen(ends[i]);

        if (len > end && strcasecmp(host + len - end, ends[i]) == 0)
            return true;
    }
    return false;
}

/*
 * What a comparison that is too loose takes for the configured Origin. Names are made up under .test only: the server may look them up. Where
 * only the host is compared, as several libraries do, the last two pass: that is a warning.
 */
static void add_lookalikes(struct origin_state *state, const char *own)
{
    const char *host = strstr(own, "://");
    char *scheme, *name;
    size_t len;

    if (!host || host == own)
        return;
    scheme = mem_strndup(own, (size_t)(host - own));
    host += 3;
    len = *host == '[' ? strcspn(host, "]") + strlen(strchr(host, ']') ? "]" : "") : strcspn(host, ":");
    name = mem_strndup(host, len);
    if (*name != '[')
        add_trial(state, mem_printf("%s://%s.wshealthd.test", scheme, name), "its name with another behind it");
    if (is_nobodys(name))
        add_trial(state, mem_printf("%s://wshealthd-%s", scheme, name), "its name with another before it");
    add_trial(state, mem_printf("%s://%s@wshealthd.test", scheme, name), "its name as the user of another");
    if (strcasecmp(scheme, "https") == 0)
        add_trial(state, mem_printf("http://%s", host), "the same without TLS")->mild = true;
    add_trial(state, mem_printf("%s://%s:%s", scheme, name, strcmp(host + len, ":8443") == 0 ? "9443" : "8443"),
              "the same with another port")
        ->mild = true;
    mem_free(scheme);
    mem_free(name);
}

static void add_wish(struct origin_state *state, int wish, const char *origin, const char *what)
{
    if (wish != WISH_IGNORE)
        add_trial(state, origin ? mem_strdup(origin) : NULL, what)->wanted = wish == WISH_ACCEPT;
}

static void add_trials(struct run *run)
{
    struct origin_state *state = run->state;
    const struct origin_opts *opts = opts_of(run);

    for (size_t i = 0; i < opts->refuse.count; i++)
        add_trial(state, mem_strdup(opts->refuse.items[i]), "a foreign one");
    if (opts->lookalikes && own_origin(run))
        add_lookalikes(state, own_origin(run));
    add_wish(state, opts->null, "null", "that of a sandboxed frame or a local file");
    add_wish(state, opts->absent, NULL, "none at all");
}

static const char *trial_name(const struct trial *trial)
{
    return trial->origin ? trial->origin : "(none)";
}

/* --- the verdict --- */

static bool is_fault(const struct trial *trial)
{
    return trial->found == (trial->wanted ? FOUND_REFUSED : FOUND_TAKEN);
}

/* The worst that is known. NULL: nothing. */
static const struct trial *find_fault(const struct origin_state *state)
{
    const struct trial *worst = NULL;

    for (size_t i = 0; i < state->count; i++)
        if (is_fault(&state->trials[i]) && (!worst || (worst->mild && !state->trials[i].mild)))
            worst = &state->trials[i];
    return worst;
}

static void finish_fault(struct run *run, const struct trial *fault)
{
    const char *own = own_origin(run), *name = trial_name(fault);

    run->report.phase = PHASE_UPGRADE;
    if (fault->wanted)
        run_finish(run, REASON_ORIGIN_REJECTED, "the server refuses Origin %s (%s) with %s, and the check wants it taken", name,
                   fault->what, fault->words);
    else if (fault->mild)
        run_warn(run, REASON_ORIGIN_NOT_ENFORCED,
                 "the server takes Origin %s (%s) like %s: it compares the host alone, or less (lookalikes: false does without)",
                 name, fault->what, own ? own : "any other");
    else if (own)
        run_finish(run, REASON_ORIGIN_NOT_ENFORCED,
                   "the server takes Origin %s (%s), and should take %s alone: a page from there can "
                   "use its visitors' logins",
                   name, fault->what, own);
    else
        run_finish(run, REASON_ORIGIN_NOT_ENFORCED,
                   "the server takes Origin %s (%s): a page from there can use its visitors' logins", name, fault->what);
}

/* "taken: https://a.test; refused: https://origin.invalid (status 403) and 4 others, of 6": what is known. */
static void finish_well(struct run *run)
{
    const struct origin_state *state = run->state;
    const struct trial *first = NULL;
    const char *own = own_origin(run);
    size_t refused = 0, known = 0;
    char tail[80] = "";

    for (size_t i = 0; i < state->count; i++) {
        known += state->trials[i].found != FOUND_NOTHING;
        refused += state->trials[i].found == FOUND_REFUSED;
        if (!first && state->trials[i].found == FOUND_REFUSED)
            first = &state->trials[i];
    }
    if (refused > 1)
        snprintf(tail, sizeof tail, " and %zu other%s", refused - 1, refused > 2 ? "s" : "");
    if (known < state->count)
        snprintf(tail + strlen(tail), sizeof tail - strlen(tail), "; %zu more to try", state->count - known);
    if (own)
        run_pass(run, "Origin %s is taken%s%s%s%s%s%s", own, first ? "; refused: " : "", first ? trial_name(first) : "",
                 first ? " (" : "", first ? first->words : "", first ? ")" : "", tail);
    else
        run_pass(run, "no Origin is configured (target.origin), so only others are asked%s%s%s%s%s%s", first ? "; refused: " : "",
                 first ? trial_name(first) : "", first ? " (" : "", first ? first->words : "", first ? ")" : "", tail);
}

static void conclude(struct run *run)
{
    const struct trial *fault = find_fault(run->state);

    if (fault)
        finish_fault(run, fault);
    else
        finish_well(run);
}

/* --- a round --- */

static void start(struct run *run, enum stage stage, bool sets, const char *origin)
{
    struct origin_state *state = run->state;
    struct attempt_options options = { .what = run->conf->name, .override = { .sets_origin = sets, .origin = origin } };
    struct err err;

    state->stage = stage;
    trace_note(run->trace, TRACE_NOTE, "%s Origin",
               stage == STAGE_OWN ? "the configured"
               : sets && !origin  ? "without"
                                  : "another");
    if (attempt_start(&state->attempt, &options, &err) < 0)
        attempt_finish(&state->attempt, &err);
}

/*
 * Which trial is due, or `count`. All of them are in the only round of `check`, to the first fault. Else it is the next one in turn, once in
 * `pace`; and between two turns one that was taken last time, which nobody counts as an attack.
 */
static size_t due(const struct run *run)
{
    const struct origin_state *state = run->state;
    const struct trial *fault = find_fault(state);

    if (run->once)
        return state->asked < state->count && !(fault && !fault->mild) ? state->next : state->count;
    if (state->over || state->asked || !state->count)
        return state->count;
    if (clock_now_ns() >= state->next_ns)
        return state->next;
    return fault && !fault->wanted ? (size_t)(fault - state->trials) : state->count;
}

static void go_on(struct run *run)
{
    struct origin_state *state = run->state;
    size_t trying = due(run);

    if (state->over || trying == state->count) {
        conclude(run);
        return;
    }
    state->trying = trying;
    state->asked++;
    if (run->once || clock_now_ns() >= state->next_ns) {
        state->next_ns = clock_now_ns() + (uint64_t)opts_of(run)->pace_ms * run_versions(run) * NS_PER_MS;
        state->next = (state->next + 1) % state->count;
    }
    start(run, STAGE_TRIAL, true, state->trials[trying].origin);
}

/* Is it the Origin that it was refused for, and not a token, a path or a fault of the server's? */
static bool may_be_origin(const struct attempt_outcome *outcome)
{
    if (outcome->end == ATTEMPT_STATUS)
        return outcome->code >= 400 && outcome->code < 500 && outcome->code != 401 && outcome->code != ATTEMPT_TOO_MANY;
    return outcome->end != ATTEMPT_FAILED;
}

static bool speaks_of_origin(const struct attempt *attempt, const struct err *err)
{
    return words_mention(slice_str(err->text), "origin") &&
           !(attempt->report.http_status == 403 && words_mention(slice_str(err->text), "token"));
}

static void own_taken(struct run *run)
{
    struct origin_state *state = run->state;
    uint64_t pause_ms = ban_note_taken(&state->ban);

    if (pause_ms)
        state->next_ns = clock_now_ns() + pause_ms * NS_PER_MS;
    go_on(run);
}

/* Before it was taken, and since then others were refused: the server, or what stands before it, may have locked the agent out. */
static void warn_of_ban(struct run *run, const struct err *err)
{
    const struct origin_state *state = run->state;
    char span[32];

    text_format_duration((int64_t)ban_pause_ms(&state->ban), span, sizeof span);
    run->report.phase = PHASE_UPGRADE;
    run_warn(
        run, REASON_RATE_LIMITED,
        "the server took Origin %s until the agent tried foreign ones, and refuses it since (%s): it may lock out who is refused "
        "too often, and then this is the probe's own doing; once it is taken again, no foreign one is tried for %s",
        own_origin(run) ? own_origin(run) : "(configured)", err->text, span);
}

static void take_own(struct run *run, const struct attempt_outcome *outcome)
{
    struct origin_state *state = run->state;

    attempt_report(&state->attempt);
    state->taken = outcome->end == ATTEMPT_TAKEN || outcome->end == ATTEMPT_OPEN;
    if (state->taken) {
        own_taken(run);
    } else if (may_be_origin(outcome) && ban_note_refused(&state->ban, clock_now_ns())) {
        warn_of_ban(run, outcome->err);
    } else if (!may_be_origin(outcome) || state->over) {
        attempt_finish(&state->attempt, outcome->err);
    } else {
        state->refusal = *outcome->err;
        start(run, STAGE_CONTROL, true, NULL);
    }
}

/* The same without an Origin. */
static void take_control(struct run *run, const struct attempt_outcome *outcome)
{
    struct origin_state *state = run->state;
    bool taken = outcome->end == ATTEMPT_TAKEN || outcome->end == ATTEMPT_OPEN;

    if (!taken && !speaks_of_origin(&state->attempt, &state->refusal)) {
        attempt_finish(&state->attempt, &state->refusal);
        return;
    }
    run->report.phase = PHASE_UPGRADE;
    run_finish(run, REASON_ORIGIN_REJECTED, "the server refuses Origin %s: %s%s",
               own_origin(run) ? own_origin(run) : "(configured)", state->refusal.text,
               taken ? "; without an Origin it takes the same client" : "");
}

/* The server counts: no more of this for a while. */
static void pause_trials(struct run *run)
{
    struct origin_state *state = run->state;
    uint64_t pause_ms = attempt_pause_ms(&state->attempt);
    char text[32];

    state->next_ns = clock_now_ns() + pause_ms * NS_PER_MS;
    text_format_duration((int64_t)pause_ms, text, sizeof text);
    run->report.phase = PHASE_UPGRADE;
    run_warn(run, REASON_RATE_LIMITED, "status 429 for Origin %s: no foreign Origin is tried for %s",
             trial_name(&state->trials[state->trying]), text);
}

/* It says nothing about the Origin. Where the configured one was taken a moment ago, it is no fault of the server's for its users either. */
static void no_answer(struct run *run, const struct attempt_outcome *outcome)
{
    const struct origin_state *state = run->state;

    run->report.phase = reason_phase(outcome->err->reason);
    if (state->taken)
        run_warn(run, outcome->err->reason, "Origin %s is neither taken nor refused: %s", trial_name(&state->trials[state->trying]),
                 outcome->err->text);
    else
        attempt_finish(&state->attempt, outcome->err);
}

/* A status that any client may get, whatever its Origin: it is to log in, is sent elsewhere, has the wrong path, or the server is unwell. */
static bool is_for_all(int status)
{
    return status < 400 || status == 401 || status == 404 || status == 426 || status >= 500;
}

static void take_trial(struct run *run, const struct attempt_outcome *outcome)
{
    struct origin_state *state = run->state;
    struct trial *trial = &state->trials[state->trying];
    bool nobody = outcome->end == ATTEMPT_STATUS && !state->taken && is_for_all(outcome->code); /* is let in: nothing is learnt */

    if (!state->taken)
        attempt_report(&state->attempt);
    if (outcome->end == ATTEMPT_FAILED) {
        no_answer(run, outcome);
    } else if (outcome->end == ATTEMPT_STATUS && outcome->code == ATTEMPT_TOO_MANY) {
        pause_trials(run);
    } else if (nobody) {
        attempt_finish(&state->attempt, outcome->err);
    } else {
        if (outcome->end != ATTEMPT_OPEN && outcome->end != ATTEMPT_TAKEN)
            ban_note_tried(&state->ban);
        if (outcome->end != ATTEMPT_OPEN)
            trial->found = outcome->end == ATTEMPT_TAKEN ? FOUND_TAKEN : FOUND_REFUSED;
        attempt_words(outcome, trial->words, sizeof trial->words);
        go_on(run);
    }
}

static void on_end(void *user, const struct attempt_outcome *outcome)
{
    struct run *run = user;
    struct origin_state *state = run->state;

    switch (state->stage) {
    case STAGE_OWN:
        take_own(run, outcome);
        return;
    case STAGE_CONTROL:
        take_control(run, outcome);
        return;
    case STAGE_TRIAL:
        take_trial(run, outcome);
        return;
    }
}

static void origin_start(struct run *run)
{
    struct origin_state *state = run->state;
    const char *accept = opts_of(run)->accept;

    if (!state->begun) {
        attempt_init(&state->attempt, run, on_end, run);
        add_trials(run);
        state->begun = true;
    }
    state->over = state->taken = false;
    state->asked = 0;
    run->report.phase = PHASE_RESOLVE;
    if (own_origin(run) || opt_pairs_get(&run->target->headers, "Origin"))
        start(run, STAGE_OWN, accept, accept);
    else if (!run->once && state->count && clock_now_ns() < state->next_ns && !find_fault(state))
        run_skip(run, state->next_ns);
    else
        go_on(run);
}

static void origin_on_deadline(struct run *run)
{
    struct origin_state *state = run->state;

    state->over = true;
    attempt_expire(&state->attempt, (uint64_t)run->conf->timeout_ms);
}

static void origin_stop(struct run *run)
{
    struct origin_state *state = run->state;

    if (!state->begun)
        return;
    attempt_fini(&state->attempt);
    for (size_t i = 0; i < state->count; i++)
        mem_free(state->trials[i].origin);
    memset(state, 0, sizeof *state);
}

/* "https://host" or "https://host:port", as browsers write it (RFC 6454, 6.2). */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");

    return host && host > text && host[3] && !strpbrk(host + 3, "/?# ") && strlen(text) < ORIGIN_MAX / 2;
}

static int origin_validate(const void *opts, struct err *err)
{
    const struct origin_opts *origin = opts;

    if (origin->accept && !is_origin(origin->accept))
        return err_set(err, REASON_NONE, 0, "accept: '%s', want an Origin such as https://chat.example.com, without a path",
                       origin->accept);
    for (size_t i = 0; i < origin->refuse.count; i++) {
        if (!is_origin(origin->refuse.items[i]))
            return err_set(err, REASON_NONE, 0, "refuse: '%s', want an Origin such as https://origin.invalid, without a path",
                           origin->refuse.items[i]);
        if (origin->accept && strcasecmp(origin->accept, origin->refuse.items[i]) == 0)
            return err_set(err, REASON_NONE, 0, "refuse: '%s' is to be accepted as well", origin->accept);
    }
    return 0;
}

static const char *const wishes[] = { "refuse", "accept", "ignore", NULL };

static const struct opt origin_rows[] = {
    { .name = "accept",
      .kind = OPT_STRING,
      .offset = offsetof(struct origin_opts, accept),
      .min = 1,
      .max = ORIGIN_MAX / 2,
      .help =
          "the Origin that must be taken, such as https://chat.example.com; without it, target.origin. Where there is none, only "
          "the others are asked" },
    { .name = "refuse",
      .kind = OPT_STRINGS,
      .offset = offsetof(struct origin_opts, refuse),
      .default_text = "https://origin.invalid",
      .max = REFUSE_MAX,
      .help = "Origins that must be refused, by any status, close code or message" },
    { .name = "lookalikes",
      .kind = OPT_BOOL,
      .offset = offsetof(struct origin_opts, lookalikes),
      .default_text = "true",
      .help =
          "also try what a loose comparison takes for the accepted Origin: its name with .wshealthd.test behind it, its name as "
          "the user of another; and, as a warning, the same with http or another port" },
    { .name = "null",
      .kind = OPT_ENUM,
      .offset = offsetof(struct origin_opts, null),
      .words = wishes,
      .default_text = "refuse",
      .help = "what must become of `Origin: null`, which sandboxed frames and local files send" },
    { .name = "absent",
      .kind = OPT_ENUM,
      .offset = offsetof(struct origin_opts, absent),
      .words = wishes,
      .default_text = "ignore",
      .help = "what must become of a client without an Origin; browsers always send one" },
    { .name = "pace",
      .kind = OPT_DURATION,
      .offset = offsetof(struct origin_opts, pace_ms),
      .default_text = "1m",
      .min = 1000,
      .max = 86400000,
      .help =
          "one Origin beside the accepted one is tried in this time, in turn; a status 429 stops that for ten minutes at least. "
          "The command check tries all of them once" },
    { 0 },
};

const struct probe_type probe_origin = {
    .name = "origin",
    .summary = "The configured Origin is taken, foreign ones and look-alikes are refused (RFC 6455, 10.2)",
    .kind = PROBE_TRIAL,
    .rank = 8,
    .opts = origin_rows,
    .opts_size = sizeof(struct origin_opts),
    .state_size = sizeof(struct origin_state),
    .session = true,
    .series = SERIES_HANDSHAKE | SERIES_FRAMES,
    .reasons = (const enum reason[]){ REASON_ORIGIN_REJECTED, REASON_ORIGIN_NOT_ENFORCED, REASON_ECHO_TIMEOUT, REASON_ECHO_MISMATCH,
                                      REASON_NONE },
    .timeout_reason = REASON_UPGRADE_TIMEOUT,
    .validate = origin_validate,
    .start = origin_start,
    .on_deadline = origin_on_deadline,
    .stop = origin_stop,
};
