/*
 * Owns the rules of the diagnosis about the server's limits, and about what it promises its clients: who may come in, what may be sent, what
 * is restored. In order: the first that fits wins. Called by diagnose.c. What these faults explain beside them is in diagnose_rules_pairs.c.
 */
#include "agent/report/diagnose_rules.h"

#define R(name) REASON_##name

const struct rule diagnose_server_rules[] = {
    /* --- limits ------------------------------------------------------------------------------------------------------------ */
    {
        .cause = CAUSE_DESCRIPTORS_EXHAUSTED,
        .reasons = { R(SERVER_FDS_HIGH) },
        .plain = "The server is near its limit of open descriptors: when it is reached, new connections fail while old ones live",
        .advice = { "Raise the limit: LimitNOFILE=65536 in its systemd unit, or `ulimit -n` before it starts; without a restart: "
                    "`prlimit --pid PID --nofile=65536`",
                    "See what they are: `ls -l /proc/PID/fd | grep -c socket`; if they are far more than its connections, it leaks "
                    "them" },
    },
    {
        .cause = CAUSE_CONNECTION_LIMIT,
        .reasons = { R(SERVER_CONNECTIONS_HIGH) },
        .plain = "The server holds more connections than it should",
        .advice = { "Add instances, or raise max_connections where the server can take more",
                    "Look for clients that leave connections behind: many from one address in `ss -tn`",
                    "See whether the load balancer spreads connections: leastconn, not roundrobin, for connections that last" },
    },
    {
        .cause = CAUSE_RECONNECT_STORM,
        .reasons = { R(SERVER_CHURN_HIGH) },
        .plain = "Connections come and go much faster than usual: clients reconnect again and again",
        .advice = { "Look at the close codes in the server's log: what ends the connections is the cause",
                    "If it began with a release of the clients, suspect that: a client that cannot log in comes back at once",
                    "Clients must wait longer each time, with jitter" },
    },
    {
        .cause = CAUSE_MASS_DISCONNECT,
        .reasons = { R(SERVER_CONNECTIONS_DROPPED) },
        .plain = "Many clients were disconnected at once, while the server runs on",
        .advice = { "If they come through a proxy: was it reloaded or restarted? Many cut open connections then (haproxy: "
                    "hard-stop-after, nginx: worker_shutdown_timeout)",
                    "Look at the server's log for this moment: a worker that died, an operator, a network that was cut",
                    "They all come back now: watch CPU and accept queue, and do not restart anything" },
    },
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(SERVER_CPU_HIGH) },
        .plain = "The server's CPU is used up",
        .advice = ADVICE_CPU,
    },
    {
        .cause = CAUSE_MEMORY_GROWTH,
        .reasons = { R(SERVER_MEMORY_HIGH) },
        .plain = "The server uses more memory than it should: at the end of it the kernel kills it, and all its clients come back "
                 "at once",
        .advice = { "Compare its memory with its connections (wshealthd_server_resident_bytes): if it grows without them, it leaks",
                    "Look for clients that read too slowly: what is not sent stays in the server's memory; limit it for each "
                    "connection",
                    "Drain the instance and restart it before the kernel does" },
    },
    {
        .cause = CAUSE_ACCEPT_QUEUE_FULL,
        .reasons = { R(SERVER_BACKLOG_HIGH) },
        .plain = "The server's accept queue fills up: when it is full, new connections wait or are lost",
        .advice = ADVICE_ACCEPT_QUEUE,
    },
    {
        .cause = CAUSE_SERVER_DOWN,
        .reasons = { R(SERVER_GONE) },
        .plain = "The server's process or its listening socket is gone",
        .advice = { "See why it ended: its log, `journalctl -u UNIT`, an OOM kill in `journalctl -k`",
                    "If it listens elsewhere now: compare its port with the URL, or set port, pid_file or unit in the check" },
    },

    /* --- who may come in ----------------------------------------------------------------------------------------------------- */
    /* Warnings of checks that mean to be refused: their reasons say how a bad token was refused, or what is a matter of taste. */
    {
        .cause = CAUSE_CLOCK_SKEW,
        .need = ON_TRIAL | IS_WARNING,
        .reasons = { R(AUTH_REJECTED), R(AUTH_NOT_ENFORCED) },
        .plain = "The clocks of the server and of this host differ, and a token is valid for one of them only",
        .advice = { "Compare `date -u` here and on the server's host; `timedatectl` says whether each is synchronized",
                    "If it is the server's clock, its users are refused as well: mend that first" },
    },
    {
        .cause = CAUSE_ORIGIN_NOT_ENFORCED,
        .need = ON_TRIAL | IS_WARNING,
        .reasons = { R(ORIGIN_NOT_ENFORCED) },
        .plain =
            "The server compares a part of the Origin only: a page of the same host without TLS, or on another port, is let in",
        .advice = { "Let the server compare the Origin as a whole, with scheme and port",
                    "If that is as it should be, set lookalikes: false on the check" },
    },
    {
        .cause = CAUSE_CHECK_WARNING,
        .need = ON_TRIAL | IS_WARNING,
        .reasons = { R(UPGRADE_REFUSED), R(UPGRADE_REDIRECT), R(CONNECTION_RESET), R(CLOSED_BY_SERVER), R(CLOSED_ABNORMAL),
                     R(UPGRADE_TIMEOUT) },
        .plain = "The server does not take what is bad, but says so in another way than the check awaits",
        .advice = { "If that is how this server refuses, add it to the check (refuse_with, expiry.code)",
                    "A 5xx, or a connection that is cut, may be a crash: look at the server's log for the time of the last round" },
    },
    {
        .cause = CAUSE_TOKEN_EXPIRED,
        .need = TOKEN_OVER,
        .reasons = { R(UPGRADE_UNAUTHORIZED), R(LOGIN_REJECTED), R(CLOSED_BY_SERVER) },
        .plain = "The probe's own token has expired, and the server refuses it rightly",
        .advice = { "Renew the token, or let it renew itself: `token: ${file:...}` is read anew for every connection",
                    "If it was renewed and is refused all the same, compare this host's clock with the server's: `timedatectl`",
                    "Do not restart the server for this" },
    },
    {
        .cause = CAUSE_TOKEN_EXPIRED,
        .reasons = { R(AUTH_REFRESH_FAILED) },
        .plain = "No fresh token can be had: the service that issues tokens fails, or refuses the probe",
        .advice = { "Look at the token service (refresh.url): users cannot log in or renew their sessions either",
                    "Check client_id, client_secret and the audience that the probe asks for",
                    "The server itself may be well: do not restart it for this" },
    },
    {
        .cause = CAUSE_TOKEN_REFUSED,
        .reasons = { R(AUTH_REJECTED) },
        .plain = "The server refuses a valid token: its users are turned away",
        .advice = { "Look at what the server verifies with: a rotated key (JWKS), an issuer or audience that has changed, its "
                    "cache of keys",
                    "Compare the clocks of the server and of the token service: a token from the future is refused, too",
                    "If the token service is down, the server may not be able to verify anything: look there first" },
    },
    {
        .cause = CAUSE_AUTH_NOT_ENFORCED,
        .reasons = { R(AUTH_NOT_ENFORCED) },
        .plain = "The server lets clients in without a valid token: anybody can read and write",
        .advice = { "Treat it as a security incident: what is behind this server is open to everybody who reaches it",
                    "If it began with a release, roll that back; look for a debug switch, or a middleware that was left out",
                    "If only the public path is guarded, close the local port to others" },
    },
    {
        .cause = CAUSE_AUTH_EXPIRY_IGNORED,
        .reasons = { R(AUTH_EXPIRY_IGNORED) },
        .plain = "Sessions go on after their token has expired: a user who was locked out stays in",
        .advice = { "Let the server close the session at the token's exp (1008 or a code of its own), or ask for a new token",
                    "Until then a revoked user is out only when the server restarts" },
    },
    {
        .cause = CAUSE_ORIGIN_TOO_STRICT,
        .reasons = { R(ORIGIN_REJECTED) },
        .plain = "The server refuses the configured Origin: browsers on that page cannot connect",
        .advice = { "Compare the Origin with the server's list, as text: scheme, host, port, no slash at the end",
                    "A proxy that changes Host can do it: some servers want Origin and Host to be equal (nginx: `proxy_set_header "
                    "Host $host`)" },
    },
    {
        .cause = CAUSE_ORIGIN_NOT_ENFORCED,
        .reasons = { R(ORIGIN_NOT_ENFORCED) },
        .plain = "The server takes connections from foreign pages: with cookies, any page can act in its visitor's name",
        .advice = { "Let the server compare Origin with a list, as whole strings: not by a suffix, not by a pattern without "
                    "anchors",
                    "Where tokens and no cookies identify the user, this is less urgent, and the check may be told so (absent, "
                    "null)" },
    },

    /* --- what may be sent, and what is restored ---------------------------------------------------------------------------- */
    {
        .cause = CAUSE_FRAME_LIMIT,
        .need = LOCAL_SAME_WORKS,
        .reasons = { R(PAYLOAD_LIMIT) },
        .plain = "The server takes messages of this size, and something in front of it does not",
        .advice = { "Look for the limit on the way: a WAF or CDN, AWS API Gateway (32 KiB a frame, 128 KiB a message), a WebSocket "
                    "proxy",
                    "A proxy that only passes bytes (nginx, haproxy) has no such limit" },
    },
    {
        .cause = CAUSE_FRAME_LIMIT,
        .reasons = { R(PAYLOAD_LIMIT) },
        .plain = "Messages from a certain size on do not pass",
        .advice = { "Raise the server's limit (ws: maxPayload, websockets: max_size, Socket.IO: maxHttpBufferSize, Spring: "
                    "setMessageSizeLimit), or set max: to what it should take",
                    "If only fragmented or compressed messages fail, the library is at fault, not the limit" },
    },
    {
        .cause = CAUSE_RECONNECT_SLOW,
        .reasons = { R(RECONNECT_SLOW) },
        .plain = "A client that loses its connection comes back too slowly",
        .advice = { "See which phase takes the time: connect points to the accept queue, tls to CPU, upgrade to authentication, "
                    "open to the subscription",
                    "After an outage all clients come at once: what is slow for one is minutes for all" },
    },
    {
        .cause = CAUSE_STATE_NOT_RESTORED,
        .reasons = { R(RESUME_FAILED) },
        .plain = "A client that comes back does not get its subscription or its missed messages back",
        .advice = { "If several instances are behind one address: is the session kept where all of them see it, or is routing "
                    "sticky?",
                    "Look at how long the server keeps a session for its client, and at how many messages it keeps",
                    "If it comes with a release: sessions in the memory of a process end with it, and the form of a resume token "
                    "may have "
                    "changed" },
    },
};
const size_t diagnose_server_rule_count = sizeof diagnose_server_rules / sizeof diagnose_server_rules[0];
