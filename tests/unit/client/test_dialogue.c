/*
 * Dialogues against a scripted server: the course of a conversation, what refuses it, what is unwrapped for whom, owners that let go inside
 * any callback, and servers that mean harm.
 */
#include "tests/unit/client/script.h"

#include "agent/base/log.h"
#include "agent/base/text.h"
#include "agent/client/conn_offer.h"
#include "agent/client/dialogue.h"

#define TEXT(text) { .data = (text), .len = sizeof text - 1 }
#define JSON(...) \
    .json = { __VA_ARGS__ }, .json_count = sizeof((struct match_pointer[]){ __VA_ARGS__ }) / sizeof(struct match_pointer)

enum { PATIENCE_MS = 60000 };

struct stage {
    struct loop loop;
    struct script script;
    struct conn_group group;
    struct target_conf target;
    const struct conn_override *override;
    const struct dialect *dialect;
    struct dialogue *dialogue;
    struct conn_report report;
    struct timer patience;
    struct buf said;         /* what has happened, a word and a semicolon each */
    const char *until;       /* the loop stops when `said` ends with it */
    const char *channels[8]; /* asked for when it is ready */
    const char *freed_at;    /* the dialogue is freed in the callback that says this */
    bool again;              /* on_lost opens once more */
    struct buf heard;        /* by the server, a message and a line break each */
};

static void opened(struct stage *stage)
{
    struct conn_options options = {
        .group = &stage->group, .target = &stage->target, .override = stage->override, .url = &stage->target.local
    };
    struct err err;

    if (dialogue_open(stage->dialogue, &options, stage->dialect, "agent-1", &stage->report, &err) < 0)
        fail_msg("%s", err.text);
}

static void __attribute__((format(printf, 2, 3))) note(struct stage *stage, const char *fmt, ...)
{
    va_list args;
    struct slice said;
    size_t before = stage->said.len;

    va_start(args, fmt);
    buf_vprintf(&stage->said, fmt, args);
    va_end(args);
    buf_append_char(&stage->said, ';');
    said = slice_skip(buf_slice(&stage->said), before);
    if (stage->freed_at && slice_find(said, slice_str(stage->freed_at)) == 0 && stage->dialogue) {
        dialogue_free(stage->dialogue);
        stage->dialogue = NULL;
    }
    if (stage->until && strstr(buf_str(&stage->said), stage->until))
        loop_stop(&stage->loop);
}

static void on_ready(void *user)
{
    struct stage *stage = user;
    struct err err;

    note(stage, "ready");
    for (size_t i = 0; stage->dialogue && stage->channels[i]; i++)
        if (dialogue_subscribe(stage->dialogue, stage->channels[i], &err) < 0)
            note(stage, "error %s", err.text);
}

static void on_subscribed(void *user, const char *channel, const struct err *err)
{
    if (err)
        note(user, "refused %s %s: %s", channel, reason_name(err->reason), err->text);
    else
        note(user, "subscribed %s", channel);
}

static void on_payload(void *user, const char *channel, struct slice payload, uint64_t received_ns)
{
    assert_true(received_ns > 0);
    note(user, "payload %s=%.*s", channel, (int)payload.len, (const char *)payload.data);
}

static void on_unit(void *user, const struct ws_message *message, uint64_t received_ns)
{
    (void)received_ns;
    note(user, "%s %.*s", message->opcode == WS_PONG ? "pong" : "message", (int)message->body.len,
         (const char *)message->body.data);
}

static void on_lost(void *user, const struct err *err)
{
    struct stage *stage = user;

    if (stage->again) {
        stage->again = false;
        opened(stage);
    }
    note(stage, "lost %s: %s", reason_name(err->reason), err->text);
}

static const struct dialogue_events events = {
    .on_ready = on_ready, .on_subscribed = on_subscribed, .on_payload = on_payload, .on_message = on_unit, .on_lost = on_lost
};

static void on_patience(struct timer *timer, void *user)
{
    struct stage *stage = user;

    (void)timer;
    fail_msg("so far: %s, want %s; the server heard: %s", buf_str(&stage->said), stage->until, buf_str(&stage->heard));
}

