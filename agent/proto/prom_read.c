/* See agent/proto/prom_read.h. A page is a stranger's: every length is looked at before its bytes. */
#include "agent/proto/prom_read.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/text.h"

enum { NUMBER_MAX = 64, EXCERPT_CHARS = 40, SEEN_MIN = 64 };

/* Hashes of the samples that were taken, in an open table: as many as fit the page at most. */
struct seen {
    uint64_t *slots; /* 0: free */
    size_t size, used;
};

/* Is it the first with these labels, for this wanted one? */
static bool put_hash(struct seen *seen, uint64_t hash)
{
    size_t at = (size_t)hash & (seen->size - 1);

    while (seen->slots[at] && seen->slots[at] != hash)
        at = (at + 1) & (seen->size - 1);
    if (seen->slots[at])
        return false;
    seen->slots[at] = hash;
    seen->used++;
    return true;
}

static void grow(struct seen *seen)
{
    struct seen wider = { .size = seen->size ? seen->size * 2 : SEEN_MIN };

    wider.slots = mem_alloc(wider.size * sizeof *wider.slots);
    for (size_t i = 0; i < seen->size; i++)
        if (seen->slots[i])
            put_hash(&wider, seen->slots[i]);
    mem_free(seen->slots);
    *seen = wider;
}

/* FNV-1a, then spread. */
static uint64_t hash_of(size_t which, struct slice labels)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ which;

    for (size_t i = 0; i < labels.len; i++)
        hash = (hash ^ labels.data[i]) * UINT64_C(0x100000001b3);
    hash = (hash ^ hash >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    return hash ? hash : 1;
}

static bool is_first(struct seen *seen, size_t which, struct slice labels)
{
    if (seen->used * 2 >= seen->size)
        grow(seen);
    return put_hash(seen, hash_of(which, labels));
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == ':';
}

static size_t name_len(const char *at, const char *end)
{
    const char *from = at;

    while (at < end && is_name_char(*at))
        at++;
    return (size_t)(at - from);
}

