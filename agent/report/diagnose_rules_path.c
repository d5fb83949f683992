/*
 * Owns the rules of the diagnosis about certificates, and about faults that the public path has and the local one has not: those are of what
 * stands in front of the server. In order: the first that fits wins. Called by diagnose.c.
 */
#include "agent/report/diagnose_rules.h"

#define R(name) REASON_##name
#define ADVICE_UPGRADE_LOST                                                                                                        \
    { "nginx: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";` in that " \
      "location",                                                                                                                  \
      "haproxy: mode http, and nothing that deletes Upgrade or Connection; Envoy: `upgrade_configs: [{ upgrade_type: websocket "   \
      "}]`; ALB: a target group with protocol version HTTP1",                                                                      \
      "A CDN or WAF may need WebSocket to be switched on; and compare the path of target.public_url with the proxy's routes" }

const struct rule diagnose_path_rules[] = {
    /* --- what cuts open connections ------------------------------------------------------------------------------------------ */
    {
        .cause = CAUSE_IDLE_TIMEOUT,
        .need = LOCAL_WORKS | IDLE_CUT,
        .reasons = { R(CLOSED_ABNORMAL), R(CLOSED_BY_SERVER), R(SILENT_DROP) },
        .plain = "On the way to the server connections that say nothing are cut after {length}: the idle timeout of a proxy or "
                 "load balancer",
        .advice = { "Raise it: nginx `proxy_read_timeout` and `proxy_send_timeout`, haproxy `timeout tunnel`, Envoy "
                    "`stream_idle_timeout` (and "
                    "`timeout: 0s` on the route), ALB `idle_timeout.timeout_seconds`",
                    "Or let the server ping more often than that, with a margin: every 20 s passes nearly everything on the "
                    "internet",
                    "Clients that reconnect all the time are the sign of it: compare the age of their connections in the server's "
                    "log" },
    },
    {
        .cause = CAUSE_IDLE_TIMEOUT,
        .need = IDLE_CUT,
        .reasons = { R(CLOSED_ABNORMAL), R(CLOSED_BY_SERVER), R(SILENT_DROP) },
        .plain = "Connections that say nothing are cut after {length}: an idle timeout of the server, or of what is in front of it",
        .advice = { "Look at the server's own timeout first (ws: none, Socket.IO: pingTimeout, Jetty and Tomcat: idle timeout), "
                    "then at proxies: nginx `proxy_read_timeout`, haproxy `timeout tunnel`, Envoy `stream_idle_timeout`",
                    "Let the server ping more often than that: every 20 s passes nearly everything on the internet",
                    "With target.url at the server and target.public_url at the proxy, a hold check on each path tells which it "
                    "is" },
    },
    {
        .cause = CAUSE_CONNECTION_MAX_AGE,
        .need = AGE_CUT,
        .reasons = { R(CLOSED_ABNORMAL), R(CLOSED_BY_SERVER), R(SILENT_DROP) },
        .plain = "Connections are cut at the age of {length}, whether they are used or not: a maximum age, not an idle timeout",
        .advice = { "If it is meant (a server or gateway that recycles its clients), set max_age on the check",
                    "If not: Envoy `max_connection_duration` and the route's `timeout`, AWS API Gateway (2 h), or a timer of the "
                    "server's",
                    "Clients must come back by themselves, with jitter: else they all come at once" },
    },

    /* --- certificates and names: the same advice on either path, and the sentence says which
     * ------------------------------------------------------ */
    {
        .cause = CAUSE_CERTIFICATE_EXPIRED,
        .reasons = { R(TLS_CERT_EXPIRED) },
        .plain = "The certificate {where} has expired: every client that verifies it is turned away",
        .advice = { "Renew the certificate, then reload whatever ends TLS: the server or the proxy in front of it",
                    "If a renewed file is already in place, the running process still holds the old one: reload it",
                    "Watch it with a tls check: it warns 21 days ahead" },
    },
    {
        .cause = CAUSE_CERTIFICATE_NOT_YET_VALID,
        .reasons = { R(TLS_CERT_NOT_YET_VALID) },
        .plain = "The certificate {where} is not valid yet, or a clock is wrong",
        .advice = { "Compare this host's clock with a good one (`timedatectl`): a clock that is behind looks just like this",
                    "Otherwise the certificate was put in place before its time" },
    },
    {
        .cause = CAUSE_CERTIFICATE_UNTRUSTED,
        .reasons = { R(TLS_CERT_UNTRUSTED) },
        .plain = "The certificate {where} does not lead to an authority that the agent trusts",
        .advice = { "A private authority: name its certificate in target.tls.ca_file",
                    "A public one: the server must send the intermediate certificates too, not only its own",
                    "If nothing was changed here, find out who answers on this address" },
    },
    {
        .cause = CAUSE_CERTIFICATE_WRONG_NAME,
        .reasons = { R(TLS_HOSTNAME_MISMATCH) },
        .plain = "The certificate {where} is for another name than the one that was asked for",
        .advice = { "If the URL holds an address and the certificate a name, set target.tls.server_name to that name",
                    "Otherwise the wrong certificate is served: look at the SNI rules of the server or the proxy" },
    },
    {
        .cause = CAUSE_CERTIFICATE_EXPIRING,
        .reasons = { R(TLS_CERT_EXPIRING) },
        .plain = "The certificate {where} expires soon",
        .advice = { "Renew it now, in daylight, and reload whatever ends TLS",
                    "If renewal is automatic, it has failed: look at its last run" },
    },
    {
        .cause = CAUSE_CLIENT_CERTIFICATE_REFUSED,
        .reasons = { R(TLS_CLIENT_CERT_REJECTED) },
        .plain = "The server does not take the probe's client certificate: this says nothing about its other clients",
        .advice = { "Set target.tls.cert_file and key_file, or renew them: expired, or signed by another authority?",
                    "If the server's list of authorities was changed, users with old certificates are turned away too" },
    },
    {
        .cause = CAUSE_TLS_BROKEN,
        .reasons = { R(TLS_HANDSHAKE_FAILED) },
        .without = FRESH_WORKS,
        .plain = "A connection is made, but no TLS session comes about",
        .advice = { "Make sure that this port speaks TLS: wss:// to a plain port fails like this",
                    "Compare the protocol versions: the server's, and target.tls.min_version",
                    "If the server asks for a client certificate, set target.tls.cert_file and key_file" },
    },
    {
        .cause = CAUSE_NAME_UNRESOLVED,
        .reasons = { R(DNS_FAILURE) },
        .plain = "The name in the URL cannot be resolved",
        .advice = { "Look the name up on this host: a typo, a missing record, or a resolver that does not answer",
                    "A sidecar sees its server on 127.0.0.1: the local path needs no name at all" },
    },

    /* --- public path fails, local path works: whatever is in front ---------------------------------------------------- */
    {
        .cause = CAUSE_NETWORK_LOSS,
        .need = LOCAL_WORKS | RESENT,
        .reasons = { R(SLOW) },
        .plain = "The server is well, and through the public address answers come late: packets are lost, and had to be sent again",
        .advice = ADVICE_RESENT,
    },
    {
        .cause = CAUSE_NETWORK_SLOW,
        .need = LOCAL_WORKS | FAR,
        .reasons = { R(SLOW) },
        .plain = "The server is well, and the way to the public address is slow: the network takes most of the time",
        .advice = ADVICE_NETWORK_SLOW,
    },
    {
        .cause = CAUSE_NETWORK_LOSS,
        .need = LOCAL_WORKS | UNACKNOWLEDGED,
        .reasons = { R(TLS_HANDSHAKE_FAILED), R(UPGRADE_TIMEOUT), R(CLOSED_ABNORMAL), R(SILENT_DROP), R(ECHO_TIMEOUT),
                     R(SCRIPT_TIMEOUT), R(SUBSCRIBE_TIMEOUT), R(DELIVERY_LOST) },
        .plain =
            "The server is well, and what is sent through the public address is not even acknowledged: packets are lost on the "
            "way",
        .advice = ADVICE_LOSS,
    },
    {
        .cause = CAUSE_SERVER_SLOW,
        .need = LOCAL_WORKS | IS_WARNING,
        .reasons = { R(SLOW) },
        .plain = "The server answers in time here, but slowly through the public address: the time is lost in front of it",
        .advice = { "Compare the phases of the two paths: connect and tls point to the network, upgrade to the proxy",
                    "Look at the load of the proxy or load balancer" },
    },
    {
        .cause = CAUSE_ONE_INSTANCE_STALE,
        .need = LOCAL_WORKS | PUBLIC_MIXED,
        .without = IS_WARNING,
        .plain = "Through the public address some rounds pass and others fail, while this server is well: one of the instances "
                 "behind it is broken or out of date",
        .advice = { "Ask the other instances' agents (/ready?verbose), and drain the one that fails",
                    "Compare the versions of the instances: one that was left out of a deploy answers as before",
                    "Let the load balancer ask /ready of each instance's agent: it takes the bad one out by itself" },
    },
    {
        .cause = CAUSE_FRONT_BROKEN,
        .need = LOCAL_WORKS | FRESH_WORKS,
        .reasons = { R(CONNECT_REFUSED), R(CONNECT_TIMEOUT), R(CONNECT_UNREACHABLE), R(TLS_HANDSHAKE_FAILED), R(CONNECTION_RESET),
                     R(UPGRADE_TIMEOUT) },
        .plain = "The server itself is well, and through the public address some new connections work and others do not",
        .advice = { "If the public name has several addresses, or several proxies: one of them is broken; ask each by itself",
                    "Look at the proxy's own limits: connections, descriptors, workers, its accept queue",
                    "Compare what the checks that fail ask for with those that pass: path, headers, version of HTTP" },
    },
    {
        .cause = CAUSE_FRONT_BROKEN,
        .need = LOCAL_WORKS,
        .reasons = { R(CONNECT_REFUSED), R(CONNECT_TIMEOUT), R(CONNECT_UNREACHABLE), R(TLS_HANDSHAKE_FAILED) },
        .plain = "The server itself is well, but nobody gets in: the public address does not accept connections",
        .advice = { "Look at the proxy, load balancer or ingress in front, not at this server",
                    "Check where the public name points, and the firewall on the way",
                    "If only this host fails: some networks do not let a host reach its own public address" },
    },
    {
        .cause = CAUSE_FRONT_BROKEN,
        .need = LOCAL_WORKS,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 500,
        .high = 599,
        .plain = "The server itself is well, but the proxy in front answers with an error of its own: it does not reach the server",
        .advice = { "Look at the proxy's upstreams: is this server among them, with the right address and port?",
                    "Look at the proxy's error log for the time of the last round" },
    },
    {
        .cause = CAUSE_UPGRADE_NOT_PASSED,
        .need = LOCAL_WORKS,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 200,
        .high = 299,
        .plain =
            "The server itself is well, but the upgrade is lost on the way: a proxy in front passes the request on as plain HTTP",
        .advice = ADVICE_UPGRADE_LOST,
    },
    {
        .cause = CAUSE_UPGRADE_NOT_PASSED,
        .need = LOCAL_WORKS,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 400,
        .high = 400,
        .plain =
            "The server itself is well, but the upgrade is lost on the way: a proxy in front passes the request on as plain HTTP",
        .advice = ADVICE_UPGRADE_LOST,
    },
    {
        .cause = CAUSE_UPGRADE_NOT_PASSED,
        .need = LOCAL_WORKS,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 426,
        .high = 426,
        .plain =
            "The server itself is well, but the upgrade is lost on the way: a proxy in front passes the request on as plain HTTP",
        .advice = ADVICE_UPGRADE_LOST,
    },
    {
        .cause = CAUSE_FRONT_BROKEN,
        .need = LOCAL_WORKS,
        .reasons = { R(UPGRADE_REFUSED), R(UPGRADE_REDIRECT), R(UPGRADE_INVALID), R(UPGRADE_BAD_ACCEPT), R(UPGRADE_BAD_EXTENSION),
                     R(HTTP_MALFORMED) },
        .plain = "The server itself is well, but the proxy in front does not pass the WebSocket upgrade on",
        .advice = { "Let the proxy speak HTTP/1.1 to the server and pass the Upgrade and Connection headers",
                    "Compare the path of target.public_url with the proxy's routes",
                    "A CDN or WAF may need WebSocket to be switched on" },
    },
    {
        .cause = CAUSE_FRONT_BROKEN,
        .need = LOCAL_WORKS | ON_SESSION,
        .reasons = { R(CLOSED_ABNORMAL), R(SILENT_DROP) },
        .plain = "The server itself is well, but open connections through the public address are cut or fall silent on the way",
        .advice = { "If they are cut at the same age: raise the timeout of the proxy (nginx `proxy_read_timeout` and "
                    "`proxy_send_timeout`, "
                    "haproxy `timeout tunnel`, Envoy `stream_idle_timeout`, ALB `idle_timeout.timeout_seconds`)",
                    "If at any age: was the proxy reloaded, or is one of several broken?",
                    "A hold check with idle: true on the public path finds the length of an idle timeout" },
    },
    {
        .cause = CAUSE_FRONT_BROKEN,
        .need = LOCAL_WORKS,
        .reasons = { R(CLOSED_ABNORMAL), R(SILENT_DROP) },
        .plain = "The server itself is well, but connections through the public address are cut or fall silent on the way",
        .advice = { "Raise the idle or tunnel timeout of the proxy or load balancer above the server's ping interval",
                    "Look whether the proxy was reloaded: many cut open connections then" },
    },
    {
        .cause = CAUSE_FRONT_BROKEN,
        .need = LOCAL_WORKS,
        .without = IS_WARNING,
        .plain = "The server itself is well, but it cannot be used through the public address",
        .advice = { "Look at what is in front of the server: proxy, load balancer, CDN",
                    "Compare the two paths' rounds: what is the same works, what differs is the suspect" },
    },
};
const size_t diagnose_path_rule_count = sizeof diagnose_path_rules / sizeof diagnose_path_rules[0];
