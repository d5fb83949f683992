/*
 * One WebSocket connection as a client makes it: dial, upgrade, then whole messages. Pings are answered, a close frame is returned, and
 * every broken rule of RFC 6455 is an error with its name. A connection that is open costs little: what only the handshake needs is
 * freed with the 101.
 *
 * Async contract: conn_open never calls back inside itself; then on_open comes at most once, and on_lost exactly once unless the owner
 * closes first. From on_lost, conn_close or conn_drop on, the conn is idle again: its memory may be freed or used anew, also
 * inside a callback.
 */
#ifndef WSHEALTHD_CLIENT_CONN_H
#define WSHEALTHD_CLIENT_CONN_H

#include "agent/base/list.h"
#include "agent/conf/conf.h"
#include "agent/net/dial.h"
#include "agent/proto/upgrade.h"
#include "agent/proto/ws.h"

enum {
    CONN_MESSAGE_MAX = 4 << 20,    /* a larger message is judged and not kept: told as skipped */
    CONN_UNFINISHED_MAX = 8 << 20, /* kept of unfinished messages, of all connections of a group together */
    CONN_LINGER_MS = 1000,
};

/* What the handshake has done so far; true at any moment. Owned by the opener; must live until on_open or the end. */
struct conn_report {
    struct dial_report dial;
    bool requested;      /* the upgrade request was sent: the phase is upgrade */
    uint64_t upgrade_ns; /* from the request to the judged answer, or to its failure */
    int http_status;     /* 0: none came; 101, or 200 over HTTP/2, where it is open */
    bool http2;
    enum h2_gap h2_gap;
    bool answered;           /* a byte of an answer came */
    uint64_t retry_after_ms; /* Retry-After of an answer that refuses; 0: none */
    int64_t date_s;          /* Date of the answer, in seconds since 1970: the server's clock; 0: none */
    char subprotocol[WS_SUBPROTOCOL_MAX];
    bool deflate;
    const char *remark; /* of upgrade_agreed */
    bool joined;        /* nothing was dialled: the connection is a shared one that was open already (agent/client/share.h) */
};

struct conn_events {
    void (*on_open)(void *user);
    /* Text, binary and pong; never ping: the newest of a turn is answered. received_ns is when the bytes came in. The body is valid
     * during the call. */
    void (*on_message)(void *user, const struct ws_message *message, uint64_t received_ns);
    /* What came with the messages just told has been looked at, as far as this turn allows. May be NULL. */
    void (*on_taken)(void *user);
    /* err->reason: the dial's, the upgrade's, protocol_error, message_too_big, closed_by_server (err->code: the close code), or
     * closed_abnormal (1006). */
    void (*on_lost)(void *user, const struct err *err);
    /* Instead of on_lost once conn_part was called. remark: what was wrong with the server's closing handshake; NULL: nothing. May be
     * NULL where conn_part is not called. */
    void (*on_parted)(void *user, const char *remark);
};

/* Connections that their owner has closed and whose closing handshake goes on, for CONN_LINGER_MS at most. One group for each agent. */
struct conn_group {
    struct loop *loop;
    struct list farewells;
    struct ws_budget budget;
    uint64_t reconnect_ns; /* of checks that drop their connections on purpose: the next attempt of any of them comes not before */
    uint64_t burst_ns;     /* of checks that open many at once on purpose: the next burst of any of them comes not before */
    struct conn *current;  /* whose callback is running; NULL once its owner has closed it there */
    uint64_t requested_ns; /* when the last of them has asked for its upgrade: servers may end an older session then */
    unsigned shared_farewells; /* of `farewells`: those of shared connections, which end before the next one begins */
    /* Are the ends of farewells looked at together, a moment later? Not where somebody waits for the last one. Those that wait for it: */
    bool unhurried;
    struct list aside;
    struct timer look;
    struct http_reader *spare; /* of the connection that was opened last: to make one anew costs more than to use it. NULL: none */
};
void conn_group_init(struct conn_group *group, struct loop *loop);
void conn_group_fini(struct conn_group *group); /* cuts what still lingers */
bool conn_group_idle(const struct conn_group *group);

/* What has come since the owner has asked something. */
struct conn_intake {
    uint32_t bytes, inflated, messages; /* UINT32_MAX: so many and more */
};

struct conn_setup;
struct conn_rest;
/* The server's own pings on a connection, which are answered without the owner, and when it was heard last. */
struct conn_pings {
    uint64_t last_ns;  /* when the newest came; before the first, when the connection was opened */
    uint64_t heard_ns; /* when the newest frame of any kind came, or the connection was opened */
    uint64_t gap_ns;   /* between the newest ping and the one before it, or the opening */
    uint32_t count;
};

