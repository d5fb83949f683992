/*
 * `config show`: a generation as YAML that means the same when it is loaded again, but for what is secret. Called by the command line.
 * Promises that no secret, URL password, query value or credential header is in it; files are named, not read.
 */
#include "agent/conf/conf_impl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/conf/broker_type.h"
#include "agent/conf/dialect.h"
#include "agent/conf/receiver_type.h"
#include "agent/proto/base64.h"

enum { MASK_MAX = 16 << 10, STEP = 2 };

static const char mask[] = "\"***\"";

static void indent(struct buf *out, int depth)
{
    buf_printf(out, "%*s", depth * STEP, "");
}

/* Length and code point of the character at p; 0 and the byte where it is no valid UTF-8. */
static size_t decode(const unsigned char *p, size_t left, unsigned *code)
{
    size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc2 ? 2 : 0;
    *code = *p;
    if (!len || len > left)
        return 0;
    *code = len == 1 ? *p : *p & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (p[i] & 0x3f);
    }
    return len;
}

/* Characters that YAML refuses or takes for a line break must be escaped. */
static bool is_special(unsigned code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff || code == 0xfffe ||
           code == 0xffff;
}

/* Writes the inside of double quotes. raw: the text is JSON already, and its quotes and backslashes stay as they are. */
static void put_inner(struct buf *out, const char *text, size_t len, bool raw, bool is_value)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        unsigned code;
        size_t n = decode(p + i, len - i, &code);
        if (is_value && p[i] == '$' && i + 1 < len && p[i + 1] == '{')
            buf_append_str(out, "$$");
        else if (!raw && (p[i] == '"' || p[i] == '\\'))
            buf_printf(out, "\\%c", p[i]);
        else if (!n || is_special(code))
            buf_printf(out, "\\u%04x", code);
        else
            buf_append(out, p + i, n);
        i += n ? n : 1;
    }
}

/* Without quotes if every YAML reader reads the same text back. */
static bool is_plain(const char *text)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char *const words[] = { "true", "false", "null", "yes", "no", "on", "y", "n" };
    size_t len = strlen(text);
    if (!len || (!strchr(letters, *text) && *text != '/') || text[len - 1] == ':')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr(letters, text[i]) && !strchr("_./:@%+=?&~-", text[i]))
            return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(text, words[i]) == 0)
            return false;
    return text[strspn(text, "0123456789.+-eE_xX:")] != 0;
}

static void put_text(struct buf *out, const char *text, bool is_value)
{
    if (is_plain(text)) {
        buf_append_str(out, text);
        return;
    }
    buf_append_char(out, '"');
    put_inner(out, text, strlen(text), false, is_value);
    buf_append_char(out, '"');
}

/* Escapes the literal parts, and writes a file by its path. */
static void put_dynamic(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    while (*text) {
        const char *mark = strchr(text, OPT_MARK_BEGIN), *end = mark ? strchr(mark, OPT_MARK_END) : NULL;
        size_t plain = end ? (size_t)(mark - text) : strlen(text);
        put_inner(out, text, plain, false, true);
        if (end) {
            buf_append_str(out, "${file:");
            put_inner(out, mark + 1, (size_t)(end - mark) - 1, false, false);
            buf_append_char(out, '}');
        }
        text = end ? end + 1 : text + plain;
    }
    buf_append_char(out, '"');
}

/* A secret that is one file and nothing else is shown by its path, which reveals nothing. */
static bool is_one_file(const char *text)
{
    const char *end = *text == OPT_MARK_BEGIN ? strchr(text, OPT_MARK_END) : NULL;
    return end && !end[1];
}

/* For a URL with files in it: is a secret written out in it? A password that is one file as a whole is none, as only its path is
 * shown. */
static bool has_literal_secret(const char *text)
{
    struct buf flat = BUF_INIT(MASK_MAX);
    if (!opt_is_dynamic(text))
        return false; /* url_redact does it */
    for (const char *p = text; *p; p++) {
        buf_append_char(&flat, *p);
        if (*p == OPT_MARK_BEGIN)
            p = strchr(p, OPT_MARK_END);
    }
    const char *url = buf_str(&flat), *authority = strstr(url, "://");
    authority = authority ? authority + 3 : url;
    const char *at = strrchr(authority, '@'), *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
    bool secret = strchr(url, '?') || (colon && (at - colon != 2 || colon[1] != OPT_MARK_BEGIN) && at - colon != 1);
    buf_fini(&flat);
    return secret;
}

/* Scheme and host; *** for the rest. */
static void put_origin(struct buf *out, const char *text)
{
    struct url url;
    if (opt_is_dynamic(text) || url_parse(text, &url, NULL) < 0)
        buf_append_str(out, mask);
    else
        buf_printf(out, "\"%s://%s%s\"", url.scheme, url.authority, strcmp(url.target, "/") == 0 ? "/" : "/***");
}

