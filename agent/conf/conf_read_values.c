/*
 * Values that are more than a text: JSON of any YAML value, and matches. Called by agent/conf/conf_read.c for the rows that want one.
 * Errors are added with their places; a field whose value is wrong keeps what it has.
 */
#include "agent/conf/conf_impl.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/base/text.h"
#include "agent/proto/json_out.h"

static const char *const match_keys[] = { "equals", "contains", "regex", "json", NULL };

/* --- any value as JSON ------------------------------------------------------------------------------------------------------- */

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

static int put_json_scalar(struct reader *reader, const struct node *node, enum json_secrets secrets, struct buf *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    int rc = reader_expand(reader, node, false, &text);
    if (rc >= 0) {
        const char *value = buf_str(&text);
        if (secrets == JSON_SECRET)
            secret_add(value);
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

int reader_json(struct reader *reader, const struct node *node, enum json_secrets secrets, struct buf *out)
{
    if (node->kind == NODE_SCALAR)
        return put_json_scalar(reader, node, secrets, out);
    bool map = node->kind == NODE_MAP;
    bool ok = buf_append_char(out, map ? '{' : '[') == 0;
    for (const struct node *child = node->first; ok && child; child = child->next) {
        if (child != node->first)
            ok = buf_append_char(out, ',') == 0;
        if (ok && map)
            ok = put_json_string(out, child->key) && buf_append_char(out, ':') == 0;
        bool named = secrets == JSON_SECRET_BY_NAME && map && opt_name_is_secret(child->key);
        if (ok && reader_json(reader, child, named ? JSON_SECRET : secrets, out))
            return -1;
    }
    ok = ok && buf_append_char(out, map ? '}' : ']') == 0;
    if (!ok)
        conf_error_at(reader->errors, node->mark, reader->trail.text, "larger than %d KiB", JSON_VALUE_MAX >> 10);
    return ok ? 0 : -1;
}

void reader_json_row(struct reader *reader, const struct opt *row, const struct node *node, char **field)
{
    struct buf value = BUF_INIT(JSON_VALUE_MAX);
    struct err err;
    bool secret = row->flags & OPT_SECRET;
    if (reader_json(reader, node, secret ? JSON_SECRET : JSON_SECRET_BY_NAME, &value) == 0 &&
        opt_parse(row, field, buf_str(&value), secret ? NULL : buf_str(&value), &err))
        reader_refuse(reader, node->mark, &err);
    buf_wipe(&value);
}

/* --- matches ----------------------------------------------------------------------------------------------------------------- */

static bool read_pointers(struct reader *reader, const struct node *map, struct match_spec *spec)
{
    bool ok = true;
    if (map->kind != NODE_MAP || !map->first) {
        reader_refuse_kind(reader, map, "a mapping such as { /key: value }", false);
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
            fine = reader_json(reader, node, JSON_NO_SECRET, &value) == 0;
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
        reader_refuse_kind(reader, node, opt_want(row, want, sizeof want), row->flags & OPT_SECRET);
        return false;
    }
    for (const struct node *child = node->first; child; child = child->next) {
        size_t cut = trail_key(&reader->trail, child->key);
        ok = read_match_key(reader, child, spec) && ok;
        trail_cut(&reader->trail, cut);
    }
    if (ok && match_spec_empty(spec)) {
        reader_refuse_kind(reader, node, opt_want(row, want, sizeof want), false);
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
    reader_refuse(reader, child ? child->mark : node->mark, err);
}

void reader_match(struct reader *reader, const struct opt *row, const struct node *node, struct opt_match *field)
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

void reader_spec(struct reader *reader, const struct opt *row, const struct node *node, struct match_spec *field)
{
    struct match_spec spec = { 0 };
    struct err err;
    bool ok = read_parts(reader, row, node, &spec);
    if (ok && opt_spec_validate(row, &spec, &err)) {
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
