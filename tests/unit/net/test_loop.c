/* Timers in order, stopped, restarted and many; signals; and a loop that ends with nothing left behind. */
#include "tests/unit/net/support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "agent/base/clock.h"

enum { MANY = 2000 };

static struct loop loop;
static int order[16], fired;

struct numbered {
    struct timer timer;
    int number;
};

static void on_numbered(struct timer *timer, void *user)
{
    struct numbered *numbered = (struct numbered *)timer;
    assert_ptr_equal(user, numbered);
    assert_false(timer_active(timer));
    order[fired++ % 16] = numbered->number;
}

static void numbered_start(struct numbered *numbered, int number, uint64_t ms)
{
    memset(numbered, 0, sizeof *numbered);
    numbered->number = number;
    timer_init(&numbered->timer, &loop, on_numbered, numbered);
    timer_start(&numbered->timer, ms);
}

static int setup(void **state)
{
    (void)state;
    fired = 0;
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    return 0;
}

static void test_in_order_of_time(void **state)
{
    (void)state;
    struct numbered a, b, c;
    uint64_t start = clock_now_ns();
    numbered_start(&a, 1, 30);
    numbered_start(&b, 2, 10);
    numbered_start(&c, 3, 20);
    loop_run(&loop); /* ends by itself: nothing is left to wait for */
    assert_int_equal(fired, 3);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 3);
    assert_int_equal(order[2], 1);
    assert_true(clock_now_ns() - start >= 30000000); /* never early */
}

static void test_stopped_is_forgotten_at_once(void **state)
{
    (void)state;
    struct numbered *gone = mem_alloc(sizeof *gone), stays;
    numbered_start(gone, 1, 5);
    numbered_start(&stays, 2, 10);
    timer_stop(&gone->timer);
    timer_stop(&gone->timer); /* harmless */
    assert_false(timer_active(&gone->timer));
    mem_free(gone);
    loop_run(&loop);
    assert_int_equal(fired, 1);
    assert_int_equal(order[0], 2);
}

static void test_start_again_moves_it(void **state)
{
    (void)state;
    struct numbered a, b;
    numbered_start(&a, 1, 5);
    numbered_start(&b, 2, 20);
    timer_start(&a.timer, 40);
    timer_start(&b.timer, 1);
    loop_run(&loop);
    assert_int_equal(fired, 2);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 1);
}

static struct numbered victim;

static void on_killer(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    timer_stop(&victim.timer);
    fired++;
}

static void test_one_stops_another_that_is_due(void **state)
{
    (void)state;
    struct timer killer = { 0 };
    timer_init(&killer, &loop, on_killer, NULL);
    timer_start(&killer, 1);
    numbered_start(&victim, 9, 2);
    usleep(10000); /* both are due in the same turn */
    loop_run(&loop);
    assert_int_equal(fired, 1);
}

static int turns, again;

static void on_again(struct timer *timer, void *user)
{
    (void)user;
    if (++again < 5)
        timer_start(timer, 0);
}

static void on_idle(uv_check_t *check)
{
    (void)check;
    turns++;
}

static void test_zero_is_the_next_turn(void **state)
{
    (void)state;
    struct timer timer = { 0 };
    uv_check_t check;
    turns = again = 0;
    uv_check_init(&loop.uv, &check);
    uv_unref((uv_handle_t *)&check);
    uv_check_start(&check, on_idle);
    timer_init(&timer, &loop, on_again, NULL);
    timer_start(&timer, 0);
    assert_int_equal(again, 0);
    loop_run(&loop);
    assert_int_equal(again, 5);
    assert_true(turns >= 4); /* it did not go round within one turn */
    uv_close((uv_handle_t *)&check, NULL);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
}

static uint64_t last_due;
static int seen;

static void on_many(struct timer *timer, void *user)
{
    (void)user;
    assert_true(timer->due_ns >= last_due);
    last_due = timer->due_ns;
    seen++;
}

static void test_many_started_and_stopped(void **state)
{
    (void)state;
    static struct timer many[MANY];
    unsigned seed = 20261122;
    int stopped = 0;
    last_due = 0;
    seen = 0;
    for (int i = 0; i < MANY; i++) {
        memset(&many[i], 0, sizeof many[i]);
        timer_init(&many[i], &loop, on_many, NULL);
        timer_start_ns(&many[i], (uint64_t)(rand_r(&seed) % 50000000));
    }
    for (int i = 0; i < MANY; i++) {
        int kind = rand_r(&seed) % 3;
        if (kind == 0)
            stopped += timer_active(&many[i]);
        if (kind == 0)
            timer_stop(&many[i]);
        else if (kind == 1)
            timer_start_ns(&many[i], (uint64_t)(rand_r(&seed) % 50000000));
    }
    loop_run(&loop);
    assert_int_equal(seen, MANY - stopped);
}

static void test_fini_drops_running_timers(void **state)
{
    (void)state;
    struct loop own;
    struct timer timer = { 0 };
    assert_int_equal(loop_init(&own, NULL), 0);
    timer_init(&timer, &own, on_many, NULL);
    timer_start(&timer, 3600000);
    seen = 0;
    loop_fini(&own);
    assert_int_equal(seen, 0);
}

