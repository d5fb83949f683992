/*
 * What `wshealthd check URL` adds to its advice where a bare WebSocket is refused: does a dialect of the table (agent/cli/discover.h)
 * work there, or at the dialect's own path? Called by cli_check.c once the rounds are over, for people only: programs get the verdict at
 * once. Changes no verdict.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/program.h"
#include "agent/cli/cli_check_impl.h"
#include "agent/cli/discover.h"
#include "agent/conf/conf.h"
#include "agent/run/agent.h"

enum { HTTP_SERVER_ERROR = 500 };

/* The server answers, and what it says may be meant for who comes the wrong way. One that hangs, or refuses for the pace or the token, is
 * left alone. */
static bool may_be_the_way(enum reason reason)
{
    return reason == REASON_UPGRADE_REFUSED || reason == REASON_UPGRADE_INVALID || reason == REASON_UPGRADE_REDIRECT ||
           reason == REASON_UPGRADE_BAD_SUBPROTOCOL || reason == REASON_CONNECTION_RESET || reason == REASON_HTTP_MALFORMED ||
           reason == REASON_TLS_HANDSHAKE_FAILED || reason == REASON_CLOSED_BY_SERVER || reason == REASON_CLOSED_ABNORMAL;
}

static bool wants_advice(const struct cli *cli, const struct agent_view *view)
{
    static const char *const flags[] = { "config", "dialect", "subprotocol", "http", "json", "nagios", "quiet", "trace" };
    bool refused = false;

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (cli_has(cli, flags[i]))
            return false;
    if (!cli->arg_count || strncmp(cli->args[0], "ws", 2) != 0)
        return false;
    for (size_t i = 0; i < view->check_count; i++) {
        const struct check_view *check = view->checks[i];

        if (!check->judged || check->status != RESULT_FAIL)
            continue;
        if (!may_be_the_way(check->reason) || check->http_status >= HTTP_SERVER_ERROR)
            return false;
        refused = true;
    }
    return refused;
}

/* The most specific advice goes first; of four the last gives way. */
static void put_first(struct diagnosis *diagnosis, const char *text)
{
    size_t kept = diagnosis->advice_count < DIAGNOSIS_ADVICE_MAX ? diagnosis->advice_count : DIAGNOSIS_ADVICE_MAX - 1;

    memmove(diagnosis->advice + 1, diagnosis->advice, kept * sizeof *diagnosis->advice);
    diagnosis->advice[0] = text;
    diagnosis->advice_count = kept + 1;
}

/* Two lines of advice, one behind the other in `text`: what to type now, and what writes it down. */
static void advise(const struct discover *discover, const struct discover_result *best, struct agent_view *view, struct buf *text)
{
    char url[DISCOVER_URL_MAX], shown[DISCOVER_URL_MAX];
    const char *dialect = best->try.row->dialect;
    size_t second;

    discover_url(discover, &best->try, url, sizeof url);
    url_redact(url, shown, sizeof shown);
    if (*discover->other)
        buf_printf(text, "It speaks %s, and the port %s TLS: %s --dialect %s", dialect,
                   discover->url.tls ? "speaks" : "does not speak", shown, dialect);
    else if (strcmp(url, discover->text) == 0)
        buf_printf(text, "It speaks %s: add --dialect %s", dialect, dialect);
    else
        buf_printf(text, "It speaks %s at that protocol's own path: %s --dialect %s", dialect, shown, dialect);
    buf_append_char(text, '\0');
    second = text->len;
    buf_printf(text, "`%s config init %s` writes a configuration that fits", program_name(), shown);
    put_first(&view->diagnosis, buf_str(text) + second);
    put_first(&view->diagnosis, buf_str(text));
}

static void advise_way(const struct discover *discover, struct agent_view *view, struct buf *text)
{
    char shown[DISCOVER_URL_MAX];

    url_redact(discover->text, shown, sizeof shown);
    if (*discover->other)
        buf_printf(text, "The port %s TLS: use %s%s", discover->url.tls ? "speaks" : "does not speak", shown,
                   discover->over_http2 ? " --http 2" : "");
    else
        buf_append_str(text, "It takes WebSocket over HTTP/2: add --http 2");
    put_first(&view->diagnosis, buf_str(text));
}

void cli_advise(const struct cli *cli, struct agent_view *view, struct buf *text)
{
    struct discover *discover;
    const struct discover_result *best;
    char *token = NULL;
    struct err err;

    if (!wants_advice(cli, view))
        return;
    discover = mem_alloc(sizeof *discover);
    discover->text = cli->args[0];
    if (discover_take_flags(discover, cli, &token) == 0 &&
        discover_run(discover, &agent_conf_env, DISCOVER_SHORT_MS, false, &err) == 0) {
        best = discover_best(discover);
        if (best && best->proven)
            advise(discover, best, view, text);
        else if (best && (*discover->other || (discover->over_http2 && best->opened)))
            advise_way(discover, view, text);
    }
    mem_free(token);
    mem_free(discover);
}
