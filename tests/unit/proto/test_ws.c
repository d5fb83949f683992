/*
 * The WebSocket codec. Each conversation is a script of bytes and the story that must come of it, played whole, byte by byte and in random
 * splits (WSHEALTHD_SEED replays one): the story must be the same, however the bytes come.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"
#include "agent/proto/ws.h"

enum { MAX_MESSAGE = 1000, SPLITS = 30 };

static unsigned seed;

/* --- playing --------------------------------------------------------------------------------------------------------- */

static const struct deflate_params deflate_on = { .on = true, .server_bits = 15, .client_bits = 15 };

static void tell_body(struct buf *story, struct slice body)
{
    size_t shown = body.len < 40 ? body.len : 40;
    for (size_t i = 0; i < shown; i++)
        buf_printf(story, body.data[i] >= ' ' && body.data[i] < 0x7f ? "%c" : "\\x%02x", body.data[i]);
    if (shown < body.len)
        buf_printf(story, "... %zu", body.len);
}

static void tell(struct buf *story, const struct ws_message *message)
{
    static const char *const names[] = {
        [WS_TEXT] = "text", [WS_BINARY] = "binary", [WS_CLOSE] = "close", [WS_PING] = "ping", [WS_PONG] = "pong"
    };
    buf_append_str(story, names[message->opcode]);
    if (message->opcode == WS_CLOSE)
        buf_printf(story, " %u", message->close_code);
    buf_append_str(story, "(");
    tell_body(story, message->body);
    buf_append_str(story, ")");
    if (message->skipped)
        buf_printf(story, "skipped %llu", (unsigned long long)message->size);
    if (message->fragments != 1)
        buf_printf(story, "/%u", message->fragments);
    buf_append_str(story, message->compressed ? "z " : " ");
}

/* Feeds pieces of at most `step` bytes (0: random), each from memory of its own, so that ASan sees whatever reads past it. */
static void play(struct ws_reader *reader, struct slice bytes, size_t step, struct buf *story)
{
    while (bytes.len) {
        size_t n = step ? step : 1 + (size_t)rand_r(&seed) % 23;
        if (n > bytes.len)
            n = bytes.len;
        uint8_t *piece = malloc(n);
        memcpy(piece, bytes.data, n);
        struct slice input = slice_make(piece, n);
        struct ws_message message;
        struct err err;
        int got;
        while ((got = ws_reader_next(reader, &input, &message, &err)) > 0)
            tell(story, &message);
        assert_int_equal(input.len, 0);
        if (got < 0)
            buf_printf(story, "! %d %s", err.code, err.text);
        if (got < 0)
            assert_int_equal(err.reason, err.code == 1009 ? REASON_MESSAGE_TOO_BIG : REASON_PROTOCOL_ERROR);
        free(piece);
        bytes = slice_skip(bytes, n);
    }
    if (ws_reader_mid_message(reader))
        buf_append_str(story, "...");
}

static char *story_of(enum ws_role role, const struct deflate_params *deflate, struct slice bytes, size_t step)
{
    struct ws_reader reader;
    struct buf story = BUF_INIT(1 << 20);
    ws_reader_init(&reader, role, MAX_MESSAGE, deflate);
    play(&reader, bytes, step, &story);
    ws_reader_fini(&reader);
    char *text = mem_strdup(buf_str(&story));
    buf_fini(&story);
    return text;
}

static void assert_story(enum ws_role role, const struct deflate_params *deflate, struct slice bytes, const char *want)
{
    for (int i = 0; i < SPLITS; i++) {
        char *story = story_of(role, deflate, bytes, i == 0 ? bytes.len : i == 1 ? 1 : 0);
        assert_string_equal(story, want);
        mem_free(story);
    }
}

static void assert_skipping_story(uint32_t max_message, size_t budget_max, struct slice bytes, const char *want)
{
    for (int i = 0; i < SPLITS; i++) {
        struct ws_budget budget = { 0, budget_max };
        struct ws_reader reader;
        struct buf story = BUF_INIT(1 << 20);
        ws_reader_init(&reader, WS_CLIENT, max_message, &deflate_on);
        ws_reader_skip(&reader, &budget);
        play(&reader, bytes, i == 0 ? bytes.len : i == 1 ? 1 : 0, &story);
        ws_reader_fini(&reader);
        assert_string_equal(buf_str(&story), want);
        assert_int_equal(budget.used, 0);
        buf_fini(&story);
    }
}

