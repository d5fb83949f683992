/*
 * Structs in the document: sections, items of lists and of mappings, each a mapping or the value of the row that stands for the whole
 * (OPT_SHORT); and lists of ranges. Called by agent/conf/conf_read.c for the rows that want one. Errors are added with their places
 * (`checks[2].steps[3].within`); a list that holds an error keeps what it had.
 */
#include "agent/conf/conf_impl.h"

#include "agent/base/mem.h"

static bool takes_list(const struct opt *row)
{
    return row->kind == OPT_STRINGS || row->kind == OPT_SET || row->kind == OPT_RANGES || row->kind == OPT_LIST ||
           row->kind == OPT_JSON;
}

/* A struct by its rows. `want` says what it is, for errors. */
static void read_struct(struct reader *reader, const struct opt *rows, const struct node *node, void *base, const char *want)
{
    const struct opt *inner = node->kind == NODE_MAP ? NULL : opt_short(rows);
    if (node->kind == NODE_MAP)
        read_map(reader, node, (const struct reader_part[2]){ { rows, base }, { NULL, NULL } }, NULL);
    else if (inner && (node->kind == NODE_SCALAR || takes_list(inner)))
        reader_row(reader, inner, node, base);
    else
        reader_refuse_kind(reader, node, want, true);
}

void reader_section(struct reader *reader, const struct opt *row, const struct node *node, void *field)
{
    char want[WANT_MAX];
    read_struct(reader, row->rows, node, field, opt_want(row, want, sizeof want));
}

static void validate_item(struct reader *reader, const struct opt *rows, const struct node *node, void *item)
{
    for (const struct opt *row = rows; row && row->name; row++) {
        if (!(row->flags & OPT_REQUIRED) || opt_is_set(row, item))
            continue;
        size_t cut = trail_key(&reader->trail, row->name);
        conf_error_at(reader->errors, node->mark, reader->trail.text, "required, but not set");
        trail_cut(&reader->trail, cut);
    }
}

static void read_item(struct reader *reader, const struct opt *row, const struct node *node, struct opt_list *list)
{
    const struct opt section = { .name = row->name, .kind = OPT_SECTION, .rows = row->rows };
    const bool map = row->kind == OPT_MAP;
    size_t before = reader->errors->count;
    struct err err;
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (map && (node->duplicate || node_is_null(node)))
        return;
    if (node_is_null(node)) {
        reader_refuse_kind(reader, node, "a mapping", false);
        return;
    }
    void *item = opt_add_item(row, list, map ? node->key : NULL, &err);
    if (!item) {
        reader_refuse(reader, map ? node->key_mark : node->mark, &err);
        return;
    }
    reader_section(reader, &section, node, item);
    if (reader->errors->count == before)
        validate_item(reader, row->rows, node, item);
}

void reader_items(struct reader *reader, const struct opt *row, const struct node *node, struct opt_list *field)
{
    struct opt_list list = { 0 };
    size_t before = reader->errors->count, index = 0;
    char want[WANT_MAX];
    if (node->kind != (row->kind == OPT_MAP ? NODE_MAP : NODE_LIST)) {
        reader_refuse_kind(reader, node, opt_want(row, want, sizeof want), true);
        return;
    }
    for (const struct node *child = node->first; child; child = child->next) {
        size_t cut = row->kind == OPT_MAP ? trail_key(&reader->trail, child->key) : trail_index(&reader->trail, index++);
        read_item(reader, row, child, &list);
        trail_cut(&reader->trail, cut);
    }
    if (reader->errors->count == before && list.count < (size_t)row->min)
        conf_error_at(reader->errors, node->mark, reader->trail.text, "%zu entries, want at least %lld", list.count,
                      (long long)row->min);
    if (reader->errors->count == before) {
        opt_list_fini(row, field);
        *field = list;
    } else {
        opt_list_fini(row, &list);
    }
}

static void read_range(struct reader *reader, const struct opt *row, const struct node *node, struct opt_ranges *ranges)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    struct err err;
    conf_error_place(reader->errors, reader->trail.text, node->mark);
    if (node->kind != NODE_SCALAR || node_is_null(node))
        reader_refuse_kind(reader, node, "a whole number, or a range such as 4000-4999", false);
    else if (reader_expand(reader, node, false, &text) > 0 && opt_add_range(row, ranges, buf_str(&text), node->text, &err))
        reader_refuse(reader, node->mark, &err);
    buf_fini(&text);
}

/* A list, or one of its entries alone. */
void reader_ranges(struct reader *reader, const struct opt *row, const struct node *node, struct opt_ranges *field)
{
    struct opt_ranges ranges = { 0 };
    size_t before = reader->errors->count, index = 0;
    char want[WANT_MAX];
    if (node->kind == NODE_MAP) {
        reader_refuse_kind(reader, node, opt_want(row, want, sizeof want), false);
        return;
    }
    if (node->kind == NODE_SCALAR)
        read_range(reader, row, node, &ranges);
    for (const struct node *child = node->first; child; child = child->next) {
        size_t cut = trail_index(&reader->trail, index++);
        read_range(reader, row, child, &ranges);
        trail_cut(&reader->trail, cut);
    }
    if (reader->errors->count == before) {
        mem_free(field->items);
        *field = ranges;
    } else {
        mem_free(ranges.items);
    }
}
