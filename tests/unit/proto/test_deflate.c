/*
 * permessage-deflate: the negotiation by the tables of RFC 7692, 7.1, and the streams: what one side deflates the other inflates, for
 * every combination of parameters, whole and in random pieces (WSHEALTHD_SEED replays), and never past the ceiling.
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
#include "agent/proto/deflate.h"
#include "agent/proto/ws.h"
#include "tests/unit/proto/inflate.h"

enum { MAX = 1 << 20 };

static unsigned seed;

/* --- negotiation ----------------------------------------------------------------------------------------------------- */

static void describe(const struct deflate_params *params, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s s%u c%u", params->on ? "on" : "off", params->server_no_context_takeover ? " snct" : "",
             params->client_no_context_takeover ? " cnct" : "", params->server_bits, params->client_bits);
}

static void test_offer(void **state)
{
    (void)state;
    char offer[64];
    deflate_offer(offer, sizeof offer);
    assert_string_equal(offer, "permessage-deflate; client_max_window_bits");
}

static void test_accept_response(void **state)
{
    (void)state;
    static const struct {
        const char *value, *want; /* want: the parameters, or the beginning of the sentence */
    } table[] = {
        { "permessage-deflate", "on s15 c15" },
        { "permessage-deflate; server_no_context_takeover", "on snct s15 c15" }, /* not offered, and still allowed (7.1.1.1) */
        { "permessage-deflate; client_no_context_takeover", "on cnct s15 c15" },
        { "permessage-deflate; server_max_window_bits=8", "on s8 c15" }, /* likewise (7.1.2.1) */
        { "permessage-deflate; client_max_window_bits=9", "on s15 c9" },
        { "permessage-deflate; client_max_window_bits=8", "on s15 c8" },
        { "permessage-deflate;server_max_window_bits=\"10\" ;\tclient_max_window_bits = 15;client_no_context_takeover",
          "on cnct s10 c15" },
        { ", permessage-deflate ,", "on s15 c15" },
        { "permessage-deflate; client_max_window_bits",
          "permessage-deflate: client_max_window_bits without a value, want 8 to 15" },
        { "permessage-deflate; server_max_window_bits",
          "permessage-deflate: server_max_window_bits without a value, want 8 to 15" },
        { "permessage-deflate; server_max_window_bits=7", "permessage-deflate: server_max_window_bits=7, want 8 to 15" },
        { "permessage-deflate; server_max_window_bits=16", "permessage-deflate: server_max_window_bits=16, want 8 to 15" },
        { "permessage-deflate; client_max_window_bits=08", "permessage-deflate: client_max_window_bits=08, want 8 to 15" },
        { "permessage-deflate; client_max_window_bits=1x", "permessage-deflate: client_max_window_bits=1x, want 8 to 15" },
        { "permessage-deflate; server_no_context_takeover=1", "permessage-deflate: server_no_context_takeover takes no value" },
        { "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
          "permessage-deflate: client_no_context_takeover came twice" },
        { "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
          "permessage-deflate: server_max_window_bits came twice" },
        { "permessage-deflate; turbo=9", "permessage-deflate: unknown parameter turbo" },
        { "permessage-deflate; Server_No_Context_Takeover", "permessage-deflate: unknown parameter Server_No_Context_Takeover" },
        { "permessage-deflate, permessage-deflate", "the server chose more extensions than were offered" },
        { "permessage-deflate, x-strange", "the server chose more extensions than were offered" },
        { "x-webkit-deflate-frame", "the server chose extension x-webkit-deflate-frame, which was not offered" },
        { "permessage-deflate-2", "the server chose extension permessage-deflate-2, which was not offered" },
        { "", "Sec-WebSocket-Extensions is empty" },
        { " , ,", "Sec-WebSocket-Extensions is empty" },
        { "permessage-deflate;", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "permessage-deflate; =10", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "permessage-deflate; server_max_window_bits=", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "permessage-deflate; server_max_window_bits=\"10", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "permessage-deflate; server_max_window_bits=\"\"", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "permessage-deflate server_no_context_takeover", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "\"permessage-deflate\"", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "permessage-deflate, @", "Sec-WebSocket-Extensions is not a list of extensions" },
        { "\xff", "Sec-WebSocket-Extensions is not a list of extensions" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct deflate_params params;
        struct err err = { 0 };
        char got[ERR_TEXT_MAX];
        if (deflate_accept_response(slice_str(table[i].value), &params, &err) == 0) {
            describe(&params, got, sizeof got);
            assert_string_equal(got, table[i].want);
        } else {
            assert_int_equal(err.reason, REASON_UPGRADE_BAD_EXTENSION);
            assert_false(params.on);
            if (strncmp(err.text, table[i].want, strlen(table[i].want)) != 0)
                assert_string_equal(err.text, table[i].want);
        }
    }
}

static void test_answer_offer(void **state)
{
    (void)state;
    static const struct {
        const char *value, *answer, *want; /* answer NULL: the value is no list */
    } table[] = {
        { "permessage-deflate", "permessage-deflate", "on s15 c15" },
        { "permessage-deflate; client_max_window_bits", "permessage-deflate", "on s15 c15" },
        { "permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10", "on s15 c10" },
        { "permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8", "on s8 c15" },
        { "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
          "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "on snct cnct s15 c15" },
        { "x-other; a=b, permessage-deflate; server_max_window_bits=12", "permessage-deflate; server_max_window_bits=12",
          "on s12 c15" },
        { "permessage-deflate; server_max_window_bits=20, permessage-deflate", "permessage-deflate", "on s15 c15" },
        { "permessage-deflate; turbo, permessage-deflate; client_no_context_takeover",
          "permessage-deflate; client_no_context_takeover", "on cnct s15 c15" },
        { "permessage-deflate; server_max_window_bits", "", "off s0 c0" },
        { "permessage-deflate; server_no_context_takeover=yes", "", "off s0 c0" },
        { "x-other", "", "off s0 c0" },
        { "", "", "off s0 c0" },
        { "permessage-deflate; ;", NULL, NULL },
        { "permessage-deflate, =", NULL, NULL },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct deflate_params params;
        char answer[DEFLATE_ANSWER_MAX], got[64];
        int rc = deflate_answer_offer(slice_str(table[i].value), &params, answer, sizeof answer);
        assert_int_equal(rc, table[i].answer ? 0 : -1);
        if (!table[i].answer)
            continue;
        describe(&params, got, sizeof got);
        assert_string_equal(answer, table[i].answer);
        assert_string_equal(got, table[i].want);
    }
}

/* The longest answer fits, and our client takes whatever our server answers. */
static void test_answers_fit_offers(void **state)
{
    (void)state;
    char answer[DEFLATE_ANSWER_MAX], offer[64];
    struct deflate_params server, client;
    struct err err;
    static const char longest[] =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; "
        "client_max_window_bits=15";
    assert_int_equal(deflate_answer_offer(slice_str(longest), &server, answer, sizeof answer), 0);
    assert_string_equal(answer, longest);
    deflate_offer(offer, sizeof offer);
    assert_int_equal(deflate_answer_offer(slice_str(offer), &server, answer, sizeof answer), 0);
    assert_int_equal(deflate_accept_response(slice_str(answer), &client, &err), 0);
    assert_memory_equal(&server, &client, sizeof server);
}

/* --- streams --------------------------------------------------------------------------------------------------------- */

/* Something that compresses, with repeats near and far. */
static void fill(struct buf *out, size_t len)
{
    while (out->len < len) {
        size_t back = out->len ? (size_t)rand_r(&seed) % out->len + 1 : 0, n = 3 + (size_t)rand_r(&seed) % 60;
        for (; n && out->len < len; n--)
            buf_append_char(out, (char)(back && rand_r(&seed) % 20 ? out->data[out->len - back] : rand_r(&seed)));
    }
}

static void inflate_in_pieces(struct inflater *inflater, struct slice packed, struct buf *out)
{
    struct err err;
    while (packed.len) {
        size_t n = 1 + (size_t)rand_r(&seed) % packed.len;
        uint8_t *piece = malloc(n);
        memcpy(piece, packed.data, n);
        assert_int_equal(inflate_piece(inflater, slice_make(piece, n), false, out, MAX, &err), 0);
        free(piece);
        packed = slice_skip(packed, n);
    }
    assert_int_equal(inflate_piece(inflater, slice_make(NULL, 0), true, out, MAX, &err), 0);
}

static void round_trip(uint8_t bits, bool no_context)
{
    static const size_t lengths[] = { 0, 1, 5, 0, 0, 300, 70000, 5, 4096, 5 };
    struct deflater *deflater = deflater_new(bits, no_context);
    struct inflater *inflater = inflater_new(bits, no_context, "server");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct buf text = BUF_INIT(MAX), packed = BUF_INIT(MAX), back = BUF_INIT(MAX);
        fill(&text, lengths[i]);
        assert_int_equal(deflater_message(deflater, buf_slice(&text), &packed), 0);
        assert_true(packed.len > 0);
        inflate_in_pieces(inflater, buf_slice(&packed), &back);
        assert_true(slice_equal(buf_slice(&back), buf_slice(&text)));
        buf_fini(&text);
        buf_fini(&packed);
        buf_fini(&back);
    }
    deflater_free(deflater);
    inflater_free(inflater);
}

static void test_round_trips(void **state)
{
    (void)state;
    for (uint8_t bits = 8; bits <= 15; bits++)
        for (int no_context = 0; no_context < 2; no_context++)
            round_trip(bits, no_context);
}

/* Whole connections: negotiation to messages, both directions, for every pair of windows and takeovers. */
static void send_one(struct ws_reader *reader, struct deflater *deflater, enum ws_role sender)
{
    struct buf text = BUF_INIT(MAX), packed = BUF_INIT(MAX), wire = BUF_INIT(MAX);
    struct ws_message message;
    struct err err;
    fill(&text, (size_t)rand_r(&seed) % 3000);
    assert_int_equal(deflater_message(deflater, buf_slice(&text), &packed), 0);
    size_t cut = (size_t)rand_r(&seed) % (packed.len + 1);
    ws_write_frame(&wire, sender, WS_BINARY, false, true, slice_make(packed.data, cut));
    ws_write_frame(&wire, sender, WS_PING, true, false, slice_str("between"));
    ws_write_frame(&wire, sender, WS_CONTINUATION, true, false, slice_skip(buf_slice(&packed), cut));
    struct slice input = buf_slice(&wire);
    assert_int_equal(ws_reader_next(reader, &input, &message, &err), 1);
    assert_int_equal(message.opcode, WS_PING);
    assert_int_equal(ws_reader_next(reader, &input, &message, &err), 1);
    assert_true(message.compressed && slice_equal(message.body, buf_slice(&text)));
    assert_int_equal(ws_reader_next(reader, &input, &message, &err), 0);
    buf_fini(&text);
    buf_fini(&packed);
    buf_fini(&wire);
}

static void converse(const struct deflate_params *params)
{
    struct ws_reader client, server;
    struct deflater *up = deflater_new(params->client_bits, params->client_no_context_takeover);
    struct deflater *down = deflater_new(params->server_bits, params->server_no_context_takeover);
    ws_reader_init(&client, WS_CLIENT, MAX, params);
    ws_reader_init(&server, WS_SERVER, MAX, params);
    for (int i = 0; i < 4; i++) {
        send_one(&server, up, WS_CLIENT);
        send_one(&client, down, WS_SERVER);
    }
    ws_reader_fini(&client);
    ws_reader_fini(&server);
    deflater_free(up);
    deflater_free(down);
}

static void test_conversations(void **state)
{
    (void)state;
    for (unsigned bits = 8; bits <= 15; bits++)
        for (unsigned takeover = 0; takeover < 4; takeover++) {
            char offer[160], answer[DEFLATE_ANSWER_MAX];
            struct deflate_params params;
            snprintf(offer, sizeof offer, "permessage-deflate; server_max_window_bits=%u; client_max_window_bits=%u%s%s", bits,
                     23 - bits, takeover & 1 ? "; server_no_context_takeover" : "",
                     takeover & 2 ? "; client_no_context_takeover" : "");
            assert_int_equal(deflate_answer_offer(slice_str(offer), &params, answer, sizeof answer), 0);
            assert_true(params.on && params.server_bits == bits && params.client_bits == 23 - bits);
            converse(&params);
        }
}

/* Deflating for a window of 256 bytes: nothing may point back further than that. A repeat that lies just
 * behind it must cost its full length, a run must not. */
static void test_window_of_256(void **state)
{
    (void)state;
    struct deflater *deflater = deflater_new(8, false);
    struct buf packed = BUF_INIT(MAX);
    uint8_t text[600];
    for (size_t i = 0; i < 300; i++)
        text[i] = text[i + 300] = (uint8_t)rand_r(&seed); /* a match at distance 300, which 9 bits would allow */
    assert_int_equal(deflater_message(deflater, slice_of(text), &packed), 0);
    assert_true(packed.len > 550);
    buf_reset(&packed);
    memset(text, 'a', sizeof text);
    assert_int_equal(deflater_message(deflater, slice_of(text), &packed), 0);
    assert_true(packed.len < 30);
    deflater_free(deflater);
    buf_fini(&packed);
}

static void test_bounded(void **state)
{
    (void)state;
    struct deflater *deflater = deflater_new(15, false);
    struct buf packed = BUF_INIT(MAX), out = BUF_INIT(MAX), narrow = BUF_INIT(100);
    struct err err;
    uint8_t *zeros = calloc(1, 100000);
    assert_int_equal(deflater_message(deflater, slice_make(zeros, 100000), &packed), 0);

    struct inflater *inflater = inflater_new(15, false, "server");
    assert_int_equal(inflate_piece(inflater, buf_slice(&packed), true, &out, 99999, &err), -1);
    assert_int_equal(err.code, 1009);
    assert_int_equal(err.reason, REASON_MESSAGE_TOO_BIG);
    assert_int_equal(out.len, 99999);
    inflater_free(inflater);

    buf_reset(&out);
    inflater = inflater_new(15, false, "server");
    assert_int_equal(inflate_piece(inflater, buf_slice(&packed), true, &out, 100000, &err), 0);
    assert_int_equal(out.len, 100000);
    inflater_free(inflater);

    inflater = inflater_new(15, false, "server"); /* the buffer's own ceiling holds too */
    assert_int_equal(inflate_piece(inflater, buf_slice(&packed), true, &narrow, 100000, &err), -1);
    assert_int_equal(err.code, 1009);
    assert_true(narrow.len <= 100);
    inflater_free(inflater);

    buf_reset(&narrow); /* and a message that cannot be written leaves no trace, not even in what comes later */
    uint8_t noise[600];
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)rand_r(&seed);
    assert_int_equal(deflater_message(deflater, slice_of(noise), &narrow), -1);
    assert_int_equal(narrow.len, 0);
    assert_int_equal(deflater_message(deflater, slice_make(noise, 50), &narrow), 0);
    inflater = inflater_new(15, false, "server");
    buf_reset(&out);
    assert_int_equal(inflate_piece(inflater, buf_slice(&narrow), true, &out, 100, &err), 0);
    assert_true(slice_equal(buf_slice(&out), slice_make(noise, 50)));
    inflater_free(inflater);

    deflater_free(deflater);
    free(zeros);
    buf_fini(&packed);
    buf_fini(&out);
    buf_fini(&narrow);
}

