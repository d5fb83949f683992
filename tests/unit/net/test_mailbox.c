/* The mailbox: order, ceilings, answers above them, a thread that never stops posting, and closing with mails and threads under way. */
#include "tests/unit/net/support.h"

#include <pthread.h>
#include <stdlib.h>

#include "agent/net/mailbox.h"
#include "agent/net/thread.h"

enum { MANY = 20000 };

struct note {
    struct mail base;
    int number;
};

struct user {
    struct mailbox *box;
    int got, last, sum, closed, close_at, lost;
};

static struct loop loop;
static int discarded;

static struct note *note_new(int number, size_t bytes)
{
    struct note *note = mem_alloc(sizeof *note);
    note->number = number;
    note->base.bytes = bytes;
    return note;
}

static void discard(struct mail *mail)
{
    __atomic_add_fetch(&discarded, 1, __ATOMIC_RELAXED);
    mem_free(list_entry(mail, struct note, base));
}

static void on_mail(void *user, struct mail *mail)
{
    struct user *self = user;
    struct note *note = list_entry(mail, struct note, base);
    self->got++;
    self->last = note->number;
    self->sum += note->number;
    mem_free(note);
    if (self->got == self->close_at)
        mailbox_close(self->box);
}

static void on_closed(void *user)
{
    ((struct user *)user)->closed = 1;
}

static void on_lost(void *user, size_t count)
{
    ((struct user *)user)->lost += (int)count;
}

static const struct mailbox_type type = { on_mail, on_closed, discard, .max_mails = 8, .max_bytes = 1000, .on_lost = on_lost };
static const struct mailbox_type roomy = { on_mail, on_closed, discard, .max_mails = MANY * 2, .max_bytes = 1 << 30 };

static int setup(void **state)
{
    (void)state;
    discarded = 0;
    return loop_init(&loop, NULL);
}

static int teardown(void **state)
{
    (void)state;
    loop_fini(&loop);
    return 0;
}

static void close_box(struct user *user)
{
    mailbox_close(user->box);
    assert_int_equal(user->closed, 0);
    run_until(&loop, &user->closed);
}

static void test_to_the_loop_in_order(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    for (int i = 1; i <= 3; i++)
        assert_int_equal(mailbox_post(user.box, &note_new(i, 1)->base), 0);
    assert_int_equal(user.got, 0); /* never inside the call */
    while (user.got < 3)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(user.last, 3);
    assert_int_equal(user.sum, 6);
    close_box(&user);
    assert_int_equal(discarded, 0);
}

static void test_ceilings(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    for (int i = 0; i < 8; i++)
        assert_int_equal(mailbox_post(user.box, &note_new(i, 1)->base), 0);
    struct note *ninth = note_new(9, 1);
    assert_int_equal(mailbox_post(user.box, &ninth->base), -1);
    ninth->base.owed = true;
    assert_int_equal(mailbox_post(user.box, &ninth->base), 0);
    /* The other direction has a ceiling of its own, in bytes too. */
    assert_int_equal(mailbox_send(user.box, &note_new(1, 600)->base), 0);
    struct note *heavy = note_new(2, 401);
    assert_int_equal(mailbox_send(user.box, &heavy->base), -1);
    heavy->base.bytes = 400;
    assert_int_equal(mailbox_send(user.box, &heavy->base), 0);
    /* What was taken makes room again. */
    struct mail *taken = mailbox_take_now(user.box);
    assert_non_null(taken);
    assert_int_equal(list_entry(taken, struct note, base)->number, 1);
    discard(taken);
    assert_int_equal(mailbox_send(user.box, &note_new(3, 600)->base), 0);
    close_box(&user);
    assert_int_equal(user.got, 0); /* closed before the loop turned */
    assert_int_equal(discarded, 1 + 9 + 2);
}

static void *echo_thread(void *arg)
{
    struct mailbox *box = arg;
    for (struct mail *mail; (mail = mailbox_take(box));) {
        mail->owed = true;
        if (mailbox_post(box, mail))
            discard(mail);
    }
    mailbox_unref(box);
    return NULL;
}

static void test_there_and_back(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.box = mailbox_new(&loop, &roomy, &user, NULL);
    assert_int_equal(thread_start(echo_thread, mailbox_ref(user.box)), 0);
    for (int i = 1; i <= MANY; i++)
        assert_int_equal(mailbox_send(user.box, &note_new(1, 10)->base), 0);
    while (user.got < MANY)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(user.sum, MANY);
    close_box(&user);
}

static int threads_left;
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t counted = PTHREAD_COND_INITIALIZER;

static void thread_over(void)
{
    pthread_mutex_lock(&counting);
    threads_left--;
    pthread_cond_signal(&counted);
    pthread_mutex_unlock(&counting);
}

static void await_threads(void)
{
    pthread_mutex_lock(&counting);
    while (threads_left > 0)
        pthread_cond_wait(&counted, &counting);
    pthread_mutex_unlock(&counting);
}

/* Posts without pause until the box is closed. */
static void *flood_thread(void *arg)
{
    struct mailbox *box = arg;
    while (!mailbox_closed(box)) {
        struct note *note = note_new(1, 1);
        if (mailbox_post(box, &note->base))
            mem_free(note);
    }
    mailbox_unref(box);
    thread_over();
    return NULL;
}