static void test_far_future_does_not_overflow(void **state)
{
    (void)state;
    struct numbered near, far, farther;
    numbered_start(&far, 1, UINT64_MAX);
    numbered_start(&farther, 2, UINT64_MAX / NS_PER_MS);
    numbered_start(&near, 3, 1);
    while (fired == 0)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(order[0], 3);
    timer_stop(&far.timer);
    timer_stop(&farther.timer);
}

static int signal_number;

static void on_signal(void *user, int number)
{
    signal_number = number;
    loop_stop(user);
}

static void test_signal_reaches_the_loop(void **state)
{
    (void)state;
    static struct loop_signal sig;
    struct numbered keeps;
    signal_number = 0;
    assert_int_equal(loop_signal_open(&sig, &loop, SIGUSR1, on_signal, &loop), 0);
    numbered_start(&keeps, 1, WATCHDOG_MS);
    raise(SIGUSR1);
    loop_run(&loop);
    assert_int_equal(signal_number, SIGUSR1);
    assert_int_equal(fired, 0);
    timer_stop(&keeps.timer);
    loop_signal_close(&sig);
}

static void test_signals_do_not_keep_it_running(void **state)
{
    (void)state;
    static struct loop_signal sig;
    assert_int_equal(loop_signal_open(&sig, &loop, SIGUSR2, on_signal, &loop), 0);
    loop_run(&loop);
    loop_signal_close(&sig);
}

static void work_for_30_ms(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    for (uint64_t until_ns = uv_hrtime() + 30000000; uv_hrtime() < until_ns;)
        continue;
}

static void nothing(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
}

/* A turn that works long is counted as long; a turn that only waits is not. A turn is counted in the next one: libuv from 1.45 on
 * runs timers last, and a loop that has nothing left would end before that. */
static void test_long_turns_are_counted(void **state)
{
    (void)state;
    struct loop own;
    struct timer timer = { 0 }, later = { 0 };
    uint64_t count = 0;
    assert_int_equal(loop_init(&own, NULL), 0);
    timer_init(&later, &own, nothing, NULL);
    timer_start(&later, 400);
    timer_init(&timer, &own, work_for_30_ms, NULL);
    timer_start(&timer, 300);
    loop_run(&own);
    uint64_t longest_ns = loop_take_longest(&own);
    assert_true(longest_ns >= 30000000);
    for (size_t i = 0; i <= PROM_BUCKETS; i++)
        if (i == PROM_BUCKETS || prom_bounds[i] > 0.025)
            count += own.turns.counts[i];
    assert_true(count >= 1);
    assert_true(own.turns.sum >= 0.03);
    loop_fini(&own);
}

static void raise_signal(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    raise(SIGUSR2);
}

static void on_signal_work(void *user, int number)
{
    (void)number;
    work_for_30_ms(NULL, user);
}

/* So is one that works in what it was woken for, and the sleep before that is none of it. */
static void test_work_behind_a_sleep_is_counted_without_it(void **state)
{
    (void)state;
    enum { ASLEEP_MS = 3000 };
    struct loop own;
    struct timer timer = { 0 }, later = { 0 };
    static struct loop_signal sig;
    assert_int_equal(loop_init(&own, NULL), 0);
    assert_int_equal(loop_signal_open(&sig, &own, SIGUSR2, on_signal_work, NULL), 0);
    timer_init(&timer, &own, raise_signal, NULL);
    timer_start(&timer, ASLEEP_MS);
    timer_init(&later, &own, nothing, NULL);
    timer_start(&later, ASLEEP_MS + 100);
    loop_run(&own);
    uint64_t longest_ns = loop_take_longest(&own);
    assert_true(longest_ns >= 30000000);
    assert_true(own.turns.sum >= 0.03);
    assert_true(own.turns.sum * 1e3 < (double)ASLEEP_MS);
    loop_signal_close(&sig);
    loop_fini(&own);
}

static void never_accepted(void *user, struct stream *stream)
{
    (void)user;
    stream_close_now(stream);
}

/* It would be waited for for ever. */
static void test_a_forgotten_listener_is_a_mistake(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit no_core = { 0, 0 };
        struct loop own;
        struct listen_address address;
        struct err err;
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        alarm(30);
        if (loop_init(&own, NULL) || listen_address_parse("127.0.0.1:0", &address, &err) ||
            !listener_open(&own, &address, &(struct listen_options){ .fd = -1 }, never_accepted, NULL, &err))
            _exit(1);
        loop_fini(&own);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_forgotten_listener_is_a_mistake),
        cmocka_unit_test(test_long_turns_are_counted),
        cmocka_unit_test(test_work_behind_a_sleep_is_counted_without_it),
        cmocka_unit_test_setup_teardown(test_in_order_of_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_is_forgotten_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_again_moves_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_stops_another_that_is_due, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zero_is_the_next_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_started_and_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fini_drops_running_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_far_future_does_not_overflow, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal_reaches_the_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signals_do_not_keep_it_running, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
