/*
 * What is that server? A table of tries, what they have shown, and what that means: for `config init URL`, which writes a configuration
 * that fits, and for the advice of `check URL`. The driver (discover.c) makes the tries one after the other; which one is next
 * (discover_plan.c), what was found (discover_judge.c) and how that is written (discover_write.c) is pure. discover_host.c looks at this
 * host's sockets and processes.
 *
 * A try does no harm: one connection, an upgrade, what the protocol's client says first, one ping, and where nothing was recognised one
 * text of a few bytes, to see whether it is echoed. A server that may hand on what it gets to its users is not spoken to in protocols
 * that it may not know. No channel is subscribed to and nothing is published. A server that refuses because it is asked too often is
 * left alone, and so is one that hangs.
 */
#ifndef WSHEALTHD_CLI_DISCOVER_H
#define WSHEALTHD_CLI_DISCOVER_H

#include "agent/base/buf.h"
#include "agent/base/err.h"
#include "agent/conf/dialect.h"
#include "agent/proto/url.h"
#include "agent/proto/ws.h"

enum {
    DISCOVER_ALL_MS = 8500,   /* all tries together */
    DISCOVER_SHORT_MS = 3000, /* the same, for the advice of `check` */
    DISCOVER_TRY_MS = 1200,
    DISCOVER_GREETING_MS = 300, /* a server that speaks first has so long */
    DISCOVER_ANSWER_MS = 500,
    DISCOVER_CONFIRM_MS = 400, /* what a dialect's client says first is answered so soon; longer where the upgrade took long */
    DISCOVER_LISTEN_MS = 3200, /* to the server's pings, at the end */
    DISCOVER_TRIES_MAX = 24,
    DISCOVER_UNITS_MAX = 4,
    DISCOVER_UNIT_BYTES = 512,
    DISCOVER_BYTES_MAX = 1 << 20, /* of one try */
    DISCOVER_MESSAGES_MAX = 1000,
    DISCOVER_FINDINGS_MAX = 24,
    DISCOVER_TEXT_MAX = 400,
    DISCOVER_URL_MAX = URL_TARGET_MAX + URL_HOST_MAX + 512,
    DISCOVER_SETTINGS_MAX = 40,
    DISCOVER_PEERS_MAX = 8,
};

/* --- the table (discover_plan.c) --- */

struct discover_row {
    const char *dialect;
    const char *path;   /* tried beside the URL's own; NULL: the dialect's */
    const char *greets; /* regular expression: what the server says first to anybody. NULL: nothing */
    const char
        *proof; /* likewise, of something it says on a connection in the dialect; NULL: that `connect` was confirmed is proof */
    const char *ask;    /* said once it is open; NULL: nothing beyond the dialect's connect */
    const char *period; /* JSON pointer to the time between its pings, in its first words; NULL: it does not say */
    unsigned period_ms; /* the unit of that */
    bool speaks_freely; /* no subprotocol says that the server knows it, and it is the client who speaks first */
    bool waits;      /* and a server that speaks it says nothing to a text that is none of its own: others close the connection */
    const char *why; /* what has proven it */
};
extern const struct discover_row discover_rows[]; /* ends with a row without dialect */

#define DISCOVER_UNKNOWN "wshealthd-unknown"

enum discover_place { DISCOVER_AT_URL, DISCOVER_AT_PATH /* the row's, or the dialect's own */ };

struct discover_try {
    const struct discover_row *row; /* NULL: a bare upgrade, no dialect */
    enum discover_place place;
    bool origin;  /* with the Origin of a page of the server's own */
    bool unknown; /* of a bare one: offers DISCOVER_UNKNOWN. A server that chooses it chooses anything */
};

/* What one try has shown. Times in ns. */
struct discover_result {
    struct discover_try try;
    bool opened;        /* the upgrade was granted */
    bool ready;         /* and the dialect's greeting and connect are through */
    bool lost;          /* it ended by itself: err says how */
    const char *remark; /* of the upgrade's answer; NULL: none */
    bool echoed, asked_echo, pinged, ponged, deflate, proven;
    int status;
    char address[128];
    char subprotocol[64];
    uint64_t upgrade_ns, pong_ns, open_ns; /* open_ns: how long it was open */
    struct err err;                        /* reason REASON_NONE: nothing went wrong */
    struct {
        uint16_t len;
        char data[DISCOVER_UNIT_BYTES];
    } units[DISCOVER_UNITS_MAX]; /* the first ones, cut */
    unsigned unit_count;
    unsigned messages;       /* text and binary */
    uint64_t bytes, largest; /* of the messages */
    unsigned pings;          /* of the server's */
    uint64_t ping_gap_ns;    /* between the last two, or the opening and the first */
    unsigned beats;          /* the same, of those in the dialect's own words */
    uint64_t beat_gap_ns;
};

/* What this host tells (discover_host.c). */
struct discover_host {
    bool looked, local;
    bool hidden; /* processes of others cannot be looked into */
    unsigned listeners, processes;
    int pid;
    char name[32], unit[128];
    struct discover_peer {
        char address[64];
        uint16_t port;
        unsigned connections;
        const char *type, *scheme; /* of the broker and of its URL, by the port alone */
    } peers[DISCOVER_PEERS_MAX];
    unsigned peer_count;
};

