/*
 * The command line: what a command is, what was typed, and what all commands share. A command is a row (agent/main.c): parsing, usage
 * errors, `help` and the manual come from the same row. Each family of commands has a file of its own (cli_check.c, cli_run.c, cli_ask.c,
 * cli_config.c, cli_explain.c, cli_notify.c, cli_help.c, cli_complete.c); every command returns the exit code of the process.
 */
#ifndef WSHEALTHD_CLI_CLI_H
#define WSHEALTHD_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/err.h"

#define CLI_CONFIG_FILE "/etc/wshealthd/wshealthd.yaml"

/* Contract: the same for every command. */
enum { EXIT_PASS = 0, EXIT_WARN = 1, EXIT_FAIL = 2, EXIT_UNKNOWN = 3 };
enum { CLI_GIVEN_MAX = 64, CLI_ARGS_MAX = 4, CLI_TEXT_MAX = 1 << 20 };

struct cli_flag {
    const char *name; /* without the dashes */
    const char
        *value; /* what to call its value in the help, FILE, TYPE, DIALECT and FAULT being known to completion; NULL: takes none */
    const char *help; /* no full stop; NULL: not shown */
    char letter;      /* -c, or 0 */
    bool repeats;
};

struct cli_example {
    const char *line, *says;
};

struct cli;
struct cli_command {
    const char *name;
    const char *synopsis; /* what follows the name */
    const char *summary;  /* one line of `help`, no full stop */
    const char *about;    /* further sentences; may be NULL */
    size_t max_args;
    const struct cli_flag *flags;       /* ends with a row without name; NULL: none */
    const struct cli_example *examples; /* ends with a row without line */
    int (*run)(struct cli *cli);
};

/* What was typed. */
struct cli {
    const struct cli_command *commands; /* the whole table, ends with a row without name */
    const struct cli_command *command;
    bool help; /* --help was among the flags */
    struct cli_given {
        const struct cli_flag *flag;
        const char *value;
    } given[CLI_GIVEN_MAX];
    size_t given_count;
    const char *args[CLI_ARGS_MAX];
    size_t arg_count;
};

/* 0, or -1 and err: one line that begins with the program and the command ("wshealthd check: unknown flag …"). A first word that is no
 * command but a flag or a URL means `run`. */
int cli_parse(struct cli *cli, const struct cli_command *commands, int argc, char *const *argv, struct err *err);
const struct cli_command *cli_find(const struct cli_command *commands, const char *name);
const char *cli_value(const struct cli *cli, const char *flag); /* NULL: not given; "" for a flag that takes no value */
bool cli_has(const struct cli *cli, const char *flag);
/* The values of a flag that repeats, one by one: *at starts at 0. NULL: no more. */
const char *cli_next(const struct cli *cli, const char *flag, size_t *at);
/* The value of a flag such as --timeout. 0 (without the flag ms keeps its value), or -1: the error has been printed. */
int cli_duration(const struct cli *cli, const char *flag, int64_t *ms);

/* "wshealthd check: …" on stderr; returns EXIT_UNKNOWN, so that commands can say `return cli_error(…)`. */
int cli_error(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Print the result on stdout. Return `code`, or EXIT_UNKNOWN if it cannot be written. cli_print is for programs and changes
 * nothing; cli_print_text changes `out` to fit the screen; cli_print_json indents JSON on a terminal. */
int cli_print(const struct cli *cli, const struct buf *out, int code);
int cli_print_text(const struct cli *cli, struct buf *out, int code);
int cli_print_json(const struct cli *cli, const struct buf *out, int code);

/* The configuration from -c, the URL, or the usual file. NULL: the errors have been printed. *file is NULL if no file was read. */
struct conf;
struct conf *cli_load(const struct cli *cli, const char *url, const char **file);
struct conf_errors;
int cli_conf_errors(const struct conf_errors *errors); /* prints them; EXIT_UNKNOWN */

/* A table made from the code's own lists, for `help TOPIC` and, as roff, for the manual. false: no such topic. */
bool cli_write_topic(const struct cli_command *commands, const char *topic, bool roff, struct buf *out);
const char *cli_topic(size_t i); /* the names of the tables; NULL: no more */
void cli_write_help(const struct cli_command *commands, const struct cli_command *command,
                    struct buf *out); /* command NULL: the list */

/* Appends the text, with the name by which the user's shell finds this program in commands ("wshealthd resume"). */
void cli_put_as_typed(const struct cli_command *commands, const char *text, struct buf *out);

/* The configuration of `check`, after the flags: one reference. NULL: the error has been printed. */
struct conf *cli_check_conf(const struct cli *cli);

int cli_run(struct cli *cli);
int cli_demo(struct cli *cli);
int cli_check(struct cli *cli);
int cli_status(struct cli *cli);
int cli_fleet(struct cli *cli);
int cli_wait(struct cli *cli);
int cli_drain(struct cli *cli);
int cli_resume(struct cli *cli);
int cli_reload(struct cli *cli);
int cli_config(struct cli *cli);
int cli_explain(struct cli *cli);
int cli_notify(struct cli *cli);
int cli_help(struct cli *cli);
int cli_complete(struct cli *cli);
int cli_version(struct cli *cli);

/* The text, with the flag instead of each key that a flag has set (agent/cli/cli_flags.c). The caller frees it. file: has a file
 * been read? */
char *cli_name_flags(const struct cli *cli, bool file, const char *text);

#endif
