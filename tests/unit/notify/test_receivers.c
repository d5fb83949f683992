/* What each service is sent: valid, within the service's limits, and harmless, whatever the texts hold; and what its answers mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/base/mem.h"
#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "tests/unit/notify/notices.h"

static struct message_out message;
static json_t *sent; /* the body */

static void clear(void)
{
    json_decref(sent);
    sent = NULL;
    buf_fini(&message.url);
    buf_fini(&message.headers);
    buf_fini(&message.body);
    buf_fini(&message.text);
    for (size_t i = 0; i < message.arg_count; i++)
        mem_free(message.args[i]);
    message = (struct message_out){ .method = "POST" };
}

static struct notifier_conf conf_of(const struct receiver_type *type)
{
    struct notifier_conf conf = { .type = type, .opts = mem_alloc(type->opts_size ? type->opts_size : 1) };
    struct err err;

    opt_defaults(type->opts, conf.opts);
    if (type == &receiver_pagerduty)
        assert_int_equal(opt_set(type->opts, conf.opts, "routing_key", "0123456789abcdef0123456789abcdef", &err), 0);
    return conf;
}

static void free_conf(struct notifier_conf *conf)
{
    opt_fini(conf->type->opts, conf->opts);
    mem_free(conf->opts);
}

static void compose(const struct notifier_conf *conf, const struct notice *notice)
{
    json_error_t error;
    struct err err = { 0 };

    clear();
    buf_init(&message.url, MESSAGE_URL_MAX);
    buf_init(&message.headers, MESSAGE_HEADERS_MAX);
    buf_init(&message.body, MESSAGE_BODY_MAX);
    buf_append_str(&message.url, "https://hooks.example.com/T1/B2");
    if (conf->type->compose(conf, notice, &message, &err) < 0)
        fail_msg("%s", err.text);
    if (!(sent = json_loads(buf_str(&message.body), 0, &error)))
        fail_msg("%s: %s", conf->type->name, error.text);
}

static void send(const struct receiver_type *type, const struct notice *notice)
{
    struct notifier_conf conf = conf_of(type);

    compose(&conf, notice);
    free_conf(&conf);
}

/* "/embeds/0/title"; NULL: nothing is there. */
static json_t *at(const char *path)
{
    char *copy = mem_strdup(path), *save = NULL;
    json_t *here = sent;

    for (char *part = strtok_r(copy, "/", &save); part && here; part = strtok_r(NULL, "/", &save))
        here = json_is_array(here) ? json_array_get(here, strtoul(part, NULL, 10)) : json_object_get(here, part);
    mem_free(copy);
    return here;
}

static const char *text_at(const char *path)
{
    json_t *here = at(path);

    if (!here)
        fail_msg("nothing at %s", path);
    return json_string_value(here);
}

static void is(const char *path, const char *want)
{
    assert_string_equal(text_at(path), want);
}

/* UTF-16 units, the larger way to count. */
static size_t units(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80 ? ((unsigned char)*text >= 0xf0 ? 2 : 1) : 0;
    return count;
}

static void fits(const char *path, size_t max)
{
    size_t len = units(text_at(path));

    if (len == 0 || len > max)
        fail_msg("%s has %zu characters, want 1 to %zu", path, len, max);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in: %s", part, text);
}

static void lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("'%s' is in: %s", part, text);
}

static void judged(const struct receiver_type *type, int status, const char *answer, bool taken, bool want_again)
{
    struct err err = { 0 };
    bool again = false;
    int rc = type->judge ? type->judge(status, slice_str(answer), &again, &err)
                         : receiver_judge_http(status, slice_str(answer), &again, &err);

    if ((rc == 0) != taken || (!taken && again != want_again))
        fail_msg("%s: status %d '%s': rc %d, again %d: %s", type->name, status, answer, rc, again, err.text);
}

static void put_path(char *out, size_t size, const char *before, size_t index, const char *after)
{
    snprintf(out, size, "%s/%zu%s", before, index, after);
}

