/*
 * Every conversation of a probe, played against a scripted server on the same loop: the server's bytes whole, one by one, and in random
 * pieces (WSHEALTHD_SEED repeats a run). The verdict must not depend on how the bytes were cut.
 */
#include "probes/registry.h"
#include "tests/unit/probes/play.h"

/* --- one round of one check against it --- */

static const struct conf_env env = { .probes = probe_registry, .getenv = no_env };

struct scene {
    const char *type, *options[8]; /* name, value, … of the check */
    const char *raw_response;
    void (*on_open)(struct peer *peer);
    void (*on_message)(struct peer *peer, const struct ws_message *message);
    enum result status;
    enum reason reason;
    const char *words; /* in the message */
    unsigned rounds;   /* 0: one */
    bool closes;       /* on_message answers the agent's close frame */
};

/* Scenes that end by their deadline have a short one first; the others may take as long as a busy machine needs. */
static bool ends_by_deadline(const struct scene *scene)
{
    bool silence =
        scene->reason == REASON_SILENT_DROP || scene->reason == REASON_ECHO_TIMEOUT || scene->reason == REASON_ECHO_MISMATCH;

    return silence || (strcmp(scene->type, "hold") == 0 && !scene->rounds) || (scene->words && strcmp(scene->words, "5.5.3") == 0);
}

static struct conf *scene_conf(const struct scene *scene, unsigned port, const char *timeout)
{
    struct conf *conf;
    struct buf text = BUF_INIT(4096);

    buf_printf(&text, "target: { url: \"ws://127.0.0.1:%u/ws\" }\nchecks:\n  - type: %s\n    timeout: %s\n    interval: 500ms\n",
               port, scene->type, timeout);
    for (size_t i = 0; i + 1 < 8 && scene->options[i]; i += 2)
        buf_printf(&text, "    %s: %s\n", scene->options[i], scene->options[i + 1]);
    conf = host_conf(&text, &env);
    buf_fini(&text);
    return conf;
}

static void play_begin(struct play *play, const struct scene *scene, enum cut cut, unsigned seed, const char *timeout)
{
    struct conf *conf;
    struct err err;
    unsigned port;

    memset(play, 0, sizeof *play);
    assert_int_equal(loop_init(&play->loop, &err), 0);
    play->script = (struct script){ .cut = cut,
                                    .seed = seed,
                                    .raw_response = scene->raw_response,
                                    .leaves_pings = true,
                                    .leaves_close = scene->closes,
                                    .on_open = scene->on_open,
                                    .on_message = scene->on_message };
    port = script_begin(&play->script, &play->loop);
    play->host.once = scene->rounds == 0;
    play->host.on_judged = on_judged;
    play->host.user = play;
    play->stop_after = scene->rounds ? scene->rounds : 1;
    host_begin(&play->host, &play->loop);
    conf = scene_conf(scene, port, timeout);
    host_checks(&play->host, conf, &play->check, 1);
    conf_unref(conf);
}

static bool is_as_wanted(const struct check_view *view, const struct scene *scene)
{
    return view->status == scene->status && view->reason == scene->reason && (!scene->words || strstr(view->message, scene->words));
}

/* A machine under load may need longer for the opening than the shortest deadline is, or be so late that the round is void: then once more. */
static void play_cut(const struct scene *scene, enum cut cut)
{
    static const char *const timeouts[] = { "400ms", "2s", "20s" };
    unsigned seed = script_seed();
    bool well = false;

    for (size_t i = ends_by_deadline(scene) ? 0 : 2; !well && i < 3; i++) {
        struct play play;
        char about[80];

        play_begin(&play, scene, cut, seed, timeouts[i]);
        check_start(play.check, 0, 0, 1);
        loop_run(&play.loop);
        snprintf(about, sizeof about, "%s, %s (WSHEALTHD_SEED=%u)", scene->type, cut_names[cut], seed);
        well = is_as_wanted(check_get_view(play.check), scene);
        if (i == 2)
            assert_verdict(check_get_view(play.check), scene->status, scene->reason, scene->words, about);
        play_end(&play);
    }
}

static void play_scene(const struct scene *scene)
{
    for (int cut = 0; cut < CUT_COUNT; cut++)
        play_cut(scene, (enum cut)cut);
}

/* --- what servers do --- */

