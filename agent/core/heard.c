/* What was heard of other agents (agent/core/heard.h). Called for each heartbeat on either leg, and once a round. Owns nothing. */
#include "agent/core/heard.h"

#include <string.h>

enum { SLOT_MIN_MS = 2500, SLOT_MAX_MS = 60000, SILENT_MS = 60000, TURN_MS = 120000, SWEEP_MS = 200 };

/* Both legs tell when they had a message: one may be handed on later than another that came after it. */
static uint64_t ago(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

/* --- windows --- */

static uint64_t slot_len(const struct heard_source *source)
{
    uint32_t gap_ms = source->gap_ms[source->gap_ms[1] > source->gap_ms[0]];

    return gap_ms < SLOT_MIN_MS ? SLOT_MIN_MS : gap_ms > SLOT_MAX_MS ? SLOT_MAX_MS : gap_ms;
}

static void begin(struct heard_source *source, uint32_t who, uint64_t now_ms)
{
    *source = (struct heard_source){ .who = who, .since_ms = now_ms, .slot_ms = now_ms };
    source->slots[0].late_ms = HEARD_UNKNOWN;
}

static void turn(struct heard_source *source, uint64_t now_ms)
{
    uint64_t len = slot_len(source);

    if (ago(now_ms, source->slot_ms) >= HEARD_SLOTS * len) {
        memset(source->slots, 0, sizeof source->slots);
        source->slots[source->slot].late_ms = HEARD_UNKNOWN;
        source->slot_ms = now_ms;
    }
    for (; ago(now_ms, source->slot_ms) >= len; source->slot_ms += len) {
        source->slot = (source->slot + 1) % HEARD_SLOTS;
        memset(&source->slots[source->slot], 0, sizeof source->slots[0]);
        source->slots[source->slot].late_ms = HEARD_UNKNOWN;
        if (source->slot == 0) {
            source->gap_ms[1] = source->gap_ms[0];
            source->gap_ms[0] = source->longest_ms = 0;
        }
    }
}

static void heard_at(struct heard_source *source, uint64_t now_ms)
{
    uint64_t gap_ms = source->last_ms ? ago(now_ms, source->last_ms) : 0;

    if (gap_ms > SLOT_MAX_MS)
        gap_ms = SLOT_MAX_MS;
    if (gap_ms > source->longest_ms) {
        source->gap_ms[0] = source->longest_ms;
        source->longest_ms = (uint32_t)gap_ms;
    } else if (gap_ms > source->gap_ms[0]) {
        source->gap_ms[0] = (uint32_t)gap_ms;
    }
    source->last_ms = now_ms > source->last_ms ? now_ms : source->last_ms;
    turn(source, now_ms);
}

static void count(uint16_t *counter)
{
    *counter = (uint16_t)(*counter + (*counter < UINT16_MAX));
}

struct heard_sum heard_sum(const struct heard_source *source, uint64_t now_ms)
{
    struct heard_sum sum = { .late_ms = HEARD_UNKNOWN };
    struct heard_source now = *source;
    uint64_t len = slot_len(source), since_ms;

    if (!source->since_ms)
        return sum;
    turn(&now, now_ms);
    since_ms = now.slot_ms > now.since_ms + (HEARD_SLOTS - 1) * len ? now.slot_ms - (HEARD_SLOTS - 1) * len : now.since_ms;
    sum.window_ms = ago(now_ms, since_ms);
    for (unsigned i = 0; i < HEARD_SLOTS; i++) {
        sum.got += now.slots[i].got;
        sum.lost += now.slots[i].lost;
        if (now.slots[i].got && now.slots[i].late_ms != HEARD_UNKNOWN &&
            (sum.late_ms == HEARD_UNKNOWN || now.slots[i].late_ms < sum.late_ms))
            sum.late_ms = now.slots[i].late_ms;
    }
    return sum;
}

/* --- sources --- */

static struct heard_source *find(struct heard *heard, uint32_t who)
{
    for (unsigned i = 0; i < heard->count; i++)
        if (heard->sources[i].who == who)
            return &heard->sources[i];
    return NULL;
}

/* The one that was silent longest, if that is long; else the one that is there longest, if it has had its turn. */
static struct heard_source *make_room(struct heard *heard, uint64_t now_ms)
{
    struct heard_source *silent = &heard->sources[0], *oldest = &heard->sources[0];

    for (unsigned i = 1; i < heard->count; i++) {
        if (heard->sources[i].last_ms < silent->last_ms)
            silent = &heard->sources[i];
        if (heard->sources[i].since_ms < oldest->since_ms)
            oldest = &heard->sources[i];
    }
    if (ago(now_ms, silent->last_ms) >= SILENT_MS)
        return silent;
    heard->left_out_ms = now_ms;
    return ago(now_ms, oldest->since_ms) >= TURN_MS ? oldest : NULL;
}

static struct heard_source *source_of(struct heard *heard, uint32_t who, uint64_t now_ms)
{
    struct heard_source *source = find(heard, who);

    if (source)
        return source;
    source = heard->count < HEARD_SOURCES_MAX ? &heard->sources[heard->count++] : make_room(heard, now_ms);
    if (source)
        begin(source, who, now_ms);
    return source;
}

bool heard_is_whole(const struct heard *heard, uint64_t now_ms)
{
    return !heard->left_out_ms || ago(now_ms, heard->left_out_ms) >= TURN_MS;
}

/* --- heartbeats --- */

uint64_t heard_key(const char *agent, const char *check, uint64_t seq)
{
    uint64_t key = UINT64_C(14695981039346656037) ^ seq;

    for (; *agent; agent++)
        key = (key ^ (uint8_t)*agent) * UINT64_C(1099511628211);
    for (; *check; check++)
        key = (key ^ (uint8_t)*check) * UINT64_C(1099511628211);
    return key;
}

uint32_t heard_hash(const char *text)
{
    uint64_t key = heard_key(text, "", 0);

    return (uint32_t)(key ^ key >> 32);
}

static int place_of(const struct heard *heard, uint64_t key)
{
    for (unsigned i = 0; i < heard->pending_count; i++)
        if (heard->pending[i].key == key)
            return (int)i;
    return -1;
}

/* -1: there is no room. */
static int await(struct heard *heard, const struct heard_beat *beat)
{
    unsigned i = heard->pending_count;

    if (i == HEARD_PENDING_MAX)
        return -1;
    heard->pending_count++;
    heard->pending[i].key = beat->key;
    heard->pending[i].who = beat->who;
    heard->pending[i].at_ms = beat->now_ms;
    heard->pending[i].due_ms = beat->now_ms + beat->wait_ms;
    heard->pending[i].control = heard->pending[i].websocket = false;
    return (int)i;
}

void heard_control(struct heard *heard, const struct heard_beat *beat)
{
    struct heard_source *source = source_of(heard, beat->who, beat->now_ms);
    int at;

    heard_sweep(heard, beat->now_ms);
    at = place_of(heard, beat->key);
    if (!source)
        return;
    if (at < 0) {
        heard_at(source, beat->now_ms);
        if (beat->wait_ms)
            at = await(heard, beat);
    }
    if (at >= 0)
        heard->pending[at].control = true;
}

void heard_websocket(struct heard *heard, const struct heard_beat *beat)
{
    struct heard_source *source = source_of(heard, beat->who, beat->now_ms);
    int at = place_of(heard, beat->key);

    if (!source || (at >= 0 && heard->pending[at].websocket))
        return;
    heard_at(source, beat->now_ms);
    count(&source->slots[source->slot].got);
    if (source->slots[source->slot].late_ms == HEARD_UNKNOWN || beat->late_ms < source->slots[source->slot].late_ms)
        source->slots[source->slot].late_ms = beat->late_ms;
    if (at < 0)
        at = await(heard, beat);
    if (at >= 0)
        heard->pending[at].websocket = true;
}

void heard_published(struct heard *heard, uint64_t now_ms)
{
    if (!heard->own.since_ms)
        begin(&heard->own, 0, now_ms);
    heard_at(&heard->own, now_ms);
    count(&heard->own.slots[heard->own.slot].got);
}

void heard_break(struct heard *heard)
{
    heard->pending_count = 0;
    heard->proved_ms = 0;
}

void heard_sweep(struct heard *heard, uint64_t now_ms)
{
    unsigned kept = 0;

    if (ago(now_ms, heard->swept_ms) < SWEEP_MS)
        return;
    for (unsigned i = 0; i < heard->pending_count; i++) {
        struct heard_source *source;

        if (heard->pending[i].due_ms > heard->swept_ms || heard->pending[i].at_ms > heard->proved_ms) {
            heard->pending[kept++] = heard->pending[i];
            continue;
        }
        source = heard->pending[i].control && !heard->pending[i].websocket ? find(heard, heard->pending[i].who) : NULL;
        if (!source)
            continue;
        turn(source, now_ms);
        count(&source->slots[source->slot].lost);
    }
    heard->pending_count = kept;
    heard->swept_ms = now_ms;
}
