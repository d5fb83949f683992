/*
 * Every built-in dialect's conversation, played by a scripted server that knows exactly what the protocol's client says: whole, byte by byte,
 * in random pieces. And the subscribe check over them: confirmed, refused, silent.
 */
#include "tests/unit/client/script.h"
#include "tests/unit/probes/host.h"

#include "agent/base/log.h"
#include "agent/base/text.h"
#include "agent/client/dialogue.h"
#include "agent/core/check.h"
#include "agent/proto/template.h"
#include "probes/dialects/registry.h"
#include "probes/registry.h"

#define BYTES(text) { (const uint8_t *)(text), sizeof text - 1 }

enum { PATIENCE_MS = 10000, ANSWERS_MAX = 3, LINES_MAX = 5 };

/* What the server says when it hears exactly that; hear.data NULL: by itself. */
struct line {
    struct slice hear, say[ANSWERS_MAX];
};

struct play {
    const struct dialect *dialect;
    const char *token, *channel;
    struct line lines[LINES_MAX];
    struct line refusal; /* instead of the line that hears the same: the subscription is refused */
    struct slice keepalive, answer;
    const char *payload; /* of the message that comes last */
    bool no_channel;     /* payloads name none */
};

static const struct play plays[] = {
    { .dialect = &dialect_json,
      .channel = "news",
      .lines = { { BYTES("{\"op\":\"subscribe\",\"channel\":\"news\"}"),
                   { BYTES("{\"op\":\"subscribed\",\"channel\":\"news\"}"),
                     BYTES("{\"op\":\"message\",\"channel\":\"news\",\"data\":\"wshb\"}") } } },
      .refusal = { BYTES("{\"op\":\"subscribe\",\"channel\":\"news\"}"), { BYTES("{\"op\":\"error\",\"channel\":\"news\"}") } },
      .keepalive = BYTES("{\"op\": \"ping\"}"),
      .answer = BYTES("{\"op\":\"pong\"}"),
      .payload = "wshb" },
    { .dialect = &dialect_json,
      .token = "t0k\"en",
      .channel = "news",
      .lines = { { BYTES("{\"op\":\"auth\",\"token\":\"t0k\\\"en\"}"), { BYTES("{\"op\":\"authenticated\"}") } },
                 { BYTES("{\"op\":\"subscribe\",\"channel\":\"news\"}"),
                   { BYTES("{\"op\":\"subscribed\",\"channel\":\"news\"}"),
                     BYTES("{\"op\":\"message\",\"channel\":\"news\",\"data\":{\"x\":1}}") } } },
      .payload = "{\"x\":1}" },
    { .dialect = &dialect_socket_io,
      .channel = "room \"1\"",
      .lines = { { { 0 },
                   { BYTES(
                       "0{\"sid\":\"a\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}") } },
                 { BYTES("40"), { BYTES("40{\"sid\":\"b\"}") } },
                 { BYTES("42[\"subscribe\",\"room \\\"1\\\"\"]"), { BYTES("42[\"message\",\"wshb\"]") } } },
      .keepalive = BYTES("2"),
      .answer = BYTES("3"),
      .payload = "wshb",
      .no_channel = true },
    { .dialect = &dialect_socket_io,
      .token = "abc",
      .channel = "news",
      .lines = { { { 0 }, { BYTES("0{\"sid\":\"a\"}") } },
                 { BYTES("40{\"token\":\"abc\"}"), { BYTES("40{\"sid\":\"b\"}") } },
                 { BYTES("42[\"subscribe\",\"news\"]"), { BYTES("42[\"tick\"]"), BYTES("42[\"message\",{\"text\":\"wshb\"}]") } } },
      .payload = "{\"text\":\"wshb\"}",
      .no_channel = true },
    { .dialect = &dialect_pusher,
      .channel = "news",
      .lines = { { { 0 }, { BYTES("{\"event\":\"pusher:connection_established\",\"data\":\"{\\\"socket_id\\\":\\\"1.2\\\"}\"}") } },
                 { BYTES("{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"news\"}}"),
                   { BYTES("{\"event\":\"pusher_internal:subscription_succeeded\",\"data\":\"{}\",\"channel\":\"news\"}"),
                     BYTES("{\"event\":\"pusher:pong\"}"),
                     BYTES("{\"event\":\"App\\\\Sent\",\"data\":\"{\\\"m\\\":\\\"wshb\\\"}\",\"channel\":\"news\"}") } } },
      .refusal = { BYTES("{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"news\"}}"),
                   { BYTES("{\"event\":\"pusher:error\",\"data\":\"{\\\"code\\\":4009}\"}") } },
      .keepalive = BYTES("{\"event\":\"pusher:ping\",\"data\":{}}"),
      .answer = BYTES("{\"event\":\"pusher:pong\",\"data\":{}}"),
      .payload = "{\"m\":\"wshb\"}" },
    { .dialect = &dialect_centrifugo,
      .channel = "news",
      .lines = { { BYTES("{\"id\":1,\"connect\":{ }}"),
                   { BYTES("{\"id\":1,\"connect\":{\"client\":\"c\",\"version\":\"5\",\"ping\":25,\"pong\":true}}\n") } },
                 { BYTES("{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}"),
                   { BYTES("{\"id\":2,\"subscribe\":{}}\n{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":{\"m\":\"wshb\"}}}}"
                           "\n") } } },
      .refusal = { BYTES("{\"id\":2,\"subscribe\":{\"channel\":\"news\"}}"),
                   { BYTES("{\"id\":2,\"error\":{\"code\":103,\"message\":\"permission denied\"}}") } },
      .keepalive = BYTES("{}"),
      .answer = BYTES("{}"),
      .payload = "{\"m\":\"wshb\"}" },
    { .dialect = &dialect_phoenix,
      .channel = "room:lobby",
      .lines = { { BYTES("[\"1\",\"1\",\"room:lobby\",\"phx_join\",{ }]"),
                   { BYTES("[\"1\",\"1\",\"room:lobby\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]"),
                     BYTES("[\"1\",null,\"room:lobby\",\"new_msg\",{\"body\":\"wshb\"}]") } } },
      .refusal = { BYTES("[\"1\",\"1\",\"room:lobby\",\"phx_join\",{ }]"),
                   { BYTES(
                       "[\"1\",\"1\",\"room:lobby\",\"phx_reply\",{\"status\":\"error\",\"response\":{\"reason\":\"no\"}}]") } },
      .payload = "{\"body\":\"wshb\"}" },
    { .dialect = &dialect_graphql_transport_ws,
      .channel = "greetings(name: \"x\")",
      .lines = { { BYTES("{\"type\":\"connection_init\"}"), { BYTES("{\"type\":\"connection_ack\"}") } },
                 { BYTES("{\"id\":\"2\",\"type\":\"subscribe\",\"payload\":{\"query\":\"subscription { greetings(name: \\\"x\\\") "
                         "}\"}}"),
                   { BYTES("{\"id\":\"2\",\"type\":\"next\",\"payload\":{\"data\":{\"greetings\":\"wshb\"}}}") } } },
      .refusal = { BYTES("{\"id\":\"2\",\"type\":\"subscribe\",\"payload\":{\"query\":\"subscription { greetings(name: \\\"x\\\") "
                         "}\"}}"),
                   { BYTES("{\"id\":\"2\",\"type\":\"error\",\"payload\":[{\"message\":\"no such field\"}]}") } },
      .keepalive = BYTES("{\"type\":\"ping\"}"),
      .answer = BYTES("{\"type\":\"pong\"}"),
      .payload = "{\"greetings\":\"wshb\"}" },
    { .dialect = &dialect_action_cable,
      .channel = "NewsChannel",
      .lines = { { { 0 }, { BYTES("{\"type\":\"welcome\"}"), BYTES("{\"type\":\"ping\",\"message\":1700000000}") } },
                 { BYTES("{\"command\":\"subscribe\",\"identifier\":\"{\\\"channel\\\":\\\"NewsChannel\\\"}\"}"),
                   { BYTES("{\"identifier\":\"{\\\"channel\\\":\\\"NewsChannel\\\"}\",\"type\":\"confirm_subscription\"}"),
                     BYTES("{\"identifier\":\"{\\\"channel\\\":\\\"NewsChannel\\\"}\",\"message\":\"wshb\"}") } } },
      .refusal = { BYTES("{\"command\":\"subscribe\",\"identifier\":\"{\\\"channel\\\":\\\"NewsChannel\\\"}\"}"),
                   { BYTES("{\"identifier\":\"{\\\"channel\\\":\\\"NewsChannel\\\"}\",\"type\":\"reject_subscription\"}") } },
      .payload = "wshb" },
    { .dialect = &dialect_stomp,
      .channel = "/topic/news",
      .lines = { { BYTES("CONNECT\naccept-version:1.2\nhost:/\nheart-beat:10000,0\n\n\0"),
                   { BYTES("CONNECTED\nserver:x\nversion:1.2\n\n\0\n") } },
                 { BYTES("SUBSCRIBE\nid:2\ndestination:/topic/news\nack:auto\nreceipt:2\n\n\0"),
                   { BYTES("RECEIPT\nreceipt-id:2\n\n\0"), BYTES("\n"),
                     BYTES("MESSAGE\nsubscription:2\nmessage-id:m\ndestination:/topic/news\ncontent-length:4\n\nwshb\0") } } },
      .refusal = { BYTES("SUBSCRIBE\nid:2\ndestination:/topic/news\nack:auto\nreceipt:2\n\n\0"),
                   { BYTES("ERROR\nmessage:access refused\n\nno\0") } },
      .payload = "wshb" },
    { .dialect = &dialect_stomp,
      .token = "abc",
      .channel = "/topic/news",
      .lines = { { BYTES("CONNECT\naccept-version:1.2\nhost:/\nheart-beat:10000,0\nlogin:wshealthd\npasscode:abc\n"
                         "Authorization:Bearer abc\n\n\0"),
                   { BYTES("CONNECTED\nversion:1.2\n\n\0") } },
                 { BYTES("SUBSCRIBE\nid:2\ndestination:/topic/news\nack:auto\nreceipt:2\n\n\0"),
                   { BYTES("RECEIPT\nreceipt-id:2\n\n\0MESSAGE\nsubscription:2\n\nwshb\0") } } },
      .payload = "wshb" },
    { .dialect = &dialect_mqtt,
      .channel = "a/news",
      .lines = { { BYTES("\x10\x0c\x00\x04MQTT\x04\x02\x00\x1e\x00\x00"), { BYTES("\x20\x02\x00\x00") } },
                 { BYTES("\x82\x0b\x00\x02\x00\x06"
                         "a/news\x00"),
                   { BYTES("\x90\x03\x00\x02\x00"),
                     BYTES("\x30\x0f\x00\x07"
                           "a/news2no?!"
                           "!!"),
                     BYTES("\x30\x0c\x00\x06"
                           "a/newswshb") } } },
      .refusal = { BYTES("\x82\x0b\x00\x02\x00\x06"
                         "a/news\x00"),
                   { BYTES("\x90\x03\x00\x02\x80") } },
      .payload = "wshb" },
    { .dialect = &dialect_mqtt,
      .token = "pw",
      .channel = "news",
      .lines = { { BYTES("\x10\x1b\x00\x04MQTT\x04\xc2\x00\x1e\x00\x00\x00\x09wshealthd\x00\x02pw"),
                   { BYTES("\x20\x02\x00\x00") } },
                 { BYTES("\x82\x09\x00\x02\x00\x04news\x00"), { BYTES("\x90\x03\x00\x02\x00\x30\x0a\x00\x04newswshb") } } },
      .payload = "wshb" },
    { .dialect = &dialect_nats,
      .channel = "a.news",
      .lines = { { { 0 }, { BYTES("INFO {\"server_id\":\"x\",\"headers\":true} \r\n") } },
                 { BYTES("CONNECT "
                         "{\"verbose\":true,\"pedantic\":false,\"name\":\"wshealthd\",\"lang\":\"c\",\"version\":\"1\","
                         "\"protocol\":1,"
                         "\"headers\":true}\r\n"),
                   { BYTES("+OK\r\nPI"), BYTES("NG\r\n") } },
                 { BYTES("SUB a.news 2\r\n"),
                   { BYTES("+OK\r\nMSG a.news 22 2\r\nno\r\nMSG a.news 2 4\r\nws"), BYTES("hb\r\n") } } },
      .refusal = { BYTES("SUB a.news 2\r\n"), { BYTES("-ERR 'Permissions Violation for Subscription to \"a.news\"'\r\n") } },
      .keepalive = BYTES("PING\r\n"),
      .answer = BYTES("PONG\r\n"),
      .payload = "wshb" },
    { .dialect = &dialect_signalr,
      .channel = "news",
      .lines = { { BYTES("{\"protocol\":\"json\",\"version\":1}\x1e"), { BYTES("{}\x1e") } },
                 { BYTES("{\"type\":1,\"invocationId\":\"2\",\"target\":\"Subscribe\",\"arguments\":[\"news\"]}\x1e"),
                   { BYTES("{\"type\":6}\x1e{\"type\":3,\"invocationId\":\"2\",\"result\":null}\x1e"),
                     BYTES("{\"type\":1,\"target\":\"receive\",\"arguments\":[\"wshb\"]}\x1e") } } },
      .refusal = { BYTES("{\"type\":1,\"invocationId\":\"2\",\"target\":\"Subscribe\",\"arguments\":[\"news\"]}\x1e"),
                   { BYTES("{\"type\":3,\"invocationId\":\"2\",\"error\":\"no such method\"}\x1e") } },
      .payload = "wshb",
      .no_channel = true },
};

/* --- the server --- */

struct scene {
    const struct play *play;
    bool refuse, mute; /* mute: nothing after the subscription is asked for */
    struct loop loop;
    struct script script;
    struct timer patience;
    struct buf said;             /* what the client's side saw */
    bool wants_answer, answered; /* to the keep-alive */
    enum cut cut;
};

static void answer(struct peer *peer, const struct line *line)
{
    bool binary = line->hear.data && (peer->script->subprotocol && strcmp(peer->script->subprotocol, "mqtt") == 0);

    for (size_t i = 0; i < ANSWERS_MAX && line->say[i].data; i++)
        peer_say(peer, binary ? WS_BINARY : WS_TEXT, line->say[i]);
}

static void serve_open(struct peer *peer)
{
    const struct scene *scene = peer->script->user;

    for (size_t i = 0; i < LINES_MAX; i++)
        if (!scene->play->lines[i].hear.data)
            answer(peer, &scene->play->lines[i]);
}

static bool is_goodbye(const struct scene *scene, struct slice body)
{
    const struct opt_bytes *goodbye = &scene->play->dialect->goodbye.send;

    return goodbye->data && slice_equal(body, slice_make(goodbye->data, goodbye->len));
}

static void serve(struct peer *peer, const struct ws_message *message)
{
    struct scene *scene = peer->script->user;
    const struct play *play = scene->play;
    char shown[400];

    if (scene->refuse && slice_equal(message->body, play->refusal.hear)) {
        if (!scene->mute)
            answer(peer, &play->refusal);
        return;
    }
    for (size_t i = 0; i < LINES_MAX; i++)
        if (play->lines[i].hear.data && slice_equal(message->body, play->lines[i].hear)) {
            answer(peer, &play->lines[i]);
            return;
        }
    if (play->answer.data && slice_equal(message->body, play->answer)) {
        scene->answered = true;
        if (scene->wants_answer)
            loop_stop(&scene->loop);
        return;
    }
    if (is_goodbye(scene, message->body))
        return;
    text_excerpt(message->body, 300, shown, sizeof shown);
    fail_msg("%s, %s: the client says \"%s\"", play->dialect->name, cut_names[scene->cut], shown);
}

static void on_patience(struct timer *timer, void *user)
{
    struct scene *scene = user;

    (void)timer;
    fail_msg("%s, %s: nothing after \"%s\"", scene->play->dialect->name, cut_names[scene->cut], buf_str(&scene->said));
}

static unsigned scene_begin(struct scene *scene, const struct play *play, enum cut cut)
{
    struct err err;

    memset(scene, 0, sizeof *scene);
    scene->play = play;
    scene->cut = cut;
    buf_init(&scene->said, 4096);
    assert_int_equal(loop_init(&scene->loop, &err), 0);
    scene->script = (struct script){ .cut = cut, .seed = script_seed(), .on_open = serve_open, .on_message = serve, .user = scene };
    if (play->dialect->subprotocols.count)
        scene->script.subprotocol = play->dialect->subprotocols.items[0];
    timer_init(&scene->patience, &scene->loop, on_patience, scene);
    timer_start(&scene->patience, PATIENCE_MS);
    return script_begin(&scene->script, &scene->loop);
}

static void scene_end(struct scene *scene)
{
    timer_stop(&scene->patience);
    script_end(&scene->script);
    buf_fini(&scene->said);
    loop_fini(&scene->loop);
}

/* --- conversations --- */

struct talker {
    struct scene scene;
    struct dialogue *dialogue;
    const char *channel;
};

static void on_ready(void *user)
{
    struct talker *talker = user;
    struct err err;

    buf_append_str(&talker->scene.said, "ready;");
    if (dialogue_subscribe(talker->dialogue, talker->scene.play->channel, &err) < 0)
        fail_msg("%s", err.text);
}

static void on_subscribed(void *user, const char *channel, const struct err *err)
{
    struct talker *talker = user;

    buf_printf(&talker->scene.said, "%s %s;", err ? err->text : "subscribed", channel);
    if (strstr(buf_str(&talker->scene.said), "payload"))
        loop_stop(&talker->scene.loop);
}

static void on_payload(void *user, const char *channel, struct slice payload, uint64_t received_ns)
{
    struct talker *talker = user;

    (void)received_ns;
    buf_printf(&talker->scene.said, "payload %s=%.*s;", channel, (int)payload.len, (const char *)payload.data);
    if (strstr(buf_str(&talker->scene.said), "subscribed"))
        loop_stop(&talker->scene.loop);
}

static void on_lost(void *user, const struct err *err)
{
    struct talker *talker = user;

    fail_msg("%s, %s: lost: %s", talker->scene.play->dialect->name, cut_names[talker->scene.cut], err->text);
}

static const struct dialogue_events events = {
    .on_ready = on_ready, .on_subscribed = on_subscribed, .on_payload = on_payload, .on_lost = on_lost
};

static void play_whole(const struct play *play, enum cut cut)
{
    struct talker talker = { .dialogue = NULL };
    struct scene *scene = &talker.scene;
    struct conn_group group;
    struct target_conf target = { .token = (char *)(uintptr_t)play->token, .token_place = TOKEN_MESSAGE, .dialect = play->dialect };
    struct conn_options options = { .group = &group, .target = &target, .url = &target.local };
    struct conn_report report;
    struct err err;
    char url[64], subscribed[80], payload[160];

    target.subprotocols = play->dialect->subprotocols;
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", scene_begin(scene, play, cut));
    assert_int_equal(url_parse(url, &target.local, &err), 0);
    conn_group_init(&group, &scene->loop);
    talker.dialogue = dialogue_new(&talker, &events);
    assert_int_equal(dialogue_open(talker.dialogue, &options, play->dialect, "id", &report, &err), 0);
    loop_run(&scene->loop);
    snprintf(subscribed, sizeof subscribed, "subscribed %s;", play->channel);
    snprintf(payload, sizeof payload, "payload %s=%s;", play->no_channel ? "" : play->channel, play->payload);
    assert_int_equal(strncmp(buf_str(&scene->said), "ready;", 6), 0);
    if (!strstr(buf_str(&scene->said), subscribed) || !strstr(buf_str(&scene->said), payload) ||
        scene->said.len != 6 + strlen(subscribed) + strlen(payload))
        fail_msg("%s: %s", play->dialect->name, buf_str(&scene->said));
    if (play->keepalive.data) {
        scene->answered = false;
        scene->wants_answer = true;
        peer_say(scene->script.peers, WS_TEXT, play->keepalive);
        loop_run(&scene->loop);
        assert_true(scene->answered);
    }
    dialogue_close(talker.dialogue, WS_CODE_NORMAL);
    dialogue_free(talker.dialogue);
    conn_group_fini(&group);
    scene_end(scene);
}

static void test_conversations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plays / sizeof plays[0]; i++)
        for (int cut = 0; cut < CUT_COUNT; cut++)
            play_whole(&plays[i], (enum cut)cut);
}