/* --- slack ------------------------------------------------------------------------------------------------------------------------ */

static void test_slack(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);

    (void)state;
    send(&receiver_slack, &notice);
    is("/blocks/0/type", "header");
    is("/blocks/0/text/text", "chat-1 is not ready: the server has lost its subscription");
    is("/blocks/1/type", "section");
    has(text_at("/blocks/1/text/text"), "(delivery: no heartbeat within 500ms).");
    is("/blocks/2/text/text", "• Restart the server, so that it subscribes again\n• See `wshealthd status`");
    is("/blocks/3/type", "context");
    is("/blocks/3/elements/0/text", "Since: 2026-11-22 10:00:00 UTC (15 seconds)");
    is("/blocks/3/elements/5/text", "<https://status.example.com/chat-1?a=1&amp;b=2|Open the status page>");
    assert_int_equal(json_array_size(at("/blocks")), 4);
    /* What does not know blocks shows this. */
    has(text_at("/text"), "chat-1 is not ready: the server has lost its subscription\nThe server has lost");
    has(text_at("/text"), "\n- Restart the server");
    has(text_at("/text"), "\nhttps://status.example.com/chat-1?a=1&b=2");
    notice = notices_make(NOTICE_END);
    notice.link = NULL;
    send(&receiver_slack, &notice);
    is("/blocks/0/text/text", "chat-1 is ready again after 12 minutes 5 seconds");
    assert_int_equal(json_array_size(at("/blocks")), 3); /* no advice */
    lacks(text_at("/text"), "Restart");
}

static void check_slack_limits(void)
{
    char path[64];

    fits("/text", 4000);
    fits("/blocks/0/text/text", 150);
    for (size_t i = 1; i < json_array_size(at("/blocks")); i++) {
        put_path(path, sizeof path, "/blocks", i, "/text/text");
        if (at(path))
            fits(path, 3000);
    }
    assert_true(json_array_size(at("/blocks")) <= 50);
}

static void test_slack_hostile(void **state)
{
    (void)state;
    for (enum notice_kind kind = NOTICE_BEGIN; kind <= NOTICE_TEST; kind++) {
        struct notice notice = notices_make_hostile(kind);

        send(&receiver_slack, &notice);
        check_slack_limits();
        lacks(buf_str(&message.body), "<!");
        lacks(buf_str(&message.body), "<@");
        lacks(buf_str(&message.body), "@everyone");
        lacks(buf_str(&message.body), "@all");
        lacks(text_at("/text"), "](");
        lacks(text_at("/text"), "http://evil");
        lacks(text_at("/text"), "www.evil");
        lacks(text_at("/text"), "<");
    }
}

static void test_slack_answers(void **state)
{
    (void)state;
    judged(&receiver_slack, 200, "ok", true, false);
    judged(&receiver_slack, 200, "ok\n", true, false);
    judged(&receiver_slack, 200, "", true, false);
    judged(&receiver_slack, 200, "{\"success\":true}", true, false);
    judged(&receiver_slack, 200, "<html>Please log in</html>", false, false);
    judged(&receiver_slack, 400, "invalid_payload", false, false);
    judged(&receiver_slack, 404, "channel_not_found", false, false);
    judged(&receiver_slack, 410, "channel_is_archived", false, false);
    judged(&receiver_slack, 429, "rate_limited", false, true);
    judged(&receiver_slack, 500, "rollup_error", false, true);
    judged(&receiver_slack, 302, "", false, false);
}

/* --- discord ---------------------------------------------------------------------------------------------------------------------- */

