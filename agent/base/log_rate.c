/*
 * The log's rate limit (agent/base/log_rate.h): a bucket of lines for each kind. Owns a table of fixed size; with more kinds than places the
 * one that was quiet longest goes, and its count with it.
 */
#include "agent/base/log_rate.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static struct log_kind kinds[LOG_RATE_KINDS];
static uint64_t next_look_ms; /* no kind has a count to tell before */

/* FNV-1a. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; text && *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

static unsigned burst(const struct log_kind *kind)
{
    return kind->verdict ? LOG_RATE_VERDICT_BURST : LOG_RATE_BURST;
}

static void refill(struct log_kind *kind, uint64_t now_ms)
{
    uint64_t each = kind->verdict ? LOG_RATE_VERDICT_REFILL_MS : LOG_RATE_REFILL_MS;
    uint64_t spent = now_ms > kind->refill_ms ? (now_ms - kind->refill_ms) / each : 0;
    kind->refill_ms += spent * each;
    if (spent < burst(kind) - kind->left) {
        kind->left += (unsigned)spent;
        return;
    }
    kind->left = burst(kind);
    kind->refill_ms = now_ms;
    kind->reasons = 0;
}

static struct log_kind *find(const char *event, const char *subject, bool verdict, uint64_t now_ms)
{
    uint64_t hash = hash_text(hash_text(UINT64_C(0xcbf29ce484222325), event), subject);
    struct log_kind *oldest = &kinds[0];
    hash += hash == 0;
    for (size_t i = 0; i < LOG_RATE_KINDS; i++) {
        if (kinds[i].hash == hash)
            return &kinds[i];
        if (kinds[i].hash == 0) {
            oldest = &kinds[i];
            break;
        }
        if (kinds[i].last_ms < oldest->last_ms)
            oldest = &kinds[i];
    }
    *oldest = (struct log_kind){ .hash = hash, .refill_ms = now_ms, .verdict = verdict, .event = event };
    oldest->left = burst(oldest);
    snprintf(oldest->subject, sizeof oldest->subject, "%s", subject ? subject : "");
    return oldest;
}

bool log_rate_take(const char *event, const char *subject, const char *reason, bool verdict, uint64_t now_ms)
{
    struct log_kind *kind = find(event, subject, verdict, now_ms);
    uint64_t bit = reason ? UINT64_C(1) << (hash_text(0, reason) >> 58) : 0;
    bool is_new;
    refill(kind, now_ms);
    is_new = bit & ~kind->reasons;
    kind->reasons |= bit;
    kind->last_ms = now_ms;
    if (kind->left == 0 && !is_new) {
        kind->more++;
        return false;
    }
    kind->left -= kind->left > 0;
    return true;
}

struct log_kind *log_rate_owing(uint64_t now_ms)
{
    if (now_ms < next_look_ms)
        return NULL;
    for (size_t i = 0; i < LOG_RATE_KINDS && kinds[i].hash; i++) {
        if (kinds[i].more == 0)
            continue;
        refill(&kinds[i], now_ms);
        if (kinds[i].left == 0)
            continue;
        kinds[i].left--;
        return &kinds[i];
    }
    next_look_ms = now_ms + 1000;
    return NULL;
}

void log_rate_forget(void)
{
    memset(kinds, 0, sizeof kinds);
    next_look_ms = 0;
}
