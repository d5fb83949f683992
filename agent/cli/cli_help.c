/*
 * `wshealthd help`, and the tables of the manual. Each table is written once, as roff, from the list that the code itself uses. The
 * manual includes it (make docs); for the terminal it is flattened to text. Called by agent/main.c. Owns the list of topics.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/program.h"
#include "agent/base/reason.h"
#include "agent/base/text.h"
#include "agent/base/version.h"
#include "agent/cli/cli.h"
#include "agent/conf/conf.h"
#include "agent/conf/dialect.h"
#include "agent/conf/receiver_type.h"
#include "agent/core/broker.h"
#include "agent/core/event.h"
#include "agent/core/probe.h"
#include "agent/demo/demo_faults.h"
#include "agent/proto/roff.h"
#include "agent/report/explain.h"
#include "agent/report/metric.h"
#include "agent/report/screen.h"
#include "agent/run/agent.h"

enum { COLUMNS_MAX = 100, INDENT = 6, NAMES_MAX = 64 };

/* The lists have sentences without capital and full stop, so that they can be parts of other sentences. Adds both. */
static void roff_sentence(struct buf *out, const char *text)
{
    char first[2] = { *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text, '\0' };
    roff_text(out, first);
    roff_text(out, *text ? text + 1 : text);
    buf_append_str(out, ".\n");
}

static void roff_entry(struct buf *out, const char *name, const char *behind, const char *help)
{
    buf_append_str(out, ".TP\n\\fB");
    roff_text(out, name);
    buf_append_str(out, "\\fR");
    if (behind) {
        buf_append_char(out, ' ');
        roff_text(out, behind);
    }
    buf_append_char(out, '\n');
    roff_sentence(out, help);
}

static void write_reasons(struct buf *out)
{
    for (int reason = REASON_NONE + 1; reason < REASON_COUNT; reason++) {
        enum phase phase = reason_phase((enum reason)reason);
        enum scope scope = reason_scope((enum reason)reason);
        char behind[64];
        snprintf(behind, sizeof behind, "(%s%s%s)", phase == PHASE_NONE ? "" : phase_name(phase), phase == PHASE_NONE ? "" : ", ",
                 scope == SCOPE_NONE ? "void" : scope_name(scope));
        roff_entry(out, reason_name((enum reason)reason), behind, reason_help((enum reason)reason));
    }
}

static void write_events(struct buf *out)
{
    static const char *const levels[] = {
        [LOG_DEBUG] = "(debug)", [LOG_INFO] = "(info)", [LOG_WARN] = "(warn)", [LOG_ERROR] = "(error)"
    };
    for (int event = 0; event < EVENT_COUNT; event++)
        roff_entry(out, event_name((enum event)event), levels[event_level((enum event)event)], event_help((enum event)event));
}

static void write_checks(struct buf *out)
{
    for (const struct probe_type *const *type = agent_conf_env.probes; *type; type++) {
        char behind[64];
        snprintf(behind, sizeof behind, "(gates %s%s)",
                 (*type)->gates == (GATE_READY | GATE_LIVE) ? "ready, live"
                 : (*type)->gates == GATE_READY             ? "ready"
                 : (*type)->gates == GATE_LIVE              ? "live"
                                                            : "nothing",
                 (*type)->gates_of ? " where a limit is set, else nothing" : "");
        buf_append_str(out, ".TP\n\\fB");
        roff_text(out, (*type)->name);
        buf_printf(out, "\\fR %s\n", behind);
        roff_sentence(out, (*type)->summary);
    }
}

static void write_brokers(struct buf *out)
{
    for (const struct broker_type *const *type = agent_conf_env.brokers; *type; type++) {
        char behind[96];
        snprintf(behind, sizeof behind, "(%s)", (*type)->schemes);
        roff_entry(out, (*type)->name, behind, (*type)->summary);
    }
}

static void write_receivers(struct buf *out)
{
    for (const struct receiver_type *const *type = agent_conf_env.receivers; *type; type++)
        roff_entry(out, (*type)->name, NULL, (*type)->summary);
}

static void write_dialects(struct buf *out)
{
    for (const struct dialect *const *dialect = agent_conf_env.dialects; *dialect; dialect++)
        roff_entry(out, (*dialect)->name, NULL, (*dialect)->summary);
}

static void write_options(struct buf *out)
{
    conf_write_roff(&agent_conf_env, out);
}

