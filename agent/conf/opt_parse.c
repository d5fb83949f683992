/*
 * One option's text to its field: numbers with their units, words, windows, lists; rates and ranges are opt_numbers.c. Called by the
 * reader of the configuration (agent/conf/conf_read.c) and, through opt_set, by the command line. Promises that an error quotes only what
 * it was told it may show, names what was wanted, and leaves the field as it was. The caller knows where the value came from, and puts
 * that into the error.
 */
#include "agent/conf/opt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/proto/base64.h"

enum { QUOTE_MAX = 64, LIST_MAX = 256, NUMBER_MAX = 32, SECRET_PART_MIN = 8, POINTER_MAX = 512 };

static int64_t row_max(const struct opt *row)
{
    return row->max ? row->max : INT64_MAX;
}

/* 'text', cut and made printable; "the value" where it may not be shown. */
static const char *quote(const char *shown, char *out, size_t size)
{
    if (!shown) {
        snprintf(out, size, "the value");
        return out;
    }
    char excerpt[TEXT_EXCERPT_BYTES(QUOTE_MAX)];
    text_excerpt(slice_str(shown), QUOTE_MAX, excerpt, sizeof excerpt);
    snprintf(out, size, "'%s'", excerpt);
    return out;
}

/* "degrade or fail", "debug, info, warn or error" */
static void list_words(const char *const *words, char *out, size_t size)
{
    size_t len = 0;
    out[0] = 0;
    for (size_t i = 0; words[i] && len < size; i++) {
        const char *glue = i == 0 ? "" : words[i + 1] ? ", " : " or ";
        int n = snprintf(out + len, size - len, "%s%s", glue, words[i]);
        len += n > 0 ? (size_t)n : 0;
    }
}

/* Of its short row, or a mapping. */
static void want_section(const struct opt *row, char *out, size_t size)
{
    const struct opt *inner = opt_short(row->rows);
    if (inner)
        opt_want(inner, out, size);
    size_t len = inner ? strlen(out) : 0;
    snprintf(out + len, size - len, "%sa mapping", inner ? ", or " : "");
}

const char *opt_want(const struct opt *row, char *out, size_t size)
{
    switch (row->kind) {
    case OPT_BOOL:
        snprintf(out, size, "true or false");
        break;
    case OPT_INT:
        snprintf(out, size, "a whole number");
        break;
    case OPT_DURATION:
        snprintf(out, size, "a duration such as 250ms or 1m30s");
        break;
    case OPT_SIZE:
        snprintf(out, size, "a size such as 64KiB or 1MiB");
        break;
    case OPT_PERCENT:
        snprintf(out, size, "a percentage from 0%% to 100%%");
        break;
    case OPT_STRING:
        snprintf(out, size, "a text");
        break;
    case OPT_ENUM:
        list_words(row->words, out, size);
        break;
    case OPT_SET:
        snprintf(out, size, "a list of words such as [%s]", row->words[0]);
        break;
    case OPT_WINDOW:
        snprintf(out, size, "a count such as 3, or 3/5 for three of the last five");
        break;
    case OPT_STRINGS:
        snprintf(out, size, "a list of texts such as [a, b]");
        break;
    case OPT_PAIRS:
        snprintf(out, size, "a mapping such as { Name: value }");
        break;
    case OPT_MATCH:
    case OPT_SPEC:
        snprintf(out, size,
                 "a mapping such as { equals: text }, { contains: text }, { regex: pattern } or { json: { /key: value } }");
        break;
    case OPT_BYTES:
        snprintf(out, size, "a text, or { base64: ... } for a binary message");
        break;
    case OPT_SECTION:
        want_section(row, out, size);
        break;
    case OPT_LIST:
        snprintf(out, size, "a list of mappings such as [{ %s: ... }]", row->rows->name);
        break;
    case OPT_MAP:
        snprintf(out, size, "a mapping of names such as { NAME: %s }", opt_short(row->rows) ? "value" : "{ ... }");
        break;
    case OPT_JSON:
        snprintf(out, size, "any value, or JSON");
        break;
    case OPT_RATE:
        snprintf(out, size, "a change within a time, such as 50%% in 10s");
        break;
    case OPT_FACTOR:
        snprintf(out, size, "a factor such as 3x or 1.5x");
        break;
    case OPT_RANGES:
        snprintf(out, size, "a list of whole numbers and ranges such as [1008, 4000-4999]");
        break;
    }
    return out;
}

