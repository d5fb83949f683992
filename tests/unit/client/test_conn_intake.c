/*
 * What an open connection costs in one turn of the loop (agent/client/conn_intake.c): a slice of time, however much has come; one pong for a row of
 * pings; and room out of the group's budget for what is put off.
 */
#include "tests/unit/client/script.h"

#include "agent/client/conn.h"

enum {
    MESSAGES = 60,
    DEAR_US = 700,      /* what looking at a message costs here */
    SLICE_MESSAGES = 3, /* so many fill a slice of 2 ms: the third ends beyond it */
    /* Two slices at most: one of what was put off, and one of what is read in the same turn when that has been looked at. */
    TURN_MESSAGES = 2 * SLICE_MESSAGES,
    PINGS = 1000,
    PATIENCE_MS = 20000,
};

static struct stage {
    struct loop loop;
    struct script script;
    struct conn_group group;
    struct target_conf target;
    struct conn conn;
    struct conn_report report;
    struct timer patience;
    uv_check_t check; /* runs once in each turn, behind the reading */
    unsigned messages, in_turn, most_in_turn, turns, timers;
    bool dear, put_off;
    struct timer other; /* of somebody else */
    char pong[32];
    unsigned pongs;
    enum reason lost;
    char lost_text[ERR_TEXT_MAX];
} stage;

static void on_turn(uv_check_t *check)
{
    (void)check;
    stage.turns++;
    if (stage.in_turn > stage.most_in_turn)
        stage.most_in_turn = stage.in_turn;
    stage.in_turn = 0;
    stage.put_off = stage.put_off || stage.group.budget.used > 0;
}

static void on_other(struct timer *timer, void *user)
{
    (void)user;
    stage.timers++;
    timer_start(timer, 0);
}

static void on_open(void *user)
{
    (void)user;
}

static void on_message(void *user, const struct ws_message *message, uint64_t received_ns)
{
    uint64_t began_ns = clock_now_ns();

    (void)user;
    (void)received_ns;
    if (message->opcode == WS_PONG)
        return;
    stage.messages++;
    stage.in_turn++;
    while (stage.dear && clock_now_ns() - began_ns < (uint64_t)DEAR_US * 1000)
        ;
    if (stage.messages == MESSAGES)
        loop_stop(&stage.loop);
}

static void on_lost(void *user, const struct err *err)
{
    (void)user;
    stage.lost = err->reason;
    snprintf(stage.lost_text, sizeof stage.lost_text, "%s", err->text);
    loop_stop(&stage.loop);
}

static const struct conn_events events = { .on_open = on_open, .on_message = on_message, .on_lost = on_lost };

static void on_patience(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    fail_msg("%u messages and %u pongs came, and then nothing", stage.messages, stage.pongs);
}

/* Everything in one piece, behind the 101. */
static void say_much(struct peer *peer)
{
    for (unsigned i = 0; i < MESSAGES; i++)
        peer_say(peer, WS_TEXT, slice_str("hello"));
}

static void ping_much(struct peer *peer)
{
    char text[32];

    for (unsigned i = 1; i <= PINGS; i++) {
        snprintf(text, sizeof text, "ping %u", i);
        peer_say(peer, WS_PING, slice_str(text));
    }
}

static void heard(struct peer *peer, const struct ws_message *message)
{
    (void)peer;
    if (message->opcode != WS_PONG)
        return;
    stage.pongs++;
    snprintf(stage.pong, sizeof stage.pong, "%.*s", (int)message->body.len, (const char *)message->body.data);
    if (strcmp(stage.pong, "ping 1000") == 0)
        loop_stop(&stage.loop);
}

static void begin(void (*on_peer_open)(struct peer *peer))
{
    char url[64];
    struct err err;

    memset(&stage, 0, sizeof stage);
    assert_int_equal(loop_init(&stage.loop, &err), 0);
    stage.script = (struct script){ .on_open = on_peer_open, .on_message = heard };
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", script_begin(&stage.script, &stage.loop));
    assert_int_equal(url_parse(url, &stage.target.local, &err), 0);
    conn_group_init(&stage.group, &stage.loop);
    uv_check_init(&stage.loop.uv, &stage.check);
    uv_check_start(&stage.check, on_turn);
    timer_init(&stage.patience, &stage.loop, on_patience, NULL);
    timer_start(&stage.patience, PATIENCE_MS);
    timer_init(&stage.other, &stage.loop, on_other, NULL);
}

static void play(void)
{
    struct conn_options options = { .group = &stage.group, .target = &stage.target, .url = &stage.target.local };
    struct err err;

    assert_int_equal(conn_open(&stage.conn, &options, &events, NULL, &stage.report, &err), 0);
    loop_run(&stage.loop);
}

static void end(void)
{
    conn_drop(&stage.conn);
    assert_int_equal(stage.group.budget.used, 0);
    timer_stop(&stage.patience);
    timer_stop(&stage.other);
    uv_close((uv_handle_t *)&stage.check, NULL);
    conn_group_fini(&stage.group);
    script_end(&stage.script);
    loop_fini(&stage.loop);
}

static void test_a_turn_has_a_slice_for_each_connection(void **state)
{
    (void)state;
    begin(say_much);
    stage.dear = true;
    timer_start(&stage.other, 0);
    play();
    assert_int_equal(stage.lost, REASON_NONE);
    assert_int_equal(stage.messages, MESSAGES); /* none is lost */
    assert_in_range(stage.most_in_turn, 1, TURN_MESSAGES);
    assert_true(stage.put_off);
    /* Somebody else's timer is served in between, as often as there were slices. */
    assert_true(stage.timers >= MESSAGES / TURN_MESSAGES);
    end();
}

static void test_a_row_of_pings_is_answered_by_its_newest(void **state)
{
    (void)state;
    begin(ping_much);
    play();
    assert_int_equal(stage.lost, REASON_NONE);
    assert_string_equal(stage.pong, "ping 1000");
    assert_true(stage.pongs <= 2 * stage.turns && stage.pongs < PINGS / 2);
    end();
}

static void test_what_is_put_off_has_a_budget(void **state)
{
    (void)state;
    begin(say_much);
    stage.dear = true;
    stage.group.budget.max = 16;
    play();
    assert_int_equal(stage.lost, REASON_FLOOD);
    assert_non_null(strstr(stage.lost_text, "on many connections"));
    assert_true(stage.messages < MESSAGES);
    end();
}

/* It goes with the connection, and so does its room. */
static void test_an_owner_that_leaves_gives_the_room_back(void **state)
{
    (void)state;
    begin(say_much);
    stage.dear = true;
    struct conn_options options = { .group = &stage.group, .target = &stage.target, .url = &stage.target.local };
    assert_int_equal(conn_open(&stage.conn, &options, &events, NULL, &stage.report, NULL), 0);
    while (!stage.put_off)
        uv_run(&stage.loop.uv, UV_RUN_ONCE);
    conn_drop(&stage.conn);
    assert_int_equal(stage.group.budget.used, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_turn_has_a_slice_for_each_connection),
        cmocka_unit_test(test_a_row_of_pings_is_answered_by_its_newest),
        cmocka_unit_test(test_what_is_put_off_has_a_budget),
        cmocka_unit_test(test_an_owner_that_leaves_gives_the_room_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