/* "81 05 'Hello' x300:61" - hexadecimal bytes, quoted text, and repetitions xCOUNT:BYTE. */
static struct buf script(const char *text)
{
    struct buf out = BUF_INIT(1 << 20);
    while (*text) {
        if (*text == '\'') {
            for (text++; *text != '\''; text++)
                buf_append_char(&out, *text);
            text++;
        } else if (*text == 'x') {
            char *end;
            unsigned long count = strtoul(text + 1, &end, 10), byte = strtoul(end + 1, &end, 16);
            while (count--)
                buf_append_char(&out, (char)byte);
            text = end;
        } else if (*text == ' ') {
            text++;
        } else {
            char pair[3] = { text[0], text[1], 0 };
            buf_append_char(&out, (char)strtoul(pair, NULL, 16));
            text += 2;
        }
    }
    return out;
}

struct conversation {
    const char *bytes, *story;
};

static void assert_conversations(enum ws_role role, const struct deflate_params *deflate, const struct conversation *all,
                                 size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buf bytes = script(all[i].bytes);
        assert_story(role, deflate, buf_slice(&bytes), all[i].story);
        buf_fini(&bytes);
    }
}
#define assert_all(role, deflate, table) assert_conversations(role, deflate, table, sizeof table / sizeof *(table))

/* --- conversations --------------------------------------------------------------------------------------------------- */

static void test_good_frames(void **state)
{
    (void)state;
    static const struct conversation table[] = {
        { "81 05 'Hello'", "text(Hello) " },
        { "81 00", "text() " },
        { "82 03 00 ff 80", "binary(\\x00\\xff\\x80) " },
        { "01 03 'Hel' 80 02 'lo'", "text(Hello)/2 " },
        { "01 00 00 00 80 00", "text()/3 " },
        { "02 01 'a' 00 01 'b' 00 01 'c' 80 00", "binary(abc)/4 " },
        { "89 00 8a 00", "ping() pong() " },
        { "89 05 'Hello' 8a 02 'no'", "ping(Hello) pong(no) " },
        /* Control frames between fragments (5.4), and a whole message behind. */
        { "01 01 'a' 89 02 'hi' 00 01 'b' 8a 00 80 01 'c' 81 01 'd'", "ping(hi) pong() text(abc)/3 text(d) " },
        { "01 01 'a' 88 02 03e8", "close 1000() " },
        /* Lengths in 7, 16 and 64 bits are told apart by the header. */
        { "82 7d x125:61", "binary(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... 125) " },
        { "82 7e 007e x126:61", "binary(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... 126) " },
        { "82 7e 03e8 x1000:61", "binary(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... 1000) " },
        { "89 7d x125:7a", "ping(zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz... 125) " },
        /* Characters cut by fragments and control frames. */
        { "01 01 e2 00 01 82 89 00 80 01 ac", "ping() text(\\xe2\\x82\\xac)/3 " },
        { "81 04 f0 9f 98 80", "text(\\xf0\\x9f\\x98\\x80) " },
        /* Incomplete ones are told as such. */
        { "81", "..." },
        { "81 05 'Hel'", "..." },
        { "01 03 'Hel'", "..." },
        { "89 05 'H'", "..." },
    };
    assert_all(WS_CLIENT, NULL, table);
    assert_all(WS_CLIENT, &deflate_on, table); /* plain messages stay allowed where compression was negotiated (RFC 7692, 6) */
}

static void test_masked_frames(void **state)
{
    (void)state;
    static const struct conversation table[] = {
        { "81 85 37fa213d 7f9f4d5158", "text(Hello) " }, /* RFC 6455, 5.7 */
        { "89 85 37fa213d 7f9f4d5158", "ping(Hello) " },
        { "81 85 00000000 'Hello' 82 80 01020304", "text(Hello) binary() " },
        { "01 81 01000000 60 89 81 02000000 60 80 82 01020304 6360", "ping(b) text(abb)/2 " },
        { "88 82 01010101 02e9", "close 1000() " },
        { "88 82 00000000 03f2", "close 1010() " }, /* a client may */
        { "81 05 'Hello'", "! 1002 unmasked frame from the client (RFC 6455, 5.1)" },
        { "88 00", "! 1002 unmasked frame from the client (RFC 6455, 5.1)" },
        { "81 81 01000000 81", "! 1007 text is not UTF-8 (RFC 6455, 8.1)" },
    };
    assert_all(WS_SERVER, NULL, table);
}

