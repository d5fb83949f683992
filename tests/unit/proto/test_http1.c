/*
 * The HTTP/1.x reader. Every conversation is played whole, byte by byte and in random splits (the seed is printed), and must come to
 * the same verdict, the same head and body, and leave the same bytes untouched.
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
#include "agent/proto/http1.h"

enum { SPLITS = 40 };

static const struct http_limits limits = { .max_head_bytes = 4096, .max_body_bytes = 64 };
static unsigned seed;

/* What came of one conversation. */
struct played {
    enum http_progress end; /* HTTP_MORE: the input was over first */
    unsigned heads;         /* times HTTP_HEAD came */
    int status, major, minor;
    char method[64], target[128], reason[64], body[128];
    size_t header_count, rest; /* rest: bytes that were left untouched */
    uint64_t body_total;
    bool keep_alive;
    struct err err;
};

static void copy(char *out, size_t size, struct slice s)
{
    snprintf(out, size, "%.*s", (int)s.len, s.len ? (const char *)s.data : "");
}

static void note_head(struct played *played, const struct http_reader *reader)
{
    const struct http_head *head = http_reader_head(reader);
    played->heads++;
    played->status = head->status;
    played->major = head->major;
    played->minor = head->minor;
    played->header_count = head->header_count;
    played->keep_alive = http_reader_keep_alive(reader);
    copy(played->method, sizeof played->method, head->method);
    copy(played->target, sizeof played->target, head->target);
    copy(played->reason, sizeof played->reason, head->reason);
}

/* Feeds pieces of at most `piece` bytes (0: of random size), each from memory of its own so that ASan sees any reading past its end.
 * Stops where a caller would: behind a head without body, behind a message, at a refusal. */
static void feed(struct http_reader *reader, const char *bytes, size_t len, size_t piece, struct played *played)
{
    size_t at = 0;
    played->end = HTTP_MORE;
    while (at < len && played->end == HTTP_MORE) {
        size_t n = piece ? piece : 1 + (size_t)rand_r(&seed) % 17;
        if (n > len - at)
            n = len - at;
        uint8_t *copied = malloc(n);
        memcpy(copied, bytes + at, n);
        struct slice input = slice_make(copied, n);
        do {
            played->end = http_reader_feed(reader, &input, &played->err);
            if (played->end == HTTP_HEAD)
                note_head(played, reader);
        } while (played->end == HTTP_HEAD && http_reader_head(reader)->status != 101);
        at += n - input.len;
        free(copied);
        if (played->end == HTTP_MORE)
            assert_int_equal(input.len, 0);
    }
    played->rest = len - at;
}

static struct http_reader *play(enum http_kind kind, const char *bytes, size_t len, size_t piece, bool no_body,
                                struct played *played)
{
    struct http_reader *reader = http_reader_new(kind, &limits);
    memset(played, 0, sizeof *played);
    if (no_body)
        http_reader_no_body(reader);
    feed(reader, bytes, len, piece, played);
    copy(played->body, sizeof played->body, http_reader_body(reader));
    played->body_total = http_reader_body_total(reader);
    return reader;
}

static void assert_same(const struct played *a, const struct played *b)
{
    assert_int_equal(a->end, b->end);
    assert_int_equal(a->heads, b->heads);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->header_count, b->header_count);
    assert_string_equal(a->method, b->method);
    assert_string_equal(a->target, b->target);
    assert_string_equal(a->reason, b->reason);
    if (a->end == HTTP_BAD || a->end == HTTP_TOO_LARGE) {
        assert_int_equal(a->err.code, b->err.code);
        return;
    }
    assert_int_equal(a->rest, b->rest);
    assert_int_equal(a->body_total, b->body_total);
    assert_string_equal(a->body, b->body);
}

static struct played play_all_ways(enum http_kind kind, const char *bytes, size_t len, bool no_body)
{
    struct played whole, other;
    http_reader_free(play(kind, bytes, len, len, no_body, &whole));
    http_reader_free(play(kind, bytes, len, 1, no_body, &other));
    assert_same(&whole, &other);
    for (int i = 0; i < SPLITS; i++) {
        http_reader_free(play(kind, bytes, len, 0, no_body, &other));
        assert_same(&whole, &other);
    }
    return whole;
}

