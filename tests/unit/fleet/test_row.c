/* This agent's row of the matrix, how long a finding must last, and delays with wrong clocks. */
#include "tests/unit/fleet/group.h"

#include "agent/fleet/delays.h"
#include "agent/fleet/findings.h"
#include "agent/fleet/row.h"

static struct members *members;
static struct fleet_heard heard;
static struct summary_source row[SUMMARY_ROW_MAX];
static size_t turn;

static int begin(void **state)
{
    (void)state;
    members = group_table("a");
    turn = 0;
    memset(&heard, 0, sizeof heard);
    heard.whole = true;
    heard.able_ms = 100000;
    heard.region = "eu-west";
    heard.beats = (struct summary_beats){ .count = 5, .window_ms = 10000, .channels = 7 };
    return 0;
}

static int end(void **state)
{
    (void)state;
    members_free(members);
    return 0;
}

/* A member that has published on those channels. */
static void join(const char *id, uint64_t seq, uint32_t channels, const char *hears)
{
    struct summary summary = group_summary(id, seq);

    summary.sent_ms = WALL + 1000 - 3;
    summary.beats = (struct summary_beats){ .count = 4, .window_ms = 10000, .channels = channels };
    if (hears)
        summary.row[summary.row_count++] =
            (struct summary_source){ .who = fleet_hash(hears), .got = 3, .late_ms = SUMMARY_UNKNOWN, .gap_ms = SUMMARY_UNKNOWN };
    group_hear(members, &summary, 1000);
}

static void join_without_beats(const char *id)
{
    const struct summary summary = group_summary(id, 1);

    group_hear(members, &summary, 1000);
}

static void hear(const char *id, uint32_t got, uint32_t lost, uint64_t quiet_ms)
{
    size_t i = heard.count++;

    heard.cells[i].who = fleet_hash(id);
    heard.cells[i].got = got;
    heard.cells[i].lost = lost;
    heard.cells[i].late_ms = 6;
    heard.cells[i].quiet_ms = quiet_ms;
}

static void make(size_t want)
{
    assert_int_equal(row_make(&heard, members, 1000, &turn, row), want);
}

static void test_each_member_has_a_cell(void **state)
{
    (void)state;
    join("b", 1, 7, NULL);
    join("c", 1, 9, NULL);
    hear("b", 3, 1, 100);
    make(2);
    assert_int_equal(row[0].who, fleet_hash("b"));
    assert_int_equal(row[0].got, 3);
    assert_int_equal(row[0].lost, 1);
    assert_int_equal(row[0].late_ms, 6);
    assert_int_equal(row[0].gap_ms, 3);
    assert_int_equal(row[1].got + row[1].lost, 0); /* on other channels */
    assert_int_equal(row[1].gap_ms, 3);
}

static void test_who_is_heard_by_nobody(void **state)
{
    (void)state;
    join("b", 1, 7, NULL);
    make(1);
    assert_int_equal(row[0].lost, 4);
    assert_int_equal(row[0].late_ms, SUMMARY_NOR_CONTROL);
    heard.able_ms = 12999; /* not long enough to know */
    make(1);
    assert_int_equal(row[0].lost, 0);
    heard.able_ms = 100000;
    heard.whole = false;
    make(1);
    assert_int_equal(row[0].lost, 0);
    heard.whole = true;
    join("c", 1, 9, "b"); /* somebody does hear it, and this agent never has: it is not meant to */
    make(2);
    assert_int_equal(row[0].lost, 0);
    hear("b", 0, 0, 12999); /* it has, and it may be a late one */
    make(2);
    assert_int_equal(row[0].lost, 0);
    heard.cells[0].quiet_ms = 13000;
    make(2);
    assert_int_equal(row[0].lost, 4);
    assert_int_equal(row_make(&heard, members, 1001, &turn, row), 2); /* what it said is a moment old */
    assert_int_equal(row[0].lost, 0);
}

