/*
 * The tree of a document to fields, by the rows of the schema. Called by the loader (agent/conf/conf.c). An error is added with its
 * place, and reading goes on behind it. A field whose value is wrong keeps its default. Variables are replaced here, before the
 * value is parsed.
 */
#include "agent/conf/conf_impl.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"
#include "agent/proto/json_out.h"

enum { NAMES_MAX = 64, WANT_MAX = 256, TEXT_MAX = CONF_FILE_MAX + OPT_FILE_MAX, QUOTE_MAX = 64, JSON_VALUE_MAX = 64 << 10 };

static const char *const match_keys[] = { "equals", "contains", "regex", "json", NULL };

static void refuse(struct reader *reader, struct mark mark, const struct err *err)
{
    conf_error_at(reader->errors, mark, reader->trail.text, "%s", err->text);
}

/* "a list, want a duration such as …"; a text is quoted, unless it is secret. */
static void refuse_kind(struct reader *reader, const struct node *node, const char *want, bool secret)
{
    if (node->kind == NODE_SCALAR && !node_is_null(node) && !secret) {
        char shown[TEXT_EXCERPT_BYTES(QUOTE_MAX)];
        text_excerpt(slice_str(node->text), QUOTE_MAX, shown, sizeof shown);
        conf_error_at(reader->errors, node->mark, reader->trail.text, "'%s', want %s", shown, want);
    } else {
        conf_error_at(reader->errors, node->mark, reader->trail.text, "%s, want %s", node_kind_name(node), want);
    }
}

/* The text with its variables replaced in *out. 1: there is a value; 0: variables made it empty, so it is not set; -1: an error
 * has been added. */
static int expand(struct reader *reader, const struct node *node, bool keep_files, struct buf *out)
{
    bool replaced;
    struct err err;
    if (vars_expand(&reader->vars, node->text, keep_files, out, &replaced, &err)) {
        refuse(reader, node->mark, &err);
        return -1;
    }
    return replaced && !out->len ? 0 : 1;
}

char *read_text(struct reader *reader, const struct node *node, const char *want)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    char *result = NULL;
    if (node->kind != NODE_SCALAR)
        refuse_kind(reader, node, want, false);
    else if (expand(reader, node, false, &text) >= 0)
        result = mem_strdup(buf_str(&text));
    buf_fini(&text);
    return result;
}

/* --- JSON values of a match ------------------------------------------------------------------------------------------------ */

/* The grammar of RFC 8259, 6. */
static bool is_json_number(const char *text)
{
    text += *text == '-';
    size_t whole = strspn(text, "0123456789");
    if (!whole || (whole > 1 && *text == '0'))
        return false;
    text += whole;
    if (*text == '.') {
        size_t fraction = strspn(++text, "0123456789");
        if (!fraction)
            return false;
        text += fraction;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        size_t exponent = strspn(text, "0123456789");
        if (!exponent)
            return false;
        text += exponent;
    }
    return *text == 0;
}

static bool put_json_string(struct buf *out, const char *text)
{
    struct json_out json;
    json_out_begin(&json, out);
    json_out_string(&json, text);
    return json_out_finish(&json) == 0;
}

static int put_json_scalar(struct reader *reader, const struct node *node, struct buf *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    int rc = expand(reader, node, false, &text);
    if (rc >= 0) {
        const char *value = buf_str(&text);
        bool literal = !node->quoted && (strcmp(value, "true") == 0 || strcmp(value, "false") == 0 || is_json_number(value));
        bool null = !node->quoted && (!*value || strcmp(value, "~") == 0 || strcmp(value, "null") == 0);
        bool ok = null ? buf_append_str(out, "null") == 0 : literal ? buf_append_str(out, value) == 0 : put_json_string(out, value);
        if (!ok)
            conf_error_at(reader->errors, node->mark, reader->trail.text, "larger than %d KiB", JSON_VALUE_MAX >> 10);
        rc = ok ? 0 : -1;
    }
    buf_fini(&text);
    return rc;
}