static void test_a_flood_leaves_the_loop_its_timers(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    threads_left = 2;
    for (int i = 0; i < 2; i++)
        assert_int_equal(thread_start(flood_thread, mailbox_ref(user.box)), 0);
    run_for(&loop, 50);
    assert_true(user.got > 0);
    close_box(&user);
    await_threads();
}

/* One turn hands over so many mails, or so many bytes, and no more; the rest comes in the next ones, and in order. */
static void test_a_turn_has_a_budget(void **state)
{
    enum { LETTERS = 3000, MAILS_PER_TURN = 256, BIG = 10, BIG_BYTES = 600 << 10, BIG_PER_TURN = 2 };
    static const struct {
        int count, most;
        size_t bytes;
    } rows[] = { { LETTERS, MAILS_PER_TURN, 1 }, { BIG, BIG_PER_TURN, BIG_BYTES } };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct user user = { 0 };
        user.box = mailbox_new(&loop, &roomy, &user, NULL);
        for (int j = 1; j <= rows[i].count; j++)
            assert_int_equal(mailbox_post(user.box, &note_new(j, rows[i].bytes)->base), 0);
        while (user.got < rows[i].count) {
            int before = user.got;
            uv_run(&loop.uv, UV_RUN_NOWAIT);
            if (user.got - before > rows[i].most)
                fail_msg("%d mails of %zu bytes in one turn, want at most %d", user.got - before, rows[i].bytes, rows[i].most);
            assert_int_equal(user.last, user.got);
        }
        close_box(&user);
    }
}

/* on_lost gives the number of mails above the ceiling and of those that mailbox_lost has counted; accepted mails and answers are
 * not in it. */
static void test_what_is_lost_is_told(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    for (int i = 0; i < 8; i++)
        assert_int_equal(mailbox_post(user.box, &note_new(i, 1)->base), 0);
    struct note *note = note_new(9, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mailbox_post(user.box, &note->base), -1);
    note->base.owed = true;
    assert_int_equal(mailbox_post(user.box, &note->base), 0);
    assert_int_equal(user.lost, 0); /* never inside the call */
    while (user.got < 9)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(user.lost, 3);
    mailbox_lost(user.box, 40);
    while (user.lost < 43)
        uv_run(&loop.uv, UV_RUN_ONCE);
    close_box(&user);
    assert_int_equal(user.lost, 43);
}

/* In order and below the ceiling, as one by one; what is too much is freed and told. */
static void test_many_at_once(void **state)
{
    struct user user = { 0 };
    struct list mails;
    (void)state;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    for (int round = 0; round < 2; round++) {
        list_init(&mails);
        for (int i = 1; i <= 10; i++)
            list_push(&mails, &note_new(i, 1)->base.node);
        mailbox_post_all(user.box, &mails);
        assert_true(list_empty(&mails));
        while (user.got < 8 * (round + 1))
            uv_run(&loop.uv, UV_RUN_ONCE);
        assert_int_equal(user.last, 8);
    }
    assert_int_equal(user.lost, 4);
    assert_int_equal(discarded, 4);
    mailbox_ref(user.box);
    close_box(&user);
    list_push(&mails, &note_new(1, 1)->base.node);
    mailbox_post_all(user.box, &mails);
    mailbox_unref(user.box);
    assert_int_equal(user.got, 16);
    assert_int_equal(discarded, 5);
}

static void test_closing_in_a_callback_discards_the_rest(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.close_at = 2;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(mailbox_post(user.box, &note_new(i, 1)->base), 0);
    run_until(&loop, &user.closed);
    assert_int_equal(user.got, 2);
    assert_int_equal(discarded, 3);
}

/* A thread that returns from a long call after the loop has closed the mailbox, or has ended. */
static void *late_thread(void *arg)
{
    struct mailbox *box = arg;
    struct timespec nap = { .tv_nsec = 100000000 };
    nanosleep(&nap, NULL);
    struct note *note = note_new(1, 1);
    if (mailbox_post(box, &note->base) == -1)
        discard(&note->base);
    assert_null(mailbox_take(box));
    assert_null(mailbox_take_now(box));
    assert_true(mailbox_closed(box));
    mailbox_unref(box);
    thread_over();
    return NULL;
}

static void test_a_late_thread_finds_it_closed(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    threads_left = 1;
    assert_int_equal(thread_start(late_thread, mailbox_ref(user.box)), 0);
    assert_int_equal(mailbox_send(user.box, &note_new(7, 1)->base), 0);
    close_box(&user);
    await_threads();
    assert_int_equal(user.got, 0);
    assert_int_equal(discarded, 2);
}

/* A thread that waits is woken by closing. */
static void *waiting_thread(void *arg)
{
    struct mailbox *box = arg;
    assert_null(mailbox_take(box));
    mailbox_unref(box);
    thread_over();
    return NULL;
}

static void test_closing_wakes_who_waits(void **state)
{
    struct user user = { 0 };
    (void)state;
    user.box = mailbox_new(&loop, &type, &user, NULL);
    threads_left = 1;
    assert_int_equal(thread_start(waiting_thread, mailbox_ref(user.box)), 0);
    run_for(&loop, 10);
    close_box(&user);
    await_threads();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_to_the_loop_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceilings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_leaves_the_loop_its_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_turn_has_a_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_lost_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closing_in_a_callback_discards_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_late_thread_finds_it_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closing_wakes_who_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