/* The ceiling is each message's, not the connection's. */
static void test_ceiling_starts_anew(void **state)
{
    (void)state;
    struct deflater *deflater = deflater_new(15, false);
    struct inflater *inflater = inflater_new(15, false, "server");
    struct err err;
    for (int i = 0; i < 10; i++) {
        struct buf packed = BUF_INIT(MAX), out = BUF_INIT(1000);
        assert_int_equal(deflater_message(deflater, slice_str("a hundred of these are more than the ceiling"), &packed), 0);
        assert_int_equal(inflate_piece(inflater, buf_slice(&packed), true, &out, 50, &err), 0);
        buf_fini(&packed);
        buf_fini(&out);
    }
    deflater_free(deflater);
    inflater_free(inflater);
}

/* Thousands of tiny DEFLATE streams in one message: legal, and not slow. */
static void test_many_final_blocks(void **state)
{
    (void)state;
    struct inflater *inflater = inflater_new(15, false, "server");
    struct buf packed = BUF_INIT(MAX), out = BUF_INIT(MAX);
    struct err err;
    for (int i = 0; i < 100000; i++)
        buf_append(&packed, "\x03\x00", 2); /* an empty block with BFINAL */
    buf_append(&packed, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    assert_int_equal(inflate_piece(inflater, buf_slice(&packed), true, &out, 100, &err), 0);
    assert_true(slice_equal_str(buf_slice(&out), "Hello"));
    inflater_free(inflater);
    buf_fini(&packed);
    buf_fini(&out);
}

/* What is broken, in hexadecimal bytes, and the sentence; whole and in random pieces. */
static void test_window_and_context(void **state)
{
    (void)state;
    struct buf first = BUF_INIT(MAX), second = BUF_INIT(MAX), far = BUF_INIT(MAX);
    uint8_t noise[600], twice[700];
    struct deflater *deflater = deflater_new(15, false);
    struct err err;

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)rand_r(&seed);
    assert_int_equal(deflater_message(deflater, slice_of(noise), &first), 0);
    assert_int_equal(deflater_message(deflater, slice_of(noise), &second), 0); /* points back by 600 */
    deflater_free(deflater);
    memcpy(twice, noise, 600);
    memcpy(twice + 600, noise, 100);
    deflater = deflater_new(15, false);
    assert_int_equal(deflater_message(deflater, slice_of(twice), &far), 0); /* likewise, within one message */
    deflater_free(deflater);

    for (uint8_t bits = 8; bits <= 15; bits++)
        for (int no_context = 0; no_context < 2; no_context++)
            for (int split = 0; split < 20; split++) {
                struct inflater *inflater = inflater_new(bits, no_context, split & 1 ? "client" : "server");
                struct buf out = BUF_INIT(MAX);
                struct slice in = no_context ? buf_slice(&first) : buf_slice(&far);
                char want[160];
                int rc = 0;

                if (no_context) {
                    assert_int_equal(inflate_piece(inflater, in, true, &out, MAX, &err), 0);
                    in = buf_slice(&second);
                }
                while (in.len && rc == 0) {
                    size_t n = split < 2 ? in.len : 1 + (size_t)rand_r(&seed) % 7;
                    n = n < in.len ? n : in.len;
                    rc = inflate_piece(inflater, slice_make(in.data, n), n == in.len, &out, MAX, &err);
                    in = slice_skip(in, n);
                }
                if (no_context)
                    snprintf(
                        want, sizeof want,
                        "compressed message points back beyond its own beginning, %s_no_context_takeover was agreed (RFC 7692, "
                        "7.1.1.%d)",
                        split & 1 ? "client" : "server", split & 1 ? 2 : 1);
                else
                    snprintf(want, sizeof want,
                             "compressed message points back beyond the window of %u bytes, %s_max_window_bits is %u (RFC 7692, "
                             "7.1.2.%d)",
                             1U << bits, split & 1 ? "client" : "server", bits, split & 1 ? 2 : 1);
                assert_int_equal(rc, no_context || bits < 10 ? -1 : 0);
                if (rc < 0) {
                    assert_string_equal(err.text, want);
                    assert_int_equal(err.code, 1007);
                }
                inflater_free(inflater);
                buf_fini(&out);
            }
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&far);
}

