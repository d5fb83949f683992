/* The table of members: who is believed, who is there, who is gone, and what it costs. */
#include "tests/unit/fleet/group.h"

static void test_a_member_comes_speaks_and_is_forgotten(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary summary = group_summary("chat-2", 1);
    const struct member *member;

    (void)state;
    assert_false(members_met(members));
    assert_int_equal(group_hear(members, &summary, 1000), MEMBERS_JOINED);
    assert_true(members_met(members));
    summary.seq = 5;
    assert_int_equal(group_hear(members, &summary, 6000), MEMBERS_HEARD);
    member = members_find(members, "chat-2");
    assert_non_null(member);
    assert_int_equal(member->lost, 3);
    assert_int_equal(member->received, 2);
    assert_true(member_is_well(member));
    assert_true(member_is_fresh(members, member, 6000 + EXPIRE_MS * 3 / 5));
    assert_false(member_is_fresh(members, member, 6001 + EXPIRE_MS * 3 / 5));
    assert_int_equal(members_sweep(members, 6000 + EXPIRE_MS), 0);
    assert_int_equal(members_sweep(members, 6001 + EXPIRE_MS), 1);
    assert_null(members_find(members, "chat-2"));
    members_free(members);
}

static void test_what_is_not_newer_is_old(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary summary = group_summary("chat-2", 5);

    (void)state;
    group_hear(members, &summary, 1000);
    assert_int_equal(group_hear(members, &summary, 1001), MEMBERS_REFUSED);
    summary.seq = 4;
    assert_int_equal(group_hear(members, &summary, 1002), MEMBERS_REFUSED);
    assert_int_equal(members_refused(members, FLEET_REFUSED_OLD), 2);
    assert_int_equal(members_find(members, "chat-2")->heard_ms, 1000);
    members_free(members);
}

static void test_a_restart_is_seen_by_the_run(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary before = group_summary("chat-2", 5), after = group_summary("chat-2", 1);

    (void)state;
    after.run_ms += 60000;
    group_hear(members, &before, 1000);
    assert_int_equal(group_hear(members, &after, 2000), MEMBERS_RESTARTED);
    before.seq = 6; /* overtaken */
    assert_int_equal(group_hear(members, &before, 2500), MEMBERS_REFUSED);
    assert_false(member_is_twin(members, members_find(members, "chat-2"), 2500));
    assert_int_equal(members_find(members, "chat-2")->restarts, 1);
    members_free(members);
}

/* A clock that was set back makes the new run look older: it is believed as soon as the old one has fallen silent. */
static void test_a_restart_with_a_clock_set_back(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary before = group_summary("chat-2", 5), after = group_summary("chat-2", 1);

    (void)state;
    after.run_ms -= 60000;
    group_hear(members, &before, 1000);
    assert_int_equal(group_hear(members, &after, 4000), MEMBERS_REFUSED);
    assert_int_equal(group_hear(members, &after, 14000), MEMBERS_RESTARTED);
    /* So it is where the old one had spoken for long: it is no twin, as it says nothing any more. */
    before.run_ms = after.run_ms + 1;
    for (uint64_t now_ms = 15000; now_ms <= 45000; now_ms += EVERY_MS, before.seq++)
        group_hear(members, &before, now_ms);
    for (uint64_t now_ms = 46000; now_ms <= 57000; now_ms += 1000, after.seq++)
        assert_int_equal(group_hear(members, &after, now_ms), MEMBERS_REFUSED);
    assert_int_equal(group_hear(members, &after, 57001), MEMBERS_RESTARTED);
    assert_false(member_is_twin(members, members_find(members, "chat-2"), 57001));
    members_free(members);
}

static void test_two_agents_with_one_id(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary old = group_summary("chat-2", 1), young = group_summary("chat-2", 1);
    unsigned twins = 0;

    (void)state;
    young.run_ms += 1000;
    for (uint64_t now_ms = 1000; now_ms < 40000; now_ms += EVERY_MS, old.seq++, young.seq++) {
        twins += group_hear(members, &old, now_ms) == MEMBERS_TWIN;
        group_hear(members, &young, now_ms + 1000);
    }
    assert_true(twins > 2);
    assert_int_equal(members_count(members), 1);
    assert_true(member_is_twin(members, members_at(members, 0), 40000));
    assert_true(member_is_twin(members, members_at(members, 0), 36000 + 2 * EXPIRE_MS));
    assert_false(member_is_twin(members, members_at(members, 0), 36001 + 2 * EXPIRE_MS));
    members_free(members);
}