static void test_closes(void **state)
{
    (void)state;
    static const struct conversation table[] = {
        { "88 00", "close 1005() " },
        { "88 02 03e8", "close 1000() " },
        { "88 05 03e9 'bye'", "close 1001(bye) " },
        { "88 02 03f4", "close 1012() " }, /* service restart, try again later, bad gateway: the IANA registry */
        { "88 02 03f5", "close 1013() " },
        { "88 02 03f6", "close 1014() " },
        { "88 02 0bb8", "close 3000() " },
        { "88 02 1387", "close 4999() " },
        { "88 00 81 01 'a' ff ff ff", "close 1005() " }, /* whatever comes behind it is nobody's business (5.5.1) */
        { "88 01 03", "! 1002 close with 1 byte (RFC 6455, 5.5.1)" },
        { "88 02 0000", "! 1002 close code 0 (RFC 6455, 7.4.2)" },
        { "88 02 03e7", "! 1002 close code 999 (RFC 6455, 7.4.2)" },
        { "88 02 03ec", "! 1002 close code 1004 (RFC 6455, 7.4.1)" },
        { "88 02 03ed", "! 1002 close code 1005 (RFC 6455, 7.4.1)" },
        { "88 02 03ee", "! 1002 close code 1006 (RFC 6455, 7.4.1)" },
        { "88 02 03f7", "! 1002 close code 1015 (RFC 6455, 7.4.1)" },
        { "88 02 03f2", "! 1002 close code 1010 from the server, which is the client's (RFC 6455, 7.4.1)" },
        { "88 02 03f8", "! 1002 close code 1016 (RFC 6455, 7.4.2)" },
        { "88 02 0bb7", "! 1002 close code 2999 (RFC 6455, 7.4.2)" },
        { "88 02 1388", "! 1002 close code 5000 (RFC 6455, 7.4.2)" },
        { "88 04 03e8 c328", "! 1007 close reason is not UTF-8 (RFC 6455, 5.5.1 and 8.1)" },
        { "88 04 03e8 e282", "! 1007 close reason is not UTF-8 (RFC 6455, 5.5.1 and 8.1)" },
        { "08 02 03e8", "! 1002 fragmented close (RFC 6455, 5.5)" },
        { "88 7e 007e x126:61", "! 1002 close with 126 bytes, at most 125 (RFC 6455, 5.5)" },
    };
    assert_all(WS_CLIENT, NULL, table);
}