/* A YAML value as JSON text. 0, or -1 and an error has been added. */
static int read_json(struct reader *reader, const struct node *node, struct buf *out)
{
    if (node->kind == NODE_SCALAR)
        return put_json_scalar(reader, node, out);
    bool map = node->kind == NODE_MAP;
    bool ok = buf_append_char(out, map ? '{' : '[') == 0;
    for (const struct node *child = node->first; ok && child; child = child->next) {
        if (child != node->first)
            ok = buf_append_char(out, ',') == 0;
        if (ok && map)
            ok = put_json_string(out, child->key) && buf_append_char(out, ':') == 0;
        if (ok && read_json(reader, child, out))
            return -1;
    }
    ok = ok && buf_append_char(out, map ? '}' : ']') == 0;
    if (!ok)
        conf_error_at(reader->errors, node->mark, reader->trail.text, "larger than %d KiB", JSON_VALUE_MAX >> 10);
    return ok ? 0 : -1;
}

static bool read_pointers(struct reader *reader, const struct node *map, struct match_spec *spec)
{
    bool ok = true;
    if (map->kind != NODE_MAP || !map->first) {
        refuse_kind(reader, map, "a mapping such as { /key: value }", false);
        return false;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        struct buf value = BUF_INIT(JSON_VALUE_MAX);
        size_t cut = trail_key(&reader->trail, node->key);
        bool fine = false;
        if (node->duplicate)
            fine = false;
        else if (*node->key && *node->key != '/')
            conf_error_at(reader->errors, node->key_mark, reader->trail.text, "want a JSON pointer such as /%s",
                          reader->trail.text + cut + 1);
        else if (spec->json_count >= MATCH_POINTERS_MAX)
            conf_error_at(reader->errors, node->key_mark, reader->trail.text, "more than %d pointers", MATCH_POINTERS_MAX);
        else
            fine = read_json(reader, node, &value) == 0;
        if (fine)
            spec->json[spec->json_count++] = (struct match_pointer){ mem_strdup(node->key), mem_strdup(buf_str(&value)) };
        ok = ok && fine;
        buf_fini(&value);
        trail_cut(&reader->trail, cut);
    }
    return ok;
}

static bool read_match_key(struct reader *reader, const struct node *node, struct match_spec *spec)
{
    char **field = strcmp(node->key, "equals") == 0     ? &spec->equals
                   : strcmp(node->key, "contains") == 0 ? &spec->contains
                   : strcmp(node->key, "regex") == 0    ? &spec->regex
                                                        : NULL;
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (node->duplicate)
        return false;
    if (!field && strcmp(node->key, "json") == 0)
        return read_pointers(reader, node, spec);
    if (field && node_is_null(node))
        return true;
    if (field) {
        *field = read_text(reader, node, "a text");
        return *field;
    }
    const char *near = text_nearest(node->key, match_keys, sizeof match_keys / sizeof match_keys[0] - 1);
    conf_error_at(reader->errors, node->key_mark, reader->trail.text, near ? "unknown key (did you mean '%s'?)" : "unknown key",
                  near);
    return false;
}

/* Reads the parts of a match, and does not compile it. */
static bool read_parts(struct reader *reader, const struct opt *row, const struct node *node, struct match_spec *spec)
{
    char want[WANT_MAX];
    bool ok = true;
    if (node->kind != NODE_MAP || !node->first) {
        refuse_kind(reader, node, opt_want(row, want, sizeof want), row->flags & OPT_SECRET);
        return false;
    }
    for (const struct node *child = node->first; child; child = child->next) {
        size_t cut = trail_key(&reader->trail, child->key);
        ok = read_match_key(reader, child, spec) && ok;
        trail_cut(&reader->trail, cut);
    }
    if (ok && match_spec_empty(spec)) {
        refuse_kind(reader, node, opt_want(row, want, sizeof want), false);
        ok = false;
    }
    return ok;
}

/* Adds the error at the part of the match that its text begins with: "regex: missing ) at offset 4". */
static void refuse_part(struct reader *reader, const struct node *node, const struct err *err)
{
    char part[16] = "";
    size_t len = strcspn(err->text, ":");
    if (len < sizeof part)
        memcpy(part, err->text, len);
    const struct node *child = node_get(node, part);
    refuse(reader, child ? child->mark : node->mark, err);
}

static void read_match(struct reader *reader, const struct opt *row, const struct node *node, struct opt_match *field)
{
    struct match_spec spec = { 0 };
    struct match *match = NULL;
    struct err err;
    bool ok = read_parts(reader, row, node, &spec);
    if (ok && !(match = match_new(&spec, &err)))
        refuse_part(reader, node, &err);
    if (!match) {
        match_spec_fini(&spec);
        return;
    }
    match_free(field->match);
    match_spec_fini(&field->spec);
    *field = (struct opt_match){ spec, match };
}

