/*
 * The schema at work on plain structs: defaults, release, equality, look-up, and options set by name. Called by the configuration and by
 * the command line. Promises that every kind of option is handled in each of them (the switches have no default). Reading text is
 * agent/conf/opt_parse.c and opt_numbers.c, lists of structs are opt_list.c, matches with holes opt_spec.c, files opt_file.c.
 */
#include "agent/conf/opt.h"

#include <string.h>
#include <strings.h>

#include "agent/base/mem.h"

/* Rows of matches, so that "expect.contains" can be named like any option. */
static const struct opt match_rows[] = {
    { .name = "equals", .kind = OPT_STRING, .offset = offsetof(struct match_spec, equals), .help = "the whole message" },
    { .name = "contains", .kind = OPT_STRING, .offset = offsetof(struct match_spec, contains), .help = "a part of the message" },
    { .name = "regex", .kind = OPT_STRING, .offset = offsetof(struct match_spec, regex), .help = "a regular expression" },
    { 0 },
};

void *opt_field(const struct opt *row, void *base)
{
    return (char *)base + row->offset;
}

static const void *field_of(const struct opt *row, const void *base)
{
    return (const char *)base + row->offset;
}

static void default_list(const struct opt *row, void *field)
{
    const char *text = row->default_text;
    struct err err;
    while (*text) {
        size_t len = strcspn(text, ",");
        char *item = mem_strndup(text, len);
        int rc = opt_add_string(row, field, item, item, &err);
        mem_free(item);
        panic_if(rc);
        text += len + strspn(text + len, ", ");
    }
}

void opt_defaults(const struct opt *rows, void *base)
{
    for (const struct opt *row = rows; row && row->name; row++) {
        struct err err;
        if (row->kind == OPT_SECTION)
            opt_defaults(row->rows, opt_field(row, base));
        else if (row->default_text && row->kind == OPT_STRINGS)
            default_list(row, opt_field(row, base));
        else if (row->default_text)
            panic_if(opt_parse(row, opt_field(row, base), row->default_text, row->default_text, &err));
    }
}

static void free_pairs(struct opt_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        mem_free(pairs->items[i].name);
        mem_free(pairs->items[i].value);
    }
    mem_free(pairs->items);
    *pairs = (struct opt_pairs){ 0 };
}

static void free_strings(struct opt_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct opt_strings){ 0 };
}

static void fini_row(const struct opt *row, void *field)
{
    switch (row->kind) {
    case OPT_BOOL:
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
    case OPT_ENUM:
    case OPT_SET:
    case OPT_WINDOW:
    case OPT_RATE:
    case OPT_FACTOR:
        break;
    case OPT_STRING:
    case OPT_JSON:
        mem_free(*(char **)field);
        *(char **)field = NULL;
        break;
    case OPT_STRINGS:
        free_strings(field);
        break;
    case OPT_PAIRS:
        free_pairs(field);
        break;
    case OPT_MATCH:
        match_free(((struct opt_match *)field)->match);
        match_spec_fini(&((struct opt_match *)field)->spec);
        memset(field, 0, sizeof(struct opt_match));
        break;
    case OPT_SPEC:
        match_spec_fini(field);
        break;
    case OPT_BYTES:
        mem_free(((struct opt_bytes *)field)->data);
        *(struct opt_bytes *)field = (struct opt_bytes){ 0 };
        break;
    case OPT_SECTION:
        opt_fini(row->rows, field);
        break;
    case OPT_LIST:
    case OPT_MAP:
        opt_list_fini(row, field);
        break;
    case OPT_RANGES:
        mem_free(((struct opt_ranges *)field)->items);
        *(struct opt_ranges *)field = (struct opt_ranges){ 0 };
        break;
    }
}

void opt_fini(const struct opt *rows, void *base)
{
    for (const struct opt *row = rows; row && row->name; row++)
        fini_row(row, opt_field(row, base));
}

