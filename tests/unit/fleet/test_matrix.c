/* The delivery matrix: pictures of rows, and what they mean. */
#include "tests/unit/fleet/group.h"

#include "agent/fleet/matrix.h"

enum { SIDE_MAX = 6 };

static const struct summary_beats speaks = { .count = 9, .window_ms = 10000 };

/* A line for each receiver, a character for each source: '#' lit, '.' dark, ',' dark at the broker too, '?' a cell that says nothing, ' ' none. Agents a, b, c, … of which the first is this one; regions:
 * a letter for each, and all in d drain. Findings in order: "receives b", "publishes c", "cut e<w" (e has nothing from w). */
struct picture {
    const char *rows[SIDE_MAX + 1];
    const char *regions, *want;
};

static size_t fill(const char *text, struct summary_source *row)
{
    size_t count = 0;

    for (size_t i = 0; text[i]; i++)
        if (text[i] != ' ')
            row[count++] = (struct summary_source){ .who = fleet_hash((char[]){ (char)('a' + i), 0 }),
                                                    .got = text[i] == '#' ? 3 : 0,
                                                    .lost = text[i] == '.' || text[i] == ',' ? 3 : 0,
                                                    .late_ms = text[i] == ',' ? SUMMARY_NOR_CONTROL : SUMMARY_UNKNOWN,
                                                    .gap_ms = SUMMARY_UNKNOWN };
    return count;
}

static struct members *hear_all(const struct picture *picture)
{
    struct members *members = group_table("a");

    for (unsigned i = 1; picture->rows[i]; i++) {
        struct summary summary = group_summary((char[]){ (char)('a' + i), 0 }, 1);

        summary.region[0] = picture->regions[i];
        summary.region[1] = 0;
        summary.word = picture->regions[i] == 'd' ? FLEET_DRAINING : FLEET_READY;
        summary.row_count = fill(picture->rows[i], summary.row);
        summary.beats = speaks;
        group_hear(members, &summary, 1000);
    }
    return members;
}

static void describe(const struct matrix_finding *findings, size_t count, char *text, size_t size)
{
    size_t at = 0;

    text[0] = 0;
    for (size_t i = 0; i < count && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%s %s%s%s", i ? ", " : "",
                               findings[i].cause == MATRIX_RECEIVES_NOTHING    ? "receives"
                               : findings[i].cause == MATRIX_PUBLISHES_NOTHING ? "publishes"
                                                                               : "cut",
                               findings[i].who, findings[i].from ? "<" : "", findings[i].from ? findings[i].from : "");
}

static void check(const struct picture *picture)
{
    struct members *members = hear_all(picture);
    struct summary_source row[SIDE_MAX];
    char region[2] = { picture->regions[0], 0 }, text[256];
    struct matrix_own own = {
        .id = "a", .region = region, .counts = true, .row = row, .row_count = fill(picture->rows[0], row), .beats = &speaks
    };
    struct matrix_finding findings[8];
    size_t count = matrix_judge(&own, members, 1000, findings, 8);

    describe(findings, count, text, sizeof text);
    assert_string_equal(text, picture->want);
    members_free(members);
}