static void test_violations(void **state)
{
    (void)state;
    static const struct conversation table[] = {
        { "81 85 37fa213d 7f9f4d5158", "! 1002 masked frame from the server (RFC 6455, 5.1)" },
        { "81 80", "! 1002 masked frame from the server (RFC 6455, 5.1)" },
        { "c1 05 'Hello'", "! 1002 RSV1 set though no extension was negotiated (RFC 6455, 5.2)" },
        { "a1 00", "! 1002 RSV2 set though no extension uses it (RFC 6455, 5.2)" },
        { "91 00", "! 1002 RSV3 set though no extension uses it (RFC 6455, 5.2)" },
        { "b9 00", "! 1002 RSV2 set though no extension uses it (RFC 6455, 5.2)" },
        { "83 00", "! 1002 reserved opcode 3 (RFC 6455, 5.2)" },
        { "87 00", "! 1002 reserved opcode 7 (RFC 6455, 5.2)" },
        { "8b 00", "! 1002 reserved opcode 11 (RFC 6455, 5.2)" },
        { "0f 00", "! 1002 reserved opcode 15 (RFC 6455, 5.2)" },
        { "09 00", "! 1002 fragmented ping (RFC 6455, 5.5)" },
        { "0a 01 'a'", "! 1002 fragmented pong (RFC 6455, 5.5)" },
        { "89 7e 0082 x130:61", "! 1002 ping with 130 bytes, at most 125 (RFC 6455, 5.5)" },
        { "8a 7f 0000000000010000", "! 1002 pong with 65536 bytes, at most 125 (RFC 6455, 5.5)" },
        { "81 7e 0005 'Hello'", "! 1002 length 5 sent in 16 bits (RFC 6455, 5.2: minimal)" },
        { "81 7e 007d", "! 1002 length 125 sent in 16 bits (RFC 6455, 5.2: minimal)" },
        { "81 7f 000000000000ffff", "! 1002 length 65535 sent in 64 bits (RFC 6455, 5.2: minimal)" },
        { "89 7e 0002 'hi'", "! 1002 length 2 sent in 16 bits (RFC 6455, 5.2: minimal)" },
        { "82 7f 8000000000000000", "! 1002 64-bit length with the top bit set (RFC 6455, 5.2)" },
        { "80 01 'a'", "! 1002 continuation without a message (RFC 6455, 5.4)" },
        { "81 01 'a' 80 00", "text(a) ! 1002 continuation without a message (RFC 6455, 5.4)" },
        { "01 01 'a' 81 01 'b'", "! 1002 text inside a fragmented message (RFC 6455, 5.4)" },
        { "02 01 'a' 82 01 'b'", "! 1002 binary inside a fragmented message (RFC 6455, 5.4)" },
        { "81 02 c328", "! 1007 text is not UTF-8 (RFC 6455, 8.1)" },
        { "81 03 eda080", "! 1007 text is not UTF-8 (RFC 6455, 8.1)" },
        { "81 02 e282", "! 1007 text ends inside a character: not UTF-8 (RFC 6455, 8.1)" },
        { "01 02 e282 80 00", "! 1007 text ends inside a character: not UTF-8 (RFC 6455, 8.1)" },
        { "01 02 e282 80 01 'a'", "! 1007 text is not UTF-8 (RFC 6455, 8.1)" },
        { "81 7e 03e9", "! 1009 message of 1001 bytes, at most 1000 are taken" },
        { "02 7e 03e9", "! 1009 message of at least 1001 bytes, at most 1000 are taken" },
        { "82 7f 7fffffffffffffff", "! 1009 message of 9223372036854775807 bytes, at most 1000 are taken" },
        { "02 7e 03e8 x1000:61 80 01", "! 1009 message of 1001 bytes, at most 1000 are taken" },
        /* What comes behind a violation is ignored. */
        { "83 00 81 01 'a' 89 00", "! 1002 reserved opcode 3 (RFC 6455, 5.2)" },
    };
    assert_all(WS_CLIENT, NULL, table);
}

/* "As early as possible": the verdict falls with the byte that settles it, not at the end of the frame. */
static void test_early_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t settled_by; /* bytes that it takes */
    } table[] = {
        { "83 05", 1 },
        { "09 05 'Hello'", 1 },
        { "80 05 'Hello'", 1 },
        { "81 85 00000000 'Hello'", 2 },
        { "88 01 03", 2 },
        { "82 7e 0005 'Hello'", 4 },
        { "82 7f 8000000000000000", 10 },
        { "82 7e ffff 'a'", 4 },
        { "81 7e 0100 'abc' ff 'more and more'", 8 },
        { "01 01 c3 80 7d 'a' x124:62", 6 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf bytes = script(table[i].bytes);
        struct ws_reader reader;
        size_t fed = 0;
        int got = 0;
        ws_reader_init(&reader, WS_CLIENT, MAX_MESSAGE, NULL);
        while (got == 0 && fed < bytes.len) {
            struct slice input = slice_make(bytes.data + fed++, 1);
            struct ws_message message;
            struct err err;
            got = ws_reader_next(&reader, &input, &message, &err);
        }
        assert_int_equal(got, -1);
        assert_int_equal(fed, table[i].settled_by);
        ws_reader_fini(&reader);
        buf_fini(&bytes);
    }
}

/* --- compression ----------------------------------------------------------------------------------------------------- */

