/* The causes and the rules of the diagnosis, as data. For agent/report/diagnose*.c, their test, and the findings of agent/fleet. */
#ifndef WSHEALTHD_REPORT_DIAGNOSE_RULES_H
#define WSHEALTHD_REPORT_DIAGNOSE_RULES_H

#include <stddef.h>
#include <stdint.h>

#include "agent/base/reason.h"

/* X(id, name, help): the closed set, in the manual's order. */
#define CAUSE_LIST(X)                                                                                                            \
    X(HEALTHY, "healthy", "every check passes")                                                                                  \
    X(STARTING, "starting", "not every check that gates readiness has passed yet, and none has failed for good")                 \
    X(DRAINING, "draining", "the instance has been taken out of rotation on purpose")                                            \
    X(NOTHING_CHECKED, "nothing_checked", "no check is configured")                                                              \
    X(AGENT_STALLED, "agent_stalled", "the agent itself is starved or was suspended, so that its rounds are void")               \
    X(AGENT_ERROR, "agent_error", "the agent could not do its work, so that its rounds are void")                                \
    X(BROKER_ABSENT, "broker_absent", "the broker runs, and what the configuration names is not there")                          \
    X(BROKER_FULL, "broker_full", "the broker takes no more connections: a limit of its own is reached")                         \
    X(BROKER_UNTRUSTED, "broker_untrusted", "the broker's certificate is not believed: its authority, name or dates")            \
    X(BROKER_DOWN, "broker_down", "there is no connection to the broker")                                                        \
    X(BROKER_AUTH, "broker_auth", "the broker refuses the credentials")                                                          \
    X(BROKER_READ_ONLY, "broker_read_only", "the broker takes no writes: a replica, or a full or failing disk")                  \
    X(BROKER_BLOCKED, "broker_blocked", "the broker holds publishers back, for want of memory or disk")                          \
    X(BROKER_FROZEN, "broker_frozen", "the broker does not answer any more")                                                     \
    X(BROKER_NOT_DELIVERING, "broker_not_delivering", "the broker takes messages and delivers them to nobody")                   \
    X(BROKER_SLOW, "broker_slow", "the broker answers later than slo allows")                                                    \
    X(SERVER_DETACHED, "server_detached_from_broker",                                                                            \
      "the broker delivers, and its messages do not reach the clients of this server")                                           \
    X(SERVER_WITHOUT_PEER, "server_without_peer", "the server has no connection to something that it must be connected to")      \
    X(DELIVERY_SLOW, "delivery_slow", "messages come late through this server")                                                  \
    X(LOGIN_REFUSED, "login_refused", "the server refuses the dialect's connect: token, permission or dialect")                  \
    X(SUBSCRIPTION_REFUSED, "subscription_refused", "the server refuses the subscription")                                       \
    X(SUBSCRIPTION_UNCONFIRMED, "subscription_unconfirmed", "the server does not confirm the subscription")                      \
    X(NAME_UNRESOLVED, "name_unresolved", "the name of the target cannot be resolved")                                           \
    X(SERVER_DOWN, "server_down", "nothing listens on the server's address")                                                     \
    X(SERVER_UNREACHABLE, "server_unreachable", "there is no way to the server's address")                                       \
    X(SERVER_NOT_ACCEPTING, "server_not_accepting", "connections to the server are not accepted")                                \
    X(NEW_CONNECTIONS_REFUSED, "new_connections_refused", "open connections live, new ones are refused")                         \
    X(DESCRIPTORS_EXHAUSTED, "descriptors_exhausted", "the server is at its limit of open descriptors, or near it")              \
    X(ACCEPT_QUEUE_FULL, "accept_queue_full", "connections wait to be accepted: the server is too slow, or its queue too short") \
    X(CONNECTION_LIMIT, "connection_limit", "the server holds as many connections as it may")                                    \
    X(RECONNECT_STORM, "reconnect_storm", "clients come and go all the time, and the server does little else")                   \
    X(MASS_DISCONNECT, "mass_disconnect", "many clients were disconnected at once")                                              \
    X(MEMORY_GROWTH, "memory_growth", "the server uses more and more memory")                                                    \
    X(SERVER_HUNG, "server_hung", "the server takes connections and says nothing")                                               \
    X(SERVER_DROPS_CONNECTIONS, "server_drops_connections", "the server ends new connections without a word")                    \
    X(CONNECTIONS_UNRELIABLE, "connections_unreliable", "some new connections work and others do not")                           \
    X(WEBSOCKET_DEAD, "websocket_dead", "plain HTTP works, the WebSocket side does not")                                         \
    X(APPLICATION_FROZEN, "application_frozen", "the upgrade works, and behind it nothing answers, not even a ping")             \
    X(MESSAGES_STUCK, "messages_stuck", "the connection is alive, but messages are not handled")                                 \
    X(ANSWER_UNEXPECTED, "answer_unexpected", "the server answers with something else than expected")                            \
    X(CONVERSATION_REFUSED, "conversation_refused", "the server refuses what a script says")                                     \
    X(PINGS_UNANSWERED, "pings_unanswered", "messages are answered, pings are not")                                              \
    X(CONNECTIONS_CUT, "connections_cut", "open connections are cut without a close frame")                                      \
    X(CONNECTIONS_GO_DEAD, "connections_go_dead", "open connections fall silent without an end, while new ones work")            \
    X(SERVER_RESTARTING, "server_restarting", "the server says goodbye to its connections: it restarts or shuts down")           \
    X(DEPLOY_IN_PROGRESS, "deploy_in_progress",                                                                                  \
      "the server has said goodbye and does not take connections yet: it is being replaced")                                     \
    X(SERVER_ENDS_SESSIONS, "server_ends_sessions", "the server closes sessions in good order, sooner than expected")            \
    X(RECONNECT_SLOW, "reconnect_slow", "clients that lose their connection come back too slowly")                               \
    X(STATE_NOT_RESTORED, "state_not_restored", "clients that come back do not get their subscription or state back")            \
    X(SESSION_REFUSED, "session_refused", "the server closes the session by policy: token, permission or an application's rule") \
    X(SERVER_ERROR, "server_error", "the server reports an error of its own")                                                    \
    X(SERVER_OVERLOADED, "server_overloaded", "the server turns work away, or cannot keep up with it")                           \
    X(MESSAGES_REFUSED, "messages_refused", "the server closes because it does not accept what it was sent")                     \
    X(FRAME_LIMIT, "frame_limit", "messages from a certain size on do not pass")                                                 \
    X(TOKEN_REFUSED, "token_refused", "the upgrade is refused with 401 or 403")                                                  \
    X(TOKEN_EXPIRED, "token_expired", "the probe's token has expired, and no fresh one can be had")                              \
    X(CLOCK_SKEW, "clock_skew", "certificates and tokens seem to be of another time: a clock is wrong")                          \
    X(AUTH_NOT_ENFORCED, "auth_not_enforced", "the server takes clients whose token is absent or wrong")                         \
    X(AUTH_EXPIRY_IGNORED, "auth_expiry_ignored", "sessions outlive their token")                                                \
    X(ORIGIN_TOO_STRICT, "origin_too_strict", "the server refuses the Origin that its own pages have")                           \
    X(ORIGIN_NOT_ENFORCED, "origin_not_enforced", "the server takes connections from foreign pages")                             \
    X(RATE_LIMITED, "rate_limited", "the server says that the probe comes too often")                                            \
    X(WRONG_PATH, "wrong_path", "there is no WebSocket under this path")                                                         \
    X(REDIRECTED, "redirected", "the upgrade is answered with a redirect")                                                       \
    X(UPGRADE_NOT_PASSED, "upgrade_not_passed", "the request arrives as plain HTTP, without its upgrade")                        \
    X(UPSTREAM_DOWN, "upstream_down", "a proxy answers, and cannot reach the server behind it")                                  \
    X(UPGRADE_REFUSED, "upgrade_refused", "the upgrade is refused")                                                              \
    X(NOT_A_WEBSOCKET, "not_a_websocket", "what answers does not speak the WebSocket handshake rightly")                         \
    X(NEGOTIATION_FAILED, "negotiation_failed", "the two sides do not agree on a subprotocol or an extension")                   \
    X(PROTOCOL_BROKEN, "protocol_broken", "frames break RFC 6455")                                                               \
    X(MESSAGE_TOO_BIG, "message_too_big", "the server sends messages larger than the agent takes")                               \
    X(FLOOD, "flood", "the server sends more than can be read in time")                                                          \
    X(CERTIFICATE_EXPIRED, "certificate_expired", "the certificate has expired")                                                 \
    X(CERTIFICATE_EXPIRING, "certificate_expiring", "the certificate expires soon")                                              \
    X(CERTIFICATE_NOT_YET_VALID, "certificate_not_yet_valid", "the certificate is not valid yet, or a clock is wrong")           \
    X(CERTIFICATE_UNTRUSTED, "certificate_untrusted", "the certificate does not lead to a trusted authority")                    \
    X(CERTIFICATE_WRONG_NAME, "certificate_wrong_name", "the certificate is for another name")                                   \
    X(CLIENT_CERTIFICATE_REFUSED, "client_certificate_refused",                                                                  \
      "the server wants a client certificate, or refuses the configured one")                                                    \
    X(TLS_BROKEN, "tls_broken", "no TLS session comes about")                                                                    \
    X(HTTP2_BROKEN, "http2_broken", "a WebSocket over HTTP/2 (RFC 8441) does not come about, or breaks")                         \
    X(HTTP1_BROKEN, "http1_broken", "over HTTP/2 the WebSocket works, over HTTP/1.1 it does not")                                \
    X(FRONT_BROKEN, "front_broken", "the server is well, but the public address does not lead to it")                            \
    X(ONE_INSTANCE_STALE, "one_instance_stale", "one of the instances behind the public address is broken or out of date")       \
    X(HELD_IN_ROTATION, "held_in_rotation",                                                                                      \
      "a local fault would take the instance out, and too few others would remain: it stays")                                    \
    X(FLEET_WIDE_FAULT, "fleet_wide_fault", "all instances have the same local fault, since the same moment")                    \
    X(INSTANCE_RECEIVES_NOTHING, "instance_receives_nothing",                                                                    \
      "one instance of the fleet receives nothing that the others publish")                                                      \
    X(INSTANCE_PUBLISHES_NOTHING, "instance_publishes_nothing", "what one instance of the fleet publishes reaches nobody")       \
    X(REGIONS_CUT, "regions_cut", "nothing that one region publishes reaches another")                                           \
    X(SHARD_LOST, "shard_lost", "some channels are lost while others of the same instances are delivered")                       \
    X(ONE_REGION_FAILS, "one_region_fails", "the public path fails from this region, and from others it works")                  \
    X(PUBLIC_PATH_DOWN, "public_path_down", "the public path fails for all members of the fleet that look")                      \
    X(IDLE_TIMEOUT, "idle_timeout", "connections that say nothing are cut after a fixed time")                                   \
    X(CONNECTION_MAX_AGE, "connection_max_age", "connections are cut at a fixed age, whether they are used or not")              \
    X(HEALTH_URL_FAILS, "health_url_fails", "the WebSocket side is well, a plain HTTP check fails")                              \
    X(PORT_CLOSED, "port_closed", "the WebSocket side is well, a plain TCP check fails")                                         \
    X(NETWORK_LOSS, "network_loss", "packets are lost on the way to the server")                                                 \
    X(NETWORK_SLOW, "network_slow", "the way to the server is slow, and the server is not")                                      \
    X(SERVER_SLOW, "server_slow", "the server answers later than slo allows")                                                    \
    X(CHECK_FAILING, "check_failing", "a check fails; its own reason says why")                                                  \
    X(CHECK_WARNING, "check_warning", "a check warns; its own reason says why")

