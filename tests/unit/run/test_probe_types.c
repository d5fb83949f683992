/*
 * What a check type declares of itself is all that the engine and the diagnosis know of it: a type that is in no list of this program is
 * diagnosed like the ones that are. Every failure here has gone through a real round against a server that hangs.
 */
#include "agent/core/talk.h"
#include "probes/registry.h"
#include "tests/unit/client/script.h"
#include "tests/unit/probes/host.h"
#include "tests/unit/report/views.h"

/* --- a type that nobody has registered, as CONTRIBUTING has one written --- */

static enum turn send_hello(struct talk *talk)
{
    return talk_send(talk, WS_TEXT, slice_str("hello"));
}

static enum turn await_welcome(struct talk *talk)
{
    struct ws_message message;

    while (talk_receive(talk, &message))
        if (message.opcode == WS_TEXT && slice_equal(message.body, slice_str("welcome")))
            return TURN_DONE;
    return TURN_WAIT;
}

static const struct probe_type foreign = {
    .name = "greet",
    .summary = "The server welcomes a client that says hello",
    .gates = GATE_READY,
    .timeout_reason = REASON_ECHO_TIMEOUT,
    TALK_STEPS({ "hello", send_hello }, { "welcome", await_welcome }, { 0 }),
};

static const struct probe_type *const types[] = { &foreign, &probe_echo, &probe_http, NULL };
static const struct conf_env env = { .probes = types, .getenv = no_env };

/* --- a server that answers GET /health and leaves every upgrade unanswered --- */

struct hung {
    struct loop loop;
    struct script page, silent;
    struct check_host host;
    struct check *checks[2];
    size_t waiting;
};

static void on_judged(void *user, struct check *check, bool changed)
{
    struct hung *hung = user;

    (void)check;
    (void)changed;
    if (--hung->waiting == 0)
        loop_stop(&hung->loop);
}

static struct conf *hung_conf(const char *type, unsigned silent, unsigned page)
{
    struct buf text = BUF_INIT(4096);
    struct conf *conf;

    buf_printf(&text,
               "target: { url: \"ws://127.0.0.1:%u/ws\" }\nchecks:\n  - { type: %s, fall: 1, timeout: 300ms }\n"
               "  - { type: http, url: \"http://127.0.0.1:%u/health\", rise: 1, timeout: 20s }\n",
               silent, type, page);
    conf = host_conf(&text, &env);
    buf_fini(&text);
    return conf;
}

static void hung_begin(struct hung *hung, const char *type)
{
    struct conf *conf;
    struct err err;
    unsigned page, silent;

    memset(hung, 0, sizeof *hung);
    assert_int_equal(loop_init(&hung->loop, &err), 0);
    hung->page.raw_response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    hung->silent.raw_response = "";
    hung->silent.stays = true;
    page = script_begin(&hung->page, &hung->loop);
    silent = script_begin(&hung->silent, &hung->loop);
    hung->host.once = true;
    hung->host.on_judged = on_judged;
    hung->host.user = hung;
    host_begin(&hung->host, &hung->loop);
    conf = hung_conf(type, silent, page);
    host_checks(&hung->host, conf, hung->checks, 2);
    for (size_t i = 0; i < 2; i++)
        check_start(hung->checks[i], 0, i, 2);
    hung->waiting = 2;
    conf_unref(conf);
}

static void hung_end(struct hung *hung)
{
    for (size_t i = 0; i < 2; i++)
        check_free(hung->checks[i]);
    host_end(&hung->host);
    script_end(&hung->page);
    script_end(&hung->silent);
    loop_fini(&hung->loop);
}

/* What a check of that type makes of the server, beside a plain page that passes. */
static void diagnose_hung(const char *type, struct diagnosis *out)
{
    const struct check_view *views[2];
    struct agent_view view = { .checks = views, .check_count = 2, .verdict = { .started = true, .live = true } };
    struct hung hung;

    hung_begin(&hung, type);
    loop_run(&hung.loop);
    for (size_t i = 0; i < 2; i++)
        views[i] = check_get_view(hung.checks[i]);
    assert_int_equal(views[0]->reason, REASON_UPGRADE_TIMEOUT);
    assert_int_equal(views[0]->health.state, STATE_FAIL);
    assert_int_equal(views[1]->health.state, STATE_PASS);
    diagnose(&view, out);
    assert_string_equal(out->because[0], type);
    hung_end(&hung);
}

static void test_a_foreign_type_is_diagnosed_as_echo_is(void **state)
{
    struct diagnosis echo, other;

    (void)state;
    diagnose_hung("echo", &echo);
    assert_string_equal(echo.cause, "websocket_dead");
    diagnose_hung("greet", &other);
    assert_string_equal(other.cause, echo.cause);
    assert_string_equal(other.plain, echo.plain);
    assert_int_equal(other.advice_count, echo.advice_count);
    for (size_t i = 0; i < echo.advice_count; i++)
        assert_string_equal(other.advice[i], echo.advice[i]);
}

/* --- the types of this program --- */

/* The tests of the reports cannot reach the registry; what they take for these types' declarations is what the types declare. */
static void test_hand_made_views_are_like_real_ones(void **state)
{
    size_t count = 0;

    (void)state;
    for (; probe_registry[count]; count++) {
        const struct probe_type *type = probe_registry[count];
        struct check_view view = { 0 };

        check_set_type(&view, type->name);
        if (view.kind != probe_kind_of(type) || view.rank != type->rank || view.proves != type->proves)
            fail_msg("tests/unit/report/views.h: %s is not what the type declares", type->name);
    }
    assert_int_equal(count, WORLD_TYPES);
}

/* Two types of one rank would leave the order of the configuration to choose which of them names the cause. */
static void test_ranks(void **state)
{
    (void)state;
    for (size_t i = 0; probe_registry[i]; i++) {
        assert_true(abs(probe_registry[i]->rank) <= PROBE_RANK_MAX);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(probe_registry[i]->rank, probe_registry[j]->rank);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_foreign_type_is_diagnosed_as_echo_is),
        cmocka_unit_test(test_hand_made_views_are_like_real_ones),
        cmocka_unit_test(test_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