/* A distance of exactly the window is the last that is allowed (RFC 7692, 7.1.2.1). */
static void test_window_edge(void **state)
{
    (void)state;
    struct buf packed = BUF_INIT(MAX), out = BUF_INIT(MAX);
    struct err err;

    /* 256 stored bytes, then in a fixed block a match of length 3 (257: 0000001) and distance 256 (code 15, extra bits 1111111 - 193 = 63,
     * 6 extra bits 111111) or 257 (code 16, 7 extra bits 0). */
    for (int over = 0; over < 2; over++) {
        unsigned bits = 0, count = 0;
        const char *text = over ? "0"
                                  "10"
                                  "0000001"
                                  "10000"
                                  "0000000"
                                  "0000000"
                                : "0"
                                  "10"
                                  "0000001"
                                  "01111"
                                  "111111"
                                  "0000000";
        buf_reset(&packed);
        buf_reset(&out);
        buf_append(&packed, "\0\x02\x01\xfd\xfe", 5); /* 258 bytes: 0x0102 */
        for (int i = 0; i < 258; i++)
            buf_append_char(&packed, (char)i);
        for (; *text; text++) {
            bits |= (unsigned)(*text - '0') << count;
            if (++count == 8) {
                buf_append_char(&packed, (char)bits);
                bits = count = 0;
            }
        }
        if (count)
            buf_append_char(&packed, (char)bits);
        buf_append(&packed, "\0", 1); /* the stored block that the tail completes, where the last one ended inside a byte */
        struct inflater *inflater = inflater_new(8, false, "server");
        int rc = inflate_piece(inflater, buf_slice(&packed), false, &out, MAX, &err);
        assert_int_equal(rc, over ? -1 : 0);
        if (over)
            assert_non_null(strstr(err.text, "beyond the window of 256 bytes"));
        else
            assert_int_equal(out.len, 261);
        inflater_free(inflater);
    }
    buf_fini(&packed);
    buf_fini(&out);
}

