/*
 * Reads a summary (agent/fleet/summary.h). Called for whatever comes on the fleet's topic, so a line is anybody's: it is measured first, then its
 * signature is checked, then it is read. Owns nothing, allocates nothing.
 */
#include <string.h>

#include "agent/base/mem.h"
#include "agent/fleet/summary_impl.h"

enum { DIGITS_MAX = 18 };

/* --- values: false where they are not what they must be --- */

static bool is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static bool read_text(struct slice value, const char *also, size_t max, char *out)
{
    if (value.len == 0 || value.len > max)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (!is_word(value.data[i]) && !(value.data[i] && strchr(also, value.data[i])))
            return false;
    memcpy(out, value.data, value.len);
    out[value.len] = 0;
    return true;
}

static bool read_number(struct slice value, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t number = 0;

    if (value.len == 0 || value.len > DIGITS_MAX || (value.len > 1 && value.data[0] == '0'))
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    *out = number;
    return number >= min && number <= max;
}

static bool read_small(struct slice value, uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t number = 0;
    bool good = read_number(value, min, max, &number);

    *out = (uint32_t)number;
    return good;
}

static bool read_hex(struct slice value, uint32_t *out)
{
    *out = 0;
    if (value.len != 8)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *out = *out << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

/* The index of the value among count names, or -1. */
static int read_name(struct slice value, const char *(*name)(unsigned), unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (slice_equal_str(value, name(i)))
            return (int)i;
    return -1;
}

/* What is before the separator; the rest is behind it, and *more says whether there was one. */
static struct slice cut(struct slice *rest, char separator, bool *more)
{
    size_t n = 0;
    struct slice first;

    while (n < rest->len && rest->data[n] != (uint8_t)separator)
        n++;
    first = slice_make(rest->data, n);
    *more = n < rest->len;
    *rest = slice_skip(*rest, n + *more);
    return first;
}

/* --- keys --- */

static const char *word_at(unsigned i)
{
    return fleet_word_name((enum fleet_word)i);
}

static const char *stand_at(unsigned i)
{
    return fleet_stand_name((enum fleet_stand)i);
}

static const char *scope_at(unsigned i)
{
    return scope_name((enum scope)i);
}

static const char *kind_at(unsigned i)
{
    return fleet_kind_name((enum fleet_kind)i);
}

static bool read_id(struct slice value, struct summary *out)
{
    return read_text(value, "", SUMMARY_WORD_MAX, out->id);
}

static bool read_region(struct slice value, struct summary *out)
{
    return read_text(value, "", SUMMARY_WORD_MAX, out->region);
}

static bool read_group(struct slice value, struct summary *out)
{
    return read_text(value, "", SUMMARY_WORD_MAX, out->group);
}

static bool read_version(struct slice value, struct summary *out)
{
    return read_text(value, ".+~", SUMMARY_VERSION_MAX, out->version);
}

static bool read_release(struct slice value, struct summary *out)
{
    return read_text(value, ".+~", SUMMARY_VERSION_MAX, out->release);
}

static bool read_public(struct slice value, struct summary *out)
{
    bool more;
    struct slice word = cut(&value, ':', &more);

    out->public_path = slice_equal_str(word, "fail") ? FLEET_PUBLIC_FAIL : FLEET_PUBLIC_PASS;
    return more && (out->public_path == FLEET_PUBLIC_FAIL || slice_equal_str(word, "pass")) &&
           read_number(value, 0, UINT64_MAX, &out->public_age_ms);
}

static bool read_role(struct slice value, struct summary *out)
{
    out->watcher = slice_equal_str(value, "watcher");
    return out->watcher || slice_equal_str(value, "server");
}

static bool read_run(struct slice value, struct summary *out)
{
    bool more;
    struct slice start = cut(&value, '.', &more);

    return more && read_number(start, 1, UINT64_MAX, &out->run_ms) && read_hex(value, &out->nonce);
}

static bool read_seq(struct slice value, struct summary *out)
{
    return read_number(value, 1, UINT64_MAX, &out->seq);
}

static bool read_sent(struct slice value, struct summary *out)
{
    uint64_t number = 0;
    bool good = read_number(value, 0, INT64_MAX, &number);

    out->sent_ms = (int64_t)number;
    return good;
}

static bool read_every(struct slice value, struct summary *out)
{
    return read_small(value, SUMMARY_EVERY_MIN_MS, SUMMARY_EVERY_MAX_MS, &out->every_ms);
}

static bool read_state(struct slice value, struct summary *out)
{
    int at = read_name(value, word_at, FLEET_WORD_COUNT);

    out->word = at < 0 ? FLEET_STARTING : (enum fleet_word)at;
    return at >= 0;
}

static bool read_since(struct slice value, struct summary *out)
{
    return read_number(value, 0, UINT64_MAX, &out->since_ms);
}

static bool read_stand(struct slice value, struct summary *out)
{
    int at = read_name(value, stand_at, FLEET_STAND_COUNT);

    out->stand = at < 0 ? FLEET_STAND_OWN : (enum fleet_stand)at;
    return at >= 0;
}

static bool read_min(struct slice value, struct summary *out)
{
    out->min.percent = value.len && value.data[value.len - 1] == '%';
    value.len -= out->min.percent;
    return read_small(value, 0, out->min.percent ? 100 : UINT32_MAX, &out->min.count);
}

static bool read_fault(struct slice value, struct summary *out)
{
    uint64_t number = 0;

    out->fault = read_number(value, 0, INT64_MAX, &number);
    out->fault_key_ms = (int64_t)number;
    return out->fault;
}

static bool read_for(struct slice value, struct summary *out)
{
    return read_number(value, 0, UINT64_MAX, &out->fault_for_ms);
}

static bool read_cause(struct slice value, struct summary *out)
{
    return read_text(value, "", SUMMARY_CAUSE_MAX, out->cause);
}

static bool read_scope(struct slice value, struct summary *out)
{
    int at = read_name(value, scope_at, SCOPE_COUNT);

    out->scope = at < 0 ? SCOPE_NONE : (enum scope)at;
    return at >= 0;
}

static bool read_connections(struct slice value, struct summary *out)
{
    out->have_connections = read_small(value, 0, UINT32_MAX, &out->connections);
    return out->have_connections;
}

/* Kinds that are not known here are a later version's. */
static bool read_kinds(struct slice value, uint16_t *out)
{
    char name[SUMMARY_WORD_MAX + 1];
    bool more = true;

    while (more) {
        struct slice item = cut(&value, ',', &more);
        int at = read_name(item, kind_at, FLEET_KIND_COUNT);

        if (!read_text(item, "", SUMMARY_WORD_MAX, name))
            return false;
        if (at >= 0)
            *out = (uint16_t)(*out | 1u << at);
    }
    return true;
}

static bool read_taken(struct slice value, struct summary *out)
{
    return read_kinds(value, &out->taken);
}

static bool read_refused(struct slice value, struct summary *out)
{
    return read_kinds(value, &out->refused);
}

static bool read_maybe(struct slice value, int32_t *out)
{
    bool minus = value.len && value.data[0] == '-';
    uint32_t number = 0;

    *out = SUMMARY_UNKNOWN;
    if (!value.len)
        return true;
    if (!read_small(slice_skip(value, minus), minus, INT32_MAX, &number))
        return false;
    *out = minus ? -(int32_t)number : (int32_t)number;
    return true;
}

static bool read_beats(struct slice value, struct summary *out)
{
    struct slice parts[4];
    uint32_t all = 0;
    bool more = true;

    for (size_t i = 0; i < 4; i++) {
        if (!more)
            return false;
        parts[i] = cut(&value, ':', &more);
    }
    if (more || !read_small(parts[0], 0, UINT32_MAX, &out->beats.count) ||
        !read_small(parts[1], 1, UINT32_MAX, &out->beats.window_ms) || !read_hex(parts[2], &out->beats.channels) ||
        !read_small(parts[3], 0, 1, &all))
        return false;
    out->beats.all = all;
    return true;
}

static bool read_shards(struct slice value, struct summary *out)
{
    bool more = true;

    while (more) {
        if (out->beats.shard_count == SUMMARY_SHARDS_MAX ||
            !read_hex(cut(&value, ',', &more), &out->beats.shards[out->beats.shard_count]))
            return false;
        out->beats.shard_count++;
    }
    return true;
}

static bool read_source(struct slice value, struct summary_source *out)
{
    uint32_t got = 0, lost = 0;
    struct slice parts[5];
    bool more = true;

    for (size_t i = 0; i < 5; i++) {
        if (!more)
            return false;
        parts[i] = cut(&value, ':', &more);
    }
    if (more || !read_hex(parts[0], &out->who) || !read_small(parts[1], 0, UINT16_MAX, &got) ||
        !read_small(parts[2], 0, UINT16_MAX, &lost))
        return false;
    out->got = (uint16_t)got;
    out->lost = (uint16_t)lost;
    return read_maybe(parts[3], &out->late_ms) && read_maybe(parts[4], &out->gap_ms);
}

static bool read_row(struct slice value, struct summary *out)
{
    bool more = true;

    while (more) {
        if (out->row_count == SUMMARY_ROW_MAX || !read_source(cut(&value, ',', &more), &out->row[out->row_count]))
            return false;
        out->row_count++;
    }
    return true;
}

static const struct key {
    const char *name;
    bool required;
    bool (*read)(struct slice value, struct summary *out);
} keys[] = {
    { "id", true, read_id },           { "region", true, read_region },    { "group", true, read_group },
    { "version", true, read_version }, { "role", true, read_role },        { "run", true, read_run },
    { "seq", true, read_seq },         { "sent", true, read_sent },        { "every", true, read_every },
    { "word", true, read_state },      { "since", true, read_since },      { "stand", true, read_stand },
    { "min", true, read_min },         { "fault", false, read_fault },     { "for", false, read_for },
    { "cause", false, read_cause },    { "scope", false, read_scope },     { "conns", false, read_connections },
    { "taken", false, read_taken },    { "refused", false, read_refused }, { "row", false, read_row },
    { "beats", false, read_beats },    { "shards", false, read_shards },   { "release", false, read_release },
    { "public", false, read_public },
};

enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

static bool has(uint32_t seen, const char *name)
{
    for (unsigned i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].name, name) == 0)
            return seen & UINT32_C(1) << i;
    panic_if(true);
    return false;
}

