/* What the table says of a fault: is it the fleet's (together.h), is a refusal local (witness.h); and when one speaks (announce.h). */
#include "tests/unit/fleet/group.h"

#include "agent/fleet/announce.h"
#include "agent/fleet/together.h"
#include "agent/fleet/witness.h"

static void say(struct members *members, unsigned first, unsigned count, const char *cause, uint64_t for_ms, uint64_t now_ms)
{
    for (unsigned i = first; i < first + count; i++) {
        char id[16];
        struct summary summary;

        snprintf(id, sizeof id, "m%u", i);
        summary = cause ? group_failing(id, now_ms, cause, 1) : group_summary(id, now_ms);
        summary.fault_for_ms = for_ms;
        group_hear(members, &summary, now_ms);
    }
}

static bool judge(struct together *together, struct members *members, const char *cause, uint64_t since_ms, uint64_t now_ms)
{
    struct together_own own = {
        .settled = true, .counts = true, .fault = cause, .cause = cause ? cause : "", .fault_since_ms = since_ms
    };

    return together_judge(together, members, &own, now_ms);
}

/* Of `all` others so many share the cause of this one, whose fault begins at 100 s; theirs began so long before. */
static void test_fleet_wide(void **state)
{
    static const struct {
        unsigned all, sharing;
        uint64_t before_ms;
        bool want;
    } rows[] = {
        { 1, 1, 0, false }, /* two are no fleet */
        { 2, 2, 0, true },   { 2, 1, 0, false },   { 8, 8, 0, true },     { 8, 7, 0, false },     { 9, 8, 0, true },
        { 99, 89, 0, true }, { 99, 88, 0, false }, { 2, 2, 60000, true }, { 2, 2, 60001, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct members *members = group_table("own");
        struct together together = { 0 };

        say(members, 0, rows[i].sharing, "server_hung", rows[i].before_ms, 100000);
        say(members, rows[i].sharing, rows[i].all - rows[i].sharing, NULL, 0, 100000);
        assert_false(judge(&together, members, "server_hung", 100000, 100000));
        say(members, 0, rows[i].sharing, "server_hung", rows[i].before_ms + 5000, 105000);
        assert_int_equal(judge(&together, members, "server_hung", 100000, 105000), rows[i].want);
        assert_int_equal(together.wide, rows[i].want);
        members_free(members);
    }
}

static void test_it_ends_when_it_is_not_nearly_all_any_more(void **state)
{
    struct members *members = group_table("own");
    struct together together = { 0 };

    (void)state;
    say(members, 0, 9, "server_hung", 0, 1000);
    judge(&together, members, "server_hung", 1000, 1000);
    say(members, 0, 9, "server_hung", 5000, 6000);
    assert_true(judge(&together, members, "server_hung", 1000, 6000));
    assert_false(judge(&together, members, "server_down", 6500, 6500)); /* this one has another fault: its own */
    assert_true(together.wide);
    assert_true(judge(&together, members, "server_hung", 1000, 6500));
    say(members, 0, 3, NULL, 0, 7000);
    assert_true(judge(&together, members, "server_hung", 1000, 7000)); /* 7 of 10 */
    say(members, 3, 1, NULL, 0, 7000);
    assert_false(judge(&together, members, "server_hung", 1000, 7000));
    assert_string_equal(together.cause, "");
    members_free(members);
}

/* Silence is no fault; neither is a word that was overtaken by another. */
static void test_it_must_be_said_again(void **state)
{
    struct members *members = group_table("own");
    struct together together = { 0 };

    (void)state;
    say(members, 0, 2, "server_hung", 0, 1000);
    for (uint64_t now_ms = 1000; now_ms < 30000; now_ms += 1000)
        assert_false(judge(&together, members, "server_hung", 1000, now_ms));
    members_free(members);
}

/* Who has fallen silent does not share it any more: what was the fleet's ends with that. */
static void test_it_ends_with_silence(void **state)
{
    struct members *members = group_table("own");
    struct together together = { 0 };

    (void)state;
    say(members, 0, 3, "server_hung", 0, 1000);
    judge(&together, members, "server_hung", 1000, 1000);
    say(members, 0, 3, "server_hung", 5000, 6000);
    assert_true(judge(&together, members, "server_hung", 1000, 6000));
    assert_true(judge(&together, members, "server_hung", 1000, 6000 + EXPIRE_MS * 3 / 5));
    assert_false(judge(&together, members, "server_hung", 1000, 6001 + EXPIRE_MS * 3 / 5));
    members_free(members);
}

/* A watcher has no fault of its own, and sees it. */
static void test_a_watcher_sees_it(void **state)
{
    struct members *members = group_table("own");
    struct together together = { 0 };
    struct together_own watcher = { .settled = true, .cause = "" };

    (void)state;
    say(members, 0, 3, "server_hung", 0, 1000);
    assert_false(together_judge(&together, members, &watcher, 1000));
    say(members, 0, 3, "server_hung", 5000, 6000);
    assert_false(together_judge(&together, members, &watcher, 6000));
    assert_true(together.wide);
    assert_string_equal(together.cause, "server_hung");
    together = (struct together){ 0 };
    watcher.settled = false; /* a table that is still filling */
    for (uint64_t now_ms = 7000; now_ms < 20000; now_ms += 1000) {
        say(members, 0, 3, "server_hung", now_ms, now_ms);
        together_judge(&together, members, &watcher, now_ms);
        assert_false(together.wide);
    }
    members_free(members);
}

static void test_a_refusal_that_only_this_instance_gives(void **state)
{
    static const struct {
        unsigned taken, refused, others; /* others: run no such check */
        uint64_t heard_ms;
        bool want;
    } rows[] = {
        { 2, 0, 0, 20000, true },   { 1, 0, 5, 20000, false }, { 2, 1, 0, 20000, false }, { 10, 1, 0, 20000, true },
        { 20, 3, 0, 20000, false }, { 0, 5, 0, 20000, false }, { 2, 0, 0, 11999, false }, { 2, 0, 0, 12000, true },
    };
    unsigned kind = fleet_kind_bit("echo");

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct members *members = group_table("own");
        struct witness witness = { 0 };

        for (unsigned j = 0; j < rows[i].taken + rows[i].refused + rows[i].others; j++) {
            char id[16];
            struct summary summary;

            snprintf(id, sizeof id, "m%u", j);
            summary = group_summary(id, 1);
            summary.taken = (uint16_t)(j < rows[i].taken ? kind : fleet_kind_bit("tls"));
            summary.refused = (uint16_t)(j >= rows[i].taken && j < rows[i].taken + rows[i].refused ? kind : 0);
            group_hear(members, &summary, rows[i].heard_ms);
        }
        assert_int_equal(witness_judge(&witness, members, kind, true, 10000, 21000), rows[i].want);
        assert_false(witness_judge(&witness, members, kind, false, 10000, 21000));
        members_free(members);
    }
    assert_true(witness_asks_for(REASON_UPGRADE_UNAUTHORIZED));
    assert_false(witness_asks_for(REASON_RATE_LIMITED));
    assert_false(witness_asks_for(REASON_DNS_FAILURE));
}

