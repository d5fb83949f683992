/* The link over a broker that lives in this test: what is published comes to all who listen, in a later turn of the loop. */

#include <stdlib.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/mem.h"
#include "agent/fleet/link.h"
#include "tests/unit/fleet/group.h"

enum { AGENTS = 3, STEP_MS = 10, PATIENCE_MS = 20000, SHORT_MS = 100, QUEUE_MAX = 4096 };

/* --- the broker --- */

static struct loop loop;
static struct bus {
    struct broker *brokers[AGENTS];
    size_t count;
    struct buf queue[QUEUE_MAX];
    size_t queued;
    struct timer turn;
} bus;

static void deliver(struct timer *timer, void *user)
{
    size_t queued = bus.queued;
    struct buf taken[QUEUE_MAX];

    (void)timer;
    (void)user;
    memcpy(taken, bus.queue, queued * sizeof taken[0]);
    bus.queued = 0;
    for (size_t i = 0; i < queued; i++) {
        for (size_t j = 0; j < bus.count; j++)
            if (broker_is_up(bus.brokers[j]))
                broker_message(bus.brokers[j], slice_str("wshealthd.fleet.chat"), buf_slice(&taken[i]), clock_now_ns());
        buf_fini(&taken[i]);
    }
}

static void say(struct slice body)
{
    assert_true(bus.queued < QUEUE_MAX);
    bus.queue[bus.queued] = BUF_INIT(BROKER_BODY_MAX);
    buf_append_slice(&bus.queue[bus.queued++], body);
    timer_start(&bus.turn, 0);
}

struct puppet {
    struct timer timer;
    struct broker *broker;
    bool closes, subscribes;
    uint64_t token;
};

static void on_puppet(struct timer *timer, void *user)
{
    struct puppet *puppet = user;

    (void)timer;
    if (puppet->closes) {
        broker_closed(puppet->broker);
        return;
    }
    broker_up(puppet->broker);
    broker_subscribed(puppet->broker, slice_str("wshealthd.fleet.chat"), NULL);
}

static int puppet_open(struct broker *broker, struct err *err)
{
    struct puppet *puppet = broker_state(broker);

    (void)err;
    puppet->broker = broker;
    timer_init(&puppet->timer, broker_loop(broker), on_puppet, puppet);
    timer_start(&puppet->timer, 0);
    return 0;
}

static int puppet_ping(struct broker *broker)
{
    (void)broker;
    return 0;
}

static int puppet_publish(struct broker *broker, struct slice topic, struct slice body, uint64_t token)
{
    (void)broker;
    (void)topic;
    (void)token; /* never answered: nobody may wait for it */
    say(body);
    return 0;
}

static int puppet_subscribe(struct broker *broker, struct slice topic)
{
    assert_true(broker_topic_in_batches(broker, topic)); /* what a fleet of many costs depends on it */
    return 0;
}

static void puppet_close(struct broker *broker)
{
    struct puppet *puppet = broker_state(broker);

    puppet->closes = true;
    timer_start(&puppet->timer, 0);
}

static const struct broker_type puppet_type = { .name = "puppet",
                                                .schemes = "puppet",
                                                .state_size = sizeof(struct puppet),
                                                .open = puppet_open,
                                                .ping = puppet_ping,
                                                .publish = puppet_publish,
                                                .subscribe = puppet_subscribe,
                                                .unsubscribe = puppet_subscribe,
                                                .close = puppet_close };
static const struct broker_conf broker_conf = { .name = (char[]){ "bus" },
                                                .type = &puppet_type,
                                                .url = (char[]){ "puppet://x" },
                                                .timeout_ms = 2000,
                                                .retry_min_ms = 60000,
                                                .retry_max_ms = 60000 };

/* --- agents --- */

static struct agent {
    struct fleet_link *link;
    struct fleet_own own;
    struct fleet_judgement judgement;
} agents[AGENTS];

