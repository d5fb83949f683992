/*
 * The commands that ask a running agent: status, wait, resume, reload; drain has a file of its own. Owns a small HTTP client for the admin
 * socket. agent/http/admin.c gives the answers. Called by agent/main.c. Every wait has a deadline.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/program.h"
#include "agent/base/text.h"
#include "agent/cli/cli_ask_impl.h"
#include "agent/client/fetch.h"
#include "agent/conf/conf.h"
#include "agent/http/admin.h"
#include "agent/net/loop.h"
#include "agent/proto/match.h"
#include "agent/report/screen.h"
#include "agent/run/agent.h"

enum { RELOAD_TIMEOUT_MS = 30000, WAIT_TIMEOUT_MS = 30000, WAIT_EVERY_MS = 50, STATE_CHARS = 100, ANSWER_MAX = 8 << 20 };

/* The socket that an admin address names: "unix:/run/wshealthd/admin.sock". */
static int take_address(const struct cli *cli, struct whom *whom, const char *from, const char *text)
{
    struct listen_address address;
    struct err err;
    if (strcmp(text, "off") == 0)
        return cli_error(cli, "%s is off: there is no socket to ask through", from);
    if (listen_address_parse(text, &address, &err) < 0)
        return cli_error(cli, "%s: %s", from, err.text);
    if (!address.is_unix)
        return cli_error(cli, "%s: '%s', want unix:/path", from, text);
    snprintf(whom->path, sizeof whom->path, "%s", address.unix_path);
    return EXIT_PASS;
}

/* Errors in a file that the user named are printed. Errors in the usual file are ignored: it may need variables that only the agent
 * has. */
static int take_file(const struct cli *cli, struct whom *whom, const char *file, bool named)
{
    bool quiet = cli_has(cli, "signal"); /* there is another way to reach the agent */
    struct conf_errors errors;
    int code = EXIT_PASS;
    conf_errors_init(&errors);
    struct conf *conf = conf_load_file(file, &agent_conf_env, &errors);
    if (!conf && named && !quiet)
        code = cli_conf_errors(&errors);
    else if (conf && conf->admin_auto)
        whom->usual = true;
    else if (conf && conf->admin_on && conf->admin_address.is_unix)
        snprintf(whom->path, sizeof whom->path, "%s", conf->admin_address.unix_path);
    else if (conf)
        code = quiet ? EXIT_UNKNOWN
                     : cli_error(cli, "%s: admin is off: there is no socket to ask through; http://%s/status tells the same", file,
                                 conf->listen_on ? conf->listen : "LISTEN");
    whom->file = file;
    if (conf)
        conf_unref(conf);
    conf_errors_fini(&errors);
    return code;
}

int ask_find_admin(const struct cli *cli, struct whom *whom)
{
    const char *flag = cli_value(cli, "admin"), *file = cli_value(cli, "config"), *variable = getenv("WSHEALTHD_ADMIN");
    memset(whom, 0, sizeof *whom);
    int code = EXIT_PASS;
    if (flag)
        code = take_address(cli, whom, "--admin", flag);
    else if (variable && *variable)
        code = take_address(cli, whom, "WSHEALTHD_ADMIN", variable);
    else if (file)
        code = take_file(cli, whom, file, true);
    else if (access(CLI_CONFIG_FILE, R_OK) == 0)
        code = take_file(cli, whom, CLI_CONFIG_FILE, false);
    whom->usual = code == EXIT_PASS && !whom->path[0];
    if (whom->usual)
        admin_find(whom->path, sizeof whom->path);
    return code;
}

int ask_find(const struct cli *cli, struct whom *whom)
{
    const char *text = cli_value(cli, "url");
    struct url url;
    struct err err;

    if (!text)
        return ask_find_admin(cli, whom);
    *whom = (struct whom){ .path = "" };
    if (url_parse(text, &url, &err) < 0)
        return cli_error(cli, "--url: %s", strstr(text, "://") ? err.text : "no scheme, want http://host:port of the agent");
    if (strcmp(url.scheme, "http") != 0 && strcmp(url.scheme, "http+unix") != 0)
        return cli_error(cli, "--url: scheme %s, want http://host:port of the agent", url.scheme);
    snprintf(whom->url, sizeof whom->url, "%s", text);
    return EXIT_PASS;
}

