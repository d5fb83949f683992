/*
 * `wshealthd completion SHELL`: the completion for bash, zsh or fish, made from the table of commands. What a flag takes is told by the
 * name of its value in that table (TYPE, FILE, "ready|live"), and what a command takes by its synopsis, so that a new flag or command
 * completes without a line here. Called by agent/main.c.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/text.h"
#include "agent/cli/cli.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/core/probe.h"
#include "agent/demo/demo_faults.h"
#include "agent/report/explain.h"
#include "agent/run/agent.h"

enum { WORDS_MAX = 512 };

static void put_word(struct buf *out, struct slice word)
{
    if (out->len)
        buf_append_char(out, ' ');
    buf_append_slice(out, word);
}

static void put_types(const struct cli_command *commands, struct buf *out)
{
    (void)commands;
    for (const struct probe_type *const *type = agent_conf_env.probes; *type; type++)
        put_word(out, slice_str((*type)->name));
}

static void put_dialects(const struct cli_command *commands, struct buf *out)
{
    (void)commands;
    for (const struct dialect *const *dialect = agent_conf_env.dialects; *dialect; dialect++)
        put_word(out, slice_str((*dialect)->name));
}

static void put_faults(const struct cli_command *commands, struct buf *out)
{
    (void)commands;
    for (int fault = 0; fault < DEMO_FAULT_COUNT; fault++)
        put_word(out, slice_str(demo_fault_name((enum demo_fault)fault)));
}

static void put_explained(const struct cli_command *commands, struct buf *out)
{
    const char *words[WORDS_MAX] = { NULL };
    size_t count = explain_words(words, WORDS_MAX);
    (void)commands;
    for (size_t i = 0; i < count; i++)
        put_word(out, slice_str(words[i]));
}

static void put_topics(const struct cli_command *commands, struct buf *out)
{
    for (const struct cli_command *command = commands; command->name; command++)
        put_word(out, slice_str(command->name));
    for (size_t i = 0; cli_topic(i); i++)
        put_word(out, slice_str(cli_topic(i)));
}

static const struct {
    const char *value;
    void (*put)(const struct cli_command *commands, struct buf *out);
} lists[] = {
    { "TYPE", put_types },           { "DIALECT", put_dialects }, { "FAULT", put_faults }, { "CAUSE|REASON", put_explained },
    { "COMMAND|TABLE", put_topics },
};

/* The words that may stand for a value such as TYPE or "1.1|2|both"; none for a value that nobody can guess. */
static void put_values(const struct cli_command *commands, const char *value, struct buf *out)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(value, lists[i].value) == 0) {
            lists[i].put(commands, out);
            return;
        }
    for (; strchr(value, '|') || out->len; value += strcspn(value, "|") + 1) {
        put_word(out, slice_make(value, strcspn(value, "|")));
        if (!strchr(value, '|'))
            return;
    }
}

/* What a command takes besides its flags: the words of its synopsis without brackets. Returns whether a file may follow. */
static bool put_arguments(const struct cli_command *commands, const struct cli_command *command, struct buf *out)
{
    bool file = false, flag = false;
    for (const char *at = command->synopsis; *at; at += strspn(at, " ")) {
        char word[64];
        size_t len = strcspn(at, " "), open = *at == '[';
        flag = flag || at[open] == '-'; /* up to its bracket: "[-c FILE]" */
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at + open, " ]"), at + open);
        if (!flag && strcmp(word, "FILE") == 0)
            file = true;
        else if (!flag)
            put_values(commands, word, out);
        flag = flag && at[len - 1] != ']';
        at += len;
    }
    return file;
}

static bool takes_file(const struct cli_flag *flag)
{
    return flag->value && !strcmp(flag->value, "FILE");
}

/* --- bash ----------------------------------------------------------------------------------------------------------------------- */

