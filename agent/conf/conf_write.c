/*
 * The schema as text: the commented starter of `config init` and the option tables of the manual. Called by the command line and by
 * the build of the manual pages. Both are made from the rows alone, so they always agree with the loader.
 */
#include "agent/conf/conf_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/program.h"
#include "agent/base/text.h"
#include "agent/conf/broker_type.h"
#include "agent/conf/dialect.h"
#include "agent/conf/receiver_type.h"
#include "agent/proto/roff.h"

enum { LINE_MAX_CHARS = 100, TEXT_SIZE = 256 };

/* --- starter ------------------------------------------------------------------------------------------------------------------- */

/* "# " and the text, wrapped, each line behind `lead`. */
static void put_prose(struct buf *out, const char *lead, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column && column + 1 + word > LINE_MAX_CHARS) {
            buf_append_char(out, '\n');
            column = 0;
        }
        if (!column) {
            buf_printf(out, "%s#", lead);
            column = strlen(lead) + 1;
        }
        buf_append_char(out, ' ');
        buf_append(out, text, word);
        column += 1 + word;
        text += word + strspn(text + word, " ");
    }
    buf_append_char(out, '\n');
}

static void put_default(struct buf *out, const struct opt *row)
{
    if (row->default_text && (row->kind == OPT_STRINGS || row->kind == OPT_RANGES))
        buf_printf(out, " [%s]", row->default_text);
    else if (row->default_text && ((row->kind == OPT_ENUM && row->default_text[strspn(row->default_text, "0123456789.")] == 0) ||
                                   (row->kind == OPT_STRING && row->default_text[0] == '['))) /* a number, a list, to YAML */
        buf_printf(out, " \"%s\"", row->default_text);
    else if (row->default_text)
        buf_printf(out, " %s", row->default_text);
    else if (row->kind == OPT_STRINGS || row->kind == OPT_LIST || row->kind == OPT_RANGES)
        buf_append_str(out, " []");
    else if (row->kind == OPT_PAIRS || row->kind == OPT_MAP)
        buf_append_str(out, " {}");
    buf_append_char(out, '\n');
}

/* What an item of a list or of a mapping has: a line of prose for each key. */
static void put_item_keys(struct buf *out, const struct opt *row, const char *lead)
{
    for (const struct opt *inner = row->kind == OPT_LIST || row->kind == OPT_MAP ? row->rows : NULL; inner && inner->name;
         inner++) {
        char line[TEXT_SIZE * 2];
        snprintf(line, sizeof line, "- %s: %s", inner->name, inner->help);
        put_prose(out, lead, line);
    }
}

/* Writes the key of a section, and comments out what is in it: `#name: default`, with the help above. */
static void put_rows(struct buf *out, const struct opt *rows, const char *lead)
{
    for (const struct opt *row = rows; row && row->name; row++) {
        char below[TEXT_SIZE];
        put_prose(out, lead, row->help);
        put_item_keys(out, row, lead);
        snprintf(below, sizeof below, "%s  ", lead);
        if (row->kind == OPT_SECTION) {
            buf_printf(out, "%s%s:\n", lead, row->name);
            put_rows(out, row->rows, below);
        } else if (row->flags & OPT_REQUIRED && rows == target_rows) {
            buf_printf(out, "%s%s: ws://127.0.0.1:8080/ws\n", lead, row->name);
        } else {
            buf_printf(out, "%s#%s:", lead, row->name);
            put_default(out, row);
        }
        if (!*lead)
            buf_append_char(out, '\n');
    }
}

/* All of it commented out: an example for each type, with all its keys. */
static void put_brokers(struct buf *out, const struct conf_env *env)
{
    if (!env->brokers || !env->brokers[0])
        return;
    put_prose(
        out, "",
        "message brokers behind the server, so that delivery can be checked. Each has a check of type broker by itself, of the "
        "same name");
    buf_append_str(out, "#brokers:\n");
    for (const struct broker_type *const *type = env->brokers; *type; type++) {
        size_t len = strcspn((*type)->schemes, " ");
        put_prose(out, "  ", (*type)->summary ? (*type)->summary : (*type)->name);
        buf_printf(out, "#  - type: %s\n", (*type)->name);
        if ((*type)->default_url)
            buf_printf(out, "#    url: %s\n", (*type)->default_url);
        else
            buf_printf(out, "#    url: %.*s://127.0.0.1\n", (int)len, (*type)->schemes);
        put_rows(out, (*type)->opts, "#    ");
    }
    put_prose(out, "", "Every broker takes the keys of its type, and:");
    for (const struct opt *row = broker_rows; row->name; row++) {
        char line[TEXT_SIZE * 2];
        snprintf(line, sizeof line, "%s: %s", row->name, row->help);
        put_prose(out, "", line);
    }
    buf_append_char(out, '\n');
}

