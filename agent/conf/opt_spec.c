/*
 * Matches with holes, tried with a sample in them, so that a broken regular expression is found when the configuration is read.
 * Called by the reader of the configuration and by the command line. The real values are put in by agent/client/holes.c.
 */
#include "agent/conf/opt.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"

enum { PART_MAX = 256 << 10 };

static char *fill(const struct opt *row, const char *part, const char *text, struct err *err)
{
    const struct template_vars sample = { .channel = "a",
                                          .token = "a",
                                          .id = "1",
                                          .uuid = "a",
                                          .seq = 1,
                                          .now_ms = 1,
                                          .json = true,
                                          .any_name = row->flags & OPT_NAMES,
                                          .only = row->holes };
    struct buf out = BUF_INIT(PART_MAX);
    char *result = NULL;
    if (template_expand(slice_str(text), &sample, &out, err))
        err_prefix(err, "%s", part);
    else if (out.len && memchr(out.data, 0, out.len))
        err_set(err, REASON_NONE, 0, "%s: holds a NUL byte", part);
    else
        result = mem_strdup(buf_str(&out));
    buf_fini(&out);
    return result;
}

static int fill_spec(const struct opt *row, const struct match_spec *spec, struct match_spec *out, struct err *err)
{
    if (spec->equals && !(out->equals = fill(row, "equals", spec->equals, err)))
        return -1;
    if (spec->contains && !(out->contains = fill(row, "contains", spec->contains, err)))
        return -1;
    if (spec->regex && !(out->regex = fill(row, "regex", spec->regex, err)))
        return -1;
    for (size_t i = 0; i < spec->json_count; i++) {
        char *value = fill(row, "json", spec->json[i].value, err);
        if (!value)
            return -1;
        out->any_type |= (unsigned)match_value_is_hole(spec->json[i].value) << i;
        out->json[out->json_count++] = (struct match_pointer){ mem_strdup(spec->json[i].pointer), value };
    }
    return 0;
}

int opt_spec_validate(const struct opt *row, const struct match_spec *spec, struct err *err)
{
    struct match_spec filled = { 0 };
    struct match *match = fill_spec(row, spec, &filled, err) ? NULL : match_new(&filled, err);
    match_spec_fini(&filled);
    match_free(match);
    return match ? 0 : -1;
}

static int validate_part(const char *part, const char *text, const struct template_vars *vars, struct err *err)
{
    return text && template_validate_names(slice_str(text), vars, err) < 0 ? err_prefix(err, "%s", part) : 0;
}

int opt_spec_validate_names(const struct match_spec *spec, const struct template_vars *vars, struct err *err)
{
    if (validate_part("equals", spec->equals, vars, err) < 0 || validate_part("contains", spec->contains, vars, err) < 0 ||
        validate_part("regex", spec->regex, vars, err) < 0)
        return -1;
    for (size_t i = 0; i < spec->json_count; i++)
        if (validate_part("json", spec->json[i].value, vars, err) < 0)
            return -1;
    return 0;
}

static bool mentions(const char *text, const char *hole)
{
    return text && template_mentions(slice_str(text), hole);
}

bool opt_spec_mentions(const struct match_spec *spec, const char *hole)
{
    bool found = mentions(spec->equals, hole) || mentions(spec->contains, hole) || mentions(spec->regex, hole);
    for (size_t i = 0; i < spec->json_count; i++)
        found = found || mentions(spec->json[i].value, hole);
    return found;
}

static bool text_mentions_token(const struct opt *row, const void *field)
{
    const struct opt_bytes *bytes = field;
    const char *text =
        (row->kind == OPT_STRING || row->kind == OPT_JSON) && row->flags & OPT_TEMPLATE ? *(char *const *)field : NULL;
    if (row->kind == OPT_BYTES && !(row->flags & OPT_LITERAL) && bytes->data)
        return template_mentions(slice_make(bytes->data, bytes->len), "token");
    return mentions(text, "token");
}

bool opt_mentions_token(const struct opt *rows, const void *base)
{
    for (const struct opt *row = rows; row && row->name; row++) {
        const void *field = (const char *)base + row->offset;
        const struct opt_list *list = row->kind == OPT_LIST || row->kind == OPT_MAP ? field : NULL;
        if (text_mentions_token(row, field) || (row->kind == OPT_SECTION && opt_mentions_token(row->rows, field)))
            return true;
        for (size_t i = 0; list && i < list->count; i++)
            if (opt_mentions_token(row->rows, opt_item(row, list, i)))
                return true;
    }
    return false;
}
