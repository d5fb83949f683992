/*
 * `pagerduty`: an alert of PagerDuty, opened and resolved.
 *
 * https://developer.pagerduty.com/docs/events-api-v2-overview and .../trigger-events: POST to https://events.pagerduty.com/v2/enqueue, or to
 * events.eu.pagerduty.com; `trigger` and `resolve` of one `dedup_key` (at most 255 characters) are one alert; `summary` has at most 1,024
 * characters, a severity is critical, error, warning or info, an event has at most 512 KB. 202: taken; 400 is final; 429 and 5xx: again.
 */
#include <stddef.h>
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "agent/notify/told.h"

enum { SUMMARY_UNITS = 1024, DETAIL_UNITS = 2000, KEY_PART_CHARS = 80 };

struct pagerduty_opts {
    char *routing_key;
};

static const struct opt rows[] = {
    { .name = "routing_key",
      .kind = OPT_STRING,
      .offset = offsetof(struct pagerduty_opts, routing_key),
      .min = 1,
      .flags = OPT_SECRET | OPT_DYNAMIC | OPT_REQUIRED,
      .help = "the integration key of a service's Events API v2 integration" },
    { 0 },
};

/* A state that does not harm clients wakes nobody: "info". */
static const char *severity(const struct notice *notice)
{
    static const char *const names[] = { "info", "info", "warning", "critical" }; /* as enum notice_severity */

    return names[notice->severity];
}

static void put_details(struct json_out *json, const struct notice *notice)
{
    char sentence[TOLD_SENTENCE_BYTES], advice[TOLD_ADVICE_BYTES];
    struct told_fact facts[TOLD_FACTS_MAX];
    size_t count = told_facts(notice, facts);

    told_sentence(notice, sentence);
    json_out_key(json, "custom_details");
    json_out_object(json);
    told_field(json, "diagnosis", sentence, DETAIL_UNITS, NULL);
    json_out_key(json, "advice");
    json_out_array(json);
    for (size_t i = 0; i < told_advice_count(notice); i++) {
        told_advice(notice, i, advice);
        json_out_string(json, advice);
    }
    json_out_array_end(json);
    for (size_t i = 0; i < count; i++)
        told_field(json, facts[i].name, facts[i].value, DETAIL_UNITS, NULL);
    json_out_object_end(json);
}

static void put_cleaned(struct json_out *json, const char *key, const char *text)
{
    char value[TOLD_VALUE_BYTES];

    told_clean(text, TOLD_VALUE_CHARS, value, sizeof value);
    if (*value)
        told_word(json, key, value);
}

/* The same for all alerts of this agent, one of which is open at a time: an agent that was restarted while the fault lasts goes on with the
 * alert of the run before, and can resolve it. A test message has one of its own. */
static void put_dedup_key(struct json_out *json, const struct notice *notice)
{
    char who[TEXT_EXCERPT_BYTES(KEY_PART_CHARS)], service[TEXT_EXCERPT_BYTES(KEY_PART_CHARS)];
    char key[sizeof "wshealthd test  " + sizeof who + sizeof service];

    told_clean(notice->key, KEY_PART_CHARS, who, sizeof who);
    told_clean(notice->service, KEY_PART_CHARS, service, sizeof service);
    snprintf(key, sizeof key, "wshealthd %s%s %s", notice->kind == NOTICE_TEST ? "test " : "", who, service);
    told_word(json, "dedup_key", key);
}

static void put_payload(struct json_out *json, const struct notice *notice)
{
    char title[TOLD_TITLE_BYTES], stamp[CLOCK_STAMP_MAX];

    told_title(notice, title);
    clock_stamp(notice->at_ms, stamp, sizeof stamp);
    json_out_key(json, "payload");
    json_out_object(json);
    told_field(json, "summary", title, SUMMARY_UNITS, NULL);
    told_word(json, "severity", severity(notice));
    put_cleaned(json, "source", told_who(notice));
    told_word(json, "timestamp", stamp);
    put_cleaned(json, "component", notice->service);
    put_cleaned(json, "group", notice->region);
    put_cleaned(json, "class", notice->cause);
    put_details(json, notice);
    json_out_object_end(json);
}

static void put_link(struct json_out *json, const struct notice *notice)
{
    if (!told_link(notice))
        return;
    told_word(json, "client_url", told_link(notice));
    json_out_key(json, "links");
    json_out_array(json);
    json_out_object(json);
    told_word(json, "href", told_link(notice));
    told_word(json, "text", "Status page");
    json_out_object_end(json);
    json_out_array_end(json);
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    const struct pagerduty_opts *opts = conf->opts;
    struct json_out json;
    char *routing_key;

    if (out->templated)
        return 0;
    if (!(routing_key = receiver_option(opts->routing_key, "routing_key", err)))
        return -1;
    json_out_begin(&json, &out->body);
    json_out_object(&json);
    told_word(&json, "routing_key", routing_key);
    told_word(&json, "event_action", notice->kind == NOTICE_END ? "resolve" : "trigger");
    put_dedup_key(&json, notice);
    told_word(&json, "client", "wshealthd");
    put_link(&json, notice);
    put_payload(&json, notice);
    json_out_object_end(&json);
    mem_free_secret(routing_key);
    return told_finish(&json, err);
}

const struct receiver_type receiver_pagerduty = {
    .name = "pagerduty",
    .summary = "An alert of PagerDuty, resolved when it is over",
    .by = RECEIVER_HTTP,
    .default_url = "https://events.pagerduty.com/v2/enqueue",
    .example = "routing_key: \"${file:/run/secrets/pagerduty}\"",
    .opts = rows,
    .opts_size = sizeof(struct pagerduty_opts),
    .compose = compose,
};
