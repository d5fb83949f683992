/*
 * Findings as text, and as the comments of a configuration (agent/cli/discover.h). Pure.
 *
 * What the server has said is quoted in comments. libyaml ends a comment at every line break that Unicode knows, so a comment holds
 * nothing but printable ASCII: no server writes a key into the file of the one who asks.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/program.h"
#include "agent/base/secret.h"
#include "agent/cli/discover.h"
#include "agent/proto/template.h"

enum { WIDTH = 110, LEAD = 11 };

/* Other characters than printable ASCII are "?", of several bytes one; an ellipsis is three dots. */
static void put_ascii(struct buf *out, const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (at[0] == 0xe2 && at[1] == 0x80 && at[2] == 0xa6) {
            buf_append_str(out, "...");
            at += 2;
        } else if (*at >= 0x20 && *at < 0x7f) {
            buf_append_char(out, (char)*at);
        } else if ((*at & 0xc0) != 0x80) {
            buf_append_char(out, '?');
        }
    }
}

/* The text in lines, each behind `lead` but the first, which is behind `first`. */
static void put_lines(struct buf *out, const char *first, const char *lead, const char *text)
{
    char *copy = mem_strdup(text);
    struct buf ascii = BUF_INIT(DISCOVER_URL_MAX * 2);
    size_t column = strlen(first);
    bool fresh = true;

    secret_scrub(copy);
    put_ascii(&ascii, copy);
    buf_append_str(out, first);
    for (const char *at = buf_str(&ascii); *at;) {
        size_t word = strcspn(at, " ");

        if (!fresh && column + 1 + word > WIDTH) {
            buf_printf(out, "\n%s", lead);
            column = strlen(lead);
            fresh = true;
        }
        if (!fresh)
            buf_append_char(out, ' ');
        buf_append(out, at, word);
        column += word + !fresh;
        fresh = false;
        at += word + strspn(at + word, " ");
    }
    buf_append_char(out, '\n');
    buf_fini(&ascii);
    mem_free(copy);
}

static void put_findings(struct buf *out, const char *lead, const struct discovery *found)
{
    struct buf first = BUF_INIT(64), rest = BUF_INIT(64);

    buf_printf(&rest, "%s%*s", lead, LEAD, "");
    for (size_t i = 0; i < found->count; i++) {
        buf_reset(&first);
        buf_printf(&first, "%s%-*s", lead, LEAD, discover_sure_name(found->findings[i].sure));
        put_lines(out, buf_str(&first), buf_str(&rest), found->findings[i].text);
    }
    buf_fini(&first);
    buf_fini(&rest);
}

void discover_write_findings(const struct discover *discover, const struct discovery *found, struct buf *out)
{
    char url[DISCOVER_URL_MAX];

    url_redact(discover->text, url, sizeof url);
    put_lines(out, "", "", url);
    put_findings(out, "  ", found);
    if (found->advice)
        put_lines(out, "  -> ", "     ", found->advice);
}

/* --- the configuration --- */

/* A double-quoted scalar. `${` would be a variable to the loader, and a URL has no use for a bare `$`. */
static void put_quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;

        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_append_char(out, *at);
    }
    buf_append_char(out, '"');
}

static void put_head(const struct discover *discover, const struct discovery *found, struct buf *out)
{
    char url[DISCOVER_URL_MAX];
    struct buf line = BUF_INIT(DISCOVER_URL_MAX * 2);

    url_redact(discover->text, url, sizeof url);
    buf_printf(out, "# yaml-language-server: $schema=wshealthd.schema.json\n");
    buf_printf(&line, "Written by `%s config init %s`. What was found there, and how surely:", program_name(), url);
    put_lines(out, "# ", "# ", buf_str(&line));
    put_findings(out, "#   ", found);
    buf_append_str(out,
                   "# seen: just now. said: by the server. likely: concluded. unknown: look yourself. Nothing else was guessed:\n"
                   "# keys that are left out have their defaults (wshealthd.yaml(5), or `config init` without a URL).\n");
    if (found->advice) {
        buf_reset(&line);
        buf_printf(&line, "It does not work yet. %s Then `%s check -c` this file.", found->advice, program_name());
        buf_append_str(out, "#\n");
        put_lines(out, "# ", "# ", buf_str(&line));
    }
    buf_fini(&line);
}

static bool logs_in(const struct dialect *dialect)
{
    return dialect && template_mentions(slice_make(dialect->connect.send.data, dialect->connect.send.len), "token");
}

static void put_tls(const struct discover *discover, struct buf *out)
{
    bool any = false;

    for (size_t i = 0; i < discover->setting_count; i++) {
        const struct discover_setting *setting = &discover->settings[i];

        if (strncmp(setting->name, "tls.", 4) != 0 || !discover_setting_counts(discover, setting))
            continue;
        buf_append_str(out, any ? "" : "  tls:\n");
        any = true;
        buf_printf(out, "    %s: ", setting->name + 4);
        if (strcmp(setting->name, "tls.verify") == 0)
            buf_append_str(out, setting->text);
        else
            put_quoted(out, setting->text);
        buf_append_char(out, '\n');
    }
}

static void put_headers(const struct discover *discover, struct buf *out)
{
    bool any = false;

    for (size_t i = 0; i < discover->setting_count; i++) {
        const struct discover_setting *setting = &discover->settings[i];
        size_t name = strcspn(setting->text, ":");
        char *key;

        if (strcmp(setting->name, "headers") != 0)
            continue;
        buf_append_str(out, any ? "" : "  headers:\n");
        any = true;
        key = mem_strndup(setting->text, name);
        buf_append_str(out, "    ");
        put_quoted(out, key);
        buf_append_str(out, ": ");
        put_quoted(out, setting->text[name] ? setting->text + name + 1 + strspn(setting->text + name + 1, " ") : "");
        buf_append_char(out, '\n');
        mem_free(key);
    }
}

