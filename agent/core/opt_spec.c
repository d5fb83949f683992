/*
 * Matches with holes: filled and compiled. Called by the configuration, which tries each with a sample so that a broken regular expression
 * is found when the file is read, and by whoever awaits an answer. Promises that what is put into a regular expression stands for itself,
 * and that the result is as well formed as the sample's was.
 */
#include "agent/core/opt.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"

enum { PART_MAX = 256 << 10 };

static char *expand(const char *part, const char *text, const struct template_vars *vars, struct err *err)
{
    struct buf out = BUF_INIT(PART_MAX);
    char *result = NULL;
    if (template_expand(slice_str(text), vars, &out, err))
        err_prefix(err, "%s", part);
    else if (out.len && memchr(out.data, 0, out.len))
        err_set(err, REASON_NONE, 0, "%s: holds a NUL byte", part);
    else
        result = mem_strdup(buf_str(&out));
    buf_fini(&out);
    return result;
}

/* As it is to be found: escaped for JSON where the message is JSON, then for the expression. */
static char *quote(const char *hole, const struct template_vars *vars)
{
    struct buf plain = BUF_INIT(PART_MAX), out = BUF_INIT(2 * PART_MAX);
    template_expand(slice_str(hole), vars, &plain, NULL);
    for (const char *p = buf_str(&plain); *p; p++) {
        if (strchr("\\^$.[]|()?*+{}#-/ ", *p))
            buf_append_char(&out, '\\');
        buf_append_char(&out, *p);
    }
    char *text = mem_strdup(buf_str(&out));
    buf_fini(&plain);
    buf_fini(&out);
    return text;
}

static char *expand_regex(const char *text, const struct template_vars *vars, struct err *err)
{
    char *channel = quote("{{channel}}", vars), *token = quote("{{token}}", vars), *id = quote("{{id}}", vars);
    char *payload = quote("{{payload}}", vars);
    struct template_vars quoted = *vars;
    quoted.channel = channel;
    quoted.token = token;
    quoted.id = id;
    quoted.payload = slice_str(payload);
    quoted.json = false;
    char *out = expand("regex", text, &quoted, err);
    mem_free(channel);
    mem_free(token);
    mem_free(id);
    mem_free(payload);
    return out;
}

static int fill(const struct match_spec *spec, const struct template_vars *vars, struct match_spec *out, struct err *err)
{
    struct template_vars json = *vars;
    json.json = true;
    if (spec->equals && !(out->equals = expand("equals", spec->equals, vars, err)))
        return -1;
    if (spec->contains && !(out->contains = expand("contains", spec->contains, vars, err)))
        return -1;
    if (spec->regex && !(out->regex = expand_regex(spec->regex, vars, err)))
        return -1;
    for (size_t i = 0; i < spec->json_count; i++) {
        char *value = expand("json", spec->json[i].value, &json, err);
        if (!value)
            return -1;
        out->json[out->json_count++] = (struct match_pointer){ mem_strdup(spec->json[i].pointer), value };
    }
    return 0;
}

struct match *opt_spec_compile(const struct match_spec *spec, const struct template_vars *vars, struct err *err)
{
    struct match_spec filled = { 0 };
    struct match *match = fill(spec, vars, &filled, err) ? NULL : match_new(&filled, err);
    match_spec_fini(&filled);
    return match;
}

int opt_spec_check(const struct match_spec *spec, struct err *err)
{
    static const struct template_vars sample = { .channel = "a", .token = "a", .id = "1", .seq = 1, .now_ms = 1 };
    struct match *match = opt_spec_compile(spec, &sample, err);
    match_free(match);
    return match ? 0 : -1;
}