#define CAUSE_ENUM(id, ...) CAUSE_##id,
enum cause { CAUSE_LIST(CAUSE_ENUM) CAUSE_COUNT };

/* X(id, text): what holds of the main fault and around it; `wshealthd explain` says it in these words. WORKS: another check of that kind on the
 * same path passes, and has passed since the fault began; see works() in diagnose.c. ON: the main check is such a one. */
#define FACT_LIST(X)                                                                               \
    X(FRESH_WORKS, "another check still opens new connections on the same path")                   \
    X(PING_WORKS, "a ping check passes")                                                           \
    X(ECHO_WORKS, "an echo check passes")                                                          \
    X(SUBSCRIBE_WORKS, "another subscribe check passes")                                           \
    X(HTTP_WORKS, "an http check passes")                                                          \
    X(LOCAL_WORKS, "the check is on the public path, and the local one is well")                   \
    X(PUBLIC_WORKS, "the public path works")                                                       \
    X(LOCAL_SAME_WORKS, "the same check passes on the local path")                                 \
    X(PUBLIC_MIXED, "on the public path some rounds pass and others fail")                         \
    X(IDLE_CUT, "of its connections those that say nothing are cut, and one that is pinged lives") \
    X(AGE_CUT, "its silent connections are cut, and the one that is pinged at the same age")       \
    X(HELD_LIVES, "connections that were open before live on")                                     \
    X(SAID_GOODBYE, "the server has said goodbye to open connections a moment ago")                \
    X(HTTP2_ONLY, "over HTTP/1.1 the same path works, and over HTTP/2 it does not")                \
    X(HTTP1_ONLY, "over HTTP/2 the same path works, and over HTTP/1.1 it does not")                \
    X(H2_NOT_ALLOWED, "the server speaks HTTP/2 and does not allow WebSockets over it")            \
    X(H2_NOT_SPOKEN, "the server does not speak HTTP/2")                                           \
    X(RESENT, "the kernel had to send segments of this round again")                               \
    X(UNACKNOWLEDGED, "the kernel sends again and again, and nobody acknowledges it")              \
    X(FAR, "the round trips that the kernel measured make up most of the time")                    \
    X(PEER_LOST, "the server has no connection to that broker, which answers the agent")           \
    X(PEER_NEVER, "none has been seen since the agent began")                                      \
    X(PEER_ELSEWHERE, "heartbeats of that broker come through the server all the same")            \
    X(PEER_HOLDS, "the server itself is connected to that broker")                                 \
    X(PEER_UNREACHED, "what the server sends to its broker is not acknowledged")                   \
    X(PEER_UNREAD, "the server does not read what its broker sends")                               \
    X(TOKEN_OVER, "the agent's own token has expired")                                             \
    X(BROKER_LATE, "the broker is late as well")                                                   \
    X(AGENT_LATE, "the agent itself was late a moment ago")                                        \
    X(ON_WEBSOCKET, "the check speaks WebSocket")                                                  \
    X(ON_SESSION, "the check keeps its connections open")                                          \
    X(ON_PING, "the check is a ping")                                                              \
    X(ON_TRIAL, "the check tries what the server is to refuse")                                    \
    X(ON_HTTP, "the check is plain HTTP")                                                          \
    X(ON_TCP, "the check opens a port only")                                                       \
    X(ON_BROKER, "the check is that of a broker")                                                  \
    X(IS_SHARED, "the fault hits all instances")                                                   \
    X(NEVER_ARRIVED, "no heartbeat has come through since the agent began")                        \
    X(SOME_ADDRESSES, "some addresses of the name fail, and others do not (each_address)")         \
    X(IS_WARNING, "the check only warns")

