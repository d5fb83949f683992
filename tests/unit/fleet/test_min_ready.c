/* The rule of min_ready by hand: who goes, who is held, who comes back, and when there is no rule. What happens at random: test_simulation.c. */
#include "tests/unit/fleet/group.h"

#include "agent/fleet/min_ready.h"

#define KEY INT64_C(1764226228000)

/* chat-1 with a fault, and others a, b, c, …. Its summaries come back at once. */
struct stage {
    struct members *members;
    struct min_ready own;
    struct min_ready_input input;
    uint64_t seq;
};

static void publish(struct stage *stage)
{
    struct summary summary = group_summary("chat-1", ++stage->input.last_seq);

    group_hear(stage->members, &summary, stage->input.now_ms);
}

static struct stage begin(uint32_t min, bool percent)
{
    struct stage stage = { .members = group_table("chat-1"), .seq = 1, .own.linked_ms = 1 /* long ago: settled */ };

    stage.input = (struct min_ready_input){
        .now_ms = 20000, .linked = true, .every_ms = EVERY_MS, .min = { min, percent }, .id = "chat-1", .fault_key_ms = KEY
    };
    publish(&stage);
    return stage;
}

static void well(struct stage *stage, const char *ids)
{
    for (; *ids; ids++) {
        struct summary summary = group_summary((char[]){ *ids, 0 }, stage->seq++);

        group_hear(stage->members, &summary, stage->input.now_ms);
    }
}

static void failing(struct stage *stage, const char *ids, enum fleet_stand stand, int64_t later_ms)
{
    for (; *ids; ids++) {
        struct summary summary = group_failing((char[]){ *ids, 0 }, stage->seq++, "server_hung", KEY + later_ms);

        summary.stand = stand;
        summary.word = stand == FLEET_STAND_OUT ? FLEET_NOT_READY : FLEET_DEGRADED;
        group_hear(stage->members, &summary, stage->input.now_ms);
    }
}

static enum fleet_stand decide(struct stage *stage)
{
    enum fleet_stand stand = min_ready_decide(&stage->own, stage->members, &stage->input);

    if (stage->own.publish)
        publish(stage);
    return stand;
}

/* So long with a decision each second, while the others go on saying the same. */
static enum fleet_stand pass(struct stage *stage, uint64_t ms, const char *who_is_well, const char *who_fails,
                             enum fleet_stand stand, int64_t later_ms)
{
    for (uint64_t end_ms = stage->input.now_ms + ms; stage->input.now_ms < end_ms;) {
        stage->input.now_ms += 1000;
        well(stage, who_is_well);
        failing(stage, who_fails, stand, later_ms);
        if (stage->input.now_ms % EVERY_MS == 0)
            publish(stage);
        decide(stage);
    }
    return stage->own.stand;
}

static void end(struct stage *stage)
{
    members_free(stage->members);
}

static void test_it_asks_and_goes_when_enough_have_spoken_since(void **state)
{
    struct stage stage = begin(2, false);

    (void)state;
    well(&stage, "abc");
    assert_int_equal(decide(&stage), FLEET_STAND_OWN);
    stage.input.fault = true;
    assert_int_equal(decide(&stage), FLEET_STAND_ASKS);
    assert_true(stage.own.publish);
    well(&stage, "abc"); /* sent before they could know of the question */
    stage.input.now_ms += MIN_READY_MARGIN_MS - 1;
    assert_int_equal(decide(&stage), FLEET_STAND_ASKS);
    stage.input.now_ms += 1;
    well(&stage, "a");
    assert_int_equal(decide(&stage), FLEET_STAND_ASKS);
    well(&stage, "b");
    assert_int_equal(decide(&stage), FLEET_STAND_OUT);
    assert_true(stage.own.publish);
    assert_int_equal(stage.own.members, 4);
    stage.input.fault = false;
    assert_int_equal(decide(&stage), FLEET_STAND_OWN);
    end(&stage);
}

static void test_the_question_is_repeated_until_it_comes_back(void **state)
{
    struct stage stage = begin(1, false);

    (void)state;
    well(&stage, "ab");
    stage.input.fault = true;
    min_ready_decide(&stage.own, stage.members, &stage.input); /* lost on its way */
    stage.input.last_seq++;
    stage.input.now_ms += 2000;
    well(&stage, "ab");
    assert_int_equal(min_ready_decide(&stage.own, stage.members, &stage.input), FLEET_STAND_ASKS);
    assert_true(stage.own.publish);
    publish(&stage);
    stage.input.now_ms += MIN_READY_MARGIN_MS;
    decide(&stage);
    well(&stage, "a");
    assert_int_equal(decide(&stage), FLEET_STAND_OUT);
    end(&stage);
}

