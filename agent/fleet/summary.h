/*
 * What one agent tells the others of its group: a line of words, published on `wshealthd.fleet.GROUP`.
 *   wshf1 id=chat-1 region=eu-west group=chat version=0.3.0 role=server run=1764226225000.9f3a21bc seq=17 sent=1764226229000 every=5000
 *     word=degraded since=4000 stand=held min=2 fault=1764226225500 for=3500 cause=server_hung scope=local conns=120 taken=handshake,ping
 *     refused=echo release=1.5 public=pass:1200 beats=12:21000:5b0c91e4:1 shards=0e21aa07,… row=1f0a77c2:12:0:5:-3,… mac=HEX
 * (one line, one blank between words). Pure: no clock, no sockets, no allocation but that of the buffer. Whoever reads one has checked nothing:
 * agent/fleet/members.h asks for the group, the order and the age.
 *
 * Strict in what it knows: a key comes once, a value is in its range, and what belongs together comes together. Keys that it does not know are
 * skipped, so that a later version may say more; a summary of another form begins with another word than wshf1.
 * Bounds: SUMMARY_MAX bytes without `row` and `mac`, SUMMARY_WIRE_MAX with them.
 */
#ifndef WSHEALTHD_FLEET_SUMMARY_H
#define WSHEALTHD_FLEET_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/base/reason.h"

enum {
    SUMMARY_WORD_MAX = 48, /* id, region, group: HEARTBEAT_WORD_MAX, and the same characters (heartbeat_word) */
    SUMMARY_VERSION_MAX = 31,
    SUMMARY_CAUSE_MAX = 39,
    SUMMARY_ROW_MAX = 32,
    SUMMARY_SHARDS_MAX = 8,
    SUMMARY_MAX = 1024,
    SUMMARY_WIRE_MAX = 3072,
    SUMMARY_EVERY_MIN_MS = 100,
    SUMMARY_EVERY_MAX_MS = 3600000,
};

/* What /ready says of the instance now, the fleet's part in it included; and LEFT: the agent ends, on purpose. */
#define FLEET_WORD_LIST(X)    \
    X(STARTING, "starting")   \
    X(READY, "ready")         \
    X(DEGRADED, "degraded")   \
    X(NOT_READY, "not_ready") \
    X(DRAINING, "draining")   \
    X(LEFT, "left")
enum fleet_word {
#define FLEET_WORD_ENUM(id, name) FLEET_##id,
    FLEET_WORD_LIST(FLEET_WORD_ENUM)
#undef FLEET_WORD_ENUM
        FLEET_WORD_COUNT
};
const char *fleet_word_name(enum fleet_word word);

/* What `min_ready` makes of a local fault of the instance (agent/fleet/min_ready.h). OWN: nothing, the verdict is the agent's own.
 * ASKS: in rotation, it has announced that it wants to go out. HELD: in rotation, as too few would remain. OUT: it has gone out. */
#define FLEET_STAND_LIST(X) \
    X(OWN, "own")           \
    X(ASKS, "asks")         \
    X(HELD, "held")         \
    X(OUT, "out")
enum fleet_stand {
#define FLEET_STAND_ENUM(id, name) FLEET_STAND_##id,
    FLEET_STAND_LIST(FLEET_STAND_ENUM)
#undef FLEET_STAND_ENUM
        FLEET_STAND_COUNT
};
const char *fleet_stand_name(enum fleet_stand stand);

/* Kinds of checks that present something which a server may refuse: bits of `taken` and `refused` (agent/fleet/witness.h). Names are those of
 * check types. New ones go to the end; a name that is not known here is skipped. */
#define FLEET_KIND_LIST(X)    \
    X(HANDSHAKE, "handshake") \
    X(PING, "ping")           \
    X(ECHO, "echo")           \
    X(PAYLOAD, "payload")     \
    X(HOLD, "hold")           \
    X(RECONNECT, "reconnect") \
    X(AUTH, "auth")           \
    X(ORIGIN, "origin")       \
    X(SUBSCRIBE, "subscribe") \
    X(DELIVERY, "delivery")   \
    X(SCRIPT, "script")       \
    X(TLS, "tls")             \
    X(HTTP, "http")
enum fleet_kind {
#define FLEET_KIND_ENUM(id, name) FLEET_KIND_##id,
    FLEET_KIND_LIST(FLEET_KIND_ENUM)
#undef FLEET_KIND_ENUM
        FLEET_KIND_COUNT
};
const char *fleet_kind_name(enum fleet_kind kind);
unsigned fleet_kind_bit(const char *check_type); /* 0: none of them */

/* How the public path is seen by the WebSocket checks that go there: FAIL where the state of one of them is fail. */
enum fleet_public { FLEET_PUBLIC_UNSEEN, FLEET_PUBLIC_PASS, FLEET_PUBLIC_FAIL };

/* readiness.min_ready: N, or N % of the members. */
struct fleet_min {
    uint32_t count;
    bool percent;
};