static void look(void *user)
{
    struct agent *agent = user;

    fleet_link_judge(agent->link, &agent->own, &agent->judgement);
    const struct fleet_say words = { .word = agent->own.fault && agent->judgement.stand == FLEET_STAND_OUT ? FLEET_NOT_READY
                                             : agent->own.fault                                            ? FLEET_DEGRADED
                                                                                                           : FLEET_READY,
                                     .cause = agent->own.fault ? "server_down" : "",
                                     .scope = agent->own.fault ? SCOPE_LOCAL : SCOPE_NONE };
    fleet_link_tell(agent->link, &words);
}

static void join(size_t i, const char *key, uint32_t min)
{
    static const char *const ids[AGENTS] = { "chat-1", "chat-2", "chat-3" };
    const struct fleet_conf conf = { .broker = (char[]){ "bus" },
                                     .group = (char[]){ "chat" },
                                     .every_ms = SHORT_MS,
                                     .expire_ms = 10 * SHORT_MS,
                                     .key = (char *)(uintptr_t)key };
    const struct fleet_link_options options = { .loop = &loop,
                                                .broker = bus.brokers[i],
                                                .conf = &conf,
                                                .id = ids[i],
                                                .region = i < 2 ? "eu" : "us",
                                                .version = "0.3.0",
                                                .min = { min, false },
                                                .on_news = look,
                                                .user = &agents[i] };

    agents[i] = (struct agent){ .own = { .counts = true, .cause = "" } };
    agents[i].link = fleet_link_new(&options);
    look(&agents[i]);
}

static void stop_loop(struct timer *timer, void *user)
{
    (void)timer;
    (void)user;
    loop_stop(&loop);
}

static void run(uint64_t ms)
{
    struct timer timer = { 0 };

    timer_init(&timer, &loop, stop_loop, NULL);
    timer_start(&timer, ms);
    loop_run(&loop);
}

/* Until it holds; the test fails only after PATIENCE_MS. */
#define AWAIT(condition)                                                 \
    do {                                                                 \
        uint64_t begun_ms_ = clock_now_ms();                             \
        while (!(condition) && clock_now_ms() - begun_ms_ < PATIENCE_MS) \
            run(STEP_MS);                                                \
        assert_true(condition);                                          \
    } while (0)

static const struct fleet_view *view_of(size_t i)
{
    return fleet_link_view(agents[i].link);
}

static uint64_t ignored(size_t i, const char *name)
{
    const struct fleet_view *view = view_of(i);

    for (size_t j = 0; j < view->refusal_count; j++)
        if (strcmp(view->refusals[j].name, name) == 0)
            return view->refusals[j].count;
    fail_msg("no %s", name);
    return 0;
}

static int set_up(void **state)
{
    struct err err;

    (void)state;
    memset(&bus, 0, sizeof bus);
    assert_int_equal(loop_init(&loop, &err), 0);
    timer_init(&bus.turn, &loop, deliver, NULL);
    for (bus.count = 0; bus.count < AGENTS; bus.count++) {
        bus.brokers[bus.count] = broker_new(&loop, &broker_conf, NULL);
        broker_start(bus.brokers[bus.count]);
    }
    return 0;
}

static void on_freed(void *user)
{
    ++*(size_t *)user;
}

static int tear_down(void **state)
{
    size_t freed = 0;

    (void)state;
    for (size_t i = 0; i < AGENTS; i++) {
        fleet_link_free(agents[i].link);
        agents[i].link = NULL;
    }
    for (size_t i = 0; i < AGENTS; i++)
        broker_free(bus.brokers[i], on_freed, &freed);
    while (freed < AGENTS)
        run(1);
    for (size_t i = 0; i < bus.queued; i++)
        buf_fini(&bus.queue[i]);
    loop_fini(&loop);
    return 0;
}

/* --- tests --- */

