/* Lookups on their threads: answers, cancelling in every state, and a resolver that does not come back. */
#include "tests/unit/net/support.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

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
    while (!atomic_load(&gate_open) && strcmp(host, "quick.test") != 0)
        usleep(1000);
    if (strncmp(host, "none", 4) == 0)
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
    if (asked->other)
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
    b.lookup = resolve_start(&loop, "other.test", on_answer, &b);
    wait_for(&finished, 2);
    usleep(10000);
    a.other = b.lookup;
    run_for(&loop, 10);
    assert_int_equal(a.done, 1);
    assert_int_equal(b.done, 0);
}

static struct lookup *ask(const char *kind, int number, struct asked *asked)
{
    char host[32];
    snprintf(host, sizeof host, "%s%d.test", kind, number);
    return resolve_start(&loop, host, on_answer, asked);
}

/* More names than threads: the last ones wait, and are told apart from names whose resolver is slow. */
static void test_threads_have_a_ceiling(void **state)
{
    (void)state;
    enum { COUNT = RESOLVE_THREADS_MAX + 5 };
    struct asked asked[COUNT] = { 0 };
    struct lookup *first = NULL, *last = NULL;
    for (int i = 0; i < COUNT; i++) {
        last = ask("good", i, &asked[i]);
        first = first ? first : last;
    }
    wait_for(&inside, RESOLVE_THREADS_MAX);
    usleep(20000);
    assert_int_equal(atomic_load(&peak), RESOLVE_THREADS_MAX);
    assert_false(resolve_is_queued(first));
    assert_true(resolve_is_queued(last));
    resolve_cancel(last); /* still in the queue */
    atomic_store(&gate_open, 1);
    loop_run(&loop);
    for (int i = 0; i < COUNT - 1; i++)
        assert_int_equal(asked[i].done, 1);
    assert_int_equal(asked[COUNT - 1].done, 0);
    assert_true(atomic_load(&peak) <= RESOLVE_THREADS_MAX);
    assert_int_equal(atomic_load(&finished), COUNT - 1);
}

/* All lookups of one name share its query, also when some are cancelled. */
static void test_one_query_for_a_name(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    struct asked asked[COUNT] = { 0 };
    for (int i = 0; i < COUNT; i++) {
        asked[i].lookup = resolve_start(&loop, i % 2 ? "good.test" : "GOOD.test", on_answer, &asked[i]);
        if (i == 0)
            wait_for(&inside, 1);
        if (i < COUNT / 2) /* the first one too */
            resolve_cancel(asked[i].lookup);
    }
    run_for(&loop, 20);
    assert_int_equal(atomic_load(&peak), 1);
    atomic_store(&gate_open, 1);
    loop_run(&loop);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(asked[i].done, i >= COUNT / 2);
    assert_int_equal(atomic_load(&finished), 1);
}

/* A name whose resolver does not answer is looked up again and again, and does not delay other names. */
static void test_dead_names_keep_no_other_waiting(void **state)
{
    (void)state;
    struct asked dead = { 0 }, other = { 0 };
    for (int round = 0; round < 200; round++) {
        struct lookup *lookup = ask("dead", round % 10, &dead);
        if (round < 10)
            wait_for(&inside, round + 1);
        resolve_cancel(lookup);
    }
    usleep(10000);
    assert_int_equal(atomic_load(&peak), 10);
    resolve_start(&loop, "quick.test", on_answer, &other);
    run_until(&loop, &other.done);
    assert_int_equal(other.error, 0);
    assert_int_equal(dead.done, 0);
}

/* With every thread taken by names that hang. */
static void test_localhost_needs_no_resolver(void **state)
{
    (void)state;
    static const char *const hosts[] = { "localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "::1" };
    struct asked dead = { 0 };
    for (int i = 0; i < RESOLVE_THREADS_MAX; i++) {
        struct lookup *lookup = ask("dead", i, &dead);
        wait_for(&inside, i + 1);
        resolve_cancel(lookup);
    }
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct asked asked = { 0 };
        resolve_start(&loop, hosts[i], on_answer, &asked);
        assert_int_equal(asked.done, 0);
        run_until(&loop, &asked.done);
        assert_int_equal(asked.error, 0);
        assert_true(asked.count >= 1);
        resolve_cancel(resolve_start(&loop, hosts[i], on_answer, &asked)); /* answered, and not yet told */
        run_for(&loop, 1);
        assert_int_equal(asked.done, 1);
    }
    struct resolve_answer answer;
    assert_false(resolve_without("notlocalhost", &answer));
    assert_false(resolve_without("localhost.example.com", &answer));
    assert_false(resolve_without("", &answer));
}

