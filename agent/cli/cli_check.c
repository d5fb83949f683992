/*
 * `wshealthd check`: does one round of every check and prints the verdict. Owns what the flags mean for the configuration.
 * agent/core does the rounds, agent/report writes the texts. Called by agent/main.c. Ctrl-C ends it at once.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/file.h"
#include "agent/base/log.h"
#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/cli/cli_check_impl.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/conf/opt.h"
#include "agent/core/probe.h"
#include "agent/net/loop.h"
#include "agent/report/report.h"
#include "agent/report/screen.h"
#include "agent/run/agent.h"

enum { QUIET_MAX = 2048 };

/* The scheme of the URL decides which checks are done by default. The rest of the code knows WebSocket targets only, so other
 * schemes are replaced. */
static const struct kind {
    const char *scheme;       /* as typed, up to :// */
    const char *target;       /* what the target's URL begins with instead; NULL: the same */
    const char *const *types; /* by default */
} kinds[] = {
    { "ws", NULL, (const char *const[]){ "handshake", "ping", NULL } },
    { "wss", NULL, (const char *const[]){ "handshake", "ping", NULL } },
    { "ws+unix", NULL, (const char *const[]){ "handshake", "ping", NULL } },
    { "http", "ws", (const char *const[]){ "http", NULL } },
    { "https", "wss", (const char *const[]){ "http", NULL } },
    { "http+unix", "ws+unix", (const char *const[]){ "http", NULL } },
    { "tcp", "ws", (const char *const[]){ "tcp", NULL } },
};

/* An unknown scheme stays as it is: the configuration's validation reports it. */
static const struct kind *kind_of(const char *url)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i].scheme);
        if (strncmp(url, kinds[i].scheme, len) == 0 && strncmp(url + len, "://", 3) == 0)
            return &kinds[i];
    }
    return &kinds[0];
}

static bool is_http(const char *url)
{
    return url && strcmp(kind_of(url)->types[0], "http") == 0;
}

static struct check_conf *check_of_type(struct conf *conf, const char *type, bool enabled)
{
    for (size_t i = 0; i < conf->check_count; i++)
        if (strcmp(conf->checks[i].type->name, type) == 0 && conf->checks[i].enabled == enabled)
            return &conf->checks[i];
    return NULL;
}

/* At least one enabled check of that type. */
static int want_type(const struct cli *cli, struct conf *conf, const char *type)
{
    struct err err;
    struct check_conf *disabled = check_of_type(conf, type, false);
    if (check_of_type(conf, type, true))
        return 0;
    if (disabled)
        disabled->enabled = true;
    else if (!conf_add_check(conf, type, &agent_conf_env, &err)) {
        cli_error(cli, "--type: %s", err.text);
        return -1;
    }
    return 0;
}

static bool type_named(const struct cli *cli, const char *type)
{
    size_t at = 0;
    for (const char *name; (name = cli_next(cli, "type", &at));)
        if (strcmp(name, type) == 0)
            return true;
    return false;
}

static bool takes_channel(const struct check_conf *check)
{
    return opt_find(check->type->opts, "channel") || opt_find(check->type->opts, "channels");
}

/* --channel is for checks that subscribe; if there is none, one is added. */
static int want_channel(const struct cli *cli, struct conf *conf)
{
    struct err err;
    for (size_t i = 0; i < conf->check_count; i++)
        if (conf->checks[i].enabled && takes_channel(&conf->checks[i]))
            return 0;
    const struct dialect *dialect = conf_find_dialect(conf, &agent_conf_env, conf->target.dialect_name, &err);
    if (!dialect) {
        cli_error(cli, "%s", err.text);
        return -1;
    }
    if (!dialect->subscribe.send.data) {
        cli_error(cli, "--channel: the dialect %s does not say how to subscribe (see --dialect)", dialect->name);
        return -1;
    }
    return want_type(cli, conf, "subscribe");
}

/* With a file: its enabled checks, or those of the types named by --type. With a URL only: the named types, or the defaults of its
 * scheme. --send and --expect need a check that awaits an answer: without --type an echo check is added. */