/* What watchers say of themselves makes no fault the fleet's, and no refusal local. */
static void test_watchers_are_no_witnesses(void **state)
{
    struct members *members = group_table("own");
    struct together together = { 0 };
    struct witness witness = { 0 };
    unsigned kind = fleet_kind_bit("echo");

    (void)state;
    for (uint64_t at_ms = 100000; at_ms <= 105000; at_ms += 5000) {
        for (unsigned i = 0; i < 5; i++) {
            struct summary summary = group_failing((char[]){ (char)('a' + (char)i), 0 }, at_ms, "server_hung", 1);

            summary.watcher = true;
            summary.taken = (uint16_t)kind;
            group_hear(members, &summary, at_ms);
        }
        assert_false(judge(&together, members, "server_hung", 100000, at_ms));
    }
    assert_int_equal(together.members, 1);
    assert_false(witness_judge(&witness, members, kind, true, 90000, 105000));
    assert_int_equal(witness.taken, 0);
    members_free(members);
}

/* A refusal makes an agent's other checks wait: what they found before is no word for another's. */
static void test_who_is_refused_is_no_witness(void **state)
{
    static const struct {
        bool well, refused, left_alone; /* of the second of two checks; the first is well */
        unsigned taken, refuses;
    } rows[] = { { true, false, false, 3, 0 },
                 { false, false, false, 1, 0 },
                 { true, true, true, 0, 3 },
                 { false, true, false, 0, 3 },
                 { false, false, true, 0, 0 } };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct witness_own own = { 0 };

        witness_note(&own, 1, true, false, false);
        witness_note(&own, 2, rows[i].well, rows[i].refused, rows[i].left_alone);
        witness_note(&own, 0, true, false, false); /* of a kind that nobody is asked about */
        assert_int_equal(witness_taken(&own), rows[i].taken);
        assert_int_equal(witness_refused(&own), rows[i].refuses);
    }
}

