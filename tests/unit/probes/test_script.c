/*
 * `script`, played against a server of scripted lines on the same loop, its bytes whole, one by one and in random pieces; and the rules of its
 * options. What real servers say is tests/e2e/test_script.py.
 */
#include "agent/base/secret.h"
#include "probes/registry.h"
#include "tests/unit/client/script.h"
#include "tests/unit/probes/host.h"

/* What the server says when something comes that holds `on`; NULL: when the connection is open. */
struct line {
    const char *on, *say;
    unsigned close;
};

struct scene {
    const char *script; /* options of the check, in lines */
    struct line lines[6];
    enum result status;
    enum reason reason;
    const char *words;
    bool waits, no_rtt; /* ends by the deadline of the round; without a round trip */
};

static const struct conf_env env = { .probes = probe_registry, .getenv = no_env };
static const struct scene *playing;
static char heard[4096]; /* what the server was told */
static struct loop loop;

static void say_lines(struct peer *peer, const char *message)
{
    for (size_t i = 0; i < sizeof playing->lines / sizeof playing->lines[0]; i++) {
        const struct line *line = &playing->lines[i];

        if (!line->say)
            return;
        if (!line->on != !message || (line->on && !strstr(message, line->on)))
            continue;
        if (line->close)
            peer_close(peer, (uint16_t)line->close, line->say);
        else
            peer_say(peer, WS_TEXT, slice_str(line->say));
    }
}

static void on_open(struct peer *peer)
{
    say_lines(peer, NULL);
}

static void on_message(struct peer *peer, const struct ws_message *message)
{
    char text[1024] = "";

    if (message->opcode != WS_TEXT && message->opcode != WS_BINARY)
        return;
    snprintf(text, sizeof text, "%.*s", (int)message->body.len, message->body.len ? (const char *)message->body.data : "");
    snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "%s%s|", message->opcode == WS_BINARY ? "binary " : "", text);
    say_lines(peer, text);
}

static void on_judged(void *user, struct check *check, bool changed)
{
    (void)user;
    (void)check;
    (void)changed;
    loop_stop(&loop);
}

static void play_cut(const struct scene *scene, enum cut cut)
{
    struct script script = { .cut = cut, .seed = script_seed(), .on_open = on_open, .on_message = on_message };
    struct check_host host = { .once = true, .on_judged = on_judged };
    struct buf text = BUF_INIT(16 << 10);
    struct check *check;
    struct err err;

    playing = scene;
    heard[0] = 0;
    assert_int_equal(loop_init(&loop, &err), 0);
    unsigned port = script_begin(&script, &loop);
    host_begin(&host, &loop);
    buf_printf(&text,
               "target: { url: \"ws://127.0.0.1:%u/ws\", token: open-sesame-42 }\nchecks:\n  - type: script\n    timeout: %s\n%s",
               port, scene->waits ? "2s" : "20s", scene->script);
    struct conf *conf = host_conf(&text, &env);
    host_checks(&host, conf, &check, 1);
    conf_unref(conf);
    check_start(check, 0, 0, 1);
    loop_run(&loop);
    const struct check_view *view = check_get_view(check);
    assert_verdict(view, scene->status, scene->reason, scene->words, scene->script);
    assert_int_equal(view->phase, scene->status == RESULT_PASS ? view->phase : PHASE_OPEN);
    if (scene->status == RESULT_PASS)
        assert_int_equal(view->have_rtt, !scene->no_rtt);
    check_free(check);
    host_end(&host);
    script_end(&script);
    loop_fini(&loop);
    buf_fini(&text);
    secret_forget_all();
}

static void play(const struct scene *scene)
{
    for (int cut = 0; cut < CUT_COUNT; cut++)
        play_cut(scene, (enum cut)cut);
}

#define SAY(text) { NULL, text, 0 }
#define ON(on, text) { on, text, 0 }
#define END(on, text, code) { on, text, code }
#define FAILS(why, text) .status = RESULT_FAIL, .reason = why, .words = text
#define STEPS "    steps:\n"
#define LOGIN                                                                                                          \
    "    - { expect: { json: { /op: hello } }, capture: { salt: /salt, who: { regex: 'who=(\\w+)' } } }\n"             \
    "    - { name: login, send: '{\"op\":\"login\",\"proof\":\"{{hex (sha256 token salt)}}\",\"who\":\"{{who}}\"}',\n" \
    "        expect: { json: { /op: welcome, /salt: \"{{salt}}\" } }, reject: { json: { /op: denied } } }\n"
#define HELLO SAY("{\"op\":\"hello\",\"salt\":\"s\\\"1\",\"text\":\"who=me;\"}")

