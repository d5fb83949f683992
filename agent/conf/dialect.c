/*
 * The schema of dialects, and a check's parts put over one. Read by the configuration for `dialects:`, and by the rows of probes
 * whose checks may override parts in place (DIALECT_PARTS). Owns no memory: the result of dialect_overlay shares the texts of both.
 * The built-in tables are probes/dialects/, the conversation is agent/client/dialogue.c.
 */
#include "agent/conf/dialect.h"

#include <string.h>

#include "agent/base/mem.h"
#include "agent/conf/broker_type.h"

enum { TEXT_BYTES_MAX = DIALECT_TEXT_BYTES_MAX, TOPIC_BYTES_MAX = 512, PATH_BYTES_MAX = 1024, OFFERS_MAX = 8 };

static const char *const framing_words[] = { "message", "lines", "records", "stomp", "mqtt", "nats", NULL };

#define AT(field) offsetof(struct dialect, field)
#define SEND(field, its_holes, text) \
    { .name = "send", .kind = OPT_BYTES, .offset = AT(field), .max = TEXT_BYTES_MAX, .holes = its_holes, .help = text }
#define SPEC(key, field, its_holes, text) { .name = key, .kind = OPT_SPEC, .offset = AT(field), .holes = its_holes, .help = text }

/* What has a value where: a channel only in what is said about one, a payload only in what is published, what resume takes from the
 * server only to a client that comes back. */
#define SPOKEN "token", "id", "seq", "now", "uuid", "now_s", "seq_u16"
static const char *const talk_holes[] = { SPOKEN, NULL }, *const channel_holes[] = { "channel", SPOKEN, NULL },
                         *const topic_holes[] = { "channel", NULL }, *const body_holes[] = { "channel", "payload", "payload_json",
                                                                                             "id",      "seq",     "now",
                                                                                             "uuid",    "now_s",   "seq_u16",
                                                                                             NULL };
const char *const dialect_resume_holes[] = { "resume", "offset", SPOKEN, NULL }, *const dialect_resume_channel_holes[] = {
    "resume", "offset", "channel", SPOKEN, NULL
};

/* Sections of parts have no offset of their own: their rows are relative to struct dialect, wherever it is. */
static const struct opt greeting_rows[] = {
    SEND(greeting.send, talk_holes, "what is sent first of all"),
    SPEC("expect", greeting.expect, talk_holes, "what the server says by itself before it is spoken to"),
    SPEC("reject", greeting.reject, talk_holes, "what it says instead when it refuses"),
    { 0 },
};
const struct opt dialect_connect_rows[] = {
    SEND(connect.send, talk_holes, "what introduces and authenticates the client; without it, only `expect` is awaited"),
    SPEC("expect", connect.expect, talk_holes, "the answer that accepts the client; without it, none is awaited"),
    SPEC("reject", connect.reject, talk_holes, "the answer that refuses it"),
    { 0 },
};
const struct opt dialect_subscribe_rows[] = {
    SEND(subscribe.send, channel_holes, "what asks for a channel"),
    SPEC("expect", subscribe.expect, channel_holes, "the confirmation; without it none is awaited"),
    SPEC("reject", subscribe.reject, channel_holes, "the refusal"),
    { 0 },
};
const struct opt dialect_message_rows[] = {
    SPEC("match", message.match, channel_holes,
         "what a message of the channel looks like; without it, any that contains the heartbeat"),
    { .name = "body_after",
      .kind = OPT_STRING,
      .offset = AT(message.body_after),
      .min = 1,
      .max = 256,
      .help = "the payload begins behind the first of these; cut off before `prefix`" },
    { .name = "prefix",
      .kind = OPT_STRING,
      .offset = AT(message.prefix),
      .max = 256,
      .flags = OPT_TEMPLATE,
      .holes = channel_holes,
      .help = "what is cut off the front before `payload` is applied" },
    { .name = "payload",
      .kind = OPT_STRING,
      .offset = AT(message.payload),
      .max = 256,
      .flags = OPT_POINTER,
      .help = "JSON pointer to the payload; without it, the whole message" },
    { 0 },
};
const struct opt dialect_keepalive_rows[] = {
    SPEC("match", keepalive.match, talk_holes,
         "what the server sends to see whether the client is there, or to show that it is there itself; no message of a channel"),
    SEND(keepalive.send, talk_holes, "the answer to it, whenever it comes; without it none is sent"),
    { .name = "beat",
      .kind = OPT_BYTES,
      .offset = AT(keepalive.ping),
      .max = TEXT_BYTES_MAX,
      .holes = talk_holes,
      .help = "what the client sends unasked, every `every`" },
    { .name = "every",
      .kind = OPT_DURATION,
      .offset = AT(keepalive.every_ms),
      .min = 100,
      .max = INT64_C(86400000),
      .help = "how often `beat` is sent" },
    { 0 },
};
static const struct opt goodbye_rows[] = {
    SEND(goodbye.send, talk_holes, "what is sent before the connection is closed"),
    { 0 },
};
const struct opt dialect_publish_rows[] = {
    { .name = "topic",
      .kind = OPT_STRING,
      .offset = AT(publish.topic),
      .min = 1,
      .max = TOPIC_BYTES_MAX,
      .flags = OPT_TEMPLATE,
      .holes = topic_holes,
      .help = "the broker's topic that the server listens on for the channel; without it, {{channel}}" },
    { .name = "body",
      .kind = OPT_STRING,
      .offset = AT(publish.body),
      .min = 1,
      .max = TEXT_BYTES_MAX,
      .flags = OPT_TEMPLATE,
      .holes = body_holes,
      .help = "what is published there, in the form that the server expects; without it, {{payload}}" },
    { .name = "command",
      .kind = OPT_STRINGS,
      .offset = AT(publish.command),
      .min = 2,
      .max = BROKER_ARGS_MAX,
      .flags = OPT_TEMPLATE | OPT_REPEATS,
      .holes = body_holes,
      .help = "instead of both, for brokers of type redis: the words of a command, the key second, as in [XADD, chat, \"*\", data, "
              "\"{{payload}}\"]" },
    { 0 },
};

