/*
 * What the trace of a connection shows: heads and frames in order, however the bytes were cut; and never a secret, whatever the server makes of it.
 */
#include "tests/unit/client/script.h"

#include "agent/base/secret.h"
#include "agent/base/trace.h"
#include "agent/client/conn.h"

enum { PATIENCE_MS = 20000 };

static const char secret[] = "Hunter2+Hunter2/key";
static const char in_base64[] = "SHVudGVyMitIdW50ZXIyL2tleQ";

static struct stage {
    struct loop loop;
    struct script script;
    struct conn_group group;
    struct target_conf target;
    struct conn conn;
    struct conn_report report;
    struct timer patience;
    struct trace trace;
    struct buf text;
    void (*speak)(struct peer *peer);
    bool lost;
} stage;

static void on_patience(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    fail_msg("the server did not close");
}

static void on_open(void *user)
{
    (void)user;
    conn_send(&stage.conn, WS_TEXT, slice_str("hello, I know Hunter2+Hunter2/key"));
    conn_send_parts(&stage.conn, WS_TEXT, slice_str("in parts: Hunter2+Hunter2/key."), 5, true);
    conn_send(&stage.conn, WS_BINARY, slice_of(((const uint8_t[]){ 0, 1, 2, 'a' })));
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    (void)user;
    (void)message;
    (void)received_ns;
}

static void on_lost(void *user, const struct err *err)
{
    (void)user;
    (void)err;
    stage.lost = true;
    loop_stop(&stage.loop);
}

static const struct conn_events events = { .on_open = on_open, .on_message = on_message, .on_lost = on_lost };

/* The server has heard all, and says its part. */
static void on_heard(struct peer *peer, const struct ws_message *message)
{
    if (message->opcode == WS_BINARY)
        stage.speak(peer);
}

/* One conversation, until the server has closed; then stage.text is what was recorded. */
static void play(enum cut cut, bool deflates, void (*speak)(struct peer *peer), const char *raw)
{
    struct conn_options options = {
        .group = &stage.group, .target = &stage.target, .url = &stage.target.local, .offer_deflate = deflates, .trace = &stage.trace
    };
    char url[128];
    struct err err;

    memset(&stage, 0, sizeof stage);
    secret_add(secret);
    buf_init(&stage.text, 1 << 20);
    stage.trace.head_max = stage.trace.tail_max = 64 << 10;
    assert_int_equal(loop_init(&stage.loop, &err), 0);
    stage.script =
        (struct script){ .cut = cut, .seed = script_seed(), .deflates = deflates, .on_message = on_heard, .raw_response = raw };
    stage.speak = speak;
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/ws?token=Hunter2%%2BHunter2%%2Fkey", script_begin(&stage.script, &stage.loop));
    assert_int_equal(url_parse(url, &stage.target.local, &err), 0);
    conn_group_init(&stage.group, &stage.loop);
    timer_init(&stage.patience, &stage.loop, on_patience, NULL);
    timer_start(&stage.patience, PATIENCE_MS);
    trace_begin(&stage.trace, clock_now_ns(), false);
    assert_int_equal(conn_open(&stage.conn, &options, &events, NULL, &stage.report, &err), 0);
    loop_run(&stage.loop);
    assert_true(stage.lost);
    trace_write(&stage.trace, &stage.text);
    conn_drop(&stage.conn);
    timer_stop(&stage.patience);
    conn_group_fini(&stage.group);
    script_end(&stage.script);
    loop_fini(&stage.loop);
}

static void finish(void)
{
    buf_fini(&stage.text);
    trace_fini(&stage.trace);
    secret_forget_all();
}

static void assert_clean(enum cut cut)
{
    const char *text = buf_str(&stage.text);

    for (size_t len = 8, at = 0; at + len <= sizeof secret - 1; at++) {
        char part[9];
        snprintf(part, sizeof part, "%.8s", secret + at);
        if (strstr(text, part))
            fail_msg("%s: '%s' is in\n%s", cut_names[cut], part, text);
    }
    for (size_t at = 0; at + 8 <= sizeof in_base64 - 1; at++) {
        char part[9];
        snprintf(part, sizeof part, "%.8s", in_base64 + at);
        if (strstr(text, part))
            fail_msg("%s: '%s' is in\n%s", cut_names[cut], part, text);
    }
}

