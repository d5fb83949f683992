/*
 * `teams`: a webhook of Microsoft Teams' app Workflows ("When a Teams webhook request is received"), which posts an Adaptive Card.
 *
 * https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook: a message with the card as an attachment; 202 when the flow has taken it.
 * https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook: at most 28 KB, four requests a second.
 * https://adaptivecards.io/explorer: version 1.4. A TextBlock and a fact of a FactSet are Markdown, of which clients do not know the same
 * escapes; the runs of a RichTextBlock are text. So all that is told is in runs. Mentions need entities of their own, of which there are none.
 */
#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "agent/notify/told.h"

enum { TITLE_UNITS = 300, TEXT_UNITS = 1500, BODY_MAX = 28000 };

/* {{DATE(…)}} is the one thing that is not text in a run. */
static size_t escape(struct slice rest, size_t len, char out[TOLD_ESCAPE_MAX])
{
    (void)len;
    return rest.len > 1 && rest.data[0] == '{' && rest.data[1] == '{' ? told_break('{', out) : 0;
}

/* A TextBlock of an operator's own card is Markdown. */
static size_t escape_markdown(struct slice rest, size_t len, char out[TOLD_ESCAPE_MAX])
{
    if ((rest.len > 1 && rest.data[0] == ']' && rest.data[1] == '(') || told_begins_link(rest))
        return told_break((char)rest.data[0], out);
    return escape(rest, len, out);
}

struct run {
    const char *text, *weight, *size, *color; /* NULL: as usual */
    bool subtle;
};

static void put_run(struct json_out *json, const struct run *run)
{
    json_out_object(json);
    told_word(json, "type", "TextRun");
    told_field(json, "text", run->text, TEXT_UNITS, escape);
    if (run->weight)
        told_word(json, "weight", run->weight);
    if (run->size)
        told_word(json, "size", run->size);
    if (run->color)
        told_word(json, "color", run->color);
    if (run->subtle) {
        json_out_key(json, "isSubtle");
        json_out_bool(json, true);
    }
    json_out_object_end(json);
}

static void begin_block(struct json_out *json, const char *spacing)
{
    json_out_object(json);
    told_word(json, "type", "RichTextBlock");
    told_word(json, "spacing", spacing);
    json_out_key(json, "inlines");
    json_out_array(json);
}

static void end_block(struct json_out *json)
{
    json_out_array_end(json);
    json_out_object_end(json);
}

static void put_block(struct json_out *json, const char *spacing, const struct run *run)
{
    if (!*run->text)
        return;
    begin_block(json, spacing);
    put_run(json, run);
    end_block(json);
}

static const char *colour(enum notice_severity severity)
{
    static const char *const colours[] = { "Good", "Default", "Warning", "Attention" }; /* as enum notice_severity */

    return colours[severity];
}

static void put_advice(struct json_out *json, const struct notice *notice)
{
    char advice[TOLD_ADVICE_BYTES];

    for (size_t i = 0; i < told_advice_count(notice); i++) {
        told_advice(notice, i, advice);
        begin_block(json, i ? "Small" : "Medium");
        put_run(json, &(struct run){ .text = "• " });
        put_run(json, &(struct run){ .text = advice });
        end_block(json);
    }
}

static void put_facts(struct json_out *json, const struct notice *notice)
{
    struct told_fact facts[TOLD_FACTS_MAX];
    size_t count = told_facts(notice, facts);

    for (size_t i = 0; i < count; i++) {
        begin_block(json, i ? "None" : "Medium");
        put_run(json, &(struct run){ .text = facts[i].name, .subtle = true });
        put_run(json, &(struct run){ .text = ": ", .subtle = true });
        put_run(json, &(struct run){ .text = facts[i].value });
        end_block(json);
    }
}

static void put_action(struct json_out *json, const struct notice *notice)
{
    if (!told_link(notice))
        return;
    json_out_key(json, "actions");
    json_out_array(json);
    json_out_object(json);
    told_word(json, "type", "Action.OpenUrl");
    told_word(json, "title", "Open the status page");
    told_word(json, "url", told_link(notice));
    json_out_object_end(json);
    json_out_array_end(json);
}

static void put_card(struct json_out *json, const struct notice *notice)
{
    char title[TOLD_TITLE_BYTES], sentence[TOLD_SENTENCE_BYTES];

    told_title(notice, title);
    told_sentence(notice, sentence);
    json_out_object(json);
    told_word(json, "$schema", "http://adaptivecards.io/schemas/adaptive-card.json");
    told_word(json, "type", "AdaptiveCard");
    told_word(json, "version", "1.4");
    told_field(json, "fallbackText", title, TITLE_UNITS, escape);
    json_out_key(json, "msteams");
    json_out_object(json);
    told_word(json, "width", "Full");
    json_out_object_end(json);
    json_out_key(json, "body");
    json_out_array(json);
    put_block(json, "None",
              &(struct run){ .text = title, .weight = "Bolder", .size = "Medium", .color = colour(notice->severity) });
    put_block(json, "Small", &(struct run){ .text = sentence });
    put_advice(json, notice);
    put_facts(json, notice);
    json_out_array_end(json);
    put_action(json, notice);
    json_out_object_end(json);
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    struct json_out json;

    (void)conf;
    if (out->templated)
        return 0;
    json_out_begin(&json, &out->body);
    json_out_object(&json);
    told_word(&json, "type", "message");
    json_out_key(&json, "attachments");
    json_out_array(&json);
    json_out_object(&json);
    told_word(&json, "contentType", "application/vnd.microsoft.card.adaptive");
    json_out_key(&json, "contentUrl");
    json_out_null(&json);
    json_out_key(&json, "content");
    put_card(&json, notice);
    json_out_object_end(&json);
    json_out_array_end(&json);
    json_out_object_end(&json);
    return told_finish(&json, err);
}

/* The connectors that Workflows replace say 200 and the error in words: "Webhook message delivery failed with error: …". */
static int judge(int status, struct slice answer, bool *again, struct err *err)
{
    if (receiver_judge_http(status, answer, again, err) < 0)
        return -1;
    if (slice_find(answer, slice_str("delivery failed")) < 0)
        return 0;
    *again = true;
    return err_set(err, REASON_NONE, status, "status %d, and the answer says that the message was not delivered", status);
}

const struct receiver_type receiver_teams = {
    .name = "teams",
    .summary = "A card in a channel or chat of Microsoft Teams, through a webhook of its app Workflows",
    .by = RECEIVER_HTTP,
    .escape = escape_markdown,
    .example = "url: \"${file:/run/secrets/teams}\"",
    .compose = compose,
    .judge = judge,
};
