/*
 * Owns the rules of the diagnosis about versions of HTTP: what works over one of them and not over the other. In order: the first that fits
 * wins. Called by diagnose.c before the other rules, as what works over the other version explains everything else away. That a fault is one
 * of a version is a fact (HTTP2_ONLY, HTTP1_ONLY in diagnose_facts.c); what breaks is told by its reason.
 *
 * Browsers use HTTP/2 for a WebSocket only over TLS, and only where the server has sent SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, 3): where
 * it does not, they open a connection over HTTP/1.1, and are not hit.
 */
#include "agent/report/diagnose_rules.h"

#define R(name) REASON_##name
#define NOT_ALLOWED "speaks HTTP/2, but no WebSocket over it (RFC 8441)"
#define BROWSERS_NOT_HIT \
    "Browsers are not hit: where it is not announced they use HTTP/1.1 for a WebSocket. If HTTP/2 is not wanted, set http: 1.1"
#define WHO_ALLOWS                                                                                             \
    "nginx does not do RFC 8441; haproxy does, unless `h2-workaround-bogus-websocket-clients` is set; Envoy: " \
    "`http2_protocol_options: { allow_connect: true }` beside `upgrade_configs: [{ upgrade_type: websocket }]`"
#define ADVICE_NOT_ALLOWED { BROWSERS_NOT_HIT, WHO_ALLOWS, "If it worked before, look at what was changed in front of the server" }
#define ADVICE_NOT_SPOKEN                                                                                                   \
    { "Browsers are not hit: they use HTTP/1.1 then. If HTTP/2 is not wanted, set http: 1.1",                               \
      "If it is: haproxy `alpn h2,http/1.1` on the bind line, Envoy `alpn_protocols: [h2, http/1.1]`; nginx speaks HTTP/2 " \
      "but no WebSocket over it",                                                                                           \
      "In cleartext (ws://) a port speaks HTTP/2 without being asked: haproxy `proto h2` on the bind line" }
#define BACK_TO_HTTP1                                                                                                        \
    "To help users at once, let the proxy not offer it (haproxy: `h2-workaround-bogus-websocket-clients` in global, Envoy: " \
    "`allow_connect: false`): browsers use HTTP/1.1 then"

const struct rule diagnose_http_rules[] = {
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = HTTP2_ONLY | H2_NOT_ALLOWED,
        .plain = "The WebSocket works over HTTP/1.1 and not over HTTP/2: what answers " NOT_ALLOWED,
        .advice = ADVICE_NOT_ALLOWED,
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = H2_NOT_ALLOWED,
        .plain = "What answers " NOT_ALLOWED,
        .advice = ADVICE_NOT_ALLOWED,
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = HTTP2_ONLY | H2_NOT_SPOKEN,
        .plain = "The WebSocket works over HTTP/1.1 and not over HTTP/2, which what answers does not speak",
        .advice = ADVICE_NOT_SPOKEN,
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = H2_NOT_SPOKEN,
        .plain = "The check wants HTTP/2, and what answers does not speak it",
        .advice = ADVICE_NOT_SPOKEN,
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = HTTP2_ONLY,
        .reasons = { R(HTTP_MALFORMED), R(TLS_HANDSHAKE_FAILED) },
        .plain = "The WebSocket works over HTTP/1.1 and not over HTTP/2: what answers does not speak it there, or breaks its rules",
        .advice = ADVICE_NOT_SPOKEN,
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = HTTP2_ONLY,
        .reasons = { R(UPGRADE_REFUSED), R(UPGRADE_REDIRECT), R(UPGRADE_UNAUTHORIZED), R(UPGRADE_BAD_SUBPROTOCOL),
                     R(UPGRADE_BAD_EXTENSION), R(RATE_LIMITED) },
        .plain = "The WebSocket works over HTTP/1.1, and over HTTP/2 the same request (extended CONNECT, RFC 8441) is refused",
        .advice = { BACK_TO_HTTP1,
                    "Compare what arrives at the server over both: path, cookies, Authorization, Origin, subprotocol; its log "
                    "shows it",
                    "A proxy must turn the CONNECT into an upgrade for a server of HTTP/1.1: Envoy `upgrade_configs`, haproxy 2.4 "
                    "or later" },
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = HTTP2_ONLY,
        .reasons = { R(CONNECTION_RESET) },
        .plain = "The WebSocket works over HTTP/1.1, and over HTTP/2 the stream is reset or cut before it is answered",
        .advice = { BACK_TO_HTTP1,
                    "Look at the log of what ends HTTP/2 for the time of the last round: the error's name is in the "
                    "check's message",
                    "A server that announces RFC 8441 and resets the CONNECT hits browsers: they take it at its word" },
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = HTTP2_ONLY,
        .reasons = { R(UPGRADE_TIMEOUT) },
        .plain = "The WebSocket works over HTTP/1.1, and over HTTP/2 the request (extended CONNECT, RFC 8441) is not answered",
        .advice = { BACK_TO_HTTP1,
                    "Some proxies wait for the end of a request's body before they pass it on, which a WebSocket has "
                    "not: look at their buffering of requests",
                    "Look at the log of what ends HTTP/2 for the time of the last round" },
    },
    {
        .cause = CAUSE_HTTP2_BROKEN,
        .need = HTTP2_ONLY,
        .plain = "The WebSocket works over HTTP/1.1, and over HTTP/2 the same fails",
        .advice = { BACK_TO_HTTP1,
                    "Look at what ends HTTP/2: timeouts of streams (Envoy `stream_idle_timeout`), flow control, buffering of DATA "
                    "frames",
                    "Run wshealthd check --http 2 --trace beside --http 1.1 --trace: the first difference is the suspect" },
    },
    {
        .cause = CAUSE_HTTP1_BROKEN,
        .need = HTTP1_ONLY,
        .plain = "The WebSocket works over HTTP/2, and over HTTP/1.1 it does not",
        .advice = { "Clients that do not do RFC 8441 are hit: most libraries, and every browser on ws://",
                    "Let what stands in front take HTTP/1.1 as well: ALPN `h2,http/1.1`, Envoy `codec_type: AUTO`",
                    "Over HTTP/1.1 a proxy must pass the Upgrade and Connection headers on, which HTTP/2 has not" },
    },
};
const size_t diagnose_http_rule_count = sizeof diagnose_http_rules / sizeof diagnose_http_rules[0];
