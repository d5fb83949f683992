/*
 * Rounds of a payload check against servers that break at a size: with 1009, by a reset, in silence, by cutting, in one form only. And
 * what must not be taken for a limit: a restart, a server that echoes nothing, one that has had enough of the probe.
 */
#include "agent/base/random.h"
#include "agent/proto/match.h"
#include "probes/registry.h"
#include "tests/unit/client/script.h"
#include "tests/unit/probes/host.h"

enum how { HOW_1009, HOW_RESET, HOW_SILENT, HOW_CUT, HOW_CHANGED, HOW_1003, HOW_1008, HOW_RATE };
enum form { ANY, BINARY_ONLY, PARTS_ONLY, PACKED_ONLY, WHOLE_ONLY };

static struct stage {
    struct loop loop;
    struct script script;
    struct check_host host;
    struct check *check;
    unsigned rounds, stop_after;
    /* The server. */
    size_t takes; /* bytes; 0: all */
    enum how how;
    enum form form;
    unsigned times; /* it breaks so many messages only; 0: all */
    bool mute;      /* it answers nothing */
    bool envelope;  /* it echoes JSON in JSON */
    bool as_binary; /* whatever comes is sent back as a binary message */
    bool chatty;
    const char *refusal_after; /* once a message has broken, upgrades are answered with this */
    unsigned broken;
    size_t largest, bytes;
} stage;

static const struct conf_env env = { .probes = probe_registry, .getenv = no_env };

static bool is_form(const struct ws_message *message)
{
    switch (stage.form) {
    case ANY:
        return true;
    case BINARY_ONLY:
        return message->opcode == WS_BINARY;
    case PARTS_ONLY:
        return message->fragments > 1;
    case PACKED_ONLY:
        return message->compressed;
    case WHOLE_ONLY:
        return message->fragments == 1;
    }
    return false;
}

static void break_message(struct peer *peer, const struct ws_message *message)
{
    uint8_t *changed;

    stage.broken++;
    if (stage.refusal_after)
        stage.script.raw_response = stage.refusal_after;
    switch (stage.how) {
    case HOW_1009:
        peer_close(peer, 1009, "");
        break;
    case HOW_1003:
        peer_close(peer, 1003, "text only");
        break;
    case HOW_1008:
        peer_close(peer, 1008, "no");
        break;
    case HOW_RATE:
        peer_close(peer, 1008, "rate limit exceeded");
        break;
    case HOW_RESET:
        peer->closing = true;
        peer_flush(peer);
        break;
    case HOW_SILENT:
        break;
    case HOW_CUT:
        peer_say(peer, message->opcode, slice_make(message->body.data, stage.takes));
        break;
    case HOW_CHANGED:
        changed = mem_alloc(message->body.len);
        memcpy(changed, message->body.data, message->body.len);
        changed[message->body.len / 2] = '!';
        peer_say(peer, WS_BINARY, slice_make(changed, message->body.len));
        mem_free(changed);
        break;
    }
}

static void answer(struct peer *peer, const struct ws_message *message)
{
    struct buf text = BUF_INIT(4 << 20);

    if (message->opcode != WS_TEXT && message->opcode != WS_BINARY)
        return;
    stage.bytes += message->body.len;
    if (stage.chatty)
        peer_say(peer, WS_TEXT, slice_str("{\"news\":1}"));
    if (stage.mute)
        return;
    if (stage.takes && message->body.len > stage.takes && is_form(message) && (!stage.times || stage.broken < stage.times)) {
        break_message(peer, message);
        return;
    }
    if (message->body.len > stage.largest)
        stage.largest = message->body.len;
    if (!stage.envelope) {
        peer_say(peer, stage.as_binary ? WS_BINARY : message->opcode, message->body);
        return;
    }
    if (message->body.data[0] != '{') /* it knows JSON only */
        return;
    assert_true(message->opcode == WS_TEXT);
    buf_append_str(&text, "{\"you said\": ");
    buf_append_slice(&text, message->body);
    buf_append_char(&text, '}');
    peer_say(peer, WS_TEXT, buf_slice(&text));
    buf_fini(&text);
}

