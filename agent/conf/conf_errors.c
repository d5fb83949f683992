/*
 * The errors of one configuration: collected in any order, written in the order of the file. Called by the reader and by the rules
 * across options. Their number has a ceiling, and every secret that is registered by then is masked.
 */
#include "agent/conf/conf_errors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"

enum { ERRORS_TEXT_MAX = 256 << 10, KEY_SHOWN_MAX = 48 };

void conf_errors_init(struct conf_errors *errors)
{
    buf_init(&errors->text, ERRORS_TEXT_MAX);
    errors->count = 0;
}

void conf_errors_fini(struct conf_errors *errors)
{
    buf_fini(&errors->text);
    errors->count = 0;
}

void conf_list_names(const char *const *names, size_t count, struct err *err)
{
    for (size_t i = 0, len = strlen(err->text); i < count && len < sizeof err->text; i++) {
        int n = snprintf(err->text + len, sizeof err->text - len, "%s%s", i ? ", " : " ", names[i]);
        len += n > 0 ? (size_t)n : 0;
    }
}

int conf_unknown(const char *what, const char *name, const char *shown, const char *const *names, size_t count, struct err *err)
{
    char quoted[TEXT_EXCERPT_BYTES(KEY_SHOWN_MAX)];
    const char *near = text_nearest(name, names, count);
    text_excerpt(slice_str(shown), KEY_SHOWN_MAX, quoted, sizeof quoted);
    if (near)
        return err_set(err, REASON_NONE, 0, "'%s', no such %s (did you mean '%s'?)", quoted, what, near);
    err_set(err, REASON_NONE, 0, "'%s', want one of", quoted);
    conf_list_names(names, count, err);
    return -1;
}

void conf_error_init(struct conf_error_list *found, const char *file)
{
    *found = (struct conf_error_list){ .file = file };
}

__attribute__((format(printf, 4, 0))) static void add_error(struct conf_error_list *found, struct mark mark, const char *path,
                                                            const char *fmt, va_list args)
{
    struct buf text = BUF_INIT(TRAIL_MAX + 2 * ERR_TEXT_MAX);
    if (found->count >= CONF_ERRORS_MAX) {
        found->more = true;
        return;
    }
    if (path && *path)
        buf_printf(&text, "%s: ", path);
    buf_vprintf(&text, fmt, args);
    found->items = mem_realloc(found->items, (found->count + 1) * sizeof *found->items);
    found->items[found->count++] = (struct conf_error){ mark, mem_strdup(path), mem_strdup(buf_str(&text)) };
    buf_fini(&text);
}

void conf_error_at(struct conf_error_list *found, struct mark mark, const char *path, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_error(found, mark, path, fmt, args);
    va_end(args);
}

/* The longest known path that is `path` or leads to it. */
static struct mark find_place(const struct conf_error_list *found, const char *path)
{
    struct mark mark = { found->place_count ? 1 : 0, found->place_count ? 1 : 0 };
    size_t best = 0;
    for (size_t i = 0; i < found->place_count; i++) {
        size_t len = strlen(found->places[i].path);
        if (len >= best && strncmp(path, found->places[i].path, len) == 0 &&
            (len == 0 || path[len] == 0 || path[len] == '.' || path[len] == '[')) {
            best = len;
            mark = found->places[i].mark;
        }
    }
    return mark;
}

bool conf_error_has_below(const struct conf_error_list *found, const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < found->count; i++) {
        const char *other = found->items[i].path;
        if (other && strncmp(other, path, len) == 0 && (!other[len] || other[len] == '.' || other[len] == '['))
            return true;
    }
    return false;
}

bool conf_error_has(const struct conf_error_list *found, const char *path)
{
    for (size_t i = 0; i < found->count; i++)
        if (found->items[i].path && *path && strcmp(found->items[i].path, path) == 0)
            return true;
    return false;
}

void conf_error_path(struct conf_error_list *found, const char *path, const char *fmt, ...)
{
    va_list args;
    if (conf_error_has(found, path))
        return;
    va_start(args, fmt);
    add_error(found, find_place(found, path), path, fmt, args);
    va_end(args);
}

void conf_error_place(struct conf_error_list *found, const char *path, struct mark mark)
{
    if ((found->place_count & (found->place_count - 1)) == 0) /* doubles at each power of two */
        found->places = mem_realloc(found->places, (found->place_count ? found->place_count * 2 : 1) * sizeof *found->places);
    found->places[found->place_count++] = (struct conf_place){ mem_strdup(path), mark };
}

static int by_position(const void *left, const void *right)
{
    const struct conf_error *a = left, *b = right;
    if (a->mark.line != b->mark.line)
        return a->mark.line < b->mark.line ? -1 : 1;
    if (a->mark.column != b->mark.column)
        return a->mark.column < b->mark.column ? -1 : 1;
    return strcmp(a->text, b->text);
}

static void write_error(const struct conf_error_list *found, const struct conf_error *error, struct buf *out)
{
    secret_scrub(error->text);
    if (found->file && error->mark.line)
        buf_printf(out, "%s:%u:%u: %s\n", found->file, error->mark.line, error->mark.column, error->text);
    else if (found->file)
        buf_printf(out, "%s: %s\n", found->file, error->text);
    else
        buf_printf(out, "%s\n", error->text);
}

void conf_error_finish(struct conf_error_list *found, struct conf_errors *errors)
{
    if (found->count)
        qsort(found->items, found->count, sizeof *found->items, by_position);
    for (size_t i = 0; i < found->count; i++) {
        write_error(found, &found->items[i], &errors->text);
        mem_free(found->items[i].path);
        mem_free(found->items[i].text);
    }
    if (found->more)
        buf_printf(&errors->text, "%s%smore than %d errors, the others are left out\n", found->file ? found->file : "",
                   found->file ? ": " : "", CONF_ERRORS_MAX);
    errors->count += (unsigned)found->count;
    for (size_t i = 0; i < found->place_count; i++)
        mem_free(found->places[i].path);
    mem_free(found->items);
    mem_free(found->places);
    *found = (struct conf_error_list){ 0 };
}

/* Keys come from the file: cut, and without control characters. */
size_t trail_key(struct trail *trail, const char *key)
{
    size_t len = strlen(trail->text);
    char shown[TEXT_EXCERPT_BYTES(KEY_SHOWN_MAX)];
    text_excerpt(slice_str(key), KEY_SHOWN_MAX, shown, sizeof shown);
    snprintf(trail->text + len, sizeof trail->text - len, "%s%s", len ? "." : "", shown);
    return len;
}

size_t trail_index(struct trail *trail, size_t index)
{
    size_t len = strlen(trail->text);
    snprintf(trail->text + len, sizeof trail->text - len, "[%zu]", index);
    return len;
}

void trail_cut(struct trail *trail, size_t len)
{
    trail->text[len] = 0;
}