static struct played response(const char *text)
{
    return play_all_ways(HTTP_KIND_RESPONSE, text, strlen(text), false);
}

static struct played request(const char *text)
{
    return play_all_ways(HTTP_KIND_REQUEST, text, strlen(text), false);
}

#define assert_in(haystack, needle) assert_non_null(strstr((haystack), (needle)))

static void assert_refused(struct played played, int code, const char *sentence)
{
    assert_int_equal(played.end, HTTP_BAD);
    assert_int_equal(played.err.reason, REASON_HTTP_MALFORMED);
    assert_int_equal(played.err.code, code);
    if (!strstr(played.err.text, sentence))
        fail_msg("\"%s\" does not hold \"%s\"", played.err.text, sentence);
}

/* --- responses ---------------------------------------------------------------------------------------------------------- */

static void bytes_behind_a_101_are_left_untouched(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: x\r\n\r\n\x81\x05hello\x88\x00\r\n\r\n";
    struct played played = play_all_ways(HTTP_KIND_RESPONSE, text, sizeof text - 1, false);
    assert_int_equal(played.end, HTTP_HEAD);
    assert_int_equal(played.heads, 1);
    assert_int_equal(played.status, 101);
    assert_int_equal(played.rest, 7 + 2 + 4);
    assert_string_equal(played.reason, "Switching Protocols");
    assert_int_equal(played.header_count, 3);
}

/* Readers of HTTP disagree on these; here a 101 is a 101, and what it is worth is judged by whoever reads its headers. */
static void a_101_ends_the_head_whatever_its_headers_say(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "HTTP/1.1 101 OK\r\n\r\n",
        "HTTP/1.1 101\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 \r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.0 101 Old\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Odd\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 101 Odd\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char text[256];
        size_t len = (size_t)snprintf(text, sizeof text, "%s\x82\x01z", heads[i]);
        struct played played = play_all_ways(HTTP_KIND_RESPONSE, text, len, false);
        assert_int_equal(played.end, HTTP_HEAD);
        assert_int_equal(played.status, 101);
        assert_int_equal(played.rest, 3);
    }
}

static void interim_responses_are_passed_over(void **state)
{
    (void)state;
    struct played played = response("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                                    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhirest");
    assert_int_equal(played.end, HTTP_DONE);
    assert_int_equal(played.heads, 1);
    assert_int_equal(played.status, 200);
    assert_int_equal(played.header_count, 1);
    assert_string_equal(played.body, "hi");
    assert_int_equal(played.rest, 4);

    char many[1024] = "";
    for (int i = 0; i < HTTP_INTERIM_MAX + 1; i++)
        strcat(many, "HTTP/1.1 102 Processing\r\n\r\n");
    assert_refused(response(many), 0, "more than 8 interim responses, the last with status 102");
}

static void bodies_end_by_length_chunks_or_the_end(void **state)
{
    (void)state;
    struct played played = response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 ");
    assert_int_equal(played.end, HTTP_DONE);
    assert_string_equal(played.body, "hello");
    assert_int_equal(played.rest, 9);

    played =
        response("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;ext=1\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\nnext");
    assert_int_equal(played.end, HTTP_DONE);
    assert_string_equal(played.body, "hello");
    assert_int_equal(played.rest, 4);
    assert_int_equal(played.header_count, 1);

    played = response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_int_equal(played.end, HTTP_DONE);
    assert_int_equal(played.rest, 0);

    static const char open_ended[] = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    struct http_reader *reader = play(HTTP_KIND_RESPONSE, open_ended, sizeof open_ended - 1, 3, false, &played);
    assert_int_equal(played.end, HTTP_MORE);
    assert_int_equal(http_reader_eof(reader, &played.err), HTTP_DONE);
    assert_string_equal(played.body, "until the end");
    http_reader_free(reader);

    static const char *const bodiless[] = {
        "HTTP/1.1 204 No Content\r\n\r\nX",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\nX",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nX",
    };
    for (size_t i = 0; i < 3; i++) {
        played = response(bodiless[i]);
        assert_int_equal(played.end, HTTP_DONE);
        assert_int_equal(played.rest, 1);
    }
    static const char head_answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    played = play_all_ways(HTTP_KIND_RESPONSE, head_answer, sizeof head_answer - 1, true);
    assert_int_equal(played.heads, 1);
    assert_int_equal(played.body_total, 0);
}

