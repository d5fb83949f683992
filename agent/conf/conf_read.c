/*
 * The tree of a document to fields, by the rows of the schema. Called by the loader (agent/conf/conf.c). An error is added with its
 * place, and reading goes on behind it. A field whose value is wrong keeps its default. Variables are replaced here, before the
 * value is parsed.
 */
#include "agent/conf/conf_impl.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

enum { NAMES_MAX = 64, QUOTE_MAX = 64 };

void reader_refuse(struct reader *reader, struct mark mark, const struct err *err)
{
    conf_error_at(reader->errors, mark, reader->trail.text, "%s", err->text);
}

void reader_refuse_kind(struct reader *reader, const struct node *node, const char *want, bool secret)
{
    if (node->kind == NODE_SCALAR && !node_is_null(node) && !secret) {
        char shown[TEXT_EXCERPT_BYTES(QUOTE_MAX)];
        text_excerpt(slice_str(node->text), QUOTE_MAX, shown, sizeof shown);
        conf_error_at(reader->errors, node->mark, reader->trail.text, "'%s', want %s", shown, want);
    } else {
        conf_error_at(reader->errors, node->mark, reader->trail.text, "%s, want %s", node_kind_name(node), want);
    }
}

int reader_expand(struct reader *reader, const struct node *node, bool keep_files, struct buf *out)
{
    bool replaced;
    struct err err;
    if (vars_expand(&reader->vars, node->text, keep_files, out, &replaced, &err)) {
        reader_refuse(reader, node->mark, &err);
        return -1;
    }
    return replaced && !out->len ? 0 : 1;
}

char *read_text(struct reader *reader, const struct node *node, const char *want)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    char *result = NULL;
    if (node->kind != NODE_SCALAR)
        reader_refuse_kind(reader, node, want, false);
    else if (reader_expand(reader, node, false, &text) >= 0)
        result = mem_strdup(buf_str(&text));
    buf_fini(&text);
    return result;
}

/* --- lists and mappings ------------------------------------------------------------------------------------------------------ */

static void read_list(struct reader *reader, const struct opt *row, const struct node *list, void *field)
{
    char want[WANT_MAX];
    if (list->kind != NODE_LIST)
        return reader_refuse_kind(reader, list, opt_want(row, want, sizeof want), row->flags & OPT_SECRET);
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
            reader_refuse_kind(reader, node, row->kind == OPT_SET ? "a word" : "a text", false);
            rc = -1;
        } else if ((rc = reader_expand(reader, node, false, &text)) > 0) {
            rc = row->kind == OPT_SET ? opt_add_word(row, &set, buf_str(&text), shown, &err)
                                      : opt_add_string(row, &strings, buf_str(&text), shown, &err);
            if (rc)
                reader_refuse(reader, node->mark, &err);
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
        return reader_refuse_kind(reader, map, opt_want(row, want, sizeof want), row->flags & OPT_SECRET);
    for (const struct node *node = map->first; node; node = node->next) {
        struct buf text = BUF_INIT(TEXT_MAX);
        struct err err;
        size_t cut = trail_key(&reader->trail, node->key);
        bool secret = (row->flags & OPT_SECRET) || opt_name_is_secret(node->key);
        conf_error_place(reader->errors, reader->trail.text, node->mark);
        if (node->duplicate || node_is_null(node))
            (void)node;
        else if (node->kind != NODE_SCALAR)
            reader_refuse_kind(reader, node, "a text", secret);
        else if (reader_expand(reader, node, row->flags & OPT_DYNAMIC, &text) > 0 &&
                 opt_add_pair(row, field, node->key, buf_str(&text), &err))
            reader_refuse(reader, node->key_mark, &err);
        buf_fini(&text);
        trail_cut(&reader->trail, cut);
    }
}

