/*
 * `alertmanager`: an alert of Prometheus' Alertmanager, as Prometheus itself would send it.
 *
 * https://prometheus.io/docs/alerting/latest/alerts_api/ and alertmanager/api/v2/openapi.yaml: POST of a list of alerts to /api/v2/alerts; labels
 * are what an alert is known by, annotations are what is said of it; it fires until endsAt, and whoever fires it sends it again before.
 *
 * The labels are the same from the begin to the end of an incident, and for the same instance after a restart, with one exception: the
 * severity, for which routes ask. So a cause is an annotation, and a message that changes the severity ends the alert of the old one. An alert
 * that fires is renewed every minute (refresh_ms) and ends five minutes after the last renewal, so that an agent which is gone leaves none
 * behind, and one lost message does no harm.
 */
#include <stddef.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "agent/notify/told.h"

enum { FIRES_MS = 300000, REFRESH_MS = 60000, DESCRIPTION_UNITS = 2500, TEXT_MAX = 16 << 10 };

struct alertmanager_opts {
    char *alertname;
    struct opt_pairs labels;
};

static const struct opt rows[] = {
    { .name = "alertname",
      .kind = OPT_STRING,
      .offset = offsetof(struct alertmanager_opts, alertname),
      .default_text = "WebSocketServerUnhealthy",
      .min = 1,
      .max = 128,
      .help = "the alert's name" },
    { .name = "labels",
      .kind = OPT_PAIRS,
      .offset = offsetof(struct alertmanager_opts, labels),
      .max = 16,
      .help = "further labels, such as team: chat; one called severity, instance, region or service takes the place of ours" },
    { 0 },
};

static bool is_label_name(const char *name)
{
    if (!*name || (*name >= '0' && *name <= '9'))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(name);
}

static int validate(const struct notifier_conf *conf, struct err *err)
{
    const struct alertmanager_opts *opts = conf->opts;

    for (size_t i = 0; i < opts->labels.count; i++) {
        const char *name = opts->labels.items[i].name;

        if (!is_label_name(name))
            return err_set(err, REASON_NONE, 0,
                           "labels: '%.40s' is not the name of a label: letters, digits and _, no digit in front", name);
        if (strcmp(name, "alertname") == 0)
            return err_set(err, REASON_NONE, 0, "labels: alertname has an option of its own, `alertname`");
    }
    return 0;
}

static const char *own_label(const struct alertmanager_opts *opts, const char *name)
{
    for (size_t i = 0; i < opts->labels.count; i++)
        if (strcmp(opts->labels.items[i].name, name) == 0)
            return opts->labels.items[i].value;
    return NULL;
}

static void put_cleaned(struct json_out *json, const char *key, const char *text)
{
    char value[TOLD_VALUE_BYTES];

    told_clean(text, TOLD_VALUE_CHARS, value, sizeof value);
    if (*value)
        told_word(json, key, value);
}

static void put_labels(struct json_out *json, const struct alertmanager_opts *opts, const struct notice *notice,
                       const char *severity)
{
    const struct {
        const char *name, *value;
    } labels[] = {
        { "severity", severity }, { "instance", told_who(notice) }, { "region", notice->region }, { "service", notice->service }
    };

    json_out_key(json, "labels");
    json_out_object(json);
    put_cleaned(json, "alertname", opts->alertname);
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        if (!own_label(opts, labels[i].name))
            put_cleaned(json, labels[i].name, labels[i].value);
    for (size_t i = 0; i < opts->labels.count; i++)
        put_cleaned(json, opts->labels.items[i].name, opts->labels.items[i].value);
    json_out_object_end(json);
}

static void put_description(struct json_out *json, const struct notice *notice)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    char sentence[TOLD_SENTENCE_BYTES], advice[TOLD_ADVICE_BYTES];

    told_sentence(notice, sentence);
    buf_append_str(&text, sentence);
    for (size_t i = 0; i < told_advice_count(notice); i++) {
        told_advice(notice, i, advice);
        buf_printf(&text, "\n- %s", advice);
    }
    told_word(json, "description", buf_str(&text));
    buf_fini(&text);
}

