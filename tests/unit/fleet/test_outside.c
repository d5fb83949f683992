/* How the public path is seen from the regions (agent/fleet/outside.h). */
#include "tests/unit/fleet/group.h"

#include <stdlib.h>

#include "agent/fleet/outside.h"

enum { BEGIN_MS = 100000 };

static uint64_t seq;

/* `who` looks from that region; the round that says so is so old. */
static void look(struct members *members, const char *who, const char *region, enum fleet_public path, uint64_t age_ms,
                 uint64_t now_ms)
{
    struct summary summary = group_summary(who, ++seq);

    snprintf(summary.region, sizeof summary.region, "%s", region);
    summary.watcher = true;
    summary.public_path = path;
    summary.public_age_ms = age_ms;
    group_hear(members, &summary, now_ms);
}

static struct outside judge(const struct members *members, uint64_t now_ms)
{
    struct outside_own own = { .region = "own", .every_ms = EVERY_MS };
    struct outside outside;

    outside_judge(&own, members, now_ms, &outside);
    return outside;
}

static const char *alone(const struct outside *outside)
{
    const char *name = "";

    for (size_t i = 0; i < outside->count; i++)
        if (outside->regions[i].alone) {
            assert_string_equal(name, "");
            name = outside->regions[i].name;
        }
    return name;
}

static void round_of_three(struct members *members, enum fleet_public us, enum fleet_public eu, enum fleet_public ap,
                           uint64_t now_ms)
{
    look(members, "w-us", "us", us, 100, now_ms);
    look(members, "w-eu", "eu", eu, 100, now_ms);
    look(members, "w-ap", "ap", ap, 100, now_ms);
}

#define P FLEET_PUBLIC_PASS
#define F FLEET_PUBLIC_FAIL

static void test_one_region_fails(void **state)
{
    struct members *members = group_table("own");
    struct outside outside;

    (void)state;
    round_of_three(members, P, P, P, BEGIN_MS - 5000);
    outside = judge(members, BEGIN_MS - 1);
    assert_string_equal(alone(&outside), "");
    round_of_three(members, F, P, P, BEGIN_MS);
    outside = judge(members, BEGIN_MS);
    assert_string_equal(alone(&outside), ""); /* said once */
    round_of_three(members, F, P, P, BEGIN_MS + 4999);
    outside = judge(members, BEGIN_MS + 4999);
    assert_string_equal(alone(&outside), ""); /* not a round */
    outside = judge(members, BEGIN_MS + 5000);
    assert_string_equal(alone(&outside), "us");
    assert_false(outside.down);
    assert_int_equal(outside.looking, 3);
    look(members, "w-us", "us", P, 0, BEGIN_MS + 6000);
    outside = judge(members, BEGIN_MS + 6000);
    assert_string_equal(alone(&outside), "");
    members_free(members);
}

/* One that gets in from the region itself, only one that does elsewhere, or passes from before the fault: no region is named. */
static void test_in_doubt_nobody_is_named(void **state)
{
    struct members *members = group_table("own");
    struct outside outside;

    (void)state;
    for (uint64_t at_ms = BEGIN_MS; at_ms <= BEGIN_MS + 10000; at_ms += 5000) {
        look(members, "w-us", "us", F, 0, at_ms);
        look(members, "w-eu", "eu", P, 0, at_ms);
    }
    outside = judge(members, BEGIN_MS + 10000);
    assert_string_equal(alone(&outside), "");
    look(members, "w-ap", "ap", P, 10001, BEGIN_MS + 10000); /* its pass is older than the fault */
    outside = judge(members, BEGIN_MS + 10000);
    assert_string_equal(alone(&outside), "");
    look(members, "w-ap", "ap", P, 9000, BEGIN_MS + 10001);
    outside = judge(members, BEGIN_MS + 10001);
    assert_string_equal(alone(&outside), "us");
    look(members, "w-us-2", "us", P, 0, BEGIN_MS + 10002);
    outside = judge(members, BEGIN_MS + 10002);
    assert_string_equal(alone(&outside), "");
    members_free(members);
}