static bool read_pair(struct slice pair, uint32_t *seen, struct summary *out)
{
    char name[SUMMARY_WORD_MAX + 1];
    bool more;
    struct slice key = cut(&pair, '=', &more);

    if (!more || !read_text(key, "", SUMMARY_WORD_MAX, name))
        return false;
    for (unsigned i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].name, name) == 0) {
            if (*seen & UINT32_C(1) << i)
                return false;
            *seen |= UINT32_C(1) << i;
            return keys[i].read(pair, out);
        }
    for (size_t i = 0; i < pair.len; i++)
        if (pair.data[i] <= ' ' || pair.data[i] >= 0x7f)
            return false;
    return true;
}

/* What belongs together. */
static bool is_whole(uint32_t seen, const struct summary *summary)
{
    bool in = summary->word == FLEET_READY || summary->word == FLEET_DEGRADED;

    for (unsigned i = 0; i < KEY_COUNT; i++)
        if (keys[i].required && !(seen & UINT32_C(1) << i))
            return false;
    if (has(seen, "fault") != has(seen, "for") || has(seen, "cause") != has(seen, "scope") ||
        (has(seen, "shards") && !has(seen, "beats")))
        return false;
    switch (summary->stand) {
    case FLEET_STAND_ASKS:
    case FLEET_STAND_HELD:
        return summary->fault && in;
    case FLEET_STAND_OUT:
        return summary->fault && summary->word == FLEET_NOT_READY;
    default:
        return true;
    }
}

