/*
 * The words of a refusal, from any body. The first byte chooses the status. What is said is one printable line of UTF-8 within its bounds, without
 * a secret in it, and the same for the body of a response unless that is silent.
 */
#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/proto/utf8.h"
#include "agent/proto/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char secret[] = "hunter2hunter2";

static void check_line(const char *line)
{
    size_t len = strlen(line);
    panic_if(len >= WORDS_BYTES);
    panic_if(!utf8_valid(slice_str(line)));
    for (size_t i = 0; i < len; i++)
        panic_if((unsigned char)line[i] < 0x20 || line[i] == 0x7f);
    panic_if(strstr(line, secret));
}

static void check_response(int status, struct slice body, const char *said)
{
    static const struct http_limits limits = { 4096, 4096 };
    struct http_reader *reader = http_reader_new(HTTP_KIND_RESPONSE, &limits);
    char head[64], words[WORDS_BYTES];
    struct err err;
    snprintf(head, sizeof head, "HTTP/1.1 %d Not Found\r\n\r\n", status);
    struct slice input = slice_str(head);
    panic_if(http_reader_feed(reader, &input, &err) != HTTP_HEAD);
    words_of_response(http_reader_head(reader), body, words);
    panic_if(*words && strcmp(words, said) != 0);
    http_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char words[WORDS_BYTES];
    secret_add(secret);
    if (len == 0)
        return 0;
    uint8_t *copy = mem_alloc(len); /* of its own, so that reading beyond it is seen */
    memcpy(copy, data + 1, len - 1);
    struct slice body = slice_make(copy, len - 1);
    words_of(body, words);
    check_line(words);
    check_response(400 + data[0] % 200, body, words);
    int code = words_code(body);
    panic_if(code < 0 || code > 4999);
    mem_free(copy);
    return 0;
}