void opt_format_number(const struct opt *row, int64_t value, char *out, size_t size)
{
    switch (row->kind) {
    case OPT_DURATION:
        text_format_duration(value, out, size);
        break;
    case OPT_SIZE:
        text_format_size(value, out, size);
        break;
    case OPT_PERCENT:
    case OPT_RATE:
        snprintf(out, size, "%" PRId64 "%%", value);
        break;
    case OPT_FACTOR:
        if (value % 100 == 0)
            snprintf(out, size, "%" PRId64 "x", value / 100);
        else
            snprintf(out, size, value % 10 ? "%" PRId64 ".%02dx" : "%" PRId64 ".%dx", value / 100,
                     (int)(value % 10 ? value % 100 : value % 100 / 10));
        break;
    default:
        snprintf(out, size, "%" PRId64, value);
        break;
    }
}

int opt_bad_value(const struct opt *row, const char *shown, struct err *err)
{
    char quoted[TEXT_EXCERPT_BYTES(QUOTE_MAX) + 2], want[LIST_MAX];
    return err_set(err, REASON_NONE, 0, "%s, want %s", quote(shown, quoted, sizeof quoted), opt_want(row, want, sizeof want));
}

int opt_validate_range(const struct opt *row, int64_t value, const char *shown, struct err *err)
{
    if (value >= row->min && value <= row_max(row))
        return 0;
    char low[NUMBER_MAX], high[NUMBER_MAX], excerpt[TEXT_EXCERPT_BYTES(QUOTE_MAX)] = "the value";
    opt_format_number(row, row->min, low, sizeof low);
    opt_format_number(row, row_max(row), high, sizeof high);
    if (shown)
        text_excerpt(slice_str(shown), QUOTE_MAX, excerpt, sizeof excerpt);
    if (!row->max)
        return err_set(err, REASON_NONE, 0, "%s, want at least %s", excerpt, low);
    return err_set(err, REASON_NONE, 0, "%s, want %s to %s", excerpt, low, high);
}

static int validate_length(const struct opt *row, size_t len, const char *what, struct err *err)
{
    if (len < (size_t)(row->min > 0 ? row->min : 0))
        return len ? err_set(err, REASON_NONE, 0, "%zu %s, want at least %" PRId64, len, what, row->min)
                   : err_set(err, REASON_NONE, 0, "empty, want %s", row->kind == OPT_STRING ? "a text" : "at least one");
    if (len > (size_t)row_max(row))
        return err_set(err, REASON_NONE, 0, "%zu %s, want at most %" PRId64, len, what, row->max);
    return 0;
}

static bool all_digits(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == 0;
}

static int parse_percent(const char *text, int64_t *value)
{
    size_t len = strlen(text);
    if (len < 2 || len > 4 || text[len - 1] != '%' || strspn(text, "0123456789") != len - 1)
        return -1;
    char digits[4] = { 0 };
    memcpy(digits, text, len - 1);
    return text_parse_int(digits, value);
}

