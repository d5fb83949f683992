/*
 * `wshealthd drain`: takes the instance out of rotation, and with --wait stays until clients have left. The agent counts them
 * (agent/run/agent_drain.c); this command asks it, one long request after the other (agent/http/drain_wait.h). Called by agent/main.c.
 * Promises never to end early because of what it cannot see: a count that cannot be had, an agent that is gone, or one that has restarted and
 * forgotten that it was draining, which is told again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/program.h"
#include "agent/base/text.h"
#include "agent/cli/cli_ask_impl.h"

enum { ASK_EVERY_MS = 1000, COUNT_MS = 500, RETRY_MS = 250, LINE_EVERY_MS = 1000, STALE_MS = 100, WORD_MAX = 160, SHOWN_MAX = 32 };

struct draining {
    const struct cli *cli;
    struct whom whom;
    uint64_t began_ms, wait_ms, min_ms;
    int64_t until;
    bool terminal; /* stderr is one that can redraw a line */
    /* the last answer */
    bool on, counted;
    uint64_t remaining;
    char seen[WORD_MAX], why[WORD_MAX], agent[WORD_MAX]; /* agent: of the run that was told to drain */
    /* what was shown */
    bool line_open, told_why;
    unsigned unanswered; /* in a row */
    uint64_t shown_ms;
    char shown[WORD_MAX];
};

/* --- what is shown --- */

static void close_line(struct draining *draining)
{
    if (draining->line_open)
        fputs("\r\033[K", stderr);
    draining->line_open = false;
}

static void put_count(const struct draining *draining, char *out, size_t size)
{
    if (draining->counted)
        snprintf(out, size, "%" PRIu64 " client connection%s left", draining->remaining, draining->remaining == 1 ? "" : "s");
    else
        snprintf(out, size, "client connections could not be counted%s%s", *draining->why ? ": " : "", draining->why);
}

static uint64_t left_ms(const struct draining *draining, uint64_t now_ms)
{
    uint64_t end_ms = draining->began_ms + draining->wait_ms;

    return end_ms > now_ms ? end_ms - now_ms : 0;
}

/* A line that is drawn again and again, or else a line when the count has changed, once a second. */
static void show(struct draining *draining, uint64_t now_ms)
{
    char count[2 * WORD_MAX], goal[SHOWN_MAX] = "";
    uint64_t left_s = (left_ms(draining, now_ms) + 999) / 1000;
    bool changed = strcmp(draining->shown, draining->seen) != 0;

    if (!draining->counted ||
        (!draining->terminal && (!changed || (draining->shown_ms && now_ms - draining->shown_ms < LINE_EVERY_MS))))
        return;
    put_count(draining, count, sizeof count);
    if (draining->until)
        snprintf(goal, sizeof goal, " (until %lld)", (long long)draining->until);
    if (draining->terminal)
        fprintf(stderr, "\r%s%s, %llus to go\033[K", count, goal, (unsigned long long)left_s);
    else
        fprintf(stderr, "%s%s, %llus to go\n", count, goal, (unsigned long long)left_s);
    fflush(stderr);
    draining->line_open = draining->terminal;
    draining->shown_ms = now_ms;
    snprintf(draining->shown, sizeof draining->shown, "%s", draining->seen);
}

static void tell_why(struct draining *draining)
{
    char whole[SHOWN_MAX];

    if (draining->counted || !*draining->why || draining->told_why)
        return;
    draining->told_why = true;
    close_line(draining);
    text_format_duration((int64_t)draining->wait_ms, whole, sizeof whole);
    cli_error(draining->cli, "client connections cannot be counted: %s; waits for the whole %s", draining->why, whole);
}

static int end(struct draining *draining, const char *what, int code)
{
    char count[2 * WORD_MAX], took[SHOWN_MAX];
    struct buf out = BUF_INIT(CLI_TEXT_MAX);

    close_line(draining);
    put_count(draining, count, sizeof count);
    text_format_elapsed((clock_now_ms() - draining->began_ms) * NS_PER_MS, took, sizeof took);
    buf_printf(&out, "%s: %s, after %s\n", what, count, took);
    code = cli_print_text(draining->cli, &out, code);
    buf_fini(&out);
    return code;
}

/* --- what is asked --- */

/* "remaining 12" of a text of such lines. "": no line of that word. */
static void take_word(const char *text, const char *word, char out[WORD_MAX])
{
    size_t len = strlen(word);

    *out = 0;
    for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (strncmp(at, word, len) == 0 && at[len] == ' ') {
            snprintf(out, WORD_MAX, "%.*s", (int)strcspn(at + len + 1, "\n"), at + len + 1);
            return;
        }
}

static int command_drain(struct draining *draining)
{
    struct answer answer;
    int code = EXIT_PASS;

    if (ask_once(&draining->whom, "POST", "/drain", ASK_TIMEOUT_MS, &answer) < 0)
        code = ask_no_agent(draining->cli, &draining->whom, &answer.err);
    else if (answer.status / 100 != 2)
        code = ask_refused(draining->cli, &answer);
    buf_fini(&answer.body);
    return code;
}