static void test_pictures(void **state)
{
    static const struct picture pictures[] = {
        { { "###", "###", "###" }, "eee", "" },
        { { "###", "...", "###" }, "eee", "receives b" },
        { { "...", "###", "###" }, "eee", "receives a" },
        { { "##.", "##.", "###" }, "eee", "publishes c" },
        { { ".##", ".##", ".##" }, "eee", "publishes a" },
        { { "##", ".#" }, "ee", "" },                     /* b does not hear a: who else could say why? */
        { { "##.", "...", "##." }, "eee", "receives b" }, /* c is missed by a alone, which is no two */
        { { "##..", "##..", "..##", "..##" }, "eeww", "cut e<w, cut w<e" },
        { { "####", "####", "..##", "..##" }, "eeww", "cut w<e" },
        { { "##. ", "##. ", " .##", " .##" }, "eeww", "cut e<w, cut w<e" },
        { { "...", "...", "..." }, "eee", "" }, /* nobody hears anybody: that is the broker */
        { { "....", "....", "....", "...." }, "eeww", "" },
        { { "   ", "###", "###" }, "eee", "" },
        { { "#  ", "#  ", "#  " }, "eee", "" },
        { { "##.", "##.", ",,#" }, "eee", "publishes c" }, /* c has another broker: its server does pass on */
        { { "##.", "##.", "..#" }, "eee", "receives c, publishes c" },
        { { "###", "###", ",,#" }, "eee", "" },
        { { "####", ".?? ", "####", "####" },
          "eeee",
          "" }, /* two heartbeats of one source, in a time of which nothing else is known */
        { { "####", ".?? ", "####", "####" }, "eeww", "receives b" }, /* other regions may have brokers of their own */
        { { "####", "..?#", "####", "####" }, "eeed", "" },           /* what comes from one that is not read has come */
        { { "####", ". ?.", "####", "####" }, "eeee", "receives b" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof pictures / sizeof pictures[0]; i++)
        check(&pictures[i]);
}

/* A row that says of one agent many times that nothing comes is one witness; and who says of itself that it publishes nothing is not missed. */
static void test_witnesses_are_counted_once(void **state)
{
    const uint32_t b = fleet_hash("b"), c = fleet_hash("c");
    const struct summary_source own_row[] = { { .who = b, .got = 3 } };
    const struct matrix_own own = { "a", "e", true, own_row, 1, &speaks };
    struct members *members = group_table("a");
    struct summary summary = group_summary("b", 1);
    struct matrix_finding findings[2];

    (void)state;
    summary.beats = speaks;
    summary.row[0] = (struct summary_source){ .who = fleet_hash("a"), .got = 3 };
    for (summary.row_count = 1; summary.row_count < SUMMARY_ROW_MAX; summary.row_count++)
        summary.row[summary.row_count] = (struct summary_source){ .who = c, .lost = 3, .late_ms = SUMMARY_UNKNOWN };
    group_hear(members, &summary, 1000);
    summary = group_summary("c", 1);
    summary.beats = speaks;
    group_hear(members, &summary, 1000);
    assert_int_equal(matrix_judge(&own, members, 1000, findings, 2), 0);

    summary = group_summary("d", 1);
    summary.row[0] = (struct summary_source){ .who = b, .got = 3 };
    summary.row[1] = (struct summary_source){ .who = c, .lost = 3, .late_ms = SUMMARY_UNKNOWN };
    summary.row_count = 2;
    group_hear(members, &summary, 1000);
    assert_int_equal(matrix_judge(&own, members, 1000, findings, 2), 1);
    summary = group_summary("c", 2);
    group_hear(members, &summary, 1000);
    assert_int_equal(matrix_judge(&own, members, 1000, findings, 2), 0);
    members_free(members);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(matrix_cause_name(MATRIX_RECEIVES_NOTHING), "instance_receives_nothing");
    assert_string_equal(matrix_cause_name(MATRIX_PUBLISHES_NOTHING), "instance_publishes_nothing");
    assert_string_equal(matrix_cause_name(MATRIX_REGIONS_CUT), "regions_cut");
    assert_string_equal(matrix_cause_name(MATRIX_SHARD_LOST), "shard_lost");
}

/* One heartbeat that is missing says nothing; two do. */
static void test_one_lost_heartbeat_is_none(void **state)
{
    struct summary_source cell = { .lost = 1 };

    (void)state;
    assert_false(matrix_is_dark(&cell));
    cell.lost = 2;
    assert_true(matrix_is_dark(&cell));
    cell.got = 1;
    assert_false(matrix_is_dark(&cell));
}

/* What each agent says of its channels, a letter for one that it loses; "-": it has other channels, "?": it does not try all. */
static void check_shards(const char *const *said, const char *want)
{
    struct members *members = group_table("a");
    struct summary_source row[SIDE_MAX];
    struct summary_beats beats[SIDE_MAX] = { 0 };
    struct matrix_finding findings[8];
    size_t count, at = 0;
    char text[256] = "";

    for (unsigned i = 0; said[i]; i++) {
        struct summary summary = group_summary((char[]){ (char)('a' + i), 0 }, 1);

        beats[i] = (struct summary_beats){ .count = 9, .window_ms = 1000, .channels = said[i][0] == '-', .all = said[i][0] != '?' };
        for (const char *c = said[i]; *c; c++)
            if (*c != '-' && *c != '?')
                beats[i].shards[beats[i].shard_count++] = (uint32_t)*c;
        summary.row_count = fill("####", summary.row);
        summary.beats = beats[i];
        if (i)
            group_hear(members, &summary, 1000);
    }
    count = matrix_judge(&(struct matrix_own){ "a", "e", true, row, fill("####", row), &beats[0] }, members, 1000, findings, 8);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(findings[i].cause, MATRIX_SHARD_LOST);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s %u", i ? ", " : "", findings[i].who ? findings[i].who : "all",
                               (unsigned)findings[i].dark);
    }
    assert_string_equal(text, want);
    members_free(members);
}

static void test_lost_channels(void **state)
{
    (void)state;
    check_shards((const char *const[]){ "", "", "", NULL }, "");
    check_shards((const char *const[]){ "x", "x", "x", NULL }, "all 1");
    check_shards((const char *const[]){ "xy", "xy", "?", NULL }, "all 2");
    check_shards((const char *const[]){ "xy", "", "", NULL }, "a 2");
    check_shards((const char *const[]){ "x", "y", "", NULL }, "a 1, b 1");
    check_shards((const char *const[]){ "x", "?", "?", NULL }, "");
    check_shards((const char *const[]){ "x", "-", "-x", NULL }, "c 1");
    check_shards((const char *const[]){ "x", "-", "-", NULL }, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_lost_heartbeat_is_none), cmocka_unit_test(test_lost_channels), cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_witnesses_are_counted_once), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
