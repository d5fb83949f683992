/* RESP2: whole replies out of any cut of the bytes, ceilings that hold before memory is asked for, commands, slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/resp.h"

#define COUNT(array) (sizeof array / sizeof array[0])
enum { MAX = 1 << 16 };

/* One reply, given in pieces of that many bytes; nothing may stay behind it. */
static struct resp_reply *read_cut(const char *text, size_t piece)
{
    struct resp_reader *reader = resp_reader_new(MAX);
    struct resp_reply *reply = NULL;
    struct slice rest = slice_str(text);
    struct err err;
    int rc = 0;
    while (rc == 0 && rest.len) {
        struct slice part = slice_make(rest.data, rest.len < piece ? rest.len : piece);
        size_t given = part.len;
        rc = resp_reader_next(reader, &part, &reply, &err);
        if (rc < 0)
            fail_msg("%s: %s", text, err.text);
        rest = slice_skip(rest, given - part.len);
    }
    assert_int_equal(rc, 1);
    assert_int_equal(rest.len, 0);
    struct resp_reply *next;
    rest = slice_str(":7\r\n"); /* nothing of that reply is left in the reader */
    assert_int_equal(resp_reader_next(reader, &rest, &next, &err), 1);
    resp_reply_free(next);
    resp_reader_free(reader);
    return reply;
}

static void test_kinds(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 40; piece += 3) {
        struct resp_reply *reply = read_cut("+OK\r\n", piece);
        assert_int_equal(resp_kind_of(reply), RESP_STATUS);
        assert_true(resp_is_status(reply, "OK"));
        assert_int_equal(resp_count(reply), 0);
        assert_null(resp_item(reply, 0));
        resp_reply_free(reply);

        reply = read_cut("-ERR a b\r\n", piece);
        assert_int_equal(resp_kind_of(reply), RESP_ERROR);
        assert_true(slice_equal_str(resp_text(reply), "ERR a b"));
        assert_false(resp_is_status(reply, "ERR a b"));
        resp_reply_free(reply);

        reply = read_cut(":-9223372036854775807\r\n", piece);
        assert_int_equal(resp_kind_of(reply), RESP_INTEGER);
        assert_true(resp_integer(reply) == -INT64_MAX);
        assert_int_equal(resp_text(reply).len, 0);
        resp_reply_free(reply);

        reply = read_cut("$-1\r\n", piece);
        assert_int_equal(resp_kind_of(reply), RESP_NIL);
        resp_reply_free(reply);

        reply = read_cut("*-1\r\n", piece);
        assert_int_equal(resp_kind_of(reply), RESP_NIL);
        resp_reply_free(reply);

        reply = read_cut("*0\r\n", piece);
        assert_int_equal(resp_kind_of(reply), RESP_ARRAY);
        assert_int_equal(resp_count(reply), 0);
        resp_reply_free(reply);

        reply = read_cut("*1\r\n*2\r\n*1\r\n*1\r\n*1\r\n*1\r\n*2\r\n*0\r\n*-1\r\n+x\r\n", piece); /* as deep as it goes */
        assert_true(resp_is_status(resp_item(resp_item(reply, 0), 1), "x"));
        resp_reply_free(reply);

        reply = read_cut("*4\r\n$7\r\nmessage\r\n*2\r\n:1\r\n$0\r\n\r\n$4\r\na\r\nb\r\n+x\r\n", piece);
        assert_int_equal(resp_count(reply), 4);
        assert_true(resp_item_is(reply, 0, "message"));
        assert_int_equal(resp_count(resp_item(reply, 1)), 2);
        assert_int_equal(resp_integer(resp_item(resp_item(reply, 1), 0)), 1);
        assert_int_equal(resp_kind_of(resp_item(resp_item(reply, 1), 1)), RESP_TEXT);
        assert_true(slice_equal_str(resp_text(resp_item(reply, 2)), "a\r\nb"));
        assert_false(resp_item_is(reply, 3, "x")); /* a status is no text */
        assert_false(resp_item_is(reply, 4, "x"));
        resp_reply_free(reply);
    }
}