static void test_discord(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);

    (void)state;
    send(&receiver_discord, &notice);
    assert_string_equal(buf_str(&message.url), "https://hooks.example.com/T1/B2?wait=true");
    is("/embeds/0/title", "chat-1 is not ready: the server has lost its subscription");
    is("/embeds/0/url", notice.link);
    has(text_at("/embeds/0/description"), "\n\n- Restart the server, so that it subscribes again\n- See \\`wshealthd status\\`");
    is("/embeds/0/fields/1/name", "Cause");
    is("/embeds/0/fields/1/value", "server\\_detached\\_from\\_broker");
    is("/embeds/0/timestamp", "2026-11-22T10:00:15.000Z");
    assert_int_equal(json_integer_value(at("/embeds/0/color")), 0xd83c3e);
    assert_int_equal(json_array_size(at("/allowed_mentions/parse")), 0);
    assert_true(json_is_array(at("/allowed_mentions/parse")));
    notice = notices_make(NOTICE_END);
    notice.sentence = "";
    send(&receiver_discord, &notice);
    assert_null(at("/embeds/0/description"));
    assert_int_equal(json_integer_value(at("/embeds/0/color")), 0x3ba55d);
}

static void check_discord_limits(void)
{
    size_t fields = json_array_size(at("/embeds/0/fields")),
           sum = units(text_at("/embeds/0/title")) + units(text_at("/embeds/0/footer/text"));

    fits("/embeds/0/title", 256);
    if (at("/embeds/0/description")) {
        fits("/embeds/0/description", 4096);
        sum += units(text_at("/embeds/0/description"));
    }
    assert_true(fields <= 25);
    for (size_t i = 0; i < fields; i++) {
        char name[64], value[64];

        put_path(name, sizeof name, "/embeds/0/fields", i, "/name");
        put_path(value, sizeof value, "/embeds/0/fields", i, "/value");
        fits(name, 256);
        fits(value, 1024);
        sum += units(text_at(name)) + units(text_at(value));
    }
    assert_true(sum <= 6000);
    assert_true(json_is_array(at("/allowed_mentions/parse")));
    assert_int_equal(json_array_size(at("/allowed_mentions/parse")), 0);
}

static void test_discord_hostile(void **state)
{
    (void)state;
    for (enum notice_kind kind = NOTICE_BEGIN; kind <= NOTICE_TEST; kind++) {
        struct notice notice = notices_make_hostile(kind);

        send(&receiver_discord, &notice);
        check_discord_limits();
        lacks(text_at("/embeds/0/description"), "@everyone");
        lacks(text_at("/embeds/0/description"), " <@");
        lacks(text_at("/embeds/0/description"), "[x](");
        lacks(text_at("/embeds/0/description"), "https://evil");
        lacks(text_at("/embeds/0/description"), " *b*");
    }
}

static void test_discord_query(void **state)
{
    static const struct {
        const char *url, *want;
    } rows[] = {
        { "https://d.example/w?thread_id=7", "https://d.example/w?thread_id=7&wait=true" },
        { "https://d.example/w?wait=false", "https://d.example/w?wait=false" },
    };
    struct notice notice = notices_make(NOTICE_BEGIN);
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        clear();
        buf_init(&message.url, MESSAGE_URL_MAX);
        buf_init(&message.body, MESSAGE_BODY_MAX);
        buf_append_str(&message.url, rows[i].url);
        assert_int_equal(receiver_discord.compose(NULL, &notice, &message, &err), 0);
        assert_string_equal(buf_str(&message.url), rows[i].want);
    }
    judged(&receiver_discord, 200, "{\"id\":\"1\"}", true, false);
    judged(&receiver_discord, 204, "", true, false);
    judged(&receiver_discord, 404, "{\"message\":\"Unknown Webhook\",\"code\":10015}", false, false);
    judged(&receiver_discord, 429, "{\"message\":\"You are being rate limited.\",\"retry_after\":0.3}", false, true);
}

/* --- teams ------------------------------------------------------------------------------------------------------------------------ */

#define CARD "/attachments/0/content"

