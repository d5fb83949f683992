/*
 * Owns the rules of the diagnosis about brokers, delivery and dialects, in order: the first that fits wins. Called by diagnose.c before the
 * other rules: these reasons are told apart by themselves. {broker} stands for the broker's name. Of a shared fault diagnose.c adds what it
 * means for this instance.
 */
#include "agent/core/broker.h"
#include "agent/report/diagnose_rules.h"

#define R(name) REASON_##name
#define ADVICE_RECONNECT                                                                                                           \
    { "Look at the server's log for its last reconnect to the broker: an error, a password that was changed, a pool that gave up", \
      "If other instances are connected it is this one: drain it, restart it, and see whether it comes back",                      \
      "If none of them is: the way from the servers to the broker is closed, and restarting does not help" }

const struct rule diagnose_broker_rules[] = {
    /* --- the broker, for everybody --------------------------------------------------------------------------------------- */
    {
        .cause = CAUSE_BROKER_ABSENT,
        .reasons = { R(BROKER_NOT_DELIVERING), R(BROKER_UNREACHABLE) },
        .low = BROKER_HINT_ABSENT,
        .high = BROKER_HINT_ABSENT,
        .plain = "{broker} runs, and does not have what the configuration names",
        .advice = { "Compare the virtual host, exchange, topic or stream in brokers with those of the broker: names are "
                    "case-sensitive",
                    "If it was there before: it has been deleted, or the broker has lost its data and came back empty",
                    "The server under test may use the same: see its log" },
    },
    {
        .cause = CAUSE_BROKER_FULL,
        .reasons = { R(BROKER_UNREACHABLE) },
        .low = BROKER_HINT_FULL,
        .high = BROKER_HINT_FULL,
        .plain = "{broker} runs, and takes no more connections: a limit is reached",
        .advice = { "Look who holds the connections: a client that leaks them, or many instances that came at once",
                    "Raise the limit (of the virtual host, the user, or the whole broker) when they are all wanted",
                    "Servers that lose their connection now will not get it back: do not restart them" },
    },
    {
        .cause = CAUSE_BROKER_UNTRUSTED,
        .reasons = { R(BROKER_UNREACHABLE) },
        .low = BROKER_HINT_UNTRUSTED,
        .high = BROKER_HINT_UNTRUSTED,
        .plain = "{broker} runs, and the agent does not believe its certificate",
        .advice = { "Compare brokers.tls.ca_file with the authority that has signed the broker's certificate: one of them was "
                    "rotated",
                    "See its names and its last day: openssl s_client -connect HOST:PORT -showcerts",
                    "The server under test has trust of its own: whether it is hit too, its log knows" },
    },
    {
        .cause = CAUSE_BROKER_AUTH,
        .reasons = { R(BROKER_AUTH_FAILED) },
        .low = BROKER_HINT_OLD_CLIENT,
        .high = BROKER_HINT_OLD_CLIENT,
        .plain = "The login at {broker} fails, and the client library of this agent is known to fail there with good credentials",
        .advice = { "Use sasl_mechanism: PLAIN (over TLS), or an agent with librdkafka 2.6.1 or later",
                    "Prove the credentials with another client before they are changed",
                    "The server under test is not hit by this unless it uses the same library" },
    },
    {
        .cause = CAUSE_BROKER_AUTH,
        .reasons = { R(BROKER_AUTH_FAILED) },
        .plain = "The credentials for {broker} are refused",
        .advice = { "Compare the user and password of brokers.url with the broker's: rotated, expired, or without a permission",
                    "Use ${file:...} for a password that is rotated: it is read anew for every connection",
                    "The server may have credentials of its own: whether its clients are hit, the server's log knows" },
    },
    {
        .cause = CAUSE_BROKER_READ_ONLY,
        .reasons = { R(BROKER_READ_ONLY) },
        .plain = "Writes to {broker} are refused: it answers, but it is read-only, and what is published there may not arrive",
        .advice = { "See whether the address leads to a replica: after a failover the primary is elsewhere",
                    "If it is the primary: its disk is full, or saving to it fails; the broker's log names it",
                    "Let clients follow failovers by themselves (Sentinel, Cluster), not by a fixed address" },
    },
    {
        .cause = CAUSE_BROKER_BLOCKED,
        .reasons = { R(BROKER_BLOCKED) },
        .plain = "Nothing can be published on {broker}: it holds publishers back",
        .advice = { "Look at its memory and disk alarms: publishing goes on when they are over",
                    "Look for the queue that grows: a consumer is gone or too slow",
                    "Its own health check may be green all the while: connections and consumers are not held back" },
    },
    {
        .cause = CAUSE_BROKER_FROZEN,
        .reasons = { R(BROKER_TIMEOUT) },
        .plain = "No answer comes from {broker}: it is frozen or overloaded, or the network swallows packets",
        .advice = { "Look at the broker's host: CPU, memory, swap, a stopped process, one long command",
                    "If it is well and idle: look at the network in between, from this host to the broker",
                    "If it only needs longer, raise the broker's timeout" },
    },
    {
        .cause = CAUSE_BROKER_NOT_DELIVERING,
        .reasons = { R(BROKER_NOT_DELIVERING) },
        .plain = "Messages published on {broker} are taken and delivered to nobody, not even to the agent itself",
        .advice = { "On a cluster: look whether its nodes see each other, and whether a part of it has lost its leader",
                    "See that both sides use the same channel, exchange or subject, and the same database or vhost",
                    "Restarting this server does not help" },
    },
    {
        .cause = CAUSE_BROKER_DOWN,
        .need = PEER_HOLDS,
        .reasons = { R(BROKER_UNREACHABLE) },
        .plain =
            "The agent has no connection to {broker}, and the server has one: the way from the agent is closed, or the broker has "
            "just gone without a word",
        .advice = { "Compare host, port and scheme of brokers.url with what the server connects to (`ss -tnp`)",
                    "Look for what lets the server in and not the agent: a firewall, a list of addresses, a limit of connections",
                    "If it is the broker's host that is gone, the server's connection ends within minutes" },
    },
    {
        .cause = CAUSE_BROKER_DOWN,
        .reasons = { R(BROKER_UNREACHABLE) },
        .plain = "No connection to {broker}: it is down, or the way to it is closed",
        .advice = { "See whether the broker runs, and what its log said last; restarting this server does not help",
                    "Ask another instance's agent: if that one is well, it is the way from this host",
                    "Check host, port and scheme of brokers.url: a TLS port hangs up on a plain connection" },
    },
    {
        .cause = CAUSE_BROKER_SLOW,
        .need = ON_BROKER | PEER_LOST,
        .without = PEER_NEVER,
        .reasons = { R(SLOW) },
        .plain = "Answers from {broker} come later than slo allows, and the server has lost its connection to it",
        .advice = { "Look at the broker's CPU, its slow commands, and the network to it: the server may have given up for the same "
                    "cause",
                    "Look at the server's log for its last reconnect; restart it only if it does not come back by itself" },
    },
    {
        .cause = CAUSE_BROKER_SLOW,
        .need = ON_BROKER,
        .reasons = { R(SLOW) },
        .plain = "Answers from {broker} come later than slo allows",
        .advice = { "Look at the broker's CPU, its slow commands, and the network to it",
                    "wshealthd_broker_rtt_seconds shows since when" },
    },

    /* --- this server, between the broker and its clients ---------------------------------------------------------------- */
    /* What the kernel's table of the server's connections says (`peers` of a server check): known without a test channel. */
    {
        .cause = CAUSE_CHECK_WARNING,
        .need = PEER_ELSEWHERE,
        .reasons = { R(SERVER_PEER_LOST) },
        .plain = "The server has no connection to {peer} at its address, and yet heartbeats come through it: it is connected in "
                 "another way",
        .advice = { "Compare the address in peers with what the server connects to (`ss -tnp`): a proxy, another node of a "
                    "cluster, or the primary after a failover has another one",
                    "Messages are delivered: do not restart the server for this" },
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .need = PEER_LOST,
        .without = PEER_NEVER,
        .reasons = { R(DELIVERY_LOST) },
        .plain =
            "The server has lost its connection to {peer}, which answers the agent: what is published there does not reach its "
            "clients",
        .advice = ADVICE_RECONNECT,
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .need = PEER_LOST,
        .without = PEER_NEVER,
        .reasons = { R(SUBSCRIBE_TIMEOUT), R(ECHO_TIMEOUT), R(SCRIPT_TIMEOUT), R(DELIVERY_SLOW) },
        .plain = "The server has lost its connection to {peer}, which answers the agent, and what the check asks may wait for it",
        .advice = ADVICE_RECONNECT,
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .need = PEER_LOST,
        .without = PEER_NEVER,
        .reasons = { R(SERVER_PEER_LOST) },
        .plain = "The server has lost its connection to {peer}, which answers the agent: the kernel's table of its connections has "
                 "none",
        .advice = ADVICE_RECONNECT,
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .need = PEER_LOST | PEER_NEVER,
        .reasons = { R(SERVER_PEER_LOST) },
        .plain = "The server has no connection to {peer}, which answers the agent, and has had none since the agent began",
        .advice = { "Look at the server's log for its attempts to connect: address, credentials, TLS, a firewall on the way",
                    "Compare the address in peers with what the server connects to (`ss -tnp`): behind a proxy or in a cluster it "
                    "is another one",
                    "If other processes of the service hold the connection, set pid_file or unit to theirs" },
    },
    {
        .cause = CAUSE_SERVER_WITHOUT_PEER,
        .reasons = { R(SERVER_PEER_LOST) },
        .plain = "The server has no connection to {peer}, which it must be connected to; whether {peer} is well is not known here",
        .advice = { "See whether it runs and can be reached from the server's host; if it is down, do not restart the server for "
                    "it",
                    "If it is well: look at the server's log for its last reconnect",
                    "A broker that has the same name in brokers and in peers is asked by the agent itself, and then it is known" },
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .need = PEER_UNREAD,
        .reasons = { R(DELIVERY_LOST) },
        .plain = "The server is connected to {peer} and does not read what comes from it: its messages do not reach the clients",
        .advice = { "Take a stack dump of the server: the part that reads from the broker hangs, or waits for slow clients",
                    "Look at its memory and CPU, then restart it" },
    },
    {
        .cause = CAUSE_DELIVERY_SLOW,
        .need = PEER_UNREAD,
        .reasons = { R(DELIVERY_SLOW) },
        .plain = "Messages come late through this server: it does not read fast enough what comes from {peer}",
        .advice = { "Look at the server's CPU and event loop: what waits in its socket is what it does not get to",
                    "A broker drops a consumer that reads too slowly (Redis: client-output-buffer-limit): mend it before that",
                    "Restarting the broker does not help" },
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .reasons = { R(DELIVERY_LOST) },
        .low = BROKER_HINT_UNHEARD,
        .high = BROKER_HINT_UNHEARD,
        .plain = "The server does not bring its clients what {broker} takes for it",
        .advice = { "Look whether other instances pass: if they do, restart this one, or let it read from the broker anew",
                    "Look at the server's log for its last reconnect to the broker",
                    "If it has never worked: compare the key and form of publish.command with the server's own" },
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .need = NEVER_ARRIVED,
        .reasons = { R(DELIVERY_LOST) },
        .plain = "What is published on {broker} has never reached this server's clients, though the broker delivers to the agent",
        .advice = { "Compare the topic and form of what the check publishes with the server's own (publish, message): see config "
                    "show",
                    "If other instances deliver with the same configuration: this one has no subscription on the broker, restart "
                    "it" },
    },
    {
        .cause = CAUSE_SERVER_DETACHED,
        .reasons = { R(DELIVERY_LOST) },
        .plain = "The server has lost its subscription: messages published on {broker} do not reach its clients, though the broker "
                 "delivers to the agent",
        .advice = { "It is this instance only: restart the server, or let it subscribe anew if it can",
                    "Look at the server's log for its last reconnect to the broker: many come back without their subscriptions" },
    },
    {
        .cause = CAUSE_BROKER_SLOW,
        .need = BROKER_LATE,
        .reasons = { R(DELIVERY_SLOW) },
        .plain = "Messages come late from {broker} itself: the agent's own subscription is as late as the server's clients",
        .advice = { "Look at the broker's CPU, its slow commands or consumers that lag, and the network to it",
                    "Restarting this server does not help: all instances wait for the same broker",
                    "wshealthd_delivery_seconds{leg=\"control\"} shows since when" },
    },
    {
        .cause = CAUSE_DELIVERY_SLOW,
        .need = PEER_UNREACHED,
        .reasons = { R(DELIVERY_SLOW) },
        .plain =
            "Messages come late through this server, and what it sends to {peer} is not acknowledged: the way between the two is "
            "slow, or {peer} does not read",
        .advice = { "Look at the network from the server to it (`ss -tni`: retrans, unacked): it is not the agent's own way",
                    "Look whether other instances are as late: then it is the broker",
                    "Restarting the server does not help while that lasts" },
    },
    {
        .cause = CAUSE_DELIVERY_SLOW,
        .reasons = { R(DELIVERY_SLOW) },
        .plain = "Messages published on {broker} come late through this server, though the broker is in time",
        .advice = { "Compare the legs in wshealthd_delivery_seconds: only websocket is slow, so it is this server",
                    "Look at the server's CPU and event loop, and at clients that read too slowly to be sent to" },
    },

    /* --- what the server says in its dialect ------------------------------------------------------------------------------ */
    /* Pusher's codes for a quota that is used up (https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol). */
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(LOGIN_REJECTED) },
        .low = 4004,
        .high = 4004,
        .plain = "The server turns new connections away: the application's quota is used up",
        .advice = { "Compare the number of connections with the application's limit", "Raise the limit, or look for clients that "
                                                                                      "leave connections behind" },
    },
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(LOGIN_REJECTED) },
        .low = 4100,
        .high = 4100,
        .plain = "The server turns new connections away: it is over its capacity",
        .advice = { "Compare the number of connections with the server's or the application's limit",
                    "Raise the limit, or add instances" },
    },
    {
        .cause = CAUSE_LOGIN_REFUSED,
        .reasons = { R(LOGIN_REJECTED) },
        .plain = "The connection is made, and the server refuses what the client says first: the token, or the dialect",
        .advice = { "Check target.token and target.token_in: expired, rotated, or without a permission",
                    "Compare target.dialect with what the server speaks, and its version",
                    "If users are turned away too, look at the service that issues or verifies tokens" },
    },
    {
        .cause = CAUSE_SUBSCRIPTION_REFUSED,
        .reasons = { R(SUBSCRIBE_REJECTED) },
        .plain = "The server refuses the subscription",
        .advice = { "See that the channel exists, and that the probe's token may subscribe to it",
                    "Read the answer that the check shows: it often says what is wrong",
                    "If the subscription's form is the application's own, put it into the check (subscribe:)" },
    },
    {
        .cause = CAUSE_SUBSCRIPTION_UNCONFIRMED,
        .need = SUBSCRIBE_WORKS,
        .reasons = { R(SUBSCRIBE_TIMEOUT) },
        .plain = "The server confirms some subscriptions and not others",
        .advice = { "Compare the channels: what differs is the suspect (a shard, a namespace, a permission)",
                    "Look at the server's log for the time of the last round" },
    },
    {
        .cause = CAUSE_SUBSCRIPTION_UNCONFIRMED,
        .reasons = { R(SUBSCRIBE_TIMEOUT) },
        .plain = "The connection is open, and the server does not confirm the subscription",
        .advice = { "Compare target.dialect with what the server speaks: an unknown request may just be ignored",
                    "If it worked before: the server waits for something before it confirms, often its broker or its database" },
    },
};
const size_t diagnose_broker_rule_count = sizeof diagnose_broker_rules / sizeof diagnose_broker_rules[0];