static void echo_all(struct peer *peer, const struct ws_message *message)
{
    enum ws_opcode opcode = message->opcode == WS_PING ? WS_PONG : message->opcode;

    ws_write_frame(&peer->out, WS_SERVER, opcode, true, false, message->body);
    peer_flush(peer);
}

static void greet(struct peer *peer)
{
    peer_say(peer, WS_TEXT, slice_str("welcome"));
    peer_say(peer, WS_PING, slice_str("are you there?"));
    peer_say(peer, WS_BINARY, slice_str("\x01\x02"));
}

static void echo_among_prices(struct peer *peer, const struct ws_message *message)
{
    peer_say(peer, WS_TEXT, slice_str("{\"price\": 41}"));
    peer_say(peer, WS_PONG, slice_str("nobody asked"));
    echo_all(peer, message);
}

static void close_1011(struct peer *peer)
{
    peer_close(peer, 1011, "no database");
}

static void vanish(struct peer *peer)
{
    peer->closing = true;
    peer_flush(peer);
}

static void pong_only(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_PING)
        echo_all(peer, message);
}

static void wrong_pong(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_PING)
        peer_say(peer, WS_PONG, slice_str("something else"));
}

static void answer_nack(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_TEXT)
        peer_say(peer, WS_TEXT, slice_str("{\"op\": \"nack\"}"));
}

static void answer_pong(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_TEXT)
        peer_say(peer, WS_TEXT, slice_str("{\"op\": \"pong\"}"));
}

static void masked_frame(struct peer *peer)
{
    ws_write_frame(&peer->out, WS_CLIENT, WS_TEXT, true, false, slice_str("hello"));
    peer_flush(peer);
}

static void fragments(struct peer *peer, const struct ws_message *message)
{
    struct slice first = slice_make(message->body.data, message->body.len / 2);

    if (message->opcode != WS_TEXT)
        return;
    ws_write_frame(&peer->out, WS_SERVER, WS_TEXT, false, false, first);
    ws_write_frame(&peer->out, WS_SERVER, WS_PING, true, false, slice_str("between"));
    ws_write_frame(&peer->out, WS_SERVER, WS_CONTINUATION, true, false, slice_skip(message->body, first.len));
    peer_flush(peer);
}

static void end_by_fin(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_CLOSE)
        vanish(peer);
}

static void end_by_1002(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_CLOSE)
        peer_close(peer, 1002, "");
}

static void end_and_go_on(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode != WS_CLOSE)
        return;
    ws_write_close(&peer->out, WS_SERVER, 1000, "");
    peer_say(peer, WS_TEXT, slice_str("one more"));
    vanish(peer);
}

static void end_and_stay(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode != WS_CLOSE)
        return;
    ws_write_close(&peer->out, WS_SERVER, 1000, "");
    peer_flush(peer);
}

static void end_behind_messages(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode != WS_CLOSE)
        return;
    greet(peer);
    peer_close(peer, 1000, "");
}

static void end_never(struct peer *peer, const struct ws_message *message)
{
    (void)peer;
    (void)message;
}

#define GOODBYE(how, section)          \
    { .type = "handshake",             \
      .on_message = how,               \
      .closes = true,                  \
      .status = RESULT_WARN,           \
      .reason = REASON_PROTOCOL_ERROR, \
      .words = section }