static bool read_words(struct slice text, struct summary *out)
{
    bool more;
    uint32_t seen = 0;

    if (!slice_equal_str(cut(&text, ' ', &more), SUMMARY_FORM))
        return false;
    while (more)
        if (!read_pair(cut(&text, ' ', &more), &seen, out))
            return false;
    return is_whole(seen, out);
}

/* As long for a right guess as for a wrong one. */
static bool same_mac(struct slice given, const char wanted[SUMMARY_MAC_HEX + 1])
{
    uint8_t differs = 0;

    if (given.len != SUMMARY_MAC_HEX)
        return false;
    for (size_t i = 0; i < SUMMARY_MAC_HEX; i++)
        differs = (uint8_t)(differs | (given.data[i] ^ (uint8_t)wanted[i]));
    return differs == 0;
}

/* The signature is the last word, and not a part of what is read. */
static enum fleet_refusal take_mac(struct slice *text, struct slice key)
{
    static const size_t tail = sizeof SUMMARY_MAC_WORD - 1 + SUMMARY_MAC_HEX;
    struct slice given = slice_make(NULL, 0);
    char wanted[SUMMARY_MAC_HEX + 1];

    if (text->len > tail && slice_find(slice_skip(*text, text->len - tail), slice_str(SUMMARY_MAC_WORD)) == 0) {
        given = slice_skip(*text, text->len - SUMMARY_MAC_HEX);
        text->len -= tail;
    }
    if (!key.len)
        return FLEET_REFUSED_NONE;
    if (!given.len)
        return FLEET_REFUSED_UNSIGNED;
    summary_mac(*text, key, wanted);
    return same_mac(given, wanted) ? FLEET_REFUSED_NONE : FLEET_REFUSED_BAD_SIGNATURE;
}

enum fleet_refusal summary_read(struct slice line, struct slice key, struct summary *out)
{
    static const char form[] = SUMMARY_FORM " ";
    enum fleet_refusal refusal;

    memset(out, 0, sizeof *out);
    if (line.len > SUMMARY_WIRE_MAX)
        return FLEET_REFUSED_TOO_LONG;
    if (line.len < sizeof form - 1 || memcmp(line.data, form, sizeof form - 1) != 0)
        return FLEET_REFUSED_GARBAGE;
    refusal = take_mac(&line, key);
    if (refusal != FLEET_REFUSED_NONE)
        return refusal;
    return read_words(line, out) ? FLEET_REFUSED_NONE : FLEET_REFUSED_GARBAGE;
}
