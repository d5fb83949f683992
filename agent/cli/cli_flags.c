/*
 * Replaces keys of the configuration by flags in texts: a user who typed `--ca` has no target.tls.ca_file. Called by `wshealthd
 * check` for its errors and its report. A key is replaced when there is no file, or when its flag was given; a key that comes from
 * a file stays.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/cli/cli.h"

static const struct {
    const char *key, *flag, *shown;
} names[] = {
    { "target.origin", "origin", "--origin" },
    { "target.token", "token-file", "--token-file" },
    { "target.headers", "header", "--header" },
    { "target.subprotocols", "subprotocol", "--subprotocol" },
    { "target.dialect", "dialect", "--dialect" },
    { "target.tls.ca_file", "ca", "--ca" },
    { "target.tls: ca_file", "ca", "--ca" }, /* agent/net/tls_files.c writes it so */
    { "target.http", "http", "--http" },
    { "target.tls.verify", "insecure", "--insecure" },
    { "target.url", NULL, "the URL" },
};

/* A key ends where no letter of a longer key follows. "target.headers.X-A" belongs to --header too. */
static bool ends_key(char c)
{
    return !(c >= 'a' && c <= 'z') && c != '_';
}

/* The length of a key such as "checks[0].type" at the front of text, and its flag; 0: none. Of a key without a flag only "checks[0]."
 * is replaced: the key itself says what to write into the file. */
static size_t check_key(const char *text, const char **shown)
{
    static const struct {
        const char *key, *shown;
    } keys[] = { { ".type", "--type" }, { ".timeout", "--timeout" }, { ".slo", "--slo" }, { ".channel", "--channel" } };
    size_t len = 7;

    if (strncmp(text, "checks[", len) != 0)
        return 0;
    len += strspn(text + len, "0123456789");
    if (text[len] != ']')
        return 0;
    len++;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        size_t key = strlen(keys[i].key);
        if (strncmp(text + len, keys[i].key, key) != 0 || !ends_key(text[len + key]))
            continue;
        *shown = keys[i].shown;
        return len + key;
    }
    if (text[len] != '.')
        return 0;
    *shown = "--type (it needs a file, -c FILE): ";
    return len + 1;
}

/* The length of the key at the front of text, and its flag; 0: none. */
static size_t key_at(const struct cli *cli, bool file, const char *text, const char **shown)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i].key);
        bool given = names[i].flag ? cli_has(cli, names[i].flag) : cli->arg_count > 0;
        if ((file && !given) || strncmp(text, names[i].key, len) != 0 || !ends_key(text[len]))
            continue;
        *shown = names[i].shown;
        return len;
    }
    return file ? 0 : check_key(text, shown);
}

char *cli_name_flags(const struct cli *cli, bool file, const char *text)
{
    struct buf out = BUF_INIT(CLI_TEXT_MAX);
    const char *shown = "";

    while (*text) {
        size_t len = key_at(cli, file, text, &shown);
        if (len)
            buf_append_str(&out, shown);
        else
            buf_append(&out, text, 1);
        text += len ? len : 1;
    }
    char *named = mem_strdup(buf_str(&out));
    buf_fini(&out);
    return named;
}
