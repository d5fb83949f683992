/*
 * The frame reader against anything. The first byte chooses role, compression, ceiling and whether a client skips, the second how the
 * rest is cut into pieces; whole and cut must tell the same messages and come to the same verdict.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/utf8.h"
#include "agent/proto/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint64_t messages; /* a sum over all that was told */
    int verdict;       /* the error's code, 0: none */
    bool mid_message;
};

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * UINT64_C(0x100000001b3);
}

static uint64_t mix_message(uint64_t sum, const struct ws_message *message, uint32_t max_message)
{
    panic_if(message->body.len > max_message && message->body.len > WS_CONTROL_MAX);
    panic_if(message->skipped ? message->body.len || message->size < max_message
                              : message->opcode != WS_CLOSE && message->size != message->body.len);
    panic_if((message->opcode == WS_TEXT || message->opcode == WS_CLOSE) && !utf8_valid(message->body));
    panic_if(message->opcode == WS_CLOSE && message->close_code != WS_CODE_NO_STATUS && !ws_close_code_valid(message->close_code));
    sum = mix(mix(mix(sum, message->opcode), message->close_code), message->fragments);
    sum = mix(mix(mix(sum, message->compressed), message->skipped), message->size);
    for (size_t i = 0; i < message->body.len; i++)
        sum = mix(sum, message->body.data[i]);
    return sum;
}

static struct outcome play(const uint8_t *data, size_t size, uint8_t choice, uint8_t cut)
{
    struct deflate_params deflate = {
        .on = choice & 2,
        .server_no_context_takeover = choice & 4,
        .client_no_context_takeover = choice & 4,
        .server_bits = (8U + ((unsigned)choice >> 5)) & 15U,
        .client_bits = (8U + ((unsigned)choice >> 5)) & 15U,
    };
    uint32_t max_message = choice & 8 ? 100000 : 200;
    struct ws_budget budget = { 0, SIZE_MAX };
    struct ws_reader reader;
    struct outcome outcome = { 0 };
    ws_reader_init(&reader, choice & 1 ? WS_SERVER : WS_CLIENT, max_message, &deflate);
    if ((choice & 17) == 16)
        ws_reader_skip(&reader, &budget);
    for (size_t at = 0, n; at < size; at += n) {
        n = cut == 0 ? size : 1 + (at * 31 + cut) % cut;
        if (n > size - at)
            n = size - at;
        uint8_t *piece = malloc(n); /* of its own: ASan sees what reads past it */
        memcpy(piece, data + at, n);
        struct slice input = slice_make(piece, n);
        struct ws_message message;
        struct err err;
        int got;
        while ((got = ws_reader_next(&reader, &input, &message, &err)) > 0)
            outcome.messages = mix_message(outcome.messages, &message, max_message);
        panic_if(input.len || (got < 0 && outcome.verdict));
        if (got < 0)
            outcome.verdict = err.code;
        free(piece);
    }
    outcome.mid_message = ws_reader_mid_message(&reader);
    ws_reader_fini(&reader);
    panic_if(budget.used);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct outcome whole = play(data + 2, size - 2, data[0], 0);
    struct outcome pieces = play(data + 2, size - 2, data[0], (uint8_t)(data[1] | 1));
    panic_if(whole.messages != pieces.messages || whole.verdict != pieces.verdict || whole.mid_message != pieces.mid_message);
    return 0;
}