static const struct scene scenes[] = {
    { .type = "handshake", .status = RESULT_PASS },
    { .type = "handshake", .on_open = greet, .status = RESULT_PASS },
    GOODBYE(end_by_fin, "without a close frame, in answer to the agent's (RFC 6455, 5.5.1)"),
    GOODBYE(end_by_1002, "1000 with 1002 (protocol error): the code is echoed (RFC 6455, 5.5.1)"),
    GOODBYE(end_and_go_on, "10 bytes behind its close frame (RFC 6455, 5.5.1)"),
    GOODBYE(end_and_stay, "left TCP open for 500ms: the server closes it first (RFC 6455, 7.1.1)"),
    { .type = "handshake", .on_message = end_behind_messages, .closes = true, .status = RESULT_PASS },
    { .type = "handshake", .on_message = end_never, .closes = true, .status = RESULT_PASS },
    { .type = "handshake", .on_open = close_1011, .status = RESULT_PASS },
    { .type = "handshake", .on_open = vanish, .status = RESULT_PASS },
    { .type = "handshake", .on_open = masked_frame, .status = RESULT_PASS },
    { .type = "handshake",
      .raw_response = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
      .status = RESULT_FAIL,
      .reason = REASON_UPGRADE_REFUSED,
      .words = "503" },
    { .type = "handshake",
      .raw_response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
      .status = RESULT_FAIL,
      .reason = REASON_UPGRADE_BAD_ACCEPT },
    { .type = "handshake", .raw_response = "SSH-2.0-OpenSSH_9.2\r\n", .status = RESULT_FAIL, .reason = REASON_HTTP_MALFORMED },
    { .type = "handshake",
      .raw_response = "HTTP/1.1 101 Swi",
      .status = RESULT_FAIL,
      .reason = REASON_CONNECTION_RESET,
      .words = "in the middle" },
    { .type = "ping", .on_message = echo_all, .status = RESULT_PASS },
    { .type = "ping", .on_open = greet, .on_message = echo_among_prices, .status = RESULT_PASS },
    { .type = "ping", .status = RESULT_FAIL, .reason = REASON_SILENT_DROP, .words = "nothing else" },
    { .type = "ping", .on_message = wrong_pong, .status = RESULT_FAIL, .reason = REASON_PROTOCOL_ERROR, .words = "5.5.3" },
    { .type = "ping", .on_open = close_1011, .status = RESULT_FAIL, .reason = REASON_CLOSED_BY_SERVER, .words = "no database" },
    { .type = "ping", .on_open = vanish, .status = RESULT_FAIL, .reason = REASON_CLOSED_ABNORMAL },
    { .type = "ping", .on_open = masked_frame, .status = RESULT_FAIL, .reason = REASON_PROTOCOL_ERROR, .words = "5.1" },
    { .type = "echo", .on_message = echo_all, .status = RESULT_PASS },
    { .type = "echo", .on_message = fragments, .status = RESULT_PASS },
    { .type = "echo", .on_open = greet, .on_message = echo_among_prices, .status = RESULT_PASS },
    { .type = "echo", .on_message = pong_only, .status = RESULT_FAIL, .reason = REASON_ECHO_TIMEOUT, .words = " within " },
    { .type = "echo", .on_open = greet, .on_message = pong_only, .status = RESULT_FAIL, .reason = REASON_ECHO_MISMATCH },
    { .type = "echo",
      .options = { "send", "ping", "expect", "{ json: { /op: pong } }" },
      .on_message = answer_pong,
      .status = RESULT_PASS },
    { .type = "echo",
      .options = { "send", "ping", "expect", "{ json: { /op: pong } }" },
      .on_message = answer_nack,
      .status = RESULT_FAIL,
      .reason = REASON_ECHO_MISMATCH,
      .words = "nack" },
    { .type = "hold", .on_message = echo_all, .status = RESULT_PASS },
    { .type = "hold", .options = { "idle", "true" }, .status = RESULT_PASS },
    { .type = "hold",
      .on_message = echo_all,
      .on_open = close_1011,
      .status = RESULT_FAIL,
      .reason = REASON_CLOSED_BY_SERVER,
      .words = "held connection" },
    { .type = "hold", .status = RESULT_FAIL, .reason = REASON_SILENT_DROP, .words = "2 of 2" },
    { .type = "tcp", .status = RESULT_PASS },
    { .type = "http",
      .raw_response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
      .options = { "expect", "{ contains: ok }" },
      .status = RESULT_PASS },
    { .type = "http",
      .raw_response = "HTTP/1.1 200 OK\r\n\r\nno",
      .options = { "expect", "{ contains: ok }" },
      .status = RESULT_FAIL,
      .reason = REASON_HTTP_BODY },
    { .type = "http",
      .raw_response = "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
      .status = RESULT_FAIL,
      .reason = REASON_HTTP_STATUS,
      .words = "500" },
};

static void test_scenes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        play_scene(&scenes[i]);
}

/* --- sessions over several rounds --- */

static unsigned drops_left;

static void drop_some(struct peer *peer)
{
    if (drops_left) {
        drops_left--;
        vanish(peer);
    }
}