static void test_a_pipeline(void **state)
{
    (void)state;
    struct resp_reader *reader = resp_reader_new(MAX);
    struct resp_reply *reply;
    struct slice data = slice_str("+OK\r\n:1\r\n$3\r\nabc\r\n*1\r\n$1");
    struct err err;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(resp_reader_next(reader, &data, &reply, &err), 1);
        resp_reply_free(reply);
    }
    assert_int_equal(resp_reader_next(reader, &data, &reply, &err), 0);
    assert_int_equal(data.len, 0);
    assert_int_equal(resp_reader_next(reader, &data, &reply, &err), 0);
    data = slice_str("\r\nx\r\n+");
    assert_int_equal(resp_reader_next(reader, &data, &reply, &err), 1);
    assert_true(resp_item_is(reply, 0, "x"));
    resp_reply_free(reply);
    assert_int_equal(data.len, 1);
    resp_reader_free(reader);
}

/* Somebody else's large message on our topic: it is not kept, and what follows is read as ever. */
static void test_what_is_passed_over(void **state)
{
    (void)state;
    enum { LARGE = 3 * MAX };
    char *text = mem_alloc(LARGE + 128);
    int len = sprintf(text, "*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$%d\r\n", LARGE);
    memset(text + len, 'x', LARGE);
    strcpy(text + len + LARGE, "\r\n+OK\r\n");
    size_t all = (size_t)len + LARGE + strlen("\r\n+OK\r\n");
    for (size_t piece = 1; piece <= 1 << 17; piece = piece < 70 ? piece + 1 : piece * 7) {
        struct resp_reader *reader = resp_reader_new(MAX);
        struct resp_reply *reply;
        struct err err;
        unsigned replies = 0;
        resp_reader_pass_over(reader);
        for (size_t at = 0; at < all; at += piece) {
            struct slice data = slice_make(text + at, all - at < piece ? all - at : piece);
            int got;
            while ((got = resp_reader_next(reader, &data, &reply, &err)) == 1) {
                if (replies++ == 0) {
                    assert_int_equal(resp_count(reply), 3);
                    assert_true(resp_item_is(reply, 1, "t"));
                    assert_int_equal(resp_text(resp_item(reply, 2)).len, 0);
                } else {
                    assert_true(resp_is_status(reply, "OK"));
                }
                resp_reply_free(reply);
            }
            assert_int_equal(got, 0);
        }
        assert_int_equal(replies, 2);
        assert_int_equal(resp_reader_passed(reader), 1);
        assert_int_equal(resp_reader_passed(reader), 0);
        resp_reader_free(reader);
    }
    mem_free(text);
}

/* Refused when it is announced: nothing of that size is ever allocated. */
static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "*1000000000\r\n", "a reply of 1000000000 elements, at most 4096" },
        { "*4097\r\n", "a reply of 4097 elements" },
        { "*100\r\n*4000\r\n", "4000 elements" }, /* the sum counts, too */
        { "*9223372036854775807\r\n", "elements" },
        { "$1000000000\r\n", "a text of 1000000000 bytes, at most 65536" },
        { "$65536\r\n", "a text of 65536 bytes" },
        { "*-2\r\n", "'-2' behind *, want a number" },
        { "$-2\r\n", "'-2' behind $" },
        { "$\r\n", "'' behind $" },
        { "$abc\r\n", "'abc' behind $" },
        { "$+1\r\n", "'+1' behind $" },
        { ":1.5\r\n", "'1.5' behind :" },
        { "$99999999999999999999999\r\n", "behind $" },
        { "$1234567890123456789012345678\r\n", "digits behind $" },
        { "*1\n", "a broken line end" },
        { "*1\rx", "a broken line end" },
        { "HTTP/1.1 400 Bad Request\r\n", "a reply begins with 'H'" },
        { "%1\r\n", "a reply begins with '%'" },
        { ">2\r\n", "a reply begins with '>'" },
        { "\x15\x03\x01", "a reply begins with byte 21" },
        { "\r\n", "byte 13" },
        { "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "at most 7 deep" },
        { "-ERR a\rb\r\n", "a broken line end behind -" },
        { "+a\nb\r\n", "a broken line end behind +" },
        { "$3\r\nabcd\r\n", "byte 10" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct resp_reader *reader = resp_reader_new(MAX);
        struct resp_reply *reply = NULL;
        struct err err;
        struct slice data = slice_str(rows[i].text);
        int rc;
        err_clear(&err);
        while ((rc = resp_reader_next(reader, &data, &reply, &err)) == 1)
            resp_reply_free(reply);
        if (rc != -1 || !strstr(err.text, rows[i].says))
            fail_msg("%s: %d, '%s' does not say '%s'", rows[i].text, rc, err.text, rows[i].says);
        if (rc < 0) {
            data = slice_str("+OK\r\n");
            assert_int_equal(resp_reader_next(reader, &data, &reply, &err), -1); /* broken for good */
        }
        resp_reader_free(reader);
    }
}