#define FACT_INDEX(id, text) FACT_INDEX_##id,
enum { FACT_LIST(FACT_INDEX) FACT_COUNT };
/* An enum of 64 bits: both compilers take it in C11, where the standard only does from C23 on. */
#define FACT_BIT(id, text) id = UINT64_C(1) << FACT_INDEX_##id,
enum { FACT_LIST(FACT_BIT) };
_Static_assert(FACT_COUNT <= 64, "a set of facts is a uint64_t");

enum { RULE_REASONS = 8, RULE_BESIDE = 4, RULE_ADVICE = 3 };

struct rule {
    enum cause cause;
    uint64_t need, without;            /* all of need, none of without */
    enum reason reasons[RULE_REASONS]; /* one of these; none: any */
    enum reason beside[RULE_BESIDE];   /* another check has a fault or a warning of one of these; none: no other is asked for */
    int low, high; /* range of the close code (closed_by_server, login_rejected), the broker's hint or HTTP status (else); 0: any */
    /* No full stop: the check's message may follow. {broker} is the broker's name, or "the broker"; {where} the address that the main check
     * uses, in words; {length} how long its connections lived that were cut; {peer} what the server is not connected to, or does not get on
     * with. NULL: the reason's help */
    const char *plain;
    const char *advice[RULE_ADVICE];
};

