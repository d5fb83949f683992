/*
 * The plug-in contract of a check type. A probe holds a conversation and nothing else: sockets, TLS, deadlines, retries, verdicts, logs
 * and metrics belong to the engine. What a type declares is agent/conf/probe_type.h; here is what its rounds
 * are given, and what they may say.
 */
#ifndef WSHEALTHD_CORE_PROBE_H
#define WSHEALTHD_CORE_PROBE_H

#include "agent/base/clock.h"
#include "agent/client/conn.h"
#include "agent/conf/conf.h"
#include "agent/conf/probe_type.h"
#include "agent/core/stats.h"
#include "agent/net/loop.h"
#include "agent/net/tls.h"

struct run;
struct check;
struct conn_group;
struct broker;
struct share;

/* What a round measured (agent/core/run_report.h). Talk fills it for steps; other types fill what they know. */
struct run_report {
    enum phase phase; /* where it is, or where it failed */
    bool have_phase[PHASE_COUNT];
    uint64_t phase_ns[PHASE_COUNT];
    bool have_rtt;
    uint64_t rtt_ns;
    int http_status, close_code; /* 0: none */
    bool http2;                  /* the connection that it tells of was over HTTP/2 */
    enum h2_gap h2_gap;
    int broker_hint;           /* enum broker_hint; 0: none */
    bool close_counted;        /* in an earlier round: it is shown again */
    int64_t cert_not_after_ms; /* 0: none seen */
    uint64_t retry_after_ms;   /* what a refusal asks for; 0: nothing */
    bool tls_answered;         /* the peer has sent something that looks like TLS */
    bool answered;             /* the peer has begun an answer to the upgrade */
    bool spoke;                /* something came behind the upgrade */
    uint64_t settled_ns;       /* what the round measures was over then, though it goes on; 0: it was not */
};

/* One round of a check, or the life of a session check. */
struct run {
    const struct probe_type *type;
    const struct check_conf *conf;
    const struct target_conf *target;
    const char *agent_id, *region, *nonce; /* of heartbeats; words. The nonce is this process's */
    const struct url *url;                 /* target's local or public, by conf->path */
    struct loop *loop;
    struct conn_group *group; /* for WebSocket connections of its own (agent/client/conn.h) */
    struct share *share;      /* `share_connection`: for conn_options of its dialogues (agent/client/share.h); NULL: not set */
    struct asker asker;       /* on whose behalf, likewise */
    enum conf_http http;      /* as configured */
    bool http2;               /* for conn_options: over HTTP/2 */
    struct dial_each *each;   /* `each_address`: which address to dial (agent/net/dial.h); NULL: any */
    struct trace *trace;      /* the record of the round: for connections of any kind (agent/base/trace.h) */
    struct tls_context *tls;  /* full handshakes; NULL where nothing speaks TLS */
    struct tls_context *tls_resume; /* for mass holding only: a resumed session hides an expired certificate */
    const void *opts;
    void *state;
    struct check_stats *stats; /* held connections, closes */
    bool once;                 /* `wshealthd check`: this is the only round */
    bool active;               /* a round is under way */
    bool failed;               /* for stop: the round that has just ended failed, or is void */
    struct talk *talk;         /* of a type with steps: agent/core/talk.c's own */
    uint64_t started_ns;
    struct run_report report;
    struct check *check; /* the engine's */
};

/* Each of these ends the round; the first call wins. The sentence names the thing and the value; the engine removes secrets from it. A pass
 * slower than `slo` becomes a warning, slow; its fmt may be NULL. run_finish is a failure. */
void run_pass(struct run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void run_finish(struct run *run, enum reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void run_warn(struct run *run, enum reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void run_finish_err(struct run *run, const struct err *err);
/* Session types, between rounds: something failed just now; judged at once as a failed round. During a round it finishes that. */
void run_event(struct run *run, const struct err *err);
void run_event_warn(struct run *run, const struct err *err); /* the same, as a warning */
/* Session types: the round proves nothing before that moment; it ends without being judged or counted, and the next one comes then. */
void run_skip(struct run *run, uint64_t until_ns);
/* For a connection to the target on the round's behalf. Whoever opens one begins with these, and changes what is special about it. */
struct conn_options run_conn_options(const struct run *run);
/* May it open a connection now? After a refusal few attempts are made, one in each round at most: the rest of a round goes on without. */
bool run_may_connect(struct run *run);
/* When the next attempt may be made, for run_skip; monotonic. */
uint64_t run_barred_until_ns(const struct run *run);
bool run_backs_off(const struct run *run);
/* The broker of that name; NULL: none is configured (the configuration has refused that). Types that call it say uses_brokers. */
struct broker *run_broker(const struct run *run, const char *name);
/* How many runs the check has: two where each round is done over both versions of HTTP. What may come once in a while comes so much rarer. */
unsigned run_versions(const struct run *run);
/* Is the instance being drained? *since_ns: when that began, or when it ended (monotonic); 0: it never was. */
bool run_draining(const struct run *run, uint64_t *since_ns);

#endif