static void agents_of_one_group_find_each_other_and_say_goodbye(void **state)
{
    struct fleet_member_view member;

    (void)state;
    join(0, NULL, 0);
    join(1, NULL, 0);
    join(2, NULL, 0);
    AWAIT(view_of(0)->linked && view_of(0)->member_count == 3 && view_of(2)->member_count == 3);
    assert_int_equal(view_of(2)->region_count, 2);
    assert_string_equal(view_of(2)->regions[0].region, "us");
    AWAIT(view_of(2)->regions[1].ready == 2);
    view_of(2)->member_at(view_of(2)->fleet, 0, &member);
    assert_true(member.self);
    assert_string_equal(member.id, "chat-3");
    fleet_link_leave(agents[0].link);
    AWAIT(view_of(2)->regions[1].ready == 1);
    assert_int_equal(view_of(2)->regions[1].silent, 0);
}

static void a_fault_is_held_where_too_few_remain(void **state)
{
    (void)state;
    join(0, NULL, 1);
    join(1, NULL, 1);
    AWAIT(view_of(0)->linked && view_of(1)->linked && view_of(0)->member_count == 2 && view_of(1)->member_count == 2);
    agents[0].own = (struct fleet_own){ .counts = true, .fault = true, .cause = "server_down" };
    look(&agents[0]);
    assert_int_equal(agents[0].judgement.stand, FLEET_STAND_ASKS);
    AWAIT(agents[0].judgement.stand == FLEET_STAND_OUT);
    agents[1].own = (struct fleet_own){ .counts = true, .fault = true, .cause = "server_down" };
    look(&agents[1]);
    AWAIT(agents[1].judgement.stand == FLEET_STAND_HELD);
    assert_true(view_of(1)->held);
    assert_non_null(strstr(view_of(1)->sentence, "min_ready wants 1"));
}

static void without_the_broker_the_own_verdict_holds_at_once(void **state)
{
    struct err err;

    (void)state;
    join(0, NULL, 2);
    join(1, NULL, 2);
    AWAIT(view_of(0)->linked && view_of(0)->member_count == 2);
    agents[0].own = (struct fleet_own){ .counts = true, .fault = true, .cause = "server_down" };
    look(&agents[0]);
    assert_int_equal(agents[0].judgement.stand, FLEET_STAND_ASKS);
    err_set(&err, REASON_BROKER_UNREACHABLE, 0, "it is gone");
    broker_down(bus.brokers[0], &err);
    look(&agents[0]);
    assert_int_equal(agents[0].judgement.stand, FLEET_STAND_OWN);
    assert_false(view_of(0)->linked);
    assert_non_null(strstr(view_of(0)->why, "it is gone"));
    assert_string_equal(view_of(0)->mode, "unlinked");
}

/* chat-3 says that nothing comes to it; chat-1 hears chat-2. */
static size_t found_while_one_is_dark(void)
{
    static uint64_t seq;
    struct fleet_heard heard = {
        .whole = true, .region = "eu", .count = 1, .cells = { { .who = fleet_hash("chat-2"), .got = 3 } }
    };
    struct summary summary = group_summary("chat-3", ++seq);
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);

    summary.row[0] = (struct summary_source){ .who = fleet_hash("chat-1"), .lost = 3, .late_ms = SUMMARY_UNKNOWN };
    summary.row[1] = (struct summary_source){ .who = fleet_hash("chat-2"), .lost = 3, .late_ms = SUMMARY_UNKNOWN };
    summary.row_count = 2;
    assert_int_equal(summary_write(&summary, NO_KEY, &line), 0);
    say(buf_slice(&line));
    buf_fini(&line);
    fleet_link_hear(agents[0].link, &heard);
    return view_of(0)->finding_count;
}

/* What is logged between the two. */
static FILE *log_file;
static int log_kept;

static void log_begin(void)
{
    log_file = tmpfile();
    log_kept = dup(STDERR_FILENO);
    if (!log_file || log_kept < 0 || dup2(fileno(log_file), STDERR_FILENO) < 0)
        abort();
    log_configure(LOG_INFO, LOG_LOGFMT);
}

static void log_end(char out[4096])
{
    ssize_t len;

    log_configure(LOG_ERROR, LOG_LOGFMT);
    dup2(log_kept, STDERR_FILENO);
    close(log_kept);
    len = pread(fileno(log_file), out, 4095, 0);
    fclose(log_file);
    assert_true(len >= 0);
    out[len] = 0;
}

