/*
 * `handshake`: a fresh connection, upgraded. The engine does all of it and judges the answer strictly by RFC 6455, 4; there is nothing
 * to say once the connection is open but goodbye, and how the server answers that may make it a warning (5.5.1, 7.1.1).
 */
#include <stddef.h>

#include "agent/core/talk.h"
#include "probes/registry.h"

enum { REMARKS_WARN, REMARKS_IGNORE };
static const char *const wishes[] = { "warn", "ignore", NULL };

struct handshake_opts {
    int remarks;
};

static bool ignores_remarks(const void *opts)
{
    return ((const struct handshake_opts *)opts)->remarks == REMARKS_IGNORE;
}

static const struct opt handshake_rows[] = { { .name = "remarks",
                                               .kind = OPT_ENUM,
                                               .offset = offsetof(struct handshake_opts, remarks),
                                               .words = wishes,
                                               .default_text = "warn",
                                               .help = "what becomes of an answer that an RFC forbids and no client minds "
                                                       "(Content-Length in a 101, a closing handshake that is not "
                                                       "kept); `ignore` passes and shows it, for a server that cannot be mended" },
                                             { 0 } };

const struct probe_type probe_handshake = {
    .name = "handshake",
    .summary = "A fresh connection is upgraded: 101, Accept, subprotocol and extensions, strictly (RFC 6455, 4)",
    .rank = -2,
    .opts = handshake_rows,
    .opts_size = sizeof(struct handshake_opts),
    .ignores_messages = true,
    .judges_parting = true,
    .ignores_remarks = ignores_remarks,
    .gates = GATE_READY | GATE_LIVE,
    .by_default = true,
    .series = SERIES_HANDSHAKE,
    .timeout_reason = REASON_UPGRADE_TIMEOUT,
    TALK_STEPS({ 0 }),
};
