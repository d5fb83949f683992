/* The history's file: what is written is read again as it was; what is cut, changed, foreign or of another version is refused with a sentence; and
 * a checksum that fits proves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/proto/digest.h"
#include "agent/report/history_file.h"
#include "agent/report/history_impl.h"
#include "tests/unit/report/views.h"

#define BEGIN (WORLD_MS / HISTORY_BUCKET_MS * HISTORY_BUCKET_MS)
enum { SUM_AT = 20, BODY_AT = 52 };

static struct world world;
static struct history *history;
static struct buf bytes;

static void change(int64_t at_ms, const char *word, const char *cause)
{
    const struct history_change noted = { at_ms, word, true, cause, "refused by ws://192.0.2.1/", "refused" };

    history_note_change(history, &noted);
}

static void play(int64_t start_ms, int rounds, unsigned checks)
{
    for (int i = 0; i < rounds; i++)
        for (unsigned j = 0; j < checks; j++) {
            struct check_view *view = &world.checks[j];

            view->have_rtt = j > 0;
            view->rtt_ns = 50000 + (uint64_t)(rand() % 5000000);
            view->status = rand() % 10 ? RESULT_PASS : RESULT_FAIL;
            view->last_ms++;
            history_note_round(history, view, start_ms + i * INT64_C(20000));
        }
}

static int set_up(void **state)
{
    static struct server_stats server = { .have_connections = true, .connections = { 7 } };

    (void)state;
    world_init(&world);
    world_add(&world, "handshake", "handshake", "local", GATE_READY);
    world_add(&world, "ping", "ping", "public", GATE_READY);
    world_add(&world, "server", "server", "local", 0)->stats.server = &server;
    history = history_new();
    buf_init(&bytes, HISTORY_FILE_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    history_free(history);
    buf_fini(&bytes);
    secret_forget_all();
    return 0;
}

static void fill(void)
{
    change(1000, "ready", "healthy");
    change(2000, "not ready", "server_down");
    change(3000, "ready", "healthy");
    change(4000, "degraded", "broker_down");
    play(BEGIN, 24 * 180, 3);
}

static struct history *decode(struct err *err)
{
    int64_t saved_ms = 0;
    struct history *read = history_decode(buf_slice(&bytes), &saved_ms, err);

    assert_true(!read || saved_ms == 5000);
    return read;
}

static void test_as_it_was(void **state)
{
    struct history *read;
    struct history_incident incidents[3];
    int64_t now_ms = BEGIN + 287 * HISTORY_BUCKET_MS;

    (void)state;
    fill();
    history_encode(history, 5000, &bytes);
    read = decode(NULL);
    assert_non_null(read);
    assert_int_equal(history_change_count(read), 4);
    assert_string_equal(history_change_at(read, 0)->cause, "broker_down");
    assert_string_equal(history_change_at(read, 2)->sentence, "refused by ws://192.0.2.1/");
    assert_string_equal(history_change_at(read, 2)->plain, "refused");
    assert_int_equal(history_incidents(read, 0, incidents, 3), 2);
    assert_int_equal(incidents[0].end_ms, 0);
    assert_int_equal(incidents[1].end_ms, 3000);
    assert_string_equal(incidents[1].worst, "not ready");
    for (size_t i = 0; i < 3; i++) {
        const struct history_check *was = history_find(history, world.checks[i].name);
        const struct history_check *is = history_find(read, world.checks[i].name);
        struct history_quantiles hour[2] = { 0 };

        for (unsigned ago = 0; ago < HISTORY_BUCKETS; ago++) {
            struct history_bucket one = { 0 }, other = { 0 };

            assert_int_equal(history_bucket_at(was, ago, now_ms, &one), history_bucket_at(is, ago, now_ms, &other));
            assert_memory_equal(&one, &other, sizeof one);
        }
        assert_int_equal(history_hour(was, now_ms, &hour[0]), history_hour(is, now_ms, &hour[1]));
        assert_memory_equal(&hour[0], &hour[1], sizeof hour[0]);
        assert_int_equal(history_has_rtt(is), i > 0);
    }
    history_free(read);
}

static void test_an_empty_history(void **state)
{
    struct history *read;

    (void)state;
    history_encode(history, 5000, &bytes);
    read = decode(NULL);
    assert_non_null(read);
    assert_int_equal(history_change_count(read), 0);
    history_free(read);
}

/* Every check of the largest configuration, every text as long as it may be. */
static void test_the_largest_fits(void **state)
{
    char text[HISTORY_TEXT_MAX], name[HISTORY_NAME_BYTES];
    struct history_change noted = { 1, "ready", true, "healthy", text, text };
    struct history *read;

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    for (int i = 0; i < 1000; i++) {
        noted.word = i % 2 ? "ready" : "not ready";
        history_note_change(history, &noted);
    }
    for (int i = 0; i < CONF_CHECKS_MAX; i++) {
        snprintf(name, sizeof name, "%d-%050d", i, 1);
        struct history_check *check = history_find_or_add(history, name, "handshake", false);

        check->begun = true;
        check->newest = 1000;
        check->connections = mem_alloc(HISTORY_BUCKETS * sizeof *check->connections);
        memset(check->rounds, 0xff, sizeof check->rounds);
        memset(check->bins, 0xff, sizeof check->bins);
    }
    history_encode(history, 5000, &bytes);
    assert_true(bytes.len < HISTORY_FILE_MAX);
    read = decode(NULL);
    assert_non_null(read);
    history_free(read);
}

