/*
 * `wshealthd config`: check, show, init, schema. Finds the file and prints; agent/conf does the work, and cli_init.c that of `init URL`.
 * Called by agent/main.c. Never overwrites a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/text.h"
#include "agent/cli/cli_config_impl.h"
#include "agent/conf/conf.h"
#include "agent/run/agent.h"

/* The argument FILE, or that of -c, or NULL. */
static const char *file_of(const struct cli *cli)
{
    return cli->arg_count > 1 ? cli->args[1] : cli_value(cli, "config");
}

static struct conf *load(const char *file)
{
    struct conf_errors errors;
    conf_errors_init(&errors);
    struct conf *conf = conf_load_file(file, &agent_conf_env, &errors);
    if (!conf)
        cli_conf_errors(&errors);
    conf_errors_fini(&errors);
    return conf;
}

static int config_check(const struct cli *cli, const char *file)
{
    file = file ? file : CLI_CONFIG_FILE;
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    struct conf *conf = load(file);
    if (!conf)
        return EXIT_UNKNOWN;
    size_t enabled = 0;
    for (size_t i = 0; i < conf->check_count; i++)
        enabled += conf->checks[i].enabled;
    buf_printf(&out, "%s: OK (%zu check%s)\n", file, enabled, enabled == 1 ? "" : "s");
    int code = cli_print_text(cli, &out, EXIT_PASS);
    char warning[256];
    if (conf_warns(conf, warning, sizeof warning))
        cli_error(cli, "%s: warning: %s", file, warning);
    buf_fini(&out);
    conf_unref(conf);
    return code;
}

static int config_show(const struct cli *cli, const char *file)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    struct conf *conf = load(file ? file : CLI_CONFIG_FILE);
    if (!conf)
        return EXIT_UNKNOWN;
    conf_show(conf, &agent_conf_env, &out);
    int code = cli_print(cli, &out, EXIT_PASS);
    buf_fini(&out);
    conf_unref(conf);
    return code;
}

int cli_write_new(const struct cli *cli, const char *file, const struct buf *out, mode_t mode)
{
    if (!file)
        return cli_print(cli, out, EXIT_PASS);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    const char *slash = strrchr(file, '/');
    if (fd < 0 && errno == ENOENT && slash && slash != file)
        return cli_error(cli, "%s: there is no directory %.*s: make it first (mkdir -p %.*s)", file, (int)(slash - file), file,
                         (int)(slash - file), file);
    if (fd < 0)
        return cli_error(cli, "%s: %s", file,
                         errno == EEXIST ? "exists already, and is left as it is: remove it first, or give another name"
                                         : strerror(errno));
    ssize_t written = write(fd, out->data, out->len);
    int failed = errno;
    if (close(fd) == 0 && written == (ssize_t)out->len)
        return EXIT_PASS;
    unlink(file);
    return cli_error(cli, "%s: cannot be written: %s", file, strerror(written < 0 ? failed : ENOSPC));
}

static int config_init(const struct cli *cli, const char *file)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    if (cli_has(cli, "short"))
        conf_write_short(&out);
    else
        conf_write_starter(&agent_conf_env, &out);
    int code = cli_write_new(cli, file, &out, 0644);
    buf_fini(&out);
    return code;
}

static int config_schema(const struct cli *cli, const char *file)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    conf_write_schema(&agent_conf_env, &out);
    int code = file ? cli_write_new(cli, file, &out, 0644) : cli_print_json(cli, &out, EXIT_PASS);
    buf_fini(&out);
    return code;
}

int cli_config(struct cli *cli)
{
    static const char *const names[] = { "check", "show", "init", "schema" };
    static int (*const actions[])(const struct cli *cli, const char *file) = { config_check, config_show, config_init,
                                                                               config_schema };
    static const char *const of_url[] = { "dry-run", "origin", "header", "token-file", "ca", "insecure" };
    enum { ACTIONS = sizeof names / sizeof *names };
    if (!cli->arg_count)
        return cli_error(cli, "want one of check, show, init, schema");
    bool init = strcmp(cli->args[0], "init") == 0;
    if (cli_has(cli, "short") && !init)
        return cli_error(cli, "--short belongs to config init");
    if (init && cli->arg_count > 1 && strstr(cli->args[1], "://"))
        return cli_has(cli, "short")
                   ? cli_error(cli, "--short belongs to config init without a URL")
                   : cli_init_url(cli, cli->args[1], cli->arg_count > 2 ? cli->args[2] : cli_value(cli, "config"));
    if (init && cli->arg_count > 1 && strchr(cli->args[1], ':') && !strchr(cli->args[1], '/'))
        return cli_error(cli, "'%.60s' looks like an address: want a URL, ws://%.60s, or ./%.60s for a file of that name",
                         cli->args[1], cli->args[1], cli->args[1]);
    if (cli->arg_count > 2)
        return cli_error(cli, "unexpected argument '%.60s'", cli->args[2]);
    for (size_t i = 0; i < sizeof of_url / sizeof *of_url; i++)
        if (cli_has(cli, of_url[i]))
            return cli_error(cli, "--%s belongs to config init URL", of_url[i]);
    for (size_t i = 0; i < ACTIONS; i++)
        if (strcmp(cli->args[0], names[i]) == 0)
            return actions[i](cli, file_of(cli));
    const char *nearest = text_nearest(cli->args[0], names, ACTIONS);
    if (nearest)
        return cli_error(cli, "unknown action '%.60s' (did you mean '%s'?)", cli->args[0], nearest);
    return cli_error(cli, "unknown action '%.60s', want one of check, show, init, schema", cli->args[0]);
}
