/*
 * The table of the group's members (agent/fleet/members.h). Called by the link for each message and once a second; read by the policies and by
 * whoever fills the view. Owns the rows. Leaves to others what a row means: min_ready.c, together.c, witness.c, matrix.c.
 */
#include "agent/fleet/members.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/mem.h"

enum { SLOTS_MIN = 16, EVERY_KEPT = 4, EXPIRE_STRETCH = 10 };

struct members {
    char id[SUMMARY_WORD_MAX + 1], group[SUMMARY_WORD_MAX + 1];
    struct members_conf conf;
    struct member **slots; /* open addressing; NULL: free */
    size_t slot_count;     /* a power of two, at least twice count */
    struct member **rows;  /* dense */
    size_t count, capacity;
    uint64_t refused[FLEET_REFUSAL_COUNT];
    uint64_t row_bytes;
    uint64_t echo_seq, echo_ms, first_echo_ms, twin_ms;
    bool met;
    struct summary read; /* of the present message: too large for the stack of a loop's callback */
};

/* --- the hash table --- */

static uint64_t hash_of(const struct members *members, const char *id)
{
    uint64_t hash = members->conf.seed ^ UINT64_C(14695981039346656037);

    for (; *id; id++) {
        hash = (hash ^ (uint8_t)*id) * UINT64_C(1099511628211);
        hash ^= hash >> 29;
    }
    hash = (hash ^ members->conf.seed >> 17) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ hash >> 33;
}

/* The slot of the id, or the free one where it belongs. */
static size_t slot_of(const struct members *members, const char *id, uint64_t hash)
{
    size_t mask = members->slot_count - 1, at = hash & mask;

    while (members->slots[at] && (members->slots[at]->hash != hash || strcmp(members->slots[at]->id, id) != 0))
        at = (at + 1) & mask;
    return at;
}

static void grow(struct members *members)
{
    struct member **old = members->slots;

    members->slot_count = members->slot_count ? 2 * members->slot_count : SLOTS_MIN;
    members->slots = mem_alloc(members->slot_count * sizeof(struct member *));
    for (size_t i = 0; i < members->count; i++)
        members->slots[slot_of(members, members->rows[i]->id, members->rows[i]->hash)] = members->rows[i];
    mem_free(old);
}

/* Takes the slot away, and moves up those behind it that were displaced by it. */
static void free_slot(struct members *members, size_t at)
{
    size_t mask = members->slot_count - 1, next = (at + 1) & mask;

    members->slots[at] = NULL;
    for (; members->slots[next]; next = (next + 1) & mask) {
        size_t home = members->slots[next]->hash & mask;

        if (((next - home) & mask) < ((next - at) & mask))
            continue;
        members->slots[at] = members->slots[next];
        members->slots[next] = NULL;
        at = next;
    }
}

static struct member *add(struct members *members, const char *id, uint64_t now_ms)
{
    struct member *member = mem_alloc(sizeof *member);

    if (2 * (members->count + 1) > members->slot_count)
        grow(members);
    if (members->count == members->capacity) {
        members->capacity = members->capacity ? 2 * members->capacity : SLOTS_MIN;
        members->rows = mem_realloc(members->rows, members->capacity * sizeof(struct member *));
    }
    snprintf(member->id, sizeof member->id, "%s", id);
    member->who = fleet_hash(id);
    member->hash = hash_of(members, id);
    member->first_ms = now_ms;
    member->gap_ms[0] = member->gap_ms[1] = SUMMARY_UNKNOWN;
    members->slots[slot_of(members, id, member->hash)] = member;
    members->rows[members->count++] = member;
    return member;
}

static void set_row(struct members *members, struct member *member, const struct summary_source *row, size_t count)
{
    if (member->row_count != count) {
        members->row_bytes += (count - member->row_count) * sizeof *row; /* wraps, and wraps back */
        mem_free(member->row);
        member->row = count ? mem_alloc(count * sizeof *row) : NULL;
        member->row_count = (uint32_t)count;
    }
    if (count)
        memcpy(member->row, row, count * sizeof *row);
}