/* All of it commented out: an example for each type, with its own keys. */
static void put_notifiers(struct buf *out, const struct conf_env *env)
{
    if (!env->receivers || !env->receivers[0])
        return;
    put_prose(out, "", "who is told of a fault: one message when it begins, one when it is over");
    buf_append_str(out, "#notify:\n");
    for (const struct receiver_type *const *type = env->receivers; *type; type++) {
        put_prose(out, "  ", (*type)->summary);
        buf_printf(out, "#  - type: %s\n", (*type)->name);
        if ((*type)->example)
            buf_printf(out, "#    %s\n", (*type)->example);
        put_rows(out, (*type)->opts, "#    ");
    }
    put_prose(out, "", "Every notifier takes the keys of its type, and:");
    for (const struct opt *row = notifier_rows; row->name; row++) {
        char line[TEXT_SIZE * 2];
        snprintf(line, sizeof line, "%s: %s", row->name, row->help);
        put_prose(out, "", line);
    }
    buf_append_char(out, '\n');
}

static void put_dialects(struct buf *out, const struct conf_env *env)
{
    put_prose(out, "",
              "dialects of your own: how a server says connect, subscribe and here is a message. `target.dialect` names one, or a "
              "built-in one:");
    for (const struct dialect *const *dialect = env->dialects; dialect && *dialect; dialect++) {
        char line[TEXT_SIZE * 2];
        snprintf(line, sizeof line, "%s%s%s", (*dialect)->name, (*dialect)->summary ? ": " : "",
                 (*dialect)->summary ? (*dialect)->summary : "");
        put_prose(out, "  ", line);
    }
    buf_append_str(out,
                   "#dialects:\n"
                   "#  chat:\n"
                   "#    connect: { send: '{\"op\":\"hello\"}', expect: { json: { /op: welcome } } }\n"
                   "#    subscribe: { send: '{\"op\":\"sub\",\"ch\":\"{{channel}}\"}', expect: { json: { /op: subscribed } } }\n"
                   "#    message: { match: { json: { /op: msg, /ch: \"{{channel}}\" } }, payload: /data }\n"
                   "#    publish: { topic: \"chat:{{channel}}\", body: '{\"ch\":\"{{channel}}\",\"data\":{{payload_json}}}' }\n\n");
}

static const char *gates_text(unsigned gates)
{
    static const char *const texts[] = { "[]", "[ready]", "[live]", "[ready, live]" };
    return texts[gates & 3];
}

static void put_check(struct buf *out, const struct probe_type *type)
{
    bool active = type->by_default;
    put_prose(out, "  ", type->summary ? type->summary : type->name);
    buf_printf(out, "  %s- type: %s\n", active ? "" : "#", type->name);
    buf_printf(out, "  %sgates: %s\n", active ? "  #" : "#  ", gates_text(type->gates));
    for (const struct opt *row = type->opts; row && row->name; row++) {
        put_prose(out, active ? "    " : "  #  ", row->help);
        put_item_keys(out, row, active ? "    " : "  #  ");
        buf_printf(out, "  %s%s:", active ? "  #" : "#  ", row->name);
        put_default(out, row);
    }
    buf_append_char(out, '\n');
}

/* A line for editors with the YAML Language Server, which then complete and validate keys. They find it only if it is the first. */
static void put_editor_lines(struct buf *out)
{
    buf_printf(out,
               "# yaml-language-server: $schema=wshealthd.schema.json\n"
               "# (The file comes from: %s config schema > wshealthd.schema.json)\n",
               program_name());
}

