/*
 * What a check type declares: its name, options and defaults for the configuration, its functions for the engine. A round is its
 * `start`, `on_deadline` and `stop` (agent/core/probe.h). A conversation over one fresh WebSocket connection is a table of `steps`, and has those
 * functions from agent/core/talk.h.
 */
#ifndef WSHEALTHD_CONF_PROBE_TYPE_H
#define WSHEALTHD_CONF_PROBE_TYPE_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/err.h"
#include "agent/base/reason.h"
#include "agent/conf/opt.h"

struct check_conf;
struct talk;
struct url;
struct run;

enum turn { TURN_NEXT, TURN_WAIT, TURN_FAIL, TURN_DONE };

struct step {
    const char *name; /* shown when the deadline passes in it: "waiting for pong" */
    enum turn (*run)(struct talk *talk);
};

/* Which series the checks of a type have, beside those that every check has. What cannot occur is not listed: it would be most of the text. */
enum {
    SERIES_DIAL = 1,     /* durations of resolve (of a name), connect, tls (where it speaks TLS) */
    SERIES_UPGRADE = 2,  /* duration of the upgrade, or of an answer to a request */
    SERIES_OPEN = 4,     /* duration of the conversation */
    SERIES_REFUSALS = 8, /* failures of the upgrade */
    SERIES_FRAMES = 16,  /* failures behind the upgrade, and close codes */
    SERIES_RTT = 32,
    SERIES_HELD = 64, /* connections held open */
    SERIES_HANDSHAKE = SERIES_DIAL | SERIES_UPGRADE | SERIES_REFUSALS,
    SERIES_TALK = SERIES_HANDSHAKE | SERIES_OPEN | SERIES_FRAMES | SERIES_RTT,
};

/* How a check uses the target. It decides what the check's faults and passes say about the server (agent/report/diagnose.c). */
enum probe_kind {
    PROBE_PLAIN,   /* speaks no WebSocket with the target */
    PROBE_FRESH,   /* opens a new WebSocket connection for each round; a type with steps is always of this kind */
    PROBE_SESSION, /* keeps WebSocket connections open between rounds */
    /* Opens new WebSocket connections, of which some are meant to be refused. What it is refused does not slow the other checks down, and what it
     * is granted does not end their back-off; while the target refuses the others, it runs once a minute. It proves nothing about clients. */
    PROBE_TRIAL,
    PROBE_BROKER, /* does not use the target: it looks at a broker. Each broker has one such check by itself */
};

/* What a check with `http: both` does. */
enum probe_both {
    BOTH_HALVES, /* its round is done once over HTTP/1.1 and once over HTTP/2, each with a state of its own */
    BOTH_TURNS,  /* its connections take turns between the versions */
    BOTH_NOT,    /* it uses HTTP/1.1: what it asks for does not depend on the version */
};

/* What a round asks for, so what a pass proves, beyond what its kind says. The diagnosis compares it with what fails. */
enum {
    PROVES_PONG = 1,         /* a ping is answered */
    PROVES_ANSWER = 2,       /* a message is answered */
    PROVES_SUBSCRIPTION = 4, /* a subscription is confirmed */
    PROVES_HTTP = 8,         /* a plain HTTP request is answered */
    PROVES_PORT = 16,        /* a port accepts connections, and nothing else was looked at */
};

enum { PROBE_RANK_MAX = 15 };

/* Where faults of a configuration are told, one in each call. A text that begins with the name of an option belongs to that option. */
struct complaints {
    void (*tell)(void *user, const struct err *err);
    void *user;
};

