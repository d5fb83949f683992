/* Farewells (agent/client/conn_farewell.c): the ends of many are looked at together, and who does not end is given its time, and no more. */
#include "tests/unit/client/script.h"

#include "agent/client/conn.h"

enum { PATIENCE_MS = 20000, TICK_MS = 10, MANY = 150 };

static struct stage {
    struct loop loop;
    struct script script;
    struct conn_group group;
    struct target_conf target;
    struct conn conns[MANY];
    struct conn_report reports[MANY];
    struct timer tick;
    unsigned count, opened;
    bool shared, cut;             /* cut: the group ends at once */
    uint64_t began_ns, closed_ns; /* all are open, and were closed */
} stage;

static void on_tick(struct timer *timer, void *user)
{
    (void)user;
    assert_true(clock_now_ns() - stage.began_ns < PATIENCE_MS * NS_PER_MS);
    if (stage.closed_ns && conn_group_idle(&stage.group))
        loop_stop(&stage.loop);
    else
        timer_start(timer, TICK_MS);
}

static void on_open(void *user)
{
    (void)user;
    if (++stage.opened < stage.count)
        return;
    for (unsigned i = 0; i < stage.count; i++)
        conn_close(&stage.conns[i], WS_CODE_NORMAL, "");
    assert_false(conn_group_idle(&stage.group));
    assert_int_equal(list_empty(&stage.group.aside), stage.shared || !stage.group.unhurried);
    stage.closed_ns = clock_now_ns();
    if (stage.cut)
        loop_stop(&stage.loop);
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
    fail_msg("lost: %s", err->text);
}

static const struct conn_events events = { .on_open = on_open, .on_message = on_message, .on_lost = on_lost };

/* Opens `count`, closes all of them, and waits until none is left. Returns how long that took. */
static uint64_t play(unsigned count, bool answers, bool unhurried, bool shared, bool cut)
{
    struct conn_options options = { .group = &stage.group, .target = &stage.target, .url = &stage.target.local, .shared = shared };
    char url[64];
    struct err err;
    uint64_t took_ns;

    memset(&stage, 0, sizeof stage);
    stage.count = count;
    stage.shared = shared;
    stage.cut = cut;
    assert_int_equal(loop_init(&stage.loop, &err), 0);
    stage.script = (struct script){ .leaves_close = !answers };
    snprintf(url, sizeof url, "ws://127.0.0.1:%u/", script_begin(&stage.script, &stage.loop));
    assert_int_equal(url_parse(url, &stage.target.local, &err), 0);
    conn_group_init(&stage.group, &stage.loop);
    stage.group.unhurried = unhurried;
    stage.began_ns = clock_now_ns();
    timer_init(&stage.tick, &stage.loop, on_tick, NULL);
    timer_start(&stage.tick, TICK_MS);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(conn_open(&stage.conns[i], &options, &events, NULL, &stage.reports[i], &err), 0);
    loop_run(&stage.loop);
    assert_int_equal(stage.opened, count);
    took_ns = clock_now_ns() - stage.closed_ns;
    timer_stop(&stage.tick);
    conn_group_fini(&stage.group);
    assert_true(conn_group_idle(&stage.group));
    script_end(&stage.script);
    loop_fini(&stage.loop);
    return took_ns;
}

static void test_all_end(void **state)
{
    (void)state;
    play(1, true, true, false, false);
    play(MANY, true, true, false, false);
    play(MANY, true, false, false, false);
    play(1, true, true, true, false);
}

static void test_what_is_aside_ends_with_its_group(void **state)
{
    (void)state;
    play(MANY, true, true, false, true);
}

static void test_a_server_that_does_not_end_has_its_time(void **state)
{
    (void)state;
    for (int unhurried = 0; unhurried < 2; unhurried++)
        assert_true(play(3, false, unhurried, false, false) >= (CONN_LINGER_MS - 1) * NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_end),
        cmocka_unit_test(test_what_is_aside_ends_with_its_group),
        cmocka_unit_test(test_a_server_that_does_not_end_has_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
