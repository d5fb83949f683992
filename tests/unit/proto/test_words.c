/* What servers say when they refuse: real bodies and messages, and the words that a person wants of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/proto/words.h"

static void says(const char *text, const char *want)
{
    char out[WORDS_BYTES];
    words_of(slice_str(text), out);
    assert_string_equal(out, want);
}

static void test_messages(void **state)
{
    (void)state;
    says("", "");
    says(" \r\n\t", "");
    says("websocket: request origin not allowed by Upgrader.CheckOrigin\n",
         "websocket: request origin not allowed by Upgrader.CheckOrigin");
    says("{\"code\":0,\"message\":\"Transport unknown\"}", "Transport unknown");
    says("{\"error\":\"CONNECTION_LIMIT\",\"message\":\"Maximum connections reached\"}", "Maximum connections reached");
    says("{\"error\":{\"code\":101,\"message\":\"unauthorized\"}}", "unauthorized");
    says("{\"error\":\"invalid_token\",\"error_description\":\"The token expired\"}", "The token expired");
    says("{\"event\":\"pusher:error\",\"data\":\"{\\\"code\\\":4001,\\\"message\\\":\\\"Application does not exist\\\"}\"}",
         "Application does not exist");
    says("{\"event\":\"pusher:error\",\"data\":{\"code\":4001,\"message\":\"Application does not exist\"}}",
         "Application does not exist");
    says("{\"type\":\"disconnect\",\"reason\":\"unauthorized\",\"reconnect\":false}", "unauthorized");
    says("44{\"message\":\"Authentication error\"}", "Authentication error");
    /* JSON without words of a usual name, and what only looks like JSON, as it stands */
    says("{\"ok\": false}", "{\"ok\": false}");
    says("{\"message\":null, \"x\":1}", "{\"message\":null, \"x\":1}");
    says("{\"message\":\"cut o", "{\"message\":\"cut o");
    says("ERROR\nmessage:Bad CONNECT\n\nLogin  failed", "ERROR message:Bad CONNECT Login failed");
    says("<!DOCTYPE html><html><head><style>b { x: y }</style><script>alert('<b>')</script><title>Blocked</title></head>\n"
         "<body><h1>Your address is\nblocked</h1></body></html>",
         "Blocked Your address is blocked");
    says("<unclosed", "");
}

static void test_hostile_texts(void **state)
{
    (void)state;
    enum { LEN = 8192 };
    char out[WORDS_BYTES], *text = mem_alloc(LEN + 1);
    memset(text, 'x', LEN);
    words_of(slice_str(text), out);
    assert_true(strlen(out) >= 120 && strlen(out) < WORDS_BYTES);
    memset(text, '<', LEN);
    words_of(slice_str(text), out);
    memset(text, '{', LEN);
    words_of(slice_str(text), out);
    mem_free(text);
    words_of(slice_make("a\0\x1b[31mb\xff", 9), out);
    assert_null(strchr(out, 27));
    secret_add("hunter2hunter2");
    says("token hunter2hunter2 is not valid", "token *** is not valid");
    says("{\"message\":\"token hunter2hunter2 is not valid\"}", "token *** is not valid");
    secret_forget_all();
}

static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(words_code(slice_str("{\"data\":\"{\\\"code\\\":4100}\"}")), 4100);
    assert_int_equal(words_code(slice_str("{\"data\":{\"code\":4004}}")), 4004);
    assert_int_equal(words_code(slice_str("{\"code\":4001,\"data\":{}}")), 4001);
    assert_int_equal(words_code(slice_str("{\"code\":\"x\"}")), 0);
    assert_int_equal(words_code(slice_str("{\"code\":99999999}")), 0);
    assert_int_equal(words_code(slice_str("4100")), 0);
    assert_int_equal(words_code(slice_str("")), 0);
}

static void response(const char *head, const char *body, const char *want)
{
    const struct http_limits limits = { 4096, 4096 };
    struct http_reader *reader = http_reader_new(HTTP_KIND_RESPONSE, &limits);
    struct slice input = slice_str(head);
    struct err err;
    char out[WORDS_BYTES];
    assert_int_equal(http_reader_feed(reader, &input, &err), HTTP_HEAD);
    words_of_response(http_reader_head(reader), slice_str(body), out);
    assert_string_equal(out, want);
    http_reader_free(reader);
}

static void test_what_only_repeats_the_status_says_nothing(void **state)
{
    (void)state;
    response("HTTP/1.1 400 Bad Request\r\n\r\n", "Bad Request", "");
    response("HTTP/1.1 404 Not Found\r\n\r\n", "404 page not found\n", "");
    response("HTTP/1.1 502 Bad Gateway\r\n\r\n",
             "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
             "<hr><center>nginx/1.22.1</center>\r\n</body>\r\n</html>\r\n",
             "");
    response("HTTP/1.1 404 Not Found\r\n\r\n", "no such room", "no such room");
    response("HTTP/1.1 403 Forbidden\r\n\r\n", "Forbidden origin", "Forbidden origin");
    response("HTTP/1.1 400 Bad Request\r\nContent-Encoding: gzip\r\n\r\n", "\x1f\x8b something", "");
    response("HTTP/1.1 400 Bad Request\r\nContent-Encoding: identity\r\n\r\n", "why", "why");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_what_only_repeats_the_status_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
