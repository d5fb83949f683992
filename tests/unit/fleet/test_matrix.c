/* The delivery matrix: pictures of rows, and what they mean. */
#include "tests/unit/fleet/group.h"

#include "agent/fleet/matrix.h"

enum { SIDE_MAX = 6 };

/* A line for each receiver, a character for each source: '#' lit, '.' dark, ' ' nothing known. Agents a, b, c, … of which the first is this one; regions:
 * a letter for each. Findings in order: "receives b", "publishes c", "cut e<w" (e has nothing from w). */
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
                                                    .lost = text[i] == '.' ? 3 : 0,
                                                    .late_ms = SUMMARY_UNKNOWN,
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
        summary.row_count = fill(picture->rows[i], summary.row);
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
    struct matrix_own own = { .id = "a", .region = region, .counts = true, .row = row, .row_count = fill(picture->rows[0], row) };
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
    };

    (void)state;
    for (size_t i = 0; i < sizeof pictures / sizeof pictures[0]; i++)
        check(&pictures[i]);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(matrix_cause_name(MATRIX_RECEIVES_NOTHING), "instance_receives_nothing");
    assert_string_equal(matrix_cause_name(MATRIX_PUBLISHES_NOTHING), "instance_publishes_nothing");
    assert_string_equal(matrix_cause_name(MATRIX_REGIONS_CUT), "regions_cut");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
