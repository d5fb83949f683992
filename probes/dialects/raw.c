/*
 * `raw`: no protocol above RFC 6455. Nothing is sent, every message is taken; delivery looks for the heartbeat in it. For servers that push
 * to whoever is connected, and the ground for checks that set their own parts in place.
 */
#include "probes/dialects/registry.h"

const struct dialect dialect_raw = {
    .name = "raw",
    .summary = "no protocol above RFC 6455: nothing is sent, every message is taken",
    .json_holes = true,
};