/* Whoever reads of an end believes that it is well again. */
static void without_the_broker_nothing_is_over(void **state)
{
    char log[4096];
    struct err err;

    (void)state;
    log_begin();
    join(0, NULL, 0);
    join(1, NULL, 0);
    AWAIT(found_while_one_is_dark() == 1);
    err_set(&err, REASON_BROKER_UNREACHABLE, 0, "it is gone");
    broker_down(bus.brokers[0], &err);
    AWAIT(found_while_one_is_dark() == 0);
    log_end(log);
    assert_non_null(strstr(log, "event=fleet_finding cause=instance_receives_nothing"));
    assert_non_null(strstr(log, "event=fleet_lost"));
    assert_null(strstr(log, "event=fleet_finding_over"));
}

static bool twin_has_spoken(void)
{
    static uint64_t seq;
    struct summary summary = group_summary("chat-1", ++seq);
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);

    assert_int_equal(summary_write(&summary, NO_KEY, &line), 0);
    say(buf_slice(&line));
    buf_fini(&line);
    return view_of(0)->own_twin;
}

/* Not for each of its lines. */
static void a_twin_is_told_once(void **state)
{
    static const char told[] = "event=fleet_twin";
    char log[4096], *first;
    int more = 0;

    (void)state;
    log_begin();
    join(0, NULL, 0);
    AWAIT(twin_has_spoken());
    AWAIT(twin_has_spoken() && ++more > 5);
    log_end(log);
    first = strstr(log, told);
    assert_non_null(first);
    assert_null(strstr(first + 1, told));
}

static void garbage_and_floods_change_nothing(void **state)
{
    (void)state;
    join(0, NULL, 0);
    join(1, NULL, 0);
    AWAIT(view_of(0)->linked && view_of(0)->member_count == 2);
    for (int i = 0; i < 2 * LINK_BURST; i++)
        say(slice_str("wshf1 id=\x01"));
    AWAIT(ignored(0, "flood") > 0 && ignored(0, "garbage") > 0);
    assert_int_equal(view_of(0)->member_count, 2);
    AWAIT(view_of(0)->linked);
}

static void another_key_is_another_fleet(void **state)
{
    (void)state;
    join(0, "the first key", 0);
    join(1, "the second key", 0);
    join(2, NULL, 0);
    AWAIT(view_of(0)->linked && ignored(0, "bad_signature") > 0 && ignored(0, "unsigned") > 0);
    assert_int_equal(view_of(0)->member_count, 1);
    AWAIT(strstr(view_of(0)->sentence, "none is believed") && view_of(0)->linked);
    AWAIT(view_of(2)->member_count == 3); /* it asks for no signature */
    assert_string_equal(view_of(2)->sentence, "");
}

static void strangers_regions_are_counted_together(void **state)
{
    (void)state;
    join(0, NULL, 0);
    AWAIT(view_of(0)->linked);
    for (unsigned i = 0; i < 100; i++) {
        struct summary summary = group_summary("x", 1);
        struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);

        snprintf(summary.id, sizeof summary.id, "x-%u", i);
        snprintf(summary.region, sizeof summary.region, "r-%u", i);
        assert_int_equal(summary_write(&summary, NO_KEY, &line), 0);
        say(buf_slice(&line));
        buf_fini(&line);
    }
    AWAIT(view_of(0)->member_count == 101);
    AWAIT(view_of(0)->region_count == LINK_REGIONS_MAX + 1);
    assert_string_equal(view_of(0)->regions[0].region, "eu");
    assert_string_equal(view_of(0)->regions[LINK_REGIONS_MAX].region, "other");
    assert_int_equal(view_of(0)->regions[LINK_REGIONS_MAX].ready, 100 - LINK_REGIONS_MAX + 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(agents_of_one_group_find_each_other_and_say_goodbye, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fault_is_held_where_too_few_remain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_the_broker_the_own_verdict_holds_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_the_broker_nothing_is_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_twin_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_and_floods_change_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_key_is_another_fleet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_regions_are_counted_together, set_up, tear_down),
    };
    log_configure(LOG_ERROR, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
