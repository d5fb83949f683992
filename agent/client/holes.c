/*
 * Fills the holes of texts and matches (agent/client/holes.h). Called by dialogues and by checks with texts of their own. Owns nothing.
 * Promises that what a channel, a token, an id or a captured value holds never changes the meaning of the text around it.
 */
#include "agent/client/holes.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/client/conn_offer.h"

enum { SPEC_BYTES_MAX = 256 << 10, TOKEN_BYTES_MAX = 64 << 10 };

enum quoting { QUOTE_AS_TEXT, QUOTE_JSON, QUOTE_REGEX };

/* Is there a token, be it in a message or elsewhere? */
static bool has_token(const struct holes *holes)
{
    const struct conn_override *override = holes->override;

    return override && override->sets_token ? override->token : holes->target->token;
}

static int read_token(const struct holes *holes, struct buf *out, struct err *err)
{
    const struct conn_override *override = holes->override;

    if (override && override->sets_token)
        return buf_append_str(out, override->token) < 0
                   ? err_set(err, REASON_AGENT_ERROR, 0, "the token is longer than %d bytes", TOKEN_BYTES_MAX)
                   : 0;
    return opt_expand(holes->target->token, out, err) < 0 ? err_prefix(err, "target.token") : 0;
}

static void on_secret(void *user, struct slice value)
{
    const struct holes *holes = user;
    char *text = holes->secrets ? mem_strndup(value.len ? (const void *)value.data : "", value.len) : NULL;

    if (text)
        secret_lend(holes->secrets, text);
    mem_free_secret(text);
}

static int fill(const struct holes *holes, struct slice text, enum quoting quoting, struct buf *out, struct err *err)
{
    struct template_vars vars = { .channel = holes->channel,
                                  .id = holes->id,
                                  .uuid = holes->uuid,
                                  .seq = holes->seq,
                                  .now_ms = clock_wall_ms(),
                                  .names = holes->names,
                                  .name_count = holes->name_count,
                                  .json = quoting == QUOTE_JSON || holes->json,
                                  .regex = quoting == QUOTE_REGEX,
                                  .on_secret = on_secret,
                                  .user = (void *)holes };
    struct buf token = BUF_INIT(TOKEN_BYTES_MAX);
    int rc = 0;

    vars.token_here = has_token(holes) && holes->target->token_place == TOKEN_MESSAGE;
    if (has_token(holes) && template_mentions(text, "token")) {
        rc = read_token(holes, &token, err);
        vars.token = buf_str(&token);
    }
    if (rc == 0)
        rc = template_expand(text, &vars, out, err);
    if (rc < 0)
        err->reason = REASON_AGENT_ERROR;
    buf_wipe(&token);
    return rc;
}

int holes_text(const struct holes *holes, struct slice text, struct buf *out, struct err *err)
{
    return fill(holes, text, QUOTE_AS_TEXT, out, err);
}

static int fill_part(const struct holes *holes, const char *text, enum quoting quoting, char **out, struct err *err)
{
    struct buf filled = BUF_INIT(SPEC_BYTES_MAX);
    int rc;

    if (!text)
        return 0;
    rc = fill(holes, slice_str(text), quoting, &filled, err);
    if (rc == 0 && filled.len && memchr(filled.data, 0, filled.len))
        rc = err_set(err, REASON_AGENT_ERROR, 0, "a match holds a zero byte");
    if (rc == 0)
        *out = mem_strdup(buf_str(&filled));
    buf_wipe(&filled);
    return rc;
}

int holes_string(const struct holes *holes, const char *text, char **out, struct err *err)
{
    return fill_part(holes, text, QUOTE_AS_TEXT, out, err);
}

/* Every part with its holes filled; match_spec_fini frees what is there, also after an error. */
static int fill_spec(const struct holes *holes, const struct match_spec *spec, struct match_spec *filled, struct err *err)
{
    int rc = fill_part(holes, spec->equals, QUOTE_AS_TEXT, &filled->equals, err);

    if (rc == 0)
        rc = fill_part(holes, spec->contains, QUOTE_AS_TEXT, &filled->contains, err);
    if (rc == 0)
        rc = fill_part(holes, spec->regex, QUOTE_REGEX, &filled->regex, err);
    for (size_t i = 0; rc == 0 && i < spec->json_count; i++) {
        struct match_pointer *pointer = &filled->json[filled->json_count++];

        pointer->pointer = mem_strdup(spec->json[i].pointer);
        filled->any_type |= (unsigned)match_value_is_hole(spec->json[i].value) << i;
        rc = fill_part(holes, spec->json[i].value, QUOTE_JSON, &pointer->value, err);
    }
    return rc;
}

int holes_match(const struct holes *holes, const struct match_spec *spec, struct match **out, struct err *err)
{
    struct match_spec filled = { 0 };
    int rc;

    *out = NULL;
    if (match_spec_empty(spec))
        return 0;
    rc = fill_spec(holes, spec, &filled, err);
    if (rc == 0)
        *out = match_new(&filled, err);
    match_spec_fini(&filled);
    if (rc == 0 && *out)
        return 0;
    err->reason = REASON_AGENT_ERROR;
    return -1;
}

void holes_describe(const struct holes *holes, const struct match_spec *spec, char *out, size_t size)
{
    struct match_spec filled = { 0 };
    struct err err;

    match_describe(fill_spec(holes, spec, &filled, &err) == 0 ? &filled : spec, out, size);
    secret_scrub(out); /* a token may have been filled in */
    match_spec_fini(&filled);
}