static void a_large_response_body_is_counted_and_cut(void **state)
{
    (void)state;
    char text[512];
    size_t head = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n");
    memset(text + head, 'b', 200);
    struct played played = play_all_ways(HTTP_KIND_RESPONSE, text, head + 200, false);
    assert_int_equal(played.end, HTTP_DONE);
    assert_int_equal(played.body_total, 200);
    assert_int_equal(strlen(played.body), limits.max_body_bytes);

    head = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nC8\r\n");
    memset(text + head, 'b', 200);
    memcpy(text + head + 200, "\r\n0\r\n\r\n", 7);
    played = play_all_ways(HTTP_KIND_RESPONSE, text, head + 207, false);
    assert_int_equal(played.end, HTTP_DONE);
    assert_int_equal(played.body_total, 200);
    assert_int_equal(strlen(played.body), limits.max_body_bytes);
}

static void what_is_not_http_is_named(void **state)
{
    (void)state;
    struct played played;
    static const char ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";
    http_reader_free(play(HTTP_KIND_RESPONSE, ssh, sizeof ssh - 1, sizeof ssh - 1, false, &played));
    assert_refused(played, 0, "response does not start with HTTP/1.x but with \"SSH-2.0-OpenSSH_9.2\"");
    http_reader_free(play(HTTP_KIND_RESPONSE, "\x15\x03\x03\x00\x02\x02\x46", 7, 7, false, &played));
    assert_refused(played, 0, "a TLS record");
    http_reader_free(play(HTTP_KIND_RESPONSE, "\x00\x00\x00\x04\x00\x00\x00\x00\x00", 9, 9, false, &played));
    assert_refused(played, 0, "an HTTP/2 frame");
    assert_refused(response("HTTP/2.0 200 OK\r\n\r\n"), 0, "does not start with HTTP/1.x");
    assert_refused(response("\r\nHTTP/1.1 200 OK\r\n\r\n"), 0, "does not start with HTTP/1.x");
    assert_refused(response("http/1.1 200 OK\r\n\r\n"), 0, "does not start with HTTP/1.x");
    assert_refused(response("HTTP/1.\r\n\r\n"), 0, "version must be");
    assert_refused(response("HTTP/1.1\r\n\r\n"), 0, "no status of three digits");
    assert_refused(response("HTTP/1.1 20 OK\r\n\r\n"), 0, "no status of three digits");
    assert_refused(response("HTTP/1.1 2000 OK\r\n\r\n"), 0, "no status of three digits");
    assert_refused(response("HTTP/1.1 099 OK\r\n\r\n"), 0, "no status of three digits");
    assert_refused(response("HTTP/1.1200 OK\r\n\r\n"), 0, "no status of three digits");
    assert_refused(response("HTTP/1.1  200 OK\r\n\r\n"), 0, "no status of three digits");
}

/* The first byte is enough: a silent peer must not turn a wrong protocol into a timeout. */
static void a_wrong_start_is_seen_at_once(void **state)
{
    (void)state;
    struct played played;
    http_reader_free(play(HTTP_KIND_RESPONSE, "+", 1, 1, false, &played));
    assert_refused(played, 0, "but with \"+\"");
    http_reader_free(play(HTTP_KIND_RESPONSE, "HTTP/3", 6, 1, false, &played));
    assert_refused(played, 0, "but with \"HTTP/3\"");
}

