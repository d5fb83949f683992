/*
 * Lists and mappings of structs: items are added with their defaults, found by name, compared and released. Called by the schema
 * (agent/conf/opt.c) and by the reader of the configuration. Owns the array and the names of a mapping's items; what the rows own is
 * released through opt_fini. A list has a ceiling, and an item that is refused leaves the list as it was.
 */
#include "agent/conf/opt.h"

#include <inttypes.h>
#include <string.h>

#include "agent/base/mem.h"

enum { NAME_BYTES_MAX = 64 };

const struct opt *opt_short(const struct opt *rows)
{
    for (const struct opt *row = rows; row && row->name; row++)
        if (row->flags & OPT_SHORT)
            return row;
    return NULL;
}

void *opt_item(const struct opt *row, const struct opt_list *list, size_t index)
{
    panic_if(index >= list->count);
    return (char *)list->items + index * row->size;
}

static char **name_of(const struct opt *row, const struct opt_list *list, size_t index)
{
    return opt_item(row, list, index);
}

void *opt_item_named(const struct opt *row, const struct opt_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(*name_of(row, list, i), name) == 0)
            return opt_item(row, list, i);
    return NULL;
}

/* Names are shown in sentences, and some become labels of metrics. */
static int validate_name(const char *name, struct err *err)
{
    static const char letters[] = "_.-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (!name || !*name || strlen(name) > NAME_BYTES_MAX || name[strspn(name, letters)])
        return err_set(err, REASON_NONE, 0, "not a name, want 1 to %d letters, digits, _ . or -", NAME_BYTES_MAX);
    return 0;
}

void *opt_add_item(const struct opt *row, struct opt_list *list, const char *name, struct err *err)
{
    int64_t max = row->max ? row->max : OPT_ITEMS_MAX;
    if (list->count >= (size_t)max) {
        err_set(err, REASON_NONE, 0, "more than %" PRId64 " entries", max);
        return NULL;
    }
    if (row->kind == OPT_MAP && validate_name(name, err))
        return NULL;
    list->items = mem_realloc(list->items, (list->count + 1) * row->size);
    void *item = (char *)list->items + list->count++ * row->size;
    memset(item, 0, row->size);
    opt_defaults(row->rows, item);
    if (row->kind == OPT_MAP)
        *(char **)item = mem_strdup(name);
    return item;
}

void opt_drop_last(const struct opt *row, struct opt_list *list)
{
    if (row->kind == OPT_MAP)
        mem_free(*name_of(row, list, list->count - 1));
    opt_fini(row->rows, opt_item(row, list, list->count - 1));
    list->count--;
}

void opt_list_fini(const struct opt *row, struct opt_list *list)
{
    while (list->count)
        opt_drop_last(row, list);
    mem_free(list->items);
    *list = (struct opt_list){ 0 };
}

bool opt_list_equal(const struct opt *row, const struct opt_list *a, const struct opt_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (row->kind == OPT_MAP && strcmp(*name_of(row, a, i), *name_of(row, b, i)) != 0)
            return false;
        if (!opt_equal(row->rows, opt_item(row, a, i), opt_item(row, b, i)))
            return false;
    }
    return true;
}