/* The lines come in this order. */
static void assert_in_order(enum cut cut, const char *const *lines)
{
    const char *text = buf_str(&stage.text), *at = text;

    for (; *lines; lines++) {
        at = strstr(at, *lines);
        if (!at)
            fail_msg("%s: no '%s' in its place in\n%s", cut_names[cut], *lines, text);
        at += strlen(*lines);
    }
}

static void put(struct peer *peer, enum ws_opcode opcode, bool fin, const char *text)
{
    ws_write_frame(&peer->out, WS_SERVER, opcode, fin, false, slice_str(text));
}

static void say_all(struct peer *peer)
{
    put(peer, WS_TEXT, true, "one");
    put(peer, WS_TEXT, false, "tw");
    put(peer, WS_PING, true, "are you there");
    put(peer, WS_CONTINUATION, false, "");
    put(peer, WS_CONTINUATION, true, "o");
    put(peer, WS_BINARY, true,
        "\xff\x01"
        "bin");
    peer_close(peer, 4001, "bye");
}

static void test_frames_in_order(void **state)
{
    static const char *const lines[] = { "connecting to 127.0.0.1:",
                                         "connected to 127.0.0.1:",
                                         "> GET /ws?token=*** HTTP/1.1\n",
                                         "> Upgrade: websocket\n",
                                         "< HTTP/1.1 101 Switching Protocols\n",
                                         "< text         3 B  FIN          \"one\"\n",
                                         "< text         2 B             \n",
                                         "< ping        13 B  FIN          \"are you there\"\n",
                                         "< cont         0 B             \n",
                                         "< cont         1 B  FIN          all of it, 3 bytes: \"two\"\n",
                                         "< binary       5 B  FIN          \"\\xff\\x01bin\"\n",
                                         "< close        5 B  FIN          4001 \"bye\"\n",
                                         "> close        2 B  FIN          4001\n",
                                         NULL };
    static const char *const sent[] = { "> text        33 B  FIN          \"hello, I know ***\"\n",
                                        "> text         6 B             \n",
                                        "> cont         6 B             \n",
                                        "> cont         6 B             \n",
                                        "> cont         6 B             \n",
                                        "> cont         6 B  FIN          \"in parts: ***.\"\n",
                                        "> binary       4 B  FIN          \"\\x00\\x01\\x02a\"\n",
                                        NULL };

    (void)state;
    for (int cut = 0; cut < CUT_COUNT; cut++) {
        play((enum cut)cut, false, say_all, NULL);
        assert_in_order((enum cut)cut, lines);
        assert_in_order((enum cut)cut, sent);
        assert_clean((enum cut)cut);
        finish();
    }
}

static const char *const forms[] = { secret,
                                     "Hunter2%2BHunter2%2Fkey",
                                     "Hunter2\\u002bHunter2\\/key",
                                     in_base64,
                                     "dXNlcjpIdW50ZXIyK0h1bnRlcjIva2V5" /* user:… */,
                                     "YWI6SHVudGVyMitIdW50ZXIyL2tleTo=" /* ab:…: */ };

/* The secret in each form, cut by frames at each place. */
static void leak(struct peer *peer)
{
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++)
        for (size_t at = 1; at < strlen(forms[form]); at++) {
            char begin[64];

            snprintf(begin, sizeof begin, "no: %.*s", (int)at, forms[form]);
            put(peer, form % 2 ? WS_BINARY : WS_TEXT, false, begin);
            put(peer, WS_PING, true, "");
            put(peer, WS_CONTINUATION, true, forms[form] + at);
        }
    put(peer, WS_PING, true, secret);
    put(peer, WS_PONG, true, in_base64);
    peer_close(peer, 1008, secret);
}

/* In two messages, and in three, with pings between them. */
static void leak_in_parts(struct peer *peer)
{
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++)
        for (size_t at = 1; at < strlen(forms[form]); at++) {
            enum ws_opcode opcode = form % 2 ? WS_BINARY : WS_TEXT;
            size_t len = strlen(forms[form]), middle = (len - at) / 2;
            char begin[64], more[64];

            snprintf(begin, sizeof begin, "no: %.*s", (int)at, forms[form]);
            put(peer, opcode, true, begin);
            put(peer, WS_PING, true, "between");
            put(peer, opcode, true, forms[form] + at);
            put(peer, opcode, true, begin);
            snprintf(more, sizeof more, "%.*s", (int)middle, forms[form] + at);
            put(peer, opcode, true, more);
            put(peer, opcode, true, forms[form] + at + middle);
        }
    put(peer, WS_TEXT, true, "Hunter2+Hun");
    put(peer, WS_TEXT, true, "ting season");
    peer_close(peer, 1000, "");
}

