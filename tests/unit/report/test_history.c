/* The history: what becomes an incident, what is in a bucket, how exact its quantiles are, and that neither a wild clock nor a flapping server
 * makes it wrong or large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/secret.h"
#include "agent/report/history_impl.h"
#include "tests/unit/report/views.h"

#define MINUTE INT64_C(60000)
#define DAY (24 * 60 * MINUTE)
/* The beginning of a bucket. */
#define BEGIN (WORLD_MS / HISTORY_BUCKET_MS * HISTORY_BUCKET_MS)

static struct history *history;
static struct world world;
static struct check_view *ping;

static int set_up(void **state)
{
    (void)state;
    history = history_new();
    world_init(&world);
    ping = world_add(&world, "ping", "ping", "local", GATE_READY);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    history_free(history);
    secret_forget_all();
    return 0;
}

static void change(int64_t at_ms, const char *word, const char *cause)
{
    const struct history_change noted = { at_ms, word, true, cause, "full", "plain" };

    history_note_change(history, &noted);
}

static void round_of(struct check_view *view, int64_t now_ms, enum result status, uint64_t rtt_us)
{
    view->status = status;
    view->have_rtt = rtt_us != 0;
    view->rtt_ns = rtt_us * 1000;
    view->last_ms++;
    history_note_round(history, view, now_ms);
}

static struct history_bucket bucket(unsigned ago, int64_t now_ms)
{
    struct history_bucket out = { 0 };
    const struct history_check *check = history_find(history, "ping");

    if (!check || !history_bucket_at(check, ago, now_ms, &out))
        return (struct history_bucket){ 0 };
    return out;
}

/* --- changes and incidents ------------------------------------------------------------------------------------------------ */

static void test_changes(void **state)
{
    (void)state;
    assert_null(history_change_at(history, 0));
    change(1000, "starting", "starting");
    change(1000, "starting", "starting"); /* the same state, told by two events */
    change(2000, "ready", "healthy");
    assert_int_equal(history_change_count(history), 2);
    assert_string_equal(history_change_at(history, 0)->word, "ready");
    assert_string_equal(history_change_at(history, 1)->word, "starting");
    assert_int_equal(history_change_at(history, 0)->at_ms, 2000);
    assert_string_equal(history_change_at(history, 0)->plain, "plain");
    assert_null(history_change_at(history, 2));
}

static void test_flapping_is_bounded(void **state)
{
    struct history_incident incidents[HISTORY_INCIDENTS_MAX + 5];

    (void)state;
    for (int i = 0; i < 1000; i++)
        change(i * 1000, i % 2 ? "not ready" : "ready", i % 2 ? "server_down" : "healthy");
    assert_int_equal(history_change_count(history), HISTORY_CHANGES_MAX);
    assert_int_equal(history_change_at(history, 0)->at_ms, 999000);
    assert_int_equal(history_change_at(history, HISTORY_CHANGES_MAX - 1)->at_ms, 800000);
    assert_int_equal(history_incidents(history, 0, incidents, HISTORY_INCIDENTS_MAX + 5), HISTORY_INCIDENTS_MAX);
    assert_int_equal(incidents[0].begin_ms, 999000);
    assert_int_equal(incidents[0].end_ms, 0);
    assert_int_equal(incidents[1].end_ms, 998000);
}

static void test_long_texts_and_secrets(void **state)
{
    char text[2000];
    struct history_change noted = { 1, "not ready", true, "server_down", text, "the token is hunter2-secret" };

    (void)state;
    secret_add("hunter2-secret");
    memset(text, 'x', sizeof text);
    memcpy(text + HISTORY_TEXT_MAX - 2, "\xc3\xa4", 2); /* would be cut in the middle */
    text[sizeof text - 1] = 0;
    history_note_change(history, &noted);
    assert_int_equal(strlen(history_change_at(history, 0)->sentence), HISTORY_TEXT_MAX - 2);
    assert_string_equal(history_change_at(history, 0)->plain, "the token is ***");
    noted = (struct history_change){ 2, "ready", true, "healthy", NULL, NULL };
    history_note_change(history, &noted);
    assert_string_equal(history_change_at(history, 0)->sentence, "");
}