static void note_answer(struct draining *draining, const char *text)
{
    char state[WORD_MAX], agent[WORD_MAX];
    int64_t remaining;

    take_word(text, "state", state);
    take_word(text, "remaining", draining->seen);
    take_word(text, "why", draining->why);
    take_word(text, "agent", agent);
    draining->on = strcmp(state, "draining") == 0;
    draining->counted = text_parse_int(draining->seen, &remaining) == 0 && remaining >= 0;
    draining->remaining = draining->counted ? (uint64_t)remaining : 0;
    if (*draining->agent && strcmp(draining->agent, agent) != 0 && !draining->on) {
        close_line(draining);
        cli_error(draining->cli, "the agent has restarted: it is told again to drain");
        draining->on = command_drain(draining) == EXIT_PASS;
        draining->counted = false;
    }
    snprintf(draining->agent, sizeof draining->agent, "%s", agent);
}

static bool reached(const struct draining *draining)
{
    return draining->counted && draining->remaining <= (uint64_t)draining->until;
}

/* What is there now, or as soon as that changes. False: no agent has answered. */
static bool look(struct draining *draining, uint64_t now_ms)
{
    struct answer answer;
    char target[WORD_MAX + 64];
    uint64_t left = left_ms(draining, now_ms), wait_ms = left < ASK_EVERY_MS ? left : ASK_EVERY_MS;
    uint64_t min_end_ms = draining->began_ms + draining->min_ms;
    bool answered;

    if (reached(draining) && min_end_ms < now_ms + wait_ms)
        wait_ms = min_end_ms > now_ms ? min_end_ms - now_ms : 0;
    if (!*draining->agent && wait_ms < COUNT_MS) /* also where nothing is to be waited for, clients are counted once */
        wait_ms = COUNT_MS;
    snprintf(target, sizeof target, "/drain?wait=%llums&seen=%.32s", (unsigned long long)wait_ms, draining->seen);
    answered = ask_once(&draining->whom, "GET", target, wait_ms + (left < ASK_TIMEOUT_MS ? left + STALE_MS : ASK_TIMEOUT_MS),
                        &answer) == 0 &&
               answer.status == 200;
    if (answered)
        note_answer(draining, buf_str(&answer.body));
    else if (++draining->unanswered == 2) { /* the first may be chance */
        char why[ERR_TEXT_MAX];

        ask_shorten(&answer.err, why, sizeof why);
        close_line(draining);
        if (answer.status)
            cli_error(draining->cli, "the agent answers with status %d; goes on asking", answer.status);
        else
            cli_error(draining->cli, "no agent answers any more on %s: %s; goes on asking", draining->whom.path, why);
    }
    draining->unanswered = answered ? 0 : draining->unanswered;
    buf_fini(&answer.body);
    return answered;
}

static int wait_for_clients(struct draining *draining)
{
    for (;;) {
        uint64_t now_ms = clock_now_ms();
        bool answered = look(draining, now_ms);

        now_ms = clock_now_ms();
        if (answered && !draining->on)
            return end(draining, "resumed: somebody has ended the draining", EXIT_FAIL);
        if (answered && reached(draining) && now_ms - draining->began_ms >= draining->min_ms)
            return end(draining, "drained", EXIT_PASS);
        if (!left_ms(draining, now_ms))
            return end(draining, answered ? "time over" : "time over, and no agent answers", answered ? EXIT_WARN : EXIT_UNKNOWN);
        if (answered) {
            tell_why(draining);
            show(draining, now_ms);
        } else {
            draining->counted = false;
            ask_sleep(left_ms(draining, now_ms) < RETRY_MS ? left_ms(draining, now_ms) : RETRY_MS);
        }
    }
}

/* --- the command --- */

static int take_flags(const struct cli *cli, struct draining *draining)
{
    const char *until = cli_value(cli, "until");
    int64_t wait_ms = 0, min_ms = 0;

    if (!cli_has(cli, "wait") && (until || cli_has(cli, "min")))
        return cli_error(cli, "--%s needs --wait: how long to wait at most, such as --wait 60s", until ? "until" : "min");
    if (cli_duration(cli, "wait", &wait_ms) < 0 || cli_duration(cli, "min", &min_ms) < 0)
        return EXIT_UNKNOWN;
    if (until && (text_parse_int(until, &draining->until) < 0 || draining->until < 0))
        return cli_error(cli, "--until '%.60s', want a number of client connections such as 0", until);
    draining->wait_ms = (uint64_t)wait_ms;
    draining->min_ms = (uint64_t)min_ms;
    return EXIT_PASS;
}

int cli_drain(struct cli *cli)
{
    struct draining draining = { .cli = cli, .seen = "unknown" };
    char interrupted[512];
    int code = take_flags(cli, &draining);

    if (code != EXIT_PASS)
        return code;
    if (!cli_has(cli, "wait"))
        return ask_command(cli, "/drain", ASK_TIMEOUT_MS, "draining");
    code = ask_find_admin(cli, &draining.whom);
    if (code != EXIT_PASS)
        return code;
    draining.terminal = ask_redraws();
    draining.began_ms = clock_now_ms();
    code = command_drain(&draining);
    if (code != EXIT_PASS)
        return code;
    /* Ends the command and not the draining, which is what the user may believe. */
    snprintf(interrupted, sizeof interrupted, "drain: interrupted; the agent goes on draining, `%.300s resume` ends that",
             program_name());
    ask_catch_interrupts(interrupted);
    return wait_for_clients(&draining);
}