static void on_judged(void *user, struct check *check, bool changed)
{
    (void)user;
    (void)check;
    (void)changed;
    if (++stage.rounds == stage.stop_after)
        loop_stop(&stage.loop);
}

/* What the server does is set before. `options`: lines of the check; its timeout among them where the end is silence. */
static void begin(const char *options, bool once)
{
    struct buf text = BUF_INIT(4096);
    struct conf *conf;
    struct err err;

    assert_int_equal(loop_init(&stage.loop, &err), 0);
    stage.script.on_message = answer;
    stage.script.max_message = 4 << 20;
    buf_printf(&text, "target: { url: \"ws://127.0.0.1:%u/ws\" }\nchecks:\n  - { type: payload, interval: 100ms, %s }\n",
               script_begin(&stage.script, &stage.loop), options);
    stage.host.once = once;
    stage.host.on_judged = on_judged;
    host_begin(&stage.host, &stage.loop);
    conf = host_conf(&text, &env);
    buf_fini(&text);
    host_checks(&stage.host, conf, &stage.check, 1);
    conf_unref(conf);
    check_start(stage.check, 0, 0, 1);
}

static const struct check_view *play(unsigned rounds)
{
    stage.stop_after = stage.rounds + rounds;
    loop_run(&stage.loop);
    return check_get_view(stage.check);
}

static void end(void)
{
    check_free(stage.check);
    host_end(&stage.host);
    script_end(&stage.script);
    loop_fini(&stage.loop);
    memset(&stage, 0, sizeof stage);
}

#define PATIENT "timeout: 20s"
#define HASTY "timeout: 1s"
struct scene {
    struct stage server;
    const char *options;
    enum result status;
    enum reason reason;
    const char *words, *more;
};