/* Without labels. */
static struct slice bare_name(const char *name)
{
    return slice_make(name, name_len(name, name + strlen(name)));
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* One label, `key="value"`, with the value as it is escaped. NULL: no label. Else what follows it. */
static const char *read_label(const char *at, const char *end, struct slice *key, struct slice *value)
{
    at = skip_blanks(at, end);
    *key = slice_make(at, name_len(at, end));
    at = skip_blanks(at + key->len, end);
    if (!key->len || at == end || *at != '=')
        return NULL;
    at = skip_blanks(at + 1, end);
    if (at == end || *at != '"')
        return NULL;
    const char *from = ++at;
    while (at < end && *at != '"')
        at += *at == '\\' && at + 1 < end ? 2 : 1;
    if (at >= end)
        return NULL;
    *value = slice_make(from, (size_t)(at - from));
    at = skip_blanks(at + 1, end);
    return at < end && *at == ',' ? skip_blanks(at + 1, end) : at;
}

/* The labels from behind a bracket up to the closing one; NULL: broken. Else what follows that. */
static const char *end_of_labels(const char *at, const char *end)
{
    struct slice key, value;

    for (at = skip_blanks(at, end); at && at < end && *at != '}';)
        at = read_label(at, end, &key, &value);
    return at && at < end ? at + 1 : NULL;
}

static bool has_label(const char *at, const char *end, struct slice wanted_key, struct slice wanted_value)
{
    struct slice key, value;

    for (at = skip_blanks(at, end); at && at < end && *at != '}';)
        if ((at = read_label(at, end, &key, &value)) && slice_equal(key, wanted_key) && slice_equal(value, wanted_value))
            return true;
    return false;
}

/* `labels`: behind the sample's bracket; NULL: it has none. */
static bool fits(const struct prom_wanted *wanted, struct slice name, const char *labels, const char *end)
{
    const char *wanted_end = wanted->name + strlen(wanted->name), *at;
    size_t len = name_len(wanted->name, wanted_end);
    struct slice key, value;

    if (!slice_equal(slice_make(wanted->name, len), name))
        return false;
    at = skip_blanks(wanted->name + len, wanted_end);
    if (at == wanted_end || *at != '{')
        return true;
    for (at = skip_blanks(at + 1, wanted_end); at && at < wanted_end && *at != '}';) {
        at = read_label(at, wanted_end, &key, &value);
        if (!at || !labels || !has_label(labels, end, key, value))
            return false;
    }
    return true;
}

static bool read_number(const char *at, const char *end, double *number)
{
    char text[NUMBER_MAX], *rest;
    size_t len = 0;

    at = skip_blanks(at, end);
    while (at + len < end && at[len] != ' ' && at[len] != '\t' && at[len] != '\r' && len + 1 < sizeof text)
        len++;
    memcpy(text, at, len);
    text[len] = '\0';
    *number = strtod(text, &rest);
    return len && !*rest;
}

/* "# TYPE name counter" */
static void read_type(const char *at, const char *end, struct prom_wanted *wanted, size_t count)
{
    static const char type[] = "TYPE ";
    size_t len;

    at = skip_blanks(at + 1, end);
    if ((size_t)(end - at) < strlen(type) || memcmp(at, type, strlen(type)) != 0)
        return;
    at += strlen(type);
    len = name_len(at, end);
    struct slice name = slice_make(at, len);
    at = skip_blanks(at + len, end);
    if ((size_t)(end - at) < 7 || memcmp(at, "counter", 7) != 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (slice_equal(bare_name(wanted[i].name), name))
            wanted[i].counter = true;
}

static bool read_sample(const char *at, const char *end, struct prom_wanted *wanted, size_t count, struct seen *seen)
{
    struct slice name = slice_make(at, name_len(at, end)), all = { 0 };
    const char *labels = NULL;
    double number;

    at = skip_blanks(at + name.len, end);
    if (!name.len || isdigit((unsigned char)name.data[0]))
        return false;
    if (at < end && *at == '{') {
        labels = at + 1;
        at = end_of_labels(labels, end);
        all = slice_make(labels, at ? (size_t)(at - labels) : 0);
    }
    if (!at || !read_number(at, end, &number))
        return false;
    for (size_t i = 0; i < count; i++)
        if (isfinite(number) && fits(&wanted[i], name, labels, end) && is_first(seen, i, all)) {
            wanted[i].found = true;
            wanted[i].value += number;
        }
    return true;
}

static bool ends_with_total(const char *name)
{
    struct slice bare = bare_name(name);

    return bare.len > 6 && memcmp(bare.data + bare.len - 6, "_total", 6) == 0;
}

int prom_read(struct slice page, struct prom_wanted *wanted, size_t count, struct err *err)
{
    const char *at = (const char *)page.data, *end = at + page.len;
    size_t samples = 0;
    struct seen seen = { 0 };
    char begin[TEXT_EXCERPT_BYTES(EXCERPT_CHARS)];

    for (size_t i = 0; i < count; i++) {
        wanted[i].found = false;
        wanted[i].value = 0;
        wanted[i].counter = ends_with_total(wanted[i].name);
    }
    while (page.len && at < end) {
        const char *line = skip_blanks(at, end), *line_end = memchr(at, '\n', (size_t)(end - at));

        line_end = line_end ? line_end : end;
        line = line < line_end ? line : line_end;
        if (line < line_end && *line == '#')
            read_type(line, line_end, wanted, count);
        else if (line < line_end)
            samples += read_sample(line, line_end, wanted, count, &seen);
        at = line_end + 1;
    }
    mem_free(seen.slots);
    for (size_t i = 0; i < count; i++)
        if (!isfinite(wanted[i].value)) {
            wanted[i].found = false;
            wanted[i].value = 0;
        }
    if (samples)
        return 0;
    text_excerpt(page, EXCERPT_CHARS, begin, sizeof begin);
    return err_set(err, REASON_NONE, 0, page.len ? "no Prometheus text: it begins with \"%s\"" : "an empty page%s", begin);
}

int prom_read_validate(const char *name, struct err *err)
{
    const char *end = name + strlen(name), *at = name + name_len(name, end);

    if (at == name || isdigit((unsigned char)*name))
        return err_set(err, REASON_NONE, 0, "'%s', want the name of a series", name);
    at = skip_blanks(at, end);
    if (at == end)
        return 0;
    if (*at == '{' && (at = end_of_labels(at + 1, end)) && skip_blanks(at, end) == end)
        return 0;
    return err_set(err, REASON_NONE, 0, "'%s', want a name, or a name with labels such as name{room=\"a\"}", name);
}