const char *opt_pairs_get(const struct opt_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (strcasecmp(pairs->items[i].name, name) == 0)
            return pairs->items[i].value;
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_strings(const struct opt_strings *a, const struct opt_strings *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_text(a->items[i], b->items[i]);
    return same;
}

static bool same_pairs(const struct opt_pairs *a, const struct opt_pairs *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_text(a->items[i].name, b->items[i].name) && same_text(a->items[i].value, b->items[i].value);
    return same;
}

static bool same_match(const struct match_spec *a, const struct match_spec *b)
{
    bool same = same_text(a->equals, b->equals) && same_text(a->contains, b->contains) && same_text(a->regex, b->regex) &&
                a->json_count == b->json_count && a->dropped == b->dropped;
    for (size_t i = 0; same && i < a->json_count; i++)
        same = same_text(a->json[i].pointer, b->json[i].pointer) && same_text(a->json[i].value, b->json[i].value);
    return same;
}

static bool same_bytes(const struct opt_bytes *a, const struct opt_bytes *b)
{
    if (!a->data || !b->data)
        return a->data == b->data;
    return a->binary == b->binary && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static bool same_ranges(const struct opt_ranges *a, const struct opt_ranges *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = a->items[i].low == b->items[i].low && a->items[i].high == b->items[i].high;
    return same;
}

static bool same_row(const struct opt *row, const void *a, const void *b)
{
    switch (row->kind) {
    case OPT_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
    case OPT_FACTOR:
        return *(const int64_t *)a == *(const int64_t *)b;
    case OPT_STRING:
    case OPT_JSON:
        return same_text(*(char *const *)a, *(char *const *)b);
    case OPT_ENUM:
        return *(const int *)a == *(const int *)b;
    case OPT_SET:
        return *(const unsigned *)a == *(const unsigned *)b;
    case OPT_WINDOW:
        return ((const struct opt_window *)a)->count == ((const struct opt_window *)b)->count &&
               ((const struct opt_window *)a)->of == ((const struct opt_window *)b)->of;
    case OPT_STRINGS:
        return same_strings(a, b);
    case OPT_PAIRS:
        return same_pairs(a, b);
    case OPT_MATCH:
        return same_match(&((const struct opt_match *)a)->spec, &((const struct opt_match *)b)->spec);
    case OPT_SPEC:
        return same_match(a, b);
    case OPT_BYTES:
        return same_bytes(a, b);
    case OPT_SECTION:
        return opt_equal(row->rows, a, b);
    case OPT_LIST:
    case OPT_MAP:
        return opt_list_equal(row, a, b);
    case OPT_RATE:
        return ((const struct opt_rate *)a)->percent == ((const struct opt_rate *)b)->percent &&
               ((const struct opt_rate *)a)->in_ms == ((const struct opt_rate *)b)->in_ms;
    case OPT_RANGES:
        return same_ranges(a, b);
    }
    return false;
}

bool opt_equal(const struct opt *rows, const void *a, const void *b)
{
    for (const struct opt *row = rows; row && row->name; row++)
        if (!same_row(row, field_of(row, a), field_of(row, b)))
            return false;
    return true;
}

bool opt_is_set(const struct opt *row, const void *base)
{
    const void *field = field_of(row, base);
    switch (row->kind) {
    case OPT_STRING:
    case OPT_JSON:
        return *(char *const *)field;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_PERCENT:
    case OPT_FACTOR:
        return *(const int64_t *)field != 0;
    case OPT_STRINGS:
        return ((const struct opt_strings *)field)->count > 0;
    case OPT_PAIRS:
        return ((const struct opt_pairs *)field)->count > 0;
    case OPT_LIST:
    case OPT_MAP:
        return ((const struct opt_list *)field)->count > 0;
    case OPT_RANGES:
        return ((const struct opt_ranges *)field)->count > 0;
    case OPT_RATE:
        return ((const struct opt_rate *)field)->in_ms != 0;
    case OPT_MATCH:
        return ((const struct opt_match *)field)->match;
    case OPT_SPEC:
        return ((const struct match_spec *)field)->dropped || !match_spec_empty(field);
    case OPT_BYTES:
        return ((const struct opt_bytes *)field)->data;
    case OPT_SECTION:
        for (const struct opt *inner = row->rows; inner && inner->name; inner++)
            if (opt_is_set(inner, field))
                return true;
        return false;
    case OPT_BOOL:
    case OPT_ENUM:
    case OPT_SET:
    case OPT_WINDOW:
        break;
    }
    return true;
}

const struct opt *opt_find(const struct opt *rows, const char *name)
{
    for (const struct opt *row = rows; row && row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

static int set_at(const struct opt *rows, void *base, const char *name, const char *text, struct err *err);

/* "regex: missing )": the name of the part is put before it anyway. */
static int bad_part(const char *part, const struct err *why, struct err *err)
{
    size_t len = strlen(part);
    bool named = strncmp(why->text, part, len) == 0 && why->text[len] == ':';
    return err_set(err, REASON_NONE, 0, "%s", why->text + (named ? len + 2 : 0));
}

static int set_spec_part(const struct opt *row, struct match_spec *spec, const char *part, const char *text, struct err *err)
{
    struct err why = { 0 };
    if (set_at(match_rows, spec, part, text, err))
        return -1;
    return opt_spec_validate(row, spec, &why) ? bad_part(part, &why, err) : 0;
}

static int set_match_part(struct opt_match *match, const char *part, const char *text, struct err *err)
{
    if (set_at(match_rows, &match->spec, part, text, err))
        return -1;
    struct err why = { 0 };
    struct match *compiled = match_new(&match->spec, &why);
    if (!compiled)
        return bad_part(part, &why, err);
    match_free(match->match);
    match->match = compiled;
    return 0;
}

/* "${file:PATH}" as a whole becomes the marker; everything else stays. */
static char *marked(const struct opt *row, const char *text)
{
    size_t len = strlen(text);
    if ((row->flags & OPT_DYNAMIC) && row->kind == OPT_STRING && strncmp(text, "${file:", 7) == 0 && len > 8 &&
        text[len - 1] == '}')
        return mem_printf("%c%.*s%c", OPT_MARK_BEGIN, (int)(len - 8), text + 7, OPT_MARK_END);
    return mem_strdup(text);
}

/* A section's or an item's row that stands for the whole of it. */
static int set_short(const struct opt *row, void *base, const char *text, struct err *err)
{
    const struct opt *inner = opt_short(row->rows);
    return inner ? set_at(row->rows, base, inner->name, text, err) : opt_bad_value(row, text, err);
}

/* "db.port" or "db" in a mapping: the item of that name, new where there is none yet. A list has no names, and takes one more item. */
static int set_in_item(const struct opt *row, struct opt_list *list, const char *name, const char *text, struct err *err)
{
    const char *dot = name ? strchr(name, '.') : NULL;
    char *head = name ? mem_strndup(name, dot ? (size_t)(dot - name) : strlen(name)) : NULL;
    void *item = head ? opt_item_named(row, list, head) : NULL;
    bool added = !item;
    if (added)
        item = opt_add_item(row, list, head, err);
    mem_free(head);
    if (!item)
        return -1;
    int rc = dot ? set_at(row->rows, item, dot + 1, text, err) : set_short(row, item, text, err);
    if (rc && added)
        opt_drop_last(row, list);
    return rc;
}

static int set_below(const struct opt *row, void *field, const char *rest, const char *text, struct err *err)
{
    switch (row->kind) {
    case OPT_SECTION:
        return set_at(row->rows, field, rest, text, err);
    case OPT_SPEC:
        return set_spec_part(row, field, rest, text, err);
    case OPT_MATCH:
        return set_match_part(field, rest, text, err);
    case OPT_MAP:
        return set_in_item(row, field, rest, text, err);
    default:
        return err_set(err, REASON_NONE, 0, "unknown option");
    }
}

static int set_at(const struct opt *rows, void *base, const char *name, const char *text, struct err *err)
{
    const char *dot = strchr(name, '.');
    char *head = mem_strndup(name, dot ? (size_t)(dot - name) : strlen(name));
    const struct opt *row = opt_find(rows, head);
    mem_free(head);
    if (!row)
        return err_set(err, REASON_NONE, 0, "unknown option");
    if (dot)
        return set_below(row, opt_field(row, base), dot + 1, text, err);
    if (row->kind == OPT_SECTION)
        return set_short(row, opt_field(row, base), text, err);
    if (row->kind == OPT_LIST && opt_short(row->rows))
        return set_in_item(row, opt_field(row, base), NULL, text, err);
    char *value = marked(row, text);
    int rc = opt_parse(row, opt_field(row, base), value, (row->flags & OPT_SECRET) ? NULL : text, err);
    mem_free(value);
    return rc;
}

int opt_set(const struct opt *rows, void *base, const char *name, const char *text, struct err *err)
{
    return set_at(rows, base, name, text, err) ? err_prefix(err, "%s", name) : 0;
}