/* All rules, in order: the first that fits wins. Ends with a set without rules. The last rules of the last set fit everything. */
struct rule_set {
    const struct rule *rules;
    const size_t *count;
};
extern const struct rule_set diagnose_rule_sets[];
/* Two faults of which one explains the other. */
extern const struct rule diagnose_pair_rules[];
extern const size_t diagnose_pair_rule_count;
/* The server's limits, and what its promises to clients are. */
extern const struct rule diagnose_server_rules[];
extern const size_t diagnose_server_rule_count;
/* What works over one address of a name and not over another. */
extern const struct rule diagnose_address_rules[];
extern const size_t diagnose_address_rule_count;
/* What works over one version of HTTP and not over the other. */
extern const struct rule diagnose_http_rules[];
extern const size_t diagnose_http_rule_count;
/* Certificates, and what fails on the public path only. */
extern const struct rule diagnose_path_rules[];
extern const size_t diagnose_path_rule_count;
/* What two files of rules advise alike. */
#define ADVICE_ACCEPT_QUEUE                                                                                                  \
    { "See `ss -ltn`: Recv-Q is how many wait, Send-Q how many may; `nstat -az TcpExtListenOverflows` counts those lost",    \
      "If it comes in peaks: a longer queue, `sysctl net.core.somaxconn=4096` and the server's own backlog (listen, nginx: " \
      "`listen ... backlog=4096`)",                                                                                          \
      "If Recv-Q stays high, the server's event loop is blocked: take a stack dump" }
