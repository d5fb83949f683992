/*
 * `wshealthd fleet gate`: blocks a deploy until a group has been well for long enough, or says what is missing. Called by agent/cli/cli_fleet.c. Asks an
 * agent for /fleet once a second; gate.c keeps the books. Promises to end within --timeout and one second, whatever the agent does. An agent that does
 * not answer is asked again until then, as it may be the one that is being deployed.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/base/ascii.h"
#include "agent/base/clock.h"
#include "agent/base/text.h"
#include "agent/cli/cli_ask_impl.h"
#include "agent/cli/gate.h"
#include "agent/http/admin.h"
#include "agent/report/screen.h"
#include "agent/run/addresses.h"

enum {
    FOR_MS = 60000,
    TIMEOUT_MS = 600000,
    EVERY_MS = 1000,
    COLUMNS = 80,
    SAID_MAX = 8 << 10,
    JSON_MAX = 256 << 10,
    STATUS_OK = 200
};

struct gating {
    const struct cli *cli;
    struct whom whom;
    struct gate gate;
    uint64_t began_ms, timeout_ms;
    bool terminal;         /* stderr is one that can draw a line again */
    struct buf line, told; /* told: what was said last, without ages */
};

static uint64_t left_ms(const struct gating *gating)
{
    uint64_t end_ms = gating->began_ms + gating->timeout_ms, now_ms = clock_now_ms();

    return end_ms > now_ms ? end_ms - now_ms : 0;
}

/* --- what is shown --- */

static void say(struct gating *gating, bool ages)
{
    buf_reset(&gating->line);
    gate_say(&gating->gate, ages, clock_now_ms(), &gating->line);
}

/* A line that is drawn again and again, cut at the edge; or else a line when more than ages has changed. */
static void show(struct gating *gating)
{
    struct winsize size = { 0 };
    char row[TEXT_EXCERPT_BYTES(SCREEN_WIDTH_MAX)];
    struct buf ascii = BUF_INIT(SAID_MAX);

    say(gating, false);
    bool news = !slice_equal(buf_slice(&gating->line), buf_slice(&gating->told));
    buf_reset(&gating->told);
    buf_append_slice(&gating->told, buf_slice(&gating->line));
    say(gating, true);
    if (!gating->terminal && news) {
        buf_append_char(&gating->line, '\n');
        screen_tell(buf_str(&gating->line));
    } else if (gating->terminal) {
        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_col)
            size.ws_col = COLUMNS;
        if (screen_is_ascii())
            (void)ascii_put(&ascii, buf_slice(&gating->line));
        text_excerpt(buf_slice(ascii.len ? &ascii : &gating->line),
                     size.ws_col <= SCREEN_WIDTH_MAX ? size.ws_col - 1U : SCREEN_WIDTH_MAX, row, sizeof row);
        fprintf(stderr, "\r%s\033[K", row);
        fflush(stderr);
    }
    buf_fini(&ascii);
}

static int end(struct gating *gating, bool passed, int code)
{
    struct buf out = BUF_INIT(JSON_MAX);
    uint64_t now_ms = clock_now_ms();
    char took[32];

    if (gating->terminal)
        fputs("\r\033[K", stderr);
    if (cli_has(gating->cli, "json")) {
        gate_json(&gating->gate, passed, now_ms - gating->began_ms, now_ms, &out);
        code = cli_print_json(gating->cli, &out, code);
    } else {
        const char *advice = gate_advice(&gating->gate);

        say(gating, true);
        text_format_elapsed((now_ms - gating->began_ms) * NS_PER_MS, took, sizeof took);
        buf_printf(&out, "%s after %s: %s\n", passed ? "passed" : "failed", took, buf_str(&gating->line));
        if (advice)
            buf_printf(&out, "  %s\n", advice);
        code = cli_print_text(gating->cli, &out, code);
    }
    buf_fini(&out);
    return code;
}

/* --- what is asked --- */