static void test_own_summaries_come_back_and_a_twin_of_ones_own(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary own = group_summary("chat-1", 3), other = group_summary("chat-1", 9);

    (void)state;
    assert_int_equal(members_echo_ms(members), 0);
    other.run_ms--; /* the run before this one: its last words may still be under way */
    assert_int_equal(group_hear(members, &other, 900), MEMBERS_REFUSED);
    assert_int_equal(group_hear(members, &own, 1000), MEMBERS_ECHO);
    assert_int_equal(members_echo_seq(members), 3);
    assert_int_equal(members_echo_ms(members), 1000);
    assert_int_equal(group_hear(members, &other, 2000), MEMBERS_REFUSED);
    other.run_ms += 2; /* a clock that was set back meanwhile */
    assert_int_equal(group_hear(members, &other, 3000), MEMBERS_REFUSED);
    assert_int_equal(members_own_twin_ms(members), 0);
    assert_int_equal(group_hear(members, &other, 14000), MEMBERS_OWN_TWIN);
    assert_int_equal(members_own_twin_ms(members), 14000);
    assert_int_equal(members_count(members), 0);
    members_free(members);
}

static void test_who_leaves_does_not_come_back_by_a_repeated_message(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary summary = group_summary("chat-2", 1), left = group_summary("chat-2", 2);

    (void)state;
    left.word = FLEET_LEFT;
    group_hear(members, &summary, 1000);
    assert_int_equal(group_hear(members, &left, 2000), MEMBERS_LEFT);
    assert_false(member_counts(members_find(members, "chat-2")));
    assert_int_equal(group_hear(members, &summary, 3000), MEMBERS_REFUSED);
    assert_int_equal(members_sweep(members, 2001 + EXPIRE_MS), 1);
    members_free(members);
}

static void test_strangers(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary summary = group_summary("chat-2", 1);
    struct buf line = BUF_INIT(SUMMARY_WIRE_MAX);
    enum fleet_refusal why;
    const struct member *who;

    (void)state;
    strcpy(summary.group, "shop");
    assert_int_equal(group_hear(members, &summary, 1000), MEMBERS_REFUSED);
    assert_int_equal(members_refused(members, FLEET_REFUSED_OTHER_GROUP), 1);
    strcpy(summary.group, "chat");
    assert_int_equal(summary_write(&summary, slice_str("k"), &line), 0);
    assert_int_equal(members_take(members, buf_slice(&line), slice_str("k"), 1000, WALL + EXPIRE_MS + 1, &who, &why),
                     MEMBERS_REFUSED);
    assert_int_equal(why, FLEET_REFUSED_CLOCK);
    assert_null(who);
    assert_int_equal(members_take(members, buf_slice(&line), slice_str("k"), 1000, WALL - EXPIRE_MS - 1, NULL, &why),
                     MEMBERS_REFUSED);
    assert_int_equal(why, FLEET_REFUSED_CLOCK);
    /* Without a key no clock is asked. */
    assert_int_equal(members_take(members, buf_slice(&line), NO_KEY, 1000, 0, &who, &why), MEMBERS_JOINED);
    assert_string_equal(who->id, "chat-2");
    assert_int_equal(members_take(members, slice_str("hello"), NO_KEY, 1000, 0, &who, &why), MEMBERS_REFUSED);
    assert_int_equal(why, FLEET_REFUSED_GARBAGE);
    assert_int_equal(members_count(members), 1);
    buf_fini(&line);
    members_free(members);
}

/* The begin of a fault is timed by this clock, and the fastest summary is nearest to it. */
static void test_begins_are_timed_here(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary summary = group_failing("chat-2", 1, "server_down", 42);

    (void)state;
    summary.sent_ms = 5; /* its clock is of another century */
    summary.fault_for_ms = 1000;
    group_hear(members, &summary, 10000);
    assert_int_equal(members_find(members, "chat-2")->fault_since_ms, 9000);
    summary.seq++, summary.fault_for_ms = 6100;
    group_hear(members, &summary, 15000);
    assert_int_equal(members_find(members, "chat-2")->fault_since_ms, 8900);
    summary.seq++, summary.fault_for_ms = 11000;
    group_hear(members, &summary, 25000); /* four seconds on its way */
    assert_int_equal(members_find(members, "chat-2")->fault_since_ms, 8900);
    summary.seq++, summary.fault_key_ms = 43, summary.fault_for_ms = UINT64_C(999999999999999999);
    group_hear(members, &summary, 26000);
    assert_int_equal(members_find(members, "chat-2")->fault_since_ms, 1);
    members_free(members);
}