static void test_deflate_frames(void **state)
{
    (void)state;
    static const struct conversation table[] = {
        { "c1 07 f248cdc9c90700", "text(Hello)z " },                               /* RFC 7692, 7.2.3.1 */
        { "41 03 f248cd 80 04 c9c90700", "text(Hello)/2z " },                      /* the same in fragments */
        { "41 03 f248cd 89 01 'p' 80 04 c9c90700", "ping(p) text(Hello)/2z " },    /* and with a ping between them */
        { "c1 07 f248cdc9c90700 c1 05 f200110000", "text(Hello)z text(Hello)z " }, /* 7.2.3.2: the window is shared */
        { "c1 0b 000500faff 'Hello' 00", "text(Hello)z " },                        /* 7.2.3.3: no compression */
        { "c1 08 f348cdc9c9070000", "text(Hello)z " },                             /* 7.2.3.4: BFINAL */
        { "c1 08 f348cdc9c9070000 c1 05 f200110000", "text(Hello)z text(Hello)z " },
        { "c1 0d f248050000 00ffffcac9c90700", "text(Hello)z " }, /* 7.2.3.5: two blocks */
        { "c1 01 00", "text()z " },                               /* 7.2.3.6: empty */
        { "81 01 'a' c1 07 f248cdc9c90700 81 01 'b'", "text(a) text(Hello)z text(b) " },
        { "c1 04 ffffffff", "! 1007 compressed message is not DEFLATE data: invalid block type (RFC 7692, 7.2.2)" },
        { "c1 05 f200110000",
          "! 1007 compressed message is not DEFLATE data: it points back beyond the first byte (RFC 7692, 7.2.2)" },
        { "c1 00", "! 1007 compressed message is not DEFLATE data: it ends inside a block (RFC 7692, 7.2.2)" },
        { "c1 03 f248cd", "! 1007 compressed message is not DEFLATE data: it ends inside a block (RFC 7692, 7.2.2)" },
        { "c9 01 'a'", "! 1002 RSV1 set on a ping frame (RFC 7692, 6.1)" },
        { "c8 00", "! 1002 RSV1 set on a close frame (RFC 7692, 6.1)" },
        { "01 01 'a' c0 01 'b'", "! 1002 RSV1 set on a continuation frame (RFC 7692, 6.1)" },
        { "c1 09 000200fdff c328 00 00", "! 1007 text is not UTF-8 (RFC 6455, 8.1)" },
        { "c1 08 000200fdff e282 00", "! 1007 text ends inside a character: not UTF-8 (RFC 6455, 8.1)" },
        { "c1 7e 09dd", "! 1009 compressed message of 2525 bytes, at most 1000 are taken" },
        { "91 00", "! 1002 RSV3 set though no extension uses it (RFC 6455, 5.2)" },
    };
    assert_all(WS_CLIENT, &deflate_on, table);
}

static void test_deflate_masked(void **state)
{
    (void)state;
    static const struct conversation table[] = {
        { "c1 87 01020304 f34ace cdc80503", "text(Hello)z " },
        { "41 83 01020304 f34ace 80 84 04030201 cdca0501", "text(Hello)/2z " },
    };
    assert_all(WS_SERVER, &deflate_on, table);
}

/* A bomb stops at the ceiling, whatever it would become, and so does a message of endless empty blocks. */
static void test_bombs(void **state)
{
    (void)state;
    struct deflater *deflater = deflater_new(15, false);
    struct buf packed = BUF_INIT(1 << 16), wire = BUF_INIT(1 << 20);
    uint8_t *zeros = calloc(1, 1 << 20);
    assert_int_equal(deflater_message(deflater, slice_make(zeros, 1 << 20), &packed), 0);
    assert_true(packed.len < 2048);
    ws_write_frame(&wire, WS_SERVER, WS_BINARY, true, true, buf_slice(&packed));
    assert_story(WS_CLIENT, &deflate_on, buf_slice(&wire), "! 1009 message inflates past 1000 bytes, at most so many are taken");

    buf_reset(&wire);
    for (int i = 0; i < 9; i++) {
        uint8_t blocks[300];
        for (size_t at = 0; at < sizeof blocks; at += 5)
            memcpy(blocks + at, "\0\0\0\xff\xff", 5);
        ws_write_frame(&wire, WS_SERVER, i ? WS_CONTINUATION : WS_TEXT, false, i == 0, slice_of(blocks));
    }
    assert_story(WS_CLIENT, &deflate_on, buf_slice(&wire),
                 "! 1009 compressed message of at least 2700 bytes, at most 1000 are taken");
    free(zeros);
    buf_fini(&wire);
    buf_fini(&packed);
    deflater_free(deflater);
}