static void put_string(struct buf *out, const struct opt *row, const char *text, bool secret)
{
    if ((row->flags & OPT_SECRET_PATH) && !is_one_file(text)) {
        put_origin(out, text);
    } else if ((secret || (conf_is_url(row) && has_literal_secret(text))) && !is_one_file(text)) {
        buf_append_str(out, mask);
    } else if (opt_is_dynamic(text)) {
        put_dynamic(out, text);
    } else if (conf_is_url(row)) {
        char *shown = mem_alloc(MASK_MAX);
        url_redact(text, shown, MASK_MAX);
        put_text(out, shown, true);
        mem_free(shown);
    } else {
        put_text(out, text, true);
    }
}

static void show_match(struct buf *out, const struct match_spec *spec, int depth)
{
    const struct {
        const char *name, *text;
    } parts[] = { { "equals", spec->equals }, { "contains", spec->contains }, { "regex", spec->regex } };
    buf_append_str(out, spec->dropped ? " null\n" : "\n");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (!parts[i].text)
            continue;
        indent(out, depth);
        buf_printf(out, "%s: \"", parts[i].name);
        put_inner(out, parts[i].text, strlen(parts[i].text), false, true);
        buf_append_str(out, "\"\n");
    }
    if (!spec->json_count)
        return;
    indent(out, depth);
    buf_append_str(out, "json:\n");
    for (size_t i = 0; i < spec->json_count; i++) {
        indent(out, depth + 1);
        buf_append_char(out, '"');
        put_inner(out, spec->json[i].pointer, strlen(spec->json[i].pointer), false, false);
        buf_append_str(out, "\": ");
        put_inner(out, spec->json[i].value, strlen(spec->json[i].value), true, true);
        buf_append_char(out, '\n');
    }
}

static void show_pairs(struct buf *out, const struct opt *row, const struct opt_pairs *pairs, int depth)
{
    buf_append_char(out, '\n');
    for (size_t i = 0; i < pairs->count; i++) {
        indent(out, depth);
        put_text(out, pairs->items[i].name, false);
        buf_append_str(out, ": ");
        put_string(out, row, pairs->items[i].value, (row->flags & OPT_SECRET) || opt_name_is_secret(pairs->items[i].name));
        buf_append_char(out, '\n');
    }
}

static void put_words(struct buf *out, const struct opt *row, unsigned set)
{
    bool first = true;
    buf_append_char(out, '[');
    for (size_t i = 0; row->words[i]; i++) {
        if (!(set & 1u << i))
            continue;
        buf_printf(out, "%s%s", first ? "" : ", ", row->words[i]);
        first = false;
    }
    buf_append_str(out, "]\n");
}

static void put_list(struct buf *out, const struct opt *row, const struct opt_strings *list)
{
    buf_append_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        buf_append_str(out, i ? ", " : "");
        put_string(out, row, list->items[i], row->flags & OPT_SECRET);
    }
    buf_append_str(out, "]\n");
}

static void put_bytes(struct buf *out, const struct opt_bytes *bytes)
{
    if (!bytes->binary) {
        put_text(out, bytes->data, true);
        buf_append_char(out, '\n');
        return;
    }
    char *text = mem_alloc(BASE64_LEN(bytes->len) + 1);
    base64_encode(slice_make(bytes->data, bytes->len), text);
    buf_printf(out, "{ base64: \"%s\" }\n", text);
    mem_free(text);
}

static void put_ranges(struct buf *out, const struct opt_ranges *ranges)
{
    char text[64];
    buf_append_char(out, '[');
    for (size_t i = 0; i < ranges->count; i++) {
        opt_format_range(&ranges->items[i], text, sizeof text);
        buf_printf(out, i ? ", %s" : "%s", text);
    }
    buf_append_str(out, "]\n");
}

/* JSON is YAML. Texts below the names of secrets are registered, and masked here. */
static void put_json(struct buf *out, const struct opt *row, const char *json)
{
    if (row->flags & OPT_SECRET) {
        buf_append_str(out, mask);
    } else {
        char *shown = mem_strdup(json);
        secret_scrub(shown);
        put_inner(out, shown, strlen(shown), true, true);
        mem_free(shown);
    }
    buf_append_char(out, '\n');
}

/* An option without a value and without a default is left out. */
static bool is_shown(const struct opt *row, const void *base)
{
    switch (row->kind) {
    case OPT_STRINGS:
    case OPT_RANGES:
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
    case OPT_FACTOR:
        return row->default_text || opt_is_set(row, base);
    default:
        return opt_is_set(row, base);
    }
}

static void show_rows(struct buf *out, const struct opt *rows, void *base, int depth);

/* Does the value begin on the line below its key? */
static bool is_block(const struct opt *row)
{
    return row->kind == OPT_SECTION || row->kind == OPT_MATCH || row->kind == OPT_SPEC || row->kind == OPT_PAIRS ||
           row->kind == OPT_LIST || row->kind == OPT_MAP;
}