static int choose_checks(const struct cli *cli, struct conf *conf, const char *file, const char *url)
{
    size_t at = 0;
    bool named = cli_has(cli, "type"), asks = cli_has(cli, "send") || cli_has(cli, "expect");
    if (!file)
        conf_clear_checks(conf);
    for (size_t i = 0; named && i < conf->check_count; i++)
        if (!type_named(cli, conf->checks[i].type->name))
            conf->checks[i].enabled = false;
    for (const char *type; (type = cli_next(cli, "type", &at));)
        if (want_type(cli, conf, type) < 0)
            return -1;
    const char *const *defaults = kind_of(url ? url : "ws://")->types;
    for (size_t i = 0; !file && !named && defaults[i]; i++)
        if (want_type(cli, conf, defaults[i]) < 0)
            return -1;
    if (asks && !named && !is_http(url) && want_type(cli, conf, "echo") < 0)
        return -1;
    return cli_has(cli, "channel") ? want_channel(cli, conf) : 0;
}

static int set(const struct cli *cli, const char *flag, const struct opt *rows, void *base, const char *name, const char *text)
{
    struct err err;
    if (opt_set(rows, base, name, text, &err) == 0)
        return 0;
    /* Drops the name from "timeout: '2' has no unit": the flag is named before it. */
    size_t len = strlen(name);
    bool named = strncmp(err.text, name, len) == 0 && strncmp(err.text + len, ": ", 2) == 0;
    cli_error(cli, "--%s: %s", flag, err.text + (named ? len + 2 : 0));
    return -1;
}

/* --send and --expect are for the echo checks; without one, for all checks that have such an option. */
static int set_own(const struct cli *cli, struct conf *conf, const char *flag, const char *row, const char *name, const char *text)
{
    bool taken = false, echo = check_of_type(conf, "echo", true);
    for (size_t i = 0; i < conf->check_count; i++) {
        const struct check_conf *check = &conf->checks[i];
        const struct opt *rows = check->type->opts;
        if (!check->enabled || (echo && strcmp(check->type->name, "echo") != 0) || !rows || !opt_find(rows, row))
            continue;
        if (set(cli, flag, rows, check->opts, name, text) < 0)
            return -1;
        taken = true;
    }
    if (taken)
        return 0;
    cli_error(cli, "--%s: none of the checks takes it (echo does: --type echo)", flag);
    return -1;
}

static int slo_over_timeout(const struct cli *cli, const char *slo, int64_t timeout_ms)
{
    char timeout[32];
    text_format_duration(timeout_ms, timeout, sizeof timeout);
    cli_error(cli, "--slo %s: want less than the timeout, which is %s (see --timeout)", slo, timeout);
    return -1;
}

static int set_checks(const struct cli *cli, struct conf *conf, const char *url)
{
    const char *timeout = cli_value(cli, "timeout"), *slo = cli_value(cli, "slo");
    const char *send = cli_value(cli, "send"), *expect = cli_value(cli, "expect");
    bool asked = cli_has(cli, "type") || (url && !cli_has(cli, "config"));
    for (size_t i = 0; i < conf->check_count; i++) {
        struct check_conf *check = &conf->checks[i];
        if (timeout && set(cli, "timeout", check_rows, check, "timeout", timeout) < 0)
            return -1;
        if (slo && set(cli, "slo", check_rows, check, "slo", slo) < 0)
            return -1;
        if (slo && check->enabled && check->slo_ms >= check->timeout_ms)
            return slo_over_timeout(cli, slo, check->timeout_ms);
        /* There is only one round, so it must decide the state. */
        check->rise = 1;
        check->fall = (struct opt_window){ .count = 1, .of = 1 };
        /* A check that the user named decides the exit code too, even if its type gates nothing in the agent. */
        if (asked)
            check->gates |= GATE_READY;
        if (check->interval_ms < check->timeout_ms)
            check->interval_ms = check->timeout_ms;
        if (is_http(url) && strcmp(check->type->name, "http") == 0 &&
            set(cli, "type", check->type->opts, check->opts, "url", url) < 0)
            return -1;
    }
    if (send && set_own(cli, conf, "send", "send", "send", send) < 0)
        return -1;
    if (expect && set_own(cli, conf, "expect", "expect", "expect.contains", expect) < 0)
        return -1;
    return 0;
}