static void test_an_incident(void **state)
{
    struct history_incident seen[4];
    const struct history_change dead = { 5000, "not ready", false, "server_hung", "hung", "hung" };

    (void)state;
    change(1000, "starting", "starting");
    change(2000, "ready", "healthy");
    assert_int_equal(history_incidents(history, 0, seen, 4), 0);
    change(3000, "degraded", "broker_down");
    change(4000, "not ready", "server_down");
    history_note_change(history, &dead);
    change(6000, "not ready", "server_starting");
    change(7000, "draining", "draining");
    change(8000, "not ready", "server_down");
    assert_int_equal(history_incidents(history, 0, seen, 4), 1);
    assert_int_equal(seen[0].begin_ms, 3000);
    assert_int_equal(seen[0].end_ms, 0);
    assert_string_equal(seen[0].worst, "not live");
    assert_string_equal(seen[0].cause, "server_hung");
    assert_int_equal(seen[0].changes, 6);
    change(9000, "ready", "healthy");
    assert_int_equal(history_incidents(history, 0, seen, 4), 1);
    assert_int_equal(seen[0].end_ms, 9000);
    assert_false(seen[0].cut);
    assert_int_equal(history_incidents(history, 9001, seen, 4), 0);
    change(10000, "ready", "certificate_untrusted"); /* only reported */
    change(11000, "draining", "draining");
    assert_int_equal(history_incidents(history, 9001, seen, 4), 0);
}

/* What the agent before has left: an incident goes on, or ended when it was last seen. */
static void test_an_incident_over_a_restart(void **state)
{
    struct history_incident seen[4];

    (void)state;
    for (int well = 0; well < 2; well++) {
        struct history *old = history;

        change(3000, "not ready", "server_down");
        change(4000, "draining", "draining");
        history = history_new();
        change(9000, "starting", "starting");
        history_prepend(history, old, 5000);
        assert_int_equal(history_change_count(history), 3);
        change(9500, well ? "ready" : "degraded", well ? "healthy" : "broker_down");
        assert_int_equal(history_incidents(history, 0, seen, 4), 1);
        assert_int_equal(seen[0].begin_ms, 3000);
        assert_int_equal(seen[0].end_ms, well ? 5000 : 0);
        assert_int_equal(seen[0].cut, well);
        if (well)
            break;
        change(9900, "ready", "healthy"); /* now it is seen to end */
        assert_int_equal(history_incidents(history, 0, seen, 4), 1);
        assert_int_equal(seen[0].end_ms, 9900);
        assert_false(seen[0].cut);
        history_free(history);
        history = history_new();
    }
}

/* --- buckets --------------------------------------------------------------------------------------------------------------- */

static void test_buckets(void **state)
{
    int64_t now_ms = BEGIN + 1000;

    (void)state;
    assert_null(history_find(history, "ping"));
    round_of(ping, now_ms, RESULT_PASS, 250);
    round_of(ping, now_ms + 1, RESULT_FAIL, 0);
    round_of(ping, now_ms + 2, RESULT_WARN, 500);
    history_note_round(history, ping, now_ms + 3); /* a void round: the view is as it was */
    round_of(ping, now_ms + 15 * MINUTE, RESULT_PASS, 100);
    struct history_bucket seen = bucket(3, now_ms + 15 * MINUTE);
    assert_int_equal(seen.start_ms, BEGIN);
    assert_int_equal(seen.rounds, 3);
    assert_int_equal(seen.failures, 1);
    assert_int_equal(seen.warnings, 1);
    assert_true(seen.have_rtt);
    assert_in_range(seen.p50_us, 235, 265);
    assert_in_range(seen.p99_us, 470, 530);
    assert_false(seen.have_connections);
    assert_int_equal(bucket(2, now_ms + 15 * MINUTE).rounds, 0); /* a gap */
    assert_int_equal(bucket(0, now_ms + 15 * MINUTE).rounds, 1);
    assert_int_equal(bucket(1, now_ms + 20 * MINUTE).rounds, 1);
    assert_int_equal(bucket(0, now_ms + 20 * MINUTE).rounds, 0);
    assert_int_equal(bucket(287, BEGIN + DAY - 1).rounds, 3);
    assert_int_equal(bucket(288, BEGIN + DAY).rounds, 0);
    assert_int_equal(bucket(4, BEGIN).rounds, 0);
}

