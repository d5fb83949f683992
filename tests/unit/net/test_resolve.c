/* Lookups on their threads: answers, cancelling in every state, and a resolver that does not come back. */
#include "tests/unit/net/support.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "agent/net/resolve.h"

static struct loop loop;
static atomic_int gate_open, inside, peak, finished;

static void add_v4(struct resolve_answer *answer, const char *text)
{
    uv_ip4_addr(text, 0, (struct sockaddr_in *)&answer->addresses[answer->count++]);
}

/* Hangs until the gate opens. */
static void gated_source(const char *host, struct resolve_answer *answer)
{
    int now = atomic_fetch_add(&inside, 1) + 1;
    int seen = atomic_load(&peak);
    while (now > seen && !atomic_compare_exchange_weak(&peak, &seen, now))
        ;
    while (!atomic_load(&gate_open))
        usleep(1000);
    if (strcmp(host, "none.test") == 0)
        answer->error = EAI_NONAME;
    else
        add_v4(answer, "192.0.2.7");
    atomic_fetch_sub(&inside, 1);
    atomic_fetch_add(&finished, 1);
}

static void wait_for(atomic_int *value, int want)
{
    for (int i = 0; i < 10000 && atomic_load(value) < want; i++)
        usleep(1000);
    assert_true(atomic_load(value) >= want);
}

struct asked {
    int done, error;
    size_t count;
    struct lookup *lookup, *other; /* other: to be cancelled by the callback */
};

static void on_answer(void *user, const struct resolve_answer *answer)
{
    struct asked *asked = user;
    asked->done++;
    asked->error = answer->error;
    asked->count = answer->count;
    if (asked->other != NULL)
        resolve_cancel(asked->other);
}

static int setup(void **state)
{
    (void)state;
    atomic_store(&gate_open, 0);
    atomic_store(&inside, 0);
    atomic_store(&peak, 0);
    atomic_store(&finished, 0);
    resolve_set_source(gated_source);
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    atomic_store(&gate_open, 1);
    for (int i = 0; i < 10000 && atomic_load(&inside) > 0; i++)
        usleep(1000);
    resolve_set_source(NULL);
    return 0;
}

static void test_answers(void **state)
{
    (void)state;
    struct asked good = { 0 }, bad = { 0 };
    atomic_store(&gate_open, 1);
    resolve_start(&loop, "good.test", on_answer, &good);
    resolve_start(&loop, "none.test", on_answer, &bad);
    assert_int_equal(good.done, 0);
    loop_run(&loop); /* what is outstanding keeps it running, and no more */
    assert_int_equal(good.done, 1);
    assert_int_equal(good.error, 0);
    assert_int_equal(good.count, 1);
    assert_int_equal(bad.done, 1);
    assert_int_equal(bad.error, EAI_NONAME);
}

static void test_localhost_for_real(void **state)
{
    (void)state;
    struct asked asked = { 0 };
    struct addrinfo *known = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &known) != 0)
        skip(); /* a bare chroot has no /etc/hosts */
    freeaddrinfo(known);
    resolve_set_source(NULL);
    resolve_start(&loop, "localhost", on_answer, &asked);
    loop_run(&loop);
    assert_int_equal(asked.done, 1);
    assert_int_equal(asked.error, 0);
    assert_true(asked.count >= 1);
}

static void test_cancelled_while_it_hangs(void **state)
{
    (void)state;
    struct asked asked = { 0 };
    struct lookup *lookup = resolve_start(&loop, "good.test", on_answer, &asked);
    wait_for(&inside, 1);
    resolve_cancel(lookup);
    loop_run(&loop); /* returns: nobody awaits it */
    atomic_store(&gate_open, 1);
    wait_for(&finished, 1);
    run_for(&loop, 10);
    assert_int_equal(asked.done, 0);
}

static void test_cancelled_when_done(void **state)
{
    (void)state;
    struct asked asked = { 0 };
    atomic_store(&gate_open, 1);
    struct lookup *lookup = resolve_start(&loop, "good.test", on_answer, &asked);
    wait_for(&finished, 1);
    usleep(10000);
    resolve_cancel(lookup);
    run_for(&loop, 10);
    assert_int_equal(asked.done, 0);
}

static void test_callback_cancels_another_that_is_done(void **state)
{
    (void)state;
    struct asked a = { 0 }, b = { 0 };
    atomic_store(&gate_open, 1);
    resolve_start(&loop, "good.test", on_answer, &a);
    wait_for(&finished, 1);
    usleep(10000);
    b.lookup = resolve_start(&loop, "good.test", on_answer, &b);
    wait_for(&finished, 2);
    usleep(10000);
    a.other = b.lookup;
    run_for(&loop, 10);
    assert_int_equal(a.done, 1);
    assert_int_equal(b.done, 0);
}

static void test_threads_have_a_ceiling(void **state)
{
    (void)state;
    enum { COUNT = RESOLVE_THREADS_MAX + 5 };
    struct asked asked[COUNT] = { 0 };
    struct lookup *last = NULL;
    for (int i = 0; i < COUNT; i++)
        last = resolve_start(&loop, "good.test", on_answer, &asked[i]);
    wait_for(&inside, RESOLVE_THREADS_MAX);
    usleep(20000);
    assert_int_equal(atomic_load(&peak), RESOLVE_THREADS_MAX);
    resolve_cancel(last); /* still in the queue */
    atomic_store(&gate_open, 1);
    loop_run(&loop);
    for (int i = 0; i < COUNT - 1; i++)
        assert_int_equal(asked[i].done, 1);
    assert_int_equal(asked[COUNT - 1].done, 0);
    assert_true(atomic_load(&peak) <= RESOLVE_THREADS_MAX);
}

/* The loop ends, and its memory is used for something else, while the thread is still inside. */
static void test_fini_does_not_wait_for_the_resolver(void **state)
{
    (void)state;
    struct loop *own = mem_alloc(sizeof *own);
    struct asked asked = { 0 };
    assert_int_equal(loop_init(own, NULL), 0);
    struct lookup *lookup = resolve_start(own, "good.test", on_answer, &asked);
    wait_for(&inside, 1);
    resolve_cancel(lookup);
    loop_fini(own);
    assert_int_equal(atomic_load(&inside), 1);
    mem_free(own);
    atomic_store(&gate_open, 1);
    wait_for(&finished, 1);
    usleep(10000);
    assert_int_equal(asked.done, 0);
}

/* Many at once, some cancelled at random moments: for the sanitizers. */
static void test_churn(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    struct asked asked[COUNT] = { 0 };
    int cancelled = 0, answered = 0;
    atomic_store(&gate_open, 1);
    for (int i = 0; i < COUNT; i++) {
        asked[i].lookup = resolve_start(&loop, i % 3 == 0 ? "none.test" : "good.test", on_answer, &asked[i]);
        if (i % 7 == 0)
            uv_run(&loop.uv, UV_RUN_NOWAIT);
        if (i % 5 == 0 && asked[i].done == 0) {
            resolve_cancel(asked[i].lookup);
            asked[i].lookup = NULL;
            cancelled++;
        }
    }
    loop_run(&loop);
    for (int i = 0; i < COUNT; i++)
        answered += asked[i].done;
    assert_int_equal(answered + cancelled, COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_localhost_for_real, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_while_it_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_when_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_callback_cancels_another_that_is_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_have_a_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fini_does_not_wait_for_the_resolver, setup, teardown),
        cmocka_unit_test_setup_teardown(test_churn, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
