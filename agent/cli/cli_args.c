/*
 * Parses argv into a struct cli, by the rows of a command table. Owns the grammar: --name value, --name=value, -c value, -cvalue,
 * `--` ends the flags, `run` may be left out. Called by agent/main.c once. Every usage error is one line, with the nearest name for
 * a typo. The commands check the values.
 */
#include <string.h>

#include "agent/base/program.h"
#include "agent/base/text.h"
#include "agent/cli/cli.h"

enum { NAMES_MAX = 64, FLAG_CHARS = 40, WORD_CHARS = 60 };

static const struct cli_flag help_flag = { "help", NULL, "shows this help", 'h', false };

const struct cli_command *cli_find(const struct cli_command *commands, const char *name)
{
    for (; commands->name; commands++)
        if (strcmp(commands->name, name) == 0)
            return commands;
    return NULL;
}

static const struct cli_flag *flag_named(const struct cli_command *command, const char *name, size_t len)
{
    if (len == strlen(help_flag.name) && memcmp(help_flag.name, name, len) == 0)
        return &help_flag;
    for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++)
        if (strlen(flag->name) == len && memcmp(flag->name, name, len) == 0)
            return flag;
    return NULL;
}

static const struct cli_flag *flag_lettered(const struct cli_command *command, char letter)
{
    if (letter == help_flag.letter)
        return &help_flag;
    for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++)
        if (flag->letter && flag->letter == letter)
            return flag;
    return NULL;
}

/* Names of flags that users try for secrets. */
static bool is_secret(const char *name)
{
    static const char *const secrets[] = { "token", "bearer",        "password", "pass", "secret",
                                           "auth",  "authorization", "api-key",  "user", "key" };
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (strcmp(name, secrets[i]) == 0)
            return true;
    return false;
}

static int unknown_flag(const struct cli_command *command, const char *word, struct err *err)
{
    const char *names[NAMES_MAX], *dashes = strncmp(word, "--", 2) == 0 ? "--" : "-";
    const char *name = word + strlen(dashes), *nearest;
    char typed[TEXT_EXCERPT_BYTES(FLAG_CHARS)];
    size_t count = 0;
    for (const struct cli_flag *flag = command->flags; flag && flag->name && count < NAMES_MAX; flag++)
        if (flag->help)
            names[count++] = flag->name;
    text_excerpt(slice_make(name, strcspn(name, "=")), FLAG_CHARS, typed, sizeof typed);
    if (is_secret(typed) && flag_named(command, "token-file", strlen("token-file")))
        return err_set(
            err, REASON_NONE, 0,
            "wshealthd %s: unknown flag %s%s (did you mean '--token-file'? Secrets are never flags: every process of the host "
            "can read those)",
            command->name, dashes, typed);
    nearest = text_nearest(typed, names, count);
    if (nearest)
        return err_set(err, REASON_NONE, 0, "wshealthd %s: unknown flag %s%s (did you mean '--%s'?)", command->name, dashes, typed,
                       nearest);
    return err_set(err, REASON_NONE, 0, "wshealthd %s: unknown flag %s%s (see '%s help %s')", command->name, dashes, typed,
                   program_name(), command->name);
}

static int give(struct cli *cli, const struct cli_flag *flag, const char *value, struct err *err)
{
    if (flag == &help_flag)
        return cli->help = true, 0;
    if (!flag->repeats && cli_has(cli, flag->name))
        return err_set(err, REASON_NONE, 0, "wshealthd %s: --%s is given twice", cli->command->name, flag->name);
    if (cli->given_count == CLI_GIVEN_MAX)
        return err_set(err, REASON_NONE, 0, "wshealthd %s: more than %d flags", cli->command->name, CLI_GIVEN_MAX);
    cli->given[cli->given_count++] = (struct cli_given){ flag, value };
    return 0;
}