/* --- the subscribe check: whole and in random pieces --- */

static void on_judged(void *user, struct check *check, bool changed)
{
    struct scene *scene = user;

    (void)check;
    (void)changed;
    loop_stop(&scene->loop);
}

static const struct conf_env env = { .probes = probe_registry, .dialects = dialect_registry, .getenv = no_env };

/* The channel as YAML takes it. */
static void put_quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '\'');
    for (; *text; text++) {
        buf_append_char(out, *text);
        if (*text == '\'')
            buf_append_char(out, '\'');
    }
    buf_append_char(out, '\'');
}

static struct conf *load(const struct play *play, unsigned port, const char *type, const char *more)
{
    struct buf text = BUF_INIT(8192);
    struct conf *conf;

    buf_printf(&text, "target:\n  url: ws://127.0.0.1:%u\n  dialect: %s\n", port, play->dialect->name);
    if (play->token) {
        buf_append_str(&text, "  token_in: message\n  token: ");
        put_quoted(&text, play->token);
        buf_append_char(&text, '\n');
    }
    buf_printf(&text, "checks:\n  - type: %s\n    timeout: 800ms\n    interval: 1s\n", type);
    if (strcmp(type, "subscribe") == 0) {
        buf_append_str(&text, "    channel: ");
        put_quoted(&text, play->channel);
        buf_append_char(&text, '\n');
    }
    buf_append_str(&text, more);
    conf = host_conf(&text, &env);
    buf_fini(&text);
    return conf;
}

