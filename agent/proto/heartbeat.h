/*
 * Heartbeats: what is published on the broker and awaited on the WebSocket. A short ASCII text that survives JSON, headers and logs:
 *   wshb1.AGENT.REGION.CHECK.SEQ.SENT     AGENT, REGION, CHECK: [A-Za-z0-9_-]+ ; SEQ: decimal; SENT: wall milliseconds, decimal
 * and the books that are kept of them: per source what came, late, twice, out of order, not at all. Pure.
 */
#ifndef WSHEALTHD_PROTO_HEARTBEAT_H
#define WSHEALTHD_PROTO_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/slice.h"

enum { HEARTBEAT_MAX = 200, HEARTBEAT_WORD_MAX = 48, HEARTBEAT_SOURCES_MAX = 32, HEARTBEAT_WINDOW = 64 };

struct heartbeat {
    char agent[HEARTBEAT_WORD_MAX + 1], region[HEARTBEAT_WORD_MAX + 1], check[HEARTBEAT_WORD_MAX + 1];
    uint64_t seq;
    int64_t sent_ms;
};
void heartbeat_write(const struct heartbeat *heartbeat, char out[HEARTBEAT_MAX]);
/* Finds the first heartbeat inside a payload, whatever is around it. */
bool heartbeat_find(struct slice payload, struct heartbeat *out);
bool heartbeat_same_source(const struct heartbeat *a, const struct heartbeat *b);
void heartbeat_word(const char *text, char out[HEARTBEAT_WORD_MAX + 1]); /* any text made into a word: other characters become _ */
/* AGENT of a delivery check: the agent's id and the nonce of its run (8 characters). What is cut of a long id is there as a hash. */
void heartbeat_agent(const char *id, const char *nonce, char out[HEARTBEAT_WORD_MAX + 1]);
/* A number for an agent's id (FNV-1a), and the same from such an AGENT, of whatever run. Not against people who look for collisions. */
uint32_t heartbeat_who(const char *id);
uint32_t heartbeat_who_of(const char *agent);

enum heartbeat_news { HEARTBEAT_NEW, HEARTBEAT_DUPLICATE, HEARTBEAT_REORDERED /* new, but an older one than the newest */ };
struct heartbeat_book { /* of one leg; bounded: the source that was quiet longest makes room */
    struct heartbeat_source {
        char name[3 * HEARTBEAT_WORD_MAX + 3];
        uint64_t highest, seen_bits; /* bit i: highest - i has come */
        uint64_t received, duplicates, reordered, gaps, last_ms;
    } sources[HEARTBEAT_SOURCES_MAX];
    unsigned count;
};
enum heartbeat_news heartbeat_note(struct heartbeat_book *book, const struct heartbeat *heartbeat, uint64_t now_ms);

#endif