static void put_annotations(struct json_out *json, const struct notice *notice)
{
    struct notice steady = *notice;
    char title[TOLD_TITLE_BYTES];

    /* An alert has its own times, and is sent every minute: that it is still so is no news. */
    steady.kind = notice_is_open(notice) ? NOTICE_BEGIN : notice->kind;
    told_title(&steady, title);
    json_out_key(json, "annotations");
    json_out_object(json);
    told_word(json, "summary", title);
    put_description(json, notice);
    if (notice->kind != NOTICE_TEST) {
        put_cleaned(json, "cause", notice->cause);
        put_cleaned(json, "state", notice->word);
        told_word(json, "incident", notice->incident);
    }
    if (told_link(notice))
        told_word(json, "dashboard", told_link(notice));
    json_out_object_end(json);
}

static void put_time(struct json_out *json, const char *key, int64_t wall_ms)
{
    char stamp[CLOCK_STAMP_MAX];

    clock_stamp(wall_ms, stamp, sizeof stamp);
    told_word(json, key, stamp);
}

static const char *severity_of(enum notice_severity severity)
{
    return severity == NOTICE_OK ? notice_severity_name(NOTICE_INFO) : notice_severity_name(severity);
}

static void put_alert(struct json_out *json, const struct alertmanager_opts *opts, const struct notice *notice,
                      const char *severity, bool fires)
{
    json_out_object(json);
    put_labels(json, opts, notice, severity);
    put_annotations(json, notice);
    put_time(json, "startsAt", notice->kind != NOTICE_TEST && notice->begun_ms < notice->at_ms ? notice->begun_ms : notice->at_ms);
    put_time(json, "endsAt", notice->at_ms + (fires ? FIRES_MS : 0));
    if (told_link(notice))
        told_word(json, "generatorURL", told_link(notice));
    json_out_object_end(json);
}

/* A test fires, and ends by itself. */
static int put_alerts(const struct alertmanager_opts *opts, const struct notice *notice, struct message_out *out, struct err *err)
{
    const char *was = severity_of(told_severity(notice->was)), *is = severity_of(notice->severity);
    bool open = notice->kind != NOTICE_END;
    struct json_out json;

    json_out_begin(&json, &out->body);
    json_out_array(&json);
    if (!open)
        put_alert(&json, opts, notice, was, false);
    else if (notice->kind == NOTICE_CHANGE && strcmp(was, is) != 0 && !own_label(opts, "severity"))
        put_alert(&json, opts, notice, was, false);
    if (open)
        put_alert(&json, opts, notice, is, true);
    json_out_array_end(&json);
    return told_finish(&json, err);
}

/* "http://127.0.0.1:9093" and "…/alertmanager/" are the API's prefix, as for Prometheus' path_prefix. */
static int put_path(struct buf *url)
{
    static const char path[] = "/api/v2/alerts";
    struct slice text = buf_slice(url);

    if (slice_find(text, slice_str(path)) >= 0 || slice_find(text, slice_str("?")) >= 0)
        return 0;
    while (url->len && url->data[url->len - 1] == '/')
        url->len--;
    return buf_append_str(url, path);
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    if (put_path(&out->url) < 0)
        return err_set(err, REASON_NONE, 0, "url: it is too long");
    return out->templated ? 0 : put_alerts(conf->opts, notice, out, err);
}

const struct receiver_type receiver_alertmanager = {
    .name = "alertmanager",
    .summary = "An alert of Prometheus' Alertmanager, which fires until the incident is over",
    .by = RECEIVER_HTTP,
    .example = "url: http://127.0.0.1:9093",
    .opts = rows,
    .opts_size = sizeof(struct alertmanager_opts),
    .refresh_ms = REFRESH_MS,
    .validate = validate,
    .compose = compose,
};
