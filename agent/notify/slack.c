/*
 * `slack`: an incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat, Discord's /slack).
 *
 * https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: a JSON object with `text` and `blocks`; success is status 200
 * with the body `ok`, errors are words with 400, 403, 404, 410. https://docs.slack.dev/reference/block-kit/blocks: at most 50 blocks; a header
 * has 150 characters, the text of a section 3,000, a context 10 elements. https://docs.slack.dev/messaging/formatting-message-text: in mrkdwn
 * & < > are escaped; `verbatim` and the type plain_text keep names and URLs from becoming mentions and links.
 *
 * Slack shows the blocks, and `text` in a notification. The others do not know blocks and show `text`, which therefore says all of it, and in
 * which @all of a hostile server would wake everybody: names and links are broken there.
 */
#include <stdio.h>

#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "agent/notify/told.h"
#include "agent/proto/words.h"

enum { TEXT_MAX = 8 << 10, TEXT_UNITS = 3000, HEADER_UNITS = 150, SECTION_UNITS = 3000, CONTEXT_UNITS = 2000 };

/* Plain text is not parsed by Slack; what might wake somebody is broken all the same. */
static size_t escape_plain(struct slice rest, size_t len, char out[TOLD_ESCAPE_MAX])
{
    (void)len;
    return rest.data[0] == '@' || rest.data[0] == '<' ? told_break((char)rest.data[0], out) : 0;
}

static size_t escape_mrkdwn(struct slice rest, size_t len, char out[TOLD_ESCAPE_MAX])
{
    const char *entity = rest.data[0] == '&' ? "&amp;" : rest.data[0] == '<' ? "&lt;" : rest.data[0] == '>' ? "&gt;" : NULL;

    (void)len;
    if (entity)
        return (size_t)snprintf(out, TOLD_ESCAPE_MAX, "%s", entity);
    /* A name, a link or an image in Markdown, and what becomes a link by itself */
    if (rest.data[0] == '@' || (rest.len > 1 && rest.data[0] == ']' && rest.data[1] == '(') || told_begins_link(rest))
        return told_break((char)rest.data[0], out);
    return 0;
}

/* For those that do not know blocks. The link is the operator's own, so it is one. */
static void put_text(struct json_out *json, const struct notice *notice)
{
    struct buf plain = BUF_INIT(TEXT_MAX), text = BUF_INIT(4 * TEXT_MAX);
    struct notice unlinked = *notice;

    unlinked.link = NULL;
    told_text(&unlinked, &plain);
    told_put(&text, buf_str(&plain), TEXT_UNITS, escape_mrkdwn);
    if (told_link(notice))
        buf_printf(&text, "\n%s", told_link(notice));
    told_word(json, "text", buf_str(&text));
    json_out_key(json, "mrkdwn");
    json_out_bool(json, false);
    buf_fini(&plain);
    buf_fini(&text);
}

/* --- blocks --- */

static void put_plain(struct json_out *json, const char *text, size_t max_units)
{
    json_out_object(json);
    told_word(json, "type", "plain_text");
    told_field(json, "text", text, max_units, escape_plain);
    json_out_key(json, "emoji");
    json_out_bool(json, false);
    json_out_object_end(json);
}

static void put_block(struct json_out *json, const char *type, const char *text, size_t max_units)
{
    if (!*text)
        return;
    json_out_object(json);
    told_word(json, "type", type);
    json_out_key(json, "text");
    put_plain(json, text, max_units);
    json_out_object_end(json);
}

static void put_advice(struct json_out *json, const struct notice *notice)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    char advice[TOLD_ADVICE_BYTES];

    for (size_t i = 0; i < told_advice_count(notice); i++) {
        told_advice(notice, i, advice);
        buf_printf(&text, "%s• %s", i ? "\n" : "", advice);
    }
    put_block(json, "section", buf_str(&text), SECTION_UNITS);
    buf_fini(&text);
}

/* <URL|text>: told_link has none of the characters that end it; & is written as in all of mrkdwn. */
static void put_link(struct json_out *json, const struct notice *notice)
{
    struct buf text = BUF_INIT(TEXT_MAX);

    if (!told_link(notice))
        return;
    buf_append_char(&text, '<');
    for (const char *c = told_link(notice); *c; c++)
        buf_printf(&text, "%c%s", *c, *c == '&' ? "amp;" : "");
    buf_append_str(&text, "|Open the status page>");
    json_out_object(json);
    told_word(json, "type", "mrkdwn");
    told_word(json, "text", buf_str(&text));
    json_out_key(json, "verbatim");
    json_out_bool(json, true);
    json_out_object_end(json);
    buf_fini(&text);
}

/* The facts are fewer than the elements that a context may have. */
static void put_context(struct json_out *json, const struct notice *notice)
{
    struct told_fact facts[TOLD_FACTS_MAX];
    size_t count = told_facts(notice, facts);
    struct buf text = BUF_INIT(TEXT_MAX);

    json_out_object(json);
    told_word(json, "type", "context");
    json_out_key(json, "elements");
    json_out_array(json);
    for (size_t i = 0; i < count; i++) {
        buf_reset(&text);
        buf_printf(&text, "%s: %s", facts[i].name, facts[i].value);
        put_plain(json, buf_str(&text), CONTEXT_UNITS);
    }
    put_link(json, notice);
    json_out_array_end(json);
    json_out_object_end(json);
    buf_fini(&text);
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    char title[TOLD_TITLE_BYTES], sentence[TOLD_SENTENCE_BYTES];
    struct json_out json;

    (void)conf;
    if (out->templated)
        return 0;
    told_title(notice, title);
    told_sentence(notice, sentence);
    json_out_begin(&json, &out->body);
    json_out_object(&json);
    put_text(&json, notice);
    json_out_key(&json, "unfurl_links");
    json_out_bool(&json, false);
    json_out_key(&json, "blocks");
    json_out_array(&json);
    put_block(&json, "header", title, HEADER_UNITS);
    put_block(&json, "section", sentence, SECTION_UNITS);
    put_advice(&json, notice);
    put_context(&json, notice);
    json_out_array_end(&json);
    json_out_object_end(&json);
    return told_finish(&json, err);
}

/* "ok", or {"success":true} as Rocket.Chat says it. A page with status 200 is a proxy's, which wants a login: nobody was told. */
static int judge(int status, struct slice answer, bool *again, struct err *err)
{
    struct slice said = slice_trim(answer);
    char quote[WORDS_BYTES];

    if (receiver_judge_http(status, answer, again, err) < 0)
        return -1;
    while (said.len && (said.data[said.len - 1] == '\n' || said.data[said.len - 1] == '\r'))
        said.len--;
    if (said.len == 0 || slice_equal_str(said, "ok") || slice_find(said, slice_str("\"success\":true")) >= 0 ||
        slice_find(said, slice_str("\"ok\":true")) >= 0)
        return 0;
    receiver_quote(answer, quote, sizeof quote);
    return err_set(err, REASON_NONE, status, "status %d, and the answer is not `ok`%s", status, quote);
}

const struct receiver_type receiver_slack = {
    .name = "slack",
    .summary = "A message in a channel of Slack, or of what takes Slack's webhooks: Mattermost, Rocket.Chat",
    .by = RECEIVER_HTTP,
    .escape = escape_mrkdwn,
    .example = "url: \"${file:/run/secrets/slack}\"",
    .compose = compose,
    .judge = judge,
};
