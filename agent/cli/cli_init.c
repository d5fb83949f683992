/*
 * `wshealthd config init URL`: asks the server what it is, looks at this host, and writes a configuration that fits, or tells what was
 * found. What is asked and what it means is agent/cli/discover.h. Called by cli_config.c. Blocks for ten seconds at most.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/file.h"
#include "agent/base/log.h"
#include "agent/base/mem.h"
#include "agent/base/program.h"
#include "agent/cli/cli_config_impl.h"
#include "agent/cli/discover.h"
#include "agent/conf/conf.h"
#include "agent/report/screen.h"
#include "agent/run/agent.h"

static int add(struct discover *discover, const char *name, const char *text)
{
    if (discover->setting_count == DISCOVER_SETTINGS_MAX)
        return -1;
    discover->settings[discover->setting_count++] = (struct discover_setting){ name, text };
    return 0;
}

/* The token is read anew at every use: here it is only tested that it can be. */
static int add_token(struct discover *discover, const struct cli *cli, char **owned)
{
    const char *file = cli_value(cli, "token-file");
    struct err err = { 0 };

    if (!file)
        return 0;
    if (file_validate(file, &err) < 0 || access(file, R_OK) < 0) {
        cli_error(cli, "--token-file %s: %s", file, *err.text ? err.text : strerror(errno));
        return -1;
    }
    *owned = mem_printf("${file:%s}", file);
    return add(discover, "token", *owned);
}

int discover_take_flags(struct discover *discover, const struct cli *cli, char **owned)
{
    static const struct {
        const char *flag, *name;
    } flags[] = { { "origin", "origin" }, { "header", "headers" }, { "ca", "tls.ca_file" } };

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        size_t at = 0;

        for (const char *value; (value = cli_next(cli, flags[i].flag, &at));)
            if (add(discover, flags[i].name, value) < 0)
                return cli_error(cli, "--%s: too many", flags[i].flag), -1;
    }
    if (cli_has(cli, "insecure") && add(discover, "tls.verify", "false") < 0)
        return -1;
    return add_token(discover, cli, owned);
}

/* http:// and https:// are what people have in their hands: the same server, asked for a WebSocket. The caller frees it. */
char *discover_target_url(const char *url)
{
    if (strncmp(url, "http", 4) == 0 && strstr(url, "://"))
        return mem_printf("ws%s", url + 4);
    return mem_strdup(url);
}

/* What is written here must load: a file that does not would be this program's fault, and is not written. */
static int validate(const struct cli *cli, const struct buf *text)
{
    struct conf_errors errors;
    struct conf *conf;
    int code = EXIT_PASS;

    conf_errors_init(&errors);
    conf = conf_load_text("config init", buf_slice(text), &agent_conf_env, &errors);
    if (!conf) {
        cli_error(cli, "the configuration for this URL would not be valid:");
        code = cli_conf_errors(&errors);
    }
    conf_unref(conf);
    conf_errors_fini(&errors);
    return code;
}

static int write_all(const struct cli *cli, const struct discover *discover, const struct discovery *found, const char *file)
{
    struct buf conf = BUF_INIT(CLI_TEXT_MAX), said = BUF_INIT(CLI_TEXT_MAX);
    bool works = found->outcome == OUTCOME_DIALECT || found->outcome == OUTCOME_RAW,
         open = !*discover->url.user && !*discover->url.password;
    int code = works ? EXIT_PASS : EXIT_FAIL, written;

    discover_write_conf(discover, found, &conf);
    discover_write_findings(discover, found, &said);
    if (cli_has(cli, "dry-run")) {
        code = cli_print_text(cli, &said, code);
        goto out;
    }
    written = validate(cli, &conf);
    /* A URL with a password is for the owner's eyes. */
    if (written == EXIT_PASS)
        written = cli_write_new(cli, file, &conf, open && !strchr(discover->text, '?') ? 0644 : 0600);
    if (written != EXIT_PASS) {
        code = written;
    } else if (file) {
        buf_printf(&said, "%s is written. %s: %s check -c %s\n", file, found->advice ? "When that is done" : "Next", program_name(),
                   file);
        code = cli_print_text(cli, &said, code);
    }
out:
    buf_fini(&conf);
    buf_fini(&said);
    return code;
}

static void tell_patience(const struct cli *cli, const char *url)
{
    char shown[DISCOVER_URL_MAX];

    if (isatty(STDERR_FILENO) != 1)
        return;
    url_redact(url, shown, sizeof shown);
    cli_error(cli, "asks %s, for 10 s at most", shown);
}

int cli_init_url(const struct cli *cli, const char *url, const char *file)
{
    struct discover *discover = mem_alloc(sizeof *discover);
    struct discovery *found = mem_alloc(sizeof *found);
    char *text = discover_target_url(url), *token = NULL;
    const struct discover_result *best;
    struct err err;
    int code = EXIT_UNKNOWN;

    log_configure(LOG_ERROR, LOG_LOGFMT);
    discover->text = text;
    if (discover_take_flags(discover, cli, &token) < 0)
        goto out;
    if (file && access(file, F_OK) == 0 && !cli_has(cli, "dry-run")) {
        cli_error(cli, "%s: exists already, and is left as it is: remove it first, or give another name", file);
        goto out;
    }
    tell_patience(cli, text);
    if (discover_run(discover, &agent_conf_env, DISCOVER_ALL_MS, true, &err) < 0) {
        cli_error(cli, "%s", err.text);
        goto out;
    }
    best = discover_best(discover);
    if (best && *best->address && (best->opened || reason_phase(best->err.reason) > PHASE_CONNECT))
        discover_look(best->address, &discover->host);
    discover_judge(discover, found);
    code = write_all(cli, discover, found, file);
out:
    mem_free(token);
    mem_free(text);
    mem_free(found);
    mem_free(discover);
    return code;
}