static int parse_number(const struct opt *row, int64_t *field, const char *text, const char *shown, struct err *err)
{
    static const char *const examples[] = {
        [OPT_DURATION] = "a duration such as 5s",
        [OPT_SIZE] = "a size such as 64KiB",
        [OPT_PERCENT] = "a percentage such as 10%",
        [OPT_FACTOR] = "a factor such as 3x",
    };
    int64_t value = 0;
    int rc = row->kind == OPT_DURATION  ? text_parse_duration(text, &value)
             : row->kind == OPT_SIZE    ? text_parse_size(text, &value)
             : row->kind == OPT_PERCENT ? parse_percent(text, &value)
             : row->kind == OPT_FACTOR  ? opt_parse_factor(text, &value)
                                        : text_parse_int(text, &value);
    if (rc) {
        char quoted[TEXT_EXCERPT_BYTES(QUOTE_MAX) + 2];
        if (row->kind != OPT_INT && all_digits(text))
            return err_set(err, REASON_NONE, 0, "%s has no unit, want %s", quote(shown, quoted, sizeof quoted),
                           examples[row->kind]);
        return opt_bad_value(row, shown, err);
    }
    if (row->kind == OPT_PERCENT && value > (row->max ? row->max : 100))
        return opt_bad_value(row, shown, err);
    if (opt_validate_range(row, value, shown, err))
        return -1;
    *field = value;
    return 0;
}

static int parse_window(const struct opt *row, struct opt_window *field, const char *text, const char *shown, struct err *err)
{
    char count_text[NUMBER_MAX];
    const char *slash = strchr(text, '/');
    size_t count_len = slash ? (size_t)(slash - text) : strlen(text);
    struct opt_window value = { 0, 0 };
    if (count_len >= sizeof count_text)
        return opt_bad_value(row, shown, err);
    memcpy(count_text, text, count_len);
    count_text[count_len] = 0;
    if (text_parse_int(count_text, &value.count) || (slash && text_parse_int(slash + 1, &value.of)))
        return opt_bad_value(row, shown, err);
    if (!slash)
        value.of = value.count;
    if (opt_validate_range(row, value.count, shown, err) || opt_validate_range(row, value.of, shown, err))
        return -1;
    if (value.count > value.of) {
        char quoted[TEXT_EXCERPT_BYTES(QUOTE_MAX) + 2];
        return err_set(err, REASON_NONE, 0, "%s asks for more failures than rounds, want such as 3/5",
                       quote(shown, quoted, sizeof quoted));
    }
    *field = value;
    return 0;
}

/* The index of the word, or -1 and the error. */
static int find_word(const struct opt *row, const char *word, const char *shown, struct err *err)
{
    size_t count = 0;
    for (; row->words[count]; count++)
        if (strcmp(row->words[count], word) == 0)
            return (int)count;
    char quoted[TEXT_EXCERPT_BYTES(QUOTE_MAX) + 2], want[LIST_MAX];
    quote(shown, quoted, sizeof quoted);
    list_words(row->words, want, sizeof want);
    const char *near = shown ? text_nearest(word, row->words, count) : NULL;
    if (near)
        return err_set(err, REASON_NONE, 0, "%s, want %s (did you mean '%s'?)", quoted, want, near);
    return err_set(err, REASON_NONE, 0, "%s, want %s", quoted, want);
}

static bool has_control(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if ((*p < ' ' && *p != '\t') || *p == 0x7f)
            return true;
    return false;
}

/* "Bearer abc", "a=b; session=abc": a part of it is secret too, as somebody may repeat only that. */
static void hide_parts(const char *text)
{
    static const char breaks[] = " ;,=:";
    while (*text) {
        size_t len = strcspn(text, breaks);
        if (len >= SECRET_PART_MIN) {
            char *part = mem_strndup(text, len);
            secret_add(part);
            mem_free(part);
        }
        text += len + strspn(text + len, breaks);
    }
}

static void keep_secret(const struct opt *row, const char *name, const char *text)
{
    bool by_name = name && opt_name_is_secret(name);
    if (opt_is_dynamic(text) || !((row->flags & OPT_SECRET) || by_name))
        return;
    secret_add(text);
    if (by_name)
        hide_parts(text);
}

static int validate_template(const struct opt *row, struct slice text, struct err *err)
{
    const struct template_vars vars = { .any_name = row->flags & OPT_NAMES, .only = row->holes };
    return template_validate_names(text, &vars, err);
}

