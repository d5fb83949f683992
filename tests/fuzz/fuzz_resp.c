/*
 * The RESP2 reader against anything. The first byte chooses how the rest is cut into pieces; whole and cut must give the same replies and
 * come to the same end. What is read is walked in full, and is never more than the ceilings.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BYTES_MAX = 4096 };

struct outcome {
    int end;
    size_t replies, elements, bytes;
};

static void walk(const struct resp_reply *reply, struct outcome *outcome, unsigned depth)
{
    struct slice text = resp_text(reply);
    panic_if(depth > RESP_DEPTH_MAX + 1);
    outcome->elements++;
    for (size_t i = 0; i < text.len; i++)
        outcome->bytes += 1 + text.data[i] % 2u;
    outcome->bytes += (size_t)(resp_integer(reply) & 3);
    for (size_t i = 0; i < resp_count(reply); i++) {
        panic_if(!resp_item(reply, i));
        walk(resp_item(reply, i), outcome, depth + 1);
    }
}

static struct outcome play(const uint8_t *data, size_t size, uint8_t cut)
{
    struct resp_reader *reader = resp_reader_new(BYTES_MAX);
    struct outcome outcome = { 0 };
    struct err err;
    size_t at = 0;
    err_clear(&err);
    while (at < size && outcome.end >= 0) {
        size_t n = cut == 0 ? size : 1 + (at * 31 + cut) % cut;
        struct slice input = slice_make(data + at, n < size - at ? n : size - at);
        at += input.len;
        do {
            struct resp_reply *reply = NULL;
            outcome.end = resp_reader_next(reader, &input, &reply, &err);
            if (outcome.end != 1)
                break;
            struct outcome one = { 0 };
            walk(reply, &one, 1);
            panic_if(one.elements > RESP_ELEMENTS_MAX + 1 || one.bytes > 2 * BYTES_MAX + 4 * RESP_ELEMENTS_MAX);
            outcome.replies++;
            outcome.elements += one.elements;
            outcome.bytes += one.bytes;
            resp_reply_free(reply);
        } while (input.len);
        panic_if(outcome.end == 0 && input.len);
    }
    panic_if(outcome.end < 0 && !err.text[0]);
    resp_reader_free(reader);
    if (outcome.end == 1)
        outcome.end = 0;
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct outcome whole = play(data + 1, size - 1, 0);
    struct outcome pieces = play(data + 1, size - 1, (uint8_t)(data[0] | 1));
    panic_if(whole.end != pieces.end || whole.replies != pieces.replies);
    panic_if(whole.elements != pieces.elements || whole.bytes != pieces.bytes);
    return 0;
}
