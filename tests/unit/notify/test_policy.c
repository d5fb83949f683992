/* What is told of a run of states, and when: a table. Each state lasts until the next one; what is due between them is told when it is due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/conf/conf.h"
#include "agent/notify/policy.h"

#define S(n) ((n) * INT64_C(1000))
#define M(n) S((n) * 60)
#define H(n) M((n) * 60)
enum { TRANSCRIPT_MAX = 4096, USUAL = NOTIFY_NOT_READY | NOTIFY_DEGRADED | NOTIFY_NOT_LIVE | NOTIFY_READY };

struct stage {
    struct policy policy;
    char told[TRANSCRIPT_MAX];
    unsigned messages;
    int64_t now_ms;
};

static char letter(unsigned fault)
{
    return fault == NOTIFY_NOT_READY  ? 'N'
           : fault == NOTIFY_DEGRADED ? 'D'
           : fault == NOTIFY_NOT_LIVE ? 'L'
           : fault == NOTIFY_WARN     ? 'W'
           : fault == NOTIFY_DRAINING ? 'P'
                                      : '-';
}

/* "begin1 -N@15 " : kind, incident, was and is, the second; ~changes, !left out */
static void hear(struct stage *stage)
{
    struct policy_say say;

    while (policy_next(&stage->policy, stage->now_ms, &say)) {
        size_t len = strlen(stage->told);
        stage->messages++;
        snprintf(stage->told + len, sizeof stage->told - len, "%s%s%u %c%c@%lld", len ? " " : "",
                 say.refresh ? "refresh" : notice_kind_name(say.kind), say.incident, letter(say.was), letter(say.is),
                 (long long)(say.at_ms / 1000));
        len = strlen(stage->told);
        if (say.changes > 1)
            snprintf(stage->told + len, sizeof stage->told - len, "~%u", say.changes);
        len = strlen(stage->told);
        if (say.left_out)
            snprintf(stage->told + len, sizeof stage->told - len, "!%u", say.left_out);
    }
}

static void pass(struct stage *stage, int64_t until_ms)
{
    for (int64_t due; (due = policy_due(&stage->policy)) <= until_ms;) {
        assert_true(due >= stage->now_ms || due == policy_due(&stage->policy));
        stage->now_ms = due > stage->now_ms ? due : stage->now_ms;
        unsigned before = stage->messages;
        hear(stage);
        /* something was told, or it is due later: it never spins */
        assert_true(stage->messages > before || policy_due(&stage->policy) > stage->now_ms);
    }
    stage->now_ms = until_ms;
}

static void begin(struct stage *stage, unsigned on, int64_t after_ms, int64_t repeat_ms, unsigned max)
{
    const struct policy_rules rules = { .on = on, .after_ms = after_ms, .repeat_ms = repeat_ms, .max_per_hour = max };

    memset(stage, 0, sizeof *stage);
    policy_init(&stage->policy, &rules, 0);
}

static void become_for(struct stage *stage, unsigned faults, const char *cause, int64_t ms)
{
    policy_update(&stage->policy, &(struct policy_state){ .faults = faults, .cause = cause }, stage->now_ms);
    hear(stage);
    pass(stage, stage->now_ms + ms);
}

static void unknown_for(struct stage *stage, int64_t ms)
{
    policy_update(&stage->policy, &(struct policy_state){ .unknown = true, .cause = "starting" }, stage->now_ms);
    hear(stage);
    pass(stage, stage->now_ms + ms);
}

struct row {
    const char *what;
    unsigned on;
    int64_t after_ms, repeat_ms;
    unsigned max;
    struct {
        unsigned faults; /* UINT_MAX: unknown */
        const char *cause;
        int64_t for_ms; /* 0: the end */
    } states[12];
    const char *told;
};
#define UNKNOWN 0xffffffffu
#define WELL { 0, "healthy", M(30) }

