/* Units of protocols: as they come, several in a message, cut anywhere; and what no peer of the protocol says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/client/framing.h"

#define BYTES(text) text, sizeof text - 1

struct stream {
    enum dialect_framing kind;
    const char *bytes;
    size_t len;
    const char *units[8]; /* ends with NULL */
};

static const struct stream streams[] = {
    { FRAMING_STOMP,
      BYTES("CONNECTED\nversion:1.2\n\n\0\n\r\n\nRECEIPT\r\nreceipt-id:2\r\n\r\n\0"),
      { "CONNECTED\nversion:1.2\n\n", "RECEIPT\r\nreceipt-id:2\r\n\r\n" } },
    { FRAMING_STOMP,
      BYTES("MESSAGE\nsubscription:2\ncontent-length:5\n\na\0b\n\n\0ERROR\n\nno\0"),
      { "MESSAGE\nsubscription:2\ncontent-length:5\n\na\0b\n\n", "ERROR\n\nno" } },
    { FRAMING_STOMP, BYTES("NOTHING\0"), { "NOTHING" } },
    { FRAMING_MQTT,
      BYTES("\x20\x02\x00\x00\x90\x03\x00\x02\x00\x30\x08\x00\x04news:)\xd0\x00"),
      { "CONNACK 0", "SUBACK 2 0", "PUBLISH news\n:)", "PINGRESP" } },
    { FRAMING_MQTT,
      BYTES("\x32\x09\x00\x04news\x00\x07!\x40\x02\x01\x02\xf0\x01x"),
      { "PUBLISH news\n!", "PUBACK 258", "PACKET 15" } },
    { FRAMING_NATS,
      BYTES("INFO {\"a\":1} \r\n+OK\r\nMSG news 2 5\r\nhe\r\no\r\nPING\r\nHMSG news 2 _R 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
      { "INFO {\"a\":1} ", "+OK", "MSG news 2 5\r\nhe\r\no", "PING", "HMSG news 2 _R 12 14\r\nNATS/1.0\r\n\r\nhi" } },
    { FRAMING_NATS, BYTES("MSG a 1 0\r\n\r\nPONG\r\n"), { "MSG a 1 0\r\n", "PONG" } },
};

/* Feeds pieces of at most `most` bytes (0: whole) and compares every unit. */
static void play(const struct stream *stream, size_t most, unsigned *seed)
{
    struct slice rest = slice_make(stream->bytes, stream->len), unit;
    struct framing framing;
    struct err err;
    size_t count = 0;

    framing_init(&framing, stream->kind);
    while (rest.len) {
        size_t len = most ? 1 + (size_t)rand_r(seed) % most : rest.len;
        int rc;

        if (len > rest.len)
            len = rest.len;
        framing_feed(&framing, slice_make(rest.data, len));
        rest = slice_skip(rest, len);
        while ((rc = framing_next(&framing, &unit, &err)) > 0) {
            assert_non_null(stream->units[count]);
            /* A unit with a zero byte is longer than its text here. */
            assert_true(unit.len >= strlen(stream->units[count]));
            assert_memory_equal(unit.data, stream->units[count], unit.len);
            count++;
        }
        if (rc < 0)
            fail_msg("%s", err.text);
    }
    assert_null(stream->units[count]);
    assert_null(framing.rest.data); /* nothing is kept of a stream that is complete */
    framing_fini(&framing);
}

static void test_streams(void **state)
{
    unsigned seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        play(&streams[i], 0, &seed);
        play(&streams[i], 1, &seed);
        for (int n = 0; n < 50; n++)
            play(&streams[i], 7, &seed);
    }
}

static void take(struct framing *framing, const char *message, const char *want)
{
    struct buf got = BUF_INIT(4096);
    struct slice unit;
    struct err err;

    framing_feed(framing, slice_str(message));
    while (framing_next(framing, &unit, &err) > 0) {
        buf_append_char(&got, '[');
        buf_append_slice(&got, unit);
        buf_append_char(&got, ']');
    }
    assert_string_equal(buf_str(&got), want);
    buf_fini(&got);
}

static void test_parts(void **state)
{
    struct framing framing;

    (void)state;
    framing_init(&framing, FRAMING_MESSAGE);
    take(&framing, "a\nb", "[a\nb]");
    take(&framing, "", "[]");
    framing_fini(&framing);
    framing_init(&framing, FRAMING_LINES);
    take(&framing, "{}", "[{}]");
    take(&framing, "{}\n", "[{}]");
    take(&framing, "\na\r\n\r\n\nb", "[a][b]");
    take(&framing, "", "");
    framing_fini(&framing);
    framing_init(&framing, FRAMING_RECORDS);
    take(&framing, "{}\x1e", "[{}]");
    take(&framing, "{\"type\":6}\x1e{\"type\":3}\x1e", "[{\"type\":6}][{\"type\":3}]");
    take(&framing, "\x1e\x1e", "");
    framing_fini(&framing);
}