/* Once said it stays while more than half of those that are still there are taken. */
static void test_how_long_a_refusal_is_local(void **state)
{
    unsigned kind = fleet_kind_bit("echo");
    struct members *members = group_table("own");
    struct witness witness = { 0 };
    uint64_t seq = 0;

    (void)state;
    static const struct {
        const char *taken, *refused;
        bool want;
    } rows[] = { { "ab", "", true },
                 { "ab", "c", true },
                 { "a", "bc", false },
                 { "ab", "c", false },
                 { "ab", "", false /* c has said so a moment ago */ } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (const char *id = rows[i].taken; *id; id++) {
            struct summary summary = group_summary((char[]){ *id, 0 }, ++seq);

            summary.taken = (uint16_t)kind;
            group_hear(members, &summary, 20000);
        }
        for (const char *id = rows[i].refused; *id; id++) {
            struct summary summary = group_summary((char[]){ *id, 0 }, ++seq);

            summary.refused = (uint16_t)kind;
            group_hear(members, &summary, 20000);
        }
        assert_int_equal(witness_judge(&witness, members, kind, true, 10000, 21000), rows[i].want);
    }
    members_sweep(members, 20001 + EXPIRE_MS);
    for (const char *id = "ab"; *id; id++) {
        struct summary summary = group_summary((char[]){ *id, 0 }, ++seq);

        summary.taken = (uint16_t)kind;
        group_hear(members, &summary, 50000);
    }
    /* Both have been heard since the fault began, and are silent now. */
    assert_false(witness_judge(&witness, members, kind, true, 10000, 50001 + EXPIRE_MS * 3 / 5));
    assert_true(witness_judge(&witness, members, kind, true, 10000, 50000 + EXPIRE_MS * 3 / 5));
    /* Half is not more than half. */
    struct summary summary = group_summary("a", ++seq);

    summary.refused = (uint16_t)kind;
    group_hear(members, &summary, 51000);
    assert_false(witness_judge(&witness, members, kind, true, 10000, 51000));
    members_free(members);
}

static void test_when_to_speak(void **state)
{
    struct members *members = group_table("own");
    struct announce announce = { 0 };
    struct member asks = { .stand = FLEET_STAND_ASKS };

    (void)state;
    assert_true(announce_is_due(&announce, 1));
    assert_true((int)ANNOUNCE_ANSWER_MS > (int)MIN_READY_MARGIN_MS); /* an earlier answer would not count */
    for (uint32_t random = 0; random < 5000; random += 7) {
        announce_sent(&announce, 5000, random, 1000);
        assert_in_range(announce_due_ms(&announce), 5500, 6500);
    }
    announce_change(&announce, 1100);
    assert_false(announce_is_due(&announce, 1199)); /* changes together */
    assert_true(announce_is_due(&announce, 1200));
    announce_sent(&announce, 5000, 0, 2000);
    announce_heard(&announce, MEMBERS_HEARD, &asks, ANNOUNCE_ANSWER_MEMBERS + 1, 3000);
    assert_int_equal(announce_due_ms(&announce), 6500);
    announce_heard(&announce, MEMBERS_HEARD, &asks, ANNOUNCE_ANSWER_MEMBERS, 3000);
    assert_int_equal(announce_due_ms(&announce), 3000 + ANNOUNCE_ANSWER_MS);
    announce_heard(&announce, MEMBERS_REFUSED, NULL, 3, 2000);
    assert_int_equal(announce_due_ms(&announce), 3000 + ANNOUNCE_ANSWER_MS);
    announce_sent(&announce, 5000, 0, 10000);
    announce_unheard(&announce, members, 1, 11999);
    assert_false(announce_is_due(&announce, 11999));
    announce_unheard(&announce, members, 1, 12000);
    assert_true(announce_is_due(&announce, 12000));
    members_free(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fleet_wide),
        cmocka_unit_test(test_it_ends_when_it_is_not_nearly_all_any_more),
        cmocka_unit_test(test_it_must_be_said_again),
        cmocka_unit_test(test_it_ends_with_silence),
        cmocka_unit_test(test_a_watcher_sees_it),
        cmocka_unit_test(test_a_refusal_that_only_this_instance_gives),
        cmocka_unit_test(test_watchers_are_no_witnesses),
        cmocka_unit_test(test_who_is_refused_is_no_witness),
        cmocka_unit_test(test_how_long_a_refusal_is_local),
        cmocka_unit_test(test_when_to_speak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
