/*
 * What a dialogue is made of besides its course: holes that are filled, matches that are compiled for a channel, payloads that are taken out
 * of messages, texts that are sent (agent/client/dialogue_impl.h). Called by agent/client/dialogue.c and dialogue_channels.c only. Promises
 * that what a channel, token or id holds never changes the meaning of the text around it.
 */
#include "agent/client/dialogue_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/client/conn_offer.h"

enum { SPEC_BYTES_MAX = 256 << 10, TOKEN_BYTES_MAX = 64 << 10 };

/* --- holes --- */

enum quoting { QUOTE_AS_DIALECT, QUOTE_JSON, QUOTE_REGEX };

/* Letters, digits and what is beyond ASCII stand for themselves in a regular expression; a backslash makes the rest do so. */
static char *regex_quote(struct slice text)
{
    char *out = mem_alloc(text.len * 4 + 1), *at = out;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (c < ' ' || c == 0x7f) {
            at += snprintf(at, 5, "\\x%02x", c);
            continue;
        }
        if (c < 0x80 && !isalnum(c))
            *at++ = '\\';
        *at++ = (char)c;
    }
    return out;
}

/* As it must stand in a regular expression over this dialect's texts. NULL stays NULL. */
static char *quote_value(const char *value, bool json)
{
    struct template_vars vars = { .channel = value, .json = json };
    struct buf text = BUF_INIT(SPEC_BYTES_MAX);
    struct err err;
    char *quoted = NULL;

    if (value && template_expand(slice_str("{{channel}}"), &vars, &text, &err) == 0)
        quoted = regex_quote(buf_slice(&text));
    buf_fini(&text);
    return quoted;
}

static int expand_quoted(const struct template_vars *vars, struct slice text, struct buf *out, struct err *err)
{
    struct template_vars quoted = *vars;
    char *channel = quote_value(vars->channel, vars->json), *token = quote_value(vars->token, vars->json),
         *id = quote_value(vars->id, vars->json);
    int rc;

    quoted.channel = channel;
    quoted.token = token;
    quoted.id = id;
    quoted.json = false;
    rc = template_expand(text, &quoted, out, err);
    mem_free(channel);
    mem_free(token);
    mem_free(id);
    return rc;
}

/* Is there a token, be it in a message or elsewhere? */
static bool has_token(const struct speaker *speaker)
{
    const struct conn_override *override = speaker->override;

    return override && override->sets_token ? override->token : speaker->target->token;
}

static int read_token(const struct speaker *speaker, struct buf *out, struct err *err)
{
    const struct conn_override *override = speaker->override;

    if (override && override->sets_token)
        return buf_append_str(out, override->token) < 0
                   ? err_set(err, REASON_AGENT_ERROR, 0, "the token is longer than %d bytes", TOKEN_BYTES_MAX)
                   : 0;
    return opt_expand(speaker->target->token, out, err) < 0 ? err_prefix(err, "target.token") : 0;
}

static int fill(const struct speaker *speaker, struct slice text, const char *channel, uint64_t seq, enum quoting quoting,
                struct buf *out, struct err *err)
{
    struct template_vars vars = { .channel = channel, .id = speaker->id, .seq = seq, .now_ms = clock_wall_ms() };
    struct buf token = BUF_INIT(TOKEN_BYTES_MAX);
    int rc = 0;

    vars.token_here = has_token(speaker) && speaker->target->token_place == TOKEN_MESSAGE;
    vars.json = quoting == QUOTE_JSON || speaker->dialect->json_holes;
    if (has_token(speaker) && slice_find(text, slice_str("{{token}}")) >= 0) {
        rc = read_token(speaker, &token, err);
        vars.token = buf_str(&token);
    }
    if (rc == 0)
        rc = quoting == QUOTE_REGEX ? expand_quoted(&vars, text, out, err) : template_expand(text, &vars, out, err);
    if (rc < 0)
        err->reason = REASON_AGENT_ERROR;
    buf_fini(&token);
    return rc;
}

/* One text of a match. NULL stays NULL. */
static int fill_part(const struct speaker *speaker, const char *text, const char *channel, uint64_t seq, enum quoting quoting,
                     char **out, struct err *err)
{
    struct buf filled = BUF_INIT(SPEC_BYTES_MAX);
    int rc;

    if (!text)
        return 0;
    rc = fill(speaker, slice_str(text), channel, seq, quoting, &filled, err);
    if (rc == 0 && filled.len && memchr(filled.data, 0, filled.len))
        rc = err_set(err, REASON_AGENT_ERROR, 0, "a match holds a zero byte");
    if (rc == 0)
        *out = mem_strdup(buf_str(&filled));
    buf_fini(&filled);
    return rc;
}

/* Every part with its holes filled; match_spec_fini frees what is there, also after an error. */
static int fill_spec(const struct speaker *speaker, const struct match_spec *spec, const char *channel, uint64_t seq,
                     struct match_spec *filled, struct err *err)
{
    int rc = fill_part(speaker, spec->equals, channel, seq, QUOTE_AS_DIALECT, &filled->equals, err);

    if (rc == 0)
        rc = fill_part(speaker, spec->contains, channel, seq, QUOTE_AS_DIALECT, &filled->contains, err);
    if (rc == 0)
        rc = fill_part(speaker, spec->regex, channel, seq, QUOTE_REGEX, &filled->regex, err);
    for (size_t i = 0; rc == 0 && i < spec->json_count; i++) {
        struct match_pointer *pointer = &filled->json[filled->json_count++];

        pointer->pointer = mem_strdup(spec->json[i].pointer);
        filled->any_type |= (unsigned)match_value_is_hole(spec->json[i].value) << i;
        rc = fill_part(speaker, spec->json[i].value, channel, seq, QUOTE_JSON, &pointer->value, err);
    }
    return rc;
}

