/* The search for a limit (probes/payload_limits.c), played against every kind of limit; its sentences; and the messages that are sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/proto/utf8.h"
#include "probes/payload.h"

enum { LEAST = 16, MOST = 1 << 20, STEPS_MAX = 40 };

struct search {
    struct payload_limit limit;
    unsigned steps, broken;
};

static struct err too_big(void)
{
    struct err err;

    err_set(&err, REASON_CLOSED_BY_SERVER, 1009, "too big");
    return err;
}

/* A server that takes `takes` bytes and no more. */
static void search(struct search *search, size_t takes, size_t most)
{
    size_t size;

    while ((size = payload_next(&search->limit, LEAST, most)) != 0) {
        assert_in_range(size, LEAST, most);
        assert_true(++search->steps < STEPS_MAX);
        if (size <= takes) {
            payload_passed(&search->limit, size);
        } else {
            struct err err = too_big();

            search->broken++;
            payload_broke(&search->limit, size, &err);
        }
    }
}

static const size_t limits[] = { 16,     17,     100,    125,    126,    1000,    1023,    1024,   1025,
                                 4095,   4096,   10000,  32767,  40000,  65534,   65535,   65536,  65537,
                                 100000, 131072, 500000, 524288, 999999, 1000000, 1048574, 1048575 };

static void test_it_finds_every_limit_to_the_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct search found = { 0 };

        search(&found, limits[i], MOST);
        assert_int_equal(found.limit.passes, limits[i]);
        assert_int_equal(found.limit.breaks, limits[i] + 1);
        assert_true(payload_is_exact(&found.limit, LEAST));
    }
}

/* From a message that was to pass and does not: downwards. */
static void test_it_searches_downwards(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof *limits && limits[i] < 65536; i++) {
        struct search found = { 0 };
        struct err err = too_big();

        if (limits[i] >= 1024)
            payload_passed(&found.limit, 1024);
        payload_broke(&found.limit, 65536, &err);
        search(&found, limits[i], 65536);
        assert_int_equal(found.limit.passes, limits[i]);
        assert_int_equal(found.limit.breaks, limits[i] + 1);
    }
}

static void test_usual_limits_cost_few_connections(void **state)
{
    static const size_t usual[] = { 1024, 16384, 32768, 65535, 65536, 131072, 1000000, 524288 };

    (void)state;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        struct search found = { 0 };

        search(&found, usual[i], MOST);
        if (found.broken > (usual[i] == 1000000 ? 16 : 4))
            fail_msg("%zu: %u", usual[i], found.broken);
    }
}

static void test_without_a_limit_it_ends_at_the_top(void **state)
{
    struct search found = { 0 };

    (void)state;
    search(&found, SIZE_MAX, MOST);
    assert_int_equal(found.limit.passes, MOST);
    assert_int_equal(found.limit.breaks, 0);
    assert_int_equal(found.broken, 0);
}

static void test_a_form_that_never_passes(void **state)
{
    struct search found = { 0 };
    struct err err = too_big();
    char text[400];

    (void)state;
    payload_broke(&found.limit, 1024, &err);
    search(&found, 0, 65536);
    assert_int_equal(found.limit.breaks, LEAST);
    assert_true(found.steps <= 3);
    payload_limit_text(FORM_BINARY, &found.limit, LEAST, text, sizeof text);
    assert_string_equal(text, "a binary message of 16 bytes, and any larger one: too big");
}

/* A server that restarts in that moment has no limit. */
static void test_what_breaks_once_and_then_passes_is_forgotten(void **state)
{
    struct search found = { 0 };
    struct err err = too_big();

    (void)state;
    payload_passed(&found.limit, 1024);
    payload_broke(&found.limit, 65536, &err);
    assert_int_equal(payload_next(&found.limit, LEAST, 65536), 65536);
    payload_passed(&found.limit, 65536);
    assert_int_equal(found.limit.breaks, 0);
    assert_int_equal(payload_next(&found.limit, LEAST, 65536), 0);
}

/* It was 50,000, and is 40,000 or 60,000 now: `confirmed` is taken back for a new look. */
static void test_a_limit_that_moves_is_followed(void **state)
{
    static const size_t moved[] = { 40000, 60000, 49999, 50001 };

    (void)state;
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++) {
        struct search found = { 0 };
        struct err err = too_big();

        search(&found, 50000, 65536);
        found.limit.confirmed = false;
        found.steps = 0;
        if (moved[i] < 50000)
            payload_broke(&found.limit, 50000, &err);
        search(&found, moved[i], 65536);
        assert_int_equal(found.limit.passes, moved[i]);
        assert_int_equal(found.limit.breaks, moved[i] + 1);
    }
}

static void test_the_sentences(void **state)
{
    struct payload_limit limit = { .passes = 65536, .breaks = 65537, .confirmed = true, .how = "the server closed with 1009" };
    char text[400];

    (void)state;
    payload_limit_text(FORM_BINARY | FORM_PARTS | FORM_PACKED, &limit, LEAST, text, sizeof text);
    assert_string_equal(
        text, "a binary message of 65,537 bytes in 3 fragments, compressed: the server closed with 1009; 65,536 bytes pass");
    limit.breaks = 1048576;
    payload_limit_text(0, &limit, LEAST, text, sizeof text);
    assert_string_equal(
        text, "a text message of 1,048,576 bytes: the server closed with 1009; 65,536 bytes pass, the limit is in between");
    payload_passed_text(1U << 0, 65536, text, sizeof text);
    assert_string_equal(text, "65,536 bytes pass as text");
    payload_passed_text(1U << 0 | 1U << FORM_BINARY | 1U << FORM_PARTS, 100, text, sizeof text);
    assert_string_equal(text, "100 bytes pass as text and binary, whole and in 3 fragments");
    payload_passed_text((1U << FORM_COUNT) - 1, 1, text, sizeof text);
    assert_string_equal(text, "1 byte pass as text and binary, whole and in 3 fragments, plain and compressed");
}

static bool is_utf8(const char *data, size_t len)
{
    return utf8_valid(slice_make(data, len));
}

static void test_texts_are_valid_and_cross_the_edges_of_fragments(void **state)
{
    char *data = mem_alloc(70000);

    (void)state;
    for (size_t size = 16; size < 70000; size += size < 400 ? 1 : 997) {
        payload_fill(0, false, "0123456789abcdef", data, size);
        assert_true(is_utf8(data, size));
        assert_memory_equal(data, "0123456789abcdef", 16);
        if (size < 122)
            continue;
        assert_int_equal((uint8_t)data[size / 3] & 0xc0, 0x80); /* a fragment begins inside a character */
        assert_int_equal((uint8_t)data[size / 3 + (size - size / 3) / 2] & 0xc0, 0x80);
    }
    payload_fill(0, true, "0123456789abcdef", data, 70000);
    for (size_t i = 0; i < 70000; i++)
        assert_true(data[i] > ' ' && data[i] < 0x7f && data[i] != '"' && data[i] != '\\');
    mem_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_finds_every_limit_to_the_byte),
        cmocka_unit_test(test_it_searches_downwards),
        cmocka_unit_test(test_usual_limits_cost_few_connections),
        cmocka_unit_test(test_without_a_limit_it_ends_at_the_top),
        cmocka_unit_test(test_a_form_that_never_passes),
        cmocka_unit_test(test_what_breaks_once_and_then_passes_is_forgotten),
        cmocka_unit_test(test_a_limit_that_moves_is_followed),
        cmocka_unit_test(test_the_sentences),
        cmocka_unit_test(test_texts_are_valid_and_cross_the_edges_of_fragments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