/* One round; the sentence is checked for `words`. */
static void check_once(struct scene *scene, struct conf *conf, enum result status, enum reason reason, const char *words)
{
    struct check_host host = { .once = true, .on_judged = on_judged, .user = scene };
    struct check *check;
    char about[80];

    host_begin(&host, &scene->loop);
    host_checks(&host, conf, &check, 1);
    check_start(check, 0, 0, 1);
    loop_run(&scene->loop);
    snprintf(about, sizeof about, "%s, %s", scene->play->dialect->name, cut_names[scene->cut]);
    assert_verdict(check_get_view(check), status, reason, words, about);
    check_free(check);
    conf_unref(conf);
    host_end(&host);
}

static void test_subscribe_confirmed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plays / sizeof plays[0]; i++)
        for (int cut = 0; cut < CUT_COUNT; cut += CUT_RANDOM) {
            struct scene scene;
            unsigned port = scene_begin(&scene, &plays[i], (enum cut)cut);

            check_once(&scene, load(&plays[i], port, "subscribe", ""), RESULT_PASS, REASON_NONE, "");
            if (plays[i].dialect->path)
                assert_string_equal(scene.script.target, plays[i].dialect->path);
            scene_end(&scene);
        }
}

static void test_subscribe_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plays / sizeof plays[0]; i++)
        for (int cut = 0; cut < CUT_COUNT && plays[i].refusal.hear.data; cut += CUT_RANDOM) {
            struct scene scene;
            unsigned port = scene_begin(&scene, &plays[i], (enum cut)cut);

            scene.refuse = true;
            check_once(&scene, load(&plays[i], port, "subscribe", ""), RESULT_FAIL, REASON_SUBSCRIBE_REJECTED,
                       "the server refused channel \"");
            scene_end(&scene);
        }
}

