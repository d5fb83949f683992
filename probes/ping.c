/* `ping`: the server's protocol layer is alive on a fresh connection. */
#include "agent/base/random.h"
#include "agent/core/talk.h"
#include "probes/registry.h"

struct ping_state {
    uint8_t payload[8];
};

static enum turn send_ping(struct talk *talk)
{
    struct ping_state *state = talk_state(talk);

    random_bytes(state->payload, sizeof state->payload);
    return talk_send(talk, WS_PING, slice_of(state->payload));
}

/* Servers may send at any time: every message but our pong is ignored. */
static enum turn await_pong(struct talk *talk)
{
    const struct ping_state *state = talk_state(talk);
    struct ws_message message;

    while (talk_receive(talk, &message))
        if (message.opcode == WS_PONG && slice_equal(message.body, slice_of(state->payload))) {
            talk_answered(talk);
            return TURN_DONE;
        } else if (message.opcode == WS_PONG) { /* allowed by itself: a heartbeat (5.5.3). Ours may still come */
            talk_explain_timeout(talk, REASON_PROTOCOL_ERROR,
                                 "a pong came with other data than the ping's (RFC 6455, 5.5.3), and none with the same");
        }
    return TURN_WAIT; /* the deadline turns this into silent_drop */
}

const struct probe_type probe_ping = {
    .name = "ping",
    .summary = "A ping frame is answered by a pong with the same payload (RFC 6455, 5.5.2 and 5.5.3)",
    .rank = -1,
    .proves = PROVES_PONG,
    .state_size = sizeof(struct ping_state),
    .gates = GATE_READY,
    .by_default = true,
    .shares = true,
    .series = SERIES_TALK,
    .reasons = (const enum reason[]){ REASON_SILENT_DROP, REASON_NONE },
    .ignores_messages = true,
    .timeout_reason = REASON_SILENT_DROP,
    TALK_STEPS({ "ping", send_ping }, { "pong", await_pong }, { 0 }),
};
