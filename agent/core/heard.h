/*
 * What a delivery check had lately of other agents' heartbeats, through its server. For the delivery matrix of the fleet (agent/fleet/matrix.h). Kept by
 * probes/delivery_others.c in the check's counters, read by agent/run/agent_fleet.c. Pure: no clock, no sockets, no allocation.
 *
 * *got*: it came on the WebSocket. *lost*: the agent's own subscription at the broker had it, the WebSocket did not within the time allowed, and the server
 * has answered a ping that was sent later. What came while either subscription was missing, or was new, says nothing.
 * Counts are of a window of about four intervals of the source, from 10 s to five minutes. One long silence (a restart, an outage) makes it no longer.
 *
 * Bounds: HEARD_SOURCES_MAX sources; one that has been silent for long, or has had its turn, makes room for another. HEARD_PENDING_MAX heartbeats are
 * awaited at once; further ones are only counted when they come.
 */
#ifndef WSHEALTHD_CORE_HEARD_H
#define WSHEALTHD_CORE_HEARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEARD_SOURCES_MAX = 64, HEARD_PENDING_MAX = 128, HEARD_SLOTS = 5, HEARD_SHARDS_MAX = 8, HEARD_NAME_MAX = 63 };
#define HEARD_UNKNOWN INT32_MIN

struct heard_source {
    uint32_t who; /* heartbeat_who_of */
    uint64_t since_ms, last_ms, slot_ms;
    uint32_t longest_ms,
        gap_ms[2]; /* between its heartbeats: the longest of this window; the second longest, and that of the window before */
    unsigned slot;
    struct {
        uint16_t got, lost;
        int32_t late_ms; /* the smallest; HEARD_UNKNOWN */
    } slots[HEARD_SLOTS];
};

struct heard {
    struct heard_source sources[HEARD_SOURCES_MAX], own; /* own: heartbeats that the broker has taken */
    struct {
        uint64_t key, at_ms, due_ms;
        uint32_t who;
        bool control, websocket;
    } pending[HEARD_PENDING_MAX];
    unsigned count, pending_count;
    uint64_t proved_ms; /* when the ping was sent whose answer came last on this connection */
    uint64_t swept_ms;
    uint64_t left_out_ms; /* a source had no room; 0: never */
    uint64_t able_ms;     /* since then the agent's own subscriptions at the broker have been whole; 0: they are not */
    uint32_t channels;    /* of all topics of the check, in any order */
    bool all;             /* every round tries all of them */
    /* Channels that are lost here while others are delivered. */
    struct heard_shard {
        uint32_t hash;
        char name[HEARD_NAME_MAX + 1];
    } shards[HEARD_SHARDS_MAX];
    unsigned shard_count;
};

struct heard_beat {
    uint32_t who;
    uint64_t key; /* of the heartbeat: heard_key */
    uint64_t now_ms;
    int32_t late_ms;  /* receiver's wall clock - sent */
    uint64_t wait_ms; /* control: after that time it is lost; 0: nothing follows from it */
};
uint64_t heard_key(const char *agent, const char *check, uint64_t seq);
uint32_t heard_hash(const char *text);
void heard_control(struct heard *heard, const struct heard_beat *beat);
void heard_websocket(struct heard *heard, const struct heard_beat *beat);
void heard_published(struct heard *heard, uint64_t now_ms);
/* A subscription is gone: what is awaited says nothing. */
void heard_break(struct heard *heard);
/* What was due at the last sweep already, on a connection that has been proved since, is lost. Two sweeps: after a stall of the agent, what has come is read
 * between them. heard_control sweeps by itself. */
void heard_sweep(struct heard *heard, uint64_t now_ms);

struct heard_sum {
    uint32_t got, lost;
    int32_t late_ms;    /* HEARD_UNKNOWN */
    uint64_t window_ms; /* the counts are of this time */
};
/* `source`: one of the table, or own. */
struct heard_sum heard_sum(const struct heard_source *source, uint64_t now_ms);
/* Does the table have every source that was heard lately? */
bool heard_is_whole(const struct heard *heard, uint64_t now_ms);

#endif