void conf_write_short(struct buf *out)
{
    put_editor_lines(out);
    buf_printf(out, "# `%s config init` without --short shows every key.\n", program_name());
    buf_append_str(out, "target:\n"
                        "  url: ws://127.0.0.1:8080/ws\n"
                        "  # token: ${file:/run/secrets/probe-token}\n"
                        "# brokers:\n"
                        "#   - { name: bus, type: redis, url: \"redis://127.0.0.1:6379/0\" }\n"
                        "checks:\n"
                        "  - { name: handshake, type: handshake }\n"
                        "  - { name: ping, type: ping }\n"
                        "  - { name: hold, type: hold, connections: 2, for: 60s }\n"
                        "  # - { name: delivery, type: delivery, broker: bus, channel: healthcheck }\n");
}

void conf_write_starter(const struct conf_env *env, struct buf *out)
{
    put_editor_lines(out);
    put_prose(out, "",
              "The configuration of wshealthd. Keys that are commented out show their default, or nothing where there is none. "
              "${NAME}, ${NAME:-default} and ${file:/path} are replaced in values. See wshealthd.yaml(5).");
    buf_append_char(out, '\n');
    put_rows(out, conf_rows, "");
    put_prose(out, "", "what every check takes unless it says otherwise");
    buf_append_str(out, "defaults:\n");
    put_rows(out, default_rows, "  ");
    buf_append_char(out, '\n');
    put_brokers(out, env);
    put_notifiers(out, env);
    put_dialects(out, env);
    put_prose(out, "", "the checks. Each takes the keys of `defaults`, its type's own, and:");
    for (const struct opt *row = check_rows; row->name; row++) {
        char line[TEXT_SIZE * 2];
        if (opt_find(default_rows, row->name))
            continue;
        snprintf(line, sizeof line, "%s: %s", row->name, row->help);
        put_prose(out, "", line);
    }
    buf_append_str(out, "checks:\n");
    for (const struct probe_type *const *type = env->probes; *type; type++)
        put_check(out, *type);
}

/* --- manual -------------------------------------------------------------------------------------------------------------------- */

static void put_range(struct buf *out, const struct opt *row)
{
    char low[32], high[32];
    opt_format_number(row, row->min, low, sizeof low);
    opt_format_number(row, row->max, high, sizeof high);
    if (row->max)
        buf_printf(out, ", %s to %s", low, high);
    else if (row->min)
        buf_printf(out, ", at least %s", low);
}

/* A part of a dialect that a check may override: described with the dialects. */
static bool is_part(const struct opt *row)
{
    for (const struct opt *part = dialect_part_rows; part->name; part++)
        if (row->kind == OPT_SECTION && row->rows == part->rows)
            return true;
    return false;
}