/* Compiles a match with it, as agent/proto/match.c knows RFC 6901. */
static int validate_pointer(const char *text, struct err *err)
{
    char copy[POINTER_MAX], null[] = "null";
    struct err why = { 0 };
    if ((size_t)snprintf(copy, sizeof copy, "%s", text) >= sizeof copy)
        return err_set(err, REASON_NONE, 0, "%zu bytes, want at most %d", strlen(text), POINTER_MAX - 1);
    const struct match_spec spec = { .json = { { copy, null } }, .json_count = 1 };
    struct match *match = match_new(&spec, &why);
    match_free(match);
    return match ? 0 : err_set(err, REASON_NONE, 0, "%s", why.text + (strncmp(why.text, "json: ", 6) == 0 ? 6 : 0));
}

static int parse_string(const struct opt *row, char **field, const char *text, struct err *err)
{
    if (validate_length(row, strlen(text), "bytes", err))
        return -1;
    if ((row->flags & OPT_TEMPLATE) && validate_template(row, slice_str(text), err))
        return -1;
    if ((row->flags & OPT_POINTER) && validate_pointer(text, err))
        return -1;
    keep_secret(row, NULL, text);
    mem_free(*field);
    *field = mem_strdup(text);
    return 0;
}

/* Compiles a match with it, which knows what JSON is. What is secret in it has been registered by the reader. */
static int parse_json(const struct opt *row, char **field, const char *text, struct err *err)
{
    char root[] = "", *copy = mem_strdup(text);
    struct err why = { 0 };
    const struct match_spec spec = { .json = { { root, copy } }, .json_count = 1 };
    struct match *match = match_new(&spec, &why);
    int rc = match ? 0 : err_set(err, REASON_NONE, 0, "not JSON (a text needs its quotes)");
    match_free(match);
    if (!rc && (validate_length(row, strlen(text), "bytes", err) ||
                ((row->flags & OPT_TEMPLATE) && validate_template(row, slice_str(text), err))))
        rc = -1;
    if (rc) {
        mem_free(copy);
        return -1;
    }
    mem_free(*field);
    *field = copy;
    return 0;
}

static int set_bytes(const struct opt *row, struct opt_bytes *field, struct slice bytes, bool binary, struct err *err)
{
    if (validate_length(row, bytes.len, "bytes", err) || (!(row->flags & OPT_LITERAL) && validate_template(row, bytes, err)))
        return -1;
    mem_free(field->data);
    *field = (struct opt_bytes){ mem_strndup(bytes.len ? (const void *)bytes.data : "", bytes.len), bytes.len, binary };
    return 0;
}

int opt_parse_base64(const struct opt *row, struct opt_bytes *field, const char *text, struct err *err)
{
    struct buf bytes = BUF_INIT(strlen(text));
    int rc = base64_decode(slice_str(text), &bytes);
    if (rc)
        err_set(err, REASON_NONE, 0, "not base64 (RFC 4648, 4: with padding, without blanks)");
    else
        rc = set_bytes(row, field, buf_slice(&bytes), true, err);
    buf_fini(&bytes);
    return rc;
}

int opt_add_word(const struct opt *row, unsigned *set, const char *word, const char *shown, struct err *err)
{
    int index = find_word(row, word, shown, err);
    if (index < 0)
        return -1;
    *set |= 1u << index;
    return 0;
}

int opt_add_string(const struct opt *row, struct opt_strings *list, const char *text, const char *shown, struct err *err)
{
    char quoted[TEXT_EXCERPT_BYTES(QUOTE_MAX) + 2];
    if (list->count >= (size_t)row_max(row))
        return err_set(err, REASON_NONE, 0, "more than %" PRId64 " entries", row->max);
    if ((row->flags & OPT_TEMPLATE) && validate_template(row, slice_str(text), err))
        return -1;
    for (size_t i = 0; i < list->count && !(row->flags & OPT_REPEATS); i++)
        if (strcmp(list->items[i], text) == 0)
            return err_set(err, REASON_NONE, 0, "%s is there twice", quote(shown, quoted, sizeof quoted));
    keep_secret(row, NULL, text);
    list->items = mem_realloc(list->items, (list->count + 1) * sizeof *list->items);
    list->items[list->count++] = mem_strdup(text);
    return 0;
}

