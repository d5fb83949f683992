/*
 * The frame reader as a filter, for tests/soak/frames.py: streams from standard input, a line about each on standard output. A stream is
 * "ROLE DEFLATE NO_CONTEXT BITS MAX SEED LENGTH\n" and so many bytes; ROLE is 0 where we are the client. The line holds an OPCODE:HEX for
 * each message (a close as 8:CODE:HEX), then "open", "mid" or "!CODE text". A stream is read whole and in pieces of random sizes, and
 * the program ends with 1 where these differ.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/ws.h"

enum { STREAM_MAX = 4 << 20, STORY_MAX = 16 << 20 };

struct stream_head {
    unsigned role, deflate, no_context, bits, max, seed;
    size_t length;
};

static void tell(struct buf *story, const struct ws_message *message)
{
    buf_printf(story, "%d:", message->opcode);
    if (message->opcode == WS_CLOSE)
        buf_printf(story, "%u:", message->close_code);
    for (size_t i = 0; i < message->body.len; i++)
        buf_printf(story, "%02x", message->body.data[i]);
    buf_append_char(story, ' ');
}

static void play(const struct stream_head *head, const uint8_t *data, bool whole, struct buf *story)
{
    struct deflate_params deflate = {
        .on = head->deflate,
        .server_no_context_takeover = head->no_context,
        .client_no_context_takeover = head->no_context,
        .server_bits = head->bits & 15,
        .client_bits = head->bits & 15,
    };
    unsigned seed = head->seed, most = 1 + head->seed % 40;
    struct ws_reader reader;
    bool failed = false, closed = false;

    ws_reader_init(&reader, head->role ? WS_SERVER : WS_CLIENT, head->max, &deflate);
    for (size_t at = 0, n; at < head->length; at += n) {
        n = whole ? head->length : 1 + (unsigned)rand_r(&seed) % most;
        if (n > head->length - at)
            n = head->length - at;
        uint8_t *piece = mem_alloc(n); /* of its own: ASan sees what reads past it */
        memcpy(piece, data + at, n);
        struct slice input = slice_make(piece, n);
        struct ws_message message;
        struct err err;
        int got;
        while ((got = ws_reader_next(&reader, &input, &message, &err)) > 0) {
            tell(story, &message);
            closed = closed || message.opcode == WS_CLOSE;
        }
        if (got < 0 && !failed)
            buf_printf(story, "!%d %s", err.code, err.text);
        failed = failed || got < 0;
        mem_free(piece);
    }
    if (!failed && !closed)
        buf_append_str(story, ws_reader_mid_message(&reader) ? "mid" : "open");
    ws_reader_fini(&reader);
}

int main(void)
{
    struct buf whole = BUF_INIT(STORY_MAX), pieces = BUF_INIT(STORY_MAX);
    struct stream_head head;
    uint8_t *data = mem_alloc(STREAM_MAX);
    char line[256];

    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%u %u %u %u %u %u %zu", &head.role, &head.deflate, &head.no_context, &head.bits, &head.max, &head.seed,
                   &head.length) != 7 ||
            head.length > STREAM_MAX || fread(data, 1, head.length, stdin) != head.length)
            return 3;
        buf_reset(&whole);
        buf_reset(&pieces);
        play(&head, data, true, &whole);
        play(&head, data, false, &pieces);
        if (strcmp(buf_str(&whole), buf_str(&pieces)) != 0) {
            fprintf(stderr, "whole:  %s\npieces: %s\n", buf_str(&whole), buf_str(&pieces));
            return 1;
        }
        puts(buf_str(&whole));
    }
    buf_fini(&whole);
    buf_fini(&pieces);
    mem_free(data);
    return 0;
}