/* "a duration, 100ms to 1d" */
static void put_type(struct buf *out, const struct opt *row)
{
    static const char *const names[] = {
        [OPT_BOOL] = "true or false",
        [OPT_INT] = "a whole number",
        [OPT_DURATION] = "a duration",
        [OPT_SIZE] = "a size",
        [OPT_PERCENT] = "a percentage",
        [OPT_STRING] = "a text",
        [OPT_SET] = "a list of words: ",
        [OPT_WINDOW] = "a count, or count/rounds",
        [OPT_STRINGS] = "a list of texts",
        [OPT_PAIRS] = "a mapping of texts",
        [OPT_MATCH] = "a match",
        [OPT_SPEC] = "a match with holes",
        [OPT_SECTION] = "a mapping",
        [OPT_BYTES] = "a text with holes, or { base64: ... }",
        [OPT_LIST] = "a list of mappings",
        [OPT_MAP] = "a mapping of names",
        [OPT_JSON] = "any value",
        [OPT_RATE] = "a change within a time, as in 50% in 10s",
        [OPT_FACTOR] = "a factor, as in 1.5x",
        [OPT_RANGES] = "a list of whole numbers and ranges, as in [1008, 4000-4999]",
    };
    char words[TEXT_SIZE];
    if (row->kind == OPT_BYTES && row->flags & OPT_LITERAL)
        buf_append_str(out, "a text, or { base64: ... }");
    else if (names[row->kind])
        buf_append_str(out, names[row->kind]);
    if (is_part(row))
        buf_append_str(out, " as in `dialects`, put over the target's dialect");
    if (row->kind == OPT_ENUM)
        buf_append_str(out, opt_want(row, words, sizeof words));
    for (size_t i = 0; row->kind == OPT_SET && row->words[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", row->words[i]);
    if (row->kind == OPT_INT || row->kind == OPT_DURATION || row->kind == OPT_SIZE || row->kind == OPT_FACTOR ||
        row->kind == OPT_RANGES)
        put_range(out, row);
    if (row->flags & OPT_SHORT)
        buf_append_str(out, "; may stand for the whole mapping");
}

static void put_roff_row(struct buf *out, const struct opt *row)
{
    struct buf type = BUF_INIT(4 << 10);
    put_type(&type, row);
    buf_append_str(out, ".TP\n.B ");
    roff_text(out, row->name);
    buf_append_char(out, '\n');
    roff_text(out, row->help);
    buf_append_str(out, ".\n(");
    roff_text(out, buf_str(&type));
    if (row->flags & OPT_REQUIRED)
        buf_append_str(out, "; required");
    if (row->default_text) {
        buf_append_str(out, "; default ");
        roff_text(out, row->default_text);
    }
    buf_append_str(out, ")\n");
    buf_fini(&type);
}

/* Has it rows of its own that are described here? */
static bool has_table(const struct opt *row, const struct opt *rows)
{
    return (row->kind == OPT_SECTION && (!is_part(row) || rows == dialect_rows)) || row->kind == OPT_LIST || row->kind == OPT_MAP;
}

static void put_roff_table(struct buf *out, const char *title, const char *summary, const struct opt *rows)
{
    buf_append_str(out, ".SS ");
    roff_text(out, title);
    buf_append_char(out, '\n');
    if (summary) {
        roff_text(out, summary);
        buf_append_str(out, ".\n");
    }
    for (const struct opt *row = rows; row && row->name; row++)
        if (!(row->kind == OPT_SECTION && has_table(row, rows) && !opt_short(row->rows)))
            put_roff_row(out, row);
    for (const struct opt *row = rows; row && row->name; row++) {
        char below[TEXT_SIZE];
        if (!has_table(row, rows))
            continue;
        snprintf(below, sizeof below, "%s%s%s%s", rows == conf_rows ? "" : title, rows == conf_rows ? "" : ".", row->name,
                 row->kind == OPT_LIST  ? "[]"
                 : row->kind == OPT_MAP ? ".NAME"
                                        : "");
        put_roff_table(out, below, row->kind == OPT_SECTION && !opt_short(row->rows) ? row->help : NULL, row->rows);
    }
}

void conf_write_roff(const struct conf_env *env, struct buf *out)
{
    put_roff_table(out, "Top level", NULL, conf_rows);
    put_roff_table(out, "defaults", "what every check takes unless it says otherwise", default_rows);
    put_roff_table(out, "brokers",
                   "a list; every broker takes its `type` (the scheme of its `url` tells it too), these, and the keys of "
                   "its type",
                   broker_rows);
    for (const struct broker_type *const *type = env->brokers; type && *type; type++) {
        char title[TEXT_SIZE];
        snprintf(title, sizeof title, "brokers: type %s", (*type)->name);
        put_roff_table(out, title, (*type)->summary, (*type)->opts);
    }
    put_roff_table(out, "notify", "a list of at most 16; every notifier takes its `type`, these, and the keys of its type",
                   notifier_rows);
    for (const struct receiver_type *const *type = env->receivers; type && *type; type++) {
        char title[TEXT_SIZE];
        snprintf(title, sizeof title, "notify: type %s", (*type)->name);
        put_roff_table(out, title, (*type)->summary, (*type)->opts);
    }
    put_roff_table(out, "dialects", "a mapping of names to dialects, each of these parts, all of them optional", dialect_rows);
    put_roff_table(out, "checks", "a list; every check takes its `type`, these, and the keys of its type", check_rows);
    for (const struct probe_type *const *type = env->probes; *type; type++) {
        char title[TEXT_SIZE], summary[TEXT_SIZE * 2];
        snprintf(title, sizeof title, "checks: type %s", (*type)->name);
        snprintf(summary, sizeof summary, "%s (gates by default: %s)", (*type)->summary ? (*type)->summary : "",
                 gates_text((*type)->gates));
        put_roff_table(out, title, summary, (*type)->opts);
    }
}