/* A row of the target's options that the user has given by a flag: it is used in each try, and written into the file. */
struct discover_setting {
    const char *name, *text;
};

struct discover {
    const char *text; /* the URL as it was typed, with a scheme that targets have; or `other` */
    /* What was found by another look than the one that was asked for, and how that had ended. */
    char other[DISCOVER_URL_MAX]; /* with the other one of ws:// and wss://; "": the URL is as it was typed */
    struct err scheme_err;
    bool over_http2; /* the setting `http` was added */
    struct err http_err;
    struct url url;
    const struct dialect *const *dialects;
    struct discover_setting settings[DISCOVER_SETTINGS_MAX];
    size_t setting_count;
    struct discover_result results[DISCOVER_TRIES_MAX];
    size_t count;
    struct discover_result listened; /* the last one, which listens; opened is false where it was not made */
    bool tried_listening;
    bool cut; /* the time was over before the table was */
    uint64_t took_ns;
    struct discover_host host;
};

/* The next try of the table; false: there is none, as the server is known, or nothing more may be asked. */
bool discover_next(const struct discover *discover, struct discover_try *try);
/* Of a result: does it show that the server speaks the row's dialect? Sets `proven`. */
void discover_prove(struct discover_result *result);
/* The bare upgrade was granted, and one text was met with silence: what the server does with texts is not known, it may hand them to its
 * users. It is spoken to no more, except in a dialect whose subprotocol it has chosen, or one at whose usual path the URL is. */
bool discover_is_quiet(const struct discover *discover);
bool discover_takes_any(const struct discover *discover); /* it chooses whatever subprotocol is offered */
/* The result that says most; NULL: there is none at all. */
const struct discover_result *discover_best(const struct discover *discover);
bool discover_setting_given(const struct discover *discover, const char *name);
/* What is said of TLS (--ca, --insecure) counts for wss:// alone. */
bool discover_setting_counts(const struct discover *discover, const struct discover_setting *setting);
/* The URL of a try, for the configuration: the dialect adds its path itself. */
void discover_url(const struct discover *discover, const struct discover_try *try, char *out, size_t size);
void discover_origin(const struct discover *discover, char *out, size_t size); /* "https://chat.example.com" */
const struct dialect *discover_dialect(const struct discover *discover, const char *name);
bool discover_matches(const char *regex, struct slice text);
struct slice discover_unit(const struct discover_result *result, unsigned i);
/* No WebSocket was found, and the answer is one to somebody who comes in the wrong way: with the wrong one of ws:// and wss://, or over
 * HTTP/1.1 to a server that has HTTP/2 only. Another look is worth it. Never without TLS where the user has given what must stay secret. */
enum discover_again { AGAIN_NOT, AGAIN_OTHER_SCHEME, AGAIN_HTTP2 };
enum discover_again discover_wants_again(const struct discover *discover);

/* --- what was found (discover_judge.c) --- */

enum discover_sure { SURE_SEEN, SURE_SAID, SURE_LIKELY, SURE_UNKNOWN };
const char *discover_sure_name(enum discover_sure sure);

enum discover_outcome {
    OUTCOME_DIALECT,     /* it speaks a dialect of the table */
    OUTCOME_RAW,         /* it takes WebSocket connections, and what it speaks over them is its own */
    OUTCOME_REFUSED,     /* it answers, and takes no connection */
    OUTCOME_UNREACHABLE, /* there is no answer to the upgrade */
};

struct discovery {
    enum discover_outcome outcome;
    const struct discover_row *row; /* of OUTCOME_DIALECT, or of a dialect that was recognised and refuses */
    char url[DISCOVER_URL_MAX];
    char origin[URL_HOST_MAX + 32]; /* "": none is needed */
    const char *advice;             /* what to do where it does not work; a literal. NULL: it works */
    bool wants_token, wants_key, pongs, echoes, idle_only, short_lived, has_process, remarked;
    struct discover_finding {
        enum discover_sure sure;
        char text[DISCOVER_TEXT_MAX];
    } findings[DISCOVER_FINDINGS_MAX];
    size_t count;
};
void discover_judge(const struct discover *discover, struct discovery *out);

/* --- text (discover_write.c) --- */

/* A line for each finding, "seen     it echoes what it is sent", and what to do. */
void discover_write_findings(const struct discover *discover, const struct discovery *found, struct buf *out);
/* The configuration, with the findings as comments. */
void discover_write_conf(const struct discover *discover, const struct discovery *found, struct buf *out);

/* --- the driver (discover.c) and the host (discover_host.c) --- */

struct conf_env;
/* Fills in `url` and all results. Blocks for limit_ms at most, and a moment for its goodbyes. -1 and err: the URL or a setting is not
 * valid. */
int discover_run(struct discover *discover, const struct conf_env *env, uint64_t limit_ms, bool listens, struct err *err);
/* Who listens at `address` ("127.0.0.1:8080", "unix:/path"), and what that process is connected to. Reads the kernel's tables, for a
 * second at most. */
void discover_look(const char *address, struct discover_host *host);

/* Adds what the flags of a command say of the target (--origin, --token-file, ...). A text that is made for that is *owned, to be freed.
 * -1: the error has been printed. */
struct cli;
int discover_take_flags(struct discover *discover, const struct cli *cli, char **owned);
char *discover_target_url(const char *url); /* of a URL as people have it: http:// is ws://. The caller frees it */

#endif