static const struct scene passing[] = {
    { STEPS LOGIN,
      { SAY("[1]"), HELLO, ON("login", "{\"op\":\"price\"}"), ON("login", "{\"op\":\"welcome\",\"salt\":\"s\\\"1\"}") },
      .status = RESULT_PASS },
    /* what is captured stands by itself, and several times */
    { STEPS "    - expect: { contains: id }\n    - capture: { num: /id }\n    - capture: { word: { regex: '(id)' } }\n"
            "    - { send: 'again {{num}} {{word}}', expect: { equals: 'again 7 id' } }\n",
      { SAY("{\"id\":7}"), ON("again 7 id", "again 7 id") },
      .status = RESULT_PASS },
    /* only listening, and only speaking */
    { STEPS "    - expect: { equals: a }\n    - expect: { equals: b }\n",
      { SAY("a"), SAY("x"), SAY("b") },
      .status = RESULT_PASS,
      .no_rtt = true },
    { STEPS "    - send: hello\n", { { 0 } }, .status = RESULT_PASS, .no_rtt = true },
    { STEPS "    - send: { base64: aGVsbG8= }\n      expect: { equals: hi }\n", { ON("hello", "hi") }, .status = RESULT_PASS },
    /* the same UUID through the round */
    { STEPS "    - { send: 'u={{uuid}}', expect: { regex: '^u={{uuid}}$' }, capture: { u: { regex: 'u=(.*)' } } }\n"
            "    - { send: '{{u}}', expect: { equals: ok } }\n",
      { ON("u=", "u=none") },
      .status = RESULT_FAIL,
      .reason = REASON_SCRIPT_MISMATCH,
      .waits = true },
    { STEPS "    - expect: { equals: a }\n    - close: 3000\n",
      { SAY("a") },
      .status = RESULT_WARN,
      .reason = REASON_PROTOCOL_ERROR,
      .words = "answered close code 3000 with 1000" },
    { STEPS "    - expect: { equals: a }\n    - close: 1000\n", { SAY("a") }, .status = RESULT_PASS, .no_rtt = true },
    { STEPS "    - send: quit\n    - closed: [4000-4010]\n", { END("quit", "bye", 4004) }, .status = RESULT_PASS, .no_rtt = true },
};

static const struct scene failing[] = {
    { STEPS LOGIN,
      { { 0 } },
      FAILS(REASON_SCRIPT_TIMEOUT, "step 1 (expect): no message came (want JSON with /op = \"hello\") within 2s"),
      .waits = true },
    { STEPS LOGIN, { HELLO }, FAILS(REASON_SCRIPT_TIMEOUT, "step 2 (login): no message came"), .waits = true },
    { "    steps:\n    - { send: x, expect: { equals: y }, within: 200ms }\n",
      { { 0 } },
      FAILS(REASON_SCRIPT_TIMEOUT, "within 200ms") },
    { STEPS LOGIN,
      { HELLO, ON("login", "{\"op\":\"welcome\",\"salt\":\"other\"}") },
      FAILS(REASON_SCRIPT_MISMATCH,
            "step 2 (login): messages came, none matched; the last, \"{\"op\":\"welcome\",\"salt\":\"other\"}\": json /salt is "
            "\"other\", want"),
      .waits = true },
    { STEPS "    - { send: x, expect: { contains: bye } }\n",
      { ON("x", "hi") },
      FAILS(REASON_SCRIPT_MISMATCH, "none matched; the last: text is \"hi\", want \"bye\" in it: no match within"),
      .waits = true },
    { STEPS LOGIN,
      { HELLO, ON("login", "{\"op\":\"denied\"}") },
      FAILS(REASON_SCRIPT_REJECTED, "step 2 (login): the server refuses with \"{\"op\":\"denied\"}\"") },
    { "    reject: { contains: error }\n" STEPS "    - { send: a, expect: { contains: a } }\n",
      { ON("a", "a, error") }, /* a refusal goes before what is expected */
      FAILS(REASON_SCRIPT_REJECTED, "step 1 (expect): the server refuses with \"a, error\"") },
    { "    reject: { contains: error }\n" STEPS "    - send: a\n    - closed: 4000\n",
      { ON("a", "error") },
      FAILS(REASON_SCRIPT_REJECTED, "step 2 (closed): the server refuses with \"error\"") },
    { "    reject_codes: [4009]\n" STEPS LOGIN,
      { HELLO, END("login", "Authentication failed.", 4009) },
      FAILS(REASON_SCRIPT_REJECTED,
            "step 2 (login): the server closed the connection with code 4009: \"Authentication failed.\"") },
    { "    reject_codes: [4009]\n" STEPS LOGIN,
      { HELLO, END("login", "oops", 1011) },
      FAILS(REASON_CLOSED_BY_SERVER, "step 2 (login): the server closed the connection with code 1011") },
    { STEPS "    - { expect: { contains: a }, capture: { b: /b } }\n",
      { SAY("{\"a\":1}") },
      FAILS(REASON_SCRIPT_MISMATCH, "step 1 (expect): nothing to capture for b at /b in \"{\"a\":1}\"") },
    { STEPS "    - expect: { contains: a }\n    - { name: take, capture: { b: { regex: 'b=(.)' } } }\n",
      { SAY("{\"a\":1}") },
      FAILS(REASON_SCRIPT_MISMATCH, "step 2 (take): nothing to capture for b at /b=(.)/ in") },
    { STEPS "    - send: x\n    - closed: [1000, 3000-3999]\n",
      { END("x", "no", 4001) },
      FAILS(REASON_SCRIPT_MISMATCH,
            "step 2 (closed): the server closed the connection with code 4001: \"no\", want 1000, 3000-3999") },
    { STEPS "    - send: x\n    - { closed: [1000], within: 200ms }\n",
      { ON("x", "no") },
      FAILS(REASON_SCRIPT_TIMEOUT, "step 2 (closed): the server did not close within 200ms") },
};

