/*
 * Never the last N out: may this instance, which a local fault would take out of rotation, go? Pure: no clock, no sockets, no allocation. The
 * agent asks min_ready_decide after every change of its verdict, for every message of the fleet that may matter, and at least once a second.
 *
 * THE RULE. An instance with a local fault first *asks*: it publishes that it wants to go out, and stays in rotation. It goes *out* when N other
 * members (N: min_ready) have been heard in rotation and well **after its own question has come back to it** from the broker, and a margin. Where
 * that never happens it is *held*: in rotation, degraded, with the reason. Nobody leads, nobody votes, no two tables need to agree.
 *
 * WHY IT HOLDS. Take all that are out at some moment, and of them the one, i, that asked last. It went out because N others had spoken well after its
 * question was known. If one of those, j, were out as well, j would have asked after it spoke well, so after i: but i was the last. So those N
 * are all in rotation, but for those that have died, been drained or begun anew since: nobody can rule that. Two that fail in the same
 * instant and have not heard of each other are no exception: each is silent about being well from its own question on, so neither counts the other.
 *
 * WHEN NEARLY ALL FAIL, too few are well, and the rule above would hold everybody. So after two rounds (2 × every) those that fail
 * count as well: an asking or held member that comes after this one in the order, and has spoken since it must have known of the question,
 * stays in rotation on this one's account. The order is (begin of the fault as published, id): the same numbers in all tables, so a wrong clock makes
 * the order unfair and never inconsistent. Thus the longest in fault go, as far as the allowance reaches.
 *
 * COMING BACK. Who is out while fewer than N others are in rotation (dead for `expire`, drained, failed) comes back, held, those first that come last
 * in the order, as many as are missing. Who has come back, or is held, goes out only after the allowance has been there for three rounds without a
 * break: it does not alternate. Whose fault ends is in rotation at once: this module only ever keeps an instance in, and never one out.
 *
 * THE BOUND. In rotation are at least min(N, who is alive and not drained), less those that within the last `expire` + 2 s died without a word,
 * lost the broker and fell back to their own verdict, were drained, or began anew; and less what overtakes the margin: a message that needs
 * MIN_READY_MARGIN_MS longer than the question's own way there and back. Where one broker serves all, a long way there is in both, however long it is. In
 * a cluster of brokers the question comes back from the nearest one: regions may be MIN_READY_MARGIN_MS from each other, one way; less 2 × BROKER_BATCH_MS
 * where messages are read in batches, as the other may read the question late, and what it says may be read later than the echo was. Where they are farther,
 * two that fail within two such ways may both go, and one is back after as long (test_simulation.c). With N % the N is that of the one who asks, of the members it knows, rounded
 * up; tables that differ by d members differ by at most ⌈d × N / 100⌉.
 *
 * NO FLEET, NO RULE. Without the broker, without its own summaries coming back for three fifths of `expire`, or where no other server's agent has
 * ever been heard, the agent acts by its own verdict at once (`mode` says which). After a partition each side counts its own members: each
 * keeps N or, if it has no more than that, all. A server that has never been ready is never held: a bad release must stop.
 */
#ifndef WSHEALTHD_FLEET_MIN_READY_H
#define WSHEALTHD_FLEET_MIN_READY_H

#include "agent/fleet/members.h"

enum {
    MIN_READY_MARGIN_MS =
        500, /* how much later than the question's echo a message may arrive that was sent before the question was known */
    MIN_READY_AGAIN_MS = 1000,  /* the question is repeated so often, until it has come back and been answered */
    MIN_READY_STALL_MS = 3000,  /* decided nothing for so long: the question is asked anew */
    MIN_READY_STEADY_ROUNDS = 3 /* of `every`: so long must the allowance be there for one that is held */
};

enum min_ready_mode {
    MIN_READY_OFF,      /* not configured, or no fault that it is for */
    MIN_READY_ALONE,    /* no other server's agent has ever been heard: own verdict */
    MIN_READY_UNLINKED, /* the broker is not there, or does not bring back what this agent publishes: own verdict */
    MIN_READY_RULES,
};

struct min_ready_input {
    uint64_t now_ms;   /* monotonic */
    bool linked;       /* the broker is up and has confirmed the subscription */
    uint32_t every_ms; /* as configured */
    struct fleet_min min;
    const char *id; /* this agent's */
    bool fault;     /* as summary.fault, and to be acted on: false where it is called shared (agent/fleet/together.h) */
    int64_t fault_key_ms;
    uint64_t last_seq; /* of the last summary that was published */
};

struct min_ready { /* of this instance; zero it to start */
    enum fleet_stand stand;
    enum min_ready_mode mode;
    uint64_t asked_ms, ask_seq, base_ms; /* base_ms: when the question was known to all, 0: not yet */
    uint64_t published_ms, decided_ms, stand_ms;
    uint64_t linked_ms;  /* since when the link is proven; 0: it is not */
    uint64_t allowed_ms; /* since when the allowance is there without a break; 0: it is not */
    /* What the last decision was made from: for the view and the sentence. */
    uint32_t members; /* of the group, this one included */
    uint32_t needed;  /* N */
    uint32_t counted; /* others that remain in rotation if this one goes */
    bool publish;     /* the summary is to be published now: the stand has changed, or the question is repeated */
};

/* What is to be done with the fault: OWN and OUT: as the own verdict says; ASKS and HELD: in rotation, degraded. */
enum fleet_stand min_ready_decide(struct min_ready *min_ready, const struct members *members, const struct min_ready_input *input);
/* Has the link been proven for long enough that everybody was heard, so that the table is the group? Before that no instance goes out by the rule, none
 * comes back by it, and together_judge and witness_judge are to be told so. It is known as long as min_ready_decide is called, with a fault or without. */
bool min_ready_is_settled(const struct min_ready *min_ready, uint32_t every_ms, uint64_t now_ms);
/* N of so many members: N % is rounded up. */
uint32_t min_ready_needed(struct fleet_min min, uint32_t members);
/* "2" or "50%": false and nothing else where it is neither. */
bool min_ready_parse(const char *text, struct fleet_min *out);
/* For people, without names or addresses: why the instance is held, has asked, or acts by its own verdict. "" where there is nothing to say. */
void min_ready_say(const struct min_ready *min_ready, struct fleet_min min, char *out, size_t size);

#endif