static void test_tail_not_cut(void **state)
{
    (void)state;
    struct deflater *deflater = deflater_new(15, false);
    struct buf packed = BUF_INIT(MAX), out = BUF_INIT(MAX);
    struct err err;

    assert_int_equal(deflater_message(deflater, slice_str("hello"), &packed), 0);
    struct inflater *inflater = inflater_new(15, false, "server");
    assert_int_equal(inflate_piece(inflater, buf_slice(&packed), true, &out, MAX, &err), 0);
    buf_append(&packed, "\0\0\xff\xff", 4);
    assert_int_equal(inflate_piece(inflater, buf_slice(&packed), false, &out, MAX, &err), 0);
    assert_int_equal(inflate_piece(inflater, slice_make(NULL, 0), true, &out, MAX, &err), -1);
    assert_string_equal(err.text, "compressed message still has its tail 00 00 ff ff (RFC 7692, 7.2.1)");
    inflater_free(inflater);
    deflater_free(deflater);
    buf_fini(&packed);
    buf_fini(&out);
}

int main(void)
{
    const char *given = getenv("WSHEALTHD_SEED");
    seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)clock_wall_ms();
    printf("seed %u\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offer),
        cmocka_unit_test(test_accept_response),
        cmocka_unit_test(test_answer_offer),
        cmocka_unit_test(test_answers_fit_offers),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_window_of_256),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_ceiling_starts_anew),
        cmocka_unit_test(test_many_final_blocks),
        cmocka_unit_test(test_window_and_context),
        cmocka_unit_test(test_window_edge),
        cmocka_unit_test(test_tail_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
