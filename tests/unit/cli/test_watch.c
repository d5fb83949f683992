/* The picture of `status --watch`, row by row, and the keys: what a terminal gets whatever the agent's text holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/cli/watch_page.h"
#include "agent/cli/watch_term.h"

static struct buf picture;
static size_t last;

static const char *draw(struct watch_page page)
{
    buf_fini(&picture);
    buf_init(&picture, 1 << 20);
    page.footer = page.footer ? page.footer : "12:00:00 UTC";
    page.no_keys = "q quits";
    last = watch_page_draw(&page, &picture);
    return buf_str(&picture);
}

static void lines_are_rows_and_the_rest_is_cleared(void **state)
{
    (void)state;
    assert_string_equal(draw((struct watch_page){ .rows = 4, .columns = 40, .text = "one\ntwo\n" }),
                        "\033[Hone\033[K\r\ntwo\033[K\r\n\033[K\r\n  12:00:00 UTC\033[K");
    assert_int_equal(last, 0);
    assert_string_equal(draw((struct watch_page){ .rows = 2, .columns = 40, .text = "" }), "\033[H\033[K\r\n  12:00:00 UTC\033[K");
}

static void what_does_not_fit_is_counted(void **state)
{
    struct watch_page page = { .rows = 3, .columns = 40, .ascii = true, .text = "1\n2\n3\n4\n5" };

    (void)state;
    assert_string_equal(draw(page), "\033[H1\033[K\r\n2\033[K\r\n  12:00:00 UTC           3 lines below\033[K");
    assert_int_equal(last, 3);
    page.first = 2;
    assert_string_equal(draw(page), "\033[H3\033[K\r\n4\033[K\r\n  12:00:00 UTC        2 above, 1 below\033[K");
    page.first = 99;
    assert_string_equal(draw(page), "\033[H4\033[K\r\n5\033[K\r\n  12:00:00 UTC           3 lines above\033[K");
    page.columns = 22;
    assert_string_equal(draw(page), "\033[H4\033[K\r\n5\033[K\r\n       3 lines above\033[K");
}

/* Clearing behind a full row would erase its last column. */
static void rows_end_at_the_last_column(void **state)
{
    (void)state;
    assert_string_equal(
        draw((struct watch_page){ .rows = 3, .columns = 12, .text = "0123456789ab\n▏▎▍▌▋▊▉█▏▎▍▌cut", .footer = "" }),
        "\033[H0123456789ab\r\n▏▎▍▌▋▊▉█▏▎▍▌\r\n\033[K");
}

static void only_colours_pass(void **state)
{
    static const char text[] = "\033[1;31mred\033[0m\033[2J\033]0;title\007\033[?1049l\x7f\xc2\x9bH\033[31\n\033[9999999999999999m";

    (void)state;
    assert_string_equal(draw((struct watch_page){ .rows = 3, .columns = 60, .colour = true, .text = text }),
                        "\033[H\033[1;31mred\033[0m?[2J?]0;title??[?1049l??H?[31\033[0m\033[K\r\n"
                        "?[9999999999999999m\033[0m\033[K\r\n\033[2m  12:00:00 UTC\033[0m\033[K");
    const char *plain = draw((struct watch_page){ .rows = 3, .columns = 60, .text = text });
    assert_null(strstr(plain, "\033[1"));
    assert_null(strstr(plain, "\033[2"));
    assert_null(strstr(plain, "\033["
                              "0m"));
}

/* A terminal that does not read UTF-8 would take the byte for the beginning of a sequence. */
static void what_is_no_utf8_does_not_pass(void **state)
{
    static const char text[] = "\x9b[2J\xff\xe2\x82 \xe2\x82\xac\x80\xc3";

    (void)state;
    assert_string_equal(draw((struct watch_page){ .rows = 2, .columns = 20, .text = text }),
                        "\033[H?[2J??? \xe2\x82\xac??\033[K\r\n  12:00:00 UTC\033[K");
}

static void a_broken_line_goes_on_in_its_colour(void **state)
{
    (void)state;
    assert_string_equal(
        draw((struct watch_page){ .rows = 4, .columns = 20, .colour = true, .text = "\033[2mdim\nstill\n\033[0mplain" }),
        "\033[H\033[2mdim\033[0m\033[K\r\n\033[2mstill\033[0m\033[K\r\n\033[2m\033[0mplain\033[0m\033[K\r\n"
        "\033[2m  12:00:00 UTC\033[0m\033[K");
}

static void a_lost_agent_is_above_and_leaves_room_for_the_report(void **state)
{
    struct watch_page page = { .rows = 5, .columns = 40, .text = "1\n2\n3\n", .lost = "lost\nwhy\n" };

    (void)state;
    assert_string_equal(draw(page),
                        "\033[Hlost\033[K\r\nwhy\033[K\r\n1\033[K\r\n2\033[K\r\n  12:00:00 UTC          ↓ 1 line below\033[K");
    assert_int_equal(watch_page_room(&page), 2);
    for (page.rows = 1; page.rows < 8; page.rows++)
        for (page.columns = 1; page.columns < 50; page.columns++) {
            const char *text = draw(page);
            size_t rows = 1;
            for (const char *at = text; (at = strstr(at, "\r\n")); at++)
                rows++;
            assert_int_equal(rows, page.rows);
        }
}

static enum watch_key key_of(const char *typed, size_t want_len)
{
    size_t len;
    enum watch_key key = watch_key_of(slice_str(typed), &len);

    assert_int_equal(len, want_len);
    return key;
}

static void keys_are_known_and_others_are_skipped_whole(void **state)
{
    (void)state;
    assert_int_equal(key_of("q", 1), KEY_QUIT);
    assert_int_equal(key_of("\004q", 1), KEY_QUIT);
    assert_int_equal(key_of("\033[A", 3), KEY_UP);
    assert_int_equal(key_of("\033OB", 3), KEY_DOWN);
    assert_int_equal(key_of("\033[6~x", 4), KEY_PAGE_DOWN);
    assert_int_equal(key_of("\033", 0), KEY_NONE);
    assert_int_equal(key_of("\033[", 0), KEY_NONE);
    assert_int_equal(key_of("\033[1;5", 0), KEY_NONE);
    assert_int_equal(key_of("\033[1;5Aq", 6), KEY_NONE);
    assert_int_equal(key_of("\033q", 1), KEY_NONE);
    assert_int_equal(key_of("\033[0000000000q", 8), KEY_NONE);
    assert_int_equal(key_of("x", 1), KEY_NONE);
    assert_int_equal(key_of("", 0), KEY_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_rows_and_the_rest_is_cleared),
        cmocka_unit_test(what_does_not_fit_is_counted),
        cmocka_unit_test(rows_end_at_the_last_column),
        cmocka_unit_test(only_colours_pass),
        cmocka_unit_test(what_is_no_utf8_does_not_pass),
        cmocka_unit_test(a_broken_line_goes_on_in_its_colour),
        cmocka_unit_test(a_lost_agent_is_above_and_leaves_room_for_the_report),
        cmocka_unit_test(keys_are_known_and_others_are_skipped_whole),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&picture);
    return failed;
}