static void leak_packed(struct peer *peer)
{
    struct deflater *deflater = deflater_new(15, false);
    struct buf packed = BUF_INIT(1 << 10);
    bool first = true;

    deflater_message(deflater, slice_str(secret), &packed);
    for (size_t at = 0; at < packed.len; at += 3, first = false)
        ws_write_frame(&peer->out, WS_SERVER, first ? WS_TEXT : WS_CONTINUATION, at + 3 >= packed.len, first,
                       slice_make(packed.data + at, packed.len - at < 3 ? packed.len - at : 3));
    deflater_free(deflater);
    buf_fini(&packed);
    leak(peer);
}

static void test_no_secret_in_any_form(void **state)
{
    (void)state;
    for (int cut = 0; cut < CUT_COUNT; cut++) {
        play((enum cut)cut, false, leak, NULL);
        assert_clean((enum cut)cut);
        assert_non_null(strstr(buf_str(&stage.text), "1008 (policy violation) \"***\""));
        finish();
        play((enum cut)cut, true, leak_packed, NULL);
        assert_clean((enum cut)cut);
        assert_non_null(strstr(buf_str(&stage.text), "19 bytes inflated: \"***\""));
        finish();
    }
}

static void test_no_secret_in_parts(void **state)
{
    (void)state;
    for (int cut = 0; cut < CUT_COUNT; cut++) {
        play((enum cut)cut, false, leak_in_parts, NULL);
        assert_clean((enum cut)cut);
        assert_non_null(strstr(buf_str(&stage.text), "\"***\""));
        assert_non_null(strstr(buf_str(&stage.text), "\"ting season\"")); /* no secret goes on like this */
        finish();
    }
}

static void test_heads_are_masked(void **state)
{
    static const char refusal[] =
        "HTTP/1.1 403 No Hunter2+Hunter2/key\r\nSet-Cookie: sid=anything-at-all; Path=/\r\nX-Token: other\r\n"
        "X-Why: SHVudGVyMitIdW50ZXIyL2tleQ==\r\nContent-Length: 44\r\n\r\nwhat is this Hunter2%2BHunter2%2Fkey to me?\n";
    static const char *const lines[] = { "< HTTP/1.1 403 No ***\n",
                                         "< Set-Cookie: sid=***; Path=/\n",
                                         "< X-Token: ***\n",
                                         "< X-Why: ***\n",
                                         "< body, 44 bytes: what is this *** to me?\\x0a\n",
                                         NULL };

    (void)state;
    for (int cut = 0; cut < CUT_COUNT; cut++) {
        play((enum cut)cut, false, NULL, refusal);
        assert_in_order((enum cut)cut, lines);
        assert_clean((enum cut)cut);
        finish();
    }
}

static void break_a_rule(struct peer *peer)
{
    put(peer, WS_TEXT, true, "well");
    buf_append_str(&peer->out, "\x83\x01x");
    peer_flush(peer);
}

static void test_a_frame_that_breaks_a_rule(void **state)
{
    static const char *const lines[] = { "< text         4 B  FIN          \"well\"\n",
                                         "< a frame with the header 83: reserved opcode 3 (RFC 6455, 5.2)\n",
                                         "> close        2 B  FIN          1002 (protocol error)\n", NULL };

    (void)state;
    for (int cut = 0; cut < CUT_COUNT; cut++) {
        play((enum cut)cut, false, break_a_rule, NULL);
        assert_in_order((enum cut)cut, lines);
        finish();
    }
}

/* The kernel is asked while the connection is there, and by a reader that comes later too. */
static void test_the_kernel_is_asked(void **state)
{
    (void)state;
    play(CUT_WHOLE, false, say_all, NULL);
    assert_true(stage.trace.tcp.known);
    assert_true(stage.trace.tcp.min_rtt_ns > 0 && stage.trace.tcp.min_rtt_ns <= stage.trace.tcp.rtt_ns * 100);
    assert_null(stage.trace.look);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_in_order),
        cmocka_unit_test(test_no_secret_in_any_form),
        cmocka_unit_test(test_no_secret_in_parts),
        cmocka_unit_test(test_heads_are_masked),
        cmocka_unit_test(test_a_frame_that_breaks_a_rule),
        cmocka_unit_test(test_the_kernel_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
