/* The queue of a notifier, on a clock of the test's own: what is merged, what is dropped, what a reload keeps, and that all of it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/conf/dialect.h"
#include "agent/conf/probe_type.h"
#include "agent/conf/receiver_type.h"
#include "agent/notify/notify.h"
#include "agent/notify/receiver.h"
#include "tests/unit/report/views.h"

enum { MINUTE_MS = 60000, PATIENCE_TURNS = 400, HEARD_MAX = 32 };

/* --- a receiver that keeps what it is given, and runs a program that says yes or no ------------------------------------------------------- */

static struct {
    enum notice_kind kind;
    unsigned left_out, changes;
    bool untold;
    char incident[40];
} heard[HEARD_MAX];
static size_t heard_count;
static const char *program;

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    (void)conf;
    (void)err;
    assert_true(heard_count < HEARD_MAX);
    heard[heard_count].kind = notice->kind;
    heard[heard_count].left_out = notice->left_out;
    heard[heard_count].changes = notice->changes;
    heard[heard_count].untold = notice->untold;
    memcpy(heard[heard_count++].incident, notice->incident, sizeof notice->incident);
    return message_arg(out, program);
}

static bool refused; /* for good */

static int judge(int status, struct slice body, bool *again, struct err *err)
{
    (void)body;
    *again = !refused;
    return status == 0 ? 0 : err_set(err, REASON_AGENT_ERROR, status, "status %d", status);
}

static const struct receiver_type pipe_type = {
    .name = "pipe", .summary = "A pipe", .by = RECEIVER_PROGRAM, .compose = compose, .judge = judge
};
static const struct receiver_type *const receivers[] = { &pipe_type, NULL };
static const struct probe_type ping = { .name = "ping", .summary = "A ping", .by_default = true, .gates = GATE_READY };
static const struct probe_type *const types[] = { &ping, NULL };
static const struct dialect raw = { .name = (char[]){ "raw" } };
static const struct dialect *const dialects[] = { &raw, NULL };

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

static const struct conf_env env = { .probes = types, .dialects = dialects, .getenv = no_env, .receivers = receivers };

/* --- the stage ---------------------------------------------------------------------------------------------------------------------------- */

struct stage {
    struct loop loop;
    struct clock_fake clock;
    struct world world;
    struct notifiers *all;
    const struct notifier_view *view;
};

static const struct agent_view *view_of(void *user)
{
    return &((struct stage *)user)->world.view;
}

static void configure(struct stage *stage, const char *rows)
{
    char text[512];
    struct conf_errors errors;
    struct err err;
    size_t count;

    snprintf(text, sizeof text, "target: { url: ws://h/ }\nnotify: [ %s ]\n", rows);
    conf_errors_init(&errors);
    struct conf *conf = conf_load_text("w.yaml", slice_str(text), &env, &errors);
    if (!conf)
        fail_msg("%s", buf_str(&errors.text));
    conf_errors_fini(&errors);
    struct generation *generation = generation_new(conf, &err);
    assert_non_null(generation);
    conf_unref(conf);
    notifiers_configure(stage->all, generation);
    generation_unref(generation);
    stage->view = notifiers_views(stage->all, &count)[0];
    assert_int_equal(count, 1);
}

static void begin(struct stage *stage, const char *rows)
{
    struct err err;

    memset(stage, 0, sizeof *stage);
    heard_count = 0;
    program = "/bin/true";
    refused = false;
    world_init(&stage->world);
    stage->world.view.nonce = "cafe";
    stage->world.view.diagnosis.cause = "healthy";
    stage->clock = (struct clock_fake){ .mono_ns = 1000 * NS_PER_S, .boot_ns = 1000 * NS_PER_S, .wall_ms = WORLD_MS };
    clock_set_fake(&stage->clock);
    assert_int_equal(loop_init(&stage->loop, &err), 0);
    stage->all = notifiers_new(&stage->loop, view_of, stage);
    configure(stage, rows);
}

static void advance(struct stage *stage, int64_t ms)
{
    stage->clock.mono_ns += (uint64_t)ms * NS_PER_MS;
    stage->clock.boot_ns += (uint64_t)ms * NS_PER_MS;
    stage->clock.wall_ms += ms;
    clock_set_fake(&stage->clock); /* which it copies */
}

static void become(struct stage *stage, const char *word, const char *cause)
{
    struct story_state state = { .word = word, .cause = cause, .live = true, .ready = strcmp(word, "not ready") != 0 };

    snprintf(state.sentence, sizeof state.sentence, "Because of %s", cause);
    stage->world.view.diagnosis.cause = cause;
    notifiers_tell(stage->all, &state);
}