/* Removes the file's header of that name: the header on the command line replaces it. */
static void forget_header(struct opt_pairs *headers, const char *text)
{
    struct slice name = slice_trim(slice_make(text, strcspn(text, ":")));
    size_t kept = 0;
    for (size_t i = 0; i < headers->count; i++) {
        if (!slice_equal_nocase(name, headers->items[i].name)) {
            headers->items[kept++] = headers->items[i];
            continue;
        }
        mem_free(headers->items[i].name);
        mem_free(headers->items[i].value);
    }
    headers->count = kept;
}

static int set_dialect(const struct cli *cli, struct conf *conf)
{
    const char *dialect = cli_value(cli, "dialect");
    struct err err;
    if (!dialect)
        return 0;
    if (set(cli, "dialect", target_rows, &conf->target, "dialect", dialect) < 0)
        return -1;
    if (conf_find_dialect(conf, &agent_conf_env, dialect, &err))
        return 0;
    cli_error(cli, "--dialect: %s", err.text);
    return -1;
}

/* Subprotocols of the command line are offered after those of the file. */
static int set_target(const struct cli *cli, struct conf *conf)
{
    static const struct {
        const char *flag, *name;
    } flags[] = { { "header", "headers" },
                  { "origin", "origin" },
                  { "subprotocol", "subprotocols" },
                  { "ca", "tls.ca_file" },
                  { "http", "http" } };
    size_t header = 0;
    for (const char *value; (value = cli_next(cli, "header", &header));)
        forget_header(&conf->target.headers, value);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        size_t at = 0;
        for (const char *value; (value = cli_next(cli, flags[i].flag, &at));)
            if (set(cli, flags[i].flag, target_rows, &conf->target, flags[i].name, value) < 0)
                return -1;
    }
    if (cli_has(cli, "insecure"))
        conf->target.tls.verify = false;
    for (size_t i = 0; cli_has(cli, "http") && i < conf->check_count; i++)
        conf->checks[i].http = 0; /* what a check says for itself gives way too */
    return set_dialect(cli, conf);
}

/* Without a file, the token goes into the dialect's login message if that has a place for it. */
static int place_token(const struct cli *cli, struct conf *conf, const char *file)
{
    const struct dialect *dialect = conf_find_dialect(conf, &agent_conf_env, conf->target.dialect_name, NULL);
    struct slice connect = dialect ? slice_make(dialect->connect.send.data, dialect->connect.send.len) : slice_str("");
    if (file || !template_mentions(connect, "token"))
        return 0;
    return set(cli, "token-file", target_rows, &conf->target, "token_in", "message");
}

/* The token is read at every use, as ${file:…} is. Here it is only tested that the file can be read, for a clear error. */
static int set_token(const struct cli *cli, struct conf *conf, const char *conf_file)
{
    const char *file = cli_value(cli, "token-file");
    if (!file)
        return 0;
    struct err err = { 0 };
    if (file_validate(file, &err) < 0 || access(file, R_OK) < 0) {
        cli_error(cli, "--token-file %s: %s", file, *err.text ? err.text : strerror(errno));
        return -1;
    }
    char *marker = mem_printf("${file:%s}", file);
    int failed = set(cli, "token-file", target_rows, &conf->target, "token", marker);
    mem_free(marker);
    return failed ? failed : place_token(cli, conf, conf_file);
}

/* Sets the channel of all enabled checks that subscribe. */
static int set_channel(const struct cli *cli, struct conf *conf)
{
    const char *channel = cli_value(cli, "channel");
    for (size_t i = 0; channel && i < conf->check_count; i++) {
        const struct check_conf *check = &conf->checks[i];
        const struct opt *rows = check->type->opts, *list = opt_find(rows, "channels");
        if (!check->enabled || !takes_channel(check))
            continue;
        if (list)
            opt_fini((const struct opt[]){ *list, { 0 } }, check->opts);
        if (set(cli, "channel", rows, check->opts, opt_find(rows, "channel") ? "channel" : "channels", channel) < 0)
            return -1;
    }
    return 0;
}

static bool apply(const struct cli *cli, struct conf *conf, const char *file, const char *url)
{
    struct conf_errors errors;
    bool well = false;
    conf_errors_init(&errors);
    if (set_target(cli, conf) < 0 || set_token(cli, conf, file) < 0)
        goto out;
    if (choose_checks(cli, conf, file, url) < 0 || set_checks(cli, conf, url) < 0 || set_channel(cli, conf) < 0)
        goto out;
    well = conf_seal(conf, &agent_conf_env, &errors) == 0;
    if (!well) {
        char *named = cli_name_flags(cli, file, buf_str(&errors.text));
        screen_tell(named);
        mem_free(named);
    }
out:
    conf_errors_fini(&errors);
    return well;
}