static void hear(struct peer *peer, const struct ws_message *message)
{
    struct stage *stage = peer->script->user;

    buf_append_slice(&stage->heard, message->body);
    buf_append_char(&stage->heard, '\n');
}

static void say(struct peer *peer, const char *text)
{
    peer_say(peer, WS_TEXT, slice_str(text));
}

static void begin(struct stage *stage, const struct dialect *dialect,
                  void (*serve)(struct peer *peer, const struct ws_message *message))
{
    struct err err;
    char url[64];

    memset(stage, 0, sizeof *stage);
    stage->dialect = dialect;
    assert_int_equal(loop_init(&stage->loop, &err), 0);
    conn_group_init(&stage->group, &stage->loop);
    buf_init(&stage->said, 1 << 20);
    buf_init(&stage->heard, 1 << 20);
    stage->script = (struct script){ .on_message = serve, .user = stage, .seed = script_seed() };
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", script_begin(&stage->script, &stage->loop));
    assert_int_equal(url_parse(url, &stage->target.local, &err), 0);
    timer_init(&stage->patience, &stage->loop, on_patience, stage);
    timer_start(&stage->patience, PATIENCE_MS);
    stage->dialogue = dialogue_new(stage, &events);
}

static void run_until(struct stage *stage, const char *until)
{
    stage->until = until;
    if (!strstr(buf_str(&stage->said), until))
        loop_run(&stage->loop);
}

static void end(struct stage *stage)
{
    dialogue_free(stage->dialogue);
    timer_stop(&stage->patience);
    conn_group_fini(&stage->group);
    script_end(&stage->script);
    buf_fini(&stage->said);
    buf_fini(&stage->heard);
    loop_fini(&stage->loop);
}

static void assert_said(struct stage *stage, const char *words)
{
    if (!strstr(buf_str(&stage->said), words))
        fail_msg("%s, want %s", buf_str(&stage->said), words);
}

static void assert_heard(struct stage *stage, const char *words)
{
    if (!strstr(buf_str(&stage->heard), words))
        fail_msg("%s, want %s", buf_str(&stage->heard), words);
}

/* --- a dialect with everything --- */

static const struct dialect chat = {
    .name = "chat",
    .greeting = { .expect = { JSON({ "/op", "\"hi\"" }) } },
    .connect = { .send = TEXT("{\"op\":\"hello\",\"id\":\"{{id}}\",\"n\":{{seq}}{{#token}},\"token\":\"{{token}}\"{{/token}}}"),
                 .expect = { JSON({ "/op", "\"welcome\"" }) },
                 .reject = { JSON({ "/op", "\"error\"" }) } },
    .subscribe = { .send = TEXT("{\"op\":\"sub\",\"n\":{{seq}},\"ch\":\"{{channel}}\"}"),
                   .expect = { JSON({ "/op", "\"subscribed\"" }, { "/ch", "\"{{channel}}\"" }) },
                   .reject = { JSON({ "/op", "\"denied\"" }, { "/ch", "\"{{channel}}\"" }) } },
    .message = { .match = { JSON({ "/op", "\"msg\"" }, { "/ch", "\"{{channel}}\"" }) }, .payload = "/data" },
    .keepalive = { .match = { .equals = "ping" }, .send = TEXT("pong") },
    .goodbye = { .send = TEXT("{\"op\":\"bye\"}") },
    .json_holes = true,
};

static void greet(struct peer *peer)
{
    say(peer, "{\"op\":\"hi\"}");
}