static void write_faults(struct buf *out)
{
    for (int fault = 0; fault < DEMO_FAULT_COUNT; fault++)
        roff_entry(out, demo_fault_name((enum demo_fault)fault), NULL, demo_fault_help((enum demo_fault)fault));
}

static const struct topic {
    const char *name, *summary;
    void (*write)(struct buf *out);
} topics[] = {
    { "checks", "the check types, and what they gate by default", write_checks },
    { "brokers", "the broker types, and the schemes of their URLs", write_brokers },
    { "receivers", "who can be told of a fault: the types of `notify`", write_receivers },
    { "dialects", "the protocols of families of servers", write_dialects },
    { "options", "every key of the configuration file", write_options },
    { "reasons", "why a round can fail: phase and scope", write_reasons },
    { "causes", "what the diagnosis can say", explain_write_causes },
    { "events", "the events of the log", write_events },
    { "metrics", "the series of /metrics", metric_write_roff },
    { "faults", "what `wshealthd demo` can break", write_faults },
};
enum { TOPICS = sizeof topics / sizeof *topics };

const char *cli_topic(size_t i)
{
    return i < TOPICS ? topics[i].name : NULL;
}

/* --- commands ------------------------------------------------------------------------------------------------------------------- */

static void flag_usage(const struct cli_flag *flag, char *out, size_t size)
{
    char letter[8] = "";
    if (flag->letter)
        snprintf(letter, sizeof letter, "-%c, ", flag->letter);
    snprintf(out, size, "%s--%s%s%s", letter, flag->name, flag->value ? " " : "", flag->value ? flag->value : "");
}

static void write_commands_roff(const struct cli_command *commands, struct buf *out)
{
    for (; commands->name; commands++) {
        buf_append_str(out, ".SS wshealthd ");
        roff_text(out, commands->name);
        if (*commands->synopsis)
            buf_append_char(out, ' ');
        roff_text(out, commands->synopsis);
        buf_append_char(out, '\n');
        roff_sentence(out, commands->summary);
        if (commands->about) {
            roff_text(out, commands->about);
            buf_append_char(out, '\n');
        }
        for (const struct cli_flag *flag = commands->flags; flag && flag->name; flag++) {
            char usage[96];
            flag_usage(flag, usage, sizeof usage);
            if (flag->help)
                roff_entry(out, usage, flag->repeats ? "(may be repeated)" : NULL, flag->help);
        }
    }
}

/* One line for each command, for a part of the manual where lines are not joined. */
static void write_synopsis_roff(const struct cli_command *commands, struct buf *out)
{
    for (; commands->name; commands++) {
        buf_printf(out, "\\fBwshealthd %s\\fR%s", commands->name, *commands->synopsis ? " " : "");
        roff_text(out, commands->synopsis);
        buf_append_char(out, '\n');
    }
}

static void write_list(const struct cli_command *commands, struct buf *out)
{
    buf_append_str(
        out, "wshealthd checks a WebSocket server as its clients use it, and answers /ready, /live and /metrics beside it.\n\n"
             "  wshealthd check ws://127.0.0.1:8080/ws\n      One round of checks, with the reason if one fails.\n"
             "  wshealthd ws://127.0.0.1:8080/ws\n      Runs the agent, which answers http://127.0.0.1:9717/ready.\n"
             "  wshealthd demo\n      A server to break, and the agent beside it.\n\nCommands:\n");
    for (const struct cli_command *command = commands; command->name; command++)
        buf_printf(out, "  %-9s %s\n", command->name, command->summary);
    buf_append_str(out, "\nTables (wshealthd help NAME):\n");
    for (size_t i = 0; i < TOPICS; i++)
        buf_printf(out, "  %-9s %s\n", topics[i].name, topics[i].summary);
    buf_append_str(out, "\nExit codes: 0 pass, 1 warn, 2 fail, 3 unknown. `wshealthd help COMMAND` begins with examples.\n");
}

static void write_wrapped(struct buf *out, const char *text, size_t indent)
{
    size_t column = 0, width = screen_look().width;
    width = width < COLUMNS_MAX ? width : COLUMNS_MAX;
    while (*text) {
        size_t len = strcspn(text, " \n");
        if (column && column + 1 + len > width) {
            buf_append_char(out, '\n');
            column = 0;
        }
        if (len) {
            if (column)
                buf_append_char(out, ' ');
            else
                buf_printf(out, "%*s", (int)indent, "");
            buf_printf(out, "%.*s", (int)len, text);
            column = (column ? column + 1 : indent) + len;
        }
        text += len;
        text += strspn(text, " \n");
    }
    if (column)
        buf_append_char(out, '\n');
}

