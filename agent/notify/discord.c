/*
 * `discord`: a webhook of a Discord channel.
 *
 * https://docs.discord.com/developers/resources/webhook#execute-webhook: a JSON object with `embeds` and `allowed_mentions`, whose empty `parse`
 * wakes nobody, whatever the texts hold. With `wait` in the query Discord answers when the message is saved, with 200; without it 204 comes
 * first, and what is not saved is no error. https://docs.discord.com/developers/resources/message#embed-limits: title 256, description 4,096, 25
 * fields of 256 and 1,024, footer 2,048 characters, and 6,000 in all. 429 says when to come back.
 */
#include <string.h>

#include "agent/base/clock.h"
#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "agent/notify/told.h"

/* All together at most 6,000, with TOLD_FACTS_MAX fields. */
enum {
    TITLE_UNITS = 256,
    SENTENCE_UNITS = 1400,
    ADVICE_UNITS = 350,
    NAME_UNITS = 30,
    VALUE_UNITS = 280,
    FOOTER_UNITS = 90,
    TEXT_MAX = 32 << 10
};

/* Discord's Markdown within a line: a backslash makes its characters plain. A link by itself needs none of them, and is broken. */
static size_t escape(struct slice rest, size_t len, char out[TOLD_ESCAPE_MAX])
{
    (void)len;
    if (rest.data[0] == '@' || told_begins_link(rest))
        return told_break((char)rest.data[0], out);
    if (!strchr("\\*_~`|<>[]#", rest.data[0]))
        return 0;
    out[0] = '\\';
    out[1] = (char)rest.data[0];
    return 2;
}

static int64_t colour(enum notice_severity severity)
{
    static const int64_t colours[] = { 0x3ba55d, 0x747f8d, 0xe0a100, 0xd83c3e }; /* as enum notice_severity */

    return colours[severity];
}

static void put_description(struct json_out *json, const struct notice *notice)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    char sentence[TOLD_SENTENCE_BYTES], advice[TOLD_ADVICE_BYTES];

    told_sentence(notice, sentence);
    told_put(&text, sentence, SENTENCE_UNITS, escape);
    for (size_t i = 0; i < told_advice_count(notice); i++) {
        told_advice(notice, i, advice);
        buf_append_str(&text, i || !text.len ? "\n- " : "\n\n- ");
        told_put(&text, advice, ADVICE_UNITS, escape);
    }
    if (text.len)
        told_word(json, "description", buf_str(&text));
    buf_fini(&text);
}

static void put_fields(struct json_out *json, const struct notice *notice)
{
    struct told_fact facts[TOLD_FACTS_MAX];
    size_t count = told_facts(notice, facts);

    json_out_key(json, "fields");
    json_out_array(json);
    for (size_t i = 0; i < count; i++) {
        json_out_object(json);
        told_field(json, "name", facts[i].name, NAME_UNITS, escape);
        told_field(json, "value", facts[i].value, VALUE_UNITS, escape);
        json_out_key(json, "inline");
        json_out_bool(json, strcmp(facts[i].name, "Since") != 0 && strcmp(facts[i].name, "From") != 0);
        json_out_object_end(json);
    }
    json_out_array_end(json);
}

static void put_embed(struct json_out *json, const struct notice *notice)
{
    char title[TOLD_TITLE_BYTES], stamp[CLOCK_STAMP_MAX];

    told_title(notice, title);
    clock_stamp(notice->at_ms, stamp, sizeof stamp);
    json_out_object(json);
    told_field(json, "title", title, TITLE_UNITS, escape);
    if (told_link(notice))
        told_word(json, "url", told_link(notice));
    put_description(json, notice);
    json_out_key(json, "color");
    json_out_int(json, colour(notice->severity));
    put_fields(json, notice);
    json_out_key(json, "footer");
    json_out_object(json);
    told_word(json, "text", "wshealthd");
    json_out_object_end(json);
    told_word(json, "timestamp", stamp); /* shown in the reader's own zone */
    json_out_object_end(json);
}

/* A forum's webhook has its thread in the query already. */
static int ask_to_wait(struct buf *url)
{
    struct slice text = buf_slice(url);

    if (slice_find(text, slice_str("wait=")) >= 0)
        return 0;
    return buf_append_str(url, slice_find(text, slice_str("?")) < 0 ? "?wait=true" : "&wait=true");
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    struct json_out json;

    (void)conf;
    if (ask_to_wait(&out->url) < 0)
        return err_set(err, REASON_NONE, 0, "url: it is too long");
    if (out->templated)
        return 0;
    json_out_begin(&json, &out->body);
    json_out_object(&json);
    json_out_key(&json, "embeds");
    json_out_array(&json);
    put_embed(&json, notice);
    json_out_array_end(&json);
    json_out_key(&json, "allowed_mentions");
    json_out_object(&json);
    json_out_key(&json, "parse");
    json_out_array(&json);
    json_out_array_end(&json);
    json_out_object_end(&json);
    json_out_object_end(&json);
    return told_finish(&json, err);
}

const struct receiver_type receiver_discord = {
    .name = "discord",
    .summary = "A message in a channel of Discord",
    .by = RECEIVER_HTTP,
    .escape = escape,
    .example = "url: \"${file:/run/secrets/discord}\"",
    .compose = compose,
};