/* Regions may have brokers of their own: where this agent has never heard the only one of another region, nothing follows. */
static void test_the_only_one_of_its_region(void **state)
{
    (void)state;
    heard.region = "us";
    join("b", 1, 7, NULL);
    make(1);
    assert_int_equal(row[0].lost, 0);
    hear("b", 0, 0, 13000); /* until now it came */
    make(1);
    assert_int_equal(row[0].lost, 4);
}

/* Who has just begun has a short window, and others ten seconds at least. */
static void test_a_short_window_is_no_hurry(void **state)
{
    struct summary summary = group_summary("b", 1);

    (void)state;
    summary.beats = (struct summary_beats){ .count = 4, .window_ms = 500, .channels = 7 };
    group_hear(members, &summary, 1000);
    hear("b", 0, 0, 12999);
    make(1);
    assert_int_equal(row[0].lost, 0);
    heard.cells[0].quiet_ms = 13000;
    make(1);
    assert_int_equal(row[0].lost, 4);
}

/* Nobody hears it, and so its cell must not wait for room behind those that are heard. */
static void test_who_publishes_has_a_turn(void **state)
{
    char id[16];
    bool found = false;

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "m-%d", i);
        join(id, 1, 7, NULL);
        hear(id, 1, 0, 1);
    }
    join("new", 1, 7, NULL);
    for (int i = 0; i < 4 && !found; i++) {
        make(SUMMARY_ROW_MAX);
        for (int j = 0; j < SUMMARY_ROW_MAX; j++)
            found = found || (row[j].who == fleet_hash("new") && row[j].lost == 4);
    }
    assert_true(found);
}

static void test_a_large_group_takes_turns(void **state)
{
    char id[16];
    uint32_t first;

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof id, "m-%d", i);
        join_without_beats(id);
    }
    hear("m-39", 1, 0, 1);
    make(SUMMARY_ROW_MAX);
    assert_int_equal(row[0].who, fleet_hash("m-39"));
    first = row[1].who;
    make(SUMMARY_ROW_MAX);
    assert_int_equal(row[0].who, fleet_hash("m-39"));
    assert_int_not_equal(row[1].who, first);
    for (int i = 40; i <= ROW_MANY; i++) {
        snprintf(id, sizeof id, "m-%d", i);
        join(id, 1, 9, NULL);
    }
    make(ROW_MANY_MAX);
}

/* --- findings --- */

static unsigned begun, ended;

static void on_change(void *user, const struct finding *finding, bool begins)
{
    (void)user;
    (void)finding;
    begun += begins;
    ended += !begins;
}

static void judge(struct findings_kept *kept, bool found, uint64_t now_ms)
{
    const struct matrix_finding one = { MATRIX_RECEIVES_NOTHING, "b", NULL, 2, 0 };

    findings_note(kept, &one, found, now_ms, on_change, NULL);
}

static void test_a_finding_must_last(void **state)
{
    struct findings_kept kept = { 0 };

    (void)state;
    begun = ended = 0;
    judge(&kept, true, 1000);
    judge(&kept, true, 3999);
    assert_int_equal(begun, 0);
    judge(&kept, false, 4500); /* it was not there once */
    judge(&kept, true, 5000);
    judge(&kept, true, 7000);
    assert_int_equal(begun, 0);
    judge(&kept, true, 8000);
    judge(&kept, true, 9000);
    assert_int_equal(begun, 1);
    judge(&kept, false, 10000);
    judge(&kept, true, 11000);
    judge(&kept, false, 13999);
    assert_int_equal(ended, 0);
    assert_true(kept.rows[0].told);
    judge(&kept, false, 14000);
    assert_int_equal(ended, 1);
    assert_int_equal(kept.count, 0);
}

static void test_findings_are_bounded(void **state)
{
    struct findings_kept kept = { 0 };
    char ids[40][16];
    struct matrix_finding many[40];

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(ids[i], sizeof ids[i], "m-%d", i);
        many[i] = (struct matrix_finding){ MATRIX_RECEIVES_NOTHING, ids[i], NULL, 2, 0 };
    }
    findings_note(&kept, many, 40, 1000, NULL, NULL);
    findings_note(&kept, many, 40, 9000, NULL, NULL);
    assert_int_equal(kept.count, FINDINGS_MAX);
    findings_note(&kept, NULL, 0, 20000, NULL, NULL);
    assert_int_equal(kept.count, 0);
}