static void write_help(const struct cli_command *commands, const struct cli_command *command, struct buf *out)
{
    if (!command) {
        write_list(commands, out);
        return;
    }
    if (command->examples)
        buf_append_str(out, "Examples:\n");
    for (const struct cli_example *example = command->examples; example && example->line; example++) {
        buf_printf(out, "  %s\n", example->line);
        write_wrapped(out, example->says, INDENT);
    }
    buf_printf(out, "%sUsage: wshealthd %s %s\n\n", command->examples ? "\n" : "", command->name, command->synopsis);
    char summary[128];
    snprintf(summary, sizeof summary, "%c%s.", command->summary[0] - 'a' + 'A', command->summary + 1);
    write_wrapped(out, summary, 0);
    if (command->about)
        write_wrapped(out, command->about, 0);
    if (command->flags)
        buf_append_str(out, "\nFlags:\n");
    for (const struct cli_flag *flag = command->flags; flag && flag->name; flag++) {
        char usage[96];
        flag_usage(flag, usage, sizeof usage);
        if (flag->help)
            buf_printf(out, "  %-24s %s%s\n", usage, flag->help, flag->repeats ? " (may be repeated)" : "");
    }
}

/* Does a command of this program begin here: "wshealthd check", "wshealthd -c", "wshealthd ws://"? */
static bool begins_command(const struct cli_command *commands, const char *text)
{
    static const char name[] = "wshealthd ";
    if (strncmp(text, name, strlen(name)) != 0)
        return false;
    text += strlen(name);
    if (*text == '-' || strncmp(text, "ws://", 5) == 0)
        return true;
    for (; commands->name; commands++) {
        size_t len = strlen(commands->name);
        if (strncmp(text, commands->name, len) == 0 && (!text[len] || strchr(" \n'`", text[len])))
            return true;
    }
    return false;
}

/* Copies the text, with the name by which the user's shell finds this program in commands. */
void cli_put_as_typed(const struct cli_command *commands, const char *text, struct buf *out)
{
    static const char name[] = "wshealthd";
    for (const char *at = text; *at; at++) {
        if ((at == text || strchr(" \n'`(", at[-1])) && begins_command(commands, at)) {
            buf_append_str(out, program_name());
            at += strlen(name) - 1;
        } else {
            buf_append_char(out, *at);
        }
    }
}

void cli_write_help(const struct cli_command *commands, const struct cli_command *command, struct buf *out)
{
    struct buf text = BUF_INIT(CLI_TEXT_MAX);
    write_help(commands, command, &text);
    cli_put_as_typed(commands, buf_str(&text), out);
    buf_fini(&text);
}

/* --- roff on a terminal --------------------------------------------------------------------------------------------------------- */

/* One line without its escapes: \fB \- \e \& \(aq, and the quotes around the arguments of a macro. */
static void flatten_line(struct buf *out, const char *line, size_t len, bool macro)
{
    for (size_t i = 0; i < len; i++) {
        const char *at = line + i;
        size_t left = len - i;
        if (*at != '\\' || left < 2) {
            if (!(macro && *at == '"'))
                buf_append_char(out, *at);
        } else if (at[1] == 'f' && left >= 3) {
            i += 2;
        } else if (at[1] == '(' && left >= 4) {
            buf_append_str(out, !strncmp(at + 2, "aq", 2) ? "'" : !strncmp(at + 2, "dq", 2) ? "\"" : "-");
            i += 3;
        } else {
            if (at[1] == 'e')
                buf_append_char(out, '\\');
            if (at[1] == '-')
                buf_append_char(out, '-');
            i++;
        }
    }
}

/* The alternating-font macros join their arguments, .B and .SS keep the blanks. */
static void flatten_macro(struct buf *out, const char *line, size_t len)
{
    size_t name = strcspn(line, " \n");
    bool joins = name == 3 && strchr("BIR", line[1]) && strchr("BIR", line[2]), quoted = false;
    const char *arguments = line + name + (name < len);
    size_t left = len - (size_t)(arguments - line);
    if (!joins) {
        flatten_line(out, arguments, left, true);
        return;
    }
    for (size_t i = 0; i < left; i++) {
        if (arguments[i] == '"')
            quoted = !quoted;
        if (arguments[i] == ' ' && !quoted)
            continue;
        size_t n = arguments[i] == '\\' && i + 1 < left ? (arguments[i + 1] == 'f' ? 3 : 2) : 1;
        flatten_line(out, arguments + i, n, true);
        i += n - 1;
    }
}

