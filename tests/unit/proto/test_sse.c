/* Server-sent events: what is written is read back as it was, whatever the text holds and however the bytes are split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/proto/sse.h"

static struct buf seen;

static void on_event(void *user, const char *name, struct slice data)
{
    (void)user;
    buf_printf(&seen, "<%s|%.*s>", name, (int)data.len, data.len ? (const char *)data.data : "");
}

static const char *read_in(const char *text, size_t part, size_t max)
{
    struct sse_reader reader;
    size_t len = strlen(text);

    buf_fini(&seen);
    buf_init(&seen, 1 << 16);
    sse_reader_init(&reader, max, on_event, NULL);
    for (size_t at = 0; at < len; at += part)
        sse_reader_feed(&reader, slice_make(text + at, len - at < part ? len - at : part));
    sse_reader_fini(&reader);
    return buf_str(&seen);
}

static void an_event_is_a_name_an_id_and_lines(void **state)
{
    struct buf out = BUF_INIT(1024);

    (void)state;
    sse_write_retry(&out, 2000);
    sse_write(&out, "snapshot", "1f-2", slice_str("{\"a\":1}"));
    sse_write(&out, "tick", NULL, slice_str(""));
    assert_string_equal(buf_str(&out), "retry: 2000\nevent: snapshot\nid: 1f-2\ndata: {\"a\":1}\n\nevent: tick\ndata: \n\n");
    buf_fini(&out);
}

static void no_text_can_begin_another_event(void **state)
{
    static const char *const texts[] = {
        "a\n\nevent: change\ndata: forged", "a\r\rdata: forged", "a\r\n\r\nid: 7", "\n", "\nretry: 1", "a\r", ": a comment"
    };
    static const char *const read[] = {
        "a\n\nevent: change\ndata: forged", "a\n\ndata: forged", "a\n\nid: 7", "", "\nretry: 1", "a", ": a comment"
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buf out = BUF_INIT(1024);
        char want[128];

        sse_write(&out, "change", NULL, slice_str(texts[i]));
        snprintf(want, sizeof want, "<change|%s>", read[i]);
        assert_string_equal(read_in(buf_str(&out), 1000, 1000), want);
        buf_fini(&out);
    }
}

static void lines_end_in_three_ways_and_bytes_come_as_they_like(void **state)
{
    static const char text[] =
        ": hello\nevent: a\r\ndata: 1\rdata:2\n\ndata\r\r\nid: 5\r\ndata:  x\r\n\r\nevent: unfinished\ndata: y\n";

    (void)state;
    for (size_t part = 1; part < sizeof text; part++)
        assert_string_equal(read_in(text, part, 1000), "<a|1\n2><message|><message| x>");
}

static void a_line_beyond_the_ceiling_costs_its_data_alone(void **state)
{
    (void)state;
    for (size_t part = 1; part < 30; part++)
        assert_string_equal(read_in("event: a\ndata: 0123456789012345678901234567890\n\nevent: b\ndata: 1\n\n", part, 20),
                            "<a|><b|1>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_a_name_an_id_and_lines),
        cmocka_unit_test(no_text_can_begin_another_event),
        cmocka_unit_test(lines_end_in_three_ways_and_bytes_come_as_they_like),
        cmocka_unit_test(a_line_beyond_the_ceiling_costs_its_data_alone),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_fini(&seen);
    return failed;
}