static void drop(struct members *members, size_t i)
{
    struct member *member = members->rows[i];

    free_slot(members, slot_of(members, member->id, member->hash));
    members->rows[i] = members->rows[--members->count];
    set_row(members, member, NULL, 0);
    mem_free(member);
}

/* --- the table's life --- */

struct members *members_new(const struct members_conf *conf)
{
    struct members *members = mem_alloc(sizeof *members);

    panic_if(strlen(conf->id) > SUMMARY_WORD_MAX || strlen(conf->group) > SUMMARY_WORD_MAX || conf->expire_ms == 0);
    members->conf = *conf;
    snprintf(members->id, sizeof members->id, "%s", conf->id);
    snprintf(members->group, sizeof members->group, "%s", conf->group);
    members->conf.id = members->id;
    members->conf.group = members->group;
    if (!members->conf.max)
        members->conf.max = MEMBERS_MAX;
    grow(members);
    return members;
}

void members_free(struct members *members)
{
    if (!members)
        return;
    while (members->count)
        drop(members, members->count - 1);
    mem_free(members->slots);
    mem_free(members->rows);
    mem_free(members);
}

void members_set_expire(struct members *members, uint32_t expire_ms)
{
    panic_if(expire_ms == 0);
    members->conf.expire_ms = expire_ms;
}

/* --- how long a member lives --- */

static uint64_t expire_of(const struct members *members, const struct member *member)
{
    uint64_t expire_ms = members->conf.expire_ms, own_ms = (uint64_t)EVERY_KEPT * member->every_ms;

    if (own_ms > EXPIRE_STRETCH * expire_ms)
        own_ms = EXPIRE_STRETCH * expire_ms;
    return own_ms > expire_ms ? own_ms : expire_ms;
}

static uint64_t fresh_of(const struct members *members, const struct member *member)
{
    return expire_of(members, member) * 3 / 5;
}

static bool within(uint64_t then_ms, uint64_t span_ms, uint64_t now_ms)
{
    return now_ms < then_ms || now_ms - then_ms <= span_ms;
}

bool member_is_fresh(const struct members *members, const struct member *member, uint64_t now_ms)
{
    return within(member->heard_ms, fresh_of(members, member), now_ms);
}

bool member_is_twin(const struct members *members, const struct member *member, uint64_t now_ms)
{
    return member->twin_ms && within(member->twin_ms, 2 * expire_of(members, member), now_ms);
}

size_t members_sweep(struct members *members, uint64_t now_ms)
{
    size_t before = members->count;

    for (size_t i = members->count; i-- > 0;)
        if (!within(members->rows[i]->heard_ms, expire_of(members, members->rows[i]), now_ms))
            drop(members, i);
    return before - members->count;
}

/* --- a summary --- */

static enum members_news refuse(struct members *members, enum fleet_refusal refusal, enum fleet_refusal *why)
{
    members->refused[refusal]++;
    *why = refusal;
    return MEMBERS_REFUSED;
}

static bool is_later_run(uint64_t run_ms, uint32_t nonce, uint64_t than_ms, uint32_t than_nonce)
{
    return run_ms != than_ms ? run_ms > than_ms : nonce > than_nonce;
}

static uint64_t ago(uint64_t now_ms, uint64_t span_ms)
{
    return span_ms < now_ms ? now_ms - span_ms : 1;
}

/* What this agent has sent itself; and another agent with its id. One that has just ended may have had it before. */
static enum members_news take_own(struct members *members, const struct summary *summary, uint64_t now_ms, enum fleet_refusal *why)
{
    bool begun;