/* One cell of the delivery matrix (agent/fleet/matrix.h): what the sender of the summary had of one other agent, in the last minute. `who` is fleet_hash of the other's id. */
struct summary_source {
    uint32_t who;
    uint16_t got, lost; /* its heartbeats on this server's WebSocket in the window; saturating */
    int32_t
        late_ms; /* the smallest time from its clock's sending to this clock's receiving, of those heartbeats; or SUMMARY_UNKNOWN */
    int32_t gap_ms; /* the same of its summaries: from both sides of it comes the offset of the clocks; or SUMMARY_UNKNOWN */
};
#define SUMMARY_UNKNOWN INT32_MIN
/* late_ms where nothing was got: nor did anything come to the sender's own subscriptions at the broker. */
#define SUMMARY_NOR_CONTROL 0

/* What the sender's delivery checks have published lately. */
struct summary_beats {
    uint32_t count, window_ms; /* heartbeats that the broker has taken, and in what time; window_ms 0: it has no delivery check */
    uint32_t channels;         /* hash of all their topics */
    bool all;                  /* every round tries all channels */
    /* Channels (hashes of topics) that its server loses while it delivers others. */
    uint32_t shards[SUMMARY_SHARDS_MAX];
    uint32_t shard_count;
};

struct summary {
    char id[SUMMARY_WORD_MAX + 1], region[SUMMARY_WORD_MAX + 1], group[SUMMARY_WORD_MAX + 1];
    char version[SUMMARY_VERSION_MAX + 1]; /* of the agent */
    char release[SUMMARY_VERSION_MAX + 1]; /* of the server: identity.version; "": not said */
    enum fleet_public public_path;
    uint64_t public_age_ms; /* so long ago is the round that says so */
    bool watcher;           /* role: watcher: no server beside it, never counted */
    uint64_t run_ms;        /* wall, when this run of the agent began */
    uint32_t nonce;         /* random, for the run: with run_ms its name */
    uint64_t seq;           /* from 1, one more for each summary of the run */
    int64_t sent_ms;        /* wall */
    uint32_t every_ms;      /* so often it publishes when nothing changes */
    enum fleet_word word;
    uint64_t since_ms; /* so long it has been that */
    enum fleet_stand stand;
    struct fleet_min min; /* as it is configured there; 0: off */
    /* The agent's own verdict, before the fleet's part in it: is there a *local* fault that takes the instance out, the server being admitted and
     * not draining? Said also when stand is OWN (no min_ready, or fleet_wide_fault). */
    bool fault;
    int64_t fault_key_ms;              /* wall, when it began, the same number for as long as it lasts: all agents order by it */
    uint64_t fault_for_ms;             /* so long it has lasted, by the sender's monotonic clock */
    char cause[SUMMARY_CAUSE_MAX + 1]; /* own, never one that the fleet has made of it; "" when healthy */
    enum scope scope;                  /* of the cause; SCOPE_NONE where cause is "" */
    bool have_connections;
    uint32_t connections;
    uint16_t taken, refused; /* bits of enum fleet_kind, as agent/fleet/witness.h has them */
    struct summary_beats beats;
    struct summary_source row[SUMMARY_ROW_MAX];
    size_t row_count;
};

/* Why a summary is not believed: counted by name (metrics, /fleet). */
#define FLEET_REFUSAL_LIST(X)                                                                          \
    X(NONE, "", "")                                                                                    \
    X(TOO_LONG, "too_long", "longer than a summary can be")                                            \
    X(GARBAGE, "garbage", "no summary, or a broken one")                                               \
    X(UNSIGNED, "unsigned", "not signed, and fleet.key is set")                                        \
    X(BAD_SIGNATURE, "bad_signature", "signed with another key, or changed on its way")                \
    X(OTHER_GROUP, "other_group", "of another group")                                                  \
    X(OLD, "old", "not newer than what is known of the member: repeated, late, or replayed")           \
    X(CLOCK, "clock", "signed, and sent too long ago or in the future: replayed, or a clock is wrong") \
    X(FULL, "full", "of a member that no room is left for")
enum fleet_refusal {
#define FLEET_REFUSAL_ENUM(id, name, help) FLEET_REFUSED_##id,
    FLEET_REFUSAL_LIST(FLEET_REFUSAL_ENUM)
#undef FLEET_REFUSAL_ENUM
        FLEET_REFUSAL_COUNT
};
const char *fleet_refusal_name(enum fleet_refusal refusal);
const char *fleet_refusal_help(enum fleet_refusal refusal);

/* An id as cells of the matrix have it: heartbeat_who. */
uint32_t fleet_hash(const char *id);

/* Appends the line; signed with HMAC-SHA256 where the key is not empty. -1: it does not fit into the buffer. What a caller puts into the words
 * must be words: anything else is a mistake of this program. */
int summary_write(const struct summary *summary, struct slice key, struct buf *out);
/* FLEET_REFUSED_NONE: *out is whole. Otherwise *out holds nothing of use. An empty key asks for no signature and looks at none. */
enum fleet_refusal summary_read(struct slice line, struct slice key, struct summary *out);

#endif