static void put_plain_settings(const struct discover *discover, struct buf *out)
{
    for (size_t i = 0; i < discover->setting_count; i++) {
        const struct discover_setting *setting = &discover->settings[i];

        if (strncmp(setting->name, "tls.", 4) == 0 || strcmp(setting->name, "headers") == 0)
            continue;
        buf_printf(out, "  %s: ", setting->name);
        put_quoted(out, setting->text);
        buf_append_char(out, '\n');
    }
}

static void put_target(const struct discover *discover, const struct discovery *found, struct buf *out)
{
    const struct dialect *dialect = found->row ? discover_dialect(discover, found->row->dialect) : NULL;
    const char *place = logs_in(dialect) ? "message" : "header";

    buf_append_str(out, "target:\n  url: ");
    put_quoted(out, found->url);
    buf_append_str(out, found->wants_key ? "   # put the application's key in the place of wshealthd\n" : "\n");
    if (dialect) {
        buf_printf(out, "  dialect: %s\n", dialect->name);
        if (dialect->path && strcmp(found->url, discover->text) != 0 && !found->row->path)
            buf_printf(out, "  # the dialect adds its path to the URL: %s\n", dialect->path);
    }
    if (*found->origin && !discover_setting_given(discover, "origin")) {
        buf_printf(out, found->outcome == OUTCOME_REFUSED ? "  # origin: " : "  origin: ");
        put_quoted(out, found->origin);
        buf_append_char(out, '\n');
    }
    put_plain_settings(discover, out);
    put_headers(discover, out);
    put_tls(discover, out);
    if (!discover_setting_given(discover, "token"))
        buf_printf(out, "  # token: ${file:/run/secrets/probe-token}\n  # token_in: %s\n", place);
    else if (logs_in(dialect))
        buf_printf(out, "  token_in: %s\n", place);
}

static void put_brokers(const struct discover *discover, struct buf *out)
{
    const struct discover_host *host = &discover->host;

    if (!host->peer_count)
        return;
    buf_append_str(out, "# Taken from the server's connections. Whether a password or a database belongs to it, the server's own\n"
                        "# configuration says; then take the # away.\n# brokers:\n");
    for (unsigned i = 0; i < host->peer_count; i++)
        buf_printf(out, "#   - { name: %s%.0u, type: %s, url: \"%s://%s\" }\n", host->peers[i].type, i, host->peers[i].type,
                   host->peers[i].scheme, host->peers[i].address);
}

static void put_checks(const struct discover *discover, const struct discovery *found, struct buf *out)
{
    const struct dialect *dialect = found->row ? discover_dialect(discover, found->row->dialect) : NULL;
    bool open = found->outcome == OUTCOME_DIALECT || found->outcome == OUTCOME_RAW;
    bool verified = true;

    for (size_t i = 0; i < discover->setting_count; i++)
        verified = verified && strcmp(discover->settings[i].name, "tls.verify") != 0;
    buf_printf(out, "checks:\n  - { name: handshake, type: handshake%s }\n", found->remarked ? ", remarks: ignore" : "");
    if (!open || found->pongs)
        buf_append_str(out, "  - { name: ping, type: ping }\n");
    else
        buf_append_str(out, "  # - { name: ping, type: ping }   # the server answers no pings: that is a fault of its own\n");
    if (found->echoes)
        buf_append_str(out, "  - { name: echo, type: echo }\n");
    if (found->short_lived)
        buf_append_str(
            out, "  # - { name: hold, type: hold, connections: 2, for: 60s }   # the server ends connections that say nothing\n");
    else if (!open || found->pongs)
        buf_append_str(out, "  - { name: hold, type: hold, connections: 2, for: 60s }\n");
    else
        buf_append_str(out, "  - { name: hold, type: hold, connections: 2, for: 60s, idle: true }   # idle: no pings\n");
    if (discover->url.tls)
        buf_printf(out, "  %s- { name: certificate, type: tls }\n", verified ? "" : "# ");
    if (found->has_process)
        buf_append_str(out, "  - { name: server, type: server }   # its connections, memory and descriptors, seen from outside\n");
    if (dialect && dialect->subscribe.send.data)
        buf_append_str(
            out, "  # - { name: subscribe, type: subscribe, channel: NAME }   # a channel that the server lets anybody have\n");
    if (discover->host.peer_count)
        buf_printf(out, "  # - { name: delivery, type: delivery, broker: %s, channel: NAME }\n", discover->host.peers[0].type);
    if (open && !found->echoes && !dialect)
        buf_append_str(out, "  # a message that your server answers, and what the answer looks like:\n"
                            "  # - { name: echo, type: echo, send: '{\"op\":\"ping\"}', expect: { json: { /op: pong } } }\n");
}

/* Not of the server, and wanted soon. */
static void put_more(struct buf *out)
{
    buf_append_str(out,
                   "# The page for people is / of `listen`, port 9717. For messages about incidents take the # away:\n"
                   "# notify: [ { type: slack, url: \"${file:/run/secrets/slack}\" } ]   # or discord, teams, email, webhook, ...\n"
                   "# page: { url: \"https://status.example.com/\" }   # where people reach the page, for links in messages\n"
                   "# history: { file: /var/lib/wshealthd/history }   # keeps a day of figures and incidents over restarts\n");
}

void discover_write_conf(const struct discover *discover, const struct discovery *found, struct buf *out)
{
    put_head(discover, found, out);
    put_target(discover, found, out);
    put_brokers(discover, out);
    put_more(out);
    put_checks(discover, found, out);
}