/* One flag at argv[*at], and its value behind it where it takes one. */
static int read_flag(struct cli *cli, int argc, char *const *argv, int *at, struct err *err)
{
    const char *word = argv[*at], *value = NULL;
    bool is_long = strncmp(word, "--", 2) == 0;
    const struct cli_flag *flag;
    if (is_long) {
        size_t len = strcspn(word + 2, "=");
        flag = flag_named(cli->command, word + 2, len);
        if (word[2 + len])
            value = word + 2 + len + 1;
    } else {
        flag = flag_lettered(cli->command, word[1]);
        if (word[2])
            value = word + 2;
        if (flag && !flag->value && value)
            flag = NULL; /* -hx, -json: no bundles, so that typos are found */
    }
    if (!flag)
        return unknown_flag(cli->command, word, err);
    if (!flag->value && value)
        return err_set(err, REASON_NONE, 0, "wshealthd %s: --%s takes no value", cli->command->name, flag->name);
    if (flag->value && !value) {
        if (*at + 1 >= argc)
            return err_set(err, REASON_NONE, 0, "wshealthd %s: --%s needs a value: --%s %s", cli->command->name, flag->name,
                           flag->name, flag->value);
        value = argv[++*at];
    }
    return give(cli, flag, value ? value : "", err);
}

static int read_argument(struct cli *cli, const char *word, struct err *err)
{
    char shown[TEXT_EXCERPT_BYTES(WORD_CHARS)];
    if (cli->arg_count < cli->command->max_args && cli->arg_count < CLI_ARGS_MAX)
        return cli->args[cli->arg_count++] = word, 0;
    text_excerpt(slice_str(word), WORD_CHARS, shown, sizeof shown);
    return err_set(err, REASON_NONE, 0, "wshealthd %s: '%s' is one argument too many, want: %s %s%s%s", cli->command->name, shown,
                   program_name(), cli->command->name, *cli->command->synopsis ? " " : "", cli->command->synopsis);
}

/* The first word: a command, one of the two flags that are commands of their own, or something that only `run` takes. */
static const struct cli_command *command_of(const struct cli_command *commands, const char *word, bool *eaten)
{
    const char *name = word;
    if (!strcmp(word, "--help") || !strcmp(word, "-h"))
        name = "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V"))
        name = "version";
    const struct cli_command *command = cli_find(commands, name);
    *eaten = command;
    if (!command && (word[0] == '-' || strstr(word, "://")))
        command = cli_find(commands, "run");
    return command;
}

static int unknown_command(const struct cli_command *commands, const char *word, struct err *err)
{
    const char *names[NAMES_MAX] = { NULL };
    char shown[TEXT_EXCERPT_BYTES(WORD_CHARS)];
    size_t count = 0;
    for (const struct cli_command *command = commands; command->name && count < NAMES_MAX; command++)
        names[count++] = command->name;
    text_excerpt(slice_str(word), WORD_CHARS, shown, sizeof shown);
    const char *nearest = text_nearest(word, names, count);
    if (nearest)
        return err_set(err, REASON_NONE, 0, "wshealthd: unknown command '%s' (did you mean '%s'?)", shown, nearest);
    if (strpbrk(word, ":/."))
        return err_set(err, REASON_NONE, 0, "wshealthd: '%s' is neither a command nor a URL (a URL begins with ws:// or wss://)",
                       shown);
    return err_set(err, REASON_NONE, 0, "wshealthd: unknown command '%s' (see '%s help')", shown, program_name());
}

int cli_parse(struct cli *cli, const struct cli_command *commands, int argc, char *const *argv, struct err *err)
{
    bool eaten = false, flags = true;
    memset(cli, 0, sizeof *cli);
    cli->commands = commands;
    cli->command = argc > 1 ? command_of(commands, argv[1], &eaten) : cli_find(commands, "run");
    if (!cli->command)
        return unknown_command(commands, argv[1], err);
    for (int at = eaten ? 2 : 1; at < argc; at++) {
        const char *word = argv[at];
        bool is_flag = flags && word[0] == '-' && word[1];
        if (is_flag && strcmp(word, "--") == 0)
            flags = false;
        else if ((is_flag ? read_flag(cli, argc, argv, &at, err) : read_argument(cli, word, err)) < 0)
            return -1;
    }
    return 0;
}

const char *cli_value(const struct cli *cli, const char *flag)
{
    size_t at = 0;
    return cli_next(cli, flag, &at);
}

bool cli_has(const struct cli *cli, const char *flag)
{
    return cli_value(cli, flag);
}

const char *cli_next(const struct cli *cli, const char *flag, size_t *at)
{
    while (*at < cli->given_count) {
        const struct cli_given *given = &cli->given[(*at)++];
        if (strcmp(given->flag->name, flag) == 0)
            return given->value;
    }
    return NULL;
}