/* Exactly the ceiling passes, plain and compressed. */
static void test_at_the_ceiling(void **state)
{
    (void)state;
    uint8_t noise[MAX_MESSAGE];
    struct deflater *deflater = deflater_new(15, true);
    struct buf packed = BUF_INIT(1 << 16), wire = BUF_INIT(1 << 16);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)rand_r(&seed);
    assert_int_equal(deflater_message(deflater, slice_of(noise), &packed), 0);
    ws_write_frame(&wire, WS_SERVER, WS_BINARY, true, true, buf_slice(&packed));
    ws_write_frame(&wire, WS_SERVER, WS_BINARY, true, false, slice_of(noise));
    struct ws_reader reader;
    ws_reader_init(&reader, WS_CLIENT, MAX_MESSAGE, &deflate_on);
    struct slice input = buf_slice(&wire);
    for (int i = 0; i < 2; i++) {
        struct ws_message message;
        struct err err;
        assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1);
        assert_true(slice_equal(message.body, slice_of(noise)));
        assert_int_equal(message.compressed, i == 0);
    }
    ws_reader_fini(&reader);
    deflater_free(deflater);
    buf_fini(&packed);
    buf_fini(&wire);
}

/* --- what the reader costs --------------------------------------------------------------------------------------------- */

static void test_zero_copy_and_small(void **state)
{
    (void)state;
    struct buf bytes = script("81 05 'Hello' 89 02 'hi' 01 01 'a' 80 01 'b' 82 01 'c'");
    struct ws_reader reader;
    struct ws_message message;
    struct err err;
    struct slice input = buf_slice(&bytes);

    assert_true(sizeof reader <= 64);
    ws_reader_init(&reader, WS_CLIENT, MAX_MESSAGE, NULL);
    assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1);
    assert_ptr_equal(message.body.data, bytes.data + 2);
    assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1);
    assert_ptr_equal(message.body.data, bytes.data + 9);
    assert_null(reader.partial);
    assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1); /* joined: in memory of its own */
    assert_non_null(reader.partial);
    assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1); /* which goes with the next call */
    assert_null(reader.partial);
    assert_ptr_equal(message.body.data, bytes.data + bytes.len - 1);
    assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 0);
    assert_false(ws_reader_mid_message(&reader));
    ws_reader_fini(&reader);
    buf_fini(&bytes);
}

static void test_inflater_goes_without_context(void **state)
{
    (void)state;
    struct deflate_params params = { .on = true, .server_no_context_takeover = true, .server_bits = 9, .client_bits = 15 };
    struct buf bytes = script("c1 07 f248cdc9c90700");
    struct ws_reader reader;
    struct ws_message message;
    struct err err;
    for (int i = 0; i < 2; i++) {
        ws_reader_init(&reader, WS_CLIENT, MAX_MESSAGE, i ? &deflate_on : &params);
        struct slice input = buf_slice(&bytes);
        assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1);
        assert_int_equal(!!reader.inflater, i);
        ws_reader_fini(&reader);
    }
    buf_fini(&bytes);
}

/* --- writing --------------------------------------------------------------------------------------------------------- */

static void test_mask(void **state)
{
    (void)state;
    static const uint8_t key[4] = { 0x12, 0x34, 0x56, 0x78 };
    uint8_t data[64], want[64];
    for (size_t start = 0; start < 9; start++)
        for (size_t len = 0; len < 40; len++)
            for (size_t offset = 0; offset < 5; offset++) {
                for (size_t i = 0; i < sizeof data; i++)
                    data[i] = want[i] = (uint8_t)rand_r(&seed);
                for (size_t i = 0; i < len; i++)
                    want[start + i] ^= key[(offset + i) % 4];
                ws_mask(data + start, len, key, offset);
                assert_memory_equal(data, want, sizeof data);
            }
}

