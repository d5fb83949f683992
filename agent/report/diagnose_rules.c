/*
 * Owns the causes and the rules, as data and in order: the first that fits wins. Called by diagnose.c, which looks at
 * diagnose_rules_broker.c first. Promises that the last two rules fit everything. The texts are for somebody who has just been woken up: what is wrong in one sentence, then what to
 * do, one thing at a time, the most likely first.
 */
#include "agent/report/diagnose_rules.h"

#include "agent/base/mem.h"

static const struct {
    const char *name, *help;
} causes[CAUSE_COUNT] = {
#define CAUSE_ROW(id, name_, help_) [CAUSE_##id] = { name_, help_ },
    CAUSE_LIST(CAUSE_ROW)
#undef CAUSE_ROW
};

const char *cause_name(enum cause cause)
{
    panic_if((unsigned)cause >= CAUSE_COUNT);
    return causes[cause].name;
}

const char *cause_help(enum cause cause)
{
    panic_if((unsigned)cause >= CAUSE_COUNT);
    return causes[cause].help;
}

#define R(name) REASON_##name

const struct rule diagnose_rules[] = {
    /* --- certificates and names: the same advice on either path ------------------------------------------------------ */
    {
        .cause = CAUSE_CERTIFICATE_EXPIRED,
        .reasons = { R(TLS_CERT_EXPIRED) },
        .plain = "The certificate has expired: every client that verifies it is turned away",
        .advice = { "Renew the certificate, then reload whatever ends TLS: the server or the proxy in front of it",
                    "If a renewed file is already in place, the running process still holds the old one: reload it",
                    "Watch it with a tls check: it warns 21 days ahead" },
    },
    {
        .cause = CAUSE_CERTIFICATE_NOT_YET_VALID,
        .reasons = { R(TLS_CERT_NOT_YET_VALID) },
        .plain = "The certificate is not valid yet, or a clock is wrong",
        .advice = { "Compare this host's clock with a good one: a clock that is behind looks just like this",
                    "Otherwise the certificate was put in place before its time" },
    },
    {
        .cause = CAUSE_CERTIFICATE_UNTRUSTED,
        .reasons = { R(TLS_CERT_UNTRUSTED) },
        .plain = "The certificate does not lead to an authority that the agent trusts",
        .advice = { "A private authority: name its certificate in target.tls.ca_file",
                    "A public one: the server must send the intermediate certificates too, not only its own",
                    "If nothing was changed here, find out who answers on this address" },
    },
    {
        .cause = CAUSE_CERTIFICATE_WRONG_NAME,
        .reasons = { R(TLS_HOSTNAME_MISMATCH) },
        .plain = "The certificate is for another name than the one that was asked for",
        .advice = { "If the URL holds an address and the certificate a name, set target.tls.server_name to that name",
                    "Otherwise the wrong certificate is served: look at the SNI rules of the server or the proxy" },
    },
    {
        .cause = CAUSE_CERTIFICATE_EXPIRING,
        .reasons = { R(TLS_CERT_EXPIRING) },
        .plain = "The certificate expires soon",
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
        .cause = CAUSE_SERVER_SLOW,
        .need = LOCAL_WORKS | IS_WARNING,
        .reasons = { R(SLOW) },
        .plain = "The server answers in time here, but slowly through the public address: the time is lost in front of it",
        .advice = { "Compare the phases of the two paths: connect and tls point to the network, upgrade to the proxy",
                    "Look at the load of the proxy or load balancer" },
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

    /* --- only plain HTTP or TCP fails --------------------------------------------------------------------------------- */
    {
        .cause = CAUSE_HEALTH_URL_FAILS,
        .need = ON_HTTP | FRESH_WORKS,
        .plain = "The WebSocket side is well, but the plain HTTP check fails",
        .advice = { "Ask that URL by hand: the server may report a part of its own that is unwell",
                    "Clients on WebSocket are not affected as far as can be seen from here" },
    },
    {
        .cause = CAUSE_PORT_CLOSED,
        .need = ON_TCP | FRESH_WORKS,
        .plain = "The WebSocket side is well, but the plain TCP check fails",
        .advice = { "See whether something should listen there, and whether its port is right in the check" },
    },

    /* --- no connection ------------------------------------------------------------------------------------------------- */
    {
        .cause = CAUSE_CONNECTIONS_UNRELIABLE,
        .need = ON_WEBSOCKET | FRESH_WORKS,
        .reasons = { R(CONNECT_REFUSED), R(CONNECT_TIMEOUT), R(CONNECT_UNREACHABLE), R(TLS_HANDSHAKE_FAILED), R(CONNECTION_RESET),
                     R(UPGRADE_TIMEOUT) },
        .plain = "Some new connections work and others do not: the server is near a limit, or it restarts again and again",
        .advice = { "Look at the server's limits: open files, worker pool, accept queue, a maximum of connections",
                    "Look at its uptime: a server in a crash loop looks like this",
                    "If the address stands for several servers, one of them is broken" },
    },
    {
        .cause = CAUSE_WEBSOCKET_DEAD,
        .need = ON_WEBSOCKET | HTTP_WORKS,
        .without = FRESH_WORKS,
        .reasons = { R(CONNECT_REFUSED), R(CONNECT_TIMEOUT), R(CONNECTION_RESET), R(UPGRADE_TIMEOUT), R(SILENT_DROP) },
        .plain = "HTTP checks are green, the WebSocket side is dead",
        .advice = { "Do not trust the HTTP health URL: it does not see this fault",
                    "Look at the part of the server that handles WebSocket: its listener, workers or event loop",
                    "If its log says nothing, take a stack dump, then restart it" },
    },
    {
        .cause = CAUSE_SERVER_DOWN,
        .reasons = { R(CONNECT_REFUSED) },
        .plain = "Nothing listens on the server's address: the server is down, or listens elsewhere",
        .advice = { "See whether the server runs, and what its log said last",
                    "If it runs: compare the address and port it listens on with the URL (0.0.0.0 or [::], not another "
                    "interface)" },
    },
    {
        .cause = CAUSE_SERVER_UNREACHABLE,
        .reasons = { R(CONNECT_UNREACHABLE) },
        .plain = "There is no way to the server's address: a route, an interface or a socket file is missing",
        .advice = { "Check the address in the URL, and the route to it from this host",
                    "For a unix socket: does the file exist, and may the agent open it?" },
    },
    {
        .cause = CAUSE_SERVER_NOT_ACCEPTING,
        .reasons = { R(CONNECT_TIMEOUT) },
        .plain = "Connections are not accepted: the server's accept queue is full, or a firewall drops the packets",
        .advice = { "On the server's host, look at `ss -ltn`: Recv-Q near Send-Q on its port means that it no longer accepts",
                    "If it does not: take a stack dump of the server (its event loop is blocked), then restart it",
                    "If the queue is empty: look for a firewall between the agent and the server" },
    },
    {
        .cause = CAUSE_SERVER_HUNG,
        .reasons = { R(UPGRADE_TIMEOUT) },
        .plain = "The server takes connections and says nothing: its event loop is blocked, or its workers are all busy",
        .advice = { "Look at the server's CPU: one core at 100% means a busy loop, near 0% a deadlock or a wait for something else",
                    "Take a stack dump before you restart it: it shows what it waits for",
                    "If it only needs longer, raise the check's timeout" },
    },
    {
        .cause = CAUSE_SERVER_DROPS_CONNECTIONS,
        .reasons = { R(CONNECTION_RESET) },
        .plain = "The server takes connections and ends them before it answers the upgrade",
        .advice = { "Look at the server's log for this moment: a crash on connect, or a limit of connections",
                    "If the port speaks TLS, the URL must begin with wss://; a TLS port hangs up on plain requests",
                    "If it takes connections from a load balancer only, set target.proxy_protocol; if from listed clients, list "
                    "the agent's address" },
    },

    /* --- an answer, but not the right one ------------------------------------------------------------------------------- */
    {
        .cause = CAUSE_TOKEN_REFUSED,
        .reasons = { R(UPGRADE_UNAUTHORIZED) },
        .plain = "The server refuses the upgrade: the probe's token, Origin or address is not accepted",
        .advice = { "Check target.token and target.token_in: expired, rotated, or missing?",
                    "If the server checks the Origin, set target.origin to one that it accepts",
                    "If users are turned away too, look at the service that issues or verifies tokens" },
    },
    {
        .cause = CAUSE_REDIRECTED,
        .reasons = { R(UPGRADE_REDIRECT) },
        .plain = "The upgrade is answered with a redirect, which WebSocket clients do not follow",
        .advice = { "Point the URL at the place that the redirect names: often wss:// in place of ws://, or a slash at the end",
                    "A redirect to a login page means that the probe's token is missing" },
    },
    {
        .cause = CAUSE_WRONG_PATH,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 404,
        .high = 404,
        .plain = "There is no WebSocket under this path",
        .advice = { "Compare the path of the URL with the server's route, down to the last slash",
                    "If it worked before, a release has moved the route",
                    "Rails answers 404 to a missing or foreign Origin, too: set target.origin" },
    },
    {
        .cause = CAUSE_UPGRADE_NOT_PASSED,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 200,
        .high = 299,
        .plain = "The request is answered like an ordinary page: it reached something that does not know WebSocket",
        .advice = { "Check the URL's port and path: this may be the web server and not the WebSocket server",
                    "A proxy in between must pass the Upgrade and Connection headers, with HTTP/1.1" },
    },
    {
        .cause = CAUSE_UPGRADE_NOT_PASSED,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 426,
        .high = 426,
        .plain = "The server asks for an upgrade, so the request lost its own on the way, or the versions differ",
        .advice = { "A proxy in between must pass the Upgrade and Connection headers, with HTTP/1.1",
                    "If nothing is in between, the server wants another version than 13" },
    },
    {
        .cause = CAUSE_RATE_LIMITED,
        .reasons = { R(RATE_LIMITED) },
        .plain = "The server limits the rate of new connections, and the probe is over it",
        .advice = { "Exempt the agent's address from the limit, or raise the checks' interval",
                    "If users meet it too, look for clients that reconnect all the time" },
    },
    {
        .cause = CAUSE_UPGRADE_NOT_PASSED,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 400,
        .high = 499,
        .plain = "The server does not take the request for a WebSocket upgrade",
        .advice = { "Compare the path of the URL with the server's route: several libraries answer 400 for another one",
                    "Check what it wants beside the upgrade: a subprotocol, a query parameter, a header (target.headers)",
                    "If it says nothing else, look at proxies in between: they must pass Upgrade and Connection, with HTTP/1.1" },
    },
    {
        .cause = CAUSE_UPSTREAM_DOWN,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 502,
        .high = 502,
        .plain = "A proxy answers, and does not reach the server behind it",
        .advice = { "See whether the server behind the proxy runs and listens where the proxy looks for it",
                    "Point target.url at the server itself, and target.public_url at the proxy: then the two can be told apart" },
    },
    {
        .cause = CAUSE_UPSTREAM_DOWN,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 504,
        .high = 504,
        .plain = "A proxy answers, and waits in vain for the server behind it",
        .advice = { "The server behind the proxy hangs: look at its CPU, take a stack dump, then restart it",
                    "Point target.url at the server itself, and target.public_url at the proxy: then the two can be told apart" },
    },
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 503,
        .high = 503,
        .plain = "The server turns new connections away: it is overloaded, drains, or a proxy has no server left",
        .advice = { "See whether it shuts down, or holds its maximum of connections",
                    "If a proxy answers: look at its upstreams and at its own health checks" },
    },
    {
        .cause = CAUSE_SERVER_ERROR,
        .reasons = { R(UPGRADE_REFUSED) },
        .low = 500,
        .high = 599,
        .plain = "The server answers the upgrade with an error of its own",
        .advice = { "Look at the server's log for the time of the last round", "If it began with a release, roll that back" },
    },
    {
        .cause = CAUSE_UPGRADE_REFUSED,
        .reasons = { R(UPGRADE_REFUSED), R(ORIGIN_REJECTED) },
        .plain = "The server refuses the upgrade",
        .advice = { "Look at the server's log for the time of the last round",
                    "Compare URL, headers and Origin with those of a client that works" },
    },
    {
        .cause = CAUSE_NOT_A_WEBSOCKET,
        .without = IS_WARNING, /* a rule that clients overlook: the check's own sentence says it all */
        .reasons = { R(UPGRADE_INVALID), R(UPGRADE_BAD_ACCEPT), R(HTTP_MALFORMED) },
        .plain = "What answers does not speak the WebSocket handshake rightly: a faulty library, a cache, or another service",
        .advice = { "Make sure that the port belongs to the WebSocket server",
                    "A cache or proxy in between may answer in the server's place: try without it",
                    "If the server's library was changed lately, suspect that first: browsers refuse this answer too" },
    },
    {
        .cause = CAUSE_NEGOTIATION_FAILED,
        .reasons = { R(UPGRADE_BAD_SUBPROTOCOL), R(UPGRADE_BAD_EXTENSION) },
        .plain = "The upgrade works, but the two sides do not agree on a subprotocol or an extension",
        .advice = { "Compare target.subprotocols with what the server knows",
                    "For an extension: try target.compression: off; if that helps, the server's deflate settings are at fault" },
    },

    /* --- the connection is open ------------------------------------------------------------------------------------------ */
    {
        .cause = CAUSE_PROTOCOL_BROKEN,
        .without = IS_WARNING,
        .reasons = { R(PROTOCOL_ERROR) },
        .plain = "The server sends frames that break RFC 6455: clients will drop the connection",
        .advice = { "Look at what was changed last: the server's WebSocket library, or a proxy that touches frames",
                    "Try target.compression: off: if that helps, the deflate part is at fault" },
    },
    {
        .cause = CAUSE_FLOOD,
        .reasons = { R(FLOOD) },
        .plain = "The server sends more than can be read before the deadline: its clients drown too",
        .advice = { "Look for a producer that has run wild, or a broadcast that goes to every connection",
                    "If it is the normal stream of this URL, let the probe connect to one that is quieter" },
    },
    {
        .cause = CAUSE_MESSAGE_TOO_BIG,
        .reasons = { R(MESSAGE_TOO_BIG) },
        .plain = "The server sends messages larger than the agent takes",
        .advice = { "Find out whether the message is meant to be that large: clients have limits too" },
    },
    {
        .cause = CAUSE_SERVER_RESTARTING,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1001,
        .high = 1001,
        .plain = "The server says that it goes away (1001): it restarts or shuts down",
        .advice = { "If a deployment is under way, wait for it",
                    "If not, find out who stops the server: its supervisor's log names the signal",
                    "Drain the instance before the server stops: then nobody is sent to it" },
    },
    {
        .cause = CAUSE_SERVER_RESTARTING,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1012,
        .high = 1012,
        .plain = "The server says that it restarts (1012)",
        .advice = { "If a deployment is under way, wait for it", "If not, look at the server's log for why it restarts" },
    },
    {
        .cause = CAUSE_SESSION_REFUSED,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1008,
        .high = 1008,
        .plain = "The server closes the session by its policy (1008): a token, a permission, or a rule that the probe breaks",
        .advice = { "Check target.token: expired, rotated, or without the permissions that the check needs",
                    "Check the message that the check sends (send:) against the server's rules" },
    },
    {
        .cause = CAUSE_SESSION_REFUSED,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 3000,
        .high = 4999,
        .plain = "The application closes the session with a code of its own",
        .advice = { "Look the code up in the application: most use 4000 to 4999 for tokens, permissions and limits",
                    "Check target.token: expired, rotated, or of the wrong kind" },
    },
    {
        .cause = CAUSE_SERVER_ERROR,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1011,
        .high = 1011,
        .plain = "The server closes with an internal error (1011)",
        .advice = { "Look at the server's log for the time of the last round: an exception in a handler ends like this",
                    "If it began with a release, roll that back" },
    },
    {
        .cause = CAUSE_SERVER_OVERLOADED,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1013,
        .high = 1013,
        .plain = "The server asks to try again later (1013): it sheds load",
        .advice = { "Look at the server's load and its limits; add instances if it is busy",
                    "If it is idle, a limit is set too low" },
    },
    {
        .cause = CAUSE_UPSTREAM_DOWN,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1014,
        .high = 1014,
        .plain = "A gateway closes because it gets no proper answer from behind it (1014)",
        .advice = { "Look at the server behind the gateway, then at the gateway's log" },
    },
    {
        .cause = CAUSE_SERVER_ENDS_SESSIONS,
        .need = ON_SESSION,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1000,
        .high = 1000,
        .plain = "The server ends open sessions in good order (1000), sooner than the check holds them",
        .advice = { "If the server limits the age or idle time of sessions, set the check's `for` below that limit",
                    "If it should not, look for a timer in the server" },
    },
    {
        .cause = CAUSE_SERVER_ENDS_SESSIONS,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1000,
        .high = 1000,
        .plain = "The server ends the session in good order (1000) before it has answered",
        .advice = { "Look at what the server expects first: a greeting, a token, a subscription",
                    "Compare the message that the check sends (send:) with a client's" },
    },
    {
        .cause = CAUSE_MESSAGES_REFUSED,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1002,
        .high = 1003,
        .plain = "The server closes because it does not accept what it was sent",
        .advice = { "Compare the message that the check sends (send:) with a client's: text or binary, and its form",
                    "1002 accuses the agent of a protocol error: a proxy that touches frames is the usual culprit" },
    },
    {
        .cause = CAUSE_MESSAGES_REFUSED,
        .reasons = { R(CLOSED_BY_SERVER) },
        .low = 1007,
        .high = 1010,
        .plain = "The server closes because it does not accept what it was sent",
        .advice = { "Compare the message that the check sends (send:) with a client's: its encoding, form and size",
                    "1010 means that the server insists on an extension: see target.compression" },
    },
    {
        .cause = CAUSE_SERVER_ENDS_SESSIONS,
        .reasons = { R(CLOSED_BY_SERVER) },
        .plain = "The server closes the connection",
        .advice = { "Look at the server's log for the time of the last round",
                    "Compare what the check sends with what a client sends" },
    },
    {
        .cause = CAUSE_CONNECTIONS_CUT,
        .need = ON_SESSION | FRESH_WORKS,
        .reasons = { R(CLOSED_ABNORMAL) },
        .plain = "Open connections are cut without a close frame, while new ones work",
        .advice = { "If they are cut after the same time each time: a proxy's idle or tunnel timeout; raise it, or ping more often",
                    "If all were cut at once: the server crashed and came back, or a proxy was reloaded; look at their uptime",
                    "If memory is short, the kernel may have killed the server: look at the kernel's log" },
    },
    {
        .cause = CAUSE_CONNECTIONS_CUT,
        .need = ON_SESSION,
        .reasons = { R(CLOSED_ABNORMAL) },
        .plain = "Open connections were cut without a close frame: the server crashed, or something in between cut them",
        .advice = { "See whether the server runs, and since when", "Look at its log for the time of the cut" },
    },
    {
        .cause = CAUSE_SERVER_DROPS_CONNECTIONS,
        .reasons = { R(CLOSED_ABNORMAL) },
        .plain = "The server upgrades new connections and then ends them without a close frame",
        .advice = { "Look at the server's log for this moment: a crash in the handler of new connections or of messages",
                    "If a proxy is in between, its upstream connection may be the one that breaks" },
    },
    {
        .cause = CAUSE_CONNECTIONS_GO_DEAD,
        .need = ON_SESSION | FRESH_WORKS,
        .reasons = { R(SILENT_DROP) },
        .plain = "Open connections fall silent without an end, while new ones work",
        .advice = { "Something in between forgets connections (NAT, firewall, load balancer): raise its idle timeout, or ping more "
                    "often",
                    "If nothing is in between, the server has lost track of its older connections: look at its log" },
    },
    {
        .cause = CAUSE_PINGS_UNANSWERED,
        .need = ON_PING | ECHO_WORKS,
        .reasons = { R(SILENT_DROP) },
        .plain = "Messages are answered, pings are not: the server, or something in between, swallows control frames",
        .advice = { "RFC 6455 (5.5.2) demands the pong: look at the server's WebSocket library, then at proxies in between",
                    "Clients that rely on pings will reconnect all the time" },
    },
    {
        .cause = CAUSE_APPLICATION_FROZEN,
        .need = FRESH_WORKS,
        .reasons = { R(SILENT_DROP) },
        .plain = "The upgrade works, but behind it nothing answers, not even a ping: the application is frozen",
        .advice = { "Take a stack dump of the server: a worker or event loop is blocked after the upgrade",
                    "If another process does the upgrade (a proxy, an acceptor), the one behind it hangs",
                    "Then restart it: its open connections are as dead as the probe's" },
    },
    {
        .cause = CAUSE_APPLICATION_FROZEN,
        .reasons = { R(SILENT_DROP) },
        .plain = "The connection is open, but nothing comes back, not even a pong",
        .advice = { "Take a stack dump of the server: its event loop may be blocked", "Then restart it" },
    },
    {
        .cause = CAUSE_MESSAGES_STUCK,
        .need = PING_WORKS,
        .reasons = { R(ECHO_TIMEOUT) },
        .plain = "Pings are answered, messages are not: the network is well, the server's message handling is stuck",
        .advice = { "Look at the server's workers, queues and what its handlers wait for: a database, a lock, a broker",
                    "Compare the message that the check sends (send:) with a client's: an unknown one may just be ignored",
                    "If the handlers hang, take a stack dump, then restart the server" },
    },
    {
        .cause = CAUSE_MESSAGES_STUCK,
        .reasons = { R(ECHO_TIMEOUT) },
        .plain = "The connection is open, but no message is answered",
        .advice = { "Look at the server's workers, queues and what its handlers wait for",
                    "Compare the message that the check sends (send:) with a client's: an unknown one may just be ignored",
                    "Add a ping check: it tells a frozen server from stuck messages" },
    },
    {
        .cause = CAUSE_ANSWER_UNEXPECTED,
        .reasons = { R(ECHO_MISMATCH) },
        .plain = "The server answers, but not with what the check expects",
        .advice = { "Read the answer that the check shows: an error message often says what is wrong",
                    "If a release has changed the messages, change the check's expect: with it",
                    "If the server does not echo, give the check a send: and an expect: of the application's own" },
    },
    {
        .cause = CAUSE_SERVER_SLOW,
        .reasons = { R(SLOW) },
        .plain = "The server answers, but later than slo allows",
        .advice = { "Look at the server's CPU, its garbage collection and the length of its queues",
                    "See which phase grew: upgrade points to accepting, open to handling messages" },
    },

    /* --- whatever else: the check's own reason ------------------------------------------------------------------------------ */
    {
        .cause = CAUSE_CHECK_WARNING,
        .need = IS_WARNING,
        .plain = NULL,
        .advice = { "Look at the check that warns: its message says what it saw" },
    },
    {
        .cause = CAUSE_CHECK_FAILING,
        .plain = NULL,
        .advice = { "Look at the check that fails: its message says what it saw" },
    },
};
const size_t diagnose_rule_count = sizeof diagnose_rules / sizeof diagnose_rules[0];