void speaker_describe(const struct speaker *speaker, const struct match_spec *spec, const char *channel, uint64_t seq, char *out,
                      size_t size)
{
    struct match_spec filled = { 0 };
    struct err err;

    match_describe(fill_spec(speaker, spec, channel, seq, &filled, &err) == 0 ? &filled : spec, out, size);
    secret_scrub(out); /* a token may have been filled in */
    match_spec_fini(&filled);
}

int speaker_match(const struct speaker *speaker, const struct match_spec *spec, const char *channel, uint64_t seq,
                  struct match **out, struct err *err)
{
    struct match_spec filled = { 0 };
    int rc;

    *out = NULL;
    if (match_spec_empty(spec))
        return 0;
    rc = fill_spec(speaker, spec, channel, seq, &filled, err);
    if (rc == 0)
        *out = match_new(&filled, err);
    match_spec_fini(&filled);
    if (rc == 0 && *out)
        return 0;
    err->reason = REASON_AGENT_ERROR;
    return err_prefix(err, "dialect %s", speaker->dialect->name ? speaker->dialect->name : "");
}

static bool mentions(const char *text, const char *hole)
{
    return text && strstr(text, hole);
}

bool match_spec_mentions(const struct match_spec *spec, const char *hole)
{
    bool found = mentions(spec->equals, hole) || mentions(spec->contains, hole) || mentions(spec->regex, hole);

    for (size_t i = 0; i < spec->json_count; i++)
        found = found || mentions(spec->json[i].value, hole);
    return found;
}

/* --- subscriptions --- */

/* A name that every serialiser writes as it is. */
static bool is_plain(const char *channel)
{
    for (; *channel; channel++)
        if (!isalnum((unsigned char)*channel) && !strchr("-_.:", *channel))
            return false;
    return true;
}

static int compile(struct subscription *subscription, const struct speaker *speaker, uint64_t seq, struct err *err)
{
    const struct dialect *dialect = speaker->dialect;
    const struct match_spec *message = &dialect->message.match;
    const char *channel = subscription->channel;
    bool named = match_spec_mentions(message, "{{channel}}");

    if (speaker_match(speaker, &dialect->subscribe.expect, channel, seq, &subscription->expect, err) < 0 ||
        speaker_match(speaker, &dialect->subscribe.reject, channel, seq, &subscription->reject, err) < 0)
        return -1;
    if (fill_part(speaker, dialect->message.prefix, channel, seq, QUOTE_AS_DIALECT, &subscription->prefix, err) < 0)
        return -1;
    if (!named && !match_spec_mentions(message, "{{seq}}"))
        return 0; /* the dialogue's own match is the same for all */
    subscription->by_name = named && is_plain(channel);
    return speaker_match(speaker, message, channel, seq, &subscription->message, err);
}

struct subscription *subscription_new(const struct speaker *speaker, const char *channel, uint64_t seq, struct err *err)
{
    struct subscription *subscription = mem_alloc(sizeof *subscription);

    list_init(&subscription->node);
    subscription->channel = mem_strdup(channel);
    subscription->seq = seq;
    if (compile(subscription, speaker, seq, err) == 0)
        return subscription;
    subscription_free(subscription);
    return NULL;
}

void subscription_free(struct subscription *subscription)
{
    list_remove(&subscription->node);
    match_free(subscription->expect);
    match_free(subscription->reject);
    match_free(subscription->message);
    mem_free(subscription->prefix);
    mem_free(subscription->channel);
    mem_free(subscription);
}

/* --- messages --- */

bool payload_unwrap(const struct dialect *dialect, const char *prefix, struct slice unit, struct buf *out, struct slice *payload)
{
    if (dialect->message.body_after) {
        struct slice end = slice_str(dialect->message.body_after);
        ptrdiff_t at = slice_find(unit, end);

        if (at < 0)
            return false;
        unit = slice_skip(unit, (size_t)at + end.len);
    }
    if (prefix) {
        size_t len = strlen(prefix);

        if (unit.len < len || memcmp(unit.data, prefix, len) != 0)
            return false;
        unit = slice_skip(unit, len);
    }
    if (dialect->message.payload) {
        if (match_extract(unit, dialect->message.payload, out) < 0)
            return false;
        unit = buf_slice(out);
    }
    *payload = unit;
    return true;
}

bool effort_try(struct effort *effort, struct match *match, struct slice unit)
{
    if (!match || effort->left < unit.len + EFFORT_EACH)
        return false;
    effort->left -= unit.len + EFFORT_EACH;
    return match_try(match, unit, NULL);
}

int dialogue_say(struct dialogue *dialogue, const struct opt_bytes *text, const char *channel, bool *said, struct err *err)
{
    struct buf out = BUF_INIT(DIALOGUE_SEND_MAX);
    int rc;

    rc = fill(&dialogue->speaker, slice_make(text->data, text->len), channel, dialogue->seq, QUOTE_AS_DIALECT, &out, err);
    *said = rc == 0 && out.len > 0;
    if (*said && conn_send(&dialogue->conn, text->binary ? WS_BINARY : WS_TEXT, buf_slice(&out)) < 0)
        rc = err_set(err, REASON_CLOSED_ABNORMAL, WS_CODE_ABNORMAL, "the connection broke while a message was sent");
    buf_fini(&out);
    return rc;
}