static void test_it_is_held_where_too_few_would_remain(void **state)
{
    struct stage stage = begin(2, false);
    char text[256];

    (void)state;
    well(&stage, "ab");
    failing(&stage, "c", FLEET_STAND_OUT, -1000);
    stage.input.fault = true;
    assert_int_equal(pass(&stage, 60000, "a", "c", FLEET_STAND_OUT, -1000), FLEET_STAND_HELD);
    min_ready_say(&stage.own, stage.input.min, text, sizeof text);
    assert_string_equal(text, "held in rotation: without it 1 would remain, and min_ready wants 2");
    /* b is back: it goes out, but not before the allowance has been there for a while. */
    assert_int_equal(pass(&stage, 10000, "ab", "c", FLEET_STAND_OUT, -1000), FLEET_STAND_HELD);
    assert_int_equal(pass(&stage, 10000, "ab", "c", FLEET_STAND_OUT, -1000), FLEET_STAND_OUT);
    end(&stage);
}

/* All fail: the longest in fault go, as far as the allowance reaches. */
static void test_when_all_fail_the_order_decides(void **state)
{
    static const struct {
        uint32_t min;
        int64_t others_later_ms;
        enum fleet_stand want;
    } rows[] = {
        { 1, 5, FLEET_STAND_OUT },  { 2, 5, FLEET_STAND_OUT },   { 3, 5, FLEET_STAND_HELD },
        { 1, 0, FLEET_STAND_HELD }, { 1, -5, FLEET_STAND_HELD },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage = begin(rows[i].min, false);

        well(&stage, "ab");
        stage.input.fault = true;
        assert_int_equal(pass(&stage, 9000, "", "ab", FLEET_STAND_ASKS, rows[i].others_later_ms), FLEET_STAND_HELD);
        assert_int_equal(pass(&stage, 40000, "", "ab", FLEET_STAND_HELD, rows[i].others_later_ms), rows[i].want);
        end(&stage);
    }
    /* Those that act by their own verdict stay on nobody's account. */
    struct stage stage = begin(1, false);

    well(&stage, "ab");
    stage.input.fault = true;
    stage.input.fault_key_ms = KEY - 5000;
    for (unsigned i = 0; i < 40; i++) {
        struct summary summary = group_failing("a", ++stage.seq, "server_hung", KEY);

        summary.word = FLEET_DEGRADED;
        stage.input.now_ms += 1000;
        group_hear(stage.members, &summary, stage.input.now_ms);
        if (i % 5 == 0)
            publish(&stage);
        assert_int_not_equal(decide(&stage), FLEET_STAND_OUT);
    }
    end(&stage);
}

/* One that fails counts when it has spoken so late that it knew of the question: two margins behind its echo. */
static void test_who_fails_counts_when_it_knew(void **state)
{
    struct stage stage = begin(1, false);

    (void)state;
    well(&stage, "a");
    stage.input.fault = true;
    decide(&stage);
    stage.input.now_ms += 2 * MIN_READY_MARGIN_MS - 1;
    failing(&stage, "a", FLEET_STAND_HELD, 5);
    for (unsigned i = 0; i < 11; i++, stage.input.now_ms += 1000) {
        decide(&stage);
        if (i % 5 == 0)
            publish(&stage);
        assert_int_equal(stage.own.counted, 0);
    }
    failing(&stage, "a", FLEET_STAND_HELD, 5);
    decide(&stage);
    assert_int_equal(stage.own.counted, 1);
    end(&stage);
}

/* The same begin: the id decides, as in all tables. "a" and "b" come before "chat-1", "x" and "y" behind it. */
static void test_the_id_breaks_ties(void **state)
{
    struct stage stage = begin(2, false);

    (void)state;
    well(&stage, "xy");
    stage.input.fault = true;
    assert_int_equal(pass(&stage, 40000, "", "xy", FLEET_STAND_HELD, 0), FLEET_STAND_OUT);
    end(&stage);
}

