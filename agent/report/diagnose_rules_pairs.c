/*
 * Owns the rules about two faults of which one explains the other, in order: the first that fits wins, so what explains most stands first.
 * Called by diagnose.c before all other rules. The main check's fault is in `reasons`, the other check's in `beside`; the sentence ends with
 * what both checks have measured. What has one fault only is in the other files.
 */
#include "agent/report/diagnose_rules.h"

#define R(name) REASON_##name
#define ADVICE_CLOCKS                                                                                                       \
    { "Compare `date -u` here, on the server's host and on the one that issues tokens; `timedatectl` says whether each is " \
      "synchronized",                                                                                                       \
      "Mend the clock first: certificate and token may be good" }
#define ADVICE_MESSAGE_LOAD                                                     \
    { "Add instances, or let the load balancer send new connections elsewhere", \
      "Look for one channel or message that goes to everybody: work grows with the connections then" }
#define LET_FEWER_IN                                                                                                       \
    "Let fewer in at once: a limit of new connections at the proxy (haproxy: `maxconn` and `rate-limit sessions`, nginx: " \
    "`limit_req`)"

/* What a server does that cannot take more connections. */
#define CANNOT_ENTER \
    R(CONNECT_REFUSED), R(CONNECT_TIMEOUT), R(TLS_HANDSHAKE_FAILED), R(CONNECTION_RESET), R(UPGRADE_TIMEOUT), R(CLOSED_ABNORMAL)