static void refuses(enum dialect_framing kind, const char *bytes, size_t len, enum reason reason, const char *words)
{
    struct framing framing;
    struct slice unit;
    struct err err;
    int rc;

    framing_init(&framing, kind);
    framing_feed(&framing, slice_make(bytes, len));
    while ((rc = framing_next(&framing, &unit, &err)) > 0)
        ;
    assert_int_equal(rc, -1);
    assert_int_equal(err.reason, reason);
    if (!strstr(err.text, words))
        fail_msg("%s, want %s", err.text, words);
    framing_fini(&framing);
}

static void test_what_nobody_says(void **state)
{
    char *long_line = mem_alloc(70000);

    (void)state;
    refuses(FRAMING_STOMP, BYTES("MESSAGE\ncontent-length:-1\n\n\0"), REASON_PROTOCOL_ERROR, "content-length");
    refuses(FRAMING_STOMP, BYTES("MESSAGE\ncontent-length:2\n\nabc\0"), REASON_PROTOCOL_ERROR, "content-length");
    refuses(FRAMING_STOMP, BYTES("MESSAGE\ncontent-length:9999999999\n\nabc\0"), REASON_MESSAGE_TOO_BIG, "larger");
    refuses(FRAMING_STOMP, BYTES("MESSAGE\ncontent-length:99999999999\n\nabc\0"), REASON_PROTOCOL_ERROR, "content-length");
    refuses(FRAMING_MQTT, BYTES("\x30\xff\xff\xff\xff\x01"), REASON_PROTOCOL_ERROR, "2.2.3");
    refuses(FRAMING_MQTT, BYTES("\x30\xff\xff\xff\x7f"), REASON_MESSAGE_TOO_BIG, "larger");
    refuses(FRAMING_MQTT, BYTES("\x30\x03\x00\x09x"), REASON_PROTOCOL_ERROR, "PUBLISH");
    refuses(FRAMING_MQTT, BYTES("\x30\x01x"), REASON_PROTOCOL_ERROR, "PUBLISH");
    refuses(FRAMING_MQTT, BYTES("\x20\x01\x00"), REASON_PROTOCOL_ERROR, "CONNACK");
    refuses(FRAMING_MQTT, BYTES("\x90\x00"), REASON_PROTOCOL_ERROR, "identifier");
    refuses(FRAMING_NATS, BYTES("MSG a 1 x\r\n"), REASON_PROTOCOL_ERROR, "length");
    refuses(FRAMING_NATS, BYTES("MSG a 1 1\r\nxyz"), REASON_PROTOCOL_ERROR, "does not end");
    refuses(FRAMING_NATS, BYTES("MSG a 1 9999999999\r\nxyz"), REASON_MESSAGE_TOO_BIG, "larger");
    memset(long_line, 'x', 70000);
    refuses(FRAMING_NATS, long_line, 70000, REASON_MESSAGE_TOO_BIG, "larger");
    mem_free(long_line);
}

static void test_ceilings(void **state)
{
    enum { PIECE = 3 << 20 };
    char *piece = mem_alloc(PIECE);
    struct framing framing;
    struct slice unit;
    struct err err;
    int rc;

    (void)state;
    memset(piece, 'x', PIECE);
    framing_init(&framing, FRAMING_STOMP);
    framing_feed(&framing, slice_make(piece, PIECE));
    assert_int_equal(framing_next(&framing, &unit, &err), 0);
    framing_feed(&framing, slice_make(piece, PIECE));
    framing_next(&framing, &unit, &err);
    framing_feed(&framing, slice_make(piece, PIECE));
    assert_int_equal(framing_next(&framing, &unit, &err), -1);
    assert_int_equal(err.reason, REASON_MESSAGE_TOO_BIG);
    framing_fini(&framing);
    /* Many small units in a message: an end is found, and soon. */
    for (size_t i = 0; i < PIECE; i++)
        piece[i] = i % 2 ? '\n' : '\r';
    framing_init(&framing, FRAMING_NATS);
    framing_feed(&framing, slice_make(piece, PIECE));
    while ((rc = framing_next(&framing, &unit, &err)) > 0)
        ;
    assert_int_equal(rc, -1);
    assert_int_equal(err.reason, REASON_MESSAGE_TOO_BIG);
    framing_fini(&framing);
    mem_free(piece);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_what_nobody_says),
        cmocka_unit_test(test_ceilings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