static void test_passing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        play(&passing[i]);
    play(&passing[0]);
    assert_non_null(strstr(heard, "\"who\":\"me\""));
    assert_null(strstr(heard, "{{"));
}

static void test_failing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++)
        play(&failing[i]);
}

/* A server that says back what was derived from the token: it is masked, in the round and no longer. */
static void test_secrets_are_masked(void **state)
{
    static struct scene scene = { STEPS "    - { send: 'proof {{hex (sha256 token)}}', expect: { equals: never } }\n",
                                  { ON("proof", "wrong: 3ec1e02b4b8bdd3ab2a4b1ab1f2f0bbd") },
                                  FAILS(REASON_SCRIPT_MISMATCH, NULL),
                                  .waits = true };
    static char echo[128];
    (void)state;
    play(&scene);
    snprintf(echo, sizeof echo, "you said %.64s", strstr(heard, "proof ") + 6);
    scene.lines[0].say = echo;
    scene.words = "\"you said ***\"";
    play(&scene);
}

/* A step's captured session is a secret by its name. */
static void test_captured_secrets(void **state)
{
    static const struct scene scene = { STEPS "    - { expect: { contains: s }, capture: { session_key: /s } }\n"
                                              "    - { send: 'k {{session_key}}', expect: { equals: never } }\n",
                                        { SAY("{\"s\":\"abcdefgh-12\"}"), ON("k ", "you have abcdefgh-12") },
                                        FAILS(REASON_SCRIPT_MISMATCH, "\"you have ***\""),
                                        .waits = true };
    (void)state;
    play(&scene);
}

static void refuses(const char *script, const char *want)
{
    struct conf_errors errors;
    struct buf text = BUF_INIT(16 << 10);

    conf_errors_init(&errors);
    buf_printf(&text, "target: { url: 'ws://h/' }\nchecks:\n- type: script\n%s", script);
    assert_null(conf_load_text("w", buf_slice(&text), &env, &errors));
    assert_string_equal(buf_str(&errors.text), want);
    conf_errors_fini(&errors);
    buf_fini(&text);
}