static void test_one_that_falls_silent_has_said_it_once(void **state)
{
    struct members *members = group_table("own");
    struct outside outside;

    (void)state;
    round_of_three(members, F, P, P, BEGIN_MS);
    for (uint64_t at_ms = BEGIN_MS + 1000; at_ms < BEGIN_MS + 20000; at_ms += 1000) {
        look(members, "w-eu", "eu", P, 0, at_ms);
        look(members, "w-ap", "ap", P, 0, at_ms);
        outside = judge(members, at_ms);
        assert_string_equal(alone(&outside), "");
    }
    assert_int_equal(outside.looking, 2);
    members_free(members);
}

static void test_it_is_down_for_all(void **state)
{
    struct members *members = group_table("own");
    struct outside_own own = { .region = "us", .path = F, .since_ms = BEGIN_MS, .at_ms = BEGIN_MS, .every_ms = EVERY_MS };
    struct outside outside;

    (void)state;
    for (uint64_t at_ms = BEGIN_MS; at_ms <= BEGIN_MS + 5000; at_ms += 2500)
        round_of_three(members, F, F, F, at_ms);
    outside_judge(&own, members, BEGIN_MS + 5000, &outside);
    assert_true(outside.down);
    assert_string_equal(alone(&outside), "");
    assert_int_equal(outside.looking, 4);
    assert_int_equal(outside.count, 3);
    own.path = P;
    own.at_ms = BEGIN_MS + 4000;
    outside_judge(&own, members, BEGIN_MS + 5000, &outside);
    assert_false(outside.down);
    members_free(members);

    members = group_table("own");
    own.path = F;
    outside_judge(&own, members, BEGIN_MS + 5000, &outside);
    assert_false(outside.down); /* one alone speaks for nobody */
    members_free(members);
}

/* At random: whoever is named, all who look from there have failed for a round, and two elsewhere have got in since. */
static void test_at_random(void **state)
{
    enum { LOOKERS = 12, REGIONS = 20 };
    static const char *const runs[] = { "1", "7", "1764226229" };
    unsigned named = 0;

    (void)state;
    for (size_t run = 0; run < sizeof runs / sizeof runs[0]; run++) {
        struct members *members = group_table("own");
        enum fleet_public paths[LOOKERS];
        uint64_t begun_ms[LOOKERS] = { 0 };
        unsigned regions = run == 2 ? REGIONS : 3;

        for (unsigned i = 0; i < LOOKERS; i++)
            paths[i] = P;
        srandom((unsigned)strtoul(runs[run], NULL, 10));
        for (uint64_t now_ms = BEGIN_MS; now_ms < BEGIN_MS + 400000; now_ms += 500) {
            unsigned i = (unsigned)random() % LOOKERS;
            char who[16], region[16];
            struct outside outside;

            snprintf(who, sizeof who, "w%u", i);
            snprintf(region, sizeof region, "r%u", i % regions);
            if (random() % 16 == 0) {
                paths[i] = paths[i] == P ? F : P;
                begun_ms[i] = now_ms;
            }
            look(members, who, region, paths[i], 0, now_ms);
            outside = judge(members, now_ms);
            for (size_t k = 0; k < outside.count; k++) {
                unsigned in = 0;

                if (!outside.regions[k].alone)
                    continue;
                named++;
                for (unsigned j = 0; j < LOOKERS; j++) {
                    const struct member *member;
                    char id[16];

                    snprintf(id, sizeof id, "w%u", j);
                    member = members_find(members, id);
                    if (!member || !member_is_fresh(members, member, now_ms))
                        continue;
                    if (strcmp(member->region, outside.regions[k].name) != 0)
                        in += paths[j] == P;
                    else
                        assert_true(paths[j] == F && begun_ms[j] < now_ms);
                }
                assert_true(in >= OUTSIDE_OTHERS_MIN);
            }
        }
        members_free(members);
    }
    assert_true(named > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_region_fails),
        cmocka_unit_test(test_in_doubt_nobody_is_named),
        cmocka_unit_test(test_one_that_falls_silent_has_said_it_once),
        cmocka_unit_test(test_it_is_down_for_all),
        cmocka_unit_test(test_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