const struct opt dialect_resume_rows[] = { DIALECT_RESUME_ROWS, { 0 } };

const struct opt dialect_part_rows[] = { DIALECT_PARTS(0), { 0 } };
static const struct opt overlaid_rows[] = { DIALECT_PARTS(0), DIALECT_PART("resume", 0, dialect_resume_rows, NULL), { 0 } };

const struct opt dialect_rows[] = {
    { .name = "subprotocols",
      .kind = OPT_STRINGS,
      .offset = AT(subprotocols),
      .max = OFFERS_MAX,
      .help = "subprotocols to offer unless target.subprotocols is set" },
    { .name = "path",
      .kind = OPT_STRING,
      .offset = AT(path),
      .min = 1,
      .max = PATH_BYTES_MAX,
      .help = "path and query for a URL without a path, or with / alone" },
    { .name = "greeting", .kind = OPT_SECTION, .rows = greeting_rows, .help = "what the server says first, before connect" },
    DIALECT_PARTS(0),
    DIALECT_PART("resume", 0, dialect_resume_rows,
                 "how a client that comes back goes on with its session; for checks of type reconnect"),
    { .name = "goodbye", .kind = OPT_SECTION, .rows = goodbye_rows, .help = "what the client sends before it closes" },
    { .name = "framing",
      .kind = OPT_ENUM,
      .offset = AT(framing),
      .default_text = "message",
      .words = framing_words,
      .help = "how the protocol's units lie in WebSocket messages: one in each, several between line breaks or record separators, "
              "or a stream" },
    { .name = "json_holes",
      .kind = OPT_BOOL,
      .offset = AT(json_holes),
      .default_text = "true",
      .help = "whether the texts are JSON, so that quotes and backslashes in {{channel}}, {{token}} and {{id}} are escaped" },
    { 0 },
};

/* Handles only the kinds of options that parts have. */
static size_t field_size(const struct opt *row)
{
    switch (row->kind) {
    case OPT_STRING:
        return sizeof(char *);
    case OPT_STRINGS:
        return sizeof(struct opt_strings);
    case OPT_DURATION:
        return sizeof(int64_t);
    case OPT_SPEC:
        return sizeof(struct match_spec);
    case OPT_BYTES:
        return sizeof(struct opt_bytes);
    default:
        panic_if(true);
        return 0;
    }
}

void dialect_overlay(struct dialect *out, const struct dialect *base, const struct dialect *over)
{
    struct dialect result = *base;                                                /* out may be one of them */
    if (over->publish.command.count || over->publish.topic || over->publish.body) /* one way to publish takes the other's place */
        result.publish.command.count = 0;
    if (over->publish.command.count)
        result.publish.topic = result.publish.body = NULL;
    for (const struct opt *part = overlaid_rows; part->name; part++)
        for (const struct opt *row = part->rows; row->name; row++)
            if (opt_is_set(row, over))
                memcpy((char *)&result + row->offset, (const char *)over + row->offset, field_size(row));
    if (!match_spec_empty(&over->subscribe.expect)) /* the check knows what this server says */
        result.may_confirm = false;
    *out = result;
}