/* --- delays --- */

/* b's clock is `ahead` before a's, and every way takes `way`. */
static bool delay(int ahead, int way, int late, int32_t *late_ms, int32_t *error_ms)
{
    const struct summary_source cell = { .who = 2, .got = 1, .late_ms = late - ahead, .gap_ms = way - ahead };
    const struct summary_source back = { .who = 1, .late_ms = SUMMARY_UNKNOWN, .gap_ms = way + ahead };

    return delay_of(&cell, 1, &back, 1, late_ms, error_ms);
}

static void test_a_wrong_clock_is_taken_off(void **state)
{
    struct summary_source cell = { .who = 2, .got = 1, .late_ms = 5, .gap_ms = SUMMARY_UNKNOWN }, back = { .who = 1, .gap_ms = 1 };
    int32_t late_ms, error_ms;

    (void)state;
    assert_true(delay(3600000, 2, 40, &late_ms, &error_ms));
    assert_int_equal(late_ms, 40);
    assert_int_equal(error_ms, 2);
    assert_true(delay(-3600000, 2, 40, &late_ms, &error_ms));
    assert_int_equal(late_ms, 40);
    assert_false(delay(0, 300, 40, &late_ms, &error_ms)); /* known to within 300 ms: of no use */
    assert_true(delay(0, 300, 400, &late_ms, &error_ms));
    assert_false(delay_of(&cell, 1, &back, 1, &late_ms, &error_ms));
    cell.gap_ms = 1;
    assert_true(delay_of(&cell, 1, &back, 1, &late_ms, &error_ms));
    assert_false(delay_of(&cell, 3, &back, 1, &late_ms, &error_ms));
    back.gap_ms = -100; /* two ways that take less than nothing */
    assert_false(delay_of(&cell, 1, &back, 1, &late_ms, &error_ms));
}

static void test_the_median_of_two_regions(void **state)
{
    static const char *const regions[] = { "eu-west", "us" };
    struct fleet_delay_view out[FLEET_VIEW_DELAYS_MAX];
    struct summary_source own[3] = { { 0 } };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct summary summary = group_summary((char[]){ (char)('b' + i), 0 }, 1);

        snprintf(summary.region, sizeof summary.region, "us");
        summary.row[0] = (struct summary_source){ .who = fleet_hash("a"), .late_ms = SUMMARY_UNKNOWN, .gap_ms = 1 };
        summary.row_count = 1;
        group_hear(members, &summary, 1000);
        own[i] =
            (struct summary_source){ .who = fleet_hash(summary.id), .got = 1, .late_ms = 10 * (int32_t)(1 + i * i), .gap_ms = 1 };
    }
    assert_int_equal(delays_by_region(&(struct matrix_own){ .id = "a", .region = "eu-west", .row = own, .row_count = 3 }, members,
                                      regions, 2, out),
                     1);
    assert_string_equal(out[0].from_region, "us");
    assert_string_equal(out[0].to_region, "eu-west");
    assert_float_equal(out[0].seconds, 0.020, 0.0001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_member_has_a_cell, begin, end),
        cmocka_unit_test_setup_teardown(test_who_is_heard_by_nobody, begin, end),
        cmocka_unit_test_setup_teardown(test_a_large_group_takes_turns, begin, end),
        cmocka_unit_test_setup_teardown(test_the_only_one_of_its_region, begin, end),
        cmocka_unit_test_setup_teardown(test_a_short_window_is_no_hurry, begin, end),
        cmocka_unit_test_setup_teardown(test_who_publishes_has_a_turn, begin, end),
        cmocka_unit_test(test_a_finding_must_last),
        cmocka_unit_test(test_findings_are_bounded),
        cmocka_unit_test(test_a_wrong_clock_is_taken_off),
        cmocka_unit_test_setup_teardown(test_the_median_of_two_regions, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