static void test_teams(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);

    (void)state;
    send(&receiver_teams, &notice);
    is("/type", "message");
    is("/attachments/0/contentType", "application/vnd.microsoft.card.adaptive");
    is(CARD "/type", "AdaptiveCard");
    is(CARD "/version", "1.4");
    is(CARD "/fallbackText", "chat-1 is not ready: the server has lost its subscription");
    is(CARD "/body/0/inlines/0/text", "chat-1 is not ready: the server has lost its subscription");
    is(CARD "/body/0/inlines/0/color", "Attention");
    is(CARD "/body/2/inlines/1/text", "Restart the server, so that it subscribes again");
    is(CARD "/body/4/inlines/0/text", "Since");
    is(CARD "/actions/0/type", "Action.OpenUrl");
    is(CARD "/actions/0/url", notice.link);
    judged(&receiver_teams, 202, "", true, false);
    judged(&receiver_teams, 200, "1", true, false);
    judged(&receiver_teams, 200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
           false, true);
    judged(&receiver_teams, 413, "", false, false);
    judged(&receiver_teams, 429, "", false, true);
}

static void test_teams_hostile(void **state)
{
    (void)state;
    for (enum notice_kind kind = NOTICE_BEGIN; kind <= NOTICE_TEST; kind++) {
        struct notice notice = notices_make_hostile(kind);

        send(&receiver_teams, &notice);
        assert_true(message.body.len <= 28000);
        assert_null(at(CARD "/actions"));
        lacks(buf_str(&message.body), "{{DATE");
        lacks(buf_str(&message.body), "\"TextBlock\""); /* all of it is in runs, which are no Markdown */
        lacks(buf_str(&message.body), "entities");
    }
}

/* In a `body` of the operator's own, what a server says mentions nobody and makes no link either; the operator's link is one. */
static void test_foreign_texts_in_templates(void **state)
{
    static const struct {
        const struct receiver_type *type;
        const char *want;
    } rows[] = {
        { &receiver_slack, "&lt;!channel&gt; @\xe2\x80\x8b"
                           "everyone [x]\xe2\x80\x8b"
                           "(h\xe2\x80\x8b"
                           "ttp://e/) {{status}}" },
        { &receiver_discord, "\\<!channel\\> @\xe2\x80\x8b"
                             "everyone \\[x\\](h\xe2\x80\x8b"
                             "ttp://e/) {{status}}" },
        { &receiver_teams, "<!channel> @everyone [x]\xe2\x80\x8b"
                           "(h\xe2\x80\x8b"
                           "ttp://e/) {\xe2\x80\x8b"
                           "{status}}" },
        { &receiver_webhook, "<!channel> @everyone [x](http://e/) {{status}}" },
    };
    struct notice notice = notices_make(NOTICE_BEGIN);

    (void)state;
    notice.sentence = "<!channel> @everyone [x](http://e/) {{status}}";
    notice.link = "https://status.example.com/";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text = BUF_INIT(MESSAGE_BODY_MAX);
        struct err err;

        assert_int_equal(notice_expand("{{sentence}}", &notice, false, rows[i].type->escape, &text, &err), 0);
        assert_string_equal(buf_str(&text), rows[i].want);
        buf_reset(&text);
        assert_int_equal(notice_expand("{{text}}|{{title}}", &notice, false, rows[i].type->escape, &text, &err), 0);
        assert_non_null(strstr(buf_str(&text), "\nhttps://status.example.com/|"));
        assert_true(!rows[i].type->escape || !strstr(buf_str(&text), "http://e/"));
        buf_fini(&text);
    }
    notice = notices_make_hostile(NOTICE_BEGIN);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf text = BUF_INIT(MESSAGE_BODY_MAX);
        struct err err;

        assert_int_equal(
            notice_expand("{{text}}{{title}}{{sentence}}{{because}}{{service}}", &notice, true, rows[i].type->escape, &text, &err),
            0);
        assert_true(!rows[i].type->escape || rows[i].type == &receiver_teams || !strstr(buf_str(&text), "@everyone"));
        buf_fini(&text);
    }
}