static int feed(struct resp_reader *reader, const char *text, size_t times, struct err *err)
{
    struct resp_reply *reply = NULL;
    int rc = 0;
    for (size_t i = 0; i < times && rc == 0; i++) {
        struct slice data = slice_str(text);
        rc = resp_reader_next(reader, &data, &reply, err);
        if (rc == 1)
            resp_reply_free(reply);
    }
    return rc;
}

static void test_ceilings_hold_for_the_whole_reply(void **state)
{
    (void)state;
    struct err err;
    struct resp_reader *reader = resp_reader_new(64);
    assert_int_equal(feed(reader, "*100\r\n", 1, &err), 0);
    assert_int_equal(feed(reader, "$4\r\nabcd\r\n", 100, &err), -1);
    assert_non_null(strstr(err.text, "64 bytes"));
    resp_reader_free(reader);

    reader = resp_reader_new(MAX);
    assert_int_equal(feed(reader, "-", 1, &err), 0);
    assert_int_equal(feed(reader, "0123456789", 1000, &err), -1);
    assert_non_null(strstr(err.text, "a line of more than 4096 bytes"));
    resp_reader_free(reader);

    reader = resp_reader_new(64); /* each reply has the whole of it */
    struct resp_reply *reply;
    for (int i = 0; i < 100; i++) {
        struct slice data = slice_str("$30\r\n012345678901234567890123456789\r\n");
        assert_int_equal(resp_reader_next(reader, &data, &reply, &err), 1);
        resp_reply_free(reply);
    }
    resp_reader_free(reader);
}

static void test_commands(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(64);
    struct slice args[] = { slice_str("SET"), slice_str("k"), slice_make("a\r\n\0b", 5), slice_make(NULL, 0) };
    static const char want[] = "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n";
    assert_int_equal(resp_command(&out, args, COUNT(args)), 0);
    assert_true(slice_equal(buf_slice(&out), slice_make(want, sizeof want - 1)));
    assert_int_equal(resp_command(&out, args, COUNT(args)), -1); /* past the ceiling: nothing is added */
    assert_int_equal(out.len, sizeof want - 1);
    buf_fini(&out);
}

static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(resp_slot(slice_str("123456789")), 0x31c3 % RESP_SLOTS); /* the check value of CRC-16/XMODEM */
    assert_int_equal(resp_slot(slice_str("foo")), 12182);
    assert_int_equal(resp_slot(slice_str("a{foo}b{bar}")), 12182);
    assert_int_equal(resp_slot(slice_str("")), 0);
    assert_int_equal(resp_slot(slice_str("foo{}{bar}")), resp_slot(slice_str("foo{}{bar}")));
    assert_int_not_equal(resp_slot(slice_str("foo{}{bar}")), resp_slot(slice_str("bar"))); /* an empty tag is none */
    assert_int_equal(resp_slot(slice_str("{{bar}}")), resp_slot(slice_str("{bar")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_a_pipeline),
        cmocka_unit_test(test_what_is_passed_over),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_ceilings_hold_for_the_whole_reply),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