static void on_answer(void *user, const struct fetch_result *result)
{
    struct answer *answer = user;
    if (result->err)
        answer->err = *result->err;
    else
        answer->status = result->head->status;
    if (result->head)
        buf_append_slice(&answer->body, result->body);
    loop_stop(answer->loop);
}

int ask_once(const struct whom *whom, const char *method, const char *target, uint64_t timeout_ms, struct answer *answer)
{
    struct loop loop;
    struct url url;
    char text[URL_UNIX_MAX + URL_TARGET_MAX];
    *answer = (struct answer){ .loop = &loop, .body = BUF_INIT(ANSWER_MAX) };
    if (whom->path[0])
        snprintf(text, sizeof text, "http+unix://%s:%s", whom->path, target);
    else
        snprintf(text, sizeof text, "%s", whom->url);
    if (url_parse(text, &url, &answer->err) < 0)
        return -1;
    if (!whom->path[0] && (!url.has_path || strcmp(url.target, "/") == 0))
        snprintf(url.target, sizeof url.target, "%s", target);
    if (loop_init(&loop, &answer->err) < 0)
        return -1;
    const struct fetch_request request = { .url = &url, .method = method, .max_body_bytes = ANSWER_MAX, .timeout_ms = timeout_ms };
    fetch_start(&loop, &request, on_answer, answer);
    loop_run(&loop);
    loop_fini(&loop);
    return answer->status ? 0 : -1;
}

int ask_refused(const struct cli *cli, struct answer *answer)
{
    if (!answer->body.len)
        return cli_error(cli, "the agent answers with status %d", answer->status);
    const char *text = buf_str(&answer->body);
    screen_tell(text);
    screen_tell(text[answer->body.len - 1] == '\n' ? "" : "\n");
    return EXIT_UNKNOWN;
}

int ask_command(struct cli *cli, const char *target, uint64_t timeout_ms, const char *done)
{
    struct whom whom;
    struct answer answer;
    int code = ask_find_admin(cli, &whom);
    if (code != EXIT_PASS)
        return code;
    if (ask_once(&whom, "POST", target, timeout_ms, &answer) < 0)
        code = ask_no_agent(cli, &whom, &answer.err);
    else if (answer.status / 100 != 2)
        code = ask_refused(cli, &answer);
    else {
        if (!answer.body.len)
            buf_printf(&answer.body, "%s\n", done);
        code = cli_print_text(cli, &answer.body, EXIT_PASS);
    }
    buf_fini(&answer.body);
    return code;
}

int cli_resume(struct cli *cli)
{
    return ask_command(cli, "/resume", ASK_TIMEOUT_MS, "resumed");
}

/* For ExecReload=, where a file with secrets of the unit's may be unreadable (LoadCredential= is for its main process alone), and the admin
 * socket off: whoever cannot be asked is told by SIGHUP. */
static int reload_or_signal(struct cli *cli, const char *text)
{
    struct whom whom;
    struct answer answer;
    int64_t pid;

    if (text_parse_int(text, &pid) < 0 || pid <= 1 || pid > INT32_MAX)
        return cli_error(cli, "--signal '%.60s', want $MAINPID", text);
    if (ask_find_admin(cli, &whom) == EXIT_PASS) {
        bool asked = ask_once(&whom, "POST", "/reload", RELOAD_TIMEOUT_MS, &answer) == 0;
        int code = !asked ? EXIT_UNKNOWN : answer.status / 100 == 2 ? EXIT_PASS : ask_refused(cli, &answer);
        buf_fini(&answer.body);
        if (asked)
            return code;
    }
    return kill((pid_t)pid, SIGHUP) == 0 ? EXIT_PASS : cli_error(cli, "--signal %s: %s", text, strerror(errno));
}