static void test_the_offset_of_a_clock(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary summary = group_summary("chat-2", 1);
    int32_t ahead_ms, error_ms;

    (void)state;
    summary.sent_ms = WALL + 1000 - 20 + 700; /* 20 ms on its way here; its clock is 700 ms ahead */
    group_hear(members, &summary, 1000);
    assert_false(member_clock(members_find(members, "chat-2"), fleet_hash("chat-1"), &ahead_ms, &error_ms));
    summary.seq++;
    summary.sent_ms += 900;
    summary.row_count = 1;
    summary.row[0] = (struct summary_source){ .who = fleet_hash("chat-1"), .late_ms = SUMMARY_UNKNOWN, .gap_ms = 10 + 700 };
    group_hear(members, &summary, 2000);
    assert_true(member_clock(members_find(members, "chat-2"), fleet_hash("chat-1"), &ahead_ms, &error_ms));
    assert_true(ahead_ms - error_ms <= 700 && 700 <= ahead_ms + error_ms);
    assert_int_equal(error_ms, 15);
    members_free(members);
}

/* Ten thousand with full rows, and no more; each of the table's operations at random against a plain list. */
static void test_the_table_is_bounded(void **state)
{
    struct members *members = group_table("own");
    struct summary summary = group_summary("x", 1);

    (void)state;
    summary.row_count = SUMMARY_ROW_MAX;
    for (unsigned i = 0; i < MEMBERS_MAX + 10; i++) {
        snprintf(summary.id, sizeof summary.id, "member-%u", i);
        assert_int_equal(group_hear(members, &summary, 1000), i < MEMBERS_MAX ? MEMBERS_JOINED : MEMBERS_REFUSED);
        if (i == 999)
            assert_true(members_bytes(members) <= 1 << 20);
    }
    assert_int_equal(members_refused(members, FLEET_REFUSED_FULL), 10);
    assert_true(members_bytes(members) <= (uint64_t)MEMBERS_MAX * MEMBERS_BYTES_EACH);
    assert_int_equal(members_sweep(members, 1001 + EXPIRE_MS), MEMBERS_MAX);
    assert_int_equal(members_count(members), 0);
    members_free(members);
}

static void test_the_hash_table_against_a_list(void **state)
{
    enum { IDS = 300 };
    struct members *members = group_table("own");
    uint64_t heard_ms[IDS] = { 0 }, seq = 0;
    uint32_t random = 12345;

    (void)state;
    for (uint64_t now_ms = 1000; now_ms < 400000; now_ms += 50) {
        unsigned which;
        struct summary summary;

        random = random * 1664525u + 1013904223u;
        which = (random >> 16) % IDS;
        summary = group_summary("x", ++seq);
        snprintf(summary.id, sizeof summary.id, "id-%u", which);
        group_hear(members, &summary, now_ms);
        heard_ms[which] = now_ms;
        if (random >> 28)
            continue;
        members_sweep(members, now_ms);
        for (unsigned i = 0; i < IDS; i++) {
            snprintf(summary.id, sizeof summary.id, "id-%u", i);
            assert_int_equal(members_find(members, summary.id) ? 1 : 0, heard_ms[i] && now_ms - heard_ms[i] <= EXPIRE_MS);
        }
    }
    members_free(members);
}

/* A member that speaks seldom by its own configuration is not forgotten between two summaries, and none lives for ever. */
static void test_a_slow_speaker(void **state)
{
    struct members *members = group_table("chat-1");
    struct summary summary = group_summary("chat-2", 1);

    (void)state;
    summary.every_ms = 30000;
    group_hear(members, &summary, 1000);
    assert_int_equal(members_sweep(members, 121000), 0);
    assert_int_equal(members_sweep(members, 121001), 1);
    summary.every_ms = SUMMARY_EVERY_MAX_MS;
    group_hear(members, &summary, 1000);
    assert_int_equal(members_sweep(members, 1001 + 10 * EXPIRE_MS), 1);
    members_free(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_comes_speaks_and_is_forgotten),
        cmocka_unit_test(test_what_is_not_newer_is_old),
        cmocka_unit_test(test_a_restart_is_seen_by_the_run),
        cmocka_unit_test(test_a_restart_with_a_clock_set_back),
        cmocka_unit_test(test_two_agents_with_one_id),
        cmocka_unit_test(test_own_summaries_come_back_and_a_twin_of_ones_own),
        cmocka_unit_test(test_who_leaves_does_not_come_back_by_a_repeated_message),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_begins_are_timed_here),
        cmocka_unit_test(test_the_offset_of_a_clock),
        cmocka_unit_test(test_the_table_is_bounded),
        cmocka_unit_test(test_the_hash_table_against_a_list),
        cmocka_unit_test(test_a_slow_speaker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