/* A line that names whom, and why there was no answer. */
static void miss(struct gating *gating, const struct answer *answer)
{
    char why[ERR_TEXT_MAX], line[ERR_TEXT_MAX + sizeof gating->whom];

    if (answer->status)
        snprintf(why, sizeof why, "status %d", answer->status);
    else
        ask_shorten(&answer->err, why, sizeof why);
    snprintf(line, sizeof line, "no agent answers on %s: %s", gating->whom.path[0] ? gating->whom.path : gating->whom.url, why);
    gate_miss(&gating->gate, line);
}

/* EXIT_PASS: go on, or *turn says that it is over. */
static int look(struct gating *gating, enum gate_turn *turn)
{
    struct answer answer;
    struct err err;
    uint64_t left = left_ms(gating);
    int code = EXIT_PASS;

    *turn = GATE_WAITS;
    if (gating->whom.usual) /* it may have been started since */
        admin_find(gating->whom.path, sizeof gating->whom.path);
    bool asked = ask_once(&gating->whom, "GET", "/fleet", left < ASK_TIMEOUT_MS ? left + 1 : ASK_TIMEOUT_MS, &answer) == 0;
    if (asked && answer.status == STATUS_OK)
        *turn = gate_take(&gating->gate, buf_slice(&answer.body), clock_now_ms(), &err);
    else if (asked && answer.status == 404)
        code = ask_refused(gating->cli, &answer);
    else if (!asked && ask_is_forbidden(gating->whom.path))
        code = ask_no_agent(gating->cli, &gating->whom, &answer.err);
    else
        miss(gating, &answer);
    if (*turn == GATE_WRONG)
        code = cli_error(gating->cli, "%s", err.text);
    buf_fini(&answer.body);
    return code;
}

static int wait_for_fleet(struct gating *gating)
{
    for (;;) {
        enum gate_turn turn;
        int code = look(gating, &turn);
        uint64_t left = left_ms(gating);

        if (code != EXIT_PASS)
            return code;
        if (turn == GATE_PASSES)
            return end(gating, true, EXIT_PASS);
        if (!left)
            return end(gating, false, gating->gate.answered ? EXIT_FAIL : EXIT_UNKNOWN);
        show(gating);
        ask_sleep(left < EVERY_MS ? left : EVERY_MS);
    }
}

/* --- the command --- */

static int take_flags(const struct cli *cli, struct gating *gating)
{
    const char *min = cli_value(cli, "min-ready");
    int64_t for_ms = FOR_MS, timeout_ms = TIMEOUT_MS;

    gating->gate.group = cli_value(cli, "group");
    if (!gating->gate.group || !*gating->gate.group)
        return cli_error(cli, "gate needs --group, the name of the group that is deployed, such as --group chat");
    if (cli_has(cli, "watch"))
        return cli_error(cli, "--watch shows the fleet, and gate waits for it: one of the two");
    if (cli_duration(cli, "for", &for_ms) < 0 || cli_duration(cli, "timeout", &timeout_ms) < 0)
        return EXIT_UNKNOWN;
    if (timeout_ms <= for_ms)
        return cli_error(cli, "--timeout is not longer than --for (%llds): it could never pass", (long long)(for_ms / 1000));
    if (gate_parse_min(min ? min : "100%", &gating->gate) < 0)
        return cli_error(cli, "--min-ready '%.60s', want a number of instances such as 5, or a part of them such as 100%%", min);
    gating->gate.for_ms = (uint64_t)for_ms;
    gating->timeout_ms = (uint64_t)timeout_ms;
    return EXIT_PASS;
}

int cli_gate(struct cli *cli)
{
    struct gating gating = { .cli = cli, .line = BUF_INIT(SAID_MAX), .told = BUF_INIT(SAID_MAX) };
    int code = take_flags(cli, &gating);

    if (code == EXIT_PASS)
        code = ask_find(cli, &gating.whom);
    if (code != EXIT_PASS)
        return code;
    gating.terminal = ask_redraws();
    gating.began_ms = clock_now_ms();
    ask_catch_interrupts("fleet: interrupted");
    code = wait_for_fleet(&gating);
    gate_fini(&gating.gate);
    buf_fini(&gating.line);
    buf_fini(&gating.told);
    return code;
}