int opt_add_pair(const struct opt *row, struct opt_pairs *pairs, const char *name, const char *value, struct err *err)
{
    if (pairs->count >= (size_t)row_max(row))
        return err_set(err, REASON_NONE, 0, "more than %" PRId64 " entries", row->max);
    for (size_t i = 0; i < pairs->count; i++)
        if (strcasecmp(pairs->items[i].name, name) == 0)
            return err_set(err, REASON_NONE, 0, "is there twice");
    keep_secret(row, name, value);
    pairs->items = mem_realloc(pairs->items, (pairs->count + 1) * sizeof *pairs->items);
    pairs->items[pairs->count++] = (struct opt_pair){ mem_strdup(name), mem_strdup(value) };
    return 0;
}

static int parse_words(const struct opt *row, unsigned *field, const char *text, const char *shown, struct err *err)
{
    unsigned set = 0;
    while (*text) {
        char word[QUOTE_MAX];
        size_t len = strcspn(text, ", ");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word), text);
        if (len && opt_add_word(row, &set, word, shown ? word : NULL, err))
            return -1;
        text += len + strspn(text + len, ", ");
    }
    *field = set;
    return 0;
}

static void drop_pair(struct opt_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++) {
        if (strcasecmp(pairs->items[i].name, name) != 0)
            continue;
        mem_free(pairs->items[i].name);
        mem_free(pairs->items[i].value);
        memmove(&pairs->items[i], &pairs->items[i + 1], (pairs->count - i - 1) * sizeof *pairs->items);
        pairs->count--;
        return;
    }
}

/* "Name: value", as on a command line; takes the place of an earlier one. */
static int parse_pair(const struct opt *row, struct opt_pairs *field, const char *text, struct err *err)
{
    struct slice name = slice_str(text), value = { 0 };
    const char *colon = strchr(text, ':');
    if (!colon)
        return err_set(err, REASON_NONE, 0, "no colon, want Name: value");
    name.len = (size_t)(colon - text);
    name = slice_trim(name);
    value = slice_trim(slice_str(colon + 1));
    char *name_text = mem_strndup(name.data, name.len), *value_text = mem_strndup(value.data, value.len);
    drop_pair(field, name_text);
    int rc =
        name.len ? opt_add_pair(row, field, name_text, value_text, err) : err_set(err, REASON_NONE, 0, "no name, want Name: value");
    if (rc && name.len)
        err_prefix(err, "%s", name_text);
    mem_free(name_text);
    mem_free(value_text);
    return rc;
}

int opt_parse(const struct opt *row, void *field, const char *text, const char *shown, struct err *err)
{
    int index;
    if ((row->flags & OPT_DYNAMIC) && !opt_is_dynamic(text) && has_control(text))
        return err_set(err, REASON_NONE, 0, "holds a line break or another control character");
    switch (row->kind) {
    case OPT_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return opt_bad_value(row, shown, err);
        *(bool *)field = text[0] == 't';
        return 0;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
    case OPT_FACTOR:
        return parse_number(row, field, text, shown, err);
    case OPT_STRING:
        return parse_string(row, field, text, err);
    case OPT_ENUM:
        index = find_word(row, text, shown, err);
        if (index < 0)
            return -1;
        *(int *)field = index;
        return 0;
    case OPT_SET:
        return parse_words(row, field, text, shown, err);
    case OPT_WINDOW:
        return parse_window(row, field, text, shown, err);
    case OPT_STRINGS:
        return opt_add_string(row, field, text, shown, err);
    case OPT_PAIRS:
        return parse_pair(row, field, text, err);
    case OPT_BYTES:
        return set_bytes(row, field, slice_str(text), false, err);
    case OPT_JSON:
        return parse_json(row, field, text, err);
    case OPT_RATE:
        return opt_parse_rate(row, field, text, shown, err);
    case OPT_RANGES:
        return opt_parse_ranges(row, field, text, shown, err);
    case OPT_MATCH:
    case OPT_SPEC:
    case OPT_SECTION:
    case OPT_LIST:
    case OPT_MAP:
        break;
    }
    return opt_bad_value(row, shown, err);
}
