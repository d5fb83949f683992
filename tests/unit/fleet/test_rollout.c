/* Is a roll-out under way (agent/fleet/rollout.h)? */
#include "tests/unit/fleet/group.h"

#include "agent/fleet/rollout.h"

enum { BEGIN_MS = 5000000, LONG_MS = 4000000 };

struct stage {
    struct members *members;
    struct rollout rollout;
    uint64_t now_ms, seq;
};

/* A run of that age. */
static void say(struct stage *stage, const char *who, const char *version, enum fleet_word word, uint64_t age_ms)
{
    struct summary summary = group_summary(who, ++stage->seq);
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);
    const struct member *member = NULL;

    summary.sent_ms = WALL + (int64_t)stage->now_ms;
    summary.run_ms = (uint64_t)summary.sent_ms - age_ms;
    summary.word = word;
    snprintf(summary.release, sizeof summary.release, "%s", version);
    summary_write(&summary, NO_KEY, &line);
    members_take(stage->members, buf_slice(&line), NO_KEY, stage->now_ms, WALL + (int64_t)stage->now_ms, &member, NULL);
    buf_fini(&line);
    assert_non_null(member);
    rollout_note(&stage->rollout, member, stage->now_ms);
}

static struct rollout_found judge(struct stage *stage)
{
    struct rollout_own own = { .id = "own", .version = "1.4", .begun_ms = 1, .version_ms = 1 };
    struct rollout_found found;

    rollout_judge(&stage->rollout, stage->members, &own, stage->now_ms, &found);
    return found;
}

static struct stage begin(void)
{
    struct stage stage = { .members = group_table("own"), .now_ms = BEGIN_MS };

    for (char who = 'a'; who <= 'e'; who++)
        say(&stage, (char[]){ who, 0 }, "1.4", FLEET_READY, LONG_MS);
    return stage;
}

static void assert_says(const struct rollout_found *found, const char *want)
{
    char text[224];

    rollout_say(found, text, sizeof text);
    assert_string_equal(text, want);
}

static void test_drained_and_restarted_with_another_version(void **state)
{
    struct stage stage = begin();
    struct rollout_found found = judge(&stage);

    (void)state;
    assert_false(found.under_way || found.announced);
    assert_says(&found, "");
    say(&stage, "a", "1.4", FLEET_DRAINING, LONG_MS);
    found = judge(&stage);
    assert_true(found.under_way && found.announced);
    assert_says(&found, "a roll-out is under way: 1 of 6 instances drained or restarted in the last 10 minutes");
    stage.now_ms += 1000;
    say(&stage, "b", "1.4", FLEET_LEFT, LONG_MS);
    stage.now_ms += 1000;
    say(&stage, "a", "1.5", FLEET_READY, 100);
    say(&stage, "b", "1.5", FLEET_READY, 100);
    found = judge(&stage);
    assert_says(&found, "a roll-out is under way: 2 of 6 instances drained or restarted in the last 10 minutes, 1.4 → 1.5");
    assert_int_equal(found.versions, 2);
    assert_int_equal(found.since_ms, BEGIN_MS);
    /* It is remembered longer than the table remembers anybody, and not for ever. */
    stage.now_ms += 300000;
    members_sweep(stage.members, stage.now_ms);
    assert_int_equal(members_count(stage.members), 0);
    found = judge(&stage);
    assert_true(found.announced);
    assert_int_equal(found.changed, 2);
    stage.now_ms += 300000;
    found = judge(&stage);
    assert_false(found.under_way || found.announced);
    members_free(stage.members);
}

/* Another run, and no word before it. */
static void test_a_crash_announces_nothing(void **state)
{
    struct stage stage = begin();
    struct rollout_found found;

    (void)state;
    stage.now_ms += 1000;
    say(&stage, "a", "1.4", FLEET_READY, 100);
    found = judge(&stage);
    assert_true(found.under_way);
    assert_false(found.announced);
    assert_int_equal(found.changed, 1);
    assert_says(&found, "");
    members_free(stage.members);
}

/* Two versions for good: a canary. It crashes, and that announces nothing either. */
static void test_a_canary_is_no_news(void **state)
{
    struct stage stage = begin();
    struct rollout_found found;

    (void)state;
    say(&stage, "f", "1.5", FLEET_READY, LONG_MS - 1000000);
    found = judge(&stage);
    assert_true(found.under_way);
    assert_false(found.announced);
    assert_says(&found, "the instances differ in their versions: 1.4 → 1.5");
    stage.now_ms += 1000;
    say(&stage, "f", "1.5", FLEET_READY, 100);
    found = judge(&stage);
    assert_false(found.announced);
    say(&stage, "a", "1.6", FLEET_READY, 100);
    found = judge(&stage);
    assert_true(found.announced);
    assert_says(&found,
                "a roll-out is under way: 2 of 7 instances drained or restarted in the last 10 minutes, 1.4 → 1.6 and others");
    members_free(stage.members);
}

/* A version that is another one after a reload, and watchers, which are no instances. */
static void test_a_reload_and_watchers(void **state)
{
    struct stage stage = begin();
    struct rollout_found found;
    struct summary watcher = group_summary("w", 1);
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);
    const struct member *member = NULL;

    (void)state;
    watcher.watcher = true;
    watcher.word = FLEET_LEFT;
    summary_write(&watcher, NO_KEY, &line);
    members_take(stage.members, buf_slice(&line), NO_KEY, stage.now_ms, WALL, &member, NULL);
    buf_fini(&line);
    rollout_note(&stage.rollout, member, stage.now_ms);
    found = judge(&stage);
    assert_false(found.under_way);
    stage.now_ms += 1000;
    say(&stage, "a", "1.5", FLEET_READY, LONG_MS + 1000);
    found = judge(&stage);
    assert_true(found.announced);
    assert_says(&found, "a roll-out is under way: 1.4 → 1.5");
    members_free(stage.members);
}

/* However many go, and whatever they call themselves. */
static void test_it_is_bounded(void **state)
{
    struct stage stage = begin();
    struct rollout_found found;

    (void)state;
    for (unsigned i = 0; i < 3 * ROLLOUT_GONE_MAX; i++) {
        char who[16], version[16];

        snprintf(who, sizeof who, "x%u", i);
        snprintf(version, sizeof version, "v%u", i);
        stage.now_ms += 10;
        say(&stage, who, version, FLEET_LEFT, 1000);
    }
    found = judge(&stage);
    assert_true(found.announced);
    assert_int_equal(found.changed, ROLLOUT_GONE_MAX);
    assert_true(found.of >= found.changed);
    members_free(stage.members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drained_and_restarted_with_another_version),
        cmocka_unit_test(test_a_crash_announces_nothing),
        cmocka_unit_test(test_a_canary_is_no_news),
        cmocka_unit_test(test_a_reload_and_watchers),
        cmocka_unit_test(test_it_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
