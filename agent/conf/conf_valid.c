/*
 * Validates one value, or a few that belong together: names, headers, URLs and the secrets in them, TLS files. Called by the rules
 * (agent/conf/conf_rules.c, conf_brokers.c, conf_dialects.c), and calls none of them.
 */
#include "agent/conf/conf_impl.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/file.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/proto/upgrade.h"

enum { SHOWN_MAX = 48, SECRET_QUERY_MIN = 6, SECRET_USER_MIN = 8 };

void conf_error_below(struct conf_error_list *found, const char *path, const struct opt *const *rows, const struct err *err)
{
    char name[128] = "", head[sizeof name] = "", below[TRAIL_MAX];
    size_t len = strcspn(err->text, ":");
    bool known = false;
    if (len < sizeof name && err->text[len])
        memcpy(name, err->text, len);
    memcpy(head, name, strcspn(name, ".[")); /* "steps[3].within": below the option steps */
    for (size_t i = 0; i < 2 && *head && !known; i++)
        known = opt_find(rows[i], head);
    if (known) {
        snprintf(below, sizeof below, "%s.%s", path, name);
        conf_error_path(found, below, "%s", err->text + len + 1 + strspn(err->text + len + 1, " "));
    } else {
        conf_error_path(found, path, "%s", err->text);
    }
}

/* RFC 9110, 5.6.2 */
bool conf_is_header_name(const char *text)
{
    static const char letters[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *text && text[strspn(text, letters)] == 0;
}

bool conf_is_url(const struct opt *row)
{
    size_t len = strlen(row->name);
    return row->kind == OPT_STRING && len >= 3 && strcmp(row->name + len - 3, "url") == 0;
}

static void hide(const char *begin, size_t len)
{
    char *text = mem_strndup(begin, len);
    secret_add(text);
    mem_free(text);
}

/* Registers the password, encoded and decoded, and the query values that have the name of a secret. */
void conf_hide_url(const char *text)
{
    struct url url;
    const char *authority = strstr(text, "://");
    if (url_parse(text, &url, NULL) == 0) {
        char basic[URL_BASIC_MAX];
        /* A user without a password is often a token. */
        secret_add(*url.password ? url.password : strlen(url.user) >= SECRET_USER_MIN ? url.user : NULL);
        if (url_basic(&url, basic))
            secret_add(strchr(basic, ' ') + 1);
    }
    if (authority) {
        authority += 3;
        size_t len = strcspn(authority, "/?#");
        const char *at = memchr(authority, '@', len), *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
        if (colon)
            hide(colon + 1, (size_t)(at - colon) - 1);
    }
    const char *query = strchr(text, '?');
    while (query && *query) {
        size_t len = strcspn(++query, "&#");
        const char *equal = memchr(query, '=', len);
        char name[64];
        snprintf(name, sizeof name, "%.*s", equal ? (int)(equal - query) : 0, query);
        if (equal && opt_name_is_secret(name) && len - (size_t)(equal - query) > SECRET_QUERY_MIN)
            hide(equal + 1, len - (size_t)(equal - query) - 1);
        query = query[len] == '&' ? query + len : NULL;
    }
}

void conf_hide_urls(const struct opt *rows, void *base)
{
    for (const struct opt *row = rows; row && row->name; row++) {
        void *field = opt_field(row, base);
        if (conf_is_url(row) && *(char **)field)
            conf_hide_url(*(char **)field);
        if (row->kind == OPT_SECTION)
            conf_hide_urls(row->rows, field);
        const struct opt_list *list = row->kind == OPT_LIST || row->kind == OPT_MAP ? field : NULL;
        for (size_t i = 0; list && i < list->count; i++)
            conf_hide_urls(row->rows, opt_item(row, list, i));
    }
}

void conf_validate_required(struct conf_error_list *found, const char *path, const struct opt *rows, void *base)
{
    for (const struct opt *row = rows; row && row->name; row++) {
        if (!(row->flags & OPT_REQUIRED) || opt_is_set(row, base))
            continue;
        char below[TRAIL_MAX];
        snprintf(below, sizeof below, "%s.%s", path, row->name);
        if (!conf_error_has_below(found, below)) /* a list with an error in it was not taken */
            conf_error_path(found, below, "required, but not set");
    }
}

void conf_validate_subprotocols(const struct opt_strings *list, const char *path, struct conf_error_list *found)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *item = list->items[i];
        char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)], below[TRAIL_MAX];
        text_excerpt(slice_str(item), SHOWN_MAX, shown, sizeof shown);
        snprintf(below, sizeof below, "%s[%zu]", path, i);
        if (!conf_is_header_name(item))
            conf_error_path(found, below, "'%s' is not a token (RFC 6455, 4.1: letters, digits and !#$%%&'*+-.^_`|~)", shown);
        else if (strlen(item) >= WS_SUBPROTOCOL_MAX)
            conf_error_path(found, below, "'%s' is longer than %d bytes", shown, WS_SUBPROTOCOL_MAX - 1);
    }
}

/* An empty text, as from a variable that is not set, counts as not set. */
static bool is_given(const char *text)
{
    return text && *text;
}

const char *conf_tls_wanted(const struct tls_conf *tls)
{
    return is_given(tls->ca_file)             ? "ca_file"
           : is_given(tls->cert_file)         ? "cert_file"
           : is_given(tls->key_file)          ? "key_file"
           : is_given(tls->server_name)       ? "server_name"
           : tls->min_version != CONF_TLS_1_2 ? "min_version"
                                              : NULL;
}

void conf_validate_tls(const struct tls_conf *tls, const char *path, struct conf_error_list *found)
{
    char below[TRAIL_MAX];
    snprintf(below, sizeof below, "%s.%s", path, tls->cert_file ? "cert_file" : "key_file");
    if (!tls->cert_file != !tls->key_file)
        conf_error_path(found, below, "needs %s", tls->cert_file ? "key_file" : "cert_file");
}

int conf_look_at_tls_files(const struct tls_conf *tls, struct err *err)
{
    if (tls->ca_file && file_validate(tls->ca_file, err) < 0)
        return err_prefix(err, "ca_file %s", tls->ca_file);
    if (tls->cert_file && file_validate(tls->cert_file, err) < 0)
        return err_prefix(err, "cert_file %s", tls->cert_file);
    if (tls->key_file && file_validate(tls->key_file, err) < 0)
        return err_prefix(err, "key_file %s", tls->key_file);
    return 0;
}

bool conf_is_name(const char *text)
{
    static const char letters[] = "_.-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *text && strlen(text) <= 64 && text[strspn(text, letters)] == 0;
}