struct conf *cli_check_conf(const struct cli *cli)
{
    const char *url = cli->arg_count ? cli->args[0] : NULL, *file;
    const struct kind *kind = url ? kind_of(url) : NULL;
    char *target = kind && kind->target ? mem_printf("%s%s", kind->target, url + strlen(kind->scheme)) : mem_strdup(url);
    struct conf *conf = cli_load(cli, target, &file);
    if (conf && !apply(cli, conf, file, url)) {
        conf_unref(conf);
        conf = NULL;
    }
    mem_free(target);
    return conf;
}

static int print_report(const struct cli *cli, bool has_file, const struct agent_view *view)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    struct screen screen = screen_look();
    const struct report_style style = {
        .colour = screen.colour, .width = screen.width, .one_shot = true, .one_line = !screen.fixed, .ascii = screen.ascii
    };
    bool json = cli_has(cli, "json");
    if (json)
        report_status_json_with(view, &(struct report_extra){ .full = true, .trace = cli_has(cli, "trace") }, &out);
    else if (cli_has(cli, "nagios"))
        report_nagios(view, &out);
    else if (cli_has(cli, "quiet")) {
        char text[QUIET_MAX];
        report_line(view, text, sizeof text);
        buf_append_str(&out, text);
    } else {
        if (cli_has(cli, "trace"))
            report_trace(view, &style, &out);
        report_human(view, &style, &out);
    }
    char *named = cli_name_flags(cli, has_file, buf_str(&out));
    buf_reset(&out);
    buf_append_str(&out, named);
    mem_free(named);
    if (out.len && out.data[out.len - 1] != '\n')
        buf_append_char(&out, '\n');
    screen.fixed = false; /* report_human has broken its lines already, and output for scripts must stay one line */
    if (!json)
        screen_fit(&screen, &out);
    int code = (json ? cli_print_json : cli_print)(cli, &out, report_exit_code(view));
    buf_fini(&out);
    return code;
}

static void on_over(void *user)
{
    loop_stop(user);
}

static void on_interrupt(int number)
{
    (void)number;
    _exit(EXIT_UNKNOWN);
}

int cli_check(struct cli *cli)
{
    struct loop loop;
    struct err err;
    struct conf *conf;
    struct agent *agent;
    int code;
    if (cli_has(cli, "json") + cli_has(cli, "nagios") + cli_has(cli, "quiet") > 1)
        return cli_error(cli, "--json, --nagios and --quiet exclude each other");
    if (cli_has(cli, "trace") && (cli_has(cli, "nagios") || cli_has(cli, "quiet")))
        return cli_error(cli, "--trace prints more than the one line of --%s", cli_has(cli, "quiet") ? "quiet" : "nagios");
    conf = cli_check_conf(cli);
    if (!conf)
        return EXIT_UNKNOWN;
    log_configure(LOG_ERROR, LOG_LOGFMT); /* the report shows everything else */
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    const struct agent_options options = { .once = true,
                                           .traces = cli_has(cli, "trace"),
                                           .shown_url = cli->arg_count ? cli->args[0] : NULL,
                                           .on_done = on_over,
                                           .user = &loop };
    if (loop_init(&loop, &err) < 0) {
        conf_unref(conf);
        return cli_error(cli, "%s", err.text);
    }
    agent = agent_new(&loop, conf, &options, &err);
    conf_unref(conf);
    if (agent) {
        loop_run(&loop);
        struct agent_view view = *agent_current_view(agent);
        struct buf advice = BUF_INIT(CLI_TEXT_MAX);
        cli_advise(cli, &view, &advice);
        code = print_report(cli, cli_has(cli, "config") || !cli->arg_count, &view);
        buf_fini(&advice);
        agent_stop(agent, on_over, &loop);
        loop_run(&loop);
        agent_free(agent);
    } else {
        char *named = cli_name_flags(cli, cli_has(cli, "config") || !cli->arg_count, err.text);
        code = cli_error(cli, "%s", named);
        mem_free(named);
    }
    loop_fini(&loop);
    return code;
}