    if (summary->run_ms == members->conf.run_ms && summary->nonce == members->conf.nonce) {
        if (summary->seq <= members->echo_seq)
            return refuse(members, FLEET_REFUSED_OLD, why);
        members->echo_seq = summary->seq;
        members->echo_ms = now_ms;
        if (!members->first_echo_ms)
            members->first_echo_ms = now_ms;
        return MEMBERS_ECHO;
    }
    begun = !members->first_echo_ms || within(members->first_echo_ms, members->conf.expire_ms * 3 / 5, now_ms);
    if (summary->word == FLEET_LEFT || begun)
        return refuse(members, FLEET_REFUSED_OLD, why);
    members->twin_ms = now_ms;
    return MEMBERS_OWN_TWIN;
}

static int32_t gap_of(int64_t sent_ms, int64_t wall_ms)
{
    int64_t gap_ms = wall_ms - sent_ms;

    return gap_ms > INT32_MAX ? INT32_MAX : gap_ms < -INT32_MAX ? -INT32_MAX : (int32_t)gap_ms;
}

static void note_gap(struct member *member, int32_t gap_ms, uint64_t now_ms)
{
    if (member->gap_ms[0] == SUMMARY_UNKNOWN || now_ms - member->gap_window_ms >= MEMBERS_GAP_WINDOW_MS) {
        member->gap_ms[1] = member->gap_ms[0];
        member->gap_ms[0] = gap_ms;
        member->gap_window_ms = now_ms;
    } else if (gap_ms < member->gap_ms[0]) {
        member->gap_ms[0] = gap_ms;
    }
}

/* A fault, or a word, that lasts has the earliest begin that any summary of it has given: later ones were longer on their way. */
static void note_begins(struct member *member, const struct summary *summary, uint64_t now_ms, bool new_run)
{
    uint64_t since_ms = ago(now_ms, summary->since_ms), fault_since_ms = ago(now_ms, summary->fault_for_ms);
    bool same_word = !new_run && member->word == summary->word;
    bool same_fault = !new_run && member->fault && summary->fault && member->fault_key_ms == summary->fault_key_ms;

    if (!same_word || since_ms < member->since_ms)
        member->since_ms = since_ms;
    if (!same_fault || fault_since_ms < member->fault_since_ms)
        member->fault_since_ms = fault_since_ms;
}

static void note_public(struct member *member, const struct summary *summary, uint64_t now_ms)
{
    if (member->public_path != summary->public_path)
        member->public_since_ms = now_ms;
    member->public_path = summary->public_path;
    member->public_age_ms = summary->public_age_ms < UINT32_MAX ? (uint32_t)summary->public_age_ms : UINT32_MAX;
}

static void note_run(struct member *member, const struct summary *summary, uint64_t now_ms)
{
    if (member->received) {
        member->restarts++;
        member->old_run_ms = member->run_ms;
        member->old_nonce = member->nonce;
        member->old_seq = member->seq;
    }
    member->run_ms = summary->run_ms;
    member->nonce = summary->nonce;
    member->run_heard_ms = now_ms;
    member->begun_ms =
        summary->sent_ms > (int64_t)summary->run_ms ? ago(now_ms, (uint64_t)summary->sent_ms - summary->run_ms) : now_ms;
    member->version_ms = member->begun_ms;
}