static void serve_chat(struct peer *peer, const struct ws_message *message)
{
    hear(peer, message);
    if (slice_find(message->body, slice_str("\"hello\"")) >= 0) {
        say(peer, "{\"op\":\"news of somebody else\"}");
        say(peer, "ping");
        say(peer, "{\"op\":\"welcome\"}");
    } else if (slice_find(message->body, slice_str("\"ch\":\"secret\"")) >= 0) {
        say(peer, "{\"op\":\"denied\",\"ch\":\"secret\"}");
    } else if (slice_find(message->body, slice_str("\"ch\":\"news\"")) >= 0) {
        say(peer, "{\"op\":\"msg\",\"ch\":\"news\",\"data\":\"early\"}");
        say(peer, "{\"op\":\"subscribed\",\"ch\":\"news\"}");
        say(peer, "ping");
        say(peer, "{\"op\":\"msg\",\"ch\":\"weather\",\"data\":\"rain\"}");
        say(peer, "{\"op\":\"msg\",\"ch\":\"news\",\"data\":{\"a\":1}}");
        say(peer, "{\"op\":\"msg\",\"ch\":\"news\"}");
        say(peer, "the end");
    }
}

static void test_course(void **state)
{
    (void)state;
    for (int cut = 0; cut < CUT_COUNT; cut++) {
        struct stage stage;
        struct err err;

        begin(&stage, &chat, serve_chat);
        stage.script.on_open = greet;
        stage.script.cut = (enum cut)cut;
        stage.target.token = mem_strdup("to\"ken");
        stage.target.token_place = TOKEN_MESSAGE;
        stage.channels[0] = "secret";
        stage.channels[1] = "news";
        assert_false(dialogue_is_ready(stage.dialogue));
        opened(&stage);
        run_until(&stage, "message the end;");
        assert_string_equal(buf_str(&stage.said),
                            "ready;"
                            "refused secret subscribe_rejected: the server refused channel \"secret\": "
                            "\"{\"op\":\"denied\",\"ch\":\"secret\"}\";"
                            "payload news=early;message {\"op\":\"msg\",\"ch\":\"news\",\"data\":\"early\"};"
                            "subscribed news;"
                            "message {\"op\":\"msg\",\"ch\":\"weather\",\"data\":\"rain\"};"
                            "payload news={\"a\":1};message {\"op\":\"msg\",\"ch\":\"news\",\"data\":{\"a\":1}};"
                            "message {\"op\":\"msg\",\"ch\":\"news\"};"
                            "message the end;");
        assert_true(dialogue_opened_ns(stage.dialogue) > 0);
        assert_int_equal(conn_send(dialogue_conn(stage.dialogue), WS_PING, slice_str("x")), 0);
        run_until(&stage, "pong x;");
        /* A channel that is there is not asked for again. */
        assert_int_equal(dialogue_subscribe(stage.dialogue, "news", &err), 0);
        stage.said.len = 0;
        run_until(&stage, "subscribed news;");
        dialogue_close(stage.dialogue, WS_CODE_NORMAL);
        assert_false(dialogue_is_ready(stage.dialogue));
        mem_free(stage.target.token);
        end(&stage);
    }
}

static void on_bye(struct peer *peer, const struct ws_message *message)
{
    struct stage *stage = peer->script->user;

    serve_chat(peer, message);
    if (slice_find(message->body, slice_str("bye")) >= 0)
        loop_stop(&stage->loop);
}

static void test_what_the_server_hears(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &chat, on_bye);
    stage.script.on_open = greet;
    stage.target.token = mem_strdup("to\"ken");
    stage.target.token_place = TOKEN_MESSAGE;
    stage.channels[0] = "news";
    opened(&stage);
    run_until(&stage, "message the end;");
    dialogue_close(stage.dialogue, WS_CODE_NORMAL);
    loop_run(&stage.loop);
    assert_string_equal(buf_str(&stage.heard), "{\"op\":\"hello\",\"id\":\"agent-1\",\"n\":1,\"token\":\"to\\\"ken\"}\n"
                                               "pong\n"
                                               "{\"op\":\"sub\",\"n\":2,\"ch\":\"news\"}\n"
                                               "pong\n"
                                               "{\"op\":\"bye\"}\n");
    mem_free(stage.target.token);
    end(&stage);
}

