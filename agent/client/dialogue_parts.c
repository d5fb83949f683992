/*
 * What a dialogue is made of besides its course: matches that are compiled for a channel, payloads that are taken out of messages, texts
 * that are sent (agent/client/dialogue_impl.h). Called by agent/client/dialogue.c and dialogue_channels.c only. Holes are filled by
 * agent/client/holes.c.
 */
#include "agent/client/dialogue_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/client/conn_offer.h"

static struct holes holes_of(const struct speaker *speaker, const char *channel, uint64_t seq)
{
    return (struct holes){ .target = speaker->target,
                           .override = speaker->override,
                           .channel = channel,
                           .id = speaker->id,
                           .uuid = speaker->uuid,
                           .seq = seq,
                           .names = speaker->names,
                           .name_count = speaker->name_count,
                           .json = speaker->dialect->json_holes,
                           .secrets = speaker->secrets };
}

void speaker_describe(const struct speaker *speaker, const struct match_spec *spec, const char *channel, uint64_t seq, char *out,
                      size_t size)
{
    const struct holes holes = holes_of(speaker, channel, seq);

    holes_describe(&holes, spec, out, size);
}

int speaker_match(const struct speaker *speaker, const struct match_spec *spec, const char *channel, uint64_t seq,
                  struct match **out, struct err *err)
{
    const struct holes holes = holes_of(speaker, channel, seq);

    if (holes_match(&holes, spec, out, err) == 0)
        return 0;
    return err_prefix(err, "dialect %s", speaker->dialect->name ? speaker->dialect->name : "");
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
    bool named = opt_spec_mentions(message, "channel");

    if (speaker_match(speaker, &dialect->subscribe.expect, channel, seq, &subscription->expect, err) < 0 ||
        speaker_match(speaker, &dialect->subscribe.reject, channel, seq, &subscription->reject, err) < 0)
        return -1;
    const struct holes holes = holes_of(speaker, channel, seq);

    if (holes_string(&holes, dialect->message.prefix, &subscription->prefix, err) < 0)
        return -1;
    if (!named && !opt_spec_mentions(message, "seq"))
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

    const struct holes holes = holes_of(&dialogue->speaker, channel, dialogue->seq);

    rc = holes_text(&holes, slice_make(text->data, text->len), &out, err);
    *said = rc == 0 && out.len > 0;
    if (*said && conn_send(&dialogue->conn, text->binary ? WS_BINARY : WS_TEXT, buf_slice(&out)) < 0)
        rc = err_set(err, REASON_CLOSED_ABNORMAL, WS_CODE_ABNORMAL, "the connection broke while a message was sent");
    buf_fini(&out);
    return rc;
}