static void note(struct members *members, struct member *member, const struct summary *summary, uint64_t now_ms, int64_t wall_ms)
{
    bool new_run = !member->received || summary->run_ms != member->run_ms || summary->nonce != member->nonce;

    if (new_run)
        note_run(member, summary, now_ms);
    else
        member->lost += (uint32_t)(summary->seq - member->seq - 1);
    note_begins(member, summary, now_ms, new_run);
    note_public(member, summary, now_ms);
    note_gap(member, gap_of(summary->sent_ms, wall_ms), now_ms);
    snprintf(member->region, sizeof member->region, "%s", summary->region);
    if (!new_run && (strcmp(member->release, summary->release) != 0 || strcmp(member->version, summary->version) != 0))
        member->version_ms = now_ms;
    snprintf(member->version, sizeof member->version, "%s", summary->version);
    snprintf(member->release, sizeof member->release, "%s", summary->release);
    snprintf(member->cause, sizeof member->cause, "%s", summary->cause);
    member->watcher = summary->watcher;
    member->word = summary->word;
    member->stand = summary->stand;
    member->scope = summary->scope;
    member->min = summary->min;
    member->fault = summary->fault;
    member->fault_key_ms = summary->fault_key_ms;
    member->have_connections = summary->have_connections;
    member->connections = summary->connections;
    member->taken = summary->taken;
    member->refused = summary->refused;
    member->every_ms = summary->every_ms;
    member->beats = summary->beats;
    member->seq = summary->seq;
    member->heard_ms = now_ms;
    member->received++;
    set_row(members, member, summary->row, summary->row_count);
    members->met = members->met || !summary->watcher;
}

enum place { PLACE_OLD, PLACE_OTHER, PLACE_NEXT, PLACE_NEW_RUN, PLACE_TWIN };

/* Where a summary of a known member belongs. A run that began earlier than the known one is taken only where that has fallen silent: a clock was
 * set back meanwhile. */
static enum place place_of(const struct members *members, const struct member *member, const struct summary *summary,
                           uint64_t now_ms)
{
    if (summary->run_ms == member->run_ms && summary->nonce == member->nonce)
        return summary->seq > member->seq ? PLACE_NEXT : PLACE_OLD;
    if (is_later_run(summary->run_ms, summary->nonce, member->run_ms, member->nonce))
        return PLACE_NEW_RUN;
    if (!member_is_fresh(members, member, now_ms))
        return PLACE_NEW_RUN;
    if (within(member->run_heard_ms, fresh_of(members, member), now_ms))
        return PLACE_OLD; /* the last words of the run before may have been overtaken */
    if (!member->other_ms || !within(member->other_ms, fresh_of(members, member), now_ms))
        return PLACE_OTHER;
    if (member->heard_ms <= member->other_ms)
        return PLACE_OLD; /* the known run may have ended, and this be the next one, with a clock that was set back */
    if (summary->run_ms != member->old_run_ms || summary->nonce != member->old_nonce)
        return PLACE_TWIN;
    return summary->seq > member->old_seq ? PLACE_TWIN : PLACE_OLD;
}

static enum members_news take_member(struct members *members, const struct summary *summary, uint64_t now_ms, int64_t wall_ms,
                                     const struct member **who, enum fleet_refusal *why)
{
    struct member *member = members->slots[slot_of(members, summary->id, hash_of(members, summary->id))];
    bool known = member;
    enum place place = known ? place_of(members, member, summary, now_ms) : PLACE_NEW_RUN;

    if (!known && members->count >= members->conf.max)
        return refuse(members, FLEET_REFUSED_FULL, why);
    if (place == PLACE_OTHER)
        member->other_ms = now_ms;
    if (place == PLACE_OLD || place == PLACE_OTHER)
        return refuse(members, FLEET_REFUSED_OLD, why);
    if (!known)
        member = add(members, summary->id, now_ms);
    *who = member;
    if (place == PLACE_TWIN) {
        member->twin_ms = now_ms;
        member->old_run_ms = summary->run_ms;
        member->old_nonce = summary->nonce;
        member->old_seq = summary->seq;
        return MEMBERS_TWIN;
    }
    note(members, member, summary, now_ms, wall_ms);
    if (summary->word == FLEET_LEFT)
        return MEMBERS_LEFT;
    return !known ? MEMBERS_JOINED : place == PLACE_NEW_RUN ? MEMBERS_RESTARTED : MEMBERS_HEARD;
}

static bool is_timely(const struct members *members, int64_t sent_ms, int64_t wall_ms)
{
    int64_t gap_ms = wall_ms > sent_ms ? wall_ms - sent_ms : sent_ms - wall_ms;

    return gap_ms <= (int64_t)members->conf.expire_ms;
}