/* .TP and the line behind it are a head; other lines are text; .SS is a title. */
static void flatten(const char *roff, struct buf *out)
{
    struct buf text = BUF_INIT(CLI_TEXT_MAX);
    bool head = false;
    for (; *roff; roff += strcspn(roff, "\n"), roff += *roff == '\n') {
        size_t len = strcspn(roff, "\n");
        bool macro = roff[0] == '.' && len > 1, title = macro && !strncmp(roff, ".S", 2), tag = macro && !strncmp(roff, ".TP", 3);
        bool breaks = macro && (title || tag || !strncmp(roff, ".P", 2) || !strncmp(roff, ".R", 2) || !strncmp(roff, ".TQ", 3));
        if (breaks || head) {
            write_wrapped(out, buf_str(&text), INDENT);
            buf_reset(&text);
        }
        if (title) {
            buf_append_str(out, "\n");
            flatten_macro(out, roff, len);
            buf_append_str(out, "\n");
        } else if (head) {
            buf_append_str(out, "  ");
            (macro ? flatten_macro(out, roff, len) : flatten_line(out, roff, len, false));
            buf_append_str(out, "\n");
        } else if (!breaks) {
            (macro ? flatten_macro(&text, roff, len) : flatten_line(&text, roff, len, false));
            buf_append_char(&text, ' ');
        }
        head = tag;
    }
    write_wrapped(out, buf_str(&text), INDENT);
    buf_fini(&text);
}

bool cli_write_topic(const struct cli_command *commands, const char *topic, bool roff, struct buf *out)
{
    struct buf table = BUF_INIT(CLI_TEXT_MAX);
    bool found = false;
    if (roff && !strcmp(topic, "commands")) {
        write_commands_roff(commands, out);
        return true;
    }
    if (roff && !strcmp(topic, "synopsis")) {
        write_synopsis_roff(commands, out);
        return true;
    }
    if (roff && !strcmp(topic, "explain")) {
        explain_write_roff(out);
        return true;
    }
    for (size_t i = 0; i < TOPICS && !found; i++) {
        if (strcmp(topics[i].name, topic) != 0)
            continue;
        topics[i].write(&table);
        found = true;
    }
    if (found && roff)
        buf_append_slice(out, buf_slice(&table));
    if (found && !roff) {
        struct buf text = BUF_INIT(CLI_TEXT_MAX);
        flatten(buf_str(&table), &text);
        cli_put_as_typed(commands, buf_str(&text), out);
        buf_fini(&text);
    }
    buf_fini(&table);
    return found;
}

static int unknown_topic(const struct cli *cli, const char *word)
{
    const char *names[NAMES_MAX] = { NULL };
    size_t count = 0;
    for (const struct cli_command *command = cli->commands; command->name && count < NAMES_MAX; command++)
        names[count++] = command->name;
    for (size_t i = 0; i < TOPICS && count < NAMES_MAX; i++)
        names[count++] = topics[i].name;
    const char *nearest = text_nearest(word, names, count);
    if (nearest)
        return cli_error(cli, "unknown topic '%.60s' (did you mean '%s'?)", word, nearest);
    return cli_error(cli, "unknown topic '%.60s' (see '%s help')", word, program_name());
}

int cli_help(struct cli *cli)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    const char *word = cli->arg_count ? cli->args[0] : NULL;
    const struct cli_command *command = word ? cli_find(cli->commands, word) : NULL;
    int code = EXIT_PASS;
    if (!word || (command && !cli_has(cli, "roff")))
        cli_write_help(cli->commands, command, &out);
    else if (!cli_write_topic(cli->commands, word, cli_has(cli, "roff"), &out))
        code = unknown_topic(cli, word);
    if (code == EXIT_PASS)
        code = cli_has(cli, "roff") ? cli_print(cli, &out, EXIT_PASS) : cli_print_text(cli, &out, EXIT_PASS);
    buf_fini(&out);
    return code;
}

int cli_version(struct cli *cli)
{
    struct buf out = BUF_INIT(256);
    buf_printf(&out, "wshealthd %s\n", WSHEALTHD_VERSION);
    int code = cli_print(cli, &out, EXIT_PASS);
    buf_fini(&out);
    return code;
}