static void on_nap(struct timer *timer, void *user)
{
    (void)timer;
    *(bool *)user = true;
}

/* Turns the loop until nothing waits; the test's clock moves on by a second in each turn, so that pauses end. */
static void deliver(struct stage *stage)
{
    for (int i = 0; i < PATIENCE_TURNS && notifiers_busy(stage->all); i++) {
        struct timer nap = { 0 };
        bool over = false;

        timer_init(&nap, &stage->loop, on_nap, &over);
        timer_start(&nap, 20);
        while (!over)
            uv_run(&stage->loop.uv, UV_RUN_ONCE);
        advance(stage, 1000);
        /* the notifier's timer counts real time: a state that is the same makes it look again */
    }
    assert_false(notifiers_busy(stage->all));
}

/* Turns the loop until so many tries have had that result. */
static void await(struct stage *stage, enum notified result, uint64_t count)
{
    for (int i = 0; i < PATIENCE_TURNS && stage->view->results[result] < count; i++) {
        struct timer nap = { 0 };
        bool over = false;

        timer_init(&nap, &stage->loop, on_nap, &over);
        timer_start(&nap, 20);
        while (!over)
            uv_run(&stage->loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(stage->view->results[result], count);
}

static void end(struct stage *stage)
{
    notifiers_free(stage->all);
    clock_set_fake(NULL);
    loop_fini(&stage->loop);
}

#define ROW "{ type: pipe, name: p, after: 0s, max_per_hour: 120 }"

static void test_told_once_and_ended_once(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, ROW);
    become(&stage, "ready", "healthy");
    become(&stage, "not ready", "server_down");
    assert_int_equal(heard_count, 0); /* never inside the call */
    deliver(&stage);
    advance(&stage, MINUTE_MS);
    become(&stage, "ready", "healthy");
    deliver(&stage);
    assert_int_equal(heard_count, 2);
    assert_int_equal(heard[0].kind, NOTICE_BEGIN);
    assert_int_equal(heard[1].kind, NOTICE_END);
    assert_false(heard[1].untold);
    assert_string_equal(heard[0].incident, "cafe-1");
    assert_string_equal(heard[1].incident, "cafe-1");
    assert_int_equal(stage.view->results[NOTIFIED_SENT], 2);
    end(&stage);
}

static void test_an_end_takes_the_place_of_a_begin(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, ROW);
    become(&stage, "not ready", "server_down");
    advance(&stage, MINUTE_MS);
    become(&stage, "ready", "healthy");
    deliver(&stage);
    assert_int_equal(heard_count, 1);
    assert_int_equal(heard[0].kind, NOTICE_END);
    assert_true(heard[0].untold);
    assert_int_equal(stage.view->results[NOTIFIED_MERGED], 1);
    end(&stage);
}

/* A dozen incidents while nothing can be sent: the newest eight are kept, and the first of them says how many were not. */
static void test_the_queue_is_bounded(void **state)
{
    struct stage stage;
    size_t ends = 0;

    (void)state;
    begin(&stage, ROW);
    for (int i = 0; i < 12; i++) {
        become(&stage, "not ready", "server_down");
        advance(&stage, MINUTE_MS);
        become(&stage, "ready", "healthy");
        advance(&stage, 11 * MINUTE_MS);
    }
    assert_int_equal(stage.view->waiting, NOTIFY_QUEUE_MAX);
    assert_int_equal(stage.view->results[NOTIFIED_DROPPED], 4);
    deliver(&stage);
    assert_int_equal(heard_count, NOTIFY_QUEUE_MAX);
    assert_int_equal(heard[0].left_out, 4);
    for (size_t i = 0; i < heard_count; i++)
        ends += heard[i].kind == NOTICE_END && heard[i].untold;
    assert_int_equal(ends, NOTIFY_QUEUE_MAX);
    end(&stage);
}

static void test_what_is_refused_is_given_up(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, ROW);
    program = "/nonexistent"; /* cannot be run: tried again, for an hour */
    become(&stage, "not ready", "server_down");
    notifiers_leave(stage.all);
    deliver(&stage); /* and once, at the end */
    assert_int_equal(stage.view->results[NOTIFIED_FAILED], 1);
    assert_true(stage.view->failing);
    assert_non_null(strstr(stage.view->error, "cannot run /nonexistent"));
    end(&stage);
}