/* A server that drops every connection soon after the upgrade must not alternate between fail and pass. */
static void test_hold_drops_are_not_forgiven(void **state)
{
    static const struct scene scene = {
        .type = "hold", .options = { "connections", "1" }, .on_open = drop_some, .on_message = echo_all, .rounds = 3
    };
    struct play play;

    (void)state;
    drops_left = 1000;
    play_begin(&play, &scene, CUT_WHOLE, 1, "20s");
    check_start(play.check, 0, 0, 1);
    loop_run(&play.loop);
    assert_int_equal(check_get_view(play.check)->health.state, STATE_FAIL);
    assert_null(strchr(check_get_view(play.check)->health.history, '#'));
    play_end(&play);
}

static void test_hold_recovers(void **state)
{
    static const struct scene scene = {
        .type = "hold", .options = { "connections", "1" }, .on_open = drop_some, .on_message = echo_all, .rounds = 6
    };
    struct play play;

    (void)state;
    drops_left = 2;
    play_begin(&play, &scene, CUT_WHOLE, 1, "20s");
    check_start(play.check, 0, 0, 1);
    loop_run(&play.loop); /* its replacement has to outlive the lost ones, by more than a tenth of a second */
    assert_int_equal(check_get_view(play.check)->health.state, STATE_PASS);
    assert_int_equal(play.script.accepted, 3);
    play_end(&play);
}

/* Held connections are kept from round to round. */
static void test_hold_keeps(void **state)
{
    static const struct scene scene = { .type = "hold", .options = { "connections", "3" }, .on_message = echo_all, .rounds = 3 };
    struct play play;

    (void)state;
    play_begin(&play, &scene, CUT_WHOLE, 1, "20s");
    check_start(play.check, 0, 0, 1);
    loop_run(&play.loop);
    assert_int_equal(check_get_view(play.check)->health.state, STATE_PASS);
    assert_int_equal(play.script.accepted, 3);
    assert_int_equal(check_get_view(play.check)->stats.held, 3);
    play_end(&play);
}

/* --- goodbyes over several rounds --- */

static unsigned goodbyes_well;

static void end_well_at_first(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_CLOSE)
        peer_close(peer, goodbyes_well ? 1000 : 1002, "");
    if (message->opcode == WS_CLOSE && goodbyes_well)
        goodbyes_well--;
}

static enum state state_after(unsigned rounds, unsigned well)
{
    const struct scene scene = { .type = "handshake", .on_message = end_well_at_first, .closes = true, .rounds = rounds };
    struct play play;
    enum state state;

    goodbyes_well = well;
    play_begin(&play, &scene, CUT_WHOLE, 1, "20s");
    check_start(play.check, 0, 0, 1);
    loop_run(&play.loop);
    state = check_get_view(play.check)->health.state;
    play_end(&play);
    return state;
}

/* A goodbye that was well is not looked at in each round; one that was not is, until it is well. */
static void test_goodbyes_are_looked_at_again(void **state)
{
    (void)state;
    assert_int_equal(state_after(3, 1), STATE_PASS);
    assert_int_equal(state_after(3, 0), STATE_WARN);
}

/* What is wrong with an option names it once. */
static void test_urls_of_checks(void **state)
{
    static const struct {
        const char *check, *says;
    } rows[] = {
        { "{ type: http, url: 'gopher://h/' }", "checks[0].url: unknown scheme 'gopher', want" },
        { "{ type: http, url: 'ws://h/' }", "checks[0].url: scheme ws, want http, https or http+unix" },
        { "{ type: tcp, address: 'h:99999' }", "checks[0].address: port 99999, want 1 to 65535" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct conf_errors errors;
        struct buf text = BUF_INIT(4096);

        conf_errors_init(&errors);
        buf_printf(&text, "target: { url: 'ws://127.0.0.1/' }\nchecks: [ %s ]\n", rows[i].check);
        assert_null(conf_load_text("test", buf_slice(&text), &env, &errors));
        if (!strstr(buf_str(&errors.text), rows[i].says))
            fail_msg("%s: want %s", buf_str(&errors.text), rows[i].says);
        conf_errors_fini(&errors);
        buf_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenes),
        cmocka_unit_test(test_hold_drops_are_not_forgiven),
        cmocka_unit_test(test_hold_recovers),
        cmocka_unit_test(test_hold_keeps),
        cmocka_unit_test(test_goodbyes_are_looked_at_again),
        cmocka_unit_test(test_urls_of_checks),
    };

    log_set_fd(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