static void assert_refused(const char *want)
{
    struct err err;

    assert_null(decode(&err));
    if (want && !strstr(err.text, want))
        fail_msg("'%s' does not say '%s'", err.text, want);
}

static void test_cut_or_changed(void **state)
{
    size_t len;

    (void)state;
    change(1000, "ready", "healthy");
    play(BEGIN, 30, 3);
    history_encode(history, 5000, &bytes);
    len = bytes.len;
    for (bytes.len = 0; bytes.len < len; bytes.len++)
        assert_refused(bytes.len == 0 ? "is empty" : bytes.len < 18 ? "is no history" : "cut short");
    for (size_t i = 0; i < len; i++) {
        bytes.data[i] ^= 0x10;
        assert_refused(i < 18 ? "is no history" : i < SUM_AT ? "another version" : "checksum does not fit");
        bytes.data[i] ^= 0x10;
    }
    buf_append_char(&bytes, 0);
    assert_refused("checksum does not fit");
}

static void seal(void)
{
    uint8_t sum[DIGEST_MAX];

    digest_hash(DIGEST_SHA256, slice_skip(buf_slice(&bytes), BODY_AT), sum);
    memcpy(bytes.data + SUM_AT, sum, BODY_AT - SUM_AT);
}

/* Somebody else's bytes with a checksum that fits: read or refused, and what is read can be used. */
static void test_a_checksum_proves_nothing(void **state)
{
    size_t len;

    (void)state;
    fill();
    history_encode(history, 5000, &bytes);
    len = bytes.len;
    srand(5);
    for (int i = 0; i < 3000; i++) {
        size_t at = BODY_AT + 8 + (size_t)rand() % (i % 2 ? 300 : len - BODY_AT - 8);
        uint8_t was = bytes.data[at];
        struct history *read;
        struct buf again = BUF_INIT(HISTORY_FILE_MAX);

        bytes.data[at] = (uint8_t)rand();
        seal();
        read = decode(NULL);
        if (read) {
            history_encode(read, 5000, &again);
            play(BEGIN + i * INT64_C(1000), 1, 3);
            history_free(read);
        }
        buf_fini(&again);
        bytes.data[at] = was;
    }
    bytes.len = len - 1;
    seal();
    assert_refused("what no agent writes");
}

/* A secret that was none yet when it was written. */
static void test_secrets_are_masked_again(void **state)
{
    struct history_change noted = { 1000, "not ready", true, "server_down", "it said swordfish-9", "" };
    struct history *read;

    (void)state;
    history_note_change(history, &noted);
    history_encode(history, 5000, &bytes);
    secret_add("swordfish-9");
    read = decode(NULL);
    assert_string_equal(history_change_at(read, 0)->sentence, "it said ***");
    history_free(read);
}

/* A newer version's cause: the change is left out, and the incident before it does not go on in its place. */
static void test_an_unknown_cause(void **state)
{
    struct history_incident incidents[3];
    struct history *read;

    (void)state;
    change(1000, "not ready", "server_down");
    change(2000, "ready", "healthy");
    change(3000, "not ready", "eaten_by_mice");
    history_encode(history, 5000, &bytes);
    read = decode(NULL);
    assert_int_equal(history_change_count(read), 2);
    assert_int_equal(history_incidents(read, 0, incidents, 3), 1);
    assert_int_equal(incidents[0].end_ms, 2000);
    history_free(read);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_as_it_was),        TEST(test_an_empty_history),          TEST(test_the_largest_fits),
        TEST(test_cut_or_changed),   TEST(test_a_checksum_proves_nothing), TEST(test_secrets_are_masked_again),
        TEST(test_an_unknown_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