static const struct row rows[] = {
    { "all is well", USUAL, S(15), H(4), 12, { WELL }, "" },
    { "a blip is not told", USUAL, S(15), H(4), 12, { WELL, { NOTIFY_NOT_READY, "a", S(14) }, WELL }, "" },
    { "one incident, begun once and ended once",
      USUAL,
      S(15),
      H(4),
      12,
      { { 0, "healthy", S(10) }, { NOTIFY_NOT_READY, "a", M(5) }, WELL },
      "begin1 -N@25 end1 N-@325" },
    { "at once with after: 0s", USUAL, 0, H(4), 12, { { NOTIFY_NOT_READY, "a", S(3) }, WELL }, "begin1 -N@0 end1 N-@3" },
    { "repeated",
      USUAL,
      S(15),
      H(1),
      12,
      { { NOTIFY_NOT_READY, "a", H(2) + S(20) }, WELL },
      "begin1 -N@15 repeat1 NN@3615 repeat1 NN@7215 end1 N-@7235" },
    { "never repeated", USUAL, S(15), 0, 12, { { NOTIFY_NOT_READY, "a", H(20) }, WELL }, "begin1 -N@15 end1 N-@72015" },
    { "an agent that starts into a fault",
      USUAL,
      S(15),
      H(4),
      12,
      { { UNKNOWN, "", S(60) }, { NOTIFY_NOT_READY, "a", S(20) } },
      "begin1 -N@75" },
    { "starting is none", USUAL, S(15), H(4), 12, { { UNKNOWN, "", H(1) } }, "" },
    { "what on does not name is none",
      NOTIFY_NOT_READY | NOTIFY_READY,
      S(15),
      H(4),
      12,
      { { NOTIFY_DEGRADED, "a", H(1) },
        { NOTIFY_WARN, "b", H(1) },
        { NOTIFY_NOT_READY, "a", M(1) },
        { NOTIFY_DEGRADED, "a", H(1) } },
      "begin1 -N@7215 end1 N-@7275" },
    { "without ready no end",
      NOTIFY_NOT_READY,
      S(15),
      H(4),
      12,
      { { NOTIFY_NOT_READY, "a", M(5) }, { 0, "healthy", H(1) }, { NOTIFY_NOT_READY, "a", M(5) } },
      "begin1 -N@15 begin2 -N@3915" },
    { "worse is told soon, better sparingly",
      USUAL,
      S(15),
      H(4),
      12,
      { { NOTIFY_DEGRADED, "a", S(30) }, { NOTIFY_NOT_READY, "b", S(30) }, { NOTIFY_DEGRADED, "a", M(5) }, WELL },
      "begin1 -D@15 change1 DN@40 change1 ND@100 end1 D-@375" },
    { "worse for a moment is not told",
      USUAL,
      S(15),
      H(4),
      12,
      { { NOTIFY_DEGRADED, "a", S(20) }, { NOTIFY_NOT_READY, "b", S(5) }, { NOTIFY_DEGRADED, "a", S(20) }, WELL },
      "begin1 -D@15 end1 D-@60" },
    { "another cause is told a minute later",
      USUAL,
      S(15),
      H(4),
      12,
      { { NOTIFY_NOT_READY, "a", S(20) }, { NOTIFY_NOT_READY, "b", M(5) }, WELL },
      "begin1 -N@15 change1 NN@75 end1 N-@335" },
    { "a recovery has to last, too",
      USUAL,
      S(15),
      H(4),
      12,
      { { NOTIFY_NOT_READY, "a", M(1) }, { 0, "healthy", S(10) }, { NOTIFY_NOT_READY, "a", M(1) }, WELL },
      "begin1 -N@15 change1 NN@75~2 end1 N-@160" },
    { "drained on purpose: silence, and time stands still",
      USUAL,
      S(15),
      H(1),
      12,
      { { NOTIFY_NOT_READY, "a", M(1) }, { UNKNOWN, "", H(5) }, { NOTIFY_NOT_READY, "a", M(1) }, WELL },
      "begin1 -N@15 repeat1 NN@18060 end1 N-@18135" },
    { "draining, where on names it",
      USUAL | NOTIFY_DRAINING,
      S(15),
      H(4),
      12,
      { { NOTIFY_DRAINING, "draining", M(1) }, WELL },
      "begin1 -P@15 end1 P-@75" },
    { "warn, where on names it",
      NOTIFY_WARN | NOTIFY_READY,
      S(15),
      H(4),
      12,
      { { NOTIFY_WARN, "tls", M(1) }, WELL },
      "begin1 -W@15 end1 W-@75" },
    { "not live goes before not ready",
      USUAL,
      0,
      H(4),
      12,
      { { NOTIFY_NOT_LIVE | NOTIFY_NOT_READY, "a", M(1) }, WELL },
      "begin1 -L@0 end1 L-@60" },
    { "long ago is no relapse",
      USUAL,
      0,
      H(4),
      12,
      { { NOTIFY_NOT_READY, "a", S(1) }, { 0, "healthy", M(11) }, { NOTIFY_NOT_READY, "a", S(1) }, WELL },
      "begin1 -N@0 end1 N-@1 begin2 -N@661 end2 N-@662" },
    { "a relapse has to recover for longer",
      USUAL,
      0,
      H(4),
      12,
      { { NOTIFY_NOT_READY, "a", S(1) }, { 0, "healthy", M(1) }, { NOTIFY_NOT_READY, "a", S(1) }, WELL },
      "begin1 -N@0 end1 N-@1 begin2 -N@61 end2 N-@92" },
};