static void test_another_token(void **state)
{
    static const struct {
        struct conn_override override;
        const char *hello;
    } rows[] = {
        { { .sets_token = true, .token = "other" }, "{\"op\":\"hello\",\"id\":\"agent-1\",\"n\":1,\"token\":\"other\"}\n" },
        { { .sets_token = true }, "{\"op\":\"hello\",\"id\":\"agent-1\",\"n\":1}\n" },
        { { .sets_origin = true }, "{\"op\":\"hello\",\"id\":\"agent-1\",\"n\":1,\"token\":\"token\"}\n" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct stage stage;

        begin(&stage, &chat, serve_chat);
        stage.script.on_open = greet;
        stage.target.token = mem_strdup("token");
        stage.target.token_place = TOKEN_MESSAGE;
        stage.override = &rows[i].override;
        opened(&stage);
        run_until(&stage, "ready;");
        assert_heard(&stage, rows[i].hello);
        mem_free(stage.target.token);
        end(&stage);
    }
}

/* --- what goes wrong before it is ready --- */

static void serve_error(struct peer *peer, const struct ws_message *message)
{
    (void)message;
    say(peer, "{\"op\":\"error\",\"why\":\"no such token\"}");
}

static void test_connect_refused(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &chat, serve_error);
    stage.script.on_open = greet;
    opened(&stage);
    run_until(&stage, "lost");
    assert_string_equal(buf_str(&stage.said), "lost login_rejected: the server refused the client: "
                                              "\"{\"op\":\"error\",\"why\":\"no such token\"}\";");
    end(&stage);
}

static void serve_close(struct peer *peer, const struct ws_message *message)
{
    (void)message;
    peer_close(peer, 4401, "who are you?");
}

static void test_closed_in_connect(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &chat, serve_close);
    stage.script.on_open = greet;
    opened(&stage);
    run_until(&stage, "lost");
    assert_said(&stage, "lost closed_by_server: before connect was confirmed: the server closed the connection with code 4401");
    end(&stage);
}

static void serve_stop(struct peer *peer, const struct ws_message *message)
{
    struct stage *stage = peer->script->user;

    hear(peer, message);
    loop_stop(&stage->loop);
}

static void on_stop(struct timer *timer, void *user)
{
    (void)timer;
    loop_stop(user);
}

/* Runs on until what the server has said has come, too. */
static void settle(struct stage *stage)
{
    struct timer timer = { 0 };

    timer_init(&timer, &stage->loop, on_stop, &stage->loop);
    timer_start(&timer, 50);
    loop_run(&stage->loop);
    timer_stop(&timer);
}

static void test_deadlines(void **state)
{
    struct stage stage;
    struct err err;

    (void)state;
    begin(&stage, &chat, serve_stop);
    opened(&stage);
    dialogue_timeout_err(stage.dialogue, 2000, &err);
    assert_int_equal(err.reason, REASON_CONNECT_TIMEOUT);
    settle(&stage);
    dialogue_timeout_err(stage.dialogue, 2000, &err);
    assert_int_equal(err.reason, REASON_ECHO_TIMEOUT);
    assert_string_equal(err.text, "no greeting (dialect chat: JSON with /op = \"hi\") within 2s, and nothing else either");
    say(stage.script.peers, "something else");
    settle(&stage);
    dialogue_timeout_err(stage.dialogue, 2000, &err);
    assert_int_equal(err.reason, REASON_ECHO_MISMATCH);
    assert_non_null(strstr(err.text, "the last message was \"something else\""));
    greet(stage.script.peers);
    settle(&stage);
    assert_heard(&stage, "hello");
    dialogue_timeout_err(stage.dialogue, 2000, &err);
    assert_non_null(strstr(err.text, "no confirmation of connect (dialect chat: JSON with /op = \"welcome\") within 2s"));
    end(&stage);
}

/* --- confirmations that are none --- */

static const struct dialect quiet = { .name = "quiet",
                                      .subscribe = { .send = TEXT("+{{channel}}") },
                                      .message = { .match = { .contains = "{{channel}}:" }, .prefix = "{{channel}}:" } };