static void test_rules(void **state)
{
    (void)state;
    refuses("", "w:3:3: checks[0].steps: required, but not set\n");
    refuses("  steps: []\n", "w:4:10: checks[0].steps: 0 entries, want at least 1\n");
    refuses("  steps: [{ name: x }]\n", "w:4:11: checks[0].steps[0]: does nothing, want send, expect, capture, close or closed\n");
    refuses("  steps: [{ send: a }, { capture: { a: /b } }]\n",
            "w:4:35: checks[0].steps[1].capture: no message was expected before it, want expect in this step or the one before\n");
    refuses("  steps: [{ expect: { equals: a } }, { send: a, capture: { a: /b } }]\n",
            "w:4:58: checks[0].steps[1].capture: no message was expected before it, want expect in this step or the one before\n");
    refuses("  steps: [{ send: a, reject: { equals: b } }]\n",
            "w:4:30: checks[0].steps[0].reject: needs expect in the same step\n");
    refuses("  steps: [{ send: a, within: 1s }]\n",
            "w:4:30: checks[0].steps[0].within: nothing is awaited, want it beside expect, close or closed\n");
    refuses("  steps: [{ close: 1000 }, { send: a }]\n",
            "w:4:20: checks[0].steps[0].close: another step follows, and the connection is gone then\n");
    refuses("  steps: [{ close: 1000, closed: 1000 }]\n",
            "w:4:34: checks[0].steps[0].closed: is set together with close, want one of the two\n");
    refuses("  steps: [{ close: 999 }]\n", "w:4:20: checks[0].steps[0].close: 999, want 1000 to 4999\n");
    refuses("  steps: [{ expect: { equals: a }, capture: { a: {} } }]\n",
            "w:4:50: checks[0].steps[0].capture.a: want one of pointer and regex\n");
    refuses("  steps: [{ expect: { equals: a }, capture: { a: { regex: 'a' } } }]\n",
            "w:4:50: checks[0].steps[0].capture.a: regex: no group in it, want such as id=(\\d+)\n");
    refuses("  steps: [{ expect: { equals: a }, capture: { token: /a } }]\n",
            "w:4:54: checks[0].steps[0].capture.token: {{token}} has a meaning of its own, want another name\n");
    refuses("  steps: [{ expect: { equals: a }, capture: { salt: /a } }, { name: login, send: '{{hex slat}}' }]\n",
            "w:4:82: checks[0].steps[1].send: unknown hole {{slat}} at offset 0 (did you mean '{{salt}}'?)\n");
    refuses("  steps: [{ expect: { json: { /a: '{{salt}}' } }, capture: { salt: /a } }]\n",
            "w:4:21: checks[0].steps[0].expect: json: unknown hole {{salt}} at offset 1, want {{token}}, {{id}}, {{seq}}, "
            "{{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n");
    refuses(
        "  steps: [{ expect: { equals: a }, capture: { salt: /a } }, { send: '{{channel}}{{payload}}' }]\n",
        "w:4:69: checks[0].steps[1].send: {{channel}} at offset 0 has no value here, want {{salt}}, {{token}}, {{id}}, {{seq}}, "
        "{{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n");
    refuses("  reject: { equals: '{{salt}}' }\n  steps: [{ send: a }]\n",
            "w:4:21: checks[0].reject: equals: unknown hole {{salt}} at offset 0, want {{token}}, {{id}}, {{seq}}, "
            "{{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n");
}

/* All faults of all steps are told at once. `within` beyond the timeout could never be reached. */
static void test_all_rules_at_once(void **state)
{
    (void)state;
    refuses("  timeout: 3s\n  steps:\n  - { send: '{{salt}}', expect: { equals: '{{pepper}}' }, within: 3001ms }\n"
            "  - { send: a, within: 1s, reject: { equals: b } }\n"
            "  - { expect: { equals: a }, within: 3s, capture: { a: {}, token: /b } }\n  - { name: x }\n",
            "w:6:13: checks[0].steps[0].send: unknown hole {{salt}} at offset 0, want {{token}}, {{id}}, {{seq}}, "
            "{{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
            "w:6:33: checks[0].steps[0].expect: equals: unknown hole {{pepper}} at offset 0, want {{token}}, {{id}}, "
            "{{seq}}, {{now}}, {{uuid}}, {{now_s}} or {{seq_u16}}\n"
            "w:6:67: checks[0].steps[0].within: 3001ms, want at most timeout (3s), which ends the round before\n"
            "w:7:24: checks[0].steps[1].within: nothing is awaited, want it beside expect, close or closed\n"
            "w:7:36: checks[0].steps[1].reject: needs expect in the same step\n"
            "w:8:56: checks[0].steps[2].capture.a: want one of pointer and regex\n"
            "w:8:67: checks[0].steps[2].capture.token: {{token}} has a meaning of its own, want another name\n"
            "w:9:5: checks[0].steps[3]: does nothing, want send, expect, capture, close or closed\n");
}

/* The token may be in the script's own messages. */
static void test_token_in_message(void **state)
{
    static const char text[] = "target: { url: 'ws://h/', token: abcdefgh, token_in: message }\nchecks:\n- type: script\n"
                               "  steps: [{ send: '{{hex (sha256 token)}}' }]\n";
    struct conf_errors errors;
    (void)state;
    conf_errors_init(&errors);
    struct conf *conf = conf_load_text("w", slice_str(text), &env, &errors);
    assert_string_equal(buf_str(&errors.text), "");
    conf_unref(conf);
    conf_errors_fini(&errors);
    secret_forget_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passing),           cmocka_unit_test(test_failing), cmocka_unit_test(test_secrets_are_masked),
        cmocka_unit_test(test_captured_secrets),  cmocka_unit_test(test_rules),   cmocka_unit_test(test_token_in_message),
        cmocka_unit_test(test_all_rules_at_once),
    };

    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