static void test_a_reload_keeps_the_incident(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, ROW);
    become(&stage, "not ready", "server_down");
    deliver(&stage);
    configure(&stage, "{ type: pipe, name: p, after: 0s, repeat: 1h, max_per_hour: 60 }");
    deliver(&stage);
    assert_int_equal(heard_count, 1);
    become(&stage, "ready", "healthy");
    deliver(&stage);
    assert_int_equal(heard_count, 2);
    assert_string_equal(heard[1].incident, heard[0].incident);
    configure(&stage, "{ type: pipe, name: another, after: 0s }");
    become(&stage, "not ready", "server_down");
    end(&stage); /* with one that waits */
}

/* Of what is too much for the queue, the end that somebody waits for goes last. */
static void test_the_end_of_what_was_told_is_kept(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, ROW);
    become(&stage, "not ready", "server_down");
    deliver(&stage);
    for (int i = 0; i < 12; i++) {
        advance(&stage, MINUTE_MS);
        become(&stage, "ready", "healthy");
        advance(&stage, 11 * MINUTE_MS);
        become(&stage, "not ready", "server_down");
    }
    assert_int_equal(stage.view->waiting, NOTIFY_QUEUE_MAX);
    deliver(&stage);
    assert_int_equal(heard[1].kind, NOTICE_END);
    assert_string_equal(heard[1].incident, heard[0].incident);
    assert_false(heard[1].untold);
    end(&stage);
}

/* A receiver that is down for two hours hears of the fault that lasts, and of the end of what it was told. */
static void test_what_is_so_is_not_given_up_after_an_hour(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, ROW);
    for (int turn = 0; turn < 2; turn++) {
        const char *word = turn ? "ready" : "not ready", *cause = turn ? "healthy" : "server_down";

        program = "/bin/false";
        become(&stage, word, cause);
        await(&stage, NOTIFIED_RETRIED, 2 * (uint64_t)turn + 1);
        advance(&stage, 120 * MINUTE_MS);
        become(&stage, word, cause);
        await(&stage, NOTIFIED_RETRIED, 2 * (uint64_t)turn + 2);
        program = "/bin/true";
        advance(&stage, MINUTE_MS);
        become(&stage, word, cause);
        deliver(&stage);
        assert_int_equal(stage.view->results[NOTIFIED_SENT], turn + 1);
    }
    assert_int_equal(stage.view->results[NOTIFIED_FAILED], 0);
    assert_int_equal(heard[heard_count - 1].kind, NOTICE_END);
    assert_false(heard[heard_count - 1].untold);
    end(&stage);
}

/* Where `on` does not name ready, no end takes the place of a begin: it is not told a day late. */
static void test_what_is_over_is_given_up_after_an_hour(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, "{ type: pipe, name: p, after: 0s, on: [not_ready] }");
    program = "/bin/false";
    become(&stage, "not ready", "server_down");
    await(&stage, NOTIFIED_RETRIED, 1);
    become(&stage, "ready", "healthy");
    advance(&stage, 120 * MINUTE_MS);
    become(&stage, "ready", "healthy");
    await(&stage, NOTIFIED_FAILED, 1);
    assert_int_equal(stage.view->waiting, 0);
    end(&stage);
}

/* The webhook's URL was wrong, and is put right: the fault that lasts is told at once, and only once. */
static void test_a_reload_tells_what_was_refused(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, ROW);
    program = "/bin/false";
    refused = true;
    become(&stage, "not ready", "server_down");
    await(&stage, NOTIFIED_FAILED, 1);
    program = "/bin/true";
    configure(&stage, ROW); /* nothing has changed */
    deliver(&stage);
    assert_int_equal(heard_count, 1);
    configure(&stage, "{ type: pipe, name: p, after: 0s, max_per_hour: 120, timeout: 9s }");
    deliver(&stage);
    assert_int_equal(heard_count, 2);
    assert_int_equal(heard[1].kind, NOTICE_BEGIN);
    assert_int_equal(heard[1].left_out, 1);
    configure(&stage, ROW);
    deliver(&stage);
    assert_int_equal(heard_count, 2);
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_once_and_ended_once),
        cmocka_unit_test(test_an_end_takes_the_place_of_a_begin),
        cmocka_unit_test(test_the_queue_is_bounded),
        cmocka_unit_test(test_what_is_refused_is_given_up),
        cmocka_unit_test(test_a_reload_keeps_the_incident),
        cmocka_unit_test(test_the_end_of_what_was_told_is_kept),
        cmocka_unit_test(test_what_is_so_is_not_given_up_after_an_hour),
        cmocka_unit_test(test_a_reload_tells_what_was_refused),
        cmocka_unit_test(test_what_is_over_is_given_up_after_an_hour),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