enum members_news members_take(struct members *members, struct slice line, struct slice key, uint64_t now_ms, int64_t wall_ms,
                               const struct member **who, enum fleet_refusal *why)
{
    struct summary *summary = &members->read;
    const struct member *unasked_who = NULL;
    enum fleet_refusal unasked_why = FLEET_REFUSED_NONE, refusal = summary_read(line, key, summary);

    who = who ? who : &unasked_who;
    why = why ? why : &unasked_why;
    *who = NULL;
    *why = FLEET_REFUSED_NONE;
    if (refusal != FLEET_REFUSED_NONE)
        return refuse(members, refusal, why);
    if (strcmp(summary->group, members->group) != 0)
        return refuse(members, FLEET_REFUSED_OTHER_GROUP, why);
    if (key.len && !is_timely(members, summary->sent_ms, wall_ms))
        return refuse(members, FLEET_REFUSED_CLOCK, why);
    if (strcmp(summary->id, members->id) == 0)
        return take_own(members, summary, now_ms, why);
    return take_member(members, summary, now_ms, wall_ms, who, why);
}

/* --- what readers ask --- */

size_t members_count(const struct members *members)
{
    return members->count;
}

const struct member *members_at(const struct members *members, size_t i)
{
    panic_if(i >= members->count);
    return members->rows[i];
}

const struct member *members_find(const struct members *members, const char *id)
{
    return members->slots[slot_of(members, id, hash_of(members, id))];
}

uint64_t members_refused(const struct members *members, enum fleet_refusal why)
{
    panic_if((unsigned)why >= FLEET_REFUSAL_COUNT);
    return members->refused[why];
}

bool members_met(const struct members *members)
{
    return members->met;
}

uint64_t members_echo_seq(const struct members *members)
{
    return members->echo_seq;
}

uint64_t members_echo_ms(const struct members *members)
{
    return members->echo_ms;
}

uint64_t members_own_twin_ms(const struct members *members)
{
    return members->twin_ms;
}

uint32_t members_expire_ms(const struct members *members)
{
    return members->conf.expire_ms;
}

uint64_t members_bytes(const struct members *members)
{
    return sizeof *members + members->slot_count * sizeof(struct member *) + members->capacity * sizeof(struct member *) +
           members->count * sizeof(struct member) + members->row_bytes;
}

const char *member_version(const struct member *member)
{
    return member->release[0] ? member->release : member->version;
}

bool member_counts(const struct member *member)
{
    return !member->watcher && member->word != FLEET_LEFT;
}

bool member_is_in(const struct member *member)
{
    return member_counts(member) && (member->word == FLEET_READY || member->word == FLEET_DEGRADED);
}

bool member_is_well(const struct member *member)
{
    return member_is_in(member) && !member->fault;
}

/* There: its sending to this hearing, way + (this clock - its). Back: way + (its clock - this one). Both ways are longer than nothing. */
bool member_clock(const struct member *member, uint32_t own_who, int32_t *ahead_ms, int32_t *error_ms)
{
    int64_t there_ms = member->gap_ms[0];

    if (member->gap_ms[1] != SUMMARY_UNKNOWN && member->gap_ms[1] < there_ms)
        there_ms = member->gap_ms[1];
    if (there_ms == SUMMARY_UNKNOWN)
        return false;
    for (size_t i = 0; i < member->row_count; i++)
        if (member->row[i].who == own_who && member->row[i].gap_ms != SUMMARY_UNKNOWN) {
            int64_t round_ms = there_ms + member->row[i].gap_ms;

            *ahead_ms = (int32_t)((member->row[i].gap_ms - there_ms) / 2);
            *error_ms = (int32_t)(round_ms > 0 ? (round_ms + 1) / 2 : 0);
            return true;
        }
    return false;
}