static void serve_quiet(struct peer *peer, const struct ws_message *message)
{
    hear(peer, message);
    say(peer, "b:two");
    say(peer, "a:one");
    say(peer, "xa:one");
}

static void test_no_confirmation(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &quiet, serve_quiet);
    stage.channels[0] = "a";
    opened(&stage);
    run_until(&stage, "message xa:one;");
    assert_string_equal(buf_str(&stage.said), "ready;subscribed a;message b:two;payload a=one;message a:one;message xa:one;");
    assert_string_equal(buf_str(&stage.heard), "+a\n");
    end(&stage);
}

static const struct dialect refusing = { .name = "refusing",
                                         .subscribe = { .send = TEXT("+{{channel}}"), .reject = { .equals = "-{{channel}}" } } };

static void serve_refusing(struct peer *peer, const struct ws_message *message)
{
    if (slice_equal_str(message->body, "+b"))
        say(peer, "-b");
}

static void test_silence_confirms(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &refusing, serve_refusing);
    stage.channels[0] = "a";
    stage.channels[1] = "b";
    stage.channels[2] = "c";
    opened(&stage);
    run_until(&stage, "subscribed c;");
    assert_string_equal(buf_str(&stage.said), "ready;refused b subscribe_rejected: the server refused channel \"b\": \"-b\";"
                                              "subscribed a;subscribed c;");
    end(&stage);
}

/* A family of servers of which some confirm: silence is a yes until one has confirmed by a word. */
static const struct dialect maybe = {
    .name = "maybe",
    .subscribe = { .send = TEXT("+{{channel}}"), .expect = { .equals = "ok {{channel}}" }, .reject = { .equals = "-{{channel}}" } },
    .may_confirm = true
};

static void serve_maybe(struct peer *peer, const struct ws_message *message)
{
    if (slice_equal_str(message->body, "+b"))
        say(peer, "-b");
    else if (slice_equal_str(message->body, "+yes"))
        say(peer, "ok yes");
}

static void test_silence_confirms_until_a_word_was_heard(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &maybe, serve_maybe);
    stage.channels[0] = "a";
    stage.channels[1] = "b";
    opened(&stage);
    run_until(&stage, "subscribed a;");
    assert_string_equal(buf_str(&stage.said),
                        "ready;refused b subscribe_rejected: the server refused channel \"b\": \"-b\";subscribed a;");
    assert_false(dialogue_confirms(stage.dialogue));
    assert_int_equal(dialogue_subscribe(stage.dialogue, "yes", &(struct err){ 0 }), 0);
    run_until(&stage, "subscribed yes;");
    assert_true(dialogue_confirms(stage.dialogue));
    assert_int_equal(dialogue_subscribe(stage.dialogue, "c", &(struct err){ 0 }), 0);
    assert_int_equal(dialogue_subscribe(stage.dialogue, "yes", &(struct err){ 0 }), 0);
    stage.said.len = 0;
    run_until(&stage, "subscribed yes;");
    assert_null(strstr(buf_str(&stage.said), "subscribed c"));
    end(&stage);
}

/* --- names that could mean something --- */

static const struct dialect quoting = {
    .name = "quoting",
    .subscribe = { .send = TEXT("[\"{{channel}}\"]"),
                   .expect = { .contains = "ok \"{{channel}}\"", .regex = "^ok \"{{channel}}\"$" } },
    .message = { .match = { .regex = "^\\[\"{{channel}}\"", JSON({ "/0", "\"{{channel}}\"" }) }, .payload = "/1" },
    .json_holes = true,
};

static void serve_quoting(struct peer *peer, const struct ws_message *message)
{
    struct buf out = BUF_INIT(1024);

    hear(peer, message);
    buf_append_str(&out, "ok ");
    buf_append(&out, message->body.data + 1, message->body.len - 2);
    peer_say(peer, WS_TEXT, buf_slice(&out));
    buf_reset(&out);
    buf_append(&out, message->body.data, message->body.len - 1);
    buf_append_str(&out, ",\"for me\"]");
    peer_say(peer, WS_TEXT, buf_slice(&out));
    say(peer, "[\"aXb\",\"for another\"]");
    say(peer, "[\"ab\",\"for another\"]");
    say(peer, "end");
    buf_fini(&out);
}