struct conn_parting;
struct conn_trace;
struct conn {
    struct stream *stream;
    const struct conn_events *events;
    void *user;
    struct conn_group *group;
    struct conn_setup *setup; /* NULL once it is open */
    struct conn_rest *rest;   /* bytes for which this turn of the loop had no time; mostly NULL */
    union {
        struct deflater *deflater;    /* made by the first compressed message that is sent */
        struct conn_parting *parting; /* where `parts`, when nothing is sent any more */
    };
    struct conn_trace *trace; /* NULL: nobody records */
    struct conn_pings *pings; /* NULL: nobody counts */
    uint64_t asked_ns;        /* when the owner has asked something last, or when it was opened */
    struct conn_intake intake;
    bool ignores_messages, shared;
    bool parts; /* our close frame is sent, and the server's answer is being judged */
    struct ws_reader reader;
};

/* Whose rounds ask something on a shared connection. */
struct asker {
    const bool *asks;         /* a round is under way: the connection is not ended for another's sake */
    const uint64_t *began_ns; /* the round */
    uint64_t timeout_ms;      /* from then on */
    unsigned gates;           /* what depends on it, as bits */
    void (*cut)(void *user);  /* ends the round without a verdict: the connection is dead. NULL: its rounds are never cut short */
    void *user;
};

struct share;
struct conn_override;
struct conn_options {
    struct conn_group *group;
    const struct target_conf *target; /* headers, origin, subprotocols, token: read anew for each connection */
    const struct url *url;
    /* Another Origin or token for this connection (agent/client/conn_offer.h); NULL: the target's. A dialogue uses it until it is idle again. Not
     * for shared connections. */
    const struct conn_override *override;
    struct tls_context *tls;
    struct conn_pings *pings; /* the owner's, who counts the server's pings in it; NULL: nobody */
    bool offer_deflate;
    bool ignores_messages; /* the owner needs pongs only: text and binary messages are judged, and not kept however small */
    /* For dialogues: join that connection instead of opening one (agent/client/share.h); NULL: none. `asker` is then on whose behalf. */
    struct share *share;
    const struct asker *asker;
    bool shared;            /* it is such a connection itself: its farewell is counted */
    bool http2;             /* over HTTP/2 (RFC 8441); else HTTP/1.1 */
    struct dial_each *each; /* one of the addresses of the name (agent/net/dial.h); NULL: any. Not for shared connections */
    struct trace *trace;    /* who records the conversation; must outlive the connection. NULL: nobody */
};

/* Zero the conn before its first use. 0, or -1 when a ${file:…} of the target cannot be read (agent_error): no callback comes then. */
int conn_open(struct conn *conn, const struct conn_options *options, const struct conn_events *events, void *user,
              struct conn_report *report, struct err *err);
bool conn_is_open(const struct conn *conn);
/* Sends one message or control frame. -1: the connection is breaking or its output is full; on_lost comes or has come for the former. */
int conn_send(struct conn *conn, enum ws_opcode opcode, struct slice payload);
/* As conn_send, in so many frames of nearly equal length (control frames: one), empty where the message is shorter; and compressed only if
 * told so, where that was negotiated (conn_report.deflate). */
enum { CONN_PARTS_MAX = 64 };
int conn_send_parts(struct conn *conn, enum ws_opcode opcode, struct slice payload, unsigned parts, bool compress);
void conn_close(struct conn *conn, uint16_t code,
                const char *text); /* sends a close frame, then waits for the peer in the background */
/* As conn_close, but on_parted tells how the server answers; it has wait_ms for its close frame, and as long again for its FIN. -1: it
 * cannot be told, nothing was sent, and no callback comes. Nothing may be sent afterwards, and no message is told. */
int conn_part(struct conn *conn, uint16_t code, uint64_t wait_ms);
void conn_drop(struct conn *conn); /* at once, no close frame */
/* The owner asks something now: conn_flooded counts from here. Without it, from the upgrade on. */
void conn_asked(struct conn *conn);
/* For a deadline: has the peer sent so much that its answer, if there is one, could not be reached? Then *err is the reason flood; or
 * message_too_big in the middle of a message that is announced as larger than what is kept. */
bool conn_flooded(const struct conn *conn, struct err *err);
enum { CONN_H2_WORDS = 512 };
/* What HTTP/2 has to say to an answer that does not come: "; the server's HTTP/2 window is closed, …", ", after GOAWAY NO_ERROR", or "". */
void conn_say_h2(const struct conn *conn, char *out, size_t size);
/* The error for a deadline that passed before it was open; the reason says in which phase. */
int conn_timeout_err(const struct conn *conn, uint64_t timeout_ms, struct err *err);

#endif
