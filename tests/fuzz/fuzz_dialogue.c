/*
 * What a hostile server can make of a dialect's units: framing of every kind, fed in pieces, and the unwrapping of payloads by every built-in
 * dialect. The first byte chooses the dialect, the second how long the pieces are; the rest is the stream. However it is cut, the units
 * must be the same.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/client/dialogue_impl.h"
#include "probes/dialects/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { PAYLOAD_BYTES_MAX = 8 << 20 };

/* Every unit with its length before it. -1 where the stream was refused. */
static int units_of(const struct dialect *dialect, struct slice stream, size_t piece, struct buf *out)
{
    struct framing framing;
    struct slice unit;
    struct err err;
    int rc = 0;

    framing_init(&framing, (enum dialect_framing)dialect->framing);
    while (rc == 0 && stream.len) {
        struct slice part = slice_make(stream.data, piece < stream.len ? piece : stream.len);

        stream = slice_make(stream.data + part.len, stream.len - part.len);
        framing_feed(&framing, part);
        while ((rc = framing_next(&framing, &unit, &err)) > 0) {
            buf_printf(out, "%zu:", unit.len);
            buf_append_slice(out, unit);
        }
        panic_if(rc < 0 && err.text[0] == 0);
    }
    framing_fini(&framing);
    return rc;
}

static void unwrap_all(const struct dialect *dialect, struct slice stream)
{
    static const struct target_conf target;
    const struct speaker speaker = { .dialect = dialect, .target = &target, .id = "id" };
    struct subscription *subscription;
    struct effort effort = { EFFORT_BYTES };
    struct framing framing;
    struct slice unit, payload;
    struct err err;

    subscription = subscription_new(&speaker, "room.1", 2, &err);
    panic_if(!subscription);
    framing_init(&framing, (enum dialect_framing)dialect->framing);
    framing_feed(&framing, stream);
    while (framing_next(&framing, &unit, &err) > 0) {
        struct buf out = BUF_INIT(PAYLOAD_BYTES_MAX);

        effort_try(&effort, subscription->reject, unit);
        effort_try(&effort, subscription->expect, unit);
        effort_try(&effort, subscription->message, unit);
        if (payload_unwrap(dialect, subscription->prefix, unit, &out, &payload))
            panic_if(payload.len > unit.len && !dialect->message.payload);
        buf_fini(&out);
    }
    framing_fini(&framing);
    subscription_free(subscription);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf whole = BUF_INIT(64 << 20), cut = BUF_INIT(64 << 20);
    const struct dialect *dialect;
    struct slice stream;
    size_t count = 0, piece;

    if (len < 3)
        return 0;
    while (dialect_registry[count])
        count++;
    dialect = dialect_registry[data[0] % count];
    piece = 1 + data[1] % 16;
    stream = slice_make(data + 2, len - 2);
    unwrap_all(dialect, stream);
    /* Only streams may be cut anywhere; of the others a WebSocket message is what it is. */
    if (dialect->framing == FRAMING_STOMP || dialect->framing == FRAMING_MQTT || dialect->framing == FRAMING_NATS) {
        int a = units_of(dialect, stream, stream.len, &whole), b = units_of(dialect, stream, piece, &cut);

        panic_if(a != b || !slice_equal(buf_slice(&whole), buf_slice(&cut)));
    }
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