static void test_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct stage stage;

        begin(&stage, row->on, row->after_ms, row->repeat_ms, row->max);
        for (size_t j = 0; row->states[j].for_ms; j++)
            if (row->states[j].faults == UNKNOWN)
                unknown_for(&stage, row->states[j].for_ms);
            else
                become_for(&stage, row->states[j].faults, row->states[j].cause, row->states[j].for_ms);
        if (strcmp(stage.told, row->told) != 0)
            fail_msg("%s: told '%s', want '%s'", row->what, stage.told, row->told);
    }
}

static void flap(struct stage *stage, unsigned times, int64_t bad_ms, int64_t well_ms)
{
    for (unsigned i = 0; i < times; i++) {
        become_for(stage, NOTIFY_NOT_READY, "a", bad_ms);
        become_for(stage, 0, "healthy", well_ms);
    }
}

/* 50 flaps in a minute: one incident with `after`, two without; and it is over when it has been well for a while. */
static void test_flapping(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, USUAL, S(15), H(4), 12);
    flap(&stage, 50, 600, 600);
    become_for(&stage, 0, "healthy", M(30));
    assert_string_equal(stage.told, "begin1 -N@29~48 end1 N-@359~51");
    begin(&stage, USUAL, 0, H(4), 12);
    flap(&stage, 50, 600, 600);
    become_for(&stage, 0, "healthy", M(30));
    assert_string_equal(stage.told, "begin1 -N@0 end1 N-@0 begin2 -N@1 end2 N-@359~97");
}

/* A fault that comes and goes is told in the end, and then told more and more rarely. */
static void test_flapping_for_hours(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, USUAL, S(30), 0, 12);
    flap(&stage, 1440, S(5), S(5)); /* four hours */
    become_for(&stage, 0, "healthy", M(30));
    assert_ptr_equal(strstr(stage.told, "begin1 -N@55~10 change1 NN@115~12 change1 NN@235~24 "), stage.told);
    assert_true(stage.messages >= 6 && stage.messages <= 12);
    assert_non_null(strstr(stage.told, " end1 N-@"));
}

/* Whatever happens, at most max_per_hour in any hour, and the end of what was begun is among them. */
static void test_the_ceiling(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, USUAL, 0, 0, 4);
    for (int i = 0; i < 10; i++) {
        become_for(&stage, NOTIFY_NOT_READY, "a", M(1));
        become_for(&stage, 0, "healthy", M(11)); /* no relapse */
    }
    /* Two incidents fit into an hour with begin and end. Those that began and ended while there was no room are counted in the next message. */
    assert_string_equal(stage.told, "begin1 -N@0 end1 N-@60 begin2 -N@720 end2 N-@780 begin6 -N@3660!3 end6 N-@3660 "
                                    "begin7 -N@4380 end7 N-@4380");
}

static void test_the_ceiling_waits_for_room(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, USUAL, 0, 0, 2);
    become_for(&stage, NOTIFY_NOT_READY, "a", M(1));
    become_for(&stage, 0, "healthy", M(20));
    become_for(&stage, NOTIFY_NOT_READY, "b", H(3)); /* told when there is room again */
    become_for(&stage, 0, "healthy", M(20));
    assert_string_equal(stage.told, "begin1 -N@0 end1 N-@60 begin2 -N@3660 end2 N-@12060");
}

static void test_refresh(void **state)
{
    const struct policy_rules rules = { .on = USUAL, .after_ms = 0, .refresh_ms = M(1), .max_per_hour = 2 };
    struct stage stage = { 0 };

    (void)state;
    policy_init(&stage.policy, &rules, 0);
    become_for(&stage, NOTIFY_NOT_READY, "a", S(150));
    become_for(&stage, 0, "healthy", M(5));
    assert_string_equal(stage.told, "begin1 -N@0 refresh1 NN@60 refresh1 NN@120 end1 N-@150");
}

static void test_what_was_lost_is_said(void **state)
{
    struct stage stage;

    (void)state;
    begin(&stage, USUAL, 0, 0, 12);
    policy_lost(&stage.policy, 2);
    become_for(&stage, NOTIFY_NOT_READY, "a", S(150));
    assert_string_equal(stage.told, "begin1 -N@0!2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_flapping),
        cmocka_unit_test(test_flapping_for_hours),
        cmocka_unit_test(test_the_ceiling),
        cmocka_unit_test(test_the_ceiling_waits_for_room),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_what_was_lost_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
