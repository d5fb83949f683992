/*
 * Matches with holes, tried with a sample in them, so that a broken regular expression is found when the configuration is read.
 * Called by the reader of the configuration and by the command line. The real values are put in by agent/client/dialogue_parts.c.
 */
#include "agent/conf/opt.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"

enum { PART_MAX = 256 << 10 };

static const struct template_vars sample = { .channel = "a", .token = "a", .id = "1", .seq = 1, .now_ms = 1, .json = true };

static char *fill(const char *part, const char *text, struct err *err)
{
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

static int fill_spec(const struct match_spec *spec, struct match_spec *out, struct err *err)
{
    if (spec->equals && !(out->equals = fill("equals", spec->equals, err)))
        return -1;
    if (spec->contains && !(out->contains = fill("contains", spec->contains, err)))
        return -1;
    if (spec->regex && !(out->regex = fill("regex", spec->regex, err)))
        return -1;
    for (size_t i = 0; i < spec->json_count; i++) {
        char *value = fill("json", spec->json[i].value, err);
        if (!value)
            return -1;
        out->any_type |= (unsigned)match_value_is_hole(spec->json[i].value) << i;
        out->json[out->json_count++] = (struct match_pointer){ mem_strdup(spec->json[i].pointer), value };
    }
    return 0;
}

int opt_spec_validate(const struct match_spec *spec, struct err *err)
{
    struct match_spec filled = { 0 };
    struct match *match = fill_spec(spec, &filled, err) ? NULL : match_new(&filled, err);
    match_spec_fini(&filled);
    match_free(match);
    return match ? 0 : -1;
}