int cli_reload(struct cli *cli)
{
    const char *pid = cli_value(cli, "signal");

    return pid ? reload_or_signal(cli, pid) : ask_command(cli, "/reload", RELOAD_TIMEOUT_MS, "reloaded");
}

/* --- status --------------------------------------------------------------------------------------------------------------------- */

bool ask_json_has(struct slice json, char *pointer, char *value)
{
    const struct match_spec spec = { .json = { { pointer, value } }, .json_count = 1 };
    struct match *match = match_new(&spec, NULL);
    bool found = match && match_try(match, json, NULL);
    match_free(match);
    return found;
}

/* By their codes. */
static const char verdicts[][8] = { "\"pass\"", "\"warn\"", "\"fail\"" };

int ask_code_of(struct slice word)
{
    int code = EXIT_PASS;

    while (code < EXIT_UNKNOWN && !slice_equal(word, slice_make(verdicts[code] + 1, 4)))
        code++;
    return code;
}

int ask_exit_code(struct slice json)
{
    char pointer[] = "/status", value[sizeof verdicts[0]];

    for (int code = EXIT_PASS; code < EXIT_UNKNOWN; code++) {
        memcpy(value, verdicts[code], sizeof value);
        if (ask_json_has(json, pointer, value))
            return code;
    }
    return EXIT_UNKNOWN;
}

/* How the user calls this program, for the advice. "": the name would need percent-encoding, so the usual one is shown. */
static const char *program_in_query(void)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-";
    const char *name = program_name();
    return name[strspn(name, plain)] || strlen(name) >= ADMIN_PROGRAM_MAX ? "" : name;
}

void ask_text_target(const char *path, bool verdict_first, const char *evidence, char *out, size_t size)
{
    struct screen screen = screen_look();
    snprintf(out, size, "%s?format=text&colour=%d&width=%u&ascii=%d&lines=%d&first=%d&%s%s%s", path, screen.colour, screen.width,
             screen.ascii, !screen.fixed, verdict_first, evidence, *program_in_query() ? "&program=" : "", program_in_query());
}

/* "evidence=CHECK", or "" without the flag. A name that would need percent-encoding is no check's. */
static int with_evidence(const struct cli *cli, char *out, size_t size)
{
    const char *check = cli_value(cli, "evidence");
    *out = 0;
    if (check && (!*check || check[strcspn(check, "&#%? \t\r\n")] || strlen(check) >= ADMIN_CHECK_MAX))
        return cli_error(cli, "--evidence '%.60s', want the name of a check", check), -1;
    if (check)
        snprintf(out, size, "evidence=%s", check);
    return 0;
}

/* Asks twice: the JSON decides the exit code, the text is for people. */
int cli_status(struct cli *cli)
{
    struct whom whom;
    struct answer json, text = { .body = BUF_INIT(0) };
    struct screen screen = screen_look();
    char target[1024], evidence[ADMIN_CHECK_MAX + 16];
    int code = ask_find_admin(cli, &whom);
    if (code != EXIT_PASS)
        return code;
    if (cli_has(cli, "watch") && cli_has(cli, "evidence"))
        return cli_error(cli, "--watch shows what changes, and --evidence what was kept: one of the two");
    if (with_evidence(cli, evidence, sizeof evidence) < 0)
        return EXIT_UNKNOWN;
    snprintf(target, sizeof target, "/status%s%s", *evidence ? "?" : "", evidence);
    bool asked = ask_once(&whom, "GET", target, ASK_TIMEOUT_MS, &json) == 0;
    if (asked && json.status == 200 && cli_has(cli, "watch")) {
        buf_fini(&json.body);
        return cli_watch(cli, &whom, false);
    }
    if (asked && json.status == 200 && !cli_has(cli, "json")) {
        ask_text_target("/status", false, evidence, target, sizeof target);
        asked = ask_once(&whom, "GET", target, ASK_TIMEOUT_MS, &text) == 0;
        if (!asked)
            json.err = text.err;
    }
    if (!asked)
        code = ask_no_agent(cli, &whom, &json.err);
    else if (json.status != 200)
        code = ask_refused(cli, &json);
    else if (cli_has(cli, "json"))
        code = cli_print_json(cli, &json.body, ask_exit_code(buf_slice(&json.body)));
    else {
        screen.fixed = false; /* the agent has broken the lines */
        screen_fit(&screen, &text.body);
        code = cli_print(cli, &text.body, ask_exit_code(buf_slice(&json.body)));
    }
    buf_fini(&json.body);
    buf_fini(&text.body);
    return code;
}