static void test_subscribe_silent(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plays / sizeof plays[0]; i++) {
        struct scene scene;
        unsigned port;

        if (!plays[i].refusal.hear.data || match_spec_empty(&plays[i].dialect->subscribe.expect))
            continue;
        port = scene_begin(&scene, &plays[i], CUT_WHOLE);
        scene.refuse = scene.mute = true;
        check_once(&scene, load(&plays[i], port, "subscribe", "    within: 100ms\n"), RESULT_FAIL, REASON_SUBSCRIBE_TIMEOUT,
                   "was not confirmed within 100ms");
        scene_end(&scene);
    }
}

/* A server that upgrades and then says nothing that the dialect waits for. */
static void test_no_connect(void **state)
{
    static const struct {
        const char *type;
        enum reason reason;
    } rows[] = { { "subscribe", REASON_SUBSCRIBE_TIMEOUT }, { "ping", REASON_ECHO_TIMEOUT }, { "hold", REASON_ECHO_TIMEOUT } };
    static const struct play silent = { .dialect = &dialect_socket_io,
                                        .channel = "news",
                                        .lines = { { BYTES("never"), { { 0 } } } } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene scene;
        unsigned port = scene_begin(&scene, &silent, CUT_WHOLE);

        scene.script.on_open = NULL;
        check_once(&scene, load(&silent, port, rows[i].type, ""), RESULT_FAIL, rows[i].reason, "no greeting (dialect socket.io");
        scene_end(&scene);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations),     cmocka_unit_test(test_subscribe_confirmed),
        cmocka_unit_test(test_subscribe_refused), cmocka_unit_test(test_subscribe_silent),
        cmocka_unit_test(test_no_connect),
    };

    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
