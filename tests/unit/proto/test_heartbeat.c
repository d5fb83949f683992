/* Heartbeats in texts of all kinds, and the books of what came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "agent/proto/heartbeat.h"

static const struct heartbeat beat = { "host-1", "eu_west", "delivery", 42, 1700000000123 };

static void test_write_and_find(void **state)
{
    static const char *const around[][2] = { { "", "" },
                                             { "{\"data\":\"", "\"}" },
                                             { "MSG x 1 40\r\n", "\r\n" },
                                             { "wshb1.broken ", "." },
                                             { "\x01\x02wshb1.a.b.", "\xff" } };
    char text[HEARTBEAT_MAX], payload[2 * HEARTBEAT_MAX];
    struct heartbeat found;

    (void)state;
    heartbeat_write(&beat, text);
    for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
        snprintf(payload, sizeof payload, "%s%s%s", around[i][0], text, around[i][1]);
        assert_true(heartbeat_find(slice_str(payload), &found));
        assert_true(heartbeat_same_source(&beat, &found));
        assert_int_equal(found.seq, beat.seq);
        assert_int_equal(found.sent_ms, beat.sent_ms);
    }
}

static void test_what_is_none(void **state)
{
    static const char *const texts[] = { "",
                                         "wshb1.",
                                         "wshb1.a.b.c",
                                         "wshb1.a.b.c.",
                                         "wshb1.a.b.c.1",
                                         "wshb1.a.b.c.x.1",
                                         "wshb1.a..c.1.1",
                                         "wshb2.a.b.c.1.1",
                                         "wshb1.a.b.c.99999999999999999999.1",
                                         "wshb1.a.b.c.1." };
    struct heartbeat found;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(heartbeat_find(slice_str(texts[i]), &found));
}

static void test_words(void **state)
{
    char word[HEARTBEAT_WORD_MAX + 1], longest[100];

    (void)state;
    heartbeat_word("my host.example", word);
    assert_string_equal(word, "my_host_example");
    heartbeat_word("", word);
    assert_string_equal(word, "_");
    heartbeat_word(NULL, word);
    assert_string_equal(word, "_");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    heartbeat_word(longest, word);
    assert_int_equal(strlen(word), HEARTBEAT_WORD_MAX);
}

static enum heartbeat_news note(struct heartbeat_book *book, uint64_t seq)
{
    struct heartbeat one = beat;

    one.seq = seq;
    return heartbeat_note(book, &one, seq);
}

static void test_books(void **state)
{
    static struct heartbeat_book book;

    (void)state;
    memset(&book, 0, sizeof book);
    assert_int_equal(note(&book, 10), HEARTBEAT_NEW);
    assert_int_equal(note(&book, 11), HEARTBEAT_NEW);
    assert_int_equal(note(&book, 11), HEARTBEAT_DUPLICATE);
    assert_int_equal(note(&book, 14), HEARTBEAT_NEW);
    assert_int_equal(book.sources[0].gaps, 2);
    assert_int_equal(note(&book, 12), HEARTBEAT_REORDERED);
    assert_int_equal(note(&book, 12), HEARTBEAT_DUPLICATE);
    assert_int_equal(book.sources[0].gaps, 1);
    assert_int_equal(note(&book, 1000), HEARTBEAT_NEW);
    assert_int_equal(note(&book, 14), HEARTBEAT_DUPLICATE); /* too old to say: it is no news either way */
    assert_int_equal(book.count, 1);
}

static void test_books_are_bounded(void **state)
{
    static struct heartbeat_book book;

    (void)state;
    memset(&book, 0, sizeof book);
    for (unsigned i = 0; i < 10 * HEARTBEAT_SOURCES_MAX; i++) {
        struct heartbeat one = beat;

        snprintf(one.agent, sizeof one.agent, "agent%u", i);
        assert_int_equal(heartbeat_note(&book, &one, i), HEARTBEAT_NEW);
    }
    assert_int_equal(book.count, HEARTBEAT_SOURCES_MAX);
}

/* Against a naive model: a set of what has come. */
static void test_books_at_random(void **state)
{
    unsigned seed = getenv("WSHEALTHD_SEED") ? (unsigned)strtoul(getenv("WSHEALTHD_SEED"), NULL, 10) : (unsigned)time(NULL);
    static struct heartbeat_book book;
    static bool come[4096];
    uint64_t highest = 0, base = 100;

    (void)state;
    memset(&book, 0, sizeof book);
    memset(come, 0, sizeof come);
    for (int i = 0; i < 20000; i++) {
        uint64_t seq = base + (uint64_t)rand_r(&seed) % 40;
        enum heartbeat_news want = come[seq] ? HEARTBEAT_DUPLICATE : seq > highest ? HEARTBEAT_NEW : HEARTBEAT_REORDERED;

        if (base + 100 < sizeof come && rand_r(&seed) % 8 == 0)
            base++;
        if (highest && highest - (seq < highest ? seq : highest) >= HEARTBEAT_WINDOW)
            continue;
        if (note(&book, seq) != want)
            fail_msg("WSHEALTHD_SEED=%u: seq %lu", seed, (unsigned long)seq);
        come[seq] = true;
        highest = seq > highest ? seq : highest;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_and_find), cmocka_unit_test(test_what_is_none),      cmocka_unit_test(test_words),
        cmocka_unit_test(test_books),          cmocka_unit_test(test_books_are_bounded), cmocka_unit_test(test_books_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