/* --- pagerduty -------------------------------------------------------------------------------------------------------------------- */

static void test_pagerduty(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);
    char key[64];

    (void)state;
    send(&receiver_pagerduty, &notice);
    is("/routing_key", "0123456789abcdef0123456789abcdef");
    is("/event_action", "trigger");
    is("/payload/summary", "chat-1 is not ready: the server has lost its subscription");
    is("/payload/severity", "critical");
    is("/payload/source", "chat-1");
    is("/payload/timestamp", "2026-11-22T10:00:15.000Z");
    is("/payload/class", "server_detached_from_broker");
    is("/payload/custom_details/advice/0", "Restart the server, so that it subscribes again");
    is("/links/0/href", notice.link);
    snprintf(key, sizeof key, "%s", text_at("/dedup_key"));
    notice = notices_make(NOTICE_CHANGE);
    notice.severity = NOTICE_WARNING;
    snprintf(notice.incident, sizeof notice.incident, "beef-1"); /* the agent was restarted */
    send(&receiver_pagerduty, &notice);
    is("/event_action", "trigger");
    is("/payload/severity", "warning");
    is("/dedup_key", key);
    notice = notices_make(NOTICE_END);
    send(&receiver_pagerduty, &notice);
    is("/event_action", "resolve");
    is("/dedup_key", key);
    /* The agent was restarted meanwhile: the alert is the same, and can be resolved. */
    notice = notices_make(NOTICE_END);
    snprintf(notice.incident, sizeof notice.incident, "of-another-run-1");
    send(&receiver_pagerduty, &notice);
    is("/dedup_key", key);
    notice = notices_make(NOTICE_TEST);
    send(&receiver_pagerduty, &notice);
    assert_string_not_equal(text_at("/dedup_key"), key);
    judged(&receiver_pagerduty, 202, "{\"status\":\"success\"}", true, false);
    judged(&receiver_pagerduty, 400, "{\"status\":\"invalid event\"}", false, false);
    judged(&receiver_pagerduty, 429, "", false, true);
    judged(&receiver_pagerduty, 502, "", false, true);
}

static void test_pagerduty_hostile(void **state)
{
    (void)state;
    for (enum notice_kind kind = NOTICE_BEGIN; kind <= NOTICE_TEST; kind++) {
        struct notice notice = notices_make_hostile(kind);

        send(&receiver_pagerduty, &notice);
        fits("/payload/summary", 1024);
        fits("/payload/source", 255);
        fits("/dedup_key", 255);
        assert_true(message.body.len <= 512 << 10);
    }
}

static void test_pagerduty_key_that_cannot_be_read(void **state)
{
    struct notifier_conf conf = conf_of(&receiver_pagerduty);
    struct notice notice = notices_make(NOTICE_BEGIN);
    struct err err;

    (void)state;
    assert_int_equal(opt_set(receiver_pagerduty.opts, conf.opts, "routing_key", "${file:/nonexistent/key}", &err), 0);
    clear();
    buf_init(&message.body, MESSAGE_BODY_MAX);
    assert_int_equal(receiver_pagerduty.compose(&conf, &notice, &message, &err), -1);
    has(err.text, "routing_key");
    has(err.text, "/nonexistent/key");
    free_conf(&conf);
}

/* --- alertmanager ----------------------------------------------------------------------------------------------------------------- */

static json_t *labels_of(const struct notice *notice, const char *path)
{
    send(&receiver_alertmanager, notice);
    return json_deep_copy(at(path));
}