static void put_bash_flags(const struct cli_command *command, struct buf *out)
{
    for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++) {
        if (!flag->help)
            continue;
        buf_printf(out, "--%s ", flag->name);
        if (flag->letter)
            buf_printf(out, "-%c ", flag->letter);
    }
    buf_append_str(out, "--help");
}

static void put_bash_command(const struct cli_command *commands, const struct cli_command *command, struct buf *out)
{
    struct buf words = BUF_INIT(CLI_TEXT_MAX);
    buf_printf(out, "    %s)\n        case $prev in\n", command->name);
    for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++) {
        if (!flag->help || !flag->value)
            continue;
        buf_reset(&words);
        put_values(commands, flag->value, &words);
        buf_printf(out, "        --%s", flag->name);
        if (flag->letter)
            buf_printf(out, " | -%c", flag->letter);
        buf_printf(out, ") words='%s' files=%s value=1 ;;\n", buf_str(&words), takes_file(flag) ? "1" : "");
    }
    buf_reset(&words);
    bool file = put_arguments(commands, command, &words);
    buf_append_str(out, "        *) flags='");
    put_bash_flags(command, out);
    buf_printf(out, "' words='%s' files=%s ;;\n        esac ;;\n", buf_str(&words), file ? "1" : "");
    buf_fini(&words);
}

static void write_bash(const struct cli_command *commands, struct buf *out)
{
    buf_append_str(out, "# Completion of wshealthd for bash: `wshealthd completion bash`.\n_wshealthd() {\n"
                        "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=run words='' flags='' "
                        "files='' value=''\n"
                        "    local commands='");
    for (const struct cli_command *command = commands; command->name; command++)
        buf_printf(out, "%s%s", command == commands ? "" : " ", command->name);
    buf_append_str(
        out, "'\n    case \" $commands \" in *\" ${COMP_WORDS[1]} \"*) ((COMP_CWORD < 2)) || command=${COMP_WORDS[1]} ;; esac\n"
             "    case $command in\n");
    for (const struct cli_command *command = commands; command->name; command++)
        put_bash_command(commands, command, out);
    buf_append_str(out, "    esac\n    ((COMP_CWORD > 1)) || words=\"$words $commands\"\n"
                        "    [[ $value || $cur != -* ]] || words=$flags\n"
                        "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\"; [[ ! $files || ( ! $value && $cur == -* ) "
                        "]] || compgen -f -- \"$cur\")\n"
                        "    [[ ! $files ]] || compopt -o filenames 2>/dev/null\n}\n"
                        "complete -F _wshealthd wshealthd\n");
}

/* --- zsh ------------------------------------------------------------------------------------------------------------------------ */

/* Inside '…' and inside […] of a specification of _arguments. */
static void put_zsh_text(const char *text, struct buf *out)
{
    for (; *text; text++) {
        if (*text == '\'')
            buf_append_str(out, "'\\''");
        else if (strchr("[]:\\", *text))
            buf_printf(out, "\\%c", *text);
        else
            buf_append_char(out, *text);
    }
}

static void put_zsh_flag(const struct cli_command *commands, const struct cli_flag *flag, struct buf *out)
{
    struct buf words = BUF_INIT(CLI_TEXT_MAX);
    if (flag->letter)
        buf_printf(out, " \\\n            '(-%c --%s)'{-%c,--%s}'[", flag->letter, flag->name, flag->letter, flag->name);
    else
        buf_printf(out, " \\\n            '%s--%s[", flag->repeats ? "*" : "", flag->name);
    put_zsh_text(flag->help, out);
    buf_append_str(out, "]");
    if (flag->value) {
        put_values(commands, flag->value, &words);
        buf_append_str(out, ":");
        put_zsh_text(flag->value, out);
        if (takes_file(flag))
            buf_append_str(out, ":_files");
        else if (words.len)
            buf_printf(out, ":(%s)", buf_str(&words));
        else
            buf_append_str(out, ": ");
    }
    buf_append_char(out, '\'');
    buf_fini(&words);
}