#define ADVICE_CPU                                                                                                           \
    { "Look at what it computes: `perf top -p PID`, or a profile of its own; one core at 100% is an event loop that blocks", \
      "Add instances or CPU; if the load is not wanted, find the clients or the channel that it comes from",                 \
      "In a container, look at throttling (cpu.stat nr_throttled): a CPU limit slows it down long before 100%" }

#define WHERE_LOST \
    "`mtr` to the address, and `ip -s link` on both hosts, show where packets are lost: a full link, a bad cable, a firewall"
#define KERNEL_FIGURES "The trace of the round has the kernel's figures: `wshealthd status --evidence CHECK`"
#define ADVICE_LOSS                                                                                                          \
    { WHERE_LOST, "A firewall or NAT that has forgotten the connection drops what belongs to it: new connections work then", \
      KERNEL_FIGURES }
#define ADVICE_RESENT                                                                                                          \
    { WHERE_LOST,                                                                                                              \
      "Where the address leads, `nstat -az TcpExtListenOverflows TcpExtListenDrops` counts what a full accept queue has lost", \
      KERNEL_FIGURES }
#define ADVICE_NETWORK_SLOW                                                                                                    \
    { "Compare the round trip in the trace (`wshealthd status --evidence CHECK`) with `ping` to that address: distance, or a " \
      "full link",                                                                                                             \
      "If it grew: look for traffic that fills the link, a VPN or a detour on the way (`mtr`)",                                \
      "If it is the distance, set slo to what the distance allows" }

/* What is told by the reason alone, whatever works around it: brokers, delivery, what a dialect says. */
extern const struct rule diagnose_broker_rules[];
extern const size_t diagnose_broker_rule_count;
extern const struct rule diagnose_rules[];
extern const size_t diagnose_rule_count;

/* Of a cause that no fault of a check leads to (healthy, draining): its sentence and advice. NULL: a rule has them. */
const struct rule *cause_own_rule(enum cause cause);

const char *cause_name(enum cause cause);
const char *cause_help(enum cause cause);

#endif