static void read_scalar(struct reader *reader, const struct opt *row, const struct node *node, void *field)
{
    char want[WANT_MAX];
    struct err err;
    struct buf text = BUF_INIT(TEXT_MAX);
    bool secret = row->flags & (OPT_SECRET | OPT_SECRET_PATH);
    if (node->kind != NODE_SCALAR)
        reader_refuse_kind(reader, node, opt_want(row, want, sizeof want), secret);
    else if (reader_expand(reader, node, row->flags & OPT_DYNAMIC, &text) > 0 &&
             opt_parse(row, field, buf_str(&text), secret ? NULL : node->text, &err))
        reader_refuse(reader, node->mark, &err);
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
        return reader_refuse_kind(reader, node, opt_want(row, want, sizeof want), false);
    size_t cut = trail_key(&reader->trail, "base64");
    char *text = read_text(reader, child, "base64");
    if (text && opt_parse_base64(row, field, text, &err))
        reader_refuse(reader, child->mark, &err);
    mem_free(text);
    trail_cut(&reader->trail, cut);
}

void reader_row(struct reader *reader, const struct opt *row, const struct node *node, void *base)
{
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (node_is_null(node)) {
        if (row->kind == OPT_SPEC)
            ((struct match_spec *)opt_field(row, base))->dropped = true;
        return;
    }
    switch (row->kind) {
    case OPT_SECTION:
        reader_section(reader, row, node, opt_field(row, base));
        break;
    case OPT_LIST:
    case OPT_MAP:
        reader_items(reader, row, node, opt_field(row, base));
        break;
    case OPT_RANGES:
        reader_ranges(reader, row, node, opt_field(row, base));
        break;
    case OPT_JSON:
        reader_json_row(reader, row, node, opt_field(row, base));
        break;
    case OPT_SET:
    case OPT_STRINGS:
        read_list(reader, row, node, opt_field(row, base));
        break;
    case OPT_PAIRS:
        read_pairs(reader, row, node, opt_field(row, base));
        break;
    case OPT_MATCH:
        reader_match(reader, row, node, opt_field(row, base));
        break;
    case OPT_SPEC:
        reader_spec(reader, row, node, opt_field(row, base));
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

/* The section that an unknown key belongs into, because somebody forgot to indent it; or NULL. Of several that have such a key it is the one
 * that stands right above, or the one that cannot be without it, or the first. */
static const char *section_of(const struct reader_part parts[2], const struct node *map, const struct node *unknown)
{
    const char *section = NULL;

    for (const struct node *node = map->first; node != unknown; node = node->next)
        for (size_t i = 0; i < 2; i++) {
            const struct opt *row = opt_find(parts[i].rows, node->key);

            if (row && row->kind == OPT_SECTION && opt_find(row->rows, unknown->key))
                section = row->name;
        }
    if (section)
        return section;
    for (size_t i = 0; i < 2; i++)
        for (const struct opt *row = parts[i].rows; row && row->name; row++) {
            const struct opt *inner = row->kind == OPT_SECTION ? opt_find(row->rows, unknown->key) : NULL;

            if (inner && (!section || (inner->flags & OPT_REQUIRED)))
                section = row->name;
        }
    return section;
}

static void refuse_unknown(struct reader *reader, const struct node *map, const struct node *node,
                           const struct reader_part parts[2], const char *const *others)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < 2; i++)
        for (const struct opt *row = parts[i].rows; row && row->name && count < NAMES_MAX; row++)
            names[count++] = row->name;
    for (; others && *others && count < NAMES_MAX; others++)
        names[count++] = *others;
    const char *near = text_nearest(node->key, names, count);
    const char *below = section_of(parts, map, node);
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
        reader_refuse_kind(reader, map, "a mapping", true);
        return;
    }
    for (const struct node *node = map->first; node; node = node->next) {
        const struct opt *first = opt_find(parts[0].rows, node->key), *second = first ? NULL : opt_find(parts[1].rows, node->key);
        size_t cut = trail_key(&reader->trail, node->key);
        if (node->duplicate)
            (void)node;
        else if (first)
            reader_row(reader, first, node, parts[0].base);
        else if (second)
            reader_row(reader, second, node, parts[1].base);
        else if (!is_one_of(others, node->key))
            refuse_unknown(reader, map, node, parts, others);
        trail_cut(&reader->trail, cut);
    }
}