static const struct scene scenes[] = {
    { .options = PATIENT,
      .status = RESULT_PASS,
      .words = "65,536 bytes pass as text and binary, whole and in 3 fragments; 1,048,576 bytes pass too" },
    { .server = { .script = { .deflates = true } }, .options = PATIENT, .status = RESULT_PASS, .words = "plain and compressed" },
    { .options = PATIENT ", kinds: [text], fragments: false, max: 500B, probe_to: 100B",
      .status = RESULT_PASS,
      .words = "500 bytes pass as text" },
    { .server = { .as_binary = true, .chatty = true }, .options = PATIENT, .status = RESULT_PASS },
    { .server = { .takes = 40000 },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words =
          "a text message of 40,001 bytes: the server closed the connection with code 1009 (message too big); 40,000 bytes pass "
          "(want 65,536 bytes)" },
    { .server = { .takes = 40000, .how = HOW_RESET },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "40,001 bytes: the connection was closed without a close frame (1006)" },
    { .server = { .takes = 40000, .how = HOW_CUT },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "40,001 bytes: it came back cut to 40,000 bytes; 40,000 bytes pass" },
    { .server = { .takes = 2000, .how = HOW_CHANGED },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "2,001 bytes: it came back changed: 1,000 bytes of 2,001 bytes as they were sent" },
    { .server = { .takes = 40000, .how = HOW_SILENT },
      .options = HASTY,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "no echo within",
      .more = "in between" },
    { .server = { .takes = 40000, .form = PARTS_ONLY },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "a text message of 40,001 bytes in 3 fragments: " },
    { .server = { .takes = 40000, .form = PACKED_ONLY, .script = { .deflates = true } },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "a text message of 40,001 bytes, compressed: " },
    { .server = { .takes = 1, .form = BINARY_ONLY, .how = HOW_1003 },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "a binary message of 16 bytes, and any larger one: the server closed the connection with code 1003" },
    { .server = { .takes = 512 },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "a text message of 513 bytes: " },
    /* Beyond max it is information. */
    { .server = { .takes = 100000 },
      .options = PATIENT,
      .status = RESULT_PASS,
      .words = "; beyond that, a text message of 100,001 bytes: the server closed the connection with code 1009 (message too big); "
               "100,000 bytes pass" },
    { .server = { .takes = 100000, .how = HOW_SILENT },
      .options = HASTY ", kinds: [text], fragments: false",
      .status = RESULT_PASS,
      .words = "65,536 bytes pass" },
    /* No limit at all. */
    { .server = { .takes = 40000, .times = 1 }, .options = PATIENT, .status = RESULT_PASS },
    { .server = { .takes = 40000, .times = 1, .how = HOW_RESET }, .options = PATIENT, .status = RESULT_PASS },
    { .server = { .mute = true },
      .options = HASTY,
      .status = RESULT_FAIL,
      .reason = REASON_ECHO_TIMEOUT,
      .words = "no message came within" },
    { .server = { .mute = true, .chatty = true },
      .options = HASTY,
      .status = RESULT_FAIL,
      .reason = REASON_ECHO_MISMATCH,
      .words = "{\"news\":1}" },
    { .server = { .takes = 1, .how = HOW_1008 },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_CLOSED_BY_SERVER,
      .words = "1008" },
    { .server = { .takes = 40000, .how = HOW_RATE },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_RATE_LIMITED,
      .words = "rate limit exceeded" },
    { .server = { .takes = 100000, .refusal_after = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" },
      .options = PATIENT,
      .status = RESULT_FAIL,
      .reason = REASON_UPGRADE_UNAUTHORIZED,
      .words = "after a message that broke the connection before: " },
    /* Servers that know JSON only. */
    { .server = { .envelope = true }, .options = HASTY, .status = RESULT_FAIL, .reason = REASON_ECHO_TIMEOUT },
    { .server = { .envelope = true },
      .options = PATIENT ", wrap: '{\"op\":\"echo\",\"seq\":{{seq}},\"data\":{{payload_json}}}'",
      .status = RESULT_PASS,
      .words = "65,536 bytes pass as text, whole and in 3 fragments" },
    { .server = { .envelope = true, .takes = 5000 },
      .options = PATIENT ", wrap: '{\"op\":\"echo\",\"data\":{{payload_json}}}'",
      .status = RESULT_FAIL,
      .reason = REASON_PAYLOAD_LIMIT,
      .words = "a text message of 5,001 bytes: " },
};

static void test_scenes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        const struct scene *scene = &scenes[i];
        char about[40];

        snprintf(about, sizeof about, "scene %zu", i);
        stage = scene->server;
        begin(scene->options, true);
        assert_verdict(play(1), scene->status, scene->reason, scene->words, about);
        if (scene->more)
            assert_verdict(check_get_view(stage.check), scene->status, scene->reason, scene->more, about);
        end();
    }
}

/* After the first round, which tries every form, a round is two messages. */
static void test_later_rounds_are_small(void **state)
{
    unsigned accepted;

    (void)state;
    begin(PATIENT ", every: 4", false);
    play(1);
    assert_int_equal(stage.largest, 1 << 20);
    stage.largest = stage.bytes = 0;
    accepted = stage.script.accepted;
    play(3);
    assert_int_equal(stage.script.accepted, accepted + 3);
    assert_int_equal(stage.bytes, 3 * (1024 + 65536));
    play(1); /* the fourth looks for the limit */
    assert_int_equal(stage.largest, 1 << 20);
    end();
}

/* What a silent limit costs is bounded: the search goes on over rounds, and its end is kept. */
static void test_the_search_goes_on_over_rounds(void **state)
{
    const struct check_view *view;

    (void)state;
    stage.takes = 65535;
    stage.how = HOW_SILENT;
    begin("timeout: 800ms, kinds: [text], fragments: false", false);
    view = play(1);
    assert_verdict(view, RESULT_FAIL, REASON_PAYLOAD_LIMIT, NULL, "first");
    for (unsigned i = 0; i < 10 && !strstr(view->message, "; 65,535 bytes pass (want"); i++)
        view = play(1);
    assert_verdict(view, RESULT_FAIL, REASON_PAYLOAD_LIMIT, "a text message of 65,536 bytes: no echo", "last");
    assert_non_null(strstr(view->message, "; 65,535 bytes pass (want"));
    stage.takes = 0; /* mended */
    view = play(1);
    assert_verdict(view, RESULT_PASS, REASON_NONE, "65,536 bytes pass", "mended");
    end();
}