struct probe_type {
    const char *name, *summary;   /* summary: one sentence with its source */
    const struct opt *opts;       /* rows for the type's own options, or NULL */
    size_t opts_size, state_size; /* state is zeroed before each round; for a session type, once */
    unsigned gates;               /* by default */
    /* Where they depend on its options (a check that only reports unless a limit is set): the gates of a check that names none. `gates`
     * has then what the manual says of the type. NULL: `gates` holds for all. */
    unsigned (*gates_of)(const void *opts);
    bool by_default;      /* where the configuration names no checks, there is one of this type */
    enum probe_kind kind; /* those that speak WebSocket with the target back off together; see probe_kind_of */
    /* Of checks that fail in the same phase, the one of the lowest rank names the cause: it needs least of the server. 0 is a message and its
     * answer (echo); from -PROBE_RANK_MAX to PROBE_RANK_MAX. */
    int rank;
    unsigned proves; /* PROVES_* */
    bool session;    /* the run lives as long as the check: start is called for each round, and run_event in between */
    int (*validate)(const void *opts, struct err *err); /* rules across options; may be NULL */
    /* The same for a type whose rules find several faults at once, or that need what every check has, such as its timeout; may be NULL. */
    void (*validate_all)(const struct check_conf *check, const struct complaints *complaints);
    size_t keeps; /* the offset, plus one, of the int64_t in opts that says how many connections it keeps open; 0: none */
    bool (*needs_tls)(const void *opts); /* does it speak TLS whatever the target's URL says? May be NULL: no */
    bool (*elsewhere)(const void *opts, const struct url *target); /* does it dial another server than the target? NULL: no */
    bool wants_wss; /* it makes sense only for a URL with TLS: the configuration refuses it for others */
    /* Is what no client minds, in the answer to the upgrade and in the closing handshake, passed over by this check? NULL: no. */
    bool (*ignores_remarks)(const void *opts);
    bool judges_parting;                    /* with steps: after a pass, how the server answers the close frame is looked at */
    bool ignores_messages;                  /* its steps need pongs at most: the server's messages are judged, and not kept */
    bool uses_brokers;                      /* its checks begin anew when a reload changes a broker */
    bool (*needs_broker)(const void *opts); /* of those with an option `broker`: may a check leave it out? NULL: never */
    enum probe_both both;
    bool delivers;        /* its stats have a delivery part */
    bool watches_server;  /* its stats have a server part */
    bool needs_subscribe; /* the target's dialect, or the check's own part of it, must say how to subscribe */
    bool shares;          /* its checks can use one connection together with others (`share_connection`) */
    int (*validate_share)(const void *opts, struct err *err); /* rules for those that do; may be NULL */
    unsigned series;                                          /* SERIES_*: what /metrics shows of its checks */
    const enum reason *reasons;           /* those that only this type gives; ends with REASON_NONE. NULL: none */
    enum reason timeout_reason;           /* what a passed deadline means once the connection is open */
    const struct step *steps;             /* ends with a step without name; set by TALK_STEPS. NULL: no conversation */
    void (*start)(struct run *run);       /* begin a round; ends with run_pass, run_warn or run_finish, now or later */
    void (*on_deadline)(struct run *run); /* the deadline of this round has passed; it must finish the round */
    /* The round is over, or the check ends in the middle of it: release everything. Session types: the check ends. */
    void (*stop)(struct run *run);
    void (*clean)(struct run *run); /* the check ends: release what is kept over rounds. After stop; may be NULL */
};

static inline enum probe_kind probe_kind_of(const struct probe_type *type)
{
    return type->steps ? PROBE_FRESH : type->kind;
}

static inline bool probe_speaks_websocket(const struct probe_type *type)
{
    enum probe_kind kind = probe_kind_of(type);

    return kind == PROBE_FRESH || kind == PROBE_SESSION;
}

/* Does it open WebSocket connections to the target, be they meant to be refused? */
static inline bool probe_opens_websocket(const struct probe_type *type)
{
    return probe_speaks_websocket(type) || type->kind == PROBE_TRIAL;
}

/* Is each of its rounds one connection to the target, which can go to any of the addresses of its name? */
static inline bool probe_dials_once(const struct probe_type *type)
{
    return !type->session && type->series & SERIES_DIAL;
}

#endif