static void test_names_are_quoted(void **state)
{
    static const char *const names[] = { "a.b",    "a*b",  "a\"b",         "a\\b",      "(a|b)", "a\\Eb",
                                         "[a]b^$", "a\nb", "\xc3\xa9.{2}", "{{token}}", "a b#c" };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct stage stage;
        char want[128];

        begin(&stage, &quoting, serve_quoting);
        stage.channels[0] = names[i];
        opened(&stage);
        run_until(&stage, "message end;");
        snprintf(want, sizeof want, "ready;subscribed %s;payload %s=for me;", names[i], names[i]);
        assert_said(&stage, want);
        assert_null(strstr(strstr(buf_str(&stage.said), "for me") + 6, "payload"));
        end(&stage);
    }
}

/* --- raw --- */

static void say_some(struct peer *peer)
{
    say(peer, "one");
    peer_say(peer, WS_BINARY, slice_make("two", 3));
    say(peer, "");
    say(peer, "end");
}

static void test_raw(void **state)
{
    static const struct dialect raw = { .name = "raw" };
    struct stage stage;

    (void)state;
    begin(&stage, &raw, NULL);
    stage.script.on_open = say_some;
    stage.channels[0] = "any";
    stage.target.dialect = &raw;
    assert_false(dialogue_needed(&stage.target));
    stage.target.dialect = &chat;
    assert_true(dialogue_needed(&stage.target));
    stage.target.dialect = NULL;
    assert_false(dialogue_needed(&stage.target));
    opened(&stage);
    run_until(&stage, "message end;");
    run_until(&stage, "subscribed any;");
    assert_said(&stage, "payload =one;message one;payload =two;message two;payload =;message ;payload =end;message end;");
    end(&stage);
}

/* --- owners that let go --- */

static void test_freed_anywhere(void **state)
{
    static const char *const places[] = { "ready", "refused", "payload", "message", "subscribed", "lost" };

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        for (int cut = 0; cut < CUT_COUNT; cut++) {
            struct stage stage;

            begin(&stage, &chat, strcmp(places[i], "lost") == 0 ? serve_close : serve_chat);
            stage.script.on_open = greet;
            stage.script.cut = (enum cut)cut;
            stage.channels[0] = "secret";
            stage.channels[1] = "news";
            stage.freed_at = places[i];
            opened(&stage);
            run_until(&stage, places[i]);
            assert_null(stage.dialogue);
            settle(&stage);
            end(&stage);
        }
}

static void test_open_again_when_lost(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &chat, serve_close);
    stage.script.on_open = greet;
    stage.again = true;
    opened(&stage);
    run_until(&stage, ";lost");
    assert_int_equal(stage.script.accepted, 2);
    end(&stage);
}

/* --- hostile servers, large numbers --- */

static const struct dialect lines = { .name = "lines",
                                      .framing = FRAMING_LINES,
                                      .keepalive = { .match = { .equals = "ping" }, .send = TEXT("pong") } };

static void flood(struct peer *peer)
{
    struct buf out = BUF_INIT(1 << 20);

    for (int i = 0; i < 5000; i++)
        buf_append_str(&out, "ping\n");
    peer_say(peer, WS_TEXT, buf_slice(&out));
    say(peer, "end");
    buf_fini(&out);
}

static void test_flood_of_keepalives(void **state)
{
    struct stage stage;
    size_t answers = 0;

    (void)state;
    begin(&stage, &lines, hear);
    stage.script.on_open = flood;
    opened(&stage);
    run_until(&stage, "message end;");
    settle(&stage);
    for (const char *at = buf_str(&stage.heard); (at = strstr(at, "pong")); at++)
        answers++;
    assert_int_equal(answers, 16);
    end(&stage);
}

static const struct dialect mqtt = { .name = "mqtt", .framing = FRAMING_MQTT };

