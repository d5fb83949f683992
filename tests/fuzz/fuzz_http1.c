/*
 * The HTTP/1.x reader against anything. The first byte chooses the side and the limits, the second how the rest is cut into pieces;
 * whole and cut must come to the same verdict on the same head and leave the same bytes untouched.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum http_progress end;
    int status;
    size_t header_count, rest, body_len;
};

static void touch_head(const struct http_reader *reader)
{
    const struct http_head *head = http_reader_head(reader);
    panic_if(head->header_count > HTTP_HEADERS_MAX);
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *field = &head->headers[i];
        panic_if(field->name.len == 0);
        panic_if(field->name.data < head->text.data || field->name.data + field->name.len > head->text.data + head->text.len);
        panic_if(field->value.len &&
                 (field->value.data < head->text.data || field->value.data + field->value.len > head->text.data + head->text.len));
    }
    (void)http_header_has_token(head, "Connection", "upgrade");
    (void)http_reader_keep_alive(reader);
}

static struct outcome play(const uint8_t *data, size_t size, uint8_t choice, uint8_t cut)
{
    struct http_limits limits = { .max_head_bytes = choice & 2 ? 4096 : 64, .max_body_bytes = choice & 4 ? 4096 : 8 };
    struct http_reader *reader = http_reader_new(choice & 1 ? HTTP_KIND_REQUEST : HTTP_KIND_RESPONSE, &limits);
    struct outcome outcome = { .end = HTTP_MORE };
    struct err err;
    size_t at = 0;
    if (choice & 8)
        http_reader_no_body(reader);
    while (at < size && outcome.end == HTTP_MORE) {
        size_t n = cut == 0 ? size : 1 + (at * 31 + cut) % cut;
        if (n > size - at)
            n = size - at;
        struct slice input = slice_make(data + at, n);
        do {
            outcome.end = http_reader_feed(reader, &input, &err);
            if (outcome.end == HTTP_HEAD)
                touch_head(reader);
        } while (outcome.end == HTTP_HEAD && http_reader_head(reader)->status != 101);
        panic_if(outcome.end == HTTP_MORE && input.len);
        at += n - input.len;
    }
    if (outcome.end != HTTP_BAD && outcome.end != HTTP_TOO_LARGE) {
        outcome.rest = size - at;
        outcome.status = http_reader_head(reader)->status;
        outcome.header_count = http_reader_head(reader)->header_count;
        outcome.body_len = http_reader_body(reader).len;
        panic_if(outcome.body_len > limits.max_body_bytes);
        (void)http_reader_eof(reader, &err);
    }
    http_reader_free(reader);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct outcome whole = play(data + 2, size - 2, data[0], 0);
    struct outcome pieces = play(data + 2, size - 2, data[0], (uint8_t)(data[1] | 1));
    panic_if(whole.end != pieces.end || whole.status != pieces.status || whole.header_count != pieces.header_count);
    panic_if(whole.rest != pieces.rest || whole.body_len != pieces.body_len);
    return 0;
}
