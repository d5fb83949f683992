/*
 * The closed sets of a verdict: reasons, phases, scopes and results. One row of a list below is the enum, the metric label, the
 * log word, the JSON value and the row in the manual. Nothing here decides anything: agent/core/health.c does.
 */
#ifndef WSHEALTHD_BASE_REASON_H
#define WSHEALTHD_BASE_REASON_H

#define PHASE_LIST(X)     \
    X(NONE, "none")       \
    X(RESOLVE, "resolve") \
    X(CONNECT, "connect") \
    X(TLS, "tls")         \
    X(UPGRADE, "upgrade") \
    X(OPEN, "open")

/* LOCAL: this instance is at fault. SHARED: a dependency that all instances use. PROBE: the agent's own side (token, trust,
 * names, pace). It says nothing about what clients get, and affects all instances alike. */
#define SCOPE_LIST(X)   \
    X(NONE, "none")     \
    X(LOCAL, "local")   \
    X(SHARED, "shared") \
    X(PROBE, "probe")

/* The result of one round. VOID: counted, not judged (the agent itself was late). */
#define RESULT_LIST(X) \
    X(PASS, "pass")    \
    X(WARN, "warn")    \
    X(FAIL, "fail")    \
    X(VOID, "void")

/* X(id, name, phase, scope, help). The help is one sentence for the manual and for readers who may not see the peer's texts. */
#define REASON_LIST(X)                                                                                                             \
    X(DNS_FAILURE, "dns_failure", RESOLVE, PROBE, "the name could not be resolved")                                                \
    X(CONNECT_REFUSED, "connect_refused", CONNECT, LOCAL, "nothing listens on the address")                                        \
    X(CONNECT_TIMEOUT, "connect_timeout", CONNECT, LOCAL, "the connection was not accepted in time")                               \
    X(CONNECT_UNREACHABLE, "connect_unreachable", CONNECT, LOCAL, "there is no way to the address")                                \
    X(TLS_HANDSHAKE_FAILED, "tls_handshake_failed", TLS, LOCAL, "the TLS handshake failed or was not finished in time")            \
    X(TLS_CERT_EXPIRED, "tls_cert_expired", TLS, PROBE, "a certificate of the chain has expired")                                  \
    X(TLS_CERT_NOT_YET_VALID, "tls_cert_not_yet_valid", TLS, PROBE, "a certificate of the chain is not valid yet")                 \
    X(TLS_CERT_UNTRUSTED, "tls_cert_untrusted", TLS, PROBE, "the chain does not lead to a trusted authority")                      \
    X(TLS_HOSTNAME_MISMATCH, "tls_hostname_mismatch", TLS, PROBE, "the certificate is for another name or address")                \
    X(TLS_CERT_EXPIRING, "tls_cert_expiring", TLS, PROBE, "the certificate expires soon")                                          \
    X(TLS_CLIENT_CERT_REJECTED, "tls_client_cert_rejected", TLS, PROBE,                                                            \
      "the server wants a client certificate, or refuses this one")                                                                \
    X(CONNECTION_RESET, "connection_reset", UPGRADE, LOCAL, "the connection was closed or reset before a response")                \
    X(UPGRADE_TIMEOUT, "upgrade_timeout", UPGRADE, LOCAL, "the upgrade request was not answered in time")                          \
    X(UPGRADE_REFUSED, "upgrade_refused", UPGRADE, LOCAL, "the upgrade was answered with a status other than 101")                 \
    X(UPGRADE_REDIRECT, "upgrade_redirect", UPGRADE, LOCAL, "the upgrade was answered with a redirect")                            \
    X(UPGRADE_UNAUTHORIZED, "upgrade_unauthorized", UPGRADE, PROBE, "the upgrade was answered with 401 or 403")                    \
    X(RATE_LIMITED, "rate_limited", UPGRADE, PROBE, "the server says that the probe comes too often")                              \
    X(UPGRADE_INVALID, "upgrade_invalid", UPGRADE, LOCAL, "the 101 response is not a valid WebSocket upgrade")                     \
    X(UPGRADE_BAD_ACCEPT, "upgrade_bad_accept", UPGRADE, LOCAL, "Sec-WebSocket-Accept is missing or does not fit the key")         \
    X(UPGRADE_BAD_SUBPROTOCOL, "upgrade_bad_subprotocol", UPGRADE, LOCAL, "the subprotocol chosen was not offered, or is missing") \
    X(UPGRADE_BAD_EXTENSION, "upgrade_bad_extension", UPGRADE, LOCAL, "an extension or its parameters were not offered")           \
    X(HTTP_MALFORMED, "http_malformed", UPGRADE, LOCAL, "the response is not HTTP/1.1, or is over its limits")                     \
    X(PROTOCOL_ERROR, "protocol_error", OPEN, LOCAL, "a frame broke a rule of RFC 6455 or RFC 7692")                               \
    X(MESSAGE_TOO_BIG, "message_too_big", OPEN, LOCAL, "a message is larger than the agent takes")                                 \
    X(FLOOD, "flood", OPEN, LOCAL, "the server sends more than can be read before the deadline")                                   \
    X(CLOSED_BY_SERVER, "closed_by_server", OPEN, LOCAL, "the server sent a close frame")                                          \
    X(CLOSED_ABNORMAL, "closed_abnormal", OPEN, LOCAL, "the connection ended without a close frame (1006)")                        \
    X(SILENT_DROP, "silent_drop", OPEN, LOCAL, "nothing comes back, not even a pong")                                              \
    X(ECHO_TIMEOUT, "echo_timeout", OPEN, LOCAL, "no message came at all")                                                         \
    X(ECHO_MISMATCH, "echo_mismatch", OPEN, LOCAL, "messages came, but none matched")                                              \
    X(SLOW, "slow", OPEN, LOCAL, "the answer came, later than slo allows")                                                         \
    X(AUTH_REJECTED, "auth_rejected", OPEN, LOCAL, "a valid token was refused")                                                    \
    X(AUTH_NOT_ENFORCED, "auth_not_enforced", OPEN, LOCAL, "a bad token was taken")                                                \
    X(AUTH_EXPIRY_IGNORED, "auth_expiry_ignored", OPEN, LOCAL, "a session outlived its token")                                     \
    X(AUTH_REFRESH_FAILED, "auth_refresh_failed", OPEN, PROBE, "a fresh token could not be had or was refused")                    \
    X(LOGIN_REJECTED, "login_rejected", OPEN, PROBE, "what the dialect says first (its connect) was refused")                      \
    X(ORIGIN_REJECTED, "origin_rejected", UPGRADE, LOCAL, "the configured Origin was refused")                                     \
    X(ORIGIN_NOT_ENFORCED, "origin_not_enforced", UPGRADE, LOCAL, "a foreign Origin was taken")                                    \
    X(SUBSCRIBE_TIMEOUT, "subscribe_timeout", OPEN, LOCAL, "the subscription was not confirmed in time")                           \
    X(SUBSCRIBE_REJECTED, "subscribe_rejected", OPEN, LOCAL, "the subscription was refused")                                       \
    X(DELIVERY_LOST, "delivery_lost", OPEN, LOCAL, "the broker delivers, this server does not: it has lost its subscription")      \
    X(DELIVERY_SLOW, "delivery_slow", OPEN, LOCAL, "a message came through the broker, but late")                                  \
    X(RECONNECT_SLOW, "reconnect_slow", OPEN, LOCAL, "coming back took too long")                                                  \
    X(RESUME_FAILED, "resume_failed", OPEN, LOCAL, "after a reconnect the subscription or state was not restored")                 \
    X(PAYLOAD_LIMIT, "payload_limit", OPEN, LOCAL, "messages from a certain size on do not pass")                                  \
    X(HTTP_STATUS, "http_status", OPEN, LOCAL, "the HTTP status is not the expected one")                                          \
    X(HTTP_BODY, "http_body", OPEN, LOCAL, "the HTTP body does not match")                                                         \
    X(SCRIPT_TIMEOUT, "script_timeout", OPEN, LOCAL, "a step of the script got no message in time")                                \
    X(SCRIPT_MISMATCH, "script_mismatch", OPEN, LOCAL, "messages came, but none matched a step of the script")                     \
    X(SCRIPT_REJECTED, "script_rejected", OPEN, LOCAL, "the server refused a step of the script")                                  \
    X(SERVER_CONNECTIONS_HIGH, "server_connections_high", NONE, LOCAL, "the server holds too many connections")                    \
    X(SERVER_CONNECTIONS_DROPPED, "server_connections_dropped", NONE, LOCAL, "many connections were lost at once")                 \
    X(SERVER_CHURN_HIGH, "server_churn_high", NONE, LOCAL, "connections come and go too fast")                                     \
    X(SERVER_BACKLOG_HIGH, "server_backlog_high", NONE, LOCAL, "the accept queue fills up")                                        \
    X(SERVER_MEMORY_HIGH, "server_memory_high", NONE, LOCAL, "the server uses too much memory")                                    \
    X(SERVER_FDS_HIGH, "server_fds_high", NONE, LOCAL, "the server is near its descriptor limit")                                  \
    X(SERVER_CPU_HIGH, "server_cpu_high", NONE, LOCAL, "the server uses too much CPU")                                             \
    X(SERVER_GONE, "server_gone", NONE, LOCAL, "the server's process or socket is gone")                                           \
    X(SERVER_SERIES_HIGH, "server_series_high", NONE, LOCAL, "a figure of the server's own metrics page is over its limit")        \
    X(SERVER_METRICS_MISSING, "server_metrics_missing", NONE, PROBE,                                                               \
      "the server's own metrics page, or a figure of it, is missing")                                                              \
    X(SERVER_PEER_LOST, "server_peer_lost", NONE, LOCAL, "the server is not connected to what it must be connected to")            \
    X(BROKER_UNREACHABLE, "broker_unreachable", NONE, SHARED, "the broker cannot be reached")                                      \
    X(BROKER_AUTH_FAILED, "broker_auth_failed", NONE, SHARED, "the broker refused the credentials")                                \
    X(BROKER_TIMEOUT, "broker_timeout", NONE, SHARED, "the broker does not answer")                                                \
    X(BROKER_READ_ONLY, "broker_read_only", NONE, SHARED, "the broker takes no writes")                                            \
    X(BROKER_BLOCKED, "broker_blocked", NONE, SHARED, "the broker blocks publishers")                                              \
    X(BROKER_NOT_DELIVERING, "broker_not_delivering", NONE, SHARED, "the broker takes messages and does not deliver them")         \
    X(AGENT_STALLED, "agent_stalled", NONE, NONE, "the agent itself was late; the round is void")                                  \
    X(AGENT_ERROR, "agent_error", NONE, NONE, "the agent itself could not do the round; it is void")

#define REASON_ENUM(id, ...) REASON_##id,
#define PHASE_ENUM(id, name) PHASE_##id,
#define SCOPE_ENUM(id, name) SCOPE_##id,
#define RESULT_ENUM(id, name) RESULT_##id,

enum phase { PHASE_LIST(PHASE_ENUM) PHASE_COUNT };
enum scope { SCOPE_LIST(SCOPE_ENUM) SCOPE_COUNT };
enum result { RESULT_LIST(RESULT_ENUM) RESULT_COUNT };
/* REASON_NONE: nothing is wrong. It has no name in the outside world (JSON: null). */
enum reason { REASON_NONE, REASON_LIST(REASON_ENUM) REASON_COUNT };

const char *reason_name(enum reason reason); /* "" for REASON_NONE */
const char *reason_help(enum reason reason);
enum phase reason_phase(enum reason reason); /* where the reason arises by its nature; a round may name the phase more exactly */
enum scope reason_scope(enum reason reason);
const char *phase_name(enum phase phase);
const char *scope_name(enum scope scope);
const char *result_name(enum result result);

#endif