static void test_alertmanager(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);
    json_t *begun, *now;

    (void)state;
    begun = labels_of(&notice, "/0/labels");
    assert_string_equal(buf_str(&message.url), "https://hooks.example.com/T1/B2/api/v2/alerts");
    assert_int_equal(json_array_size(sent), 1);
    is("/0/labels/alertname", "WebSocketServerUnhealthy");
    is("/0/labels/severity", "critical");
    is("/0/labels/instance", "chat-1");
    is("/0/labels/region", "eu-west");
    is("/0/labels/service", "ws://127.0.0.1:8080/ws");
    is("/0/annotations/summary", "chat-1 is not ready: the server has lost its subscription");
    is("/0/annotations/cause", "server_detached_from_broker");
    is("/0/startsAt", "2026-11-22T10:00:00.000Z");
    is("/0/endsAt", "2026-11-22T10:05:15.000Z"); /* it fires for five minutes, unless it is renewed */
    is("/0/generatorURL", notice.link);
    /* Another cause, a repetition and the end are of the same alert. */
    notice = notices_make(NOTICE_CHANGE);
    notice.was = notice.word;
    notice.cause = "server_down";
    now = labels_of(&notice, "/0/labels");
    assert_true(json_equal(begun, now));
    assert_int_equal(json_array_size(sent), 1);
    is("/0/annotations/summary", "chat-1 is not ready: the server has lost its subscription");
    json_decref(now);
    notice = notices_make(NOTICE_END);
    now = labels_of(&notice, "/0/labels");
    assert_true(json_equal(begun, now));
    assert_int_equal(json_array_size(sent), 1);
    is("/0/endsAt", "2026-11-22T10:12:05.000Z");
    json_decref(now);
    json_decref(begun);
    assert_true(receiver_alertmanager.refresh_ms > 0 && receiver_alertmanager.refresh_ms < 300000 / 2);
}

/* No alert of the old severity is left firing. */
static void test_alertmanager_severity(void **state)
{
    struct notice notice = notices_make(NOTICE_CHANGE);

    (void)state;
    send(&receiver_alertmanager, &notice);
    assert_int_equal(json_array_size(sent), 2);
    is("/0/labels/severity", "warning");
    is("/0/endsAt", "2026-11-22T10:12:05.000Z");
    is("/1/labels/severity", "critical");
    is("/1/endsAt", "2026-11-22T10:17:05.000Z");
}

static void test_alertmanager_labels(void **state)
{
    struct notifier_conf conf = conf_of(&receiver_alertmanager);
    struct notice notice = notices_make(NOTICE_CHANGE);
    struct err err;

    (void)state;
    assert_int_equal(opt_set(conf.type->opts, conf.opts, "labels", "severity: page", &err), 0);
    assert_int_equal(opt_set(conf.type->opts, conf.opts, "labels", "team: chat", &err), 0);
    assert_int_equal(conf.type->validate(&conf, &err), 0);
    compose(&conf, &notice);
    assert_int_equal(json_array_size(sent), 1); /* the severity does not change */
    is("/0/labels/severity", "page");
    is("/0/labels/team", "chat");
    assert_int_equal(opt_set(conf.type->opts, conf.opts, "labels", "my-team: chat", &err), 0);
    assert_int_equal(conf.type->validate(&conf, &err), -1);
    has(err.text, "labels: 'my-team' is not the name of a label");
    free_conf(&conf);
}

static void test_alertmanager_url(void **state)
{
    static const struct {
        const char *url, *want;
    } rows[] = {
        { "http://127.0.0.1:9093", "http://127.0.0.1:9093/api/v2/alerts" },
        { "http://127.0.0.1:9093/", "http://127.0.0.1:9093/api/v2/alerts" },
        { "http://127.0.0.1:9093/am/", "http://127.0.0.1:9093/am/api/v2/alerts" },
        { "http://127.0.0.1:9093/api/v2/alerts", "http://127.0.0.1:9093/api/v2/alerts" },
    };
    struct notifier_conf conf = conf_of(&receiver_alertmanager);
    struct notice notice = notices_make(NOTICE_BEGIN);
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        clear();
        buf_init(&message.url, MESSAGE_URL_MAX);
        message.templated = true; /* the path is needed all the same */
        buf_append_str(&message.url, rows[i].url);
        assert_int_equal(receiver_alertmanager.compose(&conf, &notice, &message, &err), 0);
        assert_string_equal(buf_str(&message.url), rows[i].want);
        assert_int_equal(message.body.len, 0);
    }
    free_conf(&conf);
}

