/*
 * Who else is in the group: a soft table of the last summary of each member. Pure: bytes and clocks are given. The link (which owns it) hands it
 * every message of the topic; everything else of the fleet reads it.
 *
 * What is believed. A summary counts where it is whole, of this group, and newer than what is known of its sender: by run (the later start), then
 * by its number in the run. With a key it must be signed, and sent at most `expire` ago by this host's wall clock: that alone needs clocks that
 * agree. All else is timed by the receiver's monotonic clock at the moment of hearing, so another host's clock cannot make a member live longer,
 * be older, or take another place. What is not believed is counted by its reason and leaves no trace in the table.
 *
 * Who is there. A member is *fresh* for three fifths of `expire` after it was heard, then *silent*, and forgotten after `expire`. Who says that it
 * leaves is remembered as LEFT for as long, so that a repeated message does not bring it back. Where the other's own `every` is longer than
 * `expire` allows for, it has four of those, up to ten times `expire`. Two agents with one id are told by their runs: the older one
 * speaks on, long after the newer one has begun, and the newer one as well: an agent that was started anew with a clock that was set back is no twin of
 * its last run, and is believed as soon as that is silent. They are one row, flagged `twin`, and nobody counts on it.
 *
 * Bounds: MEMBERS_MAX members, each at most MEMBERS_BYTES_EACH bytes, rows of the matrix included; a stranger finds the table full and displaces
 * nobody. A summary costs one look-up in a hash table (keyed by `seed`), and its signature. members_sweep walks the table: once a second is enough.
 */
#ifndef WSHEALTHD_FLEET_MEMBERS_H
#define WSHEALTHD_FLEET_MEMBERS_H

#include "agent/fleet/summary.h"

enum { MEMBERS_MAX = 10000, MEMBERS_BYTES_EACH = 1024, MEMBERS_GAP_WINDOW_MS = 60000 };

struct member {
    char id[SUMMARY_WORD_MAX + 1], region[SUMMARY_WORD_MAX + 1];
    char version[SUMMARY_VERSION_MAX + 1], release[SUMMARY_VERSION_MAX + 1], cause[SUMMARY_CAUSE_MAX + 1];
    bool watcher, fault, have_connections;
    enum fleet_word word : 8; /* narrow, as there may be many members */
    enum fleet_stand stand : 8;
    enum scope scope : 8;
    enum fleet_public public_path : 8;
    uint16_t taken, refused;
    struct fleet_min min;
    uint32_t connections, every_ms, who; /* who: fleet_hash of id */
    uint32_t public_age_ms;              /* of the round that says so, when it was heard; saturating */
    uint64_t hash;                       /* in the table */
    /* monotonic, of this host */
    uint64_t first_ms, heard_ms, run_heard_ms; /* the member, its last summary, the first of its present run */
    uint64_t since_ms, fault_since_ms; /* of word, of fault: early by nothing, late by at most the way of the fastest summary */
    uint64_t begun_ms, version_ms;     /* of the run, by how long it has lasted on the sender's clock; of its version */
    uint64_t public_since_ms;          /* since when it has said so without a break */
    uint64_t twin_ms;                  /* last heard twice; 0: never */
    uint64_t other_ms;                 /* when a run that began earlier was heard beside the present one; 0: never */
    int64_t fault_key_ms;              /* as published: for the order only */
    uint64_t run_ms, seq, old_run_ms, old_seq; /* the present run, and the one before */
    uint32_t nonce, old_nonce;
    uint32_t received, lost, restarts; /* summaries of all runs; lost: holes in the numbers */
    int32_t gap_ms[2];                 /* smallest of (this host's wall clock at hearing - sent), this window and the one before */
    uint64_t gap_window_ms;
    struct summary_beats beats;
    uint32_t row_count;
    struct summary_source *row; /* what it receives from whom; NULL: nothing */
};

struct members_conf {
    const char *id, *group; /* this agent's; copied */
    uint64_t run_ms;        /* of this run, as in its summaries */
    uint32_t nonce;
    uint32_t expire_ms;
    uint32_t max;  /* 0: MEMBERS_MAX */
    uint64_t seed; /* random_bytes: so that nobody can choose ids that meet in the hash table */
};

enum members_news {
    MEMBERS_REFUSED,   /* *why says it, and it has been counted */
    MEMBERS_ECHO,      /* this agent's own, of this run: the way through the broker works both ways */
    MEMBERS_OWN_TWIN,  /* another agent uses this agent's id */
    MEMBERS_JOINED,    /* not known before */
    MEMBERS_RESTARTED, /* known, with a new run */
    MEMBERS_TWIN,      /* two agents use its id; the older one's summary is not taken */
    MEMBERS_LEFT,      /* it has said that it leaves */
    MEMBERS_HEARD,
};

struct members;
struct members *members_new(const struct members_conf *conf);
void members_free(struct members *members);
/* A new expire (a reload); what is known stays. Another id or group is another table. */
void members_set_expire(struct members *members, uint32_t expire_ms);

/* One message of the topic. now_ms monotonic, wall_ms of the same moment. *who: whose it was (NULL: refused, echo or own twin), until the next call
 * that changes the table. Both pointers may be NULL. */
enum members_news members_take(struct members *members, struct slice line, struct slice key, uint64_t now_ms, int64_t wall_ms,
                               const struct member **who, enum fleet_refusal *why);
/* Forgets who has been silent for too long. How many. */
size_t members_sweep(struct members *members, uint64_t now_ms);

size_t members_count(const struct members *members); /* all rows, LEFT ones and watchers too */
const struct member *members_at(const struct members *members, size_t i);
const struct member *members_find(const struct members *members, const char *id);
uint64_t members_refused(const struct members *members, enum fleet_refusal why);
/* Has any other server's agent ever been heard? Until then there is no fleet. */
bool members_met(const struct members *members);
/* The newest own summary that has come back, and when; 0: none. */
uint64_t members_echo_seq(const struct members *members);
uint64_t members_echo_ms(const struct members *members);
uint64_t members_own_twin_ms(const struct members *members); /* last heard; 0: never */
uint32_t members_expire_ms(const struct members *members);
uint64_t members_bytes(const struct members *members); /* what the table takes */

bool member_is_fresh(const struct members *members, const struct member *member, uint64_t now_ms);
bool member_is_twin(const struct members *members, const struct member *member, uint64_t now_ms);
/* The server's version where it is said, otherwise the agent's. */
const char *member_version(const struct member *member);
/* It counts as one of the group's instances: a server's agent that has not left. Silent ones still do. */
bool member_counts(const struct member *member);
/* In rotation, as it said last. */
bool member_is_in(const struct member *member);
/* In rotation, and nothing of its own would take it out. */
bool member_is_well(const struct member *member);
/* Its clock is that far ahead of this host's, ± *error: from what each has measured of the other's summaries. `back_ms` is the gap that the member
 * reports of this agent (its row). false: one side is missing. */
bool member_clock(const struct member *member, uint32_t own_who, int32_t *ahead_ms, int32_t *error_ms);

#endif