static void read_spec(struct reader *reader, const struct opt *row, const struct node *node, struct match_spec *field)
{
    struct match_spec spec = { 0 };
    struct err err;
    bool ok = read_parts(reader, row, node, &spec);
    if (ok && opt_spec_validate(&spec, &err)) {
        refuse_part(reader, node, &err);
        ok = false;
    }
    if (!ok) {
        match_spec_fini(&spec);
        return;
    }
    match_spec_fini(field);
    *field = spec;
}

/* --- lists and mappings ------------------------------------------------------------------------------------------------------ */

static void read_list(struct reader *reader, const struct opt *row, const struct node *list, void *field)
{
    char want[WANT_MAX];
    if (list->kind != NODE_LIST)
        return refuse_kind(reader, list, opt_want(row, want, sizeof want), row->flags & OPT_SECRET);
    struct opt_strings strings = { 0 };
    unsigned set = 0;
    size_t index = 0, wrong = 0;
    for (const struct node *node = list->first; node; node = node->next) {
        struct buf text = BUF_INIT(TEXT_MAX);
        const char *shown = row->flags & OPT_SECRET ? NULL : node->text;
        struct err err;
        size_t cut = trail_index(&reader->trail, index++);
        int rc = 0;
        conf_error_place(reader->errors, reader->trail.text, node->mark);
        if (node->kind != NODE_SCALAR || node_is_null(node)) {
            refuse_kind(reader, node, row->kind == OPT_SET ? "a word" : "a text", false);
            rc = -1;
        } else if ((rc = expand(reader, node, false, &text)) > 0) {
            rc = row->kind == OPT_SET ? opt_add_word(row, &set, buf_str(&text), shown, &err)
                                      : opt_add_string(row, &strings, buf_str(&text), shown, &err);
            if (rc)
                refuse(reader, node->mark, &err);
        }
        wrong += rc < 0;
        buf_fini(&text);
        trail_cut(&reader->trail, cut);
    }
    if (row->kind == OPT_SET) {
        *(unsigned *)field = wrong ? *(unsigned *)field : set;
    } else if (wrong || strings.count < (size_t)row->min) {
        if (!wrong)
            conf_error_at(reader->errors, list->mark, reader->trail.text, "%zu entries, want at least %lld", strings.count,
                          (long long)row->min);
        opt_fini((const struct opt[]){ { .name = row->name, .kind = OPT_STRINGS }, { 0 } }, &strings);
    } else {
        opt_fini((const struct opt[]){ { .name = row->name, .kind = OPT_STRINGS }, { 0 } }, field);
        *(struct opt_strings *)field = strings;
    }
}

static void read_pairs(struct reader *reader, const struct opt *row, const struct node *map, struct opt_pairs *field)
{
    char want[WANT_MAX];
    if (map->kind != NODE_MAP)
        return refuse_kind(reader, map, opt_want(row, want, sizeof want), row->flags & OPT_SECRET);
    for (const struct node *node = map->first; node; node = node->next) {
        struct buf text = BUF_INIT(TEXT_MAX);
        struct err err;
        size_t cut = trail_key(&reader->trail, node->key);
        bool secret = (row->flags & OPT_SECRET) || opt_name_is_secret(node->key);
        conf_error_place(reader->errors, reader->trail.text, node->mark);
        if (node->duplicate || node_is_null(node))
            (void)node;
        else if (node->kind != NODE_SCALAR)
            refuse_kind(reader, node, "a text", secret);
        else if (expand(reader, node, row->flags & OPT_DYNAMIC, &text) > 0 &&
                 opt_add_pair(row, field, node->key, buf_str(&text), &err))
            refuse(reader, node->key_mark, &err);
        buf_fini(&text);
        trail_cut(&reader->trail, cut);
    }
}

/* An option that is not in this build may be set to off. */
static void read_future(struct reader *reader, const struct opt *row, const struct node *node)
{
    bool off = node->kind == NODE_SCALAR ? node_is_null(node) || (row->default_text && strcmp(node->text, row->default_text) == 0)
                                         : !node->first;
    if (!off)
        conf_error_at(reader->errors, node->key_mark, reader->trail.text, "not in this build");
}