static void framing_contradictions_are_refused(void **state)
{
    (void)state;
#define OK_WITH(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"
    assert_int_equal(response(OK_WITH("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Content-Length: 3\r\nContent-Length: 4\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Content-Length: 3\r\nContent-Length: 3\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Content-Length: 3, 4\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Content-Length: -1\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Content-Length: 0x10\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Content-Length:\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("Content-Length: 99999999999999999999999\r\n")).end, HTTP_BAD);
    assert_refused(response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "in a message of HTTP/1.0");
    assert_refused(response(OK_WITH("Transfer-Encoding: chunked\r\n") "zz\r\n"), 400, "chunked response body is malformed");
    assert_refused(response(OK_WITH("Transfer-Encoding: chunked\r\n") "3\r\nabcd\r\n"), 400, "chunked response body is malformed");
    assert_refused(response(OK_WITH("Transfer-Encoding: chunked\r\n") "FFFFFFFFFFFFFFFFF\r\n"), 400, "malformed after 0 bytes");
}

static void malformed_lines_are_refused(void **state)
{
    (void)state;
    assert_refused(response("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), 400, "line 1 ends with a bare LF");
    assert_refused(response(OK_WITH("A: b\n")), 400, "line 2 ends with a bare LF");
    assert_refused(response("HTTP/1.1 200 OK\r\nA: b\r\n\n"), 400, "line 3 ends with a bare LF");
    assert_refused(response(OK_WITH("A: b\rc\r\n")), 400, "line 2 holds a CR that no LF follows");
    assert_refused(response(OK_WITH("A: b\r\n c\r\n")), 400, "folded headers");
    assert_refused(response(OK_WITH("A: b\r\n\tc\r\n")), 400, "folded headers");
    assert_refused(response(OK_WITH(" A: b\r\n")), 400, "folded headers");
    assert_refused(response(OK_WITH("A: \x01\r\n")), 400, "control character 0x01");
    assert_refused(response(OK_WITH("A: \x7f\r\n")), 400, "control character 0x7f");
    static const char nul[] = "HTTP/1.1 200 OK\r\nA: \0b\r\n\r\n";
    assert_refused(play_all_ways(HTTP_KIND_RESPONSE, nul, sizeof nul - 1, false), 400, "control character 0x00");
    assert_int_equal(response(OK_WITH("no colon here\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("A : b\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH(": b\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("A\xc3\xa4: b\r\n")).end, HTTP_BAD);
    assert_int_equal(response(OK_WITH("(x): b\r\n")).end, HTTP_BAD);
}

static void limits_hold(void **state)
{
    (void)state;
    char text[8192];
    size_t len = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nA: ");
    memset(text + len, 'a', 6000);
    struct played played = play_all_ways(HTTP_KIND_RESPONSE, text, len + 6000, false);
    assert_int_equal(played.end, HTTP_TOO_LARGE);
    assert_int_equal(played.err.code, 431);
    assert_in(played.err.text, "head bytes are over the limit of 4096");

    for (int fields = HTTP_HEADERS_MAX; fields <= HTTP_HEADERS_MAX + 1; fields++) {
        len = (size_t)snprintf(text, sizeof text, "HTTP/1.1 204 OK\r\n");
        for (int i = 0; i < fields; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "X-%d: %d\r\n", i, i);
        len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
        played = play_all_ways(HTTP_KIND_RESPONSE, text, len, false);
        assert_int_equal(played.end, fields > HTTP_HEADERS_MAX ? HTTP_TOO_LARGE : HTTP_DONE);
    }
    assert_in(played.err.text, "header fields are over the limit of 64");
}

static void closing_means_what_the_message_lacks(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
        enum reason reason;
    } cases[] = {
        { "", "closed before a response", REASON_CONNECTION_RESET },
        { "HTTP/1.1 200 OK\r\nA", "closed after 18 bytes of the response head", REASON_CONNECTION_RESET },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "closed after 4 of 9 bytes", REASON_HTTP_MALFORMED },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf", "chunked response body, after 4 bytes",
          REASON_HTTP_MALFORMED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct played played;
        struct http_reader *reader = play(HTTP_KIND_RESPONSE, cases[i].text, strlen(cases[i].text), 7, false, &played);
        assert_int_equal(http_reader_started(reader), i > 0);
        assert_int_equal(http_reader_eof(reader, &played.err), HTTP_BAD);
        assert_int_equal(played.err.reason, cases[i].reason);
        assert_in(played.err.text, cases[i].sentence);
        struct slice more = slice_str("x");
        assert_int_equal(http_reader_feed(reader, &more, &played.err), HTTP_BAD);
        http_reader_free(reader);
    }
}

/* --- requests ----------------------------------------------------------------------------------------------------------- */

static void requests_are_read(void **state)
{
    (void)state;
    struct played played = request("GET /ready?verbose HTTP/1.1\r\nHost: a\r\n\r\nGET /live");
    assert_int_equal(played.end, HTTP_DONE);
    assert_string_equal(played.method, "GET");
    assert_string_equal(played.target, "/ready?verbose");
    assert_true(played.keep_alive);
    assert_int_equal(played.rest, 9);

    played = request("\r\nPOST /drain HTTP/1.0\r\nContent-Length: 2\r\n\r\nok");
    assert_int_equal(played.end, HTTP_DONE);
    assert_string_equal(played.body, "ok");
    assert_false(played.keep_alive);

    played = request("BREW /pot HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n");
    assert_int_equal(played.end, HTTP_DONE);
    assert_string_equal(played.method, "BREW");
    assert_false(played.keep_alive);

    played = request("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nrest");
    assert_int_equal(played.end, HTTP_DONE);
    assert_int_equal(played.rest, 4);

    played = request("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "2\r\nhi\r\n0\r\n\r\nrest");
    assert_int_equal(played.end, HTTP_DONE);
    assert_string_equal(played.body, "hi");
    assert_int_equal(played.rest, 4);

    played = request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    assert_true(played.keep_alive);
}

static void broken_requests_are_refused_with_a_status(void **state)
{
    (void)state;
    assert_refused(request("GET /\r\n\r\n"), 400, "not \"method target version\"");
    assert_refused(request("\r\n\r\n\r\n\r\n"), 400, "not \"method target version\"");
    assert_refused(request("GET  HTTP/1.1\r\n\r\n"), 400, "target is empty");
    assert_refused(request("GET / x HTTP/1.1\r\n\r\n"), 400, "no HTTP version");
    assert_refused(request("GET /\t HTTP/1.1\r\n\r\n"), 400, "percent-encoded");
    assert_refused(request("GET /\xc3\xa4 HTTP/1.1\r\n\r\n"), 400, "percent-encoded");
    assert_refused(request("G(T / HTTP/1.1\r\n\r\n"), 400, "method is not a token");
    assert_refused(request("GET / HTTP/2.0\r\n\r\n"), 505, "version must be");
    assert_refused(request("GET / ICY/1.1\r\n\r\n"), 400, "no HTTP version");
    assert_refused(request("GET / HTTP/1.1\r\n\r\n"), 400, "must have a Host");
    assert_refused(request("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400, "Host is given more than once");
    assert_refused(request("\x16\x03\x01"), 400, "control character 0x16");
    assert_refused(request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"), 501,
                   "must end with chunked, not with \"gzip\"");
    assert_refused(request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 501, "more than chunked");
    assert_int_equal(request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n").err.code,
                     400);
}

/* A minor version that nobody knows yet is taken for the highest one that is known (RFC 9110, 2.5). */
static void higher_minor_versions_are_served(void **state)
{
    (void)state;
    struct played played = response("HTTP/1.7 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(played.end, HTTP_DONE);
    assert_int_equal(played.minor, 7);
    for (char minor = '2'; minor <= '9'; minor++) {
        char text[64];
        snprintf(text, sizeof text, "GET / HTTP/1.%c\r\nHost: a\r\n\r\n", minor);
        played = request(text);
        assert_int_equal(played.end, HTTP_DONE);
        assert_true(played.keep_alive);
        snprintf(text, sizeof text, "GET / HTTP/1.%c\r\n\r\n", minor);
        assert_refused(request(text), 400, "must have a Host");
    }
}

#define CHUNKED_REQUEST "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"

/* What may stand around the list and its elements changes nothing: the next request begins where the last chunk ends. */
static void chunked_is_chunked_however_it_is_written(void **state)
{
    static const char *const heads[] = {
        "chunked",  "chunked\t",      "chunked \t ", "chunked,",  "chunked ,",
        ",chunked", ", ,chunked,\t,", "CHUNKED",     "\tchunked", "chunked\r\nTransfer-Encoding:",
    };
    static const char *const bodies[] = {
        "2\r\nhi\r\n0\r\n\r\n",           "2;a\r\nhi\r\n0\r\n\r\n",    "2;a=b;c=\"d;\";e\r\nhi\r\n0;last\r\n\r\n",
        "2 ; a = b\r\nhi\r\n0\t\r\n\r\n", "0002\r\nhi\r\n000\r\n\r\n", "1\r\nh\r\n1\r\ni\r\n0\r\nTrailer: x\r\nOther:\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        for (size_t j = 0; j < sizeof bodies / sizeof *bodies; j++) {
            char text[512];
            snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:%s\r\n\r\n%srest", heads[i], bodies[j]);
            struct played played = request(text);
            assert_int_equal(played.end, HTTP_DONE);
            assert_string_equal(played.body, "hi");
            assert_int_equal(played.rest, 4);
            snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nTransfer-Encoding:%s\r\n\r\n%srest", heads[i], bodies[j]);
            played = response(text);
            assert_int_equal(played.end, HTTP_DONE);
            assert_string_equal(played.body, "hi");
            assert_int_equal(played.rest, 4);
        }
}

static void broken_chunks_are_refused(void **state)
{
    static const struct {
        const char *body, *why;
    } cases[] = {
        { "2\r\nhi0\r\n\r\n", "not followed by CRLF" },
        { "2\r\nhi\n0\r\n\r\n", "not followed by CRLF" },
        { "2\nhi\r\n0\r\n\r\n", "not hexadecimal" },
        { "2\r\nhi\r\n0\n\r\n", "not hexadecimal" },
        { "2\rxhi", "not followed by LF" },
        { "0x2\r\nhi", "not hexadecimal" },
        { "-2\r\nhi", "size is missing" },
        { "+2\r\nhi", "size is missing" },
        { " 2\r\nhi", "size is missing" },
        { "2 3\r\nhi", "neither an extension" },
        { ";a\r\nhi", "size is missing" },
        { "\r\nhi", "size is missing" },
        { "2;\x01\r\nhi", "control character" },
        { "2;a\nhi", "control character" },
        { "10000000000000002\r\nhi", "too large" },
        { "0\r\nA B: x\r\n\r\n", "trailer is not" },
        { "0\r\nA : x\r\n\r\n", "trailer is not" },
        { "0\r\n: x\r\n\r\n", "trailer is not" },
        { "0\r\nA\r\n\r\n", "trailer is not" },
        { "0\r\n A: x\r\n\r\n", "trailer is not" },
        { "0\r\nA: x\r\n folded\r\n\r\n", "trailer is not" },
        { "0\r\nA: \x02\r\n\r\n", "control character" },
        { "0\r\nA: x\n\r\n", "control character" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text, CHUNKED_REQUEST "\r\n\r\n%s", cases[i].body);
        assert_refused(request(text), 400, cases[i].why);
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s", cases[i].body);
        assert_refused(response(text), 400, cases[i].why);
    }
}

/* Extensions and trailers have a ceiling together: they must not come without end. */
static void chunk_extensions_have_a_ceiling(void **state)
{
    (void)state;
    char text[8192];
    size_t len = (size_t)snprintf(text, sizeof text, CHUNKED_REQUEST "\r\n\r\n2;");
    memset(text + len, 'x', 5000);
    struct played played = play_all_ways(HTTP_KIND_REQUEST, text, len + 5000, false);
    assert_int_equal(played.end, HTTP_TOO_LARGE);
    assert_int_equal(played.err.code, 431);
}

static void the_host_must_be_one(void **state)
{
    static const char *const good[] = { "a", "a.example:80", "127.0.0.1:9717", "[::1]", "[::1]:9717", "[fe80::1%eth0]:80",
                                        "",  "a_b-c~d",      "x%20y",          "a:",    "a,b;c=" };
    static const char *const bad[] = { "a b",  "a/b", "a@b", "u:p@b", "a:b", "a:80x", "[::1",   "::1",   "[zz]", "[]",
                                       "a\tb", "a?b", "a#b", "a%2",   "<a>", "\"a\"", "[::1]a", "a:1:2", ":80",  "\xc3\xa4" };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
        size_t goods = sizeof good / sizeof *good;
        char text[128];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", i < goods ? good[i] : bad[i - goods]);
        if (i < goods)
            assert_int_equal(request(text).end, HTTP_DONE);
        else
            assert_refused(request(text), 400, "Host is not a host");
    }
}

static void large_request_bodies_are_refused(void **state)
{
    (void)state;
    struct played played = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65\r\n\r\n");
    assert_int_equal(played.end, HTTP_TOO_LARGE);
    assert_int_equal(played.err.code, 413);
    char text[256];
    size_t len = (size_t)snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n");
    memset(text + len, 'x', 0x41);
    played = play_all_ways(HTTP_KIND_REQUEST, text, len + 0x41, false);
    assert_int_equal(played.end, HTTP_TOO_LARGE);
    assert_int_equal(played.err.code, 413);
}

static void a_reader_is_used_again(void **state)
{
    (void)state;
    static const char text[] = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nHost: b\r\n\r\n"
                               "POST /c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    static const char *const targets[] = { "/a", "/b", "/c" }, *const bodies[] = { "hi", "", "x" };
    struct http_reader *reader = http_reader_new(HTTP_KIND_REQUEST, &limits);
    struct slice input = slice_str(text);
    for (size_t i = 0; i < 3; i++) {
        struct err err;
        assert_int_equal(http_reader_feed(reader, &input, &err), HTTP_HEAD);
        assert_true(slice_equal_str(http_reader_head(reader)->target, targets[i]));
        assert_int_equal(http_reader_feed(reader, &input, &err), HTTP_DONE);
        assert_true(slice_equal_str(http_reader_body(reader), bodies[i]));
        http_reader_reset(reader);
        assert_false(http_reader_started(reader));
    }
    assert_int_equal(input.len, 0);
    http_reader_free(reader);
}

static void headers_are_found(void **state)
{
    (void)state;
    static const char text[] =
        "GET / HTTP/1.1\r\nhOsT:a \r\nEmpty:\r\nEmpty2: \t \r\nAccept: text/plain , ,x/y\r\nACCEPT:\tApplication/JSON\r\n\r\n";
    struct played played;
    struct http_reader *reader = play(HTTP_KIND_REQUEST, text, sizeof text - 1, 5, false, &played);
    const struct http_head *head = http_reader_head(reader);
    assert_int_equal(head->header_count, 5);
    assert_true(slice_equal_str(*http_header_get(head, "Host"), "a"));
    assert_int_equal(http_header_get(head, "empty")->len, 0);
    assert_int_equal(http_header_get(head, "empty2")->len, 0);
    assert_null(http_header_get(head, "Emp"));
    assert_true(slice_equal_str(*http_header_nth(head, "Accept", 1), "Application/JSON"));
    assert_null(http_header_nth(head, "Accept", 2));
    assert_true(http_header_has_token(head, "Accept", "X/Y"));
    assert_true(http_header_has_token(head, "accept", "application/json"));
    assert_false(http_header_has_token(head, "accept", "text"));
    assert_false(http_header_has_token(head, "accept", "json"));
    http_reader_free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_behind_a_101_are_left_untouched),
        cmocka_unit_test(a_101_ends_the_head_whatever_its_headers_say),
        cmocka_unit_test(interim_responses_are_passed_over),
        cmocka_unit_test(bodies_end_by_length_chunks_or_the_end),
        cmocka_unit_test(a_large_response_body_is_counted_and_cut),
        cmocka_unit_test(what_is_not_http_is_named),
        cmocka_unit_test(a_wrong_start_is_seen_at_once),
        cmocka_unit_test(framing_contradictions_are_refused),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(closing_means_what_the_message_lacks),
        cmocka_unit_test(requests_are_read),
        cmocka_unit_test(broken_requests_are_refused_with_a_status),
        cmocka_unit_test(higher_minor_versions_are_served),
        cmocka_unit_test(chunked_is_chunked_however_it_is_written),
        cmocka_unit_test(broken_chunks_are_refused),
        cmocka_unit_test(chunk_extensions_have_a_ceiling),
        cmocka_unit_test(the_host_must_be_one),
        cmocka_unit_test(large_request_bodies_are_refused),
        cmocka_unit_test(a_reader_is_used_again),
        cmocka_unit_test(headers_are_found),
    };
    seed = (unsigned)clock_now_ns();
    if (getenv("SEED"))
        seed = (unsigned)strtoul(getenv("SEED"), NULL, 0);
    print_message("SEED=%u\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