static void talk_nonsense(struct peer *peer)
{
    peer_say(peer, WS_BINARY, slice_make("\x30\xff\xff\xff\xff\xff", 6));
}

static void test_broken_framing(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &mqtt, NULL);
    stage.script.on_open = talk_nonsense;
    opened(&stage);
    run_until(&stage, "lost");
    assert_said(&stage, "lost protocol_error: a remaining length of more than four bytes");
    end(&stage);
}

static void serve_many(struct peer *peer, const struct ws_message *message)
{
    struct buf out = BUF_INIT(1024);
    struct buf channel = BUF_INIT(64);

    match_extract(message->body, "/ch", &channel);
    if (!channel.len) {
        say(peer, "{\"op\":\"welcome\"}");
    } else {
        buf_printf(&out, "{\"op\":\"subscribed\",\"ch\":\"%s\"}", buf_str(&channel));
        peer_say(peer, WS_TEXT, buf_slice(&out));
        buf_reset(&out);
        buf_printf(&out, "{\"op\":\"msg\",\"ch\":\"%s\",\"data\":\"for %s\"}", buf_str(&channel), buf_str(&channel));
        peer_say(peer, WS_TEXT, buf_slice(&out));
    }
    buf_fini(&out);
    buf_fini(&channel);
}

static void test_many_channels(void **state)
{
    enum { COUNT = 500 };
    struct stage stage;
    char name[32], want[64];
    struct err err;

    (void)state;
    begin(&stage, &chat, serve_many);
    stage.script.on_open = greet;
    opened(&stage);
    run_until(&stage, "ready;");
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "room-%d", i);
        assert_int_equal(dialogue_subscribe(stage.dialogue, name, &err), 0);
    }
    snprintf(want, sizeof want, "payload room-%d=for room-%d;", COUNT - 1, COUNT - 1);
    run_until(&stage, want);
    for (int i = 0; i < COUNT; i++) {
        snprintf(want, sizeof want, ";subscribed room-%d;", i);
        assert_said(&stage, want);
        snprintf(want, sizeof want, ";payload room-%d=for room-%d;", i, i);
        assert_said(&stage, want);
    }
    end(&stage);
}

/* --- beats, and texts that cannot be made --- */

static const struct dialect beating = { .name = "beating", .keepalive = { .ping = TEXT("beat"), .every_ms = 10 } };

static void count_beats(struct peer *peer, const struct ws_message *message)
{
    struct stage *stage = peer->script->user;

    assert_true(slice_equal_str(message->body, "beat"));
    hear(peer, message);
    if (stage->heard.len >= 4 * 5)
        loop_stop(&stage->loop);
}

static void test_beats(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &beating, count_beats);
    opened(&stage);
    loop_run(&stage.loop);
    assert_true(dialogue_is_ready(stage.dialogue));
    end(&stage);
}

static void test_token_that_cannot_be_read(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, &chat, serve_chat);
    stage.script.on_open = greet;
    stage.target.token = mem_printf("%c/nonexistent/token%c", OPT_MARK_BEGIN, OPT_MARK_END);
    stage.target.token_place = TOKEN_MESSAGE;
    opened(&stage);
    run_until(&stage, "lost");
    assert_said(&stage, "lost agent_error: target.token: ");
    mem_free(stage.target.token);
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_course),
        cmocka_unit_test(test_what_the_server_hears),
        cmocka_unit_test(test_connect_refused),
        cmocka_unit_test(test_closed_in_connect),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_no_confirmation),
        cmocka_unit_test(test_silence_confirms),
        cmocka_unit_test(test_silence_confirms_until_a_word_was_heard),
        cmocka_unit_test(test_names_are_quoted),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_freed_anywhere),
        cmocka_unit_test(test_open_again_when_lost),
        cmocka_unit_test(test_flood_of_keepalives),
        cmocka_unit_test(test_broken_framing),
        cmocka_unit_test(test_many_channels),
        cmocka_unit_test(test_beats),
        cmocka_unit_test(test_token_that_cannot_be_read),
        cmocka_unit_test(test_another_token),
    };

    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