static void write_hosts(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char *localhost_text(void)
{
    static char text[256];
    struct resolve_answer answer;
    assert_true(resolve_without("localhost", &answer));
    text[0] = '\0';
    for (size_t i = 0; i < answer.count; i++) {
        char one[64];
        if (answer.addresses[i].ss_family == AF_INET)
            uv_ip4_name((struct sockaddr_in *)&answer.addresses[i], one, sizeof one);
        else
            uv_ip6_name((struct sockaddr_in6 *)&answer.addresses[i], one, sizeof one);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", one);
    }
    return text;
}

/* localhost has the addresses in /etc/hosts, as with getaddrinfo, also after the file has changed. */
static void test_localhost_by_the_hosts_file(void **state)
{
    (void)state;
    char path[] = "/tmp/net-hosts-XXXXXX";
    int fd = mkstemp(path);
    close(fd);
    resolve_set_hosts(path);
    assert_string_equal(localhost_text(), "127.0.0.1 ::1 "); /* an empty file */
    write_hosts(path, "127.0.0.1\tlocalhost\n");
    assert_string_equal(localhost_text(), "127.0.0.1 ");
    write_hosts(path,
                "# 10.0.0.1 localhost\n127.0.0.1 vm localhost.localdomain\nrubbish localhost\n::1 ip6 Localhost # x\n127.0.0.2 "
                "localhost");
    assert_string_equal(localhost_text(), "::1 127.0.0.2 ");
    unlink(path);
    assert_string_equal(localhost_text(), "127.0.0.1 ::1 ");
    assert_int_equal(mkfifo(path, 0600), 0); /* no reader of it may hang */
    assert_string_equal(localhost_text(), "127.0.0.1 ::1 ");
    unlink(path);
    resolve_set_hosts(NULL);
}

/* All lookups of the query were cancelled: the next lookup gets its answer, and begins a new query for the one after. */
static void test_a_late_answer_serves_the_next(void **state)
{
    (void)state;
    struct asked first = { 0 }, next = { 0 }, third = { 0 };
    struct lookup *lookup = resolve_start(&loop, "good.test", on_answer, &first);
    wait_for(&inside, 1);
    resolve_cancel(lookup);
    atomic_store(&gate_open, 1);
    wait_for(&finished, 1);
    run_for(&loop, 10);
    atomic_store(&gate_open, 0);
    resolve_start(&loop, "good.test", on_answer, &next);
    run_until(&loop, &next.done);
    assert_int_equal(next.error, 0);
    assert_int_equal(next.count, 1);
    wait_for(&inside, 1); /* the new one */
    resolve_start(&loop, "good.test", on_answer, &third);
    run_until(&loop, &third.done);
    assert_int_equal(third.error, 0);
    atomic_store(&gate_open, 1);
    wait_for(&finished, 2);
    assert_int_equal(first.done, 0);
}

/* A failure that came late is not kept: by the next round it may be over. */
static void test_a_late_failure_serves_nobody(void **state)
{
    (void)state;
    struct asked first = { 0 }, next = { 0 };
    struct lookup *lookup = resolve_start(&loop, "none.test", on_answer, &first);
    wait_for(&inside, 1);
    resolve_cancel(lookup);
    atomic_store(&gate_open, 1);
    wait_for(&finished, 1);
    run_for(&loop, 10);
    atomic_store(&gate_open, 0);
    resolve_start(&loop, "none.test", on_answer, &next);
    wait_for(&inside, 1);
    run_for(&loop, 10);
    assert_int_equal(next.done, 0);
    atomic_store(&gate_open, 1);
    run_until(&loop, &next.done);
    assert_int_equal(next.error, EAI_NONAME);
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
        asked[i].lookup = ask(i % 3 == 0 ? "none" : "good", i % 50, &asked[i]);
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
        cmocka_unit_test_setup_teardown(test_one_query_for_a_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_names_keep_no_other_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_localhost_needs_no_resolver, setup, teardown),
        cmocka_unit_test_setup_teardown(test_localhost_by_the_hosts_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_late_answer_serves_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_late_failure_serves_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fini_does_not_wait_for_the_resolver, setup, teardown),
        cmocka_unit_test_setup_teardown(test_churn, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