const struct rule diagnose_pair_rules[] = {
    /* --- clocks, tokens, origins ------------------------------------------------------------------------------------------ */
    {
        .cause = CAUSE_CLOCK_SKEW,
        .reasons = { R(TLS_CERT_NOT_YET_VALID) },
        .beside = { R(UPGRADE_UNAUTHORIZED), R(AUTH_REJECTED), R(LOGIN_REJECTED) },
        .plain = "A certificate is not valid yet and tokens are refused as well: a clock is wrong, here or on the server",
        .advice = ADVICE_CLOCKS,
    },
    {
        .cause = CAUSE_CLOCK_SKEW,
        .reasons = { R(UPGRADE_UNAUTHORIZED), R(AUTH_REJECTED), R(LOGIN_REJECTED) },
        .beside = { R(TLS_CERT_NOT_YET_VALID) },
        .plain = "Tokens are refused, and a certificate is not valid yet: a clock is wrong, here or on the server",
        .advice = ADVICE_CLOCKS,
    },
    {
        .cause = CAUSE_TOKEN_EXPIRED,
        .reasons = { R(UPGRADE_UNAUTHORIZED), R(AUTH_REJECTED), R(LOGIN_REJECTED) },
        .beside = { R(AUTH_REFRESH_FAILED) },
        .plain = "The probe's token is refused, and no fresh one can be had: the service that issues tokens fails",
        .advice = { "Look at the token service first (refresh.url): users cannot log in or renew their sessions either",
                    "Check client_id, client_secret and the audience that the probe asks for",
                    "The server itself may be well: do not restart it for this" },
    },
    {
        .cause = CAUSE_ORIGIN_TOO_STRICT,
        .reasons = { R(UPGRADE_UNAUTHORIZED), R(UPGRADE_REFUSED) },
        .beside = { R(ORIGIN_REJECTED) },
        .plain = "The server refuses the configured Origin, and with it every connection of the probe: browsers of that page are "
                 "refused too",
        .advice = { "Compare target.origin with the server's list, as text: scheme, host, port, no slash at the end",
                    "If a release or a new domain came before it: add the new origin to the server's list" },
    },

    /* --- the server's limits ------------------------------------------------------------------------------------------------ */
    {
        .cause = CAUSE_DESCRIPTORS_EXHAUSTED,
        .reasons = { CANNOT_ENTER, R(ECHO_TIMEOUT), R(SERVER_BACKLOG_HIGH) },
        .beside = { R(SERVER_FDS_HIGH) },
        .plain = "The server has no file descriptors left: open connections live, new ones are not taken",
        .advice = { "Raise the limit: LimitNOFILE=65536 in its systemd unit, or `ulimit -n` before it starts; without a restart: "
                    "`prlimit --pid PID --nofile=65536`",
                    "See what they are: `ls -l /proc/PID/fd | grep -c socket`; many in CLOSE_WAIT (`ss -tan state close-wait`) are "
                    "a leak of the server's",
                    "Restarting helps for a while, and drops every client at once: drain first" },
    },
    {
        .cause = CAUSE_DESCRIPTORS_EXHAUSTED,
        .reasons = { R(UPGRADE_REFUSED) },
        .beside = { R(SERVER_FDS_HIGH) },
        .low = 500,
        .high = 599,
        .plain = "The server answers with errors and has no file descriptors left",
        .advice = { "Raise the limit: LimitNOFILE=65536 in its systemd unit, or `ulimit -n` before it starts; without a restart: "
                    "`prlimit --pid PID --nofile=65536`",
                    "Look for `too many open files` (EMFILE) in its log" },
    },
    {
        .cause = CAUSE_CONNECTION_LIMIT,
        .reasons = { CANNOT_ENTER, R(UPGRADE_REFUSED), R(CLOSED_BY_SERVER) },
        .beside = { R(SERVER_CONNECTIONS_HIGH) },
        .plain = "The server holds as many connections as it may, and turns new ones away",
        .advice = { "Add instances, or raise the server's maximum of connections together with its descriptors and memory",
                    "Look for clients that leave connections behind: many from one address in `ss -tn`",
                    "See whether the load balancer spreads connections: leastconn, not roundrobin, for connections that last" },
    },
    {
        .cause = CAUSE_RECONNECT_STORM,
        .reasons = { CANNOT_ENTER, R(UPGRADE_REFUSED), R(RATE_LIMITED) },
        .beside = { R(SERVER_CHURN_HIGH) },
        .plain = "Clients reconnect all the time, and new connections do not get through: a reconnect storm",
        .advice = { LET_FEWER_IN, "Clients must wait longer each time, with jitter: those that retry at once keep the storm alive",
                    "Do not restart the server: that sends all its clients into the storm" },
    },
    {
        .cause = CAUSE_RECONNECT_STORM,
        .reasons = { R(SERVER_CONNECTIONS_DROPPED), R(SERVER_CPU_HIGH), R(SERVER_BACKLOG_HIGH), R(SLOW), R(ECHO_TIMEOUT) },
        .beside = { R(SERVER_CHURN_HIGH) },
        .plain = "Clients reconnect all the time, and the server does little else: a reconnect storm",
        .advice = { "Find what disconnects them first: a proxy that was reloaded, a release, a timeout, the network", LET_FEWER_IN,
                    "Do not restart the server: that sends all its clients into the storm" },
    },
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(SLOW), R(DELIVERY_SLOW), R(ECHO_TIMEOUT), R(UPGRADE_TIMEOUT), R(CONNECT_TIMEOUT), R(SILENT_DROP),
                     R(SUBSCRIBE_TIMEOUT), R(SERVER_BACKLOG_HIGH) },
        .beside = { R(SERVER_CPU_HIGH) },
        .plain = "The server is overloaded: its CPU is used up, and answers come late or not at all",
        .advice = ADVICE_CPU,
    },
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(SLOW), R(DELIVERY_SLOW), R(ECHO_TIMEOUT), R(SERVER_CONNECTIONS_HIGH) },
        .beside = { R(SERVER_BACKLOG_HIGH), R(SERVER_CONNECTIONS_HIGH) },
        .plain = "The server is overloaded: it has more connections than it can serve in time",
        .advice = ADVICE_MESSAGE_LOAD,
    },
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(SERVER_BACKLOG_HIGH), R(SERVER_CONNECTIONS_HIGH), R(SERVER_CPU_HIGH) },
        .beside = { R(SLOW), R(DELIVERY_SLOW), R(ECHO_TIMEOUT) },
        .plain = "The server is overloaded: it is at a limit, and answers come late",
        .advice = ADVICE_MESSAGE_LOAD,
    },
    {
        .cause = CAUSE_MEMORY_GROWTH,
        .reasons = { R(SERVER_GONE), CANNOT_ENTER, R(SERVER_CONNECTIONS_DROPPED) },
        .beside = { R(SERVER_MEMORY_HIGH) },
        .plain = "The server's memory had grown beyond its limit, and it fails now: the kernel may have killed it",
        .advice = { "Look for an OOM kill: `journalctl -k | grep -i oom`, `dmesg`, or the container's last state (OOMKilled)",
                    "See what grows with time and not with connections: buffers for slow readers, sessions that are never freed",
                    "Until it is found: restart the instances one after the other, drained, before they reach the limit" },
    },
    {
        .cause = CAUSE_MEMORY_GROWTH,
        .reasons = { R(SLOW), R(DELIVERY_SLOW), R(ECHO_TIMEOUT), R(UPGRADE_TIMEOUT), R(SILENT_DROP) },
        .beside = { R(SERVER_MEMORY_HIGH) },
        .plain = "The server uses too much memory and is slow: it swaps, or collects garbage all the time",
        .advice = { "Look at swap (`vmstat 1`, columns si and so) and at the pauses of its garbage collector",
                    "See what grows: buffers for slow readers, sessions that are never freed; take a heap dump before a restart",
                    "Drain the instance, then restart it" },
    },
    {
        .cause = CAUSE_ACCEPT_QUEUE_FULL,
        .reasons = { CANNOT_ENTER, R(SLOW) },
        .beside = { R(SERVER_BACKLOG_HIGH) },
        .plain = "Connections wait in the server's accept queue: it does not accept them fast enough",
        .advice = ADVICE_ACCEPT_QUEUE,
    },
    {
        .cause = CAUSE_SERVER_DOWN,
        .reasons = { R(CONNECT_REFUSED), R(CONNECT_UNREACHABLE), R(CONNECTION_RESET), R(CLOSED_ABNORMAL) },
        .beside = { R(SERVER_GONE) },
        .plain = "The server's process is gone, and nothing listens on its address",
        .advice = { "See why it ended: its log, `journalctl -u UNIT`, an OOM kill in `journalctl -k`",
                    "If its supervisor restarts it again and again, read the first error after a start" },
    },
    {
        .cause = CAUSE_MASS_DISCONNECT,
        .reasons = { R(CLOSED_ABNORMAL), R(SILENT_DROP), R(CLOSED_BY_SERVER) },
        .beside = { R(SERVER_CONNECTIONS_DROPPED) },
        .plain = "Many clients were disconnected at once, the probe's connections among them, while the server listens on",
        .advice = { "If they went through a proxy: was it reloaded or restarted? Many cut open connections then (haproxy: "
                    "hard-stop-after, nginx: worker_shutdown_timeout)",
                    "If not: look at the server's log for this moment: a worker that died, a deploy, an operator",
                    "They all come back now: watch CPU and accept queue, and do not restart anything" },
    },
};
const size_t diagnose_pair_rule_count = sizeof diagnose_pair_rules / sizeof diagnose_pair_rules[0];