static void read_scalar(struct reader *reader, const struct opt *row, const struct node *node, void *field)
{
    char want[WANT_MAX];
    struct err err;
    struct buf text = BUF_INIT(TEXT_MAX);
    bool secret = row->flags & OPT_SECRET;
    if (node->kind != NODE_SCALAR)
        refuse_kind(reader, node, opt_want(row, want, sizeof want), secret);
    else if (expand(reader, node, row->flags & OPT_DYNAMIC, &text) > 0 &&
             opt_parse(row, field, buf_str(&text), secret ? NULL : node->text, &err))
        refuse(reader, node->mark, &err);
    buf_fini(&text);
}

/* A text, or { base64: … }. */
static void read_bytes(struct reader *reader, const struct opt *row, const struct node *node, struct opt_bytes *field)
{
    const struct node *child = node->kind == NODE_MAP ? node_get(node, "base64") : NULL;
    char want[WANT_MAX];
    struct err err;
    if (node->kind == NODE_SCALAR)
        return read_scalar(reader, row, node, field);
    if (!child || node->count != 1)
        return refuse_kind(reader, node, opt_want(row, want, sizeof want), false);
    size_t cut = trail_key(&reader->trail, "base64");
    char *text = read_text(reader, child, "base64");
    if (text && opt_parse_base64(row, field, text, &err))
        refuse(reader, child->mark, &err);
    mem_free(text);
    trail_cut(&reader->trail, cut);
}

static void read_row(struct reader *reader, const struct opt *row, const struct node *node, void *base)
{
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (row->flags & OPT_FUTURE)
        return read_future(reader, row, node);
    if (node_is_null(node)) {
        if (row->kind == OPT_SPEC)
            ((struct match_spec *)opt_field(row, base))->dropped = true;
        return;
    }
    switch (row->kind) {
    case OPT_SECTION:
        read_map(reader, node, (const struct reader_part[2]){ { row->rows, opt_field(row, base) }, { NULL, NULL } }, NULL);
        break;
    case OPT_SET:
    case OPT_STRINGS:
        read_list(reader, row, node, opt_field(row, base));
        break;
    case OPT_PAIRS:
        read_pairs(reader, row, node, opt_field(row, base));
        break;
    case OPT_MATCH:
        read_match(reader, row, node, opt_field(row, base));
        break;
    case OPT_SPEC:
        read_spec(reader, row, node, opt_field(row, base));
        break;
    case OPT_BYTES:
        read_bytes(reader, row, node, opt_field(row, base));
        break;
    default:
        read_scalar(reader, row, node, opt_field(row, base));
        break;
    }
}

static bool is_one_of(const char *const *words, const char *word)
{
    for (; words && *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

/* The section that an unknown key belongs into, because somebody forgot to indent it; or NULL. */
static const char *section_of(const struct reader_part parts[2], const char *key)
{
    for (size_t i = 0; i < 2; i++)
        for (const struct opt *row = parts[i].rows; row && row->name; row++)
            if (row->kind == OPT_SECTION && opt_find(row->rows, key))
                return row->name;
    return NULL;
}

static void refuse_unknown(struct reader *reader, const struct node *node, const struct reader_part parts[2],
                           const char *const *others)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < 2; i++)
        for (const struct opt *row = parts[i].rows; row && row->name && count < NAMES_MAX; row++)
            names[count++] = row->name;
    for (; others && *others && count < NAMES_MAX; others++)
        names[count++] = *others;
    const char *near = text_nearest(node->key, names, count);
    const char *below = section_of(parts, node->key);
    if (below)
        conf_error_at(reader->errors, node->key_mark, reader->trail.text, "is a key of '%s': move it below that, and indent it",
                      below);
    else if (near)
        conf_error_at(reader->errors, node->key_mark, reader->trail.text, "unknown key (did you mean '%s'?)", near);
    else
        conf_error_at(reader->errors, node->key_mark, reader->trail.text, "unknown key");
}

void read_map(struct reader *reader, const struct node *map, const struct reader_part parts[2], const char *const *others)
{
    if (map->kind != NODE_MAP) {
        refuse_kind(reader, map, "a mapping", true);
        return;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        const struct opt *first = opt_find(parts[0].rows, node->key), *second = first ? NULL : opt_find(parts[1].rows, node->key);
        size_t cut = trail_key(&reader->trail, node->key);
        if (node->duplicate)
            (void)node;
        else if (first)
            read_row(reader, first, node, parts[0].base);
        else if (second)
            read_row(reader, second, node, parts[1].base);
        else if (!is_one_of(others, node->key))
            refuse_unknown(reader, node, parts, others);
        trail_cut(&reader->trail, cut);
    }
}