/* A limit that is known costs one connection a round, and the sentence stays. */
static void test_a_known_limit_costs_little(void **state)
{
    const struct check_view *view;
    unsigned broken;

    (void)state;
    stage.takes = 40000;
    begin(PATIENT ", kinds: [text], fragments: false", false);
    for (unsigned i = 0; i < 10; i++)
        view = play(1);
    view = check_get_view(stage.check);
    assert_verdict(view, RESULT_FAIL, REASON_PAYLOAD_LIMIT, "40,001 bytes: ", "known");
    broken = stage.broken;
    view = play(3);
    assert_int_equal(stage.broken, broken + 3);
    assert_verdict(view, RESULT_FAIL, REASON_PAYLOAD_LIMIT, "; 40,000 bytes pass (want 65,536 bytes)", "later");
    stage.takes = 50000; /* it moves */
    for (unsigned i = 0; i < 8; i++)
        view = play(1);
    assert_verdict(view, RESULT_FAIL, REASON_PAYLOAD_LIMIT, "50,001 bytes: ", "moved");
    end();
}

/* An echo server that falls silent altogether is none any more. */
static void test_silence_is_no_limit(void **state)
{
    (void)state;
    begin("timeout: 800ms", false);
    assert_int_equal(play(1)->status, RESULT_PASS);
    stage.mute = true;
    play(1);
    assert_verdict(play(1), RESULT_FAIL, REASON_ECHO_TIMEOUT, "no message came", "mute");
    end();
}

/* The limit beyond max is kept for the sentence of the rounds in between. */
static void test_what_lies_beyond_is_kept(void **state)
{
    (void)state;
    stage.takes = 131072;
    begin(PATIENT ", every: 50", false);
    play(1);
    assert_verdict(play(1), RESULT_PASS, REASON_NONE, "beyond that, a text message of 131,073 bytes: ", "kept");
    end();
}

static const char *errors_of(const char *options, struct conf_errors *errors)
{
    struct buf text = BUF_INIT(4096);

    buf_printf(&text, "target: { url: \"ws://127.0.0.1:1/ws\" }\nchecks:\n  - { type: payload, %s }\n", options);
    conf_errors_init(errors);
    assert_null(conf_load_text("test", buf_slice(&text), &env, errors));
    buf_fini(&text);
    return buf_str(&errors->text);
}

static void test_the_options_are_validated(void **state)
{
    static const struct {
        const char *options, *words;
    } cases[] = {
        { "wrap: hello", "want {{payload}} or {{payload_json}} in it, once" },
        { "wrap: '{{payload}}{{payload_json}}'", "once" },
        { "wrap: '{{payload}}{{token}}'", "no {{token}}" },
        { "max: 64B, wrap: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa{{payload}}'", "no room" },
        { "kinds: [pictures]", "kinds" },
        { "max: 3MiB", "2MiB" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conf_errors errors;
        const char *text = errors_of(cases[i].options, &errors);

        if (!strstr(text, cases[i].words))
            fail_msg("%s: \"%s\", want \"%s\"", cases[i].options, text, cases[i].words);
        conf_errors_fini(&errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenes),
        cmocka_unit_test(test_later_rounds_are_small),
        cmocka_unit_test(test_the_search_goes_on_over_rounds),
        cmocka_unit_test(test_a_known_limit_costs_little),
        cmocka_unit_test(test_silence_is_no_limit),
        cmocka_unit_test(test_what_lies_beyond_is_kept),
        cmocka_unit_test(test_the_options_are_validated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
