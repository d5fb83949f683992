/*
 * What all commands share: printing errors and results, and finding the configuration. Called by the cli_*.c files. Promises that
 * results go to stdout and everything else to stderr, each error as one line.
 */
#include "agent/cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/program.h"
#include "agent/base/text.h"
#include "agent/conf/conf.h"
#include "agent/proto/json_pretty.h"
#include "agent/report/screen.h"
#include "agent/run/agent.h"

enum { PRETTY_MAX = 32 << 20 };

int cli_error(const struct cli *cli, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX + 512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct buf line = BUF_INIT(2 * sizeof text);
    buf_printf(&line, "wshealthd %s: %s\n", cli->command->name, text);
    screen_tell(buf_str(&line));
    buf_fini(&line);
    return EXIT_UNKNOWN;
}

int cli_print(const struct cli *cli, const struct buf *out, int code)
{
    size_t written = out->len ? fwrite(out->data, 1, out->len, stdout) : 0;
    if (written == out->len && fflush(stdout) == 0)
        return code;
    if (errno == EPIPE)
        return code; /* the reader has closed the pipe, as `head` does */
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

int cli_print_text(const struct cli *cli, struct buf *out, int code)
{
    const struct screen screen = screen_look();
    screen_fit(&screen, out);
    return cli_print(cli, out, code);
}

int cli_print_json(const struct cli *cli, const struct buf *out, int code)
{
    const struct screen screen = screen_look();
    struct buf pretty = BUF_INIT(PRETTY_MAX);
    bool laid_out = screen.terminal && json_pretty(buf_slice(out), screen.ascii, &pretty) == 0;
    code = cli_print(cli, laid_out ? &pretty : out, code);
    buf_fini(&pretty);
    return code;
}

int cli_conf_errors(const struct conf_errors *errors)
{
    struct buf text = BUF_INIT(CLI_TEXT_MAX);
    buf_append_slice(&text, buf_slice(&errors->text));
    screen_tell(buf_str(&text));
    buf_fini(&text);
    return EXIT_UNKNOWN;
}

struct conf *cli_load(const struct cli *cli, const char *url, const char **file)
{
    struct conf_errors errors;
    struct conf *conf;
    *file = cli_value(cli, "config");
    if (!*file && !url) {
        if (access(CLI_CONFIG_FILE, F_OK) != 0) {
            cli_error(cli, "nothing to look at: want a URL, -c FILE, or the file " CLI_CONFIG_FILE " (see '%s help %s')",
                      program_name(), cli->command->name);
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
