/*
 * The AMQP reader against anything. The first byte says how the rest is cut into pieces; whole and cut must come to the same events and
 * the same verdict.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/proto/amqp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 4096 };

struct outcome {
    enum amqp_progress end;
    size_t events, messages;
    uint64_t sum; /* of everything that the events told */
};

static void add(struct outcome *outcome, struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        outcome->sum = outcome->sum * 31 + s.data[i];
    outcome->sum = outcome->sum * 31 + s.len;
}

static void take(struct outcome *outcome, const struct amqp_event *event)
{
    panic_if(event->channel > AMQP_CHANNELS_MAX);
    panic_if(event->key.len > AMQP_NAME_MAX || event->exchange.len > AMQP_NAME_MAX || event->body.len > BODY_MAX);
    outcome->events++;
    outcome->messages += event->got == AMQP_GOT_MESSAGE;
    outcome->sum = outcome->sum * 31 + (uint64_t)event->got + event->channel + event->code + event->tag + event->frame_max;
    add(outcome, event->mechanisms);
    add(outcome, event->text);
    add(outcome, event->exchange);
    add(outcome, event->key);
    add(outcome, event->body);
}

static struct outcome play(const uint8_t *data, size_t size, size_t cut)
{
    struct amqp_reader *reader = amqp_reader_new(BODY_MAX);
    struct outcome outcome = { .end = AMQP_MORE };
    struct amqp_event event;
    struct err err = { 0 };
    for (size_t at = 0; at < size && outcome.end != AMQP_BAD;) {
        size_t n = cut && cut < size - at ? cut : size - at;
        struct slice piece = slice_make(data + at, n);
        at += n;
        while ((outcome.end = amqp_reader_feed(reader, &piece, &event, &err)) == AMQP_EVENT)
            take(&outcome, &event);
        panic_if(outcome.end == AMQP_MORE && piece.len);
        panic_if(outcome.end == AMQP_BAD && !*err.text);
    }
    amqp_reader_free(reader);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct outcome whole = play(data + 1, size - 1, 0);
    struct outcome pieces = play(data + 1, size - 1, (size_t)data[0] + 1);
    panic_if(whole.end != pieces.end || whole.events != pieces.events || whole.messages != pieces.messages ||
             whole.sum != pieces.sum);
    return 0;
}