static void test_it_comes_back_when_the_others_go(void **state)
{
    struct stage stage = begin(2, false);

    (void)state;
    well(&stage, "abc");
    stage.input.fault = true;
    assert_int_equal(pass(&stage, 10000, "ab", "c", FLEET_STAND_OUT, 1000), FLEET_STAND_OUT);
    /* b dies: c is out as well, and is the first to come back, as it comes last. */
    assert_int_equal(pass(&stage, EXPIRE_MS + 5000, "a", "c", FLEET_STAND_OUT, 1000), FLEET_STAND_OUT);
    assert_int_equal(members_sweep(stage.members, stage.input.now_ms), 1);
    assert_int_equal(pass(&stage, 5000, "a", "c", FLEET_STAND_OUT, 1000), FLEET_STAND_OUT);
    assert_int_equal(pass(&stage, 5000, "a", "c", FLEET_STAND_HELD, 1000), FLEET_STAND_OUT);
    /* c dies as well. */
    assert_int_equal(pass(&stage, EXPIRE_MS - 1000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_OUT);
    members_sweep(stage.members, stage.input.now_ms + 2000);
    assert_int_equal(pass(&stage, 3000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_HELD);
    end(&stage);
}

/* Who has fallen silent since it was heard well is nobody to count on, long before it is forgotten. */
static void test_a_silent_one_lets_nobody_go(void **state)
{
    struct stage stage = begin(2, false);

    (void)state;
    well(&stage, "ab");
    stage.input.fault = true;
    assert_int_equal(pass(&stage, 40000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_HELD);
    well(&stage, "b");
    assert_int_equal(pass(&stage, EXPIRE_MS - 1000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_HELD);
    end(&stage);
}

/* Two agents with one id: one of them may be anything. */
static void test_a_twin_lets_nobody_go(void **state)
{
    struct stage stage = begin(1, false);
    struct summary old = group_summary("a", 1);

    (void)state;
    well(&stage, "a");
    old.run_ms -= 1000;
    stage.input.fault = true;
    for (unsigned i = 0; i < 30; i++) {
        stage.input.now_ms += 1000;
        well(&stage, "a");
        old.seq++;
        group_hear(stage.members, &old, stage.input.now_ms);
        if (i == 20)
            assert_true(member_is_twin(stage.members, members_find(stage.members, "a"), stage.input.now_ms));
        if (i % 5 == 0)
            publish(&stage);
        if (i >= 15) {
            stage.input.fault = i > 15; /* it asks anew */
            assert_int_not_equal(decide(&stage), FLEET_STAND_OUT);
        }
    }
    end(&stage);
}

static void test_no_fleet_no_rule(void **state)
{
    struct stage stage = begin(2, false);
    char text[256];

    (void)state;
    stage.input.fault = true;
    assert_int_equal(decide(&stage), FLEET_STAND_OWN);
    assert_int_equal(stage.own.mode, MIN_READY_ALONE);
    min_ready_say(&stage.own, stage.input.min, text, sizeof text);
    assert_non_null(strstr(text, "no other agent"));
    well(&stage, "a");
    stage.own.linked_ms = stage.input.now_ms;
    assert_int_equal(decide(&stage), FLEET_STAND_OUT); /* it was out: it does not come in to ask */
    assert_int_equal(pass(&stage, 10000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_OUT);
    assert_int_equal(pass(&stage, 3000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_HELD);
    stage.input.linked = false; /* the broker is gone */
    assert_int_equal(decide(&stage), FLEET_STAND_OWN);
    assert_int_equal(stage.own.mode, MIN_READY_UNLINKED);
    stage.input.linked = true;
    stage.input.now_ms += EXPIRE_MS; /* it says that it is there, and brings nothing back */
    assert_int_equal(min_ready_decide(&stage.own, stage.members, &stage.input), FLEET_STAND_OWN);
    assert_int_equal(stage.own.mode, MIN_READY_UNLINKED);
    end(&stage);
}

/* On a new link not everybody has been heard yet: N % of those that have says nothing. */
static void test_a_filling_table_lets_nobody_go(void **state)
{
    struct stage stage = begin(50, true);

    (void)state;
    stage.own.linked_ms = 0;
    well(&stage, "a");
    stage.input.fault = true;
    assert_int_equal(pass(&stage, 5000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_ASKS);
    assert_true(stage.own.counted >= stage.own.needed);
    assert_int_equal(pass(&stage, 40000, "a", "", FLEET_STAND_OWN, 0), FLEET_STAND_OUT);
    end(&stage);
}

static void test_a_pause_makes_answers_worthless(void **state)
{
    struct stage stage = begin(1, false);

    (void)state;
    well(&stage, "ab");
    stage.input.fault = true;
    decide(&stage);
    stage.input.now_ms += 600; /* the question is known by now, and then the agent is stopped for ten seconds */
    decide(&stage);
    well(&stage, "a");
    stage.input.now_ms += 10000;
    assert_int_equal(decide(&stage), FLEET_STAND_ASKS);
    stage.input.now_ms += MIN_READY_MARGIN_MS;
    well(&stage, "a");
    assert_int_equal(decide(&stage), FLEET_STAND_OUT);
    end(&stage);
}

/* Who does not count on whom: watchers, those that drain, begin, have left, are silent, or share an id. */
static void test_who_counts(void **state)
{
    struct stage stage = begin(1, false);
    struct summary summary;

    (void)state;
    well(&stage, "a");
    stage.input.fault = true;
    decide(&stage);
    stage.input.now_ms += MIN_READY_MARGIN_MS;
    summary = group_summary("w", 1);
    summary.watcher = true;
    group_hear(stage.members, &summary, stage.input.now_ms);
    summary = group_summary("d", 1);
    summary.word = FLEET_DRAINING;
    group_hear(stage.members, &summary, stage.input.now_ms);
    summary = group_summary("s", 1);
    summary.word = FLEET_STARTING;
    group_hear(stage.members, &summary, stage.input.now_ms);
    summary = group_summary("l", 1);
    summary.word = FLEET_LEFT;
    group_hear(stage.members, &summary, stage.input.now_ms);
    summary = group_failing("n", 1, "x", 1); /* fails, in rotation since the fault is shared there */
    summary.word = FLEET_DEGRADED;
    group_hear(stage.members, &summary, stage.input.now_ms);
    assert_int_equal(decide(&stage), FLEET_STAND_ASKS);
    assert_int_equal(stage.own.counted, 0);
    assert_int_equal(stage.own.members, 5); /* itself, a, d, s, n */
    end(&stage);
}

static void test_percent(void **state)
{
    static const struct {
        uint32_t count;
        bool percent;
        uint32_t members, want;
    } rows[] = { { 2, false, 100, 2 }, { 50, true, 3, 2 }, { 50, true, 4, 2 }, { 100, true, 7, 7 },
                 { 1, true, 1, 1 },    { 0, true, 9, 0 },  { 34, true, 3, 2 }, { 33, true, 3, 1 } };
    struct fleet_min min;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(min_ready_needed((struct fleet_min){ rows[i].count, rows[i].percent }, rows[i].members), rows[i].want);
    min_ready_say(
        &(struct min_ready){ .stand = FLEET_STAND_HELD, .mode = MIN_READY_RULES, .members = 3, .needed = 2, .counted = 1 },
        (struct fleet_min){ 50, true }, text, sizeof text);
    assert_string_equal(text, "held in rotation: without it 1 would remain, and min_ready wants 2 (50 % of 3)");
    assert_true(min_ready_parse("2", &min) && min.count == 2 && !min.percent);
    assert_true(min_ready_parse("100%", &min) && min.count == 100 && min.percent);
    assert_true(min_ready_parse("0", &min));
    static const char *const bad[] = { "", "%", "-1", "+1", " 1", "1 ", "101%", "1.5", "10001", "two", "99999999999999999999" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(min_ready_parse(bad[i], &min));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_asks_and_goes_when_enough_have_spoken_since),
        cmocka_unit_test(test_the_question_is_repeated_until_it_comes_back),
        cmocka_unit_test(test_it_is_held_where_too_few_would_remain),
        cmocka_unit_test(test_when_all_fail_the_order_decides),
        cmocka_unit_test(test_who_fails_counts_when_it_knew),
        cmocka_unit_test(test_the_id_breaks_ties),
        cmocka_unit_test(test_it_comes_back_when_the_others_go),
        cmocka_unit_test(test_a_silent_one_lets_nobody_go),
        cmocka_unit_test(test_a_twin_lets_nobody_go),
        cmocka_unit_test(test_no_fleet_no_rule),
        cmocka_unit_test(test_a_filling_table_lets_nobody_go),
        cmocka_unit_test(test_a_pause_makes_answers_worthless),
        cmocka_unit_test(test_who_counts),
        cmocka_unit_test(test_percent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