static void write_zsh(const struct cli_command *commands, struct buf *out)
{
    struct buf words = BUF_INIT(CLI_TEXT_MAX);
    buf_append_str(
        out, "#compdef wshealthd\n# Completion of wshealthd for zsh: `wshealthd completion zsh`.\nlocal -a commands\ncommands=(\n");
    for (const struct cli_command *command = commands; command->name; command++) {
        buf_printf(out, "    '%s:", command->name);
        put_zsh_text(command->summary, out);
        buf_append_str(out, "'\n");
    }
    buf_append_str(out,
                   ")\nif (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n    _describe command commands\n    return\nfi\n"
                   "local command=run\nif [[ -n ${(M)commands:#${words[2]}:*} ]]; then\n    command=$words[2]\n    shift words\n"
                   "    (( CURRENT-- ))\nfi\ncase $command in\n");
    for (const struct cli_command *command = commands; command->name; command++) {
        buf_printf(out, "    %s)\n        _arguments -s", command->name);
        for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++)
            if (flag->help)
                put_zsh_flag(commands, flag, out);
        buf_append_str(out, " \\\n            '--help[shows the help of this command]'");
        buf_reset(&words);
        bool file = put_arguments(commands, command, &words);
        if (words.len)
            buf_printf(out, " \\\n            '1: :(%s)'", buf_str(&words));
        if (file)
            buf_append_str(out, " \\\n            '*:FILE:_files'");
        buf_append_str(out, " ;;\n");
    }
    buf_append_str(out, "esac\n");
    buf_fini(&words);
}

/* --- fish ----------------------------------------------------------------------------------------------------------------------- */

static void put_fish_text(const char *text, struct buf *out)
{
    for (; *text; text++)
        buf_printf(out, *text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
}

static void write_fish(const struct cli_command *commands, struct buf *out)
{
    struct buf words = BUF_INIT(CLI_TEXT_MAX);
    buf_append_str(out, "# Completion of wshealthd for fish: `wshealthd completion fish`.\ncomplete -c wshealthd -f\n");
    for (const struct cli_command *command = commands; command->name; command++) {
        buf_printf(out, "complete -c wshealthd -n __fish_use_subcommand -a %s -d '", command->name);
        put_fish_text(command->summary, out);
        buf_append_str(out, "'\n");
        for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++) {
            if (!flag->help)
                continue;
            buf_reset(&words);
            buf_printf(out, "complete -c wshealthd -n '__fish_seen_subcommand_from %s' -l %s", command->name, flag->name);
            if (flag->letter)
                buf_printf(out, " -s %c", flag->letter);
            if (flag->value)
                put_values(commands, flag->value, &words);
            if (takes_file(flag))
                buf_append_str(out, " -r -F");
            else if (flag->value)
                buf_printf(out, " -x -a '%s'", buf_str(&words));
            buf_append_str(out, " -d '");
            put_fish_text(flag->help, out);
            buf_append_str(out, "'\n");
        }
        buf_reset(&words);
        bool file = put_arguments(commands, command, &words);
        if (words.len)
            buf_printf(out, "complete -c wshealthd -n '__fish_seen_subcommand_from %s' -a '%s'\n", command->name, buf_str(&words));
        if (file)
            buf_printf(out, "complete -c wshealthd -n '__fish_seen_subcommand_from %s' -F\n", command->name);
    }
    buf_fini(&words);
}

int cli_complete(struct cli *cli)
{
    static const struct {
        const char *name;
        void (*write)(const struct cli_command *commands, struct buf *out);
    } shells[] = { { "bash", write_bash }, { "zsh", write_zsh }, { "fish", write_fish } };
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    int code = EXIT_UNKNOWN;
    for (size_t i = 0; cli->arg_count && i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(cli->args[0], shells[i].name) != 0)
            continue;
        shells[i].write(cli->commands, &out);
        code = cli_print(cli, &out, EXIT_PASS);
    }
    if (!out.len)
        code = cli_error(cli, "want bash, zsh or fish");
    buf_fini(&out);
    return code;
}