static void test_write_lengths(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 125, 126, 65535, 65536 }, headers[] = { 2, 2, 2, 4, 4, 10 };
    uint8_t *payload = calloc(1, 65536);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int role = WS_CLIENT; role <= WS_SERVER; role++) {
            struct buf out = BUF_INIT(70000);
            struct ws_reader reader;
            struct ws_message message;
            struct err err;
            assert_int_equal(ws_write_frame(&out, (enum ws_role)role, WS_BINARY, true, false, slice_make(payload, lengths[i])), 0);
            assert_int_equal(out.len, headers[i] + (role == WS_CLIENT ? 4 : 0) + lengths[i]);
            ws_reader_init(&reader, role == WS_CLIENT ? WS_SERVER : WS_CLIENT, 65536, NULL);
            struct slice input = buf_slice(&out);
            assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1);
            assert_true(slice_equal(message.body, slice_make(payload, lengths[i])));
            ws_reader_fini(&reader);
            buf_fini(&out);
        }
    free(payload);
}

static void test_write_ceiling(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(12);
    assert_int_equal(ws_write_frame(&out, WS_SERVER, WS_TEXT, true, false, slice_str("12345678901")), -1);
    assert_int_equal(out.len, 0);
    assert_int_equal(ws_write_frame(&out, WS_SERVER, WS_TEXT, true, false, slice_str("1234567890")), 0);
    assert_int_equal(ws_write_frame(&out, WS_SERVER, WS_PING, true, false, slice_str("")), -1);
    buf_fini(&out);
}

static void assert_close(uint16_t code, const char *text, uint16_t want_code, size_t want_len)
{
    struct buf out = BUF_INIT(256);
    struct ws_reader reader;
    struct ws_message message;
    struct err err;
    assert_int_equal(ws_write_close(&out, WS_CLIENT, code, text), 0);
    ws_reader_init(&reader, WS_SERVER, MAX_MESSAGE, NULL);
    struct slice input = buf_slice(&out);
    assert_int_equal(ws_reader_next(&reader, &input, &message, &err), 1);
    assert_int_equal(message.opcode, WS_CLOSE);
    assert_int_equal(message.close_code, want_code);
    assert_int_equal(message.body.len, want_len);
    ws_reader_fini(&reader);
    buf_fini(&out);
}

static void test_write_close(void **state)
{
    (void)state;
    char text[200];
    assert_close(1000, "bye", 1000, 3);
    assert_close(1001, NULL, 1001, 0);
    assert_close(WS_CODE_NO_STATUS, "not sent", WS_CODE_NO_STATUS, 0);
    memset(text, 'a', sizeof text);
    text[199] = '\0';
    assert_close(4000, text, 4000, 123);
    memcpy(text + 122, "\xe2\x82\xac", 3); /* would be cut inside: it goes whole */
    assert_close(4000, text, 4000, 122);
    memcpy(text + 120,
           "\xe2\x82\xac"
           "aa",
           5); /* ends at the limit: it stays */
    assert_close(4000, text, 4000, 123);
}

static void test_close_names(void **state)
{
    (void)state;
    assert_string_equal(ws_close_code_name(1000), "normal closure");
    assert_string_equal(ws_close_code_name(1006), "abnormal");
    assert_string_equal(ws_close_code_name(1012), "service restart");
    assert_string_equal(ws_close_code_name(1013), "try again later");
    assert_string_equal(ws_close_code_name(1015), "TLS handshake failed");
    assert_string_equal(ws_close_code_name(1016), "");
    assert_string_equal(ws_close_code_name(4000), "");
    assert_string_equal(ws_close_code_name(999), "");
}

