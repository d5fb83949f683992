/*
 * `handshake`: a fresh connection, upgraded. The engine does all of it and judges the answer strictly by RFC 6455, 4; there is nothing
 * to say once the connection is open but goodbye, and how the server answers that may make it a warning (5.5.1, 7.1.1).
 */
#include "agent/core/talk.h"
#include "probes/registry.h"

const struct probe_type probe_handshake = {
    .name = "handshake",
    .summary = "A fresh connection is upgraded: 101, Accept, subprotocol and extensions, strictly (RFC 6455, 4)",
    .rank = -2,
    .ignores_messages = true,
    .judges_parting = true,
    .gates = GATE_READY | GATE_LIVE,
    .by_default = true,
    .series = SERIES_HANDSHAKE,
    .timeout_reason = REASON_UPGRADE_TIMEOUT,
    TALK_STEPS({ 0 }),
};