/* --- wait ----------------------------------------------------------------------------------------------------------------------- */

struct waiting {
    const char *target; /* "/ready" */
    uint64_t until_ms;
    bool answered;
    char state[TEXT_EXCERPT_BYTES(STATE_CHARS)]; /* the last answer's first line, or why there was none */
};

static bool asked_well(struct waiting *waiting, struct whom *whom)
{
    struct answer answer;
    uint64_t now = clock_now_ms(), left = waiting->until_ms > now ? waiting->until_ms - now : 1;
    bool well = false;
    if (whom->usual) /* the agent may have started since the last attempt */
        admin_find(whom->path, sizeof whom->path);
    if (ask_once(whom, "GET", waiting->target, left < ASK_TIMEOUT_MS ? left : ASK_TIMEOUT_MS, &answer) < 0)
        ask_shorten(&answer.err, waiting->state, sizeof waiting->state);
    else if (answer.status == 200 || answer.status == 503) {
        waiting->answered = true;
        well = answer.status == 200;
        const char *text = buf_str(&answer.body);
        text_excerpt(slice_make(text, strcspn(text, "\n")), STATE_CHARS, waiting->state, sizeof waiting->state);
    } else if (!waiting->answered)
        snprintf(waiting->state, sizeof waiting->state, "status %d, want 200 or 503", answer.status);
    buf_fini(&answer.body);
    return well;
}

static int wait_for(const struct cli *cli, struct whom *whom, struct waiting *waiting, int64_t timeout_ms)
{
    char within[32];
    while (!asked_well(waiting, whom)) {
        if (clock_now_ms() + WAIT_EVERY_MS >= waiting->until_ms) {
            text_format_duration(timeout_ms, within, sizeof within);
            if (!waiting->answered)
                return cli_error(cli, "no agent answered on %s within %s: %s", whom->path[0] ? whom->path : whom->url, within,
                                 waiting->state);
            cli_error(cli, "not %s after %s, last state: %s", waiting->target + 1, within, waiting->state);
            return EXIT_FAIL;
        }
        ask_sleep(WAIT_EVERY_MS);
    }
    return EXIT_PASS;
}

int cli_wait(struct cli *cli)
{
    static const char *const states[] = { "ready", "live", "startup" };
    static const char *const targets[] = { "/ready", "/live", "/startup" };
    const char *state = cli_value(cli, "for");
    struct waiting waiting = { .target = state ? NULL : "/ready" };
    struct whom whom;
    int64_t timeout_ms = WAIT_TIMEOUT_MS;
    int code;
    for (size_t i = 0; state && i < sizeof states / sizeof *states; i++)
        if (strcmp(state, states[i]) == 0)
            waiting.target = targets[i];
    if (!waiting.target)
        return cli_error(cli, "--for '%.60s', want ready, live or startup", state);
    if (cli_duration(cli, "timeout", &timeout_ms) < 0)
        return EXIT_UNKNOWN;
    code = ask_find(cli, &whom);
    if (code != EXIT_PASS)
        return code;
    waiting.until_ms = clock_now_ms() + (uint64_t)timeout_ms;
    return wait_for(cli, &whom, &waiting, timeout_ms);
}
