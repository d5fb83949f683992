/*
 * What all commands share: telling errors, printing results, the terminal, and finding the configuration. Called by the cli_*.c files.
 * Promises that results go to stdout and everything else to stderr, each error as one line.
 */
#include "agent/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/base/text.h"
#include "agent/core/conf.h"

int cli_error(const struct cli *cli, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX + 512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fprintf(stderr, "wshealthd %s: %s\n", cli->command->name, text);
    return EXIT_UNKNOWN;
}

int cli_print(const struct cli *cli, const struct buf *out, int code)
{
    size_t written = out->len ? fwrite(out->data, 1, out->len, stdout) : 0;
    if (written == out->len && fflush(stdout) == 0)
        return code;
    if (errno == EPIPE)
        return code; /* the reader has seen enough */
    return cli_error(cli, "cannot write the result: %s", strerror(errno));
}

int cli_duration(const struct cli *cli, const char *flag, int64_t *ms)
{
    const char *text = cli_value(cli, flag);
    if (!text || text_parse_duration(text, ms) == 0)
        return 0;
    cli_error(cli, "--%s '%s', want a duration such as 250ms or 1m30s", flag, text);
    return -1;
}

bool cli_wants_colour(bool terminal, const char *no_color, const char *term)
{
    return terminal && !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
}

struct cli_terminal cli_terminal(void)
{
    struct winsize size = { 0 };
    bool terminal = isatty(STDOUT_FILENO) == 1;
    struct cli_terminal result = { .colour = cli_wants_colour(terminal, getenv("NO_COLOR"), getenv("TERM")) };
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        result.width = size.ws_col;
    return result;
}

int cli_conf_errors(const struct conf_errors *errors)
{
    fwrite(errors->text.data, 1, errors->text.len, stderr);
    return EXIT_UNKNOWN;
}

struct conf *cli_load(const struct cli *cli, const char *url, const char **file)
{
    struct conf_errors errors;
    struct conf *conf;
    *file = cli_value(cli, "config");
    if (!*file && !url) {
        if (access(CLI_CONFIG_FILE, F_OK) != 0) {
            cli_error(cli, "nothing to look at: want a URL, -c FILE, or the file " CLI_CONFIG_FILE " (see 'wshealthd help %s')",
                      cli->command->name);
            return NULL;
        }
        *file = CLI_CONFIG_FILE;
    }
    conf_errors_init(&errors);
    conf = *file ? agent_load(*file, url, &errors) : conf_for_url(url, &agent_conf_env, &errors);
    if (!conf)
        cli_conf_errors(&errors);
    conf_errors_fini(&errors);
    return conf;
}