/* An item of a list begins with a dash in a line of its own, which is YAML too; of a mapping, with its name. */
static void show_items(struct buf *out, const struct opt *row, const struct opt_list *list, int depth)
{
    buf_append_char(out, '\n');
    for (size_t i = 0; i < list->count; i++) {
        void *item = opt_item(row, list, i);
        size_t before = 0;
        indent(out, depth);
        if (row->kind == OPT_MAP)
            put_text(out, *(char **)item, false);
        buf_append_str(out, row->kind == OPT_MAP ? ":" : "-");
        before = out->len;
        buf_append_char(out, '\n');
        show_rows(out, row->rows, item, depth + 1);
        if (out->len == before + 1) { /* nothing is set in it */
            out->len = before;
            buf_append_str(out, " {}\n");
        }
    }
}

static void show_row(struct buf *out, const struct opt *row, void *field, int depth)
{
    char number[64];
    const struct opt_window *window = field;
    indent(out, depth);
    buf_printf(out, "%s:%s", row->name, is_block(row) ? "" : " ");
    switch (row->kind) {
    case OPT_BOOL:
        buf_printf(out, "%s\n", *(bool *)field ? "true" : "false");
        break;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
    case OPT_FACTOR:
        opt_format_number(row, *(int64_t *)field, number, sizeof number);
        buf_printf(out, "%s\n", number);
        break;
    case OPT_STRING:
        put_string(out, row, *(char **)field, row->flags & OPT_SECRET);
        buf_append_char(out, '\n');
        break;
    case OPT_ENUM:
        put_text(out, row->words[*(int *)field], true);
        buf_append_char(out, '\n');
        break;
    case OPT_SET:
        put_words(out, row, *(unsigned *)field);
        break;
    case OPT_WINDOW:
        if (window->count == window->of)
            buf_printf(out, "%lld\n", (long long)window->count);
        else
            buf_printf(out, "%lld/%lld\n", (long long)window->count, (long long)window->of);
        break;
    case OPT_STRINGS:
        put_list(out, row, field);
        break;
    case OPT_PAIRS:
        show_pairs(out, row, field, depth + 1);
        break;
    case OPT_MATCH:
        show_match(out, &((struct opt_match *)field)->spec, depth + 1);
        break;
    case OPT_SPEC:
        show_match(out, field, depth + 1);
        break;
    case OPT_BYTES:
        put_bytes(out, field);
        break;
    case OPT_SECTION:
        buf_append_char(out, '\n');
        show_rows(out, row->rows, field, depth + 1);
        break;
    case OPT_LIST:
    case OPT_MAP:
        show_items(out, row, field, depth + 1);
        break;
    case OPT_JSON:
        put_json(out, row, *(char **)field);
        break;
    case OPT_RATE:
        opt_format_rate(field, number, sizeof number);
        buf_printf(out, "%s\n", number);
        break;
    case OPT_RANGES:
        put_ranges(out, field);
        break;
    }
}

static void show_rows(struct buf *out, const struct opt *rows, void *base, int depth)
{
    for (const struct opt *row = rows; row && row->name; row++)
        if (is_shown(row, base))
            show_row(out, row, opt_field(row, base), depth);
}

void conf_show(const struct conf *conf, const struct conf_env *env, struct buf *out)
{
    struct conf shown = *conf; /* the rows want a base that is not const; nothing is written */
    (void)env;
    show_rows(out, conf_rows, &shown, 0);
    if (conf->dialect_count)
        buf_append_str(out, "dialects:\n");
    for (size_t i = 0; i < conf->dialect_count; i++) {
        indent(out, 1);
        put_text(out, conf->dialects[i].name, false);
        buf_append_str(out, ":\n");
        show_rows(out, dialect_rows, &conf->dialects[i], 2);
    }
    if (conf->broker_count)
        buf_append_str(out, "brokers:\n");
    for (size_t i = 0; i < conf->broker_count; i++) {
        buf_append_str(out, "  - type: ");
        put_text(out, conf->brokers[i].type->name, true);
        buf_append_char(out, '\n');
        show_rows(out, broker_rows, &conf->brokers[i], 2);
        show_rows(out, conf->brokers[i].type->opts, conf->brokers[i].opts, 2);
    }
    if (conf->notifier_count)
        buf_append_str(out, "notify:\n");
    for (size_t i = 0; i < conf->notifier_count; i++) {
        buf_append_str(out, "  - type: ");
        put_text(out, conf->notifiers[i].type->name, true);
        buf_append_char(out, '\n');
        show_rows(out, notifier_rows, &conf->notifiers[i], 2);
        show_rows(out, conf->notifiers[i].type->opts, conf->notifiers[i].opts, 2);
    }
    buf_append_str(out, conf->check_count ? "checks:\n" : "checks: []\n");
    for (size_t i = 0; i < conf->check_count; i++) {
        buf_append_str(out, "  - type: ");
        put_text(out, conf->checks[i].type->name, true);
        buf_append_char(out, '\n');
        show_rows(out, check_rows, &conf->checks[i], 2);
        show_rows(out, conf->checks[i].type->opts, conf->checks[i].opts, 2);
    }
}