/* What is too large for a check that skips is judged, told and not kept. */
static void test_skipping(void **state)
{
    (void)state;
    static const struct {
        uint32_t max;
        const char *bytes, *story;
    } table[] = {
        { 4, "81 05 'Hello' 81 04 'Hell'", "text()skipped 5 text(Hell) " },
        { 0, "81 05 'Hello' 81 00 89 01 'p' 8a 01 'q'", "text()skipped 5 text() ping(p) pong(q) " },
        { 4, "01 03 'Hel' 89 01 'p' 80 02 'lo' 82 01 'x'", "ping(p) text()skipped 5/2 binary(x) " },
        { 4, "01 05 'Hello' 00 01 'a' 80 01 'b' 82 01 'x'", "text()skipped 7/3 binary(x) " },
        { 4, "c1 07 f2 48 cd c9 c9 07 00 c1 07 f2 48 cd c9 c9 07 00", "text()skipped 5z text()skipped 5z " },
        { 5, "c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00", "text(Hello)z text(Hello)z " }, /* RFC 7692, 7.2.3.1 and .2 */
        { 4, "41 03 f2 48 cd 80 04 c9 c9 07 00 c1 05 f2 00 11 00 00",
          "text()skipped 5/2z text()skipped 5z " }, /* the window lives on */
        /* What breaks a rule is found whether it is kept or not. */
        { 0, "81 03 e2 82 61", "! 1007 text is not UTF-8 (RFC 6455, 8.1)" },
        { 0, "81 02 e2 82", "! 1007 text ends inside a character: not UTF-8 (RFC 6455, 8.1)" },
        { 0, "01 02 e2 82 80 02 61 61", "! 1007 text is not UTF-8 (RFC 6455, 8.1)" },
        { 0, "c1 04 ffffffff", "! 1007 compressed message is not DEFLATE data: invalid block type (RFC 7692, 7.2.2)" },
        { 0, "01 05 'Hello' 81 01 'x'", "! 1002 text inside a fragmented message (RFC 6455, 5.4)" },
        { 4, "82 7f 8000000000000000", "! 1002 64-bit length with the top bit set (RFC 6455, 5.2)" },
        { 4, "82 7f 7fffffffffffffff 'abc'", "..." },
        { 4, "02 7f 7fffffffffffffff x5000:61", "..." },
        { 100000, "82 7e c350 x50000:61", "binary(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... 50000) " },
        { 4000, "82 7e c350 x50000:61 81 01 'x'", "binary()skipped 50000 text(x) " },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct buf bytes = script(table[i].bytes);
        assert_skipping_story(table[i].max, SIZE_MAX, buf_slice(&bytes), table[i].story);
        buf_fini(&bytes);
    }
}

/* Several readers share one budget for what is unfinished: a message that finds no room is skipped, and the room comes back. */
static void test_budget(void **state)
{
    (void)state;
    struct ws_budget budget = { 0, 120000 };
    struct ws_reader readers[4];
    struct ws_message message;
    struct err err;
    struct buf begin = script("02 7e c350 x50000:61"), end = script("80 01 'z'");

    for (size_t i = 0; i < 4; i++) {
        ws_reader_init(&readers[i], WS_CLIENT, 1 << 20, NULL);
        ws_reader_skip(&readers[i], &budget);
        struct slice input = buf_slice(&begin);
        assert_int_equal(ws_reader_next(&readers[i], &input, &message, &err), 0);
        assert_true(budget.used <= 2 * budget.max);
    }
    for (size_t i = 0; i < 4; i++) {
        struct slice input = buf_slice(&end);
        assert_int_equal(ws_reader_next(&readers[i], &input, &message, &err), 1);
        assert_int_equal(message.size, 50001);
        assert_int_equal(message.skipped, i > 1);
        assert_int_equal(message.body.len, i > 1 ? 0 : 50001);
    }
    for (size_t i = 0; i < 4; i++)
        ws_reader_fini(&readers[i]);
    assert_int_equal(budget.used, 0);
    buf_fini(&begin);
    buf_fini(&end);
}

int main(void)
{
    const char *given = getenv("WSHEALTHD_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_wall_ms();
    printf("seed %u\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_frames),
        cmocka_unit_test(test_masked_frames),
        cmocka_unit_test(test_closes),
        cmocka_unit_test(test_violations),
        cmocka_unit_test(test_early_verdicts),
        cmocka_unit_test(test_deflate_frames),
        cmocka_unit_test(test_deflate_masked),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_at_the_ceiling),
        cmocka_unit_test(test_zero_copy_and_small),
        cmocka_unit_test(test_inflater_goes_without_context),
        cmocka_unit_test(test_skipping),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_write_lengths),
        cmocka_unit_test(test_write_ceiling),
        cmocka_unit_test(test_write_close),
        cmocka_unit_test(test_close_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