static void test_a_round_not_judged_is_none(void **state)
{
    (void)state;
    check_blank(ping);
    history_note_round(history, ping, BEGIN);
    assert_null(history_find(history, "ping"));
}

/* Until a round-trip time comes, whole rounds count; failed ones never do, as their time is the deadline's. */
static void test_what_is_measured(void **state)
{
    (void)state;
    ping->total_ns = 2000000000;
    round_of(ping, BEGIN, RESULT_FAIL, 0);
    assert_false(bucket(0, BEGIN).have_rtt);
    ping->total_ns = 1000000;
    round_of(ping, BEGIN, RESULT_PASS, 0);
    assert_in_range(bucket(0, BEGIN).p99_us, 940, 1060);
    assert_false(history_has_rtt(history_find(history, "ping")));
    round_of(ping, BEGIN, RESULT_PASS, 50);
    assert_true(history_has_rtt(history_find(history, "ping")));
    assert_in_range(bucket(0, BEGIN).p99_us, 47, 53);
    round_of(ping, BEGIN, RESULT_PASS, 0);
    assert_in_range(bucket(0, BEGIN).p99_us, 47, 53);
    assert_int_equal(bucket(0, BEGIN).rounds, 4);
}

static void test_connections(void **state)
{
    struct server_stats server = { 0 };
    static const uint64_t seen[] = { 0, 90, 70 };

    (void)state;
    ping->stats.server = &server;
    round_of(ping, BEGIN - MINUTE, RESULT_PASS, 100);
    assert_false(bucket(0, BEGIN - MINUTE).have_connections);
    server.have_connections = true;
    for (int i = 0; i < 3; i++) {
        server.connections[SERVER_ESTABLISHED] = seen[i];
        round_of(ping, BEGIN + i, RESULT_PASS, 100);
        assert_true(bucket(0, BEGIN).have_connections);
        assert_int_equal(bucket(0, BEGIN).connections, i ? 90 : 0);
    }
    server.connections[SERVER_ESTABLISHED] = UINT64_MAX;
    round_of(ping, BEGIN + 5 * MINUTE, RESULT_PASS, 100);
    assert_int_equal(bucket(0, BEGIN + 5 * MINUTE).connections, UINT32_MAX - 1);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void assert_near(uint64_t got, uint64_t want)
{
    uint64_t slack = want * HISTORY_ERROR_PERCENT / 100 + 1;

    assert_in_range(got, want - slack, want + slack);
}

/* Against the true ones, over seven decades; also where almost all are the same. */
static void test_quantiles_are_near(void **state)
{
    uint64_t all[1000];
    struct history_quantiles hour;

    (void)state;
    srand(7);
    for (int scale = 1; scale <= 10000000; scale *= 10) {
        int64_t now_ms = BEGIN + scale * INT64_C(3600000);

        for (int i = 0; i < 1000; i++) {
            all[i] = (uint64_t)scale * (i % 10 ? 9 : 9 + (uint64_t)rand() % 1000) / (scale > 100000 ? 1000 : 1) + 9;
            round_of(ping, now_ms + i, RESULT_PASS, all[i]);
        }
        qsort(all, 1000, sizeof *all, by_size);
        assert_true(history_hour(history_find(history, "ping"), now_ms, &hour));
        assert_int_equal(hour.count, 1000);
        assert_near(hour.p50_us, all[499]);
        assert_near(hour.p95_us, all[949]);
        assert_near(hour.p99_us, all[989]);
    }
}

static void test_the_hour_passes(void **state)
{
    struct history_quantiles hour;

    (void)state;
    for (int i = 0; i < 24; i++)
        round_of(ping, BEGIN + i * HISTORY_BUCKET_MS, RESULT_PASS, 100);
    assert_true(history_hour(history_find(history, "ping"), BEGIN + 23 * HISTORY_BUCKET_MS, &hour));
    assert_int_equal(hour.count, 13);
    assert_true(history_hour(history_find(history, "ping"), BEGIN + 35 * HISTORY_BUCKET_MS, &hour));
    assert_int_equal(hour.count, 1);
    assert_false(history_hour(history_find(history, "ping"), BEGIN + 36 * HISTORY_BUCKET_MS, &hour));
    assert_true(bucket(36, BEGIN + 36 * HISTORY_BUCKET_MS).have_rtt); /* the old ones keep their own */
    assert_in_range(bucket(36, BEGIN + 36 * HISTORY_BUCKET_MS).p50_us, 94, 106);
}

static void test_extremes(void **state)
{
    (void)state;
    round_of(ping, BEGIN, RESULT_PASS, 1);
    assert_int_equal(bucket(0, BEGIN).p50_us, 8);
    round_of(ping, BEGIN + HISTORY_BUCKET_MS, RESULT_PASS, UINT64_MAX / 1000);
    assert_int_equal(bucket(0, BEGIN + HISTORY_BUCKET_MS).p50_us, 134217728);
    for (int i = 0; i < 70000; i++)
        round_of(ping, BEGIN + 2 * HISTORY_BUCKET_MS, RESULT_FAIL, 100);
    assert_int_equal(bucket(0, BEGIN + 2 * HISTORY_BUCKET_MS).rounds, UINT16_MAX);
    round_of(ping, -5, RESULT_PASS, 100);
    assert_int_equal(bucket(0, 0).rounds, 1);
}

/* --- the clock ------------------------------------------------------------------------------------------------------------- */

static void test_a_clock_that_is_set(void **state)
{
    int64_t now_ms = BEGIN + DAY;

    (void)state;
    for (int64_t at = BEGIN; at <= now_ms; at += HISTORY_BUCKET_MS)
        round_of(ping, at, RESULT_PASS, 100);
    round_of(ping, now_ms - 1, RESULT_FAIL, 0); /* NTP: back over the edge of a bucket */
    assert_int_equal(bucket(1, now_ms).rounds, 2);
    assert_int_equal(bucket(0, now_ms).rounds, 1);
    now_ms -= 2 * 60 * MINUTE; /* set back: what is ahead was not then */
    round_of(ping, now_ms, RESULT_PASS, 100);
    assert_int_equal(bucket(0, now_ms).rounds, 2);
    assert_int_equal(bucket(1, now_ms).rounds, 1);
    for (int64_t ahead = now_ms + HISTORY_BUCKET_MS; ahead <= BEGIN + DAY; ahead += HISTORY_BUCKET_MS)
        assert_int_equal(bucket(0, ahead).rounds, 0);
    now_ms += 365 * DAY; /* suspended, or set forward: a gap */
    round_of(ping, now_ms, RESULT_PASS, 100);
    for (unsigned ago = 1; ago < HISTORY_BUCKETS; ago++)
        assert_int_equal(bucket(ago, now_ms).rounds, 0);
    assert_int_equal(bucket(0, now_ms).rounds, 1);
    now_ms -= 365 * DAY;
    round_of(ping, now_ms, RESULT_PASS, 100);
    assert_int_equal(bucket(0, now_ms).rounds, 1);
}

/* A ring beside a plain table that does what history.h says, at times that jump as they like. */
static void test_a_wild_clock(void **state)
{
    enum { NUMBERS = 3000 };
    static unsigned table[NUMBERS];
    int64_t at = 1000, newest = -1;

    (void)state;
    srand(11);
    memset(table, 0, sizeof table);
    for (int i = 0; i < 20000; i++) {
        int kind = rand() % 100;

        at += kind < 60 ? 0 : kind < 80 ? 1 : kind < 92 ? -1 : kind < 96 ? rand() % 20 - 10 : kind < 98 ? rand() % 700 - 350 : 0;
        at = at < 0 ? 0 : at >= NUMBERS ? NUMBERS - 1 : at;
        if (at < newest - 1)
            memset(table + at + 1, 0, (size_t)(newest - at) * sizeof *table);
        if (at > newest || at < newest - 1)
            newest = at;
        if (newest >= HISTORY_BUCKETS)
            memset(table, 0, (size_t)(newest - HISTORY_BUCKETS + 1) * sizeof *table);
        table[at]++;
        round_of(ping, at * HISTORY_BUCKET_MS + rand() % HISTORY_BUCKET_MS, RESULT_PASS, 100);
        for (int64_t number = newest; number >= 0 && number > newest - 300; number--) {
            const struct history_bucket seen = bucket((unsigned)(newest - number), newest * HISTORY_BUCKET_MS);

            assert_int_equal(seen.rounds, table[number]);
            assert_true(seen.rounds == 0 || seen.have_rtt);
        }
    }
}

/* --- over reloads and restarts ------------------------------------------------------------------------------------------------ */

static void test_reloads(void **state)
{
    struct check_view *echo = world_add(&world, "echo", "echo", "local", 0);

    (void)state;
    round_of(ping, BEGIN, RESULT_PASS, 100);
    round_of(echo, BEGIN, RESULT_PASS, 100);
    history_keep_checks(history, world.view.checks, 2);
    history_note_round(history, ping, BEGIN + 1); /* a void round */
    assert_int_equal(bucket(0, BEGIN).rounds, 1);
    assert_non_null(history_find(history, "echo"));
    history_keep_checks(history, world.view.checks, 1);
    assert_null(history_find(history, "echo"));
    check_set_type(ping, "tcp"); /* another question: another history */
    history_keep_checks(history, world.view.checks, 1);
    assert_null(history_find(history, "ping"));
    ping->path = "public";
    round_of(ping, BEGIN, RESULT_PASS, 0);
    ping->path = "local";
    history_keep_checks(history, world.view.checks, 1);
    assert_null(history_find(history, "ping"));
}

static void test_prepended_buckets(void **state)
{
    struct history *old = history;
    struct server_stats server = { .have_connections = true, .connections = { 5 } };
    struct history_quantiles hour;

    (void)state;
    round_of(ping, BEGIN, RESULT_FAIL, 100);
    round_of(ping, BEGIN + HISTORY_BUCKET_MS, RESULT_PASS, 200);
    history = history_new();
    ping->stats.server = &server;
    round_of(ping, BEGIN + HISTORY_BUCKET_MS + 1, RESULT_WARN, 200);
    round_of(ping, BEGIN + 4 * HISTORY_BUCKET_MS, RESULT_PASS, 200);
    history_prepend(history, old, BEGIN + HISTORY_BUCKET_MS);
    history_note_round(history, ping, BEGIN + 4 * HISTORY_BUCKET_MS); /* a void round */
    assert_int_equal(bucket(4, BEGIN + 4 * HISTORY_BUCKET_MS).failures, 1);
    assert_int_equal(bucket(3, BEGIN + 4 * HISTORY_BUCKET_MS).rounds, 2);
    assert_int_equal(bucket(3, BEGIN + 4 * HISTORY_BUCKET_MS).connections, 5);
    assert_int_equal(bucket(2, BEGIN + 4 * HISTORY_BUCKET_MS).rounds, 0);
    assert_int_equal(bucket(0, BEGIN + 4 * HISTORY_BUCKET_MS).rounds, 1);
    assert_true(history_hour(history_find(history, "ping"), BEGIN + 4 * HISTORY_BUCKET_MS, &hour));
    assert_int_equal(hour.count, 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_changes),
        TEST(test_flapping_is_bounded),
        TEST(test_long_texts_and_secrets),
        TEST(test_an_incident),
        TEST(test_an_incident_over_a_restart),
        TEST(test_buckets),
        TEST(test_a_round_not_judged_is_none),
        TEST(test_what_is_measured),
        TEST(test_connections),
        TEST(test_quantiles_are_near),
        TEST(test_the_hour_passes),
        TEST(test_extremes),
        TEST(test_a_clock_that_is_set),
        TEST(test_a_wild_clock),
        TEST(test_reloads),
        TEST(test_prepended_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