static void test_alertmanager_hostile(void **state)
{
    (void)state;
    for (enum notice_kind kind = NOTICE_BEGIN; kind <= NOTICE_TEST; kind++) {
        struct notice notice = notices_make_hostile(kind);

        send(&receiver_alertmanager, &notice);
        fits("/0/labels/instance", 200);
        fits("/0/annotations/summary", 200);
        fits("/0/annotations/description", 2500);
        assert_null(at("/0/generatorURL"));
    }
}

/* --- all of them ------------------------------------------------------------------------------------------------------------------ */

/* The same texts in each run. */
static unsigned next(void)
{
    static uint32_t seed = 1;

    seed = seed * 1664525U + 1013904223U;
    return seed >> 8;
}

static const char *random_text(void)
{
    static const char *const bits[] = { "<",  ">",  "&",    "@", "@here", "](", "http://", "HTTPS://", "www.",  "{{",
                                        "}}", "`",  "*",    "_", "\\",    "\"", "\n",      "\r\n",     "\x1b[", "\xff",
                                        ": ", " (", "\xc3", "…", "😀",    "a",  " ",       "://" };
    static char texts[16][2048]; /* a few live at the same time */
    static unsigned turn;
    char *text = texts[turn++ % 16];
    size_t len = 0, max = next() % 4 ? next() % 60 : next() % 1900;

    while (len < max) {
        const char *bit = bits[next() % (sizeof bits / sizeof bits[0])];

        memcpy(text + len, bit, strlen(bit));
        len += strlen(bit);
    }
    text[len] = '\0';
    return text;
}

/* Blank texts are among them: services refuse an empty field. */
static void test_random_texts(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct notice notice = notices_make((enum notice_kind)(next() % 5));
        const char *advice[] = { random_text(), random_text() }, *because[] = { random_text() };
        const struct receiver_type *types[] = { &receiver_slack, &receiver_discord, &receiver_teams, &receiver_pagerduty,
                                                &receiver_alertmanager };
        const struct receiver_type *type = types[next() % (sizeof types / sizeof types[0])];

        notice.sentence = random_text();
        notice.agent_id = random_text();
        notice.region = random_text();
        notice.host = random_text();
        notice.service = random_text();
        notice.link = random_text();
        notice.cause = random_text();
        notice.advice = advice;
        notice.because = because;
        notice.because_count = 1;
        send(type, &notice); /* valid JSON */
        if (type == &receiver_slack)
            check_slack_limits();
        if (type == &receiver_discord)
            check_discord_limits();
        if (type == &receiver_pagerduty)
            fits("/payload/source", 255);
        if (type == &receiver_teams)
            assert_true(message.body.len <= 28000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slack),
        cmocka_unit_test(test_slack_hostile),
        cmocka_unit_test(test_slack_answers),
        cmocka_unit_test(test_discord),
        cmocka_unit_test(test_discord_hostile),
        cmocka_unit_test(test_discord_query),
        cmocka_unit_test(test_teams),
        cmocka_unit_test(test_teams_hostile),
        cmocka_unit_test(test_foreign_texts_in_templates),
        cmocka_unit_test(test_pagerduty),
        cmocka_unit_test(test_pagerduty_hostile),
        cmocka_unit_test(test_pagerduty_key_that_cannot_be_read),
        cmocka_unit_test(test_alertmanager),
        cmocka_unit_test(test_alertmanager_severity),
        cmocka_unit_test(test_alertmanager_labels),
        cmocka_unit_test(test_alertmanager_url),
        cmocka_unit_test(test_alertmanager_hostile),
        cmocka_unit_test(test_random_texts),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    clear();
    return failed;
}
